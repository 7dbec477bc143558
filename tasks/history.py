"""What a shot is expected to take, from what others took before. Pure: recorded seconds in, expectations out.

Knows: timings, plans, cards and their priors. Does not know: where timings are kept, who is at work, windows of a
night. Memory: O(timings).

Every expectation says what it rests on, from the best to the worst:

    history of 12 windows              the same model, profile, device, size, length and steps: four in five took less
    history of 5 windows of another size, scaled by the arithmetic of the model
    prior                              the card's, on the device that it was measured on
    guess                              the card's, on another device; a card without a prior; a first load
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from catalogs.night import Timing
from models.cards import Card
from models.interface import GeneratorSpec
from tasks.dryrun import asked_steps, estimate, generation_seconds, step_seconds, timed_on
from tasks.plan import TakePlan, Window

ANIMATIC: Final = "animatic"
"""Name under which the built-in engine is timed, whatever model it stands in for; its device is `cpu`."""

QUANTILE: Final = 0.8
"""Share of the samples that took no longer than what is expected: an estimate that is short breaks the window."""
ENOUGH: Final = 3
"""Samples from which on the quantile counts; of fewer the largest."""
NEWEST: Final = 50
"""Samples of one size that count: a driver or a disk that changed shows after a night."""
LOADED_PER_SECOND: Final = 1.0
"""Gigabytes of weights that are read and checked in a second, where no load was timed: a guess for a local NVMe."""

Shape = tuple[int, int, int, int]
"""Shorter side and longer side in pixels, frames, steps: portrait costs what landscape does."""


class Trust(IntEnum):
    """How good an expectation is; the least of its parts is the whole's."""

    GUESS = 0
    PRIOR = 1
    SCALED = 2
    MEASURED = 3


@dataclass(frozen=True, slots=True)
class Expected:
    """How long something is expected to take."""

    seconds: float
    basis: str
    """What it rests on, for people."""
    trust: Trust


@dataclass(frozen=True, slots=True)
class History:
    """Recorded seconds, by what was done and how large it was."""

    windows: Mapping[tuple[str, str, str], Mapping[Shape, Sequence[float]]]
    """By (model, profile, device)."""
    loads: Mapping[tuple[str, str, str], Sequence[float]]
    """By (model, profile, device)."""
    finishes: Mapping[str, Mapping[Shape, Sequence[float]]]
    """By the kinds of the deliverables, `h265 prores webm`; steps are 0."""
    made: frozenset[str]
    """Content keys of the windows among them."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a window that was made now says of the next one like it."""

    seconds: float
    """Wall seconds of one roll, without loading the model."""
    load: float
    """Wall seconds of loading the model that the window waited for; 0 if it did not, or nothing is known."""
    resumed: int
    """Denoising steps that the roll found done."""


def rolled(way: Mapping[str, Any], seconds: float) -> Rolled | None:
    """One roll of a window that was made as its notes `way` say, `seconds` wall seconds in all; None where every roll
    was made by a process that is gone.

    The mean of the rolls made now, for an expectation is multiplied by windows, not by rolls. Of loading and of steps
    found done only the notes of the kept roll tell. Where another was the first made now, the one that can have had
    either, it counts only if there is no other; nor does one that went on from a checkpoint among whole ones.
    """
    load, resumed = float(way.get("load_seconds", 0.0)), int(way.get("resumed_at", 0))
    rolls = way.get("rolls", ())
    if not rolls or any("made" not in roll for roll in rolls):
        return Rolled(seconds - load, load, resumed)
    now = [roll for roll in rolls if roll["made"]]
    if not now:
        return None
    kept = [roll for roll in now if roll["seed"] == way.get("seed")]
    if not kept:
        load, resumed = 0.0, 0
    spent = [roll["seconds"] - (load if roll in kept else 0.0) for roll in now]
    whole = [one for one, roll in zip(spent, now, strict=True) if (not resumed if roll in kept else roll is not now[0])]
    return Rolled(math.fsum(whole or spent) / len(whole or spent), load, 0 if whole else resumed)


def history(timings: Iterable[Timing]) -> History:
    """What can be learned from timings, given oldest first. One that took no time at all says nothing."""
    windows: dict[tuple[str, str, str], dict[Shape, list[float]]] = {}
    loads: dict[tuple[str, str, str], list[float]] = {}
    finishes: dict[str, dict[Shape, list[float]]] = {}
    made = set()
    for one in timings:
        if not (math.isfinite(one.seconds) and one.seconds > 0):
            continue
        how, shape = (one.model, one.profile, one.device), _shape(one.width, one.height, one.frames, one.steps)
        if one.kind == "window":
            windows.setdefault(how, {}).setdefault(shape, []).append(one.seconds)
            made.add(one.key)
        elif one.kind == "load":
            loads.setdefault(how, []).append(one.seconds)
        elif one.kind == "finish":
            finishes.setdefault(one.model, {}).setdefault(shape, []).append(one.seconds)
    return History(windows, loads, finishes, frozenset(made - {""}))


def timed_as(spec: GeneratorSpec, device: str) -> tuple[str, str, str]:
    """Model, profile and device under which windows and loads of a spec are timed."""
    return (ANIMATIC, "", "cpu") if spec.engine == ANIMATIC else (spec.name, spec.profile, device)


def engine_seconds(plan: TakePlan, known: History, *, card: Card, device: str, made: Collection[str] = ()) -> Expected:
    """Seconds of all windows of a plan on a device such as `NVIDIA H100 80GB HBM3`, without loading.

    `card` is that of the plan's model. Windows whose content key is in `made` are there already and take none.
    """
    parts = [
        _window_seconds(plan, window, known, card=card, device=device)
        for window in plan.windows
        if window.key not in made
    ]
    if not parts:
        return Expected(0.0, "all windows are there", Trust.MEASURED)
    return Expected(math.fsum(part.seconds for part in parts), *_weakest(parts))


def load_seconds(spec: GeneratorSpec, known: History, *, card: Card, device: str) -> Expected:
    """Seconds until a model is loaded: as in the history of its profile, else of any, else guessed from its size."""
    model, profile, device = timed_as(spec, device)
    if model == ANIMATIC:
        return Expected(0.0, "nothing to load", Trust.MEASURED)
    samples = known.loads.get((model, profile, device)) or [
        seconds for (name, _, on), found in known.loads.items() if (name, on) == (model, device) for seconds in found
    ]
    if samples:
        return Expected(expected_of(samples), f"history of {_counted(len(samples), 'load')}", Trust.MEASURED)
    # 16 bits for what is large, 32 for the image encoder and the VAE
    size = 2 * (card.parameters * card.experts + card.text_encoder) + 4 * (card.image_encoder + card.vae)
    return Expected(
        size / LOADED_PER_SECOND, f"guess: {size:.0f} GB of weights at {LOADED_PER_SECOND:g} GB/s", Trust.GUESS
    )


def finish_seconds(plan: TakePlan, known: History) -> Expected:
    """Seconds from a shot's last window to its publication: of shots with the same deliverables, scaled by pixels;
    else the priors that `dailies plan` uses."""
    kinds = " ".join(sorted(delivery.kind for delivery in plan.deliveries))
    asked = _shape(plan.delivery_width, plan.delivery_height, plan.frames, 0)
    if found := _from(known.finishes.get(kinds, {}), asked, work=_pixels, what="finish"):
        return found
    seconds = estimate(plan).seconds - generation_seconds(plan)
    return Expected(seconds, "prior of two cores", Trust.PRIOR)


def expected_of(samples: Sequence[float]) -> float:
    """The expectation of something that took these seconds before, oldest first: the value that four in five of the
    newest do not exceed (nearest rank), of fewer than three the largest."""
    newest = sorted(samples[-NEWEST:])
    return newest[math.ceil(QUANTILE * len(newest)) - 1] if len(newest) >= ENOUGH else newest[-1]


def _window_seconds(plan: TakePlan, window: Window, known: History, *, card: Card, device: str) -> Expected:
    """One window."""
    how = timed_as(plan.spec, device)
    asked = _shape(plan.width, plan.height, len(window.span.range), asked_steps(plan))

    def work(shape: Shape) -> float:
        return _operations(shape, card) if plan.spec.engine == card.engine and card.seconds_per_step else _pixels(shape)

    if found := _from(known.windows.get(how, {}), asked, work=work, what="window"):
        return found
    seconds = generation_seconds(replace(plan, windows=(window,)), card)
    if plan.spec.engine == ANIMATIC:
        return Expected(seconds, "prior of any processor", Trust.PRIOR)
    if not card.measured_on:
        return Expected(seconds, "guess: the card has no prior", Trust.GUESS)
    if timed_on(card, device):
        return Expected(seconds, f"prior ({card.measured_on})", Trust.PRIOR)
    return Expected(seconds, f"guess: prior of {card.measured_on}, nothing timed on {device or 'this'}", Trust.GUESS)


def _from(
    found: Mapping[Shape, Sequence[float]], asked: Shape, *, work: Callable[[Shape], float], what: str
) -> Expected | None:
    """What the samples of the same shape say, else those of the nearest one, scaled by `work`; None without any."""
    if samples := found.get(asked):
        return Expected(expected_of(samples), f"history of {_counted(len(samples), what)}", Trust.MEASURED)
    wanted = work(asked)
    # nothing can be learned of a window from one that was resumed at its last step
    usable = {shape: work(shape) for shape in found if wanted > 0 and work(shape) > 0}
    if not usable:
        return None
    nearest = min(usable, key=lambda shape: (abs(math.log(usable[shape] / wanted)), shape))
    samples = found[nearest]
    seconds = expected_of(samples) * wanted / usable[nearest]
    return Expected(seconds, f"history of {_counted(len(samples), what)} of another size, scaled", Trust.SCALED)


def _operations(shape: Shape, card: Card) -> float:
    """What a window costs in the arithmetic of the card's transformer."""
    height, width, frames, steps = shape
    return step_seconds(card, width=width, height=height, frames=frames) * steps


def _pixels(shape: Shape) -> float:
    """What it costs where every pixel costs the same."""
    return float(shape[0] * shape[1] * shape[2] * max(shape[3], 1))


def _shape(width: int, height: int, frames: int, steps: int) -> Shape:
    return min(width, height), max(width, height), frames, steps


def _weakest(parts: Sequence[Expected]) -> tuple[str, Trust]:
    weakest = min(parts, key=lambda part: part.trust)
    return weakest.basis, weakest.trust


def _counted(number: int, word: str) -> str:
    """`1 window`, `12 windows`, `2 finishes`."""
    plural = "es" if word.endswith("sh") else "s"
    return f"{number} {word}{'' if number == 1 else plural}"
