"""Claims about the night at the command line: slates, refusals, exit codes. None of it starts a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from catalogue_nights import opened, stocked
from rendering import House, clean_environment

from catalogs.footage import Status
from catalogs.store import open_catalogue


@pytest.fixture
def home(tmp_path: Path, plate_path: Path) -> House:
    """An empty home in which no house is up, and no server configured."""
    return House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(tmp_path / "home"), HOME=str(tmp_path)))


def test_a_night_with_nothing_ready_says_so(home: House) -> None:
    """Exit code 0, a sentence or a document, no batch, no server."""
    done = home.run("night")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing is ready: the catalogue has no shot")
    document = home.json("night")
    assert (document["batch"], document["shots"], document["counts"]["shots"]) == ("", [], 0)
    assert document["summary"] == done.stdout.strip()
    assert not (home.home / "prefect").exists()
    assert home.run("night", "--stop").returncode == 2


def test_options_that_an_open_batch_does_not_run_with_are_refused(home: House) -> None:
    """Only those that somebody has typed, be it with their default; nothing of the batch changes."""
    with open_catalogue(f"sqlite:///{home.home / 'catalogue.sqlite'}") as catalogue:
        wishes = {"profile": "draft", "allow_smaller": False, "require_rife": False}
        batch = catalogue.nights.open_batch(until=None, wishes=wishes, plan={}, flow_run="first")
        for words, option in ((["--profile", "exact"], "--profile"), (["--until", "07:00"], "--until")):
            done = home.run("night", *words)
            assert done.returncode == 2
            assert f"{batch.name} is at work until all is done" in done.stderr
            assert f"leave {option} out to follow it" in done.stderr
        assert catalogue.nights.running() == batch


def test_a_plan_of_shots_has_no_end(home: House) -> None:
    """`--until` and `--workers` are a night's: without `--night` they are refused, not left unread."""
    for option, value in (("--until", "07:00"), ("--workers", "2")):
        done = home.run("plan", option, value, "--json")
        assert done.returncode == 2
        error = f"{option} is for a night; add --night, or leave {option} out"
        assert json.loads(done.stdout) == {"error": error}


def test_commands_take_the_slates_that_reports_print(home: House) -> None:
    """`cancel` and `release` answer with the shot's name; a slate that is nobody's is refused."""
    with open_catalogue(f"sqlite:///{home.home / 'catalogue.sqlite'}") as catalogue:
        names = stocked(catalogue, ["SH0010", "SH0020"])
        catalogue.nights.grant(opened(catalogue).name, "reel 01", names)
        done = home.run("cancel", "AGM_SH0010_v001", "sh0020")
        assert "AGM/SH0010: cancelled" in done.stderr
        catalogue.nights.quarantine("AGM/SH0020", error="its process died 2 times")
        done = home.run("release", "agm_sh0020_v001")
        assert "AGM/SH0020: ready again" in done.stderr
        assert catalogue.find("SH0020").status is Status.READY
        done = home.run("cancel", "AGM_SH0010_v002")
        assert done.returncode == 2
        assert "AGM/SH0010 has no take v002, it has no take yet; name the shot as AGM/SH0010" in done.stderr
