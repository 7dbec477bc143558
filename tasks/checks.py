"""Is a window worth going on from? Seen while its frames are written, before the next window is begun.

Knows: what footage that has broken down looks like. Does not know: engines, files, what is done about it.
Memory: one picture of 160 pixels, and two numbers for each frame.

Models that chain windows hand their faults on: a window that went black, stands still or turned to noise makes the next
ones worse, at the price of good ones. Only what nobody would deliver counts here; taste is left to inspection.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from models.interface import Frame

SIDE: Final = 160
"""Longest side of the pictures that are looked at, in pixels."""

WHITE: Final = 65535
LEVEL: Final = 257
"""Of 65535, in one of 255."""

BLACK: Final = 6.0
"""Of 255: a picture whose lightest hundredth is darker than this shows nothing."""

FROZEN: Final = 0.02
"""Mean difference of neighbouring frames, in 1/255, up to which nothing moves: a decoder's grain alone is ten times
that."""

WILD: Final = 40.0
"""Median difference of neighbouring frames, in 1/255, from which on they have nothing to do with each other: unrelated
pictures of usual contrast differ by 50 to 85."""

BURNT: Final = 0.6
"""Share of values at either end of the scale from which on a picture has lost its tones."""

LAST: Final = 4
"""One part in so many of a window, its end, that tells whether it went black or burnt out."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What broke down."""

    code: str
    """`black`, `frozen`, `wild` or `burnt`."""
    said: str
    """As people read it: `went black (its last frames are nowhere lighter than 0.4/255)`."""


class WindowCheck:
    """Sees every frame of one window, in order."""

    def __init__(self, *, given: int) -> None:
        """`given`: frames from the first that the model did not make, at least the one it began with."""
        self._given = max(1, given)
        self._before: Frame | None = None
        self._lightest: list[float] = []
        self._clipped: list[float] = []
        self._differences: list[float] = []

    def see(self, frame: Frame) -> None:
        """The next frame, (height, width, 3) uint16."""
        small = _small(frame)
        self._lightest.append(float(np.quantile(small.max(axis=2), 0.99)) / LEVEL)
        self._clipped.append(float(((small <= LEVEL) | (small >= WHITE - LEVEL)).mean()))
        if self._before is not None:
            self._differences.append(float(cv2.absdiff(small, self._before).mean()) / LEVEL)
        self._before = small

    def fault(self) -> Fault | None:
        """After the last frame: the first of these that it has, or None. A window that began so is not at fault."""
        own = len(self._lightest) - self._given
        if own < 1:
            return None
        moved = self._differences[self._given - 1 :]
        ending = slice(-max(1, own // LAST), None)
        lightest, clipped = max(self._lightest[ending]), min(self._clipped[ending])
        if lightest < BLACK <= self._lightest[0]:
            return Fault("black", f"went black (its last frames are nowhere lighter than {lightest:.1f}/255)")
        if clipped > BURNT >= 2 * self._clipped[0]:
            return Fault("burnt", f"burnt out ({clipped:.0%} of its last frames' values are at an end of the scale)")
        if len(moved) > 1 and max(moved) <= FROZEN:
            return Fault("frozen", f"does not move (no two frames differ by more than {max(moved):.3f}/255)")
        if (wild := statistics.median(moved)) >= WILD:
            return Fault("wild", f"turned to noise (neighbouring frames differ by {wild:.0f}/255)")
        return None


def _small(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint16)
