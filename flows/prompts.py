"""What the shots of one batch share: every window's prompt is encoded at once, before its model is loaded.

Knows: which shots, which of them ask for the same model. Does not know: how prompts are encoded. Memory: the prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from catalogs.shot import Shot
from flows.settings import Settings
from models.interface import EngineError, GeneratorSpec
from tasks import engines
from tasks.errors import StepError
from tasks.prepare import prepare

LOG: Final = logging.getLogger("dailies")


def expect_prompts(shots: Iterable[Shot], settings: Settings, *, profile: str) -> int:
    """Tell each model's engine what it will be asked. Returns how many texts that are.

    A shot that cannot be prepared is left out: it will say why when its turn comes.
    """
    texts: dict[str, list[str]] = {}
    specs: dict[str, GeneratorSpec] = {}
    for shot in shots:
        try:
            ready = prepare(shot, engine=settings.engine, weights=settings.weights, profile=profile)
            told = ready.texts()
        except (EngineError, StepError) as error:
            LOG.debug("%s will fail: %s", shot.name, error)
            continue
        spec = specs.setdefault(ready.spec.name, ready.spec)
        if spec.engine == engines.ANIMATIC:
            continue
        texts.setdefault(spec.name, []).extend(told)
    for name, said in texts.items():
        engines.expect(specs[name], list(dict.fromkeys(said)), weights=settings.weights)
    return sum(len(set(said)) for said in texts.values())
