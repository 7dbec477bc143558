"""Retime one video file that somebody brings: `dailies retime`.

Knows: the order of it: look, decide, retime, encode, put in place. Does not know: shots, the catalogue, the command
line. Memory: that of `tasks.retime`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Final

from catalogs.footage import Master
from models.interface import FrameInterpolator, InterpolatorSpec
from tasks.encode import encode_master
from tasks.errors import MachineNotReadyError, PlanError, StepError
from tasks.keep import bytes_of, check_disk, fsync_folder, fsync_tree, own_folder, sha256_of
from tasks.plan import PlannedDelivery
from tasks.retime import RetimeReport, retime_clip, retiming_table
from tasks.source import Source

LOSSLESS: Final = ".mkv"
"""Ending of a lossless master: FFV1 in Matroska, 12-bit RGB."""

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    ".mov": ("prores", "hq"),
    ".mp4": ("h265", "main10"),
    ".webm": ("webm", "vp9"),
}
"""Ending of a delivery -> its kind and option."""

MOST_FRAMES: Final = 1_000_000
"""Most frames that one call makes: nine hours at 30 fps. More is a slip of the pen."""

_LOSSLESS_SHARE: Final = 0.6  # bytes of an FFV1 frame over its raw 36 bits a pixel: film grain's, the worst measured


@dataclass(frozen=True, slots=True)
class FileRetiming:
    """What retiming a file will come to."""

    source: Source
    target: Path
    """Absolute path."""
    rate: Fraction
    """Frames per second of the result."""
    speed: Fraction
    """1/2 plays half as fast."""
    frames: int
    """Frames of the result: as many as lie from the first source frame to the last."""
    between: int
    """Of these, how many lie between two source frames."""

    @property
    def step(self) -> Fraction:
        """Source frames per frame of the result."""
        return self.source.rate * self.speed / self.rate


@dataclass(frozen=True, slots=True)
class FileRetimed:
    """What it came to."""

    target: Path
    bytes: int
    sha256: str
    report: RetimeReport
    interpolator: InterpolatorSpec
    seconds: float
    """Wall seconds, encoding included."""


def plan_file(source: Source, target: Path, *, rate: Fraction, speed: Fraction) -> FileRetiming:
    """What retiming would do. The last frame of the result is the last of the source, or lies just before it.

    Raises PlanError for a target that cannot be made, or a result of fewer than one frame or absurdly many.
    """
    target = target.absolute()
    if target.is_dir():
        raise PlanError(f"{target} is a folder; name the file to write, for instance {target / 'retimed.mov'}")
    suffix = target.suffix.lower()
    if suffix != LOSSLESS and suffix not in KINDS:
        raise PlanError(
            f"{target.name} names no kind of file; end it with {LOSSLESS} (lossless), .mov (ProRes HQ), .mp4 (H.265) "
            "or .webm (VP9)"
        )
    if target.exists() and os.path.samefile(target, source.path):
        raise PlanError(f"{target.name} is the source itself; give another name with -o")
    if not target.parent.is_dir():
        raise PlanError(f"{target.parent} is not a folder; make it first")
    odd = source.width % 2 or (source.height % 2 and suffix != ".mov")  # 4:2:2 halves widths alone
    if suffix != LOSSLESS and odd:
        raise PlanError(
            f"{source.width}x{source.height} is not even, and {suffix} needs even sizes; write a {LOSSLESS}, or crop it"
        )
    step = source.rate * speed / rate
    frames = floor((source.frames - 1) / step) + 1
    if frames > MOST_FRAMES:
        raise PlanError(
            f"{source.path.name} would become {frames} frames at {float(rate):g} fps and speed {speed}, more than "
            f"{MOST_FRAMES}; ask for a lower rate, or cut it first"
        )
    table = retiming_table(frames, native=source.rate, delivery=rate, speed=speed)
    return FileRetiming(source, target, rate, speed, frames, sum(sample.phase > 0 for sample in table))


def estimated_bytes(plan: FileRetiming) -> int:
    """Disk that the lossless master may take."""
    return round(plan.frames * plan.source.width * plan.source.height * 4.5 * _LOSSLESS_SHARE)


def check_target(plan: FileRetiming, *, overwrite: bool) -> None:
    """Whether the file may be written where it is to be. Raises PlanError if it is there and may not be replaced,
    MachineNotReadyError if its folder takes no file or its disk lacks room for the lossless frames."""
    target = plan.target
    if target.exists() and not overwrite:
        raise PlanError(f"{target} exists already; take another name, or add --overwrite")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise MachineNotReadyError(f"{target.parent} cannot be written to; check its permissions, or write elsewhere")
    try:
        what = f"retiming {plan.source.path.name}"
        check_disk(estimated_bytes(plan), target.parent, what=what, instead="write to another disk with -o")
    except StepError as error:
        raise MachineNotReadyError(str(error)) from error


def retime_file(
    plan: FileRetiming, interpolator: FrameInterpolator, *, ffmpeg: str, workers: int = 0, overwrite: bool = False
) -> FileRetimed:
    """Make the file. It appears under its name when it is whole; until then there is a hidden folder beside it, which
    holds the lossless frames, for an .mp4 or .webm too. What killed ones have left of the same name goes.

    Raises StepError, and like `check_target`.
    """
    check_target(plan, overwrite=overwrite)
    target, source = plan.target, plan.source
    started = time.perf_counter()
    with own_folder(target.parent, target.stem) as own:
        master = own / f"master{LOSSLESS}"
        report = retime_clip(
            source.path,
            master,
            ffmpeg=ffmpeg,
            width=source.width,
            height=source.height,
            source_frames=source.frames,
            frames=plan.frames,
            native=source.rate,
            delivery=plan.rate,
            speed=plan.speed,
            interpolator=interpolator,
            slate=source.path.name,
            workers=workers,
            conform=source.filter,
        )
        made = master if target.suffix.lower() == LOSSLESS else _encoded(plan, master, own, ffmpeg=ffmpeg)
        try:
            fsync_tree(made)
            digest, size = sha256_of(made), bytes_of(made)
            os.replace(made, target)
            fsync_folder(target.parent)
        except OSError as error:
            raise StepError(f"cannot write {target}: {error.strerror or error}; check folder and disk") from error
    return FileRetimed(target, size, digest, report, interpolator.spec, time.perf_counter() - started)


def _encoded(plan: FileRetiming, master: Path, folder: Path, *, ffmpeg: str) -> Path:
    """The delivery that the target's ending names."""
    kind, option = KINDS[plan.target.suffix.lower()]
    source = plan.source
    file = f"delivery{plan.target.suffix.lower()}"
    planned = PlannedDelivery(kind, option, file, "")
    whole = Master(master, "", 0, plan.frames, plan.rate, source.width, source.height)
    report = encode_master(
        whole, [planned], folder, ffmpeg=ffmpeg, width=source.width, height=source.height, slate=source.path.name
    )
    return report.files[file]
