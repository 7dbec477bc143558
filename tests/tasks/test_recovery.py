"""Claims about a night that goes wrong: every shot comes to an end, and no two runs ever hold the same one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.night import Attempt, AttemptStatus, Stage
from tasks.recovery import (
    Action,
    DispatchFinish,
    DispatchReel,
    GiveUp,
    Quarantine,
    Regrant,
    Release,
    Rules,
    RunSeen,
    RunState,
    Seen,
    decide,
)

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
RULES = Rules()
WAITING, RUNNING, DONE = AttemptStatus.WAITING, AttemptStatus.RUNNING, AttemptStatus.DONE
FAILED, DIED, RELEASED = AttemptStatus.FAILED, AttemptStatus.DIED, AttemptStatus.RELEASED
CANCELLED = AttemptStatus.CANCELLED
GONE = {"gone": "its run ended as crashed"}


def attempt(shot: str, fence: int = 1, **changes: Any) -> Attempt:
    """A waiting attempt without a run, changed as said."""
    plain = Attempt(
        shot=shot,
        fence=fence,
        batch="2026-11-21",
        reel="reel 01",
        stage=Stage.GENERATE,
        status=WAITING,
        model="tiny/exact",
        expected=60.0,
        flow_run="",
        granted=NOW,
        not_before=None,
        started=None,
        generated=None,
        ended=None,
    )
    return replace(plain, **changes)


def run(name: str, state: RunState, *, since: float = 0.0, silent: float | None = None, message: str = "") -> RunSeen:
    """What is seen of a run; its name is its id."""
    return RunSeen(
        name, Stage.GENERATE, "reel 01", state, since, silent, message, "gpu-0 on render7, pid 4711", "step 3"
    )


def decided(
    attempts: Sequence[Attempt], runs: Sequence[RunSeen] = (), deaths: dict[str, int] | None = None, **given: Any
) -> list[Action]:
    """The actions."""
    return decide(Seen(attempts, {seen.flow_run: seen for seen in runs}, deaths or {}, NOW, **given), RULES)


@pytest.mark.parametrize(
    ("state", "since", "silent", "lost"),
    [
        (RunState.SCHEDULED, 30_000, None, False),
        (RunState.PENDING, 119, None, False),
        (RunState.PENDING, 121, None, True),
        (RunState.PENDING, 500, 3, False),
        (RunState.RUNNING, 119, None, False),
        (RunState.RUNNING, 121, None, True),
        (RunState.RUNNING, 9000, 24, False),
        (RunState.RUNNING, 26, 26, True),
        (RunState.CANCELLING, 9000, 9, False),
        (RunState.CANCELLING, 9000, 26, True),
        (RunState.COMPLETED, 2, 2, False),
        (RunState.COMPLETED, 6, 2, True),
        (RunState.FAILED, 2, 2, False),
        (RunState.FAILED, 6, 2, True),
        (RunState.CRASHED, 0, 1, True),
        (RunState.CANCELLED, 0, 1, True),
        (RunState.UNKNOWN, 0, 1, True),
    ],
)
@pytest.mark.parametrize("stopping", [False, True])
def test_who_is_given_up(state: RunState, since: float, silent: float | None, lost: bool, stopping: bool) -> None:
    """Terminal, silent or never up: given up once, with the state's own words; waiting for a worker: never."""
    seen = run("f1", state, since=since, silent=silent, message="exited with status code -9")
    held = [attempt("AGM/A", status=RUNNING, flow_run="f1"), attempt("AGM/B", flow_run="f1")]
    given_up = [action for action in decided(held, [seen], stopping=stopping) if isinstance(action, GiveUp)]
    assert [action.flow_run for action in given_up] == (["f1"] if lost else [])
    if lost:
        assert given_up[0].evidence["message"] == "exited with status code -9"
        assert given_up[0].evidence["worker"] == "gpu-0 on render7, pid 4711"
        assert given_up[0].evidence["gone"] == given_up[0].why


def test_nothing_is_concluded_from_not_looking() -> None:
    """A run that the observer did not see is left alone; so is one that is over and holds nothing."""
    assert decided([attempt("AGM/A", status=RUNNING, flow_run="f1")]) == []
    over = run("f1", RunState.CRASHED)
    assert decided([attempt("AGM/A", status=DONE, flow_run="f1")], [over]) == []


def test_what_a_lost_run_had_not_begun_goes_on_together() -> None:
    """In its order, one reel per model and per reel that was lost; the one that was running stays behind for now."""
    gone = {"status": RELEASED, "evidence": GONE, "flow_run": "f1"}
    attempts = [
        attempt("AGM/A", status=DIED, evidence=GONE),
        attempt("AGM/D", **gone),
        attempt("AGM/B", **gone),
        attempt("AGM/C", **gone, model="big/exact"),
        attempt("AGM/E", **gone, reel="reel 02"),
    ]
    granted = [action for action in decided(attempts, deaths={"AGM/A": 1}) if isinstance(action, Regrant)]
    assert [(action.shots, action.model, action.alone) for action in granted] == [
        (("AGM/D", "AGM/B"), "tiny/exact", False),
        (("AGM/C",), "big/exact", False),
        (("AGM/E",), "tiny/exact", False),
    ]


def test_a_suspect_is_tried_when_only_suspects_are_left() -> None:
    """Last: any innocent shot in the same half of the work goes before it; other suspects do not hold it up."""
    died = attempt("AGM/A", status=DIED, evidence=GONE)
    other = attempt("AGM/B", 2, status=RUNNING, flow_run="f2", reel="reel 07")
    deaths = {"AGM/A": 1}
    living = run("f2", RunState.RUNNING, silent=1)
    assert decided([died, other], [living], deaths) == []
    alone = Regrant(("AGM/A",), Stage.GENERATE, "tiny/exact", None, True, "alone, after a death")
    assert decided([died, other], [living], {**deaths, "AGM/B": 1}) == [alone]
    finishing = replace(other, stage=Stage.FINISH)
    assert decided([died, finishing], [living], deaths) == [alone]


def test_a_suspect_stays_one_whatever_ends_it() -> None:
    """Its reel was lost before it began, or it failed in passing: it is still tried alone."""
    released = attempt("AGM/A", 2, status=RELEASED, evidence=GONE)
    failed = attempt("AGM/B", 2, status=FAILED, transient=True)
    granted = decided([released, failed], deaths={"AGM/A": 1, "AGM/B": 1})
    assert all(isinstance(action, Regrant) and action.alone and len(action.shots) == 1 for action in granted)
    assert len(granted) == 2


def test_two_deaths_quarantine_with_what_they_left() -> None:
    """The sentence names workers, last words about this shot and ends; also while the night is stopping."""
    said = {"at": "AGM_B_v001 step 9; the limit after that is 240 s", "said": "AGM_A_v001 step 3"}
    first = attempt("AGM/A", 1, status=DIED, evidence={**GONE, "worker": "gpu-0 on render7", **said})
    second = attempt("AGM/A", 2, status=DIED, evidence={**GONE, "worker": "gpu-1 on render8", "message": "status -11"})
    for stopping in (False, True):
        (action,) = decided([first, second], deaths={"AGM/A": 2}, stopping=stopping)
        assert isinstance(action, Quarantine)
        assert "died 2 times" in action.why
        assert "attempt 1: on gpu-0 on render7, last at 'AGM_A_v001 step 3'" in action.why
        assert "AGM_B" not in action.why
        assert "attempt 2: on gpu-1 on render8, status -11" in action.why
    assert decided([first, second], deaths={"AGM/A": 2}, settled=frozenset({"AGM/A"})) == []


@pytest.mark.parametrize(("tries", "wait"), [(1, 30), (2, 120), (3, 480), (4, None)])
@pytest.mark.parametrize("stage", list(Stage))
def test_passing_failures_wait_longer_each_time(tries: int, wait: int | None, stage: Stage) -> None:
    """30 s, 2 min, 8 min, no more; windows that were handed over are not asked for again."""
    failed = [attempt("AGM/A", number, status=FAILED, transient=True, stage=stage) for number in range(1, tries + 1)]
    granted = decided(failed)
    if wait is None:
        assert granted == []
    else:
        (action,) = granted
        assert isinstance(action, Regrant)
        assert (action.stage, action.not_before) == (stage, NOW + timedelta(seconds=wait))


@pytest.mark.parametrize("status", [DONE, CANCELLED, RELEASED, FAILED])
def test_what_is_over_stays_over(status: AttemptStatus) -> None:
    """Done, cancelled, released by the window's end, failed for good: whatever came before, nothing is done."""
    before = attempt("AGM/A", 1, status=DIED, evidence=GONE)
    assert decided([before, attempt("AGM/A", 2, status=status)], deaths={"AGM/A": 1}) == []


def test_what_waits_is_dispatched_once_it_is_due() -> None:
    """A reel when all its shots are due, a finished window at once; what has a run is left alone."""
    attempts = [
        attempt("AGM/A"),
        attempt("AGM/B"),
        attempt("AGM/C", reel="reel 02", not_before=NOW + timedelta(seconds=1)),
        attempt("AGM/D", reel="reel 03", not_before=NOW),
        attempt("AGM/E", 3, stage=Stage.FINISH, reel="reel 04"),
        attempt("AGM/F", reel="reel 05", flow_run="f5"),
        attempt("AGM/G", reel="reel 06", not_before=NOW + timedelta(seconds=1)),
        attempt("AGM/H", reel="reel 06", not_before=NOW - timedelta(seconds=1)),
        attempt("AGM/I", stage=Stage.FINISH, not_before=NOW + timedelta(seconds=1)),
    ]
    assert decided(attempts) == [DispatchFinish("AGM/E", 3), DispatchReel("reel 01"), DispatchReel("reel 03")]


def test_a_stopping_night_begins_nothing() -> None:
    """What nobody took up is released; a window that is made is left to a finishing run that is on its way."""
    attempts = [
        attempt("AGM/A"),
        attempt("AGM/B", flow_run="late"),
        attempt("AGM/C", stage=Stage.FINISH, flow_run="soon"),
        attempt("AGM/D", stage=Stage.FINISH, flow_run="never"),
        attempt("AGM/E", flow_run="up"),
        attempt("AGM/F", status=RELEASED, evidence=GONE),
        attempt("AGM/G", status=DIED, evidence=GONE),
        attempt("AGM/H", status=FAILED, transient=True),
    ]
    runs = [
        run("late", RunState.SCHEDULED, since=1),
        run("soon", RunState.SCHEDULED, since=1),
        run("never", RunState.SCHEDULED, since=200),
        run("up", RunState.RUNNING, silent=1),
    ]
    actions = decided(attempts, runs, {"AGM/G": 1}, stopping=True)
    assert actions == [Release("AGM/A", 1), Release("AGM/B", 1), Release("AGM/D", 1)]


def test_runs_that_never_begin_anything_are_not_made_for_ever() -> None:
    """A broken worker: three times at once, then ever later, in the end the shots are left for another night."""
    attempts: list[Attempt] = []
    waits = []
    for fence in range(1, 100):
        attempts.append(attempt("AGM/A", fence, status=RELEASED, evidence=GONE, reel=f"reel {fence}"))
        granted = decided(attempts)
        if not granted:
            break
        (action,) = granted
        assert isinstance(action, Regrant)
        waits.append((action.not_before - NOW).total_seconds() if action.not_before else 0)
    assert waits[:7] == [0, 0, 0, 30, 120, 480, 480]
    assert len(waits) == RULES.returns
    assert 4 * 3600 < sum(waits) < 6 * 3600
    worked = attempt("AGM/Z", status=DONE, reel="reel 41", started=NOW)
    assert decided([*attempts, worked]) != [], "a reel that worked before it was lost begins the count anew"


def test_a_thousand_shots_are_decided_in_no_time() -> None:
    """Every attempt is looked at a few times, not every other one for each."""
    statuses = [DIED, RELEASED, FAILED, DONE, WAITING]
    attempts = [
        attempt(f"AGM/{number:04d}", fence, status=statuses[(number + fence) % 5] if fence == 5 else RELEASED,
                evidence=GONE, transient=True, reel=f"reel {number % 40}")
        for fence in range(1, 6) for number in range(1000)
    ]  # fmt: skip
    started = time.perf_counter()
    decided(attempts)
    assert time.perf_counter() - started < 1.0


# ------------------------------------------------------------------------------------------------- whole nights


@dataclass
class Sim:
    """A process on a worker, and what Prefect says of it."""

    name: str
    stage: Stage
    reel: str
    since: float
    state: RunState = RunState.SCHEDULED
    up: bool = False
    """Whether the process lives."""
    beating: bool = False
    beat_at: float | None = None
    at: tuple[str, int, float] | None = None
    """Shot, fence and time at which its work on it ends."""
    orphan: bool = False
    """Whether its worker is gone, and with it whoever could say that it is over."""
    ended: bool = False
    """Whether it was given up."""


@dataclass
class Night:
    """A pure catalogue, Prefect and workers, with faults drawn from a seed."""

    random: Random
    shots: list[str]
    workers: dict[Stage, int]
    poison: set[str]
    broken: set[str]
    flaky: dict[str, int]
    kills: int
    now: float = 0.0
    stopping: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    fences: Counter[str] = field(default_factory=Counter)
    deaths: Counter[str] = field(default_factory=Counter)
    settled: set[str] = field(default_factory=set)
    runs: dict[str, Sim] = field(default_factory=dict)
    reels: int = 0
    lone: set[str] = field(default_factory=set)
    lost: int = 0
    stolen: Counter[str] = field(default_factory=Counter)

    @property
    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.now)

    # -- the catalogue

    def newest(self, shot: str) -> int:
        """Index of the shot's newest attempt."""
        return max(i for i, one in enumerate(self.attempts) if one.shot == shot)

    def change(self, index: int, **changes: Any) -> None:
        self.attempts[index] = replace(self.attempts[index], **changes)

    def mine(self, shot: str, fence: int) -> int | None:
        """The attempt, if it is the newest and open: what every write checks."""
        index = self.newest(shot)
        found = self.attempts[index]
        return index if found.fence == fence == self.fences[shot] and found.open else None

    def grant(self, shots: Sequence[str], reel: str, **changes: Any) -> None:
        for shot in shots:
            assert not any(one.open for one in self.attempts if one.shot == shot), f"{shot} is held already"
            assert shot not in self.settled
            self.fences[shot] += 1
            granted = attempt(shot, self.fences[shot], reel=reel, granted=self.clock, **changes)
            self.attempts.append(granted)

    # -- what the night's flow does

    def seen(self) -> Seen:
        runs = {
            name: RunSeen(
                name,
                sim.stage,
                sim.reel,
                sim.state,
                self.now - sim.since,
                None if sim.beat_at is None else self.now - sim.beat_at,
            )
            for name, sim in self.runs.items()
        }
        return Seen(tuple(self.attempts), runs, dict(self.deaths), self.clock, self.stopping, frozenset(self.settled))

    def dispatch(self, stage: Stage, reel: str, waiting: Sequence[int]) -> None:
        name = f"run {len(self.runs)}"
        self.runs[name] = Sim(name, stage, reel, self.now)
        for index in waiting:
            self.change(index, flow_run=name)

    def carry_out(self, action: Action) -> None:
        match action:
            case GiveUp():
                assert not self.runs[action.flow_run].ended, "nobody is given up twice"
                self.runs[action.flow_run].ended = True
                self.lost += 1
                for index, one in enumerate(self.attempts):
                    if one.flow_run == action.flow_run and one.open:
                        died = one.status is RUNNING
                        self.change(index, status=DIED if died else RELEASED, evidence=action.evidence)
                        self.deaths[one.shot] += died
                        self.fences[one.shot] += 1
            case Regrant():
                self.reels += 1
                reel = f"new {self.reels}"
                if action.alone:
                    assert len(action.shots) == 1
                    self.lone.add(reel)
                    still = [one for one in self.attempts if one.open and one.stage is action.stage]
                    assert all(self.deaths[one.shot] for one in still), "an innocent shot goes before a suspect"
                else:
                    assert not any(self.deaths[shot] for shot in action.shots), "a suspect shares a reel"
                assert not self.stopping
                self.grant(action.shots, reel, stage=action.stage, model=action.model, not_before=action.not_before)
            case Quarantine():
                self.settled.add(action.shot)
                self.fences[action.shot] += 1
            case DispatchReel():
                waiting = [
                    index
                    for index, one in enumerate(self.attempts)
                    if one.reel == action.reel and one.status is WAITING and not one.flow_run
                    and one.stage is Stage.GENERATE
                ]  # fmt: skip
                assert waiting
                self.dispatch(Stage.GENERATE, action.reel, waiting)
            case DispatchFinish():
                index = self.mine(action.shot, action.fence)
                assert index is not None
                self.dispatch(Stage.FINISH, self.attempts[index].reel, [index])
            case Release():
                index = self.mine(action.shot, action.fence)
                assert index is not None
                assert self.stopping
                self.change(index, status=RELEASED)

    def follow(self) -> None:
        """One look, and what it asks for; with the clock standing still it soon asks for nothing."""
        for _ in range(6):
            actions = decide(self.seen(), RULES)
            if not actions:
                return
            for action in actions:
                self.carry_out(action)
        raise AssertionError(f"it never has enough: {actions}")

    # -- what goes wrong, and what goes on

    def strike(self) -> None:
        """Something bad happens to a process that was taken up."""
        victims = [sim for sim in self.runs.values() if sim.up or sim.state is RunState.PENDING]
        if not victims or not self.kills or self.random.random() > 0.25:
            return
        self.kills -= 1
        sim = self.random.choice(victims)
        match self.random.choice(["killed", "worker", "deleted", "mute"]):
            case "killed":  # its worker sees it
                self.put(sim, RunState.CRASHED)
                sim.up = sim.beating = False
            case "worker":  # nobody is left to say so
                sim.up = sim.beating = False
                sim.orphan = True
            case "deleted":
                self.put(sim, RunState.UNKNOWN)
            case "mute":  # it works on, and is not heard: what it writes must not count once it is given up
                sim.beating = False

    def put(self, sim: Sim, state: RunState) -> None:
        sim.state, sim.since = state, self.now

    def work(self, sim: Sim) -> None:
        if sim.state is RunState.PENDING and not sim.up:
            if not sim.orphan and self.now - sim.since > 8:
                sim.up = sim.beating = True
                self.put(sim, RunState.RUNNING)
            return
        if not sim.up:
            return
        if sim.beating:
            sim.beat_at = self.now
        if sim.at is not None:
            shot, fence, until = sim.at
            if self.now < until:
                return
            sim.at = None
            if not self.close(sim, shot, fence):
                return
        if self.stopping or sim.ended:  # what its next sign of life tells it
            for index, one in enumerate(self.attempts):
                if one.flow_run == sim.name and one.status is WAITING:
                    self.change(index, status=RELEASED)
            sim.up = False
            if sim.state is RunState.RUNNING:
                self.put(sim, RunState.COMPLETED)
            return
        own = [i for i, one in enumerate(self.attempts) if one.flow_run == sim.name and one.status is WAITING]
        if not own and sim.stage is Stage.GENERATE and sim.reel not in self.lone:
            own = self.take_over(sim)
        if not own:
            sim.up = False
            if sim.state is RunState.RUNNING:
                self.put(sim, RunState.COMPLETED)
            return
        one = self.attempts[own[0]]
        self.change(own[0], status=RUNNING, started=self.clock)
        sim.at = (one.shot, one.fence, self.now + self.random.choice([4, 10, 30]))

    def close(self, sim: Sim, shot: str, fence: int) -> bool:
        """The end of its work on a shot. False if that was the end of the process too."""
        if shot in self.poison and sim.stage is Stage.GENERATE:
            sim.up = sim.beating = False
            self.put(sim, RunState.CRASHED)
            return False
        index = self.mine(shot, fence)
        if index is None:
            return True  # fenced: what it made is dropped
        assert self.attempts[index].flow_run == sim.name, "two processes at one shot"
        if self.flaky.get(shot, 0) > 0:
            self.flaky[shot] -= 1
            self.change(index, status=FAILED, transient=True)
        elif shot in self.broken:
            self.change(index, status=FAILED)
        elif sim.stage is Stage.GENERATE:
            self.change(index, status=WAITING, stage=Stage.FINISH, generated=self.clock, flow_run="")
            if self.random.random() < 0.8:  # else it dies, or is slow, before it made the finishing run
                self.dispatch(Stage.FINISH, self.attempts[index].reel, [index])
        else:
            self.change(index, status=DONE)
            self.deaths[shot] = 0
        return True

    def take_over(self, sim: Sim) -> list[int]:
        for index in reversed(range(len(self.attempts))):
            one = self.attempts[index]
            late = one.not_before is not None and one.not_before > self.clock
            if one.status is WAITING and one.stage is Stage.GENERATE and not late and not self.deaths[one.shot]:
                self.change(index, status=RELEASED)
                self.stolen[one.shot] += 1
                self.grant([one.shot], sim.reel, flow_run=sim.name)
                return [len(self.attempts) - 1]
        return []

    def tick(self) -> None:
        self.now += 2.0
        for stage, places in self.workers.items():
            busy = sum(
                sim.up or (sim.state is RunState.PENDING and not sim.orphan)
                for sim in self.runs.values()
                if sim.stage is stage
            )
            short = self.kills and int(self.now) % 600 > 450  # now and then there is no worker at all
            for sim in self.runs.values():
                if busy < places and not short and sim.stage is stage and sim.state is RunState.SCHEDULED:
                    self.put(sim, RunState.PENDING)
                    busy += 1
        for sim in list(self.runs.values()):
            self.work(sim)
        self.strike()
        if int(self.now) % 4 == 0:
            self.follow()

    def over(self) -> bool:
        self.follow()
        return not any(one.open for one in self.attempts) and not decide(self.seen(), RULES)


nights = st.builds(
    lambda seed, count, gpus, cpus, poison, broken, flaky, kills: Night(
        Random(seed),
        [f"AGM/{number:02d}" for number in range(count)],
        {Stage.GENERATE: gpus, Stage.FINISH: cpus},
        {f"AGM/{number:02d}" for number in poison},
        {f"AGM/{number:02d}" for number in broken},
        {f"AGM/{number:02d}": times for number, times in flaky.items()},
        kills,
    ),
    seed=st.integers(0, 1 << 30),
    count=st.integers(1, 9),
    gpus=st.integers(1, 3),
    cpus=st.integers(1, 2),
    poison=st.sets(st.integers(0, 9), max_size=2),
    broken=st.sets(st.integers(0, 9), max_size=2),
    flaky=st.dictionaries(st.integers(0, 9), st.integers(1, 6), max_size=3),
    kills=st.integers(0, 25),
)


@settings(max_examples=200)
@given(night=nights, stop_at=st.none() | st.integers(0, 600))
def test_every_night_ends(night: Night, stop_at: int | None) -> None:
    """Whatever dies, hangs, fails or goes mute: every shot ends done, failed, quarantined, or released by a stop."""
    half = len(night.shots) // 2
    night.grant(night.shots[:half], "reel 01")
    night.grant(night.shots[half:], "reel 02")
    flaky = dict(night.flaky)
    while not night.over():
        night.tick()
        if stop_at is not None and night.now >= stop_at:
            night.stopping = True
        assert night.now < 4 * 3600, "it goes on for ever"
    stopped = night.stopping
    for shot in night.shots:
        last = night.attempts[night.newest(shot)]
        granted = sum(one.shot == shot for one in night.attempts)
        assert granted <= 1 + RULES.retries + RULES.deaths + night.lost + night.stolen[shot]
        assert sum(one.status is DONE for one in night.attempts if one.shot == shot) <= 1
        if last.status is RELEASED or (last.status is DIED and shot not in night.settled):
            assert stopped
        elif last.status is DIED:
            assert night.deaths[shot] >= RULES.deaths
        else:
            assert last.status in (DONE, FAILED)
        if last.status is FAILED and last.transient:
            assert stopped or flaky[shot] > RULES.retries
        if last.status is FAILED and not last.transient:
            assert shot in night.broken
        if not stopped and shot in night.poison - night.broken - set(flaky):
            assert shot in night.settled
    if not stopped and not night.poison and night.lost == 0:
        assert all(
            night.attempts[night.newest(shot)].status is DONE
            for shot in night.shots
            if shot not in night.broken | set(flaky)
        )
