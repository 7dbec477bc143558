"""Native rate -> delivery rate: which source frame, or what between two, every delivery frame shows.

Knows: exact positions (`Fraction`), and that a FrameInterpolator makes what lies between. Does not know: which one,
or shots. Memory: two source frames and the frame in the making, those that wait between the stages (AHEAD, BEHIND), one
in the hands of each stage, and what `tasks.sharing` says, whatever the clip's length.

The rules: delivery frame k shows source position k * native * speed / delivery. At phase 0 the source frame passes bit
for bit; between equal neighbours it is copied; across a cut the nearer frame is held; else the interpolator is asked
once per pair of neighbours. The number of frames is what was asked for, or there is an error and no file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import partial
from itertools import chain, groupby, islice
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np

from catalogs.timebase import native_frames_needed
from models.interface import EngineError, Frame, FrameInterpolator
from tasks.cuts import CutWatch
from tasks.errors import MediaError, PlanError, StepError
from tasks.ffmpeg import master_argv
from tasks.frames import FrameReader, FrameWriter
from tasks.heap import giving_back
from tasks.pipeline import Ahead, Behind
from tasks.progress import Progress, announce
from tasks.sharing import Sharing, shared, suitable_workers

HALF: Final = Fraction(1, 2)

AHEAD: Final = 2
"""Source frames that wait for the interpolator."""

BEHIND: Final = 2
"""Delivery frames that wait for the encoder."""


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

    Rates in frames per second. Raises ValueError, at once, if frames < 1, a rate or the speed is not positive, or one
    is not exact: with floats two frames could show the same moment.
    """
    if not all(isinstance(number, Fraction | int) for number in (native, delivery, speed)):
        raise ValueError(f"rates must be exact, not {native!r}, {delivery!r}, {speed!r}; write 29.97 as 30000/1001")
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
    Raises MediaError if the source ends before the table does, EngineError if the interpolator fails in any way.
    """
    return (frame for frame, _ in retime_with_origin(frames, table, interpolator, is_cut=is_cut))


def retime_with_origin(
    frames: Iterator[Frame],
    table: Iterable[Sample],
    interpolator: FrameInterpolator,
    *,
    is_cut: Callable[[int], bool] = lambda index: False,
    sharing: Sharing | None = None,
) -> Iterator[tuple[Frame, Origin]]:
    """As `retime`, and where each frame comes from. With `sharing` its processes do the interpolator's work."""
    ahead = sharing.ahead if sharing is not None else 0
    begun: deque[Iterator[tuple[Frame, Origin]]] = deque()
    for turn in _turns(frames, table, interpolator, is_cut=is_cut, sharing=sharing):
        begun.append(turn)
        del turn  # and with it the source frames, as soon as it has been delivered
        while len(begun) > ahead:
            yield from begun.popleft()
    while begun:
        yield from begun.popleft()


def _turns(
    frames: Iterator[Frame],
    table: Iterable[Sample],
    interpolator: FrameInterpolator,
    *,
    is_cut: Callable[[int], bool],
    sharing: Sharing | None,
) -> Iterator[Iterator[tuple[Frame, Origin]]]:
    """Per source frame that the table names: what is delivered from there to the next; asked for, if it is made."""
    reader = _Reader(frames)
    for source, group in groupby(table, key=lambda sample: sample.source):
        samples = list(group)
        first = reader.frame(source)
        held = [(first, Origin.ORIGINAL) for sample in samples if sample.phase == 0]
        phases = [sample.phase for sample in samples if sample.phase > 0]
        if not phases:
            yield iter(held)
            continue
        second = reader.following(source)
        if is_cut(source):
            shown = (hold_cuts(Sample(source, phase), (source,)).source for phase in phases)
            yield iter([*held, *((first if index == source else second, Origin.COPIED) for index in shown)])
        elif np.array_equal(first, second):
            yield iter([*held, *((first, Origin.COPIED) for _ in phases)])
        else:
            if sharing is not None:
                asked = partial(iter, sharing.ask(first, second, phases))
            else:
                asked = partial(interpolator.between, first, second, phases)
            made = _made(asked, len(phases), like=first, who=f"{interpolator.spec.engine}, after source frame {source}")
            yield chain(held, ((frame, Origin.INTERPOLATED) for frame in made))
            del asked, made
        del first, second, held


def _made(asked: Callable[[], Iterator[Frame]], count: int, *, like: Frame, who: str) -> Iterator[Frame]:
    """`count` frames of what an engine makes, of the shape of `like`; whatever goes wrong is an EngineError."""
    shape, made = like.shape, 0
    try:
        for frame in islice(asked(), count):
            if frame.shape != shape or frame.dtype != np.uint16:
                raise EngineError(f"{who}: it made a frame of {frame.shape} {frame.dtype}, not {shape} uint16")
            made += 1
            yield frame
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"{who}: {type(error).__name__}: {error}") from error
    if made < count:
        raise EngineError(f"{who}: it made {made} of {count} frames")


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
    workers: int = 0,
    conform: str = "",
) -> RetimeReport:
    """Write the master: `frames` delivery frames of the clip `source`, to `target`.

    Decoding, interpolation and encoding run at the same time. `workers` is how many processes share the interpolation,
    0 for as many as suit the work and this machine; it changes no bit, and an interpolator that cannot be shared works
    alone. `conform` is an ffmpeg filter for a source that is no clip of ours (see FrameReader).

    Raises PlanError if `source_frames` do not span the delivery, MediaError or FfmpegError for a clip that is short or
    broken, StepError if the interpolator fails in whatever way (its error is the cause); `target` does not exist then.
    """
    table = _planned(
        frames, source_frames=source_frames, native=native, delivery=delivery, speed=speed, slate=slate, workers=workers
    )
    step = native * speed / delivery
    needed = native_frames_needed(frames, native=native, delivery=delivery, speed=speed)
    between = frames - ceil(Fraction(frames, step.denominator))  # of k * step, each denominator-th is whole
    count = workers or suitable_workers(interpolator, between, width=width, height=height)
    most = ceil(1 / step)  # delivery frames in one source frame
    sharing = shared(interpolator, workers=count, width=width, height=height, most_phases=most) if between else None
    argv = master_argv(ffmpeg, target, width=width, height=height, rate=delivery)
    size = {"width": width, "height": height}
    tally = dict.fromkeys(Origin, 0)
    try:
        with (
            sharing or nullcontext(),
            FrameReader(source, ffmpeg=ffmpeg, count=needed, conform=conform, **size) as reader,
            FrameWriter(argv, what=f"{slate}, retime", **size) as writer,
        ):
            watch = CutWatch(reader)
            with (
                Ahead(watch, room=AHEAD, cancel=reader.kill) as ahead,
                Behind(writer.write, room=BEHIND, cancel=writer.kill) as behind,
            ):
                made = retime_with_origin(ahead, table, interpolator, is_cut=watch.is_cut, sharing=sharing)
                for frame, origin in giving_back(made):
                    behind.put(frame)
                    tally[origin] += 1
                    announce(Progress(slate, "retime", sum(tally.values()), frames))
    except EngineError as error:
        target.unlink(missing_ok=True)
        raise StepError(f"{slate}: {error}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return RetimeReport(sum(tally.values()), tally[Origin.INTERPOLATED], tally[Origin.COPIED], watch.cuts)


def _planned(
    frames: int,
    *,
    source_frames: int,
    native: Fraction,
    delivery: Fraction,
    speed: Fraction,
    slate: str,
    workers: int,
) -> Iterator[Sample]:
    """The retiming table, or PlanError for one that cannot be delivered."""
    try:
        table = retiming_table(frames, native=native, delivery=delivery, speed=speed)
    except ValueError as error:
        raise PlanError(f"{slate}: {error}") from error
    if workers < 0:
        raise PlanError(f"{slate}: {workers} processes cannot share a clip; give 1 or more, or 0 for what suits")
    needed = native_frames_needed(frames, native=native, delivery=delivery, speed=speed)
    if needed > source_frames:
        alone = "; between less than two frames lies nothing" if source_frames < 2 else ""
        raise PlanError(
            f"{slate}: {frames} frames at {delivery} fps and speed {speed} need {needed} source frames at "
            f"{native} fps, the clip has {source_frames}{alone}; ask for fewer frames or render more"
        )
    return table
