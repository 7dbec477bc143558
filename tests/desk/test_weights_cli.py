"""`dailies weights` as scripts and people use it: documents, sentences, exit codes."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hub_stub import COMMIT, Stub
from tiny_house import install, tiny_card_text
from typer.testing import CliRunner, Result

from desk import weights_list
from desk.weights_cli import app
from models.memory import GB, DeviceFacts

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


def test_list_says_what_this_machine_can_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way at the first preset size, or what it would need, for the graphics card or the processor that is here."""
    device = DeviceFacts("cuda", 11 * GB, 12 * GB, 128 * GB, bf16=True, fp8=True)
    monkeypatch.setattr(weights_list, "device_facts", lambda: device)
    monkeypatch.setattr(weights_list, "device_name", lambda: "NVIDIA T9000")
    document = json.loads(run("list", "--json").stdout)
    assert document["device"] == {"name": "NVIDIA T9000", **asdict(device)}
    models = {model["name"]: model for model in document["models"]}
    assert models["animatic"]["here"] is None
    assert models["wan2.1-t2v-1.3b"]["here"]["fits"]
    big = models["wan2.1-i2v-14b-720p"]["here"]
    assert (big["fits"], big["rung"]) == (False, "")
    lines = {line.split()[0]: line for line in run("list").stdout.splitlines() if line.strip()}
    assert lines["wan2.1-t2v-1.3b"].split()[-1] == models["wan2.1-t2v-1.3b"]["here"]["rung"]
    assert lines["wan2.1-i2v-14b-720p"].rstrip().endswith(f"no: needs {big['vram'] / 1e9:.0f} GB")
    assert "NVIDIA T9000, 11.0 of 12.0 GB free, 128.0 GB of system memory free" in lines["This"]
    monkeypatch.setattr(weights_list, "device_facts", lambda: DeviceFacts("cpu", 0, 0, 8 * GB))
    shown = run("list").stdout
    assert "no NVIDIA GPU; 8.0 GB of system memory free" in shown
    assert re.search(r"wan2.1-i2v-14b-720p .* no: needs \d+ GB RAM", shown)


def test_list_says_what_is_installed_and_in_which_form(run: Run, weights: Path) -> None:
    """A diffusers folder, a single file and a GGUF, each with a card of its own; half a model with what it lacks."""
    pytest.importorskip("torch")
    pytest.importorskip("gguf")
    import tiny_models

    for called in ("whole", "single", "gguf", "half"):
        install(weights, "wan2.1-i2v", "wan2.1-i2v-14b-720p", called=called)
    tiny_models.single_file(weights / "single", weights / "single" / "model.safetensors")
    tiny_models.gguf_file(weights / "gguf", weights / "gguf" / "model.gguf")
    shutil.rmtree(weights / "half" / "vae")
    models = {model["name"]: model for model in json.loads(run("list", "--json").stdout)["models"]}
    found = {name: (models[name]["installed"], models[name]["form"]) for name in ("whole", "single", "gguf", "half")}
    assert found == {
        "whole": ("yes", "diffusers"),
        "single": ("yes", "safetensors"),
        "gguf": ("yes", "gguf"),
        "half": ("partly", ""),
    }
    assert models["whole"]["card"] == str(weights / "whole" / "card.toml")
    assert models["wan2.1-t2v-14b"]["card"] == ""
    assert "VAE" in models["half"]["problem"]
    done = run("list")
    assert re.search(r"^gguf .* GGUF  ", done.stdout, re.M), "too small for a type: its vectors outweigh its matrices"
    assert re.search(r"^whole .* folder  ", done.stdout, re.M)
    assert weights_list._form({"form": "gguf", "quantised": "Q4_K"}) == "GGUF Q4_K"
    assert "half: half lacks its VAE" in done.stderr


def test_list_shows_the_loras(run: Run, weights: Path) -> None:
    """What lies in WEIGHTS/loras, with what the card beside it says."""
    assert json.loads(run("list", "--json").stdout)["loras"] == []
    (weights / "loras").mkdir()
    write(weights / "loras" / "grain.safetensors")
    write(weights / "loras" / "sketch.safetensors")
    (weights / "loras" / "grain.toml").write_text('models = ["wan2.1-t2v-14b"]\ntrigger = "film grain"\nscale = 0.8\n')
    grain, sketch = json.loads(run("list", "--json").stdout)["loras"]
    assert (grain["name"], grain["models"], grain["trigger"], grain["scale"]) == (
        *("grain", ["wan2.1-t2v-14b"], "film grain"),
        0.8,
    )
    assert grain["path"] == str(weights / "loras" / "grain.safetensors")
    assert (sketch["models"], sketch["scale"]) == ([], 1.0)
    assert re.search(r"^grain +wan2.1-t2v-14b +0.8 +film grain", run("list").stdout, re.M)


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
    where = {"repository": '"studio/model"', "revision": f'"{COMMIT}"'}
    text = tiny_card_text("wan2.1-i2v", "wan2.1-i2v-14b-720p", **where)
    text = re.sub(r"^files = \[.*?^\]", 'files = ["a.safetensors", "vae/config.json"]', text, flags=re.M | re.S)
    (weights / "tiny").mkdir()
    (weights / "tiny" / "card.toml").write_text(re.sub(r"^\[shards\].*?(?=^\[)", "", text, flags=re.M | re.S))
    raw = (weights / "grain.safetensors").read_bytes()
    with Stub({"a.safetensors": raw, "vae/config.json": b"{}"}) as stub:
        monkeypatch.setenv("HF_ENDPOINT", stub.endpoint)
        small = json.loads(run("pull", "tiny", "--config", "--json").stdout)["files"]
        assert [(file["path"], file["action"]) for file in small] == [
            (str(weights / "tiny/vae/config.json"), "downloaded")
        ]
        assert not (weights / "tiny/a.safetensors").exists()
        document = json.loads(run("pull", "tiny", "--json").stdout)
        assert [file["action"] for file in document["files"]] == ["downloaded", "present"]
        assert (weights / "tiny/a.safetensors").read_bytes() == raw
        assert "present" in run("pull", "tiny").stdout
        stub.wrong = True
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
