"""An XLSX workbook as text cells that know their row. No cell is interpreted beyond what its sheet shows.

Knows: which sheet is meant, how numbers, dates and percentages are spelt. Does not know: columns' meanings; archives
and XML (parts.py). Memory: a few times the unpacked sheet, which parts.py bounds.

python-calamine reads the values: in Rust, without entities, and 100,000 rows of 12 columns in 1.0 s where openpyxl
takes 5.2 s. What it does not tell (percentages, formulas, errors, hidden rows) and what it
trusts (sizes) parts.py reads before.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from catalogs.parts import (
    RELATIONS,
    WIDEST,
    WORKBOOK,
    LimitError,
    Marks,
    PartError,
    SheetName,
    Styles,
    judge_strings,
    marks,
    opened,
    packed,
    related,
    sheets,
    styles_in,
    unpacked,
)
from catalogs.problems import Problem, problem

FOREIGN: Final[Mapping[str, str]] = {
    "xl/workbook.bin": "XLSB workbooks",
    "content.xml": "OpenDocument spreadsheets (ODS)",
    "Index/Document.iwa": "Numbers spreadsheets",
    "word/document.xml": "Word documents",
    "ppt/presentation.xml": "PowerPoint files",
}
"""Parts by which other zipped files are known, and what those are called."""

SHOWN: Final = 10
"""Sheets that a message names at most."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text, wherever it came from."""

    lines: list[int]
    """The line or spreadsheet row of each of `cells`, counted from 1."""
    cells: list[list[str]]
    """Rows in order, all of one width."""
    problems: list[tuple[Problem, int]]
    """Notices, and cells that hold nothing that could be read, each with its column's place; -1 for none."""


def read_workbook(file: str, raw: bytes, *, sheet: str | None, most_rows: int, most_cells: int) -> Grid | Problem:
    """The first visible sheet, or the one called `sheet`; or the one problem for which it cannot be read at all."""
    try:
        archive = opened(raw)
        foreign = next((FOREIGN[name] for name in FOREIGN if name in archive.namelist()), None)
        if WORKBOOK not in archive.namelist():
            return problem("E104", file, words={"detail": foreign or "ZIP archives"})
        parts = unpacked(archive, [WORKBOOK, RELATIONS])
        known = related(parts.get(RELATIONS, b"<none/>"))
        names = sheets(parts[WORKBOOK], {key: part for key, kind, part in known if kind == "worksheet"})
        chosen = _chosen(file, names, sheet)
        if isinstance(chosen, Problem):
            return chosen
        styles = next((part for _, kind, part in known if kind == "styles"), "")
        strings = next((part for _, kind, part in known if kind == "sharedStrings"), "")
        parts = unpacked(archive, [WORKBOOK, RELATIONS, styles, strings, chosen.part])
        if chosen.part not in parts:
            raise PartError(f"the sheet {chosen.name} is missing")
        if strings in parts:
            judge_strings(strings, parts[strings])
        shown = styles_in(styles, parts[styles]) if styles in parts else Styles()
        made = marks(chosen.part, parts[chosen.part], styles=shown, most_cells=most_cells)
        rows = made.last_row > most_rows + 1  # and one of column names
        if rows or made.width * made.last_row > most_cells:
            raise LimitError(f"{most_rows:,} rows" if rows else f"{most_cells:,} cells")
        return _grid(file, parts, chosen, made, most_cells)
    except LimitError as error:
        return problem("E111", file, words={"limit": str(error)})
    except PartError as error:
        return problem("E113", file, words={"detail": str(error)})
    except zipfile.BadZipFile:
        return problem("E113", file, words={"detail": "its archive is damaged"})


def _chosen(file: str, names: list[SheetName], wanted: str | None) -> SheetName | Problem:
    """The sheet that is meant: by its name whatever its case, or the first that people see."""
    seen = [one for one in names if not one.hidden]
    if wanted is None:
        if seen or names:
            return (seen or names)[0]
        raise PartError("it has no sheet")
    for one in names:
        if one.name == wanted or one.name.casefold() == wanted.casefold():
            return one
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    listed = ", ".join(one.name + (" (hidden)" if one.hidden else "") for one in names[:SHOWN])
    return problem("E114", file, column="--sheet", value=wanted, words={"remedy": f"use {listed}{more}"})


def _grid(file: str, parts: dict[str, bytes], chosen: SheetName, made: Marks, most_cells: int) -> Grid:
    lines: list[int] = []
    rows: list[list[str]] = []
    problems: list[tuple[Problem, int]] = []
    strange = made.percent | made.formulas | made.errors | made.zeros.keys()
    touched = {cell // WIDEST for cell in strange}
    for line, values in enumerate(_values(parts, chosen, made), start=1):
        if line not in touched:
            cells = [value.strip() if isinstance(value, str) else _text(value) for value in values]
        else:
            cells = [
                _odd(file, line, place, value, made, problems)
                if line * WIDEST + place in strange
                else (value.strip() if isinstance(value, str) else _text(value))
                for place, value in enumerate(values)
            ]
        lines.append(line)
        rows.append(cells)
    if made.computed:
        problems.append((problem("W102", file, words={"count": f"{made.computed:,}"}), -1))
    if made.hidden:
        problems.append((problem("W104", file, words={"count": f"{made.hidden:,}", "sheet": chosen.name}), -1))
    _unmerge(file, rows, made, problems, most_cells)
    return Grid(lines, rows, problems)


def _values(parts: dict[str, bytes], chosen: SheetName, made: Marks) -> Sequence[Sequence[object]]:
    """Every row from the first, with every column from A. Raises PartError."""
    import python_calamine

    if not made.width:
        return []
    try:
        with python_calamine.CalamineWorkbook.from_filelike(packed(parts)) as book:
            return book.get_sheet_by_name(chosen.name).to_python(skip_empty_area=False)
    except Exception as error:  # whatever a broken part leads it to
        raise PartError(" ".join(str(error).split())[:100] or type(error).__name__) from error
    except BaseException as error:  # a panic in Rust is no Exception, and no reason to end whoever reads lists
        if type(error).__name__ != "PanicException":
            raise
        raise PartError("its sheet is damaged") from error


def _odd(file: str, line: int, place: int, value: object, made: Marks, problems: list[tuple[Problem, int]]) -> str:
    """A cell that is shown as something else than its value."""
    cell = line * WIDEST + place
    if cell in made.errors:
        problems.append((problem("E116", file, line=line, column=_letters(place)), place))
        return ""
    if cell in made.formulas and value in ("", None):
        problems.append((problem("E115", file, line=line, column=_letters(place)), place))
        return ""
    if cell in made.percent and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value * 100:.10g}%"
    if cell in made.zeros and isinstance(value, int | float) and 0 <= value < 1e15 and value == int(value):
        words, digits = made.zeros[cell]
        return f"{words}{int(value):0{digits}d}"
    return value.strip() if isinstance(value, str) else _text(value)


def _text(value: object) -> str:
    """A value as people type it: 24.0 is `24`, a date ISO, a logical value TRUE or FALSE."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        # fifteen digits are what a spreadsheet keeps and shows; the rest is what binary makes of 23.976
        return f"{value:.15g}" if abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        hours, rest = divmod(round(value.total_seconds()), 3600)
        return f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return "" if value is None else str(value).strip()


def _unmerge(
    file: str, rows: list[list[str]], made: Marks, problems: list[tuple[Problem, int]], most_cells: int
) -> None:
    """A cell that reaches over several rows stands in each of them, as people see it."""
    left = most_cells
    for top, bottom, place in made.merged:
        if top > len(rows) or place >= made.width or not rows[top - 1][place]:
            continue
        last = min(bottom, len(rows))
        left -= last - top + 1
        if left < 0:
            raise LimitError(f"{most_cells:,} cells")
        value = rows[top - 1][place]
        for row in rows[top:last]:
            row[place] = row[place] or value
        words = {"first": top, "last": last}
        problems.append((problem("W103", file, line=top, column=_letters(place), value=value, words=words), place))


def _letters(place: int) -> str:
    """A column as a spreadsheet calls it: 0 is A, 27 is AB."""
    name = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        name = chr(65 + letter) + name
    return name
