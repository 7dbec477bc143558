"""Claims about prompt embeddings: made once per text and encoder, on disk too, exactly as diffusers makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_engines import same, tiny_engine, tiny_folder

import models.wan
from models.interface import ClipRequest

TEXTS = ["a slow move over the sea", "grey noise", "", "a slow move over the sea"]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time that a text encoder is loaded."""
    count: list[int] = []
    load = models.wan.load_text_encoder
    monkeypatch.setattr("models.wan.load_text_encoder", lambda *given: count.append(1) or load(*given))
    return count


def test_a_reel_is_encoded_with_one_load(loads: list[int], window: ClipRequest) -> None:
    """Prompts given up front need no encoder later; a new one loads it once more."""
    engine = tiny_engine("wan2.1-i2v")
    engine.encode_prompts([window.prompt, window.negative_prompt, "grey noise"])
    list(engine.generate(window, []))
    list(engine.generate(replace(window, prompt="grey noise"), []))
    assert len(loads) == 1
    list(engine.generate(replace(window, prompt="red"), []))
    assert len(loads) == 2
    assert engine._pipe.text_encoder is None


def test_the_disk_remembers(loads: list[int], window: ClipRequest, tmp_path: Path) -> None:
    """Another process needs no encoder for known texts, and gives the same frames; a torn file is made again."""
    first = list(tiny_engine("wan2.1-i2v", prompts=tmp_path).generate(window, []))
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors"}
    assert same(first, list(tiny_engine("wan2.1-i2v", prompts=tmp_path).generate(window, [])))
    assert len(loads) == 1
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert same(first, list(tiny_engine("wan2.1-i2v", prompts=tmp_path).generate(window, [])))
    assert len(loads) == 2


def test_another_encoder_or_length_shares_nothing(loads: list[int], tmp_path: Path) -> None:
    """The key holds the encoder's hash and the embedding's length."""
    for name, changes in (("wan2.1-i2v", {}), ("cogvideox-i2v", {}), ("wan2.1-i2v", {"text_tokens": 12})):
        tiny_engine(name, prompts=tmp_path, changes=changes).encode_prompts(["grey noise"])
    assert len(loads) == len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["wan2.1-t2v", "cogvideox-i2v"])
def test_embeddings_are_those_of_diffusers(name: str) -> None:
    """Padding, masking and cleaning agree with the pipeline's own, bit for bit, in any order and company."""
    import diffusers
    import torch
    from tiny_models import ARCHITECTURES

    cls = getattr(diffusers, ARCHITECTURES[name][0])
    pipe = cls.from_pretrained(tiny_folder(name), local_files_only=True)
    ours = tiny_engine(name).encode_prompts(TEXTS)
    for text, embedding in zip(TEXTS, ours, strict=True):
        with torch.no_grad():
            tokens = 512 if name.startswith("wan") else 16
            theirs: Any = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=tokens)[0]
        assert torch.equal(embedding, theirs)
