"""One look at the house for everybody who watches: server-sent events without a look for each of them.

Knows: who is watching, what was told last. Does not know: what is looked at. Memory: one page's text, and a few hundred
bytes for each watcher.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from anyio import to_thread

LOG: Final = logging.getLogger("dailies")

EVERY: Final = 2.0
"""Seconds between two looks, while anybody watches."""
SILENCE: Final = 15.0
"""Seconds after which a stream without news says that it is there: proxies close what is silent."""
LASTS: Final = 600.0
"""Seconds after which a stream ends; browsers open the next by themselves, and whoever has signed out gets none."""


class Live:
    """What `look` says, whenever it says something else. For one event loop."""

    def __init__(self, look: Callable[[], str], *, every: float = EVERY) -> None:
        """`look` may take its time: it is called in a thread, and never twice at once."""
        self._look = look
        self._every = every
        self._said = ""
        self._count = 0
        self._watchers = 0
        self._news = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    async def follow(self, *, lasts: float = LASTS, silence: float = SILENCE) -> AsyncIterator[bytes]:
        """Events for one watcher: what stands now, then every change."""
        self._watchers += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._keep_looking())
            seen, ends = -1, asyncio.get_running_loop().time() + lasts
            if self._count == 0:
                seen = 0
            while asyncio.get_running_loop().time() < ends:
                if seen != self._count:
                    seen = self._count
                    yield event(self._said)
                    continue
                try:
                    async with asyncio.timeout(silence), self._news:
                        await self._news.wait_for(lambda seen=seen: self._count != seen)  # type: ignore[misc]
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._watchers -= 1

    async def _keep_looking(self) -> None:
        """Look until nobody watches any more."""
        while self._watchers:
            try:
                said = await to_thread.run_sync(self._look)
            except Exception as error:  # the database is away for a moment: whoever watches goes on watching
                LOG.error("what goes on tonight could not be looked at: %s", error)
            else:
                if said != self._said or not self._count:
                    async with self._news:
                        self._said, self._count = said, self._count + 1
                        self._news.notify_all()
            await asyncio.sleep(self._every)


def event(text: str) -> bytes:
    """A server-sent event; each line of its text is one `data:` line (HTML standard, 9.2.6)."""
    return "".join(f"data: {line}\n" for line in text.splitlines() or [""]).encode() + b"\n"
