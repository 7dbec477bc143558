"""Claims about what the night says on a terminal, in a pipe and to a script."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from catalogs.night import Batch, BatchStatus
from desk import night_view
from flows.tonight import Tonight, night_plan_json
from tasks.admission import Ready, plan_night
from tasks.morning import morning
from tasks.morning_page import markdown

BEGINS = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)


def planned(hours: float | None, *, shots: int = 12, zone: str = "Europe/Berlin") -> dict[str, Any]:
    """Shots of an hour on two workers, one refused, one held."""
    ready = [
        Ready(f"AGM/SH{n:04d}", "wan exact", 50, None, 3600.0, 300.0, 60.0, f"history of {n + 3} windows")
        for n in range(shots)
    ]
    plan = plan_night(ready, workers=2, window=None if hours is None else 3600.0 * hours)
    refused = (("AGM/SH0900", "AGM/SH0900: the model needs a [bold]still[/bold]; give it one"),)
    held = (("AGM/SH0901", "it is being rendered by hand"),)
    until = None if hours is None else BEGINS + timedelta(hours=hours)
    found = Tonight(plan, tuple(ready), refused if shots else (), held if shots else (), BEGINS, until, "NVIDIA H100")
    return {**night_plan_json(found), "zone": zone}


def test_the_plan_says_who_does_what_when(capsys: pytest.CaptureFixture[str]) -> None:
    """Reels with wall times in the house's zone, what is left with reason, GPU-hours, what the times rest on."""
    night_view.night_plan(planned(4.5), as_json=False)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["reel", "worker", "model", "shots", "from", "to", "time", "GPU", "loading"]
    # four hours, 5 min of loading and 1 min until the last of them is published
    assert "reel 01       1  wan exact      4  Sat 19:00  Sat 23:06  4.1 h  4.1 h    5 min" in lines[1]
    assert lines[3].startswith("to, time: until its last shot is published.")
    assert lines[4:6] == ["reel 01: AGM/SH0000 SH0002 SH0004 SH0006", "reel 02: AGM/SH0001 SH0003 SH0005 SH0007"]
    assert "8 shots from Sat 19:00 to Sat 23:30 (Europe/Berlin) on 2 workers (NVIDIA H100)." in lines
    assert "GPU-hours: 8.2 planned of 9.0 available, 12.2 wanted; 4.0 are missing." in lines
    assert "Times rest on: history (12 shots)." in lines
    assert any(line.startswith("AGM/SH0008, AGM/SH0009, AGM/SH0010, AGM/SH0011 are carried over: ") for line in lines)
    assert "AGM/SH0901 is left to others: it is being rendered by hand" in lines
    assert said.err == "AGM/SH0900: the model needs a [bold]still[/bold]; give it one\n"


def test_finishing_counts_and_loading_is_never_negative(capsys: pytest.CaptureFixture[str]) -> None:
    """A shot of a second that takes ten minutes to finish: its reel ends after ten minutes, and 0 s are spent on
    loading, also where rounding left less than none."""
    ready = [Ready(f"{show}/SH0010", "animatic", 50, None, 1.0, 0.0, 600.0, "prior") for show in ("AGM", "BRK")]
    plan = plan_night(ready, workers=1, window=None)
    document = {**night_plan_json(Tonight(plan, tuple(ready), (), (), BEGINS, None, "cpu")), "zone": "UTC"}
    [reel] = document["reels"]
    night_view.night_plan({**document, "reels": [{**reel, "load_seconds": -0.0}]}, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "Sat 18:00  Sat 18:10  10 min  2 s      0 s" in lines[1]
    assert "reel 01: AGM/SH0010, BRK/SH0010" in lines


def test_a_plate_that_is_amiss_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """What `plates` of the plan says stands below the table, on stderr as every complaint."""
    plan = {**planned(4.5), "plates": [{"shot": "AGM/SH0003", "error": "AGM/SH0003: the plate /p/a.png has changed"}]}
    night_view.night_plan(plan, as_json=False)
    assert "AGM/SH0003: the plate /p/a.png has changed" in capsys.readouterr().err.splitlines()


def test_a_night_without_an_end_misses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No window: no hours are available or missing, and nobody is carried over."""
    night_view.night_plan(planned(None), as_json=False)
    said = capsys.readouterr().out
    assert "12 shots from Sat 19:00, until it is done (Europe/Berlin)" in said
    assert "GPU-hours: 12.2 planned.\n" in said
    assert "carried over" not in said


def test_nothing_ready_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """No shot: a sentence instead of an empty table."""
    night_view.night_plan(planned(8, shots=0), as_json=False)
    said = capsys.readouterr().out
    assert said.startswith("Nothing to render: no shot is ready.")
    assert "GPU-hours" not in said


def test_scripts_get_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    """--json: the plan and the report as they are, one document each."""
    plan = planned(4.5)
    night_view.night_plan(plan, as_json=True)
    assert json.loads(capsys.readouterr().out) == plan
    night_view.report(reported(), as_json=True)
    assert json.loads(capsys.readouterr().out) == reported()


def reported() -> dict[str, Any]:
    """The report of a night in which nothing was ready."""
    batch = Batch("2026-11-21", BatchStatus.ENDED, BEGINS, None, None, {}, {}, {}, "f", 0)
    return morning(batch, [], runs=[], timings=[], shots=[], now=BEGINS)


def test_a_pipe_gets_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no terminal is, the report is the text of the file; on none of both do people see a backslash of ours."""
    night_view.report(reported(), as_json=False)
    assert capsys.readouterr().out == markdown(reported())
    broken = {**reported(), "summary": "1 of 1 shots done", "zone": "UTC"}
    entry = {"shot": "A/S1", "slate": "A_S1", "status": "failed", "error": "[Errno 2] no <still> *a* | b_c __d__ ~e"}
    broken["before"] = [entry]
    need = {"need": "failed_before", "shots": ["A/S1"], "says": "failed", "command": "dailies render A/S1"}
    broken["needs"] = [need]
    assert r"\[Errno 2\]" in markdown(broken)
    night_view.report(broken, as_json=False)
    said = capsys.readouterr().out
    assert entry["error"] in said
    assert "\\" not in said


def test_a_terminal_shows_no_backslash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set for a terminal, foreign text reads as it was."""
    stream = io.StringIO()
    monkeypatch.setattr(night_view, "OUT", Console(file=stream, force_terminal=True, no_color=True, width=100))
    error = "[Errno 2] no <still> *a* | b_c __d__ ~e"
    entry = {"shot": "A/S1", "slate": "A_S1", "status": "failed", "error": error}
    need = {"need": "failed_before", "shots": ["A/S1"], "says": "failed", "command": "dailies render A/S1"}
    night_view.report({**reported(), "before": [entry], "needs": [need]}, as_json=False)
    assert error in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
