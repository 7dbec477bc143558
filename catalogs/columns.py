"""The columns of a shot list: their names, and what one cell of each may say.

Knows: aliases (data) and how a cell's text becomes a value. Every reader here is pure, takes the cell
stripped and not empty, and raises CellError. Does not know: rows, files, models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Final

from catalogs.formats import GRADED, REVIEW, SEQUENCES
from catalogs.sheet import normal
from catalogs.shot import CAMERAS, CODE, DELIVERY_OPTIONS, QUALITIES, RETIMERS, Delivery
from catalogs.timebase import parse_rate

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "show": ("project",),
    "sequence": ("seq", "episode+sequence"),
    "episode": (),
    "shot": ("name", "shot code", "code"),
    "folder_path": (),
    "plate": ("image", "plate path", "file path", "input"),
    "end_plate": ("last image",),
    "prompt": ("description",),
    "negative_prompt": (),
    "frames": ("nb frames", "cut duration", "duration"),
    "frame_in": ("in", "cut in", "frame start"),
    "frame_out": ("out", "cut out", "frame end"),
    "seconds": (),
    "fps": ("frames per second", "frame rate", "rate"),
    "handles": (),
    "handle_start": ("handle in",),
    "handle_end": ("handle out",),
    "head_in": (),
    "tail_out": (),
    "resolution": ("size",),
    "model": ("engine",),
    "seed": (),
    "steps": (),
    "guidance": (),
    "loras": (),
    "context": (),
    "overlap": (),
    "anchors": (),
    "max_rerolls": (),
    "camera": ("move",),
    "deliveries": ("outputs", "formats"),
    "speed": (),
    "retimer": (),
    "priority": (),
    "due": (),
    "notes": (),
    "submitted_by": (),
    "error": (),
}
"""Each column and its other names, as Kitsu, ShotGrid, AYON and ftrack export them."""

HEADERS: Final[Mapping[str, str]] = {
    normal(spelling): column for column, others in ALIASES.items() for spelling in (column, *others)
}
"""Every accepted header, normalised, with the column that it means."""

NAMED_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "480p": (832, 480),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
}
"""Long and short side in pixels. 480p is what the video models call so; both sides divide by 16."""

SIDES: Final = (16, 8192)
"""Pixels that a delivery's side may have."""

MOST_HANDLES: Final = 1000
"""Frames of a handle."""

LONGEST_CODE: Final = 64
"""Characters of a code: three of them and a version stay below every system's 255 for a file name."""

GATHERING: Final = ("shots", "sequences", "episodes")
"""Folders at the top of a tracker's project that only hold others; no show is called so."""

LONGEST_HEADER: Final = 200
"""Characters of the name of a column that is kept as metadata."""

LONGEST_TEXT: Final = 10_000
"""Characters of a prompt, a note or a metadata cell."""

_WINDOWS: Final = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(1, 10))]
)
"""Names that Windows keeps for devices, with any ending."""

# ASCII digits alone: \d would take ١٢ and ４８, which nobody downstream expects.
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0+)?")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_SIZE = re.compile(r"([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SPEED = re.compile(r"([0-9]{1,4})\s*/\s*([0-9]{1,4})")
_BETWEEN = re.compile(r"[\s,;+|]+")
# what changes the order of the letters around it shows another name than the one that is stored
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202d\u202e]")
_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class CellError(ValueError):
    """A cell cannot be read; holds the code and the words of its problem."""

    def __init__(self, code: str, **words: object) -> None:
        super().__init__(code)
        self.code = code
        self.words = words


def read_code(text: str) -> str:
    """A show, sequence or shot code, safe as a file name on every system."""
    if not CODE.fullmatch(text):
        raise CellError("E302")
    if text.split(".")[0].lower() in _WINDOWS or text.endswith("."):
        raise CellError("E303")
    if len(text) > LONGEST_CODE:
        raise CellError("E304", limit=LONGEST_CODE)
    return text


def read_whole(text: str, *, low: int, high: int) -> int:
    """A whole number from low to high; `48.0`, as spreadsheets export it, is 48."""
    if not _WHOLE.fullmatch(text):
        raise CellError("E306", example=max(low, min(high, 48)))
    digits = text.partition(".")[0]
    # By length first: Python refuses to convert thousands of digits.
    value = int(digits) if len(digits) <= 40 else high + 1
    if not low <= value <= high:
        raise CellError("E307", low=low, high=high)
    return value


def read_decimal(text: str, *, low: int, high: int) -> Fraction:
    """A decimal number from low to high, exact."""
    if not _DECIMAL.fullmatch(text):
        raise CellError("E308", example="2.5")
    value = Fraction(text)
    if not low <= value <= high:
        raise CellError("E307", low=low, high=high)
    return value


def read_seed(text: str) -> int:
    """Seed of a model's noise."""
    return read_whole(text, low=0, high=2**63 - 1)


def read_steps(text: str) -> int:
    """Denoising steps."""
    return read_whole(text, low=1, high=1000)


def read_guidance(text: str) -> float:
    """Guidance scale."""
    return float(read_decimal(text, low=0, high=100))


def read_fps(text: str) -> Fraction:
    """A delivery rate in frames per second, exact."""
    try:
        return parse_rate(_pointed(text) if text.isascii() else "")
    except ValueError as error:
        raise CellError("E313") from error


@dataclass(frozen=True, slots=True)
class Size:
    """A delivery's size, before anybody knows how its plate stands."""

    width: int
    """In pixels."""
    height: int
    """In pixels."""
    turns: bool
    """Whether it was called by its name: it stands upright if the plate does."""

    def sides(self, *, portrait: bool) -> tuple[int, int]:
        """Width and height in pixels."""
        return (self.height, self.width) if self.turns and portrait else (self.width, self.height)


def read_size(text: str) -> Size:
    """Width and height in pixels, or a named size."""
    if text.lower() in NAMED_SIZES:
        return Size(*NAMED_SIZES[text.lower()], turns=True)
    match = _SIZE.fullmatch(text)
    low, high = SIDES
    if not match:
        raise CellError("E314", low=low, high=high)
    width, height = int(match[1]), int(match[2])
    # Odd sides cannot carry 4:2:0 or 4:2:2 chroma.
    if width % 2 or height % 2 or not (low <= width <= high and low <= height <= high):
        raise CellError("E314", low=low, high=high)
    return Size(width, height, turns=False)


def read_context(text: str) -> str:
    """A kind of context, as models.context writes it: `Frames 9` is `frames-9`. Which there are, the model says."""
    return "-".join(word for word in re.split(r"[\s_-]+", text.lower()) if word)


def read_camera(text: str) -> str:
    """One of CAMERAS; `Push-In` and `push_in` count."""
    move = " ".join(re.split(r"[\s_-]+", text.strip().lower()))
    if move not in CAMERAS:
        raise CellError("E318", names=", ".join(CAMERAS))
    return move


def _words_with(kind: str) -> str:
    """The words that a kind takes beside its option, for people: none that would be refused then."""
    if kind in SEQUENCES:
        return ""
    if kind not in GRADED:
        return ", with silent"
    review = f", with {' or '.join(QUALITIES)}, and silent"
    return f"{review}; {' and '.join(REVIEW)} {'too' if kind == 'h264' else 'with review'}"


def read_deliveries(text: str) -> tuple[tuple[Delivery, ...], bool]:
    """Deliveries in the order asked for, and whether one was named twice."""
    names = ", ".join(
        kind if len(options) == 1 else f"{kind} ({', '.join(f'{kind}:{option}' for option in options)})"
        for kind, options in DELIVERY_OPTIONS.items()
    )
    words = [word for word in _BETWEEN.split(text) if word]
    found: list[Delivery] = []
    for word in words:
        try:
            delivery = Delivery.parse(word)
        except ValueError as error:
            kind = word.lower().partition(":")[0]
            options = DELIVERY_OPTIONS.get(kind)
            allowed = f"{kind}:{' or '.join(options)}{_words_with(kind)}" if options else names
            raise CellError("E319", names=allowed, detail=str(error).partition("; ")[0]) from error
        if delivery not in found:
            found.append(delivery)
    if not found:
        raise CellError("E319", names=names, detail="none is named")
    return tuple(found), len(words) > len(found)


def _pointed(text: str) -> str:
    """A decimal comma, as spreadsheets of half the world write it, as a point."""
    return text.replace(",", ".") if text.count(",") == 1 else text


def read_speed(text: str) -> Fraction:
    """Playing speed, exact: `1/2` or `0.5` is half speed. From 1/16 to 1."""
    text = _pointed(text)
    match = _SPEED.fullmatch(text)
    if match:
        value = Fraction(int(match[1]), int(match[2])) if int(match[2]) else Fraction(0)
    elif _DECIMAL.fullmatch(text):
        value = Fraction(text)
    else:
        raise CellError("E320")
    if not Fraction(1, 16) <= value <= 1:
        raise CellError("E320")
    return value


def read_retimer(text: str) -> str:
    """One of RETIMERS; `RIFE` counts."""
    wish = text.lower()
    if wish not in RETIMERS:
        raise CellError("E336", names=", ".join(RETIMERS))
    return wish


def read_due(text: str) -> date:
    """An ISO date."""
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError as error:
        raise CellError("E321") from error


def read_path(text: str) -> str:
    """A path as it is written. Where it leads, plates.py says."""
    if found := _IN_NAMES.search(text):
        raise CellError("E323", detail=f"U+{ord(found[0]):04X}")
    return text


def read_folders(text: str) -> dict[str, str]:
    """Show, episode, sequence and shot of a path such as /show/sequence/shot, as AYON writes it; from its end."""
    parts = [part for part in text.split("/") if part]
    if len(parts) > 1 and parts[0].lower() in GATHERING:
        parts = parts[1:]
    if not 1 <= len(parts) <= 4:
        raise CellError("E347")
    names = ("shot", "sequence", "show") if len(parts) < 4 else ("shot", "sequence", "episode", "show")
    return dict(zip(names, reversed(parts), strict=False))


def read_text(text: str) -> str:
    """Free text: a prompt, a note. Line breaks and tabs are text, other control characters are not."""
    found = _CONTROL.search(text)
    if found:
        raise CellError("E323", detail=f"U+{ord(found[0]):04X}")
    if len(text) > LONGEST_TEXT:
        raise CellError("E324", limit=LONGEST_TEXT)
    return text
