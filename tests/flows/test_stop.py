"""Claims about being asked to leave: a model's window is saved where it is, and the next run goes on from there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rendering import ROOT, House
from tiny_house import install


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_running_window_is_saved_and_gone_on_with(house: House, number: signal.Signals, code: int) -> None:
    """The process leaves by itself with the signal's code, the shot is not failed, steps that were done stay done."""
    install(house.home / "weights", "wan2.1-i2v", "wan2.1-i2v-14b-720p", steps="300")
    row = {"model": "tiny", "prompt": "the sea", "resolution": "64x32", "frames": "9", "fps": "16"}
    house.submit({"shot": "SH0010", **row})
    with subprocess.Popen(
        [sys.executable, "-c", LISTENING, "render"],
        cwd=ROOT,
        env={**house.environment, "STEPPING": str(house.folder / "stepping")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        wait_for(house.folder, "stepping", run)
        run.send_signal(number)
        assert run.wait(60) == code, run.stderr.read() if run.stderr else ""
    standing = house.json("status")
    assert standing["failed"] == []
    assert (standing["rendering"], standing["shots"]["ready"]) == ([], 1)
    assert list(house.home.glob("work/**/000.state/*"))
    reports = house.json("render")["shots"]
    assert [report["status"] for report in reports] == ["review"]
    manifest = json.loads(Path(reports[0]["manifest"]).read_text())
    assert 0 < manifest["engine"]["windows"][0]["resumed_at"] < 300


LISTENING = """
import os, pathlib, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test started in the background ignores it
from desk.cli import main
from tasks.progress import listening

stepping = pathlib.Path(os.environ["STEPPING"])

def hear(progress):
    if progress.detail.endswith(" of 300"):
        stepping.touch()

with listening(hear):
    main()
"""


def wait_for(folder: Path, pattern: str, run: subprocess.Popen[str]) -> None:
    """Until a file is there; fails if the process ends first."""
    deadline = time.monotonic() + 60
    while not list(folder.glob(pattern)):
        assert run.poll() is None, run.stderr.read() if run.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
