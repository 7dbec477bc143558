"""One window through an image-to-video engine -> a clip on disk.

Knows: how to ask an engine and how to write what it yields. Does not know: the catalogue, which engine it is.
Memory: the context frames and one frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalogs.footage import Clip
from models.interface import ClipRequest, EngineError, Frame, ImageToVideo
from tasks.errors import StepError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.plan import TakePlan, Window
from tasks.progress import Progress, announce


def request_for(plan: TakePlan, window: Window, *, state: Path | None = None) -> ClipRequest:
    """The window in the engine's words: plain numbers, paths and prompts. `state` is the folder of its checkpoint."""
    shot, spec = plan.shot, plan.spec
    last = window.index == len(plan.windows) - 1
    return ClipRequest(
        plate=Path(shot.plate.path) if shot.plate else None,
        end_plate=Path(shot.end_plate.path) if shot.end_plate and last else None,
        width=plan.width,
        height=plan.height,
        first_frame=window.span.range.start,
        frames=len(window.span.range),
        shot_frames=plan.native_frames,
        native_rate=spec.native_rate,
        seed=window.seed,
        shot_seed=plan.seed,
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt or spec.negative_prompt,
        camera=shot.camera,
        steps=spec.steps if shot.steps is None else shot.steps,
        guidance=spec.guidance if shot.guidance is None else shot.guidance,
        state=state,
    )


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
    engine: ImageToVideo,
    ffmpeg: str,
    state: Path | None = None,
) -> None:
    """Write the window's frames to `target`. `state` is a folder that outlives this attempt, for the engine's
    checkpoint.

    Raises StepError, named with the slate, if the engine refuses, fails or yields another number of frames than
    asked; FfmpegError if the file cannot be written.
    """
    context = context_frames(window, before, ffmpeg=ffmpeg) if before and window.context else []
    argv = clip_argv(ffmpeg, target, width=plan.width, height=plan.height, rate=plan.spec.native_rate)
    what = f"{plan.slate}, window {window.index + 1} of {len(plan.windows)}"
    asked = len(window.span.range)
    try:
        with FrameWriter(argv, width=plan.width, height=plan.height, what=what) as writer:
            for frame in _announced(engine.generate(request_for(plan, window, state=state), context), plan, window):
                writer.write(frame)
            if writer.written != asked:
                raise StepError(f"{what}: {engine.name} made {writer.written} frames, {asked} were asked for")
    except EngineError as error:
        raise StepError(f"{what}: {error}") from error


def _announced(frames: Iterator[Frame], plan: TakePlan, window: Window) -> Iterator[Frame]:
    total = sum(len(other.span.range) for other in plan.windows)
    before = sum(len(other.span.range) for other in plan.windows[: window.index])
    detail = f"window {window.index + 1} of {len(plan.windows)}"
    for made, frame in enumerate(frames, start=1):
        yield frame
        announce(Progress(plan.slate, "generate", before + made, total, detail))
