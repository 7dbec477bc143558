"""What versions were made of: models with licences, LoRAs, interpolators, inputs, files. From manifests alone. Pure.

Knows: manifests, and how a disclosure reads. Does not know: the catalogue, files, the law: it states what was written
down, and says where something was not. Memory: what is told of every version, about a kilobyte each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

from tasks.manifests import Manifest, made_by_model

NOT_RECORDED: Final = "not recorded"
"""Said in place of what a manifest does not hold."""


@dataclass(frozen=True, slots=True)
class Told:
    """A published version and what is known of it."""

    slate: str
    status: str
    """Its verdict: review, approved or retake."""
    manifest: Manifest | None
    """None if it cannot be read."""
    why: str = ""
    """Why not, a sentence; empty if it can."""


@dataclass(frozen=True, slots=True)
class Licences:
    """SPDX identifiers by name, from the cards of today: for what a manifest does not say."""

    models: Mapping[str, str]
    loras: Mapping[str, str]
    interpolators: Mapping[str, str]


def disclosure(
    told: Sequence[Told], *, licences: Licences, made_by: str, written: str, roots: Sequence[Path] = ()
) -> dict[str, Any]:
    """The document. `made_by` names the program with its version, `written` the time. It goes to people outside: a path
    is told from one of `roots` on, such as the root of all plates, and is a file's name outside of them.
    """
    read = [one.manifest for one in told if one.manifest is not None]
    return {
        "made_by": made_by,
        "written": written,
        "shows": sorted({str(one.document["shot"]["show"]) for one in read}),
        "models": _gathered(read, lambda one: _models(one.document, licences.models)),
        "loras": _gathered(read, lambda one: _loras(one.document, licences.loras)),
        "interpolators": _gathered(read, lambda one: _interpolators(one.document, licences.interpolators)),
        "inputs": _gathered(read, lambda one: _inputs(one.document, roots)),
        "versions": [_version(one.status, one.manifest, roots) for one in told if one.manifest is not None],
        "without_manifest": [
            {"slate": one.slate, "why": _without(one.why, roots)} for one in told if one.manifest is None
        ],
    }


def _gathered(
    manifests: Iterable[Manifest], of: Callable[[Manifest], Iterable[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Each different thing once, in the order met, with the slates of the versions that it is in."""
    found: list[tuple[Mapping[str, Any], list[str]]] = []
    for one in manifests:
        for thing in of(one):
            slates = next((slates for known, slates in found if known == thing), None)
            if slates is None:
                found.append((thing, [one.slate]))
            elif one.slate not in slates:
                slates.append(one.slate)
    return [{**thing, "versions": slates} for thing, slates in found]


def _licence(recorded: object, name: str, cards: Mapping[str, str]) -> dict[str, str]:
    """The licence that the manifest holds, else that of today's card, and which of them it is."""
    if recorded:
        return {"licence": str(recorded), "licence_from": "manifest"}
    if cards.get(name):
        return {"licence": cards[name], "licence_from": "card"}
    return {"licence": NOT_RECORDED, "licence_from": ""}


def _models(document: Mapping[str, Any], cards: Mapping[str, str]) -> list[dict[str, Any]]:
    engine = document["engine"]
    if not made_by_model(document):
        return []
    return [
        {
            "name": engine["card"],
            "engine": engine["engine"],
            **_licence(engine.get("licence"), engine["card"], cards),
            "weights": [{"path": file["path"], "sha256": file["sha256"]} for file in engine["weights"]],
        }
    ]


def _loras(document: Mapping[str, Any], cards: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": lora["name"], "sha256": list(lora["sha256"]), **_licence("", lora["name"], cards)}
        for lora in document["engine"].get("loras", [])
    ]


def _interpolators(document: Mapping[str, Any], cards: Mapping[str, str]) -> list[dict[str, Any]]:
    """What made frames between frames: for the delivery rate, or to morph from one window into the next."""
    retime = document["retime"]
    if not retime.get("interpolated") and all(seam.get("way") != "morph" for seam in document.get("seams", [])):
        return []
    if not retime["sha256"]:
        return [{"name": retime["engine"], "trained": False, "sha256": "", "licence": "", "licence_from": ""}]
    name = retime["model"]
    return [{"name": name, "trained": True, "sha256": retime["sha256"], **_licence("", name, cards)}]


def _inputs(document: Mapping[str, Any], roots: Sequence[Path]) -> list[dict[str, Any]]:
    shot = document["shot"]
    stills = [("plate", shot["plate"]), ("end plate", shot["end_plate"])]
    stills += [("anchor", anchor["plate"]) for anchor in shot.get("anchors", [])]
    return [
        {"role": role, "path": _outside(still["path"], roots), "sha256": still["sha256"]}
        for role, still in stills
        if still is not None
    ]


def _outside(path: str | Path, roots: Sequence[Path]) -> str:
    """A path as people outside are told it: how a machine's disks are laid out is nobody's business."""
    full = PurePath(path)
    root = next((root for root in roots if full.is_relative_to(root)), None)
    return full.relative_to(root).as_posix() if root else full.name


def _without(said: str, roots: Sequence[Path]) -> str:
    """A sentence without the places of this machine."""
    for root in roots:
        said = said.replace(f"{root}/", "")
    return said


def _version(status: str, manifest: Manifest, roots: Sequence[Path]) -> dict[str, Any]:
    document = manifest.document
    return {
        "slate": manifest.slate,
        "status": status,
        "made_by_model": made_by_model(document),
        "digital_source_type": document.get("digital_source_type") or NOT_RECORDED,
        "finished": document["finished"],
        "signature": document.get("signature"),
        "manifest": _outside(manifest.path, roots),
        "manifest_sha256": manifest.sha256,
        "files": [
            {name: file[name] for name in ("path", "kind", "sha256", "bytes")}
            for file in (*document["deliverables"], *document.get("sidecars", []))
        ],
    }


def disclosure_page(document: Mapping[str, Any]) -> str:
    """The document as Markdown, for people."""
    shows = ", ".join(document["shows"]) or "no show"
    lines = [f"# Disclosure: {shows}", "", f"Written by {document['made_by']} on {document['written']}.", ""]
    made = sum(one["made_by_model"] for one in document["versions"])
    lines += [
        f"{len(document['versions'])} published versions, {made} of them with pictures made by a trained model. "
        "All of it stands in the manifests that were written with the files.",
        "",
    ]
    lines += _table(
        "Models",
        ("model", "licence", "weights", "versions"),
        [(one["name"], _told_licence(one), str(len(one["weights"])), _slates(one)) for one in document["models"]],
    )
    lines += _table(
        "LoRAs",
        ("LoRA", "licence", "sha256", "versions"),
        [(one["name"], _told_licence(one), ", ".join(one["sha256"]), _slates(one)) for one in document["loras"]],
    )
    lines += _table(
        "Frames between frames",
        ("interpolator", "licence", "sha256", "versions"),
        [
            (one["name"], _told_licence(one) if one["trained"] else "no trained model", one["sha256"], _slates(one))
            for one in document["interpolators"]
        ],
    )
    lines += _table(
        "Inputs",
        ("role", "file", "sha256", "versions"),
        [(one["role"], one["path"], one["sha256"], _slates(one)) for one in document["inputs"]],
    )
    lines += _table(
        "Files",
        ("version", "status", "file", "sha256", "digital source type"),
        [
            (one["slate"], one["status"], file["path"], file["sha256"], one["digital_source_type"].rpartition("/")[2])
            for one in document["versions"]
            for file in one["files"]
        ],
    )
    lines += _table(
        "Without a manifest",
        ("version", "why"),
        [(one["slate"], one["why"]) for one in document["without_manifest"]],
    )
    return "\n".join(lines)


def _told_licence(one: Mapping[str, Any]) -> str:
    return f"{one['licence']} (by today's card)" if one["licence_from"] == "card" else str(one["licence"])


def _slates(one: Mapping[str, Any]) -> str:
    return ", ".join(one["versions"])


def _table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return [f"## {title}", "", "None.", ""]
    ruled = [headers, ["---"] * len(headers), *rows]
    return [f"## {title}", "", *(f"| {' | '.join(map(_cell, row))} |" for row in ruled), ""]


def _cell(text: str) -> str:
    """A cell that cannot end its column or its row, nor begin markup."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
