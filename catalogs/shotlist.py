"""From a shot list to Shots, or to every problem of the file at once.

Knows: headers, rows' places, duplicates, and how rejected rows go back to their sender.
Does not know: the catalogue; what a row needs (request.py), how a cell is spelt (columns.py), how a
file is read (sheet.py). Memory: a few times the file, plus one plate at a time.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalogs.columns import (
    ALIASES,
    HEADERS,
    LONGEST_CODE,
    LONGEST_HEADER,
    CellError,
    read_code,
    read_folders,
    read_path,
)
from catalogs.filling import FOLDERS, Filling, fill
from catalogs.likeness import likeness
from catalogs.loras import LoraRules, Loras
from catalogs.plates import Plates
from catalogs.problems import Problem, problem
from catalogs.request import ModelRules, Terms, read_request
from catalogs.sheet import Row, Sheet, normal, read_sheet
from catalogs.shot import Shot
from catalogs.shotrow import Cells

LENGTHS = ("frames", "frame_in", "frame_out", "seconds")
"""Columns of which a list needs at least one."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell must not begin with in a CSV that we write: a spreadsheet would run it."""


MOST_SUGGESTIONS = 100
"""Unknown columns of which the likeness to a known one is told."""


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
    filling: Filling = field(default_factory=Filling)
    """What holds where the list says nothing, and what holds whatever it says."""
    night: float | None = None
    """Seconds of the window in which shots are made; None if nobody knows."""
    allow_new: bool = False
    """Whether two codes of the list may be nearly the same (catalogs.likeness)."""


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
    if any(normal(name) == "error" for name in table.header.cells):
        names = tuple(_as_sent(name) for name in table.header.cells)
        table = replace(table, header=replace(table.header, cells=names))
    found = list(table.problems)
    places, unknown = _columns(file, table, rules.filling, found)
    root = (rules.plate_root or path.parent).resolve()
    show = _default_show(path, table, places, rules, found)
    folders = (root, *(folder.resolve() for folder in rules.loras.folders))
    terms = Terms(
        show=show,
        model=rules.default_model,
        models=rules.models,
        plates=Plates(root),
        loras=Loras(rules.loras.installed, tuple(dict.fromkeys(folders))),
        night=rules.night,
    )
    shots: list[Shot] = []
    lines: dict[str, int] = {}
    codes = _Codes(rules.allow_new)
    broken = _broken(found)
    read_cells = _reader(file, table.header, rules, show=show, places=places, unknown=unknown)
    for row in table.rows:
        cells = read_cells(row, broken.get(row.line))
        codes.meet(cells, cells.text("show") or show)
        shot = read_request(cells, terms)
        found += cells.problems
        if shot is not None:
            shots.append(shot)
            lines[shot.name] = row.line
    if not table.rows and not any(one.severity == "error" for one in found):
        found.append(problem("E107", file, line=table.header.line))
    found = _once_per_column(file, table.header.line, {*places, *rules.filling.columns}, found)
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


@dataclass(slots=True)
class _Codes:
    """The codes that the list has named so far."""

    allow_new: bool
    first: dict[tuple[str, str], int] = field(default_factory=dict)
    """Show and code, folded -> line."""
    alike: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """Show, folded, and likeness -> code and line."""

    def meet(self, cells: Cells, show: str) -> None:
        """Notes that the row's shot stands there already, or one that is nearly it."""
        code = cells.text("shot")
        if not code or len(code) > LONGEST_CODE:
            return
        show = show.lower()
        line = self.first.setdefault((show, code.lower()), cells.line)
        if line != cells.line:
            cells.add("E305", "shot", {"other": line})
        elif not self.allow_new:
            other, line = self.alike.setdefault((show, likeness(code)), (code, cells.line))
            if line != cells.line:
                cells.add("E346", "shot", {"other": other, "line": line})


def _broken(found: Sequence[Problem]) -> dict[int, set[str]]:
    """Line -> columns, as the file spells them, of which an error is told before any row is read."""
    broken: dict[int, set[str]] = {}
    for one in found:
        if one.line and one.severity == "error":
            broken.setdefault(one.line, set()).add(one.column)
    return broken


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
    """A cell of a CSV that we write: what a spreadsheet would run as a formula begins with an apostrophe.

    So does what began with apostrophes and then as a formula: taking one off gives back every cell.
    """
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA) else cell


def _columns(file: str, sheet: Sheet, filling: Filling, found: list[Problem]) -> tuple[dict[str, int], dict[int, str]]:
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
            _check_header(file, header.line, name, found)
        elif any(row.cells[place] for row in sheet.rows):
            unknown[place] = f"column {place + 1}"
            found.append(problem("W202", file, line=header.line, column=unknown[place]))
    free = {spelling: column for spelling, column in HEADERS.items() if column not in places and len(spelling) > 3}
    for name in list(unknown.values())[:MOST_SUGGESTIONS]:
        if len(name) > 2 * max(map(len, free), default=0):
            continue
        close = difflib.get_close_matches(normal(name), free, n=1, cutoff=0.8)
        if close:
            words = {"name": free[close[0]]}
            found.append(problem("W201", file, line=header.line, column=name, words=words))
    given = {*places, *filling.columns, *(FOLDERS if "folder_path" in places else ())}
    missing = [] if "shot" in given else ["shot"]
    if not any(column in given for column in LENGTHS):
        missing.append("frames")
    found += [_missing(file, header.line, column) for column in missing]
    return places, unknown


def _check_header(file: str, line: int, name: str, found: list[Problem]) -> None:
    """A column that is kept as metadata is called by its name wherever it is shown."""
    try:
        read_path(name)
    except CellError as error:
        found.append(problem(error.code, file, line=line, column=name, words=error.words))
    if len(name) > LONGEST_HEADER:
        found.append(problem("E324", file, line=line, column=name, words={"limit": LONGEST_HEADER}))


def _missing(file: str, line: int, column: str) -> Problem:
    others = list(ALIASES[column]) + (list(LENGTHS[1:]) if column == "frames" else [])
    words = {"name": column, "aliases": ", ".join(others)}
    return problem("E201", file, line=line, column=column, words=words)


def _default_show(
    path: Path, sheet: Sheet, places: Mapping[str, int], rules: SubmissionRules, found: list[Problem]
) -> str:
    """The show of rows that name none; a problem, once, if there are such rows and it is no legal code."""
    if "show" in rules.filling.columns:
        return rules.default_show or ""
    if all(_names_show(row, places) for row in sheet.rows):
        return rules.default_show or ""
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


def _names_show(row: Row, places: Mapping[str, int]) -> bool:
    """Whether a row says which show it belongs to, in a column or in a folder path."""
    if "show" in places and row.cells[places["show"]]:
        return True
    try:
        return "folder_path" in places and "show" in read_folders(row.cells[places["folder_path"]])
    except CellError:
        return True  # it is told


def _reader(
    file: str,
    header: Row,
    rules: SubmissionRules,
    *,
    show: str,
    places: Mapping[str, int],
    unknown: Mapping[int, str],
) -> Callable[[Row, set[str] | None], Cells]:
    """What makes of a row its cells by column."""
    names = {column: header.cells[place] for column, place in places.items()}
    known = [(column, place) for column, place in places.items() if column != "error"]
    others = list(unknown.items())
    filling, spelt = rules.filling, rules.default_show is not None
    filled = bool(filling.columns) or "folder_path" in places

    def read(row: Row, broken: set[str] | None) -> Cells:
        cells = [_as_sent(cell) for cell in row.cells] if "error" in places else row.cells
        own = {column: cells[place] for column, place in known if cells[place]}
        made = Cells(
            file=file,
            line=row.line,
            cells=own,
            headers=names,
            metadata=tuple([(name, cells[place]) for place, name in others if cells[place]]),
        )
        made.told = broken or made.told
        if filled:
            made.headers = headers = dict(names)
            try:
                fill(own, headers, filling, show=show, spelt=spelt)
            except CellError as error:
                made.add(error.code, "folder_path", error.words)
        return made

    return read


def _as_sent(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def _once_per_column(file: str, line: int, places: Collection[str], found: Sequence[Problem]) -> list[Problem]:
    """One sentence for a column that is missing, in place of one for each row that needs it."""
    kept = list(found)
    for column, code in (("shot", "E301"), ("frames", "E309"), ("plate", "E401"), ("prompt", "E322")):
        absent = not any(name in places for name in LENGTHS) if column == "frames" else column not in places
        if absent and any(one.code == code for one in kept):
            kept = [one for one in kept if one.code != code]
            if column in ("plate", "prompt"):
                kept.append(_missing(file, line, column))
    return kept
