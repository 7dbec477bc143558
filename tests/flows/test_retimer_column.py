"""Claims about a shot's own retimer through the command line, and about a take whose device is lost on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from rendering import House, decoded

from catalogs.footage import Status
from catalogs.store import Catalogue, open_catalogue
from flows import finish
from flows.begin import Begun, Ready, Wishes, found_finished, lay_out, make_ready, take_up
from flows.lists import submit
from flows.settings import Settings
from flows.settle import settle
from flows.take import finish_take, generate_take
from flows.tonight import tonight
from models.interface import DeviceLost, Frame, InterpolatorSpec
from tasks.errors import MachineNotReadyError, PlanError
from tasks.plan import TakePlan

RIFE = InterpolatorSpec("rife-ncnn", "rife-v4.6", "ab" * 32, "vulkan 1")


class Device:
    """RIFE on a device that goes away after so many frames."""

    spec = RIFE

    def __init__(self, last: int) -> None:
        self.left = last

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        for phase in phases:
            if not self.left:
                raise DeviceLost("Vulkan device 0 was lost by RIFE rife-v4.6")
            self.left -= 1
            yield np.asarray(first * float(1 - phase) + second * float(phase), np.uint16)


def manifest(report: dict[str, Any]) -> dict[str, Any]:
    """What was written of a shot."""
    return dict(json.loads(Path(report["manifest"]).read_text()))


def test_a_shot_that_needs_rife_fails_alone(house: House) -> None:
    """Without RIFE, `rife` is refused with a sentence by plan and render, and no other shot with it; what the others
    asked for stands in plan, catalogue and manifest."""
    wishes = {"SH0010": "", "SH0020": "rife", "SH0030": "Flow", "SH0040": "any"}
    house.submit(*({"shot": shot, "retimer": wish, "frames": "6"} for shot, wish in wishes.items()))
    listed = {one["shot"]: one["retimer"] for one in house.json("shots")["shots"]}
    assert listed == {shot: wish.lower() for shot, wish in wishes.items()}
    plan = house.json("plan", code=2)
    assert {one["shot"]: one["retiming"]["asked"] for one in plan["shots"]} == {
        "SH0010": "",
        "SH0030": "flow",
        "SH0040": "any",
    }
    assert {(one["retiming"]["engine"], one["retiming"]["may_fall"]) for one in plan["shots"]} == {("flow", False)}
    [error] = plan["errors"]
    assert error["shot"] == "AGM/SH0020"
    assert error["error"].startswith("AGM/SH0020 asks for the retimer rife: RIFE was required and cannot run")
    night = house.json("plan", "--night")
    assert [(one["shot"], one["error"]) for one in night["refused"]] == [("AGM/SH0020", error["error"])]
    batch = house.json("render", code=1)
    assert [report["status"] for report in batch["shots"]] == ["review", "failed", "review", "review"]
    assert batch["shots"][1]["error"] == error["error"]
    for report in (batch["shots"][2], batch["shots"][3]):
        document = manifest(report)
        asked = wishes[report["shot"]].lower()
        assert (document["shot"]["retimer"], document["retime"]["asked"]) == (asked, asked)
        assert (document["retime"]["engine"], document["retime"]["lost"]) == ("flow", "")
        assert "Retimed by optical flow, not by RIFE." in document["notices"]


def test_a_change_of_the_retimer_makes_a_shot_ready(house: House) -> None:
    """It is a change of pixels to a submission; where the same engine did it already, the take is found finished."""
    house.submit({"shot": "SH0010", "frames": "6"})
    house.json("render")
    refused = house.run("submit", str(house.plate.parent / f"{house.folder.name}-list.csv"), "--mode", "update")
    assert refused.returncode == 0
    house.submit({"shot": "SH0010", "frames": "6", "retimer": "flow"}, mode="update")
    assert house.json("shots")["shots"][0]["status"] == "ready"
    [report] = house.json("render")["shots"]
    assert (report["version"], report["status"], report["seconds"]) == (1, "review", {})


@pytest.mark.usefixtures("rife_runs")
def test_rife_by_wish_and_flow_by_wish(house: House, linear_model: Path) -> None:
    """With RIFE installed `flow` takes optical flow all the same, and `rife` RIFE though the machine is told to use
    flow; each is named in plan and manifest, and a retimer that changes is another take."""
    shutil.copytree(linear_model, house.home / "weights" / "rife-v4.6")
    wishes = {"SH0010": "", "SH0020": "rife", "SH0030": "flow", "SH0040": "any"}
    house.submit(*({"shot": shot, "retimer": wish, "frames": "6"} for shot, wish in wishes.items()))

    def planned(**environment: str) -> list[tuple[str, bool]]:
        entries = house.json("plan", **environment)["shots"]
        return [(one["retiming"]["engine"], one["retiming"]["may_fall"]) for one in entries]

    assert planned() == [("rife-ncnn", False), ("rife-ncnn", False), ("flow", False), ("rife-ncnn", True)]
    told = planned(DAILIES_RETIMER="flow")
    assert told == [("flow", False), ("rife-ncnn", False), ("flow", False), ("flow", False)]
    strict = house.json("plan", "--require-rife", code=2)
    assert [one["retiming"]["may_fall"] for one in strict["shots"]] == [False] * 3
    assert ["--require-rife rules out" in one["error"] for one in strict["errors"]] == [True]
    batch = house.json("render", "SH0020", "SH0030")
    assert [manifest(report)["retime"]["engine"] for report in batch["shots"]] == ["rife-ncnn", "flow"]
    house.submit({"shot": "SH0020", "retimer": "flow", "frames": "6"}, mode="update")
    [again] = house.json("render", "SH0020")["shots"]
    assert (again["version"], manifest(again)["retime"]["engine"]) == (2, "flow")


@pytest.fixture
def settings(tmp_path: Path, plate_path: Path) -> Settings:
    """A home without weights and a shot that may fall to the next best retimer."""
    path = tmp_path / "list.csv"
    path.write_text(
        "show,sequence,shot,plate,prompt,frames,fps,resolution,deliveries,retimer\n"
        f"AGM,SQ010,SH0010,{plate_path},noise,12,30,160x96,h264 webm,any\n"
    )
    read = Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(plate_path.parent)})
    accepted = submit(path, read)
    assert accepted.accepted, accepted.errors
    return read


@pytest.fixture
def catalogue(settings: Settings, prefect_url: str) -> Iterator[Catalogue]:
    """The catalogue of that home, at the session's Prefect server."""
    with temporary_settings(updates={PREFECT_API_URL: prefect_url}), open_catalogue(settings.database_url) as opened:
        yield opened


def taken_up(catalogue: Catalogue, settings: Settings, ready: Ready) -> Begun:
    begun = take_up(catalogue.find("SH0010"), ready, catalogue, settings)
    lay_out(begun, settings)
    return begun


def rendered(begun: Begun, catalogue: Catalogue, interpolator: Any) -> dict[str, Any]:
    """The whole take in a flow run, as `dailies render` and a night make it."""

    @flow(name="render-shot")
    def render() -> dict[str, Any]:
        seconds: dict[str, float] = {}
        generated = generate_take(begun.plan, begun.place, interpolator=interpolator, seconds=seconds)
        made = finish_take(begun.plan, generated, begun.place, interpolator=interpolator, seconds=seconds)
        return settle(begun, made, catalogue, seconds)

    return render()


@pytest.mark.expects_log
def test_a_take_that_lost_its_device_is_delivered(catalogue: Catalogue, settings: Settings) -> None:
    """The flow goes on with the next best: what is delivered is optical flow's to the bit, is named and explained in
    manifest and notices, and is found finished under what was asked for, but not by a shot that must be RIFE's."""
    record = catalogue.find("SH0010")
    plain = make_ready(record, settings, Wishes())
    assert (plain.may_fall, plain.plan(1).may_fall) == (True, False)
    ready = replace(plain, interpolator=Device(4))
    begun = taken_up(catalogue, settings, ready)
    report = rendered(begun, catalogue, ready.interpolator)
    document = manifest(report)
    assert (report["status"], document["take"]["key"]) == ("review", begun.plan.key)
    retime = document["retime"]
    assert (retime["engine"], retime["asked"], retime["may_fall"]) == ("flow", "any", True)
    assert retime["lost"] == "Vulkan device 0 was lost by RIFE rife-v4.6"
    assert "RIFE's device was lost; retimed by optical flow." in document["notices"]
    assert "Retimed by optical flow, not by RIFE." not in document["notices"]
    found = found_finished(catalogue.find("SH0010"), ready, catalogue, settings)
    assert found is not None
    assert found["manifest"] == report["manifest"]
    strict = make_ready(record, settings, Wishes())
    strict = replace(strict, interpolator=Device(4), may_fall=False)
    assert found_finished(catalogue.find("SH0010"), strict, catalogue, settings) is None
    # the same by flow alone is another take with the same pictures
    alone = rendered(taken_up(catalogue, settings, plain), catalogue, plain.interpolator)
    assert alone["version"] == 2
    for one, other in zip(report["deliverables"], alone["deliverables"], strict=True):
        assert decoded(Path(one["path"])) == decoded(Path(other["path"]))


@pytest.mark.expects_log
def test_a_night_goes_on_where_the_device_is_gone(catalogue: Catalogue, settings: Settings) -> None:
    """A shot that was planned with RIFE and is finished where only optical flow runs: with `any` flow does it, unless
    it would have to blend windows that RIFE was to blend; without, the machine is named."""
    ready = replace(make_ready(catalogue.find("SH0010"), settings, Wishes()), interpolator=Device(4))
    begun = taken_up(catalogue, settings, ready)
    plan, work = begun.plan, begun.place.work
    found = finish._interpolator(plan, settings, work)
    assert found.spec.engine == "flow"
    report = rendered(begun, catalogue, found)
    assert manifest(report)["notices"][-1] == "RIFE did not run where the shot was finished; retimed by optical flow."
    blended = replace(plan, windows=(*plan.windows, plan.windows[0]), overlap=8)
    refused: list[TakePlan] = [replace(plan, may_fall=False), blended]
    for one in refused:
        with pytest.raises(MachineNotReadyError, match=r"planned with rife-ncnn rife-v4\.6"):
            finish._interpolator(one, settings, work)


def test_a_shot_that_needs_rife_is_not_begun(catalogue: Catalogue, settings: Settings) -> None:
    """Without RIFE here a shot that asks for it is refused before anything of it is made, by hand and in a night."""
    path = settings.home.parent / "list.csv"
    path.write_text(path.read_text().replace(",any", ",rife"))
    assert submit(path, settings, mode="update").accepted
    record = catalogue.find("SH0010")
    with pytest.raises(PlanError, match="AGM/SH0010 asks for the retimer rife"):
        make_ready(record, settings, Wishes())
    found = tonight(catalogue, settings, workers=1, until=None, now=datetime.now(UTC), wishes={}, device="cpu")
    assert (found.ready, [shot for shot, _ in found.refused]) == ((), ["AGM/SH0010"])
    assert catalogue.find("SH0010").status is Status.READY
