"""Model cards: what each model can do and needs, read from the TOML files in `models/cards/`.

Knows: the card files, their fields and their bounds; how a card becomes the GeneratorSpec that the planner reads.
Does not know: engines, weights on this machine, shots. Memory: a few kilobytes, read once.

The numbers of a model (81, 16, 4n+1) stand in its card and nowhere else. A card with `stands_in_for` takes the window
rule and the preset sizes of the card that it names.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, TypeVar

from models.camera import VERSION as ANIMATIC_VERSION
from models.interface import EngineError, GeneratorSpec

T = TypeVar("T")

ANIMATIC: Final = "animatic"
"""Name of the built-in engine and of its card."""


class CardError(EngineError):
    """A card is unknown or its file is wrong; the message names the file, the field and what is allowed."""


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
    overlap: int
    """Frames that neighbouring windows share by default."""
    context: int
    """Most frames of the previous window that the model can be conditioned on."""
    sizes: tuple[tuple[int, int], ...]
    """Preset sizes (width, height) in pixels, best first."""
    size_multiple: int
    """Width and height must be multiples of this, in pixels."""
    smallest: int
    """Least width or height in pixels."""
    largest: int
    """Greatest width or height in pixels."""
    needs_plate: bool = True
    """False for a text-to-video model."""
    needs_prompt: bool = True
    """False where words change nothing."""
    steps: int = 0
    """Default denoising steps; 0 where the word means nothing."""
    guidance: float = 0.0
    """Default guidance scale; 0 where the word means nothing."""
    negative_prompt: str = ""
    """Default negative prompt."""
    seconds_per_megapixel: float = 0.5
    """Prior for estimates: seconds per megapixel of generated frame on the machine named in the card."""


WINDOW_FIELDS: Final = ("rate", "frame_step", "frame_offset", "longest_window", "sizes")
"""What a stand-in takes from the card that it stands in for."""


@cache
def cards() -> Mapping[str, Card]:
    """Every card by name, in order of name. Raises CardError for a file that is not a card."""
    folder = files("models").joinpath("cards")
    texts = {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
    return parse_cards(texts)


def card(name: str) -> Card:
    """The card of that name. Raises CardError naming the known ones."""
    known = cards()
    if name not in known:
        raise CardError(f"no model card is called {name!r}; use one of: {', '.join(known)}")
    return known[name]


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
    return GeneratorSpec(
        name=card.name,
        engine=card.engine,
        version="1",  # weights are named, and their hashes added, by whoever loads them
        native_rate=card.rate,
        frame_step=card.frame_step,
        frame_offset=card.frame_offset,
        longest_window=card.longest_window,
        overlap=card.overlap,
        context=card.context,
        sizes=card.sizes,
        size_multiple=card.size_multiple,
        smallest=card.smallest,
        largest=card.largest,
        needs_plate=card.needs_plate,
        needs_prompt=card.needs_prompt,
        steps=card.steps,
        guidance=card.guidance,
        negative_prompt=card.negative_prompt,
        seconds_per_megapixel=card.seconds_per_megapixel,
    )


def animatic_spec(stands_in_for: Card) -> GeneratorSpec:
    """The built-in engine in another model's place: that model's window rule and sizes, its own size rule.

    `name` stays the name of the card that the rules come from, so a preview's plan is the plan of the real thing.
    """
    own = card(ANIMATIC)
    rules = own if stands_in_for.name == own.name else stands_in_for
    return GeneratorSpec(
        name=rules.stands_in_for or rules.name,
        engine=ANIMATIC,
        version=ANIMATIC_VERSION,
        native_rate=rules.rate,
        frame_step=rules.frame_step,
        frame_offset=rules.frame_offset,
        longest_window=rules.longest_window,
        overlap=own.overlap,
        context=own.context,
        sizes=rules.sizes,
        size_multiple=own.size_multiple,
        smallest=own.smallest,
        largest=own.largest,
        needs_plate=True,
        needs_prompt=False,
        seconds_per_megapixel=own.seconds_per_megapixel,
    )


def _table(name: str, text: str) -> dict[str, object]:
    """The TOML table of one card, its keys known."""
    try:
        table: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{name}.toml is not TOML: {error}; correct the file") from error
    known = [field.name for field in fields(Card) if field.name != "name"]
    if unknown := [key for key in table if key not in known]:
        raise CardError(f"{name}.toml: {unknown[0]}: no such field; use one of: {', '.join(known)}")
    return table


def _card(name: str, table: Mapping[str, object]) -> Card:
    """A checked card from a table whose keys are known."""
    read = _Reader(name, table)
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
        overlap=read.count("overlap", 0),
        context=read.count("context", 0),
        sizes=read.typed("sizes", "a list of [width, height]", _sizes),
        size_multiple=read.count("size_multiple", 1),
        smallest=read.count("smallest", 1),
        largest=read.count("largest", 1),
        needs_plate=read.typed("needs_plate", "true or false", _flag),
        needs_prompt=read.typed("needs_prompt", "true or false", _flag),
        steps=read.count("steps", 0, 0),
        guidance=read.number("guidance", 0.0),
        negative_prompt=read.text("negative_prompt", ""),
        seconds_per_megapixel=read.number("seconds_per_megapixel", None),
    )
    if made.longest_window < made.frame_offset or (made.longest_window - made.frame_offset) % made.frame_step:
        rule = f"{made.frame_step}n+{made.frame_offset}"
        raise CardError(f"{name}.toml: longest_window: {made.longest_window} is not {rule} frames; use a legal length")
    if made.context >= made.longest_window or made.overlap >= made.longest_window:
        raise CardError(f"{name}.toml: overlap and context must be shorter than {made.longest_window} frames")
    for width, height in made.sizes:
        bad = width % made.size_multiple or height % made.size_multiple
        if bad or min(width, height) < made.smallest or max(width, height) > made.largest:
            rule = f"multiples of {made.size_multiple} from {made.smallest} to {made.largest}"
            raise CardError(f"{name}.toml: sizes: {width}x{height} breaks the card's own rule; use {rule}")
    return made


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one field at a time and says what was wrong with it."""

    name: str
    table: Mapping[str, object]

    def typed(self, key: str, wanted: str, convert: Callable[[object], T]) -> T:
        if key not in self.table:
            raise CardError(f"{self.name}.toml: {key} is missing; add {wanted}")
        value = self.table[key]
        try:
            return convert(value)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise CardError(f"{self.name}.toml: {key}: {value!r} is not {wanted}; correct it") from error

    def text(self, key: str, default: str | None = None) -> str:
        return default if default is not None and key not in self.table else self.typed(key, "a text", _text)

    def count(self, key: str, least: int, default: int | None = None) -> int:
        if default is not None and key not in self.table:
            return default
        return self.typed(key, f"a whole number, {least} or more", lambda value: _whole(value, least))

    def number(self, key: str, default: float | None) -> float:
        if default is not None and key not in self.table:
            return default
        return self.typed(key, "a number, 0 or more", _number)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


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


def _rate(value: object) -> Fraction:
    rate = Fraction(_text(value))
    if rate <= 0:
        raise ValueError
    return rate


def _sizes(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    return tuple((_whole(width, 1), _whole(height, 1)) for width, height in value)
