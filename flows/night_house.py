"""The Prefect server and workers of a night that somebody calls for: where they are, and whether they are still there.

Knows: the configured server, the house that is up in this home, how to start one for a night alone. Does not know:
batches. Imports Prefect only when there is a server to talk to.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.prefect_server import configured_url, house_url
from flows.settings import Settings, house_environment
from tasks.doctor import answers
from tasks.errors import MachineNotReadyError
from tasks.frames import Program, start

if TYPE_CHECKING:
    from flows.dispatch import Dispatch

START: Final = 180.0
"""Seconds for a house of our own to be up."""

SILENT: Final = 2.0
"""Seconds without an answer after which it is said."""

Said = Callable[[str], None]


class NightHouse:
    """A server with workers. Made by `night_house`; not for several threads."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        said: Said,
        *,
        inside: ExitStack,
        fixed: bool = False,
        own: Program | None = None,
    ) -> None:
        """`fixed`: it is never at another address. `own` is the house that was started for this night alone."""
        self._settings, self._said, self._own, self._inside = settings, said, own, inside
        self._fixed = fixed or own is not None
        self._url, self._connected = url, ""
        self._dispatch: Dispatch | None = None
        self._silent_since: float | None = None
        self._told = False

    def dispatch(self) -> Dispatch | None:
        """A connection to the server; None while it does not answer, which is said once, with what to do.

        A house that was ended is found again when it is up again, at another port too. Raises MachineNotReadyError if
        it was started for this night alone, and has ended.
        """
        url = self._answering()
        if url is None:
            self._complain()
            return None
        if self._told:
            self._said(f"the Prefect server at {url.removesuffix('/api')} answers; the night goes on")
        self._silent_since, self._told = None, False
        if self._connected != url or self._dispatch is None:
            self._dispatch = self._connect(url)
        return self._dispatch

    def _answering(self) -> str | None:
        if answers(self._url):
            return self._url
        url = None if self._fixed else house_url(self._settings)
        self._url = url or self._url
        return url

    def _complain(self) -> None:
        if self._own is not None and self._own.poll() is not None:
            raise MachineNotReadyError(
                f"the house that was started for this night has ended; {_log(self._settings)} says why, and "
                "`dailies night` takes the batch up where it stands"
            )
        self._silent_since = self._silent_since or time.monotonic()
        if not self._told and time.monotonic() - self._silent_since >= SILENT:
            self._told = True
            self._said(
                f"the Prefect server at {self._url.removesuffix('/api')} does not answer: if `dailies up` has ended, "
                "start it again and the night goes on; Ctrl-C leaves the batch to the next `dailies up`"
            )

    def _connect(self, url: str) -> Dispatch:
        os.environ["PREFECT_API_URL"] = self._connected = url
        from prefect.settings import PREFECT_API_URL, temporary_settings

        from flows.dispatch import dispatching

        self._inside.enter_context(temporary_settings(updates={PREFECT_API_URL: url}))
        return self._inside.enter_context(dispatching())


@contextmanager
def night_house(settings: Settings, said: Said) -> Iterator[NightHouse]:
    """A server with workers: the configured one, the house that is up here, else one for this night alone.

    Sets environment variables of this process. Raises MachineNotReadyError if a house of our own does not start.
    """
    before = dict(os.environ)
    configured, own = configured_url(), None
    url = configured or house_url(settings)
    try:
        if url is None:
            said("no house is up (`dailies up`); starting one for this night")
            own, url = _own_house(settings)
        patient = {"PREFECT_CLIENT_MAX_RETRIES": os.environ.get("PREFECT_CLIENT_MAX_RETRIES", "2")}
        quiet = {"PREFECT_LOGGING_LEVEL": "CRITICAL"}
        os.environ.update({**house_environment(settings), **patient, **quiet, "PREFECT_API_URL": url})
        with ExitStack() as inside:
            yield NightHouse(settings, url, said, inside=inside, fixed=configured is not None, own=own)
    finally:
        if own is not None:
            own.send_signal(signal.SIGTERM)
            own.wait()
        os.environ.clear()
        os.environ.update(before)


def _own_house(settings: Settings) -> tuple[Program, str]:
    log = _log(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        # the night of the window is the schedule's, this one is somebody's
        argv = [sys.executable, "-m", "desk.cli", "up", "--port", "0", "--wait"]
        house = start(argv, stdout=stream.fileno(), stderr=stream.fileno())
    deadline = time.monotonic() + START
    while (url := house_url(settings)) is None:
        if house.poll() is not None or time.monotonic() > deadline:
            house.kill()
            raise MachineNotReadyError(_last_line(log) or f"the house did not start; {log} says why")
        time.sleep(0.2)
    return house, url


def _log(settings: Settings) -> Path:
    return settings.home / "prefect" / "house.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("dailies: ") if lines else ""
