"""A hub of our own on this machine: the addresses and headers that huggingface_hub uses, and every way to fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 64
"""Bytes from which a file is stored by its sha256, behind a redirect."""


@dataclass
class Stub:
    """What the stub serves, and how it misbehaves."""

    files: Mapping[str, bytes]
    repository: str = "studio/model"
    drops: int = 0
    """Answers still to be cut off after `drop_at` bytes of body."""
    drop_at: int = 0
    ranges: bool = True
    """False: a Range is ignored and the whole file comes."""
    wrong: bool = False
    """The bytes are others than the digest says."""
    status: int = 0
    """Every answer has this status, if not 0."""
    failures: int = 0
    """Answers still to be a 503."""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Range of every request."""
    tokens: list[tuple[str, str]] = field(default_factory=list)
    """Path and Authorization of every request."""
    endpoint: str = ""

    def __enter__(self) -> Stub:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                answer(stub, self, body=False)

            def do_GET(self) -> None:
                answer(stub, self, body=True)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def asked(self, method: str, start: str = "/") -> list[tuple[str, str]]:
        """Path and Range of the requests made so far by a method, below a path."""
        return [(path, span) for verb, path, span in self.seen if verb == method and path.startswith(start)]


def answer(stub: Stub, request: BaseHTTPRequestHandler, *, body: bool) -> None:
    """One answer of the hub (`/REPO/resolve/REV/PATH`) or of its store (`/store/PATH`)."""
    path = unquote(request.path)
    stub.seen.append((request.command, path, request.headers.get("Range", "")))
    stub.tokens.append((path, request.headers.get("Authorization", "")))
    if stub.status or stub.failures:
        stub.failures -= bool(stub.failures)
        return _plain(request, stub.status or 503)
    if path.startswith("/store/"):
        return _send(stub, request, stub.files[path.removeprefix("/store/")], body=body)
    prefix = f"/{stub.repository}/resolve/"
    revision, _, name = path.removeprefix(prefix).partition("/")
    if not path.startswith(prefix) or name not in stub.files or revision not in ("main", COMMIT):
        return _plain(request, 404)
    content = stub.files[name]
    headers = {"X-Repo-Commit": COMMIT}
    if len(content) < LARGE:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return _send(stub, request, content, body=body, headers={**headers, "ETag": f'"{git}"'})
    headers |= {
        "X-Linked-Size": str(len(content)),
        "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        "Location": f"{stub.endpoint.replace('127.0.0.1', 'localhost')}/store/{name}",
    }
    return _plain(request, 302, headers)


def _plain(request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", "0")
    request.end_headers()


def _send(
    stub: Stub,
    request: BaseHTTPRequestHandler,
    content: bytes,
    *,
    body: bool,
    headers: Mapping[str, str] | None = None,
) -> None:
    start = 0
    span = request.headers.get("Range", "")
    if stub.ranges and span.startswith("bytes="):
        start = int(span.removeprefix("bytes=").split("-")[0])
    request.send_response(206 if start else 200)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    request.send_header("Content-Length", str(len(content) - start))
    request.end_headers()
    if not body:
        return
    rest = (content[::-1] if stub.wrong else content)[start:]
    if stub.drops:
        stub.drops -= 1
        request.wfile.write(rest[: stub.drop_at])
        request.close_connection = True
        return
    request.wfile.write(rest)
