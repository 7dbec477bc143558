"""What the files in a weights folder are known to be: the lock, and the hashes taken so far.

Knows: `weights.lock.json` (which file has which sha256, and where it came from) and the cache of hashes. Does not know:
formats, models, the hub. Memory: both documents, a few hundred bytes per file; files are hashed a megabyte at a time.

The lock is evidence and is never guessed at: one that does not parse stops everything. The cache only saves time: one
that does not parse is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from models.headers import WeightsError, WeightsUnavailableError

LOCK: Final = "weights.lock.json"
CACHE: Final = ".weights-cache.json"
_GUARD: Final = ".weights.lock"
_PATIENCE: Final = 60.0  # seconds; writing the lock takes milliseconds
_YOUNG: Final = 0.1  # seconds; a file written this recently may change again without a new time stamp
_DOCUMENT: Final = 16 << 20  # most bytes of a JSON document: an index of 65,536 tensors has 8 MB
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Locked:
    """One file, as the lock describes it."""

    bytes: int
    sha256: str
    """Lower-case hex digest of its contents."""
    source: str
    """Where it came from: `https://huggingface.co/REPOSITORY@COMMIT/PATH`, `converted from ...`, `first use`."""


def read_json(path: Path) -> Any:
    """A JSON document of at most 16 MiB without duplicate keys. Raises WeightsError for anything else."""
    try:
        if path.stat().st_size > _DOCUMENT:
            raise WeightsError(f"{path} has more than {_DOCUMENT >> 20} MiB, too much for a description; pull it again")
        return json.loads(path.read_bytes(), object_pairs_hook=_once)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a JSON document: {error}; put back the original") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def read_lock(weights: Path) -> Mapping[str, Locked]:
    """The lock's files by their path inside the weights folder (with /); empty if there is no lock.

    Raises WeightsError if the lock is damaged.
    """
    path = weights / LOCK
    if not path.exists():
        return {}
    document = read_json(path)
    try:
        if document["version"] != 1:
            raise ValueError(f"version {document['version']}")
        return {name: _locked(name, entry) for name, entry in document["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is no lock of ours ({error}); restore it, or delete it and pull the models again"
        ) from error


def _locked(name: str, entry: Any) -> Locked:
    found = Locked(entry["bytes"], entry["sha256"], entry["source"])
    if not isinstance(found.bytes, int) or not _SHA256.fullmatch(found.sha256) or not isinstance(found.source, str):
        raise ValueError(f"the entry of {name}")
    return found


def write_lock(weights: Path, files: Mapping[str, Locked]) -> None:
    """Add or replace files in the lock. Atomic, and safe beside others who write it.

    Raises WeightsError if the lock on disk is damaged, WeightsUnavailableError if it cannot be written.
    """
    try:
        weights.mkdir(parents=True, exist_ok=True)
        with FileLock(weights / _GUARD, timeout=_PATIENCE):
            known = {**read_lock(weights), **files}
            entries = {name: asdict(known[name]) for name in sorted(known)}
            replace_text(weights / LOCK, json.dumps({"version": 1, "files": entries}, indent=2) + "\n")
    except Timeout as error:
        raise WeightsUnavailableError(f"{weights / LOCK} is being written by another process; try again") from error
    except OSError as error:
        raise WeightsUnavailableError(
            f"{weights / LOCK} cannot be written: {error.strerror}; check the folder's permissions and free space"
        ) from error


def replace_text(path: Path, text: str) -> None:
    """Write a file in full or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # a team shares the folder; mkstemp gives it to one
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


class Digests:
    """sha256 of files in one weights folder, remembered by size, time of change and inode."""

    def __init__(self, weights: Path) -> None:
        """Read the folder's cache; a damaged one counts as empty."""
        self._weights = weights
        self._known = self._read()
        self._new: dict[str, list[int | str]] = {}

    def of(self, path: Path) -> str:
        """Hex digest of a file. Raises WeightsError if it cannot be read or changes meanwhile."""
        try:
            before, key = path.stat(), self._key(path)
            stamp = [before.st_size, before.st_mtime_ns, before.st_ino]
            known = self._new.get(key) or self._known.get(key)
            if known and known[:3] == stamp:
                return str(known[3])
            digest = file_sha256(path)
            after = path.stat()
        except OSError as error:
            raise WeightsError(
                f"{path} cannot be read: {error.strerror}; check the path and its permissions"
            ) from error
        if [after.st_size, after.st_mtime_ns, after.st_ino] != stamp:
            raise WeightsError(f"{path} changed while it was read; wait until it is written and try again")
        if not 0 <= time.time() - after.st_mtime < _YOUNG:
            self._new[key] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Keep what was hashed since. A folder that cannot be written is hashed again next time, and no error."""
        if not self._new:
            return
        with suppress(OSError, Timeout), FileLock(self._weights / _GUARD, timeout=_PATIENCE):
            known = {**self._read(), **self._new}
            there = {key: known[key] for key in sorted(known) if (self._weights / key).exists()}
            replace_text(self._weights / CACHE, json.dumps({"version": 1, "files": there}) + "\n")

    def _key(self, path: Path) -> str:
        return os.path.relpath(path, self._weights)

    def _read(self) -> dict[str, list[int | str]]:
        try:
            document = read_json(self._weights / CACHE)
            return {key: entry for key, entry in document["files"].items() if self._sound(entry)}
        except (WeightsError, AttributeError, KeyError, TypeError):
            return {}

    @staticmethod
    def _sound(entry: Any) -> bool:
        return (
            isinstance(entry, list)
            and len(entry) == 4
            and all(isinstance(number, int) for number in entry[:3])
            and isinstance(entry[3], str)
            and _SHA256.fullmatch(entry[3]) is not None
        )


def file_sha256(path: Path) -> str:
    """Hex digest of a file's contents. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
