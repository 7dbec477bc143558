"""Shots on workers as plain numbers: who takes what, and how even that is. Pure arithmetic on small lists.

Knows: seconds of shots, of loading a model, of a window. Does not know: shots by name, priorities, reasons. A shot is
its place in the order of admission. Memory: O(shots).

A worker renders its shots model by model, so each of its models is loaded once. In which order it does so is not
decided here: a shot is only ever put where all shots of the worker are done, and the longest of its finishings after
that, before the window's end. So no order makes any of them late.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_SLACK: Final = 1e-9
"""Share of a sum that floating point may be off by."""
_HALVINGS: Final = 40
"""Of the doubt about the seconds that every worker gets: then it is below a millisecond for any night."""


@dataclass(frozen=True, slots=True)
class Night:
    """What is placed. Everything in seconds; indices are places in the order of admission."""

    window: float
    """Until everything has ended; infinite for no end."""
    models: Sequence[str]
    """Model of each shot."""
    engine: Sequence[float]
    """Of each shot's windows."""
    finish: Sequence[float]
    """From each shot's last window to its publication."""
    loads: Mapping[str, float]
    """Of loading each model."""

    def bound(self, placed: Sequence[Worker]) -> float:
        """The largest (engine + loading) of a placed shot: how far apart workers may end."""
        return max((self.alone(index) for worker in placed for index in worker.shots()), default=0.0)

    def alone(self, index: int) -> float:
        """Engine and loading of a shot."""
        return self.engine[index] + self.loads[self.models[index]]


@dataclass(slots=True)
class Worker:
    """What one worker has to do. Changed only by the functions of this module."""

    held: dict[str, list[int]] = field(default_factory=dict)
    """Shots by model."""
    seconds: float = 0.0
    """Of all of them, loading included."""
    finishing: float = 0.0
    """The longest finishing among them."""

    def shots(self) -> list[int]:
        """All of them."""
        return [index for held in self.held.values() for index in held]

    def cost(self, index: int, night: Night) -> float:
        """Seconds that a shot would add: its own, and its model's if that is new here."""
        model = night.models[index]
        return night.engine[index] + (0.0 if model in self.held else night.loads[model])

    def relief(self, index: int, night: Night) -> float:
        """Seconds that a shot's leaving would save."""
        model = night.models[index]
        return night.engine[index] + (night.loads[model] if len(self.held[model]) == 1 else 0.0)

    def until(self, index: int, night: Night) -> float:
        """When everything here has ended if a shot is added, its finishing included."""
        return self.seconds + self.cost(index, night) + max(self.finishing, night.finish[index])

    def add(self, index: int, night: Night) -> None:
        """Give it a shot."""
        self.seconds += self.cost(index, night)
        self.finishing = max(self.finishing, night.finish[index])
        self.held.setdefault(night.models[index], []).append(index)

    def remove(self, index: int, night: Night) -> None:
        """Take a shot away."""
        model = night.models[index]
        self.held[model].remove(index)
        if not self.held[model]:
            del self.held[model]
        # summed anew: what is added and taken away again must leave nothing behind
        self.seconds = math.fsum([*(night.engine[i] for i in self.shots()), *(night.loads[m] for m in self.held)])
        self.finishing = max((night.finish[i] for i in self.shots()), default=0.0)


def spread(placed: Sequence[Worker]) -> float:
    """Seconds between the first worker's end and the last one's."""
    ends = [worker.seconds for worker in placed]
    return max(ends) - min(ends)


def place(index: int, placed: Sequence[Worker], night: Night) -> bool:
    """Put a shot where it ends first; whether it fitted anywhere.

    It fits where nothing ends after the window, and where it ends within its own engine and loading of the worker that
    is done first: so workers never end further apart than the largest of that.
    """
    first = min(worker.seconds for worker in placed)
    best, best_end = None, math.inf
    for worker in placed:
        end = worker.seconds + worker.cost(index, night)
        fits = end <= first + night.alone(index) + _SLACK * end and worker.until(index, night) <= night.window
        if fits and end < best_end:
            best, best_end = worker, end
    if best is None:
        return False
    best.add(index, night)
    return True


def balance(placed: Sequence[Worker], night: Night) -> None:
    """Move shots away from the worker that ends last, as long as that makes both ends earlier than its own was.

    A move to a worker that has the model comes before one that needs it loaded, and the latter is made only where the
    last end gets earlier by more than the loading costs. No move makes the workers' ends more uneven. Every one makes
    the sum of their squares smaller, so there is a last one; a night of many equal shots is cut short before.
    """
    for _ in range(4 * len(night.engine) + 1):
        longest = max(placed, key=lambda worker: worker.seconds)
        lowest = min(worker.seconds for worker in placed)
        if longest.seconds - lowest <= _SLACK:
            return
        best = min(_moves(longest, placed, night, lowest), default=None)
        if best is None:
            return
        _, _, target, index = best
        longest.remove(index, night)
        placed[target].add(index, night)


def _moves(
    longest: Worker, placed: Sequence[Worker], night: Night, lowest: float
) -> Iterator[tuple[float, float, int, int]]:
    """Good moves from the longest worker: seconds of loading, the later of the two ends, target, shot."""
    alike: set[tuple[str, float, float]] = set()
    for index in sorted(longest.shots(), reverse=True):  # of equal shots the least urgent one moves
        model, seconds = night.models[index], night.engine[index]
        if (model, seconds, night.finish[index]) in alike:
            continue
        alike.add((model, seconds, night.finish[index]))
        here = longest.seconds - longest.relief(index, night)
        if here < lowest:
            continue
        for number, target in enumerate(placed):
            there = target.seconds + target.cost(index, night)
            loading = there - target.seconds - seconds
            later = max(here, there)
            if (
                target is not longest
                and there > target.seconds
                and later + max(loading, _SLACK * longest.seconds) < longest.seconds
                and target.until(index, night) <= night.window
            ):
                yield loading, later, number, index


def grouped(placed: Sequence[Worker], night: Night) -> list[Worker] | None:
    """The same shots placed model by model, where that takes fewer seconds of loading; None where it does not.

    Each worker's share of each model is found first, as if shots could be cut (McNaughton's wrap-around, with a load at
    each cut); then shots go, in order, to the sharer that has least of its share. None too where whole shots then end
    after the window, or further apart than one shot.
    """
    admitted = sorted(index for worker in placed for index in worker.shots())
    if len({night.models[index] for index in admitted}) < 2 or len(placed) < 2:
        return None
    by_model: dict[str, list[int]] = {}
    for index in admitted:
        by_model.setdefault(night.models[index], []).append(index)
    shares = _shares(by_model, night, len(placed))
    found = [Worker() for _ in placed]
    for model, shots in by_model.items():
        queue = [(0.0, number) for number, share in enumerate(shares) if share.get(model, 0.0) > 0]
        for index in shots:
            filled, number = heapq.heappop(queue)
            found[number].add(index, night)
            heapq.heappush(queue, (filled + night.engine[index] / shares[number][model], number))
    balance(found, night)
    keeps = all(worker.seconds + worker.finishing <= night.window for worker in found)
    if not keeps or spread(found) > night.bound(found):
        return None
    return found if _spent(found) < _spent(placed) - _SLACK * _spent(placed) else None


def _spent(placed: Sequence[Worker]) -> float:
    return math.fsum(worker.seconds for worker in placed)


def _shares(by_model: Mapping[str, Sequence[int]], night: Night, workers: int) -> list[dict[str, float]]:
    """Seconds of each model for each worker, all workers ending at the earliest time at which everything has room."""
    work = {model: math.fsum(night.engine[index] for index in shots) for model, shots in by_model.items()}
    # less than half a shot is not worth loading a model for
    least = {model: min(night.engine[index] for index in shots) / 2 for model, shots in by_model.items()}
    low, high = 0.0, math.fsum(work[model] + night.loads[model] for model in work) * (1 + _SLACK) + _SLACK
    best = _wrapped(work, least, night, workers, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tried = _wrapped(work, least, night, workers, middle)
        if tried is None:
            low = middle
        else:
            high, best = middle, tried
    return best or []


def _wrapped(
    work: Mapping[str, float], least: Mapping[str, float], night: Night, workers: int, end: float
) -> list[dict[str, float]] | None:
    """Each worker filled up to `end` with one model after the other; None if something is left over."""
    shares: list[dict[str, float]] = [{} for _ in range(workers)]
    number, room = 0, end
    for model, seconds in work.items():
        left, whole = seconds, False
        while not whole:
            takes = min(room - night.loads[model], left)
            if takes < min(least[model], left) or (takes <= 0 and seconds > 0):
                number, room = number + 1, end
                if number == workers:
                    return None
                continue
            shares[number][model] = max(takes, _SLACK)  # a model whose shots take no time has a sharer too
            room -= night.loads[model] + takes
            left -= takes
            whole = left <= _SLACK * seconds
    return shares
