"""A transformer in one file, under its authors' names, as diffusers wants it.

Knows: original key names of Wan in safetensors and GGUF, the config that a model is built from, whether file and model
agree. Does not know: devices, pipelines. Memory: safetensors are mapped, GGUF tensors are mapped or copied one by one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from models.cards import Card
from models.interface import EngineError


def single_state(path: Path) -> dict[str, Any]:
    """Tensors of a single file under diffusers' names; safetensors stay mapped, not copied."""
    from safetensors.torch import load_file

    names: Any = import_module("diffusers.loaders.single_file_utils")
    reader: Any = import_module("diffusers.models.model_loading_utils")
    state = reader.load_gguf_checkpoint(str(path)) if path.suffix.lower() == ".gguf" else load_file(path)
    if "condition_embedder.time_proj.weight" in state:
        return state
    converted: dict[str, Any] = names.convert_wan_transformer_to_diffusers(state)
    if "img_emb.emb_pos" in converted:  # diffusers' own conversion does not know the first-last-frame embedding
        converted["condition_embedder.image_embedder.pos_embed"] = converted.pop("img_emb.emb_pos")
    return converted


def empty_model(cls: Any, config: Path, part: str, state: Mapping[str, Any], path: Path) -> Any:
    """The model without its weights, its own tables (rotary positions) computed in full precision.

    Raises EngineError unless the file holds exactly the model's tensors: a missing one would stay random.
    """
    accelerate: Any = import_module("accelerate")
    with accelerate.init_empty_weights():
        model = cls.from_config(cls.load_config(config, subfolder=part, local_files_only=True))
    wanted = set(model.state_dict())
    ignored = cls._keys_to_ignore_on_load_unexpected or []
    strange = sorted(key for key in state if key not in wanted and not any(word in key for word in ignored))
    if missing := sorted(wanted - set(state)):
        raise EngineError(
            f"{path} lacks {len(missing)} tensors of this model, such as {missing[0]}; is it another one?"
        )
    if strange:
        raise EngineError(
            f"{path} holds {len(strange)} tensors that this model has not, such as {strange[0]}; "
            "use the file of this very model, in fp16, bf16, fp32 or GGUF"
        )
    return model


def keep_precise(model: Any, empty: Any, state: Mapping[str, Any], *, quantised: bool) -> None:
    """Undo what loading a single file rounds and loading a folder does not.

    diffusers 0.42 casts the whole model, rotary tables included (an error of 0.4 % in bfloat16), and keeps time
    embedding, norms and scales in 32 bits for float16 and GGUF alone.
    """
    import torch

    for name, table in empty.named_buffers():
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, leaf, table.to(getattr(owner, leaf).device))
    kept = set(model._keep_in_fp32_modules or ())
    for name, value in model.named_parameters():
        if not quantised and kept & set(name.split(".")):
            value.data = state[name].to(value.device, torch.float32)


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
