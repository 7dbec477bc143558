"""Planted faults are found, each by its code; whole files have no findings (test_encode)."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.footage import Finding, Master, Severity
from catalogs.shot import DELIVERY_OPTIONS
from tasks.containers import missing_bytes, video_entry
from tasks.encode import encode_master
from tasks.errors import MediaError
from tasks.ffmpeg import deliverables_argv, master_argv
from tasks.frames import FrameWriter
from tasks.inspect import Expectation, inspect_deliverable
from tasks.plan import PlannedDelivery

RATE = Fraction(24)
FRAMES = 12
WIDTH, HEIGHT = 96, 64
FILES = {"h265": "a.mp4", "prores": "a.mov", "webm": "a.webm", "h264": "b.mp4", "png": "a_png"}
VIDEOS = ("h265", "prores", "webm", "h264")


def expected(kind: str) -> Expectation:
    return Expectation(kind, DELIVERY_OPTIONS[kind][0], FRAMES, RATE, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Master:
    path = tmp_path_factory.mktemp("master") / "master.mkv"
    noise = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH + FRAMES, 3), dtype=np.uint16)
    argv = master_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=RATE)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="master") as writer:
        for index in range(FRAMES):
            writer.write(noise[:, index : index + WIDTH].copy())
    return Master(path, "", path.stat().st_size, FRAMES, RATE, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def good(master: Master, tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Path:
    folder = tmp_path_factory.mktemp("good")
    planned = [PlannedDelivery(kind, DELIVERY_OPTIONS[kind][0], name, "") for kind, name in FILES.items()]
    encode_master(master, planned, folder, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT, slate="S")
    return folder


def planted(master: Master, folder: Path, kind: str, ffmpeg: str, **words: str) -> Path:
    """A deliverable whose command line has some of its text replaced, old -> new."""
    target = folder / FILES[kind]
    argv = deliverables_argv(
        ffmpeg,
        master.path,
        [(kind, DELIVERY_OPTIONS[kind][0], target)],
        rate=RATE,
        width=WIDTH,
        height=HEIGHT,
        master_width=WIDTH,
        master_height=HEIGHT,
        title="S",
    )
    for old, new in words.items():
        assert any(old in word for word in argv), old
        argv = [word.replace(old, new) for word in argv]
    subprocess.run(argv, check=True, capture_output=True)
    return target


def codes(path: Path, wanted: Expectation) -> list[str]:
    deliverable, findings = inspect_deliverable(path, wanted)
    assert all(finding.severity is Severity.BLOCKER for finding in findings)
    assert all(finding.subject == path.name and finding.value != finding.limit for finding in findings)
    assert all(0 <= finding.frame_in < finding.frame_out for finding in findings)
    assert deliverable.path == path
    return [finding.code for finding in findings]


@pytest.mark.parametrize("kind", VIDEOS)
@pytest.mark.parametrize("part", [0.9, 0.55])
def test_a_cut_file_is_truncated(kind: str, part: float, good: Path, tmp_path: Path) -> None:
    """Faststart files decode quietly to where they were cut; the missing frames are found and said."""
    target = tmp_path / FILES[kind]
    data = (good / FILES[kind]).read_bytes()
    target.write_bytes(data[: int(len(data) * part)])
    assert codes(target, expected(kind))[0] == "truncated"


@pytest.mark.parametrize("kind", VIDEOS)
def test_one_missing_byte_is_truncated(kind: str, good: Path, tmp_path: Path) -> None:
    """The container's own sizes tell, even where the last frame still decodes."""
    target = tmp_path / FILES[kind]
    target.write_bytes((good / FILES[kind]).read_bytes()[:-1])
    assert "truncated" in codes(target, expected(kind))


@pytest.mark.parametrize("kind", ["h265", "prores", "h264"])
def test_noise_in_the_middle_is_truncated(kind: str, good: Path, tmp_path: Path) -> None:
    """Damaged frames are not concealed, although the file has its full length."""
    data = bytearray((good / FILES[kind]).read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    target = tmp_path / FILES[kind]
    target.write_bytes(data)
    assert "truncated" in codes(target, expected(kind))


@pytest.mark.parametrize("kind", FILES)
def test_nothing_and_garbage_are_truncated(kind: str, tmp_path: Path) -> None:
    """An empty file, text, and a folder of an empty PNG are described with zeros; a missing one is an error."""
    with pytest.raises(MediaError, match="does not exist"):
        inspect_deliverable(tmp_path / FILES[kind], expected(kind))
    for data in (b"", b"this is no video " * 50):
        path = tmp_path / FILES[kind]
        if kind == "png":
            path.mkdir(exist_ok=True)
            (path / "S.1001.png").write_bytes(data)
        else:
            path.write_bytes(data)
        assert codes(path, expected(kind))[:2] == ["truncated", "count"]
        assert inspect_deliverable(path, expected(kind))[0].frames == 0


def test_a_file_where_a_folder_is_due(good: Path) -> None:
    """A video is no PNG sequence, and a folder is no video."""
    assert codes(good / "a.mp4", expected("png"))[0] == "truncated"
    assert "truncated" in codes(good / "a_png", expected("h265"))


@pytest.mark.parametrize("kind", FILES)
def test_another_expectation_is_found(kind: str, good: Path) -> None:
    """One frame more or less, another rate or size: one finding each."""
    wanted = expected(kind)
    path = good / FILES[kind]
    assert codes(path, wanted) == []
    assert codes(path, replace(wanted, frames=FRAMES + 1)) == ["count"]
    assert codes(path, replace(wanted, frames=FRAMES - 1)) == ["count"]
    assert codes(path, replace(wanted, width=WIDTH + 2)) == ["size"]
    if kind != "png":
        assert codes(path, replace(wanted, rate=Fraction(24000, 1001))) == ["rate"]
        assert codes(path, replace(wanted, rate=Fraction(25))) == ["rate"]


def test_another_kind_is_found(good: Path) -> None:
    """An H.264 file under an H.265 name: codec, profile and depth."""
    assert set(codes(good / "b.mp4", expected("h265"))) == {"codec", "depth"}
    assert {"codec", "depth"} <= set(codes(good / "a.webm", expected("h265")))


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_dropped_frame_is_found(kind: str, master: Master, tmp_path: Path, ffmpeg: str) -> None:
    """Frame 5 left out, the others at their times: the count, and the frame that is shown late."""
    path = planted(master, tmp_path, kind, ffmpeg, **{"setpts=N": "setpts=N,select=not(eq(n\\,5))"})
    found = inspect_deliverable(path, expected(kind))[1]
    assert {"count", "rate"} == {finding.code for finding in found}


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_late_frame_is_found(kind: str, master: Master, tmp_path: Path, ffmpeg: str) -> None:
    """A gap before frame 5 is found, although every frame is there."""
    path = planted(master, tmp_path, kind, ffmpeg, **{"setpts=N": "setpts=N+gt(N\\,4)"})
    found = inspect_deliverable(path, expected(kind))[1]
    assert [finding.code for finding in found] == ["rate"]


@pytest.mark.parametrize("kind", VIDEOS)
def test_wrong_tags_are_found(kind: str, master: Master, tmp_path: Path, ffmpeg: str) -> None:
    """Another matrix, and no tags at all."""
    for name, new in (("a", "colorspace=smpte170m"), ("b", "colorspace=unknown")):
        folder = tmp_path / name
        folder.mkdir()
        path = planted(master, folder, kind, ffmpeg, **{"colorspace=bt709": new})
        assert set(codes(path, expected(kind))) == {"tags"}


def test_eight_bits_are_found(master: Master, tmp_path: Path, ffmpeg: str) -> None:
    """An 8-bit H.265 is not the 10-bit one that was ordered."""
    path = planted(master, tmp_path, "h265", ffmpeg, yuv420p10le="yuv420p", main10="main")
    assert set(codes(path, expected("h265"))) == {"depth", "codec"}


def test_hev1_is_found(master: Master, tmp_path: Path, ffmpeg: str) -> None:
    """QuickTime shows nothing for hev1."""
    path = planted(master, tmp_path, "h265", ffmpeg, hvc1="hev1")
    (found,) = inspect_deliverable(path, expected("h265"))[1]
    assert (found.code, found.value, found.limit) == ("codec", "hevc hev1", "hevc hvc1")


@pytest.mark.parametrize("kind", ["h265", "prores", "h264"])
def test_a_missing_or_wrong_colr_is_found(kind: str, good: Path, tmp_path: Path) -> None:
    """The box is read itself: decoders would answer from the stream and hide its absence."""
    data = (good / FILES[kind]).read_bytes()
    assert data.count(b"colr") == 1
    target = tmp_path / FILES[kind]
    target.write_bytes(data.replace(b"colr", b"free"))
    assert "tags" in codes(target, expected(kind))
    at = data.index(b"colr") + 8
    target.write_bytes(data[:at] + struct.pack(">HHH", 1, 1, 6) + data[at + 6 :])
    found = inspect_deliverable(target, expected(kind))[1]
    assert "colr 1 1 6 limited" in {finding.value for finding in found}


def test_pixels_that_are_not_square_are_found(master: Master, tmp_path: Path, ffmpeg: str) -> None:
    """An anamorphic flag would stretch the picture in every player."""
    assert codes(planted(master, tmp_path, "h264", ffmpeg, **{"setsar=1": "setsar=2"}), expected("h264")) == ["size"]


def pngs(good: Path, folder: Path) -> Path:
    return Path(shutil.copytree(good / "a_png", folder / "a_png"))


def test_a_missing_number_is_found(good: Path, tmp_path: Path) -> None:
    """Missing pictures are named in runs, and so is the smaller count."""
    folder = pngs(good, tmp_path)
    for number in (1003, 1004, 1009):
        (folder / f"S.{number}.png").unlink()
    found = inspect_deliverable(folder, expected("png"))[1]
    assert [(finding.code, finding.frame_in, finding.frame_out) for finding in found] == [
        ("count", 2, 4),
        ("count", 8, 9),
    ]
    assert found[0].value == "frames 1003 to 1004 are missing"


def test_wrong_numbers_and_strangers_are_found(good: Path, tmp_path: Path) -> None:
    """A sequence that starts at 1000, and a file that does not belong."""
    folder = pngs(good, tmp_path)
    (folder / "S.1012.png").rename(folder / "S.1000.png")
    (folder / "notes.txt").write_text("x")
    values = [finding.value for finding in inspect_deliverable(folder, expected("png"))[1]]
    assert values == ["frame 1012 is missing", "1 more, from 1000", "also notes.txt"]


def test_a_damaged_or_shallow_png_is_found(good: Path, tmp_path: Path) -> None:
    """A cut picture is truncated; an 8-bit one is the wrong depth."""
    from PIL import Image

    folder = pngs(good, tmp_path)
    cut = folder / "S.1004.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    assert codes(folder, expected("png"))[0] == "truncated"
    Image.new("RGB", (WIDTH, HEIGHT)).save(cut)
    assert "depth" in codes(folder, expected("png"))


def test_a_deliverable_says_what_is_there(good: Path) -> None:
    """Size, digest and description are measured on the file."""
    deliverable, findings = inspect_deliverable(good / "a.mov", expected("prores"))
    assert findings == ()
    assert deliverable.bytes == (good / "a.mov").stat().st_size
    assert len(deliverable.sha256) == 64
    assert (deliverable.codec, deliverable.pix_fmt) == ("prores", "yuv422p10le")
    assert (deliverable.color_range, deliverable.colorspace) == ("tv", "bt709")


@given(st.binary(max_size=400))
def test_any_bytes_can_be_walked(data: bytes) -> None:
    """The box reader ends on any input and never invents a video out of noise it cannot parse."""
    assert missing_bytes(io.BytesIO(data)) >= 0
    video_entry(io.BytesIO(data))
    video_entry(io.BytesIO(struct.pack(">I4s", len(data) + 8, b"moov") + data))
    missing_bytes(io.BytesIO(b"\x1aE\xdf\xa3" + data))


def test_findings_are_values(good: Path) -> None:
    """Two inspections of one file agree."""
    first = inspect_deliverable(good / "a.webm", replace(expected("webm"), frames=3))
    assert first == inspect_deliverable(good / "a.webm", replace(expected("webm"), frames=3))
    assert isinstance(first[1][0], Finding)


def test_a_trimmed_file_is_whole(good: Path, tmp_path: Path, ffmpeg: str) -> None:
    """A stream copy that begins later keeps samples that it does not show: none of them is missing."""
    path = tmp_path / "trimmed.mp4"
    argv = [ffmpeg, "-v", "error", "-ss", "0.25", "-i", str(good / FILES["h264"]), "-c", "copy", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    wanted = expected("h264")
    assert "truncated" not in codes(path, replace(wanted, frames=wanted.frames - 6))


def test_what_goes_wrong_in_looking_is_no_damage(good: Path) -> None:
    """A defect of a check must not have a good file made again."""

    def look(frame: object) -> None:
        raise ValueError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        inspect_deliverable(good / FILES["h264"], expected("h264"), look=look)


@pytest.mark.parametrize("name", ["a.ts", "a.avi", "a.gif", "a.png", "a.jpg", "a.mpg", "a.y4m"])
def test_other_containers_are_not_measured_by_boxes(name: str, good: Path, tmp_path: Path, ffmpeg: str) -> None:
    """A whole file is whole: what would be the size of an MP4's box is anything in another one."""
    path = tmp_path / name
    still = ["-frames:v", "1"] if path.suffix in (".png", ".jpg") else []
    argv = [ffmpeg, "-v", "error", "-i", str(good / FILES["h264"]), "-strict", "-1", *still, str(path)]
    subprocess.run(argv, check=True, timeout=60)
    with path.open("rb") as stream:
        assert missing_bytes(stream) == 0
