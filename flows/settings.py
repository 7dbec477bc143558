"""Settings: the only reader of the environment. Frozen, and passed down as an argument.

Knows: the DAILIES_* variables and their defaults. Does not know: what they are used for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.errors import MachineNotReadyError

VARIABLES: Mapping[str, str] = {
    "DAILIES_HOME": "folder of catalogue, work, deliveries and weights; default ./dailies-home",
    "DAILIES_DATABASE_URL": "SQLAlchemy URL of the catalogue; default SQLite in the home",
    "DAILIES_FFMPEG": "an ffmpeg to use instead of the one that comes with the installation",
    "DAILIES_WEIGHTS": "folder of model weights; default weights/ in the home",
    "DAILIES_PLATES": "root of all plates; default the shot list's folder",
    "DAILIES_ENGINE": "engine for every shot, such as animatic to preview a list; default the shot's own model",
}
"""Every variable that Dailies reads, with a sentence on it."""


def prefect_configured(environment: Mapping[str, str]) -> bool:
    """Whether somebody has configured Prefect: by variables, or by `prefect config set PREFECT_API_URL=...`."""
    if any(environment.get(name) for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE")):
        return True
    try:
        return "PREFECT_API_URL" in (Path.home() / ".prefect" / "profiles.toml").read_text(encoding="utf-8")
    except (OSError, RuntimeError):
        return False


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

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Settings from the environment (default: the process's). An empty variable counts as unset.

        Raises MachineNotReadyError for a home whose path cannot stand in a database URL.
        """
        given = {name: value for name, value in (environment or os.environ).items() if value}
        home = Path(given.get("DAILIES_HOME", "dailies-home")).expanduser().absolute()
        if "?" in str(home):
            raise MachineNotReadyError(f"DAILIES_HOME must not hold a question mark: {home}")
        plates = given.get("DAILIES_PLATES")
        return cls(
            home=home,
            database_url=given.get("DAILIES_DATABASE_URL") or f"sqlite:///{home / 'catalogue.sqlite'}",
            ffmpeg=given.get("DAILIES_FFMPEG") or bundled_ffmpeg(),
            weights=Path(given.get("DAILIES_WEIGHTS", str(home / "weights"))).expanduser().absolute(),
            plates=Path(plates).expanduser().absolute() if plates else None,
            engine=given.get("DAILIES_ENGINE", ""),
        )

    @property
    def work(self) -> Path:
        """Folder of everything that can be made again."""
        return self.home / "work"

    @property
    def deliveries(self) -> Path:
        """Folder of everything published."""
        return self.home / "deliveries"


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
