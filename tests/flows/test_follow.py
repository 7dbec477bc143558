"""Claims about following a night: what is decided is carried out as it was meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from catalogue_nights import arrived, begun, opened, stocked

from catalogs.night import Batch
from catalogs.store import Catalogue, open_catalogue
from flows.dispatch import Looked, plainly
from flows.duty import last_words
from flows.follow import Follower
from tasks.recovery import RunState

pytestmark = pytest.mark.expects_log


class Server:
    """Flow runs that wait for a worker until they are said to be something else."""

    def __init__(self) -> None:
        self.states: dict[str, RunState] = {}

    def run(self, deployment: str, *, key: str, **_: Any) -> str:
        del deployment
        self.states.setdefault(key, RunState.SCHEDULED)
        return key

    def look(self, runs: Sequence[str]) -> Mapping[str, Looked]:
        return {run: Looked(self.states[run], datetime.now(UTC), "") for run in runs if run in self.states}

    def crash(self, flow_run: str, why: str) -> None:
        del why
        self.states[flow_run] = RunState.CRASHED

    def call_off(self, flow_run: str) -> None:
        self.states[flow_run] = RunState.CANCELLED


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """An empty one."""
    with open_catalogue(f"sqlite:///{tmp_path / 'catalogue.sqlite'}") as made:
        yield made


def at_work(catalogue: Catalogue, follower: Follower, reels: Mapping[str, Sequence[str]], batch: Batch) -> None:
    """Reels that were granted and dispatched; each has begun its first shot."""
    for reel, shots in reels.items():
        catalogue.nights.grant(batch.name, reel, shots, models=dict.fromkeys(shots, "m"))
    follower.turn()
    for reel in reels:
        first = catalogue.nights.attempts(batch.name, reel=reel)[0]
        catalogue.nights.begin(first.shot, first.fence, flow_run=first.flow_run)
        begun(catalogue, first.shot, first.fence)


def waiting(catalogue: Catalogue, batch: Batch) -> dict[str, list[str]]:
    """Reel -> its open shots."""
    found: dict[str, list[str]] = defaultdict(list)
    for attempt in catalogue.nights.attempts(batch.name, open_only=True):
        found[attempt.reel].append(attempt.shot.rpartition("/")[2])
    return dict(found)


def test_what_two_lost_runs_held_goes_back_to_two_and_suspects_stay_alone(catalogue: Catalogue, tmp_path: Path) -> None:
    """Every grant of one look gets a reel of its own: nothing else would keep two workers, or two suspects, apart."""
    stocked(catalogue, "ABCDEF")
    batch, server = opened(catalogue), Server()
    follower = Follower(catalogue, tmp_path, batch.name, server)  # type: ignore[arg-type]
    at_work(catalogue, follower, {"reel 01": ["AGM/A", "AGM/B", "AGM/C"], "reel 02": ["AGM/D", "AGM/E"]}, batch)
    server.states = dict.fromkeys(server.states, RunState.CRASHED)
    follower.turn()
    follower.turn()
    assert waiting(catalogue, batch) == {"reel 03": ["B", "C"], "reel 04": ["E"]}

    for shot in ("AGM/B", "AGM/C", "AGM/E"):
        catalogue.nights.cancel([shot])
    follower.turn()
    assert waiting(catalogue, batch) == {"reel 05": ["A"], "reel 06": ["D"]}


def test_a_reel_that_waits_is_called_off_when_the_batch_ends(catalogue: Catalogue, tmp_path: Path) -> None:
    """What no worker has taken up is released and its flow run cancelled; one that is at work ends by itself."""
    stocked(catalogue, "AB")
    batch, server = opened(catalogue), Server()
    follower = Follower(catalogue, tmp_path, batch.name, server)  # type: ignore[arg-type]
    at_work(catalogue, follower, {"reel 01": ["AGM/A"]}, batch)
    [at_it] = server.states
    server.states[at_it] = RunState.RUNNING
    catalogue.nights.grant(batch.name, "reel 02", ["AGM/B"])
    follower.turn()
    follower.turn()
    catalogue.nights.stop(batch.name)
    follower.turn()
    assert waiting(catalogue, batch) == {"reel 01": ["A"]}
    assert sorted(server.states.values()) == [RunState.CANCELLED, RunState.RUNNING]
    assert server.states[at_it] is RunState.RUNNING


@pytest.mark.parametrize(("looks", "lost"), [((0.0, 5.0, 10.0, 15.0, 20.0, 25.5), True), ((0.0, 300.0, 305.0), False)])
def test_silence_counts_only_while_somebody_listens(
    catalogue: Catalogue, tmp_path: Path, looks: Sequence[float], lost: bool
) -> None:
    """A run that gives no sign for two beats is given up; one that nobody could hear meanwhile is not."""
    stocked(catalogue, "A")
    batch, server, clock = opened(catalogue), Server(), iter([1000.0, *(1000.0 + look for look in looks)])
    follower = Follower(catalogue, tmp_path, batch.name, server, clock=lambda: next(clock))  # type: ignore[arg-type]
    at_work(catalogue, follower, {"reel 01": ["AGM/A"]}, batch)
    [run] = server.states
    server.states[run] = RunState.RUNNING
    arrived(catalogue, run, batch.name)
    catalogue.nights.beat(run, said="window 1 of 1")
    for _ in looks:
        follower.turn()
    assert (server.states[run] is RunState.CRASHED) == lost
    assert catalogue.nights.attempts(batch.name)[0].open != lost


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (
            "Process exited with status code: -9. Process exited due to a SIGKILL signal. Typically caused by ...",
            "the process was ended by SIGKILL: out of memory, or by hand",
        ),
        ("Process exited with status code: -11.", "the process was ended by SIGSEGV"),
        ("Process exited with status code: 1. Process for flow run exited.", "the process left with exit code 1"),
        ("3 shots rendered, 0 failed", "3 shots rendered, 0 failed"),
        ("", ""),
    ],
)
def test_how_a_process_ended_is_said_in_few_words(message: str, plain: str) -> None:
    """Prefect's sentence would stand in a report four times."""
    assert plainly(message) == plain


def test_only_a_process_that_hung_leaves_a_file(catalogue: Catalogue, tmp_path: Path) -> None:
    """Of two processes that are gone, one was killed: what it said last is kept with its attempt, and no file beside
    the stacks of those that hung makes it look like one of them."""
    stocked(catalogue, "AB")
    batch, server = opened(catalogue), Server()
    follower = Follower(catalogue, tmp_path, batch.name, server)  # type: ignore[arg-type]
    at_work(catalogue, follower, {"reel 01": ["AGM/A"], "reel 02": ["AGM/B"]}, batch)
    killed, hung = (one.flow_run for one in catalogue.nights.attempts(batch.name))
    for run, stack in ((killed, ""), (hung, 'Thread 1 (most recent call first):\n  File "a.py", line 1 in step\n')):
        last_words(tmp_path, run).parent.mkdir(parents=True, exist_ok=True)
        last_words(tmp_path, run).write_text("AGM_A_v001 generate: step 3 of 40".ljust(239) + "\n" + stack)
    server.states = dict.fromkeys(server.states, RunState.CRASHED)
    follower.turn()
    tries = {one.flow_run: one for one in catalogue.nights.attempts(batch.name) if one.flow_run in (killed, hung)}
    assert {one.evidence["at"] for one in tries.values()} == {"AGM_A_v001 generate: step 3 of 40"}
    assert "line 1 in step" in tries[hung].evidence["stack"]
    assert list((tmp_path / "batches" / "hung").iterdir()) == [last_words(tmp_path, hung)]
