"""One take, from plan to published version: the steps in their order.

Knows: which step follows which, and which of them wait for the engine. Does not know: the catalogue, how a step is
done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalogs.footage import Clip, Deliverable, Finding, Severity
from flows.watching import progress_artifact, thumbnail_artifact
from models.interface import FrameInterpolator
from tasks import steps
from tasks.errors import StepError
from tasks.plan import TakePlan
from tasks.publish import MANIFEST, read_published

Turn = Callable[[str], AbstractContextManager[None]]
"""Given `generate` or `finish`, a context in which this shot has its turn."""


@dataclass(frozen=True, slots=True)
class Published:
    """A take that is out."""

    manifest: Path
    clips: tuple[tuple[str, Clip], ...]
    """(step, clip) of every window and of the join."""
    deliverables: tuple[Deliverable, ...]
    findings: tuple[Finding, ...]


def make_take(
    plan: TakePlan,
    place: steps.Place,
    *,
    interpolator: FrameInterpolator,
    turn: Turn,
    seconds: dict[str, float],
) -> Published:
    """Run every step that is not finished yet. `seconds` is filled as the steps end, so that a failure keeps it.

    Raises StepError with the reason; a finding that is a blocker is one.
    """
    started = datetime.now(UTC)
    with progress_artifact(plan.slate):
        clips: list[Clip] = []
        generated: list[Mapping[str, Any]] = []
        with turn("generate"):
            for window in plan.windows:
                made = steps.generate(plan, window, before=clips[-1] if clips else None, place=place)
                _add(seconds, "generate", made.seconds)
                clips.append(made.value[0])
                generated.append(made.value[1])
        with turn("finish"):
            joined = steps.join(plan, clips, place=place)
            _add(seconds, "join", joined.seconds)
            retimed = steps.retime(plan, joined.value, interpolator=interpolator, place=place)
            _add(seconds, "retime", retimed.seconds)
            master, retiming = retimed.value
            encoded = steps.encode(plan, master, place=place)
            _add(seconds, "encode", encoded.seconds)
            inspected = steps.inspect(plan, encoded.value.files)
            _add(seconds, "inspect", inspected.seconds)
            deliverables, findings = inspected.value
            _stop_at_blockers(plan, findings)
            manifest = place.version / MANIFEST
            if read_published(plan, place.version) is None:
                evidence = steps.Evidence(
                    tuple(generated),
                    master,
                    retiming,
                    encoded.value,
                    deliverables,
                    findings,
                    dict(seconds),
                    started,
                )
                published = steps.publish_take(plan, evidence, place=place, now=datetime.now(UTC))
                _add(seconds, "publish", published.seconds)
                manifest = published.value
            thumbnail_artifact(plan.slate, encoded.value.stills[len(encoded.value.stills) // 2][1])
    named = [(f"window {window.index}", clip) for window, clip in zip(plan.windows, clips, strict=True)]
    if len(clips) > 1:
        named.append(("join", joined.value))
    return Published(manifest, tuple(named), deliverables, findings)


def _add(seconds: dict[str, float], step: str, spent: float) -> None:
    seconds[step] = round(seconds.get(step, 0.0) + spent, 3)


def _stop_at_blockers(plan: TakePlan, findings: tuple[Finding, ...]) -> None:
    blockers = [finding for finding in findings if finding.severity is Severity.BLOCKER]
    if blockers:
        first = blockers[0]
        raise StepError(
            f"{plan.slate}: {first.subject or 'the shot'} was not published: {first.code} is {first.value}, "
            f"{first.limit} is wanted ({len(blockers)} blockers); render it again, and report it if it stays"
        )
