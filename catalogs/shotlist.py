"""From a shot list to Shots, or to every problem of the file at once.

Knows: headers, rows' places, duplicates, and how rejected rows go back to their sender.
Does not know: the catalogue; what a row needs (request.py), how a cell is spelt (columns.py), how a
file is read (sheet.py). Memory: a few times the file, plus one plate at a time.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catalogs.columns import ALIASES, HEADERS, CellError, read_code
from catalogs.loras import LoraRules, Loras
from catalogs.plates import Plates
from catalogs.problems import Problem, problem
from catalogs.request import Cells, ModelRules, Terms, read_request
from catalogs.sheet import Row, Sheet, normal, read_sheet
from catalogs.shot import Shot

LENGTHS = ("frames", "frame_in", "frame_out", "seconds")
"""Columns of which a list needs at least one."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell must not begin with in a CSV that we write: a spreadsheet would run it."""


@dataclass(frozen=True, slots=True)
class SubmissionRules:
    """What the caller knows and a shot list does not say."""

    models: Mapping[str, ModelRules]
    """Every model that a row may ask for, by its card's name."""
    default_model: str = "animatic"
    """Model of rows that name none."""
    default_show: str | None = None
    """Show of rows that name none; None means the file's stem."""
    plate_root: Path | None = None
    """Folder of all plates; None means the list's own folder."""
    loras: LoraRules = field(default_factory=LoraRules)
    """Which LoRAs are installed, and which folders beside the plates' their paths may lead into."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a shot list says. With one problem or more there are no shots: all of it or none of it."""

    file: str
    """The list as the caller named it."""
    shots: tuple[Shot, ...] = ()
    """In file order; empty if there are problems."""
    problems: tuple[Problem, ...] = ()
    """Errors, by line."""
    warnings: tuple[Problem, ...] = ()
    """Notices, by line."""
    header: tuple[str, ...] = ()
    """Column names as the file spells them."""
    rows: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Line -> cells, one for each column name, for every row that is not blank."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Name of each of `shots` -> its line; what Catalogue.submit takes for its messages."""


def read_shot_list(path: Path, rules: SubmissionRules, *, sheet: str | None = None) -> ReadResult:
    """Reads a CSV file or a sheet of a workbook in full and judges all of it. Raises nothing for what the file holds.

    `sheet` names one of a workbook's; without it the first visible one is read.
    """
    file = str(path)
    table = read_sheet(path, known=frozenset(HEADERS), sheet=sheet)
    if isinstance(table, Problem):
        return ReadResult(file=file, problems=(table,))
    found = list(table.problems)
    places, unknown = _columns(file, table, found)
    root = (rules.plate_root or path.parent).resolve()
    show = _default_show(path, table, places, rules, found)
    folders = (root, *(folder.resolve() for folder in rules.loras.folders))
    terms = Terms(
        show=show,
        model=rules.default_model,
        models=rules.models,
        plates=Plates(root),
        loras=Loras(rules.loras.installed, tuple(dict.fromkeys(folders))),
    )
    shots: list[Shot] = []
    lines: dict[str, int] = {}
    first: dict[tuple[str, str], int] = {}
    broken: dict[int, set[str]] = {}
    for one in found:
        if one.line and one.severity == "error":
            broken.setdefault(one.line, set()).add(one.column)
    for row in table.rows:
        cells = _cells(file, table.header, row, places=places, unknown=unknown)
        cells.told = broken.get(row.line, set())
        name = ((cells.text("show") or show).lower(), cells.text("shot").lower())
        if name[1] and first.setdefault(name, row.line) != row.line:
            cells.add("E305", "shot", {"other": first[name]})
        shot = read_request(cells, terms)
        found += cells.problems
        if shot is not None:
            shots.append(shot)
            lines[shot.name] = row.line
    if not table.rows and not any(one.severity == "error" for one in found):
        found.append(problem("E107", file, line=table.header.line))
    found = _once_per_column(file, table.header.line, places, found)
    found.sort(key=lambda one: one.line)
    problems = tuple(one for one in found if one.severity == "error")
    return ReadResult(
        file=file,
        shots=() if problems else tuple(shots),
        problems=problems,
        warnings=tuple(one for one in found if one.severity == "warning"),
        header=table.header.cells,
        rows={row.line: row.cells for row in table.rows},
        lines={} if problems else lines,
    )


def write_errors(path: Path, result: ReadResult) -> None:
    """Writes the rejected rows with their own columns and an `error` column, to be corrected and sent again.

    Cells that a spreadsheet would run as a formula begin with an apostrophe; reading a list with an
    `error` column takes it off. Replaces the file at once or not at all. Raises OSError.
    """
    keep = [place for place, name in enumerate(result.header) if normal(name) != "error"]
    said: dict[int, list[Problem]] = {}
    for one in result.problems:
        said.setdefault(one.line if one.line in result.rows else 0, []).append(one)
    table = [[result.header[place] for place in keep] + ["error"]]
    for line in sorted(said):
        cells = result.rows.get(line, ("",) * len(result.header))
        reasons = "\n".join(str(one).removeprefix(f"{one.file}:{line}: ") for one in said[line])
        table.append([cells[place] for place in keep] + [reasons])
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # A byte order mark, because Excel takes a CSV without one for cp1252.
        with draft.open("w", encoding="utf-8-sig", newline="") as stream:
            csv.writer(stream).writerows([harmless(cell) for cell in cells] for cells in table)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def harmless(cell: str) -> str:
    """A cell of a CSV that we write: what a spreadsheet would run as a formula begins with an apostrophe."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _columns(file: str, sheet: Sheet, found: list[Problem]) -> tuple[dict[str, int], dict[int, str]]:
    """Where each known column stands, and the names of the others; says what is wrong with the header."""
    header = sheet.header
    places: dict[str, int] = {}
    unknown: dict[int, str] = {}
    for place, name in enumerate(header.cells):
        column = HEADERS.get(normal(name))
        if column is not None and column in places:
            words = {"name": column, "detail": f"'{header.cells[places[column]]}' and '{name}'"}
            found.append(problem("E202", file, line=header.line, column=name, words=words))
        elif column is not None:
            places[column] = place
        elif name:
            unknown[place] = name
        elif any(row.cells[place] for row in sheet.rows):
            unknown[place] = f"column {place + 1}"
            found.append(problem("W202", file, line=header.line, column=unknown[place]))
    free = {spelling: column for spelling, column in HEADERS.items() if column not in places and len(spelling) > 3}
    for name in unknown.values():
        close = difflib.get_close_matches(normal(name), free, n=1, cutoff=0.8)
        if close:
            words = {"name": free[close[0]]}
            found.append(problem("W201", file, line=header.line, column=name, words=words))
    missing = [] if "shot" in places else ["shot"]
    if not any(column in places for column in LENGTHS):
        missing.append("frames")
    found += [_missing(file, header.line, column) for column in missing]
    return places, unknown


def _missing(file: str, line: int, column: str) -> Problem:
    others = list(ALIASES[column]) + (list(LENGTHS[1:]) if column == "frames" else [])
    words = {"name": column, "aliases": ", ".join(others)}
    return problem("E201", file, line=line, column=column, words=words)


def _default_show(
    path: Path, sheet: Sheet, places: Mapping[str, int], rules: SubmissionRules, found: list[Problem]
) -> str:
    """The show of rows that name none; a problem, once, if there are such rows and it is no legal code."""
    if "show" in places and all(row.cells[places["show"]] for row in sheet.rows):
        return ""
    show = path.stem if rules.default_show is None else rules.default_show
    try:
        return read_code(show)
    except CellError as error:
        file = str(path)
        if rules.default_show is None:
            found.append(problem("E203", file, value=show))
        else:
            found.append(problem(error.code, file, column="--show", value=show, words=error.words))
        return ""


def _cells(file: str, header: Row, row: Row, *, places: Mapping[str, int], unknown: Mapping[int, str]) -> Cells:
    cells = list(row.cells)
    if "error" in places:
        cells = [_as_sent(cell) for cell in cells]
    return Cells(
        file=file,
        line=row.line,
        cells={column: cells[place] for column, place in places.items()},
        headers={column: header.cells[place] for column, place in places.items()},
        metadata=tuple((name, cells[place]) for place, name in unknown.items() if cells[place]),
    )


def _as_sent(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _once_per_column(file: str, line: int, places: Mapping[str, int], found: Sequence[Problem]) -> list[Problem]:
    """One sentence for a column that is missing, in place of one for each row that needs it."""
    kept = list(found)
    for column, code in (("shot", "E301"), ("frames", "E309"), ("plate", "E401"), ("prompt", "E322")):
        absent = not any(name in places for name in LENGTHS) if column == "frames" else column not in places
        if absent and any(one.code == code for one in kept):
            kept = [one for one in kept if one.code != code]
            if column in ("plate", "prompt"):
                kept.append(_missing(file, line, column))
    return kept
