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
from models.lora import LAYOUTS
from models.weights_lock import file_sha256


def changed(model: Any) -> int:
    """Layers that a LoRA acts on."""
    return sum(getattr(layer, "_lora_beside", None) is not None for layer in model.modules())


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.lora_file(tiny_folder("wan2.1-i2v"), tmp_path_factory.mktemp("lora") / "mist.safetensors")


def test_a_lora_that_is_not_the_planned_one_is_refused(lora: Path, window: ClipRequest) -> None:
    """The digest that the plan rests on is held against the file that is read; the error names both."""
    engine = tiny_engine("wan2.1-i2v")
    planned = Lora(lora, 1.0, None, (file_sha256(lora),))
    assert len(list(engine.generate(replace(window, loras=(planned,)), []))) == 9
    other = Lora(lora, 0.5, None, ("0" * 64,))
    with pytest.raises(EngineError, match=f"was {'0' * 64} when the shot was planned"):
        list(tiny_engine("wan2.1-i2v").generate(replace(window, loras=(other,)), []))


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
    assert opened.count(lora) == 1  # a window without it in between does not cost reading it again
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
        assert changed(expert) == 12
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
        counts.append(changed(engine._pipe.transformer))
    assert counts == [12, 12]


def test_whole_differences_and_convolutions_act_like_merged_weights(window: ClipRequest, tmp_path: Path) -> None:
    """What distilled LoRAs carry beside their pairs (whole matrices, biases, the patch embedding) acts to 8 levels."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(3)

    def noise(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(*shape, generator=random)

    state = {
        "diffusion_model.head.head.diff": noise(64, 32),
        "diffusion_model.head.head.diff_b": noise(64),
        "diffusion_model.patch_embedding.lora_down.weight": noise(4, 36, 1, 2, 2),
        "diffusion_model.patch_embedding.lora_up.weight": noise(32, 4, 1, 1, 1),
        "diffusion_model.patch_embedding.diff_b": noise(32),
        "diffusion_model.blocks.0.ffn.0.diff_b": noise(64),
        "diffusion_model.time_embedding.0.lora_down.weight": noise(4, 64),
        "diffusion_model.time_embedding.0.lora_up.weight": noise(32, 4),
    }
    save_file(state, tmp_path / "whole.safetensors")
    engine, merged = tiny_engine("wan2.1-i2v"), tiny_engine("wan2.1-i2v")
    merged.load()
    weights = dict(merged._pipe.transformer.named_parameters())
    short = {key.removeprefix("diffusion_model."): value for key, value in state.items()}
    with torch.no_grad():
        weights["proj_out.weight"] += 0.5 * short["head.head.diff"]
        weights["proj_out.bias"] += 0.5 * short["head.head.diff_b"]
        down, up = (short[f"patch_embedding.lora_{way}.weight"] for way in ("down", "up"))
        weights["patch_embedding.weight"] += 0.5 * torch.einsum("or,rcfhw->ocfhw", up.reshape(32, 4), down)
        weights["patch_embedding.bias"] += 0.5 * short["patch_embedding.diff_b"]
        weights["blocks.0.ffn.net.0.proj.bias"] += 0.5 * short["blocks.0.ffn.0.diff_b"]
        time = short["time_embedding.0.lora_up.weight"] @ short["time_embedding.0.lora_down.weight"]
        weights["condition_embedder.time_embedder.linear_1.weight"] += 0.5 * time
    loras = (Lora(tmp_path / "whole.safetensors", 0.5),)
    made = np.stack(list(engine.generate(replace(window, loras=loras), [])))
    wanted = np.stack(list(merged.generate(window, [])))
    base = np.stack(list(engine.generate(window, [])))
    assert np.abs(made.astype(int) - wanted.astype(int)).max() <= 8
    assert np.abs(made.astype(int) - base.astype(int)).max() > 100


def test_one_file_may_hold_both_experts(window: ClipRequest, tmp_path: Path) -> None:
    """A file of two parts puts each on its own expert; together with a low-noise file of its own it is refused."""
    from safetensors.torch import load_file, save_file

    folder = tiny_folder("wan2.2-i2v-a14b")
    high = tiny_models.lora_file(folder, tmp_path / "high.safetensors")
    low = tiny_models.lora_file(folder, tmp_path / "low.safetensors", seed=2)
    both = tmp_path / "both.safetensors"
    parts = {f"transformer.{key.removeprefix('diffusion_model.')}": value for key, value in load_file(high).items()}
    parts |= {f"transformer_2.{key.removeprefix('diffusion_model.')}": value for key, value in load_file(low).items()}
    save_file(parts, both)
    engine = tiny_engine("wan2.2-i2v-a14b")
    apart = list(engine.generate(replace(window, loras=(Lora(high, 1.0, low),)), []))
    assert same(apart, list(engine.generate(replace(window, loras=(Lora(both, 1.0),)), [])))
    with pytest.raises(EngineError, match="both experts itself"):
        engine.load([Lora(both, 1.0, low)])


def test_a_swap_keeps_what_is_compiled(lora: Path, tmp_path: Path) -> None:
    """Compiled blocks are compiled once without LoRAs and once with them; other strengths, files and none again cost
    nothing, and past LAYOUTS kinds of LoRA the compiler starts anew rather than giving up."""
    import torch
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    engine = tiny_engine("wan2.1-i2v")
    engine.load()
    model, counter = engine._pipe.transformer, CompileCounter()
    for block in model.blocks:
        block.compile(backend=counter, fullgraph=True)
    random = torch.Generator().manual_seed(1)
    inputs = (
        torch.randn(1, 8, 32, generator=random),
        torch.randn(1, 16, 32, generator=random),
        torch.randn(1, 6, 32, generator=random),
        tuple(torch.randn(1, 8, 1, 16, generator=random) for _ in range(2)),
    )
    second = tiny_models.lora_file(tiny_folder("wan2.1-i2v"), tmp_path / "rain.safetensors", seed=2)

    def made(*loras: tuple[Path, float]) -> torch.Tensor:
        engine.load(loras)
        with torch.no_grad():
            return model.blocks[1](*inputs)

    base = made()
    assert counter.frame_count == 1
    on = made((lora, 1.0))
    assert counter.frame_count == 2
    assert not torch.equal(base, on)
    assert not torch.equal(made((lora, 0.5)), on)
    assert not torch.equal(made((second, 1.0)), on)
    assert torch.equal(made(), base)
    assert torch.equal(made((lora, 1.0)), on)
    assert counter.frame_count == 2
    for rank in range(5, 7 + LAYOUTS):
        made((_of_rank(rank, tmp_path), 1.0))
    assert torch.equal(made(), base)
    assert torch.equal(made((lora, 1.0)), on)
    # every kind was compiled: had the compiler given up, the last would not have been counted
    assert counter.frame_count >= 2 + LAYOUTS
    torch._dynamo.reset()


def _of_rank(rank: int, folder: Path) -> Path:
    """A LoRA for one layer in each block."""
    import torch
    from safetensors.torch import save_file

    path = folder / f"{rank}.safetensors"
    names = [f"diffusion_model.blocks.{block}.ffn.{layer}" for block in (0, 1) for layer in (0,)]
    save_file(
        {f"{name}.lora_A.weight": torch.ones(rank, 32) for name in names}
        | {f"{name}.lora_B.weight": torch.ones(64, rank) for name in names},
        path,
    )
    return path


def test_a_layer_that_was_replaced_is_found(lora: Path, window: ClipRequest) -> None:
    """A layer that somebody put in the place of another after loading is changed all the same."""
    import torch

    engine = tiny_engine("wan2.1-i2v")
    on = list(engine.generate(replace(window, loras=(Lora(lora, 1.0),)), []))
    engine.load()
    for block in engine._pipe.transformer.blocks:
        old = block.attn1.to_q
        block.attn1.to_q = torch.nn.Linear(old.in_features, old.out_features)
        block.attn1.to_q.load_state_dict(old.state_dict())
    assert same(on, list(engine.generate(replace(window, loras=(Lora(lora, 1.0),)), [])))


def test_a_file_that_changed_is_read_again(window: ClipRequest, tmp_path: Path) -> None:
    """Another file under the same name acts as what it now is, although the request is the same to the letter."""
    path, folder = tmp_path / "mist.safetensors", tiny_folder("wan2.1-i2v")
    tiny_models.lora_file(folder, path)
    engine, asked = tiny_engine("wan2.1-i2v"), replace(window, loras=(Lora(path, 1.0),))
    before = list(engine.generate(asked, []))
    tiny_models.lora_file(folder, tmp_path / "new.safetensors", seed=2).replace(path)
    after = list(engine.generate(asked, []))
    assert not same(before, after)
    assert same(after, list(tiny_engine("wan2.1-i2v").generate(asked, [])))
