"""Pictures that the engines' tests animate."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_chains import FRAMES
from tiny_engines import HEIGHT, WIDTH

from models.interface import ClipRequest


@pytest.fixture(scope="session")
def deep_plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16-bit plate of the size that is made: smooth noise, thousands of levels."""
    path = tmp_path_factory.mktemp("deep") / "noise.png"
    small = np.random.default_rng(3).integers(0, 65536, (12, 8, 3)).astype(np.uint16)
    cv2.imwrite(str(path), cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    return path


@pytest.fixture
def window(deep_plate: Path) -> ClipRequest:
    """Nine frames of a shot's first window."""
    return ClipRequest(
        plate=deep_plate,
        width=WIDTH,
        height=HEIGHT,
        first_frame=0,
        frames=9,
        shot_frames=17,
        native_rate=Fraction(16),
        seed=1,
        shot_seed=2,
        prompt="a slow move over the sea at dawn",
        negative_prompt="red noise",
    )


@pytest.fixture
def request_(window: ClipRequest) -> ClipRequest:
    """The first window of a shot of several."""
    return replace(window, frames=FRAMES, steps=2, shot_frames=64)
