"""A thousand ready shots: how long it takes to plan the night, and where that time goes.

Three tiny models (the time to plan does not depend on their size) and the animatic, one to seven windows a shot, and a
history of 20,000 timings, the most that is ever read. Everything goes through `flows.tonight`, as the nightly flow and
`dailies plan --night` do it, in a process that has imported it. Prints a table and writes results/night_plan.json.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from report import table, write  # noqa: E402
from tiny_house import install  # noqa: E402

from catalogs.night import Timing  # noqa: E402
from catalogs.rows import timing_columns  # noqa: E402
from catalogs.shot import Plate, Shot  # noqa: E402
from catalogs.store import Catalogue, open_catalogue  # noqa: E402
from catalogs.tables import TimingRow  # noqa: E402
from flows import tonight as night  # noqa: E402
from flows.settings import Settings  # noqa: E402

SHOTS: Final = 1000
TIMINGS: Final = 20_000
WORKERS: Final = 16
HOURS: Final = 10
LIMIT: Final = 2.0
"""Seconds that a night of a thousand shots may take to plan."""
RUNS: Final = 5
MODELS: Final = ("tiny-a", "tiny-b", "tiny-c", "animatic")
DEVICE: Final = "NVIDIA H100 80GB HBM3"


class Clock:
    """Seconds spent in functions, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def around(self, owner: Any, name: str, what: str) -> None:
        """Count the time that `owner.name` takes as `what`."""
        made: Callable[..., Any] = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return made(*given, **named)
            finally:
                self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - started

        setattr(owner, name, timed)


def fill(catalogue: Catalogue) -> None:
    """Shots of all models, of many lengths, priorities and dates; timings of two sizes of each model."""
    chance = random.Random(1)
    plate = Plate("/plates/still.png", "0" * 64, 1280, 720)
    shots = [
        Shot(
            "AGM",
            f"SH{number:05d}",
            chance.randrange(24, 400),
            sequence=f"SQ{number // 40:03d}",
            plate=plate,
            prompt=f"the sea at dawn, seen from boat {number}",
            rate=Fraction(24),
            width=64,
            height=32,
            model=MODELS[number % len(MODELS)],
            priority=chance.randrange(1, 100),
            due=date(2026, 12, 1) + timedelta(chance.randrange(30)) if number % 3 else None,
        )
        for number in range(SHOTS)
    ]
    catalogue.submit(shots, source="benchmark")
    now = datetime.now(UTC)
    rows = []
    for number in range(TIMINGS):
        model = MODELS[number % len(MODELS)]
        drawn = model == "animatic"
        frames, steps = chance.choice((33, 49, 65, 81)), 0 if drawn else 2
        where = ("", "cpu") if drawn else ("exact", DEVICE)
        one = Timing(
            "window", model, where[0], 64, 32, frames, steps, where[1], frames * chance.uniform(1.5, 3), f"{number}"
        )
        rows.append(TimingRow(**timing_columns(one, at=now)))
    with catalogue.nights._sessions.writing() as session:
        session.add_all(rows)


def main() -> None:
    """Plan the night a few times and report the median."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings.read({"DAILIES_HOME": name})
        for model in MODELS[:-1]:
            install(settings.weights, "wan2.1-i2v", "wan2.1-i2v-14b-720p", called=model)
        with open_catalogue(settings.database_url) as catalogue:
            fill(catalogue)
            clock = Clock()
            clock.around(catalogue, "renderable", "shots from the catalogue")
            clock.around(catalogue.nights, "timings", "timings from the catalogue")
            clock.around(night, "history", "history")
            clock.around(night.engines, "spec_for", "models: cards, weights")
            clock.around(night.engines, "interpolator_spec", "retimer")
            clock.around(night.Prepared, "plan", "windows and content keys")
            clock.around(night, "engine_seconds", "expected seconds")
            clock.around(night, "finish_seconds", "expected seconds")
            clock.around(night, "plan_night", "admission, reels, balance")
            clock.around(night, "night_plan_json", "JSON")
            rows, wholes, busy = [], [], []
            for run in range(RUNS):
                clock.spent.clear()
                started, worked = time.perf_counter(), time.process_time()
                now = datetime.now(UTC)
                found = night.tonight(
                    catalogue,
                    settings,
                    workers=WORKERS,
                    until=now + timedelta(hours=HOURS),
                    now=now,
                    wishes={},
                    device=DEVICE,
                )
                document = night.night_plan_json(found)
                wholes.append(time.perf_counter() - started)
                busy.append(time.process_time() - worked)
                assert len(found.ready) == SHOTS, found.refused[:1]
                rows.append(dict(clock.spent))
                if not run:
                    first = wholes[0]
    middle = sorted(range(RUNS), key=wholes.__getitem__)[RUNS // 2]
    whole, spent = wholes[middle], rows[middle]
    spent["the rest"] = whole - sum(spent.values())
    shown = [{"what": what, "ms": round(1000 * seconds, 1)} for what, seconds in spent.items()]
    print(table([*shown, {"what": "whole night", "ms": round(1000 * whole, 1)}]))
    reels, carried = len(document["reels"]), len(document["carried_over"])
    print(f"{SHOTS} shots on {WORKERS} workers: {reels} reels, {carried} carried over; first time {first:.2f} s")
    print(f"median of {RUNS}: {whole:.2f} s (limit {LIMIT:g} s), {busy[middle]:.2f} s of one processor")
    write(
        "night_plan",
        {
            "shots": SHOTS,
            "timings": TIMINGS,
            "workers": WORKERS,
            "reels": reels,
            "carried_over": carried,
            "parts": shown,
            "seconds": round(whole, 3),
            "processor_seconds": round(busy[middle], 3),
            "first_seconds": round(first, 3),
            "limit_seconds": LIMIT,
        },
    )


if __name__ == "__main__":
    main()
