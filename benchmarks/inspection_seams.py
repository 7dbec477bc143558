"""Seams for benchmarks/inspection.py: windows that meet badly in ways that show, and in ways that do not.

Knows: frames of two windows and where they meet. Does not know: engines, joins, files. Memory: one clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from inspection_clips import Frames
from inspection_ways import SMALL, over, pan
from moving_pictures import View, grained, lit

from catalogs.timebase import FrameRange
from tasks.limits import shipped
from tasks.seams import SeamMeter, worst

FRAMES: Final = 64
AT: Final = 32
SHARED: Final = 5
"""Frames that both windows show."""

Way = Callable[[float], View]


def tried() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(planted, clean): what became of each fault, and which of the good seams would be a finding."""
    planted = []
    for size, frames, other in _bad():
        over_limit, value, _ = _measured(frames, other)
        planted.append(
            {"code": "seam", "size": size, "blocker": False, "found": over_limit > 1, "said": value, "others": []}
        )
    clean = []
    for name, frames, other in _good():
        over_limit, value, limit = _measured(frames, other)
        findings = [f"issue seam: {value}; {limit}"] if over_limit > 1 else []
        clean.append({"clip": name, "kind": "join", "plate": "", "findings": findings})
    return planted, clean


def _measured(frames: Frames, other: Frames) -> tuple[float, str, str]:
    """The worst of the seam; `other` are the shared frames as the later window shows them."""
    meter = SeamMeter([AT + SHARED // 2], [FrameRange(AT, AT + SHARED)])
    for frame in frames:
        meter.see(frame)
    for earlier, later in zip(frames[AT : AT + SHARED], other, strict=True):
        meter.compare(0, earlier, later)
    (seam,) = meter.seams()
    return worst(asdict(seam), shipped())


def _panned(name: str, way: Way) -> Frames:
    return over(name, SMALL, FRAMES, way)


def _shared(frames: Frames) -> Frames:
    return frames[AT : AT + SHARED]


def _bad() -> Iterator[tuple[str, Frames, Frames]]:
    """What it is, the joined frames, the shared ones of the later window."""
    good = _panned("lake.jpg", pan())
    for far in (0.006, 0.012, 0.03):
        moved = _panned("lake.jpg", lambda way, f=far: View(0.46 + 0.08 * way + f * (way >= AT / FRAMES), 0.5, 1.3))  # type: ignore[misc]
        yield f"displaced by {far:.1%} of the picture", moved, _shared(moved)
    for levels in (3, 6, 12):
        red = [
            np.clip(frame + np.array([levels * 257 * (at >= AT), 0, 0]), 0, 65535).astype(np.uint16)
            for at, frame in enumerate(good)
        ]
        yield f"redder by {levels}/255", red, _shared(red)
    for gain in (1.03, 0.95, 1.15):
        light = [lit(frame, gain if at >= AT else 1.0) for at, frame in enumerate(good)]
        yield f"in a light of {gain:.0%}", light, _shared(light)
    for speed in (0.0, -1.0, 4.0):

        def turned(way: float, speed: float = speed) -> View:
            behind = max(0.0, way - AT / FRAMES)
            return View(0.46 + 0.16 * (min(way, AT / FRAMES) + speed * behind), 0.5, 1.3)

        frames = _panned("forest.jpg", turned)
        yield f"goes on at {speed:g} times the speed", frames, _shared(frames)
    for name in ("city.jpg", "lanterns.jpg", "dunes.png"):
        yield f"shows {name} where the other shows lake.jpg", good, _shared(_panned(name, pan()))


def _good() -> Iterator[tuple[str, Frames, Frames]]:
    ways: dict[str, Way] = {
        "pan": pan(),
        "fast pan": pan(0.8),
        "push": lambda way: View(zoom=1.1 + 0.3 * way),
        "roll": lambda way: View(roll=0.4 * way),
        "carried": lambda way: View(0.5 + 0.01 * np.sin(30 * way), 0.5 + 0.008 * np.sin(43 * way), 1.3),
        "nothing moves": lambda way: View(),
    }
    for name, way in ways.items():
        frames = _panned("city.jpg", way)
        yield f"a good seam, {name}", frames, _shared(frames)
    frames = [grained(frame, 0.01, at) for at, frame in enumerate(_panned("dunes.png", pan()))]
    other = [grained(frame, 0.01, 900 + at) for at, frame in enumerate(_shared(_panned("dunes.png", pan())))]
    yield "a good seam, grain", frames, other
    dimmed = [lit(frame, 1 - 0.4 * at / FRAMES) for at, frame in enumerate(_panned("lake.jpg", pan()))]
    yield "a good seam, light fades", dimmed, _shared(dimmed)
