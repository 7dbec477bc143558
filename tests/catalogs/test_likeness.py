"""Claims about codes that are nearly the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.likeness import likeness
from catalogs.shot import CODE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SH10", "SH010"),
        ("001", "1"),
        ("000", "0"),
        ("SH10", "sh10"),
        ("SH_010", "SH010"),
        ("SH-010", "SH.10"),
        ("SQ01_SH0010", "SQ1-SH10"),
        ("SQ01_0010", "sq1__10"),
        ("SH010_A", "SH10A"),
        ("SH010.", "SH10"),
    ],
)
def test_codes_that_people_take_for_one_are_alike(one: str, other: str) -> None:
    """Padding, case and marks make no other shot."""
    assert likeness(one) == likeness(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SH10", "SH100"),
        ("SH10", "SH11"),
        ("1_10", "110"),
        ("1_1", "11"),
        ("SH010", "SQ010"),
        ("10A", "1A"),
        ("0", "A"),
    ],
)
def test_codes_that_are_two_shots_are_not_alike(one: str, other: str) -> None:
    """Another number or another letter is another shot."""
    assert likeness(one) != likeness(other)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_padding_never_matters(numbers: list[int], widths: list[int]) -> None:
    """However a code's numbers are padded, it is alike to itself unpadded."""
    plain = "_".join(f"S{number}" for number in numbers)
    padded = "_".join(f"S{number:0{width}d}" for number, width in zip(numbers, widths, strict=False))
    assert likeness(plain) == likeness(padded)


@given(st.from_regex(CODE, fullmatch=True))
def test_likeness_is_its_own_likeness(code: str) -> None:
    """What is left of a code has nothing more to lose, and every code leaves something."""
    assert likeness(likeness(code)) == likeness(code) != ""
