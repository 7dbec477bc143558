"""Footage and pictures of published versions, found through the catalogue; never by a path of the client's.

Knows: which file a version's parts are, ranges, caches. Does not know: pages. Memory: one block of a file.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from pathlib import Path
from typing import Final

from fastapi import Request
from starlette.responses import FileResponse, Response

from catalogs.versions import Version
from tasks.errors import MediaError
from tasks.manifests import read_manifest

PICTURES: Final = {"poster": "thumbnail", "preview": "preview", "sheet": "contact_sheet"}
"""What a picture is called here, and in the manifest."""

PLAYS: Final = ("webm", "h264")
"""Kinds of deliverable that browsers play, best first."""

_FOREVER: Final = "private, max-age=31536000, immutable"  # a published version never changes


class GoneError(Exception):
    """There is no such part, or its file is not there; the message says which."""


def part(version: Version, name: str, *, deliveries: Path) -> Path:
    """The file of a part: `poster`, `preview`, `sheet`, `manifest`, or `film-N`, the deliverable at that place.

    Raises GoneError if the version has no such part, and for whatever does not lie in the folder of deliveries.
    """
    take = version.take
    if take.manifest is None:
        raise GoneError("this version was never published")
    beside = take.manifest.parent
    if name == "manifest":
        return inside(take.manifest, deliveries)
    if name in PICTURES:
        try:
            said = str(read_manifest(take.manifest).document.get(PICTURES[name], ""))
        except MediaError as error:
            raise GoneError(str(error)) from error
        if not said:
            raise GoneError(f"this version has no {name}; it was published before there were any")
        return inside(beside / said, deliveries)
    kind, _, place = name.partition("-")
    if kind == "film" and place.isascii() and place.isdigit() and int(place) < len(take.deliverables):
        return inside(take.deliverables[int(place)].path, deliveries)
    raise GoneError("this version has no such part")


def inside(path: Path, deliveries: Path) -> Path:
    """The path with its links followed. Raises GoneError if it is no file, or leads out of the folder."""
    try:
        found, root = path.resolve(strict=True), deliveries.resolve(strict=True)
    except OSError as error:
        raise GoneError(f"{path.name} is not there any more: {error.strerror or error}") from error
    if not found.is_relative_to(root):
        raise GoneError(f"{path.name} does not lie in the folder of deliveries")
    if not stat.S_ISREG(os.stat(found).st_mode):
        raise GoneError(f"{path.name} is a folder of pictures; fetch it from {path}")
    return found


def sent(request: Request, path: Path, *, attached: bool) -> Response:
    """A file in full or in ranges; `attached` for one that is to be saved. Not sent again where the browser has it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    response = FileResponse(
        path,
        media_type=kind,
        filename=path.name if attached else None,
        headers={"cache-control": _FOREVER},
        stat_result=os.stat(path),
    )
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return Response(status_code=304, headers={"etag": response.headers["etag"], "cache-control": _FOREVER})
    return response
