"""Find hard cuts in a stream of frames, so that retiming never blends across one.

Knows: pictures. Does not know: files, rates, why there is a cut.
Memory: one frame of look-ahead and a few thumbnails, whatever the length of the clip.

The measure. Each frame is reduced to a thumbnail of about 64x36 in colour. The distance d of two frames is the mean
absolute difference of their thumbnails (0 to 1) under the shift that makes it least, among shifts of up to 6 columns
and 4 rows: a camera that moves by a tenth of the picture per frame does not count as change. Frames j and j+1 are a cut
if
    d(j, j+1) > FLOOR   and
    d(j, j+1) > RATIO * max(median of the last 8 pairs that were no cut, d(j+1, j+2))   and
    neither d(j-1, j+1) nor d(j, j+2) is below half of d(j, j+1): then one frame flashed, and the shot goes on.
A whip pan faster than the search, or the start of one, raises its neighbours too and is no cut. Colour histograms are
not asked: two shots of one place share them, and the search already forgives what they would forgive.

Limits: a dissolve is no cut; a shot of one frame between two cuts is taken for a flash or a shake; a flash of two
frames counts as a cut, and so does one on the very last frame, which costs a held frame there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.interface import Frame

FLOOR: Final = 0.03
"""Least distance of a cut: below it a held frame and an interpolated one can hardly be told apart."""

RATIO: Final = 4.0
"""How far a cut must stand out from the distances around it."""

REACH: Final = (4, 6)
"""Largest shift tried, in rows and columns of the thumbnail."""

THUMBNAIL: Final = (36, 64)
"""Rows and columns of a thumbnail; fewer for smaller frames."""

_SAMPLES: Final = 4  # rows and columns read per thumbnail pixel: more changes nothing and costs time at 1080p
_MEMORY: Final = 8  # pairs whose distances are remembered

Thumbnail = NDArray[np.float32]


def thumbnail(frame: Frame) -> Thumbnail:
    """(rows, columns, 3) float32 in 0..1: block averages of a (height, width, 3) uint16 frame."""
    height, width = frame.shape[:2]
    block = max(1, height // THUMBNAIL[0], width // THUMBNAIL[1])
    stride = max(1, block // _SAMPLES)
    side = max(1, block // stride)  # samples per block and axis
    seen = frame[::stride, ::stride]
    rows, columns = seen.shape[0] // side, seen.shape[1] // side
    blocks = seen[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    means: Thumbnail = blocks.mean(axis=(1, 3), dtype=np.float32) / np.float32(65535)
    return means


def distance(one: Thumbnail, other: Thumbnail) -> float:
    """Least mean absolute difference of two thumbnails over all shifts within REACH; 0 if equal, at most 1."""
    rows, columns = one.shape[:2]
    # at least three quarters of the picture are compared, or small pictures would match anything
    down, across = min(REACH[0], rows // 8), min(REACH[1], columns // 8)
    least = float(np.abs(one - other).mean())
    for y in range(-down, down + 1):
        for x in range(-across, across + 1):
            a = one[max(0, y) : rows + min(0, y), max(0, x) : columns + min(0, x)]
            b = other[max(0, -y) : rows + min(0, -y), max(0, -x) : columns + min(0, -x)]
            least = min(least, float(np.abs(a - b).mean()))
    return least


class CutWatch:
    """Passes frames through, one behind what it reads, and knows which neighbours are a cut. An iterator.

    Once frame i+1 has come out, `is_cut(i)` is decided: the watch has then read frame i+2, or seen the end.
    """

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._stream = self._watch(frames)
        self._calm: deque[float] = deque(maxlen=_MEMORY)
        self._cuts: list[int] = []

    @property
    def cuts(self) -> tuple[int, ...]:
        """Indices i found so far for which frames i and i+1 are a cut, ascending."""
        return tuple(self._cuts)

    def is_cut(self, index: int) -> bool:
        """Whether frames `index` and `index` + 1 are a cut; asked after the latter has come out."""
        return index in self._cuts

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        return next(self._stream)

    def _watch(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        held: Frame | None = None
        recent: deque[Thumbnail] = deque(maxlen=4)  # of frames index - 3 to index
        value = 0.0  # distance of frames index - 2 and index - 1
        index = 0
        for index, frame in enumerate(frames):
            recent.append(thumbnail(frame))
            following = distance(recent[-2], recent[-1]) if index > 0 else 0.0
            if index > 1:
                before = recent[0] if index > 2 else None
                self._judge(index - 2, value, (before, recent[-3], recent[-2], recent[-1]), following)
            if held is not None:
                yield held
            held, value = frame, following
        if index > 0:
            before = recent[-3] if index > 1 else None
            self._judge(index - 1, value, (before, recent[-2], recent[-1], None), 0.0)
        if held is not None:
            yield held

    def _judge(
        self,
        index: int,
        value: float,
        around: tuple[Thumbnail | None, Thumbnail, Thumbnail, Thumbnail | None],
        following: float,
    ) -> None:
        """Decide pair `index` of distance `value`, among frames index-1 to index+2; `following`: the next distance."""
        before, one, other, after = around
        usual = max(median(self._calm) if self._calm else 0.0, following)
        if (
            value > FLOOR
            and value > RATIO * usual
            and (before is None or distance(before, other) >= value / 2)
            and (after is None or distance(one, after) >= value / 2)
        ):
            self._cuts.append(index)
        else:
            self._calm.append(value)


def detect_cuts(frames: Iterator[Frame]) -> tuple[int, ...]:
    """Read all frames and return each index i for which frames i and i+1 are a cut, ascending."""
    watch = CutWatch(frames)
    for _ in watch:
        pass
    return watch.cuts
