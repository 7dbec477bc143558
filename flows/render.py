"""Render shots: the batch, and one shot of it.

Knows: which shots, and which of their steps may run at the same time. Does not know: how a step is done, SQL, pixels.

A shot that fails says why and leaves the others alone. Everything finished is found again by content key, so a flow
that is killed at any moment is continued by running it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import asdict
from typing import Any, Final, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from catalogs.errors import FencedError, ShotTakenError
from catalogs.footage import Status
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.begin import Wishes, found_finished, lay_out, make_ready, take_up, work_of
from flows.planning import BATCHES, keep_report
from flows.prompts import expect_prompts
from flows.reports import bare_report, report
from flows.settings import Settings
from flows.settle import Recorder, named, settle
from flows.take import finish_take, generate_take
from flows.turns import Turns, lines
from flows.watching import progress_artifact
from models.interface import EngineError, WindowStopped
from tasks import engines, retimers
from tasks.errors import BusyError, MachineNotReadyError, StepError
from tasks.keep import sole_owner
from tasks.progress import counted
from tasks.stopping import STOPPING
from tasks.transient import is_transient

LOG: Final = logging.getLogger("dailies")

SHOTS_AT_ONCE: Final = 2
"""One being generated, one being finished: more would only hold disk and memory."""

_turns: ContextVar[Turns | None] = ContextVar("turns", default=None)


def _batch_name() -> str:
    """`6 shots`, or `every waiting shot`: what the Prefect UI lists the batch as."""
    named = len(flow_run.parameters.get("shots") or ())
    return counted(named, "shot") if named else "every waiting shot"


@flow(name="render-batch", flow_run_name=_batch_name, validate_parameters=False)
def render_batch(
    shots: Sequence[str] = (),
    require_rife: bool = False,
    profile: str = engines.EXACT,
    allow_smaller: bool = False,
) -> Any:
    """Render the named shots, or every shot that is waiting, and report on each.

    While one shot is retimed and encoded, the next one's windows are already being generated; never more than that. The
    state's result is the document that `dailies render --json` prints. On SIGTERM or Ctrl-C running windows save their
    checkpoints, and KeyboardInterrupt leaves.
    """
    started = time.perf_counter()
    settings = Settings.read()
    retimers.spec(settings.weights, wish=settings.retimer, require_rife=require_rife)  # fails before anything starts
    wishes = Wishes(require_rife, profile, allow_smaller)
    with open_catalogue(settings.database_url) as catalogue:
        records = [catalogue.find(name) for name in shots] or catalogue.renderable()
    names = list(shots) or [record.shot.name for record in records]
    with STOPPING.on_sigterm():
        expect_prompts([record.shot for record in records], settings, profile=profile)
        reports = _in_turn(names, wishes)
    document = {"shots": reports, "seconds": round(time.perf_counter() - started, 3)}
    keep_report(settings.home / BATCHES, document)
    failed = [entry for entry in reports if entry["error"]]
    if failed:
        first = f"{failed[0]['show']}/{failed[0]['shot']}: {failed[0]['error']}"
        return Failed(message=f"{len(failed)} of {counted(len(reports), 'shot')} failed; first {first}", data=document)
    return Completed(message=f"{counted(len(reports), 'shot')} rendered", data=document)


def _in_turn(names: Sequence[str], wishes: Wishes) -> list[dict[str, Any]]:
    """The reports of the shots, in order. KeyboardInterrupt passes through when running windows have been saved."""
    stages = lines(("generate", "finish"))
    pool = ThreadPoolExecutor(SHOTS_AT_ONCE, thread_name_prefix="shot")
    try:
        runs: list[Future[dict[str, Any]]] = [
            # a context of its own for each thread: Prefect keeps the parent flow there
            pool.submit(copy_context().run, _run_one, name, Turns(stages, number), wishes)
            for number, name in enumerate(names)
        ]
        return [run.result() for run in runs]
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        # at this level it is shown beside the bars of a terminal too
        LOG.error("asked to leave: running windows save their checkpoints; once more leaves at once")
        STOPPING.leave()
        raise
    finally:
        # interrupted: what is queued never starts, and nobody waits for what runs
        pool.shutdown(wait=False, cancel_futures=True)


def run_batch(
    shots: Sequence[str] = (),
    *,
    require_rife: bool = False,
    profile: str = engines.EXACT,
    allow_smaller: bool = False,
) -> dict[str, Any]:
    """`render_batch` from plain code: its document, whether or not shots failed. Raises what broke the batch itself."""
    state = cast(State[dict[str, Any]], render_batch(shots, require_rife, profile, allow_smaller, return_state=True))
    document = state.result(raise_on_failure=False)
    if isinstance(document, dict):
        return document
    raise document if isinstance(document, Exception) else RuntimeError(state.message)


def _run_one(name: str, turns: Turns, wishes: Wishes) -> dict[str, Any]:
    """A shot's flow run, and its report even if the flow or the server itself broke."""
    _turns.set(turns)
    try:
        state = cast(State[dict[str, Any]], render_shot(name, **asdict(wishes), return_state=True))
        outcome = state.result(raise_on_failure=False)
        if isinstance(outcome, dict):
            return outcome
        return bare_report(name, error=f"the flow run ended as {state.name}: {state.message}")
    except Exception as error:
        return bare_report(name, error=f"Prefect did not run the shot: {error!r}; render it again")
    finally:
        turns.give_up()


@flow(name="render-shot", flow_run_name="{shot}", validate_parameters=False)
def render_shot(
    shot: str, require_rife: bool = False, profile: str = engines.EXACT, allow_smaller: bool = False
) -> Any:
    """Render one shot into deliverables. The state's result is its report."""
    wishes = Wishes(require_rife, profile, allow_smaller)
    settings = Settings.read()
    with open_catalogue(settings.database_url) as catalogue:
        record = catalogue.find(shot)
        name = record.shot.name
        try:
            with sole_owner(work_of(record.shot, settings), what=name):
                # read again: another run may have finished it while this one waited
                outcome = _render(catalogue.find(name), catalogue, settings, wishes)
        except (BusyError, ShotTakenError) as error:  # the shot is another run's: it is not ours to mark
            outcome = bare_report(name, error=str(error), status=Status.RENDERING)
        except (StepError, EngineError, MachineNotReadyError) as error:  # before there was a take
            catalogue.fail_shot(name, str(error))
            outcome = bare_report(name, error=str(error))
    if outcome["error"]:
        stopped = outcome["status"] == Status.RENDERING
        LOG.log(
            logging.WARNING if stopped else logging.ERROR,
            "%s: %s",
            name,
            outcome["error"].removeprefix(name).lstrip(": "),
        )
        return Failed(message=outcome["error"], data=outcome)
    return Completed(message=outcome["slate"], data=outcome)


def _render(record: ShotRecord, catalogue: Catalogue, settings: Settings, wishes: Wishes) -> dict[str, Any]:
    """Plan, take up or begin the take, make it, and write down how it ended."""
    ready = make_ready(record, settings, wishes)
    if finished := found_finished(record, ready, catalogue, settings):
        return finished
    begun = take_up(record, ready, catalogue, settings)
    plan, place = begun.plan, begun.place
    turn = _turns.get() or (lambda stage: nullcontext())
    seconds: dict[str, float] = {}
    recorder = Recorder(catalogue, plan)
    try:
        lay_out(begun, settings)
        with progress_artifact(plan.slate):
            with turn("generate"):
                generated = generate_take(
                    plan, place, interpolator=begun.interpolator, seconds=seconds, on_window=recorder.window
                )
            with turn("finish"):
                made = finish_take(plan, generated, place, interpolator=begun.interpolator, seconds=seconds)
    except WindowStopped as error:  # not a failure: the take goes on where it was left
        catalogue.leave_take(begun.take)
        return report(plan, status=Status.RENDERING, error=str(error), seconds=seconds)
    except (StepError, EngineError, MachineNotReadyError) as error:
        message = named(str(error), plan)
        catalogue.fail_take(begun.take, error=message, seconds=seconds, transient=is_transient(error))
        return report(plan, status=Status.FAILED, error=message, seconds=seconds)
    except FencedError as error:  # somebody else has the shot now: it is not ours to mark
        return report(plan, status=Status.RENDERING, error=str(error), seconds=seconds)
    except Exception as error:  # a defect of ours: the shot is not left as if it were running
        catalogue.fail_take(begun.take, error=f"{plan.slate}: unexpected {error!r}; report it", seconds=seconds)
        raise
    recorder.finished(seconds)
    return settle(begun, made, catalogue, seconds)
