"""What must hold after any number of faults: asked in SQL, on disk, and of the log of windows. No benchmark itself.

Every check returns what breaks it, in words; nothing is what is wanted.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_house import ask
from rendering import pictures
from sqlalchemy import Connection, text

from tasks.keep import sha256_of

POISON = "POISON"


@dataclass
class Windows:
    """The log of chaos_probe, read."""

    starts: list[tuple[str, str]] = field(default_factory=list)
    """(shot, key) of every window that was begun, in order; the poison one's are counted apart."""
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """By the error's name: windows that were thrown away by a process that lived on."""
    published: Counter[str] = field(default_factory=Counter)
    poisoned: int = 0
    again: list[str] = field(default_factory=list)
    """Windows that were begun after they were kept."""
    longest: float = 0.0
    """Seconds between two lines."""

    @property
    def progress(self) -> int:
        """Windows kept and versions published."""
        return self.kept.total() + self.published.total()

    @property
    def redone(self) -> int:
        """Windows begun more than once, each time counted."""
        return len(self.starts) - len(set(self.starts))

    @property
    def lost(self) -> int:
        """Windows that were begun and neither kept nor thrown away: their process was killed."""
        return len(self.starts) - self.kept.total() - self.failed.total()


def read_windows(log: Path, *, since: float = 0.0) -> Windows:
    """Everything that the log says by now."""
    found, before = Windows(), since
    for line in log.read_text().splitlines() if log.exists() else ():
        word, shot, key, _, at = line.split()
        if word == "start" and shot == POISON:
            found.poisoned += 1
        elif word == "start":
            if found.kept[shot, key]:
                found.again.append(f"{shot} {key[:12]}")
            found.starts.append((shot, key))
        elif word == "kept":
            found.kept[shot, key] += 1
        elif word == "published":
            found.published[shot] += 1
        else:
            found.failed[word.partition(":")[2]] += 1
        found.longest = max(found.longest, float(at) - before if before else 0.0)
        before = float(at)
    return found


def in_sql(catalogue: Connection) -> dict[str, list[str]]:
    """What the catalogue alone can say."""

    def rows(statement: str) -> list[str]:
        return [" ".join(map(str, row)) for row in catalogue.execute(text(statement))]

    return {
        "every shot is published, failed or quarantined": rows(
            "SELECT code, status FROM shots WHERE status NOT IN ('review', 'failed', 'quarantined')"
        ),
        "what failed or is quarantined says why": rows(
            "SELECT code, status FROM shots WHERE status IN ('failed', 'quarantined') AND error = ''"
        ),
        "one published take for each shot in review": rows(
            "SELECT shots.code, count(takes.id) FROM shots LEFT JOIN takes ON takes.shot_id = shots.id "
            "AND takes.status = 'review' WHERE shots.status = 'review' GROUP BY shots.code HAVING count(takes.id) <> 1"
        ),
        "no window stands in the history twice": rows(
            "SELECT shot, key, count(*) FROM timings WHERE kind = 'window' GROUP BY shot, key HAVING count(*) > 1"
        ),
        "no attempt, run or batch is open": rows(
            "SELECT 'attempt', shot_id, fence, status FROM attempts WHERE status IN ('waiting', 'running') UNION ALL "
            "SELECT 'run', id, beats, name FROM runs WHERE ended_at IS NULL UNION ALL "
            "SELECT 'batch', id, resumed, name FROM batches WHERE status <> 'ended'"
        ),
        "no take is being rendered": rows(
            "SELECT shots.code, takes.version FROM takes JOIN shots ON shots.id = takes.shot_id "
            "WHERE takes.status = 'rendering'"
        ),
    }


def of_poison(catalogue: Connection) -> list[str]:
    """The poison plate is quarantined, and two deaths stand there with what was found of them."""
    [(status, error)] = catalogue.execute(text("SELECT status, error FROM shots WHERE code = 'POISON'")).all()
    wrong = [] if status == "quarantined" and "died" in error else [f"it is {status}: {error or 'without a word'}"]
    found = catalogue.execute(
        text(
            "SELECT attempts.fence, attempts.evidence FROM attempts JOIN shots ON shots.id = attempts.shot_id "
            "WHERE shots.code = 'POISON' AND attempts.status = 'died'"
        )
    ).all()
    if len(found) < 2:
        wrong.append(f"{len(found)} deaths are known")
    for fence, evidence in found:
        told: Mapping[str, Any] = json.loads(evidence) if isinstance(evidence, str) else evidence
        if not (told.get("gone") and told.get("worker")):
            wrong.append(f"attempt {fence} has no evidence: {told}")
    return wrong


def on_disk(catalogue: Connection, home: Path, peace: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """What lies in the deliveries, held against the catalogue and against what was rendered in peace."""
    files: dict[str, dict[Path, str]] = defaultdict(dict)
    for shot, path, sha256 in catalogue.execute(
        text(
            "SELECT shots.code, deliverables.path, deliverables.sha256 FROM deliverables "
            "JOIN takes ON takes.id = deliverables.take_id JOIN shots ON shots.id = takes.shot_id "
            "WHERE takes.status = 'review'"
        )
    ):
        files[shot][Path(path)] = sha256
    review = set(catalogue.execute(text("SELECT code FROM shots WHERE status = 'review'")).scalars())
    versions = {shot: sorted((home / "deliveries").glob(f"*/*/{shot}/*")) for shot in (*peace, POISON)}
    versions |= {
        shot: sorted((home / "deliveries").glob(f"*/*/{shot}/.v*")) + found for shot, found in versions.items()
    }
    return {
        "one version on disk for each shot in review, none else": [
            f"{shot}: {', '.join(one.name for one in found) or 'nothing'}"
            for shot, found in versions.items()
            if [one.name for one in found] != (["v001"] if shot in review else [])
        ],
        "every file is the one that the catalogue knows": [
            f"{shot} {path.name}"
            for shot, known in files.items()
            for path, sha256 in known.items()
            if not path.exists() or sha256_of(path) != sha256
        ]
        + [f"{shot}: no file is known" for shot in sorted(review) if not files[shot]],
        "decoded frames are those of an undisturbed render": [
            shot for shot in sorted(review) if pictures(versions[shot][-1]) != peace.get(shot)
        ],
    }


def of_windows(found: Windows, *, kills: int, disk: int) -> dict[str, list[str]]:
    """What the log of windows says. `disk`: windows that a full disk may have cost."""
    thrown = found.failed.total()
    return {
        "no window that was kept is begun again": found.again,
        "no version is published twice": [f"{shot} {times}" for shot, times in found.published.items() if times > 1],
        "at most one window redone for each kill": []
        if found.lost <= kills and found.redone <= kills + disk
        else [f"{found.redone} redone: {found.lost} with their process, {thrown} thrown away; {kills} kills"],
    }


def left_running(port: int, *, patience: float) -> tuple[list[str], float]:
    """Flow runs of ours that are in no final state, and limits still held, `patience` seconds later; the seconds.

    Asked of Prefect's server: every run that is no coming one of the schedule, whatever its deployment.
    """
    began = time.monotonic()
    while True:
        try:
            runs = _unfinished(port)
            held = [
                f"limit {limit['name']} holds {limit['active_slots']}"
                for limit in ask(port, "v2/concurrency_limits/filter", {})
                if limit["active_slots"] > 0.01
            ]
            left = runs + held
        except OSError as error:
            left = [f"the server does not answer: {error}"]
        took = time.monotonic() - began
        if not left or took > patience:
            return left, took
        time.sleep(1)


def _unfinished(port: int) -> list[str]:
    open_types = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]
    asked = {"flow_runs": {"state": {"type": {"any_": open_types}}}, "limit": 200}
    runs: Sequence[Mapping[str, Any]] = ask(port, "flow_runs/filter", asked)
    return [f"{run['name']} is {run['state_name']}" for run in runs if not run.get("auto_scheduled")]
