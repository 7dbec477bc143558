"""An interpolator in a process of its own: what it makes, and what its death means."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from shared_engines import MARK, Shared

from models.flow import FlowInterpolator
from models.interface import DeviceLost, EngineError, Frame
from models.retimers import parse_wish
from models.rife import RifeNcnn
from tasks import retimers
from tasks.apart import Apart

PHASES = [Fraction(1, 15), Fraction(1, 2), Fraction(14, 15)]


def noise(width: int, height: int, seed: int) -> Frame:
    """Any value anywhere."""
    return np.random.default_rng(seed).integers(0, 65536, (height, width, 3), dtype=np.uint16)


def test_it_makes_what_the_engine_makes() -> None:
    """Bit for bit, for a run of pairs, other numbers of phases, another size, and after somebody stopped listening."""
    here, apart = FlowInterpolator(), Apart(FlowInterpolator, FlowInterpolator().spec, device="device")
    assert apart.spec == here.spec
    frames = [noise(48, 32, seed) for seed in range(4)]
    for first, second in pairwise(frames):
        for phases in (PHASES, PHASES[:1], []):
            made = list(apart.between(first, second, phases))
            assert all(map(np.array_equal, made, here.between(first, second, phases)))
            assert len(made) == len(phases)
    next(iter(apart.between(frames[0], frames[1], PHASES)))
    one, other = noise(20, 30, 8), noise(20, 30, 9)
    assert np.array_equal(next(iter(apart.between(one, other, PHASES))), next(iter(here.between(one, other, PHASES))))
    with pytest.raises(EngineError, match="30, 20"):
        next(iter(apart.between(one, frames[0], PHASES)))


def test_a_process_that_dies_took_its_device_along() -> None:
    """The pair on which it died raises DeviceLost that names the device; so does every later one, without a new try."""
    apart = Apart(partial(Shared, "dies", opened=True), Shared("dies").spec, device="Vulkan device 0")
    calm, last = noise(16, 16, 1), noise(16, 16, 2)
    calm[0, 0, 0], deadly = 0, noise(16, 16, 3)
    deadly[0, 0, 0] = MARK
    assert len(list(apart.between(calm, last, PHASES))) == 3
    with pytest.raises(DeviceLost, match=r"Vulkan device 0 was lost: .*signal 9"):
        list(apart.between(deadly, last, PHASES))
    with pytest.raises(DeviceLost, match="Vulkan device 0"):
        list(apart.between(calm, last, PHASES))


def test_what_the_engine_says_itself_comes_through() -> None:
    """Its own DeviceLost, and another spec than was promised."""
    lost = Apart(partial(Shared, "loses", opened=True), Shared("loses").spec, device="device")
    first, second = noise(16, 16, 1), noise(16, 16, 2)
    first[0, 0, 0] = MARK
    with pytest.raises(DeviceLost):
        list(lost.between(first, second, PHASES))
    other = Apart(partial(Shared, "other", opened=True), Shared("other").spec, device="device")
    with pytest.raises(EngineError, match="instead of"):
        list(other.between(first, second, PHASES))


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_rife_on_a_vulkan_device_works_apart(vulkan_device: int, linear_model: Path) -> None:
    """Asked for by its number it is opened in a process of its own, and blends as the linear model does."""
    weights = linear_model.parent
    found = retimers.interpolator(weights, wish=parse_wish(f"rife-ncnn device=vulkan:{vulkan_device}"))
    assert isinstance(found, Apart)
    assert "vulkan" in found.spec.version
    first, second = noise(64, 64, 4), noise(64, 64, 5)
    here = RifeNcnn(linear_model)
    for one, other in zip(found.between(first, second, PHASES), here.between(first, second, PHASES), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 257
