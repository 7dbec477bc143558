"""Pickles become safetensors without ever being run."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from models import convert as module
from models.convert import convert
from models.headers import WeightsError, WeightsUnavailableError, read_header
from models.weights import judge
from models.weights_lock import file_sha256, read_lock

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


def _read(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(path))


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_training_checkpoint_becomes_safetensors(tmp_path: Path, legacy: bool) -> None:
    """The nested state_dict comes out bit for bit; shared, sliced and transposed tensors keep all their names; the
    rest is left out by name; source and lock are as promised."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = OrderedDict(
        a=base,
        tied=base,
        row=base[1],
        turned=base.t(),
        half=torch.ones(3, dtype=torch.bfloat16),
        none=torch.zeros(0, 4),
    )
    source = tmp_path / "m/epoch.ckpt"
    source.parent.mkdir()
    torch.save({"epoch": 3, "state_dict": state, "lr": 0.1}, source, _use_new_zipfile_serialization=not legacy)
    before = file_sha256(source)
    made = convert(source, weights=tmp_path)
    assert made.path == source.with_suffix(".safetensors")
    assert made.dropped == ("epoch", "lr")
    found = _read(made.path)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert file_sha256(source) == before
    locked = read_lock(tmp_path)["m/epoch.safetensors"]
    assert locked.sha256 == made.sha256 == file_sha256(made.path)
    assert before in locked.source
    assert judge(made.path, weights=tmp_path).require().files[0].against == "lock"


def test_a_rife_checkpoint_loses_its_prefix(tmp_path: Path) -> None:
    """RIFE's flownet.pkl names everything `module.`: the converted file does not. Its lock lies beside it."""
    source = tmp_path / "flownet.pkl"
    torch.save({"module.block0.conv.weight": torch.ones(2, 2), "module.block0.conv.bias": torch.zeros(2)}, source)
    made = convert(source, tmp_path / "out.safetensors")
    assert {entry.name for entry in read_header(made.path).tensors} == {"block0.conv.weight", "block0.conv.bias"}
    assert set(read_lock(tmp_path)) == {"out.safetensors"}


@pytest.mark.parametrize("kind", ["plain", "zip", "inside"])
def test_a_payload_is_refused_and_never_run(tmp_path: Path, kind: str) -> None:
    """A pickle that would run a command is refused with the reason, the command has not run, nothing is left behind."""
    mark, source = tmp_path / "ran", tmp_path / "evil.pt"
    if kind == "plain":
        source.write_bytes(pickle.dumps(Payload(mark), protocol=2))
    else:
        torch.save(Payload(mark) if kind == "zip" else {"state_dict": {"a": torch.ones(2), "b": Payload(mark)}}, source)
    with pytest.raises(WeightsError, match="would run code") as caught:
        convert(source)
    assert str(source) in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["evil.pt"]
    if kind == "plain":  # the payload is real
        pickle.loads(source.read_bytes())
    else:
        torch.load(source, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"a": torch.ones(2), "b": 3}, "a int under 'b'"),
        ({"a": torch.ones(2), 4: torch.ones(2)}, "no name of a tensor"),
        ([torch.ones(2)], "a list where names"),
        ({}, "a dict where names"),
        ({"a": torch.ones(2).to_sparse()}, "cannot hold"),
        ({"a": torch.ones(2, dtype=torch.complex128)}, "cannot hold"),
        ({"a": torch.ones(1).expand(10**7)}, "unfold to tensors"),
    ],
)
def test_what_is_not_plain_tensors_is_refused(tmp_path: Path, payload: Any, said: str) -> None:
    """Numbers, lists, sparse tensors and bombs are refused by name."""
    source = tmp_path / "a.pt"
    torch.save(payload, source)
    with pytest.raises(WeightsError, match=said):
        convert(source)
    assert not (tmp_path / "a.safetensors").exists()


def test_what_needs_no_child_is_refused_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing, converted, unknown or occupied file is refused before any process starts."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    source = tmp_path / "a.pt"
    with pytest.raises(WeightsError, match="is not a file"):
        convert(source)
    source.write_bytes(b"GGUF")
    with pytest.raises(WeightsError, match="gguf file already"):
        convert(source)
    source.write_bytes(b"hello")
    with pytest.raises(WeightsError, match="no torch file"):
        convert(source)
    source.write_bytes(pickle.dumps({}))
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        convert(source, tmp_path / "a.pth")
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(WeightsError, match="exists already"):
        convert(source)


def test_a_child_that_hangs_or_dies_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-out, crash, missing torch and damaged files each have one, and no file is left."""
    source = tmp_path / "a.pt"
    source.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(WeightsError, match="cannot read it"):
        convert(source)
    for code, said, kind in (
        ("import time; time.sleep(60)", "was given up", WeightsError),
        ("import os; os.kill(os.getpid(), 9)", "signal 9", WeightsError),
        ("print('no torch here'); raise SystemExit(3)", "no torch here", WeightsUnavailableError),
        ("pass", "without a report", WeightsError),
    ):
        monkeypatch.setattr(module, "_CHILD", code)
        with pytest.raises(kind, match=said):
            convert(source, timeout=1.0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pt"]
