"""Verdicts in the catalogue: deciding, taking back, and the history of a shot. `Catalogue.verdicts`.

Knows: the table of verdicts, in values of verdict.py; that nobody who renders may write over a decision. Does not
know: which verdict is legal (verdict.py), who may decide, models (their rules come as a function).
Each method is one short transaction under locks on its shots: all of them are judged, or none. Memory: O(shots judged).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalogs.anchors import anchor_complaints
from catalogs.beats import beat_complaints
from catalogs.changes import Change, Value, read_note
from catalogs.errors import VerdictError
from catalogs.footage import Status
from catalogs.night import AttemptStatus
from catalogs.problems import Complaint
from catalogs.queries import RENDERABLE, SLATE, shot_row
from catalogs.rights import disclaim, full_name, lock_shots, open_attempts, shot_ids
from catalogs.rows import fold, shot_value
from catalogs.sessions import Sessions
from catalogs.shot import Shot
from catalogs.tables import AttemptRow, ShotRow, TakeRow, VerdictRow
from catalogs.verdict import (
    Decision,
    Move,
    Past,
    Ruling,
    Standing,
    Target,
    Verdict,
    approve,
    omit,
    retake,
    ruling,
    undo,
)
from catalogs.versions import Version, version_value

_MOST: Final = 10_000
"""Keys in one statement; SQLite takes 32,766 parameters."""

Judge = Callable[[Standing, Target], Move | None]


def _content(shot: Shot) -> Sequence[Complaint]:
    del shot
    return ()


@dataclass(frozen=True, slots=True)
class History:
    """Everything that became of a shot."""

    shot: Shot
    """The request as it stands."""
    status: Status
    error: str
    revision: int
    retaken: tuple[Change, ...]
    """Where the request is a retake's and not the list's: what the list says, and what stands."""
    versions: tuple[Version, ...]
    """Oldest first."""
    verdicts: tuple[Verdict, ...]
    """Oldest first, those that were taken back too."""


class Verdicts:
    """Decisions on shots. Every method raises CatalogueUnavailableError if the database fails under it.

    Targets that are text are names. `by` is who decides, `note` why. A dry run says what would be, and locks nothing
    for longer than that. Raise UnknownShotError and AmbiguousShotError as `find` does, and VerdictError with a sentence
    for each shot that the verdict may not be on; nothing was then decided.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def approve(
        self, targets: Sequence[Target | str], *, by: str, note: str = "", dry_run: bool = False
    ) -> list[Ruling]:
        """These versions are the ones: cuts show them, no night takes their shots up."""
        return self._decide(Decision.APPROVE, targets, approve, by=by, note=note, dry_run=dry_run)

    def omit(self, targets: Sequence[Target | str], *, by: str, note: str = "", dry_run: bool = False) -> list[Ruling]:
        """These shots are out, and whoever renders one of them is fenced. Nothing of them is deleted."""
        return self._decide(Decision.OMIT, targets, omit, by=by, note=note, dry_run=dry_run)

    def retake(
        self,
        targets: Sequence[Target | str],
        changes: Mapping[str, Value],
        *,
        by: str,
        note: str = "",
        judge: Callable[[Shot], Sequence[Complaint]] = _content,
        dry_run: bool = False,
    ) -> list[Ruling]:
        """These shots are ready again, with the changes (fields of RETAKEABLE) or, where there are none, a new seed.

        `judge` says what their models cannot do of the changed requests.
        """
        rule = partial(retake, changes=changes)
        return self._decide(Decision.RETAKE, targets, rule, by=by, note=note, dry_run=dry_run, judge=judge)

    def undo(self, targets: Sequence[Target | str], *, by: str, note: str = "", dry_run: bool = False) -> list[Ruling]:
        """The last verdict on each that still holds is taken back; again: the one before it."""
        return self._decide(Decision.UNDO, targets, undo, by=by, note=note, dry_run=dry_run)

    def history(self, name: str) -> History:
        """Versions and verdicts of a shot. Raises like find."""
        with self._sessions.reading() as session:
            row = shot_row(session, name)
            shot = shot_value(row)
            verdicts = session.scalars(select(VerdictRow).where(VerdictRow.shot_id == row.id).order_by(VerdictRow.id))
            return History(
                shot=shot,
                status=Status(row.status),
                error=row.error,
                revision=row.revision,
                retaken=tuple(Change(field, old, getattr(shot, field)) for field, old in row.retaken.items()),
                versions=tuple(version_value(take) for take in row.takes),
                verdicts=_verdicts(verdicts.all()),
            )

    def _decide(
        self,
        decision: Decision,
        targets: Sequence[Target | str],
        rule: Judge,
        *,
        by: str,
        note: str,
        dry_run: bool,
        judge: Callable[[Shot], Sequence[Complaint]] = _content,
    ) -> list[Ruling]:
        asked = [Target(one) if isinstance(one, str) else one for one in targets]
        signed, why = read_note(by, what="the name"), read_note(note, what="the note")

        def work(session: Session) -> list[Ruling]:
            bench = _Bench(session, asked)
            moves, rulings = bench.judged(decision, rule, judge)
            for row, move in moves if not dry_run else ():
                bench.apply(row, move, by=signed, note=why)
            return rulings

        if not dry_run:
            return self._sessions.write(work)
        with self._sessions.reading() as session:
            return work(session)


class _Bench:
    """The shots of one verdict, locked, and how they stand. Made and gone with its session."""

    def __init__(self, session: Session, targets: Sequence[Target]) -> None:
        self._session = session
        ids = shot_ids(session, [target.name for target in targets])
        self._rows = {row.id: row for row in lock_shots(session, ids.values())}
        self._attempts = open_attempts(session, list(self._rows.values()))
        self._takes: dict[int, list[TakeRow]] = {key: [] for key in self._rows}
        self._past: dict[int, list[VerdictRow]] = {key: [] for key in self._rows}
        keys = list(self._rows)
        for start in range(0, len(keys), _MOST):
            some = keys[start : start + _MOST]
            takes = select(TakeRow).where(TakeRow.shot_id.in_(some)).order_by(TakeRow.version)
            for take in session.scalars(takes):
                self._takes[take.shot_id].append(take)
            verdicts = select(VerdictRow).where(VerdictRow.shot_id.in_(some)).order_by(VerdictRow.id)
            for verdict in session.scalars(verdicts):
                self._past[verdict.shot_id].append(verdict)
        self._targets = self._once(targets, ids)

    def _once(self, targets: Sequence[Target], ids: Mapping[str, int]) -> dict[int, Target]:
        """Key of each shot -> its target; a shot may be named twice, but not with two versions."""
        found: dict[int, Target] = {}
        for target in targets:
            row = self._rows[ids[target.name]]
            slated = _slated(target.name, row)
            if None not in (slated, target.version) and slated != target.version:
                raise VerdictError(
                    [f"{target.name} is v{slated:03d}, and v{target.version:03d} is named; name one of them"]
                )
            target = replace(target, version=slated if target.version is None else target.version)
            before = found.setdefault(row.id, target)
            if before.version != target.version:
                raise VerdictError([f"{full_name(row)} is named twice, with different versions; name one of them"])
        return found

    def judged(
        self, decision: Decision, rule: Judge, judge: Callable[[Shot], Sequence[Complaint]]
    ) -> tuple[list[tuple[ShotRow, Move]], list[Ruling]]:
        """What is to be done, and what is told of it. Raises VerdictError with every refusal; changes nothing."""
        moves, rulings, refused = [], [], list[str]()
        for key, target in self._targets.items():
            standing = self._standing(key)
            try:
                move = rule(standing, target)
                notices = [] if move is None or decision is Decision.UNDO else _complaints(standing.shot, move, judge)
            except VerdictError as error:
                refused += error.sentences
                continue
            sequences = {take.version: take.sequence for take in self._takes[key]}
            version = move.version if move else standing.newest
            sequence = sequences.get(version or 0, standing.shot.sequence)
            rulings.append(ruling(standing, decision, move, sequence=sequence, notices=notices))
            if move is not None:
                moves.append((self._rows[key], move))
        if refused:
            raise VerdictError(refused)
        return moves, rulings

    def _standing(self, key: int) -> Standing:
        row, past = self._rows[key], self._past[key]
        undone = {one.undoes for one in past}
        holding = [one for one in past if one.undoes is None and one.id not in undone]
        attempt = self._attempts.get(key)
        running = attempt is not None and attempt.status == AttemptStatus.RUNNING.value
        return Standing(
            shot=shot_value(row),
            status=Status(row.status),
            error=row.error,
            revision=row.revision,
            takes=tuple((take.version, Status(take.status)) for take in self._takes[key]),
            at_work=running or row.status == Status.RENDERING.value,
            last=_past(holding[-1]) if holding else None,
            judged=len(past),
        )

    def apply(self, row: ShotRow, move: Move, *, by: str, note: str) -> None:
        """Do it, and write it down."""
        now = datetime.now(UTC)
        before, error = row.status, row.error
        attempt: AttemptRow | None = self._attempts.get(row.id)
        if attempt is not None and move.status not in RENDERABLE:
            disclaim(row, attempt, AttemptStatus.CANCELLED, error=f"the shot was taken out: {move.decision}")
        stati = {version: after for version, _, after in move.takes}
        for take in self._takes[row.id]:
            if take.version in stati:
                take.status = stati[take.version].value
        retaken = dict(row.retaken)
        for change in move.changes:
            # the list's own word is kept until the request says the same again
            if retaken.setdefault(change.field, change.old) == change.new:
                del retaken[change.field]
            setattr(row, change.field, change.new)
        if move.changes:
            row.retaken, row.revision = retaken, row.revision + 1
        row.status, row.error, row.updated_at = move.status.value, move.error, now
        self._session.add(
            VerdictRow(
                shot_id=row.id,
                version=move.version,
                decision=move.decision.value,
                decided_by=by,
                decided_at=now,
                note=note,
                changes=[[one.field, one.old, one.new] for one in move.changes],
                takes=[[version, was.value, after.value] for version, was, after in move.takes],
                status_before=before,
                error_before=error,
                status_after=move.status.value,
                revision=row.revision,
                undoes=move.undoes.key if move.undoes else None,
            )
        )


def _slated(name: str, row: ShotRow) -> int | None:
    """The version in a slate; None for a name that is none."""
    match = SLATE.fullmatch(name.strip())
    typed = fold(name.strip().rpartition("/")[2])
    return None if match is None or typed == row.code_folded else int(match[2])


def _complaints(shot: Shot, move: Move, judge: Callable[[Shot], Sequence[Complaint]]) -> list[str]:
    """What there is to say of a changed request. Raises VerdictError for what cannot be made."""
    if not move.changes:
        return []
    changed = replace(shot, **{one.field: one.new for one in move.changes})  # type: ignore[arg-type]
    found = (*beat_complaints(changed), *anchor_complaints(changed), *judge(changed))
    if refused := [str(one) for one in found if one.refuses]:
        raise VerdictError([f"{shot.name}: {one}" for one in refused])
    return [str(one) for one in found]


def _changes(row: VerdictRow) -> tuple[Change, ...]:
    return tuple(Change(field, old, new) for field, old, new in row.changes)


def _past(row: VerdictRow) -> Past:
    return Past(
        key=row.id,
        decision=Decision(row.decision),
        version=row.version,
        before=Status(row.status_before),
        error=row.error_before,
        revision=row.revision,
        changes=_changes(row),
        takes=tuple((version, Status(before), Status(after)) for version, before, after in row.takes),
    )


def _verdicts(rows: Sequence[VerdictRow]) -> tuple[Verdict, ...]:
    known = {row.id: Decision(row.decision) for row in rows}
    undone = {row.undoes for row in rows}
    return tuple(
        Verdict(
            decision=known[row.id],
            version=row.version,
            by=row.decided_by,
            at=row.decided_at,
            note=row.note,
            changes=_changes(row),
            before=Status(row.status_before),
            after=Status(row.status_after),
            undone=row.id in undone,
            undoes=None if row.undoes is None else known[row.undoes],
        )
        for row in rows
    )
