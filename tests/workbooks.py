"""Workbooks for tests: whole ones by a library, hostile ones by hand."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import xlsxwriter

OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(
    rows: Sequence[Sequence[object]], *, name: str = "Shots", more: Callable[[Any, Any], None] | None = None
) -> bytes:
    """A workbook whose first sheet holds `rows`, each value in its own type; `more` adds to (workbook, sheet)."""
    stream = io.BytesIO()
    book = xlsxwriter.Workbook(stream, {"in_memory": True, "strings_to_numbers": False, "strings_to_formulas": False})
    sheet = book.add_worksheet(name)
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for line, row in enumerate(rows):
        for place, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, str):
                sheet.write_string(line, place, value)
            elif hasattr(value, "isoformat"):
                sheet.write_datetime(line, place, value, day)
            else:
                sheet.write(line, place, value)
    if more is not None:
        more(book, sheet)
    book.close()
    return stream.getvalue()


def raw_workbook(
    sheet: str | bytes, *, strings: bytes | None = None, extra: dict[str, bytes] | None = None, head: str = ""
) -> bytes:
    """A workbook with this very XML in its only sheet; `head` stands in front of workbook.xml's root."""
    parts: dict[str, str | bytes] = {
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r1" Type="{OFFICE}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{head}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="Shots" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r1" '
        f'Type="{OFFICE}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" '
        f'Type="{OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": sheet,
        **(extra or {}),
    }
    if strings is not None:
        parts["xl/sharedStrings.xml"] = strings
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


def sheet_xml(body: str, *, head: str = "") -> str:
    """A sheet's XML around rows."""
    return f'{head}<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'


def cell(reference: str, text: str) -> str:
    """A cell of text."""
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'
