"""The connection below the catalogue: engine, SQLite's settings, schema version, upgrade.

Knows: urls, drivers, pragmas, and when alembic must run. Does not know: shots or takes.
Alembic is imported only when a database is empty or old: an up-to-date one opens with one SELECT.
Memory: a handful of pooled connections.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from catalogs.errors import CatalogueUnavailableError
from catalogs.tables import SCHEMA, VERSION_TABLE, Base

BUSY_SECONDS: Final = 30
"""How long a writer waits for another one; ours hold the lock for milliseconds."""

WRITES: Final = "dailies_writes"
"""Execution option of connections that will write."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x4441494C
"""Advisory lock ("DAIL") under which PostgreSQL lets one process at a time upgrade."""


def connect(url: str) -> Engine:
    """An engine on a database at this code's schema, which is created or upgraded if need be.

    For SQLite the file's folder is created. Raises CatalogueUnavailableError with the remedy.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise CatalogueUnavailableError(
            "the database url cannot be read; write sqlite:////absolute/path/catalogue.sqlite "
            "or postgresql+psycopg://user:password@host/name in DAILIES_DATABASE_URL"
        ) from error
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        _prepare_file(parsed)
    try:
        options: dict[str, Any] = {} if sqlite else {"pool_pre_ping": True}
        engine = create_engine(parsed, **options)
    except (NoSuchModuleError, ImportError) as error:
        raise CatalogueUnavailableError(
            f"no driver for {parsed.drivername!r} databases is installed ({error}); "
            "install one (pip install 'psycopg[binary]' for postgresql+psycopg://), or correct the url"
        ) from error
    if sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with spoken(engine):
            _bring_to_head(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def spoken(engine: Engine) -> Iterator[None]:
    """Turns a database's complaints into CatalogueUnavailableError, a sentence without the SQL."""
    try:
        yield
    except DBAPIError as error:
        place = _place(engine.url)
        reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error).__name__
        raise CatalogueUnavailableError(
            f"the catalogue {place} cannot be used: {reason}; check that it is reachable, whole and writable "
            "and that its disk is not full (DAILIES_DATABASE_URL, DAILIES_HOME)"
        ) from error


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)  # a query may hold a password too


def _prepare_file(url: URL) -> None:
    """Creates the folder of an SQLite file and refuses what could not be written later."""
    if not url.database or url.database == ":memory:" or url.query.get("mode") == "memory":
        raise CatalogueUnavailableError(
            "a catalogue in memory would be lost at once; name a file: sqlite:////absolute/path/catalogue.sqlite"
        )
    if url.database.startswith("file:"):
        raise CatalogueUnavailableError("SQLite file: urls are not supported; write sqlite:////absolute/path")
    path = Path(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogueUnavailableError(
            f"the catalogue's folder {path.parent} cannot be created ({error.strerror}); "
            "choose another home (DAILIES_HOME) or correct its permissions"
        ) from error
    # WAL writes two more files beside the database, so the folder counts as much as the file.
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CatalogueUnavailableError(
            f"the catalogue {path} cannot be written; choose another home (DAILIES_HOME) or correct its permissions"
        )
    if not os.access(path.parent, os.W_OK):
        raise CatalogueUnavailableError(
            f"the catalogue's folder {path.parent} cannot be written; "
            "choose another home (DAILIES_HOME) or correct its permissions"
        )


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The driver's own idea of transactions leaves DDL and SELECT outside of them; _begin_sqlite says BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA foreign_keys = ON")
    # Readers never wait for the writer. Switching needs the file alone and does not heed busy_timeout, so two
    # processes that create a catalogue together must take turns here.
    last = time.monotonic() + BUSY_SECONDS
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            if cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                break  # a file system without shared memory keeps the rollback journal: slower, still correct
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > last:
                raise
            time.sleep(0.02)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: a reader that turns writer halfway fails instead of waiting.
    immediate = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _version(connection: Connection) -> str | None:
    """The database's schema revision; None for one without our tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _bring_to_head(engine: Engine) -> None:
    with engine.begin() as connection:
        version = _version(connection)
    if version == SCHEMA:
        return

    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        version = _version(connection)  # again, now that nobody else can change it
        if version == SCHEMA:
            return
        place = _place(engine.url)
        if version is not None and version not in known:
            raise CatalogueUnavailableError(
                f"the catalogue {place} was written by a newer Dailies (schema {version}, this one knows "
                f"{SCHEMA}); update this installation, or name another database in DAILIES_DATABASE_URL"
            )
        if version is None:
            strangers = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
            if strangers:
                raise CatalogueUnavailableError(
                    f"the database {place} has tables of another program ({', '.join(sorted(strangers))}); "
                    "name a database of its own in DAILIES_DATABASE_URL"
                )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
