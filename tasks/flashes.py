"""Flashes that may harm, counted as ITU-R BT.1702 and WCAG 2.3.1 describe them. A hint, not a certificate.

Knows: pictures in order. Does not know: files, limits, screens: a screen of 200 cd/m2 is assumed, seen whole. Memory:
a few small masks for each change within one second.

A flash is a pair of opposing changes of relative luminance of a tenth of white or more, the darker side below 0.8 of
white; or of opposing changes to and from a saturated red. What counts is where more than so many of them happen within
one second, and in how much of the picture.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.planes import Floats

GRID: Final = (32, 18)
"""Columns and rows in which flashes are counted."""

CHANGE: Final = 0.1
"""Of white: least change of relative luminance that counts."""

DARK: Final = 0.8
"""Of white: the darker side of a change that counts is below it."""

RED: Final = 20 / 320
"""Least change of (R-G-B), not below 0, that counts where one side is a saturated red."""

SATURATED: Final = 0.8
"""Share of red in R+G+B from which a red is saturated."""

TOGETHER: Final = 3
"""Frames within which cells change together: light that comes gently reaches bright ones first."""

_GAMMA: Final = 2.4  # of the screen (ITU-R BT.1886)


class _Swings:
    """Opposing changes in every cell of the grid."""

    def __init__(self, *, least: float, dark: float, area: float, second: int) -> None:
        self._least, self._dark, self._area, self._second = least, dark, area, second
        self._turn: Floats | None = None  # value at which the present direction began or got to
        self._way: NDArray[np.int8] = np.zeros(GRID[::-1], np.int8)
        self._recent: deque[NDArray[np.int8]] = deque(maxlen=TOGETHER)
        self._events: deque[tuple[int, NDArray[np.bool_]]] = deque()
        self._last = 0  # direction of the last event
        self._frame = -1

    def see(self, values: Floats, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """How many changes of the whole the last second had in each cell."""
        self._frame += 1
        if self._turn is None:
            self._turn = values.copy()
        change = values - self._turn
        counts = (np.abs(change) >= self._least) & (np.minimum(values, self._turn) < self._dark)
        if allowed is not None:
            counts &= allowed
        way = np.sign(change).astype(np.int8)
        swung = counts & (way != self._way)
        # what goes on in its direction moves the point from which the next change is measured
        moved = swung | (way == self._way)
        self._turn[moved] = values[moved]
        self._way[swung] = way[swung]
        self._recent.append(np.where(swung, way, 0).astype(np.int8))
        self._note()
        while self._events and self._events[0][0] <= self._frame - self._second:
            self._events.popleft()
        return np.sum([mask for _, mask in self._events], axis=0, dtype=np.int64) + np.zeros(GRID[::-1], np.int64)

    def _note(self) -> None:
        """Keep what changed in one direction together: what moves changes one cell up and the next one down."""
        up = np.any([mask > 0 for mask in self._recent], axis=0)
        down = np.any([mask < 0 for mask in self._recent], axis=0)
        for way, mask, other in ((1, up, down), (-1, down, up)):
            share = float(mask.mean())
            if way != self._last and share >= self._area and float(other.mean()) <= share / 3:
                self._events.append((self._frame, mask))
                self._last = way
                self._recent.clear()
                return


class FlashCount:
    """Sees every frame, in order, and tells in how much of the picture there were too many flashes."""

    def __init__(self, *, second: int, flashes: float, area: float) -> None:
        """`second`: frames in a second; `flashes`: pairs of changes in it that are still safe; `area`: share of the
        picture in which they happen together."""
        self._most = 2 * flashes
        second = max(1, second)
        self._light = _Swings(least=CHANGE, dark=DARK, area=area, second=second)
        self._red = _Swings(least=RED, dark=np.inf, area=area, second=second)
        self._saturated: NDArray[np.bool_] = np.zeros(GRID[::-1], np.bool_)

    def see(self, rgb: Floats) -> float:
        """Share of the picture with more flashes than are safe in the second that ends here.

        `rgb`: (rows, columns, 3) R'G'B' in 1/255.
        """
        cells = np.clip(cv2.resize(rgb, GRID, interpolation=cv2.INTER_AREA) / np.float32(255), 0, 1)
        linear = cells**_GAMMA
        light = linear @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        total = linear.sum(axis=2)
        saturated = (linear[..., 0] >= SATURATED * total) & (total > 0.01)
        red = np.maximum(0, linear[..., 0] - linear[..., 1] - linear[..., 2])
        many = self._light.see(light) > self._most
        many |= self._red.see(red, saturated | self._saturated) > self._most
        self._saturated = saturated
        return float(many.mean())
