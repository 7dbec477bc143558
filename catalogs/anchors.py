"""Anchors: planned stills that a shot shows on its way. How the cell is written, and where a still may stand. Pure.

    4s=plates/a.png; 8s=plates/b.png        or, for the same:  every 4s=plates/a.png; plates/b.png

Knows: times and shapes. Does not know: files, models, windows. Memory: one cell.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from catalogs.columns import CellError
from catalogs.problems import Complaint
from catalogs.shot import Shot
from catalogs.timebase import parse_seconds, seconds_display

MOST_ANCHORS: Final = 100
"""Stills of one shot."""

ASPECT_PERCENT: Final = 2
"""How much the shape of a still may differ from the shot's. More would be cropped, and things jump there."""

_EVERY: Final = re.compile(r"every\s+", re.IGNORECASE)


def read_anchors(text: str) -> tuple[tuple[Fraction, str], ...]:
    """Time in seconds of the cut and path of each still, as written. Raises CellError."""
    entries = [entry.strip() for entry in re.split(r"[;\n]", text) if entry.strip()]
    if len(entries) > MOST_ANCHORS:
        raise CellError("E328", detail=f"{len(entries)} stills are more than {MOST_ANCHORS}")
    if entries and (every := _EVERY.match(entries[0])):
        pace, path = _entry(entries[0][every.end() :])
        if twice := next((entry for entry in entries[1:] if _has_time(entry)), None):
            raise CellError("E328", detail=f"behind every only the first still has a time, and {_shown(twice)} has one")
        return tuple((pace * number, name) for number, name in enumerate((path, *entries[1:]), start=1))
    if not entries:
        raise CellError("E328", detail="there is no still between the separators")
    return tuple(_entry(entry) for entry in entries)


def _entry(text: str) -> tuple[Fraction, str]:
    time, _, path = (part.strip() for part in text.partition("="))
    shown = _shown(text)
    try:
        at = parse_seconds(time)
    except ValueError:
        raise CellError("E328", detail=f"{shown} does not begin with a time and =") from None
    if not path:
        raise CellError("E328", detail=f"{shown} names no still")
    return at, path


def _has_time(text: str) -> bool:
    """Whether an entry begins with a time and =, or with another `every`."""
    time, equals, _ = (part.strip() for part in text.partition("="))
    try:
        parse_seconds(_EVERY.sub("", time, count=1))
    except ValueError:
        return False
    return bool(equals)


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def anchor_complaints(shot: Shot) -> list[Complaint]:
    """What is wrong with the places and shapes of a shot's stills, whatever the model."""
    found = []
    end = Fraction(shot.frames - 1) / shot.rate
    before = Fraction(0)
    for anchor in shot.anchors:
        at = f"the still at {seconds_display(anchor.at)} s"
        detail, remedy = "", ""
        if anchor.at == 0:
            detail, remedy = f"{at} stands where the shot begins", "name it as the plate"
        elif anchor.at <= before:
            detail, remedy = f"{at} comes after one at {seconds_display(before)} s", "put them in order of time"
        elif anchor.at > end:
            detail = f"{at} is past the last frame of the cut, at {seconds_display(end)} s"
            remedy = "move it, or name it as the end_plate if the shot is to end on it"
        if detail:
            found.append(Complaint("E329", "anchors", {"detail": detail, "remedy": remedy}))
        before = max(before, anchor.at)
        if size := _other_shape(shot, (anchor.plate.width, anchor.plate.height)):
            words = {"at": seconds_display(anchor.at), "still": f"{anchor.plate.width}x{anchor.plate.height}"}
            found.append(Complaint("E409", "anchors", words | {"size": size, "limit": ASPECT_PERCENT}))
    return found


def _other_shape(shot: Shot, still: tuple[int, int]) -> str:
    """What a still's shape differs from by too much: the plate's size, else the delivery's; empty for nothing."""
    what, wanted = "plate", (shot.plate.width, shot.plate.height) if shot.plate else None
    if wanted is None and shot.width and shot.height:
        what, wanted = "delivery", (shot.width, shot.height)
    if wanted is None:
        return ""
    one, other = still[0] * wanted[1], still[1] * wanted[0]
    return f"the {what} {wanted[0]}x{wanted[1]}" if abs(one - other) * 100 > ASPECT_PERCENT * other else ""
