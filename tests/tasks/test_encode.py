"""Deliverables of a shot, from a real master through the real ffmpeg."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from catalogs.footage import Master
from catalogs.shot import DELIVERY_OPTIONS
from tasks.encode import EncodeReport, encode_master
from tasks.errors import FfmpegError, MediaError
from tasks.ffmpeg import master_argv
from tasks.frames import FrameWriter
from tasks.inspect import Expectation, inspect_deliverable
from tasks.plan import PlannedDelivery
from tasks.progress import Progress, listening

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
FILES = {"h265": "S_h265.mp4", "prores": "S_prores.mov", "webm": "S_webm.webm", "h264": "S_h264.mp4", "png": "S_png"}
ALL = tuple(FILES)


def planned(*kinds: str) -> list[PlannedDelivery]:
    return [PlannedDelivery(kind, DELIVERY_OPTIONS[kind][0], FILES[kind], "") for kind in kinds]


def make_master(
    folder: Path, *, frames: int = 6, rate: Fraction = Fraction(24), width: int = 64, height: int = 48
) -> Master:
    """Texture that moves two pixels a frame, with the frame's number as the brightness of its corner."""
    texture = np.random.default_rng(5).integers(8000, 56000, (height, width + 2 * frames, 3), dtype=np.uint16)
    path = folder / "master.mkv"
    argv = master_argv(FFMPEG, path, width=width, height=height, rate=rate)
    with FrameWriter(argv, width=width, height=height, what="master") as writer:
        for index in range(frames):
            frame = texture[:, 2 * index : 2 * index + width].copy()
            frame[:16, :16] = 10000 + 40000 * index // max(1, frames - 1)
            writer.write(frame)
    return Master(path, "", path.stat().st_size, frames, rate, width, height)


def encode(master: Master, folder: Path, *kinds: str, stills: tuple[int, ...] = (), **size: int) -> EncodeReport:
    folder.mkdir()
    return encode_master(
        master,
        planned(*kinds),
        folder,
        ffmpeg=FFMPEG,
        width=size.get("width", master.width),
        height=size.get("height", master.height),
        slate="S",
        stills=stills,
    )


def decoded(path: Path) -> str:
    """Digest of the decoded planes of every frame."""
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            for plane in frame.planes:
                digest.update(bytes(plane))
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("rate", "frames"),
    [
        (Fraction(24), 7),
        (Fraction(24000, 1001), 25),
        (Fraction(30000, 1001), 1),
        (Fraction(60000, 1001), 61),
        (Fraction(25, 2), 3),
        (Fraction(60), 2),
    ],
)
def test_every_kind_has_every_frame_at_its_time(rate: Fraction, frames: int, tmp_path: Path) -> None:
    """Count, rate, times, size, codec, depth and tags of all five kinds are as planned, by inspection."""
    master = make_master(tmp_path, frames=frames, rate=rate)
    report = encode(master, tmp_path / "out", *ALL)
    assert list(report.files) == [FILES[kind] for kind in ALL]
    for kind in ALL:
        expected = Expectation(kind, DELIVERY_OPTIONS[kind][0], frames, rate, 64, 48)
        deliverable, findings = inspect_deliverable(report.files[FILES[kind]], expected)
        assert findings == ()
        assert (deliverable.frames, deliverable.rate) == (frames, rate)


def test_frames_keep_their_order(tmp_path: Path) -> None:
    """The brightness that numbers each frame rises from the first to the last in every video."""
    master = make_master(tmp_path, frames=9)
    report = encode(master, tmp_path / "out", "h265", "prores", "webm", "h264")
    for path in report.files.values():
        with av.open(str(path)) as container:
            corner = [float(frame.to_ndarray(format="gray")[2:14, 2:14].mean()) for frame in container.decode(video=0)]
        assert corner == sorted(corner)
        assert len(set(np.round(corner))) == 9


def test_the_same_master_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two encodes agree to the byte, also when one of them makes other deliverables beside."""
    master = make_master(tmp_path, frames=30, width=128, height=96)
    first = encode(master, tmp_path / "a", "h265", "prores", "webm", "h264")
    again = encode(master, tmp_path / "b", "webm", "h265", "h264", "prores", stills=(0, 3))
    for name, path in first.files.items():
        assert decoded(path) == decoded(again.files[name]), name
        assert path.read_bytes() == again.files[name].read_bytes(), name


def test_png_carries_the_master_bit_for_bit(tmp_path: Path) -> None:
    """12-bit values come back exactly from the 16-bit PNGs, numbered from 1001; white is 65535."""
    path = tmp_path / "master.mkv"
    frame = np.zeros((48, 64, 3), np.uint16)
    frame[:, :, 0] = (np.arange(64) * 65)[None, :] * 65535 // 4095
    frame[:, :, 1] = 65535
    with FrameWriter(
        master_argv(FFMPEG, path, width=64, height=48, rate=Fraction(24)), width=64, height=48, what="m"
    ) as writer:
        writer.write(frame)
    report = encode(Master(path, "", 0, 1, Fraction(24), 64, 48), tmp_path / "out", "png")
    assert [file.name for file in report.files["S_png"].iterdir()] == ["S.1001.png"]
    with av.open(str(report.files["S_png"] / "S.1001.png")) as container:
        got = next(container.decode(video=0)).to_ndarray(format="rgb48le").astype(int)
    assert (got[:, :, 1] == 65535).all()
    assert (np.round(got * 4095 / 65535) == np.round(frame.astype(int) * 4095 / 65535)).all()


def test_another_shape_is_filled_by_a_centred_crop(tmp_path: Path) -> None:
    """A 64x48 master delivered at 48x48 loses 8 columns on each side; at 96x72 it loses nothing."""
    path = tmp_path / "master.mkv"
    frame = np.full((48, 64, 3), 30000, np.uint16)
    frame[:, :8] = frame[:, -8:] = 65535
    with FrameWriter(
        master_argv(FFMPEG, path, width=64, height=48, rate=Fraction(24)), width=64, height=48, what="m"
    ) as writer:
        writer.write(frame)
    master = Master(path, "", 0, 1, Fraction(24), 64, 48)
    cropped = encode(master, tmp_path / "a", "png", width=48, height=48).files["S_png"] / "S.1001.png"
    larger = encode(master, tmp_path / "b", "png", "h264", width=96, height=72).files
    with av.open(str(cropped)) as container:
        got = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    assert got.shape == (48, 48, 3)
    assert np.ptp(got.astype(int)) <= 16
    assert inspect_deliverable(larger["S_h264.mp4"], Expectation("h264", "high", 1, Fraction(24), 96, 72))[1] == ()
    with av.open(str(larger["S_png"] / "S.1001.png")) as container:
        wide = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    assert wide[:, :8].min() > 60000
    assert wide[:, -8:].min() > 60000


def test_stills_are_the_frames_asked_for(tmp_path: Path) -> None:
    """Stills come sorted, without repeats, small, and show the frames they are labelled with."""
    master = make_master(tmp_path, frames=12, width=960, height=128)
    report = encode(master, tmp_path / "out", stills=(11, 0, 4, 4))
    assert [frame for frame, _ in report.stills] == [0, 4, 11]
    assert report.files == {}
    corners = []
    for _, path in report.stills:
        with Image.open(path) as image:
            assert image.size == (480, 64)
            corners.append(np.asarray(image)[2:6, 2:6].mean())
    values = [10000 + 40000 * index // 11 for index in (0, 4, 11)]
    assert np.abs(np.array(corners) - np.array(values) / 257).max() < 2


def test_the_report_names_no_place(tmp_path: Path) -> None:
    """The command line in the report is the same wherever it ran."""
    master = make_master(tmp_path, frames=2)
    first = encode(master, tmp_path / "50%d a", "h264", "png", stills=(1,))
    second = encode(master, tmp_path / "b", "h264", "png", stills=(1,))
    assert first.argv == second.argv
    assert first.argv[0] == "ffmpeg"
    assert not any(str(tmp_path) in word or "50%" in word for word in first.argv)


def test_progress_ends_at_the_last_frame(tmp_path: Path) -> None:
    """Listeners hear counts that never fall or pass the total, and the total at the end."""
    master = make_master(tmp_path, frames=5)
    heard: list[Progress] = []
    with listening(heard.append):
        encode(master, tmp_path / "out", "h264")
    assert [progress.done for progress in heard] == sorted(progress.done for progress in heard)
    assert heard[-1] == Progress("S", "encode", 5, 5)


def test_a_damaged_or_missing_master_is_an_error_with_the_slate(tmp_path: Path) -> None:
    """No deliverable is made from half a master, and the message says which shot it was."""
    master = make_master(tmp_path, frames=6)
    data = bytearray(master.path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    master.path.write_bytes(data)
    with pytest.raises(FfmpegError, match="S: encode"):
        encode(master, tmp_path / "a", "h264")
    master.path.unlink()
    with pytest.raises(MediaError, match=r"S: the master master\.mkv is missing"):
        encode(master, tmp_path / "b", "h264")


def test_what_cannot_be_is_refused_before_ffmpeg_starts(tmp_path: Path) -> None:
    """Stills outside the shot and odd sizes; nothing planned makes nothing."""
    master = make_master(tmp_path, frames=3)
    with pytest.raises(ValueError, match="stills"):
        encode(master, tmp_path / "a", "h264", stills=(3,))
    with pytest.raises(ValueError, match="even"):
        encode(master, tmp_path / "b", "h264", width=63)
    assert encode(master, tmp_path / "c") == EncodeReport((), {}, ())
