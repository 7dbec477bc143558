"""Another roll of the dice for a window that broke down or does not meet the one before it.

Knows: what a window's check and its seam said, which seed comes next, which roll is kept. Does not know: engines.
Memory: the shared frames of two windows and a second on either side.

A roll is the same window with another seed. Which one is kept follows from their pictures alone, so that the same plan
gives the same footage wherever and however often it is begun. A roll that was passed over is kept beside the window
until one is chosen: a process that dies has not made it for nothing.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Clip, Finding, Severity
from catalogs.timebase import FrameRange
from models.interface import Frame, FrameInterpolator
from tasks.dissolve import NOT_ITS_FAULT
from tasks.errors import StepError
from tasks.frames import read_frames
from tasks.join import joined
from tasks.keep import Guard, Kept, attempt, keep, recall
from tasks.limits import shipped
from tasks.meeting import meeting, met
from tasks.plan import TakePlan, Window, content_key
from tasks.seams import SeamMeter, worst

LOG: Final = logging.getLogger("dailies")

REACH: Final = 16
"""Frames on either side of what two windows share that their seam is compared with."""

LEAVES: Final = ".latents.safetensors"
"""Ending of what a window leaves for the next one, beside its clip."""

Make = Callable[[int, Path], Mapping[str, Any]]
"""Writes roll n, from 0, to a path; its notes hold `seed`, and `fault` with `code` and `said`, or None."""

See = Callable[[Path], Mapping[str, Any] | None]
"""The seam of a roll's clip with the window before it; None for the first window."""


@dataclass(frozen=True, slots=True)
class Roll:
    """One attempt at a window's dice."""

    seed: int
    """Seed of its noise."""
    over: float
    """How many times over its limit the worst of its seam is; up to 1 nobody sees it, infinite for a fault."""
    said: str
    """What is wrong, as people read it; empty for nothing."""
    seconds: float = 0.0
    """Wall seconds that it took."""
    made: bool = True
    """False if it was found, made by a process that died since."""

    def document(self) -> dict[str, Any]:
        """As the manifest writes it; JSON knows no infinity."""
        return {**asdict(self), "over": None if math.isinf(self.over) else self.over}

    @classmethod
    def found(cls, document: Mapping[str, Any]) -> Roll:
        """What `document` wrote, in another process."""
        over = document["over"]
        return cls(**{**document, "over": math.inf if over is None else over, "made": False})


def seed_of(plan: TakePlan, window: Window, roll: int) -> int:
    """Seed of a roll: the window's own, then those after the last window's, so that no two windows share one."""
    return window.seed + roll * len(plan.windows)


def judged(seed: int, fault: Mapping[str, str] | None, seam: Mapping[str, Any] | None) -> Roll:
    """A roll by what its check and its seam say."""
    if fault is not None:
        return Roll(seed, math.inf, fault["said"])
    if seam is None:
        return Roll(seed, 0.0, "")
    # by the limits as shipped, whatever a show's are: the same plan gives the same footage everywhere
    over, value, limit = worst(seam, shipped())
    # rounded up: what is over its limit stays so
    return Roll(seed, math.ceil(over * 1000) / 1000, f"{value} at its seam, {limit} is wanted" if over > 1 else "")


def matters(plan: TakePlan, window: Window, fault: Mapping[str, str] | None) -> bool:
    """Whether a fault is worth another roll. A shot may end in black."""
    return fault is not None and (fault["code"] != "black" or window.index < len(plan.windows) - 1)


def stop_if_broken(plan: TakePlan, window: Window, notes: Mapping[str, Any]) -> None:
    """Raise StepError if the window broke down in every roll and others would go on from it."""
    fault, rest = notes["fault"], len(plan.windows) - window.index - 1
    if fault is None or not rest:
        return
    tried = len(notes["rolls"])
    seeds = "its seed" if tried == 1 else f"each of {tried} seeds"
    raise StepError(
        f"{plan.slate}: window {window.index + 1} of {len(plan.windows)} {fault['said']} with {seeds}; the {rest} "
        f"after it {'was' if rest == 1 else 'were'} not begun. Look at what is there, then give the shot another "
        "seed, prompt or plate"
    )


def fault_findings(plan: TakePlan, made: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """One for each window that broke down and was kept all the same, because nothing goes on from it."""
    found = []
    for window, notes in zip(plan.windows, made, strict=True):
        if (fault := notes.get("fault")) is not None:
            first, segment = plan.delivery_frame(window.span.segment.start), window.span.segment
            last = plan.frames if segment.end >= plan.native_frames else plan.delivery_frame(segment.end)
            found.append(Finding(fault["code"], Severity.ISSUE, first, last, fault["said"], "a window that moves"))
    return tuple(found)


def chosen(rolls: Sequence[Roll]) -> int:
    """Which to keep: the least over its limit, the first of equals."""
    return min(range(len(rolls)), key=lambda number: rolls[number].over)


def keep_best(
    plan: TakePlan, window: Window, path: Path, *, work: Path, guard: Guard, make: Make, see: See
) -> tuple[Kept, bool]:
    """The window's clip at `path`, of the roll that is kept. True if anything was made now.

    Rolls on, at most `plan.max_rerolls` times, while what came is over its limit. The clip's notes say how it was made
    and, as `rolls`, what all of them were.
    """
    if found := recall_window(path, key=window.key):
        _sweep(path)  # a process that died may not have come to it
        return found, False
    what = f"{plan.slate}, window {window.index + 1} of {len(plan.windows)}"
    rolls: list[Roll] = []
    for number in range(plan.max_rerolls + 1):
        aside, key = path.with_stem(f"{path.stem}.roll{number}"), content_key(window=window.key, roll=number)
        last = number == plan.max_rerolls
        if (before := recall_window(aside, key=key)) is not None:
            rolls.append(Roll.found(before.notes["rolls"][-1]))
        else:
            with attempt(work) as own:
                made, began = own / path.name, time.perf_counter()
                notes = make(number, made)
                fault = notes["fault"] if matters(plan, window, notes["fault"]) else None
                seam = see(made) if plan.max_rerolls and fault is None else None
                roll = judged(notes["seed"], fault, seam)
                rolls.append(replace(roll, seconds=round(time.perf_counter() - began, 3)))
                told = {**notes, "rolls": [roll.document() for roll in rolls]}
                if rolls[-1].over <= 1 or (last and chosen(rolls) == number):
                    kept = _keep_window(made, path, key=window.key, notes=told, guard=guard)
                    _sweep(path)
                    return kept, True
                _keep_window(made, aside, key=key, notes=told, guard=guard)
        if rolls[-1].over <= 1:
            break
        LOG.info("%s: %s%s", what, rolls[-1].said, "" if last else "; another seed is tried")
    best = path.with_stem(f"{path.stem}.roll{chosen(rolls)}")
    kept = _choose(best, path, key=window.key, rolls=rolls, work=work, guard=guard)
    _sweep(path)
    return kept, True


def seam_between(
    plan: TakePlan, window: Window, before: Clip, path: Path, *, interpolator: FrameInterpolator, ffmpeg: str
) -> Mapping[str, Any] | None:
    """The seam of a window's clip with the clip before it, as the manifest writes seams.

    Joined as it will be, except that the window before has its own colours still, and that what is usual is what the
    frames around the seam have. None where the interpolator's device was lost: the window itself is none the worse.
    """
    shared = plan.overlap
    early, late = min(len(before.range), shared + REACH), min(len(window.span.range), shared + REACH)
    readers = [
        read_frames(clip, ffmpeg=ffmpeg, width=plan.width, height=plan.height, first=first, count=count)
        for clip, first, count in ((before.path, len(before.range) - early, early), (path, 0, late))
    ]
    cut = early - shared + (window.span.segment.start - window.span.range.start)
    meter = SeamMeter([cut], [FrameRange(early - shared, early)])

    def meet(_: int, tail: Sequence[Frame], head: Sequence[Frame]) -> Iterator[Frame]:
        found = meeting(tail, head, interpolator=interpolator)
        for frame, pair in met(tail, head, found, interpolator=interpolator):
            if pair is not None:
                meter.compare(0, pair[0], pair[1])
            yield frame

    try:
        for frame in joined(readers, [early, late], overlap=shared, meet=meet):
            meter.see(frame)
    except NOT_ITS_FAULT as error:
        LOG.warning("%s: how window %d meets the one before it was not judged: %s", plan.slate, window.index, error)
        return None
    finally:
        for reader in readers:
            reader.close()
    [seam] = meter.seams()
    return asdict(seam)


def leaves_of(path: Path) -> Path:
    """Where a window leaves what the next one needs besides frames."""
    return path.with_suffix(LEAVES)


def recall_window(path: Path, *, key: str) -> Kept | None:
    """The finished window with all that it left; None if any of it is missing or changed."""
    found = recall(path, key=key)
    if found is not None and (wanted := found.notes.get("leaves")):
        left = recall(leaves_of(path), key=key)
        if left is None or left.sha256 != wanted:  # another attempt's, whose clip was not kept any more
            return None
    return found


def _keep_window(made: Path, path: Path, *, key: str, notes: Mapping[str, Any], guard: Guard) -> Kept:
    """Keep a clip and what it left; the clip last, because it stands for both."""
    leaves = None
    if leaves_of(made).exists():
        leaves = keep(leaves_of(made), leaves_of(path), key=key, guard=guard).sha256
    return keep(made, path, key=key, notes={**notes, "leaves": leaves}, guard=guard)


def _choose(best: Path, path: Path, *, key: str, rolls: Sequence[Roll], work: Path, guard: Guard) -> Kept:
    """Give a roll that was put aside the window's name. It stays where it is until that is done."""
    found = recall_window(best, key=content_key(window=key, roll=chosen(rolls)))
    if found is None:
        raise StepError(f"{best} has changed since it was made; render again, and look after that disk")
    notes = {**found.notes, "rolls": [roll.document() for roll in rolls]}
    with attempt(work) as own:
        for source, target in ((best, own / path.name), (leaves_of(best), leaves_of(own / path.name))):
            if source.exists():
                _link(source, target)
        return _keep_window(own / path.name, path, key=key, notes=notes, guard=guard)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copyfile(source, target)


def _sweep(path: Path) -> None:
    """Remove the rolls that were put aside."""
    for aside in path.parent.glob(f"{path.stem}.roll*"):
        aside.unlink(missing_ok=True)
