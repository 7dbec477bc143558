"""Claims about the death of a house in the middle of a night: nothing of it lingers, and the next one goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pacing import PACE, begun, ended, pace, until
from rendering import ROOT, House, clean_environment

from catalogs.night import AttemptStatus, BatchStatus
from catalogs.store import Catalogue, open_catalogue
from flows.prefect_server import free_port

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.night,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no kernel tells a run that its worker is gone"),
]

LONG = {"frames": "140", "fps": "24", "deliveries": "h264"}
"""Two windows."""


@pytest.fixture
def home(tmp_path: Path, plate_path: Path) -> House:
    """A home in which no house is up."""
    (tmp_path / "pace").mkdir()
    (tmp_path / "pace" / "sitecustomize.py").write_text(PACE)
    environment = clean_environment(
        DAILIES_HOME=str(tmp_path / "home"),
        HOME=str(tmp_path),
        CUDA_VISIBLE_DEVICES="0",
        PYTHONPATH=os.pathsep.join([str(tmp_path / "pace"), str(ROOT)]),
    )
    return House(tmp_path, plate_path, environment)


@pytest.fixture
def catalogue(home: House) -> Iterator[Catalogue]:
    """The home's."""
    with open_catalogue(f"sqlite:///{home.home}/catalogue.sqlite") as made:
        yield made


class Up:
    """`dailies up`, ready; what it says."""

    def __init__(self, home: House, port: int) -> None:
        log = home.folder / f"up-{port}.log"
        words = [sys.executable, "-m", "desk.cli", "up", "--no-desk", "--wait", "--port", str(port)]
        self.run = subprocess.Popen(
            words, cwd=ROOT, env=dict(home.environment), stderr=log.open("wb"), start_new_session=True
        )
        until(lambda: "Ctrl-C stops all" in log.read_text(), 180, self.run)
        self.said = log.read_text()


def listening(run: subprocess.Popen[str]) -> list[str]:
    """The lines that a program says on stderr, as they come."""
    lines: list[str] = []

    def read() -> None:
        for line in run.stderr or ():
            lines.append(line.rstrip())

    threading.Thread(target=read, daemon=True).start()
    return lines


def programs(home: House, *, but: int) -> dict[int, str]:
    """Command lines of all living programs of a home, by process id; `but` is not counted."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"DAILIES_HOME={home.home}\0".encode() in environment and command and int(folder.name) != but:
            found[int(folder.name)] = command.replace(b"\0", b" ").decode()
    return found


def test_a_house_that_is_killed_in_the_night(home: House, catalogue: Catalogue) -> None:
    """Within 30 s nothing of it is left; its shot is given back, not counted as a death; the finished window stays.
    Whoever waits for the night is told at once what to do, and gets the report of the next house, at another port."""
    home.submit({"shot": "K01", **LONG})
    pace(home, 5.0)
    up = Up(home, free_port())
    night = begun(home)
    said = listening(night)
    work = home.home / "work" / "AGM" / "K01"
    [window] = until(lambda: list(work.glob("*/windows/000.mkv.json")))
    pace(home, 600.0)
    made = window.stat().st_mtime_ns
    time.sleep(1.0)

    up.run.kill()
    up.run.wait()
    until(lambda: not programs(home, but=night.pid), 30)
    [attempt] = catalogue.nights.attempts(shot="AGM/K01")
    assert attempt.status is AttemptStatus.RELEASED
    assert "gone" in attempt.evidence
    until(lambda: any("does not answer: if `dailies up` has ended, start it again" in line for line in said), 20)
    assert night.poll() is None

    pace(home, 0.0)
    again = Up(home, 0)
    assert re.search(r"http://127\.0\.0\.1:(?!4200|0)\d+", again.said)  # a free one
    assert "was at work when its house went down; it is taken up again" in again.said
    until(lambda: night.poll() is not None)
    assert night.returncode == 0, said
    assert any("answers; the night goes on" in line for line in said)
    assert window.stat().st_mtime_ns == made
    assert [one.status for one in catalogue.nights.attempts(shot="AGM/K01")] == [
        AttemptStatus.RELEASED,
        AttemptStatus.DONE,
    ]

    # two Ctrl-C in the middle of another night: it stays, and is ending; whoever calls for a night next brings it to
    # its end and begins one of his own
    home.submit({"shot": "K02", **LONG}, name="second.csv")
    pace(home, 600.0)
    other = begun(home)
    heard = listening(other)
    until(lambda: list((home.home / "work" / "AGM" / "K02").glob("*/plan.json")))
    for _ in range(2):
        again.run.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert again.run.wait(30) == 0
    until(lambda: any("is ending: " in line for line in heard) and any("does not answer" in line for line in heard), 30)
    other.send_signal(signal.SIGINT)
    assert other.wait(30) == 130
    assert "is left as it is" in heard[-1]
    left = catalogue.nights.running()
    assert left is not None
    assert left.status is BatchStatus.STOPPING
    pace(home, 0.0)
    third = begun(home)
    report = ended(third)
    assert report["batch"] != left.name
    assert [entry["outcome"] for entry in report["shots"]] == ["done"]
    assert {entry["outcome"] for entry in catalogue.nights.batch(left.name).report["shots"]} == {"carried_over"}
    assert not programs(home, but=0)
