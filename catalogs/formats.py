"""Which deliveries can be made at which size and rate, and which words a kind of delivery takes. Pure.

Knows: what the codecs' standards and our encoders allow. Does not know: encoders, files, how a size comes about.
What cannot be made is refused when a list is submitted, not at five in the morning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from catalogs.problems import Complaint
from catalogs.shot import DELIVERY_OPTIONS, Delivery
from catalogs.timebase import rate_display

GRADED: Final = ("h265", "webm", "h264")
"""Kinds with a choice of quality; ProRes has a fixed rate for each option, PNG and EXR lose nothing."""

SEQUENCES: Final = ("png", "exr")
"""Kinds that are folders of numbered pictures."""

REVIEW: Final = ("slate", "burnin")
"""Extras of review copies: nobody shall cut a film from pictures with words in them."""


@dataclass(frozen=True, slots=True)
class Level:
    """The most that every player of a format is made for."""

    name: str
    """As the standard calls it."""
    picture: int
    """Most luma samples in a picture."""
    second: int
    """Most luma samples in a second."""
    side: int
    """Longest side in pixels."""
    grid: int = 1
    """Pixels to which both sides are rounded up before they are counted."""


LEVELS: Final[Mapping[tuple[str, str], Level]] = {
    # ITU-T H.265 (V10), tables A.8 and A.9; a side is at most sqrt(8 * picture)
    ("h265", "main10"): Level("H.265 level 6.2", 35_651_584, 4_278_190_080, 16_888),
    # ITU-T H.264 (V14), table A-1, in macroblocks of 256 samples; 5.2 is what browsers, phones and televisions decode
    ("h264", "high"): Level("H.264 level 5.2", 36_864 * 256, 2_073_600 * 256, 8_688, grid=16),
    # VP9 bitstream and decoding process, annex A
    ("webm", "vp9"): Level("VP9 level 6.2", 35_651_584, 4_706_009_088, 16_384),
    # AV1 bitstream and decoding process, annex A.3
    ("webm", "av1"): Level("AV1 level 6.2", 35_651_584, 4_278_190_080, 16_384),
}
"""ProRes, PNG and EXR have no levels: they are as large as the picture."""


def is_review(delivery: Delivery) -> bool:
    """Whether people will look at a delivery and nobody will cut it."""
    return delivery.kind == "h264" or delivery.quality == "review"


def delivery_complaints(
    deliveries: Iterable[Delivery], *, size: tuple[int, int] | None, rate: Fraction
) -> list[Complaint]:
    """What of `deliveries` cannot be made at `size` (width, height in pixels; None if the model chooses) and `rate`.

    Every fault of a delivery has its own complaint, in the order of the deliveries.
    """
    found = []
    for delivery in deliveries:
        found += _words(delivery)
        if size is not None:
            found += _level(delivery, size, rate)
    return found


def _words(delivery: Delivery) -> list[Complaint]:
    def complaint(code: str, word: str, **words: str) -> Complaint:
        return Complaint(code, "deliveries", {"delivery": str(delivery), "kind": delivery.kind, "word": word, **words})

    found = []
    if delivery.quality and delivery.kind not in GRADED:
        found.append(complaint("E340", delivery.quality))
    if "silent" in delivery.extras and delivery.kind in SEQUENCES:
        found.append(complaint("E341", "silent"))
    for word in REVIEW:
        if word in delivery.extras and not is_review(delivery):
            others = [f"h264:{word}"]
            if delivery.kind in GRADED:
                option = "" if delivery.option == DELIVERY_OPTIONS[delivery.kind][0] else f"{delivery.option}:"
                others.append(f"{delivery.kind}:{option}review:{word}")
            found.append(complaint("E342", word, others=" or ".join(others)))
    return found


def _level(delivery: Delivery, size: tuple[int, int], rate: Fraction) -> list[Complaint]:
    width, height = size
    words = {"delivery": str(delivery), "size": f"{width}x{height}", "rate": rate_display(rate)}
    level = LEVELS.get((delivery.kind, delivery.option))
    # 4:2:2 halves widths alone
    if delivery.kind not in SEQUENCES and (width % 2 or (height % 2 and delivery.kind != "prores")):
        detail = "its chroma needs even sides"
        return [Complaint("E343", "deliveries", words | {"detail": detail, "remedy": "use even sides, or png"})]
    if level is None:
        return []
    samples = _rounded(width, level.grid) * _rounded(height, level.grid)
    if samples > level.picture or max(size) > level.side:
        words |= {
            "detail": f"{level.name} ends at {level.picture} pixels and {level.side} on a side",
            "remedy": "use a smaller size, or prores, png or exr",
        }
        return [Complaint("E343", "deliveries", words)]
    if samples * rate > level.second:
        most = level.second // samples
        words |= {
            "detail": f"{level.name} ends at {most}",
            "remedy": f"use {most} frames a second at most, a smaller size, or prores",
        }
        return [Complaint("E344", "deliveries", words)]
    return []


def _rounded(side: int, grid: int) -> int:
    return -(-side // grid) * grid
