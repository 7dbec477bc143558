"""How far a step on one file is: a bar on a terminal, elsewhere a line from time to time.

Knows: Rich, announcements. Does not know: what is announced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.progress import Progress


QUIET = 10.0
"""Seconds from one line to the next where there is no terminal."""


@contextmanager
def file_bar(name: str) -> Iterator[None]:
    """One bar for each step that is announced inside the block."""
    from desk import show
    from tasks.progress import listening

    if logging.getLogger("dailies").level > logging.INFO:
        yield
        return
    if not show.ERR.is_terminal:
        with listening(_lines(name)):
            yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars, shown = Bars(*columns, console=show.ERR), dict[str, Any]()

    def listen(update: Progress) -> None:
        if update.step not in shown:
            shown[update.step] = bars.add_task(f"{name} {update.step}", total=update.total)
        bars.update(shown[update.step], completed=update.done, total=update.total)

    with bars, listening(listen):
        yield


def _lines(name: str) -> Callable[[Progress], None]:
    from time import monotonic

    from desk import show

    said = monotonic()

    def listen(update: Progress) -> None:
        nonlocal said
        if monotonic() - said >= QUIET:
            said = monotonic()
            show.say(f"{name} {update.step}: {update.done} of {update.total} frames")

    return listen
