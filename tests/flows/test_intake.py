"""The inbox: complete lists go into the catalogue or back with every reason, and nothing is lost on the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from catalogs.errors import CatalogueUnavailableError
from catalogs.store import open_catalogue
from flows.intake import QUIET, complete_lists, take_in
from flows.settings import Settings

HEADER = "show,sequence,shot,plate,prompt,frames,fps,resolution\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with an inbox, and plates in a folder of their own."""
    (tmp_path / "plates").mkdir()
    Image.new("RGB", (160, 96), (90, 120, 40)).save(tmp_path / "plates/a.png")
    (tmp_path / "home/inbox").mkdir(parents=True)
    return Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(tmp_path / "plates")})


def lay(settings: Settings, name: str, *rows: str, age: float = 60) -> Path:
    """A list in the inbox, last changed some seconds ago."""
    path = settings.home / "inbox" / name
    path.write_text(HEADER + "".join(f"AGM,SQ010,{row}\n" for row in rows))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_complete_lists_come_oldest_first(settings: Settings) -> None:
    """A list that is still being copied, a hidden file and the inbox's own folders are left alone."""
    lay(settings, "second.csv", age=20)
    lay(settings, "first.csv", age=30)
    lay(settings, "copying.csv", age=QUIET / 2)
    lay(settings, ".hidden.csv")
    (settings.home / "inbox/taken").mkdir()
    assert [path.name for path in complete_lists(settings.home / "inbox")] == ["first.csv", "second.csv"]


def test_an_inbox_that_is_not_there_is_made(tmp_path: Path) -> None:
    """The first look at a new home makes the folder that people are told to use."""
    assert list(complete_lists(tmp_path / "home/inbox")) == []
    assert (tmp_path / "home/inbox").is_dir()


def test_a_good_list_is_taken_in_and_a_changed_one_too(settings: Settings) -> None:
    """New and changed shots are in the catalogue; the lists lie in `taken`, each under its own name."""
    assert take_in(lay(settings, "tonight.csv", "SH0010,a.png,noise,24,24,160x96"), settings)
    assert take_in(lay(settings, "more.csv", "SH0010,a.png,noise,48,24,160x96"), settings)
    with open_catalogue(settings.database_url) as catalogue:
        assert catalogue.find("AGM/SH0010").shot.frames == 48
    names = sorted(path.name.partition("-")[2] for path in (settings.home / "inbox/taken").iterdir())
    assert names == ["more.csv", "tonight.csv"]
    assert not list(complete_lists(settings.home / "inbox"))


def test_a_refused_list_comes_back_with_every_reason(settings: Settings) -> None:
    """Nothing of it is in the catalogue; beside it lie its rejected rows and a sentence for each problem."""
    path = lay(settings, "bad.csv", "SH0010,gone.png,noise,24,24,160x96", "SH0020,a.png,noise,many,24,160x96")
    assert not take_in(path, settings)
    back = {path.name.partition("-")[2]: path for path in (settings.home / "inbox/refused").iterdir()}
    assert set(back) == {"bad.csv", "bad.errors.csv", "bad.txt"}
    reasons = back["bad.txt"].read_text()
    assert "gone.png" in reasons
    assert "many" in reasons
    assert "SH0020" in back["bad.errors.csv"].read_text()
    with open_catalogue(settings.database_url) as catalogue:
        assert sum(catalogue.counts().values()) == 0


def test_what_is_no_list_is_left_or_refused(settings: Settings) -> None:
    """Plates may lie beside their list; a picture that is called a list lies in `refused` with a sentence."""
    inbox = settings.home / "inbox"
    for name in ("plate.png", "holiday.csv"):
        Image.new("RGB", (8, 8)).save(inbox / name, format="png")
        os.utime(inbox / name, (time.time() - 60, time.time() - 60))
    [found] = complete_lists(inbox)
    assert found.name == "holiday.csv"
    assert not take_in(found, settings)
    [said] = (inbox / "refused").glob("*.txt")
    assert said.read_text().strip()


def test_a_refused_list_that_ends_in_txt_is_still_there(settings: Settings) -> None:
    """Its reasons lie beside it, not in its place."""
    path = settings.home / "inbox" / "notes.txt"
    path.write_text("hello\n")
    assert not take_in(path, settings)
    back = {path.name.partition("-")[2]: path for path in (settings.home / "inbox/refused").iterdir()}
    assert back["notes.txt"].read_text() == "hello\n"
    assert back["notes.reasons.txt"].read_text().strip()


def test_a_catalogue_that_is_away_costs_no_list(settings: Settings) -> None:
    """The list stays in the inbox for the next look."""
    path = lay(settings, "tonight.csv", "SH0010,a.png,noise,24,24,160x96")
    (settings.home / "catalogue.sqlite").mkdir()  # nothing can be opened there
    with pytest.raises(CatalogueUnavailableError):
        take_in(path, settings)
    assert path.is_file()
