"""Colour across joins: what was put in is found and taken out, and where nothing was put in nothing is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.interface import Frame
from tasks.tone import AS_IT_IS, MOST_GAIN, Light, Tone, ToneFit, Toner

gains = st.tuples(*[st.floats(0.985, 1.015)] * 3)
offsets = st.tuples(*[st.floats(-0.004, 0.004)] * 3)


@pytest.fixture(scope="module")
def still(plate_path: Path) -> Frame:
    """The textured plate as a frame."""
    return np.asarray(Image.open(plate_path)).astype(np.uint16) * 257


def grainy(frame: Frame, seed: int, levels: float = 1.5) -> Frame:
    """With noise of so many levels of 255."""
    noise = np.random.default_rng(seed).normal(0, levels * 257, frame.shape)
    return np.clip(frame + noise, 0, 65535).astype(np.uint16)


def fitted(pairs: Sequence[tuple[Frame, Frame]]) -> Tone:
    """What brings the second of each pair to the first."""
    fit = ToneFit()
    for earlier, later in pairs:
        fit.see(earlier, later)
    return fit.tone()


@given(gain=gains, offset=offsets)
def test_what_was_put_in_is_taken_out(still: Frame, gain: tuple[float, ...], offset: tuple[float, ...]) -> None:
    """Gain and offset of a drift that shows are found to a tenth, through grain and a pixel of displacement."""
    drifted = Toner(Tone(gain, offset)).frame(still)  # type: ignore[arg-type]
    pairs = [(grainy(still, 1), grainy(np.roll(drifted, 1, axis=1), 2)), (grainy(still, 3), grainy(drifted, 4))]
    mended = Toner(fitted(pairs)).frame(drifted)
    before, after = (np.abs(shown.astype(float) - still).mean() / 257 for shown in (drifted, mended))
    assert after <= max(0.4, before / 10)


def test_no_drift_is_left_alone(still: Frame) -> None:
    """Two windows that differ by grain and by a moving thing are not touched: the frames are the same objects."""
    pairs = []
    for number in range(4):
        later = grainy(still, number)
        later[40:90, 30 + 20 * number : 80 + 20 * number] = 50000
        pairs.append((grainy(still, 10 + number), later))
    assert fitted(pairs) == AS_IT_IS
    assert Toner(AS_IT_IS).frame(still) is still


def test_a_thing_that_moved_does_not_colour_the_rest(still: Frame) -> None:
    """A fifth of the picture that is elsewhere in the later window is no reason for another gain."""
    drifted = Toner(Tone((1.012, 1.0, 0.99))).frame(still)
    drifted[:, 100:164] = 9000
    tone = fitted([(grainy(still, 1), grainy(drifted, 2))])
    assert tone.gain == pytest.approx((1 / 1.012, 1.0, 1 / 0.99), abs=0.002)


def test_frames_that_were_handed_on_say_nothing(still: Frame) -> None:
    """Context stands in both windows bit for bit; what the window made by itself after it is what counts."""
    drifted = Toner(Tone((1.01, 1.01, 1.01))).frame(still)
    assert fitted([(still, still)]) == AS_IT_IS
    assert fitted([(still, still), (still, drifted)]).gain == pytest.approx((1 / 1.01,) * 3, abs=0.001)


def test_a_join_moves_no_window_far(still: Frame) -> None:
    """A window that is a tenth brighter is another picture, not a drift: it is moved by the bound and no more."""
    tone = fitted([(still, Toner(Tone((0.9, 0.9, 0.9))).frame(still))])
    assert max(tone.gain) <= 1 + MOST_GAIN
    assert max(abs(offset) for offset in tone.offset) <= 0.01


def test_a_flat_picture_is_moved_by_an_offset() -> None:
    """One colour does not tell gain from offset; it comes back all the same."""
    flat = np.full((72, 128, 3), 30000, np.uint16)
    drifted = Toner(Tone((1.01, 1.01, 1.01))).frame(flat)
    mended = Toner(fitted([(grainy(flat, 1), grainy(drifted, 2))])).frame(drifted)
    assert np.abs(mended.astype(int) - flat).mean() < np.abs(drifted.astype(int) - flat).mean() / 5


@given(first=gains, second=gains, shift=offsets)
def test_tones_add_up(first: tuple[float, ...], second: tuple[float, ...], shift: tuple[float, ...]) -> None:
    """One tone after another is the tone of both."""
    inner, outer = Tone(first, shift), Tone(second, shift)  # type: ignore[arg-type]
    value = np.full((1, 1, 3), 30000, np.uint16)
    once = Toner(outer.after(inner)).frame(value).astype(int)
    twice = Toner(outer).frame(Toner(inner).frame(value)).astype(int)
    assert np.abs(once - twice).max() <= 2


def test_light_is_told_per_window() -> None:
    """Against the clip's first frame, by channel, in linear light."""
    light = Light(3)
    flat = np.full((16, 16, 3), 30000, np.uint16)
    for window, frame in ((0, flat), (0, flat), (1, Toner(Tone((1.1, 1.0, 0.9))).frame(flat))):
        light.see(window, frame)
    assert light.drift()[0] == [0.0, 0.0, 0.0]
    assert light.drift()[1] == pytest.approx([0.1, 0.0, -0.1], abs=0.001)
    assert light.drift()[2] is None
