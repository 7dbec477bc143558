"""From window to window: a morph where things stand elsewhere, a fade where motion cannot be found, bits where not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.flow import FlowInterpolator
from models.interface import DeviceLost, EngineError, Frame
from tasks.dissolve import JUDGED, Pair, Way, blended, choose, fade, middle
from tasks.windows import dissolve_weights

OVERLAP = 6


def seen(still: Frame, x: float, y: float = 0.0, *, gain: float = 1.0) -> Frame:
    """256x128 of a still, exactly so many pixels from its corner."""
    by = np.array([[1, 0, -(x + 12)], [0, 1, -(y + 12)]], np.float32)
    picture = cv2.warpAffine(still.astype(np.float32), by, (256, 128), flags=cv2.INTER_CUBIC)
    return np.clip(np.rint(picture * gain), 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def still(plate_path: Path) -> Frame:
    """The textured plate as a frame."""
    return np.asarray(Image.open(plate_path)).astype(np.uint16) * 257


def panned(still: Frame, off: tuple[float, float]) -> tuple[list[Pair], list[Frame]]:
    """The overlap of a pan whose later window is displaced and two per cent lighter; and as it should become."""
    pairs, truth = [], []
    for at, weight in enumerate(dissolve_weights(OVERLAP)):
        w = float(weight)
        pairs.append((seen(still, 2.0 * at), seen(still, 2.0 * at + off[0], off[1], gain=1.02), weight))
        truth.append(seen(still, 2.0 * at + off[0] * w, off[1] * w, gain=1 + 0.02 * w))
    return pairs, truth


def error(frames: Sequence[Frame], truth: Sequence[Frame]) -> float:
    """Mean difference in 1/255."""
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in zip(frames, truth, strict=True)])) / 257


@pytest.mark.parametrize("off", [(1.0, 0.5), (3.0, -2.0), (-2.5, 3.0)])
def test_a_morph_beats_a_fade_and_a_cut(still: Frame, off: tuple[float, float]) -> None:
    """Of windows up to three pixels apart: half a hard cut's error at most, seven tenths of a fade's; it is chosen."""
    pairs, truth = panned(still, off)
    flow = FlowInterpolator()
    found = choose({at: pairs[at] for at in middle(OVERLAP)}, interpolator=flow)
    assert found.way is Way.MORPH
    assert found.blurred["morph"] < found.blurred["fade"]
    frames = [blended(pair, way=found.way, interpolator=flow) for pair in pairs]
    assert list(found.morphs) == list(middle(OVERLAP))
    assert all(np.array_equal(frame, frames[number]) for number, frame in found.morphs.items())
    made = error(frames, truth)
    cut = error([pair[0] if pair[2] < Fraction(1, 2) else pair[1] for pair in pairs], truth)
    assert made < 0.5 * cut
    assert made < 0.7 * error([fade(*pair) for pair in pairs], truth)


def test_windows_that_agree_keep_their_bits(still: Frame) -> None:
    """Equal frames come out as they went in, whatever the way; grain is weighted, not moved."""
    frame = seen(still, 0)
    pair = (frame, frame, Fraction(1, 3))
    assert choose({0: pair}, interpolator=Broken()).way is Way.SAME  # type: ignore[arg-type]
    for way in Way:
        assert np.array_equal(blended(pair, way=way, interpolator=Broken()), frame)
    grain = np.random.default_rng(1).normal(0, 60, frame.shape)
    other = np.clip(frame + grain, 0, 65535).astype(np.uint16)
    assert choose({0: (frame, other, Fraction(1, 2))}, interpolator=Broken()).way is Way.SAME  # type: ignore[arg-type]


def test_a_morph_that_tears_is_not_taken(still: Frame) -> None:
    """An interpolator that finds no motion and makes noise of it costs more detail than a fade does."""
    pairs, _ = panned(still, (1.0, 0.5))
    found = choose({at: pairs[at] for at in middle(OVERLAP)}, interpolator=Torn())  # type: ignore[arg-type]
    assert found.way is Way.FADE
    assert found.blurred["fade"] < found.blurred["morph"]


class Torn:
    """An interpolator that makes noise."""

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """One frame of noise for each phase."""
        random = np.random.default_rng(5)
        for _ in phases:
            yield random.integers(0, 65535, first.shape).astype(np.uint16)


class Broken:
    """An interpolator that died."""

    @property
    def spec(self) -> None:  # type: ignore[override]
        """None."""

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Raises EngineError."""
        raise EngineError("gone")


def test_an_interpolator_that_gives_up_costs_no_shot(still: Frame) -> None:
    """What cannot be morphed is faded."""
    pair = (seen(still, 0), seen(still, 5), Fraction(1, 2))
    found = choose({0: pair}, interpolator=Broken())  # type: ignore[arg-type]
    assert found.way is Way.FADE
    assert set(found.blurred) == {"fade"}
    assert found.failed == "gone"
    made = blended(pair, way=Way.MORPH, interpolator=Broken())  # type: ignore[arg-type]
    assert np.array_equal(made, fade(*pair))


class Lost(Broken):
    """An interpolator whose device went away."""

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Raises DeviceLost."""
        raise DeviceLost("vulkan:0 is gone")


def test_a_lost_device_is_not_faded_over(still: Frame) -> None:
    """What was to be morphed would be kept as such; whoever joins hears of it."""
    pair = (seen(still, 0), seen(still, 5), Fraction(1, 2))
    with pytest.raises(DeviceLost):
        choose({0: pair}, interpolator=Lost())  # type: ignore[arg-type]
    with pytest.raises(DeviceLost):
        blended(pair, way=Way.MORPH, interpolator=Lost())  # type: ignore[arg-type]


@given(overlap=st.integers(0, 40))
def test_a_way_is_judged_in_the_middle(overlap: int) -> None:
    """By at most so many frames, all of them in the overlap, as far from its ends on one side as on the other."""
    found = middle(overlap)
    assert len(found) == min(JUDGED, overlap)
    assert all(0 <= number < overlap for number in found)
    assert not overlap or abs(found.start - (overlap - found.stop)) <= 1
