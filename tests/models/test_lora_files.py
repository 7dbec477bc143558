"""Claims about LoRA files: every tool's spelling means the same, and what would act in part is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tiny_engines import tiny_folder

from models.interface import EngineError
from models.lora_files import FIRST, SECOND, Pair, read_lora

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> Any:
    """A tiny Wan2.1 image-to-video transformer."""
    import diffusers

    folder = tiny_folder("wan2.1-i2v") / "transformer"
    return diffusers.WanTransformer3DModel.from_pretrained(folder, use_safetensors=True)


@pytest.fixture(scope="module")
def state(model: Any) -> State:
    """Pairs of rank 4 for every linear layer of the blocks, under the model's own names."""
    random = torch.Generator().manual_seed(5)
    made = {}
    for name, layer in model.blocks.named_modules():
        if isinstance(layer, torch.nn.Linear):
            made[f"blocks.{name}.lora_A.weight"] = torch.randn(4, layer.in_features, generator=random)
            made[f"blocks.{name}.lora_B.weight"] = torch.randn(layer.out_features, 4, generator=random)
    return made


def wan(key: str) -> str:
    """A key in the names of Wan's own code."""
    return tiny_models.original_name(key)


def kohya(key: str) -> str:
    """A key as musubi-tuner writes it."""
    name, matrix = re.fullmatch(r"(.*)\.lora_([AB])\.weight", wan(key)).groups()  # type: ignore[union-attr]
    return f"lora_unet_{name.replace('.', '_')}.lora_{'down' if matrix == 'A' else 'up'}.weight"


def alphas(state: State, value: float) -> State:
    """The state with an alpha for every pair."""
    downs = {
        re.sub(r"\.lora_(A|down)(\.default)?\.weight$", "", key) for key in state if re.search("lora_(A|down)", key)
    }
    return state | {f"{name}.alpha": torch.tensor(value) for name in downs}


def changes(path: Path, model: Any) -> Mapping[str, torch.Tensor]:
    """What the file adds to each layer's weight."""
    found = read_lora(path, lambda part: model if part == FIRST else None)[FIRST]
    return {name: product(pair) for name, pair in found.items()}


def product(pair: Pair) -> torch.Tensor:
    """strength * up @ down."""
    assert pair.down is not None
    assert pair.up is not None
    return pair.strength * pair.up @ pair.down


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "diffusers": lambda key: f"transformer.{key}",
    "peft": lambda key: f"base_model.model.{key}",
    "bare": lambda key: key,
    "wan": lambda key: f"diffusion_model.{wan(key)}",
    "checkpoint": lambda key: f"model.diffusion_model.{wan(key)}",
    "diffsynth": lambda key: wan(key).replace(".weight", ".default.weight"),
    "down and up": lambda key: f"diffusion_model.{wan(key)}".replace("lora_A", "lora_down").replace(
        "lora_B", "lora_up"
    ),
    "kohya": kohya,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("alpha", [None, 2.0])
def test_every_spelling_means_the_same(
    spelling: str, alpha: float | None, model: Any, state: State, tmp_path: Path
) -> None:
    """The same pairs under any tool's names change the same layers by the same amount; alpha counts by the rank."""
    written = {SPELLINGS[spelling](key): value for key, value in state.items()}
    save_file(alphas(written, alpha) if alpha else written, tmp_path / "a.safetensors")
    found = changes(tmp_path / "a.safetensors", model)
    strength = 1.0 if alpha is None else alpha / 4
    assert len(found) == len(state) // 2
    for name, change in found.items():
        wanted = strength * state[f"{name}.lora_B.weight"] @ state[f"{name}.lora_A.weight"]
        assert torch.allclose(change, wanted, atol=1e-6), name


@pytest.mark.parametrize("spelling", ["wan", "kohya", "diffusers"])
def test_diffusers_reads_the_same(spelling: str, model: Any, state: State, tmp_path: Path) -> None:
    """Where diffusers' own conversion takes a file, it finds the same changes."""
    import diffusers

    written = {SPELLINGS[spelling](key): value for key, value in state.items()}
    if spelling != "diffusers":
        written = alphas(written, 2.0)
    if spelling == "wan":
        written |= {"diffusion_model.blocks.0.norm3.diff": torch.zeros(32)}
        written |= {"diffusion_model.blocks.0.self_attn.q.diff_b": torch.ones(32)}
        written |= {
            "diffusion_model.head.head.diff": torch.randn(64, 32),
            "diffusion_model.head.head.diff_b": torch.ones(64),
        }
    save_file(written, tmp_path / "a.safetensors")
    theirs = diffusers.WanImageToVideoPipeline.lora_state_dict(load_file(tmp_path / "a.safetensors"))
    theirs = {key.removeprefix("transformer."): value for key, value in theirs.items()}
    ours = read_lora(tmp_path / "a.safetensors", lambda part: model if part == FIRST else None)[FIRST]
    assert {key.split(".lora_")[0] for key in theirs} == set(ours)
    for name, pair in ours.items():
        wanted = theirs[f"{name}.lora_B.weight"] @ theirs[f"{name}.lora_A.weight"]
        assert torch.allclose(pair.down if pair.up is None else product(pair), wanted, atol=1e-5), name
        assert (pair.bias is not None) == (f"{name}.lora_B.bias" in theirs)


def test_a_file_may_change_some_layers_only(model: Any, state: State, tmp_path: Path) -> None:
    """Pairs for attention alone, or for one block, are a LoRA as well, in every spelling."""
    for spelling in SPELLINGS.values():
        few = {spelling(key): value for key, value in state.items() if "blocks.1.attn1" in key}
        save_file(few, tmp_path / "a.safetensors")
        assert len(changes(tmp_path / "a.safetensors", model)) == 4


def test_alpha_may_stand_in_the_metadata(model: Any, state: State, tmp_path: Path) -> None:
    """diffusers keeps alpha, alpha of single layers and the root rule beside the tensors."""
    written = {f"transformer.{key}": value for key, value in state.items() if ".attn1." in key}

    def strengths(**stated: object) -> set[tuple[str, float]]:
        facts = {f"transformer.{name}": value for name, value in stated.items()}
        save_file(written, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(facts)})
        found = read_lora(tmp_path / "a.safetensors", lambda part: model)[FIRST]
        return {
            (name.rsplit(".", 1)[1] if "to_out" not in name else "o", pair.strength) for name, pair in found.items()
        }

    assert strengths() == {(name, 1.0) for name in ("to_q", "to_k", "to_v", "o")}
    assert {strength for _, strength in strengths(lora_alpha=8, r=4)} == {2.0}
    assert {strength for _, strength in strengths(lora_alpha=8, r=4, use_rslora=True)} == {4.0}
    some = strengths(lora_alpha=8, alpha_pattern={"attn1.to_q": 2, "to_v": 4})
    assert some == {("to_q", 0.5), ("to_v", 1.0), ("to_k", 2.0), ("o", 2.0)}


def test_both_experts_may_stand_in_one_file(model: Any, state: State, tmp_path: Path) -> None:
    """`transformer_2.` is the second expert's; a model of one expert has no use for such a file and says so."""
    first = {f"transformer.{key}": value for key, value in state.items() if "blocks.0.attn1" in key}
    second = {f"transformer_2.{key}": 2 * value for key, value in state.items() if "blocks.0.attn1" in key}
    path = tmp_path / "a.safetensors"
    save_file(first | second, path)
    found = read_lora(path, lambda part: model)
    assert {part: len(its) for part, its in found.items()} == {FIRST: 4, SECOND: 4}
    assert torch.allclose(
        4 * product(found[FIRST]["blocks.0.attn1.to_q"]), product(found[SECOND]["blocks.0.attn1.to_q"])
    )
    with pytest.raises(EngineError, match="second expert, which this model has not"):
        changes(path, model)


Q = "diffusion_model.blocks.0.self_attn.q"
ZERO = torch.zeros


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({f"{Q}.dora_scale": ZERO(32)}, "DoRA"),
        ({f"{Q}.lora_magnitude_vector.weight": ZERO(32)}, "DoRA"),
        ({f"{Q}.hada_w1_a": ZERO(4, 4)}, "LoHa"),
        ({f"{Q}.lokr_w1": ZERO(4, 4)}, "LoKr"),
        ({f"{Q}.lora_mid.weight": ZERO(4, 4)}, "third matrix"),
        ({"lora_te1_layers_0_q.lora_down.weight": ZERO(4, 4)}, "text encoder"),
        ({f"{Q}.weight": ZERO(32, 32)}, "no low-rank pair"),
        ({"diffusion_model.blocks.9.self_attn.q.lora_A.weight": ZERO(4, 32)}, "which this model has not"),
        ({"diffusion_model.blocks.0.modulation.diff": ZERO(6, 32)}, "which this model has not"),
        ({"diffusion_model.blocks.0.norm3.diff": ZERO(32) + 0.1}, "cannot be done"),
        ({f"{Q}.diff_b": ZERO(31)}, "bias of"),
        ({f"{Q}.alpha": ZERO(2)}, "alpha of"),
        ({f"{Q}.diff": ZERO(32, 32)}, "both a pair and a whole difference"),
        ({"transformer.blocks.0.attn1.to_q.lora_A.weight": ZERO(4, 32)}, "twice"),
        ({"diffusion_model.head.head.diff": ZERO(32, 64)}, "the model's is 64x32"),
        ({"diffusion_model.head.head.lora_A.weight": ZERO(4, 32)}, "no pair of matrices"),
        ({"diffusion_model.patch_embedding.lora_down.weight": ZERO(4, 36)}, "no pair of matrices"),
    ],
)
def test_what_would_act_in_part_is_refused(
    extra: State, sentence: str, model: Any, state: State, tmp_path: Path
) -> None:
    """One key that is not understood refuses the whole file, in a sentence that names file and key and what to do."""
    written = {f"diffusion_model.{wan(key)}": value for key, value in state.items()} | extra
    save_file(written, tmp_path / "a.safetensors")
    with pytest.raises(EngineError, match=sentence) as caught:
        changes(tmp_path / "a.safetensors", model)
    assert str(caught.value).startswith(str(tmp_path / "a.safetensors"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("said", ["[", "[]", '{"transformer.lora_alpha": "x"}', '{"transformer.use_dora": true}'])
def test_metadata_that_misleads_is_refused(said: str, model: Any, state: State, tmp_path: Path) -> None:
    """Metadata that cannot be read, or that makes the file another kind, refuses it."""
    save_file(
        {f"transformer.{key}": value for key, value in state.items()},
        tmp_path / "a.safetensors",
        {"lora_adapter_metadata": said},
    )
    with pytest.raises(EngineError, match="metadata"):
        changes(tmp_path / "a.safetensors", model)


def test_a_file_without_changes_is_none(model: Any, tmp_path: Path) -> None:
    """Differences of norms that are nothing do not make a LoRA."""
    save_file({"diffusion_model.blocks.0.norm3.diff": ZERO(32)}, tmp_path / "a.safetensors")
    with pytest.raises(EngineError, match="holds no low-rank pairs"):
        changes(tmp_path / "a.safetensors", model)
