"""Plates on disk against what was submitted: is the still there, and is it the one that the list meant?

Knows: files and their sha256. Does not know: who asks, what a plate shows. Memory: a megabyte for each
file that is read at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from catalogs.shot import Plate, Shot
from tasks.errors import MediaError
from tasks.keep import sha256_of

_AT_ONCE: Final = 8
"""Files that are read at the same time."""


def check_plates(shot: Shot) -> None:
    """A plate that is gone or was painted over since it was submitted is refused: the list no longer means it.

    Raises MediaError.
    """
    for plate in shot.stills:
        if said := _amiss(plate):
            raise MediaError(f"{shot.name}: {said}")


def plates_amiss(shots: Iterable[Shot]) -> dict[str, str]:
    """`SHOW/CODE` -> what `check_plates` would say of it, of those it would refuse. A file is read once for all."""
    asked = list(shots)
    plates = {plate: "" for shot in asked for plate in shot.stills}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        said = dict(zip(plates, pool.map(_amiss, plates), strict=True))
    found = ((shot.name, [said[plate] for plate in shot.stills]) for shot in asked)
    return {name: f"{name}: {next(filter(None, words))}" for name, words in found if any(words)}


def _amiss(plate: Plate) -> str:
    """What is wrong with the file; empty if it is what was submitted."""
    try:
        digest = sha256_of(Path(plate.path))
    except OSError as error:
        reason = error.strerror or error
        return f"the plate {plate.path} cannot be read ({reason}); put it back or submit the list again"
    if digest != plate.sha256:
        return f"the plate {plate.path} has changed since it was submitted; submit the list again"
    return ""
