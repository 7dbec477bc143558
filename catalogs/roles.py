"""What people may do, and how the log tells what they did. Values only.

Knows: the roles and their order. Does not know: passwords, visits, pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    SUBMIT = "submit"
    """See everything, send shot lists."""
    REVIEW = "review"
    """Decide on takes: approve, omit, retake."""
    ADMIN = "admin"
    """Read the log of who did what."""

    def includes(self, other: Role) -> bool:
        """Whether somebody of this role may do what is for `other`."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in."""

    name: str
    """As it was added; compared without case."""
    role: Role
    since: datetime
    """When the name was added; aware."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One line of the log."""

    number: int
    """Rises with time."""
    at: datetime
    who: str
    """Name of the person; as it was typed where nobody could be signed in."""
    address: str
    """Where the request came from."""
    did: str
    """`sign in`, `refused`, `approve`, `submit` ..."""
    about: str
    """Shot or list; empty for neither."""
    words: Mapping[str, Any]
    """Particulars, such as what a retake changed."""
