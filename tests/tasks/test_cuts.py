"""Cuts: found wherever they lie, and nowhere in a shot that moves, flashes, fades or changes its light."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.interface import Frame
from tasks.cuts import AHEAD, FLASH, CutWatch, detect_cuts, thumbnail, unlikeness

WIDTH, HEIGHT = 128, 72
SHOTS = range(4)


def wide(seed: int) -> Frame:
    """A picture three frames wide, with shapes of 8 and of 32 pixels."""
    random = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, 3 * WIDTH, 3))
    for size in (8, 32):
        coarse = random.random((-(-HEIGHT // size), 3 * WIDTH // size, 3))
        total += coarse.repeat(size, axis=0).repeat(size, axis=1)[:HEIGHT]
    return (total * 30000).astype(np.uint16)


WIDE = [wide(seed) for seed in SHOTS]


def panned(shot: int, count: int, *, step: int = 1, first: int = 0) -> list[Frame]:
    """`count` frames of a camera that moves by `step` pixels a frame."""
    offsets = ((first + at) * step % (2 * WIDTH) for at in range(count))
    return [np.ascontiguousarray(WIDE[shot][:, offset : offset + WIDTH]) for offset in offsets]


def shown(shot: int | None, count: int, step: int = 1) -> list[Frame]:
    """`count` frames of a shot, or of black."""
    return [np.zeros((HEIGHT, WIDTH, 3), np.uint16)] * count if shot is None else panned(shot, count, step=step)


def lit(frame: Frame, gain: float, lift: float = 0.0) -> Frame:
    """In another light."""
    return np.clip(frame * gain + lift * 65535, 0, 65535).astype(np.uint16)


def grained(frames: Sequence[Frame], sigma: float) -> list[Frame]:
    """With noise of `sigma` of full white."""
    random = np.random.default_rng(7)
    return [np.clip(f + random.normal(0, sigma * 65535, f.shape), 0, 65535).astype(np.uint16) for f in frames]


def cuts(frames: Sequence[Frame]) -> tuple[int, ...]:
    return detect_cuts(iter(frames))


@given(before=st.integers(1, 12), after=st.integers(1, 12), step=st.integers(0, 6))
@settings(deadline=None, max_examples=25)
def test_a_cut_is_found_wherever_it_lies(before: int, after: int, step: int) -> None:
    """Between pans over different pictures, also one frame from either end."""
    assert cuts(panned(0, before, step=step) + panned(1, after, step=step)) == (before - 1,)


@pytest.mark.parametrize("apart", [1, 2, 3, 5, 9])
def test_neighbouring_cuts_are_both_found(apart: int) -> None:
    """A shot of a few frames, or of one, between two others is no flash: what comes back is another picture."""
    assert cuts(panned(0, 8) + panned(1, apart) + panned(2, 8)) == (7, 7 + apart)


@given(
    shots=st.permutations([0, 1, 2, None]),
    before=st.integers(2, 8),
    after=st.integers(2, 8),
    step=st.integers(0, 6),
)
@settings(deadline=None, max_examples=40)
def test_a_shot_of_one_frame_has_two_cuts(shots: Sequence[int | None], before: int, after: int, step: int) -> None:
    """Any three that are unlike, of which one may be black, with two frames or more on either side."""
    one, middle, other = shots[:3]
    frames = shown(one, before, step) + shown(middle, 1, step) + shown(other, after, step)
    assert cuts(frames) == (before - 1, before)


@given(
    bare=st.sampled_from([(0, 0, 0), (65535, 65535, 65535), (0, 0, 30000)]),
    before=st.integers(1, 9),
    after=st.integers(1, 9),
    step=st.integers(0, 6),
    gain=st.sampled_from([0.08, 1.0]),
    back=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_from_and_to_one_colour_is_a_cut(
    bare: tuple[int, ...], before: int, after: int, step: int, gain: float, back: bool
) -> None:
    """Black, white or blue, beside a picture however dark, where nothing leads from one to the other."""
    plain = [np.full((HEIGHT, WIDTH, 3), bare, np.uint16)] * before
    frames = plain + [lit(frame, gain) for frame in panned(0, after, step=step)]
    assert cuts(frames[::-1] if back else frames) == ((after if back else before) - 1,)


def test_black_frames_between_two_shots_are_cuts_and_within_one_a_flash() -> None:
    """What comes back behind them decides, as with any flash; so it does where black comes right behind a cut."""
    for length in (1, 2, FLASH, FLASH + 2):
        assert cuts(shown(0, 8) + shown(None, length) + shown(1, 8)) == (7, 7 + length)
        same = panned(0, 8) + shown(None, length) + panned(0, 8, first=8 + length)
        assert cuts(same) == (() if length <= FLASH else (7, 7 + length))
    assert cuts(shown(0, 8) + shown(1, 2) + shown(None, 8)) == (7, 9)


def test_a_picture_that_flashes_in_the_black_is_no_cut() -> None:
    """Black, a few frames of a picture, black again: nothing led away from the black."""
    for length in range(1, FLASH + 1):
        assert cuts(shown(None, 8) + shown(0, length) + shown(None, 8)) == ()


@pytest.mark.parametrize("gain", [0.08, 0.3])
def test_cuts_in_the_dark_are_found(gain: float) -> None:
    """However little light there is, two pictures are two pictures."""
    assert cuts([lit(frame, gain) for frame in panned(0, 8) + panned(1, 8)]) == (7,)


def test_a_cut_under_grain_and_in_a_pan_is_found() -> None:
    """What moves and what sparkles on both sides does not hide it."""
    assert cuts(grained(panned(0, 8, step=5) + panned(1, 8, step=5), 0.08)) == (7,)


@given(at=st.integers(1, 14), length=st.integers(1, FLASH), lift=st.sampled_from([0.4, 0.9, 1.0]))
@settings(deadline=None, max_examples=25)
def test_a_flash_is_no_cut(at: int, length: int, lift: float) -> None:
    """Of one to three frames, wherever it begins, burnt out or not, where the shot goes on behind it."""
    frames = panned(0, 18)
    for index in range(at, at + length):
        frames[index] = lit(frames[index], 1.0, lift)
    assert cuts(frames) == ()


@pytest.mark.parametrize("length", [1, FLASH, FLASH + 1])
def test_other_pictures_flash_too(length: int) -> None:
    """Another picture for up to three frames is a flash; for longer it is a shot."""
    frames = panned(0, 20)
    frames[8 : 8 + length] = panned(1, length)
    assert cuts(frames) == (() if length <= FLASH else (7, 7 + length))


@given(gain=st.floats(0.1, 0.95), on=st.booleans(), at=st.integers(1, 15))
@settings(deadline=None, max_examples=25)
def test_a_light_that_is_switched_is_no_cut(gain: float, on: bool, at: int) -> None:
    """The same picture in another light is the same picture, and stays so."""
    frames = panned(0, 16)
    assert cuts([lit(frame, gain if (index < at) == on else 1.0) for index, frame in enumerate(frames)]) == ()


def zoomed(count: int) -> list[Frame]:
    """A zoom by a fifth a frame."""
    made = []
    for at in range(count):
        rows = (np.arange(HEIGHT) - HEIGHT / 2) / 1.2**at + HEIGHT / 2
        columns = (np.arange(WIDTH) - WIDTH / 2) / 1.2**at + WIDTH / 2
        made.append(WIDE[0][rows.astype(int)][:, columns.astype(int)])
    return made


def dissolved(length: int) -> list[Frame]:
    """One picture into another."""
    shares = [min(1.0, max(0.0, (at - 5) / length)) for at in range(length + 10)]
    pairs = zip(panned(0, length + 10), panned(1, length + 10), shares, strict=True)
    return [np.rint(a * (1 - share) + b * share).astype(np.uint16) for a, b, share in pairs]


def faded(length: int, gamma: float = 1.0, *, shot: int = 0, count: int = 20) -> list[Frame]:
    """From six black frames to the picture."""
    return [lit(frame, min(1.0, max(0, at - 5) / length) ** gamma) for at, frame in enumerate(panned(shot, count))]


def eight_bit(frames: Sequence[Frame]) -> list[Frame]:
    """As most files hold them."""
    return [((frame >> 8) * 257).astype(np.uint16) for frame in frames]


def titled() -> list[Frame]:
    """A line of text comes and goes."""
    frames = panned(0, 18)
    for frame in frames[6:12]:
        frame[54:62, 20:-20:2] = 62000
    return frames


def passed() -> list[Frame]:
    """A dark object as wide as half the picture crosses within six frames."""
    frames = panned(0, 18)
    for at in range(6, 12):
        middle = int((at - 8.5) * 40 + WIDTH / 2)
        frames[at][:, max(0, middle - 32) : max(0, middle + 32)] = 5000
    return frames


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(lambda: panned(0, 20, step=12), id="fast pan"),
        pytest.param(
            lambda: panned(0, 6, step=0) + panned(0, 6, step=40) + panned(0, 6, step=0, first=1), id="whip pan"
        ),
        pytest.param(lambda: zoomed(7), id="fast zoom"),
        pytest.param(lambda: grained(panned(0, 12, step=0), 0.15), id="grain"),
        pytest.param(lambda: dissolved(4), id="short dissolve"),
        pytest.param(lambda: dissolved(14), id="dissolve"),
        pytest.param(lambda: [lit(f, at / 12) for at, f in enumerate(panned(0, 12))], id="fade from black"),
        pytest.param(lambda: [lit(f, 1 - at / 12, at / 12) for at, f in enumerate(panned(0, 13))], id="fade to white"),
        pytest.param(lambda: [lit(f, 0.4 + 0.6 * (at % 2)) for at, f in enumerate(panned(0, 16))], id="strobe"),
        pytest.param(lambda: [lit(f, 1 + 0.04 * (-1) ** at) for at, f in enumerate(panned(0, 16))], id="flicker"),
        pytest.param(lambda: panned(0, 6, step=0) + panned(0, 3, step=40), id="whip pan as the clip ends"),
        pytest.param(lambda: dissolved(2), id="dissolve with one frame between"),
        pytest.param(lambda: faded(2), id="fade over one frame"),
        pytest.param(lambda: faded(4)[::-1], id="fade to black within 4 frames"),
        pytest.param(lambda: faded(8, 1 / 2.4), id="fade from black, linear in light"),
        pytest.param(lambda: faded(8, 1 / 2.4)[::-1], id="fade to black, linear in light"),
        pytest.param(lambda: [*faded(3)[::-1], *faded(3, shot=1)], id="fade to black and into another"),
        pytest.param(lambda: eight_bit(grained(faded(400, count=60), 0.004)), id="fade too slow to see, in 8 bit"),
        pytest.param(lambda: [lit(f, 0.05 + 0.95 * (at > 7)) for at, f in enumerate(panned(0, 16))], id="dim light"),
        pytest.param(lambda: grained(shown(None, 12), 0.05), id="grain on black"),
        pytest.param(titled, id="title"),
        pytest.param(passed, id="object close to the lens"),
        pytest.param(lambda: panned(0, 1), id="one frame"),
        pytest.param(list, id="none"),
    ],
)
def test_what_is_no_cut(frames: Callable[[], list[Frame]]) -> None:
    """Motion, light, fades and what comes into the picture stay one shot."""
    assert cuts(frames()) == ()


@given(seed=st.integers(0, 10**6), length=st.integers(1, 20))
@settings(deadline=None, max_examples=16)
def test_a_part_of_a_clip_is_judged_as_the_whole(seed: int, length: int) -> None:
    """Any part with FLASH frames before and AHEAD behind each pair gives the same verdict: workers can share a clip."""
    random = np.random.default_rng(seed)
    frames: list[Frame] = []
    while len(frames) < length:
        shot, run = int(random.integers(len(SHOTS))), int(random.integers(1, 7))
        gain = float(random.choice([1.0, 1.0, 0.4, 0.0]))
        frames += [lit(frame, gain) for frame in panned(shot, run, step=int(random.integers(0, 20)))]
    whole = cuts(frames)
    for pair in range(len(frames) - 1):
        first = max(0, pair - FLASH)
        assert (pair - first in cuts(frames[first : pair + AHEAD + 1])) == (pair in whole)


def test_frames_pass_and_little_is_read_ahead() -> None:
    """All of them, unchanged and in order; a verdict is there once the second frame is out, never before its time."""
    frames = panned(0, 9) + panned(1, 9)
    read = 0

    def counted() -> Iterator[Frame]:
        nonlocal read
        for frame in frames:
            read += 1
            yield frame

    watch = CutWatch(counted())
    for index, frame in enumerate(watch):
        assert frame is frames[index]
        assert read == min(len(frames), index + AHEAD)
        assert watch.is_cut(index - 1) == (index == 9)
    assert index == len(frames) - 1
    assert watch.cuts == (8,)


@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 90),
    width=st.integers(1, 160),
    gain=st.floats(0.2, 1.0),
    flat=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_unlikeness_knows_no_light(seed: int, height: int, width: int, gain: float, flat: bool) -> None:
    """From 0 to 1, the same both ways, 0 with itself in any light, whatever the size, with flat halves too."""
    random = np.random.default_rng(seed)
    one, other = (random.integers(0, 65536, (height, width, 3), dtype=np.uint16) for _ in range(2))
    if flat:
        one[: height // 2] = 30000
        other[:, width // 2 :] = 200
    a, b = thumbnail(one), thumbnail(other)
    assert 0 <= unlikeness(a, b) <= 1
    assert unlikeness(a, b) == pytest.approx(unlikeness(b, a), abs=1e-4)
    assert unlikeness(a, a * np.float32(gain)) == pytest.approx(0, abs=2e-3)


def test_a_thumbnail_averages_the_frame() -> None:
    """About 64x36 whatever the size; the mean of a block, in 0 to 1."""
    for height, width in ((72, 128), (720, 1280), (1080, 1920), (360, 640), (854, 480)):
        frame = np.zeros((height, width, 3), np.uint16)
        frame[:, width // 2 :] = 65535
        made = thumbnail(frame)
        assert 36 <= made.shape[0] <= 72
        assert made.shape[1] <= 128
        assert made[:, 0].max() == 0
        assert made[:, -1].min() == 1
        assert made.mean() == pytest.approx(0.5, abs=0.03)
