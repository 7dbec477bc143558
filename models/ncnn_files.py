"""ncnn's .param and .bin: a network's layers and their weights, read as if whoever wrote them meant harm.

Knows: both formats, for the kinds of layer that RIFE has. Does not know: what the network computes, torch, ncnn itself.
Every number is held against a limit, and every length against the file, before it is used.

Memory: the .bin once as it is and once as float32; a .param of at most PARAM bytes and what it says.

Sources: ncnn's wiki, "param and model file structure" and "operation param weight table".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.headers import WeightsError

MAGIC: Final = "7767517"
PARAM: Final = 1 << 20
"""Most bytes of a .param; RIFE's have 20 kB."""
BIN: Final = 256 << 20
"""Most bytes of a .bin; RIFE's have 10 to 25 MB."""
LAYERS: Final = 8_192
"""Most layers."""
BLOBS: Final = 64
"""Most inputs or outputs of one layer."""
ARRAY: Final = 64
"""Most elements of an option that is an array."""
LARGEST: Final = (1 << 31) - 1

FP16: Final = 0x01306B47
"""Tag before weights of half precision; 0 stands before single precision."""

Option: TypeAlias = int | float | tuple[int | float, ...]
Weights: TypeAlias = NDArray[np.float32]

_WEIGHTLESS: Final = frozenset(
    {"Input", "Split", "Concat", "Interp", "BinaryOp", "UnaryOp", "Eltwise", "ReLU", "Sigmoid", "PixelShuffle"}
    | {"Crop", "Slice", "Padding", "Clip", "Permute", "Reshape", "ExpandDims", "Squeeze", "rife.Warp"}
)
_CONVOLUTIONS: Final = ("Convolution", "Deconvolution")
_CONSTANT: Final = "MemoryData"
_AGAIN: Final = "the file is damaged or no network of RIFE: copy the ncnn model there again"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, in order of execution."""

    kind: str
    """`Convolution`, `Deconvolution`, `MemoryData`, `BinaryOp` ..."""
    name: str
    inputs: tuple[str, ...]
    """Names of the blobs that it reads."""
    outputs: tuple[str, ...]
    """Names of the blobs that it makes."""
    options: Mapping[int, Option]
    """By ncnn's number; an array without the offset of -23300."""
    weights: tuple[Weights, ...] = ()
    """Of a convolution the weights (made, given, rows, columns) and biases (made,); of a constant its values, flat."""

    def whole(self, number: int, default: int = 0) -> int:
        """An option that is a whole number. Raises WeightsError if it is anything else."""
        found = self.options.get(number, default)
        if not isinstance(found, int):
            raise WeightsError(f"layer {self.name}: option {number} is {found} where a whole number belongs; {_AGAIN}")
        return found


def read_ncnn(param: Path, weights: Path | None = None) -> tuple[Layer, ...]:
    """The layers of a .param with the weights of its .bin, by default the one of the same name.

    Raises WeightsError naming file, place, value and limit for anything that is not a whole network of RIFE's kinds of
    layer in 16 or 32 bits.
    """
    weights = weights or param.with_suffix(".bin")
    layers = _parse(param, _bytes(param, PARAM))
    source = _Source(weights, _bytes(weights, BIN))
    made = tuple(_weighted(layer, source) for layer in layers)
    source.close()
    return made


def _bytes(path: Path, most: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > most:
            raise WeightsError(f"{path} has {size} bytes, more than {most}, the most of a network of RIFE; {_AGAIN}")
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; an ncnn model is a .param and a .bin") from error


def _parse(path: Path, content: bytes) -> list[Layer]:
    """The lines of a .param, held against its counts."""
    try:
        lines = content.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is no text at byte {error.start}; {_AGAIN}") from None
    lines = [line for line in (line.strip() for line in lines) if line]
    if not lines or lines[0] != MAGIC:
        raise WeightsError(f"{path} starts with {lines[0][:20] if lines else ''!r} instead of {MAGIC}; {_AGAIN}")
    counts = lines[1].split() if len(lines) > 1 else []
    if len(counts) != 2:
        raise WeightsError(f"{path} does not say how many layers and blobs it has; {_AGAIN}")
    layers, _ = (_whole(count, path, 2) for count in counts)
    if not 0 < layers <= LAYERS or layers != len(lines) - 2:
        raise WeightsError(f"{path} has {len(lines) - 2} layers, says {layers} and may have {LAYERS}; {_AGAIN}")
    found = [_layer(line, path, number) for number, line in enumerate(lines[2:], 3)]
    known: set[str] = set()
    for number, layer in enumerate(found, 3):
        if strange := [blob for blob in layer.inputs if blob not in known]:
            raise WeightsError(f"{path}, line {number}: {strange[0][:40]!r} is read before it is made; {_AGAIN}")
        if twice := [blob for blob in layer.outputs if blob in known]:
            raise WeightsError(f"{path}, line {number}: {twice[0][:40]!r} is made twice; {_AGAIN}")
        known.update(layer.outputs)
    return found


def _layer(line: str, path: Path, number: int) -> Layer:
    """`kind name inputs outputs INPUT... OUTPUT... number=value...`."""
    words = line.split()
    if len(words) < 4:
        raise WeightsError(f"{path}, line {number} is no layer: {line[:60]!r}; {_AGAIN}")
    kind, name = words[:2]
    if kind not in _WEIGHTLESS and kind not in _CONVOLUTIONS and kind != _CONSTANT:
        raise WeightsError(
            f"{path}, line {number}: a layer of the kind {kind[:40]!r}, which RIFE 4.6 to 4.26 have not; "
            "use one of these versions, converted to ncnn without quantisation"
        )
    given, made = (_whole(word, path, number) for word in words[2:4])
    least = 0 if kind in ("Input", _CONSTANT) else 1
    if not (least <= given <= BLOBS and 1 <= made <= BLOBS and len(words) >= 4 + given + made):
        raise WeightsError(
            f"{path}, line {number}: {given} inputs and {made} outputs of a {kind} are not there or too many; {_AGAIN}"
        )
    options: dict[int, Option] = {}
    for word in words[4 + given + made :]:
        key, equals, value = word.partition("=")
        index = _whole(key, path, number) if equals else -1
        listed = index <= -23300
        index = -index - 23300 if listed else index
        if not 0 <= index <= 64 or index in options:
            raise WeightsError(f"{path}, line {number}: {word[:40]!r} is no option, or one given twice; {_AGAIN}")
        options[index] = _array(value, path, number) if listed else _number(value, path, number)
    return Layer(kind, name, tuple(words[4 : 4 + given]), tuple(words[4 + given : 4 + given + made]), options)


def _array(text: str, path: Path, line: int) -> tuple[int | float, ...]:
    """`count,value,value...`."""
    count, *values = text.split(",")
    if _whole(count, path, line) != len(values) or len(values) > ARRAY:
        raise WeightsError(f"{path}, line {line}: an array of {count[:12]} elements has {len(values)}; {_AGAIN}")
    return tuple(_number(value, path, line) for value in values)


def _number(text: str, path: Path, line: int) -> int | float:
    """Whole unless it has a point or an exponent, as ncnn reads it."""
    if not any(mark in text for mark in ".eE"):
        return _whole(text, path, line)
    try:
        found = float(text) if len(text) <= 32 else float("nan")
    except ValueError:
        found = float("nan")
    if not abs(found) <= LARGEST:  # NaN too
        raise WeightsError(f"{path}, line {line}: {text[:32]!r} is no number; {_AGAIN}")
    return found


def _whole(text: str, path: Path, line: int) -> int:
    digits = text.removeprefix("-")
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= 10 and int(digits) <= LARGEST):
        raise WeightsError(f"{path}, line {line}: {text[:32]!r} is no whole number; {_AGAIN}")
    return int(text)


class _Source:
    """A .bin, read from front to back."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content, self._place = path, content, 0

    def tagged(self, layer: Layer, count: int) -> Weights:
        """Numbers behind a tag that says how they are kept."""
        (tag,) = struct.unpack("<I", self._take(layer, 4))
        if tag == FP16:
            # padded to four bytes
            return self._numbers(layer, "<f2", count, 2 * count + (2 * count) % 4)
        if tag == 0:
            return self.plain(layer, count)
        raise WeightsError(
            f"{self._path}: the weights of {layer.name} are quantised (tag 0x{tag:08x}); "
            "use a model in 16 or 32 bits, not one in 8"
        )

    def plain(self, layer: Layer, count: int) -> Weights:
        """Numbers of 32 bits."""
        return self._numbers(layer, "<f4", count, 4 * count)

    def _numbers(self, layer: Layer, dtype: str, count: int, size: int) -> Weights:
        found = np.frombuffer(self._take(layer, size), dtype=dtype, count=count).astype(np.float32)
        if not np.isfinite(found).all():
            raise WeightsError(f"{self._path}: the weights of {layer.name} are not finite; {_AGAIN}")
        return found

    def _take(self, layer: Layer, size: int) -> bytes:
        if size > len(self._content) - self._place:
            left = len(self._content) - self._place
            raise WeightsError(
                f"{self._path} ends within {layer.name}, which needs {size} bytes of {left} left; "
                "the file was cut off or belongs to another .param: copy both again"
            )
        self._place += size
        return self._content[self._place - size : self._place]

    def close(self) -> None:
        """Raise WeightsError if anything was left."""
        if self._place != len(self._content):
            left = len(self._content) - self._place
            raise WeightsError(f"{self._path} has {left} bytes more than its .param explains; copy both files again")


def _weighted(layer: Layer, source: _Source) -> Layer:
    """The layer with its weights, the next ones in the .bin."""
    if layer.kind == _CONSTANT:
        count = 1
        for number in range(3):
            count *= _bounded(layer, number, layer.whole(number) or 1)
        read = source.tagged if layer.whole(21, 1) == 0 else source.plain
        return _with(layer, read(layer, _bounded(layer, 6, count)))
    if layer.kind not in _CONVOLUTIONS:
        return layer
    if layer.whole(8):
        raise WeightsError(f"layer {layer.name} works in 8 bits; use a model in 16 or 32 bits, not one in 8")
    if layer.whole(19) or not layer.whole(5) or layer.whole(7, 1) != 1:
        raise WeightsError(f"layer {layer.name} is a convolution such as RIFE has not; {_AGAIN}")
    made, columns = (_bounded(layer, number, layer.whole(number)) for number in (0, 1))
    rows = _bounded(layer, 11, layer.whole(11, columns))
    count = _bounded(layer, 6, layer.whole(6))
    if count % (made * rows * columns):
        raise WeightsError(f"layer {layer.name}: {count} weights are not {made} of {rows}x{columns} each; {_AGAIN}")
    # both kinds keep them by what they make, then by what they are given
    flat = source.tagged(layer, count)
    return _with(layer, flat.reshape(made, -1, rows, columns), source.plain(layer, made))


def _with(layer: Layer, *weights: Weights) -> Layer:
    return Layer(layer.kind, layer.name, layer.inputs, layer.outputs, layer.options, weights)


def _bounded(layer: Layer, number: int, value: int) -> int:
    if not 0 < value <= BIN // 2:
        raise WeightsError(f"layer {layer.name}: option {number} is {value}, no size of anything; {_AGAIN}")
    return value
