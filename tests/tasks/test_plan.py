"""Plans: exact, complete, and the same every time."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.shot import Delivery, Plate, Shot
from catalogs.timebase import DELIVERY_RATES, native_frames_needed
from models.interface import InterpolatorSpec
from tasks.dryrun import estimate, plan_json
from tasks.engines import spec_for
from tasks.errors import PlanError
from tasks.plan import content_key, derived_seed, plan_take
from tasks.retime import retiming_table

FLOW = InterpolatorSpec("flow", "", "", "1")
PLATE = Plate("/plates/a.png", "0" * 64, 1280, 720)
SHOT = Shot(show="AGM", code="SH0010", sequence="SQ010", frames=120, plate=PLATE, prompt="a lake")
ANIMATIC = spec_for("animatic")
WAN = spec_for("wan2.1-i2v-14b-720p")

SPEEDS = tuple(Fraction(1, slower) for slower in (1, 2, 3, 4, 8, 16))


@given(
    frames=st.integers(1, 2000),
    handles=st.integers(0, 24),
    rate=st.sampled_from(DELIVERY_RATES),
    speed=st.sampled_from(SPEEDS),
    overlap=st.integers(1, 16),
)
def test_exactly_the_frames_asked_for_are_planned(
    frames: int, handles: int, rate: Fraction, speed: Fraction, overlap: int
) -> None:
    """N frames and both handles are delivered, from native frames that all exist and none of which is spare."""
    shot = replace(SHOT, frames=frames, handles=handles, rate=rate, speed=speed, overlap=overlap)
    plan = plan_take(shot, ANIMATIC, interpolator=FLOW)
    assert plan.frames == frames + 2 * handles
    table = list(retiming_table(plan.frames, native=plan.spec.native_rate, delivery=rate, speed=speed))
    assert len(table) == plan.frames
    assert all(0 <= sample.phase < 1 for sample in table)
    last = table[-1]
    assert last.source + (last.phase > 0) == plan.native_frames - 1
    assert plan.windows[-1].span.segment.end == plan.native_frames


@given(
    frames=st.integers(1, 5000),
    native=st.sampled_from([Fraction(16), Fraction(24), Fraction(8)]),
    delivery=st.sampled_from(DELIVERY_RATES),
    speed=st.sampled_from(SPEEDS),
)
def test_native_frames_are_the_least_that_reach(
    frames: int, native: Fraction, delivery: Fraction, speed: Fraction
) -> None:
    """S native frames reach the last delivery frame's time, and S-1 do not."""
    needed = native_frames_needed(frames, native=native, delivery=delivery, speed=speed)
    wanted = Fraction(frames - 1) * speed / delivery
    assert Fraction(needed - 1) / native >= wanted
    assert needed == 1 or Fraction(needed - 2) / native < wanted


def test_the_same_arguments_give_the_same_plan() -> None:
    """A plan holds nothing of the clock, the machine or the order of a dictionary."""
    assert plan_take(SHOT, ANIMATIC, interpolator=FLOW) == plan_take(SHOT, ANIMATIC, interpolator=FLOW)


@pytest.mark.parametrize(
    "change",
    [
        {"plate": replace(PLATE, sha256="1" * 64)},
        {"seed": 7},
        {"camera": "pan left"},
        {"frames": 121},
        {"width": 640, "height": 360},
        {"deliveries": (Delivery.parse("prores"),)},
        {"rate": Fraction(25)},
        {"speed": Fraction(1, 2)},
    ],
)
def test_what_changes_pixels_or_files_changes_the_key(change: dict[str, object]) -> None:
    """A take's key moves with everything that its deliverables depend on."""
    before = plan_take(SHOT, ANIMATIC, interpolator=FLOW)
    after = plan_take(replace(SHOT, **change), ANIMATIC, interpolator=FLOW)  # type: ignore[arg-type]
    assert before.key != after.key


@pytest.mark.parametrize(
    "change", [{"notes": "x"}, {"priority": 1}, {"prompt": "other words"}, {"metadata": (("a", "b"),)}]
)
def test_what_pixels_do_not_depend_on_leaves_the_key(change: dict[str, object]) -> None:
    """Notes, priority, metadata and, for the animatic, the prompt never cost a second render."""
    before = plan_take(SHOT, ANIMATIC, interpolator=FLOW)
    after = plan_take(replace(SHOT, **change), ANIMATIC, interpolator=FLOW)  # type: ignore[arg-type]
    assert before.key == after.key


def test_a_model_that_reads_prompts_has_them_in_its_key() -> None:
    """The prompt is part of what determines a real model's pixels."""
    before = plan_take(SHOT, WAN, interpolator=FLOW)
    assert before.key != plan_take(replace(SHOT, prompt="other"), WAN, interpolator=FLOW).key


def test_the_version_is_in_names_and_not_in_keys() -> None:
    """A second take with the same request reuses all pixels; only file names and their encodes differ."""
    first, second = (plan_take(SHOT, ANIMATIC, interpolator=FLOW, version=version) for version in (1, 2))
    assert first.key == second.key
    assert first.master_key == second.master_key
    assert first.deliveries[0].key != second.deliveries[0].key
    assert second.deliveries[0].file == "AGM_SQ010_SH0010_v002_30p_h265.mp4"


def test_deliveries_that_change_leave_the_generated_work() -> None:
    """Asking for another format does not generate or retime again."""
    before = plan_take(SHOT, ANIMATIC, interpolator=FLOW)
    after = plan_take(replace(SHOT, deliveries=(Delivery.parse("webm"),)), ANIMATIC, interpolator=FLOW)
    assert (before.join_key, before.master_key) == (after.join_key, after.master_key)


def test_a_windows_key_rests_on_the_one_before_it() -> None:
    """Where context flows from window to window, another first window means other later ones."""
    long = replace(SHOT, frames=600)
    first = plan_take(long, ANIMATIC, interpolator=FLOW)
    second = plan_take(replace(long, camera="roll"), ANIMATIC, interpolator=FLOW)
    assert len(first.windows) > 2
    assert not {window.key for window in first.windows} & {window.key for window in second.windows}


def test_the_interpolator_is_in_the_key_only_where_it_interpolates() -> None:
    """24 to 24 needs no interpolation, so installing RIFE does not remake it; 16 to 30 does."""
    rife = InterpolatorSpec("rife-ncnn", "rife-v4.6", "a" * 64, "1")
    at_native = replace(SHOT, rate=Fraction(48))
    for shot, same in ((SHOT, False), (replace(at_native, rate=Fraction(16), frames=20), True)):
        keys = {plan_take(shot, ANIMATIC, interpolator=spec).master_key for spec in (FLOW, rife)}
        assert (len(keys) == 1) is same


def test_the_animatic_has_the_windows_of_the_model_it_stands_in_for() -> None:
    """A preview has the plan of the real thing: same rate, same native frames, legal windows."""
    preview = spec_for("wan2.1-i2v-14b-720p", engine="animatic")
    real, shown = (plan_take(replace(SHOT, frames=600), spec, interpolator=FLOW) for spec in (WAN, preview))
    assert len(real.windows) > 2
    assert [window.context for window in real.windows] == [window.context for window in shown.windows]
    assert [window.span for window in real.windows] == [window.span for window in shown.windows]
    assert shown.spec.engine == "animatic"


def test_a_size_the_model_cannot_make_is_made_at_its_preset_and_scaled() -> None:
    """1080p from a 720p model: the nearest preset is generated, 1920x1080 is delivered."""
    plan = plan_take(replace(SHOT, width=1920, height=1080), WAN, interpolator=FLOW)
    assert (plan.width, plan.height) == (1280, 720)
    assert (plan.delivery_width, plan.delivery_height) == (1920, 1080)


def test_without_a_size_the_plates_shape_chooses_the_preset() -> None:
    """A portrait plate gives a portrait shot."""
    plan = plan_take(replace(SHOT, plate=replace(PLATE, width=720, height=1280)), WAN, interpolator=FLOW)
    assert (plan.width, plan.height) == (720, 1280)


@pytest.mark.parametrize(
    ("shot", "words"),
    [
        (replace(SHOT, plate=None), "plate"),
        (replace(SHOT, prompt=""), "prompt"),
        (replace(SHOT, width=641, height=360), "641x360"),
    ],
)
def test_what_the_model_cannot_make_is_refused_by_name(shot: Shot, words: str) -> None:
    """The error names the shot and what is wrong."""
    with pytest.raises(PlanError, match=rf"AGM/SH0010: .*{words}"):
        plan_take(shot, WAN, interpolator=FLOW)


def test_seeds_come_from_the_name_or_the_list() -> None:
    """A shot without a seed gets one from its name, so that it never moves; a given one is used as it is."""
    assert plan_take(SHOT, ANIMATIC, interpolator=FLOW).seed == derived_seed("agm", "sh0010")
    plan = plan_take(replace(SHOT, seed=7, frames=600), ANIMATIC, interpolator=FLOW)
    assert [window.seed for window in plan.windows] == [7 + index for index in range(len(plan.windows))]


def test_the_public_json_has_the_contracts_names() -> None:
    """`plan --json` is what scripts read: its names are fixed, its values plain JSON."""
    document = json.loads(json.dumps(plan_json(plan_take(SHOT, ANIMATIC, interpolator=FLOW))))
    wanted = {"slate", "windows", "native_rate", "native_frames", "rate", "frames", "engine", "seconds", "bytes"}
    assert wanted <= set(document)
    assert {"first_frame", "frames", "context", "seed"} <= set(document["windows"][0])
    assert document["rate"] == "30/1"


def test_more_frames_cost_more() -> None:
    """Estimates grow with length and with the number of deliverables."""
    short = estimate(plan_take(SHOT, ANIMATIC, interpolator=FLOW))
    long = estimate(plan_take(replace(SHOT, frames=240), ANIMATIC, interpolator=FLOW))
    assert long.seconds > short.seconds
    assert long.bytes > 1.9 * short.bytes


def test_content_keys_do_not_depend_on_argument_order() -> None:
    """Names are sorted before they are hashed."""
    assert content_key(a=1, b=Fraction(1, 2)) == content_key(b=Fraction(1, 2), a=1)
    assert content_key(a=1) != content_key(a=2)
    with pytest.raises(TypeError, match="canonical"):
        content_key(a=object())


@given(notes=st.text(max_size=3), by=st.text(max_size=3), handles=st.integers(0, 2))
def test_a_slate_is_made_anew_when_it_says_something_else(notes: str, by: str, handles: int) -> None:
    """Notes, sender and handles are in the key of the file whose slate shows them, and in no other file's of that
    master; the take's own key does not know the words."""
    deliveries = tuple(Delivery.parse(text) for text in ("h264:slate", "h264:burnin", "prores"))
    plain = plan_take(replace(SHOT, deliveries=deliveries), ANIMATIC, interpolator=FLOW)
    said = replace(SHOT, deliveries=deliveries, notes=notes, submitted_by=by)
    told = plan_take(said, ANIMATIC, interpolator=FLOW)
    slated, *others = (one.key == two.key for one, two in zip(plain.deliveries, told.deliveries, strict=True))
    assert slated == ((notes, by) == ("", ""))
    assert all(others)
    assert plain.key == told.key
    longer = plan_take(replace(said, handles=handles, frames=said.frames - 2 * handles), ANIMATIC, interpolator=FLOW)
    same = [one.key == two.key for one, two in zip(told.deliveries, longer.deliveries, strict=True)]
    assert longer.master_key == told.master_key
    assert same == [handles == 0, True, True]
