"""Words on review copies: a slate before the picture, and a band of words burnt into its lower edge.

Knows: what a slate says, where words stand, how bright they may be. Does not know: encoders, plans, deliveries.
Memory: one band of a frame at a time; the slate, once.

Nothing of it is whiter than 80 %, so that nobody measures it as picture. The fields of the slate are those that Netflix
asks for (show, version, date, shot, frames, notes); frame numbers begin with 1001, the slate itself is 1000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from catalogs.timebase import FIRST_FRAME, Start, clock, has_timecode, rate_display
from models.interface import Frame
from tasks.ffmpeg import clip_argv
from tasks.filters import Captions
from tasks.frames import FrameWriter
from tasks.lettering import legible, lettering, squeezed, wrapped

BRIGHTEST: Final = 0.8
"""Of full white: the brightest that a letter is."""

SHADE: Final = 0.5
"""How much the ground behind burnt-in words takes of the picture."""

_GROUND: Final = (22, 23, 26)
_TEXT: Final = (204, 204, 204)
_QUIET: Final = (142, 147, 156)
_ROWS: Final = 20  # bands in a picture's height
_SMALLEST: Final = 8  # pixels of a letter


@dataclass(frozen=True, slots=True)
class Caption:
    """What a review copy says about itself."""

    slate: str
    """`AGM_SQ010_SH0010_v003`."""
    show: str
    """Empty where there is none: a row without a value is left out."""
    shot: str
    version: str
    day: date
    """When it was encoded."""
    frames: int
    """Of the picture, handles included."""
    rate: Fraction
    """Frames per second."""
    handles: int = 0
    """Of `frames`, how many at each end are handles."""
    notes: str = ""
    by: str = ""
    """Who submitted it."""
    start: Start | None = None
    """Where timecode begins; None: at frame 1001."""

    def rows(self) -> list[tuple[str, str]]:
        """What stands on the slate, field by field."""
        last = FIRST_FRAME + self.frames - 1
        handles = f", handles {self.handles}" if self.handles else ""
        told = [
            ("show", self.show),
            ("shot", self.shot),
            ("version", self.version),
            ("date", self.day.isoformat()),
            ("frames", f"{FIRST_FRAME}-{last} ({self.frames}){handles}, {rate_display(self.rate)} fps"),
            ("timecode" if has_timecode(self.rate) else "length", self._time()),
            ("sent by", self.by),
            ("notes", self.notes),
        ]
        return [(field, value) for field, value in told if value]

    def _time(self) -> str:
        """From the first frame's timecode to the last one's; at rates that have none, how long it is."""
        if not has_timecode(self.rate):
            return clock(self.frames, self.rate)
        return f"{self.clock(0)} - {self.clock(self.frames - 1)}"

    def clock(self, index: int) -> str:
        """When a frame is shown: its timecode, or seconds."""
        return self.start.label(index) if self.start and has_timecode(self.rate) else clock(index, self.rate)


@dataclass(frozen=True, slots=True)
class Band:
    """How words stand in the lower edge of a picture."""

    rows: int
    """Of the picture, even."""
    size: int
    """Of a letter, pixels."""
    lines: int
    """1, or 2: the slate above, frame and time below."""


def band_of(caption: Caption, *, width: int, height: int) -> Band:
    """A twentieth of the picture with letters as large as let all of it be read, in one line or in two.

    Where neither fits in letters that can be read, the band grows, and the slate loses its middle: never its version.
    """
    rows = max(_SMALLEST + 6, height // _ROWS) + 1 & ~1
    room = width - 2 * _margin(width)
    slate, time = legible(caption.slate), _widest(caption)
    one = Band(rows, _fitting([f"{slate}  {time}"], max(_SMALLEST, rows - 8), room=room), 1)
    two = Band(rows, _fitting([slate, time], rows // 2 - 3, room=room), 2)
    best = max(one, two, key=lambda band: band.size)
    readable = max(_SMALLEST, min(width, height) // 64)
    if best.size < readable:
        best = Band(2 * (readable + 4), _fitting([time], readable, room=room), 2)
    return Band(max(2, min(best.rows, height - 2)), best.size, best.lines)


def _fitting(lines: Sequence[str], size: int, *, room: float) -> int:
    """The largest letter of at most `size` pixels at which each line is at most `room` pixels wide; 1 at least."""
    while size > 1 and (widest := max(map(lettering(size).getlength, lines))) > room:
        size = min(size - 1, int(size * room / widest))
    return max(1, size)


def _margin(width: int) -> int:
    return max(4, width // 60)


def _clock(caption: Caption, index: int) -> str:
    """What stands beside the slate: the number of the frame, counted from 0, and its time."""
    return f"{FIRST_FRAME + index}  {caption.clock(index)}"


def _widest(caption: Caption) -> str:
    """The last frame's words, and a digit more: no frame's are wider."""
    return f"{_clock(caption, caption.frames - 1)}0"


def slate_picture(caption: Caption, target: Path, *, width: int, height: int) -> None:
    """Write the slate as a PNG of that size: letters as large as let the rows stand in it, whatever its shape."""
    picture = Image.new("RGB", (width, height), _GROUND)
    margin = width // 12
    unit = max(_SMALLEST, min(height // 24, width // 28))
    while unit > _SMALLEST and _slate(None, caption, unit, width=width, margin=margin, top=0) > height * 5 // 6:
        unit -= 1
    tall = _slate(None, caption, unit, width=width, margin=margin, top=0)
    # a little above the middle, where the eye looks first
    top = max(0, (height - tall) * 2 // 5)
    _slate(ImageDraw.Draw(picture), caption, unit, width=width, margin=margin, top=top)
    picture.save(target, "PNG")


def _slate(draw: ImageDraw.ImageDraw | None, caption: Caption, unit: int, *, width: int, margin: int, top: int) -> int:
    """Draw the slate's words from a row on, in letters of `unit` pixels; the row they end at. None draws nothing."""
    room = width - 2 * margin
    title = max(unit, _fitting([legible(caption.slate)], 2 * unit, room=room))
    big, plain = lettering(title), lettering(unit)
    y = top + title
    if draw:
        draw.text((margin, y), squeezed(caption.slate, big, width=room), font=big, fill=_TEXT, anchor="ls")
    y += 2 * unit
    rows = caption.rows()
    aside = round(max(plain.getlength(field) for field, _ in rows)) + unit
    for field, value in rows:
        if draw:
            draw.text((margin, y), field, font=plain, fill=_QUIET, anchor="ls")
        for line in wrapped(value, plain, width=room - aside, most=3):
            if draw:
                draw.text((margin + aside, y), line, font=plain, fill=_TEXT, anchor="ls")
            y += round(unit * 1.6)
    return y - unit


def _alphas(caption: Caption, band: Band, *, width: int) -> Iterator[NDArray[np.float32]]:
    """Each frame's letters, (rows, width) from 0 to 1."""
    font = lettering(band.size)
    margin = _margin(width)
    widest, room = font.getlength(_widest(caption)), width - 2 * margin
    base = Image.new("L", (width, band.rows), 0)
    label = squeezed(caption.slate, font, width=room if band.lines == 2 else room - widest)
    # lines stand in the middle of their halves
    above, below = (band.rows / 2, band.rows / 2) if band.lines == 1 else (band.rows * 0.28, band.rows * 0.75)
    ImageDraw.Draw(base).text((margin, above), label, font=font, fill=255, anchor="lm")
    # from a fixed place: digits that change must not make the others dance
    left = margin if band.lines == 2 else width - margin - widest
    for index in range(caption.frames):
        picture = base.copy()
        ImageDraw.Draw(picture).text((left, below), _clock(caption, index), font=font, fill=255, anchor="lm")
        yield np.asarray(picture, np.float32) / np.float32(255)


def strip_frames(caption: Caption, band: Band, *, width: int) -> Iterator[Frame]:
    """For each frame the ink, and below it how much the ink covers: (2 * rows, width, 3) uint16 of full range.

    The picture behind becomes picture * (1 - cover) + ink * cover: letters over a shaded ground.
    """
    for alpha in _alphas(caption, band, width=width):
        cover = SHADE + (1 - SHADE) * alpha
        both = np.concatenate([BRIGHTEST * alpha / cover, cover])
        yield np.repeat(np.round(both * 65535).astype(np.uint16)[..., None], 3, axis=2)


def write_captions(
    caption: Caption, folder: Path, *, ffmpeg: str, width: int, height: int, slate: bool, burnin: bool
) -> Captions:
    """Write what is asked for into an existing folder, for pictures of that size. Raises FfmpegError."""
    still, strip = folder / "slate.png", folder / "burnin.mkv"
    band = band_of(caption, width=width, height=height)
    rows = band.rows if burnin else 0
    if slate:
        slate_picture(caption, still, width=width, height=height)
    if burnin:
        argv = clip_argv(ffmpeg, strip, width=width, height=2 * rows, rate=caption.rate)
        with FrameWriter(argv, width=width, height=2 * rows, what=f"{caption.slate}: burn-in") as writer:
            for frame in strip_frames(caption, band, width=width):
                writer.write(frame)
    return Captions(still if slate else None, strip if burnin else None, rows)
