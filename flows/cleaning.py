"""Keeping the disk: what lies in the home, and the deleting of what may go. Never imports Prefect.

Knows: the catalogue, the folders of a home, locks. Does not know: what may go (tasks.clean). Memory: O(folders).

A night may be at work meanwhile. Before a shot's work goes, its folder's lock is taken, as every render takes it, and
the catalogue is asked once more; the work then changes its name, at once, and is deleted under that. Whoever takes the
shot up a moment later finds no work, and makes it. A deleting that breaks off is gone on with by the next.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from catalogs.errors import UnknownShotError
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.planning import BATCHES
from flows.settings import Settings
from tasks.clean import DAY, EVIDENCE, Cleaning, Doomed, Found, Standing, cleaning_json, plan_cleaning
from tasks.errors import BusyError, PlanError, StepError
from tasks.keep import free_bytes, sole_owner

LOG: Final = logging.getLogger("dailies")

HALF: Final = ".cleaned-"
"""What the name of a folder begins with that is being deleted."""
_ATTEMPTS: Final = "attempts"
_HUNG: Final = "hung"


def clean(settings: Settings, *, days: float, apply: bool, now: float | None = None) -> dict[str, Any]:
    """Say what may be deleted, or with `apply` delete it; the document of `dailies clean --json`.

    `days` is how long nothing must have been written to it; `now` seconds of the system's clock. Raises PlanError for
    days below 0, CatalogueUnavailableError.
    """
    if not 0 <= days < math.inf:
        raise PlanError(f"--older-than is {days:g}; it must be a number of days from 0 up")
    with open_catalogue(settings.database_url) as catalogue:
        plan = look(settings, catalogue, days=days, now=time.time() if now is None else now)
        deleted = list(_deleted(plan.doomed, settings, catalogue)) if apply else None
    return cleaning_json(plan, deleted=deleted, older_than=days * DAY, free_bytes=free_bytes(settings.home))


def look(settings: Settings, catalogue: Catalogue, *, days: float, now: float) -> Cleaning:
    """What may go. Nothing is changed."""
    work = list(_work(settings.work))
    # of a shot without a folder nothing can go
    named = dict.fromkeys(one.shot for one in work)
    records = {record.shot.name: record for record in catalogue.standings(named)}
    taken = _taken(catalogue)
    standings = {name: _standing(record, taken) for name, record in records.items()}
    batch = catalogue.nights.running()
    at_work = {run.flow_run for run in catalogue.nights.runs(batch.name, open_only=True)} if batch else set()
    evidence = list(_evidence(settings.home / BATCHES / _HUNG))
    gone = [one.path.stem for one in evidence if one.path.stem not in at_work]
    found = [*work, *evidence]
    return plan_cleaning(found, standings, gone=gone, now=now, older_than=days * DAY)


def _taken(catalogue: Catalogue) -> set[str]:
    """Shots that somebody is at, or that the open batch was at: its sheet is made from their work."""
    nights = catalogue.nights
    batch = nights.running()
    mine = nights.attempts(batch.name) if batch else []
    return {attempt.shot for attempt in (*nights.attempts(open_only=True), *mine)}


def _standing(record: ShotRecord, taken: Iterable[str]) -> Standing:
    take = record.take
    published = take is not None and take.manifest is not None and take.manifest.is_file()
    seconds = dict(take.seconds).get("generate", 0.0) if take else 0.0
    return Standing(record.status, record.shot.name in taken, published, seconds)


def _work(work: Path) -> Iterator[Found]:
    """Everything in the work folders of shots, but for their locks. Links are nobody's work and are passed over."""
    for show in _folders(work):
        for shot in _folders(show):
            name = f"{show.name}/{shot.name}"
            for path in sorted(shot.iterdir()):
                if path.is_symlink() or path.name == ".lock":
                    continue
                half = path.name.startswith(HALF)
                yield _found(path, name, "attempt" if half else "take")
                if path.is_dir() and not half:
                    yield from (_found(left, name, "attempt") for left in _folders(path / _ATTEMPTS))


def _evidence(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.glob("*.txt")):
        if path.is_file() and not path.is_symlink():
            yield _found(path, "", "evidence")


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _found(path: Path, shot: str, part: str) -> Found:
    """A file or a folder with all that is in it, measured. What disappears meanwhile is not counted."""
    size, changed = 0, 0.0
    for one in (path, *(path.rglob("*") if path.is_dir() else ())):
        try:
            facts = one.lstat()
        except OSError:
            continue
        changed = max(changed, facts.st_mtime)
        if not one.is_dir() and facts.st_nlink == 1:
            size += facts.st_size
    return Found(path, shot, part, size, changed)


# -- deleting ------------------------------------------------------------------------------------------


def _deleted(doomed: Sequence[Doomed], settings: Settings, catalogue: Catalogue) -> Iterator[Doomed]:
    """Delete one after the other; what could be. What somebody came to need meanwhile is passed over, and said."""
    by_shot: dict[str, list[Doomed]] = {}
    for one in doomed:
        by_shot.setdefault(one.found.shot, []).append(one)
    for shot, its in by_shot.items():
        if not shot:
            yield from (one for one in its if one.kind == EVIDENCE and _unlinked(one.found.path))
            continue
        show, _, code = shot.partition("/")
        folder = settings.work / show / code
        try:
            with sole_owner(folder, what=shot):
                aside = [(one, _aside(one, folder)) for one in its if _still(one, shot, catalogue)]
        except (BusyError, StepError) as error:
            LOG.warning("%s: its work stays: %s", shot, error)
            continue
        # what takes long, without the lock: nobody looks for these names
        yield from (one for one, moved in aside if moved is not None and _removed(moved))


def _still(one: Doomed, shot: str, catalogue: Catalogue) -> bool:
    """Whether the shot still stands so that this may go."""
    try:
        record = catalogue.find(shot)
    except UnknownShotError:
        return False
    standings = {shot: _standing(record, _taken(catalogue))}
    again = plan_cleaning([one.found], standings, gone=(), now=one.found.changed, older_than=0.0)
    return [found.kind for found in again.doomed] == [one.kind]


def _aside(one: Doomed, folder: Path) -> Path | None:
    """The folder under a name that nobody looks for; None if it is not there any more."""
    path = one.found.path
    if folder not in path.parents or path.is_symlink():  # nothing outside of the shot's own work, whatever was planned
        return None
    target = folder / f"{HALF}{uuid.uuid4().hex[:12]}"
    try:
        os.replace(path, target)
    except FileNotFoundError:
        return None
    except OSError as error:
        LOG.warning("%s stays: %s", path, error.strerror or error)
        return None
    return target


def _removed(path: Path) -> bool:
    if not path.is_dir():
        return _unlinked(path)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        LOG.warning("%s could not be deleted as a whole; mend its permissions and clean again", path)
    return not path.exists()


def _unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except OSError as error:
        LOG.warning("%s stays: %s", path, error.strerror or error)
        return False
    return True
