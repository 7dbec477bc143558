"""What is wrong with the pictures themselves: ranges, bars, blur, blocks, dead pixels, banding, hollow depth. Pure.

Knows: samples, what is known of the shot, limits. Does not know: files, pictures. Memory: a few numbers a sample.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from catalogs.footage import Finding
from tasks.known import Known, finding
from tasks.limits import Limits
from tasks.looks import Look
from tasks.pixels import Stuck
from tasks.samples import Sample

SIDES: Final = ("at the top", "at the bottom", "at the left", "at the right")

SHOWN: Final = 14.0
"""Levels of 255 of contrast, from which a picture has edges and detail enough to be judged."""

DETAILED: Final = 1.0
"""Levels of 255 of coarse detail, below which there is nothing to lose."""

_PARTS: Final = 4  # a trend goes from the first to the last of so many parts of a shot


def judge_picture(
    samples: Sequence[Sample],
    looks: Sequence[Look],
    stuck: Sequence[Stuck],
    cuts: Sequence[int],
    known: Known,
    limits: Limits,
) -> tuple[Finding, ...]:
    """All findings of this module about a file whose content is judged; `stuck` of its single pixels."""
    if not samples or not looks:
        return ()
    whole = (0, len(looks))
    shown = [one for one in samples if looks[one.index].contrast >= SHOWN]
    return (
        *judge_range(samples, whole, limits),
        *_letterbox(shown, whole, known, limits),
        *_blur(shown, looks, cuts, known, limits),
        *_dead(stuck, looks, whole, limits),
        *_banding(samples, whole, known, limits),
        *_hollow(samples, whole, limits),
    )


def judge_range(samples: Sequence[Sample], whole: tuple[int, int], limits: Limits) -> list[Finding]:
    """Values that may not be broadcast: of each sampled frame, the frame that has most of them."""
    severity = limits.severity("range")
    if severity is None or not samples:
        return []
    found = []
    for what, key in (("luma", "luma"), ("red, green or blue", "gamut")):
        most = float(limits["range"][key])
        over = [one for one in samples if (one.beyond if key == "luma" else one.gamut) > most]
        if over:
            worst = max(one.beyond if key == "luma" else one.gamut for one in over)
            span = (over[0].index, over[-1].index + 1)
            found.append(
                finding(
                    "range", severity, span, f"{what} beyond -5 % to 105 % in {worst:.1%} of the picture", f"{most:.1%}"
                )
            )
            break  # luma beyond its range takes the colours with it
    return found


def _letterbox(samples: Sequence[Sample], whole: tuple[int, int], known: Known, limits: Limits) -> list[Finding]:
    """Bars that are there in every frame that shows something, begin sharply, and are not the plate's."""
    severity = limits.severity("letterbox")
    if severity is None or not samples:
        return []
    least, sharp = float(limits["letterbox"]["pixels"]), float(limits["letterbox"]["edge"])
    said = []
    for side, name in enumerate(SIDES):
        thick = min(one.bars[side] for one in samples)
        clear = statistics.median(one.edges[side] for one in samples)
        of_plate = known.plate.bars[side] if known.plate else 0
        if thick >= of_plate + least and clear >= sharp:
            said.append(f"{thick} px {name}")
    if not said:
        return []
    return [finding("letterbox", severity, whole, f"black bars: {', '.join(said)}", f"less than {least:g} px")]


def _blur(
    samples: Sequence[Sample], looks: Sequence[Look], cuts: Sequence[int], known: Known, limits: Limits
) -> list[Finding]:
    """Detail that goes, or blocks that come, from the beginning to the end of what lies between two cuts."""
    severity = limits.severity("blur")
    if severity is None:
        return []
    found = []
    for first, end in pairwise([0, *(index + 1 for index in cuts), len(looks)]):
        part = [one for one in samples if first <= one.index < end and one.coarse > DETAILED]
        if len(part) < _PARTS or end - first < known.second // 2:
            continue
        share = max(1, len(part) // _PARTS)
        begin, finish = part[:share], part[-share:]
        # as far as it is gone along rows and columns, and in all directions alike
        lost = min(
            1 - after / before if before > 0 else 0.0
            for before, after in zip(_sharpness(begin), _sharpness(finish), strict=True)
        )
        if lost > float(limits["blur"]["lost"]):
            value = f"{lost:.0%} of its fine detail is lost by the end"
            found.append(finding("blur", severity, (first, end), value, f"{float(limits['blur']['lost']):.0%}"))
        blocks = statistics.median(one.blocks for one in finish)
        began = statistics.median(one.blocks for one in begin)
        began = max(1.0, known.plate.blocks) if known.plate and first == 0 else began
        worst = max(blocks, statistics.median(one.blocks for one in begin))
        grows = blocks > float(limits["blur"]["grown"]) * began
        if worst > float(limits["blur"]["blocks"]) and grows:
            value = f"edges of 8x8 blocks are {worst:.1f} times as steep as what lies between"
            found.append(finding("blur", severity, (first, end), value, f"{float(limits['blur']['blocks']):g} times"))
    return found


def _sharpness(samples: Sequence[Sample]) -> tuple[float, float]:
    """Fine detail over coarse: neither light nor contrast changes it."""
    along = statistics.median(one.fine / max(0.05, one.coarse) for one in samples)
    return along, statistics.median(one.even for one in samples)


def _dead(stuck: Sequence[Stuck], looks: Sequence[Look], whole: tuple[int, int], limits: Limits) -> list[Finding]:
    severity = limits.severity("dead_pixel")
    if max(look.apart for look in looks) < float(limits["still"]["movement"]):
        return []  # where nothing moves, everything stays
    if severity is None or not stuck or len(stuck) > float(limits["dead_pixel"]["most"]):
        return []
    worst = stuck[0]
    others = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
    value = f"pixel {worst.x},{worst.y}{others} stays {worst.contrast:.0f}/255 from what moves around it"
    return [finding("dead_pixel", severity, whole, value, f"{float(limits['dead_pixel']['contrast']):g}/255")]


def _banding(samples: Sequence[Sample], whole: tuple[int, int], known: Known, limits: Limits) -> list[Finding]:
    severity = limits.severity("banding")
    if severity is None:
        return []
    most = float(limits["banding"]["stairs"])
    allowed = max(most, 1.5 * known.plate.stairs if known.plate else 0.0)
    stairs = statistics.median(one.stairs for one in samples)
    if stairs <= allowed:
        return []
    height = statistics.median(one.stair for one in samples)
    value = f"{stairs:.1f} stairs of {height:.1f}/255 per 100 pixels"
    return [finding("banding", severity, whole, value, f"{allowed:.1f} stairs")]


def _hollow(samples: Sequence[Sample], whole: tuple[int, int], limits: Limits) -> list[Finding]:
    """A deep file whose values are those of 8 bits."""
    severity = limits.severity("depth", "hollow")
    comb = statistics.median(one.comb for one in samples)
    if severity is None or comb <= float(limits["depth"]["comb"]):
        return []
    value = f"8-bit values in a deeper file: {comb:.0%} of its codes lie on every fourth"
    return [finding("depth", severity, whole, value, f"{float(limits['depth']['comb']):.0%}")]
