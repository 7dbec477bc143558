"""Keep what a step has made, and recall it: the whole of resuming.

Knows: files, their sha256 and the content key they were made under. Does not know: what is in them.
Memory: one megabyte, whatever the size of a file.

A kept file `w000.mkv` has a receipt `w000.mkv.json` beside it. The receipt is written last, after the file was
flushed to disk and moved into place, so a receipt that matches its file proves that the step was finished. Nothing
else is remembered: a process that starts after a crash looks for receipts and makes what has none.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from tasks.errors import BusyError, StepError

_BLOCK: Final = 1 << 20
_ATTEMPTS: Final = "attempts"
_YOUNG: Final = 10.0  # seconds in which a folder that nobody holds may yet be locked by who made it

Guard = Callable[[], AbstractContextManager[None]]
"""A context under which a rename is allowed: it raises before the block where the right to it is lost."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished file and what was noted about it."""

    path: Path
    """Absolute path of the file or folder."""
    sha256: str
    """Digest of the file; for a folder, of its `sha256 name` lines in name order."""
    bytes: int
    """Size of the file, or of all files in the folder."""
    notes: Mapping[str, Any]
    """What the step wanted to remember: JSON values only."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes; of a folder, the digest over its `sha256 name` lines in name order."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.iterdir()):
            digest.update(f"{sha256_of(file)} {file.name}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def bytes_of(path: Path) -> int:
    """Size of a file, or of all files directly in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return path.stat().st_size


def fsync_tree(path: Path) -> None:
    """Flush a file, or a folder with all that is in it, to the disk."""
    if path.is_dir():
        for entry in path.iterdir():
            fsync_tree(entry)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that readers see the old file or the new one, never a part: write aside, flush, replace.

    Makes the folder. Raises StepError if the disk refuses.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
        fsync_folder(path.parent)
    except OSError as error:
        raise StepError(f"cannot write {path}: {error.strerror or error}; mend the folder and render again") from error


def fsync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _receipt(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def recall(path: Path, *, key: str) -> Kept | None:
    """The finished file at `path` if it was made under `key` and its bytes are what they were; else None.

    A file that does not match is left where it is: keeping the new one replaces it.
    """
    try:
        receipt = json.loads(_receipt(path).read_text(encoding="utf-8"))
        if receipt["key"] != key or receipt["bytes"] != bytes_of(path):
            return None
        if receipt["sha256"] != sha256_of(path):
            return None
        return Kept(path, receipt["sha256"], receipt["bytes"], receipt["notes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(
    made: Path, path: Path, *, key: str, notes: Mapping[str, Any] | None = None, guard: Guard = nullcontext
) -> Kept:
    """Move a finished file or folder from an attempt into place and write its receipt last.

    What takes long (flushing, hashing) is done before `guard` is asked. Raises StepError if the disk refuses, and what
    the guard raises.
    """
    try:
        fsync_tree(made)
        kept = Kept(path, sha256_of(made), bytes_of(made), dict(notes or {}))
        path.parent.mkdir(parents=True, exist_ok=True)
        with guard():
            _receipt(path).unlink(missing_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            os.replace(made, path)
            write_json(
                _receipt(path),
                {"key": key, "sha256": kept.sha256, "bytes": kept.bytes, "notes": dict(kept.notes)},
            )
    except OSError as error:
        raise StepError(
            f"cannot keep {path.name}: {error.strerror or error}; free the disk and render again"
        ) from error
    return kept


@contextmanager
def attempt(folder: Path) -> Iterator[Path]:
    """A folder of this attempt's own below `folder`; it is gone afterwards, whatever happened."""
    own = folder / _ATTEMPTS / uuid.uuid4().hex[:12]
    try:
        own.mkdir(parents=True)
    except OSError as error:
        raise StepError(f"cannot write to {own.parent}: {error.strerror or error}; check its permissions") from error
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def own_folder(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder `.NAME.xxxxxxxx.part` in `parent`, held by a lock that ends with its holder, gone afterwards.

    What killed holders of the same name have left there goes first. Raises StepError if it cannot be made.
    """
    for left in parent.glob(f".{glob.escape(name)}.*.part"):
        with suppress(OSError, Timeout):
            if time.time() - left.stat().st_mtime > _YOUNG:
                with _held(left):
                    shutil.rmtree(left, ignore_errors=True)
    try:
        own = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=".part"))
    except OSError as error:
        raise StepError(f"cannot write to {parent}: {error.strerror or error}; check its permissions") from error
    try:
        with _held(own):
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _held(folder: Path) -> FileLock:
    """Its lock, to be taken at once or not at all."""
    return FileLock(folder / ".lock", timeout=0)


@contextmanager
def sole_owner(folder: Path, *, what: str) -> Iterator[None]:
    """Hold a shot's work folder for this process, and sweep what dead attempts left in its takes.

    The lock is the kernel's: it ends with the process, however that ends. Raises BusyError if another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise BusyError(f"{what} is being rendered by another process; wait for it or stop it") from None
    except OSError as error:
        why = folder_problem(folder) or f"cannot write to {folder}: {error.strerror or error}; check its permissions"
        raise StepError(why) from error
    try:
        for stale in folder.glob(f"*/{_ATTEMPTS}"):
            shutil.rmtree(stale, ignore_errors=True)
        yield
    finally:
        lock.release()


def folder_problem(folder: Path) -> str:
    """Why no file can be made in a folder, which need not exist yet, as a sentence with a remedy; empty if one can."""
    # a link that leads nowhere is in the way too
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        return f"{there} is no folder, and one is needed there; move it away"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written to; make it writable, or point DAILIES_HOME at a folder that is"
    return ""


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def check_disk(needed: int, folder: Path, *, what: str, instead: str = "move DAILIES_HOME") -> None:
    """Raise StepError unless the disk of `folder` has `needed` bytes free. Asked before anything starts."""
    free = free_bytes(folder)
    if free < needed:
        raise StepError(
            f"{what} may need {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free on the disk of {folder}; "
            f"free some, or {instead}",
            transient=True,
        )


def bytes_below(folder: Path) -> int:
    """Size of every file below a folder that is there; 0 if it is not."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def forget(path: Path) -> None:
    """Drop the receipt of a kept file: it will be made again."""
    _receipt(path).unlink(missing_ok=True)


def sweep_superseded(shot_work: Path, keep_folder: Path) -> None:
    """Remove a shot's work folders other than `keep_folder`: their takes have been superseded by a published one."""
    for folder in shot_work.iterdir():
        if folder.is_dir() and folder != keep_folder:
            shutil.rmtree(folder, ignore_errors=True)


def is_owned(folder: Path) -> bool:
    """Whether some process holds a shot's work folder now."""
    lock = FileLock(folder / ".lock", timeout=0)
    if not folder.is_dir():
        return False
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False
