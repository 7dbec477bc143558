"""Names -> engines. The only module that imports the heavy ones, and only inside functions.

Knows: which engine answers to which name, where RIFE's weights lie. Does not know: shots, files of a take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from models.cards import card, cards, generator_spec
from models.interface import EngineUnavailable, FrameInterpolator, GeneratorSpec, ImageToVideo, InterpolatorSpec
from tasks.errors import MachineNotReadyError

ANIMATIC: Final = "animatic"

NOTICES: Final = {
    ANIMATIC: "Animatic: a camera move over the still, for planning. No image-to-video model made this.",
    "flow": "Retimed by optical flow, not by RIFE.",
}
"""What a viewer must be told about footage from an engine, in manifest, contact sheet and review."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether an engine can run here."""

    name: str
    ready: bool
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do if it is not ready."""


def spec_for(model: str, *, engine: str = "") -> GeneratorSpec:
    """The planner's rules for a shot that asks for `model`, on `engine` if DAILIES_ENGINE overrides it.

    The animatic keeps the window rule of the model it stands in for, so a preview has the plan of the real thing.
    Raises EngineError for a name without a card.
    """
    if engine and engine != ANIMATIC:
        return generator_spec(card(engine))
    return generator_spec(card(model), engine=engine or None)


@cache
def generator(engine: str) -> ImageToVideo:
    """The engine of that name, loaded once per process. Raises EngineUnavailable if this machine cannot run it."""
    if engine == ANIMATIC:
        from models.animatic import Animatic

        return Animatic()
    raise EngineUnavailable(
        f"engine {engine!r} is not installed here; preview the list with DAILIES_ENGINE={ANIMATIC} meanwhile"
    )


def model_names() -> tuple[str, ...]:
    """Names of all cards."""
    return tuple(sorted(cards()))


@cache
def _rife_problem(folder: Path | None) -> str | None:
    """Why RIFE cannot run with these weights, tried in a child process once per process of ours; None if it can."""
    from models.rife import probe

    return probe(model=folder)


def interpolator(weights: Path, *, require_rife: bool = False) -> FrameInterpolator:
    """RIFE where its library and weights are installed, else the optical-flow fallback.

    The choice is made once, before planning, and stands in plan and manifest. Raises MachineNotReadyError if
    `require_rife` is set and RIFE is not there.
    """
    from models.rife import RifeNcnn, find_model

    folder = find_model(weights)
    missing = (
        _rife_problem(folder) if folder else f"no rife-v4* folder lies below {weights}; put RIFE's ncnn model there"
    )
    if folder and missing is None:
        return RifeNcnn(folder)
    if require_rife:
        raise MachineNotReadyError(f"RIFE was required and cannot run: {missing}")
    from models.flow import FlowInterpolator

    return FlowInterpolator()


def interpolator_spec(weights: Path, *, require_rife: bool = False) -> InterpolatorSpec:
    """What `interpolator` would choose."""
    return interpolator(weights, require_rife=require_rife).spec


def notices(engine: str, retiming: str) -> Sequence[str]:
    """What viewers of a take made by these two engines must be told."""
    return [NOTICES[name] for name in (engine, retiming) if name in NOTICES]


def states(weights: Path) -> Sequence[EngineState]:
    """The engines of this build and whether they can run here, for `dailies doctor`."""
    from models.rife import find_model

    found = [EngineState(ANIMATIC, True, "built in, needs no GPU")]
    folder = find_model(weights)
    problem = _rife_problem(folder)
    if problem:
        found.append(EngineState("rife-ncnn", False, "cannot run", problem))
    elif folder is None:
        found.append(
            EngineState(
                "rife-ncnn",
                False,
                "library loads, no weights",
                f"put an ncnn RIFE 4 model (a folder rife-v4*) into {weights}; until then optical flow retimes",
            )
        )
    else:
        found.append(EngineState("rife-ncnn", True, f"weights {folder.name}"))
    return found
