"""More clean clips for benchmarks/inspection.py: other sizes, rates and lengths, subjects that move, every format.

Knows: what each clip shows. Does not know: inspection, files. Memory: one clip. No limit was chosen with these: what is
said of them is what is said of footage that nobody has seen before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Final

import cv2
import numpy as np
from inspection_clips import Clean, Frames, eased, lettered
from moving_pictures import ROOT, Size, View, exposed, grained, lit, look, mixed, plate

from models.animatic import Animatic
from models.interface import ClipRequest, Frame

HD: Final[Size] = (1280, 720)
WAN: Final[Size] = (832, 480)
SMALL: Final[Size] = (640, 360)
TALL: Final[Size] = (360, 640)
SCOPE: Final[Size] = (1024, 436)
TINY: Final[Size] = (480, 270)

ALL: Final = ("h265", "prores", "webm", "h264")
NTSC: Final = Fraction(24000, 1001)
RATES: Final = {number: Fraction(number) for number in (12, 16, 24, 25, 30, 48, 50, 60)}


def wider() -> Iterator[Clean]:
    """All of them: each is tried in every kind that it names."""
    yield from (*_moves(), *_light(), *_subjects(), *_words())


def _clip(name: str, frames: Callable[[], Frames], rate: int | Fraction, *kinds: str, **known: Any) -> Clean:
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
    yield _clip("slow pan, 720p", lambda: over("city.jpg", HD, 50, pan(0.03)), 25, "h265", "webm")
    yield _clip("slow push, 720p", lambda: over("lanterns.jpg", HD, 48, lambda w: View(zoom=1.1 + 0.1 * w)), 24, "h264")
    for name, move in (("lake.jpg", "pan left"), ("city.jpg", "push in"), ("forest.jpg", "handheld")):
        yield _clip(f"81 frames of 16, {move}", lambda n=name, m=move: camera(n, m, WAN, 16, 81), 16, "h265")  # type: ignore[misc]
    yield _clip(
        "a push of ten seconds", lambda: over("dunes.png", TINY, 250, lambda w: View(zoom=1.1 + 0.3 * w)), 25, *ALL
    )
    yield _clip("a pan of eight seconds", lambda: over("forest.jpg", TINY, 240, pan(0.4)), 30, "webm", "prores")
    yield _clip("slow motion", lambda: over("city.jpg", SMALL, 96, pan(0.02)), 24, *ALL)
    yield _clip("60 a second, slow pan", lambda: over("lake.jpg", SMALL, 120, pan(0.05)), 60, *ALL)
    yield _clip("60 a second, carried", lambda: over("city.jpg", WAN, 90, carried(1.0, 1.5)), 60, "h265", "h264")
    yield _clip(
        "50 a second, tilt",
        lambda: over("lighthouse.jpg", SMALL, 75, lambda w: View(0.5, 0.44 + 0.12 * w, 1.4)),
        50,
        "webm",
    )
    yield _clip("48 a second, roll", lambda: over("dunes.png", SMALL, 60, lambda w: View(roll=0.5 * w)), 48, "prores")
    yield _clip("12 a second, pan", lambda: over("lanterns.jpg", SMALL, 36, pan(0.2)), 12, "h264")
    yield _clip(
        "23.976, carried, grain", lambda: film(over("forest.jpg", HD, 48, carried(1.0, 2))), NTSC, "prores", "h265"
    )
    yield _clip(
        "film of an old camera", lambda: film(over("lighthouse.jpg", SMALL, 72, carried(0.4, 3)), 0.03), 24, *ALL
    )
    yield _clip("fast pan, 25", lambda: over("city.jpg", WAN, 50, pan(2.0), parts=6), 25, "h265", "webm")
    yield _clip("fast pan, 60", lambda: over("forest.jpg", SMALL, 90, pan(2.0), parts=4), 60, "h264")
    yield _clip(
        "whip pan, 30", lambda: over("lake.jpg", SMALL, 60, lambda w: View(0.4 + eased(4 * w - 1.5)), parts=8), 30, *ALL
    )
    yield _clip(
        "crash zoom",
        lambda: over("lighthouse.jpg", WAN, 36, lambda w: View(zoom=1.1 + 1.5 * eased(3 * w - 1)), parts=4),
        24,
        "h265",
    )
    yield _clip(
        "a car's window",
        lambda: over("dunes.png", WAN, 60, lambda w: View(0.5 + 1.2 * w, 0.5 + 0.004 * math.sin(60 * w), 1.4), parts=3),
        25,
        "prores",
    )
    yield _clip(
        "tall picture, tilt",
        lambda: over("lanterns.jpg", TALL, 60, lambda w: View(0.5, 0.47 + 0.06 * w, 1.3)),
        30,
        "h264",
        "h265",
    )
    yield _clip(
        "scope, crane",
        lambda: over("dunes.png", SCOPE, 48, lambda w: View(0.5, 0.4 + 0.15 * w, 1.3 + 0.1 * w)),
        24,
        "prores",
    )
    yield _clip(
        "a stop and go",
        lambda: over("forest.jpg", SMALL, 96, lambda w: View(0.4 + 0.1 * eased(3 * w) + 0.1 * eased(3 * w - 2))),
        24,
        *ALL,
    )
    yield _clip("a dissolve, 30", _dissolve, 30, "h265", "webm", arrives=True)


def _light() -> Iterator[Clean]:
    def under(name: str, size: Size, count: int, gain: Callable[[float], float]) -> Callable[[], Frames]:
        return lambda: [lit(frame, gain(at / count)) for at, frame in enumerate(over(name, size, count, pan()))]

    yield _clip(
        "night, 720p",
        lambda: grainy([lit(f, 0.18) for f in over("city.jpg", HD, 45, pan())], 0.004),
        30,
        "h265",
        "prores",
    )
    yield _clip("night, tall", lambda: [lit(f, 0.2) for f in over("lanterns.jpg", TALL, 50, pan())], 25, "webm", "h264")
    yield _clip("fade in and out", under("lake.jpg", SMALL, 90, lambda w: eased(4 * w) * eased(4 - 4.2 * w)), 30, *ALL)
    yield _clip(
        "fade out of 12 frames",
        under("forest.jpg", SMALL, 60, lambda w: min(1, max(0, 5 * (1 - w) - 0.08))),
        60,
        "h265",
        "webm",
    )
    yield _clip("evening falls", under("lighthouse.jpg", WAN, 100, lambda w: 1 - 0.7 * eased(w)), 25, "prores", "h264")
    yield _clip("sun through leaves", _leaves, 24, "h265", "webm")
    yield _clip("a candle", _candle, 25, "prores", "h264")
    yield _clip("headlights pass", _headlights, 30, "h265", "webm")
    yield _clip("fog", lambda: [lit(f, 0.25, 0.55) for f in over("forest.jpg", WAN, 50, pan())], 25, "h265", "webm")
    yield _clip("backlight", lambda: [lit(f, 1.6, -0.25) for f in over("dunes.png", SMALL, 50, pan())], 25, *ALL)
    yield _clip("grain, 5 %", lambda: grainy(over("lake.jpg", SMALL, 48, pan()), 0.05), 24, "prores", "h265")
    yield _clip(
        "noise of a dark sensor",
        lambda: grainy([lit(f, 0.3) for f in over("lanterns.jpg", WAN, 48, pan())], 0.02),
        30,
        "prores",
    )


def _subjects() -> Iterator[Clean]:
    for size, rate, kinds in ((HD, 24, ("prores", "webm")), (SMALL, 60, ("h265",)), (WAN, 25, ("h264",))):
        yield _clip(f"a still camera, somebody walks by, {rate}", lambda s=size: _walker(s, 60), rate, *kinds)  # type: ignore[misc]
    yield _clip("a still camera, a head that nods", _nodding, 25, *ALL)
    yield _clip("snow", _snow, 25, "h265", "prores")
    yield _clip("clouds in a hurry", _clouds, 30, "h265", "webm")
    yield _clip("two layers", _layers, 24, "prores", "h264")
    yield _clip("a sign turns over black", _sign, 30, *ALL)
    yield _clip("bricks", _bricks, 25, "h265", "prores")
    yield _clip("birds", _birds, 30, "prores", "h265")


def _words() -> Iterator[Clean]:
    yield _clip("subtitles", _subtitles, 25, *ALL)
    yield _clip("a lower third slides in", _lower_third, 30, "h265", "prores")
    yield _clip("a title in black", _title, 24, "h264", "webm")
    yield _clip("a page is read", _page, 25, "h265", "prores")


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


def _ripples(size: Size, at: float, seed: int) -> Any:
    """(height, width, 1): soft waves of light, -1 to 1, that change as time goes on."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32) / size[1]
    waves = np.random.default_rng(seed).uniform([-14, -14, 2, 0], [14, 14, 7, 6.3], (8, 4))
    return sum(np.sin(a * x + b * y + c * at + d) for a, b, c, d in waves)[..., None] / 8


def _leaves() -> Frames:
    ground = over("forest.jpg", SMALL, 60, pan(0.02))
    return [lit_by(frame, 1 + 0.5 * _ripples(SMALL, at / 24, 3)) for at, frame in enumerate(ground)]


def lit_by(frame: Frame, gain: Any) -> Frame:
    """In light that differs from place to place."""
    return np.clip(frame * gain.astype(np.float32), 0, 65535).astype(np.uint16)


def _glow(size: Size, x: float, y: float, reach: float) -> Any:
    """(height, width, 1): 1 at a place, in widths and heights, falling off."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    far = np.hypot(columns / size[0] - x, (rows / size[1] - y) * size[1] / size[0])
    return np.exp(-np.square(far / reach))[..., None]


def _candle() -> Frames:
    room = over("lanterns.jpg", SMALL, 60, pan(0.02))
    flame, near = np.random.default_rng(6).normal(0, 1, 60), _glow(SMALL, 0.6, 0.5, 0.12)
    flame = np.convolve(flame, np.ones(4) / 4, "same")
    return [lit_by(frame, 0.45 + near * (0.5 + 0.12 * flame[at])) for at, frame in enumerate(room)]


def _headlights() -> Frames:
    street = over("city.jpg", SMALL, 60, pan(0.03))
    return [
        lit_by(lit(frame, 0.35), 1 + 1.8 * _glow(SMALL, -0.4 + 1.8 * at / 60, 0.6, 0.2))
        for at, frame in enumerate(street)
    ]


def _walker(size: Size, count: int) -> Frames:
    """Somebody crosses before a camera on legs; grain is all that moves elsewhere."""
    ground, coat = over("city.jpg", size, 1, pan())[0], over("lanterns.jpg", size, 1, pan(zoom=2.0))[0]
    width, height = size
    made = []
    for at in range(count):
        cover = np.zeros((height, width), np.float32)
        x, stride = round(width * (0.1 + 0.7 * at / count)), math.sin(at / 3) * width * 0.02
        cv2.ellipse(cover, (x, round(height * 0.45)), (height // 18, height // 14), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
        cv2.ellipse(cover, (x, round(height * 0.68)), (height // 10, height // 6), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
        cv2.line(cover, (x, round(height * 0.8)), (round(x + stride), height - 4), 1.0, max(4, height // 24))
        share = cv2.GaussianBlur(cover, (0, 0), 1.2)[..., None]
        turned = np.roll(coat, x, axis=1)
        made.append(grained(mixed_by(ground, turned, share), 0.004, at))
    return made


def mixed_by(one: Frame, other: Frame, share: Any) -> Frame:
    """`share`, from place to place, of the other."""
    return np.rint(one * (1 - share) + other * share).astype(np.uint16)


def _nodding() -> Frames:
    ground = over("lighthouse.jpg", SMALL, 1, pan())[0]
    made = []
    for at in range(75):
        cover = np.zeros(ground.shape[:2], np.float32)
        y = round(170 + 14 * math.sin(at / 7))
        cv2.ellipse(cover, (320, y), (70, 95), 4 * math.sin(at / 9), 0, 360, 1.0, -1, cv2.LINE_AA)
        face = lit_by(np.full_like(ground, 34000), 0.6 + 0.5 * _glow(SMALL, 0.47, y / 360 - 0.08, 0.12))
        for x in (295, 345):
            cv2.circle(face, (x, y - 20), 8 if at % 40 > 3 else 2, (8000, 6000, 5000), -1, cv2.LINE_AA)
        made.append(grained(mixed_by(ground, face, cv2.GaussianBlur(cover, (0, 0), 1.5)[..., None]), 0.003, at))
    return made


def _snow() -> Frames:
    random = np.random.default_rng(10)
    flakes = random.uniform([0, 0, 2, 1.0], [640, 360, 7, 2.6], (220, 4))
    made = []
    for at, frame in enumerate(over("forest.jpg", SMALL, 60, pan(0.02))):
        cover = np.zeros(frame.shape[:2], np.float32)
        for x, y, speed, size in flakes:
            place = (x + 6 * math.sin(at / 9 + y)) % 640, (y + speed * at) % 360
            cv2.circle(cover, (round(place[0] * 8), round(place[1] * 8)), round(size * 8), 0.9, -1, cv2.LINE_AA, 3)
        made.append(mixed_by(lit(frame, 0.7), np.full_like(frame, 56000), cover[..., None]))
    return made


def _clouds() -> Frames:
    ground = over("dunes.png", WAN, 1, pan())[0]
    made = []
    for at in range(60):
        sky = np.clip(0.5 + 1.2 * _ripples(WAN, at / 6, 4), 0, 1)
        cloudy = mixed_by(np.full_like(ground, 30000), np.full_like(ground, 58000), sky)
        edge = np.clip((np.arange(WAN[1]) - 190) / 60, 0, 1)[:, None, None]
        made.append(mixed_by(cloudy, lit(ground, 0.9 + 0.04 * math.sin(at / 8)), edge))
    return made


def _layers() -> Frames:
    far, near = over("dunes.png", WAN, 60, pan(0.05)), over("forest.jpg", WAN, 60, pan(0.3, 1.6))
    rows = np.clip((np.arange(WAN[1]) - 330) / 12, 0, 1)[:, None, None]
    return [mixed_by(one, other, rows) for one, other in zip(far, near, strict=True)]


def _sign() -> Frames:
    made = []
    for at in range(60):
        frame = np.zeros((SMALL[1], SMALL[0], 3), np.uint8)
        corners = cv2.boxPoints(((320, 180), (200, 120), 6.0 * at))
        cv2.fillPoly(frame, [np.rint(corners * 8).astype(np.int32)], (214, 60, 48), cv2.LINE_AA, 3)
        cv2.circle(frame, (320, 180), 30, (240, 236, 220), -1, cv2.LINE_AA)
        made.append(frame.astype(np.uint16) * 257)
    return made


def _bricks() -> Frames:
    wall = np.full((900, 1600, 3), 30000, np.uint16)
    random = np.random.default_rng(13)
    for row in range(60):
        for column in range(42):
            x, y = column * 40 - (row % 2) * 20, row * 15
            tone = random.uniform(0.8, 1.2)
            cv2.rectangle(wall, (x + 1, y + 1), (x + 37, y + 12), (int(38000 * tone), int(20000 * tone), 15000), -1)
    return [look(wall, View(0.4 + 0.1 * at / 50, 0.5, 1.5), WAN) for at in range(50)]


def _birds() -> Frames:
    made = []
    for at, frame in enumerate(over("lake.jpg", HD, 40, pan(0.01))):
        for bird in range(14):
            x, y = 200 + 50 * bird + 7 * at, 120 + 23 * (bird % 5) + round(4 * math.sin(at / 2 + bird))
            wing = round(5 * math.sin(at * 1.3 + bird))
            cv2.polylines(frame, [np.array([[x - 6, y - wing], [x, y], [x + 6, y - wing]])], False, (6000,) * 3, 2)
        made.append(frame)
    return made


def _subtitles() -> Frames:
    frames = over("city.jpg", SMALL, 75, pan())
    for first, end, text in ((8, 30, "Where were you all night?"), (32, 60, "Rendering.")):
        for frame in frames[first:end]:
            lettered(frame, text, (180, 330), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 2)
    return frames


def _lower_third() -> Frames:
    frames = over("lighthouse.jpg", HD, 45, pan())
    for at, frame in enumerate(frames):
        x = round(560 * eased(at / 15)) - 560
        cv2.rectangle(frame, (x, 560), (x + 540, 640), (9000, 14000, 30000), -1)
        lettered(frame, "A. KEEPER", (max(0, x) + 30, 612), cv2.FONT_HERSHEY_DUPLEX, 1.2 if x > -300 else 0.01, 2)
    return frames


def _title() -> Frames:
    made = []
    for at in range(60):
        frame = np.zeros((SMALL[1], SMALL[0], 3), np.uint16)
        lettered(frame, "DAILIES", (190, 195), cv2.FONT_HERSHEY_DUPLEX, 1.8 + 0.004 * at, 3)
        made.append(lit(frame, eased(at / 14) * eased((60 - at) / 14)))
    return made


def _page() -> Frames:
    page = np.full((1500, 1400, 3), 60000, np.uint16)
    for line in range(52):
        cv2.putText(
            page,
            f"{line}. The lamp was lit, and nobody came." * 2,
            (60, 40 + 28 * line),
            cv2.FONT_HERSHEY_COMPLEX,
            0.6,
            (9000,) * 3,
            1,
            cv2.LINE_AA,
        )
    return [look(page, View(0.4, 0.35 + 0.1 * at / 60, 1.6), WAN) for at in range(60)]
