"""A list as text cells that know their line. No cell is interpreted here.

Knows: encodings, separators, quoting, line numbers, bounds on size. Does not know: columns' meanings; workbooks
(workbook.py). Memory: a few times the file, which may have LARGEST bytes.
"""

from __future__ import annotations

import codecs
import csv
import io
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from catalogs.problems import Problem, problem
from catalogs.workbook import Grid, read_workbook

LARGEST: Final = 64 * 1024 * 1024
"""Bytes that a list may have: a hundred thousand rows with long prompts are far below."""

MOST_ROWS: Final = 100_000
"""Rows that a list may have below its column names; 64 MB of empty rows would otherwise be tens of millions."""

MOST_COLUMNS: Final = 1000
"""Columns that a list may have; each costs pandas kilobytes."""

MOST_CELLS: Final = 5_000_000
"""Cells of the table, short rows filled up."""

LONGEST_CELL: Final = 1_000_000
"""Characters that one cell may have; far more means a quote that was never closed."""

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may stand between cells, with its name."""

ZIPPED: Final = b"PK\x03\x04"
"""First bytes of a workbook."""

OTHER_FORMATS: Final = {
    b"\xd0\xcf\x11\xe0": "XLS spreadsheets",
    b"%PDF": "PDF files",
    b"PK\x05\x06": "empty ZIP archives",
}
"""First bytes of files that people send instead."""

ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
"""What stands in the envelope of a workbook with a password, which begins as an old XLS does."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the file."""

    line: int
    """Line in which it begins, counted from 1: quoted line breaks and blank lines count."""
    cells: tuple[str, ...]
    """As many as the header has, stripped of white space around them."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that could be read."""

    header: Row
    rows: tuple[Row, ...]
    """Rows with at least one cell that is not empty."""
    problems: tuple[Problem, ...]
    """Notices on the reading, and rows that do not fit the header."""


def read_sheet(path: Path, *, known: frozenset[str], sheet: str | None = None) -> Sheet | Problem:
    """The cells of a CSV file or of a workbook's sheet, or the one problem for which it cannot be read at all.

    `known` are header spellings, normalised (see `normal`): the separator is the one that finds most. `sheet` is a
    workbook's; without it the first visible one.
    """
    file = str(path)
    raw = _bytes(path)
    if isinstance(raw, Problem):
        return raw
    if raw.startswith(ZIPPED):
        grid = read_workbook(file, raw, sheet=sheet, most_rows=MOST_ROWS, most_cells=MOST_CELLS)
        return grid if isinstance(grid, Problem) else _assemble(file, grid)
    if sheet is not None and not raw.startswith(tuple(OTHER_FORMATS)):
        words = {"remedy": "leave out --sheet: a CSV is one table"}
        return problem("E114", file, column="--sheet", value=sheet, words=words)
    decoded = _text(file, raw)
    return decoded if isinstance(decoded, Problem) else _csv(file, *decoded, known)


def _csv(file: str, text: str, notices: list[Problem], known: frozenset[str]) -> Sheet | Problem:
    if not text.strip():
        return problem("E106", file)
    separator = _separator(text, known)
    lines: list[int] = []
    widths: list[int] = []
    scan = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    limit = csv.field_size_limit(LONGEST_CELL)
    begin = 1
    try:
        for record in scan:
            lines.append(begin)
            widths.append(len(record))
            begin = scan.line_num + 1
            if len(lines) > MOST_ROWS + 1:
                return problem("E111", file, words={"limit": f"{MOST_ROWS:,} rows"})
    except csv.Error as error:
        return problem("E108", file, line=begin, words={"detail": str(error)})
    finally:
        csv.field_size_limit(limit)
    if max(widths) > MOST_COLUMNS:
        return problem("E111", file, words={"limit": f"{MOST_COLUMNS:,} columns"})
    if max(widths) * len(lines) > MOST_CELLS:
        return problem("E111", file, words={"limit": f"{MOST_CELLS:,} cells"})
    table = _table(text, separator, max(widths))
    # Two parsers that disagree would put wrong line numbers on right complaints.
    if table is None or len(table) != len(lines):
        return problem("E108", file, words={"detail": "its quotes can be read in two ways"})
    return _assemble(file, Grid(lines, table, [(one, -1) for one in notices]), widths=widths, separator=separator)


def normal(header: str) -> str:
    """A header as it is compared: without case, spaces, underscores."""
    return "".join(header.split()).replace("_", "").casefold()


def _bytes(path: Path) -> bytes | Problem:
    file = str(path)
    try:
        status = path.stat()
        # Before opening: reading a pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            return problem("E102", file)
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return problem("E101", file, words={"detail": (reason or str(error)).lower()})
    if len(raw) > LARGEST:
        return problem("E103", file, words={"limit": LARGEST // 1024**2})
    return raw


def _text(file: str, raw: bytes) -> tuple[str, list[Problem]] | Problem:
    if raw.startswith(b"\xd0\xcf\x11\xe0") and ENCRYPTED in raw:
        return problem("E112", file)
    for signature, name in OTHER_FORMATS.items():
        if raw.startswith(signature):
            return problem("E104", file, words={"detail": name})
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return problem("E105", file, words={"detail": "UTF-16 text"})
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        return problem("E105", file, line=line, words={"detail": "a NUL byte"})
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
    try:
        return raw.decode("cp1252"), [problem("W101", file, line=line)]
    except UnicodeDecodeError:
        return problem("E110", file, line=line)


def _separator(text: str, known: frozenset[str]) -> str:
    """The separator under which the first row holds most known headers, then most cells."""
    lines = io.StringIO(text, newline="")
    first = next((line for line in lines if line.strip(",;\t \r\n")), "").rstrip("\r\n")

    def fitness(separator: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([first], delimiter=separator), [])
        except csv.Error:  # the scan that follows says what is wrong, with its line
            return 0, 0
        return sum(normal(cell) in known for cell in cells), len(cells)

    return max(SEPARATORS, key=fitness)


def _table(text: str, separator: str, width: int) -> list[list[str]] | None:
    """Every cell as text: `001`, `NA` and `1e5` stay what they are. None if pandas cannot parse it."""
    import pandas

    try:
        frame = pandas.read_csv(
            io.StringIO(text, newline=""),
            sep=separator,
            header=None,
            names=list(range(max(width, 1))),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
        )
    except pandas.errors.ParserError:
        return None
    cells: list[list[str]] = frame.fillna("").to_numpy().tolist()
    return cells


def _assemble(file: str, grid: Grid, *, widths: list[int] | None = None, separator: str = "") -> Sheet | Problem:
    """The header and the rows of a table; `widths` are a CSV's own, before short rows were filled up."""
    header: Row | None = None
    width = 0
    rows: list[Row] = []
    beyond: list[Problem] = []
    for place, (line, record) in enumerate(zip(grid.lines, grid.cells, strict=True)):
        cells = tuple([cell.strip() for cell in record]) if widths else tuple(record)
        if not any(cells):
            continue
        if header is None:
            width = widths[place] if widths else len(cells)
            if width > MOST_COLUMNS:
                return problem("E111", file, words={"limit": f"{MOST_COLUMNS:,} columns"})
            header = Row(line, cells[:width])
            continue
        if len(cells) > width and (over := next(filter(None, cells[width:]), "")):
            words = {"mark": SEPARATORS[separator]}
            beyond.append(problem("E109", file, line=line, value=over, words=words))
        rows.append(Row(line, cells[:width] + ("",) * (width - len(cells))))
    if header is None:
        return problem("E106", file)
    # a cell's own problems are told by the name of its column, once there is one
    told = [
        replace(one, column=header.cells[place]) if place >= 0 and header.cells[place] and one.line else one
        for one, place in grid.problems
    ]
    return Sheet(header, tuple(rows), (*told, *beyond))
