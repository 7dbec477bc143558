"""Find hard cuts in a stream of frames, so that retiming never blends across one.

Knows: pictures. Does not know: files, rates, why there is a cut.
Memory: four frames of look-ahead and eight thumbnails, whatever the length of the clip. A decision about frames i and
i+1 rests on frames i-3 to i+4 alone, so any part of a clip, with that much around it, gives the same answer.

The measure. Each frame is reduced to a thumbnail of about 64x36 in colour. The unlikeness u of two frames is 1 minus
the zero-mean normalised correlation of their thumbnails (OpenCV's matchTemplate, TM_CCOEFF_NORMED) under the shift that
makes it greatest, among shifts of up to 6 columns and 4 rows: neither a camera that moves by a tenth of the picture per
frame nor a light that is switched on makes a picture unlike itself. Frames i and i+1 are a cut if
    u(i, i+1) > UNLIKE   and
    u(i, i+1) > RATIO * u of the pair before and of the pair behind: else it is a whip pan, a zoom, a shake   and
    no frame up to FLASH before i+1 is like one behind i again, FLASH frames between them at most, where "like" is
    u < RETURN * u(i, i+1): else something flashed, and the shot goes on.
A frame of one colour (black, burnt out) is like any other: nothing can be held against it.

Why not a library. benchmarks/cuts.py: 119 clips, 71 of them without a cut, at 16 and 24 frames a second, in 360p and
720p; precision and recall, every rival at its best setting there and with our rule against flashes on top:
    ours 1.00, 0.98    PySceneDetect 0.7.2: AdaptiveDetector 0.73, 0.82; ContentDetector 0.47, 0.92
    ffmpeg scdet 0.72, 0.63
They take a light for a cut, and a close-up of the same place for none. Thresholds were set on the clips at 16; those at
24, and a film with five cuts behind passing cars, gave the same. At 720p: 0.6 ms a frame, as much as PySceneDetect.

Limits: a dissolve is no cut; nor is the second of two cuts from frame to frame; nor one to the same place, reframed by
less than about 15 %, where little stands out; a flash of more than three frames counts as cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import Frame

UNLIKE: Final = 0.16
"""Least unlikeness of a cut; 0.13 to 0.2 give the same cuts on the corpus."""

RATIO: Final = 2.0
"""How far a cut must stand out from the pairs around it."""

FLASH: Final = 3
"""Frames of the longest flash."""

RETURN: Final = 0.5
"""Share of a pair's unlikeness below which the picture behind a flash is that before it; 0.4 to 0.6 do the same."""

REACH: Final = (4, 6)
"""Largest shift tried, in rows and columns of the thumbnail."""

THUMBNAIL: Final = (36, 64)
"""Rows and columns of a thumbnail; fewer for smaller frames."""

AHEAD: Final = FLASH + 1
"""Frames behind i that the decision about frames i and i+1 rests on."""

_SAMPLES: Final = 4  # rows and columns read per thumbnail pixel: more changes nothing and costs time at 1080p
_FLAT: Final = 1 / 255  # standard deviation of a thumbnail, in full white, below which it shows nothing

Thumbnail = NDArray[np.float32]


def thumbnail(frame: Frame) -> Thumbnail:
    """(rows, columns, 3) float32 in 0..1: block averages of a (height, width, 3) uint16 frame."""
    height, width = frame.shape[:2]
    block = max(1, height // THUMBNAIL[0], width // THUMBNAIL[1])
    stride = max(1, block // _SAMPLES)
    side = max(1, block // stride)  # samples per block and axis
    seen = frame[::stride, ::stride]
    rows, columns = max(1, seen.shape[0] // side), max(1, seen.shape[1] // side)
    inside = np.ascontiguousarray(seen[: rows * side, : columns * side])
    means: Thumbnail = cv2.resize(inside, (columns, rows), interpolation=cv2.INTER_AREA) / np.float32(65535)
    return means


def unlikeness(one: Thumbnail, other: Thumbnail) -> float:
    """0 for the same picture in any light and under any shift within REACH, 1 for pictures without relation."""
    if min(one.std(), other.std()) < _FLAT:
        return 0.0
    rows, columns = one.shape[:2]
    # at least three quarters of the picture are compared, or small pictures would match anything
    down, across = min(REACH[0], rows // 8), min(REACH[1], columns // 8)
    inside = slice(down, rows - down), slice(across, columns - across)
    most = 0.0
    for picture, middle in ((one, other[inside]), (other, one[inside])):
        likeness = cv2.matchTemplate(picture, np.ascontiguousarray(middle), cv2.TM_CCOEFF_NORMED)
        most = max(most, float(likeness.max()))
    return 1 - min(most, 1.0)


class CutWatch:
    """Passes frames through, some behind what it reads, and knows which neighbours are a cut. An iterator.

    Once frame i+1 has come out, `is_cut(i)` is decided: the watch has then read frame i+AHEAD, or seen the end.
    """

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._stream = self._watch(frames)
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
        held: deque[Frame] = deque()
        seen = _Seen()
        out = 0  # frames that have come out
        for frame in frames:
            held.append(frame)
            seen.add(thumbnail(frame))
            if len(held) >= AHEAD:
                self._judge(out - 1, seen)
                out += 1
                yield held.popleft()
        while held:
            self._judge(out - 1, seen)
            out += 1
            yield held.popleft()

    def _judge(self, index: int, seen: _Seen) -> None:
        """Decide frames `index` and `index` + 1."""
        if index >= 0 and seen.cut(index):
            self._cuts.append(index)


class _Seen:
    """The thumbnails around a decision, by frame, and how unlike they are."""

    def __init__(self) -> None:
        self._read = 0
        self._thumbnails: deque[Thumbnail] = deque(maxlen=FLASH + 1 + AHEAD)
        self._steps: deque[float] = deque(maxlen=FLASH + 1 + AHEAD)  # step i: frames i and i+1, the newest last

    def add(self, one: Thumbnail) -> None:
        """The next frame's."""
        if self._thumbnails:
            self._steps.append(unlikeness(self._thumbnails[-1], one))
        self._thumbnails.append(one)
        self._read += 1

    def cut(self, index: int) -> bool:
        """Whether frames `index` and `index` + 1 are a cut; frames index - FLASH to index + AHEAD must be here."""
        step = self._step(index)
        if step <= UNLIKE or step <= RATIO * max(self._step(index - 1), self._step(index + 1)):
            return False
        first = max(0, index - FLASH)
        return not any(
            self._between(before, after) < RETURN * step
            for before in range(first, index + 1)
            for after in range(max(index + 1, before + 2), min(self._read, before + FLASH + 2))
        )

    def _step(self, index: int) -> float:
        """Unlikeness of frames `index` and `index` + 1; 0 beyond the clip's ends."""
        return self._steps[index - self._read + 1] if 0 <= index < self._read - 1 else 0.0

    def _between(self, index: int, other: int) -> float:
        return unlikeness(self._thumbnails[index - self._read], self._thumbnails[other - self._read])


def detect_cuts(frames: Iterator[Frame]) -> tuple[int, ...]:
    """Read all frames and return each index i for which frames i and i+1 are a cut, ascending."""
    watch = CutWatch(frames)
    for _ in watch:
        pass
    return watch.cuts
