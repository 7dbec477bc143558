"""Claims about a reel that looks at the window's end before each shot."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalogs.footage import Status
from catalogs.night import AttemptStatus, Batch, Stage
from catalogs.store import Catalogue, open_catalogue
from flows.leash import GRACE
from flows.lists import submit
from flows.morning import morning_report
from flows.reel import ASKING, NO_TIME, _Reel, cancelled
from flows.settings import Settings
from tasks.pulse import Pulse

WISHES = {"require_rife": False, "profile": "exact", "allow_smaller": False}
SHOTS = ["AGM/SH0010", "AGM/SH0020", "AGM/SH0030"]


@pytest.fixture
def settings(tmp_path: Path, plate_path: Path) -> Settings:
    """A home with three shots for the animatic."""
    read = Settings.read({"DAILIES_HOME": str(tmp_path / "home"), "DAILIES_PLATES": str(plate_path.parent)})
    path = tmp_path / "list.csv"
    rows = [f"AGM,{shot[4:]},{plate_path},12,24,160x96,h264" for shot in SHOTS]
    path.write_text("\n".join(["show,shot,plate,frames,fps,resolution,deliveries", *rows, ""]))
    assert submit(path, read).accepted
    return read


@pytest.fixture
def catalogue(settings: Settings) -> Iterator[Catalogue]:
    """The catalogue of that home."""
    with open_catalogue(settings.database_url) as opened:
        yield opened


def night(catalogue: Catalogue, minutes: float | None) -> Batch:
    """A batch whose window ends in so many minutes; None for no end."""
    until = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    plan = {"workers": 2, "expected": dict.fromkeys(SHOTS, 3600.0)}
    return catalogue.nights.open_batch(until=until, wishes=WISHES, plan=plan, flow_run="f")


def test_a_shot_that_the_window_has_no_time_for_is_not_begun(catalogue: Catalogue, settings: Settings) -> None:
    """Two shots of an hour each, five minutes before the window's end: both are given back with that reason, no take
    is begun, the other reel's shot is left to it, and the report calls their hours missing."""
    nights, batch = catalogue.nights, night(catalogue, 5)
    expected = dict.fromkeys(SHOTS, 3600.0)
    nights.grant(batch.name, "reel 01", SHOTS[:2], models=dict.fromkeys(SHOTS, "animatic"), expected=expected)
    nights.grant(batch.name, "reel 02", SHOTS[2:], models=dict.fromkeys(SHOTS, "animatic"), expected=expected)
    reel = _Reel(catalogue, settings, batch, "reel 01")
    nights.arrive(reel._me, batch=batch.name, stage=Stage.GENERATE, name="reel 01", worker="gpu-0", device="cpu")
    with Pulse(
        lambda said: nights.beat(reel._me, said=said), on_stop=reel.stop, on_lost=reel.drop, every=60.0
    ) as pulse:
        reel._all(pulse)
    first, second, others = nights.attempts(batch.name)
    for attempt in (first, second):
        assert (attempt.status, attempt.error, attempt.started) == (AttemptStatus.RELEASED, NO_TIME, None)
        assert attempt.evidence == {"carried": NO_TIME}
    assert (others.reel, others.status) == ("reel 02", AttemptStatus.WAITING)
    assert [(record.status, record.version) for record in catalogue.shots()] == [(Status.READY, 0)] * 3

    report = morning_report(catalogue, batch.name)
    carried = {entry["shot"]: (entry["cause"], entry["reason"]) for entry in report["carried_over"]}
    assert carried["AGM/SH0010"] == ("time", "it would not have been finished before the window's end")
    assert report["missing_gpu_hours"] >= 2
    assert "no_time" in [need["need"] for need in report["needs"]]


@pytest.mark.parametrize(
    ("minutes", "expected", "late"), [(10.0, 540.0, False), (10.0, 660.0, True), (-1.0, 0.0, True), (None, 1e9, False)]
)
def test_a_shot_is_too_late_when_its_windows_would_end_after_the_window(
    catalogue: Catalogue, settings: Settings, minutes: float | None, expected: float, late: bool
) -> None:
    """Nine minutes of engine fit into ten, eleven do not; nothing fits behind the end, all where there is none."""
    batch = night(catalogue, minutes)
    [attempt] = catalogue.nights.grant(batch.name, "reel 01", SHOTS[:1], expected={SHOTS[0]: expected})
    assert _Reel(catalogue, settings, batch, "reel 01")._too_late(attempt) == late


@pytest.fixture
def mute_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Prefect server that takes connections and says nothing, as one that is just going."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{mute.getsockname()[1]}/api")
        yield


@pytest.mark.usefixtures("mute_server")
def test_nobody_waits_for_a_server_that_is_going(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was cancelled is asked for seconds, and no longer than the worker lives: a run that waited for the
    answer was killed before it gave its shot back."""
    run = "00000000-0000-0000-0000-000000000000"
    began = time.monotonic()
    monkeypatch.setattr("flows.reel.ASKING", 1.0)
    assert not cancelled(run)
    assert 0.9 < time.monotonic() - began < 30
    monkeypatch.setattr("flows.reel.ASKING", 60.0)
    gone = time.monotonic() + 1
    monkeypatch.setattr("flows.reel.loose", lambda: time.monotonic() > gone)
    assert not cancelled(run)
    assert time.monotonic() - gone < 30
    assert ASKING < GRACE
