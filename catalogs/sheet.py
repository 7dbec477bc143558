"""A CSV file as text cells that know their line. No cell is interpreted here.

Knows: encodings, separators, quoting, line numbers, bounds on size. Does not know: columns' meanings.
Memory: a few times the file, which may have LARGEST bytes.
"""

from __future__ import annotations

import codecs
import csv
import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalogs.problems import Problem, problem

LARGEST: Final = 64 * 1024 * 1024
"""Bytes that a list may have: a hundred thousand rows with long prompts are far below."""

MOST_ROWS: Final = 100_000
"""Rows that a list may have; 64 MB of empty rows would otherwise be tens of millions."""

MOST_COLUMNS: Final = 1000
"""Columns that a list may have; each costs pandas kilobytes."""

MOST_CELLS: Final = 5_000_000
"""Cells of the table, short rows filled up."""

LONGEST_CELL: Final = 1_000_000
"""Characters that one cell may have; far more means a quote that was never closed."""

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may stand between cells, with its name."""

OTHER_FORMATS: Final = {
    b"PK\x03\x04": "XLSX and other zipped spreadsheets",
    b"\xd0\xcf\x11\xe0": "XLS spreadsheets",
    b"%PDF": "PDF files",
}
"""First bytes of files that people send instead of CSV."""


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


def read_sheet(path: Path, *, known: frozenset[str]) -> Sheet | Problem:
    """The cells of a CSV file, or the one problem for which it cannot be read at all.

    `known` are header spellings, normalised (see `normal`): the separator is the one that finds most.
    """
    file = str(path)
    raw = _bytes(path)
    if isinstance(raw, Problem):
        return raw
    decoded = _text(file, raw)
    if isinstance(decoded, Problem):
        return decoded
    text, notices = decoded
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
            if len(lines) > MOST_ROWS:
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
    return _assemble(file, table, lines, widths, separator, notices)


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


def _assemble(
    file: str,
    table: list[list[str]],
    lines: list[int],
    widths: list[int],
    separator: str,
    notices: list[Problem],
) -> Sheet | Problem:
    header: Row | None = None
    width = 0
    rows: list[Row] = []
    problems = list(notices)
    for line, own, record in zip(lines, widths, table, strict=True):
        cells = tuple(cell.strip() for cell in record)
        if not any(cells):
            continue
        if header is None:
            header, width = Row(line, cells[:own]), own
            continue
        beyond = [cell for cell in cells[width:] if cell]
        if beyond:
            words = {"mark": SEPARATORS[separator]}
            problems.append(problem("E109", file, line=line, value=beyond[0], words=words))
        rows.append(Row(line, cells[:width] + ("",) * (width - len(cells))))
    if header is None:
        return problem("E106", file)
    return Sheet(header, tuple(rows), tuple(problems))
