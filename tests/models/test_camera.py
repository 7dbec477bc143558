"""Claims about the camera path: it stays inside the plate, eases, and is the same everywhere."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.shot import CAMERAS
from models.camera import MOVES, PAN_SPEED, RAMP, CameraPose, camera_pose, ease, rotates
from models.interface import EngineError

moves = st.sampled_from(MOVES)
lengths = st.integers(1, 3000)
seeds = st.integers(0, 2**63 - 1)
rates = st.sampled_from([Fraction(16), Fraction(24), Fraction(24000, 1001), Fraction(8)])
aspects = st.floats(1 / 4, 4)

RECORDED = (-0.000494326547, 0.0104405315, -0.003737822472)


def path(move: str, frames: int, *, seed: int = 1, rate: int = 16) -> list[CameraPose]:
    return [
        camera_pose(move, at, shot_frames=frames, seed=seed, rate=Fraction(rate), aspect=16 / 9) for at in range(frames)
    ]


def corners(pose: CameraPose, aspect: float) -> list[tuple[float, float]]:
    """The frame's corners in crop units, 0..1 inside: the rectangle turned by roll about its centre."""
    found = []
    for sx, sy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        x, y = sx * aspect / 2 / pose.zoom, sy / 2 / pose.zoom  # in crop heights
        turned_x = x * math.cos(pose.roll) - y * math.sin(pose.roll)
        turned_y = x * math.sin(pose.roll) + y * math.cos(pose.roll)
        found.append((0.5 + pose.x + turned_x / aspect, 0.5 + pose.y + turned_y))
    return found


@given(moves, lengths, st.floats(0, 1), seeds, rates, aspects)
def test_the_frame_never_leaves_the_crop(
    move: str, length: int, where: float, seed: int, rate: Fraction, aspect: float
) -> None:
    """For every move, length, rate, shape and seed, all four corners lie inside, also just past the end."""
    at = round(where * (length + 3))
    pose = camera_pose(move, at, shot_frames=length, seed=seed, rate=rate, aspect=aspect)
    assert all(-1e-9 <= value <= 1 + 1e-9 for corner in corners(pose, aspect) for value in corner)
    assert pose.zoom >= 1


@given(st.floats(-1, 2), st.floats(-1, 2))
def test_easing_is_monotone_symmetric_and_bounded(one: float, other: float) -> None:
    """A move never runs backwards, ends where it should, and decelerates as it accelerated."""
    low, high = sorted((one, other))
    assert 0 <= ease(low) <= ease(high) <= 1
    assert ease(low) + ease(1 - low) == pytest.approx(1)
    assert (ease(0), ease(0.5), ease(1)) == (0, 0.5, 1)


def test_easing_is_smooth_where_its_parts_meet() -> None:
    """Speed is continuous: no jerk when the ramp ends, none at the middle, rest at both ends."""
    step = 1e-4
    speeds = [(ease(at * step + step) - ease(at * step)) / step for at in range(int(1 / step))]
    assert max(abs(after - before) for before, after in pairwise(speeds)) < 0.002
    assert speeds[0] < 1e-3
    assert speeds[-1] < 1e-3


@pytest.mark.parametrize("move", ["pan left", "pan right", "tilt up", "tilt down"])
@pytest.mark.parametrize("frames", [49, 156, 1600])
def test_the_steady_middle_moves_by_equal_amounts(move: str, frames: int) -> None:
    """Between the ramps, every frame of a pan or tilt moves on by the same amount."""
    poses = path(move, frames)
    first, last = math.ceil(RAMP * (frames - 1)), math.floor((1 - RAMP) * (frames - 1))
    steps = [after.x + after.y - before.x - before.y for before, after in pairwise(poses[first : last + 1])]
    assert max(steps) - min(steps) < 1e-12
    assert abs(steps[0]) > 0


@pytest.mark.parametrize(
    ("move", "value", "sign"),
    [
        ("push in", "zoom", 1),
        ("pull out", "zoom", -1),
        ("pan left", "x", -1),
        ("pan right", "x", 1),
        ("tilt up", "y", -1),
        ("tilt down", "y", 1),
        ("roll", "roll", 1),
    ],
)
def test_a_move_goes_where_its_name_says(move: str, value: str, sign: int) -> None:
    """Pan right looks further right, tilt up further up (y runs down), a push magnifies, a roll turns clockwise."""
    poses = path(move, 81)
    assert (getattr(poses[-1], value) - getattr(poses[0], value)) * sign > 0.05
    for still in {"x", "y", "roll"} - {value}:
        assert {getattr(pose, still) for pose in poses} == {0.0}


def test_still_shows_the_whole_crop() -> None:
    """A still camera never moves, and neither does a one-frame shot that is not handheld."""
    assert set(path("still", 20)) == {CameraPose(0.0, 0.0, 1.0, 0.0)}
    assert path("pan left", 1)[0].zoom == 1


def test_an_empty_camera_pushes_in() -> None:
    """No move asked for means the default one."""
    assert path("", 20) == path("push in", 20) == path(" Push In ", 20)


def test_an_unknown_move_is_refused_with_the_known_ones() -> None:
    """The error names what was asked and what there is."""
    with pytest.raises(EngineError, match=r"'dolly zoom'.*push in.*handheld"):
        path("dolly zoom", 2)


def test_short_shots_move_slowly() -> None:
    """A pan of half a second does not race: its speed stays below the judder bound."""
    steps = [after.x - before.x for before, after in pairwise(path("pan right", 9))]
    assert max(steps) * 16 <= PAN_SPEED + 1e-9


@given(st.integers(0, 5000), seeds)
def test_handheld_depends_on_the_seed_and_the_time_alone(at: int, seed: int) -> None:
    """The same seed drifts alike whatever the shot's length; another seed drifts otherwise."""

    def pose(length: int, its: int) -> CameraPose:
        return camera_pose("handheld", at, shot_frames=length, seed=its, rate=Fraction(16), aspect=16 / 9)

    assert pose(17, seed) == pose(900, seed)
    assert pose(17, seed) != pose(17, seed + 1)


def test_handheld_is_smooth_and_lively() -> None:
    """It drifts by less than a tenth of its range per frame and yet uses a good part of it."""
    poses = path("handheld", 400, seed=7)
    assert max(abs(after.x - before.x) for before, after in pairwise(poses)) < 0.006
    assert max(pose.x for pose in poses) - min(pose.x for pose in poses) > 0.008


def test_handheld_is_the_same_on_every_machine() -> None:
    """A recorded pose, to the last digits that a sine is sure of."""
    pose = path("handheld", 41, seed=20260)[40]
    assert (round(pose.x, 12), round(pose.y, 12), round(pose.roll, 12)) == RECORDED


def test_only_rolling_moves_rotate() -> None:
    """Roll and handheld turn the camera; nothing else does."""
    assert {move for move in MOVES if rotates(move)} == {"roll", "handheld"}


def test_the_shot_list_and_the_camera_know_the_same_moves() -> None:
    """The two packages do not import each other, so the words they share are compared here."""
    assert MOVES == CAMERAS
