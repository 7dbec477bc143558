"""Diffusion models through the command line: tiny instances of the true architectures, from a list to deliverables."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import av
import pytest
import tiny_models
from rendering import ROOT, House, pictures

CARDS = ROOT / "models" / "cards"
NUMBERS = {
    "parameters": "0.0001",
    "text_encoder": "0.0001",
    "image_encoder": "0.0001",
    "vae": "0.0001",
    "text_tokens": "16",
    "steps": "2",
    "smallest": "32",
    "largest": "512",
    "size_multiple": "32",
    "sizes": "[[64, 32]]",
    "activation_bytes": "1.0",
    "vae_bytes": "100",
}
"""Fields of a real card that differ for a tiny instance of its architecture."""


def install(weights: Path, name: str, like: str, *, called: str = "tiny") -> None:
    """A tiny instance of `name`, with a card made from the real card `like`, as the model `called`."""
    folder = weights / called
    tiny_models.write_model(name, folder)
    text = (CARDS / f"{like}.toml").read_text()
    for field, value in NUMBERS.items():
        text, found = re.subn(rf"^{field} = .*$", f"{field} = {value}", text, flags=re.M)
        assert found or field in ("image_encoder", "steps"), field
    start = text.index("[transformer]")
    end = text.find("\n[", start + 1)
    numbers = tiny_models.ARCHITECTURES[name][1]
    table = "\n".join(["[transformer]", *(f"{field} = {json.dumps(value)}" for field, value in numbers.items())])
    (folder / "card.toml").write_text(text[:start] + table + (text[end:] if end >= 0 else "") + "\n")


@pytest.fixture
def tiny(house: House) -> House:
    """A house in which a tiny Wan2.1 I2V is installed as the model `tiny`."""
    install(house.home / "weights", "wan2.1-i2v", "wan2.1-i2v-14b-720p")
    return house


def _shot(**changes: str) -> dict[str, str]:
    return {
        "shot": "SH0010",
        "model": "tiny",
        "prompt": "a slow move over the sea at dawn",
        "resolution": "64x32",
        "frames": "9",
        "fps": "16",
        "deliveries": "h265",
        **changes,
    }


def test_a_list_for_a_model_becomes_deliverables(tiny: House) -> None:
    """The model named in the list renders it: planned, loaded, denoised, decoded, delivered, written down."""
    tiny.submit(_shot())
    [plan] = tiny.json("plan")["shots"]
    assert (plan["engine"], plan["model"], plan["native_frames"]) == ("wan", "tiny", 9)
    [report] = tiny.json("render")["shots"]
    assert report["status"] == "review"
    with av.open(report["deliverables"][0]["path"]) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
    manifest = json.loads(Path(report["manifest"]).read_text())
    assert manifest["engine"]["engine"] == "wan"
    assert manifest["engine"]["device"] == "cpu"
    assert manifest["engine"]["versions"]["torch"].startswith("2.13")
    assert {entry["path"].split("/")[1] for entry in manifest["engine"]["weights"]} >= {"transformer", "vae"}
    assert all(len(entry["sha256"]) == 64 for entry in manifest["engine"]["weights"])
    assert manifest["notices"] == []
    assert manifest["plan"]["windows"][0]["frames"] == 9
    assert not list(tiny.home.glob("work/**/*.state"))
    version = Path(report["manifest"]).parent
    before = pictures(version)
    shutil.rmtree(tiny.home / "work")
    shutil.rmtree(version)
    for path in tiny.home.glob("catalogue.sqlite*"):
        path.unlink()
    tiny.submit(_shot())
    [again] = tiny.json("render")["shots"]
    assert pictures(Path(again["manifest"]).parent) == before


def test_a_preview_needs_no_weights_and_says_so(tiny: House) -> None:
    """DAILIES_ENGINE=animatic previews the same list with the model's windows, and the manifest says what it is."""
    tiny.submit(_shot())
    [report] = tiny.json("render", DAILIES_ENGINE="animatic")["shots"]
    assert json.loads(Path(report["manifest"]).read_text())["notices"][0].startswith("Animatic")


def test_weights_that_are_not_there_are_named(house: House) -> None:
    """A shot for a model without weights fails with the command that fetches them; the others are rendered."""
    house.submit(
        _shot(model="wan2.1-i2v-14b-720p", resolution="720p", deliveries="h264"),
        {"shot": "SH0020"},
    )
    [missing, made] = house.json("render", code=1)["shots"]
    assert "dailies weights pull wan2.1-i2v-14b-720p" in missing["error"]
    assert made["status"] == "review"


def test_weights_that_changed_are_refused(tiny: House) -> None:
    """A weight file that is not what it was at its first use is not loaded: the error names it and both hashes."""
    tiny.submit(_shot())
    tiny.json("render")
    [path] = (tiny.home / "weights" / "tiny" / "transformer").glob("*.safetensors")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    tiny.submit(_shot(seed="7"), mode="upsert")
    [report] = tiny.json("render", code=1)["shots"]
    assert path.name in report["error"]
    assert len(re.findall(r"[0-9a-f]{64}", report["error"])) >= 2


def test_every_kind_of_pipeline_delivers(house: House) -> None:
    """Inpainting, VACE, two experts and text alone, one after the other in one batch: each delivers its frames."""
    kinds = {
        "inp": ("wan2.1-fun-inp", "wan2.1-fun-inp-1.3b"),
        "vace": ("wan2.1-vace", "wan2.1-vace-1.3b"),
        "experts": ("wan2.2-i2v-a14b", "wan2.2-i2v-a14b"),
        "words": ("wan2.1-t2v", "wan2.1-t2v-1.3b"),
    }
    for called, (name, like) in kinds.items():
        install(house.home / "weights", name, like, called=called)
    house.submit(*(_shot(shot=f"SH00{at}0", model=called) for at, called in enumerate(kinds, start=1)))
    reports = house.json("render")["shots"]
    assert [report["status"] for report in reports] == ["review"] * len(kinds)
    for report in reports:
        with av.open(report["deliverables"][0]["path"]) as container:
            assert sum(1 for _ in container.decode(video=0)) == 9
