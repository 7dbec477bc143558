"""Claims about the run of a worker that was killed: it saves what it has, and is gone soon, whatever it waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rendering import ROOT

from flows.leash import deaf, loose

WORKER = """
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1], sys.argv[2]],
    env={**os.environ, "DAILIES_WORKER_PID": str(os.getpid())},
    stderr=subprocess.PIPE,
)
time.sleep(60)
"""
"""A worker reads what its runs say: with it, their pipe is gone."""

RUN = """
import pathlib, signal, sys, time
from rich.console import Console
from flows import leash
from tasks.pulse import die_with_parent
from tasks.stopping import STOPPING

notes = pathlib.Path(sys.argv[1])
sys.stderr = leash.deaf(sys.stderr)
console = Console(file=sys.stderr)
leash.hold(grace=2.0)
with STOPPING.on_sigterm():
    die_with_parent(signal.SIGTERM)
    try:
        print(leash.loose(), flush=True)  # within: the worker is killed as soon as this is read
        time.sleep(60)
    except KeyboardInterrupt:
        console.print("asked to leave")  # as Prefect logs; Rich leaves where it finds no reader
        notes.write_text(f"saved, loose: {leash.loose()}")
    time.sleep(60)  # as Prefect's client waits for a server that is gone
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_run_saves_and_is_gone_soon_after_its_worker(tmp_path: Path) -> None:
    """Nobody reads what it says any more, and its server is gone too: neither keeps it from saving, or alive."""
    notes = tmp_path / "notes"
    argv = [sys.executable, "-c", WORKER, RUN, str(notes)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "False\n"
        worker.kill()
        worker.wait()
        killed = time.monotonic()
        assert worker.stdout.read() == ""  # its run has it too: to the end of both
        assert time.monotonic() - killed < 20
    assert notes.read_text() == "saved, loose: True"


def test_only_the_run_of_a_worker_is_ever_loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that somebody else has started is nobody's run."""
    monkeypatch.delenv("DAILIES_WORKER_PID", raising=False)
    assert not loose()
    monkeypatch.setenv("DAILIES_WORKER_PID", str(os.getppid()))
    assert not loose()
    monkeypatch.setenv("DAILIES_WORKER_PID", str(os.getpid()))
    assert loose()


def test_what_nobody_reads_is_lost_without_an_error() -> None:
    """While there is a reader every word arrives; after it none does, and nothing is raised."""
    reader, writer = os.pipe()
    stream = deaf(os.fdopen(writer, "w", buffering=1))
    print("one", file=stream)
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    for _ in range(3):
        print("two" * 10_000, file=stream)
        stream.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # so that closing it finds a place for what is left
    stream.close()
