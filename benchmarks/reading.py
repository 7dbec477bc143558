"""100,000 rows of a shot list, CSV and XLSX, read and judged by the rules of this installation; nothing is written.

Twelve columns, one plate for all rows, a code of its own for each, fifty prompts. Each format is read in a process of
its own, from its import to the last shot. Prints a table and writes results/reading.json.

    python benchmarks/reading.py [ROWS]
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xlsxwriter
from PIL import Image

HEAD = (
    *("show", "sequence", "shot", "plate", "prompt", "frames"),
    *("fps", "resolution", "deliveries", "priority", "notes", "vendor"),
)


def rows(count: int) -> Iterator[list[str | int]]:
    """The list, its header first."""
    yield [*HEAD]
    for number in range(count):
        prompt = f"a slow push over the harbour, fog lifting, number {number % 50}"
        first: list[str | int] = ["AGM", f"SQ{number // 100:04d}", f"SH{number:06d}", "plate.png", prompt]
        yield [*first, 120 + number % 5, 24, "1280x720", "h265 prores", 50, "note", f"x{number}"]


def write(folder: Path, count: int) -> None:
    """The same list as CSV and as a workbook, and its plate."""
    Image.new("RGB", (1280, 720), (90, 120, 40)).save(folder / "plate.png")
    with (folder / "AGM.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows(count))
    book = xlsxwriter.Workbook(folder / "AGM.xlsx")
    sheet = book.add_worksheet()
    for line, row in enumerate(rows(count)):
        sheet.write_row(line, 0, row)
    book.close()


def read(path: Path) -> dict[str, Any]:
    """What reading a list took in this process."""
    started, used = time.perf_counter(), time.process_time()
    from catalogs.shotlist import read_shot_list
    from flows import lists
    from flows.settings import Settings

    settings = Settings.read({"DAILIES_HOME": str(path.parent / "home"), "HOME": str(path.parent)})
    result = read_shot_list(path, lists.rules(settings, show=None))
    return {
        "format": path.suffix[1:],
        "mb": round(path.stat().st_size / 1e6, 1),
        "shots": len(result.shots),
        "problems": len(result.problems),
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time() - used, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(read(Path(sys.argv[2]))))
        return
    from report import table
    from report import write as keep

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count)
        found = [
            json.loads(
                subprocess.run(
                    [sys.executable, __file__, "--one", str(Path(folder) / f"AGM.{ending}")],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for ending in ("csv", "xlsx")
        ]
    print(table(found))
    keep("reading", {"rows": count, "formats": found})


if __name__ == "__main__":
    main()
