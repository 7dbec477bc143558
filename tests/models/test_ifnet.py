"""The network of RIFE: names, shapes and arithmetic, against a plain one written out from its description."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ifnet import ARCHITECTURES, RESIDUALS, Architecture, Network, _mean, _middle, _places, _warp

torch = pytest.importorskip("torch")
functional = torch.nn.functional

BOTH = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)


def drawn(architecture: Architecture, seed: int = 1) -> dict[str, Any]:
    """Random weights, factors among them, that move pixels by a few."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in architecture.shapes().items():
        fan = shape[1] * 9 if len(shape) == 4 else 25
        found[name] = torch.randn(shape, generator=random) * (2 / fan) ** 0.5
        if name.endswith("beta"):
            found[name] = 0.2 + 0.4 * torch.rand(shape, generator=random)
        if "lastconv" in name:
            found[name] *= 0.3
    return found


def pair(architecture: Architecture, *, times: int = 1, seed: int = 2) -> tuple[Any, Any]:
    """Two smooth frames whose sides are the network's multiple, and a little more."""
    random = torch.Generator().manual_seed(seed)
    height, width = architecture.multiple * times, architecture.multiple * times * 2
    small = torch.rand((2, 3, 8, 12), generator=random)
    large = functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    return large[:1], large[1:]


def shifted(image: Any, flow: Any) -> Any:
    """Bilinear reading at pixel + flow, written out."""
    height, width = image.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (x + flow[:, 0]).clamp(0, width - 1)
    y = (y + flow[:, 1]).clamp(0, height - 1)
    left, top = x.floor().long(), y.floor().long()
    right, low = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    across, down = (x - left)[:, None], (y - top)[:, None]
    read = [[image[0][:, rows[0], columns[0]][None] for columns in (left, right)] for rows in (top, low)]
    above, below = (row[0] * (1 - across) + row[1] * across for row in read)
    return above * (1 - down) + below * down


def plain(architecture: Architecture, weights: dict[str, Any], one: Any, other: Any, time: float, doubled: int) -> Any:
    """IFNet as it is described: everything warped in full, then reduced; factors multiplied where they stand."""

    def conv(name: str, tensor: Any, stride: int = 1) -> Any:
        return functional.conv2d(tensor, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, 1)

    def deconv(name: str, tensor: Any) -> Any:
        return functional.conv_transpose2d(tensor, weights[f"{name}.weight"], weights[f"{name}.bias"], 2, 1)

    def leaky(tensor: Any) -> Any:
        return functional.leaky_relu(tensor, 0.2)

    def resized(tensor: Any, scale: float) -> Any:
        return functional.interpolate(tensor, scale_factor=scale, mode="bilinear", align_corners=False)

    features = []
    if architecture.features:
        for tensor in (one, other):
            for index in range(3):
                tensor = leaky(conv(f"encode.cnn{index}", tensor, 2 if index == 0 else 1))
            features.append(deconv("encode.cnn3", tensor))
    plane = torch.full_like(one[:, :1], time)
    flow: Any = None
    mask = handed = torch.empty(0)
    warped = [one, other, *features]
    for block, scale in enumerate(architecture.scales):
        scale *= doubled
        seen = torch.cat(
            [*warped, plane] + ([mask] if block else []) + ([handed] if block and len(features) else []), 1
        )
        seen = resized(seen, 1 / scale)
        if block:
            seen = torch.cat([seen, resized(flow, 1 / scale) / scale], 1)
        for index in range(2):
            seen = leaky(conv(f"block{block}.conv0.{index}.0", seen, 2))
        for index in range(RESIDUALS):
            name = f"block{block}.convblock.{index}"
            seen = leaky(conv(f"{name}.conv", seen) * weights[f"{name}.beta"] + seen)
        made = resized(functional.pixel_shuffle(deconv(f"block{block}.lastconv.0", seen), 2), scale)
        flow = made[:, :4] * scale + (flow if block else 0)
        mask = made[:, 4:5] + (mask if block and not features else 0)
        handed = made[:, 5:]
        ways = (flow[:, :2], flow[:, 2:])
        warped = [shifted(tensor, ways[index % 2]) for index, tensor in enumerate([one, other, *features])]
    share = torch.sigmoid(mask)
    return warped[0] * share + warped[1] * (1 - share)


@BOTH
def test_the_weights_are_named_as_published(architecture: Architecture) -> None:
    """Thirty tensors a block, eight of an encoder; channels in and out as in the public checkpoints."""
    shapes = architecture.shapes()
    assert len(shapes) == 30 * len(architecture.channels) + 8 * bool(architecture.features)
    assert shapes["block0.conv0.0.0.weight"] == (96, {"4.6": 7, "4.25": 15}[architecture.name], 3, 3)
    assert shapes["block1.conv0.0.0.weight"] == (64, {"4.6": 12, "4.25": 28}[architecture.name], 3, 3)
    assert shapes["block3.lastconv.0.weight"] == (64, {"4.6": 24, "4.25": 52}[architecture.name], 4, 4)
    assert shapes["block2.convblock.7.beta"] == (1, 96, 1, 1)
    assert shapes.get("encode.cnn3.weight") == {"4.6": None, "4.25": (16, 4, 4, 4)}[architecture.name]
    assert architecture.multiple == {"4.6": 32, "4.25": 64}[architecture.name]


@BOTH
@pytest.mark.parametrize("halved", [False, True], ids=["full", "halved"])
def test_it_computes_what_is_described(architecture: Architecture, halved: bool) -> None:
    """Warping only what is looked at, folding factors and batching change rounding alone, also at half size."""
    weights = drawn(architecture)
    network = Network(architecture, weights)
    one, other = pair(architecture, times=2 if halved else 1)
    times = [1 / 15, 1 / 2, 14 / 15]
    with torch.inference_mode():
        seen = network.encode(one), network.encode(other)
        together = network.between(*seen, torch.tensor(times), halved=halved)
        for made, time in zip(together, times, strict=True):
            expected = plain(architecture, weights, one, other, time, 2 if halved else 1)[0]
            assert (made - expected).abs().max() < 5e-4
            assert (made - (one + other) / 2).abs().mean() > 0.01  # it moves something
        assert (together[0] - together[2]).abs().mean() > 0.01


@settings(max_examples=30)
@given(st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(1, 3), st.integers(1, 4))
def test_the_middle_is_what_a_reduction_reads(scale: int, rows: int, columns: int) -> None:
    """The mean of the middle 2x2 pixels is the bilinear reduction, for every power of two."""
    image = torch.rand((2, 3, rows * scale, columns * scale))
    reduced = functional.interpolate(image, scale_factor=1 / scale, mode="bilinear", align_corners=False)
    assert torch.allclose(_mean(_middle(image, scale), scale), reduced, atol=1e-6)


@settings(max_examples=30)
@given(st.sampled_from([1, 4, 16]), st.floats(-70, 70, width=32), st.floats(-40, 40, width=32))
def test_warping_reads_at_pixel_plus_flow(scale: int, x: float, y: float) -> None:
    """At every sub-pixel distance, over the border too, for all pixels and for the middle ones."""
    image = torch.rand((1, 3, 32, 64), generator=torch.Generator().manual_seed(1))
    flow = torch.tensor([x, y]).reshape(1, 2, 1, 1).expand(1, 2, 32, 64) + torch.rand(1, 2, 32, 64)
    found = _warp(image, _middle(flow, scale), _places(32, 64, scale, "cpu"))
    assert torch.allclose(found, _middle(shifted(image, flow), scale), atol=1e-4)


def test_coordinates_and_pixels_keep_32_bits() -> None:
    """A wide 16-bit frame is moved by a quarter of a pixel, though the convolutions compute in 16."""
    architecture = ARCHITECTURES["4.6"]
    weights = {name: torch.zeros(shape) for name, shape in architecture.shapes().items()}
    weights["block3.lastconv.0.bias"][:16] = 0.25
    image = torch.rand((1, 3, 32, 1280), generator=torch.Generator().manual_seed(1))
    network = Network(architecture, weights, dtype=torch.float16)
    with torch.inference_mode():
        made = network.between(network.encode(image), network.encode(image), torch.tensor([0.5]))
    expected = shifted(image, torch.full((1, 2, 32, 1280), 0.25))
    assert (made - expected).abs().max() < 1 / 65535 * 8
