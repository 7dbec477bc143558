"""A hundred thousand rows into the catalogue and again; a page, the counts and a night out of a million shots.

On SQLite, and on a PostgreSQL of its own where its binaries are installed. The list is a CSV with plates that many rows
share, read, judged and committed by `flows.lists.submit` as `dailies submit` does it, each time in a process of its
own, whose peak of memory is what is reported; then the same file again. A million shots are written by
`Catalogue.submit` from values, in lists of a hundred thousand; a tenth of them is ready. Prints a table and writes
results/shotlists.json.

    python benchmarks/shotlists.py [--rows N] [--shots N] [--only sqlite|postgresql]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

PLATES: Final = 200
SHOWS: Final = 4
RUNS: Final = 7
NIGHT: Final = 500
"""Shots of the first look of a night: flows.tonight.PAGE."""
LIMITS: Final = {"first": 20.0, "again": 10.0, "rss": 600, "night": 0.100, "status": 0.300}
"""Seconds, and MiB: what issue and operators expect."""


def main() -> None:
    """Measure on each database there is."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rows", type=int, default=100_000)
    words.add_argument("--shots", type=int, default=1_000_000)
    words.add_argument("--only", choices=("sqlite", "postgresql"))
    words.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.child:
        submit_once(*asked.child)
        return
    from report import table, write

    rows: list[dict[str, Any]] = []
    for kind in ("sqlite", "postgresql"):
        if asked.only in (None, kind):
            rows += measured(kind, asked.rows, asked.shots)
    print(table(rows))
    write("shotlists", {"rows": asked.rows, "shots": asked.shots, "load": os.getloadavg()[0], "measured": rows})


def measured(kind: str, rows: int, shots: int) -> list[dict[str, Any]]:
    """Every figure on one kind of database; none where it is not installed."""
    from postgres import NoPostgresError, cluster

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR"))))
        try:
            server = stack.enter_context(cluster()) if kind == "postgresql" else None
        except NoPostgresError as error:
            print(f"without PostgreSQL: {error}", file=sys.stderr)
            return []

        def url(name: str) -> str:
            return server.create(name) if server else f"sqlite:///{folder}/{name}.sqlite"

        found = list(lists(kind, folder, url("lists"), rows))
        return found + list(million(kind, url("million"), shots))


def lists(kind: str, folder: Path, url: str, rows: int) -> Iterator[dict[str, Any]]:
    """The list, in a process of its own, and again."""
    path = write_list(folder, rows)
    environment = {**os.environ, "DAILIES_HOME": str(folder / "home"), "DAILIES_DATABASE_URL": url}
    for what in ("first", "again"):
        done = subprocess.run(
            [sys.executable, __file__, "--child", str(path), str(folder / "plates")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(done.stdout)
        yield {
            "database": kind,
            "what": f"{rows:,} rows, {'the first time' if what == 'first' else 'the same again'}",
            "seconds": said["seconds"],
            "processor": said["processor"],
            "of it catalogue": said["catalogue"],
            "peak MiB": said["rss"],
            "limit": f"{LIMITS[what]:g} s, {LIMITS['rss']} MiB",
        }


def write_list(folder: Path, rows: int) -> Path:
    """A list with twelve columns, and its plates."""
    from PIL import Image

    (folder / "plates").mkdir()
    for number in range(PLATES):
        Image.new("RGB", (1280, 720), (number, 120, 40)).save(folder / f"plates/still{number:03}.png")
    path = folder / "list.csv"
    header = ["show", "sequence", "shot", "plate", "prompt", "frames", "fps", "resolution", "camera", "deliveries"]
    header += ["priority", "Vendor"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for number in range(rows):
            plate = f"still{number % PLATES:03}.png"
            prompt = f"the sea at dawn, seen from boat {number}, fog lifting over the harbour"
            place = (f"SQ{number // 100:04}", f"SH{number:07}")
            writer.writerow(
                ["AGM", *place, plate, prompt, 48, 24, "720p", "push in", "h265 prores", number % 99 + 1, "North"]
            )
    return path


def submit_once(path: str, plates: str) -> None:
    """One submission, in this process; what it took, as JSON."""
    os.environ["DAILIES_PLATES"] = plates
    from catalogs.store import Catalogue
    from flows.lists import submit
    from flows.settings import Settings

    spent = [0.0]
    made = Catalogue.submit

    def timed(*given: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return made(*given, **named)
        finally:
            spent[0] += time.perf_counter() - begun

    Catalogue.submit = timed  # type: ignore[method-assign]
    settings = Settings.read()
    begun, worked = time.perf_counter(), time.process_time()
    outcome = submit(Path(path), settings, mode="upsert")
    assert outcome.accepted, outcome.errors[:3]
    document = {
        "seconds": round(time.perf_counter() - begun, 2),
        "processor": round(time.process_time() - worked, 2),
        "catalogue": round(spent[0], 2),
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(document))


def million(kind: str, url: str, shots: int) -> Iterator[dict[str, Any]]:
    """A catalogue of many shots, and what is asked of it."""
    from catalogs.footage import Status
    from catalogs.shot import Plate, Shot
    from catalogs.store import open_catalogue

    plate = Plate("/plates/still.png", "0" * 64, 1280, 720)
    middle = shots // 2 // SHOWS * SHOWS + 2
    with open_catalogue(url) as catalogue:
        begun = time.perf_counter()
        for first in range(0, shots, 100_000):
            catalogue.submit(
                [
                    Shot(
                        f"SHOW{number % SHOWS}",
                        f"SH{number:07}",
                        48,
                        sequence=f"SQ{number // 100:05}",
                        plate=plate,
                        prompt=f"the sea at dawn, seen from boat {number}",
                        rate=Fraction(24),
                        model="wan2.1-i2v-14b-480p",
                        priority=number * 7 % 99 + 1,
                    )
                    for number in range(first, min(shots, first + 100_000))
                ],
                source="benchmark",
                allow_new=True,
            )
        filled = time.perf_counter() - begun
        _spread(url)
        questions: dict[str, tuple[Callable[[], object], str]] = {
            f"night: the first {NIGHT} shots": (lambda: catalogue.renderable(limit=NIGHT), f"{LIMITS['night']:g} s"),
            "counts by status": (catalogue.counts, ""),
            "shots --limit 1000": (lambda: catalogue.shots(limit=1001), ""),
            "shots --show --status failed": (
                lambda: catalogue.shots(show="show3", status=Status.FAILED, limit=1001),
                "",
            ),
            "a page in the middle": (lambda: catalogue.shots(limit=1001, after=f"SHOW2/SH{middle:07}"), ""),
            "find by slate": (lambda: catalogue.find(f"SHOW2_SQ{middle // 100:05}_SH{middle:07}_v001"), ""),
        }
        print(f"{kind}: {shots:,} shots in {filled:.0f} s", file=sys.stderr)
        for what, (ask, limit) in questions.items():
            yield _asked(kind, what, ask, limit)
    yield _asked(kind, "all that `dailies status` asks", lambda: _status(url), f"{LIMITS['status']:g} s")


def _status(url: str) -> object:
    """The document of `dailies status`, in a home without a batch."""
    from flows import planning
    from flows.settings import Settings

    with tempfile.TemporaryDirectory() as home:
        return planning.standing(Settings.read({"DAILIES_HOME": home, "DAILIES_DATABASE_URL": url}))


def _asked(kind: str, what: str, ask: Callable[[], object], limit: str) -> dict[str, Any]:
    """The median of a few times."""
    spent, worked = [], []
    for _ in range(RUNS):
        begun, before = time.perf_counter(), time.process_time()
        ask()
        spent.append(time.perf_counter() - begun)
        worked.append(time.process_time() - before)
    return {
        "database": kind,
        "what": what,
        "seconds": round(statistics.median(spent), 4),
        "processor": round(statistics.median(worked), 4),
        "of it catalogue": "",
        "peak MiB": "",
        "limit": limit,
    }


def _spread(url: str) -> None:
    """Nine in ten shots are done, one in ten is ready, a few failed; PostgreSQL looks at its tables, as it does."""
    from sqlalchemy import text

    from catalogs.database import connect

    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE shots SET status = 'approved' WHERE id % 10 > 0"))
        connection.execute(text("UPDATE shots SET status = 'failed' WHERE id % 1000 = 0"))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE shots"))
    engine.dispose()


if __name__ == "__main__":
    main()
