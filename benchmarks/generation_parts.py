"""What benchmarks/generation.py asks a device: seconds, memory, kernels, and a model's large parts by themselves.

Knows: torch's clocks and counters, attention and matrices at a window's true length, the VAE. Does not know: how a
window is denoised, profiles, results. Memory: the inputs and output of one part (14B at 720p: 4 GB), or of one decode.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from types import SimpleNamespace
from typing import Any, Final

import torch
from generation_model import SEED, Stage, noise

from models.kernels import CUDA_ATTENTION, NATIVE, _works

TINY_TILES: Final = {
    "tile_sample_min_height": 64,
    "tile_sample_min_width": 64,
    "tile_sample_stride_height": 48,
    "tile_sample_stride_width": 48,
}


class Enough(Exception):  # noqa: N818 - no error: the clock has what it needs
    """Raised out of a window once its steps are measured, or time is up."""


@dataclass(slots=True)
class Clock:
    """Seconds of each step of one window."""

    device: str
    until: int
    """Steps to measure; the window is left after them."""
    deadline: float
    """time.monotonic() after which the window is left at its next step."""
    seconds: list[float] = field(default_factory=list)
    latents: list[Any] = field(default_factory=list)
    """After each step, or after the last one alone (`only_last`), on the CPU."""
    only_last: bool = True
    _since: float = 0.0

    def start(self) -> None:
        """The window begins, or goes on."""
        self._since = now(self.device)

    def step(self, latents: Any) -> None:
        """A step is done. Raises Enough."""
        self.seconds.append(now(self.device) - self._since)
        if self.only_last:
            self.latents.clear()
        self.latents.append(latents.detach().float().cpu().clone())
        if len(self.seconds) >= self.until or time.monotonic() > self.deadline:
            raise Enough
        self.start()


def now(device: str) -> float:
    """Seconds of the clock once the device has done what it was told; on a CPU of this process' work, whoever else is
    at it (it runs on one thread)."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def free() -> None:
    """Give back what is no longer held, compiled code included."""
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reset_peak(device: str) -> None:
    """Count the peak of memory from here."""
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb(device: str) -> tuple[float | None, float | None]:
    """Most memory that tensors took since the last reset, and that the allocator held, in 10^9 bytes; None on a CPU."""
    if device == "cpu":
        return None, None
    return round(torch.cuda.max_memory_allocated() / 1e9, 2), round(torch.cuda.max_memory_reserved() / 1e9, 2)


def described(stage: Stage) -> dict[str, Any]:
    """The device in words, its driver, the libraries, the attention kernels that work on it."""
    known = {"device": "cpu"} if stage.device == "cpu" else _graphics_card()
    versions = {name: _version(name) for name in ("torch", "diffusers", "triton", "flash-attn", "flash-attn-3")}
    kernels = [name for name in (*CUDA_ATTENTION, NATIVE) if stage.device != "cpu" or name == NATIVE]
    heads = _heads(stage)
    return {
        **known,
        "versions": {name: found for name, found in versions.items() if found},
        "attention_kernels": [name for name in kernels if _works(name, heads, stage.device)],
    }


def _graphics_card() -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(0)
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.split()
        driver = said[0]
    except (OSError, IndexError, subprocess.SubprocessError):
        driver = "unknown"
    return {
        "device": facts.name,
        "memory_gib": round(facts.total_memory / 2**30, 1),
        "capability": f"{facts.major}.{facts.minor}",
        "driver": driver,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _heads(stage: Stage) -> Any:
    """As much of a model as trying a kernel looks at."""
    numbers = stage.card.transformer
    config = SimpleNamespace(**{key: numbers[key] for key in ("num_attention_heads", "attention_head_dim")})
    return SimpleNamespace(config=config, dtype=stage.dtype)


def measured_parts(stage: Stage) -> dict[str, Any]:
    """Milliseconds of a block's large parts at the window's true length: attention by kernel, matrices by width.

    Attention is that of all tokens with each other; a matrix's product in 8 bits includes rounding its input.
    """
    from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

    from models.fp8 import fp8_linear

    numbers, width = stage.card.transformer, stage.card.width
    random = torch.Generator(stage.device).manual_seed(SEED)
    shape = (1, stage.tokens, numbers["num_attention_heads"], numbers["attention_head_dim"])

    def drawn(*sides: Any) -> Any:
        return torch.randn(*sides, generator=random, device=stage.device, dtype=stage.dtype)

    parts: dict[str, Any] = {"tokens": stage.tokens, "attention_ms": {}, "linear_ms": {}}
    with torch.no_grad():
        query, key, value = drawn(*shape), drawn(*shape), drawn(*shape)
        for name in (NATIVE, *CUDA_ATTENTION):
            if (stage.device == "cpu" and name != NATIVE) or not _works(name, _heads(stage), stage.device):
                continue
            attend = partial(dispatch_attention_fn, backend=AttentionBackendName(name))
            parts["attention_ms"][name] = _milliseconds(stage.device, attend, query, key, value)
        del query, key, value
        ffn = int(numbers["ffn_dim"])  # type: ignore[arg-type]
        for narrow, wide in ((width, width), (width, ffn), (ffn, width)):
            layer = torch.nn.Linear(narrow, wide, device=stage.device, dtype=stage.dtype)
            rows = drawn(1, stage.tokens, narrow)
            took = {"16_bits" if stage.dtype == torch.bfloat16 else "32_bits": _milliseconds(stage.device, layer, rows)}
            if stage.fp8:
                took["8_bits"] = _milliseconds(stage.device, fp8_linear()(layer), rows)
            parts["linear_ms"][f"{narrow} to {wide}"] = took
            del layer, rows
    return parts


def _milliseconds(device: str, call: Callable[..., Any], *given: Any, times: int = 5) -> float:
    """Median after two warm-ups."""
    for _ in range(2):
        call(*given)
    taken: list[float] = []
    for _ in range(times):
        started = now(device)
        call(*given)
        taken.append(1000 * (now(device) - started))
    return round(statistics.median(taken), 3)


def measured_vae(stage: Stage, vae: Any) -> list[dict[str, Any]]:
    """Encoding and decoding the window, whole and in tiles: seconds and peak memory, nothing else on the device."""
    random = torch.Generator(stage.device).manual_seed(SEED)
    latents = noise(stage)
    rows = []
    with torch.no_grad():
        video = torch.rand(1, 3, stage.frames, stage.height, stage.width, generator=random, device=stage.device)
        vae.encode(video[:, :, :1, :64, :64] * 2 - 1)  # loads the libraries' code
        for way in ("whole", "tiled"):
            if way == "tiled":
                small = TINY_TILES if stage.model == "tiny" else {}
                vae.enable_tiling(**small)
            row: dict[str, Any] = {"row": f"vae-{way}"}
            calls: Sequence[tuple[str, Any, Any]] = (("encode", vae.encode, video), ("decode", vae.decode, latents))
            for name, call, given in calls:
                reset_peak(stage.device)
                started = now(stage.device)
                made = call(given, return_dict=False)[0]
                row[f"{name}_s"] = round(now(stage.device) - started, 3)
                row[f"{name}_peak_gb"] = peak_gb(stage.device)[0]
                del made
            rows.append(row)
        vae.disable_tiling()
    return rows
