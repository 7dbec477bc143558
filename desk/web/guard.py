"""What holds for every request and every answer, whatever the page: hosts, sizes, other sites, headers.

Knows: ASGI. Does not know: who is asking (access.py), pages. Memory: nothing that lasts.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST: Final = 1_000_000
"""Bytes of a request's body, unless its path is among those that take files."""

_TOO_LARGE: Final = f"this is larger than {LARGEST:,} bytes; send less"

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",  # packaged files; nothing that stands in a page runs
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",  # a file is what we say it is
    "referrer-policy": "same-origin",  # names of shots stay here
    "x-frame-options": "DENY",  # for browsers that do not know frame-ancestors
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",  # footage is shown on no other site
}


class Guard:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, secure: bool) -> None:
        """`hosts`: names by which the desk may be called, without ports; None for any. `secure`: it is behind TLS."""
        self._app = app
        self._hosts = hosts
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in HEADERS.items():
                    MutableHeaders(scope=message).setdefault(name, value)
                if self._secure:
                    MutableHeaders(scope=message)["strict-transport-security"] = "max-age=31536000"
            await send(message)

        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        left = LARGEST

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:  # the length that was announced may be a lie
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, bounded, answer)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host", "")
        if self._hosts is not None and (urlsplit(f"//{host}").hostname or "") not in self._hosts:
            # a page elsewhere whose name leads here (DNS rebinding) would be of our own origin
            return PlainTextResponse(f"this desk is not called {host!r}; use {sorted(self._hosts)[0]}\n", 421)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST:
            return PlainTextResponse(f"{_TOO_LARGE}\n", 413)
        if method in SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if foreign or site not in ("same-origin", "none"):
            return PlainTextResponse("another site has sent this; nothing was changed\n", 403)
        return None
