"""What tests of nights in a catalogue share: shots to work on, a batch, a run, takes without parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from catalogs.footage import Take
from catalogs.night import Batch, Stage
from catalogs.shot import Shot
from catalogs.store import Catalogue


def stocked(catalogue: Catalogue, codes: Sequence[str]) -> list[str]:
    """Shots of these codes; their names."""
    catalogue.submit([Shot("AGM", code, 48) for code in codes], source="t", mode="upsert")
    return [f"AGM/{code}" for code in codes]


def opened(catalogue: Catalogue, flow_run: str = "night-1") -> Batch:
    """A new batch without wishes."""
    return catalogue.nights.open_batch(until=None, wishes={}, plan={}, flow_run=flow_run)


def arrived(catalogue: Catalogue, flow_run: str, batch: str, name: str = "reel 01") -> None:
    """A run that renders a reel."""
    catalogue.nights.arrive(flow_run, batch=batch, stage=Stage.GENERATE, name=name, worker="w", device="cpu")


def begun(catalogue: Catalogue, name: str, fence: int | None = None) -> Take:
    """A take of the one plan that there is."""
    return catalogue.begin_take(name, key="k", plan=lambda version: {}, fence=fence)


def finish(catalogue: Catalogue, take: Take) -> None:
    """Finishes a take without parts."""
    catalogue.finish_take(take, manifest=Path("/m.json"), clips=(), deliverables=(), findings=(), seconds={})


def together(*works: Callable[[], object]) -> list[BaseException]:
    """Runs all of them at once; what they raised."""
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
