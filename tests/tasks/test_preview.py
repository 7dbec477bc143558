"""Claims about small pictures: which frames a preview shows, how fast, how large, and what a thumbnail is."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.errors import MediaError
from tasks.preview import (
    PREVIEW_BYTES,
    PREVIEW_RATE,
    PREVIEW_SECONDS,
    preview_frames,
    write_preview,
    write_thumbnail,
)


@given(st.integers(1, 100_000), st.fractions(min_value=1, max_value=240, max_denominator=1001))
def test_a_preview_is_short_even_and_from_the_middle(frames: int, rate: Fraction) -> None:
    """At most 48 frames of at most four seconds, evenly apart, all of the shot, as much before them as behind."""
    chosen = preview_frames(frames, rate)
    assert 1 <= len(chosen) <= PREVIEW_SECONDS * PREVIEW_RATE
    assert 0 <= chosen[0] <= chosen[-1] < frames
    steps = {after - before for before, after in pairwise(chosen)}
    assert len(steps) <= 1
    step = steps.pop() if steps else 1
    assert rate / step <= PREVIEW_RATE or len(chosen) == 1
    assert abs(chosen[0] - (frames - 1 - chosen[-1])) <= step + 1


def pictures(folder: Path, count: int, *, noise: bool) -> list[Path]:
    random = np.random.default_rng(3)
    made = []
    for index in range(count):
        frame = random.integers(0, 256, (270, 480, 3), dtype=np.uint8) if noise else np.full((270, 480, 3), 10 * index)
        path = folder / f"{index}.png"
        Image.fromarray(frame.astype(np.uint8)).save(path)
        made.append(path)
    return made


def test_a_preview_plays_at_the_shots_speed(tmp_path: Path) -> None:
    """24 frames of every second one at 23.976: 2.002 s in all, endless, each picture in its place."""
    rate = Fraction(24000, 1001)
    target = tmp_path / "preview.webp"
    write_preview(pictures(tmp_path, 24, noise=False), target, rate=rate, frames=range(0, 48, 2))
    with Image.open(target) as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((480, 270), 24, 0)  # type: ignore[attr-defined]
        lasts, seen = [], []
        for index in range(24):
            image.seek(index)
            image.load()
            lasts.append(image.info["duration"])
            seen.append(float(np.asarray(image.convert("L")).mean()))
    assert sum(lasts) == 2002
    assert np.abs(np.array(seen) - 10 * np.arange(24)).max() < 4
    assert target.stat().st_size < 50_000


def test_noise_still_fits(tmp_path: Path) -> None:
    """36 frames of pure noise: smaller and coarser, never above two megabytes; one frame is a preview too."""
    target = tmp_path / "preview.webp"
    write_preview(pictures(tmp_path, 36, noise=True), target, rate=Fraction(24), frames=range(0, 72, 2))
    assert 0 < target.stat().st_size <= PREVIEW_BYTES
    write_preview(pictures(tmp_path, 1, noise=True), target, rate=Fraction(24), frames=[0])
    with Image.open(target) as image:
        assert max(image.size) == 480


def test_a_thumbnail_is_a_small_jpeg(tmp_path: Path) -> None:
    """320 pixels on its longest side; a still that does not open is an error with its name."""
    [path] = pictures(tmp_path, 1, noise=False)
    write_thumbnail(path, tmp_path / "t.jpg")
    with Image.open(tmp_path / "t.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (320, 180))
    path.write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"0\.png does not open"):
        write_thumbnail(path, tmp_path / "t.jpg")
    with pytest.raises(MediaError, match=r"0\.png does not open"):
        write_preview([path], tmp_path / "p.webp", rate=Fraction(24), frames=[0])
