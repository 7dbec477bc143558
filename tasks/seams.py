"""How much a seam shows: what happens where one window takes over, measured against the clip itself.

Knows: frames as they are joined, where windows meet. Does not know: engines, files, what is done about a bad seam.
Memory: two pictures of 320 pixels, and three numbers per frame of the clip.

A frame difference or a change of motion means nothing by itself: a fast pan has large ones everywhere. So each is
divided by the clip's own median away from its seams. Colour is not: a window that is redder than the one before it
shows in a still clip and in a busy one alike, unless the light changes as fast all the time.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np

from catalogs.footage import Finding
from catalogs.timebase import FrameRange
from models.interface import Frame
from models.motion import FAST, Floats, luma8, optical_flow
from tasks.limits import Limits
from tasks.plan import TakePlan

SIDE: Final = 320
"""Longest side of the pictures that are measured, in pixels."""

LEVEL: Final = np.float32(257)
"""Of 65535, in one of 255."""

LEAST_DIFFERENCE: Final = 0.1
"""Of two frames, in 1/255: below it is noise, and a still clip's median is not less than this."""

LEAST_TURN: Final = 0.05
"""Of the motion between two pairs of frames, in measured pixels: what optical flow makes of noise."""


@dataclass(frozen=True, slots=True)
class Seam:
    """One place where a window takes over."""

    native_frame: int
    """Frame at which the later window's segment begins."""
    jump: float
    """Greatest mean difference of luma of two neighbouring frames there, over the clip's median; 1 is no seam."""
    colour: float
    """Greatest step of a channel's mean there, in 1/255."""
    turn: float
    """Greatest change of motion from one pair of frames to the next there, over the clip's median."""
    restless: tuple[float, float, float]
    """Jump, turn and colour that one in twenty frames of the clip reaches away from its seams: an unsteady camera has
    them everywhere."""
    likeness: float
    """Mean SSIM of the frames that both windows show, before they are blended; 1 where they share none."""


class SeamMeter:
    """Sees every frame of a joined clip, in order, and tells of its seams in the end."""

    def __init__(self, seams: Sequence[int], shared: Sequence[FrameRange]) -> None:
        """`seams`: native frame at which each window after the first takes over; `shared`: the frames that it has in
        common with the window before it, empty where they only meet."""
        self._seams, self._shared = tuple(seams), tuple(shared)
        self._before: Frame | None = None
        self._flow: Floats | None = None
        # each by the later frame of a transition; the first frame has none
        self._differences, self._steps, self._turns = [0.0], [0.0], [0.0]
        self._alike: dict[int, list[float]] = {}

    def see(self, frame: Frame) -> None:
        """The next frame as it is joined, (height, width, 3) uint16."""
        small = _small(frame)
        if (before := self._before) is not None:
            self._differences.append(float(cv2.absdiff(_luma(small), _luma(before)).mean()))
            self._steps.append(float(np.abs(small.mean(axis=(0, 1)) - before.mean(axis=(0, 1))).max() / LEVEL))
            flow = optical_flow(luma8(before), luma8(small), preset=FAST)
            turned = 0.0 if self._flow is None else float(np.abs(flow - self._flow).sum(axis=2).mean())
            self._turns.append(turned)
            self._flow = flow
        self._before = small

    def compare(self, number: int, earlier: Frame, later: Frame) -> None:
        """A frame of seam `number`, from 0, as each of its windows shows it."""
        self._alike.setdefault(number, []).append(likeness(_luma(_small(earlier)), _luma(_small(later))))

    def seams(self) -> tuple[Seam, ...]:
        """After the last frame."""
        differences, turns = self._elsewhere(self._differences, 1, 1), self._elsewhere(self._turns, 2, 2)
        usual, steady = max(LEAST_DIFFERENCE, _median(differences)), max(LEAST_TURN, _median(turns))
        changing = _nearly_most(self._elsewhere(self._steps, 1, 1))
        restless = (_nearly_most(differences) / usual, _nearly_most(turns) / steady, changing)
        found = []
        for number, (frame, shared) in enumerate(zip(self._seams, self._shared, strict=True)):
            # the transition into the first shared frame up to the one out of the last
            at = slice(shared.start, shared.end + 1)
            # a change of motion shows in the pair after it
            after = slice(shared.start, shared.end + 2)
            alike = self._alike.get(number)
            found.append(
                Seam(
                    frame,
                    round(max(self._differences[at], default=0.0) / usual, 3),
                    round(max(self._steps[at], default=0.0), 3),
                    round(max(self._turns[after], default=0.0) / steady, 3),
                    (round(restless[0], 3), round(restless[1], 3), round(restless[2], 3)),
                    round(statistics.fmean(alike), 4) if alike else 1.0,
                )
            )
        return tuple(found)

    def _elsewhere(self, values: Sequence[float], first: int, reach: int) -> list[float]:
        """Of values from number `first` on those of no seam, which end `reach` transitions after what is shared: a seam
        is not measured by itself. All of them where the clip is nothing but seams."""
        own = {at for shared in self._shared for at in range(shared.start, shared.end + reach)}
        return [value for at, value in enumerate(values) if at >= first and at not in own] or list(values[first:])


def worst(seam: Mapping[str, Any], limits: Limits) -> tuple[float, str, str]:
    """What is worst about a seam: how many times its limit it is, what it is (`jump 2.4`), and the limit.

    `seam` is a Seam as the manifest writes it. Up to 1 nobody sees it.
    """
    allowed = limits["seam"]
    usual = dict(zip(("jump", "turn", "colour"), seam["restless"], strict=True))
    most = {name: max(float(allowed[name]), float(allowed["outstanding"]) * float(usual[name])) for name in usual}
    # a limit of 0 lets nothing pass
    over = [(float(seam[name]) / max(1e-6, most[name]), f"{name} {seam[name]}", f"{most[name]:g}") for name in most]
    least = float(allowed["likeness"])
    over.append((least / max(0.01, seam["likeness"]), f"likeness {seam['likeness']}", f"{least:g}"))
    return max(over)


def seam_findings(plan: TakePlan, seams: Sequence[Mapping[str, Any]], limits: Limits) -> tuple[Finding, ...]:
    """One for each seam of a take that shows: what is worst about it, at the delivery frames where it lies."""
    severity = limits.severity("seam")
    if severity is None:
        return ()
    found = []
    for seam, (before, window) in zip(seams, pairwise(plan.windows), strict=True):
        if before.arrives and not plan.spec.steps:
            continue  # the animatic dissolves into the still: a change that was asked for, up to the very seam
        ratio, value, limit = worst(seam, limits)
        if ratio > 1:
            first = plan.delivery_frame(window.span.range.start)
            last = plan.delivery_frame(window.span.range.start + plan.overlap)
            found.append(Finding("seam", severity, first, last + 1, value, limit))
    return tuple(found)


def likeness(x: Floats, y: Floats) -> float:
    """Mean SSIM of two pictures of luma in 1/255: Wang et al. 2004, Gaussian window of 1.5 pixels, K 0.01 and 0.03."""

    def blurred(picture: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5), dtype=np.float32)

    mean_x, mean_y = blurred(x), blurred(y)
    vary_x, vary_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    together = blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * together + c2)
    return float((top / ((mean_x**2 + mean_y**2 + c1) * (vary_x + vary_y + c2))).mean())


def _small(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint16)


def _luma(frame: Frame) -> Floats:
    """In 1/255, with all of its 16 bits."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.float32) / LEVEL


def _nearly_most(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.95)) if values else 0.0


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0
