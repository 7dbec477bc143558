"""The fallback interpolator: OpenCV's DIS optical flow, both ways. Needs no weights.

Knows: two frames and phases. Does not know: clips, rates, cuts (the caller never asks across one).
Memory: about 25 floats a pixel while a pair is worked on; nothing between calls, so threads may share one.

How a frame at phase t is made:
1. flow 0->1 and 1->0 once per pair (DIS, Kroeger et al. 2016, preset medium) on 8-bit luma; pixels stay 16-bit;
2. three guesses at the motion through each pixel of the new frame: the quadratic approximation of Super SloMo
   (Jiang et al. 2018, eq. 4), and either flow alone. Per pixel the one wins under which the two frames agree best
   (mean difference of luma over 11x11). This settles boundaries and occlusions, where one of the flows is wrong;
3. both frames are fetched along that motion (bicubic) and summed by phase; what lies outside a frame has no say.

Measured on held-out frames, PSNR: step 2 gains 0.2 to 1.3 dB on a moving disc before a moving ground and 0.3 dB on
film; step 3's border rule 4 to 19 dB on pans and pushes. Weighting by a forward-backward check (Sundaram et al. 2010)
instead of step 2 was tried and loses 0.1 to 1.2 dB on the same frames. benchmarks/retiming.py has today's figures.

`cv2.remap` of OpenCV 5 works at the exact coordinate (107 dB against a bicubic in doubles). Versions before 5 round to
1/32 pixel, which does not matter here: 0.25 dB at 83, nothing measurable below 60. DIS gives the same bits whatever
the number of threads, so no setting is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import EngineError, Frame, InterpolatorSpec
from models.motion import Floats, luma8, optical_flow

VERSION: Final = "1"
"""Changes whenever the same two frames would give other pixels."""

AGREEMENT: Final = 11
"""Side of the square over which two fetched frames are compared, in pixels."""

BIAS: Final = 2.0
"""Levels of 255 by which a single flow must agree better than the quadratic mix of both: ties go to the mix."""


class FlowInterpolator:
    """FrameInterpolator by optical flow. Holds nothing between calls."""

    @property
    def spec(self) -> InterpolatorSpec:
        """`flow`; the version names OpenCV's, since its flow decides pixels."""
        return InterpolatorSpec(engine="flow", model="", sha256="", version=f"{VERSION}-opencv-{cv2.__version__}")

    def opener(self, threads: int) -> Callable[[], FlowInterpolator]:
        """What opens it in another process, where OpenCV then uses so many threads: the bits do not depend on them."""
        return partial(_opened, threads)

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Yield one (height, width, 3) uint16 frame per phase; equal frames are copied, not computed.

        Raises EngineError if the frames differ in size or OpenCV fails.
        """
        if first.shape != second.shape:
            raise EngineError(f"cannot interpolate between frames of {first.shape} and {second.shape}")
        if not phases:
            return
        if np.array_equal(first, second):
            for _ in phases:
                yield first.copy()
            return
        try:
            pair = _Pair(first, second)
            for phase in phases:
                yield pair.at(float(phase))
        except cv2.error as error:
            raise EngineError(f"optical flow failed on {first.shape[1]}x{first.shape[0]} frames: {error}") from error


def _opened(threads: int) -> FlowInterpolator:
    cv2.setNumThreads(threads)
    return FlowInterpolator()


class _Pair:
    """Two frames, their luma and the flows between them."""

    def __init__(self, first: Frame, second: Frame) -> None:
        self.first, self.second = first, second
        self.luma0, self.luma1 = luma8(first), luma8(second)
        self.flow01, self.flow10 = optical_flow(self.luma0, self.luma1), optical_flow(self.luma1, self.luma0)
        height, width = self.luma0.shape
        xs = np.arange(width, dtype=np.float32)
        ys = np.arange(height, dtype=np.float32)
        self.grid: Floats = np.stack(np.meshgrid(xs, ys), axis=2)

    def at(self, t: float) -> Frame:
        """The frame at phase t, 0 < t < 1."""
        to0, to1 = self._motion(t)
        weight0 = (1 - t) * _inside(to0)
        weight1 = t * _inside(to1)
        share = (weight1 / (weight0 + weight1))[:, :, None]
        one = _fetch(self.first, to0, cv2.INTER_CUBIC).astype(np.float32)
        other = _fetch(self.second, to1, cv2.INTER_CUBIC).astype(np.float32)
        # one + share * (other - one): where both agree the result is exactly theirs
        other -= one
        other *= share
        one += other
        one += 0.5
        return one.astype(np.uint16)

    def _motion(self, t: float) -> tuple[Floats, Floats]:
        """Where each pixel of the frame at t lies in both frames: two (height, width, 2) maps of x, y."""
        forth, back = self.flow01, self.flow10
        guesses = (
            (back * (t * t) - forth * (t * (1 - t)), forth * ((1 - t) * (1 - t)) - back * (t * (1 - t))),
            (forth * -t, forth * (1 - t)),
            (back * t, back * -(1 - t)),
        )
        to0, to1 = self.grid, self.grid
        least: Floats = np.empty(0, dtype=np.float32)
        for index, (move0, move1) in enumerate(guesses):
            move0 += self.grid
            move1 += self.grid
            difference = cv2.absdiff(
                _fetch(self.luma0, move0, cv2.INTER_LINEAR), _fetch(self.luma1, move1, cv2.INTER_LINEAR)
            )
            cost = cv2.blur(difference.astype(np.float32), (AGREEMENT, AGREEMENT))
            if index == 0:
                to0, to1, least = move0, move1, cost - np.float32(BIAS)
                continue
            better = cost < least
            if better.any():
                to0[better], to1[better], least[better] = move0[better], move1[better], cost[better]
        return to0, to1


def _fetch(picture: NDArray[Any], where: Floats, kernel: int) -> NDArray[Any]:
    """`picture` read at the positions `where`; beyond the border its edge goes on."""
    no_second_map: Any = None  # `where` holds both coordinates
    return np.asarray(cv2.remap(picture, where, no_second_map, kernel, borderMode=cv2.BORDER_REPLICATE))


def _inside(where: Floats) -> Floats:
    """1 for positions inside the frame, falling to 0.001 one pixel beyond its border."""
    height, width = where.shape[:2]
    x, y = where[:, :, 0], where[:, :, 1]
    beyond = np.maximum(np.maximum(-x, x - (width - 1)), np.maximum(-y, y - (height - 1)))
    inside: Floats = np.clip(1 - beyond, 0.001, 1)
    return inside
