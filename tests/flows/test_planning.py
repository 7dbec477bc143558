"""Claims about dry runs: what a model would take on a machine, whether it is installed or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalogs.night import Stage
from catalogs.store import open_catalogue
from flows import planning
from flows.lists import submit
from flows.settings import Settings
from models.memory import GB, DeviceFacts
from tasks import prepare
from tasks.errors import PlanError

Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(tmp_path: Path, plate_path: Path) -> Settings:
    """A home with a 14B shot in 720p, a small model's, and one for the animatic."""
    path = tmp_path / "list.csv"
    path.write_text(
        "show,shot,plate,prompt,frames,fps,resolution,model\n"
        f"AGM,SH0010,{plate_path},a lake,120,24,1280x720,wan2.1-i2v-14b-720p\n"
        f"AGM,SH0020,{plate_path},a lake,48,24,832x480,wan2.1-t2v-1.3b\n"
        f"AGM,SH0030,{plate_path},a lake,48,24,640x360,animatic\n"
    )
    read = Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(plate_path.parent)})
    assert submit(path, read).accepted
    return read


@pytest.fixture
def plan(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Plans the shots on a machine with that graphics card and its gigabytes free."""

    def call(free: float, *, name: str = "NVIDIA H100 80GB HBM3", ram: float = 128, **wishes: Any) -> dict[str, Any]:
        device = DeviceFacts("cuda", int(free * GB), 85 * GB, int(ram * GB), bf16=True, fp8=True)
        if not free:
            device = DeviceFacts("cpu", 0, 0, int(ram * GB))
        for module in (planning, prepare):
            monkeypatch.setattr(module, "device_facts", lambda: device)
        monkeypatch.setattr(planning, "device_name", lambda: name)
        document = planning.dry_run(settings, wishes.pop("shots", []), **wishes)
        assert document["errors"] == []
        return {entry["shot"]: entry for entry in document["shots"]}

    return call


def test_a_model_that_is_not_installed_is_planned_all_the_same(plan: Plan) -> None:
    """Way and memory come from the card; the note says how to get the weights; the animatic needs neither."""
    found = plan(83)
    big, small, drawn = (found[shot] for shot in ("SH0010", "SH0020", "SH0030"))
    assert big["memory"]["fits"]
    assert big["memory"]["rung"]
    assert 0 < big["memory"]["vram"] <= big["memory"]["free_vram"] == 83 * GB
    assert big["notes"] == ["weights not installed; `dailies weights pull wan2.1-i2v-14b-720p`"]
    assert small["memory"]["vram"] < big["memory"]["vram"]
    assert (drawn["memory"], drawn["notes"], drawn["timed_here"]) == (None, [], True)


def test_time_is_known_on_the_machine_of_the_prior(plan: Plan) -> None:
    """81 frames of 720p in 40 steps: the published 1492 s and the finishing, on an H100; elsewhere it is unknown."""
    found = plan(83)
    assert found["SH0010"]["timed_here"]
    assert found["SH0010"]["measured_on"] == "H100"
    assert 1492 < found["SH0010"]["seconds"] < 1700
    assert not found["SH0020"]["timed_here"]
    assert not plan(83, name="NVIDIA H200")["SH0010"]["timed_here"]
    assert not plan(0, name="cpu", ram=20)["SH0010"]["timed_here"]


def test_what_does_not_fit_is_planned_with_the_reason(plan: Plan) -> None:
    """Nothing is made smaller unasked: the plan stays what it was, with what it needs and what would do."""
    found = plan(11.5)["SH0010"]
    assert (found["width"], found["height"]) == (1280, 720)
    assert not found["memory"]["fits"]
    assert "of graphics memory" in found["memory"]["reason"]
    assert "--allow-smaller" in found["memory"]["remedy"]
    cpu = plan(0, name="cpu", ram=20)["SH0010"]["memory"]
    assert (cpu["device"], cpu["fits"]) == ("cpu", False)
    assert "of system memory" in cpu["reason"]


def test_on_request_it_is_made_smaller_and_says_so(plan: Plan) -> None:
    """--allow-smaller: fewer pixels of the shot that does not fit, the same delivery; the others stay as they are."""
    before, after = plan(11.5), plan(11.5, allow_smaller=True)
    less = after["SH0010"]
    assert less["memory"]["fits"]
    assert (less["width"], less["height"]) < (1280, 720)
    assert (less["delivery_width"], less["delivery_height"], less["frames"]) == (1280, 720, 120)
    assert f"made at {less['width']}x{less['height']} instead of 1280x720" in less["notice"]
    assert less["key"] != before["SH0010"]["key"]
    assert after["SH0020"] == before["SH0020"]
    none = plan(2, allow_smaller=True)["SH0010"]
    assert (none["width"], none["memory"]["fits"], none["notice"]) == (1280, False, "")
    assert "No size of this model fits" in none["memory"]["remedy"]
    assert none["memory"]["reason"] not in none["memory"]["remedy"]


def test_a_profile_changes_the_plan(plan: Plan, settings: Settings) -> None:
    """draft takes fewer steps and less time and has another key; a name that is none is refused at once."""
    exact, draft = plan(83)["SH0010"], plan(83, profile="draft")["SH0010"]
    assert (exact["profile"], draft["profile"]) == ("exact", "draft")
    assert draft["steps"] < exact["steps"] == 40
    assert draft["seconds"] < exact["seconds"]
    assert draft["key"] != exact["key"]
    for refused in (planning.dry_run, planning.names_to_render):
        with pytest.raises(PlanError, match="no profile 'quick'; use exact, fast, draft"):
            refused(settings, [], profile="quick")


def test_a_finished_shot_is_planned_as_what_it_is(plan: Plan, settings: Settings) -> None:
    """Its version is the one that is there, with a note that rendering would make nothing; changed, it is the next."""
    before = plan(83)["SH0030"]
    with open_catalogue(settings.database_url) as catalogue:
        take = catalogue.begin_take("AGM/SH0030", key=before["key"], plan=lambda version: before)
        catalogue.finish_take(
            take, manifest=settings.home / "m.json", clips=(), deliverables=(), findings=(), seconds={}
        )
    after = plan(83, shots=["SH0030"])["SH0030"]
    assert (after["version"], after["key"]) == (1, before["key"])
    assert after["notes"] == ["finished already as v001; rendering would make nothing"]


def test_half_a_model_is_told_from_none(plan: Plan, settings: Settings) -> None:
    """A folder without all of its parts: the note names the part that is missing, not the whole model."""
    (settings.weights / "wan2.1-i2v-14b-720p").mkdir(parents=True)
    [note] = plan(83)["SH0010"]["notes"]
    assert "transformer" in note
    assert "dailies weights pull wan2.1-i2v-14b-720p" in note


def test_a_plate_that_is_gone_stands_in_the_plan(plan: Plan, settings: Settings, plate_path: Path) -> None:
    """Planned all the same, with a note that names the file; the plan of the night names the shot too."""
    with open_catalogue(settings.database_url) as catalogue:
        stills = {record.shot.name: record.shot.plate for record in catalogue.shots()}
    document = {"shots": [{"shot": name} for name in stills], "reels": []}
    assert planning.with_plates(settings, document) == {**document, "plates": []}
    away = plate_path.with_suffix(".away")
    plate_path.rename(away)
    try:
        [note] = plan(83)["SH0030"]["notes"]
        assert note.startswith(f"the plate {plate_path} cannot be read (No such file or directory)")
        assert {one["shot"] for one in planning.with_plates(settings, document)["plates"]} == set(stills)
    finally:
        away.rename(plate_path)
    assert plan(83)["SH0030"]["notes"] == []


def test_status_tells_running_from_waiting_and_interrupted(settings: Settings) -> None:
    """Of three shots in `rendering`, one is at work in the batch, one waits to be finished, one was left by a process
    that is gone. Of the batch the runs are listed with how long they were silent."""
    with open_catalogue(settings.database_url) as catalogue:
        nights = catalogue.nights
        catalogue.begin_take("AGM/SH0030", key="k", plan=lambda version: {})
        batch = nights.open_batch(until=None, wishes={}, plan={}, flow_run="f")
        for granted in nights.grant(batch.name, "reel 01", ["AGM/SH0010", "AGM/SH0020"]):
            nights.begin(granted.shot, granted.fence, flow_run="r")
            catalogue.begin_take(granted.shot, key="k", plan=lambda version: {}, fence=granted.fence)
        nights.hand_over("AGM/SH0020", 1)
        nights.arrive("r", batch=batch.name, stage=Stage.GENERATE, name="reel 01", worker="gpu-0 on a", device="cpu")
    found = planning.standing(settings)
    assert {one["shot"]: (one["state"], one["running"]) for one in found["rendering"]} == {
        "AGM/SH0010": ("running", True),
        "AGM/SH0020": ("waiting", True),
        "AGM/SH0030": ("interrupted", False),
    }
    assert found["batch"]["counts"] == {"waiting": 1, "running": 1}
    [run] = found["batch"]["runs"]
    assert 0 <= run["silent_seconds"] < 60
    assert found["house"] is None
    assert found["night"]["begins"] < found["night"]["ends"]


def test_the_last_batch_is_the_last_that_had_shots(tmp_path: Path) -> None:
    """A night in which nothing was ready does not cover up the one before it; its page is named where it lies."""
    done = {
        "shots": [{"error": ""}, {"error": "no memory"}],
        "seconds": 60.0,
        "batch": "2026-11-20",
        "summary": "1 of 2",
    }
    planning.keep_report(tmp_path, done)
    (tmp_path / "2026-11-20.md").write_text("# Night")
    planning.keep_report(tmp_path, {"shots": [], "seconds": 2.0, "batch": "2026-11-21", "summary": "no shot was ready"})
    found = planning.last_batch(tmp_path)
    assert found is not None
    assert (found["batch"], found["summary"], found["shots"], found["failed"]) == ("2026-11-20", "1 of 2", 2, 1)
    assert found["page"] == str(tmp_path / "2026-11-20.md")
