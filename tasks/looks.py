"""What one frame after the other looks like, in a few numbers each: all that judges of time need.

Knows: pictures in order. Does not know: files, limits, findings. Memory: ten numbers a frame, a second of small masks,
two pictures of 320 pixels and nine thumbnails, whatever the size of the frames.

Light is told from motion by its sign: a lamp that is dimmed takes the same share of light from every part of the
picture, while something that moves adds here what it takes there. So the light of a frame is the median, over the
parts of the picture and weighted by how bright they are, of what each part gained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from tasks.cuts import AHEAD, FLASH, RETURN, UNLIKE, Thumbnail, Thumbnails, unlikeness
from tasks.flashes import FlashCount
from tasks.planes import Floats, Picture

PARTS: Final = (16, 9)
"""Columns and rows of the parts whose light is followed."""

_FLOOR: Final = np.float32(8)  # levels added before shares are taken: black has no light to lose
_SOFT: Final = 1.2  # pixels of blur that take noise away and leave letters
_LITTLE: Final = (32, 18)  # columns and rows in which a picture is held against the first one


@dataclass(frozen=True, slots=True)
class Look:
    """One frame. Levels are of 255 between black and white."""

    mean: float
    """Mean luma, in levels."""
    contrast: float
    """Standard deviation of luma, in levels."""
    peak: float
    """Luma below which all but a thousandth of the picture lies, in levels."""
    difference: float
    """Mean difference of luma from the frame before, in levels; 0 for the first."""
    across: float
    """The same from the frame before that."""
    light: float
    """Natural logarithm of the light gained since the frame before: 0.04 is 4 % more everywhere."""
    back: int
    """Frames between this one and one before that it is like, if those between are unlike both; 0 for none."""
    unlike: float
    """The least unlikeness (tasks.cuts) of those to both; 0 where there are none."""
    apart: float
    """Mean difference from the first frame, gain and offset taken out, in levels of a thumbnail."""
    alike: float
    """Correlation with the first frame, finer but softened: 1 where nothing but light and noise has changed."""
    flashing: float
    """Share of the picture in which the last second had more flashes than are safe."""


class Looker:
    """Sees every frame of a file, in order."""

    def __init__(self, *, second: int, flashes: float, area: float) -> None:
        """`second`: frames in a second; `flashes`: pairs of opposing changes in it that are still safe, which happen
        together in `area` of the picture."""
        self.looks: list[Look] = []
        """One for each frame so far."""
        self.cuts: list[int] = []
        """Each i for which frames i and i+1 are a cut; complete after `end`."""
        self.first: Thumbnail | None = None
        """Thumbnail of the first frame."""
        self._count = FlashCount(second=second, flashes=flashes, area=area)
        self._judge = Thumbnails()
        self._small: list[Floats] = []  # the last two
        self._thumbs: list[Thumbnail] = []  # the last FLASH + 2
        self._unlike: list[float] = []  # of each of them with the one before
        self._parts: Floats | None = None
        self._first: Floats | None = None
        self._begun: Floats | None = None

    def see(self, picture: Picture) -> Look:
        """The next frame."""
        small = picture.small
        rgb = picture.rgb()
        self._follow(rgb)
        before = self._small[-1] if self._small else small
        earlier = self._small[-2] if len(self._small) > 1 else before
        mean, deviation = cv2.meanStdDev(small)
        back, unlike = self._back()
        look = Look(
            mean=float(mean[0, 0]),
            contrast=float(deviation[0, 0]),
            peak=_peak(small),
            difference=_apart(small, before),
            across=_apart(small, earlier),
            light=self._light(small),
            back=back,
            unlike=unlike,
            apart=self._from_first(small),
            alike=self._like_first(small),
            flashing=self._count.see(rgb),
        )
        self._small = [*self._small[-1:], small]
        self.looks.append(look)
        return look

    def end(self) -> None:
        """After the last frame."""
        for index in range(max(0, len(self.looks) - AHEAD), len(self.looks) - 1):
            self._decide(index)

    def _follow(self, rgb: Floats) -> None:
        """Keep the thumbnail, and decide about the frames that it was waited for."""
        frame = np.clip(rgb * np.float32(257), 0, 65535).astype(np.uint16)
        thumb = self._judge.add(frame)
        if self.first is None:
            self.first = thumb
        self._unlike = [*self._unlike[-FLASH:], self._judge.newest]
        self._thumbs = [*self._thumbs[-FLASH - 1 :], thumb]
        if (index := len(self.looks) - AHEAD) >= 0:
            self._decide(index)

    def _decide(self, index: int) -> None:
        if self._judge.cut(index):
            self.cuts.append(index)

    def _back(self) -> tuple[int, float]:
        into = self._unlike[-1]
        if into <= UNLIKE:
            return 0, 0.0
        for between in range(1, min(FLASH, len(self._thumbs) - 2) + 1):
            out = self._unlike[-1 - between]
            if out > UNLIKE and unlikeness(self._thumbs[-2 - between], self._thumbs[-1]) < RETURN * min(into, out):
                return between, min(into, out)
        return 0, 0.0

    def _light(self, small: Floats) -> float:
        parts = np.asarray(cv2.resize(np.maximum(small, 0), PARTS, interpolation=cv2.INTER_AREA)) + _FLOOR
        before, self._parts = self._parts, parts
        if before is None:
            return 0.0
        gained = np.log(parts / before).ravel()
        order = np.argsort(gained)
        weights = np.cumsum((parts + before - 2 * _FLOOR).ravel()[order])
        if weights[-1] <= 0:
            return 0.0
        return float(gained[order[int(np.searchsorted(weights, weights[-1] / 2))]])

    def _from_first(self, small: Floats) -> float:
        size = (min(_LITTLE[0], small.shape[1]), min(_LITTLE[1], small.shape[0]))
        little = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.float32)
        if self._first is None:
            self._first = little
        one, other = self._first - self._first.mean(), little - little.mean()
        energy = float((one * one).mean())
        # a picture without contrast has no gain to take out
        gain = float((one * other).mean()) / energy if energy > 1 else 1.0
        return float(np.abs(other - np.float32(gain) * one).mean())

    def _like_first(self, small: Floats) -> float:
        soft = np.asarray(cv2.GaussianBlur(small, (0, 0), _SOFT), np.float32)
        soft -= soft.mean()
        if self._begun is None:
            self._begun = soft
        energy = float(cv2.norm(soft)) * float(cv2.norm(self._begun))
        return float(np.vdot(soft, self._begun)) / energy if energy > 0 else 1.0


def _apart(one: Floats, other: Floats) -> float:
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def _peak(small: Floats) -> float:
    """Of the darkest 99.9 %: whatever is above that, stars and noise."""
    some = small[::2, ::2] if small.size > 10_000 else small
    least = max(1, some.size // 1000)
    return float(np.partition(some.ravel(), some.size - least)[some.size - least])
