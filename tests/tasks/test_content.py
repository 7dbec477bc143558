"""Planted faults are found in encoded files, each by its code and in its frames; clean ones have no findings.

Sizes are those of small faults; benchmarks/inspection.py plants more of them, in more kinds of footage.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from planted import FRAMES, HEIGHT, WIDTH, altered, codes, encoded, findings, lit, mastered, pan, still

from catalogs.footage import Severity
from models.interface import Frame
from tasks.inspect import Expectation
from tasks.inspect_take import inspect_one
from tasks.known import Known
from tasks.limits import read_limits, shipped


def black(at: int, frame: Frame) -> Frame:
    return np.zeros_like(frame)


def bars(rows: int) -> Callable[[int, Frame], Frame]:
    def alter(at: int, frame: Frame) -> Frame:
        made = frame.copy()
        made[:rows] = made[-rows:] = 0
        return made

    return alter


def only(found: tuple, code: str) -> tuple[int, int]:
    """Frames of the one finding that there is."""
    assert [one.code for one in found] == [code], found
    return found[0].frame_in, found[0].frame_out


@pytest.mark.parametrize("kind", ["prores", "h265", "webm", "h264"])
def test_a_clean_pan_has_no_findings(kind: str, tmp_path: Path) -> None:
    """In every format that can be looked at."""
    assert findings(pan(), tmp_path, kind) == ()


@pytest.mark.parametrize(("first", "end"), [(10, 11), (5, 8), (FRAMES - 1, FRAMES), (0, 2)])
def test_black_frames(first: int, end: int, tmp_path: Path) -> None:
    """One is enough, at the ends as well, and they are named exactly."""
    found = findings(altered(first, end, black), tmp_path)
    assert ("black", first, end) in [(one.code, one.frame_in, one.frame_out) for one in found]
    assert all(one.severity is Severity.ISSUE for one in found)


@pytest.mark.parametrize("level", [0, 300, 1200])
def test_a_black_shot_is_a_blocker(level: int, tmp_path: Path) -> None:
    """Whatever little is left in it."""
    found = findings([np.full_like(frame, level) for frame in pan()], tmp_path)
    assert only(found, "black") == (0, FRAMES)
    assert found[0].severity is Severity.BLOCKER


@pytest.mark.parametrize("to", [0.0, 1.0])
def test_fades_are_no_faults(to: float, tmp_path: Path) -> None:
    """From black and to black: the frames of black that they lead from and to are wanted."""
    frames = pan()
    ways = np.clip(np.abs(np.arange(FRAMES) / (FRAMES - 1) - to) * 1.6 - 0.15, 0, 1)
    assert findings([lit(frame, way) for frame, way in zip(frames, ways, strict=True)], tmp_path) == ()


@pytest.mark.parametrize("count", [2, 3, 8])
def test_frozen_frames(count: int, tmp_path: Path) -> None:
    """The picture that is held is counted too: a frame shown twice is the least of it."""
    frames = pan()
    found = findings([frames[8] if 8 <= at < 8 + count else frame for at, frame in enumerate(frames)], tmp_path)
    assert only(found, "frozen") == (8, 8 + count)


def test_a_frozen_shot_is_a_blocker_unless_it_was_asked_for(tmp_path: Path) -> None:
    """`camera: still` is a wish."""
    frames = [pan()[0]] * FRAMES
    found = findings(frames, tmp_path)
    assert only(found, "frozen") == (0, FRAMES)
    assert found[0].severity is Severity.BLOCKER
    assert findings(frames, tmp_path, still=True) == ()


def test_keyframes_do_not_move_a_frozen_shot(tmp_path: Path) -> None:
    """Each codes the picture anew, a little differently; what is pushed very slowly moves all the same."""
    found = findings([pan()[0]] * 40, tmp_path, "h264")
    assert ("frozen", Severity.BLOCKER) in {(one.code, one.severity) for one in found}, found
    assert Severity.BLOCKER not in {one.severity for one in findings(pan(40, step=0.02), tmp_path, "h264")}


def test_a_slow_start_is_not_frozen(tmp_path: Path) -> None:
    """A move that begins and ends gently has neighbours that hardly differ."""
    way = np.linspace(0, 1, FRAMES)
    steps = 60 * way * way * (3 - 2 * way)
    whole = still()
    frames = []
    for step in steps:
        turn = np.array([[1, 0, step + 4], [0, 1, 10]], np.float32)
        moved = cv2.warpAffine(whole, turn, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        frames.append(np.asarray(moved, np.uint16))
    assert findings(frames, tmp_path) == ()


@pytest.mark.parametrize("sigma", [0.003, 0.01, 0.02])
def test_a_shot_that_goes_nowhere(sigma: float, tmp_path: Path) -> None:
    """Grain is no movement."""
    random = np.random.default_rng(1)
    base = pan()[0].astype(np.float32)
    frames = [
        np.clip(base + random.normal(0, sigma * 65535, base.shape), 0, 65535).astype(np.uint16) for _ in range(FRAMES)
    ]
    assert only(findings(frames, tmp_path), "still") == (0, FRAMES)


def test_what_moves_finely_is_not_still(tmp_path: Path) -> None:
    """A page of letters that is scrolled is as grey in every part as it was before."""
    cells = np.random.default_rng(3).integers(0, 2, (HEIGHT + 40, (WIDTH + 120) // 4, 1), np.uint8)
    page = np.repeat(np.repeat(cells, 4, axis=1), 3, axis=2).astype(np.uint16) * 40000 + 9000
    page = np.repeat(page[::4], 4, axis=0)[: HEIGHT + 40]
    assert "still" not in codes(findings(pan(picture=page, step=3), tmp_path))


def test_a_title_that_is_faded_in_has_not_stopped(tmp_path: Path) -> None:
    """What stands between two fades does not move before or behind it either."""
    card = np.zeros((HEIGHT, WIDTH, 3), np.uint16)
    card[50:130, 60:260] = 58000
    light = [*np.linspace(0.2, 1, 7), *[1.0] * 10, *np.linspace(1, 0.2, 7)]
    assert "frozen" not in codes(findings([lit(card, share) for share in light], tmp_path))


@pytest.mark.parametrize(("gain", "count"), [(1.04, 1), (0.96, 1), (1.1, 2), (0.7, 3), (1.5, 1)])
def test_flashes(gain: float, count: int, tmp_path: Path) -> None:
    """From 4 % on, lighter and darker, of up to three frames."""
    found = findings(altered(12, 12 + count, lambda at, frame: lit(frame, gain)), tmp_path)
    assert only(found, "flash") == (12, 12 + count)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_frames_of_another_picture(count: int, tmp_path: Path) -> None:
    """What comes back after them is what was before."""
    frames, other = pan(), pan(picture=np.ascontiguousarray(still()[::-1, ::-1]))
    frames[10 : 10 + count] = other[10 : 10 + count]
    assert only(findings(frames, tmp_path), "flash") == (10, 10 + count)


@pytest.mark.parametrize("kind", ["prores", "h264"])
@pytest.mark.parametrize(("gain", "count"), [(1.04, 1), (0.96, 2), (1.1, 3)])
def test_a_flash_at_an_end_does_not_come_back(gain: float, count: int, kind: str, tmp_path: Path) -> None:
    """Nor has it come: the first frames, and the last, in another light."""
    for first in (0, FRAMES - count):
        found = findings(altered(first, first + count, lambda at, frame: lit(frame, gain)), tmp_path, kind)
        assert only(found, "flash") == (first, first + count)
        assert ("lighter" in found[0].value) is (gain > 1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_end_of_another_picture_is_no_cut(count: int, tmp_path: Path) -> None:
    """Three frames are no shot. Where a cut was asked for nothing is said."""
    other = pan(picture=np.ascontiguousarray(still()[::-1, ::-1]))
    frames = [*other[:count], *pan()[count:]]
    assert only(findings(frames, tmp_path), "flash") == (0, count)
    assert findings(frames, tmp_path, cuts=(count - 1,)) == ()
    frames = [*pan()[:-count], *other[-count:]]
    assert only(findings(frames, tmp_path), "flash") == (FRAMES - count, FRAMES)


def test_a_lamp_that_warms_up_is_no_flash(tmp_path: Path) -> None:
    """Light that goes on rising behind the first frames, or falling before the last ones, was meant."""
    up = altered(0, 6, lambda at, frame: lit(frame, 0.7 + 0.05 * at))
    down = altered(FRAMES - 6, FRAMES, lambda at, frame: lit(frame, 0.95 ** (at - FRAMES + 7)))
    assert "flash" not in codes(findings(up, tmp_path)) | codes(findings(down, tmp_path))


@pytest.mark.parametrize("amplitude", [0.015, 0.04, 0.08])
def test_flicker(amplitude: float, tmp_path: Path) -> None:
    """Light that trembles is one finding, and no row of flashes."""
    found = findings(altered(0, FRAMES, lambda at, frame: lit(frame, 0.9 + amplitude * (-1) ** at)), tmp_path)
    assert "flicker" in codes(found)
    assert "flash" not in codes(found)


@pytest.mark.parametrize("at", [6, 12, 18])
def test_cuts(at: int, tmp_path: Path) -> None:
    """A shot is one take, unless the plan says otherwise."""
    other = pan(picture=np.ascontiguousarray(still()[::-1, ::-1]))
    frames = [*pan()[:at], *other[at:]]
    assert ("cut", at - 1) in [(one.code, one.frame_in) for one in findings(frames, tmp_path)]
    assert "cut" not in codes(findings(frames, tmp_path, cuts=(at - 1,)))


@pytest.mark.parametrize("rows", [3, 8, 20])
def test_letterboxes(rows: int, tmp_path: Path) -> None:
    """Their rows are counted at full size."""
    found = findings(altered(0, FRAMES, bars(rows)), tmp_path)
    assert only(found, "letterbox") == (0, FRAMES)
    assert found[0].value == f"black bars: {rows} px at the top, {rows} px at the bottom"


@pytest.mark.parametrize("sigma", [1.5, 2.5, 4.0])
def test_growing_blur(sigma: float, tmp_path: Path) -> None:
    """Detail that is lost by the end."""
    found = findings(
        altered(0, FRAMES, lambda at, f: np.asarray(cv2.GaussianBlur(f, (0, 0), 0.05 + sigma * at / FRAMES))), tmp_path
    )
    assert "blur" in codes(found)


@pytest.mark.parametrize(("value", "places"), [(65535, [(60, 200)]), (0, [(100, 40)]), (65535, [(20, 20), (150, 300)])])
def test_stuck_pixels(value: int, places: list[tuple[int, int]], tmp_path: Path) -> None:
    """One white or black pixel that stays while everything moves."""

    def hot(at: int, frame: Frame) -> Frame:
        made = frame.copy()
        for y, x in places:
            made[y, x] = value
        return made

    found = findings(altered(0, FRAMES, hot), tmp_path)
    assert codes(found) == {"dead_pixel"}
    assert (
        f"pixel {places[0][1]},{places[0][0]}" in found[0].value or f"{places[-1][1]},{places[-1][0]}" in found[0].value
    )


@pytest.mark.parametrize("period", [2, 3])
def test_harmful_flashes(period: int, tmp_path: Path) -> None:
    """Six and four a second over the whole picture; the hint says that it is no certificate."""
    frames = altered(0, FRAMES, lambda at, frame: lit(frame, 0.25 if at // period % 2 else 1.25))
    (found,) = [one for one in findings(frames * 2, tmp_path) if one.code == "photosensitive"]
    assert "not certified" in found.value


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        *((levels, kind) for levels in (100, 64, 32) for kind in ("prores", "h265")),
        # treads of 5 pixels down the picture are less than what dither is averaged over
        *((levels, kind) for levels in (64, 48, 32) for kind in ("webm", "h264")),
    ],
)
def test_banding(levels: int, kind: str, tmp_path: Path) -> None:
    """A gradient of too few steps, also under the dither of 8-bit formats; the same in full is clean."""
    slope = np.linspace(0.2, 0.6, HEIGHT + 40, dtype=np.float32)[:, None] + np.linspace(0, 0.2, WIDTH + 120)[None]
    whole = np.repeat(slope[..., None], 3, axis=2)
    few = np.floor(whole * levels) / levels
    assert "banding" in codes(findings(pan(picture=(few * 65535).astype(np.uint16)), tmp_path, kind))
    assert "banding" not in codes(findings(pan(picture=(whole * 65535).astype(np.uint16)), tmp_path, kind))


def test_full_range_in_a_limited_file(tmp_path: Path) -> None:
    """Values that the tags do not allow for."""
    strong = altered(
        0, FRAMES, lambda at, f: np.clip((f.astype(np.float32) - 32768) * 3 + 32768, 0, 65535).astype(np.uint16)
    )
    assert "range" in codes(findings(strong, tmp_path, words={"range=limited": "range=full"}))
    assert "range" not in codes(findings(strong, tmp_path))


def test_eight_bits_in_a_deeper_file(tmp_path: Path) -> None:
    """The format is right, the values are not: a smooth slope tells."""
    slope = np.linspace(0.2, 0.6, HEIGHT + 40, dtype=np.float32)[:, None] + np.linspace(0, 0.2, WIDTH + 120)[None]
    frames = pan(picture=(np.repeat(slope[..., None], 3, axis=2) * 65535).astype(np.uint16))
    words = {"format=yuv422p10le": "format=yuv422p,format=yuv422p10le"}
    found = [one for one in findings(frames, tmp_path, words=words) if one.code == "depth"]
    assert [one.severity for one in found] == [Severity.ISSUE]
    assert "depth" not in codes(findings(frames, tmp_path))


def test_a_frame_of_another_size_is_looked_at_all_the_same(tmp_path: Path) -> None:
    """Its size is a blocker of the file; what is found behind it stands in its own frames."""
    frames = altered(12, 13, lambda at, frame: lit(frame, 1.5))
    for at, frame in enumerate(frames):
        shown = frame[2:] if at == 4 else frame
        cv2.imwrite(str(tmp_path / f"s.{1001 + at}.png"), shown[..., ::-1])
    expected = Expectation("png", "16", FRAMES, Fraction(24), WIDTH, HEIGHT)
    known = Known(rate=Fraction(24), frames=FRAMES)
    found = inspect_one(tmp_path, expected, known=known, limits=shipped(), content=True, samples=None)[1]
    assert {"size", "flash"} <= codes(found)
    assert [(one.frame_in, one.frame_out) for one in found if one.code == "flash"] == [(12, 13)]


def test_a_check_can_be_turned_off_and_raised(tmp_path: Path) -> None:
    """By the limits of a home."""
    (tmp_path / "limits.toml").write_text('[flash]\nseverity = "off"\n[letterbox]\nseverity = "blocker"\n')
    limits = read_limits(tmp_path)
    frames = altered(12, 13, lambda at, frame: lit(frame, 1.5))
    assert findings(frames, tmp_path, limits=limits) == ()
    (found,) = findings(altered(0, FRAMES, bars(8)), tmp_path, limits=limits)
    assert found.severity is Severity.BLOCKER


def test_the_frames_of_a_cut_file_are_not_judged(tmp_path: Path) -> None:
    """What breaks off is truncated and miscounted; that its last frames are missing is no other fault."""
    path = encoded(mastered(pan(), tmp_path), tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    expected = Expectation("prores", "hq", FRAMES, Fraction(24), WIDTH, HEIGHT)
    known = Known(rate=Fraction(24), frames=FRAMES)
    found = inspect_one(path, expected, known=known, limits=shipped(), content=True, samples=None)[1]
    assert codes(found) <= {"truncated", "count"}
