"""What a window is conditioned on, and how one step of Wan is computed, with words alone.

Knows: the VAE's latents, experts and guidance of Wan in diffusers 0.42, to whose pipelines every step is equal (tested
bit for bit on the CPU). Does not know: how pictures enter a model (models.condition_kinds), files, prompts as text,
checkpoints. Memory: the condition latents and one encoded window of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.interface import EngineError
from models.stream import reach, streamed

if TYPE_CHECKING:
    from models.step_cache import StepCache

Tensors = Mapping[str, Any]
Carry = dict[str, Any]
OnDevice = Callable[[str], Any]
"""Given a part's name, the part on its device; others may have to leave."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """The pictures that a window is conditioned on, and its size."""

    start: Any | None
    """(1, 3, k, height, width) float32 in -1..1: the frames that the window begins with."""
    end: Any | None
    """(1, 3, 1, height, width): the frame that it ends with."""
    frames: int
    height: int
    width: int
    carried: Any | None = None
    """(1, channels, m, height, width) float32 latents that the window is pinned to, after that of its first frame."""

    @property
    def beginning(self) -> Any:
        """`start`, where there has to be one. Raises EngineError without."""
        if self.start is None:
            raise EngineError("this model begins with a picture: give the shot a plate")
        return self.start


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Prompt embeddings (1, tokens, width) on the device, and how strongly they pull."""

    positive: Any
    negative: Any
    guidance: float
    guidance_2: float
    """Of the low-noise expert."""


class Wan:
    """Words alone (WanPipeline), and what all of Wan share."""

    def __init__(self, pipe: Any, on_device: OnDevice, device: str, cache: StepCache | None = None) -> None:
        self.pipe = pipe
        self.on_device = on_device
        self.device = device
        self.cache = cache
        self.times: list[float] = []
        ratio = pipe.config.get("boundary_ratio")
        self.boundary = None if ratio is None else ratio * pipe.scheduler.config.num_train_timesteps
        self.model = pipe.transformer

    @property
    def dtype(self) -> Any:
        """What the transformer computes in."""
        return self.model.dtype

    def shape(self, given: Given) -> tuple[int, ...]:
        """Of the latents."""
        vae = self.pipe.vae.config
        frames = (given.frames - 1) // vae.scale_factor_temporal + 1
        side = vae.scale_factor_spatial
        return (1, vae.z_dim, frames, given.height // side, given.width // side)

    def noise(self, shape: tuple[int, ...], random: Any) -> Any:
        """Standard normal float32, drawn on the CPU: the same numbers on every machine."""
        import torch

        return torch.randn(shape, generator=random, dtype=torch.float32).to(self.device)

    def encode(self, given: Given, random: Any) -> dict[str, Any]:
        """Condition tensors on the device; equal for equal pictures. `conditioned` adds what is carried."""
        del random
        return {"mask": self._mask(given)} if self.pipe.config.get("expand_timesteps") else {}

    def conditioned(self, given: Given, random: Any) -> dict[str, Any]:
        """`encode`, with carried latents in the place of those that were made from decoded pixels.

        `pinned`: the first frame's latent, which stands for one frame where the one before stood for four and so is
        encoded, and the carried ones as they are.
        """
        import torch

        found = self.encode(given, random)
        if given.carried is not None:
            carried = given.carried.to(self.device)
            self.keep(found, carried)
            found["pinned"] = torch.cat([self._latents(given.beginning[:, :, :1]), carried], dim=2)
        return found

    def keep(self, found: dict[str, Any], carried: Any) -> None:
        """Put the carried latents into the condition, where the model has channels for one. Words alone have none."""

    def advance(
        self, latents: Any, at: int, condition: Tensors, words: Words, carry: dict[str, Any], random: Any
    ) -> Any:
        """The latents after step `at`. `carry` is what the scheduler leaves to its caller."""
        del carry, random
        t = self.pipe.scheduler.timesteps[at]
        low = self.boundary is not None and self.times[at] < self.boundary
        model = self.on_device("transformer_2" if low else "transformer")
        guidance = words.guidance_2 if low else words.guidance
        inputs = self.inputs(latents, t, condition)
        noise = self._predicted(model, "positive", at, words.positive, inputs)
        if guidance > 1:
            plain = self._predicted(model, "negative", at, words.negative, inputs)
            noise = plain + guidance * (noise - plain)
        return self.pipe.scheduler.step(noise, t, latents, return_dict=False)[0]

    def _predicted(self, model: Any, branch: str, at: int, text: Any, inputs: dict[str, Any]) -> Any:
        """The transformer's output for one branch of the guidance, from the step cache where that has it."""

        def call() -> Any:
            return model(encoder_hidden_states=text, return_dict=False, **inputs)[0]

        return call() if self.cache is None else self.cache.run(model, branch, at, call)

    def inputs(self, latents: Any, t: Any, condition: Tensors) -> dict[str, Any]:
        """What the transformer is given at time `t` besides words."""
        if "mask" in condition:  # Wan2.2's 5B: a time per patch, that of kept patches is 0
            time = (condition["mask"][0][0][:, ::2, ::2] * t).flatten()[None]
            return {"hidden_states": latents.to(self.dtype), "timestep": time}
        return {"hidden_states": latents.to(self.dtype), "timestep": t.expand(1)}

    def decode(self, latents: Any, condition: Tensors) -> Any:
        """(1, 3, frames, height, width) in -1..1 from the latents of the last step."""
        vae = self.on_device("vae")
        return vae.decode(self._scaled(self.finished(latents, condition), vae), return_dict=False)[0]

    def finished(self, latents: Any, condition: Tensors) -> Any:
        """The latents of the last step, normalised, as they are decoded."""
        del condition
        return latents

    def decode_after(self, tail: Any, latents: Any) -> Any:
        """Frames of finished latents alone, decoded as they go on after `tail` in one stream."""
        import torch

        vae = self.on_device("vae")
        stream = torch.cat([tail.to(self.device), latents], dim=2)
        return streamed(vae, self._scaled(stream, vae), keep=latents.shape[2])

    @property
    def looks_back(self) -> int:
        """Latents before its own that a decoded frame depends on."""
        return reach(self.pipe.vae)

    def _scaled(self, latents: Any, vae: Any) -> Any:
        mean, scale = self._statistics()
        return latents.to(vae.dtype) / scale + mean

    def _mask(self, given: Given) -> Any:
        import torch

        return torch.ones((1, 1, *self.shape(given)[2:]), dtype=torch.float32, device=self.device)

    def _statistics(self) -> tuple[Any, Any]:
        """Mean and inverse deviation of the VAE's latents, per channel."""
        import torch

        config = self.pipe.vae.config
        view = (1, config.z_dim, 1, 1, 1)
        mean = torch.tensor(config.latents_mean, device=self.device).view(view)
        return mean, 1.0 / torch.tensor(config.latents_std, device=self.device).view(view)

    def _latents(self, video: Any) -> Any:
        """Normalised latents of pixels: the mode, never a sample."""
        vae = self.on_device("vae")
        mean, scale = self._statistics()
        return (vae.encode(video.to(self.device, vae.dtype)).latent_dist.mode() - mean) * scale
