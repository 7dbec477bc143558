"""Who may use the desk, who is signed in, and who did what. Values and short writes; no web, no cookies.

Knows: names, roles, scrypt, visits and the log of deeds. Does not know: requests, forms, what a deed was good for.
A password is kept as scrypt's digest, a visit as the sha256 of its token: whoever reads the database can sign in as
nobody. Memory: one row, or one page of the log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from catalogs.errors import CatalogueError
from catalogs.people_tables import DeedRow, PersonRow, VisitRow
from catalogs.roles import Deed, Person, Role
from catalogs.rows import fold
from catalogs.sessions import Sessions
from catalogs.shot import CODE

COST: Final = (2**15, 8, 3)
"""scrypt's n, r and p: 32 MB and a quarter of a second, one of the settings that OWASP's cheat sheet names as equal."""

SHORTEST, LONGEST = 10, 1000
"""Letters of a password: at least as many as guessing needs years for, at most what costs nothing to hash."""

IDLE: Final = timedelta(hours=12)
"""After so long without a request a visit is over: a review begins in the morning with a new one."""

LASTS: Final = timedelta(days=7)
"""After so long a visit is over in any case."""

_SEEN: Final = timedelta(minutes=1)  # a visit's last request is written down no oftener: pages make many
_LONGEST_NAME: Final = 64


class People:
    """The people of a catalogue. Every method raises CatalogueUnavailableError if the database fails under it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def add(self, name: str, *, role: Role, password: str) -> Person:
        """Somebody new. Raises CatalogueError for a name that is taken or is none, or a password that is too short."""
        if not CODE.match(name) or len(name) > _LONGEST_NAME:
            raise CatalogueError(
                f"{name!r} cannot be a name; use letters, digits, dots, dashes and underscores, {_LONGEST_NAME} at most"
            )
        kept = hashed(password)

        def work(session: Session) -> Person:
            if _person(session, name) is not None:
                raise CatalogueError(f"there is somebody called {name!r} already; choose another name")
            row = PersonRow(
                name=name, name_folded=fold(name), role=role.value, password=kept, created_at=datetime.now(UTC)
            )
            session.add(row)
            session.flush()
            return _value(row)

        return self._sessions.write(work)

    def change(self, name: str, *, role: Role | None = None, password: str | None = None) -> Person:
        """Another role or password; a new password ends every visit of that person. Raises CatalogueError."""
        kept = None if password is None else hashed(password)

        def work(session: Session) -> Person:
            row = _known(session, name)
            row.role = role.value if role else row.role
            if kept is not None:
                row.password = kept
                session.execute(delete(VisitRow).where(VisitRow.person_id == row.id))
            return _value(row)

        return self._sessions.write(work)

    def remove(self, name: str) -> None:
        """Nobody of that name can sign in any more, or is; what they did stays in the log. Raises CatalogueError."""

        def work(session: Session) -> None:
            session.delete(_known(session, name))

        self._sessions.write(work)

    def everybody(self) -> list[Person]:
        """By name."""
        with self._sessions.reading() as session:
            return [_value(row) for row in session.scalars(select(PersonRow).order_by(PersonRow.name_folded))]

    def called(self, name: str) -> Person | None:
        """The person of that name, in any case."""
        with self._sessions.reading() as session:
            row = _person(session, name)
            return None if row is None else _value(row)

    def sign_in(self, name: str, password: str) -> tuple[Person, str] | None:
        """The person and the token of a new visit; None for a wrong name or password, which take equally long."""
        with self._sessions.reading() as session:
            row = _person(session, name)
            kept = _NOBODY if row is None else row.password
        if not matches(password, kept) or row is None:
            return None
        token = secrets.token_urlsafe(32)
        now = datetime.now(UTC)

        def work(session: Session) -> Person | None:
            found = _person(session, name)
            if found is None or found.password != kept:  # changed or removed while it was compared
                return None
            session.execute(delete(VisitRow).where(VisitRow.ends_at < now))
            session.add(VisitRow(token=_digest(token), person_id=found.id, seen_at=now, ends_at=now + LASTS))
            return _value(found)

        person = self._sessions.write(work)
        return None if person is None else (person, token)

    def visiting(self, token: str) -> Person | None:
        """Whose visit it is; None if it is nobody's or over."""
        now = datetime.now(UTC)
        with self._sessions.reading() as session:
            row = session.scalars(select(VisitRow).where(VisitRow.token == _digest(token))).first()
            if row is None or row.ends_at < now or row.seen_at + IDLE < now:
                return None
            person, stale = _value(row.person), row.seen_at + _SEEN < now
        if stale:

            def work(session: Session) -> None:
                seen = session.scalars(select(VisitRow).where(VisitRow.token == _digest(token))).first()
                if seen is not None:
                    seen.seen_at = now

            self._sessions.write(work)
        return person

    def sign_out(self, token: str) -> None:
        """The visit is over. Again: no change."""

        def work(session: Session) -> None:
            session.execute(delete(VisitRow).where(VisitRow.token == _digest(token)))

        self._sessions.write(work)

    def note(
        self, did: str, *, who: str, address: str, about: str = "", words: Mapping[str, Any] | None = None
    ) -> None:
        """One more line in the log."""

        def work(session: Session) -> None:
            session.add(
                DeedRow(
                    at=datetime.now(UTC),
                    who=who[:_LONGEST_NAME],
                    address=address,
                    did=did,
                    about=about,
                    words=words or {},
                )
            )

        self._sessions.write(work)

    def deeds(self, *, limit: int = 200, before: int | None = None) -> list[Deed]:
        """The newest lines of the log, newest first; with `before`, those of a smaller number."""
        query = select(DeedRow).order_by(DeedRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(DeedRow.id < before)
        with self._sessions.reading() as session:
            return [
                Deed(row.id, row.at, row.who, row.address, row.did, row.about, dict(row.words))
                for row in session.scalars(query)
            ]

    def count(self) -> int:
        """How many people there are."""
        with self._sessions.reading() as session:
            return session.scalar(select(func.count()).select_from(PersonRow)) or 0


def hashed(password: str) -> str:
    """`scrypt$n$r$p$salt$digest`. Raises CatalogueError for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise CatalogueError(
            f"a password has {SHORTEST} to {LONGEST} letters, this one {len(password)}; choose another"
        )
    salt = secrets.token_bytes(16)
    return _kept(salt, _scrypt(password, salt, COST))


def matches(password: str, kept: str) -> bool:
    """Whether a password is the one that `hashed` has made `kept` of, with the cost that stands in it."""
    _, n, r, p, salt, digest = kept.split("$")
    found = _scrypt(password[: LONGEST + 1], base64.b64decode(salt), (int(n), int(r), int(p)))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    # OpenSSL's own limit is 32 MB, which this cost reaches
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + 2**20, dklen=32
    )


def _kept(salt: bytes, digest: bytes) -> str:
    return "$".join(["scrypt", *map(str, COST), *(base64.b64encode(part).decode() for part in (salt, digest))])


_NOBODY: Final = _kept(bytes(16), bytes(32))  # what the password of somebody who does not exist is compared with


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _person(session: Session, name: str) -> PersonRow | None:
    return session.scalars(select(PersonRow).where(PersonRow.name_folded == fold(name))).first()


def _known(session: Session, name: str) -> PersonRow:
    row = _person(session, name)
    if row is None:
        names = session.scalars(select(PersonRow.name).order_by(PersonRow.name_folded).limit(20)).all()
        there = f"there are {', '.join(names)}" if names else "`dailies people add` adds the first"
        raise CatalogueError(f"there is nobody called {name!r}; {there}")
    return row


def _value(row: PersonRow) -> Person:
    return Person(row.name, Role(row.role), row.created_at)
