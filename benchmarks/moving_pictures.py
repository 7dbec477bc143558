"""Pictures that move in a known way: what a camera sees of a still at any instant, exactly.

Knows: stills, views of them, and paths of views over time. Does not know: rates, engines, what is measured. Memory: the
still, and one frame at twice its size. A still goes on as its mirror image beyond its edges, so a camera can pan for
ever. Every instant is rendered from the still by itself: no frame is made from another one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from models.interface import Frame  # noqa: E402

PLATES: Final = ("lake.jpg", "dunes.png", "forest.jpg", "city.jpg", "lanterns.jpg", "lighthouse.jpg")
"""The example plates, in the order of the example list."""

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class View:
    """What a camera sees of a still."""

    x: float = 0.5
    """Centre of the view, in widths of the still."""
    y: float = 0.5
    """Centre of the view, in heights of the still."""
    zoom: float = 1.25
    """Width of the still over width of the view."""
    roll: float = 0.0
    """Radians, clockwise as seen."""


Route = Callable[[float], View]
"""The view at each instant, in seconds."""


@cache
def plate(name: str, width: int = 1280, height: int = 720) -> Frame:
    """An example plate, its middle cut to shape: (height, width, 3) uint16."""
    from models.plate import read_plate

    still = read_plate(ROOT / "examples" / "plates" / name)
    tall, wide = still.shape[:2]
    scale = min(wide / width, tall / height)
    across, down = int(scale * width), int(scale * height)
    left, top = (wide - across) // 2, (tall - down) // 2
    middle = np.ascontiguousarray(still[top : top + down, left : left + across])
    return resized(middle, (width, height))


def resized(frame: Frame, size: Size) -> Frame:
    """Area averages where it shrinks, bicubic where it grows."""
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    kernel = cv2.INTER_AREA if frame.shape[1] > size[0] else cv2.INTER_CUBIC
    made: Frame = np.asarray(cv2.resize(frame, size, interpolation=kernel))
    return made


def look(still: Frame, view: View, size: Size, *, finer: int = 1) -> Frame:
    """What the camera sees, (height, width, 3) uint16; `finer`: rendered so many times larger and averaged."""
    tall, wide = still.shape[:2]
    width, height = size[0] * finer, size[1] * finer
    step = wide / (view.zoom * width)  # pixels of the still per pixel of the picture
    cos, sin = math.cos(view.roll) * step, math.sin(view.roll) * step
    matrix = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = np.array([view.x * wide - 0.5, view.y * tall - 0.5]) - matrix[:, :2] @ middle
    made = cv2.warpAffine(
        still,
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return resized(np.asarray(made), size)


def exposed(render: Callable[[float], Frame], instant: float, *, shutter: float, parts: int) -> Frame:
    """The average of `parts` instants while the shutter, centred on `instant`, is open for `shutter` seconds."""
    if parts == 1:
        return render(instant)
    total: NDArray[Any] = np.zeros(1)
    for part in range(parts):
        total = total + render(instant + shutter * ((part + 0.5) / parts - 0.5)).astype(np.float32)
    return np.rint(total / parts).astype(np.uint16)


def lit(frame: Frame, gain: float, lift: float = 0.0) -> Frame:
    """The frame in another light: times `gain`, plus `lift` of full white, clipped."""
    return np.clip(frame * np.float32(gain) + np.float32(lift * 65535), 0, 65535).astype(np.uint16)


def mixed(one: Frame, other: Frame, share: float) -> Frame:
    """A dissolve: `share` of the other."""
    return np.rint(one * np.float32(1 - share) + other * np.float32(share)).astype(np.uint16)


def grained(frame: Frame, sigma: float, seed: int) -> Frame:
    """The frame with noise of `sigma` of full white, new for every seed."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(frame.shape, dtype=np.float32) * np.float32(sigma * 65535)
    return np.clip(frame + noise, 0, 65535).astype(np.uint16)


# --------------------------------------------------------------------------------------------------------------------
# clips for retiming: the same at every instant, however often they are asked


@dataclass(frozen=True, slots=True)
class Moving:
    """A clip that can be seen at any instant."""

    name: str
    """What moves in it."""
    at: Callable[[Fraction], Frame]
    """The frame at an instant in seconds, (height, width, 3) uint16."""


def moving(size: Size = (640, 360)) -> Iterator[Moving]:
    """The clips of benchmarks/retiming.py; motion in pixels from frame to frame is meant at 16 frames a second."""
    routes: dict[str, tuple[str, Route]] = {
        # 2.3 and 0.7 pixels a frame: between pixels nearly always
        "translation, 2.4 px a frame": ("lake.jpg", _straight(2.3 * 16 / size[0], 0.7 * 16 / size[1])),
        "translation, 40 px a frame": ("city.jpg", _straight(40 * 16 / size[0], 0.0)),
        "rotation, 3 degrees a frame": ("lighthouse.jpg", lambda t: View(roll=math.radians(48) * (t - 0.5))),
        "zoom, 4 % a frame": ("forest.jpg", lambda t: View(zoom=1.25 * 2 ** (0.92 * t))),
    }
    for name, (still, route) in routes.items():
        yield Moving(name, lambda t, s=still, r=route: look(plate(s), r(float(t)), size, finer=2))  # type: ignore[misc]
    yield Moving("occlusion, 24 px a frame", lambda t: _passing_disc(float(t), size))
    yield Moving("fine texture, 1.8 px a frame", lambda t: _texture(float(t), size))
    yield Moving("a cut between pans", lambda t: _cut(t, size))


def _straight(across: float, down: float) -> Route:
    """A pan; speeds in widths and heights of the picture a second, at zoom 1.25."""
    return lambda t: View(0.5 + across / 1.25 * (t - 0.5), 0.5 + down / 1.25 * (t - 0.5))


def _passing_disc(t: float, size: Size) -> Frame:
    """A disc with a picture of its own, 24 pixels a frame to the right, before a ground that goes 6 to the left."""
    width, height = size[0] * 2, size[1] * 2
    ground = look(plate("forest.jpg"), _straight(6 * 16 / size[0], 0.0)(t), (width, height))
    middle = (0.5 + 24 * 16 / size[0] * (t - 0.5)) * width
    radius = 0.28 * height
    x, y = np.arange(width) - middle + 0.5, np.arange(height)[:, None] - height / 2 + 0.5
    cover = np.clip(radius - np.sqrt(x * x + y * y) + 0.5, 0, 1)[:, :, None].astype(np.float32)
    # its picture goes along with it
    own = look(plate("lanterns.jpg"), View(0.5 - (middle / width - 0.5) / 1.25), (width, height))
    return resized(np.rint(ground * (1 - cover) + own * cover).astype(np.uint16), size)


@cache
def _spectrum(size: Size) -> NDArray[Any]:
    """Of a random texture of 0.2 to 0.45 periods a pixel: (height, width // 2 + 1, 3) complex."""
    width, height = size
    random = np.random.default_rng(11)
    frequency = np.hypot(np.fft.rfftfreq(width), np.fft.fftfreq(height)[:, None])
    ring = ((frequency > 0.2) & (frequency < 0.45))[:, :, None]
    values = np.fft.rfft2(random.standard_normal((height, width, 3)), axes=(0, 1)) * ring
    deviation = np.fft.irfft2(values, s=(height, width), axes=(0, 1)).std()
    return np.asarray(values * (0.15 / deviation))


def _texture(t: float, size: Size) -> Frame:
    """The texture, moved by exactly 1.6 and 0.8 pixels a frame: a turn of its phases; it wraps around."""
    width, height = size
    x, y = 1.6 * 16 * t, 0.8 * 16 * t
    turn = np.fft.rfftfreq(width) * x + np.fft.fftfreq(height)[:, None] * y
    values = _spectrum(size) * np.exp(-2j * np.pi * turn)[:, :, None]
    made = np.fft.irfft2(values, s=(height, width), axes=(0, 1))
    return np.rint(np.clip(made + 0.5, 0, 1) * 65535).astype(np.uint16)


def _cut(t: Fraction, size: Size) -> Frame:
    """A pan until 17/32 of a second, halfway between two frames of 16 a second; then one over another plate."""
    name, speed = ("dunes.png", 8.0) if t <= Fraction(17, 32) else ("lanterns.jpg", -8.0)
    return look(plate(name), _straight(speed * 16 / size[0], 0.0)(float(t)), size, finer=2)
