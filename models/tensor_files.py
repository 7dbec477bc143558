"""Tensors of safetensors and GGUF files, brought to where they stay without a second copy of the file.

Knows: where a judged header says that each tensor lies, how to map it or read and cast it block by block. Does not
know: models, names, whether a file may be opened: its caller has asked.

What stays in the processor's memory as it is in the file is the file's own pages, mapped privately and read in order
before this returns. What is cast, or goes to a device, is read block by block and never mapped: pages of the file would
count beside the model. Memory: the tensors, and per reader a block of BLOCK bytes, twice that again for a cast.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, local
from typing import Any, Final, NoReturn

from models.gguf_header import GGML_BLOCKS
from models.headers import WeightsError, read_header

BLOCK: Final = 8 << 20
"""Bytes that are read and cast at once."""
READERS: Final = 4
"""Most tensors read at once: while one is cast, the disk brings the next."""
_ALIGNED: Final = 8  # bytes; what every type's numbers may lie at
_POPULATE: Final = 22  # MADV_POPULATE_READ, Linux 5.14: Python has no name for it
TORCH: Final[Mapping[str, str]] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The header's word -> torch's; the rest are quantised, and stay bytes."""
_QUANTISED: Final[Mapping[str, tuple[int, int]]] = {
    name: (block, width) for name, block, width in GGML_BLOCKS.values() if name not in TORCH
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor, or some of its rows, in a file."""

    path: Path
    dtype: str
    """The header's word."""
    shape: tuple[int, ...]
    """Elements per dimension, slowest first; of a quantised tensor, those that it stands for."""
    start: int
    """First byte in the file."""
    end: int
    """First byte after it."""

    @property
    def quantised(self) -> bool:
        """Whether it holds ggml's blocks instead of numbers."""
        return self.dtype in _QUANTISED

    def part(self, index: int, count: int) -> Piece:
        """The rows of the `index`th of `count` equal parts, without reading the others."""
        rows, width = self.shape[0] // count, (self.end - self.start) // count
        first = self.start + index * width
        return replace(self, shape=(rows, *self.shape[1:]), start=first, end=first + width)


def pieces(path: Path) -> dict[str, Piece]:
    """The tensors of a file by name. Raises WeightsError for a header that lies."""
    return {
        entry.name: Piece(path, entry.dtype, entry.shape, entry.start, entry.end) for entry in read_header(path).tensors
    }


def read_tensors(wanted: Mapping[Piece, Any], device: str) -> Iterator[tuple[Piece, Any]]:
    """Each piece as a tensor of the given torch dtype on the device, in the order in which they lie in their files.

    A quantised piece comes as bytes, (..., rows, bytes of a row), whatever its dtype. Raises WeightsError for a file
    that ends early, and for numbers that torch has not.
    """
    inorder = sorted(wanted, key=lambda piece: (str(piece.path), piece.start))
    readers, space = min(READERS, os.cpu_count() or 1), _Space(device)
    with ThreadPoolExecutor(readers, thread_name_prefix="weights") as pool:
        try:
            yield from zip(inorder, pool.map(lambda piece: space.tensor(piece, wanted[piece]), inorder), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)
            space.close()


class _Space:
    """Where one reading's tensors come from: mapped files, and blocks for what cannot stay mapped."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._own = local()  # each thread's blocks
        self._maps: dict[Path, mmap.mmap] = {}
        self._guard = Lock()

    def tensor(self, piece: Piece, dtype: Any) -> Any:
        """One piece, where it stays."""
        import torch

        shape, source, dtype = _form(piece, dtype)
        if self._device == "cpu" and source == dtype and piece.start % _ALIGNED == 0 and piece.end > piece.start:
            mapped = self._mapped(piece)
            raw = torch.frombuffer(mapped, dtype=torch.uint8, count=piece.end - piece.start, offset=piece.start)
            return raw.view(dtype).reshape(shape)
        made = torch.empty(shape, dtype=dtype, device=self._device)
        flat, size = made.reshape(-1), source.itemsize
        with piece.path.open("rb", buffering=0) as file:
            file.seek(piece.start)
            for first in range(0, flat.numel(), BLOCK // size):
                part = flat[first : first + BLOCK // size]
                raw = self._block("raw", torch.uint8, part.numel() * size)
                _read(file, raw.numpy(), piece)
                self._cast(raw.view(source), part)
        return made

    def _cast(self, source: Any, into: Any) -> None:
        """Copy numbers to where they stay; over before the block is used again."""
        import torch

        if into.device.type != "cpu" or torch.float32 in (source.dtype, into.dtype) or source.dtype == into.dtype:
            into.copy_(source.to(into.device))  # cast on the device
            return
        wide = self._block("wide", torch.float32, source.numel())
        into.copy_(wide.copy_(source))  # the same rounding as in one step, at twice the speed

    def _block(self, name: str, dtype: Any, count: int) -> Any:
        """The thread's own block of that name; pinned where a device fetches from it."""
        import torch

        if not hasattr(self._own, name):
            made = torch.empty(BLOCK, dtype=dtype, pin_memory=self._device.startswith("cuda"))
            setattr(self._own, name, made)
        return getattr(self._own, name)[:count]

    def _mapped(self, piece: Piece) -> mmap.mmap:
        """The file, mapped for as long as a tensor of it lives, the piece read; its own bytes are never written."""
        with self._guard:  # one after the other: the disk is read in order
            if piece.path not in self._maps:
                with piece.path.open("rb") as file:
                    self._maps[piece.path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                _advise(self._maps[piece.path], "MADV_SEQUENTIAL")
            found = self._maps[piece.path]
            if len(found) < piece.end:
                _ended(piece)
            first = piece.start // mmap.PAGESIZE * mmap.PAGESIZE
            try:
                found.madvise(_POPULATE, first, piece.end - first)
            except (AttributeError, OSError, ValueError):  # another system: touch every page
                sum(found[first : piece.end : mmap.PAGESIZE])
            return found

    def close(self) -> None:
        """Say that mapped files are no longer read in order: the system would soon drop what was read."""
        for found in self._maps.values():
            _advise(found, "MADV_NORMAL")


def _advise(mapped: mmap.mmap, how: str) -> None:
    with suppress(AttributeError, OSError, ValueError):
        mapped.madvise(getattr(mmap, how))


def _form(piece: Piece, dtype: Any) -> tuple[tuple[int, ...], Any, Any]:
    """Shape, dtype in the file, dtype in memory. Raises WeightsError for numbers that torch has not."""
    import torch

    if piece.quantised:
        block, width = _QUANTISED[piece.dtype]
        return (*piece.shape[:-1], piece.shape[-1] // block * width), torch.uint8, torch.uint8
    if piece.dtype not in TORCH:
        raise WeightsError(f"{piece.path} holds numbers of the type {piece.dtype}; use the model in bf16, fp16 or fp32")
    return piece.shape, getattr(torch, TORCH[piece.dtype]), dtype


def _read(file: Any, into: Any, piece: Piece) -> None:
    """Fill an array of bytes from where the file stands."""
    view, done = memoryview(into), 0
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            _ended(piece)
        done += count


def _ended(piece: Piece) -> NoReturn:
    raise WeightsError(f"{piece.path} ends before byte {piece.end}; it changed while it was read: try again")
