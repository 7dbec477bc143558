"""Templates to answers: rendered, compressed, and not sent again where the browser has them.

Knows: Jinja2, ETags, gzip. Does not know: what is on a page. Memory: one page, and the packaged files once.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

TOKEN: Final = f"token-{secrets.token_hex(8)}"
"""Where a page's own token goes, after its ETag was made. By chance, so that no shot's words can be it."""
_SMALL: Final = 1000  # bytes that are not worth compressing


@dataclass(frozen=True, slots=True)
class Packed:
    """A packaged file."""

    body: bytes
    squeezed: bytes
    """The same, gzipped."""
    kind: str
    """Its media type."""
    etag: str


def environment() -> Environment:
    """Templates that escape every value, and do not render where one is missing."""
    made = Environment(
        loader=PackageLoader("desk.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["token"] = TOKEN
    return made


def packed() -> dict[str, Packed]:
    """Every file of `static/`, by name."""
    found = {}
    for file in files("desk.web").joinpath("static").iterdir():
        body = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        found[file.name] = Packed(body, gzip.compress(body, 9, mtime=0), kind, _etag(body))
    return found


def asset(request: Request, file: Packed) -> Response:
    """A packaged file; asked for again each time, sent again only if it is another."""
    headers = {"etag": file.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
    if _has(request, file.etag):
        return Response(status_code=304, headers=headers)
    if _squeezes(request):
        return Response(file.squeezed, media_type=file.kind, headers={**headers, "content-encoding": "gzip"})
    return Response(file.body, media_type=file.kind, headers=headers)


def page(request: Request, html: str, *, token: str = "", bound: str = "", status: int = 200) -> Response:
    """An HTML page. `token` replaces TOKEN; `bound` is what makes the page this visitor's own and nobody else's."""
    etag = _etag(f"{bound}\n{html}".encode())
    headers = {"etag": etag, "cache-control": "private, no-cache", "vary": "accept-encoding, cookie"}
    if status == 200 and _has(request, etag):
        return Response(status_code=304, headers=headers)
    body = html.replace(TOKEN, token).encode()
    if len(body) > _SMALL and _squeezes(request):
        body = gzip.compress(body, 5, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(body, status, media_type="text/html", headers=headers)


def render(templates: Environment, name: str, values: Mapping[str, Any]) -> str:
    """A template with its values."""
    return templates.get_template(name).render(values)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _has(request: Request, etag: str) -> bool:
    """Whether the browser holds just that (RFC 9110, 13.1.2; a weak match will do)."""
    given = request.headers.get("if-none-match", "")
    return given == "*" or etag in {one.strip().removeprefix("W/") for one in given.split(",")}


def _squeezes(request: Request) -> bool:
    return "gzip" in {one.split(";")[0].strip() for one in request.headers.get("accept-encoding", "").split(",")}
