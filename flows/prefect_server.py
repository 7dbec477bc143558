"""A Prefect server for as long as one run lasts, where nobody has configured another.

Knows: how to start, find and stop `prefect server start`. Does not know: flows. Does not import Prefect: the
variables that it sets must stand before anybody does.

Prefect's own temporary server outlives a run that is killed. This one is started so that the kernel ends it with us.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flows.settings import Settings, prefect_configured, prefect_environment
from tasks.doctor import answers
from tasks.errors import MachineNotReadyError
from tasks.frames import Program, start, stop

LOG: Final = logging.getLogger("dailies")

PATIENCE: Final = 120.0
"""Seconds for a server to answer; a new database on two busy cores has taken 40."""


@contextmanager
def prefect_server(settings: Settings) -> Iterator[None]:
    """Prefect ready to be imported: the configured one as it is, else a server of this run's own.

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
    LOG.info("starting a Prefect server for this run")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    before = dict(os.environ)
    os.environ.update({**prefect_environment(settings), "PREFECT_API_URL": url})
    folder = settings.home / "prefect"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "server.log").open("wb") as log:
            argv = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
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


def _await(server: Program, url: str, *, log: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise MachineNotReadyError(
                f"Prefect's server did not start; {log} says why, `dailies doctor` what it needs"
            )
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
