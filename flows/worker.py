"""One worker of a work pool, as its own program: takes flow runs from the server and starts a process for each.

Knows: Prefect's process worker. Does not know: what the runs do. Memory: about 110 MB, whatever its runs need.

    python -m flows.worker gpu --name gpu-0 --device 0      one reel at a time, on the first GPU
    python -m flows.worker cpu --name cpu --limit 4         four shots finished at once
    python -m flows.worker night --name night               the nightly batch, the inbox

SIGTERM or Ctrl-C: takes nothing new, asks its runs to leave, and waits for them. A second one: leaves at once, and what
runs dies with it: that is what Prefect's own worker does with the first.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.settings import worker_variables


def main() -> None:
    """Read the command line and work until a signal."""
    parser = argparse.ArgumentParser(prog="python -m flows.worker", description="Work for a Dailies work pool.")
    parser.add_argument("pool", help="gpu, cpu or night")
    parser.add_argument("--name", default="", help="who this is, unique on this machine; default the pool's name")
    parser.add_argument("--limit", type=int, default=1, help="flow runs at once")
    parser.add_argument("--device", help="CUDA device that its runs see; default whatever this process sees")
    parser.add_argument("--after", type=Path, help="begin when this file is there: the server is ready")
    asked = parser.parse_args()
    name = asked.name or asked.pool
    os.environ.update(worker_variables(name))
    if asked.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = asked.device
    # the work pool starts runs as `python -m flows.leash`, the same words on every machine: this Python is meant
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # whoever ends this group ends the runs, and nobody else
    while asked.after is not None and not asked.after.exists():
        time.sleep(0.1)
    _work(f"{name}@{socket.gethostname()}", pool=asked.pool, limit=asked.limit)


def _work(name: str, *, pool: str, limit: int) -> None:
    # imported here: a command line that is wrong is told without waiting for Prefect
    from prefect.workers.process import ProcessWorker

    leaving = threading.Event()
    worker = ProcessWorker(name=name, work_pool_name=pool, limit=limit, create_pool_if_not_found=False)
    look = worker.get_and_submit_flow_runs

    async def look_unless_leaving() -> list[Any]:
        return [] if leaving.is_set() else await look()

    def leave(number: int, frame: object) -> None:
        if leaving.is_set():
            raise KeyboardInterrupt
        leaving.set()
        threading.Thread(target=_see_off, daemon=True).start()

    worker.get_and_submit_flow_runs = look_unless_leaving  # type: ignore[method-assign]
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    try:
        asyncio.run(worker.start(printer=_say))
    except KeyboardInterrupt:  # ends the loop, and with it whatever still runs
        _say("stopped")
    except Exception as error:
        logging.getLogger("dailies").error("the worker ended: %r", error)
        raise SystemExit(1) from None


def _see_off() -> None:
    """Ask every run to leave, wait until all have left, and end this worker."""
    asked: set[int] = set()
    while running := _children():
        for child in running - asked:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        asked |= running
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)


def _children() -> set[int]:
    """Process ids of the runs that this worker started and that are alive."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if parent == str(os.getpid()) and state != "Z":
                found.add(int(stat.parent.name))
    return found


def _say(words: object) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
