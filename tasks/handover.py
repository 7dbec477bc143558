"""What the engine leaves for whoever finishes the shot, perhaps on another machine: one file in the shot's work folder.

Knows: the file and how it is written. Does not know: the catalogue, how windows are made. Memory: the plan of one shot.

The plan travels as it was made: a machine that joins and encodes needs neither the model's weights nor its card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from catalogs.footage import Clip
from models.cards import Card
from tasks.errors import MediaError
from tasks.keep import Guard, write_json
from tasks.plan import TakePlan

NAME: Final = "handover.json"
"""File in a shot's work folder."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A take's windows, and what made them."""

    clips: tuple[Clip, ...]
    """One per window, in order."""
    ways: tuple[Mapping[str, Any], ...]
    """How each window was made."""
    card: Card
    """The model's."""
    facts: Mapping[str, Any]
    """What the engine is made of: weights with sha256, versions of the libraries."""
    seconds: Mapping[str, float]
    """Wall seconds of the steps so far."""
    started: datetime
    """When the take was begun."""


@dataclass(frozen=True, slots=True)
class Handover:
    """All that finishing a take needs."""

    fence: int
    """Number of the attempt that handed over."""
    plan: TakePlan
    generated: Generated


@cache
def _form() -> TypeAdapter[Handover]:
    return TypeAdapter(Handover)


def write_handover(folder: Path, handover: Handover, *, guard: Guard) -> Path:
    """Write it into a shot's work folder, in place of an older one. Raises StepError if the disk refuses."""
    # cards hold read-only views of dictionaries, which are nothing that pydantic knows
    text = _form().dump_json(handover, fallback=dict, warnings=False)
    with guard():
        write_json(folder / NAME, json.loads(text))
    return folder / NAME


def read_handover(folder: Path, *, what: str) -> Handover:
    """The handover in a shot's work folder. Raises MediaError if it is not there or not readable."""
    path = folder / NAME
    try:
        return _form().validate_json(path.read_bytes())
    except OSError as error:
        raise MediaError(
            f"{what}: {path} cannot be read ({error.strerror or error}); every machine must see the same "
            "DAILIES_HOME under the same path; render the shot again"
        ) from error
    except ValidationError as error:
        raise MediaError(
            f"{what}: {path} is not a handover of this version ({error.error_count()} faults); render the shot again"
        ) from error
