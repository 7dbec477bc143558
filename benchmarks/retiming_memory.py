"""Does retiming need more memory for ten minutes than for ten seconds?

    python benchmarks/retiming_memory.py [--seconds 10 600] [--workers 1 2] [--rounds 3]

640x360 from 16 to 30 frames a second, a texture that moves; RIFE's linear model where the wheel runs (it makes every
frame between two, at little cost), else optical flow. Each run is a process of its own. What is counted is the sum of
the peaks of the resident memory of every process of its tree: Python, the processes that share the work, and ffmpeg's
two, each at its own highest mark. Ten minutes are 9,600 native frames, 18,000 delivered ones and 20 GB of files:
TMPDIR must have that room, and not in memory. Prints a table and writes results/retiming_memory.json.

The C library keeps some of what was freed, and how much depends on which thread came when: runs of one length differ by
up to 10 %, so lengths below a minute are run `--rounds` times, and the median stands. `gives back` has it return blocks
of 1 MiB or more at once (MALLOC_MMAP_THRESHOLD_), so that what is counted is what is held; `as it is` is what an
operator sees. The limit is for both.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from ncnn_models import write_linear  # noqa: E402
from report import table, write  # noqa: E402

from flows.settings import bundled_ffmpeg  # noqa: E402
from models.flow import FlowInterpolator  # noqa: E402
from models.interface import Frame, FrameInterpolator  # noqa: E402
from models.rife import RifeNcnn  # noqa: E402
from models.rife_trial import problem  # noqa: E402
from tasks.ffmpeg import clip_argv  # noqa: E402
from tasks.frames import FrameWriter  # noqa: E402
from tasks.retime import retime_clip  # noqa: E402

WIDTH, HEIGHT, NATIVE, DELIVERY = 640, 360, Fraction(16), Fraction(30)
MOST_GROWTH = 0.05
"""Of the peak at the shortest length."""

ALLOCATORS = {"gives back": {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}, "as it is": {}}


def moving(frames: int) -> Iterator[Frame]:
    """A smooth texture that goes round: cheap to make and to encode, different in every pair of neighbours."""
    coarse = np.random.default_rng(1).integers(8000, 58000, (10, 30, 3), dtype=np.uint16)
    wide = cv2.resize(coarse, (WIDTH + 256, HEIGHT), interpolation=cv2.INTER_LINEAR)
    for index in range(frames):
        shift = abs(index % 512 - 256)
        yield np.ascontiguousarray(wide[:, shift : shift + WIDTH])


def child(clip: Path, target: Path, model: str, seconds: int, workers: int) -> None:
    """Retime here."""
    engine: FrameInterpolator = RifeNcnn(Path(model)) if model else FlowInterpolator()
    retime_clip(
        clip,
        target,
        ffmpeg=bundled_ffmpeg(),
        width=WIDTH,
        height=HEIGHT,
        source_frames=int(seconds * NATIVE) + 1,
        frames=int(seconds * DELIVERY),
        native=NATIVE,
        delivery=DELIVERY,
        speed=Fraction(1),
        interpolator=engine,
        slate="benchmark",
        workers=workers,
    )


def tree(pid: int) -> Iterator[int]:
    """A process and all that come from it."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for word in file.read_text().split():
            yield from tree(int(word))


def peaks(argv: list[str], environment: Mapping[str, str]) -> dict[int, tuple[str, float]]:
    """Run a program and watch its tree: name and highest resident memory in MB of each process."""
    highest: dict[int, tuple[str, float]] = {}
    with subprocess.Popen(argv, env={**os.environ, **environment}) as running:
        while running.poll() is None:
            for pid in _listed(running.pid):
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                except OSError:
                    continue  # it has just ended
                fields = dict(line.split(":", 1) for line in status.splitlines())
                if "VmHWM" in fields:
                    name = "sharing" if any("sharing" in word for word in words) else os.path.basename(words[0])
                    highest[pid] = name, int(fields["VmHWM"].split()[0]) / 1024
            time.sleep(0.1)
        if running.returncode:
            raise SystemExit(f"{argv} ended with exit code {running.returncode}")
    return highest


def _listed(pid: int) -> list[int]:
    try:
        return list(tree(pid))
    except OSError:
        return []


def measure(seconds: int, workers: int, folder: Path, model: str, allocator: str = "as it is") -> dict[str, Any]:
    """One length by one number of processes."""
    clip, target = folder / "clip.mkv", folder / "master.mkv"
    if not clip.exists():
        argv = clip_argv(bundled_ffmpeg(), clip, width=WIDTH, height=HEIGHT, rate=NATIVE)
        with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="benchmark") as writer:
            for frame in moving(int(seconds * NATIVE) + 1):
                writer.write(frame)
    began = time.perf_counter()
    words = ["--child", str(clip), str(target), model, str(seconds), str(workers)]
    found = peaks([sys.executable, __file__, *words], ALLOCATORS[allocator])
    took = time.perf_counter() - began
    target.unlink()
    parts: dict[str, float] = {}
    for name, megabytes in found.values():
        parts[name] = parts.get(name, 0.0) + megabytes
    return {
        "allocator": allocator,
        "workers": workers,
        "seconds": seconds,
        "frames": int(seconds * DELIVERY),
        "fps": round(seconds * DELIVERY / took, 1),
        "MB": round(sum(parts.values()), 1),
        "parts_MB": {name: round(value, 1) for name, value in sorted(parts.items())},
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 600])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--allocators", nargs="+", choices=list(ALLOCATORS), default=list(ALLOCATORS))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    cases = [(allocator, workers) for allocator in asked.allocators for workers in asked.workers]
    with tempfile.TemporaryDirectory() as top:
        model = str(write_linear(Path(top) / "rife-v4.6")) if problem(None) is None else ""
        rows = []
        for seconds in asked.seconds:
            folder = Path(top) / str(seconds)
            folder.mkdir()
            for allocator, workers in cases:
                rounds = asked.rounds if seconds < 60 else 1
                found = [measure(seconds, workers, folder, model, allocator) for _ in range(rounds)]
                rows.append(sorted(found, key=lambda row: row["MB"])[len(found) // 2])
                rows[-1]["rounds_MB"] = [row["MB"] for row in found]
                print(rows[-1], flush=True)
            (folder / "clip.mkv").unlink()
    growth = []
    for allocator, workers in cases:
        found = [row["MB"] for row in rows if (row["allocator"], row["workers"]) == (allocator, workers)]
        growth.append({"allocator": allocator, "workers": workers, "growth": round(found[-1] / found[0] - 1, 4)})
    print(table(rows))
    for row in growth:
        print(f"{row['workers']} processes, {row['allocator']}: growth {row['growth']:+.1%} (limit {MOST_GROWTH:.0%})")
    engine = "rife-ncnn, linear" if model else "flow"
    write("retiming_memory", {"size": [WIDTH, HEIGHT], "engine": engine, "rows": rows, "growth": growth})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
    else:
        main()
