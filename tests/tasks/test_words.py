"""Claims about what each window is told."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.shot import Plate, Shot
from catalogs.timebase import DELIVERY_RATES
from models.interface import InterpolatorSpec, Lora
from tasks.engines import spec_for
from tasks.errors import PlanError
from tasks.plan import PlannedLora, plan_take
from tasks.prepare import Prepared

FLOW = InterpolatorSpec("flow", "", "", "1")
WAN = spec_for("wan2.1-i2v-14b-480p")
PLATE = Plate("/plates/a.png", "0" * 64, 1280, 720)
SHOT = Shot(show="AGM", code="SH0010", frames=240, rate=Fraction(24), plate=PLATE, camera="push in")
BEATS = "a harbour [0s] a boat enters [4s] it turns [9.9s] gulls"
MOVE = "The camera slowly pushes in"


def told(prompt: str, **fields: object) -> list[str]:
    """What each window of the shot is told."""
    plan = plan_take(replace(SHOT, prompt=prompt, **fields), WAN, interpolator=FLOW)  # type: ignore[arg-type]
    return [window.prompt for window in plan.windows]


def test_each_window_has_the_beats_of_its_part() -> None:
    """Ten seconds in three windows: what holds throughout, the beats of its third, the camera's move."""
    assert told(BEATS) == [
        f"a harbour. a boat enters. {MOVE}",
        f"a harbour. a boat enters. it turns. {MOVE}",
        f"a harbour. it turns. gulls. {MOVE}",
    ]


def test_without_beats_all_windows_are_told_the_same() -> None:
    """One prompt for the shot is the prompt of each window, brackets and all."""
    for prompt in ("a [wide] lake", "a lake at dawn,"):
        plan = plan_take(replace(SHOT, prompt=prompt), WAN, interpolator=FLOW)
        assert {window.prompt for window in plan.windows} == {plan.prompt}
    assert told("a [wide] lake")[0] == f"a [wide] lake. {MOVE}"


@pytest.mark.parametrize(
    ("fields", "seam"),
    [({}, Fraction(4)), ({"handles": 24}, Fraction(4)), ({"speed": Fraction(1, 2)}, Fraction(4))],
)
def test_a_beats_time_is_seen_time_of_the_cut(fields: dict[str, object], seam: Fraction) -> None:
    """With handles and in slow motion too, a beat reaches the windows that own what is on the screen at its time."""
    shot = replace(SHOT, prompt=f"x [0s] one [{float(seam):g}s] two", **fields)  # type: ignore[arg-type]
    plan = plan_take(shot, WAN, interpolator=FLOW)
    for window in plan.windows:
        frames = range(window.span.segment.start, window.span.segment.end)
        seen = [Fraction(native, 16) / shot.speed - Fraction(shot.handles, 24) for native in frames]
        # a native frame is on the screen until the next one
        assert ("one" in window.prompt) is (min(seen) < seam)
        assert ("two" in window.prompt) is (max(seen) + Fraction(1, 16) / shot.speed > seam)


@given(
    times=st.lists(st.integers(1, 99), max_size=6, unique=True).map(sorted),
    rate=st.sampled_from(DELIVERY_RATES),
    handles=st.integers(0, 100),
)
def test_no_beat_is_lost_and_no_window_is_told_nothing(times: list[int], rate: Fraction, handles: int) -> None:
    """Every beat reaches at least one window, in order, and every window is told something."""
    words = [f"w{number}w" for number in range(len(times) + 1)]
    prompt = " ".join(f"[{time / 10:g}s] {word}" for time, word in zip([0, *times], words, strict=True))
    prompts = told(prompt, rate=rate, handles=handles, frames=round(10 * rate), camera="")
    assert all(prompts)
    joined = " ".join(prompts)
    assert all(word in joined for word in words)
    spoken = [word.strip(".") for word in joined.split()]
    assert spoken == sorted(spoken, key=lambda word: int(word.strip("w")))


def test_a_model_that_reads_no_prompt_does_not_heed_beats() -> None:
    """The animatic's plan and key are the same whatever the words say, even words that no other model would take."""
    plain, timed, broken = (
        plan_take(replace(SHOT, prompt=prompt), spec_for("animatic"), interpolator=FLOW)
        for prompt in ("x", BEATS, "x [4] y")
    )
    assert plain.key == timed.key == broken.key
    with pytest.raises(PlanError, match=r"AGM/SH0010: the beats cannot be read: \[4\] is no time"):
        told("x [4] y")


def test_only_windows_that_are_told_something_else_are_made_anew() -> None:
    """Another last beat leaves the first window's key; the ones it reaches are other windows."""
    one, other = (
        plan_take(replace(SHOT, prompt=prompt), WAN, interpolator=FLOW)
        for prompt in (BEATS, BEATS.replace("gulls", "z"))
    )
    assert one.windows[0].key == other.windows[0].key
    assert one.windows[-1].key != other.windows[-1].key


def test_a_trigger_word_stands_in_every_window() -> None:
    """A LoRA's word that one beat holds is added where that beat is not told."""
    lora = PlannedLora("mist", Lora(Path("/w/mist.safetensors")), ("a" * 64,), trigger="mistfall")
    shot = replace(SHOT, prompt="x [0s] mistfall over reeds [6s] sun", camera="")
    prompts = [window.prompt for window in plan_take(shot, WAN, interpolator=FLOW, loras=[lora]).windows]
    assert prompts[0] == "x. mistfall over reeds"
    assert prompts[-1].endswith("sun. mistfall")
    assert all(prompt.count("mistfall") == 1 for prompt in prompts)


def test_every_text_is_known_before_a_model_is_loaded() -> None:
    """What a batch has encoded at once is what its windows will be told, and what they are to avoid."""
    shot = replace(SHOT, prompt=BEATS, negative_prompt="blurry")
    assert set(Prepared(shot, WAN, (), "").texts()) == {*told(BEATS), "blurry"}
    assert len(set(told(BEATS))) > 1
