"""Builds a model's class without its weights, and fills it from its files, whatever names they use.

Knows: the config that a model is built from, whether files and model agree tensor by tensor, GGUF's quantised matrices.
Does not know: devices' limits, pipelines. Memory: the model, and what `tensor_files` states beside it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from models.cards import Card
from models.interface import EngineError
from models.tensor_files import TORCH, Piece, read_tensors


def empty_model(cls: Any, config: Any) -> Any:
    """The model without its weights, its own tables (rotary positions) computed in full precision.

    `config` is what diffusers' `from_config` or transformers' constructor takes.
    """
    accelerate: Any = import_module("accelerate")
    with accelerate.init_empty_weights():
        return (cls.from_config(config) if hasattr(cls, "from_config") else cls(config)).eval()


def agree(model: Any, found: Mapping[str, Piece], where: str) -> None:
    """Raise EngineError unless the files hold exactly the model's tensors in its shapes: a missing one would stay
    random, one too many would be ignored."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or []
    strange = sorted(name for name in found if name not in wanted and not any(word in name for word in ignored))
    if missing := sorted(set(wanted) - set(found)):
        raise EngineError(
            f"{where} lacks {len(missing)} tensors of this model, such as {missing[0]}; is it another one?"
        )
    if strange:
        raise EngineError(
            f"{where} holds {len(strange)} tensors that this model has not, such as {strange[0]}; "
            "use the file of this very model, in fp16, bf16, fp32 or GGUF"
        )
    for name, shape in wanted.items():
        if _sides(found[name].shape) != _sides(shape):
            raise EngineError(
                f"{where}: the tensor {name} is {list(found[name].shape)} where the model needs {list(shape)}; "
                "use the file of this very model"
            )


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its sides of 1, which authors write or leave out."""
    return tuple(side for side in shape if side != 1)


def fill(model: Any, found: Mapping[str, Piece], *, dtype_of: Callable[[str, Any], Any], device: str) -> None:
    """Put the files' tensors into the empty model on the device, and its own tables beside them.

    `dtype_of` gives the torch dtype of a parameter by name and empty parameter. `found` has passed `agree`.
    """
    import torch

    empty = dict(model.state_dict())
    names: dict[Piece, list[str]] = {}
    for name, piece in found.items():
        if name in empty:
            names.setdefault(piece, []).append(name)
    wanted = {piece: dtype_of(shared[0], empty[shared[0]]) for piece, shared in names.items()}
    for piece, tensor in read_tensors(wanted, device):
        shaped = tensor.reshape(empty[names[piece][0]].shape)
        value = torch.nn.Parameter(shaped, requires_grad=False)
        for name in names[piece]:
            owner, leaf = _place_of(model, name)
            if leaf in owner._parameters:
                owner._parameters[leaf] = value
            else:
                owner._buffers[leaf] = shaped
    for name, table in list(model.named_buffers()):
        owner, leaf = _place_of(model, name)
        owner._buffers[leaf] = table.to(device)


def kept_precise(model: Any, name: str) -> bool:
    """Whether the model's class wants a parameter in 32 bits: time embedding, norms and scales of Wan."""
    return bool(set(getattr(model, "_keep_in_fp32_modules", None) or ()) & set(name.split(".")))


def _place_of(model: Any, name: str) -> tuple[Any, str]:
    parent, _, leaf = name.rpartition(".")
    return model.get_submodule(parent), leaf


def quantised_model(cls: Any, config: Path, part: str, found: Mapping[str, Piece], *, dtype: Any, device: str) -> Any:
    """A model whose matrices stay in ggml's blocks and are widened at each use, as diffusers does it.

    Raises EngineError for blocks that it cannot widen. What is quantised and no matrix is widened here.
    """
    import torch

    diffusers, blocks = import_module("diffusers"), import_module("diffusers.quantizers.gguf.utils")
    gguf: Any = import_module("gguf")
    empty = empty_model(cls, cls.load_config(config, subfolder=part, local_files_only=True))
    names = {piece: name for name, piece in found.items()}
    where = next(iter(found.values())).path
    agree(empty, found, str(where))
    known = {kind.name: kind for kind in blocks.SUPPORTED_GGUF_QUANT_TYPES}
    odd = sorted({piece.dtype for piece in found.values() if piece.quantised} - set(known))
    if odd:
        raise EngineError(
            f"{where} is quantised to {odd[0]}, which is not computed with here; "
            "use the model in Q8_0, Q6_K, Q5_K_M or Q4_K_M"
        )
    linear = {f"{name}.weight" for name, module in empty.named_modules() if isinstance(module, torch.nn.Linear)}
    matrices = {name for name in linear if not kept_precise(empty, name)}
    # what is no matrix is small, and rounded by diffusers where the model wants it rounded
    wanted = {
        piece: dtype if names[piece] in matrices else getattr(torch, TORCH.get(piece.dtype, "uint8")) for piece in names
    }
    state: dict[str, Any] = {}
    for piece, tensor in read_tensors(wanted, device):
        name = names[piece]
        if piece.quantised:
            kind = known[piece.dtype]
            if name in linear:
                state[name] = blocks.GGUFParameter(tensor, quant_type=kind)
                continue
            tensor = torch.from_numpy(gguf.quants.dequantize(tensor.cpu().numpy(), kind)).to(device)
        state[name] = tensor.reshape(empty.get_parameter(name).shape)
    model = cls.from_single_file(
        state,
        config=str(config),
        subfolder=part,
        torch_dtype=dtype,
        device=device,
        local_files_only=True,
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=dtype),
    )
    for name, table in empty.named_buffers():  # diffusers 0.42 casts rotary tables too: an error of 0.4 % in bfloat16
        owner, leaf = _place_of(model, name)
        setattr(owner, leaf, table.to(getattr(owner, leaf).device))
    return model.eval()


@contextmanager
def config_folder(card: Card, folder: Path, part: str, name: str) -> Iterator[Path]:
    """A folder whose `part/config.json` holds the architecture's numbers: the card's, and what the companion adds."""
    numbers = dict(card.transformer)
    own = folder / part / "config.json"
    if not numbers and not own.is_file():
        raise EngineError(f"{card.name}: neither card nor {own} states the architecture; add it to the card")
    if not numbers:
        yield folder
        return
    same_numbers(card, own)
    numbers = {key: value for key, value in read_json(own).items() if not key.startswith("_")} | numbers
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / part).mkdir()
        text = json.dumps(numbers | {"_class_name": name})
        (Path(made) / part / "config.json").write_text(text, encoding="utf-8")
        yield Path(made)


def same_numbers(card: Card, path: Path) -> None:
    """Raise EngineError where a folder's config contradicts the card: these would be another model's weights."""
    found = read_json(path)
    for key, value in card.transformer.items():
        plain = list(value) if isinstance(value, tuple) else value
        if key in found and found[key] != plain:
            raise EngineError(
                f"{path}: {key} is {found[key]}, {card.name} has {plain}; these are another model's files"
            )


def read_json(path: Path) -> dict[str, Any]:
    """The table in a JSON file, empty if there is no file."""
    if not path.is_file():
        return {}
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EngineError(f"{path} is not JSON: {error}; fetch it again") from error
    return table
