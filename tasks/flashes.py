"""Flashes that may harm, counted as ITU-R BT.1702 and WCAG 2.3.1 describe them. A hint, not a certificate.

Knows: pictures in order. Does not know: files, limits, screens: a screen of 200 cd/m2 is assumed, seen whole. Memory:
a small mask for each frame of one second.

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

_GAMMA: Final = 2.4  # of the screen (ITU-R BT.1886)


class _Swings:
    """Opposing changes in every cell of the grid."""

    def __init__(self, *, least: float, dark: float, second: int) -> None:
        self._least, self._dark = least, dark
        self._masks: deque[NDArray[np.bool_]] = deque(maxlen=second)
        self._turn: Floats | None = None  # value at which the present direction began or got to
        self._way: NDArray[np.int8] = np.zeros(GRID[::-1], np.int8)
        self._count: NDArray[np.int16] = np.zeros(GRID[::-1], np.int16)

    def see(self, values: Floats, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int16]:
        """How many changes the last second had in each cell."""
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
        if len(self._masks) == self._masks.maxlen:
            self._count -= self._masks[0]
        self._masks.append(swung)
        self._count += swung
        return self._count


class FlashCount:
    """Sees every frame, in order, and tells in how much of the picture there were too many flashes."""

    def __init__(self, *, second: int, flashes: float) -> None:
        """`second`: frames in a second; `flashes`: pairs of changes in it that are still safe."""
        self._most = 2 * flashes
        self._light = _Swings(least=CHANGE, dark=DARK, second=max(1, second))
        self._red = _Swings(least=RED, dark=np.inf, second=max(1, second))
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
