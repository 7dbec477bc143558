"""Claims about how the windows of a shot hang together: what submission and plan refuse alike, and what stands."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from catalogs.problems import KINDS
from catalogs.shot import Anchor, Plate, Shot
from catalogs.timebase import DELIVERY_RATES
from models.interface import GeneratorSpec, InterpolatorSpec
from tasks.chain import chain_complaints, chained
from tasks.engines import spec_for
from tasks.errors import PlanError
from tasks.plan import plan_take
from tasks.steps import sheet_frames
from tasks.words import cut_seconds, native_position

FLOW = InterpolatorSpec("flow", "", "", "1")
PLATE = Plate("/plates/a.png", "0" * 64, 1280, 720)
STILL = Plate("/plates/b.png", "1" * 64, 1280, 720)
SHOT = Shot(show="AGM", code="SH0010", frames=480, rate=Fraction(24), plate=PLATE, prompt="a lake")
I2V, VACE, FLF, T2V, COG = (
    spec_for(name)
    for name in (
        "wan2.1-i2v-14b-480p",
        "wan2.1-vace-1.3b",
        "wan2.1-flf2v-14b-720p",
        "wan2.1-t2v-1.3b",
        "cogvideox-5b-i2v",
    )
)


def at(*times: str | int) -> tuple[Anchor, ...]:
    """Anchors at those seconds."""
    return tuple(Anchor(Fraction(time), STILL) for time in times)


REFUSED: list[tuple[str, GeneratorSpec, dict[str, Any], str]] = [
    (
        "E317",
        T2V,
        {},
        "480 frames with handles are too long for wan2.1-t2v-1.3b; shorten the shot to 121 frames, or",
    ),
    (
        "E317",
        T2V,
        {"frames": 114, "handles": 4},
        "122 frames with handles .*shorten the shot to 113 frames",
    ),
    ("E325", I2V, {"context": "frames-13"}, "use frame; as an experiment frames-5, frames-9"),
    ("E325", I2V, {"context": "everything"}, "cannot be given this context"),
    ("E325", COG, {"context": "latents-1"}, "cannot be given this context; use frame"),
    ("E330", I2V, {"anchors": at(4)}, "use wan2.1-flf2v-14b-720p, .*wan2.1-vace-14b"),
    ("E330", I2V, {"end_plate": STILL}, "cannot arrive at a still"),
    ("E331", I2V, {"overlap": 60}, "too long for windows of at most 81; use at most 40"),
    ("E331", I2V, {"overlap": 200}, "use at most 40"),
    ("E331", I2V, {"overlap": 200, "frames": 24}, "use at most 80"),
    ("E332", I2V, {"overlap": 0}, "shorter than the 1 that the context frame hands on; use 1 or more"),
    ("E332", VACE, {"overlap": 8}, "shorter than the 9 .*frames-9"),
    ("E332", I2V, {"context": "frames-17", "overlap": 16}, "shorter than the 17"),
    ("E333", I2V, {"context": "latents-4", "overlap": 21}, "share 17 frames and no other number, not 21"),
    ("E334", VACE, {"anchors": at(4), "overlap": 12}, "use 9, 13, 17 ..., or leave it empty"),
    ("E335", VACE, {"anchors": at(4, "4.3")}, "the still at 4.3 s, so near to the one at 4 s, .*leave 0.75 s or more"),
    ("E335", VACE, {"anchors": at("0.1")}, "so near to the first frame, leaves no room for a window"),
    ("E335", FLF, {"anchors": at("0.1")}, "leave 0.25 s or more"),
    ("E335", VACE, {"anchors": at("19.95")}, "so near to the end, .*name it as the end_plate"),
]


@pytest.mark.parametrize(("code", "spec", "asked", "said"), REFUSED)
def test_what_windows_cannot_do_is_refused_twice(
    code: str, spec: GeneratorSpec, asked: dict[str, Any], said: str
) -> None:
    """A submission is told the code, and a plan that is made all the same raises the same sentence with the remedy."""
    shot = replace(SHOT, **asked)
    complaints = chain_complaints(shot, spec)
    assert [one.code for one in complaints if one.refuses] == [code]
    assert "; " in str(complaints[0])
    with pytest.raises(PlanError, match=rf"AGM/SH0010: .*{said}") as caught:
        plan_take(shot, spec, interpolator=FLOW)
    assert str(caught.value) == f"AGM/SH0010: {complaints[0]}"


@pytest.mark.parametrize(
    ("code", "spec", "asked"),
    [
        ("W304", I2V, {"context": "latents-4"}),
        ("W304", T2V, {"context": "latents-1", "frames": 240}),
        ("W304", FLF, {"context": "frames-5", "frames": 96, "anchors": at(2)}),
        ("W305", VACE, {"anchors": at(4), "overlap": 13}),
    ],
)
def test_what_is_possible_and_doubtful_is_a_notice(code: str, spec: GeneratorSpec, asked: dict[str, Any]) -> None:
    """The shot is planned, and its sender is told."""
    shot = replace(SHOT, **asked)
    [complaint] = chain_complaints(shot, spec)
    assert (complaint.code, complaint.refuses) == (code, False)
    plan = plan_take(shot, spec, interpolator=FLOW)
    assert plan.experimental is (code == "W304")
    assert ("not trained" in plan.notice) is plan.experimental


def test_every_code_of_windows_is_met_here() -> None:
    """The codes that only a model's windows give have a case above."""
    met = {code for code, *_ in REFUSED} | {"W304", "W305"}
    assert met >= {code for code in KINDS if "E330" <= code <= "E335"} | {"E325", "W304", "W305"}


def test_an_experiment_of_one_window_is_none() -> None:
    """A context that nothing is continued by is no experiment, and changes nothing."""
    short = replace(SHOT, frames=48)
    tried = replace(short, context="latents-4")
    assert chain_complaints(tried, I2V) == []
    plain, other = (plan_take(shot, I2V, interpolator=FLOW) for shot in (short, tried))
    assert not other.experimental
    assert other.key == plain.key


@pytest.mark.parametrize(
    ("context", "frames", "shared", "carries"),
    [("", 1, 5, 0), ("frame", 1, 5, 0), ("frames-9", 9, 13, 0), ("latents-1", 5, 5, 1), ("latents-4", 17, 17, 4)],
)
def test_the_context_asked_for_is_planned(context: str, frames: int, shared: int, carries: int) -> None:
    """Each window after the first has the frames of its kind, and shares those and what is free; latents leave none."""
    plan = plan_take(replace(SHOT, context=context), I2V, interpolator=FLOW)
    assert plan.context == (context or "frame")
    assert plan.overlap == shared
    assert [(window.context, window.carries) for window in plan.windows] == [(0, 0)] + [(frames, carries)] * (
        len(plan.windows) - 1
    )
    keys = {window.key for window in plan.windows}
    usual = {window.key for window in plan_take(SHOT, I2V, interpolator=FLOW).windows}
    assert (keys == usual) is (context in ("", "frame"))


def test_frames_and_latents_of_one_length_are_two_things() -> None:
    """frames-5 and latents-1 hand on five frames each; their windows are not each other's."""
    frames, latents = (
        plan_take(replace(SHOT, context=context, overlap=5), I2V, interpolator=FLOW)
        for context in ("frames-5", "latents-1")
    )
    assert frames.windows[0].key == latents.windows[0].key
    assert frames.windows[1].span == latents.windows[1].span
    assert frames.windows[1].key != latents.windows[1].key


def test_rerolls_are_a_fact_of_windows_that_can_be_made_again() -> None:
    """Any window may be another one with more tries, the first too; where nothing has a seed there are none."""
    two, none, five = (plan_take(replace(SHOT, max_rerolls=most), I2V, interpolator=FLOW) for most in (None, 0, 5))
    assert [plan.max_rerolls for plan in (two, none, five)] == [2, 0, 5]
    for window in (0, 1):
        assert len({plan.windows[window].key for plan in (two, none, five)}) == 3
    drawn = [plan_take(replace(SHOT, max_rerolls=most), spec_for("animatic"), interpolator=FLOW) for most in (None, 5)]
    assert [plan.max_rerolls for plan in drawn] == [0, 0]
    assert drawn[0].key == drawn[1].key


def test_each_still_is_arrived_at_by_a_window() -> None:
    """Windows end on the anchors, the end plate lands on the last window, and every still is in its window's key."""
    shot = replace(SHOT, anchors=at(4, 8, 12), end_plate=PLATE)
    plan = plan_take(shot, FLF, interpolator=FLOW)
    arrives = [(window.span.range.end - 1, window.arrives) for window in plan.windows if window.arrives]
    assert arrives[:-1] == [(64, STILL), (128, STILL), (192, STILL)]
    assert arrives[-1][1] == PLATE
    assert plan.windows[-1].arrives == PLATE
    other = Anchor(Fraction(12), replace(STILL, sha256="2" * 64))
    changed = plan_take(replace(shot, anchors=(*at(4, 8), other)), FLF, interpolator=FLOW)
    same = [one.key == two.key for one, two in zip(plan.windows, changed.windows, strict=True)]
    before = next(number for number, window in enumerate(plan.windows) if window.span.range.end == 193)
    assert same == [True] * before + [False] * (len(same) - before)


def test_a_still_is_shared_only_by_windows_that_were_given_it() -> None:
    """Unless the list says otherwise no frame at an anchor is made by the window behind it: none is blended over it."""
    assert plan_take(replace(SHOT, anchors=at(4)), VACE, interpolator=FLOW).overlap == 9
    assert plan_take(SHOT, VACE, interpolator=FLOW).overlap == 13
    assert plan_take(replace(SHOT, anchors=at(4), overlap=13), VACE, interpolator=FLOW).overlap == 13


@given(
    times=st.lists(st.integers(1, 800), min_size=1, max_size=8, unique=True).map(sorted),
    rate=st.sampled_from(DELIVERY_RATES),
    handles=st.integers(0, 48),
    speed=st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(1, 3)]),
)
def test_any_stills_are_placed_or_refused(times: list[int], rate: Fraction, handles: int, speed: Fraction) -> None:
    """Stills at any times: each is the last of a window, two native frames away at most, or the shot is refused."""
    anchors = tuple(Anchor(Fraction(time, 10), STILL) for time in times)
    shot = replace(SHOT, frames=round(81 * rate), rate=rate, handles=handles, speed=speed, anchors=anchors)
    refused = [complaint for complaint in chain_complaints(shot, FLF) if complaint.refuses]
    if refused:
        assert {complaint.code for complaint in refused} == {"E335"}
        with pytest.raises(PlanError):
            chained(shot, FLF)
        return
    chain = chained(shot, FLF)
    ends = {span.range.end - 1 for span in chain.spans}
    for anchor, stop in zip(anchors, chain.stops, strict=True):
        assert stop in ends
        wanted = native_position(shot, FLF, anchor.at)
        assert abs(stop - wanted) <= 2
        assert cut_seconds(shot, FLF, stop) - anchor.at == (stop - wanted) / (16 * speed)
    assert [frame for span in chain.spans for frame in range(span.segment.start, span.segment.end)] == list(
        range(chain.frames)
    )


@given(frames=st.integers(1, 3000), overlap=st.integers(1, 90))
def test_the_most_that_a_refusal_names_will_do(frames: int, overlap: int) -> None:
    """An overlap that is refused as too long comes with the longest that is not."""
    shot = replace(SHOT, frames=frames, overlap=overlap)
    refused = [one for one in chain_complaints(shot, I2V) if one.refuses]
    assume(refused)
    [complaint] = refused
    assert complaint.code == "E331"
    most = int(str(complaint).rpartition("use at most ")[2])
    assert most < overlap
    assert chain_complaints(replace(shot, overlap=most), I2V) == []
    assert chain_complaints(replace(shot, overlap=most + 1), I2V) != []


def test_the_contact_sheet_shows_each_still_that_is_arrived_at() -> None:
    """Where an anchor is reached can be looked at: its delivery frame is on the sheet, at any rate."""
    for rate in (16, 24, 30):
        shot = replace(SHOT, rate=Fraction(rate), frames=10 * rate, anchors=at(4))
        plan = plan_take(shot, VACE, interpolator=FLOW)
        [arrived] = [window.span.range.end - 1 for window in plan.windows if window.arrives]
        assert plan.delivery_frame(arrived) in sheet_frames(plan)
        assert abs(plan.delivery_frame(arrived) - 4 * rate) <= 1
