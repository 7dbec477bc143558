"""A house to render in, and a way to look at what came out. Helpers, no tests; fixtures stand in conftest.py."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

ROOT = Path(__file__).resolve().parents[1]
HEADER = ["show", "sequence", "shot", "plate", "prompt", "frames", "fps", "resolution", "camera", "deliveries"]


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without whatever configures Prefect or Dailies on this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DAILIES_"))}
    return {**kept, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **extra}


@dataclass(frozen=True)
class House:
    """A home of its own, and the command line in it."""

    folder: Path
    plate: Path
    environment: Mapping[str, str]
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.folder / "home")

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`dailies WORDS...` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "desk.cli", *words],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def json(self, *words: str, code: int = 0, **environment: str) -> dict[str, Any]:
        """The document of `dailies WORDS... --json`, which must be all that stands on stdout."""
        done = self.run(*words, "--json", **environment)
        assert done.returncode == code, done.stderr + done.stdout
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def submit(self, *rows: Mapping[str, str], name: str = "list.csv", mode: str = "create") -> dict[str, Any]:
        """Write a list of these rows, defaults filled in, and submit it."""
        defaults = {
            "show": "AGM",
            "sequence": "SQ010",
            "plate": str(self.plate),
            "prompt": "noise",
            "frames": "12",
            "fps": "30",
            "resolution": "160x96",
            "camera": "push in",
            "deliveries": "h264",
        }
        path = self.plate.parent / f"{self.folder.name}-{name}"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, HEADER + sorted({name for row in rows for name in row} - {*HEADER}))
            writer.writeheader()
            writer.writerows({**defaults, **row} for row in rows)
        return self.json("submit", str(path), "--mode", mode)


def step(
    command: str, folder: Path, *words: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`dailies COMMAND WORDS...` with a home in the folder, and how it ended: with that exit code and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "desk.cli", command, *words],
        cwd=ROOT,
        env=clean_environment(DAILIES_HOME=str(folder / "home"), **environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


def decoded(path: Path) -> str:
    """sha256 over every decoded frame of a file, or of every picture of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with av.open(str(file)) as container:
            for frame in container.decode(video=0):
                digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


def pictures(version: Path, kinds: Sequence[str] = ("mp4", "mov", "webm", "_png")) -> dict[str, str]:
    """Digest of the decoded frames of every deliverable in a version's folder."""
    return {entry.name: decoded(entry) for entry in sorted(version.iterdir()) if entry.name.endswith(tuple(kinds))}
