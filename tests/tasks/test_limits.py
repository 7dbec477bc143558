"""Limits stand in one file, and a home and a show may change them; mistakes are said, not guessed at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalogs.footage import Finding, Severity
from tasks.errors import StepError
from tasks.limits import SHIPPED, read_limits, shipped

ROOT = Path(__file__).resolve().parents[2]

CONTRACT = (
    "truncated count rate size codec depth tags black frozen still flash flicker cut seam drift first_frame range "
    "letterbox blur dead_pixel photosensitive banding fidelity"
)
CODES = frozenset(re.findall(r"\w+", CONTRACT)) | {"timecode", "reel", "audio"}


def written(home: Path, text: str) -> Path:
    (home / "limits.toml").write_text(text, encoding="utf-8")
    return home


def test_every_public_code_has_a_table() -> None:
    """The codes of the contract and those of what stands beside the pictures, each with a severity."""
    assert set(shipped().tables) == CODES
    assert all(shipped().severity(code) is not None for code in CODES)


def test_every_number_has_a_reason() -> None:
    """No key of the shipped file stands without a comment on its line."""
    silent = [line for line in SHIPPED.read_text().splitlines() if re.match(r"^\w+ *=", line) and " # " not in line]
    assert silent == []


def test_every_number_is_read() -> None:
    """A limit that nobody looks at would be a promise that nobody keeps."""
    sources = "".join(path.read_text() for path in (ROOT / "tasks").glob("*.py"))
    unread = [
        f"{code}.{key}"
        for code, table in shipped().tables.items()
        for key in table
        if key != "severity" and f'"{key}"' not in sources
    ]
    assert unread == []


def test_a_home_changes_them_and_a_show_changes_that(tmp_path: Path) -> None:
    """What a show does not name is the home's, what that does not name is as shipped."""
    home = written(
        tmp_path,
        '[black]\nluma = 9\nseverity = "fyi"\n[show.agm.black]\nluma = 4\n[show.OTHER.flash]\nseverity = "off"\n',
    )
    assert read_limits(home)["black"]["luma"] == 9
    agm = read_limits(home, show="AGM")
    assert (agm["black"]["luma"], agm.severity("black")) == (4, Severity.FYI)
    assert agm["flicker"] == shipped()["flicker"]
    assert read_limits(home, show="OTHER").severity("flash") is None
    assert agm.severity("flash") is Severity.ISSUE
    assert read_limits(tmp_path / "nowhere") == shipped() == read_limits(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[blak]\nluma = 3", "blak is no check; there are truncated, count"),
        ("[black]\nlumma = 3", "black.lumma does not exist; there are severity"),
        ('[black]\nluma = "3"', "black.luma is '3'; it must be a number"),
        ("[black]\nluma = true", "black.luma is True; it must be a number"),
        ("[black]\nluma = -1", "black.luma is -1; it must be a number from 0 on"),
        ("[black]\nluma = nan", "black.luma is nan; it must be a number from 0 on"),
        ('[black]\nseverity = "fatal"', "black.severity is 'fatal'; use off, fyi, issue, blocker"),
        ("[black]\nseverity = 1", "black.severity is 1; use off"),
        ("black = 3", "black is 3; write a table"),
        ("show = 3", "show is 3; write a table for each show"),
        ("[show]\nAGM = 3", "show.AGM is 3; write a table for each check"),
        ("[show.AGM.blak]\nluma = 3", "show.AGM.blak is no check"),
        ("[black", "cannot be read"),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_value(tmp_path: Path, text: str, said: str) -> None:
    """In any show's table, whichever show is asked for."""
    with pytest.raises(StepError) as caught:
        read_limits(written(tmp_path, text), show="ELSE")
    assert said in str(caught.value)
    assert str(tmp_path / "limits.toml") in str(caught.value)


def test_a_check_that_is_off_says_nothing(tmp_path: Path) -> None:
    """Findings made without limits get the severity that holds, or go."""
    home = written(tmp_path, '[tags]\nseverity = "off"\n[count]\nseverity = "issue"\n[black]\nseverity = "off"\n')
    limits = read_limits(home)
    found = tuple(Finding(code, Severity.BLOCKER, 0, 1, "a", "b") for code in ("tags", "count", "rate"))
    assert [(one.code, one.severity) for one in limits.graded(found)] == [
        ("count", Severity.ISSUE),
        ("rate", Severity.BLOCKER),
    ]
    assert limits.severity("black", "whole") is None
    assert limits.on("tags", "rate")
    assert not limits.on("tags", "black")
