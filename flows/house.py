"""The house: Prefect's server with its UI, the workers of this machine, and the schedule. What `dailies up` runs.

Knows: which programs make a house, in what order they start and stop, one house per home. Does not know: what the flows
do; it imports nothing of Prefect. Memory: 110 MB of its own; the server takes about 250, a worker 105, the desk
90.

    server        the only one, on this machine's loopback; none where PREFECT_API_URL names another
    gpu-0 ...     one worker for each visible GPU, or `render` where there is none
    finish        one worker for what needs no GPU
    night         one worker for the nightly batch and the inbox
    desk          the page for reviewing, on this machine's loopback

Every program dies with this one, however it ends: the kernel sees to it on Linux (tasks.frames.start, flows.leash).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Final

from filelock import FileLock, Timeout

from flows.children import Child
from flows.prefect_server import HOUSE, LOCK, configured_url, free_port, refuse_taken, server_words
from flows.settings import INBOX, Settings, house_environment
from tasks.doctor import answers, gpus
from tasks.errors import MachineNotReadyError, StepError

PORT: Final = 4200
"""Where the server answers unless another port is named: Prefect's own."""

START: Final = 240.0
"""Seconds for everything to be ready; 15 on two idle cores, 80 on two that six others want."""

STOP: Final = 180.0
"""Seconds that runs get to save what they have; a step of a large model takes a minute."""

NIGHT_RUNS: Final = 2
"""Runs at once of the worker `night`: the batch, and the inbox beside it."""

_LOOK: Final = 0.2  # seconds between two looks at the programs
_PROBE: Final = 2.0  # seconds for a lock to come free: whoever looks for a house holds it for a moment


def run_house(
    settings: Settings,
    *,
    port: int | None = None,
    wait: bool = False,
    desk: int | None = None,
    said: Callable[[str], None],
) -> int:
    """Run the house until Ctrl-C or SIGTERM, and leave nothing behind; the exit code. A second signal ends at once.

    `port` 0 is a free one, None the usual; `desk` is the page's, 0 for a free one, None for a house without. `wait`: a
    night that is open already and was missed is not begun. `said` hears one line for each thing that an operator should
    know. Call it from the main thread. Raises MachineNotReadyError if a house is up in this home already, a port is
    taken, or something does not start.
    """
    with _only_one(settings):
        (settings.home / INBOX).mkdir(exist_ok=True)  # where people look for it
        before = dict(os.environ)
        os.environ.update(house_environment(settings))
        try:
            return House(settings, port=port, wait=wait, desk=desk, said=said).run()
        finally:
            os.environ.clear()
            os.environ.update(before)


class House:
    """The programs of one house. `run` is all there is to call; its environment must have been set."""

    def __init__(
        self, settings: Settings, *, port: int | None, wait: bool, desk: int | None, said: Callable[[str], None]
    ) -> None:
        self._tonight = "wait" if wait else "begin"
        self._said = said
        self._asked = 0
        self._logs = settings.home / "prefect" / "logs"
        self._note = settings.home / "prefect" / HOUSE
        elsewhere = configured_url()
        self._own = elsewhere is None
        self._port = PORT if port is None else port or free_port()
        self.url = elsewhere or f"http://127.0.0.1:{self._port}/api"
        os.environ["PREFECT_API_URL"] = self.url
        self._server = self._child("server", *server_words(self._port))
        self._workers = [
            self._child(name, "flows.worker", *words, "--name", name, "--after", self._note)
            for name, words in _crew(settings).items()
        ]
        self._desk_port = None if desk is None else desk or free_port()
        page = self._child("desk", "desk.cli", "desk", "--port", self._desk_port)
        self._desk = [] if desk is None else [page]

    @property
    def ui(self) -> str:
        """Where a browser finds the server's UI."""
        return self.url.removesuffix("/api")

    def run(self) -> int:
        """Start, look after everything until a signal, stop."""
        if self._desk_port is not None:
            refuse_taken(self._desk_port, option="--desk-port")
        if self._own:
            refuse_taken(self._port)
        elif not answers(self.url):
            raise MachineNotReadyError(f"the Prefect server at {self.url} does not answer; start it, or unset it")
        self._note.unlink(missing_ok=True)  # of a house that was killed: workers would take it for ours
        with self._listening():
            try:
                if self._start():
                    self._stay()
            except OSError as error:
                raise MachineNotReadyError(f"cannot write to {self._logs}: {error}; mend DAILIES_HOME") from error
            finally:
                self._note.unlink(missing_ok=True)
                self._stop()
        return 0

    def _child(self, name: str, module: str, *words: object) -> Child:
        return Child(name, [sys.executable, "-m", module, *map(str, words)], logs=self._logs)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Count signals instead of being ended by them: what is at work decides when it can stop."""

        def asked(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._asked += 1

        before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> bool:
        """Start everything; False if a signal came first. Workers import while the server starts, then wait for it."""
        began = datetime.now(UTC)
        since = ["--since", (began - timedelta(seconds=1)).isoformat()] if self._own else []
        applied = self._child("deployments", "flows.deployments", *since, "--tonight", self._tonight)
        if self._own:
            self._server.start()
        for child in (applied, *self._workers, *self._desk):
            child.start()
        try:
            if not self._until(lambda: applied.code is not None, applied):
                return False
            self._check(applied)
            self._write_note(began)
            if not self._until(lambda: self._shows() and all("started!" in one.words() for one in self._workers)):
                return False
            if not self._until(lambda: all("desk is at" in one.words() for one in self._desk)):
                return False
        finally:
            applied.kill()
        self._tell(applied, (datetime.now(UTC) - began).total_seconds())
        return True

    def _until(self, done: Callable[[], bool], *besides: Child) -> bool:
        """Wait until `done`; False if a signal came first. Raises MachineNotReadyError if something does not start."""
        deadline = time.monotonic() + START
        while not done():
            if self._asked:
                return False
            for child in (self._server, *self._workers, *self._desk):
                if child.code is not None:
                    raise MachineNotReadyError(f"{child.name} did not start; {child.log} says why")
            if time.monotonic() > deadline:
                late = [one.name for one in (*besides, self._server, *self._workers, *self._desk)]
                raise MachineNotReadyError(
                    f"not ready after {START:.0f} s; the logs of {', '.join(late)} in {self._logs} say why"
                )
            time.sleep(_LOOK / 2)
        return True

    def _shows(self) -> bool:
        """Whether the UI's page is there; another's server may have none."""
        if not self._own:
            return True
        try:
            with urllib.request.urlopen(f"{self.ui}/", timeout=5) as page:
                return bool(page.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _check(self, applied: Child) -> None:
        if applied.code == 0:
            return
        words = applied.words().strip().splitlines()
        if applied.code == 3 and words:  # a sentence for the operator
            raise MachineNotReadyError(words[-1])
        raise MachineNotReadyError(f"the deployments were not taken by {self.url}; {applied.log} says why")

    def _write_note(self, began: datetime) -> None:
        note = {"url": self.url, "ui": self.ui, "pid": os.getpid(), "started": began.isoformat(timespec="seconds")}
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(note) + "\n", encoding="utf-8")
        partial.replace(self._note)

    def _tell(self, applied: Child, seconds: float) -> None:
        done: Mapping[str, Any] = json.loads(applied.words().strip().splitlines()[-1])
        if done["ended"]:
            self._said(f"{done['ended']} runs were at work when the last house went down; they are ended")
        self._said(f"Dailies is up after {seconds:.0f} s: {self.ui}")
        if self._desk_port is not None:
            self._said(f"The desk is at http://127.0.0.1:{self._desk_port}")
        self._said(f"workers: {', '.join(one.name for one in self._workers)}; logs in {self._logs}")
        self._said(done["tonight"])
        self._said("Ctrl-C stops all of it")

    def _stay(self) -> None:
        kept = [*([self._server] if self._own else []), *self._workers, *self._desk]
        while not self._asked:
            for child in kept:
                child.keep(self._said)
            time.sleep(_LOOK)

    def _stop(self) -> None:
        """Runs first, so that they can say how they ended; then workers, which wait for them; then the server."""
        if self._asked:
            self._said("stopping: runs save what they have; once more ends at once")
        deadline = time.monotonic() + STOP
        while not all(worker.gone() for worker in self._workers):
            for worker in self._workers:
                if self._asked > 1 or time.monotonic() > deadline:
                    worker.kill()
                else:
                    worker.signal(signal.SIGTERM)  # again: a run may have been started just now
            time.sleep(_LOOK / 4)
        last = [self._server, *self._desk]
        for child in last:
            child.signal(signal.SIGTERM)
        patient = time.monotonic() + 15
        while not all(child.gone() for child in last):
            if self._asked > 1 or time.monotonic() > patient:
                for child in last:
                    child.kill()
            time.sleep(_LOOK / 4)


def _crew(settings: Settings) -> dict[str, list[str]]:
    """The workers of this machine: name and what to tell each, its work pool first."""
    devices = _devices()
    crew = {f"gpu-{number}": ["gpu", "--device", device] for number, device in enumerate(devices)}
    crew = crew or {"render": ["gpu"]}
    crew["finish"] = ["cpu", "--limit", str(settings.workers_cpu)]
    crew["night"] = ["night", "--limit", str(NIGHT_RUNS)]
    return crew


def _devices() -> list[str]:
    """What CUDA_VISIBLE_DEVICES must say for each GPU. Raises MachineNotReadyError if the driver does not answer."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:  # somebody has shared out the GPUs of this machine already
        return [device.strip() for device in given.split(",") if device.strip() not in ("", "-1")]
    try:
        return [str(number) for number in range(len(gpus()))]
    except StepError as error:
        raise MachineNotReadyError(
            f"{error}; mend the driver, or set CUDA_VISIBLE_DEVICES= to work without a GPU"
        ) from error


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    folder = settings.home / "prefect"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK).acquire(timeout=_PROBE):
            yield
    except Timeout:
        where = ""
        try:
            where = " at " + json.loads((folder / HOUSE).read_text(encoding="utf-8"))["ui"]
        except (OSError, ValueError, KeyError):
            where = ", starting or stopping"
        raise MachineNotReadyError(
            f"`dailies up` runs in {settings.home} already{where}; stop it first, or name another DAILIES_HOME"
        ) from None
    except PermissionError as error:
        raise MachineNotReadyError(f"cannot write to {folder}: {error.strerror}; mend DAILIES_HOME") from error
