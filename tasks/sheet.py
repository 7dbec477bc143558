"""Contact sheets: a few frames of a shot on one picture, for people who have a minute. Deterministic.

Knows: small stills and the words to put beside them. Does not know: videos, plans, findings.
Memory: the sheet, about 6 megabytes for a shot and 25 for the largest batch; stills are made small as they are opened.

Text is never full white, so that nobody measures it as picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from catalogs.timebase import FIRST_FRAME, clock, rate_display
from tasks.errors import MediaError
from tasks.lettering import Font, cut, legible, lettering, wrapped

_GROUND: Final = (22, 23, 26)
_EDGE: Final = (32, 33, 37)
_TEXT: Final = (222, 224, 228)
_QUIET: Final = (142, 147, 156)
_NOTICE: Final = (232, 176, 92)
_NOTICE_GROUND: Final = (58, 46, 28)

_MARGIN: Final = 40
_GAP: Final = 20
_LABEL: Final = 40  # pixels below a still
_WIDTHS: Final = (480, 270)  # of a cell, for landscape and for portrait stills
_COLUMNS: Final = (3, 5)  # at most, likewise
_BATCH: Final = ((12, 480, 3), (40, 320, 5), (160, 240, 8))
"""Shots of a batch up to which cells are so wide, and how many of them stand side by side."""
_QUALITY: Final = 90


def contact_sheet(
    stills: Sequence[tuple[int, Path]],
    target: Path,
    *,
    slate: str,
    rate: Fraction,
    caption: Sequence[str] = (),
    badge: str = "",
) -> None:
    """Write a JPEG with the stills of one shot, each with its frame number from 1001 and its time.

    `stills` are (frame counted from 0, picture), in order, all of one shape. `caption` are lines below the slate, the
    first of them the loudest; long ones are wrapped. `badge` is a notice that must not be missed, such as
    "animatic previsualisation, not the final model". Raises MediaError if there are no stills or one does not open.
    """
    pictures = [_opened(path) for _, path in stills]
    if not pictures:
        raise MediaError(f"{slate}: there are no stills for the contact sheet; render the shot again")
    labels = [(str(FIRST_FRAME + frame), clock(frame, rate)) for frame, _ in stills]
    sheet = _grid(pictures, labels, title=slate, aside=f"{rate_display(rate)} fps", caption=caption, badge=badge)
    _save(sheet, target)


def batch_sheet(
    shots: Sequence[tuple[str, str, Path]],
    target: Path,
    *,
    title: str,
    caption: Sequence[str] = (),
    badge: str = "",
    tags: Mapping[int, str] | None = None,
) -> None:
    """Write a JPEG with one still for each shot of a batch.

    `shots` are (label, detail, picture); pictures of different shapes stand whole in cells of the landscape shape. The
    more shots, the smaller their cells, the smallest without detail; of more than 160 the first stand there, and the
    sheet says so. `badge` is a notice that must not be missed, as on a shot's own sheet; `tags` (place among
    the shots -> a word) say it of single stills.
    Raises MediaError if there are none or one does not open.
    """
    shown = shots[: _BATCH[-1][0]]
    if not shown:
        raise MediaError(f"{title}: there are no stills for the sheet; render a shot first")
    _, cell, most = next(row for row in _BATCH if len(shown) <= row[0])
    pictures = [_opened(path, most=cell) for _, _, path in shown]
    roomy = cell > _BATCH[-1][1]
    labels = [(label, detail if roomy else "") for label, detail, _ in shown]
    aside = f"{len(shots)} shots" if len(shown) == len(shots) else f"the first {len(shown)} of {len(shots)} shots"
    sheet = _grid(
        pictures, labels, title=title, aside=aside, caption=caption, badge=badge, cells=(cell, most), tags=tags
    )
    _save(sheet, target)


def columns_for(count: int, *, most: int) -> int:
    """How many columns hold `count` cells: as few rows as `most` allows, and rows as full as can be."""
    rows = math.ceil(count / most)
    return math.ceil(count / rows)


def _opened(path: Path, *, most: int = 0) -> Image.Image:
    """A still; with `most` no side of it longer than that, in pixels."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
            if most:
                picture.thumbnail((most, most), Image.Resampling.LANCZOS)
            return picture
    except (OSError, SyntaxError) as error:
        raise MediaError(f"still {path.name} does not open: {error}; render the shot again") from error


def _save(sheet: Image.Image, target: Path) -> None:
    # full chroma resolution: labels are small and coloured
    sheet.save(target, "JPEG", quality=_QUALITY, subsampling=0)


def _grid(
    pictures: Sequence[Image.Image],
    labels: Sequence[tuple[str, str]],
    *,
    title: str,
    aside: str,
    caption: Sequence[str],
    badge: str,
    cells: tuple[int, int] | None = None,
    tags: Mapping[int, str] | None = None,
) -> Image.Image:
    """The sheet; `cells` are width and columns for landscape, unless they are those of a shot's own sheet."""
    portrait = all(picture.height > picture.width for picture in pictures)
    cell_width, most = cells or (_WIDTHS[0], _COLUMNS[0])
    if portrait:
        cell_width, most = cell_width * _WIDTHS[1] // _WIDTHS[0], most * _COLUMNS[1] // _COLUMNS[0]
    cell_height = max(
        min(round(cell_width * picture.height / picture.width), cell_width * (2 if portrait else 1))
        for picture in (pictures if portrait else [p for p in pictures if p.width >= p.height] or pictures)
    )
    columns = columns_for(len(pictures), most=most)
    rows = math.ceil(len(pictures) / columns)
    # a sheet of one or two stills still has room for its words
    width = 2 * _MARGIN + max(columns * cell_width + (columns - 1) * _GAP, 2 * _WIDTHS[0] + _GAP)
    inner = width - 2 * _MARGIN

    big, medium, small = lettering(34), lettering(20), lettering(16)
    words = [
        (line, medium if index == 0 else small, _TEXT if index == 0 else _QUIET)
        for index, text in enumerate(caption)
        for line in wrapped(text, medium if index == 0 else small, width=inner, most=3)
    ]
    notice = cut(badge, small, width=inner - 28) if badge else ""
    head = 56 + (42 if notice else 0) + sum(28 if font is medium else 24 for _, font, _ in words)
    top = _MARGIN + head + 20
    height = top + rows * (cell_height + _LABEL) + (rows - 1) * _GAP + _MARGIN - 12

    sheet = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    room = inner - small.getlength(aside) - _GAP
    draw.text((_MARGIN, _MARGIN + 34), cut(title, big, width=room), font=big, fill=_TEXT, anchor="ls")
    draw.text((width - _MARGIN, _MARGIN + 34), aside, font=medium, fill=_QUIET, anchor="rs")
    y = _MARGIN + 56
    if notice:
        right = _MARGIN + small.getlength(notice) + 28
        draw.rounded_rectangle((_MARGIN, y, right, y + 30), radius=6, fill=_NOTICE_GROUND)
        draw.text((_MARGIN + 14, y + 15), notice, font=small, fill=_NOTICE, anchor="lm")
        y += 42
    for line, font, fill in words:
        step = 28 if font is medium else 24
        draw.text((_MARGIN, y + step - 8), line, font=font, fill=fill, anchor="ls")
        y += step
    # a label is what a picture is called: it gets smaller letters before any of it is cut
    beside = [cell_width - (small.getlength(detail) + 12 if detail else 0) for _, detail in labels]
    whole = all(medium.getlength(legible(label)) <= room for (label, _), room in zip(labels, beside, strict=True))
    fitting = medium if whole and cell_width >= min(_WIDTHS) else small
    for index, (picture, (label, detail)) in enumerate(zip(pictures, labels, strict=True)):
        row, column = divmod(index, columns)
        corner = (_MARGIN + column * (cell_width + _GAP), top + row * (cell_height + _LABEL + _GAP))
        _cell(sheet, picture, corner=corner, size=(cell_width, cell_height))
        if tags and index in tags:
            _tag(draw, tags[index], small, corner=corner)
        baseline = corner[1] + cell_height + 28
        right = corner[0] + cell_width
        draw.text((right, baseline), detail, font=small, fill=_QUIET, anchor="rs")
        draw.text(
            (corner[0], baseline), cut(label, fitting, width=beside[index]), font=fitting, fill=_TEXT, anchor="ls"
        )
    return sheet


def _tag(draw: ImageDraw.ImageDraw, word: str, font: Font, *, corner: tuple[int, int]) -> None:
    """A word of notice on the corner of a still."""
    x, y = corner[0] + 6, corner[1] + 6
    draw.rounded_rectangle((x, y, x + font.getlength(word) + 16, y + 24), radius=5, fill=_NOTICE_GROUND)
    draw.text((x + 8, y + 12), word, font=font, fill=_NOTICE, anchor="lm")


def _cell(sheet: Image.Image, picture: Image.Image, *, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Put a picture whole into its cell, centred, on a slightly lighter ground."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    fitted = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if fitted != picture.size:
        picture = picture.resize(fitted, Image.Resampling.LANCZOS)
    x, y = corner
    ImageDraw.Draw(sheet).rectangle((x, y, x + size[0] - 1, y + size[1] - 1), fill=_EDGE)
    sheet.paste(picture, (x + (size[0] - fitted[0]) // 2, y + (size[1] - fitted[1]) // 2))
