"""The morning after a night: gather what the report is made of, and put the night's pictures on one sheet.

Knows: the catalogue, where stills lie while a take can still be continued. Does not know: what the report says
(tasks.morning), Prefect. Memory: O(shots), and the sheet.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from catalogs.store import Catalogue
from flows.settings import Settings
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
    return morning(
        batch,
        nights.attempts(name),
        runs=nights.runs(name),
        timings=nights.timings(batch=name),
        shots=map(facts_of, catalogue.shots()),
        now=now or datetime.now(UTC),
        zone=zone,
    )


def night_sheet(report: Mapping[str, Any], settings: Settings, target: Path) -> Path | None:
    """A contact sheet with the middle still of every shot that the night finished; None if no still is left.

    Stills are taken from the shots' work folders; a shot whose work was swept is not on the sheet. A sheet that cannot
    be made costs nobody a night: it is said in the log.
    """
    from tasks.sheet import batch_sheet

    stills = []
    for entry in report["shots"]:
        still = middle_still(settings.work / entry["show"] / entry["shot"]) if entry["outcome"] == "done" else None
        if still is not None:
            seconds = sum(entry["seconds"].values())
            stills.append((entry["slate"], f"{seconds:.0f} s", still))
    if not stills:
        return None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        batch_sheet(stills, target, title=f"Night of {report['batch']}", caption=[report["summary"]])
    except (StepError, OSError) as error:
        LOG.warning("the contact sheet of the night was not made: %s", error)
        return None
    return target


def middle_still(work: Path) -> Path | None:
    """The middle still of a shot's newest work; None where there is none."""
    folders = [folder for folder in work.glob("*/stills") if folder.is_dir()]
    if not folders:
        return None
    stills = sorted(max(folders, key=lambda folder: folder.stat().st_mtime).glob("*.png"))
    return stills[len(stills) // 2] if stills else None
