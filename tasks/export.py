"""Exported texts into files: all of them or none.

Knows: names, folders, what is in the way. Does not know: what the texts say. Memory: the texts.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.errors import PlanError, StepError
from tasks.keep import fsync_folder


def targets(
    out: Path | None, names: Sequence[str], *, endings: Sequence[str], what: str, both: bool = False
) -> list[Path]:
    """Where files of these names go, absolute: into the folder `out` (default the current one), or to `out` itself.

    `out` is a file if it ends in one of `endings` (`.otio`) and is no folder. With `both` the names are one thing in
    several forms, and a file is the form that it ends like. Raises PlanError if there are several names for one file,
    or it ends like a file of another kind.
    """
    folder = Path() if out is None else out
    if out is not None and not out.is_dir() and out.suffix:
        if out.suffix.lower() not in endings:
            raise PlanError(f"{out} would be {what} and does not end in {' or '.join(endings)}; correct its name")
        if len(names) > 1 and not both:
            listed = ", ".join(names)
            raise PlanError(f"{out} is one file and there are {len(names)} ({listed}); name a folder, or --sequence")
        return [out.absolute()]
    return [(folder / name).absolute() for name in names]


def write_files(files: Mapping[Path, str], *, overwrite: bool) -> None:
    """Write texts in UTF-8, line ends as given, making their folders. Nothing has its name before all are on disk.

    Raises PlanError for a file that is there, unless it may be overwritten, StepError if the disk refuses.
    """
    for path in files:
        if path.is_dir():
            raise PlanError(f"{path} is a folder; take another name")
        if path.exists() and not overwrite:
            raise PlanError(f"{path} exists already; take another name, or add --overwrite")
    asides: dict[Path, Path] = {}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            asides[aside] = path
            with aside.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
        for aside, path in asides.items():
            os.replace(aside, path)
            fsync_folder(path.parent)
    except OSError as error:
        at = error.filename or ", ".join(map(str, files))
        raise StepError(f"cannot write {at}: {error.strerror or error}; mend the folder and export again") from error
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)
