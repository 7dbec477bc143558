"""How pictures enter each pipeline, besides words. One class per way of conditioning, and which one fits.

Knows: masks, image embeddings and clean latents of Wan, VACE and CogVideoX in diffusers 0.42, to whose pipelines every
step is equal (tested bit for bit on the CPU). Does not know: files, prompts as text, checkpoints.
Memory: the condition latents (as large as the latents, for VACE six times) and one encoded window of pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.conditions import Given, OnDevice, Tensors, Wan, Words
from models.interface import EngineError
from models.pixels import clip_view

if TYPE_CHECKING:
    from models.step_cache import StepCache


class WanFrames(Wan):
    """First frames, and perhaps the last, as a masked condition beside the latents (Wan2.1 and Wan2.2 A14B)."""

    def encode(self, given: Given, random: Any) -> dict[str, Any]:
        """`condition`: mask and latents; `image`: CLIP's view of first and last frame, where the model looks."""
        import torch

        del random
        start, end = given.beginning, given.end
        free = given.frames - start.shape[2] - (0 if end is None else 1)
        empty = start.new_zeros(1, 3, free, given.height, given.width)
        video = torch.cat([start, empty] if end is None else [start, empty, end], dim=2)
        shape, stride = self.shape(given), self.pipe.vae.config.scale_factor_temporal
        known = torch.zeros(1, 1, given.frames, *shape[3:])
        known[:, :, : start.shape[2]] = 1
        if end is not None:
            known[:, :, -1] = 1
        # The VAE's first latent is one frame, the others are `stride` frames each: the mask has a channel per frame.
        known = torch.cat([known[:, :, :1].repeat_interleave(stride, dim=2), known[:, :, 1:]], dim=2)
        known = known.view(1, -1, stride, *shape[3:]).transpose(1, 2).to(self.device)
        found = {"condition": torch.cat([known, self._latents(video)], dim=1)}
        if self.model.config.get("image_dim") is not None:
            found["image"] = self._image(start, end)
        return found

    def keep(self, found: dict[str, Any], carried: Any) -> None:
        """Into the condition's latents, behind its mask, which is 1 there already: their frames are given."""
        stride = self.pipe.vae.config.scale_factor_temporal
        found["condition"][:, stride:, 1 : 1 + carried.shape[2]] = carried

    def inputs(self, latents: Any, t: Any, condition: Tensors) -> dict[str, Any]:
        """Latents and condition side by side."""
        import torch

        return {
            "hidden_states": torch.cat([latents, condition["condition"]], dim=1).to(self.dtype),
            "timestep": t.expand(1),
            "encoder_hidden_states_image": condition["image"].to(self.dtype) if "image" in condition else None,
        }

    def _image(self, start: Any, end: Any) -> Any:
        """CLIP's second last layer; first and last frame one after the other for a model trained on both."""
        import torch

        encoder = self.on_device("image_encoder")
        pictures = [start[:, :, 0]]
        if self.model.config.get("pos_embed_seq_len") is not None:
            # A window that need not arrive anywhere yet still has two places to fill: it sees its first frame twice.
            pictures.append(start[:, :, 0] if end is None else end[:, :, 0])
        views = torch.cat([clip_view(picture, encoder.config.image_size) for picture in pictures])
        seen = encoder(pixel_values=views.to(self.device, encoder.dtype), output_hidden_states=True)
        return seen.hidden_states[-2]


class WanExpanded(Wan):
    """Wan2.2 TI2V 5B: the first latent frames are given as they are, at time 0; without a plate none is."""

    def encode(self, given: Given, random: Any) -> dict[str, Any]:
        """`mask`: 0 on latents that are given; `condition`: these latents."""
        del random
        mask = self._mask(given)
        if given.start is None:
            return {"mask": mask, "condition": mask.new_zeros(1, 1, 1, 1, 1)}
        if (given.start.shape[2] - 1) % self.pipe.vae.config.scale_factor_temporal:
            raise EngineError(f"{given.start.shape[2]} frames of context are no whole latents; use 1, 5, 9 ...")
        known = self._latents(given.start)
        mask[:, :, : known.shape[2]] = 0
        condition = mask.new_zeros(self.shape(given))
        condition[:, :, : known.shape[2]] = known
        return {"mask": mask, "condition": condition}

    def inputs(self, latents: Any, t: Any, condition: Tensors) -> dict[str, Any]:
        """Given latents where the mask is 0, with a time per patch."""
        return super().inputs(self._merged(latents, condition), t, condition)

    def keep(self, found: dict[str, Any], carried: Any) -> None:
        """Among the latents that are given as they are."""
        found["condition"][:, :, 1 : 1 + carried.shape[2]] = carried

    def finished(self, latents: Any, condition: Tensors) -> Any:
        """With the given latents in their place."""
        return self._merged(latents, condition)

    def _merged(self, latents: Any, condition: Tensors) -> Any:
        mask = condition["mask"]
        return (1 - mask) * condition["condition"] + mask * latents


class Vace(Wan):
    """VACE: a video of what is known, and a mask, 0 on what must stay."""

    def encode(self, given: Given, random: Any) -> dict[str, Any]:
        """`control`: latents of the known and of the free part, and the mask folded into 64 channels."""
        import torch

        del random
        video = torch.zeros(1, 3, given.frames, given.height, given.width)
        mask = torch.ones_like(video)
        for frames, at in ((given.start, 0), (given.end, given.frames - 1)):
            if frames is not None:
                video[:, :, at : at + frames.shape[2]] = frames
                mask[:, :, at : at + frames.shape[2]] = 0
        latents = torch.cat([self._latents(video * (1 - mask)), self._latents(video * mask)], dim=1)
        folded = self.pipe.prepare_masks(mask.to(self.device), [[]])
        return {"control": torch.cat([latents, folded], dim=1)}

    def keep(self, found: dict[str, Any], carried: Any) -> None:
        """Into the control's first latents, those of what must stay."""
        found["control"][:, : carried.shape[1], 1 : 1 + carried.shape[2]] = carried

    def inputs(self, latents: Any, t: Any, condition: Tensors) -> dict[str, Any]:
        """Latents, with the control beside every VACE layer at full strength."""
        layers = len(self.model.config.vace_layers)
        return {
            "hidden_states": latents.to(self.dtype),
            "timestep": t.expand(1),
            "control_hidden_states": condition["control"].to(self.dtype),
            "control_hidden_states_scale": latents.new_ones(layers).to(self.dtype),
        }


class CogVideo(Wan):
    """CogVideoX image-to-video: one frame's latents, then nothing; both guidance branches in one batch."""

    def __init__(self, pipe: Any, on_device: OnDevice, device: str, cache: StepCache | None = None) -> None:
        super().__init__(pipe, on_device, device, cache)
        self.spatial = pipe.vae_scale_factor_spatial
        self.temporal = pipe.vae_scale_factor_temporal
        if self.model.config.patch_size_t is not None:
            raise EngineError("CogVideoX 1.5 pads its latents, which this engine does not do; use CogVideoX 1.0")

    def shape(self, given: Given) -> tuple[int, ...]:
        """Frames before channels."""
        frames = (given.frames - 1) // self.temporal + 1
        channels = self.model.config.in_channels // 2
        return (1, frames, channels, given.height // self.spatial, given.width // self.spatial)

    def noise(self, shape: tuple[int, ...], random: Any) -> Any:
        """Scaled as the scheduler begins."""
        return super().noise(shape, random) * self.pipe.scheduler.init_noise_sigma

    def encode(self, given: Given, random: Any) -> dict[str, Any]:
        """`condition`: the first frame's latents, a sample as the model was trained on, padded with zeros; `rotary`."""
        shape = self.shape(given)
        vae = self.on_device("vae")
        posterior = vae.encode(given.beginning.to(self.device, vae.dtype)).latent_dist
        scale = self.pipe.vae_scaling_factor_image
        first = posterior.sample(random).permute(0, 2, 1, 3, 4) * (
            1 / scale if vae.config.invert_scale_latents else scale
        )
        condition = first.new_zeros(shape)
        condition[:, :1] = first
        found = {"condition": condition}
        if self.model.config.use_rotary_positional_embeddings:
            turned = self.pipe._prepare_rotary_positional_embeddings(given.height, given.width, shape[1], self.device)
            found |= {"cos": turned[0], "sin": turned[1]}
        return found

    def advance(
        self, latents: Any, at: int, condition: Tensors, words: Words, carry: dict[str, Any], random: Any
    ) -> Any:
        """One step; the second-order scheduler's last estimate is in `carry`."""
        import torch

        scheduler, t = self.pipe.scheduler, self.pipe.scheduler.timesteps[at]
        guided = words.guidance > 1
        twice = 2 if guided else 1
        scaled = scheduler.scale_model_input(torch.cat([latents] * twice), t)
        given = torch.cat([scaled, torch.cat([condition["condition"]] * twice)], dim=2)
        text = torch.cat([words.negative, words.positive]) if guided else words.positive
        model = self.on_device("transformer")
        noise = model(
            hidden_states=given.to(self.dtype),
            encoder_hidden_states=text,
            timestep=t.expand(twice),
            image_rotary_emb=(condition["cos"], condition["sin"]) if "cos" in condition else None,
            return_dict=False,
        )[0].float()
        if guided:
            plain, told = noise.chunk(2)
            noise = plain + words.guidance * (told - plain)
        if type(scheduler).__name__ != "CogVideoXDPMScheduler":
            return scheduler.step(noise, t, latents, return_dict=False)[0]
        before = scheduler.timesteps[at - 1] if at else None
        latents, carry["estimate"] = scheduler.step(
            noise, carry.get("estimate"), t, before, latents, generator=random, return_dict=False
        )
        return latents

    def decode(self, latents: Any, condition: Tensors) -> Any:
        """Channels first, unscaled."""
        del condition
        vae = self.on_device("vae")
        moved = latents.permute(0, 2, 1, 3, 4).to(vae.dtype)
        return vae.decode(1 / self.pipe.vae_scaling_factor_image * moved).sample


def conditioner(pipe: Any, on_device: OnDevice, device: str, *, cache: StepCache | None = None) -> Wan:
    """The one that fits the pipeline."""
    name = type(pipe).__name__
    kinds: dict[str, type[Wan]] = {
        "WanPipeline": Wan,
        "WanVACEPipeline": Vace,
        "CogVideoXImageToVideoPipeline": CogVideo,
        "WanImageToVideoPipeline": WanExpanded if pipe.config.get("expand_timesteps") else WanFrames,
    }
    return kinds[name](pipe, on_device, device, cache)
