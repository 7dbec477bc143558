"""Torch pickles into safetensors, without running what a pickle holds.

Knows: how to have a pickle read in a child process by torch's restricted reader (tensors and plain containers, no
callables), and what of it can be written as safetensors. Does not know: models, the hub. No pickle is ever opened in
this process. The source is kept.

Memory: this process a few kilobytes; the child maps a zip-based file and holds one copy of what is not contiguous, a
legacy file whole. Its address space is limited to four times the file and 32 GiB, its time to `timeout`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.headers import WeightsError, WeightsUnavailableError, format_of, read_header
from models.weights import root_of
from models.weights_lock import Locked, file_sha256, write_lock

TIMEOUT: Final = 3600.0
"""Seconds for one file; a 28 GB checkpoint takes about five minutes from a fast disk."""
NESTS: Final = ("state_dict", "model_state_dict", "params_ema", "params", "model", "module")
"""Keys under which training code puts the weights beside its own state, the likeliest first."""
OLDEST_TORCH: Final = (2, 6)
"""Before it, the restricted reader could be made to run code (CVE-2025-32434)."""

_NOT_READY, _REFUSED = 3, 4
_GROWTH: Final = 4  # most bytes written per byte of source: tensors that share memory are written out each
_SLACK: Final = 32 << 30  # bytes of address space for torch itself, which maps far more than it uses
_KEPT_VARIABLES: Final = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TMPDIR",
    "TEMP",
    "HOME",
    "LANG",
)
_CHILD: Final = "import sys; sys.path.insert(0, sys.argv[1]); from models.convert import child; child(*sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion made."""

    path: Path
    """The safetensors file, absolute."""
    bytes: int
    sha256: str
    tensors: int
    dropped: tuple[str, ...]
    """Keys of the source that hold no weights and were left out (`epoch`, `optimizer_states` ...)."""


def convert(
    source: Path,
    out: Path | None = None,
    *,
    weights: Path | None = None,
    timeout: float = TIMEOUT,
    python: str = sys.executable,
) -> Converted:
    """Write the tensors of a .pt, .pth, .pkl, .bin or .ckpt file as safetensors and record its sha256 in the lock.

    `out` defaults to the source's name with .safetensors; the lock is that of `weights` if `out` lies there, else one
    beside `out`. Tensors that share memory are written out each, so that no name is lost; names that all start with
    `module.` (as RIFE's) lose that. The file appears under its name once its header has been judged.

    Raises WeightsError if the source is no pickle, holds anything but tensors, or does not end in `timeout` seconds;
    WeightsUnavailableError if torch or the disk space is missing.
    """
    source = Path(os.path.abspath(source))
    out = Path(os.path.abspath(out)) if out else source.with_suffix(".safetensors")
    _judge_names(source, out)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.stem}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        report = _run(source, part, timeout=timeout, python=python)
        header = read_header(part)
        if len(header.tensors) != report["tensors"]:
            raise WeightsError(f"{source}: {report['tensors']} tensors were read and {len(header.tensors)} written")
        digest, size = file_sha256(part), part.stat().st_size
        os.chmod(part, 0o644)  # a team shares the folder; mkstemp gives it to one
        os.replace(part, out)
    except OSError as error:
        raise WeightsUnavailableError(f"{out} cannot be written: {error.strerror}; check folder and disk") from error
    finally:
        with suppress(OSError):
            part.unlink()
    root = root_of(out, weights)
    origin = f"converted from {source.name} ({file_sha256(source)})"
    write_lock(root, {out.relative_to(root).as_posix(): Locked(size, digest, origin)})
    return Converted(out, size, digest, len(header.tensors), tuple(report["dropped"]))


def _judge_names(source: Path, out: Path) -> None:
    """Refuse what cannot be converted before a process is started. Raises WeightsError."""
    if not source.is_file():
        raise WeightsError(f"{source} is not a file; give a .pt, .pth, .pkl, .bin or .ckpt file")
    kind = format_of(source)
    if kind in ("safetensors", "gguf"):
        raise WeightsError(f"{source} is a {kind} file already; use it as it is, named .{kind}")
    if kind not in ("zip", "pickle"):
        raise WeightsError(f"{source} is no torch file by its content ({kind}); give a .pt, .pth, .pkl or .ckpt file")
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out} would not be recognised; give a name that ends in .safetensors")
    if out.exists() or out.is_symlink():
        raise WeightsError(f"{out} exists already; remove it or give another name with -o")
    if not out.parent.is_dir():
        raise WeightsError(f"{out.parent} is not a folder; make it first")


def _run(source: Path, part: Path, *, timeout: float, python: str) -> Mapping[str, Any]:
    """Have the child write `part`; its report."""
    argv = [python, "-P", "-c", _CHILD, str(Path(__file__).resolve().parent.parent), str(source), str(part)]
    # no token, no password: the child needs none of them
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd=Path(__file__).parent,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{source} was not read within {timeout:.0f} s and was given up; it is kept") from None
    except OSError as error:
        raise WeightsUnavailableError(f"{python} does not start: {error.strerror}; reinstall Dailies") from error
    words = done.stdout.decode("utf-8", "replace").strip().splitlines() or [""]
    if done.returncode == 0:
        with suppress(ValueError, KeyError, TypeError):
            report = json.loads(words[-1])
            return {"tensors": int(report["tensors"]), "dropped": [str(name) for name in report["dropped"]]}
        raise WeightsError(f"{source}: the converter ended without a report; try again")
    if done.returncode == _NOT_READY:
        raise WeightsUnavailableError(words[-1])
    if done.returncode == _REFUSED:
        raise WeightsError(f"{source}: {words[-1]}")
    if done.returncode < 0:
        raise WeightsError(f"{source} brought its reader down (signal {-done.returncode}); get it as .safetensors")
    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
    raise WeightsError(f"{source} cannot be converted: {last}; get it as .safetensors")


class _Refused(Exception):  # noqa: N818 - said by the child, never raised to a caller
    """Why the child will not convert."""


def child(source: str, part: str) -> None:
    """What the child process does: read restricted, write, report on stdout. Ends the process."""
    try:
        report = _convert(Path(source), Path(part))
    except _Refused as error:
        print(" ".join(str(error).split()))  # noqa: T201 - one line, read by the parent
        raise SystemExit(_REFUSED) from None
    print(json.dumps(report))  # noqa: T201
    raise SystemExit(0)


def _convert(source: Path, part: Path) -> Mapping[str, Any]:
    try:
        import torch
        from safetensors.torch import save_file
    except ImportError as error:
        print(f"converting needs torch and safetensors ({error}); pip install 'dailies[gpu]'")  # noqa: T201
        raise SystemExit(_NOT_READY) from None
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        print(f"torch {torch.__version__} reads pickles unsafely; pip install 'torch>=2.6'")  # noqa: T201
        raise SystemExit(_NOT_READY)
    size = source.stat().st_size
    _limit_memory(_GROWTH * size + _SLACK)
    loaded = _load(torch, source)
    tensors, dropped = _tensors(torch, loaded)
    known = {torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64}
    known |= {torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64}
    known |= {getattr(torch, name) for name in dir(torch) if name.startswith("float8_")}
    total = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.dtype not in known:
            raise _Refused(f"the tensor {name!r} is {tensor.layout} {tensor.dtype}, which safetensors cannot hold")
        total += tensor.numel() * tensor.element_size()
    if total > _GROWTH * size + (1 << 20):
        raise _Refused(f"{size} bytes unfold to tensors of {total} bytes, more than {_GROWTH} times as much")
    free = os.statvfs(part.parent) if hasattr(os, "statvfs") else None
    if free and free.f_bavail * free.f_frsize < total:
        print(f"{part.parent} has too little space for {total / 1e9:.1f} GB; free some")  # noqa: T201
        raise SystemExit(_NOT_READY)
    taken: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        plain = tensor.detach().contiguous()
        # two names for one memory are written out each: a loader asks for both
        shared = plain.data_ptr() == tensor.data_ptr() and (place in taken or tensor.storage_offset())
        tensors[name] = plain.clone() if shared else plain
        taken.add(place)
    save_file(tensors, str(part), metadata={"format": "pt"})
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    return {"tensors": len(tensors), "dropped": dropped}


def _limit_memory(most: int) -> None:
    """Bound this process's address space, where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _load(torch: Any, source: Path) -> Any:
    import pickle
    import zipfile

    try:
        # only zip-based files can be mapped
        return torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))
    except pickle.UnpicklingError as error:
        said = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise _Refused(
            f"it holds more than tensors and would run code when opened ({said or 'the reader refused it'}); "
            "do not open it, get the model as .safetensors from its maker"
        ) from None
    except MemoryError:
        raise _Refused("it asks for more memory than its size explains; do not use it") from None
    except Exception as error:
        raise _Refused(f"torch cannot read it: {error}; the file is damaged, download it again") from None


def _tensors(torch: Any, loaded: Any) -> tuple[dict[str, Any], list[str]]:
    """The tensors by name, and the names of what was left out."""
    dropped: list[str] = []
    for nest in NESTS:
        if isinstance(loaded, dict) and isinstance(loaded.get(nest), dict) and loaded[nest]:
            dropped += sorted(str(key) for key in loaded if key != nest)
            loaded = loaded[nest]
            break
    if not isinstance(loaded, dict) or not loaded:
        raise _Refused(f"it holds a {type(loaded).__name__} where names and tensors must stand; it is no checkpoint")
    for name, value in loaded.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise _Refused(f"it holds something under {name!r}, which is no name of a tensor")
        if not isinstance(value, torch.Tensor):
            kind = type(value).__name__
            raise _Refused(f"it holds a {kind} under {name!r} where only tensors may stand; save its state_dict alone")
    if all(name.startswith("module.") for name in loaded):
        loaded = {name.removeprefix("module."): value for name, value in loaded.items()}
    return dict(loaded), dropped
