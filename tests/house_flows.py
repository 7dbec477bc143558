"""Flows for the tests of `dailies up`: they say who runs them, stay as long as told, say if asked to stop."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from prefect import flow
from prefect.events import emit_event


@flow
def stay(notes: str, seconds: float) -> str:
    """Append a line of JSON to `notes` on the way in, on SIGTERM, and on the way out."""

    def note(word: str) -> None:
        about: dict[str, Any] = {
            "word": word,
            "pid": os.getpid(),
            "worker": os.environ.get("DAILIES_WORKER", ""),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "home": os.environ.get("DAILIES_HOME", ""),
        }
        with Path(notes).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(about) + "\n")

    asked = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGTERM, leave)
    note("begun")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not asked:
        time.sleep(0.05)
    note("asked" if asked else "done")
    signal.signal(signal.SIGTERM, before)
    return "left" if asked else "done"


def tell(text: str) -> None:
    """Emit the event of a batch that ended, as the nightly flow does."""
    emit_event(
        "dailies.batch.ended",
        resource={"prefect.resource.id": "dailies.batch.2026-11-21", "prefect.resource.name": "2026-11-21"},
        payload={"text": text},
    )
