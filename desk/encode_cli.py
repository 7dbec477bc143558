"""`dailies encode`: one step alone, on any video file. Parse, call, print, exit code; nothing heavy imported early.

Exit codes: 0 all well; 2 bad input or a failure on the way, nothing written; 3 this machine cannot do it; 130, 143
asked to leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desk.bars import file_bar
from desk.retime_cli import SIGNALLED

if TYPE_CHECKING:
    from catalogs.shot import Delivery
    from tasks.encode_file import FileEncoded, FileEncoding


def encode(
    file: Annotated[Path, typer.Argument(help="Any video file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder that the deliverables go to.")],
    deliveries: Annotated[
        str, typer.Option(help="Such as 'h265 prores:4444 webm:av1:review h264:slate:burnin'.")
    ] = "h265 prores webm",
    slate: Annotated[str, typer.Option(help="What the files are called; default the file's own name.")] = "",
    from_fps: Annotated[
        str, typer.Option("--from-fps", help="Take the file's frames as evenly spaced at this rate.")
    ] = "",
    timecode: Annotated[
        str, typer.Option(help="Where it begins: keep (the file's own, else frame 1001), a frame number, HH:MM:SS:FF.")
    ] = "keep",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, make nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")] = False,
) -> None:
    """Make deliverables of a video file, each inspected to its last frame."""
    from desk import show
    from desk.retime_cli import read_rate
    from flows.settings import Settings
    from tasks.encode_file import check_target, encode_file, plan_files
    from tasks.source import look_at
    from tasks.stopping import STOPPING

    settings = Settings.read()
    wanted = _deliveries(deliveries)
    source = look_at(file, rate=read_rate(from_fps, "--from-fps") if from_fps else None, fewest=1, keeps_timecode=True)
    plan = plan_files(source, wanted, out, slate=slate, encoder=settings.encoder, timecode=timecode)
    if not as_json:
        for notice in plan.notices:
            show.say(f"{file.name}: {notice}", "yellow")
    if dry_run:
        check_target(plan, overwrite=overwrite)
        _told(plan, None, as_json=as_json)
        return
    try:
        with STOPPING.on_sigterm(), file_bar(file.name):
            made = encode_file(plan, ffmpeg=settings.ffmpeg, overwrite=overwrite)
    except KeyboardInterrupt:
        show.say("Interrupted; nothing was written.", "yellow")
        raise typer.Exit(SIGNALLED + STOPPING.signal) from None
    _told(plan, made, as_json=as_json)


def _deliveries(text: str) -> tuple[Delivery, ...]:
    from catalogs.columns import CellError, read_deliveries
    from catalogs.problems import KINDS
    from tasks.errors import PlanError

    try:
        return read_deliveries(text)[0]
    except CellError as error:
        kind = KINDS[error.code]
        raise PlanError(
            f"--deliveries {text!r}: {kind.message.format_map(error.words)}; {kind.remedy.format_map(error.words)}"
        ) from None


def _told(plan: FileEncoding, made: FileEncoded | None, *, as_json: bool) -> None:
    from catalogs.timebase import rate_display
    from desk import show
    from desk.retime_cli import source_json
    from tasks.publish import deliverable_json, finding_json

    source = plan.source
    if as_json:
        planned = [
            {
                "kind": one.kind,
                "option": one.option,
                "quality": one.quality,
                "extras": list(one.extras),
                "path": str(plan.folder / one.file),
            }
            for one in plan.deliveries
        ]
        done = made.deliverables if made else ()
        measured = [deliverable_json(one, str(one.path)) for one in done] or [{} for _ in planned]
        show.document(
            {
                "source": source_json(source),
                "slate": plan.slate,
                "deliverables": [{**one, **seen} for one, seen in zip(planned, measured, strict=True)],
                "findings": [finding_json(finding) for finding in made.findings] if made else [],
                "argv": list(made.argv) if made else [],
                "seconds": round(made.seconds, 3) if made else 0.0,
                "notices": list(plan.notices),
            }
        )
        return
    what = f"{show.counted(source.frames, 'frame')} at {rate_display(source.rate)}, {source.width}x{source.height}"
    if made is None:
        show.say(f"{source.path.name}: {what} would become", on=show.OUT)
        for planned_one in plan.deliveries:
            show.say(f"  {plan.folder / planned_one.file}", on=show.OUT)
        return
    for one in made.deliverables:
        show.say(
            f"{one.path}: {show.counted(one.frames, 'frame')}, {one.codec} {one.pix_fmt}, {one.bytes / 1e6:.1f} MB",
            on=show.OUT,
        )
    count = len(made.deliverables)
    files = show.counted(count, "deliverable")
    show.say(f"{source.path.name}: {what}; {files} made and inspected in {made.seconds:.1f} s", on=show.OUT)
