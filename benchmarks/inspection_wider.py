"""More clean clips for benchmarks/inspection.py: other sizes, rates and lengths, subjects that move, every format.

Knows: what each clip shows. Does not know: inspection, files. Memory: one clip. No limit was chosen with these: what is
said of them is what is said of footage that nobody has seen before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import cv2
import numpy as np
from inspection_clips import Clean, Frames, eased
from inspection_subjects import subjects, words
from inspection_ways import (
    ALL,
    HD,
    NTSC,
    SCOPE,
    SMALL,
    TALL,
    TINY,
    WAN,
    carried,
    clip,
    glow,
    lit_by,
    over,
    pan,
    ripples,
)
from moving_pictures import ROOT, Size, View, grained, lit, mixed

from models.animatic import Animatic
from models.interface import ClipRequest


def wider() -> Iterator[Clean]:
    """All of them: each is tried in every kind that it names."""
    yield from (*_moves(), *_light(), *subjects(), *words())


def camera(name: str, move: str, size: Size, rate: int, count: int) -> Frames:
    """The animatic's move over a plate, at the model's own rate."""
    request = ClipRequest(
        plate=ROOT / "examples" / "plates" / name,
        width=size[0],
        height=size[1],
        first_frame=0,
        frames=count,
        shot_frames=count,
        native_rate=Fraction(rate),
        seed=2,
        shot_seed=2,
        camera=move,
    )
    return list(Animatic().generate(request, ()))


def _moves() -> Iterator[Clean]:
    yield clip("slow pan, 720p", lambda: over("city.jpg", HD, 50, pan(0.03)), 25, "h265", "webm")
    yield clip("slow push, 720p", lambda: over("lanterns.jpg", HD, 48, lambda w: View(zoom=1.1 + 0.1 * w)), 24, "h264")
    for name, move in (("lake.jpg", "pan left"), ("city.jpg", "push in"), ("forest.jpg", "handheld")):
        yield clip(f"81 frames of 16, {move}", lambda n=name, m=move: camera(n, m, WAN, 16, 81), 16, "h265")  # type: ignore[misc]
    yield clip(
        "a push of ten seconds",
        lambda: over("dunes.png", TINY, 250, lambda w: View(zoom=1.1 + 0.3 * w)),
        25,
        "h265",
        "webm",
    )
    yield clip("a pan of eight seconds", lambda: over("forest.jpg", TINY, 240, pan(0.4)), 30, "webm", "prores")
    yield clip("slow motion", lambda: over("city.jpg", SMALL, 96, pan(0.02)), 24, "prores", "h264")
    yield clip("60 a second, slow pan", lambda: over("lake.jpg", SMALL, 120, pan(0.05)), 60, "h265", "webm")
    yield clip("60 a second, carried", lambda: over("city.jpg", WAN, 90, carried(1.0, 1.5)), 60, "h265", "h264")
    yield clip(
        "50 a second, tilt",
        lambda: over("lighthouse.jpg", SMALL, 75, lambda w: View(0.5, 0.44 + 0.12 * w, 1.4)),
        50,
        "webm",
    )
    yield clip("48 a second, roll", lambda: over("dunes.png", SMALL, 60, lambda w: View(roll=0.5 * w)), 48, "prores")
    yield clip("12 a second, pan", lambda: over("lanterns.jpg", SMALL, 36, pan(0.2)), 12, "h264")
    yield clip(
        "23.976, carried, grain", lambda: film(over("forest.jpg", HD, 48, carried(1.0, 2))), NTSC, "prores", "h265"
    )
    yield clip(
        "film of an old camera",
        lambda: film(over("lighthouse.jpg", SMALL, 72, carried(0.4, 3)), 0.03),
        24,
        "prores",
        "h265",
    )
    yield clip("fast pan, 25", lambda: over("city.jpg", WAN, 50, pan(2.0), parts=6), 25, "h265", "webm")
    yield clip("fast pan, 60", lambda: over("forest.jpg", SMALL, 90, pan(2.0), parts=4), 60, "h264")
    yield clip(
        "whip pan, 30",
        lambda: over("lake.jpg", SMALL, 60, lambda w: View(0.4 + eased(4 * w - 1.5)), parts=8),
        30,
        "webm",
        "h264",
    )
    yield clip(
        "crash zoom",
        lambda: over("lighthouse.jpg", WAN, 36, lambda w: View(zoom=1.1 + 0.4 * eased(3 * w - 1)), parts=4),
        24,
        "h265",
    )
    yield clip(
        "a car's window",
        lambda: over("dunes.png", WAN, 60, lambda w: View(0.5 + 1.2 * w, 0.5 + 0.004 * math.sin(60 * w), 1.4), parts=3),
        25,
        "prores",
    )
    yield clip(
        "tall picture, tilt",
        lambda: over("lanterns.jpg", TALL, 60, lambda w: View(0.5, 0.47 + 0.06 * w, 1.3)),
        30,
        "h264",
        "h265",
    )
    yield clip(
        "scope, crane",
        lambda: over("dunes.png", SCOPE, 48, lambda w: View(0.5, 0.4 + 0.15 * w, 1.3 + 0.1 * w)),
        24,
        "prores",
    )
    yield clip(
        "a stop and go",
        lambda: over("forest.jpg", SMALL, 96, lambda w: View(0.4 + 0.1 * eased(3 * w) + 0.1 * eased(3 * w - 2))),
        24,
        "h265",
        "h264",
    )
    yield clip("a dissolve, 30", _dissolve, 30, "h265", "webm", arrives=True)


def _light() -> Iterator[Clean]:
    def under(name: str, size: Size, count: int, gain: Callable[[float], float]) -> Callable[[], Frames]:
        return lambda: [lit(frame, gain(at / count)) for at, frame in enumerate(over(name, size, count, pan()))]

    yield clip(
        "night, 720p",
        lambda: grainy([lit(f, 0.18) for f in over("city.jpg", HD, 45, pan())], 0.004),
        30,
        "h265",
        "prores",
    )
    yield clip("night, tall", lambda: [lit(f, 0.2) for f in over("lanterns.jpg", TALL, 50, pan())], 25, "webm", "h264")
    yield clip("fade in and out", under("lake.jpg", SMALL, 90, lambda w: eased(4 * w) * eased(4 - 4.2 * w)), 30, *ALL)
    yield clip(
        "fade out of 12 frames",
        under("forest.jpg", SMALL, 60, lambda w: min(1, max(0, 5 * (1 - w) - 0.08))),
        60,
        "h265",
        "webm",
    )
    yield clip("evening falls", under("lighthouse.jpg", WAN, 100, lambda w: 1 - 0.7 * eased(w)), 25, "prores", "h264")
    yield clip("sun through leaves", _leaves, 24, "h265", "webm")
    yield clip("a candle", _candle, 25, "prores", "h264")
    yield clip("headlights pass", _headlights, 30, "h265", "webm")
    yield clip("fog", lambda: [lit(f, 0.25, 0.55) for f in over("forest.jpg", WAN, 50, pan())], 25, "h265", "webm")
    yield clip(
        "backlight", lambda: [lit(f, 1.6, -0.25) for f in over("dunes.png", SMALL, 50, pan())], 25, "prores", "webm"
    )
    yield clip("grain, 5 %", lambda: grainy(over("lake.jpg", SMALL, 48, pan()), 0.05), 24, "prores", "h265")
    yield clip(
        "noise of a dark sensor",
        lambda: grainy([lit(f, 0.3) for f in over("lanterns.jpg", WAN, 48, pan())], 0.02),
        30,
        "prores",
    )


# --------------------------------------------------------------------------------------------------------------------


def grainy(frames: Frames, sigma: float) -> Frames:
    """Grain, new in every frame."""
    return [grained(frame, sigma, at) for at, frame in enumerate(frames)]


def film(frames: Frames, sigma: float = 0.015) -> Frames:
    """Grain of two pixels, a gate that weaves, light that breathes by a third of a per cent."""
    random, made = np.random.default_rng(8), []
    height, width = frames[0].shape[:2]
    for frame in frames:
        across, down = random.normal(0, 0.15, 2)
        shift = np.array([[1, 0, across], [0, 1, down]], np.float32)
        woven = cv2.warpAffine(frame, shift, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        noise = cv2.GaussianBlur(random.standard_normal((height, width), np.float32), (0, 0), 0.8)[..., None]
        lighted = woven * np.float32(1 + random.normal(0, 0.0015)) + noise * np.float32(sigma * 65535 * 1.8)
        made.append(np.clip(lighted, 0, 65535).astype(np.uint16))
    return made


def _dissolve() -> Frames:
    one, two = over("lake.jpg", SMALL, 60, pan()), over("forest.jpg", SMALL, 60, pan())
    return [mixed(a, b, eased((at / 60 - 0.3) * 2.5)) for at, (a, b) in enumerate(zip(one, two, strict=True))]


def _leaves() -> Frames:
    ground = over("forest.jpg", SMALL, 60, pan(0.02))
    return [lit_by(frame, 1 + 0.5 * ripples(SMALL, at / 24, 3)) for at, frame in enumerate(ground)]


def _candle() -> Frames:
    room = over("lanterns.jpg", SMALL, 60, pan(0.02))
    flame, near = np.random.default_rng(6).normal(0, 1, 60), glow(SMALL, 0.6, 0.5, 0.12)
    flame = np.convolve(flame, np.ones(4) / 4, "same")
    return [lit_by(frame, 0.45 + near * (0.5 + 0.12 * flame[at])) for at, frame in enumerate(room)]


def _headlights() -> Frames:
    street = over("city.jpg", SMALL, 60, pan(0.03))
    return [
        lit_by(lit(frame, 0.35), 1 + 1.8 * glow(SMALL, -0.4 + 1.8 * at / 60, 0.6, 0.2))
        for at, frame in enumerate(street)
    ]
