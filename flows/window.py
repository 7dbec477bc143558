"""The window of the night: from which time of day to which the machines may work, in whose time.

Knows: times of day, time zones, daylight saving. Does not know: shots.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from tasks.errors import MachineNotReadyError, PlanError


@dataclass(frozen=True, slots=True)
class Window:
    """A span of every day. Closes the next day if `closes` is not after `opens`: 19:00-07:00 is a night."""

    opens: time = time(19)
    """Local time at which the nightly batch begins."""
    closes: time = time(7)
    """Local time at which it must have ended."""
    zone: str = "UTC"
    """IANA name of the time zone of both."""

    @classmethod
    def parse(cls, text: str, *, zone: str) -> Self:
        """`19:00-07:00`; empty for the default. Raises MachineNotReadyError for times or a zone that do not exist."""
        try:
            ZoneInfo(zone)
        except (ValueError, OSError, LookupError):
            raise MachineNotReadyError(
                f"DAILIES_TIMEZONE is {zone!r}, which names no time zone; write one such as Europe/Berlin, or UTC"
            ) from None
        if not text:
            return cls(zone=zone)
        match = re.fullmatch(r"\s*(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)\s*", text)
        try:
            if match is None:
                raise ValueError
            hour, minute, last_hour, last_minute = (int(number) for number in match.groups())
            return cls(time(hour, minute), time(last_hour, last_minute), zone)
        except ValueError:
            raise MachineNotReadyError(
                f"DAILIES_NIGHT is {text!r}; write two times of day such as 19:00-07:00"
            ) from None

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    @property
    def cron(self) -> str:
        """When it begins, as a cron line in `zone`."""
        return f"{self.opens.minute} {self.opens.hour} * * *"

    def around(self, now: datetime) -> tuple[datetime, datetime]:
        """Begin and end, in UTC, of the window that is open at `now`, else of the next one. `now` has a time zone."""
        zone = ZoneInfo(self.zone)
        today = now.astimezone(zone).date()
        days = 0 if self.closes > self.opens else 1
        for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
            # combined in local time: a night with a change of the clocks is an hour shorter or longer
            begin = datetime.combine(day, self.opens, zone).astimezone(UTC)
            end = datetime.combine(day + timedelta(days=days), self.closes, zone).astimezone(UTC)
            if now < end:
                return begin, end
        raise AssertionError("the window of tomorrow ends after now")

    def holds(self, now: datetime) -> bool:
        """Whether it is open at `now`."""
        return self.around(now)[0] <= now

    def end(self, until: str, now: datetime, *, scheduled: bool = False) -> datetime | None:
        """When a night that begins at `now` must have ended, UTC; None for whenever it is done.

        `until` is HH:MM, the next such time in `zone`, or an ISO time; empty for the window's end if `scheduled`, else
        for none. Raises PlanError for another text, or a time that is over.
        """
        if not until:
            return self.around(now)[1] if scheduled else None
        zone = ZoneInfo(self.zone)
        local = now.astimezone(zone)
        try:
            if match := re.fullmatch(r"(\d{1,2}):(\d\d)", until):
                wanted = time(int(match[1]), int(match[2]))
                days = 0 if wanted > local.time() else 1
                return datetime.combine(local.date() + timedelta(days=days), wanted, zone).astimezone(UTC)
            given = datetime.fromisoformat(until)
        except ValueError:
            raise PlanError(
                f"until {until!r} is no time; write 07:00, or a date and time such as 2027-01-31T07:00"
            ) from None
        ends = (given if given.tzinfo else given.replace(tzinfo=zone)).astimezone(UTC)
        if ends <= now:
            raise PlanError(f"until {until!r} is over; name a time to come")
        return ends


def machine_timezone() -> str:
    """IANA name of this machine's time zone; UTC where it cannot be told."""
    given = os.environ.get("TZ", "").removeprefix(":")
    link = os.path.realpath("/etc/localtime")
    candidates = [given, link.partition("/zoneinfo/")[2]]
    with suppress(OSError):  # only Debian and its kin have it
        candidates.append(Path("/etc/timezone").read_text(encoding="utf-8").strip())
    for name in candidates:
        try:
            if name and ZoneInfo(name):
                return name
        except (ValueError, OSError, LookupError):
            continue  # a TZ such as CET-1CEST, or a zone that this machine has no table of
    return "UTC"
