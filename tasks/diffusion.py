"""Which diffusion weights are installed, how they run on this machine, and the engine that holds them.

Knows: the weights folder, the device, the memory ladder. Does not know: shots. Asks nvidia-smi about the device, so
that a plan needs no torch. Memory: one loaded model per process; another one takes its place.

A model lies in `WEIGHTS/NAME/` as a diffusers folder. A single `.safetensors` or `.gguf` file at the top of that
folder takes the place of its transformer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from models.cards import Card
from models.interface import EngineError, EngineUnavailable, ImageToVideo
from models.ladder import DoesNotFit, choose
from models.memory import DeviceFacts, Rung
from models.weights import judge, model_folder
from models.weights_lock import Digests
from tasks.errors import FfmpegError
from tasks.frames import output_of

SINGLE: Final = (".safetensors", ".gguf")
"""Endings of a transformer in one file."""

MIB: Final = 1 << 20


@cache
def device_facts() -> DeviceFacts:
    """What this machine has to run a model with, asked once per process: the first visible GPU, else the processor."""
    ram = _free_ram()
    tool = shutil.which("nvidia-smi")
    if tool is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return DeviceFacts("cpu", 0, 0, ram)
    query = [tool, "--query-gpu=memory.free,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    try:
        free, total, capability = output_of([*query, f"--id={visible}"]).strip().splitlines()[0].split(",")
    except (FfmpegError, ValueError, IndexError):
        return DeviceFacts("cpu", 0, 0, ram)
    generation = float(capability)
    return DeviceFacts("cuda", int(free) * MIB, int(total) * MIB, ram, bf16=generation >= 8.0, fp8=generation >= 8.9)


def _free_ram() -> int:
    """Bytes available without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def transformer_file(folder: Path) -> Path | None:
    """The single file that takes the place of the folder's transformer; None if there is none.

    Raises EngineError if there are several: nothing is guessed.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix in SINGLE and path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise EngineError(f"{folder} holds several transformers ({names}); leave one")
    return found[0] if found else None


def placed(card: Card, weights: Path) -> Rung:
    """How the model runs here. Raises EngineUnavailable, with what would do, if it does not fit."""
    single = transformer_file(model_folder(weights, card.name))
    width, height = card.sizes[0]
    rung = choose(
        card,
        device_facts(),
        width=width,
        height=height,
        frames=card.longest_window,
        quantised=single.stem if single is not None and single.suffix == ".gguf" else None,
    )
    if isinstance(rung, DoesNotFit):
        raise EngineUnavailable(f"{card.name}: {rung.reason}; {rung.remedy}")
    return rung


def installed_version(card: Card, weights: Path) -> str:
    """Version of code, libraries and weights; empty if the model is not installed.

    Hashes the files at first, then remembers. Raises WeightsError for a file that cannot be read.
    """
    folder = model_folder(weights, card.name)
    if not (folder / "model_index.json").is_file():
        return ""
    from models.diffusion import Weights
    from models.wan import engine_version

    digests = Digests(weights)
    found = engine_version(card, Weights(folder, transformer_file(folder)), digests.of)
    digests.save()
    return found


def engine_facts(card: Card, weights: Path) -> Mapping[str, Any]:
    """How an installed model runs here, for the manifest. `weights` names files relative to the weights folder."""
    from models.diffusion import Placement, Weights

    folder, device = model_folder(weights, card.name), device_facts().kind
    rung = placed(card, weights)
    digests = Digests(weights)
    files = Weights(folder, transformer_file(folder)).files()
    known = [{"path": path.relative_to(weights).as_posix(), "sha256": digests.of(path)} for path in files]
    digests.save()
    return {
        "weights": known,
        "precision": Placement.of(rung, device).precision,
        "offload": rung.offload,
        "rung": rung.name,
        "attention": "torch",  # scaled_dot_product_attention, which chooses its own kernel
        "cache_profile": "none",
        "device": device,
        "rng_device": "cpu",
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


_loaded: dict[tuple[str, Path], ImageToVideo] = {}


def diffusion_engine(card: Card, weights: Path) -> ImageToVideo:
    """The engine of an installed model, the same one until another model is asked for.

    Every file is judged before it is opened. Raises EngineUnavailable if torch is missing.
    """
    if (card.name, weights) in _loaded:
        return _loaded[card.name, weights]
    if find_spec("torch") is None or find_spec("diffusers") is None:
        raise EngineUnavailable(
            f"{card.name} needs torch and diffusers; install them (pip install --no-deps -r requirements/all.lock)"
        )
    from models.diffusion import Placement, Weights
    from models.wan import DiffusionEngine

    for engine in _loaded.values():
        if isinstance(engine, DiffusionEngine):
            engine.close()
    _loaded.clear()

    def check(path: Path) -> None:
        judge(path, weights=weights, record=True).require()

    folder = model_folder(weights, card.name)
    engine = DiffusionEngine(
        card,
        Weights(folder, transformer_file(folder)),
        placement=Placement.of(placed(card, weights), device_facts().kind),
        check=check,
        digest=Digests(weights).of,
        prompts=weights / ".prompts",
    )
    _loaded[card.name, weights] = engine
    return engine
