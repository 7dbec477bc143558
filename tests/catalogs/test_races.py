"""Claims about nights in which much happens at once, or the database goes away."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from catalogue_nights import begun, finish, opened, stocked, together
from postgres import Cluster
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from catalogs.database import connect
from catalogs.errors import CatalogueUnavailableError, FencedError
from catalogs.footage import Status
from catalogs.night import AttemptStatus, Stage
from catalogs.sessions import Sessions
from catalogs.shot import Shot
from catalogs.store import Catalogue, open_catalogue
from catalogs.tables import ShotRow


def night_of(catalogue: Catalogue, codes: Sequence[str] = "ABCDE") -> str:
    """Shots and an open batch; its name."""
    stocked(catalogue, codes)
    return opened(catalogue).name


# -- at the same time --------------------------------------------------------------------------------

THIEF = """
import sys
from catalogs.errors import FencedError
from catalogs.night import AttemptStatus
from catalogs.store import open_catalogue
url, batch, reel = sys.argv[1:]
with open_catalogue(url) as catalogue:
    night = catalogue.nights
    print("ready", flush=True)
    sys.stdin.readline()
    while taken := night.take_over(batch, reel=reel, model="", flow_run=reel):
        try:
            night.begin(taken.shot, taken.fence, flow_run=reel)
        except FencedError:  # the other thief was faster
            continue
        assert night.end_attempt(taken.shot, taken.fence, status=AttemptStatus.DONE)
        print(taken.shot, flush=True)
"""


def test_two_processes_that_steal_from_one_reel_share_it(catalogue: Catalogue, url: str) -> None:
    """Every shot of the reel is given to exactly one of two thieves and its owner, who all work at once."""
    names = [f"AGM/S{number:02}" for number in range(40)]
    batch = night_of(catalogue, [name.partition("/")[2] for name in names])
    catalogue.nights.grant(batch, "reel 01", names)
    thieves = [
        subprocess.Popen(
            [sys.executable, "-c", THIEF, url, batch, reel],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for reel in ("reel 02", "reel 03")
    ]
    for thief in thieves:
        assert thief.stdout is not None
        assert thief.stdin is not None
        assert thief.stdout.readline() == "ready\n"
        thief.stdin.write("\n")
        thief.stdin.flush()
    own = []
    for name in names:
        try:
            catalogue.nights.begin(name, 1, flow_run="owner")
        except FencedError:
            continue
        own.append(name)
        catalogue.nights.end_attempt(name, 1, status=AttemptStatus.DONE)
        time.sleep(0.01)  # at work
    stolen = [thief.communicate(timeout=60)[0].split() for thief in thieves]
    assert [thief.returncode for thief in thieves] == [0, 0]
    assert sorted(own + stolen[0] + stolen[1]) == names
    done = [one.shot for one in catalogue.nights.attempts() if one.status is AttemptStatus.DONE]
    assert sorted(done) == names
    assert stolen[0] or stolen[1]


def test_nobody_is_given_a_shot_while_it_is_published(catalogue: Catalogue, url: str) -> None:
    """Between the check and the rename nobody can be granted the shot: who wants it waits for the rename."""
    batch = night_of(catalogue)
    catalogue.nights.grant(batch, "reel 01", ["A"])
    take = begun(catalogue, "A", 1)
    order: list[str] = []
    checked = threading.Event()

    def publish() -> None:
        with catalogue.publishing(take):
            checked.set()
            time.sleep(0.3)
            order.append("renamed")

    def give_away() -> None:
        with open_catalogue(url) as other:
            assert checked.wait(10)
            other.nights.grant(batch, "reel 02", ["A"])
            order.append("given away")

    assert together(publish, give_away) == []
    assert order == ["renamed", "given away"]
    with pytest.raises(FencedError), catalogue.publishing(take):
        order.append("renamed again")
    with pytest.raises(FencedError):
        finish(catalogue, take)
    assert len(order) == 2


def test_a_rename_that_fails_gives_the_shot_free(catalogue: Catalogue) -> None:
    """An error inside `publishing` passes through and leaves nothing locked."""
    night_of(catalogue)
    take = begun(catalogue, "A")
    with pytest.raises(OSError, match="full"), catalogue.publishing(take):
        raise OSError("disk full")
    finish(catalogue, take)


def test_everybody_writes_at_once(catalogue: Catalogue, url: str) -> None:
    """Granters, thieves, workers, pulses and a reaper on connections of their own: no error, and the rules hold."""
    names = [f"AGM/S{number:02}" for number in range(12)]
    batch = night_of(catalogue, [name.partition("/")[2] for name in names])
    others = [open_catalogue(url) for _ in range(3)]

    def grant() -> None:
        for turn in range(10):
            order = names if turn % 2 else names[::-1]
            catalogue.nights.grant(batch, f"reel {turn % 3}", order[: 4 + turn % 5])

    def work(own: Catalogue, run: str) -> None:
        night = own.nights
        night.arrive(run, batch=batch, stage=Stage.GENERATE, name=run, worker=run, device="cpu")
        for _ in range(15):
            night.beat(run, said="here")
            taken = night.take_over(batch, reel=run, model="", flow_run=run)
            if taken is None:
                continue
            try:
                night.begin(taken.shot, taken.fence, flow_run=run)
                take = begun(own, taken.shot, taken.fence)
                with own.publishing(take):
                    pass
                finish(own, take)
            except FencedError:
                pass

    def reap() -> None:
        for turn in range(10):
            others[2].nights.give_up(f"gone {turn}", why="killed")
            others[2].nights.cancel(names[turn % 4 :: 4])
            others[2].submit([Shot("AGM", f"S{turn:02}", 48, prompt=f"{turn}")], source="t", mode="upsert")

    failures = together(grant, lambda: work(others[0], "gpu-0"), lambda: work(others[1], "gpu-1"), reap)
    for other in others:
        other.close()
    assert failures == []
    attempts = catalogue.nights.attempts()
    still = [one.shot for one in attempts if one.open]
    assert len(still) == len(set(still))
    for name in names:
        fences = [one.fence for one in attempts if one.shot == name]
        assert fences == sorted(set(fences))


# -- the database goes away --------------------------------------------------------------------------


@pytest.fixture
def restarted(postgres: Cluster, postgres_url: str) -> Iterator[Cluster]:
    """The tests' own PostgreSQL, which may be restarted."""
    if str(postgres.folder) not in postgres_url:
        pytest.skip("DAILIES_TEST_POSTGRES names a server that is not ours to restart")
    yield postgres
    if postgres.server is None:
        postgres.start()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("kill", [False, True])
def test_a_database_that_comes_back_is_used_again(catalogue: Catalogue, restarted: Cluster, kill: bool) -> None:
    """After a restart or a crash of PostgreSQL the next call works, without opening the catalogue anew."""
    batch = night_of(catalogue)
    catalogue.nights.grant(batch, "reel 01", ["A"])
    restarted.restart(kill=kill)
    catalogue.nights.begin("A", 1, flow_run="f")
    restarted.stop(kill=kill)
    with pytest.raises(CatalogueUnavailableError) as caught:
        catalogue.nights.begin("A", 1, flow_run="f")
    assert caught.value.transient
    restarted.start()
    assert catalogue.nights.begin("A", 1, flow_run="f").status is AttemptStatus.RUNNING


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_connection_that_is_lost_while_publishing_is_said(catalogue: Catalogue, restarted: Cluster) -> None:
    """The rename may stand; the error is transient, and finish_take then says that it is published."""
    batch = night_of(catalogue)
    catalogue.nights.grant(batch, "reel 01", ["A"])
    take = begun(catalogue, "A", 1)
    with pytest.raises(CatalogueUnavailableError) as caught, catalogue.publishing(take):
        restarted.restart(kill=True)
    assert caught.value.transient
    with catalogue.publishing(take):
        pass
    finish(catalogue, take)
    assert catalogue.find("A").status is Status.REVIEW


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_two_that_lock_each_other_out_both_succeed(catalogue: Catalogue, url: str) -> None:
    """A deadlock, which PostgreSQL ends by refusing one of the two, is no error: its work is done again."""
    night_of(catalogue)
    engine = connect(url)
    sessions = Sessions(engine)
    met = threading.Barrier(2)
    tries: list[str] = []

    def lock(codes: str) -> None:
        def work(session: Session) -> None:
            tries.append(codes)
            for place, code in enumerate(codes):
                session.scalars(select(ShotRow).where(ShotRow.code == code).with_for_update()).one().notes += codes
                session.flush()
                if place == 0 and len(tries) <= 2:
                    met.wait(10)

        sessions.write(work)

    assert together(lambda: lock("AB"), lambda: lock("BA")) == []
    engine.dispose()
    assert len(tries) > 2
    assert {len(catalogue.find(code).shot.notes) for code in "AB"} == {4}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_nobody_waits_for_a_row_for_ever(url: str) -> None:
    """A process that was suspended while it held a row makes others fail after a while, not hang."""
    engine = connect(url)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "30s"
        assert connection.execute(text("SHOW transaction_isolation")).scalar() == "read committed"
    engine.dispose()
