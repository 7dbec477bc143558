"""A night in which ten processes are killed ends as it would have in peace; and the checks that say so can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue_nights import begun, opened, stocked
from postgres import NoPostgresError, binaries
from rendering import ROOT, clean_environment
from sqlalchemy import create_engine

from catalogs.night import AttemptStatus
from catalogs.store import open_catalogue

sys.path.append(str(ROOT / "benchmarks"))

from chaos_faults import SHARES, plan
from chaos_invariants import in_sql, of_poison, of_windows, on_disk, read_windows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for its victims in /proc")


@pytest.mark.night
@pytest.mark.timeout(900)
def test_ten_kills_cost_no_shot_and_no_frame() -> None:
    """Every shot is published once, bit for bit; the poison one is quarantined; nothing is left open or running."""
    database = "postgresql"
    try:
        binaries()
    except NoPostgresError:
        if os.environ.get("DAILIES_REQUIRE_POSTGRES") == "1":
            raise
        database = "sqlite"
    words = [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), "--kept", "", "--database", database]
    words += ["--kills", "10", "--shots", "6", "--seed", "1", "--gap", "1", "3", "--pause", "0.5"]
    done = subprocess.run(words, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A catalogue in the middle of a night, and a folder that nobody published, break every claim that they can."""
    url = f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    with open_catalogue(url) as catalogue:
        stocked(catalogue, ["A", "POISON"])
        batch, nights = opened(catalogue), catalogue.nights
        granted = nights.grant(batch.name, "reel 01", ["AGM/A", "AGM/POISON"])
        for attempt in granted:
            nights.begin(attempt.shot, attempt.fence, flow_run="run")
        begun(catalogue, "AGM/A", granted[0].fence)
        nights.end_attempt("AGM/POISON", granted[1].fence, status=AttemptStatus.DIED)
        nights.quarantine("AGM/POISON", error="")
    (tmp_path / "deliveries" / "AGM" / "_" / "A" / "v001").mkdir(parents=True)
    engine = create_engine(url)
    with engine.connect() as connection:
        found = in_sql(connection) | on_disk(connection, tmp_path, {"A": {}})
        poison = of_poison(connection)
    engine.dispose()
    assert [name for name, broken in found.items() if broken] == [
        "every shot is published, failed or quarantined",
        "what failed or is quarantined says why",
        "no attempt, run or batch is open",
        "no take is being rendered",
        "one version on disk for each shot in review, none else",
    ]
    assert len(poison) == 3  # without a word, with one death, without evidence


def test_windows_that_are_made_twice_are_counted(tmp_path: Path) -> None:
    """One redone for the one kill is allowed; a second one, one after it was kept, a second version are not."""
    log = tmp_path / "windows.log"
    log.write_text("start A k 1 1.0\nstart A k 2 2.0\nkept A k 2 3.5\npublished A k 3 4.0\n")
    found = read_windows(log)
    assert (found.redone, found.lost, found.longest) == (1, 1, 1.5)
    assert not any(of_windows(found, kills=1, disk=0).values())
    assert any(of_windows(found, kills=0, disk=0).values())
    with log.open("a") as stream:
        stream.write("start A k 4 5.0\npublished A k 4 6.0\nstart POISON p 5 7.0\n")
    found = read_windows(log)
    assert (found.redone, found.lost, found.poisoned) == (2, 2, 1)
    assert all(of_windows(found, kills=1, disk=0).values())


@pytest.mark.parametrize("kills", [1, 10, 30, 100])
def test_a_plan_has_as_many_kills_as_asked(kills: int) -> None:
    """In their shares, the same for the same seed, with the other faults among them."""
    kinds = plan(kills, 7, besides=["server"])
    assert kinds == plan(kills, 7, besides=["server"])
    assert len(kinds) == kills + 1
    assert kills < 100 or all(kinds.count(kind) == share for kind, share in SHARES.items())
