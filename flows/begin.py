"""How a shot is taken up: its plan, its plates, its take in the catalogue, the folders it is made in.

Knows: what has to stand before an engine starts. Does not know: how footage is made, in which process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Take
from catalogs.shot import Shot
from catalogs.store import Catalogue, ShotRecord
from flows.patience import patient
from flows.planning import FINISHED, check_encoder
from flows.reports import report
from flows.settings import Settings
from models.interface import FrameInterpolator, GeneratorSpec, Shape
from tasks import engines, steps
from tasks.c2pa_sign import signer
from tasks.dryrun import estimate, plan_json
from tasks.errors import BusyError, MachineNotReadyError
from tasks.generate import shape_of
from tasks.keep import bytes_below, check_disk, folder_problem, sole_owner, write_json
from tasks.limits import read_limits
from tasks.plan import TakePlan
from tasks.prepare import Prepared, prepare
from tasks.publish import MANIFEST, first_free_version, read_published
from tasks.shot_retimer import may_fall, shot_interpolator
from tasks.stills import check_plates

LOG: Final = logging.getLogger("dailies")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds for every shot of a batch."""

    require_rife: bool = False
    """Refuse to retime with anything else."""
    profile: str = engines.EXACT
    """`exact`, `fast` or `draft`."""
    allow_smaller: bool = False
    """Make a smaller window where the shot's own does not fit the device."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A shot that may be taken up: nothing is written yet."""

    prepared: Prepared
    interpolator: FrameInterpolator
    version: int
    """The version it would become, if nobody else makes one first."""
    may_fall: bool = False
    """Whether another engine may retime it if the interpolator's device is lost."""

    def plan(self, version: int) -> TakePlan:
        """The plan of a take."""
        return self.prepared.plan(self.interpolator.spec, version=version, may_fall=self.may_fall)

    @property
    def spec(self) -> GeneratorSpec:
        """The rules of its model here."""
        return self.prepared.spec

    @property
    def shape(self) -> Shape:
        """What the engine's memory depends on."""
        return shape_of(self.plan(self.version))


@dataclass(frozen=True, slots=True)
class Begun:
    """A shot whose take stands in the catalogue."""

    plan: TakePlan
    take: Take
    place: steps.Place
    interpolator: FrameInterpolator


def make_ready(record: ShotRecord, settings: Settings, wishes: Wishes) -> Ready:
    """Everything that can be found out before the shot's turn comes.

    Raises EngineError or StepError, and MachineNotReadyError if what retimes, encodes or signs every shot here
    cannot, or the shot's folders cannot be made.
    """
    shot, required = record.shot, wishes.require_rife
    for folder in (work_of(shot, settings), versions_of(shot, settings)):
        if why := folder_problem(folder):  # found here, not when the shot is made and would be published
            raise MachineNotReadyError(f"{shot.name}: {why}")
    if settings.c2pa:
        signer(settings.c2pa)  # it may have expired since the batch began
    if settings.finishes_here:
        check_encoder(settings, [shot])  # before hours of generating, not after
    interpolator = shot_interpolator(shot, settings.weights, wish=settings.retimer, require_rife=required)
    prepared = prepare(
        shot,
        engine=settings.engine,
        weights=settings.weights,
        profile=wishes.profile,
        allow_smaller=wishes.allow_smaller,
        encoder=settings.encoder,
    )
    ready = Ready(prepared, interpolator, max(1, record.version), may_fall(shot, require_rife=required))
    ready.plan(ready.version)
    return ready


def found_finished(record: ShotRecord, ready: Ready, catalogue: Catalogue, settings: Settings) -> dict[str, Any] | None:
    """The report of a shot whose newest take is what it asks for, published and whole; None if there is work to do."""
    take = record.take
    if take is None or take.status not in FINISHED:
        return None
    plan = ready.plan(take.version)
    if take.key != plan.key:
        return None
    folder = versions_of(record.shot, settings) / f"v{plan.version:03d}"
    document = read_published(plan, folder)
    if document is None:
        return None
    LOG.info("%s is finished already", plan.slate)
    catalogue.settle_shot(take)
    files = [
        {name: value for name, value in entry.items() if name != "argv"} | {"path": str(folder / entry["path"])}
        for entry in document["deliverables"]
    ]
    return report(plan, status=take.status, deliverables=files, manifest=folder / MANIFEST)


def take_up(
    record: ShotRecord, ready: Ready, catalogue: Catalogue, settings: Settings, *, fence: int | None = None
) -> Begun:
    """Begin or continue the shot's take. `fence` is the right to it that a night granted; None takes one by hand.

    Raises StepError, and FencedError if the right is gone.
    """
    shot = record.shot
    check_plates(shot)
    card = engines.card_of(ready.spec, settings.weights)
    versions = versions_of(shot, settings)
    take = catalogue.begin_take(
        shot.name,
        key=ready.plan(1).key,
        plan=lambda version: plan_json(ready.plan(version), card=card),
        at_least=first_free_version(versions),
        fence=fence,
        revision=record.revision,
    )
    plan = ready.plan(take.version)
    if plan.notice:
        LOG.warning("%s: %s", plan.slate, plan.notice)
    return Begun(
        plan,
        take,
        place_of(plan, settings, guard=lambda: patient(lambda: catalogue.publishing(take))),
        ready.interpolator,
    )


def place_of(plan: TakePlan, settings: Settings, *, guard: Callable[[], AbstractContextManager[None]]) -> steps.Place:
    """Where a take is made and where it goes; `guard` stands before everything that gets its final name."""
    work = settings.work / plan.shot.show / plan.shot.code / plan.join_key[:16]
    version = versions_of(plan.shot, settings) / f"v{plan.version:03d}"
    by = signer(settings.c2pa) if settings.c2pa else None
    limits = read_limits(settings.home, show=plan.shot.show)
    return steps.Place(settings.ffmpeg, work, version, settings.weights, guard, signer=by, limits=limits)


def lay_out(begun: Begun, settings: Settings) -> None:
    """Write the plan into the work folder, if the disk has room for what is still to be made. Raises StepError."""
    plan, work = begun.plan, begun.place.work
    check_disk(estimate(plan).bytes - bytes_below(work), settings.work, what=plan.slate)
    write_json(work / "plan.json", plan_json(plan, card=engines.card_of(plan.spec, settings.weights)))


def versions_of(shot: Shot, settings: Settings) -> Path:
    """Folder that holds a shot's published versions."""
    return settings.deliveries / shot.show / (shot.sequence or "_") / shot.code


def work_of(shot: Shot, settings: Settings) -> Path:
    """Folder that holds a shot's unfinished work."""
    return settings.work / shot.show / shot.code


@contextmanager
def swept(folder: Path, *, what: str) -> Iterator[None]:
    """`sole_owner` for whoever holds a fence: a predecessor that hangs with the lock in its hand is not waited for."""
    with ExitStack() as stack:
        with suppress(BusyError):
            stack.enter_context(sole_owner(folder, what=what))
        yield
