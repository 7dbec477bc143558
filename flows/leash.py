"""The first lines of every flow run that a worker starts: it lives no longer than its worker, but for a last save.

Knows: signals and process ids. Does not know: flows. Imports next to nothing: until the kernel is told, a worker
that is killed would leave this process behind.

    python -m flows.leash     in place of Prefect's own `python -m prefect.engine`, which it becomes

A run that renders asks the kernel for a SIGTERM in place of the SIGKILL (flows.duty), so that it can save what it has.
With its worker its server may be gone too, for which Prefect's client waits for minutes, and again at the process's
exit: GRACE seconds after the worker nothing is waited for any more.
"""

from __future__ import annotations

import ctypes
import io
import os
import runpy
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Final, TextIO

GRACE: Final = 20.0
"""Seconds that a run whose worker is gone gets to save what it has; as long as the house gives it (flows.children)."""

_LOOK: Final = 1.0  # seconds between two looks for the worker

_PR_SET_PDEATHSIG: Final = 1


def hold(*, grace: float = GRACE) -> None:
    """Have the kernel kill this process when the one that started it dies; leave at once if it has died already.

    Whatever this process asks of the kernel later, it is killed `grace` seconds after its worker at the latest; where
    the kernel takes no such wish (it is Linux's), that is all.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if loose():
        raise SystemExit("the worker that started this run is gone; the run is left to whoever follows it")
    threading.Thread(target=_outlive, args=(grace,), name="leash", daemon=True).start()


def loose() -> bool:
    """Whether the worker that started this process is gone, and nobody is left who would hear how it ended."""
    from flows.settings import worker_pid

    worker = worker_pid()
    return worker is not None and os.getppid() != worker


def deaf(stream: TextIO) -> TextIO:
    """The same stream, but for one thing: with the worker that reads it gone, what is written is lost without an error.

    Rich, through which Prefect logs, ends the process at the first line that nobody reads: before anything is saved.
    """
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    facts = {"encoding": stream.encoding, "errors": stream.errors, "line_buffering": stream.line_buffering}
    return _Deaf(stream.detach(), **facts)  # type: ignore[arg-type]


class _Deaf(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        with suppress(BrokenPipeError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(BrokenPipeError):
            super().flush()


def _outlive(grace: float) -> None:
    while not loose():
        time.sleep(_LOOK)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.stdout, sys.stderr = deaf(sys.stdout), deaf(sys.stderr)
    hold()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
