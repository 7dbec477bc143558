"""Claims about long shots on their way in: what a list is told, what a plan says, which stills must still be there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalogs.store import open_catalogue
from desk import show
from flows import planning
from flows.lists import Outcome, submit
from flows.settings import Settings
from tasks.errors import MediaError
from tasks.publish import shot_json
from tasks.stills import check_plates

HEAD = "show,shot,plate,prompt,seconds,fps,model,context,overlap,anchors,end_plate,max_rerolls\n"
GOOD = (
    "AGM,SH0010,a.png,a harbour [0s] a boat [4s] it turns,12,24,wan2.1-vace-1.3b,,,4s=b.png; 8s=a.png,b.png,3\n"
    "AGM,SH0020,a.png,a lake,12,24,wan2.1-i2v-14b-480p,latents-4,,,,\n"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose plates are two stills of one shape and one of another."""
    for name, size in (("a", (640, 360)), ("b", (320, 180)), ("square", (360, 360))):
        Image.new("RGB", size, (90, len(name), 40)).save(tmp_path / f"{name}.png")
    return Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(tmp_path)})


def sent(settings: Settings, rows: str, **wishes: Any) -> Outcome:
    """Submits rows."""
    path = settings.home.parent / "list.csv"
    path.write_text(HEAD + rows)
    return submit(path, settings, **wishes)


@pytest.mark.parametrize("engine", ["", "animatic"])
def test_a_list_of_long_shots_goes_in_once(settings: Settings, engine: str) -> None:
    """Beats, anchors, an end plate and an experiment are taken in, told, and unchanged when they are sent again."""
    settings = replace(settings, engine=engine)
    first = sent(settings, GOOD)
    assert first.errors == ()
    assert [(one.code, one.line) for one in first.warnings] == [("W304", 3)]
    for mode in ("create", "update", "upsert"):
        again = sent(settings, GOOD, mode=mode)
        assert again.result is not None
        assert again.result.unchanged == ("AGM/SH0010", "AGM/SH0020")


def test_everything_wrong_with_windows_comes_at_once(settings: Settings) -> None:
    """Each row is told what its model's windows cannot do, in the column that asks for it; nothing goes in."""
    rows = [
        "AGM,S01,a.png,x [4s] b [2s] c,8,24,wan2.1-i2v-14b-480p,,,,,",
        "AGM,S02,a.png,x [9s] b,8,24,wan2.1-i2v-14b-480p,,,,,",
        "AGM,S03,a.png,x,8,24,wan2.1-i2v-14b-480p,,,4s=b.png,,",
        "AGM,S04,a.png,x,8,24,wan2.1-i2v-14b-480p,,,,b.png,",
        "AGM,S05,a.png,x,8,24,wan2.1-vace-1.3b,,,9s=b.png,,",
        "AGM,S06,a.png,x,8,24,wan2.1-vace-1.3b,,12,4s=square.png,,",
        "AGM,S07,a.png,x,8,24,wan2.1-vace-1.3b,frames-6,,,,",
        "AGM,S08,a.png,x,20,24,wan2.1-i2v-14b-480p,,50,,,",
        "AGM,S09,,x,20,24,wan2.1-t2v-1.3b,,,,,",
        "AGM,S10,a.png,x,8,24,wan2.1-vace-1.3b,,8,4s=none.png,,9",
    ]
    outcome = sent(settings, "\n".join(rows))
    assert [(one.line, one.column, one.code) for one in outcome.errors] == [
        (2, "prompt", "E326"),
        (3, "prompt", "E327"),
        (4, "anchors", "E330"),
        (5, "end_plate", "E330"),
        (6, "anchors", "E329"),
        (7, "anchors", "E409"),
        (7, "overlap", "E334"),
        (8, "context", "E325"),
        (9, "overlap", "E331"),
        (10, "seconds", "E317"),
        (11, "max_rerolls", "E307"),
        (11, "anchors", "E402"),
        (11, "overlap", "E332"),
    ]
    assert all(one.message and one.remedy for one in outcome.errors)
    with open_catalogue(settings.database_url) as catalogue:
        assert catalogue.shots() == []


def test_a_plan_says_where_stills_are_and_what_each_window_is_told(settings: Settings) -> None:
    """`plan --json` has context, words and stills of each window; a note says at which frame a still is shown."""
    sent(settings, GOOD)
    document = json.loads(json.dumps(planning.dry_run(settings, [])))
    long, tried = document["shots"]
    assert document["errors"] == []
    assert [window["arrives"] and window["arrives"]["native_frame"] for window in long["windows"]] == [64, 128, 192]
    assert [Path(window["arrives"]["plate"]).name for window in long["windows"]] == ["b.png", "a.png", "b.png"]
    assert [window["prompt"] for window in long["windows"]] == [
        "a harbour. a boat",
        "a harbour. a boat. it turns",
        "a harbour. it turns",
    ]
    assert [window["kind"] for window in long["windows"]] == ["none", "frames-9", "frames-9"]
    assert (long["context"], long["experimental"], long["max_rerolls"]) == ("frames-9", False, 3)
    assert "b.png at 4 s is shown at 4 s: native frame 64, the last of window 1" in long["notes"]
    assert (tried["context"], tried["experimental"]) == ("latents-4", True)
    assert [window["carries"] for window in tried["windows"]] == [0] + [4] * (len(tried["windows"]) - 1)
    assert "latents-4, for which wan2.1-i2v-14b-480p was not trained" in tried["notice"]


def test_a_still_that_was_painted_over_is_refused(settings: Settings) -> None:
    """An anchor is held to its hash as the plate is."""
    sent(settings, GOOD)
    with open_catalogue(settings.database_url) as catalogue:
        shot = catalogue.find("SH0010").shot
    check_plates(shot)
    Image.new("RGB", (320, 180), (1, 2, 3)).save(settings.home.parent / "b.png")
    with pytest.raises(MediaError, match=r"AGM/SH0010: the plate .*b\.png has changed"):
        check_plates(replace(shot, end_plate=None))


def test_what_was_asked_for_is_shown_and_written_down(
    settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`shots --json` has the four columns as a list would write them; the manifest has them as JSON."""
    sent(settings, GOOD)
    with open_catalogue(settings.database_url) as catalogue:
        records = catalogue.shots()
    show.shots(records, as_json=True, total=len(records), more=False)
    listed, tried = json.loads(capfdbinary.readouterr().out)["shots"]
    folder = settings.home.parent.resolve()
    assert listed["anchors"] == [f"4s={folder}/b.png", f"8s={folder}/a.png"]
    assert (listed["context"], listed["overlap"], listed["max_rerolls"]) == ("", None, 3)
    assert (tried["context"], tried["anchors"]) == ("latents-4", [])
    written = json.loads(json.dumps(shot_json(records[0].shot)))
    assert [anchor["at"] for anchor in written["anchors"]] == ["4/1", "8/1"]
    assert written["anchors"][0]["plate"]["sha256"] == records[0].shot.anchors[0].plate.sha256
