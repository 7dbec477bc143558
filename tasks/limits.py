"""What inspection lets pass: the shipped `limits.toml`, and what a home and a show change in it.

Knows: which checks there are and what numbers each has; the shipped file is the list of both. Does not know: how
anything is measured. Pure but for `read_limits`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Finding, Severity
from tasks.errors import StepError

SHIPPED: Final = Path(__file__).with_name("limits.toml")
"""The limits that hold unless somebody changes them, each with its reason."""

OFF: Final = "off"
"""Word for a check that is not wanted."""

NAME: Final = "limits.toml"
"""Name of the file in DAILIES_HOME that changes them."""


class LimitsError(StepError):
    """A file of limits cannot be used; the message names the file, the key, the value and what may stand there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that hold for one show."""

    tables: Mapping[str, Mapping[str, str | float]]
    """Key -> value, by code; severities are words, everything else numbers."""

    def __getitem__(self, code: str) -> Mapping[str, Any]:
        """The numbers of a check."""
        return self.tables[code]

    def severity(self, code: str, key: str = "severity") -> Severity | None:
        """What a finding gets; None if the check is off, whatever `key` says."""
        if self.tables[code]["severity"] == OFF or self.tables[code][key] == OFF:
            return None
        return Severity(str(self.tables[code][key]))

    def on(self, *codes: str) -> bool:
        """Whether any of these checks is wanted."""
        return any(self.severity(code) is not None for code in codes)

    def graded(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Findings made without limits, with the severity that they have here; those of checks that are off go."""
        return tuple(
            replace(one, severity=severity) for one in findings if (severity := self.severity(one.code)) is not None
        )


@cache
def shipped() -> Limits:
    """The limits as they come."""
    return Limits(tomllib.loads(SHIPPED.read_text(encoding="utf-8")))


def read_limits(home: Path | None, *, show: str = "") -> Limits:
    """The limits of a show: the shipped ones, changed by `home/limits.toml`, changed by its `[show.SHOW...]`.

    Raises LimitsError for a file that is no TOML, for keys that do not exist, for values of another kind or negative.
    A show is found whatever its case, as in the catalogue.
    """
    limits = shipped()
    path = home / NAME if home is not None else None
    if path is None or not path.exists():
        return limits
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LimitsError(f"{path} cannot be read: {error}; mend it, or move it away") from error
    shows = written.pop("show", {})
    if not isinstance(shows, dict):
        raise LimitsError(f"{path}: show is {shows!r}; write a table for each show, such as [show.AGM.black]")
    limits = _changed(limits, written, f"{path}: ")
    for name, tables in shows.items():
        changed = _changed(limits, tables, f"{path}: show.{name}.")  # of every show: a mistake is said at once
        if name.casefold() == show.casefold():
            limits = changed
    return limits


def _changed(limits: Limits, tables: object, where: str) -> Limits:
    if not isinstance(tables, dict):
        raise LimitsError(f"{where[:-1]} is {tables!r}; write a table for each check, such as black")
    merged = dict(limits.tables)
    for code, table in tables.items():
        if code not in merged:
            raise LimitsError(f"{where}{code} is no check; there are {', '.join(merged)}")
        if not isinstance(table, dict):
            raise LimitsError(f'{where}{code} is {table!r}; write a table, such as severity = "off"')
        for key, value in table.items():
            _judge(merged[code], key, value, f"{where}{code}.{key}")
        merged[code] = {**merged[code], **table}
    return Limits(merged)


def _judge(known: Mapping[str, str | float], key: str, value: object, where: str) -> None:
    """Raise LimitsError unless `value` can stand in the place of what is shipped."""
    if key not in known:
        raise LimitsError(f"{where} does not exist; there are {', '.join(known)}")
    if isinstance(known[key], str):
        if value not in (OFF, *Severity):
            raise LimitsError(f"{where} is {value!r}; use {', '.join((OFF, *Severity))}")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise LimitsError(f"{where} is {value!r}; it must be a number")
    elif not 0 <= value < float("inf"):
        raise LimitsError(f"{where} is {value!r}; it must be a number from 0 on")
