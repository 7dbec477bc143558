"""Dailies: the grid of what a night has made, the page of one shot, and the footage that both show.

Knows: the addresses and their filters. Does not know: who may see them (app.py), how a page looks (templates).
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from catalogs.store import Catalogue
from catalogs.tiles import ANY_FINDING, MOST
from desk.web import media, views
from desk.web.access import Visitor
from desk.web.shot_page import ShotPages
from flows.settings import Settings

Show = Callable[..., Response]
"""Renders a template for a visitor: `show(request, visitor, name, values)`."""

FILTERS = ("show", "sequence", "status", "finding", "night", "code", "page")


def review_routes(catalogue: Catalogue, settings: Settings, *, seeing: Callable[..., Visitor], show: Show) -> APIRouter:
    """The pages of the review, for whoever `seeing` lets in."""
    routes, rooms = APIRouter(), ShotPages(catalogue, settings)

    @routes.get("/", name="grid")
    def grid(request: Request, visitor: Annotated[Visitor, Depends(seeing)]) -> Response:
        """The shots of the newest night, or of whatever the filters say."""
        given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
        shelves = catalogue.reviews.shelves()
        night = given["night"] or (shelves.batches[0] if shelves.batches else views.ALL)
        try:
            wanted = views.wanted_from(given, night="" if night == views.ALL else night, limit=MOST)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        page = catalogue.reviews.tiles(wanted)
        first = wanted.offset + 1
        number = wanted.offset // wanted.limit + 1
        values = {
            "tiles": [views.tile(one) for one in page.tiles],
            "total": page.total,
            "first": first if page.tiles else 0,
            "last": wanted.offset + len(page.tiles),
            "earlier": views.filter_address(given, page=str(number - 1)) if number > 1 else "",
            "later": views.filter_address(given, page=str(number + 1)) if first + wanted.limit <= page.total else "",
            "given": {**given, "night": night},
            "filtered": any(value for name, value in given.items() if name != "page"),
            "shelves": shelves,
            "choices": _choices(shelves, given),
            "any_finding": ANY_FINDING,
            "all": views.ALL,
        }
        return show(request, visitor, "grid.html", values)

    @routes.get("/shots/{show_code}/{code}", name="shot")
    def shot(
        request: Request,
        visitor: Annotated[Visitor, Depends(seeing)],
        show_code: str,
        code: str,
        v: Annotated[int, Query(ge=0, le=999_999_999)] = 0,
        against: Annotated[int, Query(ge=0, le=999_999_999)] = 0,
    ) -> Response:
        """One shot: the version `v`, or the newest that was published, beside the one `against`."""
        return show(request, visitor, "shot.html", rooms.shot(f"{show_code}/{code}", v, against=against))

    @routes.get("/media/{show_code}/{code}/{version}/{part}", name="media")
    def footage(
        request: Request,
        visitor: Annotated[Visitor, Depends(seeing)],
        show_code: str,
        code: str,
        version: int,
        part: str,
        save: Annotated[bool, Query()] = False,
    ) -> Response:
        """A part of a published version, in full or in ranges."""
        del visitor
        found = views.shown_version(rooms.versions(f"{show_code}/{code}"), version) if version > 0 else None
        if found is None:
            raise HTTPException(404, f"{show_code}/{code} has no version {version}")
        try:
            return media.sent(request, media.part(found, part, deliveries=settings.deliveries), attached=save)
        except media.GoneError as error:
            raise HTTPException(404, str(error)) from error

    return routes


def _choices(shelves: Any, given: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """(value, words) of each filter; sequences only of the show that was chosen."""
    show = given["show"].lower()
    sequences = [(name or "_", name or "none") for of, name in shelves.sequences if not show or of.lower() == show]
    return {
        "show": [(name, name) for name in shelves.shows],
        "sequence": list(dict.fromkeys(sequences)),
        "finding": [(ANY_FINDING, "any issue"), *[(code, code) for code in shelves.codes]],
        "night": [(name, f"night of {name}") for name in shelves.batches] + [(views.ALL, "all shots")],
    }
