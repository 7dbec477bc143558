"""Claims about the morning report: every shot has one outcome, figures add up, foreign text stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from catalogs.footage import Status
from catalogs.night import Attempt, AttemptStatus, Batch, BatchStatus, Run, Stage, Timing
from catalogs.shot import Shot
from catalogs.store import ShotRecord
from tasks.morning import OUTCOMES, ShotFacts, facts_of, morning, summary
from tasks.morning_page import markdown, together

START = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
READER = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def night(plan: Mapping[str, Any] | None = None, **changes: Any) -> Batch:
    made = Batch(
        "2026-11-21", BatchStatus.ENDED, START, at(600), at(540), {}, plan or {"workers": 2, "expected": {}}, {}, "f", 0
    )
    return replace(made, **changes)


def facts(number: int, status: Status = Status.REVIEW, **changes: Any) -> ShotFacts:
    made = ShotFacts(
        shot=f"AGM/SH{number:04d}",
        slate=f"AGM_SH{number:04d}_v001",
        version=1,
        status=status,
        error="",
        deliverables=({"kind": "h264", "path": "/d/a.mp4"},),
        manifest="/d/manifest.json",
        seconds={"generate": 60.0, "encode": 6.0},
        footage=4.0,
    )
    return replace(made, **changes)


def attempt(number: int, status: AttemptStatus, *, fence: int = 1, **changes: Any) -> Attempt:
    made = Attempt(
        shot=f"AGM/SH{number:04d}",
        fence=fence,
        batch="2026-11-21",
        reel="reel 01",
        stage=Stage.GENERATE,
        status=status,
        model="m exact",
        expected=1800.0,
        flow_run="run-a",
        granted=START,
        not_before=None,
        started=at(10),
        generated=None,
        ended=at(40),
    )
    return replace(made, **changes)


def run(name: str, start: float, end: float | None, *, stage: Stage = Stage.GENERATE, worker: str = "gpu-0") -> Run:
    ended = None if end is None else at(end)
    where = f"{worker} on render7, pid {start:.0f}"
    return Run(name, "2026-11-21", stage, name, where, "NVIDIA H100", 9, at(start), "step 3 of 40", at(start), ended)


def report(
    attempts: Sequence[Attempt] = (),
    *,
    shots: Sequence[ShotFacts] = (),
    runs: Sequence[Run] = (),
    timings: Sequence[Timing] = (),
    batch: Batch | None = None,
    zone: str = "UTC",
) -> dict[str, Any]:
    return morning(batch or night(), attempts, runs=runs, timings=timings, shots=shots, now=at(540), zone=zone)


statuses = st.sampled_from(AttemptStatus)


@given(
    st.lists(st.tuples(st.integers(0, 9), statuses), max_size=40),
    st.lists(st.sampled_from(Status), min_size=10, max_size=10),
    st.sets(st.integers(0, 9)),
    st.sets(st.integers(0, 9)),
)
def test_every_shot_has_one_outcome(
    tries: list[tuple[int, AttemptStatus]], stands: list[Status], carried: set[int], refused: set[int]
) -> None:
    """Whatever happened: each shot of the plan or with an attempt is counted once and stands in the list of its
    outcome; it has an error exactly if it failed or was quarantined; deliverables exactly if it is done. It is all
    JSON, and a page."""
    plan = {
        "workers": 2,
        "expected": {f"AGM/SH{n:04d}": 60.0 for n in carried},
        "carried_over": [{"shot": f"AGM/SH{n:04d}", "reason": "no room", "seconds": 60.0} for n in carried],
        "refused": [{"shot": f"AGM/SH{n:04d}", "error": "no still"} for n in refused],
        "gpu_hours": {"missing": len(carried) / 60},
    }
    made = [attempt(n, status, fence=fence, error=f"why {fence % 3}") for fence, (n, status) in enumerate(tries)]
    found = report(made, shots=[facts(n, status) for n, status in enumerate(stands)], batch=night(plan))
    assert json.loads(json.dumps(found)) == found
    there = {n for n, _ in tries} | carried | refused
    assert sorted(entry["shot"] for entry in found["shots"]) == sorted(f"SH{n:04d}" for n in there)
    assert found["counts"]["shots"] == sum(found["counts"][outcome] for outcome in OUTCOMES) == len(there)
    for outcome in OUTCOMES[1:]:
        assert len(found[outcome]) == found["counts"][outcome]
    for entry in found["shots"]:
        assert (entry["outcome"] in ("failed", "quarantined")) == bool(entry["error"])
        assert bool(entry["deliverables"]) == (entry["outcome"] == "done") == bool(entry["manifest"])
    assert markdown(found).startswith("# Night of 2026-11-21\n")


def test_the_first_cause_is_told_and_the_last() -> None:
    """Three tries, two errors: the first is the cause, the last stands beside it."""
    tries = [
        attempt(1, AttemptStatus.FAILED, fence=1, error="the disk is full"),
        attempt(1, AttemptStatus.FAILED, fence=2, error="the disk is full"),
        attempt(1, AttemptStatus.FAILED, fence=3, error="the still is gone"),
    ]
    found = report(tries, shots=[facts(1, Status.FAILED, error="the still is gone")])
    assert found["failed"] == [
        {
            "shot": "AGM/SH0001",
            "slate": "AGM_SH0001_v001",
            "error": "the disk is full",
            "tries": 3,
            "then": "the still is gone",
        }
    ]
    assert "was tried 3 times; at last it said: the still is gone" in markdown(found)


def test_a_shot_that_was_released_is_carried_over_with_its_reason() -> None:
    """No time left for it; its process died late; it failed in passing before and the window ended; its runs went away;
    it was omitted meanwhile: each says so. What was missing is what was expected of those that lacked time."""
    no_time = "carried over: it would not have been finished before the window's end"
    lost = {"gone": "reel 01: its run ended as crashed", "state": "crashed"}
    asked = {"gone": "its process was asked to leave"}
    tries = [
        attempt(1, AttemptStatus.RELEASED, error=no_time, evidence={"carried": no_time}),
        attempt(2, AttemptStatus.DIED, error="silent for 30 s"),
        attempt(3, AttemptStatus.FAILED, error="no memory"),
        attempt(3, AttemptStatus.RELEASED, fence=2, error="the batch ended"),
        attempt(4, AttemptStatus.RELEASED, started=None, error=lost["gone"], evidence=lost),
        attempt(5, AttemptStatus.RELEASED, started=None, error="asked", evidence=asked),
    ]
    plan = {"workers": 2, "expected": {"AGM/SH0006": 9000.0}}
    shots = [*(facts(n, Status.READY) for n in (1, 2, 3, 4, 5)), facts(6, Status.OMITTED)]
    found = report(tries, shots=shots, batch=night(plan, ended=at(600)))
    carried = {entry["shot"][-1]: (entry["cause"], entry["reason"]) for entry in found["carried_over"]}
    assert carried == {
        "1": ("time", "it would not have been finished before the window's end"),
        "2": ("died", "its process died, and the night was over before another try (silent for 30 s)"),
        "3": (
            "time",
            "the window ended while it was at work; what is finished of it is kept; before that: no memory",
        ),
        "4": ("lost", "reel 01: its run ended as crashed"),
        "5": ("time", "the window ended before its turn"),
        "6": ("other", "left out: it was omitted when its turn came"),
    }
    assert found["missing_gpu_hours"] == pytest.approx(1.5)
    assert "; 90 min of GPU time was missing" in markdown(found)


def test_a_night_that_was_stopped_lacked_no_time() -> None:
    """Ended by somebody hours before its window, or without one: reasons say so, no GPU time is called missing, and
    where nothing was done somebody is asked to see to it."""
    asked = {"gone": "its process was asked to leave"}
    tries = [
        attempt(1, AttemptStatus.RELEASED, evidence=asked),
        attempt(2, AttemptStatus.RELEASED, started=None, error="the batch ended before its turn"),
    ]
    for until in (at(900), None):
        plan = {"workers": 2, "expected": {"AGM/SH0003": 1800.0}}
        found = report(tries, shots=[facts(n, Status.READY) for n in (1, 2, 3)], batch=night(plan, until=until))
        assert {entry["shot"][-1]: entry["reason"] for entry in found["carried_over"]} == {
            "1": "the night was stopped while it was at work; what is finished of it is kept",
            "2": "the night was stopped before its turn",
            "3": "the night was stopped before its turn",
        }
        assert {entry["cause"] for entry in found["carried_over"]} == {"stopped"}
        assert found["missing_gpu_hours"] == 0
        page = markdown(found)
        assert "was missing" not in page
        assert "Nothing needs you." not in page
        assert "**3 shots** wait, none is done: the night was stopped before one shot was finished" in page
    done = [*tries, attempt(4, AttemptStatus.DONE)]
    assert "Nothing needs you." in markdown(report(done, shots=[facts(n) for n in (1, 2, 4)], batch=night(until=None)))


def test_what_an_earlier_night_left_needs_somebody() -> None:
    """A night that went well, and one in which nothing was ready: shots that stand in quarantine or failed since
    before are named, each with the command; those of this night are not named twice."""
    long = "its process died 2 times while at it (attempt 1: on gpu-0, exit -9; attempt 2: on gpu-1); look at its plate"
    old = [facts(7, Status.QUARANTINED, error=long), facts(8, Status.FAILED, error="the still is gone")]
    for tries in ([attempt(1, AttemptStatus.DONE)], []):
        found = report(tries, shots=[facts(1), *old])
        assert [(one["need"], one["shots"], one["command"]) for one in found["needs"]] == [
            ("quarantined_before", ["AGM/SH0007"], "dailies release AGM/SH0007"),
            ("failed_before", ["AGM/SH0008"], "dailies render AGM/SH0008"),
        ]
        page = markdown(found)
        assert "Nothing needs you." not in page
        assert "## Needs you: 2 shots" in page
        assert "- **1 shot, quarantined before**: its process died 2 times while at it  \n  `AGM_SH0007_v001`" in page
        assert "`dailies release AGM/SH0007`" in page
    tonight = [attempt(n, AttemptStatus.FAILED, error="no memory") for n in (1, 2, 3, 4)]
    found = report(tonight, shots=[facts(n, Status.FAILED) for n in (1, 2, 3, 4)])
    assert [one["need"] for one in found["needs"]] == ["failed"]
    assert found["needs"][0]["command"] == "dailies render SHOT..."


def test_shots_without_room_need_somebody() -> None:
    """Carried over by the plan for want of time: said with the command that renders them, beside what was done."""
    plan = {
        "workers": 2,
        "expected": {"AGM/SH0001": 3600.0},
        "carried_over": [{"shot": "AGM/SH0001", "reason": "no room", "seconds": 3600.0}],
        "gpu_hours": {"missing": 1.0},
    }
    found = report([attempt(2, AttemptStatus.DONE)], shots=[facts(1, Status.READY), facts(2)], batch=night(plan))
    [need] = found["needs"]
    assert (need["need"], need["shots"], need["command"]) == ("no_time", ["AGM/SH0001"], "dailies night")
    assert re.search(r"## Needs you\n\n- \*\*1 shot\*\* had no room: .*`dailies night`", markdown(found))


def test_a_shot_without_a_take_has_a_slate() -> None:
    """The report names shots by slates alone: one that never had a take is named as its takes would be, less the
    version."""
    shot = Shot("AGM", "SH0010", 48, sequence="SQ010")
    for sequence, name in (("SQ010", "AGM_SQ010_SH0010"), ("", "AGM_SH0010")):
        record = ShotRecord(replace(shot, sequence=sequence), Status.READY, 0, None, None)
        assert facts_of(record).slate == name


def test_missing_hours_are_those_of_the_plan_while_nothing_changes() -> None:
    """What the plan carried over is missing as the plan said, loading included."""
    plan = {
        "workers": 2,
        "expected": {"AGM/SH0001": 3600.0},
        "carried_over": [{"shot": "AGM/SH0001", "reason": "no room", "seconds": 3600.0}],
        "gpu_hours": {"missing": 1.25},
    }
    assert report(shots=[facts(1, Status.READY)], batch=night(plan))["missing_gpu_hours"] == 1.25


def test_a_death_costs_what_was_not_kept() -> None:
    """Half an hour of work, of which a window of 20 minutes was kept: 10 minutes are lost. The worker's last words are
    the evidence of the quarantined shot."""
    died = [
        attempt(1, AttemptStatus.DIED, error="its process is gone", evidence={"exit": -9}),
        attempt(1, AttemptStatus.DIED, fence=2, flow_run="run-b", started=at(50), ended=at(55), error="hung"),
    ]
    kept = Timing("window", "m", "exact", 1, 1, 81, 40, "d", 1200.0, "k", "AGM/SH0001", "2026-11-21", at(35))
    found = report(
        died,
        shots=[facts(1, Status.QUARANTINED, error="2 processes died at it")],
        runs=[run("run-a", 5, 40), run("run-b", 45, 55)],
        timings=[kept],
    )
    assert [death["lost_seconds"] for death in found["deaths"]] == [600.0, 300.0]
    [quarantined] = found["quarantined"]
    assert [one["said"] for one in quarantined["evidence"]] == ["step 3 of 40"] * 2
    assert quarantined["evidence"][0]["exit"] == -9
    page = markdown(found)
    assert page.index("## Needs you: 1 shot") < page.index("## Died on the way: 2 attempts, 15 min of work lost")
    assert "exit: -9" in page


def test_gpu_time_is_what_was_held() -> None:
    """Two reels of 60 and 30 minutes, 8 s of footage: 675 s of GPU for each. Finishing is no GPU's time."""
    found = report(
        [attempt(n, AttemptStatus.DONE) for n in (1, 2)],
        shots=[facts(1), facts(2)],
        runs=[run("a", 0, 60), run("b", 60.2, 90.2), run("c", 0, 90, stage=Stage.FINISH, worker="cpu")],
        timings=[Timing("load", "m", "exact", 0, 0, 0, 0, "d", 90.0)],
    )
    assert (found["gpu_seconds"], found["finished_seconds"]) == (5400.0, 8.0)
    assert found["gpu_seconds_per_finished_second"] == 675.0
    assert found["loads"] == {"count": 1, "seconds": 90.0}
    gpu, cpu = found["workers"]
    assert (gpu["worker"], gpu["runs"], len(gpu["busy"])) == ("gpu-0 on render7", 2, 1)
    assert cpu["busy_seconds"] == 5400.0


def test_a_run_that_never_left_was_busy_to_the_end() -> None:
    """A run without an end counts until the night's."""
    assert report(runs=[run("a", 500, None)])["gpu_seconds"] == 2400.0


def test_nothing_done_costs_no_ratio() -> None:
    """A night without a finished shot has no seconds per second, and a page all the same."""
    found = report()
    assert (found["gpu_seconds_per_finished_second"], found["summary"]) == (None, "no shot was ready")
    assert (found["needs"], "Nothing needs you." in markdown(found)) == ([], True)


def test_a_summary_names_only_what_happened() -> None:
    """183 of 200, 3 failed: what did not happen is left out."""
    counts = dict.fromkeys(OUTCOMES, 0) | {"shots": 200, "done": 183, "failed": 3, "carried_over": 14}
    assert summary(counts) == "183 of 200 shots done, 3 failed, 14 carried over"


def test_causes_are_told_once() -> None:
    """A hundred shots whose errors differ by their own names, paths or durations are one line, which says whose text
    it is; the most frequent cause comes first."""
    failed = [
        {"shot": f"A/S{n}", "slate": f"A_S{n}_v001", "error": f"A/S{n}: /p/{n}.png of A/S{n} is late by {n + 1} min"}
        for n in range(100)
    ]
    rare = {"shot": "A/T", "slate": "A_T_v001", "error": "no prompt"}
    causes = together([rare, *failed], "error")
    assert [len(slates) for _, slates in causes] == [100, 1]
    assert [text for text, _ in causes] == ["/p/0.png of A/S0 is late by 1 min (said of the first)", "no prompt"]


def test_times_are_the_houses() -> None:
    """18:00 UTC is 19:00 in Berlin, in the headline and above the workers' lines."""
    page = markdown(report(runs=[run("a", 0, 270)], zone="Europe/Berlin"))
    assert "19:00 to 04:00 (Europe/Berlin), window until 05:00." in page
    [ruler, line] = page.partition("```text\n")[2].splitlines()[:2]
    assert ruler.split() == ["19:00", "04:00"]
    assert line == f"gpu-0 on render7  {'█' * 24}{'·' * 24}  50 %"


def test_a_page_with_hostile_shots_keeps_its_shape() -> None:
    """Errors that are tables, headings and pictures leave the page's own headings and tables as the only ones."""
    nasty = "# x\n| a | b |\n|---|---|\n![i](http://e.example) <script>alert(1)</script> `"
    found = report(
        [attempt(1, AttemptStatus.FAILED, error=nasty), attempt(2, AttemptStatus.DONE), attempt(3, AttemptStatus.DIED)],
        shots=[facts(1, Status.FAILED), facts(2), facts(3, Status.QUARANTINED, error=nasty)],
        runs=[replace(run("run-a", 0, 60), worker=nasty, said=nasty)],
    )
    tokens = READER.parse(markdown(found))
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == 1
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1"] + ["h2"] * 5
    assert not any(token.type.startswith("html") for token in tokens)
    inline = {child.type for token in tokens for child in token.children or []}
    assert not inline & {"image", "link_open", "html_inline"}
