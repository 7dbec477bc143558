"""Claims about the anchors column: how it is written, where a still may stand, what shape it has."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalogs.anchors import MOST_ANCHORS, anchor_complaints, read_anchors
from catalogs.columns import CellError
from catalogs.shot import Anchor, Plate, Shot

PLATE = Plate("/p/a.png", "a" * 64, 1280, 720)


def anchored(*times: float, still: Plate = PLATE, **fields: Any) -> Shot:
    """A shot of eight seconds with stills at those times."""
    anchors = tuple(Anchor(Fraction(str(at)), still) for at in times)
    return replace(Shot("A", "B", 192, plate=PLATE, rate=Fraction(24), anchors=anchors), **fields)


@pytest.mark.parametrize(
    "cell",
    [
        "4s=a.png; 8s=b c.png",
        "4 s = a.png ;8.0S=b c.png;",
        "4s=a.png\n8s=b c.png",
        "every 4s=a.png; b c.png",
        "Every 4s = a.png\n b c.png\n",
    ],
)
def test_each_still_has_its_time(cell: str) -> None:
    """Semicolons or lines separate; `every` gives the pace once."""
    assert read_anchors(cell) == ((Fraction(4), "a.png"), (Fraction(8), "b c.png"))


@pytest.mark.parametrize(
    "cell", ["a.png", "4=a.png", "4s a.png", "4s=", "=a.png", ";", "every a.png", "4s=a.png; b.png", "-4s=a.png"]
)
def test_what_cannot_be_read_is_refused(cell: str) -> None:
    """A still without a time, a time without a still or without its unit."""
    with pytest.raises(CellError, match="E328"):
        read_anchors(cell)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("every 4s=a.png; 8s=b.png", "8s=b.png"),
        ("every 4s=a.png; b.png; 12 S = c.png", "12 S = c.png"),
        ("every 4s=a.png; every 8s=b.png", "every 8s=b.png"),
        ("every 4s=a.png; 8s=", "8s="),
    ],
)
def test_a_time_behind_every_is_no_path(cell: str, shown: str) -> None:
    """Two ways of writing in one cell are refused as such, not as a file that is not there; other names may hold =."""
    with pytest.raises(CellError, match="E328") as caught:
        read_anchors(cell)
    assert caught.value.words["detail"] == f"behind every only the first still has a time, and {shown} has one"
    assert read_anchors("every 4s=a.png; take=2.png; 8s.png")[1:] == ((8, "take=2.png"), (12, "8s.png"))


def test_there_is_a_most() -> None:
    """A cell of a thousand stills is a slip."""
    assert len(read_anchors("every 1s=a" + ";a" * (MOST_ANCHORS - 1))) == MOST_ANCHORS
    with pytest.raises(CellError, match="E328"):
        read_anchors("every 1s=a" + ";a" * MOST_ANCHORS)


@given(st.text(max_size=60) | st.text("every 4s=.;,a\n", max_size=30))
@example("every 4s=a;")
def test_no_cell_makes_the_reader_fail_otherwise(text: str) -> None:
    """Any text gives stills with a time and a name, or one code."""
    try:
        found = read_anchors(text)
    except CellError:
        return
    assert found
    assert all(at >= 0 and name for at, name in found)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ((4,), ""),
        ((4, 7.9), ""),
        ((0, 4), "the still at 0 s stands where the shot begins; name it as the plate"),
        ((4, 3), "the still at 3 s comes after one at 4 s; put them in order"),
        ((4, 4), "the still at 4 s comes after one at 4 s; put them in order"),
        ((4, 8), "the still at 8 s is past the last frame of the cut, at 7.958333 s; move it, or name it as the end_"),
    ],
)
def test_a_still_stands_within_the_cut(times: tuple[float, ...], said: str) -> None:
    """After the first frame, not after the last, in order of time; handles do not count."""
    for handles in (0, 48):
        found = anchor_complaints(anchored(*times, handles=handles))
        assert [one.code for one in found] == (["E329"] if said else [])
        assert not said or str(found[0]).startswith(said)


@pytest.mark.parametrize(
    ("size", "fits"), [((1280, 720), True), ((1920, 1080), True), ((1300, 720), True), ((1310, 720), False)]
)
def test_a_still_has_the_shots_shape(size: tuple[int, int], fits: bool) -> None:
    """More than 2 % of another shape than the plate, or without one than the delivery, is refused with both sizes."""
    still = replace(PLATE, width=size[0], height=size[1])
    for shot in (anchored(4, still=still), anchored(4, still=still, plate=None, width=640, height=360)):
        assert [one.code for one in anchor_complaints(shot)] == ([] if fits else ["E409"])
    assert anchor_complaints(anchored(4, still=still, plate=None)) == []


def test_anchors_of_a_row_are_opened_as_plates_are(desk: Any) -> None:
    """The stills are found, hashed and measured like plates; each that cannot be is named by itself."""
    desk.plate("b.png")
    desk.plate("turned.png", 36, 64)
    result = desk.one(anchors="0.5s=b.png; 1s=a.png", context="Frames 9", overlap="13", max_rerolls="0")
    assert result.problems == ()
    (shot,) = result.shots
    assert [(anchor.at, Path(anchor.plate.path).name) for anchor in shot.anchors] == [
        (Fraction(1, 2), "b.png"),
        (Fraction(1), "a.png"),
    ]
    assert shot.stills == (shot.plate, *(anchor.plate for anchor in shot.anchors))
    assert (shot.context, shot.overlap, shot.max_rerolls) == ("frames-9", 13, 0)
    (told,) = desk.one(anchors="every 0.5s=b.png; 1s=a.png").problems
    assert (told.code, told.remedy) == ("E328", "write 4s=plates/a.png; 8s=plates/b.png")
    result = desk.one(anchors="0.5s=none.png; 1s=../a.png; 1.2s=turned.png")
    assert [(one.code, one.value) for one in result.problems] == [
        ("E402", "none.png"),
        ("E403", "../a.png"),
        ("E409", "0.5s=none.png; 1s=../a.png; 1.2s=turned.png"),
    ]


def test_an_anchor_is_written_as_it_is_read() -> None:
    """What lists show can be put into a cell again."""
    anchor = Anchor(Fraction(9, 2), PLATE)
    assert str(anchor) == "4.5s=/p/a.png"
    assert read_anchors(str(anchor)) == ((Fraction(9, 2), "/p/a.png"),)
