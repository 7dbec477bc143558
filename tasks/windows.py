"""How a shot is cut into windows: pure arithmetic on native frames.

Knows: a model's window rule and the overlap. Does not know: shots, files, engines.

Windows overlap; segments tile. A window is what one model call makes, a segment is the part of the shot that it owns.
The cut between two segments lies in the middle of the frames that their windows share.

    window 0   |==================|
    window 1                 |==================|
    overlap                  |----|
    segments   |---------------|----------------|

A stop is a native frame that must be the last of a window. Stops cut a shot into stretches, each of which is covered
by windows of its own; the first window after a stop begins with the frames that it shares with the one that ends there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from catalogs.timebase import FrameRange
from models.interface import GeneratorSpec
from tasks.errors import PlanError


@dataclass(frozen=True, slots=True)
class Span:
    """Where one window lies in the shot."""

    range: FrameRange
    """Native frames that the model makes; the last window may overhang the shot by less than a frame step."""
    segment: FrameRange
    """Native frames of the shot that this window owns."""


def legal_at_least(spec: GeneratorSpec, frames: int) -> int:
    """Smallest legal window of at least `frames` frames. Raises PlanError past the longest window."""
    steps = max(0, -(-(frames - spec.frame_offset) // spec.frame_step))
    length = spec.frame_offset + steps * spec.frame_step
    if length > spec.longest_window:
        raise PlanError(f"{spec.name} makes at most {spec.longest_window} frames at a time, {frames} were asked for")
    return length


def snapped(position: Fraction, spec: GeneratorSpec) -> int:
    """The native frame nearest to `position` that can be the last of a window: off by frame_step / 2 at most.

    Such frames are frame_offset - 1 and every frame_step from there (Wan: the multiples of 4).
    """
    first = spec.frame_offset - 1
    return first + spec.frame_step * max(0, math.floor((position - first) / spec.frame_step + Fraction(1, 2)))


def on_grid(overlap: int, spec: GeneratorSpec) -> bool:
    """Whether windows that share `overlap` frames can end wherever `snapped` says (Wan: 4n+1)."""
    return overlap > 0 and (overlap - spec.frame_offset) % spec.frame_step == 0


def least_stretch(overlap: int, spec: GeneratorSpec) -> int:
    """Least native frames from one stop to the next, so that a window holds its overlaps between them."""
    return spec.frame_step * max(1, -(-overlap // spec.frame_step))


def span_windows(frames: int, *, spec: GeneratorSpec, overlap: int, stops: Sequence[int] = ()) -> tuple[Span, ...]:
    """Cover `frames` native frames with the fewest legal windows, as equal in length as the rule allows.

    n windows sharing `overlap` frames make sum(lengths) - (n-1) * overlap frames. n is the least for which the longest
    windows suffice; the frame steps are then dealt out evenly, the longer windows first. Each of `stops` (ascending,
    as `snapped` gives them) is the last frame of a window; what lies between two stops is dealt out so by itself.
    Raises PlanError if frames < 1, if a window would be too short to hold the overlap at those of its ends that have
    one, or for stops that windows cannot end at.
    """
    if frames < 1:
        raise PlanError(f"a shot has at least 1 frame, not {frames}")
    if overlap < 0:
        raise PlanError(f"an overlap has at least 0 frames, not {overlap}")
    if stops:
        _check_stops(frames, spec, overlap, stops)
    starts: list[int] = []
    lengths: list[int] = []
    first = 0
    for end in (*(stop + 1 for stop in stops), frames):
        for length in _dealt(end - first, spec, overlap):
            starts.append(first)
            lengths.append(length)
            first += length - overlap
    last = len(lengths) - 1
    for index, length in enumerate(lengths):
        held = overlap * ((index > 0) + (index < last))
        if length < max(held, overlap + 1 if last else 0):
            raise PlanError(f"an overlap of {overlap} frames is too long for windows of {length}; make it shorter")
    cuts = [0, *(start + (overlap + 1) // 2 for start in starts[1:]), frames]
    return tuple(
        Span(FrameRange(start, start + length), FrameRange(cuts[i], cuts[i + 1]))
        for i, (start, length) in enumerate(zip(starts, lengths, strict=True))
    )


def _dealt(frames: int, spec: GeneratorSpec, overlap: int) -> list[int]:
    """Lengths of the windows of one stretch."""
    if frames <= spec.longest_window:
        return [legal_at_least(spec, frames)]
    if overlap >= spec.longest_window:
        raise PlanError(f"an overlap of {overlap} frames leaves nothing of a window of {spec.longest_window}")
    count = 1 + -(-(frames - spec.longest_window) // (spec.longest_window - overlap))
    made = frames + (count - 1) * overlap
    steps = -(-(made - count * spec.frame_offset) // spec.frame_step)
    each, longer = divmod(steps, count)
    return [spec.frame_offset + spec.frame_step * (each + (i < longer)) for i in range(count)]


def _check_stops(frames: int, spec: GeneratorSpec, overlap: int, stops: Sequence[int]) -> None:
    if not on_grid(overlap, spec):
        rule = f"{spec.frame_step}n+{spec.frame_offset}"
        raise PlanError(f"with an overlap of {overlap} frames no window ends at a given frame; use {rule} frames")
    least = least_stretch(overlap, spec)
    for before, stop in zip((0, *stops), stops, strict=False):
        if stop != (near := snapped(Fraction(stop), spec)):
            raise PlanError(f"no window of {spec.name} can end at native frame {stop}; {near} is the nearest that can")
        if stop - before < least:
            raise PlanError(f"native frame {stop} is {stop - before} after {before}; leave {least} for a window")
    if stops[-1] >= frames - 1:
        raise PlanError(f"native frame {stops[-1]} leaves nothing of {frames} for a window behind it; move it earlier")


def dissolve_weights(overlap: int) -> tuple[Fraction, ...]:
    """Weight of the later window on each frame that two windows share: (j+1)/(overlap+1), rising.

    Equal gain: the earlier window has 1 minus it, exactly. Neither weight is ever 0, so every shared frame is shared.
    """
    return tuple(Fraction(j + 1, overlap + 1) for j in range(overlap))
