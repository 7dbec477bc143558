"""A house to break: its disk, its databases, its shots, and what it would have made in peace. No benchmark itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from chaos_probe import LOG, PAUSE, POISON
from PIL import Image
from postgres import Cluster, cluster
from rendering import ROOT, House, clean_environment, pictures

DISK = "1200m"
"""Size of the work folder's own disk: forty shots take a third of it."""

PLATES = 6
TWO_WINDOWS = 130
"""Delivery frames at 24 per second that are more native frames than one window has."""


@dataclass
class Place:
    """A scratch folder with a home in it, and what stands around."""

    folder: Path
    environment: dict[str, str] = field(repr=False)
    database_url: str
    postgres: Cluster | None
    mounted: bool
    """Whether the work folder is a disk of its own, which can be filled."""

    @property
    def home(self) -> Path:
        """Of the house."""
        return self.folder / "home"

    @property
    def log(self) -> Path:
        """What chaos_probe writes."""
        return self.folder / "windows.log"

    @property
    def house(self) -> House:
        """The command line in that home."""
        return House(self.folder, self.folder / "plates" / "0.png", self.environment)


def plates(folder: Path) -> list[Path]:
    """A few textured stills, and the poison one."""
    folder.mkdir(parents=True)
    made = []
    for number in range(PLATES + 1):
        cells = np.random.default_rng(number).integers(0, 256, (18, 32, 3), dtype=np.uint8)
        path = folder / (POISON if number == PLATES else f"{number}.png")
        Image.fromarray(cells).resize((320, 180), Image.Resampling.BICUBIC).save(path)
        made.append(path)
    return made


def shot_list(count: int, stills: Sequence[Path]) -> list[dict[str, str]]:
    """`count` small shots, each different from every other, and the poison one among them."""
    moves = ("push in", "pull out", "pan left", "pan right")
    rows = [
        {
            "shot": f"SH{number:04d}",
            "plate": str(stills[number % PLATES]),
            "prompt": f"noise {number}",
            "frames": str(TWO_WINDOWS if number % 6 == 5 else 24 + 6 * (number % 5)),
            "fps": "24" if number % 2 else "30",
            "camera": moves[number % len(moves)],
            "deliveries": "h264 webm" if number % 8 == 3 else "h264",
        }
        for number in range(count)
    ]
    rows.insert(count // 2, {"shot": "POISON", "plate": str(stills[PLATES])})
    return rows


def in_peace(place: Place, rows: Sequence[dict[str, str]], *, kept: Path | None = None) -> dict[str, dict[str, str]]:
    """Shot -> file -> digest of its decoded frames, rendered in another home without any disturbance.

    `kept`: a file of digests of an earlier call, used if it is of the same list.
    """
    wanted = [row for row in rows if not row["plate"].endswith(POISON)]
    told = [{**row, "plate": Path(row["plate"]).name} for row in wanted]
    mark = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    if kept is not None and kept.exists() and (found := json.loads(kept.read_text()))["list"] == mark:
        return dict(found["frames"])
    folder = place.folder / "peace"
    environment = clean_environment(DAILIES_HOME=str(folder / "home"), HOME=str(folder))
    house = House(folder, Path(wanted[0]["plate"]), environment)
    house.submit(*wanted)
    words = [sys.executable, "-m", "desk.cli", "render", "--json"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    frames = {
        one["shot"].rpartition("/")[2]: pictures(Path(one["manifest"]).parent)
        for one in json.loads(done.stdout)["shots"]
    }
    shutil.rmtree(folder)
    if kept is not None:
        kept.write_text(json.dumps({"list": mark, "frames": frames}))
    return frames


@contextmanager
def scratch(database: str, *, pause: float) -> Iterator[Place]:
    """An empty place; everything of it is gone afterwards. `pause`: seconds that each window takes longer."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="dailies-chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        work = folder / "home" / "work"
        work.mkdir(parents=True)
        mounted = _mount(work)
        if mounted:
            stack.callback(subprocess.run, ["umount", "-l", str(work)], check=False)
        (folder / "probe").mkdir()
        shutil.copyfile(Path(__file__).with_name("chaos_probe.py"), folder / "probe" / "sitecustomize.py")
        begins = datetime.now(UTC) + timedelta(hours=12)  # the schedule has no part in this
        given = {
            "DAILIES_HOME": str(folder / "home"),
            "DAILIES_NIGHT": f"{begins:%H}:00-{begins:%H}:30",
            "DAILIES_TIMEZONE": "UTC",
            "DAILIES_WORKERS_CPU": "2",
            "HOME": str(folder),
            "CUDA_VISIBLE_DEVICES": "0,1",
            "PYTHONPATH": os.pathsep.join([str(folder / "probe"), str(ROOT)]),
            "OMP_NUM_THREADS": "1",
            LOG: str(folder / "windows.log"),
            PAUSE: str(pause),
        }
        server, url = None, f"sqlite:///{folder / 'home' / 'catalogue.sqlite'}"
        if database == "postgresql":
            server = stack.enter_context(cluster())
            url = given["DAILIES_DATABASE_URL"] = server.create("dailies")
            server.create("prefect")
            server.psql("CREATE EXTENSION pg_trgm", database="prefect")
            given["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = server.url("prefect", driver="asyncpg")
        yield Place(folder, clean_environment(**given), url, server, mounted)


def _mount(folder: Path) -> bool:
    try:
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def up(place: Place, port: int) -> Iterator[subprocess.Popen[str]]:
    """`dailies up`, ready. Ended by force if the block leaves it running."""
    said = place.folder / "up.log"
    with said.open("w") as log:
        words = [sys.executable, "-m", "desk.cli", "up", "--no-desk", "--wait", "--port", str(port)]
        running = subprocess.Popen(
            words, cwd=ROOT, env=place.environment, stdout=log, stderr=log, text=True, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 240
        while "Ctrl-C" not in said.read_text():
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the house did not come up:\n{said.read_text()}")
            time.sleep(0.2)
        yield running
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()


def night(place: Place, said: Path) -> subprocess.Popen[str]:
    """`dailies night --json`, begun; its report will stand in `said`."""
    with said.open("w") as out, said.with_suffix(".err").open("w") as err:
        words = [sys.executable, "-m", "desk.cli", "night", "--json"]
        return subprocess.Popen(
            words, cwd=ROOT, env=place.environment, stdout=out, stderr=err, text=True, start_new_session=True
        )


def end(running: subprocess.Popen[str], *, patience: float) -> float:
    """SIGTERM and the wait for its end; the seconds. Raises subprocess.TimeoutExpired."""
    began = time.monotonic()
    running.send_signal(signal.SIGTERM)
    running.wait(patience)
    return time.monotonic() - began


def ask(port: int, path: str, document: Any) -> Any:
    """Answer of the house's Prefect server. Raises OSError while there is none."""
    import urllib.request

    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}",
        method="POST",
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.loads(answer.read() or b"null")
