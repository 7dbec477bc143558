"""Which files of a model are taken: every form, told by its tensors, and what is said of those that are not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from single_models import companions, small_files
from tiny_engines import tiny_card, tiny_engine, tiny_folder

from models.cards import Card
from models.installed import Weights, installed, part_in
from models.interface import EngineError, EngineUnavailable
from models.weights import judge

I2V, T2V, EXPERTS = "wan2.1-i2v", "wan2.1-t2v", "wan2.2-i2v-a14b"


def card_of(name: str, **changes: Any) -> Card:
    """The card of a tiny instance with its numbers, as a real card has them."""
    numbers = tiny_models.numbers_of(tiny_folder(name))
    facts: dict[str, Any] = {"transformer": numbers, "shift": 3.0, "experts": 1 + (name in tiny_models.TWO_EXPERTS)}
    return tiny_card(name, **(facts | changes))


def folder_of(card: Card, weights: Path) -> Path:
    """Where the card's model lies."""
    folder = weights / card.name
    folder.mkdir(parents=True)
    return folder


def whole(name: str, weights: Path, *without: str) -> Card:
    """A diffusers folder in its place, without some of its parts."""
    card = card_of(name)
    shutil.copytree(tiny_folder(name), weights / card.name, ignore=shutil.ignore_patterns(*without))
    return card


def test_a_diffusers_folder(tmp_path: Path) -> None:
    """Every part lies in its folder; nothing takes its place."""
    card = whole(I2V, tmp_path)
    found = installed(card, tmp_path)
    assert found == Weights(tmp_path / card.name)
    assert found.form == "diffusers"
    assert {path.parent.name for path in found.files()} == {"transformer", "vae", "text_encoder", "image_encoder"}


@pytest.mark.parametrize("name", [I2V, "wan2.1-vace", "wan2.2-ti2v-5b"])
@pytest.mark.parametrize("links", [False, True], ids=["files", "links"])
def test_single_files_are_told_by_their_tensors(name: str, links: bool, tmp_path: Path) -> None:
    """Four files whose names say nothing, or links to them elsewhere in the weights folder, beside the small files."""
    card = card_of(name)
    folder = folder_of(card, tmp_path)
    place = tmp_path / "split_files" if links else folder
    place.mkdir(exist_ok=True)
    made = companions(tiny_folder(name), place)
    made["transformer"] = tiny_models.single_file(tiny_folder(name), place / "t.safetensors")
    for at, (part, path) in enumerate(made.items()):
        made[part] = folder / f"{at}.safetensors"
        made[part].symlink_to(os.path.relpath(path, folder)) if links else path.rename(made[part])
    small_files(tiny_folder(name), folder)
    found = installed(card, tmp_path)
    assert {part: found.single(part) for part in made} == made
    assert found.form == "safetensors"
    assert set(found.files()) == set(made.values())
    whole_files = shutil.ignore_patterns("*.safetensors")  # the small ones, as `pull --config` leaves them
    shutil.copytree(tiny_folder(name), folder, ignore=whole_files, dirs_exist_ok=True)
    assert judge(folder, weights=tmp_path).problems == ()


def test_a_gguf_transformer(tmp_path: Path) -> None:
    """A GGUF file takes the place of the transformer alone."""
    card = whole(T2V, tmp_path, "transformer")
    file = tiny_models.gguf_file(tiny_folder(T2V), tmp_path / card.name / "any.gguf")
    found = installed(card, tmp_path)
    assert (found.transformer, found.form) == (file, "gguf")
    assert {path.name for path in found.files("vae")} == {"diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("wan2.2_i2v_high_noise_14B_fp16.safetensors", "wan2.2_i2v_low_noise_14B_fp16.safetensors"),
        ("Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf", "Wan2.2-I2V-A14B-LowNoise-Q4_K_M.gguf"),
        ("overflow_high.gguf", "overflow_low.gguf"),
    ],
)
def test_two_experts_are_told_by_their_names(high: str, low: str, tmp_path: Path) -> None:
    """Nothing in the files tells them apart; as both projects that publish them name them, they are found."""
    card = whole(EXPERTS, tmp_path, "transformer", "transformer_2")
    for name, part in ((high, "transformer"), (low, "transformer_2")):
        write = tiny_models.gguf_file if name.endswith("gguf") else tiny_models.single_file
        write(tiny_folder(EXPERTS), tmp_path / card.name / name, component=part)
    found = installed(card, tmp_path)
    assert (found.transformer, found.transformer_2) == (tmp_path / card.name / high, tmp_path / card.name / low)


def test_experts_that_cannot_be_told_apart(tmp_path: Path) -> None:
    """A name with neither word asks to be renamed; two for one part are refused; one expert alone is not enough."""
    card = whole(EXPERTS, tmp_path, "transformer", "transformer_2")
    folder, source = tmp_path / card.name, tiny_folder(EXPERTS)
    first = tiny_models.single_file(source, folder / "wan_high.safetensors")
    with pytest.raises(EngineUnavailable, match=r"lacks its transformer for low noise.*weights pull"):
        installed(card, tmp_path)
    other = tiny_models.single_file(source, folder / "slow.safetensors", component="transformer_2")
    with pytest.raises(EngineError, match=r"slow\.safetensors: nothing .* rename it so that .* `high` or `low`"):
        installed(card, tmp_path)
    other.rename(folder / "HIGH2.safetensors")
    with pytest.raises(EngineError, match="two transformers for high noise"):
        installed(card, tmp_path)
    assert first.is_file()


def test_two_transformers_are_refused(tmp_path: Path) -> None:
    """Nothing is guessed: both are named."""
    card = whole(T2V, tmp_path)
    for name in ("a.safetensors", "b.gguf"):
        write = tiny_models.gguf_file if name.endswith("gguf") else tiny_models.single_file
        write(tiny_folder(T2V), tmp_path / card.name / name)
    with pytest.raises(EngineError, match=r"several transformers \(a\.safetensors, b\.gguf\).*leave one"):
        installed(card, tmp_path)


def test_two_files_of_another_part_are_refused(tmp_path: Path) -> None:
    """So are two VAEs."""
    card = whole(T2V, tmp_path)
    first = companions(tiny_folder(T2V), tmp_path / card.name)["vae"]
    shutil.copy(first, first.with_name("other.safetensors"))
    with pytest.raises(EngineError, match=r"several files of the VAE \(other\.safetensors, some_vae\.safetensors\)"):
        installed(card, tmp_path)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "image_encoder"])
def test_a_missing_part_is_named_with_the_remedy(part: str, tmp_path: Path) -> None:
    """The sentence says what lacks and the command that fetches it."""
    card = whole(I2V, tmp_path, part)
    word = part.replace("_", " ").replace("vae", "VAE")
    with pytest.raises(EngineUnavailable, match=rf"lacks its {word}: neither .*`dailies weights pull {card.name}`"):
        installed(card, tmp_path)
    with pytest.raises(EngineUnavailable, match="not installed; `dailies weights pull"):
        installed(card, tmp_path / "elsewhere")


@pytest.mark.parametrize("small", ["tokenizer", "vae/config.json", "text_encoder/config.json"])
def test_a_missing_small_file_is_named(small: str, tmp_path: Path) -> None:
    """Single files bring no tokenizer and no configs: the error names them and how to get them without the weights."""
    card = whole(T2V, tmp_path)
    path = tmp_path / card.name / small
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(EngineUnavailable, match=rf"{small} is missing; `dailies weights pull {card.name} --config`"):
        installed(card, tmp_path)


def test_what_the_card_states_may_be_left_out(tmp_path: Path) -> None:
    """The transformer's config, the scheduler and the index of the pipeline: the model renders without them."""
    card = whole(T2V, tmp_path, "scheduler", "model_index.json")
    (tmp_path / card.name / "transformer" / "config.json").unlink()
    found = installed(card, tmp_path)
    engine = tiny_engine(T2V, weights=found, changes={"transformer": card.transformer, "shift": 3.0})
    engine.load()
    with pytest.raises(EngineUnavailable, match=r"scheduler_config\.json is missing"):
        installed(replace(card, shift=0.0), tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """An index whose shards are not all there is not an installed model."""
    card = whole(T2V, tmp_path)
    folder = tmp_path / card.name / "transformer"
    next(folder.glob("*.safetensors")).unlink()
    (folder / "m.safetensors.index.json").write_text('{"weight_map": {"a": "m-00001-of-00001.safetensors"}}')
    with pytest.raises(EngineUnavailable, match=r"m-00001-of-00001\.safetensors is missing, which the index"):
        installed(card, tmp_path)


def test_a_pickle_in_place_of_a_part(tmp_path: Path) -> None:
    """A .pth where the VAE should be is named with the command that converts it; one under another name is unmasked."""
    card = whole(T2V, tmp_path, "vae")
    pickle = tmp_path / card.name / "Wan2.1_VAE.pth"
    pickle.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(EngineUnavailable, match=rf"lacks its VAE.*`dailies weights convert {pickle}`"):
        installed(card, tmp_path)
    pickle.rename(pickle.with_suffix(".safetensors"))
    with pytest.raises(EngineError, match="is a pickle by its content"):
        installed(card, tmp_path)


def test_files_of_no_part_are_named(tmp_path: Path) -> None:
    """A LoRA, a whole checkpoint, GGUF of another model or part, a torn file: each has its sentence."""
    import gguf
    import torch
    from safetensors.torch import load_file, save_file

    card = whole(T2V, tmp_path)
    folder = tmp_path / card.name
    state = load_file(tiny_models.single_file(tiny_folder(T2V), tmp_path / "t.safetensors"))
    vae = load_file(companions(tiny_folder(T2V), tmp_path)["vae"])
    path = folder / "x.safetensors"

    def said() -> str:
        with pytest.raises(EngineError) as caught:
            installed(card, tmp_path)
        path.unlink()
        return str(caught.value)

    tiny_models.lora_file(tiny_folder(T2V), path)
    assert "is a LoRA; move it out" in said()
    save_file({f"model.diffusion_model.{key}": value for key, value in state.items()} | vae, path)
    assert "transformer and VAE in one file" in said()
    save_file({"double_blocks.0.weight": torch.zeros(2)}, path)
    assert "no transformer, VAE, text or image encoder of a model known here" in said()
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "download it again" in said()
    path = folder / "x.gguf"
    for name, sentence in (("enc.blk.0.attn_q.weight", "the text encoder is not read"), ("x.weight", "no transformer")):
        writer = gguf.GGUFWriter(path, "flux")
        writer.add_tensor(name, torch.zeros(2, 2).numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        assert sentence in said()


def test_a_link_out_of_the_weights_folder_is_refused(tmp_path: Path) -> None:
    """Nothing outside is read, not even a header."""
    card = whole(T2V, tmp_path / "weights")
    outside = tiny_models.single_file(tiny_folder(T2V), tmp_path / "t.safetensors")
    (tmp_path / "weights" / card.name / "t.safetensors").symlink_to(outside)
    with pytest.raises(EngineError, match="is a link out of"):
        installed(card, tmp_path / "weights")


def test_whole_checkpoints_prefix_is_known(tmp_path: Path) -> None:
    """Tools write `model.diffusion_model.` before every name: it is the transformer, and loads as such."""
    from safetensors.torch import load_file, save_file

    card = whole(T2V, tmp_path, "transformer")
    state = load_file(tiny_models.single_file(tiny_folder(T2V), tmp_path / "t.safetensors", dtype="float32"))
    path = tmp_path / card.name / "t.safetensors"
    save_file({f"model.diffusion_model.{key}": value for key, value in state.items()}, path)
    assert part_in(path) == "transformer"
    tiny_engine(T2V, weights=installed(card, tmp_path), changes={"transformer": card.transformer}).load()


def test_everything_that_changes_pixels_changes_the_version(tmp_path: Path) -> None:
    """A card's shift, a VAE's statistics, a scheduler's order, a tokenizer: each makes another version."""
    from models.wan import engine_version
    from models.weights_lock import file_sha256

    folder = tiny_models.write_model("wan2.1-i2v", tmp_path / "model")
    card = tiny_card("wan2.1-i2v")

    def version(**changes: object) -> str:
        return engine_version(replace(card, **changes), Weights(folder), file_sha256)  # type: ignore[arg-type]

    changes: list[dict[str, object]] = [{}, {"shift": 7.0}, {"boundary": 0.8}, {"guidance_2": 2.0}, {"text_tokens": 8}]
    changes += [{"mag_ratios": (1.0, 0.9)}, {"transformer": {"num_layers": 3}}, {"guidance": 9.0}]
    seen = [version(**change) for change in changes]
    files = ["vae/config.json", "scheduler/scheduler_config.json", "model_index.json", "image_encoder/config.json"]
    for name in (*files, "text_encoder/config.json", "tokenizer/tokenizer.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b" ")
        seen.append(version())
        (folder / name).write_bytes(before)
    assert len(set(seen)) == len(seen)
    assert version() == seen[0]
    assert version(title="another", vram_minimum_gb=1.0) == seen[0]
