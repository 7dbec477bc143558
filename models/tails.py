"""What a window leaves for the next one: the tail of the shot's latents, in a file.

Knows: safetensors, what such a file must hold to be trusted. Does not know: models, frames, who makes windows in which
order. Memory: the tail, on the CPU (38 latents of 1280x720 in 16 channels: 35 MB).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, NoReturn

from models.interface import EngineError
from models.windows_state import write_tensors

FORMAT: Final = "dailies-tail-1"
"""Raise when the meaning of such a file changes."""
LEAST: Final = 8
"""Latents that are left at least, where the shot has as many, however short the decoder's memory is."""


def latents_digest(latents: Any) -> str:
    """sha256 of the values, in order."""
    return hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()


def leave_tail(path: Path, latents: Any) -> None:
    """Write (1, channels, n, height, width) float32 latents: whole or not at all, on disk before this returns.

    Raises OSError if it cannot.
    """
    tail = latents.detach().to("cpu").contiguous()
    write_tensors(path, {"latents": tail}, {"format": FORMAT, "sha256": latents_digest(tail)})


def read_tail(path: Path, shape: tuple[int, int, int], *, least: int) -> Any:
    """The latents of such a file, (1, channels, n, height, width) float32 on the CPU, n at least `least`.

    `shape` is channels, height and width of this window's. Raises EngineError for a file that is missing, damaged, of
    another shape or too short.
    """
    from safetensors import SafetensorError, safe_open

    def refuse(why: str) -> NoReturn:
        raise EngineError(
            f"{path}, which the window before left, {why}; remove it and that window's clip, so that both are made "
            "again, or choose a context without latents (`frame`)"
        )

    try:
        with safe_open(path, framework="pt", device="cpu") as source:
            said = source.metadata() or {}
            if said.get("format") != FORMAT:
                refuse(f"is no tail of latents ({FORMAT})")
            found = source.get_tensor("latents")
    except FileNotFoundError:
        refuse("is missing")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        refuse(f"cannot be read ({(str(error).strip() or type(error).__name__).splitlines()[0]})")
    import torch

    channels, height, width = shape
    if found.dtype != torch.float32 or found.ndim != 5 or latents_digest(found) != said.get("sha256"):
        refuse("is damaged")
    if (found.shape[0], found.shape[1], *found.shape[3:]) != (1, *shape):
        refuse(f"holds latents of shape {tuple(found.shape)}, not of 1x{channels}x...x{height}x{width}")
    if found.shape[2] < least:
        refuse(f"holds {found.shape[2]} latents; {least} are to be carried")
    if not bool(torch.isfinite(found).all()):
        refuse("holds values that are not finite")
    return found
