"""Claims about the page that shows a night while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from catalogue_nights import arrived, begun
from desk_pages import ALONE, client

from catalogs.store import Catalogue, open_catalogue
from desk.web.live import Live, event
from flows.settings import Settings


async def first(stream: AsyncIterator[bytes], count: int) -> list[bytes]:
    """So many events, then the watcher leaves."""
    found = []
    async for one in stream:
        found.append(one)
        if len(found) == count:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return found


def test_one_look_serves_all_who_watch() -> None:
    """Fifty watchers cost the looks of one, and each hears every change once; when the last has left nobody looks."""
    looks = []

    def look() -> str:
        looks.append(1)
        return f"news {min(len(looks), 3)}"

    async def run() -> list[list[bytes]]:
        live = Live(look, every=0.05)
        heard = await asyncio.gather(*(first(live.follow(), 3) for _ in range(50)))
        before = len(looks)
        await asyncio.sleep(0.3)
        assert len(looks) <= before + 1
        return heard

    heard = asyncio.run(run())
    assert heard == [[b"data: news 1\n\n", b"data: news 2\n\n", b"data: news 3\n\n"]] * 50
    assert len(looks) < 20


def test_a_stream_without_news_says_that_it_is_there_and_ends_in_time() -> None:
    """So that proxies keep it, and whoever has signed out does not."""

    async def run() -> list[bytes]:
        live = Live(lambda: "the same", every=0.02)
        return [one async for one in live.follow(lasts=3.0, silence=1.0)]

    heard = asyncio.run(run())
    assert heard[0] == b"data: the same\n\n"
    assert set(heard[1:]) == {b": still here\n\n"}


@pytest.mark.expects_log
def test_a_look_that_fails_ends_nothing() -> None:
    """The database is away for a moment: the next look is told."""
    answers = iter([RuntimeError("away"), "back"])

    def look() -> str:
        answer = next(answers, "back")
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert asyncio.run(first(Live(look, every=0.02).follow(), 1)) == [b"data: back\n\n"]


def test_events_are_whole_whatever_their_text() -> None:
    """Every line of it, and nothing in it ends it early."""
    assert event("a\n\nb: c") == b"data: a\ndata: \ndata: b: c\n\n"
    assert event("") == b"data: \n\n"


def test_the_page_shows_the_night_as_it_is(catalogue: Catalogue, settings: Settings) -> None:
    """Shots by status with a way to them, and that no batch is open."""
    page = client(catalogue, settings).get("/tonight").text
    assert '<strong>1</strong> <span class="status ready">ready</span>' in page
    assert 'href="/?status=review&amp;night=all"' in page
    assert "The next night begins" in page or "The night is open" in page
    assert 'data-events="/tonight/events"' in page


def test_a_batch_is_shown_with_its_workers_and_its_end(settings: Settings, tmp_path: Path) -> None:
    """Who is at what, what waits, when it should be over; late where that is after the window."""
    own = replace(settings, home=tmp_path, database_url=f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    with open_catalogue(settings.database_url) as there:
        shots = [there.find(name).shot for name in ("AGM/SH0010", "AGM/SH0020")]
    with open_catalogue(own.database_url) as catalogue:
        catalogue.submit(shots, source="t")
        until = datetime.now(UTC) + timedelta(minutes=5)
        plan = {"expected": {"AGM/SH0010": 600.0, "AGM/SH0020": 300.0}, "workers": 1}
        batch = catalogue.nights.open_batch(until=until, wishes={}, plan=plan, flow_run="night-1")
        [first_of, _] = catalogue.nights.grant(batch.name, "reel 01", ["AGM/SH0010", "AGM/SH0020"])
        arrived(catalogue, "run-1", batch.name)
        catalogue.nights.begin("AGM/SH0010", first_of.fence, flow_run="run-1")
        begun(catalogue, "AGM/SH0010", first_of.fence)
        page = client(catalogue, own, ALONE).get("/tonight").text
    assert f'Night of <a href="/?night={batch.name}">{batch.name}</a>, running' in page
    assert "0 of 2 done" in page
    assert '<a href="/shots/AGM/SH0010">AGM/SH0010</a></td><td>running</td>' in page
    assert "after the window" in page
