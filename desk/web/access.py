"""Who is asking, and may they? People of the catalogue by visit or by a proxy's word; tokens against forged requests.

Knows: cookies, the two headers that matter, how often somebody has guessed. Does not know: pages, what is decided on.
Memory: one entry for each name and address that has guessed within WINDOW.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from fastapi import Request

from catalogs.people import People
from catalogs.roles import Role

COOKIE: Final = "dailies_visit"
WINDOW: Final = 15 * 60.0
"""Seconds for which a wrong password counts."""
GUESSES: Final = 5
"""Wrong passwords for one name within WINDOW; then nobody signs in under it until the oldest is forgotten."""
GUESSES_OF_ADDRESS: Final = 30
"""The same for one address: a whole office may sit behind one."""
LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True)
class Proxy:
    """A reverse proxy that signs people in and says who they are."""

    header: str
    """Name of the header that holds the name of the person."""
    networks: tuple[str, ...]
    """Addresses or networks from which the header is believed, and from no other."""

    def sent(self, address: str) -> bool:
        """Whether a request from there comes from the proxy."""
        try:
            return any(ip_address(address) in ip_network(one, strict=False) for one in self.networks)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who makes a request."""

    name: str
    role: Role
    key: str = field(repr=False)
    """What this visitor's tokens are bound to; nobody else has it."""
    signed_in: bool = True
    """Whether there is a visit that could be ended here."""


class SignInNeededError(Exception):
    """Nobody is signed in, and the page is not for everybody."""


class NotAllowedError(Exception):
    """The visitor may not do that; the message says why and what to do."""


class Access:
    """Tells visitors from strangers. Safe to use from several threads."""

    def __init__(self, people: People, *, alone: str = "", proxy: Proxy | None = None) -> None:
        """`alone`: the name of whoever sits at this machine, if the desk answers on its loopback only: while nobody was
        added, that person may do everything. Empty if it answers elsewhere."""
        self._people = people
        self._alone = alone
        self._proxy = proxy
        self._secret = secrets.token_bytes(32)
        self._guesses = Guesses()

    def visitor(self, request: Request) -> Visitor:
        """Who is asking. Raises SignInNeededError, and NotAllowedError for a name that a proxy says and nobody has."""
        if self._proxy is not None and self._proxy.sent(address_of(request)):
            name = request.headers.get(self._proxy.header, "")
            if name:
                person = self._people.called(name)
                if person is None:
                    raise NotAllowedError(f"{name!r} may not use this desk; `dailies people add` adds a name")
                return Visitor(person.name, person.role, f"proxy {person.name}", signed_in=False)
        token = request.cookies.get(COOKIE, "")
        person = self._people.visiting(token) if token else None
        if person is not None:
            return Visitor(person.name, person.role, token)
        if self._alone and not self._people.count():
            return Visitor(self._alone, Role.ADMIN, "alone", signed_in=False)
        raise SignInNeededError

    def sign_in(self, name: str, password: str, address: str) -> str | None:
        """The token of a new visit; None for a wrong name or password. Raises NotAllowedError after many guesses."""
        wait = self._guesses.wait(name, address)
        if wait:
            self._people.note("sign in refused", who=name, address=address, words={"wait": round(wait)})
            raise NotAllowedError(f"too many wrong passwords; try again in {round(wait / 60) or 1} min")
        found = self._people.sign_in(name, password)
        if found is None:
            self._guesses.wrong(name, address)
            self._people.note("wrong password", who=name, address=address)
            return None
        self._guesses.right(name)
        self._people.note("sign in", who=found[0].name, address=address)
        return found[1]

    def sign_out(self, visitor: Visitor, address: str) -> None:
        """The visit is over."""
        if visitor.signed_in:
            self._people.sign_out(visitor.key)
            self._people.note("sign out", who=visitor.name, address=address)

    def token(self, visitor: Visitor) -> str:
        """What a form of this visitor carries. Another one each time: no length of a compressed page gives it away."""
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{self._mark(nonce, visitor)}"

    def own(self, token: str, visitor: Visitor) -> bool:
        """Whether a token was given to this visitor: a page of somebody else's cannot know one."""
        nonce, _, mark = token.partition(".")
        return hmac.compare_digest(mark.encode("utf-8", "replace"), self._mark(nonce, visitor).encode())

    def _mark(self, nonce: str, visitor: Visitor) -> str:
        said = f"{nonce} {visitor.key}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()


class Guesses:
    """Wrong passwords of the last quarter of an hour, by name and by address."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._found: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait(self, name: str, address: str) -> float:
        """Seconds until the next try; 0 if it is allowed now."""
        limits = {_of_name(name): GUESSES, _of_address(address): GUESSES_OF_ADDRESS}
        with self._lock:
            self._forget()
            late = [self._found[key][-limit] for key, limit in limits.items() if len(self._found.get(key, ())) >= limit]
            return max(0.0, max(late) + WINDOW - self._now()) if late else 0.0

    def wrong(self, name: str, address: str) -> None:
        """One more."""
        with self._lock:
            for key in (_of_name(name), _of_address(address)):
                self._found.setdefault(key, deque(maxlen=GUESSES_OF_ADDRESS)).append(self._now())

    def right(self, name: str) -> None:
        """Who knows the password has not guessed before."""
        with self._lock:
            self._found.pop(_of_name(name), None)

    def _forget(self) -> None:
        for key in [key for key, times in self._found.items() if times[-1] + WINDOW < self._now()]:
            del self._found[key]


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else ""


def _of_name(name: str) -> str:
    return f"name {name.casefold()[:64]}"


def _of_address(address: str) -> str:
    return f"address {address}"
