"""Make deliveries of one video file that somebody brings: `dailies encode`.

Knows: the order of it: look, decide, encode, inspect, put in place. Does not know: shots, the catalogue, the command
line. Memory: that of `tasks.encode`.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from text_unidecode import unidecode

from catalogs.footage import Deliverable, Finding, Master, Severity
from catalogs.formats import delivery_complaints
from catalogs.shot import Delivery
from catalogs.timebase import FIRST_FRAME, Start, is_dropped, rate_display, rate_label, read_start, start_at
from tasks.captions import Caption
from tasks.dryrun import delivery_bytes
from tasks.encode import encode_master
from tasks.errors import MachineNotReadyError, PlanError, StepError
from tasks.inspect import Expectation, inspect_deliverable
from tasks.keep import check_disk, fsync_folder, own_folder
from tasks.naming import file_name, lead_frames, reel_name, start_timecode
from tasks.plan import PlannedDelivery
from tasks.presets import preset
from tasks.progress import Progress, announce
from tasks.source import Source, left_timecode

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
KEEP: Final = "keep"
"""The source's own timecode, where it has one."""
_DIGITS: Final = 7  # of a frame number: a day at 60 has 5184000
_LONGEST: Final = 128  # characters of a slate: with rate, words and ending it stays below every system's 255


@dataclass(frozen=True, slots=True)
class FileEncoding:
    """What encoding a file will come to."""

    source: Source
    folder: Path
    """Absolute path of the folder that the files go to."""
    slate: str
    """What files, title and reel are called."""
    deliveries: tuple[PlannedDelivery, ...]
    start: Start
    """Where timecode begins."""
    notices: tuple[str, ...] = ()
    """What of the source does not come through, in sentences."""

    def timecode(self, planned: PlannedDelivery) -> str:
        """Of a file's first frame; empty where its container or the rate has none."""
        if not start_timecode(planned.kind, planned.extras, self.source.rate):
            return ""
        return self.start.label(-lead_frames(planned.extras))

    def expectation(self, planned: PlannedDelivery) -> Expectation:
        """What a file must be."""
        rate, lead = self.source.rate, lead_frames(planned.extras)
        return Expectation(
            kind=planned.kind,
            option=planned.option,
            frames=self.source.frames + lead,
            rate=rate,
            width=self.source.width,
            height=self.source.height,
            timecode=self.timecode(planned),
            reel=reel_name(planned.kind, self.slate, rate),
            silent="silent" in planned.extras,
            lead=lead,
        )


@dataclass(frozen=True, slots=True)
class FileEncoded:
    """What it came to."""

    deliverables: tuple[Deliverable, ...]
    """In the order asked for, under their final paths."""
    findings: tuple[Finding, ...]
    """What inspection has to say that is no blocker."""
    argv: tuple[str, ...]
    """ffmpeg's command line, paths reduced to names."""
    seconds: float
    """Wall seconds, inspection included."""


def slate_of(path: Path) -> str:
    """A slate for a file that was given none: its stem, in letters that every system takes."""
    # letters lose their accents, not themselves: a name of ü alone would have none
    return _UNSAFE.sub("_", unidecode(unicodedata.normalize("NFC", path.stem))).strip("._- ")[:_LONGEST] or "clip"


def plan_files(
    source: Source,
    deliveries: Sequence[Delivery],
    folder: Path,
    *,
    slate: str = "",
    encoder: str = "",
    timecode: str = KEEP,
) -> FileEncoding:
    """What encoding would make. `slate` is empty for the file's own stem; `encoder` makes H.265, empty for x265.
    `timecode` is where it begins: `keep` for the source's own, from 1001 where it has none; a frame number; a label.

    Raises PlanError for a delivery that cannot be made of it, a slate that is no file name, a timecode that is none at
    its rate, or a folder that is a file.
    """
    folder = folder.absolute()
    if slate and (_UNSAFE.search(slate) or slate.startswith((".", "-")) or len(slate) > _LONGEST):
        raise PlanError(
            f"--slate {slate!r} is no file name; use letters, digits, dot, dash, underscore, at most {_LONGEST} of them"
        )
    if folder.exists() and not folder.is_dir():
        raise PlanError(f"{folder} is a file; name a folder with -o")
    size = (source.width, source.height)
    for complaint in delivery_complaints(deliveries, size=size, rate=source.rate):
        raise PlanError(f"{source.path.name}: {complaint}")
    named = slate or slate_of(source.path)
    begin = f"{named}_{rate_label(source.rate)}"
    planned = tuple(
        PlannedDelivery(
            one.kind,
            one.option,
            file_name(one, begin=begin),
            "",
            one.quality,
            one.extras,
            encoder if one.kind == "h265" else "",
        )
        for one in deliveries
    )
    if any(folder / one.file == source.path for one in planned):
        raise PlanError(f"{source.path.name} would be written over itself; give another folder with -o, or a --slate")
    start = _start(source, timecode)
    plan = FileEncoding(source, folder, named, planned, start, source.notices)
    kept = source.timecode.replace(".", ";") == start.label(0) and any(map(plan.timecode, planned))
    if source.timecode and not kept:
        return replace(plan, notices=(*plan.notices, left_timecode(source.timecode)))
    return plan


def _start(source: Source, wish: str) -> Start:
    """Where timecode begins. Raises PlanError for a wish that is none at the source's rate."""
    rate = source.rate
    if wish == KEEP:
        try:
            return read_start(source.timecode, rate)
        except ValueError:  # none, or one that some program has made up
            return start_at(FIRST_FRAME, rate)
    if wish.isascii() and wish.isdigit() and len(wish) <= _DIGITS:
        return start_at(int(wish), rate)
    try:
        return read_start(wish, rate)
    except ValueError:
        how = "HH:MM:SS;FF for drop-frame" if is_dropped(rate) else "each field two digits"
        raise PlanError(
            f"--timecode {wish!r} is none at {rate_display(rate)} frames per second; use {KEEP}, {FIRST_FRAME} or "
            f"another frame number, or HH:MM:SS:FF ({how})"
        ) from None


def estimated_bytes(plan: FileEncoding) -> int:
    """Disk that the files may take at most, of pictures that do not compress."""
    pixels = plan.source.frames * plan.source.width * plan.source.height
    return round(pixels * sum(map(delivery_bytes, plan.deliveries)))


def check_target(plan: FileEncoding, *, overwrite: bool) -> None:
    """Whether the files may be written where they are to be. Raises PlanError if one is there and may not be replaced,
    MachineNotReadyError if the disk lacks room for them."""
    _check_names(plan, overwrite=overwrite)
    _check_room(plan)


def _check_names(plan: FileEncoding, *, overwrite: bool) -> None:
    there = [one.file for one in plan.deliveries if (plan.folder / one.file).exists()]
    if there and not overwrite:
        raise PlanError(f"{plan.folder / there[0]} exists already; take another folder or --slate, or add --overwrite")


def _check_room(plan: FileEncoding) -> None:
    try:
        what = f"encoding {plan.source.path.name}"
        check_disk(estimated_bytes(plan), plan.folder, what=what, instead="write to another disk with -o")
    except StepError as error:
        raise MachineNotReadyError(str(error)) from error


def encode_file(plan: FileEncoding, *, ffmpeg: str, overwrite: bool = False) -> FileEncoded:
    """Make the files. They appear under their names when all are whole and inspected; until then there is a hidden
    folder beside them. What killed ones have left of the same slate goes.

    Raises StepError, also for a file that inspection finds a blocker on; MachineNotReadyError if the encoder that is
    asked for does not work here; and like `check_target`.
    """
    started = time.perf_counter()
    folder, source = plan.folder, plan.source
    _restore(plan)
    _check_names(plan, overwrite=overwrite)
    was_there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StepError(f"cannot write to {folder}: {error.strerror or error}; check its permissions") from error
    try:
        _check_room(plan)
        with own_folder(folder, plan.slate) as own:
            report = encode_master(
                Master(source.path, "", 0, source.frames, source.rate, source.width, source.height),
                plan.deliveries,
                own,
                ffmpeg=ffmpeg,
                width=source.width,
                height=source.height,
                slate=plan.slate,
                caption=_caption(plan),
                conform=source.filter,
                timecodes={one.file: plan.timecode(one) for one in plan.deliveries},
            )
            made, findings = _inspected(plan, own)
            _put(plan, own, overwrite=overwrite)
    finally:
        if not was_there:
            with suppress(OSError):  # not empty: the files are in it
                folder.rmdir()
    return FileEncoded(made, findings, report.argv, time.perf_counter() - started)


def _caption(plan: FileEncoding) -> Caption:
    source = plan.source
    day = datetime.now().astimezone().date()
    notes = f"from {source.path.name}"
    return Caption(plan.slate, "", "", "", day, source.frames, source.rate, notes=notes, start=plan.start)


def _inspected(plan: FileEncoding, own: Path) -> tuple[tuple[Deliverable, ...], tuple[Finding, ...]]:
    """Every file decoded to its end. Raises StepError at a blocker."""
    made: list[Deliverable] = []
    findings: list[Finding] = []
    for number, planned in enumerate(plan.deliveries, start=1):
        deliverable, found = inspect_deliverable(own / planned.file, plan.expectation(planned))
        for finding in found:
            if finding.severity is Severity.BLOCKER:
                raise StepError(
                    f"{planned.file} was not delivered: {finding.code} is {finding.value}, {finding.limit} is wanted; "
                    "try again, and report it if it stays"
                )
        made.append(replace(deliverable, path=plan.folder / planned.file))
        findings.extend(found)
        frames = plan.source.frames
        announce(Progress(plan.slate, "inspect", number * frames, len(plan.deliveries) * frames))
    return tuple(made), tuple(findings)


def _put(plan: FileEncoding, own: Path, *, overwrite: bool) -> None:
    """Give the files their names, one after the other: all are whole by now. Raises PlanError if a name has been taken
    meanwhile and may not be replaced; then none keeps its name."""
    placed: list[Path] = []
    try:
        for planned in plan.deliveries:
            made, target = own / planned.file, plan.folder / planned.file
            if not overwrite:
                _place(made, target)
            elif target.is_dir() and preset(planned.kind, planned.option).sequence:
                _exchange(made, target)
            else:
                os.replace(made, target)
            placed.append(target)
        fsync_folder(plan.folder)
    except FileExistsError as error:
        for target in placed:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        raise PlanError(
            f"{error.filename2 or error.filename} was written by another meanwhile; take another folder or --slate, "
            "or add --overwrite"
        ) from error
    except OSError as error:
        raise StepError(f"cannot write to {plan.folder}: {error.strerror or error}; check folder and disk") from error


def _place(made: Path, target: Path) -> None:
    """Give a file or folder a name that nothing has. Raises FileExistsError if something has it."""
    if made.is_dir():
        try:
            # takes the place of nothing but an empty folder
            os.rename(made, target)
        except OSError as error:
            if target.exists():
                raise FileExistsError(error.errno, error.strerror, str(target)) from error
            raise
        return
    try:
        # in one go: a rename would take the place of whatever is there
        os.link(made, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name is taken first
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(made, target)


def _exchange(made: Path, target: Path) -> None:
    """A folder in the place of another, which nothing does in one go: the old one steps aside, and goes last.

    Whatever breaks off in between, the old one comes back: now, or if this program is killed with the next run.
    """
    aside = _aside(target)
    os.rename(target, aside)
    try:
        os.rename(made, target)
    except BaseException:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _restore(plan: FileEncoding) -> None:
    """Bring back folders that an earlier run was killed while replacing; what was replaced goes. Raises StepError."""
    for planned in plan.deliveries:
        target = plan.folder / planned.file
        aside = _aside(target)
        if not aside.is_dir():
            continue
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
            continue
        try:
            os.rename(aside, target)
        except OSError as error:
            raise StepError(f"{aside} could not become {target.name} again: {error.strerror or error}") from error
