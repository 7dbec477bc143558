"""Whether a shot is still that of its plate: its first frame, and where its colours have gone since. Pure.

Knows: what was followed, what is known of the shot, limits. Does not know: files, pictures. Memory: a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Final

from catalogs.footage import Finding, Severity
from tasks.cuts import Thumbnail
from tasks.drift import Change, DriftWatch, Key
from tasks.known import BLACK_PLATE, FLAT_PLATE, Known, finding, runs
from tasks.limits import Limits
from tasks.looks import Look

DIMMED: Final = 0.5
"""Natural logarithm of luma gained or lost from which colours are no longer compared: what is left of them is noise."""


def judge_plate(
    followed: DriftWatch, looks: Sequence[Look], first: Thumbnail | None, known: Known, limits: Limits
) -> tuple[Finding, ...]:
    """All findings of this module; `first`: thumbnail of the first frame."""
    fading = _fading(looks)
    keys = [key for key in followed.keys if key.index not in fading and abs(key.change.luma) < DIMMED]
    return (*_first_frame(followed.first, first, known, limits), *_drift(keys, known, limits))


def _fading(looks: Sequence[Look]) -> set[int]:
    """Frames of one colour, and those that lose their contrast on the way to them: there colours go on purpose."""
    found: set[int] = set()
    for first, end in runs([look.contrast < FLAT_PLATE for look in looks]):
        found |= set(range(first, end))
        for frames in (range(first - 1, -1, -1), range(end, len(looks))):
            last = FLAT_PLATE
            for frame in frames:
                if looks[frame].contrast < last:
                    break
                found.add(frame)
                last = looks[frame].contrast
    return found


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
    least = float(limits["first_frame"]["found"])
    if change.share < least:
        value = f"{change.share:.0%} of the plate is found again"
        return [finding("first_frame", severity, (0, 1), value, f"{least:.0%}")]
    mean = float(plate.luma.mean())
    moved = {"luma": mean * math.expm1(change.luma), "Cb": change.blue, "Cr": change.red}
    name, by = max(moved.items(), key=lambda entry: abs(entry[1]))
    if abs(by) > off:
        return [finding("first_frame", severity, (0, 1), f"{name} is {by:+.1f}/255 from the plate's", f"{off:g}/255")]
    gained, most = math.expm1(change.saturation), float(limits["first_frame"]["saturation"])
    if abs(gained) > most:
        value = f"saturation is {gained:+.1%} from the plate's"
        return [finding("first_frame", severity, (0, 1), value, f"{most:.1%}")]
    return []


def _drift(keys: Sequence[Key], known: Known, limits: Limits) -> list[Finding]:
    """Of each part between two cuts."""
    severity = limits.severity("drift")
    if severity is None or known.arrives:
        return []
    parts = ([*part] for _, part in groupby(keys, key=lambda key: key.part))
    return [one for part in parts if len(part) > 1 for one in _drifted(part, severity, limits)]


def _drifted(keys: Sequence[Key], severity: Severity, limits: Limits) -> list[Finding]:
    """The greatest distance from where the chain began, if the measurement is sure of it."""
    first = keys[0].index
    most, cast, steady = (float(limits["drift"][key]) for key in ("saturation", "cast", "steady"))
    saturation = _lasting([key.change.saturation for key in keys])
    at = max(range(len(keys)), key=lambda number: abs(saturation[number]))
    gained, spread = math.expm1(saturation[at]), keys[at].change.spread
    if abs(gained) > most and abs(gained) > steady * spread:
        value = f"saturation {gained:+.1%} by frame {keys[at].index + 1001}"
        return [finding("drift", severity, (first, keys[at].index + 1), value, f"{most:.1%}")]
    blue = _lasting([key.change.blue for key in keys])
    red = _lasting([key.change.red for key in keys])
    at = max(range(len(keys)), key=lambda number: math.hypot(blue[number], red[number]))
    by = math.hypot(blue[at], red[at])
    if by > cast:
        value = f"colour {by:.1f}/255 from where it began by frame {keys[at].index + 1001}"
        return [finding("drift", severity, (first, keys[at].index + 1), value, f"{cast:g}/255")]
    return []


def _lasting(values: Sequence[float]) -> list[float]:
    """What each key, since the first, shares with the one behind it (the last: before it): a flash is no drift."""
    own = [value - values[0] for value in values]
    if len(own) < 3:
        return own
    pairs = [*pairwise(own), (own[-1], own[-2])]
    return [min(pair, key=abs) if pair[0] * pair[1] > 0 else 0.0 for pair in pairs]
