"""Profiles: how fast a model is run, and at what price in pixels.

Knows: the names, what each switches on, the default steps and guidance that go with it. Does not know: torch, devices,
which of it works on a machine (`kernels`). Memory: none worth naming. Pure. `docs/profiles.md` says what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.cards import Card
from models.interface import EngineError

SELECTABLE: Final = ("exact", "fast", "draft")
"""What a person may choose, slowest and most faithful first."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What may be done to a model for speed."""

    name: str
    """`exact`, `fast`, `draft`, or `plain`."""
    kernels: bool
    """Whether the best exact attention kernel is looked for."""
    compiled: bool
    """Whether the repeated blocks are compiled, where that works."""
    step_cache: bool
    """Whether steps that change little are skipped, for the cards that state how much each step changes."""
    fp8_matmul: bool
    """Whether the blocks' matrices are multiplied as 8-bit floats, where the device does."""


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "exact": Profile("exact", kernels=True, compiled=True, step_cache=False, fp8_matmul=False),
        "fast": Profile("fast", kernels=True, compiled=True, step_cache=True, fp8_matmul=True),
        "draft": Profile("draft", kernels=True, compiled=True, step_cache=True, fp8_matmul=True),
        "plain": Profile("plain", kernels=False, compiled=False, step_cache=False, fp8_matmul=False),
    }
)
"""Profiles by name. `plain` is what diffusers does by itself: for the retry after a bad picture, nobody's to choose."""


def profile_named(name: str) -> Profile:
    """The selectable profile of that name. Raises EngineError naming the three."""
    if name not in SELECTABLE:
        raise EngineError(f"no profile is called {name!r}; use one of: {', '.join(SELECTABLE)}")
    return PROFILES[name]


def steps_of(card: Card, profile: str | Profile, *, distilled: bool) -> tuple[int, float]:
    """Default (steps, guidance) of the card under a profile.

    `distilled`: whether the card's LoRA for few steps is installed. `draft` with it takes the steps and the guidance
    that the LoRA was made for; without it half the card's steps, at least 1. A card without steps keeps its 0.
    Raises EngineError for a name that is no profile.
    """
    name = profile if isinstance(profile, str) else profile.name
    if name not in PROFILES:
        profile_named(name)
    if name != "draft" or not card.steps:
        return card.steps, card.guidance
    if distilled and card.draft_lora:
        return card.draft_steps, card.draft_guidance
    return max(1, card.steps // 2), card.guidance
