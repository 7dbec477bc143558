"""What leaves for editors and coordinators: timelines, edit lists, lists of versions. Never imports Prefect.

Knows: the catalogue, the manifests that it names, where files go. Does not know: what a timeline or a list looks like
(tasks.timeline, tasks.edl, tasks.version_list). Reads and never changes the catalogue. Memory: the show's versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Status
from catalogs.store import open_catalogue
from catalogs.timebase import rate_text
from catalogs.versions import ShotVersions
from flows.settings import Settings
from tasks.cut import BEST, ORDERS, Cut, Entry, cuts
from tasks.edl import edl
from tasks.errors import MediaError, PlanError
from tasks.export import targets, write_files
from tasks.manifests import provenance, read_manifest
from tasks.timeline import timeline
from tasks.version_list import version_list

WHAT: Final = ("otio", "edl", "csv")
"""What can be exported."""


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
        shots = catalogue.versions(show=wish.show, sequence=wish.sequence)
    if not shots:
        raise PlanError("the catalogue has no shots; submit a shot list first")
    return _versions(shots, wish) if what == "csv" else _cuts(what, shots, wish)


def _check(what: str, wish: Wish) -> None:
    if what not in WHAT:
        raise PlanError(f"no export {what!r}; use {', '.join(WHAT)}")
    if wish.order not in ORDERS:
        raise PlanError(f"no order {wish.order!r}; use {', '.join(ORDERS)}")
    if wish.kind and wish.kind not in BEST:
        raise PlanError(f"no kind {wish.kind!r} of deliverable; use {', '.join(BEST)}")
    if what == "csv" and wish.latest:
        raise PlanError("--latest is for otio and edl: a list of versions has all of them")


def _versions(shots: Sequence[ShotVersions], wish: Wish) -> dict[str, Any]:
    shows = dict.fromkeys(one.shot.show for one in shots)
    name = "_".join([*(shows if len(shows) == 1 else ()), *([wish.sequence] if wish.sequence else ()), "versions.csv"])
    [path] = targets(wish.out, [name], endings=(".csv",), what="a list of versions")
    # a byte order mark, because Excel takes a CSV without one for cp1252
    write_files({path: "\ufeff" + version_list(shots, kind=wish.kind)}, overwrite=wish.overwrite)
    return {
        "what": "csv",
        "files": [{"path": str(path), "shots": len(shots), "versions": sum(len(one.versions) for one in shots)}],
        "notices": [],
    }


def _cuts(what: str, shots: Sequence[ShotVersions], wish: Wish) -> dict[str, Any]:
    made = cuts(shots, latest=wish.latest, kind=wish.kind, order=wish.order)
    entries = [entry for cut in made for entry in cut.entries]
    if not any(entry.version for entry in entries):
        remedy = "approve some" if wish.latest else "approve some, or take the newest published ones with --latest"
        why = "; ".join(sorted({entry.why for entry in entries})) or "all of them are omitted"
        raise PlanError(f"none of {len(shots)} shots has a version to cut with ({why}); {remedy}")
    known, unread = _provenance(entries)
    paths = targets(wish.out, [f"{cut.name}.{what}" for cut in made], endings=(f".{what}",), what=f"an {what} file")
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
