"""Following a night: look at who works on what, decide with tasks.recovery, carry it out, until nothing is open.

Knows: catalogue and Prefect server, and that either may be away for a while. Does not know: why something is decided
(tasks.recovery), what a shot is made of. Memory: the attempts of one batch.

Signs of life are counted, not dated: a count that stands still is measured on this process's own clock, so the clocks
of other machines do not matter. After a pause of our own (the database was away) everybody gets a full term again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from catalogs.errors import CatalogueError, CatalogueUnavailableError
from catalogs.night import Attempt, AttemptStatus, BatchStatus, Run, Stage
from catalogs.store import Catalogue
from flows.automations import SILENT
from flows.dispatch import RENDER_REEL, Dispatch, DispatchError, Looked
from flows.duty import last_words
from flows.reel import call_for_finish
from tasks.recovery import (
    Action,
    DispatchFinish,
    DispatchReel,
    GiveUp,
    Quarantine,
    Regrant,
    Release,
    Rules,
    RunSeen,
    RunState,
    Seen,
    decide,
)
from tasks.watchdog import left_behind

LOG: Final = logging.getLogger("dailies")

EVERY: Final = 2.0
"""Seconds between two looks."""

PAUSE: Final = 10.0
"""Seconds without a look of ours after which nobody's silence counts: the database, or this process, was away."""

_EVIDENCE: Final = 8000  # characters of a hung process's stack that are kept


@dataclass
class _Known:
    """What is remembered of a flow run between two looks, on our own clock."""

    state: RunState
    since: float
    beats: int | None = None
    heard: float = 0.0


@dataclass
class Follower:
    """Follows one batch. Not for several threads."""

    catalogue: Catalogue
    home: Path
    batch: str
    dispatch: Dispatch
    rules: Rules = field(default_factory=Rules)
    clock: Callable[[], float] = time.monotonic
    attempts: Sequence[Attempt] = ()
    """As they stood at the last look."""
    _known: dict[str, _Known] = field(default_factory=dict)
    _looked: float = 0.0
    _reels: int = 0
    """Number of the last reel that was named here."""

    def turn(self) -> bool:
        """Look once and do what is to be done. True while there is, or may be, more to do.

        Raises CatalogueUnavailableError; a Prefect server that is away costs patience only.
        """
        nights = self.catalogue.nights
        batch = nights.batch(self.batch)
        attempts = nights.attempts(self.batch)
        seen = Seen(
            attempts=attempts,
            runs=self._runs(attempts, nights.runs(self.batch)),
            deaths=nights.deaths(self.batch),
            now=datetime.now(UTC),
            stopping=batch.status is not BatchStatus.RUNNING,
            settled=nights.settled(self.batch),
        )
        self.attempts = attempts
        actions = decide(seen, self.rules)
        for action in actions:
            try:
                self._do(action, attempts)
            except CatalogueUnavailableError:
                raise
            except (DispatchError, CatalogueError) as error:
                LOG.warning("%s: %s", self.batch, error)
        return bool(actions) or any(attempt.open for attempt in attempts)

    # -- looking ---------------------------------------------------------------------------------------

    def _runs(self, attempts: Sequence[Attempt], runs: Sequence[Run]) -> Mapping[str, RunSeen]:
        wanted = sorted({attempt.flow_run for attempt in attempts if attempt.open and attempt.flow_run})
        try:
            looked = self.dispatch.look(wanted)
        except DispatchError as error:
            LOG.warning("%s: %s", self.batch, error)
            return {}
        now, beating = self.clock(), {run.flow_run: run for run in runs}
        # what passed while nobody looked is no silence
        gap = now - self._looked if self._looked and now - self._looked > PAUSE else 0.0
        self._looked = now
        names = {attempt.flow_run: attempt for attempt in attempts if attempt.open}
        seen = {}
        for flow_run in wanted:
            found = looked.get(flow_run, Looked(RunState.UNKNOWN, datetime.now(UTC), "the server does not know it"))
            run, attempt = beating.get(flow_run), names[flow_run]
            if found.message == SILENT and run is not None:
                # the server missed its beats; the catalogue may have heard them, and knows better
                found = replace(found, state=RunState.RUNNING)
            known = self._remember(flow_run, found, run, now, gap=gap)
            seen[flow_run] = RunSeen(
                flow_run=flow_run,
                stage=attempt.stage,
                name=attempt.reel if attempt.stage is Stage.GENERATE else attempt.shot,
                state=known.state,
                since=now - known.since,
                silent=None if known.beats is None else now - known.heard,
                message=found.message,
                worker=run.worker if run else "",
                said=run.said if run else "",
            )
        return seen

    def _remember(self, flow_run: str, found: Looked, run: Run | None, now: float, *, gap: float) -> _Known:
        known = self._known.get(flow_run)
        if known is None or known.state is not found.state:
            known = self._known[flow_run] = _Known(found.state, now, known.beats if known else None, now)
        known.since, known.heard = min(now, known.since + gap), min(now, known.heard + gap)
        if run is not None and run.beats != known.beats:
            known.beats, known.heard = run.beats, now
        return known

    # -- doing -----------------------------------------------------------------------------------------

    def _do(self, action: Action, attempts: Sequence[Attempt]) -> None:
        nights = self.catalogue.nights
        match action:
            case GiveUp(flow_run, why, evidence):
                LOG.warning("%s: %s", self.batch, why)
                if evidence.get("state") == "cancelled":
                    self._cancel(flow_run, attempts)
                # a run that failed or completed told why, and is no process that died
                spoke = evidence.get("state") in ("failed", "completed")
                left = self._last_words(flow_run)
                nights.give_up(flow_run, why=why, evidence={**evidence, **left}, spoke=spoke)
                if "stack" not in left:  # it did not hang: what it said last stands in the evidence
                    with suppress(OSError):
                        last_words(self.home, flow_run).unlink(missing_ok=True)
                self.dispatch.crash(flow_run, why)
            case Regrant():
                self._regrant(action, attempts)
            case Quarantine(shot, why):
                LOG.error("%s is quarantined: %s", shot, why)
                nights.quarantine(shot, error=why)
            case Release(shot, fence):
                nights.end_attempt(shot, fence, status=AttemptStatus.RELEASED, error="the batch ended before its turn")
                self._call_off({one.flow_run for one in attempts if one.shot == shot and one.fence == fence})
            case DispatchReel(reel):
                self.start_reel(reel, attempts)
            case DispatchFinish(shot, fence):
                attempt = next(one for one in attempts if one.shot == shot and one.fence == fence)
                call_for_finish(self.catalogue, attempt, self.catalogue.find(shot))

    def start_reel(self, reel: str, attempts: Sequence[Attempt]) -> None:
        """Make the flow run of a reel. Raises DispatchError."""
        its = [attempt for attempt in attempts if attempt.reel == reel and attempt.open]
        later = max((attempt.not_before for attempt in its if attempt.not_before), default=None)
        flow_run = self.dispatch.run(
            RENDER_REEL,
            key=f"{self.batch} {reel} {min(attempt.granted for attempt in its).isoformat()}",
            name=f"{self.batch} {reel}",
            parameters={"batch": self.batch, "reel": reel},
            tags=[self.batch, *sorted({attempt.shot.partition("/")[0] for attempt in its})],
            at=later,
        )
        self.catalogue.nights.assign(self.batch, reel, flow_run=flow_run)

    def _regrant(self, action: Regrant, attempts: Sequence[Attempt]) -> None:
        reel = "" if action.stage is Stage.FINISH else self._next_reel(attempts)
        last = {attempt.shot: attempt for attempt in attempts}
        granted = self.catalogue.nights.grant(
            self.batch,
            reel,
            action.shots,
            stage=action.stage,
            models=dict.fromkeys(action.shots, action.model),
            expected={shot: last[shot].expected for shot in action.shots if shot in last},
            not_before=action.not_before,
        )
        names = ", ".join(attempt.shot for attempt in granted[:4])
        LOG.info("%s: granted again (%s): %s", self.batch, action.why, names)

    def _call_off(self, flow_runs: set[str]) -> None:
        """A run that waits for a worker would only start to be told that there is nothing to do."""
        for flow_run in flow_runs:
            known = self._known.get(flow_run)
            if known is not None and known.state is RunState.SCHEDULED:
                self.dispatch.call_off(flow_run)

    def _cancel(self, flow_run: str, attempts: Sequence[Attempt]) -> None:
        """Somebody cancelled the run in Prefect: what it had is not wanted tonight.

        Prefect's worker kills a run thirty seconds after it was asked to leave; a step of a large model takes longer.
        """
        why = "its run was cancelled in Prefect"
        for attempt in attempts:
            if attempt.open and attempt.flow_run == flow_run:
                self.catalogue.nights.end_attempt(
                    attempt.shot, attempt.fence, status=AttemptStatus.CANCELLED, error=why
                )

    def _last_words(self, flow_run: str) -> dict[str, Any]:
        """Where a process was that is gone, and its stack if it hung."""
        return {name: words[:_EVIDENCE] for name, words in left_behind(last_words(self.home, flow_run)).items()}

    def _next_reel(self, attempts: Sequence[Attempt]) -> str:
        """A name that no reel of the batch has yet, `reel 07`: none in `attempts`, and none given since that look."""
        numbers = [int(word) for attempt in attempts if (word := attempt.reel.rpartition(" ")[2]).isdigit()]
        self._reels = max(self._reels, *numbers, 0) + 1
        return f"reel {self._reels:02d}"
