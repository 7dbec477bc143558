"""A bar on a terminal for a step that works on one file, nothing elsewhere.

Knows: Rich, announcements. Does not know: what is announced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.progress import Progress


@contextmanager
def file_bar(name: str) -> Iterator[None]:
    """One bar for each step that is announced inside the block."""
    from desk import show
    from tasks.progress import listening

    if not show.ERR.is_terminal or logging.getLogger("dailies").level > logging.INFO:
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
