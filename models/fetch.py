"""RIFE's published weights: downloaded by the card's address and digest, and turned into safetensors.

Knows: resuming, the digest taken while the bytes come, what must be true before a file gets its name. Does not know:
the hub (`models.hub`, which has revisions and an API), engines. Memory: one megabyte; converting is a child's.

The publisher offers pickles, which are never opened here: `models.convert` has torch's restricted reader do that in a
child process. What comes out must be the network that the card says, and lies at `WEIGHTS/NAME/flownet.safetensors`
with the address and the digest of its source in the lock. The pickle is deleted unless it is asked for.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import tempfile
import time
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from models.convert import Converted, convert
from models.headers import WeightsError, WeightsUnavailableError
from models.hub import SPARE, Progress, Pulled
from models.hub_http import ATTEMPTS, Hub, opened, words
from models.interpolator_cards import FILE, InterpolatorCard, PublishedFile, weights_file
from models.rife_verify import judge_network, origin
from models.weights import root_of
from models.weights_lock import Digests, Locked, file_sha256, read_lock, write_lock

_BLOCK: Final = 1 << 20
_MOST: Final = 1 << 30
"""Most bytes that are taken from a server that does not say how many there are; RIFE has about 40 million."""


def fetch(
    card: InterpolatorCard, weights: Path, *, hub: Hub, progress: Progress | None = None, keep: bool = False
) -> tuple[Pulled, ...]:
    """Bring a card's weights to `weights/NAME/flownet.safetensors`, and write the lock; safe to repeat.

    `keep` leaves the published file beside it. `hub` says whether the network may be used, and how patiently; its
    token is shown to nobody. What is there and right is left alone.

    Raises WeightsError if the server does not have the file, it is another one than the card says, or it does not hold
    the card's network; WeightsUnavailableError if the network, the disk or torch is missing.
    """
    target = weights_file(weights, card.name)
    source = card.files[0]
    try:
        (weights / ".partial").mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(weights.resolve()):
            raise WeightsError(f"{target.parent} is a link out of {weights}; remove it, or set DAILIES_WEIGHTS")
        with FileLock(weights / ".partial" / "pull.lock", timeout=0):
            if found := _present(card, target, weights):
                return (found,)
            if hub.offline:
                raise WeightsUnavailableError(f"{card.name} cannot be pulled: HF_HUB_OFFLINE is set; unset it")
            if target.exists() or target.is_symlink():
                raise WeightsError(
                    f"{target} is there and is not known to be that of {card.name}; remove it, and pull again"
                )
            # the token of the one server is no business of another
            there = replace(hub, endpoint=f"{urlsplit(source.url).scheme}://{urlsplit(source.url).netloc}", token="")
            part = weights / ".partial" / f"{source.sha256}.part"
            _download(source, part, hub=there, progress=progress or (lambda name, done, size: None))
            return _install(card, part, target, weights=weights, keep=keep)
    except Timeout as error:
        raise WeightsUnavailableError(f"another pull is writing to {weights}; wait for it to end") from error
    except OSError as error:
        raise WeightsUnavailableError(f"{weights} cannot be written: {error}; check permissions and disk") from error


def _present(card: InterpolatorCard, target: Path, weights: Path) -> Pulled | None:
    """The weights, if they lie there as they were once made of the card's file."""
    entry = read_lock(weights).get(f"{card.name}/{target.name}")
    if entry is None or not target.is_file() or origin(entry.source) != card.files[0].sha256:
        return None
    digests = Digests(weights)
    digest = digests.of(target)
    digests.save()
    if digest != entry.sha256:
        raise WeightsError(
            f"{target} has sha256 {digest} and weights.lock.json says {entry.sha256}; remove it, and pull again"
        )
    return Pulled(target, entry.bytes, entry.sha256, "present")


def _download(source: PublishedFile, part: Path, *, hub: Hub, progress: Progress) -> None:
    """Bring the file to `part`, going on where an earlier try ended, and leave it there if its digest is right."""
    tries, last = 0, ""
    while True:
        before = part.stat().st_size if part.is_file() else 0
        if tries:
            if tries >= ATTEMPTS:
                raise WeightsUnavailableError(
                    f"{source.name} stopped at byte {before} ({last}); pull again and it continues there"
                )
            time.sleep(hub.pause * 2 ** (tries - 1))
        digest = hashlib.sha256()
        if before:
            with part.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
            if digest.hexdigest() == source.sha256:
                return
        try:
            found, whole = _append(source, part, before, digest, hub=hub, progress=progress)
        except (http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            found, whole, last = "", False, words(error)
            if before and last == "HTTP 416":  # what is there is longer than the file: another's, or damaged
                part.unlink()
        if found == source.sha256:
            return
        if whole:
            part.unlink()
            raise WeightsError(
                f"{source.name} came with sha256 {found} and its card says {source.sha256}; it was thrown away: "
                "pull again, and if that repeats, do not trust the source"
            )
        last = last or "the answer was short"
        after = part.stat().st_size if part.is_file() else 0
        tries = 1 if after > before else tries + 1


def _append(
    source: PublishedFile, part: Path, done: int, digest: Any, *, hub: Hub, progress: Progress
) -> tuple[str, bool]:
    """One request for what is still missing: the digest of all that is there, and whether that is all there is."""
    headers = {"Range": f"bytes={done}-"} if done else {}
    with opened(source.url, source.name, hub, headers) as answer, part.open("ab") as file:
        if answer.status == 206:
            start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if not start or int(start[1]) != done:
                raise http.client.HTTPException("the server continued at another byte")
        elif done:  # it does not continue: from the start
            file.truncate(0)
            done, digest = 0, hashlib.sha256()
        length = answer.headers.get("Content-Length", "")
        size = done + int(length) if length.isdecimal() else source.bytes or 0
        _judge_size(source, part, done=done, size=size)
        most = size or _MOST
        progress(source.name, done, size)
        while done < most and (block := answer.read(min(_BLOCK, most - done))):
            file.write(block)
            digest.update(block)
            done += len(block)
            progress(source.name, done, size)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), done >= size


def _judge_size(source: PublishedFile, part: Path, *, done: int, size: int) -> None:
    """Refuse what is not the file, or does not fit. Raises WeightsError, WeightsUnavailableError."""
    if size > _MOST or (source.bytes and size != source.bytes):
        right = f"its card says {source.bytes}" if source.bytes else f"no version of RIFE has more than {_MOST}"
        raise WeightsError(f"{source.name}: the server has {size} bytes and {right}; check the card's address")
    free = shutil.disk_usage(part.parent).free
    need = 2 * size - done  # the pickle and what is made of it
    if need + SPARE > free:
        raise WeightsUnavailableError(
            f"{source.name} needs {need / 1e9:.2f} GB more and {part.parent} has {free / 1e9:.2f} GB free, of which "
            f"{SPARE / 1e9:.2f} stay free; make room, or set DAILIES_WEIGHTS to a larger disk"
        )


def _install(card: InterpolatorCard, part: Path, target: Path, *, weights: Path, keep: bool) -> tuple[Pulled, ...]:
    """Turn the downloaded file into the card's safetensors, and give both their names."""
    source = card.files[0]
    target.parent.mkdir(exist_ok=True)
    said = f"{source.url} ({source.sha256})"
    made = converted(part, target, weights=weights, architecture=card.architecture, origin=said)
    brought = [Pulled(made.path, made.bytes, made.sha256, "downloaded")]
    if keep:
        kept = target.parent / source.name
        size = part.stat().st_size
        os.replace(part, kept)
        brought.append(Pulled(kept, size, source.sha256, "kept"))
    else:
        part.unlink()
    return tuple(brought)


def converted(
    source: Path, out: Path, *, weights: Path | None = None, architecture: str = "", origin: str = ""
) -> Converted:
    """Turn a checkpoint of RIFE into safetensors at `out`, which appears if they are RIFE's and not otherwise.

    `architecture` is the one it must be, if only one will do; `origin` is what the lock says it was made of, by default
    the source's name and digest. The source is kept.

    Raises what `models.convert.convert` raises, and WeightsError for a checkpoint of anything else.
    """
    out = Path(os.path.abspath(out))
    if out.exists() or out.is_symlink():
        raise WeightsError(f"{out} exists already; remove it or give another name with -o")
    if not out.parent.is_dir():
        raise WeightsError(f"{out.parent} is not a folder; make it first")
    root = root_of(out, weights)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".rife-") as place:
        made = convert(source, Path(place) / FILE)
        try:
            judge_network(made.path, architecture)
        except WeightsError as error:
            raise WeightsError(str(error).replace(str(made.path), str(source))) from error
        os.replace(made.path, out)
    said = origin or f"{source.name} ({file_sha256(source)})"
    write_lock(root, {out.relative_to(root).as_posix(): Locked(made.bytes, made.sha256, f"converted from {said}")})
    return replace(made, path=out)
