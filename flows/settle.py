"""How a shot's end is written down: in the catalogue, as an artifact, as history for later estimates.

Knows: what every way of rendering a shot does at its end. Does not know: how footage is made, in which process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from catalogs.errors import CatalogueError
from catalogs.footage import Status
from catalogs.night import Attempt, AttemptStatus, Timing
from catalogs.store import Catalogue, ShotRecord
from flows.begin import Begun
from flows.patience import patiently
from flows.reports import bare_report, report
from flows.take import Published
from flows.watching import result_artifact
from models.interface import EngineError
from tasks.delivered import delivered_json
from tasks.diffusion import device_name
from tasks.dryrun import asked_steps
from tasks.engines import ANIMATIC
from tasks.errors import MachineNotReadyError, StepError
from tasks.history import rolled
from tasks.keep import sweep_superseded
from tasks.plan import TakePlan, Window
from tasks.publish import deliverable_json, finding_json
from tasks.transient import is_transient

LOG: Final = logging.getLogger("dailies")


class Recorder:
    """Writes down how long the parts of one shot take. History is for estimates: it never costs a shot."""

    def __init__(self, catalogue: Catalogue, plan: TakePlan, *, batch: str = "") -> None:
        self._catalogue, self._plan, self._batch = catalogue, plan, batch

    def window(self, window: Window, way: Mapping[str, Any], seconds: float) -> None:
        """A window that was made now, as long as one of its rolls took, and the loading of the model if it waited for
        it. Nothing where only the choice among rolls was left to do."""
        one = rolled(way, seconds)
        if one is None:
            return
        steps = max(0, asked_steps(self._plan) - one.resumed)
        frames = len(window.span.range)
        if one.load:
            self._record("load", frames=0, steps=0, seconds=one.load, key="")
        self._record("window", frames=frames, steps=steps, seconds=one.seconds, key=window.key)

    def finished(self, seconds: Mapping[str, float]) -> None:
        """The shot's second half, join to publish."""
        plan = self._plan
        kinds = " ".join(sorted(delivery.kind for delivery in plan.deliveries))
        spent = sum(spent for step, spent in seconds.items() if step != "generate")
        self._write(
            Timing(
                "finish",
                kinds,
                "",
                plan.delivery_width,
                plan.delivery_height,
                plan.frames,
                0,
                "cpu",
                round(spent, 3),
                shot=plan.shot.name,
                batch=self._batch,
            )
        )

    def _record(self, kind: str, *, frames: int, steps: int, seconds: float, key: str) -> None:
        plan = self._plan
        here = "cpu" if plan.spec.engine == ANIMATIC else device_name()
        model = ANIMATIC if plan.spec.engine == ANIMATIC else plan.spec.name
        shape = (plan.width, plan.height, frames, steps)
        self._write(
            Timing(
                kind,
                model,
                plan.spec.profile,
                *shape,
                here,
                round(seconds, 3),
                key=key,
                shot=plan.shot.name if key else "",
                batch=self._batch,
            )
        )

    def _write(self, timing: Timing) -> None:
        try:
            self._catalogue.nights.record(timing)
        except CatalogueError as error:
            LOG.warning("%s: its time was not written down: %s", self._plan.slate, error)


def settle(begun: Begun, made: Published, catalogue: Catalogue, seconds: Mapping[str, float]) -> dict[str, Any]:
    """A published take goes to review. Returns the shot's report."""
    plan, place = begun.plan, begun.place
    patiently(
        lambda: catalogue.finish_take(
            begun.take,
            manifest=made.manifest,
            clips=made.clips,
            # where they are published: what lies in the work folder is swept some day
            deliverables=[replace(one, path=made.manifest.parent / one.path.name) for one in made.deliverables],
            findings=made.findings,
            seconds=seconds,
        )
    )
    sweep_superseded(place.work.parent, place.work)
    files = [
        {**deliverable_json(one, str(place.version / one.path.name)), **delivered_json(plan, planned)}
        for one, planned in zip(made.deliverables, plan.deliveries, strict=True)
    ]
    findings = [finding_json(finding) for finding in made.findings]
    done = report(
        plan,
        status=Status.REVIEW,
        deliverables=files,
        manifest=made.manifest,
        seconds=seconds,
        findings=findings,
    )
    result_artifact(done)
    return done


def named(message: str, plan: TakePlan) -> str:
    """The sentence, with the slate in front unless it names the shot itself."""
    return message if plan.shot.code in message else f"{plan.slate}: {message}"


def failed(
    record: ShotRecord,
    attempt: Attempt,
    catalogue: Catalogue,
    error: Exception,
    *,
    plan: TakePlan | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Write down that an attempt of a night ended with an error, and whether another may do better.

    Returns the shot's report. Raises FencedError if the shot is somebody else's by now.
    """
    name, expected = (
        record.shot.name,
        isinstance(error, StepError | EngineError | MachineNotReadyError | CatalogueError),
    )
    message = str(error) if expected else f"{name}: unexpected {error!r}; report it"
    message = named(message, plan) if plan else message
    if not expected:
        LOG.error("%s", message, exc_info=error)
    transient = is_transient(error)
    take = patiently(lambda: catalogue.find(name)).take if plan else None
    if plan and take and take.key == plan.key and take.version == plan.version:
        held = replace(take, fence=attempt.fence)
        patiently(lambda: catalogue.fail_take(held, error=message, seconds=seconds, transient=transient))
    else:
        patiently(
            lambda: catalogue.nights.end_attempt(
                name, attempt.fence, status=AttemptStatus.FAILED, error=message, transient=transient
            )
        )
    if plan:
        return report(plan, status=Status.FAILED, error=message, seconds=seconds)
    return bare_report(name, error=message)
