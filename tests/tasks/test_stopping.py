"""Claims about requests to stop: a dropped shot stops alone, a process that was asked to leave stays asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stopping import STOPPING, Stopping

ROOT = Path(__file__).resolve().parents[2]


@given(st.lists(st.sampled_from(["drop", "go_on", "ask"]), max_size=12))
def test_the_event_is_what_was_asked(calls: list[str]) -> None:
    """Whatever comes in whatever order: windows stop while the shot is dropped, and for ever once asked to leave."""
    stopping, dropped, leaving = Stopping(), False, False
    for call in calls:
        stopping.drop("cancelled") if call == "drop" else getattr(stopping, call)()
        dropped = call == "drop" or (dropped and call != "go_on")
        leaving = leaving or call == "ask"
        assert (stopping.dropped, stopping.leaving) == (dropped, leaving)
        assert stopping.event.is_set() == (dropped or leaving)


def test_the_first_reason_stands_until_the_next_shot() -> None:
    """What took the shot away is not covered up by what came after."""
    stopping = Stopping()
    stopping.drop("AGM/SH0010 was cancelled")
    stopping.drop("AGM/SH0010 was given to another run")
    assert stopping.reason == "AGM/SH0010 was cancelled"
    stopping.go_on()
    assert stopping.reason == ""


def test_drops_and_leaving_from_many_threads_never_lose_the_leaving() -> None:
    """However `go_on` and `ask` meet, the event is set in the end."""
    for _ in range(100):
        stopping = Stopping()
        gate = threading.Barrier(3)

        def run(step: Any, stopping: Stopping = stopping, gate: threading.Barrier = gate) -> None:
            gate.wait()
            for _ in range(5):
                step()

        steps = [stopping.go_on, stopping.ask, lambda stopping=stopping: stopping.drop("x")]
        threads = [threading.Thread(target=run, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stopping.go_on()
        assert stopping.event.is_set()


def test_leaving_waits_for_windows_at_work() -> None:
    """A dropped window or a running one: `leave` returns when it is gone."""
    stopping, seen = Stopping(), []

    def window() -> None:
        with stopping.at_work():
            stopping.event.wait(5)
            seen.append("saved")

    thread = threading.Thread(target=window)
    thread.start()
    while not stopping._at_work:
        time.sleep(0.001)
    stopping.leave()
    assert seen == ["saved"]
    thread.join()


@pytest.fixture
def handler() -> Iterator[list[int]]:
    """Somebody who listens to SIGTERM already, as Prefect's flow engine does: what it heard."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)
    STOPPING.begin_anew()


@pytest.mark.parametrize("gently", [False, True])
def test_whoever_listened_before_listens_again(handler: list[int], gently: bool) -> None:
    """Also when the block is left by an exception; inside it the other one hears nothing."""
    with pytest.raises(ZeroDivisionError), STOPPING.on_sigterm(gently=gently):
        raise ZeroDivisionError
    os.kill(os.getpid(), signal.SIGTERM)
    assert handler == [signal.SIGTERM]


def test_sigterm_is_a_ctrl_c_inside_the_block(handler: list[int]) -> None:
    """And says which signal it was."""
    with pytest.raises(KeyboardInterrupt), STOPPING.on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert STOPPING.signal == signal.SIGTERM
    assert handler == []


def test_a_second_sigterm_does_not_tear_the_leaving(handler: list[int]) -> None:
    """A worker's group is asked, and then the kernel asks again because the worker is gone; a Ctrl-C still tears."""
    with STOPPING.on_sigterm():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGTERM)
        STOPPING.leave()
        os.kill(os.getpid(), signal.SIGTERM)
        assert STOPPING.signal == signal.SIGTERM
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt), STOPPING.at_work():
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
                STOPPING.leave()
        finally:
            signal.signal(signal.SIGINT, before)
    assert handler == []


def test_a_gentle_sigterm_only_asks(handler: list[int]) -> None:
    """Nothing is raised, the event is set at once, and again changes nothing."""
    with STOPPING.on_sigterm(gently=True):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert STOPPING.event.wait(5)
        assert STOPPING.leaving
        STOPPING.go_on()
        assert STOPPING.event.is_set()
    assert handler == []


def test_a_request_of_the_block_before_is_forgotten(handler: list[int]) -> None:
    """A process that took up other work is not asked to leave it."""
    STOPPING.ask()
    with STOPPING.on_sigterm():
        assert not STOPPING.leaving
        assert not STOPPING.event.is_set()


STORM = """
import signal, sys, threading, time
from tasks.stopping import STOPPING
with STOPPING.on_sigterm(gently=True):
    print("ready", flush=True)
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        STOPPING.drop("x"); STOPPING.go_on(); STOPPING.event.wait(0)
    assert STOPPING.event.wait(5)
print("left", flush=True)
"""


def test_signals_in_the_middle_of_a_request_do_not_lock_up() -> None:
    """A handler that took the locks of the code it interrupts would hang here."""
    with subprocess.Popen([sys.executable, "-c", STORM], stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for _ in range(100):
            child.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        try:
            assert child.stdout.readline() == "left\n"
            assert child.wait(20) == 0
        finally:
            child.kill()
