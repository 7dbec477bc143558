"""Prefect's own command, with a server that bears several clients on SQLite: `python -m flows.server server start`.

Knows: how Prefect opens its SQLite database. Does not know: settings, ports, houses. On PostgreSQL it changes nothing.

Prefect 3.8 begins nearly all transactions of its server as DEFERRED. One that reads and then writes must turn its read
lock into a write lock, and SQLite refuses that at once, busy timeout or not, if somebody else has written meanwhile
(https://www.sqlite.org/lang_transaction.html): the server answers 503, clients back off for minutes, services lose
their turn. Ten clients at a time get such an answer to every third request (benchmarks/server.py). Begun as IMMEDIATE,
transactions that write wait for each other instead, for as long as the busy timeout says.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration

_begin = AioSqliteConfiguration.begin_transaction


@asynccontextmanager
async def _begin_immediate(
    self: AioSqliteConfiguration, session: Any, with_for_update: bool = False
) -> AsyncGenerator[Any, None]:
    """As Prefect's method, with `with_for_update` always true: that is what makes it say BEGIN IMMEDIATE."""
    del with_for_update
    async with _begin(self, session, with_for_update=True) as transaction:
        yield transaction


def main() -> None:
    """Run Prefect's command line in this process, with the arguments of this process."""
    AioSqliteConfiguration.begin_transaction = _begin_immediate  # type: ignore[method-assign]
    app()


if __name__ == "__main__":
    main()
