"""What benchmarks/generation.py measures on: true architectures with random weights, made on the device.

Knows: the cards' numbers, how a transformer, a VAE and their inputs are made up so that activations stay finite. Does
not know: time, profiles, budgets, results. Memory: one transformer (14B in bfloat16: 33 GB), the VAE in 32 bits (0.5
GB) and one window's inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

import torch

from models.cards import Card, card
from models.conditions import Given, Words
from models.kernels import NATIVE
from models.memory import tokens
from models.single_files import empty_model, kept_precise

SEED: Final = 20261
SIZES: Final = {"480p": (832, 480), "720p": (1280, 720)}
TINY_SIZES: Final = {"480p": (64, 32), "720p": (160, 96)}
FRAMES: Final = {"14b": 81, "1.3b": 81, "tiny": 17}
CARDS: Final = {
    ("14b", "480p"): "wan2.1-i2v-14b-480p",
    ("14b", "720p"): "wan2.1-i2v-14b-720p",
    ("1.3b", "480p"): "wan2.1-t2v-1.3b",
    ("1.3b", "720p"): "wan2.1-t2v-1.3b",
    ("tiny", "480p"): "wan2.1-i2v-14b-480p",
    ("tiny", "720p"): "wan2.1-i2v-14b-720p",
}
"""Whose architecture, shift, steps, guidance and step ratios are taken."""
TINY: Final[Mapping[str, Any]] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "text_dim": 64,
    "ffn_dim": 256,
    "num_layers": 4,
    "image_dim": 64,
    "added_kv_proj_dim": 128,
}
"""The 14B architecture, narrow and shallow."""
TINY_VAE: Final[Mapping[str, Any]] = {"base_dim": 8, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1}
VIEWS: Final = 257
"""Tokens of CLIP's view of a still."""
WORDS_USED: Final = 80
"""Tokens of a prompt; the embeddings of the padding behind them are 0, as Wan's are."""
HEAD: Final = 5
"""Latent frames that are decoded to compare pixels: 17 frames. The VAE is causal: they are those of the whole clip."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A model at a size on a device."""

    model: str
    """`14b`, `1.3b` or `tiny`."""
    size: str
    """`480p` or `720p`; for the tiny model names of two tiny sizes."""
    card: Card
    """Its numbers are those of what is built."""
    width: int
    """Pixels."""
    height: int
    frames: int
    device: str
    """`cuda` or `cpu`."""

    @classmethod
    def of(cls, model: str, size: str, device: str) -> Stage:
        """By its names."""
        found = card(CARDS[model, size])
        if model == "tiny":
            found = replace(found, transformer=dict(found.transformer) | TINY)
        width, height = (TINY_SIZES if model == "tiny" else SIZES)[size]
        return cls(model, size, found, width, height, FRAMES[model], device)

    @property
    def dtype(self) -> Any:
        """Of the transformer: bfloat16, on the CPU float32."""
        return torch.float32 if self.device == "cpu" else torch.bfloat16

    @property
    def sees(self) -> bool:
        """Whether it animates a still."""
        return self.card.pipeline == "WanImageToVideoPipeline"

    @property
    def given(self) -> Given:
        """The window's size; its pictures are made up as latents."""
        return Given(None, None, self.frames, self.height, self.width)

    @property
    def tokens(self) -> int:
        """Tokens of the transformer."""
        return tokens(self.card, width=self.width, height=self.height, frames=self.frames)

    @property
    def fp8(self) -> bool:
        """Whether the device multiplies 8-bit floats; the CPU does, slowly."""
        return self.device == "cpu" or torch.cuda.get_device_capability() >= (8, 9)


def build_transformer(stage: Stage) -> Any:
    """The transformer, made on the device: the same weights at every call.

    Matrices and convolutions are normal with a deviation of 1/sqrt(inputs), so that a layer keeps the size of what it
    is given; norms are 1, biases 0. Parameters that diffusers keeps in 32 bits are in 32 bits.
    """
    import diffusers

    model = empty_model(diffusers.WanTransformer3DModel, dict(stage.card.transformer))
    random = torch.Generator(stage.device).manual_seed(SEED)
    for name, empty in list(model.named_parameters()):
        dtype = torch.float32 if kept_precise(model, name) else stage.dtype
        value = torch.empty(empty.shape, dtype=dtype, device=stage.device)
        if value.ndim > 1:
            value.normal_(0.0, value[0].numel() ** -0.5, generator=random)
        else:
            value.fill_(1.0 if name.endswith("weight") else 0.0)
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner)._parameters[leaf] = torch.nn.Parameter(value, requires_grad=False)
    for name, table in list(model.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner)._buffers[leaf] = table.to(stage.device)
    return model.eval()


def build_vae(stage: Stage) -> Any:
    """The VAE in 32 bits, as the engine runs it, with the weights that torch begins with."""
    import diffusers

    torch.manual_seed(SEED)
    with torch.device(stage.device):
        vae = diffusers.AutoencoderKLWan(**(TINY_VAE if stage.model == "tiny" else {}))
    return vae.to(stage.device).eval().requires_grad_(False)


def build_pipeline(stage: Stage, vae: Any) -> Any:
    """The stock pipeline around a new transformer. It has no text encoder: embeddings are made up.

    diffusers keeps the last attention kernel that was chosen for the whole process, so its default is chosen here.
    """
    import diffusers

    transformer = build_transformer(stage)
    transformer.set_attention_backend(NATIVE)
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=float(stage.card.shift)
    )
    cls = getattr(diffusers, stage.card.pipeline)
    pipe = cls(tokenizer=None, text_encoder=None, vae=vae, scheduler=scheduler, transformer=transformer)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise(stage: Stage) -> Any:
    """The latents that every way begins with, drawn on the CPU as the engine draws them."""
    vae = SimpleNamespace(temporal=stage.card.temporal_stride, side=stage.card.spatial_stride)
    times = (stage.frames - 1) // vae.temporal + 1
    shape = (1, stage.card.latent_channels, times, stage.height // vae.side, stage.width // vae.side)
    return torch.randn(shape, generator=window_random(), dtype=torch.float32).to(stage.device)


def window_random() -> Any:
    """The window's own generator, at its start."""
    return torch.Generator("cpu").manual_seed(SEED + 1)


def words(stage: Stage) -> Words:
    """Made-up embeddings of a prompt and a negative prompt."""
    random = torch.Generator("cpu").manual_seed(SEED + 2)
    texts = 0.3 * torch.randn(2, 512, int(stage.card.transformer["text_dim"]), generator=random)  # type: ignore[arg-type]
    texts[:, WORDS_USED:] = 0
    texts = texts.to(stage.device, stage.dtype)
    return Words(texts[:1], texts[1:], stage.card.guidance, stage.card.guidance)


def condition(stage: Stage) -> dict[str, Any]:
    """Made-up condition of a first frame: its mask, latents and CLIP's view of it; nothing for words alone."""
    if not stage.sees:
        return {}
    random = torch.Generator("cpu").manual_seed(SEED + 3)
    latents = noise(stage)
    mask = torch.zeros(1, stage.card.temporal_stride, *latents.shape[2:])
    mask[:, :, 0] = 1
    known = torch.randn(latents.shape, generator=random)
    view = torch.randn(1, VIEWS, int(stage.card.transformer["image_dim"]), generator=random)  # type: ignore[arg-type]
    beside = torch.cat([mask, known], dim=1)
    return {"condition": beside.to(stage.device), "image": view.to(stage.device)}


def head_pixels(vae: Any, latents: Any) -> Any:
    """(1, 3, 17, height, width) in 0..1: the first frames of a clip, decoded on the VAE's device."""
    view = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean, device=vae.device).view(view)
    deviation = torch.tensor(vae.config.latents_std, device=vae.device).view(view)
    with torch.no_grad():
        video = vae.decode(latents[:, :, :HEAD].to(vae.device, vae.dtype) * deviation + mean, return_dict=False)[0]
    return video.clamp_(-1, 1).add_(1).div_(2)


def psnr(made: Any, wanted: Any, *, peak: float) -> float:
    """In dB, at most 99; NaN for values that are not finite."""
    error = float((made.double() - wanted.double()).pow(2).mean()) / peak**2
    return 99.0 if error == 0 else min(99.0, -10 * float(torch.log10(torch.tensor(error, dtype=torch.float64))))
