"""Prefect as the night uses it: make a flow run of a deployment, look at flow runs, end one.

Knows: Prefect's API and the names of our deployments. Does not know: the catalogue, what is decided.

Every flow run has an idempotency key made from what it is for, so that asking twice makes one. Raises
DispatchError where the server does not answer or refuses: whoever follows the night asks again.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed, Scheduled

from tasks.errors import StepError
from tasks.recovery import Rules, RunState

NIGHTLY: Final = "nightly/nightly"
RENDER_REEL: Final = "render-reel/render-reel"
FINISH_SHOT: Final = "finish-shot/finish-shot"
INTAKE: Final = "intake/intake"

GPU_POOL: Final = "gpu"
"""Work pool whose workers render reels."""

STARTS_WITHIN: Final = timedelta(seconds=Rules().pending_for)
"""From a worker's taking a run to its process's beginning it, at most: a night's rule, for every run of ours."""

_OVER: Final = (RunState.COMPLETED, RunState.FAILED, RunState.CRASHED, RunState.CANCELLED, RunState.UNKNOWN)

_EXIT: Final = re.compile(r"Process exited with status code: (-?\d+)")  # as Prefect's process worker says it

_LEAVES_WITHIN: Final = 20.0  # seconds from the last word of a run in the catalogue to its end in Prefect

_AT_ONCE: Final = 100  # flow runs asked for in one call; the server gives 200 at most


class DispatchError(StepError):
    """The Prefect server does not answer, or does not take what it is asked; asking again later may do."""

    transient = True


@dataclass(frozen=True, slots=True)
class Looked:
    """A flow run as the server has it."""

    state: RunState
    since: datetime
    """When it came into that state, by the server's clock."""
    message: str

    @property
    def over(self) -> bool:
        """Whether nothing of it is at work any more."""
        return self.state in _OVER


class Dispatch:
    """An open connection to the Prefect server. One per thread."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._deployments: dict[str, UUID] = {}

    def run(
        self,
        deployment: str,
        *,
        key: str,
        name: str | None = None,
        parameters: Mapping[str, Any],
        tags: Iterable[str] = (),
        at: datetime | None = None,
    ) -> str:
        """A flow run of a deployment (`flow/name`), now or at a time; its id. The same `key` gives the same run."""
        with _spoken(f"starting {name or deployment}"):
            if deployment not in self._deployments:
                self._deployments[deployment] = self._client.read_deployment_by_name(deployment).id
            made = self._client.create_flow_run_from_deployment(
                self._deployments[deployment],
                name=name,
                parameters=dict(parameters),
                state=Scheduled(scheduled_time=at),
                idempotency_key=key,
                tags=sorted(tags),
            )
        return str(made.id)

    def look(self, flow_runs: Sequence[str]) -> dict[str, Looked]:
        """Where flow runs stand; one that the server does not know is not in the answer."""
        found: dict[str, Looked] = {}
        with _spoken("looking at flow runs"):
            for first in range(0, len(flow_runs), _AT_ONCE):
                wanted = FlowRunFilterId(any_=[UUID(name) for name in flow_runs[first : first + _AT_ONCE]])
                for run in self._client.read_flow_runs(flow_run_filter=FlowRunFilter(id=wanted), limit=_AT_ONCE):
                    state = run.state
                    kind = RunState(state.type.value) if state else RunState.SCHEDULED
                    since = state.timestamp if state else datetime.now(UTC)
                    found[str(run.id)] = Looked(kind, since, plainly(state.message or "") if state else "")
        return found

    def crash(self, flow_run: str, why: str) -> None:
        """End a flow run whose process is gone. One that has ended, or is unknown, stays as it is."""
        with _spoken("ending a flow run"):
            try:
                run = self._client.read_flow_run(UUID(flow_run))
                if run.state and not run.state.is_final():
                    self._client.set_flow_run_state(run.id, Crashed(message=why), force=True)
            except ObjectNotFound:
                pass

    def call_off(self, flow_run: str) -> None:
        """Cancel a flow run that no worker has taken up; one that is unknown stays so."""
        with _spoken("calling off a flow run"), suppress(ObjectNotFound):
            self._client.set_flow_run_state(UUID(flow_run), Cancelled(message="there is nothing left to do"))

    def close(self, batch: str, *, living: Iterable[str] = (), starts_within: timedelta = STARTS_WITHIN) -> int:
        """End what a batch leaves: flow runs with its tag that have not begun, or run and are not among the `living`.
        How many those were.

        A worker that is killed while it starts a run leaves it pending for good, and another reel may have taken its
        shots meanwhile: nobody would ask for it any more. Any run of ours that has been pending for longer than
        `starts_within` is such a one.
        """
        its = FlowRunFilterTags(all_=[batch])
        names = [name.rpartition("/")[2] for name in (NIGHTLY, RENDER_REEL, FINISH_SHOT, INTAKE)]
        ours = DeploymentFilter(name=DeploymentFilterName(any_=names))
        before = datetime.now(UTC) - starts_within
        with _spoken("ending what has not begun"):
            left = self._in(StateType.SCHEDULED, StateType.PENDING, tags=its)
            left += [
                run
                for run in self._in(StateType.PENDING, deployments=ours)
                if run.state is not None and run.state.timestamp < before
            ]
            left += self._silent(its, frozenset(living))
            for run in {run.id: run for run in left}.values():
                if run.state is not None and run.state.is_scheduled():
                    self._client.set_flow_run_state(run.id, Cancelled(message="nothing is left to do"), force=True)
                else:
                    self._client.set_flow_run_state(run.id, Crashed(message="its worker is gone"), force=True)
        return len({run.id for run in left})

    def due(self, deployment: str) -> list[str]:
        """Flow runs by a deployment's schedule whose time has come, and that no worker has taken up: late ones."""
        wanted = DeploymentFilter(name=DeploymentFilterName(any_=[deployment.rpartition("/")[2]]))
        with _spoken(f"looking for late runs of {deployment}"):
            found = self._in(StateType.SCHEDULED, deployments=wanted)
        now = datetime.now(UTC)
        own = [run for run in found if run.auto_scheduled]
        return [str(run.id) for run in own if run.expected_start_time is not None and run.expected_start_time <= now]

    def _silent(self, its: FlowRunFilterTags, living: frozenset[str]) -> list[FlowRun]:
        """Runs that are said to run, and are known to be gone: those that are just leaving get some seconds for it."""
        deadline = time.monotonic() + _LEAVES_WITHIN
        while True:
            found = [run for run in self._in(StateType.RUNNING, tags=its) if str(run.id) not in living]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(1.0)

    def _in(
        self, *states: StateType, tags: FlowRunFilterTags | None = None, deployments: DeploymentFilter | None = None
    ) -> list[FlowRun]:
        kind = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
        wanted = FlowRunFilter(tags=tags, state=kind)
        return self._client.read_flow_runs(flow_run_filter=wanted, deployment_filter=deployments, limit=_AT_ONCE)

    def workers(self, pool: str = GPU_POOL) -> int:
        """How many workers of a pool give signs of life."""
        with _spoken(f"counting the workers of {pool}"):
            found = self._client.read_workers_for_work_pool(pool)
        return sum(1 for worker in found if worker.status and worker.status.value == "ONLINE")


def plainly(message: str) -> str:
    """What a worker says of a process that ended, in fewer words; any other message as it is."""
    found = _EXIT.match(message)
    if found is None:
        return message
    code = int(found[1])
    if code >= 0:
        return f"the process left with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"the process was ended by {name}" + (": out of memory, or by hand" if -code == signal.SIGKILL else "")


@contextmanager
def dispatching() -> Iterator[Dispatch]:
    """A connection to the configured Prefect server."""
    with get_client(sync_client=True) as client:
        yield Dispatch(client)


@contextmanager
def _spoken(what: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFound as error:
        raise DispatchError(
            f"{what}: the Prefect server at {_server()} has no such deployment or pool; `dailies up` makes them"
        ) from error
    except (httpx.HTTPError, PrefectException, OSError) as error:
        raise DispatchError(f"{what}: the Prefect server at {_server()} did not do it: {error!r}") from error


def _server() -> str:
    return os.environ.get("PREFECT_API_URL", "")
