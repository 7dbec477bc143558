"""Short transactions on the catalogue's database: a reading one, a writing one, and one that is done again.

Knows: which failures pass if the same work is done once more. Does not know: shots, batches, who calls.
Locks are taken in one order everywhere, which is batch, run, shots by id, the rest; where two transactions meet
in another order all the same, PostgreSQL ends one of them and `write` does it again.
Memory: the engine's pool.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from catalogs.database import WRITES, spoken
from catalogs.errors import CatalogueUnavailableError

TRIES: Final = 6
"""How often the same work is done before its failure counts."""

_AGAIN: Final = frozenset(["40001", "40P01"])
"""PostgreSQL's serialization failure and deadlock: it says itself that the transaction should be repeated."""

Result = TypeVar("Result")


class Sessions:
    """Makes sessions on one engine. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees the catalogue and changes nothing. Raises CatalogueUnavailableError."""
        with spoken(self._engine), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One write transaction around the caller's block: all of it or nothing. Raises CatalogueUnavailableError."""
        with spoken(self._engine), Session(self._writer) as session, session.begin():
            yield session

    def write(self, work: Callable[[Session], Result]) -> Result:
        """What `work` answers, in one write transaction, done again where two of them met.

        Raises what `work` raises, and CatalogueUnavailableError. A connection that is lost is not tried again here:
        whether the work was kept is then unknown, and only the caller knows whether to repeat it.
        """
        for left in reversed(range(TRIES)):
            try:
                with self.writing() as session:
                    return work(session)
            except CatalogueUnavailableError as error:
                if not left or not _met(error.__cause__):
                    raise
                # by chance, so that the two do not meet again
                time.sleep(random.uniform(0, 0.05))
        raise AssertionError("unreachable")


def _met(cause: BaseException | None) -> bool:
    """Whether another transaction was in the way: a deadlock, or a row that it was first to insert."""
    if isinstance(cause, IntegrityError):
        return True
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in _AGAIN
