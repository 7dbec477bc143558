"""Verdicts as a supervisor gives them at a terminal: really rendered shots, approved, sent back, exported, cleaned."""

from __future__ import annotations

import csv
import getpass
import json
from pathlib import Path

import opentimelineio as otio
import pytest
from rendering import House, clean_environment, pictures


@pytest.fixture
def quiet(tmp_path: Path, plate_path: Path) -> House:
    """A house without a Prefect server: what is tested here never needs one."""
    return House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(tmp_path / "home")))


def cut(house: House, *words: str) -> list[str]:
    """The files that the exported timeline shows, in order, by their names; each must be there."""
    out = house.folder / "cut.otio"
    house.json("export", "otio", "-o", str(out), "--overwrite", *words)
    clips = otio.adapters.read_from_file(str(out)).find_clips()
    paths = [Path(otio.url_utils.filepath_from_url(clip.media_reference.target_url)) for clip in clips]
    assert all(path.is_file() for path in paths)
    return [path.name for path in paths]


def test_from_the_list_to_the_cut(house: House) -> None:
    """Rendered, approved, exported: the cut shows v001. Sent back with another camera: a night makes v002 with other
    pixels while v001 stays to the bit; approved in its turn, v002 is in the cut. The same list again changes nothing,
    cleaning frees the work of what is approved, and the history tells it all."""
    house.submit({"shot": "SH0010"}, {"shot": "SH0020"})
    assert [shot["status"] for shot in house.json("render")["shots"]] == ["review", "review"]
    refused = house.run("export", "otio", "-o", str(house.folder / "cut.otio"))
    assert (refused.returncode, "no approved version, it is review" in refused.stderr) == (2, True)

    said = house.json("approve", "SH0010", "AGM_SQ010_SH0020_v001", "--note", "fine")
    assert (said["decision"], said["by"], said["note"]) == ("approve", getpass.getuser(), "fine")
    assert [shot["slate"] for shot in said["shots"]] == ["AGM_SQ010_SH0010_v001", "AGM_SQ010_SH0020_v001"]
    assert cut(house) == ["AGM_SQ010_SH0010_v001_30p_h264.mp4", "AGM_SQ010_SH0020_v001_30p_h264.mp4"]
    assert house.json("render")["shots"] == [], "what is approved waits for nothing"

    folder = house.home / "deliveries/AGM/SQ010/SH0010"
    first = pictures(folder / "v001")
    told = house.run("retake", "sh0010", "--camera", "pan left", "--by", "Zoë", "--note", "the other way")
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == (
        "AGM_SQ010_SH0010_v001: sent back, the shot is ready for another take (camera 'push in' -> 'pan left'); "
        "it was approved"
    )
    assert [shot["status"] for shot in house.json("shots")["shots"]] == ["ready", "approved"]
    assert cut(house) == ["AGM_SQ010_SH0020_v001_30p_h264.mp4"], "what was sent back leaves the cut"
    [made] = house.json("render")["shots"]
    assert (made["version"], made["status"]) == (2, "review")
    assert pictures(folder / "v001") == first
    assert set(pictures(folder / "v002").values()).isdisjoint(first.values())
    house.json("approve", "SH0010")
    assert cut(house)[0] == "AGM_SQ010_SH0010_v002_30p_h264.mp4"
    house.json("export", "edl", "-o", str(house.folder / "cut.edl"))
    named = [line for line in (house.folder / "cut.edl").read_text().splitlines() if "FROM CLIP NAME" in line]
    assert [line.split()[-1] for line in named] == ["AGM_SQ010_SH0010_v002", "AGM_SQ010_SH0020_v001"]
    house.json("export", "versions", "-o", str(house.folder / "versions.csv"))
    with (house.folder / "versions.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = [(row["slate"][-11:], row["status"]) for row in csv.DictReader(stream)]
    assert rows == [("SH0010_v001", "retake"), ("SH0010_v002", "approved"), ("SH0020_v001", "approved")]

    again = house.submit({"shot": "SH0010"}, {"shot": "SH0020"})
    assert (again["changed"], again["unchanged"]) == (0, 2)
    assert again["kept"] == [
        {"shot": "AGM/SH0010", "changes": [{"field": "camera", "listed": "push in", "now": "pan left"}]}
    ]
    [path] = house.plate.parent.glob(f"{house.folder.name}-list.csv")
    dry = house.run("submit", str(path), "--dry-run")
    assert "AGM/SH0010 keeps what a retake changed since the last list: camera 'pan left'." in dry.stdout

    freed = house.json("clean", "--yes", "--older-than", "0")
    assert freed["kinds"]["published"]["shots"] == ["AGM/SH0010", "AGM/SH0020"]
    assert freed["left"] == []
    assert len(cut(house)) == 2, "nothing published went"

    [history] = house.json("history", "SH0010")["shots"]
    assert [(one["version"], one["status"]) for one in history["versions"]] == [(1, "retake"), (2, "approved")]
    assert [(one["decision"], one["version"], one["note"]) for one in history["verdicts"]] == [
        ("approve", 1, "fine"),
        ("retake", 1, "the other way"),
        ("approve", 2, ""),
    ]
    assert history["verdicts"][1]["by"] == "Zoë"
    table = house.run("history", "SH0010")
    assert [line.split()[2:4] for line in table.stdout.splitlines()[3:]] == [
        ["v001", "made,"],
        ["v001", "approve"],
        ["v001", "retake"],
        ["v002", "made,"],
        ["v002", "approve"],
    ], table.stdout


def test_an_approved_older_version_stays_when_its_shot_is_named(house: House) -> None:
    """v001 is approved over v002; rendering the shot by name finds v002 finished and leaves the decision alone."""
    house.submit({"shot": "SH0010"})
    house.json("render")
    house.json("retake", "SH0010")
    house.json("render")
    house.json("approve", "SH0010", "--version", "1")
    [found] = house.json("render", "SH0010")["shots"]
    assert (found["version"], found["error"]) == (2, "")
    [shot] = house.json("shots")["shots"]
    assert shot["status"] == "approved"
    assert cut(house) == ["AGM_SQ010_SH0010_v001_30p_h264.mp4"]


def test_verdicts_that_may_not_be_are_sentences(quiet: House) -> None:
    """Exit code 2, every shot's reason at once, nothing decided; omit and undo are told in the same manner."""
    quiet.submit({"shot": "SH0010"}, {"shot": "SH0020"})
    refused = quiet.run("approve", "SH0010", "SH0020", "--dry-run")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        "dailies: nothing was decided:",
        *(
            f"AGM/{code} has no take yet, so there is nothing to approve; `dailies render AGM/{code}` makes one"
            for code in ("SH0010", "SH0020")
        ),
    ]
    assert quiet.run("retake", "SH0010", "--seed", "x").stderr.startswith("dailies: seed is 'x': not a whole number")
    assert quiet.run("omit", "SH0010", "--dry-run").stdout == "AGM/SH0010: would be omitted; it is ready\n"
    assert quiet.run("omit", "SH0010", "SH0020").stdout == (
        "AGM/SH0010: omitted; it was ready\nAGM/SH0020: omitted; it was ready\n"
    )
    assert quiet.run("omit", "SH0010").stdout == "AGM/SH0010: omitted already\n"
    named = quiet.run("render", "SH0010")
    assert (named.returncode, "`dailies undo AGM/SH0010` brings it back" in named.stderr) == (2, True)
    assert (
        quiet.run("undo", "SH0010").stdout
        == "AGM/SH0010: the omission is taken back, the shot is ready; it was omitted\n"
    )
    assert json.loads(quiet.run("undo", "SH0010", "--json").stdout)["error"].startswith("AGM/SH0010 has no verdict")


def test_a_retake_is_held_against_the_shots_model(quiet: House) -> None:
    """A model that needs words is not sent off without: said now, not at night."""
    quiet.submit({"shot": "SH0010", "model": "wan2.1-i2v-14b-720p", "resolution": "720p"}, {"shot": "SH0020"})
    from catalogs.store import open_catalogue

    with open_catalogue(f"sqlite:///{quiet.home}/catalogue.sqlite") as catalogue:
        for code in ("SH0010", "SH0020"):
            take = catalogue.begin_take(code, key="k", plan=lambda version: {})
            catalogue.fail_take(take, error="black", seconds={})
    refused = quiet.run("retake", "SH0010", "SH0020", "--prompt", "")
    assert refused.returncode == 2
    assert "AGM/SH0010: the model wan2.1-i2v-14b-720p needs a prompt" in refused.stderr
    assert [shot["status"] for shot in quiet.json("shots")["shots"]] == ["failed", "failed"]
    assert quiet.json("retake", "SH0020", "--prompt", "")["shots"][0]["changes"][0]["field"] == "prompt"
