"""How much memory a window takes when it is run in a given way. Pure: card, size and way in, bytes out.

Knows: the parts of a video model, and what of each is on the device at which moment.
Does not know: torch, files, what is free, which way is best (`ladder`). Memory: none worth naming.

One window has three phases, and needs what the hungriest takes: encoding the prompts, denoising, decoding. Loading is
a fourth where the weights are made narrower on the device.
All sizes are bytes; texts give GB = 10^9 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from models.cards import Card
from models.profiles import Profile

GB: Final = 10**9
RESERVE: Final = 1_000_000_000
"""Device context (about 0.5 GB), kernels' workspaces, gaps between blocks; estimated."""
INTERPRETER: Final = 3_000_000_000
"""Host memory of the process itself with its libraries loaded; estimated."""
PINNED: Final = 1.5
"""Pinned bytes over a layer's own: torch's allocator rounds each to a power of two (CachingHostAllocator.h), which
makes 49.1 GB of the 32.8 GB of Wan2.1 I2V 14B; counted."""
HOST_SLACK: Final = 1.15
"""Host memory while a file is loaded, over the file's size: the bound that loading is held to."""
TILED_OUTPUTS: Final = 4.7
"""Copies of the output alive while tiles are put together: counted in diffusers 0.42.1, either Wan VAE."""

_GGUF_BITS: Final[Mapping[str, float]] = MappingProxyType(
    {"F16": 16.2, "BF16": 16.2, "Q8_0": 8.7, "Q5_K_M": 6.1, "Q4_K_M": 5.6, "Q4_K_S": 5.1, "Q4_1": 5.5, "Q4_0": 5.0}
    | {"Q3_K_M": 4.2, "Q3_K_S": 3.9}
)
"""Bits per parameter: published file sizes of Wan2.1 I2V 14B (16.4) and Wan2.2 A14B (14.3), rounded up."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a machine has to run a model with."""

    kind: str
    """`cuda`, `mps` or `cpu`."""
    free_vram: int
    """Graphics memory that nobody uses now, bytes; 0 on a CPU."""
    total_vram: int
    """All of it, bytes."""
    free_ram: int
    """System memory available without swapping, bytes."""
    bf16: bool = True
    """Whether it computes in bfloat16."""
    fp8: bool = False
    """Whether it can hold 8-bit floats, widen them and multiply them."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run a model. Precision, offload and tiling change pixels or time, never size or length."""

    name: str
    """As logs and manifests write it, such as `fp8`."""
    dtype: str
    """Of transformer and text encoder: `bfloat16`, `float16`, `float32`. The VAE is always float32."""
    offload: str = "none"
    """`none`; `model`: one part on the device at a time; `group`: the transformer's layers one after another."""
    text: str = "dropped"
    """Text encoder: `resident`; `dropped` after the prompts are encoded; `cpu`: never on the device."""
    tiling: bool = False
    """Whether the VAE works in tiles."""
    fp8: bool = False
    """Whether the transformer is stored in 8 bits and widened layer by layer."""
    quantised: str = ""
    """GGUF type of the transformer's file, such as `Q4_K_M`; empty for none."""
    fallen: int = 0
    """Rungs taken since the one that was chosen."""
    lower: Rung | None = field(default=None, compare=False, repr=False)
    """The next thriftier way for the same window; None at the end."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one window takes at its peak."""

    vram: int
    """Bytes on the device."""
    ram: int
    """Bytes of system memory."""
    phase: str
    """Which phase is the device's peak: `loading`, `prompts`, `denoising` or `decoding`."""
    parts: Mapping[str, int] = field(hash=False)
    """What the device's peak is made of, bytes by name; they add up to `vram`."""


def tokens(card: Card, *, width: int, height: int, frames: int) -> int:
    """Tokens of the transformer: the window's latents (the first frame has one of its own) over the patch's area."""
    patch = card.transformer.get("patch_size", 1)
    across, down = (patch[-1], patch[-2]) if isinstance(patch, tuple) else (patch, patch)
    times = -(-(frames - 1) // card.temporal_stride) + 1
    stride = card.spatial_stride
    return times * -(-width // (stride * across)) * -(-height // (stride * down))


def multiplied(card: Card) -> int:
    """Parameters of one transformer that 8-bit multiplication narrows: attention and feed-forward of every block.

    Wan's blocks have two attentions and project the still's views for the second; CogVideoX's have one, and
    feed-forwards four times as wide.
    """
    numbers, width = card.transformer, card.width
    layers, ffn, added = (numbers.get(key) for key in ("num_layers", "ffn_dim", "added_kv_proj_dim"))
    hints = numbers.get("vace_layers", ())
    count = (layers if isinstance(layers, int) else 0) + (len(hints) if isinstance(hints, tuple) else 0)
    square = 4 if card.pipeline.startswith("CogVideoX") else 8
    wide = ffn if isinstance(ffn, int) else 4 * width
    return count * width * (square * width + 2 * wide + 2 * (added if isinstance(added, int) else 0))


def multiplies_fp8(rung: Rung, profile: Profile | None) -> bool:
    """Whether the transformer's matrices are kept in 8 bits because they are multiplied so.

    Weights that are stored in another narrow form, or that come layer by layer, stay as they are (`kernels.tune`).
    """
    asked = profile is not None and profile.fp8_matmul
    return asked and not rung.fp8 and not rung.quantised and rung.offload != "group"


def weight_bytes(card: Card, rung: Rung, profile: Profile | None = None) -> int:
    """One transformer as it is stored on the device: parameters times bits.

    fp8: layerwise casting leaves norms and embeddings in 16 bits, about 2 % (diffusers' skip patterns); 8-bit
    multiplication also leaves all that is not attention or feed-forward.
    """
    wide = 4.0 if rung.dtype == "float32" else 2.0
    if multiplies_fp8(rung, profile):
        return int(card.parameters * GB * wide - multiplied(card) * (wide - 1))
    each = 1.04 if rung.fp8 else gguf_bits(rung.quantised) / 8 if rung.quantised else wide
    return int(card.parameters * GB * each)


def gguf_bits(kind: str) -> float:
    """Bits per parameter of a GGUF type. An unlisted one: its digit and 1.6 more, which no listed type exceeds.

    Raises ValueError for a name that is no type.
    """
    if kind.upper() in _GGUF_BITS:
        return _GGUF_BITS[kind.upper()]
    if not (match := re.match(r"I?Q(\d)_", kind.upper())):
        raise ValueError(f"{kind!r} is no GGUF type; name one such as Q4_K_M or Q8_0")
    return int(match[1]) + 1.6


def predict(card: Card, *, width: int, height: int, frames: int, rung: Rung, profile: Profile | None = None) -> Need:
    """Peak memory of one window, predicted; without a profile as diffusers runs it by itself.

    Denoising: stored weights, one layer widened, `activation_bytes` x tokens x width (counted for the card's own
    architecture with attention that keeps no square matrix), latents in 32 bits. Decoding: `vae_bytes` x pixels and the
    output in 32 bits; in tiles `vae_bytes` x `vae_tile` and the tiles made so far, or TILED_OUTPUTS outputs. A window
    that goes on in another's stream decodes latents of that one too, but keeps none of their frames, and so takes no
    more. A step cache keeps two residuals of tokens x width, one a branch of the guidance. For 8-bit multiplication the
    weights arrive in 16 bits and are narrowed where they lie: loading has a peak of its own. A model without these
    numbers needs none. Against published peaks: Wan2.1 I2V 14B, 81 frames of 720p, weights in 32 bits:
    76.7 GB (H100, text encoder offloaded); T2V 1.3B at 480p: 8.19 GB (RTX 4090).
    """
    pixels = width * height
    count = tokens(card, width=width, height=height, frames=frames)
    stored, wide = weight_bytes(card, rung, profile), 4 if rung.dtype == "float32" else 2
    read = stored if rung.quantised else int(card.parameters * GB * wide)
    ffn = card.transformer.get("ffn_dim", 4 * card.width)
    leaf = card.width * (ffn if isinstance(ffn, int) else 0) * wide
    text, eyes, vae = int(card.text_encoder * GB * wide), int(card.image_encoder * GB * 4), int(card.vae * GB * 4)
    output = 3 * 4 * pixels * frames
    per_token = 4 * 4 * card.latent_channels * 4  # four latents per token; sample, condition, two predictions; 4 bytes
    activations = int(card.activation_bytes * wide / 2 * count * card.width)
    tiled = max(card.vae_bytes * card.vae_tile + 2 * output, TILED_OUTPUTS * output)
    whole = card.vae_bytes * pixels + output
    decode = int(min(tiled, whole) if rung.tiling else whole) if card.vae_bytes else 0
    places = {
        "none": {"transformer": stored * card.experts, "image encoder": eyes, "vae": vae},
        "model": {"transformer": stored},
        "group": {"transformer": min(stored, 3 * leaf), "image encoder": eyes, "vae": vae},  # one used, two on the way
    }
    on_device = places[rung.offload]
    keeps = {"text encoder": text} if rung.text == "resident" else {}
    widened = {"widened layer": leaf} if rung.fp8 or rung.quantised else {}
    cached = profile is not None and profile.step_cache and bool(card.mag_ratios)
    residuals = {"step cache": 2 * count * card.width * wide} if cached else {}
    denoising = on_device | keeps | widened | residuals
    denoising |= {"activations": activations, "latents": per_token * count}
    decoding = ({"vae": vae} if rung.offload == "model" else on_device | keeps) | {"decoding": decode}
    phases = {
        "prompts": {} if rung.text == "cpu" else {"text encoder": text},
        "denoising": denoising,
        "decoding": decoding,
    }
    if multiplies_fp8(rung, profile) and rung.offload == "none":
        phases["loading"] = on_device | {"transformer": read * card.experts}
    phase = max(phases, key=lambda name: sum(phases[name].values()))
    parts = {name: size for name, size in phases[phase].items() if size} | {"reserve": RESERVE}
    waiting = int(stored * (PINNED if rung.offload == "group" else 1.0)) * card.experts
    parked = 0 if rung.offload == "none" else waiting + eyes + vae
    largest = max((file.bytes for file in card.files if file.bytes), default=read)
    prompts = text if rung.text == "cpu" else 0
    ram = INTERPRETER + max(prompts, max(parked, int(largest * HOST_SLACK)) + 2 * output)
    return Need(sum(parts.values()), ram, phase, MappingProxyType(parts))


def on_cpu(card: Card, *, width: int, height: int, frames: int, rung: Rung, profile: Profile | None = None) -> Need:
    """The same without a device: all of it is system memory."""
    need = predict(card, width=width, height=height, frames=frames, rung=rung, profile=profile)
    return Need(0, need.vram - RESERVE + INTERPRETER, need.phase, MappingProxyType({}))


def needs(
    card: Card,
    device: DeviceFacts,
    *,
    width: int,
    height: int,
    frames: int,
    rung: Rung,
    profile: Profile | None = None,
) -> Need:
    """What the window takes on that device, which may not have what the profile would use."""
    at = on_cpu if device.kind == "cpu" else predict
    usable = None if profile is None else replace(profile, fp8_matmul=profile.fp8_matmul and device.fp8)
    return at(card, width=width, height=height, frames=frames, rung=rung, profile=usable)


def gb(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / GB:.1f} GB"
