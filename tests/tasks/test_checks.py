"""The check of a window: what broke down is named, what merely looks unusual is not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.interface import Frame
from tasks.checks import Fault, WindowCheck

FRAMES = 17


@pytest.fixture(scope="module")
def still(plate_path: Path) -> Frame:
    """The textured plate as a frame, wide enough to pan over."""
    picture = np.asarray(Image.open(plate_path).convert("RGB").resize((320, 90), Image.Resampling.BICUBIC))
    return picture.astype(np.uint16) * 257


def checked(frames: Iterable[Frame], *, given: int = 1) -> Fault | None:
    """What the check says of a window."""
    check = WindowCheck(given=given)
    for frame in frames:
        check.see(frame)
    return check.fault()


def panned(still: Frame, step: int) -> list[Frame]:
    """160 pixels of it, further by `step` each time."""
    return [still[:, at * step : at * step + 160] for at in range(FRAMES)]


@pytest.mark.parametrize("step", [1, 8], ids=["slow", "fast"])
def test_a_pan_is_no_fault(still: Frame, step: int) -> None:
    """Footage that moves, slowly or fast, passes."""
    assert checked(panned(still, step)) is None


def test_a_window_that_goes_black(still: Frame) -> None:
    """Black at its end is named; a night that was as dark from the start is not."""
    fading = [(frame * max(0.0, 1 - at / 10)).astype(np.uint16) for at, frame in enumerate(panned(still, 2))]
    fault = checked(fading)
    assert fault is not None
    assert fault.code == "black"
    assert checked([frame // 64 for frame in panned(still, 2)]) is None


def test_a_window_that_stands_still(still: Frame) -> None:
    """The same frame again and again is named, with dither of one level in 65536 too; with a film's grain it is not."""
    noise = np.random.default_rng(1)
    dithered = [(still[:, :160] + noise.integers(0, 2, (90, 160, 3))).astype(np.uint16) for _ in range(FRAMES)]
    for frames in ([still[:, :160]] * FRAMES, dithered):
        fault = checked(frames)
        assert fault is not None
        assert fault.code == "frozen"
    grainy = [
        np.clip(still[:, :160] + noise.normal(0, 300, (90, 160, 3)), 0, 65535).astype(np.uint16) for _ in dithered
    ]
    assert checked(grainy) is None


def test_frames_that_were_handed_on_may_stand_still(still: Frame) -> None:
    """Only what the window made by itself is judged."""
    frames = [still[:, :160]] * 9 + panned(still, 2)[:8]
    assert checked(frames, given=9) is None
    assert checked([*panned(still, 2)[:9], *([still[:, 16:176]] * 8)], given=9) is not None


def test_a_window_of_noise() -> None:
    """Frames that have nothing to do with each other are named."""
    noise = np.random.default_rng(2)
    fault = checked(noise.integers(0, 65536, (90, 160, 3)).astype(np.uint16) for _ in range(FRAMES))
    assert fault is not None
    assert fault.code == "wild"


def test_a_window_that_burns_out(still: Frame) -> None:
    """Contrast that grows until the tones are gone is named."""
    middle = 30000
    grown = [
        np.clip((frame.astype(float) - middle) * (1 + at * 4) + middle, 0, 65535).astype(np.uint16)
        for at, frame in enumerate(panned(still, 1))
    ]
    fault = checked(grown)
    assert fault is not None
    assert fault.code == "burnt"
