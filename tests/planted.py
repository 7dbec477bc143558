"""Small clips with faults in them, encoded as Dailies delivers. Helpers, no tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np

from catalogs.footage import Finding, Master
from catalogs.shot import DELIVERY_OPTIONS
from models.interface import Frame
from tasks.ffmpeg import clip_argv, deliverables_argv
from tasks.frames import FrameWriter
from tasks.inspect import Expectation
from tasks.inspect_take import inspect_one
from tasks.known import Known
from tasks.limits import Limits, shipped

FFMPEG = str(imageio_ffmpeg.get_ffmpeg_exe())
WIDTH, HEIGHT, FRAMES, RATE = 320, 180, 24, Fraction(24)
ENDINGS = {"h265": ".mp4", "prores": ".mov", "webm": ".webm", "h264": ".mp4"}


@cache
def still() -> Frame:
    """Coloured noise of several scales, larger than a frame: something to pan over."""
    random = np.random.default_rng(7)
    made = np.zeros((HEIGHT + 40, WIDTH + 120, 3), np.float32)
    for cells, share in ((6, 0.5), (24, 0.3), (90, 0.2)):
        noise = random.random((cells, cells * 2, 3), np.float32)
        made += share * cv2.resize(noise, (made.shape[1], made.shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(made * 0.8 + 0.1, 0, 1) * 65535).astype(np.uint16)


def pan(frames: int = FRAMES, *, step: float = 2.0, picture: Frame | None = None) -> list[Frame]:
    """A camera that goes to the right by `step` pixels a frame."""
    whole = still() if picture is None else picture
    made = []
    for at in range(frames):
        turn = np.array([[1, 0, step * at + 4], [0, 1, 10]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        made.append(np.asarray(cv2.warpAffine(whole, turn, (WIDTH, HEIGHT), flags=flags), np.uint16))
    return made


def lit(frame: Frame, gain: float) -> Frame:
    """In another light."""
    return np.clip(frame * np.float32(gain), 0, 65535).astype(np.uint16)


def altered(first: int, end: int, alter: Callable[[int, Frame], Frame]) -> list[Frame]:
    """The pan with some frames altered."""
    return [alter(at, frame) if first <= at < end else frame for at, frame in enumerate(pan())]


def mastered(frames: Sequence[Frame], folder: Path, argv: Callable[..., list[str]] = clip_argv) -> Master:
    """The frames, lossless."""
    path = folder / "master.mkv"
    height, width = frames[0].shape[:2]
    words = argv(FFMPEG, path, width=width, height=height, rate=RATE)
    with FrameWriter(words, width=width, height=height, what="master") as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return Master(path, "", path.stat().st_size, len(frames), RATE, width, height)


def encoded(master: Master, folder: Path, kind: str = "prores", words: Mapping[str, str] | None = None) -> Path:
    """One deliverable; `words` of its command line are replaced, old -> new."""
    target = folder / f"shot{ENDINGS[kind]}"
    size = {"width": master.width, "height": master.height}
    argv = deliverables_argv(
        FFMPEG, master.path, [(kind, DELIVERY_OPTIONS[kind][0], target)], rate=RATE, **size,
        master_width=master.width, master_height=master.height, title="shot",
    )  # fmt: skip
    line = "\0".join(argv)
    for old, new in (words or {}).items():
        assert old in line, old
        line = line.replace(old, new)
    subprocess.run(line.split("\0"), check=True, capture_output=True)
    return target


def findings(
    frames: Sequence[Frame],
    folder: Path,
    kind: str = "prores",
    *,
    limits: Limits | None = None,
    words: Mapping[str, str] | None = None,
    **known: Any,
) -> tuple[Finding, ...]:
    """What inspection says of the frames as a deliverable."""
    path = encoded(mastered(frames, folder), folder, kind, words)
    expected = Expectation(kind, DELIVERY_OPTIONS[kind][0], len(frames), RATE, frames[0].shape[1], frames[0].shape[0])
    seen = Known(rate=RATE, frames=len(frames), **known)
    return inspect_one(path, expected, known=seen, limits=limits or shipped(), content=True, samples=None)[1]


def codes(found: Sequence[Finding]) -> set[str]:
    """Their codes."""
    return {one.code for one in found}
