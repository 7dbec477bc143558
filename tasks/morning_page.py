"""The morning report as a page of Markdown: what needs a person comes first. Pure: the report's JSON in, text out.

Knows: the document of `tasks.morning`, Markdown. Does not know: how it came about, who shows it. Memory: the page.

Names, errors and what processes said are foreign text: they are escaped, so that no heading, link, picture, table or
markup comes of them in whatever shows the page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from tasks.admission import duration

_NAMED: Final = 12
"""Shots that a line names before it counts them."""
_LINES: Final = 20
"""Lines of one section; the JSON has them all."""
_LONGEST: Final = 600
"""Letters of a foreign text that are shown."""
_BROKEN: Final = ("quarantined", "failed", "quarantined_before", "failed_before")
"""Needs that are about shots which went wrong."""
_WHAT: Final = {"nothing_done": "wait, none is done", "no_time": "had no room"}
"""What became of the shots of the other needs."""
_BAR: Final = 48
"""Letters of a worker's line of the night."""


def markdown(report: Mapping[str, Any]) -> str:
    """The page: headline, what needs a person, what was carried over, what it cost, who was busy when."""
    sections = [
        _headline(report),
        _needs(report),
        _carried(report),
        _cancelled(report),
        _cost(report),
        _deaths(report),
        _slowest(report),
        _busy(report),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def plain(text: str) -> str:
    """Foreign text as Markdown that shows just that text, on one line; what is very long is cut.

    A backslash makes any ASCII punctuation literal (CommonMark 0.31, section 2.4). Links that renderers make of bare
    addresses are broken up likewise. Letters that reorder the line or are none are left out. An underscore inside a
    word means nothing there (section 6.2), and most names have some: it stays as it is.
    """
    seen = "".join(" " if letter.isspace() else letter for letter in text)
    seen = " ".join("".join(letter for letter in seen if not unicodedata.category(letter).startswith("C")).split())
    if len(seen) > _LONGEST:
        seen = f"{seen[:_LONGEST].rstrip()} …"
    seen = re.sub(r"([\\`*\[\]<>|~&@$#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z]))", r"\\\1", seen)
    return re.sub(r":(?=//)", r"\\:", re.sub(r"\b(www)\.", r"\1\\.", seen, flags=re.I))


def brief(error: str) -> str:
    """Why a shot is quarantined, without what each death left: `its process died 2 times while at it`."""
    found = re.match(r"(its process died \d+ times while at it) \(.*\); look at", error, flags=re.S)
    return found[1] if found else error


def unescaped(page: str) -> str:
    """A page of ours as people read it where nothing renders it: without the backslashes of `plain`."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", page)


def code(name: str) -> str:
    """A name in the letters of a program. One that could end them early is escaped instead."""
    return f"`{name}`" if re.fullmatch(r"[\w./ -]+", name) else plain(name)


def together(entries: Iterable[Mapping[str, Any]], key: str) -> list[tuple[str, list[str]]]:
    """(text, slates) of entries that say the same in `key`, apart from their own names, durations and paths. Where
    these differ the text is the first one's, and says so. What most say comes first."""
    found: dict[str, tuple[set[str], str, list[str]]] = {}
    for entry in entries:
        text = str(entry[key])
        for name in (entry["slate"], entry["shot"]):
            text = text.removeprefix(f"{name}: ").removeprefix(f"{name}:")
        alike = text.replace(entry["slate"], "…").replace(entry["shot"], "…")
        alike = re.sub(r"\d+(\.\d+)? (s|min|h)\b|/\S+", "…", alike)
        texts, _, slates = found.setdefault(alike, (set(), text, []))
        texts.add(text)
        slates.append(entry["slate"])
    told = [
        (text if len(texts) == 1 else f"{text} (said of the first)", slates) for texts, text, slates in found.values()
    ]
    return sorted(told, key=lambda pair: -len(pair[1]))


def named(slates: Sequence[str]) -> str:
    """`A`, `B` and 3 more."""
    more = len(slates) - _NAMED
    return ", ".join(map(code, slates[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _headline(report: Mapping[str, Any]) -> list[str]:
    zone = ZoneInfo(report["zone"])
    span = f"{_clock(report['started'], zone)} to {_clock(report['finished'], zone)} ({plain(report['zone'])})"
    until = f", window until {_clock(report['until'], zone)}" if report["until"] else ""
    made = f"{duration(report['finished_seconds'])} of footage, " if report["finished_seconds"] else ""
    said = [f"{made}{span}{until}."]
    if report["resumed"]:
        said.append(f"The night was taken up again {_times(report['resumed'])} after its flow run was gone.")
    return [f"# Night of {report['batch']}", "", f"**{report['summary']}.**", "", " ".join(said)]


def _needs(report: Mapping[str, Any]) -> list[str]:
    """What somebody has to see to, each with its command; quarantined shots with their evidence, failed by cause."""
    needs = {one["need"]: one for one in report["needs"]}
    if not needs:
        return ["Nothing needs you."]
    broken = {shot for name in _BROKEN if name in needs for shot in needs[name]["shots"]}
    lines = [f"## Needs you{': ' + _counted(len(broken), 'shot') if broken else ''}", ""]
    if one := needs.get("quarantined"):
        for entry in report["quarantined"][:_LINES]:
            lines.append(f"- {code(entry['slate'])} is **quarantined**: {plain(brief(entry['error']))}")
            for death in entry["evidence"]:
                lines.append(f"    - {_death(death)}")
        lines += [*_and_more(len(report["quarantined"])), _then(one)]
    if one := needs.get("failed"):
        lines += [*_failed(report["failed"]), _then(one)]
    for name in _BROKEN[2:]:
        if one := needs.get(name):
            before = [entry for entry in report["before"] if entry["shot"] in one["shots"]]
            entries = [{**entry, "error": brief(entry["error"])} for entry in before]
            for text, slates in together(entries, "error")[:_LINES]:
                lines += [f"- **{_counted(len(slates), 'shot')}, {entries[0]['status']} before**: {plain(text)}  "]
                lines += [f"  {named(slates)}"]
            lines.append(_then(one))
    for name in ("nothing_done", "no_time"):
        if one := needs.get(name):
            lines.append(f"- **{_counted(len(one['shots']), 'shot')}** {_WHAT[name]}: {plain(one['says'])}: {_do(one)}")
    return lines


def _then(need: Mapping[str, Any]) -> str:
    """What to do about the lines above."""
    return f"- To do: {plain(need['says'])}: {_do(need)}"


def _do(need: Mapping[str, Any]) -> str:
    return code(need["command"])


def _failed(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Failed shots, together by cause."""
    lines = []
    causes = together(failed, "error")
    for text, slates in causes[:_LINES]:
        lines.append(f"- **{_counted(len(slates), 'shot')} failed**: {plain(text)}  ")
        lines.append(f"  {named(slates)}")
    for entry in [entry for entry in failed if entry["then"]][:_LINES]:
        lines.append(
            f"- {code(entry['slate'])} was tried {_times(entry['tries'])}; at last it said: {plain(entry['then'])}"
        )
    return lines + _and_more(len(causes), "cause")


def _death(death: Mapping[str, Any]) -> str:
    """One line of evidence; a stack's last line is the one that says where it hung."""
    parts = [f"{plain(death['worker'])}" if death["worker"] else "no worker", plain(death["why"] or "no reason known")]
    if death["said"]:
        parts.append(f"last words: {plain(death['said'])}")
    known = ("at", "worker", "said", "why", "stack")
    more = {name: str(value) for name, value in death.items() if name not in known and value}
    # what the reason says already is not said again
    parts += [f"{plain(name)}: {plain(value)}" for name, value in more.items() if value not in death["why"]]
    if stack := str(death.get("stack") or "").strip():
        where = next((line for line in stack.splitlines() if line.strip().startswith("File ")), stack.splitlines()[-1])
        parts.append(f"it stood in: {plain(where)}")
    return "; ".join(parts)


def _carried(report: Mapping[str, Any]) -> list[str]:
    entries = report["carried_over"]
    if not entries:
        return []
    missing = report["missing_gpu_hours"]
    short = f"; {duration(3600 * missing)} of GPU time was missing" if missing else ""
    lines = [f"## Carried over: {_counted(len(entries), 'shot')}{short}", ""]
    workers = report["workers_planned"]
    if missing and report["until"] and workers:
        longer = duration(3600 * missing / workers)
        lines += [f"A window {longer} longer on {_counted(workers, 'worker')}, or more workers, would have done.", ""]
    reasons = together(entries, "reason")
    for text, slates in reasons[:_LINES]:
        lines += [f"- {_counted(len(slates), 'shot')}: {plain(text)}  ", f"  {named(slates)}"]
    return lines + _and_more(len(reasons), "reason")


def _cancelled(report: Mapping[str, Any]) -> list[str]:
    entries = report["cancelled"]
    if not entries:
        return []
    lines = [f"## Cancelled: {_counted(len(entries), 'shot')}, ready for another night", ""]
    for text, slates in together(entries, "reason")[:_LINES]:
        lines += [f"- {_counted(len(slates), 'shot')}: {plain(text)}  ", f"  {named(slates)}"]
    return lines


def _cost(report: Mapping[str, Any]) -> list[str]:
    gpu, engine, loads = report["gpu_seconds"], report["engine_seconds"], report["loads"]
    if not gpu:
        return []
    lines = [
        "## What it cost",
        "",
        f"- {duration(gpu)} of GPU time, {_share(engine, gpu)} of it in windows and loading",
    ]
    if ratio := report["gpu_seconds_per_finished_second"]:
        lines.append(f"- {ratio:.1f} s of GPU time for each second of footage")
    lines.append(
        f"- {_counted(report['windows'], 'window')}, {_counted(loads['count'], 'model load')}"
        f"{' in ' + duration(loads['seconds']) if loads['count'] else ''}"
    )
    return lines


def _deaths(report: Mapping[str, Any]) -> list[str]:
    deaths = report["deaths"]
    if not deaths:
        return []
    lost = duration(sum(death["lost_seconds"] for death in deaths))
    zone = ZoneInfo(report["zone"])
    lines = [f"## Died on the way: {_counted(len(deaths), 'attempt')}, {lost} of work lost", ""]
    for death in deaths[:_LINES]:
        where = f" on {plain(death['worker'].partition(', pid')[0])}" if death["worker"] else ""
        lines.append(
            f"- {_clock(death['at'], zone)} {code(death['slate'])}{where}, {duration(death['lost_seconds'])} lost: "
            f"{plain(death['why'])}"
        )
    return lines + _and_more(len(deaths))


def _slowest(report: Mapping[str, Any]) -> list[str]:
    if not report["slowest"]:
        return []
    lines = ["## Slowest shots", "", "| shot | time | longest step |", "|---|---:|---|"]
    for entry in report["slowest"]:
        step, seconds = max(entry["steps"].items(), key=lambda pair: pair[1])
        lines.append(f"| {code(entry['slate'])} | {duration(entry['seconds'])} | {plain(step)}, {duration(seconds)} |")
    return lines


def _busy(report: Mapping[str, Any]) -> list[str]:
    if not report["workers"]:
        return []
    zone = ZoneInfo(report["zone"])
    ruler = f"{_clock(report['started'], zone)}".ljust(_BAR - 5) + _clock(report["finished"], zone)
    return ["## When the workers were busy", "", "```text", *timeline(report, ruler), "```"]


def timeline(report: Mapping[str, Any], ruler: str) -> list[str]:
    """One line a worker: `█` where it was busy, `▒` where it was in part, `·` where it was not."""
    first, last = (datetime.fromisoformat(report[name]).timestamp() for name in ("started", "finished"))
    each = max(last - first, 1.0) / _BAR
    names = [re.sub(r"[^\w.:@ -]", "?", worker["worker"]) for worker in report["workers"]]
    wide = max(map(len, names))
    lines = [f"{'':{wide}}  {ruler}"]
    for name, worker in zip(names, report["workers"], strict=True):
        busy = [[datetime.fromisoformat(end).timestamp() for end in span] for span in worker["busy"]]
        bar = ""
        for slot in range(_BAR):
            start, end = first + slot * each, first + (slot + 1) * each
            share = sum(max(0.0, min(end, b) - max(start, a)) for a, b in busy) / each
            bar += "█" if share > 0.9 else "▒" if share > 0.05 else "·"
        lines.append(f"{name:{wide}}  {bar}  {_share(worker['busy_seconds'], last - first)}")
    return lines


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole > 0 else "0 %"


def _and_more(number: int, word: str = "shot") -> list[str]:
    more = number - _LINES
    return [f"- and {_counted(more, word)} more; the JSON report names them all"] if more > 0 else []


def _clock(at: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(at).astimezone(zone):%H:%M}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
