"""Claims about what the night says on a terminal, in a pipe and to a script."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
    assert lines[0].split() == ["reel", "worker", "model", "shots", "first", "shot", "from", "to", "time", "loading"]
    assert "reel 01       1  wan exact      4  AGM/SH0000  Sat 19:00  Sat 23:05  4.1 h    5 min" in lines[1]
    assert "8 shots from Sat 19:00 to Sat 23:30 (Europe/Berlin) on 2 workers (NVIDIA H100)." in lines
    assert "GPU-hours: 8.2 planned of 9.0 available, 12.2 wanted; 4.0 are missing." in lines
    assert "Times rest on: history (12 shots)." in lines
    assert any(line.startswith("AGM/SH0008, AGM/SH0009, AGM/SH0010, AGM/SH0011 are carried over: ") for line in lines)
    assert "AGM/SH0901 is left to others: it is being rendered by hand" in lines
    assert said.err == "AGM/SH0900: the model needs a [bold]still[/bold]; give it one\n"


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
    """Where no terminal is, the report is the Markdown of the file."""
    night_view.report(reported(), as_json=False)
    assert capsys.readouterr().out == markdown(reported())
