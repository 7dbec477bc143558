"""What one process for three formats costs against the encoders alone, and against three processes.

    python benchmarks/delivering.py [--frames 96] [--repeats 3]

A pan over an example plate with the grain of a photograph, 1280x720 at 24, as a master; H.265, ProRes HQ and VP9 as the
shot list's default. Six ways, in turns, the least of the repeats each (other work on the machine only ever adds):

- one: the command line of Dailies, one decode, three conversions, three encoders
- encoders: each encoder fed its own pre-converted raw video, one after the other: what cannot be saved
- three: the same command line for each format alone, one after the other
- master: the master decoded, and nothing else
- one, ffvhuff, and three, ffvhuff: the same from these pictures in the format of the scratch clips

Processor seconds are those of the kernel, user and system. `python benchmarks/colour.py` has the patches and the ramp.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
from moving_pictures import View, grained, look, plate
from report import table, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.ffmpeg import deliverables_argv, master_argv
from tasks.frames import FrameWriter
from tasks.presets import encoder_flags, preset

FFMPEG = str(imageio_ffmpeg.get_ffmpeg_exe())
WIDTH, HEIGHT, RATE = 1280, 720, Fraction(24)
KINDS = (("h265", "main10", "a.mp4"), ("prores", "hq", "b.mov"), ("webm", "vp9", "c.webm"))
GRAIN = 1.5  # standard deviation of the grain, of 255

CPU_LIMIT, WALL_LIMIT = 1.15, 0.70

Cost = tuple[float, float]
"""Wall and processor seconds."""


def clocked(argv: Sequence[str]) -> Cost:
    """Run a program to its end. Raises RuntimeError if it fails."""
    started = time.perf_counter()
    with subprocess.Popen(list(argv), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as running:
        _, code, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(code)
    if running.returncode:
        raise RuntimeError(f"{argv[0]} ended with {running.returncode}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def paint(path: Path, frames: int) -> None:
    """The master."""
    still = plate("city.jpg", 1600, 900)
    with FrameWriter(
        master_argv(FFMPEG, path, width=WIDTH, height=HEIGHT, rate=RATE), width=WIDTH, height=HEIGHT, what="master"
    ) as writer:
        for index in range(frames):
            view = View(0.45 + 0.001 * index, 0.5, 1.3)
            writer.write(grained(look(still, view, (WIDTH, HEIGHT)), GRAIN / 255, index))


def delivering(master: Path, folder: Path, kinds: Sequence[tuple[str, str, str]]) -> list[str]:
    """The command line of Dailies."""
    return deliverables_argv(
        FFMPEG,
        master,
        [(kind, option, folder / name) for kind, option, name in kinds],
        rate=RATE,
        width=WIDTH,
        height=HEIGHT,
        master_width=WIDTH,
        master_height=HEIGHT,
        title="T",
    )


def converted(master: Path, folder: Path, kind: str, option: str, name: str) -> Path:
    """A format's pictures as its encoder gets them, raw."""
    raw = folder / f"{kind}.raw"
    argv = delivering(master, folder, [(kind, option, name)])
    # the same graph, another encoder
    first = argv.index("-map")
    graph = argv[:first]
    subprocess.run([*graph, "-map", argv[first + 1], "-f", "rawvideo", "-y", str(raw)], check=True, capture_output=True)
    return raw


def encoding(raw: Path, folder: Path, kind: str, option: str, name: str) -> list[str]:
    """An encoder alone."""
    flags = encoder_flags(kind, option, rate=RATE, width=WIDTH)
    settings = [word for key, value in flags.items() for word in (f"-{key}", str(value))]
    size = ["-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-pix_fmt", preset(kind, option).pix_fmt]
    return [FFMPEG, "-v", "error", "-f", "rawvideo", *size, "-i", str(raw), *settings, "-y", str(folder / name)]


def total(costs: Sequence[Cost]) -> Cost:
    """Their sum."""
    return sum(wall for wall, _ in costs), sum(cpu for _, cpu in costs)


def least(costs: Sequence[Cost]) -> Cost:
    """The least wall and the least processor seconds."""
    return min(wall for wall, _ in costs), min(cpu for _, cpu in costs)


def measure(frames: int, repeats: int, folder: Path) -> dict[str, Cost]:
    """Each way's cost."""
    master = folder / "master.mkv"
    paint(master, frames)
    raws = {kind: converted(master, folder, kind, option, name) for kind, option, name in KINDS}
    scratch = folder / "scratch.mkv"
    subprocess.run([FFMPEG, "-v", "error", "-i", str(master), "-c:v", "ffvhuff", str(scratch)], check=True)
    decoding = [FFMPEG, "-v", "error", "-i", str(master), "-f", "null", "-"]
    costs: dict[str, list[Cost]] = {}
    for _ in range(repeats):
        # in turns, so that a busy minute of the machine meets all of them
        for name, one in (
            ("one", lambda: clocked(delivering(master, folder, KINDS))),
            ("encoders", lambda: total([clocked(encoding(raws[kind[0]], folder, *kind)) for kind in KINDS])),
            ("three", lambda: total([clocked(delivering(master, folder, [kind])) for kind in KINDS])),
            ("master", lambda: clocked(decoding)),
            ("one, ffvhuff", lambda: clocked(delivering(scratch, folder, KINDS))),
            ("three, ffvhuff", lambda: total([clocked(delivering(scratch, folder, [kind])) for kind in KINDS])),
        ):
            costs.setdefault(name, []).append(one())
    return {name: least(measured) for name, measured in costs.items()}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    # three raw films need room
    with tempfile.TemporaryDirectory(dir=os.environ.get("DELIVERING_TMP")) as folder:
        costs = measure(given.frames, given.repeats, Path(folder))
    cpu = costs["one"][1] / costs["encoders"][1]
    wall = costs["one"][0] / costs["three"][0]
    rows = [{"way": name, "wall s": round(one, 2), "cpu s": round(two, 2)} for name, (one, two) in costs.items()]
    print(table(rows))
    print(f"processor over the encoders alone: {cpu:.2f} (limit {CPU_LIMIT})")
    print(f"wall over three runs: {wall:.2f} (limit {WALL_LIMIT})")
    write(
        "delivering",
        {
            "size": [WIDTH, HEIGHT],
            "frames": given.frames,
            "repeats": given.repeats,
            "seconds": {name: {"wall": round(one, 2), "cpu": round(two, 2)} for name, (one, two) in costs.items()},
            "cpu_over_encoders": round(cpu, 3),
            "cpu_limit": CPU_LIMIT,
            "wall_over_three": round(wall, 3),
            "wall_limit": WALL_LIMIT,
        },
    )


if __name__ == "__main__":
    main()
