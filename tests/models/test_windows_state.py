"""Claims about half-made windows: stopped or killed at any step, they go on to the same frames, bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tiny_engines import same, tiny_engine, tiny_folder

from models.interface import ClipRequest, Frame, Watch, WindowStopped
from models.kernels import Tuned
from models.step_cache import computed_steps

STEPS = 4


def stopped(name: str, window: ClipRequest, state: Path, *, after: int) -> None:
    """A new engine that is stopped after so many steps."""
    stop = Event()
    tell = lambda done, _: stop.set() if done == after else None  # noqa: E731
    with pytest.raises(WindowStopped, match=rf"after step {after} of {STEPS}"):
        list(tiny_engine(name).generate(replace(window, state=state), [], Watch(stop, tell)))


def watched(engine: Any, window: ClipRequest, state: Path) -> tuple[list[Frame], list[int]]:
    """The frames of a window with a checkpoint in `state`, and the steps that were told."""
    steps: list[int] = []
    frames = list(engine.generate(replace(window, state=state), [], Watch(on_step=lambda done, _: steps.append(done))))
    return frames, steps


@pytest.mark.parametrize("name", ["wan2.1-i2v", "cogvideox-i2v"])
def test_a_window_stopped_at_any_step_goes_on_to_the_same_frames(
    name: str, window: ClipRequest, tmp_path: Path
) -> None:
    """UniPC's past outputs, DPM's last estimate and the random numbers come back; no step is repeated."""
    request = replace(window, steps=STEPS)
    whole = list(tiny_engine(name).generate(request, []))
    for step in range(1, STEPS + 1):
        state = tmp_path / str(step)
        stopped(name, request, state, after=step)
        resumed, steps = watched(tiny_engine(name), request, state)
        assert same(resumed, whole)
        assert steps == list(range(step, STEPS + 1))


def test_a_window_with_a_step_cache_goes_on_where_a_step_is_computed(window: ClipRequest, tmp_path: Path) -> None:
    """Stopped after any step, it goes on at the last one before a computed step, to the frames of an unstopped one.

    The frames are not those of a window without a cache: steps really are skipped.
    """
    count = 6
    request = replace(window, steps=count)
    cached = partial(
        tiny_engine,
        "wan2.1-i2v",
        changes={"mag_ratios": (1.0,) * count},
        tune=lambda _: Tuned(attention="native", compiled=False, fp8_layers=0, step_cache=True),
    )
    whole = list(cached().generate(request, []))
    assert not same(whole, list(tiny_engine("wan2.1-i2v").generate(request, [])))
    computed = computed_steps((1.0,) * count, count)
    for step in range(1, count):
        stop, state = Event(), tmp_path / str(step)
        tell = lambda done, _, at=step, stop=stop: stop.set() if done == at else None  # noqa: E731
        with pytest.raises(WindowStopped, match=f"after step {step} of {count}"):
            list(cached().generate(replace(request, state=state), [], Watch(stop, tell)))
        resumed, steps = watched(cached(), request, state)
        assert same(resumed, whole)
        assert steps[0] == max([at for at in range(1, step + 1) if computed[at]], default=0)


def test_two_experts_and_stops_in_a_row(window: ClipRequest, tmp_path: Path) -> None:
    """Stopped after every single step, on both sides of the boundary, a window ends in the same frames."""
    request = replace(window, steps=STEPS)
    for step in range(1, STEPS):
        stopped("wan2.2-i2v-a14b", request, tmp_path, after=step)
    resumed = list(tiny_engine("wan2.2-i2v-a14b").generate(replace(request, state=tmp_path), []))
    assert same(resumed, list(tiny_engine("wan2.2-i2v-a14b").generate(request, [])))


KILLED = """
import os, pickle, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from tiny_engines import tiny_card
from models.diffusion import Weights
from models.interface import Watch
from models.wan import DiffusionEngine
folder, state, request = pickle.load(sys.stdin.buffer)
engine = DiffusionEngine(tiny_card("wan2.1-i2v"), Weights(folder), every=0)
die = lambda done, _: os.kill(os.getpid(), signal.SIGKILL) if done == 3 else None
list(engine.generate(replace(request, state=state), [], Watch(on_step=die)))
"""


def test_a_killed_process_leaves_its_last_checkpoint(window: ClipRequest, tmp_path: Path) -> None:
    """SIGKILL in the third step: the next process begins after the second and makes the same frames."""
    import pickle

    request = replace(window, steps=STEPS)
    given = pickle.dumps((tiny_folder("wan2.1-i2v"), tmp_path, request))
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED], input=given, cwd=tests.parent, env={"PYTHONPATH": str(tests)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    engine = tiny_engine("wan2.1-i2v")
    resumed, steps = watched(engine, request, tmp_path)
    assert steps == [2, 3, 4]
    assert same(resumed, list(engine.generate(request, [])))


@pytest.mark.parametrize("change", [{"seed": 2}, {"prompt": "grey noise"}, {"steps": 5}, {"guidance": 2.0}])
def test_another_request_never_uses_the_checkpoint(change: dict[str, Any], window: ClipRequest, tmp_path: Path) -> None:
    """What changes pixels changes the key; the checkpoint of another window in the same folder is left alone."""
    engine = tiny_engine("wan2.1-i2v", every=0)
    list(engine.generate(replace(window, state=tmp_path), []))
    _, steps = watched(engine, replace(window, **change), tmp_path)
    assert steps[0] == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_torn_or_foreign_checkpoint_counts_as_none(window: ClipRequest, tmp_path: Path) -> None:
    """Half a file, and a whole one under the wrong name, are not trusted; the window starts over."""
    engine = tiny_engine("wan2.1-i2v")
    whole = list(engine.generate(replace(window, state=tmp_path), []))
    (path,) = tmp_path.iterdir()
    other = replace(window, seed=2)
    list(engine.generate(replace(other, state=tmp_path / "other"), []))
    (foreign,) = (tmp_path / "other").iterdir()
    for content in (path.read_bytes()[:-100], b"", foreign.read_bytes()):
        path.write_bytes(content)
        again, steps = watched(engine, window, tmp_path)
        assert steps[0] == 0
        assert same(again, whole)


@pytest.mark.expects_log
def test_a_window_that_cannot_be_saved_is_made_all_the_same(
    window: ClipRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the checkpoint, not the window; asked to stop, the engine does not claim that it was saved."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.denoise.save_state", full)
    request = replace(window, state=tmp_path)
    assert len(list(tiny_engine("wan2.1-i2v").generate(request, []))) == 9
    stop = Event()
    tell = lambda done, _: stop.set() if done == 1 else None  # noqa: E731
    with pytest.raises(WindowStopped, match="after step 1 of 2, not saved;"):
        list(tiny_engine("wan2.1-i2v").generate(request, [], Watch(stop, tell)))


def test_checkpoints_are_made_by_the_clock(
    window: ClipRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute without one, the next step is saved; the last always is, so that decoding can be repeated."""
    saves: list[int] = []
    monkeypatch.setattr("models.denoise.save_state", lambda *_, step, **__: saves.append(step))
    clock = iter(range(0, 10_000, 35))
    monkeypatch.setattr("models.denoise.time", type("Clock", (), {"monotonic": staticmethod(lambda: next(clock))}))
    list(tiny_engine("wan2.1-i2v").generate(replace(window, steps=5, state=tmp_path), []))
    assert saves == [2, 4, 5]
