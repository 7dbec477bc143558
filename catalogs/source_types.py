"""Digital source types: IPTC's words for how pictures came about, as far as a rendered shot can be called by them.

Knows: the terms (IPTC NewsCodes, scheme digitalsourcetype, as released in October 2024), how a list writes one.
Does not know: files, models. Terms for what a camera, a scanner or a screen took are left out: nothing here is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SCHEME: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Begins every term's address."""

MODEL: Final = "trainedAlgorithmicMedia"
"""What a generative model makes."""

MOVED: Final = "algorithmicallyEnhanced"
"""What the animatic makes: the plate itself, moved, cropped and scaled by an algorithm."""

TERMS: Final = (
    MODEL,
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
    "composite",
    MOVED,
    "algorithmicMedia",
    "dataDrivenMedia",
    "digitalCreation",
    "humanEdits",
    "virtualRecording",
)
"""Terms that a shot list may give a shot."""

_COLUMNS: Final = ("sourcetype", "digitalsourcetype")
_BY_FOLD: Final = {term.lower(): term for term in TERMS}


def is_source_type(header: str) -> bool:
    """Whether a column of that name holds source types: `source_type`, `Digital Source Type`."""
    return "".join(header.split()).replace("_", "").casefold() in _COLUMNS


def read_source_type(text: str) -> str:
    """The term of a cell, which may be its address and of any case. Raises ValueError for any other."""
    word = text.strip().removeprefix(SCHEME).removeprefix("https" + SCHEME.removeprefix("http"))
    try:
        return _BY_FOLD[word.lower()]
    except KeyError:
        raise ValueError(f"not a digital source type: {text!r}; use {', '.join(TERMS)}") from None


def source_type_in(metadata: Iterable[tuple[str, str]]) -> str:
    """The term among a shot's further columns; empty if there is none, or none that is known."""
    for name, value in metadata:
        if is_source_type(name):
            try:
                return read_source_type(value)
            except ValueError:
                continue
    return ""
