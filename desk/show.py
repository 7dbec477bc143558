"""What the command line prints: tables for people, one JSON document for scripts.

Knows: Rich, stdout and stderr. Does not know: how any of it came about. Tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalogs.timebase import FIRST_FRAME, rate_display, rate_text
from tasks.admission import duration
from tasks.morning_page import brief

if TYPE_CHECKING:
    from catalogs.problems import Problem
    from catalogs.store import ShotRecord
    from catalogs.submission import Kept
    from flows.lists import Outcome
    from tasks.doctor import Check
    from tasks.progress import Progress

OUT = Console(highlight=False, soft_wrap=False)
ERR = Console(stderr=True, highlight=False)

STYLES: Mapping[str, str] = {
    "ready": "cyan",
    "rendering": "yellow",
    "review": "green",
    "approved": "bold green",
    "retake": "magenta",
    "omitted": "dim",
    "failed": "red",
    "quarantined": "bold red",
    "ok": "green",
    "warning": "yellow",
    "missing": "red",
}


def document(value: Mapping[str, Any]) -> None:
    """One JSON document on stdout, in UTF-8 whatever the terminal's own encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
    sys.stdout.buffer.flush()


def _styled(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header.removesuffix(">"), justify="right" if header.endswith(">") else "left")
    return table


def _print_table(table: Table) -> None:
    """Tables are as wide as they need to be where nobody sees them: a pipe has no width."""
    console = OUT if OUT.is_terminal else Console(highlight=False, width=2000)
    console.print(table)


def print_rows(headers: Sequence[str], rows: Sequence[Sequence[str]], *, spare: Sequence[str] = ()) -> None:
    """A table of plain words; a header that ends in `>` is set to the right.

    A terminal too narrow for it goes without the columns of `spare`, the first named first, and says so.
    """
    kept = list(range(len(headers)))
    names = [header.removesuffix(">") for header in headers]
    wide = [max(cell_len(row[at]) for row in [names, *rows]) for at in kept]
    left: list[str] = []
    for name in spare if OUT.is_terminal else ():
        if sum(wide[at] for at in kept) + 2 * (len(kept) - 1) <= OUT.width:
            break
        kept.remove(names.index(name))
        left.append(name)
    for name in reversed(left):  # a narrow one may have room where a wide one had to go
        if sum(wide[at] + 2 for at in kept) + wide[names.index(name)] <= OUT.width:
            kept = sorted([*kept, names.index(name)])
            left.remove(name)
    table = _table(*(headers[at] for at in kept))
    for row in rows:
        table.add_row(*(Text(row[at]) for at in kept))
    _print_table(table)
    if left:
        OUT.print(Text(f"Left out at this width: {', '.join(left)}.", style="dim"))


def say(text: str, style: str = "", *, on: Console = ERR) -> None:
    """A sentence, on stderr unless told otherwise; a pipe has no width to wrap it at."""
    on.print(text, style=style, markup=False, soft_wrap=not on.is_terminal)


def line(text: str) -> None:
    """A line about what is going on, on stderr."""
    say(text)


def _problem_json(problem: Problem) -> dict[str, Any]:
    fields = asdict(problem)
    return {name: fields[name] for name in ("line", "column", "value", "code", "message", "remedy")}


def _kept_json(kept: Kept) -> dict[str, Any]:
    changes = [{"field": one.field, "listed": one.old, "now": one.new} for one in kept.changes]
    return {"shot": kept.shot, "changes": changes}


def submission(outcome: Outcome, *, as_json: bool, dry_run: bool) -> None:
    """What a submission did: its problems, or what is new, changed and unchanged."""
    result = outcome.result
    if as_json:
        document(
            {
                "accepted": len(result.new) + len(result.changed) + len(result.unchanged) if result else 0,
                "changed": len(result.changed) if result else 0,
                "unchanged": len(result.unchanged) if result else 0,
                "kept": [_kept_json(kept) for kept in result.kept] if result else [],
                "shots": list(result.accepted) if result else [],
                "errors": [_problem_json(problem) for problem in outcome.errors],
                "warnings": [_problem_json(problem) for problem in outcome.warnings],
            }
        )
        return
    for problem in (*outcome.warnings, *outcome.errors):
        print(problem, file=sys.stderr)  # noqa: T201 - one problem a line, for people and for grep
    if result is None:
        where = f"; the rejected rows are in {outcome.rejected}" if outcome.rejected else ""
        ERR.print(
            f"Nothing was submitted, good rows neither: {counted(len(outcome.errors), 'problem')}{where}.",
            style="red",
            markup=False,
        )
        return
    would = "would be " if dry_run else ""
    changed, unchanged = len(result.changed), len(result.unchanged)
    OUT.print(f"{counted(len(result.new), 'shot')} {would}new, {changed} {would}changed, {unchanged} unchanged.")
    for kept in result.kept:
        fields = ", ".join(f"{one.field.replace('_', ' ')} {one.new!r}" for one in kept.changes)
        say(f"{kept.shot} keeps what a retake changed since the last list: {fields}.", on=OUT)


def shots(records: Sequence[ShotRecord], *, as_json: bool, status: str | None = None, show: str | None = None) -> None:
    """The catalogue's shots; `status` and `show` are what was asked for, to be named where there is none."""
    if as_json:
        document({"shots": [_shot_json(record) for record in records]})
        return
    if not records:
        wanted = " ".join(filter(None, [f"of {show}" if show else "", f"with status {status}" if status else ""]))
        rest = "`dailies shots` lists all." if wanted else "`dailies submit FILE` takes a list in."
        say(f"No shot{f' {wanted}' if wanted else 's'}. {rest}", on=OUT)
        return
    table = _table("shot", "sequence", "status", "take", "frames>", "fps>", "model", "camera", "deliveries", "error")
    for record in records:
        shot = record.shot
        table.add_row(
            shot.name,
            shot.sequence,
            _styled(record.status),
            f"v{record.version:03d}" if record.version else "",
            str(shot.frames),
            rate_display(shot.rate),
            shot.model,
            shot.camera,
            " ".join(map(str, shot.deliveries)),
            Text(unnamed(record.error, shot.name)),
        )
    _print_table(table)


def _shot_json(record: ShotRecord) -> dict[str, Any]:
    shot = record.shot
    return {
        "show": shot.show,
        "sequence": shot.sequence,
        "shot": shot.code,
        "status": record.status.value,
        "version": record.version,
        "error": record.error,
        "frames": shot.frames,
        "rate": rate_text(shot.rate),
        "handles": shot.handles,
        "model": shot.model,
        "camera": shot.camera,
        "prompt": shot.prompt,
        "loras": [{"name": use.name, "scale": use.scale} for use in shot.loras],
        "context": shot.context,
        "overlap": shot.overlap,
        "anchors": [str(anchor) for anchor in shot.anchors],
        "max_rerolls": shot.max_rerolls,
        "speed": rate_text(shot.speed),
        "retimer": shot.retimer,
        "deliveries": [str(delivery) for delivery in shot.deliveries],
        "priority": shot.priority,
        "due": shot.due.isoformat() if shot.due else None,
        "notes": shot.notes,
        "metadata": dict(shot.metadata),
        "plate": shot.plate.path if shot.plate else None,
        "manifest": str(record.take.manifest) if record.take and record.take.manifest else None,
    }


def unnamed(error: str, shot: str) -> str:
    """An error that is told behind the name of its shot, without that name or its slate in front."""
    show, _, code = shot.partition("/")
    slate = rf"{re.escape(show)}_(?:[\w.-]+_)?{re.escape(code)}_v\d{{3}}"
    return re.sub(rf"^(?:(?:{re.escape(shot)}|{slate}): ?)+", "", error)


def counted(number: int, word: str) -> str:
    """`1 shot`, `2 shots`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def nothing_to_render(*, as_json: bool) -> None:
    """No shot is waiting."""
    if as_json:
        document({"shots": [], "seconds": 0.0})
    else:
        OUT.print("Nothing to render: no shot is ready. `dailies shots` lists them all.")


def rendered(batch: Mapping[str, Any], *, as_json: bool) -> None:
    """What a batch did, and where to look."""
    if as_json:
        document(batch)
        return
    table = _table("slate", "status", "s>", "deliverables")
    for entry in batch["shots"]:
        table.add_row(
            entry["slate"],
            _styled(entry["status"]),
            f"{sum(entry['seconds'].values()):.1f}",
            str(Path(entry["manifest"]).parent) if entry["manifest"] else Text(entry["error"], style="red"),
        )
    _print_table(table)
    for entry in batch["shots"]:
        for finding in entry["findings"]:
            OUT.print(Text(f"{entry['slate']}: {finding_line(finding)}", style="yellow"), soft_wrap=True)
    failed = sum(1 for entry in batch["shots"] if entry["error"])
    OUT.print(f"{counted(len(batch['shots']) - failed, 'shot')} done, {failed} failed, {batch['seconds']:.1f} s.")


def finding_line(finding: Mapping[str, Any]) -> str:
    """`seam from 1093 to 1102: colour 13.9, 2 is wanted`; frames as the contact sheet numbers them."""
    where = ""
    if finding["frame_in"] is not None:
        first, last = FIRST_FRAME + finding["frame_in"], FIRST_FRAME + finding["frame_out"] - 1
        where = f" at {first}" if last <= first else f" from {first} to {last}"
    return f"{finding['code']}{where}: {finding['value']}, {finding['limit']} is wanted"


def interrupted() -> None:
    """Ctrl-C: said at once."""
    ERR.print("\nInterrupted. Run it again to continue: what is finished is kept.", style="yellow")


def status(standing: Mapping[str, Any], *, as_json: bool) -> None:
    """Where the shots stand."""
    if as_json:
        document(standing)
        return
    zone = ZoneInfo(standing["night"]["zone"])
    table = _table("status", "shots>")
    for name, count in standing["shots"].items():
        if count:
            table.add_row(_styled(name), str(count))
    _print_table(table)
    for entry in standing["rendering"]:
        OUT.print(Text(f"{entry['shot']}: {_STATES.get(entry['state'], entry['state'])}"))
    if batch := standing["batch"]:
        _batch(batch)
    for entry in standing["quarantined"]:
        why = f"{brief(unnamed(entry['error'], entry['shot']))}; `dailies release {entry['shot']}` lets it in again"
        say(f"{entry['shot']} is quarantined: {why}", "red", on=OUT)
    for entry in standing["failed"]:
        say(f"{entry['shot']} failed: {unnamed(entry['error'], entry['shot'])}", "red", on=OUT)
    if last := standing["last_batch"]:
        named = f" {last['batch']}" if last["batch"] else ""
        done = last["summary"] or f"{counted(last['shots'], 'shot')}, {last['failed']} failed"
        say(f"Last batch{named}: {done}; {duration(last['seconds'])}, ended {clock(last['finished'], zone)}.", on=OUT)
        say(f"Its report: {last['page'] or last['report']}", on=OUT)
    house = standing["house"]
    say(f"House: {house} is its page." if house else "House: none is up here; `dailies up` starts it.", on=OUT)
    ahead, when = standing["night"], "The night is open" if standing["night"]["open"] else "The next night begins"
    begins = f" since {clock(ahead['begins'], zone)}" if ahead["open"] else f" {clock(ahead['begins'], zone)}"
    missing = "" if house or ahead["open"] else ", if a house is up then"
    say(f"{when}{begins}, until {clock(ahead['ends'], zone)} ({zone}){missing}.", on=OUT)


_STATES: Mapping[str, str] = {"interrupted": "interrupted; `dailies render` continues it"}
"""What is said of a shot in `rendering`, where it is more than a word."""
_SILENT = 60
"""Seconds without a sign of life, six beats, after which it is said."""


def _batch(batch: Mapping[str, Any]) -> None:
    """The batch that is not over: how many shots are where, who is at what."""
    counts = ", ".join(f"{count} {status}" for status, count in batch["counts"].items())
    OUT.print(Text(f"Batch {batch['batch']} is {batch['status']}: {counts or 'no shot was handed out yet'}"))
    for run in batch["runs"]:
        late = run["silent_seconds"]
        silent = f" (nothing was heard of it for {duration(late)})" if late > _SILENT else ""
        OUT.print(Text(f"  {run['worker']}: {run['said'] or run['name']}{silent}"))
    if not batch["runs"]:
        OUT.print(Text("  no worker is at it now"))


def clock(at: str, zone: ZoneInfo) -> str:
    """`Sat 19:04`: a time of day in somebody's zone, with the day, which may not be the night's own."""
    return f"{datetime.fromisoformat(at).astimezone(zone):%a %H:%M}"


def checks(found: Sequence[Check], *, as_json: bool) -> None:
    """What the doctor found."""
    if as_json:
        names = ("name", "status", "detail", "remedy")
        document({"checks": [{name: getattr(check, name) for name in names} for check in found]})
        return
    for check in found:
        OUT.print(_styled(f"{check.status:8}").append_text(Text(f"{check.name:10} {check.detail}", style="default")))
        if check.status != "ok" and check.remedy:
            OUT.print(Text(f"{'':19}{check.remedy}", style="dim"))


@contextmanager
def progress(total: int) -> Iterator[None]:
    """Progress bars on a terminal, one line per finished step elsewhere; both on stderr."""
    if not ERR.is_terminal or logging.getLogger("dailies").level > logging.INFO:
        yield
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from tasks.progress import listening, percent

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[step]}", style="dim", markup=False),
        TimeElapsedColumn(),
        console=ERR,
    )
    shown: dict[str, Any] = {}
    lock = threading.Lock()
    logging.getLogger("dailies").setLevel(logging.ERROR)

    def listen(update: Progress) -> None:
        with lock:
            if update.slate not in shown:
                shown[update.slate] = bars.add_task(update.slate, total=100.0, step=update.step)
            bars.update(shown[update.slate], completed=percent(update), step=update.step)

    with bars, listening(listen):
        starting = bars.add_task(f"{total} shots", total=None, step="starting Prefect")

        def started(_: Progress) -> None:
            bars.update(starting, visible=False)

        with listening(started):
            yield
