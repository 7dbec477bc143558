"""What goes wrong from frame to frame: black, frozen, still, flashes, flicker, cuts, harmful flashes. Pure.

Knows: looks, what is known of the shot, limits. Does not know: files, pictures. Memory: a few numbers a frame.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from catalogs.footage import Finding
from tasks.cuts import FLASH
from tasks.known import BLACK_PLATE, FLAT_PLATE, Known, finding, runs
from tasks.limits import Limits
from tasks.looks import Look

STAYS: Final = 0.97
"""Correlation of all frames with the first one from which a picture has not gone anywhere."""

SETTLED: Final = (0.2, 0.9995)
"""Levels of 255 from the first frame and correlation with it that keyframes make of one picture; the slowest push gets
to 0.35 within two seconds."""

BESIDE: Final = 8
"""Frames beside the first or last ones that tell whether their light stands out; a flash there does not come back."""


def judge_time(looks: Sequence[Look], cuts: Sequence[int], known: Known, limits: Limits) -> tuple[Finding, ...]:
    """All findings of this module, by code and frame. `cuts`: each i for which frames i and i+1 are one."""
    if not looks:
        return ()
    dark = _black(looks, known, limits)
    light = [] if dark and dark[0].frame_out - dark[0].frame_in == len(looks) else _light(looks, cuts, known, limits)
    return (*dark, *_motion(looks, cuts, known, limits), *light, *_cuts(looks, cuts, known, limits))


# --------------------------------------------------------------------------------------------------------------------


def _black(looks: Sequence[Look], known: Known, limits: Limits) -> list[Finding]:
    """Frames that show nothing; those that a fade leads to or from are wanted, and so is a black plate."""
    severity, whole = limits.severity("black"), limits.severity("black", "whole")
    if severity is None or (known.plate is not None and known.plate.peak < BLACK_PLATE):
        return []
    least = float(limits["black"]["luma"])
    found = []
    for first, end in runs([look.peak < least for look in looks]):
        throughout = (first, end) == (0, len(looks))
        if not throughout and _faded(looks, first, end, least=least, loss=float(limits["black"]["fade"])):
            continue
        grade = whole if throughout else severity
        if grade is not None:
            peak = max(look.peak for look in looks[first:end])
            what = "the whole shot" if throughout else _frames(end - first)
            value = f"{what} nowhere lighter than {peak:.1f}/255"
            found.append(finding("black", grade, (first, end), value, f"{least:g}/255"))
    return found


def _faded(looks: Sequence[Look], first: int, end: int, *, least: float, loss: float) -> bool:
    """Whether the picture goes into black or comes out of it in steps, at that end of the shot, and only there."""

    def steps(bright: Sequence[Look]) -> bool:
        # the frames beside black, from it outwards: in a fade each has about what the next one has
        levels = [look.peak for look in bright[:4]]
        return len(levels) == 4 and levels[0] < 0.7 * levels[3] and levels[0] - least < loss * levels[3] * 1.5

    begins = first == 0 and steps(looks[end:])
    ends = end == len(looks) and steps(looks[:first][::-1])
    within = first > 0 and end < len(looks) and steps(looks[end:]) and steps(looks[:first][::-1])
    return begins or ends or within


# --------------------------------------------------------------------------------------------------------------------


def _motion(looks: Sequence[Look], cuts: Sequence[int], known: Known, limits: Limits) -> list[Finding]:
    """A shot that never changes, one that goes nowhere, frames that repeat."""
    if len(looks) < 2 or known.still or (known.plate is not None and known.plate.contrast < FLAT_PLATE):
        return []
    if max(look.contrast for look in looks) < FLAT_PLATE:  # nothing to see moving
        return []
    same = float(limits["frozen"]["repeats"])
    most = max(look.difference for look in looks)
    whole = limits.severity("frozen", "whole")
    if (most <= same or _settled(looks, same)) and whole is not None:
        usual = statistics.median(look.difference for look in looks[1:])
        value = f"no two neighbours of {_frames(len(looks))} differ by more than {most:.3f}/255 ({usual:.3f} usually)"
        return [finding("frozen", whole, (0, len(looks)), value, f"more than {same:g}/255")]
    found = _frozen(looks, cuts, known, limits)
    severity, least = limits.severity("still"), float(limits["still"]["movement"])
    apart = max(look.apart for look in looks)
    # a page of text that is scrolled is as grey as before: what moves finely is not still
    stays = min(look.alike for look in looks) > STAYS
    if severity is not None and stays and apart < least and len(looks) > known.second // 2:
        value = f"the picture never goes further than {apart:.2f}/255 from the first frame"
        found.append(finding("still", severity, (0, len(looks)), value, f"{least:g}/255"))
    return found


def _settled(looks: Sequence[Look], same: float) -> bool:
    """One picture throughout in a format with many keyframes (H.264 for review), each of which codes it anew."""
    usual = statistics.median(look.difference for look in looks[1:])
    gone = max(look.apart for look in looks) > SETTLED[0] or min(look.alike for look in looks) < SETTLED[1]
    return usual <= same and not gone


def _frozen(looks: Sequence[Look], cuts: Sequence[int], known: Known, limits: Limits) -> list[Finding]:
    """Frames that are those before them although the shot moves: a slow start or a turn of the camera takes small
    steps, not none between large ones."""
    severity = limits.severity("frozen")
    if severity is None:
        return []
    same, abrupt, seen = (float(limits["frozen"][key]) for key in ("difference", "abrupt", "beside"))
    fewest = max(2, round(float(limits["frozen"]["frames"])))
    moved = [math.inf, *(look.difference for look in looks[1:])]
    # beside a cut retiming shows the nearer frame twice
    excused = {index + offset for index in {*cuts, *known.cuts} for offset in (-1, 0, 1, 2)}
    repeats = [
        # where a picture shows nothing, in black or white, it cannot repeat
        looks[index].contrast >= FLAT_PLATE
        and (step <= same or step * abrupt <= _beside(moved, index, known.second // 4 + 1))
        for index, step in enumerate(moved)
    ]
    found = []
    for first, end in runs(repeats):
        # the frame before the first repeat is the picture that repeats
        span = (first - 1, end)
        beside = [_beyond_light(looks[at]) for at in (first - 1, end) if 1 <= at < len(moved)]
        usual = _usual(moved, first, end, reach=known.second // 2, same=same)
        step = max(moved[first:end])
        lively = bool(beside) and min(beside) >= max(abrupt * max(step, same / 3), 0.5 * usual, seen)
        if end - first + 1 >= fewest and lively and not excused & set(range(first, end)):
            value = f"{_frames(end - first + 1)} of the same picture in a row"
            found.append(finding("frozen", severity, span, value, f"movement, as beside them ({min(beside):.1f}/255)"))
    if len(found) > max(3, len(looks) // 8):
        value = f"{len(found)} pictures stand for two frames or more"
        return [
            finding("frozen", severity, (found[0].frame_in, found[-1].frame_out), value, "a new picture each frame")
        ]
    return found


def _beyond_light(look: Look) -> float:
    """Difference from the frame before that light does not explain: a title that is faded in does not move."""
    return max(0.0, look.difference - 1.3 * abs(math.expm1(look.light)) * look.mean)


def _beside(moved: Sequence[float], index: int, reach: int) -> float:
    """The lesser of what usually moves just before a frame and just after it."""
    before, after = moved[max(1, index - reach) : index], moved[index + 1 : index + 1 + reach]
    return min(statistics.median(before), statistics.median(after)) if before and after else 0.0


def _usual(moved: Sequence[float], first: int, end: int, *, reach: int, same: float) -> float:
    """Median of what moves around a run."""
    around = [*moved[max(1, first - reach) : first], *moved[end : end + reach]]
    lively = [step for step in around if step > same]
    return statistics.median(lively) if lively else 0.0


# --------------------------------------------------------------------------------------------------------------------


def _light(looks: Sequence[Look], cuts: Sequence[int], known: Known, limits: Limits) -> list[Finding]:
    """Flashes, pictures that do not belong, flicker, and flashes that may harm."""
    steps = [0.0 if index - 1 in cuts else look.light for index, look in enumerate(looks)]
    flicker = _flicker(looks, steps, known, limits)
    trembling = {frame for one in flicker for frame in range(one.frame_in, one.frame_out)}
    # a flash of black, or one of a row of them, has another name
    least = float(limits["black"]["luma"])
    named = trembling | {index for index, look in enumerate(looks) if look.peak < least}
    flashes = (*_flashes(looks, steps, limits), *_ends(looks, steps, cuts, known, limits))
    flashes = tuple(one for one in flashes if one.frame_in not in named)
    return [*flashes, *flicker, *_harmful(looks, known, limits)]


def _flashes(looks: Sequence[Look], steps: Sequence[float], limits: Limits) -> list[Finding]:
    severity = limits.severity("flash")
    if severity is None:
        return []
    gain, stands_out = float(limits["flash"]["gain"]), float(limits["flash"]["stands_out"])
    found: list[Finding] = []
    taken = -1
    for index in range(1, len(looks)):
        if index <= taken:
            continue
        for length in range(1, FLASH + 1):
            if index + length >= len(looks):
                break
            rise, fall = steps[index], steps[index + length]
            least = math.log1p(gain)
            # it comes and it goes, and what is between neither comes nor goes
            if min(abs(rise), abs(fall)) < least or rise * fall > 0 or not 0.5 < abs(rise / fall) < 2:
                continue
            if any(abs(steps[at]) > 0.6 * min(abs(rise), abs(fall)) for at in range(index + 1, index + length)):
                continue
            if not all(_ample(looks[at], steps[at]) for at in (index, index + length)):
                continue
            around = [*steps[max(1, index - 6) : index], *steps[index + length + 1 : index + length + 7]]
            if min(abs(rise), abs(fall)) < stands_out * _restless(around):
                continue
            value = f"{'lighter' if rise > 0 else 'darker'} by {abs(math.expm1(rise)):.1%} for {_frames(length)}"
            found.append(finding("flash", severity, (index, index + length), value, f"{gain:.1%}"))
            taken = index + length
            break
    lit = {frame for one in found for frame in range(one.frame_in, one.frame_out)}
    for index, look in enumerate(looks):
        between = set(range(index - look.back, index))
        if look.back and look.unlike > float(limits["flash"]["unlike"]) and not lit & between:
            value = f"{_frames(look.back)} of another picture"
            found.append(finding("flash", severity, (index - look.back, index), value, "one picture throughout"))
    return sorted(found, key=lambda one: one.frame_in)


def _ends(
    looks: Sequence[Look], steps: Sequence[float], cuts: Sequence[int], known: Known, limits: Limits
) -> Iterator[Finding]:
    """First or last frames in another light, or of another picture: where a shot begins or ends they cannot return."""
    severity = limits.severity("flash")
    if severity is None:
        return
    count = len(looks)
    for length in range(1, FLASH + 1):
        for span, at in (((0, length), length), ((count - length, count), count - length)):
            where = "at the start" if span[0] == 0 else "at the end"
            if not 0 < at < count:
                continue
            if at - 1 in cuts and at - 1 not in known.cuts and count > 2 * FLASH:
                yield finding(
                    "flash", severity, span, f"{_frames(length)} of another picture {where}", "one picture throughout"
                )
            elif _lit(looks, steps, at, limits, forwards=span[0] == 0):
                # as the frames themselves have it: at the start the step is the way back
                gained = -steps[at] if span[0] == 0 else steps[at]
                light = f"{'lighter' if gained > 0 else 'darker'} by {abs(math.expm1(gained)):.1%}"
                limit = f"{float(limits['flash']['gain']):.1%}"
                yield finding("flash", severity, span, f"{light} for {_frames(length)} {where}", limit)


def _lit(looks: Sequence[Look], steps: Sequence[float], at: int, limits: Limits, *, forwards: bool) -> bool:
    """Whether light steps at frame `at` and nowhere near it: a fade, a lamp, a ride through shade take several."""
    size = abs(steps[at])
    if size < math.log1p(float(limits["flash"]["gain"])):
        return False
    inner = steps[at + 1 : at + 1 + BESIDE] if forwards else steps[max(1, at - BESIDE) : at]
    outer = steps[1:at] if forwards else steps[at + 1 :]
    if len(inner) < BESIDE or max(map(abs, (*inner, *outer))) > size / 4:
        return False
    return _ample(looks[at], steps[at]) and size >= float(limits["flash"]["stands_out"]) * _restless(inner)


def _ample(look: Look, step: float) -> bool:
    """Whether light makes up for much of the difference: it is the same everywhere, what moves is not."""
    return abs(step) * look.mean >= 0.12 * look.difference


def _restless(steps: Sequence[float]) -> float:
    """What light does anyway around a flash: the median change, and a bit for measuring."""
    return max(0.0008, statistics.median(abs(step) for step in steps)) if steps else 0.0008


def _flicker(looks: Sequence[Look], steps: Sequence[float], known: Known, limits: Limits) -> list[Finding]:
    """Light that goes up and down again for as long as it is averaged over. Each change counts by how much it is
    undone by the next; a median over the time leaves out single flashes."""
    severity = limits.severity("flicker")
    length = max(6, round(float(limits["flicker"]["seconds"]) * known.second))
    if severity is None or len(looks) <= length:
        return []
    least = float(limits["flicker"]["amplitude"])
    undone = [abs(one - other) / 4 if one * other < 0 else 0.0 for one, other in pairwise(steps[1:])]
    # a light is the same everywhere, motion is not: what is light makes up for much of the difference
    for index in range(len(undone)):
        look = looks[index + 1]
        if look.difference > 0 and abs(steps[index + 1]) * look.mean < 0.12 * look.difference:
            undone[index] = 0.0
    marked, worst = [False] * len(looks), 0.0
    for index in range(len(undone) - length + 1):
        window = undone[index : index + length]
        # two thirds of the changes take part: slower trembling has pauses between
        level = statistics.fmean(sorted(window)[length // 3 :]) if sorted(window)[length // 3] > 0 else 0.0
        if level >= least:
            worst = max(worst, level)
            marked[index + 1 : index + 1 + length] = [True] * length
    return [
        finding("flicker", severity, span, f"light trembles by {worst:.1%}", f"{least:.1%}") for span in runs(marked)
    ]


def _harmful(looks: Sequence[Look], known: Known, limits: Limits) -> list[Finding]:
    severity = limits.severity("photosensitive")
    if severity is None:
        return []
    area, flashes = float(limits["photosensitive"]["area"]), float(limits["photosensitive"]["flashes"])
    found = []
    for first, end in runs([look.flashing > area for look in looks]):
        worst = max(look.flashing for look in looks[first:end])
        value = f"more than {flashes:g} flashes in a second over {worst:.0%} of the picture (a hint, not certified)"
        found.append(finding("photosensitive", severity, (max(0, first - known.second), end), value, f"{area:.0%}"))
    return found


def _cuts(looks: Sequence[Look], cuts: Sequence[int], known: Known, limits: Limits) -> list[Finding]:
    severity = limits.severity("cut")
    if severity is None:
        return []
    dark = float(limits["black"]["luma"])
    return [
        finding("cut", severity, (index, index + 2), f"a cut after frame {index + 1001}", "one take")
        for index in cuts
        # black frames are a finding of their own
        if index not in known.cuts
        and min(looks[index].peak, looks[index + 1].peak) >= dark
        # and so are a few frames of another picture at an end
        and not (limits.on("flash") and len(looks) > 2 * FLASH and not FLASH <= index < len(looks) - 1 - FLASH)
    ]


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"
