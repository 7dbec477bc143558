"""Claims about the forms a model comes in: folder, single file, GGUF, encoders under their authors' names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from tiny_engines import asked, same, tiny_card, tiny_engine, tiny_folder

from models.diffusion import Placement, Weights, scheduler
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


def test_encoders_in_their_authors_names(window: ClipRequest, tmp_path: Path) -> None:
    """UMT5 and CLIP as Wan's own repository spells them, and a VAE in one file, give the frames of the folder."""
    from safetensors.torch import load_file, save_file

    source = tiny_folder("wan2.1-i2v")
    words = load_file(source / "text_encoder" / "model.safetensors")
    save_file({original_umt5(key): value for key, value in words.items()}, tmp_path / "umt5.safetensors")
    save_file(original_clip(load_file(source / "image_encoder" / "model.safetensors")), tmp_path / "clip.safetensors")
    shutil.copy(source / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors")
    weights = Weights(
        companion("wan2.1-i2v", tmp_path / "companion", "model.safetensors"),
        vae=tmp_path / "vae.safetensors",
        text_encoder=tmp_path / "umt5.safetensors",
        image_encoder=tmp_path / "clip.safetensors",
    )
    opened: list[Path] = []
    made = list(tiny_engine("wan2.1-i2v", weights=weights, check=opened.append).generate(window, []))
    assert same(made, list(tiny_engine("wan2.1-i2v").generate(window, [])))
    assert {path.name for path in opened} >= {"umt5.safetensors", "clip.safetensors", "vae.safetensors"}


def original_umt5(key: str) -> str:
    """wan/modules/t5.py's name of a tensor of UMT5EncoderModel."""
    for pattern, name in (
        (r"shared\.weight", "token_embedding.weight"),
        (r"encoder\.final_layer_norm\.weight", "norm.weight"),
        (r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight", r"blocks.\1.norm1.weight"),
        (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.([qkvo])\.weight", r"blocks.\1.attn.\2.weight"),
        (r"encoder\.block\.(\d+)\..*relative_attention_bias\.weight", r"blocks.\1.pos_embedding.embedding.weight"),
        (r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.weight", r"blocks.\1.norm2.weight"),
        (r"encoder\.block\.(\d+)\..*wi_0\.weight", r"blocks.\1.ffn.gate.0.weight"),
        (r"encoder\.block\.(\d+)\..*wi_1\.weight", r"blocks.\1.ffn.fc1.weight"),
        (r"encoder\.block\.(\d+)\..*wo\.weight", r"blocks.\1.ffn.fc2.weight"),
    ):
        if re.fullmatch(pattern, key):
            return re.sub(pattern, name, key)
    raise AssertionError(key)


def original_clip(state: dict[str, Any]) -> dict[str, Any]:
    """wan/modules/clip.py's tensors of a CLIPVisionModel: query, key and value in one, a text tower beside."""
    import torch

    made: dict[str, Any] = {"textual.log_scale": torch.zeros(1)}
    for key, value in state.items():
        key = key.removeprefix("vision_model.")
        if ".self_attn." in key and "out_proj" not in key:
            if ".q_proj." in key:
                joint = [
                    state[next(its for its in state if its.endswith(key.replace("q_proj", f"{x}_proj")))] for x in "qkv"
                ]
                number, kind = re.search(r"layers\.(\d+)\..*\.(\w+)$", key).groups()  # type: ignore[union-attr]
                made[f"visual.transformer.{number}.attn.to_qkv.{kind}"] = torch.cat(joint)
            continue
        for ours, theirs in (
            ("embeddings.class_embedding", "cls_embedding"),
            ("embeddings.patch_embedding", "patch_embedding"),
            ("embeddings.position_embedding.weight", "pos_embedding"),
            ("pre_layrnorm", "pre_norm"),
            ("post_layernorm", "post_norm"),
            ("encoder.layers", "transformer"),
            ("layer_norm", "norm"),
            ("self_attn.out_proj", "attn.proj"),
            ("mlp.fc1", "mlp.0"),
            ("mlp.fc2", "mlp.2"),
        ):
            key = key.replace(ours, theirs)
        shaped = value[None] if key == "pos_embedding" else value.view(1, 1, -1) if key == "cls_embedding" else value
        made[f"visual.{key}"] = shaped.contiguous()
    return made


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
    with pytest.raises(EngineError, match=r"cannot be loaded from .*transformer.*weights verify"):
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
