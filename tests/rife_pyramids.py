"""Writes small networks of RIFE's shape with arbitrary weights: they move pictures about, and take milliseconds.

The pyramid is RIFE 4.6's with fewer channels; its scales can be chosen, so that a graph that was changed to seek motion
at half size can be held against one that was written that way.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ncnn_models import FP16_TAG, Graph

CHANNELS = (24, 16, 16, 16)
PUBLISHED = (8, 4, 2, 1)
"""Scales of RIFE 4.6's levels, the coarsest first."""


@dataclass
class Seeded(Graph):
    """A graph whose weights come from a seed."""

    seed: int = 0
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def weigh(self, count: int, made: int) -> None:
        """Weights of a size that keeps the flow within some ten pixels."""
        raw = (self.random.standard_normal(count) * 0.6 * (made / count) ** 0.5).astype(np.float16).tobytes()
        self.weights += struct.pack("<I", FP16_TAG) + raw + bytes(-len(raw) % 4)
        self.weights += (self.random.standard_normal(made) * 0.1).astype(np.float32).tobytes()

    def layer(self, kind: str, blob: str, given: int, made: int, *, stride: int = 1, leaky: bool = False) -> str:
        """A convolution of 3x3, or a deconvolution of 4x4."""
        size = 9 if kind == "Convolution" else 16
        self.weigh(given * made * size, made)
        shape = f"0={made} 1={3 if size == 9 else 4} 3={stride} 4=1 5=1 6={given * made * size}"
        return self.add(kind, [blob], shape + (" 9=2 -23310=1,0.2" if leaky else ""))


def write_pyramid(
    folder: Path, *, scales: Sequence[int] = PUBLISHED, seed: int = 1, sums: bool = False, plain: bool = False
) -> Path:
    """A network of levels at `scales`. `sums`: flows are added and scaled in one layer, as published graphs do.

    `plain`: the level of scale 1 resizes by a layer that says no factor, as graphs that came by ONNX do.
    """
    graph = Seeded(seed=seed)
    a, b, t = (graph.add("Input", [], name=f"in{index}") for index in range(3))
    warped, flow, mask = [a, b], "", ""

    def resized(blob: str, factor: float) -> str:
        if factor == 1:
            return graph.add("Interp", [blob], "0=2") if plain else blob
        return graph.add("Interp", [blob], f"0=2 1={factor:e} 2={factor:e}")

    for scale, channels in zip(scales, CHANNELS, strict=True):
        seen = resized(graph.add("Concat", [*warped, t, *([mask] if mask else [])]), 1 / scale)
        if flow:
            small = resized(flow, 1 / scale)
            if scale > 1:
                small = graph.add("BinaryOp", [small], f"0=3 1=1 2={scale:.1f}")
            seen = graph.add("Concat", [seen, small])
        body = graph.layer("Convolution", seen, 12 if flow else 7, channels // 2, stride=2, leaky=True)
        body = graph.layer("Convolution", body, channels // 2, channels, stride=2, leaky=True)
        body = graph.add(
            "ReLU",
            [graph.add("BinaryOp", [graph.layer("Convolution", body, channels, channels), body], "0=0")],
            "0=0.2",
        )
        body = graph.add("PixelShuffle", [graph.layer("Deconvolution", body, channels, 24, stride=2)], "0=2")
        body = resized(body, scale)
        step, more = graph.crop(body, 0, 4), graph.crop(body, 4, 5)
        if flow and sums and scale > 1:
            flow = graph.add("Eltwise", [flow, step], f"0=1 -23301=2,1.0,{scale:.1f}")
        else:
            step = graph.add("BinaryOp", [step], f"0=2 1=1 2={scale:.1f}") if scale > 1 else step
            flow = graph.add("BinaryOp", [flow, step], "0=0") if flow else step
        mask = graph.add("BinaryOp", [mask, more], "0=0") if mask else more
        warped = [
            graph.add("rife.Warp", [a, graph.crop(flow, 0, 2)]),
            graph.add("rife.Warp", [b, graph.crop(flow, 2, 4)]),
        ]
    share = graph.add("Sigmoid", [mask])
    rest = graph.add("BinaryOp", [share], "0=7 1=1 2=1.0")
    parts = [graph.add("BinaryOp", [picture, by], "0=2") for picture, by in zip(warped, (share, rest), strict=True)]
    graph.add("BinaryOp", parts, "0=0", name="out0")
    return graph.write(folder)
