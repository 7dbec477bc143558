"""Shots with versions as a catalogue gives them out, made up. Helpers, no tests."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from catalogs.footage import Deliverable, Finding, Severity, Status, Take
from catalogs.shot import Shot, slate
from catalogs.versions import ShotVersions, Version

ENDINGS = {"h265": ".mp4", "h264": ".mp4", "prores": ".mov", "webm": ".webm", "png": ""}


def deliverable(folder: Path, name: str, kind: str, *, frames: int, rate: Fraction) -> Deliverable:
    """A file of that kind which need not exist; `h264_review` is one with a word."""
    kind, _, words = kind.partition("_")
    path = folder / f"{name}_24p_{kind}{words and f'_{words}'}{ENDINGS[kind]}"
    tags = ("tv", "bt709", "bt709", "bt709")
    return Deliverable(kind, path, "ab" * 32, 1000, frames, rate, 320, 180, kind, "yuv422p10le", *tags)


def version(
    shot: Shot,
    number: int,
    status: Status = Status.APPROVED,
    *,
    folder: Path = Path("/deliveries"),
    kinds: tuple[str, ...] = ("h265", "prores"),
    slated: bool = False,
) -> Version:
    """A version of the shot as it is asked for now; `slated` copies have a frame before the first."""
    name = slate(shot.show, shot.sequence, shot.code, number)
    finding = Finding("seam", Severity.ISSUE, 3, 5, "jump 4.1", "3.0")
    published = status in (Status.APPROVED, Status.REVIEW, Status.RETAKE)
    files = tuple(
        deliverable(folder, name, kind, frames=shot.total_frames + slated, rate=shot.rate)
        for kind in (kinds if published else ())
    )
    take = Take(
        shot.show, shot.sequence, shot.code, number, f"key{number}", status, deliverables=files, findings=(finding,)
    )
    at = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
    return Version(take, shot.rate, shot.total_frames, shot.handles, at, at)


def shot(
    code: str, *, frames: int = 48, rate: Fraction = Fraction(24), handles: int = 0, sequence: str = "SQ010"
) -> Shot:
    """A shot of the show AGM."""
    return Shot("AGM", code, frames, sequence=sequence, rate=rate, handles=handles)


def with_versions(asked: Shot, *versions: Version, status: Status = Status.APPROVED, place: int = 1) -> ShotVersions:
    """The shot with these versions, oldest first."""
    return ShotVersions(asked, status, place, versions)
