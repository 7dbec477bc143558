"""What could be done, without doing it: dry runs, what waits, where things stand, what this machine lacks.

Knows: the catalogue, plans, the home folder. Does not know: Prefect, which is not even imported here, so that
these answers come at once.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from catalogs.database import DatabaseFacts
from catalogs.database import examine as database_facts
from catalogs.footage import Status
from catalogs.night import Attempt, AttemptStatus, Batch, Stage
from catalogs.shot import Shot
from catalogs.store import Catalogue, ShotRecord, open_catalogue
from flows.prefect_server import house_url
from flows.settings import Settings
from models.cards import Card
from models.installed import installed
from models.interface import EngineError, EngineUnavailable, Shape
from models.profiles import SELECTABLE
from models.weights import model_folder
from tasks import engines, nvenc, retimers
from tasks.c2pa_sign import signer
from tasks.diffusion import device_facts, device_name
from tasks.doctor import Check, examine
from tasks.dryrun import arrivals, plan_json, timed_on
from tasks.errors import FfmpegError, MachineNotReadyError, PlanError, StepError
from tasks.fitting import Fit, fit_plan, longest
from tasks.frames import ffmpeg_version
from tasks.keep import free_bytes, is_owned, write_json
from tasks.plan import TakePlan
from tasks.prepare import form, prepare, smaller
from tasks.presets import NVENC
from tasks.shot_retimer import ShotRetimers
from tasks.stills import plates_amiss
from tasks.ways import ran_as, worked

LOG: Final = logging.getLogger("dailies")

FINISHED: Final = (Status.REVIEW, Status.APPROVED)
"""What a take is that needs no rendering."""

RUNNING, INTERRUPTED = "running", "interrupted"
"""What a shot is whose status is `rendering`; in a batch it may be `waiting` too."""

TOLD: Final = 100
"""Shots of a status that are named; where a million failed, a sentence about each helps nobody."""

NOTHING_AMISS: Final[Mapping[str, str]] = {}

BATCHES: Final = "batches"
"""Folder in the home that keeps the report of every batch."""


def names_to_render(
    settings: Settings, shots: Sequence[str], *, require_rife: bool = False, profile: str = engines.EXACT
) -> list[str]:
    """Full names of what `render` would take up. Raises before anything starts.

    UnknownShotError or AmbiguousShotError for a name, PlanError for a shot that was omitted or a profile that is none,
    MachineNotReadyError if ffmpeg does not run, RIFE is required and missing, nothing can be signed as configured,
    or NVENC is asked for and does not encode here.
    """
    check_engine(settings)
    check_profile(profile)
    try:
        ffmpeg_version(settings.ffmpeg)
    except FfmpegError as error:
        raise MachineNotReadyError(f"{error}; `dailies doctor` says what is needed") from error
    retimers.spec(settings.weights, wish=settings.retimer, require_rife=require_rife)
    check_signer(settings)
    with open_catalogue(settings.database_url) as catalogue:
        records = _wanted(catalogue, shots)
    if not shots:  # what another run is at is left to it
        records = [record for record in records if not _running(settings, record)]
    for record in records:
        if record.status is Status.OMITTED:
            raise PlanError(f"{record.shot.name} was omitted; `dailies undo {record.shot.name}` brings it back")
    # here, and not for nights: whoever dispatches them needs no card, the workers do
    check_encoder(settings, [record.shot for record in records])
    return [record.shot.name for record in records]


def check_wishes(settings: Settings, wishes: Mapping[str, Any]) -> None:
    """Raise PlanError or MachineNotReadyError for wishes of a batch that no shot could be rendered with."""
    check_engine(settings)
    check_profile(str(wishes["profile"]))
    retimers.spec(settings.weights, wish=settings.retimer, require_rife=bool(wishes["require_rife"]))
    check_signer(settings)


def check_signer(settings: Settings) -> None:
    """Raise MachineNotReadyError if deliverables are to be signed and cannot be: said before hours of rendering."""
    if settings.c2pa:
        signer(settings.c2pa, trial=True)


def check_encoder(settings: Settings, shots: Sequence[Shot]) -> None:
    """Raise MachineNotReadyError if H.265 of one of these is to be made by NVENC, and NVENC does not encode here."""
    if settings.encoder == NVENC and any(one.kind == "h265" for shot in shots for one in shot.deliveries):
        nvenc.require(settings.ffmpeg)


def check_engine(settings: Settings) -> None:
    """Raise PlanError if DAILIES_ENGINE names no engine: said once, not for every shot."""
    if settings.engine and settings.engine not in engines.model_names(settings.weights):
        known = ", ".join(engines.model_names(settings.weights))
        raise PlanError(f"DAILIES_ENGINE is {settings.engine!r}; unset it, or use animatic or another of: {known}")


def _running(settings: Settings, record: ShotRecord) -> bool:
    """Whether some run is rendering the shot now, rather than having been interrupted."""
    if record.status is not Status.RENDERING:
        return False
    return is_owned(settings.work / record.shot.show / record.shot.code)


def check_profile(profile: str) -> None:
    """Raise PlanError for a profile that is none: said once, not for every shot."""
    if profile not in SELECTABLE:
        raise PlanError(f"no profile {profile!r}; use {', '.join(SELECTABLE)}")


def dry_run(
    settings: Settings,
    shots: Sequence[str],
    *,
    require_rife: bool = False,
    profile: str = engines.EXACT,
    allow_smaller: bool = False,
) -> dict[str, Any]:
    """The document of `dailies plan --json`: the plan of each shot, and an error for each that has none.

    A model that is not installed, or does not fit this machine, is planned all the same, with the reason in the plan.
    """
    check_engine(settings)
    check_profile(profile)
    retimers.spec(settings.weights, wish=settings.retimer, require_rife=require_rife)  # said once, not for every shot
    wished = ShotRetimers(settings.weights, wish=settings.retimer, require_rife=require_rife)
    plans: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    with open_catalogue(settings.database_url) as catalogue:
        records = _wanted(catalogue, shots)
    amiss = plates_amiss(record.shot for record in records)
    for record in records:
        try:
            entry = _planned(record, settings, wished, profile=profile, allow_smaller=allow_smaller)
            said = amiss.get(record.shot.name, "").removeprefix(f"{record.shot.name}: ")
            plans.append({**entry, "notes": [*([said] if said else []), *entry["notes"]]})
        except (PlanError, EngineError) as error:
            errors.append({"shot": record.shot.name, "error": str(error)})
    return {"shots": plans, "errors": errors, "free_bytes": free_bytes(settings.work)}


def with_plates(settings: Settings, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a night (flows.tonight.preview), and under `plates` what is wrong with the plates of its shots:
    entries `shot`, `error`. They would fail when their turn comes."""
    names = {entry["shot"] for entry in plan["shots"]}
    with open_catalogue(settings.database_url) as catalogue:
        shots = [record.shot for record in catalogue.standings(names)]
    return {**plan, "plates": [{"shot": shot, "error": error} for shot, error in plates_amiss(shots).items()]}


def _planned(
    record: ShotRecord, settings: Settings, wished: ShotRetimers, *, profile: str, allow_smaller: bool
) -> dict[str, Any]:
    """One shot's plan, the way its model would run here, and what stands against it."""
    shot, version = record.shot, _next_version(record)
    interpolator, falls = wished.spec(shot), wished.may_fall(shot)
    weights, encoder = settings.weights, settings.encoder
    ready = prepare(shot, engine=settings.engine, weights=weights, profile=profile, encoder=encoder)
    plan = ready.plan(interpolator, version=version, may_fall=falls)
    card = engines.card_of(ready.spec, settings.weights)
    found, timed = None, timed_on(None, "")
    if ready.spec.engine != engines.ANIMATIC:
        found, timed = _fit(plan, card, settings.weights), timed_on(card, device_name())
        if allow_smaller and not found.fits:
            try:
                ready = smaller(ready, settings.weights)
                plan = ready.plan(interpolator, version=version, may_fall=falls)
                found = _fit(plan, card, settings.weights)
            except PlanError as error:
                said = str(error).removeprefix(f"{shot.name}: ").removeprefix(found.reason).strip()
                found = replace(found, remedy=said)
    notes = [_lacking(card, settings.weights)] if ready.spec.version == engines.NOT_INSTALLED else []
    if record.take and record.take.key == plan.key and record.take.status in FINISHED:
        plan = ready.plan(interpolator, version=record.take.version, may_fall=falls)
        notes.append(f"finished already as v{plan.version:03d}; rendering would make nothing")
    memory, notes = found.document() if found else None, notes + arrivals(plan)
    return {**plan_json(plan, card=card), "timed_here": timed, "memory": memory, "notes": notes}


def _lacking(card: Card, weights: Path) -> str:
    """What of the model is not there, and how to get it."""
    if model_folder(weights, card.name).is_dir():
        try:
            installed(card, weights)
        except EngineUnavailable as error:
            return str(error)
    return f"weights not installed; `dailies weights pull {card.name}`"


def _fit(plan: TakePlan, card: Card, weights: Path) -> Fit:
    """How the plan's longest window would run here, from the form of its weights and the rung that worked lately."""
    held = form(plan.spec, weights)
    shape = Shape(plan.width, plan.height, longest(plan))
    lately = worked(weights, device_name(), ran_as(card.name, held, plan.spec.profile), shape)
    return fit_plan(plan, card, device_facts(), quantised=held, worked=lately)


def _next_version(record: ShotRecord) -> int:
    """The version that rendering would work on: an unfinished take is continued."""
    unfinished = record.take is not None and record.take.status in (Status.RENDERING, Status.FAILED)
    return max(1, record.version if unfinished else record.version + 1)


def _wanted(catalogue: Catalogue, shots: Sequence[str]) -> list[ShotRecord]:
    if not shots:
        return catalogue.renderable()
    records = {record.shot.name: record for record in map(catalogue.find, shots)}
    return list(records.values())  # a shot named twice is rendered once


def standing(settings: Settings) -> dict[str, Any]:
    """The document of `dailies status --json`. Of each kind of shot at most TOLD are named; `shots` counts all."""
    with open_catalogue(settings.database_url) as catalogue:
        counts = catalogue.counts()
        rendering, failed, quarantined = (
            catalogue.shots(status=status, limit=TOLD)
            for status in (Status.RENDERING, Status.FAILED, Status.QUARANTINED)
        )
        batch = batch_at_work(catalogue)
    held = {shot["shot"]: shot["status"] for shot in batch["shots"]} if batch else {}
    states = {record.shot.name: _state(settings, record, held) for record in rendering}
    return {
        "shots": {status.value: counts.get(status, 0) for status in Status},
        "rendering": [
            {"shot": shot, "running": state != INTERRUPTED, "state": state} for shot, state in states.items()
        ],
        "failed": [{"shot": record.shot.name, "error": record.error} for record in failed],
        "quarantined": [{"shot": record.shot.name, "error": record.error} for record in quarantined],
        "batch": batch,
        "last_batch": last_batch(settings.home / BATCHES),
        "house": house(settings),
        "night": night_ahead(settings),
    }


def _state(settings: Settings, record: ShotRecord, held: Mapping[str, str]) -> str:
    """Of a shot that is `rendering`: as its attempt in the batch stands, else by who holds its folder."""
    return held.get(record.shot.name) or (RUNNING if _running(settings, record) else INTERRUPTED)


def house(settings: Settings) -> str | None:
    """Address of the Prefect server that is configured, else of the house that is up in this home; None for neither."""
    configured = os.environ.get("PREFECT_API_URL", "")
    url = configured or house_url(settings)
    return url.removesuffix("/api") if url else None


def night_ahead(settings: Settings) -> dict[str, Any]:
    """When the window that is open, or the next one, begins and ends; UTC, with the zone in which people read it."""
    now = datetime.now(UTC)
    begins, ends = settings.night.around(now)
    return {
        "begins": begins.isoformat(timespec="seconds"),
        "ends": ends.isoformat(timespec="seconds"),
        "open": begins <= now,
        "zone": settings.night.zone,
    }


def batch_at_work(catalogue: Catalogue) -> dict[str, Any] | None:
    """The night that is not over: how many shots are where, who is at what, which it holds; None if there is none."""
    batch = catalogue.nights.running()
    if batch is None:
        return None
    newest = {attempt.shot: attempt for attempt in catalogue.nights.attempts(batch.name)}
    found = Counter(attempt.status for attempt in newest.values())
    now = datetime.now(UTC)
    return {
        "batch": batch.name,
        "status": batch.status.value,
        "started": batch.started.isoformat(timespec="seconds"),
        "until": batch.until.isoformat(timespec="seconds") if batch.until else None,
        "counts": {status.value: found[status] for status in AttemptStatus if found[status]},
        "shots": [
            {
                "shot": attempt.shot,
                "status": attempt.status.value,
                "stage": attempt.stage.value,
                "flow_run": attempt.flow_run,
            }
            for attempt in newest.values()
            if attempt.open
        ],
        "total": len(batch.plan.get("expected", {})),
        "ends_about": _ends_about(batch, newest, now=now),
        "runs": [
            {
                "worker": run.worker,
                "name": run.name,
                "said": run.said,
                "silent_seconds": max(0, round((now - run.beat_at).total_seconds())),
            }
            for run in catalogue.nights.runs(batch.name, open_only=True)
        ],
    }


def _ends_about(batch: Batch, newest: Mapping[str, Attempt], *, now: datetime) -> str | None:
    """When the last shot should be out: what the plan expects of engines, shared by its workers; None without a plan.

    A shot at work counts with what is left of it, not less than nothing; finishing overlaps the next shot's windows.
    """
    expected: Mapping[str, float] = batch.plan.get("expected", {})
    if not expected:
        return None
    left = 0.0
    for shot, seconds in expected.items():
        attempt = newest.get(shot)
        if attempt is None or attempt.status is AttemptStatus.WAITING:
            left += seconds
        elif attempt.open and attempt.stage is Stage.GENERATE and attempt.started:
            left += max(0.0, seconds - (now - attempt.started).total_seconds())
    workers = max(1, int(batch.plan.get("workers", 1)))
    return (now + timedelta(seconds=left / workers)).isoformat(timespec="seconds")


def last_batch(folder: Path) -> dict[str, Any] | None:
    """What the newest batch with shots did: when it finished, how many shots, how many failed, in how many seconds.

    `batch` and `summary` are empty for a render by hand.
    """
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if not document["shots"]:
                continue  # nothing was ready: what people want to see is what was done last
            name = str(document.get("batch", ""))
            page = folder / f"{name}.md"
            return {
                "batch": name,
                "summary": str(document.get("summary", "")),
                "finished": document["finished"],
                "shots": len(document["shots"]),
                "failed": sum(1 for entry in document["shots"] if entry["error"]),
                "seconds": document["seconds"],
                "report": str(path),
                "page": str(page) if name and page.is_file() else None,
            }
        except (OSError, ValueError, KeyError, TypeError):
            LOG.warning("%s is not a batch report; passed over", path)
    return None


def keep_report(folder: Path, document: Mapping[str, Any]) -> None:
    """The batch's report, for `dailies status` and for whoever asks next week. A full disk costs the report only."""
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S%f}Z.json"
    try:
        write_json(path, {**document, "finished": now.isoformat(timespec="seconds")})
    except StepError as error:
        LOG.warning("the report of this batch was not kept: %s", error)


def checks(settings: Settings, *, amiss: Mapping[str, str] = NOTHING_AMISS) -> Sequence[Check]:
    """What `dailies doctor` looks at. `amiss` are variables that cannot be used, and why: they come first, for nothing
    is rendered with them; everything else is looked at as if they were not set."""

    def database() -> DatabaseFacts:
        return database_facts(settings.database_url)

    unusable = []
    for variable, why in amiss.items():
        detail, _, remedy = why.rpartition("; ")
        name = variable.removeprefix("DAILIES_").lower()
        unusable.append(Check(name, "missing", detail or why, remedy if detail else "", vital=True))
    found = examine(
        home=settings.home,
        ffmpeg=settings.ffmpeg,
        weights=settings.weights,
        database=database,
        retimer=settings.retimer,
        c2pa=settings.c2pa,
        encoder=settings.encoder,
        needed=(settings.work, settings.deliveries),
    )
    return [*unusable, *found]
