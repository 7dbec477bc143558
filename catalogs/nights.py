"""Batches, the runs at work for them, and how long things took; with the rights of attempts.py, `Catalogue.nights`.

Knows: the tables of the night, in values of night.py. Does not know: Prefect beyond a flow run's id, clocks of other
machines (beats are counted; whoever waits for them compares counts), shots' requests. Each method is one short
transaction. Memory: O(what is listed).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from catalogs.attempts import Attempts
from catalogs.errors import BatchRunningError, CatalogueError
from catalogs.night import AttemptStatus, Batch, BatchStatus, Orders, Run, Stage, Timing
from catalogs.queries import batch_row, run_row
from catalogs.rights import OPEN_VALUES, disclaim, lock_shots, open_attempts
from catalogs.rows import TIMING_READ, batch_value, run_value, timing_columns, timing_value
from catalogs.tables import AttemptRow, BatchRow, RunRow, ShotRow, TimingRow

NEWEST_TIMINGS: Final = 20_000
"""How many timings are read at most: months of nights, and less than a second."""


class Nights(Attempts):
    """What a night is made of. Every method raises CatalogueUnavailableError if the database fails under it."""

    # -- batches -------------------------------------------------------------------------------------

    def open_batch(
        self,
        *,
        until: datetime | None,
        wishes: Mapping[str, Any],
        plan: Mapping[str, Any],
        flow_run: str,
        now: datetime | None = None,
    ) -> Batch:
        """A new batch, named by the date of `now` where it is written (default: this machine's).

        The same flow run gets the same batch again. Raises BatchRunningError while another one is not over.
        """
        began = now or datetime.now().astimezone()

        def work(session: Session) -> Batch:
            standing = session.scalars(select(BatchRow).where(BatchRow.slot == 1)).first()
            if standing is not None and flow_run and standing.flow_run == flow_run:
                return batch_value(standing)
            if standing is not None:
                raise BatchRunningError(standing.name)
            day = f"{began:%Y-%m-%d}"
            names = set(session.scalars(select(BatchRow.name).where(BatchRow.name.startswith(day))))
            number = next(number for number in range(1, len(names) + 2) if _named(day, number) not in names)
            row = BatchRow(
                name=_named(day, number),
                status=BatchStatus.RUNNING.value,
                slot=1,
                flow_run=flow_run,
                resumed=0,
                wishes=dict(wishes),
                plan=dict(plan),
                report={},
                started_at=began,
                until=until,
            )
            session.add(row)
            session.flush()
            session.refresh(row)
            return batch_value(row)

        return self._sessions.write(work)

    def running(self) -> Batch | None:
        """The batch that is not over: running or stopping."""
        return self._first(BatchRow.slot == 1)

    def last(self) -> Batch | None:
        """The newest batch, whatever its status."""
        return self._first()

    def batch(self, name: str) -> Batch:
        """The batch of that name. Raises CatalogueError naming the last few."""
        with self._sessions.reading() as session:
            return batch_value(batch_row(session, name))

    def batches(self, *, most: int = 30) -> list[Batch]:
        """Batches, newest first."""
        with self._sessions.reading() as session:
            rows = session.scalars(select(BatchRow).order_by(BatchRow.id.desc()).limit(most))
            return [batch_value(row) for row in rows]

    def adopt(self, name: str, *, flow_run: str) -> Batch:
        """Another flow run follows the batch from now on; the one that does already changes nothing.

        Raises CatalogueError for a batch that is unknown or over.
        """

        def work(session: Session) -> Batch:
            row = _still_open(session, name)
            if row.flow_run != flow_run:
                row.flow_run, row.resumed = flow_run, row.resumed + 1
            return batch_value(row)

        return self._sessions.write(work)

    def stop(self, name: str) -> Batch:
        """A running batch stops; one that stops or is over stays so. Raises CatalogueError for an unknown one."""

        def work(session: Session) -> Batch:
            row = _held(session, name)
            if row.status == BatchStatus.RUNNING.value:
                row.status = BatchStatus.STOPPING.value
            return batch_value(row)

        return self._sessions.write(work)

    def end(self, name: str, *, report: Mapping[str, Any]) -> Batch:
        """The batch is over: attempts of it that are still open are released and fenced, its runs ended.

        A batch that is over keeps its first report. Raises CatalogueError for an unknown one.
        """

        def work(session: Session) -> Batch:
            row = _held(session, name)
            if row.status == BatchStatus.ENDED.value:
                return batch_value(row)
            now = datetime.now(UTC)
            unfinished = update(RunRow).where(RunRow.batch_id == row.id, RunRow.ended_at.is_(None))
            session.execute(unfinished.values(ended_at=now).execution_options(synchronize_session=False))
            query = select(AttemptRow.shot_id).where(AttemptRow.batch_id == row.id, AttemptRow.status.in_(OPEN_VALUES))
            shots = {shot.id: shot for shot in lock_shots(session, session.scalars(query))}
            for attempt in open_attempts(session, list(shots.values())).values():
                if attempt.batch_id == row.id:
                    disclaim(shots[attempt.shot_id], attempt, AttemptStatus.RELEASED, error="the batch ended")
            row.status, row.slot, row.ended_at, row.report = BatchStatus.ENDED.value, None, now, dict(report)
            return batch_value(row)

        return self._sessions.write(work)

    # -- runs ----------------------------------------------------------------------------------------

    def arrive(self, flow_run: str, *, batch: str, stage: Stage, name: str, worker: str, device: str) -> Run:
        """A process is there, for the reel or shot `name`. One that comes again gets its old run.

        If the run was given up, or the batch is over, it has `ended`, and the process has to leave. Raises
        CatalogueError for an unknown batch.
        """

        def work(session: Session) -> Run:
            night = batch_row(session, batch, lock=True)
            now = datetime.now(UTC)
            row = run_row(session, flow_run, lock=True)
            if row is None:
                row = RunRow(flow_run=flow_run, batch_id=night.id, beats=0, said="", started_at=now)
                row.ended_at = now if night.status == BatchStatus.ENDED.value else None
                session.add(row)
            row.stage, row.name, row.worker, row.device = stage.value, name, worker, device
            row.beats, row.beat_at = row.beats + 1, now
            session.flush()
            return run_value(row, batch=night.name)

        return self._sessions.write(work)

    def beat(self, flow_run: str, *, said: str = "") -> Orders:
        """A sign of life, and what the run is doing (nothing said: as before); answered with what it should know.

        Raises CatalogueError for a run that never arrived.
        """
        changes: dict[str, Any] = {"beats": RunRow.beats + 1, "beat_at": datetime.now(UTC)}
        if said:
            changes["said"] = said

        def work(session: Session) -> Orders:
            session.execute(
                update(RunRow)
                .where(RunRow.flow_run == flow_run, RunRow.ended_at.is_(None))
                .values(changes)
                .execution_options(synchronize_session=False)
            )
            return _orders(session, flow_run)

        return self._sessions.write(work)

    def orders(self, flow_run: str) -> Orders:
        """What `beat` would answer, without the sign of life: cheap enough to ask every second. Raises like it."""
        with self._sessions.reading() as session:
            return _orders(session, flow_run)

    def leave(self, flow_run: str) -> None:
        """The run is over in good order; its open attempts are the caller's to end first."""
        self._sessions.write(
            lambda session: session.execute(
                update(RunRow)
                .where(RunRow.flow_run == flow_run, RunRow.ended_at.is_(None))
                .values(ended_at=datetime.now(UTC))
                .execution_options(synchronize_session=False)
            )
        )

    def runs(self, batch: str, *, open_only: bool = False) -> list[Run]:
        """Runs of a batch in the order of their arrival. Raises CatalogueError for an unknown batch."""
        with self._sessions.reading() as session:
            night = batch_row(session, batch)
            query = select(RunRow).where(RunRow.batch_id == night.id).order_by(RunRow.id)
            if open_only:
                query = query.where(RunRow.ended_at.is_(None))
            return [run_value(row, batch=night.name) for row in session.scalars(query)]

    # -- timings -------------------------------------------------------------------------------------

    def record(self, timing: Timing) -> None:
        """Keeps a timing beside those that are there, with the time of now if it has none."""
        row = TimingRow(**timing_columns(timing, at=datetime.now(UTC)))
        with self._sessions.writing() as session:
            session.add(row)

    def timings(self, *, since: datetime | None = None, batch: str = "") -> list[Timing]:
        """The newest 20,000 timings, oldest first; since a time, or of one batch, where named."""
        wanted: list[ColumnElement[bool]] = []
        if since is not None:
            wanted.append(TimingRow.recorded_at >= since)
        if batch:
            wanted.append(TimingRow.batch == batch)
        query = select(*TIMING_READ).where(*wanted).order_by(TimingRow.recorded_at.desc(), TimingRow.id.desc())
        with self._sessions.reading() as session:
            rows = session.execute(query.limit(NEWEST_TIMINGS)).all()
        return [timing_value(row) for row in reversed(rows)]

    def _first(self, *wanted: ColumnElement[bool]) -> Batch | None:
        with self._sessions.reading() as session:
            row = session.scalars(select(BatchRow).where(*wanted).order_by(BatchRow.id.desc()).limit(1)).first()
            return None if row is None else batch_value(row)


def _orders(session: Session, flow_run: str) -> Orders:
    """What a run should know. Raises CatalogueError for one that never arrived."""
    query = select(RunRow.ended_at, BatchRow.status).join(BatchRow, BatchRow.id == RunRow.batch_id)
    found = session.execute(query.where(RunRow.flow_run == flow_run)).first()
    if found is None:
        raise CatalogueError(f"no run {flow_run!r} is known; it has to arrive before it gives signs of life")
    ended, status = found
    shots = (
        select(ShotRow.show, ShotRow.code)
        .join(AttemptRow, AttemptRow.shot_id == ShotRow.id)
        .where(AttemptRow.flow_run == flow_run, AttemptRow.status.in_(OPEN_VALUES))
    )
    return Orders(
        stop=ended is not None or status != BatchStatus.RUNNING.value,
        held=frozenset(f"{show}/{code}" for show, code in session.execute(shots)),
    )


def _named(day: str, number: int) -> str:
    return day if number == 1 else f"{day}-{number}"


def _held(session: Session, name: str) -> BatchRow:
    """The batch's row, locked for writing. Raises CatalogueError for an unknown one."""
    query = select(BatchRow).where(BatchRow.name == name).with_for_update()
    return session.scalars(query).first() or batch_row(session, name)


def _still_open(session: Session, name: str) -> BatchRow:
    """The batch's row, locked for writing. Raises CatalogueError for one that is unknown or over."""
    row = _held(session, name)
    if row.status == BatchStatus.ENDED.value:
        raise CatalogueError(f"the batch {row.name} is over and stays as it is; open another one")
    return row
