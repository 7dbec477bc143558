"""Claims about a device that is lost in the middle of retiming: who goes on, what is kept, what is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rendering import decoded

from catalogs.footage import Clip
from catalogs.shot import DEFAULT_DELIVERIES, Plate, Shot
from catalogs.timebase import FrameRange
from models.flow import FlowInterpolator
from models.interface import DeviceLost, Frame, InterpolatorSpec
from models.retimers import ANY
from tasks import engines, steps
from tasks.errors import MachineNotReadyError, PlanError, StepError
from tasks.fall import NAME, remembered
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter
from tasks.keep import recall
from tasks.plan import TakePlan, plan_take, with_retimer
from tasks.shot_retimer import ShotRetimers, may_fall, shot_interpolator
from tasks.transient import is_transient

WIDTH, HEIGHT = 64, 48
RIFE = InterpolatorSpec("rife-ncnn", "rife-v4.6", "ab" * 32, "ncnn vulkan 1")
FLOW = FlowInterpolator().spec
DEVICE = "Vulkan device 0 (Test) was lost by RIFE rife-v4.6"
FRAMES = 20
BETWEEN = 20 - len(range(0, 20, 15))
"""Delivery frames of 16 to 30 fps that lie between two native ones."""


class Device:
    """An interpolator on a device that goes away after `last` frames; what it makes is nobody else's picture."""

    def __init__(self, last: int | None = None, *, spec: InterpolatorSpec = RIFE) -> None:
        self.spec, self.made = spec, 0
        self._last = last

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        for _ in phases:
            if self.made == self._last:
                raise DeviceLost(DEVICE)
            self.made += 1
            yield np.full_like(first, 777)


class Bench:
    """A native clip of something that moves, and the retime step over it."""

    def __init__(self, folder: Path, ffmpeg: str) -> None:
        self.folder, self._ffmpeg = folder, ffmpeg
        path = folder / "native.mkv"
        random = np.random.default_rng(3)
        wide = np.kron(random.integers(0, 65536, (HEIGHT // 8, WIDTH // 2, 3)), np.ones((8, 8, 1))).astype(np.uint16)
        native = self.plan().native_frames
        argv = clip_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=Fraction(16))
        with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="t") as writer:
            for at in range(native):
                writer.write(np.ascontiguousarray(wide[:, 3 * at : 3 * at + WIDTH]))
        self._clip = Clip(path, "", 0, FrameRange(0, native), Fraction(16), WIDTH, HEIGHT)

    def plan(self, spec: InterpolatorSpec = RIFE, *, falls: bool = True, **changes: Any) -> TakePlan:
        """The plan of twenty frames at 30 fps."""
        shot = Shot("AGM", "SH0010", FRAMES, rate=Fraction(30), width=WIDTH, height=HEIGHT, retimer="any")
        shot = replace(shot, plate=Plate("/p/a.png", "0" * 64, 64, 48), **changes)
        animatic = replace(engines.spec_for("animatic"), size_multiple=2, smallest=16)
        return plan_take(shot, animatic, interpolator=spec, may_fall=falls)

    def retime(self, plan: TakePlan, interpolator: Any, work: str = "work") -> steps.Done[steps.Retimed]:
        """The step, in a work folder of that name."""
        place = steps.Place(self._ffmpeg, self.folder / work, self.folder / "v001", self.folder / "weights")
        return steps.retime.fn(plan, self._clip, interpolator=interpolator, place=place)

    def left(self, work: str = "work") -> set[str]:
        """Every file below a work folder."""
        return {str(path.relative_to(self.folder / work)) for path in (self.folder / work).rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path, ffmpeg: str) -> Bench:
    """A folder of its own, without weights: after RIFE comes optical flow."""
    (tmp_path / "weights").mkdir()
    return Bench(tmp_path, ffmpeg)


@pytest.mark.expects_log
@pytest.mark.parametrize("last", [0, 1, 7, BETWEEN - 1])
def test_the_next_best_retimes_the_whole_clip(bench: Bench, last: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whenever the device goes, first frame, middle or last: the master is optical flow's own to the bit, under its
    key, and says why; of the lost engine's frames none is in it."""
    alone = bench.retime(bench.plan(FLOW), FlowInterpolator(), "alone").value
    device = Device(last)
    plan = bench.plan()
    found = bench.retime(plan, device).value
    assert device.made == last
    assert decoded(found.master.path) == decoded(alone.master.path)
    assert found.plan == with_retimer(plan, FLOW)
    assert recall(found.master.path, key=alone.plan.master_key) is not None
    assert recall(found.master.path, key=plan.master_key) is None
    assert found.notes["lost"] == DEVICE
    assert found.notes["notice"] == "RIFE's device was lost; retimed by optical flow."
    assert found.notes["interpolated"] == alone.notes["interpolated"] == BETWEEN
    assert (alone.notes["lost"], alone.notes["notice"]) == ("", "")
    assert bench.left() == {"master.mkv", "master.mkv.json", NAME}
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (DEVICE in said, said.endswith("flow does it instead")) == (True, True)


@pytest.mark.parametrize("last", [0, 7, BETWEEN - 1])
def test_without_leave_the_step_fails_and_leaves_nothing(bench: Bench, last: int) -> None:
    """A shot that did not say `any` fails, the sentence names engine, device and the way out; no file is left, and
    another attempt may do better."""
    with pytest.raises(StepError) as caught:
        bench.retime(bench.plan(falls=False), Device(last))
    said = str(caught.value)
    assert said.startswith("AGM_SH0010_v001: rife-ncnn gave up: ")
    assert DEVICE in said
    assert "the retimer any" in said
    assert isinstance(caught.value.__cause__, DeviceLost)
    assert is_transient(caught.value)
    assert bench.left() == set()


def test_where_nothing_else_runs_the_step_fails(bench: Bench) -> None:
    """Optical flow is the last: what is lost then is the shot, even with `any`."""
    plan = replace(bench.plan(FLOW), may_fall=True)
    with pytest.raises(StepError, match="nothing else retimes here"):
        bench.retime(plan, Device(0, spec=FLOW))
    assert bench.left() == set()


def test_another_fault_is_no_lost_device(bench: Bench) -> None:
    """An engine that makes something else than frames fails the step, `any` or not: the next one would hide it."""

    class Wrong(Device):
        def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
            yield np.zeros((2, 2, 3), np.uint16)

    with pytest.raises(StepError) as caught:
        bench.retime(bench.plan(), Wrong())
    assert not is_transient(caught.value)
    assert bench.left() == set()


@pytest.mark.expects_log
def test_a_run_that_goes_on_finds_either_master(bench: Bench) -> None:
    """After a fall the other engine's master is recalled, nothing is asked again; while the planned one's stands it is
    that."""
    plan = bench.plan()
    first = bench.retime(plan, Device(3)).value
    again = bench.retime(plan, unasked := Device(0))
    assert (again.made, unasked.made) == (False, 0)
    assert again.value == first
    whole = bench.retime(plan, Device(), "other").value
    found = bench.retime(plan, Device(0), "other")
    assert (found.made, found.value) == (False, whole)
    assert (whole.plan, whole.notes["lost"]) == (plan, "")


@pytest.mark.expects_log
def test_a_retake_tries_the_planned_engine_again(bench: Bench) -> None:
    """A fall counts for its take: the next version is the planned engine's if its device is back."""
    plan = bench.plan()
    bench.retime(plan, Device(3))
    retake = replace(plan, version=2)
    assert remembered(retake, bench.folder / "work") is None
    found = bench.retime(retake, device := Device()).value
    assert (found.plan, found.notes["lost"], device.made) == (retake, "", BETWEEN)


@pytest.mark.expects_log
def test_a_master_that_flow_made_before_serves(bench: Bench) -> None:
    """What optical flow made of the same frames for an earlier take is recalled, and the fall is told all the same."""
    bench.retime(bench.plan(FLOW), FlowInterpolator())
    receipt = (bench.folder / "work" / "master.mkv.json").read_text()
    found = bench.retime(bench.plan(), Device(3)).value
    assert found.notes["lost"] == DEVICE
    assert (bench.folder / "work" / "master.mkv.json").read_text() == receipt


@pytest.mark.expects_log
def test_an_engine_that_is_missing_at_the_end_is_told_apart(bench: Bench) -> None:
    """Where the shot is finished by another engine from the start, nobody is told of a device that was lost."""
    found = bench.retime(bench.plan(), FlowInterpolator()).value
    assert found.plan == with_retimer(bench.plan(), FLOW)
    assert found.notes["lost"] == "planned with rife-ncnn rife-v4.6, which does not run where the shot was finished"
    assert found.notes["notice"] == "RIFE did not run where the shot was finished; retimed by optical flow."


def test_a_record_that_cannot_be_read_is_none(bench: Bench) -> None:
    """Whatever stands in the record of a fall, a run goes on as if there had been none."""
    plan = bench.plan()
    for text in ("", "{", "[]", "{}", '{"slate": "AGM_SH0010_v001", "key": 3}', '{"slate": "AGM_SH0010_v001"}'):
        (bench.folder / NAME).write_text(text)
        assert remembered(plan, bench.folder) is None


@pytest.mark.parametrize("frames", [2, 20])
def test_what_follows_has_the_keys_that_it_would_have_had(bench: Bench, frames: int) -> None:
    """Master and deliverables of a fallen take are addressed as if it had been planned so; the take, its windows and
    their join keep the keys of what was asked for."""
    plan = bench.plan(frames=frames, deliveries=DEFAULT_DELIVERIES, handles=3)
    fell, planned = with_retimer(plan, FLOW), bench.plan(FLOW, frames=frames, deliveries=DEFAULT_DELIVERIES, handles=3)
    assert (fell.master_key, fell.deliveries) == (planned.master_key, planned.deliveries)
    assert (fell.key, fell.windows, fell.join_key, fell.slate) == (plan.key, plan.windows, plan.join_key, plan.slate)
    assert fell.master_key != plan.master_key
    assert {one.key for one in fell.deliveries}.isdisjoint(one.key for one in plan.deliveries)
    assert with_retimer(fell, RIFE) == plan


def test_windows_that_rife_blended_stay_its_work(bench: Bench) -> None:
    """Of a long shot the join is the planned engine's: what flow makes of it is nothing that flow alone would make."""
    plan, planned = bench.plan(frames=400), bench.plan(FLOW, frames=400)
    assert plan.blended
    assert len({with_retimer(plan, FLOW).master_key, plan.master_key, planned.master_key}) == 3


def test_leave_is_part_of_the_takes_key_where_it_can_matter(bench: Bench) -> None:
    """A take that may have been retimed by another engine is none that must be RIFE's; where nothing is interpolated,
    and where optical flow is planned, there is nothing to fall from."""
    assert bench.plan().key != bench.plan(falls=False).key
    assert bench.plan().master_key == bench.plan(falls=False).master_key
    assert bench.plan(FLOW) == bench.plan(FLOW, falls=False)
    whole = {"rate": Fraction(16)}
    assert bench.plan(**whole) == bench.plan(falls=False, **whole)
    assert bench.plan(**whole).key == bench.plan(FLOW, **whole).key


def test_viewers_are_told_who_retimed_it(bench: Bench) -> None:
    """Flow by choice has its notice, flow instead of RIFE another in its place; where nothing was interpolated there
    is none."""
    card = engines.card_of(bench.plan().spec, bench.folder)
    by_choice = engines.notices(bench.plan(FLOW), card, retimed=True)
    fell = engines.notices(bench.plan(FLOW), card, retimed=True, instead="RIFE's device was lost.")
    assert by_choice[1:] == [engines.NOTICES["flow"]]
    assert fell[1:] == ["RIFE's device was lost."]
    assert engines.notices(bench.plan(FLOW), card, retimed=False, instead="x")[1:] == []


@pytest.mark.parametrize("wish", ["", "rife", "flow", "any"])
@pytest.mark.parametrize("required", [False, True])
def test_a_shot_without_rife_here(bench: Bench, wish: str, required: bool) -> None:
    """Without RIFE: `rife` is refused with a sentence that names the shot, `flow` and `any` are optical flow;
    --require-rife rules flow out, and leave with it."""
    shot = Shot("AGM", "SH0010", 20, retimer=wish)
    weights = bench.folder / "weights"
    many = ShotRetimers(weights, wish=ANY, require_rife=required)
    assert may_fall(shot, require_rife=required) is many.may_fall(shot) is (wish == "any" and not required)
    if wish == "rife" or (wish == "flow" and required):
        for _ in range(2):
            with pytest.raises(PlanError, match=f"^AGM/SH0010 asks for the retimer {wish}[:,]"):
                many.spec(shot)
        with pytest.raises(PlanError, match=r"^AGM/SH0020 asks"):
            many.spec(replace(shot, code="SH0020"))
        with pytest.raises(PlanError, match="AGM/SH0010"):
            shot_interpolator(shot, weights, wish=ANY, require_rife=required)
    elif required:
        with pytest.raises(MachineNotReadyError, match="RIFE was required"):
            many.spec(shot)
    else:
        assert many.spec(shot) == shot_interpolator(shot, weights, wish=ANY, require_rife=False).spec == FLOW
