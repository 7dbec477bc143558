"""What a night is made of: batches, runs that work on them, attempts at shots, and how long things took. Values only.

Knows: the words for who works on what. Does not know: how it is stored (nights.py), Prefect beyond a flow run's id.

    batch     everything that one night takes up
    reel      shots of one model that one run renders one after the other
    run       one process at work: a reel, or the finishing of one shot
    attempt   one run's right to work on a shot, numbered by the shot's fence; at most one of a shot is open
    fence     counts the attempts at a shot; only the holder of the newest number may write or publish
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class BatchStatus(StrEnum):
    """Where a batch stands."""

    RUNNING = "running"
    STOPPING = "stopping"
    """Asked to end: running windows finish or save their checkpoints, the rest is released."""
    ENDED = "ended"


class Stage(StrEnum):
    """The two halves of a shot's way, by what they need."""

    GENERATE = "generate"
    """Windows through the engine."""
    FINISH = "finish"
    """Join to publish: processor and disk."""


class AttemptStatus(StrEnum):
    """Where an attempt stands; the first two are open, the others are its end."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    """Published."""
    FAILED = "failed"
    """Ended with an error; `transient` says whether another attempt may do better."""
    DIED = "died"
    """Its process went away, or hung, while at this shot."""
    RELEASED = "released"
    """Given back unfinished: the window's end, a stop, another attempt."""
    CANCELLED = "cancelled"
    """Given back because somebody cancelled the shot."""


OPEN = (AttemptStatus.WAITING, AttemptStatus.RUNNING)
"""What is not over."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One night."""

    name: str
    """Date it began, `2026-11-21`; a second one of a day is `2026-11-21-2`."""
    status: BatchStatus
    started: datetime
    """UTC, like every time here."""
    until: datetime | None
    """End of its window; None for none."""
    ended: datetime | None
    wishes: Mapping[str, Any]
    """What holds for every shot: `profile`, `allow_smaller`, `require_rife`."""
    plan: Mapping[str, Any]
    """The plan of the night as it was made, JSON values."""
    report: Mapping[str, Any]
    """The morning report; empty until the end."""
    flow_run: str
    """Id of the Prefect flow run that follows it."""
    resumed: int
    """How often another flow run took it up after the one before was gone."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process at work for a batch."""

    flow_run: str
    """Id of its Prefect flow run."""
    batch: str
    stage: Stage
    name: str
    """Of the reel, or of the shot that is finished."""
    worker: str
    """Who and where: `gpu-0 on render7, pid 4711`."""
    device: str
    """What it computes on: `NVIDIA H100 80GB HBM3`, or `cpu`."""
    beats: int
    """Counts its signs of life. An observer compares counts on its own clock; machines' clocks differ."""
    beat_at: datetime
    said: str
    """Where it is: `AGM_SQ010_SH0010_v001 generate: window 2 of 3, step 12 of 40`."""
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One right to work on a shot."""

    shot: str
    """`SHOW/CODE`."""
    fence: int
    """Number of this attempt among the shot's, from 1."""
    batch: str
    """Empty for a render by hand."""
    reel: str
    """Name of the reel it was granted to; empty by hand."""
    stage: Stage
    status: AttemptStatus
    model: str
    """Name of the model it needs, with the profile: what a reel shares."""
    expected: float
    """Seconds of engine that it was planned with; 0 if unknown."""
    flow_run: str
    """Id of the flow run that is to do it or does it; empty until one was made."""
    granted: datetime
    not_before: datetime | None
    """Time that a retry waits for."""
    started: datetime | None
    generated: datetime | None
    """When its windows were finished and the shot was handed over."""
    ended: datetime | None
    error: str = ""
    """Why it ended otherwise than done."""
    transient: bool = False
    """Whether the same may work at another time."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What was found of a process that died: worker, last words, exit, stack."""

    @property
    def open(self) -> bool:
        """Whether it is not over."""
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Orders:
    """What a run is told when it gives a sign of life."""

    stop: bool
    """Finish or save what is at work, release the rest, and leave."""
    held: frozenset[str]
    """Shots that this run still holds; another one was cancelled or given to another run."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long something took, for later estimates and reports."""

    kind: str
    """`load` (a model), `window`, or `finish` (a shot from join to publish)."""
    model: str
    """Card's name; for `finish` the kinds of the deliverables, `h265 prores webm`."""
    profile: str
    """How a model was run; empty for the animatic and for `finish`."""
    width: int
    """Pixels of a window, or of a delivery."""
    height: int
    frames: int
    """Frames of the window, or delivery frames; 0 for a load."""
    steps: int
    """Denoising steps; 0 where there are none."""
    device: str
    """As Run.device."""
    seconds: float
    """Wall seconds."""
    key: str = ""
    """Content key of the window: it stands here once, however often processes died."""
    shot: str = ""
    """`SHOW/CODE`; empty for a load."""
    batch: str = ""
    """Empty by hand."""
    at: datetime | None = None
    """When it was recorded."""
