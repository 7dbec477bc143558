"""What the page of one shot says: a version, the one it is held against, its history, its neighbours in the cut.

Knows: catalogue and manifest. Does not know: requests, roles, how it looks. Memory: one shot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from catalogs.errors import CatalogueError, CatalogueUnavailableError
from catalogs.footage import Status
from catalogs.shot import CAMERAS, Shot
from catalogs.store import Catalogue
from catalogs.tiles import Wanted
from catalogs.verdicts import History
from catalogs.versions import Version
from desk.web import views
from flows.settings import Settings
from tasks.errors import MediaError
from tasks.manifests import read_manifest


class ShotPages:
    """Shots of a catalogue, as pages. Its methods raise HTTPException 404 for what is not there."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self._catalogue = catalogue
        self._zone = settings.night.zone

    def versions(self, name: str) -> Sequence[Version]:
        """Every version of a shot, oldest first."""
        try:
            return self._catalogue.reviews.versions(name)
        except CatalogueUnavailableError:
            raise
        except CatalogueError as error:
            raise HTTPException(404, str(error)) from error

    def shot(
        self, name: str, number: int, *, against: int = 0, said: str = "", typed: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The values of shot.html for a version (0: the newest that was published), held against another one.

        `said` is why a verdict was refused, `typed` what was typed for it.
        """
        try:
            found = self._catalogue.verdicts.history(name)
        except CatalogueUnavailableError:
            raise
        except CatalogueError as error:
            raise HTTPException(404, str(error)) from error
        version = views.shown_version(found.versions, number)
        if number and version is None:
            raise HTTPException(404, f"{found.shot.name} has no v{number:03d}")
        other = _other(found.versions, version, against)
        typed = typed or {}
        fields = [
            {**field, "value": typed.get(field["name"], field["value"])} for field in views.retake_fields(found.shot)
        ]
        return {
            **_version_values(found, version, other),
            **self._neighbours(found.shot),
            "versions": [self._version_row(found.shot.name, one, version) for one in reversed(found.versions)],
            "verdicts": [views.verdict_row(one, self._zone) for one in reversed(found.verdicts)],
            "retaken": [one.field.replace("_", " ") for one in found.retaken],
            "revision": found.revision,
            "acts": _acts(found, version),
            "fields": fields,
            "cameras": CAMERAS,
            "note": typed.get("note", ""),
            "said": said,
            "retaking": bool(typed),
        }

    def _version_row(self, name: str, one: Version, shown: Version | None) -> dict[str, Any]:
        held = shown is not None and one is not shown and one.take.manifest is not None
        return {
            "number": one.take.version,
            "address": views.shot_address(name, one.take.version),
            "status": one.take.status.value,
            "at": views.moment(one.finished or one.started, self._zone),
            "error": one.take.error,
            "shown": one is shown,
            "against": f"{views.shot_address(name, shown.take.version)}&against={one.take.version}"
            if held and shown
            else "",
        }

    def _neighbours(self, shot: Shot) -> dict[str, Any]:
        """The shots before and after it in its sequence, in cut order."""
        wanted = Wanted(show=shot.show, sequence=shot.sequence)
        names = [one.name for one in self._catalogue.reviews.tiles(wanted).tiles]
        at = names.index(shot.name) if shot.name in names else -1
        before, after = names[at - 1] if at > 0 else "", names[at + 1] if 0 <= at < len(names) - 1 else ""
        up = {"show": shot.show, "sequence": shot.sequence or "_", "night": views.ALL}
        return {
            "sequence": shot.sequence,
            "place": f"{at + 1} of {len(names)}" if at >= 0 else "",
            "before": {"name": before, "address": views.shot_address(before)} if before else None,
            "after": {"name": after, "address": views.shot_address(after)} if after else None,
            "up": views.filter_address(up),
        }


def _version_values(found: History, version: Version | None, other: Version | None) -> dict[str, Any]:
    """Pictures, findings and origin of the version that is shown."""
    name = found.shot.name
    document, missing = _manifest(version)
    number = version.take.version if version else 0
    frames = version.frames if version else found.shot.total_frames
    findings = version.take.findings if version else ()
    placed = views.marks(findings, document.get("seams", ()), frames)

    def picture(part: str, key: str) -> str:
        return views.media_address(name, number, part) if document.get(key) else ""

    return {
        "name": name,
        "slate": document.get("slate", name),
        "status": found.status.value,
        "error": found.error or (version.take.error if version else ""),
        "missing": missing,
        "length": views.length(frames, version.rate if version else found.shot.rate),
        "number": number,
        "player": views.player(name, version, marks=placed) if version else None,
        "other": views.player(name, other, marks=()) if other else None,
        "other_number": other.take.version if other else 0,
        "sheet": picture("sheet", "contact_sheet"),
        "moving": picture("preview", "preview"),
        "manifest": picture("manifest", "slate"),
        "findings": [views.finding_row(one, frames) for one in findings],
        "rows": views.request_rows(found.shot, document),
        "files": views.file_rows(name, version) if version and document else [],
    }


def _acts(found: History, version: Version | None) -> dict[str, bool]:
    """Which verdicts to offer; whether one may be given is the catalogue's to say."""
    standing = [one for one in found.verdicts if not one.undone and one.undoes is None]
    out = found.status is Status.OMITTED
    newest = bool(found.versions) and version is found.versions[-1]
    shown = version is not None and version.take.manifest is not None
    approved = found.status is Status.APPROVED and version is not None and version.take.status is Status.APPROVED
    return {
        "approve": shown and not out and not approved,
        "retake": (newest or not shown) and bool(found.versions) and not out,
        "omit": not out,
        "undo": bool(standing),
    }


def _other(versions: Sequence[Version], version: Version | None, against: int) -> Version | None:
    """What the version is held against: the one named, else the published one before it."""
    if version is None:
        return None
    others = [one for one in versions if one.take.manifest is not None and one is not version]
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
