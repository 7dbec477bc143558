"""Headers of safetensors and GGUF files, judged before anything is mapped.

Knows: both formats to the byte, and what a file of either may not say. Does not know: models, folders, hashes, torch.
The tensors' own bytes are never read. Every count, length and offset is held against the file's size before it is used.

Memory: the header's own bytes (never more than the file has, and at most HEADER), about 1 KiB for each of at most
TENSORS tensors, METADATA bytes of metadata, and one text of at most TEXT bytes at a time. Time: linear in the header.

Source: the safetensors README ("Format"). `gguf_header` holds the other format's grammar, built on the values and
limits here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, NoReturn, TypeAlias

from models.interface import EngineError

HEADER: Final = 100_000_000
"""Most bytes of a header: the limit of the safetensors library itself. Headers in use have less than 10 MB."""
TENSORS: Final = 65_536
"""Most tensors of one file; a 14B video model has about 1,300."""
ENTRIES: Final = 65_536
"""Most metadata entries of one file."""
DIMENSIONS: Final = 8
"""Most dimensions of a tensor; video models have five."""
NAME: Final = 1_024
"""Most bytes of a tensor's name or a metadata key."""
TEXT: Final = 4 << 20
"""Most bytes of one metadata text; trainers write tag statistics of a few hundred kilobytes."""
METADATA: Final = 1 << 20
"""Bytes of metadata kept in all; what goes beyond is judged and left out."""
LARGEST: Final = (1 << 63) - 1
"""Largest number that a loader in C or Rust can hold as a length."""

MetaValue: TypeAlias = str | int | float | bool | tuple[int | float, ...]

AGAIN: Final = "the file is damaged or not what it claims to be: download it again from where its card says"

SAFETENSORS_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
    | {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32}
    | {"F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
)
"""Bits per element of every dtype that safetensors knows."""


class WeightsError(EngineError):
    """Weights cannot be used; the message names the file, what is wrong with it, where, and the remedy.

    WeightsError                  the file or what it was asked for is wrong
    `-- WeightsUnavailableError   this machine lacks something (network, disk, torch): the files are not at fault
    """


class WeightsUnavailableError(WeightsError):
    """The machine or the network cannot do it now; the message says what is missing and the remedy."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor, as its header describes it."""

    name: str
    dtype: str
    """The format's own word: `BF16`, `F8_E4M3`, `Q4_K` ..."""
    shape: tuple[int, ...]
    """Elements per dimension, slowest first, whatever the format's own order."""
    start: int
    """First byte of its data, counted from the start of the file."""
    end: int
    """First byte after its data."""


@dataclass(frozen=True, slots=True)
class Header:
    """All that a header says, proved consistent with the file's size."""

    format: str
    """`safetensors` or `gguf`."""
    tensors: tuple[TensorEntry, ...]
    """In the order of their data."""
    metadata: Mapping[str, MetaValue]
    """Texts and numbers; GGUF arrays of at most 64 numbers; METADATA bytes in all."""


def format_of(path: Path) -> str:
    """What a file is by its first bytes: `safetensors`, `gguf`, `zip`, `pickle`, `tar`, `hdf5`, `empty` or `unknown`.

    Reads 265 bytes. A .pt file is a zip or a pickle. Raises WeightsError if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start, size = file.read(265), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from error
    if not start:
        return "empty"
    if start[:4] in (b"GGUF", b"FUGG"):
        return "gguf"
    # before pickle: a header of 640 bytes starts with 80 02 as well
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return "safetensors"
    if start[:2] == b"PK":
        return "zip"
    if (start[0] == 0x80 and start[1:2] <= b"\x05") or re.match(rb"[(\]}c][dlp]?[pq0-9a-z_\n]", start):
        return "pickle"
    if start[257:262] == b"ustar":
        return "tar"
    return "hdf5" if start[:4] == b"\x89HDF" else "unknown"


def read_header(path: Path) -> Header:
    """The header of a safetensors or GGUF file, whatever its name. Raises WeightsError for any other and any flaw."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if file.read(4) in (b"GGUF", b"FUGG"):
                from models.gguf_header import read_gguf  # built on this module

                return read_gguf(path, file, size)
            file.seek(0)
            return _safetensors(path, file, size)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from error


def refuse(path: Path, what: str, where: int, remedy: str = AGAIN) -> NoReturn:
    """Raise WeightsError: the file, what is wrong, at which byte, the remedy."""
    raise WeightsError(f"{path}: {what}, at byte {where}; {remedy}")


# safetensors: 8 bytes of length, a JSON object, data. json.loads would build whatever the text describes, twenty times
# its size for `[[],[],...`; this reads the one grammar that the format allows and keeps nothing else.

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_WHOLE: Final = re.compile(rb"(?:0|[1-9][0-9]{0,18})(?![0-9.eE])")


@dataclass(slots=True)
class _Json:
    """Reads JSON tokens from bytes, one after the other; positions in messages count from the start of the file."""

    path: Path
    text: bytes
    at: int = 0

    def refuse(self, what: str) -> NoReturn:
        refuse(self.path, what, self.at + 8)

    def sign(self, signs: bytes) -> bytes:
        """The next sign, which must be one of `signs`."""
        self.space()
        found = self.text[self.at : self.at + 1]
        if not found or found not in signs:
            self.refuse(f"the header has {found!r} where {' or '.join(map(chr, signs))} must stand")
        self.at += 1
        return found

    def space(self) -> None:
        if match := _SPACE.match(self.text, self.at):
            self.at = match.end()

    def string(self, most: int) -> str:
        self.space()
        match = _STRING.match(self.text, self.at)
        if match is None:
            self.refuse("the header has no text where one must stand")
        if match.end() - self.at - 2 > most:
            self.refuse(f"the header has a text of {match.end() - self.at - 2} bytes where {most} are allowed")
        try:
            found = match[0][1:-1].decode("utf-8")
            if "\\" in found:
                found = str(json.loads(f'"{found}"'))
                found.encode("utf-8")  # half a surrogate pair is no text
        except (UnicodeError, ValueError):
            self.refuse("the header has a text that is not UTF-8")
        self.at = match.end()
        return found

    def whole(self) -> int:
        self.space()
        match = _WHOLE.match(self.text, self.at)
        if match is None or int(match[0]) > LARGEST:
            self.refuse("the header has no whole number from 0 to 2^63-1 where one must stand")
        self.at = match.end()
        return int(match[0])

    def wholes(self, most: int) -> tuple[int, ...]:
        found: list[int] = []
        self.sign(b"[")
        self.space()
        if self.text[self.at : self.at + 1] == b"]":
            self.at += 1
            return ()
        while True:
            found.append(self.whole())
            if len(found) > most:
                self.refuse(f"the header has a list of more than {most} numbers")
            if self.sign(b",]") == b"]":
                return tuple(found)

    def keys(self, what: str) -> Iterable[str]:
        """The keys of an object, whose values the caller reads in between. Refuses one that comes twice."""
        seen: set[str] = set()
        self.sign(b"{")
        self.space()
        if self.text[self.at : self.at + 1] == b"}":
            self.at += 1
            return
        while True:
            key = self.string(NAME)
            if key in seen:
                self.refuse(f"{what} {key!r} stands in the header twice")
            seen.add(key)
            self.sign(b":")
            yield key
            if self.sign(b",}") == b"}":
                return


def _safetensors(path: Path, file: BinaryIO, size: int) -> Header:
    prefix = file.read(8)
    if len(prefix) < 8:
        refuse(path, f"a file of {size} bytes has no header", 0)
    length = int.from_bytes(prefix, "little")
    if length > min(size - 8, HEADER):
        remedy = f"no header is longer than its file or {HEADER} bytes; {AGAIN}"
        refuse(path, f"the header claims {length} bytes and the file has {size}", 0, remedy)
    text = file.read(length)
    if len(text) != length or not text.startswith(b"{"):
        refuse(path, "no safetensors header starts here", 8)
    json_ = _Json(path, text)
    metadata = Kept()
    tensors: list[TensorEntry] = []
    for name in json_.keys("the tensor"):
        if name == "__metadata__":
            for count, key in enumerate(json_.keys("the metadata key")):
                if count >= ENTRIES:
                    json_.refuse(f"the header has more than {ENTRIES} metadata entries")
                metadata.keep(key, json_.string(TEXT))
        else:
            if len(tensors) >= TENSORS:
                json_.refuse(f"the header has more than {TENSORS} tensors")
            tensors.append(_safetensors_entry(json_, name, base=8 + length, size=size))
    json_.space()
    if json_.at != length:
        json_.refuse("the header goes on after its end")
    inorder = ordered(path, tensors, base=8 + length, gap=1)
    end = inorder[-1].end if inorder else 8 + length
    if end != size:
        refuse(path, f"{size - end} bytes belong to no tensor", end)
    return Header("safetensors", inorder, metadata.values())


def _safetensors_entry(json_: _Json, name: str, *, base: int, size: int) -> TensorEntry:
    """One tensor: exactly dtype, shape and data_offsets, which agree."""
    judge_name(json_.path, name, json_.at + 8)
    dtype, shape, offsets = "", None, None
    for key in json_.keys("the key"):
        if key == "dtype":
            dtype = json_.string(NAME)
        elif key == "shape":
            shape = json_.wholes(DIMENSIONS)
        elif key == "data_offsets":
            offsets = json_.wholes(2)
        else:
            json_.refuse(f"the tensor {name!r} has an unknown key {key!r}")
    if not dtype or shape is None or offsets is None or len(offsets) != 2:
        json_.refuse(f"the tensor {name!r} lacks dtype, shape or two data_offsets")
    if dtype not in SAFETENSORS_BITS:
        json_.refuse(f"the tensor {name!r} has the unknown dtype {dtype!r}")
    start, end = offsets
    if start > end or end > size - base:
        json_.refuse(f"the tensor {name!r} lies at {start} to {end} in {size - base} bytes of data")
    # a zero does not excuse the others: loaders multiply in order, in 64 bits
    if math.prod(side or 1 for side in shape) * SAFETENSORS_BITS[dtype] > LARGEST:
        json_.refuse(f"the tensor {name!r} of {list(shape)} is larger than any file")
    bits = math.prod(shape) * SAFETENSORS_BITS[dtype]
    if bits != (end - start) * 8:
        json_.refuse(f"the tensor {name!r} of {dtype} {list(shape)} needs {bits / 8:g} bytes and has {end - start}")
    return TensorEntry(name, dtype, shape, base + start, base + end)


def judge_name(path: Path, name: str, where: int) -> None:
    """Refuse a tensor's name that is empty or cannot be printed. Raises WeightsError."""
    if not name or not name.isprintable():
        refuse(path, f"a tensor has the name {name[:60]!r}, which is empty or has signs that do not print", where)


def ordered(path: Path, tensors: Iterable[TensorEntry], *, base: int, gap: int) -> tuple[TensorEntry, ...]:
    """Tensors in the order of their data. Refuses two that overlap, and `gap` or more bytes of nobody between them."""
    inorder = tuple(sorted(tensors, key=lambda entry: (entry.start, entry.end)))
    end, last = base, "the header"
    for entry in inorder:
        if entry.start < end:
            refuse(path, f"the tensor {entry.name!r} overlaps {last}", entry.start)
        if entry.start - end >= gap:
            refuse(path, f"{entry.start - end} bytes before the tensor {entry.name!r} belong to no tensor", end)
        end, last = entry.end, repr(entry.name)
    return inorder


class Kept:
    """Metadata up to METADATA bytes; keys in order."""

    def __init__(self) -> None:
        self._values: dict[str, MetaValue] = {}
        self._left = METADATA

    def keep(self, key: str, value: MetaValue) -> None:
        """Keep a value if there is room for it at four bytes a sign, the most that Python takes."""
        cost = 4 * (len(key) + (len(value) if isinstance(value, str) else 64))
        if cost <= self._left:
            self._left -= cost
            self._values[key] = value

    def values(self) -> Mapping[str, MetaValue]:
        """What was kept, to be read only."""
        return MappingProxyType(self._values)
