"""Colour across a join: by what the later window is multiplied and shifted so that it shows what the earlier one shows.

Knows: frames that two windows share, light. Does not know: files, engines, why windows differ. Memory: one number per
cell of 8x8 pixels and channel for each shared frame; three tables of 65536 values for each Toner.

A model's decoder drifts a little with every window: a gain and an offset per channel, in linear light. Both windows
show the same frames in the overlap, so both are fitted there and nowhere else. Means over cells forgive grain and a
pixel of displacement; what moved differently is an outlier and is weighted down (Tukey's biweight; Beaton and Tukey
1974). A fit that does not bring cells together that it has not seen is not used, and none moves a window by more than
two per cent of gain and one per cent of offset against the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import Frame

MOST_GAIN: Final = 0.02
"""Of 1, by which a window's gain may differ from that of the window before it."""

MOST_OFFSET: Final = 0.01
"""Of white, likewise."""

CELL: Final = 8
"""Pixels of a cell's side."""

STRIDE: Final = 4
"""Every so many pixels along and down are looked at where only a mean is wanted."""

BETTER: Final = 0.9
"""Share of the distance between unseen cells that must be left at most, or the fit is not used."""

PRIOR: Final = 0.02
"""What a gain is expected to differ from 1 by where the picture does not tell gain from offset."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tone:
    """What is done to a window, in linear light with white 1: value * gain + offset, for red, green and blue."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def after(self, inner: Tone) -> Tone:
        """Both, `inner` first."""
        pairs = list(zip(self.gain, self.offset, inner.gain, inner.offset, strict=True))
        return Tone(_three(g * i for g, _, i, _ in pairs), _three(g * j + o for g, o, _, j in pairs))


AS_IT_IS: Final = Tone()


class Toner:
    """Applies one tone to many frames."""

    def __init__(self, tone: Tone) -> None:
        self._tables = None
        if tone != AS_IT_IS:
            light = _light()
            self._tables = [
                _encoded(light * gain + offset) for gain, offset in zip(tone.gain, tone.offset, strict=True)
            ]

    def frame(self, frame: Frame) -> Frame:
        """A frame, (height, width, 3) uint16, as it is to be shown; the very same object where nothing is to do."""
        if self._tables is None:
            return frame
        planes = [
            table[plane.astype(np.uint16, copy=False)]
            for table, plane in zip(self._tables, cv2.split(frame), strict=True)
        ]
        return np.asarray(cv2.merge(planes), dtype=np.uint16)


class ToneFit:
    """Learns from pairs of frames what brings the later window to the earlier one."""

    def __init__(self) -> None:
        self._earlier: list[Floats] = []
        self._later: list[Floats] = []

    def see(self, earlier: Frame, later: Frame) -> None:
        """One shared frame, as each window shows it. Where it is the same, bit for bit, it was handed on and tells
        nothing of what the later window makes by itself."""
        if not np.array_equal(earlier, later):
            self._earlier.append(_cells(earlier))
            self._later.append(_cells(later))

    def tone(self) -> Tone:
        """The tone for the later window; AS_IT_IS where none is better than none."""
        if not self._later:
            return AS_IT_IS
        x, y = np.concatenate(self._later), np.concatenate(self._earlier)
        seen = np.arange(len(x)) % 2 == 0
        lines = [_line(x[seen, channel], y[seen, channel]) for channel in range(3)]
        tone = Tone(_three(gain for gain, _ in lines), _three(offset for _, offset in lines))
        before = _distance(x[~seen], y[~seen])
        after = _distance(x[~seen] * tone.gain + tone.offset, y[~seen])
        return tone if after < BETTER * before else AS_IT_IS


class Light:
    """How light the windows of a shot are on the mean, against the shot's first frame."""

    def __init__(self, windows: int) -> None:
        self._first: Floats | None = None
        self._sums = [np.zeros(3) for _ in range(windows)]
        self._counts = [0] * windows

    def see(self, window: int, frame: Frame) -> None:
        """A frame of a window, from 0; the first that is seen is what all are held against."""
        mean = _light()[frame[::STRIDE, ::STRIDE]].reshape(-1, 3).mean(axis=0)
        if self._first is None:
            self._first = mean
        self._sums[window] += mean
        self._counts[window] += 1

    def drift(self) -> list[list[float] | None]:
        """For each window and channel: 0 as light as the first frame, 0.01 one per cent lighter; None for a window of
        which nothing was seen."""
        first = np.maximum(np.zeros(3) if self._first is None else self._first, 1e-4)
        return [
            [round(float(value), 5) for value in total / count / first - 1] if count else None
            for total, count in zip(self._sums, self._counts, strict=True)
        ]


def _three(values: Iterable[Any]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _cells(frame: Frame) -> Floats:
    """Means of light over cells, (cells, 3). Every other cell of a row, shifted from row to row, stands at an even
    index, so that even and odd ones cover the picture alike."""
    height, width = frame.shape[:2]
    down, across = max(1, height // CELL), max(1, width // CELL) | 1
    light = _light().astype(np.float32)[frame]
    return np.asarray(cv2.resize(light, (across, down), interpolation=cv2.INTER_AREA), dtype=np.float64).reshape(-1, 3)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Gain and offset, bounded, with which x is nearest to y: weighted least squares about the mean, eight times."""
    weights = np.ones_like(x)
    gain, offset = 1.0, float(np.median(y - x))
    for _ in range(8):
        off = np.abs(y - (gain * x + offset))
        scale = 4.685 * 1.4826 * float(np.median(off)) + 1e-7
        weights = np.square(1 - np.square(np.minimum(1.0, off / scale)))
        whole = float(weights.sum())
        if whole < 1:
            return 1.0, 0.0
        at, to = float((weights * x).sum()) / whole, float((weights * y).sum()) / whole
        noise = float((weights * np.square(off)).sum()) / whole
        # a flat picture does not tell gain from offset: then the gain stays near 1
        held = noise / PRIOR**2 / whole
        spread = float((weights * np.square(x - at)).sum()) / whole
        both = float((weights * (x - at) * (y - x)).sum()) / whole
        both -= float((weights * (x - at)).sum()) / whole * (to - at)
        gain = 1.0 + float(np.clip(both / (spread + held + 1e-12), -MOST_GAIN, MOST_GAIN))
        offset = float(np.clip(to - gain * at, -MOST_OFFSET, MOST_OFFSET))
    return gain, offset


def _distance(x: Floats, y: Floats) -> float:
    """Mean of the nearer four fifths: what moved differently has no say."""
    off = np.sort(np.abs(_shown(x) - _shown(y)).ravel())
    return float(off[: max(1, len(off) * 4 // 5)].mean())


@cache
def _light() -> Floats:
    """Linear light of each of the 65536 values of a frame, by sRGB's curve (IEC 61966-2-1)."""
    value = np.arange(65536) / 65535
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _shown(light: Floats) -> Floats:
    """The value, 0 to 1, that shows this light."""
    light = np.clip(light, 0.0, 1.0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _encoded(light: Floats) -> NDArray[np.uint16]:
    return np.rint(_shown(light) * 65535).astype(np.uint16)
