"""From one window into the next, over the frames that both show.

Knows: pairs of frames that stand for the same time, an interpolator. Does not know: windows, files, seams of a shot.
Memory: two pairs of frames and what the interpolator needs for one.

Where two windows put the same thing at two places, a cross-fade shows it twice. A morph shows it once, on its way: the
frame at weight w is the one that an interpolator finds at phase w between the earlier window's frame and the later
one's, which stand for the same time. Where motion cannot be found the morph tears, and the cross-fade is better. Both
are made for a few frames of the overlap and judged by what they do to the picture's detail; equal frames are neither.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import DeviceLost, EngineError, EngineUnavailable, Frame, FrameInterpolator, OutOfMemory

NOT_ITS_FAULT: Final = (DeviceLost, EngineUnavailable, OutOfMemory)
"""Why an interpolator gave up that has nothing to do with the pictures: at another time, or elsewhere, it would not."""

JUDGED: Final = 4
"""Frames of an overlap, at most, that a way is judged by."""

ALIKE: Final = 0.5
"""Mean difference of two frames, in 1/255, below which they agree: grain, not motion."""


class Way(StrEnum):
    """How two windows are brought together. The names are public."""

    SAME = "same"
    """They are equal or differ by grain: weighted, to the bit."""
    FADE = "fade"
    """Weighted."""
    MORPH = "morph"
    """Interpolated at the weight."""


Pair = tuple[Frame, Frame, Fraction]
"""The earlier window's frame, the later one's of the same time, weight of the later one."""


def fade(earlier: Frame, later: Frame, weight: Fraction) -> Frame:
    """earlier * (1 - weight) + later * weight, rounded half up, in integers: equal frames stay equal bit for bit.

    Frames are (height, width, 3) uint16; `weight` is in [0, 1].
    """
    numerator, denominator = weight.numerator, weight.denominator
    mixed = earlier.astype(np.uint32) * (denominator - numerator) + later.astype(np.uint32) * numerator
    return ((mixed + denominator // 2) // denominator).astype(np.uint16)


def morph(earlier: Frame, later: Frame, weight: Fraction, *, interpolator: FrameInterpolator) -> Frame:
    """The frame at phase `weight` on the way from one to the other. Raises EngineError as the interpolator does."""
    [frame] = interpolator.between(earlier, later, [weight])
    return frame


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The way that was chosen for an overlap, and what it was chosen by."""

    way: Way
    blurred: Mapping[str, float]
    """What each way that was tried costs the picture's detail (`blurred`); empty where the frames agree."""
    morphs: Mapping[int, Frame]
    """What was made to judge the morph, by the pair's number: it need not be made again."""
    failed: str = ""
    """Why the interpolator made no morph to be judged; empty where it did."""


def choose(pairs: Mapping[int, Pair], *, interpolator: FrameInterpolator) -> Choice:
    """The way that costs the picture least, judged by a few pairs of an overlap, by their numbers in it."""
    judged = [number for number, pair in pairs.items() if _distance(pair[0], pair[1]) > ALIKE]
    if not judged:
        return Choice(Way.SAME, {}, {})
    wanted = {number: expected(*pairs[number]) for number in judged}
    cost = {Way.FADE: statistics.fmean(blurred(fade(*pairs[number]), detail) for number, detail in wanted.items())}
    morphs: dict[int, Frame] = {}
    failed = ""
    try:
        morphs = {number: morph(*pairs[number], interpolator=interpolator) for number in judged}
        cost[Way.MORPH] = statistics.fmean(blurred(frame, wanted[number]) for number, frame in morphs.items())
    except NOT_ITS_FAULT:
        raise  # a fade in its place would be kept under the key of a morph
    except EngineError as error:
        failed = str(error)
    way = min(cost, key=lambda way: cost[way])
    return Choice(way, {way.value: round(value, 4) for way, value in cost.items()}, morphs, failed)


def middle(overlap: int) -> range:
    """Which frames of an overlap a way is judged by: a cross-fade doubles most in its middle."""
    count = min(JUDGED, overlap)
    first = (overlap - count) // 2
    return range(first, first + count)


def expected(earlier: Frame, later: Frame, weight: Fraction) -> float:
    """The detail that a frame between two should have: the mean gradient of their luma, weighted."""
    return float(1 - weight) * _detail(earlier) + float(weight) * _detail(later)


def blurred(frame: Frame, detail: float) -> float:
    """How far the detail of a blended frame is from what is expected of it, as a share; 0: as detailed as its sources.

    Two pictures on top of each other lose it, a torn one gains some.
    """
    return abs(_detail(frame) / max(detail, 1e-6) - 1)


def blended(pair: Pair, *, way: Way, interpolator: FrameInterpolator) -> Frame:
    """The pair as one frame. Where two frames agree, and where the interpolator gives up, as a fade."""
    if way is Way.MORPH and _distance(pair[0], pair[1]) > ALIKE:
        try:
            return morph(*pair, interpolator=interpolator)
        except NOT_ITS_FAULT:
            raise
        except EngineError:
            pass
    return fade(*pair)


def _distance(one: Frame, other: Frame) -> float:
    """Mean difference of a quarter of the pixels, in 1/255."""
    return float(np.abs(one[::2, ::2].astype(np.int32) - other[::2, ::2]).mean()) / 257


def _detail(frame: Frame) -> float:
    luma: NDArray[np.float32] = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    along, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    return float(cv2.magnitude(along, down).mean())
