"""Reads model cards: TOML texts into Card values, or the file, the field and what is allowed there.

Knows: the TOML form of a card, the bounds of its fields, what must agree within one card.
Does not know: folders, engines, weights. Memory: the texts. Every fault raises CardError.

`[shards]` is short for the files of a sharded safetensors: the stem and how many there are, their index included.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from types import MappingProxyType
from typing import Final, TypeVar

from models.cards import Card, CardError, CardFile, Number
from models.context import ALLOWED, ContextKind, Kind

T = TypeVar("T")

WINDOW_FIELDS: Final = (
    *("rate", "frame_step", "frame_offset", "longest_window"),
    *("contexts", "experimental", "free", "sizes"),
)
"""What a stand-in takes from the card that it stands in for."""
WAN_TOKENS: Final = 512
"""Words of Wan's cross-attention: what comes before the last 512 is the still (diffusers 0.42, transformer_wan.py)."""
PIPELINES: Final = ("WanImageToVideoPipeline", "WanPipeline", "WanVACEPipeline", "CogVideoXImageToVideoPipeline")
"""The diffusers classes that an engine of ours runs."""
CACHED_PIPELINES: Final = ("WanImageToVideoPipeline", "WanPipeline")
"""Those whose transformer a step cache can act on."""
TAKES: Final[Mapping[str, tuple[Kind, ...]]] = {
    "WanImageToVideoPipeline": (Kind.FRAME, Kind.FRAMES, Kind.LATENTS),
    "WanPipeline": (Kind.NONE, Kind.LATENTS),  # words alone: latents can be pinned, frames have nowhere to go
    "WanVACEPipeline": (Kind.FRAME, Kind.FRAMES, Kind.LATENTS),
    "CogVideoXImageToVideoPipeline": (Kind.FRAME,),  # one frame by its input, and no flow to pin latents to
}
"""Kinds of context that an engine of ours can give each of them."""


def parse_cards(texts: Mapping[str, str]) -> Mapping[str, Card]:
    """Cards from TOML texts by name, stand-ins resolved. Raises CardError naming file and field."""
    tables = {name: _table(name, texts[name]) for name in sorted(texts)}
    found: dict[str, Card] = {}
    for name, table in tables.items():
        if model := table.get("stands_in_for"):
            if model not in tables or "stands_in_for" in tables[str(model)]:
                own = [other for other, its in tables.items() if "stands_in_for" not in its]
                raise CardError(
                    f"{name}.toml: stands_in_for: {model!r} has no window rule of its own; "
                    f"name one of: {', '.join(own) or 'none is installed'}"
                )
            if own_rule := [field for field in WINDOW_FIELDS if field in table]:
                raise CardError(f"{name}.toml: {own_rule[0]}: comes from {model}; remove it, or remove stands_in_for")
            source = tables[str(model)]
            table = table | {field: source[field] for field in WINDOW_FIELDS if field in source}
        found[name] = _card(name, table)
    return MappingProxyType(found)


def _table(name: str, text: str) -> dict[str, object]:
    """The TOML table of one card, its keys known."""
    try:
        table: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{name}.toml is not TOML: {error}; correct the file") from error
    known = [field.name for field in fields(Card) if field.name != "name"] + ["shards"]
    if gone := [key for key in ("overlap", "context") if key in table]:
        raise CardError(
            f"{name}.toml: {gone[0]}: is no longer stated; state contexts (its default first), experimental and free "
            "instead, as the cards in models/cards do"
        )
    if unknown := [key for key in table if key not in known]:
        raise CardError(f"{name}.toml: {unknown[0]}: no such field; use one of: {', '.join(known)}")
    return table


def _card(name: str, table: Mapping[str, object]) -> Card:
    """A checked card from a table whose keys are known. What a diffusers pipeline needs is then required."""
    read = _Reader(name, table)
    pipeline = read.typed("pipeline", f"one of: {', '.join(PIPELINES)}", _pipeline, "")
    none, zero, one, no = (None, None, None, None) if pipeline else ("", 0, 1, 0.0)
    no_files: tuple[CardFile, ...] = ()
    made = Card(
        name=name,
        title=read.text("title"),
        engine=read.text("engine"),
        licence=read.text("licence"),
        sources=read.typed("sources", "a list of texts", _texts),
        stands_in_for=read.text("stands_in_for", ""),
        rate=read.typed("rate", "a positive rate in quotes, 'N' or 'N/D'", _rate),
        frame_step=read.count("frame_step", 1),
        frame_offset=read.count("frame_offset", 1),
        longest_window=read.count("longest_window", 1),
        contexts=read.typed("contexts", f"a list of kinds of context ({ALLOWED}), its default first", _kinds),
        experimental=read.typed("experimental", f"a list of kinds of context ({ALLOWED})", _more_kinds, ()),
        free=read.count("free", 0),
        sizes=read.typed("sizes", "a list of [width, height]", _sizes),
        size_multiple=read.count("size_multiple", 1),
        smallest=read.count("smallest", 1),
        largest=read.count("largest", 1),
        presets_only=read.typed("presets_only", "true or false", _flag, False),
        needs_plate=read.typed("needs_plate", "true or false", _flag),
        takes_end_plate=read.typed("takes_end_plate", "true or false", _flag, None if pipeline else False),
        needs_prompt=read.typed("needs_prompt", "true or false", _flag),
        steps=read.count("steps", 0, zero),
        guidance=read.number("guidance", no),
        guidance_2=read.number("guidance_2", None) if "guidance_2" in table else None,
        shift=read.number("shift", no),
        boundary=read.typed("boundary", "a number above 0 and below 1", _share) if "boundary" in table else None,
        negative_prompt=read.text("negative_prompt", ""),
        draft_lora=read.typed("draft_lora", "a plain name (a-z, 0-9, dots, dashes)", _plain, ""),
        draft_steps=read.count("draft_steps", 1, 0),
        draft_guidance=read.number("draft_guidance", 0.0),
        mag_ratios=read.typed("mag_ratios", "a list of numbers above 0 and up to 2, 1.0 first", _ratios, ()),
        seconds_per_megapixel=read.number("seconds_per_megapixel", None),
        seconds_per_step=read.number("seconds_per_step", no),
        measured_on=read.text("measured_on", none),
        pipeline=pipeline,
        repository=read.text("repository", none),
        revision=read.text("revision", none),
        files=(
            *read.typed("files", "a list of paths or of {path, bytes, sha256}", _files, None if pipeline else no_files),
            *read.typed("shards", "a table of stems and counts", _shards, no_files),
        ),
        transformer=read.typed("transformer", "a table of whole numbers", _numbers, None if pipeline else {}),
        parameters=read.number("parameters", no),
        experts=read.count("experts", 1, 1),
        text_encoder=read.number("text_encoder", no),
        image_encoder=read.number("image_encoder", 0.0),
        vae=read.number("vae", no),
        text_tokens=read.count("text_tokens", 0, zero),
        latent_channels=read.count("latent_channels", 0, zero),
        spatial_stride=read.count("spatial_stride", 1, one),
        temporal_stride=read.count("temporal_stride", 1, one),
        activation_bytes=read.number("activation_bytes", no),
        vae_bytes=read.number("vae_bytes", no),
        vae_tile=read.count("vae_tile", 0, zero),
        vram_minimum_gb=read.number("vram_minimum_gb", no),
        vram_recommended_gb=read.number("vram_recommended_gb", no),
    )
    _agree(made)
    return made


def _agree(made: Card) -> None:
    """Raise CardError where two fields of one card contradict each other."""
    if made.longest_window < made.frame_offset or (made.longest_window - made.frame_offset) % made.frame_step:
        rule = f"{made.frame_step}n+{made.frame_offset}"
        raise CardError(
            f"{made.name}.toml: longest_window: {made.longest_window} is not {rule} frames; use a legal length"
        )
    _contexts_agree(made)
    for width, height in made.sizes:
        bad = width % made.size_multiple or height % made.size_multiple
        if bad or min(width, height) < made.smallest or max(width, height) > made.largest:
            rule = f"multiples of {made.size_multiple} from {made.smallest} to {made.largest}"
            raise CardError(f"{made.name}.toml: sizes: {width}x{height} breaks the card's own rule; use {rule}")
    if (made.experts > 1) != (made.boundary is not None):
        raise CardError(f"{made.name}.toml: boundary: stands with two experts, and with no other number; correct it")
    if made.guidance_2 is not None and made.experts == 1:
        raise CardError(f"{made.name}.toml: guidance_2: is the second expert's; remove it, or state experts = 2")
    drafts = (bool(made.draft_lora), made.draft_steps > 0, made.draft_guidance > 0)
    if any(drafts) and not all(drafts):
        raise CardError(
            f"{made.name}.toml: draft_lora, draft_steps and draft_guidance stand together; state all three, or none"
        )
    if made.draft_steps > made.steps:
        raise CardError(
            f"{made.name}.toml: draft_steps: {made.draft_steps} are more than steps, {made.steps}; correct it"
        )
    if made.mag_ratios and made.pipeline not in CACHED_PIPELINES:
        raise CardError(f"{made.name}.toml: mag_ratios: {made.pipeline or made.engine} has no step cache; remove them")
    if "image_dim" in made.transformer and made.text_tokens != WAN_TOKENS:
        raise CardError(
            f"{made.name}.toml: text_tokens: is {made.text_tokens}; a Wan transformer that looks at a still "
            f"(image_dim) tells it from the words by their number, which must be {WAN_TOKENS}"
        )
    if made.pipeline and not made.width:
        raise CardError(f"{made.name}.toml: transformer: needs num_attention_heads and attention_head_dim; add them")


def _contexts_agree(made: Card) -> None:
    """Raise CardError for a kind of context that no window has room for, or that the pipeline has no input for."""
    for field, kinds in (("contexts", made.contexts), ("experimental", made.experimental)):
        for text in kinds:
            kind = ContextKind.parse(text)
            count = kind.frames(made.frame_step) + (made.free if kind.kind in (Kind.FRAME, Kind.FRAMES) else 0)
            if count >= made.longest_window:
                raise CardError(
                    f"{made.name}.toml: {field}: {text} and what is free take {count} frames, which must be fewer than "
                    f"{made.longest_window}; correct them"
                )
            if made.pipeline and kind.kind not in TAKES[made.pipeline]:
                known = ", ".join(kind.value for kind in TAKES[made.pipeline])
                raise CardError(f"{made.name}.toml: {field}: {made.pipeline} takes {known}, not {text}; correct it")
    if twice := [text for text in made.experimental if text in made.contexts]:
        raise CardError(f"{made.name}.toml: experimental: {twice[0]} stands in contexts already; remove one of them")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one field at a time and says what was wrong with it."""

    name: str
    table: Mapping[str, object]

    def typed(self, key: str, wanted: str, convert: Callable[[object], T], default: T | None = None) -> T:
        if key not in self.table:
            if default is not None:
                return default
            raise CardError(f"{self.name}.toml: {key} is missing; add {wanted}")
        value = self.table[key]
        try:
            return convert(value)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise CardError(f"{self.name}.toml: {key}: {value!r} is not {wanted}; correct it") from error

    def text(self, key: str, default: str | None = None) -> str:
        return self.typed(key, "a text", _text, default)

    def count(self, key: str, least: int, default: int | None = None) -> int:
        return self.typed(key, f"a whole number, {least} or more", lambda value: _whole(value, least), default)

    def number(self, key: str, default: float | None) -> float:
        return self.typed(key, "a number, 0 or more", _number, default)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _kinds(value: object) -> tuple[str, ...]:
    """One kind of context or more, none twice."""
    found = _more_kinds(value)
    if not found:
        raise ValueError
    return found


def _more_kinds(value: object) -> tuple[str, ...]:
    found = tuple(str(ContextKind.parse(text)) for text in _texts(value))
    if len(set(found)) < len(found):
        raise ValueError
    return found


def _pipeline(value: object) -> str:
    if value not in PIPELINES:
        raise ValueError
    return _text(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _whole(value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError
    return float(value)


def _ratios(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) < 2 or value[0] != 1:
        raise ValueError
    found = tuple(_number(item) for item in value)
    if not all(0 < ratio <= 2 for ratio in found):
        raise ValueError
    return found


def _plain(value: object) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", _text(value)):
        raise ValueError
    return _text(value)


def _share(value: object) -> float:
    if not 0 < _number(value) < 1:
        raise ValueError
    return _number(value)


def _rate(value: object) -> Fraction:
    rate = Fraction(_text(value))
    if rate <= 0:
        raise ValueError
    return rate


def _sizes(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    return tuple((_whole(width, 1), _whole(height, 1)) for width, height in value)


def _numbers(value: object) -> Mapping[str, Number]:
    """Whole numbers, switches and lists of whole numbers by name."""
    if not isinstance(value, dict):
        raise TypeError
    return MappingProxyType({key: _one_number(item) for key, item in value.items()})


def _one_number(value: object) -> Number:
    if isinstance(value, list):
        return tuple(_whole(item, 0) for item in value)
    return value if isinstance(value, bool) else _whole(value, 0)


def _files(value: object) -> tuple[CardFile, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_file(item) for item in value)


def _file(value: object) -> CardFile:
    if isinstance(value, str):
        return CardFile(value)
    if not isinstance(value, dict) or set(value) - {"path", "bytes", "sha256"} or "path" not in value:
        raise ValueError
    digest = value.get("sha256")
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", _text(digest)):
        raise ValueError
    size = value.get("bytes")
    return CardFile(_text(value["path"]), None if size is None else _whole(size, 0), digest)


def _shards(value: object) -> tuple[CardFile, ...]:
    if not isinstance(value, dict):
        raise TypeError
    found = []
    for stem, count in value.items():
        total = _whole(count, 2)
        found.append(CardFile(f"{stem}.safetensors.index.json"))
        found += [CardFile(f"{stem}-{part:05}-of-{total:05}.safetensors") for part in range(1, total + 1)]
    return tuple(found)
