"""Claims about what `status` and `shots` say to people: each name once, every word in its place."""

from __future__ import annotations

from typing import Any

import pytest

from desk import show

LONG = (
    "its process died 2 times while at it (attempt 1: on gpu-0 on render7, pid 7, last at 'AGM_A_v001 step 3', killed; "
    "attempt 2: on gpu-1 on render7, pid 9, killed); look at its plate, size and LoRAs, then release it from quarantine"
)


def standing(**changes: Any) -> dict[str, Any]:
    """The document of a house in which nothing happens."""
    named = {name: len(changes.get(name, ())) for name in ("rendering", "quarantined", "failed")}
    return {
        "shots": {"ready": 2, **named},
        "rendering": [],
        "failed": [],
        "quarantined": [],
        "batch": None,
        "last_batch": None,
        "house": None,
        "night": {
            "begins": "2026-11-21T19:00:00+00:00",
            "ends": "2026-11-22T07:00:00+00:00",
            "open": False,
            "zone": "Europe/Berlin",
        },
        **changes,
    }


def said(capsys: pytest.CaptureFixture[str], **changes: Any) -> list[str]:
    """What a person reads."""
    show.status(standing(**changes), as_json=False)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_each_shot_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors bring their shot's name or slate; behind that name they stand without. Quarantine is told in a line."""
    lines = said(
        capsys,
        failed=[
            {"shot": "AGM/A", "error": "AGM/A: the plate /p/a.png cannot be read"},
            {"shot": "AGM/B", "error": "AGM_SQ010_B_v003: no memory for AGM/B"},
        ],
        quarantined=[{"shot": "AGM/C", "error": LONG}],
    )
    assert "AGM/A failed: the plate /p/a.png cannot be read" in lines
    assert "AGM/B failed: no memory for AGM/B" in lines
    assert (
        "AGM/C is quarantined: its process died 2 times while at it; `dailies release AGM/C` lets it in again" in lines
    )


def test_waiting_is_not_running(capsys: pytest.CaptureFixture[str]) -> None:
    """The states of shots and of the batch are said as they are; a worker that is silent too; nobody at work too."""
    batch = {"batch": "2026-11-21", "status": "running", "counts": {"waiting": 3, "running": 1, "done": 2}}
    runs = [
        {
            "worker": "gpu-0 on a, pid 7",
            "name": "reel 01",
            "said": "AGM_A_v001 generate: step 3 of 40",
            "silent_seconds": 4,
        },
        {"worker": "gpu-1 on a, pid 9", "name": "reel 02", "said": "", "silent_seconds": 300},
    ]
    rendering = [
        {"shot": "AGM/A", "running": True, "state": "running"},
        {"shot": "AGM/B", "running": True, "state": "waiting"},
        {"shot": "AGM/C", "running": False, "state": "interrupted"},
    ]
    lines = said(capsys, rendering=rendering, batch={**batch, "runs": runs})
    assert lines[3:6] == [
        "AGM/A: running",
        "AGM/B: waiting",
        "AGM/C: interrupted; `dailies render` continues it",
    ]
    assert "Batch 2026-11-21 is running: 3 waiting, 1 running, 2 done" in lines
    assert "  gpu-0 on a, pid 7: AGM_A_v001 generate: step 3 of 40" in lines
    assert "  gpu-1 on a, pid 9: reel 02 (nothing was heard of it for 5 min)" in lines
    empty = said(capsys, batch={**batch, "counts": {}, "runs": []})
    assert "Batch 2026-11-21 is running: no shot was handed out yet" in empty
    assert "  no worker is at it now" in empty


def test_the_last_batch_the_house_and_the_next_night(capsys: pytest.CaptureFixture[str]) -> None:
    """What was done last and where that is written down; whether a house is up; when the next night begins, in the
    house's own time."""
    last = {
        "batch": "2026-11-21",
        "summary": "5 of 6 shots done, 1 failed",
        "finished": "2026-11-21T05:12:00+00:00",
        "shots": 6,
        "failed": 1,
        "seconds": 7300.0,
        "report": "/h/batches/x.json",
        "page": "/h/batches/2026-11-21.md",
    }
    lines = said(capsys, last_batch=last)
    assert "Last batch 2026-11-21: 5 of 6 shots done, 1 failed; 2.0 h, ended Sat 06:12." in lines
    assert "Its report: /h/batches/2026-11-21.md" in lines
    assert "House: none is up here; `dailies up` starts it." in lines
    assert "The next night begins Sat 20:00, until Sun 08:00 (Europe/Berlin), if a house is up then." in lines
    by_hand = {**last, "batch": "", "summary": "", "page": None, "shots": 1, "failed": 0}
    up = said(capsys, last_batch=by_hand, house="http://127.0.0.1:4200", night={**standing()["night"], "open": True})
    assert "Last batch: 1 shot, 0 failed; 2.0 h, ended Sat 06:12." in up
    assert "House: http://127.0.0.1:4200 is its page." in up
    assert "The night is open since Sat 20:00, until Sun 08:00 (Europe/Berlin)." in up


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "No shots. `dailies submit FILE` takes a list in.\n"),
        ({"status": "failed"}, "No shot with status failed. `dailies shots` lists all.\n"),
        ({"status": "failed", "show": "AGM"}, "No shot of AGM with status failed. `dailies shots` lists all.\n"),
    ],
)
def test_no_shot_of_a_status_is_no_empty_catalogue(
    capsys: pytest.CaptureFixture[str], asked: dict[str, str], text: str
) -> None:
    """What was asked for is named; only an empty catalogue is told to take a list in."""
    show.shots([], as_json=False, total=0, more=False, **asked)  # type: ignore[arg-type]
    assert capsys.readouterr().out == text
