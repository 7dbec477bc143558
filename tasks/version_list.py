"""The versions of a show as a CSV: one row each, for coordinators who count and chase. Pure.

Knows: the columns. Does not know: files, the catalogue. Memory: the text of the list.
It is a report, not a shot list: it cannot be submitted, and changing it changes nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from catalogs.footage import Deliverable, Finding, Severity
from catalogs.shotlist import harmless
from catalogs.timebase import FIRST_FRAME, has_timecode, rate_text, timecode
from catalogs.versions import ShotVersions, Version
from tasks.cut import best_of, slate_of
from tasks.naming import start_timecode
from tasks.timeline import lead_of

COLUMNS: Final = (
    "show",
    "sequence",
    "shot",
    "version",
    "slate",
    "status",
    "shot_status",
    "kind",
    "path",
    "frames",
    "handles",
    "rate",
    "timecode_in",
    "timecode_out",
    "file_frames",
    "file_timecode_in",
    "width",
    "height",
    "codec",
    "bytes",
    "sha256",
    "blockers",
    "issues",
    "findings",
    "started",
    "finished",
    "submitted_by",
    "manifest",
    "error",
)
"""Columns in order. `frames`, `timecode_in` and `timecode_out` are the picture's, handles counted, the last of them the
frame after the last, as in an EDL. `file_frames` and `file_timecode_in` are the file's, with its slate if it has one.
Findings name frames from 1001, both ends shown."""


def version_list(shots: Sequence[ShotVersions], *, kind: str = "") -> str:
    """The list as text, lines ended as spreadsheets do. What would run as a formula begins with an apostrophe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in shots:
        for version in one.versions:
            row = _row(one, version, kind)
            writer.writerow([harmless(row[column]) for column in COLUMNS])
    return text.getvalue()


def _row(one: ShotVersions, version: Version, kind: str) -> dict[str, str]:
    take, file = version.take, best_of(version, kind)
    grave = [finding.severity for finding in take.findings]
    first, after = _timecodes(version)
    return {
        "show": take.show,
        "sequence": take.sequence,
        "shot": take.code,
        "version": f"v{take.version:03d}",
        "slate": slate_of(version),
        "status": take.status.value,
        "shot_status": one.status.value,
        "kind": file.kind if file else "",
        "path": str(file.path) if file else "",
        "frames": str(version.frames),
        "handles": str(version.handles),
        "rate": rate_text(version.rate),
        "timecode_in": first,
        "timecode_out": after,
        "file_frames": str(file.frames) if file else "",
        "file_timecode_in": _file_timecode(version, file) if file else "",
        "width": str(file.width) if file else "",
        "height": str(file.height) if file else "",
        "codec": file.codec if file else "",
        "bytes": str(file.bytes) if file else "",
        "sha256": file.sha256 if file else "",
        "blockers": str(grave.count(Severity.BLOCKER)),
        "issues": str(grave.count(Severity.ISSUE)),
        "findings": "; ".join(
            f"{found.code} {found.severity} {_frames(found)}: {found.value}" for found in take.findings
        ),
        "started": _time(version.started),
        "finished": _time(version.finished),
        "submitted_by": one.shot.submitted_by,
        "manifest": str(take.manifest or ""),
        "error": take.error,
    }


def _timecodes(version: Version) -> tuple[str, str]:
    """Timecode of the first frame and of the one after the last; empty at a rate that has none."""
    if not has_timecode(version.rate):
        return "", ""
    return timecode(FIRST_FRAME, version.rate), timecode(FIRST_FRAME + version.frames, version.rate)


def _file_timecode(version: Version, file: Deliverable) -> str:
    """Timecode of a file's first frame, its slate; empty where its container or the rate has none."""
    return start_timecode(file.kind, ("slate",) if lead_of(version, file) else (), version.rate)


def _frames(found: Finding) -> str:
    """The frames of a finding as people count them: from 1001, the last one shown."""
    first, last = FIRST_FRAME + found.frame_in, FIRST_FRAME + found.frame_out - 1
    return str(first) if last <= first else f"{first}-{last}"


def _time(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else ""
