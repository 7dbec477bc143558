"""The diffusion engine: Wan and CogVideoX through one ImageToVideo, on any device that diffusers runs on.

Knows: a card's rules, the order of a window's work (prompts, load, condition, denoise, decode, judge), checkpoints.
Does not know: shots, where weights are installed, how memory is planned, Prefect. Memory: the model as placed, one
window's latents and condition, and one decoded window of 32-bit floats on the CPU (81 frames of 1280x720: 0.9 GB).

Noise is drawn on the CPU from the window's seed. A window that was stopped or killed goes on at its last checkpoint and
gives the same frames bit for bit on the same kind of device. One that carries latents of the window before is decoded
as the next part of one stream, and leaves the tail of that stream where it is told to.
"""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.cards import Card
from models.condition_kinds import conditioner
from models.conditions import Given, Wan, Words
from models.denoise import Checkpoints, denoised
from models.diffusion import (
    Check,
    Placement,
    computing,
    load_pipeline,
    load_text_encoder,
    parts_of,
)
from models.installed import Weights
from models.interface import BadPicture, ClipRequest, EngineError, Frame, Lora, Watch, WindowStopped
from models.lora import LoraSwitch
from models.pixels import fitted, frames_of, judged, video_tensor
from models.prompts import PromptCache, encode_text
from models.requests import check_request
from models.tails import LEAST, latents_digest, leave_tail, read_tail
from models.weights_lock import file_sha256
from models.windows_state import forget_state

if TYPE_CHECKING:
    from models.kernels import Tuned
    from models.step_cache import StepCache

VERSION: Final = "1"
"""Raise when the same weights and request would give other pixels."""
CARD_FIELDS: Final = ("pipeline", "shift", "boundary", "guidance", "guidance_2", "text_tokens", "mag_ratios")
"""What a card says besides the request (steps, size, prompt) that changes pixels."""
WAN_TOKENS: Final = 512
"""Length of a text embedding where the card states none; wan/configs/shared_config.py: text_len."""


def engine_version(card: Card, weights: Weights, digest: Callable[[Path], str]) -> str:
    """Changes with the code, the libraries, the weights, their small files and what the card says of the pixels.

    Part of every content key; needs no torch. Placement is left out: it is decided on the machine that renders, after
    the plan, and the manifest records it. `digest` gives a file's sha256, best from a cache. Raises OSError or
    WeightsError if a file cannot be read.
    """
    said = {name: getattr(card, name) for name in CARD_FIELDS} | {"transformer": dict(card.transformer)}
    facts = [VERSION, card.name, *_libraries(), said]
    facts += [f"{path.parent.name}/{path.name} {digest(path)}" for path in (*weights.files(), *weights.small_files())]
    return f"{VERSION}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


@cache
def _libraries() -> tuple[str, ...]:
    """Names and versions of what computes, looked up once per process."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("torch", "diffusers", "transformers"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name).partition('+')[0]}")
    return tuple(found)


class DiffusionEngine:
    """ImageToVideo by a diffusers model. The model is loaded at the first window and stays until `close`."""

    def __init__(
        self,
        card: Card,
        weights: Weights,
        *,
        placement: Placement | None = None,
        check: Check = lambda _: None,
        digest: Callable[[Path], str] = file_sha256,
        prompts: Path | None = None,
        tune: Callable[[Any], Tuned | None] = lambda _: None,
        every: float = 60.0,
    ) -> None:
        """Nothing is loaded yet.

        `check` sees every weight file before it is opened. `digest` gives a file's sha256. `prompts` is the folder of
        the embeddings' cache. `tune` is given the loaded pipeline once (kernels, compilation, 8-bit arithmetic).
        `every` is the time between checkpoints in seconds, 0 for each step. Raises EngineError for a pipeline not known
        here.
        """
        parts_of(card)
        self._card, self._weights, self._placement = card, weights, placement or Placement()
        self._check, self._digest, self._tune, self._every = check, digest, tune, every
        self._folder = prompts
        self._version = ""
        self._cache: PromptCache | None = None
        self._pipe: Any = None
        self._loras: LoraSwitch | None = None
        self._conditions: dict[str, dict[str, Any]] = {}
        self._expected: tuple[str, ...] = ()
        self.tuned: Tuned | None = None
        """What `tune` did to the loaded pipeline; None before that."""
        self.load_seconds = 0.0
        """Wall seconds that loading the model took, tuning included; 0 before that."""

    @property
    def name(self) -> str:
        """The card's engine, such as `wan`."""
        return self._card.engine

    @property
    def version(self) -> str:
        """Of code, libraries and weights together; hashes the files at the first use."""
        if not self._version:
            self._version = engine_version(self._card, self._weights, self._digest)
        return self._version

    def load(self, loras: Sequence[Lora | tuple[Path, float]] = ()) -> None:
        """Load the model, if it is not there yet, and let exactly these LoRAs act on it.

        Raises EngineUnavailable for what is missing here, EngineError for files that are not this model's.
        """
        if self._pipe is None:
            started = time.perf_counter()
            pipe = load_pipeline(self._card, self._weights, self._placement, self._check)
            self.tuned = self._tune(pipe)
            self.load_seconds = time.perf_counter() - started
            how = self._placement
            self._pipe, self._loras = pipe, LoraSwitch(pipe, self._check, device=how.device, dtype=how.precision)
        assert self._loras is not None
        self._loras.apply([Lora(*lora) for lora in loras])

    def encode_prompts(self, texts: Sequence[str]) -> list[Any]:
        """Embeddings of the texts, (1, tokens, width) on the CPU; those that are expected are made along with them.

        The text encoder is loaded only if a text is new, and dropped before this returns.
        """
        tokens = self._card.text_tokens or WAN_TOKENS
        if self._cache is None:
            of = ("text_encoder", "tokenizer")
            read = (*self._weights.files("text_encoder"), *self._weights.small_files(*of))
            files = "+".join(self._digest(path) for path in read)
            self._cache = PromptCache(f"{VERSION} {files} {self._placement.precision} {tokens}", self._folder)

        def encode(missing: Sequence[str]) -> list[Any]:
            tokenizer, encoder = load_text_encoder(self._card, self._weights, self._placement, self._check)
            padded = self._card.pipeline.startswith("Wan")
            made = [encode_text(tokenizer, encoder, text, tokens=tokens, padded=padded) for text in missing]
            del tokenizer, encoder
            self._free()
            return made

        found = self._cache.get([*texts, *self._expected], encode)
        self._expected = ()
        return found[: len(texts)]

    def expect(self, texts: Sequence[str]) -> None:
        """Texts that later windows will bring: encoded together with the first, before the model is loaded."""
        self._expected = tuple(texts)

    def close(self) -> None:
        """Let the model go."""
        self._pipe, self._loras, self._conditions, self.tuned = None, None, {}, None
        self._free()

    def generate(
        self,
        request: ClipRequest,
        context: Sequence[Frame],
        watch: Watch | None = None,
    ) -> Iterator[Frame]:
        """Yield the window's frames; those of `context` first, bit for bit.

        `request.state` is the folder of the window's checkpoint: found there, the window goes on; the caller removes
        the folder once the frames are safe. When `watch.stop` is set, the window is saved after the running step and
        WindowStopped is raised. Rules are checked, and plates read, before this returns; raises EngineError, BadPicture
        for output that is no picture, OutOfMemory.
        """
        check_request(self._card, request, context)
        first = list(context)
        if not first and request.plate is not None and self._sees_plates:
            first = [fitted(request.plate, request.width, request.height)]
        tail = None
        if request.carries and request.carried is not None:
            side = self._card.spatial_stride
            shape = (self._card.latent_channels, request.height // side, request.width // side)
            tail = read_tail(request.carried, shape, least=request.carries)
        end = None if request.end_plate is None else fitted(request.end_plate, request.width, request.height)
        given = Given(
            video_tensor(first) if first else None,
            None if end is None else video_tensor([end]),
            request.frames,
            request.height,
            request.width,
            None if tail is None else tail[:, :, -request.carries :],
        )
        pictures = _pictures_key(first, end, given)
        return self._frames(request, tuple(context), given, tail, pictures, watch or Watch())

    @property
    def _sees_plates(self) -> bool:
        return self._card.pipeline != "WanPipeline"

    def _frames(
        self,
        request: ClipRequest,
        context: tuple[Frame, ...],
        given: Given,
        tail: Any,
        pictures: str,
        watch: Watch,
    ) -> Iterator[Frame]:
        import torch

        # Not `inference_mode`: its tensors may not be saved into a scheduler that a later window uses outside of it.
        with torch.no_grad(), computing(self._card.name):
            positive, negative = self.encode_prompts([request.prompt, request.negative_prompt])
            _leave_if(watch)
            self.load(request.loras)
            _leave_if(watch)
            key = self._key(request, pictures)
            steps = request.steps or self._card.steps
            kind = conditioner(self._pipe, self._on_device, self._placement.device, cache=self._step_cache(steps))
            guidance = request.guidance or self._card.guidance
            second = self._card.guidance_2 if guidance == self._card.guidance else None
            device = self._placement.device
            words = Words(
                positive.to(device, kind.dtype), negative.to(device, kind.dtype), guidance, second or guidance
            )
            random = torch.Generator("cpu").manual_seed(request.seed)
            condition = self._condition(kind, given, pictures, random)
            latents = denoised(
                kind,
                given,
                condition,
                words,
                steps=steps,
                random=random,
                saved=Checkpoints(request.state, key, self._every),
                watch=watch,
            )
            _leave_if(watch)
            new = kind.finished(latents, condition).float()
            if tail is not None:
                new = new[:, :, 1 + request.carries :]
            try:
                video = judged(kind.decode(latents, condition) if tail is None else kind.decode_after(tail, new))
            except BadPicture:
                if request.state is not None:
                    forget_state(request.state, key)  # going on from it would only show the same again
                raise
            made = 0 if tail is None else len(context)  # by the windows before: the stream goes on behind them
            if made + video.shape[1] != request.frames:
                raise EngineError(
                    f"{self._card.name} decoded {made + video.shape[1]} frames, {request.frames} were asked for"
                )
            if request.leaves is not None:
                stream = new.cpu() if tail is None else torch.cat([tail, new.cpu()], dim=2)
                leave_tail(request.leaves, stream[:, :, -max(kind.looks_back, LEAST) :])
        for frame in context:
            yield frame.copy()
        yield from frames_of(video, len(context) - made)

    def _step_cache(self, steps: int) -> StepCache | None:
        """A new one for the window, where the profile asks for it and the model's ratios are known."""
        if self.tuned is None or not self.tuned.step_cache:
            return None
        from models.step_cache import StepCache, computed_steps

        return StepCache(computed_steps(self._card.mag_ratios, steps))

    def _condition(self, kind: Wan, given: Given, pictures: str, random: Any) -> dict[str, Any]:
        """What the pictures become in the model's terms; the last two are kept for takes that share them."""
        sampled = type(kind).__name__ == "CogVideo"  # its encoding draws from the window's own random numbers
        if sampled or pictures not in self._conditions:
            made = kind.conditioned(given, random)
            if sampled:
                return made
            self._conditions[pictures] = made
            while len(self._conditions) > 2:
                self._conditions.pop(next(iter(self._conditions)))
        return self._conditions[pictures]

    def _key(self, request: ClipRequest, pictures: str) -> str:
        """sha256 of all that the latents depend on."""
        adapters = [
            (self._digest(lora.path), lora.scale, self._digest(lora.low_noise) if lora.low_noise else "")
            for lora in (Lora(*pair) for pair in request.loras)
        ]
        how = self._placement  # tiles and offloading are left out: what was denoised is decoded in a thriftier way
        facts = [
            self.version,
            how.device.partition(":")[0],
            how.precision,
            how.fp8,
            str(self.tuned),
            pictures,
        ]
        facts += [request.frames, request.width, request.height, request.seed, request.prompt, request.negative_prompt]
        facts += [request.steps or self._card.steps, request.guidance or self._card.guidance, adapters]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _on_device(self, part: str) -> Any:
        """The part, on the device. Where parts take turns, the others leave it first."""
        wanted = getattr(self._pipe, part)
        mode, device = self._placement.offload, self._placement.device
        if mode == "none" or (mode == "group" and part.startswith("transformer")):
            return wanted
        for name in ("transformer", "transformer_2", "vae", "image_encoder"):
            other = getattr(self._pipe, name, None)
            if other is not None and other is not wanted and not (mode == "group" and name.startswith("transformer")):
                other.to("cpu")
        return wanted.to(device)

    def _free(self) -> None:
        """Give dropped parts' memory back."""
        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            # pinned blocks of offloaded layers, which stay with the process otherwise; torch has no public name for it
            getattr(torch._C, "_host_emptyCache", lambda: None)()


def _leave_if(watch: Watch) -> None:
    """Raise WindowStopped between the long parts of a window; what its steps made is saved already."""
    if watch.stop.is_set():
        raise WindowStopped("stopped on request; render again to go on")


def _pictures_key(first: Sequence[Frame], end: Frame | None, given: Given) -> str:
    """sha256 of the condition pictures, the latents that are carried and the window's shape."""
    facts = f"{given.frames} {given.width}x{given.height} {len(first)} {end is None}"
    if given.carried is not None:
        facts += f" latents-{given.carried.shape[2]} {latents_digest(given.carried)}"
    digest = hashlib.sha256(facts.encode())
    for frame in (*first, *(() if end is None else (end,))):
        digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()
