"""A dry run as people read it: one line a shot, what it adds up to, and what stands in the way.

Knows: the document of `dailies plan --json`, Rich. Does not know: how any of it came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from catalogs.timebase import parse_rate, rate_display
from desk.show import OUT, counted, document, print_rows, say
from tasks.admission import duration

_SPARE: Final = ("native", "retiming", "fps", "delivered", "GB", "windows", "size")
"""Columns that a narrow terminal does without, the first to go first."""
_NAMED: Final = 4
"""Shots that a line names before it counts them."""


def plans(plan: Mapping[str, Any], *, as_json: bool) -> None:
    """What rendering would do."""
    if as_json:
        document(plan)
        return
    rows = [_row(entry) for entry in plan["shots"]]
    headers = ("slate", "windows", "native>", "delivered>", "fps>", "size", "model", "retiming", "VRAM>", "way")
    print_rows((*headers, "time>", "GB>"), rows, spare=_SPARE)
    _sum(plan)
    for entry in plan["errors"]:
        say(entry["error"], "red")


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """One shot. Graphics memory and way stay empty where no model runs."""
    made, delivered = (f"{entry[f'{of}width']}x{entry[f'{of}height']}" for of in ("", "delivery_"))
    memory = entry["memory"]
    return (
        entry["slate"],
        _windows([window["frames"] for window in entry["windows"]]),
        str(entry["native_frames"]),
        str(entry["frames"]),
        rate_display(parse_rate(entry["rate"])),
        delivered if made == delivered else f"{made} > {delivered}",
        entry["model"] if memory else entry["engine"],
        entry["retiming"]["engine"],
        f"{memory['vram'] / 1e9:.1f}" if memory and memory["vram"] else "",
        "" if not memory else memory["rung"] or "does not fit",
        duration(entry["seconds"]) if entry["timed_here"] else "unknown",
        f"{entry['bytes'] / 1e9:.2f}",
    )


def _sum(plan: Mapping[str, Any]) -> None:
    """Time and disk of all shots; then what a person should know, each sentence once with the shots it is about."""
    shots = plan["shots"]
    timed = [entry["seconds"] for entry in shots if entry["timed_here"]]
    untimed = [entry for entry in shots if not entry["timed_here"]]
    space = sum(entry["bytes"] for entry in shots)
    about = f"about {duration(sum(timed))}" if timed or not shots else "time unknown on this device"
    about += f" ({len(untimed)} not counted: time unknown on this device)" if timed and untimed else ""
    say(f"{counted(len(shots), 'shot')}, {about}, {space / 1e9:.2f} GB of disk.", on=OUT)
    if space > plan["free_bytes"]:
        short = f"The disk has {plan['free_bytes'] / 1e9:.2f} GB free; shots that do not fit will not be started."
        say(short, "yellow")
    for machine, seconds in _together((entry["measured_on"], entry["seconds"]) for entry in untimed).items():
        took = f"{duration(sum(seconds))} for {counted(len(seconds), 'shot')}"
        say(f"Where that prior holds ({machine}): {took}.", on=OUT)
    notices, lacks = [], []
    for entry in shots:
        memory, shot = entry["memory"] or {}, entry["shot"]
        lacks += [(note, shot) for note in (*entry["notes"], entry["notice"]) if note]
        if memory and not memory["fits"]:
            lacks.append((f"{memory['reason']} {memory['remedy']}", shot))
        elif memory and memory["notice"]:
            notices.append((memory["notice"], shot))
    for style, said in (("", notices), ("yellow", lacks)):
        for sentence, names in _together(said).items():
            say(f"{_named(names)}: {sentence}", style)


def _together(pairs: Iterable[tuple[str, Any]]) -> Mapping[str, list[Any]]:
    """What belongs to the same text, in order."""
    found: dict[str, list[Any]] = {}
    for text, value in pairs:
        found.setdefault(text, []).append(value)
    return found


def _named(shots: Sequence[str]) -> str:
    """`SH0010, SH0020`; many are counted."""
    named, more = ", ".join(shots[:_NAMED]), len(shots) - _NAMED
    return named if more <= 0 else f"{named} and {more} more"


def _windows(frames: Sequence[int]) -> str:
    """`57 + 57`; many are counted: `12 x 77..81`."""
    if len(frames) <= 4:
        return " + ".join(map(str, frames))
    return f"{len(frames)} x {min(frames)}..{max(frames)}"
