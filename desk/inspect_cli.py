"""`dailies inspect`: one step alone, on any video file or folder of pictures. Parse, call, print, exit code.

Exit codes: 0 no blocker; 1 a blocker; 2 bad input; 3 this machine cannot do it; 130 asked to leave.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from desk.bars import file_bar

if TYPE_CHECKING:
    from catalogs.footage import Finding
    from tasks.inspect_file import Asked, FileInspected

BLOCKED, INTERRUPTED = 1, 130


def inspect(
    file: Annotated[Path, typer.Argument(help="Any video file, or a folder of PNGs.")],
    plate: Annotated[Path | None, typer.Option(help="The still that the shot begins with.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames that it must have, a slate left out.")] = None,
    fps: Annotated[str, typer.Option(help="Frames per second that it must have: 24, 23.976, 30000/1001.")] = "",
    size: Annotated[str, typer.Option(help="Size that it must have: WxH, 480p, 720p, 1080p.")] = "",
    as_: Annotated[str, typer.Option("--as", help="Delivery that it must be: h265, prores:hq, h264:slate ...")] = "",
    master: Annotated[Path | None, typer.Option(help="The master.mkv that it was encoded from.")] = None,
    show: Annotated[str, typer.Option(help="Show whose limits hold, from limits.toml in DAILIES_HOME.")] = "",
    sheet: Annotated[Path | None, typer.Option(help="Write a JPEG here with a frame of each finding.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")] = False,
) -> None:
    """Look at a file, frame by frame: what is wrong with it, where, and by how much. Exit code 1 with a blocker."""
    from catalogs.footage import Severity
    from desk import show as view
    from flows.settings import Settings
    from tasks.inspect_file import findings_sheet, inspect_file
    from tasks.limits import read_limits

    settings = Settings.read()
    limits = read_limits(settings.home, show=show)
    asked = _asked(plate, frames, fps, size=size, kind=as_, master=master)
    _judge_sheet(sheet)
    try:
        with file_bar(file.name):
            inspected = inspect_file(file, asked, limits=limits, ffmpeg=settings.ffmpeg)
        if sheet is not None:
            findings_sheet(inspected, sheet)
    except KeyboardInterrupt:
        view.say("Interrupted.", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    for notice in inspected.source.notices:
        view.say(f"{file.name}: {notice}", "yellow")
    if as_json:
        view.document(_document(inspected, sheet))
    else:
        _told(inspected, sheet)
    if any(one.severity is Severity.BLOCKER for one in inspected.findings):
        raise typer.Exit(BLOCKED)


def _asked(plate: Path | None, frames: int | None, fps: str, *, size: str, kind: str, master: Path | None) -> Asked:
    from catalogs.formats import delivery_complaints
    from catalogs.shot import Delivery
    from catalogs.timebase import parse_rate
    from tasks.errors import PlanError
    from tasks.inspect_file import Asked

    rate: Fraction | None = None
    delivery = Delivery("", "")
    try:
        if fps:
            rate = parse_rate(fps)
    except ValueError as error:
        raise PlanError(f"--fps: {error}; give 24, 23.976 or N/D, from 1 to 240") from None
    try:
        if kind:
            delivery = Delivery.parse(kind)
    except ValueError as error:
        raise PlanError(f"--as: {error}") from None
    # words that no file of that kind can have; the file's own size is another matter
    for complaint in delivery_complaints([delivery], size=None, rate=rate or Fraction(24)) if kind else ():
        raise PlanError(f"--as: {complaint}")
    return Asked(
        frames,
        rate,
        _size(size),
        delivery.kind,
        delivery.option,
        plate,
        master,
        quality=delivery.quality,
        extras=delivery.extras,
    )


def _size(text: str) -> tuple[int, int] | None:
    from catalogs.columns import NAMED_SIZES
    from tasks.errors import PlanError

    if not text:
        return None
    width, cross, height = text.lower().partition("x")
    if text.lower() in NAMED_SIZES:
        return NAMED_SIZES[text.lower()]
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise PlanError(f"--size {text!r} is no size; give WxH, such as 1280x720, or 480p, 720p, 1080p")
    return int(width), int(height)


def _judge_sheet(sheet: Path | None) -> None:
    from tasks.errors import PlanError

    if sheet is None:
        return
    if sheet.suffix.lower() not in (".jpg", ".jpeg"):
        raise PlanError(f"--sheet {sheet.name} is no JPEG; give a name that ends in .jpg")
    if not sheet.absolute().parent.is_dir():
        raise PlanError(f"--sheet: the folder {sheet.absolute().parent} does not exist; make it first")


def _document(inspected: FileInspected, sheet: Path | None) -> dict[str, object]:
    from catalogs.timebase import rate_text
    from tasks.publish import finding_json

    source = inspected.source
    return {
        "file": {
            "path": str(source.path),
            "frames": source.frames,
            "rate": rate_text(source.rate),
            "width": source.width,
            "height": source.height,
            "codec": source.codec,
            "pix_fmt": source.pix_fmt,
        },
        "findings": [finding_json(one) for one in inspected.findings],
        "notices": list(source.notices),
        "sheet": str(sheet.absolute()) if sheet else None,
    }


def _told(inspected: FileInspected, sheet: Path | None) -> None:
    from catalogs.footage import Severity
    from catalogs.timebase import rate_display
    from desk import show

    source = inspected.source
    slate = ", a slate before them" if inspected.lead else ""
    what = (
        f"{source.path.name}: {inspected.frames} frames{slate}, {rate_display(source.rate)} fps, "
        f"{source.width}x{source.height}, {source.codec} {source.pix_fmt}".rstrip()
    )
    order = (Severity.BLOCKER, Severity.ISSUE, Severity.FYI)
    found = sorted(inspected.findings, key=lambda one: (order.index(one.severity), one.frame_in))
    show.say(what, on=show.OUT)
    if found:
        rows = [(one.severity.value, one.code, *_where(one, inspected), one.value, one.limit) for one in found]
        show.print_rows(("severity", "code", "frames", "timecode", "found", "limit"), rows)
    blockers = sum(one.severity is Severity.BLOCKER for one in found)
    counts = f"{len(found)} finding{'' if len(found) == 1 else 's'}, {blockers} of them blockers"
    show.say(counts if found else "Nothing was found.", on=show.OUT)
    if sheet is not None:
        show.say(f"{sheet} shows a frame of each" if found else f"{sheet} shows three frames of it", on=show.OUT)


def _where(one: Finding, inspected: FileInspected) -> tuple[str, str]:
    """Frames from 1001, and the timecode of the first."""
    from catalogs.timebase import FIRST_FRAME, timecode

    if (one.frame_in, one.frame_out) in ((0, inspected.frames), (0, inspected.source.frames)):
        return "all", ""
    first, last = FIRST_FRAME + one.frame_in, FIRST_FRAME + one.frame_out - 1
    return (str(first) if last <= first else f"{first}-{last}"), timecode(first, inspected.source.rate)
