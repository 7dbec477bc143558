"""RIFE through torch: the same frames as ncnn makes of the same weights, in 16 bits, whoever shares the work."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ncnn_models import write_network, write_zero_flow

from models.ifnet import ARCHITECTURES, Network
from models.interface import (
    BadPicture,
    DeviceLost,
    EngineError,
    EngineUnavailable,
    Frame,
    FrameInterpolator,
    OutOfMemory,
    Shareable,
)
from models.retimers import Tta, Uhd
from models.rife import RifeNcnn, from_eight, to_eight
from models.rife_convert import convert_ncnn
from models.rife_torch import RifeTorch

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

PHASES = (Fraction(1, 15), Fraction(1, 2), Fraction(14, 15))
SIZES = ((854, 40), (720, 33), (1080, 24), (270, 65), (64, 64), (5, 3))
NAMES = pytest.mark.parametrize("name", ARCHITECTURES)
LEVEL = 65535 / 255


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder: RIFE 4.6 and 4.25 with random weights, in both forms, and 4.6 with none, as rife-zero."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ARCHITECTURES:
        convert_ncnn(write_network(folder / f"rife-v{name}", name) / "flownet.param", weights=folder)
    (folder / "rife-zero").mkdir()
    convert_ncnn(write_zero_flow(folder / "zero") / "flownet.param", folder / "rife-zero" / "flownet.safetensors")
    return folder


def file(weights: Path, name: str) -> Path:
    """Where the weights lie that torch reads."""
    return weights / f"rife-{name}" / "flownet.safetensors"


def picture(width: int, height: int, seed: int) -> Frame:
    """Smooth, colourful, 16 bits deep."""
    small = np.random.default_rng(seed).integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    return np.ascontiguousarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def made(engine: FrameInterpolator, first: Frame, second: Frame, phases: Any = PHASES) -> list[Frame]:
    """All frames."""
    return list(engine.between(first, second, phases))


def distance(ncnn: RifeNcnn, engine: RifeTorch, width: int, height: int) -> float:
    """The greatest difference between both engines' frames, in levels of 255."""
    first, second = (from_eight(to_eight(picture(width, height, seed))) for seed in (1, 2))
    pairs = zip(made(ncnn, first, second), made(engine, first, second), strict=True)
    return max(float(np.abs(one.astype(float) - other).max()) for one, other in pairs) / LEVEL


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
@NAMES
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_torch_makes_what_ncnn_makes(weights: Path, name: str, size: tuple[int, int]) -> None:
    """The same weights, the same frames: 1.5 levels of 255 are promised, half a level is ncnn's own rounding."""
    assert distance(RifeNcnn(weights / f"rife-v{name}", threads=1), RifeTorch(file(weights, name)), *size) <= 0.75


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
@NAMES
@pytest.mark.parametrize(
    "how", [{"uhd": Uhd.ON}, {"tta": Tta.TEMPORAL}, {"tta": Tta.SPATIAL}], ids=["uhd", "temporal", "spatial"]
)
def test_torch_makes_what_ncnn_makes_of_more(weights: Path, name: str, how: dict[str, Any]) -> None:
    """Augmentation and motion at half size mean the same in both engines."""
    ncnn, engine = RifeNcnn(weights / f"rife-v{name}", threads=1, **how), RifeTorch(file(weights, name), **how)
    assert distance(ncnn, engine, 90, 65) <= 0.75


def _masks_summed(network: Any) -> None:
    network.architecture = _changed(network.architecture, mask_summed=not network.architecture.mask_summed)


def _scales_swapped(network: Any) -> None:
    *rest, last = network.architecture.scales
    network.architecture = _changed(network.architecture, scales=(rest[0], *rest[:-1], last))


def _frames_swapped(network: Any) -> None:
    between = network.between
    network.between = lambda one, other, times, **how: between(other, one, times, **how)


def _factors_forgotten(network: Any) -> None:
    network._weights["block0.convblock.3.conv.weight"] /= 0.4


def _changed(architecture: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(architecture, **changes)


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
@NAMES
@pytest.mark.parametrize("mistake", [_masks_summed, _scales_swapped, _frames_swapped, _factors_forgotten])
def test_the_comparison_finds_mistakes(weights: Path, name: str, mistake: Callable[[Any], None]) -> None:
    """A network with a mistake in it is far from ncnn's: the test above means something."""
    engine = RifeTorch(file(weights, name))
    mistake(engine._network)
    assert distance(RifeNcnn(weights / f"rife-v{name}", threads=1), engine, 90, 50) > 1.5


def test_it_has_no_eight_bit_step(weights: Path) -> None:
    """A ramp through all 10-bit levels keeps them, to the last of 16 bits; halfway between two it is in the middle."""
    levels = np.arange(1024).repeat(2).astype(np.uint16)
    ramp = np.ascontiguousarray(np.broadcast_to((levels * 64)[None, :, None], (8, 2048, 3)))
    [between] = made(RifeTorch(file(weights, "zero")), ramp, ramp + np.uint16(6), PHASES[:1])
    assert np.array_equal(between, ramp + np.uint16(3))
    assert len(np.unique(between >> 6)) == 1024


@NAMES
@pytest.mark.parametrize("size", [(270, 65), (5, 3), (1, 1)], ids=str)
def test_any_size_is_made(weights: Path, name: str, size: tuple[int, int]) -> None:
    """As large as the pair, contiguous, 16 bits; the pair itself is not touched."""
    first, second = picture(*size, 1), picture(*size, 2)
    kept = first.copy(), second.copy()
    frames = made(RifeTorch(file(weights, name)), first, second)
    assert len(frames) == len(PHASES)
    assert all(frame.shape == first.shape and frame.dtype == np.uint16 for frame in frames)
    assert all(frame.flags.c_contiguous and frame.flags.writeable for frame in frames)
    assert np.array_equal(first, kept[0])
    assert np.array_equal(second, kept[1])


@NAMES
def test_a_clip_is_encoded_once(weights: Path, name: str) -> None:
    """Each source frame meets the encoder one time, though it belongs to two pairs; an array written over is new."""
    engine = RifeTorch(file(weights, name))
    encode, calls = engine._network.encode, []
    engine._network.encode = lambda image: calls.append(image) or encode(image)  # type: ignore[method-assign]
    clip = [picture(70, 50, seed) for seed in range(5)]
    frames = [made(engine, *pair) for pair in pairwise(clip)]
    assert len(calls) == len(clip)
    clip[-1][:] = clip[0]
    again = made(engine, clip[-1], clip[1])
    assert len(calls) == len(clip) + 2  # both are seen anew: the first was changed, the second was long ago
    assert all(np.array_equal(one, two) for one, two in zip(again, frames[0], strict=True))


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads torch uses, as another program would; left as it was."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@NAMES
def test_threads_change_no_bit(weights: Path, name: str, torch_threads: Callable[[int], None]) -> None:
    """One, two or five threads, phases together or singly, here or as another program opens it: the same bits."""
    first, second = picture(320, 180, 1), picture(320, 180, 2)  # at which sharing a convolution changes bits
    torch_threads(1)
    engine = RifeTorch(file(weights, name), threads=1)
    expected = made(engine, first, second)
    assert isinstance(engine, Shareable)
    opener = engine.opener(2)
    assert opener is not None
    for open_other, threads in (
        (pickle.loads(pickle.dumps(opener)), 2),
        (lambda: RifeTorch(file(weights, name), threads=5), 3),
    ):
        torch_threads(threads)
        other = open_other()
        assert other.spec == engine.spec
        singly = [made(other, first, second, [phase])[0] for phase in PHASES]
        for found in (made(other, first, second), singly):
            assert all(np.array_equal(one, two) for one, two in zip(found, expected, strict=True))
        # torch computes elsewhere as it did
        assert torch.get_num_threads() == threads
        assert ThreadPoolExecutor(1).submit(torch.get_num_threads).result() == threads


def test_equal_frames_are_copied(weights: Path) -> None:
    """In all 16 bits, without the network."""
    engine = RifeTorch(file(weights, "4.6"))
    frame = picture(40, 100, 1)
    copies = made(engine, frame, frame.copy())
    assert all(np.array_equal(copy, frame) and copy is not frame for copy in copies)
    assert not engine._seen
    changed = frame.copy()
    changed[-1, -1, -1] ^= 1
    assert not np.array_equal(made(engine, frame, changed)[0], frame)


@NAMES
def test_temporal_augmentation_is_the_mean_of_both_directions(weights: Path, name: str) -> None:
    """And therefore the same frames come when the pair is swapped."""
    first, second = picture(130, 70, 1), picture(130, 70, 2)
    plain, both = RifeTorch(file(weights, name)), RifeTorch(file(weights, name), tta=Tta.TEMPORAL)
    phase, rest = Fraction(1, 4), Fraction(3, 4)
    [forth], [back] = made(plain, first, second, [phase]), made(plain, second, first, [rest])
    [mean], [swapped] = made(both, first, second, [phase]), made(both, second, first, [rest])
    assert np.abs(mean - (forth / 2 + back / 2)).max() <= 1
    assert np.abs(mean.astype(int) - swapped).max() <= 1
    assert np.abs(mean.astype(int) - forth).mean() > 100


@NAMES
def test_spatial_augmentation_is_the_mean_of_eight_views(weights: Path, name: str) -> None:
    """A mirrored or turned pair gives mirrored or turned frames."""
    first, second = picture(128, 64, 1), picture(128, 64, 2)
    engine = RifeTorch(file(weights, name), tta=Tta.SPATIAL)
    [expected] = made(engine, first, second, PHASES[:1])
    for turn in (np.fliplr, np.flipud, np.rot90):
        [found] = made(engine, *(np.ascontiguousarray(turn(frame)) for frame in (first, second)), PHASES[:1])
        assert np.abs(found.astype(int) - turn(expected)).max() <= 64
    [plain] = made(RifeTorch(file(weights, name)), first, second, PHASES[:1])
    assert np.abs(plain.astype(int) - expected).mean() > 100


def test_uhd_is_for_large_frames(weights: Path) -> None:
    """AUTO leaves small frames alone; ON changes them, and extends to twice the multiple."""
    first, second = picture(100, 70, 1), picture(100, 70, 2)
    frames = {uhd: made(RifeTorch(file(weights, "4.25"), uhd=uhd), first, second)[0] for uhd in Uhd}
    assert np.array_equal(frames[Uhd.AUTO], frames[Uhd.OFF])
    assert np.abs(frames[Uhd.ON].astype(int) - frames[Uhd.OFF]).mean() > 100


def test_what_changes_pixels_is_in_the_version(weights: Path) -> None:
    """Precision, augmentation, UHD and the device's kind; threads are not."""
    path = file(weights, "4.6")
    versions = [
        RifeTorch(path, **how).spec.version
        for how in ({}, {"precision": "bfloat16"}, {"tta": Tta.TEMPORAL}, {"tta": Tta.BOTH}, {"uhd": Uhd.ON})
    ]
    assert len(set(versions)) == len(versions)
    spec = RifeTorch(path, threads=1).spec
    assert spec == RifeTorch(path, threads=2).spec
    assert (spec.engine, spec.model, len(spec.sha256)) == ("rife-torch", "rife-4.6", 64)


@pytest.mark.parametrize(("precision", "most"), [("float16", 0.5), ("bfloat16", 3)])
@NAMES
def test_less_precision_is_near(weights: Path, name: str, precision: str, most: float) -> None:
    """Convolutions in 16 bits: root mean square to 32 bits below half a level of 255, with bfloat16 below three."""
    first, second = picture(160, 96, 1), picture(160, 96, 2)
    path = file(weights, name)
    pairs = zip(made(RifeTorch(path, precision=precision), first, second), made(RifeTorch(path), first, second))  # noqa: B905
    assert all(np.sqrt(np.mean((one.astype(float) - other) ** 2)) / LEVEL < most for one, other in pairs)


def test_values_that_are_no_colours_are_no_frame(weights: Path, tmp_path: Path) -> None:
    """A network that breaks in a few pixels raises BadPicture instead of making black ones."""
    from safetensors.torch import load_file, save_file

    found = load_file(file(weights, "4.6"))
    found["block3.lastconv.0.bias"][16] = torch.nan  # the mask of every fourth pixel
    save_file(found, tmp_path / "broken.safetensors")
    with pytest.raises(BadPicture, match="broken made values that are no colours"):
        made(RifeTorch(tmp_path / "broken.safetensors"), picture(40, 40, 1), picture(40, 40, 2))


def test_published_names_are_understood(weights: Path, tmp_path: Path) -> None:
    """With `module.` before all of them and leftovers of the training between them: the same frames."""
    from safetensors.torch import load_file, save_file

    found = {f"module.{name}": tensor for name, tensor in load_file(file(weights, "4.25")).items()}
    found |= {"module.teacher.conv0.weight": torch.ones(3), "module.caltime.0.bias": torch.ones(1)}
    save_file(found, tmp_path / "as-published.safetensors")
    first, second = picture(40, 40, 1), picture(40, 40, 2)
    one = made(RifeTorch(tmp_path / "as-published.safetensors"), first, second)
    other = made(RifeTorch(file(weights, "4.25")), first, second)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_cannot_be_opened_is_said(weights: Path, tmp_path: Path) -> None:
    """Nothing there, another version than its folder's, a network unknown, a device or a precision that is none."""
    with pytest.raises(EngineUnavailable, match=r"weights pull rife-4\.25"):
        RifeTorch(tmp_path / "flownet.safetensors")
    wrong = tmp_path / "rife-4.25" / "flownet.safetensors"
    wrong.parent.mkdir()
    wrong.write_bytes(file(weights, "4.6").read_bytes())
    with pytest.raises(EngineUnavailable, match=r"network of RIFE 4\.6, and rife-4\.25 has that of 4\.25"):
        RifeTorch(wrong)
    wrong.write_bytes(wrong.read_bytes()[:-4])
    with pytest.raises(EngineUnavailable, match="safetensors"):
        RifeTorch(wrong)
    for device in ("vulkan:0", "cuda:x", "gpu"):
        with pytest.raises(EngineUnavailable, match="no device"):
            RifeTorch(file(weights, "4.6"), device=device)
    if not torch.cuda.is_available():
        with pytest.raises(EngineUnavailable, match="0 CUDA devices"):
            RifeTorch(file(weights, "4.6"), device="cuda:0")
    with pytest.raises(EngineUnavailable, match="float32, float16, bfloat16"):
        RifeTorch(file(weights, "4.6"), precision="int8")


def test_a_missing_tensor_names_the_nearest_architecture(weights: Path, tmp_path: Path) -> None:
    """And the tensor."""
    from safetensors.torch import load_file, save_file

    found = load_file(file(weights, "4.25"))
    del found["block4.lastconv.0.bias"]
    save_file(found, tmp_path / "a.safetensors")
    with pytest.raises(EngineUnavailable, match=r"nearest is 4\.25, but block4\.lastconv\.0\.bias is missing"):
        RifeTorch(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError(), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), OutOfMemory),
        (RuntimeError("something else"), EngineError),
    ],
)
def test_what_torch_raises_becomes_an_engine_error(
    weights: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[EngineError]
) -> None:
    """From a worker's thread, with the size that was asked for; the next pair is made."""

    def fail(*_: Any, **__: Any) -> None:
        raise raised

    engine = RifeTorch(file(weights, "4.6"))
    first, second = picture(40, 30, 1), picture(40, 30, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Network, "between", fail)
        with pytest.raises(EngineError, match="40x30") as caught:
            made(engine, first, second)
    assert type(caught.value) is expected
    assert not isinstance(caught.value, DeviceLost)
    assert len(made(engine, first, second)) == len(PHASES)


def test_frames_may_be_read_only_or_strided(weights: Path) -> None:
    """As numpy gives them: views of files or of larger pictures."""
    engine = RifeTorch(file(weights, "4.6"))
    large = picture(80, 60, 1)
    view, second = large[10:50, 10:70], picture(60, 40, 2)
    frozen = np.frombuffer(view.tobytes(), np.uint16).reshape(view.shape)
    one, other = made(engine, view, second), made(engine, frozen, second)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
