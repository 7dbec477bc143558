"""A video file that somebody brings: what is in it, and how its frames become working frames.

Knows: decoding (PyAV), the differences between files that matter to retiming. Does not know: shots, clips of ours.
Memory: the frames in flight in a decoder, whatever the length: the file is decoded once to its end, because a count
that a container states is not a count.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from catalogs.timebase import FIRST_FRAME, rate_display
from tasks.containers import missing_bytes
from tasks.errors import MediaError
from tasks.measure import declared_frames, watch
from tasks.progress import counted

FEWEST: Final = 2
"""Frames below which there is nothing to retime."""

_UNEVEN: Final = Fraction(1, 4)
"""Of a frame's duration: the most by which a frame may be shown early or late and still count as even."""

_HD: Final = 576
"""Rows up to which an untagged file is taken for BT.601, as every player does."""

_MATRICES: Final = {1: "709", 4: "fcc", 5: "470bg", 6: "170m", 7: "240m", 9: "2020_ncl"}
"""Codes of ISO/IEC 23091-2 -> zimg's names."""
_PLANAR: Final = ((8, "gbrp"), (10, "gbrp10le"), (12, "gbrp12le"), (14, "gbrp14le"), (16, "gbrp16le"))
"""Bits of a sample up to which each planar RGB format holds it."""
_PICTURES: Final = ("pal8", "xyz12le", "xyz12be")
"""Formats that ffmpeg reads as RGB without calling them so."""
_PRIMARIES: Final = {
    4: "BT.470 M",
    8: "film",
    9: "BT.2020",
    10: "XYZ",
    11: "DCI P3",
    12: "Display P3",
    22: "EBU 3213",
}
"""Those that BT.709's differ from by more than BT.601's do (ISO/IEC 23091-2)."""
_TRANSFERS: Final = {8: "linear", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE 428"}
"""Those that are far from BT.709's curve and are not HDR."""
_HDR: Final = {16: "PQ (smpte2084)", 18: "HLG (arib-std-b67)"}
_FULL: Final = 2
_BOXED: Final = {"mov", "mp4", "matroska", "webm"}
"""Of ffmpeg's format names: those whose boxes say how long the file was meant to be."""

_ALPHA: Final = ("yuva", "rgba", "bgra", "gbrap", "argb", "abgr", "ya8", "ya16", "pal8")


@dataclass(frozen=True, slots=True)
class Source:
    """A video file, decoded once."""

    path: Path
    """Absolute path."""
    frames: int
    """Frames that it decodes to."""
    rate: Fraction
    """Frames per second."""
    width: int
    """Pixels of a frame as it is shown: turned upright, with square pixels."""
    height: int
    codec: str
    """The codec's name."""
    pix_fmt: str
    """Pixel format of the decoded frames."""
    filter: str = ""
    """ffmpeg's chain of filters that makes full-range RGB of that size of them."""
    notices: tuple[str, ...] = ()
    """What of it does not come through, in sentences."""
    timecode: str = ""
    """Of its first frame, as it says; empty if it does not."""


@dataclass(slots=True)
class _Seen:
    """What the pass over the file has found so far."""

    frames: int = 0
    first: VideoFrame | None = None
    start: Fraction = Fraction(0)
    last: Fraction = Fraction(0)
    """When the last frame is shown, seconds."""
    uneven: int | None = None
    """First frame whose time is not its number's."""


def look_at(path: Path, *, rate: Fraction | None = None, fewest: int = FEWEST, keeps_timecode: bool = False) -> Source:
    """Decode a video file to its end and say what it is. `rate` overrules what it says of its own, frames per second.
    `keeps_timecode`: whoever asks sees to the file's timecode; else it is left out, with a notice.

    Raises MediaError for what is no plain file, has no video, does not decode, has fewer than `fewest` frames, frames
    at uneven times (unless `rate` is given), of several sizes, interlaced or turned by odd angles, or HDR.
    """
    _judge_path(path)
    seen = _Seen()
    try:
        # a playlist must not lead anywhere else
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise MediaError(f"{path.name} has no video in it; give a video file")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            native = rate or _rate(stream, path)
            for frame in container.decode(stream):
                _note(seen, frame, native, path)
            left, timecode = list(_left_out(container)), _timecode(container)
            if timecode and not keeps_timecode:
                left.append(left_timecode(timecode))
            formats = set(container.format.name.split(","))
            declared = declared_frames(stream, formats)
            codec = stream.codec_context.name
            aspect = Fraction(stream.sample_aspect_ratio or 1)
    except MediaError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path.name} does not decode after {counted(seen.frames, 'frame')}: {reason}; repair it first"
        ) from error
    _judge_length(path, seen, declared, boxed=bool(formats & _BOXED), fewest=fewest)
    if seen.uneven is not None and rate is None:
        raise MediaError(
            f"{path.name}: frame {FIRST_FRAME + seen.uneven} is not shown at {float(seen.uneven / native):.3f} s, "
            f"where it is due at {rate_display(native)} frames per second: they are not evenly spaced; space them "
            f"first (ffmpeg -i IN -fps_mode cfr -r {float(native):.0f} OUT keeps "
            "the length), or say with --from-fps at which rate they follow each other (which may change it)"
        )
    assert seen.first is not None
    shown = _shown(seen.first, aspect, path)
    notices = [*shown.notices, *left, *_respaced(seen, rate)]
    return Source(
        path=path.absolute(),
        frames=seen.frames,
        rate=native,
        width=shown.width,
        height=shown.height,
        codec=codec,
        pix_fmt=seen.first.format.name,
        filter=shown.filter,
        notices=tuple(notices),
        timecode=timecode,
    )


def _left_out(container: InputContainer) -> Iterator[str]:
    """What is in the file beside its first video, in sentences."""
    streams = container.streams
    if len(streams.video) > 1:
        yield f"{len(streams.video) - 1} of its videos are left out, the first is taken"
    if streams.audio:
        yield "its sound is left out"
    if streams.subtitles:
        yield "its subtitles are left out"


def _timecode(container: InputContainer) -> str:
    """Of the first frame, as a track or a tag states it."""
    stated = [container.metadata, *(stream.metadata for stream in container.streams)]
    label = next((metadata["timecode"] for metadata in stated if "timecode" in metadata), "")
    # at 100 frames a second and more ffmpeg tells frames in three digits
    return re.sub(r"([:;])0([0-9]{2})$", r"\1\2", label)


def left_timecode(start: str) -> str:
    """The sentence that says so."""
    return f"its timecode, from {start}, is left out"


def _respaced(seen: _Seen, rate: Fraction | None) -> Iterator[str]:
    """What a rate that was said makes of the file's length."""
    if rate and abs(seen.last - seen.start - (seen.frames - 1) / rate) > _UNEVEN / rate:
        before, after = float(seen.last - seen.start), float((seen.frames - 1) / rate)
        yield f"at {float(rate):g} frames per second the {before:.2f} s between its first and last become {after:.2f} s"


def _judge_path(path: Path) -> None:
    try:
        kind = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path} cannot be read: {reason}; check the path") from error
    if not stat.S_ISREG(kind):
        raise MediaError(f"{path} is no file; give a video file")


def _rate(stream: VideoStream, path: Path) -> Fraction:
    """Frames per second as the container states them. Raises MediaError if it does not."""
    for stated in (stream.average_rate, stream.base_rate, stream.guessed_rate):
        if stated and 1 <= stated <= 240:
            return _snapped(Fraction(stated))
    raise MediaError(f"{path.name} states no frame rate from 1 to 240; say it with --from-fps")


def _snapped(rate: Fraction) -> Fraction:
    """N or N*1000/1001 where a clock of milliseconds has blurred it, as in WebM; else as it is."""
    for whole in (round(rate), round(rate * 1001 / 1000)):
        for exact in (Fraction(whole), Fraction(whole * 1000, 1001)):
            if abs(rate - exact) * 20_000 < exact:
                return exact
    return rate


def _note(seen: _Seen, frame: VideoFrame, rate: Fraction, path: Path) -> None:
    index = seen.frames
    time = Fraction(frame.pts) * frame.time_base if frame.pts is not None and frame.time_base else None
    if seen.first is None:
        seen.first, seen.start = frame, time or Fraction(0)
    elif (frame.width, frame.height, frame.format.name) != (
        seen.first.width,
        seen.first.height,
        seen.first.format.name,
    ):
        raise MediaError(
            f"{path.name}: frame {FIRST_FRAME + index} is {frame.width}x{frame.height} {frame.format.name}, before it "
            "they are "
            f"{seen.first.width}x{seen.first.height} {seen.first.format.name}; cut the file there"
        )
    if frame.interlaced_frame:
        raise MediaError(
            f"{path.name}: frame {FIRST_FRAME + index} is interlaced; deinterlace it first (ffmpeg -vf bwdif)"
        )
    if frame.is_corrupt:  # ffmpeg would stop there, in words of its own
        at = watch(path, rate=rate, clock=Fraction(0)).broken_at or index  # as inspection counts it
        raise MediaError(
            f"{path.name}: frame {FIRST_FRAME + at} is damaged (the first is {FIRST_FRAME}); get the file again, or "
            "repair it"
        )
    seen.last = time if time is not None else seen.last
    if time is not None and seen.uneven is None and abs((time - seen.start) * rate - index) > _UNEVEN:
        seen.uneven = index
    seen.frames += 1


def _judge_length(path: Path, seen: _Seen, declared: int, *, boxed: bool, fewest: int) -> None:
    """`boxed`: the file is of boxes that say their length; other formats would be misread for them."""
    cut = 0
    if boxed:
        with path.open("rb") as file:
            cut = missing_bytes(file)
    if cut or seen.frames < declared:
        lost = f"{cut} bytes are missing at its end" if cut else f"{seen.frames} of {declared} frames are there"
        raise MediaError(f"{path.name} is not whole: {lost}; get it again")
    if not seen.frames:
        raise MediaError(f"{path.name} has no frame; give a longer clip")
    if seen.frames < fewest:
        raise MediaError(f"{path.name} has {seen.frames} frame, retiming needs {fewest} at least; give a longer clip")


@dataclass(frozen=True, slots=True)
class _Shown:
    """How frames are shown, and what of them is not."""

    width: int
    height: int
    filter: str
    notices: tuple[str, ...]


def _shown(frame: VideoFrame, aspect: Fraction, path: Path) -> _Shown:
    """`aspect` is a pixel's width over its height. Raises MediaError for HDR and for what is turned by an odd angle."""
    if hdr := _HDR.get(int(frame.color_trc)):
        raise MediaError(f"{path.name} is HDR, {hdr}, and what is made here is BT.709; convert it to SDR first")
    if frame.rotation % 90:
        raise MediaError(f"{path.name} is turned by an angle that is no multiple of 90 degrees; turn it upright first")
    width, height = frame.width, frame.height
    if frame.rotation % 180:  # ffmpeg turns a frame upright before any filter sees it
        width, height, aspect = height, width, 1 / aspect
    notices = []
    if aspect != 1:
        width = max(2, round(width * aspect / 2) * 2)
        notices.append(f"its pixels are {aspect.numerator}:{aspect.denominator}, frames are scaled to square ones")
    if any(plane in frame.format.name for plane in _ALPHA):
        notices.append("its transparency is left out")
    if primaries := _PRIMARIES.get(int(frame.color_primaries)):
        notices.append(f"its colours are {primaries} and are taken for BT.709")
    if transfer := _TRANSFERS.get(int(frame.color_trc)):
        notices.append(f"its light is {transfer} and is taken for BT.709's curve")
    return _Shown(width, height, _filter(frame, width=width, height=height), tuple(notices))


def _filter(frame: VideoFrame, *, width: int, height: int) -> str:
    """ffmpeg's chain that makes full-range RGB of that size: white is full, black is 0, at every depth.

    By zimg: swscale widens by zeros below, so that its white from 8 or 10 bits, of YUV and of RGB, is 4080 of 4095.
    """
    zimg = [
        f"w={width}",
        f"h={height}",
        "filter=lanczos",
        # said aloud: ffmpeg's own guess for untagged files is BT.601 whatever their size
        "range=full",
        "matrix=gbr",
        # one slice: with one per core, what is made would depend on the machine
        "threads=1",
    ]
    if frame.format.is_rgb or frame.format.name in _PICTURES:
        depth = max(part.bits for part in frame.format.components)
        # planar, at its own depth: what zimg reads, without a conversion of values
        planar = next((name for bits, name in _PLANAR if depth <= bits), "gbrpf32le")
        return f"format=pix_fmts={planar}," + "zscale=" + ":".join([*zimg, "rangein=full"])
    full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    matrix = _MATRICES.get(int(frame.colorspace), "170m" if frame.height <= _HD else "709")
    said = "full" if full else "limited"
    # where the chroma lies is taken from the frame: left where it says nothing, as players do
    chain = "zscale=" + ":".join([*zimg, f"rangein={said}", f"matrixin={matrix}"])
    return f"{_unhalved(frame, said)}{chain}"


def _unhalved(frame: VideoFrame, said: str) -> str:
    """What makes chroma whole first, for sizes that zimg refuses: those that their chroma does not divide."""
    form = frame.format
    across, down = 16 // (form.chroma_width(16) or 16), 16 // (form.chroma_height(16) or 16)
    # turned upright by then: either may be the width
    if not (frame.width % max(across, down) or frame.height % max(across, down)):
        return ""
    depth = max(part.bits for part in form.components)
    whole = "yuv444p" if depth == 8 else f"yuv444p{depth}le"
    # luma and range stay as they are
    return f"scale=flags=lanczos+accurate_rnd:in_range={said}:out_range={said},format=pix_fmts={whole},"
