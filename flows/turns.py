"""Whose turn it is: shots of a batch pass each stage one at a time, in the batch's order.

Knows: threads and numbers. Does not know: shots. Memory: one number per shot.

A semaphore would let the shot through that happens to wake first; here the first of the list is the first on the
engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Line:
    """A line that numbers 0, 1, 2 ... pass one at a time, each when all before it have passed or given up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._passed: set[int] = set()
        self._next = 0

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait for all lower numbers, and hold up all higher ones until the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._next >= number)
        try:
            yield
        finally:
            self.leave(number)

    def leave(self, number: int) -> None:
        """Let the others pass: `number` has passed, or never will. Again changes nothing."""
        with self._changed:
            self._passed.add(number)
            while self._next in self._passed:
                self._passed.discard(self._next)
                self._next += 1
            self._changed.notify_all()


class Turns:
    """One shot's place in the lines of its batch."""

    def __init__(self, lines: dict[str, Line], number: int) -> None:
        self._lines = lines
        self._number = number

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """This shot's turn at a stage."""
        with self._lines[stage].turn(self._number):
            yield

    def give_up(self) -> None:
        """Leave every line: the shot is done, or failed before it came to them."""
        for line in self._lines.values():
            line.leave(self._number)


def lines(stages: Sequence[str]) -> dict[str, Line]:
    """One line per stage."""
    return {stage: Line() for stage in stages}
