"""The morning report of a night: what became of every shot, what it cost, who was busy when. Pure: values in, JSON out.

Knows: a batch with its plan, attempts, runs, timings, and how its shots stand now. Does not know: the catalogue, files,
how the report is shown (`morning_page`). Memory: O(attempts and timings of the batch).

Every shot that the night's plan names, or that got an attempt, has one outcome:

    done          published
    failed        its last attempt ended with an error, or it could not be planned
    quarantined   processes died at it
    carried_over  left for another night, with the reason and its cause
    cancelled     somebody took it out

What the night left for people to do (`needs`) counts in what earlier nights left: shots that are still quarantined or
failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from catalogs.footage import Status
from catalogs.night import Attempt, AttemptStatus, Batch, Run, Stage, Timing
from catalogs.shot import slate
from tasks.needs import needs
from tasks.publish import deliverable_json

if TYPE_CHECKING:
    from catalogs.store import ShotRecord

OUTCOMES: Final = ("done", "failed", "quarantined", "carried_over", "cancelled")
"""What can become of a shot in a night."""
TIME, STOPPED, DIED, LOST, OTHER = "time", "stopped", "died", "lost", "other"
"""Why a shot was carried over: no room in the window; the night was stopped; its process died, and there was no other
try; its runs went away before they began it; it was approved or omitted meanwhile."""
SLOWEST: Final = 5
"""How many of the slowest shots are named."""
_TAKEN_UP: Final = (Status.READY, Status.RETAKE, Status.RENDERING, Status.FAILED)
"""Where a shot stands that a night gives somebody to render."""
_CLOCKS: Final = timedelta(seconds=60)
"""A night that ends this short of its window's end was ended by the window: clocks of machines differ."""
_TOGETHER: Final = timedelta(seconds=30)
"""A worker that pauses for less is busy all the while: one run ends and the next begins."""


@dataclass(frozen=True, slots=True)
class ShotFacts:
    """How a shot stands when the report is made."""

    shot: str
    """`SHOW/CODE`."""
    slate: str
    """Of its newest take; without a version if it has none: `AGM_SQ010_SH0010`."""
    version: int
    """Of its newest take; 0 for none."""
    status: Status
    error: str
    deliverables: tuple[Mapping[str, Any], ...]
    """Of its newest take, as the manifest lists them, paths absolute."""
    manifest: str | None
    """Absolute path of its newest take's."""
    seconds: Mapping[str, float]
    """Wall seconds of its newest take by step."""
    footage: float
    """Seconds that the shot plays, handles included."""


def facts_of(record: ShotRecord) -> ShotFacts:
    """What the report needs of a shot in the catalogue."""
    shot, take = record.shot, record.take
    folder = take.manifest.parent if take and take.manifest else PurePath()
    return ShotFacts(
        shot=shot.name,
        slate=slate(shot.show, shot.sequence, shot.code, record.version) if record.version else _untaken(record),
        version=record.version,
        status=record.status,
        error=record.error,
        deliverables=tuple(deliverable_json(one, str(folder / one.path.name)) for one in take.deliverables)
        if take
        else (),
        manifest=str(take.manifest) if take and take.manifest else None,
        seconds=dict(take.seconds) if take else {},
        footage=float(shot.total_frames / shot.rate),
    )


def _untaken(record: ShotRecord) -> str:
    """The slate of a shot that has no take yet."""
    shot = record.shot
    return "_".join(part for part in (shot.show, shot.sequence, shot.code) if part)


def morning(
    batch: Batch,
    attempts: Sequence[Attempt],
    *,
    runs: Sequence[Run],
    timings: Sequence[Timing],
    shots: Iterable[ShotFacts],
    now: datetime,
    zone: str = "UTC",
) -> dict[str, Any]:
    """The document of `dailies night --json`.

    `attempts`, `runs` and `timings` are the batch's, attempts in the order of their grants; `shots` are at least those
    of the plan and the attempts; others that are quarantined or failed stand so since `before`. `now` is the night's
    end where the batch has none yet; `zone` the IANA name of the zone in which people read its times. Times are UTC,
    seconds are wall seconds.
    """
    facts = {one.shot: one for one in shots}
    tries: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.shot, []).append(attempt)
    ended = batch.ended or now
    carried = {entry["shot"]: entry["reason"] for entry in batch.plan.get("carried_over", ())}
    refused = {entry["shot"]: entry["error"] for entry in batch.plan.get("refused", ())}
    named = [*batch.plan.get("expected", ()), *carried, *refused, *tries]
    late = batch.until is not None and ended >= batch.until - _CLOCKS
    fates = {
        name: _fate(facts[name], tries.get(name, ()), carried.get(name, ""), refused.get(name, ""), late=late)
        for name in dict.fromkeys(named)
        if name in facts
    }
    having = {outcome: [name for name in fates if fates[name].outcome == outcome] for outcome in OUTCOMES}
    footage = math.fsum(facts[name].footage for name in having["done"])
    gpu = math.fsum(_lasted(run, ended) for run in runs if run.stage is Stage.GENERATE)
    loads = [one for one in timings if one.kind == "load"]
    windows = [one for one in timings if one.kind == "window"]
    counts = {"shots": len(fates), **{outcome: len(names) for outcome, names in having.items()}}
    short = [name for name in having["carried_over"] if fates[name].cause == TIME]
    report = {
        "batch": batch.name,
        "summary": summary(counts),
        "counts": counts,
        "started": _iso(batch.started),
        "until": _iso(batch.until) if batch.until else None,
        "finished": _iso(ended),
        "zone": zone,
        "resumed": batch.resumed,
        "seconds": round((ended - batch.started).total_seconds(), 3),
        "shots": [_entry(facts[name], fate) for name, fate in fates.items()],
        "failed": [
            {
                **_of(facts[name]),
                "error": fates[name].error,
                "tries": sum(one.started is not None for one in tries.get(name, ())),
                "then": fates[name].then,
            }
            for name in having["failed"]
        ],
        "quarantined": [
            {**_of(facts[name]), "error": fates[name].error, "evidence": _evidence(tries.get(name, ()), runs)}
            for name in having["quarantined"]
        ],
        "carried_over": [
            {**_of(facts[name]), "reason": fates[name].error, "cause": fates[name].cause}
            for name in having["carried_over"]
        ],
        "cancelled": [{**_of(facts[name]), "reason": fates[name].error} for name in having["cancelled"]],
        "before": [
            {**_of(one), "status": one.status.value, "error": one.error}
            for one in facts.values()
            if one.status in (Status.QUARANTINED, Status.FAILED) and one.shot not in fates
        ],
        "deaths": _deaths(attempts, runs, windows, facts),
        "gpu_seconds": round(gpu, 3),
        "engine_seconds": round(math.fsum(one.seconds for one in (*windows, *loads)), 3),
        "finished_seconds": round(footage, 3),
        "gpu_seconds_per_finished_second": round(gpu / footage, 3) if footage else None,
        "missing_gpu_hours": round(_missing(batch, short, carried, tries) / 3600, 3),
        "workers_planned": batch.plan.get("workers", 0),
        "loads": {"count": len(loads), "seconds": round(math.fsum(one.seconds for one in loads), 3)},
        "windows": len(windows),
        "slowest": _slowest([facts[name] for name in having["done"]]),
        "workers": _workers(runs, ended),
    }
    return {**report, "needs": needs(report)}


def summary(counts: Mapping[str, int]) -> str:
    """`183 of 200 shots done, 3 failed, 12 carried over`: what did not happen is not named."""
    if not counts["shots"]:
        return "no shot was ready"
    others = [f"{counts[one]} {one.replace('_', ' ')}" for one in OUTCOMES[1:] if counts[one]]
    return ", ".join([f"{counts['done']} of {counts['shots']} shots done", *others])


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of a shot."""

    outcome: str
    error: str = ""
    """Why it is not done: of several errors the first."""
    then: str = ""
    """The last error, where it is another one."""
    cause: str = ""
    """Of a shot that was carried over: `time`, `stopped`, `died`, `lost` or `other`."""


def _fate(facts: ShotFacts, tries: Sequence[Attempt], carried: str, refused: str, *, late: bool) -> _Fate:
    """What became of a shot with these attempts; `carried` and `refused` are what the plan says of it. `late`: it was
    the window that ended the night, if anything did."""
    if facts.status is Status.QUARANTINED:
        return _Fate("quarantined", facts.error or "processes died at it")
    if not tries:
        if refused:
            return _Fate("failed", refused)
        if carried:
            return _Fate("carried_over", carried, cause=TIME)
        if facts.status not in _TAKEN_UP:
            return _Fate("carried_over", f"left out: it was {facts.status} when its turn came", cause=OTHER)
        return _ended_first(late=late, begun=False)
    last = tries[-1]
    if last.status is AttemptStatus.DONE:
        return _Fate("done")
    if last.status is AttemptStatus.CANCELLED:
        return _Fate("cancelled", last.error or "somebody cancelled it")
    if last.status is AttemptStatus.FAILED:
        errors = [one.error for one in tries if one.status is AttemptStatus.FAILED]
        return _Fate("failed", errors[0], errors[-1] if errors[-1] != errors[0] else "")
    if last.status is AttemptStatus.DIED:
        said = f"its process died, and the night was over before another try ({last.error})"
        return _Fate("carried_over", said, cause=DIED)
    fate = _released(last, late=late)
    # what the next night has to know is why it did not come so far, not that it was then released
    before = next((one.error for one in reversed(tries) if one.status is AttemptStatus.FAILED), "")
    return replace(fate, error=f"{fate.error}; before that: {before}") if before else fate


def _released(last: Attempt, *, late: bool) -> _Fate:
    """Why a shot was given back that is not to be tried again tonight; an attempt that is open counts as that."""
    if told := str(last.evidence.get("carried", "")):
        return _Fate("carried_over", told.removeprefix("carried over: "), cause=TIME)
    if "state" in last.evidence:  # given up from outside, again and again
        return _Fate("carried_over", last.error or "its run went away", cause=LOST)
    return _ended_first(late=late, begun=last.started is not None)


def _ended_first(*, late: bool, begun: bool) -> _Fate:
    """The night was over first: by the window's end, or because somebody stopped it."""
    why = "the window ended" if late else "the night was stopped"
    when = "while it was at work; what is finished of it is kept" if begun else "before its turn"
    return _Fate("carried_over", f"{why} {when}", cause=TIME if late else STOPPED)


def _of(facts: ShotFacts) -> dict[str, str]:
    return {"shot": facts.shot, "slate": facts.slate}


def _entry(facts: ShotFacts, fate: _Fate) -> dict[str, Any]:
    """A shot as `render --json` has it. What an earlier night delivered is not this one's."""
    show, _, code = facts.shot.partition("/")
    done, tried = fate.outcome == "done", fate.outcome in ("done", "failed")
    return {
        "slate": facts.slate,
        "show": show,
        "shot": code,
        "version": facts.version,
        "status": facts.status.value,
        "outcome": fate.outcome,
        "error": fate.error if fate.outcome in ("failed", "quarantined") else "",
        "deliverables": [dict(one) for one in facts.deliverables] if done else [],
        "manifest": facts.manifest if done else None,
        "seconds": dict(facts.seconds) if tried else {},
    }


def _evidence(tries: Sequence[Attempt], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What is known of each death of a shot."""
    known = {run.flow_run: run for run in runs}
    return [
        {
            "at": _iso(one.ended) if one.ended else None,
            "worker": known[one.flow_run].worker if one.flow_run in known else "",
            "said": known[one.flow_run].said if one.flow_run in known else "",
            "why": one.error,
            **one.evidence,
        }
        for one in tries
        if one.status is AttemptStatus.DIED
    ]


def _deaths(
    attempts: Sequence[Attempt], runs: Sequence[Run], windows: Sequence[Timing], facts: Mapping[str, ShotFacts]
) -> list[dict[str, Any]]:
    """Every attempt whose process died: since when it worked, less the windows that were kept, is lost."""
    known = {run.flow_run: run for run in runs}
    found = []
    for one in attempts:
        if one.status is not AttemptStatus.DIED or one.ended is None:
            continue
        began = one.generated if one.stage is Stage.FINISH and one.generated else one.started
        kept = math.fsum(
            window.seconds
            for window in windows
            if window.shot == one.shot and window.at and began and began <= window.at <= one.ended
        )
        spent = (one.ended - began).total_seconds() if began else 0.0
        found.append(
            {
                "shot": one.shot,
                "slate": facts[one.shot].slate if one.shot in facts else one.shot,
                "stage": one.stage.value,
                "worker": known[one.flow_run].worker if one.flow_run in known else "",
                "at": _iso(one.ended),
                "why": one.error,
                "lost_seconds": round(max(0.0, spent - kept), 1),
            }
        )
    return found


def _missing(
    batch: Batch, left: Sequence[str], planned: Mapping[str, str], tries: Mapping[str, Sequence[Attempt]]
) -> float:
    """GPU-seconds of what is carried over for want of time: as expected, and the loading that the plan had counted
    with it."""
    expected: Mapping[str, float] = batch.plan.get("expected", {})
    seconds = math.fsum(
        expected.get(name) or max((one.expected for one in tries.get(name, ())), default=0.0) for name in left
    )
    missing = 3600 * batch.plan.get("gpu_hours", {}).get("missing", 0.0)
    loading = missing - math.fsum(expected.get(name, 0.0) for name in planned)
    return seconds + (max(0.0, loading) if set(left) & set(planned) else 0.0)


def _slowest(done: Iterable[ShotFacts]) -> list[dict[str, Any]]:
    by_time = sorted(done, key=lambda one: (-math.fsum(one.seconds.values()), one.shot))
    return [
        {**_of(one), "seconds": round(math.fsum(one.seconds.values()), 1), "steps": dict(one.seconds)}
        for one in by_time[:SLOWEST]
        if one.seconds
    ]


def _workers(runs: Sequence[Run], ended: datetime) -> list[dict[str, Any]]:
    """When each worker was busy, whatever the processes in which it was."""
    mine: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        mine.setdefault((run.stage.value, run.worker.partition(", pid")[0]), []).append(run)
    found = []
    for (stage, worker), its in sorted(mine.items(), key=lambda pair: (pair[0][0] != Stage.GENERATE, pair[0][1])):
        busy: list[list[datetime]] = []
        for run in sorted(its, key=lambda run: run.started):
            end = max(run.started, run.ended or ended)
            if busy and run.started - busy[-1][1] < _TOGETHER:
                busy[-1][1] = max(busy[-1][1], end)
            else:
                busy.append([run.started, end])
        found.append(
            {
                "worker": worker,
                "stage": stage,
                "device": its[-1].device,
                "runs": len(its),
                "busy_seconds": round(math.fsum((end - start).total_seconds() for start, end in busy), 1),
                "busy": [[_iso(start), _iso(end)] for start, end in busy],
            }
        )
    return found


def _lasted(run: Run, ended: datetime) -> float:
    return max(0.0, ((run.ended or ended) - run.started).total_seconds())


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
