"""What templates show, as plain values: words, addresses, places on a timeline. Pure: catalogue values in, dicts out.

Knows: how people read rates, lengths and versions; the desk's own addresses. Does not know: HTML, requests, files.
Memory: one page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from catalogs.footage import Finding, Severity, Status
from catalogs.shot import Shot
from catalogs.tiles import Tile, Wanted
from catalogs.timebase import FIRST_FRAME, rate_display
from catalogs.verdict import Decision, Verdict
from catalogs.versions import Version
from desk.web.media import PLAYS

ALL: Final = "all"
"""What a filter says for everything, where saying nothing means something else."""

SEVERITIES: Final = (Severity.BLOCKER, Severity.ISSUE, Severity.FYI)


def shot_address(name: str, version: int = 0) -> str:
    """The page of a shot, of one version if it is named."""
    show, _, code = name.partition("/")
    return f"/shots/{quote(show)}/{quote(code)}" + (f"?v={version}" if version else "")


def media_address(name: str, version: int, part: str) -> str:
    """A part of a published version."""
    show, _, code = name.partition("/")
    return f"/media/{quote(show)}/{quote(code)}/{version}/{part}"


def filter_address(wanted: Mapping[str, str], **changed: str) -> str:
    """The grid with some filters changed; empty ones are left out."""
    query = {name: value for name, value in {**wanted, **changed}.items() if value}
    return f"/?{urlencode(query)}" if query else "/"


def tile(one: Tile) -> dict[str, Any]:
    """A shot as a tile."""
    return {
        "name": one.name,
        "slate": one.slate,
        "address": shot_address(one.name),
        "status": one.status.value,
        "error": one.error,
        "length": length(one.frames, one.rate),
        "poster": media_address(one.name, one.version, "poster") if one.version else "",
        "preview": media_address(one.name, one.version, "preview") if one.version else "",
        "behind": one.newest > one.version > 0,
        "newest": f"v{one.newest:03d}",
        "findings": counted(one.findings),
        "codes": ", ".join(one.codes),
    }


def counted(findings: Mapping[Severity, int]) -> list[dict[str, Any]]:
    """Findings by severity, the worst first; none for a severity that is not there."""
    return [
        {"severity": severity.value, "count": findings[severity], "words": plural(findings[severity], severity.value)}
        for severity in SEVERITIES
        if findings.get(severity)
    ]


def plural(count: int, noun: str) -> str:
    """`1 issue`, `3 issues`, `2 fyi`."""
    return f"{count} {noun}{'' if count == 1 or noun == Severity.FYI else 's'}"


def length(frames: int, rate: Fraction) -> str:
    """`156 f, 6.5 s, 24 fps`."""
    return f"{frames} f, {float(frames / rate):.1f} s, {rate_display(rate)} fps"


def size(count: int) -> str:
    """`26 MB`, `680 kB`: as exactly as anybody cares."""
    return (
        f"{count / 1e6:.0f} MB"
        if count >= 10_000_000
        else f"{count / 1e6:.1f} MB"
        if count >= 1_000_000
        else f"{count / 1e3:.0f} kB"
    )


def moment(at: datetime | None, zone: str) -> str:
    """A time as people of the zone read it; empty for none."""
    return "" if at is None else at.astimezone(ZoneInfo(zone)).strftime("%a %d %b %H:%M")


def wanted_from(query: Mapping[str, str], *, night: str, limit: int) -> Wanted:
    """Filters of the address as the catalogue takes them. Raises ValueError, a sentence, for a status or page that is
    none."""
    status, page = query.get("status", ""), query.get("page", "") or "1"
    if status and status not in set(Status):
        raise ValueError(f"there is no status {status!r}; use {', '.join(Status)}")
    if not (page.isascii() and page.isdigit() and len(page) < 9 and int(page) > 0):
        raise ValueError(f"there is no page {page!r}; pages are numbered from 1")
    sequence = query.get("sequence", "")
    return Wanted(
        show=query.get("show", ""),
        sequence=None if not sequence else "" if sequence == "_" else sequence,
        statuses=(Status(status),) if status else (),
        finding=query.get("finding", ""),
        batch=night,
        code=query.get("code", ""),
        limit=limit,
        offset=(int(page) - 1) * limit,
    )


def shown_version(versions: Sequence[Version], number: int) -> Version | None:
    """The version of that number; for 0 the newest published one, else the newest of all; None if there is none."""
    if number:
        return next((one for one in versions if one.take.version == number), None)
    published = [one for one in versions if one.take.manifest is not None]
    newest = published or versions
    return newest[-1] if newest else None


def player(name: str, version: Version, *, marks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the player needs of a version; None if it has nothing that a browser plays."""
    take = version.take
    places = {one.kind: place for place, one in reversed(list(enumerate(take.deliverables)))}
    kind = next((kind for kind in PLAYS if kind in places), None)
    if kind is None or take.manifest is None:
        return None
    film = take.deliverables[places[kind]]
    return {
        "film": media_address(name, take.version, f"film-{places[kind]}"),
        "kind": kind,
        "frames": film.frames,
        "rate": f"{version.rate.numerator}/{version.rate.denominator}",
        "first": FIRST_FRAME - (film.frames - version.frames),  # a slate stands before the first frame
        "width": film.width,
        "height": film.height,
        "marks": list(marks),
    }


def marks(findings: Sequence[Finding], seams: Sequence[Mapping[str, Any]], frames: int) -> list[dict[str, Any]]:
    """Places on a timeline of `frames` frames: seams, and findings that are not about the whole shot."""
    placed = [
        {"kind": "seam", "frame": int(one["frame"]), "frames": 1, "words": f"seam at {FIRST_FRAME + int(one['frame'])}"}
        for one in seams
        if isinstance(one.get("frame"), int) and 0 <= one["frame"] < frames
    ]
    for one in findings:
        first, last = max(0, one.frame_in), min(frames, max(one.frame_out, one.frame_in + 1))
        if first < last and (first, last) != (0, frames):
            words = f"{one.severity.value}: {one.code} {FIRST_FRAME + first} to {FIRST_FRAME + last - 1}"
            placed.append({"kind": one.severity.value, "frame": first, "frames": last - first, "words": words})
    return placed


def finding_row(one: Finding, frames: int) -> dict[str, Any]:
    """A finding as a line of a table, with the frame at which to look."""
    whole = one.frame_in <= 0 and one.frame_out >= frames
    last = max(one.frame_in, one.frame_out - 1)
    where = f"{FIRST_FRAME + one.frame_in}" + (f" to {FIRST_FRAME + last}" if last > one.frame_in else "")
    return {
        "severity": one.severity.value,
        "code": one.code,
        "where": "the whole shot" if whole else where,
        "frame": one.frame_in,
        "value": one.value,
        "limit": one.limit,
        "subject": one.subject,
    }


def request_rows(shot: Shot, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the version was made from, as its manifest says, else as it is asked for now: (name, words)."""
    asked = document.get("shot", {})
    plan, engine = document.get("plan", {}), document.get("engine", {})
    took = document.get("take", {})
    size = f"{plan['delivery_width']}x{plan['delivery_height']}" if plan.get("delivery_width") else ""
    rows = [
        ("prompt", asked.get("prompt", shot.prompt)),
        ("negative prompt", plan.get("negative_prompt") or asked.get("negative_prompt", shot.negative_prompt)),
        ("camera", asked.get("camera", shot.camera)),
        ("model", plan.get("model", shot.model)),
        ("engine", engine.get("engine", "")),
        ("seed", str(took.get("seed", "" if shot.seed is None else shot.seed))),
        ("steps", str(plan.get("steps") or "")),
        ("guidance", str(plan.get("guidance") or "")),
        ("size", size),
        ("windows", str(len(plan.get("windows", ())) or "")),
        ("retimed by", document.get("retime", {}).get("engine", "")),
        ("notes", asked.get("notes", shot.notes)),
        ("submitted by", asked.get("submitted_by", shot.submitted_by)),
        *[(str(name), str(value)) for name, value in dict(asked.get("metadata") or dict(shot.metadata)).items()],
    ]
    return [(name, str(words)) for name, words in rows if words]


WORDS: Final[Mapping[Decision, str]] = {
    Decision.APPROVE: "approved",
    Decision.OMIT: "omitted",
    Decision.RETAKE: "sent back",
    Decision.UNDO: "taken back",
}
"""What a verdict is called once it was given."""


def verdict_row(one: Verdict, zone: str) -> dict[str, Any]:
    """A verdict as a line of the history."""
    what = f"{WORDS[one.decision]}: {one.undoes.value}" if one.undoes else WORDS[one.decision]
    return {
        "what": what,
        "version": f"v{one.version:03d}" if one.version else "",
        "by": one.by,
        "at": moment(one.at, zone),
        "note": one.note,
        "undone": one.undone,
        "changes": [
            {"field": change.field.replace("_", " "), "old": str(change.old or ""), "new": str(change.new or "")}
            for change in one.changes
        ],
    }


def retake_fields(shot: Shot) -> list[dict[str, str]]:
    """What a retake may change, with what stands there now; empty for the model's own."""
    names = ("prompt", "negative_prompt", "camera", "seed", "steps", "guidance")
    held = {name: getattr(shot, name) for name in names}
    return [
        {"name": name, "label": name.replace("_", " "), "value": "" if value in (None, "") else f"{value}"}
        for name, value in held.items()
    ]


def file_rows(name: str, version: Version) -> list[dict[str, str]]:
    """Deliverables with their addresses."""
    take = version.take
    return [
        {
            "kind": one.kind,
            "file": one.path.name,
            "address": ""
            if one.kind in ("png", "exr")
            else media_address(name, take.version, f"film-{place}") + "?save=1",
            "words": f"{one.codec} {one.pix_fmt}, {one.width}x{one.height}, {one.frames} f, {size(one.bytes)}",
        }
        for place, one in enumerate(take.deliverables)
    ]
