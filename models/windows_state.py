"""Saves and restores a half-made window: latents, step, scheduler and random state, bit for bit.

Knows: safetensors, what a diffusers scheduler keeps between steps. Does not know: models, frames, how keys are made.
A checkpoint belongs to one key and is never used for another; one that cannot be read counts as none. Memory: a copy
of the latents and of the scheduler's past outputs, on the CPU.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FORMAT: Final = "dailies-window-1"
"""Raise when the meaning of a checkpoint changes."""
PLAIN: Final = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A window after some of its steps."""

    step: int
    """Steps done."""
    latents: Any
    """float32 tensor on the CPU."""
    carry: Mapping[str, Any]
    """Tensors that the loop itself keeps between steps."""
    random: Any
    """State of the CPU generator, uint8."""
    scheduler: Mapping[str, Any]
    """Encoded attributes; see `restore_scheduler`."""
    tensors: Mapping[str, Any]
    """The tensors that `scheduler` refers to."""


def state_path(folder: Path, key: str) -> Path:
    """The checkpoint of the window with that key."""
    return folder / f"window-{key[:16]}.safetensors"


def save_state(
    folder: Path, key: str, *, step: int, latents: Any, carry: Mapping[str, Any], scheduler: Any, random: Any
) -> None:
    """Write the checkpoint: whole or not at all, on disk before this returns. Raises OSError if it cannot."""
    tensors: dict[str, Any] = {"latents": latents, "random": random}
    tensors |= {f"carry.{name}": value for name, value in carry.items()}
    encoded = {
        name: found for name, value in vars(scheduler).items() if (found := _encoded(value, tensors)) is not None
    }
    metadata = {
        "format": FORMAT,
        "key": key,
        "step": str(step),
        "class": type(scheduler).__name__,
        "scheduler": json.dumps(encoded),
    }
    write_tensors(state_path(folder, key), tensors, metadata)


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file: whole or not at all, on disk before this returns. Raises OSError if it cannot."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    attempt = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    # clones: safetensors refuses tensors that share memory, and the caller goes on with these
    plain = {name: value.detach().to("cpu").clone().contiguous() for name, value in tensors.items()}
    try:
        save_file(plain, attempt, metadata=dict(metadata))
        with attempt.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(attempt, path)
    finally:
        attempt.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself must survive a power cut
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_state(folder: Path, key: str, scheduler: Any) -> Checkpoint | None:
    """The checkpoint of that key, made with the same kind of scheduler; None if there is none that can be trusted."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(state_path(folder, key), framework="pt", device="cpu") as source:
            said = source.metadata() or {}
            wanted = {"format": FORMAT, "key": key, "class": type(scheduler).__name__}
            if any(said.get(name) != value for name, value in wanted.items()):
                return None
            tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118 - not a mapping
        carry = {name.removeprefix("carry."): value for name, value in tensors.items() if name.startswith("carry.")}
        step, encoded = int(said["step"]), json.loads(said["scheduler"])
        return Checkpoint(step, tensors["latents"], carry, tensors["random"], encoded, tensors)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def restore_scheduler(scheduler: Any, checkpoint: Checkpoint, *, device: str) -> None:
    """Give the scheduler every attribute it had; tensors that were on the device go back there."""
    for name, encoded in checkpoint.scheduler.items():
        setattr(scheduler, name, _decoded(encoded, checkpoint.tensors, device))


def forget_state(folder: Path, key: str) -> None:
    """Remove the checkpoint, if there is one."""
    state_path(folder, key).unlink(missing_ok=True)


def _encoded(value: Any, tensors: dict[str, Any]) -> dict[str, Any] | None:
    """`value` as JSON, its tensors put aside under a number; None for what is not state (config, functions)."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        name = f"scheduler.{len(tensors)}"
        tensors[name] = value
        return {"tensor": name, "host": value.device.type == "cpu"}
    if isinstance(value, np.ndarray):
        name = f"scheduler.{len(tensors)}"
        tensors[name] = torch.from_numpy(value.copy())
        return {"array": name}
    if isinstance(value, PLAIN):
        return {"plain": value}
    if isinstance(value, list | tuple):
        items = [_encoded(item, tensors) for item in value]
        return None if None in items else {"list": items}
    return None


def _decoded(encoded: Mapping[str, Any], tensors: Mapping[str, Any], device: str) -> Any:
    if "tensor" in encoded:
        tensor = tensors[encoded["tensor"]]
        return tensor if encoded["host"] else tensor.to(device)
    if "array" in encoded:
        return tensors[encoded["array"]].numpy().copy()
    if "list" in encoded:
        return [_decoded(item, tensors, device) for item in encoded["list"]]
    return encoded["plain"]
