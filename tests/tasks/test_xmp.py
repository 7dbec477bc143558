"""What files say about themselves: XMP, title and comment, in every container; and that they still decode."""

from __future__ import annotations

import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catalogs.footage import Master
from catalogs.rows import renders_alike
from catalogs.shot import Shot
from catalogs.source_types import MODEL, SCHEME, TERMS, read_source_type, source_type_in
from catalogs.timebase import rate_text
from tasks.containers import missing_bytes
from tasks.encode import encode_master
from tasks.errors import MediaError
from tasks.inspect import Expectation, inspect_deliverable
from tasks.keep import Kept, bytes_of, sha256_of
from tasks.marks import NOTE, Marks, is_marked, mark, write_sidecars
from tasks.plan import PlannedDelivery
from tasks.xmp import packet, put_in_mp4, put_in_png, read_xmp

MARKS = Marks("AGM_SQ010_SH0010_v001", "5f" * 32, MODEL)
RATE = Fraction(24)
FILES = {
    "h265": ("main10", "a_h265.mp4"),
    "h264": ("high", "a_h264.mp4"),
    "prores": ("hq", "a_prores.mov"),
    "webm": ("vp9", "a_webm.webm"),
    "png": ("16", "a_png"),
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Mapping[str, Path]:
    """One small master in every kind, marked."""
    folder = tmp_path_factory.mktemp("encoded")
    path = folder / "master.mkv"
    source = f"testsrc2=s=64x48:r={rate_text(RATE)},format=gbrp12le"
    made = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "5", "-c:v", "ffv1", str(path)]
    subprocess.run(made, check=True)
    master = Master(path, "", 0, 5, RATE, 64, 48)
    planned = [PlannedDelivery(kind, option, file, "") for kind, (option, file) in FILES.items()]
    report = encode_master(
        master, planned, folder, ffmpeg=ffmpeg, width=64, height=48, slate=MARKS.slate, tags=MARKS.tags
    )
    for file in report.files.values():
        mark(file, MARKS)
    return {kind: folder / file for kind, (_, file) in FILES.items()}


def source_type(text: str) -> str | None:
    """The DigitalSourceType of a packet, by an XML parser that knows nothing of us."""
    root = ET.fromstring(text.encode())
    found = root.find(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    return None if found is None else found.text


@pytest.mark.parametrize("kind", ["h265", "h264", "prores", "png"])
def test_files_say_how_their_pictures_came_about(encoded: Mapping[str, Path], kind: str) -> None:
    """MP4, MOV and every PNG carry IPTC's term in their XMP."""
    files = sorted(encoded[kind].iterdir()) if kind == "png" else [encoded[kind]]
    assert files
    assert [source_type(read_xmp(file)) for file in files] == [f"{SCHEME}trainedAlgorithmicMedia"] * len(files)


@pytest.mark.parametrize("kind", list(FILES))
def test_marked_files_pass_inspection(encoded: Mapping[str, Path], kind: str) -> None:
    """A box more or a piece more breaks nothing: whole, every frame, right tags."""
    option, _ = FILES[kind]
    expected = Expectation(kind, option, 5, RATE, 64, 48)
    deliverable, findings = inspect_deliverable(encoded[kind], expected)
    assert findings == ()
    assert deliverable.frames == 5
    if kind in ("h265", "h264", "prores"):
        with encoded[kind].open("rb") as stream:
            assert missing_bytes(stream) == 0


@pytest.mark.parametrize("kind", ["h265", "h264", "prores", "webm"])
def test_title_and_comment_lead_to_the_take(encoded: Mapping[str, Path], kind: str) -> None:
    """Any player shows the slate, and the take's content key behind it."""
    with av.open(str(encoded[kind])) as container:
        told = {name.lower(): value for name, value in container.metadata.items()}
    assert told["title"] == MARKS.slate
    assert told["comment"] == f"Dailies {MARKS.slate} take {MARKS.key}"


@pytest.mark.parametrize("kind", ["h265", "h264", "prores"])
def test_ffmpeg_finds_the_packet_by_itself(encoded: Mapping[str, Path], kind: str) -> None:
    """The packet stands where other programs look for it."""
    with av.open(str(encoded[kind]), options={"export_xmp": "1"}) as container:
        assert container.metadata["xmp"] == MARKS.xmp


def test_pillow_finds_the_packet_of_a_picture(encoded: Mapping[str, Path]) -> None:
    """As the XMP of the PNG, and its checksum is right."""
    file = min(encoded["png"].iterdir())
    with Image.open(file) as picture:
        picture.load()
        assert picture.info["XML:com.adobe.xmp"] == MARKS.xmp
    # what no decoder of ours checks on a text: length and checksum of every piece, up to the very end
    rest = file.read_bytes()[8:]
    kinds = []
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        assert zlib.crc32(rest[4 : 8 + length]) == int.from_bytes(rest[8 + length : 12 + length], "big"), kind
        kinds.append(kind)
        rest = rest[12 + length :]
    assert kinds[-2:] == [b"iTXt", b"IEND"]


def test_webm_has_its_packet_beside_it(encoded: Mapping[str, Path], tmp_path: Path) -> None:
    """One sidecar, named by the file, for WebM alone."""
    kept = [Kept(path, sha256_of(path), bytes_of(path), {}) for path in encoded.values()]
    [beside] = write_sidecars(kept, tmp_path, MARKS)
    assert beside.path == tmp_path / "a_webm.xmp"
    assert beside.notes == {"kind": "xmp", "of": "a_webm.webm"}
    assert source_type(beside.path.read_text(encoding="utf-8")) == MARKS.address
    assert beside.sha256 == sha256_of(beside.path)


def test_a_file_is_not_marked_twice_nor_a_broken_one(encoded: Mapping[str, Path], tmp_path: Path) -> None:
    """A second packet, a cut file and something else are refused with the file's name; they stay as they were."""
    with pytest.raises(MediaError, match=r"a_h265\.mp4 has XMP already"):
        put_in_mp4(encoded["h265"], "again")
    cut = tmp_path / "cut.mp4"
    whole = encoded["h265"].read_bytes()
    cut.write_bytes(whole[: whole.rindex(b"uuid") - 9])  # the packet, and the last five bytes before it
    before = cut.read_bytes()
    with pytest.raises(MediaError, match="not a whole MP4"):
        put_in_mp4(cut, "x")
    picture = tmp_path / "cut.png"
    shutil.copyfile(min(encoded["png"].iterdir()), picture)
    picture.write_bytes(picture.read_bytes()[:-5])
    with pytest.raises(MediaError, match="does not end as a PNG"):
        put_in_png(picture, "x")
    with pytest.raises(MediaError, match="is no PNG"):
        put_in_png(cut, "x")
    assert mark(cut, MARKS) == {}, "what is broken is left to inspection"
    assert cut.read_bytes() == before


@given(title=st.text(st.sampled_from("<>&\"'] aä日"), max_size=40), term=st.sampled_from(TERMS))
def test_packets_are_xml_whatever_the_words(title: str, term: str) -> None:
    """Angle brackets and ampersands in a title stay text, and the term is found."""
    text = packet(source_type=term, title=title, identifier="k")
    assert source_type(text) == SCHEME + term
    [found] = ET.fromstring(text.encode()).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")
    assert (found.text or "") == title


def test_other_facts_are_other_marks() -> None:
    """A kept file whose receipt says anything else, or nothing, is made again."""
    kept = Kept(Path("a.mp4"), "", 0, {NOTE: MARKS.fingerprint})
    assert is_marked(kept, MARKS)
    assert not is_marked(None, MARKS)
    assert not is_marked(Kept(Path("a.mp4"), "", 0, {}), MARKS)
    others = (
        Marks("X_v001", MARKS.key, MODEL),
        Marks(MARKS.slate, "00" * 32, MODEL),
        Marks(MARKS.slate, MARKS.key, "composite"),
    )
    assert not any(is_marked(kept, other) for other in others)


def test_a_changed_source_type_is_another_request() -> None:
    """Files have to say it: it is no change of notes. The same term in other words is none."""
    asked = Shot("AGM", "SH0010", 24, metadata=(("source_type", "composite"), ("Colour", "red")))
    assert renders_alike(asked, replace(asked, metadata=(("Digital Source Type", f"{SCHEME}Composite"),)))
    assert not renders_alike(asked, replace(asked, metadata=()))


def test_source_types_are_read_as_people_write_them() -> None:
    """By name in any case, or by address; what a camera takes is nothing that was rendered."""
    assert read_source_type(" TRAINEDalgorithmicmedia ") == MODEL
    assert (
        read_source_type("https://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic") == "compositeSynthetic"
    )
    assert source_type_in([("Shot Type", "digitalCapture"), ("Digital Source Type", "composite")]) == "composite"
    assert source_type_in([("source_type", "rubbish")]) == ""
    with pytest.raises(ValueError, match="not a digital source type: 'digitalCapture'; use trained"):
        read_source_type("digitalCapture")
