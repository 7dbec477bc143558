"""One pass over a delivered file: what is in it, to its last frame. Measures, never judges.

Knows: decoding (PyAV) and what damage looks like to a decoder. Does not know: findings, shots, plans.
Memory: the frames in flight in a decoder, whatever the length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tasks.containers import exr_is_whole, missing_bytes

_RANGES: Final[Mapping[int, str]] = {0: "unknown", 1: "tv", 2: "pc"}
_PRIMARIES: Final[Mapping[int, str]] = {1: "bt709", 2: "unknown", 5: "bt470bg", 6: "smpte170m", 9: "bt2020"}
_TRANSFERS: Final[Mapping[int, str]] = {
    1: "bt709",
    2: "unknown",
    6: "smpte170m",
    8: "linear",
    13: "iec61966-2-1",
    16: "smpte2084",
    18: "arib-std-b67",
}
_MATRICES: Final[Mapping[int, str]] = {
    0: "gbr",
    1: "bt709",
    2: "unknown",
    5: "bt470bg",
    6: "smpte170m",
    9: "bt2020nc",
}
Look = Callable[[VideoFrame], None]
"""Shown every frame as it is decoded; must not keep it."""

_IEND: Final = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(slots=True)
class Seen:
    """What one pass over a file measured. Filled as frames come; not shared."""

    frames: int = 0
    rate: Fraction = Fraction(0)
    late: tuple[int, Fraction] | None = None
    """First frame shown at another time than k/rate, and that time in seconds."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Distinct (width, height), in order of appearance."""
    square: bool = True
    codec: str = ""
    profile: str = ""
    pix_fmts: list[str] = field(default_factory=list)
    tags: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Distinct (range, primaries, trc, matrix)."""
    broken: str = ""
    """Why it did not decode whole; empty if it did."""
    broken_at: int = 0
    """Index of the frame where that shows."""

    def damage(self, why: str, *, at: int | None = None) -> None:
        """Keep the first damage found, at frame `at` or after the frames counted so far."""
        if not self.broken:
            self.broken, self.broken_at = why, self.frames if at is None else at

    def note(self, frame: VideoFrame) -> None:
        """Count a decoded frame and keep what is new about it."""
        self.frames += 1
        size = (frame.width, frame.height)
        if size not in self.sizes:
            self.sizes.append(size)
        if frame.format.name not in self.pix_fmts:
            self.pix_fmts.append(frame.format.name)
        tags = (
            _RANGES.get(int(frame.color_range), str(int(frame.color_range))),
            _PRIMARIES.get(int(frame.color_primaries), str(int(frame.color_primaries))),
            _TRANSFERS.get(int(frame.color_trc), str(int(frame.color_trc))),
            _MATRICES.get(int(frame.colorspace), str(int(frame.colorspace))),
        )
        if tags not in self.tags:
            self.tags.append(tags)
        if frame.is_corrupt:
            self.damage(f"frame {self.frames - 1} is damaged", at=self.frames - 1)


def watch(path: Path, *, rate: Fraction, clock: Fraction, look: Look | None = None) -> Seen:
    """Decode a video file to its end. Never raises for what the file holds: `broken` says why it is not whole.

    `look` is shown each frame, so that nobody has to decode it again. Frame k is due at k/rate seconds, give or take
    `clock` seconds: 0, or the millisecond that WebM rounds to.
    """
    seen = Seen()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                seen.damage("there is no video in it")
                return seen
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            # a decoder that hides damage would make a broken file look whole; H.265 carries a digest of every picture
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            # the format's name, not the decoder's: AV1 is decoded by another library
            seen.codec, seen.profile = stream.codec_context.codec.canonical_name, stream.profile or ""
            seen.square = stream.sample_aspect_ratio in (None, 0, 1)
            seen.rate = _declared_rate(stream, rate=rate, clock=clock)
            declared = declared_frames(stream, set(container.format.name.split(",")))
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    seen.damage(f"a packet after frame {seen.frames} is cut")
                for frame in packet.decode():
                    assert isinstance(frame, VideoFrame)
                    index = seen.frames
                    seen.note(frame)
                    if seen.late is None and frame.time_base is not None:
                        shown = Fraction(frame.pts or 0) * frame.time_base
                        if frame.pts is None or abs(shown - index / rate) > clock:
                            seen.late = (index, shown)
                    if look is not None:
                        _show(look, frame)
            if seen.frames < declared:
                seen.damage(f"{seen.frames} of {declared} frames are there")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        seen.damage(f"decoding stops after {seen.frames} frames: {reason}")
    with path.open("rb") as file:
        if cut := missing_bytes(file):
            seen.damage(f"{cut} bytes are missing at the end")
    return seen


def _show(look: Look, frame: VideoFrame) -> None:
    """Whatever goes wrong in looking is ours, and says nothing against the file: it must not pass for damage."""
    try:
        look(frame)
    except Exception as error:
        raise RuntimeError(f"a look at a frame of {frame.format.name} failed: {error!r}") from error


def declared_frames(stream: VideoStream, formats: set[str]) -> int:
    """Frames that a container, by ffmpeg's names of its format, says it shows; 0 where it does not say."""
    if "mov" not in formats:
        return stream.frames
    # the samples stated are those stored; an edit list (a trimmed clip has one) shows fewer, and the index knows which
    return sum(not entry.is_discard for entry in stream.index_entries)


def _declared_rate(stream: VideoStream, *, rate: Fraction, clock: Fraction) -> Fraction:
    """The average rate. A rounding clock keeps nanoseconds per frame: `rate` itself, if they agree to 1 in 100000."""
    average = Fraction(stream.average_rate or 0)
    return rate if clock and abs(average - rate) * 100_000 < rate else average


def see_picture(file: Path, seen: Seen, look: Look | None = None) -> None:
    """Decode one PNG or EXR, add it to `seen` and show it to `look`."""
    kind = file.suffix[1:]
    try:
        with file.open("rb") as stream:
            if kind == "exr":
                whole = exr_is_whole(stream)
            else:
                stream.seek(max(0, file.stat().st_size - len(_IEND)))
                whole = stream.read() == _IEND
        with av.open(str(file), format=f"{kind}_pipe", options={"err_detect": "crccheck+explode"}) as container:
            for frame in container.decode(video=0):
                seen.note(frame)
                if look is not None:
                    _show(look, frame)
    except (av.FFmpegError, OSError, ValueError):
        whole = False
    if not whole:
        seen.damage(f"{file.name} is not a whole {kind.upper()}")
