"""One take, from plan to published version: the steps in their order.

Knows: which step follows which. Does not know: the catalogue, how a step is done, who else is at work.

The first half needs the engine, the second processors and disk; they may run in different processes, on different
machines. `tasks.handover` carries what the first half leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalogs.footage import Clip, Deliverable, Finding, Severity
from flows.watching import thumbnail_artifact
from models.interface import FrameInterpolator
from tasks import engines, steps
from tasks.errors import StepError
from tasks.handover import Generated
from tasks.inspect_take import FILE_CODES
from tasks.plan import TakePlan, Window
from tasks.publish import MANIFEST, read_published
from tasks.rolls import fault_findings, stop_if_broken
from tasks.seams import seam_findings

OnWindow = Callable[[Window, Mapping[str, Any], float], None]
"""Told of a window that was made now: how, and in how many seconds."""


@dataclass(frozen=True, slots=True)
class Published:
    """A take that is out."""

    manifest: Path
    clips: tuple[tuple[str, Clip], ...]
    """(step, clip) of every window and of the join."""
    deliverables: tuple[Deliverable, ...]
    findings: tuple[Finding, ...]


def generate_take(
    plan: TakePlan,
    place: steps.Place,
    *,
    interpolator: FrameInterpolator,
    seconds: dict[str, float],
    on_window: OnWindow = lambda *_: None,
) -> Generated:
    """Every window that is not finished yet, through the engine. `seconds` is filled as windows end.

    `interpolator` is what the windows will be joined with: a window is judged by its seam, and made again if it shows.
    Raises StepError at a window that broke down, if others would go on from it.
    """
    started = datetime.now(UTC)
    clips: list[Clip] = []
    ways: list[Mapping[str, Any]] = []
    for window in plan.windows:
        before = clips[-1] if clips else None
        made = steps.generate(plan, window, before=before, interpolator=interpolator, place=place)
        _add(seconds, "generate", made.seconds)
        clip, way = made.value
        if made.made:
            on_window(window, way, made.seconds)
        stop_if_broken(plan, window, way)
        clips.append(clip)
        ways.append(way)
    card, facts = engines.card_of(plan.spec, place.weights), engines.facts(plan.spec, weights=place.weights)
    return Generated(tuple(clips), tuple(ways), card, facts, dict(seconds), started)


def finish_take(
    plan: TakePlan,
    generated: Generated,
    place: steps.Place,
    *,
    interpolator: FrameInterpolator,
    seconds: dict[str, float],
) -> Published:
    """Join, retime, encode, inspect, publish: whatever of it is not finished yet.

    Raises StepError with the reason; a finding that is a blocker is one.
    """
    joined = steps.join(plan, generated.clips, interpolator=interpolator, place=place)
    _add(seconds, "join", joined.seconds)
    clip, meeting = joined.value
    retimed = steps.retime(plan, clip, interpolator=interpolator, place=place)
    _add(seconds, "retime", retimed.seconds)
    plan, master, retiming = retimed.value.plan, retimed.value.master, retimed.value.notes
    encoded = steps.encode(plan, master, place=place)
    _add(seconds, "encode", encoded.seconds)
    inspected = steps.inspect(plan, encoded.value.files, master=master, place=place)
    _add(seconds, "inspect", inspected.seconds)
    deliverables, findings = inspected.value
    findings += seam_findings(plan, meeting["seams"], place.limits)
    findings += fault_findings(plan, generated.ways)
    _stop_at_blockers(plan, findings)
    manifest = place.version / MANIFEST
    if read_published(plan, place.version) is None:
        evidence = steps.Evidence(
            generated,
            meeting,
            master,
            retiming,
            encoded.value,
            deliverables,
            findings,
            {**generated.seconds, **seconds},
        )
        published = steps.publish_take(plan, evidence, place=place, now=datetime.now(UTC))
        _add(seconds, "publish", published.seconds)
        manifest = published.value
    thumbnail_artifact(plan.slate, encoded.value.stills[len(encoded.value.stills) // 2][1])
    pairs = zip(plan.windows, generated.clips, strict=True)
    named = [(f"window {window.index}", clip) for window, clip in pairs]
    if len(generated.clips) > 1:
        named.append(("join", clip))
    return Published(manifest, tuple(named), deliverables, findings)


def _add(seconds: dict[str, float], step: str, spent: float) -> None:
    seconds[step] = round(seconds.get(step, 0.0) + spent, 3)


def _stop_at_blockers(plan: TakePlan, findings: tuple[Finding, ...]) -> None:
    blockers = [finding for finding in findings if finding.severity is Severity.BLOCKER]
    if blockers:
        first = blockers[0]
        remedy = "render it again, and report it if it stays"
        if first.code not in FILE_CODES:
            remedy = "look at it in the work folder, then give the shot another seed, prompt or plate"
        raise StepError(
            f"{plan.slate}: {first.subject or 'the shot'} was not published: {first.code} is {first.value}, "
            f"{first.limit} is wanted ({len(blockers)} {'blocker' if len(blockers) == 1 else 'blockers'}); {remedy}"
        )
