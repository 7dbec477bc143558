"""Claims about workbooks: what a sheet shows is what is read, and a hostile file costs neither time nor memory."""

from __future__ import annotations

import io
import resource
import time
import zipfile
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import pytest
import xlsxwriter
from workbooks import cell, raw_workbook, sheet_xml, workbook

import catalogs.parts
from catalogs.shotlist import ReadResult, read_shot_list, write_errors

HEAD = ["shot", "plate", "frames"]


def codes(result: ReadResult) -> list[str]:
    """Codes of everything that was found, errors first."""
    return [one.code for one in (*result.problems, *result.warnings)]


def read(desk: Any, content: bytes, sheet: str | None = None) -> ReadResult:
    """Reads a workbook in the desk's folder."""
    return read_shot_list(desk.write(content, "AGM.xlsx"), desk.rules, sheet=sheet)


def test_cells_are_what_their_sheet_shows(desk: Any) -> None:
    """Text keeps its zeros, 24.0 is 24, 23.976 has no tail of binary digits, dates are ISO, NA is a word."""
    head = [*HEAD, "fps", "due", "vendor", "take", "seen", "wave"]
    row = ["001", "a.png", 48.0, 23.976, date(2026, 12, 24), "NA", True, datetime(2026, 12, 24, 10, 30), 0.1 + 0.2]
    result = read(desk, workbook([head, row]))
    assert codes(result) == []
    (shot,) = result.shots
    assert (shot.code, shot.frames, shot.rate, shot.due) == ("001", 48, Fraction(24000, 1001), date(2026, 12, 24))
    metadata = {"vendor": "NA", "take": "TRUE", "seen": "2026-12-24 10:30:00", "wave": "0.3"}
    assert dict(shot.metadata) == metadata


def test_a_workbook_of_a_mac_has_the_same_dates(desk: Any) -> None:
    """Workbooks that count days from 1904 say the same day."""
    stream = io.BytesIO()
    book = xlsxwriter.Workbook(stream, {"in_memory": True, "date_1904": True})
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, [*HEAD, "due"])
    sheet.write_row(1, 0, ["S1", "a.png", 48])
    sheet.write_datetime(1, 3, datetime(2026, 12, 24), book.add_format({"num_format": "d.m.yy"}))
    book.close()
    assert [shot.due for shot in read(desk, stream.getvalue()).shots] == [date(2026, 12, 24)]


def test_lines_are_rows_of_the_spreadsheet(desk: Any) -> None:
    """Blank rows and a table that does not begin in A1 change neither lines nor columns."""
    rows: list[list[object]] = [[], [], [None, *HEAD], [], [None, "S1", "a.png", "x"], [], [None, "S2", "a.png", 0]]
    result = read(desk, workbook(rows))
    assert [(one.line, one.column, one.code) for one in result.problems] == [
        (5, "frames", "E306"),
        (7, "frames", "E307"),
    ]


def test_a_sheet_is_chosen_by_name_or_is_the_first_that_is_seen(desk: Any) -> None:
    """A hidden sheet is passed over unless it is named; an unknown name lists those that there are."""

    def more(book: Any, sheet: Any) -> None:
        other = book.add_worksheet("Night 2")
        other.write_row(0, 0, HEAD)
        other.write_row(1, 0, ["S2", "a.png", 24])
        other.activate()
        sheet.hide()

    content = workbook([HEAD, ["S1", "a.png", 48]], name="Old", more=more)
    assert [shot.code for shot in read(desk, content).shots] == ["S2"]
    assert [shot.code for shot in read(desk, content, "old").shots] == ["S1"]
    (wrong,) = read(desk, content, "New").problems
    assert (wrong.code, wrong.remedy) == ("E114", "use Old (hidden), Night 2")
    assert codes(read_shot_list(desk.write("shot\n"), desk.rules, sheet="Old")) == ["E114"]


def test_a_cell_over_several_rows_stands_in_each(desk: Any) -> None:
    """A sequence that is merged over its shots is the sequence of each, with a notice; blank rows stay blank."""

    def more(book: Any, sheet: Any) -> None:
        sheet.merge_range("D2:D4", "SQ010")
        sheet.merge_range("A6:A9", "SQ020")

    rows: list[list[object]] = [[*HEAD, "sequence"], ["S1", "a.png", 48], ["S2", "a.png", 48], ["S3", "a.png", 48]]
    result = read(desk, workbook([*rows, ["S4", "a.png", 48]], more=more))
    assert [shot.sequence for shot in result.shots] == []  # row 6 is a shot without anything
    assert {one.code for one in result.problems} == {"E401", "E309"}
    assert [(one.code, one.line, one.column) for one in result.warnings] == [
        ("W103", 2, "sequence"),
        ("W103", 6, "shot"),
    ]

    def one(book: Any, sheet: Any) -> None:
        sheet.merge_range("D2:D4", "SQ010")

    result = read(desk, workbook([*rows, ["S4", "a.png", 48]], more=one))
    assert [shot.sequence for shot in result.shots] == ["SQ010"] * 3 + [""]


def test_percentages_formulas_and_errors_are_told_what_they_are(desk: Any) -> None:
    """A percentage is refused as 50%, a formula's result is taken and told; without one it is refused."""

    def more(book: Any, sheet: Any) -> None:
        percent = book.add_format({"num_format": "0.0%"})
        sheet.write_number("D2", 0.5, percent)
        sheet.write_formula("C3", "=24*2", None, 48)
        sheet.write_formula("C4", "=24*2", None, "")
        sheet.write_formula("C5", "=1/0", None, "#DIV/0!")
        sheet.write_boolean("C6", True)

    rows: list[list[object]] = [[*HEAD, "guidance", "vendor"], ["S1", "a.png", 48]]
    rows += [[f"S{number}", "a.png"] for number in range(2, 6)]
    result = read(desk, workbook(rows, more=more))
    assert [(one.line, one.column, one.value, one.code) for one in result.problems] == [
        (2, "guidance", "50%", "E308"),
        (4, "frames", "", "E115"),
        (5, "frames", "", "E116"),
        (6, "frames", "TRUE", "E306"),
    ]
    assert [one.code for one in result.warnings] == ["W102"]
    assert result.warnings[0].message == "3 cells hold formulas"


def test_zeros_that_a_sheet_shows_are_read(desk: Any) -> None:
    """A number that is shown as 0010 or SH0020 is that code, or a spreadsheet would make two shots of one."""

    def more(book: Any, sheet: Any) -> None:
        sheet.write_number("A2", 10, book.add_format({"num_format": "0000"}))
        sheet.write_number("A3", 20, book.add_format({"num_format": '"SH"0000'}))
        sheet.write_number("A4", 30, book.add_format({"num_format": "0"}))
        sheet.write_number("D2", 2.5, book.add_format({"num_format": "000"}))

    rows: list[list[object]] = [[*HEAD, "guidance"], *([None, "a.png", 48] for _ in range(3))]
    result = read(desk, workbook(rows, more=more))
    assert codes(result) == []
    assert [shot.code for shot in result.shots] == ["0010", "SH0020", "30"]
    assert result.shots[0].guidance == 2.5


def test_a_formula_that_says_nothing_says_so(desk: Any) -> None:
    """An empty text is a result; the cell is as empty as it looks."""
    first = "".join(cell(f"{letter}1", text) for letter, text in zip("ABCD", [*HEAD, "vendor"], strict=True))
    second = "".join(cell(f"{letter}2", text) for letter, text in zip("ABC", ["S1", "a.png", "48"], strict=True))
    body = f'<row r="1">{first}</row><row r="2">{second}<c r="D2" t="str"><f>""</f><v></v></c></row>'
    result = read(desk, raw_workbook(sheet_xml(body)))
    assert (codes(result), result.shots[0].metadata) == (["W102"], ())


def test_hidden_rows_are_told(desk: Any) -> None:
    """A filter hides rows from people and not from programs: who sends them is told."""

    def more(book: Any, sheet: Any) -> None:
        sheet.set_row(1, None, None, {"hidden": True})
        sheet.set_row(9, None, None, {"hidden": True})

    result = read(desk, workbook([HEAD, ["S1", "a.png", 48], ["S2", "a.png", 48]], more=more))
    assert [shot.code for shot in result.shots] == ["S1", "S2"]
    assert [(one.code, one.message) for one in result.warnings] == [
        ("W104", "1 hidden rows of the sheet Shots are read too")
    ]


def test_rejected_rows_of_a_workbook_come_back_as_csv_and_in_again(desk: Any, tmp_path: Any) -> None:
    """What a workbook showed is what the error file holds; corrected, it goes in as the workbook would have."""
    rows: list[list[object]] = [[*HEAD, "prompt"], ["001", "a.png", "x", "=1+1"], ["002", "a.png", 24, "fine"]]
    write_errors(tmp_path / "out.csv", read(desk, workbook(rows)))
    text = (tmp_path / "out.csv").read_text(encoding="utf-8-sig")
    assert "'=1+1" in text
    assert "002" not in text
    (shot,) = desk.read(text.replace("001,a.png,x", "001,a.png,8").encode("utf-8-sig")).shots
    assert (shot.code, shot.frames, shot.prompt) == ("001", 8, "=1+1")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("xl/workbook.bin", "XLSB"),
        ("content.xml", "ODS"),
        ("Index/Document.iwa", "Numbers"),
        ("word/document.xml", "Word"),
        ("readme.txt", "ZIP"),
    ],
)
def test_other_archives_are_told_by_name(desk: Any, part: str, name: str) -> None:
    """What is zipped and no XLSX is refused with its name and what to save it as."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(part, "x")
    (wrong,) = read(desk, stream.getvalue()).problems
    assert wrong.code == "E104"
    assert name in wrong.message
    assert "XLSX" in wrong.remedy


def test_old_and_protected_workbooks_are_told_apart(desk: Any) -> None:
    """An XLS and a workbook with a password begin alike, and need different remedies."""
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    assert codes(read(desk, old)) == ["E104"]
    assert codes(read(desk, old + "EncryptedPackage".encode("utf-16-le"))) == ["E112"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
TEXT = f'<row r="1">{cell("A1", "&a;")}</row>'
ROW = f'<row r="1">{cell("A1", "shot")}</row>'
STRINGS = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>shot</t></si></sst>'

MANY = b'<sst uniqueCount="2147483648"'

HOSTILE: list[tuple[str, bytes, str]] = [
    ("entity bomb", raw_workbook(sheet_xml(TEXT, head=BOMB)), "E113"),
    ("external entity", raw_workbook(sheet_xml(TEXT, head=OUTSIDE)), "E113"),
    ("entity in the workbook", raw_workbook(sheet_xml(ROW), head=OUTSIDE), "E113"),
    ("UTF-16 part", raw_workbook(sheet_xml(ROW).encode("utf-16")), "E113"),
    ("other encoding", raw_workbook(sheet_xml(ROW, head='<?xml version="1.0" encoding="utf-7"?>')), "E113"),
    ("no XML", raw_workbook(b"shot,plate\n"), "E113"),
    ("cut off", raw_workbook(sheet_xml(ROW)[:-20]), "E113"),
    ("far row", raw_workbook(sheet_xml(ROW + f'<row r="1048576">{cell("A1048576", "x")}</row>')), "E111"),
    ("far cell", raw_workbook(sheet_xml(ROW + f'<row r="90000">{cell("XFD90000", "x")}</row>')), "E111"),
    ("no such row", raw_workbook(sheet_xml(f'<row r="99999999999">{cell("A99999999999", "x")}</row>')), "E113"),
    ("no such column", raw_workbook(sheet_xml(f'<row r="1">{cell("ZZZ1", "x")}</row>')), "E113"),
    ("no column", raw_workbook(sheet_xml(f'<row r="1">{cell("é1", "x")}</row>')), "E113"),
    ("damaged archive", raw_workbook(sheet_xml(ROW))[:-30], "E113"),
    ("no sheet", raw_workbook(sheet_xml(ROW)).replace(b"sheet1.xml", b"sheet2.xml", 1), "E113"),
    ("texts without number", raw_workbook(sheet_xml(ROW), strings=STRINGS.replace(b"<sst", MANY)), "E113"),
    ("entity in the texts", raw_workbook(sheet_xml(ROW), strings=OUTSIDE.encode() + STRINGS), "E113"),
    ("nothing", raw_workbook(sheet_xml("")), "E106"),
]


@pytest.mark.parametrize(("name", "content", "code"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_a_hostile_workbook_is_refused_with_a_sentence(desk: Any, name: str, content: bytes, code: str) -> None:
    """Bombs, entities, foreign encodings and cells at the end of the world are refused at once."""
    started = time.process_time()
    assert codes(read(desk, content)) == [code]
    assert time.process_time() - started < 2


def test_a_zip_bomb_is_refused_before_it_is_unpacked(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much in little is refused by what the archive says of itself; a lie about it, by what comes out."""
    monkeypatch.setattr("catalogs.parts.MOST_UNPACKED", 50 * 1024**2)
    stream = io.BytesIO()
    archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("xl/workbook.xml", "w") as part:
        for _ in range(51):
            part.write(bytes(1024**2))
    content = stream.getvalue()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    assert codes(read(desk, content)) == ["E111"]
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
    size = (51 * 1024**2).to_bytes(4, "little")
    (wrong,) = read(desk, content.replace(size, (3000).to_bytes(4, "little"))).problems
    assert (wrong.code, "damaged" in wrong.message) == ("E113", True)


def test_a_part_that_is_packed_too_densely_is_refused(desk: Any) -> None:
    """Ten megabytes of blanks in a few kilobytes are no sheet that a person wrote."""
    (wrong,) = read(desk, raw_workbook(sheet_xml(ROW + " " * 10_000_000))).problems
    assert (wrong.code, "500:1" in wrong.message) == ("E113", True)


def test_two_parts_of_one_name_are_refused(desk: Any) -> None:
    """An archive that two programs would read differently is read by none."""
    content = io.BytesIO(raw_workbook(sheet_xml(ROW)))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(content, "a") as archive:
        archive.writestr("xl/workbook.xml", "<other/>")
    assert codes(read(desk, content.getvalue())) == ["E113"]


def test_formatted_blank_rows_up_to_a_million_are_no_rows(desk: Any) -> None:
    """A sheet that was formatted to its end is read as what it holds."""
    cells = [
        cell(f"{letter}{row}", text)
        for row, texts in ((1, HEAD), (2, ["S1", "a.png", "48"]))
        for letter, text in zip("ABC", texts, strict=True)
    ]
    body = f'<row r="1">{"".join(cells[:3])}</row><row r="2">{"".join(cells[3:])}</row>'
    blank = "".join(f'<row r="{row}" s="{row % 97}"/>' for row in range(3, 1_000_003, 5))
    started = time.process_time()
    assert [shot.code for shot in read(desk, raw_workbook(sheet_xml(body + blank))).shots] == ["S1"]
    assert time.process_time() - started < 5


def test_a_limit_is_told_as_it_is(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows as are allowed are read below the names, and the message names that number."""
    monkeypatch.setattr("catalogs.sheet.MOST_ROWS", 2)
    rows: list[list[object]] = [HEAD, *([f"S{number}", "a.png", 24] for number in range(3))]
    assert len(read(desk, workbook(rows[:3])).shots) == 2
    (wrong,) = read(desk, workbook(rows)).problems
    assert wrong.message == "the file has more than 2 rows"


def test_ten_thousand_columns_are_refused(desk: Any) -> None:
    """A sheet may be as wide as a CSV may."""
    assert codes(read(desk, workbook([["shot"] * 10_000]))) == ["E111"]


def test_a_merged_range_without_end_costs_what_the_sheet_has(desk: Any) -> None:
    """Ranges that overlap a thousand times are counted, not followed."""
    rows = "".join(f'<row r="{row}">{cell(f"A{row}", "x")}</row>' for row in range(1, 20_001))
    ranges = "".join(f'<mergeCell ref="A{row}:A1048576"/>' for row in range(1, 2_001))
    content = sheet_xml(rows).replace("</sheetData>", f"</sheetData><mergeCells>{ranges}</mergeCells>")
    started = time.process_time()
    assert codes(read(desk, raw_workbook(content))) == ["E111"]
    assert time.process_time() - started < 5


def test_a_count_that_can_be_is_believed(desk: Any) -> None:
    """What programs write of their texts is no reason to refuse them: one may stand in many cells."""
    strings = STRINGS.replace(b"<sst", b'<sst count="9999999" uniqueCount="1"')
    shared = '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'
    assert codes(read(desk, raw_workbook(sheet_xml(shared), strings=strings))) == ["E201"]


def test_what_calamine_is_given_was_judged(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of values sees a copy with the parts that were judged, and no other part of the archive."""
    seen: list[list[str]] = []
    real = catalogs.parts.packed

    def noting(parts: dict[str, bytes]) -> io.BytesIO:
        seen.append(sorted(parts))
        return real(parts)

    monkeypatch.setattr("catalogs.workbook.packed", noting)
    read(desk, raw_workbook(sheet_xml(ROW), strings=STRINGS, extra={"xl/vbaProject.bin": b"evil", "../../x": b"evil"}))
    assert seen == [
        ["xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"]
    ]
