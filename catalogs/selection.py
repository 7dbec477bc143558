"""Which shots, in the order in which they are rendered: pages of them, and how many there are.

Knows: that a page is one range of an index for each status, so that a million shots cost no more than a thousand.
Does not know: what becomes of them, transactions. Memory: the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, func, select, union_all
from sqlalchemy.orm import Session, aliased, joinedload, selectinload

from catalogs.bulk import AT_ONCE, SHOTS, parts
from catalogs.footage import Status
from catalogs.queries import shot_row
from catalogs.rows import fold, shot_value
from catalogs.shot import Shot
from catalogs.tables import ShotRow, TakeRow
from catalogs.versions import NO_SEQUENCE

ALL: Final = tuple(Status)


def page(
    session: Session,
    *,
    statuses: Sequence[Status] = ALL,
    show: str | None = None,
    limit: int | None = None,
    after: str | None = None,
) -> Iterator[tuple[Row[Any], TakeRow | None]]:
    """Shots of these statuses, and of a show in any case, by rank, each with its newest take.

    At most `limit`, and only those behind the shot called `after`. Raises UnknownShotError or AmbiguousShotError.
    """
    rank = None if after is None else shot_row(session, after).rank
    found = session.connection().execute(page_query(statuses=statuses, show=show, limit=limit, after=rank))
    for some in parts(found):
        takes = _newest(session, [row.id for row in some])
        yield from ((row, takes.get(row.id)) for row in some)


def page_query(*, statuses: Sequence[Status], show: str | None, limit: int | None, after: str | None) -> Select[Any]:
    """The statement of a page; `after` is a rank."""
    if limit is None:
        among = _wanted(statuses, show, after)
        return select(SHOTS).where(*among).order_by(SHOTS.c.rank)
    # status by status, because a database that is given several sorts everything that they have
    ranges = [
        select(SHOTS.c.id, SHOTS.c.rank).where(*_wanted([status], show, after)).order_by(SHOTS.c.rank).limit(limit)
        for status in statuses
    ]
    each = union_all(*(select(one.subquery()) for one in ranges)).subquery()
    first = select(each.c.id).order_by(each.c.rank).limit(limit).subquery()
    return select(SHOTS).join(first, SHOTS.c.id == first.c.id).order_by(SHOTS.c.rank)


def _wanted(statuses: Sequence[Status], show: str | None, after: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if show is not None:
        wanted.append(SHOTS.c.show_folded == fold(show))
    if len(statuses) == 1:
        wanted.append(SHOTS.c.status == statuses[0].value)
    elif len(statuses) < len(ALL):
        wanted.append(SHOTS.c.status.in_([status.value for status in statuses]))
    if after is not None:
        wanted.append(SHOTS.c.rank > after)
    return wanted


def named(session: Session, names: Iterable[str]) -> Iterator[tuple[Row[Any], TakeRow | None]]:
    """The shots `SHOW/CODE` that there are, each with its newest take."""
    codes: dict[str, list[str]] = {}
    for name in names:
        show, _, code = name.partition("/")
        codes.setdefault(fold(show), []).append(fold(code))
    for show, wanted in codes.items():
        for some in parts(dict.fromkeys(wanted)):
            query = select(SHOTS).where(SHOTS.c.show_folded == show, SHOTS.c.code_folded.in_(some))
            rows = session.connection().execute(query).all()
            takes = _newest(session, [row.id for row in rows])
            yield from ((row, takes.get(row.id)) for row in rows)


def requests(session: Session, *, show: str | None = None, sequence: str | None = None) -> Iterator[Shot]:
    """The requests of a show and a sequence (`_` for none), in any case, in the order in which lists brought them."""
    query = select(SHOTS).order_by(SHOTS.c.id)
    if show is not None:
        query = query.where(SHOTS.c.show_folded == fold(show))
    if sequence is not None:
        query = query.where(func.lower(SHOTS.c.sequence) == ("" if sequence == NO_SEQUENCE else fold(sequence)))
    for row in session.execute(query.execution_options(yield_per=AT_ONCE)):
        yield shot_value(row)


def _newest(session: Session, ids: Sequence[int]) -> Mapping[int, TakeRow]:
    """The newest take of each of these shots that has one."""
    other = aliased(TakeRow)
    last = select(func.max(other.version)).where(other.shot_id == TakeRow.shot_id).correlate(TakeRow).scalar_subquery()
    query = (
        select(TakeRow)
        .where(TakeRow.shot_id.in_(ids), TakeRow.version == last)
        .options(joinedload(TakeRow.shot), selectinload(TakeRow.deliverables), selectinload(TakeRow.findings))
    )
    return {take.shot_id: take for take in session.scalars(query)}


def counted(session: Session, *, show: str | None = None) -> dict[Status, int]:
    """How many shots, all or a show's, stand where; every status is a key."""
    found = {str(status): count for status, count in session.execute(count_query(show)).tuples()}
    return {status: found.get(status.value, 0) for status in Status}


def count_query(show: str | None) -> Select[Any]:
    """The statement of `counted`."""
    query = select(ShotRow.status, func.count()).group_by(ShotRow.status)
    return query if show is None else query.where(ShotRow.show_folded == fold(show))
