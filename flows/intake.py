"""The inbox, and lists that are sent: a shot list is taken in within minutes, without anybody at a terminal.

Knows: what a look does, and that a batch may have lost whoever followed it. Does not know: how a list goes in once and
once only (flows.inbox), what is wrong with one (catalogs.shotlist).
"""

from __future__ import annotations

import logging
import stat
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from catalogs.errors import CatalogueUnavailableError
from catalogs.sheet import LARGEST
from catalogs.store import open_catalogue
from flows.dispatch import DispatchError, dispatching
from flows.inbox import (
    PATIENCE,
    QUIET,
    Settled,
    Wishes,
    complete_lists,
    held,
    hold,
    hold_text,
    left_lying,
    settle,
    sole_look,
)
from flows.opening import take_up
from flows.settings import INBOX, Settings

LOG: Final = logging.getLogger("dailies")


@flow(name="intake", flow_run_name="inbox", validate_parameters=False)
def intake(
    path: str | None = None,
    text: str | None = None,
    name: str = "sent.csv",
    mode: str = "upsert",
    show: str | None = None,
    allow_new: bool = False,
) -> Any:
    """Take in every complete list of the inbox: new shots and changed ones. The state's message names the lists.

    With `path` or `text` a list is sent: that file, which stays where it is, or that text under `name` is taken in
    too, in its `mode`, once for this flow run. A refused list makes the run fail, so that it is seen in the Prefect UI
    and can be notified of.
    """
    settings = Settings.read()
    _see_to_the_night(settings)
    inbox = settings.home / INBOX
    sent = path is not None or text is not None
    # before anything is held: a list that cannot go in stays where people see it
    open_catalogue(settings.database_url).close()
    with sole_look(inbox, patience=PATIENCE if sent else 0.0) as alone:
        if not alone:
            words = "another look has been at work for ten minutes; send the list again" if sent else ""
            return Failed(message=words) if sent else Completed(message="another look is at work")
        # what was on its way when a look was killed comes first
        settled = [settle(folder, settings) for folder in held(inbox)]
        if sent:
            settled += _sent(inbox, settings, path, text, name, Wishes(mode, show, allow_new, submitted_by="flow run"))
        settled += look(inbox, settings)
    return _said(settled, inbox)


def look(inbox: Path, settings: Settings, *, quiet: float = QUIET) -> list[Settled]:
    """Take in what is complete; for whoever has `sole_look`. Raises CatalogueUnavailableError."""
    settled = []
    for found in complete_lists(inbox, quiet=quiet):
        try:
            if folder := hold(found, inbox):
                settled.append(settle(folder, settings))
        except OSError as error:  # a folder that is not ours, a full disk
            LOG.error("%s is left for the next look: %s", found.name, error.strerror or error)
    return settled


def _sent(
    inbox: Path, settings: Settings, path: str | None, text: str | None, name: str, wishes: Wishes
) -> list[Settled]:
    """The list that this flow run was sent; nothing if an earlier try of the run has taken it in."""
    claim = f"run-{flow_run.id or uuid.uuid4()}"
    with open_catalogue(settings.database_url) as catalogue:
        if catalogue.has_taken(claim):
            return []
    body: str | bytes = text or ""
    if text is None and path is not None:
        name = Path(path).name
        body = _read(Path(path))
    return [settle(hold_text(body, name, inbox, claim=claim, wishes=wishes), settings)]


def _read(path: Path) -> bytes:
    """A list that lies elsewhere. Raises OSError; what is no file, or too large, is cut to what will be refused."""
    if not stat.S_ISREG(path.stat().st_mode):
        return b""
    with path.open("rb") as stream:
        return stream.read(LARGEST + 1)


def _said(settled: Sequence[Settled], inbox: Path) -> Any:
    """The state that the run ends in."""
    taken = [one.name for one in settled if one.accepted]
    refused = [one.name for one in settled if not one.accepted]
    words = [f"taken in: {', '.join(taken)}"] if taken else []
    words += left_lying(inbox)
    if refused:
        said = "; ".join([f"refused: {', '.join(refused)}", f"{settled[-1].report.parent} says why", *words])
        return Failed(message=said)
    return Completed(message="; ".join(words) or "the inbox is empty")


def _see_to_the_night(settings: Settings) -> None:
    """Have a batch taken up whose flow run is gone: the automation for that may wait for an event that was lost."""
    try:
        with open_catalogue(settings.database_url) as catalogue:
            batch = catalogue.nights.running()
        if batch is not None:
            with dispatching() as dispatch:
                if taken_by := take_up(dispatch, batch):
                    LOG.warning("%s: whoever followed it is gone; flow run %s takes it up", batch.name, taken_by)
    except (CatalogueUnavailableError, DispatchError) as error:
        LOG.warning("nobody looked after the night: %s", error)
