"""Who may write at a shot: the rules of fences, inside a session of the caller's.

Knows: that a shot's open attempt always has the shot's newest fence, and what an attempt's end does to its shot.
Every change here is made under a lock on the shot's row, which the caller has taken first.
Does not know: transactions, batches beyond their keys. Memory: O(shots locked).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalogs.errors import FencedError, ShotTakenError
from catalogs.footage import Status
from catalogs.night import OPEN, AttemptStatus, BatchStatus, Stage
from catalogs.queries import RENDERABLE, newest_take_row, settle, shot_row
from catalogs.rows import fold
from catalogs.tables import AttemptRow, BatchRow, ShotRow

OPEN_VALUES: Final = tuple(status.value for status in OPEN)
"""Stati of attempts that are not over."""

_MOST: Final = 10_000
"""Keys in one statement; SQLite takes 32,766 parameters."""

_RENDERABLE: Final = frozenset(status.value for status in RENDERABLE)


def full_name(shot: ShotRow) -> str:
    """`SHOW/CODE`."""
    return f"{shot.show}/{shot.code}"


def shot_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Name -> key of its shot, in the order given; two names of one shot have one key.

    Raises UnknownShotError or AmbiguousShotError as shot_row does.
    """
    query = select(ShotRow.show_folded, ShotRow.code_folded, ShotRow.id)
    known = {f"{show}/{code}": key for show, code, key in session.execute(query)} if len(names) > 1 else {}
    found = {}
    for name in names:
        key = known.get(fold(name.strip()))
        found[name] = shot_row(session, name).id if key is None else key
    return found


def lock_shots(session: Session, ids: Iterable[int]) -> list[ShotRow]:
    """The rows of these keys, locked in the order of their keys, as they are now."""
    ordered = sorted(set(ids))
    rows: list[ShotRow] = []
    for start in range(0, len(ordered), _MOST):
        query = select(ShotRow).where(ShotRow.id.in_(ordered[start : start + _MOST])).order_by(ShotRow.id)
        rows += session.scalars(query.with_for_update().execution_options(populate_existing=True))
    return rows


def open_attempts(session: Session, shots: Sequence[ShotRow]) -> dict[int, AttemptRow]:
    """Shot's key -> its open attempt, of those that have one."""
    found: dict[int, AttemptRow] = {}
    for start in range(0, len(shots), _MOST):
        query = select(AttemptRow).where(
            AttemptRow.shot_id.in_([shot.id for shot in shots[start : start + _MOST]]),
            AttemptRow.status.in_(OPEN_VALUES),
        )
        rows = session.scalars(query.execution_options(populate_existing=True))
        found.update((row.shot_id, row) for row in rows)
    return found


def attempt_row(session: Session, shot: ShotRow, fence: int) -> AttemptRow | None:
    """The attempt of that number."""
    query = select(AttemptRow).where(AttemptRow.shot_id == shot.id, AttemptRow.fence == fence)
    return session.scalars(query.execution_options(populate_existing=True)).first()


def held(session: Session, shot: ShotRow, fence: int) -> AttemptRow:
    """The attempt of that number, which is open. Raises FencedError if it is not."""
    row = attempt_row(session, shot, fence)
    if row is None or row.status not in OPEN_VALUES:
        ended = "" if row is None else row.status
        raise FencedError(full_name(shot), fence, newest=shot.fence, ended=ended)
    return row


def take_by_hand(session: Session, shot: ShotRow) -> AttemptRow:
    """A running attempt outside of every batch; one by hand before it is released. Raises ShotTakenError."""
    before = open_attempts(session, [shot]).get(shot.id)
    if before is not None and before.batch_id is not None:
        batch = session.get_one(BatchRow, before.batch_id)
        if batch.status != BatchStatus.ENDED.value:
            raise ShotTakenError(full_name(shot), batch.name)
    if before is not None:
        close(shot, before, AttemptStatus.RELEASED, error="the shot was begun anew by hand")
        session.flush()
    now = datetime.now(UTC)
    shot.fence += 1
    row = AttemptRow(
        shot_id=shot.id,
        fence=shot.fence,
        batch_id=None,
        reel="",
        stage=Stage.GENERATE.value,
        status=AttemptStatus.RUNNING.value,
        model="",
        expected=0.0,
        flow_run="",
        granted_at=now,
        started_at=now,
    )
    session.add(row)
    return row


def close(
    shot: ShotRow,
    attempt: AttemptRow,
    status: AttemptStatus,
    *,
    error: str = "",
    transient: bool = False,
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Ends an open attempt, and what that means for its shot, but for a failure's words (see `complain`).

    Done forgets the shot's deaths, died counts one. A shot is `rendering` only while an attempt at it is open.
    """
    attempt.status, attempt.ended_at = status.value, datetime.now(UTC)
    attempt.error, attempt.transient, attempt.evidence = error, transient, dict(evidence or {})
    if status is AttemptStatus.DONE:
        shot.deaths = 0
    elif status is AttemptStatus.DIED:
        shot.deaths += 1
    idle(shot)


def idle(shot: ShotRow) -> None:
    """Nobody renders the shot: from `rendering` it goes back to `ready`; its take stays, to be continued."""
    if shot.status == Status.RENDERING.value:
        shot.status, shot.updated_at = Status.READY.value, datetime.now(UTC)


def complain(session: Session, shot: ShotRow, error: str) -> None:
    """The shot failed, and the take that was being rendered; one in review, approved or omitted stays so."""
    take = newest_take_row(session, shot)
    if take is not None and take.status == Status.RENDERING.value:
        settle(session, take, status=Status.FAILED, error=error)
    if shot.status in _RENDERABLE and shot.status != Status.FAILED.value:
        shot.status, shot.error, shot.updated_at = Status.FAILED.value, error, datetime.now(UTC)


def disclaim(shot: ShotRow, attempt: AttemptRow | None, status: AttemptStatus, **why: Any) -> None:
    """Takes the shot away from whoever has it: its attempt ends, and the fence rises above what that one holds."""
    if attempt is not None:
        close(shot, attempt, status, **why)
    shot.fence += 1
