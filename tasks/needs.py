"""What a night leaves for somebody to do, each with the command that does it. Pure: values of the report in, JSON out.

Knows: the document of `tasks.morning` before its `needs` are in it. Does not know: how it came about, who reads it.
Memory: O(shots named).

    quarantined         processes died at them: look at the evidence, then let them in again
    failed              mend what the error names; the next night tries them again
    quarantined_before  they wait for somebody since an earlier night
    failed_before       likewise, and this night did not have them
    nothing_done        shots were handed out, and not one of them is finished
    no_time             the window had no room for them

A night after which this list is empty needs nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_TYPED: Final = 3
"""Shots that a command is written out for; of more it says `SHOT...`."""


def needs(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries `need`, `shots` (`SHOW/CODE`), `says` (a sentence without a stop), `command`, most urgent first.

    `report` needs the keys `counts`, `failed`, `quarantined`, `carried_over` and `before`.
    """
    left = {
        status: [one for one in report["before"] if one["status"] == status] for status in ("quarantined", "failed")
    }
    short = [one for one in report["carried_over"] if one["cause"] == "time"]
    found = [
        _need(
            "quarantined",
            report["quarantined"],
            "look at what each death left, mend plate, size or LoRAs, then let them in again",
            "dailies release",
        ),
        _need(
            "failed", report["failed"], "mend what the error names; the next night tries them again", "dailies render"
        ),
        _need(
            "quarantined_before",
            left["quarantined"],
            "quarantined since an earlier night, and no night takes them up",
            "dailies release",
        ),
        _need("failed_before", left["failed"], "failed before, and this night did not have them", "dailies render"),
        _nothing_done(report),
        _need(
            "no_time",
            short,
            "carried over for want of time; a longer DAILIES_NIGHT or more workers make room every night, "
            "a night without an end renders them now",
        ),
    ]
    return [one for one in found if one["shots"]]


def _need(need: str, entries: Sequence[Mapping[str, Any]], says: str, command: str = "dailies night") -> dict[str, Any]:
    shots = [entry["shot"] for entry in entries]
    if command != "dailies night":
        command = f"{command} {' '.join(shots) if len(shots) <= _TYPED else 'SHOT...'}"
    return {"need": need, "shots": shots, "says": says, "command": command}


def _nothing_done(report: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing came of a night that had something to do; empty where something did, or where failures say why."""
    left = [one for one in report["carried_over"] if one["cause"] in ("stopped", "died", "lost")]
    counts = report["counts"]
    idle = not counts["done"] and not counts["failed"] and not counts["quarantined"]
    why = "the night was stopped" if any(one["cause"] == "stopped" for one in left) else "the night was over"
    return _need(
        "nothing_done",
        left if idle else (),
        f"{why} before one shot was finished; the next one goes on with them, or now",
    )
