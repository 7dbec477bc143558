"""The night as people read it: its plan before it begins, its report in the morning.

Knows: the documents of `dailies plan --night --json` and `dailies night --json`, Rich. Does not know: how any of it
came about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.markdown import Markdown

from desk.show import OUT, clock, counted, document, print_rows, say
from tasks.admission import duration
from tasks.morning_page import markdown, together, unescaped

_SPARE: Final = ("loading", "worker", "GPU")
"""Columns that a narrow terminal does without, the first to go first."""
_NAMED: Final = 4
"""Shots that a line names before it counts them."""


def night_plan(plan: Mapping[str, Any], *, as_json: bool) -> None:
    """What a night would do: reel by reel, then what it leaves, what that lacks, and what the times rest on."""
    if as_json:
        document(plan)
        return
    zone = ZoneInfo(plan.get("zone", "UTC"))
    if not plan["reels"] and not plan["carried_over"] and not plan["refused"]:
        say("Nothing to render: no shot is ready. `dailies shots` lists them all.", on=OUT)
    if plan["reels"]:
        headers = ("reel", "worker>", "model", "shots>", "from", "to", "time>", "GPU>", "loading>")
        ends = {entry["shot"]: entry["ends"] for entry in plan["shots"]}
        print_rows(headers, [_row(reel, ends, zone) for reel in plan["reels"]], spare=_SPARE)
        say("to, time: until its last shot is published. GPU: with loading, without finishing.", "dim", on=OUT)
        for reel in plan["reels"]:
            say(f"{reel['name']}: {_in_order(reel['shots'])}", on=OUT)
    _sum(plan, zone)
    for key, style, ending in (("carried_over", "yellow", "carried over"), ("held", "", "left to others")):
        entries = [{**entry, "slate": entry["shot"]} for entry in plan[key]]
        for reason, shots in together(entries, "reason"):
            say(f"{_named(shots)} {'is' if len(shots) == 1 else 'are'} {ending}: {reason}", style, on=OUT)
    if plan.get("beyond"):
        say(f"{plan['beyond']:,} more shots wait behind these, for which this night has no room.", "yellow", on=OUT)
    for entry in (*plan["refused"], *plan.get("plates", ())):
        say(entry["error"], "red")


def _row(reel: Mapping[str, Any], ends: Mapping[str, str], zone: ZoneInfo) -> tuple[str, ...]:
    """One reel. It ends when the last of its shots is published: what is finished on processors counts."""
    last = max(datetime.fromisoformat(ends[shot]) for shot in reel["shots"])
    whole = (last - datetime.fromisoformat(reel["starts"])).total_seconds()
    return (
        reel["name"],
        str(reel["worker"] + 1),
        reel["model"],
        str(len(reel["shots"])),
        clock(reel["starts"], zone),
        clock(last.isoformat(), zone),
        duration(whole),
        duration(reel["seconds"]),
        duration(reel["load_seconds"]),
    )


def _in_order(shots: Sequence[str]) -> str:
    """`AGM/SH0010 SH0020, BRK/SH0010`: as they are rendered; a show is named where its shots begin."""
    shows = groupby((shot.partition("/") for shot in shots), key=lambda parts: parts[0])
    return ", ".join(f"{show}/{' '.join(code for _, _, code in parts)}" for show, parts in shows)


def _sum(plan: Mapping[str, Any], zone: ZoneInfo) -> None:
    """How many shots on how many workers, until when; what the time amounts to; what it rests on."""
    hours, shots = plan["gpu_hours"], sum(len(reel["shots"]) for reel in plan["reels"])
    until = f" to {clock(plan['until'], zone)}" if plan["until"] else ", until it is done"
    workers = f"{counted(plan['workers'], 'worker')} ({plan['device']})"
    say(f"{counted(shots, 'shot')} from {clock(plan['begins'], zone)}{until} ({zone}) on {workers}.", on=OUT)
    if not plan["reels"] and not plan["carried_over"]:
        return
    available = "" if hours["available"] is None else f" of {hours['available']:.1f} available"
    missing = f"; {hours['missing']:.1f} are missing" if hours["missing"] else ""
    wanted = f", {hours['wanted']:.1f} wanted" if hours["missing"] else ""
    say(f"GPU-hours: {hours['planned']:.1f} planned{available}{wanted}{missing}.", "yellow" if missing else "", on=OUT)
    say(f"Times rest on: {_bases(plan['bases'])}.", on=OUT)


def _bases(bases: Mapping[str, int]) -> str:
    """`history (180 shots), guess: prior of H100, nothing timed on cpu (20)`; sample counts are left out."""
    found: dict[str, int] = {}
    for basis, shots in bases.items():
        short = re.sub(r"^history of \d+ windows?", "history", basis)
        found[short] = found.get(short, 0) + shots
    parts = sorted(found.items(), key=lambda pair: -pair[1])
    return "; ".join(f"{basis} ({counted(shots, 'shot')})" for basis, shots in parts)


def report(found: Mapping[str, Any], *, as_json: bool) -> None:
    """The morning report: set for a terminal; for a pipe the text of the file, without what only Markdown needs."""
    if as_json:
        document(found)
        return
    text = markdown(found)
    if OUT.is_terminal:
        OUT.print(Markdown(text))
    else:
        OUT.print(unescaped(text), markup=False, soft_wrap=True, end="")


def _named(shots: Sequence[str]) -> str:
    """`AGM/SH0010, AGM/SH0020 and 7 more`."""
    more = len(shots) - _NAMED
    return ", ".join(shots[:_NAMED]) + (f" and {more} more" if more > 0 else "")
