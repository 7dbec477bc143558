"""What every process of a night does besides its work: it says that it lives, hears orders, and is ended if it hangs.

Knows: the pulse, the watchdog, signals, the catalogue's list of runs. Does not know: what the work is.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from prefect.runtime import flow_run

from catalogs.night import Orders, Stage
from catalogs.store import Catalogue
from flows.leash import loose
from flows.patience import patiently, rest_with
from flows.settings import Settings
from tasks.diffusion import device_name
from tasks.pulse import Pulse, die_with_parent
from tasks.stopping import STOPPING
from tasks.watchdog import Watchdog

LOG: Final = logging.getLogger("dailies")

LAST_WORDS: Final = "hung"
"""Folder in the home with the stacks of processes that hung."""


def last_words(home: Path, run: str) -> Path:
    """Where a run leaves its stack if it hangs."""
    return home / "batches" / LAST_WORDS / f"{run}.txt"


@contextmanager
def on_duty(
    catalogue: Catalogue,
    settings: Settings,
    batch: str,
    stage: Stage,
    *,
    name: str,
    on_stop: Callable[[], None],
    on_lost: Callable[[str], None],
) -> Iterator[Pulse]:
    """Stand in the catalogue's list of runs while the block runs. SIGTERM in the main thread is a Ctrl-C inside it.

    `on_stop` is called, in a thread, when the batch is to end; `on_lost` with each shot that is no longer this run's.
    The process leaves when its worker is gone, from within this block: two processes on one GPU would both run out of
    memory.
    """
    die_with_parent(signal.SIGTERM)
    me = str(flow_run.id)
    device = device_name() if stage is Stage.GENERATE else "cpu"
    worker = f"{settings.worker or stage.value} on {socket.gethostname()}, pid {os.getpid()}"
    nights = catalogue.nights
    patiently(lambda: nights.arrive(me, batch=batch, stage=stage, name=name, worker=worker, device=device))
    hung = last_words(settings.home, me)
    hung.parent.mkdir(parents=True, exist_ok=True)

    def beat(said: str) -> Orders:
        return nights.beat(me, said=said)

    with (
        STOPPING.on_sigterm(),
        Watchdog(hung, first=settings.patience) as watchdog,
        Pulse(beat, on_stop=on_stop, on_lost=on_lost, look=lambda: nights.orders(me)) as pulse,
    ):
        rest_with(watchdog.resting)
        try:
            yield pulse
        finally:
            rest_with(nullcontext)
            patiently(lambda: nights.leave(me))
            if loose():
                # what it had is given back. Nobody hears how it ended: Prefect's client would wait for minutes for a
                # server that is likely gone too, on a GPU that the next run wants
                os._exit(1)
