"""Which files of a model lie in the weights folder, in whatever form: a diffusers folder, single files, GGUF.

Knows: the parts of a pipeline, by which tensors each is recognised, which small files it needs beside. Does not know:
torch, hashes, whether a file may be opened: its loader asks `weights.judge`. Memory: one header at a time.

What a single file at the top of `WEIGHTS/NAME/` is, its tensors' names say, never its own name. Only which of two
experts is which stands nowhere else: `high` or `low` in the name tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from models.cards import Card
from models.headers import WeightsError, read_header
from models.interface import EngineError, EngineUnavailable
from models.layout import index_shards
from models.weights import LOADABLE, PICKLES, escapes, kind_of, model_folder

PARTS: Final[Mapping[str, str]] = {
    "transformer": "transformer",
    "transformer_2": "transformer for low noise",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "image_encoder": "image encoder",
}
"""Folder of each part, and what people call it."""
_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    "transformer": (
        r"blocks\.0\.self_attn\.q\.weight",
        r"blocks\.0\.attn1\.to_q\.weight",
        r"transformer_blocks\.0\.attn1\.to_q\.weight",
    ),
    "vae": (r"decoder\.middle\.0\.residual\.2\.weight", r"decoder\.mid_block\.resnets\.0\.conv1(\.conv)?\.weight"),
    "text_encoder": (r"blocks\.0\.attn\.q\.weight", r"encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight"),
    "image_encoder": (
        r"visual\.transformer\.0\.attn\.to_qkv\.weight",
        r"(vision_model\.)?encoder\.layers\.0\.self_attn\.q_proj\.weight",
    ),
}
"""A tensor that each part has and no other."""
_PREFIX: Final = r"(model\.)?(diffusion_model\.)?"
_LORA: Final = re.compile(r"\.(lora_[AB]|lora_down|lora_up|lora\.down|lora\.up)(\.|$)")
_HIGH: Final = re.compile(r"high", re.I)
_LOW: Final = re.compile(r"(?<![a-z])low|low[ _-]?noise", re.I)


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's files lie on this machine."""

    folder: Path
    """A whole diffusers folder, or the companion of single files (configs, tokenizer, the other parts)."""
    transformer: Path | None = None
    """Single file (.safetensors or .gguf) used instead of the folder's transformer; the first expert of two."""
    transformer_2: Path | None = None
    """Likewise for the low-noise expert."""
    vae: Path | None = None
    """Single .safetensors used instead of the folder's VAE; its config stays in the folder."""
    text_encoder: Path | None = None
    """Likewise, in the names of transformers or of Wan's own code."""
    image_encoder: Path | None = None
    """Likewise."""

    def single(self, part: str) -> Path | None:
        """The single file that takes the place of a part of the folder."""
        found: Path | None = getattr(self, part, None)
        return found

    def files(self, *parts: str) -> list[Path]:
        """The weight files of the parts, in order; of all parts if none is named. Parts that are absent have none.

        Where a folder has an index, its shards and no other file: variants may lie beside them.
        """
        found: list[Path] = []
        for part in parts or tuple(PARTS):
            single = self.single(part)
            found += [single] if single else _folder_files(self.folder / part)
        return found

    def small_files(self, *parts: str) -> list[Path]:
        """The files beside the weights that change pixels too: configs, scheduler, tokenizer; of all if none is named.

        In order, `model_index.json` with all. Indices of shards and pictures for a page are none of them.
        """
        found = [] if parts else sorted(self.folder.glob("model_index.json"))
        for part in parts or (*PARTS, "scheduler", "tokenizer"):
            found += sorted(
                path
                for path in (self.folder / part).glob("*")
                if (part == "tokenizer" or path.suffix == ".json") and not path.name.endswith(".index.json")
            )
        return [path for path in found if path.is_file()]

    @property
    def form(self) -> str:
        """What the transformer is: `diffusers`, `safetensors` (single file) or `gguf`."""
        return self.transformer.suffix.lower().lstrip(".") if self.transformer else "diffusers"


def _folder_files(folder: Path) -> list[Path]:
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if len(indices) != 1:
        return sorted(folder.glob("*.safetensors"))
    return [folder / shard for shard in index_shards(indices[0])]


def installed(card: Card, weights: Path) -> Weights:
    """The files of the card's model in `weights/NAME/`; a single file there takes the place of its part.

    Raises EngineUnavailable, with the remedy, for a part or a small file that is missing; EngineError for two files of
    one part, two experts that cannot be told apart, and a file that is no part of this model.
    """
    folder = model_folder(weights, card.name)
    if not folder.is_dir():
        raise EngineUnavailable(
            f"the weights of {card.name} are not installed; `dailies weights pull {card.name}` fetches them"
        )
    singles: dict[str, list[Path]] = {}
    for path in _top(folder, weights):
        singles.setdefault(part_in(path), []).append(path)
    chosen = _experts(card, singles.pop("transformer", []))
    for part, paths in singles.items():
        if len(paths) > 1:
            raise EngineError(f"{folder} holds several files of the {PARTS[part]} ({_names(paths)}); leave one")
        chosen[part] = paths[0]
    needed = _needed(card)
    found = Weights(folder, **{part: path for part, path in chosen.items() if part in needed})
    for part in needed:
        _require(card, found, part)
    _require_small(card, found, needed)
    return found


def part_in(path: Path) -> str:
    """Which part of a pipeline a single file is: a key of PARTS, `transformer` for either expert.

    Raises WeightsError for a file that is not sound or a pickle under another name, EngineError for a LoRA, a whole
    checkpoint, a part that is not read from GGUF, and anything unknown.
    """
    status = path.stat()
    return _part_in(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=256)
def _part_in(path: Path, *_stamp: int) -> str:
    kind = kind_of(path, named=True)
    names = [entry.name for entry in read_header(path).tensors]
    found = _parts_by(names)
    if len(found) == 1:
        if kind == "gguf" and found[0] != "transformer":
            raise EngineError(f"{path}: the {PARTS[found[0]]} is not read from GGUF; use its .safetensors file")
        return found[0]
    if len(found) > 1:
        parts = " and ".join(PARTS[part] for part in found)
        raise EngineError(f"{path} holds {parts} in one file; use a file for each part")
    if any(_LORA.search(name) for name in names):
        raise EngineError(f"{path} is a LoRA; move it out of the model's folder and name it in the column `loras`")
    if kind == "gguf" and any(name.startswith("enc.blk.") for name in names):
        raise EngineError(f"{path}: the text encoder is not read from GGUF; use its .safetensors file")
    raise EngineError(
        f"{path} is no transformer, VAE, text or image encoder of a model known here: its tensors are called "
        f"{', '.join(names[:2])} ...; take it out of the folder, or use the file of this model"
    )


def _parts_by(names: Iterable[str]) -> list[str]:
    every = set(names)
    signs = {part: re.compile(_PREFIX + "(" + "|".join(own) + ")") for part, own in _SIGNS.items()}
    return [part for part, sign in signs.items() if any(sign.fullmatch(name) for name in every)]


def _top(folder: Path, weights: Path) -> Iterator[Path]:
    """The weight files at the top of a folder, links followed as long as they end inside the weights folder."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in LOADABLE or path.is_dir():
            continue
        if flaw := escapes(path, weights):
            raise WeightsError(flaw)
        yield path


def _experts(card: Card, paths: list[Path]) -> dict[str, Path]:
    """The single files of the transformers by part."""
    if card.experts == 1:
        if len(paths) > 1:
            raise EngineError(
                f"{paths[0].parent} holds several transformers ({_names(paths)}) and {card.name} has one; leave one"
            )
        return {"transformer": paths[0]} if paths else {}
    chosen: dict[str, Path] = {}
    for path in paths:
        high, low = _HIGH.search(path.stem), _LOW.search(path.stem)
        if bool(high) == bool(low):
            raise EngineError(
                f"{path}: nothing in a file says which of the two experts it is; "
                "rename it so that its name holds either `high` or `low`"
            )
        part = "transformer" if high else "transformer_2"
        if part in chosen:
            noise = "high" if high else "low"
            raise EngineError(
                f"{path.parent} holds two transformers for {noise} noise ({_names([chosen[part], path])}); leave one"
            )
        chosen[part] = path
    return chosen


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _needed(card: Card) -> tuple[str, ...]:
    """The parts that the card's pipeline has."""
    looks = bool(card.transformer.get("image_dim")) if card.transformer else card.image_encoder > 0
    left_out = set() if card.experts > 1 else {"transformer_2"}
    left_out |= set() if looks else {"image_encoder"}
    return tuple(part for part in PARTS if part not in left_out)


def _require(card: Card, found: Weights, part: str) -> None:
    """Raise EngineUnavailable unless the part's weights are there."""
    files, folder = found.files(part), found.folder / part
    absent = next((path for path in files if not path.is_file()), None)
    if files and absent is None:
        return
    if absent is not None:
        what = f"{absent} is missing, which the index beside it names"
    else:
        pickles = sorted(
            path
            for place in (folder, found.folder)
            if place.is_dir()
            for path in place.iterdir()
            if path.suffix.lower() in PICKLES
        )
        if pickles:
            raise EngineUnavailable(
                f"{card.name} lacks its {PARTS[part]}, and {pickles[0]} is a pickle, which can run code when opened; "
                f"`dailies weights convert {pickles[0]}` makes a file that is taken, if it is that part"
            )
        what = f"{card.name} lacks its {PARTS[part]}: neither {folder} nor {found.folder} holds it"
    raise EngineUnavailable(f"{what}; `dailies weights pull {card.name}` fetches it")


def _require_small(card: Card, found: Weights, needed: Iterable[str]) -> None:
    """Raise EngineUnavailable unless the configs and the tokenizer are there; what the card states may be left out."""
    folder = found.folder
    wanted = [
        folder / part / "config.json" for part in needed if not (part.startswith("transformer") and card.transformer)
    ]
    if not (card.shift and card.pipeline.startswith("Wan")):
        wanted.append(folder / "scheduler" / "scheduler_config.json")
    missing = [path for path in wanted if not path.is_file()]
    if not (folder / "tokenizer").is_dir():
        missing.append(folder / "tokenizer")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EngineUnavailable(
            f"{card.name}: {missing[0]} is missing{more}; "
            f"`dailies weights pull {card.name} --config` fetches the small files beside the weights"
        )
