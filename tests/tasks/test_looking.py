"""What is measured on pictures is right, whatever they are coded as: planes, light, drift, plates, harmful flashes."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from planted import FRAMES, HEIGHT, WIDTH, codes, findings, lit, pan, still

from models.interface import Frame
from models.plate import read_plate
from tasks.drift import DriftWatch, compared
from tasks.flashes import FlashCount
from tasks.inspect import Expectation
from tasks.inspect_take import carrier
from tasks.looks import Looker
from tasks.pixels import PixelWatch
from tasks.planes import Floats, Picture, picture_of
from tasks.plates import see_plate

FORMATS = (
    "yuv420p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuvj420p",
    "nv12",
    "rgb24",
    "rgb48be",
    "gbrp",
    "p010le",
)
SHARES = np.array([0.2126, 0.7152, 0.0722], np.float32)


def coded(frame: Frame, pix_fmt: str) -> av.VideoFrame:
    """As a decoder would give it, tagged BT.709."""
    made = av.VideoFrame.from_ndarray(frame, format="rgb48le")
    full = pix_fmt == "yuvj420p" or "rgb" in pix_fmt or "gbr" in pix_fmt
    made = made.reformat(format=pix_fmt, dst_colorspace="ITU709", dst_color_range="JPEG" if full else "MPEG")
    if "yuv" in pix_fmt or pix_fmt in ("nv12", "p010le"):
        made.colorspace = 1
        made.color_range = 2 if full else 1
    return made


def small(frame: Frame) -> tuple[Floats, Floats]:
    """Luma and colour of a frame in 1/255, at its own size."""
    rgb = frame.astype(np.float32) / 257
    luma = rgb @ SHARES
    return luma, np.stack([(rgb[..., 2] - luma) / 1.8556, (rgb[..., 0] - luma) / 1.5748], axis=-1)


def grown(frame: Frame, gain: float) -> Frame:
    """More saturated, of the same luma."""
    luma = (frame @ SHARES)[..., None]
    return np.clip(luma + (frame - luma) * np.float32(gain), 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_format_shows_the_same_picture(pix_fmt: str) -> None:
    """Luma within a level (swscale, which codes it here, rounds up), colour likewise, and R'G'B' again as it was."""
    frame = cv2.GaussianBlur(pan(1)[0], (0, 0), 3)
    picture = picture_of(coded(frame, pix_fmt))
    luma, colour = small(frame)
    assert picture.small.shape == (HEIGHT, WIDTH)
    assert np.abs(picture.small - luma).mean() < 0.7
    assert np.abs(picture.colour - colour).mean() < 1.0
    assert np.abs(picture.rgb() - frame / 257).mean() < 1.5
    assert picture.limited is ("yuv4" in pix_fmt or pix_fmt in ("nv12", "p010le"))


def test_a_grey_file_has_no_colour() -> None:
    """Nor does it break anything."""
    made = av.VideoFrame.from_ndarray((pan(1)[0][..., 0] >> 8).astype(np.uint8), format="gray")
    assert float(np.abs(picture_of(made).colour).max()) == 0


def seen(frames: list[Frame]) -> Looker:
    looker = Looker(second=24, flashes=3, area=0.25)
    for frame in frames:
        looker.see(picture_of(coded(frame, "yuv444p10le")))
    looker.end()
    return looker


@pytest.mark.parametrize("gain", [0.9, 0.97, 1.03, 1.2])
def test_light_is_told_from_motion(gain: float) -> None:
    """A pan gains no light; what is switched on is measured within a fifth, the floor of black aside."""
    frames = pan(8)
    looks = seen(frames[:4] + [lit(frame, gain) for frame in frames[4:]]).looks
    assert max(abs(look.light) for index, look in enumerate(looks) if index != 4) < 0.004
    assert looks[4].light == pytest.approx(math.log(gain), rel=0.2)


@pytest.mark.parametrize("gain", [0.9, 0.97, 1.03, 1.1])
@pytest.mark.parametrize("step", [0.5, 3.0])
def test_saturation_is_followed_along_the_motion(gain: float, step: float) -> None:
    """Three per cent over a pan that leaves nothing of the first frame in sight are measured within half of one."""
    watch = DriftWatch()
    frames = pan(36, step=step)
    for index, frame in enumerate(frames[::6]):
        watch.see(index * 6, *small(grown(frame, 1 + (gain - 1) * index / 5)))
    assert [key.index for key in watch.keys] == [0, 6, 12, 18, 24, 30]
    assert math.expm1(watch.keys[-1].change.saturation) == pytest.approx(gain - 1, abs=0.006)


def test_nothing_drifts_in_a_pan_or_a_zoom() -> None:
    """Other things come into sight, and nearer."""
    whole = still()
    one, other = pan(1)[0], pan(21)[-1]
    assert abs(compared(small(one), small(other)).saturation) < 0.004
    turn = np.array([[0.8, 0, 40], [0, 0.8, 30]], np.float32)
    near = cv2.warpAffine(whole, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    assert abs(compared(small(one), small(np.asarray(near, np.uint16))).saturation) < 0.012


def pushed(deeper: float, *, planted: bool) -> int:
    """Pixels that are held for stuck in a push-in over a city's windows, to `deeper` times the size."""
    picture = read_plate(Path(__file__).resolve().parents[2] / "examples" / "plates" / "city.jpg")
    whole = np.asarray(cv2.resize(picture, (600, 338), interpolation=cv2.INTER_AREA), np.uint16)
    watch = PixelWatch(contrast=20)
    for at in range(12):
        size = 1 / (1.05 * (1 + (deeper - 1) * at / 11))
        turn = np.array([[size, 0, 300 - 240 * size], [0, size, 169 - 135 * size]], np.float32)
        frame = cv2.warpAffine(whole, turn, (480, 270), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        if planted:
            frame[60, 70] = 65535
        watch.see(picture_of(coded(np.asarray(frame, np.uint16), "yuv422p10le")))
    return len(watch.stuck())


def test_a_light_that_hardly_moves_is_no_dead_pixel() -> None:
    """In a slow push windows stay where they are; a pixel that the picture has moved past does not go with it."""
    assert [pushed(deeper, planted=False) for deeper in (1.01, 1.02, 1.04, 1.2)] == [0, 0, 0, 0]
    assert pushed(1.2, planted=True) == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_behind_a_cut_drift_is_measured_anew(wanted: bool, tmp_path: Path) -> None:
    """Another place in other colours has not drifted; what drifts within it has, from its own first frame."""
    other = [grown(frame, 1.3) for frame in pan(60, step=1, picture=np.ascontiguousarray(still()[::-1, ::-1]))]
    known = {"cuts": (59,)} if wanted else {}
    first = pan(60, step=1)
    assert "drift" not in codes(findings([*first, *other], tmp_path, **known))
    drifting = [grown(frame, 1 + 0.06 * at / 59) for at, frame in enumerate(other)]
    [found] = [one for one in findings([*first, *drifting], tmp_path, **known) if one.code == "drift"]
    assert 60 <= found.frame_in < 73
    assert found.frame_out >= 108


def plated(frame: Frame, folder: Path) -> Path:
    path = folder / "plate.png"
    Image.fromarray((frame >> 8).astype(np.uint8)).save(path)
    return path


def test_a_shot_is_held_against_its_plate(tmp_path: Path) -> None:
    """Its own: nothing. Another, a mirrored one, one in other colours: the first frame. Drift counts from there."""
    frames = pan()
    own = see_plate(plated(frames[0], tmp_path), width=WIDTH, height=HEIGHT)
    assert findings(frames, tmp_path, plate=own) == ()
    for altered in (frames[0][:, ::-1], frames[0][::-1], lit(frames[0], 0.8), grown(frames[0], 1.2)):
        plate = see_plate(plated(np.ascontiguousarray(altered), tmp_path), width=WIDTH, height=HEIGHT)
        assert codes(findings(frames, tmp_path, plate=plate)) == {"first_frame"}
    redder = [grown(frame, 1 + 0.08 * at / FRAMES) for at, frame in enumerate(frames)]
    assert codes(findings(redder, tmp_path, plate=own)) == {"drift"}
    assert findings(redder, tmp_path, plate=own, arrives=True) == ()


def test_what_the_plate_has_is_no_fault(tmp_path: Path) -> None:
    """Bars, black, one colour."""
    barred = pan()
    for frame in barred:
        frame[:12] = frame[-12:] = 0
    plate = see_plate(plated(barred[0], tmp_path), width=WIDTH, height=HEIGHT)
    assert plate.bars[:2] == (12, 12)
    assert findings(barred, tmp_path, plate=plate) == ()
    for level in (0, 30000):
        flat = [np.full_like(frame, level) for frame in pan()]
        plate = see_plate(plated(flat[0], tmp_path), width=WIDTH, height=HEIGHT)
        assert findings(flat, tmp_path, plate=plate) == ()


def test_flashes_are_counted_in_pairs_and_within_a_second() -> None:
    """Three a second are safe, four are not; nor do four count in a tenth of the picture, or in what moves."""

    def worst(period: int, area: float = 1.0) -> float:
        count = FlashCount(second=24, flashes=3, area=0.25)
        found = 0.0
        for at in range(72):
            frame = np.full((90, 160, 3), 60.0, np.float32)
            frame[: round(90 * area)] = 200 if at // period % 2 else 60
            found = max(found, count.see(frame))
        return found

    assert worst(4) == 0
    assert worst(3) == 1
    assert worst(3, area=0.1) == 0
    count, stripes = FlashCount(second=24, flashes=3, area=0.25), np.zeros((90, 480, 3), np.float32)
    stripes[:, np.arange(480) // 20 % 2 == 0] = 220
    assert max(count.see(np.ascontiguousarray(stripes[:, 7 * at : 7 * at + 160])) for at in range(45)) == 0


def test_the_best_file_is_looked_at() -> None:
    """Most bits and the largest chroma; never one with words burnt in, whose counter moves."""

    def looked_at(*kinds: str) -> int | None:
        size = (24, Fraction(24), 96, 64)
        return carrier([Expectation(kind.strip("*"), "", *size, burnt=kind.endswith("*")) for kind in kinds])

    assert looked_at("webm", "h265", "prores") == 2
    assert looked_at("h264", "png", "webm") == 1
    assert looked_at("prores*", "webm") == 1
    assert looked_at("h264*") is None
    assert looked_at("exr") is None


def test_a_picture_can_be_of_any_size() -> None:
    """A few pixels, or a tall strip: nothing breaks, and nothing is found."""
    for height, width in ((16, 16), (64, 2), (2, 400), (500, 36)):
        frame = np.full((height, width, 3), 20000, np.uint16)
        picture: Picture = picture_of(coded(frame, "yuv444p10le"))
        assert Looker(second=24, flashes=3, area=0.25).see(picture).contrast < 1
