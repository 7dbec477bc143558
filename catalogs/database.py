"""The connection below the catalogue: engine, each database's settings, schema version, upgrade.

Knows: urls, drivers, settings, and when alembic must run. Does not know: shots or takes.
Alembic is imported only when a database is empty or old: an up-to-date one opens with one SELECT.
Memory: a handful of pooled connections.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from catalogs.errors import CatalogueUnavailableError
from catalogs.tables import SCHEMA, VERSION_TABLE, Base

BUSY_SECONDS: Final = 30
"""How long a writer waits for another one; ours hold the lock for milliseconds."""

WRITES: Final = "dailies_writes"
"""Execution option of connections that will write."""

_LIBPQ: Final = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2")
"""Drivers that read libpq's settings."""

_LINE: Final = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A server that is switched off says nothing; it is taken for dead after a minute instead of two hours."""

_SETTINGS: Final = (
    # The same in the other direction: rows that a machine held when it was switched off are free after a minute.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    # Nobody waits longer for a row than for SQLite's write lock.
    f"SET lock_timeout = {BUSY_SECONDS * 1000}",
)

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x4441494C
"""Advisory lock ("DAIL") under which PostgreSQL lets one process at a time upgrade."""


Trigram = Literal["", "missing", "available", "created"]


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database as it was found."""

    kind: str
    """`sqlite` or `postgresql`."""
    server: str
    """Version of the server, or of the SQLite library: `15.18`."""
    schema: str | None
    """Revision of the tables; None where there are none yet."""
    shots: int
    """How many there are."""
    wanted: str = SCHEMA
    """Revision that this code reads and writes; an older one is upgraded when the catalogue is opened."""
    trigram: Trigram = ""
    """PostgreSQL's extension pg_trgm: not on the server, not in this database, or in it; empty for SQLite."""


def connect(url: str) -> Engine:
    """An engine on a database at this code's schema, which is created or upgraded if need be.

    For SQLite the file's folder is created. Raises CatalogueUnavailableError with the remedy.
    """
    engine = _engine(_parsed(url))
    try:
        with spoken(engine):
            _bring_to_head(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def examine(url: str) -> DatabaseFacts:
    """What there is at a url; nothing is upgraded, and no file is made.

    Raises CatalogueUnavailableError, with the remedy, where opening the catalogue would.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).exists():
        _prepare_file(parsed)
        return DatabaseFacts("sqlite", sqlite3.sqlite_version, schema=None, shots=0)
    engine = _engine(parsed)
    try:
        with spoken(engine), engine.begin() as connection:
            schema = _version(connection)
            if schema != SCHEMA:
                _refuse_foreign(connection, schema, known=_known(_alembic()))
            shots = connection.execute(text("SELECT count(*) FROM shots")).scalar() if schema else 0
            if connection.dialect.name != "postgresql":
                return DatabaseFacts(connection.dialect.name, sqlite3.sqlite_version, schema=schema, shots=shots or 0)
            server = str(connection.execute(text("SHOW server_version")).scalar())
            extension = "SELECT installed_version FROM pg_available_extensions WHERE name = 'pg_trgm'"
            found = connection.execute(text(extension)).first()
            trigram: Trigram = "missing" if found is None else "created" if found[0] else "available"
            return DatabaseFacts("postgresql", server.split()[0], schema=schema, shots=shots or 0, trigram=trigram)
    finally:
        engine.dispose()


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise CatalogueUnavailableError(
            "the database url cannot be read; write sqlite:////absolute/path/catalogue.sqlite "
            "or postgresql+psycopg://user:password@host/name in DAILIES_DATABASE_URL"
        ) from error


def _engine(parsed: URL) -> Engine:
    """An engine that knows how its connections are set up; nothing is connected yet."""
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        _prepare_file(parsed)
    try:
        engine = create_engine(parsed, json_serializer=_json, **_options(parsed))
    except (NoSuchModuleError, ImportError) as error:
        raise CatalogueUnavailableError(
            f"no driver for {parsed.drivername!r} databases is installed ({error}); "
            "install one (pip install 'psycopg[binary]' for postgresql+psycopg://), or correct the url"
        ) from error
    if sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif parsed.drivername in _LIBPQ:
        event.listen(engine, "connect", _set_up_postgres)
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
            "and that its disk is not full (DAILIES_DATABASE_URL, DAILIES_HOME)",
            transient=isinstance(error, OperationalError) or error.connection_invalidated,
        ) from error


def _options(url: URL) -> dict[str, Any]:
    """What create_engine needs beside the url."""
    if url.get_backend_name() == "sqlite":
        return {}
    # A server that was restarted is met with new connections.
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.drivername in _LIBPQ:
        # Readers that lock a row must see what its last writer left, whatever the server's default is.
        options["isolation_level"] = "READ COMMITTED"
        options["connect_args"] = {name: value for name, value in _LINE.items() if name not in url.query}
    return options


_ENCODED: Final = json.JSONEncoder().encode


def _json(value: Any) -> str:
    """JSON for a column. Most of a shot's lists are empty, and a hundred thousand shots have half a million of them."""
    return "[]" if value == [] else _ENCODED(value)


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


def _set_up_postgres(connection: Any, _record: object) -> None:
    before, connection.autocommit = connection.autocommit, True
    with connection.cursor() as cursor:
        for setting in _SETTINGS:
            cursor.execute(setting)
    connection.autocommit = before


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: a reader that turns writer halfway fails instead of waiting.
    immediate = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _version(connection: Connection) -> str | None:
    """The database's schema revision; None for one without our tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _alembic() -> Any:
    """Alembic's configuration for our migrations. Importing it takes longer than opening a catalogue."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _known(config: Any) -> set[str]:
    """Every revision that this code can read."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _refuse_foreign(connection: Connection, version: str | None, *, known: set[str]) -> None:
    """Raises CatalogueUnavailableError for a database that is newer than this code, or another program's."""
    place = _place(connection.engine.url)
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


def _bring_to_head(engine: Engine) -> None:
    with engine.begin() as connection:
        version = _version(connection)
    if version == SCHEMA:
        return

    from alembic import command

    config = _alembic()
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        version = _version(connection)  # again, now that nobody else can change it
        if version == SCHEMA:
            return
        _refuse_foreign(connection, version, known=_known(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
