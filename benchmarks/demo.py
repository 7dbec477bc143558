"""`make demo` from a bare clone: how long until the first deliverables of a new user.

Clones this repository's last commit into a new folder without an environment or a home, runs `make demo`, and takes
the times from its output. The package index counts: run it twice and believe the second. Writes results/demo.json.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from report import table, write

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """One clone, one demo."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "dailies"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DAILIES_", "PREFECT_"))
        }
        started = time.perf_counter()
        subprocess.run(["make", ".venv/core.done"], cwd=clone, env=environment, check=True, capture_output=True)
        installed = time.perf_counter() - started
        done = subprocess.run(["make", "demo"], cwd=clone, env=environment, check=True, capture_output=True, text=True)
        whole = time.perf_counter() - started
        render = float(re.search(r"6 shots done, 0 failed, ([\d.]+) s", done.stdout)[1])  # type: ignore[index]
        files = len(list(clone.glob("dailies-home/deliveries/*/*/*/v001/*_*p_*")))
    rows = [
        {"part": "install the locked core", "seconds": round(installed, 1)},
        {"part": "render six shots", "seconds": round(render, 1)},
        {"part": "make demo, all of it", "seconds": round(whole, 1)},
    ]
    print(table(rows))
    print(f"{files} deliverables")
    write("demo", {"rows": rows, "deliverables": files})


if __name__ == "__main__":
    main()
