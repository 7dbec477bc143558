"""Claims about how long a shot of a list is expected to take."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from catalogs.shot import Plate, Shot
from models.cards import card, generator_spec
from models.interface import InterpolatorSpec
from tasks.dryrun import generation_seconds
from tasks.foresight import expected_seconds
from tasks.plan import plan_take

FLOW = InterpolatorSpec("flow", "", "", "1")
PLATE = Plate("/plates/a.png", "0" * 64, 1280, 720)
WAN = card("wan2.1-i2v-14b-720p")
SHOT = Shot(show="AGM", code="SH0010", frames=81, rate=Fraction(16), plate=PLATE, prompt="a lake", model=WAN.name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frames": 400},
        {"steps": 10, "guidance": 1.0},
        {"rate": Fraction(24), "speed": Fraction(1, 2), "handles": 8},
        {"width": 640, "height": 360},
    ],
)
def test_it_is_what_the_plan_will_say(changes: dict[str, object]) -> None:
    """Before a shot is planned its windows are expected to take what the plan expects of them."""
    shot = replace(SHOT, **changes)  # type: ignore[arg-type]
    spec = generator_spec(WAN)
    plan = plan_take(shot, spec, interpolator=FLOW)
    assert expected_seconds(shot, spec=spec, card=WAN) == pytest.approx(generation_seconds(plan, WAN))


def test_the_animatic_has_a_prior_of_its_own() -> None:
    """A preview is expected to take what its plan says, without a card."""
    spec = generator_spec(WAN, engine="animatic")
    plan = plan_take(SHOT, spec, interpolator=FLOW)
    assert expected_seconds(SHOT, spec=spec, card=None) == pytest.approx(generation_seconds(plan))


def test_a_shot_that_has_no_windows_has_no_time() -> None:
    """What the model cannot make is told elsewhere."""
    assert expected_seconds(replace(SHOT, context="frames-4"), spec=generator_spec(WAN), card=WAN) is None
