"""Names that the authors' own encoder files use, translated to those of transformers.

Knows: the key spellings of Wan's UMT5 and of its OpenCLIP ViT-H. Does not know: files, configs. Memory: none of its
own; a joint query-key-value matrix is split into three views.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

Rules = tuple[tuple[str, str], ...]
"""(pattern, replacement) for re.sub, the first that matches the whole key wins."""

UMT5: Final[Rules] = (
    (r"token_embedding\.weight", r"shared.weight"),
    (r"norm\.weight", r"encoder.final_layer_norm.weight"),
    (r"blocks\.(\d+)\.norm1\.(.*)", r"encoder.block.\1.layer.0.layer_norm.\2"),
    (r"blocks\.(\d+)\.attn\.([qkvo])\.(.*)", r"encoder.block.\1.layer.0.SelfAttention.\2.\3"),
    (
        r"blocks\.(\d+)\.pos_embedding\.embedding\.(.*)",
        r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.\2",
    ),
    (r"blocks\.(\d+)\.norm2\.(.*)", r"encoder.block.\1.layer.1.layer_norm.\2"),
    # Wan's feed-forward is fc1(x) * gelu(gate(x)); transformers' is wi_1(x) * gelu(wi_0(x))
    (r"blocks\.(\d+)\.ffn\.gate\.0\.(.*)", r"encoder.block.\1.layer.1.DenseReluDense.wi_0.\2"),
    (r"blocks\.(\d+)\.ffn\.fc1\.(.*)", r"encoder.block.\1.layer.1.DenseReluDense.wi_1.\2"),
    (r"blocks\.(\d+)\.ffn\.fc2\.(.*)", r"encoder.block.\1.layer.1.DenseReluDense.wo.\2"),
)
"""wan/modules/t5.py -> transformers' UMT5EncoderModel."""

CLIP: Final[Rules] = (
    (r"(?:visual\.)cls_embedding", r"vision_model.embeddings.class_embedding"),
    (r"(?:visual\.)patch_embedding\.(.*)", r"vision_model.embeddings.patch_embedding.\1"),
    (r"(?:visual\.)pos_embedding", r"vision_model.embeddings.position_embedding.weight"),
    (r"(?:visual\.)pre_norm\.(.*)", r"vision_model.pre_layrnorm.\1"),
    (r"(?:visual\.)post_norm\.(.*)", r"vision_model.post_layernorm.\1"),
    (r"(?:visual\.)transformer\.(\d+)\.norm1\.(.*)", r"vision_model.encoder.layers.\1.layer_norm1.\2"),
    (r"(?:visual\.)transformer\.(\d+)\.norm2\.(.*)", r"vision_model.encoder.layers.\1.layer_norm2.\2"),
    (r"(?:visual\.)transformer\.(\d+)\.attn\.to_qkv\.(.*)", r"vision_model.encoder.layers.\1.self_attn.qkv_proj.\2"),
    (r"(?:visual\.)transformer\.(\d+)\.attn\.proj\.(.*)", r"vision_model.encoder.layers.\1.self_attn.out_proj.\2"),
    (r"(?:visual\.)transformer\.(\d+)\.mlp\.0\.(.*)", r"vision_model.encoder.layers.\1.mlp.fc1.\2"),
    (r"(?:visual\.)transformer\.(\d+)\.mlp\.2\.(.*)", r"vision_model.encoder.layers.\1.mlp.fc2.\2"),
)
"""wan/modules/clip.py -> transformers' CLIPVisionModel."""


def renamed(state: Mapping[str, Any], rules: Rules, *, wanted: set[str]) -> dict[str, Any]:
    """The tensors under the names in `wanted`; those of neither spelling and not wanted are left out.

    Raises nothing: a name that stays missing is for the loader to refuse.
    """
    found: dict[str, Any] = {}
    for key, value in state.items():
        name = key if key in wanted else _renamed(key, rules)
        # transformers 5 spells CLIPVisionModel without the prefix of its inner model, 4 with it
        name = next((spelt for spelt in (name, name.removeprefix("vision_model.")) if spelt in wanted), name)
        if ".qkv_proj." in name:
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                spelt = name.replace(".qkv_proj.", f".{part}_proj.")
                found[next((its for its in (spelt, spelt.removeprefix("vision_model.")) if its in wanted), spelt)] = (
                    piece
                )
        elif name in wanted:
            found[name] = value.reshape(value.shape[-2:]) if name.endswith("position_embedding.weight") else value
            if name.endswith("class_embedding"):
                found[name] = value.reshape(-1)
    if "shared.weight" in found and "encoder.embed_tokens.weight" in wanted:
        found.setdefault("encoder.embed_tokens.weight", found["shared.weight"])
    return found


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    return key
