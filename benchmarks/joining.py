"""What joining costs at 1280x720: memory for a shot of ten seconds and one of 300, speed against decode and encode.

The windows are one clip under many names: a pan that ends on the frames that it begins with, so that neighbours agree
as the windows of a model that was handed them do. For the speed, reading the same windows and writing the same number
of frames without anything in between runs before and after the join, in the same process; what counts is the ratio.
`disagree` is the same with every other window displaced and lighter: each overlap is fitted and morphed.

    python benchmarks/joining.py [--seconds 10 300] [--no-memory]

300 seconds are 22 GB of frames: TMPDIR must have that room, and not in memory. `benchmarks/chaining.py` runs it too and
keeps what it prints.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from report import table

from catalogs.footage import Clip
from catalogs.shot import Plate, Shot
from flows.settings import bundled_ffmpeg
from models.flow import FlowInterpolator
from models.interface import Frame
from tasks.engines import spec_for
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.join import join_clips
from tasks.plan import TakePlan, plan_take

WIDTH, HEIGHT, RATE = 1280, 720, Fraction(16)
WINDOW, OVERLAP = 81, 5
MOST_GROWTH, LEAST_SPEED = 0.03, 0.8


def plan_of(seconds: int) -> TakePlan:
    """A shot whose windows are all full: the whole number of them that is nearest to so many seconds."""
    count = max(2, round((seconds * RATE - OVERLAP) / (WINDOW - OVERLAP)))
    shot = Shot(
        "AGM",
        "SH0010",
        count * (WINDOW - OVERLAP) + OVERLAP,
        rate=RATE,
        plate=Plate("/none.png", "0" * 64, WIDTH, HEIGHT),
        width=WIDTH,
        height=HEIGHT,
    )
    spec = replace(spec_for("animatic"), longest_window=WINDOW, overlap=OVERLAP, context=1)
    return plan_take(shot, spec, interpolator=FlowInterpolator().spec)


def frames(*, off: float, gain: float) -> Iterator[Frame]:
    """A pan that comes back to where it began: frame WINDOW - OVERLAP is frame 0."""
    chance = np.random.default_rng(3)
    still = np.zeros((HEIGHT + 96, WIDTH + 96, 3), np.float32)
    for size in (16, 64, 256):
        noise = chance.normal(0, 1, (HEIGHT // size + 32, WIDTH // size + 32, 3)).astype(np.float32)
        still += cv2.resize(noise, (still.shape[1], still.shape[0]), interpolation=cv2.INTER_CUBIC)
    still = 32768 + still * (9000 / float(still.std()))
    for number in range(WINDOW):
        turn = 2 * math.pi * (number % (WINDOW - OVERLAP)) / (WINDOW - OVERLAP)
        x, y = 40 + 30 * math.cos(turn) + off, 40 + 30 * math.sin(turn)
        by = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        view = cv2.warpAffine(still, by, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        yield np.clip(np.rint(view * gain), 0, 65535).astype(np.uint16)


def write_window(path: Path, **how: float) -> None:
    """One clip as a window is kept."""
    argv = clip_argv(bundled_ffmpeg(), path, width=WIDTH, height=HEIGHT, rate=RATE)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="benchmark") as writer:
        for frame in frames(**how):
            writer.write(frame)


def clips_of(plan: TakePlan, folder: Path, *, disagree: bool) -> list[Clip]:
    """The windows of a plan."""
    names = ("even.mkv", "odd.mkv") if disagree else ("even.mkv", "even.mkv")
    return [
        Clip(folder / names[window.index % 2], "", 0, window.span.range, RATE, WIDTH, HEIGHT) for window in plan.windows
    ]


def join(plan: TakePlan, clips: list[Clip], target: Path) -> float:
    """Seconds that joining takes."""
    began = time.perf_counter()
    join_clips(plan, clips, target, interpolator=FlowInterpolator(), ffmpeg=bundled_ffmpeg())
    return time.perf_counter() - began


def copy(plan: TakePlan, clips: list[Clip], target: Path) -> float:
    """Seconds that reading the same windows and writing as many frames takes, and nothing else."""
    began, ffmpeg = time.perf_counter(), bundled_ffmpeg()
    argv = clip_argv(ffmpeg, target, width=WIDTH, height=HEIGHT, rate=RATE)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="benchmark") as writer:
        for number, clip in enumerate(clips):
            reading = read_frames(clip.path, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT, count=WINDOW)
            for at, frame in enumerate(reading):
                if at < WINDOW - OVERLAP or number == len(clips) - 1:
                    writer.write(frame)
    assert writer.written == plan.native_frames
    return time.perf_counter() - began


def speed(folder: Path, seconds: int, *, disagree: bool) -> dict[str, Any]:
    """The join's speed over that of decode and encode alone, best of three each, turn by turn."""
    plan, target = plan_of(seconds), folder / "out.mkv"
    clips = clips_of(plan, folder, disagree=disagree)
    plain, joins = [], []
    for _ in range(3):
        plain.append(copy(plan, clips, target))
        joins.append(join(plan, clips, target))
    target.unlink()
    return {
        "windows": "disagree" if disagree else "agree",
        "frames": plan.native_frames,
        "decode_encode_fps": round(plan.native_frames / min(plain), 1),
        "join_fps": round(plan.native_frames / min(joins), 1),
        "ratio": round(min(plain) / min(joins), 3),
    }


def peak(folder: Path, seconds: int) -> dict[str, Any]:
    """Peak memory of one join in a process of its own, ffmpeg's largest added, in MB."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(folder), str(seconds)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def child(folder: Path, seconds: int) -> None:
    """One join here; prints its peak."""
    plan = plan_of(seconds)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        join(plan, clips_of(plan, folder, disagree=True), Path(out) / "out.mkv")
    own, others = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"frames": plan.native_frames, "MB": round(own + others, 1), "own_MB": round(own, 1)}))


def measure(lengths: list[int], *, memory: bool = True) -> dict[str, Any]:
    """Everything, printed and returned."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        write_window(folder / "even.mkv", off=0.0, gain=1.0)
        write_window(folder / "odd.mkv", off=1.5, gain=1.01)
        speeds = [speed(folder, lengths[0], disagree=disagree) for disagree in (False, True)]
        print(table(speeds))
        peaks = [{"seconds": seconds, **peak(folder, seconds)} for seconds in lengths] if memory else []
    growth = round(peaks[-1]["MB"] / peaks[0]["MB"] - 1, 4) if peaks else None
    if peaks:
        print(table(peaks))
        print(f"growth {growth:+.1%} (limit {MOST_GROWTH:.0%})")
    return {"speed": speeds, "memory": peaks, "memory_growth": growth}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 300])
    parser.add_argument("--no-memory", action="store_true", help="only the speed")
    asked = parser.parse_args()
    measure(asked.seconds, memory=not asked.no_memory)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
