"""The loop over a window's steps: begin or go on, advance, save, stop.

Knows: schedulers, checkpoints, who watches. Does not know: files of a model, prompts as text, frames.
Memory: the latents, what the scheduler keeps of earlier steps, and a step cache's two residuals where there is one.

A step cache keeps what the transformer's blocks added at the last step that was computed. It is not saved: a window
with one is saved before steps that are computed anyway, so that going on there gives the same frames bit for bit. Which
steps these are is known before the window starts.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.conditions import Given, Tensors, Wan, Words
from models.interface import BadPicture, Watch, WindowStopped
from models.windows_state import read_state, restore_scheduler, save_state

LOG: Final = logging.getLogger("dailies")


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where a window is saved, and how often."""

    folder: Path | None
    """None: nowhere."""
    key: str
    """Hex digest of all that the latents depend on."""
    every: float
    """Seconds between two; 0 for each step."""


def denoised(
    kind: Wan,
    given: Given,
    condition: Tensors,
    words: Words,
    *,
    steps: int,
    random: Any,
    saved: Checkpoints,
    watch: Watch,
) -> Any:
    """Latents after the last step. `random` is the window's CPU generator, after the condition was drawn.

    Raises WindowStopped when `watch` asks for it, BadPicture for latents that are not finite when they are saved.
    """
    scheduler, device, cache = kind.pipe.scheduler, kind.device, kind.cache
    latents = kind.noise(kind.shape(given), random)
    scheduler.set_timesteps(steps, device=device)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # spares the search for the first step, which waits for the device
    kind.times = [float(t) for t in scheduler.timesteps.tolist()]  # asked once: a comparison on the device would wait
    carry: dict[str, Any] = {}
    done, folder = 0, saved.folder
    if folder is not None and (found := read_state(folder, saved.key, scheduler)) is not None:
        done, latents = found.step, found.latents.to(device)
        carry = {name: value.to(device) for name, value in found.carry.items()}
        random.set_state(found.random)
        restore_scheduler(scheduler, found, device=device)
    watch.on_step(done, steps)
    count, last, at_disk = len(kind.times), time.monotonic(), done
    for at in range(done, count):
        latents = kind.advance(latents, at, condition, words, carry, random)
        watch.on_step(at + 1, steps)
        stopping = watch.stop.is_set()
        may = at + 1 == count or cache is None or cache.resumable(at + 1)
        # with a cache every step that may be saved is: a stop in between then costs no more than the last few steps
        due = stopping or at + 1 == count or cache is not None or time.monotonic() - last >= saved.every
        if folder is not None and may and due:
            _finite(latents, at + 1, count)
            last = time.monotonic()
            try:
                save_state(
                    folder,
                    saved.key,
                    step=at + 1,
                    latents=latents,
                    carry=carry,
                    scheduler=scheduler,
                    random=random.get_state(),
                )
                at_disk = at + 1
            except OSError as error:  # a window is not lost because it could not be saved
                LOG.warning("a window was not saved after step %d: %s", at + 1, error.strerror or error)
        if stopping:
            where = f"saved after step {at_disk}" if at_disk else "not saved"
            raise WindowStopped(f"stopped on request after step {at + 1} of {count}, {where}; render again to go on")
    return latents


def _finite(latents: Any, step: int, count: int) -> None:
    import torch

    if not bool(torch.isfinite(latents).all()):
        raise BadPicture(
            f"the latents are not finite after step {step} of {count}; "
            "check the weights with `dailies weights verify`, its LoRAs and their strengths"
        )
