"""What each kind of deliverable is made with: encoder, container, pixel format, and the reason for every flag. Pure.

Knows: codecs. Does not know: graphs, paths, shots. Constant quality everywhere: a still needs few bits, water many.
docs/deliveries.md shows the same numbers to the people who order files (a test compares the two).

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
    decoded: str = ""
    """Pixel format that a decoder gives, where it is another one."""
    suffix: str = ""
    """Ending of a picture's name in a sequence."""

    @property
    def found(self) -> str:
        """Pixel format that a probe finds."""
        return self.decoded or self.pix_fmt

    @property
    def sequence(self) -> bool:
        """Whether it is a folder of numbered pictures."""
        return self.container == "image2"


PRESETS: Final[Mapping[tuple[str, str], Preset]] = {
    ("h265", "main10"): Preset("yuv420p10le", "hevc", "Main 10", "hvc1", "mp4"),
    ("prores", "proxy"): Preset("yuv422p10le", "prores", "Proxy", "apco", "mov"),
    ("prores", "lt"): Preset("yuv422p10le", "prores", "LT", "apcs", "mov"),
    ("prores", "422"): Preset("yuv422p10le", "prores", "Standard", "apcn", "mov"),
    ("prores", "hq"): Preset("yuv422p10le", "prores", "HQ", "apch", "mov"),
    # 10 bits go in; decoders give 12, which the format has room for
    ("prores", "4444"): Preset("yuv444p10le", "prores", "4444", "ap4h", "mov", decoded="yuv444p12le"),
    # profile 0, 8 bits: profile 2 (10 bits) does not play in Safari or on many phones
    ("webm", "vp9"): Preset("yuv420p", "vp9", "Profile 0", "", "webm"),
    # the main profile has 10 bits: every AV1 decoder takes them
    ("webm", "av1"): Preset("yuv420p10le", "av1", "Main", "", "webm"),
    ("h264", "high"): Preset("yuv420p", "h264", "High", "avc1", "mp4"),
    ("png", "16"): Preset("rgb48be", "png", "", "", "image2", suffix="png"),
    ("exr", "half"): Preset("gbrpf32le", "exr", "", "", "image2", decoded="gbrpf16le", suffix="exr"),
}
"""Every (kind, option) of a delivery."""

PRORES_PROFILES: Final[Mapping[str, int]] = {"proxy": 0, "lt": 1, "422": 2, "hq": 3, "4444": 4}
"""prores_ks' number of each option. Each has a target rate; Apple's white paper says 45, 102, 147, 220 and 330 Mb/s at
1920x1080 and 29.97."""

CRF: Final[Mapping[tuple[str, str], Mapping[str, int]]] = {
    # client: visually lossless on textured scenes (51 dB); the ProRes is there for those who need more
    ("h265", "main10"): {"review": 24, "client": 15, "master": 8},
    ("webm", "vp9"): {"review": 34, "client": 18, "master": 8},
    ("webm", "av1"): {"review": 40, "client": 22, "master": 10},
    ("h264", "high"): {"review": 22, "client": 14, "master": 8},
}
"""Constant rate factor by quality: lower loses less. The scales of the codecs differ."""

NVENC: Final = "nvenc"
"""Encoder of NVIDIA's cards, for H.265 alone."""

NVENC_CQ: Final[Mapping[str, int]] = {"review": 30, "client": 19, "master": 12}
"""NVENC's constant quality by quality, on a scale of its own."""

AUDIO: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    # plays in every MP4 player; silence needs few bits
    "mp4": ("aac", {"c:a": "aac", "b:a": "96k"}),
    # editors want samples, not a codec
    "mov": ("pcm_s24le", {"c:a": "pcm_s24le"}),
    # beside Vorbis the only codec that WebM has
    "webm": ("opus", {"c:a": "libopus", "b:a": "64k"}),
}
"""Container -> codec of a silent track as a probe names it, and its flags."""


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


def encoder_flags(
    kind: str, option: str, *, rate: Fraction, width: int, quality: str = "", encoder: str = ""
) -> dict[str, Any]:
    """Codec and muxer flags of one delivery, without paths and without colour. `quality` is empty for `client`,
    `encoder` for the processor's own. Raises ValueError if the delivery is unknown."""
    wanted = preset(kind, option)
    gop = max(1, round(GOP_SECONDS * rate))
    level = quality or "client"
    pix_fmt = wanted.pix_fmt
    if kind == "h265" and encoder == NVENC:
        # the same 10 bits, in the layout that the card reads
        flags, pix_fmt = _nvenc(gop, NVENC_CQ[level]), "p010le"
    elif kind == "h265":
        flags = _h265(gop, CRF[kind, option][level])
    elif kind == "prores":
        flags = _prores(option)
    elif option == "av1":
        flags = _av1(gop, CRF[kind, option][level])
    elif kind == "webm":
        flags = _webm(gop, width, CRF[kind, option][level])
    elif kind == "h264":
        flags = _h264(CRF[kind, option][level])
    else:
        flags = {"png": _png, "exr": _exr}[kind]()
    return {**flags, "pix_fmt": pix_fmt, **_muxer(wanted.container, rate)}


def _h265(gop: int, crf: int) -> dict[str, Any]:
    return {
        "c:v": "libx265",
        # as many CPU seconds as `fast` at 640x360 and 0.4 dB better; `faster` saves a fifth and loses 0.7 dB
        "preset": "medium",
        # constant quality
        "crf": crf,
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


def _nvenc(gop: int, quality: int) -> dict[str, Any]:
    return {
        "c:v": "hevc_nvenc",
        # the second slowest: still several times real time on the cards that have it
        "preset": "p6",
        "tune": "hq",
        # constant quality, without a bit rate to hold it down
        "rc": "vbr",
        "cq": quality,
        "b:v": 0,
        # bits go where the eye looks: flat areas band first
        "spatial-aq": 1,
        "profile:v": "main10",
        # as above
        "tag:v": "hvc1",
        "g": gop,
        # a keyframe at every group, whatever the picture
        "no-scenecut": 1,
        "strict_gop": 1,
    }


def _prores(option: str) -> dict[str, Any]:
    return {
        "c:v": "prores_ks",
        # each profile is a target rate and a chroma format
        "profile:v": PRORES_PROFILES[option],
        # Apple's own mark: some editors treat other vendors' files as second class
        "vendor": "apl0",
        # frames are independent, so threads never change a pixel
        "threads": 4,
    }


def _webm(gop: int, width: int, crf: int) -> dict[str, Any]:
    return {
        "c:v": "libvpx-vp9",
        # no bit rate: quality alone decides
        "b:v": 0,
        "crf": crf,
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


def _av1(gop: int, crf: int) -> dict[str, Any]:
    return {
        "c:v": "libsvtav1",
        # about x265's medium in time; lower numbers cost twice as much each for a few per cent
        "preset": 8,
        "crf": crf,
        "g": gop,
        "svtav1-params": ":".join(
            (
                # part of the result, see above
                "lp=2",
                # closed groups, as in the others
                "irefresh-type=2",
            )
        ),
    }


def _h264(crf: int) -> dict[str, Any]:
    return {
        "c:v": "libx264",
        "preset": "medium",
        "crf": crf,
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


def _exr() -> dict[str, Any]:
    return {
        "c:v": "exr",
        # 16 bits of floating point: what compositing packages read and write
        "format:v": "half",
        # lossless, sixteen lines at a time: read by everything, the smallest that this encoder has
        "compression": "zip16",
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
