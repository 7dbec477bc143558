"""The inbox's folders: which lists are complete, and how one goes in exactly once, whatever is killed when.

Knows: files, and a list's way from the inbox to where it lies afterwards. Does not know: what is wrong with a list
(catalogs.shotlist), Prefect, which is not even imported here. Memory: one list.

    inbox/                  lay a list here
    inbox/.taking/          lists on their way, each in a folder called after its claim
    inbox/accepted/         lists that are in the catalogue, with the time in front of their name, and their reports
    inbox/rejected/         lists that are not: the list, its report with every reason, its rejected rows (.errors.csv)

A list is renamed into a folder of its own (1), submitted under the folder's name as its claim (2), which the database
takes once, while its report is written just before the commit (3); the folder is renamed to say how it ended (4), and
its files are moved (5). Whoever finds a folder goes on where it stands: before the commit it is submitted, behind it
the claim is known, and the report that lies there tells of that very commit. Nothing is ever deleted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from catalogs.errors import CatalogueError, CatalogueUnavailableError, ListTakenError
from catalogs.store import open_catalogue
from flows.lists import Outcome, submit
from flows.settings import INBOX, Settings
from models.interface import EngineError
from tasks.errors import StepError
from tasks.keep import fsync_folder

LOG: Final = logging.getLogger("dailies")

ACCEPTED, REJECTED, TAKING = "accepted", "rejected", ".taking"

LISTS: Final = (".csv", ".tsv", ".txt", ".xlsx")
"""Endings of a list. Anything else in the inbox stays: plates may lie beside their list."""

QUIET: Final = 5.0
"""Seconds for which a list must stay as it is: one that is still being copied is left for the next look."""

PATIENCE: Final = 600.0
"""Seconds that a list which was sent waits for a look that is at work."""

_LIST, _REPORT, _ERRORS, _WISHES = "list", "report.txt", "errors.csv", "wishes.json"
_LONGEST: Final = 160  # bytes of a name: with a time in front and an ending behind it file systems still take it


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a list is to be taken in."""

    mode: str = "upsert"
    """create, update or upsert."""
    show: str | None = None
    """Show of rows that name none."""
    allow_new: bool = False
    """Whether new shots may resemble ones that are there."""
    submitted_by: str = INBOX
    """Who sends it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How a list ended."""

    name: str
    """As its sender called it."""
    accepted: bool
    report: Path
    """Where its report lies."""


def complete_lists(inbox: Path, *, quiet: float = QUIET) -> list[Path]:
    """The lists in the inbox that stay as they are for `quiet` seconds, oldest first. Makes the inbox.

    Size, both times and the file itself count: a copy that keeps the times of its original is seen to grow.
    """
    before = _lists(inbox)
    if before and quiet:
        time.sleep(quiet)
    after = _lists(inbox)
    still = [path for path, facts in before.items() if after.get(path) == facts]
    return sorted(still, key=lambda path: (before[path][2], path))


def left_lying(inbox: Path) -> list[str]:
    """What has the name of a list and is none that could be taken in, each with the reason."""
    found = []
    for path, mode in _entries(inbox):
        kind = next((word for known, word in _KINDS if known(mode)), "")
        if kind:
            found.append(f"{path.name} is {kind}; lay the list itself into the inbox")
    return found


_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def _entries(inbox: Path) -> Iterator[tuple[Path, int]]:
    """What is called like a list, and the mode of each; links are not followed, nothing is opened."""
    inbox.mkdir(parents=True, exist_ok=True)
    for path in sorted(inbox.iterdir()):
        if path.name.startswith((".", "~")) or path.suffix.lower() not in LISTS:
            continue
        try:
            yield path, path.lstat().st_mode
        except OSError:
            continue  # gone again


def _lists(inbox: Path) -> dict[Path, tuple[int, int, int, int]]:
    found = {}
    for path, mode in _entries(inbox):
        if stat.S_ISREG(mode):
            try:
                found[path] = _facts(path)
            except OSError:
                continue
    return found


def _facts(path: Path) -> tuple[int, int, int, int]:
    """What changes with a file. Its second time is the kernel's own, which no program can set back."""
    facts = path.lstat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@contextmanager
def sole_look(inbox: Path, *, patience: float = 0.0) -> Iterator[bool]:
    """Whether nobody else takes lists in meanwhile; waits `patience` seconds for it. A killed process holds nothing."""
    taking = inbox / TAKING
    taking.mkdir(parents=True, exist_ok=True)
    lock = FileLock(taking / ".lock")
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def held(inbox: Path) -> list[Path]:
    """Folders of lists that are on their way, oldest first. What a killed process left empty is swept."""
    found = []
    for folder in sorted(one for one in (inbox / TAKING).iterdir() if one.is_dir()):
        if _named(folder):
            found.append(folder)
        else:  # its list is not in yet, or where it belongs
            shutil.rmtree(folder, ignore_errors=True)
    return found


def hold(path: Path, inbox: Path) -> Path | None:
    """Take a list out of the inbox into a folder of its own, for who has `sole_look`; None if it is gone or grew."""
    try:
        facts = _facts(path)
    except OSError:
        return None
    folder = _folder(inbox, path.name)
    kept = folder / _LIST / path.name
    try:
        os.rename(path, kept)
    except FileNotFoundError:
        shutil.rmtree(folder)
        return None
    now = _facts(kept)
    if now[:3] != facts[:3] and not path.exists():
        os.rename(kept, path)
        shutil.rmtree(folder)
        return None
    fsync_folder(kept.parent)
    return folder


def hold_text(text: str | bytes, name: str, inbox: Path, *, claim: str, wishes: Wishes) -> Path:
    """A list that was sent, in a folder of its own that bears `claim`, and how it is to be taken in."""
    safe = _fitting(re.sub(r"[^\w. -]", "_", Path(name).name).lstrip(".~ ") or "list.csv")
    folder = _folder(inbox, safe, claim=claim)
    _write(folder / _WISHES, json.dumps(asdict(wishes)))
    aside, kept = folder / f".{_LIST}", folder / _LIST / safe
    aside.write_bytes(text.encode() if isinstance(text, str) else text)
    os.replace(aside, kept)
    fsync_folder(kept.parent)
    return folder


def _folder(inbox: Path, name: str, *, claim: str = "") -> Path:
    """A new folder on the way: the time, by which the list will be called afterwards, and the list's claim."""
    while True:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        # of one second there may be two lists of one name
        if not any((inbox / kind / f"{stamp}-{_fitting(name)}").exists() for kind in (ACCEPTED, REJECTED)):
            break
        time.sleep(0.2)
    folder = inbox / TAKING / f"{stamp}-{claim or uuid.uuid4().hex[:12]}"
    (folder / _LIST).mkdir(parents=True)
    return folder


def _named(folder: Path) -> str:
    """What the list in a folder is called; empty if none is there."""
    lists = folder / _LIST
    return next((path.name for path in sorted(lists.iterdir())), "") if lists.is_dir() else ""


def claim_of(folder: Path) -> str:
    """Under what the database knows the list in a folder: all behind the time."""
    return folder.stem.partition("-")[2]


def _wishes(folder: Path) -> Wishes:
    """How the list in a folder is to be taken in; one from the inbox has no wishes of its own."""
    kept = folder / _WISHES
    return Wishes(**json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else Wishes()


def settle(folder: Path, settings: Settings) -> Settled:
    """See a list that is on its way to its end, from wherever it stands; for whoever has `sole_look`.

    Raises CatalogueUnavailableError; the list stays on its way for the next look.
    """
    if folder.suffix.removeprefix(".") not in (ACCEPTED, REJECTED):
        accepted = _taken_in(folder, settings, _wishes(folder))
        ended = folder.with_name(f"{folder.name}.{ACCEPTED if accepted else REJECTED}")
        os.rename(folder, ended)
        folder = ended
    done = _put_away(folder, settings.home / INBOX)
    LOG.info("%s was %s", done.name, "taken in" if done.accepted else "refused")
    return done


def _taken_in(folder: Path, settings: Settings, wishes: Wishes) -> bool:
    """Submit a list under its folder's name, unless that was done; its report and rejected rows then lie beside it."""
    claim, name = claim_of(folder), _named(folder)
    with open_catalogue(settings.database_url) as catalogue:
        if catalogue.has_taken(claim):
            return True

    def ready(outcome: Outcome) -> None:
        _write(folder / _REPORT, _told(name, outcome, wishes))

    (folder / _ERRORS).unlink(missing_ok=True)
    try:
        outcome = submit(
            folder / _LIST / name,
            settings,
            mode=wishes.mode,
            errors=folder / _ERRORS,
            show=wishes.show,
            submitted_by=wishes.submitted_by,
            allow_new=wishes.allow_new,
            plates=settings.home / INBOX,
            claim=claim,
            ready=ready,
        )
    except ListTakenError:
        return True
    except CatalogueUnavailableError:
        raise
    except (CatalogueError, StepError, EngineError) as error:
        _write(folder / _REPORT, f"{name} was refused; nothing of it is in the catalogue.\n\n{error}\n")
        return False
    if not outcome.accepted:
        _write(folder / _REPORT, _told(name, outcome, wishes))
    return outcome.accepted


def _told(name: str, outcome: Outcome, wishes: Wishes) -> str:
    """A list's report: what became of it, every reason or notice, every difference."""
    notices = [str(replace(one, file=name)) for one in (*outcome.errors, *outcome.warnings)]
    result, at = outcome.result, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if result is None:
        lines = [f"{name} was refused at {at}; nothing of it is in the catalogue.", "", *notices]
    else:
        counts = f"{len(result.new)} new, {len(result.changed)} changed, {len(result.unchanged)} unchanged"
        lines = [f"{name} was taken in at {at} ({wishes.mode}).", f"{len(result.accepted)} shots: {counts}."]
        if result.superseded:
            lines.append(f"Finished takes that new ones will replace: {result.superseded}.")
        lines += ["", *notices] if notices else []
        lines += ["", *(f"new: {shot}" for shot in result.new)] if result.new else []
        told = (f"changed: {one.shot}: {'; '.join(map(str, one.differences))}" for one in result.changes)
        lines += ["", *told] if result.changed else []
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """A whole file or none, on the disk before what it tells of is."""
    aside = path.with_name(f".{path.name}")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(aside, path)


def _put_away(folder: Path, inbox: Path) -> Settled:
    """Move what lies in an ended list's folder to where it stays: the report first, the list last."""
    kind, stamp, name = folder.suffix.removeprefix("."), folder.name.partition("-")[0], _named(folder)
    place = inbox / kind
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"{stamp}-{_fitting(name)}"
    report = target.with_name(f"{target.name}.report.txt")
    for source, goal in (
        (folder / _REPORT, report),
        (folder / _ERRORS, target.with_name(f"{target.stem}.errors.csv")),
        (folder / _LIST / name, target),
    ):
        if source.exists():
            os.replace(source, goal)
    fsync_folder(place)
    shutil.rmtree(folder)
    return Settled(name, kind == ACCEPTED, report)


def _fitting(name: str) -> str:
    """A name to which a time and an ending can be added."""
    stem, suffix = os.path.splitext(name)
    suffix = suffix[:10]
    while len(os.fsencode(stem + suffix)) > _LONGEST:
        stem = stem[:-1]
    return stem + suffix
