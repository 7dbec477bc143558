"""Dailies: the grid of what a night has made, the page of one shot, and the footage that both show.

Knows: the addresses and their filters. Does not know: who may see them (app.py), how a page looks (templates).
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from catalogs.errors import CatalogueError
from catalogs.store import Catalogue
from catalogs.tiles import ANY_FINDING, MOST, Wanted
from catalogs.versions import ShotVersions, Version
from desk.web import media, views
from desk.web.access import Visitor
from flows.settings import Settings
from tasks.errors import MediaError
from tasks.manifests import read_manifest

Show = Callable[..., Response]
"""Renders a template for a visitor: `show(request, visitor, name, values)`."""

FILTERS = ("show", "sequence", "status", "finding", "night", "code", "page")


def review_routes(catalogue: Catalogue, settings: Settings, *, seeing: Callable[..., Visitor], show: Show) -> APIRouter:
    """The pages of the review, for whoever `seeing` lets in."""
    routes = APIRouter()

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
        found = _found(catalogue, show_code, code)
        version = views.shown_version(found, v)
        if v and version is None:
            raise HTTPException(404, f"{found.shot.name} has no v{v:03d}")
        values = _shot_values(found, version, against=against, zone=settings.night.zone)
        return show(request, visitor, "shot.html", {**values, **_neighbours(catalogue, found)})

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
        found = views.shown_version(_found(catalogue, show_code, code), version) if version > 0 else None
        if found is None:
            raise HTTPException(404, f"{show_code}/{code} has no version {version}")
        try:
            return media.sent(request, media.part(found, part, deliveries=settings.deliveries), attached=save)
        except media.GoneError as error:
            raise HTTPException(404, str(error)) from error

    return routes


def _found(catalogue: Catalogue, show_code: str, code: str) -> ShotVersions:
    try:
        return catalogue.reviews.shot(f"{show_code}/{code}")
    except CatalogueError as error:
        raise HTTPException(404, str(error)) from error


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


def _shot_values(found: ShotVersions, version: Version | None, *, against: int, zone: str) -> dict[str, Any]:
    name = found.shot.name
    document, missing = _manifest(version)
    frames = version.frames if version else found.shot.total_frames
    findings = version.take.findings if version else ()
    placed = views.marks(findings, document.get("seams", ()), frames)
    other = _other(found, version, against)
    return {
        "name": name,
        "slate": document.get("slate", name),
        "status": found.status.value,
        "error": version.take.error if version else "",
        "missing": missing,
        "length": views.length(frames, version.rate if version else found.shot.rate),
        "number": version.take.version if version else 0,
        "player": views.player(name, version, marks=placed) if version else None,
        "other": views.player(name, other, marks=()) if other else None,
        "other_number": other.take.version if other else 0,
        "sheet": views.media_address(name, version.take.version, "sheet")
        if document.get("contact_sheet") and version
        else "",
        "poster": views.media_address(name, version.take.version, "preview")
        if document.get("preview") and version
        else "",
        "manifest": views.media_address(name, version.take.version, "manifest") if document and version else "",
        "findings": [views.finding_row(one, frames) for one in findings],
        "rows": views.request_rows(found.shot, document),
        "files": views.file_rows(name, version) if version and document else [],
        "versions": [
            {
                "number": one.take.version,
                "address": views.shot_address(name, one.take.version),
                "status": one.take.status.value,
                "at": views.moment(one.finished or one.started, zone),
                "error": one.take.error,
                "shown": one is version,
                "against": f"{views.shot_address(name, version.take.version)}&against={one.take.version}"
                if version and one is not version and one.take.manifest is not None
                else "",
            }
            for one in reversed(found.versions)
        ],
    }


def _other(found: ShotVersions, version: Version | None, against: int) -> Version | None:
    """What the version is held against: the one named, else the published one before it."""
    if version is None:
        return None
    others = [one for one in found.versions if one.take.manifest is not None and one is not version]
    if against:
        return next((one for one in others if one.take.version == against), None)
    return next((one for one in reversed(others) if one.take.version < version.take.version), None)


def _manifest(version: Version | None) -> tuple[Mapping[str, Any], str]:
    """What the version's manifest says, or why nothing can be read of it."""
    if version is None or version.take.manifest is None:
        return {}, ""
    try:
        return read_manifest(version.take.manifest).document, ""
    except MediaError as error:
        return {}, str(error)


def _neighbours(catalogue: Catalogue, found: ShotVersions) -> dict[str, Any]:
    """The shots before and after it in its sequence, in cut order."""
    wanted = Wanted(show=found.shot.show, sequence=found.shot.sequence)
    names = [one.name for one in catalogue.reviews.tiles(wanted).tiles]
    at = names.index(found.shot.name) if found.shot.name in names else -1
    before, after = names[at - 1] if at > 0 else "", names[at + 1] if 0 <= at < len(names) - 1 else ""
    return {
        "sequence": found.shot.sequence,
        "place": f"{at + 1} of {len(names)}" if at >= 0 else "",
        "before": {"name": before, "address": views.shot_address(before)} if before else None,
        "after": {"name": after, "address": views.shot_address(after)} if after else None,
        "up": views.filter_address(
            {"show": found.shot.show, "sequence": found.shot.sequence or "_", "night": views.ALL}
        ),
    }
