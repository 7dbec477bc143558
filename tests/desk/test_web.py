"""Claims about the desk's pages: what reviewers see, and what nobody gets to see or do."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from desk_pages import HERE, HOSTILE, PASSWORD, client, signed_in, token_in
from rendering import House
from starlette.testclient import TestClient

from catalogs.roles import Role
from catalogs.store import Catalogue
from desk.web.access import COOKIE, GUESSES, WINDOW, Guesses, Proxy
from desk.web.app import Door, desk_app
from desk.web.guard import LARGEST
from flows.settings import Settings


def test_the_grid_shows_every_shot_with_its_newest_version(alone: TestClient) -> None:
    """In cut order, with picture and preview where there is a version, and how many there are."""
    page = alone.get("/")
    assert page.status_code == 200
    assert re.findall(r'class="slate">([^<]+)<', page.text) == [
        "AGM_SQ010_SH0010_v002",
        "AGM_SQ010_SH0020_v001",
        "AGM_SQ020_SH0030",
    ]
    assert 'src="/media/AGM/SH0010/2/poster" data-preview="/media/AGM/SH0010/2/preview"' in page.text
    assert "no version yet" in page.text
    assert "3 shots" in page.text


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("show=agm&night=all", ["SH0010", "SH0020", "SH0030"]),
        ("status=ready", ["SH0030"]),
        ("sequence=sq010", ["SH0010", "SH0020"]),
        ("code=003", ["SH0030"]),
        ("show=other", []),
        ("finding=flash", []),
        ("page=2", []),
    ],
)
def test_the_grid_is_narrowed(alone: TestClient, query: str, codes: list[str]) -> None:
    """By what stands in the address, which can be sent to somebody else."""
    page = alone.get(f"/?{query}").text
    assert re.findall(r'class="slate">AGM_SQ\d+_(SH\d+)', page) == codes


@pytest.mark.parametrize("query", ["status=nothing", "page=0", "page=x", "page=999999999999", "page=-1", "page=²"])
def test_a_filter_that_is_none_is_told(alone: TestClient, query: str) -> None:
    """As a page with a sentence."""
    page = alone.get(f"/?{query}")
    assert page.status_code == 400
    assert "There is no" in page.text


def test_a_shot_s_page_has_what_a_review_needs(alone: TestClient) -> None:
    """The film by frames, the version before it to compare with, what it was made from, its files and sheet."""
    page = alone.get("/shots/AGM/SH0010").text
    assert 'data-rate="30/1" data-frames="12" data-first="1001"' in page
    assert 'src="/media/AGM/SH0010/2/film-0"' in page
    assert 'class="film other" src="/media/AGM/SH0010/1/film-0"' in page
    assert "pull out" in page
    assert 'src="/media/AGM/SH0010/2/sheet"' in page
    assert "AGM_SQ010_SH0010_v002_30p_h265.mp4" in page
    assert 'rel="next" data-key="n">After: AGM/SH0020' in page
    older = alone.get("/shots/AGM/SH0010?v=1").text
    assert 'src="/media/AGM/SH0010/1/film-0"' in older
    assert "film other" not in older
    assert "push in" in older


def test_what_no_browser_plays_is_shown_by_its_preview(alone: TestClient) -> None:
    """A ProRes file alone; and a shot without a version has a page too."""
    page = alone.get("/shots/AGM/SH0020").text
    assert "no file that a browser plays" in page
    assert "/media/AGM/SH0020/1/preview" in page
    assert "<video" not in page
    assert "No version yet." in alone.get("/shots/AGM/SH0030").text


def test_words_of_a_shot_list_are_words_on_every_page(alone: TestClient) -> None:
    """Nothing that a list says becomes markup: not in a prompt, a note, a name, or the header of a column."""
    for address in (
        "/",
        "/shots/AGM/SH0010",
        "/shots/AGM/SH0010?v=1",
        f"/?code={quote(HOSTILE[:60])}",
        f"/?show={quote(HOSTILE)}",
    ):
        page = alone.get(address).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>Code" not in page
        assert not re.search(r"49\$|\$49", page)  # no template within a template
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in alone.get("/shots/AGM/SH0010").text


def test_no_page_runs_or_loads_what_is_not_packaged(alone: TestClient) -> None:
    """No inline script or style, no address of another host; and the policy says so to the browser."""
    for address in ("/", "/shots/AGM/SH0010", "/sign-in", "/nowhere"):
        answer = alone.get(address)
        tags = r"<script(?![^>]* src=\"/static/)|<[^>]*\s(on\w+|style)=|javascript:|(src|href|action)=\"(https?:)?//"
        assert not re.search(tags, answer.text)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("desk.css", "desk.js", "player.js", "desk.svg"):
        assert alone.get(f"/static/{name}").status_code == 200
    assert alone.get("/static/..%2fapp.py").status_code == 404


def test_what_the_browser_has_is_not_sent_again(alone: TestClient) -> None:
    """Pages, packaged files and footage; a page that changed is."""
    for address in ("/", "/static/desk.css", "/media/AGM/SH0010/2/film-0", "/media/AGM/SH0010/2/poster"):
        first = alone.get(address)
        again = alone.get(address, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert alone.get(address, headers={"if-none-match": '"other"'}).status_code == 200


def test_films_come_in_ranges(alone: TestClient, evening: House) -> None:
    """Just the bytes that a player asks for; and whole, under their name, for who wants to keep them."""
    version = evening.home / "deliveries" / "AGM" / "SQ010" / "SH0010" / "v002"
    film = (version / "AGM_SQ010_SH0010_v002_30p_webm.webm").read_bytes()
    part = alone.get("/media/AGM/SH0010/2/film-0", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, film[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(film)}"
    whole = alone.get("/media/AGM/SH0010/2/film-0?save=1")
    assert whole.content == film
    assert 'filename="AGM_SQ010_SH0010_v002_30p_webm.webm"' in whole.headers["content-disposition"]
    assert alone.get("/media/AGM/SH0010/2/film-0", headers={"range": f"bytes={len(film)}-"}).status_code == 416


@pytest.mark.parametrize(
    "address",
    [
        "AGM/SH0010/2/film-9",
        "AGM/SH0010/2/film--1",
        "AGM/SH0010/2/film-",
        "AGM/SH0010/2/film-٣",
        "AGM/SH0010/3/film-0",
        "AGM/SH0010/0/film-0",
        "AGM/SH0010/2/master",
        "AGM/SH0010/2/..%2fmanifest.json",
        "AGM/SH0010/2/%2fetc%2fpasswd",
        "AGM/SH0010/2/....//manifest",
        "AGM/..%2f..%2fetc/2/poster",
        "AGM/SH0030/1/poster",
        "AGM/NO/1/poster",
        "AGM/SH0010/99999999999999999999/poster",
    ],
)
def test_nothing_but_parts_of_versions_is_served(alone: TestClient, address: str) -> None:
    """Whatever a path says: it names a part, it is no path."""
    answer = alone.get(f"/media/{address}")
    assert answer.status_code in (404, 422)
    assert len(answer.content) < 4000


def test_a_link_out_of_the_deliveries_leads_nowhere(
    evening: House, catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    """Not even where the catalogue's own file has become one."""
    poster = evening.home / "deliveries/AGM/SQ010/SH0010/v001/AGM_SQ010_SH0010_v001_thumbnail.jpg"
    kept = poster.read_bytes()
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(kept)
    poster.unlink()
    os.symlink(secret, poster)
    try:
        answer = client(catalogue, settings).get("/media/AGM/SH0010/1/poster")
        assert (answer.status_code, answer.text) == (
            404,
            "AGM_SQ010_SH0010_v001_thumbnail.jpg does not lie in the folder of deliveries.\n",
        )
        poster.unlink()
        assert "is not there any more" in client(catalogue, settings).get("/media/AGM/SH0010/1/poster").text
    finally:
        poster.unlink(missing_ok=True)
        poster.write_bytes(kept)


def test_alone_means_this_machine_and_its_own_names(alone: TestClient) -> None:
    """A site whose name was made to lead here is another origin to nobody; so it is not answered."""
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80"):
        assert alone.get("/", headers={"host": host}).status_code == 421
    for host in ("localhost:4300", "127.0.0.1", "[::1]:4300"):
        assert alone.get("/", headers={"host": host}).status_code == 200


@pytest.fixture
def door() -> Door:
    """Of a desk that others reach."""
    return Door("0.0.0.0", secure=True)


def test_strangers_see_nothing(catalogue: Catalogue, settings: Settings, door: Door) -> None:
    """Every page asks them to sign in, and brings them back; footage says no."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    browser = client(catalogue, settings, door)
    asked = browser.get("/shots/AGM/SH0010?v=1", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?to=%2Fshots%2FAGM%2FSH0010%3Fv%3D1")
    for address in ("/", "/shots/AGM/SH0010", "/media/AGM/SH0010/2/film-0", "/media/AGM/SH0010/2/manifest"):
        answer = browser.get(address, headers={"accept": "*/*"})
        assert answer.status_code == 401
        assert "SH0010" not in answer.text
    assert browser.post("/sign-out").status_code == 401
    for token in ("x", "a" * 5000):
        browser.cookies.set(COOKIE, token)
        assert browser.get("/", headers={"accept": "*/*"}).status_code == 401


def test_somebody_signs_in_and_out(catalogue: Catalogue, settings: Settings, door: Door) -> None:
    """The cookie is for this site, TLS and no script; after signing out it opens nothing, and the log has both."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    browser = TestClient(desk_app(catalogue, settings, door), base_url="https://127.0.0.1", follow_redirects=False)
    assert browser.post("/sign-in", data={"name": "zoe", "password": "wrong"}).status_code == 403
    answer = browser.post("/sign-in", data={"name": "zoe", "password": PASSWORD, "to": "/shots/AGM/SH0010"})
    assert answer.headers["location"] == "/shots/AGM/SH0010"
    cookie = answer.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=lax", "secure", "path=/"):
        assert word in cookie
    page = browser.get("/").text
    assert "Zoe, review" in page
    held = browser.cookies[COOKIE]
    assert browser.post("/sign-out", data={"token": "another"}).status_code == 403
    assert browser.post("/sign-out", data={"token": token_in(page)}).status_code == 303
    browser.cookies.set(COOKIE, held)
    assert browser.get("/", headers={"accept": "*/*"}).status_code == 401
    assert [one.did for one in catalogue.people.deeds(limit=3)] == ["sign out", "sign in", "wrong password"]


def test_a_token_is_one_visitor_s_own(catalogue: Catalogue, settings: Settings, door: Door) -> None:
    """Whoever has a page of their own cannot send a form in the name of another; every page has another token."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    catalogue.people.add("Eve", role=Role.SUBMIT, password=PASSWORD)
    app = desk_app(catalogue, settings, replace(door, secure=False))
    zoe, eve = (TestClient(app, base_url=HERE, follow_redirects=False) for _ in range(2))
    mine, hers = signed_in(zoe), signed_in(eve, "Eve")
    assert token_in(zoe.get("/").text) != mine
    assert zoe.post("/sign-out", data={"token": hers}).status_code == 403
    assert zoe.post("/sign-out", data={"token": mine}).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:81"},
    ],
)
def test_what_another_site_sends_changes_nothing(alone: TestClient, headers: dict[str, str]) -> None:
    """Before anybody looks at a token."""
    answer = alone.post("/sign-in", data={"name": "x", "password": "y"}, headers=headers)
    assert (answer.status_code, answer.text) == (403, "another site has sent this; nothing was changed\n")
    assert alone.post("/sign-in", data={"name": "x", "password": "y"}, headers={"origin": HERE}).status_code == 403


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "/a\r\nx: y",
        "/\t/evil",
        "",
    ],
)
def test_signing_in_leads_to_no_other_site(catalogue: Catalogue, settings: Settings, door: Door, to: str) -> None:
    """Whatever the address said: then to the review."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    answer = client(catalogue, settings, door).post("/sign-in", data={"name": "Zoe", "password": PASSWORD, "to": to})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_guessing_is_slow(catalogue: Catalogue, settings: Settings, door: Door) -> None:
    """After five wrong passwords for a name the right one does not help either, for a while; other names do."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    catalogue.people.add("Kim", role=Role.REVIEW, password=PASSWORD)
    browser = client(catalogue, settings, door)
    for _ in range(GUESSES):
        assert browser.post("/sign-in", data={"name": "zoe", "password": "wrong"}).status_code == 403
    held = browser.post("/sign-in", data={"name": "ZOE", "password": PASSWORD})
    assert held.status_code == 429
    assert "try again in 15 min" in held.text
    assert browser.post("/sign-in", data={"name": "Kim", "password": PASSWORD}).status_code == 303


def test_guesses_are_forgotten_in_time() -> None:
    """One by one: each a quarter of an hour after it was made."""
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for second in range(GUESSES):
        now[0] = float(second)
        assert guesses.wait("zoe", "1.2.3.4") == 0
        guesses.wrong("zoe", "1.2.3.4")
    assert guesses.wait("ZOE", "5.6.7.8") == WINDOW - GUESSES + 1
    now[0] = WINDOW + 0.5
    assert guesses.wait("zoe", "5.6.7.8") == 0
    guesses.wrong("zoe", "5.6.7.8")
    assert guesses.wait("zoe", "5.6.7.8") == pytest.approx(0.5)
    guesses.right("zoe")
    assert guesses.wait("zoe", "5.6.7.8") == 0


def test_people_who_were_added_must_sign_in_here_too(catalogue: Catalogue, settings: Settings) -> None:
    """From then on who decides is known, on this machine as elsewhere."""
    browser = client(catalogue, settings)
    assert "kim, admin" in browser.get("/").text
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    assert browser.get("/", headers={"accept": "*/*"}).status_code == 401


def test_a_proxy_is_believed_from_its_own_address_alone(catalogue: Catalogue, settings: Settings) -> None:
    """It says who somebody is; that person must have been added. From elsewhere the header is nothing."""
    catalogue.people.add("Zoe", role=Role.REVIEW, password=PASSWORD)
    door = Door("0.0.0.0", proxy=Proxy("x-remote-user", ("10.1.0.0/16", "fd00::1")))
    headers = {"x-remote-user": "zoe", "accept": "*/*"}
    inside = client(catalogue, settings, door, client=("10.1.2.3", 1))
    assert "Zoe, review" in inside.get("/", headers=headers).text
    unknown = inside.get("/", headers={**headers, "x-remote-user": "<b>eve"})
    assert unknown.status_code == 403
    assert "&lt;b&gt;eve" in unknown.text
    for address in ("10.2.0.1", "127.0.0.1", "::1", "testclient"):
        assert client(catalogue, settings, door, client=(address, 1)).get("/", headers=headers).status_code == 401


def test_what_is_too_large_is_not_read(alone: TestClient) -> None:
    """By the length that is announced, and by what comes where none is, or a wrong one."""
    large = b"name=" + b"x" * LARGEST
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert alone.post("/sign-in", content=large, headers=kind).status_code == 413
    assert alone.post("/sign-in", content=iter([large[:1000], large]), headers=kind).status_code == 413
    assert alone.post("/sign-in", content=b"", headers={**kind, "content-length": "x"}).status_code == 413


def test_pages_are_small(alone: TestClient) -> None:
    """Compressed where the browser says that it can."""
    answer = alone.get("/shots/AGM/SH0010", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    plain = alone.get("/shots/AGM/SH0010", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert re.sub(token_in(plain.text), "", plain.text) == re.sub(token_in(answer.text), "", answer.text)
