"""The camera of the built-in engine: where it looks at a moment of the shot.

Knows: the moves, their size and easing, and the overscan that keeps the frame inside the plate. Pure.
Does not know: pixels, plates, windows. A pose depends on the move, the frame's index in the shot, the shot's length and
rate, the shot's seed and the frame's shape, never on the window being made. Memory: a few numbers.

Positions are relative to the crop: the largest centred rectangle of the plate that has the frame's shape. At zoom 1 the
frame shows the whole crop. x runs right in crop widths, y down in crop heights, roll turns the camera clockwise.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from models.interface import EngineError

VERSION: Final = "1"
"""Version of the built-in engine, path and resampling; raise it whenever a request would give other pixels.
It stands here, not in models.animatic, so that the planner can name it without loading OpenCV."""

MOVES: Final = (
    "still",
    "push in",
    "pull out",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "roll",
    "handheld",
)
"""Every move."""

DEFAULT_MOVE: Final = "push in"
"""What an empty camera means: the move that suits any plate."""

RAMP: Final = 0.2
"""Share of the shot spent accelerating, and as much again decelerating."""

PAN: Final = 0.12
"""Most travel of a pan or tilt, in crop widths or heights."""
PAN_SPEED: Final = 1 / 7
"""Most speed of a pan, in widths per second: the seven-second rule of camera manuals against judder."""
ZOOM: Final = math.log(1.25)
"""Most travel of a push, as the logarithm of the zoom."""
ZOOM_SPEED: Final = 0.08
"""Most speed of a push, in logarithm of zoom per second."""
ROLL: Final = math.radians(6.0)
"""Most travel of a roll in radians, half to either side of level."""
ROLL_SPEED: Final = math.radians(2.5)
"""Most speed of a roll in radians per second."""
SHAKE: Final = 0.015
"""Bound on a handheld camera's displacement along each axis, in crop widths or heights."""
SHAKE_ROLL: Final = math.radians(0.5)
"""Bound on a handheld camera's roll in radians."""
SHAKE_BAND: Final = (0.2, 1.6)
"""Lowest and highest frequency of handheld motion in hertz: breathing to stepping, without tremor."""
SHAKE_WAVES: Final = 6
"""Sinusoids in the sum that makes one axis of handheld motion."""


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where the camera looks at one frame."""

    x: float
    """Offset of the frame's centre from the plate's, in crop widths; positive is right."""
    y: float
    """Offset of the frame's centre from the plate's, in crop heights; positive is down."""
    zoom: float
    """Crop width divided by the width that the frame shows; at least 1."""
    roll: float
    """Clockwise turn of the camera in radians; the picture turns the other way."""


def camera_pose(move: str, frame: int, *, shot_frames: int, seed: int, rate: Fraction, aspect: float) -> CameraPose:
    """The pose at native frame `frame` of a shot of `shot_frames` at `rate` frames per second.

    `aspect` is the frame's width over its height. Frames past the end of an eased move stand where it came to rest;
    handheld motion goes on. Raises EngineError for an unknown move.
    """
    name = known_move(move)
    if name == "handheld":
        return _handheld(frame / float(rate), seed, aspect)
    seconds = (shot_frames - 1) / float(rate)
    eased = ease(frame / (shot_frames - 1)) if shot_frames > 1 else 0.0
    if name == "push in":
        return CameraPose(0.0, 0.0, math.exp(_travel(ZOOM, ZOOM_SPEED, seconds) * eased), 0.0)
    if name == "pull out":
        return CameraPose(0.0, 0.0, math.exp(_travel(ZOOM, ZOOM_SPEED, seconds) * (1 - eased)), 0.0)
    if name in ("pan left", "pan right", "tilt up", "tilt down"):
        travel = _travel(PAN, PAN_SPEED, seconds)
        offset = travel * (eased - 0.5) * (-1 if name in ("pan left", "tilt up") else 1)
        across = name.startswith("pan")
        return CameraPose(offset if across else 0.0, 0.0 if across else offset, 1 / (1 - travel), 0.0)
    if name == "roll":
        travel = _travel(ROLL, ROLL_SPEED, seconds)
        return CameraPose(0.0, 0.0, _cover(travel / 2, aspect), travel * (eased - 0.5))
    return CameraPose(0.0, 0.0, 1.0, 0.0)


def known_move(move: str) -> str:
    """The move's name; empty means DEFAULT_MOVE. Raises EngineError naming the known ones."""
    name = move.strip().lower() or DEFAULT_MOVE
    if name not in MOVES:
        raise EngineError(f"the animatic engine knows no camera move {move!r}; use one of: {', '.join(MOVES)}")
    return name


def rotates(move: str) -> bool:
    """Whether the move ever rolls the camera: its rows and columns cannot be resampled one after the other."""
    return known_move(move) in ("roll", "handheld")


def ease(moment: float) -> float:
    """How much of a move is done at `moment`, both 0 to 1: accelerate, hold a steady speed, decelerate.

    The speed is V * smoothstep(u / a) for u < a, V in the middle, mirrored at the end, with a = RAMP, V = 1 / (1 - a)
    and smoothstep(t) = 3t^2 - 2t^3. Its integral is V * a * (t^3 - t^4 / 2) in the ramp and V * (u - a / 2) in the
    middle, where equal times are equal distances.
    """
    u = min(max(moment, 0.0), 1.0)
    if u > 0.5:
        return 1.0 - ease(1.0 - u)
    t = u / RAMP
    done = RAMP * (t**3 - t**4 / 2) if t < 1 else u - RAMP / 2
    return done / (1 - RAMP)


def _travel(most: float, speed: float, seconds: float) -> float:
    """How far a move goes in `seconds`: as far as it may, unless its steady middle would exceed `speed`."""
    return min(most, speed * (1 - RAMP) * seconds)


def _cover(roll: float, aspect: float) -> float:
    """Least zoom at which a frame rolled by up to `roll` radians stays inside the crop.

    A w x h rectangle turned by r spans w cos r + h sin r by h cos r + w sin r; both must fit w x h.
    """
    return math.cos(roll) + max(aspect, 1 / aspect) * math.sin(roll)


def _handheld(seconds: float, seed: int, aspect: float) -> CameraPose:
    """Bounded, band-limited drift of position and roll at a moment of the shot."""
    return CameraPose(
        SHAKE * _noise(f"{seed}/x", seconds),
        SHAKE * _noise(f"{seed}/y", seconds),
        _cover(SHAKE_ROLL, aspect) / (1 - 2 * SHAKE),
        SHAKE_ROLL * _noise(f"{seed}/roll", seconds),
    )


def _noise(key: str, seconds: float) -> float:
    """A smooth function of time within -1..1: sinusoids across SHAKE_BAND, amplitude falling as 1/frequency.

    Frequencies and phases come from SHA-256 of the key: the same on every machine and for every version of anything.
    """
    low, high = SHAKE_BAND
    total = bound = 0.0
    for index in range(SHAKE_WAVES):
        digest = hashlib.sha256(f"{key}/{index}".encode()).digest()
        where, phase = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:16]))
        frequency = low * (high / low) ** ((index + where) / SHAKE_WAVES)
        total += math.sin(math.tau * (frequency * seconds + phase)) / frequency
        bound += 1 / frequency
    return total / bound
