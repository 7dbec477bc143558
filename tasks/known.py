"""What is known of a shot before its file is looked at, so that what was asked for is no fault. Pure.

Knows: nothing but these values. What is not known is not judged: a file that somebody brings has no plate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from catalogs.footage import Finding, Severity

if TYPE_CHECKING:
    from tasks.plates import PlateSeen


@dataclass(frozen=True, slots=True)
class Known:
    """What a shot is meant to be."""

    rate: Fraction
    """Frames per second."""
    frames: int = 0
    """Frames that it must have; 0 where nobody knows."""
    still: bool = False
    """Whether it was asked for that nothing moves."""
    arrives: bool = False
    """Whether it goes on to another still: its colours then change on purpose."""
    cuts: tuple[int, ...] = ()
    """Each i for which frames i and i+1 are a cut that was asked for."""
    plate: PlateSeen | None = field(default=None, compare=False)
    """The still that it begins with; None where nobody knows."""

    @property
    def second(self) -> int:
        """Frames in a second."""
        return max(1, round(self.rate))


BLACK_PLATE: Final = 6.0
"""Levels of 255: a plate whose lightest thousandth is darker than this is black itself."""

FLAT_PLATE: Final = 1.5
"""Levels of 255 of contrast, below which a plate is of one colour, and whatever moves over it does not show."""


def finding(code: str, severity: Severity, frames: tuple[int, int], value: str, limit: str) -> Finding:
    """A finding about frames of the shot, half-open; its file is named by whoever knows it."""
    return Finding(code, severity, frames[0], max(frames[1], frames[0] + 1), value, limit)


def runs(marked: list[bool]) -> list[tuple[int, int]]:
    """Where `marked` is true, as half-open runs."""
    found: list[tuple[int, int]] = []
    for index, true in enumerate(marked):
        if true and found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        elif true:
            found.append((index, index + 1))
    return found
