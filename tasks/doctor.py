"""Is this machine ready? Each check says what it found and, where it is not well, the remedy.

Knows: what the built-in engine needs, and what makes the rest better. Changes nothing but a probe file in the home.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from packaging.version import Version

from catalogs.database import DatabaseFacts
from models.retimers import ANY, RetimerWish
from models.rife_trial import vulkan_devices
from tasks import engines, nvenc, retimers
from tasks.c2pa_sign import Identity, signer
from tasks.errors import MachineNotReadyError, MediaError, StepError
from tasks.frames import output_of
from tasks.keep import folder_problem, free_bytes
from tasks.presets import NVENC

State = Literal["ok", "warning", "missing"]

ENCODERS: Final = ("libx265", "prores_ks", "libvpx-vp9", "libx264", "png", "ffv1", "ffvhuff")
"""What clips, masters and deliverables are written with."""

ON_REQUEST: Final = ("libsvtav1", "exr", "aac", "libopus", "maskedmerge", "vstack", "concat")
"""What only some deliveries need: AV1, half floats, silence, words on review copies."""

FILTERS: Final = ("zscale", "split", "setparams")
"""What the colour conversion and the shared decode are built from; zscale needs libzimg."""

OLDEST_POSTGRES: Final = Version("14")
"""Prefect's server asks for it too."""

FREE_BYTES: Final = 10_000_000_000
"""Free disk below which a night is likely to run dry: about ten minutes of 720p work."""

SOON: Final = timedelta(days=14)
"""Before a certificate expires that long, somebody should know."""

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    status: State
    """`missing` stops rendering if `vital`; `warning` costs quality or speed."""
    detail: str
    remedy: str = ""
    vital: bool = False
    """Whether the built-in engine cannot render without it."""


def examine(
    *,
    home: Path,
    ffmpeg: str,
    weights: Path,
    database: Callable[[], DatabaseFacts],
    retimer: RetimerWish = ANY,
    c2pa: Identity | None = None,
    encoder: str = "",
    needed: Sequence[Path] = (),
) -> Sequence[Check]:
    """All checks in order. `database` looks at the catalogue's database, raising if it cannot be used. `c2pa` is what
    deliverables are signed with; None if they are not, and then nothing is said of it. `encoder` is who shall make
    H.265, empty for x265. `needed` are folders of the home that rendering writes to.
    """
    return [
        _python(),
        _ffmpeg(ffmpeg),
        *([_nvenc(ffmpeg)] if encoder == NVENC else []),
        _home(home, needed),
        _disk(home),
        *_database(database),
        _prefect(),
        _gpu(),
        _torch(),
        _vulkan(weights),
        Check(engines.ANIMATIC, "ok", "built in, needs no GPU"),
        *(_retimer(state) for state in retimers.states(weights, retimer)),
        *(_signer(identity) for identity in (c2pa,) if identity is not None),
    ]


def ready(checks: Sequence[Check]) -> bool:
    """Whether the built-in engine could render here."""
    return not any(check.vital and check.status == "missing" for check in checks)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "ok", found, vital=True)
    return Check("python", "missing", found, "install Python 3.11, 3.12 or 3.13", vital=True)


def _ffmpeg(ffmpeg: str) -> Check:
    try:
        banner = output_of([ffmpeg, "-version"]).splitlines()[0]
        listed = output_of([ffmpeg, "-hide_banner", "-encoders"]) + output_of([ffmpeg, "-hide_banner", "-filters"])
    except (StepError, IndexError) as error:
        remedy = "unset DAILIES_FFMPEG to use the one that comes with Dailies, or name one that runs"
        return Check("ffmpeg", "missing", str(error), remedy, vital=True)
    names = {line.split()[1] for line in listed.splitlines() if len(line.split()) > 1}
    lacking = [name for name in (*ENCODERS, *FILTERS) if name not in names]
    shown = " ".join(banner.split()[:3])
    if lacking:
        remedy = "unset DAILIES_FFMPEG: the ffmpeg that comes with Dailies has them"
        return Check("ffmpeg", "missing", f"{shown} lacks {', '.join(lacking)}", remedy, vital=True)
    if lacking := [name for name in ON_REQUEST if name not in names]:
        remedy = "unset DAILIES_FFMPEG, or do not ask for deliveries that need them"
        return Check("ffmpeg", "warning", f"{shown} lacks {', '.join(lacking)}", remedy, vital=True)
    return Check("ffmpeg", "ok", f"{shown} with {', '.join(ENCODERS)}", vital=True)


def _nvenc(ffmpeg: str) -> Check:
    if why := nvenc.problem(ffmpeg):
        remedy = "unset DAILIES_ENCODER for x265, or run where the card and its driver have it"
        return Check("nvenc", "missing", f"does not encode one frame: {why}", remedy)
    return Check("nvenc", "ok", "encodes H.265 in 10 bits")


def _home(home: Path, needed: Sequence[Path]) -> Check:
    """Whether files can be made in the home, and in the folders of it that rendering needs, where these are there."""
    for folder in (home, *needed):
        try:
            if folder == home:
                folder.mkdir(parents=True, exist_ok=True)
            if why := folder_problem(folder):
                said, _, remedy = why.rpartition("; ")
                return Check("home", "missing", said, remedy, vital=True)
            if folder.exists():
                # asked is not tried: a disk that was mounted read-only says yes to root
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            remedy = "make it writable, or point DAILIES_HOME at a folder that is"
            return Check("home", "missing", f"{folder}: {error.strerror or error}", remedy, vital=True)
    return Check("home", "ok", str(home), vital=True)


def _disk(home: Path) -> Check:
    free = free_bytes(home)
    detail = f"{free / 1e9:.1f} GB free"
    if free < FREE_BYTES:
        return Check("disk", "warning", detail, "free some, or move DAILIES_HOME; `dailies plan` says what shots need")
    return Check("disk", "ok", detail)


def _database(database: Callable[[], DatabaseFacts]) -> list[Check]:
    try:
        found = database()
    except Exception as error:  # whatever a driver raises, the answer is the same
        remedy = "correct DAILIES_DATABASE_URL, or unset it to use SQLite in the home"
        return [Check("database", "missing", str(error), remedy, vital=True)]
    checks = [_catalogue(found)]
    if found.kind == "postgresql":
        checks.append(_trigram(found))
    return checks


def _catalogue(found: DatabaseFacts) -> Check:
    server = f"{found.kind} {found.server}"
    if found.schema is None:
        detail = f"{server}, empty: the first shot list makes the tables (schema {found.wanted})"
    elif found.schema != found.wanted:
        detail = f"{server}, schema {found.schema}: the next command brings it to {found.wanted}, {found.shots} shots"
    else:
        detail = f"{server}, schema {found.schema}, {found.shots} shots"
    if found.kind == "postgresql" and Version(found.server) < OLDEST_POSTGRES:
        remedy = f"upgrade the server to PostgreSQL {OLDEST_POSTGRES} or newer; older ones are not tested"
        return Check("database", "warning", detail, remedy, vital=True)
    return Check("database", "ok", detail, vital=True)


def _trigram(found: DatabaseFacts) -> Check:
    """pg_trgm in the catalogue's database. Prefect creates it in its own, if its user may and the server has it."""
    if found.trigram == "created":
        return Check("pg_trgm", "ok", "created")
    if found.trigram == "available":
        remedy = "if Prefect uses this database too, and its user may not create extensions: CREATE EXTENSION pg_trgm"
        return Check("pg_trgm", "warning", "on the server, but not created in this database", remedy)
    remedy = "install it on the server (Debian: apt install postgresql-contrib), then: CREATE EXTENSION pg_trgm"
    return Check("pg_trgm", "warning", "the server does not have it; Prefect on PostgreSQL needs it", remedy)


def _prefect() -> Check:
    try:
        prefect, fastapi = version("prefect"), version("fastapi")
    except PackageNotFoundError as error:
        return Check("prefect", "missing", str(error), "install from requirements/core.lock", vital=True)
    if not Version("0.139") <= Version(fastapi) < Version("0.151"):
        remedy = "install from requirements/core.lock: Prefect's server does not import with this fastapi"
        return Check("prefect", "missing", f"prefect {prefect} with fastapi {fastapi}", remedy, vital=True)
    if Version(version("sqlalchemy")) >= Version("2.1"):
        remedy = "install from requirements/core.lock: with this sqlalchemy Prefect's server starts nothing by schedule"
        detail = f"prefect {prefect} with sqlalchemy {version('sqlalchemy')}"
        return Check("prefect", "missing", detail, remedy, vital=True)
    server = os.environ.get("PREFECT_API_URL", "")
    if server and not answers(server):
        remedy = "start it, or unset PREFECT_API_URL to have a server for each run"
        return Check("prefect", "missing", f"{prefect}, the server {server} does not answer", remedy, vital=True)
    return Check("prefect", "ok", f"{prefect}, {server or 'its own server for each run'}", vital=True)


def answers(url: str) -> bool:
    """Whether a Prefect API is alive at `url`. An error status counts: somebody is there, and Prefect will say what."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU, as its driver describes it."""

    name: str
    """Such as `NVIDIA H100 80GB HBM3`."""
    free: int
    """Graphics memory that nobody uses now, bytes."""
    total: int
    """All of it, bytes."""
    capability: str
    """Compute capability, such as `9.0`."""
    driver: str
    """Version of the driver."""


def gpus() -> Sequence[Gpu]:
    """The NVIDIA GPUs of this machine; none without a driver. Raises StepError if the driver does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = "--query-gpu=name,memory.free,memory.total,compute_cap,driver_version"
    lines = output_of([tool, asked, "--format=csv,noheader,nounits"])
    found = []
    for line in lines.strip().splitlines():
        try:
            name, free, total, capability, driver = (word.strip() for word in line.rsplit(",", 4))
            found.append(Gpu(name, int(free) * MIB, int(total) * MIB, capability, driver))
        except ValueError:
            raise MediaError(f"nvidia-smi says {line!r}, which names no GPU; check the driver") from None
    return found


def _gpu() -> Check:
    remedy = "none is needed for the animatic; image-to-video models want an NVIDIA GPU and its driver"
    try:
        found = gpus()
    except StepError as error:
        return Check("gpu", "warning", str(error), remedy)
    if not found:
        return Check("gpu", "warning", "this machine has no NVIDIA GPU, or its driver is not installed", remedy)
    return Check("gpu", "ok", "; ".join(map(_gpu_line, found)))


def _gpu_line(gpu: Gpu) -> str:
    memory = f"{gpu.free / 1e9:.1f} of {gpu.total / 1e9:.1f} GB free"
    return f"{gpu.name}, {memory}, compute capability {gpu.capability}, driver {gpu.driver}"


def _torch() -> Check:
    """Whether torch can use the GPU, from what its distribution says: importing it takes seconds and gigabytes."""
    try:
        found = version("torch")
    except PackageNotFoundError:
        needs = "the animatic needs none; image-to-video models and RIFE by torch do"
        remedy = f"{needs}: pip install --no-deps -r requirements/all.lock"
        return Check("torch", "warning", "not installed", remedy)
    if not found.endswith("+cpu"):
        return Check("torch", "ok", found)
    if shutil.which("nvidia-smi") is None:
        return Check("torch", "ok", f"{found}, for the processor")
    cuda = found.removesuffix("+cpu")
    remedy = f"models are slow because not on the GPU: install torch {cuda} with CUDA in its place"
    return Check("torch", "warning", f"{found} is made for the processor and does not see the GPU", remedy)


def _vulkan(weights: Path) -> Check:
    if find_library("vulkan") is None:
        return Check(
            "vulkan",
            "warning",
            "libvulkan.so.1 is not installed, so RIFE by ncnn cannot load",
            "install the Vulkan loader (Debian and Ubuntu: apt install libvulkan1); until then optical flow retimes",
        )
    devices = [f"vulkan:{device.index} {device.name}".strip() for device in vulkan_devices(weights)]
    return Check("vulkan", "ok", "; ".join(devices) or "the loader is there, and no device: RIFE runs on the processor")


def _signer(identity: Identity) -> Check:
    """Whether deliverables can be signed; asked for and impossible stops rendering."""
    try:
        found = signer(identity, trial=True)
    except MachineNotReadyError as error:
        said, _, remedy = str(error).rpartition("; ")
        return Check("c2pa", "missing", said, remedy, vital=True)
    detail = f"{found.subject}, {found.algorithm}, until {found.until:%Y-%m-%d}"
    if found.until - datetime.now(UTC) < SOON:
        return Check("c2pa", "warning", detail, "it expires soon: get the next one", vital=True)
    return Check("c2pa", "ok", detail, vital=True)


def _retimer(state: retimers.RetimerState) -> Check:
    return Check(state.name, "ok" if state.ready else "warning", state.detail, state.remedy)
