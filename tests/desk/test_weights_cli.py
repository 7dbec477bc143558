"""`dailies weights` as scripts and people use it: documents, sentences, exit codes."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_stub import COMMIT, Stub
from typer.testing import CliRunner, Result

from desk.weights_cli import app

Run = Callable[..., Result]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A weights folder with one LoRA."""
    folder = tmp_path / "weights"
    folder.mkdir()
    write(folder / "grain.safetensors")
    return folder


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, with that weights folder."""
    monkeypatch.setenv("DAILIES_WEIGHTS", str(weights))
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def call(*argv: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in argv])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return call


def write(path: Path, fill: int = 0) -> bytes:
    """A sound safetensors file."""
    text = json.dumps({"a": {"dtype": "U8", "shape": [80], "data_offsets": [0, 80]}}).encode()
    raw = struct.pack("<Q", len(text)) + text + bytes([fill]) * 80
    path.write_bytes(raw)
    return raw


def test_list_shows_every_card(run: Run, weights: Path) -> None:
    """Name, licence and what is installed of every card, as a table and as JSON."""
    document = json.loads(run("list", "--json").stdout)
    models = {model["name"]: model for model in document["models"]}
    assert document["weights"] == str(weights)
    assert models["animatic"]["installed"] == "built in"
    assert {"title", "engine", "licence", "repository", "bytes", "vram_minimum_gb"} <= set(models["animatic"])
    shown = run("list").stdout
    assert all(name in shown and model["licence"] in shown for name, model in models.items())


def test_verify_judges_the_folder_or_what_is_named(run: Run, weights: Path, tmp_path: Path) -> None:
    """A sound folder is exit code 0; a pickle beside it 1, with the way to convert; a missing path 2."""
    document = json.loads(run("verify", "--json").stdout)
    assert document["ok"]
    assert [file["format"] for file in document["files"]] == ["safetensors"]
    bad = tmp_path / "model.ckpt"
    bad.write_bytes(pickle.dumps({}))
    document = json.loads(run("verify", "--json", weights / "grain.safetensors", bad, code=1).stdout)
    assert not document["ok"]
    assert [bool(file["problem"]) for file in document["files"]] == [False, True]
    said = run("verify", bad, code=1)
    assert "dailies weights convert" in said.stderr
    assert "does not exist" in run("verify", tmp_path / "none", code=2).stderr


def test_verify_record_makes_the_next_use_a_check(run: Run, weights: Path) -> None:
    """--record writes the lock; a file that changes afterwards is named with both hashes."""
    run("verify", "--record")
    was = hashlib.sha256((weights / "grain.safetensors").read_bytes()).hexdigest()
    raw = write(weights / "grain.safetensors", fill=1)
    said = run("verify", code=1).stderr
    assert was in said
    assert hashlib.sha256(raw).hexdigest() in said


def test_verify_without_a_folder_is_not_ready(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing installed and nothing named: exit code 3 and what to do."""
    monkeypatch.setenv("DAILIES_WEIGHTS", str(tmp_path / "none"))
    assert "pull a model" in run("verify", code=3).stderr


def test_pull_brings_a_model(run: Run, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub that HF_ENDPOINT names into the weights folder; wrong bytes are 1, an unknown card 2, no hub 3."""
    import models.cards
    from models.cards import cards

    class Of:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(fields)

    files = (Of(path="a.safetensors", bytes=None, sha256=None),)
    tiny = Of(name="tiny", title="Tiny", repository="studio/model", revision=COMMIT, files=files)
    monkeypatch.setattr(models.cards, "card", lambda name: tiny if name == "tiny" else cards()["none"])
    raw = (weights / "grain.safetensors").read_bytes()
    with Stub({"a.safetensors": raw}) as stub:
        monkeypatch.setenv("HF_ENDPOINT", stub.endpoint)
        document = json.loads(run("pull", "tiny", "--json").stdout)
        assert [file["action"] for file in document["files"]] == ["downloaded"]
        assert (weights / "tiny/a.safetensors").read_bytes() == raw
        assert "present" in run("pull", "tiny").stdout
        tiny.name, stub.wrong = "other", True
        (weights / "tiny/a.safetensors").unlink()
        assert "thrown away" in run("pull", "tiny", code=1).stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in run("pull", "tiny", code=3).stderr
    monkeypatch.undo()


def test_pull_knows_only_cards(run: Run) -> None:
    """A name without a card is exit code 2 with the names there are; a card without files 1."""
    assert "animatic" in run("pull", "nothing", code=2).stderr
    assert "no weights to pull" in run("pull", "animatic", code=1).stderr


def test_convert_makes_safetensors(run: Run, weights: Path) -> None:
    """A checkpoint is converted and locked; a payload is exit code 1, a missing file 2."""
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {"a": torch.ones(3)}, "epoch": 1}, weights / "a.ckpt")
    document = json.loads(run("convert", weights / "a.ckpt", "-o", weights / "b.safetensors", "--json").stdout)
    assert (document["tensors"], document["dropped"]) == (1, ["epoch"])
    assert json.loads(run("verify", weights / "b.safetensors", "--json").stdout)["files"][0]["against"] == "lock"
    assert "exists already" in run("convert", weights / "a.ckpt", "-o", weights / "b.safetensors", code=1).stderr
    assert "is not a file" in run("convert", weights / "none.ckpt", code=2).stderr
