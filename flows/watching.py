"""What people see of a run in the Prefect UI: progress, a picture, the result.

Knows: Prefect artifacts. Does not know: how footage is made. An artifact that cannot be written never fails a shot.
"""

from __future__ import annotations

import base64
import io
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from tasks.progress import Progress, listening, percent

LOG: Final = logging.getLogger("dailies")

EVERY: Final = 2.0
"""Least seconds between two updates of a progress artifact."""

THUMBNAIL_WIDTH: Final = 320  # pixels; about 15 kB as JPEG, which the artifact itself can hold


def artifact_key(*parts: str) -> str:
    """A key that Prefect accepts: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


@contextmanager
def progress_artifact(slate: str, *, first: float = 0.0, last: float = 100.0) -> Iterator[None]:
    """One progress artifact for a shot, updated at most every two seconds while the block runs.

    It begins at `first` percent and is left at `last`: the halves of a shot may run in different processes.
    """
    artifact: UUID | None = _quietly(
        lambda: create_progress_artifact(progress=first, key=artifact_key("progress", slate), description=slate)
    )
    shown = 0.0
    lock = threading.Lock()

    def update(value: float) -> None:
        if artifact is not None:
            _quietly(lambda: update_progress_artifact(artifact, progress=value))

    def listen(progress: Progress) -> None:
        nonlocal shown
        if progress.slate != slate:
            return
        with lock:
            if time.monotonic() - shown < EVERY:
                return
            shown = time.monotonic()
        update(percent(progress))

    with listening(listen):
        yield
    update(last)


@contextmanager
def batch_artifact(batch: str) -> Iterator[Callable[[float], None]]:
    """One progress artifact for a batch: gives a function that takes percent and writes at most every two seconds."""
    artifact: UUID | None = _quietly(
        lambda: create_progress_artifact(progress=0.0, key=artifact_key("progress", batch), description=batch)
    )
    told, shown = -1.0, 0.0

    def show(percent: float) -> None:
        nonlocal told, shown
        value = round(percent, 1)
        if artifact is None or value == told or time.monotonic() - shown < EVERY:
            return
        told, shown = value, time.monotonic()
        _quietly(lambda: update_progress_artifact(artifact, progress=value))

    yield show
    if artifact is not None:
        _quietly(lambda: update_progress_artifact(artifact, progress=100.0))


def report_artifact(batch: str, text: str) -> None:
    """The morning report."""
    _quietly(lambda: create_markdown_artifact(markdown=text, key=artifact_key("report", batch), description=batch))


def thumbnail_artifact(slate: str, still: Path) -> None:
    """A still of the shot, inside the artifact: no browser needs to reach this machine's files."""
    from PIL import Image

    with Image.open(still) as picture:
        picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
        held = io.BytesIO()
        picture.convert("RGB").save(held, "JPEG", quality=80)
    url = "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
    _quietly(lambda: create_image_artifact(image_url=url, key=artifact_key("thumbnail", slate), description=slate))


def result_artifact(report: Mapping[str, Any]) -> None:
    """What was delivered and how long each step took, as a table."""
    rows = [
        "| file | codec | frames | rate | size | MB |",
        "|---|---|---|---|---|---|",
        *(
            f"| {Path(made['path']).name} | {made['codec']} | {made['frames']} | {made['rate']} "
            f"| {made['width']}x{made['height']} | {made['bytes'] / 1e6:.1f} |"
            for made in report["deliverables"]
        ),
        "",
        " · ".join(f"{step} {spent:.1f} s" for step, spent in report["seconds"].items()),
    ]
    key = artifact_key("result", report["slate"])
    _quietly(lambda: create_markdown_artifact(markdown="\n".join(rows), key=key, description=report["slate"]))


def _quietly(call: Callable[[], Any]) -> Any:
    """Artifacts are for looking at: a server that does not take one must not cost a shot."""
    try:
        return call()
    except Exception as error:
        LOG.warning("the Prefect server did not take an artifact: %s", error)
        return None
