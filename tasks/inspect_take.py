"""Everything a take delivers, held against its plan, its plate and its master: one decode of each file does it all.

Knows: plans, which file carries which check. Does not know: Prefect, what is done about a finding. Memory: what the
watches have (tasks.content, tasks.fidelity), for one file at a time.

Every file gets the checks of a file, of its ranges and of its fidelity. What the pictures show is the same in all of
them, so it is looked at in one, the best there is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from av.video.frame import VideoFrame

from catalogs.footage import Deliverable, Finding, Master
from tasks.content import ContentWatch
from tasks.delivered import expectation
from tasks.errors import MediaError
from tasks.fidelity import MEASURED, FidelityWatch, MasterFrames
from tasks.inspect import Expectation, clock_of, inspect_deliverable
from tasks.known import Known
from tasks.limits import Limits
from tasks.measure import watch
from tasks.plan import TakePlan
from tasks.plates import PlateSeen, see_plate
from tasks.presets import preset

LOG: Final = logging.getLogger("dailies")

CARRIERS: Final = ("prores", "h265", "png", "webm", "h264")
"""Kinds whose pictures can be looked at, the best first: most bits and the largest chroma."""

FILE_CODES: Final = (
    *("truncated", "count", "rate", "size", "codec", "depth", "tags"),
    *("timecode", "reel", "audio", "fidelity", "range"),
)
"""Codes of what is wrong with a file, which another encode may mend; the others are in the footage itself."""


def known_of(plan: TakePlan) -> Known:
    """What the plan says of the pictures before anybody has looked at them."""
    animatic = not plan.spec.steps
    return Known(
        rate=plan.shot.rate,
        frames=plan.frames,
        # a model that is told so keeps the camera still, not the picture
        still=animatic and plan.shot.camera == "still",
        arrives=len(plan.shot.stills) > 1,
        plate=_plate(plan),
    )


def carrier(wanted: Sequence[Expectation]) -> int | None:
    """Which of the deliverables is looked at, if any can be: a burnt-in counter moves where the shot does not."""
    able = [number for number, one in enumerate(wanted) if one.kind in CARRIERS and not one.burnt]
    return min(able, key=lambda number: CARRIERS.index(wanted[number].kind), default=None)


def inspect_take(
    plan: TakePlan,
    files: Sequence[Path],
    master: Master,
    *,
    ffmpeg: str,
    limits: Limits,
    on_file: Callable[[int, tuple[Finding, ...]], None] = lambda *_: None,
) -> tuple[tuple[Deliverable, ...], tuple[Finding, ...]]:
    """Inspect the deliverables of a take, in the plan's order. `on_file` hears what each one, by number, had.

    Raises MediaError if a file or the master is missing or the master does not decode.
    """
    samples = None
    if limits.on("fidelity"):
        samples = MasterFrames(master, ffmpeg=ffmpeg, width=plan.delivery_width, height=plan.delivery_height)
    wanted = [(path, expectation(plan, planned)) for planned, path in zip(plan.deliveries, files, strict=True)]
    deliverables: list[Deliverable] = []
    findings: list[Finding] = []
    for number, (deliverable, found) in enumerate(
        inspect_all(wanted, known=known_of(plan), limits=limits, samples=samples)
    ):
        deliverables.append(deliverable)
        findings.extend(found)
        on_file(number, found)
    if carrier([expected for _, expected in wanted]) is None:
        findings.extend(_of_master(master, known_of(plan), limits))
    return tuple(deliverables), tuple(findings)


def _of_master(master: Master, known: Known, limits: Limits) -> tuple[Finding, ...]:
    """What the pictures show, where no deliverable can be asked: a decode of its own."""
    pictures = ContentWatch(known, limits, content=True)
    seen = watch(master.path, rate=master.rate, clock=clock_of("mkv"), look=pictures.see)
    if seen.broken:
        raise MediaError(f"{master.path.name} does not decode: {seen.broken}; render the shot again")
    # its range is full, and none of what is delivered
    return tuple(one for one in pictures.findings() if one.code != "range")


def inspect_all(
    wanted: Sequence[tuple[Path, Expectation]], *, known: Known, limits: Limits, samples: MasterFrames | None
) -> Iterator[tuple[Deliverable, tuple[Finding, ...]]]:
    """Files of one shot, each decoded once, as many beside each other as there are processors; results in order.

    A decoder has threads of its own, but waits for whoever looks at its frames.
    """
    looked_at = carrier([expected for _, expected in wanted])
    with ThreadPoolExecutor(max(1, min(len(wanted), os.cpu_count() or 1)), "inspect") as threads:
        begun = [
            threads.submit(
                inspect_one,
                path,
                expected,
                known=known,
                limits=limits,
                content=number == looked_at,
                samples=samples,
            )
            # what takes longest comes first
            for number, (path, expected) in sorted(enumerate(wanted), key=lambda one: one[0] != looked_at)
        ]
        order = sorted(range(len(wanted)), key=lambda number: number != looked_at)
        for number in range(len(wanted)):
            yield begun[order.index(number)].result()


def inspect_one(
    path: Path,
    expected: Expectation,
    *,
    known: Known,
    limits: Limits,
    content: bool,
    samples: MasterFrames | None,
) -> tuple[Deliverable, tuple[Finding, ...]]:
    """One deliverable, decoded once. `content`: what its pictures show as well; `samples`: of its master."""
    pictures = ContentWatch(known, limits, content=content)
    pix_fmt = preset(expected.kind, expected.option).found
    measured = samples is not None and pix_fmt in MEASURED and not expected.burnt
    fidelity = FidelityWatch(samples, pix_fmt) if samples is not None and measured else None
    seen = 0

    def look(frame: VideoFrame) -> None:
        nonlocal seen
        seen += 1
        if seen <= expected.lead:
            return  # the slate is no frame of the shot
        pictures.see(frame)
        if fidelity is not None:
            fidelity.see(frame)

    able = expected.kind in CARRIERS
    deliverable, found = inspect_deliverable(path, expected, look=look if able else None)
    found = limits.graded(found)
    if able and not any(one.code in ("truncated", "count") for one in found):
        own = once((*pictures.findings(), *(fidelity.findings(limits, small=expected.small) if fidelity else ())))
        # of one file only if it is the file's: what the shot shows is in all of them
        found += tuple(replace(one, subject=path.name) if one.code in FILE_CODES else one for one in own)
    return deliverable, found


def once(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Without a second word on a file's depth: a comb in its codes and a loss against its master are one fault."""
    hollow = [one for one in findings if one.code == "depth"]
    return tuple(one for one in findings if one not in hollow[:-1])


def _plate(plan: TakePlan) -> PlateSeen | None:
    """The plate as it is now; None without one."""
    if plan.shot.plate is None:
        return None
    try:
        return see_plate(Path(plan.shot.plate.path), width=plan.delivery_width, height=plan.delivery_height)
    except MediaError as error:
        # the footage is made: it can be judged by itself
        LOG.info("%s: not held against its plate: %s", plan.slate, error)
        return None
