"""Claims about making a window: another way is taken when one fails, and never another picture than asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tiny_house import install

from catalogs.shot import Plate, Shot
from models.interface import InterpolatorSpec, Shape, WindowStopped
from tasks import engines, generate
from tasks.errors import StepError
from tasks.frames import read_frames
from tasks.plan import TakePlan
from tasks.prepare import prepare
from tasks.progress import Progress, listening
from tasks.stopping import STOPPING
from tasks.ways import worked

NOBODY = InterpolatorSpec("none", "", "", "")


@dataclass
class Bench:
    """A tiny Wan2.1 I2V, and one window to make with it."""

    weights: Path
    plan: TakePlan
    folder: Path
    ffmpeg: str

    def make(self, name: str = "window.mkv", state: Path | None = None) -> dict[str, Any]:
        """The window's notes."""
        window = self.plan.windows[0]
        return dict(
            generate.generate_window(
                self.plan,
                window,
                self.folder / name,
                before=None,
                weights=self.weights,
                ffmpeg=self.ffmpeg,
                beside=generate.Beside(state),
            )
        )

    def pixels(self, name: str = "window.mkv") -> list[bytes]:
        """Its frames."""
        size = {"width": self.plan.width, "height": self.plan.height}
        return [frame.tobytes() for frame in read_frames(self.folder / name, ffmpeg=self.ffmpeg, **size)]


@pytest.fixture
def bench(tmp_path: Path, ffmpeg: str, plate_path: Path) -> Iterator[Bench]:
    import torch

    torch.set_num_threads(1)
    weights = tmp_path / "weights"
    install(weights, "wan2.1-i2v", "wan2.1-i2v-14b-720p", text_encoder="0.5", vae_bytes="1500000", vae_tile="512")
    plate = Plate(str(plate_path), "0" * 64, 64, 32)
    shot = Shot("AGM", "SH0010", 9, plate=plate, prompt="the sea", rate=Fraction(16), width=64, height=32, model="tiny")
    ready = prepare(shot, engine="", weights=weights)
    yield Bench(weights, ready.plan(NOBODY, version=1), tmp_path, ffmpeg)
    engines.resident().close()
    engines.resident.cache_clear()
    STOPPING.event.clear()


def out_of_memory(monkeypatch: pytest.MonkeyPatch, *, unless: str) -> None:
    """The device's memory ends while decoding, unless the model is placed as that rung."""
    import torch

    from models.conditions import Wan

    decode = Wan.decode

    def full(self: Any, *given: Any) -> Any:
        if engines.resident().now()["rung"] != unless:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")
        return decode(self, *given)

    monkeypatch.setattr(Wan, "decode", full)


@pytest.mark.expects_log
def test_out_of_memory_takes_the_next_rungs_and_records_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thriftier ways are tried in order until one holds; the notes name each with its reason, the size stays."""
    out_of_memory(monkeypatch, unless="tiled")
    notes = bench.make()
    assert notes["rung"] == "tiled"
    assert [entry["rung"] for entry in notes["tried"]] == ["resident", "text-dropped"]
    assert all("20 GiB" in entry["reason"] for entry in notes["tried"])
    assert len(bench.pixels()) == 9


@pytest.mark.expects_log
def test_running_out_of_memory_while_decoding_costs_the_decoding_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that were done are not done again: the thriftier way goes on from the saved latents."""
    out_of_memory(monkeypatch, unless="tiled")
    notes = bench.make(state=bench.folder / "state")
    assert (notes["rung"], notes["resumed_at"]) == ("tiled", 2)


@pytest.mark.expects_log
def test_the_next_window_starts_where_the_last_one_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rung that failed on this device is not tried again: not in this process, nor in the next."""
    out_of_memory(monkeypatch, unless="tiled")
    bench.make()
    assert bench.make("again.mkv")["tried"] == []
    shape = Shape(64, 32, 9)
    assert worked(bench.weights, "cpu", "tiny exact", shape) == "tiled"
    engines.resident.cache_clear()
    notes = bench.make("later.mkv")
    assert (notes["rung"], notes["tried"]) == ("tiled", [])
    assert worked(bench.weights, "cpu", "tiny exact", Shape(64, 64, 9)) == ""


@pytest.mark.expects_log
def test_a_window_that_nothing_holds_fails_with_every_way_tried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the ladder the shot fails; the error names the memory and the ways."""
    out_of_memory(monkeypatch, unless="nothing")
    with pytest.raises(StepError, match=r"20 GiB.*ways tried: resident \(exact\), .*tiled"):
        bench.make()
    monkeypatch.undo()
    assert bench.make("next.mkv")["rung"] == "resident", "the next shot begins anew"


@pytest.mark.expects_log
def test_a_bad_picture_is_made_once_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt runs plainly and stands; the notes say what the first one was."""
    from models.conditions import Wan

    decode, made = Wan.decode, []

    def black(self: Any, *given: Any) -> Any:
        made.append(engines.resident().now()["profile"])
        return decode(self, *given) * (len(made) > 1)

    monkeypatch.setattr(Wan, "decode", black)
    notes = bench.make()
    assert made == ["exact", "plain"]
    assert notes["profile"] == "plain"
    assert "constant" in notes["tried"][0]["reason"]
    after = bench.make("next.mkv")  # a window without fault is made as asked again
    assert (after["profile"], after["tried"]) == ("exact", [])


@pytest.mark.expects_log
def test_a_kernel_that_fails_is_done_without(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler raises in the middle of a window is answered like a bad picture: once more, plainly."""
    from torch._dynamo.exc import TorchDynamoException

    from models.conditions import Wan

    advance = Wan.advance

    def broken(self: Any, *given: Any) -> Any:
        if engines.resident().now()["profile"] == "exact":
            raise TorchDynamoException("the backend gave up")
        return advance(self, *given)

    monkeypatch.setattr(Wan, "advance", broken)
    notes = bench.make()
    assert notes["profile"] == "plain"
    assert "the backend gave up" in notes["tried"][0]["reason"]


@pytest.mark.expects_log
def test_falls_count_in_a_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that was made sets the count back: memory that runs out later in the night has all its rungs again."""
    monkeypatch.setattr("models.ladder.MOST_RUNGS", 1)
    out_of_memory(monkeypatch, unless="text-dropped")
    assert bench.make()["rung"] == "text-dropped"
    monkeypatch.undo()
    monkeypatch.setattr("models.ladder.MOST_RUNGS", 1)
    out_of_memory(monkeypatch, unless="tiled")
    assert bench.make("later.mkv")["rung"] == "tiled"


def test_weights_that_change_after_the_plan_are_refused(bench: Bench) -> None:
    """Never other pixels under the plan's key: a card changed in between, or another scheduler, fails the window."""
    bench.make()
    scheduler = bench.weights / "tiny" / "scheduler" / "scheduler_config.json"
    text = scheduler.read_text()
    scheduler.write_text(text.replace('"solver_order": 2', '"solver_order": 1'))
    assert scheduler.read_text() != text
    engines.resident.cache_clear()
    with pytest.raises(StepError, match="changed after the shot was planned"):
        bench.make("other.mkv")


@pytest.mark.expects_log
def test_a_picture_that_stays_bad_fails_the_shot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts, no third; nothing is left under the clip's name."""
    from models.conditions import Wan

    decode, made = Wan.decode, []

    def black(self: Any, *given: Any) -> Any:
        made.append(1)
        return decode(self, *given) * 0

    monkeypatch.setattr(Wan, "decode", black)
    with pytest.raises(StepError, match="constant"):
        bench.make()
    assert len(made) == 2


def test_a_stopped_window_is_no_failure_and_goes_on(bench: Bench) -> None:
    """Stopped in its steps, the window says so, keeps its checkpoint, and ends in the same frames when asked again."""
    bench.make("whole.mkv")
    state = bench.folder / "state"
    stop = lambda update: STOPPING.event.set() if "step 1" in update.detail else None  # noqa: E731
    with listening(stop), pytest.raises(WindowStopped, match=r"AGM_SH0010_v001, window 1 of 1.*saved after step 1"):
        bench.make(state=state)
    assert list(state.iterdir())
    STOPPING.event.clear()
    heard: list[Progress] = []
    with listening(heard.append):
        notes = bench.make("resumed.mkv", state=state)
    assert "step 1 of 2" in heard[0].detail
    assert notes["resumed_at"] == 1
    assert bench.pixels("resumed.mkv") == bench.pixels("whole.mkv")


def test_denoising_is_heard_of_and_the_bar_never_goes_back(bench: Bench) -> None:
    """Each step is announced, then each frame; the last announcement is the whole window."""
    heard: list[Progress] = []
    with listening(heard.append):
        bench.make()
    assert [update.detail for update in heard[:3]] == [f"window 1 of 1, step {step} of 2" for step in range(3)]
    done = [update.done for update in heard]
    assert done == sorted(done)
    assert done[-1] == heard[-1].total == 9


def test_the_notes_can_be_written_down(bench: Bench) -> None:
    """They are plain JSON and say how the window was made."""
    notes = json.loads(json.dumps(bench.make()))
    assert {"rung", "precision", "offload", "profile", "attention", "device", "tried"} <= set(notes)
    assert (notes["profile"], notes["device"], notes["precision"]) == ("exact", "cpu", "float32")


def test_words_are_given_whole(bench: Bench) -> None:
    """The request carries the told prompt: the camera's move in words behind the shot's own."""
    shot = replace(bench.plan.shot, camera="push in", prompt="the sea")
    plan = prepare(shot, engine="", weights=bench.weights).plan(NOBODY, version=1)
    assert generate.request_for(plan, plan.windows[0]).prompt == "the sea. The camera slowly pushes in"
