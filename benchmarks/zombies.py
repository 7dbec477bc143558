"""How long a run whose worker and process died together stays Running: until its automation ends it.

Two runs are at work. One loses its process and its worker to SIGKILL, so that nobody is left to report it; the other
is left in peace, and must not be taken for dead. The same is done to the night's run, which must be started again.

    python benchmarks/zombies.py
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from houses import House, house
from report import table, write

LIMIT = 2 * 30 + 10 + 10
"""Seconds: two beats, the automation's slack, and how often a server looks."""


def begin(up: House, deployment: str, notes: Path, seconds: float) -> str:
    """A run of the test flow `stay` in the place of a flow of ours, which the automation watches."""
    found = up.call("GET", f"deployments/name/{deployment}")["id"]
    up.call("PATCH", f"deployments/{found}", {"entrypoint": "house_flows.stay"})
    asked = {
        "parameters": {"notes": str(notes), "seconds": seconds},
        "state": {"type": "SCHEDULED"},
        "enforce_parameter_schema": False,
    }
    run = str(up.call("POST", f"deployments/{found}/create_flow_run", asked)["id"])
    while not notes.exists():
        time.sleep(0.1)
    return run


def kill_group(pid: int) -> None:
    """A worker and what it has started, at once."""
    os.killpg(pid, signal.SIGKILL)


def until_crashed(up: House, run: str, since: float) -> float:
    """Seconds until the server says so."""
    while (state := up.call("GET", f"flow_runs/{run}")["state_type"]) != "CRASHED":
        assert time.monotonic() - since < 2 * LIMIT, state
        time.sleep(0.5)
    return time.monotonic() - since


def main() -> None:
    """Measure, print, keep."""
    result: dict[str, Any] = {"limit_seconds": LIMIT}
    with tempfile.TemporaryDirectory() as folder, house(Path(folder) / "home") as up:
        up.until_ready()
        left = begin(up, "render-reel/render-reel", Path(folder) / "left", LIMIT + 30)
        lost = begin(up, "finish-shot/finish-shot", Path(folder) / "lost", 900)
        night = begin(up, "nightly/nightly", Path(folder) / "night", 900)
        time.sleep(12)  # somewhere between two beats
        workers = up.programs()
        since = time.monotonic()
        kill_group(workers["finish"])
        kill_group(workers["night"])
        result["seconds"] = round(until_crashed(up, lost, since), 1)
        result["seconds_night"] = round(until_crashed(up, night, since), 1)
        found = up.call("GET", "deployments/name/nightly/nightly")["id"]
        asked = {"deployments": {"id": {"any_": [found]}}, "flow_runs": {"state": {"type": {"not_any_": ["CRASHED"]}}}}
        while not (runs := [r for r in up.call("POST", "flow_runs/filter", asked) if r["parameters"].get("resume")]):
            assert time.monotonic() - since < 2 * LIMIT
            time.sleep(0.5)
        result["seconds_resumed"] = round(time.monotonic() - since, 1)
        result["resumed_runs"] = len(runs)
        while (state := up.call("GET", f"flow_runs/{left}")["state_type"]) == "RUNNING":
            time.sleep(1)
        result["state_of_the_other"] = state
    print(table([result]))
    write("zombies", result)
    assert state == "COMPLETED"
    assert max(result["seconds"], result["seconds_night"]) < LIMIT


if __name__ == "__main__":
    main()
