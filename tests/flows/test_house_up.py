"""Claims about `dailies up`: everything starts, whatever dies is started again, and nothing is ever left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from rendering import ROOT, clean_environment

from flows.prefect_server import house_url, prefect_server
from flows.settings import Settings

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to look for programs")

UP = """
import sys
from flows.house import run_house
from flows.settings import Settings
from tasks.errors import MachineNotReadyError
try:
    sys.exit(run_house(Settings.read(), port=int(sys.argv[1]), desk=0, said=lambda line: print(line, flush=True)))
except MachineNotReadyError as error:
    print(error)
    sys.exit(3)
"""

TWO_GPUS = """#!/bin/sh
echo 'Toy 9000, 79000, 81559, 9.0, 580.1'
echo 'Toy 9000, 79000, 81559, 9.0, 580.1'
"""


class Up:
    """A house that is up, seen from outside."""

    def __init__(self, run: subprocess.Popen[str], home: Path, port: int) -> None:
        self.run, self.home, self.port = run, home, port
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/", timeout=60)
        self.lines: list[str] = []

    def until_ready(self) -> None:
        """Read what it says up to the line that says that it is ready."""
        assert self.run.stdout is not None
        for line in self.run.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError("\n".join(self.lines) + "\n" + self.logs())

    def logs(self) -> str:
        """The last words of every program."""
        folder = self.home / "prefect" / "logs"
        return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))

    def begin(self, notes: Path, pool: str, *, seconds: float) -> str:
        """A run of `stay` in a work pool; its id."""
        flow = self.api.post("flows/", json={"name": "stay"}).raise_for_status().json()["id"]
        deployment = {
            "name": f"stay-{pool}",
            "flow_id": flow,
            "work_pool_name": pool,
            "entrypoint": "house_flows.stay",
            "enforce_parameter_schema": False,
        }
        made = self.api.post("deployments/", json=deployment).raise_for_status().json()["id"]
        asked = {"parameters": {"notes": str(notes), "seconds": seconds}, "state": {"type": "SCHEDULED"}}
        answer = self.api.post(f"deployments/{made}/create_flow_run", json=asked).raise_for_status().json()
        return str(answer["id"])

    def state(self, run: str) -> str:
        """Type of the state of a flow run."""
        return str(self.api.get(f"flow_runs/{run}").raise_for_status().json()["state_type"])


@contextmanager
def _up(tmp_path: Path, **environment: str) -> Iterator[Up]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "home"
    run = subprocess.Popen(
        [sys.executable, "-c", UP, str(port)],
        cwd=ROOT,
        env=_environment(tmp_path, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Up(run, home, port)
    finally:
        run.kill()
        run.communicate()
        assert _until(lambda: not _programs(home))


def _environment(tmp_path: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return clean_environment(
        **{"HOME": str(tmp_path), "DAILIES_HOME": str(tmp_path / "home"), "PYTHONPATH": path, **more}
    )


def _programs(home: Path) -> dict[int, str]:
    """Command lines of all living programs that were started for this home, by process id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"DAILIES_HOME={home}\0".encode() in environment and command:
            found[int(folder.name)] = command
    return found


def _pid(home: Path, words: str) -> int:
    """Of the one program whose command line has these words; 0 if there is none."""
    found = [pid for pid, command in _programs(home).items() if words in command and "up.py" not in command]
    assert len(found) <= 1, _programs(home)
    return found[0] if found else 0


def _until(done: Callable[[], object], seconds: float = 40.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.1)
    return False


def _notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _words(path: Path) -> list[str]:
    return [note["word"] for note in _notes(path)]


def test_a_house_with_two_gpus_from_start_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each GPU has a worker whose runs see it alone; dead programs come again; SIGTERM ends runs first, then all."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(TWO_GPUS)
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with _up(tmp_path, PATH=path) as house:
        house.until_ready()
        said = "\n".join(house.lines)
        assert f"http://127.0.0.1:{house.port}" in said
        assert "workers: gpu-0, gpu-1, finish, night" in said
        assert re.search(r"night.*19:00-07:00", said)
        page = httpx.get(f"http://127.0.0.1:{house.port}/")
        assert page.status_code == 200
        assert "<html" in page.text
        desk = re.search(r"The desk is at (http://127\.0\.0\.1:\d+)", said)
        assert desk is not None
        assert "All shots" in httpx.get(f"{desk[1]}/").text
        assert house.api.get("health").json() is True
        assert house.api.get("deployments/name/nightly/nightly").status_code == 200

        # a second one, in this home and at this port
        again = subprocess.run(
            [sys.executable, "-c", UP, "1"], env=_environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert again.returncode == 3
        assert f"already at http://127.0.0.1:{house.port}" in again.stdout
        other = _environment(tmp_path, DAILIES_HOME=str(tmp_path / "other"))
        taken = subprocess.run(
            [sys.executable, "-c", UP, str(house.port)], env=other, capture_output=True, text=True, check=False
        )
        assert taken.returncode == 3
        assert f"port {house.port} is taken by process" in taken.stdout

        # other commands find it
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path))
        settings = Settings.read({"DAILIES_HOME": str(house.home)})
        assert house_url(settings) == f"http://127.0.0.1:{house.port}/api"
        with prefect_server(settings):
            assert os.environ["PREFECT_API_URL"] == house_url(settings)

        # both GPUs at work at once
        notes = tmp_path / "gpus"
        runs = [house.begin(notes, "gpu", seconds=6) for _ in range(2)]
        assert _until(lambda: len(_words(notes)) == 4), house.logs()
        assert _words(notes) == ["begun", "begun", "done", "done"]
        seen = {(note["worker"], note["gpu"]) for note in _notes(notes)}
        assert seen == {("gpu-0", "0"), ("gpu-1", "1")}
        assert {note["home"] for note in _notes(notes)} == {str(house.home)}
        assert _until(lambda: {house.state(run) for run in runs} == {"COMPLETED"})

        # a worker that dies takes its run with it, and is there again
        notes = tmp_path / "lost"
        house.begin(notes, "cpu", seconds=300)
        assert _until(lambda: _words(notes) == ["begun"]), house.logs()
        lost, worker = _notes(notes)[0]["pid"], _pid(house.home, "flows.worker cpu")
        os.kill(worker, signal.SIGKILL)
        assert _until(lambda: lost not in _programs(house.home))
        assert _until(lambda: _pid(house.home, "flows.worker cpu") not in (0, worker))

        # so is the server, at the same address, and it knows what it knew
        server = _pid(house.home, "flows.server server start")
        os.kill(server, signal.SIGKILL)
        assert _until(lambda: _pid(house.home, "flows.server server start") not in (0, server))
        assert _until(lambda: house_url(settings)), house.logs()
        assert house.state(runs[0]) == "COMPLETED"

        # asked to stop: the run hears of it and leaves by itself, before its worker and its server do
        notes = tmp_path / "asked"
        house.begin(notes, "cpu", seconds=300)
        assert _until(lambda: _words(notes) == ["begun"]), house.logs()
        house.run.send_signal(signal.SIGTERM)
        said, _ = house.run.communicate(timeout=60)
        assert house.run.returncode == 0
        assert _words(notes) == ["begun", "asked"]
        assert "finish ended (killed by SIGKILL) and is started again" in said
        assert "stopping" in said
        assert _programs(house.home) == {}
        assert not (house.home / "prefect" / "house.json").exists()
        assert house_url(settings) is None


def test_a_house_that_was_killed_is_put_in_order_by_the_next(tmp_path: Path) -> None:
    """SIGKILL leaves no program; the next house ends the run that was at work, without waiting for its silence."""
    notes = tmp_path / "notes"
    with _up(tmp_path) as house:
        house.until_ready()
        assert "workers: render, finish, night" in "\n".join(house.lines)
        # as if it were the night: the runs that are put in order are those of our own deployments
        deployment = house.api.get("deployments/name/finish-shot/finish-shot").json()["id"]
        house.api.patch(f"deployments/{deployment}", json={"entrypoint": "house_flows.stay"}).raise_for_status()
        asked = {
            "parameters": {"notes": str(notes), "seconds": 300},
            "state": {"type": "SCHEDULED"},
            "enforce_parameter_schema": False,
        }
        run = house.api.post(f"deployments/{deployment}/create_flow_run", json=asked).raise_for_status().json()["id"]
        assert _until(lambda: _words(notes) == ["begun"]), house.logs()
        house.run.kill()
        house.run.wait()
        assert _until(lambda: not _programs(house.home), 15), _programs(house.home)
    with _up(tmp_path) as house:
        house.until_ready()
        assert "1 runs were at work when the last house went down; they are ended" in "\n".join(house.lines)
        assert house.state(run) == "CRASHED"
        found = house.api.get("deployments/name/finish-shot/finish-shot").json()
        assert found["entrypoint"] == "flows.finish.finish_shot"
        # a second signal does not wait
        house.run.send_signal(signal.SIGINT)
        house.run.send_signal(signal.SIGINT)
        assert house.run.wait(20) == 0
        assert _programs(house.home) == {}


def test_a_configured_server_gets_workers_only(tmp_path: Path, prefect_url: str) -> None:
    """With PREFECT_API_URL no server is started or stopped: workers and deployments go to the one that is there."""
    with _up(tmp_path, PREFECT_API_URL=prefect_url, PREFECT_HOME=str(tmp_path / "prefect")) as house:
        house.until_ready()
        assert prefect_url.removesuffix("/api") in "\n".join(house.lines)
        assert _pid(house.home, "server start") == 0
        workers = httpx.post(f"{prefect_url}/work_pools/night/workers/filter", json={}).json()
        assert [one["status"] for one in workers if one["name"] == f"night@{socket.gethostname()}"] == ["ONLINE"]
        house.run.send_signal(signal.SIGTERM)
        assert house.run.wait(30) == 0
        assert httpx.get(f"{prefect_url}/health").json() is True


def test_what_cannot_start_is_said(tmp_path: Path) -> None:
    """A server that is not there, a port that is taken, a driver that fails: one sentence and exit code 3."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'no devices' >&2\nexit 9\n")
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
        for environment, words in [
            ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "http://127.0.0.1:9/api does not answer"),
            ({}, rf"port {port} is taken by process {os.getpid()}"),
            ({"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}, "set CUDA_VISIBLE_DEVICES="),
        ]:
            done = subprocess.run(
                [sys.executable, "-c", UP, str(port)],
                env=_environment(tmp_path, **environment),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 3, done.stdout + done.stderr
            assert words in done.stdout
            assert "Traceback" not in done.stdout + done.stderr
    assert _programs(tmp_path / "home") == {}
