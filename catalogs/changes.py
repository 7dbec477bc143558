"""What a retake changes of a request, and what a list that comes again says of it. Pure.

Knows: which fields a retake may change, how their text is read, whose word holds. Does not know: verdicts, tables.
Memory: one shot.

A list says what editorial asked for, a retake what a supervisor made of it. Both stay: the request holds the retake's
value, and beside it is kept what the list says (`over_the_list`). The same list may come again without taking a
decision back that its sender has never heard of; a list that says something new of the field is newer, and is followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from catalogs import columns
from catalogs.columns import CellError
from catalogs.errors import VerdictError
from catalogs.problems import Complaint
from catalogs.shot import Shot

Value = str | int | float | None
"""What a field that a retake may change can hold."""


RETAKEABLE: Final[Mapping[str, Callable[[str], Value]]] = {
    "prompt": columns.read_text,
    "negative_prompt": columns.read_text,
    "camera": columns.read_camera,
    "seed": columns.read_seed,
    "steps": columns.read_steps,
    "guidance": columns.read_guidance,
}
"""Fields of Shot that a retake may change, and how their text is read: as the cell of a list is."""

DEFAULTS: Final[Mapping[str, Value]] = {
    name: None if name in ("seed", "steps", "guidance") else "" for name in RETAKEABLE
}
"""What an empty text stands for: the model card's own, or the seed of the shot's name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a request, before and after."""

    field: str
    """A key of RETAKEABLE."""
    old: Value
    new: Value


def fresh_seed(shot: Shot, number: int) -> int:
    """A seed that no earlier take of the shot had, 0 to 2**31-1: from its name and how often it was judged."""
    digest = hashlib.sha256(f"{shot.name} retake {number}".casefold().encode()).digest()
    seed = int.from_bytes(digest[:4], "big") >> 1
    return seed if seed != shot.seed else seed ^ 1


def read_changes(texts: Mapping[str, str]) -> dict[str, Value]:
    """Field -> new value, read as the cells of a list are; an empty text is the default.

    Raises VerdictError with every text that cannot be read.
    """
    found: dict[str, Value] = {}
    wrong = []
    for name, text in texts.items():
        if name not in RETAKEABLE:
            raise VerdictError([f"a retake cannot change {name!r}; it changes {', '.join(RETAKEABLE)}"])
        try:
            stripped = text.strip()
            found[name] = RETAKEABLE[name](stripped) if stripped else DEFAULTS[name]
        except CellError as error:
            wrong.append(f"{name.replace('_', ' ')} is {text[:60]!r}: {Complaint(error.code, name, error.words)}")
    if wrong:
        raise VerdictError(wrong)
    return found


def read_note(text: str, *, what: str) -> str:
    """Words of whoever decides. Raises VerdictError for control characters and for more than a cell may hold."""
    try:
        return columns.read_text(text.strip()) if text.strip() else ""
    except CellError as error:
        raise VerdictError([f"{what}: {Complaint(error.code, what, error.words)}"]) from error


def over_the_list(
    listed: Shot, before: Shot, retaken: Mapping[str, Value]
) -> tuple[Shot, tuple[Change, ...], dict[str, Value]]:
    """What a list asks for once a retake has spoken: the shot, what stays as the retake left it, what is still apart.

    `before` is the shot in the catalogue, `retaken` what the last list said of fields that a retake changed since. A
    list that says the same of a field as the last one has nothing new to say of it: the retake's value stays. One that
    says something else is newer than the retake, and is followed.
    """
    same = {name: old for name, old in retaken.items() if getattr(listed, name) == old}
    kept = tuple(Change(name, old, getattr(before, name)) for name, old in same.items())
    return replace(listed, **{one.field: one.new for one in kept}), kept, same  # type: ignore[arg-type]
