"""Claims about the built-in engine's pixels: exact positions, full depth, no shimmer, and windows that agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.animatic import SOFTEST, Animatic, Span, resample
from models.camera import MOVES, camera_pose
from models.interface import ClipRequest, EngineError, Frame
from models.plate import read_plate

RATE = Fraction(16)
Texture = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def ask(plate: Path, width: int, height: int, **changes: object) -> ClipRequest:
    base: dict[str, object] = {
        "first_frame": 0,
        "frames": 9,
        "shot_frames": 101,
        "native_rate": RATE,
        "seed": 1,
        "shot_seed": 3,
    }
    return ClipRequest(plate, width, height, **(base | changes))  # type: ignore[arg-type]


def made(plate: Path, width: int, height: int, **changes: object) -> list[Frame]:
    return list(Animatic().generate(ask(plate, width, height, **changes), ()))


def texture(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A pattern known at every point; x and y in crop widths and heights, values 0..1."""
    waves = np.sin(61 * x + 17 * y) + np.sin(40 * y - 23 * x + 1) + np.cos(9 * x * y + 5 * x)
    return np.asarray(0.5 + waves / 8)


def paint(path: Path, width: int, height: int, pattern: Texture = texture) -> Path:
    """A 16-bit plate of the pattern, sampled at pixel centres."""
    y, x = np.mgrid[0:height, 0:width]
    values = pattern((x + 0.5) / width, (y + 0.5) / height)
    grey = np.rint(values * 65535).astype(np.uint16)
    cv2.imwrite(str(path), cv2.merge([grey, grey, grey]))
    return path


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("size", [(480, 270), (1280, 720)], ids=["upscaled", "reduced"])
def test_every_pixel_lies_where_the_camera_looks(tmp_path: Path, move: str, size: tuple[int, int]) -> None:
    """Frames over a pattern known at every point differ from the pattern at the pose by less than 0.5 of 255."""
    plate, width, height = paint(tmp_path / "p.png", *size), 320, 180
    for at in (0, 37, 100):
        pose = camera_pose(move, at, shot_frames=101, seed=3, rate=RATE, aspect=width / height)
        y, x = np.mgrid[0:height, 0:width]
        across, down = (x + 0.5 - width / 2) / pose.zoom, (y + 0.5 - height / 2) / pose.zoom
        sin, cos = math.sin(pose.roll), math.cos(pose.roll)
        wanted = texture(
            0.5 + pose.x + (across * cos - down * sin) / width,
            0.5 + pose.y + (across * sin + down * cos) / height,
        )
        frame = made(plate, width, height, first_frame=at, frames=1, camera=move)[0]
        inner = np.abs(frame[4:-4, 4:-4, 1] / 65535 - wanted[4:-4, 4:-4])
        assert inner.max() * 255 < 0.5


@pytest.mark.parametrize(("shot_frames", "fastest"), [(101, 1.0), (1601, 0.1)])
def test_a_slow_pan_moves_by_equal_sub_pixel_amounts_each_frame(
    tmp_path: Path, shot_frames: int, fastest: float
) -> None:
    """Measured by the phase of a sine grating: every step of the steady middle is the same within 0.01 pixel."""
    cycles, width = 30, 320
    plate = paint(tmp_path / "p.png", 640, 360, lambda x, y: 0.5 + 0.4 * np.sin(math.tau * cycles * x) + 0 * y)
    middle = shot_frames // 2
    frames = made(plate, width, 180, first_frame=middle, frames=24, shot_frames=shot_frames, camera="pan right")
    zoom = camera_pose("pan right", 0, shot_frames=shot_frames, seed=0, rate=RATE, aspect=16 / 9).zoom
    frequency = cycles / zoom / width  # cycles per frame pixel
    window = np.hanning(width) * np.exp(-1j * math.tau * frequency * np.arange(width))
    phases = np.unwrap([np.angle((frame[90, :, 0] / 65535 - 0.5) @ window) for frame in frames])
    steps = np.diff(phases) / (math.tau * frequency)
    assert np.ptp(steps) < 0.01
    assert 0.005 < steps.mean() < fastest


def test_fine_texture_keeps_its_contrast_at_every_phase() -> None:
    """No shimmer: noise one pixel fine, shifted by any part of a pixel, varies in contrast by less than 1 %."""
    noise = np.random.default_rng(2).uniform(0, 65535, (3, 200, 300)).astype(np.float32)

    def contrast(shift: float) -> float:
        out = resample(noise, Span(20 + shift, 1.0, 256), Span(20.0, 1.0, 160), least_scale=SOFTEST)
        return float(out[:, 10:-10, 10:-10].std())

    measured = [contrast(shift) for shift in np.linspace(0, 1, 9)]
    assert max(measured) / min(measured) < 1.01


def test_a_reduced_plate_does_not_alias(tmp_path: Path) -> None:
    """Stripes finer than the frame's pixels become even grey, in level and in rolling moves."""
    plate = paint(tmp_path / "p.png", 1280, 720, lambda x, y: 0.5 + 0.5 * np.sin(math.tau * 560 * x) + 0 * y)
    for move in ("still", "push in", "roll", "handheld"):
        frame = made(plate, 320, 180, frames=1, camera=move)[0]
        assert np.ptp(frame[8:-8, 8:-8].astype(int)) < 0.02 * 65535


@pytest.mark.parametrize("move", MOVES)
def test_five_windows_agree_with_one(tmp_path: Path, move: str) -> None:
    """The same shot in one window, or in five chained through context, has the same pixels everywhere."""
    plate = paint(tmp_path / "p.png", 320, 180)
    whole = made(plate, 160, 90, frames=101, camera=move)
    chained: list[Frame] = []
    for first in range(0, 93, 20):
        context = chained[first:]
        count = min(25, 101 - first)
        window = Animatic().generate(ask(plate, 160, 90, first_frame=first, frames=count, camera=move), context)
        chained = chained[:first] + list(window)
    assert len(chained) == 101
    assert all(np.array_equal(one, other) for one, other in zip(whole, chained, strict=True))


def test_the_last_window_may_overhang_the_shot(tmp_path: Path) -> None:
    """Frames past the end of an eased move stand still there."""
    plate = paint(tmp_path / "p.png", 320, 180)
    frames = made(plate, 160, 90, first_frame=14, frames=6, shot_frames=17, camera="push in")
    assert all(np.array_equal(frames[2], frame) for frame in frames[3:])


def test_seeds_change_handheld_motion_and_nothing_else(tmp_path: Path) -> None:
    """Another shot seed drifts otherwise; the window's own seed never matters."""
    plate = paint(tmp_path / "p.png", 320, 180)

    def last(**changes: object) -> Frame:
        return made(plate, 160, 90, **({"camera": "handheld"} | changes))[-1]

    assert not np.array_equal(last(), last(shot_seed=4))
    assert np.array_equal(last(), last(seed=99))
    assert np.array_equal(last(camera="pan left"), last(camera="pan left", shot_seed=4))


def test_still_at_the_plates_size_is_the_plate(tmp_path: Path) -> None:
    """Every pixel passes exactly, in every frame."""
    pixels = np.random.default_rng(3).integers(0, 65536, (90, 160, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "p.png"), pixels[:, :, ::-1])
    for frame in made(tmp_path / "p.png", 160, 90, camera="still", frames=3):
        assert np.array_equal(frame, pixels)


def test_a_16_bit_plate_keeps_its_depth(tmp_path: Path) -> None:
    """A 16-bit ramp comes out with more than 1000 levels, and rises without a step back."""
    plate = paint(tmp_path / "ramp.png", 1600, 90, lambda x, y: x + 0 * y)
    for move in ("push in", "roll"):
        frame = made(plate, 160, 90, camera=move, frames=1)[0]
        assert len(np.unique(frame)) > (1000 if move == "roll" else 150)
    wide = made(plate, 1600, 90, camera="pan left", frames=1)[0]
    assert len(np.unique(wide)) > 1000
    assert (np.diff(wide[45, :, 0].astype(int)) >= 0).all()


def test_the_plate_is_cropped_to_cover_the_frame(tmp_path: Path) -> None:
    """A wide plate loses its sides evenly, a tall one top and bottom; nothing is squeezed."""
    for size, wanted in (((400, 100), (0.375, 0.625)), ((100, 400), (0.0, 1.0))):
        plate = paint(tmp_path / "p.png", *size, lambda x, y: x + 0 * y)
        row = made(plate, 100, 100, camera="still", frames=1)[0][50, :, 0] / 65535
        assert (row[0], row[-1]) == pytest.approx(wanted, abs=0.01)


def test_a_shot_arrives_at_its_end_plate(tmp_path: Path) -> None:
    """The last frame is the end plate bit for bit, the last second dissolves into it, what is before is untouched."""
    start = paint(tmp_path / "a.png", 64, 64)
    goal = paint(tmp_path / "b.png", 64, 64, lambda x, y: 0.2 + 0.5 * y + 0 * x)
    request = {"frames": 41, "shot_frames": 41, "camera": "pan left"}
    plain, frames = made(start, 32, 32, **request), made(start, 32, 32, end_plate=goal, **request)
    assert np.array_equal(frames[-1], made(goal, 32, 32, camera="still", frames=1)[0])
    assert all(np.array_equal(one, other) for one, other in zip(plain[:25], frames[:25], strict=True))
    nearness = [float(np.abs(frame.astype(int) - frames[-1]).mean()) for frame in frames[24:]]
    assert nearness == sorted(nearness, reverse=True)
    context = plain[:3]
    joined = list(Animatic().generate(ask(start, 32, 32, end_plate=goal, frames=9, shot_frames=9), context))
    assert all(np.array_equal(one, other) for one, other in zip(context, joined, strict=False))
    assert np.array_equal(joined[-1], frames[-1])


def test_an_unknown_move_is_refused(tmp_path: Path) -> None:
    """The engine says so before the first frame."""
    plate = paint(tmp_path / "p.png", 64, 64)
    with pytest.raises(EngineError, match="knows no camera move 'whip'"):
        Animatic().generate(ask(plate, 32, 32, camera="whip"), ())


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "16-bit RGB", "16-bit TIFF"])
def test_every_kind_of_still_becomes_16_bit_rgb(tmp_path: Path, mode: str) -> None:
    """White is 65535 in each channel, black 0, whatever the file's depth and colour mode."""
    half = np.zeros((8, 8), np.uint8)
    half[:, 4:] = 255
    path = tmp_path / ("p.tif" if mode in ("CMYK", "16-bit TIFF") else "p.png")
    if mode.startswith("16-bit"):
        deep = half.astype(np.uint16) * 257
        cv2.imwrite(str(path), cv2.merge([deep, deep, deep]))
    elif mode == "I;16":
        Image.fromarray(half.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(half).convert("RGB" if mode in ("LA", "CMYK", "P") else mode).convert(mode).save(path)
    still = read_plate(path)
    assert (still.shape, still.dtype) == ((8, 8, 3), np.uint16)
    assert (still[:, :4] == 0).all()
    assert (still[:, 4:] == 65535).all()


def test_alpha_lies_over_black(tmp_path: Path) -> None:
    """A half transparent white is middle grey, in 8 bits and in 16."""
    Image.new("RGBA", (4, 4), (255, 255, 255, 128)).save(tmp_path / "8.png")
    cv2.imwrite(str(tmp_path / "16.png"), np.full((4, 4, 4), (65535, 65535, 65535, 32896), np.uint16))
    for name in ("8.png", "16.png"):
        assert (read_plate(tmp_path / name) == 32896).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stills_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    """EXIF rotation is applied alike to 8-bit and 16-bit files."""
    pixels = np.random.default_rng(4).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "8.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "8.webp", lossless=True, exif=exif)
    deep = cv2.imencode(".png", pixels[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()
    shallow = (tmp_path / "8.png").read_bytes()
    at = shallow.index(b"eXIf") - 4
    chunk = shallow[at : at + 12 + int.from_bytes(shallow[at : at + 4], "big")]
    (tmp_path / "16.png").write_bytes(deep[:33] + chunk + deep[33:])
    stills = [read_plate(tmp_path / name) for name in ("8.png", "8.webp", "16.png")]
    assert stills[0].shape == ((10, 6, 3) if orientation > 4 else (6, 10, 3))
    assert all(np.array_equal(stills[0], still) for still in stills[1:])


def test_a_corrupt_plate_is_refused_with_its_path(tmp_path: Path) -> None:
    """Neither half a file nor a text file becomes a frame."""
    whole = paint(tmp_path / "whole.png", 64, 64).read_bytes()
    for name, content in (("half.png", whole[: len(whole) // 2]), ("text.jpg", b"not a picture"), ("empty.tif", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EngineError, match=rf"{name} cannot be read"):
            read_plate(tmp_path / name)


def test_neighbouring_frames_of_a_move_differ_a_little(tmp_path: Path) -> None:
    """A move never freezes in its middle and never jumps."""
    plate = paint(tmp_path / "p.png", 320, 180)
    for move in set(MOVES) - {"still"}:
        frames = made(plate, 160, 90, first_frame=40, frames=8, camera=move)
        changes = [np.abs(one.astype(int) - other).mean() / 65535 for one, other in pairwise(frames)]
        assert 1e-4 < min(changes) <= max(changes) < 0.1
