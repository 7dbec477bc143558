"""Claims about rates, ranges and the fencepost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.timebase import (
    DELIVERY_RATES,
    NTSC,
    FrameRange,
    frames_for,
    native_frames_needed,
    parse_rate,
    rate_display,
    rate_label,
    rate_text,
    timecode,
)

rates = st.sampled_from(DELIVERY_RATES)
any_rate = st.fractions(min_value=1, max_value=240, max_denominator=1001)


@given(any_rate)
def test_a_rate_survives_being_written_and_read(rate: Fraction) -> None:
    """`N/D` keeps every rate exact."""
    assert parse_rate(rate_text(rate)) == rate


@given(rates)
def test_a_displayed_delivery_rate_means_itself(rate: Fraction) -> None:
    """What we show for a named rate is what a person may type back."""
    assert parse_rate(rate_display(rate)) == rate


def test_the_contracts_rates_are_exact() -> None:
    """Every spelling of the contract is the exact rate that it stands for."""
    spelt = ["23.976", "24", "25", "29.97", "30", "48", "50", "59.94", "60"]
    assert tuple(parse_rate(text) for text in spelt) == DELIVERY_RATES
    assert all(rate.denominator == 1001 for rate in NTSC.values())


@pytest.mark.parametrize("text", ["", "0", "-24", "24/0", "0/1", "241", "1e2", "nan", "inf", "24 fps", "24,0", "1/2"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """A rate that nobody can mean raises ValueError."""
    with pytest.raises(ValueError, match="frame rate"):
        parse_rate(text)


@given(
    frames=st.integers(1, 2000),
    native=st.sampled_from([Fraction(16), Fraction(24), Fraction(30), Fraction(24000, 1001)]),
    delivery=rates,
    speed=st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 16), Fraction(2, 3)]),
)
def test_native_frames_needed_is_the_smallest_that_reaches_the_end(
    frames: int, native: Fraction, delivery: Fraction, speed: Fraction
) -> None:
    """S native frames span the last delivery frame's source time, S-1 do not."""
    needed = native_frames_needed(frames, native=native, delivery=delivery, speed=speed)
    last = (frames - 1) * speed / delivery
    assert (needed - 1) / native >= last
    assert needed == 1 or (needed - 2) / native < last


@given(frames=st.integers(1, 100_000), rate=rates)
def test_a_duration_of_whole_frames_is_that_many_frames(frames: int, rate: Fraction) -> None:
    """seconds and frames_for undo each other."""
    assert frames_for(Fraction(frames) / rate, rate) == frames


@given(rates)
def test_a_rate_in_a_file_name_is_plain(rate: Fraction) -> None:
    """A label is digits and p, and differs between the named rates."""
    assert rate_label(rate)[:-1].isdigit()
    assert rate_label(rate).endswith("p")
    assert len({rate_label(one) for one in DELIVERY_RATES}) == len(DELIVERY_RATES)


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_a_frame_range_counts_its_frames(start: int, length: int) -> None:
    """A half-open range holds its start, not its end, and as many frames as its length says."""
    span = FrameRange(start, start + length)
    assert len(span) == length
    assert (start in span) == (length > 0)
    assert span.end not in span


def test_a_negative_range_is_refused() -> None:
    """No range ends before it starts."""
    with pytest.raises(ValueError, match="not a frame range"):
        FrameRange(5, 4)


def test_timecode_of_the_first_frame() -> None:
    """1001 at 24 fps is the timecode that every editor knows."""
    assert timecode(1001, Fraction(24)) == "00:00:41:17"
    assert timecode(1001, Fraction(24000, 1001)) == "00:00:41:17"
