"""`dailies retime`: one step alone, on any video file. Parse, call, print, exit code; nothing heavy imported early.

Exit codes: 0 all well; 2 bad input or a failure on the way, nothing written; 3 this machine cannot do it; 130, 143
asked to leave.
"""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from desk.bars import file_bar

if TYPE_CHECKING:
    from models.interface import InterpolatorSpec
    from models.retimers import RetimerWish
    from tasks.retime_file import FileRetimed, FileRetiming
    from tasks.source import Source

SIGNALLED = 128  # and the signal's number: what a shell reports

MOST_WORKERS = 4
"""Processes per core above which they only wait for each other."""


def retime(
    clip: Annotated[Path, typer.Argument(help="Any video file.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="What to write: .mkv (lossless), .mov (ProRes), .mp4 (H.265) or .webm.")
    ],
    fps: Annotated[str, typer.Option(help="Frames per second wanted: 24, 23.976, 60, 30000/1001.")],
    speed: Annotated[str, typer.Option(help="1, or for slow motion 1/2, 1/4, 0.5, down to 1/16.")] = "1",
    engine: Annotated[
        str, typer.Option(help="rife, rife-torch, rife-ncnn or flow; default the best that runs here.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda:0, vulkan:0 ...; default the best.")] = "",
    model: Annotated[str, typer.Option(help="Folder of RIFE's weights, such as rife-4.25; default the newest.")] = "",
    tta: Annotated[
        str, typer.Option(help="none, temporal (twice the work), spatial (eight times) or both; default none.")
    ] = "",
    uhd: Annotated[
        str, typer.Option(help="auto, on or off: seek motion at half size, for large frames; default auto.")
    ] = "",
    from_fps: Annotated[
        str, typer.Option("--from-fps", help="Take the clip's frames as evenly spaced at this rate.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes that share the work on the processor; 0: as suits.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, make nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")] = False,
) -> None:
    """Give a video file another frame rate, or slow it down: real frames are kept, motion makes the others."""
    from desk import show
    from flows.settings import Settings
    from tasks import retimers
    from tasks.retime_file import check_target, plan_file, retime_file
    from tasks.source import look_at
    from tasks.stopping import STOPPING

    settings = Settings.read()
    rate, slowed = read_rate(fps, "--fps"), _speed(speed)
    wish = _wish(settings.retimer, engine, device=device, model=model, tta=tta, uhd=uhd)
    _check_workers(workers)
    source = look_at(clip, rate=read_rate(from_fps, "--from-fps") if from_fps else None)
    plan = plan_file(source, out, rate=rate, speed=slowed)
    check_target(plan, overwrite=overwrite)
    interpolator = retimers.interpolator(settings.weights, wish=wish)
    if not as_json:
        for notice in source.notices:
            show.say(f"{clip.name}: {notice}", "yellow")
    if dry_run:
        _told(plan, interpolator.spec, None, as_json=as_json)
        return
    try:
        with STOPPING.on_sigterm(), file_bar(clip.name):
            made = retime_file(plan, interpolator, ffmpeg=settings.ffmpeg, workers=workers, overwrite=overwrite)
    except KeyboardInterrupt:
        show.say("Interrupted; nothing was written.", "yellow")
        raise typer.Exit(SIGNALLED + STOPPING.signal) from None
    _told(plan, interpolator.spec, made, as_json=as_json)


def read_rate(text: str, option: str) -> Fraction:
    """A rate that an option gives, frames per second. Raises PlanError."""
    from catalogs.timebase import parse_rate
    from tasks.errors import PlanError

    try:
        return parse_rate(text.replace(",", "."))  # as shot lists may write it
    except ValueError as error:
        raise PlanError(f"{option}: {error}; give 24, 23.976 or N/D, from 1 to 240") from None


def _speed(text: str) -> Fraction:
    from catalogs.columns import CellError, read_speed
    from tasks.errors import PlanError

    try:
        return read_speed(text)
    except CellError:
        raise PlanError(
            f"--speed {text!r} is no speed; use 1, or for slow motion 1/2, 1/4 or 0.5, down to 1/16"
        ) from None


def _check_workers(workers: int) -> None:
    from os import cpu_count

    from tasks.errors import PlanError

    if workers > (most := MOST_WORKERS * (cpu_count() or 1)):
        raise PlanError(f"--workers {workers} would wait for each other; give {most} or fewer, or 0 for what suits")


def _wish(standing: RetimerWish, engine: str, *, device: str, model: str, tta: str, uhd: str) -> RetimerWish:
    """What is asked of the retimer. Whatever is said here goes before the environment."""
    from models.retimers import parse_wish

    settings = {"device": device, "model": model, "tta": tta, "uhd": uhd}
    said = [f"{name}={word}" for name, word in settings.items() if word]
    if engine or device or model:  # another engine, device or network: what stands in the environment was for its own
        return parse_wish(" ".join([engine, *said]))
    kept = [
        word
        for word in str(standing).split()
        if not any(word.startswith(f"{name}=") for name in settings if settings[name])
    ]
    return parse_wish(" ".join([*kept, *said]))


def source_json(source: Source) -> dict[str, Any]:
    """A video file that somebody brings, as commands print it."""
    from catalogs.timebase import rate_text

    return {
        "path": str(source.path),
        "frames": source.frames,
        "rate": rate_text(source.rate),
        "width": source.width,
        "height": source.height,
        "codec": source.codec,
        "pix_fmt": source.pix_fmt,
    }


def _told(plan: FileRetiming, spec: InterpolatorSpec, made: FileRetimed | None, *, as_json: bool) -> None:
    from catalogs.timebase import rate_display, rate_text
    from desk import show
    from tasks.retime_file import estimated_bytes

    source = plan.source
    if as_json:
        result = {} if made is None else {"bytes": made.bytes, "sha256": made.sha256, "seconds": round(made.seconds, 3)}
        counts = {} if made is None else {key: value for key, value in asdict(made.report).items() if key != "frames"}
        show.document(
            {
                "source": source_json(source),
                "output": str(plan.target),
                "frames": plan.frames,
                "rate": rate_text(plan.rate),
                "speed": str(plan.speed),
                "between": plan.between,
                "disk_bytes": estimated_bytes(plan),
                **counts,
                **result,
                "engine": asdict(spec),
                "notices": list(source.notices),
            }
        )
        return
    by = f"{spec.engine} {spec.model}".strip()
    what = f"{show.counted(source.frames, 'frame')} at {rate_display(source.rate)}"
    made_of = f"{show.counted(plan.frames, 'frame')} at {rate_display(plan.rate)}" + (
        f", speed {plan.speed}" if plan.speed != 1 else ""
    )
    if made is None:
        room = f"up to {estimated_bytes(plan) / 1e9:.2f} GB beside it while it works"
        counts_on = f"at most {plan.between} of them by {by}, fewer where the picture cuts or stands still"
        show.say(f"{plan.target}: {what} would become {made_of}, {counts_on}; {room}", on=show.OUT)
        return
    report = made.report
    held = f", {report.copied} held" if report.copied else ""
    cuts = f", cuts after frame {', '.join(map(str, report.cuts))}" if report.cuts else ""
    rate = plan.frames / made.seconds if made.seconds else 0.0
    show.say(
        f"{plan.target}: {what} became {made_of}: {report.interpolated} by {by}{held}{cuts}; {made.seconds:.1f} s, "
        f"{rate:.1f} frames/s",
        on=show.OUT,
    )
