"""`dailies approve`, `omit`, `retake`, `undo`, `history`: what supervisors decide. Parse, call, print.

Exit codes: 0 decided; 2 some shot may not be judged so, and nothing was decided; 3 the catalogue cannot be used.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from catalogs.changes import Change
    from catalogs.verdict import Decision, Ruling, Verdict
    from catalogs.verdicts import History

Shots = Annotated[
    list[str],
    typer.Argument(metavar="SHOT...", help="SHOW/CODE, CODE where unique, or a slate, which names the version too."),
]
By = Annotated[str, typer.Option(metavar="NAME", help="Who decides; default the login name.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the verdict.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be decided, decide nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]


def approve(
    shots: Shots,
    version: Annotated[
        int | None, typer.Option(metavar="N", help="The published version to approve; default the newest.")
    ] = None,
    by: By = "",
    note: Note = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Approve shots: cuts show this version, and no night takes them up. All of them or none."""
    from catalogs.verdict import Decision, Target

    targets = [Target(name, version) for name in shots]
    _decide(Decision.APPROVE, targets, by=by, note=note, dry_run=dry_run, as_json=as_json)


def omit(shots: Shots, by: By = "", note: Note = "", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Take shots out of nights and cuts; a render of one ends. Nothing is deleted, and `undo` brings them back."""
    from catalogs.verdict import Decision, Target

    targets = [Target(name) for name in shots]
    _decide(Decision.OMIT, targets, by=by, note=note, dry_run=dry_run, as_json=as_json)


def retake(
    shots: Shots,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="What should happen instead.")] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help='What should not; "" for the model\'s own.')
    ] = None,
    camera: Annotated[str | None, typer.Option(metavar="MOVE", help='The camera move; "" for none asked for.')] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help='Another seed; "" for that of the shot\'s name.')
    ] = None,
    steps: Annotated[str | None, typer.Option(metavar="N", help='Denoising steps; "" for the model\'s own.')] = None,
    guidance: Annotated[str | None, typer.Option(metavar="G", help='Guidance; "" for the model\'s own.')] = None,
    by: By = "",
    note: Note = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send the newest version back: the next night makes another, with these changes, else with a new seed."""
    from catalogs.verdict import Decision, Target

    typed = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "camera": camera,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
    }
    changes = {name: text for name, text in typed.items() if text is not None}
    targets = [Target(name) for name in shots]
    _decide(Decision.RETAKE, targets, by=by, note=note, dry_run=dry_run, as_json=as_json, changes=changes)


def undo(shots: Shots, by: By = "", note: Note = "", dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Take back the last verdict on each shot; once more takes back the one before it."""
    from catalogs.verdict import Decision, Target

    targets = [Target(name) for name in shots]
    _decide(Decision.UNDO, targets, by=by, note=note, dry_run=dry_run, as_json=as_json)


def history(shots: Shots, as_json: AsJson = False) -> None:
    """What became of shots: their versions, and who decided what and when."""
    from desk import show
    from flows import verdicts
    from flows.settings import Settings

    found = verdicts.histories(shots, Settings.read())
    if as_json:
        show.document({"shots": [verdicts.history_json(one) for one in found]})
        return
    for one in found:
        _told(one)


def _decide(
    decision: Decision,
    targets: Sequence[Any],
    *,
    by: str,
    note: str,
    dry_run: bool,
    as_json: bool,
    changes: Mapping[str, str] | None = None,
) -> None:
    from desk import show
    from flows import verdicts
    from flows.settings import Settings

    who = by or login()
    found = verdicts.decide(decision, targets, Settings.read(), by=who, note=note, changes=changes, dry_run=dry_run)
    if as_json:
        show.document(verdicts.rulings_json(decision, found, by=who, note=note, dry_run=dry_run))
        return
    for one in found:
        show.say(ruled(one, dry_run=dry_run), on=show.OUT)
        for notice in one.notices:
            show.say(f"{one.shot}: {notice}", "yellow")


def login() -> str:
    """The login name; empty where the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return ""


_NOUNS = {"approve": "approval", "omit": "omission", "retake": "retake"}


def ruled(one: Ruling, *, dry_run: bool = False) -> str:
    """`AGM_SQ010_SH0010_v001: approved; it was review`, as a sentence for every decision."""
    if not one.changed:
        return f"{one.slate}: {one.before} already"
    changed = "; ".join(change_words(change) for change in one.changes)
    stood = f"it {'is' if dry_run else 'was'} {one.before}"
    what = {
        "approve": "approved",
        "omit": "omitted",
        "retake": "sent back, the shot is ready for another take",
        "undo": f"the {_NOUNS.get(str(one.undoes), '')} is taken back, the shot is {one.after}",
    }[one.decision.value]
    would = "would be " if dry_run and one.decision.value != "undo" else ""
    return f"{one.slate}: {would}{what}{f' ({changed})' if changed else ''}; {stood}"


def change_words(change: Change) -> str:
    """`prompt 'a boat' -> 'two boats'`; what is not set is the default."""
    old, new = ("default" if one in (None, "") else repr(one) for one in (change.old, change.new))
    return f"{change.field.replace('_', ' ')} {old} -> {new}"


def _told(history: History) -> None:
    """Versions and verdicts of a shot, in the order of time."""
    from desk.show import OUT, print_rows, say

    say(f"{history.shot.name} is {history.status}{f': {history.error}' if history.error else ''}", on=OUT)
    for one in history.retaken:
        say(f"  {change_words(one)}: a retake's, the list says the first", on=OUT)
    rows = [
        (one.finished or one.started, f"v{one.take.version:03d}", _made(one), "", one.take.error)
        for one in history.versions
    ]
    rows += [
        (one.at, f"v{one.version:03d}" if one.version else "", _decided(one), one.by, one.note)
        for one in history.verdicts
    ]
    rows.sort(key=lambda row: row[0])
    if rows:
        print_rows(
            ("when", "take", "what", "by", "note"),
            [(f"{at.astimezone():%Y-%m-%d %H:%M}", *words) for at, *words in rows],
        )


def _made(version: Any) -> str:
    found = len(version.take.findings)
    return f"{'made' if version.finished else 'begun'}, {version.take.status} now" + (
        f", {found} finding{'' if found == 1 else 's'}" if found else ""
    )


def _decided(verdict: Verdict) -> str:
    what = f"undo of the {_NOUNS[verdict.undoes]}" if verdict.undoes else verdict.decision.value
    changed = "; ".join(change_words(change) for change in verdict.changes)
    return f"{what}{f' ({changed})' if changed else ''}{', taken back since' if verdict.undone else ''}"
