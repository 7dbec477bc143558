"""Verdicts for the command line and the page: what was typed, held against the shots' models. Never imports Prefect.

Knows: the catalogue, the rules of models, the documents of the commands. Does not know: which verdict is legal
(catalogs.verdict), how anything is shown. Memory: the shots judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from catalogs.changes import Change, read_changes
from catalogs.footage import Severity
from catalogs.problems import Complaint
from catalogs.shot import Shot
from catalogs.store import open_catalogue
from catalogs.verdict import Decision, Ruling, Target, Verdict
from catalogs.verdicts import History
from catalogs.versions import Version
from flows.lists import rules
from flows.settings import Settings
from tasks.cut import slate_of


def decide(
    decision: Decision,
    targets: Sequence[Target | str],
    settings: Settings,
    *,
    by: str,
    note: str = "",
    changes: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> list[Ruling]:
    """Judge all these shots, or none. `changes` are for a retake: fields of RETAKEABLE as text, empty for the default.

    Raises VerdictError, UnknownShotError and AmbiguousShotError; nothing was then decided.
    """
    read = read_changes(changes or {})
    with open_catalogue(settings.database_url) as catalogue:
        verdicts = catalogue.verdicts
        if decision is Decision.RETAKE:
            models = rules(settings, show=None).models

            def judge(shot: Shot) -> Sequence[Complaint]:
                known = models.get(shot.model)
                if known is None:
                    return [Complaint("E315", "model", {"names": ", ".join(models)})]
                wordless = known.needs_prompt and not shot.prompt
                return [*([Complaint("E322", "prompt", {"model": shot.model})] if wordless else []), *known.judge(shot)]

            return verdicts.retake(targets, read, by=by, note=note, judge=judge, dry_run=dry_run)
        rule = {
            Decision.APPROVE: verdicts.approve,
            Decision.OMIT: verdicts.omit,
            Decision.UNDO: verdicts.undo,
        }[decision]
        return rule(targets, by=by, note=note, dry_run=dry_run)


def histories(names: Sequence[str], settings: Settings) -> list[History]:
    """What became of these shots. Raises UnknownShotError and AmbiguousShotError."""
    with open_catalogue(settings.database_url) as catalogue:
        return [catalogue.verdicts.history(name) for name in names]


def rulings_json(decision: Decision, rulings: Sequence[Ruling], *, by: str, note: str, dry_run: bool) -> dict[str, Any]:
    """The document of `dailies approve --json` and its like."""
    return {
        "decision": decision.value,
        "by": by,
        "note": note,
        "dry_run": dry_run,
        "shots": [
            {
                **_named(one.shot),
                "slate": one.slate,
                "version": one.version,
                "before": one.before.value,
                "after": one.after.value,
                "changed": one.changed,
                "changes": _changes(one.changes),
                "undoes": one.undoes.value if one.undoes else None,
                "notices": list(one.notices),
            }
            for one in rulings
        ],
    }


def history_json(history: History) -> dict[str, Any]:
    """One shot of the document of `dailies history --json`."""
    return {
        **_named(history.shot.name),
        "status": history.status.value,
        "error": history.error,
        "revision": history.revision,
        "retaken": [{"field": one.field, "listed": one.old, "now": one.new} for one in history.retaken],
        "versions": [_version(one) for one in history.versions],
        "verdicts": [_verdict(one) for one in history.verdicts],
    }


def _version(version: Version) -> dict[str, Any]:
    take = version.take
    grave = [finding.severity for finding in take.findings]
    return {
        "version": take.version,
        "slate": slate_of(version),
        "status": take.status.value,
        "error": take.error,
        "started": _time(version.started),
        "finished": _time(version.finished) if version.finished else None,
        "blockers": grave.count(Severity.BLOCKER),
        "issues": grave.count(Severity.ISSUE),
        "manifest": _path(take.manifest),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "decision": verdict.decision.value,
        "version": verdict.version,
        "by": verdict.by,
        "at": _time(verdict.at),
        "note": verdict.note,
        "changes": _changes(verdict.changes),
        "before": verdict.before.value,
        "after": verdict.after.value,
        "undone": verdict.undone,
        "undoes": verdict.undoes.value if verdict.undoes else None,
    }


def _changes(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [{"field": one.field, "old": one.old, "new": one.new} for one in changes]


def _named(name: str) -> dict[str, str]:
    show, _, code = name.partition("/")
    return {"show": show, "shot": code}


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
