"""What a shot needs before it can be planned: its model's rules here, its LoRAs, a smaller window on request.

Knows: engines by name, the weights folder, the device. Does not know: the catalogue, who retimes, windows.
Memory: none worth naming; new weight files are hashed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from catalogs.shot import Shot
from models.installed import installed
from models.interface import GeneratorSpec, InterpolatorSpec
from tasks import engines
from tasks.diffusion import device_facts, quantised
from tasks.fitting import sized, smaller_spec
from tasks.loras import resolve
from tasks.plan import PlannedLora, TakePlan, plan_take

NOBODY: Final = InterpolatorSpec("none", "", "", "")
"""What a model is told does not depend on who retimes."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that planning a shot takes, besides its version and who retimes it."""

    shot: Shot
    """The request; with its delivery size written out where the model works smaller."""
    spec: GeneratorSpec
    """The rules of its model here."""
    loras: tuple[PlannedLora, ...]
    """Found and hashed."""
    notice: str
    """What was made smaller on request; empty for nothing."""
    encoder: str = ""
    """Who encodes H.265; empty for x265."""

    def plan(self, interpolator: InterpolatorSpec, *, version: int, may_fall: bool = False) -> TakePlan:
        """The plan of a take. Raises PlanError if the model cannot make the shot."""
        return plan_take(
            self.shot,
            self.spec,
            interpolator=interpolator,
            version=version,
            loras=self.loras,
            notice=self.notice,
            may_fall=may_fall,
            encoder=self.encoder,
        )

    def texts(self) -> list[str]:
        """Every text that its model will be told, window by window, and what it is told to avoid. Raises PlanError."""
        plan = self.plan(NOBODY, version=1)
        return [*dict.fromkeys(window.prompt for window in plan.windows), plan.negative_prompt]


def prepare(
    shot: Shot,
    *,
    engine: str,
    weights: Path,
    profile: str = engines.EXACT,
    allow_smaller: bool = False,
    encoder: str = "",
) -> Prepared:
    """Everything found out, nothing loaded. `engine` overrides the shot's model, empty for none; `encoder` x265.

    Raises EngineError for an unknown model or profile and for unsound weights, PlanError for a LoRA that cannot be
    used, and with `allow_smaller` for a shot of which nothing smaller fits.
    """
    spec = engines.spec_for(shot.model, engine=engine, weights=weights, profile=profile)
    ready = Prepared(shot, spec, resolve(shot, spec, weights), "", encoder)
    return smaller(ready, weights) if allow_smaller else ready


def smaller(ready: Prepared, weights: Path) -> Prepared:
    """The same where it fits this machine, else with a window that does, and the sentence that says so.

    Raises PlanError if nothing smaller fits.
    """
    if ready.spec.engine == engines.ANIMATIC:
        return ready
    card = engines.card_of(ready.spec, weights)
    rules, notice = smaller_spec(ready.shot, ready.spec, card, device_facts(), quantised=form(ready.spec, weights))
    if not notice:
        return ready
    return replace(ready, shot=sized(ready.shot, ready.spec), spec=rules, notice=notice)


def form(spec: GeneratorSpec, weights: Path) -> str | None:
    """GGUF type of the installed transformer; None for another form, and for a model that is not installed."""
    if spec.version == engines.NOT_INSTALLED:
        return None
    return quantised(installed(engines.card_of(spec, weights), weights))
