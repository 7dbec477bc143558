"""The Prefect server of a run's own: there when it is needed, gone whatever happens to the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from rendering import ROOT, House, clean_environment

from flows.prefect_server import refuse_taken
from tasks.errors import MachineNotReadyError


@pytest.fixture
def alone(tmp_path: Path, plate_path: Path) -> House:
    """A house in which nobody has configured Prefect."""
    return House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(tmp_path / "home"), HOME=str(tmp_path)))


def _programs(home: Path) -> list[str]:
    """Command lines of all living programs that were started for this home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"DAILIES_HOME={home}".encode() in environment and command:
            found.append(command)
    return found


def _gone(home: Path, seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not _programs(home):
            return True
        time.sleep(0.2)
    return False


def _start(environment: Mapping[str, str], *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "desk.cli", "render", *words],
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # whoever runs the tests in the background ignores Ctrl-C, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _until_rendering(home: Path) -> None:
    deadline = time.monotonic() + 90
    while not list(home.glob("work/*/*/*/attempts/*/*.mkv")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to look for programs")
def test_an_interrupted_render_stops_at_once_and_is_continued(alone: House) -> None:
    """Ctrl-C ends run, ffmpeg and server within seconds, marks no shot as failed, and the next render finishes all."""
    alone.submit({"shot": "SH0010", "frames": "300"}, {"shot": "SH0020"}, {"shot": "SH0030"})
    run = _start(alone.environment)
    _until_rendering(alone.home)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=20)
    assert run.returncode == 130
    assert b"Run it again to continue" in said
    assert b"Traceback" not in said
    assert _gone(alone.home)
    assert alone.json("status")["failed"] == []
    assert [report["status"] for report in alone.json("render")["shots"]] == ["review"] * 3
    assert (alone.home / "prefect" / "server.log").exists()
    assert _gone(alone.home)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to look for programs")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_render_leaves_no_program_behind(alone: House, name: str) -> None:
    """Whoever kills the run, its Prefect server and its ffmpeg die with it."""
    alone.submit({"shot": "SH0010", "frames": "300"})
    run = _start(alone.environment)
    _until_rendering(alone.home)
    assert len(_programs(alone.home)) >= 2
    run.send_signal(signal.Signals[name])
    run.communicate(timeout=20)
    assert run.returncode != 0
    assert _gone(alone.home)


def test_a_server_that_does_not_answer_is_exit_code_3(alone: House) -> None:
    """A configured Prefect that is down: render and doctor say so with the remedy, and change nothing."""
    alone.submit({"shot": "SH0010"})
    nowhere = "http://127.0.0.1:9/api"
    done = alone.run("render", PREFECT_API_URL=nowhere)
    assert done.returncode == 3
    assert "unset PREFECT_API_URL" in done.stderr
    checks = {check["name"]: check for check in alone.json("doctor", code=3, PREFECT_API_URL=nowhere)["checks"]}
    assert checks["prefect"]["status"] == "missing"
    assert alone.json("shots")["shots"][0]["status"] == "ready"


def test_an_ffmpeg_that_is_not_there_is_exit_code_3(alone: House) -> None:
    """render refuses before anything starts, and names the ffmpeg."""
    alone.submit({"shot": "SH0010"})
    done = alone.run("render", DAILIES_FFMPEG="/nope/ffmpeg")
    assert done.returncode == 3
    assert "/nope/ffmpeg does not run" in done.stderr


def test_clients_that_write_at_once_wait_for_each_other(prefect_url: str) -> None:
    """On SQLite no request is refused: as Prefect starts its server, a third of these are answered 503."""

    def work(name: str) -> list[int]:
        with httpx.Client(base_url=f"{prefect_url}/", timeout=120) as http:
            answers = [http.post("flows/", json={"name": f"crowd-{name}"})]
            flow = answers[0].json()["id"]
            for number in range(3):
                answers.append(http.post("flow_runs/", json={"flow_id": flow, "name": f"crowd-{name}-{number}"}))
                path = f"flow_runs/{answers[-1].json()['id']}/set_state"
                answers += [http.post(path, json={"state": {"type": kind}}) for kind in ("PENDING", "RUNNING")]
                answers.append(http.post(path, json={"state": {"type": "COMPLETED"}}))
            return [answer.status_code for answer in answers]

    with ThreadPoolExecutor(10) as pool:
        found = [code for codes in pool.map(work, "abcdefghij") for code in codes]
    assert len(found) == 130
    assert set(found) <= {200, 201}


def test_a_port_that_anybody_listens_at_is_not_said_to_be_prefects(prefect_url: str) -> None:
    """A web server that answers something is another program; only Prefect's own answer is Prefect's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(MachineNotReadyError, match="is taken by") as error:
            refuse_taken(other.server_address[1])
        other.shutdown()
    assert "PREFECT_API_URL" not in str(error.value)
    with pytest.raises(MachineNotReadyError, match="set PREFECT_API_URL="):
        refuse_taken(int(prefect_url.rpartition(":")[2].partition("/")[0]))
