"""Claims about a house that comes up in the night: what it finds open is taken up, what was missed is begun, once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from catalogue_nights import stocked
from prefect.settings import PREFECT_API_URL, temporary_settings
from rendering import ROOT, clean_environment

from catalogs.store import Catalogue, open_catalogue
from flows import dispatch as prefect_side
from flows.dispatch import NIGHTLY, dispatching
from flows.opening import span, tonight_said
from flows.settings import Settings

ALWAYS = {"DAILIES_NIGHT": "00:00-00:00", "DAILIES_TIMEZONE": "UTC"}


class Home:
    """A home whose machine comes up again and again, at the session's Prefect server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.home = folder / "home"
        self.environment = clean_environment(
            DAILIES_HOME=str(self.home), PREFECT_HOME=str(folder / "prefect"), PREFECT_API_URL=url, **ALWAYS
        )
        self.api = httpx.Client(base_url=f"{url}/", timeout=60)

    def is_applied(self) -> dict[str, Any]:
        """What the program answers that `dailies up` runs for the deployments and the night."""
        done = subprocess.run(
            [sys.executable, "-m", "flows.deployments", "--tonight", "wait"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def comes_up(self, *, wait: bool = False, **environment: str) -> str:
        """What `dailies up` says of the night, by what it does about it."""
        settings = Settings.read({**self.environment, **environment})
        with temporary_settings(updates={PREFECT_API_URL: self.environment["PREFECT_API_URL"]}):
            return tonight_said(settings, wait=wait)

    def runs(self) -> dict[str, Any]:
        """Parameters of the nightly flow runs that no schedule has made and that are not over, by id."""
        wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}}
        deployments = {"deployments": {"name": {"any_": ["nightly"]}}}
        found = self.api.post("flow_runs/filter", json={**wanted, **deployments}).raise_for_status().json()
        return {run["id"]: run["parameters"] for run in found if not run["auto_scheduled"]}

    def end(self, run: str) -> None:
        """End a flow run; not as if its process had died, for which there is an automation."""
        state = {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True}
        self.api.post(f"flow_runs/{run}/set_state", json=state).raise_for_status()


@pytest.fixture
def home(tmp_path: Path, prefect_url: str) -> Iterator[Home]:
    """An empty one; nothing of it is left on the server."""
    made = Home(tmp_path, prefect_url)
    made.is_applied()
    before = set(made.runs())
    yield made
    for run in set(made.runs()) - before:
        made.end(run)


@pytest.fixture
def catalogue(home: Home) -> Iterator[Catalogue]:
    """The home's."""
    with open_catalogue(f"sqlite:///{home.home / 'catalogue.sqlite'}") as made:
        yield made


def test_a_night_that_was_missed_is_begun_once(home: Home, catalogue: Catalogue) -> None:
    """Where something is ready, unless it is to wait; however often a house comes up; not after a batch of its own."""
    before = home.runs()
    assert "is open for" in (said := home.comes_up())
    assert "nothing is ready" in said
    stocked(catalogue, ["SH0010"])
    waits = home.is_applied()["tonight"]
    assert "left alone: `dailies night` begins it, by itself the next one begins in" in waits
    assert home.runs() == before
    assert home.comes_up().endswith("and had not begun: it begins now")
    assert home.comes_up().endswith("and had not begun: it begins now")
    [(run, parameters)] = [(run, given) for run, given in home.runs().items() if run not in before]
    assert parameters == {"scheduled": True}
    home.end(run)  # before it could open its batch
    home.comes_up()
    [again] = home.runs().keys() - before.keys()
    assert again != run

    batch = catalogue.nights.open_batch(until=None, wishes={}, plan={}, flow_run=again)
    assert home.comes_up() == f"{batch.name} is at work"
    home.end(again)
    assert home.comes_up(wait=True) == f"{batch.name} was at work when its house went down; it is taken up again"
    [(taking, parameters)] = [(run, given) for run, given in home.runs().items() if run not in before]
    assert parameters == {"resume": True}
    catalogue.nights.adopt(batch.name, flow_run=taking)
    home.end(taking)
    catalogue.nights.stop(batch.name)
    assert home.comes_up() == f"{batch.name} was ending when its house went down; it is brought to its end"
    [last] = home.runs().keys() - before.keys()

    catalogue.nights.end(batch.name, report={})
    home.end(last)
    assert home.comes_up().startswith(f"tonight's batch {batch.name} is over; the next one begins in ")
    assert home.runs() == before


def test_outside_of_its_window_the_night_is_only_announced(home: Home, catalogue: Catalogue) -> None:
    """A house that comes up in the afternoon says when the night begins, though shots are ready."""
    stocked(catalogue, ["SH0010"])
    before = home.runs()
    opens = datetime.now(UTC) + timedelta(hours=2)
    said = home.comes_up(DAILIES_NIGHT=f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}")
    assert said.startswith(f"next night: {opens:%H:%M}-")
    assert home.runs() == before


@pytest.mark.usefixtures("home")
def test_late_runs_of_the_schedule_are_found(prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None while their time has not come; afterwards those that nobody took up, which a house may call off."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=2)

    with temporary_settings(updates={PREFECT_API_URL: prefect_url}), dispatching() as dispatch:
        assert dispatch.due(NIGHTLY) == []
        monkeypatch.setattr(prefect_side, "datetime", Later)
        deadline = time.monotonic() + 180
        while not (late := dispatch.due(NIGHTLY)):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        dispatch.call_off(late[0])
        assert late[0] not in dispatch.due(NIGHTLY)


def test_spans_are_said_in_hours_and_minutes() -> None:
    """As somebody reads them who looks at a clock."""
    assert [span(timedelta(minutes=minutes)) for minutes in (0.6, 59, 60, 605)] == [
        "1 min",
        "59 min",
        "1 h 00 min",
        "10 h 05 min",
    ]
