"""Interpolator cards: RIFE's published versions, as the TOML files in `models/cards/interpolators/` state them.

Knows: the TOML form of a card, and where a version's weights lie once they are safetensors. Does not know: the network
(`models.ifnet`), downloads (`models.fetch`). Memory: the cards, a few hundred bytes each.

A card of one's own is `WEIGHTS/NAME/interpolator.toml`, beside its weights; it wins over ours of that name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from models.cards import CardError
from models.ifnet import ARCHITECTURES

T = TypeVar("T")

FILE: Final = "flownet.safetensors"
"""Name of the weights in `WEIGHTS/NAME/`."""
OWN: Final = "interpolator.toml"
"""Name of a card beside its weights."""
KNOWN: Final = ("title", "licence", "architecture", "multiple", "sources", "files")
"""Fields of a card."""
LARGEST: Final = 1 << 16
"""Most bytes of a card; ours have less than a thousand."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VERSION: Final = re.compile(r"rife-(\d+)\.(\d+)(.*)")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file as its publisher offers it."""

    url: str
    """Web address."""
    sha256: str
    """Lower-case hex digest of its contents: without it nothing is downloaded."""
    bytes: int | None = None
    """Its size; None where no source states it."""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class InterpolatorCard:
    """One version of RIFE."""

    name: str
    """Name of the card and of the weights' folder: `rife-4.25`."""
    title: str
    """What people call it."""
    licence: str
    """SPDX identifier of the weights' licence."""
    architecture: str
    """Network that the weights fit, a name in `models.ifnet.ARCHITECTURES`: `4.6` or `4.25`."""
    multiple: int
    """Pixels that width and height are padded to a multiple of."""
    sources: tuple[str, ...]
    """Where all this was read."""
    files: tuple[PublishedFile, ...]
    """What `dailies weights pull` brings, the weights first."""


def weights_file(weights: Path, name: str) -> Path:
    """Where the safetensors of that card lie, or would."""
    return weights / name / FILE


def find_torch(weights: Path, name: str = "") -> list[Path]:
    """Every `WEIGHTS/rife-*/flownet.safetensors`, or that of the card `name`, the newest first.

    Newest is by number (4.25 after 4.6); among equals the plain name goes before a variant.
    """
    found: list[tuple[int, int, bool, str, Path]] = []
    for file in weights.glob(f"rife-*/{FILE}"):
        named = _VERSION.fullmatch(file.parent.name)
        if named and name in ("", file.parent.name) and file.is_file():
            found.append((int(named[1]), int(named[2]), not named[3], file.parent.name, file))
    return [file for *_, file in sorted(found, reverse=True)]


def interpolator_cards(weights: Path | None = None) -> Mapping[str, InterpolatorCard]:
    """Our cards by name, in order of name, with those beside their weights if a weights folder is given.

    Raises CardError naming file and field of a card that is wrong.
    """
    if weights is None:
        return _ours()
    own = {path.parent.name: parse_card(path.parent.name, _read(path), where=path) for path in weights.glob(f"*/{OWN}")}
    return MappingProxyType(dict(sorted({**_ours(), **own}.items())))


@cache
def _ours() -> Mapping[str, InterpolatorCard]:
    folder = resources("models").joinpath("cards").joinpath("interpolators")
    texts = {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
    return MappingProxyType({name: parse_card(name, texts[name]) for name in sorted(texts)})


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise CardError(f"{path} has more than {LARGEST} bytes; a card is a few lines")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{path} cannot be read ({error}); save it as UTF-8, or take it away") from error


def parse_card(name: str, text: str, *, where: Path | None = None) -> InterpolatorCard:
    """The card in a TOML text. Raises CardError naming file and field, and what is allowed there."""
    said = str(where or f"interpolators/{name}.toml")
    try:
        table: dict[str, object] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CardError(f"{said} is not TOML: {error}; correct the file") from error
    if not _NAME.fullmatch(name):
        raise CardError(f"{said}: the name {name!r} is not plain (a-z, 0-9, dots, dashes); rename it")
    if unknown := [key for key in table if key not in KNOWN]:
        raise CardError(f"{said}: {unknown[0]}: no such field; use one of: {', '.join(KNOWN)}")

    def field(key: str, wanted: str, convert: Callable[[object], T]) -> T:
        if key not in table:
            raise CardError(f"{said}: {key} is missing; add {wanted}")
        try:
            return convert(table[key])
        except (TypeError, ValueError, KeyError) as error:
            raise CardError(f"{said}: {key}: {str(table[key])[:80]!r} is not {wanted}; correct it") from error

    made = InterpolatorCard(
        name=name,
        title=field("title", "a text", _text),
        licence=field("licence", "a text", _text),
        architecture=field("architecture", f"one of: {', '.join(ARCHITECTURES)}", _architecture),
        multiple=field("multiple", "a whole number of pixels", _whole),
        sources=field("sources", "a list of texts", _texts),
        files=field("files", "a list of {url, sha256, bytes}: a web address and 64 hex digits at least", _files),
    )
    right = ARCHITECTURES[made.architecture].multiple
    if made.multiple != right:
        raise CardError(
            f"{said}: multiple: {made.multiple} is not that of the network {made.architecture}; it must be {right}"
        )
    return made


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError
    return tuple(_text(entry) for entry in value)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


def _architecture(value: object) -> str:
    return ARCHITECTURES[_text(value)].name


def _files(value: object) -> tuple[PublishedFile, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError
    return tuple(_file(entry) for entry in value)


def _file(value: Any) -> PublishedFile:
    if not isinstance(value, dict) or set(value) - {"url", "sha256", "bytes"}:
        raise TypeError
    size = value.get("bytes")
    made = PublishedFile(_text(value["url"]), _text(value["sha256"]).lower(), None if size is None else _whole(size))
    plain = made.name and made.name.isprintable() and not made.name.startswith(".") and "\\" not in made.name
    plain = plain and made.name.endswith((".pkl", ".pth", ".pt", ".ckpt"))  # what the converter reads
    if urlsplit(made.url).scheme not in ("http", "https") or not _SHA256.fullmatch(made.sha256) or not plain:
        raise ValueError
    return made
