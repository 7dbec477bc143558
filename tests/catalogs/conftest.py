"""What the catalogue's tests share: databases to run on, shots to submit, lists to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import create_engine

from catalogs.loras import InstalledLora, LoraRules
from catalogs.request import ModelRules
from catalogs.shot import Shot
from catalogs.shotlist import ReadResult, SubmissionRules, read_shot_list
from catalogs.store import Catalogue, open_catalogue
from catalogs.tables import VERSION_TABLE, Base

POSTGRES = os.environ.get("DAILIES_TEST_POSTGRES", "")
"""An SQLAlchemy url of an empty PostgreSQL database; the store's contract is then checked on it too."""


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRES else ["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind that the catalogue runs on."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/home/catalogue.sqlite"
        return
    engine = create_engine(POSTGRES)
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {VERSION_TABLE}")
    engine.dispose()
    yield POSTGRES


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
