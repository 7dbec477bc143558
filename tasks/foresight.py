"""How long a shot of a list will take, before anybody has planned it: the model's card and the shot's windows. Pure.

Knows: windows, sizes, a card's measured seconds a step. Does not know: timings of other nights, loads, encoders; a
night's own plan does (tasks.history). Memory: none worth naming.
"""

from __future__ import annotations

from catalogs.shot import Shot
from models.cards import Card
from models.interface import GeneratorSpec
from tasks.chain import chained
from tasks.dryrun import passes, step_seconds
from tasks.errors import PlanError
from tasks.sizes import delivery_size, generated_size


def expected_seconds(shot: Shot, *, spec: GeneratorSpec, card: Card | None) -> float | None:
    """Seconds that the windows of a shot take on the machine of the card's prior; None for a shot that has no windows.

    As tasks.dryrun.generation_seconds counts them for a plan. `card` is None for the animatic, whose prior is any
    processor's.
    """
    try:
        width, height = generated_size(delivery_size(shot, spec), spec)
        spans = chained(shot, spec).spans
    except PlanError:
        return None
    steps = spec.steps if shot.steps is None or not spec.steps else shot.steps
    frames = [len(span.range) for span in spans]
    if card is None or card.engine != spec.engine or not card.seconds_per_step:
        share = steps / spec.steps if spec.steps else 1.0
        return width * height * sum(frames) * spec.seconds_per_megapixel * share / 1e6
    guidance = spec.guidance if not shot.guidance or not spec.guidance else shot.guidance
    each = sum(step_seconds(card, width=width, height=height, frames=count) for count in frames)
    return each * steps * passes(guidance) / passes(card.guidance)
