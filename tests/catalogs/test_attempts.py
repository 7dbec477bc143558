"""Claims about attempts: granted, handed on, taken over, given up, on every kind of database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from catalogue_nights import arrived, opened, stocked
from sqlalchemy import Engine, event

from catalogs.errors import CatalogueError, FencedError, ShotChangedError, UnknownShotError
from catalogs.footage import Status
from catalogs.night import AttemptStatus, Stage
from catalogs.shot import Shot
from catalogs.store import Catalogue

# -- grants ------------------------------------------------------------------------------------------


def test_a_reel_is_granted_in_its_order(catalogue: Catalogue) -> None:
    """Every shot gets the next fence, in the order given, with its model and seconds; named twice, it gets one."""
    names = stocked(catalogue, "CAB")
    batch = opened(catalogue).name
    later = datetime.now(UTC) + timedelta(minutes=8)
    granted = catalogue.nights.grant(
        batch, "reel 01", [*names, "agm/c"], models=dict.fromkeys(names, "wan fp8"), expected={"AGM/A": 90.5}
    )
    assert [(one.shot, one.fence, one.expected) for one in granted] == [
        ("AGM/C", 1, 0.0),
        ("AGM/A", 1, 90.5),
        ("AGM/B", 1, 0.0),
    ]
    assert catalogue.nights.attempts(batch, reel="reel 01", open_only=True) == granted
    assert all(one.open and one.model == "wan fp8" and one.flow_run == "" for one in granted)
    [again] = catalogue.nights.grant(batch, "reel 02", ["a"], not_before=later)
    assert (again.fence, again.not_before, again.batch) == (2, later, batch)
    assert [one.status for one in catalogue.nights.attempts(shot="a")] == [
        AttemptStatus.RELEASED,
        AttemptStatus.WAITING,
    ]
    assert catalogue.nights.grant(batch, "reel 03", []) == []


def test_what_nobody_wants_rendered_is_not_granted(catalogue: Catalogue) -> None:
    """A quarantined shot is left out of a grant; a misspelt one refuses the grant as a whole, an ended batch too."""
    names = stocked(catalogue, "AB")
    batch = opened(catalogue).name
    catalogue.nights.quarantine("A", error="two processes died")
    assert [one.shot for one in catalogue.nights.grant(batch, "reel 01", names)] == ["AGM/B"]
    with pytest.raises(UnknownShotError):
        catalogue.nights.grant(batch, "reel 02", ["AGM/B", "AGM/X"])
    assert [one.reel for one in catalogue.nights.attempts()] == ["reel 01"]
    catalogue.nights.end(batch, report={})
    with pytest.raises(CatalogueError, match="is over"):
        catalogue.nights.grant(batch, "reel 03", names)


def test_granting_a_night_costs_no_statement_per_shot(catalogue: Catalogue) -> None:
    """A thousand shots are granted, also against open attempts, in a handful of statements: a fraction of a second."""
    catalogue.submit([Shot("AGM", f"S{number}", 48) for number in range(1000)], source="t")
    names = [f"AGM/S{number}" for number in range(1000)]
    batch = opened(catalogue).name
    said: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        for fence in (1, 2):
            said.clear()
            granted = catalogue.nights.grant(batch, "reel 01", names)
            assert {one.fence for one in granted} == {fence}
            assert len(said) < 15
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert len(catalogue.nights.attempts(batch, open_only=True)) == 1000


def test_an_attempt_goes_from_engine_to_publishing(catalogue: Catalogue) -> None:
    """Assigned, begun, handed over, begun by the finisher: one right, whose times and runs are kept."""
    stocked(catalogue, "A")
    night = catalogue.nights
    batch = opened(catalogue).name
    [first] = night.grant(batch, "reel 01", ["A"])
    night.assign(batch, "reel 01", flow_run="gpu")
    assert night.attempts()[0].flow_run == "gpu"
    for _ in range(2):
        begun = night.begin("A", first.fence, flow_run="gpu")
        assert (begun.status, begun.flow_run, begun.stage) == (AttemptStatus.RUNNING, "gpu", Stage.GENERATE)
    with pytest.raises(FencedError, match="begun by another run"):
        night.begin("A", first.fence, flow_run="gpu-2")
    handed = night.hand_over("A", first.fence)
    assert (handed.stage, handed.status, handed.flow_run) == (Stage.FINISH, AttemptStatus.WAITING, "")
    night.assign_finish("A", first.fence, flow_run="cpu")
    night.begin("A", first.fence, flow_run="cpu")
    again = night.hand_over("A", first.fence)
    assert (again.status, again.flow_run, again.generated) == (AttemptStatus.RUNNING, "cpu", handed.generated)
    night.assign_finish("A", first.fence, flow_run="cpu-2")
    assert night.attempts()[0].flow_run == "cpu"
    assert night.end_attempt("A", first.fence, status=AttemptStatus.DONE)
    assert not night.end_attempt("A", first.fence, status=AttemptStatus.FAILED, error="late")
    night.assign_finish("A", first.fence, flow_run="cpu")
    [done] = night.attempts()
    assert (done.status, done.error, done.fence) == (AttemptStatus.DONE, "", 1)
    assert done.started
    assert done.generated
    assert done.ended
    assert done.granted <= done.started <= done.generated <= done.ended


def test_a_finish_that_is_granted_anew_remembers_when_its_windows_were_made(catalogue: Catalogue) -> None:
    """A finisher's death costs no window, and the time of the hand-over stays."""
    stocked(catalogue, "A")
    batch = opened(catalogue).name
    [first] = catalogue.nights.grant(batch, "reel 01", ["A"])
    catalogue.nights.begin("A", first.fence, flow_run="gpu")
    handed = catalogue.nights.hand_over("A", first.fence)
    [again] = catalogue.nights.grant(batch, "finish", ["A"], stage=Stage.FINISH)
    assert (again.stage, again.generated, again.fence) == (Stage.FINISH, handed.generated, 2)


def test_an_attempt_ends_as_it_is_said_to(catalogue: Catalogue) -> None:
    """Each way to end, with what it does to the shot, which is never left rendering by nobody."""
    batch = opened(catalogue).name
    for number, (status, shot) in enumerate(
        {
            AttemptStatus.FAILED: Status.FAILED,
            AttemptStatus.DIED: Status.READY,
            AttemptStatus.RELEASED: Status.READY,
            AttemptStatus.CANCELLED: Status.READY,
        }.items()
    ):
        name = f"AGM/E{number}"
        catalogue.submit([Shot("AGM", f"E{number}", 48)], source="t")
        [one] = catalogue.nights.grant(batch, "reel 01", [name])
        catalogue.begin_take(name, key="k", plan=lambda version: {}, fence=one.fence)
        assert catalogue.nights.end_attempt(
            name, one.fence, status=status, error="why", transient=True, evidence={"exit": -9}
        )
        record = catalogue.find(name)
        assert record.status is shot
        assert record.error == ("why" if status is AttemptStatus.FAILED else "")
        [ended] = catalogue.nights.attempts(shot=name)
        assert (ended.status, ended.error, ended.transient, ended.evidence) == (status, "why", True, {"exit": -9})
    assert catalogue.nights.deaths(batch) == {"AGM/E0": 0, "AGM/E1": 1, "AGM/E2": 0, "AGM/E3": 0}
    with pytest.raises(ValueError, match="ends no attempt"):
        catalogue.nights.end_attempt("E0", 1, status=AttemptStatus.RUNNING)


# -- taking over -------------------------------------------------------------------------------------


def test_the_longest_reel_gives_its_last_shot(catalogue: Catalogue) -> None:
    """Only a waiting shot of the same model, from the end of the longest other reel, and with a new fence."""
    names = stocked(catalogue, "ABCDEF")
    night = catalogue.nights
    batch = opened(catalogue).name
    models = dict.fromkeys(names, "wan")
    night.grant(batch, "reel 01", names[:3], models=models, expected={"AGM/C": 7.0})
    night.grant(batch, "reel 02", names[3:5], models=models)
    night.grant(batch, "reel 04", names[5:], models={"AGM/F": "other"})
    night.assign(batch, "reel 01", flow_run="one")
    night.begin("A", 1, flow_run="one")
    taken = night.take_over(batch, reel="reel 03", model="wan", flow_run="three")
    assert taken is not None
    assert (taken.shot, taken.fence, taken.reel, taken.flow_run) == ("AGM/C", 2, "reel 03", "three")
    assert (taken.status, taken.expected, taken.model) == (AttemptStatus.WAITING, 7.0, "wan")
    # asked again, because the answer was lost: the same shot
    assert night.take_over(batch, reel="reel 03", model="wan", flow_run="three") == taken
    with pytest.raises(FencedError):
        night.begin("C", 1, flow_run="one")
    got = []
    while taken is not None:
        night.begin(taken.shot, taken.fence, flow_run="three")
        got.append(taken.shot)
        taken = night.take_over(batch, reel="reel 03", model="wan", flow_run="three")
    assert got == ["AGM/C", "AGM/E", "AGM/B", "AGM/D"]
    assert {one.shot for one in night.attempts(open_only=True) if one.reel != "reel 03"} == {"AGM/A", "AGM/F"}


def test_what_is_tried_last_and_alone_is_taken_by_nobody(catalogue: Catalogue) -> None:
    """A shot that a process died at, and a retry whose time has not come, stay where they were granted."""
    stocked(catalogue, "AB")
    night = catalogue.nights
    batch = opened(catalogue).name
    night.grant(batch, "reel 01", ["A"])
    night.end_attempt("A", 1, status=AttemptStatus.DIED)
    night.grant(batch, "reel 02", ["A"])
    night.grant(batch, "reel 02", ["B"], not_before=datetime.now(UTC) + timedelta(minutes=1))
    assert night.take_over(batch, reel="reel 03", model="", flow_run="three") is None
    night.grant(batch, "reel 02", ["B"], not_before=datetime.now(UTC) - timedelta(minutes=1))
    taken = night.take_over(batch, reel="reel 03", model="", flow_run="three")
    assert taken is not None
    assert taken.shot == "AGM/B"


def test_nothing_is_taken_over_once_the_night_stops_or_the_run_was_given_up(catalogue: Catalogue) -> None:
    """Who has to leave takes nothing new."""
    names = stocked(catalogue, "AB")
    night = catalogue.nights
    batch = opened(catalogue).name
    night.grant(batch, "reel 01", names)
    arrived(catalogue, "gone", batch, "reel 02")
    night.give_up("gone", why="no sign of life")
    assert night.take_over(batch, reel="reel 02", model="", flow_run="gone") is None
    night.stop(batch)
    assert night.take_over(batch, reel="reel 03", model="", flow_run="three") is None


# -- quarantine --------------------------------------------------------------------------------------


def test_quarantine_holds_until_it_is_released(catalogue: Catalogue) -> None:
    """The holder is fenced, nobody is granted the shot, and its release forgets the deaths."""
    stocked(catalogue, "AB")
    night = catalogue.nights
    batch = opened(catalogue).name
    for fence in (1, 3):
        [one] = night.grant(batch, "reel 01", ["A"])
        assert one.fence == fence
        night.begin("A", fence, flow_run=f"f{fence}")
        take = catalogue.begin_take("A", key="k", plan=lambda version: {}, fence=fence)
        night.give_up(f"f{fence}", why="killed")
    assert night.deaths(batch) == {"AGM/A": 2}
    [one] = night.grant(batch, "reel 01", ["A"])
    night.quarantine("A", error="2 processes died at it; look at its plate")
    record = catalogue.find("A")
    assert (record.status, record.error) == (Status.QUARANTINED, "2 processes died at it; look at its plate")
    assert record.take is not None
    assert record.take.status is Status.FAILED
    with pytest.raises(FencedError):
        night.begin("A", one.fence, flow_run="f5")
    assert night.attempts(open_only=True) == []
    assert night.settled(batch) == {"AGM/A"}
    with pytest.raises(CatalogueError, match=r"not in quarantine: AGM/B \(ready\)"):
        night.release(["A", "B"])
    assert night.release(["a"]) == ["AGM/A"]
    assert (catalogue.find("A").status, catalogue.find("A").error) == (Status.READY, "")
    assert night.deaths(batch) == {"AGM/A": 0}
    assert night.settled(batch) == frozenset()
    [one] = night.grant(batch, "reel 01", ["A"])
    again = catalogue.begin_take("A", key="k", plan=lambda version: {}, fence=one.fence)
    assert again.version == take.version


def test_cancelling_is_for_what_is_under_way(catalogue: Catalogue) -> None:
    """Shots without an open attempt are left out of the answer; a misspelt name cancels nothing."""
    names = stocked(catalogue, "AB")
    batch = opened(catalogue).name
    catalogue.nights.grant(batch, "reel 01", names[:1])
    with pytest.raises(UnknownShotError):
        catalogue.nights.cancel(["AGM/A", "AGM/X"])
    assert catalogue.nights.cancel(names) == ["AGM/A"]
    assert catalogue.nights.cancel(names) == []
    assert [one.status for one in catalogue.nights.attempts()] == [AttemptStatus.CANCELLED]


def test_a_run_that_told_an_error_is_no_death(catalogue: Catalogue) -> None:
    """What was running fails in passing, with the reason on the shot; no death is counted, and its holder is fenced."""
    night, batch = catalogue.nights, opened(catalogue).name
    [name] = stocked(catalogue, ["A"])
    [attempt] = night.grant(batch, "reel 01", [name])
    night.begin(name, attempt.fence, flow_run="r1")
    [ended] = night.give_up("r1", why="its run ended as failed: no lock", spoke=True)
    assert (ended.status, ended.transient, ended.error) == (
        AttemptStatus.FAILED,
        True,
        "its run ended as failed: no lock",
    )
    assert night.deaths(batch) == {name: 0}
    assert catalogue.find(name).error == "its run ended as failed: no lock"
    with pytest.raises(FencedError):
        night.begin(name, attempt.fence, flow_run="r1")


def test_what_waits_between_two_attempts_can_be_cancelled(catalogue: Catalogue) -> None:
    """A shot whose process died is not granted again once it is cancelled; its death stays told."""
    night, batch = catalogue.nights, opened(catalogue).name
    [name] = stocked(catalogue, ["A"])
    [attempt] = night.grant(batch, "reel 01", [name])
    night.begin(name, attempt.fence, flow_run="r1")
    night.give_up("r1", why="gone")
    assert night.cancel([name]) == [name]
    [last] = night.attempts(batch)
    assert last.status is AttemptStatus.CANCELLED
    assert last.error.endswith("before that: gone")
    assert night.cancel([name]) == []


def test_a_plan_of_an_older_request_begins_no_take(catalogue: Catalogue) -> None:
    """What was read before a shot was submitted anew is planned again, not published as what is asked for now."""
    [name] = stocked(catalogue, ["A"])
    record = catalogue.find(name)
    catalogue.submit([replace(record.shot, frames=record.shot.frames + 1)], source="t", mode="update")
    with pytest.raises(ShotChangedError) as refused:
        catalogue.begin_take(name, key="k", plan=lambda version: {}, revision=record.revision)
    assert refused.value.transient
    newer = catalogue.find(name).revision
    assert catalogue.begin_take(name, key="k", plan=lambda version: {}, revision=newer).version == 1
