"""What a shot's row says of the request at a glance: its digest, and its place in the queue.

Knows: which requests are one, and in which order shots are rendered. Does not know: rows, databases. Memory: one shot.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from fractions import Fraction
from operator import attrgetter
from typing import Any, Final

from catalogs.columns import HEADERS
from catalogs.sheet import normal
from catalogs.shot import Delivery, LoraUse, Plate, Shot
from catalogs.timebase import rate_text

NEVER: Final = "~"
"""Stands for no due date: it sorts behind every digit."""

_JSON: Final = json.JSONEncoder(separators=(",", ":"))
_APART: Final = frozenset(("show", "code", "metadata"))
_FIELDS: Final = {name: field for name, field in Shot.__dataclass_fields__.items() if name not in _APART}
_NAMES: Final = tuple(sorted(_FIELDS))
_READ: Final = attrgetter(*_NAMES)
_DEFAULTS: Final = tuple(_FIELDS[name].default for name in _NAMES)


def digest(shot: Shot) -> str:
    """40 hex digits: equal for equal requests, and but for chance for no others.

    Show and code do not count, a row is found by them; nor does the order of metadata, which is a spreadsheet's.
    What has its default is left out, so that a new column changes no digest of shots that do not use it.
    """
    said: dict[str, Any] = {
        name: value if type(value) in _PLAIN else _text(value)
        for name, value, default in zip(_NAMES, _READ(shot), _DEFAULTS, strict=True)
        if value is not default and value != default
    }
    if shot.metadata:
        said["metadata"] = sorted((metadata_name(name), value) for name, value in shot.metadata)
    return hashlib.sha256(_JSON.encode(said).encode()).hexdigest()[:40]


def alike(one: Shot, other: Shot) -> bool:
    """Whether two requests are one; whose they are does not count."""
    return digest(one) == digest(other)


def metadata_name(header: str) -> str:
    """How a header of metadata compares: one of a column that we know counts however it is spelt."""
    return HEADERS.get(normal(header), header)


def rank(shot: Shot) -> str:
    """Sorts, by the numbers of its characters, as shots are rendered: priority, due date, show, sequence, code.

    No code holds a blank or what sorts before one, so that fields of different lengths compare as by themselves.
    """
    due = shot.due.isoformat() if shot.due else NEVER
    return f"{shot.priority:02d} {due} {shot.show} {shot.sequence} {shot.code}"


_PLAIN: Final = frozenset((str, int, float, type(None)))


def _text(value: Any) -> Any:
    """A field's value as JSON knows it."""
    match value:
        case Fraction():
            return rate_text(value)
        case date():
            return value.isoformat()
        case Plate():
            return [value.path, value.sha256, value.width, value.height]
        case Delivery():
            return value.whole
        case LoraUse():
            return [value.name, value.scale]
        case tuple():
            return [_text(one) for one in value]
        case _:  # an anchor
            return [rate_text(value.at), _text(value.plate)]
