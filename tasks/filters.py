"""Filters between the master and the encoders: words, colour, and what several outputs share. Pure.

Knows: ffmpeg's filters, and the reason for each setting. Does not know: files to be made, encoders, paths of ours.

Colour: see tasks.ffmpeg. Words are laid over 12-bit RGB, before any conversion: what is not covered stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import ffmpeg as graph

from catalogs.timebase import rate_text
from tasks.frames import WORKING_PIX_FMT

SWS_FLAGS: Final = "lanczos+accurate_rnd"
"""How swscale works where it does (RGB to RGB: exact on 16 bits): Lanczos taps, exact rounding."""


@dataclass(frozen=True, slots=True)
class Captions:
    """Pictures of words for review copies, at delivery size (tasks.captions)."""

    slate: Path | None = None
    """The slate, a picture."""
    strip: Path | None = None
    """A clip in the working format, one frame for each of the master's: the ink above, how much it covers below."""
    band: int = 0
    """Rows of the picture's lower edge that it covers: half the strip's height."""


NO_CAPTIONS: Final = Captions()


def captioned(
    stream: Any, extras: tuple[str, ...], captions: Captions, *, rate: Fraction, size: tuple[int, int]
) -> Any:
    """The pictures with words burnt in, behind a slate, or both; still 12-bit RGB, counted from 0 again."""
    width, height = size
    # equal nodes of a graph are one node: looks that share words tell their branches apart by these names
    look = " ".join(extras)
    if "burnin" in extras:
        if captions.strip is None:
            raise ValueError("words are to be burnt in, and there are none")
        parts = stream.split()
        above = parts[0].filter("crop", width, height - captions.band, 0, 0, exact=1)
        under = parts[1].filter("crop", width, captions.band, 0, height - captions.band, exact=1)
        strip = counted(graph.input(str(captions.strip), r=rate_text(rate)).video, rate).split()
        ink = strip[f"ink {look}"].filter("crop", width, captions.band, 0, 0, exact=1)
        cover = strip[f"cover {look}"].filter("crop", width, captions.band, 0, captions.band, exact=1)
        # at full depth, where an overlay would go through 8 bits
        merged = graph.filter([under, ink, cover], "maskedmerge")
        stream = graph.filter([above, merged], "vstack")
    if "slate" in extras:
        if captions.slate is None:
            raise ValueError("a slate is to stand in front, and there is none")
        # its rate said: a join of two rates has none, and the timecode track needs one
        still = graph.input(str(captions.slate), framerate=rate_text(rate)).video
        still = still.filter("scale", width, height, in_range="full", out_range="full", flags=SWS_FLAGS)
        still = counted(still.filter("format", WORKING_PIX_FMT), rate).split()
        stream = graph.concat(still[look], stream, v=1, a=0)
    return counted(stream, rate)


def counted(stream: Any, rate: Fraction) -> Any:
    """Square pixels, and frame k at exactly k/rate."""
    return stream.filter("setsar", "1").filter("settb", f"{rate.denominator}/{rate.numerator}").filter("setpts", "N")


def converted(stream: Any, pix_fmt: str) -> Any:
    """Delivery colour in one pixel format. Tags are set in the graph: encoders drop those given to them alone."""
    if pix_fmt.startswith("gbrpf"):
        return stream.filter(
            # light, not code values: what every reader of EXR expects; sRGB's own curve, as the plate's tag says
            "zscale",
            rangein="full",
            range="full",
            transferin="iec61966-2-1",
            transfer="linear",
            # said, because zimg knows no curve of pictures whose primaries it does not know
            primariesin="709",
            primaries="709",
            # as below
            threads=1,
        ).filter("format", pix_fmt)
    if pix_fmt.startswith("rgb"):
        return (
            stream.filter("scale", in_range="full", out_range="full", flags=SWS_FLAGS)
            .filter("format", pix_fmt)
            # the plate's values under the plate's tag; BT.709's would make viewers apply another curve
            .filter("setparams", range="pc", color_primaries="bt709", color_trc="iec61966-2-1", colorspace="gbr")
        )
    return (
        stream.filter(
            # zimg: swscale's luma from planar RGB is 0.45/255 too high on average, zimg's 0.003, in the same time
            "zscale",
            # ranges and matrix said aloud: with the wrong matrix colours move by up to 39/255
            rangein="full",
            range="limited",
            matrix="709",
            # H.264, H.265, VP9 and ProRes all take chroma to lie on the left luma sample, half way between two lines
            chromal="left",
            filter="lanczos",
            # 8 bits band without it; a fixed pattern, so that still parts stay still and runs agree
            dither="ordered" if pix_fmt == "yuv420p" else "none",
            # one slice: with one per core, chroma at the cuts, and so every encode, would depend on the machine
            threads=1,
        )
        .filter("format", pix_fmt)
        .filter("setparams", range="tv", color_primaries="bt709", color_trc="bt709", colorspace="bt709")
    )


class Shared:
    """The pictures that outputs have in common: each look (words or none) and each pixel format of it is made once."""

    def __init__(self, branches: Any, captions: Captions, *, rate: Fraction, size: tuple[int, int]) -> None:
        self._branches, self._captions, self._rate, self._size = branches, captions, rate, size
        self._taken = 0
        self._looks: dict[tuple[str, ...], Any] = {}
        self._made: dict[tuple[tuple[str, ...], str], list[Any]] = {}

    def branch(self) -> Any:
        """One more of the branches of delivery size."""
        self._taken += 1
        return self._branches[self._taken - 1]

    def pictures(self, extras: tuple[str, ...], pix_fmt: str) -> Any:
        """The pictures of one more output with these extras, in its pixel format."""
        look = tuple(word for word in extras if word in ("slate", "burnin"))
        if (look, pix_fmt) not in self._made:
            stream = converted(self._looked(look, pix_fmt), pix_fmt)
            self._made[look, pix_fmt] = [stream.split(), 0]
        made = self._made[look, pix_fmt]
        made[1] += 1
        return made[0][made[1] - 1]

    def _looked(self, look: tuple[str, ...], pix_fmt: str) -> Any:
        if not look:
            return self.branch()
        if look not in self._looks:
            stream = captioned(self.branch(), look, self._captions, rate=self._rate, size=self._size)
            self._looks[look] = stream.split()
        return self._looks[look][pix_fmt]
