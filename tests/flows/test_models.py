"""Diffusion models through the command line: tiny instances of the true architectures, from a list to deliverables."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import av
import pytest
from rendering import House, pictures
from tiny_house import install


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
