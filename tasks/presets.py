"""What each kind of deliverable is made with: encoder, container, pixel format, and the reason for every flag. Pure.

Knows: codecs. Does not know: graphs, paths, shots. Constant quality everywhere: a still needs few bits, water many.

Every encoder gets a fixed number of threads, which is part of the result: libx264 and libx265 with another number
write other (equally good) pixels, and a farm of unequal machines would deliver takes that differ among themselves.
Measured: with these flags the same master gives the same bytes on one core, on two, and beside other encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from catalogs.timebase import FIRST_FRAME

GOP_SECONDS: Final = 2
"""Seconds between keyframes in the delivered long-GOP files: a player seeks within two seconds of anywhere."""

REVIEW_GOP: Final = 4
"""Frames from keyframe to keyframe in the review copy: stepping back decodes three frames at most."""

MIN_TIMESCALE: Final = 10_000
"""Ticks per second that an MP4 or MOV track has at least; some editors round times on coarser clocks."""


@dataclass(frozen=True, slots=True)
class Preset:
    """How one delivery is encoded."""

    pix_fmt: str
    """Pixel format handed to the encoder and found in the file."""
    codec: str
    """The codec's name as a probe gives it."""
    profile: str
    """The profile's name as a probe gives it; empty where the codec has none."""
    tag: str
    """Four-character code in an MP4 or MOV; empty elsewhere."""
    container: str
    """ffmpeg's name of the container: mp4, mov, webm or image2."""


PRESETS: Final[Mapping[tuple[str, str], Preset]] = {
    ("h265", "main10"): Preset("yuv420p10le", "hevc", "Main 10", "hvc1", "mp4"),
    ("prores", "hq"): Preset("yuv422p10le", "prores", "HQ", "apch", "mov"),
    # profile 0, 8 bits: profile 2 (10 bits) does not play in Safari or on many phones
    ("webm", "vp9"): Preset("yuv420p", "vp9", "Profile 0", "", "webm"),
    ("h264", "high"): Preset("yuv420p", "h264", "High", "avc1", "mp4"),
    ("png", "16"): Preset("rgb48be", "png", "", "", "image2"),
}
"""Every (kind, option) of a delivery."""


def preset(kind: str, option: str) -> Preset:
    """The preset of a delivery. Raises ValueError if there is none."""
    try:
        return PRESETS[kind, option]
    except KeyError:
        raise ValueError(f"no preset for {kind}:{option}; known: {', '.join(map(':'.join, PRESETS))}") from None


def timescale(rate: Fraction) -> int:
    """Ticks per second of an MP4 or MOV track on which every frame lasts a whole number of ticks."""
    ticks = rate.numerator
    while ticks < MIN_TIMESCALE:
        # doubled, as most writers do: 15360 for 30, 12288 for 24, 12800 for 25
        ticks *= 2
    return ticks


def tile_columns(width: int) -> int:
    """log2 of VP9's tile columns: a tile is at least 256 pixels wide, and more than 16 gain nothing."""
    return max(0, min(4, (width // 256).bit_length() - 1))


def encoder_flags(kind: str, option: str, *, rate: Fraction, width: int) -> dict[str, Any]:
    """Codec and muxer flags of one delivery, without paths and without colour. Raises ValueError if it is unknown."""
    wanted = preset(kind, option)
    gop = max(1, round(GOP_SECONDS * rate))
    return {
        **{
            "h265": lambda: _h265(gop),
            "prores": _prores,
            "webm": lambda: _webm(gop, width),
            "h264": _h264,
            "png": _png,
        }[kind](),
        "pix_fmt": wanted.pix_fmt,
        **_muxer(wanted.container, rate),
    }


def _h265(gop: int) -> dict[str, Any]:
    return {
        "c:v": "libx265",
        # as many CPU seconds as `fast` at 640x360 and 0.4 dB better; `faster` saves a fifth and loses 0.7 dB
        "preset": "medium",
        # visually lossless on textured scenes (51 dB); the ProRes is there for those who need more
        "crf": 15,
        "profile:v": "main10",
        # QuickTime, Final Cut and Safari open hvc1 only; the default is hev1
        "tag:v": "hvc1",
        "g": gop,
        "x265-params": ":".join(
            (
                # part of the result, see above; two keep up with the decoder
                "frame-threads=2",
                # no text with the encoder's options inside: same pixels, same bytes
                "info=0",
                # closed groups: a cut at a keyframe needs no frame from before it
                "open-gop=0",
                # a digest of every picture: inspection proves that a frame decodes to what was encoded
                "hash=1",
                "log-level=error",
            )
        ),
    }


def _prores() -> dict[str, Any]:
    return {
        "c:v": "prores_ks",
        # 422 HQ
        "profile:v": 3,
        # Apple's own mark: some editors treat other vendors' files as second class
        "vendor": "apl0",
        # frames are independent, so threads never change a pixel
        "threads": 4,
    }


def _webm(gop: int, width: int) -> dict[str, Any]:
    return {
        "c:v": "libvpx-vp9",
        # no bit rate: quality alone decides
        "b:v": 0,
        "crf": 18,
        # rows of a tile in parallel, else two cores wait for one
        "row-mt": 1,
        "tile-columns": tile_columns(width),
        "threads": 4,
        # two-pass quality levels without a second pass
        "deadline": "good",
        # a fifth faster than 2 for 0.1 dB (640x360, 2 cores); 5 is no faster
        "cpu-used": 4,
        "g": gop,
    }


def _h264() -> dict[str, Any]:
    return {
        "c:v": "libx264",
        "preset": "medium",
        "crf": 14,
        # High 4:2:0 8-bit: what every browser and phone plays
        "profile:v": "high",
        # near all-intra: reviewers step and scrub
        "g": REVIEW_GOP,
        # coded order is shown order: stepping never waits for a later frame
        "bf": 0,
        # part of the result, see above
        "threads": 4,
    }


def _png() -> dict[str, Any]:
    return {
        "c:v": "png",
        # 6 and 9 take three times as long for a few per cent
        "compression_level": 3,
        # one filter for all rows: `mixed` takes twice the time
        "pred": "paeth",
    }


def _muxer(container: str, rate: Fraction) -> dict[str, Any]:
    if container == "image2":
        # editorial's number of the first frame
        return {"f": "image2", "start_number": FIRST_FRAME}
    flags: dict[str, Any] = {"f": container}
    if container in ("mp4", "mov"):
        # index in front: a browser plays while it loads
        flags["movflags"] = "+faststart"
        # every frame lasts a whole number of ticks
        flags["video_track_timescale"] = timescale(rate)
        # and so does the whole: in milliseconds, the default, H.265's edit list would end before the last frame does
        flags["movie_timescale"] = timescale(rate)
    return flags
