"""Native rate -> delivery rate: which source frame, or what between two, every delivery frame shows.

Knows: exact positions (`Fraction`), and that a FrameInterpolator makes what lies between. Does not know: which one,
or shots. Memory: two source frames, one more while cuts are watched, and the frame in the making, whatever the clip's
length.

The rules: delivery frame k shows source position k * native * speed / delivery. At phase 0 the source frame passes bit
for bit; between equal neighbours it is copied; across a cut the nearer frame is held; else the interpolator is asked
once per pair of neighbours. The number of frames is what was asked for, or there is an error and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import groupby, islice
from pathlib import Path
from typing import Final

import numpy as np

from catalogs.timebase import native_frames_needed
from models.interface import EngineError, Frame, FrameInterpolator
from tasks.cuts import CutWatch
from tasks.errors import MediaError, PlanError, StepError
from tasks.ffmpeg import master_argv
from tasks.frames import FrameWriter, read_frames
from tasks.progress import Progress, announce

HALF: Final = Fraction(1, 2)


class Origin(StrEnum):
    """Where a delivery frame comes from."""

    ORIGINAL = "original"
    INTERPOLATED = "interpolated"
    COPIED = "copied"
    """Held at a cut or between equal neighbours."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one delivery frame shows."""

    source: int
    """Source frame at or before it, from 0."""
    phase: Fraction
    """Way to the next source frame, 0 <= phase < 1."""


@dataclass(frozen=True, slots=True)
class RetimeReport:
    """What retiming a clip came to."""

    frames: int
    """Delivery frames written."""
    interpolated: int
    """Of these, made by the interpolator."""
    copied: int
    """Of these, held at a cut or copied between equal neighbours."""
    cuts: tuple[int, ...]
    """Source frames i after which the picture cuts to i+1."""


def retiming_table(frames: int, *, native: Fraction, delivery: Fraction, speed: Fraction) -> Iterator[Sample]:
    """The sample of every delivery frame k < `frames`: source + phase == k * native * speed / delivery, exactly.

    Rates in frames per second. Raises ValueError, at once, if frames < 1 or a rate or the speed is not positive.
    """
    if frames < 1 or native <= 0 or delivery <= 0 or speed <= 0:
        raise ValueError(f"cannot retime {frames} frames from {native} to {delivery} fps at speed {speed}")
    step = native * speed / delivery
    return (_sample(k, step) for k in range(frames))


def _sample(k: int, step: Fraction) -> Sample:
    source, rest = divmod(k * step.numerator, step.denominator)
    return Sample(source, Fraction(rest, step.denominator))


def hold_cuts(sample: Sample, cuts: Container[int]) -> Sample:
    """The sample, or the nearer frame if it lies between i and i+1 with i in `cuts`; the earlier one halfway."""
    if sample.phase == 0 or sample.source not in cuts:
        return sample
    return Sample(sample.source + (sample.phase > HALF), Fraction(0))


def retime(
    frames: Iterator[Frame],
    table: Iterable[Sample],
    interpolator: FrameInterpolator,
    *,
    is_cut: Callable[[int], bool] = lambda index: False,
) -> Iterator[Frame]:
    """Stream the delivery frames of `table`, whose positions ascend, from the source frames.

    `is_cut(i)` is asked once source frame i+1 has been read. Held frames may be the same array more than once.
    Raises MediaError if the source ends before the table does, EngineError from the interpolator.
    """
    return (frame for frame, _ in retime_with_origin(frames, table, interpolator, is_cut=is_cut))


def retime_with_origin(
    frames: Iterator[Frame],
    table: Iterable[Sample],
    interpolator: FrameInterpolator,
    *,
    is_cut: Callable[[int], bool] = lambda index: False,
) -> Iterator[tuple[Frame, Origin]]:
    """As `retime`, and where each frame comes from."""
    reader = _Reader(frames)
    for source, group in groupby(table, key=lambda sample: sample.source):
        samples = list(group)
        first = reader.frame(source)
        yield from ((first, Origin.ORIGINAL) for sample in samples if sample.phase == 0)
        phases = [sample.phase for sample in samples if sample.phase > 0]
        if not phases:
            continue
        second = reader.following(source)
        if is_cut(source):
            held = (hold_cuts(Sample(source, phase), (source,)).source for phase in phases)
            yield from ((first if index == source else second, Origin.COPIED) for index in held)
        elif np.array_equal(first, second):
            yield from ((first, Origin.COPIED) for _ in phases)
        else:
            made = 0
            for frame in islice(interpolator.between(first, second, phases), len(phases)):
                made += 1
                yield frame, Origin.INTERPOLATED
            if made < len(phases):
                name = interpolator.spec.engine
                raise EngineError(f"{name} made {made} of {len(phases)} frames after source frame {source}")


class _Reader:
    """Two neighbouring source frames by index; indices ascend."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._index = -1
        self._current: Frame | None = None
        self._following: Frame | None = None

    def frame(self, index: int) -> Frame:
        """Source frame `index`, not before the last one asked for."""
        while self._index < index or self._current is None:
            self._current = self._read(self._index + 1) if self._following is None else self._following
            self._following = None
            self._index += 1
        return self._current

    def following(self, index: int) -> Frame:
        """Source frame `index` + 1, without leaving frame `index`."""
        if self._following is None:
            self._following = self._read(index + 1)
        return self._following

    def _read(self, index: int) -> Frame:
        frame = next(self._frames, None)
        if frame is None:
            raise MediaError(f"the clip ends after {index} frames, frame {index} is needed too; render the shot again")
        return frame


def retime_clip(
    source: Path,
    target: Path,
    *,
    ffmpeg: str,
    width: int,
    height: int,
    source_frames: int,
    frames: int,
    native: Fraction,
    delivery: Fraction,
    speed: Fraction,
    interpolator: FrameInterpolator,
    slate: str,
) -> RetimeReport:
    """Write the master: `frames` delivery frames of the clip `source`, to `target`.

    Decoding and encoding are processes of their own and run beside the interpolator. (Threads between them, measured on
    2 cores, gave the same bytes in the same time: both cores are busy.) Raises PlanError if `source_frames` do not
    span the delivery, MediaError or FfmpegError for a clip that is short or broken, StepError if the interpolator
    fails; `target` does not exist then.
    """
    needed = native_frames_needed(frames, native=native, delivery=delivery, speed=speed)
    if needed > source_frames:
        raise PlanError(
            f"{slate}: {frames} frames at {delivery} fps and speed {speed} need {needed} source frames at "
            f"{native} fps, the clip has {source_frames}; ask for fewer frames or render more"
        )
    table = retiming_table(frames, native=native, delivery=delivery, speed=speed)
    argv = master_argv(ffmpeg, target, width=width, height=height, rate=delivery)
    tally = dict.fromkeys(Origin, 0)
    try:
        with (
            closing(read_frames(source, ffmpeg=ffmpeg, width=width, height=height, count=needed)) as decoded,
            FrameWriter(argv, width=width, height=height, what=f"{slate}, retime") as writer,
        ):
            watch = CutWatch(decoded)
            for frame, origin in retime_with_origin(watch, table, interpolator, is_cut=watch.is_cut):
                writer.write(frame)
                tally[origin] += 1
                announce(Progress(slate, "retime", writer.written, frames))
    except EngineError as error:
        target.unlink(missing_ok=True)
        raise StepError(f"{slate}: {error}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return RetimeReport(sum(tally.values()), tally[Origin.INTERPOLATED], tally[Origin.COPIED], watch.cuts)
