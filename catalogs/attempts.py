"""The rights to work on shots: granted, begun, handed over, ended, taken away. Half of `Catalogue.nights`.

Knows: which of several processes may go on, when two of them believe they have the same shot. Does not know: Prefect,
when to grant or give up (tasks/admission.py, tasks/recovery.py), what is rendered. Each method is one short
transaction, and may be repeated when its answer was lost. Memory: O(attempts listed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from catalogs.errors import CatalogueError, FencedError
from catalogs.footage import Status
from catalogs.grants import NEVER, grant_reel, take_last, value_of
from catalogs.night import OPEN, Attempt, AttemptStatus, BatchStatus, Stage
from catalogs.queries import RENDERABLE, UNFINISHED, batch_row, newest_take_row, run_row, shot_row
from catalogs.rights import (
    OPEN_VALUES,
    attempt_row,
    close,
    complain,
    disclaim,
    full_name,
    held,
    lock_shots,
    open_attempts,
    shot_ids,
)
from catalogs.rows import attempt_value
from catalogs.sessions import Sessions
from catalogs.tables import AttemptRow, BatchRow, RunRow, ShotRow

_IDLE: Final = (Status.READY.value, Status.FAILED.value)
"""Where a shot stands between two attempts."""


CANCELLED: Final = "cancelled by request"
"""Why an attempt ended that somebody cancelled."""


class Attempts:
    """Rights to shots. Every method raises CatalogueUnavailableError if the database fails under it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def grant(
        self,
        batch: str,
        reel: str,
        shots: Sequence[str],
        *,
        stage: Stage = Stage.GENERATE,
        models: Mapping[str, str] | None = None,
        expected: Mapping[str, float] | None = None,
        not_before: datetime | None = None,
    ) -> list[Attempt]:
        """New waiting attempts of a reel at these shots, in their order; the ones before are released and fenced.

        Shots that are omitted, approved or quarantined are left out. `models` and `expected` (seconds of engine) are
        by the names in `shots`. Raises like find, and CatalogueError for a batch that is over.
        """

        return self._sessions.write(
            lambda session: grant_reel(
                session,
                batch_row(session, batch, lock=True),
                reel,
                shots,
                stage=stage,
                models=models or {},
                expected=expected or {},
                not_before=not_before,
            )
        )

    def assign(self, batch: str, reel: str, *, flow_run: str) -> None:
        """The waiting attempts of a reel whose windows are to be made belong to that flow run."""
        self._sessions.write(
            lambda session: session.execute(
                update(AttemptRow)
                .where(
                    AttemptRow.batch_id == batch_row(session, batch).id,
                    AttemptRow.reel == reel,
                    AttemptRow.stage == Stage.GENERATE.value,
                    AttemptRow.status == AttemptStatus.WAITING.value,
                )
                .values(flow_run=flow_run)
                .execution_options(synchronize_session=False)
            )
        )

    def assign_finish(self, shot: str, fence: int, *, flow_run: str) -> None:
        """A handed-over shot belongs to the flow run that is to finish it; one that has begun or is done keeps its own.

        Raises FencedError.
        """

        def work(session: Session) -> None:
            row = shot_row(session, shot, lock=True)
            past = attempt_row(session, row, fence)
            if past is not None and past.status == AttemptStatus.DONE.value:
                return
            right = held(session, row, fence)
            if right.status == AttemptStatus.WAITING.value:
                right.flow_run = flow_run

        self._sessions.write(work)

    def begin(self, shot: str, fence: int, *, flow_run: str) -> Attempt:
        """The attempt is at work in that flow run. The same flow run may say so again.

        Raises FencedError if the shot was given to another attempt, this one has ended, or another flow run is at it.
        """

        def work(session: Session) -> Attempt:
            row = shot_row(session, shot, lock=True)
            right = held(session, row, fence)
            if right.status == AttemptStatus.RUNNING.value and right.flow_run != flow_run:
                raise FencedError(full_name(row), fence, newest=row.fence, ended="begun by another run")
            right.status, right.flow_run = AttemptStatus.RUNNING.value, flow_run
            right.started_at = right.started_at or datetime.now(UTC)
            take = newest_take_row(session, row)
            going_on = right.stage == Stage.FINISH.value and take is not None and take.status in UNFINISHED
            if take is not None and going_on and take.revision == row.revision and row.status in _IDLE:
                # its windows are there, and it is being finished: no `begin_take` says so again
                row.status, row.updated_at = Status.RENDERING.value, datetime.now(UTC)
            return value_of(session, right, row)

        return self._sessions.write(work)

    def hand_over(self, shot: str, fence: int) -> Attempt:
        """The windows are made: the attempt waits to be finished, by whoever begins it. Again: no change.

        Raises FencedError.
        """

        def work(session: Session) -> Attempt:
            row = shot_row(session, shot, lock=True)
            right = held(session, row, fence)
            if right.stage != Stage.FINISH.value:
                right.stage, right.status, right.flow_run = Stage.FINISH.value, AttemptStatus.WAITING.value, ""
                right.generated_at = datetime.now(UTC)
            return value_of(session, right, row)

        return self._sessions.write(work)

    def end_attempt(
        self,
        shot: str,
        fence: int,
        *,
        status: AttemptStatus,
        error: str = "",
        transient: bool = False,
        evidence: Mapping[str, Any] | None = None,
    ) -> bool:
        """Ends an open attempt; False, and nothing changes, if it has ended or is fenced.

        Released or cancelled, a shot in `rendering` goes back to `ready`; failed, shot and take fail with the error;
        died counts a death of the shot, and done forgets them.
        """
        if status in OPEN:
            raise ValueError(f"{status.value!r} ends no attempt; use one of done, failed, died, released, cancelled")

        def work(session: Session) -> bool:
            row = shot_row(session, shot, lock=True)
            right = attempt_row(session, row, fence)
            if right is None or right.status not in OPEN_VALUES:
                return False
            if status is AttemptStatus.FAILED:
                complain(session, row, error)
            close(row, right, status, error=error, transient=transient, evidence=evidence)
            return True

        return self._sessions.write(work)

    def take_over(self, batch: str, *, reel: str, model: str, flow_run: str) -> Attempt | None:
        """A shot of the same model from the end of the longest other reel, granted to this one; None if there is none.

        Left alone are shots that a process died at, and retries whose time has not come. A waiting attempt that this
        flow run holds already is answered first, so that a lost answer loses no shot. None too while the batch stops,
        or after the run was given up.
        """

        def work(session: Session) -> tuple[bool, Attempt | None]:
            night = batch_row(session, batch, lock=True)
            run = run_row(session, flow_run, lock=True)
            if night.status != BatchStatus.RUNNING.value or (run is not None and run.ended_at is not None):
                return True, None
            return take_last(session, night, reel=reel, model=model, flow_run=flow_run)

        while True:  # each turn without an answer means that somebody else went on
            settled, attempt = self._sessions.write(work)
            if settled:
                return attempt

    def attempts(self, batch: str = "", *, reel: str = "", shot: str = "", open_only: bool = False) -> list[Attempt]:
        """Attempts in the order of their grants, of one batch, reel or shot where named.

        Raises like find, and CatalogueError for an unknown batch.
        """
        with self._sessions.reading() as session:
            wanted: list[ColumnElement[bool]] = []
            if batch:
                wanted.append(AttemptRow.batch_id == batch_row(session, batch).id)
            if reel:
                wanted.append(AttemptRow.reel == reel)
            if shot:
                wanted.append(AttemptRow.shot_id == shot_row(session, shot).id)
            if open_only:
                wanted.append(AttemptRow.status.in_(OPEN_VALUES))
            query = (
                select(AttemptRow, ShotRow.show, ShotRow.code, BatchRow.name)
                .join(ShotRow, ShotRow.id == AttemptRow.shot_id)
                .outerjoin(BatchRow, BatchRow.id == AttemptRow.batch_id)
                .where(*wanted)
                .order_by(AttemptRow.id)
            )
            return [
                attempt_value(row, shot=f"{show}/{code}", batch=name)
                for row, show, code, name in session.execute(query)
            ]

    def give_up(
        self, flow_run: str, *, why: str, evidence: Mapping[str, Any] | None = None, spoke: bool = False
    ) -> list[Attempt]:
        """The run is over, whatever it still believes: what was running died, what was waiting is released.

        `spoke`: its process came to an end by itself, with an error that it told; what was running failed in passing.
        The shots' fences rise, so that nothing of it is kept; deaths are counted, and each attempt keeps the evidence,
        with `why` as its `gone`, which tells it from one released by a stop. Works again, and for a flow run that
        never arrived, which is told so if it ever does. Returns the attempts that it ended.
        """

        def work(session: Session) -> list[Attempt]:
            run = run_row(session, flow_run, lock=True)
            if run is not None and run.ended_at is None:
                run.ended_at = datetime.now(UTC)
            query = select(AttemptRow.shot_id).where(
                AttemptRow.flow_run == flow_run, AttemptRow.status.in_(OPEN_VALUES)
            )
            shots = {shot.id: shot for shot in lock_shots(session, session.scalars(query))}
            ended = []
            for attempt in open_attempts(session, list(shots.values())).values():
                if attempt.flow_run == flow_run:
                    status, shot = AttemptStatus.RELEASED, shots[attempt.shot_id]
                    if attempt.status == AttemptStatus.RUNNING.value:
                        status = AttemptStatus.FAILED if spoke else AttemptStatus.DIED
                    found = {"gone": why, **(evidence or {})}
                    failed = status is AttemptStatus.FAILED
                    disclaim(shot, attempt, status, error=why, transient=failed, evidence=found)
                    if failed:
                        complain(session, shot, why)
                    ended.append(attempt)
            ended.sort(key=lambda one: one.id)
            if run is None and ended and ended[0].batch_id is not None:
                session.add(_never_arrived(ended[0], why))
            return [value_of(session, one, shots[one.shot_id]) for one in ended]

        return self._sessions.write(work)

    def deaths(self, batch: str) -> dict[str, int]:
        """`SHOW/CODE` -> processes that died at it, of every shot with an attempt in the batch."""
        with self._sessions.reading() as session:
            of_batch = select(AttemptRow.shot_id).where(AttemptRow.batch_id == batch_row(session, batch).id)
            query = select(ShotRow.show, ShotRow.code, ShotRow.deaths).where(ShotRow.id.in_(of_batch))
            return {f"{show}/{code}": deaths for show, code, deaths in session.execute(query.order_by(ShotRow.id))}

    def settled(self, batch: str) -> frozenset[str]:
        """Shots with an attempt in the batch that `grant` would leave out: quarantined, omitted or approved."""
        with self._sessions.reading() as session:
            of_batch = select(AttemptRow.shot_id).where(AttemptRow.batch_id == batch_row(session, batch).id)
            query = select(ShotRow.show, ShotRow.code).where(ShotRow.id.in_(of_batch), ShotRow.status.in_(NEVER))
            return frozenset(f"{show}/{code}" for show, code in session.execute(query))

    def quarantine(self, shot: str, *, error: str) -> None:
        """No batch takes the shot up until it is released; whoever has it is fenced.

        A shot in review, approved or omitted keeps its status. Raises like find.
        """

        def work(session: Session) -> None:
            row = shot_row(session, shot, lock=True)
            disclaim(row, open_attempts(session, [row]).get(row.id), AttemptStatus.RELEASED, error=error)
            if row.status in {status.value for status in RENDERABLE}:
                complain(session, row, error)
                row.status, row.error, row.updated_at = Status.QUARANTINED.value, error, datetime.now(UTC)

        self._sessions.write(work)

    def release(self, names: Sequence[str]) -> list[str]:
        """Quarantined shots are ready again, their deaths forgotten: all of them or none. Full names.

        Raises like find, and CatalogueError if one of them is not quarantined.
        """

        def work(session: Session) -> list[str]:
            rows = _named(session, names)
            others = [f"{full_name(row)} ({row.status})" for row in rows if row.status != Status.QUARANTINED.value]
            if others:
                raise CatalogueError(
                    f"not in quarantine: {', '.join(others)}; `dailies shots --status quarantined` lists what is"
                )
            for row in rows:
                row.status, row.error, row.deaths = Status.READY.value, "", 0
                row.updated_at = datetime.now(UTC)
            return [full_name(row) for row in rows]

        return self._sessions.write(work)

    def cancel(self, names: Sequence[str]) -> list[str]:
        """Takes these shots out of the batch that is not over: open attempts end, and one that waits to be granted
        again, after a death or a failure in passing, is not. Full names of the shots that were in it.

        Raises like find; then nothing was cancelled.
        """

        def work(session: Session) -> list[str]:
            rows = _named(session, names)
            rights = open_attempts(session, rows)
            cancelled = []
            for row in rows:
                if row.id in rights:
                    disclaim(row, rights[row.id], AttemptStatus.CANCELLED, error=CANCELLED)
                elif not _withdraw(session, row):
                    continue
                cancelled.append(full_name(row))
            return cancelled

        return self._sessions.write(work)


def _withdraw(session: Session, shot: ShotRow) -> bool:
    """Keep the shot from being granted again in the open batch, where its last attempt ended without settling it.

    False, and nothing changes, if no other attempt was to follow.
    """
    query = (
        select(AttemptRow)
        .join(BatchRow, BatchRow.id == AttemptRow.batch_id)
        .where(AttemptRow.shot_id == shot.id, BatchRow.slot == 1)
        .order_by(AttemptRow.fence.desc())
    )
    last = session.scalars(query).first()
    passing = (AttemptStatus.DIED.value, AttemptStatus.RELEASED.value)
    if last is None or not (last.status in passing or (last.status == AttemptStatus.FAILED.value and last.transient)):
        return False
    # the last word on the shot that night; what it died of stays with it
    last.status, last.error = AttemptStatus.CANCELLED.value, f"{CANCELLED}; before that: {last.error}"
    return True


def _named(session: Session, names: Sequence[str]) -> list[ShotRow]:
    """The shots of these names, locked, in the order of the names."""
    ids = shot_ids(session, names)
    locked = {row.id: row for row in lock_shots(session, ids.values())}
    return [locked[key] for key in dict.fromkeys(ids.values())]


def _never_arrived(attempt: AttemptRow, why: str) -> RunRow:
    """The run of a flow run that was given up before its process was there."""
    now = datetime.now(UTC)
    return RunRow(
        flow_run=attempt.flow_run,
        batch_id=attempt.batch_id,
        stage=attempt.stage,
        name=attempt.reel,
        worker="",
        device="",
        beats=0,
        beat_at=now,
        said=why,
        started_at=now,
        ended_at=now,
    )
