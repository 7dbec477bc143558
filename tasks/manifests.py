"""Reading the manifests of published versions: what was made of what, as it was written down then.

Knows: the file, its digest, and where older manifests say less. Does not know: the catalogue, what is told of it.
Memory: one manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.cards import ANIMATIC
from tasks.errors import MediaError

NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "shot": ("show", "plate", "end_plate"),
    "take": ("key",),
    "engine": ("engine", "card", "weights"),
    "retime": ("engine", "model", "sha256"),
    "deliverables": ("path", "kind", "sha256", "bytes"),
}
"""What is read of a manifest, and what every one has had from the first on."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest."""

    path: Path
    """Absolute path of the file."""
    sha256: str
    """Digest of the file's bytes."""
    document: Mapping[str, Any]
    """What it says."""

    @property
    def slate(self) -> str:
        """The version's slate."""
        return str(self.document["slate"])


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises MediaError if it is not there or not a manifest of ours."""
    try:
        raw = path.read_bytes()
        document = json.loads(raw)
        for part, keys in NEEDED.items():
            for one in document[part] if part == "deliverables" else [document[part]]:
                for key in keys:
                    one[key]
        document["slate"], document["finished"]
    except OSError as error:
        raise MediaError(
            f"{path} cannot be read: {error.strerror or error}; bring the version's folder back"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(
            f"{path} is not a manifest of Dailies ({error!r}); bring back the one that was written"
        ) from error
    return Manifest(path.absolute(), hashlib.sha256(raw).hexdigest(), document)


def made_by_model(document: Mapping[str, Any]) -> bool:
    """Whether an image-to-video model made the pictures; the animatic only borrows the window rule of its card."""
    return bool(document["engine"]["engine"] != ANIMATIC)


def provenance(manifest: Manifest) -> dict[str, Any]:
    """What a timeline keeps of it: who made the pictures, under which licence, where to read all of it."""
    document = manifest.document
    engine, retime = document["engine"], document["retime"]
    return {
        "engine": engine["engine"],
        "card": engine["card"] if made_by_model(document) else ANIMATIC,
        "licence": engine.get("licence", ""),
        "loras": [one["name"] for one in engine.get("loras", [])],
        "retimer": " ".join(part for part in (retime["engine"], retime.get("model", "")) if part),
        "digital_source_type": document.get("digital_source_type", ""),
        "key": document["take"]["key"],
        "manifest_sha256": manifest.sha256,
    }
