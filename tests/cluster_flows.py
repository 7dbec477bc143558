"""A flow for workers of the cluster tests: it says who runs it, stays at work until it is told otherwise, and takes its
time to leave when it is asked to. Writes a line of JSON for everything that happens to it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from prefect import flow

LONGEST = 240.0
"""Seconds after which it leaves in any case."""

LEAVING = 3.0
"""Seconds between being asked to leave and leaving; Prefect's own worker gives its runs less than one."""


@flow
def stay(notes: str, until: str) -> None:
    """Note `begun` in the file `notes`, wait for the file `until` to appear, note `done`."""
    asked: list[float] = []
    about = {"pid": os.getpid(), "group": os.getpgrp(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")}

    def note(word: str) -> None:
        with Path(notes).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"word": word, **about}) + "\n")

    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(time.monotonic()))
    note("begun")
    last = time.monotonic() + LONGEST
    while not Path(until).exists() and time.monotonic() < last:
        if asked and time.monotonic() > asked[0] + LEAVING:
            note(f"saved, asked {len(asked)} times")
            return
        time.sleep(0.05)
    note("done")
