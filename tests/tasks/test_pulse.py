"""Claims about signs of life: they go on whatever happens, and orders reach the shot they are meant for."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from catalogs.errors import CatalogueUnavailableError
from catalogs.night import Orders
from tasks import pulse
from tasks.progress import Progress, announce
from tasks.pulse import Pulse, die_with_parent

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Catalogue:
    """What a run beats to: its orders, when it was asked, and whether it is away."""

    held: set[str] = field(default_factory=set)
    stop: bool = False
    away: bool = False
    slow: threading.Event | None = None
    said: list[str] = field(default_factory=list)
    looks: int = 0

    def beat(self, said: str) -> Orders:
        if self.away:
            raise CatalogueUnavailableError("the server is gone; start it")
        orders = Orders(self.stop, frozenset(self.held))
        if self.slow is not None:
            self.slow.wait(5)
        self.said.append(said)
        return orders

    def look(self) -> Orders:
        self.looks += 1
        if self.away:
            raise CatalogueUnavailableError("the server is gone; start it")
        return Orders(self.stop, frozenset(self.held))


@dataclass
class Heard:
    """What came through."""

    stops: int = 0
    lost: list[str] = field(default_factory=list)

    def stop(self) -> None:
        self.stops += 1


def run(catalogue: Catalogue, heard: Heard, *, every: float = 0.05, look: bool = False) -> Pulse:
    return Pulse(
        catalogue.beat,
        on_stop=heard.stop,
        on_lost=heard.lost.append,
        every=every,
        look=catalogue.look if look else None,
        look_every=0.05,
    )


def until(true: Callable[[], object]) -> None:
    """Wait for it, at most 10 s."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_beats_say_what_was_announced_last() -> None:
    """The first at once, then one after the other; words of one's own stand until the next announcement."""
    catalogue = Catalogue()
    with run(catalogue, Heard()) as alive:
        until(lambda: catalogue.said)
        alive.say("loading tiny")
        until(lambda: "loading tiny" in catalogue.said)
        announce(Progress("AGM_SH0010_v001", "generate", 12, 81, "window 2 of 3, step 12 of 40"))
        until(lambda: "AGM_SH0010_v001 generate: window 2 of 3, step 12 of 40" in catalogue.said)
        announce(Progress("AGM_SH0010_v001", "encode", 12, 81))
        until(lambda: "AGM_SH0010_v001 encode: 12 of 81 frames" in catalogue.said)
    beats = len(catalogue.said)
    announce(Progress("AGM_SH0010_v001", "encode", 13, 81))
    time.sleep(0.2)
    assert len(catalogue.said) == beats


def test_beats_keep_their_time_and_looks_come_between() -> None:
    """Looking more often does not write more often."""
    catalogue = Catalogue()
    with run(catalogue, Heard(), every=0.4, look=True):
        time.sleep(1.0)
    assert 2 <= len(catalogue.said) <= 3
    assert catalogue.looks >= 5


def test_stop_is_passed_on_once() -> None:
    """However often it is said."""
    catalogue, heard = Catalogue(stop=True), Heard()
    with run(catalogue, heard):
        until(lambda: len(catalogue.said) >= 5)
    assert heard.stops == 1


@pytest.mark.parametrize("look", [False, True])
def test_a_shot_that_is_not_held_any_more_is_lost_once(look: bool) -> None:
    """The other ones stay; one that is not at work is nobody's loss. A look suffices, long before the next beat."""
    catalogue, heard = Catalogue(held={"AGM/A", "AGM/B", "AGM/C"}), Heard()
    with run(catalogue, heard, every=60 if look else 0.05, look=look) as alive, alive.holding("AGM/A"):
        with alive.holding("AGM/B"):
            until(lambda: catalogue.looks if look else catalogue.said)
            catalogue.held = {"AGM/A"}
            until(lambda: heard.lost)
            time.sleep(0.2)
        time.sleep(0.1)
    assert heard.lost == ["AGM/B"]


def test_an_answer_from_before_a_shot_was_taken_up_does_not_count() -> None:
    """A beat on its way while a shot is taken over knows nothing of it."""
    catalogue, heard = Catalogue(slow=threading.Event()), Heard()
    with run(catalogue, heard) as alive:
        time.sleep(0.1)  # the first beat has its answer, and is slow to bring it
        catalogue.held = {"AGM/A"}
        with alive.holding("AGM/A"):
            assert catalogue.slow is not None
            catalogue.slow.set()
            until(lambda: len(catalogue.said) >= 4)
    assert heard.lost == []


def test_nobody_is_told_of_a_shot_after_it_was_left() -> None:
    """Leaving waits for a call that is under way: what it drops is not the next shot."""
    catalogue, order = Catalogue(), []
    entered = threading.Event()

    def lose(shot: str) -> None:
        entered.set()
        time.sleep(0.2)
        order.append("told")

    with Pulse(catalogue.beat, on_stop=lambda: None, on_lost=lose, every=0.02) as alive:
        with alive.holding("AGM/A"):
            entered.wait(5)
        order.append("left")
    assert order == ["told", "left"]


@pytest.mark.expects_log
def test_a_catalogue_that_is_away_is_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning when it goes, one line when it is back; no shot is lost by it, and orders are heard afterwards."""
    monkeypatch.setattr(pulse, "AGAIN", 0.02)
    catalogue, heard = Catalogue(held={"AGM/A"}), Heard()
    with caplog.at_level(logging.INFO, "dailies"), run(catalogue, heard, look=True) as alive, alive.holding("AGM/A"):
        until(lambda: catalogue.said)
        catalogue.away = True
        time.sleep(0.3)
        beats = len(catalogue.said)
        catalogue.away = False
        until(lambda: len(catalogue.said) > beats + 2)
        assert heard.lost == []
        catalogue.held = set()
        until(lambda: heard.lost)
    levels = [record.levelname for record in caplog.records if "sign" in record.getMessage()]
    assert levels == ["WARNING", "INFO"]


@pytest.mark.expects_log
def test_a_defect_does_not_end_the_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one in what a beat calls, nor one in what is told to stop."""
    monkeypatch.setattr(pulse, "AGAIN", 0.02)
    beats = []

    def beat(said: str) -> Orders:
        beats.append(said)
        if len(beats) < 3:
            raise KeyError("a defect")
        return Orders(stop=True, held=frozenset())

    def stop() -> None:
        raise ValueError("another")

    with Pulse(beat, on_stop=stop, on_lost=lambda shot: None, every=0.02):
        until(lambda: len(beats) > 8)


def test_it_ends_at_once() -> None:
    """Between beats, and while a write hangs; the run's own error passes."""
    catalogue = Catalogue()
    started = time.perf_counter()
    with pytest.raises(ZeroDivisionError), run(catalogue, Heard(), every=60):
        until(lambda: catalogue.said)
        raise ZeroDivisionError
    stuck = Catalogue(slow=threading.Event())
    with run(stuck, Heard(), every=60):
        time.sleep(0.05)
    assert time.perf_counter() - started < 2
    assert stuck.slow is not None
    stuck.slow.set()


CHILD = """
import os, signal, sys, threading, time
from tasks.pulse import die_with_parent
from tasks.stopping import STOPPING
with STOPPING.on_sigterm(gently=True):
    die_with_parent()
    print(os.getpid(), flush=True)
    asked = STOPPING.event.wait(30)
    open(sys.argv[1], "w").write(f"asked {asked}")
"""

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]])
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_run_whose_worker_is_killed_is_asked_to_leave(tmp_path: Path) -> None:
    """SIGKILL for the worker, SIGTERM for the run: it saves what it has and leaves by itself."""
    saved = tmp_path / "saved"
    argv = [sys.executable, "-c", PARENT, CHILD, str(saved)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, text=True) as worker:
        assert worker.stdout is not None
        assert int(worker.stdout.readline()) > 0
        worker.kill()
        worker.wait()
        until(lambda: saved.exists() and saved.read_text() == "asked True")


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_worker_that_is_gone_already_is_noticed() -> None:
    """The kernel will not tell of a death that was before the question."""
    code = "from tasks.pulse import die_with_parent; die_with_parent(parent=1 << 22)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ProcessLookupError" in done.stderr
    assert done.returncode == 1


def test_a_living_parent_is_no_reason_to_leave() -> None:
    """And the signal is set as asked, and can be taken back."""
    die_with_parent(signal.SIGCONT, parent=os.getppid())
    pulse.follow_parent(0)
