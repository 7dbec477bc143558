"""Claims about the window of the night: the clocks change, nights pass midnight, and nonsense is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flows.settings import Settings
from flows.window import Window, machine_timezone
from tasks.errors import MachineNotReadyError, PlanError

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")


@given(
    some.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),
    some.times(),
    some.times(),
    some.sampled_from(ZONES),
)
def test_the_window_is_the_one_that_is_open_or_the_next(
    now: datetime, opens: object, closes: object, zone: str
) -> None:
    """It ends after now, lasts a day at most (an hour more or less when the clocks change), and holds what is in it."""
    window = Window(opens, closes, zone)  # type: ignore[arg-type]
    moment = now.replace(tzinfo=UTC)
    begin, end = window.around(moment)
    assert moment < end
    assert timedelta(hours=-1) <= end - begin <= timedelta(hours=25)
    assert window.holds(moment) == (begin <= moment < end)
    assert begin <= moment or begin - moment <= timedelta(hours=25)


def test_a_night_in_which_the_clocks_change_is_an_hour_longer() -> None:
    """19:00 to 07:00 in Berlin has 13 hours when summer ends, 11 when it begins, 12 otherwise."""
    window = Window.parse("19:00-07:00", zone="Europe/Berlin")
    hours = []
    for day in (datetime(2026, 10, 24), datetime(2027, 3, 27), datetime(2026, 11, 21)):
        begin, end = window.around(day.replace(hour=12, tzinfo=ZoneInfo("Europe/Berlin")))
        hours.append((end - begin) / timedelta(hours=1))
    assert hours == [13, 11, 12]
    assert window.cron == "0 19 * * *"
    assert str(window) == "19:00-07:00"


def test_until_is_the_next_such_time_or_an_instant() -> None:
    """HH:MM means tonight or tomorrow in the window's zone; what is over or no time is refused with a sentence."""
    window = Window.parse("", zone="Europe/Berlin")
    now = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)  # 21:00 in Berlin
    assert window.end("", now) is None
    assert window.end("", now, scheduled=True) == datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    assert window.end("23:30", now) == datetime(2026, 11, 21, 22, 30, tzinfo=UTC)
    assert window.end("20:30", now) == datetime(2026, 11, 22, 19, 30, tzinfo=UTC)
    assert window.end("2026-11-22T05:00", now) == datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
    assert window.end("2026-11-22T05:00+00:00", now) == datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    for nonsense in ("soon", "25:00", "2026-11-20T05:00"):
        with pytest.raises(PlanError, match=nonsense):
            window.end(nonsense, now)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAILIES_NIGHT", "19-7"),
        ("DAILIES_NIGHT", "19:00-24:30"),
        ("DAILIES_TIMEZONE", "Mars/Olympus"),
        ("DAILIES_TIMEZONE", "../etc/passwd"),
        ("DAILIES_NOTIFY", "slack"),
        ("DAILIES_WORKERS_CPU", "0"),
        ("DAILIES_WORKERS_CPU", "many"),
        ("DAILIES_PATIENCE", "-1"),
        ("DAILIES_PATIENCE", "nan"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    """The sentence names the variable and the value."""
    with pytest.raises(MachineNotReadyError, match=name) as error:
        Settings.read({name: value})
    assert value in str(error.value)


def test_settings_are_the_same_in_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """What `variables` gives is read as the same settings wherever a worker runs, relative paths and all."""
    given_here = {
        "DAILIES_HOME": "home",
        "DAILIES_DATABASE_URL": "sqlite:///shots.sqlite",
        "DAILIES_FFMPEG": "tools/ffmpeg",
        "DAILIES_NIGHT": "22:00-05:30",
        "DAILIES_NOTIFY": "slack-webhook/desk, custom-webhook/x",
    }
    here = Settings.read(given_here)
    monkeypatch.chdir(str(tmp_path))
    assert Settings.read(here.variables()) == here
    assert here.notify == ("slack-webhook/desk", "custom-webhook/x")


def test_the_machines_time_zone_is_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """TZ is believed where it names a zone, and nothing else breaks it."""
    assert ZoneInfo(machine_timezone())
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert machine_timezone() == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    assert ZoneInfo(machine_timezone())
