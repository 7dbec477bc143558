"""Claims about the diffusion engine on a real CUDA device: profiles, offloading, memory, resumption. Tiny models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_engines import HEIGHT, WIDTH, asked, same, tiny_engine

from models.cards import card
from models.diffusion import Placement
from models.interface import ClipRequest, Frame, OutOfMemory, Watch, WindowStopped
from models.kernels import Tuned, tune
from models.profiles import PROFILES

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]  # a compiler that starts cold takes a minute

CUDA = Placement("cuda")
CALIBRATED = card("wan2.1-i2v-14b-720p")
STEPS = 20
"""Half of those that the card's ratios were measured in: the fewest of which some are skipped."""


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    """Skips where there is no device; leaves it as it was."""
    torch = pytest.importorskip("torch", reason="torch is not installed here")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    yield
    torch._dynamo.reset()
    torch.cuda.empty_cache()


@pytest.fixture
def window(tmp_path: Path) -> ClipRequest:
    """Nine frames of a still of smooth noise, thousands of levels deep."""
    small = np.random.default_rng(3).integers(0, 65536, (12, 8, 3)).astype(np.uint16)
    plate = tmp_path / "noise.png"
    cv2.imwrite(str(plate), cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    return ClipRequest(
        plate=plate,
        width=WIDTH,
        height=HEIGHT,
        first_frame=0,
        frames=9,
        shot_frames=17,
        native_rate=Fraction(16),
        seed=1,
        shot_seed=2,
        prompt="a slow move over the sea at dawn",
        negative_prompt="red noise",
    )


def profiled(name: str, profile: str, **options: Any) -> Any:
    """An engine on the device that runs by that profile."""
    import torch

    fp8 = torch.cuda.get_device_capability() >= (8, 9)
    how = partial(
        tune, profile=PROFILES[profile], card=CALIBRATED, device="cuda", fp8=fp8, quantised=False, offloaded=False
    )
    return tiny_engine(name, placement=CUDA, tune=how, **options)


def made(engine: Any, request: ClipRequest, watch: Watch | None = None) -> list[Frame]:
    """The window's frames, which have passed the engine's own judgement."""
    frames = list(engine.generate(request, [], watch))
    assert len(frames) == request.frames
    assert all(frame.std() > 1000 for frame in frames)
    return frames


def psnr(one: list[Frame], other: list[Frame]) -> float:
    """Of two clips of 16 bits, in dB."""
    error = float(np.square(np.asarray(one, float) - np.asarray(other, float)).mean())
    return math.inf if error == 0 else 20 * math.log10(65535) - 10 * math.log10(error)


@pytest.mark.parametrize("name", ["wan2.1-i2v", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b", "wan2.1-vace", "cogvideox-i2v"])
def test_every_kind_of_model_renders_in_16_bits(name: str, window: ClipRequest) -> None:
    """The device's bfloat16 gives the picture that the processor's 32 bits give, to 20 dB, from the same noise."""
    request = asked(name, window)
    assert psnr(made(tiny_engine(name, placement=CUDA), request), made(tiny_engine(name), request)) >= 20


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_renders(profile: str, window: ClipRequest) -> None:
    """It says what it did: a kernel that works here, blocks compiled, 8 bits where the device has them, a cache."""
    engine = profiled("wan2.1-i2v", profile)
    made(engine, replace(window, steps=STEPS))
    told: Tuned = engine.tuned
    wanted = PROFILES[profile]
    assert told.compiled == wanted.compiled
    assert told.step_cache == wanted.step_cache
    assert (told.fp8_layers > 0) <= wanted.fp8_matmul
    assert wanted.kernels or told.attention == "native"


def test_exact_is_near_plain(window: ClipRequest) -> None:
    """Another kernel and compiled blocks change rounding alone: at least 40 dB."""
    exact, plain = (made(profiled("wan2.1-i2v", name), window) for name in ("exact", "plain"))
    assert psnr(exact, plain) >= 40


@pytest.mark.parametrize("name", ["wan2.1-i2v", "wan2.2-i2v-a14b"])
@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloading_changes_no_pixel_that_matters(name: str, offload: str, window: ClipRequest) -> None:
    """Parts or layers that come to the device in turn give the resident model's picture, and leave it again."""
    import torch

    resident = made(tiny_engine(name, placement=CUDA), window)
    engine = tiny_engine(name, placement=replace(CUDA, offload=offload))
    assert psnr(made(engine, window), resident) >= 60
    torch.cuda.synchronize()
    sizes = {"cpu": 0, "cuda": 0}
    for value in engine._pipe.transformer.parameters():
        sizes[value.device.type] += value.nbytes
    assert sizes["cuda"] <= sizes["cpu"] / 4


def test_8_bit_storage_renders_in_less_memory(window: ClipRequest) -> None:
    """Matrices lie on the device in 8 bits and the picture stays near that of 16."""
    import torch

    engine = tiny_engine("wan2.1-i2v", placement=replace(CUDA, fp8=True))
    assert psnr(made(engine, window), made(tiny_engine("wan2.1-i2v", placement=CUDA), window)) >= 20
    stored = {value.dtype for name, value in engine._pipe.transformer.named_parameters() if ".ffn." in name}
    assert torch.float8_e4m3fn in stored


def test_a_full_device_is_out_of_memory_and_nothing_worse(window: ClipRequest) -> None:
    """The allocator's own refusal arrives as OutOfMemory, and the same engine renders once there is room."""
    import torch

    engine = tiny_engine("wan2.1-i2v", placement=CUDA)
    before = made(engine, window)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)  # no more than this process holds already
    try:
        with pytest.raises(OutOfMemory, match="the device is out of memory"):
            list(engine.generate(replace(window, width=512, height=512, frames=81, shot_frames=81), []))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert same(made(engine, window), before)


@pytest.mark.parametrize("profile", ["plain", "exact", "fast"])
def test_the_same_request_gives_the_same_frames(profile: str, window: ClipRequest) -> None:
    """Twice by one engine and once by another: bit for bit."""
    request = replace(window, steps=STEPS)
    engine = profiled("wan2.1-i2v", profile)
    first = made(engine, request)
    assert same(made(engine, request), first)
    assert same(made(profiled("wan2.1-i2v", profile), request), first)


@pytest.mark.parametrize(("profile", "after"), [("plain", 1), ("plain", 7), ("fast", 7)])
def test_a_stopped_window_goes_on_bit_for_bit(profile: str, after: int, window: ClipRequest, tmp_path: Path) -> None:
    """Latents and the scheduler's past outputs come back to the device; with a cache, where it computes anyway."""
    request = replace(window, steps=STEPS)
    whole = made(profiled("wan2.1-i2v", profile), request)
    stop = Event()
    told = Watch(stop, lambda done, _: stop.set() if done == after else None)
    saved = replace(request, state=tmp_path / "state")
    with pytest.raises(WindowStopped, match=rf"after step {after} of {STEPS}"):
        list(profiled("wan2.1-i2v", profile).generate(saved, [], told))
    steps: list[int] = []
    resumed = made(profiled("wan2.1-i2v", profile), saved, Watch(on_step=lambda done, _: steps.append(done)))
    assert 0 < steps[0] <= after
    assert same(resumed, whole)
