"""Claims about `dailies submit` with workbooks and with what is said beside a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rendering import House, clean_environment
from workbooks import workbook

from flows.inbox import hold, settle
from flows.settings import Settings

HEAD = ["show", "shot", "plate", "frames", "fps"]


@pytest.fixture
def house(tmp_path: Path, plate_path: Path) -> House:
    """A home with a plate and nothing else."""
    return House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(tmp_path / "home")))


def book(house: House, *rows: list[object], sheet: str = "Shots") -> Path:
    """A workbook beside the plate, whose first sheet is notes."""

    def more(book: Any, first: Any) -> None:
        other = book.add_worksheet(sheet)
        for line, row in enumerate([HEAD, *rows]):
            other.write_row(line, 0, row)

    path = house.plate.parent / f"{house.folder.name}.xlsx"
    path.write_bytes(workbook([["Ask Ann before changing anything"]], name="Notes", more=more))
    return path


def test_a_workbook_is_submitted_by_its_sheet(house: House) -> None:
    """--sheet chooses; a wrong name lists those there are, the wrong sheet says what is missing."""
    path = book(house, ["AGM", "SH0010", house.plate.name, 48, 23.976])
    assert house.json("submit", str(path), "--sheet", "shots")["accepted"] == 1
    [shot] = house.json("shots")["shots"]
    assert (shot["shot"], shot["frames"]) == ("SH0010", 48)
    [wrong] = house.json("submit", str(path), "--sheet", "Shot", code=2)["errors"]
    assert (wrong["code"], wrong["remedy"]) == ("E114", "use Notes, Shots")
    assert "E201" in {error["code"] for error in house.json("submit", str(path), code=2)["errors"]}


def test_rejected_rows_of_a_workbook_go_in_as_csv(house: House, tmp_path: Path) -> None:
    """--errors gives a CSV of the bad rows; corrected it is taken in."""
    path = book(house, ["AGM", "001", house.plate.name, "many", 24], ["AGM", "002", house.plate.name, 24, 24])
    out = house.plate.parent / f"{tmp_path.name}-errors.csv"
    house.json("submit", str(path), "--sheet", "Shots", "--errors", str(out), code=2)
    text = out.read_text(encoding="utf-8-sig")
    assert "E306" in text
    assert "002" not in text
    out.write_text(text.replace("many", "12"), encoding="utf-8-sig")
    assert house.json("submit", str(out))["accepted"] == 1
    assert [(shot["shot"], shot["frames"]) for shot in house.json("shots")["shots"]] == [("001", 12)]


def test_what_a_list_leaves_open_is_said_beside_it(house: House) -> None:
    """--default fills empty cells and missing columns, --set holds whatever stands there; nonsense is told."""
    path = house.plate.parent / f"{house.folder.name}-kitsu.csv"
    path.write_text("Project,Sequence,Name,Nb Frames,Frame In,Frame Out,FPS\nBig Show,SQ010,SH0010,48,1001,1048,25\n")
    plate = f"plate={house.plate.stem}{{episode}}{house.plate.suffix}"
    words = ("--set", "show=AGM", "--default", plate, "--default", "notes={sequence}/{shot}")
    assert house.json("submit", str(path), *words)["accepted"] == 1
    assert [shot["show"] for shot in house.json("shots")["shots"]] == ["AGM"]
    done = house.run("submit", str(path), "--default", "plates=x")
    assert done.returncode == 2
    assert "'plates' is no column" in done.stderr


def test_a_workbook_in_the_inbox_is_taken_in_or_comes_back(tmp_path: Path, plate_path: Path) -> None:
    """The inbox reads workbooks as the command line does, and gives rejected rows back as CSV."""
    settings = Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(plate_path.parent)})
    inbox = settings.home / "inbox"
    inbox.mkdir(parents=True)
    for name, frames in (("good.xlsx", 24), ("bad.xlsx", 0)):
        path = inbox / name
        path.write_bytes(workbook([HEAD, ["AGM", f"SH{frames:04}", plate_path.name, frames, 24]]))
        folder = hold(path, inbox)
        assert folder
        assert settle(folder, settings).accepted is (name == "good.xlsx")
    lying = {
        kind: {path.name.partition("-")[2] for path in (inbox / kind).iterdir()} for kind in ("accepted", "rejected")
    }
    assert lying["accepted"] == {"good.xlsx", "good.xlsx.report.txt"}
    assert lying["rejected"] == {"bad.xlsx", "bad.errors.csv", "bad.xlsx.report.txt"}
