"""How a batch comes to be followed: the night that a house finds open as it comes up, a batch whose flow run is gone.

Knows: which flow run follows which batch, that two lookers make one. Does not know: what a night does, terminals.
Imports Prefect only where there is a server to talk to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from catalogs.errors import CatalogueUnavailableError
from catalogs.night import Batch, BatchStatus
from catalogs.store import Catalogue, open_catalogue
from flows.patience import patiently
from flows.settings import Settings
from tasks.recovery import RunState

LOG: Final = logging.getLogger("dailies")

_TRIES: Final = 20  # flow runs made for one that is gone: a limit that it still holds cancels the first of them


def take_up(dispatch: Any, batch: Batch) -> str:
    """Have an open batch taken up again if the flow run that followed it is gone. The flow run that will; empty if
    there is no need.

    Whoever finds out first makes it, however many look. Raises DispatchError.
    """
    if followed(dispatch, batch):
        return ""
    return _made(dispatch, f"{batch.name} after {batch.flow_run}", {"resume": True})


def followed(dispatch: Any, batch: Batch) -> bool:
    """Whether the flow run of a batch is still at it. Raises DispatchError."""
    found = dispatch.look([batch.flow_run]).get(batch.flow_run)
    return found is not None and not found.over


def missed(catalogue: Catalogue, settings: Settings, now: datetime) -> bool:
    """Whether the configured window is open, and no batch was begun in it yet."""
    last = patiently(catalogue.nights.last)
    return settings.night.holds(now) and (last is None or last.started < settings.night.around(now)[0])


def see_to_tonight(settings: Settings, *, wait: bool) -> str:
    """What a house that comes up does about the night: an open batch is taken up, a night that is open and was missed
    is begun, unless it is to `wait` for the next. What it did or found, as a sentence.

    Raises CatalogueUnavailableError, and DispatchError where the server does not take what it is asked.
    """
    from flows.dispatch import NIGHTLY, dispatching

    now = datetime.now(UTC)
    begin, end = settings.night.around(now)
    name = f"{settings.night} {settings.night.zone}"
    with open_catalogue(settings.database_url) as catalogue, dispatching() as dispatch:
        batch = catalogue.nights.running()
        if batch is not None:
            if followed(dispatch, batch):
                return f"{batch.name} is at work"
            take_up(dispatch, batch)
            if batch.status is BatchStatus.STOPPING:
                return f"{batch.name} was ending when its house went down; it is brought to its end"
            return f"{batch.name} was at work when its house went down; it is taken up again"
        if begin > now:
            return f"next night: {name}, begins in {span(begin - now)}"
        still = f"the night ({name}) is open for {span(end - now)}"
        later = f"the next one begins in {span(settings.night.around(end)[0] - now)}"
        if not missed(catalogue, settings, now):
            last = catalogue.nights.last()
            return f"tonight's batch {last.name if last else ''} is over; {later}"
        due = dispatch.due(NIGHTLY)
        if wait:
            for flow_run in due:
                dispatch.call_off(flow_run)
            return f"{still} and left alone: `dailies night` begins it, by itself {later}"
        if not catalogue.renderable(limit=1):
            return f"{still} and nothing is ready: `dailies night` begins it when there is, by itself {later}"
        if not due:  # the run of its own hour that a server makes up for
            _made(dispatch, f"night of {begin.isoformat()}", {"scheduled": True})
        return f"{still} and had not begun: it begins now"


def tonight_said(settings: Settings, *, wait: bool) -> str:
    """`see_to_tonight`, which never keeps a house from coming up: what went wrong is the sentence."""
    from flows.dispatch import DispatchError

    try:
        return see_to_tonight(settings, wait=wait)
    except (CatalogueUnavailableError, DispatchError) as error:
        return f"nobody has looked after the night: {error}"


def span(length: timedelta) -> str:
    """`9 h 05 min`, `12 min`."""
    minutes = round(length.total_seconds() / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _made(dispatch: Any, key: str, parameters: Mapping[str, Any]) -> str:
    """A flow run of the night with these parameters that is on its way, one however many ask; empty if there is none.

    One that was turned away, or never came up, is replaced.
    """
    from flows.dispatch import NIGHTLY, STARTS_WITHIN

    for number in range(_TRIES):
        made: str = dispatch.run(NIGHTLY, key=f"{key} {number}", parameters=parameters)
        found = dispatch.look([made]).get(made)
        if found is None or found.over:
            continue
        if found.state is RunState.PENDING and datetime.now(UTC) - found.since > STARTS_WITHIN:
            # the worker that took it died with it in its hands: it would be pending for good, and hold the limit
            dispatch.crash(made, "its worker is gone")
            continue
        return made
    return ""
