"""A request to leave: running windows save their checkpoints and go, everything else is found again by the next run.

Knows: signals, threads, how many windows are at work in this process. Does not know: engines, flows. Memory: an event
and a number. One per process, because signals are.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final


class Stopping:
    """Whether this process was asked to leave, and which windows are still at work."""

    def __init__(self) -> None:
        self.event: Final = threading.Event()
        """Set once the process was asked to leave; every engine watches it."""
        self.signal = signal.SIGINT
        """The signal that asked."""
        self._changed = threading.Condition()
        self._at_work = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Holds up `leave` until the block ends."""
        with self._changed:
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def leave(self) -> None:
        """Ask all windows to stop and wait until they have; a step of a large model takes a minute.

        A second signal ends the waiting: KeyboardInterrupt passes through here.
        """
        self.event.set()
        with self._changed:
            while self._at_work:
                self._changed.wait(1.0)  # in slices, so that a signal is heard everywhere

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """Inside the block SIGTERM is a Ctrl-C, which whoever runs the block must answer with `leave`.

        Does nothing outside the main thread: only that one hears signals.
        """
        self.event.clear()
        self.signal = signal.SIGINT
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(number: int, frame: FrameType | None) -> None:
            del frame
            self.signal = signal.Signals(number)
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


STOPPING: Final = Stopping()
"""This process's."""
