"""Windows -> one continuous clip. Where two windows overlap, one dissolves into the other in the other's colours.

Knows: segments, the tone of each window, where windows meet. Does not know: engines, delivery rates.
Memory: the shared frames of the two windows that meet, and a few that wait to be written and measured, whatever the
length of the shot.

Every clip is read once. Where two meet, the frames that both show are held until it is known how the colours of the
two differ (tasks.tone) and how they are best brought together (tasks.dissolve). Each window is brought to the one
before it as that one is shown, so that no step is left at any join.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from catalogs.footage import Clip
from catalogs.timebase import FrameRange
from models.interface import Frame, FrameInterpolator
from tasks.errors import MediaError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.lanes import lane
from tasks.meeting import meeting, met
from tasks.plan import TakePlan
from tasks.progress import Progress, announce, counted
from tasks.seams import SeamMeter
from tasks.tone import AS_IT_IS, Light, Toner

Frames = Generator[Frame]
"""A window's frames, which are closed when it has given what is wanted of it."""

Meet = Callable[[int, Sequence[Frame], Sequence[Frame]], Iterable[Frame]]
"""Given the number of a seam and the shared frames of each of its windows: these frames as they are shown."""


def joined(
    windows: Sequence[Frames],
    lengths: Sequence[int],
    *,
    overlap: int,
    meet: Meet,
    show: Callable[[Frame], Frame] = lambda frame: frame,
) -> Iterator[Frame]:
    """Stream the frames of overlapping windows as one sequence of sum(lengths) - (n-1) * overlap frames.

    `windows[i]` yields `lengths[i]` frames, of which the last `overlap` show the same time as the first of
    `windows[i+1]`; `meet` makes one frame of each such pair, `show` what is seen of every other frame. Raises
    MediaError if one ends early.
    """
    taken = 0  # frames of the current window that the seam before it has already used
    for index, window in enumerate(windows):
        last = index == len(windows) - 1
        alone = lengths[index] - taken - (0 if last else overlap)
        for frame in _exactly(window, alone, index):
            yield show(frame)
        if last:
            return
        tail = list(_exactly(window, overlap, index))
        window.close()
        yield from meet(index, tail, list(_exactly(windows[index + 1], overlap, index + 1)))
        taken = overlap


def _exactly(frames: Frames, count: int, index: int) -> Iterator[Frame]:
    given = 0
    for frame in islice(frames, count):
        yield frame
        given += 1
    if given < count:
        raise MediaError(f"window {index + 1} ended {counted(count - given, 'frame')} early; render the shot again")


def join_clips(
    plan: TakePlan, clips: Sequence[Clip], target: Path, *, interpolator: FrameInterpolator, ffmpeg: str
) -> dict[str, Any]:
    """Write the shot's native frames to `target`, and say how the windows met. Called only for two windows or more.

    The answer has `seams`, one for each window but the first: tasks.seams.Seam, the `way` that the windows were brought
    together (tasks.dissolve.Way), what each way that was tried cost (`blurred`), and how many of the shared frames were
    handed on (`given`); and `windows`, one for each: `gain` and `offset` that its colours were given, `drift`, how much
    lighter than the shot's first frame (the plate, where the model begins with it) it is shown on the mean, per
    channel, -1 for black, and `drift_made`, how much lighter it was made.
    """
    starts = [window.span.range.start for window in plan.windows[1:]]
    meter = SeamMeter(plan.seams, [FrameRange(start, start + plan.overlap) for start in starts])
    shown, made = Light(len(clips)), Light(len(clips))
    tones, meetings = [AS_IT_IS], list[dict[str, Any]]()
    toner = [Toner(AS_IT_IS)]  # of the window that is shown now; its tables go with it

    def meet(seam: int, tail: Sequence[Frame], head: Sequence[Frame]) -> Iterator[Frame]:
        found = meeting(tail, head, before=tones[-1], interpolator=interpolator)
        meetings.append(found.document())
        for frame, pair in met(tail, head, found, interpolator=interpolator):
            if pair is not None:
                meter.compare(seam, pair[0], pair[1])
            yield frame
        tones.append(found.tone)
        toner[0] = Toner(found.tone)

    def show(frame: Frame) -> Frame:
        made.see(len(tones) - 1, frame)
        return toner[0].frame(frame)

    readers = [_read(clip, ffmpeg=ffmpeg) for clip in clips]
    frames = joined(
        readers,
        [len(clip.range) for clip in clips],
        overlap=plan.overlap,
        meet=meet,
        show=show,
    )
    argv = clip_argv(ffmpeg, target, width=plan.width, height=plan.height, rate=plan.spec.native_rate)
    try:
        with FrameWriter(argv, width=plan.width, height=plan.height, what=f"{plan.slate}, join") as writer:
            with lane(writer.write, abort=writer.kill) as write, lane(meter.see) as measure:
                # the last window may overhang the shot; what overhangs is not delivered
                for at, frame in enumerate(islice(frames, plan.native_frames)):
                    write(frame)
                    measure(frame)
                    shown.see(bisect(plan.seams, at), frame)
                    announce(Progress(plan.slate, "join", at + 1, plan.native_frames))
            if writer.written != plan.native_frames:
                raise MediaError(f"{plan.slate}: {writer.written} frames joined, {plan.native_frames} were planned")
    finally:
        for reader in readers:
            reader.close()
    seams = [{**asdict(seam), **found} for seam, found in zip(meter.seams(), meetings, strict=True)]
    windows = [
        {"gain": list(tone.gain), "offset": list(tone.offset), "drift": mended, "drift_made": drifted}
        for tone, mended, drifted in zip(tones, shown.drift(), made.drift(), strict=True)
    ]
    return {"seams": seams, "windows": windows}


def _read(clip: Clip, *, ffmpeg: str) -> Frames:
    return read_frames(clip.path, ffmpeg=ffmpeg, width=clip.width, height=clip.height, count=len(clip.range))
