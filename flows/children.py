"""A program that is kept running: started, logged, ended with all that it started, and started again when it dies.

Knows: process groups, logs, waiting longer after each death. Does not know: Prefect, what the program does. Memory:
none to speak of; logs are cut to size on disk.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tasks.frames import Program, start

LONGEST_LOG: Final = 20_000_000
"""Bytes of a log before it is cut."""

KEPT: Final = 2_000_000
"""Bytes of a cut log's end, kept beside it as NAME.log.1."""

GRACE: Final = 20.0
"""Seconds that the runs of a worker that died get to save what they have; the kernel has told them."""

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before a program is started again: doubled with each death
_STEADY: Final = 60.0  # seconds of life after which a death counts as the first again


class Child:
    """One program, known by a name. Call everything from the thread that made it: the kernel ties it to that."""

    def __init__(self, name: str, argv: Sequence[str], *, logs: Path) -> None:
        self.name = name
        self.log: Final = logs / f"{name}.log"
        self._argv = list(argv)
        self._program: Program | None = None
        self._begins = 0
        """Byte of the log at which the present program's words begin."""
        self._started = 0.0
        self._wait = _FIRST_WAIT
        self._again: float | None = None
        self._told: set[int] = set()

    def start(self) -> None:
        """Start it. Raises OSError where the log cannot be written, FfmpegError where the program cannot start."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._begins = log.tell()
            self._program = start(self._argv, stdout=log.fileno(), stderr=log.fileno())
        self._started, self._again = time.monotonic(), None
        self._told.clear()

    @property
    def pid(self) -> int | None:
        """Process id of the present or last program, which is also its group's."""
        return self._program.pid if self._program else None

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._program.poll() if self._program else None

    def words(self) -> str:
        """What the present program has written so far."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self._begins)
            return log.read().decode("utf-8", "replace")
        return ""

    def keep(self, said: Callable[[str], None]) -> None:
        """Look after it: start it again if it has died, once its group is empty and some time has passed."""
        self._trim()
        if self._again is None and self.code is not None:
            if time.monotonic() - self._started > _STEADY:
                self._wait = _FIRST_WAIT
            self._again = time.monotonic() + self._wait
            said(f"{self.name} ended ({_how(self.code)}) and is started again; {self.log} says why")
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
        if self._again is None:
            return
        if self.members():
            self.signal(signal.SIGTERM)
            if time.monotonic() > self._again + GRACE:
                self.kill()
        elif time.monotonic() > self._again:
            self.start()

    def members(self) -> set[int]:
        """Living programs of its group: itself and, for a worker, the runs that it started."""
        if self.pid is None:
            return set()
        found = _group(self.pid)
        if found is None:  # no /proc to look into
            return {self.pid} if self.code is None else set()
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every program of its group, once each: a second one means something else to most."""
        for member in self.members() - self._told:
            self._told.add(member)
            with suppress(ProcessLookupError):
                os.kill(member, number)

    def kill(self) -> None:
        """End its whole group, whatever it is doing."""
        if self.pid is None:
            return
        for member in self.members():
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)

    def gone(self) -> bool:
        """Whether nothing of its group is left."""
        return (self._program is None or self.code is not None) and not self.members()

    def _trim(self) -> None:
        """Cut the log in place: the program holds it open, and appends."""
        with suppress(OSError):
            if self.log.stat().st_size > LONGEST_LOG:
                with self.log.open("r+b") as log:
                    log.seek(-KEPT, os.SEEK_END)
                    self.log.with_name(f"{self.log.name}.1").write_bytes(log.read())
                    log.truncate(0)
                self._begins = 0


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _group(leader: int) -> set[int] | None:
    """Process ids of a group without those that are dead and only wait to be noticed; None without /proc."""
    found = set()
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        return None
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # the name may hold spaces and brackets: what follows the last bracket does not
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader and fields[0] not in ("Z", "X"):
                found.add(int(folder.name))
    return found
