"""A run's signs of life, and the orders that come back with them.

Knows: threads, when to speak and when to listen. Does not know: where beats go (its caller hands it two functions),
what stopping means. Memory: one sentence and the names of the shots at work.

A beat is a write, every 10 s: what a night's observer needs to tell the living from the dead. Orders are looked for
once a second, by a read, because somebody who cancels a shot watches it, and because a step of a small model takes a
second: sixteen runs are sixteen short reads a second. Without a way to look, orders are heard with the beats.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Final, Self

from catalogs.errors import CatalogueUnavailableError
from catalogs.night import Orders
from tasks.frames import follow_parent
from tasks.progress import Progress, listening

LOG: Final = logging.getLogger("dailies")

EVERY: Final = 10.0
"""Seconds between two beats."""

LOOK: Final = 1.0
"""Seconds between two looks for orders."""

AGAIN: Final = 2.0
"""Seconds between two tries while the catalogue is away: it is told soon after it is back."""


class Pulse:
    """Inside the block, a thread says that this run lives, and passes orders on. A context manager.

    `beat` is given the last words and returns the orders; `look` returns them without a word. `on_stop` is called once,
    `on_lost` once for each shot in `holding` that is not this run's any more; both in the pulse's thread, and they must
    not wait for the run. A catalogue that is away is tried again until it is back.
    """

    def __init__(
        self,
        beat: Callable[[str], Orders],
        *,
        on_stop: Callable[[], None],
        on_lost: Callable[[str], None],
        look: Callable[[], Orders] | None = None,
        every: float = EVERY,
        look_every: float = LOOK,
    ) -> None:
        self._beat = beat
        self._look = look
        self._on_stop = on_stop
        self._on_lost = on_lost
        self._every = every
        self._look_every = min(look_every, every)
        self._said = ""
        self._held: dict[str, int] = {}
        """Each shot at work, with the number of its holding."""
        self._holdings = 0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._stopped = False
        self._silent_since: float | None = None
        self._inside = ExitStack()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._inside.enter_context(listening(self._hear))
        # in a copy of the context, in which a logger finds the flow run it belongs to
        self._thread = threading.Thread(target=copy_context().run, args=(self._live,), name="pulse", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.close()
        self._ended.set()
        assert self._thread is not None
        self._thread.join(self._look_every)  # a write that waits for the catalogue is not waited for

    def say(self, words: str) -> None:
        """Where the run is, where no progress is announced: loading, waiting."""
        self._said = words

    @contextmanager
    def holding(self, shot: str) -> Iterator[None]:
        """Inside the block the shot must be this run's. Begin its attempt before, and leave before it is ended.

        When the block is left, `on_lost` is not called for it any more and is not being called.
        """
        with self._lock:
            self._holdings += 1
            self._held[shot] = self._holdings
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(shot, None)

    def _hear(self, progress: Progress) -> None:
        where = progress.detail or f"{progress.done} of {progress.total} frames"
        self._said = f"{progress.slate} {progress.step}: {where}"

    def _live(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            now = time.monotonic()
            beating = now >= due
            asked = self._holdings
            try:
                if beating:
                    self._obey(self._beat(self._said), asked)
                elif self._look is not None:
                    self._obey(self._look(), asked)
            except CatalogueUnavailableError as error:
                self._not_heard(f"{error}")
            except Exception as error:  # a defect must not look like a dead run
                self._not_heard(f"unexpected {error!r}; report it")
            else:
                if beating:
                    due = now + self._every
                    self._heard()
            pause = AGAIN if self._silent_since is not None else self._look_every if self._look else due - now
            self._ended.wait(min(max(pause, 0.0), self._every))

    def _obey(self, orders: Orders, asked: int) -> None:
        """`asked`: how many holdings there were when the question was put; later ones are not answered by it."""
        if self._ended.is_set():
            return
        if orders.stop and not self._stopped:
            self._stopped = True
            _tell(self._on_stop)
        with self._lock:
            for shot, number in list(self._held.items()):
                if number <= asked and shot not in orders.held:
                    del self._held[shot]
                    _tell(partial(self._on_lost, shot))

    def _not_heard(self, why: str) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            LOG.warning("no sign of life could be given: %s; trying again until it can", why)

    def _heard(self) -> None:
        if self._silent_since is not None:
            LOG.info("signs of life are heard again after %.0f s", time.monotonic() - self._silent_since)
            self._silent_since = None


def _tell(call: Callable[[], None]) -> None:
    """A defect in what is told must not look like a dead run."""
    try:
        call()
    except Exception:
        LOG.exception("an order could not be passed on; report it")


def die_with_parent(number: signal.Signals = signal.SIGTERM, *, parent: int | None = None) -> None:
    """Have the kernel send this process `number` when its parent dies: a worker that is killed can send nothing.

    `parent` is the process id that the parent must have; without it, whoever is the parent now. Counts the parent's
    thread that started us, as the kernel does. Linux only, elsewhere nothing happens. Raises ProcessLookupError if the
    parent is gone already.
    """
    if sys.platform != "linux":
        return
    before = os.getppid() if parent is None else parent
    follow_parent(number)
    if os.getppid() != before:  # it died before the kernel was asked, and will not die again
        raise ProcessLookupError(f"process {before}, which started this run, is gone; a new worker will start it again")
