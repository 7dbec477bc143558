"""Claims about verdicts that are given on the page of a shot: they are the command line's, and nobody else's."""

from __future__ import annotations

import html
import re

import pytest
from desk_pages import ALONE, HERE, PASSWORD, client, signed_in, token_in
from rendering import House
from starlette.testclient import TestClient

from catalogs.footage import Status
from catalogs.roles import Role
from catalogs.store import Catalogue
from desk.web.app import Door, desk_app
from flows.settings import Settings

SHOT = "/shots/AGM/SH0010"


def held(page: str, name: str) -> str:
    """Value of a field of the page's first form that has it."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return html.unescape(found[1])


def give(browser: TestClient, decision: str, *, address: str = SHOT, **fields: str) -> tuple[int, str]:
    """Load the page and send its form; status and the page that follows, its entities resolved."""
    page = browser.get(address).text
    data = {name: held(page, name) for name in ("version", "revision")} | {
        "token": token_in(page),
        "decision": decision,
    }
    answer = browser.post("/shots/AGM/SH0010/verdict", data={**data, **fields})
    if answer.status_code == 303:
        return 303, html.unescape(browser.get(answer.headers["location"]).text)
    return answer.status_code, html.unescape(answer.text)


@pytest.fixture(autouse=True)
def _as_it_was(catalogue: Catalogue, evening: House) -> None:
    """Every test begins with a shot whose two versions are in review."""
    while any(not one.undone and one.undoes is None for one in catalogue.verdicts.history("AGM/SH0010").verdicts):
        catalogue.verdicts.undo(["AGM/SH0010"], by="test")
    assert catalogue.find("AGM/SH0010").status is Status.REVIEW


def test_a_version_is_approved_and_taken_back(catalogue: Catalogue, settings: Settings) -> None:
    """The page shows by whom and why; the catalogue holds it; the log too. What does not apply is not offered."""
    browser = client(catalogue, settings)
    status, page = give(browser, "approve", note="the fog <is> right")
    assert status == 303
    assert catalogue.find("AGM/SH0010").status is Status.APPROVED
    assert re.search(r"v002 approved</strong> by kim,", page)
    assert "the fog <is> right" in page  # resolved above: as words, which the next line shows
    assert "the fog &lt;is&gt; right" in browser.get(SHOT).text
    assert 'value="approve"' not in page
    deed = catalogue.people.deeds(limit=1)[0]
    assert (deed.who, deed.did, deed.about, deed.words["version"]) == ("kim", "approve", "AGM/SH0010", 2)
    status, page = give(browser, "undo")
    assert status == 303
    assert catalogue.find("AGM/SH0010").status is Status.REVIEW
    assert "(taken back)" in page
    assert 'value="approve"' in page


def test_an_older_version_can_be_the_one(catalogue: Catalogue, settings: Settings) -> None:
    """Approved from its own page; the newest cannot then be meant."""
    status, page = give(client(catalogue, settings), "approve", address=f"{SHOT}?v=1")
    assert status == 303
    versions = catalogue.reviews.versions("AGM/SH0010")
    assert [one.take.status for one in versions] == [Status.APPROVED, Status.REVIEW]
    assert "v001 approved" in page


def test_a_retake_changes_what_was_typed_and_nothing_else(catalogue: Catalogue, settings: Settings) -> None:
    """A field that stands as it stood is no change; the shot is ready for the next night, its version sent back."""
    browser = client(catalogue, settings)
    page = browser.get(SHOT).text
    prompt = re.search(r'<textarea name="prompt"[^>]*>(.*?)</textarea>', page, re.S)
    assert prompt is not None
    status, page = give(
        browser, "retake", prompt=html.unescape(prompt[1]), camera="roll", seed="", steps="", note="no fog yet"
    )
    assert status == 303
    history = catalogue.verdicts.history("AGM/SH0010")
    assert (history.status, history.shot.camera) == (Status.READY, "roll")
    assert [(one.field, one.old, one.new) for one in history.verdicts[-1].changes] == [("camera", "pull out", "roll")]
    assert "camera: pull out → roll" in page
    assert "A retake has changed camera" in page
    give(browser, "undo")
    assert catalogue.find("AGM/SH0010").shot.camera == "pull out"


def test_a_retake_without_changes_gets_another_seed(catalogue: Catalogue, settings: Settings) -> None:
    """As on the command line."""
    status, _ = give(client(catalogue, settings), "retake")
    assert status == 303
    [change] = catalogue.verdicts.history("AGM/SH0010").verdicts[-1].changes
    assert change.field == "seed"


def test_what_cannot_be_is_said_and_what_was_typed_stays(catalogue: Catalogue, settings: Settings) -> None:
    """A wrong seed and camera are told at once; the form is open with the words in it; nothing was decided."""
    status, page = give(
        client(catalogue, settings), "retake", seed="many", camera="somersault", prompt="<fog>", note="n1"
    )
    assert status == 409
    assert "seed is 'many'" in page
    assert "camera is 'somersault'" in page
    assert '<textarea name="prompt" rows="4"><fog></textarea>' in page
    assert 'name="seed" value="many"' in page
    assert catalogue.find("AGM/SH0010").status is Status.REVIEW


def test_whoever_was_slower_is_told(catalogue: Catalogue, settings: Settings) -> None:
    """A page that shows a request which was changed meanwhile decides nothing."""
    browser = client(catalogue, settings)
    page = browser.get(SHOT).text
    catalogue.verdicts.retake(["AGM/SH0010"], {"camera": "roll"}, by="zoe")
    data = {"version": "2", "revision": held(page, "revision"), "token": token_in(page), "decision": "approve"}
    answer = browser.post(f"{SHOT}/verdict", data=data)
    assert answer.status_code == 409
    assert "was changed since you looked; look again" in answer.text


def test_a_shot_is_omitted_and_brought_back(catalogue: Catalogue, settings: Settings) -> None:
    """Its page offers nothing but the way back."""
    browser = client(catalogue, settings)
    status, page = give(browser, "omit", note="cut from the reel")
    assert status == 303
    assert 'value="omit"' not in page
    assert 'value="approve"' not in page
    assert "data-opens" not in page
    give(browser, "undo")
    assert catalogue.find("AGM/SH0010").status is Status.REVIEW


def test_who_sends_lists_decides_nothing(catalogue: Catalogue, settings: Settings) -> None:
    """The page has no form for them, and a form of their own is refused; so is one without a token, or a stranger's."""
    for name, role in (("Sue", Role.SUBMIT), ("Zoe", Role.REVIEW)):
        catalogue.people.add(name, role=role, password=PASSWORD)
    app = desk_app(catalogue, settings, Door("0.0.0.0"))
    sue, zoe, stranger = (TestClient(app, base_url=HERE, follow_redirects=False) for _ in range(3))
    mine, hers = signed_in(sue, "Sue"), signed_in(zoe)
    assert "/verdict" not in sue.get(SHOT).text
    data = {"decision": "approve", "version": "2", "revision": held(zoe.get(SHOT).text, "revision")}
    refused = sue.post(f"{SHOT}/verdict", data={**data, "token": mine})
    assert refused.status_code == 403
    assert "it takes the role review, not submit" in refused.text
    assert zoe.post(f"{SHOT}/verdict", data=data).status_code == 403
    assert zoe.post(f"{SHOT}/verdict", data={**data, "token": mine}).status_code == 403
    assert stranger.post(f"{SHOT}/verdict", data={**data, "token": hers}).status_code == 401
    assert catalogue.find("AGM/SH0010").status is Status.REVIEW
    assert zoe.post(f"{SHOT}/verdict", data={**data, "token": hers}).status_code == 303
    assert catalogue.verdicts.history("AGM/SH0010").verdicts[-1].by == "Zoe"


@pytest.mark.parametrize(
    "fields",
    [
        {"decision": "delete"},
        {"decision": "approve", "version": "-1"},
        {"decision": "approve", "version": "x"},
        {"decision": "approve", "revision": ""},
        {"decision": "approve", "revision": "99999999999999999999"},
        {"decision": "retake", "note": "a\x00b"},
        {"decision": "retake", "prompt": "x" * 30_000},
        {"decision": "approve", "version": "77"},
    ],
)
def test_a_form_that_no_page_has_is_refused(catalogue: Catalogue, settings: Settings, fields: dict[str, str]) -> None:
    """With a sentence, and nothing was decided."""
    browser = client(catalogue, settings, ALONE)
    page = browser.get(SHOT).text
    data = {"version": "2", "revision": held(page, "revision"), "token": token_in(page), **fields}
    assert browser.post(f"{SHOT}/verdict", data=data).status_code in (404, 409, 422)
    assert catalogue.find("AGM/SH0010").status is Status.REVIEW


def test_a_shot_that_is_not_there_gets_no_verdict(catalogue: Catalogue, settings: Settings) -> None:
    """As its page."""
    browser = client(catalogue, settings)
    data = {"version": "1", "revision": "1", "token": token_in(browser.get(SHOT).text), "decision": "approve"}
    assert browser.post("/shots/AGM/NO/verdict", data=data).status_code == 404
