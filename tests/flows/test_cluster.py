"""Several machines, as programs of their own: PostgreSQL and Redis below one Prefect server, workers beside it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cluster import Machines, NoRedisError, eventually, machines
from cluster_flows import LEAVING
from postgres import NoPostgresError
from rendering import House

REQUIRED = os.environ.get("DAILIES_REQUIRE_CLUSTER") == "1"
"""Whether a machine without PostgreSQL or Redis fails these tests instead of skipping them."""

STAY = "cluster_flows.stay"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Databases, Prefect's server and the deployments, on a head without workers."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(machines(tmp_path_factory.mktemp("head")))
        except (NoPostgresError, NoRedisError) as error:
            if REQUIRED:
                raise
            pytest.skip(str(error))
        yield made


@pytest.fixture
def head(services: Machines) -> Iterator[Machines]:
    """The head; the workers that a test starts end with it, or the next test's runs would be theirs."""
    yield services
    services.kill_workers()


@pytest.fixture
def fleet(head: Machines) -> Machines:
    """Two workers, each in a session of its own as if on a machine of its own."""
    head.start_worker("gpu", name="gpu-1", device="1")
    head.start_worker("cpu", name="cpu")
    return head


def _notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _words(path: Path) -> list[str]:
    return [note["word"] for note in _notes(path)]


def test_each_worker_takes_the_runs_of_its_pool(fleet: Machines, tmp_path: Path) -> None:
    """Runs by dotted entrypoints begin in the session of their own pool's worker, and see that worker's GPU alone."""
    go = tmp_path / "go"
    notes = {pool: tmp_path / pool for pool in ("gpu", "cpu")}
    runs = {}
    for pool, path in notes.items():
        deployment = fleet.deploy(STAY, name=f"stay-{pool}", pool=pool)
        runs[pool] = fleet.order(deployment, notes=str(path), until=str(go))
    eventually(lambda: all(_words(path) == ["begun"] for path in notes.values()), what="both are at work at once")
    about = {pool: _notes(path)[0] for pool, path in notes.items()}
    sessions = {pool: os.getsid(note["pid"]) for pool, note in about.items()}
    assert sessions == {"gpu": fleet.running["gpu-1"].pid, "cpu": fleet.running["cpu"].pid}
    assert about["gpu"]["gpu"] == "1"
    go.touch()
    eventually(lambda: {fleet.state(run) for run in runs.values()} == {"COMPLETED"}, what="both runs complete")


def test_a_server_that_is_killed_costs_no_run(fleet: Machines, tmp_path: Path) -> None:
    """The server is SIGKILLed under a run and started again: the run goes on in its own process and completes, its
    lease still keeps a second one out, and a run that was due while nobody answered is made up for."""
    go, notes, late = tmp_path / "go", tmp_path / "notes", tmp_path / "late"
    alone = fleet.deploy(STAY, name="alone", pool="gpu", limit=1)
    other = fleet.deploy(STAY, name="other", pool="cpu")
    first = fleet.order(alone, notes=str(notes), until=str(go))
    eventually(lambda: _words(notes) == ["begun"], what="the run begins")
    due = datetime.now(UTC) + timedelta(seconds=3)
    scheduled = fleet.order(other, at=due.isoformat(), notes=str(late), until=str(fleet.folder))
    fleet.kill_server()
    assert fleet.state(first) == ""
    eventually(lambda: datetime.now(UTC) > due)
    assert not late.exists()
    fleet.start_server()
    eventually(lambda: fleet.state(scheduled) == "COMPLETED", what="the scheduled run is made up for")
    assert fleet.state(first) == "RUNNING"
    second = fleet.order(alone, notes=str(notes), until=str(go))
    # the gpu worker takes one run at a time: another one of the pool looks at the second
    fleet.start_worker("gpu", name="gpu-2", device="2")
    eventually(lambda: fleet.state(second) == "CANCELLED", what="the second run is turned away")
    go.touch()
    eventually(lambda: fleet.state(first) == "COMPLETED", what="the first run completes")
    assert _words(notes) == ["begun", "done"]
    assert len({note["pid"] for note in _notes(notes)}) == 1


def test_what_must_outlive_a_server_is_in_postgres_and_redis(fleet: Machines, tmp_path: Path) -> None:
    """Events, leases, the services' clock and cleanups are in the three databases of Redis, flow runs in PostgreSQL:
    the variables of compose.yaml mean what they say, and no server keeps a database of its own."""
    go, notes = tmp_path / "go", tmp_path / "notes"
    run = fleet.order(fleet.deploy(STAY, name="leased", pool="gpu", limit=1), notes=str(notes), until=str(go))
    eventually(lambda: _words(notes) == ["begun"], what="the run begins")
    assert fleet.postgres.psql(f"SELECT count(*) FROM flow_run WHERE id = '{run}'", database="prefect") == "1"
    assert fleet.postgres.psql("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'", database="prefect") == "1"
    keys = [fleet.redis("keys", "*", database=number) for number in (0, 1, 2)]
    assert any("events" in key for key in keys[0])
    assert any("lease" in key for key in keys[0])
    assert keys[1]
    assert keys[2]
    assert not list((fleet.folder / "prefect").glob("*.db"))
    go.touch()
    eventually(lambda: fleet.state(run) == "COMPLETED", what="the run completes")


def test_the_schedule_makes_runs(head: Machines) -> None:
    """The services schedule the night: a Prefect whose scheduler does not get on with its database makes none, and says
    so in a log alone."""
    night = head.ask("GET", "deployments/name/nightly/nightly")["id"]
    wanted = {"deployments": {"id": {"any_": [night]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    eventually(lambda: head.ask("POST", "flow_runs/filter", wanted), seconds=180, what="the night is scheduled")


def test_a_worker_that_is_stopped_lets_its_run_save_what_it_has(head: Machines, tmp_path: Path) -> None:
    """SIGTERM to a worker alone, as systemd, Docker and Kubernetes send it: its run is asked once, has the time that it
    needs, and the worker takes nothing new meanwhile."""
    notes, next_notes = tmp_path / "notes", tmp_path / "next"
    worker = head.start_worker("gpu", name="leaving")
    deployment = head.deploy(STAY, name="stay-leaving", pool="gpu")
    run = head.order(deployment, notes=str(notes), until=str(tmp_path / "never"))
    eventually(lambda: _words(notes) == ["begun"], what="the run begins")
    waiting = head.order(deployment, notes=str(next_notes), until=str(head.folder))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LEAVING + 120) == 0
    assert _words(notes) == ["begun", "saved, asked 1 times"]
    assert head.state(run) == "COMPLETED"
    assert not next_notes.exists()
    head.start_worker("gpu", name="successor")
    eventually(lambda: head.state(waiting) == "COMPLETED", what="the next worker takes what waited")


def test_a_small_night_on_several_machines(fleet: Machines, tmp_path: Path, plate_path: Path) -> None:
    """Four shots of a list, the catalogue in PostgreSQL: the night worker plans, the gpu worker renders, the cpu worker
    finishes, the server is killed in between, and in the morning all four are there for review."""
    house = House(tmp_path, plate_path, fleet.environment)
    object.__setattr__(house, "home", fleet.folder / "home")
    house.submit(*({"shot": f"SH00{number}0", "frames": "24"} for number in range(1, 5)))
    fleet.start_worker("night", name="night")
    night = fleet.ask("GET", "deployments/name/nightly/nightly")["id"]
    run = fleet.order(night)
    eventually(lambda: list(house.home.glob("work/*/*/*")), what="the first shot is begun")
    fleet.kill_server()
    fleet.start_server()

    def statuses() -> set[str]:
        return {shot["status"] for shot in house.json("shots")["shots"]}

    # on a busy machine Prefect may take the run for dead while its server is away; then another one takes the night up
    eventually(lambda: statuses() == {"review"}, seconds=500, what="every shot is there for review")
    eventually(lambda: fleet.state(run) in ("COMPLETED", "CRASHED"), what="the run has ended")
    assert len(list(house.home.glob("deliveries/*/*/*/v001/manifest.json"))) == 4
