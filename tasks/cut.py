"""Which version of each shot stands in a cut, and which of its files. Pure.

Knows: verdicts, kinds of deliverables, orders. Does not know: timelines, files on disk, the catalogue.

A cut shows every shot that was not omitted, in order. A shot whose version nobody approved is a hole of the length
that was asked for, and says why: an editor would rather see black than a take that was never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from catalogs.footage import Deliverable, Status
from catalogs.shot import Shot, slate
from catalogs.versions import NO_SEQUENCE, ShotVersions, Version

BEST: Final = ("prores", "h265", "h264", "webm", "exr", "png")
"""Which deliverable an editor is given, the first that there is: films before pictures, which play slowly."""

ORDERS: Final = ("list", "code")
"""Orders of a cut: as lists brought the shots in, or by their codes, numbers in them by value."""

_DIGITS: Final = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One shot's place in a cut."""

    shot: Shot
    rate: Fraction
    """Frames per second of the version, or of the shot where there is none."""
    frames: int
    """Length in the cut, without handles."""
    version: Version | None
    """What stands there; None for a hole."""
    deliverable: Deliverable | None
    """The version's file; None for a hole."""
    why: str = ""
    """Why it is a hole; empty if it is none."""

    @property
    def slate(self) -> str:
        """`AGM_SQ010_SH0010_v003`, or the shot's name for a hole."""
        if self.version is None:
            return slate(self.shot.show, self.shot.sequence, self.shot.code, 0).removesuffix("_v000")
        return slate_of(self.version)


@dataclass(frozen=True, slots=True)
class Cut:
    """One sequence of a show."""

    show: str
    sequence: str
    """Empty for the shots that have none."""
    entries: tuple[Entry, ...]
    """In the order of the cut; at least one."""

    @property
    def name(self) -> str:
        """`AGM_SQ010`; `AGM` for the shots without a sequence."""
        return "_".join(part for part in (self.show, self.sequence) if part)

    @property
    def rates(self) -> tuple[Fraction, ...]:
        """Every rate in it, the first shot's first."""
        return tuple(dict.fromkeys(entry.rate for entry in self.entries))

    @property
    def folder(self) -> str:
        """The sequence as folders and options name it."""
        return self.sequence or NO_SEQUENCE


def slate_of(version: Version) -> str:
    """The slate of a version, as its files are named."""
    take = version.take
    return slate(take.show, take.sequence, take.code, take.version)


def natural(code: str) -> tuple[tuple[int, str], ...]:
    """How codes compare for people: `SH2` before `SH10`, without case."""
    parts = _DIGITS.split(code.lower())
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts if part)


def cuts(
    shots: Sequence[ShotVersions], *, latest: bool = False, kind: str = "", order: str = "list"
) -> tuple[Cut, ...]:
    """One cut for each sequence, in the order given. Omitted shots are left out.

    `latest` takes the newest version that was published, approved or not. `kind` is the deliverable wanted, empty for
    the first of BEST. `order` is one of ORDERS.
    """
    grouped: dict[tuple[str, str], list[ShotVersions]] = {}
    for one in shots:
        if one.status is not Status.OMITTED:
            grouped.setdefault((one.shot.show, one.shot.sequence), []).append(one)
    made = []
    for (show, sequence), members in grouped.items():
        if order == "code":
            members = sorted(members, key=lambda one: natural(one.shot.code))
        made.append(Cut(show, sequence, tuple(_entry(one, latest=latest, kind=kind) for one in members)))
    return tuple(made)


def best_of(version: Version, kind: str = "") -> Deliverable | None:
    """The deliverable of that kind, or without a kind the first of BEST, else whatever there is; None without any.

    Of several of a kind it is the one that the shot list names first; review copies come last.
    """
    files = version.take.deliverables
    kinds = (kind,) if kind else (*BEST, *(one.kind for one in files))
    # words that stand in a file's name tell copies that nobody shall cut from
    clean = [one for one in files if not any(f"_{word}" in one.path.stem for word in ("slate", "burnin", "review"))]
    return next((one for some in (clean, files) for wanted in kinds for one in some if one.kind == wanted), None)


def _entry(one: ShotVersions, *, latest: bool, kind: str) -> Entry:
    standing = (Status.APPROVED, Status.REVIEW) if latest else (Status.APPROVED,)
    found = [version for version in one.versions if version.take.status in standing and version.take.deliverables]
    if not found:
        wanted = "published" if latest else "approved"
        return Entry(one.shot, one.shot.rate, one.shot.frames, None, None, f"no {wanted} version, it is {one.status}")
    version = found[-1]
    deliverable = best_of(version, kind)
    if deliverable is None:
        kinds = ", ".join(part.kind for part in version.take.deliverables)
        return Entry(
            one.shot,
            one.shot.rate,
            one.shot.frames,
            None,
            None,
            f"v{version.take.version:03d} has no {kind}, but {kinds}",
        )
    return Entry(one.shot, version.rate, version.frames - 2 * version.handles, version, deliverable)
