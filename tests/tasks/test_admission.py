"""Claims about the plan of a night, whatever shots, workers and window there are."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.admission import NightPlan, Ready, duration, plan_night
from tasks.errors import PlanError

HOUR = 3600.0
SLACK = 1e-6

seconds = st.one_of(st.just(0.0), st.floats(0.1, 5000.0))


@st.composite
def nights(draw: st.DrawFn, *, windows: bool = True) -> tuple[list[Ready], int, float | None]:
    """Up to 40 shots of up to 5 models, up to 9 workers, and a window or none."""
    loads = draw(st.lists(seconds, min_size=5, max_size=5))
    shots = []
    for number in range(draw(st.integers(0, 40))):
        model = draw(st.integers(0, 4))
        due = draw(st.none() | st.integers(0, 5))
        shots.append(
            Ready(
                shot=f"AGM/SH{number:04d}",
                model=f"model {model}",
                priority=draw(st.integers(1, 3)),
                due=None if due is None else date(2026, 11, 21) + timedelta(due),
                engine_seconds=draw(seconds),
                load_seconds=loads[model],
                finish_seconds=draw(st.sampled_from((0.0, 60.0, 9000.0))),
                basis="guess",
            )
        )
    window = draw(st.none() | st.floats(-1.0, 20_000.0)) if windows else None
    return shots, draw(st.integers(1, 9)), window


def ends(plan: NightPlan, shots: list[Ready]) -> dict[str, float]:
    """When each shot of a reel leaves the engine, worked out from the reels alone."""
    known = {one.shot: one for one in shots}
    found: dict[str, float] = {}
    for reel in plan.reels:
        now = reel.start + max(one.load_seconds for one in shots if one.model == reel.model)
        for shot in reel.shots:
            now += known[shot].engine_seconds
            found[shot] = now
        assert now == pytest.approx(reel.start + reel.seconds)
    return found


@given(nights())
def test_every_shot_is_in_one_reel_or_carried_over(night: tuple[list[Ready], int, float | None]) -> None:
    """No shot is lost and none stands twice; each is expected and has its model; a carried one has a reason."""
    shots, workers, window = night
    plan = plan_night(shots, workers=workers, window=window)
    named = [shot for reel in plan.reels for shot in reel.shots] + [one.shot for one in plan.carried]
    assert sorted(named) == sorted(one.shot for one in shots)
    assert plan.expected == {one.shot: one.engine_seconds for one in shots}
    assert plan.models == {one.shot: one.model for one in shots}
    assert all(one.reason for one in plan.carried)
    assert bool(plan.carried) <= (window is not None)


@given(nights())
def test_nothing_ends_after_the_window(night: tuple[list[Ready], int, float | None]) -> None:
    """Loading, engine and finishing of every admitted shot are over when the window is."""
    shots, workers, window = night
    plan = plan_night(shots, workers=workers, window=window)
    finishing = {one.shot: one.finish_seconds for one in shots}
    for shot, end in ends(plan, shots).items():
        assert window is None or end + finishing[shot] <= window + SLACK


@given(nights())
def test_the_last_worker_ends_within_one_shot_of_the_first(night: tuple[list[Ready], int, float | None]) -> None:
    """All workers, idle ones too: one shot of those admitted, and the loading of its model."""
    shots, workers, window = night
    plan = plan_night(shots, workers=workers, window=window)
    carried = {one.shot for one in plan.carried}
    largest = max((one.engine_seconds + one.load_seconds for one in shots if one.shot not in carried), default=0.0)
    assert len(plan.ends) == workers
    assert max(plan.ends) - min(plan.ends) <= largest + SLACK


@given(nights())
def test_a_reel_is_one_model_on_one_worker(night: tuple[list[Ready], int, float | None]) -> None:
    """A model is loaded once per reel and once per worker; a worker's reels follow each other without a gap."""
    shots, workers, window = night
    plan = plan_night(shots, workers=workers, window=window)
    models = {one.shot: one.model for one in shots}
    rank = {one.shot: n for n, one in enumerate(sorted(shots, key=lambda one: (one.priority, one.due or date.max)))}
    for reel in plan.reels:
        assert {models[shot] for shot in reel.shots} == {reel.model}
        assert [rank[shot] for shot in reel.shots] == sorted(rank[shot] for shot in reel.shots)
    assert len({(reel.worker, reel.model) for reel in plan.reels}) == len(plan.reels)
    for worker in range(workers):
        now = 0.0
        own = [reel for reel in plan.reels if reel.worker == worker]
        for reel in own:
            assert reel.start == pytest.approx(now)
            now += reel.seconds
        assert plan.ends[worker] == pytest.approx(now, abs=SLACK)
    assert [reel.start for reel in plan.reels] == sorted(reel.start for reel in plan.reels)
    assert [reel.name for reel in plan.reels] == [f"reel {n:02d}" for n in range(1, len(plan.reels) + 1)]


@given(nights(), st.randoms())
def test_the_same_shots_give_the_same_plan(night: tuple[list[Ready], int, float | None], chance: random.Random) -> None:
    """Nothing depends on a clock or on chance; in another order the same shots come in, as long as none are equal."""
    shots, workers, window = night
    plan = plan_night(shots, workers=workers, window=window)
    assert plan == plan_night(list(shots), workers=workers, window=window)
    distinct = [replace(one, priority=number + 1) for number, one in enumerate(shots)]
    shuffled = list(distinct)
    chance.shuffle(shuffled)
    assert plan_night(distinct, workers=workers, window=window) == plan_night(shuffled, workers=workers, window=window)


@given(nights(windows=False))
def test_without_an_end_everything_is_done(night: tuple[list[Ready], int, float | None]) -> None:
    """No shot is carried over, nothing is missing, and the workers are busy for exactly what was expected."""
    shots, workers, _ = night
    plan = plan_night(shots, workers=workers, window=None)
    assert (plan.carried, plan.missing_seconds) == ((), 0.0)
    loads = {one.model: max(other.load_seconds for other in shots if other.model == one.model) for one in shots}
    spent = math.fsum(one.engine_seconds for one in shots) + math.fsum(loads[reel.model] for reel in plan.reels)
    assert math.fsum(plan.ends) == pytest.approx(spent, abs=SLACK)


def shot(number: int, engine: float, *, model: str = "m", priority: int = 50, load: float = 0.0) -> Ready:
    return Ready(f"AGM/SH{number:04d}", model, priority, None, engine, load, 0.0, "guess")


def test_priority_decides_who_is_in() -> None:
    """With room for two of four equal shots, the two that go first are in, whatever the order they came in."""
    shots = [
        shot(1, HOUR, priority=50),
        shot(2, HOUR, priority=3),
        shot(3, HOUR, priority=2),
        shot(4, HOUR, priority=1),
    ]
    plan = plan_night(shots, workers=1, window=2.5 * HOUR)
    assert plan.reels[0].shots == ("AGM/SH0004", "AGM/SH0003")
    assert [one.shot for one in plan.carried] == ["AGM/SH0002", "AGM/SH0001"]
    assert plan.missing_seconds == 2 * HOUR


def test_a_due_date_goes_before_none() -> None:
    """Among equals the earlier date is in, then the later one; a shot without a date waits."""
    dated = [replace(shot(n, HOUR), due=due) for n, due in enumerate((None, date(2026, 12, 2), date(2026, 12, 1)))]
    plan = plan_night(dated, workers=1, window=2 * HOUR)
    assert plan.reels[0].shots == ("AGM/SH0002", "AGM/SH0001")


def test_a_shorter_shot_may_pass_one_that_does_not_fit() -> None:
    """An hour is left: the three-hour shot is carried over, the one of half an hour behind it is rendered."""
    plan = plan_night([shot(1, HOUR, priority=1), shot(2, 3 * HOUR), shot(3, HOUR / 2)], workers=1, window=2 * HOUR)
    assert plan.reels[0].shots == ("AGM/SH0001", "AGM/SH0003")
    [left] = plan.carried
    assert "it takes 3.0 h" in left.reason
    assert "the whole window has 2.0 h; lengthen the window, or split the shot" in left.reason


def test_a_reason_names_what_was_missing() -> None:
    """Behind others: by how much it would be late, on how many workers. After the end: that there is no window."""
    plan = plan_night([shot(n, HOUR) for n in range(5)], workers=2, window=2.5 * HOUR)
    [left] = plan.carried
    assert left.reason == (
        "behind the shots before it, it would end 30 min after the window on any of the 2 workers; "
        "lengthen the window, add a worker, or give it priority"
    )
    [over] = plan_night([shot(1, HOUR)], workers=1, window=-5.0).carried
    assert over.reason.startswith("the window is over")


def test_finishing_counts() -> None:
    """A shot whose windows are done in time but whose encoding is not is carried over."""
    late = replace(shot(1, HOUR), finish_seconds=700.0)
    assert plan_night([late], workers=1, window=HOUR + 600).carried
    assert not plan_night([late], workers=1, window=HOUR + 700).carried


def mixed(count: int, *, load: float) -> list[Ready]:
    """Shots of 200 to 1500 seconds of three models, in no order."""
    chance = random.Random(1)
    return [shot(n, chance.uniform(200, 1500), model=f"m{chance.randrange(3)}", load=load) for n in range(count)]


def test_models_stay_together() -> None:
    """Three models that arrive mixed on eight workers are loaded 10 times at most: once each, and once for each worker
    that two of them share. Where every shot goes where it ends first, nearly every worker loads all three."""
    plan = plan_night(mixed(200, load=300.0), workers=8, window=None)
    assert len(plan.reels) <= 3 + 8 - 1
    assert max(plan.ends) <= 1.05 * math.fsum(plan.ends) / 8


def test_grouping_makes_room() -> None:
    """In a window that a perfect division would fill to 95 %, with each model loaded as rarely as can be, all fits."""
    shots = mixed(200, load=900.0)
    work = math.fsum(one.engine_seconds for one in shots) + 10 * 900.0
    assert not plan_night(shots, workers=8, window=work / 8 / 0.95).carried


def test_short_shots_make_up_for_a_long_one_that_came_last() -> None:
    """300 and 300 seconds on two workers, then 600: one of the short ones moves, and both end at 600."""
    plan = plan_night([shot(1, 300.0), shot(2, 300.0), shot(3, 600.0)], workers=2, window=None)
    assert plan.ends == (600.0, 600.0)


def test_missing_time_counts_a_load_of_what_nobody_loads() -> None:
    """Carried over with its model: its load is missing too; of a model that runs anyway it is not."""
    plan = plan_night(
        [shot(1, HOUR, priority=1, load=60.0), shot(2, HOUR, model="n", load=100.0), shot(3, HOUR, load=60.0)],
        workers=1,
        window=HOUR + 60,
    )
    assert plan.missing_seconds == 2 * HOUR + 100


def test_a_thousand_shots_are_planned_at_once() -> None:
    """1,000 shots of 4 models on 16 workers with a window that is too short: under half a second."""
    chance = random.Random(4)
    shots = [
        shot(n, chance.uniform(200, 1500), model=f"m{n % 4}", priority=chance.randint(1, 99), load=120.0)
        for n in range(1000)
    ]
    started = time.perf_counter()
    plan = plan_night(shots, workers=16, window=10 * HOUR)
    assert time.perf_counter() - started < 0.5
    assert plan.carried
    assert min(plan.ends) > 9 * HOUR


@pytest.mark.parametrize(
    ("shots", "workers", "said"),
    [
        ([], 0, "at least 1 worker and 0 were named"),
        ([shot(1, 1.0), shot(1, 2.0)], 1, "AGM/SH0001 stands twice"),
        ([shot(1, math.nan)], 1, "AGM/SH0001 is expected to take nan s"),
        ([shot(1, -1.0)], 1, "from 0 up"),
        ([shot(1, math.inf)], 1, "inf s"),
    ],
)
def test_what_cannot_be_planned_with_is_refused(shots: list[Ready], workers: int, said: str) -> None:
    """No worker, a shot twice, seconds that are none."""
    with pytest.raises(PlanError, match=said):
        plan_night(shots, workers=workers, window=None)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (0.2, "1 s"), (90, "90 s"), (1500, "25 min"), (12_240, "3.4 h")]
)
def test_durations_are_as_exact_as_estimates(seconds: float, said: str) -> None:
    """Seconds, minutes or hours; something is never nothing."""
    assert duration(seconds) == said
