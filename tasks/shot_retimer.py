"""Who retimes one shot: its own wish on top of what holds on this machine and for its batch.

Knows: the words of the column `retimer`. Does not know: whether an engine runs (tasks.retimers finds that out), files.
Memory: one spec or sentence for each wish that is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, TypeVar

from catalogs.shot import Shot
from models.interface import FrameInterpolator, InterpolatorSpec
from models.retimers import FLOW as BY_FLOW
from models.retimers import RetimerWish
from tasks import retimers
from tasks.errors import MachineNotReadyError, PlanError

T = TypeVar("T", covariant=True)

RIFE: Final = "rife"
"""RIFE, or the shot is refused."""
FLOW: Final = "flow"
"""Optical flow, though RIFE is there."""
ANY: Final = "any"
"""The best that runs, and the next best if its device is lost in the middle."""


def shot_interpolator(shot: Shot, weights: Path, *, wish: RetimerWish, require_rife: bool) -> FrameInterpolator:
    """What retimes the shot here.

    `wish` is the machine's (DAILIES_RETIMER), `require_rife` the batch's. Raises PlanError if the shot asks for what
    does not run, or for what the batch rules out; MachineNotReadyError if the machine's own wish cannot be fulfilled;
    EngineError if the engine breaks down when it is opened.
    """
    try:
        return _asked_for(retimers.interpolator, shot.retimer, weights, wish=wish, require_rife=require_rife)
    except PlanError as error:
        raise PlanError(f"{shot.name} {error}") from error


def may_fall(shot: Shot, *, require_rife: bool) -> bool:
    """Whether another engine may retime the shot if the device of its own is lost."""
    return shot.retimer == ANY and not require_rife


class ShotRetimers:
    """What retimes each of many shots: looked at once for each wish, not for each shot."""

    def __init__(self, weights: Path, *, wish: RetimerWish, require_rife: bool) -> None:
        self._weights, self._wish, self._require_rife = weights, wish, require_rife
        self._found: dict[str, InterpolatorSpec | PlanError] = {}

    def spec(self, shot: Shot) -> InterpolatorSpec:
        """What `shot_interpolator` would be. Raises like it."""
        if shot.retimer not in self._found:
            try:
                self._found[shot.retimer] = _asked_for(
                    retimers.spec, shot.retimer, self._weights, wish=self._wish, require_rife=self._require_rife
                )
            except PlanError as error:
                self._found[shot.retimer] = error
        found = self._found[shot.retimer]
        if isinstance(found, PlanError):
            raise PlanError(f"{shot.name} {found}") from found
        return found

    def may_fall(self, shot: Shot) -> bool:
        """Whether another engine may retime the shot if the device of its own is lost."""
        return may_fall(shot, require_rife=self._require_rife)


class _Look(Protocol[T]):
    def __call__(self, weights: Path, *, wish: RetimerWish, require_rife: bool) -> T: ...


def _asked_for(look: _Look[T], word: str, weights: Path, *, wish: RetimerWish, require_rife: bool) -> T:
    """What `look` finds for shots with that word. A PlanError begins with a verb: the shot's name is put before it."""
    if word == FLOW and require_rife:
        raise PlanError("asks for the retimer flow, which --require-rife rules out; leave out one of them")
    if word == FLOW:
        wish = RetimerWish(BY_FLOW)
    elif word == RIFE:
        require_rife = True
        # of a machine that is told to use flow, what belongs to flow goes with the word
        wish = replace(wish, engine="", device="", model="") if wish.engine == BY_FLOW else wish
    try:
        return look(weights, wish=wish, require_rife=require_rife)
    except MachineNotReadyError as error:
        if word in (RIFE, FLOW):
            raise PlanError(f"asks for the retimer {word}: {error}") from error
        raise
