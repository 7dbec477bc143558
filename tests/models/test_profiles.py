"""Claims about profiles: what each name switches on, and how many steps it takes by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.cards import Card, card, cards
from models.interface import EngineError
from models.profiles import PROFILES, SELECTABLE, Profile, profile_named, steps_of

DISTILLED = card("wan2.1-i2v-14b-480p")


def test_three_profiles_are_for_people_and_one_is_not() -> None:
    """Each profile is found under its own name; `plain` tunes nothing and cannot be asked for."""
    assert SELECTABLE == ("exact", "fast", "draft")
    assert {*SELECTABLE, "plain"} == set(PROFILES)
    assert all(profile.name == name for name, profile in PROFILES.items())
    assert PROFILES["plain"] == Profile("plain", kernels=False, compiled=False, step_cache=False, fp8_matmul=False)
    assert [profile_named(name).name for name in SELECTABLE] == list(SELECTABLE)
    for name in ("plain", "quick", ""):
        with pytest.raises(EngineError, match=rf"'{name}'; use one of: exact, fast, draft"):
            profile_named(name)


def test_exact_changes_no_number_on_purpose() -> None:
    """`exact` looks for kernels and compiles; only `fast` and `draft` skip steps and multiply 8-bit floats."""
    exact = PROFILES["exact"]
    assert exact.kernels
    assert exact.compiled
    assert not exact.step_cache
    assert not exact.fp8_matmul
    assert replace(PROFILES["fast"], name="draft") == PROFILES["draft"]
    assert PROFILES["fast"] == replace(exact, name="fast", step_cache=True, fp8_matmul=True)


@pytest.mark.parametrize("found", cards().values(), ids=lambda found: found.name)
@pytest.mark.parametrize("distilled", [False, True])
def test_only_draft_takes_fewer_steps(found: Card, distilled: bool) -> None:
    """`exact`, `fast` and `plain` keep the card's steps and guidance, whatever is installed."""
    for name in ("exact", "fast", "plain"):
        assert steps_of(found, name, distilled=distilled) == (found.steps, found.guidance)
    steps, guidance = steps_of(found, "draft", distilled=distilled)
    assert steps < found.steps or found.steps == steps == 0
    if not (distilled and found.draft_lora):
        assert (steps, guidance) == (found.steps // 2, found.guidance)


def test_draft_with_its_lora_takes_what_the_lora_was_made_for() -> None:
    """Four steps without guidance where the card's LoRA is installed, half the steps where it is not."""
    assert steps_of(DISTILLED, "draft", distilled=True) == (4, 1.0)
    assert steps_of(DISTILLED, PROFILES["draft"], distilled=False) == (20, 5.0)
    one = replace(DISTILLED, steps=1)
    assert steps_of(one, "draft", distilled=False)[0] == 1, "a picture needs a step"
    with pytest.raises(EngineError, match="'slow'; use one of: exact, fast, draft"):
        steps_of(DISTILLED, "slow", distilled=False)
