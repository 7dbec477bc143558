"""Windows -> one continuous clip. Where two windows overlap, one dissolves into the other.

Knows: segments, dissolve weights. Does not know: engines, delivery rates.
Memory: one frame of each of the two windows that meet, whatever the length of the shot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from catalogs.footage import Clip
from models.interface import Frame
from tasks.errors import MediaError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.plan import TakePlan
from tasks.progress import Progress, announce
from tasks.windows import dissolve_weights


def dissolve(earlier: Frame, later: Frame, weight: Fraction) -> Frame:
    """earlier * (1 - weight) + later * weight, rounded half up, in integers: equal frames stay equal bit for bit.

    Frames are (height, width, 3) uint16; `weight` is in [0, 1].
    """
    numerator, denominator = weight.numerator, weight.denominator
    mixed = earlier.astype(np.uint32) * (denominator - numerator) + later.astype(np.uint32) * numerator
    return ((mixed + denominator // 2) // denominator).astype(np.uint16)


def joined(windows: Sequence[Iterator[Frame]], lengths: Sequence[int], *, overlap: int) -> Iterator[Frame]:
    """Stream the frames of overlapping windows as one sequence of sum(lengths) - (n-1) * overlap frames.

    `windows[i]` yields `lengths[i]` frames, of which the last `overlap` show the same time as the first of
    `windows[i+1]`. Raises MediaError if one ends early.
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
            yield dissolve(earlier, later, weight)
        taken = overlap


def _exactly(frames: Iterator[Frame], count: int, index: int) -> Iterator[Frame]:
    given = 0
    for frame in islice(frames, count):
        yield frame
        given += 1
    if given < count:
        raise MediaError(f"window {index + 1} ended {count - given} frames early; render the shot again")


def join_clips(plan: TakePlan, clips: Sequence[Clip], target: Path, *, ffmpeg: str) -> None:
    """Write the shot's native frames to `target`. Called only for two windows or more."""
    argv = clip_argv(ffmpeg, target, width=plan.width, height=plan.height, rate=plan.spec.native_rate)
    readers = [
        read_frames(clip.path, ffmpeg=ffmpeg, width=clip.width, height=clip.height, count=len(clip.range))
        for clip in clips
    ]
    frames = joined(readers, [len(clip.range) for clip in clips], overlap=plan.overlap)
    try:
        with FrameWriter(argv, width=plan.width, height=plan.height, what=f"{plan.slate}, join") as writer:
            # the last window may overhang the shot; what overhangs is not delivered
            for made, frame in enumerate(islice(frames, plan.native_frames), start=1):
                writer.write(frame)
                announce(Progress(plan.slate, "join", made, plan.native_frames))
            if writer.written != plan.native_frames:
                raise MediaError(f"{plan.slate}: {writer.written} frames joined, {plan.native_frames} were planned")
    finally:
        for reader in readers:
            reader.close()
