"""How the windows of a shot hang together: its context, its overlap, the stills it arrives at. Pure.

Knows: what a shot asks for and what a model's windows can do of it. Does not know: words, files, engines, seeds.
Memory: none worth naming. `chain_complaints` says everything that is wrong, for a submission; `chained` decides, for a
plan, and raises the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any

from catalogs.anchors import anchor_complaints
from catalogs.problems import Complaint
from catalogs.shot import DEFAULT_REROLLS, Anchor, Shot
from catalogs.timebase import native_frames_needed, seconds_display
from models.cards import cards
from models.context import with_context
from models.interface import EngineError, GeneratorSpec
from tasks.errors import PlanError
from tasks.windows import Span, least_stretch, on_grid, snapped, span_windows
from tasks.words import native_position


@dataclass(frozen=True, slots=True)
class Chain:
    """The windows of a shot, and what passes from one to the next."""

    spec: GeneratorSpec
    """The model's rules with the kind of context that the shot asks for."""
    overlap: int
    """Native frames that neighbouring windows share."""
    frames: int
    """Native frames of the shot."""
    spans: tuple[Span, ...]
    stops: tuple[int, ...]
    """Native frame at which the still of each anchor is shown, the last of a window."""
    experimental: bool
    """Whether windows are continued in a way that the model was not trained for."""
    max_rerolls: int
    """How often a window may be made again; 0 where another seed changes nothing."""

    @property
    def context(self) -> int:
        """Frames of each window that the next one is given."""
        return min(self.spec.context, self.overlap)


def chained(shot: Shot, spec: GeneratorSpec) -> Chain:
    """The windows of a shot. Raises PlanError, a sentence with the remedy, for what the model cannot do."""
    for complaint in (*anchor_complaints(shot), *chain_complaints(shot, spec)):
        if complaint.refuses:
            raise PlanError(str(complaint))
    rules = _rules(shot, spec)
    frames, overlap, stops = _frames(shot, rules), _overlap(shot, rules), _stops(shot, rules)
    spans = span_windows(frames, spec=rules, overlap=overlap, stops=stops)
    rerolls = DEFAULT_REROLLS if shot.max_rerolls is None else shot.max_rerolls
    return Chain(
        rules,
        overlap,
        frames,
        spans,
        stops,
        experimental=len(spans) > 1 and rules.kind in rules.experimental,
        max_rerolls=rerolls if rules.steps else 0,
    )


def chain_complaints(shot: Shot, spec: GeneratorSpec) -> list[Complaint]:
    """What the windows of a model cannot do of what a shot asks for, and what its sender should know. Never raises."""
    try:
        rules = _rules(shot, spec)
    except EngineError:
        return [_complaint("E325", "context", model=spec.name, names=_kinds(spec))]
    frames, overlap, context = _frames(shot, rules), _overlap(shot, rules), rules.context
    found: list[Complaint] = []
    stills = [column for column in ("end_plate", "anchors") if getattr(shot, column)]
    if not rules.takes_end_plate:
        able = ", ".join(sorted(card.name for card in cards().values() if card.takes_end_plate))
        found += [_complaint("E330", column, model=rules.name, names=able) for column in stills]
        stills = []
    if not context and (frames > rules.longest_window or "anchors" in stills):
        return [*found, _too_long(shot, rules)]
    # a still that stands nowhere in the cut is told by anchor_complaints, and says nothing about windows
    placed = "anchors" in stills and not any(one.code == "E329" for one in anchor_complaints(shot))
    if overlap < context:
        found.append(_complaint("E332", "overlap", overlap=overlap, context=context, kind=rules.kind or "of the model"))
    elif rules.kind.startswith("latents") and overlap != rules.overlap:
        found.append(_complaint("E333", "overlap", overlap=overlap, kind=rules.kind, own=rules.overlap))
    elif placed and not on_grid(overlap, rules):
        good = [str(n) for n in range(context, rules.longest_window // 2) if on_grid(n, rules)]
        names = ", ".join(good[:3]) + (" ..." if good[3:] else "")
        found.append(_complaint("E334", "overlap", overlap=overlap, names=names))
    elif placed and (crowded := _crowded(shot, rules, frames, overlap)):
        found += crowded
    elif not _possible(rules, frames, overlap, _stops(shot, rules) if placed else ()):
        found.append(_too_wide(shot, rules, frames, overlap))
    elif placed and overlap > context:
        found.append(_complaint("W305", "overlap", overlap=overlap, context=context))
    if rules.kind in rules.experimental and (frames > rules.longest_window or "anchors" in stills):
        names = ", ".join(rules.contexts)
        found.append(_complaint("W304", "context", model=rules.name, kind=rules.kind, names=names))
    return found


def _complaint(code: str, column: str, **words: Any) -> Complaint:
    return Complaint(code, column, words)


def _kinds(spec: GeneratorSpec) -> str:
    """The kinds of context that a model takes."""
    tried = f"; as an experiment {', '.join(spec.experimental)}" if spec.experimental else ""
    return f"{', '.join(spec.contexts) or 'none'}{tried}"


def _rules(shot: Shot, spec: GeneratorSpec) -> GeneratorSpec:
    """The model's rules with the context that the shot asks for. Raises EngineError."""
    return with_context(spec, shot.context) if shot.context and shot.context != spec.kind else spec


def _frames(shot: Shot, spec: GeneratorSpec) -> int:
    return native_frames_needed(shot.total_frames, native=spec.native_rate, delivery=shot.rate, speed=shot.speed)


def _overlap(shot: Shot, rules: GeneratorSpec) -> int:
    """The shot's own; else the model's, but with anchors the frames handed on and no more.

    Frames that both windows make are blended from one to the other, and the window behind a still knows nothing of the
    still: blended over it, it would not be seen.
    """
    if shot.overlap is not None:
        return shot.overlap
    return rules.context if shot.anchors else rules.overlap


def _stops(shot: Shot, rules: GeneratorSpec) -> tuple[int, ...]:
    return tuple(snapped(native_position(shot, rules, anchor.at), rules) for anchor in shot.anchors)


def _possible(rules: GeneratorSpec, frames: int, overlap: int, stops: tuple[int, ...]) -> bool:
    if overlap >= rules.longest_window:
        return False
    try:
        span_windows(frames, spec=rules, overlap=overlap, stops=stops)
    except PlanError:
        return False
    return True


def _too_long(shot: Shot, rules: GeneratorSpec) -> Complaint:
    """A shot of more than one window, of a model that cannot continue one."""
    most = floor((rules.longest_window - 1) * shot.rate / (rules.native_rate * shot.speed)) + 1
    kinds = [kind for kind in (*rules.contexts, *rules.experimental) if kind != "none"]
    others = f", or let its windows be continued by a context: {', '.join(kinds)}" if kinds else ""
    words = {"frames": shot.total_frames, "model": rules.name, "limit": max(0, most - 2 * shot.handles)}
    return Complaint("E317", "frames", words | {"otherwise": others or ", or choose a model that takes context"})


def _too_wide(shot: Shot, rules: GeneratorSpec, frames: int, overlap: int) -> Complaint:
    """An overlap that leaves too little of the windows, with the most that would do."""
    stops = _stops(shot, rules) if rules.takes_end_plate else ()
    less = range(min(overlap, rules.longest_window) - 1, max(1, rules.context) - 1, -1)
    fits = next((n for n in less if _possible(rules, frames, n, stops)), None)
    if fits is None or rules.kind.startswith("latents"):
        remedy = "choose a context that hands on fewer frames, or another length"
    else:
        remedy = f"use at most {fits}"
    return _complaint("E331", "overlap", overlap=overlap, longest=rules.longest_window, remedy=remedy)


def _crowded(shot: Shot, rules: GeneratorSpec, frames: int, overlap: int) -> list[Complaint]:
    """The stills that leave no room for a window before or behind them."""
    found = []
    least = least_stretch(overlap, rules)
    room = seconds_display(least / (rules.native_rate * shot.speed))
    before: tuple[Anchor | None, int] = (None, 0)
    for anchor, stop in zip(shot.anchors, _stops(shot, rules), strict=True):
        at = f"the still at {seconds_display(anchor.at)} s"
        if stop - before[1] < least:
            ahead = f"the one at {seconds_display(before[0].at)} s" if before[0] else "the first frame"
            found.append(
                _complaint("E335", "anchors", detail=f"{at}, so near to {ahead},", remedy=f"leave {room} s or more")
            )
        elif stop >= frames - 1:
            remedy = "move it to an earlier time, or name it as the end_plate"
            found.append(_complaint("E335", "anchors", detail=f"{at}, so near to the end,", remedy=remedy))
        before = (anchor, stop)
    return found
