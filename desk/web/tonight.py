"""Tonight: shots by status, who is at what, when it should be over; live, from one look for all who watch.

Knows: the document of `dailies status --json`. Does not know: how it came about, how it looks.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from jinja2 import Environment
from starlette.responses import Response, StreamingResponse

from catalogs.footage import Status
from desk.web import views
from desk.web.access import Visitor
from desk.web.live import Live
from desk.web.pages import render
from desk.web.review import Show
from flows import planning
from flows.settings import Settings
from tasks.admission import duration
from tasks.morning_page import brief

SILENT: Final = 60
"""Seconds without a sign of life, six beats, after which it is said."""
_STATES: Final[Mapping[str, str]] = {"interrupted": "interrupted; the next night, or `dailies render`, continues it"}
_MOST: Final = 100  # lines of one table; the grid has them all


def tonight_routes(
    settings: Settings, templates: Environment, *, seeing: Callable[..., Visitor], show: Show
) -> APIRouter:
    """The page and its events, for whoever `seeing` lets in."""
    routes = APIRouter()

    def now() -> str:
        return render(templates, "tonight_now.html", tonight(planning.standing(settings)))

    live = Live(now)

    @routes.get("/tonight", name="tonight")
    def page(request: Request, visitor: Annotated[Visitor, Depends(seeing)]) -> Response:
        """What stands now; a script keeps it so."""
        return show(request, visitor, "tonight.html", tonight(planning.standing(settings)))

    @routes.get("/tonight/events", name="events")
    async def events(visitor: Annotated[Visitor, Depends(seeing)]) -> Response:
        """Every change, as server-sent events."""
        del visitor
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(live.follow(), media_type="text/event-stream", headers=headers)

    return routes


def tonight(standing: Mapping[str, Any]) -> dict[str, Any]:
    """The document of `dailies status --json` as templates show it."""
    zone, night = standing["night"]["zone"], standing["night"]
    batch, last = standing["batch"], standing["last_batch"]
    return {
        "counts": [
            {"status": name, "count": count, "address": views.filter_address({"status": name, "night": views.ALL})}
            for name, count in standing["shots"].items()
            if count
        ],
        "ready": standing["shots"].get(Status.READY.value, 0),
        "batch": _batch(batch, house=standing["house"], zone=zone) if batch else None,
        "by_hand": [
            {**_named(one["shot"]), "state": _STATES.get(one["state"], one["state"])}
            for one in standing["rendering"][:_MOST]
            if not batch or one["shot"] not in {shot["shot"] for shot in batch["shots"]}
        ],
        "wrong": [
            {**_named(one["shot"]), "status": status, "why": brief(one["error"])}
            for status in ("quarantined", "failed")
            for one in standing[status][:_MOST]
        ],
        "last": {
            "name": last["batch"] or "by hand",
            "address": views.filter_address({"night": last["batch"]}) if last["batch"] else "",
            "words": last["summary"] or f"{views.plural(last['shots'], 'shot')}, {last['failed']} failed",
            "took": duration(last["seconds"]),
            "ended": _clock(last["finished"], zone),
        }
        if last
        else None,
        "house": standing["house"] or "",
        "night": {"open": night["open"], "begins": _clock(night["begins"], zone), "ends": _clock(night["ends"], zone)},
        "zone": zone,
    }


def _batch(batch: Mapping[str, Any], *, house: str | None, zone: str) -> dict[str, Any]:
    counts = batch["counts"]
    total = max(batch["total"], sum(counts.values()))
    late = batch["until"] and batch["ends_about"] and batch["ends_about"] > batch["until"]
    return {
        "name": batch["batch"],
        "address": views.filter_address({"night": batch["batch"]}),
        "status": batch["status"],
        "done": counts.get("done", 0),
        "total": total,
        "words": ", ".join(f"{count} {status}" for status, count in counts.items()) or "no shot was handed out yet",
        "until": _clock(batch["until"], zone) if batch["until"] else "",
        "ends_about": _clock(batch["ends_about"], zone) if batch["ends_about"] else "",
        "late": bool(late),
        "runs": [
            {
                "worker": run["worker"].partition(",")[0],
                "said": run["said"] or run["name"],
                "silent": duration(run["silent_seconds"]) if run["silent_seconds"] > SILENT else "",
            }
            for run in batch["runs"]
        ],
        "shots": [
            {
                **_named(one["shot"]),
                "status": one["status"],
                "stage": one["stage"],
                "run": f"{house}/runs/flow-run/{one['flow_run']}" if house and one["flow_run"] else "",
            }
            for one in batch["shots"][:_MOST]
        ],
        "more": max(0, len(batch["shots"]) - _MOST),
    }


def _named(shot: str) -> dict[str, str]:
    return {"shot": shot, "address": views.shot_address(shot)}


def _clock(at: str, zone: str) -> str:
    return views.moment(datetime.fromisoformat(at), zone)
