"""The catalogue: which shots were asked for, where they stand, and which takes were made of them.

Knows: queries and short writes, in values of shot.py and footage.py. Does not know: who calls it,
Prefect, files beyond the paths that it keeps. No transaction outlives a method (or a `with publishing`), so a render
of hours holds nothing open. Safe to use from several threads and several processes. Memory: O(shots listed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine, Row, select
from sqlalchemy.orm import Session

from catalogs import selection
from catalogs.database import connect
from catalogs.errors import ShotChangedError
from catalogs.footage import Clip, Deliverable, Finding, Status, Take
from catalogs.night import AttemptStatus
from catalogs.nights import Nights
from catalogs.people import People
from catalogs.queries import RENDERABLE, UNFINISHED, newest_take_row, settle, shot_row, take_row
from catalogs.reviews import Reviews
from catalogs.rights import attempt_row, close, full_name, held, take_by_hand
from catalogs.rows import clip_row, deliverable_row, finding_row, shot_value, take_value
from catalogs.sessions import Sessions
from catalogs.shot import Shot
from catalogs.submission import Asked, Mode, SubmissionResult, take_in
from catalogs.tables import ShotRow, SubmissionRow, TakeRow
from catalogs.verdicts import Verdicts
from catalogs.versions import ShotVersions, shot_versions


@dataclass(frozen=True, slots=True)
class ShotRecord:
    """A shot and where it stands."""

    shot: Shot
    status: Status
    version: int
    """Version of the newest take; 0 if there is none."""
    take: Take | None
    """The newest take."""
    seconds: float | None
    """Wall seconds that the newest take has cost; None before its first report."""
    error: str = ""
    """Why the shot failed, with the remedy; empty if it did not."""
    revision: int = 0
    """Counts changes of the request: what was planned from an older one does not settle a newer one."""


def open_catalogue(url: str) -> Catalogue:
    """The catalogue at an SQLAlchemy url; created or upgraded if need be.

    Raises CatalogueUnavailableError if it cannot be opened or written, or is newer than this code.
    """
    return Catalogue(connect(url))


class Catalogue:
    """An open catalogue; made by open_catalogue, closed by close() or by leaving a `with`.

    Every method raises CatalogueUnavailableError if the database fails under it; nothing is then
    half-written.
    """

    def __init__(self, engine: Engine) -> None:
        self._sessions = Sessions(engine)
        self.nights = Nights(self._sessions)
        """Batches, runs, attempts and timings."""
        self.people = People(self._sessions)
        """Who may use the desk, and who did what."""
        self.reviews = Reviews(self._sessions)
        """What a review shows."""
        self.verdicts = Verdicts(self._sessions)
        """Approving, omitting, sending back, and the history of that."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection."""
        self._sessions.close()

    # -- shots ---------------------------------------------------------------------------------------

    def submit(
        self,
        shots: Sequence[Shot],
        *,
        source: str,
        submitted_by: str = "",
        mode: Mode = "create",
        dry_run: bool = False,
        lines: Mapping[str, int] | None = None,
        allow_new: bool = False,
        claim: str | None = None,
        said: Callable[[str, int, int], None] | None = None,
        ready: Callable[[SubmissionResult], object] | None = None,
    ) -> SubmissionResult:
        """Takes all shots in, or none. `source` names the list; `lines` (name -> line) is for messages.

        A shot that stands in the catalogue and is identical is unchanged in every mode. `create` refuses
        one that differs, `update` one that is new; a new one that resembles one of the show needs `allow_new`.
        A shot whose pixels or files change becomes ready again, unless it is omitted; a change of priority, due
        date, notes, sender or metadata alone leaves its status. The catalogue's spelling of show and code stays.
        Where nothing is new or changed nothing is written, unless there is a `claim`: a list is taken in once
        under one. One list at a time: another one that comes meanwhile is held against what this one leaves.

        `said` is told what is being done, to how many shots, of how many; `ready` what will be done, when nothing can
        refuse it any more and nothing is written; a write that met another one begins again, and tells again. Raises
        ShotListError with every refusal at once, ListTakenError for a claim that was used, and what `ready` raises.
        """
        more = {name: told for name, told in (("said", said), ("ready", ready)) if told is not None}
        asked = Asked(
            shots,
            source=source,
            submitted_by=submitted_by,
            mode=mode,
            lines=lines or {},
            allow_new=allow_new,
            claim=claim,
            compare=dry_run,
            **more,  # type: ignore[arg-type]
        )
        if not dry_run:
            return self._sessions.write(lambda session: take_in(session, asked, write=True))
        with self._sessions.reading() as session:
            return take_in(session, asked, write=False)

    def has_taken(self, claim: str) -> bool:
        """Whether a list was taken in under that claim."""
        with self._sessions.reading() as session:
            return session.scalars(select(SubmissionRow.id).where(SubmissionRow.claim == claim)).first() is not None

    def shots(
        self,
        *,
        show: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[ShotRecord]:
        """Shots by priority, due date (none last), show, sequence and code; `show` in any case.

        With `limit` that many at most, behind the shot called `after`; the time it takes does not grow with the
        catalogue. Raises like find for `after`.
        """
        statuses = selection.ALL if status is None else (status,)
        return self._records(statuses, show=show, limit=limit, after=after)

    def renderable(self, *, limit: int | None = None, after: str | None = None) -> list[ShotRecord]:
        """Shots that a batch should take up, in the order, and the pages, of `shots`."""
        return self._records(RENDERABLE, limit=limit, after=after)

    def standings(self, names: Iterable[str]) -> Iterator[ShotRecord]:
        """The shots of these full names, in any order; unknown ones are left out."""
        with self._sessions.reading() as session:
            for row, take in selection.named(session, names):
                yield _record(row, take)

    def requests(self, *, show: str | None = None, sequence: str | None = None) -> list[Shot]:
        """What was asked for, of a show and a sequence (`_` for none), in the order in which lists brought it."""
        with self._sessions.reading() as session:
            return list(selection.requests(session, show=show, sequence=sequence))

    def find(self, name: str) -> ShotRecord:
        """The shot `SHOW/CODE`, or `CODE` where unique, in any case.

        Raises UnknownShotError with similar names, AmbiguousShotError with the candidates.
        """
        with self._sessions.reading() as session:
            row = shot_row(session, name)
            return _record(row, newest_take_row(session, row))

    def counts(self, *, show: str | None = None) -> dict[Status, int]:
        """How many shots, of a show in any case or all, stand where; every status is a key."""
        with self._sessions.reading() as session:
            return selection.counted(session, show=show)

    def fail_shot(self, name: str, error: str) -> None:
        """The shot failed before a take of it began; the error is kept on the shot.

        A shot in review or approved stays so: what was delivered is not undone by a later complaint.
        """

        def work(session: Session) -> None:
            row = shot_row(session, name, lock=True)
            if row.status in {status.value for status in RENDERABLE}:
                row.status, row.error, row.updated_at = Status.FAILED.value, error, datetime.now(UTC)

        self._sessions.write(work)

    def settle_shot(self, take: Take) -> None:
        """A take turned out to be what the shot asks for, and finished: the shot stands where the take does.

        One that was approved or omitted stays so: the approved version may be an older one.
        Raises CatalogueError if the catalogue has no such take.
        """

        def work(session: Session) -> None:
            row = take_row(session, take)
            if row.shot.status not in (Status.APPROVED.value, Status.OMITTED.value):
                row.shot.status, row.shot.error, row.shot.updated_at = row.status, "", datetime.now(UTC)

        self._sessions.write(work)

    # -- takes ---------------------------------------------------------------------------------------

    def begin_take(
        self,
        name: str,
        *,
        key: str,
        plan: Callable[[int], Mapping[str, Any]],
        at_least: int = 1,
        fence: int | None = None,
        revision: int | None = None,
    ) -> Take:
        """The take to work on: the newest if it is unfinished and has this key, else a new version.

        A new version is one above the newest and not below `at_least` (what stands on disk may be ahead
        of the catalogue). `plan` is asked for the plan of that version. Shot and take are then rendering,
        their errors cleared. `fence` is the attempt that renders; without one (by hand) a new attempt
        is granted, which ends an earlier one by hand. The take's own `fence` names it to every later call.

        Raises FencedError if the attempt is not the shot's open one, ShotTakenError if, by hand, the
        shot has an open attempt in the batch that runs, and ShotChangedError if the request is not the one
        of `revision` any more: a plan of it would be published as what was asked for since.
        """

        def work(session: Session) -> Take:
            shot = shot_row(session, name, lock=True)
            if revision is not None and revision != shot.revision:
                raise ShotChangedError(full_name(shot))
            right = take_by_hand(session, shot) if fence is None else held(session, shot, fence)
            newest = newest_take_row(session, shot)
            if newest is not None and newest.status in UNFINISHED and newest.key == key:
                take = newest
            else:
                if newest is not None and newest.status == Status.RENDERING.value:
                    newest.status = Status.FAILED.value
                    newest.error = "interrupted, and the shot changed since; a newer take replaces it"
                take = TakeRow(
                    shot=shot,
                    version=max(newest.version + 1 if newest else 1, at_least),
                    sequence=shot.sequence,
                    key=key,
                    manifest=None,
                    seconds=[],
                    started_at=datetime.now(UTC),
                    finished_at=None,
                )
                session.add(take)
            take.plan, take.revision = dict(plan(take.version)), shot.revision
            take.status, take.error = Status.RENDERING.value, ""
            shot.status, shot.error, shot.updated_at = Status.RENDERING.value, "", datetime.now(UTC)
            session.flush()
            return take_value(take, fence=right.fence)

        return self._sessions.write(work)

    def newest_take(self, name: str) -> Take | None:
        """The take with the highest version; None before the first. Raises like find."""
        return self.find(name).take

    def takes(self, name: str) -> list[Take]:
        """Every take of a shot, oldest first. Raises like find."""
        with self._sessions.reading() as session:
            query = select(TakeRow).where(TakeRow.shot == shot_row(session, name)).order_by(TakeRow.version)
            return [take_value(take) for take in session.scalars(query)]

    def versions(self, *, show: str | None = None, sequence: str | None = None) -> list[ShotVersions]:
        """Every shot with all its versions, in cut order. Raises CatalogueError if nothing has that name."""
        with self._sessions.reading() as session:
            return shot_versions(session, show=show, sequence=sequence)

    def finish_take(
        self,
        take: Take,
        *,
        manifest: Path,
        clips: Sequence[tuple[str, Clip]],
        deliverables: Sequence[Deliverable],
        findings: Sequence[Finding],
        seconds: Mapping[str, float],
    ) -> None:
        """The take is published: it and its shot go to review, its attempt is done. Again: no change.

        `clips` are (step, clip). The shot's status stays if the shot changed meanwhile or has a newer take.
        Raises FencedError if the take's attempt is not the shot's open one, and CatalogueError if the catalogue has
        no such take; nothing is then kept.
        """

        def work(session: Session) -> None:
            row = take_row(session, take)
            past = attempt_row(session, row.shot, take.fence)
            if past is not None and past.status == AttemptStatus.DONE.value and row.status not in UNFINISHED:
                return
            right = held(session, row.shot, take.fence)
            row.manifest, row.seconds = str(manifest), _pairs(seconds)
            # Old parts go first: their kinds and positions would meet the new ones otherwise.
            row.clips, row.deliverables, row.findings = [], [], []
            session.flush()
            row.clips = [clip_row(clip, step=step, position=at) for at, (step, clip) in enumerate(clips)]
            row.deliverables = [deliverable_row(part, position=at) for at, part in enumerate(deliverables)]
            row.findings = [finding_row(part, position=at) for at, part in enumerate(findings)]
            settle(session, row, status=Status.REVIEW, error="")
            close(row.shot, right, AttemptStatus.DONE)

        self._sessions.write(work)

    def fail_take(self, take: Take, *, error: str, seconds: Mapping[str, float], transient: bool = False) -> None:
        """The take failed, and its shot and attempt with it; a take that was finished meanwhile stays finished.

        `transient` says whether another attempt may do better. Again: no change. Raises FencedError if the take's
        attempt is not the shot's open one, and CatalogueError if the catalogue has no such take.
        """

        def work(session: Session) -> None:
            row = take_row(session, take)
            past = attempt_row(session, row.shot, take.fence)
            if past is not None and past.status in (AttemptStatus.DONE.value, AttemptStatus.FAILED.value):
                return
            right = held(session, row.shot, take.fence)
            if row.status in UNFINISHED:
                row.seconds = _pairs(seconds)
                settle(session, row, status=Status.FAILED, error=error)
            close(row.shot, right, AttemptStatus.FAILED, error=error, transient=transient)

        self._sessions.write(work)

    def leave_take(self, take: Take, *, evidence: Mapping[str, Any] | None = None) -> None:
        """The take is left unfinished on request: attempt released, shot ready; the next attempt continues the take.

        `evidence` says why, for whoever decides about the next one. Nothing changes if the attempt has ended or is
        fenced. Raises CatalogueError if there is no such take.
        """

        def work(session: Session) -> None:
            shot = take_row(session, take).shot
            right = attempt_row(session, shot, take.fence)
            if right is not None and right.ended_at is None:
                close(shot, right, AttemptStatus.RELEASED, error="stopped on request", evidence=evidence)

        self._sessions.write(work)

    @contextmanager
    def publishing(self, take: Take) -> Iterator[None]:
        """Nobody else is given the shot inside this `with`, which holds its row (on SQLite: the write lock).

        For one rename, milliseconds; no other method of the catalogue may be called in it. Raises FencedError
        before the block if the take's attempt is not the shot's open one; CatalogueUnavailableError after it if
        the connection was lost inside: what was renamed then stands, and the caller says so with finish_take.
        """
        with self._sessions.writing() as session:
            held(session, take_row(session, take).shot, take.fence)
            yield

    def _records(self, statuses: Sequence[Status], **wanted: Any) -> list[ShotRecord]:
        with self._sessions.reading() as session:
            return [_record(row, take) for row, take in selection.page(session, statuses=statuses, **wanted)]


def _record(row: ShotRow | Row[Any], take: TakeRow | None) -> ShotRecord:
    value = None if take is None else take_value(take)
    return ShotRecord(
        shot=shot_value(row),
        status=Status(row.status),
        version=0 if value is None else value.version,
        take=value,
        seconds=sum(spent for _, spent in value.seconds) if value and value.seconds else None,
        error=row.error,
        revision=row.revision,
    )


def _pairs(seconds: Mapping[str, float]) -> list[list[Any]]:
    return [[step, float(spent)] for step, spent in seconds.items()]
