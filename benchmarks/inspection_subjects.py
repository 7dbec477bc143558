"""Subjects that move, and words, for the clean clips of benchmarks/inspection.py.

Knows: what each clip shows. Does not know: inspection, files. Memory: one clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from inspection_clips import Clean, Frames, eased, lettered
from inspection_ways import ALL, HD, SMALL, WAN, clip, glow, lit_by, over, pan, ripples
from moving_pictures import Size, View, grained, lit, look

from models.interface import Frame


def subjects() -> Iterator[Clean]:
    for size, rate, kinds in ((HD, 24, ("prores", "webm")), (SMALL, 60, ("h265",)), (WAN, 25, ("h264",))):
        yield clip(f"a still camera, somebody walks by, {rate}", lambda s=size: _walker(s, 60), rate, *kinds)  # type: ignore[misc]
    yield clip("a still camera, a head that nods", _nodding, 25, *ALL)
    yield clip("snow", _snow, 25, "h265", "prores")
    yield clip("clouds in a hurry", _clouds, 30, "h265", "webm")
    yield clip("two layers", _layers, 24, "prores", "h264")
    yield clip("a sign turns over black", _sign, 30, "h265", "webm")
    yield clip("bricks", _bricks, 25, "h265", "prores")
    yield clip("birds", _birds, 30, "prores", "h265")


def words() -> Iterator[Clean]:
    yield clip("subtitles", _subtitles, 25, "prores", "h264")
    yield clip("a lower third slides in", _lower_third, 30, "h265", "prores")
    yield clip("a title in black", _title, 24, "h264", "webm")
    yield clip("a page is read", _page, 25, "h265", "prores")


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
        face = lit_by(np.full_like(ground, 34000), 0.6 + 0.5 * glow(SMALL, 0.47, y / 360 - 0.08, 0.12))
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
        sky = np.clip(0.5 + 1.2 * ripples(WAN, at / 6, 4), 0, 1)
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
    card = np.zeros((720, 1280, 3), np.uint16)
    lettered(card, "DAILIES", (380, 390), cv2.FONT_HERSHEY_DUPLEX, 3.6, 6)
    # letters of whole sizes would grow in steps: the card does
    grown = (look(card, View(zoom=1 + 0.1 * at / 60), SMALL) for at in range(60))
    return [lit(frame, eased(at / 14) * eased((60 - at) / 14)) for at, frame in enumerate(grown)]


def _page() -> Frames:
    page = np.full((1500, 1400, 3), 233, np.uint8)
    for line in range(52):
        text, place = f"{line}. The lamp was lit, and nobody came. " * 2, (60, 40 + 28 * line)
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_COMPLEX, 0.6, (35,) * 3, 1, cv2.LINE_AA)
    wide = page.astype(np.uint16) * 257
    return [look(wide, View(0.4, 0.35 + 0.1 * at / 60, 1.6), WAN) for at in range(60)]
