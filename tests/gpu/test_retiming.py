"""Claims about RIFE through torch on a real CUDA device: the processor's frames, batches, memory, speed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ncnn_models import write_network, write_zero_flow

from models.ifnet import ARCHITECTURES
from models.interface import Frame, OutOfMemory
from models.retimers import Tta, Uhd
from models.rife_convert import convert_ncnn
from models.rife_torch import RifeTorch

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

PHASES = tuple(Fraction(index, 15) for index in (4, 8, 12))
NAMES = pytest.mark.parametrize("name", ARCHITECTURES)
CUDA = "cuda:0"
FASTEST = (9, 0)
"""Compute capability of the devices that the promised rate is meant for: H100, H200."""
PROMISED = 400
"""Frames a second at 720p from 16 to 60, with 4.25, without disk."""


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    """Skips where there is no device; leaves it as it was."""
    torch = pytest.importorskip("torch", reason="torch is not installed here")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    yield
    torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RIFE 4.6 and 4.25 with random weights, and 4.6 with none as rife-zero."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ARCHITECTURES:
        convert_ncnn(write_network(folder / f"rife-v{name}", name) / "flownet.param", weights=folder)
    (folder / "rife-zero").mkdir()
    convert_ncnn(write_zero_flow(folder / "zero") / "flownet.param", folder / "rife-zero" / "flownet.safetensors")
    return folder


def opened(weights: Path, name: str, **how: Any) -> RifeTorch:
    """The engine, on the device unless something else is said."""
    return RifeTorch(weights / f"rife-{name}" / "flownet.safetensors", **{"device": CUDA, **how})


def picture(width: int, height: int, seed: int) -> Frame:
    """Smooth, colourful, 16 bits deep."""
    small = np.random.default_rng(seed).integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    return np.ascontiguousarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def far(one: list[Frame], other: list[Frame]) -> float:
    """Root mean square of the difference, in levels of 255."""
    return max(float(np.sqrt(np.mean((a.astype(float) - b) ** 2))) / 257 for a, b in zip(one, other, strict=True))


@NAMES
@pytest.mark.parametrize(("precision", "most"), [("float32", 0.05), ("float16", 0.5), ("bfloat16", 3.0)])
@pytest.mark.parametrize("how", [{}, {"tta": Tta.BOTH, "uhd": Uhd.ON}], ids=["plain", "more"])
def test_the_device_makes_the_processors_frames(
    weights: Path, name: str, precision: str, most: float, how: dict[str, Any]
) -> None:
    """To the precision of its convolutions, with augmentation and at half size too."""
    first, second = picture(270, 150, 1), picture(270, 150, 2)
    here = list(opened(weights, name, precision=precision, **how).between(first, second, PHASES))
    assert far(here, list(opened(weights, name, device="cpu", **how).between(first, second, PHASES))) < most


@NAMES
def test_the_same_pair_gives_the_same_bits(weights: Path, name: str) -> None:
    """Again, by another engine, and with the frames of the pair at hand or uploaded anew."""
    clip = [picture(854, 480, seed) for seed in range(3)]
    one, other = opened(weights, name), opened(weights, name)
    list(one.between(clip[0], clip[1], PHASES))
    pairs = (list(one.between(clip[1], clip[2], PHASES)), list(other.between(clip[1], clip[2], PHASES)))
    assert all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True))


def test_it_has_no_eight_bit_step(weights: Path) -> None:
    """A ramp through all 10-bit levels keeps them on the device, though its convolutions have 11 bits."""
    levels = np.arange(1024).repeat(2).astype(np.uint16)
    ramp = np.ascontiguousarray(np.broadcast_to((levels * 64)[None, :, None], (8, 2048, 3)))
    [between] = opened(weights, "zero").between(ramp, ramp + np.uint16(6), PHASES[:1])
    assert np.abs(between.astype(int) - ramp - 3).max() <= 1


def test_frames_outlive_what_comes_after(weights: Path) -> None:
    """Pinned buffers are handed out, and not used again while somebody holds the frame."""
    engine = opened(weights, "4.25")
    first, second, third = (picture(320, 180, seed) for seed in range(3))
    held = list(engine.between(first, second, PHASES))
    copies = [frame.copy() for frame in held]
    for _ in range(4):
        list(engine.between(second, third, PHASES))
    assert all(np.array_equal(a, b) for a, b in zip(held, copies, strict=True))


def test_a_full_device_halves_its_batches_and_then_says_so(weights: Path) -> None:
    """Many phases come in smaller batches; where not even one fits it is OutOfMemory, and the engine lives on."""
    import torch

    engine = opened(weights, "4.25")
    first, second = picture(640, 360, 1), picture(640, 360, 2)
    whole = list(engine.between(first, second, PHASES))
    large = picture(4096, 2176, 1), picture(4096, 2176, 2)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)  # no more than this process holds already
    try:
        with pytest.raises(OutOfMemory, match="4096x2176"):
            list(engine.between(*large, PHASES))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert far(list(engine.between(first, second, PHASES)), whole) < 0.5


def test_720p_comes_at_the_promised_rate(weights: Path) -> None:
    """16 to 60 with 4.25: upload, network and download, nothing repeated."""
    import torch

    if torch.cuda.get_device_capability() < FASTEST:
        pytest.skip("the rate is promised for an H100 or an H200")
    engine = opened(weights, "4.25")
    clip = [picture(1280, 720, seed) for seed in range(24)]
    rate, made = 0.0, 0
    for _ in range(2):  # the first time libraries load
        started, made = time.monotonic(), 0
        for index, pair in enumerate(itertools.pairwise(clip)):
            phases = [
                Fraction(4 * k, 15) - index for k in range(4 * len(clip)) if index < Fraction(4 * k, 15) < index + 1
            ]
            made += sum(1 for _ in engine.between(*pair, phases))
        rate = made / (time.monotonic() - started)
    print(f"{torch.cuda.get_device_name()}: {rate:.0f} frames/s at 720p")
    assert rate >= PROMISED
