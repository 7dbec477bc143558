"""Render shots: the batch, and one shot of it.

Knows: which shots, and which of their steps may run at the same time. Does not know: how a step is done, SQL, pixels.

A shot that fails says why and leaves the others alone. Everything finished is found again by content key, so a flow
that is killed at any moment is continued by running it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from catalogs.footage import Status
from catalogs.shot import Shot
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.planning import BATCHES
from flows.reports import bare_report, report
from flows.settings import Settings
from flows.take import make_take
from flows.watching import result_artifact
from models.interface import EngineError
from tasks import engines, steps
from tasks.dryrun import estimate, plan_json
from tasks.errors import BusyError, MediaError, StepError
from tasks.keep import check_disk, sha256_of, sole_owner, sweep_superseded, write_json
from tasks.plan import plan_take
from tasks.publish import MANIFEST, deliverable_json, first_free_version, read_published

LOG: Final = logging.getLogger("dailies")

SHOTS_AT_ONCE: Final = 2
"""One being generated, one being finished: more would only hold disk and memory."""

FINISHED: Final = (Status.REVIEW, Status.APPROVED)

_turns: ContextVar[dict[str, threading.Semaphore] | None] = ContextVar("turns", default=None)


@contextmanager
def _turn(kind: str) -> Iterator[None]:
    """Wait for the engine's or the finishing side's turn; free where a shot is rendered alone."""
    turns = _turns.get()
    if turns is None:
        yield
        return
    with turns[kind]:
        yield


def _batch_name() -> str:
    """`6 shots`, or `every waiting shot`: what the Prefect UI lists the batch as."""
    named = len(flow_run.parameters.get("shots") or ())
    return f"{named} shots" if named else "every waiting shot"


@flow(name="render-batch", flow_run_name=_batch_name, validate_parameters=False)
def render_batch(shots: Sequence[str] = (), require_rife: bool = False) -> Any:
    """Render the named shots, or every shot that is waiting, and report on each.

    While one shot is retimed and encoded, the next one's windows are already being generated; never more than that.
    The state's result is the document that `dailies render --json` prints.
    """
    started = time.perf_counter()
    settings = Settings.read()
    engines.interpolator_spec(settings.weights, require_rife=require_rife)  # fails before anything starts
    with open_catalogue(settings.database_url) as catalogue:
        names = list(shots) or [record.shot.name for record in catalogue.renderable()]
    turns = {"generate": threading.Semaphore(1), "finish": threading.Semaphore(1)}
    token = _turns.set(turns)
    try:
        with ThreadPoolExecutor(SHOTS_AT_ONCE, thread_name_prefix="shot") as pool:
            runs: list[Future[Any]] = [
                # a context of its own for each thread: Prefect keeps the parent flow there
                pool.submit(copy_context().run, _run_one, name, require_rife)
                for name in names
            ]
            reports = [run.result() for run in runs]
    finally:
        _turns.reset(token)
    document = {"shots": reports, "seconds": round(time.perf_counter() - started, 3)}
    _keep_report(settings.home / BATCHES, document)
    failed = [report for report in reports if report["error"]]
    if failed:
        first = f"{failed[0]['show']}/{failed[0]['shot']}: {failed[0]['error']}"
        return Failed(message=f"{len(failed)} of {len(reports)} shots failed; first {first}", data=document)
    return Completed(message=f"{len(reports)} shots rendered", data=document)


def run_batch(shots: Sequence[str] = (), *, require_rife: bool = False) -> dict[str, Any]:
    """`render_batch` from plain code: its document, whether or not shots failed. Raises what broke the batch itself."""
    state = cast(State[dict[str, Any]], render_batch(shots, require_rife=require_rife, return_state=True))
    document = state.result(raise_on_failure=False)
    if isinstance(document, dict):
        return document
    raise document if isinstance(document, Exception) else RuntimeError(state.message)


def _keep_report(folder: Path, document: dict[str, Any]) -> None:
    """The batch's report, for `dailies status` and for whoever asks next week."""
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{now:%Y%m%dT%H%M%S%f}Z.json", {**document, "finished": now.isoformat(timespec="seconds")})


def _run_one(name: str, require_rife: bool) -> dict[str, Any]:
    """A shot's flow run, and its report even if the flow itself broke."""
    state = cast(State[dict[str, Any]], render_shot(name, require_rife=require_rife, return_state=True))
    result = state.result(raise_on_failure=False)
    if isinstance(result, dict):
        return result
    return bare_report(name, error=f"the flow run ended as {state.name}: {state.message}")


@flow(name="render-shot", flow_run_name="{shot}", validate_parameters=False)
def render_shot(shot: str, require_rife: bool = False) -> Any:
    """Render one shot into deliverables. The state's result is its report."""
    settings = Settings.read()
    with open_catalogue(settings.database_url) as catalogue:
        record = catalogue.find(shot)
        try:
            outcome = _render(record, catalogue, settings, require_rife)
        except BusyError as error:  # the shot is another process's: it is not ours to mark
            outcome = bare_report(record.shot.name, error=str(error))
        except (StepError, EngineError) as error:  # before there was a take
            catalogue.fail_shot(record.shot.name, str(error))
            outcome = bare_report(record.shot.name, error=str(error))
    if outcome["error"]:
        LOG.error("%s failed: %s", record.shot.name, outcome["error"])
        return Failed(message=outcome["error"], data=outcome)
    return Completed(message=outcome["slate"], data=outcome)


def _render(record: ShotRecord, catalogue: Catalogue, settings: Settings, require_rife: bool) -> dict[str, Any]:
    """Plan, take up or begin the take, make it, and write down how it ended."""
    shot = record.shot
    _check_plates(shot)
    interpolator = engines.interpolator(settings.weights, require_rife=require_rife)
    spec = engines.spec_for(shot.model, engine=settings.engine)
    draft = plan_take(shot, spec, interpolator=interpolator.spec)
    versions = settings.deliveries / shot.show / (shot.sequence or "_") / shot.code
    shot_work = settings.work / shot.show / shot.code
    with sole_owner(shot_work, what=shot.name):
        newest = record.take
        if newest and newest.key == draft.key and newest.status in FINISHED:
            plan = plan_take(shot, spec, interpolator=interpolator.spec, version=newest.version)
            folder = versions / f"v{newest.version:03d}"
            if document := read_published(plan, folder):
                LOG.info("%s is finished already", plan.slate)
                files = [{**item, "path": str(folder / item["path"])} for item in document["deliverables"]]
                return report(plan, status=newest.status, deliverables=files, manifest=folder / MANIFEST)
        take = catalogue.begin_take(
            shot.name, key=draft.key, plan=plan_json(draft), at_least=first_free_version(versions)
        )
        plan = plan_take(shot, spec, interpolator=interpolator.spec, version=take.version)
        place = steps.Place(settings.ffmpeg, shot_work / plan.join_key[:16], versions / f"v{take.version:03d}")
        seconds: dict[str, float] = {}
        try:
            check_disk(estimate(plan).bytes, settings.home, what=plan.slate)
            write_json(place.work / "plan.json", plan_json(plan))
            made = make_take(plan, place, interpolator=interpolator, turn=_turn, seconds=seconds)
        except (StepError, EngineError) as error:
            message = str(error) if shot.code in str(error) else f"{plan.slate}: {error}"
            catalogue.fail_take(take, error=message, seconds=seconds)
            return report(plan, status=Status.FAILED, error=message, seconds=seconds)
        except Exception as error:  # a defect of ours: the shot is not left as if it were running
            catalogue.fail_take(take, error=f"{plan.slate}: unexpected {error!r}; report it", seconds=seconds)
            raise
        catalogue.finish_take(
            take,
            manifest=made.manifest,
            clips=made.clips,
            deliverables=made.deliverables,
            findings=made.findings,
            seconds=seconds,
        )
        sweep_superseded(shot_work, place.work)
    files = [deliverable_json(item, str(place.version / item.path.name)) for item in made.deliverables]
    done = report(plan, status=Status.REVIEW, deliverables=files, manifest=made.manifest, seconds=seconds)
    result_artifact(done)
    return done


def _check_plates(shot: Shot) -> None:
    """A plate that is gone or was painted over since it was submitted is refused: the list no longer means it."""
    for plate in (shot.plate, shot.end_plate):
        if plate is None:
            continue
        try:
            digest = sha256_of(Path(plate.path))
        except OSError as error:
            reason = error.strerror or error
            raise MediaError(
                f"{shot.name}: the plate {plate.path} cannot be read ({reason}); put it back or submit the list again"
            ) from None
        if digest != plate.sha256:
            raise MediaError(
                f"{shot.name}: the plate {plate.path} has changed since it was submitted; submit the list again"
            )
