"""How far a step is: steps announce it, whoever runs them listens. Knows neither terminals nor Prefect.

A listener travels in a context variable, so that a step needs no parameter for it and two batches in one process
do not hear each other. Threads started by a step must run in a copy of its context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one step of one shot stands."""

    slate: str
    step: str
    """generate, join, retime, encode, inspect or publish."""
    done: int
    """Frames finished, of `total`."""
    total: int
    detail: str = ""
    """Which part: `window 2 of 3`."""


SHARES: Final[Mapping[str, tuple[float, float]]] = {
    "generate": (0.0, 50.0),
    "join": (50.0, 55.0),
    "retime": (55.0, 75.0),
    "encode": (75.0, 95.0),
    "inspect": (95.0, 99.0),
}
"""Where each step starts and ends on a shot's bar, in percent."""

Listener = Callable[[Progress], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` for every announcement made inside the block, in addition to outer listeners."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def announce(progress: Progress) -> None:
    """Tell every listener. Costs nothing where nobody listens."""
    for listener in _listeners.get():
        listener(progress)


def percent(progress: Progress) -> float:
    """How far a shot is, 0 to 100."""
    first, last = SHARES.get(progress.step, (99.0, 99.0))
    return first + (last - first) * progress.done / max(1, progress.total)


def counted(number: int, word: str) -> str:
    """`1 frame`, `2 frames`: how a step says what it has done."""
    return f"{number} {word}{'' if number == 1 else 's'}"
