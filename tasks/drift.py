"""How colours change over a shot, followed along the motion: the same things are compared wherever they have gone.

Knows: small pictures, a plate. Does not know: files, limits, findings. Memory: three small pictures and a few numbers
for each key frame.

A push-in on a red house makes the mean colour of the picture redder, and nothing has drifted. So each key frame is
compared with an anchor, at first the plate or the first frame, only where optical flow finds the same things in both;
where too little is left of the anchor, the key frame before takes its place and what it had drifted is added.
Behind a cut everything begins anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from models.motion import MEDIUM, optical_flow
from tasks.planes import Floats

ENOUGH: Final = 0.4
"""Share of the picture that must be found again in an anchor; with less, the next one takes its place."""

LEAST: Final = 0.15
"""Share below which nothing is followed: a cut, or a picture without anything to hold on to."""

GREY: Final = 2.0
"""Levels of 255, root mean square of colour, below which there is no saturation to speak of."""

DIM: Final = 6.0
"""Levels of 255 of mean luma below which colours are not measured."""

_SOFT: Final = 2.0  # pixels of blur before colours are compared: detail comes and goes with the zoom


@dataclass(frozen=True, slots=True)
class Change:
    """From one picture to another, on what both show."""

    share: float
    """Share of the picture that both show."""
    saturation: float
    """Natural logarithm of the saturation gained, luma's gain taken out."""
    spread: float
    """Standard error of that, from the parts of the picture."""
    luma: float
    """Natural logarithm of the luma gained."""
    blue: float
    """Levels of 255 that Cb gained."""
    red: float
    """Levels of 255 that Cr gained."""


@dataclass(frozen=True, slots=True)
class Key:
    """One frame of the chain: what it has drifted since the first."""

    index: int
    """Which frame, from 0."""
    change: Change
    part: int = 0
    """Which of the parts that nothing connects, from 0: what it has drifted since that one's first."""


class DriftWatch:
    """Sees key frames in order."""

    def __init__(self, *, plate: tuple[Floats, Floats] | None = None) -> None:
        """`plate`: luma and colour of the plate as small pictures, cut to the shape of the frames."""
        self.keys: list[Key] = []
        """What each key frame that could be followed has drifted."""
        self.first: Change | None = None
        """From the plate to the first frame that is not dark; None without a plate."""
        self._plate = plate
        self._anchor = plate
        self._base = _NONE
        self._last: tuple[Floats, Floats] | None = None
        self._now = _NONE
        self._part = 0

    def see(self, index: int, luma: Floats, colour: Floats, *, anew: bool = False) -> None:
        """A key frame: luma and (Cb, Cr) as small pictures in 1/255; `anew`: there is a cut since the one before."""
        picture = (luma, colour)
        if float(luma.mean()) < DIM:
            return
        if self._plate is not None and self._last is None:
            self.first = compared(self._plate, picture)
            if self.first.share < LEAST:  # the shot does not begin with it: that is another finding
                self._anchor = None
        if self._anchor is None or (anew and self._last is not None):
            self._start(index, picture)
            return
        found = compared(self._anchor, picture)
        if found.share < ENOUGH and self._last is not None and self._last is not self._anchor:
            self._anchor, self._base = self._last, self._now
            found = compared(self._anchor, picture)
        if found.share < LEAST:
            self._start(index, picture)
            return
        self._now = _sum(self._base, found)
        self._last = picture
        self.keys.append(Key(index, self._now, self._part))

    def _start(self, index: int, picture: tuple[Floats, Floats]) -> None:
        """Nothing before has to do with this picture: it is what the rest is held against."""
        self._anchor = self._last = picture
        self._base = self._now = _NONE
        self._part += 1 if self.keys else 0
        self.keys.append(Key(index, _NONE, self._part))


_NONE: Final = Change(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _sum(one: Change, other: Change) -> Change:
    return Change(
        other.share,
        one.saturation + other.saturation,
        math.hypot(one.spread, other.spread),
        one.luma + other.luma,
        one.blue + other.blue,
        one.red + other.red,
    )


def compared(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Change:
    """How `other` differs in colour from `one` where both show the same, by optical flow there and back."""
    here, there = _luma8(one[0]), _luma8(other[0])
    to, back = optical_flow(here, there, preset=MEDIUM), optical_flow(there, here, preset=MEDIUM)
    height, width = here.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = columns + to[..., 0], rows + to[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    returned = np.asarray(cv2.remap(back, x, y, cv2.INTER_LINEAR))
    same = inside & (np.hypot(to[..., 0] + returned[..., 0], to[..., 1] + returned[..., 1]) < 1.0)

    # what has come closer is softened as much more: else detail that can now be seen would count as colour
    closer = _closer(to, same)
    soft, softer = _SOFT * max(1.0, 1 / closer), _SOFT * max(1.0, closer)

    def moved(picture: Floats) -> Floats:
        return np.asarray(cv2.remap(_softened(picture, softer), x, y, cv2.INTER_LINEAR), np.float32)

    luma_one, luma_other = _softened(one[0], soft), moved(other[0])
    gain = float(np.median((luma_other[same] + 8) / np.maximum(1, luma_one[same] + 8))) if same.any() else 1.0
    # what flow has matched by mistake differs in luma more than light explains
    same &= np.abs(luma_other - np.float32(gain) * luma_one) < 12 + 0.15 * luma_one
    share = float(same.mean())
    if share < LEAST:
        return Change(share, 0.0, 0.0, 0.0, 0.0, 0.0)
    colour_one, colour_other = _softened(one[1], soft), moved(other[1])
    luma = math.log((float(luma_other[same].mean()) + 1) / (float(luma_one[same].mean()) + 1))
    shift = (colour_other[same] / np.float32(math.exp(luma)) - colour_one[same]).mean(axis=0)
    saturation, spread = _saturation(colour_one, colour_other, same, luma)
    return Change(share, saturation, spread, luma, float(shift[0]), float(shift[1]))


def _saturation(one: Floats, other: Floats, same: np.ndarray, luma: float) -> tuple[float, float]:
    """Logarithm of the gain of saturation, and its standard error; nothing where there is next to no colour."""
    energy_one, energy_other = (one * one).sum(axis=2), (other * other).sum(axis=2)
    if float(energy_one[same].mean()) < GREY**2 or float(energy_other[same].mean()) < GREY**2:
        return 0.0, 0.0
    whole = 0.5 * math.log(float(energy_other[same].mean()) / float(energy_one[same].mean())) - luma
    parts, weights = [], []
    for rows in np.array_split(np.arange(one.shape[0]), 3):
        for columns in np.array_split(np.arange(one.shape[1]), 4):
            at = np.ix_(rows, columns)
            mask = same[at]
            before, after = float(energy_one[at][mask].sum()), float(energy_other[at][mask].sum())
            if mask.sum() > 20 and before > GREY**2 * mask.sum() and after > 0:
                parts.append(0.5 * math.log(after / before) - luma)
                weights.append(before)
    if len(parts) < 2:
        return whole, 0.0
    share = np.array(weights) / sum(weights)
    return whole, float(math.sqrt(float((share**2 * (np.array(parts) - whole) ** 2).sum())))


def _closer(flow: Floats, same: np.ndarray) -> float:
    """How many times larger things have become, from the flow's divergence; 1 where nothing is known of it."""
    if float(same.mean()) < LEAST:
        return 1.0
    spread = np.gradient(flow[..., 0], axis=1) + np.gradient(flow[..., 1], axis=0)
    return float(np.clip(1 + np.median(spread[same]) / 2, 0.4, 2.5))


def _softened(picture: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _luma8(luma: Floats) -> np.ndarray:
    return np.clip(luma, 0, 255).astype(np.uint8)
