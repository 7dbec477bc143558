"""What every FrameInterpolator promises, and what each of them promises beyond that."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from ncnn_models import write_network

from models.flow import FlowInterpolator
from models.interface import EngineError, Frame, FrameInterpolator
from models.retimers import Tta, Uhd
from models.rife import RifeNcnn
from models.rife_convert import convert_ncnn
from models.rife_torch import RifeTorch

PHASES = (Fraction(1, 15), Fraction(1, 2), Fraction(14, 15))
ENGINES = (
    "flow",
    "rife-torch",
    pytest.param("rife-linear", marks=pytest.mark.rife),
    pytest.param("rife-zero-flow", marks=pytest.mark.rife),
    pytest.param("rife-averaged", marks=pytest.mark.rife),
    pytest.param("rife-vulkan", marks=pytest.mark.rife),
)


def noise(width: int, height: int, seed: int) -> Frame:
    """Any value anywhere."""
    return np.random.default_rng(seed).integers(0, 65536, (height, width, 3), dtype=np.uint16)


def waves(x: float, y: float, *, width: int = 160, height: int = 96) -> Frame:
    """A texture of 40 sine waves seen from (x, y) in pixels: exact at every sub-pixel position."""
    random = np.random.default_rng(11)
    columns, rows = np.arange(width) + x, np.arange(height)[:, None] + y
    picture = np.zeros((height, width, 3))
    for _ in range(40):
        length, angle = random.uniform(6, 80), random.uniform(0, np.pi)
        across, down = np.cos(angle) * 2 * np.pi / length, np.sin(angle) * 2 * np.pi / length
        wave = np.sin(columns * across + rows * down + random.uniform(0, 2 * np.pi))
        picture += wave[:, :, None] * random.uniform(0.3, 1, 3) * np.sqrt(length)
    return np.rint(32768 + picture * (30000 / np.abs(picture).max())).astype(np.uint16)


def psnr(one: Frame, other: Frame) -> float:
    """In dB against 65535."""
    return float(10 * np.log10(65535**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.fixture(scope="session")
def torch_rife(tmp_path_factory: pytest.TempPathFactory) -> FrameInterpolator:
    """RIFE 4.25 through torch on the processor, with random weights."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    weights = tmp_path_factory.mktemp("torch")
    param = write_network(weights / "rife-v4.25", "4.25") / "flownet.param"
    return RifeTorch(convert_ncnn(param, weights=weights).path)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> FrameInterpolator:
    """Every interpolator in turn."""
    if request.param == "flow":
        return FlowInterpolator()
    if request.param == "rife-torch":
        return request.getfixturevalue("torch_rife")
    request.getfixturevalue("rife_runs")
    linear = request.getfixturevalue("linear_model")
    if request.param == "rife-vulkan":
        return RifeNcnn(linear, gpu=request.getfixturevalue("vulkan_device"))
    if request.param == "rife-averaged":
        return RifeNcnn(linear, threads=1, tta=Tta.BOTH, uhd=Uhd.ON)
    return RifeNcnn(linear if request.param == "rife-linear" else request.getfixturevalue("zero_flow_model"), threads=2)


def test_one_frame_comes_per_phase(engine: FrameInterpolator) -> None:
    """As many frames as phases, of the pair's shape, 16-bit, contiguous; the pair itself is not touched."""
    first, second = noise(70, 50, 1), noise(70, 50, 2)
    kept = first.copy(), second.copy()
    made = list(engine.between(first, second, PHASES))
    assert len(made) == len(PHASES)
    assert all(frame.shape == first.shape and frame.dtype == np.uint16 for frame in made)
    assert all(frame.flags.c_contiguous for frame in made)
    assert np.array_equal(first, kept[0])
    assert np.array_equal(second, kept[1])
    assert list(engine.between(first, second, ())) == []


def test_the_same_pair_gives_the_same_frames(engine: FrameInterpolator) -> None:
    """Bit for bit: called again, and with the phases one at a time."""
    first, second = waves(0, 0), waves(3, 1)
    together = list(engine.between(first, second, PHASES))
    again = list(engine.between(first, second, PHASES))
    singly = [next(iter(engine.between(first, second, [phase]))) for phase in PHASES]
    for one, two, three in zip(together, again, singly, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)


def test_equal_frames_are_copied(engine: FrameInterpolator) -> None:
    """Between a frame and itself lies that frame, in all 16 bits."""
    frame = noise(40, 40, 3)
    for made in engine.between(frame, frame.copy(), PHASES):
        assert np.array_equal(made, frame)


def test_frames_of_two_sizes_are_refused(engine: FrameInterpolator) -> None:
    """There is nothing between 40x40 and 40x41."""
    with pytest.raises(EngineError, match="40, 40"):
        next(iter(engine.between(noise(40, 40, 1), noise(41, 40, 1), PHASES)))


def test_the_spec_tells_pixels_apart(engine: FrameInterpolator) -> None:
    """Engine and version are named; weights have a digest, and no weights have none."""
    spec = engine.spec
    assert spec.engine in ("flow", "rife-ncnn", "rife-torch")
    assert spec.version
    assert (len(spec.sha256) == 64) == bool(spec.model)


@pytest.mark.parametrize("shift", [(0.3, 0.1), (2.5, -1.25), (7.75, 3.5)])
def test_flow_finds_sub_pixel_motion(shift: tuple[float, float]) -> None:
    """To the frame's border: 40 dB against the exact picture, and 60 or 10 more than a blend, whichever is less."""
    x, y = shift
    first, second = waves(0, 0), waves(x, y)
    phases = [Fraction(1, 4), Fraction(1, 2)]
    for phase, made in zip(phases, FlowInterpolator().between(first, second, phases), strict=True):
        t = float(phase)
        truth = waves(x * t, y * t)
        blend = np.rint(first * (1 - t) + second * t).astype(np.uint16)
        assert psnr(made, truth) > max(40, min(60, psnr(blend, truth) + 10))


def test_flow_has_no_eight_bit_step() -> None:
    """Pixels keep 16 bits: what is made is not a multiple of 257, and a ramp keeps its levels."""
    ramp = np.repeat(np.linspace(20000, 21000, 128, dtype=np.uint16)[None, :, None], 96, axis=0).repeat(3, axis=2)
    made = next(iter(FlowInterpolator().between(ramp, ramp + 6, [Fraction(1, 2)])))
    assert np.abs(made.astype(int) - ramp - 3).max() <= 1
    assert len(np.unique(made)) > 100


@pytest.mark.parametrize("size", [(1, 1), (9, 2), (100, 8), (15, 15), (640, 17), (20, 600)])
def test_flow_takes_any_size(size: tuple[int, int]) -> None:
    """Frames too small for a pyramid, on which OpenCV's flow fails or crashes, are made too."""
    first, second = noise(*size, 1), noise(*size, 2)
    assert next(iter(FlowInterpolator().between(first, second, [Fraction(1, 3)]))).shape == first.shape


def test_flow_does_not_depend_on_threads() -> None:
    """One thread or three: the same bits."""
    before = cv2.getNumThreads()
    made = []
    try:
        for count in (1, 3):
            cv2.setNumThreads(count)
            made.append(next(iter(FlowInterpolator().between(noise(333, 200, 1), noise(333, 200, 2), PHASES[:1]))))
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(*made)
