"""Tonight: which shots are ready, how long each will take, and the plan of the night that follows. Starts nothing.

Knows: the catalogue, plans, history, who is at a shot already. Does not know: how admission decides (tasks.admission),
Prefect, which is not even imported here. Memory: O(shots looked at), which are a night's and not the catalogue's.

A thousand shots of a few models are planned in a second or two: cards and weights are looked at once for each model,
retimers once for each wish.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from catalogs.footage import Status
from catalogs.queries import RENDERABLE
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.planning import FINISHED, check_engine, check_profile
from flows.settings import Settings
from models.cards import Card
from models.installed import installed
from models.interface import EngineError, EngineUnavailable, GeneratorSpec
from tasks import engines, retimers
from tasks.admission import NightPlan, Ready, plan_night
from tasks.diffusion import device_name
from tasks.errors import StepError
from tasks.history import Expected, History, engine_seconds, finish_seconds, history, load_seconds
from tasks.keep import is_owned
from tasks.loras import resolve
from tasks.plan import TakePlan
from tasks.prepare import Prepared, smaller
from tasks.shot_retimer import ShotRetimers

CPU: Final = "cpu"
"""Device of a machine without a GPU."""

LEAST: Final = 1000
"""Shots that are looked at however full the night is: what is carried over is told with its reason."""

MOST: Final = 10_000
"""Shots that a night takes at most; each is planned window by window, which takes a millisecond or two."""

FULL: Final = 2.0
"""Nights' worth of shots after which nobody looks for more: of that many the most urgent fill one."""

PAGE: Final = 500
"""Shots read from the catalogue at a time."""

_NAMED: Final = 5  # shots that a sentence names before it counts them


@dataclass(frozen=True, slots=True)
class Tonight:
    """The plan of a night, and what is no part of it."""

    plan: NightPlan
    ready: tuple[Ready, ...]
    """What the plan was made of, in the catalogue's order."""
    refused: tuple[tuple[str, str], ...]
    """(shot, error): it cannot be rendered as asked; the error says what to do."""
    held: tuple[tuple[str, str], ...]
    """(shot, reason): somebody else is at it."""
    begins: datetime
    """Beginning of the plan, UTC."""
    until: datetime | None
    """End of the window, UTC; None for none."""
    device: str
    """What the expectations are for."""
    beyond: int = 0
    """How many shots wait behind these and were not looked at: the night is full without them."""


def tonight(
    catalogue: Catalogue,
    settings: Settings,
    *,
    workers: int,
    until: datetime | None,
    now: datetime,
    wishes: Mapping[str, Any],
    device: str = "",
) -> Tonight:
    """Plan a night that begins `now` with that many equal workers. Nothing is written.

    `wishes` hold for every shot: `profile`, `allow_smaller`, `require_rife`. `device` is what the workers compute on,
    such as `NVIDIA H100 80GB HBM3`; empty for this machine's, or without a GPU here for that of the newest timing.
    A shot that cannot be planned is refused with its sentence. Raises PlanError for fewer than one worker, an unknown
    profile or DAILIES_ENGINE, MachineNotReadyError if RIFE is required and missing, CatalogueUnavailableError.
    """
    check_engine(settings)
    check_profile(str(wishes.get("profile") or engines.EXACT))
    known = history(timings := catalogue.nights.timings())
    device = device or _device([one.device for one in timings if one.kind == "window"])
    desk = _Desk(settings, wishes, known, device)
    taken = _taken(catalogue)
    ready: list[Ready] = []
    refused: list[tuple[str, str]] = []
    held: list[tuple[str, str]] = []
    wanted, capacity = 0.0, math.inf if until is None else workers * max(0.0, (until - now).total_seconds())
    beyond = 0
    for record in _in_turn(catalogue):
        if len(ready) >= MOST or (wanted > FULL * capacity and len(ready) >= LEAST):
            beyond = sum(catalogue.counts()[status] for status in RENDERABLE) - len(ready) - len(refused) - len(held)
            break
        name = record.shot.name
        if reason := _holder(record, taken, settings):
            held.append((name, reason))
            continue
        try:
            ready.append(desk.ready(record))
            wanted += ready[-1].engine_seconds
        except (StepError, EngineError) as error:
            said = str(error)
            refused.append((name, said if record.shot.code in said else f"{name}: {said}"))
    window = None if until is None else (until - now).total_seconds()
    plan = plan_night(ready, workers=workers, window=window)
    return Tonight(plan, tuple(ready), tuple(refused), tuple(held), now.astimezone(UTC), until, device, beyond)


def preview(
    settings: Settings,
    *,
    workers: int,
    until: str = "",
    wishes: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The document of `dailies plan --night --json`: the night that runs now or comes next; with `until` (HH:MM or an
    ISO time) the one that `dailies night` would begin now. Raises like `tonight`, and PlanError for what is no time.
    """
    here = now or datetime.now(UTC)
    if until:
        begins, ends = here, settings.night.end(until, here)
    else:
        opens, ends = settings.night.around(here)
        begins = max(here, opens)
    with open_catalogue(settings.database_url) as catalogue:
        found = tonight(catalogue, settings, workers=workers, until=ends, now=begins, wishes=wishes or {})
    return {**night_plan_json(found), "zone": settings.night.zone}


def night_plan_json(found: Tonight) -> dict[str, Any]:
    """The plan of a night as JSON values: what a batch keeps, and what `dailies plan --night` prints. Times are UTC."""
    plan = found.plan
    facts = {one.shot: one for one in found.ready}
    ends: dict[str, float] = {}
    for reel in plan.reels:
        passed = reel.start + reel.seconds - sum(plan.expected[shot] for shot in reel.shots)
        for shot in reel.shots:
            ends[shot] = passed = passed + plan.expected[shot]
    planned = sum(reel.seconds for reel in plan.reels)
    available = None if plan.window is None else max(0.0, plan.window) * plan.workers

    def at(seconds: float) -> str:
        return (found.begins + timedelta(seconds=seconds)).isoformat(timespec="seconds")

    return {
        "begins": at(0),
        "until": found.until.astimezone(UTC).isoformat(timespec="seconds") if found.until else None,
        "window_seconds": plan.window,
        "workers": plan.workers,
        "device": found.device,
        "reels": [
            {
                "name": reel.name,
                "worker": reel.worker,
                "model": reel.model,
                "shots": list(reel.shots),
                "starts": at(reel.start),
                "ends": at(reel.start + reel.seconds),
                "seconds": round(reel.seconds, 1),
                "load_seconds": max(0.0, round(reel.seconds - sum(plan.expected[shot] for shot in reel.shots), 1)),
            }
            for reel in plan.reels
        ],
        "shots": [
            {
                "shot": one.shot,
                "model": one.model,
                "priority": one.priority,
                "due": one.due.isoformat() if one.due else None,
                "seconds": round(one.engine_seconds, 1),
                "finish_seconds": round(one.finish_seconds, 1),
                "basis": one.basis,
                "ends": at(ends[one.shot] + one.finish_seconds) if one.shot in ends else None,
            }
            for one in found.ready
        ],
        "expected": {shot: round(seconds, 1) for shot, seconds in plan.expected.items()},
        "carried_over": [
            {"shot": one.shot, "reason": one.reason, "seconds": round(one.engine_seconds, 1)} for one in plan.carried
        ],
        "refused": [{"shot": shot, "error": error} for shot, error in found.refused],
        "held": [{"shot": shot, "reason": reason} for shot, reason in found.held],
        "beyond": found.beyond,
        "gpu_hours": {
            "wanted": _hours(planned + plan.missing_seconds),
            "planned": _hours(planned),
            "available": None if available is None else _hours(available),
            "missing": _hours(plan.missing_seconds),
        },
        "bases": dict(Counter(facts[shot].basis for shot in plan.expected).most_common()),
    }


def _in_turn(catalogue: Catalogue) -> Iterator[ShotRecord]:
    """What can be rendered, the most urgent first, read as far as somebody looks."""
    after = None
    while page := catalogue.renderable(limit=PAGE, after=after):
        yield from page
        after = page[-1].shot.name


def is_idle(found: Tonight) -> bool:
    """Whether a night has nothing to do and nothing to tell: no shot is ready, carried over or refused."""
    return not (found.ready or found.refused)


def why_idle(catalogue: Catalogue, held: Sequence[tuple[str, str]] = ()) -> str:
    """Why a night has nothing to do: where the shots stand, which are in quarantine, which `held` by somebody else."""
    count = catalogue.counts()
    if not sum(count.values()):
        return "nothing is ready: the catalogue has no shot; `dailies submit` takes in a list"
    stand = [f"{number} {status.value}" for status, number in count.items() if number and status not in RENDERABLE]
    words = [f"nothing is ready: {', '.join(stand)}" if stand else "nothing is ready"]
    words += [f"{shot} is left to others: {reason}" for shot, reason in held]
    names = [record.shot.name for record in catalogue.shots(status=Status.QUARANTINED, limit=_NAMED)]
    if names:
        others = count[Status.QUARANTINED] - len(names)
        more = f" and {others} more" if others > 0 else ""
        words.append(
            f"in quarantine: {', '.join(names)}{more}; `dailies status` says why, `dailies release` lets them in"
        )
    return "; ".join(words)


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 3)


def _device(timed: list[str]) -> str:
    """What the workers compute on: this machine's GPU, else the newest GPU that windows were timed on, else `cpu`."""
    try:
        here = device_name()
    except EngineUnavailable:  # a driver that does not answer is the workers' to complain about
        here = CPU
    return here if here != CPU else next((device for device in reversed(timed) if device != CPU), CPU)


def _taken(catalogue: Catalogue) -> dict[str, str]:
    """Batch of each shot with an open attempt; empty for one that is rendered by hand."""
    return {attempt.shot: attempt.batch for attempt in catalogue.nights.attempts(open_only=True)}


def _holder(record: ShotRecord, taken: Mapping[str, str], settings: Settings) -> str:
    """Who is at a shot; empty for nobody. An attempt by hand whose process is gone holds nothing."""
    shot = record.shot
    if batch := taken.get(shot.name, ""):
        return f"the batch {batch} has it already"
    begun = record.status is Status.RENDERING or shot.name in taken
    if begun and is_owned(settings.work / shot.show / shot.code):
        return "it is being rendered by hand"
    return ""


class _Desk:
    """Makes catalogue records ready; what is the same for all shots of a model is found out once."""

    def __init__(self, settings: Settings, wishes: Mapping[str, Any], known: History, device: str) -> None:
        self._settings, self._wishes, self._known, self._device = settings, wishes, known, device
        self._specs: dict[str, GeneratorSpec | EngineError | StepError] = {}
        self._cards: dict[str, Card] = {}
        self._loads: dict[str, Expected] = {}
        required = bool(wishes.get("require_rife"))
        retimers.spec(settings.weights, wish=settings.retimer, require_rife=required)  # said once, not for every shot
        self._retimers = ShotRetimers(settings.weights, wish=settings.retimer, require_rife=required)

    def ready(self, record: ShotRecord) -> Ready:
        """What a shot will take. Raises StepError or EngineError for one that cannot be rendered."""
        shot, weights = record.shot, self._settings.weights
        spec = self._spec(shot.model)
        prepared = Prepared(shot, spec, resolve(shot, spec, weights), "", self._settings.encoder)
        if self._wishes.get("allow_smaller"):
            prepared = smaller(prepared, weights)
        retimer, falls = self._retimers.spec(shot), self._retimers.may_fall(shot)
        plan = prepared.plan(retimer, version=max(1, record.version), may_fall=falls)
        engine, finish = self._expected(record, plan)
        model = engines.ANIMATIC if spec.engine == engines.ANIMATIC else f"{spec.name} {spec.profile}".strip()
        load = self._loads.get(model)
        if load is None:
            load = load_seconds(spec, self._known, card=self._card(spec), device=self._device)
            self._loads[model] = load
        return Ready(
            shot=shot.name,
            model=model,
            priority=shot.priority,
            due=shot.due,
            engine_seconds=engine.seconds,
            load_seconds=load.seconds,
            finish_seconds=finish,
            basis=engine.basis,
        )

    def _expected(self, record: ShotRecord, plan: TakePlan) -> tuple[Expected, float]:
        """Engine and finishing; windows of an interrupted take that are there already are not counted again."""
        take = record.take
        same = take is not None and take.key == plan.key
        finished = same and take is not None and take.status in FINISHED
        unfinished = same and take is not None and take.status in (Status.RENDERING, Status.FAILED)
        there = {window.key for window in plan.windows} if finished else self._known.made if unfinished else frozenset()
        engine = engine_seconds(plan, self._known, card=self._card(plan.spec), device=self._device, made=there)
        return engine, 0.0 if finished else finish_seconds(plan, self._known).seconds

    def _spec(self, model: str) -> GeneratorSpec:
        """The rules of a model here. Raises EngineError for one that is unknown, unsound or not installed."""
        if model not in self._specs:
            try:
                self._specs[model] = self._found(model)
            except (EngineError, StepError) as error:
                self._specs[model] = error
        found = self._specs[model]
        if isinstance(found, Exception):
            raise found
        return found

    def _found(self, model: str) -> GeneratorSpec:
        settings = self._settings
        profile = self._wishes.get("profile") or engines.EXACT
        spec = engines.spec_for(model, engine=settings.engine, weights=settings.weights, profile=profile)
        if spec.version == engines.NOT_INSTALLED:
            installed(self._card(spec), settings.weights)  # raises, and says what is missing
        return spec

    def _card(self, spec: GeneratorSpec) -> Card:
        if spec.name not in self._cards:
            self._cards[spec.name] = engines.card_of(spec, self._settings.weights)
        return self._cards[spec.name]
