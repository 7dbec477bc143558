"""Claims about hung processes: they end by themselves and leave their stack; slow ones are left in peace."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextvars import copy_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.progress import Progress, announce
from tasks.watchdog import FACTOR, FIRST, FLOOR, Bounds, Kind, Watchdog, kind_of, left_behind

ROOT = Path(__file__).resolve().parents[2]
STEPS, LAST = Kind("generate", "steps", False), Kind("generate", "steps", True)
FRAMES = Kind("generate", "frames", False)
ENCODE = Kind("encode", "frames", False)


@pytest.mark.parametrize(
    ("progress", "kind"),
    [
        (Progress("A", "generate", 0, 81, "window 1 of 3, step 3 of 40"), STEPS),
        (Progress("A", "generate", 27, 81, "window 1 of 3, step 40 of 40"), LAST),
        (Progress("A", "generate", 27, 81, "window 1 of 3"), FRAMES),
        (Progress("A", "encode", 12, 81), ENCODE),
        (Progress("A", "encode", 81, 81), Kind("encode", "frames", True)),
    ],
)
def test_kinds(progress: Progress, kind: Kind) -> None:
    """Denoising, decoding and writing take their own time each."""
    assert kind_of(progress) == kind


@given(st.lists(st.floats(0.001, 5000), min_size=1, max_size=120))
def test_what_was_seen_half_the_time_is_never_too_long(seconds: list[float]) -> None:
    """The bound is at least 20 times what half of the last 50 took, and never below the floor."""
    bounds = Bounds()
    for taken in seconds:
        bounds.learn(ENCODE, taken, then=ENCODE)
    bound = bounds.bound(ENCODE)
    assert bound >= FLOOR
    assert sum(taken * FACTOR <= bound * 1.000001 for taken in seconds[-50:]) * 2 >= len(seconds[-50:])


def test_what_was_never_seen_has_the_first_bound() -> None:
    """Loading, decoding, the way to the next window: each is unknown until it happened once."""
    bounds = Bounds()
    assert bounds.bound(None) == bounds.bound(STEPS) == FIRST
    bounds.learn(STEPS, 37.0, then=STEPS)
    assert bounds.bound(STEPS) == 37.0 * FACTOR
    assert bounds.bound(LAST) == FIRST


def test_a_model_may_be_loaded_again_and_compiled_again() -> None:
    """Both are rare among quick steps: three times what they took here is granted, however long ago that was."""
    bounds = Bounds()
    bounds.learn(None, 200.0, then=STEPS)
    for seconds in [1.0] * 100:
        bounds.learn(STEPS, seconds, then=STEPS)
    assert bounds.bound(STEPS) == 600.0
    bounds.learn(STEPS, 300.0, then=STEPS)
    for seconds in [1.0] * 100:
        bounds.learn(STEPS, seconds, then=STEPS)
    assert bounds.bound(STEPS) == 900.0
    bounds.learn(ENCODE, 1.0, then=ENCODE)
    assert bounds.bound(ENCODE) == FLOOR


def test_quick_frames_do_not_condemn_the_way_to_the_next_window() -> None:
    """81 frames a second, then a minute of hashing and encoding of prompts: until it was seen once it may take long."""
    bounds = Bounds()
    for _ in range(80):
        bounds.learn(FRAMES, 0.01, then=FRAMES)
    assert bounds.bound(FRAMES) == FIRST
    bounds.learn(FRAMES, 100.0, then=STEPS)
    assert FLOOR < bounds.bound(FRAMES) == 300.0


def child(body: str, folder: Path, *, first: float = 60.0, floor: float = 0.5) -> tuple[int, float, Path]:
    """Run Python under a watchdog. Its exit code, the seconds it took after saying `begun`, and the file."""
    file = folder / "hang" / "stack"
    code = f"""
import ctypes, sys, threading, time
from pathlib import Path
from tasks.progress import Progress, announce
from tasks.watchdog import Watchdog
def step(done, of=40):
    announce(Progress("AGM_SQ010_SH0010_v001", "generate", 0, 81, f"window 2 of 3, step {{done}} of {{of}}"))
with Watchdog(Path(sys.argv[1]), first={first}, floor={floor}) as dog:
    print("begun", flush=True)
{body}
print("left", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "begun\n"
            started = time.monotonic()
            code_ = program.wait(60)
        finally:
            program.kill()
        return code_, time.monotonic() - started, file


HANGS = {
    "a C call that holds the interpreter's lock": "    ctypes.PyDLL(None).sleep(50)",
    "asleep in the main thread": "    time.sleep(50)",
    "a lock that nobody releases": "    lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "the same words for ever": "    while True:\n        step(9); time.sleep(0.05)",
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS.keys())
def test_a_hung_process_ends_and_says_where(hang: str, tmp_path: Path) -> None:
    """After steps of 10 ms the bound is its floor of half a second; exit code 1, shot, step and stack in the file."""
    steps = "    for done in range(10):\n        step(done); time.sleep(0.01)\n"
    code, seconds, file = child(steps + hang, tmp_path)
    assert code == 1
    assert 0.5 < seconds < 20
    found = left_behind(file)
    assert found["at"].startswith("AGM_SQ010_SH0010_v001 generate: window 2 of 3, step")
    assert 'File "<string>", line' in found["stack"]


def test_a_hang_before_the_first_step_ends_too(tmp_path: Path) -> None:
    """The first bound is the caller's."""
    code, seconds, file = child("    time.sleep(50)", tmp_path, first=1.0)
    assert (code, 1.0 <= seconds < 20) == (1, True)
    assert left_behind(file)["at"].startswith("before its first step")


def test_slow_and_steady_lives(tmp_path: Path) -> None:
    """Steps of 0.3 s for ten times the floor; one that takes six times as long is forgiven; nothing is left behind."""
    body = """    for done in range(15):
        step(done); time.sleep(1.8 if done == 12 else 0.3)"""
    code, seconds, file = child(body, tmp_path, first=20.0, floor=0.4)
    assert code == 0
    assert seconds > 5
    assert not file.exists()


def test_what_is_waited_for_is_not_a_hang(tmp_path: Path) -> None:
    """A catalogue that is away; after it the bounds hold again."""
    body = """    with dog.resting():
        time.sleep(3)
    time.sleep(50)"""
    code, seconds, file = child(body, tmp_path, first=1.0)
    assert code == 1
    assert 4.0 <= seconds < 20
    assert "stack" in left_behind(file)


def test_nothing_is_armed_outside_the_block(tmp_path: Path) -> None:
    """Also after an exception, and though threads that were started inside go on announcing."""
    body = """    from contextvars import copy_context
    inside = copy_context()
    step(1)
inside.run(step, 2)
try:
    with Watchdog(Path(sys.argv[1]), first=1.0, floor=0.2):
        raise KeyError
except KeyError:
    pass
time.sleep(2)"""
    code, _, file = child(body, tmp_path, first=1.0)
    assert code == 0
    assert not file.exists()


def test_a_process_that_is_killed_leaves_where_it_was(tmp_path: Path) -> None:
    """No stack: nobody had the time to write one."""
    code, _, file = child("    step(7); import os; os.kill(os.getpid(), 9)", tmp_path)
    assert code == -9
    assert set(left_behind(file)) == {"at"}
    assert "step 7 of 40" in left_behind(file)["at"]


def test_there_is_nothing_of_a_process_that_never_was(tmp_path: Path) -> None:
    """No file, no evidence."""
    assert left_behind(tmp_path / "nobody") == {}


def test_announcing_stays_cheap(tmp_path: Path) -> None:
    """2,000 frames from two threads: under half a millisecond each."""
    with Watchdog(tmp_path / "stack"):

        def frames(slate: str) -> None:
            for done in range(1000):
                announce(Progress(slate, "retime", done, 2000))

        threads = [threading.Thread(target=copy_context().run, args=(frames, slate)) for slate in "AB"]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (time.perf_counter() - started) / 2000 < 5e-4
