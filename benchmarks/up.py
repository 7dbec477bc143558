"""From the start of `dailies up` in an empty home to ready, with the UI and the API answering; memory afterwards.

Each run has a new home, so the database is made each time. Memory is the resident set, ten seconds after it was ready.

    python benchmarks/up.py [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from houses import house
from report import table, write

LIMIT = 40.0
"""Seconds that a start may take on two cores."""


def resident(pid: int) -> int:
    """MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1000)
    return 0


def cpu(pid: int) -> float:
    """Seconds of processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def once() -> dict[str, Any]:
    """One start."""
    with tempfile.TemporaryDirectory() as folder:
        load = os.getloadavg()[0]  # what else the machine does: a start is nearly all processor
        began = time.monotonic()
        with house(Path(folder) / "home") as up:
            up.until_ready()
            seconds = time.monotonic() - began
            assert up.answers("/")
            assert up.answers("/api/health")
            before, programs = time.monotonic(), up.programs()
            spent = {name: cpu(pid) for name, pid in programs.items()}
            time.sleep(20)
            idle = sum(cpu(pid) - spent[name] for name, pid in programs.items()) / (time.monotonic() - before)
            memory = {f"{name}_mb": resident(pid) for name, pid in sorted(programs.items())}
            return {"seconds": round(seconds, 1), "load_before": round(load, 1), "idle_cores": round(idle, 2), **memory}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = [once() for _ in range(parser.parse_args().runs)]
    print(table(runs))
    median = statistics.median(run["seconds"] for run in runs)
    write("up", {"limit_seconds": LIMIT, "median_seconds": median, "runs": runs})
    assert max(run["seconds"] for run in runs) < LIMIT


if __name__ == "__main__":
    main()
