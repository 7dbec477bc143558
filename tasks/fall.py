"""A take whose retimer lost its device is retimed by the next best, where its shot allows that.

Knows: which engine's master is looked for and made, the record of a fall in a take's work folder, what viewers are
told. Does not know: how anything is retimed, what runs here (tasks.retimers). Memory: none to speak of.

The record is written before the clip is retimed anew, so that a run that goes on after a crash looks for either master.
It counts for its own take only: a retake tries the planned engine again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from models.interface import DeviceLost, EngineError, FrameInterpolator, InterpolatorSpec, OutOfMemory
from models.retimers import FLOW, RIFE_NCNN, RIFE_TORCH
from tasks import retimers
from tasks.errors import StepError
from tasks.keep import Guard, Kept, recall, write_json
from tasks.plan import TakePlan, with_retimer

LOG: Final = logging.getLogger("dailies")

NAME: Final = "fallen.json"
"""File in a take's work folder."""

_TITLES: Final[Mapping[str, str]] = {FLOW: "optical flow", RIFE_NCNN: "RIFE", RIFE_TORCH: "RIFE"}


@dataclass(frozen=True, slots=True)
class Fall:
    """Another engine than the planned one retimes a take."""

    plan: TakePlan
    """What is followed from now on."""
    lost: str
    """Why, for the manifest and the log."""
    notice: str
    """What viewers of the take are told."""


def fallen(plan: TakePlan, instead: InterpolatorSpec, *, lost: str, gone: bool) -> Fall:
    """The fall of a take to `instead`. `gone` if the planned engine's device went away in the middle, rather than being
    missing where the take is finished."""
    was, now = (_TITLES.get(spec.engine, spec.engine) for spec in (plan.interpolator, instead))
    by = f"{now} elsewhere" if was == now else now
    why = f"{was}'s device was lost" if gone else f"{was} did not run where the shot was finished"
    return Fall(with_retimer(plan, instead), lost, f"{why}; retimed by {by}.")


def remember(fall: Fall, work: Path, *, guard: Guard) -> None:
    """Write the fall into the take's work folder. Raises StepError if the disk refuses, and what the guard raises."""
    record = {
        "slate": fall.plan.slate,
        "key": fall.plan.key,
        "interpolator": list(astuple(fall.plan.interpolator)),
        "lost": fall.lost,
        "notice": fall.notice,
    }
    with guard():
        write_json(work / NAME, record)


def remembered(plan: TakePlan, work: Path) -> Fall | None:
    """The fall of this very take; None if there was none, or if what is written of it cannot be read."""
    try:
        record = json.loads((work / NAME).read_text(encoding="utf-8"))
        if (record["slate"], record["key"]) != (plan.slate, plan.key) or not plan.may_fall:
            return None
        instead = InterpolatorSpec(*map(str, record["interpolator"]))
        return Fall(with_retimer(plan, instead), str(record["lost"]), str(record["notice"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def retime_or_fall(
    plan: TakePlan,
    path: Path,
    *,
    interpolator: FrameInterpolator,
    weights: Path,
    guard: Guard,
    make: Callable[[TakePlan, FrameInterpolator], Kept],
) -> tuple[Fall | None, Kept, bool]:
    """The master at `path`, found or made by `make`; the fall if another engine's it is; whether it was made now.

    `interpolator` is the planned one, or what takes its place from the start. Raises StepError, with DeviceLost as its
    cause if a device went away and nothing may or can retime in its place.
    """
    if found := recall(path, key=plan.master_key):
        return None, found, False
    fall = remembered(plan, path.parent)
    if fall and (found := recall(path, key=fall.plan.master_key)):
        return fall, found, False
    fall = None
    if interpolator.spec != plan.interpolator:
        planned = f"{plan.interpolator.engine} {plan.interpolator.model}".rstrip()
        lost = f"planned with {planned}, which does not run where the shot was finished"
        fall = fallen(plan, interpolator.spec, lost=lost, gone=False)
        _tell(fall, path.parent, guard=guard)
    tried = {plan.interpolator}
    while True:
        follow = fall.plan if fall else plan
        try:
            return fall, make(follow, interpolator), True
        except StepError as error:
            if not isinstance(error.__cause__, DeviceLost | OutOfMemory):
                raise
            cause = error.__cause__
        interpolator = _next_best(follow, cause, weights)
        if interpolator.spec in tried:
            raise _given_up(follow, cause, "nothing else retimes here") from cause
        tried.add(interpolator.spec)
        fall = fallen(plan, interpolator.spec, lost=str(cause), gone=True)
        _tell(fall, path.parent, guard=guard)


def _next_best(plan: TakePlan, error: EngineError, weights: Path) -> FrameInterpolator:
    """What retimes instead of an engine that lost its device. Raises StepError if nothing may or can."""
    if not plan.may_fall:
        raise _given_up(plan, error, "a shot with the retimer any goes on with the next best engine") from error
    found = retimers.next_best(plan.interpolator, weights)
    if found is None:
        raise _given_up(plan, error, "nothing else retimes here") from error
    return found


def _given_up(plan: TakePlan, error: EngineError, why: str) -> StepError:
    return StepError(f"{plan.slate}: {plan.interpolator.engine} gave up: {error}; {why}")


def _tell(fall: Fall, work: Path, *, guard: Guard) -> None:
    """A fall, in the log and in the work folder."""
    plan = fall.plan
    LOG.warning("%s retime: %s; %s does it instead", plan.slate, fall.lost, plan.interpolator.engine)
    remember(fall, work, guard=guard)
