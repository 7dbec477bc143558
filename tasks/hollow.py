"""Whether a deep file was encoded from 8-bit values, told by its master: also where the encoder has spread them.

Knows: two pictures of the same frame, as coded. Does not know: files, decoders. Memory: a third of a million
pixels of them, a few times over.

Whoever goes by 8 bits on the way moves each value to the nearest that 8 bits have: down or up, as its low bits say. No
encoder knows these low bits. So if the error of a file goes with the low bits of its master, somebody has taken them
away. How far it does is a regression of the error, its mean over blocks of 16 pixels taken out, on one turn of a circle
that the low bits go round: 0 in a file that had them, about 1 code of 10 bits where 8 were rounded and nothing else
happened, a tenth to a half of it behind H.265.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from catalogs.footage import Finding
from tasks.known import finding
from tasks.limits import Limits

BLOCK: Final = 16
"""Pixels of a block's side: the mean error of each says nothing."""

PIXELS: Final = 300_000
"""Pixels of a frame that are read, in rows of blocks from top to bottom."""

CALM: Final = 6.0
"""Codes of 10 bits between neighbours at which a pixel counts half: encoders keep smooth parts best."""

GROUPS: Final = 12
"""Parts of a frame that are held against each other for the error of the measurement."""


@dataclass(frozen=True, slots=True)
class Hollow:
    """How far the error of a file goes with the low bits of its master."""

    codes: float
    """Amplitude, in codes of 10 bits."""
    spread: float
    """Its standard error."""


class LowBits:
    """Sees frames of a file and of its master."""

    def __init__(self) -> None:
        self._with: list[complex] = []  # of each group: the error along the circle
        self._weight: list[float] = []

    def see(self, master: NDArray[Any], coded: NDArray[Any], *, bits: int) -> None:
        """Luma of one frame, (height, width) codes of `bits` bits, more than 8; small frames say nothing."""
        rows, columns = master.shape[0] // BLOCK, master.shape[1] // BLOCK
        stride = max(1, rows * columns * BLOCK * BLOCK // PIXELS)
        if rows // stride < GROUPS // 2 or not columns:
            return
        first, second = (_blocks(luma, rows, columns, stride) for luma in (master, coded))
        period = 1 << (bits - 8)
        turn = np.exp(2j * np.pi * np.arange(period) / period).astype(np.complex64)[first % period]
        error = (second.astype(np.float32) - first) * np.float32(4 / period)
        weight = _calm(first, period)
        total = weight.sum(axis=(1, 3), keepdims=True)
        error -= (weight * error).sum(axis=(1, 3), keepdims=True) / total
        along = (weight * error * turn).sum(axis=(1, 2, 3))
        for part in np.array_split(np.arange(len(along)), GROUPS):
            self._with.append(complex(along[part].sum()))
            self._weight.append(float(total[part].sum()))

    def found(self) -> Hollow | None:
        """After the last frame; None if nothing was seen."""
        if not self._with:
            return None
        along, weight = np.array(self._with), np.array(self._weight)
        # half of the energy of a circle lies along each of its axes
        mean = 2 * along.sum() / weight.sum()
        rest = 2 * along - mean * weight
        return Hollow(float(abs(mean)), math.sqrt(float((np.abs(rest) ** 2).sum())) / float(weight.sum()))


def judge_hollow(found: Hollow | None, frames: tuple[int, int], limits: Limits) -> tuple[Finding, ...]:
    """A deep file that has lost what 8 bits do not hold; `frames`: those of the shot, half-open. Pure."""
    severity = limits.severity("depth", "hollow")
    if severity is None or found is None:
        return ()
    most, steady = float(limits["depth"]["lowbits"]), float(limits["depth"]["steady"])
    if found.codes <= most or found.codes < steady * found.spread:
        return ()
    value = f"encoded from 8-bit values: {found.codes:.2f} codes of its error follow its master's low bits"
    return (finding("depth", severity, frames, value, f"{most:g} codes"),)


def _blocks(luma: NDArray[Any], rows: int, columns: int, stride: int) -> NDArray[np.int32]:
    """(rows of blocks, 16, columns of blocks, 16)."""
    whole = luma[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return whole[::stride].astype(np.int32)


def _calm(luma: NDArray[np.int32], period: int) -> NDArray[np.float32]:
    """Weight of each pixel: 1 where its neighbours are as it is."""
    rows, _, columns, _ = luma.shape
    flat = luma.reshape(rows * BLOCK, columns * BLOCK).astype(np.float32) * np.float32(4 / period)
    reach = np.ones((3, 3), np.uint8)
    busy = cv2.dilate(flat, reach) - cv2.erode(flat, reach)
    return np.asarray(1 / (1 + np.square(busy / np.float32(CALM))), np.float32).reshape(luma.shape)
