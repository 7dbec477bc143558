"""Which fallback retimes where no RIFE weights are installed? Measured on the animatic's own frames.

    python benchmarks/interpolation.py [VIDEO ...]

Each example plate is animated at 32 frames a second; the odd frames are held out, and every candidate makes them from
the even ones. Video files are treated likewise. PSNR is over 16-bit RGB against the held-out frame; seconds are
processor seconds (all cores together) per made frame on one thread, decoding and conversion included for ffmpeg,
whose filter works in 8-bit YUV. RIFE with zero weights shows only what the real network costs: it gives a blend.

Frames that minterpolate does not give (it drops some at the ends) are left out of everyone's score and counted.
Prints a table per source and the totals, and writes results/interpolation.json.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import av  # noqa: E402
import cv2  # noqa: E402
import imageio_ffmpeg  # noqa: E402
import numpy as np  # noqa: E402
from ncnn_models import write_zero_flow  # noqa: E402
from report import table, write  # noqa: E402

from models.animatic import Animatic  # noqa: E402
from models.flow import FlowInterpolator  # noqa: E402
from models.interface import ClipRequest, Frame, FrameInterpolator  # noqa: E402
from models.rife import RifeNcnn, probe  # noqa: E402

MOVES = (
    ("lake.jpg", "push in"),
    ("dunes.png", "roll"),
    ("forest.jpg", "handheld"),
    ("city.jpg", "pan right"),
    ("lanterns.jpg", "tilt up"),
    ("lighthouse.jpg", "pull out"),
)
"""The moves of the example list."""

FRAMES = 41
"""Frames per source, of which 20 are held out."""

HALF = Fraction(1, 2)
Made = dict[int, Frame]
"""Held-out frames by their index in the source."""


def animatic(plate: Path, camera: str) -> list[Frame]:
    """The middle of a shot of 81 frames at 32 frames a second: past the easing, at full speed."""
    request = ClipRequest(
        plate=plate,
        width=640,
        height=360,
        first_frame=20,
        frames=FRAMES,
        shot_frames=81,
        native_rate=Fraction(32),
        seed=1,
        shot_seed=1,
        camera=camera,
    )
    return list(Animatic().generate(request, ()))


def video(path: Path) -> list[Frame]:
    """The first frames of a video file."""
    with av.open(str(path)) as container:
        frames = islice(container.decode(video=0), FRAMES)
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint16) * np.uint16(257) for frame in frames]


def blend(frames: Sequence[Frame]) -> Made:
    """The average of both neighbours."""
    return {
        index: ((frames[index - 1].astype(np.uint32) + frames[index + 1] + 1) // 2).astype(np.uint16)
        for index in range(1, len(frames) - 1, 2)
    }


def by(interpolator: FrameInterpolator) -> Callable[[Sequence[Frame]], Made]:
    """What an engine of ours makes."""

    def make(frames: Sequence[Frame]) -> Made:
        return {
            index: next(iter(interpolator.between(frames[index - 1], frames[index + 1], [HALF])))
            for index in range(1, len(frames) - 1, 2)
        }

    return make


def minterpolate(frames: Sequence[Frame]) -> Made:
    """ffmpeg's filter at its best setting, frames told apart by their time stamps."""
    height, width = frames[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "made.nut"
        argv = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", "-filter_threads", "1",
            "-f", "rawvideo", "-pix_fmt", "rgb48le", "-video_size", f"{width}x{height}", "-framerate", "1", "-i", "-",
            # full range: the filter knows no RGB, and limited range would cost it more than it deserves
            "-vf", "scale=out_range=full:flags=accurate_rnd+full_chroma_int,format=yuv444p,"
            "minterpolate=fps=2:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none,"
            "scale=in_range=full:flags=accurate_rnd+full_chroma_int,format=rgb24",
            "-fps_mode", "passthrough", "-c:v", "rawvideo", str(target),
        ]  # fmt: skip
        subprocess.run(argv, input=b"".join(frame.astype("<u2").tobytes() for frame in frames[::2]), check=True)
        made: Made = {}
        with av.open(str(target)) as container:
            for frame in container.decode(video=0):
                assert frame.pts is not None
                assert frame.time_base is not None
                index = int(frame.pts * frame.time_base * 2)
                if index % 2:
                    made[index] = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint16) * np.uint16(257)
    return made


def psnr(one: Frame, other: Frame) -> float:
    """In dB against 65535, at most 99."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(65535**2 / error))


def processor_seconds() -> float:
    """Of this process and its ended children, all threads."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(frames: Sequence[Frame], candidates: dict[str, Callable[[Sequence[Frame]], Made]]) -> list[dict[str, Any]]:
    """One row per candidate."""
    results: dict[str, tuple[Made, float]] = {}
    for name, make in candidates.items():
        started = processor_seconds()
        made = make(frames)
        results[name] = made, (processor_seconds() - started) / len(made)
    asked = range(1, len(frames) - 1, 2)
    common = [index for index in asked if all(index in made for made, _ in results.values())]
    rows = []
    for name, (made, spent) in results.items():
        scores = [psnr(made[index], frames[index]) for index in common]
        rows.append(
            {
                "candidate": name,
                "mean_db": round(statistics.mean(scores), 2),
                "worst_db": round(min(scores), 2),
                "seconds": round(spent, 3),
                "missing": sum(index not in made for index in asked),
            }
        )
    return rows


def sources(files: Sequence[str]) -> Iterator[tuple[str, list[Frame]]]:
    """Names and frames, one at a time."""
    for plate, camera in MOVES:
        yield f"animatic {camera}, {plate.split('.')[0]}", animatic(ROOT / "examples" / "plates" / plate, camera)
    for name in files:
        yield f"video {Path(name).stem}", video(Path(name))


def main() -> None:
    """Measure, print, keep."""
    cv2.setNumThreads(1)
    candidates: dict[str, Callable[[Sequence[Frame]], Made]] = {
        "blend": blend,
        "minterpolate": minterpolate,
        "flow": by(FlowInterpolator()),
    }
    with tempfile.TemporaryDirectory() as folder:
        if (problem := probe()) is None:
            candidates["rife-ncnn, zero weights"] = by(RifeNcnn(write_zero_flow(Path(folder) / "rife-v4.6"), threads=1))
        else:
            print(f"without RIFE: {problem}")
        measured: list[dict[str, Any]] = []
        for name, frames in sources(sys.argv[1:]):
            height, width = frames[0].shape[:2]
            rows = measure(frames, candidates)
            print(f"\n{name}, {width}x{height}, {len(frames) // 2} frames held out\n{table(rows)}", flush=True)
            measured.append({"source": name, "width": width, "height": height, "candidates": rows})
    moves = [entry for entry in measured if entry["source"].startswith("animatic")]
    totals = [
        {
            "candidate": name,
            "mean_db": round(statistics.mean(_row(entry, name)["mean_db"] for entry in moves), 2),
            "worst_db": min(_row(entry, name)["worst_db"] for entry in moves),
            "seconds": round(statistics.mean(_row(entry, name)["seconds"] for entry in moves), 3),
        }
        for name in candidates
    ]
    print(f"\nall {len(moves)} animatic moves\n{table(totals)}")
    write("interpolation", {"animatic": totals, "sources": measured})


def _row(entry: dict[str, Any], name: str) -> dict[str, Any]:
    """The row of one candidate in one source."""
    found: dict[str, Any] = next(row for row in entry["candidates"] if row["candidate"] == name)
    return found


if __name__ == "__main__":
    main()
