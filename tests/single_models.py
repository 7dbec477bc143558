"""Tiny models as people find them outside of diffusers folders: each part in one file, under its authors' names.

`companions` writes VAE, text and image encoder as Wan's own repository and the tools built on it spell them; `k_quants`
a transformer as the published Q4_K_M files hold it; `install_form` all of a model. The transformer in one file is
`tiny_models.single_file`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
from tiny_house import CARDS, tiny_card_text
from tiny_models import original_name

WIDE = {"attention_head_dim": 128, "ffn_dim": 256}
"""Numbers of a transformer whose rows can be quantised in blocks of 256."""


def install_form(weights: Path, name: str, like: str, *, called: str, form: str = "folder", **changes: str) -> Path:
    """A tiny instance of `name` as the model `called`, with the card of `like`; its folder.

    `form`: `folder` of diffusers; `single` files in original names beside the small files, and nothing of diffusers';
    `gguf` (Q8_0) or `q4_k_m` transformers beside such files. `changes` are the card's.
    """
    folder, numbers = weights / called, WIDE if form == "q4_k_m" else {}
    whole = folder if form == "folder" else weights.parent / f"whole {called}"
    tiny_models.write_model(name, whole, **numbers)
    if form != "folder":
        small_files(whole, folder)
        companions(whole, folder)
        for part, noise in (("transformer", "high"), ("transformer_2", "low")):
            if (whole / part).is_dir():
                write = {"single": tiny_models.single_file, "gguf": tiny_models.gguf_file, "q4_k_m": k_quants}[form]
                ending = "safetensors" if form == "single" else "gguf"
                write(whole, folder / f"wan_{noise}_noise.{ending}", component=part)
        shutil.rmtree(whole)
    if re.search(r"^draft_steps", (CARDS / f"{like}.toml").read_text(), flags=re.M):
        changes = {"draft_steps": "2"} | changes
    text = tiny_card_text(name, like, **changes)
    for field, value in numbers.items():
        text = re.sub(rf"^{field} = .*$", f"{field} = {value}", text, flags=re.M)
    (folder / "card.toml").write_text(text)
    return folder


def small_files(source: Path, target: Path) -> Path:
    """A diffusers folder without weights and without what a card states: what `weights pull --config` brings."""
    for part in ("tokenizer", "vae", "text_encoder", "image_encoder"):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("*.safetensors*"))
    return target


def companions(source: Path, target: Path) -> dict[str, Path]:
    """VAE and encoders of a diffusers folder as single files in original names; their paths by part."""
    from safetensors.torch import load_file, save_file

    made = {}
    for part, file, renamed in (
        ("vae", "some_vae.safetensors", original_vae),
        ("text_encoder", "words_fp16.safetensors", original_umt5),
        ("image_encoder", "vision_h.safetensors", original_clip),
    ):
        found = sorted((source / part).glob("*.safetensors"))
        if found:
            save_file(renamed(load_file(found[0])), target / file)
            made[part] = target / file
    return made


def original_umt5(state: dict[str, Any]) -> dict[str, Any]:
    """wan/modules/t5.py's tensors of a UMT5EncoderModel."""
    return {_umt5(key): value for key, value in state.items()}


def _umt5(key: str) -> str:
    for pattern, name in (
        (r"shared\.weight", "token_embedding.weight"),
        (r"encoder\.final_layer_norm\.weight", "norm.weight"),
        (r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight", r"blocks.\1.norm1.weight"),
        (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.([qkvo])\.weight", r"blocks.\1.attn.\2.weight"),
        (r"encoder\.block\.(\d+)\..*relative_attention_bias\.weight", r"blocks.\1.pos_embedding.embedding.weight"),
        (r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.weight", r"blocks.\1.norm2.weight"),
        (r"encoder\.block\.(\d+)\..*wi_0\.weight", r"blocks.\1.ffn.gate.0.weight"),
        (r"encoder\.block\.(\d+)\..*wi_1\.weight", r"blocks.\1.ffn.fc1.weight"),
        (r"encoder\.block\.(\d+)\..*wo\.weight", r"blocks.\1.ffn.fc2.weight"),
    ):
        if re.fullmatch(pattern, key):
            return re.sub(pattern, name, key)
    raise AssertionError(key)


def original_clip(state: dict[str, Any]) -> dict[str, Any]:
    """wan/modules/clip.py's tensors of a CLIPVisionModel: query, key and value in one, a text tower beside."""
    import torch

    made: dict[str, Any] = {"textual.log_scale": torch.zeros(1)}
    for key, value in state.items():
        key = key.removeprefix("vision_model.")
        if ".self_attn." in key and "out_proj" not in key:
            if ".q_proj." in key:
                joint = [
                    state[next(its for its in state if its.endswith(key.replace("q_proj", f"{x}_proj")))] for x in "qkv"
                ]
                number, kind = re.search(r"layers\.(\d+)\..*\.(\w+)$", key).groups()  # type: ignore[union-attr]
                made[f"visual.transformer.{number}.attn.to_qkv.{kind}"] = torch.cat(joint)
            continue
        for ours, theirs in (
            ("embeddings.class_embedding", "cls_embedding"),
            ("embeddings.patch_embedding", "patch_embedding"),
            ("embeddings.position_embedding.weight", "pos_embedding"),
            ("pre_layrnorm", "pre_norm"),
            ("post_layernorm", "post_norm"),
            ("encoder.layers", "transformer"),
            ("layer_norm", "norm"),
            ("self_attn.out_proj", "attn.proj"),
            ("mlp.fc1", "mlp.0"),
            ("mlp.fc2", "mlp.2"),
        ):
            key = key.replace(ours, theirs)
        shaped = value[None] if key == "pos_embedding" else value.view(1, 1, -1) if key == "cls_embedding" else value
        made[f"visual.{key}"] = shaped.contiguous()
    return made


_LEAVES = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}


def original_vae(state: dict[str, Any], *, residual_blocks: int = 1) -> dict[str, Any]:
    """wan/modules/vae.py's tensors of an AutoencoderKLWan, or vae2_2.py's, which nests its blocks."""
    nested = any(".downsampler." in key for key in state)
    return {_vae(key, residual_blocks, nested): value.contiguous() for key, value in state.items()}


def _vae(key: str, residual_blocks: int, nested: bool) -> str:
    if found := re.fullmatch(r"(post_)?quant_conv\.(\w+)", key):
        return f"conv{2 if found[1] else 1}.{found[2]}"
    side, layer, rest = key.split(".", 2)
    if layer in ("conv_in", "norm_out", "conv_out"):
        return f"{side}.{ {'conv_in': 'conv1', 'norm_out': 'head.0', 'conv_out': 'head.2'}[layer] }.{rest}"
    if layer == "mid_block":
        kind, at, rest = rest.split(".", 2)
        return f"{side}.middle.{1 if kind == 'attentions' else 2 * int(at)}.{_leaf(rest)}"
    step, rest = rest.split(".", 1)
    deep = residual_blocks + (side == "decoder")  # residual blocks of a step
    layers = f"{side}.{'downsamples' if side == 'encoder' else 'upsamples'}"
    if rest.startswith("resnets."):
        _, at, rest = rest.split(".", 2)
    elif rest.startswith(("upsampler", "downsampler")):
        at, rest = str(deep), re.sub(r"^\w+\.(0\.)?", "", rest)
    else:
        return f"{layers}.{step}.{_leaf(rest)}"  # the encoder of Wan2.1, counted through by diffusers too
    inner = f".{layers.split('.')[1]}.{at}" if nested else ""
    return f"{layers}.{step if nested else int(step) * (deep + 1) + int(at)}{inner}.{_leaf(rest)}"


def _leaf(rest: str) -> str:
    name, _, more = rest.partition(".")
    return f"{_LEAVES.get(name, {'conv_shortcut': 'shortcut'}.get(name, name))}.{more}"


def k_quants(source: Path, target: Path, *, component: str = "transformer") -> Path:
    """A transformer as Q4_K_M: matrices in Q4_K, values and the last of each block in Q6_K, scales in Q8_0, the rest in
    32 bits.

    Rows must be multiples of 256. The quantisation is plain rounding: valid blocks, not the best ones.
    """
    import gguf
    from safetensors.torch import load_file

    writer = gguf.GGUFWriter(target, "wan")
    for key, value in load_file(next((source / component).glob("*.safetensors"))).items():
        name, array = original_name(key), value.float().numpy()
        if array.ndim == 2 and "blocks." in name and array.shape[1] % 256 == 0:
            fine = name.endswith((".v.weight", ".ffn.2.weight"))
            kind = gguf.GGMLQuantizationType.Q6_K if fine else gguf.GGMLQuantizationType.Q4_K
            writer.add_tensor(name, (_q6_k if fine else _q4_k)(array), raw_dtype=kind)
        elif name.endswith(".modulation"):  # no matrix: loaders must widen it
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _q4_k(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Blocks of 256: two halves, 8 scales and 8 minima of 6 bits in 12 bytes, 256 numbers of 4 bits."""
    groups = array.reshape(-1, 8, 32)
    low = np.maximum(-groups.min(-1), 0)
    scale = (groups.max(-1) + low) / 15
    d, dmin = (side.max(-1, keepdims=True).astype(np.float16) / 63 for side in (scale, low))
    d, dmin = d.astype(np.float16), dmin.astype(np.float16)
    sixths = [
        np.clip(np.round(side / np.maximum(by.astype(np.float32), 1e-9)), 0, 63).astype(np.uint8)
        for side, by in ((scale, d), (low, dmin))
    ]
    step = np.maximum(d.astype(np.float32) * sixths[0], 1e-9)[..., None]
    floor = (dmin.astype(np.float32) * sixths[1])[..., None]
    numbers = np.clip(np.round((groups + floor) / step), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    s, m = sixths
    packed = np.concatenate(
        [
            s[:, :4] | (s[:, 4:] >> 4 << 6),
            m[:, :4] | (m[:, 4:] >> 4 << 6),
            (s[:, 4:] & 15) | ((m[:, 4:] & 15) << 4),
        ],
        axis=1,
    )
    nibbles = (numbers[:, :, 0] | numbers[:, :, 1] << 4).reshape(-1, 128)
    blocks = np.concatenate([d.view(np.uint8), dmin.view(np.uint8), packed, nibbles], axis=1)
    return blocks.reshape(array.shape[0], -1)


def _q6_k(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Blocks of 256: low 4 bits, high 2 bits, 16 scales of 8 bits, one half."""
    groups = array.reshape(-1, 16, 16)
    scale = np.abs(groups).max(-1) / 31
    d = (scale.max(-1, keepdims=True) / 127).astype(np.float16)
    eighths = np.clip(np.round(scale / np.maximum(d.astype(np.float32), 1e-9)), 1, 127).astype(np.int8)
    step = np.maximum(d.astype(np.float32) * eighths, 1e-9)[..., None]
    numbers = (np.clip(np.round(groups / step), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = numbers & 15, numbers >> 4
    nibbles = np.stack([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], axis=2)
    pairs = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    blocks = np.concatenate(
        [nibbles.reshape(-1, 128), pairs.reshape(-1, 64), eighths.view(np.uint8), d.view(np.uint8)], axis=1
    )
    return blocks.reshape(array.shape[0], -1)
