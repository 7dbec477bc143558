"""Giving shots away: to a reel, or from one reel to another. Inside a session of the caller's.

Knows: which shots may be given, and that nobody loses one who has begun it. Does not know: transactions, and whether
the night should go on, which the caller has looked at. Memory: O(shots granted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, insert, or_, select
from sqlalchemy.orm import Session

from catalogs.errors import CatalogueError
from catalogs.footage import Status
from catalogs.night import Attempt, AttemptStatus, BatchStatus, Stage
from catalogs.rights import disclaim, full_name, idle, lock_shots, open_attempts, shot_ids
from catalogs.rows import attempt_value
from catalogs.tables import AttemptRow, BatchRow, ShotRow

NEVER: Final = (Status.OMITTED.value, Status.APPROVED.value, Status.QUARANTINED.value)
"""Shots in one of these are granted to nobody."""

_MOST: Final = 10_000
"""Keys in one statement; SQLite takes 32,766 parameters."""


def grant_reel(
    session: Session,
    batch: BatchRow,
    reel: str,
    names: Sequence[str],
    *,
    stage: Stage,
    models: Mapping[str, str],
    expected: Mapping[str, float],
    not_before: datetime | None,
) -> list[Attempt]:
    """See Attempts.grant. The batch's row is held by the caller."""
    if batch.status == BatchStatus.ENDED.value:
        raise CatalogueError(f"the batch {batch.name} is over and grants nothing; open another one")
    called: dict[int, str] = {}
    for name, key in shot_ids(session, names).items():
        called.setdefault(key, name)
    locked = {shot.id: shot for shot in lock_shots(session, called)}
    shots = [locked[key] for key in called if locked[key].status not in NEVER]
    now = datetime.now(UTC)
    generated = _generated(session, shots) if stage is Stage.FINISH else {}
    before = open_attempts(session, shots)
    for shot in shots:
        disclaim(shot, before.get(shot.id), AttemptStatus.RELEASED, error="granted anew")
        idle(shot)
    session.flush()
    columns: list[dict[str, Any]] = [
        {
            "shot_id": shot.id,
            "fence": shot.fence,
            "batch_id": batch.id,
            "reel": reel,
            "stage": stage.value,
            "status": AttemptStatus.WAITING.value,
            "model": models.get(called[shot.id], ""),
            "expected": float(expected.get(called[shot.id], 0.0)),
            "flow_run": "",
            "granted_at": now,
            "not_before": not_before,
            "generated_at": generated.get(shot.id, now) if stage is Stage.FINISH else None,
            "error": "",
            "transient": False,
            "evidence": {},
        }
        for shot in shots
    ]
    if columns:
        session.execute(insert(AttemptRow), columns)
    return [
        attempt_value(AttemptRow(**one), shot=full_name(shot), batch=batch.name)
        for shot, one in zip(shots, columns, strict=True)
    ]


def take_last(
    session: Session, batch: BatchRow, *, reel: str, model: str, flow_run: str
) -> tuple[bool, Attempt | None]:
    """See Attempts.take_over. False if somebody else was faster at the shot, and another look is due."""
    found = _to_take(session, batch, reel=reel, model=model, flow_run=flow_run)
    if found is None:
        return True, None
    key, fence = found
    [shot] = lock_shots(session, [key])
    before = open_attempts(session, [shot]).get(key)
    # Between the look and the lock its owner may have begun it, or another one may have taken it.
    if before is None or (before.fence, before.status) != (fence, AttemptStatus.WAITING.value):
        return False, None
    if before.reel == reel:
        return True, value_of(session, before, shot)
    disclaim(shot, before, AttemptStatus.RELEASED, error=f"taken over by {reel}")
    session.flush()
    taken = AttemptRow(
        shot_id=shot.id,
        fence=shot.fence,
        batch_id=batch.id,
        reel=reel,
        stage=Stage.GENERATE.value,
        status=AttemptStatus.WAITING.value,
        model=before.model,
        expected=before.expected,
        flow_run=flow_run,
        granted_at=datetime.now(UTC),
    )
    session.add(taken)
    session.flush()
    session.refresh(taken)
    return True, value_of(session, taken, shot)


def value_of(session: Session, row: AttemptRow, shot: ShotRow) -> Attempt:
    """The attempt in a row at that shot."""
    batch = None if row.batch_id is None else session.get_one(BatchRow, row.batch_id).name
    return attempt_value(row, shot=full_name(shot), batch=batch)


def _to_take(session: Session, batch: BatchRow, *, reel: str, model: str, flow_run: str) -> tuple[int, int] | None:
    """Key and fence of the shot that take_last would take now; nothing is locked."""
    waiting = (
        AttemptRow.batch_id == batch.id,
        AttemptRow.stage == Stage.GENERATE.value,
        AttemptRow.status == AttemptStatus.WAITING.value,
        AttemptRow.model == model,
        or_(AttemptRow.not_before.is_(None), AttemptRow.not_before <= datetime.now(UTC)),
        ShotRow.deaths == 0,
    )
    shots = select(AttemptRow.shot_id, AttemptRow.fence).join(ShotRow, ShotRow.id == AttemptRow.shot_id).limit(1)
    own = shots.where(*waiting, AttemptRow.reel == reel, AttemptRow.flow_run == flow_run).order_by(AttemptRow.id)
    reels = (
        select(AttemptRow.reel)
        .join(ShotRow, ShotRow.id == AttemptRow.shot_id)
        .where(*waiting, AttemptRow.reel != reel)
        .group_by(AttemptRow.reel)
        .order_by(func.count().desc(), AttemptRow.reel)
        .limit(1)
    )
    found = session.execute(own).first()
    if found is None and (longest := session.scalar(reels)) is not None:
        last = shots.where(*waiting, AttemptRow.reel == longest).order_by(AttemptRow.id.desc())
        found = session.execute(last).first()
    return None if found is None else (found[0], found[1])


def _generated(session: Session, shots: Sequence[ShotRow]) -> dict[int, datetime]:
    """Shot's key -> when its windows were last made."""
    found: dict[int, datetime] = {}
    for start in range(0, len(shots), _MOST):
        query = select(AttemptRow.shot_id, AttemptRow.generated_at).where(
            AttemptRow.shot_id.in_([shot.id for shot in shots[start : start + _MOST]]),
            AttemptRow.generated_at.is_not(None),
        )
        found.update((key, at) for key, at in session.execute(query.order_by(AttemptRow.id)) if at is not None)
    return found
