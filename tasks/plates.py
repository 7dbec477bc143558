"""A plate as inspection sees it: cut and reduced to the shape of the frames, with the faults that it has itself.

Knows: stills. Does not know: shots, findings. Memory: the plate, and what is kept of it: small pictures and numbers.

What a plate has is not the footage's fault: bars, blocks, stairs, a picture of one colour, a burnt-out sky.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from models.interface import EngineError, Frame
from models.plate import read_plate
from tasks.cuts import Thumbnail, thumbnail, unlikeness
from tasks.errors import MediaError
from tasks.planes import Floats, Scale, small_size
from tasks.samples import bars_of, blocks_of, stairs_of

CROPS: Final = (1.0, 0.92, 0.85, 0.77, 0.7, 0.6)
"""Shares of the plate's width that a shot may begin with: models keep all of it, a camera move has room to go."""

LEAST_STAIR: Final = 1.6
"""Levels of 255."""

_SHARES: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True, slots=True)
class PlateSeen:
    """What is kept of a plate."""

    luma: Floats
    """Small picture in 1/255, of the shape of the frames."""
    colour: Floats
    """Cb and Cr of it."""
    crops: tuple[Thumbnail, ...]
    """Thumbnails of its middle, from the whole of it inwards."""
    bars: tuple[int, int, int, int]
    """Rows and columns of black at its edges, at the frames' size."""
    blocks: float
    """As in tasks.samples."""
    stairs: float
    """As in tasks.samples."""

    @property
    def peak(self) -> float:
        """Luma below which all but a thousandth of it lies, in levels of 255."""
        return float(np.quantile(self.luma, 0.999))

    @property
    def contrast(self) -> float:
        """Standard deviation of its luma, in levels of 255."""
        return float(self.luma.std())

    def unlike(self, first: Thumbnail) -> float:
        """Unlikeness of a frame and the crop that is most like it."""
        return min(unlikeness(crop, first) for crop in self.crops if crop.shape == first.shape)


def see_plate(path: Path, *, width: int, height: int) -> PlateSeen:
    """Read a still as it would fill frames of that size. Raises MediaError if it cannot be read."""
    try:
        still = read_plate(path)
    except EngineError as error:
        raise MediaError(str(error)) from error
    whole = _fitted(still, width, height)
    luma = cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY)
    scale = Scale(0.0, 65535.0, 65535)
    small = np.asarray(cv2.resize(whole, small_size(width, height), interpolation=cv2.INTER_AREA), np.float32)
    small = small / np.float32(257)
    grey = small @ _SHARES
    colour = np.stack([(small[..., 2] - grey) / 1.8556, (small[..., 0] - grey) / 1.5748], axis=-1)
    return PlateSeen(
        luma=grey,
        colour=colour.astype(np.float32),
        crops=tuple(_crops(small)),
        bars=bars_of(luma, scale)[0],
        blocks=blocks_of(luma),
        stairs=stairs_of(luma, scale, least=LEAST_STAIR)[0],
    )


def _fitted(still: Frame, width: int, height: int) -> Frame:
    """The middle of the still in the frames' shape and size, as engines and encodes take it."""
    tall, wide = still.shape[:2]
    scale = min(Fraction(wide, width), Fraction(tall, height))
    across, down = max(1, int(scale * width)), max(1, int(scale * height))
    left, top = (wide - across) // 2, (tall - down) // 2
    middle = np.ascontiguousarray(still[top : top + down, left : left + across])
    kernel = cv2.INTER_AREA if across > width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(middle, (width, height), interpolation=kernel), np.uint16)


def _crops(small: Floats) -> Iterator[Thumbnail]:
    height, width = small.shape[:2]
    for share in CROPS:
        across, down = max(1, round(width * share)), max(1, round(height * share))
        left, top = (width - across) // 2, (height - down) // 2
        part = np.ascontiguousarray(small[top : top + down, left : left + across])
        grown = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
        yield thumbnail(np.clip(np.asarray(grown) * 257, 0, 65535).astype(np.uint16))
