"""`dailies clean`: what may be deleted from the disk. Parse, call, print, exit code; nothing heavy imported early.

Exit codes: 0 all well; 1 something could not be deleted; 2 bad input; 3 the catalogue cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

WHAT: Final = {
    "published": "work of shots that are published",
    "omitted": "work of omitted shots",
    "attempts": "left by attempts that ended",
    "evidence": "last words of processes",
}
"""What the kinds of `tasks.clean` are for people."""


def clean(
    yes: Annotated[bool, typer.Option("--yes/--dry-run", help="Delete it; without, it is only said.")] = False,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", help="Only what nothing was written to for so long.")
    ] = 7.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")] = False,
) -> None:
    """Delete work that nothing needs any more: of published and omitted shots, of attempts that ended. Keeps the rest.

    Nothing published is touched, and no work of a shot that is ready, rendering, retake, failed or quarantined.
    """
    from desk import show
    from flows import cleaning
    from flows.settings import Settings

    found = cleaning.clean(Settings.read(), days=older_than, apply=yes)
    if as_json:
        show.document(found)
    else:
        told(found)
    raise typer.Exit(1 if found["left"] else 0)


def told(found: Mapping[str, Any]) -> None:
    """What goes, what that costs, what stays and why."""
    from desk.show import OUT, counted, print_rows, say
    from tasks.admission import duration

    kinds = {kind: entry for kind, entry in found["kinds"].items() if entry["count"]}
    if kinds:
        rows = [
            (WHAT[kind], str(entry["count"]), str(len(entry["shots"]) or ""), gigabytes(entry["bytes"]))
            for kind, entry in kinds.items()
        ]
        print_rows(("what", "pieces>", "shots>", "size>"), rows)
    size = gigabytes(found["bytes"])
    done = f"{size} would be freed; with `--yes` it is deleted" if found["dry_run"] else f"{size} freed"
    nothing = f"Nothing to delete that is older than {found['older_than_days']:g} days"
    say(f"{done if kinds else nothing}. {gigabytes(found['free_bytes'])} of the disk are free.", on=OUT)
    if found["kinds"]["published"]["count"]:
        took = duration(found["generate_seconds"])
        say(
            f"What is published stays as it is. The windows among it took {took} to make: a retake of these shots that "
            "could have used them makes them anew.",
            on=OUT,
        )
    for entry in found["kept"]:
        say(f"Stays: {counted(entry['count'], 'piece')}, {gigabytes(entry['bytes'])}: {entry['why']}.", on=OUT)
    for path in found["left"]:
        say(f"{path} stayed: somebody came to need it, or it could not be deleted", "yellow")


def gigabytes(size: int) -> str:
    """`3.21 GB`, `12 MB`, `0 MB`."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
