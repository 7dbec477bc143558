"""Windows -> one continuous clip. Where two windows overlap, one dissolves into the other in the other's colours.

Knows: segments, dissolve weights, the tone of each window. Does not know: engines, delivery rates.
Memory: one frame of each of the two windows that meet, whatever the length of the shot.

The overlaps are read first by themselves: to see how the colours of neighbouring windows differ (tasks.tone), and how
the windows are best brought together (tasks.dissolve). Each window is brought to the one before it as that one is
shown, so that no step is left at any join.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from catalogs.footage import Clip
from catalogs.timebase import FrameRange
from models.interface import Frame, FrameInterpolator
from tasks.dissolve import Pair, blended, choose, fade, middle
from tasks.errors import MediaError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.plan import TakePlan
from tasks.progress import Progress, announce
from tasks.seams import SeamMeter
from tasks.tone import AS_IT_IS, Light, Tone, ToneFit, Toner
from tasks.windows import dissolve_weights


def joined(
    windows: Sequence[Iterator[Frame]],
    lengths: Sequence[int],
    *,
    overlap: int,
    blend: Callable[[int, Pair], Frame] = lambda seam, pair: fade(*pair),
) -> Iterator[Frame]:
    """Stream the frames of overlapping windows as one sequence of sum(lengths) - (n-1) * overlap frames.

    `windows[i]` yields `lengths[i]` frames, of which the last `overlap` show the same time as the first of
    `windows[i+1]`; `blend` makes one frame of each such pair, given the number of the seam. Raises MediaError if one
    ends early.
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
            yield blend(index, (earlier, later, weight))
        taken = overlap


def _exactly(frames: Iterator[Frame], count: int, index: int) -> Iterator[Frame]:
    given = 0
    for frame in islice(frames, count):
        yield frame
        given += 1
    if given < count:
        raise MediaError(f"window {index + 1} ended {count - given} frames early; render the shot again")


def join_clips(
    plan: TakePlan, clips: Sequence[Clip], target: Path, *, interpolator: FrameInterpolator, ffmpeg: str
) -> dict[str, Any]:
    """Write the shot's native frames to `target`, and say how the windows met. Called only for two windows or more.

    The answer has `seams`, one for each window but the first: tasks.seams.Seam, the `way` that the windows were brought
    together (tasks.dissolve.Way) and what each way that was tried cost; and `windows`, one for each: `gain` and
    `offset` that its colours were given, and `drift`, how much lighter than the shot's first frame it is on the mean,
    per channel, -1 for black.
    """
    argv = clip_argv(ffmpeg, target, width=plan.width, height=plan.height, rate=plan.spec.native_rate)
    tones, ways = [AS_IT_IS], []
    for earlier, later in pairwise(clips):
        tones.append(tones[-1].after(fitted_tone(earlier, later, overlap=plan.overlap, ffmpeg=ffmpeg)))
        before, after = Toner(tones[-2]), Toner(tones[-1])
        overlap = _overlap(earlier, later, overlap=plan.overlap, ffmpeg=ffmpeg)
        judged = middle(plan.overlap)
        pairs = (
            (before.frame(one), after.frame(other), weight)
            for number, (one, other, weight) in enumerate(overlap)
            if number in judged
        )
        ways.append(choose(pairs, interpolator=interpolator))
    starts = [window.span.range.start for window in plan.windows[1:]]
    meter = SeamMeter(plan.seams, [FrameRange(start, start + plan.overlap) for start in starts])
    light = Light(plan.seams)

    def blend(seam: int, pair: Pair) -> Frame:
        meter.compare(seam, pair[0], pair[1])
        return blended(pair, way=ways[seam][0], interpolator=interpolator)

    readers = [_read(clip, ffmpeg=ffmpeg) for clip in clips]
    shown = [_shown(reader, tone) for reader, tone in zip(readers, tones, strict=True)]
    frames = joined(shown, [len(clip.range) for clip in clips], overlap=plan.overlap, blend=blend)
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
    seams = [
        {**asdict(seam), "way": way.value, "blurred": blurred}
        for seam, (way, blurred) in zip(meter.seams(), ways, strict=True)
    ]
    windows = [
        {"gain": list(tone.gain), "offset": list(tone.offset), "drift": drift}
        for tone, drift in zip(tones, light.drift(), strict=True)
    ]
    return {"seams": seams, "windows": windows}


def fitted_tone(earlier: Clip, later: Clip, *, overlap: int, ffmpeg: str) -> Tone:
    """What brings the later window's colours to the earlier one's, as far as the frames tell that both show."""
    fit = ToneFit()
    for one, other, _ in _overlap(earlier, later, overlap=overlap, ffmpeg=ffmpeg):
        fit.see(one, other)
    return fit.tone()


def _overlap(earlier: Clip, later: Clip, *, overlap: int, ffmpeg: str) -> Iterator[Pair]:
    """The frames that both clips show, with the weights of the later one's."""
    tail = _read(earlier, ffmpeg=ffmpeg, first=len(earlier.range) - overlap, count=overlap)
    head = _read(later, ffmpeg=ffmpeg, count=overlap)
    yield from zip(tail, head, dissolve_weights(overlap), strict=True)


def _read(clip: Clip, *, ffmpeg: str, first: int = 0, count: int | None = None) -> Generator[Frame]:
    count = len(clip.range) if count is None else count
    return read_frames(clip.path, ffmpeg=ffmpeg, width=clip.width, height=clip.height, first=first, count=count)


def _shown(frames: Iterator[Frame], tone: Tone) -> Iterator[Frame]:
    """A window as it is shown. Its tables are made when its turn comes, and go with it."""
    yield from Toner(tone).frames(frames)
