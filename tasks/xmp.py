"""XMP: what a file says about itself that any asset manager can read. Packets, and where containers keep them.

Knows: the packet (ISO 16684-1), IPTC's DigitalSourceType, and its place in MP4 (a uuid box of its own), QuickTime
(`XMP_` in the user data) and PNG (an iTXt piece before the end), after Adobe's XMP specification, part 3. Does not
know: shots, plans. Memory: one packet; what is in the files is skipped.

A box appended to an MP4 moves nothing that the index points to, and a piece before a PNG's last twelve bytes moves only
those: both are written in place. QuickTime keeps it in the index, which comes first, so there ffmpeg writes it with the
file (`metadata xmp=`). WebM has no place for it; its packet lies beside it.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final
from xml.sax.saxutils import escape

from catalogs.source_types import SCHEME
from tasks.containers import boxes
from tasks.errors import MediaError

UUID: Final = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
"""Names the uuid box that holds XMP in an ISO base media file."""

VERSION: Final = "1"
"""Raise it when the same facts would make another packet."""

_KEYWORD: Final = b"XML:com.adobe.xmp"
_IEND: Final = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_LARGEST: Final = 1 << 20


def packet(*, source_type: str, title: str, identifier: str) -> str:
    """The packet: how the pictures came about (a term of catalogs.source_types), the slate, what made it so.

    No date and no version stands in it: the same take gives the same bytes.
    """
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <rdf:Description rdf:about=""\n'
        '    xmlns:dc="http://purl.org/dc/elements/1.1/"\n'
        '    xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n'
        '    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">\n'
        f"   <dc:identifier>{escape(identifier)}</dc:identifier>\n"
        f'   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>\n'
        "   <xmp:CreatorTool>Dailies</xmp:CreatorTool>\n"
        f"   <Iptc4xmpExt:DigitalSourceType>{escape(SCHEME + source_type)}</Iptc4xmpExt:DigitalSourceType>\n"
        "  </rdf:Description>\n"
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    )


def put_in_mp4(path: Path, text: str) -> None:
    """Append the packet to an MP4. Raises MediaError for a file whose last box is not whole, OSError."""
    payload = UUID + text.encode()
    with path.open("r+b") as stream:
        end = stream.seek(0, 2)
        last = None
        for last in boxes(stream, 0, end):
            if last.kind == "uuid" and _uuid(stream, last.start) == UUID:
                raise MediaError(f"{path.name} has XMP already; encode it again")
        if last is None or last.end != end:
            raise MediaError(f"{path.name} is not a whole MP4, so nothing can be put into it; encode it again")
        stream.seek(end)
        stream.write(struct.pack(">I4s", 8 + len(payload), b"uuid") + payload)


def put_in_png(path: Path, text: str) -> None:
    """Put the packet into a PNG, before its end. Raises MediaError for a file that does not end as a PNG does."""
    body = b"iTXt" + _KEYWORD + b"\0\0\0\0\0" + text.encode()
    with path.open("r+b") as stream:
        if stream.read(len(_PNG)) != _PNG or stream.seek(0, 2) < len(_PNG) + len(_IEND):
            raise MediaError(f"{path.name} is no PNG; encode it again")
        stream.seek(-len(_IEND), 2)
        if stream.read(len(_IEND)) != _IEND:
            raise MediaError(f"{path.name} does not end as a PNG does; encode it again")
        stream.seek(-len(_IEND), 2)
        stream.write(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + _IEND)


def read_xmp(path: Path) -> str:
    """The packet in an MP4, a MOV or a PNG; empty if there is none."""
    with path.open("rb") as stream:
        found = _in_png(stream) if stream.read(len(_PNG)) == _PNG else _in_boxes(stream)
    return found.decode()


def _uuid(stream: BinaryIO, start: int) -> bytes:
    stream.seek(start)
    return stream.read(len(UUID))


def _in_boxes(stream: BinaryIO) -> bytes:
    for box in boxes(stream, 0, stream.seek(0, 2)):
        if box.kind == "uuid" and _uuid(stream, box.start) == UUID:
            return _bytes(stream, box.start + len(UUID), box.end)
        if box.kind == "moov":
            user = [part for part in boxes(stream, box.start, box.end) if part.kind == "udta"]
            for entry in (entry for part in user for entry in boxes(stream, part.start, part.end)):
                if entry.kind == "XMP_":
                    return _bytes(stream, entry.start, entry.end)
    return b""


def _in_png(stream: BinaryIO) -> bytes:
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"iTXt" and length <= _LARGEST:
            body = stream.read(length)
            if body.startswith(_KEYWORD + b"\0"):
                return body[len(_KEYWORD) + 5 :]
            stream.seek(4, 1)
        else:
            stream.seek(length + 4, 1)
    return b""


def _bytes(stream: BinaryIO, start: int, end: int) -> bytes:
    stream.seek(start)
    return stream.read(min(end - start, _LARGEST))
