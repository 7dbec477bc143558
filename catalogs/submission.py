"""Taking a shot list into the catalogue: all of it or none of it.

Knows: what is new, changed, unchanged or refused, and what a change does to a shot's status.
Does not know: files, transactions (the caller holds one open around `take_in`).
Memory: O(shots submitted + shots of their shows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalogs.changes import Change, Value, over_the_list
from catalogs.errors import ShotListError
from catalogs.footage import Status
from catalogs.problems import Problem, problem
from catalogs.rows import differences, fold, renders_alike, shot_columns, shot_value
from catalogs.shot import Shot
from catalogs.tables import ShotRow, SubmissionRow

Mode = Literal["create", "update", "upsert"]
"""Whether a submission may bring new shots, change known ones, or both."""

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """A shot that a retake changed, and whose list has nothing new to say of that."""

    shot: str
    """`SHOW/CODE`."""
    changes: tuple[Change, ...]
    """What the list says, and what stands."""


@dataclass(frozen=True, slots=True)
class SubmissionResult:
    """What a submission did, or in a dry run would do. All names are `SHOW/CODE`, in the order given."""

    accepted: tuple[str, ...]
    """Every shot of the submission."""
    new: tuple[str, ...]
    """Shots that were not in the catalogue."""
    changed: tuple[str, ...]
    """Shots whose request differs from what stood there."""
    unchanged: tuple[str, ...]
    """Shots that stood there exactly so."""
    kept: tuple[Kept, ...] = ()
    """Shots of which the list says what it said before a retake changed it: the retake's word stays."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """One shot against the catalogue."""

    shot: Shot
    """In the catalogue's spelling of show and code."""
    row: ShotRow | None
    """The row that it meets; None for a new shot."""
    before: Shot | None
    """What stands in that row."""
    kept: tuple[Change, ...] = ()
    """What stays as a retake left it."""
    retaken: Mapping[str, Value] = field(default_factory=dict)
    """What the list says of that: the row's column of this name, from now on."""

    @property
    def changed(self) -> bool:
        return self.before is not None and self.before != self.shot


def take_in(
    session: Session,
    shots: Sequence[Shot],
    *,
    source: str,
    submitted_by: str,
    mode: Mode,
    lines: Mapping[str, int],
    write: bool,
) -> SubmissionResult:
    """Decides on every shot, then writes all (or nothing, without `write`). Raises ShotListError."""
    decisions = _decide(session, shots)
    problems = _refusals(shots, decisions, source=source, mode=mode, lines=lines)
    if problems:
        raise ShotListError(problems)
    if write:
        _write(session, decisions, source=source, submitted_by=submitted_by, mode=mode)
    return SubmissionResult(
        accepted=tuple(decision.shot.name for decision in decisions),
        new=tuple(decision.shot.name for decision in decisions if decision.row is None),
        changed=tuple(decision.shot.name for decision in decisions if decision.changed),
        unchanged=tuple(decision.shot.name for decision in decisions if decision.before == decision.shot),
        kept=tuple(Kept(decision.shot.name, decision.kept) for decision in decisions if decision.kept),
    )


def _key(shot: Shot) -> _Key:
    return fold(shot.show), fold(shot.code)


def _decide(session: Session, shots: Sequence[Shot]) -> list[_Decision]:
    rows: dict[_Key, ShotRow] = {}
    spellings: dict[str, str] = {}
    for show in sorted({fold(shot.show) for shot in shots}):
        # Locked, so that on PostgreSQL too nobody changes them between the decision and the write.
        query = select(ShotRow).where(ShotRow.show_folded == show).order_by(ShotRow.id).with_for_update()
        for row in session.scalars(query):
            rows[row.show_folded, row.code_folded] = row
            spellings.setdefault(row.show_folded, row.show)
    decisions = []
    for shot in shots:
        found = rows.get(_key(shot))
        # Spelling is identity: folders already carry it, and some file systems ignore case.
        show = spellings.setdefault(fold(shot.show), shot.show)
        spelt = replace(shot, show=show, code=found.code if found else shot.code)
        before = None if found is None else shot_value(found)
        if found is None or before is None or not found.retaken:
            decisions.append(_Decision(spelt, found, before))
        else:
            asked, kept, retaken = over_the_list(spelt, before, found.retaken)
            decisions.append(_Decision(asked, found, before, kept, retaken))
    return decisions


def _refusals(
    shots: Sequence[Shot],
    decisions: Sequence[_Decision],
    *,
    source: str,
    mode: Mode,
    lines: Mapping[str, int],
) -> list[Problem]:
    problems = []
    first: dict[_Key, int] = {}
    for place, (shot, decision) in enumerate(zip(shots, decisions, strict=True), start=1):
        line = lines.get(shot.name, 0)
        other = first.setdefault(_key(shot), line or place)
        code, words = "", {}
        if other != (line or place):
            code, words = "E305", {"other": str(other)}
        elif decision.before is None and mode == "update":
            code = "E502"
        elif decision.before is not None and decision.changed and mode == "create":
            code, words = "E501", {"detail": ", ".join(differences(decision.before, decision.shot))}
        if code:
            problems.append(problem(code, source, line=line, column="shot", value=decision.shot.name, words=words))
    return problems


def _write(session: Session, decisions: Sequence[_Decision], *, source: str, submitted_by: str, mode: Mode) -> None:
    now = datetime.now(UTC)
    submission = SubmissionRow(
        source=source,
        submitted_by=submitted_by,
        mode=mode,
        submitted_at=now,
        new=sum(decision.row is None for decision in decisions),
        changed=sum(decision.changed for decision in decisions),
        unchanged=sum(decision.before == decision.shot for decision in decisions),
    )
    session.add(submission)
    session.flush()
    for decision in decisions:
        columns = shot_columns(decision.shot)
        if decision.row is not None and decision.row.retaken != decision.retaken:
            decision.row.retaken = dict(decision.retaken)  # the list has spoken of the others anew
        if decision.row is None or decision.before is None:
            session.add(
                ShotRow(
                    **columns,
                    submission_id=submission.id,
                    status=Status.READY.value,
                    error="",
                    revision=1,
                    created_at=now,
                    updated_at=now,
                )
            )
        elif decision.changed:
            row = decision.row
            for name, value in columns.items():
                setattr(row, name, value)
            row.submission_id, row.updated_at = submission.id, now
            if not renders_alike(decision.before, decision.shot):
                row.revision += 1
                if row.status != Status.OMITTED.value:
                    row.status, row.error = Status.READY.value, ""
