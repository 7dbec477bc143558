"""Claims about shots whose finishing was interrupted: the catalogue says where they stand, every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from catalogue_nights import begun, finish, opened, stocked

from catalogs.footage import Status, Take
from catalogs.night import AttemptStatus, Stage
from catalogs.nights import Nights
from catalogs.store import Catalogue

SHOT = "AGM/A"

INTERRUPTED: dict[str, Callable[[Nights, int], object]] = {
    "died": lambda nights, _: nights.give_up("first", why="killed"),
    "stopped": lambda nights, fence: nights.end_attempt(
        SHOT, fence, status=AttemptStatus.RELEASED, evidence={"gone": "asked to leave"}
    ),
}


def _finishing_again(catalogue: Catalogue, how: str) -> Take:
    """The take of a shot whose finishing was interrupted, and was begun again."""
    stocked(catalogue, "A")
    batch, nights = opened(catalogue).name, catalogue.nights
    [attempt] = nights.grant(batch, "reel 01", [SHOT])
    nights.begin(SHOT, attempt.fence, flow_run="reel")
    take = begun(catalogue, SHOT, attempt.fence)
    nights.hand_over(SHOT, attempt.fence)
    nights.begin(SHOT, attempt.fence, flow_run="first")
    INTERRUPTED[how](nights, attempt.fence)
    assert catalogue.find(SHOT).status is Status.READY
    [again] = nights.grant(batch, "", [SHOT], stage=Stage.FINISH)
    nights.begin(SHOT, again.fence, flow_run="second")
    return replace(take, fence=again.fence)


@pytest.mark.parametrize("how", INTERRUPTED)
def test_a_shot_that_is_finished_by_another_process_goes_to_review(catalogue: Catalogue, how: str) -> None:
    """It is rendering while the second process finishes it, and in review when that has published it."""
    take = _finishing_again(catalogue, how)
    assert catalogue.find(SHOT).status is Status.RENDERING
    finish(catalogue, take)
    assert catalogue.find(SHOT).status is Status.REVIEW


@pytest.mark.parametrize("how", INTERRUPTED)
def test_a_shot_whose_second_finishing_fails_has_failed(catalogue: Catalogue, how: str) -> None:
    """An error of the second process reaches the shot, not only its take."""
    take = _finishing_again(catalogue, how)
    catalogue.fail_take(take, error="the disk is full", seconds={})
    record = catalogue.find(SHOT)
    assert (record.status, record.error) == (Status.FAILED, "the disk is full")
