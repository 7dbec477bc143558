"""What a model is told for each window: the words of its part of the shot, camera move, trigger words. Pure.

Knows: prompts, beats, which part of a shot a window owns. Does not know: how a model reads words, files.
Memory: one prompt a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from catalogs.beats import Beat, beats_between, read_beats
from catalogs.shot import Shot
from models.interface import GeneratorSpec
from tasks.errors import PlanError
from tasks.windows import Span

CAMERA_WORDS: Final[Mapping[str, str]] = {
    "still": "The camera does not move",
    "push in": "The camera slowly pushes in",
    "pull out": "The camera slowly pulls out",
    "pan left": "The camera pans to the left",
    "pan right": "The camera pans to the right",
    "tilt up": "The camera tilts up",
    "tilt down": "The camera tilts down",
    "roll": "The camera rolls around its axis",
    "handheld": "Handheld camera, slightly unsteady",
}
"""How a camera move is said to a model that reads prompts."""

_STOPS: Final = (".", "!", "?", ",", ":", ";")
"""What may stand between two sentences as it is."""


def told_prompt(shot: Shot, spec: GeneratorSpec, *, triggers: Sequence[str]) -> str:
    """The prompt of the whole shot, without the times of its beats, with the camera's move and the LoRAs' trigger words
    behind it, each once; as it is without a model that reads it. Raises PlanError for beats that cannot be read."""
    if not spec.needs_prompt:
        return shot.prompt
    preface, beats = _read(shot)
    return _said([preface, *(beat.words for beat in beats)], shot, triggers)


def window_prompts(
    shot: Shot, spec: GeneratorSpec, spans: Sequence[Span], *, triggers: Sequence[str]
) -> tuple[str, ...]:
    """What each window is told: what holds throughout, the beats that fall into the part of the shot that it owns, and
    what `told_prompt` puts behind them. Raises PlanError for beats that cannot be read."""
    if not spec.needs_prompt:
        return (shot.prompt,) * len(spans)
    preface, beats = _read(shot)
    prompts = []
    for span in spans:
        start, end = (cut_seconds(shot, spec, native) for native in (span.segment.start, span.segment.end))
        told = beats_between(beats, start, end)
        prompts.append(_said([preface, *(beat.words for beat in told)], shot, triggers))
    return tuple(prompts)


def cut_seconds(shot: Shot, spec: GeneratorSpec, native: int) -> Fraction:
    """When the delivery shows a native frame, in seconds from the first frame of the cut; less than 0 in the handle."""
    return native / (spec.native_rate * shot.speed) - shot.handles / shot.rate


def native_position(shot: Shot, spec: GeneratorSpec, seconds: Fraction) -> Fraction:
    """The position in native frames that the delivery shows `seconds` after the first frame of the cut."""
    return (seconds + shot.handles / shot.rate) * spec.native_rate * shot.speed


def _read(shot: Shot) -> tuple[str, tuple[Beat, ...]]:
    try:
        return read_beats(shot.prompt)
    except ValueError as error:
        raise PlanError(f"the beats cannot be read: {error}") from None


def _said(words: Sequence[str], shot: Shot, triggers: Sequence[str]) -> str:
    known = " ".join(words).lower()
    parts = [*words, *([CAMERA_WORDS[shot.camera]] if shot.camera else [])]
    parts += [trigger for trigger in triggers if trigger and trigger.lower() not in known]
    *sentences, last = dict.fromkeys(part for part in parts if part) or ("",)
    return " ".join([*(part if part.endswith(_STOPS) else f"{part}." for part in sentences), last])
