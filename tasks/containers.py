"""What an MP4, MOV, WebM or EXR says about itself, read from its boxes. Pure: bytes in, values out.

Knows: ISO base media boxes, EBML elements, EXR headers, as far as inspection needs them. Does not know: codecs,
findings.
Memory: a few box headers; what is in a box is skipped, never read.

A decoder stops quietly where a file ends; the boxes still tell how long it was meant to be. And decoders repeat what
the stream says about colour, while editors and browsers read the container's `colr` box: so it is looked at itself.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

_CONTAINERS: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_VISUAL_ENTRY: Final = 78  # bytes of a VisualSampleEntry before its child boxes (ISO/IEC 14496-12, 12.1.3)
_LARGEST_STSD: Final = 1 << 20
_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_EXR: Final = b"\x76\x2f\x31\x01"
_EXR_LINES: Final = {0: 1, 1: 1, 2: 1, 3: 16}  # scan lines in a block, by compression: none, RLE, ZIPS, ZIP
_EXR_HEADER: Final = 1 << 16  # bytes of a header of ours, and then some


@dataclass(frozen=True, slots=True)
class Box:
    """One box of an ISO file."""

    kind: str
    """Four-character code."""
    start: int
    """Offset of its payload, in bytes."""
    end: int
    """Offset after its payload, as the header declares it; may lie past the end of a cut file."""


@dataclass(frozen=True, slots=True)
class Colr:
    """The colour box of a video track (ISO/IEC 23091-2 code points)."""

    kind: str
    """nclx (MP4) or nclc (QuickTime)."""
    primaries: int
    transfer: int
    matrix: int
    full_range: bool | None
    """None for nclc, which does not say."""


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """What a video track declares about its samples."""

    tag: str
    """Four-character code: hvc1, hev1, avc1, apch."""
    colr: Colr | None


_FIRST = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""Boxes with which MP4 and MOV begin (ISO/IEC 14496-12, 4.3; QuickTime files may lack the first)."""


def _size_of(stream: BinaryIO) -> int:
    return stream.seek(0, os.SEEK_END)


def boxes(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes that begin in [start, end). Stops at bytes that are not a box."""
    at = start
    while at + 8 <= end:
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head[:8])
        payload = at + 8
        if size == 1 and len(head) == 16:
            size, payload = struct.unpack(">Q", head[8:])[0], at + 16
        elif size == 0:
            size = end - at
        if size < payload - at:
            return
        yield Box(kind.decode("latin-1"), payload, at + size)
        at += size


def missing_bytes(stream: BinaryIO) -> int:
    """How many bytes the last box or the WebM segment declares past the end of the file; 0 for a whole file.

    And 0 for what is neither MP4, MOV, Matroska nor WebM: any bytes can be read as the size of a box.
    """
    size = _size_of(stream)
    stream.seek(0)
    head = stream.read(8)
    if head[:4] == _EBML.to_bytes(4, "big"):
        return max(0, _segment_end(stream, size) - size)
    if head[4:] not in _FIRST:
        return 0
    last = 0
    for box in boxes(stream, 0, size):
        last = max(last, box.end)
    return max(0, last - size)


def video_entry(stream: BinaryIO) -> SampleEntry | None:
    """The first sample entry of the first video track of an MP4 or MOV; None if there is none."""
    return _find(stream, 0, _size_of(stream))


def _find(stream: BinaryIO, start: int, end: int) -> SampleEntry | None:
    for box in boxes(stream, start, end):
        if box.kind.encode("latin-1") in _CONTAINERS:
            if (found := _find(stream, box.start, min(box.end, end))) is not None:
                return found
        elif box.kind == "stsd" and box.end - box.start <= _LARGEST_STSD:
            for entry in boxes(stream, box.start + 8, min(box.end, end)):
                colr = _colr(stream, entry)
                stream.seek(entry.start + 24)
                sized = stream.read(4)
                # only a visual entry has a width and a height here; a timecode track has neither
                if colr is not None or (len(sized) == 4 and all(struct.unpack(">HH", sized))):
                    return SampleEntry(entry.kind, colr)
    return None


def _colr(stream: BinaryIO, entry: Box) -> Colr | None:
    for box in boxes(stream, entry.start + _VISUAL_ENTRY, entry.end):
        if box.kind != "colr":
            continue
        stream.seek(box.start)
        payload = stream.read(min(11, box.end - box.start))
        kind = payload[:4].decode("latin-1")
        if kind in ("nclx", "nclc") and len(payload) >= 10:
            primaries, transfer, matrix = struct.unpack(">HHH", payload[4:10])
            full = bool(payload[10] & 0x80) if kind == "nclx" and len(payload) > 10 else None
            return Colr(kind, primaries, transfer, matrix, full)
    return None


def _vint(stream: BinaryIO, *, keep_marker: bool) -> tuple[int, bool]:
    """An EBML number and whether it means "unknown". Raises EOFError at the end of the file."""
    first = stream.read(1)
    if not first or not first[0]:
        raise EOFError
    length = 9 - first[0].bit_length()
    rest = stream.read(length - 1)
    if len(rest) < length - 1:
        raise EOFError
    value = int.from_bytes(first + rest, "big")
    bare = value & ((1 << (7 * length)) - 1)
    return (value if keep_marker else bare), bare == (1 << (7 * length)) - 1


def _segment_end(stream: BinaryIO, size: int) -> int:
    stream.seek(0)
    try:
        while stream.tell() < size:
            identity, _ = _vint(stream, keep_marker=True)
            length, unknown = _vint(stream, keep_marker=False)
            if identity == _SEGMENT:
                return size if unknown else stream.tell() + length
            stream.seek(length, os.SEEK_CUR)
    except EOFError:
        pass
    # no segment at all: at least one byte is missing
    return size + 1


def exr_is_whole(stream: BinaryIO) -> bool:
    """Whether all blocks of a single-part scan-line OpenEXR lie inside the file ("OpenEXR File Layout", openexr.com).

    A decoder shows lines that are not there as black.
    """
    size = _size_of(stream)
    stream.seek(0)
    head = stream.read(min(size, _EXR_HEADER))
    if head[:4] != _EXR:
        return False
    facts: dict[bytes, bytes] = {}
    at = 8
    while at < len(head) and head[at]:
        name_end = head.find(b"\0", at)
        kind_end = head.find(b"\0", name_end + 1)
        if name_end < 0 or kind_end < 0 or kind_end + 5 > len(head):
            return False
        length = int.from_bytes(head[kind_end + 1 : kind_end + 5], "little")
        facts[head[at:name_end]] = head[kind_end + 5 : kind_end + 5 + length]
        at = kind_end + 5 + length
    window, compression = facts.get(b"dataWindow", b""), facts.get(b"compression", b"")
    if len(window) != 16 or len(compression) != 1 or compression[0] not in _EXR_LINES:
        return False
    _, top, _, bottom = struct.unpack("<4i", window)
    count = -(-(bottom - top + 1) // _EXR_LINES[compression[0]])
    if count <= 0 or at + 1 + 8 * count > size:
        return False
    stream.seek(at + 1)
    offsets = struct.unpack(f"<{count}Q", stream.read(8 * count))
    last: int = max(offsets)
    if not at < last <= size - 8 or not min(offsets):
        return False
    stream.seek(last + 4)
    return last + 8 + int.from_bytes(stream.read(4), "little") <= size
