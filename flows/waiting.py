"""Waiting at a terminal for a batch's report, whoever brings it to its end, and saying what happens meanwhile.

Knows: that a batch outlives its flow run, its house and whoever waits for it. Does not know: what the night does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from catalogs.night import Attempt, AttemptStatus, Batch, BatchStatus, Run
from catalogs.store import Catalogue
from flows.night_house import NightHouse
from flows.opening import take_up
from flows.patience import patiently
from tasks.errors import StepError
from tasks.recovery import RunState

LOG: Final = logging.getLogger("dailies")

TAKE_UP: Final = 20.0
"""Seconds after which somebody else sees to a batch whose flow run is gone: Prefect's automation is faster, but a
server that was started again holds the event back for a quarter of an hour."""

ADOPTED: Final = 300.0
"""Seconds that a batch whose flow run is gone may wait for the next one to take it up."""

_LOOK: Final = 1.0

_LIMIT: Final = "concurrency limit"  # in what Prefect says of a run that it cancels because of another one

Said = Callable[[str], None]


class TurnedAwayError(StepError):
    """The flow run was cancelled before it opened a batch: another one is at it, or just leaving."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch that somebody waited for."""

    report: Mapping[str, Any]
    """The morning report; of a night that had nothing to do an empty one, whose `batch` is empty."""
    interrupted: bool = False
    """Whether it was ended by a Ctrl-C here."""


class Waiting:
    """Waits for the report of a batch, whichever flow run brings it to its end."""

    def __init__(self, catalogue: Catalogue, house: NightHouse, said: Said, *, flow_run: str, batch: str = "") -> None:
        self._nights, self._catalogue, self._house, self._said = catalogue.nights, catalogue, house, said
        self._flow_run = flow_run
        self._name = batch
        self._line = ""
        self._asked = False
        self._gone_since: float | None = None
        self._taken_up = 0.0

    def outcome(self) -> Outcome:
        """Wait, say what happens, and return how it ended. Ctrl-C asks the batch to end, once more leaves it.

        Raises KeyboardInterrupt when it is left, TurnedAwayError, StepError if the flow run ended without a report, and
        MachineNotReadyError if the house that was started for this night has ended.
        """
        while True:
            try:
                if (report := self._look()) is not None:
                    return Outcome(report, self._asked)
                time.sleep(_LOOK)
            except KeyboardInterrupt:
                if not self._may_ask():
                    raise
                self._asked = True
                self._said(
                    "asked to end: windows at work save what they have; once more leaves the batch to its workers"
                )
                patiently(lambda: self._nights.stop(self._name))

    def _may_ask(self) -> bool:
        """Whether a Ctrl-C asks the batch to end. Says what becomes of it if not."""
        dispatch = self._house.dispatch()
        if not self._name:
            if dispatch is not None:
                self._call_off(dispatch)
            return False
        if dispatch is not None and patiently(self._running):
            return True
        self._said(f"{self._name} is left as it is; `dailies night` follows it, `dailies night --stop` ends it")
        return False

    def _running(self) -> bool:
        return self._nights.batch(self._name).status is BatchStatus.RUNNING

    def _call_off(self, dispatch: Any) -> None:
        from flows.dispatch import DispatchError

        try:
            dispatch.call_off(self._flow_run)
            self._said("called off before it began")
        except DispatchError as error:
            LOG.warning("%s", error)

    def _look(self) -> Mapping[str, Any] | None:
        from flows.dispatch import DispatchError

        batch = patiently(lambda: self._nights.batch(self._name) if self._name else self._nights.running())
        if batch is not None:
            self._name = batch.name
            if batch.status is BatchStatus.ENDED:
                return batch.report
            self._say(line(self._catalogue, batch))
            self._flow_run = batch.flow_run or self._flow_run
        dispatch = self._house.dispatch()
        if dispatch is None:
            return None
        try:
            found = dispatch.look([self._flow_run]).get(self._flow_run)
        except DispatchError:
            return None  # the server is away for a moment
        if found is not None and not found.over:
            self._gone_since = None
            return None
        why = found.message or found.state if found is not None else "the server does not know it"
        if batch is None:
            return self._never_begun(found.state if found is not None else RunState.UNKNOWN, why)
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        if now - max(self._gone_since, self._taken_up) > TAKE_UP:
            self._taken_up = now
            self._take_up(dispatch, batch)
        if now - self._gone_since > ADOPTED:
            raise StepError(f"{self._name}: whoever followed it is gone ({why}); `dailies night` takes it up again")
        return None

    def _never_begun(self, state: RunState, why: str) -> Mapping[str, Any]:
        """The report of a flow run that is over, where no batch is open: it was short, or it had nothing to do."""
        last = patiently(self._nights.last)
        if last is not None and last.flow_run == self._flow_run and last.status is BatchStatus.ENDED:
            return last.report
        if state is RunState.COMPLETED:
            return nothing(why)
        if state is RunState.CANCELLED and _LIMIT in why:
            raise TurnedAwayError(why)
        raise StepError(f"the night did not begin: {why}")

    def _take_up(self, dispatch: Any, batch: Batch) -> None:
        from flows.dispatch import DispatchError

        try:
            if take_up(dispatch, batch):
                self._said(f"{batch.name}: whoever followed it is gone; it is taken up again")
        except DispatchError as error:
            LOG.warning("%s", error)

    def _say(self, words: str) -> None:
        if words != self._line:
            self._line = words
            self._said(words)


def nothing(why: str) -> Mapping[str, Any]:
    """The report of a night that had nothing to do: no batch, and `why` as its summary."""
    outcomes = ("shots", "done", "failed", "quarantined", "carried_over", "cancelled")
    others = ("before", "needs", "deaths", "slowest", "workers")
    return {
        "batch": "",
        "summary": why,
        "counts": dict.fromkeys(outcomes, 0),
        **{name: [] for name in (*(one for one in outcomes if one != "done"), *others)},
        "gpu_seconds": 0.0,
        "gpu_seconds_per_finished_second": None,
        "missing_gpu_hours": 0.0,
        "seconds": 0.0,
    }


def line(catalogue: Catalogue, batch: Batch) -> str:
    """`2026-11-21: 12 of 40 done, 1 failed; gpu-0: AGM_SH0010_v001 generate: window 2 of 3`."""
    attempts = patiently(lambda: catalogue.nights.attempts(batch.name))
    runs = patiently(lambda: catalogue.nights.runs(batch.name, open_only=True))
    ending = " is ending" if batch.status is BatchStatus.STOPPING else ""
    return f"{batch.name}{ending}: {counted(attempts)}{_at_work(runs)}"


def counted(attempts: Sequence[Attempt]) -> str:
    """How many shots of a batch are where, by their newest attempts: `12 of 40 done, 1 failed`."""
    newest = {attempt.shot: attempt for attempt in attempts}
    if not newest:
        return "no shot was handed out yet"
    count = {status: sum(1 for one in newest.values() if one.status is status) for status in AttemptStatus}
    failed = count[AttemptStatus.FAILED] + count[AttemptStatus.DIED]
    words = [f"{count[AttemptStatus.DONE]} of {len(newest)} done"]
    words += [f"{failed} failed"] if failed else []
    return ", ".join(words)


def _at_work(runs: Sequence[Run]) -> str:
    said = [f"{run.worker.partition(' ')[0]}: {run.said}" for run in runs if run.said]
    return "; " + "; ".join(said) if said else ""
