"""The second half of a shot of the night: from its windows to a published version, in a process of its own.

Knows: the order of the second half and its right to publish. Does not know: engines, which machine rendered.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from catalogs.errors import FencedError
from catalogs.night import Attempt, AttemptStatus, Stage
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.begin import Begun, place_of, swept, work_of
from flows.duty import on_duty
from flows.patience import patient, patiently
from flows.reel import cancelled
from flows.settings import Settings
from flows.settle import Recorder, failed, settle
from flows.take import finish_take
from flows.watching import progress_artifact
from models.interface import FrameInterpolator
from tasks import retimers
from tasks.errors import MachineNotReadyError, MediaError
from tasks.handover import Handover, read_handover
from tasks.keep import recall
from tasks.plan import TakePlan
from tasks.progress import SHARES
from tasks.steps import JOINED

LOG: Final = logging.getLogger("dailies")


@flow(name="finish-shot", flow_run_name="{slate}", validate_parameters=False)
def finish_shot(shot: str, fence: int, slate: str) -> Any:
    """Join, retime, encode, inspect and publish a shot whose windows are there. The state's result is its report.

    `fence` is the right to it, `slate` what the run is called. A run that comes too late, or whose shot was cancelled,
    ends as Cancelled.
    """
    settings = Settings.read()
    with open_catalogue(settings.database_url) as catalogue:
        nights = catalogue.nights
        try:
            attempt = patiently(lambda: nights.begin(shot, fence, flow_run=str(flow_run.id)))
        except FencedError as error:
            return Cancelled(message=str(error))
        record = patiently(lambda: catalogue.find(shot))

        def lost(_: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)  # the steps run in the main thread, which hears signals

        with on_duty(
            catalogue,
            settings,
            attempt.batch,
            Stage.FINISH,
            name=shot,
            on_stop=lambda: None,  # what is nearly done is brought to its end
            on_lost=lost,
        ) as pulse:
            try:
                with pulse.holding(shot):
                    outcome = _finish(record, attempt, catalogue, settings)
            except FencedError as error:
                return Cancelled(message=str(error))
            except KeyboardInterrupt:
                return _left(catalogue, attempt, str(flow_run.id))
    if outcome["error"]:
        LOG.error("%s: %s", shot, outcome["error"].removeprefix(f"{shot}: "))
        return Failed(message=outcome["error"], data=outcome)
    return Completed(message=outcome["slate"], data=outcome)


def _left(catalogue: Catalogue, attempt: Attempt, me: str) -> Any:
    """The state of a run that was asked to leave: what it had not published is given back."""
    why = "its process was asked to leave; what is finished is kept"
    gone = cancelled(me)
    status, evidence = AttemptStatus.RELEASED, {"gone": why}
    if gone:
        status, evidence, why = AttemptStatus.CANCELLED, {}, "its flow run was cancelled in Prefect"
    nights = catalogue.nights
    mine = patiently(
        lambda: nights.end_attempt(attempt.shot, attempt.fence, status=status, error=why, evidence=evidence)
    )
    done = any(
        one.fence == attempt.fence and one.status is AttemptStatus.DONE
        for one in patiently(lambda: nights.attempts(shot=attempt.shot))
    )
    if done and not mine:
        return Completed(message=f"{attempt.shot} was published before it was asked to leave")
    return Cancelled(message=why) if gone else Failed(message=why)


def _finish(record: ShotRecord, attempt: Attempt, catalogue: Catalogue, settings: Settings) -> dict[str, Any]:
    """The second half under the attempt's fence, and how it ended. Raises FencedError if the right is gone."""
    seconds: dict[str, float] = {}
    handover: Handover | None = None
    try:
        with swept(work_of(record.shot, settings), what=record.shot.name):
            handover = read_handover(work_of(record.shot, settings), what=record.shot.name)
            begun = _taken_up(record, handover, attempt, catalogue, settings)
            with progress_artifact(begun.plan.slate, first=SHARES["join"][0]):
                made = finish_take(
                    begun.plan, handover.generated, begun.place, interpolator=begun.interpolator, seconds=seconds
                )
        Recorder(catalogue, begun.plan, batch=attempt.batch).finished(seconds)
        return settle(begun, made, catalogue, {**handover.generated.seconds, **seconds})
    except FencedError:
        raise
    except Exception as error:
        return failed(record, attempt, catalogue, error, plan=handover.plan if handover else None, seconds=seconds)


def _taken_up(
    record: ShotRecord, handover: Handover, attempt: Attempt, catalogue: Catalogue, settings: Settings
) -> Begun:
    """The handed-over take, under this attempt's fence. Raises StepError if it is not the shot's newest."""
    plan, take = handover.plan, record.take
    if take is None or take.key != plan.key or take.version != plan.version:
        raise MediaError(f"{plan.slate}: its take is no longer the newest; render the shot again")
    take = replace(take, fence=attempt.fence)
    place = place_of(plan, settings, guard=lambda: patient(lambda: catalogue.publishing(take)))
    return Begun(plan, take, place, _interpolator(plan, settings, place.work))


def _interpolator(plan: TakePlan, settings: Settings, work: Path) -> FrameInterpolator:
    """The plan's interpolator, or the next best if the plan allows that and the join is none of its work.

    Raises MachineNotReadyError where this machine has another one.
    """
    found = retimers.as_planned(plan.interpolator, settings.weights, wish=settings.retimer)
    # frames that two windows share and that are blended are made by the planned one, or are other frames
    joined = not plan.blended or recall(work / JOINED, key=plan.join_key) is not None
    if found is None and plan.may_fall and joined:
        found = retimers.next_best(plan.interpolator, settings.weights)
    if found is None:
        here = retimers.spec(settings.weights, wish=settings.retimer)
        raise MachineNotReadyError(
            f"{plan.slate}: planned with {plan.interpolator.engine} {plan.interpolator.model}".rstrip()
            + f", and this machine retimes with {here.engine} {here.model}".rstrip()
            + "; give every machine of the night the same RIFE weights and libraries (`dailies doctor`)"
        )
    return found
