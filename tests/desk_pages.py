"""What the tests of the desk's pages share. Helpers, no tests; fixtures stand in desk/conftest.py."""

from __future__ import annotations

import re
from typing import Any

from starlette.testclient import TestClient

from catalogs.store import Catalogue
from desk.web.app import Door, desk_app
from flows.settings import Settings

HERE = "http://127.0.0.1"
PASSWORD = "a long enough one"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}${7*7}"
"""What somebody may put into any column of a list."""
ALONE = Door("127.0.0.1", alone="kim")


def client(catalogue: Catalogue, settings: Settings, door: Door = ALONE, **options: Any) -> TestClient:
    """A browser that follows no redirect by itself."""
    app = desk_app(catalogue, settings, door)
    return TestClient(app, base_url=HERE, follow_redirects=False, **options)


def token_in(page: str) -> str:
    """The token that a page's forms carry."""
    found = re.search(r'<meta name="token" content="([^"]+)"', page)
    assert found is not None
    return found[1]


def signed_in(browser: TestClient, name: str = "Zoe") -> str:
    """The browser after signing in; its token."""
    answer = browser.post("/sign-in", data={"name": name, "password": PASSWORD, "to": "/"})
    assert answer.status_code == 303
    return token_in(browser.get("/").text)
