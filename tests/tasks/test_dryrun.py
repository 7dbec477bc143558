"""Claims about what a plan is said to cost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.shot import Plate, Shot
from models.cards import card, cards, generator_spec
from models.interface import InterpolatorSpec
from models.memory import tokens
from tasks.dryrun import estimate, generation_seconds, plan_json, step_seconds, timed_on
from tasks.plan import TakePlan, plan_take

FLOW = InterpolatorSpec("flow", "", "", "1")
PLATE = Plate("/plates/a.png", "0" * 64, 1280, 720)
WAN = card("wan2.1-i2v-14b-720p")
SHOT = Shot(show="AGM", code="SH0010", frames=81, rate=Fraction(16), plate=PLATE, prompt="a lake", model=WAN.name)
MODELS = [found for found in cards().values() if found.pipeline]


def planned(**changes: object) -> TakePlan:
    """The plan of an 81-frame shot of Wan2.1 14B at 720p, changed."""
    return plan_take(replace(SHOT, **changes), generator_spec(WAN), interpolator=FLOW)  # type: ignore[arg-type]


def test_the_prior_comes_out_at_its_own_size() -> None:
    """One window of 81 frames of 720p in 40 steps takes what was published for it: 1492 s."""
    assert generation_seconds(planned(), WAN) == pytest.approx(1492, rel=0.001)


@pytest.mark.parametrize("found", MODELS, ids=lambda found: found.name)
def test_every_cards_prior_is_that_of_its_first_size(found: object) -> None:
    """At the first preset size and the longest window a step takes the card's seconds."""
    assert isinstance(found, type(WAN))
    (width, height), frames = found.sizes[0], found.longest_window
    assert step_seconds(found, width=width, height=height, frames=frames) == pytest.approx(found.seconds_per_step)


def test_another_size_is_predicted_as_it_was_measured() -> None:
    """From the prior at 720p, the same weights at 480p come within a tenth of the 9.77 s published for them."""
    assert step_seconds(WAN, width=832, height=480, frames=81) == pytest.approx(9.77, rel=0.10)


@given(
    short=st.integers(1, 80),
    width=st.integers(30, 80).map(lambda n: 16 * n),
    height=st.integers(30, 80).map(lambda n: 16 * n),
)
def test_more_tokens_take_more_than_their_share(short: int, width: int, height: int) -> None:
    """A step grows faster than its tokens and slower than their square: part of it is attention."""
    less, more = 1 + 4 * (short // 8), 1 + 4 * (short // 8) + 8
    size = {"width": width, "height": height}
    share = tokens(WAN, **size, frames=more) / tokens(WAN, **size, frames=less)
    ratio = step_seconds(WAN, **size, frames=more) / step_seconds(WAN, **size, frames=less)
    assert share < ratio < share**2


def test_steps_and_guidance_scale_the_time() -> None:
    """Half the steps, half the time; without guidance the model runs once a step instead of twice."""
    whole = generation_seconds(planned(), WAN)
    assert generation_seconds(planned(steps=20), WAN) == pytest.approx(whole / 2)
    assert generation_seconds(planned(guidance=1.0), WAN) == pytest.approx(whole / 2)
    assert generation_seconds(planned(guidance=7.5), WAN) == pytest.approx(whole)
    quick = replace(planned(), spec=replace(generator_spec(WAN), steps=4, guidance=1.0))
    assert generation_seconds(quick, WAN) == pytest.approx(whole / 20)


def test_without_a_card_the_prior_per_megapixel_counts() -> None:
    """The animatic in a model's place takes its own time, whatever card is handed in."""
    rough = planned()
    assert generation_seconds(rough) == pytest.approx(1492, rel=0.01)
    assert generation_seconds(planned(steps=20)) == pytest.approx(generation_seconds(rough) / 2)
    preview = plan_take(SHOT, generator_spec(WAN, engine="animatic"), interpolator=FLOW)
    assert estimate(preview, WAN) == estimate(preview)
    assert plan_json(preview, card=WAN)["measured_on"] == ""


def test_rolls_that_lie_aside_take_room() -> None:
    """Each reroll is one more clip of the longest window on disk, 6 bytes a pixel at least; it takes no time that is
    foreseen."""
    found = [estimate(planned(frames=150, max_rerolls=rerolls), WAN) for rerolls in range(4)]
    assert [len(window.span.range) for window in planned(frames=150).windows] == [81, 77]
    more = [after.bytes - before.bytes for before, after in pairwise(found)]
    assert min(more) >= 81 * 1280 * 720 * 6
    assert max(more) - min(more) <= 1
    assert len({one.seconds for one in found}) == 1


@pytest.mark.parametrize("found", [found for found in MODELS if found.experimental], ids=lambda found: found.name)
def test_what_windows_leave_takes_room(found: object) -> None:
    """38 latents in float32 (what the real decoders look back) by each window but the last and each reroll of one."""
    assert isinstance(found, type(WAN))
    shot = replace(SHOT, frames=5 * found.longest_window, rate=found.rate, plate=PLATE if found.needs_plate else None)
    shot = replace(shot, model=found.name, context="latents-1", max_rerolls=2)
    plan = plan_take(shot, generator_spec(found), interpolator=FLOW)
    area = (plan.width // found.spatial_stride) * (plan.height // found.spatial_stride)
    left = 4 * 38 * found.latent_channels * area * (len(plan.windows) - 1 + 2)
    without = replace(plan, spec=replace(plan.spec, carries=0))
    assert len(plan.windows) > 1
    assert left <= estimate(plan).bytes - estimate(without).bytes <= 2 * left
    alone = replace(plan, windows=plan.windows[:1])
    assert estimate(alone) == estimate(replace(alone, spec=without.spec)), "nothing goes on from it"


def test_a_prior_holds_on_the_machine_it_was_measured_on() -> None:
    """An H100 of any make is one; another card, a processor, or no word about it is not. The animatic runs alike."""
    assert timed_on(WAN, "NVIDIA H100 80GB HBM3")
    assert not timed_on(WAN, "NVIDIA H200")
    assert not timed_on(WAN, "")
    assert timed_on(card("wan2.1-t2v-1.3b"), "NVIDIA GeForce RTX 4090")
    assert not timed_on(card("wan2.1-t2v-1.3b"), "NVIDIA GeForce RTX 3090")
    assert timed_on(card("wan2.1-flf2v-14b-720p"), "NVIDIA H100 PCIe"), "estimated for it is as good"
    assert not timed_on(replace(WAN, measured_on=""), "NVIDIA H100 PCIe")
    assert timed_on(None, "")


def test_the_document_says_how_the_model_is_run() -> None:
    """Steps, guidance, profile and the prior's machine stand in the plan, the shot's own where it has them."""
    document = plan_json(planned(steps=20), card=WAN)
    assert (document["steps"], document["guidance"], document["measured_on"]) == (20, 5.0, "H100")
    assert document["profile"] == ""
    assert document["loras"] == []
    assert document["seconds"] == round(estimate(planned(steps=20), WAN).seconds, 1)
