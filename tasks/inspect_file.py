"""A video file, or a folder of pictures, that somebody brings: what can be said of it without knowing where it is from.

Knows: what its caller says of it, and nothing else: what nobody has said is not judged. Does not know: shots, plans.
Memory: what the watches have (tasks.content, tasks.fidelity). The file is decoded once.
"""

from __future__ import annotations

import re
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
from tasks.fidelity import MEASURED, FidelityWatch, MasterFrames, master_at
from tasks.inspect import Expectation, clock_of, judged, judged_folder
from tasks.inspect_take import once
from tasks.known import Known
from tasks.limits import Limits
from tasks.measure import Seen, see_picture, watch
from tasks.naming import lead_frames
from tasks.plates import see_plate
from tasks.presets import preset
from tasks.progress import Progress, announce
from tasks.sheet import contact_sheet
from tasks.source import Source

USUAL: Final = Fraction(24)
"""Frames per second where neither the file nor anybody says."""

MOST_STILLS: Final = 12
"""Stills on a sheet of findings."""

STILL_SIDE: Final = 480
"""Longest side of one, in pixels."""

_EVERY: Final = 8  # frames between two announcements
_TOLD: Final = 3  # names of files that are left out


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody says that the file should be. Whatever is None or empty is not judged."""

    frames: int | None = None
    """Frames of the shot; a slate comes on top of them."""
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
    quality: str = ""
    """`review` or `master`: how small it is meant to be."""
    extras: tuple[str, ...] = ()
    """What else it is to have: `slate`, `burnin`, `silent`."""

    def expectation(self, *, frames: int, rate: Fraction, size: tuple[int, int]) -> Expectation:
        """What the file must be; frames of the shot, rate and size for those that nobody has said."""
        lead = lead_frames(self.extras)
        return Expectation(
            self.kind,
            self.option,
            (self.frames or frames) + lead,
            rate,
            *(self.size or size),
            silent=True if "silent" in self.extras else None,
            lead=lead,
            quality=self.quality,
            burnt="burnin" in self.extras,
        )


@dataclass(frozen=True, slots=True)
class FileInspected:
    """What was found."""

    source: Source
    """What the file is, and in its notices what was not looked at."""
    findings: tuple[Finding, ...]
    lead: int = 0
    """Frames before the picture's first one: the slate. Findings count from behind it."""

    @property
    def frames(self) -> int:
        """Frames of the shot in it."""
        return max(0, self.source.frames - self.lead)


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a file says before it is decoded."""

    rate: Fraction
    frames: int
    width: int
    height: int
    pix_fmt: str
    files: tuple[Path, ...] = ()  # of a folder
    strangers: tuple[str, ...] = ()  # what else lies in it


def inspect_file(path: Path, asked: Asked, *, limits: Limits, ffmpeg: str) -> FileInspected:
    """Decode a file once, and judge what can be judged. Progress is announced in frames.

    Raises MediaError if there is nothing at `path`, if it is neither video nor PNGs, if it is a folder where a file was
    asked for or the reverse, and for a plate or master that cannot be used. A file that breaks off is no error but a
    finding.
    """
    stated = _look_at(path, asked)
    rate = asked.rate or stated.rate
    lead = lead_frames(asked.extras)
    frames = max(0, stated.frames - lead)
    expected = asked.expectation(frames=frames, rate=rate, size=(stated.width, stated.height))
    plate = see_plate(asked.plate, width=stated.width, height=stated.height) if asked.plate else None
    pictures = ContentWatch(Known(rate=rate, frames=frames, plate=plate), limits, content=not expected.burnt)
    fidelity = _fidelity(asked, stated, ffmpeg)
    able = asked.kind != "exr"
    done = 0

    def look(frame: VideoFrame) -> None:
        nonlocal done
        done += 1
        if able and done > lead:  # the slate is no frame of the shot
            pictures.see(frame)
            if fidelity is not None:
                fidelity.see(frame)
        if done % _EVERY == 0:
            announce(Progress(path.name, "inspect", done, max(done, stated.frames)))

    seen = _decoded(path, asked, stated, rate, look)
    announce(Progress(path.name, "inspect", seen.frames, seen.frames))
    found = limits.graded(_of_the_file(path, asked, seen, rate))
    if able and not any(one.code == "truncated" for one in found):
        found += once((*pictures.findings(), *(fidelity.findings(limits, small=expected.small) if fidelity else ())))
    width, height = seen.sizes[0] if seen.sizes else (0, 0)
    pix_fmt = seen.pix_fmts[0] if seen.pix_fmts else ""
    notices = tuple(_notices(stated, expected))
    source = Source(path.absolute(), seen.frames, rate, width, height, seen.codec, pix_fmt, notices=notices)
    return FileInspected(source, found, lead)


def _notices(stated: _Stated, expected: Expectation) -> Iterator[str]:
    """What was not looked at, in sentences."""
    if stated.strangers:
        more = f" and {len(stated.strangers) - _TOLD} more" if len(stated.strangers) > _TOLD else ""
        yield f"{', '.join(stated.strangers[:_TOLD])}{more} beside its pictures: not looked at"
    if expected.burnt:
        yield "words move on its pictures, so of these only the range is judged; inspect a copy without them"
    if expected.kind == "exr":
        yield "what EXR pictures show is not judged, because their values are light; inspect another delivery"


def pictures_in(path: Path, suffix: str) -> tuple[Path, ...]:
    """A folder's pictures as people would order them: `2.png` before `10.png`."""

    def order(file: Path) -> list[tuple[int, str]]:
        return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"([0-9]+)", file.name)]

    return tuple(sorted(path.glob(f"*.{suffix}"), key=order))


def _look_at(path: Path, asked: Asked) -> _Stated:
    wanted = preset(asked.kind, asked.option) if asked.kind else None
    files: tuple[Path, ...] = ()
    strangers: tuple[str, ...] = ()
    if path.is_dir():
        if wanted is not None and not wanted.sequence:
            raise MediaError(f"{path} is a folder, and {asked.kind} is one file; name the file, or say --as png")
        suffix = wanted.suffix if wanted else "png"
        files = pictures_in(path, suffix)
        if not files:
            raise MediaError(f"{path} holds no {suffix.upper()}; give a video file or a folder of PNGs")
        strangers = tuple(sorted({one.name for one in path.iterdir()} - {one.name for one in files}))
    elif not path.is_file():
        raise MediaError(f"{path} cannot be read; check the path")
    elif wanted is not None and wanted.sequence:
        raise MediaError(f"{path.name} is a file, and {asked.kind} is a folder of pictures; name the folder")
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
            return _Stated(rate, frames, stream.width, stream.height, stream.format.name, files, strangers)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path.name} is no video: {reason}; give a video file or a folder of PNGs") from error


def _fidelity(asked: Asked, stated: _Stated, ffmpeg: str) -> FidelityWatch | None:
    if (master := asked.master) is None:
        return None
    if "burnin" in asked.extras:
        raise MediaError("a copy with words burnt in is not held against its master; leave --master out")
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
    seen = Seen(rate=rate, codec=asked.kind or "png")
    for file in stated.files:
        see_picture(file, seen, look)
    return seen


def _of_the_file(path: Path, asked: Asked, seen: Seen, rate: Fraction) -> tuple[Finding, ...]:
    """The checks of a file, as far as somebody has said what it should be."""
    frames = max(0, seen.frames - lead_frames(asked.extras))
    expected = asked.expectation(frames=frames, rate=rate, size=seen.sizes[0] if seen.sizes else (0, 0))
    codes = {"truncated", "size"}
    codes |= {"count"} if asked.frames is not None else set()
    codes |= {"rate"} if asked.rate is not None else set()
    if asked.kind:
        codes |= {"codec", "depth", "tags"}
        codes |= {"audio"} if expected.silent else set()
        found = judged_folder(path, expected, seen) if path.is_dir() else judged(path, expected, seen)
    else:
        found = judged(path, expected, seen)
    return tuple(one for one in found if one.code in codes)


def findings_sheet(inspected: FileInspected, target: Path) -> None:
    """Write a JPEG with a frame of each finding, the middle of its range, and what was found below the name.

    Without findings: first, middle and last frame. Raises MediaError if the file does not decode that far.
    """
    source = inspected.source
    found = [one for one in inspected.findings if one.frame_in < inspected.frames]
    wanted = sorted({min(inspected.frames - 1, (one.frame_in + one.frame_out - 1) // 2) for one in found})
    chosen = wanted[:MOST_STILLS] or sorted({0, inspected.frames // 2, max(0, inspected.frames - 1)})
    said = [f"{one.code} at {FIRST_FRAME + one.frame_in}: {one.value}" for one in found]
    with tempfile.TemporaryDirectory() as folder:
        stills = []
        for number, image in _frames_of(inspected, chosen):
            image.thumbnail((STILL_SIDE, STILL_SIDE))
            still = Path(folder) / f"{number}.png"
            image.save(still)
            stills.append((number, still))
        contact_sheet(stills, target, slate=source.path.name, rate=source.rate, caption=said or ["nothing was found"])


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[VideoFrame]]:
    with av.open(str(path)) as container:
        yield container.decode(video=0)


def _frames_of(inspected: FileInspected, numbers: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    """Some of the shot's frames, by their numbers in it from 0."""
    path = inspected.source.path
    if path.is_dir():
        files = pictures_in(path, inspected.source.codec)
        for number in numbers:
            with av.open(str(files[number])) as container:
                yield number, Image.fromarray(next(container.decode(video=0)).to_ndarray(format="rgb24"))
        return
    try:
        with _opened(path) as decoded:
            for number, frame in enumerate(decoded, start=-inspected.lead):
                if number in numbers:
                    yield number, Image.fromarray(frame.to_ndarray(format="rgb24"))
                if number >= numbers[-1]:
                    return
    except av.FFmpegError:  # it breaks off, which is a finding: what came before it is shown
        return
