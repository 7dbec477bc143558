"""From shots to a list and back: every request survives, whatever a spreadsheet makes of its cells."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs import listing
from catalogs.cells import lost_cells
from catalogs.digests import alike
from catalogs.listing import shot_lists
from catalogs.shot import CAMERAS, DEFAULT_DELIVERIES, Anchor, Delivery, LoraUse, Plate, Shot

WORDS = st.text(
    alphabet=st.one_of(
        st.sampled_from("=+-@'\"\n,;|\t #%\\{}"),
        st.characters(categories=("L", "N", "P", "S"), exclude_characters="[]"),
    ),
    max_size=40,
).map(str.strip)
"""What people write into a cell, and what a spreadsheet would run."""

HEADERS = ("Vendor", "Größe", "=HYPERLINK(1)", "'@cmd", "a, b", 'a "b"', "loras", "Notes 2")


def shots(plate: Plate, end: Plate) -> st.SearchStrategy[Shot]:
    """Requests that a list can hold."""

    def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(st.none(), values)

    frames = st.integers(60, 200)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "show": st.sampled_from(["AGM", "T.1"]),
        "code": st.from_regex(r"S[A-Z0-9_-]{0,8}", fullmatch=True),
        "frames": frames,
        "sequence": st.sampled_from(["", "SQ010"]),
        "plate": st.just(plate),
        "end_plate": st.sampled_from([None, end]),
        "prompt": WORDS,
        "negative_prompt": WORDS,
        "rate": st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(25, 2), Fraction(60)]),
        "handles": st.integers(0, 16),
        "seed": maybe(st.integers(0, 2**63 - 1)),
        "steps": maybe(st.integers(1, 1000)),
        "guidance": maybe(st.integers(0, 100 * 10**9).map(lambda number: number / 10**9)),
        "context": st.just(""),
        "anchors": st.sampled_from([(), (Anchor(Fraction(1, 8), end),), (Anchor(Fraction("0.3"), plate),)]),
        "max_rerolls": maybe(st.integers(0, 8)),
        "camera": st.sampled_from(["", *CAMERAS]),
        "deliveries": st.sampled_from(
            [DEFAULT_DELIVERIES, (Delivery("prores", "4444"), Delivery("webm", "av1", "review", ("silent",)))]
        ),
        "speed": st.sampled_from([Fraction(1), Fraction(1, 3)]),
        "retimer": st.sampled_from(["", "rife", "any"]),
        "priority": st.integers(1, 99),
        "due": maybe(st.dates(date(2000, 1, 1), date(2100, 1, 1))),
        "notes": WORDS,
        "submitted_by": WORDS,
    }
    kept = st.lists(st.tuples(st.sampled_from(HEADERS), WORDS.filter(bool)), unique_by=lambda pair: pair[0], max_size=4)
    animatic = st.builds(Shot, **fields, model=st.just("animatic"), metadata=kept.map(tuple))
    others = kept.map(lambda pairs: tuple(pair for pair in pairs if pair[0] != "loras"))
    loras = st.sampled_from([(), (LoraUse("mist"),), (LoraUse("film look", -0.5), LoraUse("mist", 0.1))])
    worded = {**fields, "prompt": WORDS.filter(bool)}
    return st.one_of(animatic, st.builds(Shot, **worded, model=st.just("t2v"), metadata=others, loras=loras))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.data())
def test_every_request_comes_back(desk: Any, found: st.DataObject) -> None:
    """Any shots, written as a list and read again, are the same requests, in their order."""
    desk.plate("a b.png", 128, 72)
    first = desk.read("shot,plate,frames\nA,a.png,9\nB,a b.png,9\n")
    plate, end = (shot.plate for shot in first.shots)
    assert plate
    assert end
    asked = found.draw(
        st.lists(shots(plate, end), min_size=1, max_size=5, unique_by=lambda shot: shot.code.lower().strip("_-0"))
    )
    [written] = shot_lists(asked, desk.folder.resolve())
    back = desk.read("\ufeff" + written.text, rules=replace(desk.rules, allow_new=True))
    assert back.problems == ()
    assert [shot.name for shot in back.shots] == [shot.name for shot in asked]
    for one, other in zip(asked, back.shots, strict=True):
        assert alike(one, other), (one, other)
    for cells in csv.reader(io.StringIO(written.text, newline="")):
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_list_has_the_columns_that_its_shots_need(desk: Any, shot: Any) -> None:
    """No column that is empty in every row, but for those that a list begins with; `error` is the last one."""
    [written] = shot_lists([shot("A"), shot("B", seed=7)])
    header = written.text.splitlines()[0].split(",")
    assert header[:3] == ["show", "sequence", "shot"]
    assert header[-1] == "error"
    assert "seed" in header
    assert not {"plate", "steps", "due"} & set(header)


def test_what_no_reader_takes_is_several_lists(monkeypatch: pytest.MonkeyPatch, shot: Any) -> None:
    """By rows and by bytes: every list is one that can be submitted, and together they have every shot."""
    many = [shot(f"S{number:03}", prompt="x" * 100) for number in range(25)]
    monkeypatch.setattr(listing, "MOST_ROWS", 10)
    assert [one.shots for one in shot_lists(many)] == [10, 10, 5]
    monkeypatch.setattr(listing, "_ROOM", 1000)
    parts = list(shot_lists(many))
    assert sum(one.shots for one in parts) == 25
    assert all(len(one.text.encode()) <= 1000 for one in parts)
    assert len(parts) > 3


def test_metadata_that_would_be_a_column_now_is_named(shot: Any) -> None:
    """A header that was nobody's when the shot came in, and means something today, is left out and told."""
    one = shot("A", metadata=(("Retimer", "old"), ("Vendor", "x")))
    [written] = shot_lists([one])
    assert "Retimer" not in written.text
    assert lost_cells(one) == ["Retimer"]


def test_plates_outside_the_root_stay_absolute(tmp_path: Path, shot: Any) -> None:
    """A path is relative to the root of all plates where it lies below, and whole where it does not."""
    near, far = (Plate(str(tmp_path / name), "a" * 64, 64, 36) for name in ("in/a.png", "out/b.png"))
    [written] = shot_lists([shot("A", plate=near, end_plate=far)], tmp_path / "in")
    row = next(csv.DictReader(io.StringIO(written.text)))
    assert (row["plate"], row["end_plate"]) == ("a.png", far.path)
