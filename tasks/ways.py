"""Which way of running a model worked on this machine after faster ones had run out of memory.

Knows: a small file beside the weights. Does not know: engines, how memory is predicted. Memory: that file.

An entry holds for a day: what took the memory then may be gone, and a night should not try in vain for every shot.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from models.interface import Shape

FILE: Final = ".ways.json"
HOLDS: Final = 24 * 3600.0
"""Seconds that an entry is believed."""


def worked(weights: Path, device: str, model: str, shape: Shape) -> str:
    """Name of the rung that windows of this shape ended on; empty if none has fallen lately."""
    entry = _read(weights).get(_name(device, model, shape), {})
    try:
        return str(entry["rung"]) if 0 <= time.time() - float(entry["at"]) < HOLDS else ""
    except (KeyError, TypeError, ValueError):
        return ""


def remember(weights: Path, device: str, model: str, shape: Shape, rung: str) -> None:
    """Start later windows of this shape on that rung. A folder that cannot be written costs an attempt, no more."""
    known = _read(weights) | {_name(device, model, shape): {"rung": rung, "at": time.time()}}
    path = weights / FILE
    attempt = path.with_name(f"{FILE}.{os.getpid()}.tmp")
    try:
        attempt.write_text(json.dumps(known, indent=2), encoding="utf-8")
        os.replace(attempt, path)
    except OSError:
        attempt.unlink(missing_ok=True)


def ran_as(card: str, form: str | None, profile: str) -> str:
    """What a way is remembered for: another form of the model (GGUF type), or another profile, takes other memory."""
    return " ".join(filter(None, (card, form, profile)))


def _name(device: str, model: str, shape: Shape) -> str:
    return f"{model} {shape.width}x{shape.height}x{shape.frames} on {device}"


def _read(weights: Path) -> dict[str, Any]:
    try:
        known = json.loads((weights / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
