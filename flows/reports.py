"""What a run says about each shot: the public JSON of `render --json`, made in one place. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalogs.footage import Status
from tasks.plan import TakePlan


def report(
    plan: TakePlan,
    *,
    status: Status,
    error: str = "",
    deliverables: Sequence[Mapping[str, Any]] = (),
    manifest: Path | None = None,
    seconds: Mapping[str, float] | None = None,
    findings: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A shot's entry; `seconds` names only the steps that ran now, `findings` are those of footage that was published
    now. Paths are absolute."""
    return {
        "slate": plan.slate,
        "show": plan.shot.show,
        "shot": plan.shot.code,
        "version": plan.version,
        "status": status.value,
        "error": error,
        "deliverables": [dict(deliverable) for deliverable in deliverables],
        "manifest": str(manifest) if manifest else None,
        "seconds": dict(seconds or {}),
        "findings": [dict(finding) for finding in findings],
    }


def bare_report(name: str, *, error: str, status: Status = Status.FAILED) -> dict[str, Any]:
    """The entry of a shot (`SHOW/CODE`) that has no plan to speak of."""
    show, _, code = name.rpartition("/")
    return {
        "slate": name,
        "show": show,
        "shot": code,
        "version": 0,
        "status": status.value,
        "error": error,
        "deliverables": [],
        "manifest": None,
        "seconds": {},
        "findings": [],
    }
