"""The steps as Prefect tasks: recall what is finished, else make it in an attempt's folder and keep it.

Knows: the order of recall, make, keep; the layout of a take's work folder. Does not know: how anything is made (the
verb files), the catalogue, the order of the steps (flows). The verb files stay free of Prefect, so that they can be
used and tested without a server.

    work/{show}/{shot}/{key}/
        plan.json               written before any engine starts
        windows/000.mkv ...     one clip per window; 000.state/ while a model is at it
        joined.mkv              only if there are two windows or more
        master.mkv
        fallen.json             only if its retimer lost its device and another one did it
        deliverables/...        encoded and inspected, not yet published
        stills/                 frames for the contact sheet, and the preview
        attempts/               unfinished work; swept when the next attempt starts
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from catalogs.footage import Clip, Deliverable, Finding, Master, Severity
from catalogs.timebase import FrameRange
from models.interface import FrameInterpolator
from tasks import engines
from tasks.c2pa_sign import Signer
from tasks.delivered import caption
from tasks.encode import encode_master
from tasks.errors import StepError
from tasks.fall import retime_or_fall
from tasks.generate import Beside, generate_window
from tasks.handover import Generated
from tasks.inspect_take import FILE_CODES, inspect_take
from tasks.join import join_clips
from tasks.keep import Guard, Kept, attempt, forget, keep, recall
from tasks.limits import Limits, shipped
from tasks.marks import is_marked, mark, marks_of, write_sidecars
from tasks.plan import TakePlan, Window, content_key
from tasks.preview import preview_frames, write_preview, write_thumbnail
from tasks.progress import Progress, announce, counted
from tasks.publish import Pictures, manifest, publish
from tasks.retime import retime_clip
from tasks.rolls import keep_best, leaves_of, seam_between, seed_of
from tasks.sheet import contact_sheet

LOG: Final = logging.getLogger("dailies")

PREVIEW: Final = "preview.webp"
"""A few seconds of the shot, beside the stills."""

JOINED: Final = "joined.mkv"
"""The native frames of a shot of two windows or more, in its work folder."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a take is made and where it goes."""

    ffmpeg: str
    """Path of the ffmpeg to run."""
    work: Path
    """Folder of the take's unfinished and resumable work."""
    version: Path
    """Folder that the take will be published as; its parent holds the shot's other versions."""
    weights: Path
    """Folder of model weights."""
    guard: Guard = nullcontext
    """Asked before anything gets its final name: whether this attempt is still the one that may."""
    signer: Signer | None = None
    """Who signs what is delivered; None if nobody does."""
    limits: Limits = field(default_factory=shipped)
    """What inspection lets pass."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A finished step."""

    value: T
    made: bool
    """False if it was found finished."""
    seconds: float
    """Wall seconds it took now."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encode step leaves."""

    files: tuple[Kept, ...]
    """One per planned delivery, in that order."""
    stills: tuple[tuple[int, Path], ...]
    """(delivery frame, picture) for the contact sheet."""
    preview: Path
    """A few seconds that move, WebP."""


def _finish(slate: str, step: str, value: T, *, made: bool, started: float, counts: str) -> Done[T]:
    """One log line per finished step, whether it was made or found."""
    seconds = time.perf_counter() - started
    LOG.info("%s %s: %s, %s", slate, step, counts, f"{seconds:.1f} s" if made else "already there")
    return Done(value, made, seconds)


def _once(place: Place, path: Path, *, key: str, make: Callable[[Path], Mapping[str, Any] | None]) -> tuple[Kept, bool]:
    """Recall `path`, or let `make` write it in an attempt's folder and keep it. True if it was made now."""
    if found := recall(path, key=key):
        return found, False
    with attempt(place.work) as own:
        made = own / path.name
        notes = make(made)
        return keep(made, path, key=key, notes=notes, guard=place.guard), True


@task(name="generate", task_run_name="{plan.slate} window {window.index}", cache_policy=NO_CACHE)
def generate(
    plan: TakePlan, window: Window, *, before: Clip | None, interpolator: FrameInterpolator, place: Place
) -> Done[tuple[Clip, Mapping[str, Any]]]:
    """One window's clip, and how it was made. The engine is loaded only if the window is not there yet."""
    started = time.perf_counter()
    path = place.work / "windows" / f"{window.index:03d}.mkv"
    state = path.with_suffix(".state")
    carried = leaves_of(before.path) if before else None

    def make(roll: int, target: Path) -> Mapping[str, Any]:
        return generate_window(
            plan,
            window,
            target,
            before=before,
            weights=place.weights,
            ffmpeg=place.ffmpeg,
            roll=roll,
            seed=seed_of(plan, window, roll),
            beside=Beside(state, carried, leaves_of(target)),
        )

    def see(made: Path) -> Mapping[str, Any] | None:
        if before is None:
            return None
        return seam_between(plan, window, before, made, interpolator=interpolator, ffmpeg=place.ffmpeg)

    kept, made = keep_best(plan, window, path, work=place.work, guard=place.guard, make=make, see=see)
    shutil.rmtree(state, ignore_errors=True)
    clip = Clip(kept.path, kept.sha256, kept.bytes, window.span.range, plan.spec.native_rate, plan.width, plan.height)
    step = f"generate window {window.index + 1} of {len(plan.windows)}"
    counts = counted(len(clip.range), "frame")
    return _finish(plan.slate, step, (clip, kept.notes), made=made, started=started, counts=counts)


@task(name="join", task_run_name="{plan.slate} join", cache_policy=NO_CACHE)
def join(
    plan: TakePlan, clips: Sequence[Clip], *, interpolator: FrameInterpolator, place: Place
) -> Done[tuple[Clip, Mapping[str, Any]]]:
    """The shot's native frames as one clip, and how its windows met. One window is that clip already: no file."""
    started = time.perf_counter()
    if len(clips) == 1:
        return Done((clips[0], {"seams": [], "windows": []}), False, 0.0)

    def make(target: Path) -> Mapping[str, Any]:
        return join_clips(plan, clips, target, interpolator=interpolator, ffmpeg=place.ffmpeg)

    kept, made = _once(place, place.work / JOINED, key=plan.join_key, make=make)
    whole = FrameRange(0, plan.native_frames)
    clip = Clip(kept.path, kept.sha256, kept.bytes, whole, plan.spec.native_rate, plan.width, plan.height)
    counts = counted(len(clips), "window")
    return _finish(plan.slate, "join", (clip, kept.notes), made=made, started=started, counts=counts)


@dataclass(frozen=True, slots=True)
class Retimed:
    """What the retime step leaves."""

    plan: TakePlan
    """What the following steps go by: the take's plan, with the engine that retimed it."""
    master: Master
    notes: Mapping[str, Any]
    """What retiming did; under `lost` why another engine than the planned one did it, empty if none had to."""


@task(name="retime", task_run_name="{plan.slate} retime", cache_policy=NO_CACHE)
def retime(plan: TakePlan, clip: Clip, *, interpolator: FrameInterpolator, place: Place) -> Done[Retimed]:
    """The lossless master at the delivery rate, by the planned engine or, if the plan allows that, by the next best.

    `interpolator` is the planned one, or what takes its place from the start. Raises StepError if retiming fails; with
    DeviceLost as its cause if a device went away and nothing may or can retime in its place.
    """
    started = time.perf_counter()
    path = place.work / "master.mkv"

    def make(follow: TakePlan, by: FrameInterpolator) -> Kept:
        return _once(place, path, key=follow.master_key, make=_retiming(follow, clip, by, ffmpeg=place.ffmpeg))[0]

    fall, kept, made = retime_or_fall(
        plan, path, interpolator=interpolator, weights=place.weights, guard=place.guard, make=make
    )
    plan = fall.plan if fall else plan
    master = Master(kept.path, kept.sha256, kept.bytes, plan.frames, plan.shot.rate, plan.width, plan.height)
    told = {"lost": fall.lost if fall else "", "notice": fall.notice if fall else ""}
    retimed = Retimed(plan, master, {**kept.notes, **told})
    counts = f"{plan.native_frames} to {counted(plan.frames, 'frame')} by {plan.interpolator.engine}"
    return _finish(plan.slate, "retime", retimed, made=made, started=started, counts=counts)


def _retiming(
    plan: TakePlan, clip: Clip, interpolator: FrameInterpolator, *, ffmpeg: str
) -> Callable[[Path], Mapping[str, Any]]:
    """What writes the master into a file and says what retiming did."""

    def make(target: Path) -> Mapping[str, Any]:
        report = retime_clip(
            clip.path,
            target,
            ffmpeg=ffmpeg,
            width=plan.width,
            height=plan.height,
            source_frames=plan.native_frames,
            frames=plan.frames,
            native=plan.spec.native_rate,
            delivery=plan.shot.rate,
            speed=plan.shot.speed,
            interpolator=interpolator,
            slate=plan.slate,
        )
        return {
            "interpolated": report.interpolated,
            "copied": report.copied,
            "cuts": list(report.cuts),
        }

    return make


def sheet_frames(plan: TakePlan) -> tuple[int, ...]:
    """Delivery frames on the contact sheet: first, quarter points, last, each seam, each still that is arrived at."""
    last = plan.frames - 1
    seams = (plan.delivery_frame(native) for native in plan.seams)
    stills = (plan.delivery_frame(window.span.range.end - 1) for window in plan.windows if window.arrives)
    return tuple(sorted({0, last // 4, last // 2, last * 3 // 4, last, *seams, *stills}))


@task(name="encode", task_run_name="{plan.slate} encode", cache_policy=NO_CACHE)
def encode(plan: TakePlan, master: Master, *, place: Place) -> Done[Encoded]:
    """Every planned deliverable from one decode, and the stills of the contact sheet. Only what is missing is made."""
    started = time.perf_counter()
    folder = place.work / "deliverables"
    frames, moving = sheet_frames(plan), preview_frames(plan.frames, plan.shot.rate)
    stills_key = content_key(step="stills", master=plan.master_key, frames=frames, preview=moving)
    found = {planned.file: recall(folder / planned.file, key=planned.key) for planned in plan.deliveries}
    stills = recall(place.work / "stills", key=stills_key)
    marks = marks_of(plan, place.signer)
    missing = [planned for planned in plan.deliveries if not is_marked(found[planned.file], marks)]
    made = bool(missing) or stills is None
    if made:
        with attempt(place.work) as own:
            report = encode_master(
                master,
                missing,
                own,
                ffmpeg=place.ffmpeg,
                width=plan.delivery_width,
                height=plan.delivery_height,
                slate=plan.slate,
                stills=() if stills else (*frames, *moving),
                tags=marks.tags,
                caption=caption(plan, datetime.now().astimezone().date()),
            )
            for planned in missing:
                notes = {"argv": list(report.argv), **mark(own / planned.file, marks)}
                made_file, file = own / planned.file, folder / planned.file
                found[planned.file] = keep(made_file, file, key=planned.key, notes=notes, guard=place.guard)
            if stills is None:
                names = {"files": _pictures(plan, report.stills, frames, moving, own / "stills" / PREVIEW)}
                target = place.work / "stills"
                stills = keep(own / "stills", target, key=stills_key, notes=names, guard=place.guard)
    assert stills is not None
    files = tuple(kept for planned in plan.deliveries if (kept := found[planned.file]))
    encoded = Encoded(
        files,
        tuple((frame, stills.path / name) for frame, name in stills.notes["files"]),
        stills.path / PREVIEW,
    )
    return _finish(plan.slate, "encode", encoded, made=made, started=started, counts=f"{len(files)} deliverables")


def _pictures(
    plan: TakePlan, stills: Sequence[tuple[int, Path]], sheet: Sequence[int], moving: Sequence[int], preview: Path
) -> list[list[Any]]:
    """Make the preview; stills that only it needs go. What is left for the sheet, as (frame, name)."""
    made = dict(stills)
    write_preview([made[frame] for frame in moving], preview, rate=plan.shot.rate, frames=moving)
    for frame in set(made) - set(sheet):
        made.pop(frame).unlink()
    return [[frame, made[frame].name] for frame in sheet]


@task(name="inspect", task_run_name="{plan.slate} inspect", cache_policy=NO_CACHE)
def inspect(
    plan: TakePlan, files: Sequence[Kept], *, master: Master, place: Place
) -> Done[tuple[tuple[Deliverable, ...], tuple[Finding, ...]]]:
    """Decode every deliverable to its last frame and hold it against the plan. Nothing is kept: this is always done."""
    started = time.perf_counter()

    def on_file(number: int, found: tuple[Finding, ...]) -> None:
        if any(finding.severity is Severity.BLOCKER and finding.code in FILE_CODES for finding in found):
            forget(files[number].path)  # a bad file is made again by the next attempt, not recalled for ever
        announce(Progress(plan.slate, "inspect", (number + 1) * plan.frames, len(files) * plan.frames))

    value = inspect_take(
        plan, [kept.path for kept in files], master, ffmpeg=place.ffmpeg, limits=place.limits, on_file=on_file
    )
    counts = f"{counted(len(files), 'deliverable')}, {counted(len(value[1]), 'finding')}"
    return _finish(plan.slate, "inspect", value, made=True, started=started, counts=counts)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the earlier steps of a take found out, for its manifest."""

    generated: Generated
    """The windows, and what made them."""
    join: Mapping[str, Any]
    """How the windows met (tasks.join.join_clips)."""
    master: Master
    retime: Mapping[str, Any]
    encoded: Encoded
    deliverables: tuple[Deliverable, ...]
    findings: tuple[Finding, ...]
    seconds: Mapping[str, float]


@task(name="publish", task_run_name="{plan.slate} publish", cache_policy=NO_CACHE)
def publish_take(plan: TakePlan, evidence: Evidence, *, place: Place, now: datetime) -> Done[Path]:
    """Contact sheet, findings, manifest, and one rename that publishes all of it. Returns the manifest's path."""
    started = time.perf_counter()
    with attempt(place.work) as own:
        sheet = own / "contact.jpg"
        card = evidence.generated.card
        notices = engines.notices(
            plan, card, retimed=bool(evidence.retime["interpolated"]), instead=evidence.retime["notice"]
        )
        contact_sheet(
            evidence.encoded.stills,
            sheet,
            slate=plan.slate,
            rate=plan.shot.rate,
            caption=[plan.shot.prompt, *notices[1:]],
            badge=notices[0] if notices else "",
        )
        marks = marks_of(plan, place.signer)
        if bare := next((kept for kept in evidence.encoded.files if not is_marked(kept, marks)), None):
            raise StepError(f"{plan.slate}: {bare.path.name} does not say what it is; render the shot again")
        sidecars = write_sidecars(evidence.encoded.files, own, marks)
        thumbnail = own / "thumbnail.jpg"
        write_thumbnail(evidence.encoded.stills[len(evidence.encoded.stills) // 2][1], thumbnail)
        document = manifest(
            plan,
            marks=marks,
            sidecars=sidecars,
            card=card,
            join=evidence.join,
            master=evidence.master,
            retime=evidence.retime,
            engine=evidence.generated.facts,
            generated=evidence.generated.ways,
            ffmpeg=place.ffmpeg,
            encoder_argv={kept.path.name: kept.notes["argv"] for kept in evidence.encoded.files},
            version=place.version,
            notices=notices,
            deliverables=evidence.deliverables,
            findings=evidence.findings,
            seconds=evidence.seconds,
            started=evidence.generated.started,
            finished=now,
        )
        path = publish(
            plan,
            place.version,
            files=(*evidence.encoded.files, *sidecars),
            pictures=Pictures(sheet, thumbnail, evidence.encoded.preview),
            findings=evidence.findings,
            document=document,
            guard=place.guard,
        )
    counts = f"{len(evidence.deliverables)} deliverables"
    return _finish(plan.slate, "publish", path, made=True, started=started, counts=counts)
