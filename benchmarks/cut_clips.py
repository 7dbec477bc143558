"""The corpus of benchmarks/cuts.py: clips whose cuts are known, and clips that look as if they had some.

Knows: what each clip shows and between which frames it cuts. Does not know: detectors. Memory: one clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Final

import numpy as np
from moving_pictures import PLATES, ROOT, Route, Size, View, exposed, grained, lit, look, mixed, plate

from models.animatic import Animatic
from models.interface import ClipRequest, Frame

SIZE: Final[Size] = (1280, 720)
"""Clips are rendered in this size, and reduced from it."""

SECONDS: Final = Fraction(3, 2)
"""Length of a clip."""


@dataclass(frozen=True, slots=True)
class CutClip:
    """One clip of the corpus."""

    kind: str
    """What it is a case of; clips of one kind are counted together."""
    frames: Callable[[Fraction], Sequence[Frame]]
    """Its frames at a rate."""
    cuts: Callable[[int], tuple[int, ...]] = lambda length: ()
    """Each i for which frames i and i+1 are a cut, by the number of frames."""


def moved(name: str, camera: str, *, rate: Fraction, first: int = 0, frames: int | None = None) -> list[Frame]:
    """The animatic's move over a plate."""
    length = int(SECONDS * rate)
    request = ClipRequest(
        plate=ROOT / "examples" / "plates" / name,
        width=SIZE[0],
        height=SIZE[1],
        first_frame=first,
        frames=length if frames is None else frames,
        shot_frames=length,
        native_rate=rate,
        seed=1,
        shot_seed=1,
        camera=camera,
    )
    return list(Animatic().generate(request, ()))


def seen(name: str, path: Route, *, rate: Fraction, parts: int = 1, frames: int | None = None) -> list[Frame]:
    """A path over a plate, with a shutter of 180 degrees where `parts` > 1."""
    still = plate(name)
    length = int(SECONDS * rate) if frames is None else frames
    return [
        exposed(
            lambda instant: look(still, path(instant), SIZE),
            float(at / rate),
            shutter=float(1 / rate / 2),
            parts=parts,
        )
        for at in range(length)
    ]


def smooth(way: float) -> float:
    """0 to 1 with an easy start and end."""
    way = min(1.0, max(0.0, way))
    return way * way * (3 - 2 * way)


def corpus() -> Iterator[CutClip]:
    """All clips."""
    yield from _cuts()
    yield from _motion()
    yield from _light()
    yield from _other()


def _halved(length: int) -> tuple[int, ...]:
    return (length // 2 - 1,)


def _cuts() -> Iterator[CutClip]:
    cameras = ("push in", "pan right", "handheld", "tilt up", "roll", "pull out")
    for index, name in enumerate(PLATES):
        other, camera, move = PLATES[(index + 1) % 6], cameras[index], cameras[(index + 1) % 6]

        def between(rate: Fraction, a: str = name, b: str = other, m: str = camera, n: str = move) -> list[Frame]:
            half = int(SECONDS * rate) // 2
            return moved(a, m, rate=rate, frames=half) + moved(b, n, rate=rate, first=half, frames=half)

        yield CutClip("cut between plates", between, _halved)
        wide, close = View(zoom=1.1), View(0.42 + 0.03 * index, 0.55, 1.9)
        yield CutClip("cut to a close-up of the same", _joined((name, wide), (name, close)), _halved)
        aside = View(0.56, 0.47, 1.35)
        yield CutClip("cut to the same, reframed by 15 %", _joined((name, View(zoom=1.15)), (name, aside)), _halved)
        yield CutClip("cut in the dark", _dark(_joined((name, wide), (other, wide))), _halved)
        third = PLATES[(index + 2) % 6]
        for apart in (1, 2, 5):
            three = _joined((name, wide), (other, wide), (third, wide), apart=apart)
            yield CutClip(f"two cuts {apart} apart", three, _apart(apart))
        if index % 2:
            yield CutClip("cut after the first frame", _joined((name, wide), (other, wide), at=1), lambda length: (0,))
            late = _joined((name, wide), (other, wide), at=-1)
            yield CutClip("cut before the last frame", late, lambda length: (length - 2,))
            panning = _joined((name, wide), (other, wide), speed=2.0)
            yield CutClip("cut within a fast pan", panning, _halved)
            grain = _joined((name, wide), (other, wide), sigma=0.06)
            yield CutClip("cut under heavy grain", grain, _halved)


def _apart(apart: int) -> Callable[[int], tuple[int, ...]]:
    return lambda length: (length // 2 - 1, length // 2 - 1 + apart)


def _joined(
    *parts: tuple[str, View], at: int | None = None, apart: int = 0, speed: float = 0.1, sigma: float = 0.0
) -> Callable[[Fraction], list[Frame]]:
    """Shots of drifting cameras, `speed` in widths a second, cut at frame `at` or in the middle, and `apart` later."""

    def make(rate: Fraction) -> list[Frame]:
        length = int(SECONDS * rate)
        first = length // 2 if at is None else at % length
        ends = [first, first + apart, length][: len(parts) - 1] if apart else [first]
        bounds = [0, *ends, length]
        frames: list[Frame] = []
        for number, (name, view) in enumerate(parts):
            way = speed * (-1) ** number / view.zoom

            def path(instant: float, view: View = view, way: float = way) -> View:
                return View(view.x + way * (instant - float(SECONDS) / 2), view.y, view.zoom)

            whole = seen(name, path, rate=rate, parts=4 if speed > 1 else 1)
            frames += whole[bounds[number] : bounds[number + 1]]
        return [grained(frame, sigma, at) for at, frame in enumerate(frames)] if sigma else frames

    return make


def _dark(made: Callable[[Fraction], list[Frame]]) -> Callable[[Fraction], list[Frame]]:
    return lambda rate: [lit(frame, 0.12) for frame in made(rate)]


def _motion() -> Iterator[CutClip]:
    cameras = ("push in", "pull out", "pan left", "pan right", "tilt down", "roll", "handheld", "still")
    for index, camera in enumerate(cameras):
        name = PLATES[index % 6]
        yield CutClip("camera move", lambda rate, n=name, c=camera: moved(n, c, rate=rate))  # type: ignore[misc]
    for index, name in enumerate(PLATES[::2]):
        # 2 to 4 widths within a third of a second: up to half a picture from frame to frame
        reach = 1.0 + 0.5 * index

        def whip(instant: float, reach: float = reach) -> View:
            return View(0.5 + reach * smooth((instant - 0.5) * 3), 0.5, 1.25)

        yield CutClip("whip pan", lambda rate, n=name, p=whip: seen(n, p, rate=rate, parts=8))  # type: ignore[misc]

        def zoom(instant: float, most: float = 1.5 + 0.5 * index) -> View:
            return View(0.45, 0.5, 1.1 * (1 + most * smooth((instant - 0.5) * 3)))

        yield CutClip("fast zoom", lambda rate, n=name, p=zoom: seen(n, p, rate=rate, parts=4))  # type: ignore[misc]
        yield CutClip("shaken by hand", lambda rate, n=name, s=index: _shaken(n, s, rate))  # type: ignore[misc]
        passing = (0.25, 0.4, 0.6)[index]
        yield CutClip("object close to the lens", lambda rate, n=name, w=passing: _passing(n, w, rate))  # type: ignore[misc]


def _shaken(name: str, seed: int, rate: Fraction) -> list[Frame]:
    """A camera carried at a run: 2 % of the width from frame to frame, one way and the other."""
    random = np.random.default_rng(seed)
    turns = random.uniform(-1, 1, (6, 2))

    def path(instant: float) -> View:
        waves = [np.sin(2 * np.pi * instant * (1.3 + 0.9 * n) + 3 * n) * turns[n] for n in range(6)]
        x, y = 0.015 * sum(waves)
        return View(0.5 + float(x), 0.5 + float(y), 1.4, roll=0.1 * float(y))

    return seen(name, path, rate=rate, parts=4)


def _passing(name: str, wide: float, rate: Fraction) -> list[Frame]:
    """A dark, blurred object as wide as `wide` pictures crosses within a quarter of a second."""
    frames = seen(name, lambda instant: View(0.5 + 0.05 * instant), rate=rate)
    across = (np.arange(SIZE[0]) + 0.5) / SIZE[0]
    for at in range(len(frames)):
        middle = -wide + (1 + 2 * wide) * (float(at / rate) - 0.6) * 4
        edge = np.clip((wide / 2 - np.abs(across - middle)) / 0.05 + 0.5, 0, 1)[None, :, None]
        body = np.array([9000, 7000, 8000], np.float32)
        frames[at] = np.rint(frames[at] * (1 - edge) + body * edge).astype(np.uint16)
    return frames


def _lights(name: str, light: Callable[[int, int], tuple[float, float]]) -> Callable[[Fraction], list[Frame]]:
    """A slow pan in a light of (gain, lift) by frame and number of frames."""

    def make(rate: Fraction) -> list[Frame]:
        frames = seen(name, lambda instant: View(0.5 + 0.05 * instant, 0.5, 1.25), rate=rate)
        return [lit(frame, *light(at, len(frames))) for at, frame in enumerate(frames)]

    return make


def _light() -> Iterator[CutClip]:
    for index, name in enumerate(PLATES):
        length = index % 3 + 1
        burst, lamp = 1.0 + index // 3, (0.3, 0.45, 0.6)[index % 3]

        def flash(at: int, frames: int, length: int = length, burst: float = burst) -> tuple[float, float]:
            inside = 0 <= at - frames // 2 < length
            return (burst, 0.75 if burst == 1 else 0.3) if inside else (1.0, 0.0)

        yield CutClip(f"flash of {length}", _lights(name, flash))

        def fading(at: int, frames: int, length: int = length + 1) -> tuple[float, float]:
            way = (at - frames // 2) / length
            return (1.0, 0.9 * (1 - way)) if 0 <= way < 1 else (1.0, 0.0)

        yield CutClip("flash that dies away", _lights(name, fading))
        yield CutClip("light switched on", _lights(name, lambda at, n, g=lamp: (g if at < n // 2 else 1.0, 0.0)))  # type: ignore[misc]
        yield CutClip("light switched off", _lights(name, lambda at, n, g=lamp: (1.0 if at < n // 2 else g, 0.0)))  # type: ignore[misc]
        if index % 2:
            yield CutClip("black to picture", _lights(name, lambda at, n: (float(at >= n // 2), 0.0)), _halved)
            yield CutClip("strobe", _lights(name, lambda at, n, p=index // 2 + 1: (0.4 + 0.6 * (at // p % 2), 0.0)))  # type: ignore[misc]
            yield CutClip("flicker of 4 %", _lights(name, lambda at, n: (1 + 0.04 * (-1) ** at, 0.0)))
        else:
            yield CutClip("picture to black", _lights(name, lambda at, n: (float(at < n // 2), 0.0)), _halved)
            # of linear light: the first step is three times the second
            yield CutClip(
                "fade from black, in light",
                _lights(name, lambda at, n: (min(1.0, max(0, at - 5) / 6) ** (1 / 2.4), 0.0)),
            )
            yield CutClip("fade from black", _lights(name, lambda at, n: (min(1.0, at / (n * 0.6)), 0.0)))
            yield CutClip("fade to white", _lights(name, lambda at, n: (1 - at / n, at / n)))
            yield CutClip(
                "fade from black within 4 frames", _lights(name, lambda at, n: (min(1.0, max(0, at - 5) / 4), 0))
            )


def _other() -> Iterator[CutClip]:
    for index, name in enumerate(PLATES[::2]):
        other = PLATES[2 * index + 1]

        def grain(rate: Fraction, name: str = name, sigma: float = 0.04 * (index + 1)) -> list[Frame]:
            frames = seen(name, lambda instant: View(), rate=rate)
            return [grained(frame, sigma, at) for at, frame in enumerate(frames)]

        yield CutClip("grain", grain)

        def dissolve(rate: Fraction, a: str = name, b: str = other, share: float = 0.3 + 0.2 * index) -> list[Frame]:
            one = seen(a, lambda instant: View(0.5 + 0.05 * instant), rate=rate)
            two = seen(b, lambda instant: View(0.5 - 0.05 * instant), rate=rate)
            length = len(one) * share
            ways = (smooth((at - (len(one) - length) / 2) / length) for at in count())
            return [mixed(x, y, way) for x, y, way in zip(one, two, ways, strict=False)]

        yield CutClip("dissolve", dissolve)

        def shortest(rate: Fraction, a: str = name, b: str = other) -> list[Frame]:
            one = seen(a, lambda instant: View(0.5 + 0.05 * instant), rate=rate)
            two = seen(b, lambda instant: View(0.5 - 0.05 * instant), rate=rate)
            half = len(one) // 2
            return [*one[:half], mixed(one[half], two[half], 0.5), *two[half + 1 :]]

        yield CutClip("dissolve with one frame between", shortest)

        def titled(rate: Fraction, name: str = name, tall: int = 40 + 60 * index) -> list[Frame]:
            frames = seen(name, lambda instant: View(0.5 + 0.05 * instant), rate=rate)
            for frame in frames[len(frames) // 3 : -len(frames) // 3]:
                frame[-80 - tall : -80, 200:-200][:, ::3] = 62000
            return frames

        yield CutClip("title appears and goes", titled)
