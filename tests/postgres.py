"""A PostgreSQL of the tests' own: started in a folder of its own, spoken to over a socket in it, gone afterwards.

Needs the server's binaries (Debian: `apt install postgresql`), on PATH or below /usr/lib/postgresql. PostgreSQL does
not run as root; there it runs as the user postgres, or nobody. Nothing is synced to disk: a power cut may eat it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 60
"""How long a server may take to start or stop on a busy machine."""


class NoPostgresError(Exception):
    """The server's binaries are not installed, or nobody is there to run them."""


def binaries() -> Path:
    """The folder with initdb and postgres, newest version first. Raises NoPostgresError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: -float(path.parts[-3]))
    for candidate in (*found, Path(shutil.which("initdb") or "/nowhere")):
        if candidate.exists() and (candidate.parent / "postgres").exists():
            return candidate.parent
    raise NoPostgresError("PostgreSQL's initdb is not installed (Debian: apt install postgresql)")


def _user() -> dict[str, Any]:
    """As whom the server runs: arguments of subprocess, none if we are not root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise NoPostgresError("PostgreSQL does not run as root, and there is no user postgres or nobody")


@dataclass
class Cluster:
    """A running server."""

    folder: Path
    """Holds its data, its log and its socket."""
    bin: Path
    user: dict[str, Any] = field(repr=False)
    server: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", *, driver: str = "psycopg") -> str:
        """An SQLAlchemy url of a database, as a superuser."""
        return f"postgresql+{driver}://dailies@/{database}?host={self.folder}"

    def psql(self, statement: str, *, database: str = "postgres") -> str:
        """Answer to one statement, unadorned."""
        words = [self.bin / "psql", "-X", "-qtA", "-h", self.folder, "-U", "dailies", "-d", database, "-c", statement]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    def create(self, database: str) -> str:
        """A new empty database; its url."""
        self.psql(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        words: list[str | Path] = [self.bin / "postgres", "-D", self.folder / "data", "-k", self.folder]
        if shutil.which("setpriv"):  # even if this process is killed, its server does not stay behind
            words = ["setpriv", "--pdeathsig", "INT", *words]
        with (self.folder / "log").open("ab") as log:
            self.server = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, **self.user
            )
        last = time.monotonic() + SECONDS
        ready = [self.bin / "pg_isready", "-q", "-h", self.folder]
        while subprocess.run(ready).returncode != 0:
            if self.server.poll() is not None or time.monotonic() > last:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Stops the server: every connection is cut, what was not committed is gone. `kill` gives it no time at all."""
        if self.server is None:
            return
        # "immediate": as in a crash, but for its children, which it takes along; and "fast"
        self.server.send_signal(signal.SIGQUIT if kill else signal.SIGINT)
        self.server.wait(SECONDS)
        self.server = None

    def restart(self, *, kill: bool = False) -> None:
        """Stops the server and starts it again on the same socket."""
        self.stop(kill=kill)
        self.start()


@contextmanager
def cluster(folder: Path | None = None) -> Iterator[Cluster]:
    """A new cluster, running, in a new folder below `folder` (default: the system's for temporary files).

    Its user must be able to enter `folder`. Raises NoPostgresError where PostgreSQL is not installed.
    """
    found, user = binaries(), _user()
    place = Path(tempfile.mkdtemp(prefix="dailies-postgres-", dir=folder))
    made = Cluster(place, found, user)
    try:
        if user:
            os.chown(place, user["user"], user["group"])
        words = [found / "initdb", "-D", place / "data", "-U", "dailies", "-A", "trust", "-E", "UTF8"]
        words += ["--no-locale", "--no-sync"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=place, **user)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
        with (place / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(_SETTINGS)
        made.start()
        yield made
    finally:
        made.stop(kill=True)
        shutil.rmtree(place, ignore_errors=True)


_SETTINGS = """
# only who may enter the folder can connect
listen_addresses = ''
# what was committed survives a killed server, not a power cut
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 100
autovacuum = off
deadlock_timeout = 100ms
max_wal_size = 256MB
"""
