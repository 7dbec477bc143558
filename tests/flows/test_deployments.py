"""Claims about what a Prefect server is told: applied at once, twice without a trace, and it does what it says."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from rendering import ROOT, clean_environment

PLAN = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))
NAMES = [f"{one['flow_name']}/{one['name']}" for one in PLAN["deployments"]]


@pytest.fixture
def environment(tmp_path: Path, prefect_url: str) -> dict[str, str]:
    """Of a process that uses the session's server."""
    return clean_environment(
        DAILIES_HOME=str(tmp_path / "home"),
        PREFECT_HOME=str(tmp_path / "prefect"),
        PREFECT_API_URL=prefect_url,
        PYTHONPATH=os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]),
    )


@pytest.fixture
def api(prefect_url: str) -> Iterator[httpx.Client]:
    """The server's API as anybody sees it."""
    with httpx.Client(base_url=f"{prefect_url}/", timeout=60) as client:
        yield client


def _run(environment: Mapping[str, str], *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv], env={**environment, **more}, capture_output=True, text=True, timeout=120, check=False
    )


def _apply(environment: Mapping[str, str], **more: str) -> dict[str, Any]:
    done = _run(environment, "-m", "flows.deployments", **more)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _deployment(api: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"deployments/name/{name}").raise_for_status().json()
    return found


def _automations(api: httpx.Client) -> dict[str, dict[str, Any]]:
    found = api.post("automations/filter", json={"limit": 200}).raise_for_status().json()
    return {one["name"]: one for one in found if one["name"].startswith("dailies: ")}


@contextmanager
def _block(api: httpx.Client, url: str) -> Iterator[str]:
    """A custom webhook that posts to `url`, as somebody would make it in the UI; its name for DAILIES_NOTIFY."""
    kind = api.get("block_types/slug/custom-webhook").raise_for_status().json()
    wanted = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    schema = api.post("block_schemas/filter", json=wanted).raise_for_status().json()[0]
    fields = {"name": "desk", "url": url, "method": "POST", "json_data": {"subject": "{{subject}}", "body": "{{body}}"}}
    document = {
        "name": f"desk-{time.monotonic_ns()}",
        "data": fields,
        "block_type_id": kind["id"],
        "block_schema_id": schema["id"],
    }
    made = api.post("block_documents/", json=document).raise_for_status().json()
    yield f"custom-webhook/{document['name']}"
    api.delete(f"block_documents/{made['id']}")


def test_applied_twice_it_changes_nothing(environment: dict[str, str], api: httpx.Client) -> None:
    """The first time makes all of it; the second finds nothing to do, and nothing is there twice."""
    _apply(environment, DAILIES_NIGHT="20:15-06:00", DAILIES_TIMEZONE="Europe/Berlin")
    again = _apply(environment, DAILIES_NIGHT="20:15-06:00", DAILIES_TIMEZONE="Europe/Berlin")
    assert again["changed"] == []
    nightly = _deployment(api, "nightly/nightly")
    assert [one["slug"] for one in nightly["schedules"]] == ["night"]
    assert nightly["schedules"][0]["schedule"]["cron"] == "15 20 * * *"
    assert nightly["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
    assert nightly["schedules"][0]["parameters"] == {"scheduled": True}
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert {_deployment(api, name)["work_pool_name"] for name in NAMES} == {"night", "gpu", "cpu"}
    pool = api.get("work_pools/gpu").json()
    assert pool["type"] == "process"
    assert pool["base_job_template"]["variables"]["properties"]["command"]["default"] == "python -m flows.leash"


def test_the_schedule_makes_runs(environment: dict[str, str], api: httpx.Client) -> None:
    """The server has the next night among its scheduled runs: with a wrong SQLAlchemy its scheduler makes none."""
    _apply(environment, DAILIES_NIGHT="21:00-06:00", DAILIES_TIMEZONE="UTC")
    wanted = {
        "deployments": {"id": {"any_": [_deployment(api, "nightly/nightly")["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    deadline = time.monotonic() + 180
    begun: list[dict[str, Any]] = []
    while not begun:  # the scheduler may still write what a schedule before this one said; such a run finds no window
        assert time.monotonic() < deadline
        time.sleep(0.5)
        runs = api.post("flow_runs/filter", json=wanted).raise_for_status().json()
        begun = [run for run in runs if "T21:00:00" in run["expected_start_time"]]
    assert datetime.fromisoformat(begun[0]["expected_start_time"]).utcoffset() == timedelta(0)
    assert begun[0]["parameters"]["scheduled"] is True


def test_what_an_operator_changed_by_hand_stays(environment: dict[str, str], api: httpx.Client) -> None:
    """A schedule that was paused stays paused when its time moves; a schedule of somebody's own is left alone."""
    _apply(environment, DAILIES_NIGHT="19:00-07:00")
    nightly = _deployment(api, "nightly/nightly")
    schedules = f"deployments/{nightly['id']}/schedules"
    ours = nightly["schedules"][0]["id"]
    api.patch(f"{schedules}/{ours}", json={"active": False}).raise_for_status()
    own = {"active": True, "schedule": {"cron": "0 3 * * 0", "timezone": "UTC"}}
    added = api.post(schedules, json=[own]).raise_for_status().json()[0]["id"]
    try:
        changed = _apply(environment, DAILIES_NIGHT="22:00-07:00", DAILIES_TIMEZONE="UTC")["changed"]
        assert changed == ["schedule night of nightly/nightly"]
        standing = {one["id"]: one for one in _deployment(api, "nightly/nightly")["schedules"]}
        assert set(standing) == {ours, added}
        assert not standing[ours]["active"]
        assert standing[ours]["schedule"]["cron"] == "0 22 * * *"
        assert standing[added]["active"]
    finally:
        api.delete(f"{schedules}/{added}")
        api.patch(f"{schedules}/{ours}", json={"active": True})


def test_prefects_own_command_takes_the_file(environment: dict[str, str], api: httpx.Client) -> None:
    """`prefect deploy --all --prefect-file deploy/prefect.yaml` is accepted, and applying ours makes nothing twice."""
    _apply(environment)
    done = _run(
        environment,
        *("-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "deploy" / "prefect.yaml")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _apply(environment)
    assert _apply(environment)["changed"] == []
    for name in NAMES:
        found = _deployment(api, name)
        wanted = next(one for one in PLAN["deployments"] if f"{one['flow_name']}/{one['name']}" == name)
        assert [one["slug"] for one in found["schedules"]] == [one["slug"] for one in wanted.get("schedules", [])]
        assert found["entrypoint"] == wanted["entrypoint"]


@pytest.mark.parametrize("wanted", PLAN["deployments"], ids=lambda one: one["name"])
def test_every_entrypoint_is_a_flow_of_that_name(wanted: dict[str, Any]) -> None:
    """What the file names can be imported, and takes the parameters that schedules and automations give."""
    module, _, name = wanted["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert flow.name == wanted["flow_name"]
    given = {key for schedule in wanted.get("schedules", []) for key in schedule.get("parameters", {})}
    given |= {"resume"} if wanted["name"] == "nightly" else set()
    assert given <= set(inspect.signature(flow.fn).parameters)


def test_a_block_that_is_not_there_is_refused(environment: dict[str, str], api: httpx.Client) -> None:
    """Nothing is changed, and the sentence says which block and what to do."""
    before = _automations(api)
    for name, word in [
        ("slack-webhook/nobody", "does not have"),
        ("no-such/kind", "does not have"),
    ]:
        done = _run(environment, "-m", "flows.deployments", DAILIES_NOTIFY=name, DAILIES_NIGHT="01:00-02:00")
        assert done.returncode == 3
        assert name in done.stdout
        assert word in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
    assert _automations(api) == before


def test_a_batch_that_ended_is_told(environment: dict[str, str], api: httpx.Client) -> None:
    """The event's text arrives at a webhook block; once the block is not named any more, its automations are gone."""
    heard: list[dict[str, Any]] = []

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Desk) as desk:
        threading.Thread(target=desk.serve_forever, daemon=True).start()
        with _block(api, f"http://127.0.0.1:{desk.server_port}/") as name:
            _apply(environment, DAILIES_NOTIFY=name)
            assert _apply(environment, DAILIES_NOTIFY=name)["changed"] == []
            tell = "import house_flows; house_flows.tell('41 of 42 shots are done')"
            assert _run(environment, "-c", tell).returncode == 0
            deadline = time.monotonic() + 30
            while not heard:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            gone = _apply(environment)["changed"]
        desk.shutdown()
    assert heard == [{"subject": "Dailies: batch 2026-11-21 ended", "body": "41 of 42 shots are done"}]
    assert sorted(gone) == [
        f"automation dailies: tell {name} of a batch that {w}" for w in ("ended", "stalled", "went down")
    ]
    assert set(_automations(api)) == {"dailies: flow run without heartbeat", "dailies: night went down"}


def test_what_a_batch_leaves_is_ended(environment: dict[str, str], api: httpx.Client) -> None:
    """A run whose worker was killed while it started it stays pending for good; one that waits is not wanted any more.
    What is alive, belongs to another batch, or was taken up just now is left as it is."""
    _apply(environment)
    flow = api.post("flows/", json={"name": "left"}).raise_for_status().json()["id"]
    made = {}
    for state, batch in [("PENDING", "left-1"), ("SCHEDULED", "left-1"), ("RUNNING", "left-1"), ("PENDING", "left-2")]:
        body = {"flow_id": flow, "tags": [batch, "AGM"], "state": {"type": state}}
        made[state, batch] = api.post("flow_runs/", json=body).raise_for_status().json()["id"]
    for name in ("intake", "finish-shot"):
        deployment = _deployment(api, f"{name}/{name}")["id"]
        body = {"parameters": {}, "state": {"type": "PENDING"}, "enforce_parameter_schema": False}
        begun = api.post(f"deployments/{deployment}/create_flow_run", json=body).raise_for_status().json()["id"]
        made[name, ""] = begun

    def closed(more: str = "") -> list[str]:
        words = "from datetime import timedelta\nfrom flows.dispatch import dispatching\n"
        done = _run(environment, "-c", f"{words}with dispatching() as one: one.close('left-1'{more})")
        assert done.returncode == 0, done.stderr
        return [api.get(f"flow_runs/{run}").json()["state_type"] for run in made.values()]

    living = f", living=['{made['RUNNING', 'left-1']}']"
    assert closed(living) == ["CRASHED", "CANCELLED", "RUNNING", "PENDING", "PENDING", "PENDING"]
    # what was taken up long ago and never began, of our own deployments
    assert closed(f"{living}, starts_within=timedelta(0)")[2:] == ["RUNNING", "PENDING", "CRASHED", "CRASHED"]
    # what Prefect takes for running, and nobody has heard of
    assert closed()[2:4] == ["CRASHED", "PENDING"]
