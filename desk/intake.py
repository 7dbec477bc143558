"""A shot list on its way into the catalogue, for the command line and later the page. Never imports Prefect or torch.

Knows: which rules of which models a list is held against. Does not know: what is wrong with a list (catalogs.shotlist).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from catalogs.errors import ShotListError
from catalogs.problems import Problem
from catalogs.request import ModelRules
from catalogs.shotlist import SubmissionRules, read_shot_list, write_errors
from catalogs.store import open_catalogue
from catalogs.submission import Mode, SubmissionResult
from flows.settings import Settings
from models.cards import ANIMATIC
from tasks import engines
from tasks.errors import PlanError


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
    """What a list is held against on this machine."""
    models = {}
    for name in engines.model_names():
        spec = engines.spec_for(name, engine=settings.engine)
        # no bounds on size: a delivery may be larger or smaller than what the model makes, it is scaled
        models[name] = ModelRules(needs_plate=spec.needs_plate, needs_prompt=spec.needs_prompt)
    return SubmissionRules(plate_root=settings.plates, default_show=show, default_model=ANIMATIC, models=models)


def submit(
    file: Path,
    settings: Settings,
    *,
    mode: str = "create",
    dry_run: bool = False,
    errors: Path | None = None,
    show: str | None = None,
    submitted_by: str = "",
) -> Outcome:
    """Read, check and take in a list. With `errors`, rejected rows go to that file.

    Raises PlanError for a mode that does not exist, CatalogueError if the catalogue cannot be used.
    """
    if mode not in get_args(Mode):
        raise PlanError(f"no mode {mode!r}; use {', '.join(get_args(Mode))}")
    read = read_shot_list(file, rules(settings, show=show))
    if read.problems:
        if errors is not None:
            write_errors(errors, read)
        return Outcome(None, read.problems, read.warnings, errors)
    try:
        with open_catalogue(settings.database_url) as catalogue:
            result = catalogue.submit(
                read.shots,
                source=file.name,
                submitted_by=submitted_by,
                mode=cast(Mode, mode),
                dry_run=dry_run,
                lines=read.lines,
            )
    except ShotListError as error:
        refused = replace(read, shots=(), problems=error.problems)
        if errors is not None:
            write_errors(errors, refused)
        return Outcome(None, refused.problems, read.warnings, errors)
    return Outcome(result, (), read.warnings)
