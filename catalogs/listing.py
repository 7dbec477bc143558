"""Shots as a list that can be submitted again and changes nothing.

Knows: which columns a list of these shots needs, escapes, how much one file may hold. Does not know: the spelling of a
cell (catalogs.cells), files. Memory: the shots, and one text of at most sheet.LARGEST.

Every list has an `error` column without a word in it: that is what tells a reader of ours to take the apostrophes off
which keep a spreadsheet from running a cell.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from catalogs.cells import COLUMNS, kept_cells, shot_cells
from catalogs.sheet import LARGEST, MOST_CELLS, MOST_ROWS
from catalogs.shot import Shot
from catalogs.shotlist import harmless

ALWAYS = ("show", "sequence", "shot", "frames")
"""Columns that a list has even if no shot needs them."""

_ROOM = LARGEST - 1024
_ERROR, _LORAS = "error", "loras"


@dataclass(frozen=True, slots=True)
class ShotList:
    """One file's worth."""

    text: str
    """As a spreadsheet reads it, lines ended as spreadsheets do."""
    shots: int
    """How many shots it has."""


def shot_lists(shots: Sequence[Shot], root: PurePath | None = None) -> Iterator[ShotList]:
    """The shots in their order as lists, as few as a reader of ours takes them in; below `root` paths are relative."""
    columns, kept = _columns(shots)
    header = [*columns, *(name for name, _ in kept), _ERROR]
    most = min(MOST_ROWS, MOST_CELLS // len(header) - 1)
    text, count, size = _begun(header)
    for shot in shots:
        cells = shot_cells(shot, root)
        mine = {(name, number): value for name, number, value in kept_cells(shot)}
        if (_LORAS, 0) in mine:  # those that the shot's model does not apply
            cells[_LORAS] = mine[_LORAS, 0]
        line = _line([*(cells[column] for column in columns), *(mine.get(one, "") for one in kept), ""])
        added = len(line.encode())
        if count and (count == most or size + added > _ROOM):
            yield ShotList("".join(text), count)
            text, count, size = _begun(header)
        text.append(line)
        count, size = count + 1, size + added
    yield ShotList("".join(text), count)


def _columns(shots: Sequence[Shot]) -> tuple[list[str], list[tuple[str, int]]]:
    """The columns in which some shot has a cell, and the headers of metadata, each as often as one shot has it."""
    used = set(ALWAYS)
    kept: dict[tuple[str, int], None] = {}
    for shot in shots:
        if len(used) < len(COLUMNS):
            used.update(column for column, cell in shot_cells(shot).items() if cell)
        kept.update(dict.fromkeys((name, number) for name, number, _ in kept_cells(shot)))
    if kept.pop((_LORAS, 0), 0) is None:
        used.add(_LORAS)
    return [column for column in COLUMNS if column in used], list(kept)


def _begun(header: Sequence[str]) -> tuple[list[str], int, int]:
    first = _line(header)
    return [first], 0, len(first.encode())


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow([harmless(cell) for cell in cells])
    return line.getvalue()
