"""Claims about keeping the disk, on real folders of shots that were really rendered."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendering import House, pictures

from catalogs.footage import Status
from catalogs.night import AttemptStatus, Stage
from catalogs.store import Catalogue, open_catalogue
from flows.cleaning import HALF, clean, look
from flows.settings import Settings
from tasks.errors import PlanError
from tasks.keep import sole_owner


@pytest.fixture
def rendered(house: House) -> House:
    """A home with a shot that was rendered, and one that is ready and has work of an interrupted take."""
    house.submit({"shot": "SH0010"}, {"shot": "SH0020"})
    assert [shot["status"] for shot in house.json("render", "SH0010")["shots"]] == ["review"]
    [key] = takes(house, "SH0010")
    shutil.copytree(key, house.home / "work/AGM/SH0020/0123456789abcdef")
    return house


@pytest.fixture
def catalogue(rendered: House) -> Iterator[Catalogue]:
    """Its catalogue."""
    with open_catalogue(f"sqlite:///{rendered.home}/catalogue.sqlite") as opened:
        yield opened


def settings(house: House) -> Settings:
    return Settings.read({"DAILIES_HOME": str(house.home)})


def takes(house: House, code: str) -> list[Path]:
    """Work folders of a shot's takes."""
    return sorted(path for path in (house.home / f"work/AGM/{code}").iterdir() if path.is_dir())


def age(folder: Path, days: float) -> None:
    """Let a folder and all that is in it be so old."""
    for path in (folder, *folder.rglob("*")):
        at = path.stat().st_mtime - 86_400 * days
        os.utime(path, (at, at))


def everything(folder: Path) -> dict[str, int]:
    """Every file below a folder, with its size."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_published_shot_s_work_goes_and_its_version_stays(rendered: House) -> None:
    """A dry run says what would be freed and changes nothing; --yes frees just that. The version stays to the bit, the
    ready shot's work too, rendering finds the shot finished, and a take with other pixels is made from nothing."""
    before, work = everything(rendered.home / "deliveries"), everything(rendered.home / "work")
    version = next((rendered.home / "deliveries/AGM/SQ010/SH0010").glob("v001"))
    frames = pictures(version)
    assert rendered.json("clean")["bytes"] == 0, "younger than a week"
    age(rendered.home / "work", 8)
    said = rendered.json("clean")
    assert said["dry_run"]
    assert said["kinds"]["published"]["shots"] == ["AGM/SH0010"]
    assert [entry["why"] for entry in said["kept"]] == ["the shot is ready"]
    assert everything(rendered.home / "work") == work
    free = sum(
        path.stat().st_size
        for path in takes(rendered, "SH0010")[0].rglob("*")
        if path.stat().st_nlink == 1 and path.is_file()
    )
    assert (
        0 < said["kinds"]["published"]["bytes"] == free < sum(size for name, size in work.items() if "SH0010" in name)
    )
    told = rendered.run("clean")
    assert "with `--yes` it is deleted" in told.stdout
    assert "work of shots that are published" in told.stdout

    done = rendered.json("clean", "--yes")
    assert (done["dry_run"], done["bytes"], done["left"]) == (False, said["bytes"], [])
    assert takes(rendered, "SH0010") == []
    assert [name for name in everything(rendered.home / "work") if name.startswith("AGM/SH0010")] == [
        "AGM/SH0010/.lock"
    ]
    assert takes(rendered, "SH0020")
    assert everything(rendered.home / "deliveries") == before
    assert pictures(version) == frames
    assert rendered.json("clean", "--yes")["bytes"] == 0
    [again] = rendered.json("render", "SH0010")["shots"]
    assert (again["status"], again["version"], again["error"]) == ("review", 1, "")
    rendered.submit({"shot": "SH0010", "deliveries": "webm"}, mode="update")
    [retake] = rendered.json("render", "SH0010")["shots"]
    assert (retake["status"], retake["version"]) == ("review", 2)
    assert pictures(version) == frames


@pytest.mark.expects_log
def test_work_that_somebody_needs_stays(rendered: House, catalogue: Catalogue) -> None:
    """Of a shot of the open batch, of one whose folder a process holds, of one whose version is gone: nothing goes."""
    here = settings(rendered)
    [key] = takes(rendered, "SH0010")
    assert look(here, catalogue, days=0, now=key.stat().st_mtime + 9e9).doomed[0].found.path == key
    with sole_owner(key.parent, what="AGM/SH0010"):
        found = clean(here, days=0, apply=True)
    assert str(key) in found["left"]
    assert key.is_dir()

    batch = catalogue.nights.open_batch(until=None, wishes={}, plan={}, flow_run="f")
    [granted] = catalogue.nights.grant(batch.name, "reel 01", ["AGM/SH0010"], stage=Stage.GENERATE)
    assert clean(here, days=0, apply=True)["bytes"] == 0
    catalogue.nights.end_attempt("AGM/SH0010", granted.fence, status=AttemptStatus.DONE)
    assert clean(here, days=0, apply=True)["bytes"] == 0, "the batch is not over"
    catalogue.nights.end(batch.name, report={})

    manifest = catalogue.find("AGM/SH0010").take.manifest  # type: ignore[union-attr]
    assert manifest is not None
    os.rename(manifest, manifest.with_suffix(".away"))
    assert clean(here, days=0, apply=True)["bytes"] == 0
    assert key.is_dir()
    os.rename(manifest.with_suffix(".away"), manifest)
    assert clean(here, days=0, apply=True)["bytes"] > 0
    assert not key.exists()


@pytest.mark.expects_log
def test_a_shot_that_changes_between_look_and_deletion_keeps_its_work(
    rendered: House, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted anew after the plan was made: the second look, under the lock, sees it."""
    here = settings(rendered)
    [key] = takes(rendered, "SH0010")
    plan = look(here, catalogue, days=0, now=key.stat().st_mtime + 9e9)
    assert plan.doomed
    rendered.submit({"shot": "SH0010", "deliveries": "webm"}, mode="update")
    assert catalogue.find("AGM/SH0010").status is Status.READY
    monkeypatch.setattr("flows.cleaning.look", lambda *_, **__: plan)
    found = clean(here, days=0, apply=True)
    assert (found["bytes"], key.is_dir()) == (0, True)


def test_a_deletion_that_broke_off_is_gone_on_with(rendered: House) -> None:
    """A folder under the name of something half deleted goes with the next cleaning; links are never followed."""
    here = settings(rendered)
    [key] = takes(rendered, "SH0010")
    os.rename(key, key.with_name(f"{HALF}0123"))
    outside = rendered.folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("mine")
    (key.parent / "link").symlink_to(outside)
    assert clean(here, days=0, apply=True)["kinds"]["attempts"]["count"] == 1
    assert takes(rendered, "SH0010") == [key.parent / "link"]
    assert (outside / "kept").read_text() == "mine"


def test_last_words_go_with_age(rendered: House) -> None:
    """What a process left when it was killed goes after a week; what is younger stays."""
    hung = rendered.home / "batches" / "hung"
    hung.mkdir(parents=True)
    for name in ("old", "new"):
        (hung / f"{name}.txt").write_text("AGM_SH0010_v001 generate: step 3 of 40\n")
    os.utime(hung / "old.txt", (1, 1))
    assert clean(settings(rendered), days=7, apply=True)["kinds"]["evidence"]["count"] == 1
    assert [path.name for path in hung.iterdir()] == ["new.txt"]


@pytest.mark.parametrize("days", [-1.0, float("nan"), float("inf")])
def test_days_are_a_number(tmp_path: Path, days: float) -> None:
    """Less than none, or none at all, is refused before anything is looked at."""
    with pytest.raises(PlanError, match="--older-than is"):
        clean(Settings.read({"DAILIES_HOME": str(tmp_path)}), days=days, apply=True)
