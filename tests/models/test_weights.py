"""The verdict on weights: what a loader would take, and why it would not."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models import weights as module
from models.headers import WeightsError
from models.weights import judge
from models.weights_lock import CACHE, LOCK, Locked, read_lock, write_lock


def write(path: Path, *names: str, shape: tuple[int, ...] = (2, 3), fill: int = 0) -> Path:
    """A sound safetensors file of float tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 4
    for side in shape:
        size *= side
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(names or ("a",))
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * (size * len(header)))
    os.utime(path, (1, path.stat().st_mtime - 60))  # old enough for its hash to be remembered
    return path


def sha(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def problem(path: Path, **more: Any) -> str:
    """The one reason against a path."""
    verdict = judge(path, **more)
    assert len(verdict.problems) == 1, verdict.problems
    with pytest.raises(WeightsError) as caught:
        verdict.require()
    assert str(caught.value) == verdict.problems[0]
    return verdict.problems[0]


def test_a_sound_file_passes_with_its_hash(tmp_path: Path) -> None:
    """A safetensors file, LoRA or not, has format, size, tensors and sha256 in its verdict."""
    path = write(tmp_path / "loras/film-grain.safetensors", "a", "b")
    verdict = judge(path, weights=tmp_path).require()
    assert verdict.ok
    assert verdict.sha256 == sha(path)
    assert [(file.format, file.tensors, file.against) for file in verdict.files] == [("safetensors", 2, "")]


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".pkl", ".bin"])
def test_pickles_are_refused_with_the_way_to_convert(tmp_path: Path, suffix: str) -> None:
    """Every pickle ending is refused, whatever is inside."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps({"a": 1}))
    said = problem(path)
    assert str(path) in said
    assert f"dailies weights convert {path}" in said


@pytest.mark.parametrize("raw", [pickle.dumps({"a": 1}), b"PK\x03\x04" + bytes(60), b"(dp0\nS'a'\np1\n."])
@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
def test_a_renamed_pickle_is_recognised(tmp_path: Path, raw: bytes, suffix: str) -> None:
    """A pickle called .safetensors is named as what it is."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(raw)
    assert "is a pickle by its content" in problem(path)


def test_content_and_name_must_agree(tmp_path: Path) -> None:
    """A safetensors file named .gguf, an unknown ending and an empty file are refused."""
    assert "is not a gguf file" in problem(write(tmp_path / "a.gguf"))
    other = write(tmp_path / "a.safetensors").rename(tmp_path / "a.weights")
    assert "is no weights file" in problem(other)
    (tmp_path / "empty.safetensors").touch()
    assert "(empty)" in problem(tmp_path / "empty.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        judge(tmp_path / "none.safetensors")


def test_the_shapes_the_model_expects(tmp_path: Path) -> None:
    """A missing tensor and one of another shape are named; the right ones pass."""
    path = write(tmp_path / "a.safetensors", "a", "b")
    assert judge(path, expected={"a": (2, 3), "b": (2, 3)}).ok
    assert "lacks the tensor 'c'" in problem(path, expected={"c": (1,)})
    assert "is [2, 3] where the model needs [3, 2]" in problem(path, expected={"a": (3, 2)})
    many = {f"x{i}": (1,) for i in range(100)}
    assert len(judge(path, expected=many).problems) == 9


def test_a_changed_file_is_named_with_both_hashes(tmp_path: Path) -> None:
    """A file that is not the locked one is refused although its header is sound."""
    path = write(tmp_path / "m/a.safetensors")
    judge(path, weights=tmp_path, record=True).require()
    assert read_lock(tmp_path)["m/a.safetensors"] == Locked(path.stat().st_size, sha(path), "first use")
    right = sha(path)
    assert judge(path, weights=tmp_path).files[0].against == "lock"
    write(path, fill=1)
    said = problem(path, weights=tmp_path)
    assert right in said
    assert sha(path) in said
    assert str(path) in said
    assert judge(path, weights=tmp_path, record=True).problems  # a bad file is never recorded
    assert read_lock(tmp_path)["m/a.safetensors"].sha256 == right


def test_the_card_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card's hash counts more than the lock's."""
    path = write(tmp_path / "tiny/a.safetensors")
    write_lock(tmp_path, {"tiny/a.safetensors": Locked(1, sha(path), "x")})
    file = SimpleNamespace(path="a.safetensors", bytes=None, sha256="f" * 64)
    monkeypatch.setattr(module, "cards", lambda: {"tiny": SimpleNamespace(name="tiny", files=(file,))})
    assert f"its card says {'f' * 64}" in problem(path, weights=tmp_path)


def test_a_hash_is_taken_once_and_again_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, time and inode decide; a corrupt cache is made again and says nothing."""
    from models import weights_lock

    taken: list[Path] = []
    hash_ = weights_lock.file_sha256
    monkeypatch.setattr(weights_lock, "file_sha256", lambda path: (taken.append(path), hash_(path))[1])
    path = write(tmp_path / "a.safetensors")
    for _ in range(3):
        judge(path, weights=tmp_path)
    assert len(taken) == 1
    assert (tmp_path / CACHE).exists()
    for damage in ("{", "[]", '{"files": 3}', '{"files": {"a.safetensors": [1, 2]}}', "\xff"):
        (tmp_path / CACHE).write_text(damage)
        taken.clear()
        assert judge(path, weights=tmp_path).sha256 == sha(path)
        assert len(taken) == 1
    taken.clear()
    other = write(tmp_path / "b.safetensors", fill=7)
    os.replace(other, path)  # same size; another inode
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert judge(path, weights=tmp_path).sha256 == sha(path)
    assert len(taken) == 1


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"version": 2, "files": {}}', '{"version": 1, "files": {"a": {"bytes": 1}}}', '{"a": 1, "a": 2}'],
)
def test_a_damaged_lock_stops_everything(tmp_path: Path, damage: str) -> None:
    """A lock that does not parse is never taken for an empty one, nor written over."""
    path = write(tmp_path / "a.safetensors")
    (tmp_path / LOCK).write_text(damage)
    with pytest.raises(WeightsError, match=LOCK.replace(".", r"\.")):
        judge(path, weights=tmp_path)
    with pytest.raises(WeightsError):
        write_lock(tmp_path, {})
    assert (tmp_path / LOCK).read_text() == damage


def test_what_the_lock_names_must_be_there(tmp_path: Path) -> None:
    """A file deleted from a model's folder is missed."""
    path = write(tmp_path / "m/a.safetensors")
    write(tmp_path / "m/b.safetensors", "b")
    judge(tmp_path / "m", weights=tmp_path, record=True).require()
    path.unlink()
    assert "a.safetensors is missing" in problem(tmp_path / "m", weights=tmp_path)


def test_links_may_not_leave_the_weights_folder(tmp_path: Path) -> None:
    """A link to a file or folder outside is refused; inside, and in a hub cache, it is followed."""
    weights = tmp_path / "weights"
    real = write(tmp_path / "elsewhere/a.safetensors")
    weights.mkdir()
    (weights / "a.safetensors").symlink_to(real)
    assert "is a link out of" in problem(weights / "a.safetensors", weights=weights)
    assert "is a link out of" in problem(weights, weights=weights)
    (weights / "a.safetensors").unlink()
    (weights / "m").symlink_to(real.parent)
    assert "is a link out of" in problem(weights, weights=weights)
    (weights / "m").unlink()
    blobs = weights / "hub/models--studio--tiny/blobs"
    blob = write(blobs / "abc")
    snapshot = weights / "hub/models--studio--tiny/snapshots/rev"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(os.path.relpath(blob, snapshot))
    (weights / "loop").symlink_to(weights)
    verdict = judge(weights, weights=weights).require()
    assert [file.path.name for file in verdict.files] == ["model.safetensors"]
    assert judge(snapshot).ok  # a hub cache on its own
    (weights / "gone.safetensors").symlink_to(weights / "nowhere")
    assert "leads nowhere" in problem(weights, weights=weights)


def _sharded(folder: Path) -> Path:
    write(folder / "m-00001-of-00002.safetensors", "a", "b")
    write(folder / "m-00002-of-00002.safetensors", "c")
    index = {"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00001-of-00002.safetensors"}}
    index["weight_map"]["c"] = "m-00002-of-00002.safetensors"
    path = folder / "m.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 72}, **index}))
    return path


def test_shards_must_all_be_there_and_be_what_the_index_says(tmp_path: Path) -> None:
    """A missing shard, a shard of other tensors and a damaged index are refused; the whole passes."""
    index = _sharded(tmp_path)
    expected = {"a": (2, 3), "c": (2, 3)}
    assert judge(tmp_path, expected=expected).ok
    shard = tmp_path / "m-00002-of-00002.safetensors"
    write(shard, "d")
    assert "disagree on the tensor 'c'" in problem(tmp_path)
    shard.unlink()
    assert "m-00002-of-00002.safetensors, which is missing" in problem(tmp_path)
    index.write_text('{"weight_map": {"a": 1, "a": 2}}')
    assert "twice" in problem(tmp_path)


@pytest.mark.parametrize("away", ["../x.safetensors", "/etc/x.safetensors", "a\\..\\x.safetensors", "x.bin", 3, ""])
def test_an_index_does_not_lead_out_of_its_folder(tmp_path: Path, away: object) -> None:
    """A shard path that leaves the folder, or is no safetensors file, is refused."""
    index = _sharded(tmp_path / "m")
    write(tmp_path / "x.safetensors", "c")
    document = json.loads(index.read_text())
    document["weight_map"]["c"] = away
    index.write_text(json.dumps(document))
    assert "is no file of this folder" in "\n".join(judge(tmp_path / "m").problems)


def _pipeline(folder: Path, **parts: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "_class_name": "WanImageToVideoPipeline",
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "transformer_2": [None, None],
        "boundary_ratio": 0.9,
        **parts,
    }
    (folder / "model_index.json").write_text(json.dumps(document))
    (folder / "scheduler").mkdir(exist_ok=True)
    write(folder / "transformer/diffusion_pytorch_model.safetensors")
    (folder / "transformer/config.json").write_text("{}")
    return folder


def test_a_diffusers_folder_needs_every_part(tmp_path: Path) -> None:
    """All parts there: fine. A missing part, a part without weights or of pickles: refused by name."""
    assert judge(_pipeline(tmp_path / "a")).ok
    assert "the part vae, which is missing" in problem(_pipeline(tmp_path / "b", vae=["diffusers", "AutoencoderKLWan"]))
    folder = _pipeline(tmp_path / "c")
    weight = folder / "transformer/diffusion_pytorch_model.safetensors"
    weight.rename(weight.with_name("model-00001-of-00002.safetensors"))
    assert "shards and no index" in problem(folder)
    (folder / "transformer/model-00001-of-00002.safetensors").unlink()
    (folder / "transformer/pytorch_model.bin").write_bytes(b"PK\x03\x04")
    said = "\n".join(judge(folder).problems)
    assert "has no .safetensors file" in said
    assert "weights convert" in said


def test_a_diffusers_folder_brings_no_code(tmp_path: Path) -> None:
    """Parts from other libraries, pipelines of one's own and auto_map are refused: they run the maker's code."""
    assert "would run code" in problem(_pipeline(tmp_path / "a", extra=["my_module", "Thing"]))
    assert "names no pipeline class" in problem(_pipeline(tmp_path / "b", _class_name=["pipe", "Mine"]))
    folder = _pipeline(tmp_path / "c")
    (folder / "transformer/config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    assert "auto_map" in problem(folder)


def test_the_tiny_pipeline_of_diffusers_passes(tmp_path: Path) -> None:
    """What diffusers itself saves is judged sound, part by part."""
    diffusers = pytest.importorskip("diffusers")
    vae = diffusers.AutoencoderKLWan(base_dim=8, z_dim=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    vae.save_pretrained(tmp_path / "vae", max_shard_size="20KB")
    verdict = judge(tmp_path / "vae").require()
    assert len([file for file in verdict.files if file.format == "safetensors"]) > 1


def test_an_ncnn_folder_is_no_pickle(tmp_path: Path) -> None:
    """RIFE's flownet.bin beside its .param is plain numbers and passes; a pickle in its place does not."""
    folder = tmp_path / "rife-v4.6"
    folder.mkdir()
    (folder / "flownet.param").write_text("7767517\n1 1\n")
    (folder / "flownet.bin").write_bytes(b"\x47\x6b\x30\x01" + bytes(64))
    assert judge(tmp_path, weights=tmp_path).files[0].format == "ncnn"
    assert judge(tmp_path, weights=tmp_path).ok
    (folder / "flownet.bin").write_bytes(pickle.dumps({"a": 1}))
    assert "weights convert" in problem(tmp_path, weights=tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifos here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Something that is no regular file is refused unopened."""
    os.mkfifo(tmp_path / "a.safetensors")
    assert "is not a file" in problem(tmp_path)
