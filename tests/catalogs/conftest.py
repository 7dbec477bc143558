"""What the catalogue's tests share: databases to run on, shots to submit, lists to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from postgres import Cluster, NoPostgresError, cluster
from sqlalchemy import Engine, create_engine, inspect, make_url

from catalogs.loras import InstalledLora, LoraRules
from catalogs.request import ModelRules
from catalogs.shot import Shot
from catalogs.shotlist import ReadResult, SubmissionRules, read_shot_list
from catalogs.store import Catalogue, open_catalogue
from catalogs.tables import SCHEMA, VERSION_TABLE, Base

POSTGRES = os.environ.get("DAILIES_TEST_POSTGRES", "")
"""An SQLAlchemy url of a PostgreSQL database to test on, in schemas of our own; without it one is started."""

REQUIRED = os.environ.get("DAILIES_REQUIRE_POSTGRES") == "1"
"""Whether a machine without PostgreSQL fails the tests instead of skipping them."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server of this test process."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(cluster())
        except NoPostgresError as error:
            if REQUIRED:
                raise
            pytest.skip(str(error))
        yield running


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A database that no other test process uses."""
    if not POSTGRES:
        running: Cluster = request.getfixturevalue("postgres")
        return running.create("catalogue")
    schema = f"dailies_{os.environ.get('PYTEST_XDIST_WORKER', 'test')}"
    engine = create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    engine.dispose()
    url = make_url(POSTGRES).update_query_dict({"options": f"-c search_path={schema}"})
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def sweeper(postgres_url: str) -> Iterator[Engine]:
    """What cleans the PostgreSQL database between tests."""
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    yield engine
    engine.dispose()


def bare_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """A database without a table."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/home/catalogue.sqlite"
    engine: Engine = request.getfixturevalue("sweeper")
    with engine.connect() as connection:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind that the catalogue runs on, without a table."""
    return bare_url(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without a row; the schema may be there, which saves its making on PostgreSQL."""
    if request.param == "sqlite":
        return bare_url("sqlite", request, tmp_path)
    engine: Engine = request.getfixturevalue("sweeper")
    with engine.connect() as connection:
        if inspect(connection).has_table(VERSION_TABLE):
            version = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
            if version == SCHEMA:
                tables = [table.name for table in reversed(Base.metadata.sorted_tables)]
                connection.exec_driver_sql("; ".join(f"DELETE FROM {table}" for table in tables))
                return str(request.getfixturevalue("postgres_url"))
    return bare_url("postgresql", request, tmp_path)


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    """An open, empty catalogue."""
    with open_catalogue(url) as opened:
        yield opened


@pytest.fixture
def shot() -> Callable[..., Shot]:
    """Makes a shot of show AGM from its code and whatever else matters."""

    def make(code: str = "SH0010", **fields: object) -> Shot:
        return Shot(**{"show": "AGM", "code": code, "frames": 48, **fields})  # type: ignore[arg-type]

    return make


@dataclass
class Desk:
    """A folder with plates, and a way to read a list in it."""

    folder: Path
    rules: SubmissionRules

    def plate(self, name: str, width: int = 64, height: int = 36, **options: object) -> Path:
        """Paints a plate."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), (90, 120, 40)).save(path, **options)
        return path

    def write(self, content: str | bytes, name: str = "AGM.csv") -> Path:
        """Writes a list."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, content: str | bytes, name: str = "AGM.csv", rules: SubmissionRules | None = None) -> ReadResult:
        """Writes a list and reads it."""
        return read_shot_list(self.write(content, name), rules or self.rules)

    def one(self, **cells: str) -> ReadResult:
        """Reads a list of one good row in which `cells` are changed."""
        row = {"shot": "SH0010", "plate": "a.png", "frames": "48"} | cells
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in row.values()]
        return self.read(",".join(row) + "\n" + ",".join(quoted) + "\n")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with the plate a.png, rules that know an undemanding and a demanding model, and installed LoRAs:
    `mist` and `film look` for any model, `rain` for `wan`."""
    folder = tmp_path / "lists"
    folder.mkdir()
    models = {
        "animatic": ModelRules(needs_prompt=False),
        "wan": ModelRules(smallest=(320, 320), largest=(1280, 720), longest=200),
        "t2v": ModelRules(needs_plate=False, takes_loras=True),
    }
    loras = tmp_path / "weights" / "loras"
    loras.mkdir(parents=True)
    for name in ("mist", "film look", "rain"):
        (loras / f"{name}.safetensors").write_bytes(b"pairs")
    installed = {
        name: InstalledLora(loras / f"{name}.safetensors", ("wan",) if name == "rain" else ())
        for name in ("mist", "film look", "rain")
    }
    known = LoraRules(installed=installed, folders=(tmp_path / "weights",))
    made = Desk(folder, SubmissionRules(models=models, loras=known))
    made.plate("a.png")
    return made
