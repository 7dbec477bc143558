"""Every model in every form through the command line, from a list to deliverables; and files that are not taken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import av
import tiny_models
from rendering import House
from single_models import install_form


class Model(NamedTuple):
    """A shot's model: the tiny architecture, the real card, the form, and what the shot differs in."""

    name: str
    like: str
    form: str = "folder"
    rate: int = 16
    frames: int = 5
    plate: bool = True
    end_plate: bool = False


BY_STILL = {
    "i2v-720p": Model("wan2.1-i2v", "wan2.1-i2v-14b-720p"),
    "i2v-480p-single": Model("wan2.1-i2v", "wan2.1-i2v-14b-480p", "single"),
    "i2v-720p-gguf": Model("wan2.1-i2v", "wan2.1-i2v-14b-720p", "gguf"),
    "flf2v": Model("wan2.1-flf2v", "wan2.1-flf2v-14b-720p", end_plate=True),
    "fun-inp": Model("wan2.1-fun-inp", "wan2.1-fun-inp-1.3b"),
    "vace-1.3b": Model("wan2.1-vace", "wan2.1-vace-1.3b", end_plate=True),
    "vace-14b-gguf": Model("wan2.1-vace", "wan2.1-vace-14b", "gguf"),
    "i2v-a14b": Model("wan2.2-i2v-a14b", "wan2.2-i2v-a14b"),
    "i2v-a14b-gguf": Model("wan2.2-i2v-a14b", "wan2.2-i2v-a14b", "gguf"),
    "ti2v": Model("wan2.2-ti2v-5b", "wan2.2-ti2v-5b", rate=24),
    "cogvideox": Model("cogvideox-i2v", "cogvideox-5b-i2v", rate=8, frames=9),
}
"""Models that animate a still, by what they are called in the house."""
BY_WORDS = {
    "ti2v-gguf": Model("wan2.2-ti2v-5b", "wan2.2-ti2v-5b", "gguf", rate=24, plate=False),
    "vace-14b-single": Model("wan2.1-vace", "wan2.1-vace-14b", "single", plate=False),
    "t2v-14b": Model("wan2.1-t2v", "wan2.1-t2v-14b", plate=False),
    "t2v-1.3b-q4_k_m": Model("wan2.1-t2v", "wan2.1-t2v-1.3b", "q4_k_m", plate=False),
    "t2v-a14b": Model("wan2.2-t2v-a14b", "wan2.2-t2v-a14b", plate=False),
    "t2v-a14b-single": Model("wan2.2-t2v-a14b", "wan2.2-t2v-a14b", "single", plate=False),
}
"""Models that need none."""


def _row(house: House, called: str, model: Model) -> dict[str, str]:
    return {
        "shot": called,
        "model": called,
        "prompt": "a slow move over the sea at dawn",
        "resolution": "64x32",
        "frames": str(model.frames),
        "fps": str(model.rate),
        "camera": "",
        "deliveries": "h264",
        **({} if model.plate else {"plate": ""}),
        **({"end_plate": str(house.plate)} if model.end_plate else {}),
    }


def _install(house: House, called: str, model: Model) -> Path:
    weights = house.home / "weights"
    return install_form(weights, model.name, model.like, called=called, form=model.form)


def _delivered(report: dict[str, Any], model: Model, weights: Path) -> None:
    """The deliverable has the shot's frames at the model's rate, and the manifest says what made them."""
    assert report["status"] == "review", report["error"]
    with av.open(report["deliverables"][0]["path"]) as container:
        assert sum(1 for _ in container.decode(video=0)) == model.frames
    manifest = json.loads(Path(report["manifest"]).read_text())
    assert manifest["plan"]["native_rate"] == f"{model.rate}/1"
    assert [window["frames"] for window in manifest["plan"]["windows"]] == [model.frames]
    engine = manifest["engine"]
    assert (engine["card"], engine["engine"]) == (report["shot"], "cogvideox" if "cog" in model.name else "wan")
    used = {entry["path"]: entry["sha256"] for entry in engine["weights"]}
    for path, digest in used.items():
        assert hashlib.sha256((weights / path).read_bytes()).hexdigest() == digest
    transformers = {Path(path).suffix for path in used if "noise" in path}
    assert transformers == {"folder": set(), "single": {".safetensors"}}.get(model.form, {".gguf"})
    experts = 1 + (model.name in tiny_models.TWO_EXPERTS)
    images = "image_dim" in tiny_models.ARCHITECTURES[model.name][1]
    assert len(used) == experts + 2 + images


def test_every_model_animates_a_still(house: House) -> None:
    """Folders, single files and GGUF of every architecture, in one batch: each at its own rate, each written down."""
    for called, model in BY_STILL.items():
        _install(house, called, model)
    house.submit(*(_row(house, called, model) for called, model in BY_STILL.items()))
    reports = {report["shot"]: report for report in house.json("render")["shots"]}
    assert set(reports) == set(BY_STILL)
    for called, model in BY_STILL.items():
        _delivered(reports[called], model, house.home / "weights")


def test_every_model_of_words_and_files_that_are_not_taken(house: House) -> None:
    """Shots without a plate are rendered, while wrong files fail their own shot alone, each with a sentence."""
    import gguf
    import numpy as np

    weights, words = house.home / "weights", Model("wan2.1-t2v", "wan2.1-t2v-1.3b", plate=False)
    for called, model in BY_WORDS.items():
        _install(house, called, model)
    wrong = {
        "another": "no transformer, VAE, text or image encoder of a model known here",
        "stranger": "tensors that this model has not, such as blocks.0.attn2.add_k_proj.bias",
        "torn": "download it again",
        "two": "several transformers",
        "pickle": "is a pickle by its content",
    }
    for called in wrong:
        _install(house, called, words)
    writer = gguf.GGUFWriter(weights / "another" / "flux.gguf", "flux")
    writer.add_tensor("double_blocks.0.img_attn.qkv.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = weights / "two"
    for name in ("a", "b"):
        tiny_models.single_file(source, source / f"{name}.safetensors")
    deeper = tiny_models.write_model("wan2.1-flf2v", house.folder / "deeper")
    tiny_models.single_file(deeper, weights / "stranger" / "other.safetensors")
    [torn] = (weights / "torn" / "vae").glob("*.safetensors")
    torn.write_bytes(torn.read_bytes()[:-1000])
    (weights / "pickle" / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(100))
    rows = [_row(house, called, model) for called, model in BY_WORDS.items()]
    house.submit(*rows, *(_row(house, called, words) for called in wrong))
    reports = {report["shot"]: report for report in house.json("render", code=1)["shots"]}
    assert set(reports) == {*BY_WORDS, *wrong}
    for called, model in BY_WORDS.items():
        _delivered(reports[called], model, weights)
    for called, sentence in wrong.items():
        report = reports[called]
        assert (report["status"], report["deliverables"]) == ("failed", []), called
        assert sentence in report["error"], (called, report["error"])
