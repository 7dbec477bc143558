"""A catalogue that is away for a moment is waited for; one that stays away is an error in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from catalogs.errors import CatalogueUnavailableError
from flows.patience import patient, patiently


class Away:
    """A database that answers from the given call on."""

    def __init__(self, back_at: int) -> None:
        self.calls, self._back_at = 0, back_at

    def ask(self) -> str:
        self.calls += 1
        if self.calls < self._back_at:
            raise CatalogueUnavailableError("it restarts")
        return "here"

    @contextmanager
    def enter(self) -> Iterator[None]:
        self.ask()
        yield


def test_a_call_is_repeated_until_it_is_answered() -> None:
    """Three failures cost waiting, no error."""
    away = Away(back_at=4)
    assert patiently(away.ask) == "here"
    assert away.calls == 4


def test_a_context_is_entered_again_and_its_block_runs_once() -> None:
    """What stands under a guard is not done twice."""
    away, runs = Away(back_at=3), 0
    with patient(away.enter):
        runs += 1
    assert (away.calls, runs) == (3, 1)


def test_patience_ends() -> None:
    """A database that stays away is an error after the time that was given."""
    with pytest.raises(CatalogueUnavailableError, match="it restarts"):
        patiently(Away(back_at=10**9).ask, seconds=1.0)


def test_other_errors_are_not_waited_for() -> None:
    """A defect is not repeated for minutes."""

    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        patiently(broken)
