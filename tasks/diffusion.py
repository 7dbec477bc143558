"""What this machine has for diffusion models: its device, and which weights are installed.

Knows: nvidia-smi, the weights folder. Does not know: shots, torch: a plan needs none. Memory: none worth naming.
How a model runs, and the model itself, are `resident`'s.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from models.cards import Card
from models.headers import read_header
from models.installed import Weights, installed
from models.interface import EngineUnavailable
from models.memory import DeviceFacts, gguf_bits
from models.weights_lock import Digests
from tasks.errors import FfmpegError
from tasks.frames import output_of

MIB: Final = 1 << 20


class Gpu(NamedTuple):
    """A graphics card as its driver describes it."""

    name: str
    free: int
    """Bytes."""
    total: int
    capability: float
    """Of CUDA: 8.0 is Ampere, 9.0 Hopper."""


@cache
def gpu() -> Gpu | None:
    """The first visible GPU, asked once per process, before anything of ours lies on it; None without one.

    Raises EngineUnavailable if there is one that cannot be asked: nothing is rendered on the processor by mistake.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    query = [tool, "--query-gpu=name,memory.free,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    try:
        said = output_of([*query, f"--id={visible}"]).strip().splitlines()[0]
        name, free, total, capability = (word.strip() for word in said.rsplit(",", 3))
        return Gpu(name, int(free) * MIB, int(total) * MIB, float(capability))
    except (FfmpegError, ValueError, IndexError) as error:
        raise EngineUnavailable(
            f"nvidia-smi does not say what the GPU {visible} has free ({error}); a slice of a card (MIG) cannot be "
            "used, a driver that is gone must be mended; CUDA_VISIBLE_DEVICES= renders without a GPU"
        ) from error


@cache
def device_facts() -> DeviceFacts:
    """What this machine has to run a model with: the first visible GPU, else the processor."""
    found, ram = gpu(), _free_ram()
    if found is None:
        return DeviceFacts("cpu", 0, 0, ram)
    return DeviceFacts("cuda", found.free, found.total, ram, bf16=found.capability >= 8.0, fp8=found.capability >= 8.9)


def device_name() -> str:
    """What a way that worked is remembered for: the GPU's name, or `cpu`."""
    found = gpu()
    return found.name if found else "cpu"


def _free_ram() -> int:
    """Bytes available without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def quantised(files: Weights) -> str | None:
    """GGUF type of the transformer, that of most of its bytes, such as `Q4_K`; None for another form.

    Raises WeightsError for a file whose header is not sound.
    """
    single = files.single("transformer")
    if single is None or single.suffix.lower() != ".gguf":
        return None
    held: Counter[str] = Counter()
    for tensor in read_header(single).tensors:
        held[tensor.dtype] += tensor.end - tensor.start
    kind = max(held, key=lambda name: held[name], default="F32")
    if kind == "F32":
        return None
    try:
        gguf_bits(kind)
    except ValueError:  # a type too new for the table of sizes counts as the widest quantised one
        return "Q8_0"
    return kind


def installed_version(card: Card, weights: Path) -> str:
    """Version of code, libraries and weights; empty if the model is not installed, or not whole.

    Hashes the files at first, then remembers. Raises WeightsError for a file that cannot be read, EngineError for
    files that contradict each other.
    """
    from models.wan import engine_version

    try:
        files = installed(card, weights)
    except EngineUnavailable:
        return ""
    digests = Digests(weights)
    found = engine_version(card, files, digests.of)
    digests.save()
    return found


def installed_files(card: Card, weights: Path) -> Sequence[Mapping[str, str]]:
    """The weight files of an installed model with their sha256, `path` relative to the weights folder."""
    digests = Digests(weights)
    files = installed(card, weights).files()
    known = [{"path": path.relative_to(weights).as_posix(), "sha256": digests.of(path)} for path in files]
    digests.save()
    return known


def libraries() -> Mapping[str, str]:
    """Versions of what computes."""
    return {name: version(name) for name in ("torch", "diffusers", "transformers")}
