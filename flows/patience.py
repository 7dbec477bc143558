"""Waiting for a catalogue that is away for a moment: a database that restarts costs a night seconds, not shots.

Knows: which error means that, and how long to wait. Does not know: what is asked. Calls must bear being repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Final, TypeVar

from catalogs.errors import CatalogueUnavailableError

LOG: Final = logging.getLogger("dailies")

PATIENCE: Final = 180.0
"""Seconds to wait for a database; PostgreSQL recovers within a minute even after a crash."""

_FIRST, _LONGEST = 0.2, 5.0  # seconds between two tries: doubled each time, up to the second

T = TypeVar("T")


_resting: Callable[[], AbstractContextManager[None]] = nullcontext


def rest_with(context: Callable[[], AbstractContextManager[None]]) -> None:
    """Wait inside `context` from now on: to a watchdog, waiting for a database is not hanging."""
    global _resting
    _resting = context


def patiently(call: Callable[[], T], *, seconds: float = PATIENCE) -> T:
    """What `call` returns, asked again while the catalogue is away. Raises CatalogueUnavailableError in the end."""
    for wait in _waits(seconds):
        try:
            return call()
        except CatalogueUnavailableError as error:
            _sleep(wait, error)
    return call()


@contextmanager
def patient(context: Callable[[], AbstractContextManager[None]], *, seconds: float = PATIENCE) -> Iterator[None]:
    """Enter what `context` gives, again while the catalogue cannot be used; its block runs once."""
    with ExitStack() as stack:
        patiently(lambda: stack.enter_context(context()), seconds=seconds)
        yield


def _waits(seconds: float) -> Iterator[float]:
    deadline, wait = time.monotonic() + seconds, _FIRST
    while time.monotonic() + wait < deadline:
        yield wait
        wait = min(wait * 2, _LONGEST)


def _sleep(seconds: float, error: CatalogueUnavailableError) -> None:
    if seconds == _FIRST:
        LOG.info("waiting for the catalogue: %s", error)
    with _resting():
        time.sleep(seconds)
