"""`dailies weights ...`: model cards and their files. Parse, call, print, exit code; nothing heavy imported early.

Exit codes: 0 all well; 1 a file is bad; 2 bad input; 3 this machine is not ready (network, disk, torch).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from flows.settings import Settings
    from models.convert import Converted
    from models.weights import FileVerdict, Verdict

app = typer.Typer(
    name="weights",
    help="Model cards and their files: what is there, whether it may be loaded, how to get it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ALL_WELL, BAD_FILE, BAD_INPUT, NOT_READY = 0, 1, 2, 3

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every model: licence, size, memory it needs, what of it is installed, whether it would run here; LoRAs, RIFE."""
    from desk import weights_list

    with _sentences():
        weights_list.show(weights_list.listed(_settings().weights), as_json=as_json)


@app.command()
def verify(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files or folders.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the hashes of unknown files into the lock.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge files as the loader would. Without PATH: everything in the weights folder."""
    from desk import show
    from models.weights import judge

    settings = _settings()
    if not paths and not settings.weights.is_dir():
        _stop(f"{settings.weights} does not exist; pull a model, or set DAILIES_WEIGHTS", NOT_READY)
    absent = [path for path in paths or [] if not path.exists() and not path.is_symlink()]
    if absent:
        _stop(f"{absent[0]} does not exist; check the path", BAD_INPUT)
    verdicts: list[Verdict] = []
    with _sentences():
        for path in paths or [settings.weights]:
            said = None if as_json else _say
            verdicts.append(judge(path, weights=settings.weights, record=record, on_file=said))
        problems = [problem for verdict in verdicts for problem in verdict.problems]
        problems += _of_rife([file for verdict in verdicts for file in verdict.files], settings.weights)
    if as_json:
        files = [_judged(file) for verdict in verdicts for file in verdict.files]
        show.document({"ok": not problems, "files": files, "problems": problems})
    else:
        for problem in problems:
            print(f"dailies: {problem}", file=sys.stderr)  # noqa: T201 - one problem a line
        count = sum(len(verdict.files) for verdict in verdicts)
        show.OUT.print(f"{count} files, {len(problems)} problems.", markup=False)
    raise typer.Exit(BAD_FILE if problems else ALL_WELL)


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="Name of a card, as `dailies weights list` shows it.")],
    config: Annotated[bool, typer.Option("--config", help="The small files alone: what single files need.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep RIFE's published checkpoint beside what is made.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a model's files, verified: from the Hugging Face hub, or RIFE's from the address in its card.

    An interrupted download is continued. RIFE's checkpoint becomes a .safetensors file.
    """
    from desk import show
    from models import fetch, hub
    from models.cards import CardError, cards_with
    from models.hub_http import Hub
    from models.interpolator_cards import interpolator_cards

    weights, reached = _settings().weights, Hub.read(os.environ)
    try:
        models, retimers = cards_with(weights), interpolator_cards(weights)
    except CardError as error:
        _stop(str(error), BAD_FILE)
    if model not in models and model not in retimers:
        _stop(f"no model card is called {model!r}; use one of: {', '.join([*models, *retimers])}", BAD_INPUT)
    if model in retimers and config:
        _stop(f"{model} has no small files; leave --config out", BAD_INPUT)
    with _sentences(), _bars() as progress:
        if model in retimers:
            files = fetch.fetch(retimers[model], weights, hub=reached, progress=progress, keep=keep)
        else:
            files = hub.pull(models[model], weights, hub=reached, progress=progress, only_config=config)
    if as_json:
        entries = [
            {"path": str(file.path), "bytes": file.bytes, "sha256": file.sha256, "action": file.action}
            for file in files
        ]
        show.document({"model": model, "files": entries})
        return
    for file in files:
        show.OUT.print(f"{file.action:10} {file.path}", markup=False, soft_wrap=True)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A .pt, .pth, .pkl, .bin or .ckpt file, or RIFE's .param for ncnn.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Default: the same name with .safetensors.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a torch checkpoint's tensors, or those of RIFE for ncnn, as safetensors. Runs nothing; keeps the source."""
    from desk import show

    if not file.is_file():
        _stop(f"{file} is not a file; give a .pt, .pth, .pkl, .bin, .ckpt or .param file", BAD_INPUT)
    weights = _settings().weights
    with _sentences():
        if file.suffix.lower() == ".param":
            from models.rife_convert import convert_ncnn

            made = convert_ncnn(file, out, weights=weights)
        else:
            made = _converted(file, out, weights)
    if as_json:
        show.document(
            {
                "path": str(made.path),
                "bytes": made.bytes,
                "sha256": made.sha256,
                "tensors": made.tensors,
                "dropped": list(made.dropped),
            }
        )
        return
    left = f", without {', '.join(made.dropped)}" if made.dropped else ""
    show.OUT.print(f"{made.path}: {made.tensors} tensors{left}, sha256 {made.sha256}", markup=False, soft_wrap=True)


def _converted(file: Path, out: Path | None, weights: Path) -> Converted:
    """A checkpoint as safetensors; one of RIFE, by its own name or by the folder it is meant for, is held to that."""
    from models import fetch
    from models.convert import convert as make
    from models.interpolator_cards import FILE, interpolator_cards

    target = (out or file.with_suffix(".safetensors")).absolute()
    card = interpolator_cards(weights).get(target.parent.name) if target.name == FILE else None
    if card or file.name.startswith("flownet"):
        return fetch.converted(file, target, weights=weights, architecture=card.architecture if card else "")
    return make(file, out, weights=weights)


def _of_rife(files: list[FileVerdict], weights: Path) -> list[str]:
    """What is wrong with RIFE's files beyond their hashes; those that are bad already have been spoken of."""
    from models import rife_verify

    return list(rife_verify.problems([file.path for file in files if not file.problem], weights.absolute()))


def _settings() -> Settings:
    from flows.settings import Settings

    return Settings.read()


def _judged(file: FileVerdict) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "format": file.format,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "against": file.against,
        "tensors": file.tensors,
        "problem": file.problem,
    }


def _say(file: FileVerdict) -> None:
    from desk import show

    known = {"card": "as its card says", "lock": "as the lock says"}.get(file.against, "hash not known before")
    word = "bad" if file.problem else "ok"
    said = "" if file.problem else f" ({file.format}, {file.tensors} tensors, {known})"
    show.OUT.print(f"{word:4} {file.path}{said}", markup=False, soft_wrap=True)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None] | None]:
    """Progress on a terminal; nothing elsewhere."""
    from desk import show

    if not show.ERR.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars = Bars(*columns, TimeRemainingColumn(), console=show.ERR)
    shown: dict[str, Any] = {}

    def progress(name: str, done: int, size: int) -> None:
        if name not in shown:
            shown[name] = bars.add_task(name, total=size)
        bars.update(shown[name], completed=done)

    with bars:
        yield progress


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what the weights code raises into a sentence and this command's exit code; `--debug` shows where."""
    from models.cards import CardError
    from models.headers import WeightsError, WeightsUnavailableError

    try:
        yield
    except (WeightsError, CardError) as error:
        if "--debug" in sys.argv:
            raise
        _stop(str(error), NOT_READY if isinstance(error, WeightsUnavailableError) else BAD_FILE)


def _stop(message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:  # whoever parses stdout gets a document in every case
        from desk.show import document

        document({"error": message})
    print(f"dailies: {message}", file=sys.stderr)  # noqa: T201 - this is where errors are said
    raise typer.Exit(code)
