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

    for called in ("whole", "single", "gguf", "half", "rubbish"):
        install(weights, "wan2.1-i2v", "wan2.1-i2v-14b-720p", called=called)
    tiny_models.single_file(weights / "single", weights / "single" / "model.safetensors")
    tiny_models.gguf_file(weights / "gguf", weights / "gguf" / "model.gguf")
    shutil.rmtree(weights / "half" / "vae")
    spoilt = next((weights / "rubbish" / "vae").glob("*.safetensors"))
    spoilt.write_bytes(b"<html>no such file</html>")
    models = {model["name"]: model for model in json.loads(run("list", "--json").stdout)["models"]}
    found = {
        name: (models[name]["installed"], models[name]["form"])
        for name in ("whole", "single", "gguf", "half", "rubbish")
    }
    assert found == {
        "whole": ("yes", "diffusers"),
        "single": ("yes", "safetensors"),
        "gguf": ("yes", "gguf"),
        "half": ("partly", ""),
        "rubbish": ("partly", ""),
    }
    assert str(spoilt) in models["rubbish"]["problem"]
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


def checkpoint(path: Path, architecture: str) -> str:
    """Writes a checkpoint of RIFE as it is published; its sha256."""
    torch = pytest.importorskip("torch")
    from models.ifnet import ARCHITECTURES

    shapes = ARCHITECTURES[architecture].shapes()
    torch.save({f"module.{name}": torch.zeros(shape) for name, shape in shapes.items()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def own_card(weights: Path, name: str, url: str, sha256: str) -> None:
    """A card beside its weights, of the network 4.6."""
    (weights / name).mkdir(exist_ok=True)
    (weights / name / "interpolator.toml").write_text(
        f'title = "RIFE"\nlicence = "MIT"\narchitecture = "4.6"\nmultiple = 32\nsources = ["{url}"]\n'
        f'[[files]]\nurl = "{url}"\nsha256 = "{sha256}"\n'
    )


def test_pull_brings_rife(run: Run, weights: Path, tmp_path: Path) -> None:
    """From the address in its card to safetensors that `verify` approves and `list` shows; a page instead is 1."""
    digest = checkpoint(tmp_path / "flownet.pkl", "4.6")
    with Stub({"flownet.pkl": (tmp_path / "flownet.pkl").read_bytes(), "page.pkl": b"<html>"}) as stub:
        own_card(weights, "rife-4.6", f"{stub.endpoint}/store/flownet.pkl", digest)
        said = run("pull", "rife-4.6", "--keep", "--json").stdout
        assert [file["action"] for file in json.loads(said)["files"]] == ["downloaded", "kept"]
        (weights / "rife-4.6" / "flownet.pkl").unlink()
        assert "present" in run("pull", "rife-4.6").stdout
        own_card(weights, "rife-own", f"{stub.endpoint}/store/page.pkl", digest)
        assert "thrown away" in run("pull", "rife-own", code=1).stderr
    assert "leave --config out" in run("pull", "rife-4.6", "--config", code=2).stderr
    assert "rife-4.25" in run("pull", "rife-9", code=2).stderr
    run("verify")
    found = {entry["name"]: entry for entry in json.loads(run("list", "--json").stdout)["interpolators"]}
    assert found["rife-4.6"]["installed"] == ["safetensors"]
    assert found["rife-4.6"]["known"] == "card"
    assert found["rife-4.25"]["installed"] == []
    assert re.search(r"^rife-4.6 +4.6 +MIT +safetensors +card", run("list").stdout, re.M)
    (weights / "rife-own" / "interpolator.toml").write_text("title")
    assert "interpolator.toml" in run("pull", "rife-4.6", code=1).stderr


def test_rife_of_another_version_than_its_card_is_refused(run: Run, weights: Path, tmp_path: Path) -> None:
    """By its tensors, by the checkpoint it was made of, and as an ncnn pair, when it is made and when it is judged."""
    from ncnn_models import write_network

    checkpoint(tmp_path / "flownet.pkl", "4.6")
    (weights / "rife-4.25").mkdir()
    target = weights / "rife-4.25" / "flownet.safetensors"
    said = run("convert", tmp_path / "flownet.pkl", "-o", target, code=1).stderr
    assert "RIFE 4.6" in said
    assert "4.25" in said
    assert not target.exists()
    run("convert", tmp_path / "flownet.pkl", "-o", weights / "own.safetensors")
    shutil.move(weights / "own.safetensors", target)
    lock = json.loads((weights / "weights.lock.json").read_text())
    del lock["files"]["own.safetensors"]
    (weights / "weights.lock.json").write_text(json.dumps(lock))
    assert "holds the network of RIFE 4.6" in run("verify", code=1).stderr
    target.unlink()
    (weights / "rife-4.6").mkdir()
    run("convert", tmp_path / "flownet.pkl", "-o", weights / "rife-4.6" / "flownet.safetensors")
    assert "another version" in run("verify", code=1).stderr
    shutil.rmtree(weights / "rife-4.6")
    (weights / "weights.lock.json").unlink()
    write_network(weights / "rife-v4.6", "4.6", 1)
    run("verify")
    (weights / "rife-v4.6").rename(weights / "rife-v4.25")
    assert "RIFE 4.6" in run("verify", code=1).stderr
    bad = weights / "rife-v4.25" / "flownet.bin"
    bad.write_bytes(bad.read_bytes()[:-4])
    assert "flownet.bin" in run("verify", code=1).stderr


def test_convert_reads_rife_for_ncnn(run: Run, weights: Path) -> None:
    """Into the folder of its card, where the torch engine looks; a checkpoint of something else is no flownet."""
    torch = pytest.importorskip("torch")
    from ncnn_models import write_network

    write_network(weights / "rife-v4.25", "4.25", 1)
    made = json.loads(run("convert", weights / "rife-v4.25" / "flownet.param", "--json").stdout)
    assert made["path"] == str(weights / "rife-4.25" / "flownet.safetensors")
    run("verify")
    (entry,) = (e for e in json.loads(run("list", "--json").stdout)["interpolators"] if e["name"] == "rife-4.25")
    assert (entry["installed"], entry["known"]) == (["safetensors", "ncnn"], "lock")
    torch.save({"a": torch.ones(3)}, weights / "flownet.pkl")
    assert "no RIFE" in run("convert", weights / "flownet.pkl", code=1).stderr
    assert not (weights / "flownet.safetensors").exists()


def test_convert_makes_safetensors(run: Run, weights: Path) -> None:
    """A checkpoint is converted and locked; a payload is exit code 1, a missing file 2."""
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {"a": torch.ones(3)}, "epoch": 1}, weights / "a.ckpt")
    document = json.loads(run("convert", weights / "a.ckpt", "-o", weights / "b.safetensors", "--json").stdout)
    assert (document["tensors"], document["dropped"]) == (1, ["epoch"])
    assert json.loads(run("verify", weights / "b.safetensors", "--json").stdout)["files"][0]["against"] == "lock"
    assert "exists already" in run("convert", weights / "a.ckpt", "-o", weights / "b.safetensors", code=1).stderr
    assert "is not a file" in run("convert", weights / "none.ckpt", code=2).stderr


def test_rubbish_is_not_listed_as_installed(run: Run, weights: Path) -> None:
    """Files of RIFE that are none, in either form: `installed` is empty, and a sentence says what each is."""
    for folder, files in {
        "rife-4.25": {"flownet.safetensors": "rubbish"},
        "rife-v4.6": {"flownet.param": "7767517\n1 1\nInput in 0\n", "flownet.bin": "xx"},
    }.items():
        (weights / folder).mkdir(parents=True)
        for name, text in files.items():
            (weights / folder / name).write_text(text)
    found = {entry["name"]: entry for entry in json.loads(run("list", "--json").stdout)["interpolators"]}
    assert found["rife-4.25"]["installed"] == found["rife-4.6"]["installed"] == []
    assert "flownet.safetensors" in found["rife-4.25"]["problem"]
    assert "line 3 is no layer" in found["rife-4.6"]["problem"]
    assert found["rife-4.26"]["problem"] == ""
    told = run("list")
    assert re.search(r"^rife-4.6 +4.6 +MIT +no", told.stdout, re.M)
    assert "line 3 is no layer" in " ".join(told.stderr.split())
