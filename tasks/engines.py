"""Names -> engines. One of the few modules that import the heavy ones, and only inside functions.

Knows: which engine answers to which name. Does not know: shots, files of a take, who retimes (`tasks.retimers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.cards import Card, broken_cards, card_among, cards_with, generator_spec
from models.interface import EngineUnavailable, GeneratorSpec, ImageToVideo, Shape
from models.profiles import profile_named, steps_of
from models.retimers import FLOW
from tasks.dryrun import asked_steps
from tasks.plan import TakePlan

if TYPE_CHECKING:
    from tasks.resident import Resident

ANIMATIC: Final = "animatic"

NOT_INSTALLED: Final = "not installed"
"""Version of a spec whose weights are not on this machine."""

NOWHERE: Final = Path("/nonexistent")
"""A weights folder that holds nothing."""

EXACT, DRAFT = "exact", "draft"
"""The default profile, and the one that leaves steps out."""

PLAINLY: Final[Mapping[str, Any]] = {
    "rung": "none",
    "precision": "float32",
    "offload": "none",
    "profile": "",
    "attention": "none",
    "device": "cpu",
    "load_seconds": 0.0,
}
"""How the built-in engine runs, everywhere."""

NOTICES: Final = {
    ANIMATIC: "Animatic: a camera move over the still, for planning. No image-to-video model made this.",
    DRAFT: "Draft: fewer steps than the model is meant for, to judge motion and framing by.",
    FLOW: "Retimed by optical flow, not by RIFE.",
}
"""What a viewer must be told about footage from an engine, in manifest, contact sheet and review."""


def rules_for(model: str, *, engine: str = "", weights: Path = NOWHERE) -> GeneratorSpec:
    """The planner's rules for a shot that asks for `model`, on `engine` if DAILIES_ENGINE overrides it.

    The animatic keeps the window rule of the model it stands in for, so a preview has the plan of the real thing.
    Looks at no weights. Raises EngineError for a name without a card.
    """
    if engine == ANIMATIC:
        return generator_spec(_card(weights, model), engine=ANIMATIC)
    return generator_spec(_card(weights, engine or model))


def spec_for(model: str, *, engine: str = "", weights: Path = NOWHERE, profile: str = EXACT) -> GeneratorSpec:
    """`rules_for`, with the version of the weights that are installed, and the profile: what content keys rest on.

    Without weights the version says so, and rendering will refuse. Raises EngineError for a model that does not fit
    this machine, for weights that are not what they should be, or an unknown profile.
    """
    rules = rules_for(model, engine=engine, weights=weights)
    if rules.engine == ANIMATIC:
        return rules
    from tasks.diffusion import installed_version
    from tasks.loras import installed as lora_installed

    card = card_of(rules, weights)
    wanted = profile_named(profile)
    distilled = card.draft_lora if wanted.name == DRAFT and lora_installed(weights, card.draft_lora) else ""
    steps, guidance = steps_of(card, wanted, distilled=bool(distilled))
    return replace(
        rules,
        version=installed_version(card, weights) or NOT_INSTALLED,
        profile=wanted.name,
        distilled=distilled,
        steps=steps,
        guidance=guidance,
    )


def generator(spec: GeneratorSpec, *, weights: Path = NOWHERE, shape: Shape) -> ImageToVideo:
    """The engine of a plan, in the way that suits its longest window. A model stays until another is asked for.

    Raises EngineUnavailable if this machine cannot run it.
    """
    if spec.engine == ANIMATIC:
        from models.animatic import Animatic

        return Animatic()
    from tasks.resident import Asked

    try:
        return resident().engine(Asked(card_of(spec, weights), weights, spec.version, spec.profile), shape)
    except EngineUnavailable as error:
        if spec.version != NOT_INSTALLED:
            raise
        raise EngineUnavailable(f"{error}; DAILIES_ENGINE={ANIMATIC} previews the list meanwhile") from None


@cache
def resident() -> Resident:
    """The one place for a loaded model in this process."""
    from tasks.resident import Resident

    return Resident()


def expect(spec: GeneratorSpec, texts: Sequence[str], *, weights: Path) -> None:
    """Prompts that shots of this model will bring: a diffusion model encodes them at once, before it is loaded."""
    if spec.engine != ANIMATIC and spec.version != NOT_INSTALLED:
        resident().expect(card_of(spec, weights), weights, texts)


def fall_back(spec: GeneratorSpec, *, precise: bool) -> str:
    """Take another way of running the engine after one failed: a more precise one, or a thriftier. Empty if none."""
    if spec.engine == ANIMATIC:
        return ""
    return str(resident().fall_back(precise=precise) or "")


def way(spec: GeneratorSpec, *, worked: bool) -> Mapping[str, Any]:
    """How the engine runs now, for the manifest; `worked` when a window has just been made in that way."""
    if spec.engine == ANIMATIC:
        return PLAINLY
    return resident().worked() if worked else resident().now()


def facts(spec: GeneratorSpec, *, weights: Path = NOWHERE) -> Mapping[str, Any]:
    """What an engine is made of, for the manifest: weights with sha256, versions of the libraries."""
    if spec.engine == ANIMATIC:
        return {"weights": [], "rng_device": "cpu", "versions": {}}
    from tasks.diffusion import installed_files, libraries

    files = installed_files(card_of(spec, weights), weights)
    return {"weights": files, "rng_device": "cpu", "versions": libraries()}


def card_of(spec: GeneratorSpec, weights: Path) -> Card:
    """The card that a spec's rules come from."""
    return _card(weights, spec.name)


def _card(weights: Path, name: str) -> Card:
    """The card of that name, ours or one beside its weights. Raises CardError for one that is unknown or broken."""
    known = cards_with(weights)
    if name not in known and (error := broken_cards(weights).get(name)):
        raise error
    return card_among(known, name)


def model_names(weights: Path = NOWHERE) -> tuple[str, ...]:
    """Names of all cards that can be used, those beside their weights included."""
    return tuple(sorted(cards_with(weights)))


def notices(plan: TakePlan, card: Card, *, retimed: bool, instead: str = "") -> Sequence[str]:
    """What viewers of a take must be told, the most important first: what was made smaller, by what, how briefly.

    `instead` is said in the place of who retimed it, if that was not who should have.
    """
    hurried = plan.spec.profile == DRAFT and (bool(plan.spec.distilled) or asked_steps(plan) < card.steps)
    names = (plan.spec.engine, DRAFT if hurried else "", plan.interpolator.engine if retimed and not instead else "")
    known = [NOTICES[name] for name in names if name in NOTICES]
    return [*filter(None, [plan.notice, *known, instead if retimed else ""])]
