"""Which weights may be loaded: a verdict on a file or folder, given before any loader sees it.

Knows: the weights folder, its lock, the cards' hashes, how diffusers lays out a model. Does not know: torch, engines,
the hub. Memory: what `headers` states, for a few files at a time. A file is read once, for its hash; a second verdict
on an unchanged file reads its header alone.

Loading itself stays with safetensors and diffusers; what reaches them has passed here. LoRA files are weights like any.

Layout: `WEIGHTS/<card>/...` as in the card's repository, LoRAs and single files anywhere, a hub cache
(`models--*/snapshots`) if people have one. Links are followed as long as they end inside the weights folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.cards import cards
from models.headers import Header, WeightsError, format_of, read_header
from models.layout import judge_index, judge_pipeline
from models.weights_lock import Digests, Locked, read_lock, write_lock

PICKLES: Final = (".ckpt", ".pt", ".pth", ".pkl", ".bin", ".pickle")
"""Endings of files that run code when they are opened."""
LOADABLE: Final[Mapping[str, str]] = MappingProxyType({".safetensors": "safetensors", ".gguf": "gguf"})
"""Ending -> what the file must be inside."""
RELOCK: Final = (
    "put back the file that was locked or, if it was meant to change, "
    "take its entry out of weights.lock.json and run `dailies weights verify --record`"
)
_HASHERS: Final = 4  # sha256 runs at 1 to 2 GB/s a core; a fast disk gives more


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """One file, judged."""

    path: Path
    """Absolute, links not followed."""
    format: str
    """`safetensors`, `gguf`, `ncnn`, `config`, or what it was found to be."""
    bytes: int
    sha256: str
    """Hex digest; empty if it was not taken."""
    against: str
    """What the digest was held against: `card`, `lock`, or nothing (empty)."""
    tensors: int
    problem: str
    """Empty if the file may be loaded."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a path may be loaded."""

    path: Path
    files: tuple[FileVerdict, ...]
    problems: tuple[str, ...]
    """Every reason against it, those of its files included; empty if it may be loaded."""

    @property
    def ok(self) -> bool:
        """Whether a loader may open it."""
        return not self.problems

    @property
    def sha256(self) -> str:
        """One digest over the files' names and contents: what a content key needs. Of a single file, its own."""
        if len(self.files) == 1 and self.files[0].path == self.path:
            return self.files[0].sha256
        lines = sorted(f"{file.sha256} {os.path.relpath(file.path, self.path)}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def require(self) -> Verdict:
        """Itself if it may be loaded. Raises WeightsError with every reason otherwise."""
        if self.problems:
            raise WeightsError("\n".join(self.problems))
        return self


def model_folder(weights: Path, name: str) -> Path:
    """Where the files of the card `name` lie."""
    return weights / name


def judge(
    path: Path,
    *,
    expected: Mapping[str, tuple[int, ...]] | None = None,
    weights: Path | None = None,
    record: bool = False,
    on_file: Callable[[FileVerdict], None] | None = None,
) -> Verdict:
    """Judge a file, a folder of shards, a diffusers folder, or any folder of those, as a loader would.

    `expected` gives tensors that must be there, with their shapes (slowest dimension first). `weights` is the weights
    folder; a path outside it is its own. `record` writes the hashes of files that neither card nor lock knows into the
    lock, so that the next use is held against this one. `on_file` is told each file's verdict as soon as it is known.

    Raises WeightsError if nothing is at `path`, or if the lock is damaged.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        what = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        raise WeightsError(f"{path} {what}; check the path, or `dailies weights list` for what is installed")
    root = root_of(path, weights)
    bench = _Bench(root, Digests(root), _known(root))
    problems: list[str] = []
    found = [path]
    if path.is_dir():
        found = list(_walk(path, root, problems))
    wanted = [file for file in found if file == path or bench.concerns(file)]
    with ThreadPoolExecutor(min(_HASHERS, os.cpu_count() or 1)) as pool:
        judged: list[tuple[FileVerdict, Header | None]] = []
        for result in pool.map(lambda file: bench.judge(file, named=file == path), wanted):
            judged.append(result)
            if on_file:
                on_file(result[0])
    if weights is None or path.is_relative_to(os.path.abspath(weights)):  # nothing is written beside foreign files
        bench.digests.save()
    files = tuple(verdict for verdict, _ in judged)
    problems += [verdict.problem for verdict in files if verdict.problem]
    headers = {verdict.path: header for verdict, header in judged if header}
    if path.is_dir():
        problems += bench.missing(path)
        for file in found:
            if file.name.endswith(".index.json"):
                problems += judge_index(file, headers)
            elif file.name == "model_index.json":
                problems += judge_pipeline(file, headers)
        if not headers and not any(verdict.format == "ncnn" for verdict in files) and not problems and path != weights:
            problems.append(f"{path} holds no weights; put .safetensors or .gguf files there, or pull a model")
    if expected is not None:
        problems += _unexpected(path, headers, expected)
    if record and not problems:
        new = {bench.key(file.path): Locked(file.bytes, file.sha256, "first use") for file in files if not file.against}
        if new:
            write_lock(root, new)
    return Verdict(path, files, tuple(dict.fromkeys(problems)))


def root_of(path: Path, weights: Path | None) -> Path:
    """The folder that a path's links must not leave: the weights folder, its hub cache, or the path's own folder."""
    if weights is not None:
        weights = Path(os.path.abspath(weights))
        if path.is_relative_to(weights):
            return weights
    for folder in path.parents:
        if folder.name.startswith("models--") and (folder / "snapshots").is_dir():
            return folder.parent
    return path if path.is_dir() else path.parent


def _walk(folder: Path, root: Path, problems: list[str]) -> Iterator[Path]:
    """Every file below a folder, in order, hidden ones left out; links are followed inside the root alone."""
    queue, seen = [folder], set[Path]()
    while queue:
        here = queue.pop(0)
        if here.resolve() in seen:
            continue  # a link to a folder above
        seen.add(here.resolve())
        blobs = here.name.startswith("models--") and (here / "snapshots").is_dir()
        for entry in sorted(here.iterdir()):
            if entry.name.startswith(".") or (blobs and entry.name != "snapshots"):
                continue
            if entry.is_dir():
                if flaw := escapes(entry, root):
                    problems.append(flaw)
                else:
                    queue.append(entry)
            else:
                yield entry


def escapes(path: Path, root: Path) -> str:
    """Why a path may not be followed; empty if it may."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return f"{path} is a link that leads nowhere; remove it, or pull the model again"
    if target.is_relative_to(root.resolve()):
        return ""
    return f"{path} is a link out of {root}, to {target}; copy the file itself there"


def _known(root: Path) -> Mapping[str, tuple[str, str]]:
    """sha256 of every file that card or lock know, and which of the two; the card has the last word."""
    known = {name: ("lock", entry.sha256) for name, entry in read_lock(root).items()}
    for card in cards().values():
        for file in getattr(card, "files", ()):
            if file.sha256:
                known[f"{card.name}/{file.path}"] = ("card", file.sha256.lower())
    return known


@dataclass(frozen=True, slots=True)
class _Bench:
    """Judges one file at a time; used from several threads."""

    root: Path
    digests: Digests
    known: Mapping[str, tuple[str, str]]

    def key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def concerns(self, path: Path) -> bool:
        """Whether a file found in a folder is one of weights, or one whose hash is known."""
        suffix = path.suffix.lower()
        described = path.name in ("config.json", "model_index.json") or path.name.endswith(".index.json")
        return suffix in LOADABLE or suffix in PICKLES or described or self.key(path) in self.known

    def judge(self, path: Path, *, named: bool) -> tuple[FileVerdict, Header | None]:
        """The verdict on a file, and its header if it has a sound one. `named`: it must be weights."""
        verdict = FileVerdict(path, "unknown", 0, "", "", 0, "")
        if flaw := escapes(path, self.root):
            return replace(verdict, problem=flaw), None
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return replace(verdict, problem=f"{path} is not a file; remove it"), None
        header: Header | None = None
        problems: list[str] = []
        kind = "unknown"
        try:
            kind = kind_of(path, named=named)
            if kind in LOADABLE.values():
                header = read_header(path)
                if not header.tensors:
                    raise WeightsError(f"{path} holds no tensors; pull it again")
        except WeightsError as error:
            problems.append(str(error))
        digest, against = "", ""
        if not problems or self.key(path) in self.known:
            try:
                digest = self.digests.of(path)
            except WeightsError as error:
                problems.append(str(error))
        if digest and self.key(path) in self.known:
            against, right = self.known[self.key(path)]
            if digest != right:
                whose = "its card" if against == "card" else "weights.lock.json"
                remedy = "delete it and pull it again" if against == "card" else RELOCK
                problems.append(f"{path} has sha256 {digest} and {whose} says {right}; {remedy}")
        tensors = len(header.tensors) if header else 0
        flaw = "\n".join(problems)
        return FileVerdict(path, kind, status.st_size, digest, against, tensors, flaw), None if flaw else header

    def missing(self, folder: Path) -> list[str]:
        """What card or lock name in a folder, and is not there."""
        return [
            f"{self.root / name} is missing; pull its model again, or take it out of weights.lock.json"
            for name in self.known
            if (self.root / name).is_relative_to(folder)
            and (self.root / name).parent.is_dir()
            and not (self.root / name).exists()
        ]


def kind_of(path: Path, *, named: bool) -> str:
    """What a file is, by name and content, which must agree. Raises WeightsError if it is nothing to load."""
    suffix, inside = path.suffix.lower(), format_of(path)
    if suffix in LOADABLE:
        if inside == LOADABLE[suffix]:
            return inside
        if inside in ("zip", "pickle", "tar"):
            raise WeightsError(
                f"{path} is a pickle by its content ({inside}), whatever its name, and would run code when opened; "
                f"rename it to {path.with_suffix('.pt').name} and use {_convert(path.with_suffix('.pt'))}"
            )
        raise WeightsError(f"{path} is not a {LOADABLE[suffix]} file by its content ({inside}); pull it again")
    if suffix == ".bin" and inside in ("unknown", "empty") and path.with_suffix(".param").is_file():
        return "ncnn"  # plain numbers described by a text file; nothing in it is run
    if suffix in PICKLES:
        raise WeightsError(f"{path}: files of the type {suffix} can run code when opened; use {_convert(path)}")
    if named:
        raise WeightsError(f"{path} is no weights file; only .safetensors and .gguf files are loaded")
    return "config"


def _convert(path: Path) -> str:
    return f"`dailies weights convert {path}`, which makes a .safetensors file without running what is inside"


def _unexpected(path: Path, headers: Mapping[Path, Header], expected: Mapping[str, tuple[int, ...]]) -> Iterable[str]:
    """What the model expects and the files do not hold, at most eight sentences."""
    shapes: dict[str, tuple[int, ...]] = {}
    for header in headers.values():
        shapes.update((tensor.name, tensor.shape) for tensor in header.tensors)
    wrong: list[str] = []
    for name, shape in expected.items():
        if name not in shapes:
            wrong.append(f"{path} lacks the tensor {name!r} that the model needs; it is another model's file")
        elif shapes[name] != tuple(shape):
            has, needs = list(shapes[name]), list(shape)
            wrong.append(f"{path}: the tensor {name!r} is {has} where the model needs {needs}; use this model's file")
    if len(wrong) > 8:
        wrong[8:] = [f"{path} disagrees with the model in {len(wrong)} tensors altogether; use this model's file"]
    return wrong
