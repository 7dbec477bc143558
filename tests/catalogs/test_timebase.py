"""Claims about rates, ranges and the fencepost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.timebase import (
    DELIVERY_RATES,
    NTSC,
    TIMECODE_RATES,
    FrameRange,
    Start,
    frames_for,
    has_timecode,
    is_dropped,
    native_frames_needed,
    parse_rate,
    rate_display,
    rate_label,
    rate_text,
    read_start,
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
    assert timecode(1001, Fraction(30000, 1001)) == "00:00:33;11"
    assert timecode(1001, Fraction(60000, 1001)) == "00:00:16;41"
    assert timecode(1001, Fraction(30)) == "00:00:33:11"


@pytest.mark.parametrize(("nominal", "dropped"), [(30, 2), (60, 4)])
def test_drop_frame_leaves_out_numbers_and_never_frames(nominal: int, dropped: int) -> None:
    """The labels of 21 minutes are those of a clock without 0 and 1 (to 3) at minutes that 10 does not divide,
    each once and in order, and none is further from the clock than what one minute leaves out."""
    rate = Fraction(nominal * 1000, 1001)
    labels = [
        f"00:{minute:02d}:{second:02d};{number:02d}"
        for minute in range(21)
        for second in range(60)
        for number in range(nominal)
        if second or number >= dropped or minute % 10 == 0
    ]
    assert [timecode(frame, rate) for frame in range(len(labels))] == labels
    for frame in range(0, len(labels), 997):
        _, minute, rest = labels[frame].split(":")
        second, number = rest.split(";")
        shown = int(minute) * 60 + int(second) + Fraction(int(number), nominal)
        assert abs(shown - frame / rate) <= Fraction(dropped, nominal) + Fraction(1, nominal)
    assert timecode(round(10 * 3600 * rate), rate).startswith("10:00:00;0")


@given(any_rate, st.integers(0, 10**7))
def test_timecode_never_stands_still(rate: Fraction, frame: int) -> None:
    """The next frame has a later label, at every rate."""

    def order(label: str) -> list[int]:
        return [int(part) for part in label.replace(";", ":").split(":")]

    assert order(timecode(frame + 1, rate)) > order(timecode(frame, rate))


def test_which_rates_have_a_timecode_track() -> None:
    """All that have a name; none that editors would count in different ways, such as the 12 and 15 of animators."""
    assert all(has_timecode(rate) for rate in DELIVERY_RATES)
    assert not any(has_timecode(Fraction(rate)) for rate in (1, 10, 12, 15, 20))
    assert not any(has_timecode(rate) for rate in (Fraction(25, 2), Fraction(120), Fraction(1001, 30), Fraction(1, 4)))


@given(frame=st.integers(0, 24 * 3600 * 60), rate=st.sampled_from(TIMECODE_RATES), dropped=st.booleans())
def test_a_files_timecode_goes_on_as_it_counts(frame: int, rate: Fraction, dropped: bool) -> None:
    """What a label says is read back to the same label, drop-frame or not, and the next frames have the next labels."""
    start = Start(frame, rate, dropped and is_dropped(rate))
    first = start.label(0)
    found = read_start(first, rate)
    assert (found.label(0), found.dropped) == (first, start.dropped)
    assert [found.label(index) for index in (-1, 1, 1799)] == [start.label(index) for index in (-1, 1, 1799)]


def test_midnight_and_what_is_no_timecode() -> None:
    """The frame before 0 is the day's last; fields too large, labels that drop-frame leaves out and words are none."""
    ntsc = Fraction(30000, 1001)
    assert read_start("00:00:00:00", Fraction(24)).label(-1) == "23:59:59:23"
    assert read_start("00:00:00;00", ntsc).label(-1) == "23:59:59;29"
    assert read_start("01:00:00:00", ntsc).label(30 * 60) == "01:01:00:00"
    assert read_start("01:00:00.00", ntsc).label(30 * 60) == "01:01:00;02"
    for text in ("00:01:00;00", "00:00:60:00", "00:00:00:30", "24:00:00:00", "1:00:00:00", "keep", ""):
        with pytest.raises(ValueError, match=r"not a timecode at 29\.97"):
            read_start(text, ntsc)
    for rate in (Fraction(24), Fraction(12)):
        with pytest.raises(ValueError, match="not a timecode"):
            read_start("01:00:00;00", rate)
