"""How diffusers and transformers lay out a model: shard indices, and the folder of a pipeline.

Knows: `*.index.json`, `model_index.json`, `config.json`, and which of their words would lead a loader out of the folder
or into foreign code. Does not know: hashes, locks, torch. Memory: one JSON document of at most 16 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from models.headers import Header, WeightsError
from models.weights_lock import read_json

LIBRARIES: Final = ("diffusers", "transformers")
"""The only libraries that a pipeline's parts may come from."""
_NO_WEIGHTS: Final = re.compile(r"Scheduler|Tokenizer|Processor|Extractor")
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")


def safe_relative(name: object) -> bool:
    """Whether a name is a plain path below a folder, the same on every system."""
    if not isinstance(name, str) or not name or not name.isprintable() or any(sign in name for sign in '\\:*?"<>|'):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def index_shards(path: Path) -> Mapping[str, frozenset[str]]:
    """The shards that an index names, below its own folder, each with its tensors.

    Raises WeightsError for a damaged index, and for a shard that is no safetensors file below that folder.
    """
    document = read_json(path)
    placed = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(placed, dict) or not placed:
        raise WeightsError(f"{path} has no weight_map of tensors and shards; pull it again")
    shards: dict[str, set[str]] = {}
    for tensor, shard in placed.items():
        if not safe_relative(shard) or not shard.endswith(".safetensors"):
            raise WeightsError(
                f"{path}: the tensor {tensor!r} lies in {shard!r}, which is no file of this folder; pull it again"
            )
        shards.setdefault(shard, set()).add(tensor)
    return {shard: frozenset(shards[shard]) for shard in sorted(shards)}


def judge_index(path: Path, headers: Mapping[Path, Header]) -> list[str]:
    """What is wrong with a shard index: each shard it names must be a sound file in its folder and hold its tensors.

    `headers` are the sound files by path.
    """
    if not path.name.endswith(".safetensors.index.json"):
        return [f"{path} is the index of pickled shards; remove it, or pull the safetensors files of this model"]
    try:
        shards = index_shards(path)
    except WeightsError as error:
        return [str(error)]
    problems: list[str] = []
    for shard, tensors in shards.items():
        file = path.parent / shard
        if not file.exists():
            problems.append(f"{path} names the shard {shard}, which is missing; pull the model again")
        elif file not in headers:
            problems.append(f"{path} names the shard {shard}, which cannot be used; pull it again")
        elif odd := sorted(tensors ^ {tensor.name for tensor in headers[file].tensors}):
            problems.append(f"{path} and {shard} disagree on the tensor {odd[0]!r}; pull both again")
    return problems


def judge_pipeline(path: Path, headers: Mapping[Path, Header]) -> list[str]:
    """What is wrong with a diffusers folder, whose model_index.json is `path`: every part must be there and be data."""
    try:
        document = read_json(path)
    except WeightsError as error:
        return [str(error)]
    if not isinstance(document, dict) or not isinstance(document.get("_class_name"), str):
        return [f"{path} names no pipeline class of diffusers; pull it again"]
    problems: list[str] = []
    # single files beside the index take the place of parts; which of which, `installed` says, from their tensors
    singles = any(file.parent == path.parent for file in headers)
    for name, value in document.items():
        if name.startswith("_") or not _is_part(value):
            continue
        library, class_name = value
        if library is None or class_name is None:
            continue
        folder = path.parent / name
        if library not in LIBRARIES or not safe_relative(name) or "/" in name:
            problems.append(
                f"{path}: the part {name!r} comes from {library!r}, which would run code of the model's maker; "
                f"only parts of {' and '.join(LIBRARIES)} are loaded"
            )
        elif _NO_WEIGHTS.search(str(class_name)):
            if not folder.is_dir():
                problems.append(f"{path} names the part {name}, which is missing; pull the model again")
        elif folder.is_dir() and (not singles or any(folder.glob("*.safetensors"))):
            problems += _judge_part(folder, headers)
        elif not singles:
            problems.append(f"{path} names the part {name}, which is missing; pull the model again")
    return problems


def _is_part(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(word, str | None) for word in value)


def _judge_part(folder: Path, headers: Mapping[Path, Header]) -> list[str]:
    """What is wrong with one part that has weights."""
    problems: list[str] = []
    config = folder / "config.json"
    try:
        described = read_json(config)
    except WeightsError as error:
        return [str(error)]
    if not isinstance(described, dict) or "auto_map" in described:
        problems.append(f"{config} wants to run code of the model's maker (auto_map); use a model without it")
    files = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".safetensors")
    if not files:
        problems.append(f"{folder} has no .safetensors file; pull the model again")
    elif all(_SHARD.search(name) for name in files) and not list(folder.glob("*.safetensors.index.json")):
        problems.append(f"{folder} has shards and no index of them; pull the model again")
    return problems
