"""Taking a shot list into the catalogue: all of it or none of it.

Knows: what is new, changed, unchanged or refused, and what a change does to a shot's status.
Does not know: files, statements (catalogs.bulk), transactions (the caller holds one open around `take_in`).
Memory: a few hundred bytes for each shot submitted beside the shot itself; with `compare` both sides of each change,
and the codes of the shows' other shots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalogs import bulk
from catalogs import changes as retakes
from catalogs.bulk import Found
from catalogs.cells import Difference, differences
from catalogs.digests import alike, digest
from catalogs.errors import ListTakenError, ShotListError
from catalogs.footage import Status
from catalogs.likeness import likeness
from catalogs.problems import Problem, problem
from catalogs.rows import fold, renders_alike, shot_columns, shot_value
from catalogs.shot import Shot
from catalogs.tables import SubmissionRow

Mode = Literal["create", "update", "upsert"]
"""Whether a submission may bring new shots, change known ones, or both."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done (`written`), to how many shots, of how many."""

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What a submission changes of a shot that was there."""

    shot: str
    """`SHOW/CODE`."""
    differences: tuple[Difference, ...]
    """Cell by cell."""
    renders: bool
    """Whether pixels or files are others, so that it is rendered again."""
    status: Status
    """Where it stood before."""
    takes: int
    """How many takes of it are out; a new one takes their place if it is rendered again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A shot that a retake changed, and whose list has nothing new to say of that."""

    shot: str
    """`SHOW/CODE`."""
    changes: tuple[retakes.Change, ...]
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
    changes: tuple[Change, ...] = ()
    """The changed shots, one by one."""
    kept: tuple[Kept, ...] = ()
    """Shots of which the list says what it said before a retake changed it: the retake's word stays."""
    absent: tuple[str, ...] = ()
    """Shots of the same shows that the catalogue has and the submission has not, by code; dry runs alone tell."""

    @property
    def superseded(self) -> int:
        """How many takes are out whose shots will be rendered again."""
        return sum(change.takes for change in self.changes if change.renders)

    @property
    def notices(self) -> tuple[Change, ...]:
        """Changed shots that were rendered, and will be again."""
        return tuple(change for change in self.changes if change.renders and change.takes)


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission. What can be worked out without the catalogue is worked out before it is locked."""

    shots: Sequence[Shot]
    source: str
    """What the list is called."""
    submitted_by: str = ""
    mode: Mode = "create"
    allow_new: bool = False
    """Whether new shots may resemble ones that are there."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Name of a shot -> its line, for messages."""
    claim: str | None = None
    """A list is taken in once under a claim; None for one that may come again."""
    compare: bool = False
    """Whether to tell which shots of the shows are not among these: a dry run."""
    said: Progress = _nothing
    ready: Callable[[SubmissionResult], object] = _nothing
    """Is told what will be done, when nothing can refuse it any more, before it is written. What it raises ends it."""
    keys: Sequence[_Key] = field(init=False)
    digests: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        folded = {shot.show: fold(shot.show) for shot in self.shots}
        object.__setattr__(self, "keys", [(folded[shot.show], fold(shot.code)) for shot in self.shots])
        object.__setattr__(self, "digests", [digest(shot) for shot in self.shots])


@dataclass(slots=True)
class _Held:
    """The submission held against the catalogue; places are those of `asked.shots`."""

    asked: Asked
    shows: Mapping[str, str]
    """Folded show -> how the catalogue spells it, for those that it has."""
    found: Mapping[_Key, Found]
    before: dict[int, Shot] = field(default_factory=dict)
    """Place -> what stands there, of the changed ones."""
    status: dict[int, Status] = field(default_factory=dict)
    """Likewise, where it stands."""
    asks: dict[int, Shot] = field(default_factory=dict)
    """Place -> what the list asks for, of shots that a retake has changed, which the list may know nothing of."""
    kept: dict[int, tuple[retakes.Change, ...]] = field(default_factory=dict)
    """Likewise, what stays as the retake left it."""
    retaken: dict[int, dict[str, retakes.Value]] = field(default_factory=dict)
    """Likewise, what the list says of that: the row's column of this name, from now on."""
    stale: list[int] = field(default_factory=list)
    """Places of shots that are as asked for, and whose digest does not say so."""
    takes: Mapping[int, int] = field(default_factory=dict)
    """Id of a shot -> how many takes of it are out."""

    def spelt(self, place: int) -> Shot:
        """The shot in the catalogue's spelling: folders carry it already, and some file systems ignore case."""
        if place in self.asks:
            return self.asks[place]
        shot, key = self.asked.shots[place], self.asked.keys[place]
        found = self.found.get(key)
        show, code = self.shows.get(key[0], shot.show), found.code if found else shot.code
        return shot if (show, code) == (shot.show, shot.code) else replace(shot, show=show, code=code)

    def new(self) -> Iterator[int]:
        """Places of shots that the catalogue does not have."""
        return (place for place, key in enumerate(self.asked.keys) if key not in self.found)


def take_in(session: Session, asked: Asked, *, write: bool) -> SubmissionResult:
    """Decides on every shot, then writes all (or nothing, without `write`).

    Raises ShotListError, and ListTakenError for a claim that was used.
    """
    if write:
        bulk.alone(session, count=len(asked.shots))
    if asked.claim and session.execute(select(SubmissionRow.id).where(SubmissionRow.claim == asked.claim)).first():
        raise ListTakenError(asked.source, asked.claim)
    held = _hold(session, asked, lock=write)
    problems = _refusals(session, held)
    if problems:
        raise ShotListError(problems)
    held.takes = bulk.finished_takes(session, [held.found[asked.keys[place]].id for place in held.before])
    result = _result(session, held)
    asked.ready(result)
    if write:
        # the list has spoken of the others anew
        spoken = {place: said for place, said in held.retaken.items() if said != held.found[asked.keys[place]].retaken}
        bulk.retaken_anew(session, {held.found[asked.keys[place]].id: said for place, said in spoken.items()})
        bulk.digest_anew(session, {held.found[asked.keys[place]].id: asked.digests[place] for place in held.stale})
    if write and (result.new or result.changed or asked.claim):
        _write(session, held, result)
    return result


def _hold(session: Session, asked: Asked, *, lock: bool) -> _Held:
    """What stands in the catalogue of the shots, in full where it may differ."""
    codes: dict[str, list[str]] = {}
    for show, code in dict.fromkeys(asked.keys):
        codes.setdefault(show, []).append(code)
    shows = bulk.spellings(session, codes)
    found = {(show, code): one for show in shows for code, one in bulk.standing(session, show, codes[show])}
    held = _Held(asked, shows, found)
    # of a shot that stands in the list twice the first counts until it is refused
    places: dict[int, int] = {}
    for place, (key, wanted) in enumerate(zip(asked.keys, asked.digests, strict=True)):
        one = found.get(key)
        if one is not None and (one.digest != wanted or one.retaken):
            places.setdefault(one.id, place)
    asked.said("compared", len(asked.shots) - len(places), len(asked.shots))
    for row in bulk.whole(session, list(places), lock=lock):
        place, before = places[row.id], shot_value(row)
        asks = held.spelt(place)
        if row.retaken:
            asks, held.kept[place], held.retaken[place] = retakes.over_the_list(asks, before, row.retaken)
            held.asks[place] = asks
        # a digest of an older release, or none: the requests themselves decide
        if before == asks or alike(before, asks):
            held.stale.append(place)
        else:
            held.before[place], held.status[place] = before, Status(row.status)
    return held


def _refusals(session: Session, held: _Held) -> list[Problem]:
    asked, problems = held.asked, []
    resembled = {} if asked.allow_new or asked.mode == "update" else _resembled(session, held)
    first: dict[_Key, int] = {}
    for place, key in enumerate(asked.keys):
        line = asked.lines.get(asked.shots[place].name, 0)
        other = first.setdefault(key, line or place + 1)
        code, words = "", {}
        if other != (line or place + 1):
            code, words = "E305", {"other": str(other)}
        elif key not in held.found and asked.mode == "update":
            code = "E502"
        elif place in held.before and asked.mode == "create":
            parts = differences(held.before[place], held.spelt(place))
            code, words = "E501", {"detail": ", ".join(one.column for one in parts)}
        elif place in resembled:
            code, words = "E503", {"other": resembled[place]}
        if code:
            name = held.spelt(place).name
            problems.append(problem(code, asked.source, line=line, column="shot", value=name, words=words))
    return problems


def _resembled(session: Session, held: _Held) -> dict[int, str]:
    """Places of new shots -> the code, in the catalogue, that each may have been meant to be."""
    likenesses: dict[str, dict[int, str]] = {}
    for place in held.new():
        show = held.asked.keys[place][0]
        if show in held.shows:
            likenesses.setdefault(show, {})[place] = likeness(held.asked.shots[place].code)
    found = {}
    for show, wanted in likenesses.items():
        known = bulk.lookalikes(session, show, list(dict.fromkeys(wanted.values())))
        found.update({place: min(known[one]) for place, one in wanted.items() if one in known})
    return found


def _result(session: Session, held: _Held) -> SubmissionResult:
    asked = held.asked
    names = tuple(held.spelt(place).name for place in range(len(asked.shots)))
    new = set(held.new())
    changes = []
    for place in sorted(held.before):
        before, wanted = held.before[place], held.spelt(place)
        changes.append(
            Change(
                shot=names[place],
                differences=tuple(differences(before, wanted)),
                renders=not renders_alike(before, wanted),
                status=held.status[place],
                takes=held.takes.get(held.found[asked.keys[place]].id, 0),
            )
        )
    absent: list[str] = []
    if asked.compare:
        here = set(asked.keys)
        for show, spelling in sorted(held.shows.items()):
            absent += [f"{spelling}/{code}" for one, code in bulk.codes_of(session, show) if (show, one) not in here]
    return SubmissionResult(
        accepted=names,
        new=tuple(names[place] for place in sorted(new)),
        changed=tuple(change.shot for change in changes),
        unchanged=tuple(name for place, name in enumerate(names) if place not in new and place not in held.before),
        changes=tuple(changes),
        kept=tuple(Kept(names[place], kept) for place, kept in sorted(held.kept.items()) if kept),
        absent=tuple(absent),
    )


def _write(session: Session, held: _Held, result: SubmissionResult) -> None:
    asked, now = held.asked, datetime.now(UTC)
    submission = SubmissionRow(
        source=asked.source,
        submitted_by=asked.submitted_by,
        mode=asked.mode,
        submitted_at=now,
        new=len(result.new),
        changed=len(result.changed),
        unchanged=len(result.unchanged),
        claim=asked.claim,
    )
    session.add(submission)
    session.flush()
    whose = {"submission_id": submission.id, "updated_at": now}
    fresh = {**whose, "status": Status.READY.value, "error": "", "revision": 1, "created_at": now}
    total = len(result.new) + len(result.changed)

    def columns(place: int) -> dict[str, Any]:
        return shot_columns(held.spelt(place), digested=asked.digests[place])

    def wrote(done: int) -> None:
        asked.said("written", done, total)

    bulk.add(session, ({**columns(place), **fresh} for place in held.new()), wrote)
    bulk.made_known(session, len(result.new))
    again: list[int] = []
    stays: list[int] = []
    for place, change in zip(sorted(held.before), result.changes, strict=True):
        (again if change.renders and change.status is not Status.OMITTED else stays).append(place)

    def changed(place: int) -> dict[str, Any]:
        return {"known": held.found[asked.keys[place]].id, **columns(place), **whose}

    written = len(result.new)
    ready = {"status": Status.READY.value, "error": ""}
    bulk.change(session, ({**changed(place), **ready} for place in again), lambda done: wrote(written + done))
    written += len(again)
    bulk.change(session, (changed(place) for place in stays), lambda done: wrote(written + done))
    renders = {change.shot for change in result.changes if change.renders}
    bulk.revise(
        session, [held.found[asked.keys[place]].id for place in held.before if result.accepted[place] in renders]
    )
