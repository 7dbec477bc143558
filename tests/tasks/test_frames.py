"""Frames on disk and back, and what happens when ffmpeg does not play along."""

from __future__ import annotations

import os
import signal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from models.interface import Frame
from tasks.errors import FfmpegError, MediaError
from tasks.ffmpeg import clip_argv, master_argv
from tasks.frames import FrameWriter, from_working, output_of, read_frames, run, to_working

RATE = Fraction(24000, 1001)


def _noise(seed: int, width: int = 66, height: int = 34) -> Frame:
    return np.random.default_rng(seed).integers(0, 65536, (height, width, 3), dtype=np.uint16)


def _write(path: Path, frames: list[Frame], ffmpeg: str) -> None:
    height, width, _ = frames[0].shape
    argv = clip_argv(ffmpeg, path, width=width, height=height, rate=RATE)
    with FrameWriter(argv, width=width, height=height, what="test") as writer:
        for frame in frames:
            writer.write(frame)


def test_working_values_survive_the_round_trip() -> None:
    """All 4096 values of the working format come back as they were, and 16 bits are rounded to the nearest of them."""
    planes = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64).repeat(3, axis=0)
    assert np.array_equal(to_working(from_working(planes)), planes)
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    error = np.abs(from_working(to_working(every)).astype(int) - every.astype(int))
    assert error.max() <= 65535 / 4095 / 2 + 1
    assert from_working(to_working(every)).max() == 65535


def test_conversion_is_division_rounded() -> None:
    """All 65,536 values one way and all 4,096 the other are what exact division gives, half way down."""
    every = np.arange(65536, dtype=np.uint16)
    frame = every.reshape(128, 512, 1).repeat(3, axis=2)
    exact = ((np.arange(65536, dtype=np.uint32) * 4095 + 32767) // 65535).reshape(128, 512)
    assert all(np.array_equal(plane, exact) for plane in to_working(frame))
    planes = every[:4096].reshape(1, 8, 512).repeat(3, axis=0)
    exact = ((np.arange(4096, dtype=np.uint32) * 65535 + 2047) // 4095).reshape(8, 512)
    assert all(np.array_equal(from_working(planes)[..., channel], exact) for channel in range(3))


def test_channels_keep_their_places() -> None:
    """RGB in memory is G, B, R on disk, and RGB again."""
    frame = np.zeros((2, 3, 3), np.uint16)
    frame[..., 0], frame[..., 1], frame[..., 2] = 65535, 16, 32
    planes = to_working(frame)
    assert [int(plane[0, 0]) for plane in planes] == [1, 2, 4095]


@pytest.mark.parametrize("builder", [clip_argv, master_argv])
def test_clips_and_masters_are_lossless(builder: object, ffmpeg: str, tmp_path: Path) -> None:
    """What is read is what was written, bit for bit, at odd sizes too."""
    frames = [from_working(to_working(_noise(seed, 65, 33))) for seed in range(7)]
    path = tmp_path / "a.mkv"
    argv = builder(ffmpeg, path, width=65, height=33, rate=RATE)  # type: ignore[operator]
    with FrameWriter(argv, width=65, height=33, what="test") as writer:
        for frame in frames:
            writer.write(frame)
    back = list(read_frames(path, ffmpeg=ffmpeg, width=65, height=33))
    assert len(back) == 7
    assert all(np.array_equal(one, other) for one, other in zip(frames, back, strict=True))


def test_any_span_can_be_read(ffmpeg: str, tmp_path: Path) -> None:
    """Frames are counted, so a span in the middle is exactly those frames."""
    frames = [from_working(to_working(_noise(seed))) for seed in range(9)]
    _write(tmp_path / "a.mkv", frames, ffmpeg)
    span = list(read_frames(tmp_path / "a.mkv", ffmpeg=ffmpeg, width=66, height=34, first=4, count=3))
    assert all(np.array_equal(one, other) for one, other in zip(frames[4:7], span, strict=True))
    assert len(list(read_frames(tmp_path / "a.mkv", ffmpeg=ffmpeg, width=66, height=34))) == 9


def test_a_clip_that_ends_early_is_an_error(ffmpeg: str, tmp_path: Path) -> None:
    """Fewer frames than promised are never passed on in silence."""
    _write(tmp_path / "a.mkv", [_noise(seed) for seed in range(4)], ffmpeg)
    with pytest.raises(MediaError, match="ends after 4 frames, 5 were expected"):
        list(read_frames(tmp_path / "a.mkv", ffmpeg=ffmpeg, width=66, height=34, count=5))


def test_a_damaged_clip_is_an_error(ffmpeg: str, tmp_path: Path) -> None:
    """A file cut in half does not read as a shorter one."""
    path = tmp_path / "a.mkv"
    _write(path, [_noise(seed) for seed in range(8)], ffmpeg)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((FfmpegError, MediaError)):
        list(read_frames(path, ffmpeg=ffmpeg, width=66, height=34, count=8))


def test_a_killed_writer_says_so(ffmpeg: str, tmp_path: Path) -> None:
    """ffmpeg killed while it writes is a named error, not a short file."""
    argv = clip_argv(ffmpeg, tmp_path / "a.mkv", width=66, height=34, rate=RATE)
    with pytest.raises(FfmpegError, match=r"AGM_SH0010_v001.*signal 9"):  # noqa: SIM117 - the error leaves the inner one
        with FrameWriter(argv, width=66, height=34, what="AGM_SH0010_v001") as writer:
            writer.write(_noise(0))
            os.kill(writer._child.pid, signal.SIGKILL)
            for seed in range(200):
                writer.write(_noise(seed))


def test_a_block_left_by_an_exception_kills_ffmpeg(ffmpeg: str, tmp_path: Path) -> None:
    """No process is left behind when a step fails for another reason."""
    argv = clip_argv(ffmpeg, tmp_path / "a.mkv", width=66, height=34, rate=RATE)
    with pytest.raises(RuntimeError), FrameWriter(argv, width=66, height=34, what="x") as writer:
        raise RuntimeError
    assert writer._child.returncode == -signal.SIGKILL


def test_a_reader_that_is_left_kills_ffmpeg(ffmpeg: str, tmp_path: Path) -> None:
    """Taking one frame and closing leaves no decoder behind, and raises nothing."""
    _write(tmp_path / "a.mkv", [_noise(seed) for seed in range(30)], ffmpeg)
    reader = read_frames(tmp_path / "a.mkv", ffmpeg=ffmpeg, width=66, height=34)
    next(reader)
    reader.close()
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if mine.exists():  # Linux
        commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in mine.read_text().split()]
        assert not [command for command in commands if str(tmp_path).encode() in command]


def test_frames_of_another_shape_are_refused(ffmpeg: str, tmp_path: Path) -> None:
    """A frame of the wrong size or depth is a defect of the caller, said at once."""
    argv = clip_argv(ffmpeg, tmp_path / "a.mkv", width=66, height=34, rate=RATE)
    for wrong in (_noise(0, 64, 34), _noise(0).astype(np.uint8)):
        with pytest.raises(ValueError, match="uint16"), FrameWriter(argv, width=66, height=34, what="x") as writer:
            writer.write(wrong)  # type: ignore[arg-type]


def test_commands_that_fail_carry_ffmpegs_words(ffmpeg: str) -> None:
    """The error holds what ffmpeg said and what the work was."""
    with pytest.raises(FfmpegError, match="encode of X"):
        run([ffmpeg, "-v", "error", "-i", "/nonexistent.mkv", "-f", "null", "-"], what="encode of X")
    with pytest.raises(FfmpegError, match="does not run"):
        output_of(["/nonexistent/ffmpeg", "-version"])
    assert "ffmpeg" in output_of([ffmpeg, "-version"])
