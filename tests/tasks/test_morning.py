"""Claims about the morning report: every shot has one outcome, figures add up, foreign text stays text."""

from __future__ import annotations

import json
import re
import unicodedata
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
from tasks.morning import OUTCOMES, ShotFacts, morning, summary
from tasks.morning_page import code, markdown, plain, together

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
    """No time left for it; its process died late; it failed in passing before: each says so, and what was missing adds
    up to what was expected of them."""
    tries = [
        attempt(1, AttemptStatus.RELEASED, error="carried over: it would not have been finished before the end"),
        attempt(2, AttemptStatus.DIED, error="silent for 30 s"),
        attempt(3, AttemptStatus.FAILED, error="no memory"),
        attempt(3, AttemptStatus.RELEASED, fence=2, error="the batch ended"),
    ]
    found = report(tries, shots=[facts(n, Status.READY) for n in (1, 2, 3)])
    reasons = {entry["shot"]: entry["reason"] for entry in found["carried_over"]}
    assert reasons["AGM/SH0001"] == "it would not have been finished before the end"
    assert reasons["AGM/SH0002"].endswith("(silent for 30 s)")
    assert reasons["AGM/SH0003"] == "the batch ended; before that: no memory"
    assert found["missing_gpu_hours"] == pytest.approx(1.5)
    assert "1.5 h of GPU time were missing" in markdown(found).replace("90 min", "1.5 h")


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
    assert "Nothing needs you." in markdown(found)


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


foreign = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="`*_[]()<>!#|~&@:/\\-+.1 \nwhtpsa", max_size=40),
    st.sampled_from(
        [
            "![x](http://a.example/p.png)",
            "<img src=x onerror=alert(1)>",
            "[click](javascript:alert(1))",
            "http://evil.example www.evil.example a@evil.example",
            "| a | b |\n|---|---|",
            "# big\n\n- list",
            "&lt;b&gt; &amp; &#35;",
            "a\\\nb",
            "`` ` ``",
            "\u202egnp.exe",
        ]
    ),
)


@given(foreign)
def test_foreign_text_stays_text(text: str) -> None:
    """Whatever a prompt, an error or a dying process says: set in a line of ours it reads as it was, and is nothing but
    text: no link, picture, markup, code or heading."""
    tokens = READER.parse(f"- said: {plain(text)} end")
    kinds = [token.type for token in tokens]
    assert kinds == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
    ]
    children = tokens[3].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    shown = "".join(child.content for child in children)
    kept = "".join(" " if letter.isspace() else letter for letter in text)
    kept = "".join(letter for letter in kept if not unicodedata.category(letter).startswith("C"))
    assert " ".join(shown.split()) == " ".join(f"said: {kept} end".split())


@given(foreign)
def test_bare_addresses_are_no_links(text: str) -> None:
    """What renderers make links of stands nowhere in the source of foreign text: `://`, `www.`, a bare @."""
    assert not re.search(r"(?<!\\)://|\bwww\.|(?<!\\)@", plain(text), flags=re.I)


@given(foreign)
def test_a_name_cannot_leave_its_letters(name: str) -> None:
    """A name in code ends where it should, whatever stands in it."""
    [paragraph] = [token for token in READER.parse(f"x {code(name)} y") if token.type == "inline"]
    assert {child.type for child in paragraph.children or []} <= {"text", "text_special", "code_inline"}


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
