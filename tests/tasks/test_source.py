"""What a video file is that somebody brings, and which are refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import MediaError
from tasks.source import look_at

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, ffmpeg: str) -> Make:
    """Writes a short file of moving test bars."""

    def made(name: str, *words: str, rate: str = "24", size: str = "64x48", seconds: str = "0.5") -> Path:
        path = tmp_path / name
        source = f"testsrc2=size={size}:rate={rate}:duration={seconds}"
        subprocess.run(
            [ffmpeg, "-v", "error", "-y", "-f", "lavfi", "-i", source, *words, str(path)], check=True, timeout=60
        )
        return path

    return made


@pytest.mark.parametrize("rate", ["24000/1001", "24", "25", "30000/1001", "50", "60000/1001"])
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_rate_is_exact_whatever_the_container(rate: str, ending: str, make: Make) -> None:
    """Also where a clock of milliseconds has blurred it."""
    codec = "libvpx-vp9" if ending == ".webm" else "libx264"
    found = look_at(make(f"a{ending}", "-frames:v", "12", "-c:v", codec, rate=rate))
    assert found.rate == Fraction(rate)
    assert found.frames == 12
    assert (found.width, found.height) == (64, 48)


def test_what_is_left_out_is_said(make: Make) -> None:
    """Sound and transparency."""
    sound = make("s.mp4", "-f", "lavfi", "-i", "sine=duration=0.5", "-c:v", "libx264", "-c:a", "aac", "-shortest")
    assert look_at(sound).notices == ("its sound is left out",)
    clear = make("a.mov", "-vf", "format=yuva444p10le", "-c:v", "prores_ks", "-profile:v", "4")
    assert look_at(clear).notices == ("its transparency is left out",)


def test_a_turned_clip_is_upright(make: Make, tmp_path: Path, ffmpeg: str) -> None:
    """Phones write a note beside the picture; its size is the size that is shown."""
    flat = make("flat.mp4", "-c:v", "libx264")
    turned = tmp_path / "turned.mp4"
    words = ["-display_rotation:v:0", "90", "-i", str(flat), "-c", "copy", str(turned)]
    subprocess.run([ffmpeg, "-v", "error", *words], check=True, timeout=60)
    found = look_at(turned)
    assert (found.width, found.height) == (48, 64)


def test_pixels_become_square(make: Make) -> None:
    """A wide pixel makes a wide picture, and it is said."""
    found = look_at(make("wide.mp4", "-c:v", "libx264", "-vf", "setsar=2/1"))
    assert (found.width, found.height) == (128, 48)
    assert "2:1" in found.notices[0]


@pytest.mark.parametrize(("height", "matrix"), [(48, "bt601"), (720, "bt709")])
def test_an_untagged_file_is_taken_as_players_take_it(height: int, matrix: str, make: Make) -> None:
    """Small pictures for BT.601, large ones for BT.709: the difference is a cast over everything."""
    found = look_at(make("plain.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p", size=f"64x{height}", seconds="0.1"))
    assert f"in_color_matrix={matrix}" in found.filter
    assert "in_range=tv" in found.filter


def test_frames_at_uneven_times_are_refused_unless_told(make: Make) -> None:
    """A phone's clip: the first frame out of step is named; --from-fps takes frames as even."""
    uneven = make("uneven.mkv", "-vf", "setpts='(N+if(gte(N,6),3,0))/24/TB'", "-fps_mode", "vfr", "-c:v", "libx264")
    with pytest.raises(MediaError, match=r"frame \d+ is not shown at .*--from-fps"):
        look_at(uneven)
    assert look_at(uneven, rate=Fraction(24)).frames == 12


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def test_a_cut_file_is_refused(make: Make) -> None:
    """Faststart MP4s decode without complaint as far as they go."""
    cut = make("cut.mp4", "-c:v", "libx264", "-movflags", "+faststart", seconds="2")
    _cut(cut)
    with pytest.raises(MediaError, match=r"not whole|does not decode"):
        look_at(cut)


def test_one_frame_is_nothing_to_retime(make: Make) -> None:
    """There must be a pair."""
    with pytest.raises(MediaError, match="has 1 frame, retiming needs 2"):
        look_at(make("one.mkv", "-frames:v", "1", "-c:v", "ffv1"))


def test_hdr_is_refused(make: Make) -> None:
    """It would come out tagged as what it is not."""
    hdr = make(
        "hdr.mkv", "-vf", "format=yuv420p10le,setparams=color_trc=smpte2084:color_primaries=bt2020", "-c:v", "ffv1"
    )
    with pytest.raises(MediaError, match="HDR, PQ"):
        look_at(hdr)


def test_interlaced_is_refused(make: Make) -> None:
    """Half frames have no between."""
    fields = make("fields.mkv", "-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", rate="25")
    with pytest.raises(MediaError, match=r"interlaced.*bwdif"):
        look_at(fields)


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe", "text", "empty", "sound", "playlist", "url"])
def test_what_is_no_video_is_refused(kind: str, tmp_path: Path, ffmpeg: str, make: Make) -> None:
    """In a sentence, at once; no pipe is waited for and no playlist followed."""
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "text":
        path.write_text("shot,plate\n")
    elif kind == "empty":
        path.touch()
    elif kind == "sound":
        path = tmp_path / "x.wav"
        subprocess.run([ffmpeg, "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.1", str(path)], check=True)
    elif kind == "playlist":
        path = tmp_path / "x.ffconcat"
        path.write_text(
            f"ffconcat version 1.0\nfile {make('inner.mkv', '-c:v', 'ffv1').name}\nfile https://x.invalid/a\n"
        )
    elif kind == "url":
        path = Path("https://x.invalid/a.mp4")
    with pytest.raises(MediaError):
        look_at(path)


def test_the_filter_gives_the_pictures_own_values(make: Make, ffmpeg: str) -> None:
    """Read through it, an RGB file keeps every 12-bit value: nothing is converted twice."""
    path = make("rgb.mkv", "-vf", "format=gbrp12le", "-c:v", "ffv1", seconds="0.1")
    found = look_at(path)
    words = [ffmpeg, "-v", "error", "-i", str(path)]
    tail = ["-f", "rawvideo", "-pix_fmt", "gbrp12le", "-"]
    plain = subprocess.run([*words, *tail], capture_output=True, check=True).stdout
    through = subprocess.run([*words, "-vf", found.filter, *tail], capture_output=True, check=True).stdout
    assert np.array_equal(np.frombuffer(plain, "<u2"), np.frombuffer(through, "<u2"))
