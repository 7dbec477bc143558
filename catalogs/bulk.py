"""Many shots in few statements: read, inserted and changed as plain columns, inside a transaction of the caller's.

Knows: statements, and how many values each may have. Does not know: what is to be done with a shot.
Memory: AT_ONCE shots; `standing` keeps three short texts of each shot that it found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Table, bindparam, func, insert, select, text, update
from sqlalchemy.orm import Session

from catalogs.database import BUSY_SECONDS
from catalogs.footage import Status
from catalogs.tables import ShotRow, TakeRow

AT_ONCE: Final = 1000
"""Shots of a statement: far below the values that PostgreSQL (65,535) and SQLite (32,766) take."""

MANY: Final = 5000
"""Shots by which a table has become another one."""

PATIENCE: Final = "600s"
"""How long a list waits for one that is going in; a hundred thousand shots take seconds."""

FINISHED: Final = (Status.REVIEW.value, Status.APPROVED.value, Status.RETAKE.value)
"""What a take is whose files are out."""

_CACHE: Final = 64 * 1024
"""Kilobytes of pages that SQLite keeps of its indexes: with its own 2 MB a long list reads them again and again."""

_LISTS: Final = 0x4C495354
"""Advisory lock ("LIST") under which PostgreSQL lets one list in at a time; SQLite has its one writer."""

Said = Callable[[int], None]
"""Is told after each statement how many shots are done."""

Value = TypeVar("Value")

SHOTS: Final[Table] = ShotRow.__table__  # type: ignore[assignment]


class Found(NamedTuple):
    """What a list is held against of a shot that is there."""

    id: int
    code: str
    """As the catalogue spells it."""
    digest: str
    """Empty for one that came in before digests were kept."""
    retaken: Mapping[str, Any]
    """What the last list says of fields that a retake has changed since."""


def alone(session: Session, *, count: int) -> None:
    """Nobody else takes a list in until this transaction ends; it is made ready for `count` shots."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LISTS})"))
        # rows are waited for as anybody waits for them: DEFAULT would be the server's, not the session's
        connection.execute(text(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'"))
    elif count > AT_ONCE:
        connection.execute(text(f"PRAGMA cache_size = -{_CACHE}"))


def spellings(session: Session, shows: Iterable[str]) -> dict[str, str]:
    """How the catalogue spells these shows (folded); those that it does not have are left out."""
    found = {}
    for show in shows:
        first = session.execute(select(ShotRow.show).where(ShotRow.show_folded == show).limit(1)).scalar()
        if first is not None:
            found[show] = first
    return found


def standing(session: Session, show: str, codes: Sequence[str]) -> Iterator[tuple[str, Found]]:
    """Those of the shots (all folded) that the catalogue has, by code."""
    connection = session.connection()
    query = select(SHOTS.c.code_folded, SHOTS.c.id, SHOTS.c.code, SHOTS.c.digest, SHOTS.c.retaken).where(
        SHOTS.c.show_folded == show, SHOTS.c.code_folded.in_(bindparam("codes", expanding=True))
    )
    for some in parts(codes):
        for code, *found in connection.execute(query, {"codes": some}):
            yield code, Found(*found)


def lookalikes(session: Session, show: str, likenesses: Sequence[str]) -> dict[str, list[str]]:
    """Codes of a show's shots by their likeness, for each of these likenesses that there is."""
    connection = session.connection()
    query = select(SHOTS.c.likeness, SHOTS.c.code).where(
        SHOTS.c.show_folded == show, SHOTS.c.likeness.in_(bindparam("likenesses", expanding=True))
    )
    found: dict[str, list[str]] = {}
    for some in parts(likenesses):
        for one, code in connection.execute(query, {"likenesses": some}):
            found.setdefault(one, []).append(code)
    return found


def whole(session: Session, ids: Sequence[int], *, lock: bool) -> Iterator[Row[Any]]:
    """Every column of these shots, in the order of their ids; on request nobody else changes them meanwhile."""
    connection = session.connection()
    query = select(SHOTS).where(SHOTS.c.id.in_(bindparam("ids", expanding=True))).order_by(SHOTS.c.id)
    for some in parts(sorted(ids)):
        yield from connection.execute(query.with_for_update() if lock else query, {"ids": some})


def finished_takes(session: Session, ids: Sequence[int]) -> dict[int, int]:
    """How many takes of these shots are out, for each that has one."""
    query = select(TakeRow.shot_id, func.count()).where(
        TakeRow.shot_id.in_(bindparam("ids", expanding=True)), TakeRow.status.in_(FINISHED)
    )
    found = {}
    for some in parts(sorted(ids)):
        found.update({row[0]: row[1] for row in session.execute(query.group_by(TakeRow.shot_id), {"ids": some})})
    return found


def codes_of(session: Session, show: str) -> Iterator[tuple[str, str]]:
    """Folded code, and code, of every shot of a show (folded), by code."""
    query = select(SHOTS.c.code_folded, SHOTS.c.code).where(SHOTS.c.show_folded == show).order_by(SHOTS.c.code_folded)
    yield from session.execute(query.execution_options(yield_per=AT_ONCE)).tuples()


def add(session: Session, rows: Iterable[Mapping[str, Any]], said: Said) -> None:
    """Insert shots, each with the same columns."""
    _many(session.connection(), insert(SHOTS), rows, said)


def made_known(session: Session, count: int) -> None:
    """Let PostgreSQL's planner know that `count` shots came in: it looks by itself a minute later only, and until then
    takes the wrong index."""
    connection = session.connection()
    if connection.dialect.name == "postgresql" and count >= MANY:
        connection.execute(text("ANALYZE shots"))


def change(session: Session, rows: Iterable[Mapping[str, Any]], said: Said) -> None:
    """Change shots: each has its id as `known`, and the same columns as the others."""
    _many(session.connection(), update(SHOTS).where(SHOTS.c.id == bindparam("known")), rows, said)


def revise(session: Session, ids: Sequence[int]) -> None:
    """Count another change of these shots' requests: what was planned from the ones before settles nothing."""
    again = update(SHOTS).where(SHOTS.c.id.in_(bindparam("ids", expanding=True)))
    for some in parts(ids):
        session.connection().execute(again.values(revision=SHOTS.c.revision + 1), {"ids": some})


def digest_anew(session: Session, digests: Mapping[int, str]) -> None:
    """Keep digests, by the shot's id, of requests that have not changed."""
    rows = ({"known": key, "digest": one} for key, one in digests.items())
    _many(session.connection(), update(SHOTS).where(SHOTS.c.id == bindparam("known")), rows, lambda _: None)


def retaken_anew(session: Session, said: Mapping[int, Mapping[str, Any]]) -> None:
    """Keep, by the shot's id, what a list says of fields that a retake changed."""
    rows = ({"known": key, "retaken": dict(one)} for key, one in said.items())
    _many(session.connection(), update(SHOTS).where(SHOTS.c.id == bindparam("known")), rows, lambda _: None)


def _many(connection: Connection, statement: Any, rows: Iterable[Mapping[str, Any]], said: Said) -> None:
    done = 0
    for some in parts(rows):
        connection.execute(statement, some)
        done += len(some)
        said(done)


def parts(values: Iterable[Value]) -> Iterator[list[Value]]:
    """The values, AT_ONCE at a time."""
    some: list[Value] = []
    for value in values:
        some.append(value)
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some
