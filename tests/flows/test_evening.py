"""Claims about a night that is called for at a terminal: it joins, refuses, waits, and never waits in silence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from catalogue_nights import opened, stocked

from catalogs.footage import Status
from catalogs.night import Batch, BatchStatus
from catalogs.store import Catalogue, open_catalogue
from flows import evening, night_house, waiting
from flows.dispatch import Looked
from flows.evening import refuse_others, run_night
from flows.night import _open
from flows.night_house import NightHouse
from flows.settings import Settings
from flows.waiting import TurnedAwayError, Waiting
from tasks.errors import MachineNotReadyError, PlanError, StepError
from tasks.keep import sole_owner
from tasks.recovery import RunState

WISHES = {"profile": "draft", "allow_smaller": False, "require_rife": False}


class Server:
    """A Prefect server that may be away, with the one flow run that follows a batch."""

    def __init__(self, state: RunState = RunState.RUNNING, message: str = "") -> None:
        self.state, self.message = state, message
        self.away = False
        self.made: list[Mapping[str, Any]] = []
        self.called_off: list[str] = []

    def dispatch(self) -> Server | None:
        return None if self.away else self

    def look(self, runs: Sequence[str]) -> dict[str, Looked]:
        return {run: Looked(self.state, datetime.now(UTC), self.message) for run in runs}

    def run(self, deployment: str, *, key: str, parameters: Mapping[str, Any]) -> str:
        del deployment, key
        self.made.append(parameters)
        self.state = RunState.SCHEDULED
        return "another"

    def workers(self) -> int:
        return 1

    def call_off(self, flow_run: str) -> None:
        self.called_off.append(flow_run)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home in which no server is configured and no house is up."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(waiting, "_LOOK", 0.01)
    return Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_TIMEZONE": "Europe/Berlin"})


@pytest.fixture
def catalogue(settings: Settings) -> Iterator[Catalogue]:
    """The home's, empty."""
    with open_catalogue(settings.database_url) as made:
        yield made


def wait(catalogue: Catalogue, server: Any, at: Callable[[int, str], None], batch: str = "") -> tuple[Any, list[str]]:
    """Wait for a batch; `at` is called with the number and the words of each line that is said."""
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        at(len(said), line)

    return Waiting(catalogue, server, hear, flow_run="first", batch=batch).outcome(), said


def test_another_wish_than_the_open_batchs_is_refused() -> None:
    """What somebody asked for and does not get is said, with batch, end and remedy; the same, or nothing, is joined."""
    until = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    batch = Batch("2026-11-21", BatchStatus.RUNNING, until, until, None, WISHES, {}, {}, "first", 0)

    def ask(*asked: str, until: datetime | None = None, **wishes: Any) -> None:
        refuse_others(batch, until=until, wishes={**WISHES, **wishes}, asked=asked, zone="Europe/Berlin")

    ask(profile="exact")  # the default, which nobody asked for
    ask("profile", "until", profile="draft", until=until)
    with pytest.raises(PlanError) as refused:
        ask("profile", profile="exact")
    assert str(refused.value) == (
        "2026-11-21 is at work until Sun 07:00 (Europe/Berlin) with profile draft, and --profile would not change it; "
        "leave --profile out to follow it, or end it with `dailies night --stop` and begin another"
    )
    with pytest.raises(PlanError, match="--allow-smaller and --until would not change it"):
        ask("until", "allow_smaller", until=datetime(2026, 11, 22, 5, 0, tzinfo=UTC), allow_smaller=True)


def test_where_nothing_is_ready_there_is_no_batch(settings: Settings, catalogue: Catalogue) -> None:
    """No house is started for it either; the sentence says where the shots stand and what is in quarantine."""
    asked: dict[str, Any] = {"until": "", "wishes": {**WISHES, "profile": "exact"}, "said": lambda line: None}
    found = run_night(settings, **asked)
    assert found.report["summary"].startswith("nothing is ready: the catalogue has no shot; `dailies submit`")
    [name] = stocked(catalogue, ["SH0010"])
    catalogue.nights.quarantine(name, error="its process died 2 times")
    found = run_night(settings, **asked)
    assert "nothing is ready: 1 quarantined; in quarantine: AGM/SH0010" in found.report["summary"]
    assert "`dailies release` lets them in" in found.report["summary"]
    assert (found.report["batch"], found.report["shots"], found.interrupted) == ("", [], False)
    assert catalogue.nights.last() is None
    assert not (settings.home / "prefect").exists()


def test_a_night_whose_shots_are_all_held_opens_no_batch(settings: Settings, catalogue: Catalogue) -> None:
    """The nightly flow says who holds them, and leaves the last batch what it was."""
    [name] = stocked(catalogue, ["SH0010"])
    catalogue.begin_take(name, key="k", plan=lambda version: {})
    dispatch: Any = Server()
    with sole_owner(settings.work / "AGM" / "SH0010", what=name):
        why = _open(catalogue, settings, dispatch, None, {**WISHES, "profile": "exact"}, "first")
    assert why == "nothing is ready; AGM/SH0010 is left to others: it is being rendered by hand"
    assert catalogue.nights.last() is None
    assert catalogue.find(name).status is Status.RENDERING


def test_a_batch_that_is_ending_is_said_to(catalogue: Catalogue) -> None:
    """Somebody asked it to: whoever waits hears so, then gets the report, and has not interrupted it himself."""
    batch = opened(catalogue, "first")
    stocked(catalogue, "AB")
    catalogue.nights.grant(batch.name, "reel 01", ["AGM/A", "AGM/B"])

    def at(number: int, line: str) -> None:
        del line
        catalogue.nights.stop(batch.name) if number == 1 else catalogue.nights.end(batch.name, report={"batch": "x"})

    found, said = wait(catalogue, Server(), at)
    assert said == [f"{batch.name}: 0 of 2 done", f"{batch.name} is ending: 0 of 2 done"]
    assert (found.report, found.interrupted) == ({"batch": "x"}, False)


@pytest.mark.parametrize("turned_away", [False, True])
def test_a_batch_that_is_ending_is_waited_for_and_another_begun(
    settings: Settings, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, *, turned_away: bool
) -> None:
    """Whatever it was begun with; where Prefect turns the new one away because the old one is just leaving, again."""
    stocked(catalogue, "A")
    batch, server = opened(catalogue, "first"), Server()
    catalogue.nights.stop(batch.name)
    said: list[str] = []
    limit = "Deployment concurrency limit reached."
    answers = [(RunState.CANCELLED, limit)] * turned_away + [(RunState.COMPLETED, "that was it")]

    def run(deployment: str, *, key: str, parameters: Mapping[str, Any]) -> str:
        del deployment, key
        server.made.append(parameters)
        server.state, server.message = answers[len(server.made) - 1]
        return f"next {len(server.made)}"

    def hear(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            catalogue.nights.end(batch.name, report={"batch": batch.name, "summary": "0 of 1 done"})

    @contextmanager
    def here(settings: Settings, said: Any) -> Iterator[Server]:
        del settings, said
        yield server

    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr(evening, "night_house", here)
    monkeypatch.setattr(evening, "_AGAIN", 0.0)
    wishes = {**WISHES, "profile": "exact"}
    found = run_night(settings, until="", wishes=wishes, asked=["profile"], said=hear)
    assert said == [
        f"{batch.name} is ending; the next batch begins when it is over",
        f"{batch.name} is ending: no shot was handed out yet",
        f"{batch.name} is over: 0 of 1 done",
    ]
    assert server.made == [{"until": "", **wishes}] * (1 + turned_away)
    assert found.report["summary"] == "that was it"


def test_a_ctrl_c_ends_the_batch_and_a_second_one_leaves_it(catalogue: Catalogue) -> None:
    """After one the report comes, marked as interrupted; after two nobody waits, and the batch is ending."""
    batch = opened(catalogue, "first")
    lines: list[str] = []

    def once(number: int, line: str) -> None:
        lines.append(line)
        if number == 1:
            raise KeyboardInterrupt
        if "is ending" in line:
            catalogue.nights.end(batch.name, report={"batch": batch.name})

    found, said = wait(catalogue, Server(), once)
    assert found.interrupted
    assert said[1].startswith("asked to end: ")
    second = opened(catalogue, "first").name

    def twice(number: int, line: str) -> None:
        lines.append(line)
        if number in (1, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(catalogue, Server(), twice)
    assert lines[-1] == f"{second} is left as it is; `dailies night` follows it, `dailies night --stop` ends it"
    assert catalogue.nights.batch(second).status is BatchStatus.STOPPING


def test_a_ctrl_c_while_nobody_answers_leaves_the_batch_as_it_is(catalogue: Catalogue) -> None:
    """There is nobody who could end it: it is not marked as ending, and goes on with the next house."""
    batch, server = opened(catalogue, "first"), Server()
    server.away = True
    lines: list[str] = []

    def at(number: int, line: str) -> None:
        lines.append(line)
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(catalogue, server, at)
    assert "is left as it is" in lines[-1]
    assert catalogue.nights.batch(batch.name).status is BatchStatus.RUNNING


def test_a_ctrl_c_before_the_batch_begins_calls_it_off(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """No flow run is left behind that would open a batch which nobody waits for."""
    server = Server(RunState.SCHEDULED)

    def interrupted(seconds: float) -> None:
        del seconds
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait(catalogue, server, lambda number, line: None)
    assert server.called_off == ["first"]


def test_what_a_flow_run_without_a_batch_means(catalogue: Catalogue) -> None:
    """Completed: it had nothing to do. Turned away by Prefect's limit: to be begun again. Anything else: an error."""
    quiet: Callable[[int, str], None] = lambda number, line: None  # noqa: E731
    found, _ = wait(catalogue, Server(RunState.COMPLETED, "nothing is ready; AGM/A is held"), quiet)
    assert (found.report["batch"], found.report["summary"]) == ("", "nothing is ready; AGM/A is held")
    with pytest.raises(TurnedAwayError):
        wait(catalogue, Server(RunState.CANCELLED, "Deployment concurrency limit reached."), quiet)
    for state, message in ((RunState.CANCELLED, "by hand"), (RunState.CRASHED, "killed")):
        with pytest.raises(StepError, match=f"did not begin: {message}") as refused:
            wait(catalogue, Server(state, message), quiet)
        assert not isinstance(refused.value, TurnedAwayError)


def test_a_batch_whose_flow_run_is_gone_is_taken_up_while_waited_for(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that two Ctrl-C to its house have left ending: somebody brings it to its end, and it is said."""
    monkeypatch.setattr(waiting, "TAKE_UP", 0.05)
    batch, server = opened(catalogue, "first"), Server(RunState.CRASHED)
    catalogue.nights.stop(batch.name)

    def at(number: int, line: str) -> None:
        del number
        if "taken up" in line:
            catalogue.nights.end(batch.name, report={"batch": batch.name})

    _, said = wait(catalogue, server, at, batch.name)
    assert said == [
        f"{batch.name} is ending: no shot was handed out yet",
        f"{batch.name}: whoever followed it is gone; it is taken up again",
    ]
    assert server.made == [{"resume": True}]


def test_a_server_that_does_not_answer_is_said_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do, and again when it is back, at another port if need be; one of our own that ended is an error."""
    up = {"http://127.0.0.1:1/api"}
    here: list[str | None] = [None]
    connected: list[str] = []
    monkeypatch.setattr(night_house, "answers", lambda url: url in up)
    monkeypatch.setattr(night_house, "house_url", lambda settings: here[0])
    monkeypatch.setattr(night_house, "SILENT", 0.0)
    monkeypatch.setattr(NightHouse, "_connect", lambda self, url: connected.append(url) or url)
    said: list[str] = []
    inside: Any = None
    found = NightHouse(settings, "http://127.0.0.1:1/api", said.append, inside=inside)
    assert found.dispatch()
    up.clear()
    assert [found.dispatch() for _ in range(3)] == [None] * 3
    [line] = said
    assert "http://127.0.0.1:1 does not answer" in line
    assert "`dailies up`" in line
    assert "Ctrl-C" in line
    here[0] = "http://127.0.0.1:2/api"
    up.add(here[0])
    assert found.dispatch()
    assert found.dispatch()
    assert said[1:] == ["the Prefect server at http://127.0.0.1:2 answers; the night goes on"]

    class Ended:
        def poll(self) -> int:
            return 3

    ended: Any = Ended()
    own = NightHouse(settings, "http://127.0.0.1:3/api", said.append, inside=inside, own=ended)
    with pytest.raises(MachineNotReadyError, match=r"has ended; .*house\.log says why, and `dailies night` takes"):
        own.dispatch()
