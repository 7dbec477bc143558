"""Small pictures of a shot for lists and chats: a thumbnail, and a few seconds that move.

Knows: stills of one decode, sizes and bytes of what is made of them. Does not know: videos, plans, sheets.
Memory: the preview's frames, at most 48 of 480 pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from PIL import Image

from tasks.errors import MediaError

THUMBNAIL_SIDE: Final = 320
"""Longest side of a thumbnail, in pixels."""

PREVIEW_SIDE: Final = 480
"""Longest side of a preview, in pixels; the stills have it already."""

PREVIEW_SECONDS: Final = 4
"""Longest part of a shot that a preview shows, from its middle."""

PREVIEW_RATE: Final = 12
"""Most frames a second of a preview."""

PREVIEW_BYTES: Final = 2_000_000
"""Largest preview: what chat programs and review pages show unasked."""

_TRIES: Final = ((480, 70), (480, 45), (360, 40), (240, 30), (160, 20))
"""Longest side and quality, until the bytes suffice; noise needs the last, a calm shot the first."""

_HOPELESS: Final = 3
"""Bytes of all frames by themselves, over the limit, that no likeness between moving frames makes up for."""

_QUALITY: Final = 85


def preview_frames(frames: int, rate: Fraction) -> tuple[int, ...]:
    """Which frames of so many a preview shows, counted from 0: evenly spaced, from the middle of the shot."""
    step = max(1, math.ceil(rate / PREVIEW_RATE))
    length = max(1, min(frames, math.floor(PREVIEW_SECONDS * rate)))
    span = (length - 1) // step * step
    first = (frames - 1 - span) // 2
    return tuple(range(first, first + span + 1, step))


def write_preview(pictures: Sequence[Path], target: Path, *, rate: Fraction, frames: Sequence[int]) -> None:
    """Write an endless animated WebP that plays at the shot's own speed. `frames` are the pictures' numbers.

    Raises MediaError if a picture does not open, or if nothing small enough comes of them.
    """
    opened = [_opened(path) for path in pictures]
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    # from the times, not from one duration: thousandths would add up
    marks = [round(1000 * index * step / rate) for index in range(len(opened) + 1)]
    lasts = [after - before for before, after in pairwise(marks)]
    for side, quality in _TRIES:
        # a guess from one frame saves the tries that noise would fail, which take as long as those that succeed
        if len(opened) * _bytes(_within(opened[len(opened) // 2], side), quality) > _HOPELESS * PREVIEW_BYTES:
            continue
        stream = io.BytesIO()
        small = [_within(picture, side) for picture in opened]
        # method 2: a third of the time of 4 for a twentieth more bytes
        small[0].save(
            stream,
            "WEBP",
            save_all=True,
            append_images=small[1:],
            duration=lasts,
            loop=0,
            quality=quality,
            method=2,
        )
        if stream.tell() <= PREVIEW_BYTES:
            target.write_bytes(stream.getvalue())
            return
    raise MediaError(f"{target.name} would have more than {PREVIEW_BYTES} bytes at {_TRIES[-1][0]} pixels; report this")


def write_thumbnail(picture: Path, target: Path) -> None:
    """Write a JPEG of one still. Raises MediaError if it does not open."""
    _within(_opened(picture), THUMBNAIL_SIDE).save(target, "JPEG", quality=_QUALITY)


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise MediaError(f"still {path.name} does not open: {error}; render the shot again") from error


def _bytes(picture: Image.Image, quality: int) -> int:
    """Of one frame by itself."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=quality, method=0)
    return stream.tell()


def _within(picture: Image.Image, side: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small
