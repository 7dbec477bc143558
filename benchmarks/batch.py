"""The example list through the whole pipeline: what overlapping shots gains, and what orchestration costs.

Renders `examples/shotlist.csv` into new homes, shot after shot and as `dailies render` does it, with the next shot's
generation beside the last one's finishing; twice each, the better counts. "Outside" is the wall time of the serial
batch not spent in engines, ffmpeg, inspection or pictures: hashing, fsync, catalogue, Prefect. Prints a table and
writes results/batch.json.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report import table, write

ROOT = Path(__file__).resolve().parent.parent
INSIDE = (
    "generate_window",
    "join_clips",
    "retime_clip",
    "encode_master",
    "inspect_deliverable",
    "contact_sheet",
    "write_preview",
    "write_thumbnail",
)
"""Functions of tasks.steps whose time counts as work."""


def _submit() -> int:
    from flows import lists
    from flows.settings import Settings

    outcome = lists.submit(ROOT / "examples/shotlist.csv", Settings.read())
    assert outcome.result is not None, outcome.errors
    return len(outcome.result.accepted)


def _timed(function: Callable[..., Any], spent: list[float], lock: threading.Lock) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            with lock:
                spent.append(time.perf_counter() - started)

    return wrapper


def _render(at_once: int) -> dict[str, Any]:
    """One batch in a home of its own, after Prefect has started. Seconds."""
    from flows import render
    from tasks import steps

    with tempfile.TemporaryDirectory() as folder:
        os.environ["DAILIES_HOME"] = folder
        shots = _submit()
        spent: list[float] = []
        lock = threading.Lock()
        originals = {name: getattr(steps, name) for name in INSIDE}
        for name, function in originals.items():
            setattr(steps, name, _timed(function, spent, lock))
        before, render.SHOTS_AT_ONCE = render.SHOTS_AT_ONCE, at_once  # type: ignore[misc]
        try:
            document = render.run_batch()
        finally:
            render.SHOTS_AT_ONCE = before  # type: ignore[misc]
            for name, function in originals.items():
                setattr(steps, name, function)
    assert all(not shot["error"] for shot in document["shots"]), document
    return {"shots": shots, "seconds": document["seconds"], "inside": sum(spent)}


def main() -> None:
    """Serial, overlapped, and the difference."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFECT_HOME"] = folder
        os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
        os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        from prefect import flow

        @flow
        def both() -> list[dict[str, Any]]:
            """One flow around both batches, so that neither pays for the server's start."""
            return [_render(1), _render(2), _render(1), _render(2)]

        runs = both()
    rows = []
    for name, picked in (("one after the other", runs[0::2]), ("overlapped", runs[1::2])):
        best = min(picked, key=lambda run: float(run["seconds"]))
        outside = (best["seconds"] - best["inside"]) / best["shots"] if name != "overlapped" else None
        rows.append(
            {
                "batch": name,
                "shots": best["shots"],
                "seconds": round(best["seconds"], 1),
                "outside_s_per_shot": "" if outside is None else round(outside, 2),
            }
        )
    gain = 1 - rows[1]["seconds"] / rows[0]["seconds"]
    print(table(rows))
    print(f"overlapping saves {gain:.0%} of the wall time")
    write("batch", {"rows": rows, "gain": round(gain, 3), "runs": [run["seconds"] for run in runs]})


if __name__ == "__main__":
    main()
