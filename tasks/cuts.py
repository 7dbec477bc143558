"""Find hard cuts in a stream of frames, so that retiming never blends across one.

Knows: pictures. Does not know: files, rates, why there is a cut.
Memory: four frames of look-ahead and eight thumbnails, whatever the length of the clip. A decision about frames i and
i+1 rests on frames i-3 to i+4 alone, so any part of a clip, with that much around it, gives the same answer.

The measure. Each frame is reduced to a thumbnail of about 64x36 in colour. The unlikeness u of two frames is 1 minus
the zero-mean normalised correlation of their thumbnails (OpenCV's matchTemplate, TM_CCOEFF_NORMED) under the shift that
makes it greatest, among shifts of up to 6 columns and 4 rows: neither a camera that moves by a tenth of the picture per
frame nor a light that is switched on makes a picture unlike itself. Frames i and i+1 are a cut if
    u(i, i+1) > UNLIKE   and
    u(i, i+1) > RATIO * u of the pair before and of the pair behind: else it is a whip pan, a zoom, a shake;
        unless frame i or i+1 is a shot by itself, and the pair on its other side therefore a cut as well   and
    no frame up to FLASH before i+1 is like one behind i again, FLASH frames between them at most, where "like" is
    u < RETURN * u(i, i+1): else something flashed, and the shot goes on.
A shot of one frame: the pairs around it are above UNLIKE and stand out from their outer neighbours by RATIO, so what
moves for three pairs is none; the frames before and behind it are unlike; and it is no mixture of them. As vectors,
a mixture (a dissolve, a wipe) lies on the way from one to the other, and the two angles add up to that across; a third
picture is a DETOUR.

A frame of one colour (black, burnt out) has no correlation with anything. It is like any other of one colour or nearly
so, and unlike a picture, u = 1; but as a pair they count only where the step in contrast is abrupt: more than ABRUPT
times what the same picture goes on to gain or lose in the pair before or behind. A fade takes equal steps, or, linear
in light and coded with a gamma of 2.4, a first step of three times the second.

Why not a library. benchmarks/cuts.py: 119 clips, 71 of them without a cut, at 16 and 24 frames a second, in 360p and
720p; precision and recall, every rival at its best setting there and with our rule against flashes on top:
    ours 1.00, 0.98    PySceneDetect 0.7.2: AdaptiveDetector 0.73, 0.82; ContentDetector 0.47, 0.92
    ffmpeg scdet 0.72, 0.63
(Measured before shots of one frame and cuts from and to black were found, and counted.)
They take a light for a cut, and a close-up of the same place for none. Thresholds were set on the clips at 16; those at
24, and a film with five cuts behind passing cars, gave the same. At 720p: 0.6 ms a frame, as much as PySceneDetect.

Limits: a dissolve is no cut, unless a single frame lies between and is nearly all one side; nor is a cut to the same
place, reframed by less than about 15 %, where little stands out; nor are three cuts from frame to frame, or two at a
frame from the clip's end, which look like a whip pan; nor one from colour to colour, or from one to a picture that is
all but black. What counts as cuts: a whip pan or zoom that is over within two pairs, with nothing alike left; a flash
of more than three frames; a light switched off to full black.
"""

from __future__ import annotations

import math
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

DETOUR: Final = 1.25
"""A frame's angles to those before and behind it, by the angle across, from which it is a picture of its own: 1 for a
mixture of them, 2 where all three are without relation."""

ABRUPT: Final = 4.0
"""How far a cut from or to one colour must stand out, in contrast, from the pairs around it; 3 is a fade in light."""

REACH: Final = (4, 6)
"""Largest shift tried, in rows and columns of the thumbnail."""

THUMBNAIL: Final = (36, 64)
"""Rows and columns of a thumbnail; fewer for smaller frames."""

AHEAD: Final = FLASH + 1
"""Frames behind i that the decision about frames i and i+1 rests on."""

_SAMPLES: Final = 4  # rows and columns read per thumbnail pixel: more changes nothing and costs time at 1080p
_FLAT: Final = 1 / 255  # contrast of a thumbnail, in full white, below which it shows nothing
_SHOWN: Final = 3 / 255  # contrast from which it surely shows something: a slow fade never gets from one to the other

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


def contrast(one: Thumbnail) -> float:
    """Standard deviation within the channels, in full white: 0 for a frame of one colour, whichever."""
    return float(np.sqrt(np.square(cv2.meanStdDev(one)[1]).mean()))  # a tenth of the time of numpy's var


def unlikeness(one: Thumbnail, other: Thumbnail) -> float:
    """0 for the same picture in any light and under any shift within REACH, 1 for pictures without relation.

    0 where either is of one colour: the correlation says nothing there.
    """
    if min(contrast(one), contrast(other)) < _FLAT:
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
        seen = Thumbnails()
        out = 0  # frames that have come out
        for frame in frames:
            held.append(frame)
            seen.add(frame)
            if len(held) >= AHEAD:
                self._judge(out - 1, seen)
                out += 1
                yield held.popleft()
        while held:
            self._judge(out - 1, seen)
            out += 1
            yield held.popleft()

    def _judge(self, index: int, seen: Thumbnails) -> None:
        """Decide frames `index` and `index` + 1."""
        if index >= 0 and seen.cut(index):
            self._cuts.append(index)


class Thumbnails:
    """The thumbnails around a decision, by frame, and how unlike they are."""

    def __init__(self) -> None:
        self._read = 0
        self._thumbnails: deque[Thumbnail] = deque(maxlen=FLASH + 1 + AHEAD)
        self._contrasts: deque[float] = deque(maxlen=FLASH + 1 + AHEAD)
        self._steps: deque[float] = deque(maxlen=FLASH + 1 + AHEAD)  # step i: frames i and i+1, the newest last

    def add(self, frame: Frame) -> Thumbnail:
        """The next frame; its thumbnail."""
        one = thumbnail(frame)
        if self._thumbnails:
            self._steps.append(unlikeness(self._thumbnails[-1], one))
        self._thumbnails.append(one)
        self._contrasts.append(contrast(one))
        self._read += 1
        return one

    @property
    def newest(self) -> float:
        """Unlikeness of the last two frames; 0 while there is one."""
        return self._steps[-1] if self._steps else 0.0

    def cut(self, index: int) -> bool:
        """Whether frames `index` and `index` + 1 are a cut; frames index - FLASH to index + AHEAD must be here."""
        step = self._step(index)
        if step <= UNLIKE:
            return False
        if step <= RATIO * self._step(index - 1) and not self._alone(index):
            return False
        if step <= RATIO * self._step(index + 1) and not self._alone(index + 1):
            return False
        first = max(0, index - FLASH)
        return not any(
            self._between(before, after) < RETURN * step
            for before in range(first, index + 1)
            for after in range(max(index + 1, before + 2), min(self._read, before + FLASH + 2))
        )

    def _alone(self, index: int) -> bool:
        """Whether a frame is a shot by itself, between two others of which two frames each are here."""
        if index < 2 or index + 2 >= self._read:
            return False
        into, out = self._step(index - 1), self._step(index)
        least = min(into, out)
        if least <= UNLIKE or least <= RATIO * max(self._step(index - 2), self._step(index + 1)):
            return False
        across = self._between(index - 1, index + 1)
        return across > UNLIKE and _angle(into) + _angle(out) > DETOUR * _angle(across)

    def _step(self, index: int) -> float:
        """Unlikeness of frames `index` and `index` + 1; 0 beyond the clip's ends."""
        return 1.0 if self._bare(index, index + 1) and self._abrupt(index) else self._correlated(index)

    def _correlated(self, index: int) -> float:
        """`_step`, of pictures alone."""
        return self._steps[index - self._read + 1] if 0 <= index < self._read - 1 else 0.0

    def _between(self, index: int, other: int) -> float:
        if self._bare(index, other):
            return 1.0
        return unlikeness(self._thumbnails[index - self._read], self._thumbnails[other - self._read])

    def _bare(self, index: int, other: int) -> bool:
        """Whether one frame is of one colour and the other a picture; no frame beyond the clip's ends is either."""
        if min(index, other) < 0 or max(index, other) >= self._read:
            return False
        less, more = sorted(self._contrasts[at - self._read] for at in (index, other))
        return less < _FLAT and more >= _SHOWN

    def _abrupt(self, index: int) -> bool:
        """Whether contrast comes or goes with frame `index` + 1 at once, rather than by a fade."""
        gain = self._gain(index)
        # the pair on either side is a part of the fade only if it shows the same picture, and goes the same way
        fading = (
            self._gain(at) * math.copysign(1, gain) for at in (index - 1, index + 1) if self._correlated(at) <= UNLIKE
        )
        return abs(gain) > ABRUPT * max(fading, default=0.0)

    def _gain(self, index: int) -> float:
        """Contrast of frame `index` + 1 over that of `index`; 0 beyond the clip's ends."""
        if not 0 <= index < self._read - 1:
            return 0.0
        return self._contrasts[index + 1 - self._read] - self._contrasts[index - self._read]


def _angle(step: float) -> float:
    """Between two pictures as vectors, by their unlikeness."""
    return math.acos(min(1.0, max(-1.0, 1 - step)))


def detect_cuts(frames: Iterator[Frame]) -> tuple[int, ...]:
    """Read all frames and return each index i for which frames i and i+1 are a cut, ascending."""
    watch = CutWatch(frames)
    for _ in watch:
        pass
    return watch.cuts
