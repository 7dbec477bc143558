"""Claims about what is written down of a window's time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalogs.shot import Plate, Shot
from catalogs.store import Catalogue, open_catalogue
from flows.settle import Recorder
from models.cards import card, generator_spec
from models.interface import InterpolatorSpec
from tasks.engines import ANIMATIC
from tasks.history import engine_seconds, history
from tasks.plan import TakePlan, plan_take

WAN = card("wan2.1-i2v-14b-720p")


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """An empty one."""
    with open_catalogue(f"sqlite:///{tmp_path / 'catalogue.db'}") as opened:
        yield opened


@pytest.fixture
def plan() -> TakePlan:
    """Two windows of the animatic."""
    shot = Shot("AGM", "SH0010", 157, plate=Plate("/plates/a.png", "0" * 64, 1280, 720))
    return plan_take(shot, generator_spec(WAN, engine=ANIMATIC), interpolator=InterpolatorSpec("flow", "", "", "1"))


def way(*rolls: tuple[float, bool], **notes: Any) -> dict[str, Any]:
    """The notes of a window whose first roll was kept: seconds of each, and whether it was made now."""
    told = [
        {"seed": seed, "over": 2.0, "said": "", "seconds": seconds, "made": made}
        for seed, (seconds, made) in enumerate(rolls)
    ]
    return {"seed": 0, "rolls": told, **notes}


def test_a_rolled_window_is_one_roll_in_history(catalogue: Catalogue, plan: TakePlan) -> None:
    """Three rolls of 10 s leave one timing of 10 s, so that the next window is expected to take that and not 30 s."""
    first, second = plan.windows
    Recorder(catalogue, plan).window(first, way((9.0, True), (10.0, True), (11.0, True)), 31.0)
    [one] = catalogue.nights.timings()
    assert (one.kind, one.seconds, one.key) == ("window", 10.0, first.key)
    known = history([one])
    assert len(first.span.range) == len(second.span.range)
    assert engine_seconds(plan, known, card=WAN, device="cpu", made=known.made).seconds == 10.0


def test_what_a_dead_process_made_is_not_timed(catalogue: Catalogue, plan: TakePlan) -> None:
    """Its rolls and its loading count for nothing; a window of which only the choice was left is not written down."""
    first, second = plan.windows
    recorder = Recorder(catalogue, plan)
    recorder.window(first, way((500.0, False), (600.0, False), load_seconds=70.0), 0.2)
    assert catalogue.nights.timings() == []
    recorder.window(second, way((500.0, False), (12.0, True), load_seconds=70.0), 12.5)
    assert [(one.kind, one.seconds) for one in catalogue.nights.timings()] == [("window", 12.0)]


def test_loading_is_no_part_of_a_window(catalogue: Catalogue, plan: TakePlan) -> None:
    """The roll that waited for the model says so: two timings, with and without notes of rolls."""
    first, second = plan.windows
    recorder = Recorder(catalogue, plan)
    recorder.window(first, way((90.0, True), load_seconds=70.0), 91.0)
    recorder.window(second, {"load_seconds": 70.0}, 90.0)
    assert [(one.kind, one.seconds) for one in catalogue.nights.timings()] == [("load", 70.0), ("window", 20.0)] * 2
