"""Time as this pipeline counts it: rates, frame ranges, timecode and the fencepost.

Knows: exact arithmetic on rates (`Fraction`, frames per second) and frame positions (integers).
Does not know: files, models, databases. Everything here is pure and O(1) in memory.

The fencepost: N frames at rate r last N/r seconds, but the first and the last of them are shown
(N-1)/r seconds apart. Sampling asks for the second number, schedules for the first.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

FIRST_FRAME = 1001
"""Number that editorial gives to the first frame of a shot; the slate frame would be 1000."""

NTSC = {
    "23.976": Fraction(24000, 1001),
    "23.98": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "47.952": Fraction(48000, 1001),
    "59.94": Fraction(60000, 1001),
}
"""Decimal spellings of the NTSC rates, which are exact only as N/1001."""

DELIVERY_RATES = (
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(48),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
)
"""The delivery rates that have a name; any other positive `N/D` up to 240 is accepted too."""

_SECONDS = re.compile(r"([0-9]{1,6}(?:[.,][0-9]{1,6})?)\s*s", re.IGNORECASE)
_RATIO = re.compile(r"([0-9]{1,7})/([0-9]{1,7})")
_LABEL = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})([:;.])([0-9]{2})")
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True, order=True)
class FrameRange:
    """A half-open range of frames, `start <= frame < end`. May be empty, never negative."""

    start: int
    """First frame in the range, counted from 0."""
    end: int
    """First frame after the range."""

    def __post_init__(self) -> None:
        if self.start < 0 or self.end < self.start:
            raise ValueError(f"not a frame range: [{self.start}, {self.end})")

    def __len__(self) -> int:
        return self.end - self.start

    def __contains__(self, frame: object) -> bool:
        return isinstance(frame, int) and self.start <= frame < self.end

    def __str__(self) -> str:
        return f"[{self.start}, {self.end})"


def parse_rate(text: str) -> Fraction:
    """Frames per second from `24`, `23.976`, `29.97`, `30000/1001`; exact.

    Raises ValueError for anything that is not a positive rate of at most 240 fps. Decimals other
    than the NTSC spellings are taken literally (`12.5` is 25/2).
    """
    text = text.strip()
    if text in NTSC:
        return NTSC[text]
    if match := _RATIO.fullmatch(text):
        numerator, denominator = int(match[1]), int(match[2])
        rate = Fraction(numerator, denominator) if denominator else Fraction(0)
    elif _DECIMAL.fullmatch(text):
        rate = Fraction(text)
    else:
        raise ValueError(f"not a frame rate: {text!r}")
    if not 1 <= rate <= 240:
        raise ValueError(f"frame rate out of range (1 to 240): {text!r}")
    return rate


def rate_text(rate: Fraction) -> str:
    """`N/D` as written in manifests and on ffmpeg command lines: `30/1`, `30000/1001`."""
    return f"{rate.numerator}/{rate.denominator}"


def rate_label(rate: Fraction) -> str:
    """The rate in a file name: `24p`, `2397p`, `2997p`, `5994p`, `30p`.

    Fractional rates are cut to two decimals and written without the point, as editors do.
    """
    if rate.denominator == 1:
        return f"{rate.numerator}p"
    return f"{rate.numerator * 100 // rate.denominator}p"


def rate_display(rate: Fraction) -> str:
    """The rate for people: `24`, `23.976`, `29.97`. Never parsed again."""
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")


def parse_seconds(text: str) -> Fraction:
    """Seconds from `4s`, `4.5 s`, `4,5s`; exact. Raises ValueError for anything else."""
    match = _SECONDS.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not a time: {text!r}; write seconds, such as 4s or 4.5s")
    return Fraction(match[1].replace(",", "."))


def seconds_display(seconds: Fraction) -> str:
    """Seconds as people write them, at most six decimals: `4`, `4.5`."""
    return f"{float(seconds):.6f}".rstrip("0").rstrip(".")


def frames_for(duration: Fraction, rate: Fraction) -> int:
    """Whole frames that show `duration` seconds at `rate`: rounded half up, at least 1."""
    return max(1, math.floor(duration * rate + Fraction(1, 2)))


def native_frames_needed(frames: int, *, native: Fraction, delivery: Fraction, speed: Fraction) -> int:
    """Smallest count S of native frames that spans `frames` delivery frames at `speed`.

    Delivery frame k shows source time k * speed / delivery, so the last one needs
    (S-1)/native >= (frames-1) * speed / delivery: the fencepost form, which never asks for a frame
    past the last source frame. Raises ValueError if frames < 1 or a rate or speed is not positive.
    """
    if frames < 1 or native <= 0 or delivery <= 0 or speed <= 0:
        raise ValueError("frames, rates and speed must be positive")
    return math.ceil((frames - 1) * native * speed / delivery) + 1


DROPPED = {Fraction(30000, 1001): 2, Fraction(60000, 1001): 4}
"""Rates counted in drop-frame timecode, and the labels left out at each minute that 10 does not divide."""

TIMECODE_RATES = tuple(sorted((*DELIVERY_RATES, Fraction(48000, 1001))))
"""Rates that timecode is defined for (SMPTE ST 12-1): the named ones, and 47.952. At 12 or 15 programs count in ways of
their own, so there is none."""


def timecode(frame: int, rate: Fraction) -> str:
    """The SMPTE label of a frame number at the nominal (rounded) rate: 1001 at 24 is 00:00:41:17.

    29.97 and 59.94 are counted in drop-frame, with a semicolon before the frames: labels follow the clock to within two
    of their frames, by leaving out numbers, never frames (SMPTE ST 12-1, 5.2.2). All else is counted without gaps.
    """
    return _label(frame, rate, DROPPED.get(rate, 0))


def _label(frame: int, rate: Fraction, dropped: int) -> str:
    """`dropped` labels are left out at each minute that 10 does not divide."""
    nominal = max(1, round(rate))
    if dropped:
        minute = 60 * nominal - dropped
        tens, rest = divmod(frame, 10 * minute + dropped)
        # the first minute of ten has all its labels
        frame += dropped * (9 * tens + max(0, rest - dropped) // minute)
    total, frames = divmod(frame, nominal)
    minutes, secs = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{secs:02d}{';' if dropped else ':'}{frames:02d}"


@dataclass(frozen=True, slots=True)
class Start:
    """Where timecode begins, and how it goes on: a file that somebody brings may count 29.97 without drops."""

    frame: int
    """Number of the picture's first frame, 0 at midnight."""
    rate: Fraction
    """Frames per second."""
    dropped: bool
    """Whether it is counted in drop-frame."""

    def label(self, index: int) -> str:
        """Timecode of a frame, counted from the picture's first one (-1 is a slate); midnight follows 23:59."""
        dropped = DROPPED.get(self.rate, 0) if self.dropped else 0
        day = 24 * (3600 * max(1, round(self.rate)) - 54 * dropped)
        return _label((self.frame + index) % day, self.rate, dropped)


def start_at(frame: int, rate: Fraction) -> Start:
    """Timecode that begins at a frame number, counted as is usual at the rate."""
    return Start(frame, rate, is_dropped(rate))


def read_start(text: str, rate: Fraction) -> Start:
    """`01:00:00:00` as a frame number, `;` or `.` before the frames for drop-frame; exact.

    Raises ValueError for what is no label of that rate: other fields, a label that drop-frame leaves out.
    """
    match = _LABEL.fullmatch(text.strip())
    if not match or not has_timecode(rate):
        raise ValueError(f"not a timecode at {rate_display(rate)} frames per second: {text!r}")
    hours, minutes, secs, frames = (int(match[part]) for part in (1, 2, 3, 5))
    nominal, dropped = round(rate), DROPPED.get(rate, 0) if match[4] in ";." else 0
    total = 60 * hours + minutes
    frame = (60 * total + secs) * nominal + frames - dropped * (total - total // 10)
    start = Start(frame, rate, bool(dropped))
    # what goes in must come out: fields too large, labels left out, drop-frame where there is none
    if start.label(0) != text.strip().replace(".", ";"):
        raise ValueError(f"not a timecode at {rate_display(rate)} frames per second: {text!r}")
    return start


def has_timecode(rate: Fraction) -> bool:
    """Whether a rate has timecode that editors agree on: in tracks, edit lists and lists of versions alike."""
    return rate in TIMECODE_RATES


def clock(index: int, rate: Fraction) -> str:
    """When the frame of that number, counted from 0, is shown, for people: its timecode where the rate has one, with
    frame 0 as 1001; else seconds since frame 0, `3.25 s`."""
    if has_timecode(rate):
        return timecode(FIRST_FRAME + index, rate)
    return f"{float(index / rate):.2f} s"


def is_dropped(rate: Fraction) -> bool:
    """Whether timecode of the rate leaves out numbers, to stay with the clock."""
    return rate in DROPPED


def frames_at_hour(rate: Fraction, hours: int = 1) -> int:
    """Frame that timecode labels with the full hour: 86400 at 24 and 23.976, 107892 at 29.97 (drop-frame)."""
    # numbers are left out at 54 of an hour's minutes
    return hours * (3600 * max(1, round(rate)) - 54 * DROPPED.get(rate, 0))
