"""A house for benchmarks: `dailies up` in a home of its own, seen from outside. No benchmark itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

UP = """
import sys
from flows.house import run_house
from flows.settings import Settings
sys.exit(run_house(Settings.read(), port=int(sys.argv[1]), wait=True, said=lambda line: print(line, flush=True)))
"""


class House:
    """One that is up, or starting."""

    def __init__(self, home: Path, port: int, run: subprocess.Popen[str]) -> None:
        self.home, self.port, self.run = home, port, run

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """The server's answer."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def answers(self, path: str) -> bool:
        """Whether a page is there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as page:
                return bool(page.status == 200)
        except OSError:
            return False

    def until_ready(self) -> list[str]:
        """Lines that it says up to the one that it is ready."""
        assert self.run.stdout is not None
        lines = []
        for line in self.run.stdout:
            lines.append(line.rstrip())
            if line.startswith("Ctrl-C"):
                return lines
        raise RuntimeError("\n".join(lines))

    def programs(self) -> dict[str, int]:
        """Process ids of what it has started, by name."""
        found = {"up": self.run.pid}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except (OSError, ValueError):
                continue
            if parent == self.run.pid:
                name = words[words.index("--name") + 1] if "--name" in words else "server"
                found[name] = int(folder.name)
        return found


@contextmanager
def house(home: Path, **variables: str) -> Iterator[House]:
    """Start one on a free port; stopped in the end."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DAILIES_"))}
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [kept.get("PYTHONPATH")])])
    run = subprocess.Popen(
        [sys.executable, "-c", UP, str(port)],
        env={**kept, "DAILIES_HOME": str(home), "HOME": str(home.parent), "PYTHONPATH": path, **variables},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield House(home, port, run)
    finally:
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
