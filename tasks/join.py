"""Windows -> one continuous clip. Where two windows overlap, one dissolves into the other in the other's colours.

Knows: segments, dissolve weights, the tone of each window. Does not know: engines, delivery rates.
Memory: one frame of each of the two windows that meet, whatever the length of the shot.

The overlaps are read twice: first to see how the colours of neighbouring windows differ (tasks.tone), then with all
frames. Each window is brought to the one before it as that one is shown, so that no step is left at any join.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.footage import Clip
from catalogs.timebase import FrameRange
from models.interface import Frame
from tasks.errors import MediaError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.plan import TakePlan
from tasks.progress import Progress, announce
from tasks.seams import SeamMeter, seam_json
from tasks.tone import AS_IT_IS, Light, Tone, ToneFit, Toner
from tasks.windows import dissolve_weights


def dissolve(earlier: Frame, later: Frame, weight: Fraction) -> Frame:
    """earlier * (1 - weight) + later * weight, rounded half up, in integers: equal frames stay equal bit for bit.

    Frames are (height, width, 3) uint16; `weight` is in [0, 1].
    """
    numerator, denominator = weight.numerator, weight.denominator
    mixed = earlier.astype(np.uint32) * (denominator - numerator) + later.astype(np.uint32) * numerator
    return ((mixed + denominator // 2) // denominator).astype(np.uint16)


def joined(
    windows: Sequence[Iterator[Frame]],
    lengths: Sequence[int],
    *,
    overlap: int,
    shared: Callable[[int, Frame, Frame], None] = lambda seam, earlier, later: None,
) -> Iterator[Frame]:
    """Stream the frames of overlapping windows as one sequence of sum(lengths) - (n-1) * overlap frames.

    `windows[i]` yields `lengths[i]` frames, of which the last `overlap` show the same time as the first of
    `windows[i+1]`; `shared` is told of each such pair, with the number of the seam, before it is blended. Raises
    MediaError if one ends early.
    """
    weights = dissolve_weights(overlap)
    taken = 0  # frames of the current window that the dissolve before it has already used
    for index, window in enumerate(windows):
        last = index == len(windows) - 1
        alone = lengths[index] - taken - (0 if last else overlap)
        yield from _exactly(window, alone, index)
        if last:
            return
        following = windows[index + 1]
        pairs = zip(_exactly(window, overlap, index), _exactly(following, overlap, index + 1), strict=True)
        for weight, (earlier, later) in zip(weights, pairs, strict=True):
            shared(index, earlier, later)
            yield dissolve(earlier, later, weight)
        taken = overlap


def _exactly(frames: Iterator[Frame], count: int, index: int) -> Iterator[Frame]:
    given = 0
    for frame in islice(frames, count):
        yield frame
        given += 1
    if given < count:
        raise MediaError(f"window {index + 1} ended {count - given} frames early; render the shot again")


def join_clips(plan: TakePlan, clips: Sequence[Clip], target: Path, *, ffmpeg: str) -> dict[str, Any]:
    """Write the shot's native frames to `target`, and say how the windows met. Called only for two windows or more.

    The answer has `seams` (tasks.seams.Seam, one for each window but the first) and `windows`, one for each: `gain` and
    `offset` that its colours were given, and `drift`, how much lighter than the shot's first frame it is on the mean,
    per channel, -1 for black.
    """
    argv = clip_argv(ffmpeg, target, width=plan.width, height=plan.height, rate=plan.spec.native_rate)
    tones = window_tones(clips, overlap=plan.overlap, ffmpeg=ffmpeg)
    readers = [_read(clip, ffmpeg=ffmpeg) for clip in clips]
    starts = [window.span.range.start for window in plan.windows[1:]]
    meter = SeamMeter(plan.seams, [FrameRange(start, start + plan.overlap) for start in starts])
    frames = joined(
        [Toner(tone).frames(reader) for tone, reader in zip(tones, readers, strict=True)],
        [len(clip.range) for clip in clips],
        overlap=plan.overlap,
        shared=meter.compare,
    )
    light = Light(plan.seams)
    try:
        with FrameWriter(argv, width=plan.width, height=plan.height, what=f"{plan.slate}, join") as writer:
            # the last window may overhang the shot; what overhangs is not delivered
            for made, frame in enumerate(islice(frames, plan.native_frames), start=1):
                writer.write(frame)
                meter.see(frame)
                light.see(frame)
                announce(Progress(plan.slate, "join", made, plan.native_frames))
            if writer.written != plan.native_frames:
                raise MediaError(f"{plan.slate}: {writer.written} frames joined, {plan.native_frames} were planned")
    finally:
        for reader in readers:
            reader.close()
    seams = [seam_json(seam) for seam in meter.seams()]
    windows = [
        {"gain": list(tone.gain), "offset": list(tone.offset), "drift": drift}
        for tone, drift in zip(tones, light.drift(), strict=True)
    ]
    return {"seams": seams, "windows": windows}


def window_tones(clips: Sequence[Clip], *, overlap: int, ffmpeg: str) -> list[Tone]:
    """How each window is to be shown so that it has the colours of the first, as far as its overlap tells."""
    tones = [AS_IT_IS]
    for earlier, later in pairwise(clips):
        fit = ToneFit()
        tail = _read(earlier, ffmpeg=ffmpeg, first=len(earlier.range) - overlap, count=overlap)
        head = _read(later, ffmpeg=ffmpeg, count=overlap)
        for pair in zip(tail, head, strict=True):
            fit.see(*pair)
        tones.append(tones[-1].after(fit.tone()))
    return tones


def _read(clip: Clip, *, ffmpeg: str, first: int = 0, count: int | None = None) -> Generator[Frame]:
    count = len(clip.range) if count is None else count
    return read_frames(clip.path, ffmpeg=ffmpeg, width=clip.width, height=clip.height, first=first, count=count)
