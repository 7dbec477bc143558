"""Several machines on one: Prefect's server, its services and workers as programs of their own, on real databases.

They are configured as deploy/compose.yaml says, but for the addresses. Needs PostgreSQL (tests/postgres.py) and
redis-server (Debian: `apt install redis-server`). Everything listens on the loopback address and dies with the test.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from postgres import Cluster, cluster
from rendering import ROOT, clean_environment

SECONDS = 180.0
"""How long anything may take on a busy machine."""

_LIBC = ctypes.CDLL(None)
_PDEATHSIG = 1


class NoRedisError(Exception):
    """redis-server is not installed."""


def _as_a_service() -> None:
    """What systemd would see to: signals as they come, and an end with whoever started it."""
    # whoever runs the tests in the background ignores Ctrl-C, and a child would inherit that
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)


def eventually(claim: Callable[[], Any], *, seconds: float = SECONDS, what: str = "") -> Any:
    """The first true answer. Fails after `seconds`."""
    last = time.monotonic() + seconds
    while True:
        if answer := claim():
            return answer
        assert time.monotonic() < last, f"not within {seconds:.0f} s: {what or claim}"
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Machines:
    """A head and its workers."""

    folder: Path
    """Home, logs, Redis."""
    postgres: Cluster
    environment: dict[str, str] = field(repr=False)
    """Of every program: where the server is, which databases."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Programs by name, each leader of a session of its own, as if it were on another machine."""

    @property
    def api(self) -> str:
        """URL of Prefect's API."""
        return self.environment["PREFECT_API_URL"]

    def start(self, name: str, argv: Sequence[str], **extra: str) -> subprocess.Popen[bytes]:
        """Start a program; its log is NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                list(argv),
                cwd=ROOT,
                env={**self.environment, **extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_as_a_service,
            )
        return self.running[name]

    def start_server(self) -> None:
        """Prefect's API and its services, as two programs. Returns when the API answers."""
        port = self.api.rpartition(":")[2].partition("/")[0]
        prefect = [sys.executable, "-m", "prefect", "server"]
        server = self.start("server", [*prefect, "start", "--host", "127.0.0.1", "--port", port, "--no-services"])
        self.start("services", [*prefect, "services", "start"])

        def answers() -> bool:
            assert server.poll() is None, self.log("server")
            try:
                return bool(self.ask("GET", "ready"))
            except OSError:
                return False

        eventually(answers, what="the server answers")

    def kill_server(self) -> None:
        """As if the head had lost its power: neither program can say good-bye."""
        for name in ("server", "services"):
            self.running[name].kill()
            self.running[name].wait(SECONDS)

    def start_worker(self, pool: str, *, name: str, device: str | None = None) -> subprocess.Popen[bytes]:
        """A worker as compose.yaml and the systemd units start it. Returns when it has started."""
        words = [sys.executable, "-m", "flows.worker", pool, "--name", name]
        before = self.log(name).count("started!")  # by one of the same name
        worker = self.start(name, words + (["--device", device] if device is not None else []))
        eventually(lambda: self.log(name).count("started!") > before, what=f"worker {name} starts")
        return worker

    def kill_workers(self) -> None:
        """All of them, and what they run: it dies with them."""
        for name in set(self.running) - {"server", "services", "redis"}:
            worker = self.running.pop(name)
            worker.kill()
            worker.wait(SECONDS)

    def log(self, name: str) -> str:
        """What a program has said so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Answer of Prefect's API. Raises OSError where there is none."""
        words = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.api}/{path}", data=words, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else True

    def deploy(self, entrypoint: str, *, name: str, pool: str, limit: int | None = None) -> str:
        """A deployment of a flow by its dotted name; the id."""
        body = {
            "name": name,
            "flow_id": self.ask("POST", "flows/", {"name": entrypoint.rpartition(".")[2]})["id"],
            "entrypoint": entrypoint,
            "work_pool_name": pool,
            "enforce_parameter_schema": False,
        }
        if limit is not None:
            body |= {"concurrency_limit": limit, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}}
        return str(self.ask("POST", "deployments/", body)["id"])

    def order(self, deployment: str, *, at: str = "", **parameters: Any) -> str:
        """A flow run of a deployment, at once or at an ISO time; the id."""
        state: dict[str, Any] = {"type": "SCHEDULED"}
        if at:
            state["state_details"] = {"scheduled_time": at}
        body = {"parameters": parameters, "state": state}
        return str(self.ask("POST", f"deployments/{deployment}/create_flow_run", body)["id"])

    def state(self, flow_run: str) -> str:
        """Type of a flow run's state, such as RUNNING; empty while no server answers."""
        try:
            return str(self.ask("GET", f"flow_runs/{flow_run}")["state"]["type"])
        except OSError:
            return ""

    def redis(self, *words: str, database: int = 0) -> list[str]:
        """Lines that redis-cli prints."""
        port = self.environment["PREFECT_REDIS_MESSAGING_URL"].rpartition(":")[2].partition("/")[0]
        argv = ["redis-cli", "-p", port, "-n", str(database), *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()


def server_environment(*, database: str, redis: str, api: str) -> dict[str, str]:
    """What deploy/compose.yaml gives Prefect's servers, with other addresses."""
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    given = yaml.safe_load(text)["x-prefect-server"]
    ours = {name: str(value) for name, value in given.items() if value is not None}
    ours |= {name: value.replace("redis://redis:6379", redis) for name, value in ours.items()}
    return ours | {
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
    }


@contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """PostgreSQL and Redis with the schema of Prefect in them, and its server. Workers are the caller's.

    Raises NoPostgresError or NoRedisError where those are not installed.
    """
    if not shutil.which("redis-server"):
        raise NoRedisError("redis-server is not installed (Debian: apt install redis-server)")
    with cluster() as postgres:
        words = [postgres.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", postgres.folder, "-U", "dailies"]
        script = ROOT / "deploy" / "docker" / "databases.sql"
        subprocess.run([*words, "-d", "postgres", "-f", script], check=True, capture_output=True)
        port = free_port()
        server = server_environment(
            database=postgres.url("prefect", driver="asyncpg"),
            redis=f"redis://127.0.0.1:{port}",
            api=f"http://127.0.0.1:{free_port()}/api",
        )
        environment = clean_environment(
            **server,
            PREFECT_HOME=str(folder / "prefect"),
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            DAILIES_HOME=str(folder / "home"),
            DAILIES_DATABASE_URL=postgres.url("dailies"),
            DAILIES_NIGHT="00:00-23:59",
            DAILIES_TIMEZONE="UTC",
        )
        made = Machines(folder, postgres, environment)
        try:
            redis = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
            made.start("redis", redis)
            upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            done = subprocess.run(upgrade, env=environment, capture_output=True, text=True, timeout=SECONDS)
            assert done.returncode == 0, done.stdout + done.stderr
            made.start_server()
            setup = [sys.executable, "-m", "flows.deployments"]
            done = subprocess.run(setup, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
            assert done.returncode == 0, done.stdout + done.stderr
            yield made
        finally:
            for program in reversed(made.running.values()):
                program.kill()
                program.wait(SECONDS)
