"""The first lines of every flow run that a worker starts: it lives no longer than its worker.

Knows: signals and process ids. Does not know: flows. Imports next to nothing: until the kernel is told, a worker
that is killed would leave this process behind.

    python -m flows.leash     in place of Prefect's own `python -m prefect.engine`, which it becomes
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def hold() -> None:
    """Have the kernel kill this process when the one that started it dies; leave at once if it has died already.

    Linux only; elsewhere nothing happens, and `dailies up` ends the group of a worker that died.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    from flows.settings import worker_pid

    worker = worker_pid()
    if worker is not None and os.getppid() != worker:
        raise SystemExit(f"the worker {worker} is gone; its run is left to whoever follows it")


if __name__ == "__main__":
    hold()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
