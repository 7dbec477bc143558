"""Cameras, light, sizes and rates for the wider clips and faults of benchmarks/inspection.py.

Knows: stills and ways over them. Does not know: inspection, files. Memory: one clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np
from inspection_clips import Clean, Frames
from moving_pictures import Size, View, exposed, look, plate

from models.interface import Frame

HD: Final[Size] = (1280, 720)
WAN: Final[Size] = (832, 480)
SMALL: Final[Size] = (640, 360)
TALL: Final[Size] = (360, 640)
SCOPE: Final[Size] = (1024, 436)
TINY: Final[Size] = (480, 270)

ALL: Final = ("h265", "prores", "webm", "h264")
NTSC: Final = Fraction(24000, 1001)
RATES: Final = {number: Fraction(number) for number in (12, 16, 24, 25, 30, 48, 50, 60)}


def clip(name: str, frames: Callable[[], Frames], rate: int | Fraction, *kinds: str, **known: Any) -> Clean:
    return Clean(name, frames, known=known, rate=RATES.get(rate, Fraction(rate)), kinds=kinds)  # type: ignore[call-overload]


def over(name: str, size: Size, count: int, route: Callable[[float], View], *, parts: int = 1) -> Frames:
    """A camera's way over a plate, from 0 to 1, with a shutter of 180 degrees where `parts` > 1."""
    scale = 1.25 * max(size[0] / 1280, size[1] / 720)
    still = plate(name, round(1280 * scale), round(720 * scale))
    fit = still.shape[1] * size[1] / (still.shape[0] * size[0])  # of a tall picture the zoom fits its height

    def seen(way: float) -> Frame:
        view = route(way)
        return look(still, View(view.x, view.y, view.zoom * max(1.0, fit), view.roll), size)

    return [exposed(seen, at / count, shutter=0.5 / count, parts=parts) for at in range(count)]


def pan(far: float = 0.08, zoom: float = 1.3) -> Callable[[float], View]:
    """To the right by `far` of the still's width."""
    return lambda way: View(0.46 + far * way, 0.5, zoom)


def carried(strength: float, seconds: float) -> Callable[[float], View]:
    """A camera on a shoulder: slow waves, and the small tremble of hands."""
    waves = np.random.default_rng(12).uniform(0.4, 1, (7, 3))

    def route(way: float) -> View:
        time = way * seconds
        x, y, roll = (
            sum(
                waves[n, axis] * math.sin(2 * math.pi * (0.35 + 0.8 * n) * time + 5 * axis + n) / (1 + n)
                for n in range(7)
            )
            for axis in range(3)
        )
        return View(0.5 + 0.01 * strength * x, 0.5 + 0.012 * strength * y, 1.3, roll=0.008 * strength * roll)

    return route


def ripples(size: Size, at: float, seed: int) -> Any:
    """(height, width, 1): soft waves of light, -1 to 1, that change as time goes on."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / size[1]
    waves = np.random.default_rng(seed).uniform([-14, -14, 2, 0], [14, 14, 7, 6.3], (8, 4))
    return sum(np.sin(a * x + b * y + c * at + d) for a, b, c, d in waves)[..., None] / 8


def lit_by(frame: Frame, gain: Any) -> Frame:
    """In light that differs from place to place."""
    return np.clip(frame * gain.astype(np.float32), 0, 65535).astype(np.uint16)


def glow(size: Size, x: float, y: float, reach: float) -> Any:
    """(height, width, 1): 1 at a place, in widths and heights, falling off."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    far = np.hypot(columns / size[0] - x, (rows / size[1] - y) * size[1] / size[0])
    return np.exp(-np.square(far / reach))[..., None]
