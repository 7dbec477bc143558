"""What a Prefect server on SQLite does when several clients write at once: Prefect's own, and as we start it.

Each client makes flow runs and takes them through their states, with artifacts and a log line each, and asks no second
time when it is refused, which Prefect's own client does after seconds that double. Answers are counted.

    python benchmarks/server.py [--clients 10] [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from report import table, write

from flows.prefect_server import free_port, server_words

RUN = ("PENDING", "RUNNING", "COMPLETED")
SERVERS = {"prefect": "prefect", "ours": "flows.server"}


def client(url: str, name: str, runs: int, answers: Counter[str], waits: list[float]) -> None:
    """One client's work."""
    with httpx.Client(base_url=url, timeout=120) as http:

        def post(path: str, body: Any) -> Any:
            began = time.monotonic()
            try:
                answer = http.post(path, json=body)
            except httpx.TransportError:
                answers["cut"] += 1
                return None
            waits.append(time.monotonic() - began)
            answers["answered" if answer.is_success else "refused"] += 1
            return answer.json() if answer.is_success else None

        while not (flow := post("flows/", {"name": name})):
            pass
        for number in range(runs):
            run = post("flow_runs/", {"flow_id": flow["id"], "name": f"{name}-{number}", "tags": ["a", "b"]})
            if run is None:
                continue
            for state in RUN:
                post(f"flow_runs/{run['id']}/set_state", {"state": {"type": state}})
            for key in ("progress", "thumbnail", "result"):
                body = {"key": f"{key}-{name}", "type": "progress", "data": 1.0, "flow_run_id": run["id"]}
                post("artifacts/", body)
            line = {"name": "flow", "level": 20, "message": "here", "timestamp": "2026-01-01T00:00:00Z"}
            post("logs/", [{**line, "flow_run_id": run["id"]}])
            post("flow_runs/filter", {"limit": 20})


def measured(name: str, clients: int, runs: int) -> dict[str, Any]:
    """All clients at one server in a new home."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    answers: Counter[str] = Counter()
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log").open("wb") as log:
        environment = {**kept, "PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        argv = [sys.executable, "-m", SERVERS[name], *server_words(port)[1:]]
        with subprocess.Popen(argv, env=environment, stdout=log, stderr=log) as server:
            while True:
                try:
                    httpx.get(f"{url}health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.2)
            began = time.monotonic()
            with ThreadPoolExecutor(clients) as pool:
                done = [pool.submit(client, url, f"client-{n}", runs, answers, waits) for n in range(clients)]
                for one in done:
                    one.result()
            seconds = time.monotonic() - began
            server.terminate()
    return {
        "server": name,
        "answered": answers["answered"],
        "refused": answers["refused"],
        "cut": answers["cut"],
        "of": clients * (1 + 9 * runs),
        "longest_s": round(max(waits), 1),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    rows = [measured(name, asked.clients, asked.runs) for name in SERVERS]
    print(table(rows))
    write("server", {"clients": asked.clients, "runs_each": asked.runs, "rows": rows})
    assert rows[1]["refused"] + rows[1]["cut"] == 0


if __name__ == "__main__":
    main()
