"""What can be seen only at full size, measured on a few frames of a file: bars, detail, blocks, stairs, ranges.

Knows: pictures. Does not know: files, limits, findings. Memory: the frame that is measured, and a few numbers of each.

Everything is measured on coded luma where it lies. Lines of it are read rather than all of it where that is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.planes import Floats, Picture, Scale

DARK: Final = 12.0
"""Levels of 255: bars are darker throughout, and what begins beside them is lighter by half of it."""

FLAT: Final = 0.75
"""Levels of 255 within which a run of pixels is a stair's tread."""

TREAD: Final = 6
"""Pixels of the shortest tread."""

RISE: Final = 12.0
"""Levels of 255 of the highest stair: more is an edge of something."""

CLIMB: Final = 96
"""Pixels within which the next stair goes the same way: one step alone is an outline."""

DITHER: Final = (2, 8)
"""Pixels along a line and lines over which the dither of 8-bit files is averaged; it repeats after 8 of them."""

SMOOTH: Final = 8
"""Codes of 10 bits between the lightest and the darkest of nine pixels, up to which they are of a smooth part."""

COMBED: Final = 16
"""Groups of four codes that must be in use before their use says anything."""

_LINES: Final = 96  # rows and columns that are read for stairs


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame at full size. Levels are of 255 between black and white."""

    index: int
    """Which frame, from 0."""
    bars: tuple[int, int, int, int]
    """Rows of black at the top and bottom, columns at the left and right."""
    edges: tuple[float, float, float, float]
    """Share of each bar's length along which the picture begins at once."""
    fine: float
    """Mean absolute difference of luma over two pixels, bent: fine detail, in levels."""
    coarse: float
    """The same at a quarter of the size: what fine detail is held against, in levels."""
    even: float
    """Fine detail over coarse once more, in all directions alike: a picture that turns keeps it."""
    blocks: float
    """Steepness of the edges of 8x8 blocks over that between; 1 for none."""
    stairs: float
    """Stairs per 100 pixels of the lines that were read."""
    stair: float
    """Median height of these stairs, in levels."""
    beyond: float
    """Share of pixels with luma beyond -5 % and 105 %."""
    gamut: float
    """Share of the small picture's pixels with red, green or blue beyond -5 % and 105 %."""
    comb: float
    """How much of each four codes lies on one of them, in files deeper than 8 bits; 0 in others."""


def sample_of(index: int, picture: Picture, *, step: float, content: bool) -> Sample:
    """Measure a frame; `content`: all of it, else the ranges alone. `step`: levels of the least stair that counts."""
    beyond, gamut = _beyond(picture)
    if not content:
        return Sample(index, (0, 0, 0, 0), (0.0,) * 4, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, beyond, gamut, 0.0)
    luma, scale = picture.luma, picture.scale
    bars, edges = bars_of(luma, scale)
    fine, coarse, even = detail(luma, scale)
    stairs, stair = stairs_of(luma, scale, least=step)
    comb = comb_of(luma, scale)
    return Sample(index, bars, edges, fine, coarse, even, blocks_of(luma), stairs, stair, beyond, gamut, comb)


def bars_of(luma: NDArray[Any], scale: Scale) -> tuple[tuple[int, int, int, int], tuple[float, float, float, float]]:
    """Rows and columns of black at the top, bottom, left and right; how sharply the picture begins beside each.

    A row belongs to a bar if 99 of 100 of its pixels are darker than DARK and alike within half of that.
    """
    limit, sharp = scale.black + DARK * scale.level, DARK / 2 * scale.level
    bars, edges = [], []
    for turned in (luma, luma[::-1], luma.T, luma.T[::-1]):
        count = 0
        most = turned.shape[0] // 3
        while count < most and _bare(turned[count], limit, scale.level):
            count += 1
        edge = 0.0
        if 0 < count < most:
            # encoders soften an edge over a row or two
            within = turned[min(count + 2, turned.shape[0] - 1)].astype(np.float32)
            edge = float((within > float(np.median(turned[0])) + sharp).mean())
        bars.append(count if count < most else 0)
        edges.append(edge)
    return (bars[0], bars[1], bars[2], bars[3]), (edges[0], edges[1], edges[2], edges[3])


def _bare(line: NDArray[Any], limit: float, level: float) -> bool:
    if line[line.size // 2] > limit or line[0] > limit:  # most lines end here
        return False
    values = line[:: max(1, line.size // 512)].astype(np.float32)
    low, high = np.quantile(values, (0.005, 0.99))
    return bool(high <= limit and high - low <= DARK / 2 * level)


def detail(luma: NDArray[Any], scale: Scale) -> tuple[float, float, float]:
    """Mean second difference of luma, in levels: at full size, where a blur shows, and at a quarter, where none does;
    and the ratio of both along rows and columns together (Laplacian).

    Their ratio does not change with light or contrast. Along rows or along columns, whichever has more detail left: a
    shutter that is open while the camera pans blurs one of them. Both together, because sand that lies in rows has no
    detail along them, until the camera rolls.
    """
    middle = luma[luma.shape[0] // 16 : -(luma.shape[0] // 16) or None]
    whole = middle.astype(np.float32)
    size = (max(8, whole.shape[1] // 4), max(8, whole.shape[0] // 4))
    quarter = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)
    found = [(_bend(whole), _bend(quarter)), (_bend(whole.T), _bend(quarter.T))]
    fine, coarse = max(found, key=lambda pair: pair[0] / max(1e-3, pair[1]))
    return fine / scale.level, coarse / scale.level, _curve(whole) / max(0.05 * scale.level, _curve(quarter))


def _bend(values: Floats) -> float:
    across = np.abs(2 * values[:, 1:-1] - values[:, :-2] - values[:, 2:])
    return float(across.mean())


def _curve(values: Floats) -> float:
    return float(np.abs(cv2.Laplacian(values, cv2.CV_32F)[1:-1, 1:-1]).mean())


def blocks_of(luma: NDArray[Any]) -> float:
    """Mean step at the edges of 8x8 blocks over the mean step elsewhere; at the worst of the eight places of the grid.

    Taken along rows and along columns, the lesser of both: an upright line is no block.
    """
    found = []
    for turned in (luma, luma.T):
        steps = np.abs(np.diff(turned[:: max(1, turned.shape[0] // 180)].astype(np.float32), axis=1))
        usable = steps.shape[1] // 8 * 8
        if not usable:
            return 1.0
        by_place = np.sort(steps[:, :usable].reshape(-1, 8).mean(axis=0))
        found.append(float(by_place[-1] / max(1e-3, float(by_place[:-1].mean()))))
    return min(found)


def stairs_of(luma: NDArray[Any], scale: Scale, *, least: float) -> tuple[float, float]:
    """Stairs per 100 pixels of rows and columns, and their median height in levels.

    A stair: two treads, each flat within FLAT over TREAD pixels, that differ by `least` to RISE, with another such step
    in the same direction within CLIMB pixels of it. Grain makes a tread uneven, so what it hides is none. The dither of
    8-bit files, a step of theirs, hides nothing; it is averaged away.
    """
    heights: list[NDArray[Any]] = []
    pixels = 0
    for turned in (luma, luma.T):
        stride = max(1, turned.shape[0] // _LINES)
        if scale.top == 255:
            stride = max(DITHER[1], stride)
            lines = cv2.boxFilter(np.ascontiguousarray(turned), cv2.CV_32F, DITHER)[DITHER[1] // 2 :: stride]
            lines = np.ascontiguousarray(lines) / np.float32(scale.level)
        else:
            lines = np.ascontiguousarray(turned[::stride]).astype(np.float32) / np.float32(scale.level)
        pixels += lines.size
        if lines.shape[1] > 4 * TREAD:
            heights.append(_steps(lines, least))
    found = np.concatenate(heights) if heights else np.zeros(0)
    if not found.size:
        return 0.0, 0.0
    return 100 * found.size / pixels, float(np.median(found))


def _steps(lines: Floats, least: float) -> NDArray[Any]:
    """Heights of the stairs along lines, as they come."""
    reach = np.ones((1, TREAD), np.uint8)
    # value at x: of the TREAD pixels that begin at x
    high = cv2.dilate(lines, reach, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    low = cv2.erode(lines, reach, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    flat = (high - low) <= FLAT
    middle = (high + low) / 2
    gap = TREAD + 2  # two pixels of edge between the treads, softened by the encoder
    rise = middle[:, gap:] - middle[:, :-gap]
    step = np.where(flat[:, gap:] & flat[:, :-gap], rise, 0)
    size = np.abs(step)
    counts = (size >= least) & (size <= RISE)
    rows, columns = np.nonzero(counts)
    if rows.size < 2:
        return np.zeros(0)
    signs, sizes = np.sign(step[rows, columns]), size[rows, columns]
    # neighbours in the list that belong to one stair are one
    new = np.ones(rows.size, bool)
    new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] - columns[:-1] > 2) | (signs[1:] != signs[:-1])
    rows, columns, signs, sizes = rows[new], columns[new], signs[new], sizes[new]
    goes_on = (rows[1:] == rows[:-1]) & (columns[1:] - columns[:-1] <= CLIMB) & (signs[1:] == signs[:-1])
    of_stairs = np.zeros(rows.size, bool)
    of_stairs[1:] |= goes_on
    of_stairs[:-1] |= goes_on
    return np.asarray(sizes[of_stairs])


def comb_of(luma: NDArray[Any], scale: Scale) -> float:
    """How much of each group of four codes (of 10 bits) lies on one of them: 0.25 to 0.4 for deep values, 1 for those
    of 8 bits. The mean over the groups that hold enough pixels, so that a few flat colours do not decide; 0 if those
    are fewer than COMBED.
    """
    if scale.top < 1023:
        return 0.0
    ten = np.ascontiguousarray(luma) >> (int(scale.top).bit_length() - 10)
    reach = np.ones((3, 3), np.uint8)
    smooth = cv2.dilate(ten, reach) - cv2.erode(ten, reach) <= SMOOTH
    groups = np.bincount(ten[smooth], minlength=1024)[:1024].reshape(-1, 4)
    within = groups[1:-1][groups[1:-1].sum(axis=1) >= 64]
    if len(within) < COMBED:
        return 0.0
    return float((within.max(axis=1) / within.sum(axis=1)).mean())


def _beyond(picture: Picture) -> tuple[float, float]:
    """Shares of luma, and of R'G'B' in the small picture, beyond -5 % and 105 % (EBU R 103)."""
    if not picture.limited:
        return 0.0, 0.0
    low = picture.scale.black - 0.05 * 255 * picture.scale.level
    high = picture.scale.white + 0.05 * 255 * picture.scale.level
    seen = picture.luma[::2, ::2]
    beyond = float(((seen < low) | (seen > high)).mean())
    rgb = cv2.resize(picture.rgb(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # chroma has half the pixels
    out = (rgb < -0.05 * 255) | (rgb > 1.05 * 255)
    return beyond, float(out.any(axis=2).mean())
