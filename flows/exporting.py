"""What leaves for editors, coordinators and clients: timelines, lists, disclosures. Never imports Prefect.

Knows: the catalogue, the manifests that it names, where files go. Does not know: what a timeline or a list looks like
(tasks.timeline, tasks.edl, tasks.version_list, tasks.disclosure). Reads and never changes the
catalogue. Memory: the show's versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from catalogs.cells import lost_cells
from catalogs.footage import Status
from catalogs.listing import shot_lists
from catalogs.shot import Shot
from catalogs.store import open_catalogue
from catalogs.timebase import rate_text
from catalogs.versions import ShotVersions, Version
from flows.settings import Settings
from models.cards import cards_with
from models.interpolator_cards import interpolator_cards
from models.lora_cards import lora_cards
from tasks.cut import BEST, ORDERS, Cut, Entry, cuts, slate_of
from tasks.disclosure import Licences, Told, disclosure, disclosure_page
from tasks.edl import edl
from tasks.errors import MediaError, PlanError
from tasks.export import targets, write_files
from tasks.manifests import provenance, read_manifest
from tasks.timeline import timeline
from tasks.version_list import version_list

WHAT: Final = ("otio", "edl", "csv", "versions", "disclosure")
"""What can be exported."""

PUBLISHED: Final = (Status.REVIEW, Status.APPROVED, Status.RETAKE)
"""Verdicts of versions whose files are out."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be exported, as it was asked for."""

    show: str | None = None
    """Only this show."""
    sequence: str | None = None
    """Only this sequence; `_` for the shots without one."""
    latest: bool = False
    """Whether the newest published version will do where none is approved."""
    kind: str = ""
    """Which deliverable; empty for the best there is."""
    order: str = "list"
    """One of ORDERS."""
    out: Path | None = None
    """File or folder to write; None for the current folder."""
    overwrite: bool = False


def export(what: str, wish: Wish, settings: Settings) -> dict[str, Any]:
    """Write it, and return the document of `dailies export --json`.

    Raises PlanError for a wish that cannot be, CatalogueError for a show that is not there, StepError if the disk
    refuses; nothing is then written.
    """
    _check(what, wish)
    with open_catalogue(settings.database_url) as catalogue:
        asked = catalogue.requests(show=wish.show, sequence=wish.sequence) if what == "csv" else []
        # which says, where there is none, what there is instead
        shots = [] if asked else catalogue.versions(show=wish.show, sequence=wish.sequence)
    if not shots and not asked:
        raise PlanError("the catalogue has no shots; submit a shot list first")
    if what == "csv":
        return _lists(asked, wish, settings)
    if what == "versions":
        return _versions(shots, wish)
    return _disclosure(shots, wish, settings) if what == "disclosure" else _cuts(what, shots, wish)


def _check(what: str, wish: Wish) -> None:
    if what not in WHAT:
        raise PlanError(f"no export {what!r}; use {', '.join(WHAT)}")
    if wish.order not in ORDERS:
        raise PlanError(f"no order {wish.order!r}; use {', '.join(ORDERS)}")
    if wish.kind and wish.kind not in BEST:
        raise PlanError(f"no kind {wish.kind!r} of deliverable; use {', '.join(BEST)}")
    if what == "csv" and (wish.latest or wish.kind):
        raise PlanError("--latest and --kind are for versions: csv is the shot list, what was asked for")
    if what in ("versions", "disclosure") and wish.latest:
        raise PlanError(f"--latest is for otio and edl: {what} tells of all versions")
    if what == "disclosure" and wish.kind:
        raise PlanError("--kind is for otio, edl and versions: a disclosure names every file")


def _lists(shots: Sequence[Shot], wish: Wish, settings: Settings) -> dict[str, Any]:
    """The shot list, as `submit` takes it: several files where one would be too long."""
    root = settings.plates.resolve() if settings.plates else None
    if wish.order == "code":
        shots = sorted(shots, key=lambda shot: (shot.show, shot.sequence, shot.code))
    parts = list(shot_lists(shots, root))
    stem = f"{_prefix([shot.show for shot in shots], wish)}shots"
    names = [f"{stem}.csv"] if len(parts) == 1 else [f"{stem}-{number:02d}.csv" for number in range(1, len(parts) + 1)]
    paths = targets(wish.out, names, endings=(".csv",), what="a shot list")
    # a byte order mark, because Excel takes a CSV without one for cp1252
    texts = {path: "\ufeff" + part.text for path, part in zip(paths, parts, strict=True)}
    write_files(texts, overwrite=wish.overwrite)
    return {
        "what": "csv",
        "files": [{"path": str(path), "shots": part.shots} for path, part in zip(paths, parts, strict=True)],
        "notices": _list_notices(shots, paths[0].parent, root),
    }


def _list_notices(shots: Sequence[Shot], folder: Path, root: Path | None) -> list[str]:
    """What whoever submits the list has to know."""
    notices = []
    below = root or folder.resolve()
    stills = {Path(still.path) for shot in shots for still in shot.stills}
    if any(not still.is_relative_to(below) for still in stills):
        common = os.path.commonpath([still.parent for still in stills])
        notices.append(f"its plates lie below {common}; submit the list where DAILIES_PLATES is that folder")
    lost = sorted({name for shot in shots for name in lost_cells(shot)})
    if lost:
        notices.append(f"metadata that bears the name of a column is left out: {', '.join(lost)}")
    return notices


def _versions(shots: Sequence[ShotVersions], wish: Wish) -> dict[str, Any]:
    [path] = targets(wish.out, [f"{_named(shots, wish)}versions.csv"], endings=(".csv",), what="a list of versions")
    # a byte order mark, because Excel takes a CSV without one for cp1252
    write_files({path: "\ufeff" + version_list(shots, kind=wish.kind)}, overwrite=wish.overwrite)
    return {
        "what": "versions",
        "files": [{"path": str(path), "shots": len(shots), "versions": sum(len(one.versions) for one in shots)}],
        "notices": [],
    }


def _named(shots: Sequence[ShotVersions], wish: Wish) -> str:
    """What the name of a list begins with: `AGM_SQ010_`, or nothing where it is of several shows."""
    return _prefix([one.shot.show for one in shots], wish)


def _prefix(named: Sequence[str], wish: Wish) -> str:
    shows = list(dict.fromkeys(named))
    return "".join(f"{part}_" for part in (shows[0] if len(shows) == 1 else "", wish.sequence) if part)


def _disclosure(shots: Sequence[ShotVersions], wish: Wish, settings: Settings) -> dict[str, Any]:
    told = [_told(version) for one in shots for version in one.versions if version.take.status in PUBLISHED]
    if not told:
        raise PlanError(f"none of {len(shots)} shots has a published version to disclose; render some first")
    licences = Licences(
        models={name: card.licence for name, card in cards_with(settings.weights).items()},
        loras={name: card.licence for name, card in lora_cards(settings.weights).items()},
        interpolators={name: card.licence for name, card in interpolator_cards(settings.weights).items()},
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made_by = f"Dailies {installed('dailies')}"
    roots = [root for root in (settings.plates, settings.deliveries) if root]
    document = disclosure(told, licences=licences, made_by=made_by, written=now, roots=roots)
    name = f"{_named(shots, wish)}disclosure"
    paths = targets(wish.out, [f"{name}.json", f"{name}.md"], endings=(".json", ".md"), what="a disclosure", both=True)
    texts = {".json": json.dumps(document, indent=2, ensure_ascii=False) + "\n", ".md": disclosure_page(document)}
    write_files({path: texts[path.suffix.lower()] for path in paths}, overwrite=wish.overwrite)
    return {
        "what": "disclosure",
        "files": [{"path": str(path), "versions": len(document["versions"])} for path in paths],
        "without_manifest": document["without_manifest"],
        "notices": [f"{one['slate']}: {one['why']}" for one in document["without_manifest"]],
    }


def _told(version: Version) -> Told:
    take = version.take
    name = slate_of(version)
    if take.manifest is None:
        return Told(name, take.status.value, None, "the catalogue names no manifest for it")
    try:
        manifest = read_manifest(take.manifest)
    except MediaError as error:
        return Told(name, take.status.value, None, str(error))
    if manifest.slate != name:
        return Told(name, take.status.value, None, f"{take.manifest} is the manifest of {manifest.slate}")
    return Told(name, take.status.value, manifest)


def _cuts(what: str, shots: Sequence[ShotVersions], wish: Wish) -> dict[str, Any]:
    made = cuts(shots, latest=wish.latest, kind=wish.kind, order=wish.order)
    entries = [entry for cut in made for entry in cut.entries]
    if not any(entry.version for entry in entries):
        remedy = "approve some" if wish.latest else "approve some, or take the newest published ones with --latest"
        why = "; ".join(sorted({entry.why for entry in entries})) or "all of them are omitted"
        raise PlanError(f"none of {len(shots)} shots has a version to cut with ({why}); {remedy}")
    known, unread = _provenance(entries)
    paths = targets(wish.out, [f"{cut.name}.{what}" for cut in made], endings=(f".{what}",), what=f"an {what} file")
    if twice := {str(path) for path in paths if [str(one).casefold() for one in paths].count(str(path).casefold()) > 1}:
        raise PlanError(
            f"two cuts would have the name {min(twice)}, for show and sequence together read alike; "
            "export them apart, with --show or --sequence"
        )
    texts = [edl(cut, provenance=known) if what == "edl" else _otio(cut, known) for cut in made]
    write_files(dict(zip(paths, texts, strict=True)), overwrite=wish.overwrite)
    return {
        "what": what,
        "files": [_file(path, cut) for path, cut in zip(paths, made, strict=True)],
        "gaps": [{"shot": entry.shot.name, "why": entry.why} for entry in entries if entry.version is None],
        "omitted": [one.shot.name for one in shots if one.status is Status.OMITTED],
        "notices": [*_notices(entries), *unread],
    }


def _otio(cut: Cut, known: Mapping[str, Mapping[str, Any]]) -> str:
    from opentimelineio import adapters

    return f"{adapters.write_to_string(timeline(cut, provenance=known), adapter_name='otio_json')}\n"


def _provenance(entries: Sequence[Entry]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """By slate what the manifests say, and a sentence for each that cannot be read."""
    known: dict[str, Mapping[str, Any]] = {}
    unread = []
    for entry in entries:
        if entry.version is None or entry.version.take.manifest is None:
            continue
        try:
            known[entry.slate] = provenance(read_manifest(entry.version.take.manifest))
        except MediaError as error:
            unread.append(f"{entry.slate}: its provenance is left out: {error}")
    return known, unread


def _notices(entries: Sequence[Entry]) -> list[str]:
    """What an editor must know: files that are gone, versions of another length than is asked for by now."""
    said = []
    for entry in entries:
        if entry.version is None or entry.deliverable is None:
            continue
        if not entry.deliverable.path.exists():
            said.append(f"{entry.slate}: {entry.deliverable.path} is not there; the clip will be offline")
        if (entry.frames, entry.rate) != (entry.shot.frames, entry.shot.rate):
            now = f"{entry.shot.frames} frames at {rate_text(entry.shot.rate)}"
            then = f"{entry.frames} at {rate_text(entry.rate)}"
            said.append(f"{entry.slate} has {then}, and {now} are asked for since; the clip is as it was made")
    return said


def _file(path: Path, cut: Cut) -> dict[str, Any]:
    return {
        "path": str(path),
        "show": cut.show,
        "sequence": cut.sequence,
        "clips": sum(entry.version is not None for entry in cut.entries),
        "gaps": sum(entry.version is None for entry in cut.entries),
        "rates": [rate_text(rate) for rate in cut.rates],
        "frames": sum(entry.frames for entry in cut.entries) if len(cut.rates) == 1 else None,
    }
