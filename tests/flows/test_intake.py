"""The inbox: complete lists go into the catalogue once or back with every reason, and nothing is lost on the way."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rendering import ROOT, House

from catalogs.errors import CatalogueUnavailableError
from catalogs.store import open_catalogue
from flows.inbox import (
    Settled,
    Wishes,
    complete_lists,
    held,
    hold,
    hold_text,
    left_lying,
    settle,
    sole_look,
)
from flows.settings import Settings

HEADER = "show,sequence,shot,plate,prompt,frames,fps,resolution\n"
GOOD = "SH0010,a.png,noise,24,24,160x96"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with an inbox, and plates in a folder of their own."""
    (tmp_path / "plates").mkdir()
    Image.new("RGB", (160, 96), (90, 120, 40)).save(tmp_path / "plates/a.png")
    (tmp_path / "home/inbox/.taking").mkdir(parents=True)
    return Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(tmp_path / "plates")})


def lay(settings: Settings, name: str, *rows: str, age: float = 60) -> Path:
    """A list in the inbox, last changed some seconds ago."""
    path = settings.home / "inbox" / name
    path.write_text(HEADER + "".join(f"AGM,SQ010,{row}\n" for row in rows))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def take_in(path: Path, settings: Settings) -> Settled:
    """One list's whole way."""
    folder = hold(path, settings.home / "inbox")
    assert folder is not None
    return settle(folder, settings)


def lying(settings: Settings, kind: str) -> dict[str, Path]:
    """What lies in a folder of the inbox, by name without the time in front."""
    folder = settings.home / "inbox" / kind
    return {path.name.partition("-")[2]: path for path in folder.iterdir()} if folder.is_dir() else {}


def test_complete_lists_come_oldest_first(settings: Settings) -> None:
    """A hidden file, a picture and the inbox's own folders are left alone."""
    lay(settings, "second.csv", age=20)
    lay(settings, "first.csv", age=30)
    lay(settings, ".hidden.csv")
    lay(settings, "plate.png")
    (settings.home / "inbox/accepted").mkdir()
    found = complete_lists(settings.home / "inbox", quiet=0)
    assert [path.name for path in found] == ["first.csv", "second.csv"]


def test_a_list_that_grows_is_left_for_the_next_look(settings: Settings) -> None:
    """However old a copy says it is: what changes while it is looked at is not complete, and is afterwards."""
    lay(settings, "still.csv", GOOD)
    growing, replaced, gone = (lay(settings, f"{name}.csv", GOOD) for name in ("growing", "replaced", "gone"))

    def disturb() -> None:
        time.sleep(0.2)
        times = growing.stat()
        with growing.open("r+") as stream:  # as large as it was, and with the times that it had
            stream.write("S")
        os.utime(growing, ns=(times.st_atime_ns, times.st_mtime_ns))
        lay(settings, "new", GOOD).rename(replaced)
        gone.unlink()

    copy = threading.Thread(target=disturb)
    copy.start()
    found = complete_lists(settings.home / "inbox", quiet=0.6)
    copy.join()
    assert [path.name for path in found] == ["still.csv"]
    found = complete_lists(settings.home / "inbox", quiet=0.05)
    assert {path.name for path in found} == {"still.csv", "growing.csv", "replaced.csv"}


def test_an_inbox_that_is_not_there_is_made(tmp_path: Path) -> None:
    """The first look at a new home makes the folder that people are told to use."""
    assert complete_lists(tmp_path / "home/inbox") == []
    assert (tmp_path / "home/inbox").is_dir()


def test_a_good_list_is_taken_in_and_a_changed_one_too(settings: Settings) -> None:
    """New and changed shots are in the catalogue; the lists lie in `accepted` with reports that say what they did."""
    assert take_in(lay(settings, "tonight.csv", GOOD), settings).accepted
    assert take_in(lay(settings, "more.csv", "SH0010,a.png,noise,48,24,160x96"), settings).accepted
    with open_catalogue(settings.database_url) as catalogue:
        assert catalogue.find("AGM/SH0010").shot.frames == 48
    found = lying(settings, "accepted")
    assert set(found) == {"more.csv", "more.csv.report.txt", "tonight.csv", "tonight.csv.report.txt"}
    assert "1 new, 0 changed" in found["tonight.csv.report.txt"].read_text()
    assert "changed: AGM/SH0010: frames: 24 to 48" in found["more.csv.report.txt"].read_text()
    assert not complete_lists(settings.home / "inbox")
    assert not held(settings.home / "inbox")


def test_a_refused_list_comes_back_with_every_reason(settings: Settings) -> None:
    """Nothing of it is in the catalogue; beside it lie its rejected rows and a sentence for each problem."""
    path = lay(settings, "bad.csv", "SH0010,gone.png,noise,24,24,160x96", "SH0020,a.png,noise,many,24,160x96")
    done = take_in(path, settings)
    assert not done.accepted
    back = lying(settings, "rejected")
    assert set(back) == {"bad.csv", "bad.errors.csv", "bad.csv.report.txt"}
    assert back["bad.csv.report.txt"] == done.report
    reasons = done.report.read_text()
    assert "bad.csv:2: plate: " in reasons
    assert "bad.csv:3: frames: " in reasons
    assert ".taking" not in reasons
    assert "SH0020" in back["bad.errors.csv"].read_text()
    with open_catalogue(settings.database_url) as catalogue:
        assert sum(catalogue.counts().values()) == 0


def test_what_resembles_a_shot_comes_back_too(settings: Settings) -> None:
    """A list in which a spreadsheet has eaten zeros makes no second shots."""
    assert take_in(lay(settings, "one.csv", GOOD), settings).accepted
    assert not take_in(lay(settings, "two.csv", GOOD.replace("SH0010", "SH10")), settings).accepted
    assert "E503" in lying(settings, "rejected")["two.csv.report.txt"].read_text()


def test_what_is_no_list_is_left_or_refused(settings: Settings) -> None:
    """Plates may lie beside their list; a picture that is called a list lies in `rejected` with a sentence."""
    inbox = settings.home / "inbox"
    for name in ("plate.png", "holiday.csv"):
        Image.new("RGB", (8, 8)).save(inbox / name, format="png")
    [found] = complete_lists(inbox, quiet=0)
    assert found.name == "holiday.csv"
    done = take_in(found, settings)
    assert not done.accepted
    assert done.report.read_text().strip()


def test_links_pipes_and_folders_stay_and_are_named(settings: Settings, tmp_path: Path) -> None:
    """What is called a list and is no file is neither read nor moved, and somebody is told."""
    inbox = settings.home / "inbox"
    secret = lay(settings, "secret.csv", GOOD).rename(tmp_path / "secret.csv")
    (inbox / "link.csv").symlink_to(secret)
    (inbox / "dangling.csv").symlink_to(tmp_path / "nothing")
    (inbox / "folder.csv").mkdir()
    os.mkfifo(inbox / "pipe.csv")
    assert complete_lists(inbox, quiet=0) == []
    said = left_lying(inbox)
    assert [re.sub(";.*", "", one) for one in said] == [
        "dangling.csv is a link",
        "folder.csv is a folder",
        "link.csv is a link",
        "pipe.csv is a pipe",
    ]
    assert sorted(path.name for path in inbox.glob("*.csv")) == ["dangling.csv", "folder.csv", "link.csv", "pipe.csv"]


def test_a_list_that_is_gone_is_nobodys_trouble(settings: Settings) -> None:
    """Between being seen and being taken it may be taken back."""
    path = lay(settings, "tonight.csv", GOOD)
    path.unlink()
    assert hold(path, settings.home / "inbox") is None
    assert held(settings.home / "inbox") == []


def test_lists_of_one_name_do_not_meet(settings: Settings) -> None:
    """Sent twice in a second they lie side by side; a name that leaves no room for a time is cut, none is hidden."""
    for _ in range(2):
        assert take_in(lay(settings, "tonight.csv", GOOD), settings).accepted
    assert len(list((settings.home / "inbox/accepted").glob("*-tonight.csv"))) == 2
    assert take_in(lay(settings, f"{'ü' * 120}.csv", GOOD), settings).accepted
    assert len(list((settings.home / "inbox/accepted").glob("*ü.csv"))) == 1
    folder = hold_text(
        f"{HEADER}AGM,SQ010,{GOOD}\n", "../../.notes", settings.home / "inbox", claim="run-1", wishes=Wishes()
    )
    assert settle(folder, settings).name == "notes"


def test_a_list_that_ends_in_txt_is_still_there(settings: Settings) -> None:
    """Its report lies beside it, not in its place."""
    path = settings.home / "inbox" / "notes.txt"
    path.write_text("hello\n")
    assert not take_in(path, settings).accepted
    back = lying(settings, "rejected")
    assert back["notes.txt"].read_text() == "hello\n"
    assert back["notes.txt.report.txt"].read_text().strip()


def test_a_catalogue_that_is_away_costs_no_list(settings: Settings) -> None:
    """The list waits on its way, and goes in at the next look."""
    path = lay(settings, "tonight.csv", GOOD)
    (settings.home / "catalogue.sqlite").mkdir()  # nothing can be opened there
    with pytest.raises(CatalogueUnavailableError):
        take_in(path, settings)
    (settings.home / "catalogue.sqlite").rmdir()
    [folder] = held(settings.home / "inbox")
    assert settle(folder, settings).accepted
    assert held(settings.home / "inbox") == []


def test_wishes_outlive_who_had_them(settings: Settings) -> None:
    """A list that was sent as an update is one, whoever finds it on its way."""
    inbox = settings.home / "inbox"
    hold_text(f"{HEADER}AGM,SQ010,{GOOD}\n", "sent.csv", inbox, claim="run-1", wishes=Wishes(mode="update"))
    [folder] = held(inbox)
    assert not settle(folder, settings).accepted
    assert "E502" in lying(settings, "rejected")["sent.csv.report.txt"].read_text()


def test_one_look_at_a_time(settings: Settings) -> None:
    """Who comes while somebody takes lists in is told so, and may wait."""
    inbox = settings.home / "inbox"
    with sole_look(inbox) as first, sole_look(inbox) as second:
        assert (first, second) == (True, False)
    with sole_look(inbox) as again:
        assert again


def test_sigkill_at_every_moment(settings: Settings, tmp_path: Path) -> None:
    """Whenever a look is killed: each list goes in once, lies in one place, and its report tells of what it did."""
    with open_catalogue(settings.database_url):
        pass
    lay(settings, "good.csv", GOOD, "SH0020,a.png,noise,24,24,160x96")
    lay(settings, "bad.csv", "SH0030,gone.png,noise,24,24,160x96", age=30)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_intake.py")), settings.home, tmp_path / "plates"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
    for number in range(int(done.stdout)):
        after = replace(settings, home=settings.home.with_name(f"home-{number}"))
        assert set(lying(after, "accepted")) == {"good.csv", "good.csv.report.txt"}, number
        assert set(lying(after, "rejected")) == {"bad.csv", "bad.csv.report.txt", "bad.errors.csv"}, number
        assert "2 new, 0 changed, 0 unchanged" in lying(after, "accepted")["good.csv.report.txt"].read_text(), number
        assert "gone.png" in lying(after, "rejected")["bad.csv.report.txt"].read_text(), number
        assert [path.name for path in (after.home / "inbox/.taking").iterdir()] == [".lock"], number
        with closing(sqlite3.connect(after.home / "catalogue.sqlite")) as database:
            assert database.execute("SELECT new, changed, unchanged FROM submissions").fetchall() == [(2, 0, 0)], number
            assert database.execute("SELECT count(*) FROM shots").fetchall() == [(2,)], number


FLOW = """
import json, sys
from flows.intake import intake
state = intake(**json.loads(sys.argv[1]), return_state=True)
print(state.type.value, state.message)
"""


def test_a_list_may_be_sent_to_the_flow(house: House) -> None:
    """As text, or by its path: it goes in as it would from the inbox, and the file that was named stays."""
    import json

    def send(**parameters: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", FLOW, json.dumps(parameters)],
            cwd=ROOT,
            env={**house.environment, "DAILIES_PLATES": str(house.plate.parent), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    text = f"{HEADER}AGM,SQ010,SH0010,{house.plate.name},noise,24,24,160x96\n"
    assert send(text=text, name="mine.csv") == "COMPLETED taken in: mine.csv"
    assert send(text=text.replace("SH0010", "SH10")).startswith("FAILED refused: sent.csv; ")
    assert send(text=text.replace("SH0010", "SH10"), allow_new=True) == "COMPLETED taken in: sent.csv"
    path = house.folder / "elsewhere.csv"
    path.write_text(text.replace("24,24", "48,24"))
    assert send(path=str(path), mode="create").startswith("FAILED refused: elsewhere.csv")
    assert send(path=str(path)) == "COMPLETED taken in: elsewhere.csv"
    assert path.is_file()
    assert {shot["shot"]: shot["frames"] for shot in house.json("shots")["shots"]} == {"SH0010": 48, "SH10": 24}
