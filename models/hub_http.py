"""HTTP as the hub speaks it: headers of a file, its bytes, and what each refusal means.

Knows: redirects, tokens, HTTP status codes. Does not know: cards, folders, digests. The standard library alone, so that
a machine without torch can fetch weights. Redirects are followed by hand, because urllib would hand the token on to
whatever host comes next. Memory: none beyond a socket's.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from models.headers import WeightsError, WeightsUnavailableError

ENDPOINT: Final = "https://huggingface.co"
ATTEMPTS: Final = 5
"""Tries per file that bring nothing new before it is given up."""
_TIMEOUT: Final = 30.0  # seconds without a byte


@dataclass(frozen=True, slots=True)
class Hub:
    """Where to download from."""

    endpoint: str = ENDPOINT
    """Address without a trailing slash; only this host is shown the token."""
    token: str = ""
    """Access token for gated repositories; empty for none."""
    offline: bool = False
    """Whether the user forbids the network."""
    pause: float = 1.0
    """Seconds before the second try; doubled for each further one."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Hub:
        """From the variables that huggingface_hub documents: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE."""
        return cls(
            endpoint=(environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/"),
            token=environment.get("HF_TOKEN", "").strip(),
            offline=environment.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"),
        )


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_Stay)


def _request(url: str, hub: Hub, headers: Mapping[str, str], method: str) -> Any:
    if urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"{url} is no web address; check HF_ENDPOINT")
    request = urllib.request.Request(url, headers={"User-Agent": "dailies", **headers}, method=method)
    if hub.token and urlsplit(url)[:2] == urlsplit(hub.endpoint)[:2]:
        request.add_unredirected_header("Authorization", f"Bearer {hub.token}")
    return _OPENER.open(request, timeout=_TIMEOUT)


@contextmanager
def opened(url: str, name: str, hub: Hub, headers: Mapping[str, str]) -> Iterator[Any]:
    """The answer to a GET, redirects followed, never from https down to http."""
    for _ in range(6):
        try:
            answer = _request(url, hub, headers, "GET")
        except urllib.error.HTTPError as error:
            with error:
                following = urljoin(url, error.headers.get("Location", ""))
                if error.code not in (301, 302, 303, 307, 308) or following == url:
                    raise _refusal(error, name, hub) from error
            if url.startswith("https:") and not following.startswith("https:"):
                raise WeightsError(
                    f"{name}: the hub leads to {following}, which is not encrypted; do not use it"
                ) from None
            url = following
            continue
        with answer:
            yield answer
        return
    raise WeightsError(f"{name}: the hub redirects in a circle; check HF_ENDPOINT")


def head(url: str, name: str, hub: Hub) -> Message:
    """Headers of a file. Redirects within the hub (a renamed repository) are followed, those to its store are not."""
    last = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(hub.pause * 2 ** (attempt - 1))
        try:
            with _request(url, hub, {}, "HEAD") as answer:
                found: Message = answer.headers
                return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (301, 302, 303, 307, 308):
                    if error.headers.get("X-Repo-Commit"):
                        return error.headers
                    url = urljoin(url, error.headers.get("Location", ""))
                    continue
                refusal = _refusal(error, name, hub)
                if isinstance(refusal, WeightsError):
                    raise refusal from error
                last = str(refusal)
        except (http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            last = words(error)
    raise WeightsUnavailableError(
        f"{name}: {hub.endpoint} cannot be reached ({last}); check the network or HF_ENDPOINT"
    )


def _refusal(error: urllib.error.HTTPError, name: str, hub: Hub) -> Exception:
    """What an HTTP error means: a WeightsError to stop at, or something to try again."""
    if error.code in (401, 403):
        return WeightsUnavailableError(
            f"{name}: the hub wants to know who asks (HTTP {error.code}); accept the model's licence on its page and "
            "set HF_TOKEN"
        )
    if error.code in (404, 410):
        return WeightsError(
            f"{name}: {hub.endpoint} does not have it (HTTP {error.code}); check the card's repository and revision"
        )
    if error.code == 429 or error.code >= 500 or error.code == 416:
        return http.client.HTTPException(f"HTTP {error.code}")
    return WeightsError(f"{name}: the hub refused (HTTP {error.code}); check HF_ENDPOINT and the card")


def words(error: Exception) -> str:
    """What a failed connection says of itself."""
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__
