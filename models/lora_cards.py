"""What lies in `WEIGHTS/loras`, and the card that may lie beside a LoRA: `NAME.toml` beside `NAME.safetensors`.

Knows: the folder, the TOML form of a card, the bounds of its fields. Does not know: torch, what a LoRA holds, shots.
A LoRA without a card is fine: it is for any model, at full strength, without trigger words. Nothing is guessed from
names: the file for the low-noise expert of a two-expert model stands in the card.
Memory: one card at a time, at most LARGEST bytes each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from models.cards import CardError

T = TypeVar("T")

FOLDER: Final = "loras"
"""Name of the folder in the weights folder whose LoRAs have names."""
ENDING: Final = ".safetensors"
LARGEST: Final = 1 << 16
"""Most bytes of a card; ours have less than a thousand."""
STRONGEST: Final = 10.0
"""Greatest scale, either way; the same bound as in a shot list."""
LONGEST: Final = 1_000
"""Most characters of a text."""
KNOWN: Final = ("title", "licence", "models", "trigger", "scale", "low_noise", "source")
"""Fields of a card."""


@dataclass(frozen=True, slots=True)
class LoraCard:
    """One LoRA, as its card describes it; without a card, the defaults."""

    name: str
    """The file's stem: what a shot list calls it."""
    file: Path
    """The .safetensors file."""
    title: str = ""
    """What people call it."""
    licence: str = ""
    """SPDX identifier of its licence."""
    models: tuple[str, ...] = ()
    """Names of the model cards that it is made for; empty for any."""
    trigger: str = ""
    """Words that are appended to the prompt."""
    scale: float = 1.0
    """How strongly it acts where the shot list does not say, -10 to 10."""
    low_noise: Path | None = None
    """The file for the low-noise expert of a two-expert model; None: `file` acts on both."""
    source: str = ""
    """Where it came from."""


def lora_file(weights: Path, name: str) -> Path:
    """Where the LoRA of that name lies, or would."""
    return weights / FOLDER / f"{name}{ENDING}"


def lora_cards(weights: Path) -> Mapping[str, LoraCard]:
    """Every LoRA of the weights folder by name, in order of name, with its card or without.

    Raises CardError for a card that is wrong.
    """
    try:
        files = sorted(path for path in (weights / FOLDER).iterdir() if path.suffix == ENDING)
    except OSError:  # no such folder: no LoRAs
        files = []
    return MappingProxyType({path.stem: lora_card(path) for path in files if _nameable(path.stem)})


def _nameable(stem: str) -> bool:
    """Whether a cell can name it: hidden files are not meant to be, quotes hold names together."""
    return stem.isprintable() and not stem.startswith(".") and '"' not in stem and stem == stem.strip()


def lora_card(file: Path) -> LoraCard:
    """The card beside a LoRA, wherever it lies; the defaults if there is none.

    Raises CardError naming the card, the field and what is allowed there. Opens no other file.
    """
    path = file.with_suffix(".toml")
    if not path.is_file():
        return LoraCard(file.stem, file)
    table = _table(path)
    read = _Reader(path, table)
    return LoraCard(
        name=file.stem,
        file=file,
        title=read.field("title", f"a text of at most {LONGEST} characters", _text, ""),
        licence=read.field("licence", f"a text of at most {LONGEST} characters", _text, ""),
        models=read.field("models", "a list of names of model cards", _names, ()),
        trigger=read.field("trigger", f"a text of at most {LONGEST} characters", _text, "").strip(),
        scale=read.field("scale", f"a number from {-STRONGEST:g} to {STRONGEST:g}", _scale, 1.0),
        low_noise=read.field(
            "low_noise", f"the name of another {ENDING} file beside the card", lambda value: _beside(value, file), None
        ),
        source=read.field("source", f"a text of at most {LONGEST} characters", _text, ""),
    )


def _table(path: Path) -> Mapping[str, object]:
    """The TOML table of a card, its keys known."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise CardError(f"{path} has more than {LARGEST} bytes; a LoRA's card is a few lines")
        table: Mapping[str, object] = tomllib.loads(raw.decode("utf-8-sig"))
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CardError(f"{path} is not TOML: {error}; correct the file") from error
    if unknown := [key for key in table if key not in KNOWN]:
        raise CardError(f"{path}: {unknown[0]}: no such field; use one of: {', '.join(KNOWN)}")
    return table


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one field at a time and says what was wrong with it."""

    path: Path
    table: Mapping[str, object]

    def field(self, key: str, wanted: str, convert: Callable[[object], T], default: T) -> T:
        if key not in self.table:
            return default
        value = self.table[key]
        try:
            return convert(value)
        except (TypeError, ValueError) as error:
            raise CardError(f"{self.path}: {key}: {str(value)[:60]!r} is not {wanted}; correct it") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or not value.replace("\n", " ").isprintable():
        raise TypeError
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise TypeError
    return tuple(value)


def _scale(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -STRONGEST <= value <= STRONGEST:
        raise ValueError
    return float(value)


def _beside(value: object, file: Path) -> Path:
    """A file name without folders: a card leads nowhere else."""
    name = _text(value)
    if Path(name).name != name or "\\" in name or not name.endswith(ENDING) or name == file.name:
        raise ValueError
    return file.with_name(name)
