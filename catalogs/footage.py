"""What exists: takes, clips, masters, deliverables and findings. Values only.

Knows: how footage is described (path, sha256, frames, rate). Does not know: how it is made or stored.
Pixels never stand in these values: a clip of an hour is as small as a clip of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from catalogs.timebase import FrameRange


class Status(StrEnum):
    """Where a shot stands. The names are public."""

    READY = "ready"
    RENDERING = "rendering"
    REVIEW = "review"
    APPROVED = "approved"
    RETAKE = "retake"
    OMITTED = "omitted"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Severity(StrEnum):
    """How much a finding matters: a blocker stops publication, an issue goes to review."""

    FYI = "fyi"
    ISSUE = "issue"
    BLOCKER = "blocker"


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames made by a window or by the join, on disk, lossless."""

    path: Path
    """Absolute path of the file."""
    sha256: str
    """Hex digest of the file's bytes."""
    bytes: int
    """Size of the file."""
    range: FrameRange
    """Which native frames of the shot it holds."""
    rate: Fraction
    """Native rate in frames per second."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True, slots=True)
class Master:
    """Joined and retimed, lossless: the one thing that deliverables are made from."""

    path: Path
    sha256: str
    bytes: int
    frames: int
    """Delivery frames, handles included."""
    rate: Fraction
    """Delivery rate in frames per second."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Deliverable:
    """One encode for one delivery, verified by probing and decoding it."""

    kind: str
    """h265, prores, webm, h264 or png."""
    path: Path
    """The file; for png the folder."""
    sha256: str
    """Hex digest of the file; for a folder, of its `sha256 name` lines in name order."""
    bytes: int
    frames: int
    rate: Fraction
    width: int
    height: int
    codec: str
    """As the probe names it: hevc, prores, vp9, h264, png."""
    pix_fmt: str
    """As the probe names it: yuv420p10le and so on."""
    color_range: str
    """tv or pc."""
    color_primaries: str
    color_trc: str
    colorspace: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of inspection: a measurement and its limit, never an opinion."""

    code: str
    """One of the public codes: count, rate, size, codec, depth, tags, truncated, black ..."""
    severity: Severity
    frame_in: int
    """First delivery frame concerned."""
    frame_out: int
    """First delivery frame after them."""
    value: str
    """What was measured."""
    limit: str
    """What was allowed."""
    subject: str = ""
    """The file it was measured on, relative to the manifest; empty for the shot as a whole."""


@dataclass(frozen=True, slots=True)
class Take:
    """One attempt at a shot."""

    show: str
    sequence: str
    code: str
    version: int
    """1 for v001."""
    key: str
    """Content key of the take's plan."""
    status: Status
    error: str = ""
    """Why it failed, a sentence with the remedy; empty if it did not."""
    manifest: Path | None = None
    """Absolute path of the published manifest."""
    deliverables: tuple[Deliverable, ...] = ()
    findings: tuple[Finding, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()
    """Wall seconds per step, in order."""
    fence: int = 0
    """Number of the attempt that may write it; 0 in one that was only looked up."""
