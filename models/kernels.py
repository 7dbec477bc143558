"""Makes a loaded pipeline fast: attention kernels, compiled blocks, 8-bit multiplication; says what it did.

Knows: diffusers' attention dispatcher and hooks, torch.compile, what goes together with what. Does not know: cards
beyond their step ratios, requests. Memory: a few megabytes for trials, and the compiler's own while blocks compile.

Nothing here raises because something is missing: every kernel is tried on a small problem of the right kind on the
device itself, against the plain formula, and the next one is taken if it fails or is less than exact. What was taken
stands in the result, for the manifest. No kernel is ever downloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from models.cards import Card
from models.fp8 import repeated_blocks, use_fp8
from models.profiles import Profile
from models.step_cache import cacheable

CUDA_ATTENTION: Final = ("_flash_3", "_native_cudnn", "flash")
"""diffusers' names of exact kernels, fastest first: flash attention 3 and 2 from packages installed here, cuDNN's
between them. The quantised ones (sage) and those fetched from the hub are not among them."""
NATIVE: Final = "native"
"""torch's own choice: works everywhere."""
EXACT: Final = 0.01
"""Greatest relative error (root mean square) of an exact kernel; torch's own in bfloat16 has 0.0022."""
KEYS: Final = (256, 512, 257)
"""Keys that 256 queries are tried on: of themselves, of words, and of a still (CLIP's 257, an odd number)."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was done to a pipeline."""

    attention: str
    """Attention kernel, by diffusers' name: `native`, `_native_cudnn`, `flash`, `_flash_3`."""
    compiled: bool
    """Whether the repeated blocks are compiled."""
    fp8_layers: int
    """Linear layers that multiply 8-bit floats, of all experts together."""
    step_cache: bool
    """Whether windows are to be made with a step cache."""


def tune(
    pipe: Any,
    profile: Profile,
    *,
    card: Card,
    device: str,
    fp8: bool,
    quantised: bool,
    offloaded: bool,
    compiler: str | None = None,
) -> Tuned:
    """Apply a profile to a pipeline that was just loaded and placed; once. All experts alike.

    `device`: where it computes, such as `cuda:1`. `fp8`: whether that device multiplies 8-bit floats. `quantised`:
    whether the transformer is a GGUF file. `offloaded`: whether its layers come to the device one after another (group
    offload). `compiler`: a backend of torch.compile; None: `inductor` on CUDA, none elsewhere.

    Compilation is left out for GGUF layers, group offload and 8-bit storage: their hooks and types stop the compiler at
    every layer. 8-bit multiplication is left out for the same three, which keep their weights in a form of their own.
    """
    experts = [part for part in (pipe.transformer, getattr(pipe, "transformer_2", None)) if part is not None]
    hooks = {name for expert in experts for name in _hooks(expert)}
    own_form = quantised or offloaded or bool(hooks & {"group_offloading", "layerwise_casting"})
    attention = _attention(experts, device, tried=profile.kernels)
    layers = 0
    if profile.fp8_matmul and fp8 and not own_form:
        layers = sum(use_fp8(expert) for expert in experts)
    wanted = compiler or ("inductor" if device.startswith("cuda") else "")
    compiled = profile.compiled and bool(wanted) and not own_form and _compiles(wanted, device)
    if compiled:
        for expert in experts:
            for block in repeated_blocks(expert):
                block.compile(backend=wanted)
    cached = profile.step_cache and bool(card.mag_ratios) and all(cacheable(expert) for expert in experts)
    return Tuned(attention, compiled, layers, cached)


def _attention(experts: list[Any], device: str, *, tried: bool) -> str:
    """Give the experts the first kernel that works; returns its name.

    `native` is set too where nothing is tried: diffusers keeps the last choice for the whole process, so an earlier
    pipeline's kernel would act on this one.
    """
    names = CUDA_ATTENTION if tried and device.startswith("cuda") else ()
    with _quiet("diffusers.models.modeling_utils"):  # warns that choosing a kernel is an experimental feature
        for name in names:
            if _works(name, experts[0], device) and _chosen(name, experts):
                return name
        _chosen(NATIVE, experts)
    return NATIVE


def _chosen(name: str, experts: list[Any]) -> bool:
    """Whether every expert took the kernel. A model that knows no such choice computes natively."""
    knows = [
        module
        for expert in experts
        for module in expert.modules()
        if hasattr(getattr(module, "processor", None), "_attention_backend")
    ]
    if not knows:
        return name == NATIVE
    try:
        for expert in experts:
            expert.set_attention_backend(name)
    except (RuntimeError, ValueError, ImportError):  # the package is missing or too old
        return False
    return True


def _works(name: str, model: Any, device: str) -> bool:
    """Whether the kernel is exact on this device, in the model's precision, for its heads and every kind of key."""
    import torch
    from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

    heads, channels = model.config.num_attention_heads, model.config.attention_head_dim
    random = torch.Generator("cpu").manual_seed(1)
    try:
        for keys in KEYS:
            query, key, value = (
                torch.randn(1, length, heads, channels, generator=random).to(device, model.dtype)
                for length in (256, keys, keys)
            )
            with torch.no_grad():
                made = dispatch_attention_fn(query, key, value, backend=AttentionBackendName(name)).float()
                exact = _formula(query.float(), key.float(), value.float())
            error = (made - exact).pow(2).mean().sqrt() / exact.pow(2).mean().sqrt()
            if not bool(error <= EXACT):  # NaN is no number below anything
                return False
    except Exception:  # a missing package, an unsupported card or type: each kernel has its own way to say so
        return False
    return True


def _formula(query: Any, key: Any, value: Any) -> Any:
    """softmax(q k / sqrt(channels)) v of tensors (batch, tokens, heads, channels)."""
    import torch

    weights = torch.einsum("bqhc,bkhc->bhqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhqk,bkhc->bqhc", weights.softmax(dim=-1), value)


def _compiles(compiler: str, device: str) -> bool:
    """Whether torch.compile has what it needs here (Triton on CUDA, a C++ compiler on the CPU)."""
    import torch

    try:
        made = torch.compile(lambda x: x * 2 + 1, backend=compiler)(torch.ones(8, device=device))
        return bool((made == 3).all())
    except Exception:  # whatever a missing compiler raises: the blocks run as they are
        return False


def _hooks(model: Any) -> set[str]:
    """Names of diffusers' hooks anywhere in the model: they move or cast weights at each call."""
    found: set[str] = set()
    for module in model.modules():
        if (registry := getattr(module, "_diffusers_hook", None)) is not None:
            found |= set(registry.hooks)
    return found


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Hold back a library's warnings, not its errors."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
