"""The kinds of context: what of the window before reaches the next one, as cards, shot lists and plans write it.

Knows: the four kinds, how many frames each hands on, which of them a model takes. Does not know: engines, latents,
files, shots. Memory: none worth naming. Pure.

`none`      nothing is handed on.
`frame`     the last frame, as a still is given.
`frames-k`  the last k frames through the model's own input; k is 4n+1 and at least 5.
`latents-m` the last m latents as they were made, and the frame before them: 4m+1 frames (Wan), pinned while denoising.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from models.interface import EngineError, GeneratorSpec

ALLOWED: Final = "none, frame, frames-5, frames-9 (any 4n+1 from 5), latents-1, latents-2 ..."
"""What a kind can be written as."""


class Kind(StrEnum):
    """What is handed on."""

    NONE = "none"
    FRAME = "frame"
    FRAMES = "frames"
    LATENTS = "latents"


@dataclass(frozen=True, slots=True)
class ContextKind:
    """One kind of context, with how much of it."""

    kind: Kind
    count: int
    """none: 0; frame: 1; frames: how many; latents: how many latents."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `none`, `frame`, `frames-9`, `latents-4`. Raises ValueError saying what is allowed."""
        if text in (Kind.NONE, Kind.FRAME):
            return cls(Kind(text), int(text == Kind.FRAME))
        if match := re.fullmatch(r"(frames|latents)-([1-9][0-9]{0,3})", text):
            kind, count = Kind(match[1]), int(match[2])
            if kind is Kind.LATENTS or (count >= 5 and count % 4 == 1):
                return cls(kind, count)
        raise ValueError(f"{text!r} is no kind of context; use one of: {ALLOWED}")

    def frames(self, stride: int) -> int:
        """Native frames handed on, where a latent after the first is `stride` frames."""
        return stride * self.count + 1 if self.kind is Kind.LATENTS else self.count

    def __str__(self) -> str:
        return self.kind.value if self.kind in (Kind.NONE, Kind.FRAME) else f"{self.kind.value}-{self.count}"


def most_frames(kinds: Iterable[str]) -> int:
    """Most frames that any of these kinds hands on without latents; 0 for none."""
    found = map(ContextKind.parse, kinds)
    return max((one.count for one in found if one.kind is not Kind.LATENTS), default=0)


def with_context(spec: GeneratorSpec, text: str) -> GeneratorSpec:
    """The same rules with context of that kind; with the model's default for an empty text.

    Besides the frames handed on, both windows make `free` more, to be morphed; after latents none, for the two are one
    stream there. An engine without denoising steps, such as the animatic, has no latents: it is handed the frames and
    carries nothing. Raises EngineError naming what the model takes.
    """
    known = (*spec.contexts, *spec.experimental)
    if not text:
        if not known:
            return spec
        text = known[0]
    try:
        wanted = ContextKind.parse(text)
    except ValueError as error:
        raise EngineError(f"{error}; {spec.name} takes {', '.join(known) or 'nothing'}") from None
    if text not in known:
        raise EngineError(
            f"{spec.name} cannot be given the context {text!r}; use one of: {', '.join(known) or 'none is known'}"
        )
    context = wanted.frames(spec.frame_step)
    free = spec.free if wanted.kind in (Kind.FRAME, Kind.FRAMES) else 0
    carries = wanted.count if wanted.kind is Kind.LATENTS and spec.steps else 0
    return replace(spec, kind=str(wanted), context=context, carries=carries, overlap=context + free)
