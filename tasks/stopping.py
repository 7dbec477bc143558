"""Requests to leave and to let go of one shot: windows at work save their checkpoints, the next run finds everything.

Knows: signals, threads, how many windows are at work in this process. Does not know: engines, flows. Memory: an event
and a few words. One per process, because signals are.

    leave    the whole process was asked to go: every window stops, none begins
    drop     one shot is not ours any more (cancelled, or given to another run): its window stops, `go_on` makes way for
             the next shot
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final


class Stopping:
    """Whether this process was asked to leave or to drop a shot, and which windows are still at work."""

    def __init__(self) -> None:
        self.event: Final = threading.Event()
        """Set while a window must stop, for either reason; every engine watches it."""
        self.signal = signal.SIGINT
        """The signal that asked."""
        self._changed = threading.Condition()
        self._at_work = 0
        self._leaving = False
        self._dropped = ""

    @property
    def leaving(self) -> bool:
        """Whether the process itself was asked to leave; that is never taken back."""
        return self._leaving

    @property
    def dropped(self) -> bool:
        """Whether the shot at work was dropped, until `go_on`."""
        return bool(self._dropped)

    @property
    def reason(self) -> str:
        """Why the shot at work was dropped; empty if it was not."""
        return self._dropped

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

    def ask(self) -> None:
        """Ask all windows to stop, without waiting for them. Any thread may; again changes nothing."""
        with self._changed:
            self._leaving = True
            self.event.set()

    def leave(self) -> None:
        """Ask all windows to stop and wait until they have; a step of a large model takes a minute.

        A Ctrl-C ends the waiting: KeyboardInterrupt passes through here. A second SIGTERM does not.
        """
        self.ask()
        with self._changed:
            while self._at_work:
                self._changed.wait(1.0)  # in slices, so that a signal is heard everywhere

    def drop(self, reason: str) -> None:
        """Stop the shot that is at work, and it alone. `reason` is a sentence: who took it away. Any thread may."""
        with self._changed:
            self._dropped = self._dropped or reason or "dropped"
            self.event.set()

    def go_on(self) -> None:
        """The dropped shot has stopped: the next one may begin, unless the process was asked to leave."""
        with self._changed:
            self._dropped = ""
            if not self._leaving:
                self.event.clear()

    def begin_anew(self) -> None:
        """Forget every request: for a process that takes up other work, as tests do."""
        with self._changed:
            self._leaving, self._dropped = False, ""
            self.signal = signal.SIGINT
            self.event.clear()

    @contextmanager
    def on_sigterm(self, *, gently: bool = False) -> Iterator[None]:
        """Inside the block SIGTERM is a Ctrl-C, which whoever runs the block must answer with `leave`.

        It is so once: a worker that leaves sends one to its whole group, the kernel another one when it is gone, and
        the second must not tear the leaving. `gently`: where windows are made in the main thread the first would tear
        the window; there SIGTERM asks all windows to stop and raises nothing. Whoever listened before (Prefect's flow
        engine does) listens again afterwards. Does nothing outside the main thread: only that one hears signals.
        """
        self.begin_anew()
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(number: int, frame: FrameType | None) -> None:
            del frame
            asked, self._leaving = self._leaving, True
            if asked and (not gently or self.event.is_set()):
                return
            self.signal = signal.Signals(number)
            if gently:
                # in a thread: it takes locks that the interrupted code may hold
                threading.Thread(target=self.ask, daemon=True).start()
                return
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        finally:
            # None: the one before was not set from Python and cannot be put back from here
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


STOPPING: Final = Stopping()
"""This process's."""
