"""Claims about the column `retimer`: what it may say, and that it stays with the shot."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogs.request import ModelRules
from catalogs.shot import RETIMERS, Shot
from catalogs.shotlist import ReadResult, SubmissionRules, read_shot_list
from catalogs.store import open_catalogue

RULES = SubmissionRules(models={"animatic": ModelRules(needs_plate=False, needs_prompt=False)}, default_show="AGM")


def listed(folder: Path, header: str, *cells: str) -> ReadResult:
    """A list with one shot for each cell under a column of that name."""
    path = folder / "list.csv"
    rows = [f"SH{number:04d},48,{cell}" for number, cell in enumerate(cells, start=1)]
    path.write_text("\n".join([f"shot,frames,{header}", *rows]) + "\n")
    return read_shot_list(path, RULES)


@pytest.mark.parametrize("header", ["retimer", "Retimer", "RETIMER"])
def test_every_word_is_read_in_any_case(tmp_path: Path, header: str) -> None:
    """`rife`, `flow` and `any` count whatever their case; an empty cell is no wish."""
    result = listed(tmp_path, header, "rife", "RIFE", "Flow", " any ", "")
    assert [shot.retimer for shot in result.shots] == ["rife", "rife", "flow", "any", ""]
    assert result.warnings == ()


@pytest.mark.parametrize("cell", ["rife-ncnn", "rife flow", "none", "best", "minterpolate", "0"])
def test_another_word_is_refused_with_the_words_there_are(tmp_path: Path, cell: str) -> None:
    """A word that is none refuses the list, names line, column and cell, and lists what may stand there."""
    result = listed(tmp_path, "retimer", "any", cell)
    [problem] = result.problems
    assert (problem.code, problem.line, problem.column, problem.value) == ("E336", 3, "retimer", cell)
    assert all(word in problem.remedy for word in RETIMERS)
    assert result.shots == ()


def test_a_misspelt_header_is_noticed(tmp_path: Path) -> None:
    """`retimers` is kept as metadata and changes nothing, which the sender is told."""
    result = listed(tmp_path, "retimers", "flow")
    assert [(one.code, "retimer" in one.remedy) for one in result.warnings] == [("W201", True)]
    assert (result.shots[0].retimer, result.shots[0].metadata) == ("", (("retimers", "flow"),))


@pytest.mark.parametrize("wish", ["", *RETIMERS])
def test_a_wish_survives_the_catalogue(url: str, wish: str) -> None:
    """What a shot asks comes back as it was, and sending it again changes nothing."""
    shot = Shot("AGM", "A", 48, retimer=wish)
    with open_catalogue(url) as catalogue:
        catalogue.submit([shot], source="t")
        assert catalogue.find("A").shot == shot
        assert catalogue.submit([shot], source="t").unchanged == ("AGM/A",)
