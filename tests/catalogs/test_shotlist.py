"""Claims about reading a shot list: what is accepted, and what every code of the table refuses."""

from __future__ import annotations

import csv
import os
import re
import runpy
import time
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import catalogs.sheet
from catalogs.columns import ALIASES, CellError, read_code, read_deliveries
from catalogs.formats import delivery_complaints
from catalogs.problems import KINDS, problem
from catalogs.request import ModelRules
from catalogs.shot import CODE, EXTRAS, QUALITIES, Delivery, Shot
from catalogs.shotlist import ReadResult, read_shot_list, write_errors

HEAD = "shot,plate,frames\n"
PAGE = Path(__file__).parents[2] / "docs" / "shot-lists.md"


CELLS: list[tuple[str, dict[str, str]]] = [
    ("E301", {"shot": ""}),
    ("E302", {"shot": "SH 10"}),
    ("E302", {"shot": "../SH10"}),
    ("E302", {"shot": "SH١"}),
    ("E302", {"sequence": "_SQ"}),
    ("E302", {"show": "a/b"}),
    ("E303", {"shot": "CON"}),
    ("E303", {"show": "nul.x"}),
    ("E303", {"shot": "com1"}),
    ("E303", {"shot": "SH10."}),
    ("E304", {"shot": "S" * 65}),
    ("E304", {"episode": "E" * 40, "sequence": "S" * 40}),
    ("E306", {"frames": "abc"}),
    ("E306", {"frames": "NaN"}),
    ("E306", {"frames": "1e9"}),
    ("E306", {"frames": "١٢"}),
    ("E306", {"frames": "48.5"}),
    ("E306", {"seed": "0x10"}),
    ("E307", {"frames": "0"}),
    ("E307", {"frames": "-1"}),
    ("E307", {"frames": "1000000000"}),
    ("E307", {"frames": "9" * 5000}),
    ("E307", {"handles": "-1"}),
    ("E307", {"seed": str(2**63)}),
    ("E307", {"steps": "0"}),
    ("E307", {"priority": "100"}),
    ("E307", {"guidance": "101"}),
    ("E307", {"frames": "", "seconds": "0"}),
    ("E307", {"frames": "", "seconds": "99999"}),
    ("E307", {"frames": "", "frame_in": "1", "frame_out": "9999999"}),
    ("E308", {"guidance": "five"}),
    ("E308", {"frames": "", "seconds": "2,5"}),
    ("E308", {"frames": "", "seconds": "inf"}),
    ("E309", {"frames": ""}),
    ("E310", {"frames": "48", "frame_in": "1001", "frame_out": "1047"}),
    ("E310", {"frames": "48", "seconds": "2"}),
    ("E311", {"frame_in": "1001"}),
    ("E311", {"frame_out": "1001"}),
    ("E312", {"frames": "", "frame_in": "1001", "frame_out": "1000"}),
    ("E313", {"fps": "24 fps"}),
    ("E313", {"fps": "0"}),
    ("E313", {"fps": "٢٤"}),
    ("E314", {"resolution": "4k"}),
    ("E314", {"resolution": "1281x720"}),
    ("E314", {"resolution": "0x0"}),
    ("E314", {"resolution": "99999x99999"}),
    ("E315", {"model": "sora"}),
    ("E316", {"model": "wan", "prompt": "p", "resolution": "1920x1080"}),
    ("E316", {"model": "wan", "prompt": "p", "resolution": "320x160"}),
    ("E317", {"model": "wan", "prompt": "p", "frames": "199", "handles": "1"}),
    ("E318", {"camera": "crash zoom"}),
    ("E319", {"deliveries": "h265 avi"}),
    ("E319", {"deliveries": "prores:9"}),
    ("E319", {"deliveries": "webm:vp9:av1"}),
    ("E319", {"deliveries": "h264:review:master"}),
    ("E319", {"deliveries": ","}),
    ("E320", {"speed": "2"}),
    ("E320", {"speed": "1/0"}),
    ("E320", {"speed": "slow"}),
    ("E320", {"speed": "1/17"}),
    ("E321", {"due": "24.12.2026"}),
    ("E321", {"due": "2026-02-30"}),
    ("E321", {"due": "20261224"}),
    ("E322", {"model": "wan", "prompt": ""}),
    ("E323", {"prompt": "a\x07b"}),
    ("E323", {"Vendor": "a\x1bb"}),
    ("E324", {"notes": "n" * 10_001}),
    ("E306", {"overlap": "five"}),
    ("E307", {"max_rerolls": "9"}),
    ("E307", {"overlap": "-1"}),
    ("E326", {"prompt": "a lake [4] calm"}),
    ("E327", {"prompt": "a lake [1.6s] calm"}),
    ("E328", {"anchors": "a.png"}),
    ("E329", {"anchors": "2s=a.png"}),
    ("E336", {"retimer": "minterpolate"}),
    ("E337", {"Digital Source Type": "digitalCapture"}),
    ("E340", {"deliveries": "prores:master"}),
    ("E340", {"deliveries": "png:review"}),
    ("E341", {"deliveries": "exr:silent"}),
    ("E342", {"deliveries": "h265:burnin"}),
    ("E342", {"deliveries": "prores:slate"}),
    ("E343", {"deliveries": "h264", "resolution": "4096x4096"}),
    ("E344", {"deliveries": "h264", "resolution": "4096x2304", "fps": "60"}),
    ("E345", {"handle_start": "8", "handle_end": "4"}),
    ("E347", {"folder_path": "/a/b/c/d/e"}),
    ("E401", {"plate": ""}),
    ("E402", {"plate": "nothing.png"}),
    ("E402", {"plate": "n" * 5000}),
    ("E402", {"plate": "https://example.com/a.png"}),
    ("E402", {"end_plate": "nothing.png"}),
    ("E403", {"plate": "../a.png"}),
    ("E403", {"plate": "/etc/hostname"}),
    ("E404", {"plate": "."}),
    ("E402", {"anchors": "1s=nothing.png"}),
    ("E404", {"anchors": "1s=."}),
    ("E601", {"model": "t2v", "prompt": "p", "loras": "mist:strong"}),
    ("E602", {"model": "t2v", "prompt": "p", "loras": "mist:11"}),
    ("E603", {"model": "t2v", "prompt": "p", "loras": "fog"}),
    ("E604", {"model": "t2v", "prompt": "p", "loras": "looks/fog.safetensors"}),
    ("E605", {"model": "t2v", "prompt": "p", "loras": "looks/fog.pt"}),
    ("E606", {"model": "t2v", "prompt": "p", "loras": "/etc/fog.safetensors"}),
    ("E608", {"model": "t2v", "prompt": "p", "loras": "mist:1 mist:0.5"}),
    ("E609", {"model": "t2v", "prompt": "p", "loras": "rain"}),
    ("W201", {"promt": "rain"}),
    ("W301", {"loras": "film-look"}),
    ("W302", {"frames": "", "seconds": "2", "fps": "29.97"}),
    ("W303", {"deliveries": "webm webm"}),
    ("W303", {"deliveries": "h264:slate:burnin h264:burnin:high:slate:client"}),
    ("W306", {"frame_in": "1001", "frame_out": "1049"}),
    ("W401", {"resolution": "1024x1024"}),
]

FILES: list[tuple[str, str | bytes]] = [
    ("E104", b"%PDF-1.7"),
    ("E112", b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le")),
    ("E113", b"PK\x03\x04 and so on"),
    ("E105", b"shot,frames\0\n"),
    ("E105", "shot,frames\n".encode("utf-16")),
    ("E106", b""),
    ("E106", b"\xef\xbb\xbf \n\n"),
    ("E106", b",,,\n,,\n"),
    ("E107", HEAD),
    ("E107", HEAD + "\n,,\n"),
    ("E108", HEAD + 'SH10,"a.png,48\n'),
    ("E108", HEAD + 'SH10,"a.png"x,48\n'),
    ("E109", HEAD + "SH10,a.png,48,extra\n"),
    ("E110", HEAD.encode() + b"SH10,\x81\x8d.png,48\n"),
    ("E201", "plate,frames\na.png,48\n"),
    ("E201", "shot,plate\nSH10,a.png\n"),
    ("E201", "shot,frames\nSH10,48\n"),
    ("E202", "shot,Shot Code,plate,frames\nSH10,SH10,a.png,48\n"),
    ("E305", HEAD + "SH10,a.png,48\nsh10,a.png,48\n"),
    ("E346", HEAD + "SH10,a.png,48\nSH010,a.png,48\n"),
    ("W101", HEAD.encode() + b"SH10,a.png,48\nSH20,a.png,48\n".replace(b"SH20,a.png", b"SH20,\xe4.png")),
    ("W202", "shot,plate,frames,\nSH10,a.png,48,x\n"),
]


def codes(result: ReadResult) -> list[str]:
    """Codes of a result's errors, in order."""
    return [one.code for one in result.problems]


def notices(result: ReadResult) -> list[str]:
    """Codes of a result's warnings, in order."""
    return [one.code for one in result.warnings]


@pytest.mark.parametrize(("code", "cells"), CELLS, ids=[f"{c}-{next(iter(d))}" for c, d in CELLS])
def test_a_cell_that_is_wrong_has_its_code(code: str, cells: dict[str, str], desk: Any) -> None:
    """One wrong cell gives one problem: its code, its line, its column and its value."""
    result = desk.one(**cells)
    found = result.problems if code.startswith("E") else result.warnings
    assert [one.code for one in found] == [code]
    assert found[0].line == (1 if code == "W201" else 2)
    assert bool(result.shots) == code.startswith("W")


@pytest.mark.parametrize(("code", "content"), FILES)
def test_a_file_that_is_wrong_has_its_code(code: str, content: str | bytes, desk: Any) -> None:
    """One wrong thing about a file gives one problem with its code."""
    desk.plate("ä.png")
    result = desk.read(content)
    assert codes(result) + notices(result) == [code]


def test_every_code_is_tested_and_documented() -> None:
    """No code without a list here or a test elsewhere that meets it, and docs/shot-lists.md has the table of codes."""
    here = {code for code, _ in CELLS} | {code for code, _ in FILES}
    tests = [path.read_text(encoding="utf-8") for path in PAGE.parents[1].rglob("tests/**/test_*.py")]
    bodies = [text[text.index("\ndef ") :] if "\ndef " in text else "" for text in tests]
    elsewhere = {code for code in KINDS if any(f'"{code}"' in body for body in bodies)}
    assert set(KINDS) - here - elsewhere == set()
    text = PAGE.read_text(encoding="utf-8")
    assert runpy.run_path(str(PAGE.with_name("messages.py")))["page"](text) == text


def test_every_column_is_documented() -> None:
    """docs/shot-lists.md names every column and every alias."""
    page = PAGE.read_text(encoding="utf-8")
    names = {name for column, others in ALIASES.items() for name in (column, *others)}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_a_full_row_becomes_a_shot(desk: Any) -> None:
    """Every column of the contract reaches its field, in its exact value."""
    desk.plate("b.png", 32, 18)
    result = desk.one(
        **{
            "Project": "AGM",
            "Episode": "E01",
            "SEQ": "SQ010",
            "end plate": "b.png",
            "Description": "rain, at night",
            "negative_prompt": "blurry",
            "Frame In": "1001",
            "Cut Out": "1048",
            "Frames Per Second": "23.976",
            "handles": "8",
            "Size": "1280 x 720",
            "engine": "Animatic",
            "seed": "0",
            "steps": "20",
            "guidance": "5.5",
            "Move": "Push-In",
            "formats": "webm|prores:hq + png",
            "speed": "0.5",
            "priority": "1",
            "due": "2026-12-24",
            "notes": "n",
            "submitted_by": "Zoë",
            "Vendor": "001",
        }
    )
    assert codes(result) == []
    (shot,) = result.shots
    assert (shot.name, shot.sequence, shot.frames, shot.rate) == ("AGM/SH0010", "E01_SQ010", 48, Fraction(24000, 1001))
    assert shot.plate is not None
    assert (Path(shot.plate.path).name, shot.plate.width, shot.plate.height) == ("a.png", 64, 36)
    assert shot.end_plate is not None
    assert (shot.width, shot.height, shot.handles) == (1280, 720, 8)
    assert (shot.model, shot.seed, shot.steps, shot.guidance) == ("animatic", 0, 20, 5.5)
    assert (shot.camera, shot.speed, shot.priority, shot.due) == ("push in", Fraction(1, 2), 1, date(2026, 12, 24))
    assert shot.deliveries == (Delivery("webm", "vp9"), Delivery("prores", "hq"), Delivery("png", "16"))
    assert shot.metadata == (("Vendor", "001"),)
    assert result.lines == {"AGM/SH0010": 2}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_spelling_of_a_csv_is_the_same_list(desk: Any, separator: str, encoding: str, ending: str) -> None:
    """Separator, encoding and line ending do not matter; cells keep their zeros and their NA."""
    rows = [["Name", "Plate Path", "Nb Frames", "prompt", "vendor id"], ["001", "a.png", "48", "Zoë; a, b", "NA"]]
    text = ending.join(separator.join(f'"{cell}"' for cell in row) for row in rows) + ending
    result = desk.read(text.encode(encoding))
    assert codes(result) == []
    assert notices(result) == (["W101"] if encoding == "cp1252" else [])
    (shot,) = result.shots
    assert (shot.code, shot.prompt, shot.metadata) == ("001", "Zoë; a, b", (("vendor id", "NA"),))


def test_lines_are_counted_as_an_editor_counts_them(desk: Any) -> None:
    """Blank rows and line breaks in quotes count, so that the line in a message is the line in the file."""
    lines = ["", "shot,plate,frames,prompt", "", 'S1,a.png,x,"one', "", 'three"', ",,,", "S2,a.png,x,", "S3,a.png,48,"]
    result = desk.read("\n".join([*lines, "s3,a.png,48,", ""]))
    assert [(one.line, one.code) for one in result.problems] == [(4, "E306"), (8, "E306"), (10, "E305")]
    assert "stands already in line 9" in result.problems[2].message


def test_all_problems_come_at_once_and_no_shot(desk: Any) -> None:
    """A list with errors yields all of them, by line, and not one shot."""
    rows = "S 1,a.png,0,99\nS2,a.png,48,\nS3,no.png,,5\n"
    result = desk.read("shot,plate,frames,fps\n" + rows)
    assert [(one.line, one.code) for one in result.problems] == [
        (2, "E302"),
        (2, "E307"),
        (4, "E402"),
        (4, "E309"),
    ]
    assert result.shots == ()


def test_a_problem_reads_as_the_contract_says(desk: Any) -> None:
    """FILE:LINE: COLUMN: message (value); remedy [CODE], with the file's own spelling of the column."""
    result = desk.read("Name,plate,Nb Frames\nS1,a.png,abc\n")
    assert str(result.problems[0]).endswith(
        "AGM.csv:2: Nb Frames: not a whole number (abc); write digits only, such as 48 [E306]"
    )


@given(st.text(max_size=300))
def test_a_message_is_one_line(value: str) -> None:
    """Whatever a cell holds, its message stays one short line."""
    text = str(problem("E301", "f.csv", line=2, column="shot", value=value))
    assert len(text.splitlines()) == 1
    assert len(text) < 200


@pytest.mark.parametrize(
    ("cell", "plate", "size"),
    [("480p", "a.png", (832, 480)), ("720P", "tall.png", (720, 1280)), ("1080p", "a.png", (1920, 1080))],
)
def test_a_named_size_lies_as_the_plate_does(desk: Any, cell: str, plate: str, size: tuple[int, int]) -> None:
    """480p, 720p and 1080p are landscape or portrait by the plate."""
    desk.plate("tall.png", 36, 64)
    (shot,) = desk.one(resolution=cell, plate=plate).shots
    assert (shot.width, shot.height) == size


@pytest.mark.parametrize("cells", [{"frame_in": "1001", "frame_out": "1048"}, {"seconds": "1.6"}])
def test_lengths_that_agree_are_one_length(desk: Any, cells: dict[str, str]) -> None:
    """A length may be given twice if both say the same."""
    assert [shot.frames for shot in desk.one(**cells).shots] == [48]
    assert [shot.frames for shot in desk.one(frames="", **cells).shots] == [48]


def test_a_text_to_video_row_needs_no_plate(desk: Any) -> None:
    """What a row needs is its model's to say."""
    result = desk.read("shot,model,prompt,frames\nS1,t2v,rain,48\n")
    assert codes(result) + notices(result) == []
    assert result.shots[0].plate is None


def test_the_show_falls_back_to_the_option_then_the_file(desk: Any) -> None:
    """A row without a show belongs to --show, else to the file's stem if that is a code."""
    text = HEAD + "S1,a.png,48\n"
    assert desk.read(text).shots[0].show == "AGM"
    assert desk.read(text, rules=replace(desk.rules, default_show="BEE")).shots[0].show == "BEE"
    assert codes(desk.read(text, "my shots.csv")) == ["E203"]
    assert codes(desk.read(text, rules=replace(desk.rules, default_show="a b"))) == ["E302"]
    assert codes(desk.read("show,shot,plate,frames\nX,S1,a.png,48\n", "my shots.csv")) == []


def test_what_is_not_a_file_is_refused_at_once(desk: Any, tmp_path: Path) -> None:
    """A missing list, a folder and a pipe are refused, the pipe without waiting for a writer."""
    os.mkfifo(tmp_path / "pipe.csv")
    assert codes(read_shot_list(tmp_path / "none.csv", desk.rules)) == ["E101"]
    assert codes(read_shot_list(tmp_path, desk.rules)) == ["E102"]
    started = time.monotonic()
    assert codes(read_shot_list(tmp_path / "pipe.csv", desk.rules)) == ["E102"]
    assert time.monotonic() - started < 1


def test_a_shot_that_is_longer_than_the_night_is_told(desk: Any) -> None:
    """What its model is expected to take is held against the window, once for shots that are alike for it."""
    asked: list[str] = []

    def seconds(shot: Shot) -> float:
        asked.append(shot.code)
        return 100.0 * shot.frames

    rules = replace(desk.rules, models={"animatic": ModelRules(needs_prompt=False, seconds=seconds)}, night=7200.0)
    result = desk.read(HEAD + "S1,a.png,72\nS2,a.png,73\nS3,a.png,73\n", rules=rules)
    assert [(one.code, one.line, one.column) for one in result.warnings] == [
        ("W307", 3, "frames"),
        ("W307", 4, "frames"),
    ]
    assert "about 2.0 h, and the night has 2.0" in result.warnings[0].message
    assert asked == ["S1", "S2"]
    assert notices(desk.read(HEAD + "S2,a.png,73\n", rules=replace(rules, night=None))) == []


def test_a_prompt_that_is_not_read_to_its_end_is_told(desk: Any) -> None:
    """Tokens are counted only where they may be too many; beats are told one after the other, so each counts alone."""
    counted: list[str] = []

    def tokens(text: str) -> int:
        counted.append(text)
        return len(text.split()) + 1

    rules = replace(desk.rules, models={"animatic": ModelRules(tokens=tokens, most_tokens=20)})
    long, short = "fog " * 20, "fog " * 4
    beats = f"{short}[0s] {'rain ' * 9}[1s] {'snow ' * 12}"
    rows = "".join(f'S{place},a.png,48,"{text}"\n' for place, text in enumerate((long, short, beats)))
    result = desk.read("shot,plate,frames,prompt\n" + rows, rules=rules)
    assert [(one.code, one.line, one.column) for one in result.warnings] == [("W308", 2, "prompt")]
    assert "21 tokens long, and animatic reads 20" in result.warnings[0].message
    assert short not in counted
    unknown = replace(rules, models={"animatic": ModelRules(most_tokens=20)})
    assert notices(desk.read("shot,plate,frames,prompt\n" + rows, rules=unknown)) == []


def test_size_has_bounds(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of too many bytes or rows is refused before it is taken apart."""
    monkeypatch.setattr(catalogs.sheet, "MOST_ROWS", 2)
    assert codes(desk.read(HEAD + "S,a.png,48\n" * 3)) == ["E111"]
    monkeypatch.setattr(catalogs.sheet, "MOST_CELLS", 5)
    assert codes(desk.read(HEAD + "S,a.png,48\n")) == ["E111"]
    monkeypatch.setattr(catalogs.sheet, "LARGEST", 10)
    assert codes(desk.read(HEAD)) == ["E103"]


def test_rejected_rows_go_back_and_come_in_again(desk: Any, tmp_path: Path) -> None:
    """The error file holds the rejected rows alone, no live formulas, and can be corrected and sent."""
    text = "shot,plate,frames,prompt\nS1,a.png,x,=1+1\nS2,a.png,48,fine\nS3,a.png,-4,@home\n"
    result = desk.read(text)
    write_errors(tmp_path / "out.csv", result)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["shot"], row["frames"], row["prompt"]) for row in rows] == [
        ("S1", "x", "'=1+1"),
        ("S3", "'-4", "'@home"),
    ]
    assert "[E306]" in rows[0]["error"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    corrected = (tmp_path / "out.csv").read_text(encoding="utf-8-sig").replace("S1,a.png,x", "S1,a.png,8")
    again = desk.read(corrected.replace("'-4", "4"))
    assert [(shot.frames, shot.prompt, shot.metadata) for shot in again.shots] == [(8, "=1+1", ()), (4, "@home", ())]


def test_a_windows_list_comes_back_with_its_letters(desk: Any, tmp_path: Path) -> None:
    """Rows of a cp1252 file with semicolons, and a column that begins as a formula does, survive being sent back."""
    text = "shot;plate;frames;prompt;=vendor\nS1;a.png;x;Zoë, wütend;€\nS2;a.png;24;fine;\n"
    write_errors(tmp_path / "out.csv", desk.read(text.encode("cp1252")))
    back = (tmp_path / "out.csv").read_text(encoding="utf-8-sig")
    assert "'=vendor" in back
    again = desk.read(back.replace("a.png,x", "a.png,8").encode("utf-8-sig"))
    assert codes(again) + notices(again) == []
    (shot,) = again.shots
    assert (shot.prompt, shot.frames, shot.metadata) == ("Zoë, wütend", 8, (("=vendor", "€"),))


def test_a_file_level_problem_goes_back_too(desk: Any, tmp_path: Path) -> None:
    """Even a list that could not be read yields an error file that says why."""
    write_errors(tmp_path / "out.csv", desk.read(b""))
    assert "[E106]" in (tmp_path / "out.csv").read_text(encoding="utf-8-sig")


@given(st.from_regex(CODE, fullmatch=True).filter(lambda code: len(code) <= 64))
def test_a_code_that_is_read_is_safe_as_a_file_name(code: str) -> None:
    """read_code returns what it was given, or refuses it; what it returns needs no escaping anywhere."""
    code = code.rstrip("\n")
    try:
        read = read_code(code)
    except CellError:
        windows = code.split(".")[0].lower()
        assert code.endswith(".") or windows[:3] in ("con", "prn", "aux", "nul", "com", "lpt")
        return
    assert read == code == Path(code).name
    assert not set(code) & set('\\/:*?"<>| \n')


@given(st.text(max_size=20))
def test_what_is_no_code_is_never_let_through(text: str) -> None:
    """Whatever is read as a code is ASCII, short, and begins with a letter or digit."""
    try:
        code = read_code(text)
    except CellError:
        return
    assert code.isascii()
    assert code[0].isalnum()
    assert "\n" not in code


@given(st.binary(max_size=400))
def test_no_file_makes_the_reader_raise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Any bytes at all give shots or problems, never an exception."""
    from catalogs.shotlist import SubmissionRules

    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    result = read_shot_list(path, SubmissionRules(models={}))
    assert result.problems


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("h265:review:master", "'h265:review:master' has several qualities, review and master"),
        ("prores:hq:4444", "'prores:hq:4444' has several options, hq and 4444"),
        ("prores:9", "prores has no option '9'"),
        ("png:x", "png has no option 'x'"),
    ],
)
def test_a_delivery_is_refused_with_the_reason_and_words_that_will_do(text: str, why: str) -> None:
    """What is wrong with it, and no word in the remedy that the next submission would be refused for."""
    with pytest.raises(CellError) as caught:
        read_deliveries(text)
    assert caught.value.words["detail"] == why
    kind, offered = text.partition(":")[0], set(re.findall(r"\w+", str(caught.value.words["names"])))
    for word in (*QUALITIES, *EXTRAS):
        one = Delivery.parse(f"{kind}:{word}:review" if kind == "h265" and word in EXTRAS else f"{kind}:{word}")
        refused = bool(delivery_complaints([one], size=None, rate=Fraction(24)))
        if word != QUALITIES[0]:  # the default may be said of any kind
            assert (word in offered) is not refused
