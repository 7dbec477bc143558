"""Beats: what happens when, written into the prompt. Pure.

    a harbour at dawn [0s] a boat enters [4s] it turns

Words before the first bracket hold for the whole shot, what follows a bracket from that time until the next one. Times
are of the cut, head handle not counted. Knows: how beats are written. Does not know: windows, models.
Memory: one prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from typing import Final

from catalogs.problems import Complaint
from catalogs.shot import Shot
from catalogs.timebase import parse_seconds, seconds_display

EXAMPLE: Final = "write each time in seconds, as in: a harbour at dawn [0s] a boat enters [4s] it turns"

_BRACKET: Final = re.compile(r"\[([^\[\]]*)(\]?)")
_NUMBER: Final = r"[+-]?[.,]?[0-9][0-9.,:]*"
_UNIT: Final = r"(?:s|secs?|seconds?|ms|m|mins?|minutes?|h|f|frames?)"
_TIME: Final = rf"{_NUMBER} ?{_UNIT}?"
# What somebody means as a time: a number with or without a unit, or a range of them ...
_WHOLE: Final = re.compile(rf"{_TIME}(?: ?(?:[-–—/]|to) ?{_TIME})?", re.IGNORECASE)
# ... or seconds with words behind.
_BEGINNING: Final = re.compile(rf"{_NUMBER} ?s(?:ecs?|econds?)?(?![^\W_])", re.IGNORECASE)
_LONGEST: Final = 40
"""Characters of a time or a range; whoever writes more means none, and no expression has to look far."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Words of the prompt that hold from a time on."""

    at: Fraction
    """When it begins, in seconds from the first frame of the cut."""
    words: str
    """What happens; not empty."""


def read_beats(prompt: str) -> tuple[str, tuple[Beat, ...]]:
    """The words that hold for the whole shot, stripped, and the beats in order of time.

    A square bracket that holds no time is part of the words. Raises ValueError, with the remedy, for a time that cannot
    be read or is not closed, beats out of order, one without words, and words that begin only after the shot does.
    """
    marks: list[tuple[re.Match[str], Fraction]] = []
    for match in _BRACKET.finditer(prompt):
        said = " ".join(match[1].split())
        if not _means_a_time(said):
            continue
        shown = f"[{said[:20]}"
        if not match[2]:
            raise ValueError(f"the bracket of {shown} is not closed; {EXAMPLE}")
        try:
            at = parse_seconds(match[1])
        except ValueError:
            raise ValueError(f"{shown}] is no time; {EXAMPLE}; leave out brackets that mean no time") from None
        if marks and at <= marks[-1][1]:
            raise ValueError(f"{shown}] comes after [{seconds_display(marks[-1][1])}s]; put the beats in order of time")
        marks.append((match, at))
    if not marks:
        return prompt.strip(), ()
    ends = [match.start() for match, _ in marks[1:]] + [len(prompt)]
    beats = [Beat(at, prompt[match.end() : end].strip()) for (match, at), end in zip(marks, ends, strict=True)]
    for beat in beats:
        if not any(sign.isalnum() for sign in beat.words):
            raise ValueError(f"nothing is said after [{seconds_display(beat.at)}s]; write what happens, or take it out")
    preface = prompt[: marks[0][0].start()].strip()
    if not preface and beats[0].at > 0:
        first = seconds_display(beats[0].at)
        raise ValueError(f"nothing is said before [{first}s]; begin with [0s], or with words that hold throughout")
    return preface, tuple(beats)


def _means_a_time(said: str) -> bool:
    """Whether what stands in a bracket, with single spaces, is meant as a time. Linear in its length."""
    return bool(_BEGINNING.match(said) or (len(said) <= _LONGEST and _WHOLE.fullmatch(said)))


def beat_complaints(shot: Shot) -> list[Complaint]:
    """What is wrong with the beats of a shot: how they are written, and one that no frame of the cut shows."""
    try:
        _, beats = read_beats(shot.prompt)
    except ValueError as error:
        detail, _, remedy = str(error).partition("; ")
        return [Complaint("E326", "prompt", {"detail": detail, "remedy": remedy})]
    end = Fraction(shot.frames - 1) / shot.rate
    late = [beat for beat in beats if beat.at > end]
    words = {"end": seconds_display(end)}
    return [Complaint("E327", "prompt", words | {"at": seconds_display(beat.at)}) for beat in late]


def beats_between(beats: Sequence[Beat], start: Fraction, end: Fraction) -> tuple[Beat, ...]:
    """The beats that hold at some time of [start, end), in seconds of the cut; the first of all holds before it too if
    it begins the cut, for a handle shows what the cut begins with."""
    found = []
    for beat, following in zip_longest(beats, beats[1:]):
        begins = beat.at < end or beat.at == 0
        if begins and (following is None or following.at > start):
            found.append(beat)
    return tuple(found)
