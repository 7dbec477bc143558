"""Claims about what fits a machine, and about the smaller window that --allow-smaller takes in its place."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.shot import Plate, Shot
from models.cards import Card, card, cards, generator_spec
from models.interface import GeneratorSpec, InterpolatorSpec
from models.memory import GB, DeviceFacts
from models.profiles import PROFILES, SELECTABLE
from tasks.errors import PlanError
from tasks.fitting import fit, fit_plan, longest, sized, smaller_spec
from tasks.plan import TakePlan, plan_take

FLOW = InterpolatorSpec("flow", "", "", "1")
PLATE = Plate("/plates/a.png", "0" * 64, 1920, 1080)
WAN = card("wan2.1-i2v-14b-720p")
MODELS = [found for found in cards().values() if found.pipeline]
GIB = (8, 12, 16, 24, 48, 80)


def device(gib: float, *, ram: float = 128) -> DeviceFacts:
    """A graphics card of that size, nearly all of it free, and gigabytes of system memory."""
    return DeviceFacts("cuda", int(gib * 2**30 * 0.97), int(gib * 2**30), int(ram * GB), bf16=True, fp8=True)


def asked(spec: GeneratorSpec, *, frames: int, size: tuple[int, int] | None, rate: int = 24) -> Shot:
    """A shot for that model."""
    width, height = size or (None, None)
    plate = PLATE if spec.needs_plate else None
    shot = Shot(show="AGM", code="SH0010", frames=frames, plate=plate, prompt="a lake", rate=Fraction(rate))
    return replace(shot, model=spec.name, width=width, height=height)


def planned(shot: Shot, spec: GeneratorSpec) -> TakePlan:
    """The plan, whoever retimes."""
    return plan_take(shot, spec, interpolator=FLOW)


@given(
    found=st.sampled_from(MODELS),
    gib=st.sampled_from(GIB),
    ram=st.sampled_from((16, 32, 64, 128)),
    frames=st.integers(1, 300),
    size=st.sampled_from((None, (1280, 720), (1920, 1080), (720, 1280), (640, 360), (480, 480))),
    profile=st.sampled_from(SELECTABLE),
)
@settings(max_examples=150)
def test_what_is_made_smaller_fits_and_delivers_what_was_asked(
    found: Card, gib: int, ram: int, frames: int, size: tuple[int, int] | None, profile: str
) -> None:
    """Whatever the model, the machine and the shot: every window of the smaller plan fits, frames and delivered size
    are those asked for, nothing grows, and what fits as it is stays as it is."""
    spec, machine = replace(generator_spec(found), profile=profile), device(gib, ram=ram)
    shot = asked(spec, frames=frames, size=size)
    try:
        plan = planned(shot, spec)
    except PlanError:  # longer than the model can make at all
        return
    fits = fit_plan(plan, found, machine).fits
    try:
        rules, said = smaller_spec(shot, spec, found, machine)
    except PlanError:
        assert not fits
        return
    made = planned(sized(shot, spec), rules)
    for window in made.windows:
        count = len(window.span.range)
        assert fit(found, machine, width=made.width, height=made.height, frames=count, profile=PROFILES[profile]).fits
        assert found.frame_step == rules.frame_step
        assert (count - found.frame_offset) % found.frame_step == 0
    assert (made.delivery_width, made.delivery_height) == (plan.delivery_width, plan.delivery_height)
    assert (made.frames, made.native_frames) == (plan.frames, plan.native_frames)
    assert made.width <= plan.width
    assert made.height <= plan.height
    assert longest(made) <= longest(plan)
    if fits:
        assert (rules, said) == (spec, "")
    else:
        assert (made.width, made.height, longest(made)) != (plan.width, plan.height, longest(plan))
        assert said.endswith("on request (--allow-smaller)")


def test_a_14b_model_on_a_small_card_is_made_smaller_and_says_so() -> None:
    """720p on 12 GB: fewer pixels of the same shape, the same windows, and a sentence with both sizes and the lack."""
    spec = generator_spec(WAN)
    shot = asked(spec, frames=120, size=None)
    assert fit_plan(planned(shot, spec), WAN, device(12)).short.endswith("are free")
    rules, said = smaller_spec(shot, spec, WAN, device(12))
    made = planned(sized(shot, spec), rules)
    assert (made.delivery_width, made.delivery_height) == (1280, 720)
    assert (made.width, made.height) < (1280, 720)
    assert longest(made) == longest(planned(shot, spec))
    assert f"made at {made.width}x{made.height} instead of 1280x720 because that needs" in said


def test_a_model_of_one_size_makes_shorter_windows_and_chains_them() -> None:
    """CogVideoX knows 720x480 alone: where 49 frames do not fit, shorter windows follow one another."""
    found = card("cogvideox-5b-i2v")
    spec = generator_spec(found)
    shot = asked(spec, frames=49, size=(720, 480), rate=8)
    machine = replace(device(12), free_vram=int(9.9 * GB))
    whole = planned(shot, spec)
    assert not fit_plan(whole, found, machine).fits
    rules, said = smaller_spec(shot, spec, found, machine)
    made = planned(sized(shot, spec), rules)
    assert (made.width, made.height) == (720, 480)
    assert len(made.windows) > len(whole.windows)
    assert f"in windows of at most {longest(made)} frames instead of 49" in said


@pytest.mark.parametrize(("kind", "context", "overlap"), [("", 9, 13), ("frames-17", 17, 21), ("latents-4", 17, 17)])
def test_shorter_windows_are_handed_what_the_shot_asks_for(kind: str, context: int, overlap: int) -> None:
    """What is handed on is never cut to fit a shorter window: k frames and latents are whole or not the same kind."""
    found = replace(card("wan2.1-vace-1.3b"), presets_only=True, sizes=((832, 480),))
    spec, machine = generator_spec(found), replace(device(8), free_vram=int(4.2 * GB))
    shot = replace(asked(spec, frames=200, size=(832, 480), rate=16), context=kind)
    rules, said = smaller_spec(shot, spec, found, machine)
    made = planned(sized(shot, spec), rules)
    assert "in windows of at most" in said
    assert (made.overlap, {window.context for window in made.windows[1:]}) == (overlap, {context})
    assert {window.carries for window in made.windows[1:]} == {4 if "latents" in kind else 0}


def test_a_model_that_cannot_continue_is_not_cut_into_shorter_windows() -> None:
    """Text to video takes no frames: where no size fits at that length, it is refused with what it needs."""
    found = card("wan2.1-t2v-1.3b")
    spec = generator_spec(found)
    shot = asked(spec, frames=81, size=None, rate=16)
    with pytest.raises(PlanError, match=r"AGM/SH0010: .*cannot continue a shorter window|No size of this model fits"):
        smaller_spec(shot, spec, found, replace(device(8), free_vram=int(3.2 * GB)))


def test_a_fit_says_what_it_would_take() -> None:
    """80 GB: resident, nothing to say. 24 GB: the way and its price. 8 GB: both numbers, why and what would do."""
    size = {"width": 1280, "height": 720, "frames": 81}
    best = fit(WAN, device(80), **size)
    assert (best.rung, best.fits, best.reason, best.remedy, best.notice) == ("resident", True, "", "", "")
    assert 0 < best.vram <= best.free_vram
    middle = fit(WAN, device(24), **size)
    assert middle.fits
    assert "system memory" in middle.notice
    none = fit(WAN, device(8), **size)
    assert (none.rung, none.fits) == ("", False)
    assert none.vram > none.free_vram
    assert "not started" in none.reason
    assert none.remedy
    assert "graphics memory" in none.short
    starved = fit(WAN, device(80, ram=20), **size)
    assert not starved.fits
    assert "system memory" in starved.short
    assert set(none.document()) == {
        *("device", "rung", "vram", "ram", "free_vram", "free_ram", "fits", "reason", "remedy", "notice")
    }


def test_a_quantised_file_and_a_way_that_worked_are_taken_into_account() -> None:
    """A Q4_K_M file needs less than 16 bits; after `tiled` worked, nothing faster is tried."""
    size = {"width": 1280, "height": 720, "frames": 81}
    assert fit(WAN, device(80), **size, quantised="Q4_K_M").vram < fit(WAN, device(80), **size).vram
    assert fit(WAN, device(80), **size, worked="tiled").rung == "tiled"


def test_a_size_that_nobody_wrote_down_stays_what_it_was() -> None:
    """A shot without a size is delivered in the model's own, however small it is made."""
    spec = generator_spec(WAN)
    assert (sized(asked(spec, frames=24, size=None), spec).width, 720) == (1280, 720)
    tall = replace(asked(spec, frames=24, size=None), plate=replace(PLATE, width=1080, height=1920))
    assert (sized(tall, spec).width, sized(tall, spec).height) == (720, 1280)
    assert sized(asked(spec, frames=24, size=(640, 360)), spec).width == 640
