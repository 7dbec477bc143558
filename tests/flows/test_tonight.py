"""Claims about tonight: which shots are ready, what is expected of them, who else is at one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tiny_house import install

import flows.tonight
from catalogs.footage import Status
from catalogs.night import AttemptStatus, Timing
from catalogs.store import Catalogue, open_catalogue
from flows import planning
from flows.lists import submit
from flows.morning import middle_still, morning_report, night_sheet
from flows.settings import Settings
from flows.tonight import Tonight, night_plan_json, preview, tonight
from tasks.errors import MachineNotReadyError, PlanError
from tasks.keep import sole_owner
from tasks.morning_page import markdown

NOW = datetime(2026, 11, 21, 19, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, plate_path: Path) -> Settings:
    """A home with a tiny model installed, and five shots: two of it, two animatics, one whose model is not there."""
    home = tmp_path / "home"
    install(home / "weights", "wan2.1-i2v", "wan2.1-i2v-14b-720p")
    path = tmp_path / "list.csv"
    path.write_text(
        "show,shot,plate,prompt,frames,fps,resolution,model,priority,deliveries\n"
        f"AGM,SH0010,{plate_path},a lake,12,24,64x32,tiny,20,h264\n"
        f"AGM,SH0020,{plate_path},a lake,12,24,64x32,tiny,10,h264\n"
        f"AGM,SH0030,{plate_path},a lake,48,24,160x96,animatic,,h264\n"
        f"AGM,SH0040,{plate_path},a lake,48,24,160x96,animatic,,h264\n"
        f"AGM,SH0050,{plate_path},a lake,48,24,832x480,wan2.1-t2v-1.3b,1,h264\n"
    )
    read = Settings.read({"DAILIES_HOME": str(home), "DAILIES_PLATES": str(plate_path.parent)})
    accepted = submit(path, read)
    assert accepted.accepted, accepted.errors
    return read


@pytest.fixture
def catalogue(settings: Settings) -> Iterator[Catalogue]:
    """The catalogue of that home."""
    with open_catalogue(settings.database_url) as opened:
        yield opened


def plan(catalogue: Catalogue, settings: Settings, **changes: Any) -> Tonight:
    asked: dict[str, Any] = {"workers": 2, "until": None, "now": NOW, "wishes": {}, "device": "cpu", **changes}
    return tonight(catalogue, settings, **asked)


def test_ready_shots_are_grouped_by_model_and_profile(catalogue: Catalogue, settings: Settings) -> None:
    """One worker loads each model once; within a reel priority decides; animatics are one model whatever they stand in
    for."""
    found = plan(catalogue, settings, workers=1, wishes={"profile": "draft"})
    assert [(reel.model, reel.shots) for reel in found.plan.reels] == [
        ("tiny draft", ("AGM/SH0020", "AGM/SH0010")),
        ("animatic", ("AGM/SH0030", "AGM/SH0040")),
    ]
    assert {one.shot: one.model for one in found.ready} == {
        "AGM/SH0020": "tiny draft",
        "AGM/SH0010": "tiny draft",
        "AGM/SH0030": "animatic",
        "AGM/SH0040": "animatic",
    }


def test_what_cannot_be_rendered_is_refused_with_its_sentence(catalogue: Catalogue, settings: Settings) -> None:
    """A model that is not installed: the shot is named, with the command that fetches it; the others are planned."""
    found = plan(catalogue, settings)
    [(shot, error)] = found.refused
    assert shot == "AGM/SH0050"
    assert error.startswith("AGM/SH0050: ")
    assert "dailies weights pull wan2.1-t2v-1.3b" in error
    assert len(found.ready) == 4


def test_what_holds_for_all_shots_is_refused_once(catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
    """An unknown profile or engine, RIFE that is required and missing, no worker: an error of the night, no shot's."""
    with pytest.raises(PlanError, match="no profile 'quick'"):
        plan(catalogue, settings, wishes={"profile": "quick"})
    with pytest.raises(MachineNotReadyError, match="RIFE was required"):
        plan(catalogue, settings, wishes={"require_rife": True})
    with pytest.raises(PlanError, match="at least 1 worker"):
        plan(catalogue, settings, workers=0)
    wrong = Settings.read({"DAILIES_HOME": str(settings.home), "DAILIES_ENGINE": "wam"})
    with pytest.raises(PlanError, match="DAILIES_ENGINE is 'wam'"):
        plan(catalogue, wrong)


def test_history_decides_what_a_shot_takes(catalogue: Catalogue, settings: Settings) -> None:
    """Before any window was timed the card's prior is a guess here; after one, its time is expected of both shots."""
    before = {one.shot: one for one in plan(catalogue, settings).ready}["AGM/SH0010"]
    assert before.basis.startswith("guess: prior of H100")
    entry = next(one for one in planning.dry_run(settings, ["SH0010"])["shots"])
    [window] = entry["windows"]
    here = ("tiny", "exact", entry["width"], entry["height"], window["frames"], entry["steps"], "cpu")
    catalogue.nights.record(Timing("window", *here, 7.5))
    catalogue.nights.record(Timing("load", *here[:4], 0, 0, "cpu", 3.0))
    after = {one.shot: one for one in plan(catalogue, settings).ready}["AGM/SH0020"]
    assert (after.engine_seconds, after.load_seconds, after.basis) == (7.5, 3.0, "history of 1 window")


def test_finished_windows_of_an_interrupted_take_cost_nothing(catalogue: Catalogue, settings: Settings) -> None:
    """The window of a take that broke off was made: of the shot only its finishing is left. Of a finished take, which
    the shot has again become, nothing is."""
    entry = next(one for one in planning.dry_run(settings, ["SH0030"])["shots"])
    take = catalogue.begin_take("AGM/SH0030", key=entry["key"], plan=lambda version: entry)
    for window in entry["windows"]:
        size = (entry["width"], entry["height"], window["frames"])
        catalogue.nights.record(Timing("window", "animatic", "", *size, 0, "cpu", 4.0, key=window["key"]))
    ready = {one.shot: one for one in plan(catalogue, settings).ready}
    assert ready["AGM/SH0030"].engine_seconds == 0.0
    assert ready["AGM/SH0030"].finish_seconds > 0.0
    assert ready["AGM/SH0040"].engine_seconds == 4.0 * len(entry["windows"])
    catalogue.finish_take(take, manifest=settings.home / "m.json", clips=(), deliverables=(), findings=(), seconds={})
    assert "AGM/SH0030" not in {one.shot for one in plan(catalogue, settings).ready}


def test_a_shot_that_somebody_is_at_is_left_to_them(catalogue: Catalogue, settings: Settings) -> None:
    """By hand, while the process lives; in a batch that is open. When the process is gone the night takes the shot."""
    entry = next(one for one in planning.dry_run(settings, ["SH0030"])["shots"])
    catalogue.begin_take("AGM/SH0030", key=entry["key"], plan=lambda version: entry)
    with sole_owner(settings.work / "AGM" / "SH0030", what="AGM/SH0030"):
        found = plan(catalogue, settings)
    assert found.held == (("AGM/SH0030", "it is being rendered by hand"),)
    assert "AGM/SH0030" not in found.plan.expected
    assert "AGM/SH0030" in plan(catalogue, settings).plan.expected
    batch = catalogue.nights.open_batch(until=None, wishes={}, plan={}, flow_run="f", now=NOW)
    catalogue.nights.grant(batch.name, "reel 01", ["AGM/SH0040"])
    assert plan(catalogue, settings).held == (("AGM/SH0040", f"the batch {batch.name} has it already"),)


def test_the_plan_is_json_and_adds_up(catalogue: Catalogue, settings: Settings) -> None:
    """Everything a batch keeps survives JSON; wall times follow from the beginning; hours are wanted = planned +
    missing; a shot that is carried over ends at no time."""
    catalogue.nights.record(Timing("window", "tiny", "exact", 64, 32, 9, 2, "cpu", 600.0))
    found = plan(catalogue, settings, workers=1, until=NOW + timedelta(seconds=30))
    kept = night_plan_json(found)
    assert json.loads(json.dumps(kept)) == kept
    hours = kept["gpu_hours"]
    assert hours["wanted"] == pytest.approx(hours["planned"] + hours["missing"], abs=0.002)
    assert hours["available"] == pytest.approx(30 / 3600, abs=0.001)
    assert {entry["shot"] for entry in kept["carried_over"]} == {"AGM/SH0010", "AGM/SH0020"}
    ends = {entry["shot"]: entry["ends"] for entry in kept["shots"]}
    assert ends["AGM/SH0010"] is None
    assert kept["begins"] <= ends["AGM/SH0030"] <= ends["AGM/SH0040"] <= kept["until"]
    [reel] = kept["reels"]
    assert (reel["shots"], reel["starts"]) == (["AGM/SH0030", "AGM/SH0040"], NOW.isoformat())
    assert sum(kept["bases"].values()) == 4


def test_a_preview_is_of_the_coming_window(settings: Settings) -> None:
    """In the afternoon: from this evening to tomorrow morning; in the night: from now on; with a time: from now till
    then."""
    noon = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    read = Settings.read(
        {"DAILIES_HOME": str(settings.home), "DAILIES_NIGHT": "19:00-07:00", "DAILIES_TIMEZONE": "Europe/Berlin"}
    )
    found = [
        preview(read, workers=1, now=now, until=until)
        for now, until in ((noon, ""), (noon + timedelta(hours=9), ""), (noon, "14:00"))
    ]
    assert [(one["begins"], one["until"], one["zone"]) for one in found] == [
        ("2026-11-21T18:00:00+00:00", "2026-11-22T06:00:00+00:00", "Europe/Berlin"),
        ("2026-11-21T21:00:00+00:00", "2026-11-22T06:00:00+00:00", "Europe/Berlin"),
        ("2026-11-21T12:00:00+00:00", "2026-11-21T13:00:00+00:00", "Europe/Berlin"),
    ]


def test_a_night_through_the_catalogue_is_reported(catalogue: Catalogue, settings: Settings) -> None:
    """Planned, granted, one done, one failed, one cancelled, one not reached: each has its outcome, from real rows."""
    nights = catalogue.nights
    found = plan(catalogue, settings)
    kept = night_plan_json(found)
    for shot, error in found.refused:
        catalogue.fail_shot(shot, error)
    batch = nights.open_batch(until=None, wishes={}, plan=kept, flow_run="f", now=NOW)
    order = ["AGM/SH0010", "AGM/SH0020", "AGM/SH0030", "AGM/SH0040"]
    granted = {one.shot: one for one in nights.grant(batch.name, "reel 01", order, expected=kept["expected"])}
    entry = next(one for one in planning.dry_run(settings, ["SH0030"])["shots"])
    nights.begin("AGM/SH0030", granted["AGM/SH0030"].fence, flow_run="r")
    take = catalogue.begin_take(
        "AGM/SH0030", key=entry["key"], plan=lambda version: entry, fence=granted["AGM/SH0030"].fence
    )
    manifest = settings.deliveries / "m.json"
    catalogue.finish_take(
        take, manifest=manifest, clips=(), deliverables=(), findings=(), seconds={"generate": 3.0, "encode": 1.0}
    )
    nights.end_attempt(
        "AGM/SH0010", granted["AGM/SH0010"].fence, status=AttemptStatus.FAILED, error="the still is gone"
    )
    catalogue.fail_shot("AGM/SH0010", "the still is gone")
    nights.cancel(["AGM/SH0020"])
    nights.end(batch.name, report={})
    report = morning_report(catalogue, batch.name, zone="Europe/Berlin")
    assert report["counts"] == {
        "shots": 5,
        "done": 1,
        "failed": 2,
        "quarantined": 0,
        "carried_over": 1,
        "cancelled": 1,
    }
    by_shot = {entry["shot"]: entry for entry in report["shots"]}
    assert by_shot["SH0030"]["manifest"] == str(manifest)
    assert by_shot["SH0030"]["status"] == Status.REVIEW.value
    assert by_shot["SH0030"]["slate"] == "AGM_SH0030_v001"
    assert (by_shot["SH0010"]["outcome"], by_shot["SH0010"]["error"]) == ("failed", "the still is gone")
    assert "weights pull" in by_shot["SH0050"]["error"]
    assert json.loads(json.dumps(report)) == report
    assert "# Night of 2026-11-21" in markdown(report)


def test_the_sheet_of_a_night_shows_what_is_done(settings: Settings, tmp_path: Path, plate_path: Path) -> None:
    """The middle still of the newest work of each finished shot; without a still there is no sheet."""
    old, new = (settings.work / "AGM" / "SH0010" / key / "stills" for key in ("a", "b"))
    for folder, names in ((old, ["0001.png"]), (new, ["0001.png", "0002.png", "0003.png"])):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(plate_path.read_bytes())
    os.utime(old, (1, 1))
    assert middle_still(settings.work / "AGM" / "SH0010") == new / "0002.png"
    assert middle_still(settings.work / "AGM" / "SH0020") is None
    entry = {"show": "AGM", "shot": "SH0010", "slate": "AGM_SH0010_v001", "outcome": "done", "seconds": {"generate": 4}}
    entry["manifest"] = None
    report = {"batch": "2026-11-21", "summary": "1 of 2 shots done", "shots": [entry, {**entry, "outcome": "failed"}]}
    target = tmp_path / "sheets" / "night.jpg"
    assert night_sheet(report, settings, target) == target
    assert target.stat().st_size > 1000
    assert night_sheet({**report, "shots": [{**entry, "shot": "SH0020"}]}, settings, target) is None


def test_a_full_night_looks_no_further(
    catalogue: Catalogue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When what was looked at fills the night twice, or is as many as a night takes, the rest is counted and waits."""
    whole = plan(catalogue, settings)
    assert (len(whole.ready), len(whole.refused), whole.beyond) == (4, 1, 0)
    monkeypatch.setattr(flows.tonight, "PAGE", 1)
    assert plan(catalogue, settings).ready == whole.ready
    monkeypatch.setattr(flows.tonight, "MOST", 2)
    most = plan(catalogue, settings)
    assert [one.shot for one in most.ready] == ["AGM/SH0020", "AGM/SH0010"]
    assert most.beyond == 2
    assert night_plan_json(most)["beyond"] == 2
    monkeypatch.setattr(flows.tonight, "MOST", 100)
    monkeypatch.setattr(flows.tonight, "LEAST", 1)
    full = plan(catalogue, settings, until=NOW + timedelta(seconds=0.001))
    assert ([one.shot for one in full.ready], full.beyond) == (["AGM/SH0020"], 3)
