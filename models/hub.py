"""Downloading a card's files from the Hugging Face hub.

Knows: the hub's file addresses (`/REPOSITORY/resolve/REVISION/PATH` with `X-Repo-Commit`, `X-Linked-Size`,
`X-Linked-ETag`), resuming, and what must be true before a file gets its name. Does not know: what a model is for.
Memory: one megabyte.

A file is written to `WEIGHTS/.partial/`, named by its digest, and continued there after any interruption. It gets its
name when its size and digest are right and its header is sound.

Source: huggingface_hub, `file_download.py` (`get_hf_file_metadata`, `http_get`) and its table of environment variables.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

from filelock import FileLock, Timeout

from models.cards import Card
from models.headers import WeightsError, WeightsUnavailableError, read_header
from models.hub_http import ATTEMPTS, Hub, head, opened, words
from models.layout import index_shards, safe_relative
from models.weights import LOADABLE, PICKLES, model_folder
from models.weights_lock import Digests, Locked, read_lock, write_lock

SPARE: Final = 256 << 20
"""Bytes that a download leaves free on the disk."""
_INDEX: Final = ".safetensors.index.json"
_BLOCK: Final = 1 << 20
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")

Progress = Callable[[str, int, int], None]
"""Called with a file's path, the bytes of it that are there, and its size."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One file of a card, as it now lies there."""

    path: Path
    bytes: int
    sha256: str
    action: str
    """`downloaded`, `present` (it was there and right) or `linked` (another model has the same file)."""


@dataclass(frozen=True, slots=True)
class _Remote:
    """What the hub says of one file."""

    name: str
    url: str
    commit: str
    bytes: int
    digest: str
    """sha256 (64 digits) of a large file, git's sha1 (40) of a small one."""


def pull(
    card: Card, weights: Path, *, hub: Hub, progress: Progress | None = None, only_config: bool = False
) -> tuple[Pulled, ...]:
    """Bring every file of a card into `weights/<card>/`, verified, and write the lock.

    `only_config` leaves out weights and their indices: what single files of the weights need beside them (configs,
    tokenizer, scheduler).

    The card's revision is downloaded; if it names a branch or none, the commit it stands for is recorded in the lock.
    Files that are there and right are left alone. Safe to repeat after any failure; one pull at a time per folder.

    Raises WeightsError if the card names no files, the hub does not have them, or they are wrong;
    WeightsUnavailableError if the network, access or the disk is missing.
    """
    wanted = _wanted(card)
    if only_config:
        wanted = {name: known for name, known in wanted.items() if not name.endswith((*LOADABLE, _INDEX))}
    if hub.offline:
        raise WeightsUnavailableError(f"{card.name} cannot be pulled: HF_HUB_OFFLINE is set; unset it")
    folder = model_folder(weights, card.name)
    try:
        (weights / ".partial").mkdir(parents=True, exist_ok=True)
        with FileLock(weights / ".partial" / "pull.lock", timeout=0):
            return _pull(card, wanted, folder, weights=weights, hub=hub, progress=progress or _silent)
    except Timeout as error:
        raise WeightsUnavailableError(f"another pull is writing to {weights}; wait for it to end") from error
    except OSError as error:
        raise WeightsUnavailableError(f"{weights} cannot be written: {error}; check permissions and disk") from error


def _silent(name: str, done: int, size: int) -> None:
    """No progress wanted."""


def _wanted(card: Card) -> dict[str, tuple[int | None, str]]:
    """The card's files: size and sha256 where it knows them. Raises WeightsError if there is nothing to pull."""
    files = getattr(card, "files", ())
    if not files or not getattr(card, "repository", ""):
        raise WeightsError(f"{card.name} has no weights to pull: {card.title} needs none, or its card names none")
    for file in files:
        if not safe_relative(file.path) or file.path.lower().endswith(PICKLES):
            raise WeightsError(
                f"{card.name}.toml: files: {file.path!r} is not a plain path of a file that may be loaded"
            )
    return {file.path: (file.bytes, (file.sha256 or "").lower()) for file in files}


def _pull(
    card: Card,
    wanted: Mapping[str, tuple[int | None, str]],
    folder: Path,
    *,
    weights: Path,
    hub: Hub,
    progress: Progress,
) -> tuple[Pulled, ...]:
    if not folder.resolve().is_relative_to(weights.resolve()):
        raise WeightsError(f"{folder} is a link out of {weights}; remove it, or set DAILIES_WEIGHTS")
    indices = {name: known for name, known in wanted.items() if name.endswith(_INDEX)}
    found = _bring(card, indices, folder, weights=weights, hub=hub, progress=progress)
    rest = {name: known for name, known in wanted.items() if name not in indices}
    for name in indices:  # cards name the index; how many shards there are, it knows
        shards = [(PurePosixPath(name).parent / shard).as_posix() for shard in index_shards(folder / name)]
        former = re.compile(re.escape(name.removesuffix(_INDEX)) + r"-\d{5}-of-\d{5}\.safetensors")
        rest = {other: known for other, known in rest.items() if other in shards or not former.fullmatch(other)}
        rest |= {shard: rest.get(shard, (None, "")) for shard in shards}
    found |= _bring(card, rest, folder, weights=weights, hub=hub, progress=progress)
    return tuple(found.values())


def _bring(
    card: Card,
    wanted: Mapping[str, tuple[int | None, str]],
    folder: Path,
    *,
    weights: Path,
    hub: Hub,
    progress: Progress,
) -> dict[str, Pulled]:
    """Every file of `wanted`, all asked for and found to fit before the first is downloaded."""
    locked, digests = read_lock(weights), Digests(weights)
    results: dict[str, Pulled] = {}
    remotes: list[_Remote] = []
    for name, (size, digest) in wanted.items():
        key = f"{card.name}/{name}"
        right = digest or (locked[key].sha256 if key in locked else "")
        if found := _present(folder / name, right, digests):
            results[name] = found
            if key not in locked:
                write_lock(weights, {key: Locked(found.bytes, found.sha256, "present, as its card says")})
            continue
        remotes.append(_ask(card, name, size=size, sha256=digest, hub=hub, locked=locked))
    digests.save()
    _judge_space(card, remotes, weights)
    for remote in remotes:
        target = folder / remote.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(weights.resolve()):
            raise WeightsError(f"{target.parent} is a link out of {weights}; remove it")
        made = _link(remote, target, weights, locked, digests) or _fetch(remote, target, weights, hub, progress)
        source = f"{hub.endpoint}/{getattr(card, 'repository', '')}@{remote.commit}/{remote.name}"
        entry = {f"{card.name}/{remote.name}": Locked(made.bytes, made.sha256, source)}
        write_lock(weights, entry)
        locked = {**locked, **entry}
        results[remote.name] = made
    return {name: results[name] for name in wanted}


def _present(path: Path, sha256: str, digests: Digests) -> Pulled | None:
    """The file if it is there with that digest."""
    if not sha256 or not path.is_file() or digests.of(path) != sha256:
        return None
    return Pulled(path, path.stat().st_size, sha256, "present")


def _link(
    remote: _Remote, target: Path, weights: Path, locked: Mapping[str, Locked], digests: Digests
) -> Pulled | None:
    """The same file of another model, under this name too: text encoders are shared and have 10 GB."""
    for key, entry in locked.items():
        path = weights / key
        if entry.sha256 != remote.digest or path == target or path.is_symlink() or not path.is_file():
            continue
        if digests.of(path) == remote.digest:
            part = weights / ".partial" / f"{remote.digest}.link"
            with suppress(OSError):  # a file system without hard links: download it
                part.unlink(missing_ok=True)
                os.link(path, part)
                os.replace(part, target)
                return Pulled(target, entry.bytes, entry.sha256, "linked")
    return None


def _ask(card: Card, name: str, *, size: int | None, sha256: str, hub: Hub, locked: Mapping[str, Locked]) -> _Remote:
    """What the hub has under a file's name. Raises WeightsError if that is not what the card says."""
    repository = str(getattr(card, "repository", ""))
    revision = str(getattr(card, "revision", "")) or "main"
    if not _COMMIT.fullmatch(revision):  # a branch moves on: stay with the commit of the first pull
        mark = f"/{repository}@"
        pinned = (entry.source.partition(mark)[2][:40] for entry in locked.values() if mark in entry.source)
        revision = next((commit for commit in pinned if _COMMIT.fullmatch(commit)), revision)
    url = f"{hub.endpoint}/{quote(repository)}/resolve/{quote(revision, safe='')}/{quote(name)}"
    headers = head(url, name, hub)
    commit = headers.get("X-Repo-Commit", "")
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise WeightsError(
            f"{name}: the hub answers with commit {commit!r} where {revision} was asked; check HF_ENDPOINT"
        )
    if not _COMMIT.fullmatch(commit):
        raise WeightsError(f"{name}: {hub.endpoint} is no hub (it names no commit for {repository}); check HF_ENDPOINT")
    length = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    digest = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"').lower()
    if not length.isdecimal() or not _DIGEST.fullmatch(digest):
        raise WeightsError(f"{name}: the hub says neither size nor digest of it; check HF_ENDPOINT and try again")
    if size is not None and int(length) != size:
        raise WeightsError(f"{name}: the hub has {length} bytes and the card says {size}; check the card's revision")
    if sha256 and len(digest) == 64 and digest != sha256:
        raise WeightsError(f"{name}: the hub has sha256 {digest} and the card says {sha256}; check the card's revision")
    fixed = f"{hub.endpoint}/{quote(repository)}/resolve/{commit}/{quote(name)}"
    return _Remote(name, fixed, commit, int(length), sha256 or digest)


def _judge_space(card: Card, remotes: list[_Remote], weights: Path) -> None:
    """Refuse to start what does not fit. Raises WeightsUnavailableError."""
    need = sum(remote.bytes - min(remote.bytes, _size(_part(weights, remote))) for remote in remotes)
    free = shutil.disk_usage(weights).free
    if need and need + SPARE > free:
        raise WeightsUnavailableError(
            f"{card.name} needs {need / 1e9:.2f} GB more and {weights} has {free / 1e9:.2f} GB free, of which "
            f"{SPARE / 1e9:.2f} stay free; make room, or set DAILIES_WEIGHTS to a larger disk"
        )


def _part(weights: Path, remote: _Remote) -> Path:
    return weights / ".partial" / f"{remote.digest}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch(remote: _Remote, target: Path, weights: Path, hub: Hub, progress: Progress) -> Pulled:
    """Download, continue, verify, name."""
    part = _part(weights, remote)
    tries, last = 0, ""
    if _size(part) > remote.bytes:
        part.unlink()
    while (done := _size(part)) < remote.bytes or not part.exists():
        if tries:
            if tries >= ATTEMPTS:
                raise WeightsUnavailableError(
                    f"{remote.name} stopped at byte {done} of {remote.bytes} ({last}); "
                    "pull again and it continues there"
                )
            time.sleep(hub.pause * 2 ** (tries - 1))
        try:
            _append(remote, part, hub, progress)
            last = "the hub's answer was short"
        except (http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            last = words(error)
        tries = 1 if _size(part) > done else tries + 1
    sha256, git = _digests(part, remote.bytes)
    if remote.digest not in (sha256, git):
        part.unlink()
        kind = "sha256" if len(remote.digest) == 64 else "git digest"
        raise WeightsError(
            f"{remote.name} came with {kind} {sha256 if len(remote.digest) == 64 else git} and must have "
            f"{remote.digest}; it was thrown away: pull again, and if that repeats, do not trust the source"
        )
    if target.suffix.lower() in LOADABLE:
        read_header(part)
    os.replace(part, target)
    return Pulled(target, remote.bytes, sha256, "downloaded")


def _append(remote: _Remote, part: Path, hub: Hub, progress: Progress) -> None:
    """One request for what is still missing, never a byte more than the file has."""
    done = _size(part)
    with (
        opened(remote.url, remote.name, hub, {"Range": f"bytes={done}-"} if done else {}) as answer,
        part.open("ab") as file,
    ):
        if answer.status == 206:
            start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if not start or int(start[1]) != done:
                raise http.client.HTTPException("the hub continued at another byte")
        elif done:  # it does not continue: from the start
            file.truncate(0)
            done = 0
        progress(remote.name, done, remote.bytes)
        while done < remote.bytes and (block := answer.read(min(_BLOCK, remote.bytes - done))):
            file.write(block)
            done += len(block)
            progress(remote.name, done, remote.bytes)
        file.flush()
        os.fsync(file.fileno())


def _digests(path: Path, size: int) -> tuple[str, str]:
    """sha256 of a file, and what git calls it."""
    sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            git.update(block)
    return sha256.hexdigest(), git.hexdigest()
