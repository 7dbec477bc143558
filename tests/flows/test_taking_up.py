"""Claims about a batch whose flow run is gone: it is taken up by whoever sees it first, and once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from catalogue_nights import opened, stocked

from catalogs.footage import Status
from catalogs.night import Batch, BatchStatus
from catalogs.store import open_catalogue
from flows.dispatch import NIGHTLY, Looked
from flows.evening import stop_night
from flows.opening import missed, take_up
from flows.settings import Settings
from tasks.recovery import RunState

BATCH = Batch("2026-11-21", BatchStatus.RUNNING, datetime.now(UTC), None, None, {}, {}, {}, "first", 0)


class Server:
    """Flow runs and their idempotency keys, as the Prefect server has them."""

    def __init__(self, first: RunState | None, *, made: RunState = RunState.SCHEDULED) -> None:
        self.states = {} if first is None else {"first": first}
        self.keys: dict[str, str] = {}
        self.parameters: list[Mapping[str, Any]] = []
        self.made = made
        self.ago = timedelta(0)

    def run(self, deployment: str, *, key: str, parameters: Mapping[str, Any]) -> str:
        assert deployment == NIGHTLY
        if key not in self.keys:
            self.keys[key] = f"made {len(self.keys)}"
            self.states[self.keys[key]] = self.made
            self.parameters.append(parameters)
        return self.keys[key]

    def look(self, runs: Sequence[str]) -> dict[str, Looked]:
        since = datetime.now(UTC) - self.ago
        return {run: Looked(self.states[run], since, "") for run in runs if run in self.states}

    def crash(self, flow_run: str, why: str) -> None:
        del why
        self.states[flow_run] = RunState.CRASHED


@pytest.mark.parametrize("state", [RunState.CRASHED, RunState.CANCELLED, RunState.FAILED, None])
def test_a_batch_that_nobody_follows_is_taken_up_once(state: RunState | None) -> None:
    """However many look: one run is made, which takes up what is open and begins nothing new."""
    server = Server(state)
    assert [take_up(server, BATCH) for _ in range(3)] == ["made 0"] * 3
    assert server.parameters == [{"resume": True}]


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.SCHEDULED, RunState.PENDING])
def test_a_batch_that_is_followed_is_left_alone(state: RunState) -> None:
    """Nothing is made while the flow run that follows the batch is at it, or on its way."""
    server = Server(state)
    assert take_up(server, BATCH) == ""
    assert server.keys == {}


def test_a_run_that_was_turned_away_is_replaced() -> None:
    """A limit that the dead run still held cancels the first one that is made; the next is another, not the same."""
    server = Server(RunState.CRASHED)
    assert take_up(server, BATCH) == "made 0"
    server.states["made 0"] = RunState.CANCELLED
    assert take_up(server, BATCH) == "made 1"


def test_a_run_that_never_comes_up_is_replaced() -> None:
    """Its worker was killed with it in its hands: it is given a while, then ended, and another one is made."""
    server = Server(RunState.CRASHED)
    assert take_up(server, BATCH) == "made 0"
    server.states["made 0"] = RunState.PENDING
    assert take_up(server, BATCH) == "made 0"
    server.ago = timedelta(minutes=10)
    assert take_up(server, BATCH) == "made 1"
    assert server.states["made 0"] is RunState.CRASHED


def test_a_server_that_turns_everything_away_is_not_asked_for_ever() -> None:
    """Where every run is cancelled at once there is an end to it, and no claim that the batch was taken up."""
    server = Server(RunState.CRASHED, made=RunState.CANCELLED)
    assert take_up(server, BATCH) == ""
    assert 1 < len(server.keys) <= 30


def test_a_night_that_died_before_it_began_is_begun_once(tmp_path: Path) -> None:
    """Inside the window and without a batch of its own: yes; outside, or with one, however it ended: no."""
    settings = Settings.read({"DAILIES_HOME": str(tmp_path), "DAILIES_NIGHT": "19:00-07:00", "DAILIES_TIMEZONE": "UTC"})
    evening = datetime(2026, 11, 21, 19, 0, 30, tzinfo=UTC)
    with open_catalogue(settings.database_url) as catalogue:
        assert missed(catalogue, settings, evening)
        assert not missed(catalogue, settings, evening - timedelta(hours=1))
        batch = catalogue.nights.open_batch(until=None, wishes={}, plan={}, flow_run="first", now=evening)
        catalogue.nights.end(batch.name, report={})
        assert not missed(catalogue, settings, evening + timedelta(hours=2))
        assert missed(catalogue, settings, evening + timedelta(days=1))


@pytest.mark.expects_log
def test_a_batch_without_a_house_is_ended_where_stop_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is at work: what is open is released, the report says so, and the shots wait for the next night."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.read({"DAILIES_HOME": str(tmp_path / "home")})
    said: list[str] = []
    assert stop_night(settings, said=said.append) is None
    with open_catalogue(settings.database_url) as catalogue:
        names = stocked(catalogue, "AB")
        batch = opened(catalogue)
        [first, _] = catalogue.nights.grant(batch.name, "reel 01", names)
        catalogue.nights.begin(first.shot, first.fence, flow_run="gone")
        report = stop_night(settings, said=said.append)
        assert report is not None
        assert {entry["outcome"] for entry in report["shots"]} == {"carried_over"}
        assert catalogue.nights.running() is None
        assert not catalogue.nights.attempts(batch.name, open_only=True)
        assert catalogue.counts()[Status.READY] == 2
    assert "no house is up" in said[-1]
