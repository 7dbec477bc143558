"""What a diffusion engine refuses before anything is loaded: requests that break the rules of the model's card.

Knows: cards, requests, kinds of context. Does not know: torch, files, plates. Memory: none. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.cards import Card
from models.context import ContextKind, Kind, most_frames
from models.interface import ClipRequest, EngineError, Frame


def check_request(card: Card, request: ClipRequest, context: Sequence[Frame]) -> None:
    """Raise EngineError for a request that breaks the card's rules. diffusers would round it silently."""
    frames = request.frames
    if frames < 1 or frames > card.longest_window or (frames - card.frame_offset) % card.frame_step:
        rule = f"{card.frame_step}n+{card.frame_offset}"
        raise EngineError(f"{card.name} makes {rule} frames, up to {card.longest_window}; {frames} were asked for")
    sides, multiple = (request.width, request.height), card.size_multiple
    if any(side % multiple or not card.smallest <= side <= card.largest for side in sides):
        raise EngineError(
            f"{card.name} makes sides of {card.smallest} to {card.largest} pixels in steps of {multiple}; "
            f"{request.width}x{request.height} were asked for"
        )
    if card.presets_only and (request.width, request.height) not in card.sizes:
        known = ", ".join(f"{width}x{height}" for width, height in card.sizes)
        raise EngineError(f"{card.name} makes {known} only; {request.width}x{request.height} were asked for")
    _check_context(card, request, len(context))
    for index, frame in enumerate(context):
        if frame.shape != (request.height, request.width, 3) or frame.dtype != np.uint16:
            raise EngineError(
                f"context frame {index} is {frame.shape} {frame.dtype}; "
                f"expected {(request.height, request.width, 3)} uint16, as the previous window made it"
            )
    if card.needs_plate and request.plate is None:
        raise EngineError(f"{card.name} animates a still: give the shot a plate")
    if request.end_plate is not None and not card.takes_end_plate:
        raise EngineError(
            f"{card.name} cannot arrive at an end plate; leave it out, or use a first-and-last-frame or VACE model"
        )
    if request.end_plate is not None and frames < len(context) + 2:
        raise EngineError(f"a window of {frames} frames is too short to arrive at an end plate; make the shot longer")
    if card.needs_prompt and not request.prompt.strip():
        raise EngineError(f"{card.name} needs a prompt; write one")
    if request.steps < 0 or request.steps + card.steps < 1 or request.guidance < 0:
        raise EngineError(f"{request.steps} steps at guidance {request.guidance} make no picture; use 1 or more")


def _check_context(card: Card, request: ClipRequest, given: int) -> None:
    """Raise EngineError for context that the model cannot take, and for latents that do not belong to it."""
    kinds, frames = (*card.contexts, *card.experimental), request.frames
    latents = any(ContextKind.parse(text).kind is Kind.LATENTS for text in kinds)
    asked = f"latents-{request.carries}"
    if request.leaves is not None and not latents:
        raise EngineError(f"{card.name} has no latents that a window could leave; use the context {card.contexts[0]!r}")
    if request.carries and asked not in kinds:
        raise EngineError(f"{card.name} cannot be given the context {asked!r}; use one of: {', '.join(kinds)}")
    if not request.carries:
        most = min(most_frames(kinds), frames - 1)
        if given > most:
            raise EngineError(
                f"{card.name} continues at most {most} frames in a window of {frames}; {given} were given; "
                "use a shorter overlap"
            )
        return
    wanted = ContextKind(Kind.LATENTS, request.carries).frames(card.temporal_stride)
    if given != wanted or request.carried is None:
        what = "no file of latents" if request.carried is None else f"{given} frames"
        raise EngineError(
            f"{asked} continues {wanted} frames of the window before and the latents that it left; {what} came with "
            "them; render the window before again"
        )
    if wanted >= frames:
        raise EngineError(
            f"{asked} continues {wanted} frames, which leaves nothing of a window of {frames}; carry fewer latents"
        )
