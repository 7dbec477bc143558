"""LoRAs that shots name: the cell read, names and paths found, files kept inside their folders.

Knows: how a cell spells LoRAs, which are installed and where paths may lead, both told by the caller. Does not know:
models, cards, what is inside a file: that is judged before it is opened. Memory: one cell.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from catalogs.plates import Refused
from catalogs.shot import LoraUse

SCALES: Final = (-10, 10)
"""How strongly a LoRA may act. Beyond one or two a model makes noise; the bound catches slips of the keyboard."""

MOST_LORAS: Final = 16
"""LoRAs of one shot; each costs time at every step."""

ENDING: Final = ".safetensors"
"""The only kind of file that is taken."""

OTHER_ENDINGS: Final = (".ckpt", ".pt", ".pth", ".pkl", ".bin", ".pickle", ".gguf")
"""Endings by which a word is a path all the same, so that it is refused for what it is."""

SHOWN: Final = 300
"""Characters of a word in a message: two long paths."""

NAMED: Final = 8
"""Installed LoRAs that a message lists at most."""

# What stands between two LoRAs is the same as between two deliveries, but for `+`, which belongs to names and scales.
_ENTRY: Final = re.compile(r'[\s,;|]*(?:"(?P<quoted>[^"]*)"(?P<after>[^\s,;|"]*)|(?P<plain>[^\s,;|"]+))(?=[\s,;|]|\Z)')
_NOTHING: Final = re.compile(r"[\s,;|]*\Z")
_SCALE: Final = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class InstalledLora:
    """What a submission must know of a LoRA in the weights folder."""

    path: Path
    """Where it lies."""
    models: tuple[str, ...] = ()
    """Cards that it is made for; empty for any."""


@dataclass(frozen=True, slots=True)
class LoraRules:
    """What a submission must know of LoRAs."""

    installed: Mapping[str, InstalledLora] = field(default_factory=lambda: MappingProxyType({}))
    """By the name that a cell may use."""
    folders: tuple[Path, ...] = ()
    """Folders beside the root of all plates that a path may lead into."""


@dataclass(frozen=True, slots=True)
class Loras:
    """The LoRAs of one submission."""

    installed: Mapping[str, InstalledLora]
    """By name."""
    folders: tuple[Path, ...]
    """Where relative paths start, the first that has the file, and what no path may leave; links resolved."""

    def read(self, text: str, *, model: str) -> tuple[tuple[LoraUse, ...], tuple[Refused, ...]]:
        """The LoRAs of a cell for `model`, and everything that is wrong with them. Never raises for what it says."""
        found: dict[Path | str, LoraUse] = {}
        wrong: list[Refused] = []
        for name, scale in _entries(text, wrong):
            target = self._find(name, model)
            if isinstance(target, Refused):
                wrong.append(target)
                continue
            use, path = LoraUse(target, scale), self._file(target)
            if found.setdefault(path, use) is not use:
                wrong.append(_refused("E608", lora=name))
        if not found and not wrong:
            wrong.append(_refused("E601", detail="there is no name between the separators"))
        if len(found) > MOST_LORAS:
            wrong.append(_refused("E601", detail=f"{len(found)} LoRAs are more than {MOST_LORAS}"))
        return tuple(found.values()), tuple(wrong)

    def _file(self, name: str) -> Path:
        """Where a LoRA that was found lies: an installed one may be named by its path as well."""
        known = self.installed.get(name)
        return (known.path if known else Path(name)).resolve()

    def _find(self, name: str, model: str) -> str | Refused:
        """The name of an installed LoRA as it is, a path absolute; or why neither will do."""
        if not _is_path(name):
            known = self.installed.get(name)
            if known is None:
                return _refused("E603", lora=name, remedy=self._suggestion(name))
            if known.models and model not in known.models:
                return _refused("E609", lora=name, models=", ".join(known.models), model=model)
            checked = self._judged(known.path, name)
            return checked if isinstance(checked, Refused) else name
        if not name.lower().endswith(ENDING):
            return _refused("E605", lora=name)
        refused: list[Refused] = []
        for folder in self.folders:
            judged = self._judged(folder / name, name)
            if isinstance(judged, str):
                return judged
            refused.append(judged)
        # one that is there and forbidden says more than one that is missing elsewhere
        return max(refused, key=lambda one: one.code)

    def _judged(self, path: Path, name: str) -> str | Refused:
        """The absolute path of a file that lies where it may; or why it does not."""
        words: dict[str, object] = {"lora": name, "roots": " and ".join(map(str, self.folders))}
        try:
            target = path.resolve()
            if not any(target.is_relative_to(folder) for folder in self.folders):
                return _refused("E606", **words)
            if not stat.S_ISREG(target.stat().st_mode):
                return _refused("E607", **words)
        except (OSError, RuntimeError, ValueError):  # links in a circle, names too long
            return _refused("E604", **words)
        # in a hub's cache the file itself has a digest for a name, and the link to it the ending
        kept = target if target.suffix.lower() == ENDING else path.parent.resolve() / path.name
        return str(kept)

    def _suggestion(self, name: str) -> str:
        if not self.installed:
            return "put NAME.safetensors into loras/ in the weights folder, or give the path of a .safetensors file"
        folded = {known.casefold(): known for known in self.installed}
        close = difflib.get_close_matches(name.casefold(), folded, n=1)
        hint = f"did you mean {folded[close[0]]}? " if close else ""
        names = sorted(self.installed)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"{hint}installed: {', '.join(names[:NAMED])}{more}"


def _refused(code: str, **words: object) -> Refused:
    """Why a LoRA cannot be used; whatever a cell holds, the sentence stays one line of a bearable length."""
    shown = {}
    for name, word in words.items():
        text = "".join(sign if sign.isprintable() else " " for sign in str(word))
        shown[name] = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    return Refused(code, shown)


def _is_path(name: str) -> bool:
    """Whether a word means a file: it names a folder, or ends as weights do."""
    return "/" in name or "\\" in name or name.lower().endswith((ENDING, *OTHER_ENDINGS))


def _entries(text: str, wrong: list[Refused]) -> Iterator[tuple[str, float | None]]:
    """Name and scale of each LoRA of a cell; says what cannot be read."""
    at = 0
    while not _NOTHING.match(text, at):
        match = _ENTRY.match(text, at)
        if match is None:
            wrong.append(_refused("E601", detail="a quote is not closed, or stands inside a word"))
            return
        at = match.end()
        split = _split(match)
        if isinstance(split, Refused):
            wrong.append(split)
        else:
            yield split


def _split(match: re.Match[str]) -> tuple[str, float | None] | Refused:
    """The name of one LoRA and its scale."""
    if match["plain"] is None:
        whole, name, after = match[0][match[0].index('"') :], match["quoted"].strip(), match["after"]
        colon, digits = after[:1], after[1:]
        if colon not in ("", ":"):
            return _refused("E601", detail=f"{after} follows a quote")
    else:
        whole = match["plain"]
        name, colon, digits = whole.rpartition(":")
        # the colon of a drive, and one inside a path, begin no scale
        if not colon or _is_path(digits):
            name, colon, digits = whole, "", ""
            if _SCALE.fullmatch(name):
                detail = f"{name} has no name before it; a scale has a decimal point, and no blank before it"
                return _refused("E601", detail=detail)
        if ":" in name and not _is_path(name):
            return _refused("E601", detail=f"{whole} has two colons")
    if not name:
        return _refused("E601", detail=f"{whole} has no name")
    if not colon:
        return name, None
    if not _SCALE.fullmatch(digits):
        return _refused("E601", detail=f"{whole} has no number behind the colon")
    scale = float(digits)
    low, high = SCALES
    if not low <= scale <= high:
        return _refused("E602", scale=digits, lora=name, low=low, high=high)
    return name, scale + 0.0  # -0 is 0
