"""Verified deliverables -> their final names, in one rename. A published folder never changes.

Knows: the layout of a version's folder, the manifest. Does not know: how anything was made.

Everything is laid out in a hidden folder beside the final one: links to the verified files, contact sheet, findings,
and the manifest last. Renaming the folder publishes all of it at once; before that nothing has a final name, after it
the version is whole. A process that dies in between leaves a hidden folder, which the next attempt sweeps.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from catalogs.footage import Deliverable, Finding, Master
from catalogs.shot import Shot
from catalogs.timebase import FIRST_FRAME, has_timecode, rate_text, timecode
from models.cards import ANIMATIC, Card
from tasks.delivered import delivered_json
from tasks.dryrun import plan_json
from tasks.errors import StepError
from tasks.frames import WORKING_PIX_FMT, ffmpeg_version
from tasks.keep import Guard, Kept, bytes_of, folder_problem, fsync_folder, fsync_tree, sha256_of, write_json
from tasks.marks import Marks, sidecar_json
from tasks.plan import TakePlan

MANIFEST: Final = "manifest.json"
FINDINGS: Final = "findings.json"


@dataclass(frozen=True, slots=True)
class Pictures:
    """What people look at before they open a film: absolute paths."""

    contact_sheet: Path
    thumbnail: Path
    preview: Path


def picture_names(plan: TakePlan) -> dict[str, str]:
    """File name of each of the Pictures, under its name in the manifest."""
    return {
        "contact_sheet": f"{plan.slate}_contact.jpg",
        "thumbnail": f"{plan.slate}_thumbnail.jpg",
        "preview": f"{plan.slate}_preview.webp",
    }


def shot_json(shot: Shot) -> dict[str, Any]:
    """All columns of a shot as JSON values: rates and speed as `N/D`, dates as ISO."""
    fields = asdict(shot)
    fields["rate"] = rate_text(shot.rate)
    fields["speed"] = rate_text(shot.speed)
    fields["due"] = shot.due.isoformat() if shot.due else None
    fields["deliveries"] = [str(delivery) for delivery in shot.deliveries]
    fields["anchors"] = [{"at": rate_text(anchor.at), "plate": asdict(anchor.plate)} for anchor in shot.anchors]
    fields["metadata"] = dict(shot.metadata)
    return fields


def deliverable_json(deliverable: Deliverable, path: str) -> dict[str, Any]:
    """A deliverable as manifest and command line write it, under the path that fits the reader."""
    fields = asdict(deliverable)
    fields["path"] = path
    fields["rate"] = rate_text(deliverable.rate)
    return fields


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as `findings.json` and `inspect --json` write it."""
    return asdict(finding)


def manifest(
    plan: TakePlan,
    *,
    card: Card,
    marks: Marks,
    sidecars: Sequence[Kept],
    join: Mapping[str, Any],
    master: Master,
    retime: Mapping[str, Any],
    engine: Mapping[str, Any],
    generated: Sequence[Mapping[str, Any]],
    ffmpeg: str,
    encoder_argv: Mapping[str, Sequence[str]],
    version: Path,
    notices: Sequence[str],
    deliverables: Sequence[Deliverable],
    findings: Sequence[Finding],
    seconds: Mapping[str, float],
    started: datetime,
    finished: datetime,
) -> dict[str, Any]:
    """Enough to make the same pixels again. Paths are relative to the manifest's folder, which will be `version`.

    `engine` says what the engine is made of (tasks.engines.facts), `generated` how it ran for each window
    (tasks.engines.way); the last window's way stands for the take. `join` says how the windows met
    (tasks.join.join_clips). `marks` are what the files say, `sidecars` lie beside them. `encoder_argv` is ffmpeg's
    command line by deliverable, paths reduced to names. The master's path leads into the work folder, swept some day;
    its sha256 stays true. schemas/manifest.schema.json says what stands in it.
    """
    planned = plan_json(plan, card=card)
    return {
        "slate": plan.slate,
        "digital_source_type": marks.address,
        "signature": marks.signature,
        "notices": list(notices),
        "shot": shot_json(plan.shot),
        "take": {"version": plan.version, "key": plan.key, "seed": plan.seed},
        "plan": planned,
        "engine": {
            "card": plan.spec.name,
            "engine": plan.spec.engine,
            "version": plan.spec.version,
            # the animatic borrows the card's windows, and nothing that was licensed
            "licence": "" if plan.spec.engine == ANIMATIC else card.licence,
            **engine,
            **{name: value for name, value in generated[-1].items() if name != "tried"},
            "windows": [dict(one) for one in generated],
            "loras": [
                {
                    "name": lora.name,
                    "path": str(lora.file.path),
                    "sha256": list(lora.sha256),
                    "scale": lora.file.scale,
                    "trigger": lora.trigger,
                }
                for lora in plan.loras
            ],
            "versions": {
                **engine["versions"],
                "python": platform.python_version(),
                "dailies": installed("dailies"),
                "numpy": installed("numpy"),
                "opencv": installed("opencv-python-headless"),
                "ffmpeg": ffmpeg_version(ffmpeg),
            },
        },
        "join": {"windows": list(join["windows"])},
        "retime": {**planned["retiming"], "version": plan.interpolator.version, **retime},
        "master": {
            "path": os.path.relpath(master.path, version),
            "kind": "master",
            "sha256": master.sha256,
            "bytes": master.bytes,
            "frames": master.frames,
            "rate": rate_text(master.rate),
            "width": master.width,
            "height": master.height,
            "codec": "ffv1",
            "pix_fmt": WORKING_PIX_FMT,
            "first_frame": FIRST_FRAME,
            "timecode": timecode(FIRST_FRAME, master.rate) if has_timecode(master.rate) else "",
        },
        "deliverables": [
            {
                **deliverable_json(one, one.path.name),
                **delivered_json(plan, planned_one),
                "argv": list(encoder_argv[one.path.name]),
            }
            for one, planned_one in zip(deliverables, plan.deliveries, strict=True)
        ],
        "sidecars": [sidecar_json(one) for one in sidecars],
        "findings": [finding_json(finding) for finding in findings],
        "seams": [{**seam, "frame": plan.delivery_frame(seam["native_frame"])} for seam in join["seams"]],
        **picture_names(plan),
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
        "started": started.isoformat(),
        "finished": finished.isoformat(),
    }


def read_published(plan: TakePlan, folder: Path) -> dict[str, Any] | None:
    """The manifest in `folder` if it is this plan's and every file in it still has its hash; else None.

    Raises StepError if the folder holds another take: a published version is never overwritten.
    """
    try:
        document: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        key = document["take"]["key"]
        files = [*document["deliverables"], *document.get("sidecars", [])]
    except FileNotFoundError:
        if folder.exists():
            raise StepError(f"{folder} exists without a manifest; Dailies did not make it, move it away") from None
        return None
    except OSError as error:
        why = f"{folder / MANIFEST} cannot be read: {error.strerror or error}; check its permissions"
        raise StepError(folder_problem(folder.parent) or why) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StepError(f"{folder / MANIFEST} cannot be read ({error}); move the folder away") from None
    if key != plan.key:
        raise StepError(f"{folder} holds another take ({key[:12]}, not {plan.key[:12]}); move it away")
    for entry in files:
        path = folder / entry["path"]
        if not path.exists() or bytes_of(path) != entry["bytes"] or sha256_of(path) != entry["sha256"]:
            raise StepError(f"{path} is not what was published; move {folder.name} away and render again")
    return document


def publish(
    plan: TakePlan,
    folder: Path,
    *,
    files: Sequence[Kept],
    pictures: Pictures,
    findings: Sequence[Finding],
    document: Mapping[str, Any],
    guard: Guard = nullcontext,
) -> Path:
    """Give everything its final name and return the manifest's path. Raises StepError if the disk refuses, and what
    `guard` raises: the one rename that publishes stands inside it.

    `files` are verified and lie on the same file system where that is possible: they are linked, else copied.
    """
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        for kept in files:
            _link(kept.path, aside / kept.path.name)
        for name, picture in picture_names(plan).items():
            shutil.copyfile(getattr(pictures, name), aside / picture)
        write_json(aside / FINDINGS, {"findings": [finding_json(finding) for finding in findings]})
        write_json(aside / MANIFEST, document)
        fsync_tree(aside)
        with guard():
            os.rename(aside, folder)
            # what dead attempts left; only under the guard, or one that was given up would sweep a living one's
            for stale in folder.parent.glob(f".{folder.name}.*"):
                shutil.rmtree(stale, ignore_errors=True)
        fsync_folder(folder.parent)
    except OSError as error:
        raise StepError(
            f"{plan.slate}: cannot publish to {folder.parent}: {error.strerror or error}; nothing was published, "
            "mend the folder and render again"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder / MANIFEST


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name: a hard link where the file system has them, else a copy."""
    if source.is_dir():
        target.mkdir()
        for file in sorted(source.iterdir()):
            _link(file, target / file.name)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def first_free_version(shot_folder: Path) -> int:
    """1 + the highest version published below a shot's folder, 1 if there is none."""
    versions = [
        int(entry.name[1:]) for entry in shot_folder.glob("v[0-9]*") if entry.name[1:].isdigit() and entry.is_dir()
    ]
    return max(versions, default=0) + 1
