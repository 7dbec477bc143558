"""How long a row's shot is, and its handles: columns that say the same in several ways.

Knows: frames, ranges that hold both ends, seconds, the heads and tails of trackers. Does not know: models, plates.
Memory: one row.
"""

from __future__ import annotations

from fractions import Fraction

from catalogs import columns
from catalogs.shot import LONGEST
from catalogs.shotrow import Cells, ShotRow
from catalogs.timebase import frames_for, rate_display

DECIDING = (
    *("frames", "frame_in", "frame_out", "seconds", "fps"),
    *("handles", "handle_start", "handle_end", "head_in", "tail_out"),
)
"""Columns without which nobody can say how long a shot is."""


def handles_of(row: Cells, told: ShotRow) -> int:
    """Handles in delivery frames: the column's own, else what a tracker's two ends say if they are equal."""
    if row.text("handles"):
        return told.handles or 0
    head, tail, column = told.handle_start, told.handle_end, "handle_start"
    if not row.text("handle_start") and not row.text("handle_end"):
        column = "head_in"
        head = _distance(row, "head_in", told.head_in, "frame_in", told.frame_in)
        tail = _distance(row, "tail_out", told.frame_out, "frame_out", told.tail_out)
    if row.wrong & {"handle_start", "handle_end", "head_in", "tail_out"}:
        return 0
    if (head or 0) != (tail or 0):
        row.add("E345", column, {"head": head or 0, "tail": tail or 0})
    return head or 0


def _distance(row: Cells, column: str, first: int | None, other: str, last: int | None) -> int | None:
    """Frames of a handle between two frame numbers; None where the list names no such handle."""
    if not row.text(column) or not row.text(other):
        return None
    if first is None or last is None:  # a cell that is wrong, which is told
        return None
    if not 0 <= last - first <= columns.MOST_HANDLES:
        low, high = (
            (last - columns.MOST_HANDLES, last) if column == "head_in" else (first, first + columns.MOST_HANDLES)
        )
        row.add("E307", column, {"low": max(0, low), "high": high})
        return None
    return last - first


def length_column(row: Cells) -> str:
    """The column that a complaint about the length is told at."""
    return next((name for name in ("frames", "frame_out", "seconds") if row.text(name)), "frames")


def length_of(row: Cells, told: ShotRow, rate: Fraction) -> int | None:
    """Delivery frames without handles, from whichever columns give them; all that do must agree."""
    if not any(row.text(name) for name in ("frames", "frame_in", "frame_out", "seconds")):
        row.add("E309", "frames")
        return None
    found = {
        "frames": told.frames,
        "frame_out": _length_of_range(row, told),
        "seconds": _length_of_seconds(row, told, rate),
    }
    if told.frames and found["frame_out"] == told.frames + 1:
        # Kitsu's own lists count so: the last frame number is the first one of the next shot
        row.add("W306", "frames", {"frames": told.frames, "other": told.frames + 1})
        found["frame_out"] = told.frames
    lengths = {name: frames for name, frames in found.items() if frames is not None}
    if len(set(lengths.values())) > 1:
        (first, frames), *others = lengths.items()
        for name, other in others:
            if other != frames:
                detail = f"{row.headers.get(name, name)}, which makes {other} frames"
                row.add("E310", first, {"detail": detail})
    return next(iter(lengths.values()), None)


def _length_of_range(row: Cells, told: ShotRow) -> int | None:
    for one, other in (("frame_in", "frame_out"), ("frame_out", "frame_in")):
        if row.text(one) and not row.text(other):
            row.add("E311", one, {"name": other})
            return None
    first, last = told.frame_in, told.frame_out
    if first is None or last is None:
        return None
    if last < first:
        row.add("E312", "frame_out")
        return None
    if last - first + 1 > LONGEST:
        row.add("E307", "frame_out", {"low": first, "high": first + LONGEST - 1})
        return None
    return last - first + 1


def _length_of_seconds(row: Cells, told: ShotRow, rate: Fraction) -> int | None:
    asked = told.seconds
    if asked is None:
        return None
    frames = frames_for(asked, rate)
    if asked * rate < Fraction(1, 2) or frames > LONGEST:
        high = f"{float(LONGEST / rate):g} s ({LONGEST} frames)"
        row.add("E307", "seconds", {"low": f"{float(1 / rate):.3f} s (1 frame)", "high": high})
        return None
    if frames != asked * rate:
        words = {"seconds": row.text("seconds"), "rate": rate_display(rate), "frames": frames}
        row.add("W302", "seconds", words)
    return frames
