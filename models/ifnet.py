"""IFNet, the network of RIFE 4.6, 4.25 and 4.26: motion and mask between two frames at any time, coarse to fine.

Knows: the networks as values (`Architecture`), the names and shapes of their weights, and how to run them by torch.
Does not know: files, frames of 16 bits, sizes that do not fit the pyramid, devices that fail. Imports without torch.

Sources: Huang et al., Real-Time Intermediate Flow Estimation for Video Frame Interpolation, ECCV 2022; names and shapes
of the published checkpoints (Practical-RIFE), layers of their public ncnn graphs. 4.25 and 4.26 share one network.

Numbers: convolutions run in `dtype`. Pixels, flow, coordinates and the mask stay in 32 bits: with 16, coordinates in a
frame 1280 pixels wide would move in steps of a whole pixel, and 10-bit pixels would lose levels. A block that looks at
the frame at 1/scale, read bilinearly, sees the mean of the middle 2x2 pixels of every scale x scale square: only those
are warped for it. The factor `beta` of each residual is multiplied into its convolution.

Memory: about 500 bytes per pixel and timestep while a pair is worked on (4.25 on a processor; 300 with 4.6), and 28 per
pixel of a frame that was encoded (12 with 4.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

LEAK: Final = 0.2
"""Slope of every activation below 0."""
RESIDUALS: Final = 8
"""Residual convolutions of a block."""

_COLOURS, _FLOW, _MASK = 3, 4, 1
_ENCODER: Final = 16  # channels inside the encoder of a frame
_PACKED: Final = 8  # a block halves the size twice, and two pixels of its smallest map must remain

Places: TypeAlias = tuple[Any, Any]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> elements per dimension, slowest first."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One generation of the network, in numbers."""

    name: str
    """The RIFE version that brought it: `4.6`, `4.25`."""
    scales: tuple[int, ...]
    """By how much each block looks at the frame reduced, coarse to fine; the last sees every pixel."""
    channels: tuple[int, ...]
    """Width of each block."""
    features: int
    """Channels that the encoder adds to a frame's colours; 0: it has none."""
    made: int
    """Channels that a block makes: 4 of flow, 1 of mask, then what it hands on."""
    hands_on: int
    """Channels that the next block is given besides flow and mask."""
    mask_summed: bool
    """Whether masks add up over the blocks, as flow does; else the last block's counts."""

    @property
    def multiple(self) -> int:
        """What width and height must be multiples of, in pixels; twice that where motion is sought at half size."""
        return self.scales[0] * _PACKED // 2

    def given(self, block: int) -> int:
        """Channels that a block is given: two frames and the time; after the first also mask, features and flow."""
        return 2 * (_COLOURS + self.features) + 1 + (block > 0) * (_MASK + self.hands_on + _FLOW)

    def shapes(self) -> Shapes:
        """Names and shapes of all weights, as in the published state dict without `module.`, in order of execution."""
        found: dict[str, tuple[int, ...]] = {}
        if self.features:
            for index, made in enumerate((_ENCODER, _ENCODER, _ENCODER)):
                found |= _layer(f"encode.cnn{index}", (made, _COLOURS if index == 0 else _ENCODER, 3, 3), made)
            found |= _layer("encode.cnn3", (_ENCODER, self.features, 4, 4), self.features)
        for block, wide in enumerate(self.channels):
            half = wide // 2
            found |= _layer(f"block{block}.conv0.0.0", (half, self.given(block), 3, 3), half)
            found |= _layer(f"block{block}.conv0.1.0", (wide, half, 3, 3), wide)
            for index in range(RESIDUALS):
                found |= _layer(f"block{block}.convblock.{index}.conv", (wide, wide, 3, 3), wide)
                found[f"block{block}.convblock.{index}.beta"] = (1, wide, 1, 1)
            found |= _layer(f"block{block}.lastconv.0", (wide, 4 * self.made, 4, 4), 4 * self.made)
        return found


def _layer(name: str, shape: tuple[int, ...], biases: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": (biases,)}


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        "4.6": Architecture(
            name="4.6",
            scales=(8, 4, 2, 1),
            channels=(192, 128, 96, 64),
            features=0,
            made=6,
            hands_on=0,
            mask_summed=True,
        ),
        "4.25": Architecture(
            name="4.25",
            scales=(16, 8, 4, 2, 1),
            channels=(192, 128, 96, 64, 32),
            features=4,
            made=13,
            hands_on=8,
            mask_summed=False,
        ),
    }
)
"""By name; the weights of 4.26 fit `4.25`."""


class Network:
    """An architecture with its weights on a device. Holds coordinates of one size and no frame; threads share it."""

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, Any], *, device: str = "cpu", dtype: Any = None
    ) -> None:
        """`weights`: torch tensors by their published names, as many and as large as `architecture.shapes()` says.

        `dtype` is the convolutions' torch dtype, by default float32.
        """
        import torch

        self.architecture = architecture
        self._dtype = dtype or torch.float32
        self._device = torch.device(device)
        ready: dict[str, Any] = {}
        for name in architecture.shapes():
            if name.endswith(".beta"):
                continue
            tensor = weights[name].float()
            beta = weights.get(f"{name.rpartition('.conv.')[0]}.beta") if ".conv." in name else None
            if beta is not None:
                tensor = tensor * beta.float().reshape(-1, *[1] * (tensor.dim() - 1))
            tensor = tensor.to(self._device, self._dtype)
            # the layout in which tensor cores work; processors gain nothing by it
            on_cores = self._device.type == "cuda" and tensor.dim() == 4
            ready[name] = tensor.contiguous(memory_format=torch.channels_last) if on_cores else tensor.contiguous()
        self._weights = ready
        self._known: tuple[tuple[int, int], dict[int, Places]] = ((0, 0), {})

    def encode(self, image: Any) -> Any:
        """What the network needs of one frame, whatever it is paired with: its colours and features.

        `image`: (1, 3, height, width) float32, 0 to 1, sides multiples of `architecture.multiple`.
        Returns (1, 3 + features, height, width) float32.
        """
        import torch

        if not self.architecture.features:
            return image
        seen = self._entering(image)
        for index in range(3):
            seen = self._conv(f"encode.cnn{index}", seen, stride=2 if index == 0 else 1)
        return torch.cat([image, self._deconv("encode.cnn3", seen).float()], 1)

    def between(self, one: Any, other: Any, times: Any, *, halved: bool = False) -> Any:
        """The frames at `times`, of which 0 is `one` and 1 is `other`.

        `one`, `other`: what `encode` made of them. `times`: (n,) float32 on the device. `halved` seeks motion at half
        size; the sides must be multiples of twice the architecture's then. Returns (n, 3, height, width) float32.
        """
        import torch

        flow: Any = None
        rest: Any = None
        for block, scale in enumerate(self.architecture.scales):
            scale *= 2 if halved else 1
            made = self._block(block, scale, self._seen(one, other, times, flow, rest, scale))
            step, more = made[:, :_FLOW] * scale, made[:, _FLOW : _FLOW + _MASK + self.architecture.hands_on]
            flow = step if flow is None else flow.add_(step)
            rest = rest.add_(more) if rest is not None and self.architecture.mask_summed else more
        places = self._places(flow, 1)
        first = _warp(one[:, :_COLOURS], flow[:, :2], places)
        second = _warp(other[:, :_COLOURS], flow[:, 2:], places)
        return torch.lerp(second, first, torch.sigmoid(rest[:, :_MASK]))

    def _seen(self, one: Any, other: Any, times: Any, flow: Any, rest: Any, scale: int) -> Any:
        """What a block is given, at 1/scale: (n, given, height / scale, width / scale), in the convolutions' dtype."""
        import torch

        if flow is None:
            pair = [_mean(_middle(frame, scale), scale).expand(len(times), -1, -1, -1) for frame in (one, other)]
            after = []
        else:
            motion, places = _middle(flow, scale), self._places(flow, scale)
            warped = (_warp(one, motion[:, :2], places), _warp(other, motion[:, 2:], places))
            pair = [_mean(frame, scale) for frame in warped]
            after = [_mean(_middle(rest, scale), scale), _mean(motion, scale) / scale]
        plane = times.reshape(-1, 1, 1, 1).expand(-1, 1, *pair[0].shape[2:])
        colours, features = ([part[:, where] for part in pair] for where in (slice(_COLOURS), slice(_COLOURS, None)))
        return self._entering(torch.cat([*colours, *features, plane, *after], 1))

    def _block(self, block: int, scale: int, seen: Any) -> Any:
        """What a block makes of what it is given, (n, made, height, width) float32; flow in pixels of its own scale."""
        import torch
        from torch.nn.functional import interpolate, leaky_relu_, pixel_shuffle

        for index in range(2):
            seen = self._conv(f"block{block}.conv0.{index}.0", seen, stride=2)
        for index in range(RESIDUALS):
            more = self._conv(f"block{block}.convblock.{index}.conv", seen, leaky=False)
            seen = leaky_relu_(more.add_(seen), LEAK)
        made = pixel_shuffle(self._deconv(f"block{block}.lastconv.0", seen), 2)
        made = made.to(torch.float32, memory_format=torch.contiguous_format)
        if scale == 1:
            return made
        return interpolate(made, scale_factor=float(scale), mode="bilinear", align_corners=False)

    def _places(self, flow: Any, scale: int) -> Places:
        """`_places` of frames of this size, made once while the size does not change."""
        height, width = flow.shape[2:]
        size, known = self._known
        if size != (height, width):
            known = {}
            self._known = (height, width), known
        if scale not in known:
            known[scale] = _places(height, width, scale, self._device)
        return known[scale]

    def _entering(self, tensor: Any) -> Any:
        """As convolutions want it: their dtype, their layout."""
        import torch

        layout = torch.channels_last if self._device.type == "cuda" else torch.contiguous_format
        return tensor.to(dtype=self._dtype, memory_format=layout)

    def _conv(self, name: str, tensor: Any, *, stride: int = 1, leaky: bool = True) -> Any:
        from torch.nn.functional import conv2d, leaky_relu_

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        made = conv2d(tensor, weight, bias, stride=stride, padding=1)
        return leaky_relu_(made, LEAK) if leaky else made

    def _deconv(self, name: str, tensor: Any) -> Any:
        from torch.nn.functional import conv_transpose2d

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return conv_transpose2d(tensor, weight, bias, stride=2, padding=1)


def _middle(tensor: Any, scale: int) -> Any:
    """Of every scale x scale square of pixels the middle 2x2: (n, c, height, width) -> (.., 2 height / scale, ..)."""
    if scale <= 2:
        return tensor
    count, channels, height, width = tensor.shape
    squares = tensor.unflatten(3, (width // scale, scale)).unflatten(2, (height // scale, scale))
    middle = squares.narrow(3, scale // 2 - 1, 2).narrow(5, scale // 2 - 1, 2)
    return middle.reshape(count, channels, 2 * height // scale, 2 * width // scale)


def _mean(tensor: Any, scale: int) -> Any:
    """The mean of every 2x2 pixels of what `_middle` left: what a bilinear reduction by `scale` reads."""
    if scale == 1:
        return tensor
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(tensor, 2)


def _places(height: int, width: int, scale: int, device: Any) -> Places:
    """Where the pixels that `_middle` leaves lie in a frame of that size, as grid_sample counts.

    Returns (1, 2, h, w), x before y, -1 and 1 at the centres of the outermost pixels; and what a pixel is there.
    """
    import torch

    axes = []
    for length in (width, height):
        axis = torch.arange(length, dtype=torch.float64)
        if scale > 2:
            axis = axis.reshape(-1, scale)[:, scale // 2 - 1 : scale // 2 + 1].reshape(-1)
        axes.append(axis * (2 / (length - 1)) - 1)
    y, x = torch.meshgrid(axes[1], axes[0], indexing="ij")
    pixel = torch.tensor([2 / (width - 1), 2 / (height - 1)]).reshape(1, 2, 1, 1)
    return torch.stack([x, y])[None].to(device, torch.float32), pixel.to(device, torch.float32)


def _warp(source: Any, flow: Any, places: Places) -> Any:
    """`source` read bilinearly at places + flow, in pixels; beyond the border its edge goes on.

    `source`: (1, c, height, width), `flow`: (n, 2, h, w), x before y. Returns (n, c, h, w).
    """
    import torch
    from torch.nn.functional import grid_sample

    where = torch.addcmul(places[0], flow, places[1]).permute(0, 2, 3, 1)
    source = source.expand(len(flow), -1, -1, -1)
    return grid_sample(source, where, mode="bilinear", padding_mode="border", align_corners=True)
