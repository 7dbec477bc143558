"""A shot list on its way into the catalogue, for the command line, the inbox and later the page. Never imports Prefect.

Knows: which rules of which models a list is held against, what its sender is told on the way. Does not know: what is
wrong with a list (catalogs.shotlist).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, cast, get_args

from catalogs.errors import ShotListError
from catalogs.filling import Filling, assignments
from catalogs.loras import InstalledLora, LoraRules
from catalogs.problems import Problem, problem
from catalogs.request import ModelRules
from catalogs.shotlist import ReadResult, SubmissionRules, read_shot_list, write_errors
from catalogs.store import open_catalogue
from catalogs.submission import Mode, SubmissionResult
from flows.settings import Settings
from models.cards import ANIMATIC
from models.lora_cards import lora_cards
from models.tokens import count_tokens
from tasks import engines
from tasks.chain import chain_complaints
from tasks.errors import PlanError
from tasks.foresight import expected_seconds

LOG: Final = logging.getLogger("dailies")

EVERY: Final = 10.0
"""Seconds between two lines about how far a long list has come."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a submission ended."""

    result: SubmissionResult | None
    """What it did; None if it was refused."""
    errors: tuple[Problem, ...]
    """Why it was refused."""
    warnings: tuple[Problem, ...]
    """What the sender should know."""
    rejected: Path | None = None
    """Where the rejected rows were written."""

    @property
    def accepted(self) -> bool:
        """Whether the list is in the catalogue (or would be, in a dry run)."""
        return self.result is not None


def rules(settings: Settings, *, show: str | None) -> SubmissionRules:
    """What a list is held against on this machine. Raises CardError for a card, of a model or a LoRA, that is wrong."""
    models = {}
    for name in engines.model_names(settings.weights):
        spec = engines.rules_for(name, engine=settings.engine, weights=settings.weights)
        # no bounds on size: a delivery may be larger or smaller than what the model makes, it is scaled
        # the model's own engine counts: a list that is previewed keeps its LoRAs for the real thing, and asks nothing
        # of its windows that would be refused then
        own = engines.rules_for(name, weights=settings.weights)
        card = engines.card_of(own, settings.weights)
        models[name] = ModelRules(
            needs_plate=spec.needs_plate,
            needs_prompt=spec.needs_prompt,
            takes_loras=own.engine != ANIMATIC,
            judge=partial(chain_complaints, spec=own),
            seconds=partial(expected_seconds, spec=spec, card=None if spec.engine == ANIMATIC else card),
            tokens=partial(count_tokens, card=card, weights=settings.weights),
            most_tokens=card.text_tokens,
        )
    cards = lora_cards(settings.weights).values()
    loras = LoraRules(
        installed={card.name: InstalledLora(card.file, card.models) for card in cards}, folders=(settings.weights,)
    )
    begin, end = settings.night.around(datetime.now(UTC))
    return SubmissionRules(
        plate_root=settings.plates,
        default_show=show,
        default_model=ANIMATIC,
        models=models,
        loras=loras,
        night=(end - begin).total_seconds(),
    )


def submit(
    file: Path,
    settings: Settings,
    *,
    mode: str = "create",
    dry_run: bool = False,
    errors: Path | None = None,
    show: str | None = None,
    submitted_by: str = "",
    allow_new: bool = False,
    plates: Path | None = None,
    claim: str | None = None,
    ready: Callable[[Outcome], object] | None = None,
    sheet: str | None = None,
    defaults: Sequence[str] = (),
    fixed: Sequence[str] = (),
) -> Outcome:
    """Read, check and take in a list; `sheet` is a workbook's. With `errors`, rejected rows go to that file.

    `defaults` and `fixed` are COLUMN=VALUE: for cells that are empty, and for all. `allow_new` lets in shots that
    resemble others, `plates` is where plates lie if the settings do not say, default the list's own folder. `ready` is
    told how it will end before it is committed, and again if that is tried again; under a `claim` a list is taken in
    once. Raises PlanError for a COLUMN=VALUE that cannot be read or a mode that does not exist, CatalogueError if the
    catalogue cannot be used, ListTakenError for a claim that was used.
    """
    if mode not in get_args(Mode):
        raise PlanError(f"no mode {mode!r}; use {', '.join(get_args(Mode))}")
    if errors is not None and errors.resolve() == file.resolve():
        raise PlanError(f"{errors} is the list itself; write the rejected rows to another file")
    try:
        filling = Filling(defaults=assignments(defaults), fixed=assignments(fixed))
    except ValueError as error:
        raise PlanError(str(error)) from None
    terms = replace(rules(settings, show=show), filling=filling, allow_new=allow_new)
    terms = terms if terms.plate_root else replace(terms, plate_root=plates)
    read = read_shot_list(file, terms, sheet=sheet)
    if read.problems:
        return Outcome(None, read.problems, read.warnings, _returned(errors, read))

    def outcome(result: SubmissionResult) -> Outcome:
        return Outcome(result, (), (*read.warnings, *_rendered(result, file, read)))

    def tell(result: SubmissionResult) -> None:
        if not dry_run:
            _tell(result)
        if ready is not None:
            ready(outcome(result))

    try:
        with open_catalogue(settings.database_url) as catalogue:
            result = catalogue.submit(
                read.shots,
                source=file.name,
                submitted_by=submitted_by,
                mode=cast(Mode, mode),
                dry_run=dry_run,
                lines=read.lines,
                allow_new=allow_new,
                claim=claim,
                said=Pace(),
                ready=tell,
            )
    except ShotListError as error:
        refused = replace(read, shots=(), problems=error.problems)
        return Outcome(None, refused.problems, read.warnings, _returned(errors, refused))
    return outcome(result)


class Pace:
    """Says how far a long list has come, a line each ten seconds; one that is in sooner needs none."""

    def __init__(self, every: float = EVERY) -> None:
        self._every, self._last = every, time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """`what` was done with so many shots of so many."""
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            LOG.info("%s %s of %s shots", what, f"{done:,}", f"{total:,}")


def _tell(result: SubmissionResult) -> None:
    """Before anything is written: what is thrown away by it."""
    if again := len(result.notices):
        takes = f"{result.superseded} take{'' if result.superseded == 1 else 's'}"
        LOG.info(
            "%s of the changed shots %s rendered: %s will be replaced", again, "was" if again == 1 else "were", takes
        )


def _rendered(result: SubmissionResult, file: Path, read: ReadResult) -> list[Problem]:
    """A notice for each changed shot of which takes are out."""
    lines = {name.lower(): line for name, line in read.lines.items()} if result.notices else {}
    return [
        problem(
            "W501",
            str(file),
            line=lines.get(change.shot.lower(), 0),
            column="shot",
            value=change.shot,
            words={
                "status": change.status.value,
                "takes": f"{change.takes} finished take{'' if change.takes == 1 else 's'}",
            },
        )
        for change in result.notices
    ]


def _returned(target: Path | None, read: ReadResult) -> Path | None:
    """Where the rejected rows were written; None if nowhere. The problems are told either way."""
    if target is None:
        return None
    try:
        write_errors(target, read)
    except OSError as error:
        LOG.error("the rejected rows could not be written to %s: %s", target, error.strerror or error)
        return None
    return target
