"""A night that somebody calls for at a terminal: find or start a house, begin the batch, wait for its report.

Knows: where a Prefect server with workers is to be had, and that a batch outlives whoever began it. Does not know: what
the night does. Imports Prefect only when there is a server to talk to.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from catalogs.night import Attempt, AttemptStatus, Batch, BatchStatus, Run
from catalogs.store import Catalogue, open_catalogue
from flows.morning import morning_report
from flows.patience import patiently
from flows.planning import check_wishes
from flows.prefect_server import configured_url, free_port, house_url
from flows.settings import Settings, house_environment
from tasks.errors import MachineNotReadyError, StepError
from tasks.frames import Program, start
from tasks.recovery import RunState

LOG: Final = logging.getLogger("dailies")

START: Final = 180.0
"""Seconds for a house of our own to be up."""

TAKE_UP: Final = 20.0
"""Seconds after which somebody else sees to a batch whose flow run is gone: Prefect's automation is faster, but a
server that was started again holds the event back for a quarter of an hour."""

ADOPTED: Final = 300.0
"""Seconds that a batch whose flow run is gone may wait for the next one to take it up."""

_TRIES: Final = 20  # flow runs made for one that is gone: a limit that it still holds cancels the first of them

_LOOK: Final = 1.0

Said = Callable[[str], None]


def run_night(settings: Settings, *, until: str, wishes: Mapping[str, Any], said: Said) -> Mapping[str, Any]:
    """Tonight's batch, begun now or joined if one is open, to its end. Returns the morning report.

    Ctrl-C asks the batch to end: windows at work save what they have. Raises PlanError for wishes that are none,
    MachineNotReadyError if there is no server to be had, StepError if the flow run ended without a report.
    """
    check_wishes(settings, wishes)
    settings.night.end(until, datetime.now(UTC))
    with open_catalogue(settings.database_url) as catalogue, _house(settings, said):
        from flows.dispatch import NIGHTLY, dispatching

        batch = catalogue.nights.running()
        with dispatching() as dispatch:
            if batch is not None and _followed(dispatch, batch):
                said(f"{batch.name} is at work already; following it")
                flow_run = batch.flow_run
            else:
                key = f"night {uuid.uuid4()}"
                flow_run = dispatch.run(NIGHTLY, key=key, parameters={"until": until, **wishes})
            return _Follow(catalogue, dispatch, flow_run, said).report()


def stop_night(settings: Settings, *, said: Said) -> Mapping[str, Any] | None:
    """Ask the open batch to end, and wait until it has. Its report; None if no batch is open."""
    with open_catalogue(settings.database_url) as catalogue:
        batch = catalogue.nights.running()
        if batch is None:
            return None
        catalogue.nights.stop(batch.name)
        said(f"{batch.name} was asked to end: windows at work save what they have, the rest is released")
        if (configured_url() or house_url(settings)) is None:
            said("no house is up, so nobody is at work; the batch is ended here")
            return _end_here(catalogue, settings, batch.name)
        line = ""
        while (now := patiently(lambda: catalogue.nights.batch(batch.name))).status is not BatchStatus.ENDED:
            line = _say_once(line, _line(catalogue, now), said)
            time.sleep(_LOOK)
        return now.report


def _end_here(catalogue: Catalogue, settings: Settings, name: str) -> Mapping[str, Any]:
    """End a batch that nobody follows, and make its report."""
    nights = catalogue.nights
    for attempt in nights.attempts(name, open_only=True):
        why = "the batch was ended by hand, with nobody at work"
        nights.end_attempt(attempt.shot, attempt.fence, status=AttemptStatus.RELEASED, error=why)
    report = morning_report(catalogue, name, zone=settings.night.zone)
    return nights.end(name, report=report).report


def _followed(dispatch: Any, batch: Batch) -> bool:
    """Whether the flow run of a batch is still at it."""
    found = dispatch.look([batch.flow_run]).get(batch.flow_run)
    return found is not None and not found.over


def take_up(dispatch: Any, batch: Batch) -> str:
    """Have an open batch taken up again if the flow run that followed it is gone. The flow run that will; empty if
    there is no need.

    Whoever finds out first makes it, however many look. Raises DispatchError.
    """
    from flows.dispatch import NIGHTLY, STARTS_WITHIN

    if _followed(dispatch, batch):
        return ""
    for number in range(_TRIES):
        key = f"{batch.name} after {batch.flow_run} {number}"
        made: str = dispatch.run(NIGHTLY, key=key, parameters={"resume": True})
        found = dispatch.look([made]).get(made)
        if found is None or found.over:
            continue
        if found.state is RunState.PENDING and datetime.now(UTC) - found.since > STARTS_WITHIN:
            # the worker that took it died with it in its hands: it would be pending for good, and hold the limit
            dispatch.crash(made, "its worker is gone")
            continue
        return made
    return ""


class _Follow:
    """Waits for the report of a batch, whichever flow run brings it to its end."""

    def __init__(self, catalogue: Catalogue, dispatch: Any, flow_run: str, said: Said) -> None:
        self._nights, self._catalogue = catalogue.nights, catalogue
        self._dispatch, self._flow_run, self._said = dispatch, flow_run, said
        self._name = ""
        self._line = ""
        self._gone_since: float | None = None
        self._taken_up = 0.0

    def report(self) -> Mapping[str, Any]:
        """Wait, say what happens, and return the report."""
        while True:
            try:
                if (report := self._look()) is not None:
                    return report
                time.sleep(_LOOK)
            except KeyboardInterrupt:
                if not self._name:
                    raise
                self._said(
                    "asked to end: windows at work save what they have; once more leaves the batch to its workers"
                )
                patiently(lambda: self._nights.stop(self._name))
                self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        while patiently(lambda: self._nights.batch(self._name)).status is not BatchStatus.ENDED:
            time.sleep(_LOOK)

    def _look(self) -> Mapping[str, Any] | None:
        from flows.dispatch import DispatchError

        batch = patiently(lambda: self._nights.batch(self._name) if self._name else self._nights.running())
        if batch is not None:
            self._name = batch.name
            if batch.status is BatchStatus.ENDED:
                return batch.report
            self._line = _say_once(self._line, _line(self._catalogue, batch), self._said)
            self._flow_run = batch.flow_run or self._flow_run
        try:
            found = self._dispatch.look([self._flow_run]).get(self._flow_run)
        except DispatchError:
            return None  # the server is away for a moment
        if found is None or not found.over:
            self._gone_since = None
            return None
        if not self._name:
            batch = patiently(lambda: self._ended_by(self._flow_run))
            if batch is not None:
                return batch.report
            raise StepError(f"the night did not begin: {found.message or found.state}")
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        if batch is not None and now - max(self._gone_since, self._taken_up) > TAKE_UP:
            self._taken_up = now
            self._take_up(batch)
        if now - self._gone_since > ADOPTED:
            raise StepError(
                f"{self._name}: whoever followed it is gone ({found.message}); `dailies night` takes it up again"
            )
        return None

    def _take_up(self, batch: Batch) -> None:
        from flows.dispatch import DispatchError

        try:
            if take_up(self._dispatch, batch):
                self._said(f"{batch.name}: whoever followed it is gone; it is taken up again")
        except DispatchError as error:
            LOG.warning("%s", error)

    def _ended_by(self, flow_run: str) -> Batch | None:
        last = self._nights.last()
        return last if last is not None and last.flow_run == flow_run and last.status is BatchStatus.ENDED else None


def _line(catalogue: Catalogue, batch: Batch) -> str:
    """`2026-11-21: 12 of 40 done, 1 failed; gpu-0 AGM_SH0010_v001 window 2 of 3`."""
    attempts = patiently(lambda: catalogue.nights.attempts(batch.name))
    runs = patiently(lambda: catalogue.nights.runs(batch.name, open_only=True))
    return f"{batch.name}: {counted(attempts)}{_at_work(runs)}"


def counted(attempts: Sequence[Attempt]) -> str:
    """How many shots of a batch are where, by their newest attempts: `12 of 40 done, 1 failed`."""
    newest = {attempt.shot: attempt for attempt in attempts}
    count = {status: sum(1 for one in newest.values() if one.status is status) for status in AttemptStatus}
    failed = count[AttemptStatus.FAILED] + count[AttemptStatus.DIED]
    words = [f"{count[AttemptStatus.DONE]} of {len(newest)} done"]
    words += [f"{failed} failed"] if failed else []
    return ", ".join(words)


def _at_work(runs: Sequence[Run]) -> str:
    said = [f"{run.worker.partition(' ')[0]}: {run.said}" for run in runs if run.said]
    return "; " + "; ".join(said) if said else ""


def _say_once(before: str, line: str, said: Said) -> str:
    if line != before:
        said(line)
    return line


@contextmanager
def _house(settings: Settings, said: Said) -> Iterator[None]:
    """A Prefect server with workers: the configured one, the house that is up here, else one for this night alone."""
    before = dict(os.environ)
    url, own = configured_url() or house_url(settings), None
    try:
        if url is None:
            said("no house is up (`dailies up`); starting one for this night")
            own, url = _own_house(settings)
        os.environ.update({**house_environment(settings), "PREFECT_API_URL": url, "PREFECT_LOGGING_LEVEL": "CRITICAL"})
        yield
    finally:
        if own is not None:
            own.send_signal(signal.SIGTERM)
            own.wait()
        os.environ.clear()
        os.environ.update(before)


def _own_house(settings: Settings) -> tuple[Program, str]:
    folder = settings.home / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "house.log"
    with log.open("wb") as stream:
        argv = [sys.executable, "-m", "desk.cli", "up", "--port", str(free_port())]
        house = start(argv, stdout=stream.fileno(), stderr=stream.fileno())
    deadline = time.monotonic() + START
    while (url := house_url(settings)) is None:
        if house.poll() is not None or time.monotonic() > deadline:
            house.kill()
            raise MachineNotReadyError(_last_line(log) or f"the house did not start; {log} says why")
        time.sleep(0.2)
    return house, url


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("dailies: ") if lines else ""
