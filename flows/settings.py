"""Settings: the only reader of the environment. Frozen, and passed down as an argument.

Knows: the DAILIES_* variables and their defaults. Does not know: what they are used for. Imports nothing heavy: every
run of a worker reads it before anything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from flows.window import Window, machine_timezone
from models.retimers import ANY, RetimerWish, RetimerWishError, parse_wish
from tasks.c2pa_sign import Identity
from tasks.errors import MachineNotReadyError

VARIABLES: Mapping[str, str] = {
    "DAILIES_HOME": "folder of catalogue, work, deliveries and weights; default ./dailies-home",
    "DAILIES_DATABASE_URL": "SQLAlchemy URL of the catalogue; default SQLite in the home",
    "DAILIES_FFMPEG": "an ffmpeg to use instead of the one that comes with the installation",
    "DAILIES_WEIGHTS": "folder of model weights; default weights/ in the home",
    "DAILIES_PLATES": "root of all plates; default the shot list's folder",
    "DAILIES_RETIMER": "what retimes, such as rife-torch device=cuda:0 tta=temporal; default the best that runs",
    "DAILIES_ENGINE": "engine for every shot, such as animatic to preview a list; default the shot's own model",
    "DAILIES_C2PA_CERT": "certificate chain (PEM) that signs MP4, MOV and WebM with C2PA; default none signs",
    "DAILIES_C2PA_KEY": "its private key (PEM, without a password)",
    "DAILIES_ENCODER": "nvenc to encode H.265 on an NVIDIA card that can; default x265 on the processor",
    "DAILIES_NIGHT": "when the nightly batch begins and must have ended; default 19:00-07:00",
    "DAILIES_TIMEZONE": "IANA name of the time zone of DAILIES_NIGHT; default the machine's, else UTC",
    "DAILIES_NOTIFY": "Prefect notification blocks to tell, such as slack-webhook/night-desk; default none",
    "DAILIES_PATIENCE": "seconds without progress after which a run counts as hung; default 1800",
    "DAILIES_WORKERS_CPU": "how many shots are finished at once on this machine; default one for every four cores",
}
"""Every variable that Dailies reads, with a sentence on it."""

WORKER: Final = "DAILIES_WORKER"
WORKER_PID: Final = "DAILIES_WORKER_PID"
HOUSE: Final = "DAILIES_HOUSE"
# these three are no settings: a worker sets the first two for the runs that it starts, a house the last


def worker_variables(name: str) -> dict[str, str]:
    """Variables by which the runs of this process, a worker called `name`, know whose they are."""
    return {WORKER: name, WORKER_PID: str(os.getpid())}


def worker_pid() -> int | None:
    """Process id of the worker that started this process; None if none of ours did."""
    given = os.environ.get(WORKER_PID, "")
    return int(given) if given.isdigit() else None


def prefect_configured(environment: Mapping[str, str]) -> bool:
    """Whether somebody has configured Prefect: by variables, or by `prefect config set PREFECT_API_URL=...`."""
    if any(environment.get(name) for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE")):
        return True
    try:
        return "PREFECT_API_URL" in (Path.home() / ".prefect" / "profiles.toml").read_text(encoding="utf-8")
    except (OSError, RuntimeError):
        return False


INBOX: Final = "inbox"
"""Folder in the home where shot lists are laid."""

MOST_PATIENCE: Final = 86_400
"""Longest time that a run may be silent, seconds."""

MOST_WORKERS: Final = 64
"""Most shots that one machine finishes at once: each holds decoded frames and three encoders."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and which programs are used."""

    home: Path
    """Absolute path of the home folder."""
    database_url: str = field(repr=False)  # may hold a password
    """SQLAlchemy URL of the catalogue."""
    ffmpeg: str
    """Path of the ffmpeg to run."""
    weights: Path
    """Absolute path of the weights folder."""
    plates: Path | None
    """Absolute path that all plates must lie in; None means the shot list's folder."""
    engine: str
    """Engine that overrides every shot's model; empty for none."""
    retimer: RetimerWish = ANY
    """What is asked of the retimer."""
    c2pa: Identity | None = None
    """With what deliverables are signed; None if they are not."""
    night: Window = field(default_factory=Window)
    """When the nightly batch may work."""
    notify: tuple[str, ...] = ()
    """Prefect notification blocks that hear of every batch, as `type/name`."""
    workers_cpu: int = 1
    """Shots that are finished at once on this machine."""
    patience: float = 1800.0
    """Seconds without progress after which a run counts as hung, until it has measured its own steps."""
    encoder: str = ""
    """Who encodes H.265: `nvenc`, or empty for x265."""
    worker: str = ""
    """Name of the worker that started this process, such as `gpu-0`; empty if none did."""
    house: bool = False
    """Whether a house started that worker: one that finishes shots then stands beside it."""

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, *, amiss: dict[str, str] | None = None) -> Settings:
        """Settings from the environment (default: the process's). An empty variable counts as unset.

        Raises MachineNotReadyError for a value that cannot be used, such as a home whose path cannot stand in a
        database URL. With `amiss` a variable that cannot be used counts as unset too, and why is put there by its name;
        all but the home, without which there is nothing to look at.
        """
        given = {name: value for name, value in (environment or os.environ).items() if value}
        home = Path(given.get("DAILIES_HOME", "dailies-home")).expanduser().absolute()
        if "?" in str(home):
            raise MachineNotReadyError(f"DAILIES_HOME must not hold a question mark: {home}")
        plates = given.get("DAILIES_PLATES")

        def usable(read: Callable[..., T], *names: str) -> T:
            try:
                return read(*(given.get(name, "") for name in names))
            except MachineNotReadyError as error:
                if amiss is None:
                    raise
                said = str(error)
                amiss[next((name for name in names if said.startswith(name)), names[0])] = said
                return read(*("" for _ in names))

        return cls(
            home=home,
            database_url=_anchored(given.get("DAILIES_DATABASE_URL") or f"sqlite:///{home / 'catalogue.sqlite'}"),
            ffmpeg=_found(given.get("DAILIES_FFMPEG") or bundled_ffmpeg()),
            weights=Path(given.get("DAILIES_WEIGHTS", str(home / "weights"))).expanduser().absolute(),
            plates=Path(plates).expanduser().absolute() if plates else None,
            engine=given.get("DAILIES_ENGINE", ""),
            retimer=usable(_wish, "DAILIES_RETIMER"),
            c2pa=usable(_identity, "DAILIES_C2PA_CERT", "DAILIES_C2PA_KEY"),
            night=usable(_window, "DAILIES_NIGHT", "DAILIES_TIMEZONE"),
            notify=usable(_blocks, "DAILIES_NOTIFY"),
            workers_cpu=usable(_count, "DAILIES_WORKERS_CPU"),
            patience=usable(_seconds, "DAILIES_PATIENCE"),
            encoder=usable(_encoder, "DAILIES_ENCODER"),
            worker=given.get(WORKER, ""),
            house=HOUSE in given,
        )

    def variables(self) -> dict[str, str]:
        """Variables from which a process in any folder reads these settings: all paths are absolute."""
        return {
            "DAILIES_HOME": str(self.home),
            "DAILIES_DATABASE_URL": self.database_url,
            "DAILIES_FFMPEG": self.ffmpeg,
            "DAILIES_WEIGHTS": str(self.weights),
            "DAILIES_PLATES": str(self.plates or ""),
            "DAILIES_ENGINE": self.engine,
            "DAILIES_RETIMER": str(self.retimer),
            "DAILIES_C2PA_CERT": str(self.c2pa.certificate) if self.c2pa else "",
            "DAILIES_C2PA_KEY": str(self.c2pa.key) if self.c2pa else "",
            "DAILIES_ENCODER": self.encoder,
            "DAILIES_NIGHT": str(self.night),
            "DAILIES_TIMEZONE": self.night.zone,
            "DAILIES_NOTIFY": " ".join(self.notify),
            "DAILIES_WORKERS_CPU": str(self.workers_cpu),
            "DAILIES_PATIENCE": f"{self.patience:g}",
        }

    @property
    def finishes_here(self) -> bool:
        """Whether what is generated here is encoded here too; in a cluster another machine may be there for that."""
        return self.house or not self.worker

    @property
    def work(self) -> Path:
        """Folder of everything that can be made again."""
        return self.home / "work"

    @property
    def deliveries(self) -> Path:
        """Folder of everything published."""
        return self.home / "deliveries"


def _anchored(url: str) -> str:
    """A SQLite URL with an absolute path: runs of a worker work in a folder of their own."""
    scheme, slashes, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not slashes or not path or path.startswith((":memory:", "file:")):
        return url
    return f"{scheme}:///{Path(path).absolute()}"


def _found(program: str) -> str:
    """A program's path made absolute; a bare name is looked up by whoever runs it."""
    return str(Path(program).expanduser().absolute()) if os.sep in program else program


def _wish(given: str) -> RetimerWish:
    try:
        return parse_wish(given)
    except RetimerWishError as error:
        raise MachineNotReadyError(f"DAILIES_RETIMER is {given!r}: {error}") from error


def _window(given: str, zone: str) -> Window:
    return Window.parse(given, zone=zone or machine_timezone())


def _identity(certificate: str, key: str) -> Identity | None:
    if not certificate and not key:
        return None
    if not certificate or not key:
        there, lacking = ("DAILIES_C2PA_CERT", "DAILIES_C2PA_KEY")[:: 1 if certificate else -1]
        raise MachineNotReadyError(f"{there} is set and {lacking} is not; set both, or neither to deliver unsigned")
    return Identity(Path(certificate).expanduser().absolute(), Path(key).expanduser().absolute())


def _encoder(given: str) -> str:
    if given not in ("", "x265", "nvenc"):
        raise MachineNotReadyError(f"DAILIES_ENCODER is {given!r}; use nvenc, or x265, which is the default")
    return "" if given == "x265" else given


def _blocks(given: str) -> tuple[str, ...]:
    blocks = tuple(dict.fromkeys(given.replace(",", " ").split()))
    for block in blocks:
        kind, slash, name = block.partition("/")
        if not (kind and slash and name) or "/" in name:
            raise MachineNotReadyError(
                f"DAILIES_NOTIFY names {block!r}; a Prefect block is named type/name, such as slack-webhook/night-desk"
            )
    return blocks


def _count(given: str) -> int:
    cores = os.cpu_count() or 1
    if not given:
        # an encode keeps about four cores busy, whatever their number
        return max(1, cores // 4)
    if not given.isdigit() or not 1 <= int(given) <= MOST_WORKERS:
        raise MachineNotReadyError(f"DAILIES_WORKERS_CPU is {given!r}; it must be a number from 1 to {MOST_WORKERS}")
    return int(given)


def _seconds(given: str) -> float:
    try:
        seconds = float(given or 1800)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= MOST_PATIENCE:
        raise MachineNotReadyError(f"DAILIES_PATIENCE is {given!r}; it must be from 1 to {MOST_PATIENCE} seconds")
    return seconds


def bundled_ffmpeg() -> str:
    """Path of the ffmpeg that was installed with Dailies."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # none for this platform: whatever PATH has, and `dailies doctor` judges it
        return "ffmpeg"


def prefect_environment(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables to set before Prefect is imported.

    Whoever has configured Prefect (a server's URL, a home, a profile) is left alone. Otherwise everything of Prefect's
    lies in the home, and it keeps quiet: the terminal is ours.
    """
    given = os.environ if environment is None else environment
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    if prefect_configured(given):
        return {name: value for name, value in quiet.items() if name not in given}
    private = {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        # a server on this machine that does not answer is gone: say so within seconds, not minutes
        "PREFECT_CLIENT_MAX_RETRIES": "2",
        # nobody can look at the logs of a server that is gone when the run is
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    return {name: value for name, value in {**quiet, **private}.items() if name not in given}


def house_environment(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for what `dailies up` starts: server, workers and their runs.

    Unlike a render's own server this one is watched and outlives many runs: logs go to it, and clients wait for it
    while it is started again. Whatever somebody has set himself is left alone.
    """
    given = os.environ if environment is None else environment
    house = {
        # seconds between two looks for work; the 10 of the default would be idle time before every reel
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        # the shortest that Prefect allows; the automation for lost runs waits for two of them
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # six tries with doubled waits ride out two minutes without a server
        "PREFECT_CLIENT_MAX_RETRIES": "6",
        # a run renews its hold on a limit every few minutes and is ended if it cannot: holds survive a new server
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # a shot may wait for a processor while others are finished; at 15 s each would become Late, which is a write
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "900",
        # lines about shots stand beside the run in the UI
        "PREFECT_LOGGING_EXTRA_LOGGERS": "dailies",
    }
    mine = {name: value for name, value in house.items() if name not in given}
    dropped = ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_TO_API_ENABLED", "PREFECT_CLIENT_MAX_RETRIES")
    quiet = {name: value for name, value in prefect_environment(settings, given).items() if name not in dropped}
    return {**quiet, **mine, **settings.variables(), HOUSE: "1"}
