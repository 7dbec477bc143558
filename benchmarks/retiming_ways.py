"""The ways to retime that benchmarks/retiming.py compares, each run in a process of its own.

Knows: source frames in a file, a table of positions, and who makes what lies between. Does not know: the truth. Memory:
that of the way, and a few frames: they are read and written one by one, so that a peak is the way's own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import moving_pictures  # noqa: F401  puts the project on the path
import numpy as np

from models.interface import Frame, FrameInterpolator, InterpolatorSpec
from tasks.cuts import CutWatch
from tasks.retime import Sample, retime, retiming_table


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the report."""

    name: str
    """What it is called there."""
    kind: str
    """nearest, blend, minterpolate, flow, rife-ncnn or rife-torch."""
    weights: str = ""
    """Folder (ncnn) or file (torch) of its weights."""
    real: bool = True
    """False where the weights are a test's: what it costs is true, what it shows is not."""


@dataclass(frozen=True, slots=True)
class Task:
    """One clip, as a way is given it."""

    sources: Path
    """Raw frames, rgb48le."""
    target: Path
    """Where raw delivery frames go, rgb48le: at their own place, the others left out."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    count: int
    """Source frames."""
    frames: int
    """Delivery frames."""
    native: Fraction
    """Source frames per second."""
    delivery: Fraction
    """Delivery frames per second."""

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.width * self.height * 6

    def table(self) -> list[Sample]:
        """What each delivery frame shows."""
        return list(retiming_table(self.frames, native=self.native, delivery=self.delivery, speed=Fraction(1)))


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a clip."""

    there: tuple[int, ...]
    """Delivery frames that lie in the target."""
    seconds: float
    """Wall time of making them, reading and writing the raw files included."""
    processor: float
    """Processor seconds of the same, of all cores together."""
    peak_mb: float
    """Most memory that the process had resident so far, in MB."""


def run(way: Way, tasks: list[Task]) -> list[Made]:
    """Every clip by one way. To be called in a new process."""
    if way.kind == "minterpolate":
        return [_minterpolate(task) for task in tasks]
    make = _maker(way)
    made = []
    for task in tasks:
        started, used = time.perf_counter(), _used()
        with task.target.open("wb") as file:
            count = 0
            for frame in make(task):
                file.write(frame.data)
                count += 1
        seconds = time.perf_counter() - started
        made.append(Made(tuple(range(count)), seconds, _used() - used, _peak_mb(os.getpid())))
    return made


def sources(task: Task) -> Iterator[Frame]:
    """The source frames, one at a time."""
    with task.sources.open("rb") as file:
        while content := file.read(task.size):
            yield np.frombuffer(content, np.uint16).reshape(task.height, task.width, 3)


def _maker(way: Way) -> Callable[[Task], Iterator[Frame]]:
    if way.kind == "nearest":
        return _nearest
    if way.kind == "blend":
        return lambda task: retime(sources(task), task.table(), _Blend())
    interpolator = _interpolator(way)

    def make(task: Task) -> Iterator[Frame]:
        watch = CutWatch(sources(task))
        return retime(watch, task.table(), interpolator, is_cut=watch.is_cut)

    return make


def _interpolator(way: Way) -> FrameInterpolator:
    """As Dailies opens it on the processor, on all cores."""
    if way.kind == "flow":
        from models.flow import FlowInterpolator

        return FlowInterpolator()
    if way.kind == "rife-ncnn":
        from models.rife import RifeNcnn

        return RifeNcnn(Path(way.weights))
    from models.rife_torch import RifeTorch

    return RifeTorch(Path(way.weights), device="cpu")


def _nearest(task: Task) -> Iterator[Frame]:
    """The nearer source frame, the earlier one halfway."""
    frames = sources(task)
    index, frame = 0, next(frames)
    for sample in task.table():
        while index < sample.source + (sample.phase > Fraction(1, 2)):
            index, frame = index + 1, next(frames)
        yield frame


class _Blend:
    """Both neighbours, weighted by phase."""

    spec = InterpolatorSpec("blend", "", "", "1")

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """As FrameInterpolator."""
        for phase in phases:
            share = np.float32(phase)
            yield np.rint(first * (1 - share) + second * share).astype(np.uint16)


def _minterpolate(task: Task) -> Made:
    """ffmpeg's filter at its best settings, frames told apart by their time stamps."""
    target = task.target.with_suffix(".nut")
    argv = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb48le", "-video_size", f"{task.width}x{task.height}",
        "-framerate", str(task.native), "-i", str(task.sources),
        # full range: the filter knows no RGB, and limited range would cost it more than it deserves
        "-vf", "scale=out_range=full:flags=accurate_rnd+full_chroma_int,format=yuv444p,"
        f"minterpolate=fps={task.delivery}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1,"
        "scale=in_range=full:flags=accurate_rnd+full_chroma_int,format=rgb24",
        "-fps_mode", "passthrough", "-c:v", "rawvideo", str(target),
    ]  # fmt: skip
    started, used = time.perf_counter(), _used()
    peak = 0.0
    with subprocess.Popen(argv) as child:
        while child.poll() is None:
            peak = max(peak, _peak_mb(child.pid))
            time.sleep(0.01)
    seconds, processor = time.perf_counter() - started, _used() - used
    if child.returncode:
        raise RuntimeError(f"minterpolate ended with {child.returncode}")
    there = []
    with av.open(str(target)) as container, task.target.open("wb") as file:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            index = round(frame.pts * frame.time_base * task.delivery)
            if 0 <= index < task.frames and index not in there:
                there.append(index)
                file.seek(index * task.size)
                file.write((np.asarray(frame.to_ndarray(format="rgb24"), np.uint16) * np.uint16(257)).data)
    target.unlink()
    return Made(tuple(there), seconds, processor, peak)


def _used() -> float:
    """Processor seconds of this process and its ended children, all threads."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_mb(pid: int) -> float:
    """High-water mark of a program's resident memory since it started; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
