"""The night: take up what is ready, hand it to the workers, follow it to its end, and report.

Knows: the order of a night. Does not know: how a plan is made (flows.tonight), what is decided when something breaks
(tasks.recovery), how footage is made.

The batch stands in the catalogue before anything is dispatched, so a nightly flow that dies is continued by the next
one: an automation starts it again with `resume`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from prefect import flow
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from catalogs.errors import CatalogueUnavailableError
from catalogs.night import Attempt, AttemptStatus, Batch, BatchStatus, Stage
from catalogs.store import Catalogue, open_catalogue
from flows.automations import BATCH_ENDED, BATCH_STALLED
from flows.dispatch import Dispatch, DispatchError, dispatching
from flows.follow import EVERY, Follower
from flows.morning import morning_report, night_sheet
from flows.opening import missed
from flows.patience import patiently
from flows.planning import BATCHES, keep_report
from flows.settings import Settings
from flows.tonight import is_idle, night_plan_json, tonight, why_idle
from flows.watching import batch_artifact, report_artifact
from tasks.morning_page import markdown
from tasks.stopping import STOPPING

LOG: Final = logging.getLogger("dailies")

STALL: Final = 1800.0
"""Seconds without any sign of progress after which a batch counts as stalled; a model of 14B loads in minutes."""

MOST_RESUMED: Final = 20
"""How often a batch is taken up again: whatever ends every flow run that follows it would do so all night."""

ARRIVE: Final = 60.0
"""Seconds that a night waits for workers to show up: after a restart of everything they come a little later."""

LEAVE: Final = 90.0
"""Seconds that a night which was asked to leave waits for the workers to save what they have."""


@flow(name="nightly", flow_run_name=lambda: f"night of {datetime.now():%Y-%m-%d}", validate_parameters=False)
def nightly(
    until: str = "",
    require_rife: bool = False,
    profile: str = "exact",
    allow_smaller: bool = False,
    scheduled: bool = False,
    resume: bool = False,
) -> Any:
    """Tonight's batch. A batch that is open is taken up where the flow run before this one left it.

    `until` is the window's end, HH:MM or an ISO time; empty for the configured one if `scheduled`, else for none.
    `scheduled`: do nothing outside of the configured window, nor if a batch was begun in it; a server that was down
    replays what it missed. `resume`: do nothing unless a batch is open, or with `scheduled`, the night's own run died
    before it could open one. Where nothing is ready no batch is opened, and the message says why. The state's result is
    the morning report.
    """
    settings = Settings.read()
    wishes = {"require_rife": require_rife, "profile": profile, "allow_smaller": allow_smaller}
    me, now = str(flow_run.id), datetime.now(UTC)
    with STOPPING.on_sigterm(), dispatching() as dispatch, _catalogue(settings) as catalogue:
        nights = catalogue.nights
        batch = patiently(nights.running)
        if batch is None and resume and not (scheduled and missed(catalogue, settings, now)):
            return Completed(message="no batch is open; nothing to take up")
        if batch is None and scheduled and not settings.night.holds(now):
            return Completed(message=f"it is not night ({settings.night} {settings.night.zone}); nothing was started")
        if batch is None and scheduled and not missed(catalogue, settings, now):
            return Completed(message="tonight's batch has been begun already; nothing was started")
        if batch is not None:
            report = _take_up(catalogue, settings, dispatch, batch, me)
            if report is None:
                return Completed(message=f"{batch.name} was taken up by another flow run")
            if STOPPING.leaving or not (scheduled and missed(catalogue, settings, datetime.now(UTC))):
                return _state(report)
            LOG.warning("%s was left from another night and is over; tonight's begins", batch.name)
        try:
            ends = settings.night.end(until, datetime.now(UTC), scheduled=scheduled)
            opened = _open(catalogue, settings, dispatch, ends, wishes, me)
        except Exception as error:
            tell(BATCH_STALLED, f"{now:%Y-%m-%d}", f"the night did not begin: {error}")
            raise
        if isinstance(opened, str):
            return Completed(message=opened)
        if not _Night(catalogue, settings, dispatch, opened, me).follow():
            return Completed(message=f"{opened.name} was taken up by another flow run")
        return _state(_end(catalogue, settings, dispatch, opened.name))


def _state(report: Mapping[str, Any]) -> Any:
    failed = report["counts"]["failed"] or report["counts"]["quarantined"]
    return (Failed if failed else Completed)(message=report["summary"], data=dict(report))


@contextmanager
def _catalogue(settings: Settings) -> Iterator[Catalogue]:
    """The catalogue, waited for: a database that restarts as the night begins costs a minute of it."""
    with patiently(lambda: open_catalogue(settings.database_url)) as catalogue:
        yield catalogue


def _take_up(
    catalogue: Catalogue, settings: Settings, dispatch: Dispatch, batch: Batch, me: str
) -> dict[str, Any] | None:
    """Follow a batch that another flow run has opened, to its report; None if yet another one took it over."""
    nights, name = catalogue.nights, batch.name
    batch = patiently(lambda: nights.adopt(name, flow_run=me))
    LOG.warning("%s is taken up again", name)
    if batch.resumed > MOST_RESUMED:
        tell(BATCH_STALLED, name, f"it was taken up {batch.resumed} times and is ended; the logs say why")
        patiently(lambda: nights.stop(name))
    if not _Night(catalogue, settings, dispatch, batch, me).follow():
        return None
    return _end(catalogue, settings, dispatch, name)


def _open(
    catalogue: Catalogue,
    settings: Settings,
    dispatch: Dispatch,
    until: datetime | None,
    wishes: Mapping[str, Any],
    me: str,
) -> Batch | str:
    """Plan the night and write the plan down; nothing is granted yet. Where nothing is ready: why not."""
    workers = _workers(dispatch)
    if not workers:
        LOG.warning("no GPU worker gives a sign of life; the night is planned for one and waits for it")
    found = patiently(
        lambda: tonight(catalogue, settings, workers=max(1, workers), until=until, now=datetime.now(UTC), wishes=wishes)
    )
    if is_idle(found):
        return patiently(lambda: why_idle(catalogue, found.held))
    for shot, error in found.refused:
        _refuse(catalogue, shot, error)
    plan = night_plan_json(found)
    return patiently(lambda: catalogue.nights.open_batch(until=until, wishes=wishes, plan=plan, flow_run=me))


def _refuse(catalogue: Catalogue, shot: str, error: str) -> None:
    patiently(lambda: catalogue.fail_shot(shot, error))


def _workers(dispatch: Dispatch) -> int:
    """How many GPU workers give signs of life; asked again while there are none, or while the server is away."""
    deadline = time.monotonic() + ARRIVE
    while True:
        try:
            if (found := dispatch.workers()) or time.monotonic() > deadline:
                return found
        except DispatchError as error:
            if time.monotonic() > deadline + ARRIVE:
                raise
            LOG.warning("waiting for the Prefect server: %s", error)
        time.sleep(EVERY)


class _Night:
    """A batch that is followed."""

    def __init__(self, catalogue: Catalogue, settings: Settings, dispatch: Dispatch, batch: Batch, me: str) -> None:
        self._nights, self._batch, self._me = catalogue.nights, batch, me
        self._follower = Follower(catalogue, settings.home, batch.name, dispatch)
        self._leave_at: float | None = None
        self._seen: object = None
        self._moved = time.monotonic()
        self._told_stalled = False

    def follow(self) -> bool:
        """Until nothing is open, or until we were asked to leave and have waited long enough.

        False if another flow run follows the batch by now: Prefect took us for dead, and it is theirs.
        """
        granted = False
        with batch_artifact(self._batch.name) as show:
            while True:
                try:
                    if not granted:
                        self._grant()
                        granted = True
                    if not self._is_ours():
                        return False
                    self._end_window()
                    more = self._follower.turn()
                    show(self._share())
                    self._watch_for_stall()
                    if not more or (self._leave_at is not None and time.monotonic() > self._leave_at):
                        return True
                    time.sleep(EVERY)
                except CatalogueUnavailableError as error:
                    LOG.warning("%s: waiting for the catalogue: %s", self._batch.name, error)
                    time.sleep(EVERY)
                except KeyboardInterrupt:
                    if not patiently(self._is_ours):
                        return False
                    LOG.warning("%s: asked to leave; the workers save what they have", self._batch.name)
                    self._leave_at = time.monotonic() + LEAVE
                    patiently(lambda: self._nights.stop(self._batch.name))

    def _is_ours(self) -> bool:
        return self._nights.batch(self._batch.name).flow_run == self._me

    def _grant(self) -> None:
        """Give every planned reel its attempts, unless it has them: a flow run before this one may have died at it."""
        there = {attempt.reel for attempt in self._nights.attempts(self._batch.name)}
        expected = self._batch.plan["expected"]
        for reel in self._batch.plan["reels"]:
            if reel["name"] not in there:
                shots, models = reel["shots"], dict.fromkeys(reel["shots"], reel["model"])
                self._nights.grant(self._batch.name, reel["name"], shots, models=models, expected=expected)

    def _end_window(self) -> None:
        until, name = self._batch.until, self._batch.name
        over = until is not None and datetime.now(UTC) >= until
        if over and self._nights.batch(name).status is BatchStatus.RUNNING:
            LOG.warning("%s: the window ends; windows at work are saved, the rest is released", name)
            self._nights.stop(name)

    def _share(self) -> float:
        """How far the batch is, 0 to 100: of every shot's newest attempt, by the engine time it was planned with."""
        newest = {attempt.shot: attempt for attempt in self._follower.attempts}
        whole = sum(_weight(attempt) for attempt in newest.values())
        done = sum(_weight(attempt) * _done(attempt) for attempt in newest.values())
        return 100.0 * done / whole if whole else 100.0

    def _watch_for_stall(self) -> None:
        runs = self._nights.runs(self._batch.name, open_only=True)
        seen = (
            [(attempt.shot, attempt.fence, attempt.status) for attempt in self._follower.attempts],
            [(run.flow_run, run.said) for run in runs],
        )
        if seen != self._seen:
            self._seen, self._moved, self._told_stalled = seen, time.monotonic(), False
        elif not self._told_stalled and time.monotonic() - self._moved > STALL:
            self._told_stalled = True
            waiting = sum(1 for attempt in self._follower.attempts if attempt.open)
            tell(
                BATCH_STALLED,
                self._batch.name,
                f"nothing has moved for {STALL / 60:.0f} minutes, {waiting} shots are open",
            )


def _weight(attempt: Attempt) -> float:
    return attempt.expected or 1.0


def _done(attempt: Attempt) -> float:
    """Share of a shot that is done: half for its windows."""
    if not attempt.open:
        return 1.0
    return 0.5 if attempt.stage is Stage.FINISH else 0.0


def _end(catalogue: Catalogue, settings: Settings, dispatch: Dispatch, name: str) -> dict[str, Any]:
    """Close what is open, make the report, and tell everyone who wants to know."""
    nights = catalogue.nights
    try:
        dispatch.close(name, living=[run.flow_run for run in patiently(lambda: nights.runs(name, open_only=True))])
    except DispatchError as error:
        LOG.warning("%s: %s", name, error)
    for attempt in patiently(lambda: nights.attempts(name, open_only=True)):
        _release(catalogue, attempt)
    report = patiently(lambda: morning_report(catalogue, name, zone=settings.night.zone))
    patiently(lambda: nights.end(name, report=report))
    text = markdown(report)
    keep_report(settings.home / BATCHES, report)
    try:
        (settings.home / BATCHES / f"{name}.md").write_text(text, encoding="utf-8")
    except OSError as error:
        LOG.warning("%s: its report was not written: %s", name, error.strerror or error)
    night_sheet(report, settings, settings.home / BATCHES / f"{name}.jpg")
    report_artifact(name, text)
    tell(BATCH_ENDED, name, report["summary"])
    return report


def _release(catalogue: Catalogue, attempt: Attempt) -> None:
    ended, why = AttemptStatus.RELEASED, "the batch ended before its turn"
    patiently(lambda: catalogue.nights.end_attempt(attempt.shot, attempt.fence, status=ended, error=why))


def tell(event: str, batch: str, words: str) -> None:
    """An event about a batch, which the notification automations wait for. It never costs a night."""
    try:
        emit_event(
            event=event,
            resource={"prefect.resource.id": f"dailies.batch.{batch}", "prefect.resource.name": batch},
            payload={"text": f"{batch}: {words}"},
        )
    except Exception as error:
        LOG.warning("%s: nobody was told that %s: %s", batch, words, error)
