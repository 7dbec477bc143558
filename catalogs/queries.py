"""Finding rows by the names that people type, inside a session of the caller's.

Knows: names, versions, batches, and how a take settles its shot. Does not know: transactions, values.
Memory: names of all shots while a slate or a misspelt name is looked up, otherwise one row.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalogs.errors import AmbiguousShotError, CatalogueError, UnknownShotError
from catalogs.footage import Status, Take
from catalogs.rows import fold
from catalogs.shot import slate
from catalogs.tables import BatchRow, RunRow, ShotRow, TakeRow

RENDERABLE = (Status.READY, Status.RETAKE, Status.RENDERING, Status.FAILED)
"""What a batch takes up. `rendering` is one that was interrupted: a running one is the caller's to know."""

SLATE = re.compile(r"(.+)_v(\d{3,9})", re.IGNORECASE)
"""What the slate of a take looks like; a code may look so too."""

UNFINISHED = (Status.RENDERING.value, Status.FAILED.value)
"""A take in one of these may be continued or settled; in any other it is history."""


def shot_row(session: Session, name: str, *, lock: bool = False) -> ShotRow:
    """The row of `SHOW/CODE`, of `CODE` where unique, or of a take's slate, in any case; locked for writing on request.

    Raises UnknownShotError or AmbiguousShotError, and CatalogueError for the slate of a take that the shot does not
    have.
    """
    show, _, code = name.strip().rpartition("/")
    query = select(ShotRow).where(ShotRow.code_folded == fold(code)).order_by(ShotRow.show)
    if show:
        query = query.where(ShotRow.show_folded == fold(show))
    if lock:
        query = query.with_for_update()
    rows = session.scalars(query).all()
    if len(rows) > 1:
        raise AmbiguousShotError(name, [f"{row.show}/{row.code}" for row in rows])
    if rows:
        return rows[0]
    if not show and (found := _slated(session, name.strip(), lock=lock)):
        return found
    raise UnknownShotError(name, _close(session, name.strip(), with_show=bool(show)))


def _slated(session: Session, name: str, *, lock: bool) -> ShotRow | None:
    """The row of the shot whose slate a report prints: `AGM_SQ010_SH0010_v001`. None for what is no shot's slate."""
    match = SLATE.fullmatch(name)
    if match is None:
        return None
    version = int(match[2])
    wanted = fold(slate("", "", match[1], version))
    # a take keeps the sequence that its shot had then
    past = select(ShotRow.id, ShotRow.show, TakeRow.sequence, ShotRow.code).join(TakeRow, TakeRow.shot_id == ShotRow.id)
    now = select(ShotRow.id, ShotRow.show, ShotRow.sequence, ShotRow.code)
    known = {
        key: f"{show}/{code}"
        for query in (now, past.where(TakeRow.version == version))
        for key, show, sequence, code in session.execute(query)
        if fold(slate(show, sequence, code, version)) == wanted
    }
    if len(known) > 1:
        raise AmbiguousShotError(name, sorted(known.values()))
    if not known:
        return None
    [(key, full)] = known.items()
    query = select(ShotRow).where(ShotRow.id == key)
    row = session.scalars(query.with_for_update() if lock else query).one()
    newest = newest_take_row(session, row)
    if version > max(1, newest.version if newest else 1):  # before its first take a shot's slate says v001
        last = f"its newest take is v{newest.version:03d}" if newest else "it has no take yet"
        raise CatalogueError(f"{full} has no take v{version:03d}, {last}; name the shot as {full}")
    return row


def _close(session: Session, name: str, *, with_show: bool) -> list[str]:
    """Up to three `SHOW/CODE` that look like a name."""
    known: dict[str, list[str]] = {}
    for show, code in session.execute(select(ShotRow.show, ShotRow.code).order_by(ShotRow.show, ShotRow.code)):
        typed = f"{show}/{code}" if with_show else code
        known.setdefault(fold(typed), []).append(f"{show}/{code}")
    near = difflib.get_close_matches(fold(name), known, n=3)
    return [full for typed in near for full in known[typed]][:3]


def newest_take_row(session: Session, shot: ShotRow) -> TakeRow | None:
    """The take of a shot with the highest version."""
    query = select(TakeRow).where(TakeRow.shot_id == shot.id).order_by(TakeRow.version.desc()).limit(1)
    return session.scalars(query).first()


def batch_row(session: Session, name: str, *, lock: bool = False) -> BatchRow:
    """The batch of that name; on request its status is held until the session ends. Raises CatalogueError."""
    query = select(BatchRow).where(BatchRow.name == name)
    row = session.scalars(query.with_for_update(read=True) if lock else query).first()
    if row is None:
        last = session.scalars(select(BatchRow.name).order_by(BatchRow.id.desc()).limit(5)).all()
        known = f"the last ones are {', '.join(last)}" if last else "there was none yet; `dailies night` runs one"
        raise CatalogueError(f"there is no batch {name!r}; {known}")
    return row


def run_row(session: Session, flow_run: str, *, lock: bool = False) -> RunRow | None:
    """The run of a flow run, if it ever arrived; locked for writing on request."""
    query = select(RunRow).where(RunRow.flow_run == flow_run)
    return session.scalars(query.with_for_update() if lock else query).first()


def take_row(session: Session, take: Take) -> TakeRow:
    """The row of a take that begin_take gave out. Raises CatalogueError if there is none of that key."""
    shot = shot_row(session, f"{take.show}/{take.code}", lock=True)
    query = select(TakeRow).where(TakeRow.shot_id == shot.id, TakeRow.version == take.version)
    row = session.scalars(query).first()
    name = slate(take.show, take.sequence, take.code, take.version)
    if row is None:
        raise CatalogueError(f"the catalogue has no take {name}; begin it with begin_take")
    if row.key != take.key:
        raise CatalogueError(f"{name} in the catalogue has another plan than this one; render the shot again")
    return row


def settle(session: Session, take: TakeRow, *, status: Status, error: str) -> None:
    """Ends a take; its shot follows, unless it was changed or taken up anew in the meantime."""
    now = datetime.now(UTC)
    take.status, take.error, take.finished_at = status.value, error, now
    shot = take.shot
    newest = newest_take_row(session, shot)
    waiting = shot.status in (Status.RENDERING.value, Status.FAILED.value)
    if newest is take and shot.revision == take.revision and waiting:
        shot.status, shot.error, shot.updated_at = status.value, error, now
