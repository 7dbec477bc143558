"""What review copies say is said whole, whatever their shape, rate and names."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.captions import Caption, band_of, slate_picture, strip_frames
from tasks.lettering import lettering, squeezed

SHOT = "AGM_SQ030_SH0050_v001"
SAYS = Caption(SHOT, "AGM", "SQ030_SH0050", "v001", date(2026, 11, 22), 40, Fraction(24), notes="from a.mp4")
SHAPES = [(1920, 1080), (1080, 1920), (1080, 1350), (1080, 1080), (720, 406), (406, 720), (2000, 200), (320, 180)]


def _columns(caption: Caption, width: int, height: int) -> list[int]:
    """Columns with letters in them, of the last frame's band."""
    band = band_of(caption, width=width, height=height)
    *_, strip = strip_frames(caption, band, width=width)
    assert strip.shape == (2 * band.rows, width, 3)
    return list(np.flatnonzero(strip[: band.rows, :, 0].max(axis=0)))


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_slate_version_and_time_stand_in_the_band_whole(width: int, height: int) -> None:
    """Upright, square and wide: the slate is not cut for the sake of type that height alone has sized."""
    band = band_of(SAYS, width=width, height=height)
    assert band.rows <= max(height // 15, 14)
    font = lettering(band.size)
    time = "1040  00:00:43:08"
    lines = [f"{SHOT}  {time}"] if band.lines == 1 else [SHOT, time]
    assert max(map(font.getlength, lines)) <= width - 2 * (width // 60)
    columns = _columns(SAYS, width, height)
    # as large as that lets it be: the band's rows or the picture's width are used
    assert band.size >= min(width, height) // 64
    assert band.size * 2 >= band.rows - 8 or columns[-1] - columns[0] > width * 0.7
    assert columns[-1] < width - 1


@given(width=st.integers(32, 2000), height=st.integers(32, 2000), letters=st.integers(1, 128))
def test_a_band_fits_its_picture_and_keeps_the_version(width: int, height: int, letters: int) -> None:
    """Also of slates that no line holds: these lose their middle."""
    slate = "AGM_" + "X" * letters + "_v012"
    band = band_of(replace(SAYS, slate=slate), width=width, height=height)
    assert 0 < band.rows < height
    font = lettering(band.size)
    room = width - 2 * max(4, width // 60)
    shown = squeezed(slate, font, width=room)
    assert font.getlength(shown) <= room or len(shown) <= 2
    if width >= 200:
        assert shown.endswith("_v012")
        assert shown.startswith("AGM_")


@pytest.mark.parametrize("rate", [Fraction(25, 2), Fraction(12), Fraction(120)])
def test_where_a_rate_has_no_timecode_seconds_are_told(rate: Fraction) -> None:
    """No label that no program would count to."""
    rows = dict(replace(SAYS, rate=rate).rows())
    assert "timecode" not in rows
    assert rows["length"] == f"{40 / float(rate):.2f} s"
    assert dict(SAYS.rows())["timecode"] == "00:00:41:17 - 00:00:43:08"


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_a_slate_fills_its_picture(width: int, height: int, tmp_path: Path) -> None:
    """In every shape: words over half its width or half its height, and none cut at an edge."""
    slate_picture(SAYS, tmp_path / "s.png", width=width, height=height)
    with Image.open(tmp_path / "s.png") as picture:
        ink = np.asarray(picture.convert("L")) > 100
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert np.ptp(rows) > height / 2 or np.ptp(columns) > width * 0.7
    assert 0 < rows[0] < rows[-1] < height - 1
    assert 0 < columns[0] < columns[-1] < width - 1
    # about as much above as below
    assert abs((rows[0] + rows[-1]) / 2 - height / 2) < height / 6
