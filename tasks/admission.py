"""Which shots a night takes up, and on which worker: the plan of the night. Pure: values in, one value out.

Knows: seconds that shots are expected to take, workers, the window's end. Does not know: where the expectations come
from (`history`), the catalogue, the clock, Prefect. Memory: O(shots).

    admission   in order of priority, due date, and as given; whoever still ends inside the window is in
    reels       one for each worker and model, so that a model is loaded once for many shots
    balance     the last worker ends within one shot, and the loading of its model, of the first

A shot that does not fit lets shorter ones behind it in: whatever has priority over it is placed already, so that
nothing that comes later could make room for it, and the worker would stand idle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from tasks.errors import PlanError
from tasks.workload import Night, Worker, balance, grouped, place

_NEVER: Final = date.max
"""Due date of a shot that has none: after all others."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A shot that could be rendered tonight, and what it is expected to take."""

    shot: str
    """`SHOW/CODE`."""
    model: str
    """Model and profile: what the shots of a reel share."""
    priority: int
    """1 (first) to 99."""
    due: date | None
    """When it is needed; None for no date."""
    engine_seconds: float
    """Seconds of a GPU worker for its windows, without loading."""
    load_seconds: float
    """Seconds until its model is loaded; the largest of a model's shots counts for all."""
    finish_seconds: float
    """Seconds from its last window to its publication; another worker's."""
    basis: str
    """Where the expectation comes from: `history of 12 windows`, `prior`, `guess`."""


@dataclass(frozen=True, slots=True)
class PlannedReel:
    """Shots of one model that one worker renders one after the other."""

    name: str
    """`reel 01`: its place in the order of dispatch."""
    model: str
    shots: tuple[str, ...]
    """In the order in which they are rendered."""
    worker: int
    """From 0."""
    start: float
    """Seconds after the beginning of the night."""
    seconds: float
    """Of the worker, loading included."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A shot that is left for another night."""

    shot: str
    reason: str
    """A sentence with the value, the limit and the remedy."""
    engine_seconds: float
    """Seconds of a GPU worker that it would have taken, without loading."""


@dataclass(frozen=True, slots=True)
class NightPlan:
    """What is done tonight, where and when, and what is not."""

    workers: int
    window: float | None
    """Seconds until everything must have ended; None for no end."""
    reels: tuple[PlannedReel, ...]
    """In the order of dispatch: by start, then by the priority of the first shot."""
    carried: tuple[Carried, ...]
    """In the order of priority."""
    expected: Mapping[str, float]
    """Engine seconds of every shot, carried over or not."""
    models: Mapping[str, str]
    """Model and profile of every shot."""
    ends: tuple[float, ...]
    """Seconds after the beginning at which each worker is done; 0 for one without a reel."""
    missing_seconds: float
    """GPU-seconds of what was carried over, each model loaded that no reel loads."""


def plan_night(shots: Sequence[Ready], *, workers: int, window: float | None) -> NightPlan:
    """The night of `workers` equal workers that must be over in `window` seconds. The same shots always give the same.

    Every shot stands in one reel or among the carried. In this schedule no admitted shot, its finishing included, ends
    after the window, and workers end within the largest (engine + loading) of one admitted shot of each other. List
    scheduling has that bound (Graham 1966): a shot goes where it ends first. A second placing, model by model, is taken
    instead where it keeps window and bound and spends fewer seconds on loading; what was left out is tried once more.
    Raises PlanError for fewer than one worker, a shot that stands here twice, or seconds that are none.
    """
    _check(shots, workers)
    order = sorted(shots, key=lambda one: (one.priority, one.due or _NEVER))  # stable: as given where both are equal
    night = _night(order, window)
    placed = [Worker() for _ in range(workers)]
    left = [index for index in range(len(order)) if not place(index, placed, night)]
    balance(placed, night)
    placed = grouped(placed, night) or placed
    left = [index for index in left if not place(index, placed, night)]
    balance(placed, night)
    carried = tuple(
        Carried(order[index].shot, _reason(index, placed, night), order[index].engine_seconds) for index in left
    )
    loaded = {model for worker in placed for model in worker.held}
    unloaded = {order[index].model for index in left} - loaded
    return NightPlan(
        workers=workers,
        window=window,
        reels=_reels(placed, night, order),
        carried=carried,
        expected={one.shot: one.engine_seconds for one in order},
        models={one.shot: one.model for one in order},
        ends=tuple(worker.seconds for worker in placed),
        missing_seconds=math.fsum(one.engine_seconds for one in carried)
        + math.fsum(sorted(night.loads[model] for model in unloaded)),
    )


def _check(shots: Sequence[Ready], workers: int) -> None:
    """Raise PlanError for what cannot be planned with."""
    if workers < 1:
        raise PlanError(f"a night needs at least 1 worker and {workers} were named; start one, or name how many run")
    seen: set[str] = set()
    for one in shots:
        if one.shot in seen:
            raise PlanError(f"{one.shot} stands twice among tonight's shots; it is rendered once, name it once")
        seen.add(one.shot)
        for seconds in (one.engine_seconds, one.load_seconds, one.finish_seconds):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise PlanError(f"{one.shot} is expected to take {seconds} s; an expectation is a number from 0 up")


def _night(order: Sequence[Ready], window: float | None) -> Night:
    """The shots as plain numbers, by their place in the order."""
    loads: dict[str, float] = {}
    for one in order:
        loads[one.model] = max(loads.get(one.model, 0.0), one.load_seconds)
    return Night(
        window=math.inf if window is None else window,
        models=tuple(one.model for one in order),
        engine=tuple(one.engine_seconds for one in order),
        finish=tuple(one.finish_seconds for one in order),
        loads=loads,
    )


def _reels(placed: Sequence[Worker], night: Night, order: Sequence[Ready]) -> tuple[PlannedReel, ...]:
    """Every worker's reels, the one with the most urgent shot first, named in the order of dispatch."""
    found: list[tuple[float, int, int, list[int], float]] = []
    for number, worker in enumerate(placed):
        start = 0.0
        for shots in sorted((sorted(held) for held in worker.held.values()), key=lambda held: held[0]):
            seconds = night.loads[night.models[shots[0]]] + math.fsum(night.engine[index] for index in shots)
            found.append((start, shots[0], number, shots, seconds))
            start += seconds
    found.sort()
    digits = max(2, len(str(len(found))))
    return tuple(
        PlannedReel(
            f"reel {place:0{digits}d}", night.models[first], tuple(order[i].shot for i in shots), number, start, seconds
        )
        for place, (start, first, number, shots, seconds) in enumerate(found, 1)
    )


def _reason(index: int, placed: Sequence[Worker], night: Night) -> str:
    """Why a shot is carried over."""
    model = night.models[index]
    alone = night.loads[model] + night.engine[index] + night.finish[index]
    takes = f"it takes {duration(alone)} with loading and finishing"
    if night.window <= 0:
        return "the window is over; begin a night earlier, or without an end"
    if alone > night.window:
        return f"{takes} and the whole window has {duration(night.window)}; lengthen the window, or split the shot"
    late = min(worker.until(index, night) for worker in placed) - night.window
    if late > 0:
        where = "the worker" if len(placed) == 1 else f"any of the {len(placed)} workers"
        return (
            f"behind the shots before it, it would end {duration(late)} after the window on {where}; "
            "lengthen the window, add a worker, or give it priority"
        )
    return f"{takes}, which the {len(placed)} workers have left in pieces only; add a worker, or give it priority"


def duration(seconds: float) -> str:
    """`9 s`, `25 min`, `3.4 h`: as exactly as an estimate deserves. What rounding left below 0 is nothing."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
