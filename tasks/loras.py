"""A shot's LoRAs, found and hashed: what the plan holds of them.

Knows: names and paths, the cards beside the files, which model takes part. Does not know: engines, what acts how.
Files are judged and hashed here, long before a model of many gigabytes is loaded; the engine's own check does it again
before it opens one. Memory: one header; files are hashed a megabyte at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from catalogs.shot import LoraUse, Shot
from models.cards import cards_with
from models.headers import WeightsError, read_header
from models.interface import EngineError, GeneratorSpec, Lora
from models.lora_cards import ENDING, lora_card, lora_file
from models.weights import escapes, judge, kind_of, root_of
from models.weights_lock import file_sha256
from tasks.errors import PlanError
from tasks.plan import PlannedLora

ANIMATIC: Final = "animatic"
"""The engine that no LoRA changes."""


def installed(weights: Path, name: str) -> bool:
    """Whether a LoRA of that name lies in the weights folder."""
    return bool(name) and lora_file(weights, name).is_file()


def resolve(shot: Shot, spec: GeneratorSpec, weights: Path) -> tuple[PlannedLora, ...]:
    """The LoRAs that act on every window of the shot: the profile's own first, then the shot's, each once.

    One that is switched off (scale 0) is left out. Where the shot names the profile's own, the shot's scale counts.
    Raises PlanError, naming the shot, the LoRA and the remedy, for one that is gone, damaged, leads out of the weights
    folder, or is made for other models.
    """
    if spec.engine == ANIMATIC:
        return ()
    card = cards_with(weights).get(spec.name)
    experts = card.experts if card else 1
    try:
        found = [_planned(use, spec, weights, experts=experts) for use in _uses(shot, spec) if use.scale != 0]
    except EngineError as error:
        raise PlanError(f"{shot.name}: {error}") from error
    return tuple(lora for lora in found if lora.file.scale != 0)


def _uses(shot: Shot, spec: GeneratorSpec) -> Iterator[LoraUse]:
    """What is wanted, in order."""
    own = {use.name: use for use in shot.loras}
    if spec.distilled:
        yield own.pop(spec.distilled, LoraUse(spec.distilled))
    yield from own.values()


def _planned(use: LoraUse, spec: GeneratorSpec, weights: Path, *, experts: int) -> PlannedLora:
    """One LoRA. Raises EngineError without the shot's name."""
    path = Path(use.name)
    file = path if path.is_absolute() else lora_file(weights, use.name)
    what = f"the LoRA {use.name}" + (f", which the profile {spec.profile} needs," if use.name == spec.distilled else "")
    if not file.is_file():
        raise WeightsError(f"{what} is not there; put back {file}, or take it out of the shot list")
    card = lora_card(file)
    if card.models and spec.name not in card.models:
        raise WeightsError(
            f"{what} is made for {', '.join(card.models)}, not for {spec.name}; "
            "take it out, use another model, or correct its card"
        )
    low = card.low_noise if experts > 1 else None
    if low is not None and not low.is_file():
        raise WeightsError(f"{what} has a file for the low-noise expert that is not there; put back {low}")
    scale = card.scale if use.scale is None else use.scale
    files = (file,) if low is None else (file, low)
    digest = tuple(_digest(part, weights) for part in files)
    return PlannedLora(use.name, Lora(file, scale, low, digest), digest, card.trigger)


def _digest(file: Path, weights: Path) -> str:
    """sha256 of a LoRA that may be loaded. Raises WeightsError."""
    if file.is_relative_to(weights):
        return judge(file, weights=weights).require().sha256
    # beside the plates there is no lock to hold it against, and nothing of ours is to be written there
    if flaw := escapes(file, root_of(file, weights)):
        raise WeightsError(flaw)
    if kind_of(file, named=True) != "safetensors" or not read_header(file).tensors:
        raise WeightsError(f"{file} is not a LoRA: it is no {ENDING} file with tensors; export it again")
    status = file.stat()
    return _hashed(file, (status.st_size, status.st_mtime_ns, status.st_ino))


@cache
def _hashed(file: Path, stamp: tuple[int, int, int]) -> str:
    """sha256 of a file outside the weights folder, taken once per process and change. Raises WeightsError."""
    del stamp  # another stamp is another file
    try:
        return file_sha256(file)
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}; check the path and its permissions") from error
