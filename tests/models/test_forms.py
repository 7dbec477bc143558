"""Claims about the forms a model comes in: folder, single file, GGUF, encoders under their authors' names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from single_models import companions, k_quants, small_files
from tiny_engines import asked, same, tiny_card, tiny_engine, tiny_folder

from models.diffusion import Placement, scheduler
from models.headers import read_header
from models.installed import Weights
from models.interface import ClipRequest, EngineError, EngineUnavailable

SINGLE = [name for name in tiny_models.ARCHITECTURES if not name.startswith("cogvideox")]


def companion(name: str, target: Path, *without: str) -> Path:
    """The model's folder without some of its parts."""
    return Path(shutil.copytree(tiny_folder(name), target, ignore=shutil.ignore_patterns(*without)))


def single(name: str, made: Any, folder: Path, suffix: str, **options: Any) -> Weights:
    """Weights whose transformers are single files made by `made`, beside a companion folder without transformers."""
    source = tiny_folder(name)
    parts = ("transformer", "transformer_2") if name in tiny_models.TWO_EXPERTS else ("transformer",)
    files = {part: made(source, folder / f"{part}{suffix}", component=part, **options) for part in parts}
    return Weights(companion(name, folder / "companion", "transformer", "transformer_2"), **files)


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_file_is_the_same_model(name: str, window: ClipRequest, tmp_path: Path) -> None:
    """In original key names and 32 bits, with the numbers of the card alone, frames equal those of the folder."""
    weights = single(name, tiny_models.single_file, tmp_path, ".safetensors", dtype="float32")
    changes = {"transformer": tiny_models.numbers_of(tiny_folder(name))}
    request = asked(name, window)
    made = list(tiny_engine(name, weights=weights, changes=changes).generate(request, []))
    assert same(made, list(tiny_engine(name).generate(request, [])))


@pytest.mark.parametrize(("name", "worst"), [("wan2.1-i2v", 0.02), ("wan2.2-i2v-a14b", 0.02), ("wan2.1-vace", 0.02)])
def test_a_gguf_file_is_nearly_the_same_model(name: str, worst: float, window: ClipRequest, tmp_path: Path) -> None:
    """In Q8_0 the frames differ from the folder's, by 2 % of full scale at most."""
    weights = single(name, tiny_models.gguf_file, tmp_path, ".gguf")
    changes = {"transformer": tiny_models.numbers_of(tiny_folder(name))}
    request = asked(name, window)
    made = np.stack(list(tiny_engine(name, weights=weights, changes=changes).generate(request, []))).astype(int)
    whole = np.stack(list(tiny_engine(name).generate(request, []))).astype(int)
    assert 0 < np.abs(made - whole).max() <= worst * 65535


def test_a_gguf_file_computes_in_sixteen_bits(window: ClipRequest, tmp_path: Path) -> None:
    """Quantised matrices and the rest agree on one type, as they must on a GPU."""
    weights = single("wan2.1-i2v", tiny_models.gguf_file, tmp_path, ".gguf")
    changes = {"transformer": tiny_models.numbers_of(tiny_folder("wan2.1-i2v"))}
    options = {"weights": weights, "changes": changes, "placement": Placement(dtype="bfloat16")}
    assert len(list(tiny_engine("wan2.1-i2v", **options).generate(window, []))) == 9


def test_both_forms_agree_in_sixteen_bits(window: ClipRequest, tmp_path: Path) -> None:
    """Time embedding, norms and scales stay in 32 bits in a single file as they do in a folder."""
    weights = single("wan2.1-i2v", tiny_models.single_file, tmp_path, ".safetensors", dtype="float32")
    changes = {"transformer": tiny_models.numbers_of(tiny_folder("wan2.1-i2v"))}
    how = Placement(dtype="bfloat16")
    made = list(tiny_engine("wan2.1-i2v", weights=weights, changes=changes, placement=how).generate(window, []))
    assert same(made, list(tiny_engine("wan2.1-i2v", placement=how).generate(window, [])))


def test_half_precision_is_read_as_it_is(window: ClipRequest, tmp_path: Path) -> None:
    """A file in fp16, as published, is within 1 % of full scale of the source."""
    weights = single("wan2.1-i2v", tiny_models.single_file, tmp_path, ".safetensors")
    changes = {"transformer": tiny_models.numbers_of(tiny_folder("wan2.1-i2v"))}
    made = list(tiny_engine("wan2.1-i2v", weights=weights, changes=changes).generate(window, []))
    whole = list(tiny_engine("wan2.1-i2v").generate(window, []))
    assert np.abs(np.stack(made).astype(int) - np.stack(whole).astype(int)).max() <= 655


def test_numbers_are_never_guessed(window: ClipRequest, tmp_path: Path) -> None:
    """A single file with neither card nor config to describe it is refused, and so is a card that contradicts it."""
    weights = single("wan2.1-i2v", tiny_models.single_file, tmp_path, ".safetensors")
    with pytest.raises(EngineError, match=r"neither card nor .* states the architecture"):
        tiny_engine("wan2.1-i2v", weights=weights).load()
    with pytest.raises(EngineError, match=r"num_layers is 2, tiny-wan2.1-i2v has 40; these are another model's files"):
        tiny_engine("wan2.1-i2v", changes={"transformer": {"num_layers": 40}}).load()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("wan2.1-t2v", r"lacks \d+ tensors of this model, such as"),
        ("wan2.1-flf2v", r"1 tensors that this model has not"),
    ],
)
def test_the_file_of_another_model_is_refused(other: str, message: str, tmp_path: Path) -> None:
    """A tensor that is missing would stay random, one too many would be ignored: both are named."""
    file = tiny_models.single_file(tiny_folder(other), tmp_path / "other.safetensors")
    with pytest.raises(EngineError, match=message):
        tiny_engine("wan2.1-i2v", weights=Weights(tiny_folder("wan2.1-i2v"), transformer=file)).load()


@pytest.mark.parametrize("name", ["wan2.1-i2v", "wan2.1-vace", "wan2.2-ti2v-5b"])
def test_parts_in_their_authors_names(name: str, window: ClipRequest, tmp_path: Path) -> None:
    """VAE, UMT5 and CLIP as Wan's own repositories spell them, a file each, give the frames of the folder."""
    files = companions(tiny_folder(name), tmp_path)
    folder = small_files(tiny_folder(name), tmp_path / "small")
    changes = {"transformer": tiny_models.numbers_of(tiny_folder(name)), "shift": 3.0}
    whole = tiny_models.single_file(tiny_folder(name), tmp_path / "wan.safetensors", dtype="float32")
    weights = Weights(folder, transformer=whole, **files)
    opened: list[Path] = []
    request = asked(name, window)
    engine = tiny_engine(name, weights=weights, changes=changes, check=opened.append)
    made = list(engine.generate(request, []))
    assert same(made, list(tiny_engine(name).generate(request, [])))
    assert sorted(opened) == sorted([whole, *files.values()])


def test_scaled_eight_bits_are_refused(tmp_path: Path) -> None:
    """An encoder whose factors stand beside its matrices would give noise without them."""
    from safetensors.torch import load_file, save_file

    state = load_file(tiny_folder("wan2.1-i2v") / "text_encoder" / "model.safetensors")
    key = "encoder.block.0.layer.0.SelfAttention.q.scale_weight"
    save_file(state | {key: state["shared.weight"][:1].clone()}, tmp_path / "scaled.safetensors")
    weights = Weights(tiny_folder("wan2.1-i2v"), text_encoder=tmp_path / "scaled.safetensors")
    with pytest.raises(EngineError, match=r"scaled 8-bit matrices .* use the fp16 or bf16 file"):
        tiny_engine("wan2.1-i2v", weights=weights).encode_prompts(["a slow move"])


def test_k_quants_are_computed_with(window: ClipRequest, tmp_path: Path) -> None:
    """A Q4_K_M file, Q4_K and Q6_K as llama.cpp packs them, renders within 5 % of the model that it was made from; what
    is quantised and no matrix is widened as it is read."""
    folder = tiny_models.write_model("wan2.1-t2v", tmp_path / "whole", attention_head_dim=128, ffn_dim=256)
    file = k_quants(folder, tmp_path / "Q4_K_M.gguf")
    kinds = {entry.dtype for entry in read_header(file).tensors}
    assert kinds == {"Q4_K", "Q6_K", "Q8_0", "F32"}
    request = asked("wan2.1-t2v", window)
    changes = {"transformer": tiny_models.numbers_of(folder)}
    whole = np.stack(list(tiny_engine("wan2.1-t2v", weights=Weights(folder)).generate(request, []))).astype(int)
    engine = tiny_engine("wan2.1-t2v", weights=Weights(folder, transformer=file), changes=changes)
    made = np.stack(list(engine.generate(request, []))).astype(int)
    assert 0 < np.abs(made - whole).max() <= 0.05 * 65535


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q5_1", "Q4_0"])
def test_blocks_are_widened_as_their_authors_do(kind: str) -> None:
    """Random blocks of every usual type: diffusers' numbers are those of the gguf package, to 1/500 of the largest (it
    computes in 16 bits)."""
    import gguf
    import torch
    from diffusers.quantizers.gguf.utils import GGUFParameter, dequantize_gguf_tensor

    found = getattr(gguf.GGMLQuantizationType, kind)
    raw = np.random.default_rng(4).integers(0, 256, (4, gguf.GGML_QUANT_SIZES[found][1] * 4), dtype=np.uint8)
    size = gguf.GGML_QUANT_SIZES[found][1]
    halves = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "Q5_1": (0, 2)}
    for first in range(0, raw.shape[1], size):
        for at in halves.get(kind, (0,)):  # random bits make no sensible half
            raw[:, first + at : first + at + 2] = np.array([0.01], np.float16).view(np.uint8)
    theirs = gguf.quants.dequantize(raw, found)
    ours = dequantize_gguf_tensor(GGUFParameter(torch.from_numpy(raw), quant_type=found)).float().numpy()
    assert np.abs(ours - theirs).max() <= np.abs(theirs).max() / 500


def test_shards_are_those_of_the_index(window: ClipRequest, tmp_path: Path) -> None:
    """A folder in shards is the same model; a variant that lies beside them is not opened; a missing one is named."""
    from safetensors.torch import load_file, save_file

    folder = companion("wan2.1-t2v", tmp_path / "folder", "*.safetensors.index.json")
    [file] = (folder / "transformer").glob("*.safetensors")
    state = load_file(file)
    names = [f"diffusion_pytorch_model-0000{at}-of-00002.safetensors" for at in (1, 2)]
    halves = [dict(list(state.items())[at::2]) for at in (0, 1)]
    placed = {key: name for name, half in zip(names, halves, strict=True) for key in half}
    for name, half in zip(names, halves, strict=True):
        save_file(half, folder / "transformer" / name)
    opened: list[Path] = []
    weights, request = Weights(folder), asked("wan2.1-t2v", window)
    with pytest.raises(EngineError, match=r"is in .* and in .*; leave one"):
        tiny_engine("wan2.1-t2v", weights=weights).load()
    index = file.with_name("diffusion_pytorch_model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": placed}))
    made = list(tiny_engine("wan2.1-t2v", weights=weights, check=opened.append).generate(request, []))
    assert same(made, list(tiny_engine("wan2.1-t2v").generate(request, [])))
    assert {path.name for path in opened if path.parent.name == "transformer"} == set(names)
    (folder / "transformer" / names[1]).unlink()
    with pytest.raises(EngineUnavailable, match=names[1]):
        tiny_engine("wan2.1-t2v", weights=weights).load()


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    """Names that agree are not enough: the shape that the model needs stands in the error."""
    other = tiny_models.write_model("wan2.1-t2v", tmp_path / "other", ffn_dim=128)
    file = tiny_models.single_file(other, tmp_path / "other.safetensors")
    with pytest.raises(EngineError, match=r"blocks\.0\.ffn.* is \[128, 32\] where the model needs \[64, 32\]"):
        tiny_engine("wan2.1-t2v", weights=Weights(tiny_folder("wan2.1-t2v"), transformer=file)).load()


def test_eight_bits_are_stored_as_they_are_read() -> None:
    """With fp8 the matrices are never held in 16 bits: they come from the file as they stay, all others as ever."""
    import torch

    engine = tiny_engine("wan2.1-i2v", placement=Placement(dtype="bfloat16", fp8=True))
    engine.load()
    kinds = {name: value.dtype for name, value in engine._pipe.transformer.named_parameters()}
    assert kinds["blocks.0.attn1.to_q.weight"] == torch.float8_e4m3fn
    assert kinds["blocks.0.scale_shift_table"] == torch.float32
    assert not any(value.is_meta for value in engine._pipe.transformer.parameters())


def test_a_check_that_refuses_stops_the_load(tmp_path: Path) -> None:
    """No file is opened before it was checked: the first refusal is what the caller sees."""

    def check(path: Path) -> None:
        raise EngineError(f"{path.name} has another sha256 than its card")

    with pytest.raises(EngineError, match="another sha256"):
        tiny_engine("wan2.1-i2v", check=check).load()
    with pytest.raises(EngineError, match="another sha256"):
        tiny_engine("wan2.1-i2v", check=check).encode_prompts(["grey noise"])


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin"])
def test_pickles_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    """A pickle is never opened; the error says how to convert it."""
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"cos\nsystem\n")
    with pytest.raises(EngineError, match="dailies weights convert"):
        tiny_engine("wan2.1-i2v", weights=Weights(tiny_folder("wan2.1-i2v"), transformer=file)).load()


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    """So is a diffusers folder whose part has only a .bin."""
    folder = companion("wan2.1-i2v", tmp_path / "folder", "diffusion_pytorch_model.safetensors")
    (folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"")
    (folder / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EngineUnavailable, match=r"diffusion_pytorch_model.bin only, a pickle"):
        tiny_engine("wan2.1-i2v", weights=Weights(folder)).load()


@pytest.mark.parametrize("part", ["transformer", "vae", "image_encoder", "text_encoder", "tokenizer"])
def test_a_missing_part_is_named(part: str, window: ClipRequest, tmp_path: Path) -> None:
    """The error names the folder, and nothing is fetched in its place."""
    folder = companion("wan2.1-i2v", tmp_path / "folder", part)
    with pytest.raises(EngineUnavailable, match=part):
        list(tiny_engine("wan2.1-i2v", weights=Weights(folder)).generate(window, []))


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    """A truncated file gives a sentence with its name, not a library's traceback."""
    folder = companion("wan2.1-i2v", tmp_path / "folder")
    path = next((folder / "transformer").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        EngineError, match=r"transformer.*bytes and has|transformer.*lies at|transformer.*download it again"
    ):
        tiny_engine("wan2.1-i2v", weights=Weights(folder)).load()


def test_the_card_sets_the_shift_and_an_unknown_pipeline_is_refused(tmp_path: Path) -> None:
    """3 for 480p and 5 for 720p come from the card; without a scheduler's config UniPC is made from it."""
    whole = Weights(tiny_folder("wan2.1-i2v"))
    bare = Weights(companion("wan2.1-i2v", tmp_path / "folder", "scheduler"))
    card = tiny_card("wan2.1-i2v", shift=5.0)
    for weights in (whole, bare):
        made = scheduler(card, weights)
        assert (type(made).__name__, made.config.flow_shift) == ("UniPCMultistepScheduler", 5.0)
    assert scheduler(tiny_card("wan2.1-i2v"), whole).config.flow_shift == 3.0
    with pytest.raises(EngineUnavailable, match=r"scheduler_config\.json is missing"):
        scheduler(tiny_card("wan2.1-i2v"), bare)
    with pytest.raises(EngineError, match="'LTXPipeline' is not one of"):
        tiny_engine("wan2.1-i2v", changes={"pipeline": "LTXPipeline"})
