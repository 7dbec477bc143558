"""Claims about lists that somebody made to do harm: refused with a sentence, at once.

Hostile workbooks stand in test_workbook.py, hostile plates in test_plates.py.
"""

from __future__ import annotations

import csv
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workbooks import cell, raw_workbook, sheet_xml

from catalogs.problems import problem
from catalogs.shotlist import ReadResult, read_shot_list, write_errors

HEAD = "shot,plate,frames"
MEGABYTE = 999_900


def told(result: ReadResult) -> list[str]:
    """Codes of everything that was found."""
    return [one.code for one in (*result.problems, *result.warnings)]


@contextmanager
def at_once(seconds: float = 2.0) -> Iterator[None]:
    """Fails if what happens inside takes longer, in seconds of the processor: others may be at work on the machine."""
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


CELLS: list[tuple[str, str, str]] = [
    ("shot", "x" * MEGABYTE, "E324"),
    ("frames", "9" * MEGABYTE, "E324"),
    ("frames", "48." + "0" * MEGABYTE, "E324"),
    ("deliveries", "h265 " * (MEGABYTE // 5), "E324"),
    ("fps", "1/" * (MEGABYTE // 2), "E324"),
    ("resolution", "1" * MEGABYTE + "x1", "E324"),
    ("speed", "1/" + "1" * MEGABYTE, "E324"),
    ("camera", "_- " * (MEGABYTE // 3), "E324"),
    ("prompt", "[" * MEGABYTE, "E324"),
    ("prompt", "[1s] a " * 1400, "E326"),
    ("anchors", "1s=a.png;" * (MEGABYTE // 9), "E324"),
    ("anchors", "1s=a.png;" * 1000, "E328"),
    ("plate", "a/" * (MEGABYTE // 2), "E324"),
    ("plate", "a/" * 4000, "E402"),
    ("folder_path", "/a" * (MEGABYTE // 2), "E347"),
    ("due", "2" * MEGABYTE, "E324"),
    ("model", "m" * MEGABYTE, "E324"),
    ("Vendor", "v" * MEGABYTE, "E324"),
    ("x" * 300, "v", "E324"),
    ("shot", "NUL", "E303"),
    ("shot", "lpt9.exr", "E303"),
    ("shot", "SH10\u202egnp", "E302"),
    ("shot", "SH\u0660", "E302"),
    ("shot", "SH10\u0301", "E302"),
    ("shot", "ＳＨ10", "E302"),
    ("plate", "a\u202egnp.exe", "E323"),
    ("plate", "a\u2066.png", "E323"),
    ("prompt", "fog \u202etfel", "E323"),
    ("notes", "\x9b31m", "E323"),
    ("Ven\u202edor", "v", "E323"),
    ("Ven\x1b[31mdor", "v", "E323"),
    ("plate", "/dev/zero", "E403"),
    ("plate", "../../../../../../etc/passwd", "E403"),
    ("plate", "concat:/etc/passwd|a.png", "E402"),
    ("plate", "https://example.com/a.png", "E402"),
    ("shot", "-i", "E302"),
    ("shot", "$(reboot)", "E302"),
    ("shot", "..", "E302"),
]


@pytest.mark.parametrize(("column", "value", "code"), CELLS, ids=[f"{c[:8]}-{v[:8]!r}" for c, v, _ in CELLS])
def test_a_hostile_cell_is_refused_at_once(desk: Any, column: str, value: str, code: str) -> None:
    """One cell of a megabyte, a device's name or a reversed one gives one sentence of bearable length."""
    with at_once():
        result = desk.one(**{column: value})
    assert code in told(result)
    assert result.shots == ()
    for one in result.problems:
        text = str(one)
        assert text.isprintable()
        assert len(text) - len(result.file) < 800


def test_codes_that_differ_in_case_or_coding_alone_are_one_or_none(desk: Any) -> None:
    """Case makes a repetition, and a code has no letters that can be coded in two ways."""
    composed, apart = unicodedata.normalize("NFC", "Caf\u00e9"), unicodedata.normalize("NFD", "Caf\u00e9")
    rows = "".join(f"{code},a.png,48\n" for code in ("SH10", "sh10", composed, apart))
    assert told(desk.read(f"{HEAD}\n{rows}")) == ["E305", "E302", "E302"]


def test_ten_thousand_columns_are_refused_at_once(desk: Any) -> None:
    """A CSV that is wider than any list is refused before it is taken apart; a thousand strange columns are read."""
    with at_once():
        assert told(desk.read(HEAD + ",x" * 10_000 + "\n")) == ["E111"]
    with at_once(4):
        wide = ",".join(f"shoot{place}" for place in range(990))
        result = desk.read(f"{HEAD},{wide}\nS1,a.png,48\n")
    assert len(result.shots) == 1


def test_megabytes_of_megabytes_cost_seconds(desk: Any) -> None:
    """Twenty rows of a megabyte each are refused in the time of reading them."""
    rows = "".join(f"S{row},a.png,48,{'h265 ' * 199_000}\n" for row in range(20))
    with at_once(5):
        assert told(desk.read(f"{HEAD},deliveries\n{rows}")) == ["E324"] * 20


def test_a_cell_beyond_a_megabyte_is_an_open_quote(desk: Any) -> None:
    """What is longer than any cell means that the file breaks off there."""
    assert told(desk.read(f'{HEAD}\nS1,a.png,"{"x" * 1_000_100}"\n')) == ["E108"]


@pytest.mark.parametrize("empty", [b"", b"\xef\xbb\xbf", b"\n" * 100_000, b",\n" * 50_000, b" ", b"\t\t\n"])
def test_nothing_is_refused_as_nothing(desk: Any, empty: bytes) -> None:
    """A file of zero bytes, or of nothing but separators, is empty."""
    with at_once():
        assert told(desk.read(empty)) == ["E106"]


@pytest.mark.parametrize("place", [0, 5, 25])
def test_a_nul_is_refused_wherever_it_stands(desk: Any, place: int) -> None:
    """A NUL ends a text for other programs: the file is no text."""
    text = f"{HEAD}\nS1,a.png,48\n".encode()
    assert told(desk.read(text[:place] + b"\0" + text[place:])) == ["E105"]


def test_a_list_that_is_another_file_too_is_refused(desk: Any) -> None:
    """A CSV with a workbook behind it holds bytes of no text; a workbook behind a text is no workbook."""
    book = raw_workbook(sheet_xml(f'<row r="1">{cell("A1", "shot")}</row>'))
    text = f"{HEAD}\nS1,a.png,48\n".encode()
    assert told(desk.read(text + book)) == ["E105"]
    assert told(desk.read(b"%PDF-1.7\n" + text)) == ["E104"]


def test_a_workbooks_strange_letters_are_refused_like_a_csvs(desk: Any) -> None:
    """Control characters that a workbook spells as _x0000_ do not come through."""
    head = "".join(cell(f"{letter}1", text) for letter, text in zip("ABCD", [*HEAD.split(","), "notes"], strict=True))
    texts = ["S1", "a_x0000_.png", "48", "_x001b_[31m"]
    row = "".join(cell(f"{letter}2", text) for letter, text in zip("ABCD", texts, strict=True))
    content = raw_workbook(sheet_xml(f'<row r="1">{head}</row><row r="2">{row}</row>'))
    result = read_shot_list(desk.write(content, "AGM.xlsx"), desk.rules)
    assert set(told(result)) <= {"E323", "E402"}
    assert len(result.problems) == 2 or told(result) == ["E402"]


def test_a_message_moves_no_cursor() -> None:
    """What a cell, a column or a path holds is shown, not obeyed."""
    text = str(problem("E301", "f.csv", column="a\x1b[2Jb", value="c\u202ed\x07", words={}))
    assert text == "f.csv: a\ufffd[2Jb: the cell is empty (c\ufffdd\ufffd); fill it in [E301]"


FORMULAS = ("=1+1", "+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1", "'=1+1", "'", "''=1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(cells=st.lists(st.sampled_from(FORMULAS), min_size=2, max_size=2))
def test_what_we_write_runs_nowhere_and_comes_back(desk: Any, cells: list[str]) -> None:
    """No cell of an error file begins as a formula does, and what is sent back is what was sent."""
    quoted = ",".join('"' + text.replace('"', '""') + '"' for text in cells)
    result = desk.read(f"{HEAD},notes,vendor\nS1,a.png,x,{quoted}\n")
    write_errors(desk.folder / "out.csv", result)
    text = (desk.folder / "out.csv").read_text(encoding="utf-8-sig")
    for row in csv.reader(text.splitlines()):
        assert not [one for one in row if one.startswith(("=", "+", "-", "@", "\t", "\r"))]
    again = desk.read(text.replace(",x,", ",48,", 1).encode("utf-8-sig"))
    (shot,) = again.shots
    (direct,) = desk.read(f"{HEAD},notes,vendor\nS1,a.png,48,{quoted}\n").shots
    assert (shot.notes, shot.metadata) == (direct.notes, direct.metadata)
