"""Tiny models installed in a weights folder, each with a card made from a real one. Helpers, no tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import tiny_models
from rendering import ROOT

CARDS: Final = ROOT / "models" / "cards"
NUMBERS: Final[Mapping[str, str]] = {
    "parameters": "0.0001",
    "text_encoder": "0.0001",
    "image_encoder": "0.0001",
    "vae": "0.0001",
    "steps": "2",
    "smallest": "32",
    "largest": "512",
    "size_multiple": "32",
    "sizes": "[[64, 32]]",
    "activation_bytes": "1.0",
    "vae_bytes": "100",
}
"""Fields of a real card that differ for a tiny instance of its architecture."""


def install(weights: Path, name: str, like: str, *, called: str = "tiny", **changes: str) -> Path:
    """A tiny instance of `name` (tiny_models.ARCHITECTURES) as the model `called`, its card that of `like`.

    `changes` are further fields in TOML. Returns the model's folder.
    """
    folder = tiny_models.write_model(name, weights / called)
    (folder / "card.toml").write_text(tiny_card_text(name, like, **changes), encoding="utf-8")
    return folder


def tiny_card_text(name: str, like: str, **changes: str) -> str:
    """The card of `like` with the numbers of the tiny instance of `name`."""
    text = (CARDS / f"{like}.toml").read_text(encoding="utf-8")
    words = {} if name.startswith("wan") else {"text_tokens": "16"}  # CogVideoX counts them in its architecture
    for field, value in {**NUMBERS, **words, **changes}.items():
        text, found = re.subn(rf"^{field} = .*$", f"{field} = {value}", text, flags=re.M)
        assert found or field in ("image_encoder", "steps"), field
    start = text.index("[transformer]")
    end = text.find("\n[", start + 1)
    numbers = tiny_models.ARCHITECTURES[name][1]
    table = "\n".join(["[transformer]", *(f"{field} = {json.dumps(value)}" for field, value in numbers.items())])
    return text[:start] + table + (text[end:] if end >= 0 else "") + "\n"
