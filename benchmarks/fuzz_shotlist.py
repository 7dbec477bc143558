"""10,000 mutated shot lists, CSV and XLSX: no traceback, no partial write, none over two seconds of the processor.

Each case is a sound list of twelve shots with one to three mutations: cells set to extremes, columns and rows doubled,
dropped or swapped, bytes flipped, cut out, doubled or appended; for a workbook values in other types, merged cells, its
XML edited, its archive damaged. It is submitted to a catalogue as the command line would. Refused, the catalogue must
hold exactly what it held; accepted, exactly the list's shots more. Prints a table and writes
results/fuzz_shotlist.json.

    python benchmarks/fuzz_shotlist.py [CASES] [SEED]
"""

from __future__ import annotations

import csv
import io
import logging
import random
import resource
import sqlite3
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import xlsxwriter
from PIL import Image

from flows import lists
from flows.settings import Settings

LIMIT = 2.0
"""Seconds of the processor that a case may take; on the clock it may wait for whoever else is at work."""

HEAD = (
    *("show", "sequence", "shot", "plate", "prompt", "frames", "fps", "resolution", "handles", "deliveries"),
    *("speed", "priority", "due", "anchors", "loras", "Vendor"),
)
HOSTILE = (
    *("", " ", "0", "-1", "1e9", "NaN", "inf", "48.0", "48.5", "9" * 5000, "1/0", "23.976", "2" * 90_000, "١٢"),
    *("../../etc/passwd", "/dev/zero", "/etc", "pipe.png", "loop.png", "https://a/b.png", "concat:a|b", "a/" * 30_000),
    *(
        "CON",
        "nul.txt",
        "SH10\u202egnp",
        "Cafe\u0301",
        "ＳＨ",
        "x" * 70,
        "SH_0010",
        "sh0010",
        "Sh010",
        "$(id)",
        "a\x1b[2J",
    ),
    *("=1+1", "@x", "+1", "'=1", '"', '""', "\n", "\r\n", "\t", ";", ",", "a,b;c\td", "\ufeff", "\u2028", "\x85"),
    *(
        "[0s] x [1s",
        "[4] x",
        "[1s] " * 500,
        "1s=plate.png",
        "every 1s=plate.png;" * 200,
        "mist:9 fog:-1",
        "h265 " * 3000,
    ),
    *("prores:hq:4444", "1280x721", "99999x2", "480p", "12:00", "2026-02-30", "x" * 200_000, "{shot}", "/a/b/c/d"),
)
SPELLINGS = (
    *("Name", "Shot Code", "Nb Frames", "Cut In", "Cut Out", "Head In", "Tail Out", "Folder Path", "error", "Episode"),
    *("shot", "SHOT", "", "shoot", "frame_in", "frame_out", "seconds", "x" * 400, "\u202eshot", "model", "seed"),
)
NUMBERS = ("0", "-1", "1048577", "99999999999", "XFD1048576", "A0", "ZZZZ9", "1e5", "", "&#65;", "NaN", "2147483648")

Grid = list[list[Any]]


def sound() -> Grid:
    """A list that is taken in."""
    rows: Grid = [list(HEAD)]
    for number in range(12):
        code, due = f"SH{number * 10:04d}", "2026-12-24" if number % 3 else ""
        anchors = "" if number % 4 else "1s=plate.png"
        first = ("AGM", f"SQ{number // 4:03d}", code, "plate.png", "fog, lifting", "48", "24", "1280x720", "0", "h265")
        rows.append([*first, "1", "50", due, anchors, "", f"{number:03d}"])
    return rows


def a_cell(grid: Grid, dice: random.Random) -> None:
    row = dice.choice(grid[1:] or grid)
    if row:
        row[dice.randrange(len(row))] = dice.choice(HOSTILE)


def a_header(grid: Grid, dice: random.Random) -> None:
    grid[0][dice.randrange(len(grid[0]))] = dice.choice(SPELLINGS)


def a_column(grid: Grid, dice: random.Random) -> None:
    place, kind = dice.randrange(len(grid[0])), dice.randrange(3)
    for row in grid:
        if kind == 0 and len(row) > place:
            del row[place]
        elif kind == 1:
            row.insert(place, dice.choice((*SPELLINGS, *HOSTILE)))
        elif len(row) > place:
            row.append(row[place])


def a_row(grid: Grid, dice: random.Random) -> None:
    place, kind = dice.randrange(len(grid)), dice.randrange(4)
    if kind == 0 and len(grid) > 1:
        del grid[place]
    elif kind == 1:
        grid.insert(place, list(grid[dice.randrange(len(grid))]))
    elif kind == 2:
        grid.insert(place, [""] * dice.randrange(30))
    else:
        grid[place] = grid[place][: dice.randrange(len(grid[place]) + 1)] or [""]


def many_columns(grid: Grid, dice: random.Random) -> None:
    count = dice.choice((100, 990, 10_000))
    grid[0] += [f"c{number}" for number in range(count)]


def many_rows(grid: Grid, dice: random.Random) -> None:
    grid += [list(grid[-1]) for _ in range(dice.choice((50, 500)))]


GRIDS: tuple[Callable[[Grid, random.Random], None], ...] = (
    *(a_cell, a_cell, a_cell, a_cell, a_header, a_column, a_row),
    *(many_columns, many_rows),
)


def flip(raw: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 8)):
        raw[dice.randrange(len(raw))] = dice.randrange(256)


def cut(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(raw))
    del raw[start : start + dice.randrange(1, 200)]


def double(raw: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(raw))
    raw[start:start] = raw[start : start + dice.randrange(1, 500)] * dice.choice((1, 2, 50))


def insert(raw: bytearray, dice: random.Random) -> None:
    words = [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\x81\x8d", b"PK\x03\x04", bytes(dice.randbytes(40)), b"\xc3"]
    start = dice.randrange(len(raw) + 1)
    raw[start:start] = dice.choice(words)


def append(raw: bytearray, dice: random.Random) -> None:
    raw += dice.choice((bytes(1000), dice.randbytes(3000), b"\n" * 5000, b"PK\x05\x06" + bytes(18), b'"'))


BYTES: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, cut, double, insert, append)


def as_csv(grid: Grid, dice: random.Random) -> bytes:
    """The grid in one of the dialects and encodings that people send."""
    text = io.StringIO(newline="")
    ends = dice.choice(("\n", "\r\n", "\r"))
    csv.writer(text, delimiter=dice.choice(",;\t"), lineterminator=ends).writerows(grid)
    encoding = dice.choice(("utf-8", "utf-8", "utf-8-sig", "cp1252", "utf-16"))
    return text.getvalue().encode(encoding, errors="replace")


def as_workbook(grid: Grid, dice: random.Random) -> bytes:
    """The grid as a sheet, some of its cells in types that nobody expects."""
    stream = io.BytesIO()
    book = xlsxwriter.Workbook(stream, {"in_memory": True, "nan_inf_to_errors": True})
    sheet = book.add_worksheet(dice.choice(("Shots", "Sheet1", "Zoë")))
    day, percent = book.add_format({"num_format": "yyyy-mm-dd"}), book.add_format({"num_format": "0%"})
    for line, row in enumerate(grid):
        for place, text in enumerate(row):
            kind = dice.randrange(600)
            if kind == 0:
                sheet.write_number(line, place, dice.choice((0.5, 1e300, -1.0, 2.0**60, 48.0)), percent)
            elif kind == 1:
                sheet.write_formula(line, place, "=1/0", None, dice.choice(("#DIV/0!", "", 48, "text")))
            elif kind == 2:
                sheet.write_boolean(line, place, True)
            elif kind == 3:
                sheet.write_datetime(line, place, date(2026, 12, 24), day)
            elif text[:30].isdigit() and len(text) < 15:
                sheet.write_number(line, place, int(text))
            else:
                sheet.write_string(line, place, text[:32_000])
    if dice.randrange(4) == 0:
        sheet.merge_range(1, 0, dice.randrange(2, 20), dice.randrange(3), "AGM")
    if dice.randrange(4) == 0:
        sheet.set_row(dice.randrange(12), None, None, {"hidden": True})
    book.close()
    return stream.getvalue()


def edited(raw: bytes, dice: random.Random) -> bytes:
    """A workbook one of whose parts was changed, zipped again."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        parts = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    name = dice.choice([one for one in parts if one.endswith((".xml", ".rels"))])
    part = parts[name]
    if dice.randrange(2):
        quotes = [place for place, byte in enumerate(part) if byte == 34]
        if len(quotes) > 3:
            place = dice.randrange(0, len(quotes) - 1)
            part[quotes[place] + 1 : quotes[place + 1]] = dice.choice(NUMBERS).encode()
    elif part:
        dice.choice((*BYTES, _entity))(part, dice)
    if dice.randrange(8) == 0:
        del parts[dice.choice(list(parts))]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))) as archive:
        for one, content in parts.items():
            archive.writestr(one, bytes(content))
    return stream.getvalue()


def _entity(part: bytearray, dice: random.Random) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]>'
    at = part.find(b"?>") + 2
    part[at:at] = bomb
    place = part.find(b"<v>")
    if place > 0:
        part[place + 3 : place + 3] = dice.choice((b"&a;", b"&b;"))


def made(dice: random.Random) -> tuple[str, str, bytes]:
    """Kind of mutation, ending and content of a case."""
    grid, names = sound(), set()
    for _ in range(dice.randrange(0, 4)):
        change = dice.choice(GRIDS)
        if not grid or not grid[0]:
            break
        change(grid, dice)
        names.add(change.__name__)
    if dice.randrange(2):
        raw, ending = as_csv(grid, dice), "csv"
    else:
        raw, ending = as_workbook(grid, dice), "xlsx"
        if dice.randrange(3) == 0:
            raw = edited(raw, dice)
            names.add("xml")
    if dice.randrange(3) == 0:
        content = bytearray(raw)
        for _ in range(dice.randrange(1, 3)):
            if content:
                dice.choice(BYTES)(content, dice)
        raw = bytes(content)
        names.add("bytes")
    return f"{ending} {'bytes' if 'bytes' in names else 'xml' if 'xml' in names else 'cells'}", ending, raw


def held(database: Path) -> tuple[int, str]:
    """How many shots a catalogue holds, and a digest of all that may change in it."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT show, code, frames, revision, updated_at FROM shots ORDER BY id").fetchall()
        count = connection.execute("SELECT count(*) FROM submissions").fetchone()
    connection.close()
    return len(rows), f"{hash(tuple(rows))} {count}"


def run(cases: int, *, seed: int, folder: Path) -> dict[str, Any]:
    dice = random.Random(seed)
    result: dict[str, Any] = {"cases": cases, "seed": seed, "accepted": 0, "refused": 0, "tracebacks": 0}
    result |= {"partial_writes": 0, "over_limit": 0, "slowest_processor_s": 0.0, "slowest_s": 0.0}
    kinds: dict[str, dict[str, Any]] = {}
    codes: Counter[str] = Counter()
    Image.new("RGB", (64, 36), (90, 120, 40)).save(folder / "plate.png")
    (folder / "loop.png").symlink_to("loop.png")
    before_rss = 0
    for case in range(cases):
        if case % 500 == 0:  # a catalogue that has not grown
            settings = Settings.read({"DAILIES_HOME": str(folder / f"home{case}"), "HOME": str(folder)})
            lists.submit(_written(folder, "csv", as_csv(sound(), random.Random(1))), settings, mode="upsert")
            database = settings.home / "catalogue.sqlite"
            print(f"{case} of {cases}", file=sys.stderr)
        kind, ending, raw = made(dice)
        path = _written(folder, ending, raw)
        before = held(database)
        started, used = time.perf_counter(), time.process_time()
        outcome = None
        try:
            outcome = lists.submit(path, settings, mode="upsert", errors=folder / "out.csv")
        except Exception:
            result["tracebacks"] += 1
            print(f"case {case}, seed {seed}\n{traceback.format_exc()}", file=sys.stderr)
            path.rename(folder.parent / f"fuzz_shotlist_case{case}.{ending}")
        took, used = time.perf_counter() - started, time.process_time() - used
        after = held(database)
        row = kinds.setdefault(kind, {"cases": 0, "accepted": 0, "slowest_processor_s": 0.0})
        row["cases"] += 1
        row["slowest_processor_s"] = round(max(row["slowest_processor_s"], used), 2)
        if outcome is not None and outcome.result is not None:
            result["accepted"] += 1
            row["accepted"] += 1
            result["partial_writes"] += after[0] != before[0] + len(outcome.result.new)
        elif outcome is not None:
            result["refused"] += 1
            codes.update({one.code for one in outcome.errors})
            result["partial_writes"] += after != before
        result["over_limit"] += used > LIMIT
        result["slowest_processor_s"] = round(max(result["slowest_processor_s"], used), 2)
        result["slowest_s"] = round(max(result["slowest_s"], took), 2)
        if case == min(200, cases - 1):
            before_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result |= {"peak_rss_mb": peak // 1024, "peak_rss_growth_mb": (peak - before_rss) // 1024}
    result["codes"] = dict(sorted(codes.items()))
    result["by_kind"] = {name: kinds[name] for name in sorted(kinds)}
    return result


def _written(folder: Path, ending: str, raw: bytes) -> Path:
    path = folder / f"AGM.{ending}"
    path.write_bytes(raw)
    return path


def main() -> None:
    from report import table, write

    logging.disable(logging.CRITICAL)
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = run(cases, seed=seed, folder=Path(folder))
    result["seconds"] = round(time.perf_counter() - start, 1)
    print(table([{"kind": name, **counts} for name, counts in result["by_kind"].items()]))
    print("refused for", ", ".join(f"{code} {count}" for code, count in result["codes"].items()))
    print(table([{name: value for name, value in result.items() if name not in ("by_kind", "codes")}]))
    write("fuzz_shotlist", result)
    sys.exit(bool(result["tracebacks"] or result["partial_writes"] or result["over_limit"]))


if __name__ == "__main__":
    main()
