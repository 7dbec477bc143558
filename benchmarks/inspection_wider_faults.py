"""More faults for benchmarks/inspection.py: what stands beside the pictures, folders of them, other sizes and formats.

Knows: frames, and ffmpeg's words for an encode. Does not know: inspection. Memory: one clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from inspection_clips import FRAMES, Frames, bars, saturated, sky
from inspection_faults import BASES, Fault, altered, base, held
from inspection_ways import HD, SMALL, WAN, over, pan
from moving_pictures import Size, View, lit, look, resized

from models.interface import Frame

SIZES: Final[tuple[Size, ...]] = (SMALL, WAN, HD)
KINDS: Final = ("prores", "h265", "webm", "h264")
DEEP: Final = {"prores": "yuv422p10le", "h265": "yuv420p10le"}
_START: Final = "00:00:41:17"


def more() -> Iterator[Fault]:
    """All of them, by code."""
    yield from (*_tracks(), *_folders(), *_ends(), *_sized(), *_formats())


def _tracks() -> Iterator[Fault]:
    """Timecode, reel, sound: the clip is called `shot` and begins at frame 1001."""

    def beside(code: str, size: str, kind: str, words: dict[str, str], extras: tuple[str, ...] = ()) -> Fault:
        reel = "shot" if kind == "prores" else ""
        timed = {"timecode": "" if kind == "webm" else _START, "reel": reel}
        expected = timed if code != "audio" else {"silent": not extras or bool(words)}
        return Fault(
            code, f"{size}, {kind}", base, blocker=True, kind=kind, words=words, extras=extras, expected=expected
        )

    said = f"timecode {_START}"
    for size, new in (("a frame late", "00:00:41:18"), ("an hour late", "01:00:41:17"), ("from 0", "00:00:00:00")):
        for kind in ("prores", "h265"):
            yield beside("timecode", size, kind, {said: f"timecode {new}"})
    yield beside("timecode", "none", "h264", {said: "metadata x=y"})
    for size, name in (("another letter", "shut"), ("another version", "shot_v002"), ("in capitals", "SHOT")):
        yield beside("reel", size, "prores", {"reel_name=shot": f"reel_name={name}"})
    yield beside("reel", "none", "prores", {"reel_name=shot": "comment=shot"})
    for kind in ("prores", "h265", "webm"):
        yield beside("audio", "sound that nobody asked for", kind, {}, ("silent",))
        yield beside("audio", "none where silence was asked for", kind, {})
    end = f"end_sample={FRAMES * 2000}"
    for size, old, new in (
        ("a frame short", end, f"end_sample={(FRAMES - 1) * 2000}"),
        ("twice as long", end, f"end_sample={FRAMES * 4000}"),
        ("44.1 kHz", "r=48000", "r=44100"),
        ("mono", "cl=stereo", "cl=mono"),
        ("a hiss at -60 dB", "anullsrc=r=48000:cl=stereo", "anoisesrc=r=48000:a=0.002,aformat=channel_layouts=stereo"),
    ):
        yield beside("audio", size, "prores", {old: new}, ("silent",))


def _folders() -> Iterator[Fault]:
    """Folders of PNGs, `shot.1001.png` to `shot.1040.png`."""

    def drop(*numbers: int) -> Callable[[Path], None]:
        return lambda folder: [(folder / f"shot.{number}.png").unlink() for number in numbers] and None

    def cut(folder: Path) -> None:
        path = folder / "shot.1021.png"
        path.write_bytes(path.read_bytes()[:-100])

    def shrunk(folder: Path) -> None:
        picture = cv2.imread(str(folder / "shot.1003.png"), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / "shot.1003.png"), picture[:-2])

    def eight(folder: Path) -> None:
        picture = cv2.imread(str(folder / "shot.1003.png"))
        cv2.imwrite(str(folder / "shot.1003.png"), picture)

    def folder_of(code: str, size: str, spoil: Callable[[Path], None]) -> Fault:
        return Fault(code, f"{size}, png", base, blocker=True, kind="png", spoil_folder=spoil)

    yield folder_of("count", "a frame is missing", drop(1017))
    yield folder_of("count", "the last three are missing", drop(1038, 1039, 1040))
    yield folder_of("count", "a note between them", lambda folder: (folder / "notes.txt").write_text("?") and None)
    yield folder_of("truncated", "one of them", cut)
    yield folder_of("size", "one of them is lower", shrunk)
    yield folder_of("depth", "one of them has 8 bits", eight)


def _ends() -> Iterator[Fault]:
    for gain, count, kind in ((1.04, 1, "prores"), (0.94, 2, "h265"), (1.2, 3, "h264")):
        for first in (0, FRAMES - count):
            flash = altered(first, first + count, lambda at, frame, g=gain: lit(frame, g), count)  # type: ignore[misc]
            where = "first" if first == 0 else "last"
            yield Fault(
                "flash", f"{gain - 1:+.0%} for {where} {count}, {kind}", flash, (first, first + count), kind=kind
            )
    for count in (1, 2, 3):
        yield Fault(
            "flash", f"another picture for first {count}", lambda c=count: [*base(1)[:c], *base()[c:]], (0, count)
        )  # type: ignore[misc]
        end = lambda c=count: [*base(2)[:-c], *base()[-c:]]  # type: ignore[misc]  # noqa: E731
        yield Fault("flash", f"another picture for last {count}", end, (FRAMES - count, FRAMES))
    for gain, wanted in ((1.04, True), (0.94, True), (1.08, False)):

        def behind(gain: float = gain) -> Frames:
            second = over("city.jpg", SMALL, 96, pan())
            return [
                *over("lake.jpg", SMALL, 48, pan()),
                *(saturated(frame, 1 + (gain - 1) * at / 95) for at, frame in enumerate(second)),
            ]

        known = {"cuts": (47,)} if wanted else {}
        yield Fault("drift", f"saturation {gain - 1:+.0%} behind a cut", behind, (48, 144), known=known)


def _sized() -> Iterator[Fault]:
    """Cuts, 8 bits, banding, blur and blocks in pictures of other sizes."""
    for number, size in enumerate(SIZES):
        told = f"{size[0]}x{size[1]}"
        one = lambda s=size, n=number: over(BASES[n], s, FRAMES, pan())  # type: ignore[misc]  # noqa: E731
        two = lambda s=size, n=number: over(BASES[n + 1], s, FRAMES, pan())  # type: ignore[misc]  # noqa: E731
        for kind in ("prores", KINDS[number + 1]):
            at = 12 + 5 * number
            joined = lambda a=one, b=two, at=at: [*a()[:at], *b()[at:]]  # type: ignore[misc]  # noqa: E731
            yield Fault("cut", f"{told}, {kind}", joined, (at - 1, at + 1), kind=kind)
        for kind, pix_fmt in DEEP.items():
            words = {f"format={pix_fmt}": f"format={pix_fmt.removesuffix('10le')},format={pix_fmt}"}
            for name, frames in ((BASES[number], one), ("a sky", lambda s=size: [resized(f, s) for f in sky()])):  # type: ignore[misc]
                yield Fault(
                    "depth", f"8-bit values, {told}, {name}, {kind}", frames, kind=kind, words=words, mastered=True
                )
        for levels, kind in ((64, "prores"), (48, KINDS[number + 1]), (32, "webm")):
            yield Fault(
                "banding", f"{levels} levels, {told}, {kind}", lambda s=size, n=levels: _stepped(s, n), kind=kind
            )  # type: ignore[misc]
        for kind, sigma in (("prores", 1.4), (KINDS[number + 1], 2.0)):
            yield Fault(
                "blur", f"growing to {sigma} px, {told}, {kind}", lambda f=one, g=sigma: _softer(f(), g), kind=kind
            )  # type: ignore[misc]
            yield Fault("blur", f"blocks, {told}, {kind}", lambda f=one: _blocky(f()), kind=kind)  # type: ignore[misc]


def _stepped(size: Size, levels: int) -> Frames:
    """A gradient in so many levels, panned."""
    y, x = np.linspace(0, 1, 1000, dtype=np.float32)[:, None], np.linspace(0, 0.15, 1800, dtype=np.float32)[None]
    light = (0.25 + 0.35 * y + x)[..., None] * np.array([0.75, 0.9, 1.0], np.float32)
    still = (np.floor(light * levels) / levels * 65535).astype(np.uint16)
    return [look(still, View(0.45 + 0.1 * at / FRAMES, 0.5, 1.2), size) for at in range(FRAMES)]


def _softer(frames: Frames, sigma: float) -> Frames:
    grown = (max(0.05, sigma * frames[0].shape[1] / 480 * at / FRAMES) for at in range(FRAMES))
    return [np.asarray(cv2.GaussianBlur(frame, (0, 0), by)) for frame, by in zip(frames, grown, strict=True)]


def _blocky(frames: Frames) -> Frames:
    made = []
    for at, frame in enumerate(frames):
        packed = cv2.imencode(
            ".jpg", (frame[..., ::-1] >> 8).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, max(8, 95 - 3 * at)]
        )
        made.append(cv2.imdecode(packed[1], 1)[..., ::-1].astype(np.uint16) * 257)
    return made


def _formats() -> Iterator[Fault]:
    """What is found in ProRes is found in the other formats."""

    def hot(at: int, frame: Frame) -> Frame:
        made = frame.copy()
        made[110, 210] = 65535
        return made

    for kind in ("h265", "webm", "h264"):
        yield Fault(
            "black", f"1 frame, {kind}", altered(18, 19, lambda at, frame: np.zeros_like(frame)), (18, 19), kind=kind
        )
        yield Fault(
            "flash", f"+4% for 1, {kind}", altered(22, 23, lambda at, frame: lit(frame, 1.04)), (22, 23), kind=kind
        )
        yield Fault(
            "flicker",
            f"2%, {kind}",
            altered(0, FRAMES, lambda at, frame: lit(frame, 0.9 + 0.02 * (-1) ** at)),
            kind=kind,
        )
        yield Fault("letterbox", f"8 px, {kind}", altered(0, FRAMES, lambda at, frame: bars(frame, 8)), kind=kind)
        yield Fault("dead_pixel", f"1, {kind}", altered(0, FRAMES, hot), kind=kind)
        yield Fault("frozen", f"throughout, {kind}", lambda: [base()[0]] * FRAMES, blocker=True, kind=kind)
        yield Fault("frozen", f"2 frames, {kind}", held(15, 2), (15, 17), kind=kind)
    yield Fault("depth", "4:2:2 for 4:4:4", base, blocker=True, expected={"option": "4444"})
    yield Fault("codec", "proxy for HQ", base, blocker=True, option="proxy", expected={"option": "hq"})
    yield Fault("codec", "vp9 for av1", base, blocker=True, kind="webm", expected={"option": "av1"})
