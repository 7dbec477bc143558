"""Claims about plates: what may be one, and that a bad one costs nothing."""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import catalogs.plates
from catalogs.plates import Plates, Refused
from catalogs.shot import Plate


def code(found: Plate | Refused) -> str:
    """Why a plate was refused; empty if it was not."""
    return found.code if isinstance(found, Refused) else ""


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_plate_is_measured_and_hashed(desk: Any) -> None:
    """A plate's value is its resolved path, its size and the digest of its bytes."""
    path = desk.plate("sub/b.png", 40, 30)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert Plates(desk.folder).get("sub/b.png") == Plate(str(path.resolve()), digest, 40, 30)
    assert Plates(desk.folder).get(str(path)) == Plate(str(path.resolve()), digest, 40, 30)


def test_a_plate_stands_upright(desk: Any) -> None:
    """A photograph taken with the camera turned has the size that people see."""
    exif = Image.Exif()
    exif[0x0112] = 6
    desk.plate("turned.jpg", 64, 36, exif=exif)
    found = Plates(desk.folder).get("turned.jpg")
    assert isinstance(found, Plate)
    assert (found.width, found.height) == (36, 64)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (64, 16, ""),
        (66, 16, "E408"),
        (16, 66, "E408"),
        (15, 20, "E407"),
        (12_000, 10_001, "E406"),
        (20_000, 20_000, "E406"),
        (2**31 - 1, 2**31 - 1, "E406"),
    ],
)
def test_a_size_is_judged_by_the_header(desk: Any, width: int, height: int, expected: str) -> None:
    """An image of a forbidden size is refused before a pixel of it is unpacked."""
    if expected:
        (desk.folder / "b.png").write_bytes(png(width, height))
    else:
        desk.plate("b.png", width, height)
    started = time.monotonic()
    assert code(Plates(desk.folder).get("b.png")) == expected
    assert time.monotonic() - started < 1


def test_a_broken_plate_is_refused(desk: Any) -> None:
    """A truncated image and a file that is none do not open, whatever their name says."""
    whole = desk.plate("whole.png", 300, 200).read_bytes()
    (desk.folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (desk.folder / "text.png").write_text("not an image")
    (desk.folder / "empty.png").write_bytes(b"")
    (desk.folder / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n")
    plates = Plates(desk.folder)
    assert [code(plates.get(f"{name}.png")) for name in ("half", "text", "empty", "eps")] == ["E405"] * 4


def test_a_plate_stays_inside_its_root(desk: Any, tmp_path: Path) -> None:
    """Links are followed and must end inside; a link in a circle leads nowhere."""
    outside = tmp_path / "secret.png"
    Image.new("RGB", (64, 36)).save(outside)
    (desk.folder / "out.png").symlink_to(outside)
    (desk.folder / "in.png").symlink_to(desk.folder / "a.png")
    (desk.folder / "loop.png").symlink_to(desk.folder / "loop.png")
    (desk.folder / "door").symlink_to(tmp_path)
    plates = Plates(desk.folder.resolve())
    names = ("out.png", "in.png", "loop.png", "door/secret.png", "../secret.png", str(outside))
    assert [code(plates.get(name)) for name in names] == ["E403", "", "E402", "E403", "E403", "E403"]


def test_a_pipe_is_no_plate(desk: Any) -> None:
    """A pipe or a folder is refused without being opened, so nothing waits."""
    os.mkfifo(desk.folder / "pipe.png")
    assert code(Plates(desk.folder).get("pipe.png")) == "E404"
    assert code(Plates(desk.folder).get(".")) == "E404"


def test_a_plate_of_many_rows_is_opened_once(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows on one plate cost one decode."""
    opened: list[Path] = []
    real = catalogs.plates._open

    def counting(path: Path, root: Path) -> Plate | Refused:
        opened.append(path)
        return real(path, root)

    monkeypatch.setattr(catalogs.plates, "_open", counting)
    rows = "".join(f"S{number},a.png,48\n" for number in range(100))
    assert len(desk.read("shot,plate,frames\n" + rows).shots) == 100
    assert len(opened) == 1
