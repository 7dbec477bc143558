"""Tiny models with random weights: every architecture the engine loads, a megabyte each, the same every time.

Each folder is what `save_pretrained` of the real pipeline writes; `single_file` and `gguf_file` rewrite a transformer
the way the published single files hold it (original key names).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

TEXT: Final = 32
"""Width of the text encoder."""
WORDS: Final = (
    "<pad>",
    "</s>",
    "<unk>",
    "a",
    "slow",
    "move",
    "over",
    "the",
    "sea",
    "at",
    "dawn",
    "grey",
    "noise",
    "red",
)
WAN: Final[dict[str, Any]] = {
    "patch_size": [1, 2, 2],
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": TEXT,
    "freq_dim": 64,
    "ffn_dim": 64,
    "num_layers": 2,
    "rope_max_seq_len": 64,
}
SEES: Final[dict[str, Any]] = {"in_channels": 36, "image_dim": 32, "added_kv_proj_dim": 32}
"""What a Wan2.1 image-to-video transformer has beside: mask and condition channels, CLIP of the still."""
ARCHITECTURES: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "wan2.1-i2v": ("WanImageToVideoPipeline", WAN | SEES),
    "wan2.1-flf2v": ("WanImageToVideoPipeline", WAN | SEES | {"pos_embed_seq_len": 10}),
    "wan2.1-fun-inp": ("WanImageToVideoPipeline", WAN | SEES | {"num_attention_heads": 4, "attention_head_dim": 8}),
    "wan2.2-i2v-a14b": ("WanImageToVideoPipeline", WAN | {"in_channels": 36}),
    "wan2.2-ti2v-5b": ("WanImageToVideoPipeline", WAN | {"in_channels": 48, "out_channels": 48}),
    "wan2.1-t2v": ("WanPipeline", WAN),
    "wan2.2-t2v-a14b": ("WanPipeline", WAN),
    "wan2.1-vace": ("WanVACEPipeline", WAN | {"vace_layers": [0, 1], "vace_in_channels": 96}),
    "cogvideox-i2v": (
        "CogVideoXImageToVideoPipeline",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "in_channels": 32,
            "out_channels": 16,
            "time_embed_dim": 16,
            "text_embed_dim": TEXT,
            "num_layers": 2,
            "sample_width": 8,  # learned positions: 64x32 pixels and no other size, as the real one
            "sample_height": 4,
            "sample_frames": 9,
            "max_text_seq_length": 16,
            "use_rotary_positional_embeddings": True,
            "use_learned_positional_embeddings": True,
        },
    ),
}
"""Pipeline and transformer numbers by the short name of the model whose shape they have."""
TWO_EXPERTS: Final = ("wan2.2-i2v-a14b", "wan2.2-t2v-a14b")
BOUNDARY: Final = 0.9


def write_model(name: str, folder: Path, **changes: Any) -> Path:
    """The tiny instance of `name` (a key of ARCHITECTURES) as a diffusers folder; `changes` are the transformer's."""
    import diffusers
    import torch

    pipeline, numbers = ARCHITECTURES[name]
    numbers = numbers | changes
    parts: dict[str, Any] = {"tokenizer": _tokenizer(), "text_encoder": _text_encoder(pipeline)}
    if pipeline.startswith("CogVideoX"):
        torch.manual_seed(11)
        parts["vae"] = diffusers.AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2, latent_channels=16
        )
        torch.manual_seed(12)
        parts["transformer"] = diffusers.CogVideoXTransformer3DModel(**numbers)
        parts["scheduler"] = diffusers.CogVideoXDPMScheduler(
            prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
        )
    else:
        cls = getattr(diffusers, "WanVACETransformer3DModel" if "vace" in name else "WanTransformer3DModel")
        parts["vae"] = wan_vae(wide=name == "wan2.2-ti2v-5b")
        torch.manual_seed(12)
        parts["transformer"] = cls(**numbers)
        parts["scheduler"] = diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        )
        if name in TWO_EXPERTS:
            torch.manual_seed(13)
            parts |= {"transformer_2": cls(**numbers), "boundary_ratio": BOUNDARY}
        if name == "wan2.2-ti2v-5b":
            parts["expand_timesteps"] = True
        if "image_dim" in numbers:
            parts |= _image_encoder()
    getattr(diffusers, pipeline)(**parts).save_pretrained(folder)
    return folder


def single_file(folder: Path, target: Path, *, component: str = "transformer", dtype: str = "float16") -> Path:
    """The transformer of a diffusers folder as one .safetensors in the original key names."""
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(next((folder / component).glob("*.safetensors")))
    renamed = {original_name(key): value.to(getattr(torch, dtype)).contiguous() for key, value in state.items()}
    save_file(renamed, target)
    return target


def gguf_file(folder: Path, target: Path, *, component: str = "transformer") -> Path:
    """The transformer as GGUF: matrices in Q8_0, the rest in 32 bits, as published quantisations hold them."""
    import gguf
    from safetensors.torch import load_file

    state = load_file(next((folder / component).glob("*.safetensors")))
    writer = gguf.GGUFWriter(target, "wan")
    for key, value in state.items():
        name, array = original_name(key), value.float().numpy()
        if array.ndim == 2 and "blocks." in name and array.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def lora_file(folder: Path, target: Path, *, seed: int = 1, strength: float = 1.0) -> Path:
    """A LoRA of rank 4 for the attention of every block, in the names that trainers of Wan write."""
    import torch
    from safetensors.torch import load_file, save_file

    random = torch.Generator().manual_seed(seed)
    state = load_file(next((folder / "transformer").glob("*.safetensors")))
    made = {}
    for key, value in state.items():
        if re.fullmatch(r"blocks\.\d+\.attn\d\.to_[qkv]\.weight", key):
            name = "diffusion_model." + original_name(key).removesuffix(".weight")
            made[f"{name}.lora_A.weight"] = torch.randn(4, value.shape[1], generator=random) * strength
            made[f"{name}.lora_B.weight"] = torch.randn(value.shape[0], 4, generator=random) * strength
    save_file(made, target)
    return target


def original_name(key: str) -> str:
    """The name that Wan's own code gives a parameter of WanTransformer3DModel."""
    if key.startswith("condition_embedder.image_embedder."):
        part = key.removeprefix("condition_embedder.image_embedder.")
        names = {"norm1": "proj.0", "ff.net.0.proj": "proj.1", "ff.net.2": "proj.3", "norm2": "proj.4"}
        names |= {"pos_embed": "emb_pos"}
        found = next(name for name in names if part.startswith(name))
        return "img_emb." + names[found] + part.removeprefix(found)
    if key.startswith("proj_out"):
        return "head.head" + key.removeprefix("proj_out")
    if key == "scale_shift_table":
        return "head.modulation"
    for ours, theirs in (
        ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
        ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
        ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
        ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
        ("condition_embedder.time_proj", "time_projection.1"),
        ("attn1", "self_attn"),
        ("attn2", "cross_attn"),
        (".to_out.0.", ".o."),
        (".to_q.", ".q."),
        (".to_k.", ".k."),
        (".to_v.", ".v."),
        (".add_k_proj.", ".k_img."),
        (".add_v_proj.", ".v_img."),
        (".norm_added_k.", ".norm_k_img."),
        ("scale_shift_table", "modulation"),
        ("ffn.net.0.proj", "ffn.0"),
        ("ffn.net.2", "ffn.2"),
        ("norm2", "norm__"),
        ("norm3", "norm2"),
        ("norm__", "norm3"),
        (".proj_in.", ".before_proj."),
        (".proj_out.", ".after_proj."),
    ):
        key = key.replace(ours, theirs)
    return key


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _text_encoder(pipeline: str) -> Any:
    import torch
    import transformers

    numbers = {"d_model": TEXT, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": len(WORDS)}
    torch.manual_seed(14)
    if pipeline.startswith("CogVideoX"):
        return transformers.T5EncoderModel(transformers.T5Config(**numbers, feed_forward_proj="gated-gelu")).eval()
    return transformers.UMT5EncoderModel(transformers.UMT5Config(**numbers)).eval()


def _image_encoder() -> dict[str, Any]:
    import torch
    import transformers

    torch.manual_seed(15)
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=16
    )
    size = {"height": 32, "width": 32}
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    return {"image_encoder": transformers.CLIPVisionModel(config).eval(), "image_processor": processor}


def wan_vae(*, wide: bool) -> Any:
    """Of Wan2.1 in small, or of Wan2.2 (`wide`)."""
    import diffusers
    import torch

    torch.manual_seed(11)
    if not wide:
        return diffusers.AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()
    return diffusers.AutoencoderKLWan(  # the shape of Wan2.2's: patches of two, residual, sixteen pixels to a latent
        base_dim=4,
        decoder_base_dim=4,
        z_dim=48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    ).eval()


def numbers_of(folder: Path, component: str = "transformer") -> dict[str, Any]:
    """A component's numbers as saved, without diffusers' own entries: what a card would state."""
    config = json.loads((folder / component / "config.json").read_text(encoding="utf-8"))
    return {key: value for key, value in config.items() if not key.startswith("_")}
