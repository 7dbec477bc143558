"""RIFE's ncnn graph as text: what it needs of a frame's size, and the same graph with motion sought at half size.

Knows: the lines of a `.param` file, and how a RIFE 4 pyramid stands in one, whichever tool wrote it. Does not know:
weights (a graph at half size uses the same `.bin`), frames, the wheel. Memory: the text, about 40 KB.

A pyramid level resizes what it sees by 1/scale, and its flow besides divides by scale; what it finds is resized by
scale, and the flow in it multiplied by scale. The finest level (scale 1) does none of this. At half size every scale
is doubled, as in Practical-RIFE's `scale=0.5`: where a factor stands it is doubled, where none stands it is put in.

Source of the format: ncnn's wiki, "param and model file structure".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.interface import EngineError

MAGIC: Final = "7767517"
"""First line of every text graph."""

_STRIDE: Final = 4
"""By how much a level's two strided convolutions shrink what it sees."""
_BILINEAR: Final = "0=2"
_MULTIPLY, _DIVIDE = "2", "3"
_LARGEST: Final = 1 << 22  # bytes; graphs have about 40,000


class GraphError(EngineError):
    """A graph is not one of RIFE 4's; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of a graph."""

    kind: str
    """`Convolution`, `Interp`, `rife.Warp` ..."""
    name: str
    inputs: tuple[str, ...]
    """Blobs that it reads."""
    outputs: tuple[str, ...]
    """Blobs that it makes."""
    options: tuple[str, ...]
    """`0=2`, `-23309=1,0` ..., in the file's order."""

    def option(self, key: str, default: str = "") -> str:
        """The text after `key=`."""
        return next((text[len(key) + 1 :] for text in self.options if text.startswith(f"{key}=")), default)

    def number(self, key: str, default: float) -> float:
        """An option as a number."""
        return float(self.option(key) or default)

    def having(self, key: str, text: str) -> Layer:
        """The layer with another value for an option that it has."""
        options = tuple(f"{key}={text}" if old.startswith(f"{key}=") else old for old in self.options)
        return Layer(self.kind, self.name, self.inputs, self.outputs, options)

    def reading(self, old: str, new: str) -> Layer:
        """The layer with another blob in the place of one it reads."""
        inputs = tuple(new if blob == old else blob for blob in self.inputs)
        return Layer(self.kind, self.name, inputs, self.outputs, self.options)

    def __str__(self) -> str:
        counts = (str(len(self.inputs)), str(len(self.outputs)))
        return " ".join((self.kind, self.name, *counts, *self.inputs, *self.outputs, *self.options))


@dataclass(frozen=True, slots=True)
class RifeGraph:
    """A network's layers in their order."""

    layers: tuple[Layer, ...]

    @property
    def moves(self) -> bool:
        """Whether it seeks motion at all: it shifts pictures by what it finds."""
        return any(layer.kind == "rife.Warp" for layer in self.layers)

    @property
    def levels(self) -> int:
        """Levels of its pyramid: RIFE 4.6 has four, 4.25 and 4.26 have five."""
        return sum(layer.kind == "PixelShuffle" for layer in self.layers)

    @property
    def multiple(self) -> int:
        """Pixels that width and height must be a multiple of, by the coarsest level; 1 without a pyramid."""
        factors = [factor for layer in self.layers if layer.kind == "Interp" and 0 < (factor := _factor(layer)) < 1]
        return round(_STRIDE / min(factors)) if factors else 1

    def __str__(self) -> str:
        blobs = sum(len(layer.outputs) for layer in self.layers)
        lines = "\n".join(str(layer) for layer in self.layers)
        return f"{MAGIC}\n{len(self.layers)} {blobs}\n{lines}\n"

    def halved(self) -> RifeGraph:
        """The graph that seeks motion at half size and needs twice the multiple. Without motion: itself.

        Raises GraphError for a pyramid that stands there in another way than those known.
        """
        return RifeGraph(_Halving(self).layers()) if self.moves else self


def read_graph(path: Path) -> RifeGraph:
    """The graph in a `.param` file. Raises GraphError if it is none, or lacks RIFE's inputs and output."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")
        magic, counts, *lines = [*raw.decode("ascii").splitlines(), "", ""]
        if magic.strip() != MAGIC:
            raise ValueError(f"it does not begin with {MAGIC}")
        layers = tuple(_layer(number, line) for number, line in enumerate(lines, start=3) if line.strip())
        stated = next(iter(counts.split()), "")
        if stated != str(len(layers)):
            raise ValueError(f"it states {stated[:20] or 'no'} layers and has {len(layers)}")
        made = {blob for layer in layers for blob in layer.outputs}
        if lacks := [name for name in ("in0", "in1", "in2", "out0") if name not in made]:
            raise ValueError(f"it has no {lacks[0]}")
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except UnicodeDecodeError as error:
        raise GraphError(f"{path} is no graph of RIFE 4 (it is no text); put the ncnn model there again") from error
    except ValueError as error:
        raise GraphError(f"{path} is no graph of RIFE 4 ({error}); put the ncnn model there again") from error
    return RifeGraph(layers)


def _layer(number: int, line: str) -> Layer:
    """The layer in a line of that number. Raises ValueError."""
    words = line.split()
    # ASCII digits alone: isdigit takes others, which int refuses, or takes for something else
    if len(words) < 4 or not all(word.isascii() and word.isdigit() for word in words[2:4]):
        raise ValueError(f"line {number} is no layer: {line[:60]!r}")
    kind, name, given, made, *rest = words
    inputs, outputs = int(given), int(made)
    if len(rest) < inputs + outputs:
        raise ValueError(f"the layer {name} is cut short")
    options = tuple(rest[inputs + outputs :])
    return Layer(kind, name, tuple(rest[:inputs]), tuple(rest[inputs : inputs + outputs]), options)


def _factor(layer: Layer) -> float:
    """By how much an Interp scales the height; 1 where nothing is said, as some converters leave the finest level;
    0 where it makes a stated size."""
    sized = layer.number("3", 0.0) or layer.number("4", 0.0)
    return 0.0 if sized else layer.number("1", 1.0)


def _hands_on(layer: Layer) -> bool:
    """Whether what a layer makes is what it reads."""
    return layer.kind == "Split" or (layer.kind == "Interp" and _factor(layer) == 1)


def _text(number: float) -> str:
    """A number as ncnn must see it: without a point it would be read as an integer, whatever it is for."""
    return f"{number:e}"


class _Halving:
    """Doubles the scale of every level of one graph."""

    def __init__(self, graph: RifeGraph) -> None:
        self._graph = graph
        self._makers = {blob: layer for layer in graph.layers for blob in layer.outputs}
        self._readers: dict[str, list[Layer]] = {}
        for layer in graph.layers:
            for blob in layer.inputs:
                self._readers.setdefault(blob, []).append(layer)
        self._shrunk = self._grown = self._flows_in = self._flows_out = 0

    def layers(self) -> tuple[Layer, ...]:
        """Every layer, changed where its level's scale stands in it. Raises GraphError."""
        finest, head = self._finest()
        made: list[Layer] = []
        renamed: dict[str, str] = {}
        for layer in self._graph.layers:
            inserted: Sequence[Layer] = ()
            here = layer
            for old, new in renamed.items():
                here = here.reading(old, new)
            if layer is head:
                here, inserted = self._smaller_input(here)
                made += inserted
                inserted = ()
            elif layer is finest:
                inserted = (_resize(layer.outputs[0], 2.0),)
            elif self._is_flow(layer) and self._level(layer) is finest:
                inserted = (_scaled(layer.outputs[0], 2.0),)
                self._flows_out += 1
            else:
                here = self._rescaled(here, layer, finest)
            made.append(here)
            for extra in inserted:
                renamed[extra.inputs[0]] = extra.outputs[0]
                made.append(extra)
        self._judge()
        return tuple(made)

    def _judge(self) -> None:
        """Each level but the finest has its factors, and the finest has been given its own. Raises GraphError."""
        levels = self._graph.levels
        found = (self._shrunk, self._grown, self._flows_in, self._flows_out)
        # the coarsest level is given no flow; the finest had nothing to be shrunk, grown or divided
        if found != (2 * levels - 3, levels - 1, levels - 1, levels):
            raise GraphError(
                f"motion cannot be sought at half size in this network: of its {levels} levels, the places where "
                f"sizes and flow are scaled were found {found} times; use uhd=off, or RIFE by torch"
            )

    def _finest(self) -> tuple[Layer, Layer]:
        """The last layer of the level of scale 1, and the Concat that it sees. Raises GraphError."""
        ends = [layer for layer in self._graph.layers if layer.kind == "PixelShuffle"]
        plain = [layer for layer in ends if not any(reader.kind == "Interp" for reader in self._after(layer))]
        strided = [layer for layer in self._graph.layers if layer.kind == "Convolution" and layer.option("3") == "2"]
        heads = [maker for layer in strided if (maker := self._before(layer.inputs[0])) and maker.kind == "Concat"]
        if len(plain) != 1 or plain[0] is not ends[-1] or not heads:
            raise GraphError(
                f"motion cannot be sought at half size in this network: {len(plain)} of its {len(ends)} levels look at "
                "frames in full size, and it should be the last alone; use uhd=off, or RIFE by torch"
            )
        return plain[0], heads[-1]

    def _smaller_input(self, head: Layer) -> tuple[Layer, Sequence[Layer]]:
        """The finest level's Concat with every input at half size, and its last, the flow, in pixels of that size."""
        extra: list[Layer] = []
        inputs: list[str] = []
        for blob in head.inputs:
            small = _resize(blob, 0.5)
            extra.append(small)
            inputs.append(small.outputs[0])
        flow = Layer("BinaryOp", f"{inputs[-1]}_px", (inputs[-1],), (f"{inputs[-1]}_px",), ("0=3", "1=1", "2=2.0"))
        extra.append(flow)
        self._flows_in += 1
        return Layer(head.kind, head.name, (*inputs[:-1], flow.outputs[0]), head.outputs, head.options), extra

    def _rescaled(self, here: Layer, layer: Layer, finest: Layer) -> Layer:
        """A layer with its factor doubled, if it has one of a coarser level. `layer`: itself, before any insertion."""
        if layer.kind == "Interp" and (factor := _factor(layer)) != 1:
            self._shrunk += factor < 1
            self._grown += factor > 1
            text = _text(factor / 2 if factor < 1 else factor * 2)
            return here.having("1", text).having("2", text)
        if layer.kind == "BinaryOp" and layer.option("1") == "1":
            factor, maker = layer.number("2", 0.0), self._before(layer.inputs[0])
            divides, multiplies = layer.option("0") == _DIVIDE, layer.option("0") == _MULTIPLY
            if maker and maker.kind == "Interp" and _factor(maker) < 1 and (divides or multiplies):
                self._flows_in += 1
                return here.having("2", _text(factor * 2 if divides else factor / 2))
            if maker and self._is_flow(maker) and multiplies and self._level(maker) is not finest:
                self._flows_out += 1
                return here.having("2", _text(factor * 2))
        if layer.kind == "Eltwise" and layer.option("0") == "1" and layer.option("-23301"):
            count, *weights = layer.option("-23301").split(",")
            makers = [self._before(blob) for blob in layer.inputs]
            flows = [
                maker is not None and self._is_flow(maker) and self._level(maker) is not finest for maker in makers
            ]
            if any(flows):
                self._flows_out += 1
                changed = [_text(float(w) * (2 if flow else 1)) for w, flow in zip(weights, flows, strict=True)]
                return here.having("-23301", ",".join([count, *changed]))
        return here

    def _is_flow(self, layer: Layer) -> bool:
        """Whether a layer takes the flow, the first four channels, out of what a level found."""
        first, end = layer.option("-23309"), layer.option("-23310")
        return layer.kind == "Crop" and (first, end) == ("1,0", "1,4") and self._level(layer) is not None

    def _level(self, crop: Layer) -> Layer | None:
        """The PixelShuffle whose result, resized or not, a Crop takes channels of."""
        maker = self._before(crop.inputs[0])
        if maker and maker.kind == "Interp":
            maker = self._before(maker.inputs[0])
        return maker if maker and maker.kind == "PixelShuffle" else None

    def _before(self, blob: str) -> Layer | None:
        """What made a blob; layers that only hand on made nothing."""
        maker = self._makers.get(blob)
        while maker is not None and _hands_on(maker):
            maker = self._makers.get(maker.inputs[0])
        return maker

    def _after(self, layer: Layer) -> Sequence[Layer]:
        """What reads a layer's results, through layers that only hand on."""
        found: list[Layer] = []
        for blob in layer.outputs:
            for reader in self._readers.get(blob, ()):
                found += self._after(reader) if _hands_on(reader) else [reader]
        return found


def _resize(blob: str, factor: float) -> Layer:
    """A bilinear Interp behind a blob."""
    made = f"{blob}_{'half' if factor < 1 else 'full'}"
    return Layer("Interp", made, (blob,), (made,), (_BILINEAR, f"1={_text(factor)}", f"2={_text(factor)}"))


def _scaled(blob: str, factor: float) -> Layer:
    """A multiplication behind a blob."""
    made = f"{blob}_times"
    return Layer("BinaryOp", made, (blob,), (made,), ("0=2", "1=1", f"2={_text(factor)}"))
