"""Peak memory of join, retime and encode for a shot of 5 s and one of 60 s: it must not depend on the length.

Each step runs in a process of its own on clips of 320x180 (16 native, 30 delivered frames a second); what is counted is
the peak resident memory of that process plus the largest of its ffmpeg children. Prints a table and writes
results/memory.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from report import table, write

WIDTH, HEIGHT, NATIVE, DELIVERY = 320, 180, Fraction(16), Fraction(30)
LENGTHS = (5, 60)


def _plan(seconds: int) -> Any:
    from catalogs.shot import Plate, Shot
    from tasks.engines import interpolator_spec, spec_for
    from tasks.plan import plan_take

    shot = Shot(
        show="AGM",
        code="SH0010",
        frames=int(seconds * DELIVERY),
        plate=Plate("/none.png", "0" * 64, WIDTH, HEIGHT),
        width=WIDTH,
        height=HEIGHT,
    )
    spec = spec_for("animatic")
    if seconds == LENGTHS[0]:  # two windows at 5 s, so that there is something to join at both lengths
        from dataclasses import replace

        spec = replace(spec, longest_window=49)
    return plan_take(shot, spec, interpolator=interpolator_spec(Path("/none")))


def _noise(index: int) -> Any:
    """A moving texture: a different part of one noise picture for every frame."""
    picture = np.random.default_rng(1).integers(0, 65536, (HEIGHT + 64, WIDTH + 64, 3), dtype=np.uint16)
    shift = index % 64
    return np.ascontiguousarray(picture[shift : shift + HEIGHT, shift : shift + WIDTH])


def _clip(path: Path, first: int, frames: int, ffmpeg: str) -> None:
    from tasks.ffmpeg import clip_argv
    from tasks.frames import FrameWriter

    argv = clip_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=NATIVE)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="benchmark") as writer:
        for index in range(first, first + frames):
            writer.write(_noise(index))


def prepare(folder: Path, seconds: int) -> None:
    """Everything that the three steps read."""
    from catalogs.footage import Clip
    from flows.settings import bundled_ffmpeg
    from tasks.engines import interpolator
    from tasks.join import join_clips

    plan, ffmpeg = _plan(seconds), bundled_ffmpeg()
    clips = []
    for window in plan.windows:
        span = window.span.range
        path = folder / f"{window.index}.mkv"
        _clip(path, span.start, len(span), ffmpeg)
        clips.append(Clip(path, "", 0, span, NATIVE, WIDTH, HEIGHT))
    join_clips(plan, clips, folder / "joined.mkv", interpolator=interpolator(Path("/none")), ffmpeg=ffmpeg)
    step_retime(plan, folder, folder / "master.mkv", ffmpeg)


def step_join(plan: Any, folder: Path, target: Path, ffmpeg: str) -> None:
    """The windows into one clip."""
    from catalogs.footage import Clip
    from tasks.engines import interpolator
    from tasks.join import join_clips

    clips = [
        Clip(folder / f"{window.index}.mkv", "", 0, window.span.range, NATIVE, WIDTH, HEIGHT) for window in plan.windows
    ]
    join_clips(plan, clips, target, interpolator=interpolator(Path("/none")), ffmpeg=ffmpeg)


def step_retime(plan: Any, folder: Path, target: Path, ffmpeg: str) -> None:
    """The clip to the delivery rate by the fallback interpolator."""
    from tasks.engines import interpolator
    from tasks.retime import retime_clip

    retime_clip(
        folder / "joined.mkv",
        target,
        ffmpeg=ffmpeg,
        width=WIDTH,
        height=HEIGHT,
        source_frames=plan.native_frames,
        frames=plan.frames,
        native=NATIVE,
        delivery=DELIVERY,
        speed=Fraction(1),
        interpolator=interpolator(Path("/none")),
        slate=plan.slate,
    )


def step_encode(plan: Any, folder: Path, target: Path, ffmpeg: str) -> None:
    """The master to the three customer formats."""
    from catalogs.footage import Master
    from tasks.encode import encode_master

    master = Master(folder / "master.mkv", "", 0, plan.frames, DELIVERY, WIDTH, HEIGHT)
    target.mkdir()
    encode_master(
        master, plan.deliveries, target, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT, slate=plan.slate, stills=(0,)
    )


STEPS = {"join": step_join, "retime": step_retime, "encode": step_encode}


def child(step: str, seconds: int, folder: Path) -> None:
    """Run one step here and print its peak memory in MB as JSON."""
    from flows.settings import bundled_ffmpeg

    with tempfile.TemporaryDirectory() as out:
        STEPS[step](_plan(seconds), folder, Path(out) / "result.mkv", bundled_ffmpeg())
    own, ffmpeg = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"own": own, "ffmpeg": ffmpeg}))


def main() -> None:
    """Each step at both lengths."""
    peaks: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as top:
        for seconds in LENGTHS:
            folder = Path(top) / str(seconds)
            folder.mkdir()
            prepare(folder, seconds)
            for step in STEPS:
                argv = [sys.executable, __file__, step, str(seconds), str(folder)]
                done = subprocess.run(argv, capture_output=True, text=True, check=True)
                peaks[step, seconds] = sum(json.loads(done.stdout).values())
    rows = [
        {
            "step": step,
            **{f"MB_at_{seconds}_s": round(peaks[step, seconds], 1) for seconds in LENGTHS},
            "growth_%": round(100 * (peaks[step, LENGTHS[1]] / peaks[step, LENGTHS[0]] - 1), 1),
        }
        for step in STEPS
    ]
    print(table(rows))
    write("memory", {"size": [WIDTH, HEIGHT], "rows": rows})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
