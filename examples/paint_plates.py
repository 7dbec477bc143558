"""Paints the six example plates into `examples/plates/`: no downloads, the same picture every time.

Knows: noise, a height-field renderer with real perspective, light, mist and reflections.
Does not know: the pipeline. Memory: a few dozen pictures of 2560x1440 floats; under a minute on one core.

Run: `python examples/paint_plates.py [NAME...]`. Pictures are RGB float32, (height, width, 3), 0..1, display-referred.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FOLDER: Final = Path(__file__).parent / "plates"
LARGEST: Final = 900_000
"""Most bytes of one plate, so that a clone stays small."""


def colour(text: str) -> Array:
    """`#rrggbb` as three floats 0..1."""
    return np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)], np.float32) / 255


def ramp(values: Array, *stops: tuple[float, str]) -> Array:
    """A colour for every value, linear between stops."""
    at = [stop for stop, _ in stops]
    return np.stack([np.interp(values, at, [colour(c)[i] for _, c in stops]) for i in range(3)], -1).astype(np.float32)


def mix(below: Array, above: Any, amount: Array) -> Array:
    """`above` over `below` by `amount` (height, width), 0..1."""
    part = np.clip(amount, 0, 1)[..., None].astype(np.float32)
    return np.asarray(below * (1 - part) + np.asarray(above, np.float32) * part)


def smooth(low: float, high: float, values: Array) -> Array:
    """Smoothstep from 0 at low to 1 at high; falls where high < low."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def noise(
    shape: tuple[int, int], cells: tuple[float, float], seed: int, *, octaves: int = 6, ridged: bool = False
) -> Array:
    """Fractal value noise 0..1; `cells` is the number of coarsest cells down and across."""
    rng = np.random.default_rng(seed)
    total, weight, bound = np.zeros(shape, np.float32), 1.0, 0.0
    for octave in range(octaves):
        down, across = (max(2, round(cell * 2**octave) + 3) for cell in cells)
        if octave and (down > 2 * max(shape[0], 2**octave) or across > 2 * shape[1]):
            break
        layer = cv2.resize(rng.random((down, across), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
        total += weight * ((1 - np.abs(2 * layer - 1)) ** 2 if ridged else layer)
        bound, weight = bound + weight, weight * 0.5
    return np.asarray(np.clip(total / bound, 0, 1))


def blur(picture: Array, across: float, down: float | None = None) -> Array:
    """Gaussian blur, sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), across, sigmaY=down or across))


def grid(width: int, height: int) -> tuple[Array, Array]:
    """x and y of every pixel centre, 0..1."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (x + 0.5) / width, (y + 0.5) / height


def sample(field: Array, x: Array, z: Array) -> Array:
    """A field of world positions 0..1 by 0..1, mirrored beyond."""
    tall, wide = field.shape[:2]
    mapped = cv2.remap(
        field,
        (x * (wide - 1)).astype(np.float32),
        (z * (tall - 1)).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(mapped)


def land(
    field: Array, width: int, height: int, *, eye: float, horizon: float, reach: tuple[float, float], spread: float
) -> Array:
    """Distance to a height field seen in perspective, (height, width); infinite where there is sky.

    The field spans 1 by 1 in front of the eye, heights in the same unit. For each column the running highest point of
    the skyline over growing distance says which distance every row sees.
    """
    away = np.geomspace(*reach, 900).astype(np.float32)
    side = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    heights = sample(field, 0.5 + side[None, :] * spread * away[:, None], np.repeat(away[:, None], width, axis=1))
    rows = horizon * height + (eye - heights) / away[:, None] / spread * width
    skyline = np.minimum.accumulate(rows, axis=0)
    seen = np.full((height, width), np.inf, np.float32)
    steps = np.arange(len(away))
    for column in range(width):
        line = skyline[::-1, column] + np.arange(len(away))[::-1] * -1e-6
        at = np.interp(np.arange(height), line, steps[::-1], left=np.inf)
        inside = np.isfinite(at)
        seen[inside, column] = np.interp(at[inside], steps, away)
    return seen


def slopes(field: Array) -> tuple[Array, Array]:
    """Rise per unit across and away of a field that spans 1 by 1."""
    tall, wide = field.shape
    return np.gradient(field, axis=1) * wide, np.gradient(field, axis=0) * tall


def reduced(picture: Array) -> Array:
    """Half the size, every pixel the mean of four."""
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def lake() -> Array:
    """A mountain lake at dusk: snow in the last light, mist, pines, a reflection broken by ripples."""
    w, h, shore = 2560, 1440, 0.60
    field = noise((1400, 1400), (5, 5), 11, octaves=9, ridged=True)
    x, z = grid(1400, 1400)
    field = 0.26 * (field**1.3) * smooth(0.16, 0.75, z) * (0.62 + 0.55 * smooth(0.05, 0.4, np.abs(x - 0.5)))
    seen = land(field, w, h, eye=0.012, horizon=shore, reach=(0.1, 1.0), spread=1.05)
    px, py = grid(w, h)
    sky = ramp(py, (0, "#1c2748"), (0.2, "#44507c"), (0.38, "#9a7796"), (0.5, "#e59a7c"), (0.6, "#ffd093"))
    clouds = noise((h, w), (9, 2.2), 12, octaves=8)
    sky = mix(sky, ramp(py, (0, "#4c4a6e"), (0.3, "#d07f86"), (0.55, "#ffc48d")), smooth(0.5, 0.72, clouds) * 0.8)
    stars = np.random.default_rng(13).random((h // 2, w // 2), np.float32)
    stars = cv2.resize((stars > 0.9993).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    sky = mix(sky, [1, 0.97, 0.9], stars * smooth(0.3, 0.05, py) * smooth(0.6, 0.45, clouds) * 0.9)
    far = np.where(np.isfinite(seen), seen, 1.0).astype(np.float32)
    across = 0.5 + (px - 0.5) * 1.05 * far
    gx, gz = (sample(g.astype(np.float32), across, far) for g in slopes(field))
    up = sample(field, across, far)
    light = np.clip((0.85 * gx - 0.2 * gz + 0.3) / np.sqrt(1 + gx**2 + gz**2), 0, 1)
    steep = np.sqrt(gx**2 + gz**2)
    grain = sample(noise((1400, 1400), (60, 60), 14, octaves=6), across, far)
    snow = smooth(0.05, 0.085, up + 0.07 * (grain - 0.5)) * smooth(3.0, 1.5, steep + 2.4 * (grain - 0.5))
    rock = ramp(grain, (0.2, "#23222e"), (0.5, "#4a4450"), (0.8, "#6b5f62"))
    ground = mix(rock, colour("#18222a"), smooth(0.06, 0.02, up) * 0.8)
    ground = mix(ground, [0.80, 0.82, 0.92], snow)
    shade = ground * (np.array([0.50, 0.54, 0.80]) + light[..., None] * np.array([1.7, 0.86, 0.42]))
    mist = 0.8 * (1 - np.exp(-np.clip(far - 0.25, 0, 1) * 0.9))
    mist = np.clip(mist + 0.7 * smooth(0.05, 0.0, up) * smooth(0.2, 0.6, far), 0, 1)
    shade = mix(shade, ramp(py, (0.1, "#77759c"), (0.45, "#c98f92"), (0.6, "#f0b698")), mist * 0.85)
    picture = mix(sky, shade, np.isfinite(seen).astype(np.float32))
    edge = round(shore * h)
    depth = (np.arange(edge, h) - edge + 1)[:, None] / (h - edge)
    ripple = noise((h - edge, w), (60, 6), 15, octaves=6) - 0.5
    ripple = ripple * (0.006 + 0.09 * depth) + 0.3 * (noise((h - edge, w), (9, 2), 16) - 0.5) * 0.02
    rows = edge - (edge - 2) * np.clip(depth * 0.72 + ripple, 0.002, 0.99)
    mirror = sample(picture, px[edge:] + ripple * 0.06, rows / (h - 1) + 0 * px[edge:])
    water = mirror * np.array([0.70, 0.74, 0.84]) * (1 - 0.35 * depth[..., None])
    picture[edge:] = mix(water, colour("#f7c6a0"), np.clip(ripple * 9 - 0.12, 0, 0.35) * (1 - depth))
    return pines(reduced(picture), seed=17, ground=0.602)


def pines(picture: Array, *, seed: int, ground: float) -> Array:
    """Dark pines on both banks, a few tall ones near the frame's edges, with their reflection."""
    h, w = picture.shape[:2]
    rng = np.random.default_rng(seed)
    mask = np.zeros((h * 2, w * 2), np.float32)
    trees = [
        (x, rng.uniform(0.015, 0.05), ground) for x in rng.uniform(0, 1, 260) if abs(x - 0.52) > rng.uniform(0.16, 0.4)
    ]
    trees += [(x, size, 1.04) for x, size in ((0.015, 0.74), (0.07, 0.5), (0.985, 0.66), (0.93, 0.4))]
    for x, size, foot in trees:
        tall, base = size * h * 2, foot * h * 2
        half = max(1.0, tall * 0.008)
        trunk = [(x * w * 2 - half, base), (x * w * 2, base - tall * 1.01), (x * w * 2 + half, base)]
        cv2.fillPoly(mask, [np.array(trunk, np.int32)], 1.0, cv2.LINE_AA)
        for level in np.linspace(0.04, 0.92, max(8, int(tall / 9))):
            reach, y = tall * 0.19 * level**0.9 * rng.uniform(0.65, 1.15), base - tall * (1 - level)
            for way in (-1, 1):
                tip = (x * w * 2 + way * reach * rng.uniform(0.75, 1.1), y + reach * rng.uniform(0.28, 0.5))
                fan = np.array([(x * w * 2, y - reach * 0.3), tip, (x * w * 2, y + reach * 0.25)], np.int32)
                cv2.fillPoly(mask, [fan], 1.0, cv2.LINE_AA)
    small = reduced(mask)
    line = round(ground * h)
    echo = np.zeros_like(small)
    far = small[:line][::-1][: h - line]
    echo[line : line + len(far)] = blur(far, 1.2, 3.0)
    picture = mix(picture, colour("#131a26"), echo * 0.6)
    tone = ramp(np.linspace(0, 1, h)[:, None] + np.zeros((1, w)), (0.5, "#151d2a"), (0.62, "#1a2230"), (1, "#07090f"))
    return mix(picture, tone, small)


def city() -> Array:
    """A city at night after rain: hundreds of lit windows, haze, signs, and all of it again in the wet street."""
    w, h, street = 2560, 1440, 1010
    rng = np.random.default_rng(21)
    px, py = grid(w, h)
    picture = ramp(py, (0, "#070b1d"), (0.35, "#16203f"), (0.6, "#4a3a5c"), (0.72, "#a8685a"))
    picture = mix(picture, colour("#5b4a6e"), smooth(0.45, 0.8, noise((h, w), (3, 5), 22)) * smooth(0.7, 0.2, py) * 0.7)
    moon = np.hypot((px - 0.73) * w, (py - 0.13) * h)
    picture += np.exp(-moon / 160)[..., None] * np.array([0.28, 0.26, 0.24])
    face = np.array([1, 0.96, 0.86]) * (0.45 + 0.5 * noise((h, w), (40, 70), 23)[..., None])
    picture = mix(picture, face, smooth(60, 57, moon) * 0.92)
    for layer, (count, low, high, wide) in enumerate(
        ((34, 0.24, 0.52, (60, 150)), (26, 0.20, 0.58, (90, 210)), (15, 0.12, 0.44, (150, 290)))
    ):
        picture = mix(picture, ramp(py, (0.3, "#26305a"), (0.7, "#9a6a70")), 0.30 * smooth(0.15, 0.7, py))
        for left in np.sort(rng.uniform(-0.05, 1.0, count)) * w:
            middle = abs(left / w - 0.5) * 2
            tall = rng.uniform(low, high) * (0.7 + 0.5 * middle if layer == 2 else 1.15 - 0.45 * middle) * h
            tower(picture, rng, round(left), round(rng.uniform(*wide)), round(street - tall), street, layer)
    for _ in range(16):
        x, y, hue = (
            rng.uniform(0.02, 0.96),
            rng.uniform(0.52, 0.66),
            rng.choice(["#ff3d7f", "#32e0ff", "#ffb13d", "#8dff6a"]),
        )
        wide, tall = rng.integers(14, 30), rng.integers(60, 150)
        sign = np.zeros((h, w), np.float32)
        cv2.rectangle(sign, (int(x * w), int(y * h)), (int(x * w) + int(wide), int(y * h) + int(tall)), 1.0, 5)
        for line in range(10, int(tall) - 8, 16):
            cv2.line(sign, (int(x * w) + 7, int(y * h) + line), (int(x * w) + int(wide) - 7, int(y * h) + line), 1.0, 4)
        lit = (sign + 0.8 * blur(sign, 18))[..., None] * colour(str(hue))
        picture = np.where(sign[..., None] > 0, lit, np.maximum(picture, lit + picture * 0.4))
    glow = blur(np.clip(picture - 0.45, 0, 1), 14)
    picture = np.clip(picture + glow * 0.9 + blur(glow, 40) * 0.8, 0, 1.4).astype(np.float32)
    depth = ((np.arange(street, h) - street + 1) / (h - street))[:, None].astype(np.float32)
    wet = noise((h - street, w), (5, 9), 24, octaves=7)
    grit = noise((h - street, w), (160, 260), 25, octaves=3) - 0.5
    rough = noise((h - street, w), (42, 12), 26, octaves=4) - 0.5
    rows = street - (street * 0.92) * depth + rough * 150 * depth + grit * 70 * depth
    mirror = sample(blur(picture, 2.0, 16.0), px[street:] + rough * 0.012 * depth + grit * 0.006, rows / (h - 1))
    puddle = 0.45 + 0.55 * smooth(0.42, 0.6, wet)
    asphalt = colour("#0c0e16") * (0.8 + 1.6 * (grit + 0.5)[..., None])
    picture[street:] = asphalt + mirror * np.array([1.25, 1.2, 1.3]) * puddle[..., None]
    streak = blur(smooth(0.74, 0.95, noise((h, w), (170, 900), 27, octaves=1)).astype(np.float32), 0.8, 16)
    picture += (streak * 0.35)[..., None] * np.array([0.6, 0.7, 0.9]) * (0.25 + blur(picture, 30))
    return reduced(picture)


def tower(picture: Array, rng: np.random.Generator, left: int, wide: int, top: int, foot: int, layer: int) -> None:
    """One building, painted in place: an unlit body, rows of windows, perhaps a mast with its lamp."""
    right, left = min(left + wide, picture.shape[1]), max(left, 0)
    if right - left < 20:
        return
    body = colour(["#232c52", "#171c3a", "#0b0e20"][layer]) * rng.uniform(0.8, 1.25)
    up = np.linspace(0.75, 1.35, foot - top)[:, None, None]
    picture[top:foot, left:right] = body * up * np.linspace(1.2, 0.75, right - left)[None, :, None]
    cell_x, cell_y, pad = ((9, 12, 3), (13, 17, 4), (20, 27, 6))[layer]
    warm, busy = rng.uniform(0, 1), rng.uniform(0.2, 0.62)
    for y in range(top + cell_y, foot - cell_y, cell_y):
        floor = busy * rng.choice([0.3, 1.0, 1.0, 1.5])
        for x in range(left + pad, right - cell_x, cell_x):
            if rng.random() < floor:
                hue = ramp(
                    np.array(np.clip(warm + rng.normal(0, 0.25), 0, 1)),
                    (0, "#ffb45e"),
                    (0.6, "#ffe2ac"),
                    (1, "#bfe0ff"),
                )
                lamp = hue * rng.uniform(0.35, 1.1) * (0.62, 0.85, 1.0)[layer]
                picture[y : y + cell_y - pad, x : x + cell_x - pad] = lamp
                picture[y + (cell_y - pad) // 2 : y + cell_y - pad, x : x + cell_x - pad] *= rng.uniform(0.55, 1)
            else:
                picture[y : y + cell_y - pad, x : x + cell_x - pad] *= 0.72
    if rng.random() < 0.35:
        x, tall = (left + right) // 2, int(rng.integers(40, 130))
        picture[max(0, top - tall) : top, x - 2 : x + 2] = body
        picture[max(0, top - tall) : max(0, top - tall) + 6, x - 3 : x + 3] = [1.3, 0.15, 0.1]


def forest() -> Array:
    """Beech trunks in morning fog: nine rows of them, bark in front, ferns below, light falling through."""
    w, h = 1920, 1080
    rng = np.random.default_rng(31)
    px, py = grid(w, h)
    sun = np.hypot((px - 0.62) * 1.7, py - 0.22)
    picture = mix(ramp(py, (0, "#dfe6c4"), (0.6, "#c4d2b4"), (1, "#7f9878")), [1.0, 0.97, 0.82], np.exp(-sun * 2.2))
    fog = picture.copy()
    for layer in range(9):
        near = (layer + 1) / 9
        leaves = noise((h, w), (16 + 14 * (1 - near), 28 + 24 * (1 - near)), 40 + layer, octaves=6)
        crown = smooth(0.49, 0.54, leaves) * smooth(0.10 + 0.42 * near, -0.02, py - 0.07 * (leaves - 0.5))
        tone = mix(
            fog, ramp(leaves, (0.4, "#1c2a12"), (0.7, "#5f7d2a"), (0.85, "#b3bf50")), np.full((h, w), 0.18 + 0.7 * near)
        )
        picture = mix(picture, tone, crown * 0.9)
        twigs, wood = np.zeros((h, w), np.uint8), np.zeros((h, w), np.float32)
        for x in rng.uniform(-0.02, 1.02, round(34 - 30 * near**0.7)):
            trunk(picture, fog, twigs, wood, rng=rng, x=x, near=near)
        picture = mix(
            picture, mix(fog, colour("#231e17"), np.full((h, w), 0.16 + 0.82 * near)), twigs / 255 * (1 - wood)
        )
        ground = 0.60 + 0.34 * near
        edge = (
            noise((1, w), (1, 7), 60 + layer, octaves=6)[0] * 0.10
            + noise((1, w), (1, 160), 70 + layer, octaves=2)[0] * 0.05 * near
        )
        ferns = noise((h, w), (70 / near, 150 / near), 80 + layer, octaves=5) * 0.75 + 0.25 * noise(
            (h, w), (6, 9), 85 + layer
        )
        green = ramp(ferns, (0.25, "#10190c"), (0.5, "#2f441b"), (0.66, "#6f8a35"), (0.8, "#c2c76a"))
        tone = mix(fog, green, np.full((h, w), 0.25 + 0.72 * near))
        picture = mix(picture, tone, smooth(-0.004, 0.012, py - ground + edge[None, :]))
        drift = noise((h, w), (3, 3), 90 + layer, octaves=4)
        picture = mix(
            picture, fog, 0.30 * (1 - near) + 0.36 * smooth(0.4, 0.75, drift) * (1 - near * 0.8) * smooth(0.3, 0.7, py)
        )
    angle = np.arctan2(px - 0.62, py + 0.25)
    beams = np.interp(angle, np.linspace(-1.5, 1.5, 400), noise((1, 400), (1, 36), 95, octaves=3)[0])
    picture += (smooth(0.5, 0.85, beams) * np.exp(-sun * 1.6) * 0.42)[..., None] * np.array([1.0, 0.93, 0.66])
    picture += (np.exp(-sun * 7) * 0.5)[..., None]
    small = cv2.resize(picture, (1280, 720), interpolation=cv2.INTER_AREA)
    return np.asarray(small * (1 - 0.35 * np.hypot(*(np.array(grid(1280, 720)) - 0.5))[..., None] ** 1.5))


def trunk(
    picture: Array, fog: Array, twigs: Array, wood: Array, *, rng: np.random.Generator, x: float, near: float
) -> None:
    """One trunk, painted in place: leaning, flared, barked; its branches go into `twigs`, its cover into `wood`."""
    h, w = picture.shape[:2]
    half = (3 + 46 * near**2.2) * rng.uniform(0.7, 1.3)
    foot = (0.62 + 0.36 * near) * h
    lean, bend = rng.normal(0, 0.03), rng.normal(0, 14 * near)
    y = np.arange(h, dtype=np.float32)
    middle = x * w + lean * (foot - y) + bend * np.sin(y / h * 3)
    width = half * (0.72 + 0.28 * y / foot) * (1 + 0.6 * np.exp((y - foot) / (0.05 * h)))
    lo, hi = (int(np.clip(edge, 0, w)) for edge in (middle.min() - width.max() - 2, middle.max() + width.max() + 2))
    if hi - lo < 2:
        return
    across = (np.arange(lo, hi)[None, :] + 0.5 - middle[:, None]) / width[:, None]
    bark = noise(
        (h, hi - lo), (h / 70 / near, max(1.0, (hi - lo) / (3 + 5 * near))), 900 + int(abs(x) * 1e4), octaves=4
    )
    light = np.clip(0.42 + 0.5 * across, 0.1, 1) * (0.45 + 1.1 * bark)
    tone = ramp(light, (0, "#0d0c0a"), (0.35, "#2c261e"), (0.7, "#6d5f48"), (1.0, "#cdbb8e"))
    tone = mix(tone, colour("#4e6a2a"), smooth(0.5, 0.75, bark) * smooth(-0.2, -0.9, across) * 0.6)
    tone = mix(fog[:, lo:hi], tone, np.full(across.shape, 0.16 + 0.82 * near**1.1))
    cover = np.clip((1 - np.abs(across)) * width[:, None], 0, 1) * smooth(foot + 6, foot - 2, y)[:, None]
    picture[:, lo:hi] = mix(picture[:, lo:hi], tone, cover)
    wood[:, lo:hi] = np.maximum(wood[:, lo:hi], cover)
    for _ in range(int(rng.integers(2, 6))):
        at = int(rng.uniform(0.02, 0.5) * h)
        way, reach = rng.choice([-1, 1]), half * rng.uniform(5, 11)
        points = np.array(
            [(t * reach * way, -t * reach * 0.5 + rng.normal(0, half * 0.5) * t) for t in np.linspace(0, 1, 7)]
        )
        for a, b, thick in zip(points, points[1:], np.linspace(half * 0.55, 1, 6), strict=False):
            ends = [(int(middle[at] + p[0]), int(at + p[1])) for p in (a, b)]
            cv2.line(twigs, ends[0], ends[1], 255, max(1, int(thick)), cv2.LINE_AA)


def dunes() -> Array:
    """Desert at sunrise: dunes with sharp crests, wind ripples, long shadows, a caravan. Deep colour, no banding."""
    w, h, horizon = 1536, 864, 0.40
    size = 1500
    x, z = grid(size, size)
    warp = noise((size, size), (3, 3), 51, octaves=4)
    phase = 5.2 * z + 1.9 * x + 2.6 * warp
    saw = phase - np.floor(phase)
    crest = np.where(saw < 0.72, smooth(0, 1, saw / 0.72), (1 - saw) / 0.28)
    field = 0.075 * blur(crest.astype(np.float32), 1.5) * (0.35 + 1.1 * noise((size, size), (4, 3), 52, octaves=3))
    field = (
        field * smooth(0.02, 0.28, z) + 0.05 * smooth(0.45, 1.0, z) * noise((size, size), (3, 5), 53, octaves=4)
    ).astype(np.float32)
    seen = land(field, w, h, eye=0.062, horizon=horizon, reach=(0.05, 1.0), spread=1.1)
    px, py = grid(w, h)
    sun = np.hypot((px - 0.69) * w / h, py - 0.285)
    sky = ramp(py, (0, "#2f5f9e"), (0.16, "#7fa3c0"), (0.30, "#f0cf9f"), (0.42, "#ffb469"))
    streaks = noise((h, w), (10, 1.6), 54, octaves=6)
    sky = mix(
        sky, ramp(py, (0, "#dfe3ea"), (0.3, "#ffe9c4")), smooth(0.52, 0.78, streaks) * smooth(0.36, 0.1, py) * 0.6
    )
    sky = mix(
        sky + np.exp(-sun * 5)[..., None] * np.array([0.42, 0.30, 0.12]), [1.0, 0.985, 0.90], smooth(0.052, 0.048, sun)
    )
    far = np.where(np.isfinite(seen), seen, 1.0).astype(np.float32)
    across = 0.5 + (px - 0.5) * 1.1 * far
    gx, gz = (sample(blur(g.astype(np.float32), 1.2), across, far) for g in slopes(field))
    winding = sample(noise((size, size), (9, 9), 55, octaves=4), across, far)
    wave = np.sin(np.pi * 2 * (far * 150 + across * 55 + winding * 9))
    grain = np.random.default_rng(56).random((h, w), np.float32) - 0.5
    gz = gz + wave * 0.16 * smooth(0.5, 0.06, far) * smooth(1.3, 0.5, np.abs(gz))
    facing = (gx * -0.62 + gz * -0.55 + 0.30) / np.sqrt(1 + gx**2 + gz**2)
    light = smooth(-0.32, 0.75, facing) + grain * 0.05 * smooth(0.5, 0.05, far)
    sand = ramp(light, (0, "#3f2331"), (0.25, "#7d4438"), (0.5, "#c47a45"), (0.75, "#efb06a"), (1.0, "#ffe0a6"))
    sand = mix(sand, ramp(px, (0, "#d8a98a"), (0.7, "#ffc582")), (1 - np.exp(-np.clip(far - 0.15, 0, 1) * 1.7)) * 0.85)
    picture = mix(sky, sand, np.isfinite(seen).astype(np.float32))
    return reduced(picture)


def lighthouse() -> Array:
    """A lighthouse on a cliff before a storm: rows of waves with foam, a beam through cloud, gulls."""
    w, h, horizon = 2560, 1440, 0.52
    px, py = grid(w, h)
    clouds = noise((h, w), (4, 4), 61, octaves=9)
    sky = ramp(py, (0, "#22303f"), (0.25, "#4a5a68"), (0.42, "#b98f74"), (0.52, "#ffd596"))
    relief = smooth(-0.05, 0.05, clouds - sample(blur(clouds, 9), px - 10 / w, py + 14 / h))
    heavy = ramp(
        clouds * 0.55 + relief * 0.45, (0.2, "#171f2b"), (0.5, "#46505e"), (0.75, "#8f8a88"), (0.95, "#ffd9b0")
    )
    picture = mix(sky, heavy, smooth(0.40, 0.58, clouds + 0.25 * (0.35 - py)) * smooth(0.53, 0.3, py))
    lamp = (0.745 * w, 0.235 * h)
    angle = np.arctan2(py * h - lamp[1], px * w - lamp[0])
    away = np.hypot(py * h - lamp[1], px * w - lamp[0]) / w
    for heading, gain in ((np.pi * 0.985, 1.0), (np.pi * 0.07, 0.7)):
        turn = np.abs(np.angle(np.exp(1j * (angle - heading))))
        beam = smooth(0.075, 0.0, turn) * np.exp(-away * 2.2) * (0.55 + 0.9 * clouds) * gain
        picture += (beam * 0.75)[..., None] * np.array([1.0, 0.93, 0.72])
    sea(picture, round(horizon * h))
    cliff(picture, lamp)
    picture += (np.exp(-away * 60) * 1.3)[..., None] * np.array([1.0, 0.92, 0.7])
    rng = np.random.default_rng(66)
    for _ in range(13):
        x, y, wing = rng.uniform(0.12, 0.66) * w, rng.uniform(0.14, 0.42) * h, rng.uniform(9, 26)
        for way in (-1, 1):
            bow = np.array([(x + way * t * wing, y - np.sin(t * 2.6) * wing * 0.38) for t in np.linspace(0, 1, 9)])
            cv2.polylines(picture, [np.rint(bow).astype(np.int32)], False, (0.10, 0.11, 0.14), 3, cv2.LINE_AA)
    return reduced(picture)


def sea(picture: Array, edge: int) -> None:
    """Waves in perspective below row `edge`, painted in place: crests over troughs, foam, sky light on the slopes."""
    h, w = picture.shape[:2]
    px = grid(w, h)[0][edge:]
    near = (np.arange(h - edge)[:, None] + 2) / (h - edge)
    depth = 1 / near
    swell = np.zeros((h - edge, w), np.float32)
    size = 1024
    for index, (cells, weight) in enumerate((((4, 2), 1.0), ((11, 6), 0.55), ((30, 18), 0.32), ((80, 60), 0.2))):
        field = noise((size, size), cells, 62 + index, octaves=3, ridged=True)
        u = 0.5 + (px - 0.5) * depth * 0.34 + index * 0.13
        v = depth * 0.34 + u * 0.12 * (index - 1.5)
        fade = np.clip(near * 14 / (1 + 2.2 * index), 0, 1)
        swell += weight * (sample(field, np.abs(u) % 1.0, np.abs(v) % 1.0) - 0.33) * fade
    slope = np.gradient(blur(swell, 1.0), axis=0) * 26 * near**0.5
    tone = ramp(
        0.36 + 0.36 * swell - 0.5 * slope,
        (0.0, "#07161d"),
        (0.35, "#123642"),
        (0.6, "#2c6670"),
        (0.85, "#7fb0ac"),
        (1.1, "#e6efe2"),
    )
    glint = smooth(0.1, 0.8, swell - slope) * np.exp(-((px - 0.36) ** 2) / (0.01 + 0.05 * near))
    tone = tone + (glint * (1 - 0.6 * near))[..., None] * np.array([1.0, 0.74, 0.45]) * 0.9
    flecks = noise((h - edge, w), (150, 260), 69, octaves=3)
    foam = smooth(0.62, 1.05, swell + 0.9 * (flecks - 0.5)) * (0.35 + 0.65 * near)
    tone = mix(tone, [0.93, 0.95, 0.93], foam * 0.85)
    picture[edge:] = mix(tone, picture[edge - 4], np.repeat(np.exp(-near * 26) * 0.8, w, axis=1))


def cliff(picture: Array, lamp: tuple[float, float]) -> None:
    """The headland with its tower and keeper's house, painted in place."""
    h, w = picture.shape[:2]
    px, py = grid(w, h)
    line = np.interp(
        px[0], [0, 0.52, 0.57, 0.62, 0.68, 0.80, 0.90, 1.0], [1.2, 0.90, 0.74, 0.625, 0.565, 0.55, 0.575, 0.53]
    )
    top = line + (noise((1, w), (1, 22), 71, octaves=6)[0] - 0.5) * 0.05
    bend_x, bend_y = (noise((h, w), (6, 8), seed, octaves=5) - 0.5 for seed in (72, 73))
    rock = sample(noise((h, w), (9, 13), 77, octaves=9, ridged=True), px + bend_x * 0.14, py + bend_y * 0.2)
    strata = 0.5 + 0.5 * np.sin((py * 1.0 + px * 0.35 + bend_y * 0.22) * 150)
    relief = blur(rock, 1.5) - sample(blur(rock, 1.5), px - 7 / w, py - 6 / h)
    tone = ramp(
        0.30 + rock * 0.30 + 0.05 * strata - 2.6 * relief - 0.25 * (px - 0.6),
        (0.1, "#0b0d13"),
        (0.4, "#2a2729"),
        (0.6, "#5c4d47"),
        (0.8, "#a1805f"),
        (1.0, "#e9c091"),
    )
    below = py - top[None, :]
    grass = noise((h, w), (90, 260), 74, octaves=4)
    tone = mix(
        tone,
        ramp(grass, (0.25, "#1d2a16"), (0.55, "#4f5e2a"), (0.8, "#a7a152")),
        smooth(0.05, 0.012, below + 0.05 * (rock - 0.5)) * smooth(0.86, 0.72, py),
    )
    spray = noise((h, w), (26, 44), 75, octaves=7)
    surf = smooth(0.045, 0.0, np.abs(below + 0.012) + 0.07 * (0.62 - spray)) * smooth(0.74, 0.86, py)
    picture[:] = mix(picture, tone, smooth(0.0, 0.0016, below))
    picture[:] = mix(picture, [0.92, 0.94, 0.93], surf * (0.4 + 0.6 * spray))
    x, y, foot = lamp[0], lamp[1], 0.565 * h
    rows = np.arange(h)[:, None]
    half = np.interp(rows, [y + 40, foot], [38, 62])
    across = (np.arange(w)[None, :] + 0.5 - x) / half
    bands = np.where(np.floor((rows - y) / 74) % 2 == 0, 1.0, 0.0)
    wear = 0.85 + 0.3 * noise((h, w), (160, 200), 76, octaves=4)
    paint = (
        mix(np.broadcast_to(colour("#b5382e"), (h, w, 3)), colour("#efe6d8"), np.repeat(bands, w, axis=1))
        * wear[..., None]
    )
    paint = paint * np.clip(0.62 - 0.42 * across, 0.16, 1.05)[..., None]
    picture[:] = mix(picture, paint, np.clip((1 - np.abs(across)) * half, 0, 1) * ((rows > y + 36) & (rows < foot)))
    dark, pale = (0.07, 0.07, 0.09), (1.0, 0.95, 0.78)
    for box, tint in (
        ((-58, 30, 58, 42), dark),
        ((-30, -26, 30, 30), pale),
        ((-34, -34, 34, -26), dark),
        ((-12, 130, 12, 164), dark),
        ((-12, 272, 12, 306), dark),
        ((-15, 420, 15, 470), dark),
    ):
        cv2.rectangle(picture, (int(x + box[0]), int(y + box[1])), (int(x + box[2]), int(y + box[3])), tint, -1)
    for bar in range(-30, 31, 15):
        cv2.line(picture, (int(x + bar), int(y - 26)), (int(x + bar), int(y + 30)), dark, 3)
    for rail in range(-58, 59, 12):
        cv2.line(picture, (int(x + rail), int(y + 12)), (int(x + rail), int(y + 32)), dark, 2)
    cv2.line(picture, (int(x - 58), int(y + 12)), (int(x + 58), int(y + 12)), dark, 3)
    dome = np.array([(x - 36, y - 32), (x, y - 76), (x + 36, y - 32)], np.int32)
    cv2.fillPoly(picture, [dome], (0.30, 0.09, 0.08), cv2.LINE_AA)
    left, floor = int(x + 110), int(0.573 * h)
    cv2.rectangle(picture, (left, floor - 62), (left + 170, floor + 6), (0.62, 0.56, 0.50), -1)
    roof = np.array(
        [(left - 14, floor - 60), (left + 30, floor - 112), (left + 142, floor - 112), (left + 184, floor - 60)],
        np.int32,
    )
    cv2.fillPoly(picture, [roof], (0.26, 0.11, 0.09), cv2.LINE_AA)
    for window in (22, 74, 126):
        cv2.rectangle(picture, (left + window, floor - 44), (left + window + 22, floor - 16), (1.0, 0.78, 0.40), -1)


def lanterns() -> Array:
    """Paper lanterns over a river at night, upright: the near ones large, all of them mirrored in the water."""
    w, h, shore = 1080, 1920, 0.735
    px, py = grid(w, h)
    rng = np.random.default_rng(81)
    picture = ramp(py, (0, "#0a1030"), (0.35, "#1d2354"), (0.6, "#553a68"), (0.735, "#c46a58"))
    veil = noise((h, w), (7, 3), 82, octaves=8)
    picture = mix(picture, colour("#6a4a7c"), smooth(0.46, 0.8, veil) * 0.55)
    stars = (rng.random((h, w)) > 0.9992).astype(np.float32) * smooth(0.55, 0.1, py)
    picture += np.clip(blur(stars, 0.9) * 5, 0, 1)[..., None]
    for index, (base, rough, tint) in enumerate(
        ((0.60, 0.16, "#4a3560"), (0.655, 0.12, "#2c2347"), (0.70, 0.07, "#14132a"))
    ):
        crest = base + rough * (noise((1, w), (1, 3 + index), 83 + index, octaves=8)[0] - 0.5)
        picture = mix(picture, colour(tint), smooth(0, 0.002, py - crest[None, :]))
    lights = rng.random((h, w)) > 0.9975
    picture += (blur((lights & (py > 0.70) & (py < 0.733)).astype(np.float32), 1.6) * 9)[..., None] * np.array(
        [1.0, 0.7, 0.3]
    )
    sizes = np.sort(6 + 100 * rng.random(170) ** 4.5)
    for size in sizes:
        lantern(picture, rng, float(rng.uniform(0.0, 1.0) * w), float(rng.uniform(0.02, 0.64) ** 1.1 * h), float(size))
    picture = picture + blur(np.clip(picture - 0.55, 0, 1), 26) * 0.8
    edge = round(shore * h)
    depth = ((np.arange(edge, h) - edge + 1) / (h - edge))[:, None]
    ripple = noise((h - edge, w), (52, 7), 88, octaves=5) - 0.5
    rows = edge - depth * (edge * 0.62) + ripple * 130 * (0.06 + depth)
    mirror = sample(blur(picture.astype(np.float32), 1.2, 5), px[edge:] + ripple * 0.03, rows / (h - 1))
    picture[edge:] = mirror * np.array([0.62, 0.58, 0.70]) + np.clip(ripple * 3 - 0.5, 0, 0.25)[..., None] * np.array(
        [0.9, 0.5, 0.3]
    )
    return reduced(picture.astype(np.float32))


def lantern(picture: Array, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """One sky lantern, painted in place: ribbed paper lit from below, an open mouth with its flame, a halo."""
    h, w = picture.shape[:2]
    reach = int(size * 3)
    top, foot, left, right = (
        max(0, int(y) - reach),
        min(h, int(y) + reach),
        max(0, int(x) - reach),
        min(w, int(x) + reach),
    )
    if foot - top < 4 or right - left < 4:
        return
    rows, columns = np.mgrid[top:foot, left:right].astype(np.float32)
    tilt = rng.normal(0, 0.07)
    u, v = (columns - x - tilt * (rows - y)) / size, (rows - y) / size
    half = np.interp(v, [-1.25, -1.15, -0.9, -0.3, 0.6, 1.1], [0.0, 0.42, 0.68, 0.80, 0.70, 0.50]).astype(np.float32)
    inside = np.clip((half - np.abs(u)) * size, 0, 1) * np.clip((1.1 - v) * size, 0, 1)
    ribs = 0.90 + 0.10 * np.cos(u / np.maximum(half, 0.05) * 3.2 * np.pi) + 0.05 * np.sin(v * 21)
    crinkle = 0.86 + 0.28 * noise(u.shape, (7, 7), int(rng.integers(1 << 30)), octaves=5)
    glow = (
        (0.42 + 0.58 * smooth(-1.3, 1.0, v))
        * np.sqrt(np.clip(1 - (u / np.maximum(half, 0.05)) ** 2 * 0.55, 0, 1))
        * ribs
        * crinkle
    )
    hue = rng.choice(["warm", "warm", "warm", "red"])
    stops = (
        ((0.1, "#4a0f10"), (0.5, "#c8401a"), (0.8, "#ff9436"), (1.05, "#fff0b4"))
        if hue == "warm"
        else ((0.1, "#3a0614"), (0.5, "#b01a2c"), (0.8, "#f2553a"), (1.05, "#ffd890"))
    )
    dim = 0.55 + 0.45 * min(1.0, size / 30)
    area = picture[top:foot, left:right]
    area += (np.exp(-np.hypot(u, v) * 1.9) * 0.30 * dim)[..., None] * np.array([1.0, 0.50, 0.20])
    area[:] = mix(area, ramp(glow, *stops) * dim, inside)
    mouth = smooth(0.12, 0.0, np.hypot(u / 0.50, (v - 1.08) / 0.16) - 0.9)
    area[:] = mix(area, [0.30, 0.09, 0.05], mouth * (size > 12))
    area[:] = mix(area, [1.0, 0.95, 0.72], smooth(1.0, 0.3, np.hypot(u / 0.24, (v - 1.0) / 0.22)))


def save(name: str, picture: Array) -> None:
    """Write the plate: `.png` at 16 bits of which 12 carry detail, `.jpg` at a quality that fits LARGEST."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    bgr = np.clip(picture, 0, 1)[:, :, ::-1]
    if path.suffix == ".png":
        cv2.imwrite(str(path), (np.rint(bgr * 4095) * 16).astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    else:
        for quality in range(95, 60, -3):
            cv2.imwrite(str(path), np.rint(bgr * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
            if path.stat().st_size < LARGEST * 0.6:
                break
    if cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape != picture.shape:
        raise SystemExit(f"{path} did not come out as three channels without alpha")
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}; paint it smoother or smaller")
    print(f"{path.name}: {picture.shape[1]}x{picture.shape[0]}, {path.stat().st_size / 1000:.0f} kB")


PLATES: Final = {
    "lake.jpg": lake,
    "city.jpg": city,
    "forest.jpg": forest,
    "dunes.png": dunes,
    "lighthouse.jpg": lighthouse,
    "lanterns.jpg": lanterns,
}

if __name__ == "__main__":
    wanted = sys.argv[1:]
    for name, paint in PLATES.items():
        if not wanted or name.split(".")[0] in wanted:
            save(name, paint())
