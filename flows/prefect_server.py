"""A Prefect server for as long as one run lasts, where nobody has configured another and no house is up.

Knows: how to start, find and stop Prefect's server, where a house says that it is up. Does not know: flows. Does
not import Prefect: the variables that it sets must stand before anybody does.

Prefect's own temporary server outlives a run that is killed. This one is started so that the kernel ends it with us.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from flows.settings import Settings, prefect_configured, prefect_environment
from tasks.doctor import answers
from tasks.errors import MachineNotReadyError
from tasks.frames import Program, start, stop

LOG: Final = logging.getLogger("dailies")

PATIENCE: Final = 120.0
"""Seconds for a server to answer; a new database on two busy cores has taken 40."""

HOUSE: Final = "house.json"
"""File in the home's `prefect` folder by which a house that is up says where: `url`, `ui`, `pid`, `started`."""

LOCK: Final = "house.lock"
"""Held as long as a house is up: the file above means something only then."""


def house_url(settings: Settings) -> str | None:
    """URL of the API of the house that is up in this home; None if none is, or it is still starting."""
    folder = settings.home / "prefect"
    if not (folder / LOCK).exists():
        return None
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            return None  # left by a house that was killed
    except Timeout:
        pass  # held: it is up
    except OSError:  # somebody else's home, which we may only read
        return None
    try:
        url = json.loads((folder / HOUSE).read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError):
        return None
    return str(url) if answers(url) else None


def configured_url() -> str | None:
    """URL of the Prefect API that somebody has configured, by a variable or in a profile; None if nobody has."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    if not prefect_configured(os.environ):
        return None
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


@contextmanager
def prefect_server(settings: Settings) -> Iterator[None]:
    """Prefect ready to be imported: the configured one as it is, else the house's, else a server of this run's own.

    Sets environment variables of this process. The own server keeps its database and its log in the home. Raises
    MachineNotReadyError if the configured server does not answer, or the own one does not start.
    """
    if prefect_configured(os.environ):
        os.environ.update(prefect_environment(settings))
        url = os.environ.get("PREFECT_API_URL")
        if url and not answers(url):
            raise MachineNotReadyError(
                f"the Prefect server at {url} does not answer; start it, or unset PREFECT_API_URL"
            )
        yield
        return
    before = dict(os.environ)
    if url := house_url(settings):
        LOG.info("this run is seen at %s", url.removesuffix("/api"))
        os.environ.update({**prefect_environment(settings), "PREFECT_API_URL": url})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
        return
    LOG.info("starting a Prefect server for this run")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    os.environ.update({**prefect_environment(settings), "PREFECT_API_URL": url})
    folder = settings.home / "prefect"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "server.log").open("wb") as log:
            argv = [sys.executable, "-m", *server_words(port)]
            server = start(argv, stdout=log.fileno(), stderr=log.fileno())
    except OSError as error:
        raise MachineNotReadyError(f"cannot write to {folder}: {error.strerror}; mend DAILIES_HOME") from error
    try:
        _await(server, url, log=str(folder / "server.log"))
        yield
    finally:
        stop(server)
        os.environ.clear()
        os.environ.update(before)


def server_words(port: int) -> list[str]:
    """Module and arguments of a Prefect server on this machine's loopback."""
    return ["flows.server", "server", "start", "--host", "127.0.0.1", "--port", str(port)]


def _await(server: Program, url: str, *, log: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise MachineNotReadyError(
                f"Prefect's server did not start; {log} says why, `dailies doctor` what it needs"
            )
        time.sleep(0.1)


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def refuse_taken(port: int, *, option: str = "--port") -> None:
    """Raises MachineNotReadyError if somebody listens on a port of this machine's loopback, and says who.

    `option` is the one by which another port is named.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server that is gone left is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
            return
        except PermissionError:
            raise MachineNotReadyError(f"port {port} is not for all; name one above 1023 with {option}") from None
        except OverflowError:
            raise MachineNotReadyError(f"there is no port {port}; name one from 1024 to 65535 with {option}") from None
        except OSError:
            pass
    url = f"http://127.0.0.1:{port}/api"
    if _is_prefect(url):
        raise MachineNotReadyError(
            f"port {port} is taken by {_listener(port)}, a server that answers as Prefect does; set "
            f"PREFECT_API_URL={url} to use it, or name another port with {option}"
        )
    raise MachineNotReadyError(
        f"port {port} is taken by {_listener(port)}; stop it, or name another port with {option}"
    )


def _is_prefect(url: str) -> bool:
    """Whether what answers there says what a Prefect server says of its health: any program has some answer."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.read(100).strip() == b"true")
    except (OSError, ValueError):
        return False


def _listener(port: int) -> str:
    """Who listens on a port: process id and command line where the system tells us."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with suppress(OSError):
            if os.readlink(link) in sockets:
                command = (link.parents[1] / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"process {link.parts[2]} ({command.strip()[:100]})"
    return "another program"
