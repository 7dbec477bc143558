"""Words on review copies: a slate before the picture, and a band of words burnt into its lower edge.

Knows: what a slate says, where words stand, how bright they may be. Does not know: encoders, plans, deliveries.
Memory: one band of a frame at a time; the slate, once.

Nothing of it is whiter than 80 %, so that nobody measures it as picture. The fields of the slate are those that Netflix
asks for (show, version, date, shot, frames, notes); frame numbers begin with 1001, the slate itself is 1000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from catalogs.timebase import FIRST_FRAME, rate_display, timecode
from models.interface import Frame
from tasks.ffmpeg import clip_argv
from tasks.filters import Captions
from tasks.frames import FrameWriter
from tasks.lettering import cut, lettering, wrapped

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
            ("timecode", f"{timecode(FIRST_FRAME, self.rate)} - {timecode(last, self.rate)}"),
            ("sent by", self.by),
            ("notes", self.notes),
        ]
        return [(field, value) for field, value in told if value]


def band_rows(height: int) -> int:
    """Rows of the band of words in a picture of so many: a twentieth, even, and readable."""
    return min(height, max(_SMALLEST + 6, height // _ROWS) + 1 & ~1)


def slate_picture(caption: Caption, target: Path, *, width: int, height: int) -> None:
    """Write the slate as a PNG of that size."""
    picture = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(picture)
    margin, unit = width // 12, max(_SMALLEST, min(height // 24, width // 38))
    big, plain = lettering(unit * 2), lettering(unit)
    room = width - 2 * margin
    y = height // 12 + 2 * unit
    draw.text((margin, y), cut(caption.slate, big, width=room), font=big, fill=_TEXT, anchor="ls")
    y += unit * 2
    aside = round(plain.getlength("timecode")) + unit
    for field, value in caption.rows():
        draw.text((margin, y), field, font=plain, fill=_QUIET, anchor="ls")
        for line in wrapped(value, plain, width=room - aside, most=3):
            draw.text((margin + aside, y), line, font=plain, fill=_TEXT, anchor="ls")
            y += round(unit * 1.6)
    picture.save(target, "PNG")


def _alphas(caption: Caption, *, width: int, rows: int) -> Iterator[NDArray[np.float32]]:
    """Each frame's letters, (rows, width) from 0 to 1."""
    font = lettering(max(_SMALLEST, rows - 8))
    margin = max(4, width // 60)
    last = FIRST_FRAME + caption.frames - 1
    widest = font.getlength(f"{last}  {timecode(last, caption.rate)}0")
    base = Image.new("L", (width, rows), 0)
    label = cut(caption.slate, font, width=max(1.0, width - 3 * margin - widest))
    ImageDraw.Draw(base).text((margin, rows / 2), label, font=font, fill=255, anchor="lm")
    for number in range(FIRST_FRAME, last + 1):
        picture = base.copy()
        words = f"{number}  {timecode(number, caption.rate)}"
        # from a fixed place: digits that change must not make the others dance
        ImageDraw.Draw(picture).text((width - margin - widest, rows / 2), words, font=font, fill=255, anchor="lm")
        yield np.asarray(picture, np.float32) / np.float32(255)


def strip_frames(caption: Caption, *, width: int, rows: int) -> Iterator[Frame]:
    """For each frame the ink, and below it how much the ink covers: (2 * rows, width, 3) uint16 of full range.

    The picture behind becomes picture * (1 - cover) + ink * cover: letters over a shaded ground.
    """
    for alpha in _alphas(caption, width=width, rows=rows):
        cover = SHADE + (1 - SHADE) * alpha
        both = np.concatenate([BRIGHTEST * alpha / cover, cover])
        yield np.repeat(np.round(both * 65535).astype(np.uint16)[..., None], 3, axis=2)


def write_captions(
    caption: Caption, folder: Path, *, ffmpeg: str, width: int, height: int, slate: bool, burnin: bool
) -> Captions:
    """Write what is asked for into an existing folder, for pictures of that size. Raises FfmpegError."""
    still, strip = folder / "slate.png", folder / "burnin.mkv"
    rows = band_rows(height) if burnin else 0
    if slate:
        slate_picture(caption, still, width=width, height=height)
    if burnin:
        argv = clip_argv(ffmpeg, strip, width=width, height=2 * rows, rate=caption.rate)
        with FrameWriter(argv, width=width, height=2 * rows, what=f"{caption.slate}: burn-in") as writer:
            for frame in strip_frames(caption, width=width, rows=rows):
                writer.write(frame)
    return Captions(still if slate else None, strip if burnin else None, rows)
