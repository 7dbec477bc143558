"""The inbox: a shot list that is laid into it is taken in within minutes, without anybody at a terminal.

Knows: the inbox's folders and when a file is complete; that a batch may have lost whoever followed it. Does not know:
what is wrong with a list (catalogs.shotlist).

    inbox/                  lay a list here
    inbox/taken/            lists that are in the catalogue, with the time in front of their name
    inbox/refused/          lists that are not: the list, its rejected rows (.errors.csv), every reason (.txt)

A refused list is laid into the inbox again when it is corrected. Nothing is ever deleted.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prefect import flow
from prefect.states import Completed, Failed

from catalogs.errors import CatalogueError, CatalogueUnavailableError
from catalogs.store import open_catalogue
from flows.dispatch import DispatchError, dispatching
from flows.lists import submit
from flows.opening import take_up
from flows.settings import INBOX, Settings
from models.interface import EngineError
from tasks.errors import StepError

LOG: Final = logging.getLogger("dailies")

TAKEN, REFUSED = "taken", "refused"

LISTS: Final = (".csv", ".tsv", ".txt", ".xlsx")
"""Endings of a list. Anything else in the inbox stays: plates may lie beside their list."""

QUIET: Final = 5.0
"""Seconds that a file must not have changed: a list that is still being copied is left for the next round."""


@flow(name="intake", flow_run_name="inbox", validate_parameters=False)
def intake() -> Any:
    """Take in every complete list of the inbox: new shots and changed ones. The state's message names the lists.

    A refused list makes the run fail, so that it is seen in the Prefect UI and can be notified of.
    """
    settings = Settings.read()
    _see_to_the_night(settings)
    taken: list[str] = []
    refused: list[str] = []
    for path in complete_lists(settings.home / INBOX):
        try:
            (taken if take_in(path, settings) else refused).append(path.name)
        except OSError as error:  # a name too long for a time in front of it, a folder that is not ours
            LOG.error("%s stays in the inbox: %s", path.name, error.strerror or error)
            refused.append(path.name)
    if refused:
        return Failed(message=f"refused: {', '.join(refused)}; {settings.home / INBOX / REFUSED} says why")
    return Completed(message=f"taken in: {', '.join(taken)}" if taken else "the inbox is empty")


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


def complete_lists(inbox: Path) -> Iterator[Path]:
    """The lists in the inbox that nobody has changed for a while, oldest first. Makes the inbox."""
    inbox.mkdir(parents=True, exist_ok=True)
    found = []
    for path in inbox.iterdir():
        try:
            facts = path.stat()
        except OSError:
            continue  # gone again
        hidden = path.name.startswith((".", "~"))
        listed = path.suffix.lower() in LISTS
        if listed and path.is_file() and not hidden and time.time() - facts.st_mtime >= QUIET:
            found.append((facts.st_mtime, path))
    return iter(path for _, path in sorted(found))


def take_in(path: Path, settings: Settings) -> bool:
    """Submit one list and move it out of the inbox. False if it was refused.

    Raises CatalogueUnavailableError; the list then stays in the inbox for the next round.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    refused = settings.home / INBOX / REFUSED
    rejected = refused / f"{stamp}-{path.stem}.errors.csv"
    refused.mkdir(parents=True, exist_ok=True)
    try:
        outcome = submit(path, settings, mode="upsert", errors=rejected, submitted_by=INBOX)
        problems = [str(problem) for problem in (*outcome.errors, *outcome.warnings)]
        accepted = outcome.accepted
    except CatalogueUnavailableError:
        raise
    except (CatalogueError, StepError, EngineError) as error:
        problems, accepted = [str(error)], False
    target = settings.home / INBOX / (TAKEN if accepted else REFUSED) / f"{stamp}-{path.name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    if problems:
        # a list may end in .txt itself, and must not be written over
        reasons = target.with_suffix(".txt" if target.suffix.lower() != ".txt" else ".reasons.txt")
        reasons.write_text("\n".join(problems) + "\n", encoding="utf-8")
    LOG.info("%s was %s", path.name, "taken in" if accepted else "refused")
    return accepted
