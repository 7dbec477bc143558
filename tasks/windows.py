"""How a shot is cut into windows: pure arithmetic on native frames.

Knows: a model's window rule and the overlap. Does not know: shots, files, engines.

Windows overlap; segments tile. A window is what one model call makes, a segment is the part of the shot that it owns.
The cut between two segments lies in the middle of the frames that their windows share.

    window 0   |==================|
    window 1                 |==================|
    overlap                  |----|
    segments   |---------------|----------------|
"""

from __future__ import annotations

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


def span_windows(frames: int, *, spec: GeneratorSpec, overlap: int) -> tuple[Span, ...]:
    """Cover `frames` native frames with the fewest legal windows, as equal in length as the rule allows.

    n windows sharing `overlap` frames make sum(lengths) - (n-1) * overlap frames. n is the least for which the longest
    windows suffice; the frame steps are then dealt out evenly, the longer windows first. Raises PlanError if
    frames < 1, or if a window would be too short to hold the overlap at both of its ends.
    """
    if frames < 1:
        raise PlanError(f"a shot has at least 1 frame, not {frames}")
    if overlap < 0:
        raise PlanError(f"an overlap has at least 0 frames, not {overlap}")
    if frames <= spec.longest_window:
        whole = FrameRange(0, legal_at_least(spec, frames))
        return (Span(whole, FrameRange(0, frames)),)
    if overlap >= spec.longest_window:
        raise PlanError(f"an overlap of {overlap} frames leaves nothing of a window of {spec.longest_window}")
    count = 1 + -(-(frames - spec.longest_window) // (spec.longest_window - overlap))
    made = frames + (count - 1) * overlap
    steps = -(-(made - count * spec.frame_offset) // spec.frame_step)
    each, longer = divmod(steps, count)
    lengths = [spec.frame_offset + spec.frame_step * (each + (i < longer)) for i in range(count)]
    if min(lengths) < 2 * overlap:
        raise PlanError(
            f"an overlap of {overlap} frames is too long for windows of {min(lengths)}; use at most {min(lengths) // 2}"
        )
    starts = [0]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length - overlap)
    cuts = [0, *(start + (overlap + 1) // 2 for start in starts[1:]), frames]
    return tuple(
        Span(FrameRange(start, start + length), FrameRange(cuts[i], cuts[i + 1]))
        for i, (start, length) in enumerate(zip(starts, lengths, strict=True))
    )


def dissolve_weights(overlap: int) -> tuple[Fraction, ...]:
    """Weight of the later window on each frame that two windows share: (j+1)/(overlap+1), rising.

    Equal gain: the earlier window has 1 minus it, exactly. Neither weight is ever 0, so every shared frame is shared.
    """
    return tuple(Fraction(j + 1, overlap + 1) for j in range(overlap))
