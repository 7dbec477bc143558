"""Engines on tiny models: a card per architecture, and the folder that holds its instance, written once per session."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models

from models.cards import Card, card
from models.diffusion import Weights
from models.interface import ClipRequest
from models.wan import DiffusionEngine

WIDTH, HEIGHT = 64, 32
ENDING = ("wan2.1-flf2v", "wan2.1-fun-inp", "wan2.1-vace")
"""Models that can arrive at an end plate."""
FRAMES = ("frames-5", "frames-9")
LATENTS = ("latents-1", "latents-2", "latents-4")
"""Kinds of context beside the default of the tiny models."""


def tiny_card(name: str, **changes: Any) -> Card:
    """The card of Wan2.1 I2V 14B with the pipeline, sizes and switches of the tiny instance of `name`."""
    words_only = "t2v" in name
    facts: dict[str, Any] = {
        "name": f"tiny-{name}",
        "pipeline": tiny_models.ARCHITECTURES[name][0],
        "transformer": {},
        "shift": 0.0,
        "text_tokens": 512 if name.startswith("wan") else 16,  # Wan's image stream counts from the 513th token
        "takes_end_plate": name in ENDING,
        "needs_plate": not words_only,
        "contexts": ("none",) if words_only else ("frame",),
        "experimental": LATENTS if words_only else () if name == "cogvideox-i2v" else (*FRAMES, *LATENTS),
        "free": 0 if words_only else 4,
        **({"latent_channels": 48, "spatial_stride": 16} if name == "wan2.2-ti2v-5b" else {}),
        "steps": 2,
        "sizes": ((WIDTH, HEIGHT),),
        "presets_only": name == "cogvideox-i2v",  # learned positions
        "smallest": 32,
        "largest": 512,
        "size_multiple": 32,
    }
    return replace(card("wan2.1-i2v-14b-720p"), **(facts | changes))


@cache
def tiny_folder(name: str) -> Path:
    """The diffusers folder of the tiny instance of `name`; it lives as long as the test process."""
    return tiny_models.write_model(name, Path(_root().name) / name)


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    import torch

    torch.set_num_threads(1)
    return tempfile.TemporaryDirectory(prefix="tiny-models-")


def tiny_engine(
    name: str, *, weights: Weights | None = None, changes: dict[str, Any] | None = None, **options: Any
) -> Any:
    """A new engine on the tiny instance of `name`."""
    return DiffusionEngine(tiny_card(name, **(changes or {})), weights or Weights(tiny_folder(name)), **options)


@cache
def tinywan() -> DiffusionEngine:
    """One engine for the contract test: Wan2.1 image-to-video, loaded once."""
    engine: DiffusionEngine = tiny_engine("wan2.1-i2v")
    return engine


def same(first: list[Any], second: list[Any]) -> bool:
    """Whether two lists of frames agree bit for bit."""
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def asked(name: str, window: ClipRequest) -> ClipRequest:
    """The window as that model can make it, with everything it can take."""
    if "t2v" in name:
        return replace(window, plate=None)
    return replace(window, end_plate=window.plate) if name in ENDING else window
