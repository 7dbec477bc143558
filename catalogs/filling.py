"""What is put into a row's cells before they are read: folders of a tracker's path, and what holds for all.

Knows: `COLUMN=VALUE` as people type it, placeholders. Does not know: whether a value is right; that is told as if it
stood in the list. Memory: one row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from catalogs.columns import ALIASES, HEADERS, read_folders
from catalogs.sheet import normal

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
FOLDERS: Final = frozenset(("show", "episode", "sequence", "shot"))
"""Columns that a folder path may fill."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What the sender says beside the list. Values may hold `{shot}`, `{sequence}` and other columns of the row."""

    defaults: Mapping[str, str] = field(default_factory=dict)
    """Column -> value of cells that are empty."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Column -> value of every cell, whatever stands in it."""

    @property
    def columns(self) -> frozenset[str]:
        """Columns that no row is without."""
        return frozenset((*self.defaults, *self.fixed))


def assignments(words: Iterable[str]) -> dict[str, str]:
    """Column -> value of every `COLUMN=VALUE`. Raises ValueError, a sentence with its remedy."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        column = _column(name)
        if not equals or column is None:
            detail = f"{name!r} is no column" if equals else "it has no ="
            raise ValueError(f"{word!r} says nothing of a column: {detail}; write COLUMN=VALUE, with one of {_names()}")
        for place in _PLACE.findall(value):
            if _column(place) is None:
                raise ValueError(f"{word!r} names {{{place}}}, which is no column; use one of {_names()}")
        if found.setdefault(column, value.strip()) != value.strip():
            raise ValueError(f"{column} is given twice; give it once")
    return found


def fill(cells: dict[str, str], headers: dict[str, str], filling: Filling, *, show: str, spelt: bool) -> None:
    """Fills a row's cells (by column, none empty) in place. Raises CellError for a folder path that cannot be read.

    `show` is that of rows that name none, and `spelt` whether somebody said so: a path of three folders then begins
    with the episode, not with the show. A cell that a folder fills is told by the path's header.
    """
    if filling.fixed:
        for column in filling.fixed:
            cells.pop(column, None)
        _put(cells, filling.fixed, show)
    path = cells.pop("folder_path", "")
    if path:
        folders = read_folders(path)
        if spelt and "show" in folders and "episode" not in folders:
            folders["episode"] = folders.pop("show")
        for column, name in folders.items():
            if column not in cells:
                cells[column] = name
                headers.setdefault(column, headers["folder_path"])
    if filling.defaults:
        _put(cells, filling.defaults, show)


def _put(cells: dict[str, str], values: Mapping[str, str], show: str) -> None:
    known = {"show": show, **cells}
    for column, value in values.items():
        if column not in cells:
            filled = _PLACE.sub(lambda match: known.get(_column(match[1]) or "", ""), value).strip()
            if filled:
                cells[column] = filled


def _column(name: str) -> str | None:
    column = HEADERS.get(normal(name))
    return None if column in ("error", "folder_path") else column


def _names() -> str:
    return ", ".join(column for column in ALIASES if column not in ("error", "folder_path"))
