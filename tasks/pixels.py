"""Single pixels that stay while the picture moves: dead or hot ones, of a sensor, a decoder, a painter's brush.

Knows: pictures. Does not know: files, limits, findings. Memory: of single pixels that stand out, at most a few thousand
for each of three frames; a small picture of each frame that is seen.

A light far away is a single bright pixel too, and in a slow push what lies in the middle hardly moves. So a pixel is
told from a light by what goes on around it: the picture as a whole, by its optical flow, must have moved there further
than a point of light could without another value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.motion import MEDIUM, optical_flow
from tasks.planes import Floats, Picture, Scale


@dataclass(frozen=True, slots=True)
class Stuck:
    """A pixel that stays while what surrounds it moves."""

    x: int
    y: int
    value: float
    """Levels of 255."""
    contrast: float
    """Least difference from what surrounds it, in levels."""


class PixelWatch:
    """Sees a few frames, and tells which single pixels stay the same while the picture around them moves."""

    KEPT: Final = 3000
    """Most pixels of one frame that are followed, those that stand out most."""
    SEARCHED: Final = 3
    """Frames that are searched for them: a white pixel does not show on white."""
    ALIKE: Final = 10.0
    """Levels of 255 within which a pixel stays the same: encoders smear it."""
    SMEARED: Final = 0.15
    """The same, as a share of its contrast."""
    MOVED: Final = 10.0
    """Levels of 255 by which its surroundings must have changed: a bright window in a slow push takes its own along."""
    ALONE: Final = 12
    """Pixels around a stuck one without another: letters are never alone."""

    FAR: Final = (4.0, 0.75)
    """Pixels, and pixels of the small picture, by which what surrounds it must have moved."""

    def __init__(self, *, contrast: float) -> None:
        self._contrast = contrast
        self._small: list[NDArray[np.uint8]] = []
        self._size = (1, 1)
        self._places: NDArray[np.int64] = np.zeros((0, 2), np.int64)
        self._values: list[tuple[NDArray[np.int64], Floats, Floats, Floats]] = []

    def see(self, picture: Picture) -> None:
        """A frame."""
        luma, scale = picture.luma, picture.scale
        self._size = (luma.shape[1], luma.shape[0])
        self._small.append(np.clip(picture.small, 0, 255).astype(np.uint8))
        if len(self._values) < self.SEARCHED:
            self._search(luma, scale)
        places = self._places
        self._values.append((places, *_around(luma, places, scale)))

    def _search(self, luma: NDArray[Any], scale: Scale) -> None:
        whole = np.ascontiguousarray(luma)
        # beyond all that are two away: what lies between may be smeared by the encoder
        over, under = cv2.subtract(whole, cv2.dilate(whole, _RING)), cv2.subtract(cv2.erode(whole, _RING), whole)
        stands_out = cv2.max(over, under)
        rows, columns = np.nonzero(stands_out >= self._contrast / 2 * scale.level)
        if rows.size > self.KEPT:
            strongest = np.argpartition(stands_out[rows, columns], -self.KEPT)[-self.KEPT :]
            rows, columns = rows[strongest], columns[strongest]
        found = np.stack([rows, columns], axis=1).astype(np.int64)
        self._places = np.unique(np.concatenate([self._places, found]), axis=0)

    def stuck(self) -> tuple[Stuck, ...]:
        """After the last frame; the strongest first."""
        if len(self._values) < 3 or not self._places.size:
            return ()
        width = int(self._places[:, 1].max()) + 1
        keys = self._places[:, 0] * width + self._places[:, 1]
        own = np.full((len(self._values), keys.size), np.nan, np.float32)
        around, single = own.copy(), own.copy()
        for number, (places, values, beside, beyond) in enumerate(self._values):
            at = np.searchsorted(keys, places[:, 0] * width + places[:, 1])
            own[number, at], around[number, at], single[number, at] = values, beside, beyond
        with np.errstate(all="ignore"):
            contrast = np.abs(own - around)
            reach = np.nanmax(own, axis=0) - np.nanmin(own, axis=0)
            usual = np.nanmean(contrast, axis=0)
            # what an encoder smears goes with the height of the edge
            alike = np.maximum(self.ALIKE, self.SMEARED * usual)
            same = reach <= alike
            # so do a letter's pixels, more than single ones
            lettered = (reach <= 2 * alike) & (usual >= self._contrast / 2)
            moved = np.nanmax(around, axis=0) - np.nanmin(around, axis=0) >= self.MOVED
            # on a ground of its own colour it cannot show: a quarter of the frames may miss it
            shows = np.nanmean(contrast >= self._contrast, axis=0) >= 0.75
            shows &= np.nanmean(single >= self._contrast / 2, axis=0) >= 0.6
            least = np.nanquantile(contrast, 0.25, axis=0)
        chosen = np.nonzero(same & moved & shows)[0]
        stays = self._places[np.nonzero(same | lettered)[0]]
        found = []
        for place in chosen:
            row, column = self._places[place].tolist()
            near = np.abs(stays - self._places[place]).max(axis=1)
            if ((near > 1) & (near <= self.ALONE)).any():
                continue
            found.append(Stuck(column, row, float(np.nanmean(own[:, place])), float(least[place])))
        found = self._passed(found)
        # one that the encoder has smeared over two is one
        found.sort(key=lambda one: -one.contrast)
        kept: list[Stuck] = []
        for one in found:
            if all(max(abs(one.x - other.x), abs(one.y - other.y)) > 2 for other in kept):
                kept.append(one)
        return tuple(kept)

    def _passed(self, found: list[Stuck]) -> list[Stuck]:
        """Those that the picture has moved past."""
        if not found:
            return found
        finer = self._size[0] / self._small[0].shape[1]
        far = max(self.FAR[0], self.FAR[1] * finer)
        ways = [_way(self._small[0], other) for other in self._small[1:]]
        return [one for one in found if max(_moved(way, one.x / finer, one.y / finer) for way in ways) * finer >= far]


_RING: Final = np.pad(np.zeros((3, 3), np.uint8), 1, constant_values=1)
_NEAR: Final = [(down, across) for down in range(-2, 3) for across in range(-2, 3) if (down, across) != (0, 0)]


def _around(luma: NDArray[Any], places: NDArray[np.int64], scale: Scale) -> tuple[Floats, Floats, Floats]:
    """Levels of pixels, the median of the 5x5 around each, and by how much each is beyond all that are two away."""
    height, width = luma.shape
    rows, columns = places[:, 0], places[:, 1]
    beside = [
        luma[np.clip(rows + down, 0, height - 1), np.clip(columns + across, 0, width - 1)] for down, across in _NEAR
    ]
    near = np.stack(beside).astype(np.float32)
    middle = np.median(near, axis=0)
    own = luma[rows, columns].astype(np.float32)
    far = np.array([max(abs(down), abs(across)) == 2 for down, across in _NEAR])
    # of a point everything around is on the same side; a thin line goes on
    single = np.where(own > middle, own - near[far].max(axis=0), near[far].min(axis=0) - own)
    level = np.float32(scale.level)
    return (own - np.float32(scale.black)) / level, (middle - np.float32(scale.black)) / level, single / level


def _way(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Floats:
    """The (2, 3) turn, zoom and shift that most of a picture follows to another; none where nothing is in common."""
    flow = optical_flow(one, other, preset=MEDIUM)
    rows, columns = np.mgrid[4 : one.shape[0] : 8, 4 : one.shape[1] : 8]
    places = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
    turn, _ = cv2.estimateAffinePartial2D(places, places + flow[rows.ravel(), columns.ravel()], method=cv2.RANSAC)
    return np.eye(2, 3, dtype=np.float32) if turn is None else np.asarray(turn, np.float32)


def _moved(turn: Floats, x: float, y: float) -> float:
    """Pixels of the small picture by which it moves at a place, as a whole: somebody who walks by moves no camera."""
    place = np.array([x, y], np.float32)
    return float(np.hypot(*(turn[:, :2] @ place + turn[:, 2] - place)))
