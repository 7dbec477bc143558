"""`dailies submit`: a shot list into the catalogue. Parse, call, print; nothing heavy early.

Exit codes: 0 taken in (or nothing to do); 2 refused, nothing changed; 3 the catalogue cannot be used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from catalogs.problems import Problem
    from catalogs.submission import Kept, SubmissionResult
    from flows.lists import Outcome

TAKEN, REFUSED = 0, 2

NAMED = 20
"""Shots that a dry run names of each kind; --json names all."""


def submit(
    file: Annotated[Path, typer.Argument(help="A shot list: CSV or XLSX.")],
    mode: Annotated[str, typer.Option(help="create, update or upsert: which shots the list may bring.")] = "create",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")] = False,
    errors: Annotated[Path | None, typer.Option(help="Write the rejected rows here, with a column `error`.")] = None,
    show: Annotated[str | None, typer.Option(help="Show of rows that name none; default the file's stem.")] = None,
    submitted_by: Annotated[str, typer.Option(help="Who asks; kept with the submission.")] = "",
    allow_new: Annotated[
        bool, typer.Option("--allow-new", help="Take in new shots whose codes resemble ones of the catalogue.")
    ] = False,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook; default the first visible one.")] = None,
    default: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="For rows whose cell is empty; may hold {shot}. Repeatable."),
    ] = None,
    set_to: Annotated[
        list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="For all rows, whatever the list says.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")] = False,
) -> None:
    """Take a shot list into the catalogue: all of it or none of it."""
    from desk import show as view
    from flows import lists
    from flows.settings import Settings

    outcome = lists.submit(
        file,
        Settings.read(),
        mode=mode,
        dry_run=dry_run,
        errors=errors,
        show=show,
        submitted_by=submitted_by,
        allow_new=allow_new,
        sheet=sheet,
        defaults=default or (),
        fixed=set_to or (),
    )
    if as_json:
        view.document(submission_json(outcome))
    else:
        _told(outcome, dry_run=dry_run)
    raise typer.Exit(TAKEN if outcome.accepted else REFUSED)


def submission_json(outcome: Outcome) -> dict[str, Any]:
    """The document of `dailies submit --json`."""
    result = outcome.result
    return {
        "accepted": len(result.accepted) if result else 0,
        "changed": len(result.changed) if result else 0,
        "unchanged": len(result.unchanged) if result else 0,
        "shots": list(result.accepted) if result else [],
        "new": list(result.new) if result else [],
        "differences": [
            {
                "shot": change.shot,
                "status": change.status.value,
                "renders_again": change.renders,
                "takes": change.takes,
                "columns": [{"column": one.column, "old": one.old, "new": one.new} for one in change.differences],
            }
            for change in (result.changes if result else ())
        ],
        "absent": list(result.absent) if result else [],
        "kept": [_kept_json(kept) for kept in (result.kept if result else ())],
        "superseded": result.superseded if result else 0,
        "errors": [_problem_json(problem) for problem in outcome.errors],
        "warnings": [_problem_json(problem) for problem in outcome.warnings],
    }


def _kept_json(kept: Kept) -> dict[str, Any]:
    changes = [{"field": one.field, "listed": one.old, "now": one.new} for one in kept.changes]
    return {"shot": kept.shot, "changes": changes}


def _problem_json(problem: Problem) -> dict[str, Any]:
    fields = asdict(problem)
    return {name: fields[name] for name in ("line", "column", "value", "code", "message", "remedy")}


def _told(outcome: Outcome, *, dry_run: bool) -> None:
    """Problems on stderr, one a line, for people and for grep; what is new, changed and unchanged on stdout."""
    from desk.show import ERR, OUT, counted, say

    for problem in (*outcome.warnings, *outcome.errors):
        print(problem, file=sys.stderr)  # noqa: T201 - wrapped by nobody
    result = outcome.result
    if result is None:
        where = f"; the rejected rows are in {outcome.rejected}" if outcome.rejected else ""
        problems = counted(len(outcome.errors), "problem")
        say(f"Nothing was submitted, good rows neither: {problems}{where}.", "red", on=ERR)
        return
    if dry_run:
        _difference(result)
    for kept in result.kept:
        fields = ", ".join(f"{one.field.replace('_', ' ')} {one.new!r}" for one in kept.changes)
        say(f"{kept.shot} keeps what a retake changed since the last list: {fields}.", on=OUT)
    if not result.new and not result.changed:
        there = counted(len(result.unchanged), "shot")
        say(
            f"Nothing {'would change' if dry_run else 'changed'}: {there} of the list stand in the catalogue so.",
            on=OUT,
        )
        return
    would = "would be " if dry_run else ""
    changed, unchanged = len(result.changed), len(result.unchanged)
    say(f"{counted(len(result.new), 'shot')} {would}new, {changed} {would}changed, {unchanged} unchanged.", on=OUT)
    if dry_run and result.superseded:
        say(f"{counted(result.superseded, 'finished take')} would be replaced by new ones.", on=OUT)


def _difference(result: SubmissionResult) -> None:
    """Shot by shot, what a list would change."""
    changes = [f"{change.shot}: {'; '.join(map(_short, change.differences))}" for change in result.changes]
    _named("new", result.new)
    _named("changed", changes)
    _named("in the catalogue, not in the list", result.absent)


def _named(what: str, lines: Sequence[str]) -> None:
    from desk.show import OUT, say

    for line in lines[:NAMED]:
        say(f"{what}: {line}", on=OUT)
    if len(lines) > NAMED:
        say(f"{what}: {len(lines) - NAMED:,} more; --json has all of them", on=OUT)


def _short(difference: Any) -> str:
    """`prompt: the sea to the sea at dawn`; what is long is cut."""
    from catalogs.problems import SHOWN

    old, new = (
        (text if len(text) <= SHOWN else text[: SHOWN - 1] + "…") or "nothing"
        for text in (" ".join(difference.old.split()), " ".join(difference.new.split()))
    )
    return f"{difference.column}: {old} to {new}"
