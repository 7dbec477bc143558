"""Writes RIFE-shaped ncnn models whose output is known: no published weights are needed to test the engine.

`write_linear`: out = a(1-t) + bt, at no cost. `write_zero_flow`: the published layout of RIFE 4.6 (four pyramid levels,
https://github.com/nihui/rife-ncnn-vulkan) with all weights zero: flow 0, mask 1/2, so the average, at full cost.
`write_network`: RIFE 4.6 or 4.25 with small random weights: motion of a few pixels, a mask that varies.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.ifnet import ARCHITECTURES, Architecture

FP16_TAG = 0x01306B47
"""ncnn's mark before half-precision weights."""

Draw = Callable[[int, int, int], NDArray[np.float64]]
"""(made, given, taps of a kernel) -> weights, (made, given, taps)."""


def zeros(made: int, given: int, taps: int) -> NDArray[np.float64]:
    """No weights at all."""
    return np.zeros((made, given, taps))


def drawn(seed: int) -> Draw:
    """Random weights under which the variance of what passes through stays about the same."""
    random = np.random.default_rng(seed)

    def draw(made: int, given: int, taps: int) -> NDArray[np.float64]:
        if taps == 16:  # the end of a block or of the encoder: each pixel it makes is reached by a quarter of the taps
            return random.normal(0, np.sqrt(4 / (given * taps)), (made, given, taps))
        return random.normal(0, np.sqrt(2 / (given * taps)), (made, given, taps))

    return draw


# ncnn reads a number without a point as an integer, whatever the parameter is: scales are written with one
@dataclass
class Graph:
    """An ncnn network in the making; blobs that are read more than once get their Split when it is written."""

    draw: Draw = zeros
    layers: list[tuple[str, list[str], str, str]] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)

    def add(self, kind: str, inputs: list[str], options: str = "", *, name: str = "") -> str:
        blob = name or f"b{len(self.layers)}"
        self.layers.append((kind, inputs, blob, options))
        return blob

    def crop(self, blob: str, first: int, end: int) -> str:
        """Channels first to end."""
        return self.add("Crop", [blob], f"-23309=1,{first} -23310=1,{end} -23311=1,0")

    def resize(self, blob: str, scale: float) -> str:
        """By a factor, bilinearly."""
        return self.add("Interp", [blob], f"0=2 1={float(scale)} 2={float(scale)}") if scale != 1 else blob

    def conv(
        self, blob: str, given: int, made: int, *, stride: int = 1, leaky: bool = False, strength: float = 1.0
    ) -> str:
        options = f"0={made} 1=3 3={stride} 4=1 5=1 6={given * made * 9}"
        self._put(self.draw(made, given, 9) * strength)
        return self.add("Convolution", [blob], options + (" 9=2 -23310=1,0.2" if leaky else ""))

    def deconv(self, blob: str, given: int, made: int, strength: NDArray[np.float64] | float = 1.0) -> str:
        self._put(self.draw(made, given, 16) * np.reshape(strength, (-1, 1, 1)))
        return self.add("Deconvolution", [blob], f"0={made} 1=4 3=2 4=1 5=1 6={given * made * 16}")

    def constant(self, values: NDArray[np.float64], name: str) -> str:
        """One value per channel."""
        self.weights += values.astype("<f4").tobytes()
        return self.add("MemoryData", [], f"0=1 1=1 2={len(values)}", name=name)

    def _put(self, weights: NDArray[np.float64]) -> None:
        """Weights in half precision, then a bias for each channel made, in the size of what the first row would add."""
        content = weights.astype("<f2").tobytes()
        self.weights += struct.pack("<I", FP16_TAG) + content + bytes(-len(content) % 4)
        self.weights += weights[:, 0, 0].astype("<f4").tobytes()

    def write(self, folder: Path) -> Path:
        """flownet.param and flownet.bin into `folder`."""
        readers: dict[str, int] = {}
        for _, inputs, _, _ in self.layers:
            for blob in inputs:
                readers[blob] = readers.get(blob, 0) + 1
        lines, blobs, taken = [], 0, dict.fromkeys(readers, 0)
        for number, (kind, inputs, blob, options) in enumerate(self.layers):
            names = []
            for given in inputs:
                names.append(f"{given}_{taken[given]}" if readers[given] > 1 else given)
                taken[given] += 1
            lines.append(f"{kind} l{number} {len(names)} 1 {' '.join([*names, blob])} {options}".rstrip())
            blobs += 1
            if (count := readers.get(blob, 0)) > 1:
                copies = " ".join(f"{blob}_{index}" for index in range(count))
                lines.append(f"Split s{number} 1 {count} {blob} {copies}")
                blobs += count
        folder.mkdir(parents=True, exist_ok=True)
        text = f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n"
        (folder / "flownet.param").write_text(text, encoding="ascii")
        (folder / "flownet.bin").write_bytes(bytes(self.weights))
        return folder


def write_linear(folder: Path) -> Path:
    """A model that blends by the timestep: a + (b - a) t."""
    graph = Graph()
    a, b, t = (graph.add("Input", [], name=f"in{index}") for index in range(3))
    change = graph.add("BinaryOp", [b, a], "0=1")
    graph.add("BinaryOp", [graph.add("BinaryOp", [change, t], "0=2"), a], "0=0", name="out0")
    return graph.write(folder)


def write_zero_flow(folder: Path) -> Path:
    """RIFE 4.6 with zero weights: (a + b) / 2 whatever the timestep, at the real network's cost. 10 MB."""
    return _network(ARCHITECTURES["4.6"], Graph(), folded=True).write(folder)


def write_network(folder: Path, architecture: str, seed: int = 1, *, folded: bool | None = None) -> Path:
    """RIFE 4.6 or 4.25 with random weights, laid out as its public conversions are.

    `folded`: whether the residuals' factors are part of the weights, as in those of 4.6, or constants, as in 4.25's.
    """
    known = ARCHITECTURES[architecture]
    return _network(known, Graph(drawn(seed)), folded=not known.features if folded is None else folded).write(folder)


def _network(known: Architecture, graph: Graph, *, folded: bool) -> Graph:
    """The whole graph: encoders, blocks, the frame in between."""
    frames = [graph.add("Input", [], name=f"in{index}") for index in range(2)]
    time = graph.add("Input", [], name="in2")
    random = np.random.default_rng(5)
    betas = {}
    if not folded:
        for block, wide in enumerate(known.channels):
            for index in range(8):
                betas[block, index] = graph.constant(
                    random.uniform(0.2, 0.6, wide), f"block{block}.convblock.{index}.beta"
                )
    features = _encoders(graph, frames, known) if known.features else []
    warped, flow, mask, handed = [*frames, *features], "", "", ""
    for block, (scale, wide) in enumerate(zip(known.scales, known.channels, strict=True)):
        seen = graph.add("Concat", [*warped, time, *filter(None, [mask, handed])])
        seen = graph.resize(seen, 1 / scale)
        if flow:
            small = graph.resize(flow, 1 / scale)
            if scale > 1:
                small = graph.add("BinaryOp", [small], f"0=3 1=1 2={float(scale)}")
            seen = graph.add("Concat", [seen, small])
        body = graph.conv(seen, known.given(block), wide // 2, stride=2, leaky=True)
        body = graph.conv(body, wide // 2, wide, stride=2, leaky=True)
        for index in range(8):
            more = graph.conv(body, wide, wide, strength=0.4 if folded else 1.0)
            if not folded:
                more = graph.add("BinaryOp", [more, betas[block, index]], "0=2")
            body = graph.add("ReLU", [graph.add("BinaryOp", [more, body], "0=0")], "0=0.2")
        # flow of about a pixel at the block's own scale, less where that is large; a mask that takes sides
        strength = np.repeat([*[0.5 / np.sqrt(scale)] * 4, 2.0, *[0.5] * (known.made - 5)], 4)
        body = graph.add("PixelShuffle", [graph.deconv(body, wide, 4 * known.made, strength)], "0=2")
        body = graph.resize(body, scale)
        step = graph.add("BinaryOp", [graph.crop(body, 0, 4)], f"0=2 1=1 2={float(scale)}")
        flow = graph.add("BinaryOp", [flow, step], "0=0") if flow else step
        more = graph.crop(body, 4, 5)
        mask = graph.add("BinaryOp", [mask, more], "0=0") if mask and known.mask_summed else more
        last = block == len(known.scales) - 1
        handed = graph.crop(body, 5, 5 + known.hands_on) if known.hands_on and not last else ""
        ways = [graph.crop(flow, 0, 2), graph.crop(flow, 2, 4)]
        warped = [graph.add("rife.Warp", [frame, way]) for frame, way in zip(frames, ways, strict=True)]
        if features and not last:
            warped += [graph.add("rife.Warp", [seen, way]) for seen, way in zip(features, ways, strict=True)]
    share = graph.add("Sigmoid", [mask])
    rest = graph.add("BinaryOp", [share], "0=7 1=1 2=1.0")
    one = graph.add("BinaryOp", [warped[0], share], "0=2")
    other = graph.add("BinaryOp", [warped[1], rest], "0=2")
    graph.add("BinaryOp", [one, other], "0=0", name="out0")
    return graph


def _encoders(graph: Graph, frames: list[str], known: Architecture) -> list[str]:
    """The encoder once for each frame, with the same weights."""
    draw, kept, made = graph.draw, [], []
    for frame in frames:
        if kept:
            again = iter(kept)
            graph.draw = lambda *_, again=again: next(again)
        else:
            graph.draw = lambda *shape: kept.append(draw(*shape)) or kept[-1]
        blob = graph.conv(frame, 3, 16, stride=2, leaky=True)
        for _ in range(2):
            blob = graph.conv(blob, 16, 16, leaky=True)
        made.append(graph.deconv(blob, 16, known.features))
    graph.draw = draw
    return made
