"""What of a home's work may be deleted, and what that costs. Pure: how shots stand and what lies there in, a plan out.

Knows: when the work of a shot is over. Does not know: the catalogue, folders, how anything is deleted (flows.cleaning).
Memory: O(folders).

    published   work folders of shots in review or approved whose published version is there: windows, join, master.
                Only a take that could have used them again pays: it makes its windows anew
    omitted     work folders of shots that were taken out of the show
    attempts    what attempts left that ended in the middle, in work folders that stay, and half-deleted folders
    evidence    last words of processes that are gone, in batches/hung

Everything else stays, whatever its age: the work of a shot that is ready, rendering, retake, failed or quarantined, or
that a render or the open batch has; folders of shots that this catalogue does not know; everything published; reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Status

PUBLISHED, OMITTED, ATTEMPTS, EVIDENCE = "published", "omitted", "attempts", "evidence"
KINDS: Final = (PUBLISHED, OMITTED, ATTEMPTS, EVIDENCE)
"""What may be deleted, in the order in which it is told."""
DAY: Final = 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a shot stands."""

    status: Status
    taken: bool
    """Whether somebody has an open attempt at it, or the batch that is open had one."""
    published: bool
    """Whether the manifest of its newest take lies where the catalogue says."""
    generate_seconds: float
    """Wall seconds that the windows of its newest take took."""


@dataclass(frozen=True, slots=True)
class Found:
    """A folder or a file that could be deleted."""

    path: Path
    """Absolute path."""
    shot: str
    """`SHOW/CODE` of the shot whose work it is; empty for evidence."""
    part: str
    """`take` (a take's work folder, or another file of the shot's work), `attempt`, or `evidence`."""
    bytes: int
    """What deleting it frees: a file that is published under another name too frees nothing."""
    changed: float
    """When anything in it was last written, seconds of the system's clock."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """Something that may go."""

    found: Found
    kind: str
    """One of KINDS."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What may go, and what stays."""

    doomed: tuple[Doomed, ...]
    """In the order of KINDS, then of paths."""
    kept: Mapping[str, tuple[int, int]]
    """Why something stays -> (how much of it there is, bytes)."""
    generate_seconds: float
    """What the windows among it once took: the price of a take that could have used them again."""


def plan_cleaning(
    found: Iterable[Found], standings: Mapping[str, Standing], *, gone: Iterable[str], now: float, older_than: float
) -> Cleaning:
    """What of `found` may be deleted. `standings` are by `SHOW/CODE`; `gone` are stems of evidence whose runs ended.

    `older_than` is in seconds: nothing goes that was written since. Parts of a folder that goes are not named again.
    """
    ended = frozenset(gone)
    doomed: list[Doomed] = []
    kept: dict[str, list[int]] = {}
    for one in sorted(found, key=lambda one: one.path):
        if any(whole.found.path in one.path.parents for whole in doomed):
            continue
        kind, stays = _judged(one, standings, ended)
        if not stays and now - one.changed < older_than:
            stays = f"written in the last {older_than / DAY:g} days"
        if not stays:
            doomed.append(Doomed(one, kind))
        elif one.part != "attempt":  # its bytes are the folder's, which stays
            kept.setdefault(stays, []).append(one.bytes)
    doomed.sort(key=lambda one: (KINDS.index(one.kind), one.found.path))
    shots = {one.found.shot for one in doomed if one.kind == PUBLISHED}
    return Cleaning(
        tuple(doomed),
        {why: (len(sizes), sum(sizes)) for why, sizes in kept.items()},
        math.fsum(standings[shot].generate_seconds for shot in sorted(shots)),
    )


def _judged(one: Found, standings: Mapping[str, Standing], ended: frozenset[str]) -> tuple[str, str]:
    """Its kind, and why it stays; empty if it need not."""
    if one.part == "evidence":
        return EVIDENCE, "" if one.path.stem in ended else "evidence of runs that are at work"
    stands = standings.get(one.shot)
    if stands is None:
        return "", "not a shot of this catalogue"
    if stands.taken:
        return "", "a render or the open batch has the shot"
    if stands.status is Status.OMITTED:
        return (ATTEMPTS if one.part == "attempt" else OMITTED), ""
    if stands.status not in (Status.REVIEW, Status.APPROVED):
        return "", f"the shot is {stands.status}"
    if one.part == "attempt":
        return ATTEMPTS, ""
    return PUBLISHED, "" if stands.published else "its published version is not where the catalogue says"


def cleaning_json(
    plan: Cleaning, *, deleted: Sequence[Doomed] | None, older_than: float, free_bytes: int
) -> dict[str, Any]:
    """The document of `dailies clean --json`. `deleted` is what was deleted; None for a dry run."""
    shown = plan.doomed if deleted is None else deleted
    return {
        "dry_run": deleted is None,
        "older_than_days": older_than / DAY,
        "kinds": {
            kind: {
                "count": sum(one.kind == kind for one in shown),
                "bytes": sum(one.found.bytes for one in shown if one.kind == kind),
                "shots": sorted({one.found.shot for one in shown if one.kind == kind and one.found.shot}),
                "paths": [str(one.found.path) for one in shown if one.kind == kind],
            }
            for kind in KINDS
        },
        "bytes": sum(one.found.bytes for one in shown),
        "kept": [{"why": why, "count": count, "bytes": size} for why, (count, size) in sorted(plan.kept.items())],
        "left": [] if deleted is None else [str(one.found.path) for one in plan.doomed if one not in set(deleted)],
        "generate_seconds": round(plan.generate_seconds, 1),
        "free_bytes": free_bytes,
    }
