"""What a video file is that somebody brings, and which are refused."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.errors import FfmpegError, MediaError
from tasks.frames import FrameReader
from tasks.measure import watch
from tasks.source import Source, look_at

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


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.mxf", "mpeg2video"),
        ("a.mpg", "mpeg2video"),
        ("a.m2v", "mpeg2video"),
        ("a.nut", "ffv1"),
        ("a.y4m", "rawvideo"),
        ("a.gif", "gif"),
        ("a.flv", "flv"),
        ("a.wmv", "wmv2"),
        ("a.h264", "libx264"),
        ("a.apng", "apng"),
    ],
)
def test_other_containers_are_read_too(name: str, codec: str, make: Make) -> None:
    """No boxes are looked for in a file that has none."""
    found = look_at(make(name, "-c:v", codec, rate="25", seconds="1"))
    assert (found.frames, found.rate) == (25, Fraction(25))


def test_what_is_left_out_is_said(make: Make) -> None:
    """Sound, transparency, timecode, a second video."""
    sound = make("s.mp4", "-f", "lavfi", "-i", "sine=duration=0.5", "-c:v", "libx264", "-c:a", "aac", "-shortest")
    assert look_at(sound).notices == ("its sound is left out",)
    clear = make("a.mov", "-vf", "format=yuva444p10le", "-c:v", "prores_ks", "-profile:v", "4")
    assert look_at(clear).notices == ("its transparency is left out",)
    timed = make("t.mov", "-c:v", "prores_ks", "-timecode", "01:00:00:00")
    assert look_at(timed).notices == ("its timecode, from 01:00:00:00, is left out",)
    two = make("two.mp4", "-map", "0:v", "-map", "0:v", "-c:v", "libx264")
    assert look_at(two).notices == ("1 of its videos are left out, the first is taken",)


def test_a_turned_clip_is_upright(make: Make, tmp_path: Path, ffmpeg: str) -> None:
    """Phones write a note beside the picture; its size is the size that is shown."""
    flat = make("flat.mp4", "-c:v", "libx264")
    turned = tmp_path / "turned.mp4"
    words = ["-display_rotation:v:0", "90", "-i", str(flat), "-c", "copy", str(turned)]
    subprocess.run([ffmpeg, "-v", "error", *words], check=True, timeout=60)
    found = look_at(turned)
    assert (found.width, found.height) == (48, 64)


def test_a_clip_turned_by_an_odd_angle_is_refused(make: Make, tmp_path: Path, ffmpeg: str) -> None:
    """Its corners would be cut off."""
    flat = make("flat.mp4", "-c:v", "libx264")
    turned = tmp_path / "turned.mp4"
    words = ["-display_rotation:v:0", "30", "-i", str(flat), "-c", "copy", str(turned)]
    subprocess.run([ffmpeg, "-v", "error", *words], check=True, timeout=60)
    with pytest.raises(MediaError, match="no multiple of 90 degrees"):
        look_at(turned)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("color_primaries=bt2020", "its colours are BT.2020 and are taken for BT.709"),
        ("color_primaries=smpte432", "its colours are Display P3 and are taken for BT.709"),
        ("color_trc=linear", "its light is linear and is taken for BT.709's curve"),
        ("color_primaries=bt709", ""),
        ("color_primaries=smpte170m", ""),
    ],
)
def test_foreign_colours_are_named(tags: str, said: str, make: Make) -> None:
    """BT.2020 in SDR comes out paler, which nobody should find out on a screen; BT.601 is close enough."""
    found = look_at(make("wide.mkv", "-vf", f"format=yuv420p10le,setparams={tags}", "-c:v", "ffv1"))
    assert found.notices == ((said,) if said else ())


def test_pixels_become_square(make: Make) -> None:
    """A wide pixel makes a wide picture, and it is said."""
    found = look_at(make("wide.mp4", "-c:v", "libx264", "-vf", "setsar=2/1"))
    assert (found.width, found.height) == (128, 48)
    assert "2:1" in found.notices[0]


@pytest.mark.parametrize(("height", "matrix"), [(48, "170m"), (720, "709")])
def test_an_untagged_file_is_taken_as_players_take_it(height: int, matrix: str, make: Make) -> None:
    """Small pictures for BT.601, large ones for BT.709: the difference is a cast over everything."""
    found = look_at(make("plain.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p", size=f"64x{height}", seconds="0.1"))
    assert f"matrixin={matrix}" in found.filter
    assert "rangein=limited" in found.filter


def test_frames_at_uneven_times_are_refused_unless_told(make: Make) -> None:
    """A phone's clip: the first frame out of step is named; --from-fps takes frames as even."""
    uneven = make("uneven.mkv", "-vf", "setpts='(N+if(gte(N,6),3,0))/24/TB'", "-fps_mode", "vfr", "-c:v", "libx264")
    with pytest.raises(MediaError, match=r"frame \d+ is not shown at .*--from-fps"):
        look_at(uneven)
    told = look_at(uneven, rate=Fraction(24))
    assert told.frames == 12
    assert told.notices == ("at 24 frames per second the 0.58 s between its first and last become 0.46 s",)


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def test_a_cut_file_is_refused(make: Make) -> None:
    """Faststart MP4s decode without complaint as far as they go."""
    cut = make("cut.mp4", "-c:v", "libx264", "-movflags", "+faststart", seconds="2")
    _cut(cut)
    with pytest.raises(MediaError, match=r"not whole|does not decode"):
        look_at(cut)


def test_a_cut_avi_is_refused(make: Make) -> None:
    """It has no boxes, but it states its frames."""
    cut = make("cut.avi", "-c:v", "ffv1", seconds="2")
    _cut(cut)
    with pytest.raises(MediaError, match=r"not whole|does not decode"):
        look_at(cut)


@pytest.fixture
def trimmed(make: Make, tmp_path: Path, ffmpeg: str) -> Path:
    """An MP4 of 96 stored RGB frames whose edit list hides the first 12."""
    whole = make("whole.mp4", "-c:v", "libx264rgb", "-qp", "0", "-bf", "2", "-g", "48", seconds="4")
    path = tmp_path / "trimmed.mp4"
    words = ["-ss", "0.5", "-i", str(whole), "-c", "copy", "-movflags", "+faststart", str(path)]
    subprocess.run([ffmpeg, "-v", "error", *words], check=True, timeout=60)
    return path


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def _read(found: Source, ffmpeg: str, count: int) -> list[np.ndarray]:
    size = {"width": found.width, "height": found.height}
    with FrameReader(found.path, ffmpeg=ffmpeg, count=count, conform=found.filter, **size) as reader:
        return list(reader)


@pytest.mark.parametrize("frames", [84, 36])
def test_a_trimmed_mp4_is_what_it_shows(frames: int, trimmed: Path, tmp_path: Path, ffmpeg: str) -> None:
    """An edit list hides frames at the head, and at the tail as a phone's trim does; ffmpeg reads the same frames."""
    data = bytearray(trimmed.read_bytes())
    at = data.index(b"elst") + 12
    (shown,) = struct.unpack(">I", data[at : at + 4])
    data[at : at + 4] = struct.pack(">I", shown * frames // 84)
    trimmed.write_bytes(data)
    found = look_at(trimmed)
    assert (found.frames, found.rate) == (frames, Fraction(24))
    whole = _decoded(tmp_path / "whole.mp4")
    ours = _decoded(trimmed)
    read = _read(found, ffmpeg, frames)
    assert len(ours) == len(read) == frames
    for index in range(frames):
        assert np.array_equal(ours[index], whole[12 + index])
        assert np.array_equal(ours[index], (read[index].astype(np.uint32) + 128) // 257)
    with pytest.raises(MediaError, match=f"ends after {frames} frames.*; repair it first"):
        _read(found, ffmpeg, frames + 1)


@pytest.mark.parametrize("endless", [False, True])
def test_a_cut_trimmed_mp4_is_refused(endless: bool, trimmed: Path) -> None:
    """Also where the box of the data says "to the end of the file", so that only the index knows."""
    data = bytearray(trimmed.read_bytes())
    if endless:
        at = data.index(b"mdat")
        data[at - 4 : at] = bytes(4)
        trimmed.write_bytes(data)
        assert look_at(trimmed).frames == 84
    _cut(trimmed)
    with pytest.raises(MediaError, match=r"not whole|does not decode"):
        look_at(trimmed)


def test_a_users_file_is_to_be_repaired(make: Make, ffmpeg: str) -> None:
    """Nobody can render again what was not rendered here."""
    path = make("a.mp4", "-c:v", "libx264", seconds="2")
    found = look_at(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FfmpegError, match=r"; repair it first$"):
        _read(found, ffmpeg, found.frames)


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


_CORNERS = [(1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0.5, 0.5, 0.5)]
"""R'G'B' of the patches: white, black, primaries, their complements, grey."""
_LUMA = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}
"""Weights of red and blue (ITU-R BT.709-6, BT.601-7, BT.2020-2)."""


def _patches(
    path: Path, pix_fmt: str, *, full: bool, matrix: str, ffmpeg: str, size: tuple[int, int]
) -> list[np.ndarray]:
    """Write a file of one flat frame for each corner; what its codes mean, (3,) from 0 to 1 each."""
    depth = av.VideoFormat(pix_fmt).components[0].bits
    width, height = size
    across, down = (-(-width // 2), -(-height // 2)) if "420" in pix_fmt else (width, height)
    weight_r, weight_b = _LUMA[matrix]
    top = 2**depth - 1
    step = top / 255 if full else 2 ** (depth - 8)
    lift, span, chroma = (0, 255, 255) if full else (16, 219, 224)
    data, meant = b"", []
    for red, green, blue in _CORNERS:
        luma = weight_r * red + (1 - weight_r - weight_b) * green + weight_b * blue
        cb, cr = (blue - luma) / (2 - 2 * weight_b), (red - luma) / (2 - 2 * weight_r)
        middle = 2 ** (depth - 1)
        y = round((lift + span * luma) * step)
        u, v = (min(top, round(middle + chroma * part * step)) for part in (cb, cr))
        kind = "u1" if depth == 8 else "<u2"
        data += np.full(width * height, y, kind).tobytes()
        data += b"".join(np.full(across * down, code, kind).tobytes() for code in (u, v))
        y_, u_, v_ = (y / step - lift) / span, (u - middle) / step / chroma, (v - middle) / step / chroma
        r, b = y_ + (2 - 2 * weight_r) * v_, y_ + (2 - 2 * weight_b) * u_
        g = (y_ - weight_r * r - weight_b * b) / (1 - weight_r - weight_b)
        meant.append(np.clip([r, g, b], 0, 1))
    words = ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", f"{width}x{height}", "-r", "24", "-i", "-"]
    tags = f"setparams=range={'pc' if full else 'tv'}:colorspace={matrix}"
    # FFV1 says nothing of a range, and H.264 takes no odd sizes
    codec = ["libx264", "-qp", "0"] if full else ["ffv1"]
    argv = [ffmpeg, "-v", "error", *words, "-vf", tags, "-c:v", *codec, str(path)]
    subprocess.run(argv, input=data, check=True, timeout=60)
    return meant


@pytest.mark.parametrize("matrix", list(_LUMA))
@pytest.mark.parametrize(("full", "size"), [(False, (32, 18)), (False, (33, 19)), (True, (32, 18))])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le", "yuv444p10le"])
def test_white_is_white_and_every_primary_itself(
    pix_fmt: str, full: bool, matrix: str, size: tuple[int, int], tmp_path: Path, ffmpeg: str
) -> None:
    """To a code of 12 bits, whatever depth, range, matrix and size: not 4080 of 4095 for white."""
    path = tmp_path / "patches.mkv"
    meant = _patches(path, pix_fmt, full=full, matrix=matrix, ffmpeg=ffmpeg, size=size)
    read = _read(look_at(path), ffmpeg, len(meant))
    for picture, value in zip(read, meant, strict=True):
        assert np.abs(picture / 65535 - value).max() * 4095 <= 1.01
    assert read[0].min() == 65535
    assert read[1].max() == 0


@pytest.mark.parametrize("pix_fmt", ["gbrp", "gbrp10le", "gbrp16le", "bgra", "rgb48le", "rgba64le"])
def test_white_of_rgb_is_white(pix_fmt: str, tmp_path: Path, ffmpeg: str) -> None:
    """Also where it has fewer bits than the working frames, or more."""
    path = tmp_path / "white.nut"
    depth = av.VideoFormat(pix_fmt).components[0].bits
    parts = 4 if "a" in pix_fmt else 3
    white = np.full(32 * 18 * parts * 2, 2**depth - 1, "u1" if depth == 8 else "<u2").tobytes()
    words = ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", "32x18", "-r", "24", "-i", "-", "-c:v", "rawvideo"]
    subprocess.run([ffmpeg, "-v", "error", *words, str(path)], input=white, check=True, timeout=60)
    for picture in _read(look_at(path), ffmpeg, 2):
        assert picture.min() == 65535


@pytest.mark.parametrize(("place", "shift"), [("left", 0.0), ("center", 0.5)])
def test_chroma_lies_where_the_file_says(place: str, shift: float, tmp_path: Path, ffmpeg: str) -> None:
    """A ramp of red that is sampled half a pixel further right comes out half a pixel further right."""
    path = tmp_path / "ramp.mkv"
    codes = (np.arange(64) + 96).astype("u1")
    data = np.full(128 * 16, 120, "u1").tobytes() + bytes([128]) * (64 * 8) + np.tile(codes, 8).tobytes()
    words = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "128x16", "-r", "24", "-i", "-"]
    tags = f"setparams=range=tv:colorspace=bt709:chroma_location={place}"
    argv = [ffmpeg, "-v", "error", *words, "-vf", tags, "-c:v", "ffv1", str(path)]
    subprocess.run(argv, input=data * 2, check=True, timeout=60)
    row = _read(look_at(path), ffmpeg, 1)[0][8, 16:112, 0] / 65535
    at = np.arange(16, 112)
    wanted = (120 - 16) / 219 + 1.5748 * (96 + (at - shift) / 2 - 128) / 224
    assert np.abs(row - wanted).max() < 0.0015


@pytest.mark.parametrize("codec", ["prores_ks", "libx264"])
def test_a_damaged_frame_is_named(codec: str, make: Make) -> None:
    """By the number that inspection gives it, before anything is made of the file; not in a decoder's words."""
    path = make("flaw.mov", "-c:v", codec, "-g", "4", "-bf", "0", size="192x108", seconds="1")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    at, size = packets[13]
    data[at + size // 2 : at + size - 8] = bytes([0x55]) * (size - 8 - size // 2)
    path.write_bytes(data)
    first = watch(path, rate=Fraction(24), clock=Fraction(0)).broken_at
    assert 12 <= first <= 14
    with pytest.raises(MediaError, match=rf"frame {1001 + first} is damaged \(the first is 1001\)"):
        look_at(path)
