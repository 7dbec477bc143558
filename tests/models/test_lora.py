"""Claims about LoRA: it acts where it should, as strongly as asked, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from tiny_engines import same, tiny_engine, tiny_folder

from models.diffusion import Weights
from models.interface import ClipRequest, EngineError, Lora


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.lora_file(tiny_folder("wan2.1-i2v"), tmp_path_factory.mktemp("lora") / "mist.safetensors")


def test_swapping_between_windows_without_reloading(lora: Path, window: ClipRequest) -> None:
    """Scale 0 equals none, scale 1 differs, half differs from both, and afterwards the base is back bit for bit."""
    opened: list[Path] = []
    engine = tiny_engine("wan2.1-i2v", check=opened.append)
    base = list(engine.generate(window, []))
    none = list(engine.generate(replace(window, loras=(Lora(lora, 0.0),)), []))
    full = list(engine.generate(replace(window, loras=(Lora(lora, 1.0),)), []))
    half = list(engine.generate(replace(window, loras=(Lora(lora, 0.5),)), []))
    back = list(engine.generate(window, []))
    assert same(base, none)
    assert same(base, back)
    assert not same(base, full)
    assert not same(base, half)
    assert not same(full, half)
    assert opened.count(lora) == 1
    assert len(opened) == 5


def test_it_is_what_merging_into_the_weights_would_give(lora: Path, window: ClipRequest) -> None:
    """Acting beside the layers agrees with weights changed by up x down, to 8 of 65535 levels."""
    from safetensors.torch import load_file

    engine, merged = tiny_engine("wan2.1-i2v"), tiny_engine("wan2.1-i2v")
    merged.load()
    weights = dict(merged._pipe.transformer.named_parameters())
    names = {tiny_models.original_name(name): its for name, its in weights.items()}
    pairs = load_file(lora)
    for key, down in pairs.items():
        if key.endswith(".lora_A.weight"):
            name = key.removesuffix(".lora_A.weight")
            weight = names[name.removeprefix("diffusion_model.") + ".weight"]
            weight.data += 0.7 * pairs[f"{name}.lora_B.weight"] @ down
    made, wanted = (
        list(engine.generate(replace(window, loras=(Lora(lora, 0.7),)), [])),
        list(merged.generate(window, [])),
    )
    assert np.abs(np.stack(made).astype(int) - np.stack(wanted).astype(int)).max() <= 8


def test_several_act_together_and_in_any_order(lora: Path, window: ClipRequest, tmp_path: Path) -> None:
    """Two files differ from each alone; their order changes no more than rounding."""
    second = tiny_models.lora_file(tiny_folder("wan2.1-i2v"), tmp_path / "rain.safetensors", seed=2)
    engine = tiny_engine("wan2.1-i2v")
    both = np.stack(list(engine.generate(replace(window, loras=(Lora(lora, 1.0), Lora(second, 1.0))), [])))
    turned = np.stack(list(engine.generate(replace(window, loras=(Lora(second, 1.0), Lora(lora, 1.0))), [])))
    one = np.stack(list(engine.generate(replace(window, loras=(Lora(lora, 1.0),)), [])))
    assert np.abs(both.astype(int) - turned.astype(int)).max() <= 8
    assert np.abs(both.astype(int) - one.astype(int)).max() > 100


def test_both_experts_take_it(window: ClipRequest, tmp_path: Path) -> None:
    """On a two-expert model one file acts on both, or a file of its own on the low-noise one."""
    folder = tiny_folder("wan2.2-i2v-a14b")
    high = tiny_models.lora_file(folder, tmp_path / "high.safetensors")
    low = tiny_models.lora_file(folder, tmp_path / "low.safetensors", seed=2)
    engine = tiny_engine("wan2.2-i2v-a14b")
    engine.load([(high, 1.0)])
    for expert in (engine._pipe.transformer, engine._pipe.transformer_2):
        assert sum(len(layer._forward_hooks) for layer in expert.modules()) == 12
    shared = list(engine.generate(replace(window, loras=(Lora(high, 1.0),)), []))
    apart = list(engine.generate(replace(window, loras=(Lora(high, 1.0, low),)), []))
    assert not same(shared, apart)


def test_it_acts_on_a_quantised_model(lora: Path, window: ClipRequest, tmp_path: Path) -> None:
    """GGUF weights are not touched, so the same file works on them and comes off again."""
    folder = tiny_folder("wan2.1-i2v")
    engine = tiny_engine(
        "wan2.1-i2v", weights=Weights(folder, transformer=tiny_models.gguf_file(folder, tmp_path / "q8.gguf"))
    )
    base, on = list(engine.generate(window, [])), list(engine.generate(replace(window, loras=(Lora(lora, 1.0),)), []))
    assert not same(base, on)
    assert same(base, list(engine.generate(window, [])))


@pytest.mark.parametrize("fault", ["pickle", "missing", "foreign", "shape", "no pair", "torn", "refused"])
def test_a_file_that_does_not_fit_is_refused_and_nothing_acts(
    fault: str, lora: Path, window: ClipRequest, tmp_path: Path
) -> None:
    """The error names the file, and the next window without it is the base's."""
    import torch
    from safetensors.torch import load_file, save_file

    path = tmp_path / ("bad.pt" if fault == "pickle" else "bad.safetensors")
    state = load_file(lora)
    if fault == "foreign":
        state = {key.replace("blocks.1.", "blocks.7."): value for key, value in state.items()}
    elif fault == "shape":
        state = {key: torch.cat([value, value], 1) if "lora_A" in key else value for key, value in state.items()}
    elif fault == "no pair":
        state = {key: value for key, value in state.items() if "lora_A" in key}
    if fault != "missing":
        save_file(state, path)
    if fault == "torn":
        path.write_bytes(path.read_bytes()[:-50])

    def check(seen: Path) -> None:
        if fault == "refused" and seen == path:
            raise EngineError(f"{seen} is not to be trusted")

    engine = tiny_engine("wan2.1-i2v", check=check)
    base = list(engine.generate(window, []))
    with pytest.raises(EngineError, match=r"bad\."):
        engine.load([(path, 1.0)])
    assert same(base, list(engine.generate(window, [])))


def test_other_spellings_of_names(lora: Path, tmp_path: Path) -> None:
    """diffusers' own key names load like the trainers'."""
    from safetensors.torch import load_file, save_file

    def spelt(key: str) -> str:
        key = (
            key.replace("diffusion_model.", "transformer.").replace("self_attn", "attn1").replace("cross_attn", "attn2")
        )
        return key.replace(".q.", ".to_q.").replace(".k.", ".to_k.").replace(".v.", ".to_v.")

    path = tmp_path / "ours.safetensors"
    save_file({spelt(key): value for key, value in load_file(lora).items()}, path)
    engine = tiny_engine("wan2.1-i2v")
    counts: list[Any] = []
    for file in (lora, path):
        engine.load([(file, 1.0)])
        counts.append(sum(len(layer._forward_hooks) for layer in engine._pipe.transformer.modules()))
    assert counts == [12, 12]
