"""Names that the authors' own files use, translated to those of diffusers and transformers.

Knows: the key spellings of Wan's UMT5, of its OpenCLIP ViT-H, of both its VAEs, of its transformer. Does not know:
files, configs. Memory: none of its own; a joint query-key-value matrix becomes three parts of one piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from models.tensor_files import Piece

Rules = tuple[tuple[str, str], ...]
"""(pattern, replacement) for re.sub, the first that matches the whole key wins."""

PREFIXES: Final = ("model.diffusion_model.", "diffusion_model.")
"""What tools that save whole checkpoints put before the transformer's names."""

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

_LEAVES: Final = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_VAE: Final[Rules] = (
    (r"conv1\.(.*)", r"quant_conv.\1"),
    (r"conv2\.(.*)", r"post_quant_conv.\1"),
    (r"(encoder|decoder)\.conv1\.(.*)", r"\1.conv_in.\2"),
    (r"(encoder|decoder)\.head\.0\.(.*)", r"\1.norm_out.\2"),
    (r"(encoder|decoder)\.head\.2\.(.*)", r"\1.conv_out.\2"),
    (r"(encoder|decoder)\.middle\.0\.(.*)", r"\1.mid_block.resnets.0.\2"),
    (r"(encoder|decoder)\.middle\.1\.(.*)", r"\1.mid_block.attentions.0.\2"),
    (r"(encoder|decoder)\.middle\.2\.(.*)", r"\1.mid_block.resnets.1.\2"),
    # Wan2.2's nests its blocks, vae2_2.py; Wan2.1's counts them through, vae.py
    (
        r"encoder\.downsamples\.(\d+)\.downsamples\.\d+\.(resample|time_conv)\.(.*)",
        r"encoder.down_blocks.\1.downsampler.\2.\3",
    ),
    (r"encoder\.downsamples\.(\d+)\.downsamples\.(\d+)\.(.*)", r"encoder.down_blocks.\1.resnets.\2.\3"),
    (r"encoder\.downsamples\.(\d+)\.(.*)", r"encoder.down_blocks.\1.\2"),
    (r"decoder\.upsamples\.(\d+)\.upsamples\.\d+\.(resample|time_conv)\.(.*)", r"decoder.up_blocks.\1.upsampler.\2.\3"),
    (r"decoder\.upsamples\.(\d+)\.upsamples\.(\d+)\.(.*)", r"decoder.up_blocks.\1.resnets.\2.\3"),
)


def transformer_names(found: Mapping[str, Piece]) -> dict[str, Piece]:
    """A Wan transformer's pieces under diffusers' names; one in these names already stays as it is."""
    plain = {_without_prefix(key): piece for key, piece in found.items()}
    if not any(key.startswith(("time_embedding.", "head.head.", "img_emb.")) for key in plain):
        return plain
    diffusers: Any = import_module("diffusers.loaders.single_file_utils")
    converted: dict[str, Piece] = diffusers.convert_wan_transformer_to_diffusers(plain)
    if "img_emb.emb_pos" in converted:  # diffusers' own conversion does not know the first-last-frame embedding
        converted["condition_embedder.image_embedder.pos_embed"] = converted.pop("img_emb.emb_pos")
    return converted


def _without_prefix(key: str) -> str:
    for prefix in PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


def vae_names(found: Mapping[str, Piece], *, wanted: set[str], residual_blocks: int) -> dict[str, Piece]:
    """A Wan VAE's pieces under the names in `wanted`. `residual_blocks` is the config's `num_res_blocks`."""
    return _renamed_all(found, partial(_vae_name, residual_blocks=residual_blocks), wanted)


def encoder_names(found: Mapping[str, Piece], rules: Rules, *, wanted: set[str]) -> dict[str, Piece]:
    """An encoder's pieces under the names in `wanted`; those of neither spelling and not wanted are left out."""
    return _renamed_all(found, partial(_by_rules, rules=rules), wanted)


def _renamed_all(found: Mapping[str, Piece], name_of: Callable[[str], str], wanted: set[str]) -> dict[str, Piece]:
    """Raises nothing: a name that stays missing is for the loader to refuse."""
    made: dict[str, Piece] = {}
    for key, piece in found.items():
        name = _spelt(key if key in wanted else name_of(key), wanted)
        if name in wanted:
            made[name] = piece
        elif ".qkv_proj." in name:
            for at, part in enumerate("qkv"):
                made[_spelt(name.replace(".qkv_proj.", f".{part}_proj."), wanted)] = piece.part(at, 3)
    tied = ("shared.weight", "encoder.embed_tokens.weight")  # one table under two names
    for name, other in (tied, tied[::-1]):
        if name in wanted and name not in made and other in made:
            made[name] = made[other]
    return made


def _spelt(name: str, wanted: set[str]) -> str:
    """transformers 5 spells CLIPVisionModel without the prefix of its inner model, 4 with it."""
    return next((spelt for spelt in (name, name.removeprefix("vision_model.")) if spelt in wanted), name)


def _by_rules(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    return key


def _vae_name(key: str, residual_blocks: int) -> str:
    name = _by_rules(key, _VAE)
    if flat := re.fullmatch(r"decoder\.upsamples\.(\d+)\.(.*)", name):
        # per step: one residual block more than in the encoder, then the layer that enlarges
        step, at = divmod(int(flat[1]), residual_blocks + 2)
        enlarging = flat[2].startswith(("resample.", "time_conv."))
        name = f"decoder.up_blocks.{step}.{'upsamplers.0' if enlarging else f'resnets.{at}'}.{flat[2]}"
    for theirs, ours in _LEAVES.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name
