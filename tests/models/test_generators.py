"""The contract of every ImageToVideo: one set of claims that each engine must pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_engines import tinywan

from models.animatic import Animatic
from models.interface import ClipRequest, EngineError, Frame, ImageToVideo

ENGINES: list[Callable[[], ImageToVideo]] = [Animatic, tinywan]
WIDTH, HEIGHT = 128, 96


@pytest.fixture(params=ENGINES, ids=lambda make: make.__name__.lower())
def engine(request: pytest.FixtureRequest) -> ImageToVideo:
    made: ImageToVideo = request.param()
    return made


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plates") / "noise.png"
    small = np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (256, 192), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
def request_(plate: Path) -> ClipRequest:
    return ClipRequest(
        plate=plate,
        width=WIDTH,
        height=HEIGHT,
        first_frame=0,
        frames=9,
        shot_frames=17,
        native_rate=Fraction(16),
        seed=1,
        shot_seed=2,
        prompt="a slow move over grey noise, even light",
    )


def made(engine: ImageToVideo, request: ClipRequest, context: list[Frame] | None = None) -> list[Frame]:
    return list(engine.generate(request, context or []))


def test_it_says_what_it_is(engine: ImageToVideo) -> None:
    """Name and version stand in content keys: neither is empty."""
    assert engine.name
    assert engine.version


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_it_yields_exactly_the_frames_asked_for(engine: ImageToVideo, request_: ClipRequest, frames: int) -> None:
    """Count, shape, type and layout are those of the interface."""
    frames_made = made(engine, replace(request_, frames=frames))
    assert len(frames_made) == frames
    for frame in frames_made:
        assert (frame.shape, frame.dtype) == ((HEIGHT, WIDTH, 3), np.uint16)
        assert frame.flags.c_contiguous


def test_a_picture_comes_out(engine: ImageToVideo, request_: ClipRequest) -> None:
    """No frame is flat: a black or even frame is a fault that engines otherwise report as success."""
    assert all(frame.std() > 1000 for frame in made(engine, request_))


def test_frames_are_the_callers_own(engine: ImageToVideo, request_: ClipRequest) -> None:
    """Painting over a frame changes neither the frames after it nor the context."""
    context = made(engine, replace(request_, frames=5))[:2]
    kept = [frame.copy() for frame in context]
    expected = made(engine, request_, context)
    for frame, wanted in zip(engine.generate(request_, context), expected, strict=True):
        assert np.array_equal(frame, wanted)
        frame[:] = 0
    assert all(np.array_equal(frame, its) for frame, its in zip(context, kept, strict=True))


def test_the_same_request_gives_the_same_pixels(engine: ImageToVideo, request_: ClipRequest) -> None:
    """Two runs agree bit for bit, also on one engine object used twice."""
    first, second = made(engine, request_), made(engine, request_)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("count", [1, 8])
def test_context_is_continued(engine: ImageToVideo, request_: ClipRequest, count: int) -> None:
    """The first frames are the context, and the count includes them."""
    context = made(engine, request_)[-count:]
    frames = made(engine, replace(request_, first_frame=9 - count), context)
    assert len(frames) == 9
    assert all(np.array_equal(frame, its) for frame, its in zip(frames, context, strict=False))


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        ({"frames": 0}, None),
        ({"frames": -3}, None),
        ({"width": 0}, None),
        ({"plate": None}, None),
        ({"plate": Path("nowhere.png")}, None),
        ({"frames": 1}, (HEIGHT, WIDTH, 3)),
        ({}, (HEIGHT, WIDTH + 2, 3)),
        ({}, (HEIGHT, WIDTH)),
    ],
    ids=["none", "negative", "no width", "no plate", "missing", "long context", "wide context", "grey context"],
)
def test_a_request_that_cannot_be_met_is_refused_at_once(
    engine: ImageToVideo, request_: ClipRequest, change: dict[str, object], shape: tuple[int, ...] | None
) -> None:
    """The error comes from generate() itself, before any frame could have been written."""
    context = [np.zeros(shape, np.uint16)] * 2 if shape else []
    with pytest.raises(EngineError, match=r".{20}"):
        engine.generate(replace(request_, **change), context)  # type: ignore[arg-type]
