"""Writes RIFE-shaped ncnn models whose output is known: no published weights are needed to test the engine.

`write_linear`: out = a(1-t) + bt, at no cost. `write_zero_flow`: the published layout of RIFE 4.6 (four pyramid levels,
https://github.com/nihui/rife-ncnn-vulkan) with all weights zero: flow 0, mask 1/2, so the average, at full cost.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

FP16_TAG = 0x01306B47
"""ncnn's mark before half-precision weights."""

# ncnn reads a number without a point as an integer, whatever the parameter is: scales are written with one
LEVELS = ((8, 192), (4, 128), (2, 96), (1, 64))
"""RIFE 4.6: scale and channels of each pyramid level."""


@dataclass
class Graph:
    """An ncnn network in the making; blobs that are read more than once get their Split when it is written."""

    layers: list[tuple[str, list[str], str, str]] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)

    def add(self, kind: str, inputs: list[str], options: str = "", *, name: str = "") -> str:
        blob = name or f"b{len(self.layers)}"
        self.layers.append((kind, inputs, blob, options))
        return blob

    def crop(self, blob: str, first: int, end: int) -> str:
        """Channels first to end."""
        return self.add("Crop", [blob], f"-23309=1,{first} -23310=1,{end} -23311=1,0")

    def conv(self, blob: str, given: int, made: int, *, stride: int = 1, leaky: bool = False) -> str:
        options = f"0={made} 1=3 3={stride} 4=1 5=1 6={given * made * 9}"
        self._zeros(given * made * 9, made)
        return self.add("Convolution", [blob], options + (" 9=2 -23310=1,0.2" if leaky else ""))

    def deconv(self, blob: str, given: int, made: int) -> str:
        self._zeros(given * made * 16, made)
        return self.add("Deconvolution", [blob], f"0={made} 1=4 3=2 4=1 5=1 6={given * made * 16}")

    def _zeros(self, count: int, biases: int) -> None:
        size = count * 2
        self.weights += struct.pack("<I", FP16_TAG) + bytes(size + -size % 4) + bytes(biases * 4)

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
    graph = Graph()
    a, b, t = (graph.add("Input", [], name=f"in{index}") for index in range(3))
    warped, flow, mask = [a, b], "", ""
    for level, (scale, channels) in enumerate(LEVELS):
        seen = graph.add("Concat", [*warped, t, *([mask] if mask else [])])
        if scale > 1:
            seen = graph.add("Interp", [seen], f"0=2 1={1 / scale} 2={1 / scale}")
        if flow:
            small = flow
            if scale > 1:
                small = graph.add("Interp", [flow], f"0=2 1={1 / scale} 2={1 / scale}")
                small = graph.add("BinaryOp", [small], f"0=3 1=1 2={scale:.1f}")
            seen = graph.add("Concat", [seen, small])
        given = 7 if level == 0 else 12
        body = graph.conv(seen, given, channels // 2, stride=2, leaky=True)
        body = graph.conv(body, channels // 2, channels, stride=2, leaky=True)
        for _ in range(8):
            body = graph.add("BinaryOp", [graph.conv(body, channels, channels), body], "0=0")
            body = graph.add("ReLU", [body], "0=0.2")
        body = graph.add("PixelShuffle", [graph.deconv(body, channels, 24)], "0=2")
        if scale > 1:
            body = graph.add("Interp", [body], f"0=2 1={scale:.1f} 2={scale:.1f}")
        step = graph.add("BinaryOp", [graph.crop(body, 0, 4)], f"0=2 1=1 2={scale:.1f}")
        more = graph.crop(body, 4, 5)
        flow = graph.add("BinaryOp", [flow, step], "0=0") if flow else step
        mask = graph.add("BinaryOp", [mask, more], "0=0") if mask else more
        warped = [
            graph.add("rife.Warp", [a, graph.crop(flow, 0, 2)]),
            graph.add("rife.Warp", [b, graph.crop(flow, 2, 4)]),
        ]
    share = graph.add("Sigmoid", [mask])
    rest = graph.add("BinaryOp", [share], "0=7 1=1 2=1.0")
    one = graph.add("BinaryOp", [warped[0], share], "0=2")
    other = graph.add("BinaryOp", [warped[1], rest], "0=2")
    graph.add("BinaryOp", [one, other], "0=0", name="out0")
    return graph.write(folder)
