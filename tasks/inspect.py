"""Quality control: hold a delivered file against what was expected. Findings, never opinions.

Knows: what each kind of deliverable must be. Does not know: shots, plans, how it was made; any file that a person
names can be inspected. Memory: the frames in flight in a decoder, whatever the length.

Every finding here is a blocker: a file with one is not the file that was ordered. What its pictures show is looked at
by others (tasks.content), who are handed each frame from the same decode.
What cannot be found without the master: damage inside a VP9 frame, which has no checksum and decodes to something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from catalogs.footage import Deliverable, Finding, Severity
from catalogs.timebase import FIRST_FRAME, rate_text
from tasks.containers import Colr, video_entry
from tasks.errors import MediaError
from tasks.keep import bytes_of, sha256_of
from tasks.measure import Look, Seen, see_picture, watch
from tasks.presets import Preset, preset
from tasks.tracks import differences

_CLOCKS: Final[Mapping[str, Fraction]] = {"webm": Fraction(1, 1000), "mkv": Fraction(1, 1000)}
"""Seconds to which a container rounds the times of frames; the others keep them exactly."""

_VIDEO_TAGS: Final = ("tv", "bt709", "bt709", "bt709")
_PNG_TAGS: Final = ("pc", "bt709", "iec61966-2-1", "gbr")
_EXR_TAGS: Final = ("unknown", "unknown", "linear", "unknown")
_NUMBERED: Final = re.compile(r"^(?P<name>.+)\.(?P<number>\d{4,})\.(?P<suffix>png|exr)$")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a deliverable must be."""

    kind: str
    """h265, prores, webm, h264, png or exr."""
    option: str
    """The kind's variant, such as the ProRes profile."""
    frames: int
    """Exactly so many."""
    rate: Fraction
    """Frames per second, exact; WebM's clock is allowed its millisecond."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    timecode: str | None = None
    """Of the file's first frame, empty for no timecode track; None: not looked at, and so for the reel."""
    reel: str = ""
    """What the timecode track calls the reel."""
    silent: bool | None = None
    """Whether there is one silent sound track, or none at all; None: not looked at."""
    lead: int = 0
    """Of `frames`, how many stand before the picture: the slate."""
    quality: str = ""
    """`review`, `client` or `master`; empty for what has one only."""
    burnt: bool = False
    """Whether words stand on its pictures, which are then no longer its master's."""

    @property
    def small(self) -> bool:
        """Whether it is meant to be small, and to lose what that costs."""
        return self.quality == "review" or self.option in ("proxy", "lt", "av1")


def inspect_deliverable(
    path: Path, expected: Expectation, *, look: Look | None = None
) -> tuple[Deliverable, tuple[Finding, ...]]:
    """Decode `path` to its last frame and compare it with `expected`. `look` is shown each frame on the way.

    For png and exr `path` is the folder. An empty or unreadable file is described with zeros and has a `truncated`
    finding.
    Raises MediaError if there is nothing at `path`, ValueError if the expected kind is unknown.
    """
    wanted = preset(expected.kind, expected.option)
    if not path.exists():
        raise MediaError(f"{path.name} does not exist; render the shot again")
    if wanted.sequence:
        return _inspect_folder(path, expected, wanted, look)
    if path.is_dir():
        return _other_thing(path, expected, "it is a folder, not a file")
    seen = watch(path, rate=expected.rate, clock=clock_of(wanted.container), look=look)
    return _describe(path, expected, seen), judged(path, expected, seen)


def clock_of(container: str) -> Fraction:
    """Seconds to which a container, by ffmpeg's name or a file's ending, rounds the times of frames."""
    return _CLOCKS.get(container, Fraction(0))


def judged(path: Path, expected: Expectation, seen: Seen) -> tuple[Finding, ...]:
    """What was measured on a file, against what was expected; without a kind, only what holds for every one. Pure but
    for a look at the container's boxes."""
    wanted = preset(expected.kind, expected.option) if expected.kind else None
    report = _Report(path.name, expected)
    report.whole(seen)
    report.count(seen.frames)
    if seen.frames:
        _rate(report, seen, expected)
        _pictures(report, seen, expected, wanted)
        if wanted is not None:
            _coded(report, path, seen, wanted)
            _tracks(report, path, expected, wanted)
    return tuple(report.findings)


def _coded(report: _Report, path: Path, seen: Seen, wanted: Preset) -> None:
    boxed = wanted.container in ("mp4", "mov")
    with path.open("rb") as stream:
        entry = video_entry(stream) if boxed else None
    tag = entry.tag if entry else ""
    report.equal("codec", f"{seen.codec} {tag}".strip(), f"{wanted.codec} {wanted.tag}".strip())
    report.equal("codec", seen.profile, wanted.profile)
    report.equal("tags", _each(map(" ".join, seen.tags)), " ".join(_VIDEO_TAGS))
    if boxed:
        _colr(report, entry.colr if entry else None)


class _Report:
    """Collects findings about one file."""

    def __init__(self, subject: str, expected: Expectation) -> None:
        self._subject = subject
        self._expected = expected
        self.findings: list[Finding] = []

    def add(self, code: str, value: str, limit: str, *, frames: tuple[int, int] | None = None) -> None:
        first, end = frames or (0, self._expected.frames)
        self.findings.append(Finding(code, Severity.BLOCKER, first, end, value, limit, self._subject))

    def equal(self, code: str, value: str, limit: str) -> None:
        if value != limit:
            self.add(code, value or "nothing", limit)

    def whole(self, seen: Seen) -> None:
        if seen.broken:
            last = max(self._expected.frames, seen.frames)
            self.add(
                "truncated", seen.broken, "decodes to its end", frames=(seen.broken_at, max(last, seen.broken_at + 1))
            )

    def count(self, frames: int) -> None:
        if frames != self._expected.frames:
            span = sorted((frames, self._expected.frames))
            self.add("count", str(frames), str(self._expected.frames), frames=(span[0], span[1]))


def _rate(report: _Report, seen: Seen, expected: Expectation) -> None:
    # the average of a single frame is a guess of the demuxer's; its time is checked below
    if seen.frames > 1 and seen.rate != expected.rate:
        report.add("rate", rate_text(seen.rate), rate_text(expected.rate))
    elif seen.late is not None:
        index, shown = seen.late
        report.add(
            "rate",
            f"frame {index} at {float(shown):.6f} s",
            f"{float(index / expected.rate):.6f} s",
            frames=(index, index + 1),
        )


def _pictures(report: _Report, seen: Seen, expected: Expectation, wanted: Preset | None) -> None:
    sizes = _each(f"{width}x{height}" for width, height in seen.sizes)
    if not seen.square:
        sizes += " with pixels that are not square"
    report.equal("size", sizes, f"{expected.width}x{expected.height}")
    if wanted is not None:
        report.equal("depth", _each(seen.pix_fmts), wanted.found)


def _tracks(report: _Report, path: Path, expected: Expectation, wanted: Preset) -> None:
    """What stands beside the pictures: timecode, reel, sound."""
    found = differences(
        path,
        container=wanted.container,
        frames=expected.frames,
        rate=expected.rate,
        timecode=expected.timecode or "",
        reel=expected.reel,
        silent=bool(expected.silent),
    )
    for code, value, limit in found:
        if (expected.silent if code == "audio" else expected.timecode) is not None:
            report.add(code, value, limit)


def _colr(report: _Report, colr: Colr | None) -> None:
    """The container's own colour box: BT.709 three times, and limited range where it can say so."""
    limit = "colr 1 1 1 limited"
    if colr is None:
        report.add("tags", "no colr box", limit)
    elif (colr.primaries, colr.transfer, colr.matrix) != (1, 1, 1) or colr.full_range:
        told = "full" if colr.full_range else "limited"
        report.add("tags", f"colr {colr.primaries} {colr.transfer} {colr.matrix} {told}", limit)


def judged_folder(path: Path, expected: Expectation, seen: Seen) -> tuple[Finding, ...]:
    """What was measured on a folder's pictures, and how they are called, against what was expected of a numbered
    sequence."""
    wanted = preset(expected.kind, expected.option)
    report = _Report(path.name, expected)
    report.whole(seen)
    _named(report, path, expected, wanted)
    if seen.frames:
        _pictures(report, seen, expected, wanted)
        tags = _PNG_TAGS if wanted.suffix == "png" else _EXR_TAGS
        report.equal("tags", _each(map(" ".join, seen.tags)), " ".join(tags))
    return tuple(report.findings)


def _inspect_folder(
    path: Path, expected: Expectation, wanted: Preset, look: Look | None
) -> tuple[Deliverable, tuple[Finding, ...]]:
    if not path.is_dir():
        return _other_thing(path, expected, "it is a file, not a folder of pictures")
    seen = Seen(rate=expected.rate, codec=wanted.codec)
    for _, _, file in _numbered(path, wanted):
        see_picture(file, seen, look)
    return _describe(path, expected, seen), judged_folder(path, expected, seen)


def _numbered(path: Path, wanted: Preset) -> list[tuple[int, str, Path]]:
    """(number, name, file) of a folder's pictures, in order of their numbers, which may gain a digit on the way."""
    found = ((file, _NUMBERED.match(file.name)) for file in path.iterdir())
    return sorted((int(at["number"]), at["name"], file) for file, at in found if at and at["suffix"] == wanted.suffix)


def _named(report: _Report, path: Path, expected: Expectation, wanted: Preset) -> None:
    """The pictures of a sequence by their names: what is missing, what is too much."""
    pictures = _numbered(path, wanted)
    numbers, names = [number for number, _, _ in pictures], {name for _, name, _ in pictures}
    strangers = sorted({file.name for file in path.iterdir()} - {file.name for _, _, file in pictures})
    due = range(FIRST_FRAME, FIRST_FRAME + expected.frames)
    for first, end in _runs(sorted(set(due) - set(numbers))):
        value = f"frame {first} is missing" if end == first + 1 else f"frames {first} to {end - 1} are missing"
        limit = f"{due.start} to {due.stop - 1}"
        report.add("count", value, limit, frames=(first - FIRST_FRAME, end - FIRST_FRAME))
    surplus = sorted(set(numbers) - set(due))
    if surplus:
        report.add("count", f"{len(surplus)} more, from {surplus[0]}", f"{due.start} to {due.stop - 1}")
    if strangers or len(names) > 1:
        report.add("count", f"also {', '.join((strangers or sorted(names))[:3])}", "one numbered sequence")


def _other_thing(path: Path, expected: Expectation, why: str) -> tuple[Deliverable, tuple[Finding, ...]]:
    """Nothing of what was expected can be measured on this."""
    seen = Seen(broken=why)
    report = _Report(path.name, expected)
    report.whole(seen)
    report.count(0)
    return _describe(path, expected, seen), tuple(report.findings)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Rising numbers as half-open runs."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def _each(values: Iterable[str]) -> str:
    return ", then ".join(values)


def _describe(path: Path, expected: Expectation, seen: Seen) -> Deliverable:
    width, height = seen.sizes[0] if seen.sizes else (0, 0)
    color_range, primaries, trc, matrix = seen.tags[0] if seen.tags else ("unknown",) * 4
    return Deliverable(
        kind=expected.kind,
        path=path,
        sha256=sha256_of(path),
        bytes=bytes_of(path),
        frames=seen.frames,
        rate=seen.rate,
        width=width,
        height=height,
        codec=seen.codec,
        pix_fmt=seen.pix_fmts[0] if seen.pix_fmts else "",
        color_range=color_range,
        color_primaries=primaries,
        color_trc=trc,
        colorspace=matrix,
    )
