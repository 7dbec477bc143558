"""The loop over a window's steps: begin or go on, advance, save, stop.

Knows: schedulers, checkpoints, who watches. Does not know: files of a model, prompts as text, frames.
Memory: the latents, what the scheduler keeps of earlier steps, and a step cache's two residuals where there is one.

A step cache keeps what the transformer's blocks added at the last step that was computed. It is not saved: a window
with one is saved before steps that are computed anyway, so that going on there gives the same frames bit for bit. Which
steps these are is known before the window starts.

A window that carries latents of the one before is pinned to them: before every step, computed or skipped, they are
written over with themselves as noisy as the step expects them, in the window's own noise, and after the last step as
they are. This follows from the tail, the noise and the step alone, so a window goes on after a crash as it would have,
and a step cache stays right: what a skipped step predicts for pinned latents is never read.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.conditions import Given, Tensors, Wan, Words
from models.interface import BadPicture, EngineError, Watch, WindowStopped
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

    `condition["pinned"]`, where it is: what the first latents must become. Raises EngineError for a scheduler that they
    cannot be pinned with, WindowStopped when `watch` asks for it, BadPicture for latents that are not finite when they
    are saved.
    """
    scheduler, device, cache = kind.pipe.scheduler, kind.device, kind.cache
    latents = kind.noise(kind.shape(given), random)
    scheduler.set_timesteps(steps, device=device)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # spares the search for the first step, which waits for the device
    kind.times = [float(t) for t in scheduler.timesteps.tolist()]  # asked once: a comparison on the device would wait
    pin = Pin(condition["pinned"], latents, flow_sigmas(scheduler)) if "pinned" in condition else None
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
        if pin is not None:
            latents = pin.at(at, latents)
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
    return latents if pin is None else pin.at(count, latents)


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """The first latents of a window that are known, and how noisy they are at which step."""

    known: Any
    """(1, channels, n, height, width) float32 on the device: what they must become."""
    noise: Any
    """The window's initial noise, of all its latents."""
    sigmas: tuple[float, ...]
    """Share of noise before each step, and 0 after the last."""

    def at(self, step: int, latents: Any) -> Any:
        """The latents before that step, the known ones written over: x = (1 - sigma) x0 + sigma noise."""
        import torch

        count, sigma = self.known.shape[2], self.sigmas[step]
        noisy = (1.0 - sigma) * self.known + sigma * self.noise[:, :, :count] if sigma else self.known
        return torch.cat([noisy, latents[:, :, count:]], dim=2)


def flow_sigmas(scheduler: Any) -> tuple[float, ...]:
    """Share of noise before each step, ending in 0, of a scheduler of flow matching whose steps are set.

    Raises EngineError for another scheduler: how noisy its latents are is told in other terms.
    """
    name, config = type(scheduler).__name__, scheduler.config
    flows = name.startswith("FlowMatch") or config.get("use_flow_sigmas")
    found = tuple(scheduler.sigmas.tolist()) if flows else ()
    if len(found) != len(scheduler.timesteps) + 1 or found[-1] != 0 or config.get("invert_sigmas"):
        raise EngineError(
            f"latents can be carried where noise is mixed in linearly (flow matching), which {name} does not do as it "
            "is set up here; use UniPC with flow sigmas or FlowMatchEuler, or the context `frame`"
        )
    return found


def _finite(latents: Any, step: int, count: int) -> None:
    import torch

    if not bool(torch.isfinite(latents).all()):
        raise BadPicture(
            f"the latents are not finite after step {step} of {count}; "
            "check the weights with `dailies weights verify`, its LoRAs and their strengths"
        )
