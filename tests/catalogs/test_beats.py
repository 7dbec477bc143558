"""Claims about beats: how they are written, what is refused, which of them hold when."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalogs.beats import Beat, beat_complaints, beats_between, read_beats
from catalogs.shot import Shot

WORDS = st.text("abc dé,.'", min_size=1, max_size=12).map(str.strip).filter(lambda text: any(map(str.isalpha, text)))
TIMES = st.lists(st.integers(0, 600), min_size=1, max_size=6, unique=True).map(sorted)


def test_words_and_times_are_taken_apart() -> None:
    """Words before the first bracket hold throughout; each time has the words up to the next one."""
    assert read_beats("a harbour at dawn [0s] a boat enters [4.5 s] it turns") == (
        "a harbour at dawn",
        (Beat(Fraction(0), "a boat enters"), Beat(Fraction(9, 2), "it turns")),
    )
    assert read_beats("[0S]a\n[4,5s]b") == ("", (Beat(Fraction(0), "a"), Beat(Fraction(9, 2), "b")))


@pytest.mark.parametrize(
    "prompt",
    [
        "a lake",
        " a [wide shot] of a lake ",
        "[2 people] walk",
        "[3-4 boats] leave",
        "[]",
        "[[wide]",
        "s]4",
        "the year [of 1984]",
        "[4some] friends",
        "",
    ],
)
def test_a_bracket_that_is_no_time_is_words(prompt: str) -> None:
    """Square brackets are free to use for anything but times."""
    assert read_beats(prompt) == (prompt.strip(), ())


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("x [4s] a [2s] b", "[2s] comes after [4s]"),
        ("x [4s] a [4.0s] b", "[4.0s] comes after [4s]"),
        ("x [4s a boat", "the bracket of [4s a boat is not closed"),
        ("x [4s [6s] b", "the bracket of [4s is not closed"),
        ("x [4] a", "[4] is no time"),
        ("x [0:04] a", "[0:04] is no time"),
        ("x [-1s] a", "[-1s] is no time"),
        ("x [1m] a", "[1m] is no time"),
        ("x [0s-4s] a", "[0s-4s] is no time"),
        ("x [0 - 4] a", "[0 - 4] is no time"),
        ("x [4s a boat] b", "[4s a boat] is no time"),
        ("x [1.2.3s] b", "[1.2.3s] is no time"),
        ("x [0s] [4s] b", "nothing is said after [0s]"),
        ("x [0s] a [4s] , ", "nothing is said after [4s]"),
        ("[2s] a", "nothing is said before [2s]"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(prompt: str, said: str) -> None:
    """Order, closing, reading, words: each is one sentence with what to do."""
    with pytest.raises(ValueError, match=r"; ") as caught:
        read_beats(prompt)
    assert str(caught.value).startswith(said)
    [complaint] = beat_complaints(Shot("A", "B", 48, prompt=prompt))
    assert (complaint.code, complaint.column) == ("E326", "prompt")
    assert said in str(complaint)


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        ("[1{n}-1{n}x]", " "),
        ("[1{n}to{n}1{n}x]", "\t "),
        ("[1s{n}-{n}1{n}s{n}x", " "),
        ("[{n}-1x]", "1"),
        ("[1{n}-1{n}x]", "."),
        ("[{n}s4x]", "4:"),
        ("{n}", "["),
        ("{n}", "[4 -"),
    ],
)
def test_hostile_brackets_are_read_at_once(shape: str, most: str) -> None:
    """Ten thousand characters that begin like times take no longer than a person notices: no search is cubic."""
    fill = most * (10_000 // (len(most) * max(1, shape.count("{n}"))))
    prompt = "x " + shape.replace("{n}", fill)
    began = time.perf_counter()
    with suppress(ValueError):
        read_beats(prompt)
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("x [  4   s\n" + "and many words " * 9 + "] b", "[4 s and many words "),
        ("x [4s a boat that comes in from the left, slowly, and then turns", "the bracket of [4s a boat that comes"),
        ("x [1" + " " * 99 + "-" + " " * 99 + "4s] b", "[1 - 4s] is no time"),
    ],
)
def test_a_long_bracket_that_begins_with_seconds_is_meant(prompt: str, said: str) -> None:
    """However much stands behind the seconds or between their signs: a bracket left open is not read as words."""
    with pytest.raises(ValueError, match=re.escape(said)):
        read_beats(prompt)


def test_more_than_forty_characters_are_no_time() -> None:
    """Digits without a unit and without an end are words."""
    with pytest.raises(ValueError, match="is no time"):
        read_beats(f"x [{'1' * 40}] y")
    assert read_beats(f"x [{'1' * 41}] y") == (f"x [{'1' * 41}] y", ())


@given(preface=WORDS, times=TIMES, words=st.lists(WORDS, min_size=6, max_size=6))
def test_what_is_written_is_what_is_read(preface: str, times: list[int], words: list[str]) -> None:
    """Any words at any ascending times, in tenths of a second, come back as they are."""
    beats = tuple(Beat(Fraction(at, 10), said) for at, said in zip(times, words, strict=False))
    prompt = preface + "".join(f" [{at / 10:g}s] {said}" for at, said in zip(times, words, strict=False))
    assert read_beats(prompt) == (preface, beats)


@given(st.text(max_size=60) | st.text("[]0 4s.,-:abm", max_size=30))
@example("[4s")
@example("[[4s]]")
def test_no_prompt_makes_the_reader_fail_otherwise(prompt: str) -> None:
    """Any text gives words and beats, or a ValueError, and no words are lost between the two."""
    try:
        preface, beats = read_beats(prompt)
    except ValueError:
        return
    assert preface in prompt
    assert all(beat.words in prompt for beat in beats)
    assert [beat.at for beat in beats] == sorted({beat.at for beat in beats})


@pytest.mark.parametrize(("at", "late"), [("1.9s", False), ("1.95833s", False), ("1.96s", True), ("2s", True)])
def test_a_beat_that_no_frame_shows_is_refused(at: str, late: bool) -> None:
    """48 frames at 24 have their last one at 47/24 s: a beat after it would never be seen, handles or not."""
    shot = Shot("A", "B", 48, rate=Fraction(24), handles=24, prompt=f"x [{at}] y")
    assert [one.code for one in beat_complaints(shot)] == (["E327"] if late else [])


@given(times=TIMES, start=st.integers(-50, 650), length=st.integers(1, 200))
def test_the_beats_of_a_part_are_those_that_hold_in_it(times: list[int], start: int, length: int) -> None:
    """A beat lasts until the next one; the last one, and in the handles the one at 0, beyond the cut."""
    beats = [Beat(Fraction(at), str(at)) for at in times]
    found = beats_between(beats, Fraction(start), Fraction(start + length))
    holding = set()
    for tenth in range(start * 10, (start + length) * 10):
        now = [beat for beat in beats if beat.at * 10 <= tenth or beat.at == 0]
        holding |= set(now[-1:])
    assert set(found) == holding
    assert list(found) == sorted(found, key=lambda beat: beat.at)
