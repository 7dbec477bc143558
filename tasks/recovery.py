"""What to do about runs that are gone and attempts that ended: pure. Observations -> actions.

Knows: the rules of a night (who is given up, who is tried again, when and with whom). Does not know: Prefect, the
catalogue, clocks. Memory and time: O(attempts of the batch).

    given up        a run that Prefect says is over, and that still holds attempts; one that was silent for two beats;
                    one that never came up. Never one that waits for a free worker
    granted again   what a lost run had not begun: at once, together, in its order
                    what failed in passing: after 30 s, 2 min, 8 min
                    what was running when its process died: last, and alone in its reel
    quarantined     what was running in two deaths
    dispatched      what waits and has no run

Carrying out the actions leads, in a few rounds, to observations that ask for nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from catalogs.night import Attempt, AttemptStatus, Stage

GONE: Final = "gone"
"""Key of the evidence by which an attempt says that its run went away, and that nobody wanted it to."""


class RunState(StrEnum):
    """Prefect's state types, and UNKNOWN for a run that Prefect does not know any more."""

    UNKNOWN = "UNKNOWN"
    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"


_LEFT: Final = frozenset({RunState.COMPLETED, RunState.FAILED})
"""It came to its end by itself, and may still be heard of."""
_LONGEST_WAIT: Final = 2  # the exponent at which waits stop growing: 8 minutes by default
_OVER: Final = frozenset({*_LEFT, RunState.CRASHED, RunState.CANCELLED, RunState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class RunSeen:
    """What is known of one flow run."""

    flow_run: str
    """Its id."""
    stage: Stage
    name: str
    """Of the reel, or of the shot that is finished."""
    state: RunState
    since: float
    """Seconds that it has been in that state, on the observer's clock."""
    silent: float | None
    """Seconds since its beats last changed, on the observer's clock while it could look; None: it never arrived."""
    message: str = ""
    """What Prefect says of the state."""
    worker: str = ""
    """As catalogs.night.Run.worker; empty if it never arrived."""
    said: str = ""
    """Its last words, as catalogs.night.Run.said."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that decisions are made from."""

    attempts: Sequence[Attempt]
    """All of the batch, in grant order."""
    runs: Mapping[str, RunSeen]
    """By flow run. One that was not looked at is absent: nothing is concluded from that."""
    deaths: Mapping[str, int]
    """By shot; absent is 0."""
    now: datetime
    """UTC."""
    stopping: bool = False
    """Whether the batch was asked to end."""
    settled: frozenset[str] = frozenset()
    """Shots that must not be granted whatever their attempts say: quarantined, omitted, approved."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits, in seconds and counts."""

    lost_after: float = 25.0
    """Seconds of silence after which a run is lost: two beats of 10 s and slack."""
    pending_for: float = 120.0
    """Seconds that a run may take to come up once a worker took it."""
    grace: float = 5.0
    """Seconds after a run's own end in which its last writes may still arrive."""
    retries: int = 3
    """How often a shot that failed in passing is granted again."""
    backoff: float = 30.0
    """Seconds before the first of them; each next waits `growth` times as long."""
    growth: float = 4.0
    deaths: int = 2
    """Deaths that quarantine a shot."""
    at_once: int = 3
    """Runs in a row that may go away without beginning anything before the next one waits too."""
    returns: int = 40
    """Such runs in a row after which a shot is left for another night: five hours, as the waits grow."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End a run and every attempt that it holds; whoever it was cannot write any more."""

    flow_run: str
    why: str
    """A sentence."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What each of its attempts is to remember: `gone`, `state`, `message`, `worker`, `said`, `silent`."""


@dataclass(frozen=True, slots=True)
class Regrant:
    """Give shots another attempt: one reel, or for stage finish one run each."""

    shots: tuple[str, ...]
    stage: Stage
    model: str
    not_before: datetime | None
    alone: bool
    """A reel of its own that no other shot joins: this one may be what kills processes."""
    why: str
    """A few words for the log."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Try a shot no more until somebody has looked."""

    shot: str
    why: str
    """What every death left."""


@dataclass(frozen=True, slots=True)
class DispatchReel:
    """Make a flow run for the attempts of a reel that wait and have none."""

    reel: str


@dataclass(frozen=True, slots=True)
class DispatchFinish:
    """Make a flow run that finishes a shot. Its reel may be making one too: both use one idempotency key."""

    shot: str
    fence: int


@dataclass(frozen=True, slots=True)
class Release:
    """End an attempt that nobody has begun; the batch is stopping."""

    shot: str
    fence: int


Action = GiveUp | Regrant | Quarantine | DispatchReel | DispatchFinish | Release


def decide(seen: Seen, rules: Rules = Rules()) -> list[Action]:
    """What to do now, in the order in which it is to be done."""
    histories: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in seen.attempts:
        histories[attempt.shot].append(attempt)
    newest = [max(history, key=lambda attempt: attempt.fence) for history in histories.values()]
    open_now = [attempt for attempt in newest if attempt.open]
    actions: list[Action] = [*_given_up(open_now, seen, rules)]
    if seen.stopping:
        actions += _released(open_now, seen, rules)
        # windows that were handed over a moment ago are finished, if there is a worker for it
        actions += [action for action in _dispatched(open_now, seen) if isinstance(action, DispatchFinish)]
    else:
        actions += _dispatched(open_now, seen)
    ended = [
        attempt
        for attempt in newest
        if attempt.shot not in seen.settled
        and (
            attempt.status is AttemptStatus.DIED
            or (attempt.status is AttemptStatus.FAILED and attempt.transient)
            or (attempt.status is AttemptStatus.RELEASED and attempt.evidence.get(GONE))
        )
    ]
    bad = [attempt for attempt in ended if seen.deaths.get(attempt.shot, 0) >= rules.deaths]
    actions += [Quarantine(attempt.shot, _obituary(histories[attempt.shot], rules)) for attempt in bad]
    if not seen.stopping:
        spared = [attempt for attempt in ended if seen.deaths.get(attempt.shot, 0) < rules.deaths]
        actions += _granted_again(spared, histories, open_now, seen, rules)
    return actions


def _given_up(open_now: Iterable[Attempt], seen: Seen, rules: Rules) -> list[GiveUp]:
    held = dict.fromkeys(attempt.flow_run for attempt in open_now if attempt.flow_run)
    found = [(seen.runs[flow_run], lost) for flow_run in held if (lost := _lost(seen.runs.get(flow_run), rules))]
    return [
        GiveUp(
            run.flow_run,
            why,
            {
                GONE: why,
                "state": run.state.value.lower(),
                "message": run.message,
                "worker": run.worker,
                "said": run.said,
                "silent": run.silent,
            },
        )
        for run, why in found
    ]


def _lost(run: RunSeen | None, rules: Rules) -> str:
    """Why a run that holds attempts will not go on with them; empty if it may."""
    if run is None or run.state is RunState.SCHEDULED:
        return ""  # not looked at, or no worker is free: that may last all night
    if run.state is RunState.UNKNOWN:
        return f"{run.name}: its run does not exist any more"
    if run.state in _OVER:
        told = f": {run.message}" if run.message else ""
        over = run.state not in _LEFT or run.since > rules.grace
        return f"{run.name}: its run ended as {run.state.value.lower()}{told}" if over else ""
    if run.silent is not None:
        lost = run.silent > rules.lost_after
        return f"{run.name}: nothing was heard of it for {run.silent:.0f} s" if lost else ""
    late = run.since > rules.pending_for
    return f"{run.name}: it did not come up within {run.since:.0f} s" if late else ""


def _released(open_now: Iterable[Attempt], seen: Seen, rules: Rules) -> list[Release]:
    """Of a batch that ends: what waits and would wait for ever."""

    def unclaimed(attempt: Attempt) -> bool:
        if not attempt.flow_run:
            return attempt.stage is Stage.GENERATE
        run = seen.runs.get(attempt.flow_run)
        if run is None or run.state is not RunState.SCHEDULED:
            return False
        # a shot whose windows are made is given the time to be finished, if there is anybody to do it
        return attempt.stage is Stage.GENERATE or run.since > rules.pending_for

    waiting = (attempt for attempt in open_now if attempt.status is AttemptStatus.WAITING)
    return [Release(attempt.shot, attempt.fence) for attempt in waiting if unclaimed(attempt)]


def _dispatched(open_now: Iterable[Attempt], seen: Seen) -> list[Action]:
    """A reel begins when all its shots may; a reel on its way takes nothing away from the others."""
    reels: dict[str, bool] = {}
    finishes: list[Action] = []
    for attempt in open_now:
        if attempt.status is not AttemptStatus.WAITING or attempt.flow_run:
            continue
        due = attempt.not_before is None or attempt.not_before <= seen.now
        if attempt.stage is Stage.GENERATE:
            reels[attempt.reel] = reels.get(attempt.reel, True) and due
        elif due:
            finishes.append(DispatchFinish(attempt.shot, attempt.fence))
    return [*finishes, *(DispatchReel(reel) for reel, due in reels.items() if due)]


def _granted_again(
    ended: Sequence[Attempt],
    histories: Mapping[str, Sequence[Attempt]],
    open_now: Sequence[Attempt],
    seen: Seen,
    rules: Rules,
) -> list[Regrant]:
    """Innocent ones together; suspects alone, when no innocent one of their stage is open any more."""
    begun = {attempt.reel for history in histories.values() for attempt in history if attempt.started is not None}
    waits = ((attempt, _waits(attempt, histories[attempt.shot], begun, rules)) for attempt in ended)
    wanted = [(attempt, wait) for attempt, wait in waits if wait is not None]

    def suspect(attempt: Attempt) -> bool:
        return attempt.status is AttemptStatus.DIED or seen.deaths.get(attempt.shot, 0) > 0

    groups: dict[tuple[Stage, str, float, str], list[str]] = defaultdict(list)
    for attempt, wait in wanted:
        if not suspect(attempt):
            # what two workers lost goes back to two: one reel for each that was lost
            lost = attempt.reel if attempt.status is AttemptStatus.RELEASED else ""
            groups[attempt.stage, attempt.model, wait, lost].append(attempt.shot)
    busy = {attempt.stage for attempt in open_now if not suspect(attempt)} | {stage for stage, *_ in groups}

    def until(wait: float) -> datetime | None:
        return seen.now + timedelta(seconds=wait) if wait else None

    together = [
        Regrant(
            tuple(shots),
            stage,
            model,
            until(wait),
            False,
            f"their run {lost} was lost" if lost else f"failed in passing, next in {wait:.0f} s",
        )
        for (stage, model, wait, lost), shots in groups.items()
    ]
    alone = [
        Regrant((attempt.shot,), attempt.stage, attempt.model, until(wait), True, "alone, after a death")
        for attempt, wait in wanted
        if suspect(attempt) and attempt.stage not in busy
    ]
    return together + alone


def _waits(attempt: Attempt, history: Sequence[Attempt], begun: set[str], rules: Rules) -> float | None:
    """Seconds before the shot may be tried again; None for never."""
    if attempt.status is AttemptStatus.DIED:
        return 0.0
    if attempt.status is AttemptStatus.FAILED:
        failures = sum(one.status is AttemptStatus.FAILED and one.transient for one in history)
        return rules.backoff * rules.growth ** (failures - 1) if failures <= rules.retries else None
    fruitless = 0
    for one in sorted(history, key=lambda one: one.fence, reverse=True):
        gone = one.status is AttemptStatus.RELEASED and one.evidence.get(GONE)
        # a finishing run holds one shot, which it had not begun, or it would have died at it
        if not gone or one.started is not None or (one.stage is Stage.GENERATE and one.reel in begun):
            break
        fruitless += 1
    if fruitless > rules.returns:
        return None
    if fruitless <= rules.at_once:
        return 0.0
    return rules.backoff * rules.growth ** min(fruitless - rules.at_once - 1, _LONGEST_WAIT)


def _obituary(history: Sequence[Attempt], rules: Rules) -> str:
    """Why a shot is tried no more, with what every death left."""
    died = [attempt for attempt in history if attempt.status is AttemptStatus.DIED]
    told = "; ".join(f"attempt {attempt.fence}: {_last_words(attempt)}" for attempt in died)
    return (
        f"its process died {max(rules.deaths, len(died))} times while at it ({told or 'earlier'}); look at its plate, "
        "size and LoRAs, then release it from quarantine"
    )


def _last_words(attempt: Attempt) -> str:
    evidence, code = attempt.evidence, attempt.shot.rpartition("/")[2]
    # what a run said last, or was seen at last, may be about the shot before: a beat is ten seconds old
    told = (str(evidence.get(name, "")).partition(";")[0] for name in ("at", "said"))
    last = next((words for words in told if f"_{code}_" in words), "")
    parts = [
        f"on {evidence['worker']}" if evidence.get("worker") else "on an unknown worker",
        f"last at {last!r}" if last else "",
        "hung, its stack is kept" if evidence.get("stack") else "",
        str(evidence.get("exit") or evidence.get("message") or evidence.get(GONE) or attempt.error or "no trace"),
    ]
    return ", ".join(part for part in parts if part)
