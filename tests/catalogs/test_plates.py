"""Claims about plates: what may be one, and that a bad one costs nothing."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

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
    started = time.process_time()
    assert code(Plates(desk.folder).get("b.png")) == expected
    assert time.process_time() - started < 1


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


def noted(desk: Any, name: str) -> list[str]:
    """Codes of what a plate's sender is told."""
    plates = Plates(desk.folder.resolve())
    found = plates.get(name)
    assert isinstance(found, Plate)
    return [one for one, _ in plates.notes(found)]


def test_what_a_plate_is_besides_its_pixels_is_told(desk: Any) -> None:
    """A turned photograph, a foreign profile, CMYK, real transparency and second pictures are told; others are not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    desk.plate("turned.jpg", exif=exif)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    desk.plate("srgb.png", icc_profile=srgb)
    desk.plate("lab.png", icc_profile=lab)
    desk.plate("broken.png", icc_profile=b"no profile")
    Image.new("CMYK", (64, 36)).save(desk.folder / "cmyk.jpg")
    Image.new("RGBA", (64, 36), (1, 2, 3, 255)).save(desk.folder / "opaque.png")
    Image.new("RGBA", (64, 36), (1, 2, 3, 254)).save(desk.folder / "clear.png")
    palette = Image.new("P", (64, 36))
    palette.save(desk.folder / "palette.png", transparency=0)
    two = [Image.new("RGB", (64, 36), colour) for colour in ("red", "blue")]
    two[0].save(desk.folder / "two.tif", save_all=True, append_images=two[1:])
    two[0].save(desk.folder / "camera.jpg", format="MPO", save_all=True, append_images=two[1:])
    told = {path.name: noted(desk, path.name) for path in desk.folder.iterdir()}
    assert told == {
        "a.png": [],
        "turned.jpg": ["W402"],
        "srgb.png": [],
        "lab.png": ["W403"],
        "broken.png": ["W403"],
        "cmyk.jpg": ["W403"],
        "opaque.png": [],
        "clear.png": ["W404"],
        "palette.png": ["W404"],
        "two.tif": ["W405"],
        "camera.jpg": [],
    }


def test_a_plate_is_told_about_once(desk: Any) -> None:
    """A hundred rows on one transparent plate give one notice, at the first of them."""
    Image.new("RGBA", (64, 36)).save(desk.folder / "clear.png")
    rows = "".join(f"S{number},clear.png,48\n" for number in range(100))
    (notice,) = desk.read("shot,plate,frames\n" + rows).warnings
    assert (notice.code, notice.line, notice.value) == ("W404", 2, "clear.png")


def test_two_plates_that_some_systems_take_for_one_are_told(desk: Any) -> None:
    """Names that differ in case or in how an accent is stored, with different pictures: somebody gets the wrong one."""
    desk.plate("Lamp.png", 64, 36)
    desk.plate("lamp.png", 32, 18)
    desk.plate("caf\u00e9.png", 64, 36)
    desk.plate("cafe\u0301.png", 32, 18)
    names = ("Lamp.png", "lamp.png", "caf\u00e9.png", "cafe\u0301.png", "LAMP.PNG")
    desk.plate("LAMP.PNG", 64, 36)  # the same picture as the first
    rows = "".join(f"S{number},{name},48\n" for number, name in enumerate(names))
    result = desk.read("shot,plate,frames\n" + rows)
    assert [(one.code, one.line) for one in result.warnings] == [("W406", 3), ("W406", 5)]
    assert "differs from Lamp.png" in result.warnings[0].message


def test_an_image_that_is_another_file_too_is_refused(desk: Any) -> None:
    """A picture with an archive behind it, or a PDF's mark in its head, is one file for us and another for others."""
    picture = desk.plate("plain.png").read_bytes()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("evil.class", "x")
    (desk.folder / "zip.png").write_bytes(picture + stream.getvalue())
    (desk.folder / "mark.png").write_bytes(picture + b"PK\x05\x06" + bytes(18))
    Image.new("RGB", (64, 36)).save(desk.folder / "pdf.jpg", comment=b"%PDF-1.7")
    plates = Plates(desk.folder.resolve())
    assert [code(plates.get(name)) for name in ("plain.png", "zip.png", "mark.png", "pdf.jpg")] == [
        "",
        "E411",
        "",
        "E411",
    ]


def test_a_huge_file_is_refused_by_its_size(desk: Any) -> None:
    """Ten gigabytes behind a good picture, or of nothing, are not read."""
    for name in ("tail.png", "hole.png"):
        path = desk.plate(name) if name == "tail.png" else desk.folder / name
        with path.open("ab") as stream:
            stream.truncate(10 * 1024**3)
    started = time.process_time()
    plates = Plates(desk.folder.resolve())
    assert [code(plates.get(name)) for name in ("tail.png", "hole.png")] == ["E410", "E410"]
    assert time.process_time() - started < 0.5


def test_a_path_of_a_million_folders_is_refused_at_once(desk: Any) -> None:
    """A cell of a megabyte is not resolved folder by folder."""
    started = time.process_time()
    plates = Plates(desk.folder.resolve())
    assert [code(plates.get(text)) for text in ("a/" * 500_000, "../" * 300_000, "x" * 1_000_000)] == ["E402"] * 3
    assert time.process_time() - started < 0.5


def test_a_jpeg_of_endless_scans_is_refused(desk: Any) -> None:
    """Each scan costs a pass over the picture; a thousand in a small file would cost an hour."""
    desk.plate("progressive.jpg", progressive=True)
    raw = (desk.folder / "progressive.jpg").read_bytes()
    last = raw.rindex(b"\xff\xda")
    (desk.folder / "scans.jpg").write_bytes(raw[:-2] + raw[last:-2] * 200 + raw[-2:])
    plates = Plates(desk.folder.resolve())
    assert [code(plates.get(name)) for name in ("progressive.jpg", "scans.jpg")] == ["", "E405"]


def test_a_device_is_no_plate(desk: Any) -> None:
    """A device file, and a link to one, are refused without being read."""
    (desk.folder / "zero.png").symlink_to("/dev/zero")
    plates = Plates(desk.folder.resolve())
    assert code(plates.get("zero.png")) == "E403"
    assert code(Plates(Path("/dev")).get("zero")) == "E404"


@pytest.mark.parametrize(
    "name",
    [
        "https://example.com/a.png",
        "file:///etc/passwd",
        "concat:a.png|a.png",
        "pipe:0",
        "lavfi:testsrc",
        "subfile,,start,0,end,0,,:a.png",
        "data:image/png;base64,iVBORw0KGgo=",
        "a.png\u0000.jpg",
        "C:\\plates\\a.png",
        "\\\\server\\plates\\a.png",
    ],
)
def test_an_address_is_no_plate(desk: Any, name: str) -> None:
    """What a program would fetch, join or make is the name of a file here, and there is none."""
    assert code(Plates(desk.folder.resolve()).get(name)) == "E402"


def test_a_plate_of_many_rows_is_opened_once(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows on one plate cost one decode."""
    opened: list[Path] = []
    real = catalogs.plates._open

    def counting(path: Path, root: Path) -> Any:
        opened.append(path)
        return real(path, root)

    monkeypatch.setattr(catalogs.plates, "_open", counting)
    rows = "".join(f"S{number},a.png,48\n" for number in range(100))
    assert len(desk.read("shot,plate,frames\n" + rows).shots) == 100
    assert len(opened) == 1
