"""Shots as a review shows them side by side: one tile each, from columns alone, a page at a time.

Knows: the newest version that there is to look at, its findings by severity, filters, cut order. Does not know: files,
plans, pages of HTML. Memory: one page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from catalogs.footage import Severity, Status
from catalogs.rows import fold
from catalogs.shot import slate
from catalogs.tables import AttemptRow, BatchRow, DeliverableRow, FindingRow, ShotRow, TakeRow

MOST: Final = 500
"""Tiles of a page."""

ANY_FINDING: Final = "any"
"""What `Wanted.finding` is for every issue and blocker, whatever its code."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which shots somebody wants to see; empty fields want all."""

    show: str = ""
    """In any case."""
    sequence: str | None = None
    """In any case; empty for the shots without one, None for all."""
    statuses: tuple[Status, ...] = ()
    finding: str = ""
    """A code that the shown version must have as issue or blocker, or ANY_FINDING."""
    batch: str = ""
    """Only shots that this night has tried."""
    code: str = ""
    """A part of the shot's code, in any case."""
    limit: int = MOST
    """Tiles at most."""
    offset: int = 0
    """How many are passed over."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One shot of a page."""

    show: str
    sequence: str
    code: str
    status: Status
    error: str
    """Why it failed; empty if it did not."""
    version: int
    """The newest that was published, the one to look at; 0 if there is none."""
    newest: int
    """The newest of all, be it at work or failed; 0 if there is none."""
    slate: str
    """Of the version to look at, else of the newest, else the shot's without a version."""
    frames: int
    """Delivery frames, handles included, as asked for now."""
    rate: Fraction
    """Delivery rate in frames per second, as asked for now."""
    finished: datetime | None
    """When the version to look at was published."""
    findings: dict[Severity, int]
    """Of the version to look at."""
    codes: tuple[str, ...]
    """Codes of its issues and blockers, without repeats."""
    kinds: tuple[str, ...]
    """Kinds of its deliverables."""

    @property
    def name(self) -> str:
        """`SHOW/CODE`."""
        return f"{self.show}/{self.code}"


@dataclass(frozen=True, slots=True)
class TilePage:
    """Some of the shots that were wanted, in cut order."""

    tiles: tuple[Tile, ...]
    total: int
    """How many were wanted."""


@dataclass(frozen=True, slots=True)
class Shelves:
    """What there is to choose from."""

    shows: tuple[str, ...]
    sequences: tuple[tuple[str, str], ...]
    """(show, sequence) in order; an empty sequence for shots without one."""
    batches: tuple[str, ...]
    """The newest nights first, thirty at most."""
    codes: tuple[str, ...]
    """Codes of findings that some version has as issue or blocker."""


_ASKED: Final = ("show", "sequence", "code", "status", "error", "frames", "handles", "rate")
"""Columns of a shot that a tile needs: prompts and plates stay in the database."""

_SERIOUS: Final = [Severity.ISSUE.value, Severity.BLOCKER.value]


def tiles(session: Session, wanted: Wanted) -> TilePage:
    """A page of tiles by show, sequence and the order in which lists brought the shots in."""
    seen = aliased(TakeRow)
    versions = (
        select(
            TakeRow.shot_id,
            func.max(TakeRow.version).label("newest"),
            func.max(TakeRow.version).filter(TakeRow.manifest.is_not(None)).label("shown"),
        )
        .group_by(TakeRow.shot_id)
        .subquery()
    )
    asked = tuple(getattr(ShotRow, name) for name in _ASKED)
    joined: Select[Any] = (
        select(seen.id, seen.version, seen.sequence, seen.finished_at, versions.c.newest, *asked)
        .select_from(ShotRow)
        .outerjoin(versions, versions.c.shot_id == ShotRow.id)
        .outerjoin(seen, and_(seen.shot_id == ShotRow.id, seen.version == versions.c.shown))
        .where(*_conditions(wanted, seen.id))
    )
    total = session.scalar(select(func.count()).select_from(joined.with_only_columns(ShotRow.id).subquery())) or 0
    order = (ShotRow.show_folded, func.lower(ShotRow.sequence), ShotRow.id)
    rows = session.execute(joined.order_by(*order).limit(min(wanted.limit, MOST)).offset(wanted.offset)).all()
    takes = [row[0] for row in rows if row[0] is not None]
    findings, codes, kinds = _findings(session, takes)
    return TilePage(
        tuple(
            _tile(row, findings=findings.get(row[0], {}), codes=codes.get(row[0], ()), kinds=kinds.get(row[0], ()))
            for row in rows
        ),
        total,
    )


def shelves(session: Session) -> Shelves:
    """What a review can be narrowed to."""
    pairs = session.execute(select(ShotRow.show, ShotRow.sequence).distinct()).all()
    ordered = sorted(((show, sequence) for show, sequence in pairs), key=lambda pair: (fold(pair[0]), fold(pair[1])))
    found = select(FindingRow.code).where(FindingRow.severity.in_(_SERIOUS)).distinct().order_by(FindingRow.code)
    return Shelves(
        shows=tuple(dict.fromkeys(show for show, _ in ordered)),
        sequences=tuple(ordered),
        batches=tuple(session.scalars(select(BatchRow.name).order_by(BatchRow.id.desc()).limit(30))),
        codes=tuple(session.scalars(found)),
    )


def _conditions(wanted: Wanted, take_id: Any) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.show:
        found.append(ShotRow.show_folded == fold(wanted.show))
    if wanted.sequence is not None:
        found.append(func.lower(ShotRow.sequence) == fold(wanted.sequence))
    if wanted.statuses:
        found.append(ShotRow.status.in_([status.value for status in wanted.statuses]))
    if wanted.code:
        found.append(ShotRow.code_folded.contains(fold(wanted.code), autoescape=True))
    if wanted.finding:
        serious = and_(FindingRow.take_id == take_id, FindingRow.severity.in_(_SERIOUS))
        of_code = [] if wanted.finding == ANY_FINDING else [FindingRow.code == wanted.finding]
        found.append(exists().where(serious, *of_code))
    if wanted.batch:
        night = select(BatchRow.id).where(BatchRow.name == wanted.batch).scalar_subquery()
        found.append(exists().where(AttemptRow.shot_id == ShotRow.id, AttemptRow.batch_id == night))
    return found


def _findings(
    session: Session, takes: Sequence[int]
) -> tuple[dict[int, dict[Severity, int]], dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """Findings by severity, serious codes and kinds of deliverables of each of the takes."""
    counts: dict[int, dict[Severity, int]] = defaultdict(dict)
    codes: dict[int, dict[str, None]] = defaultdict(dict)
    kinds: dict[int, list[str]] = defaultdict(list)
    if takes:
        of = FindingRow.take_id.in_(takes)
        query = select(FindingRow.take_id, FindingRow.severity, FindingRow.code, func.count()).where(of)
        grouped = query.group_by(FindingRow.take_id, FindingRow.severity, FindingRow.code).order_by(FindingRow.code)
        for take, severity, code, count in session.execute(grouped):
            counts[take][Severity(severity)] = counts[take].get(Severity(severity), 0) + count
            if severity in _SERIOUS:
                codes[take][code] = None
        made = select(DeliverableRow.take_id, DeliverableRow.kind).where(DeliverableRow.take_id.in_(takes))
        for take, kind in session.execute(made.order_by(DeliverableRow.take_id, DeliverableRow.position)):
            kinds[take].append(kind)
    return (
        counts,
        {take: tuple(found) for take, found in codes.items()},
        {take: tuple(made) for take, made in kinds.items()},
    )


def _tile(row: Any, *, findings: dict[Severity, int], codes: tuple[str, ...], kinds: tuple[str, ...]) -> Tile:
    _, version, sequence, finished, newest, *asked = row
    shot = dict(zip(_ASKED, asked, strict=True))
    named = (shot["show"], shot["sequence"] if version is None else sequence, shot["code"])
    shown = version or newest
    return Tile(
        show=shot["show"],
        sequence=shot["sequence"],
        code=shot["code"],
        status=Status(shot["status"]),
        error=shot["error"],
        version=version or 0,
        newest=newest or 0,
        slate=slate(*named, shown) if shown else "_".join(filter(None, named)),
        frames=shot["frames"] + 2 * shot["handles"],
        rate=Fraction(shot["rate"]),
        finished=finished,
        findings=findings,
        codes=codes,
        kinds=kinds,
    )
