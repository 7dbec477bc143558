"""A house after its night, and its catalogue, for the tests of the desk's pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_pages import HOSTILE, client
from rendering import House, clean_environment
from starlette.testclient import TestClient

from catalogs import people
from catalogs.store import Catalogue, open_catalogue
from flows.settings import Settings


@pytest.fixture(scope="session")
def evening(tmp_path_factory: pytest.TempPathFactory, plate_path: Path, prefect_url: str) -> House:
    """A house after its night: one shot with two versions, one with a file no browser plays, one still ready."""
    folder = tmp_path_factory.mktemp("evening")
    made = House(
        folder,
        plate_path,
        clean_environment(
            DAILIES_HOME=str(folder / "home"), PREFECT_HOME=str(folder / "prefect"), PREFECT_API_URL=prefect_url
        ),
    )
    words = {"prompt": HOSTILE, "notes": HOSTILE, "submitted_by": HOSTILE, "Client <b>Code</b>": HOSTILE}
    first = {"shot": "SH0010", "deliveries": "webm h265", **words}
    made.submit(first, {"shot": "SH0020", "deliveries": "prores"}, {"shot": "SH0030", "sequence": "SQ020"})
    made.json("render", "SH0010", "SH0020")
    made.submit({**first, "camera": "pull out"}, mode="update")
    made.json("render", "SH0010")
    return made


@pytest.fixture
def settings(evening: House) -> Settings:
    """As the house reads them."""
    return Settings.read(evening.environment)


@pytest.fixture
def catalogue(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    """Of the house; whoever a test adds is removed again, and hashing a password costs nothing."""
    monkeypatch.setattr(people, "COST", (2, 8, 1))
    with open_catalogue(settings.database_url) as opened:
        yield opened
        for person in opened.people.everybody():
            opened.people.remove(person.name)


@pytest.fixture
def alone(catalogue: Catalogue, settings: Settings) -> TestClient:
    """Somebody at the machine itself."""
    return client(catalogue, settings)
