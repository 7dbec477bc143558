"""The faults of benchmarks/inspection.py: what is planted, how large, and in which frames it is to be found.

Knows: frames, and ffmpeg's words for an encode. Does not know: inspection. Memory: one clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from inspection_clips import FRAMES, RATE, SIZE, Frames, bars, drifting, moved, noisy, saturated, sky
from moving_pictures import lit

from models.interface import Frame

BASES: Final = ("lake.jpg", "city.jpg", "forest.jpg", "lighthouse.jpg")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in frames, or in how they are encoded."""

    code: str
    """What inspection is to call it."""
    size: str
    """How large it is, in words."""
    frames: Callable[[], Frames]
    """The clip with the fault in it, before it is encoded."""
    span: tuple[int, int] = (0, FRAMES)
    """Frames in which it lies, half-open."""
    blocker: bool = False
    """Whether it must stop publishing."""
    kind: str = "prores"
    """What it is encoded as."""
    known: dict[str, Any] = field(default_factory=dict)
    """What the plan would say (tasks.known.Known)."""
    plate: str = ""
    """Plate that it is held against, by file name."""
    words: dict[str, str] = field(default_factory=dict)
    """Text replaced in the encoder's command line, old -> new."""
    spoil: Callable[[bytes], bytes] | None = None
    """What is done to the bytes of the file."""
    expected: dict[str, Any] = field(default_factory=dict)
    """Fields of tasks.inspect.Expectation that are not the clip's own."""
    mastered: bool = False
    """Whether it is held against its master."""
    option: str = ""
    """Variant of its kind; empty for the usual one."""
    extras: tuple[str, ...] = ()
    """What it is encoded with besides: `silent`, `slate`."""
    spoil_folder: Callable[[Path], None] | None = None
    """What is done to a folder of pictures."""


def faults() -> Iterator[Fault]:
    """All of them, by code."""
    yield from (*_time(), *_picture(), *_plate(), *_files())


def base(number: int = 0) -> Frames:
    """A clean slow pan."""
    return drifting(BASES[number % len(BASES)])


Alter = Callable[[int, Frame], Frame]


def altered(first: int, end: int, alter: Alter, number: int = 0) -> Callable[[], Frames]:
    """The base with some frames altered."""
    return lambda: [alter(at, frame) if first <= at < end else frame for at, frame in enumerate(base(number))]


def held(first: int, count: int, number: int = 0) -> Callable[[], Frames]:
    """A base in which frame `first` is shown `count` times, the others at their times."""

    def make() -> Frames:
        frames = base(number)
        return [frames[first] if first <= at < first + count else frame for at, frame in enumerate(frames)]

    return make


def _time() -> Iterator[Fault]:
    for number, (first, count) in enumerate(((20, 1), (28, 3), (10, 12), (FRAMES - 1, 1), (0, 2))):
        black = altered(first, first + count, lambda at, frame: np.zeros_like(frame), number)
        yield Fault("black", f"{count} frames from {first}", black, (first, first + count))
    yield Fault("black", "2/255 left, 5 frames", altered(8, 13, lambda at, frame: lit(frame, 0.012)), (8, 13))
    for level in (0, 250, 1000):
        dark = lambda level=level: [np.full_like(frame, level) for frame in base()]  # type: ignore[misc]  # noqa: E731
        yield Fault("black", f"throughout, at {level / 257:.1f}/255", dark, blocker=True)

    for number, (first, count) in enumerate(((20, 2), (20, 3), (12, 6), (26, 12), (FRAMES - 6, 6), (0, 4))):
        shown = held(first, count, number)
        yield Fault("frozen", f"{count} frames from {first}", shown, (first, first + count))
    for kind in ("h265", "webm", "h264"):
        yield Fault("frozen", f"3 frames, {kind}", held(20, 3), (20, 23), kind=kind)
    yield Fault("frozen", "every other frame", lambda: [frame for frame in base()[::2] for _ in range(2)])
    for number in range(3):
        yield Fault("frozen", f"throughout, {BASES[number]}", lambda n=number: [base(n)[0]] * FRAMES, blocker=True)  # type: ignore[misc]

    for sigma in (0.002, 0.006, 0.015):
        grain = lambda s=sigma: noisy([base(2)[0]] * FRAMES, s)  # type: ignore[misc]  # noqa: E731
        yield Fault("still", f"nothing but noise of {sigma:.1%}", grain)
    breath = lambda: [lit(frame, 1 + 0.02 * np.sin(at / 6)) for at, frame in enumerate([base()[0]] * FRAMES)]  # noqa: E731
    yield Fault("still", "nothing but light that breathes", breath)

    for number, (gain, count) in enumerate(((1.04, 1), (0.96, 1), (1.08, 2), (1.5, 1), (0.7, 3), (3.0, 1))):
        flash = altered(22, 22 + count, lambda at, frame, g=gain: lit(frame, g), number)  # type: ignore[misc]
        yield Fault("flash", f"{gain - 1:+.0%} for {count}", flash, (22, 22 + count))
    for count in (1, 2, 3):
        other = lambda c=count: [*base()[:17], *base(1)[17 : 17 + c], *base()[17 + c :]]  # type: ignore[misc]  # noqa: E731
        yield Fault("flash", f"{count} frames of another shot", other, (17, 17 + count))
    garbage = altered(25, 26, lambda at, frame: np.random.default_rng(1).integers(0, 65535, frame.shape, np.uint16))
    yield Fault("flash", "a frame of noise", garbage, (25, 26))

    for number, amplitude in enumerate((0.01, 0.02, 0.04, 0.08)):
        wave = altered(0, FRAMES, lambda at, frame, a=amplitude: lit(frame, 1 + a * (-1) ** at), number)  # type: ignore[misc]
        yield Fault("flicker", f"{amplitude:.0%}, every frame", wave)
    random = np.random.default_rng(4).uniform(-1, 1, FRAMES)
    yield Fault("flicker", "6 %, at random", altered(0, FRAMES, lambda at, frame: lit(frame, 1 + 0.06 * random[at])))
    beat = altered(10, 36, lambda at, frame: lit(frame, 1 + 0.04 * np.sin(2.1 * at)))
    yield Fault("flicker", "4 %, three frames long", beat, (10, 36))

    for number, at in enumerate((20, 8, 33, 20)):
        joined = lambda n=number, at=at: [*base(n)[:at], *base(n + 1)[at:]]  # type: ignore[misc]  # noqa: E731
        yield Fault("cut", f"after frame {at}, {BASES[number]}", joined, (at - 1, at + 1))
    yield Fault("cut", "to a dark shot", lambda: [*base(3)[:24], *[lit(f, 0.2) for f in base(1)[24:]]], (23, 25))

    for number, (period, area) in enumerate(((3, 1.0), (2, 0.5), (3, 0.4))):

        def strobe(at: int, frame: Frame, period: int = period, area: float = area) -> Frame:
            made = frame.copy()
            part = made[: round(SIZE[1] * area)]
            part[:] = lit(part, 0.3 if at // period % 2 else 1.0, 0.0 if at // period % 2 else 0.35)
            return made

        name = f"{float(RATE) / 2 / period:.0f} a second over {area:.0%}"
        yield Fault("photosensitive", name, altered(0, FRAMES, strobe, number))

    def red(at: int, frame: Frame) -> Frame:
        made = frame.copy()
        made[..., 0] = 62000 if at // 2 % 2 else 12000
        made[..., 1:] = 3000
        return made

    yield Fault("photosensitive", "saturated red, 6 a second", altered(0, FRAMES, red))


def _picture() -> Iterator[Fault]:
    for number, rows in enumerate((3, 4, 8, 20, 33)):
        yield Fault("letterbox", f"{rows} px", altered(0, FRAMES, lambda at, f, r=rows: bars(f, r), number))  # type: ignore[misc]

    def pillar(at: int, frame: Frame) -> Frame:
        made = frame.copy()
        made[:, :6] = made[:, -6:] = 0
        return made

    yield Fault("letterbox", "6 px at the sides", altered(0, FRAMES, pillar))
    for number, sigma in enumerate((1.0, 1.6, 3.0)):

        def soft(at: int, frame: Frame, sigma: float = sigma) -> Frame:
            return np.asarray(cv2.GaussianBlur(frame, (0, 0), max(0.05, sigma * at / FRAMES)))

        yield Fault("blur", f"growing to {sigma} px", altered(0, FRAMES, soft, number))
    for number, quality in enumerate((30, 15, 6)):

        def blocky(at: int, frame: Frame, quality: int = quality) -> Frame:
            picture = cv2.cvtColor((frame >> 8).astype(np.uint8), cv2.COLOR_RGB2BGR)
            kept = max(quality, round(95 - (95 - quality) * 1.3 * at / FRAMES))
            packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, kept])[1]
            return np.asarray(cv2.cvtColor(cv2.imdecode(packed, 1), cv2.COLOR_BGR2RGB)).astype(np.uint16) * 257

        yield Fault("blur", f"blocks, JPEG quality falling to {quality}", altered(0, FRAMES, blocky, number))
    for number, (places, value) in enumerate(
        ((((150, 320),), 65535), (((100, 400),), 0), (((60, 60), (200, 400), (180, 90)), 65535), (((222, 333),), 50000))
    ):

        def hot(at: int, frame: Frame, places: Any = places, value: int = value) -> Frame:
            made = frame.copy()
            for y, x in places:
                made[y, x] = value
            return made

        yield Fault("dead_pixel", f"{len(places)} at {value / 257:.0f}/255", altered(0, FRAMES, hot, number))
    yield Fault("dead_pixel", "1 at 255/255, h265", altered(0, FRAMES, _white), kind="h265")
    for levels in (128, 64, 32, 24):
        yield Fault("banding", f"{levels} levels", lambda n=levels: sky(n))  # type: ignore[misc]
    for kind in ("h265", "webm"):
        yield Fault("banding", f"48 levels, {kind}", lambda: sky(48), kind=kind)
    full = {"range=limited": "range=full"}
    for number, name in enumerate(("city.jpg", "forest.jpg")):
        strong = lambda n=name: [lit(f, 1.9, -0.25) for f in drifting(n)]  # type: ignore[misc]  # noqa: E731
        yield Fault("range", f"full range as limited, {name}", strong, words=full)
        del number
    yield Fault(
        "range", "full range as limited, h265", lambda: [lit(f, 1.9, -0.25) for f in base()], words=full, kind="h265"
    )


def _white(at: int, frame: Frame) -> Frame:
    made = frame.copy()
    made[150, 250] = 65535
    return made


def _plate() -> Iterator[Fault]:
    for number, gain in enumerate((1.03, 0.97, 1.06, 1.15, 0.9)):
        name = BASES[number % 4]

        def grown(at: int, frame: Frame, gain: float = gain) -> Frame:
            return saturated(frame, 1 + (gain - 1) * at / (5 * 24 - 1))

        # five seconds, as the slowest drift is named: 3 % over 5 s
        long = lambda n=name, g=grown: [g(at, f) for at, f in enumerate(moved(n, "push in", frames=120))]  # type: ignore[misc]  # noqa: E731
        yield Fault("drift", f"saturation {gain - 1:+.0%} over 5 s", long, (0, 120), plate=name)
    tint = lambda at, frame: np.clip(frame + np.array([2600, 0, -2600]) * at / FRAMES, 0, 65535).astype(np.uint16)  # noqa: E731
    yield Fault("drift", "10/255 warmer", altered(0, FRAMES, tint))
    blank = lambda: moved("lake.jpg", "push in")  # noqa: E731
    yield Fault("first_frame", "another plate", blank, (0, 1), plate="city.jpg")
    yield Fault("first_frame", "a third plate", blank, (0, 1), plate="lanterns.jpg")
    yield Fault("first_frame", "mirrored", lambda: [f[:, ::-1].copy() for f in blank()], (0, 1), plate="lake.jpg")
    yield Fault("first_frame", "lighter by a fifth", lambda: [lit(f, 1.2) for f in blank()], (0, 1), plate="lake.jpg")
    warm = lambda: [np.clip(f * np.array([1.2, 1.0, 0.7]), 0, 65535).astype(np.uint16) for f in blank()]  # noqa: E731
    yield Fault("first_frame", "much warmer", warm, (0, 1), plate="lake.jpg")


def _files() -> Iterator[Fault]:
    for part in (0.9, 0.55, 0.2):
        for kind in ("h265", "prores", "webm"):
            cut = lambda got, p=part: got[: int(len(got) * p)]  # type: ignore[misc]  # noqa: E731
            yield Fault("truncated", f"{part:.0%} of the file, {kind}", base, blocker=True, kind=kind, spoil=cut)
    yield Fault("truncated", "one byte short", base, blocker=True, spoil=lambda got: got[:-1])
    yield Fault("truncated", "400 bytes of noise", base, blocker=True, kind="h265", spoil=_spoilt)
    for off in (1, -1, 12):
        yield Fault("count", f"{off:+d} frames", base, blocker=True, expected={"frames": FRAMES - off})
    lost = {"setpts=N": "setpts=N,select=not(eq(n\\,9))"}
    yield Fault("count", "one dropped on the way", base, blocker=True, words=lost, kind="h265")
    for rate in (Fraction(24000, 1001), Fraction(25), Fraction(48)):
        yield Fault("rate", f"24 for {float(rate):.3f}", base, blocker=True, expected={"rate": rate})
    late = {"setpts=N": "setpts=N+gt(N\\,8)"}
    for kind in ("h265", "prores", "webm"):
        yield Fault("rate", f"a gap of a frame, {kind}", base, blocker=True, words=late, kind=kind)
    for width, height in ((482, 270), (480, 272), (1280, 720)):
        wanted = {"width": width, "height": height}
        yield Fault("size", f"480x270 for {width}x{height}", base, blocker=True, expected=wanted)
    yield Fault("size", "pixels of 2:1", base, blocker=True, words={"setsar=1": "setsar=2"}, kind="h264")
    yield Fault("codec", "hev1", base, blocker=True, words={"hvc1": "hev1"}, kind="h265")
    yield Fault(
        "codec", "h264 for h265", base, blocker=True, kind="h264", expected={"kind": "h265", "option": "main10"}
    )
    low = {"yuv420p10le": "yuv420p", "main10": "main"}
    yield Fault("codec", "main for main10", base, blocker=True, words=low, kind="h265")
    yield Fault("depth", "8-bit for 10-bit", base, blocker=True, words=low, kind="h265")
    yield Fault(
        "depth",
        "4:4:4 for 4:2:0",
        base,
        blocker=True,
        words={"=yuv420p": "=yuv444p", "pix_fmt yuv420p": "pix_fmt yuv444p", "high": "high444"},
        kind="h264",
    )
    eight = {"format=yuv422p10le": "format=yuv422p,format=yuv422p10le"}
    yield Fault("depth", "8-bit values in ProRes, no master", sky, words=eight)
    eight = {"format=yuv420p10le": "format=yuv420p,format=yuv420p10le"}
    yield Fault("depth", "8-bit values in H.265", sky, words=eight, kind="h265", mastered=True)
    for kind, new in (("h265", "unknown"), ("prores", "smpte170m"), ("webm", "bt2020nc"), ("h264", "unknown")):
        yield Fault(
            "tags", f"{new}, {kind}", base, blocker=True, words={"colorspace=bt709": f"colorspace={new}"}, kind=kind
        )
    for crf in (34, 44):
        words = {"crf 15": f"crf {crf}"}
        yield Fault("fidelity", f"crf {crf}", base, kind="h265", words=words, mastered=True)
    yield Fault("fidelity", "crf 60 of VP9", base, kind="webm", words={"crf 18": "crf 60"}, mastered=True)
    matrix = {"matrix=709": "matrix=170m"}
    yield Fault("fidelity", "another matrix", lambda: [saturated(f, 2.0) for f in base(1)], words=matrix, mastered=True)
    wrong = {"setpts=N": "hflip,setpts=N"}
    yield Fault("fidelity", "mirrored", base, blocker=True, words=wrong, mastered=True)
    negative = {"setpts=N": "negate,setpts=N"}
    yield Fault("fidelity", "negative", lambda: base(2), blocker=True, words=negative, kind="webm", mastered=True)
    darker = {"setpts=N": "lutrgb=r=val*0.6:g=val*0.6:b=val*0.6,setpts=N"}
    yield Fault("fidelity", "darker", lambda: base(3), blocker=True, words=darker, kind="h264", mastered=True)


def _spoilt(got: bytes) -> bytes:
    changed, middle = bytearray(got), len(got) * 2 // 3
    changed[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    return bytes(changed)
