"""Claims about expectations: what they are made from, and that each says so."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.night import Timing
from catalogs.shot import Plate, Shot
from models.cards import Card, card, generator_spec
from models.interface import GeneratorSpec, InterpolatorSpec
from tasks.dryrun import generation_seconds, step_seconds
from tasks.engines import ANIMATIC
from tasks.history import (
    NEWEST,
    Rolled,
    Trust,
    engine_seconds,
    expected_of,
    finish_seconds,
    history,
    load_seconds,
    rolled,
    timed_as,
)
from tasks.plan import TakePlan, plan_take

H100 = "NVIDIA H100 80GB HBM3"
WAN: Card = card("wan2.1-i2v-14b-720p")
EXACT: GeneratorSpec = replace(generator_spec(WAN), profile="exact")
PLATE = Plate("/plates/a.png", "0" * 64, 1280, 720)


def plan(frames: int = 81, *, spec: GeneratorSpec = EXACT, size: tuple[int, int] = (1280, 720)) -> TakePlan:
    """A shot of so many native frames."""
    shot = Shot("AGM", "SH0010", frames, plate=PLATE, prompt="sea", rate=Fraction(16), width=size[0], height=size[1])
    return plan_take(shot, spec, interpolator=InterpolatorSpec("flow", "", "", "1"))


def window(seconds: float, *, frames: int = 81, size: tuple[int, int] = (1280, 720), **changes: object) -> Timing:
    made = Timing("window", WAN.name, "exact", *size, frames, 40, H100, seconds)
    return replace(made, **changes)  # type: ignore[arg-type]


def expect(taken: list[Timing], *, of: TakePlan | None = None, device: str = H100) -> tuple[float, str, Trust]:
    found = engine_seconds(of or plan(), history(taken), card=WAN, device=device)
    return found.seconds, found.basis, found.trust


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=200))
def test_an_expectation_is_a_high_sample(samples: list[float]) -> None:
    """It is one of the newest samples; at least four in five of them are no larger; of fewer than three it is the
    largest."""
    newest = samples[-NEWEST:]
    found = expected_of(samples)
    assert found in newest
    assert sum(one <= found for one in newest) >= 0.8 * len(newest)
    assert sum(one < found for one in newest) <= 0.8 * len(newest)
    if len(newest) < 3:
        assert found == max(newest)


def test_the_same_window_was_timed() -> None:
    """Ten windows of 100 to 190 s: eight in ten took 170 or less. A shot of two windows takes what both do."""
    taken = [window(100.0 + 10 * n) for n in range(10)]
    assert expect(taken) == (170.0, "history of 10 windows", Trust.MEASURED)
    assert expect([window(9.0)]) == (9.0, "history of 1 window", Trust.MEASURED)
    two = plan(157)
    assert [len(one.span.range) for one in two.windows] == [81, 81]
    assert expect(taken, of=two)[0] == 340.0


def test_portrait_costs_what_landscape_does() -> None:
    """A window of 720x1280 was timed: one of 1280x720 takes as long."""
    assert expect([window(50.0, size=(720, 1280))])[::2] == (50.0, Trust.MEASURED)


@pytest.mark.parametrize(
    "other",
    [
        {"model": "wan2.1-i2v-14b-480p"},
        {"profile": "fast"},
        {"device": "NVIDIA H200"},
        {"kind": "load"},
        {"seconds": 0.0},
    ],
)
def test_another_way_of_working_says_nothing(other: dict[str, object]) -> None:
    """Another model, profile or device, a load, a window that took no time: the prior stays what is expected."""
    seconds, basis, trust = expect([replace(window(1.0), **other)])  # type: ignore[arg-type]
    assert (basis, trust) == ("prior (H100)", Trust.PRIOR)
    assert seconds == pytest.approx(37.3 * 40)


def test_another_size_is_scaled_by_the_models_arithmetic() -> None:
    """From the nearest size that was timed, steps times the cost of a step; a farther one does not count."""
    taken = [window(100.0, frames=41), window(1.0, frames=5)]
    seconds, basis, trust = expect(taken)
    step = {n: step_seconds(WAN, width=1280, height=720, frames=n) for n in (41, 81)}
    assert seconds == pytest.approx(100.0 * step[81] / step[41])
    assert (basis, trust) == ("history of 1 window of another size, scaled", Trust.SCALED)
    assert expect([window(100.0, steps=20)])[0] == pytest.approx(200.0)


def test_a_window_resumed_at_its_last_step_is_no_measure() -> None:
    """No step was left to do: nothing follows for a whole window."""
    assert expect([window(3.0, steps=0)])[2] == Trust.PRIOR


@pytest.mark.parametrize(
    ("rolls", "kept", "way", "found"),
    [
        ([(100, True)], 0, {}, Rolled(100, 0, 0)),
        ([(100, True)], 0, {"load_seconds": 30.0, "resumed_at": 7}, Rolled(70, 30, 7)),
        ([(100, True), (140, True)], 0, {}, Rolled(120, 0, 0)),
        ([(130, True), (140, True)], 0, {"load_seconds": 30.0}, Rolled(120, 30, 0)),
        ([(20, True), (140, True), (100, True)], 0, {"resumed_at": 7}, Rolled(120, 0, 0)),
        ([(900, True), (140, True)], 1, {}, Rolled(140, 0, 0)),
        ([(900, True), (140, True), (100, True)], 2, {}, Rolled(120, 0, 0)),
        ([(100, False), (20, True)], 1, {"load_seconds": 5.0, "resumed_at": 7}, Rolled(15, 5, 7)),
        ([(100, False), (140, True)], 0, {"load_seconds": 30.0, "resumed_at": 7}, Rolled(140, 0, 0)),
        ([(100, False), (900, True), (140, True)], 0, {"load_seconds": 30.0, "resumed_at": 7}, Rolled(140, 0, 0)),
        ([(100, False), (140, False)], 1, {"load_seconds": 30.0}, None),
    ],
)
def test_a_window_takes_what_one_roll_took(
    rolls: list[tuple[float, bool]], kept: int, way: dict[str, float], found: Rolled | None
) -> None:
    """The mean of those made now; loading and a checkpoint are known of the kept one, and had by the first at most:
    such a one does not count beside others, and what a process that died took counts for nothing."""
    notes = [
        {"seed": 5 + 2 * number, "over": 1.5, "said": "", "seconds": seconds, "made": made}
        for number, (seconds, made) in enumerate(rolls)
    ]
    assert rolled({**way, "seed": 5 + 2 * kept, "rolls": notes}, 2000.0) == found


@pytest.mark.parametrize("rolls", [{}, {"rolls": []}, {"rolls": [{"seed": 5, "over": 0.0, "said": ""}]}])
def test_notes_without_times_of_rolls_are_one_roll(rolls: dict[str, object]) -> None:
    """Written before rolls were timed, or by a benchmark: all the seconds are the window's, but for the loading."""
    assert rolled({"seed": 5, "load_seconds": 30.0, "resumed_at": 7, **rolls}, 100.0) == Rolled(70.0, 30.0, 7)


def test_the_least_certain_window_speaks_for_the_shot() -> None:
    """One window was timed, the other's length was not: the sum is as good as the scaled one."""
    of = plan(150)
    lengths = [len(one.span.range) for one in of.windows]
    assert lengths == [81, 77]
    assert expect([window(100.0)] * 5, of=of)[1:] == ("history of 5 windows of another size, scaled", Trust.SCALED)


def test_a_prior_of_another_device_is_a_guess() -> None:
    """The card was measured on an H100: on another device the same number is a guess, and the text says of what."""
    seconds, basis, trust = expect([], device="NVIDIA L40S")
    assert (basis, trust) == ("guess: prior of H100, nothing timed on NVIDIA L40S", Trust.GUESS)
    assert seconds == pytest.approx(generation_seconds(plan(), WAN))
    nothing = replace(WAN, measured_on="", seconds_per_step=0.0)
    found = engine_seconds(plan(), history([]), card=nothing, device=H100)
    assert (found.basis, found.trust) == ("guess: the card has no prior", Trust.GUESS)


def test_windows_that_are_there_take_no_time() -> None:
    """An interrupted take: what was made before is not made again."""
    of = plan(157)
    known = history([window(100.0, key=of.windows[0].key)])
    assert known.made == {of.windows[0].key}
    assert engine_seconds(of, known, card=WAN, device=H100, made=known.made).seconds == 100.0
    every = {one.key for one in of.windows}
    found = engine_seconds(of, known, card=WAN, device=H100, made=every)
    assert (found.seconds, found.basis) == (0.0, "all windows are there")


def test_the_animatic_is_timed_under_its_own_name() -> None:
    """Whatever model it stands in for, on whatever device the worker runs; scaled by pixels."""
    drawn = generator_spec(WAN, engine=ANIMATIC)
    assert timed_as(drawn, H100) == (ANIMATIC, "", "cpu")
    taken = [Timing("window", ANIMATIC, "", 1280, 720, 81, 0, "cpu", 8.0)]
    assert expect(taken, of=plan(spec=drawn)) == (8.0, "history of 1 window", Trust.MEASURED)
    quarter = expect(taken, of=plan(spec=drawn, size=(640, 360)))
    assert quarter[0] == pytest.approx(2.0)
    assert expect([], of=plan(spec=drawn))[1:] == ("prior of any processor", Trust.PRIOR)
    assert load_seconds(drawn, history(taken), card=WAN, device=H100).seconds == 0.0


def test_loading_is_timed_or_guessed_from_the_size() -> None:
    """Loads of the profile, else of another one; without any, gigabytes of weights at one a second."""
    load = Timing("load", WAN.name, "exact", 1280, 720, 0, 0, H100, 70.0)
    other = replace(load, profile="fast", seconds=90.0)
    for taken, seconds in (([load, other], 70.0), ([other], 90.0)):
        found = load_seconds(EXACT, history(taken), card=WAN, device=H100)
        assert (found.seconds, found.basis) == (seconds, "history of 1 load")
    guess = load_seconds(EXACT, history([replace(load, device="cpu")]), card=WAN, device=H100)
    assert guess.trust is Trust.GUESS
    assert guess.seconds == pytest.approx(2 * (16.395 + 5.681) + 4 * (0.631 + 0.127))
    assert guess.basis == "guess: 47 GB of weights at 1 GB/s"


def test_finishing_is_known_by_deliverables() -> None:
    """Shots with the same kinds of deliverables, scaled by pixels; without one, the priors of `dailies plan`."""
    of = plan()
    taken = [Timing("finish", "h265 prores webm", "", 1280, 720, 81, 0, "cpu", 30.0)]
    assert finish_seconds(of, history(taken)).seconds == 30.0
    assert finish_seconds(of, history([replace(taken[0], width=640, height=360)])).seconds == pytest.approx(120.0)
    bare = finish_seconds(of, history([replace(taken[0], model="h264")]))
    assert (bare.basis, bare.trust) == ("prior of two cores", Trust.PRIOR)
    assert bare.seconds == pytest.approx(81 * 1280 * 720 * (0.20 + 3 * 0.10) / 1e6)
