"""`dailies export`: timelines, edit lists, shot lists, versions, disclosures. Parse, call, print; nothing heavy early.

Exit codes: 0 written; 2 bad input, nothing written; 3 the catalogue cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def export(
    what: Annotated[str, typer.Argument(metavar="otio|edl|csv|versions|disclosure", help="What to write.")],
    show: Annotated[str | None, typer.Option(help="Only this show.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Only this sequence; _ for the shots that have none.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File or folder to write; default the current folder.")
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="Newest published versions; default newest approved ones.")
    ] = False,
    kind: Annotated[str, typer.Option(help="Which deliverable: prores, h265 ...; default the best there is.")] = "",
    order: Annotated[str, typer.Option(help="Of the cut: list (as submitted) or code.")] = "list",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")] = False,
) -> None:
    """Timelines and edit lists for editors, shot lists and versions for coordinators, disclosures for clients."""
    from desk import show as view
    from flows import exporting
    from flows.settings import Settings

    wish = exporting.Wish(show, sequence, latest=latest, kind=kind, order=order, out=out, overwrite=overwrite)
    document = exporting.export(what, wish, Settings.read())
    if as_json:
        view.document(document)
    else:
        told(document)


def told(document: Mapping[str, Any]) -> None:
    """Which files there are now, on stdout; what an editor must know of them, on stderr."""
    from desk.show import OUT, counted, say

    for file in document["files"]:
        counts = [
            counted(file[name], name.removesuffix("s"))
            for name in ("clips", "gaps", "shots", "versions")
            if file.get(name)
        ]
        say(f"{file['path']}: {', '.join(counts) or 'nothing in it'}", on=OUT)
    for gap in document.get("gaps", []):
        say(f"{gap['shot']} is a gap: {gap['why']}", "yellow")
    if document.get("omitted"):
        say(f"Left out: {counted(len(document['omitted']), 'omitted shot')}.")
    for notice in document["notices"]:
        say(notice, "yellow")
