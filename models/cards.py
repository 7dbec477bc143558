"""Model cards: what each model can do and needs, as the TOML files in `models/cards/` state it.

Knows: the values of a card; how a card becomes the GeneratorSpec that the planner reads.
Does not know: TOML (`card_reader`), engines, weights on this machine, shots. Memory: a few kilobytes, read once.

The numbers of a model (81, 16, 4n+1, 40 layers) stand in its card and nowhere else: nothing is guessed from a file's
shapes. A new model of a known pipeline is a new card. A card with `stands_in_for` takes the window rule and the preset
sizes of the card that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.camera import VERSION as ANIMATIC_VERSION
from models.context import with_context
from models.interface import EngineError, GeneratorSpec

ANIMATIC: Final = "animatic"
"""Name of the built-in engine and of its card."""

Number = int | tuple[int, ...]
"""A number of an architecture: a width, a count, a switch (0 or 1), or a list of them."""


class CardError(EngineError):
    """A card is unknown or its file is wrong; the message names the file, the field and what is allowed."""


@dataclass(frozen=True, slots=True)
class CardFile:
    """One file of a model's repository."""

    path: str
    """Where it lies in the repository, with forward slashes."""
    bytes: int | None = None
    """Its size; None where the card does not know it."""
    sha256: str | None = None
    """64 lower-case digits; None where the card does not know them: the lock written by the first pull does."""


@dataclass(frozen=True, slots=True)
class Card:
    """One model, as its card describes it."""

    name: str
    """The file's stem, such as `wan2.1-i2v-14b-720p`."""
    title: str
    """What people call it."""
    engine: str
    """Which engine renders it: `animatic`, `wan` ..."""
    licence: str
    """SPDX identifier of the weights' licence."""
    sources: tuple[str, ...]
    """Where the values come from."""
    stands_in_for: str
    """Card whose window rule and sizes this one takes; empty if the card has its own."""
    rate: Fraction
    """Frames per second that the model makes."""
    frame_step: int
    """Windows have frame_step * n + frame_offset frames, n >= 0."""
    frame_offset: int
    longest_window: int
    """Most frames of one window; itself a legal length."""
    contexts: tuple[str, ...]
    """Kinds of context that the model was trained for, as `models.context` writes them; the first is its default."""
    sizes: tuple[tuple[int, int], ...]
    """Preset sizes (width, height) in pixels, best first."""
    size_multiple: int
    """Width and height must be multiples of this, in pixels."""
    smallest: int
    """Least width or height in pixels."""
    largest: int
    """Greatest width or height in pixels."""
    experimental: tuple[str, ...] = ()
    """Kinds of context that it can be given besides; how they look only its weights can tell."""
    free: int = 0
    """Frames that both windows make besides those handed on, to be morphed and compared in colour."""
    presets_only: bool = False
    """True where the model makes its preset sizes and no other."""
    needs_plate: bool = True
    """False for a model that can do without a still."""
    takes_end_plate: bool = False
    """Whether the model was trained to arrive at a given last frame."""
    needs_prompt: bool = True
    """False where words change nothing."""
    steps: int = 0
    """Default denoising steps; 0 where the word means nothing."""
    guidance: float = 0.0
    """Default guidance scale, of the high-noise expert where there are two; 0 where the word means nothing."""
    guidance_2: float | None = None
    """Guidance scale of the low-noise expert; None for a model of one."""
    shift: float = 0.0
    """Flow shift of the noise schedule; 0 where the scheduler has none."""
    boundary: float | None = None
    """Share of the noise schedule (0 to 1) from which on the high-noise expert works; None for a model of one."""
    negative_prompt: str = ""
    """Default negative prompt."""
    draft_lora: str = ""
    """Name of the LoRA that makes do with few steps, as the installed LoRAs are named; empty for none."""
    draft_steps: int = 0
    """Denoising steps that it was made for; 0 without it."""
    draft_guidance: float = 0.0
    """Guidance scale that it was made for (1: none); 0 without it."""
    mag_ratios: tuple[float, ...] = ()
    """Per step of a calibration of these weights, the size of what the blocks add over that of the step before, from
    1.0: what a step cache is planned by. Empty where nobody measured it."""
    seconds_per_megapixel: float = 0.5
    """Prior for estimates: seconds per megapixel of generated frame on the machine `measured_on`."""
    seconds_per_step: float = 0.0
    """Prior for estimates: seconds per denoising step of the longest window at the first preset size."""
    measured_on: str = ""
    """Machine of both priors, with `estimated` where they are derived from another model's."""
    pipeline: str = ""
    """Class of diffusers that runs it; empty for an engine of ours."""
    repository: str = ""
    """`owner/name` on the hub; empty without weights."""
    revision: str = ""
    """Commit or branch of the repository; the lock written by a pull records the commit."""
    files: tuple[CardFile, ...] = ()
    """The repository's files that the engine needs."""
    transformer: Mapping[str, Number] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """The architecture, as the published config names it; what is not named has the diffusers class's default."""
    parameters: float = 0.0
    """Parameters of the transformer, of one expert where there are two, in thousand millions."""
    experts: int = 1
    """Transformers of `parameters` each, of which one works at a time."""
    text_encoder: float = 0.0
    """Parameters of the text encoder in thousand millions."""
    image_encoder: float = 0.0
    """Parameters of the image encoder in thousand millions; 0 without one."""
    vae: float = 0.0
    """Parameters of the VAE in thousand millions."""
    text_tokens: int = 0
    """Tokens that every prompt is padded or cut to."""
    latent_channels: int = 0
    """Channels of the VAE's latents."""
    spatial_stride: int = 1
    """Pixels of a side per latent."""
    temporal_stride: int = 1
    """Frames per latent, after the first, which has a latent of its own."""
    activation_bytes: float = 0.0
    """Bytes live at the peak of a denoising step, per token and channel of the transformer's width, in 16 bits."""
    vae_bytes: float = 0.0
    """Bytes live at the peak of decoding without tiles, per pixel of the picture, in 32 bits, without the output."""
    vae_tile: int = 0
    """Pixels of a picture that the VAE decodes at once when it works in tiles: width times height of a tile."""
    vram_minimum_gb: float = 0.0
    """Graphics memory that its source calls the least, in 10^9 bytes."""
    vram_recommended_gb: float = 0.0
    """Graphics memory that its source recommends, in 10^9 bytes."""

    @property
    def width(self) -> int:
        """Channels of the transformer: heads times channels of a head; 0 without a transformer."""
        heads, channels = (self.transformer.get(key, 0) for key in ("num_attention_heads", "attention_head_dim"))
        assert isinstance(heads, int)
        assert isinstance(channels, int)
        return heads * channels


@cache
def cards() -> Mapping[str, Card]:
    """Every card by name, in order of name. Raises CardError for a file that is not a card."""
    from models.card_reader import parse_cards  # it makes the values of this module

    folder = files("models").joinpath("cards")
    texts = {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
    return parse_cards(texts)


def cards_with(weights: Path) -> Mapping[str, Card]:
    """Our cards, and those that lie beside their weights as `WEIGHTS/NAME/card.toml`; the latter win.

    A card that cannot be read is left out, so that it stops its own model alone: `broken_cards` says what is wrong.
    """
    found = {name: made for name, made in _beside(weights).items() if isinstance(made, Card)}
    return MappingProxyType({**cards(), **found}) if found else cards()


def broken_cards(weights: Path) -> Mapping[str, CardError]:
    """The cards beside their weights that cannot be used, by name, and why."""
    return {name: made for name, made in _beside(weights).items() if isinstance(made, CardError)}


def _beside(weights: Path) -> Mapping[str, Card | CardError]:
    found: dict[str, Card | CardError] = {}
    for path in sorted(weights.glob("*/card.toml")):
        try:
            found[path.parent.name] = _parsed(path.parent.name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            found[path.parent.name] = CardError(f"{path} cannot be read ({error}); save it as UTF-8, or take it away")
        except CardError as error:
            found[path.parent.name] = CardError(str(error).replace(f"{path.parent.name}.toml", str(path), 1))
    return found


@lru_cache(maxsize=64)
def _parsed(name: str, text: str) -> Card:
    """A card of this text, read once: every step of every shot asks for it."""
    from models.card_reader import parse_cards

    return parse_cards({name: text})[name]


def card(name: str) -> Card:
    """The card of ours of that name. Raises CardError naming the known ones."""
    return card_among(cards(), name)


def card_among(known: Mapping[str, Card], name: str) -> Card:
    """The card of that name. Raises CardError naming the known ones."""
    if name not in known:
        raise CardError(f"no model card is called {name!r}; use one of: {', '.join(known)}")
    return known[name]


def generator_spec(card: Card, *, engine: str | None = None) -> GeneratorSpec:
    """What the planner must know to render this card, with its own engine or with `animatic` in its place.

    Raises CardError if the engine renders neither.
    """
    wanted = engine or card.engine
    if wanted == ANIMATIC:
        return animatic_spec(card)
    if wanted != card.engine:
        raise CardError(
            f"{card.name} is rendered by the engine {card.engine!r}, not by {wanted!r}; "
            f"leave the engine out, or use {ANIMATIC!r} to preview it"
        )
    spec = GeneratorSpec(
        name=card.name,
        engine=card.engine,
        version="1",  # weights are named, and their hashes added, by whoever loads them
        native_rate=card.rate,
        frame_step=card.frame_step,
        frame_offset=card.frame_offset,
        longest_window=card.longest_window,
        overlap=0,
        context=0,
        contexts=card.contexts,
        experimental=card.experimental,
        free=card.free,
        sizes=card.sizes,
        size_multiple=card.size_multiple,
        smallest=card.smallest,
        largest=card.largest,
        needs_plate=card.needs_plate,
        needs_prompt=card.needs_prompt,
        takes_end_plate=card.takes_end_plate,
        presets_only=card.presets_only,
        steps=card.steps,
        guidance=card.guidance,
        negative_prompt=card.negative_prompt,
        seconds_per_megapixel=card.seconds_per_megapixel,
    )
    return with_context(spec, card.contexts[0])


def animatic_spec(stands_in_for: Card) -> GeneratorSpec:
    """The built-in engine in another model's place: that model's window rule and sizes, its own size rule.

    `name` stays the name of the card that the rules come from, so a preview's plan is the plan of the real thing.
    """
    own = card(ANIMATIC)
    rules = own if stands_in_for.name == own.name else stands_in_for
    spec = GeneratorSpec(
        name=rules.stands_in_for or rules.name,
        engine=ANIMATIC,
        version=ANIMATIC_VERSION,
        native_rate=rules.rate,
        frame_step=rules.frame_step,
        frame_offset=rules.frame_offset,
        longest_window=rules.longest_window,
        overlap=0,
        context=0,
        contexts=rules.contexts,
        experimental=rules.experimental,
        free=rules.free,
        sizes=rules.sizes,
        size_multiple=own.size_multiple,
        smallest=own.smallest,
        largest=own.largest,
        needs_plate=True,
        needs_prompt=False,
        seconds_per_megapixel=own.seconds_per_megapixel,
    )
    return with_context(spec, rules.contexts[0])
