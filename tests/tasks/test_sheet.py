"""Contact sheets: readable, bounded, and the same every time."""

from __future__ import annotations

import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from tasks.errors import MediaError
from tasks.lettering import cut, legible, lettering, wrapped
from tasks.sheet import batch_sheet, columns_for, contact_sheet


def stills(folder: Path, count: int, *, size: tuple[int, int] = (480, 270)) -> list[tuple[int, Path]]:
    made = []
    for index in range(count):
        path = folder / f"{index}.png"
        Image.new("RGB", size, (200, 30 + 40 * index, 60)).save(path)
        made.append((index * 10, path))
    return made


def sheet(folder: Path, given: list[tuple[int, Path]], name: str = "sheet.jpg", **words: object) -> Image.Image:
    contact_sheet(given, folder / name, slate="AGM_SH0010_v001", rate=Fraction(24), **words)  # type: ignore[arg-type]
    with Image.open(folder / name) as image:
        return image.convert("RGB")


def test_every_still_is_on_the_sheet(tmp_path: Path) -> None:
    """Five landscape stills stand in two rows of three columns, each with its own colour."""
    image = sheet(tmp_path, stills(tmp_path, 5))
    assert image.width == 2 * 40 + 3 * 480 + 2 * 20
    pixels = np.asarray(image).astype(int)
    for index in range(5):
        near = np.abs(pixels - (200, 30 + 40 * index, 60)).max(axis=-1) <= 4
        assert near.sum() > 0.98 * 480 * 270


def test_the_same_stills_give_the_same_bytes(tmp_path: Path) -> None:
    """A sheet holds no date and nothing random."""
    given = stills(tmp_path, 3)
    sheet(tmp_path, given, "a.jpg", caption=["words"], badge="notice")
    sheet(tmp_path, given, "b.jpg", caption=["words"], badge="notice")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_portrait_stills_stand_whole(tmp_path: Path) -> None:
    """9:16 stills get narrow cells, five in a row, and are not cropped."""
    image = sheet(tmp_path, stills(tmp_path, 5, size=(270, 480)))
    assert image.width == 2 * 40 + 5 * 270 + 4 * 20
    pixels = np.asarray(image).astype(int)
    assert (np.abs(pixels - (200, 30, 60)).max(axis=-1) <= 4).sum() > 0.98 * 480 * 270


def test_a_notice_and_a_caption_make_room_for_themselves(tmp_path: Path) -> None:
    """A badge is drawn in its own colour; a caption of any length grows the sheet by three lines at most."""
    given = stills(tmp_path, 2)
    bare = sheet(tmp_path, given)
    told = sheet(tmp_path, given, badge="animatic previsualisation, not the final model")
    long = sheet(tmp_path, given, caption=["word " * 2000, "x" * 5000])
    assert told.height > bare.height
    assert bare.height < long.height <= bare.height + 3 * 28 + 3 * 24
    amber = np.abs(np.asarray(told).astype(int) - (232, 176, 92)).max(axis=-1) < 40
    assert amber.sum() > 100
    # the text is not full white, even with what JPEG adds at its edges
    assert np.asarray(bare).max() < 250


def test_one_still_is_enough_and_none_is_not(tmp_path: Path) -> None:
    """A single frame makes a sheet; no frame, or one that does not open, is an error with the slate or the file."""
    assert sheet(tmp_path, stills(tmp_path, 1)).width > 480
    with pytest.raises(MediaError, match="AGM_SH0010_v001"):
        sheet(tmp_path, [])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MediaError, match=r"broken\.png"):
        sheet(tmp_path, [(0, broken)])


def test_a_batch_holds_both_shapes(tmp_path: Path) -> None:
    """Landscape and portrait stills share one grid, all whole."""
    wide = stills(tmp_path, 2)
    (tmp_path / "tall").mkdir()
    tall = stills(tmp_path / "tall", 1, size=(270, 480))
    target = tmp_path / "batch.jpg"
    batch_sheet([("SH0010", "24 fps", path) for _, path in wide + tall], target, title="Night of the harbour")
    with Image.open(target) as image:
        assert image.size[0] == 2 * 40 + 3 * 480 + 2 * 20
    with pytest.raises(MediaError, match="no stills"):
        batch_sheet([], target, title="Nothing")


@pytest.mark.parametrize(("count", "width", "columns"), [(12, 480, 3), (15, 320, 5), (48, 240, 8), (200, 240, 8)])
def test_a_large_batch_has_small_cells(tmp_path: Path, count: int, width: int, columns: int) -> None:
    """Two hundred shots fit one picture that a browser opens: cells shrink, and 160 of them are shown."""
    [(_, still)] = stills(tmp_path, 1)
    target = tmp_path / "batch.jpg"
    batch_sheet([(f"AGM_SQ010_SH{n:04d}_v001", "24 s", still) for n in range(count)], target, title="Night")
    with Image.open(target) as image:
        assert image.width == 2 * 40 + columns * width + (columns - 1) * 20
        assert image.height < 4500
        shown = np.abs(np.asarray(image).astype(int) - (200, 30, 60)).max(axis=-1) <= 8
    assert shown.sum() == pytest.approx(min(count, 160) * width * width * 9 / 16, rel=0.03)


def test_a_portrait_batch_has_portrait_cells(tmp_path: Path) -> None:
    """Without a landscape still, cells are narrow and more of them stand side by side."""
    tall = stills(tmp_path, 5, size=(270, 480))
    target = tmp_path / "batch.jpg"
    batch_sheet([("SH0010", "24 s", path) for _, path in tall], target, title="Night")
    with Image.open(target) as image:
        assert image.width == 2 * 40 + 5 * 270 + 4 * 20


def test_a_tag_stands_on_its_still_alone(tmp_path: Path) -> None:
    """A word of notice on the second of three stills, in the notice's colours; the others are as they were."""
    given = [(f"SH{index}", "", path) for index, path in stills(tmp_path, 3)]
    seen = []
    for tags in ({}, {1: "animatic"}):
        batch_sheet(given, tmp_path / "batch.jpg", title="Night", tags=tags)
        with Image.open(tmp_path / "batch.jpg") as image:
            seen.append(np.asarray(image.convert("RGB")).astype(int))
    changed = np.argwhere(np.abs(seen[1] - seen[0]).max(axis=-1) > 8)
    (_, left), (_, right) = changed.min(axis=0), changed.max(axis=0)
    assert left >= 40 + 480 + 20
    assert right < 40 + 480 + 20 + 120


def test_a_slate_is_not_cut_for_the_time_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In cells of 320 pixels a whole slate stands beside its time of rendering, in smaller letters."""
    drawn: list[str] = []
    text = ImageDraw.ImageDraw.text

    def seen(self: ImageDraw.ImageDraw, at: tuple[float, float], words: str, **how: Any) -> None:
        drawn.append(words)
        text(self, at, words, **how)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", seen)
    given = [("AGM_SQ010_SH0010_v001", "render 13 min", path) for _, path in stills(tmp_path, 1) * 20]
    batch_sheet(given, tmp_path / "batch.jpg", title="Night")
    assert drawn.count("AGM_SQ010_SH0010_v001") == 20


@given(st.integers(1, 200), st.integers(1, 9))
def test_rows_are_few_and_full(count: int, most: int) -> None:
    """The grid holds every cell, never wider than allowed, and never with an empty row."""
    columns = columns_for(count, most=most)
    rows = -(-count // columns)
    assert 1 <= columns <= most
    assert rows == -(-count // most)
    assert (rows - 1) * columns < count <= rows * columns


@given(st.text(max_size=200), st.integers(20, 400))
def test_words_stay_inside(text: str, width: int) -> None:
    """No line is wider than its room, whatever was typed."""
    font = ImageFont.load_default(16)
    lines = wrapped(text, font, width=width, most=3)
    assert len(lines) <= 3
    assert all(font.getlength(line) <= width for line in [*lines, cut(" ".join(text.split()), font, width=width)])


def test_names_are_written_as_people_write_them() -> None:
    """Latin with all its accents, Greek, Cyrillic; also where an accent comes as a letter of its own."""
    for name in ("Käthe Straße …", "Łukasz Müller", "Łódź Şafak Ţurcanu Őry", "Nguyễn", "Ελένη", "Борис Щукин"):
        assert legible(name) == name
        assert legible(unicodedata.normalize("NFD", name)) == name
    drawn = [bytes(lettering(40).getmask(letter)) for letter in "äöüßŁğșễЩλ" + "\uffff"]
    assert len(set(drawn)) == len(drawn)


def test_letters_that_the_font_lacks_are_transliterated_or_boxes() -> None:
    """An alphabet has one reading; a Chinese character has several, and the wrong one is another name."""
    assert legible("שלום").isascii()
    assert legible("ひらがな") == "hiragana"
    assert legible("東京") == "東京"
    assert legible("e\u0301x") == "éx"
