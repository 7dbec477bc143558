"""Claims about nights: batches, runs and timings, on every kind of database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from catalogue_nights import arrived, opened, stocked

from catalogs.errors import BatchRunningError, CatalogueError, FencedError
from catalogs.footage import Status
from catalogs.night import AttemptStatus, BatchStatus, Orders, Stage, Timing
from catalogs.store import Catalogue

TIMING = Timing("window", "wan", "fp8", 832, 480, 81, 40, "NVIDIA H100 80GB HBM3", 61.5, key="a" * 64, shot="AGM/A")


# -- batches -----------------------------------------------------------------------------------------


def test_a_batch_comes_back_as_it_was_opened(catalogue: Catalogue) -> None:
    """Name, times, wishes and plan survive the database; times are in UTC whatever they were given in."""
    india = timezone(timedelta(hours=5, minutes=30))
    now = datetime(2026, 11, 22, 1, 30, tzinfo=india)
    until = now + timedelta(hours=9)
    night = catalogue.nights
    batch = night.open_batch(until=until, wishes={"profile": "fast"}, plan={"reels": [1.5]}, flow_run="f", now=now)
    assert (batch.name, batch.status, batch.started, batch.until) == ("2026-11-22", BatchStatus.RUNNING, now, until)
    assert batch.started.utcoffset() == timedelta(0)
    assert (batch.wishes, batch.plan, batch.report) == ({"profile": "fast"}, {"reels": [1.5]}, {})
    assert night.running() == night.last() == night.batch("2026-11-22") == batch
    assert night.batches() == [batch]


def test_there_is_one_batch_at_a_time(catalogue: Catalogue) -> None:
    """A second one is refused until the first is over, also while it stops; the same flow run gets its own again."""
    night = catalogue.nights
    assert night.running() is None
    assert night.last() is None
    first = opened(catalogue)
    assert opened(catalogue) == first
    for step in (lambda: None, lambda: night.stop(first.name)):
        step()
        with pytest.raises(BatchRunningError, match=f"{first.name} is not over; .*--stop"):
            opened(catalogue, "night-2")
    night.end(first.name, report={"done": 1})
    second = opened(catalogue, "night-2")
    assert second.name == f"{first.name}-2"
    night.end(second.name, report={})
    assert opened(catalogue, "night-3").name == f"{first.name}-3"
    assert [batch.name for batch in night.batches(most=2)] == [f"{first.name}-3", f"{first.name}-2"]


def test_a_batch_goes_through_its_life(catalogue: Catalogue) -> None:
    """Adopted, stopped, ended: each again changes nothing, and what is over stays as it is."""
    night = catalogue.nights
    name = opened(catalogue).name
    assert night.adopt(name, flow_run="night-2").resumed == 1
    assert night.adopt(name, flow_run="night-2").resumed == 1
    assert night.stop(name).status is night.stop(name).status is BatchStatus.STOPPING
    ended = night.end(name, report={"done": 3})
    assert night.end(name, report={"done": 4}) == ended == night.batch(name) == night.stop(name)
    assert (ended.flow_run, ended.report) == ("night-2", {"done": 3})
    assert ended.ended is not None
    assert ended.ended >= ended.started
    with pytest.raises(CatalogueError, match="is over"):
        night.adopt(name, flow_run="x")


def test_an_unknown_batch_is_named_with_the_last_ones(catalogue: Catalogue) -> None:
    """Whoever mistypes a batch sees which ones there are."""
    with pytest.raises(CatalogueError, match="none yet"):
        catalogue.nights.batch("2026-01-01")
    name = opened(catalogue).name
    with pytest.raises(CatalogueError, match=f"the last ones are {name}"):
        catalogue.nights.attempts("2026-01-01")


def test_the_end_of_a_batch_leaves_no_attempt_open(catalogue: Catalogue) -> None:
    """What was not finished is released and fenced, its shots are ready, its runs over; what is by hand goes on."""
    names = stocked(catalogue, "ABC")
    batch = opened(catalogue).name
    one, _ = catalogue.nights.grant(batch, "reel 01", names[:2])
    arrived(catalogue, "f", batch)
    catalogue.nights.begin("AGM/A", one.fence, flow_run="f")
    take = catalogue.begin_take("AGM/A", key="k", plan=lambda version: {}, fence=one.fence)
    hand = catalogue.begin_take("AGM/C", key="k", plan=lambda version: {})
    catalogue.nights.end(batch, report={})
    assert [attempt.status for attempt in catalogue.nights.attempts(batch)] == [AttemptStatus.RELEASED] * 2
    assert [attempt.shot for attempt in catalogue.nights.attempts(open_only=True)] == ["AGM/C"]
    assert catalogue.nights.runs(batch, open_only=True) == []
    assert catalogue.find("AGM/A").status is Status.READY
    with pytest.raises(FencedError), catalogue.publishing(take):
        pytest.fail("a run of a batch that is over may not publish")
    with catalogue.publishing(hand):
        pass


# -- runs --------------------------------------------------------------------------------------------


def test_a_run_gives_signs_of_life_and_gets_orders(catalogue: Catalogue) -> None:
    """Beats are counted, words kept, and the answer says what is still held and whether to stop."""
    names = stocked(catalogue, "ABC")
    night = catalogue.nights
    batch = opened(catalogue).name
    granted = night.grant(batch, "reel 01", names)
    night.assign(batch, "reel 01", flow_run="gpu")
    run = night.arrive("gpu", batch=batch, stage=Stage.GENERATE, name="reel 01", worker="gpu-0 on r7", device="H100")
    night.begin("A", granted[0].fence, flow_run="gpu")
    orders = night.beat("gpu", said="A: step 3 of 40")
    assert orders == night.orders("gpu") == Orders(stop=False, held=frozenset(names))
    assert night.cancel(["AGM/A", "c"]) == ["AGM/A", "AGM/C"]
    assert night.beat("gpu").held == {"AGM/B"}
    [now] = night.runs(batch)
    assert (now.beats - run.beats, now.said, now.worker) == (2, "A: step 3 of 40", "gpu-0 on r7")
    assert now.beat_at >= run.beat_at
    assert night.arrive("gpu", batch=batch, stage=Stage.GENERATE, name="reel 01", worker="x", device="H100").beats == 4
    night.stop(batch)
    assert night.beat("gpu").stop
    night.leave("gpu")
    assert night.runs(batch, open_only=True) == []
    before = night.runs(batch)[0]
    night.leave("gpu")
    assert night.beat("gpu").stop
    assert night.runs(batch) == [before]
    for ask in (night.beat, night.orders):
        with pytest.raises(CatalogueError, match="has to arrive"):
            ask("never")


def test_a_run_that_is_given_up_loses_everything(catalogue: Catalogue) -> None:
    """What it ran died, what waited is released, nothing of it is accepted any more; again: nothing more happens."""
    names = stocked(catalogue, "ABC")
    night = catalogue.nights
    batch = opened(catalogue).name
    a, b, c = night.grant(batch, "reel 01", names)
    night.assign(batch, "reel 01", flow_run="gpu")
    arrived(catalogue, "gpu", batch)
    night.begin("A", a.fence, flow_run="gpu")
    night.hand_over("A", a.fence)
    night.assign_finish("A", a.fence, flow_run="cpu")
    night.begin("B", b.fence, flow_run="gpu")
    take = catalogue.begin_take("B", key="k", plan=lambda version: {}, fence=b.fence)
    ended = night.give_up("gpu", why="killed", evidence={"exit": -9})
    assert [(one.shot, one.status) for one in ended] == [
        ("AGM/B", AttemptStatus.DIED),
        ("AGM/C", AttemptStatus.RELEASED),
    ]
    assert [(one.error, one.evidence) for one in ended] == [("killed", {"gone": "killed", "exit": -9})] * 2
    assert night.deaths(batch) == {"AGM/A": 0, "AGM/B": 1, "AGM/C": 0}
    assert catalogue.find("B").status is Status.READY
    assert night.beat("gpu") == Orders(stop=True, held=frozenset())
    for late in (
        lambda: night.begin("C", c.fence, flow_run="gpu"),
        lambda: night.hand_over("B", b.fence),
        lambda: catalogue.fail_take(take, error="late", seconds={}),
        lambda: catalogue.begin_take("B", key="k", plan=lambda version: {}, fence=b.fence),
    ):
        with pytest.raises(FencedError):
            late()
    assert night.give_up("gpu", why="killed") == []
    assert night.deaths(batch)["AGM/B"] == 1
    assert [one.shot for one in night.attempts(open_only=True)] == ["AGM/A"]


def test_a_run_can_be_given_up_before_it_arrives(catalogue: Catalogue) -> None:
    """Nobody died of a process that never was; if it comes after all, it is told to leave."""
    stocked(catalogue, "A")
    night = catalogue.nights
    batch = opened(catalogue).name
    night.grant(batch, "reel 01", ["A"])
    night.assign(batch, "reel 01", flow_run="late")
    [ended] = night.give_up("late", why="crashed while it was submitted")
    assert ended.status is AttemptStatus.RELEASED
    assert night.deaths(batch) == {"AGM/A": 0}
    run = night.arrive("late", batch=batch, stage=Stage.GENERATE, name="reel 01", worker="w", device="cpu")
    assert run.ended is not None
    assert night.beat("late").stop
    assert night.give_up("unheard of", why="?") == []


# -- timings -----------------------------------------------------------------------------------------


def test_timings_come_back_in_order(catalogue: Catalogue) -> None:
    """Every field survives; one recorded twice stands there twice, for whoever counts."""
    start = datetime(2026, 1, 21, 18, 0, tzinfo=UTC)
    given = [replace(TIMING, seconds=float(n), batch="2026-01-21", at=start + timedelta(seconds=n)) for n in range(5)]
    for timing in [given[3], given[0], given[4], given[1], given[2]]:
        catalogue.nights.record(timing)
    assert catalogue.nights.timings() == given
    assert catalogue.nights.timings(since=start + timedelta(seconds=3)) == given[3:]
    before = datetime.now(UTC)
    catalogue.nights.record(TIMING)
    catalogue.nights.record(TIMING)
    [one, other] = catalogue.nights.timings(since=before)
    assert one.key == other.key == TIMING.key
    assert one.at is not None
    assert catalogue.nights.timings(batch="2026-01-21") == given
