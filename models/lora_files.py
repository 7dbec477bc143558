"""What a LoRA file says: low-rank changes by layer, whoever's tool wrote it.

Knows: how diffusers, peft, Wan's own code, kohya and musubi-tuner spell keys; what a key's end means; alpha. Does not
know: how a change is applied, cards, hashes. A key that is not understood refuses the file: nothing is left out
silently, because a LoRA that acts in part looks like one that acts.
Memory: the file's tensors, once.

Sources: the key spellings of peft's `save_pretrained`, of diffusers' `save_lora_weights` (both experts in one file as
`transformer.` and `transformer_2.`; alpha in the metadata), of musubi-tuner's `networks/lora_wan.py`, of ComfyUI's
extraction (`diff`, `diff_b`), which distilled LoRAs come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any, Final, NamedTuple

from models.interface import EngineError

FIRST, SECOND = "transformer", "transformer_2"
"""The parts of a pipeline that a file may change: its transformer, or its two experts."""

_PREFIXES: Final = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.")
_FLAT: Final = "lora_unet_"
"""What stands before a layer's name with every dot made an underscore."""

_ENDS: Final[Mapping[str, str]] = {
    **dict.fromkeys((".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight"), "down"),
    **dict.fromkeys((".lora_B.weight", ".lora_B.default.weight", ".lora_up.weight", ".lora.up.weight"), "up"),
    **dict.fromkeys((".lora_B.bias", ".lora_B.default.bias", ".lora_up.bias", ".diff_b"), "bias"),
    ".alpha": "alpha",
    ".diff": "full",
}
"""What the end of a key says that its tensor is."""

_OTHER_KINDS: Final[Mapping[str, str]] = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_w": "LoHa",
    "lokr_w": "LoKr",
    "lora_mid": "LoRA with a third matrix",
    "oft_": "OFT",
    "lora_te": "LoRA of a text encoder",
    "text_encoder.": "LoRA of a text encoder",
}
"""What a word in a key says that the file is, which is not applied here."""

_WAN: Final = (
    (r"^condition_embedder\.time_embedder\.linear_1$", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2$", "time_embedding.2"),
    (r"^condition_embedder\.text_embedder\.linear_1$", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2$", "text_embedding.2"),
    (r"^condition_embedder\.time_proj$", "time_projection.1"),
    (r"^condition_embedder\.image_embedder\.norm1$", "img_emb.proj.0"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj$", "img_emb.proj.1"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2$", "img_emb.proj.3"),
    (r"^condition_embedder\.image_embedder\.norm2$", "img_emb.proj.4"),
    (r"^proj_out$", "head.head"),
    (r"\.proj_in$", ".before_proj"),
    (r"\.proj_out$", ".after_proj"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.to_out\.0$", ".o"),
    (r"\.add_([kv])_proj$", r".\1_img"),
    (r"\.norm_added_k$", ".norm_k_img"),
    (r"\.ffn\.net\.0\.proj$", ".ffn.0"),
    (r"\.ffn\.net\.2$", ".ffn.2"),
    (r"\.norm2$", ".norm3"),
)
"""(pattern, replacement): from the name of a layer in diffusers' Wan models to that in Wan's own code."""


class Pair(NamedTuple):
    """What a LoRA does to one layer: out + strength * up(down(x)) + bias; without `up`, out + down(x) + bias."""

    down: Any | None
    """(rank, inputs), for a convolution (rank, channels, frames, rows, columns); without `up`, of the layer's own
    shape; None where only the bias changes."""
    up: Any | None
    """(outputs, rank), for a convolution with three ones behind it."""
    bias: Any | None
    """(outputs,)."""
    strength: float
    """alpha / rank where the file states alpha, else 1."""


Changes = Mapping[str, Pair]
"""By the layer's name in the model."""


def read_lora(path: Path, layers: Callable[[str], Any]) -> Mapping[str, Changes]:
    """The changes of a LoRA file by part (`transformer`, `transformer_2`).

    `layers(part)` is the module of a part, None if there is none. A file that names one part only has it under
    `transformer`. Raises EngineError, naming file, key and remedy, for anything that could not be applied in full.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
            metadata = file.metadata() or {}
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineError(f"{path} cannot be read: {first}; export it again") from error
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    known: dict[str, Mapping[str, str]] = {}
    for key, value in state.items():
        _refuse_other_kinds(path, key)
        part, rest = (SECOND, key.removeprefix(f"{SECOND}.")) if key.startswith(f"{SECOND}.") else (FIRST, key)
        end = next((end for end in _ENDS if rest.endswith(end)), None)
        if end is None:
            raise EngineError(f"{path}: {key} is no low-rank pair; such a LoRA is not supported, get it as a plain one")
        if part not in known:
            if (module := layers(part)) is None:
                raise EngineError(
                    f"{path} changes a second expert, which this model has not; use the one for this model"
                )
            known[part] = _spellings(module)
        name = known[part].get(_bare(rest.removesuffix(end)))
        if name is None:
            raise EngineError(
                f"{path} changes {rest.removesuffix(end)}, which this model has not; it was made for another"
            )
        said = parts.setdefault(part, {}).setdefault(name, {})
        if _ENDS[end] in said:
            raise EngineError(f"{path} states {name} twice, the second time as {key}; export it again")
        said[_ENDS[end]] = value
    strengths = _strengths(path, metadata)
    found = {part: dict(_pairs(path, said, layers(part), partial(strengths, part))) for part, said in parts.items()}
    if not any(found.values()):
        raise EngineError(f"{path} holds no low-rank pairs; is it a LoRA?")
    return found


def _refuse_other_kinds(path: Path, key: str) -> None:
    if kind := next((kind for word, kind in _OTHER_KINDS.items() if word in key), None):
        raise EngineError(f"{path}: {key} makes it a {kind}, which is not supported; get it as a plain LoRA")


def _bare(name: str) -> str:
    """A layer's name without what tools put before it; a flattened one keeps its sign."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _spellings(module: Any) -> Mapping[str, str]:
    """Every way to spell a layer's name -> its name in the model."""
    found: dict[str, str] = {}
    for name, _ in module.named_modules():
        original = name
        for pattern, replacement in _WAN:
            original = re.sub(pattern, replacement, original)
        # the model's own spelling wins: `norm2` of one block is `norm3` of nobody else's
        for spelt in (original, _FLAT + original.replace(".", "_"), _FLAT + name.replace(".", "_")):
            found.setdefault(spelt, name)
    return {**found, **{name: name for name, _ in module.named_modules() if name not in found}}


def _pairs(
    path: Path, said: Mapping[str, Mapping[str, Any]], module: Any, strength: Callable[[str, int], float]
) -> Iterator[tuple[str, Pair]]:
    """Checked changes by layer. Raises EngineError for one that does not fit its layer."""
    for name, its in said.items():
        layer = module.get_submodule(name)
        size = layer_size(layer)
        if size is None:
            if any(bool(value.float().any()) for value in its.values()):
                raise EngineError(f"{path} changes the weights of {name}, which cannot be done to a loaded model")
            continue  # extraction tools write the difference of every norm, and it is nothing
        outputs, inputs = size
        down, up, full, bias, alpha = (its.get(key) for key in ("down", "up", "full", "bias", "alpha"))
        if bias is not None and tuple(bias.shape) != (outputs,):
            raise EngineError(f"{path}: the bias of {name} is {list(bias.shape)}, the model's is {[outputs]}")
        if full is not None and (down is not None or up is not None):
            raise EngineError(f"{path} holds both a pair and a whole difference for {name}; export it again")
        if full is not None:
            if tuple(full.shape) != (outputs, *inputs):
                raise EngineError(f"{path}: {name} is {_by(full.shape)}, the model's is {_by((outputs, *inputs))}")
            yield name, Pair(full, None, bias, 1.0)
        elif down is None and up is None:
            if bias is not None:
                yield name, Pair(None, None, bias, 1.0)
        else:
            if down is None or up is None or down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
                raise EngineError(f"{path}: {name} has no pair of matrices of one rank; export it again")
            its_size = (up.shape[0], *down.shape[1:])
            if its_size != (outputs, *inputs) or up.ndim != down.ndim or any(side != 1 for side in up.shape[2:]):
                raise EngineError(
                    f"{path}: {name} is {_by(its_size)}, the model's is {_by((outputs, *inputs))}; "
                    "it was made for another"
                )
            if alpha is not None and alpha.numel() != 1:
                raise EngineError(f"{path}: the alpha of {name} is no number; export it again")
            rank = int(down.shape[0])
            yield name, Pair(down, up, bias, strength(name, rank) if alpha is None else float(alpha) / rank)


def layer_size(layer: Any) -> tuple[int, tuple[int, ...]] | None:
    """Outputs, and what one output is made from, of a layer that can be changed; None for any other.

    Linear layers of every kind (quantised ones know their size, not their weights' shape), and 3D convolutions.
    """
    outputs, inputs = getattr(layer, "out_features", None), getattr(layer, "in_features", None)
    if isinstance(outputs, int) and isinstance(inputs, int):
        return outputs, (inputs,)
    if type(layer).__name__ == "Conv3d" and layer.groups == 1:
        return layer.out_channels, (layer.in_channels, *layer.kernel_size)
    return None


def _by(shape: Any) -> str:
    return "x".join(str(side) for side in shape)


def _strengths(path: Path, metadata: Mapping[str, str]) -> Callable[[str, str, int], float]:
    """alpha / rank of each layer, from the metadata that diffusers writes; 1 without any. Raises EngineError."""
    try:
        stated = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        numbers = {part: _stated(stated, part) for part in (FIRST, SECOND)}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EngineError(f"{path}: its lora_adapter_metadata cannot be read ({error}); export it again") from error
    if any(stated.get(f"{part}.use_dora") for part in numbers):
        raise EngineError(f"{path} is a DoRA by its metadata, which is not supported; get it as a plain LoRA")

    def strength(part: str, name: str, rank: int) -> float:
        alpha, own, rooted = numbers[part]
        # peft's patterns are endings of names; the longest that fits is the most particular
        fitting = [ending for ending in own if name == ending or name.endswith(f".{ending}")]
        alpha = own[max(fitting, key=len)] if fitting else alpha
        return 1.0 if alpha is None else alpha / (sqrt(rank) if rooted else rank)

    return strength


def _stated(stated: Mapping[str, Any], part: str) -> tuple[float | None, Mapping[str, float], bool]:
    """alpha, alpha of single layers by the end of their names, and whether it is divided by the rank's root."""
    alpha = stated.get(f"{part}.lora_alpha")
    own = {str(name): float(value) for name, value in (stated.get(f"{part}.alpha_pattern") or {}).items()}
    return None if alpha is None else float(alpha), own, bool(stated.get(f"{part}.use_rslora"))
