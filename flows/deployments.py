"""What the Prefect server must know of us: work pools, deployments, schedules. Applied until nothing is left to change.

Knows: deploy/prefect.yaml and Prefect's API. Does not know: what the flows do; it does not even import them. What an
operator has paused (a pool, a deployment, a schedule) stays paused.

    python -m flows.deployments [--since TIME] [--tonight begin|wait]

is what `dailies up` runs beside the server's start; the last line of its output is JSON, or the reason why it failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Crashed

from flows.automations import apply_automations, notification_blocks
from flows.opening import tonight_said
from flows.settings import Settings
from flows.window import Window
from tasks.doctor import answers
from tasks.errors import MachineNotReadyError

NIGHTLY: Final = "nightly/nightly"
"""The deployment whose schedule is the window of the settings."""

COMMAND: Final = "python -m flows.leash"
"""What a worker starts for a run: Prefect's engine, held to its worker. Workers put their own Python first on PATH."""

PATIENCE: Final = 240.0
"""Seconds to wait for the server to answer."""


def read_plan(path: Path | None = None) -> Mapping[str, Any]:
    """deploy/prefect.yaml, from the wheel or from the working tree."""
    here = Path(__file__).resolve()
    found = path or next(
        place
        for place in (here.with_name("prefect.yaml"), here.parents[1] / "deploy" / "prefect.yaml")
        if place.is_file()
    )
    plan: Mapping[str, Any] = yaml.safe_load(found.read_text(encoding="utf-8"))
    return plan


def apply(settings: Settings, *, plan: Mapping[str, Any] | None = None) -> list[str]:
    """Make the configured server what the plan says; the names of what was made or changed, none the second time.

    Raises MachineNotReadyError for a notification block that does not exist, before anything is changed.
    """
    plan = plan or read_plan()
    changed: list[str] = []
    with get_client(sync_client=True) as client:
        blocks = notification_blocks(client, settings.notify)
        for name, pool in plan["work_pools"].items():
            changed += _apply_pool(client, name, pool["description"])
        ids = {}
        for wanted in plan["deployments"]:
            name = f"{wanted['flow_name']}/{wanted['name']}"
            ids[name], touched = _apply_deployment(client, name, wanted, night=settings.night)
            changed += touched
        changed += apply_automations(client, ids, nightly=ids.get(NIGHTLY), blocks=blocks)
    return changed


def settle(since: datetime) -> int:
    """End the runs that were at work before `since`, when a server of our own was not there; their number.

    Their processes died with the house before. The night among them is taken up again by its automation.
    """
    living = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    plan = read_plan()
    with get_client(sync_client=True) as client:
        ids = [client.read_deployment_by_name(f"{one['flow_name']}/{one['name']}").id for one in plan["deployments"]]
        at_work = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=living)))
        ours = DeploymentFilter(id=DeploymentFilterId(any_=ids))
        ended = 0
        # what was ended is no longer found: always the first page
        while stale := [
            run
            for run in client.read_flow_runs(flow_run_filter=at_work, deployment_filter=ours, limit=200)
            if run.state is not None and run.state.timestamp < since
        ]:
            for run in stale:
                assert run.state is not None
                asked = run.state.is_cancelling()
                end = Cancelled if asked else Crashed
                state: Any = end(message="its process is gone: `dailies up` was ended and has been started again")
                client.set_flow_run_state(run.id, state, force=True)
            ended += len(stale)
    return ended


def _apply_pool(client: SyncPrefectClient, name: str, description: str) -> list[str]:
    template = _template()
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", description=description, base_job_template=template)
        )
        return [f"work pool {name}"]
    if found.type != "process":
        # a pool of another kind (kubernetes) is somebody's own: its workers start runs in their own way
        return []
    if found.description == description and found.base_job_template == template:
        return []
    client.update_work_pool(name, WorkPoolUpdate(description=description, base_job_template=template))
    return [f"work pool {name}"]


def _template() -> dict[str, Any]:
    """How a pool's workers start a process: with our command, runs start without a copy of a folder.

    What may be set besides is what Prefect's template for processes has and an operator may want. Each flow run's
    variables are held against this schema twice, so all that is in it costs the server time: Prefect's own template
    takes a quarter of what making a flow run takes (benchmarks/night.py).
    """
    return {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in ("command", "env", "working_dir", "stream_output")},
        "variables": {
            "type": "object",
            "properties": {
                "command": {"type": "string", "default": COMMAND},
                "env": {"type": "object"},
                "working_dir": {"type": "string"},
                "stream_output": {"type": "boolean"},
            },
        },
    }


def _apply_deployment(
    client: SyncPrefectClient, name: str, wanted: Mapping[str, Any], *, night: Window
) -> tuple[Any, list[str]]:
    """Id of the deployment, and what had to be changed."""
    limit = wanted.get("concurrency_limit") or {}
    options = ConcurrencyOptions(collision_strategy=limit["collision_strategy"]) if limit else None
    schedules = [_schedule(one, night if name == NIGHTLY else None) for one in wanted.get("schedules") or []]
    fields: dict[str, Any] = {
        "entrypoint": wanted["entrypoint"],
        "work_pool_name": wanted["work_pool"]["name"],
        "description": wanted["description"],
        "tags": wanted["tags"],
        "parameters": wanted.get("parameters") or {},
    }
    try:
        found = client.read_deployment_by_name(name)
    except ObjectNotFound:
        made = client.create_deployment(
            flow_id=client.create_flow_from_name(wanted["flow_name"]),
            name=wanted["name"],
            schedules=schedules,
            concurrency_limit=limit.get("limit"),
            concurrency_options=options,
            enforce_parameter_schema=False,  # the flow checks what it is given; nothing of it is imported here
            **fields,
        )
        return made, [f"deployment {name}"]
    changed = []
    if fields != {key: getattr(found, key) for key in fields} or not _same_limit(found, limit.get("limit"), options):
        update = DeploymentUpdate(concurrency_limit=limit.get("limit"), concurrency_options=options, **fields)
        client.update_deployment(found.id, update)
        changed.append(f"deployment {name}")
    changed += _apply_schedules(client, found, schedules, of=name)
    return found.id, changed


def _same_limit(found: DeploymentResponse, limit: int | None, options: ConcurrencyOptions | None) -> bool:
    standing = found.global_concurrency_limit.limit if found.global_concurrency_limit else None
    strategy = found.concurrency_options.collision_strategy if found.concurrency_options else None
    return (standing, strategy) == (limit, options.collision_strategy if options else None)


def _apply_schedules(
    client: SyncPrefectClient, found: DeploymentResponse, wanted: Sequence[DeploymentScheduleCreate], *, of: str
) -> list[str]:
    """Our schedules are known by their slug; one that somebody else added is left alone."""
    standing = {one.slug: one for one in found.schedules if one.slug}
    changed = []
    for schedule in wanted:
        before = standing.get(schedule.slug or "")
        if before is None:
            client.create_deployment_schedules(found.id, [schedule])
        elif not _same_schedule(before, schedule):
            client.update_deployment_schedule(
                found.id,
                before.id,
                schedule=schedule.schedule,
                parameters=schedule.parameters,
            )
        else:
            continue
        changed.append(f"schedule {schedule.slug} of {of}")
    return changed


def _same_schedule(before: DeploymentSchedule, wanted: DeploymentScheduleCreate) -> bool:
    def meaning(one: DeploymentSchedule | DeploymentScheduleCreate) -> tuple[Any, ...]:
        schedule = one.schedule
        when: Any = schedule
        if isinstance(schedule, CronSchedule):
            when = (schedule.cron, schedule.timezone)
        elif isinstance(schedule, IntervalSchedule):
            when = schedule.interval  # its anchor is the moment it was made
        return when, one.parameters

    return meaning(before) == meaning(wanted)


def _schedule(given: Mapping[str, Any], night: Window | None) -> DeploymentScheduleCreate:
    schedule: CronSchedule | IntervalSchedule
    if "interval" in given:
        schedule = IntervalSchedule(interval=timedelta(seconds=given["interval"]))
    elif night is not None:
        schedule = CronSchedule(cron=night.cron, timezone=night.zone)
    else:
        schedule = CronSchedule(cron=given["cron"], timezone=given["timezone"])
    return DeploymentScheduleCreate(
        slug=given["slug"],
        schedule=schedule,
        parameters=given.get("parameters") or {},
    )


def main() -> None:
    """Wait for the server, apply, and say in one line of JSON what was changed."""
    parser = argparse.ArgumentParser(prog="python -m flows.deployments")
    parser.add_argument("--since", type=datetime.fromisoformat, help="end runs that were at work before this time")
    parser.add_argument("--tonight", choices=("begin", "wait"), help="what to do with a night that is open already")
    asked = parser.parse_args()
    url = get_current_settings().api.url or ""
    deadline = time.monotonic() + PATIENCE
    try:
        while not answers(url):
            if time.monotonic() > deadline:
                raise MachineNotReadyError(f"the Prefect server at {url} does not answer; start it")
            time.sleep(0.1)
        began = time.monotonic()
        changed = apply(settings := Settings.read())
        took = time.monotonic() - began
        ended = settle(asked.since) if asked.since else 0
        tonight = tonight_said(settings, wait=asked.tonight == "wait") if asked.tonight else ""
    except MachineNotReadyError as error:
        sys.stdout.write(f"{error}\n")
        raise SystemExit(3) from None
    made = {"changed": changed, "ended": ended, "tonight": tonight, "seconds": round(took, 3)}
    sys.stdout.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
