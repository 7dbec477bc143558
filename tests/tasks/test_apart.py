"""An interpolator in a process of its own: what it makes, and what its death means."""

from __future__ import annotations

import gc
import threading
import time
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_engines import MARK, Shared

from models.flow import FlowInterpolator
from models.interface import DeviceLost, EngineError, Frame, OutOfMemory
from models.retimers import parse_wish
from models.rife import RifeNcnn
from tasks import retimers
from tasks.apart import MOST, Apart, room_for
from tasks.sharing import BUDGET

PHASES = [Fraction(1, 15), Fraction(1, 2), Fraction(14, 15)]


def noise(width: int, height: int, seed: int) -> Frame:
    """Any value anywhere."""
    return np.random.default_rng(seed).integers(0, 65536, (height, width, 3), dtype=np.uint16)


def processes(folder: Path) -> list[Path]:
    """Of those that opened an engine and left their id in a folder, the ones that run."""
    return [found for file in folder.iterdir() if (found := Path("/proc") / file.name).exists()]


def ended(path: Path) -> bool:
    """Whether a file of /proc goes away within a few seconds."""
    deadline = time.monotonic() + 20
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not path.exists()


def test_it_makes_what_the_engine_makes() -> None:
    """Bit for bit, for a run of pairs, other numbers of phases, another size, and after somebody stopped listening."""
    here, apart = FlowInterpolator(), Apart(FlowInterpolator, FlowInterpolator().spec, device="device")
    assert apart.spec == here.spec
    frames = [noise(48, 32, seed) for seed in range(4)]
    for first, second in pairwise(frames):
        for phases in (PHASES, PHASES[:1], []):
            made = list(apart.between(first, second, phases))
            assert all(map(np.array_equal, made, here.between(first, second, phases)))
            assert len(made) == len(phases)
    next(iter(apart.between(frames[0], frames[1], PHASES)))
    one, other = noise(20, 30, 8), noise(20, 30, 9)
    assert np.array_equal(next(iter(apart.between(one, other, PHASES))), next(iter(here.between(one, other, PHASES))))
    with pytest.raises(EngineError, match="30, 20"):
        next(iter(apart.between(one, frames[0], PHASES)))


def test_a_process_that_dies_took_its_device_along() -> None:
    """The pair on which it died raises DeviceLost that names the device; so does every later one, without a new try."""
    apart = Apart(partial(Shared, "dies", opened=True), Shared("dies").spec, device="Vulkan device 0")
    calm, last = noise(16, 16, 1), noise(16, 16, 2)
    calm[0, 0, 0], deadly = 0, noise(16, 16, 3)
    deadly[0, 0, 0] = MARK
    assert len(list(apart.between(calm, last, PHASES))) == 3
    with pytest.raises(DeviceLost, match=r"Vulkan device 0 was lost: .*signal 9"):
        list(apart.between(deadly, last, PHASES))
    with pytest.raises(DeviceLost, match="Vulkan device 0"):
        list(apart.between(calm, last, PHASES))


def test_what_the_engine_says_itself_comes_through() -> None:
    """Its own DeviceLost, and another spec than was promised."""
    lost = Apart(partial(Shared, "loses", opened=True), Shared("loses").spec, device="device")
    first, second = noise(16, 16, 1), noise(16, 16, 2)
    first[0, 0, 0] = MARK
    with pytest.raises(DeviceLost):
        list(lost.between(first, second, PHASES))
    other = Apart(partial(Shared, "other", opened=True), Shared("other").spec, device="device")
    with pytest.raises(EngineError, match="instead of"):
        list(other.between(first, second, PHASES))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_the_engine_outlives_the_thread_that_asked_first(tmp_path: Path) -> None:
    """A thread of a pool asks, and ends; the next asks the same process. It goes when nobody has it any more."""
    apart = Apart(partial(Shared, "", tmp_path, opened=True), Shared().spec, device="device")
    first, second = noise(16, 16, 1), noise(16, 16, 2)
    made: list[Frame] = []
    for _ in range(2):
        asking = threading.Thread(target=lambda it: made.extend(it.between(first, second, PHASES)), args=[apart])
        asking.start()
        number = asking.native_id
        asking.join()
        assert ended(Path(f"/proc/self/task/{number}"))
        time.sleep(0.2)  # for the kernel to end what it might
    assert len(made) == 6
    assert len(list(apart.between(first, second, PHASES))) == 3
    [process] = processes(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    del apart
    gc.collect()
    assert ended(process)


def raising(kind: str, text: str, log: Path) -> partial[None]:
    """An opener that notes that it was called, and fails: it can be pickled, and needs no module there."""
    note = f"open({str(log)!r}, 'a').write('.')"
    return partial(exec, f"import models.interface as it; {note}; raise it.{kind}({text!r})")


def test_a_device_that_is_missing_at_opening_is_lost(tmp_path: Path) -> None:
    """It was there when the engine was chosen: DeviceLost with the engine's words, and it is not looked for again."""
    opener: Any = raising("EngineUnavailable", "there is no Vulkan device 3; use cpu", tmp_path / "log")
    apart = Apart(opener, Shared().spec, device="Vulkan device 3")
    for _ in range(2):
        with pytest.raises(DeviceLost, match=r"Vulkan device 3 was lost: there is no Vulkan device 3; use cpu$"):
            list(apart.between(noise(8, 8, 1), noise(8, 8, 2), PHASES))
    assert (tmp_path / "log").read_text() == "."


def test_memory_that_did_not_suffice_may_do_so_later(tmp_path: Path) -> None:
    """OutOfMemory comes through as it is, and the next pair tries again."""
    opener: Any = raising("OutOfMemory", "3 GB", tmp_path / "log")
    apart = Apart(opener, Shared().spec, device="device")
    for _ in range(2):
        with pytest.raises(OutOfMemory, match=r"^3 GB$"):
            list(apart.between(noise(8, 8, 1), noise(8, 8, 2), PHASES))
    assert (tmp_path / "log").read_text() == ".."


def test_the_number_of_phases_changes_neither_memory_nor_process(tmp_path: Path) -> None:
    """Three, four, or more than the ring holds: the same frames from one process; whoever stops early hurts nobody."""
    here, apart = Shared(), Apart(partial(Shared, "", tmp_path, opened=True), Shared().spec, device="device")
    frames = [noise(16, 16, seed) for seed in range(3)]
    for count in (3, 4, MOST, MOST + 1, 5 * MOST // 2, 239):
        phases = [Fraction(k + 1, count + 1) for k in range(count)]
        for first, second in pairwise(frames):
            made = list(apart.between(first, second, phases))
            assert len(made) == count
            assert all(map(np.array_equal, made, here.between(first, second, phases)))
            next(iter(apart.between(first, second, phases)))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("width", "height"), [(8, 8), (1280, 720), (1920, 1080), (4096, 2304)])
def test_the_ring_is_bounded(width: int, height: int) -> None:
    """In frames and in bytes, but for the four frames that it has at least."""
    room = room_for(width, height)
    assert 4 <= room.made <= MOST
    assert room.made == 4 or room.made * width * height * 6 <= BUDGET


def test_frames_that_lack_are_not_made_up_from_later_phases() -> None:
    """An engine that makes one frame of many gives one, as often as it is asked: its caller counts."""
    apart = Apart(partial(Shared, "short", opened=True), Shared("short").spec, device="device")
    first, second = noise(16, 16, 1), noise(16, 16, 2)
    phases = [Fraction(k + 1, 40) for k in range(39)]
    for _ in range(6):
        assert len(list(apart.between(first, second, phases))) == 1


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_rife_on_a_vulkan_device_works_apart(
    vulkan_device: int, linear_model: Path, request: pytest.FixtureRequest
) -> None:
    """Asked for by its number it is opened in a process of its own, and blends as the linear model does."""
    weights = linear_model.parent
    found = retimers.interpolator(weights, wish=parse_wish(f"rife-ncnn device=vulkan:{vulkan_device}"))
    assert isinstance(found, retimers.Watched)
    assert isinstance(found.inner, Apart)
    request.addfinalizer(found.inner._end)  # it stays open for the next shot, and other tests count processes
    assert "vulkan" in found.spec.version
    first, second = noise(64, 64, 4), noise(64, 64, 5)
    here = RifeNcnn(linear_model)
    for one, other in zip(found.between(first, second, PHASES), here.between(first, second, PHASES), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 257
