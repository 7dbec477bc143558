"""`dailies`: parse, build Settings, call, print, exit code. No decisions, and nothing heavy imported early.

Exit codes: 0 all well; 1 some shot failed, the rest are done; 2 bad input, nothing changed; 3 this machine is not
ready.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from desk.clean_cli import clean
from desk.desk_cli import desk, people
from desk.encode_cli import encode
from desk.export_cli import export
from desk.inspect_cli import inspect
from desk.retime_cli import retime
from desk.submit_cli import submit
from desk.verdict_cli import approve, history, omit, retake, undo
from desk.weights_cli import app as weights_app

if TYPE_CHECKING:
    from flows.settings import Settings

app = typer.Typer(
    name="dailies",
    help="Shot lists in, finished deliverables out, overnight.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ALL_WELL, SOME_FAILED, BAD_INPUT, NOT_READY = 0, 1, 2, 3
PAGE = 1000
"""Shots that `dailies shots` lists where nobody says how many."""
SIGNALLED = 128  # and the signal's number: what a shell reports; 130 for Ctrl-C, 143 for SIGTERM

app.add_typer(weights_app, name="weights")
app.command()(submit)
app.add_typer(people, name="people")
app.command()(clean)
app.command()(desk)
app.command()(export)
app.command()(retime)
app.command()(encode)
app.command()(inspect)
for verdict in (approve, omit, retake, undo, history):
    app.command()(verdict)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Shots = Annotated[
    list[str] | None, typer.Argument(metavar="[SHOT]...", help="SHOW/CODE, CODE where unique, or a slate.")
]
Show = Annotated[str | None, typer.Option(help="Only this show.")]
Named = Annotated[
    list[str],
    typer.Argument(metavar="SHOT...", help="SHOW/CODE, CODE where unique, or a slate: AGM_SQ010_SH0010_v001."),
]
Profile = Annotated[str, typer.Option(help="exact, fast or draft: how fast a model runs, at what price in pixels.")]
AllowSmaller = Annotated[
    bool, typer.Option("--allow-smaller", help="Where a model does not fit, make fewer pixels and scale them up.")
]
Until = Annotated[
    str, typer.Option(help="With --night: its end, HH:MM or an ISO time; default the configured window's.")
]
RequireRife = Annotated[bool, typer.Option("--require-rife", help="Refuse to retime with anything but RIFE.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no step lines.")] = False,
) -> None:
    """Shot lists in, finished deliverables out, overnight."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dailies").setLevel(logging.ERROR if quiet else logging.INFO)


@app.command()
def shots(
    status: Annotated[str | None, typer.Option(help="Only shots with this status.")] = None,
    show: Show = None,
    limit: Annotated[int, typer.Option(help="How many at most; 0 for all.")] = PAGE,
    after: Annotated[str | None, typer.Option(metavar="SHOT", help="Only what comes behind this shot.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the catalogue's shots, in the order in which they are rendered."""
    from catalogs.footage import Status
    from catalogs.store import open_catalogue
    from desk import show as view

    if status is not None and status not in tuple(Status):
        _stop(f"no status {status!r}; use {', '.join(Status)}", BAD_INPUT)
    if limit < 0:
        _stop(f"--limit is {limit}; use 1 or more, or 0 for all", BAD_INPUT)
    wanted = Status(status) if status else None
    with open_catalogue(_settings().database_url) as catalogue:
        records = catalogue.shots(show=show, status=wanted, limit=limit + 1 if limit else None, after=after)
        counts = catalogue.counts(show=show)
    total = counts[wanted] if wanted else sum(counts.values())
    more = bool(limit) and len(records) > limit
    view.shots(records[:limit] if more else records, as_json=as_json, total=total, more=more, status=status, show=show)


@app.command()
def plan(
    shots: Shots = None,
    night: Annotated[bool, typer.Option("--night", help="Plan the night: reels, workers, what has no room.")] = False,
    until: Until = "",
    workers: Annotated[int, typer.Option(help="With --night: GPU workers; default one for each GPU here.")] = 0,
    profile: Profile = "exact",
    allow_smaller: AllowSmaller = False,
    require_rife: RequireRife = False,
    as_json: AsJson = False,
) -> None:
    """Say what rendering would do: windows, frames, model, memory, disk, time. Starts no engine."""
    from desk import plan_view
    from flows import planning

    if night:
        _plan_night(
            shots, until=until, workers=workers, as_json=as_json, wishes=_wishes(profile, allow_smaller, require_rife)
        )
        return
    for option, given in (("--until", until), ("--workers", workers)):
        if given:
            _stop(f"{option} is for a night; add --night, or leave {option} out", BAD_INPUT)
    document = planning.dry_run(
        _settings(), shots or [], require_rife=require_rife, profile=profile, allow_smaller=allow_smaller
    )
    plan_view.plans(document, as_json=as_json)
    raise typer.Exit(BAD_INPUT if document["errors"] else ALL_WELL)


@app.command()
def render(
    shots: Shots = None,
    profile: Profile = "exact",
    allow_smaller: AllowSmaller = False,
    require_rife: RequireRife = False,
    as_json: AsJson = False,
) -> None:
    """Render now, on this machine. Without SHOT: every shot that is ready, failed or was interrupted."""
    from desk import show as view
    from flows import planning
    from flows.prefect_server import prefect_server

    settings = _settings()
    names = planning.names_to_render(settings, shots or [], require_rife=require_rife, profile=profile)
    if not names:
        view.nothing_to_render(as_json=as_json)
        return
    try:
        with view.progress(len(names)), prefect_server(settings):
            from flows.render import run_batch

            document = run_batch(names, require_rife=require_rife, profile=profile, allow_smaller=allow_smaller)
    except KeyboardInterrupt:
        from tasks.stopping import STOPPING

        # windows have saved their checkpoints; other steps run in threads that cannot be interrupted: whatever is
        # unfinished is found again by the next render, and every program that we started dies with us
        view.interrupted()
        os._exit(SIGNALLED + STOPPING.signal)
    view.rendered(document, as_json=as_json)
    raise typer.Exit(SOME_FAILED if any(shot["error"] for shot in document["shots"]) else ALL_WELL)


@app.command()
def night(
    context: typer.Context,
    until: Annotated[str, typer.Option(help="End the batch at HH:MM or an ISO time; default when all is done.")] = "",
    stop: Annotated[
        bool, typer.Option("--stop", help="End the batch that is at work: save windows, release the rest.")
    ] = False,
    profile: Profile = "exact",
    allow_smaller: AllowSmaller = False,
    require_rife: RequireRife = False,
    as_json: AsJson = False,
) -> None:
    """Tonight's batch now: what the schedule runs. Ctrl-C ends it, and keeps what is finished."""
    from desk import night_view, show
    from flows import evening

    settings, interrupted = _settings(), False
    wishes = _wishes(profile, allow_smaller, require_rife)
    asked = [name for name in ("until", *wishes) if _is_given(context, name)]
    try:
        if stop:
            report = evening.stop_night(settings, said=show.line)
            if report is None:
                _stop("no batch is open; `dailies status` says what was last", BAD_INPUT)
        else:
            outcome = evening.run_night(settings, until=until, wishes=wishes, asked=asked, said=show.line)
            report, interrupted = outcome.report, outcome.interrupted
    except KeyboardInterrupt:
        raise typer.Exit(_signalled()) from None
    if report["batch"]:
        night_view.report(report, as_json=as_json)
    elif as_json:
        show.document(report)
    else:
        show.say(report["summary"], on=show.OUT)
    if interrupted:
        raise typer.Exit(_signalled())
    raise typer.Exit(SOME_FAILED if any(shot["error"] for shot in report["shots"]) else ALL_WELL)


@app.command()
def cancel(shots: Named) -> None:
    """Take shots out of the batch that is at work; each stops within one step and is ready for another night."""
    from catalogs.store import open_catalogue
    from desk import show

    with open_catalogue(_settings().database_url) as catalogue:
        named = [catalogue.find(name).shot.name for name in shots]
        cancelled = catalogue.nights.cancel(named)
    for name in named:
        show.line(f"{name}: {'cancelled' if name in cancelled else 'was not at work'}")


@app.command()
def release(shots: Named) -> None:
    """Let quarantined shots into the next batch again, when what killed their processes has been mended."""
    from catalogs.store import open_catalogue
    from desk import show

    with open_catalogue(_settings().database_url) as catalogue:
        for name in catalogue.nights.release(shots):
            show.line(f"{name}: ready again")


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(help="Where Prefect's server and its UI answer; default 4200, 0 for a free one.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Do not begin a night whose hour has passed; wait for the next one.")
    ] = False,
    desk_port: Annotated[int, typer.Option(min=0, max=65535, help="Where the desk answers; 0 for a free one.")] = 4300,
    no_desk: Annotated[bool, typer.Option("--no-desk", help="Leave the desk to `dailies desk`.")] = False,
) -> None:
    """Prefect and its UI, workers for every GPU here, the schedule, the inbox, the desk. Ctrl-C stops all of it."""
    from desk import show
    from flows.house import run_house

    raise typer.Exit(run_house(_settings(), port=port, wait=wait, desk=None if no_desk else desk_port, said=show.line))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Shots by status, what is running now, the last batch."""
    from desk import show as view
    from flows import planning

    view.status(planning.standing(_settings()), as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Is this machine ready? Each check with its remedy."""
    from desk import show as view
    from flows import planning
    from flows.settings import Settings
    from tasks.doctor import ready

    amiss: dict[str, str] = {}
    checks = planning.checks(Settings.read(amiss=amiss), amiss=amiss)
    view.checks(checks, as_json=as_json)
    raise typer.Exit(ALL_WELL if ready(checks) else NOT_READY)


def _plan_night(shots: list[str] | None, *, until: str, workers: int, as_json: bool, wishes: dict[str, object]) -> None:
    from desk import night_view
    from flows import planning, tonight
    from tasks.doctor import gpus

    if shots:
        _stop("a night is planned with every ready shot; leave out the names, or leave out --night", BAD_INPUT)
    if workers < 0:
        _stop(f"--workers is {workers}; it must be 1 or more", BAD_INPUT)
    count = workers or max(1, len(gpus()))
    document = tonight.preview(_settings(), workers=count, until=until, wishes=wishes)
    night_view.night_plan(planning.with_plates(_settings(), document), as_json=as_json)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether somebody has typed an option, be it with its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _signalled() -> int:
    from tasks.stopping import STOPPING

    return SIGNALLED + STOPPING.signal


def _wishes(profile: str, allow_smaller: bool, require_rife: bool) -> dict[str, object]:
    return {"profile": profile, "allow_smaller": allow_smaller, "require_rife": require_rife}


def _settings() -> Settings:
    from flows.settings import Settings

    return Settings.read()


def _stop(message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:  # whoever parses stdout gets a document in every case
        from desk.show import document

        document({"error": message})
    print(f"dailies: {message}", file=sys.stderr)  # noqa: T201 - this is where errors are said
    raise SystemExit(code)


def _exit_code(error: Exception) -> int | None:
    """Which exit code an error stands for; None if it is a defect of ours."""
    from catalogs.errors import CatalogueError, CatalogueUnavailableError
    from models.interface import DeviceLost, EngineError, EngineUnavailable
    from tasks.errors import MachineNotReadyError, StepError

    if isinstance(error, CatalogueUnavailableError | MachineNotReadyError | EngineUnavailable | DeviceLost):
        return NOT_READY
    if isinstance(error, CatalogueError | StepError | EngineError):
        return BAD_INPUT
    return None


def main() -> None:
    """The console script: sentences instead of tracebacks."""
    debug = "--debug" in sys.argv
    try:
        app()
    except BrokenPipeError:
        os._exit(ALL_WELL)  # `dailies shots | head`
    except Exception as error:
        code = _exit_code(error)
        if debug:
            traceback.print_exc()
        if code is None:
            _stop(f"unexpected {type(error).__name__}: {error}; run again with --debug and report it", SOME_FAILED)
        _stop(str(error), code)


if __name__ == "__main__":
    main()
