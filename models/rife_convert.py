"""RIFE's weights: which network they belong to, and how those of an ncnn model become safetensors.

Knows: the published names, and which layer of an ncnn graph each stands for. Does not know: pickles
(`models.convert`), torch. Memory: the weights twice.

Layers are named by what the graph does with them, never by what it calls them: converters number them as they like. The
encoder of 4.25 stands there twice, once for each frame, with the same weights; `beta` is a constant of its own or was
multiplied into its convolution, and is 1 then.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.convert import Converted
from models.headers import WeightsError, WeightsUnavailableError, read_header
from models.ifnet import ARCHITECTURES, LEAK, Architecture, Shapes
from models.interface import EngineUnavailable
from models.interpolator_cards import FILE, interpolator_cards
from models.ncnn_files import Layer, Weights, read_ncnn
from models.weights import root_of
from models.weights_lock import Locked, file_sha256, write_lock

LEFTOVERS: Final = ("teacher.", "caltime.", "block_tea.")
"""How names start in published checkpoints that belong to the training alone."""
KNOWN: Final = "use RIFE 4.6, 4.25 or 4.26"

_FOLDER: Final = re.compile(r"rife-v(4\.\d+)")
_ADD, _TIMES = 0, 2  # what a BinaryOp does
_CONVOLUTIONS: Final = ("Convolution", "Deconvolution")


def architecture_of(shapes: Shapes) -> str:
    """Which architecture weights of these names and shapes belong to: `4.6` or `4.25`, which 4.26 shares.

    A common prefix `module.` and what is left over from training do not count. Raises EngineUnavailable, naming the
    nearest architecture and what tells them apart, for anything else.
    """
    found = published(shapes)
    nearest: dict[str, list[str]] = {}
    for name, architecture in ARCHITECTURES.items():
        nearest[name] = list(_differences(found, architecture.shapes()))
        if not nearest[name]:
            return name
    name = min(nearest, key=lambda name: len(nearest[name]))
    first, count = nearest[name][0], len(nearest[name])
    more = f" and {count - 1} more differences" if count > 1 else ""
    raise EngineUnavailable(f"weights of no RIFE known here; nearest is {name}, but {first}{more}; {KNOWN}")


def published(names: Mapping[str, Any]) -> dict[str, Any]:
    """The same under the published names: without the prefix `module.` and without leftovers of the training."""
    plain = {name.removeprefix("module."): value for name, value in names.items()}
    return {name: value for name, value in plain.items() if not name.startswith(LEFTOVERS)}


def _differences(found: Shapes, wanted: Shapes) -> Iterator[str]:
    """What tells two sets of weights apart, misshapen ones first: they say most."""
    both = [name for name in wanted if name in found]
    yield from (f"{n} is {list(found[n])} instead of {list(wanted[n])}" for n in both if found[n] != wanted[n])
    yield from (f"{name} is missing" for name in wanted if name not in found)
    yield from (f"{name[:80]} is not part of it" for name in found if name not in wanted)


def convert_ncnn(param: Path, out: Path | None = None, *, weights: Path | None = None) -> Converted:
    """Write an ncnn model of RIFE (a .param beside its .bin) as safetensors and record its sha256 in the lock.

    `out` defaults to WEIGHTS/rife-4.N/flownet.safetensors, where it is looked for, if the model lies in a folder
    `rife-v4.N` within `weights`; else to the .param's name with .safetensors. The sources are kept.

    Raises WeightsError if the model is damaged, quantised or no RIFE 4.6, 4.25 or 4.26; WeightsUnavailableError if
    safetensors or the disk space is missing.
    """
    param = Path(os.path.abspath(param))
    out = Path(os.path.abspath(out)) if out else _beside(param, weights)
    if param.suffix != ".param":
        raise WeightsError(f"{param} is no .param of an ncnn model; give that file, its .bin is found beside it")
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out} would not be recognised; give a name that ends in .safetensors")
    if out.exists() or out.is_symlink():
        raise WeightsError(f"{out} exists already; remove it or give another name with -o")
    architecture, tensors = named_weights(param)
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise WeightsUnavailableError(f"converting needs safetensors ({error}); pip install 'dailies[gpu]'") from error
    origin = " and ".join(f"{path.name} ({file_sha256(path)})" for path in (param, param.with_suffix(".bin")))
    part: Path | None = None
    try:
        out.parent.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.stem}.", suffix=".part")
        os.close(handle)
        part = Path(name)
        notes = {"format": "pt", "architecture": f"rife-{architecture}", "source": origin}
        save_file(dict(tensors), str(part), metadata=notes)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        digest, size = file_sha256(part), part.stat().st_size
        count = len(read_header(part).tensors)
        _judge_folder(out, architecture, param)
        os.chmod(part, 0o644)  # a team shares the folder; mkstemp gives it to one
        os.replace(part, out)
    except OSError as error:
        raise WeightsUnavailableError(f"{out} cannot be written: {error.strerror}; check folder and disk") from error
    finally:
        with suppress(OSError):
            if part:
                part.unlink()
    root = root_of(out, weights)
    write_lock(root, {out.relative_to(root).as_posix(): Locked(size, digest, f"converted from {origin}")})
    return Converted(out, size, digest, count, ())


def _judge_folder(out: Path, architecture: str, param: Path) -> None:
    """Raise WeightsError if the folder is named by a card of another network."""
    card = interpolator_cards().get(out.parent.name) if out.name == FILE else None
    if card is not None and card.architecture != architecture:
        raise WeightsError(
            f"{param} holds the network of RIFE {architecture}, and {out.parent.name} has that of {card.architecture}; "
            "give another place with -o"
        )


def _beside(param: Path, weights: Path | None) -> Path:
    """Where the converted file goes unless something else is said."""
    named = _FOLDER.fullmatch(param.parent.name)
    if weights is not None and named and param.is_relative_to(os.path.abspath(weights)):
        return Path(os.path.abspath(weights)) / f"rife-{named[1]}" / "flownet.safetensors"
    return param.with_suffix(".safetensors")


def named_weights(param: Path) -> tuple[str, Mapping[str, Weights]]:
    """The architecture of an ncnn model, and its weights by their published names, as torch shapes them.

    Raises WeightsError if it is damaged or no RIFE 4.6, 4.25 or 4.26.
    """
    graph = _Graph(param, read_ncnn(param))
    found: dict[str, dict[str, Weights]] = {}
    reasons = []
    for name, architecture in ARCHITECTURES.items():
        try:
            found[name] = graph.named(architecture)
        except _OtherNetwork as reason:
            reasons.append(f"for {name} {reason}")
    if not found:
        raise WeightsError(f"{param} is no network of RIFE known here: {'; '.join(reasons)}; {KNOWN}")
    return next(iter(found.items()))


class _OtherNetwork(Exception):  # noqa: N818 - why a graph is not of an architecture; never leaves this module
    """What tells a graph from an architecture."""


class _Graph:
    """The layers of a model, and who makes and who reads each blob."""

    def __init__(self, param: Path, layers: Sequence[Layer]) -> None:
        self._param, self._layers = param, layers
        self._makers = {blob: layer for layer in layers for blob in layer.outputs}
        self._readers: dict[str, list[Layer]] = {}
        for layer in layers:
            for blob in layer.inputs:
                self._readers.setdefault(self._unsplit(blob), []).append(layer)

    def named(self, architecture: Architecture) -> dict[str, Weights]:
        """The weights by published name. Raises _OtherNetwork; WeightsError if both encoders differ."""
        weighted = [layer for layer in self._layers if layer.kind in _CONVOLUTIONS]
        first = self._encoders(architecture, weighted) if architecture.features else {}
        rest = [layer for layer in weighted if not any(layer in chain for chain in first.values())]
        found: dict[str, Weights] = {}
        shapes = architecture.shapes()
        for chain in first.values():
            for index, layer in enumerate(chain):
                for name, tensor in self._layer(f"encode.cnn{index}", layer, shapes):
                    if name in found and not np.array_equal(found[name], tensor):
                        raise WeightsError(
                            f"{self._param}: both frames are encoded, but {name} differs between them; it is no model "
                            "of RIFE as published: get it again"
                        )
                    found[name] = tensor
        wanted = [name.removesuffix(".weight") for name in shapes if name.startswith("block") and name[-6:] == "weight"]
        if len(rest) != len(wanted):
            raise _OtherNetwork(f"it has {len(rest)} instead of {len(wanted)} convolutions in its blocks")
        for name, layer in zip(wanted, rest, strict=True):
            found |= self._layer(name, layer, shapes)
            if name.endswith(".conv"):
                found[f"{name.removesuffix('.conv')}.beta"] = self._residual(name, layer)
        constants = sum(layer.kind == "MemoryData" for layer in self._layers)
        if constants not in (0, len(shapes) - 2 * len(wanted) - 8 * bool(architecture.features)):
            raise _OtherNetwork(f"it has {constants} constants")
        return {name: np.ascontiguousarray(found[name]) for name in shapes}

    def _encoders(self, architecture: Architecture, weighted: Sequence[Layer]) -> dict[str, list[Layer]]:
        """The chains of convolutions that hang on one frame alone, by the frame's blob."""
        chains: dict[str, list[Layer]] = {}
        homes: dict[str, str] = {}
        for layer in weighted:
            source = self._source(layer.inputs[0])
            home = source.outputs[0] if source.kind == "Input" else homes.get(source.outputs[0], "")
            if home:
                homes[layer.outputs[0]] = home
                chains.setdefault(home, []).append(layer)
        if sorted(len(chain) for chain in chains.values()) != [4, 4]:
            raise _OtherNetwork("no encoder of 4 convolutions hangs on each frame")
        return chains

    def _layer(self, name: str, layer: Layer, shapes: Shapes) -> Iterator[tuple[str, Weights]]:
        """Weights and biases of a convolution, by name."""
        weight, bias = layer.weights
        transposed = layer.kind == "Deconvolution"
        if transposed:
            weight = weight.transpose(1, 0, 2, 3)  # torch keeps them by what they are given
        wanted = shapes[f"{name}.weight"]
        strides = 2 if wanted[2] == 4 or ".conv0." in name or name == "encode.cnn0" else 1
        if weight.shape != wanted or bias.shape != shapes[f"{name}.bias"] or transposed != (wanted[2] == 4):
            raise _OtherNetwork(f"{layer.name} is {list(weight.shape)} where {name} is {list(wanted)}")
        if (layer.whole(3, 1), layer.whole(4), layer.whole(2, 1)) != (strides, 1, 1):
            raise _OtherNetwork(f"{layer.name} has another stride, padding or dilation than {name}")
        yield f"{name}.weight", weight
        yield f"{name}.bias", bias

    def _residual(self, name: str, layer: Layer) -> Weights:
        """The factor of a residual convolution, (1, channels, 1, 1); raises _OtherNetwork if it is no residual.

        What follows it must be leaky(made * beta + given), the factor left out where it is part of the weights.
        """
        blob = layer.outputs[0]
        beta = np.ones(len(layer.weights[1]), np.float32)
        (after,) = self._read_once(blob, name)
        if after.kind == "BinaryOp" and after.whole(0) == _TIMES and len(after.inputs) == 2:
            constant = self._makers[self._unsplit(self._other(after, blob))]
            if constant.kind != "MemoryData" or constant.weights[0].shape != beta.shape:
                raise _OtherNetwork(f"{layer.name} is multiplied by no factor per channel")
            beta, blob = constant.weights[0], after.outputs[0]
            (after,) = self._read_once(blob, name)
        adds = after.kind == "BinaryOp" and after.whole(0) == _ADD and len(after.inputs) == 2
        if not adds or self._unsplit(self._other(after, blob)) != self._unsplit(layer.inputs[0]):
            raise _OtherNetwork(f"{layer.name} is no residual, as {name} is")
        (after,) = self._read_once(after.outputs[0], name)
        slope = after.options.get(0, 0.0)
        if after.kind != "ReLU" or not isinstance(slope, float) or abs(slope - LEAK) > 1e-6:
            raise _OtherNetwork(f"{layer.name} is not followed by an activation of slope {LEAK}")
        return beta.reshape(1, -1, 1, 1)

    def _other(self, layer: Layer, blob: str) -> str:
        """The input of a layer of two that does not come from `blob`."""
        one, other = layer.inputs
        return other if self._unsplit(one) == self._unsplit(blob) else one

    def _read_once(self, blob: str, name: str) -> Sequence[Layer]:
        readers = [layer for layer in self._readers.get(self._unsplit(blob), ()) if layer.kind != "Split"]
        if len(readers) != 1:
            raise _OtherNetwork(f"{name} is read {len(readers)} times")
        return readers

    def _unsplit(self, blob: str) -> str:
        """The blob that a Split made copies of."""
        while (maker := self._makers.get(blob)) is not None and maker.kind == "Split":
            blob = maker.inputs[0]
        return blob

    def _source(self, blob: str) -> Layer:
        """The layer that a blob comes from, activations and splits aside."""
        maker = self._makers[blob]
        while maker.kind in ("Split", "ReLU") and maker.inputs:
            maker = self._makers[maker.inputs[0]]
        return maker
