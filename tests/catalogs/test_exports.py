"""Claims about lists that trackers export: they go in unchanged, and what they leave open can be said beside them.

Headers are those of zou's shots export (Kitsu), of ShotGrid's shot fields, and of AYON's tray publisher settings.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from workbooks import workbook

from catalogs.filling import Filling, assignments
from catalogs.shotlist import ReadResult, read_shot_list

KITSU = """Project,Episode,Sequence,Name,Description,Time Spent,Nb Frames,Frame In,Frame Out,FPS,Resolution,Weather,\
Layout,Assignations,Animation,Assignations
Agent 327,E01,SQ010,SH0010,"the lamp flickers, once",0.00,48,1001,1048,25.000,1280x720,rain,wip,Zoë,todo,
Agent 327,E01,SQ010,SH0020,,0.50,456,0,456,25.000,1280x720,,done,"Zoë,Ann",wip,Ann
"""
SHOTGRID = """Id,Shot Code,Sequence,Description,Status,Cut In,Cut Out,Cut Duration,Head In,Tail Out,Thumbnail
1166,SQ010_SH0010,SQ010,the lamp flickers,ip,1009,1056,48,1001,1064,
1167,SQ010_SH0020,SQ010,fog,wtg,1009,1032,24,1001,1040,
"""
AYON = """File Path,Folder Path,Task Name,Product Type,Variant,Version,Frame Start,Frame End,Handle Start,Handle End,\
FPS,Slate Exists
a.png,/AGM/SQ010/SH0010,comp,plate,Main,3,1001,1048,8,8,23.976,False
a.png,/AGM/SQ010/SH0020,comp,plate,Main,1,1001,1024,0,0,24.0,False
"""


def told(result: ReadResult) -> list[str]:
    """Codes of everything that was found."""
    return [one.code for one in (*result.problems, *result.warnings)]


def rules(desk: Any, *, defaults: tuple[str, ...] = (), fixed: tuple[str, ...] = (), **other: Any) -> Any:
    """The desk's rules with what the sender says beside the list."""
    return replace(desk.rules, filling=Filling(assignments(defaults), assignments(fixed)), **other)


def test_a_kitsu_export_goes_in(desk: Any) -> None:
    """Every column finds its field or is kept; a project's name and a missing plate are said beside the list."""
    desk.plate("plates/SQ010/SH0010.png")
    desk.plate("plates/SQ010/SH0020.png")
    beside = rules(desk, fixed=("show=AGM",), defaults=("plate=plates/{sequence}/{shot}.png", "prompt=still"))
    result = desk.read(KITSU, rules=beside)
    assert told(result) == ["W306"]
    first, second = result.shots
    assert (first.name, first.sequence, first.frames, first.rate) == ("AGM/SH0010", "E01_SQ010", 48, Fraction(25))
    assert (first.prompt, second.prompt) == ("the lamp flickers, once", "still")
    assert (second.frames, second.plate.path.endswith("SQ010/SH0020.png")) == (456, True)
    assert first.metadata == (
        ("Time Spent", "0.00"),
        ("Weather", "rain"),
        ("Layout", "wip"),
        ("Assignations", "Zoë"),
        ("Animation", "todo"),
    )


def test_a_kitsu_export_without_a_word_says_what_is_missing(desk: Any) -> None:
    """A project's name that is no code and the plates that Kitsu does not know are told, each with its remedy."""
    assert told(desk.read(KITSU)) == ["E201", "E302", "E302", "W306"]


def test_a_shotgrid_export_goes_in(desk: Any) -> None:
    """Heads and tails are handles, cut in and out and duration agree, what is not known is kept."""
    result = desk.read(SHOTGRID, rules=rules(desk, defaults=("plate=a.png",), default_show="AGM"))
    assert told(result) == []
    assert [(shot.name, shot.sequence, shot.frames, shot.handles) for shot in result.shots] == [
        ("AGM/SQ010_SH0010", "SQ010", 48, 8),
        ("AGM/SQ010_SH0020", "SQ010", 24, 8),
    ]
    assert result.shots[0].metadata == (("Id", "1166"), ("Status", "ip"))


def test_an_ayon_sheet_goes_in(desk: Any) -> None:
    """Folders are show, sequence and shot, the file is the plate, the version is kept."""
    result = desk.read(AYON, "ingest 1.csv")
    assert told(result) == []
    first, second = result.shots
    assert (first.name, first.sequence, first.handles, first.rate) == ("AGM/SH0010", "SQ010", 8, Fraction(24000, 1001))
    assert (second.handles, second.frames, second.rate) == (0, 24, Fraction(24))
    assert ("Version", "3") in first.metadata


def test_an_export_as_a_workbook_is_the_same_list(desk: Any) -> None:
    """The three lists give the same shots as XLSX, numbers typed as numbers."""
    for text, beside in (
        (SHOTGRID, rules(desk, defaults=("plate=a.png",), default_show="AGM")),
        (AYON, rules(desk)),
        (KITSU, rules(desk, fixed=("show=AGM",), defaults=("plate=a.png",))),
    ):
        as_csv = desk.read(text, rules=beside)
        cells: list[list[object]] = []
        for row in csv.reader(text.splitlines()):
            cells.append([float(cell) if cell.replace(".", "").isdigit() else cell for cell in row])
        path = desk.write(workbook(cells), "AGM.xlsx")
        as_sheet = read_shot_list(path, beside)
        assert [replace(shot, metadata=()) for shot in as_sheet.shots] == [
            replace(shot, metadata=()) for shot in as_csv.shots
        ]
        assert as_sheet.shots


@pytest.mark.parametrize(
    ("path", "show", "expected"),
    [
        ("/AGM/SQ010/SH1", None, ("AGM", "SQ010", "SH1")),
        ("AGM/SQ010/SH1/", None, ("AGM", "SQ010", "SH1")),
        ("/AGM/E01/SQ010/SH1", None, ("AGM", "E01_SQ010", "SH1")),
        ("/shots/SQ010/SH1", None, ("LIST", "SQ010", "SH1")),
        ("/SQ010/SH1", None, ("LIST", "SQ010", "SH1")),
        ("/SH1", None, ("LIST", "", "SH1")),
        ("/E01/SQ010/SH1", "BEE", ("BEE", "E01_SQ010", "SH1")),
        ("/AGM/E01/SQ010/SH1", "BEE", ("AGM", "E01_SQ010", "SH1")),
    ],
)
def test_folders_are_read_from_their_end(desk: Any, path: str, show: str | None, expected: tuple[str, ...]) -> None:
    """The last is the shot; who names a show has none in the path, unless there are four folders."""
    result = desk.read(
        f"folder path,plate,frames\n{path},a.png,48\n", "LIST.csv", replace(desk.rules, default_show=show)
    )
    assert [(shot.show, shot.sequence, shot.code) for shot in result.shots] == [expected]


def test_a_bad_folder_is_told_at_the_path(desk: Any) -> None:
    """The message names the column that stands in the file, and the folder that is no code."""
    (wrong,) = desk.read("Folder Path,plate,frames\n/AGM/SQ 1/SH1,a.png,48\n").problems
    assert (wrong.code, wrong.column, wrong.value) == ("E302", "Folder Path", "SQ 1")


def test_handles_that_differ_are_refused_until_somebody_decides(desk: Any) -> None:
    """A head without a tail has no single number; `handles`, in the list or beside it, is one."""
    text = "shot,plate,cut in,cut out,head in,tail out\nS1,a.png,1009,1056,1001,1060\n"
    assert told(desk.read(text)) == ["E345"]
    (shot,) = desk.read(text, rules=rules(desk, fixed=("handles=8",))).shots
    assert shot.handles == 8
    assert told(desk.read(text.replace("1001", "1010"))) == ["E307"]


def test_what_is_set_wins_and_a_default_does_not(desk: Any) -> None:
    """`--set` holds against the cell, `--default` where it is empty, and both count as a column that is there."""
    text = "shot,plate,priority\nS1,a.png,7\nS2,a.png,\n"
    beside = rules(desk, fixed=("frames=24",), defaults=("priority=3", "notes=from {shot} of {show}"))
    assert [(shot.frames, shot.priority, shot.notes) for shot in desk.read(text, rules=beside).shots] == [
        (24, 7, "from S1 of AGM"),
        (24, 3, "from S2 of AGM"),
    ]
    (wrong, _) = desk.read(text, rules=rules(desk, fixed=("frames=x",))).problems
    assert (wrong.code, wrong.column, wrong.value) == ("E306", "frames", "x")


@pytest.mark.parametrize("word", ["frames", "framez=1", "plate={shott}.png", "error=x"])
def test_an_assignment_that_says_nothing_is_refused(word: str) -> None:
    """A typing error beside the list is told, not swallowed."""
    with pytest.raises(ValueError, match=r"use one of|with one of"):
        assignments([word])


def test_near_duplicates_need_a_word(desk: Any) -> None:
    """SH10 and SH010 are one shot typed twice, until somebody says that they are two; the line is named."""
    text = "shot,plate,frames\nSH10,a.png,48\nSH020,a.png,48\nSH010,a.png,48\nBEE,a.png,48\n"
    (wrong,) = desk.read(text).problems
    assert (wrong.code, wrong.line, "nearly SH10, in line 2" in wrong.message) == ("E346", 4, True)
    assert len(desk.read(text, rules=replace(desk.rules, allow_new=True)).shots) == 4
    two_shows = "show,shot,plate,frames\nA,SH10,a.png,48\nB,SH010,a.png,48\n"
    assert told(desk.read(two_shows)) == []
