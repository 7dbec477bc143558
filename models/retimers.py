"""What can be asked of a retimer: engine, device, weights, test-time augmentation, UHD.

Knows: the words of DAILIES_RETIMER and of the command line. Does not know: whether any of it runs on this machine
(`tasks.retimers` finds that out), torch, ncnn. Memory: none to speak of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from models.interface import EngineError

FLOW: Final = "flow"
"""OpenCV's optical flow: needs no weights, runs everywhere."""
RIFE_NCNN: Final = "rife-ncnn"
"""RIFE through ncnn: Vulkan devices and processors, 8 bits a channel."""
RIFE_TORCH: Final = "rife-torch"
"""RIFE through torch: CUDA devices and processors, no 8-bit step."""

RIFE: Final = "rife"
"""Either engine of RIFE."""

ENGINES: Final = (RIFE, RIFE_TORCH, RIFE_NCNN, FLOW)
"""Every word for a retimer."""

_DEVICE: Final = re.compile(r"cpu|(cuda|vulkan):\d{1,2}")


class RetimerWishError(EngineError):
    """What was asked of the retimer is no word of it; the message says which are."""


class Tta(StrEnum):
    """Test-time augmentation: the network sees the pair in several ways, and what it makes is averaged."""

    NONE = "none"
    SPATIAL = "spatial"
    """Mirrored and turned: eight times the work."""
    TEMPORAL = "temporal"
    """Forwards and backwards in time: twice the work."""
    BOTH = "both"

    @property
    def spatial(self) -> bool:
        """Whether the pair is mirrored and turned."""
        return self in (Tta.SPATIAL, Tta.BOTH)

    @property
    def temporal(self) -> bool:
        """Whether the pair is seen backwards too."""
        return self in (Tta.TEMPORAL, Tta.BOTH)


class Uhd(StrEnum):
    """Whether motion is sought at half size, as suits large frames, in which it is large too."""

    AUTO = "auto"
    """For frames of more than `UHD_PIXELS`."""
    ON = "on"
    OFF = "off"

    def halves(self, width: int, height: int) -> bool:
        """Whether motion in frames of this size, pixels, is sought at half size."""
        return width * height > UHD_PIXELS if self is Uhd.AUTO else self is Uhd.ON


UHD_PIXELS: Final = 2048 * 1152
"""Largest frame, in pixels, in which motion is sought at full size: 1080p and 2K are, 1440p and 4K are not."""


@dataclass(frozen=True, slots=True)
class RetimerWish:
    """What is asked of the retimer; every empty field leaves the choice to the machine."""

    engine: str = ""
    """`rife-torch`, `rife-ncnn`, `rife` (either) or `flow`; empty: the best that runs here."""
    device: str = ""
    """`cpu`, `cuda:0`, `vulkan:1` ...; empty: the best that the engine finds."""
    model: str = ""
    """Name of the weights' folder, such as `rife-4.25` or `rife-v4.6`; empty: the newest installed."""
    tta: Tta = Tta.NONE
    uhd: Uhd = Uhd.AUTO

    def allows(self, engine: str) -> bool:
        """Whether `rife-torch`, `rife-ncnn` or `flow` answers to it. What a setting is of no use to does not."""
        if engine == FLOW:
            return self.engine in ("", FLOW) and not (self.model or self.tta is not Tta.NONE or self.uhd is Uhd.ON)
        return self.engine in ("", engine, RIFE)

    def __str__(self) -> str:
        """The words that `parse_wish` reads back; empty for no wish."""
        named = {"device": self.device, "model": self.model}
        named |= {"tta": "" if self.tta is Tta.NONE else self.tta, "uhd": "" if self.uhd is Uhd.AUTO else self.uhd}
        return " ".join([*filter(None, [self.engine]), *(f"{name}={word}" for name, word in named.items() if word)])


ANY: Final = RetimerWish()
"""No wish."""


def parse_wish(text: str) -> RetimerWish:
    """Read `rife-ncnn device=vulkan:1 tta=both uhd=on model=rife-v4.25`: an engine, then settings, in any order.

    Raises RetimerWishError naming the word and what is allowed.
    """
    wish = ANY
    for word in text.split():
        name, equals, given = word.partition("=")
        if not equals:
            name, given = "engine", word
        if name not in _READERS:
            raise RetimerWishError(f"a retimer has no setting {name!r}; use {', '.join(_READERS)}")
        wish = replace(wish, **{name: _READERS[name](given)})
    if wish.engine == FLOW and not wish.allows(FLOW):
        raise RetimerWishError(f"{FLOW} has no weights, no tta and no uhd; leave them out, or use {RIFE}")
    if wish.engine == RIFE_NCNN and wish.device.startswith("cuda"):
        raise RetimerWishError(f"{RIFE_NCNN} does not run on {wish.device}; use cpu or vulkan:0, or {RIFE_TORCH}")
    if wish.engine == RIFE_TORCH and wish.device.startswith("vulkan"):
        raise RetimerWishError(f"{RIFE_TORCH} does not run on {wish.device}; use cpu or cuda:0, or {RIFE_NCNN}")
    return wish


def _engine(word: str) -> str:
    if word not in ENGINES:
        raise RetimerWishError(f"no retimer is called {word!r}; use {', '.join(ENGINES)}")
    return word


def _device(word: str) -> str:
    if not _DEVICE.fullmatch(word):
        raise RetimerWishError(f"{word!r} is no device; use cpu, cuda:0 or vulkan:0")
    return word


def _model(word: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", word):
        raise RetimerWishError(f"{word!r} is no name of weights; use a folder's name, such as rife-4.25")
    return word


def _tta(word: str) -> Tta:
    if word not in tuple(Tta):
        raise RetimerWishError(f"tta={word} is not known; use {', '.join(Tta)}")
    return Tta(word)


def _uhd(word: str) -> Uhd:
    if word not in tuple(Uhd):
        raise RetimerWishError(f"uhd={word} is not known; use {', '.join(Uhd)}")
    return Uhd(word)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "engine": _engine,
    "device": _device,
    "model": _model,
    "tta": _tta,
    "uhd": _uhd,
}
