"""A list's way into the catalogue as its sender sees it: what is told before, on the way, and afterwards."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from PIL import Image
from rendering import House, clean_environment

from catalogs.store import open_catalogue
from flows.lists import Outcome, Pace, submit
from flows.settings import Settings

HEADER = "show,sequence,shot,plate,prompt,frames,fps,resolution,Vendor,=Odd\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home, and plates in a folder of their own."""
    (tmp_path / "plates").mkdir()
    Image.new("RGB", (160, 96), (90, 120, 40)).save(tmp_path / "plates/a.png")
    return Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(tmp_path / "plates")})


def written(folder: Path, *rows: str) -> Path:
    """A list of these rows."""
    path = folder / "list.csv"
    path.write_text(HEADER + "".join(f"AGM,SQ010,{row}\n" for row in rows))
    return path


def test_takes_that_will_be_replaced_are_told_before(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A changed shot that was rendered is noticed with its line; how many takes go is said while nothing is written."""
    caplog.set_level(logging.INFO, "dailies")
    submit(written(tmp_path, "SH0010,a.png,noise,24,24,160x96,,", "SH0020,a.png,noise,24,24,160x96,,"), settings)
    with open_catalogue(settings.database_url) as catalogue:
        take = catalogue.begin_take("SH0020", key="k", plan=lambda version: {})
        catalogue.finish_take(take, manifest=tmp_path, clips=[], deliverables=[], findings=[], seconds={})
    changed = written(tmp_path, "SH0010,a.png,noise,48,24,160x96,,", "SH0020,a.png,noise,48,24,160x96,,")
    said: list[str] = []

    def ready(outcome: Outcome) -> None:
        said.extend(caplog.messages)

    outcome = submit(changed, settings, mode="upsert", ready=ready)
    assert any("1 take will be replaced" in one for one in said)
    [notice] = [one for one in outcome.warnings if one.code == "W501"]
    assert (notice.line, notice.value) == (3, "AGM/SH0020")
    assert "review, with 1 finished take" in notice.message


def test_a_long_list_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A line each so many seconds, and none for what is done at once."""
    caplog.set_level(logging.INFO, "dailies")
    Pace(3600)("written", 1000, 20_000)
    assert caplog.messages == []
    Pace(0)("written", 1000, 20_000)
    assert caplog.messages == ["written 1,000 of 20,000 shots"]


def test_the_exported_list_changes_nothing(settings: Settings, tmp_path: Path, plate_path: Path) -> None:
    """Through the command line: a list goes in, comes out, goes in again; a changed cell is one change."""
    rows = (
        'SH0010,a.png,"=push(in), ""slowly""\nthen stop",24,23.976,160x96,Zoë,-1',
        "SH0020,a.png,'twas dark,48,25,160x96,,",
    )
    house = House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(settings.home)))
    plates = {"DAILIES_PLATES": str(settings.plates)}
    assert house.json("submit", str(written(tmp_path, *rows)), **plates)["accepted"] == 2
    out = tmp_path / "out.csv"
    document = house.json("export", "csv", "-o", str(out), **plates)
    assert (document["files"], document["notices"]) == ([{"path": str(out), "shots": 2}], [])
    again = house.run("submit", str(out), "--mode", "upsert", **plates)
    assert again.returncode == 0, again.stderr
    assert again.stdout == "Nothing changed: 2 shots of the list stand in the catalogue so.\n"
    text = out.read_text(encoding="utf-8-sig")
    out.write_text(text.replace("'twas dark", "it was dark").replace("AGM,SQ010,SH0010", "AGM,SQ020,SH0010"))
    dry = house.json("submit", str(out), "--mode", "upsert", "--dry-run", **plates)
    assert {change["shot"]: change["columns"] for change in dry["differences"]} == {
        "AGM/SH0010": [{"column": "sequence", "old": "SQ010", "new": "SQ020"}],
        "AGM/SH0020": [{"column": "prompt", "old": "'twas dark", "new": "it was dark"}],
    }
    told = house.run("submit", str(out), "--mode", "upsert", "--dry-run", **plates)
    assert "changed: AGM/SH0010: sequence: SQ010 to SQ020" in told.stdout
    assert json.loads(house.run("export", "csv", "-o", str(tmp_path / "elsewhere/b.csv"), "--json").stdout)["notices"]


def test_what_a_dry_run_leaves_out_is_named(settings: Settings, tmp_path: Path) -> None:
    """Shots of the list's shows that it does not have, and no others."""
    submit(written(tmp_path, "SH0010,a.png,noise,24,24,160x96,,", "SH0020,a.png,noise,24,24,160x96,,"), settings)
    outcome = submit(written(tmp_path, "SH0020,a.png,noise,24,24,160x96,,"), settings, dry_run=True)
    assert outcome.result
    assert outcome.result.absent == ("AGM/SH0010",)
