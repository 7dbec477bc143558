"""A night that somebody calls for at a terminal: begin a batch or join the one that is open, and wait for its report.

Knows: that there is one batch at a time, and what may be asked of one that is open. Does not know: what the night does.
Imports Prefect only when there is a server to talk to.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from catalogs.night import AttemptStatus, Batch, BatchStatus
from catalogs.store import Catalogue, open_catalogue
from flows.morning import morning_report
from flows.night_house import NightHouse, night_house
from flows.opening import followed, take_up
from flows.planning import check_wishes
from flows.prefect_server import configured_url, house_url
from flows.settings import Settings
from flows.tonight import why_idle
from flows.waiting import Outcome, TurnedAwayError, Waiting, nothing
from tasks.errors import PlanError, StepError
from tasks.stopping import STOPPING

_TRIES: Final = 20  # times that a night is begun which Prefect turns away: the flow run before it is just leaving
_AGAIN: Final = 3.0  # seconds between two of them

Said = Callable[[str], None]


def run_night(
    settings: Settings, *, until: str, wishes: Mapping[str, Any], asked: Collection[str] = (), said: Said
) -> Outcome:
    """Tonight's batch to its end: begun now, joined if one is at work, begun after the one that is ending.

    `asked` names what of `until` and the wishes somebody asked for: a batch that is at work is not joined if it runs
    with something else. Ctrl-C and SIGTERM ask the batch to end: windows at work save what they have. Where nothing is
    ready no batch is made. Raises PlanError for wishes that are none or another batch's, MachineNotReadyError if there
    is no server to be had, StepError if the flow run ended without a report, KeyboardInterrupt if the batch is left.
    """
    check_wishes(settings, wishes)
    ends = settings.night.end(until, datetime.now(UTC))
    with STOPPING.on_sigterm(), open_catalogue(settings.database_url) as catalogue:
        batch = catalogue.nights.running()
        if batch is not None and batch.status is BatchStatus.RUNNING:
            refuse_others(batch, until=ends, wishes=wishes, asked=asked, zone=settings.night.zone)
        if batch is None and not catalogue.renderable(limit=1):
            return Outcome(nothing(why_idle(catalogue)))
        with night_house(settings, said) as house:
            if batch is not None and batch.status is BatchStatus.RUNNING:
                said(f"{batch.name} is at work already; following it")
                return _joined(catalogue, house, batch, said)
            if batch is not None:
                said(f"{batch.name} is ending; the next batch begins when it is over")
                ended = _joined(catalogue, house, batch, said).report
                said(f"{batch.name} is over: {ended['summary']}")
                if not catalogue.renderable(limit=1):
                    return Outcome(nothing(why_idle(catalogue)))
            return _begun(catalogue, house, {"until": until, **wishes}, said)


def stop_night(settings: Settings, *, said: Said) -> Mapping[str, Any] | None:
    """Ask the open batch to end, and wait until it has. Its report; None if no batch is open.

    Raises KeyboardInterrupt if somebody does not wait for it.
    """
    with open_catalogue(settings.database_url) as catalogue:
        batch = catalogue.nights.running()
        if batch is None:
            return None
        batch = catalogue.nights.stop(batch.name)
        said(f"{batch.name} was asked to end: windows at work save what they have, the rest is released")
        if (configured_url() or house_url(settings)) is None:
            said("no house is up, so nobody is at work; the batch is ended here")
            return _end_here(catalogue, settings, batch.name)
        with night_house(settings, said) as house:
            return _joined(catalogue, house, batch, said).report


def refuse_others(
    batch: Batch, *, until: datetime | None, wishes: Mapping[str, Any], asked: Collection[str], zone: str
) -> None:
    """Raise PlanError if something that was `asked` for is not what an open batch runs with: nothing of it changes."""
    given = {**wishes, "until": until}
    standing = {**batch.wishes, "until": batch.until}
    others = [name for name in sorted(asked) if given.get(name) != standing.get(name)]
    if not others:
        return
    ends = "until all is done" if batch.until is None else f"until {batch.until.astimezone(ZoneInfo(zone)):%a %H:%M}"
    with_ = [f"profile {batch.wishes.get('profile')}"]
    with_ += [f"--{name.replace('_', '-')}" for name in ("allow_smaller", "require_rife") if batch.wishes.get(name)]
    words = " and ".join(f"--{name.replace('_', '-')}" for name in others)
    raise PlanError(
        f"{batch.name} is at work {ends} ({zone}) with {', '.join(with_)}, and {words} would not change it; leave "
        f"{words} out to follow it, or end it with `dailies night --stop` and begin another"
    )


def _joined(catalogue: Catalogue, house: NightHouse, batch: Batch, said: Said) -> Outcome:
    """Wait for the end of an open batch; if nobody follows it, it is taken up."""
    from flows.dispatch import DispatchError

    flow_run = batch.flow_run
    if (dispatch := house.dispatch()) is not None:
        try:
            if not followed(dispatch, batch):
                flow_run = take_up(dispatch, batch) or flow_run
                said(f"{batch.name}: whoever followed it is gone; it is taken up again")
        except DispatchError as error:
            said(str(error))
    return Waiting(catalogue, house, said, flow_run=flow_run, batch=batch.name).outcome()


def _begun(catalogue: Catalogue, house: NightHouse, parameters: Mapping[str, Any], said: Said) -> Outcome:
    """A new batch to its end. Raises StepError if Prefect takes no flow run for it."""
    from flows.dispatch import NIGHTLY

    why = ""
    for _ in range(_TRIES):
        dispatch = house.dispatch()
        if dispatch is not None:
            flow_run = dispatch.run(NIGHTLY, key=f"night {uuid.uuid4()}", parameters=parameters)
            try:
                return Waiting(catalogue, house, said, flow_run=flow_run).outcome()
            except TurnedAwayError as error:
                why = str(error)
        time.sleep(_AGAIN)
    raise StepError(
        f"the night did not begin: {why or 'the Prefect server does not answer'}; look for another run of `nightly` in "
        "the Prefect UI, and call `dailies night` again"
    )


def _end_here(catalogue: Catalogue, settings: Settings, name: str) -> Mapping[str, Any]:
    """End a batch that nobody follows, and make its report."""
    nights = catalogue.nights
    for attempt in nights.attempts(name, open_only=True):
        why = "the batch was ended by hand, with nobody at work"
        nights.end_attempt(attempt.shot, attempt.fence, status=AttemptStatus.RELEASED, error=why)
    report = morning_report(catalogue, name, zone=settings.night.zone)
    return nights.end(name, report=report).report
