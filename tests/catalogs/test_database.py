"""Claims about opening a database: settings, schema, refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

import catalogs.database
from catalogs.database import connect, examine
from catalogs.errors import CatalogueUnavailableError
from catalogs.shot import Anchor, LoraUse, Plate, Shot
from catalogs.store import open_catalogue
from catalogs.tables import SCHEMA, VERSION_TABLE, Base


def checks(engine: object) -> set[tuple[str, str | None, str]]:
    """Table, name and text of every CHECK constraint: what compare_metadata does not look at."""
    inspector = inspect(engine)
    return {
        (table, check["name"], check["sqltext"])  # type: ignore[attr-defined]
        for table in Base.metadata.tables
        for check in inspector.get_check_constraints(table)  # type: ignore[attr-defined]
    }


def test_migrations_lead_to_the_tables(bare: str, tmp_path: Path) -> None:
    """The migrated schema is the one in tables.py: no column, key, index or check differs."""
    engine = connect(bare)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    if engine.dialect.name == "sqlite":
        fresh = create_engine(f"sqlite:///{tmp_path}/fresh.sqlite")
        Base.metadata.create_all(fresh)
        assert checks(engine) == checks(fresh)
        fresh.dispose()
    engine.dispose()


def test_the_code_knows_the_head_of_its_migrations() -> None:
    """SCHEMA names the newest migration, and there is one line of them."""
    config = Config()
    config.set_main_option("script_location", str(Path(catalogs.database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]


def test_a_catalogue_of_the_first_schema_keeps_its_shots(bare: str) -> None:
    """Opening a catalogue that an older version wrote upgrades it: its shots stay, without LoRAs, and take some."""
    config = Config()
    config.set_main_option("script_location", str(Path(catalogs.database.__file__).parent / "migrations"))
    if bare.startswith("sqlite"):
        Path(bare.removeprefix("sqlite:///")).parent.mkdir(parents=True)
    engine = create_engine(bare)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO submissions VALUES (1, 'old.csv', 'Zoë', 'create', '2026-01-02 03:04:05', 1, 0, 0)")
        )
        old = {
            "id": 1,
            "submission_id": 1,
            "show": "AGM",
            "show_folded": "agm",
            "code": "SH0010",
            "code_folded": "sh0010",
            "sequence": "SQ010",
            "status": "review",
            "error": "",
            "revision": 3,
            "prompt": "rain",
            "negative_prompt": "",
            "frames": 48,
            "handles": 8,
            "rate": "24000/1001",
            "model": "wan",
            "camera": "",
            "deliveries": '["h265:main10"]',
            "speed": "1",
            "priority": 50,
            "notes": "n",
            "submitted_by": "",
            "extra": '[["loras", "mist:0.8"]]',
            "created_at": "2026-01-02 03:04:05",
            "updated_at": "2026-01-02 03:04:05",
        }
        marks = ", ".join(f":{name}" for name in old)
        connection.execute(text(f"INSERT INTO shots ({', '.join(old)}) VALUES ({marks})"), old)
    engine.dispose()
    with open_catalogue(bare) as catalogue:
        [record] = catalogue.shots()
        assert record.status.value == "review"
        assert (record.shot.name, record.shot.frames, record.shot.handles) == ("AGM/SH0010", 48, 8)
        assert record.shot.metadata == (("loras", "mist:0.8"),)
        assert record.shot.loras == ()
        assert (record.shot.context, record.shot.overlap) == ("", None)
        assert (record.shot.anchors, record.shot.max_rerolls) == ((), None)
        assert record.shot.retimer == ""
        asked = replace(record.shot, loras=(LoraUse("mist", 0.8),))
        assert catalogue.submit([asked], source="t", mode="update").changed == ("AGM/SH0010",)
        assert catalogue.find("SH0010").shot == asked
        # no attempt was counted then; the first one now is
        assert catalogue.begin_take("SH0010", key="k", plan=lambda version: {}).fence == 1


def test_the_newest_migrations_can_be_taken_back(bare: str) -> None:
    """Down and up again keeps a shot, without what the older schema has no place for."""
    plate = Plate("/p/a.png", "a" * 64, 64, 36)
    long = Shot("AGM", "A", 48, context="frame", overlap=5, anchors=(Anchor(Fraction(1), plate),), max_rerolls=3)
    long = replace(long, retimer="any")
    with open_catalogue(bare) as catalogue:
        catalogue.submit([long], source="t")
    config = Config()
    config.set_main_option("script_location", str(Path(catalogs.database.__file__).parent / "migrations"))
    engine = create_engine(bare)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "0003")
        assert not {"context", "overlap", "anchors", "max_rerolls", "retimer"} & {
            column["name"] for column in inspect(connection).get_columns("shots")
        }
    engine.dispose()
    with open_catalogue(bare) as catalogue:
        assert [record.shot for record in catalogue.shots()] == [Shot("AGM", "A", 48)]


def test_looking_changes_nothing(bare: str) -> None:
    """What is found at a url, before and after the catalogue was made there; looking makes neither file nor table."""
    for _ in range(2):
        found = examine(bare)
        assert (found.kind, found.schema, found.shots) == (bare.partition(":")[0].partition("+")[0], None, 0)
        assert found.server[0].isdigit()
        assert found.wanted == SCHEMA
    if bare.startswith("sqlite"):
        assert not Path(bare.removeprefix("sqlite:///")).exists()
    with open_catalogue(bare) as catalogue:
        catalogue.submit([Shot("AGM", "A", 48), Shot("AGM", "B", 48)], source="t")
    assert (examine(bare).schema, examine(bare).shots) == (SCHEMA, 2)
    engine = create_engine(bare)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0002'"))
    assert (examine(bare).schema, examine(bare).shots) == ("0002", 2)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(CatalogueUnavailableError, match="newer Dailies"):
        examine(bare)


@pytest.mark.parametrize("bare", ["postgresql"], indirect=True)
def test_pg_trgm_is_seen(bare: str) -> None:
    """The extension that Prefect needs is on the server or not, and created in the database or not."""
    engine = create_engine(bare)
    if examine(bare).trigram == "missing":
        pytest.skip("this server comes without contrib extensions")
    assert examine(bare).trigram == "available"
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION pg_trgm"))
    assert examine(bare).trigram == "created"
    with engine.begin() as connection:
        connection.execute(text("DROP EXTENSION pg_trgm"))
    engine.dispose()


def test_looking_refuses_what_opening_would(tmp_path: Path) -> None:
    """A place that cannot be used is the same sentence, whether it is opened or looked at."""
    (tmp_path / "text").write_text("this is no database, it is a text of a certain length\n" * 50)
    for url in (
        "catalogue.sqlite",
        f"sqlite:///{tmp_path}",
        f"sqlite:///{tmp_path}/text",
        f"sqlite:///{tmp_path}/text/c",
    ):
        with pytest.raises(CatalogueUnavailableError) as looked:
            examine(url)
        with pytest.raises(CatalogueUnavailableError) as opened:
            open_catalogue(url)
        assert str(looked.value) == str(opened.value)


def test_a_newer_database_is_refused(url: str) -> None:
    """A database that a newer version wrote is left alone, and the message says what to do."""
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(CatalogueUnavailableError, match=r"newer Dailies \(schema 9999.*update this installation"):
        open_catalogue(url)


def test_another_programs_tables_are_left_alone(bare: str) -> None:
    """A database that holds a table of one of our names, but not by us, is refused and unchanged."""
    Path(bare.removeprefix("sqlite:///")).parent.mkdir(parents=True) if bare.startswith("sqlite") else None
    engine = create_engine(bare)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE shots (id INTEGER)"))
    with pytest.raises(CatalogueUnavailableError, match=r"another program \(shots\)"):
        open_catalogue(bare)
    with engine.begin() as connection:
        assert not inspect(connection).has_table("takes")
        connection.execute(text("DROP TABLE shots"))
    engine.dispose()


def test_sqlite_is_set_up_for_several_processes(tmp_path: Path) -> None:
    """WAL, foreign keys and a busy timeout are on in every connection."""
    engine = connect(f"sqlite:///{tmp_path}/c.sqlite")
    with engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert pragma == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_catalogue_can_be_created_by_several_at_once(bare: str) -> None:
    """Openers that meet at an empty database all succeed: one upgrades, the others wait."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            open_catalogue(bare).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_failed_upgrade_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a migration breaks off halfway, no table of it remains."""

    def broken(config: Config, revision: str) -> None:
        config.attributes["connection"].execute(text("CREATE TABLE shots (id INTEGER)"))
        raise RuntimeError("power cut")

    monkeypatch.setattr(alembic.command, "upgrade", broken)
    with pytest.raises(RuntimeError, match="power cut"):
        connect(f"sqlite:///{tmp_path}/c.sqlite")
    monkeypatch.undo()
    open_catalogue(f"sqlite:///{tmp_path}/c.sqlite").close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "cannot be read"),
        ("catalogue.sqlite", "cannot be read"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("oracle_9i://host/db", "no driver"),
        ("sqlite:////{folder}", "cannot be written"),
        ("sqlite:////{folder}/text", "not a database"),
        ("sqlite:////{folder}/text/c.sqlite", "cannot be created"),
    ],
)
def test_a_catalogue_that_cannot_be_used_says_why(url: str, sentence: str, tmp_path: Path) -> None:
    """A wrong url or an unusable place is one sentence with a remedy, not a traceback of the driver's."""
    (tmp_path / "text").write_text("this is no database, it is a text of a certain length\n" * 50)
    with pytest.raises(CatalogueUnavailableError, match=sentence) as caught:
        open_catalogue(url.format(folder=str(tmp_path).lstrip("/")))
    assert ";" in str(caught.value)


def test_a_password_never_stands_in_a_message() -> None:
    """Whatever goes wrong, the url's password is not shown."""
    with pytest.raises(CatalogueUnavailableError) as caught:
        open_catalogue("postgresql+psycopg://me:s3cret@127.0.0.1:1/x")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("module", "needed"), [("catalogs.store", ""), ("catalogs.shotlist", "pydantic")])
def test_importing_the_catalogue_is_cheap(tmp_path: Path, module: str, needed: str) -> None:
    """Neither importing nor opening an up-to-date catalogue loads pandas, Pillow, alembic, pydantic or Prefect; rows of
    a list need pydantic and nothing else of them."""
    url = f"sqlite:///{tmp_path}/c.sqlite"
    open_catalogue(url).close()
    script = (
        f"import sys, {module}\nfrom catalogs.store import open_catalogue\n"
        f"open_catalogue({url!r}).close()\n"
        "print(*sorted({'pandas', 'numpy', 'PIL', 'alembic', 'pydantic', 'prefect', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == needed
