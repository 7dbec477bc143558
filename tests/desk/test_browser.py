"""Claims about the desk as a person meets it: in Chromium, by mouse and by keyboard."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from desk_pages import ALONE
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rendering import House

from catalogs.footage import Status
from catalogs.store import Catalogue
from desk.web.app import desk_app
from desk.web.serve import listening
from flows.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

expect.set_options(timeout=30_000)  # a busy machine is no defect

if CHROMIUM is None and os.environ.get("DAILIES_REQUIRE_BROWSER") != "1":
    pytest.skip("no chromium; Debian's package brings one", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def address(catalogue: Catalogue, settings: Settings) -> Iterator[str]:
    """A desk that answers on a socket of its own."""
    bound = listening("127.0.0.1", 0)
    config = uvicorn.Config(
        desk_app(catalogue, settings, ALONE), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    serving.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    serving.join()
    bound.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A window; whatever goes wrong in it fails the test."""
    wrong: list[str] = []
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 900})
    window = context.new_page()
    window.on("pageerror", lambda error: wrong.append(str(error)))
    window.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    yield window
    context.close()
    assert wrong == []


def frame(page: Page) -> int:
    """The frame that the player says it shows."""
    return int(page.locator("output.frame").inner_text())


def brightness(page: Page) -> list[float]:
    """Means of a few places of the picture that is on the screen: another frame has others."""
    return page.evaluate(
        """() => {
            const film = document.querySelector("video.film");
            const canvas = document.createElement("canvas");
            canvas.width = 16; canvas.height = 9;
            const context = canvas.getContext("2d", { willReadFrequently: true });
            context.drawImage(film, 0, 0, 16, 9);
            return [...context.getImageData(0, 0, 16, 9).data];
        }"""
    )  # type: ignore[no-any-return]


def ready(page: Page) -> None:
    """Until the film can show a frame, and has sought."""
    page.wait_for_function(
        "() => { const film = document.querySelector('video.film'); return film.readyState >= 2 && !film.seeking; }"
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def loaded(page: Page) -> None:
    """Until the page's scripts have run: before that nobody listens to keys."""
    page.wait_for_load_state("domcontentloaded")


def test_posters_move_while_somebody_points_at_them(page: Page) -> None:
    """And stand still again; by keyboard too, where arrows walk and Enter opens."""
    page.goto("/")
    poster = page.locator(".tile img").first
    assert poster.evaluate("one => one.complete && one.naturalWidth > 0")
    poster.hover()
    expect(poster).to_have_attribute("src", re.compile("/preview$"))
    page.mouse.move(0, 0)
    expect(poster).to_have_attribute("src", re.compile("/poster$"))
    page.locator(".tile a").first.focus()
    expect(poster).to_have_attribute("src", re.compile("/preview$"))
    page.keyboard.press("ArrowRight")
    expect(poster).to_have_attribute("src", re.compile("/poster$"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/shots/AGM/SH0020$"))


def test_the_player_thinks_in_frames(page: Page) -> None:
    """Every key shows the frame that it says: neighbours differ, and going back shows the same picture again."""
    page.goto("/shots/AGM/SH0010")
    ready(page)
    pictures = {}
    for at in range(1001, 1013):
        assert frame(page) == at
        pictures[at] = brightness(page)
        page.keyboard.press("ArrowRight")
        ready(page)
    assert frame(page) == 1012  # the last one stays
    assert len({tuple(one) for one in pictures.values()}) == 12
    for key, at in (
        ("Home", 1001),
        ("End", 1012),
        ("Shift+ArrowLeft", 1002),
        ("ArrowRight", 1003),
        ("ArrowLeft", 1002),
    ):
        page.keyboard.press(key)
        ready(page)
        assert (frame(page), brightness(page)) == (at, pictures[at])
    page.keyboard.press("l")
    page.wait_for_function("() => !document.querySelector('video.film').paused")
    page.keyboard.press("k")
    page.wait_for_function("() => document.querySelector('video.film').paused")
    page.keyboard.press("End")
    page.keyboard.press("j")
    page.wait_for_function("() => Number(document.querySelector('output.frame').textContent) < 1010")


def test_two_versions_are_held_against_each_other(page: Page) -> None:
    """Side by side and under a wipe, at the same frame."""
    page.goto("/shots/AGM/SH0010")
    ready(page)
    page.get_by_label("v001", exact=False).last.select_option("wipe")
    other = page.locator("video.other")
    expect(other).to_be_visible()
    page.get_by_label("wipe", exact=True).fill("20")
    clip = other.evaluate("one => getComputedStyle(one).clipPath")
    assert clip == "inset(0px 0px 0px 20%)"
    page.locator("body").click(position={"x": 2, "y": 300})
    page.keyboard.press("ArrowRight")
    ready(page)
    page.wait_for_function("() => !document.querySelector('video.other').seeking")
    times = page.evaluate("() => [...document.querySelectorAll('video.film')].map((one) => one.currentTime)")
    assert times[0] == pytest.approx(times[1], abs=1e-3)
    page.locator("[data-act=mode]").select_option("beside")
    boxes = [page.locator(f"video.film >> nth={place}").bounding_box() for place in (0, 1)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1


def test_a_review_by_keyboard_alone(page: Page, catalogue: Catalogue) -> None:
    """Approve, take back, send back with another camera and a note, take back; letters in a field are only letters."""
    page.goto("/shots/AGM/SH0010")
    page.keyboard.press("a")
    expect(page.locator("h1 .status")).to_have_text("approved")
    assert catalogue.find("AGM/SH0010").status is Status.APPROVED
    loaded(page)
    page.keyboard.press("u")
    expect(page.locator("h1 .status")).to_have_text("review")
    loaded(page)
    page.keyboard.press("r")
    prompt = page.locator("#retake textarea[name=prompt]")
    expect(prompt).to_be_focused()
    before = prompt.input_value()
    page.keyboard.press("End")
    page.keyboard.type(" au")
    assert prompt.input_value().count("au") == before.count("au") + 1
    page.locator("#retake select[name=camera]").select_option("roll")
    page.locator("#retake input[name=note]").fill("slower")
    page.keyboard.press("Enter")
    expect(page.locator("h1 .status")).to_have_text("ready")
    shot = catalogue.find("AGM/SH0010").shot
    assert (shot.camera, shot.prompt.count("au")) == ("roll", before.count("au") + 1)
    expect(page.locator(".history li").first).to_contain_text("v002 sent back by kim")
    expect(page.locator(".history li").first).to_contain_text("slower")
    loaded(page)
    page.keyboard.press("u")
    expect(page.locator("h1 .status")).to_have_text("review")
    loaded(page)
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile("/shots/AGM/SH0020$"))


def test_tonight_changes_without_reloading(page: Page, catalogue: Catalogue, evening: House) -> None:
    """What happens in the house shows within seconds, on the page that is open."""
    page.goto("/tonight")
    page.evaluate("() => { window.same = true; }")
    expect(page.locator(".counts")).to_contain_text("ready")
    expect(page.locator("#line")).to_contain_text("as of")
    catalogue.verdicts.omit(["AGM/SH0030"], by="test")
    try:
        expect(page.locator(".counts")).to_contain_text("omitted", timeout=20_000)
        expect(page.locator(".counts")).not_to_contain_text("ready")
    finally:
        catalogue.verdicts.undo(["AGM/SH0030"], by="test")
    expect(page.locator(".counts")).to_contain_text("ready", timeout=20_000)
    assert page.evaluate("() => window.same") is True


def _axe(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds that is serious or worse."""
    import axe_playwright_python

    source = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(source)
    found = page.evaluate("() => axe.run()")
    return [
        {"id": one["id"], "nodes": [node["html"] for node in one["nodes"]]}
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("address_of", ["/", "/shots/AGM/SH0010", "/shots/AGM/SH0020", "/tonight", "/sign-in"])
@pytest.mark.parametrize("width", [1280, 360])
def test_everybody_can_use_it(page: Page, address_of: str, width: int) -> None:
    """axe-core finds nothing serious, and on a phone nothing has to be scrolled sideways."""
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address_of)
    time.sleep(0.2)
    for opener in page.locator("[data-opens]").all():
        opener.click()
    assert _axe(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
