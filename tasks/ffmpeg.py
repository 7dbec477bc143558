"""ffmpeg command lines, built as ffmpeg-python graphs. Pure: nothing here runs anything.

Knows: flags, and the reason for each. Does not know: shots, files on disk, processes.

Colour: clips and masters are full-range R'G'B' with the plate's own values. Deliverables are BT.709, limited range, and
say so in the stream and in the container; a PNG keeps the plate's values and is tagged sRGB, as the plate was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import ffmpeg as graph

from catalogs.timebase import rate_text
from tasks.filters import NO_CAPTIONS, SWS_FLAGS, Captions, Shared, counted
from tasks.frames import WORKING_PIX_FMT
from tasks.naming import lead_frames, reel_name, start_timecode
from tasks.presets import AUDIO, encoder_flags, preset

_CLIP: Final[dict[str, Any]] = {
    # lossless, and five times as fast as FFV1 (benchmarks/working_format.py): clips are scratch, swept in the end
    "c:v": "ffvhuff",
}

_MASTER: Final[dict[str, Any]] = {
    # lossless, in every ffmpeg, the archivists' choice
    "c:v": "ffv1",
    # version 3: slices, each with its own checksum
    "level": 3,
    # range coder: the only one for more than 8 bits
    "coder": 1,
    # every frame stands alone: any frame can be read without its neighbours
    "g": 1,
    # slices are what threads share; 4 keep two to four cores busy at 2 % more bytes
    "slices": 4,
    # a flipped bit on disk is found when it is read
    "slicecrc": 1,
}


def _raw_input(width: int, height: int, rate: Fraction) -> Any:
    """Planar 12-bit RGB frames on stdin."""
    return graph.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt=WORKING_PIX_FMT,
        video_size=(width, height),
        # exact: a decimal rate would drift by a frame in a long shot
        framerate=f"{rate.numerator}/{rate.denominator}",
    )


def _lossless(ffmpeg: str, path: Path, *, width: int, height: int, rate: Fraction, codec: dict[str, Any]) -> list[str]:
    stream = graph.output(
        _raw_input(width, height, rate),
        str(path),
        **codec,
        pix_fmt=WORKING_PIX_FMT,
        # full-range RGB, said aloud: a player or a filter must not guess
        color_range="pc",
        # no date and no library version inside: the same frames give the same bytes
        fflags="+bitexact",
        **{"flags:v": "+bitexact", "f": "matroska"},
    )
    argv: list[str] = graph.compile(stream, cmd=ffmpeg, overwrite_output=True)
    return [argv[0], "-v", "error", *argv[1:]]


def clip_argv(ffmpeg: str, path: Path, *, width: int, height: int, rate: Fraction) -> list[str]:
    """Write raw working frames from stdin into a scratch clip."""
    return _lossless(ffmpeg, path, width=width, height=height, rate=rate, codec=_CLIP)


def master_argv(ffmpeg: str, path: Path, *, width: int, height: int, rate: Fraction) -> list[str]:
    """Write raw working frames from stdin into an FFV1 master."""
    return _lossless(ffmpeg, path, width=width, height=height, rate=rate, codec=_MASTER)


AUDIO_RATE: Final = 48_000
"""Samples a second of a silent track: the rate of film and television."""

STILL_SIDE: Final = 480
"""Longest side of a contact sheet's still, in pixels."""


@dataclass(frozen=True, slots=True)
class Stills:
    """Small pictures taken from the same decode, for people to look at."""

    frames: tuple[int, ...]
    """Which frames, counted from 0, rising."""
    folder: Path
    """Absolute path of an existing folder: the k-th still becomes `k.png`, from 0."""


class Output(NamedTuple):
    """One file to make."""

    kind: str
    option: str
    path: Path
    """Absolute; for a sequence an existing folder."""
    quality: str = ""
    extras: tuple[str, ...] = ()
    encoder: str = ""
    timecode: str = ""
    """Of the file's first frame; empty: as its kind has it, from frame 1001."""


def cover_crop(width: int, height: int, *, into: tuple[int, int]) -> tuple[int, int, int, int]:
    """The centred (width, height, x, y) of a picture that fills `into` (width, height) when scaled.

    The largest rectangle of that shape, to the nearest pixel; the whole picture if the shapes agree.
    """
    into_width, into_height = into
    if width * into_height > height * into_width:
        keep = max(1, round(Fraction(height * into_width, into_height)))
        return keep, height, (width - keep) // 2, 0
    keep = max(1, round(Fraction(width * into_height, into_width)))
    return width, keep, 0, (height - keep) // 2


def _sized(stream: Any, *, width: int, height: int, master_width: int, master_height: int) -> Any:
    """The master's pictures at delivery size, still 12-bit RGB, so that every format is rounded once."""
    if (width, height) == (master_width, master_height):
        return stream
    crop = cover_crop(master_width, master_height, into=(width, height))
    if crop[:2] != (master_width, master_height):
        # exact: this pixel, not the nearest one that suits a chroma grid that RGB does not have
        stream = stream.filter("crop", *crop, exact=1)
    # zimg and one slice: see converted
    resized = stream.filter("zscale", width, height, rangein="full", range="full", filter="lanczos", threads=1)
    return resized.filter("format", WORKING_PIX_FMT)


def _silence(frames: int, rate: Fraction) -> Any:
    """A silent stereo track as long as so many frames, to the nearest of its 48000 samples a second."""
    samples = round(frames * AUDIO_RATE / rate)
    return graph.input(f"anullsrc=r={AUDIO_RATE}:cl=stereo,atrim=end_sample={samples}", f="lavfi").audio


def _still_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    if longest <= STILL_SIDE:
        return width, height
    return max(1, round(width * STILL_SIDE / longest)), max(1, round(height * STILL_SIDE / longest))


def _stills(stream: Any, stills: Stills, *, width: int, height: int) -> Any:
    still_width, still_height = _still_size(width, height)
    chosen = (
        # by number, so that a sheet says which frame it shows
        stream.filter("select", "+".join(f"eq(n,{frame})" for frame in stills.frames))
        .filter("scale", still_width, still_height, in_range="full", out_range="full", flags=SWS_FLAGS)
        .filter("format", "rgb24")
    )
    return graph.output(
        chosen, _pattern(stills.folder, "%d.png"), f="image2", start_number=0, fps_mode="passthrough", **{"c:v": "png"}
    )


def _pattern(folder: Path, name: str) -> str:
    """Numbered files in a folder; a `%` in the folder's own name is not a number."""
    return f"{str(folder).replace('%', '%%')}/{name}"


def _tag(argv: list[str], path: Path, tags: Mapping[str, str]) -> None:
    """Put tags before an output's name: the graph takes one of a kind, and the title is that."""
    if tags:
        at = argv.index(str(path))
        argv[at:at] = [word for name, text in tags.items() for word in ("-metadata", f"{name}={text}")]


def deliverables_argv(
    ffmpeg: str,
    master: Path,
    outputs: Sequence[tuple[str, str, Path] | Output],
    *,
    rate: Fraction,
    width: int,
    height: int,
    master_width: int,
    master_height: int,
    title: str,
    tags: Mapping[str, Mapping[str, str]] | None = None,
    stills: Stills | None = None,
    frames: int = 0,
    captions: Captions = NO_CAPTIONS,
    conform: str = "",
) -> list[str]:
    """Make all deliverables of a shot in one process: one decode, one resize, one conversion per pixel format.

    `outputs` are (kind, option, path) and what else an Output says, for a sequence the path of an existing folder.
    `width` and `height` are the delivery size: another shape than the master's is filled by a centred crop, then scaled
    by Lanczos. `title` is the slate, `tags` what else is written into a container, by its name (mp4, mov, webm).
    `frames` is the master's count, needed for a silent track alone. `conform` is a chain of filters that makes
    full-range RGB of the master's size of any other file; empty for masters.

    There are three conversions for the three usual formats (4:2:0 10-bit, 4:2:2 10-bit, 4:2:0 8-bit), because each
    keeps chroma or depth that the others lack and a chain of them would round twice; VP9 and H.264 share theirs. All
    share the lossless decode, which costs as much as an encode. Words on review copies cost a conversion of their own.

    Raises ValueError if there is nothing to make, a kind is unknown or a size does not suit its chroma grid.
    """
    wanted = [Output(*one) for one in outputs]
    if not wanted and stills is None:
        raise ValueError(f"{title}: nothing to encode; ask for a delivery")
    for pix_fmt in dict.fromkeys(preset(one.kind, one.option).pix_fmt for one in wanted):
        if (pix_fmt.startswith("yuv") and width % 2) or (pix_fmt.startswith("yuv420") and height % 2):
            raise ValueError(f"{title}: {pix_fmt} needs even sizes, {width}x{height} is not; deliver an even size")

    source = _source(master, rate=rate, conform=conform)
    sized = _sized(source, width=width, height=height, master_width=master_width, master_height=master_height)
    # square pixels, whatever rounding the crop needed
    shared = Shared(counted(sized, rate).split(), captions, rate=rate, size=(width, height))
    results = []
    for one in wanted:
        result = _output(
            one,
            shared.pictures(one.extras, preset(one.kind, one.option).pix_fmt),
            title=title,
            rate=rate,
            width=width,
            frames=frames,
        )
        results.append(result)
    if stills is not None:
        results.append(_stills(shared.branch(), stills, width=width, height=height))
    argv: list[str] = graph.compile(
        graph.merge_outputs(*results) if len(results) > 1 else results[0], cmd=ffmpeg, overwrite_output=True
    )
    for kind, option, path, *_ in outputs:
        _tag(argv, path, (tags or {}).get(preset(kind, option).container, {}))
    return [
        argv[0],
        # never waits for a key
        "-nostdin",
        "-v", "error",
        # a damaged master is an error, not a shorter deliverable
        "-xerror",
        # the count of frames on stdout, for whoever runs it
        "-nostats", "-progress", "pipe:1",
        *argv[1:],
    ]  # fmt: skip


def _source(master: Path, *, rate: Fraction, conform: str) -> Any:
    # -r before -i: frames are counted, not timed, because Matroska rounds the master's times to milliseconds
    if not conform:
        return graph.input(str(master), r=rate_text(rate)).video
    # a playlist under a clip's name leads nowhere else
    stream = graph.input(str(master), r=rate_text(rate), protocol_whitelist="file,pipe").video
    for one in conform.split(","):
        name, _, words = one.partition("=")
        stream = stream.filter(name, **dict(word.split("=", 1) for word in words.split(":")))
    return stream.filter("format", WORKING_PIX_FMT)


def _output(one: Output, stream: Any, *, title: str, rate: Fraction, width: int, frames: int) -> Any:
    wanted = preset(one.kind, one.option)
    flags = encoder_flags(one.kind, one.option, rate=rate, width=width, quality=one.quality, encoder=one.encoder)
    streams, metadata = [stream], {}
    if "silent" in one.extras:
        streams.append(_silence(frames + lead_frames(one.extras), rate))
        flags |= AUDIO[wanted.container][1]
    if start := one.timecode or start_timecode(one.kind, one.extras, rate):
        # a track of its own, where editors look for it
        flags["timecode"] = start
    if reel := reel_name(one.kind, title, rate):
        # in the timecode track: an edit list finds the shot again
        metadata["metadata:s:v:0"] = f"reel_name={reel}"
    return graph.output(
        *streams,
        _pattern(one.path, f"{title}.%04d.{wanted.suffix}") if wanted.sequence else str(one.path),
        **flags,
        # every frame of the graph once: its times are exact already, nothing is doubled or dropped
        fps_mode="passthrough",
        # nothing of the master's own tags and chapters; the slate is the title
        map_metadata=-1,
        map_chapters=-1,
        metadata=f"title={title}",
        # no date, no version, no random number: same pixels, same bytes
        fflags="+bitexact",
        **{"flags:v": "+bitexact", **({"flags:a": "+bitexact"} if len(streams) > 1 else {}), **metadata},
    )
