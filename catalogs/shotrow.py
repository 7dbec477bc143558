"""One row: its cells, what is wrong with them, and its typed columns.

The columns are a pydantic model whose validators are the readers of columns.py.

Knows: which reader each column has. Does not know: other columns, plates, models; a row's own rules are request.py's.
Memory: one row, and for each reader the last KEPT short cells with their values: lists repeat themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from functools import lru_cache, partial
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from catalogs import columns
from catalogs.anchors import read_anchors
from catalogs.columns import CellError, Size
from catalogs.problems import Problem, problem
from catalogs.shot import LONGEST, MOST_REROLLS, SHORTEST, Delivery

T = TypeVar("T")

KEPT: Final = 2048
"""Cells of a column whose values are kept."""

SHORT: Final = 100
"""Characters of a cell that is kept at most."""

MOST_FRAMES: Final = 10_000_000
"""Highest frame number that an edit may name."""

MOST_OVERLAP: Final = 10_000
"""Native frames of an overlap; the model's windows bound it further."""


def _cell(reader: Callable[[str], T]) -> PlainValidator:
    """A reader as pydantic calls it: its CellError becomes an error whose type is the code."""
    known = lru_cache(maxsize=KEPT)(reader)

    def read(text: str) -> T:
        try:
            if len(text) > columns.LONGEST_TEXT:
                raise CellError("E324", limit=columns.LONGEST_TEXT)
            return known(text) if len(text) <= SHORT else reader(text)
        except CellError as error:
            raise PydanticCustomError(error.code, "{code}", {**error.words}) from None

    return PlainValidator(read)


def _whole(low: int, high: int) -> PlainValidator:
    return _cell(partial(columns.read_whole, low=low, high=high))


_CODE: Final = _cell(columns.read_code)
_TEXT: Final = _cell(columns.read_text)
_FRAME: Final = _whole(0, MOST_FRAMES)
_HANDLE: Final = _whole(0, columns.MOST_HANDLES)


@dataclass(slots=True)
class Cells:
    """One row's cells by column, and what turned out to be wrong with them."""

    file: str
    line: int
    cells: Mapping[str, str]
    """Column of ALIASES -> cell, stripped; only those that are not empty."""
    headers: Mapping[str, str]
    """Column of ALIASES -> the file's spelling."""
    metadata: tuple[tuple[str, str], ...]
    """Unknown columns with a value, as (header, cell)."""
    problems: list[Problem] = field(default_factory=list)
    """Errors and warnings found so far, in reading order."""
    wrong: set[str] = field(default_factory=set)
    """Columns of ALIASES with an error."""
    told: set[str] = field(default_factory=set)
    """Columns, as the file spells them, of which an error was told already: their cells could not be read."""

    def text(self, column: str) -> str:
        """The cell; empty if the file has no such column."""
        return self.cells.get(column, "")

    def add(
        self, code: str, column: str, words: Mapping[str, object] | None = None, *, value: str | None = None
    ) -> None:
        """Notes a problem of this row; `value` is what is wrong of the cell, without it all of it."""
        header = self.headers.get(column, column)
        if header in self.told:
            self.wrong.add(column)
            return
        shown = self.text(column) if value is None else value
        found = problem(code, self.file, line=self.line, column=header, value=shown, words=words)
        self.problems.append(found)
        if found.severity == "error":
            self.wrong.add(column)


class ShotRow(BaseModel):
    """One row's cells as values; None where the cell is empty. Columns are those of ALIASES."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    show: Annotated[str | None, _CODE] = None
    episode: Annotated[str | None, _CODE] = None
    sequence: Annotated[str | None, _CODE] = None
    shot: Annotated[str | None, _CODE] = None
    plate: Annotated[str | None, _cell(columns.read_path)] = None
    end_plate: Annotated[str | None, _cell(columns.read_path)] = None
    prompt: Annotated[str | None, _TEXT] = None
    negative_prompt: Annotated[str | None, _TEXT] = None
    frames: Annotated[int | None, _whole(SHORTEST, LONGEST)] = None
    """In delivery frames, without handles."""
    frame_in: Annotated[int | None, _FRAME] = None
    frame_out: Annotated[int | None, _FRAME] = None
    head_in: Annotated[int | None, _FRAME] = None
    tail_out: Annotated[int | None, _FRAME] = None
    seconds: Annotated[Fraction | None, _cell(partial(columns.read_decimal, low=0, high=LONGEST))] = None
    fps: Annotated[Fraction | None, _cell(columns.read_fps)] = None
    handles: Annotated[int | None, _HANDLE] = None
    handle_start: Annotated[int | None, _HANDLE] = None
    handle_end: Annotated[int | None, _HANDLE] = None
    resolution: Annotated[Size | None, _cell(columns.read_size)] = None
    model: Annotated[str | None, _cell(str.lower)] = None
    seed: Annotated[int | None, _cell(columns.read_seed)] = None
    steps: Annotated[int | None, _cell(columns.read_steps)] = None
    guidance: Annotated[float | None, _cell(columns.read_guidance)] = None
    loras: Annotated[str | None, _TEXT] = None
    context: Annotated[str | None, _cell(columns.read_context)] = None
    overlap: Annotated[int | None, _whole(0, MOST_OVERLAP)] = None
    anchors: Annotated[tuple[tuple[Fraction, str], ...] | None, _cell(read_anchors)] = None
    max_rerolls: Annotated[int | None, _whole(0, MOST_REROLLS)] = None
    camera: Annotated[str | None, _cell(columns.read_camera)] = None
    deliveries: Annotated[tuple[tuple[Delivery, ...], bool] | None, _cell(columns.read_deliveries)] = None
    """And whether one was named twice."""
    speed: Annotated[Fraction | None, _cell(columns.read_speed)] = None
    retimer: Annotated[str | None, _cell(columns.read_retimer)] = None
    priority: Annotated[int | None, _whole(1, 99)] = None
    due: Annotated[date | None, _cell(columns.read_due)] = None
    notes: Annotated[str | None, _TEXT] = None
    submitted_by: Annotated[str | None, _TEXT] = None


def read_row(cells: Mapping[str, str]) -> tuple[ShotRow, list[tuple[str, str, Mapping[str, Any]]]]:
    """A row's values, and (column, code, words) of every cell that is wrong, whose value is then None.

    `cells` are those that are not empty, by column.
    """
    try:
        return ShotRow.model_validate(cells), []
    except ValidationError as error:
        wrong: list[tuple[str, str, Mapping[str, Any]]] = [
            (str(one["loc"][0]), one["type"], one.get("ctx", {}))
            for one in error.errors(include_url=False, include_input=False)
        ]
    refused = {column for column, _, _ in wrong}
    return ShotRow.model_validate({name: text for name, text in cells.items() if name not in refused}), wrong
