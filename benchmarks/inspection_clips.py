"""The corpus of benchmarks/inspection.py: clips without a fault, of many kinds, and faults to plant in them.

Knows: what each clip shows, what each fault does to frames and where. Does not know: inspection, files. Memory: one
clip. Clean clips are what a pipeline like this one delivers: moves over stills, grain, fades, pans, nights, titles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from moving_pictures import PLATES, ROOT, Size, View, exposed, grained, lit, look, mixed, plate, resized

from models.animatic import Animatic
from models.interface import ClipRequest, Frame

SIZE: Final[Size] = (480, 270)
RATE: Final = Fraction(24)
FRAMES: Final = 40

Frames = list[Frame]
Light = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Clean:
    """A clip that nobody would complain of."""

    name: str
    """What it is a case of."""
    frames: Callable[[], Frames]
    """Renders it."""
    plate: str = ""
    """Plate that it was made from, by file name; empty if it has none to be held against."""
    known: dict[str, Any] = field(default_factory=dict)
    """What its plan would say (tasks.known.Known)."""
    rate: Fraction = RATE
    """Frames per second."""
    kinds: tuple[str, ...] = ()
    """What it is encoded as, each a trial of its own; empty for one that follows from its place in the list."""


def moved(name: str, camera: str, *, frames: int = FRAMES) -> Frames:
    """The animatic's move over a plate."""
    request = ClipRequest(
        plate=ROOT / "examples" / "plates" / name,
        width=SIZE[0],
        height=SIZE[1],
        first_frame=0,
        frames=frames,
        shot_frames=frames,
        native_rate=RATE,
        seed=1,
        shot_seed=1,
        camera=camera,
    )
    return list(Animatic().generate(request, ()))


def seen(name: str, path: Callable[[float], View], *, parts: int = 1, frames: int = FRAMES) -> Frames:
    """A camera's path over a plate, from 0 to 1, with a shutter of 180 degrees where `parts` > 1."""
    still, shutter = plate(name, 960, 540), 0.5 / frames
    return [
        exposed(lambda way: look(still, path(way), SIZE), at / frames, shutter=shutter, parts=parts)
        for at in range(frames)
    ]


@cache
def _drifting(name: str) -> tuple[Frame, ...]:
    return tuple(seen(name, lambda way: View(0.46 + 0.1 * way, 0.5, 1.3)))


def drifting(name: str) -> Frames:
    """A slow pan."""
    return [frame.copy() for frame in _drifting(name)]


def lighted(name: str, light: Light) -> Frames:
    """A slow pan in a light of (gain, lift) over the way from 0 to 1."""
    return [lit(frame, *light(at / FRAMES)) for at, frame in enumerate(drifting(name))]


def clean() -> Iterator[Clean]:
    """All clean clips."""
    cameras = ("push in", "pull out", "pan left", "pan right", "tilt up", "tilt down", "roll", "handheld")
    for index, camera in enumerate(cameras):
        for name in (PLATES[index % 6], PLATES[(index + 3) % 6]):
            yield Clean(f"animatic, {camera}", lambda n=name, c=camera: moved(n, c), name)  # type: ignore[misc]
    yield Clean("animatic, still", lambda: moved("city.jpg", "still"), "city.jpg", {"still": True})
    yield Clean("animatic, slow push of four seconds", lambda: moved("dunes.png", "push in", frames=96), "dunes.png")
    for index, sigma in enumerate((0.01, 0.03, 0.06)):
        name = PLATES[index]
        yield Clean(f"grain of {sigma:.0%}", lambda n=name, s=sigma: noisy(drifting(n), s))  # type: ignore[misc]
    yield Clean("fade from black", lambda: lighted("lake.jpg", lambda way: (min(1.0, way / 0.4), 0.0)))
    yield Clean("fade to black", lambda: lighted("city.jpg", lambda way: (max(0.0, min(1.0, (0.9 - way) / 0.5)), 0.0)))
    yield Clean("fade to black, in light", lambda: lighted("forest.jpg", lambda way: ((1 - way) ** (1 / 2.4), 0.0)))
    yield Clean("fade to white", lambda: lighted("dunes.png", lambda way: (1 - way, way)))
    yield Clean("light dimmed slowly", lambda: lighted("lighthouse.jpg", lambda way: (1 - 0.5 * way, 0.0)))
    yield Clean("light switched on", lambda: lighted("forest.jpg", lambda way: (1.0 if way > 0.5 else 0.55, 0.0)))
    yield Clean("clouds pass the sun", lambda: lighted("lake.jpg", lambda way: (0.85 + 0.15 * math.cos(9 * way), 0.0)))
    yield Clean("a lamp pulses", lambda: lighted("lanterns.jpg", lambda way: (1 + 0.05 * math.sin(20 * way), 0.0)))
    yield Clean("fast pan", lambda: seen("city.jpg", lambda way: View(0.2 + 2.5 * way, 0.5, 1.3), parts=8))
    yield Clean("fast pan, sharp", lambda: seen("forest.jpg", lambda way: View(0.2 + 1.2 * way, 0.5, 1.3)))
    yield Clean("a pan that starts and stops", lambda: seen("dunes.png", lambda way: View(0.4 + 0.4 * eased(way))))
    yield Clean(
        "whip pan", lambda: seen("lake.jpg", lambda way: View(0.5 + 0.03 * way + 1.5 * eased(3 * way - 1)), parts=8)
    )
    yield Clean("zoom", lambda: seen("lighthouse.jpg", lambda way: View(zoom=1.1 * 2**way)))
    yield Clean("a camera shaken", lambda: shaken("city.jpg"))
    yield Clean(
        "a camera on a boat", lambda: seen("lake.jpg", lambda way: View(0.5, 0.5 + 0.03 * math.sin(12 * way), 1.3))
    )
    for name in ("lanterns.jpg", "city.jpg"):
        yield Clean("night", lambda n=name: [lit(frame, 0.25) for frame in drifting(n)])  # type: ignore[misc]
    yield Clean("night, grain", lambda: noisy([lit(frame, 0.12) for frame in drifting("lanterns.jpg")], 0.008))
    yield Clean("stars", stars)
    yield Clean("titles appear and go", lambda: titled(drifting("dunes.png")))
    yield Clean("credits roll", credits_roll)
    yield Clean("a caption stays", lambda: captioned(drifting("forest.jpg")))
    yield Clean("water", water)
    yield Clean("rain", lambda: rain(drifting("city.jpg")))
    yield Clean("fine texture", texture)
    yield Clean("a sky of 10 bits", sky)
    yield Clean("a sky with dither", lambda: noisy(sky(), 0.002))
    yield Clean("flat shapes move", shapes)
    yield Clean("a passer-by close to the lens", lambda: passing(drifting("forest.jpg")))
    yield Clean("a dissolve", dissolve, known={"arrives": True})
    yield Clean("a plate with bars", barred, known={"bars": True})
    yield Clean("a lightning within the sky", lambda: lightning(drifting("lake.jpg")))
    yield Clean("high key", lambda: [lit(frame, 0.5, 0.5) for frame in drifting("dunes.png")])
    yield Clean("black and white", lambda: [grey(frame) for frame in drifting("lighthouse.jpg")])
    yield Clean("strong colours", lambda: [saturated(frame, 1.8) for frame in drifting("lanterns.jpg")])


def eased(way: float) -> float:
    """From 0 to 1, starting and stopping gently."""
    way = min(1.0, max(0.0, way))
    return way * way * (3 - 2 * way)


def noisy(frames: Sequence[Frame], sigma: float) -> Frames:
    """Grain, new in every frame."""
    return [grained(frame, sigma, at) for at, frame in enumerate(frames)]


def shaken(name: str) -> Frames:
    """A camera carried at a run."""
    turns = np.random.default_rng(3).uniform(-1, 1, (6, 2))

    def path(way: float) -> View:
        waves = [np.sin(4 * np.pi * way * (1.3 + 0.9 * n) + 3 * n) * turns[n] for n in range(6)]
        x, y = 0.012 * sum(waves)
        return View(0.5 + float(x), 0.5 + float(y), 1.4, roll=0.1 * float(y))

    return seen(name, path, parts=4)


def stars() -> Frames:
    """A night sky that turns: single points of light on black, a hill below."""
    random = np.random.default_rng(5)
    sky = np.full((720, 1280, 3), 900.0, np.float32)
    for y, x, light in zip(
        random.integers(0, 720, 400), random.integers(0, 1280, 400), random.random(400), strict=True
    ):
        sky[y, x] += 60000 * light
    sky = cv2.GaussianBlur(sky, (0, 0), 1.1) * 4
    sky[560:] = plate("dunes.png")[560:] * 0.15
    still = np.clip(sky, 0, 65535).astype(np.uint16)
    return [look(still, View(0.5, 0.5, 1.2, roll=0.1 * at / FRAMES), SIZE) for at in range(FRAMES)]


def titled(frames: Frames) -> Frames:
    """A title in white letters for a third of the time."""
    for frame in frames[FRAMES // 3 : -FRAMES // 3]:
        lettered(frame, "THE NIGHT SHIFT", (60, 140), cv2.FONT_HERSHEY_DUPLEX, 1.2, 3)
    return frames


def lettered(frame: Frame, text: str, place: tuple[int, int], font: int, size: float, thick: int) -> None:
    """Write white letters onto a frame."""
    cover = np.zeros(frame.shape[:2], np.uint8)
    cv2.putText(cover, text, place, font, size, 255, thick, cv2.LINE_AA)
    share = cover[..., None] / np.float32(255)
    frame[:] = (frame * (1 - share) + 60000 * share).astype(np.uint16)


def captioned(frames: Frames) -> Frames:
    """A small caption that stays where it is."""
    for frame in frames:
        lettered(frame, "i. 21:04, live", (30, 250), cv2.FONT_HERSHEY_PLAIN, 1.1, 1)
    return frames


def credits_roll() -> Frames:
    """White letters go up over black."""
    tall = np.zeros((1400, SIZE[0], 3), np.uint8)
    for line in range(30):
        cv2.putText(tall, f"NAME OF PERSON {line}", (80, 40 + 44 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (235,) * 3, 2)
    wide = tall.astype(np.uint16) * 257
    return [np.ascontiguousarray(wide[at * 6 : at * 6 + SIZE[1]]) for at in range(FRAMES)]


@cache
def _waves() -> Any:
    """(24, 4): wave numbers across and down, speed, phase."""
    low, high = np.array([20, -60, 2, 0.0]), np.array([160, 60, 9, 6.3])
    return np.random.default_rng(9).uniform(low, high, (24, 4))


def water() -> Frames:
    """Waves that glitter, before a still shore."""
    shore = resized(plate("lake.jpg"), SIZE)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32) / SIZE[1]
    made = []
    for at in range(FRAMES):
        height = sum(np.sin(a * x + b * y + c * at / 6 + d) for a, b, c, d in _waves()) / 12
        glitter = (0.5 + 0.5 * height[..., None]) * np.array([0.5, 0.75, 0.9]) + np.maximum(0, height - 0.45)[..., None]
        frame = shore.copy()
        frame[SIZE[1] // 2 :] = (np.clip(glitter, 0, 1) * 52000).astype(np.uint16)[SIZE[1] // 2 :]
        made.append(frame)
    return made


def rain(frames: Frames) -> Frames:
    """Thin bright lines, others in every frame."""
    for at, frame in enumerate(frames):
        random = np.random.default_rng(at)
        for x, y in zip(random.integers(0, SIZE[0], 60), random.integers(0, SIZE[1], 60), strict=True):
            part = frame[y : y + 14, x : x + 1]
            part[:] = np.clip(part.astype(np.int64) + 14000, 0, 65535)
    return frames


def texture() -> Frames:
    """Detail as fine as pixels are, that drifts."""
    grain = np.random.default_rng(2).random((SIZE[1], SIZE[0] + FRAMES, 3), np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.8)
    grain = np.clip((grain - 0.5) * 1.5 + 0.5, 0, 1)
    return [(grain[:, at : at + SIZE[0]] * 60000).astype(np.uint16) for at in range(FRAMES)]


def sky(levels: int = 0) -> Frames:
    """A smooth gradient above a hill, panned; `levels`: cut to so many."""
    y = np.linspace(0, 1, 720, dtype=np.float32)[:, None, None]
    x = np.linspace(0, 0.15, 1280, dtype=np.float32)[None, :, None]
    light = (0.25 + 0.35 * y + x) * np.array([0.75, 0.9, 1.0], np.float32)
    if levels:
        light = np.floor(light * levels) / levels
    still = (light * 65535).astype(np.uint16)
    still[600:] = plate("dunes.png")[600:]
    return [look(still, View(0.45 + 0.1 * at / FRAMES, 0.5, 1.2), SIZE) for at in range(FRAMES)]


def shapes() -> Frames:
    """Flat colours with sharp edges, as in an animation."""
    made = []
    for at in range(FRAMES):
        frame = np.full((SIZE[1], SIZE[0], 3), (117, 163, 202), np.uint8)
        cv2.circle(frame, (90 + 6 * at, 120), 50, (237, 195, 35), -1, cv2.LINE_AA)
        cv2.rectangle(frame, (300 - 3 * at, 170), (390 - 3 * at, 250), (54, 117, 47), -1)
        made.append(frame.astype(np.uint16) * 257)
    return made


def passing(frames: Frames) -> Frames:
    """A dark, blurred object as wide as a third of the picture crosses within half a second."""
    across = (np.arange(SIZE[0]) + 0.5) / SIZE[0]
    for at in range(len(frames)):
        middle = -0.3 + 1.6 * (at - 12) / 14
        edge = np.clip((0.16 - np.abs(across - middle)) / 0.05 + 0.5, 0, 1)[None, :, None]
        frames[at] = np.rint(frames[at] * (1 - edge) + np.array([9000, 7000, 8000]) * edge).astype(np.uint16)
    return frames


def dissolve() -> Frames:
    """From one plate to another within half of the time."""
    one, two = drifting("lake.jpg"), drifting("city.jpg")
    return [mixed(a, b, eased((at / FRAMES - 0.25) * 2)) for at, (a, b) in enumerate(zip(one, two, strict=True))]


def barred() -> Frames:
    """A plate of cinema's shape within 16:9."""
    return [bars(frame, 33) for frame in drifting("lighthouse.jpg")]


def lightning(frames: Frames) -> Frames:
    """One bolt for two frames in an eighth of the picture."""
    for at in (20, 21):
        frames[at][:70, 80:250] = np.clip(frames[at][:70, 80:250] * 1.6 + 12000, 0, 65535).astype(np.uint16)
    return frames


def bars(frame: Frame, rows: int) -> Frame:
    """Black above and below."""
    made = frame.copy()
    made[:rows] = made[-rows:] = 0
    return made


def grey(frame: Frame) -> Frame:
    """Without colour."""
    return np.repeat(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def saturated(frame: Frame, gain: float) -> Frame:
    """Colours further from grey, or nearer, of the same luma."""
    luma = (frame @ np.array([0.2126, 0.7152, 0.0722], np.float32))[..., None]
    return np.clip(luma + (frame - luma) * np.float32(gain), 0, 65535).astype(np.uint16)
