"""Whether RIFE's weights are what their folder says: the version of a card, in one form or the other.

Knows: cards, the lock, shapes of tensors, ncnn pairs. Does not know: how files are hashed and found (`models.weights`).
Memory: headers of safetensors; an ncnn pair is read whole, 40 MB in 32 bits.

A folder is judged by its name: `rife-4.25` (safetensors) and `rife-v4.25` (ncnn) belong to the card `rife-4.25`; of
folders without a card only the form is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from models.headers import WeightsError, read_header
from models.interface import EngineUnavailable
from models.interpolator_cards import FILE, InterpolatorCard, interpolator_cards
from models.ncnn_files import read_ncnn
from models.rife_convert import architecture_of, named_weights
from models.weights_lock import Locked, read_lock

_ORIGIN: Final = re.compile(r"converted from (.+\.(?:pkl|pth|pt|ckpt)) \(([0-9a-f]{64})\)")
_NCNN: Final = re.compile(r"rife-v(4(?:\.\d+)?.*)")


def origin(source: str) -> str:
    """The digest of the checkpoint that a locked file was made of, as its entry says it; empty if it says none."""
    found = _ORIGIN.fullmatch(source)
    return found[2] if found else ""


def card_of_ncnn(folder: str) -> str:
    """Name of the card of an ncnn folder: `rife-4.25` of `rife-v4.25`; empty for other folders."""
    named = _NCNN.fullmatch(folder)
    return f"rife-{named[1]}" if named else ""


def judge_network(path: Path, architecture: str) -> None:
    """Raise WeightsError if a safetensors file does not hold that network, or, with none named, none of RIFE's.

    Its header alone is read.
    """
    shapes = {tensor.name: tensor.shape for tensor in read_header(path).tensors}
    try:
        found = architecture_of(shapes)
    except EngineUnavailable as error:
        raise WeightsError(f"{path}: {error}") from error
    _same(path, found, architecture or found)


def problems(files: Iterable[Path], weights: Path) -> Iterator[str]:
    """Why RIFE's files among `files` are not what their folders say, a sentence each; other files are passed over.

    Raises CardError for a card that is wrong, WeightsError if the lock is damaged.
    """
    cards, lock = interpolator_cards(weights), read_lock(weights)
    for path in files:
        try:
            if path.name == FILE and (card := cards.get(path.parent.name)):
                judge_network(path, card.architecture)
                if path.parent.parent == weights:
                    _judge_origin(path, card, lock.get(f"{path.parent.name}/{FILE}"))
            elif path.suffix == ".bin" and (name := card_of_ncnn(path.parent.name)):
                param = path.with_suffix(".param")
                if name in cards:
                    _same(param, named_weights(param)[0], cards[name].architecture)
                else:
                    read_ncnn(param)
        except WeightsError as error:
            yield str(error)


def _same(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise WeightsError(
            f"{path} holds the network of RIFE {found}, and the card of its folder says {wanted}; put it into the "
            "folder of its own version, or pull the card again"
        )


def _judge_origin(path: Path, card: InterpolatorCard, entry: Locked | None) -> None:
    """Raise WeightsError if the lock says that a file was made of another checkpoint than the card's."""
    made_of = origin(entry.source) if entry else ""
    if made_of and made_of not in [file.sha256 for file in card.files]:
        raise WeightsError(
            f"{path} was made of a checkpoint with sha256 {made_of}, and the card {card.name} names "
            f"{card.files[0].sha256}: it is another version; put it into the folder of its own, or remove it and pull "
            f"{card.name}"
        )
