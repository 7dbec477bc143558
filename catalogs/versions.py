"""Every version of every shot, in the order of the cut: what is exported for editors and coordinators.

Knows: shots, takes and the times that the catalogue keeps of them. Does not know: timelines, files, manifests.
Memory: every take of the shots asked for, with findings; a few kilobytes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from catalogs.errors import CatalogueError
from catalogs.footage import Status, Take
from catalogs.rows import fold, shot_value, take_value
from catalogs.shot import Shot
from catalogs.tables import ShotRow, TakeRow

NO_SEQUENCE: Final = "_"
"""How a folder or an option names the shots without a sequence; no code looks like it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One take, and what its own plan said: the shot may have been submitted anew since."""

    take: Take
    rate: Fraction
    """Delivery rate in frames per second, exact."""
    frames: int
    """Delivery frames, handles included."""
    handles: int
    """Of them, frames at each end."""
    started: datetime
    """When the take began; aware."""
    finished: datetime | None
    """When it ended, well or not; None while it is at work."""


@dataclass(frozen=True, slots=True)
class ShotVersions:
    """A shot and all its versions."""

    shot: Shot
    status: Status
    place: int
    """Rises in the order in which lists brought the shots in, within a list by row."""
    versions: tuple[Version, ...]
    """Oldest first."""


def shot_versions(session: Session, *, show: str | None, sequence: str | None) -> list[ShotVersions]:
    """Shots of a show and a sequence (`_` for none, both in any case) by show, sequence and place.

    Raises CatalogueError, naming what there is, if no shot is that.
    """
    query = select(ShotRow).options(
        selectinload(ShotRow.takes).selectinload(TakeRow.deliverables),
        selectinload(ShotRow.takes).selectinload(TakeRow.findings),
    )
    if show is not None:
        query = query.where(ShotRow.show_folded == fold(show))
    rows = session.scalars(query.order_by(ShotRow.id)).all()
    if show is not None and not rows:
        known = session.scalars(select(ShotRow.show).distinct().order_by(ShotRow.show)).all()
        raise CatalogueError(f"there is no show {show!r}; {_named('show', known)}")
    if sequence is not None:
        wanted = "" if sequence == NO_SEQUENCE else fold(sequence)
        known = sorted({row.sequence or NO_SEQUENCE for row in rows})
        rows = [row for row in rows if fold(row.sequence) == wanted]
        if not rows:
            raise CatalogueError(f"there is no sequence {sequence!r}; {_named('sequence', known)}")
    found = [
        ShotVersions(shot_value(row), Status(row.status), row.id, tuple(version_value(take) for take in row.takes))
        for row in rows
    ]
    return sorted(found, key=lambda one: (fold(one.shot.show), fold(one.shot.sequence), one.place))


def _named(what: str, known: Sequence[str]) -> str:
    return f"the catalogue has {', '.join(known)}" if known else f"the catalogue has no {what}: submit a shot list"


def version_value(row: TakeRow) -> Version:
    """The version in a row of a take, with its deliverables where they lie now."""
    plan, asked = row.plan, shot_value(row.shot)
    take = take_value(row)
    if take.manifest is not None:
        # catalogues of earlier releases name the files in the work folder, which is swept; they lie beside the manifest
        beside = take.manifest.parent
        take = replace(take, deliverables=tuple(replace(one, path=beside / one.path.name) for one in take.deliverables))
    return Version(
        take=take,
        rate=Fraction(plan.get("rate", asked.rate)),
        frames=plan.get("frames", asked.total_frames),
        handles=plan.get("handles", asked.handles),
        started=row.started_at,
        finished=row.finished_at,
    )
