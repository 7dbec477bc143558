"""Verdicts on shots: approve, omit, retake, and taking one back. Values, and the rules of what may follow what. Pure.

Knows: which verdict is legal where a shot stands, and what it changes. Does not know: tables, transactions, who asks.
Memory: O(versions and verdicts of one shot).

    approve   this version is the one; it leaves the nights, and cuts show it. Others lose their approval
    omit      the shot is out: of nights and of cuts. Nothing of it is deleted
    retake    the newest version is not it; with these changes, else with a new seed, the next night makes another
    undo      the last verdict that still holds is taken back, and things stand as before it

A verdict is never edited: undoing one is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from catalogs.changes import Change, Value, fresh_seed
from catalogs.errors import VerdictError
from catalogs.footage import Status
from catalogs.shot import Shot, slate


class Decision(StrEnum):
    """What was decided. The names are public."""

    APPROVE = "approve"
    OMIT = "omit"
    RETAKE = "retake"
    UNDO = "undo"


PUBLISHED: Final = (Status.REVIEW, Status.APPROVED, Status.RETAKE)
"""Stati of versions whose files are out."""


@dataclass(frozen=True, slots=True)
class Target:
    """A shot that is judged, and what of it the judge has seen. None is not held against anything."""

    name: str
    """`SHOW/CODE`, `CODE` where unique, or a slate, which names the version too."""
    version: int | None = None
    """The version that is judged; None for the newest."""
    revision: int | None = None
    """The request that was looked at (ShotRecord.revision): another one by now is refused."""
    status: Status | None = None
    """Where the shot stood: if somebody else has decided meanwhile, the verdict is refused."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict, as the catalogue keeps it."""

    decision: Decision
    version: int | None
    """The version that was judged; None if there was none yet."""
    by: str
    """Who decided."""
    at: datetime
    """When; aware."""
    note: str
    """Why, in their words; may be empty."""
    changes: tuple[Change, ...]
    """What of the request it changed."""
    before: Status
    """Where the shot stood."""
    after: Status
    """Where it stood then."""
    undone: bool
    """Whether it was taken back since."""
    undoes: Decision | None
    """What it took back; None but for an undo."""


@dataclass(frozen=True, slots=True)
class Past:
    """A verdict that holds, with what is needed to take it back."""

    key: int
    """Its row."""
    decision: Decision
    version: int | None
    before: Status
    error: str
    """The shot's error before it."""
    revision: int
    """The shot's revision after it."""
    changes: tuple[Change, ...]
    takes: tuple[tuple[int, Status, Status], ...]
    """(version, before, after) of every version whose status it changed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A shot and all that a verdict on it depends on."""

    shot: Shot
    status: Status
    error: str
    revision: int
    takes: tuple[tuple[int, Status], ...]
    """(version, status), oldest first."""
    at_work: bool
    """Whether somebody renders it now."""
    last: Past | None
    """The newest verdict that holds."""
    judged: int
    """How many verdicts there were, taken back or not."""

    @property
    def newest(self) -> int | None:
        """The highest version."""
        return self.takes[-1][0] if self.takes else None


@dataclass(frozen=True, slots=True)
class Move:
    """What a verdict does to a shot."""

    decision: Decision
    version: int | None
    status: Status
    """Where the shot stands then."""
    error: str = ""
    """Its error then."""
    takes: tuple[tuple[int, Status, Status], ...] = ()
    """(version, before, after) of the versions whose status changes."""
    changes: tuple[Change, ...] = ()
    """What of the request changes."""
    undoes: Past | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a verdict did to one shot, or in a dry run would do."""

    shot: str
    """`SHOW/CODE`."""
    slate: str
    """The version judged: `AGM_SQ010_SH0010_v003`; the shot's name where there is none."""
    version: int | None
    decision: Decision
    before: Status
    after: Status
    changes: tuple[Change, ...]
    changed: bool
    """False where everything stood so already; nothing was then written down."""
    undoes: Decision | None = None
    notices: tuple[str, ...] = ()
    """What the model has to say of the changed request, short of refusing it."""


# -- what may follow what ------------------------------------------------------------------------------


def approve(standing: Standing, target: Target) -> Move | None:
    """Approve the newest version, which must be in review, or the published version that is named.

    None if that is so already. Raises VerdictError.
    """
    name = standing.shot.name
    _meddled(standing, target)
    _not_omitted(standing)
    _not_at_work(standing, "approve what comes of it then")
    if standing.newest is None:
        raise VerdictError(
            [f"{name} has no take yet, so there is nothing to approve; `dailies render {name}` makes one"]
        )
    known = dict(standing.takes)
    version = target.version
    if version is None:
        if standing.status is Status.APPROVED:
            return None
        if standing.status is not Status.REVIEW:
            out = [f"v{number:03d}" for number, status in standing.takes if status in PUBLISHED]
            remedy = f"name a version to approve, --version ({', '.join(out)})" if out else "render it first"
            raise VerdictError([f"{name} is {standing.status}, not in review; {remedy}"])
        version = standing.newest
    if version not in known:
        raise VerdictError([f"{name} has no v{version:03d}, its newest is v{standing.newest:03d}; name one of those"])
    if known[version] not in PUBLISHED:
        raise VerdictError([f"{name} v{version:03d} is {known[version]}: nothing of it was published to approve"])
    if known[version] is Status.APPROVED and standing.status is Status.APPROVED:
        return None
    others = [number for number, status in standing.takes if status is Status.APPROVED and number != version]
    takes = [(number, Status.APPROVED, Status.REVIEW) for number in others]
    if known[version] is not Status.APPROVED:
        takes.append((version, known[version], Status.APPROVED))
    return Move(Decision.APPROVE, version, Status.APPROVED, takes=tuple(takes))


def omit(standing: Standing, target: Target) -> Move | None:
    """Take the shot out, wherever it stands, a running render included. None if it is out. Raises VerdictError."""
    _meddled(standing, target)
    if standing.status is Status.OMITTED:
        return None
    return Move(Decision.OMIT, standing.newest, Status.OMITTED)


def retake(standing: Standing, target: Target, changes: Mapping[str, Value]) -> Move:
    """Send the newest version back; the shot is ready with these changes, or where nothing changes with a new seed.

    Raises VerdictError for a shot that is omitted, quarantined, at work or was never taken up, and for a version that
    is not the newest.
    """
    shot, newest = standing.shot, standing.newest
    _meddled(standing, target)
    _not_omitted(standing)
    _not_at_work(standing, "judge what comes of it")
    if standing.status is Status.QUARANTINED:
        raise VerdictError([f"{shot.name} is quarantined; `dailies release {shot.name}` comes first"])
    if newest is None and standing.status is not Status.FAILED:
        raise VerdictError(
            [f"{shot.name} has no take yet; correct its row and submit the list with `--mode update` instead"]
        )
    if target.version is not None and target.version != newest:
        last = "there is none" if newest is None else f"the newest is v{newest:03d}"
        raise VerdictError([f"{shot.name} v{target.version:03d} cannot be sent back, {last}; judge that one"])
    found = [Change(name, getattr(shot, name), new) for name, new in changes.items() if getattr(shot, name) != new]
    if not found and "seed" in changes:
        raise VerdictError(
            [
                f"{shot.name} has the seed {shot.seed} already, which would make the same pixels; leave out --seed, "
                "and it gets a new one"
            ]
        )
    if not found:
        found = [Change("seed", shot.seed, fresh_seed(shot, standing.judged))]
    sent_back = [(number, status, Status.RETAKE) for number, status in standing.takes[-1:] if status in PUBLISHED[:2]]
    return Move(Decision.RETAKE, newest, Status.READY, takes=tuple(sent_back), changes=tuple(found))


def undo(standing: Standing, target: Target) -> Move:
    """Take back the last verdict that holds. Raises VerdictError if there is none, or a take was made on its ground."""
    name, last = standing.shot.name, standing.last
    _meddled(standing, target)
    if last is None:
        raise VerdictError([f"{name} has no verdict to take back; `dailies history {name}` shows what there was"])
    if target.version is not None and target.version != last.version:
        on = "the shot" if last.version is None else f"v{last.version:03d}"
        raise VerdictError([f"the last verdict on {name} is {last.decision} of {on}; name that one"])
    if last.decision is not Decision.APPROVE:
        _not_at_work(standing, "what comes of it is a version of its own then")
    now = dict(standing.takes)
    takes = tuple((number, after, before) for number, before, after in last.takes if now.get(number) is after)
    move = Move(Decision.UNDO, last.version, standing.status, standing.error, takes, undoes=last)
    if last.decision is Decision.RETAKE:
        if (standing.newest or 0) > (last.version or 0):
            raise VerdictError(
                [
                    f"v{standing.newest:03d} of {name} was begun since its retake; approve the version that you want "
                    f"(`dailies approve {name} --version N`)"
                ]
            )
        mine = [one for one in last.changes if getattr(standing.shot, one.field) == one.new]
        move = replace(move, changes=tuple(Change(one.field, one.new, one.old) for one in mine))
    if standing.status not in _AFTER[last.decision]:
        return move
    if standing.revision != last.revision and last.before is not Status.QUARANTINED:
        # asked for anew since: what stood before stood for another request
        return replace(move, status=Status.READY if last.decision is Decision.OMIT else standing.status, error="")
    # nobody is at it by now
    before = Status.READY if last.before is Status.RENDERING else last.before
    return replace(move, status=before, error=last.error)


_AFTER: Final[Mapping[Decision, tuple[Status, ...]]] = {
    Decision.APPROVE: (Status.APPROVED,),
    Decision.OMIT: (Status.OMITTED,),
    Decision.RETAKE: (Status.READY, Status.FAILED),
}
"""Where a shot stands whose last word is still that verdict."""


def _meddled(standing: Standing, target: Target) -> None:
    """Raise if somebody else has changed what the judge has seen."""
    name = standing.shot.name
    if target.status is not None and target.status is not standing.status:
        raise VerdictError([f"{name} was {target.status} when you looked and is {standing.status} now; look again"])
    if target.revision is not None and target.revision != standing.revision:
        raise VerdictError([f"the request of {name} was changed since you looked; look again"])


def _not_omitted(standing: Standing) -> None:
    if standing.status is Status.OMITTED:
        name = standing.shot.name
        raise VerdictError([f"{name} is omitted; `dailies undo {name}` brings it back"])


def _not_at_work(standing: Standing, then: str) -> None:
    if standing.at_work:
        name = standing.shot.name
        raise VerdictError([f"{name} is being rendered; wait for it and {then}, or `dailies cancel {name}`"])


def ruling(
    standing: Standing, decision: Decision, move: Move | None, *, sequence: str, notices: Sequence[str] = ()
) -> Ruling:
    """What is told of a move; None is one that changes nothing. `sequence` is the version's own."""
    shot = standing.shot
    version = move.version if move else standing.newest
    return Ruling(
        shot=shot.name,
        slate=shot.name if version is None else slate(shot.show, sequence, shot.code, version),
        version=version,
        decision=decision,
        before=standing.status,
        after=move.status if move else standing.status,
        changes=move.changes if move else (),
        changed=move is not None,
        undoes=move.undoes.decision if move and move.undoes else None,
        notices=tuple(notices),
    )
