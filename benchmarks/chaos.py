"""A night that is broken on purpose: a hundred SIGKILLs and more, and what must hold afterwards all the same.

    python benchmarks/chaos.py --kills 100 --seed 7 [--shots 100] [--database postgresql|sqlite]

A house with two GPU workers (fake ones: the animatic needs none), a batch of small shots, one of which kills whatever
process renders it. A seeded plan kills workers, reels, finishing runs, ffmpegs, the night itself and Prefect's server,
restarts the database, fills the disk. A night that ends while kills are left is followed by another, as an operator
would: what two kills have put into quarantine is released. The last night is undisturbed. The exit code is 1 if
anything that must hold does not. Needs Linux; PostgreSQL's binaries for the default database; root to have a disk that
can be filled. Takes about 15 seconds for each kill on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaos_faults import SERVERS, Faults, plan, programs  # noqa: E402
from chaos_house import Place, end, in_peace, night, plates, scratch, shot_list, up  # noqa: E402
from chaos_invariants import (  # noqa: E402
    POISON,
    in_sql,
    left_running,
    of_poison,
    of_windows,
    on_disk,
    read_windows,
)
from report import table, write  # noqa: E402
from sqlalchemy import create_engine, text  # noqa: E402

from flows.prefect_server import free_port  # noqa: E402

NIGHTS = 25
"""More than that many nights mean that no night gets anywhere."""

STUCK = 400.0
"""Seconds without a line in the log of windows and without a fault after which a night is called stuck."""


def main() -> int:
    """Break a night for each seed, print, keep; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs, the server's besides")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="of the plan of faults; several: one run each")
    parser.add_argument("--shots", type=int, help="shots besides the poison one; default one a kill, 40 at least")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--gap", type=float, nargs=2, default=(3.0, 10.0), help="least and most seconds between faults")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds that each window takes longer")
    parser.add_argument("--reference", type=Path, help="file of undisturbed digests, made if it is not there")
    parser.add_argument("--kept", default="chaos", help="name of the result below benchmarks/results; empty for none")
    parser.add_argument("--logs", type=Path, help="folder for the logs of a run that went wrong")
    asked = parser.parse_args()
    asked.shots = asked.shots or max(40, asked.kills)
    runs = [one(asked, seed) for seed in asked.seed]
    for run in runs:
        show(run)
    if asked.kept:
        write(asked.kept, {"shots": asked.shots + 1, "database": asked.database, "runs": runs})
    return 1 if any(found for run in runs for found in run["violations"].values()) else 0


def one(asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One run: the place, the nights, the checks."""
    with scratch(asked.database, pause=asked.pause) as place:
        rows = shot_list(asked.shots, plates(place.folder / "plates"))
        peace = in_peace(place, rows, kept=asked.reference)
        say("the undisturbed frames are known")
        place.house.submit(*rows)
        besides = ["server"] * max(1, asked.kills // SERVERS) + ["database restart"] * (place.postgres is not None)
        besides += ["full disk"] * place.mounted
        chance = random.Random(seed)
        faults = Faults(place, plan(asked.kills, seed, besides=besides), chance, tuple(asked.gap), said=say)
        violations: dict[str, list[str]] = {}
        port = free_port()
        try:
            with up(place, port) as house:
                say("the house is up")
                began = time.monotonic()
                nights = all_nights(place, faults, violations)
                seconds = time.monotonic() - began
                violations["no flow run is left unfinished, no limit held"], settled = left_running(port, patience=150)
                say(f"{settled:.0f} s until nothing of it was open in Prefect")
                violations["the house goes down when asked"] = []
                try:
                    down = end(house, patience=240)
                except TimeoutExpired:
                    violations["the house goes down when asked"] = ["it was there after 240 s"]
                    down = 240.0
            left = programs(place.home)
            violations["no program of the house is left"] = [" ".join(one.words)[:120] for one in left.values()]
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return judged(place, faults, peace, violations, nights) | {
                "seed": seed,
                "seconds": round(seconds, 1),
                "seconds_until_prefect_settled": round(settled, 1),
                "seconds_to_go_down": round(down, 1),
            }
        finally:
            faults.settle()
            judged_well = sys.exc_info()[0] is None and not any(violations.values())
            if asked.logs and not judged_well:
                keep_logs(place, asked.logs / f"seed{seed}")


def all_nights(place: Place, faults: Faults, violations: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Nights until no fault is left and every innocent shot is out; what each came to."""
    nights: list[dict[str, Any]] = []
    wrong = violations["every night comes to its end by itself"] = []
    while len(nights) < NIGHTS:
        said = place.folder / f"night{len(nights)}.json"
        before, moved = time.monotonic(), time.monotonic()
        running, lines = night(place, said), 0
        while running.poll() is None:
            found = read_windows(place.log)
            faults.step(found.progress)
            now = len(found.starts) + found.progress + len(faults.done)
            if now != lines:
                lines, moved = now, time.monotonic()
            if time.monotonic() - moved > STUCK:
                wrong.append(f"night {len(nights) + 1} was stuck")
                running.kill()
                return nights
        counts, words = _told(said)
        nights.append({"seconds": round(time.monotonic() - before, 1), **counts})
        if not counts and "did not begin" in words:  # killed in its first seconds: whoever called for it is told
            say(f"a night did not begin: {words}")
            continue
        if not counts:
            wrong.append(f"night {len(nights)} ended without a report: {words}")
        say(f"night {len(nights)} ended: {counts}")
        todo = _innocent(place)
        if not todo and not faults.plan:
            break
        if not todo:
            say(f"{len(faults.plan)} faults are left, and no shot: the list is too short for them")
            break
        quarantined = [shot for shot, status in todo.items() if status == "quarantined"]
        if quarantined:
            done = place.house.run("release", *quarantined)
            if done.returncode:
                wrong.append(done.stderr)
    return nights


def _told(said: Path) -> tuple[dict[str, int], str]:
    """The counts of a night's report, or none and its last words."""
    try:
        document = json.loads(said.read_text())
        if "counts" in document:
            return document["counts"], ""
    except ValueError:
        document = {}
    lines = said.with_suffix(".err").read_text().strip().splitlines()
    return {}, str(document.get("error") or " ".join(lines[-1:]))


def _innocent(place: Place) -> dict[str, str]:
    """Shots that are not out, and should be."""
    engine = create_engine(place.database_url)
    with engine.connect() as catalogue:
        rows = catalogue.execute(text("SELECT code, status FROM shots WHERE status <> 'review'")).all()
    engine.dispose()
    return {code: status for code, status in rows if code != POISON}


def judged(
    place: Place,
    faults: Faults,
    peace: dict[str, dict[str, str]],
    violations: dict[str, list[str]],
    nights: list[dict[str, Any]],
) -> dict[str, Any]:
    """Every check, and the counts."""
    found = read_windows(place.log)
    by_kind = Counter(kind for _, kind, _ in faults.done)
    kills = sum(count for kind, count in by_kind.items() if kind not in ("full disk", "database restart"))
    engine = create_engine(place.database_url)
    with engine.connect() as catalogue:
        disk = catalogue.execute(
            text("SELECT count(*) FROM attempts WHERE status = 'failed' AND error LIKE '%No space left%'")
        ).scalar_one()
        violations |= in_sql(catalogue) | on_disk(catalogue, place.home, peace)
        violations["the poison plate is quarantined with evidence"] = of_poison(catalogue)
        outcomes, attempts = (
            dict(map(tuple, catalogue.execute(text(f"SELECT status, count(*) FROM {of} GROUP BY status")).all()))
            for of in ("shots", "attempts")
        )
    engine.dispose()
    violations |= of_windows(found, kills=kills, disk=disk)
    return {
        "faults": dict(sorted(by_kind.items())),
        "kills": kills,
        "left_out": [*faults.left_out, *(f"{kind}: no shot was left" for kind in faults.plan)]
        + ([] if place.mounted else ["full disk: mounting is not permitted"]),
        "outcomes": outcomes,
        "attempts": attempts,
        "nights": nights,
        "windows": {
            "begun": len(found.starts),
            "kept": found.kept.total(),
            "redone": found.redone,
            "lost_with_their_process": found.lost,
            "thrown_away": dict(found.failed),
            "poison": found.poisoned,
        },
        "longest_outage_seconds": round(found.longest, 1),
        "violations": violations,
    }


def keep_logs(place: Place, folder: Path) -> None:
    """What helps to find out why."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*place.folder.glob("*.log"), *place.folder.glob("night*"), *place.home.glob("prefect/logs/*")]:
        shutil.copyfile(path, folder / path.name)
    shutil.copytree(place.home / "batches", folder / "batches", dirs_exist_ok=True)
    if place.postgres is not None:
        shutil.copyfile(place.postgres.folder / "log", folder / "postgres.log")
        for name in ("dailies", "prefect"):
            (folder / f"{name}.txt").write_text(
                "\n\n".join(place.postgres.psql(statement, database=name) for statement in DUMPS[name])
            )
    else:
        shutil.copyfile(place.home / "catalogue.sqlite", folder / "catalogue.sqlite")


DUMPS = {
    "dailies": (
        "SELECT code, status, fence, deaths, error FROM shots ORDER BY id",
        "SELECT attempts.id, code, attempts.fence, reel, stage, attempts.status, transient, flow_run, granted_at, "
        "not_before, started_at, ended_at, attempts.error, evidence FROM attempts "
        "JOIN shots ON shots.id = shot_id ORDER BY attempts.id",
        "SELECT id, flow_run, stage, name, worker, beats, beat_at, said, started_at, ended_at FROM runs ORDER BY id",
        "SELECT name, status, flow_run, resumed, started_at, ended_at FROM batches",
    ),
    "prefect": (
        "SELECT id, name, state_type, state_name, run_count, start_time, end_time, parameters FROM flow_run "
        "ORDER BY created",
        "SELECT flow_run_id, timestamp, type, name, message FROM flow_run_state ORDER BY timestamp",
        'SELECT name, active_slots, "limit" FROM concurrency_limit_v2',
    ),
}


def show(run: dict[str, Any]) -> None:
    """For people."""
    print(f"\nseed {run['seed']}: {run['kills']} kills in {run['seconds']} s, {len(run['nights'])} nights")
    print(table([run["faults"]]))
    print(table([run["outcomes"] | {"longest outage": run["longest_outage_seconds"]}]))
    print(table([run["windows"]]))
    for one in run["left_out"]:
        print(f"left out: {one}")
    print(table([{"must hold": name, "violations": len(found)} for name, found in sorted(run["violations"].items())]))
    for name, found in run["violations"].items():
        for words in found[:5]:
            print(f"VIOLATION, {name}: {words}")


def say(words: str) -> None:
    """A line with the time, at once."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
