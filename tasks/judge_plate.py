"""Whether a shot is still that of its plate: its first frame, and where its colours have gone since. Pure.

Knows: what was followed, what is known of the shot, limits. Does not know: files, pictures. Memory: a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from catalogs.footage import Finding
from tasks.cuts import Thumbnail
from tasks.drift import Change, Key
from tasks.known import BLACK_PLATE, FLAT_PLATE, Known, finding
from tasks.limits import Limits


def judge_plate(
    keys: Sequence[Key], plate_change: Change | None, first: Thumbnail | None, known: Known, limits: Limits
) -> tuple[Finding, ...]:
    """All findings of this module. `keys`: what has drifted; `plate_change`: from the plate to the first frame."""
    return (*_first_frame(plate_change, first, known, limits), *_drift(keys, known, limits))


def _first_frame(change: Change | None, first: Thumbnail | None, known: Known, limits: Limits) -> list[Finding]:
    severity, plate = limits.severity("first_frame"), known.plate
    if severity is None or plate is None or first is None or plate.peak < BLACK_PLATE or plate.contrast < FLAT_PLATE:
        return []
    most, off = float(limits["first_frame"]["unlike"]), float(limits["first_frame"]["colour"])
    unlike = plate.unlike(first)
    if unlike > most:
        return [finding("first_frame", severity, (0, 1), f"unlikeness to the plate {unlike:.2f}", f"{most:g}")]
    if change is None:
        return []
    mean = float(plate.luma.mean())
    moved = {"luma": mean * math.expm1(change.luma), "Cb": change.blue, "Cr": change.red}
    name, by = max(moved.items(), key=lambda entry: abs(entry[1]))
    if abs(by) <= off:
        return []
    return [finding("first_frame", severity, (0, 1), f"{name} is {by:+.1f}/255 from the plate's", f"{off:g}/255")]


def _drift(keys: Sequence[Key], known: Known, limits: Limits) -> list[Finding]:
    """The greatest distance from where the chain began, if the measurement is sure of it."""
    severity = limits.severity("drift")
    if severity is None or known.arrives or len(keys) < 2:
        return []
    most, cast, steady = (float(limits["drift"][key]) for key in ("saturation", "cast", "steady"))
    start = 0.0 if known.plate else keys[0].change.saturation
    worst = max(keys, key=lambda key: abs(key.change.saturation - start))
    gained = math.expm1(worst.change.saturation - start)
    if abs(gained) > most and abs(gained) > steady * worst.change.spread:
        value = f"saturation {gained:+.1%} by frame {worst.index + 1001}"
        return [finding("drift", severity, (0, worst.index + 1), value, f"{most:.1%}")]
    tinted = max(keys, key=lambda key: math.hypot(key.change.blue, key.change.red))
    by = math.hypot(tinted.change.blue, tinted.change.red)
    if by > cast:
        value = f"colour {by:.1f}/255 from where it began by frame {tinted.index + 1001}"
        return [finding("drift", severity, (0, tinted.index + 1), value, f"{cast:g}/255")]
    return []
