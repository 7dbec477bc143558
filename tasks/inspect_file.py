"""A video file, or a folder of PNGs, that somebody brings: what can be said of it without knowing where it is from.

Knows: what its caller says of it, and nothing else: what nobody has said is not judged. Does not know: shots, plans.
Memory: what the watches have (tasks.content, tasks.fidelity). The file is decoded once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.video.frame import VideoFrame
from PIL import Image

from catalogs.footage import Finding
from catalogs.timebase import FIRST_FRAME
from tasks.content import ContentWatch
from tasks.errors import MediaError
from tasks.fidelity import MEASURED, FidelityWatch, MasterFrames, judge_fidelity, master_at
from tasks.inspect import Expectation, clock_of, judged, judged_folder
from tasks.known import Known
from tasks.limits import Limits
from tasks.measure import Seen, see_picture, watch
from tasks.plates import see_plate
from tasks.presets import preset
from tasks.progress import Progress, announce
from tasks.sheet import contact_sheet

USUAL: Final = Fraction(24)
"""Frames per second where neither the file nor anybody says."""

MOST_STILLS: Final = 12
"""Stills on a sheet of findings."""

STILL_SIDE: Final = 480
"""Longest side of one, in pixels."""

_EVERY: Final = 8  # frames between two announcements


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody says that the file should be. Whatever is None or empty is not judged."""

    frames: int | None = None
    rate: Fraction | None = None
    """Frames per second."""
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    kind: str = ""
    """A kind of delivery, such as h265."""
    option: str = ""
    """Its variant, such as main10."""
    plate: Path | None = None
    """The still that it begins with."""
    master: Path | None = None
    """The lossless file that it was made from."""


@dataclass(frozen=True, slots=True)
class FileInspected:
    """What was found."""

    path: Path
    """Absolute path."""
    frames: int
    """Frames that it decodes to."""
    rate: Fraction
    """Frames per second, as stated or asked for."""
    width: int
    height: int
    codec: str
    pix_fmt: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a file says before it is decoded."""

    rate: Fraction
    frames: int
    width: int
    height: int
    pix_fmt: str
    files: tuple[Path, ...] = ()  # of a folder


def inspect_file(path: Path, asked: Asked, *, limits: Limits, ffmpeg: str) -> FileInspected:
    """Decode a file once, and judge what can be judged. Progress is announced in frames.

    Raises MediaError if there is nothing at `path`, if it is neither video nor PNGs, and for a plate or master that
    cannot be used. A file that breaks off is no error but a finding.
    """
    stated = _look_at(path)
    rate = asked.rate or stated.rate
    plate = see_plate(asked.plate, width=stated.width, height=stated.height) if asked.plate else None
    pictures = ContentWatch(Known(rate=rate, frames=stated.frames, plate=plate), limits, content=True)
    fidelity = _fidelity(asked.master, stated, ffmpeg)
    done = 0

    def look(frame: VideoFrame) -> None:
        nonlocal done
        pictures.see(frame)
        if fidelity is not None:
            fidelity.see(frame)
        done += 1
        if done % _EVERY == 0:
            announce(Progress(path.name, "inspect", done, max(done, stated.frames)))

    seen = _decoded(path, asked, stated, rate, look)
    announce(Progress(path.name, "inspect", seen.frames, seen.frames))
    found = limits.graded(_of_the_file(path, asked, seen, rate))
    if not any(one.code == "truncated" for one in found):
        found += (*pictures.findings(), *(judge_fidelity(fidelity.kept, limits) if fidelity else ()))
    width, height = seen.sizes[0] if seen.sizes else (0, 0)
    pix_fmt = seen.pix_fmts[0] if seen.pix_fmts else ""
    return FileInspected(path.absolute(), seen.frames, rate, width, height, seen.codec, pix_fmt, found)


def _look_at(path: Path) -> _Stated:
    files: tuple[Path, ...] = ()
    if path.is_dir():
        files = tuple(sorted(path.glob("*.png")))
        if not files:
            raise MediaError(f"{path} holds no PNG; give a video file or a folder of PNGs")
    elif not path.is_file():
        raise MediaError(f"{path} cannot be read; check the path")
    try:
        # a playlist must not lead anywhere else
        with av.open(str(files[0] if files else path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise MediaError(f"{path.name} has no video in it; give a video file or a folder of PNGs")
            stream = container.streams.video[0]
            stated = stream.average_rate or stream.guessed_rate
            rate = Fraction(stated) if stated and 1 <= stated <= 240 and not files else USUAL
            length = Fraction(container.duration or 0, av.time_base) * rate
            frames = len(files) or stream.frames or round(length)
            return _Stated(rate, frames, stream.width, stream.height, stream.format.name, files)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path.name} is no video: {reason}; give a video file or a folder of PNGs") from error


def _fidelity(master: Path | None, stated: _Stated, ffmpeg: str) -> FidelityWatch | None:
    if master is None:
        return None
    if stated.pix_fmt not in MEASURED:
        raise MediaError(
            f"a file of {stated.pix_fmt} is not held against a master; leave --master out ({', '.join(MEASURED)} are)"
        )
    samples = MasterFrames(master_at(master), ffmpeg=ffmpeg, width=stated.width, height=stated.height)
    return FidelityWatch(samples, stated.pix_fmt)


def _decoded(path: Path, asked: Asked, stated: _Stated, rate: Fraction, look: object) -> Seen:
    assert callable(look)
    if not stated.files:
        container = preset(asked.kind, asked.option).container if asked.kind else path.suffix.lstrip(".")
        return watch(path, rate=rate, clock=clock_of(container), look=look)
    seen = Seen(rate=rate, codec="png")
    for file in stated.files:
        see_picture(file, seen, look)
    return seen


def _of_the_file(path: Path, asked: Asked, seen: Seen, rate: Fraction) -> tuple[Finding, ...]:
    """The checks of a file, as far as somebody has said what it should be."""
    width, height = asked.size or (seen.sizes[0] if seen.sizes else (0, 0))
    expected = Expectation(asked.kind, asked.option, asked.frames or seen.frames, rate, width, height)
    codes = {"truncated", "size"}
    codes |= {"count"} if asked.frames is not None else set()
    codes |= {"rate"} if asked.rate is not None else set()
    if asked.kind:
        codes |= {"codec", "depth", "tags"}
        found = judged_folder(path, expected) if path.is_dir() else judged(path, expected, seen)
    else:
        found = judged(path, expected, seen)
    return tuple(one for one in found if one.code in codes)


def findings_sheet(inspected: FileInspected, target: Path) -> None:
    """Write a JPEG with a frame of each finding, the middle of its range, and what was found below the name.

    Without findings: first, middle and last frame. Raises MediaError if the file does not decode that far.
    """
    found = [one for one in inspected.findings if one.frame_in < inspected.frames]
    wanted = sorted({min(inspected.frames - 1, (one.frame_in + one.frame_out - 1) // 2) for one in found})
    chosen = wanted[:MOST_STILLS] or sorted({0, inspected.frames // 2, max(0, inspected.frames - 1)})
    said = [f"{one.code} at {FIRST_FRAME + one.frame_in}: {one.value}" for one in found]
    with tempfile.TemporaryDirectory() as folder:
        stills = []
        for number, image in _frames_of(inspected.path, chosen):
            image.thumbnail((STILL_SIDE, STILL_SIDE))
            still = Path(folder) / f"{number}.png"
            image.save(still)
            stills.append((number, still))
        contact_sheet(
            stills, target, slate=inspected.path.name, rate=inspected.rate, caption=said or ["nothing was found"]
        )


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[VideoFrame]]:
    with av.open(str(path)) as container:
        yield container.decode(video=0)


def _frames_of(path: Path, numbers: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    if path.is_dir():
        files = sorted(path.glob("*.png"))
        for number in numbers:
            with Image.open(files[number]) as image:
                yield number, image.convert("RGB")
        return
    try:
        with _opened(path) as decoded:
            for number, frame in enumerate(decoded):
                if number in numbers:
                    yield number, Image.fromarray(frame.to_ndarray(format="rgb24"))
                if number >= numbers[-1]:
                    return
    except av.FFmpegError:  # it breaks off, which is a finding: what came before it is shown
        return
