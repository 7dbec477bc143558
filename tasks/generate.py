"""One window through an image-to-video engine -> a clip on disk, in the fastest way of running it that works.

Knows: how to ask an engine, how to write what it yields, when to ask for another way. Does not know: the catalogue,
which engine it is. Memory: the context frames and one frame.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Clip
from models.interface import (
    BadPicture,
    ClipRequest,
    EngineError,
    Frame,
    ImageToVideo,
    KernelFailed,
    OutOfMemory,
    Shape,
    Watch,
    WindowStopped,
)
from tasks import engines
from tasks.checks import Fault, WindowCheck
from tasks.errors import StepError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.plan import TakePlan, Window
from tasks.progress import Progress, announce
from tasks.stopping import STOPPING

LOG: Final = logging.getLogger("dailies")


@dataclass(frozen=True, slots=True)
class Beside:
    """Files of a window besides its clip, None for none of them."""

    state: Path | None = None
    """Folder that outlives this attempt, for the engine's checkpoint."""
    carried: Path | None = None
    """What the window before left."""
    leaves: Path | None = None
    """Where the engine may leave something for the next window."""


def request_for(
    plan: TakePlan, window: Window, *, seed: int | None = None, beside: Beside | None = None
) -> ClipRequest:
    """The window in the engine's words: plain numbers, paths and prompts. `seed` replaces the planned one."""
    shot, spec = plan.shot, plan.spec
    beside = beside or Beside()
    passed = [before.arrives for before in plan.windows[: window.index] if before.arrives]
    still = passed[-1] if passed else shot.plate
    return ClipRequest(
        plate=Path(still.path) if still else None,
        end_plate=Path(window.arrives.path) if window.arrives else None,
        width=plan.width,
        height=plan.height,
        first_frame=window.span.range.start,
        frames=len(window.span.range),
        shot_frames=plan.native_frames,
        native_rate=spec.native_rate,
        seed=window.seed if seed is None else seed,
        shot_seed=plan.seed,
        prompt=window.prompt,
        negative_prompt=plan.negative_prompt,
        camera=shot.camera,
        steps=spec.steps if shot.steps is None else shot.steps,
        guidance=spec.guidance if shot.guidance is None else shot.guidance,
        state=beside.state,
        loras=tuple(lora.file for lora in plan.loras),
        carries=window.carries,
        carried=beside.carried if window.carries else None,
        leaves=beside.leaves if plan.spec.carries and window.index < len(plan.windows) - 1 else None,
    )


def shape_of(plan: TakePlan) -> Shape:
    """What the engine's memory depends on: the size and the longest window."""
    return Shape(plan.width, plan.height, max(len(window.span.range) for window in plan.windows))


def context_frames(window: Window, before: Clip, *, ffmpeg: str) -> list[Frame]:
    """The frames of the previous window's clip that `window` continues, oldest first."""
    first = window.span.range.start - before.range.start
    return list(
        read_frames(
            before.path,
            ffmpeg=ffmpeg,
            width=before.width,
            height=before.height,
            first=first,
            count=window.context,
        )
    )


def generate_window(
    plan: TakePlan,
    window: Window,
    target: Path,
    *,
    before: Clip | None,
    weights: Path,
    ffmpeg: str,
    roll: int = 0,
    seed: int | None = None,
    beside: Beside | None = None,
) -> Mapping[str, Any]:
    """Write the window's frames to `target`, and say how they were made: `seed`, `fault` (tasks.checks) or None, the
    engine's way, the step that it went on from (`resumed_at`), and what was tried before (`tried`).

    After running out of memory the next thriftier way is taken, at most three; after a bad picture or a failed kernel
    a more precise one, once. Size, length and steps stay. `seed` replaces the planned one; `roll` counts the attempts
    with other seeds before it. Raises StepError, named with the slate, if the engine refuses, fails or yields another
    number of frames than asked; WindowStopped on request; FfmpegError if the file cannot be written.
    """
    what = f"{plan.slate}, window {window.index + 1} of {len(plan.windows)}"
    context = context_frames(window, before, ffmpeg=ffmpeg) if before and window.context else []
    request = request_for(plan, window, seed=seed, beside=beside)
    tried: list[dict[str, str]] = []
    retried = False
    while True:
        if STOPPING.event.is_set():
            raise WindowStopped(f"{what}: not begun, because this process was asked to leave; render again to go on")
        try:
            engine = engines.generator(plan.spec, weights=weights, shape=shape_of(plan))
            with STOPPING.at_work():
                written = write_window(
                    plan, window, target, request=request, context=context, engine=engine, ffmpeg=ffmpeg, roll=roll
                )
            return {
                **engines.way(plan.spec, worked=True),
                "seed": request.seed,
                "fault": written.fault and asdict(written.fault),
                "resumed_at": written.resumed_at,
                "tried": tried,
            }
        except WindowStopped as error:
            raise WindowStopped(f"{what}: {error}") from None
        except (OutOfMemory, BadPicture, KernelFailed) as error:
            reason, precise = str(error), not isinstance(error, OutOfMemory)
        except EngineError as error:
            raise StepError(f"{what}: {error}") from error
        # only here, when the error is gone and with it the tensors that its traceback held
        failed = engines.way(plan.spec, worked=False)
        other = "" if precise and retried else engines.fall_back(plan.spec, precise=precise)
        tried.append({"rung": failed["rung"], "profile": failed["profile"], "reason": reason})
        if not other:
            ways = ", ".join(f"{entry['rung']} ({entry['profile']})" for entry in tried)
            raise StepError(f"{what}: {reason}" + (f" (ways tried: {ways})" if len(tried) > 1 else ""))
        retried = retried or precise
        LOG.warning("%s: %s; trying again as %s", what, reason, other)


@dataclass(frozen=True, slots=True)
class Written:
    """A window whose frames are on disk."""

    resumed_at: int
    """Steps that were found done."""
    fault: Fault | None
    """What broke down in it; None where nothing did, and for an engine that makes no steps."""


def write_window(
    plan: TakePlan,
    window: Window,
    target: Path,
    *,
    request: ClipRequest,
    context: list[Frame],
    engine: ImageToVideo,
    ffmpeg: str,
    roll: int = 0,
) -> Written:
    """One attempt. Raises EngineError as the engine does, StepError for a wrong number of frames."""
    argv = clip_argv(ffmpeg, target, width=plan.width, height=plan.height, rate=plan.spec.native_rate)
    what = f"{plan.slate}, window {window.index + 1} of {len(plan.windows)}"
    told, check = _Told(plan, window, roll), WindowCheck(given=window.context)
    frames = engine.generate(request, context, Watch(STOPPING.event, lambda done, of: told.steps(done, of)))
    coming = _until_stopped(frames)
    first = list(islice(coming, 1))  # made before ffmpeg starts, which would only wait for it
    with FrameWriter(argv, width=plan.width, height=plan.height, what=what) as writer:
        for frame in chain(first, coming):
            writer.write(frame)
            check.see(frame)
            told.frames(writer.written)
        if writer.written != request.frames:
            raise StepError(f"{what}: {engine.name} made {writer.written} frames, {request.frames} were asked for")
    # an engine without steps shows what its camera was told, and that may be a still
    return Written(told.first or 0, check.fault() if plan.spec.steps else None)


def _until_stopped(frames: Iterator[Frame]) -> Iterator[Frame]:
    for frame in frames:
        if STOPPING.event.is_set():
            raise WindowStopped("stopped on request; render again to go on")
        yield frame


@dataclass(slots=True)
class _Told:
    """How far a window is, announced in frames: first as its share of denoising, then as frames written."""

    plan: TakePlan
    window: Window
    roll: int
    """Attempts with other seeds before this one: the bar waits at the window's end while it is made again."""
    most: int = 0
    """Frames announced so far: a bar never goes back."""
    first: int | None = None
    """Steps that were done before the first was announced."""

    def steps(self, done: int, of: int) -> None:
        self.first = done if self.first is None else self.first
        share = done * len(self.window.span.range) // max(1, of)
        self._announce(share, f", step {done} of {of}")

    def frames(self, written: int) -> None:
        self._announce(written, "")

    def _announce(self, frames: int, detail: str) -> None:
        self.most = max(self.most, len(self.window.span.range) if self.roll else frames)
        windows = self.plan.windows
        total = sum(len(other.span.range) for other in windows)
        before = sum(len(other.span.range) for other in windows[: self.window.index])
        again = f", try {self.roll + 1}" if self.roll else ""
        where = f"window {self.window.index + 1} of {len(windows)}{again}{detail}"
        announce(Progress(self.plan.slate, "generate", before + self.most, total, where))
