"""The header of a GGUF file, version 2 or 3, little-endian.

Knows: the format to the byte and ggml's types. Does not know: models, folders, hashes. Memory and limits: those of
`headers`; texts in lists are walked over and not kept.

Sources: GGUF's `docs/gguf.md`, the reference reader in ggml (`gguf.cpp`), the table of the `gguf` package.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, NoReturn

from models.headers import (
    AGAIN,
    DIMENSIONS,
    ENTRIES,
    HEADER,
    LARGEST,
    NAME,
    TENSORS,
    TEXT,
    Header,
    Kept,
    MetaValue,
    TensorEntry,
    judge_name,
    ordered,
    refuse,
)

ELEMENTS: Final = 1_000_000
"""Most texts in the arrays of one GGUF file: a tokenizer of 256,000 words has as many."""

GGML_BLOCKS: Final[Mapping[int, tuple[str, int, int]]] = MappingProxyType(
    {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22)}
    | {7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110)}
    | {12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292)}
    | {16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50)}
    | {20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136)}
    | {24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8)}
    | {29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66)}
    | {39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18)}
)
"""ggml's number of a type -> its name, elements per block, bytes per block."""

_GGUF_NUMBERS: Final[Mapping[int, str]] = MappingProxyType(
    {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
)
_GGUF_TEXT, _GGUF_ARRAY, _GGUF_BOOL = 8, 9, 7
_ALIGNMENT: Final = 32  # GGUF's default, where general.alignment does not say otherwise


@dataclass(slots=True)
class _Cursor:
    """Reads little-endian values from a file, never beyond its end or HEADER bytes."""

    path: Path
    file: BinaryIO
    size: int
    at: int = 4  # after the magic
    elements: int = 0

    def refuse(self, what: str, remedy: str = AGAIN) -> NoReturn:
        refuse(self.path, what, self.at, remedy)

    def need(self, count: int, what: str) -> None:
        if count > min(self.size, HEADER) - self.at:
            self.refuse(
                f"{what} needs {count} bytes and the header has {max(min(self.size, HEADER) - self.at, 0)} left"
            )

    def take(self, count: int, what: str) -> bytes:
        self.need(count, what)
        found = self.file.read(count)
        if len(found) != count:
            self.refuse(f"the file ends within {what}")
        self.at += count
        return found

    def skip(self, count: int, what: str) -> None:
        self.need(count, what)
        self.at += count
        self.file.seek(self.at)

    def number(self, code: str, what: str) -> int:
        return int(struct.unpack(code, self.take(struct.calcsize(code), what))[0])

    def count(self, most: int, what: str, *, each: int) -> int:
        """A count of things of at least `each` bytes that are still to come."""
        found = self.number("<Q", f"the number of {what}")
        if found > most or found * each > self.size - self.at:
            self.refuse(f"the header claims {found} {what} and {min(most, (self.size - self.at) // each)} are possible")
        return found

    def string(self, most: int, what: str) -> str:
        length = self.number("<Q", f"the length of {what}")
        if length > most:
            self.refuse(f"{what} claims {length} bytes where {most} are allowed")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"{what} is not UTF-8")


def read_gguf(path: Path, file: BinaryIO, size: int) -> Header:
    """The header of a GGUF file of `size` bytes, opened and read past its magic. Raises WeightsError for any flaw."""
    cursor = _Cursor(path, file, size)
    version = cursor.number("<I", "the version")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
        what = "is big-endian" if swapped else f"has version {version}"
        cursor.refuse(f"this GGUF file {what}", "use a little-endian file of version 2 or 3")
    # a tensor takes at least 24 bytes of header, an entry 13
    tensor_count = cursor.count(TENSORS, "tensors", each=24)
    entry_count = cursor.count(ENTRIES, "metadata entries", each=13)
    metadata, keys, shapes, alignment = Kept(), set[str](), dict[str, tuple[int, ...]](), _ALIGNMENT
    for _ in range(entry_count):
        key = cursor.string(NAME, "a metadata key")
        if not key or key in keys:
            cursor.refuse(f"the metadata key {key!r} {'stands in the header twice' if key else 'is empty'}")
        keys.add(key)
        kind = cursor.number("<I", f"the type of {key!r}")
        value = _gguf_value(cursor, kind, key)
        if key == "general.alignment":
            if kind != 4 or not isinstance(value, int) or value & (value - 1) or not 1 <= value <= 1 << 20:
                cursor.refuse(f"general.alignment is {value!r}, which is no power of two up to 2^20")
            alignment = value
        elif key.startswith("comfy.gguf.orig_shape.") and isinstance(value, tuple):
            shapes[key.removeprefix("comfy.gguf.orig_shape.")] = tuple(int(number) for number in value)
        if value is not None:
            metadata.keep(key, value)
    entries = [_gguf_entry(cursor, alignment) for _ in range(tensor_count)]
    if len({entry.name for entry in entries}) != len(entries):
        names = sorted(entry.name for entry in entries)
        twice = next(name for name, other in pairwise(names) if name == other)
        cursor.refuse(f"the tensor {twice!r} stands in the header twice")
    data = -(-cursor.at // alignment) * alignment
    if entries and data > cursor.size:
        cursor.refuse("the file ends before its data")
    placed: list[TensorEntry] = []
    for entry in entries:
        if entry.end + data > cursor.size:
            cursor.refuse(f"the tensor {entry.name!r} ends at byte {entry.end + data} of a file of {cursor.size}")
        shape = shapes.get(entry.name, entry.shape)
        if shape != entry.shape and (min(shape, default=1) < 0 or math.prod(shape) != math.prod(entry.shape)):
            cursor.refuse(f"the tensor {entry.name!r} is {list(entry.shape)} and claims to have been {list(shape)}")
        placed.append(replace(entry, shape=shape, start=entry.start + data, end=entry.end + data))
    # ggml's reader wants each tensor right behind the one before, padded to the alignment
    inorder = ordered(cursor.path, placed, base=data, gap=alignment)
    end = inorder[-1].end if inorder else data
    if cursor.size - end >= alignment:
        refuse(cursor.path, f"{cursor.size - end} bytes belong to no tensor", end)
    return Header("gguf", inorder, metadata.values())


def _gguf_value(cursor: _Cursor, kind: int, key: str) -> MetaValue | None:
    """One value; None for an array that is judged and not kept."""
    if kind == _GGUF_TEXT:
        return cursor.string(TEXT, f"the value of {key!r}")
    if kind in _GGUF_NUMBERS:
        return _gguf_number(cursor, kind, key)
    if kind != _GGUF_ARRAY:
        cursor.refuse(f"the metadata key {key!r} has the unknown type {kind}")
    inner = cursor.number("<I", f"the type of {key!r}")
    if inner == _GGUF_TEXT:
        count = cursor.count(ELEMENTS - cursor.elements, f"texts in {key!r}", each=8)
        cursor.elements += count
        for _ in range(count):
            cursor.skip(cursor.number("<Q", f"a text's length in {key!r}"), f"a text in {key!r}")
        return None
    if inner not in _GGUF_NUMBERS:
        cursor.refuse(f"the metadata key {key!r} is a list of the unknown type {inner}")
    width = struct.calcsize(_GGUF_NUMBERS[inner])
    count = cursor.count(HEADER, f"numbers in {key!r}", each=width)
    if count > 64:
        cursor.skip(count * width, f"the value of {key!r}")
        return None
    return tuple(_gguf_number(cursor, inner, key) for _ in range(count))


def _gguf_number(cursor: _Cursor, kind: int, key: str) -> int | float:
    code = _GGUF_NUMBERS[kind]
    raw = cursor.take(struct.calcsize(code), f"the value of {key!r}")
    if kind == _GGUF_BOOL and raw not in (b"\x00", b"\x01"):
        cursor.refuse(f"the metadata key {key!r} is neither true nor false")
    found: int | float = struct.unpack(code, raw)[0]
    return found


def _gguf_entry(cursor: _Cursor, alignment: int) -> TensorEntry:
    """One tensor, its offsets still counted from the start of the data."""
    name = cursor.string(NAME, "a tensor's name")
    judge_name(cursor.path, name, cursor.at)
    dimensions = cursor.number("<I", f"the dimensions of {name!r}")
    if dimensions > DIMENSIONS:
        cursor.refuse(f"the tensor {name!r} claims {dimensions} dimensions where {DIMENSIONS} are allowed")
    raw = struct.unpack(f"<{dimensions}Q", cursor.take(8 * dimensions, f"the shape of {name!r}"))
    number = cursor.number("<I", f"the type of {name!r}")
    start = cursor.number("<Q", f"the offset of {name!r}")
    if number not in GGML_BLOCKS:
        cursor.refuse(f"the tensor {name!r} has the unknown type {number}")
    dtype, block, width = GGML_BLOCKS[number]
    if start % alignment:
        cursor.refuse(f"the tensor {name!r} lies at {start}, which is no multiple of {alignment}")
    # rows are quantised in whole blocks; the fastest dimension comes first in the file
    if (raw[0] if raw else 1) % block:
        cursor.refuse(f"the tensor {name!r} of {dtype} has rows of {raw[0] if raw else 1}, no multiple of {block}")
    elements = math.prod(raw)
    if math.prod(side or 1 for side in raw) * width > LARGEST or start > LARGEST:  # as loaders multiply, in 64 bits
        cursor.refuse(f"the tensor {name!r} of {list(reversed(raw))} at {start} is larger than any file")
    return TensorEntry(name, dtype, tuple(reversed(raw)), start, start + elements // block * width)
