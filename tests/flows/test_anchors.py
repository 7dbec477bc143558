"""Anchors through the command line: the stills of a long shot are seen where the plan says, without a jump."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from rendering import House

from tasks.frames import read_frames

WIDTH, HEIGHT = 320, 180


@pytest.fixture
def stills(house: House) -> tuple[Path, Path]:
    """Two smooth plates that nobody takes for one another."""
    made = []
    for name, seed in (("one", 1), ("other", 2)):
        noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(12))
        stretched = np.interp(np.asarray(picture), (105, 150), (0, 255)).astype(np.uint8)
        made.append(house.plate.parent / f"{name}-anchor.png")
        Image.fromarray(stretched).save(made[-1])
    return made[0], made[1]


@pytest.mark.parametrize("camera", ["still", "push in"])
def test_an_anchor_is_seen_where_the_plan_says(
    house: House, stills: tuple[Path, Path], camera: str, ffmpeg: str
) -> None:
    """The preview of a first-and-last-frame model shows each still as its camera sees it, and goes on from there."""
    one, other = stills
    house.submit(
        {
            "shot": "SH0010",
            "plate": str(one),
            "model": "wan2.1-vace-1.3b",
            "prompt": "a change of light",
            "camera": camera,
            "frames": "160",
            "fps": "16",
            "resolution": f"{WIDTH}x{HEIGHT}",
            "anchors": f"4s={other}",
            "deliveries": "h264",
        }
    )
    [report] = house.json("render", DAILIES_ENGINE="animatic")["shots"]
    assert report["findings"] == [], "a dissolve that was asked for is no seam"
    manifest = json.loads(Path(report["manifest"]).read_text())
    [arrival] = [window["arrives"] for window in manifest["plan"]["windows"] if window["arrives"]]
    at = arrival["native_frame"]
    [clip] = house.home.glob("work/**/joined.mkv")
    frames = list(read_frames(clip, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT))
    before, goal = (np.asarray(Image.open(still)).astype(float) * 257 for still in stills)
    if camera == "still":
        assert np.abs(frames[at] - goal).mean() / 257 < 0.5  # 12 bits on disk
        assert np.abs(frames[0] - before).mean() / 257 < 0.5
        assert np.abs(frames[-1] - goal).mean() / 257 < 0.5
    apart = np.abs(before - goal).mean()
    steps = [np.abs(a.astype(float) - b).mean() for a, b in itertools.pairwise(frames)]
    assert max(steps) < apart / 4, "somewhere it jumps"
    assert max(steps[at : at + 8]) < apart / 40, "the still is left at once"
