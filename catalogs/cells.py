"""A shot as the cells of a list: what reading them again (request.py) turns into the same shot.

Knows: how each field is spelt in a cell, in which cells two requests differ. Does not know: files, separators, escapes.
Memory: one shot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Final

from catalogs.columns import HEADERS
from catalogs.digests import metadata_name
from catalogs.sheet import normal
from catalogs.shot import Anchor, LoraUse, Plate, Shot
from catalogs.timebase import rate_text

COLUMNS: Final = (
    "show",
    "sequence",
    "shot",
    "plate",
    "end_plate",
    "prompt",
    "negative_prompt",
    "frames",
    "fps",
    "handles",
    "resolution",
    "model",
    "seed",
    "steps",
    "guidance",
    "loras",
    "context",
    "overlap",
    "anchors",
    "max_rerolls",
    "camera",
    "deliveries",
    "speed",
    "retimer",
    "priority",
    "due",
    "notes",
    "submitted_by",
)
"""Columns in which every shot can be written, in the order of docs/shot-lists.md."""

_BARE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell in which a request differs from what stood there."""

    column: str
    """One of COLUMNS, or the header of metadata."""
    old: str
    """The cell as it was; empty if it had no value."""
    new: str
    """The cell as it is asked for now."""

    def __str__(self) -> str:
        return f"{self.column}: {self.old or 'nothing'} to {self.new or 'nothing'}"


def shot_cells(shot: Shot, root: PurePath | None = None) -> dict[str, str]:
    """The shot's cells by column of COLUMNS; metadata stands apart. Paths below `root` are relative to it."""
    size = f"{shot.width}x{shot.height}" if shot.width else ""
    return {
        "show": shot.show,
        "sequence": shot.sequence,
        "shot": shot.code,
        "plate": _still(shot.plate, root),
        "end_plate": _still(shot.end_plate, root),
        "prompt": shot.prompt,
        "negative_prompt": shot.negative_prompt,
        "frames": str(shot.frames),
        "fps": _fraction(shot.rate),
        "handles": str(shot.handles),
        "resolution": size,
        "model": shot.model,
        "seed": _number(shot.seed),
        "steps": _number(shot.steps),
        "guidance": "" if shot.guidance is None else _decimal(shot.guidance),
        "loras": " ".join(map(_lora, shot.loras)),
        "context": shot.context,
        "overlap": _number(shot.overlap),
        "anchors": "; ".join(_anchor(one, root) for one in shot.anchors),
        "max_rerolls": _number(shot.max_rerolls),
        "camera": shot.camera,
        "deliveries": " ".join(map(str, shot.deliveries)),
        "speed": _fraction(shot.speed),
        "retimer": shot.retimer,
        "priority": str(shot.priority),
        "due": shot.due.isoformat() if shot.due else "",
        "notes": shot.notes,
        "submitted_by": shot.submitted_by,
    }


def kept_cells(shot: Shot) -> list[tuple[str, int, str]]:
    """Metadata as (header, which of that name, cell). LoRAs that the model does not apply are among them.

    What bears the name of any other column that we know is left out: read again it would be that column.
    """
    seen: dict[str, int] = {}
    found = []
    for name, value in shot.metadata:
        known = metadata_name(name)
        if is_known(name) and (known != "loras" or shot.loras):
            continue
        number = seen[known] = seen.get(known, -1) + 1
        found.append((known, number, value))
    return found


def lost_cells(shot: Shot) -> list[str]:
    """Headers of metadata that `kept_cells` leaves out: the name of a column that was none when they came in."""
    return [name for name, _ in shot.metadata if is_known(name) and (metadata_name(name) != "loras" or shot.loras)]


def differences(old: Shot, new: Shot) -> list[Difference]:
    """The cells in which two requests for one shot differ, in the order of the columns, metadata last."""
    before, after = shot_cells(old), shot_cells(new)
    for column, one, other in (("plate", old.plate, new.plate), ("end_plate", old.end_plate, new.end_plate)):
        if one and other and one.path == other.path and one != other:
            before[column], after[column] = (f"{still.path} ({_bytes(still)})" for still in (one, other))
    if before["anchors"] == after["anchors"] and old.anchors != new.anchors:
        for cells, shot in ((before, old), (after, new)):
            cells["anchors"] += f" ({', '.join(_bytes(anchor.plate) for anchor in shot.anchors)})"
    found = [
        Difference(column, before[column], after[column])
        for column in COLUMNS
        if column not in ("show", "shot") and before[column] != after[column]
    ]
    return found + _kept_differences(old.metadata, new.metadata)


def _kept_differences(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> list[Difference]:
    before, after = _by_name(old), _by_name(new)
    names = dict.fromkeys((*before, *after))
    return [
        Difference(name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    ]


def _by_name(metadata: Sequence[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in metadata:
        known = metadata_name(name)
        found[known] = f"{found[known]}, {value}" if known in found else value
    return found


def is_known(header: str) -> bool:
    """Whether a header of metadata bears the name of a column."""
    return normal(header) in HEADERS


def _bytes(still: Plate) -> str:
    return f"sha256 {still.sha256[:_SHORT]}, {still.width}x{still.height}"


def _still(plate: Plate | None, root: PurePath | None) -> str:
    return "" if plate is None else _path(plate.path, root)


def _path(path: str, root: PurePath | None) -> str:
    if root is None or not PurePath(path).is_relative_to(root):
        return path
    return PurePath(path).relative_to(root).as_posix()


def _anchor(anchor: Anchor, root: PurePath | None) -> str:
    return f"{_exact(anchor.at)}s={_path(anchor.plate.path, root)}"


def _lora(use: LoraUse) -> str:
    name = use.name if _BARE.fullmatch(use.name) else f'"{use.name}"'
    return name if use.scale is None else f"{name}:{_decimal(use.scale)}"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _fraction(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else rate_text(value)


def _decimal(value: float) -> str:
    """With a point and at most nine digits behind it: what a cell may hold, which no power of ten is."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _exact(value: Fraction) -> str:
    """Seconds from a cell have few decimals, and all of them are needed; what has none that end is cut."""
    whole, rest = divmod(value.numerator, value.denominator)
    digits = ""
    while rest and len(digits) < 30:
        digit, rest = divmod(rest * 10, value.denominator)
        digits += str(digit)
    return f"{whole}.{digits}" if digits else str(whole)
