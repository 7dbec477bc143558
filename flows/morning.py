"""The morning after a night: gather what the report is made of, and put the night's pictures on one sheet.

Knows: the catalogue, where stills lie while a take can still be continued, what manifests tell viewers. Does not know:
what the report says (tasks.morning), Prefect. Memory: O(shots), and the sheet.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Status
from catalogs.night import Attempt, Batch
from catalogs.store import Catalogue, ShotRecord
from flows.planning import TOLD
from flows.settings import Settings
from tasks.admission import duration
from tasks.engines import ANIMATIC, NOTICES
from tasks.errors import StepError
from tasks.morning import facts_of, morning

LOG: Final = logging.getLogger("dailies")


def morning_report(
    catalogue: Catalogue, name: str, *, zone: str = "UTC", now: datetime | None = None
) -> dict[str, Any]:
    """The document of `dailies night --json` for a batch, over or not. Nothing is written.

    `zone` is the IANA name of the zone in which people read its times. Raises CatalogueError for an unknown batch.
    """
    nights = catalogue.nights
    batch = nights.batch(name)
    attempts = nights.attempts(name)
    return morning(
        batch,
        attempts,
        runs=nights.runs(name),
        timings=nights.timings(batch=name),
        shots=map(facts_of, _told(catalogue, batch, attempts)),
        now=now or datetime.now(UTC),
        zone=zone,
    )


def _told(catalogue: Catalogue, batch: Batch, attempts: Sequence[Attempt]) -> Iterator[ShotRecord]:
    """The shots that a report tells of: the batch's, and what waits for somebody since before, most urgent first."""
    plan = batch.plan
    of_plan = [entry["shot"] for kind in ("carried_over", "refused") for entry in plan.get(kind, ())]
    names = dict.fromkeys([*plan.get("expected", ()), *of_plan, *(attempt.shot for attempt in attempts)])
    for status in (Status.FAILED, Status.QUARANTINED):
        yield from catalogue.shots(status=status, limit=TOLD + len(names))
    yield from catalogue.standings(names)


def night_sheet(report: Mapping[str, Any], settings: Settings, target: Path) -> Path | None:
    """A contact sheet with the middle still of every shot that the night finished; None if no still is left.

    Stills are taken from the shots' work folders; a shot whose work was swept is not on the sheet. A sheet that cannot
    be made costs nobody a night: it is said in the log.
    """
    from tasks.sheet import batch_sheet

    stills, told = [], []
    for entry in report["shots"]:
        still = middle_still(settings.work / entry["show"] / entry["shot"]) if entry["outcome"] == "done" else None
        if still is not None:
            stills.append((entry["slate"], f"render {duration(sum(entry['seconds'].values()))}", still))
            told.append(noticed(entry["manifest"]))
    if not stills:
        return None
    badge, *others = notices_of(told) or [""]
    caption = [report["summary"], *others]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        title = f"Night of {report['batch']}"
        batch_sheet(stills, target, title=title, caption=caption, badge=badge, tags=_tags(told))
    except (StepError, OSError) as error:
        LOG.warning("the contact sheet of the night was not made: %s", error)
        return None
    return target


def noticed(manifest: str | None) -> list[str]:
    """What viewers of a published version must be told, as its manifest has it; nothing if there is none to read."""
    try:
        found = json.loads(Path(manifest).read_text(encoding="utf-8"))["notices"] if manifest else []
        return [str(notice) for notice in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _tags(told: Sequence[Sequence[str]]) -> dict[int, str]:
    """Which stills are an animatic's, where others are not; where all are, the badge says it once."""
    drawn = {place: ANIMATIC for place, notices in enumerate(told) if NOTICES[ANIMATIC] in notices}
    return drawn if len(drawn) < len(told) else {}


def notices_of(told: Sequence[Sequence[str]]) -> list[str]:
    """What viewers of a sheet of many shots must be told, one list of notices for each shot, the loudest first.

    A notice that some of them do not have says how many do. What was said of one shot in its own words is counted.
    """
    known = list(NOTICES.values())
    counts = Counter(notice for notices in told for notice in set(notices) if notice in known)
    found = [(notice, counts[notice]) for notice in known if counts[notice]]
    said = [notice if count == len(told) else f"{count} of {len(told)} shots: {notice}" for notice, count in found]
    own = sum(any(notice not in known for notice in notices) for notices in told)
    return [*said, *([f"{own} of {len(told)} shots have a notice on their own sheets."] if own else [])]


def middle_still(work: Path) -> Path | None:
    """The middle still of a shot's newest work; None where there is none."""
    folders = [folder for folder in work.glob("*/stills") if folder.is_dir()]
    if not folders:
        return None
    stills = sorted(max(folders, key=lambda folder: folder.stat().st_mtime).glob("*.png"))
    return stills[len(stills) // 2] if stills else None
