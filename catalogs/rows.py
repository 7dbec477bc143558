"""Between rows and values: what a Shot, a Take and their parts look like in tables.

Knows: both shapes, field by field. Does not know: sessions, queries, transactions.
Memory: one row at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row

from catalogs.digests import digest, rank
from catalogs.footage import Clip, Deliverable, Finding, Severity, Status, Take
from catalogs.likeness import likeness
from catalogs.night import Attempt, AttemptStatus, Batch, BatchStatus, Run, Stage, Timing
from catalogs.shot import Anchor, Delivery, LoraUse, Plate, Shot
from catalogs.tables import (
    AttemptRow,
    BatchRow,
    ClipRow,
    DeliverableRow,
    FindingRow,
    RunRow,
    ShotRow,
    TakeRow,
    TimingRow,
)
from catalogs.timebase import rate_text

PLAIN = (
    "show",
    "code",
    "frames",
    "sequence",
    "prompt",
    "negative_prompt",
    "handles",
    "width",
    "height",
    "model",
    "seed",
    "steps",
    "guidance",
    "context",
    "overlap",
    "max_rerolls",
    "camera",
    "retimer",
    "priority",
    "due",
    "notes",
    "submitted_by",
)
"""Fields of Shot that stand in a column of their own name and type."""


_PLAIN: Final = attrgetter(*PLAIN)


def fold(code: str) -> str:
    """How codes compare: without case. Codes are ASCII, so this is what every file system does too."""
    return code.lower()


def shot_columns(shot: Shot, *, digested: str | None = None) -> dict[str, Any]:
    """The columns of a shot's request: everything but status, times and keys of its row.

    Whoever writes some of them writes all of them: some are made from the others. `digested` is the shot's digest,
    where it is known.
    """
    columns = dict(zip(PLAIN, _PLAIN(shot), strict=True))
    return columns | {
        "show_folded": fold(shot.show),
        "code_folded": fold(shot.code),
        "digest": digest(shot) if digested is None else digested,
        "rank": rank(shot),
        "likeness": likeness(shot.code),
        "plate": _still(shot.plate),
        "end_plate": _still(shot.end_plate),
        "loras": [[use.name, use.scale] for use in shot.loras],
        "anchors": [[rate_text(anchor.at), _still(anchor.plate)] for anchor in shot.anchors],
        "rate": rate_text(shot.rate),
        "speed": rate_text(shot.speed),
        "deliveries": [delivery.whole for delivery in shot.deliveries],
        "extra": [list(pair) for pair in shot.metadata],
    }


def _still(plate: Plate | None) -> dict[str, Any] | None:
    if plate is None:
        return None
    return {"path": plate.path, "sha256": plate.sha256, "width": plate.width, "height": plate.height}


def shot_value(row: ShotRow | Row[Any]) -> Shot:
    """The shot in a row, or in a result that has all its columns."""
    return Shot(
        **dict(zip(PLAIN, _PLAIN(row), strict=True)),
        plate=_plate(row.plate),
        end_plate=_plate(row.end_plate),
        loras=tuple(LoraUse(name, scale) for name, scale in row.loras),
        anchors=tuple(Anchor(Fraction(at), Plate(**plate)) for at, plate in row.anchors),
        rate=Fraction(row.rate),
        speed=Fraction(row.speed),
        deliveries=tuple(Delivery.parse(text) for text in row.deliveries),
        metadata=tuple((name, value) for name, value in row.extra),
    )


def _plate(columns: Mapping[str, Any] | None) -> Plate | None:
    return None if columns is None else Plate(**columns)


def renders_alike(one: Shot, other: Shot) -> bool:
    """Whether two requests ask for the same pixels and files: dates, notes and the like do not count."""
    # how its files are labelled is written into them
    return one.source_type == other.source_type and one == replace(
        other,
        priority=one.priority,
        due=one.due,
        notes=one.notes,
        submitted_by=one.submitted_by,
        metadata=one.metadata,
    )


def take_value(row: TakeRow, *, fence: int = 0) -> Take:
    """The take in a row, with its deliverables and findings, in the hands of the attempt `fence`."""
    return Take(
        show=row.shot.show,
        sequence=row.sequence,
        code=row.shot.code,
        version=row.version,
        key=row.key,
        status=Status(row.status),
        error=row.error,
        manifest=None if row.manifest is None else Path(row.manifest),
        deliverables=tuple(deliverable_value(part) for part in row.deliverables),
        findings=tuple(finding_value(part) for part in row.findings),
        seconds=tuple((str(step), float(spent)) for step, spent in row.seconds),
        fence=fence,
    )


def clip_row(clip: Clip, *, step: str, position: int) -> ClipRow:
    """A clip that `step` made, as a row."""
    return ClipRow(
        position=position,
        step=step,
        path=str(clip.path),
        sha256=clip.sha256,
        bytes=clip.bytes,
        frame_in=clip.range.start,
        frame_out=clip.range.end,
        rate=rate_text(clip.rate),
        width=clip.width,
        height=clip.height,
    )


_DELIVERABLE = ("kind", "sha256", "bytes", "frames", "width", "height", "codec", "pix_fmt")
_COLOUR = ("color_range", "color_primaries", "color_trc", "colorspace")


def deliverable_row(deliverable: Deliverable, *, position: int) -> DeliverableRow:
    """A deliverable as a row."""
    return DeliverableRow(
        **{name: getattr(deliverable, name) for name in _DELIVERABLE + _COLOUR},
        position=position,
        path=str(deliverable.path),
        rate=rate_text(deliverable.rate),
    )


def deliverable_value(row: DeliverableRow) -> Deliverable:
    """The deliverable in a row."""
    return Deliverable(
        **{name: getattr(row, name) for name in _DELIVERABLE + _COLOUR},
        path=Path(row.path),
        rate=Fraction(row.rate),
    )


_FINDING = ("code", "frame_in", "frame_out", "value", "subject")


def finding_row(finding: Finding, *, position: int) -> FindingRow:
    """A finding as a row."""
    return FindingRow(
        **{name: getattr(finding, name) for name in _FINDING},
        position=position,
        severity=finding.severity.value,
        allowed=finding.limit,
    )


def finding_value(row: FindingRow) -> Finding:
    """The finding in a row."""
    return Finding(
        **{name: getattr(row, name) for name in _FINDING},
        severity=Severity(row.severity),
        limit=row.allowed,
    )


def batch_value(row: BatchRow) -> Batch:
    """The batch in a row."""
    return Batch(
        name=row.name,
        status=BatchStatus(row.status),
        started=row.started_at,
        until=row.until,
        ended=row.ended_at,
        wishes=row.wishes,
        plan=row.plan,
        report=row.report,
        flow_run=row.flow_run,
        resumed=row.resumed,
    )


def run_value(row: RunRow, *, batch: str) -> Run:
    """The run in a row, of the batch of that name."""
    return Run(
        flow_run=row.flow_run,
        batch=batch,
        stage=Stage(row.stage),
        name=row.name,
        worker=row.worker,
        device=row.device,
        beats=row.beats,
        beat_at=row.beat_at,
        said=row.said,
        started=row.started_at,
        ended=row.ended_at,
    )


def attempt_value(row: AttemptRow, *, shot: str, batch: str | None) -> Attempt:
    """The attempt in a row, at the shot `SHOW/CODE`, in the batch of that name or in none."""
    return Attempt(
        shot=shot,
        fence=row.fence,
        batch=batch or "",
        reel=row.reel,
        stage=Stage(row.stage),
        status=AttemptStatus(row.status),
        model=row.model,
        expected=row.expected,
        flow_run=row.flow_run,
        granted=row.granted_at,
        not_before=row.not_before,
        started=row.started_at,
        generated=row.generated_at,
        ended=row.ended_at,
        error=row.error,
        transient=row.transient,
        evidence=row.evidence,
    )


_TIMING = (
    "kind",
    "model",
    "profile",
    "width",
    "height",
    "frames",
    "steps",
    "device",
    "seconds",
    "key",
    "shot",
    "batch",
)


def timing_columns(timing: Timing, *, at: datetime) -> dict[str, Any]:
    """The columns of a timing; `at` where it does not say when."""
    return {name: getattr(timing, name) for name in _TIMING} | {"recorded_at": timing.at or at}


TIMING_READ: Final = tuple(getattr(TimingRow, name) for name in (*_TIMING, "recorded_at"))
"""Columns of a timing in the order of `timing_value`: twenty thousand of them are read before every night."""


def timing_value(read: Sequence[Any]) -> Timing:
    """The timing in a row of the columns TIMING_READ."""
    return Timing(**dict(zip(_TIMING, read, strict=False)), at=read[-1])
