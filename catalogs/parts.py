"""The parts of an XLSX file, unpacked within bounds, and what a sheet's XML says before a library reads it.

Knows: zip archives, XML as expat reads it, bounds. Does not know: values of cells; python-calamine reads those, from a
copy that holds nothing but the parts which went through here: it takes a sheet's outermost cells, and a part's own word
for how many texts it has, for the size of its memory, and where there is not as much the process is gone. Memory:
MOST_UNPACKED, and 60 bytes for each cell that is marked.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

MOST_PARTS: Final = 10_000
"""Files that an archive may hold."""

MOST_UNPACKED: Final = 200 * 1024 * 1024
"""Bytes of the parts that are read, unpacked: a hundred thousand rows of thirty columns."""

DENSEST: Final = 500
"""How much smaller than itself a packed part of more than a megabyte may be; sheets reach 50."""

WORKBOOK: Final = "xl/workbook.xml"
RELATIONS: Final = "xl/_rels/workbook.xml.rels"
WIDEST: Final = 16_384
"""Columns of a sheet, as the format has them."""

_PERCENT: Final = frozenset((9, 10))  # number formats that need no definition: 0% and 0.00%
_ZEROS: Final = re.compile(r'(?:"([^"]{0,40})")?(0{1,15})')  # 0000, "SH"0000
_READ: Final = 1 << 18
_OFFICE: Final = "http://schemas.openxmlformats.org"
_ROOT: Final = (
    f'<Relationships xmlns="{_OFFICE}/package/2006/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument/2006/relationships/officeDocument" Target="{WORKBOOK}"/></Relationships>'
)
_DIGITS: Final = "0123456789"


class PartError(ValueError):
    """A part cannot be read; the message says why, without a full stop."""


class LimitError(ValueError):
    """A file is larger than is read; the message is the limit."""


@dataclass(frozen=True, slots=True)
class SheetName:
    """One sheet of a workbook."""

    name: str
    part: str
    """Name of its part in the archive; empty if the workbook does not say."""
    hidden: bool


@dataclass(frozen=True, slots=True)
class Styles:
    """Cell styles, by their number, that show a number as something else."""

    percent: frozenset[str] = frozenset()
    """Those that show a percentage."""
    zeros: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Those that put words in front and fill up with zeros: the words, and how many digits there are at least."""


@dataclass(slots=True)
class Marks:
    """What a sheet's XML says beyond its values. Cells are packed: row (from 1) times WIDEST plus column (from 0)."""

    last_row: int = 0
    """The last row with a value, counted from 1."""
    width: int = 0
    """Columns up to the last with a value."""
    percent: set[int] = field(default_factory=set)
    """Cells that are shown as a percentage."""
    zeros: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Cells whose numbers are shown with words in front, and zeros up to so many digits."""
    formulas: set[int] = field(default_factory=set)
    """Cells whose value was computed; without those that came out as text, which may be none."""
    computed: int = 0
    """How many cells hold a formula."""
    errors: set[int] = field(default_factory=set)
    """Cells that hold the spreadsheet's own error, such as #REF!."""
    merged: list[tuple[int, int, int]] = field(default_factory=list)
    """First row, last row and first column of every range that is merged over several rows."""
    hidden: int = 0
    """How many rows with a value are hidden."""


def opened(raw: bytes) -> zipfile.ZipFile:
    """The archive. Raises PartError."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise PartError("its archive is damaged") from error
    names = archive.namelist()
    if len(names) > MOST_PARTS:
        raise LimitError(f"{MOST_PARTS:,} parts")
    return archive


def unpacked(archive: zipfile.ZipFile, names: list[str]) -> dict[str, bytes]:
    """Those of `names` that are there, as bytes. Raises PartError and LimitError."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in names and entries.setdefault(entry.filename, entry) is not entry:
            raise PartError(f"it holds {entry.filename} twice")
    left = MOST_UNPACKED
    if sum(entry.file_size for entry in entries.values()) > left:
        raise LimitError(f"{MOST_UNPACKED // 1024**2} MB unpacked")
    found = {}
    for name, entry in entries.items():
        if entry.flag_bits & 1:
            raise PartError(f"{name} is encrypted")
        if entry.file_size > 1024**2 and entry.file_size > DENSEST * max(1, entry.compress_size):
            raise PartError(f"{name} is packed more than {DENSEST}:1")
        try:
            with archive.open(entry) as stream:
                # not more than it says it has: the size was judged, and zipfile compares the checksum at its end
                found[name] = stream.read(left + 1)
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, RuntimeError) as error:
            raise PartError(f"{name} is damaged") from error
        except Exception as error:  # zlib and lzma raise their own
            raise PartError(f"{name} is damaged") from error
        left -= len(found[name])
    return found


def packed(parts: dict[str, bytes]) -> io.BytesIO:
    """An archive of `parts` alone, for a reader that trusts archives."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("_rels/.rels", _ROOT)
        for name, content in parts.items():
            archive.writestr(name, content)
    stream.seek(0)
    return stream


def related(relations: bytes) -> list[tuple[str, str, str]]:
    """Key, kind (`worksheet`, `styles`, `sharedStrings` ...) and part of all that a workbook refers to.

    Raises PartError.
    """
    found: list[tuple[str, str, str]] = []

    def relation(tag: str, attributes: dict[str, str]) -> None:
        if _local(tag) == "Relationship" and attributes.get("TargetMode") != "External":
            part = posixpath.normpath(posixpath.join("/xl", attributes.get("Target", ""))).lstrip("/")
            found.append((attributes.get("Id", ""), attributes.get("Type", "").rpartition("/")[2], part))

    _parse(RELATIONS, relations, relation)
    return found


def sheets(workbook: bytes, parts: Mapping[str, str]) -> list[SheetName]:
    """The worksheets of a workbook, in the order of their tabs; `parts` are those by their keys. Raises PartError."""
    found: list[SheetName] = []

    def sheet(tag: str, attributes: dict[str, str]) -> None:
        if _local(tag) == "sheet":
            key = next((value for name, value in attributes.items() if name.endswith(":id")), "")
            if key in parts:
                hidden = attributes.get("state", "visible") != "visible"
                found.append(SheetName(attributes.get("name", ""), parts[key], hidden))

    _parse(WORKBOOK, workbook, sheet)
    return found


def styles_in(name: str, styles: bytes) -> Styles:
    """What the cell styles show. Raises PartError."""
    percent_formats, zero_formats = set(_PERCENT), dict[int, tuple[str, int]]()
    percent: set[str] = set()
    zeros: dict[str, tuple[str, int]] = {}
    counted = -1

    def style(tag: str, attributes: dict[str, str]) -> None:
        nonlocal counted
        kind = _local(tag)
        if kind == "numFmt":
            code, number = attributes.get("formatCode", ""), _whole(attributes.get("numFmtId", ""))
            if match := _ZEROS.fullmatch(code):
                zero_formats[number] = (match[1] or "", len(match[2]))
            elif "%" in code:
                percent_formats.add(number)
        elif kind == "cellXfs":
            counted = 0
        elif kind in ("cellStyles", "dxfs"):
            counted = -1
        elif kind == "xf" and counted >= 0:
            number = _whole(attributes.get("numFmtId", ""))
            if number in percent_formats:
                percent.add(str(counted))
            elif number in zero_formats:
                zeros[str(counted)] = zero_formats[number]
            counted += 1

    _parse(name, styles, style)
    return Styles(frozenset(percent), zeros)


def judge_strings(name: str, strings: bytes) -> None:
    """Raises PartError for a part of texts that says it has more of them than it has bytes, or is no XML."""

    def begin(tag: str, attributes: dict[str, str]) -> None:
        count = attributes.get("uniqueCount", "0")
        if not (count.isdigit() and count.isascii() and len(count) < 10 and int(count) <= len(strings)):
            raise PartError(f"{name} says that it has {count[:20]} texts")

    _parse(name, strings, begin)


def marks(name: str, sheet: bytes, *, styles: Styles, most_cells: int) -> Marks:
    """What stands in a sheet's XML. Raises PartError, and LimitError at twice `most_cells` cells."""
    made, percent, zeros = Marks(), styles.percent, styles.zeros
    letters: dict[str, int] = {}
    row, cell, elements, at, shown, kind, formula, lurking = 0, 0, 0, "", "", "", False, False

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal row, cell, elements, at, shown, kind, formula, lurking
        if tag == "c":
            at, shown, kind, formula = attributes.get("r", ""), attributes.get("s", ""), attributes.get("t", ""), False
            cell += 1
            if at:
                column = at.rstrip(_DIGITS)
                if column not in letters:
                    letters[column] = _column(column)
                cell = letters[column]
                if at[len(column) :] != str(row):
                    row = _whole(at[len(column) :])
            elements += 1
            if elements > 2 * most_cells:
                raise LimitError(f"{most_cells:,} cells")
        elif tag in ("v", "is"):
            if row > made.last_row:
                made.last_row = row
                made.hidden += lurking
            if cell >= made.width:
                made.width = cell + 1
            if shown in percent and not kind.strip("n"):
                made.percent.add(row * WIDEST + cell)
            elif shown in zeros and not kind.strip("n"):
                made.zeros[row * WIDEST + cell] = zeros[shown]
            elif kind == "e":
                made.errors.add(row * WIDEST + cell)
            if formula and kind != "str":
                made.formulas.add(row * WIDEST + cell)
        elif tag == "f":
            formula = True
            made.computed += 1
            if kind not in ("str", "e"):
                made.formulas.add(row * WIDEST + cell)
        elif tag == "row":
            row = _whole(attributes.get("r", "")) or row + 1
            cell, lurking = -1, attributes.get("hidden") in ("1", "true")
        elif tag == "mergeCell":
            _merge(attributes.get("ref", ""), made)
        elif ":" in tag:
            begin(_local(tag), attributes)

    _parse(name, sheet, begin)
    return made


def _merge(reference: str, made: Marks) -> None:
    first, _, last = reference.partition(":")
    letters = first.rstrip(_DIGITS)
    top, bottom = _whole(first[len(letters) :]), _whole(last.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    if bottom > top:
        made.merged.append((top, bottom, _column(letters)))


def _parse(name: str, content: bytes, begin: Callable[[str, dict[str, str]], None]) -> None:
    """Calls `begin` for every element. A DOCTYPE ends it: no spreadsheet has one, and entities are made in it."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4]:
        raise PartError(f"{name} is not UTF-8")
    parser = expat.ParserCreate()
    parser.StartElementHandler = begin

    def doctype(*_: object) -> None:
        raise PartError(f"{name} defines entities")

    def declaration(_: str, encoding: str | None, __: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "us-ascii"):
            raise PartError(f"{name} is not UTF-8")

    parser.StartDoctypeDeclHandler = doctype
    parser.XmlDeclHandler = declaration
    view = memoryview(content)
    try:
        for offset in range(0, len(content), _READ):
            parser.Parse(view[offset : offset + _READ], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise PartError(f"{name} is no XML from line {error.lineno} on") from error
    except RecursionError as error:
        raise PartError(f"{name} is nested too deeply") from error


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]


def _whole(text: str) -> int:
    """A row's number; 0 for what is none. Raises PartError for one that no sheet has."""
    if not text or not text.isascii() or not text.isdigit():
        return 0
    if len(text) > 7:
        raise PartError(f"it names a row {text[:20]}")
    return int(text)


def _column(letters: str) -> int:
    """The place of column `A`, `AB`, counted from 0. Raises PartError."""
    place = 0
    for letter in letters[:4]:
        if not "A" <= letter <= "Z":
            raise PartError(f"it names a column {letters[:20]}")
        place = place * 26 + ord(letter) - 64
    if not 1 <= place <= WIDEST:
        raise PartError(f"it names a column {letters[:20]}")
    return place - 1
