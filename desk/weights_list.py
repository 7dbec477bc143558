"""`dailies weights list`: every model with what of it is installed, and how it would run on this machine.

Knows: cards, the weights folder, the device. Does not know: torch, hashes: `verify` looks at those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from desk.show import OUT, document, print_rows, say
from models.cards import Card, broken_cards, cards_with
from models.headers import WeightsError, read_header
from models.installed import Weights, installed
from models.interface import EngineError
from models.interpolator_cards import FILE, find_torch, interpolator_cards
from models.layout import index_shards
from models.lora_cards import LoraCard, lora_cards
from models.memory import DeviceFacts
from models.rife_verify import card_of_ncnn, origin, problems
from models.rife_wheel import FILES
from models.weights import model_folder
from models.weights_lock import read_lock
from tasks.diffusion import device_facts, device_name, quantised
from tasks.fitting import Fit, fit

_WEIGHTS: Final = next(name for name in FILES if name.endswith(".bin"))

_SPARE: Final = ("engine", "VRAM best", "VRAM least", "licence", "GB")
"""Columns that a narrow terminal does without, the first to go first."""


def listed(weights: Path) -> dict[str, Any]:
    """The document of `dailies weights list --json`. A card that cannot be used is listed with its fault."""
    device = device_facts()
    models = [_described(card, weights, device) for card in cards_with(weights).values()]
    loras = [_lora(card) for card in lora_cards(weights).values()]
    return {
        "weights": str(weights),
        "device": {"name": device_name(), **asdict(device)},
        "models": models,
        "broken": {name: str(error) for name, error in broken_cards(weights).items()},
        "loras": loras,
        "interpolators": _interpolators(weights),
    }


def show(found: Mapping[str, Any], *, as_json: bool) -> None:
    """The document, or tables of it."""
    if as_json:
        document(found)
        return
    headers = ("model", "engine", "licence", "GB>", "VRAM least>", "VRAM best>", "installed", "here")
    print_rows(headers, [_row(entry) for entry in found["models"]], spare=_SPARE)
    for entry in found["models"]:
        if entry["problem"]:
            say(f"{entry['name']}: {entry['problem']}", "yellow")
    for error in found["broken"].values():
        say(error, "red")
    if found["loras"]:
        OUT.print()
        rows = [
            (entry["name"], " ".join(entry["models"]) or "any", f"{entry['scale']:g}", entry["trigger"])
            for entry in found["loras"]
        ]
        print_rows(("LoRA", "models", "scale>", "trigger"), rows, spare=("models",))
    OUT.print()
    versions = [_version(entry) for entry in found["interpolators"]]
    print_rows(("RIFE", "network", "licence", "installed", "known"), versions, spare=("network", "licence"))
    for entry in found["interpolators"]:
        if entry["problem"]:
            say(f"{entry['name']}: {entry['problem']}", "yellow")
    device = found["device"]
    ram = f"{device['free_ram'] / 1e9:.1f} GB of system memory free"
    vram = f"{device['free_vram'] / 1e9:.1f} of {device['total_vram'] / 1e9:.1f} GB free, "
    what = f"{device['name']}, {vram}{ram}" if device["kind"] != "cpu" else f"the processor, no NVIDIA GPU; {ram}"
    say(f"\nThis machine: {what}. `here`: the first preset size, the longest window.", on=OUT)


def _row(entry: Mapping[str, Any]) -> Sequence[str]:
    """One model."""
    return (
        entry["name"],
        entry["engine"],
        entry["licence"],
        f"{entry['bytes'] / 1e9:.1f}" if entry["bytes"] else "",
        f"{entry['vram_minimum_gb']:g}" if entry["vram_minimum_gb"] else "",
        f"{entry['vram_recommended_gb']:g}" if entry["vram_recommended_gb"] else "",
        _form(entry) if entry["installed"] == "yes" else entry["installed"],
        _here(entry["here"]),
    )


def _version(entry: Mapping[str, Any]) -> Sequence[str]:
    """One version of RIFE."""
    forms = " and ".join(entry["installed"]) or "no"
    return entry["name"], entry["architecture"], entry["licence"], forms, entry["known"]


def _form(entry: Mapping[str, Any]) -> str:
    """`folder`, `file` or `GGUF Q4_K`."""
    return {"gguf": f"GGUF {entry['quantised']}".strip(), "safetensors": "file"}.get(entry["form"], "folder")


def _here(found: Mapping[str, Any] | None) -> str:
    """The way it would be run; else what it would need."""
    if found is None:
        return "yes"
    if found["fits"]:
        return str(found["rung"])
    lacks_vram = found["device"] != "cpu" and found["vram"] > found["free_vram"]
    needed = found["vram"] if lacks_vram else found["ram"]
    return f"no: needs {needed / 1e9:.0f} GB" + ("" if lacks_vram else " RAM")


def _described(card: Card, weights: Path, device: DeviceFacts) -> dict[str, Any]:
    """A card for people and scripts."""
    folder = model_folder(weights, card.name)
    files = [
        {"path": file.path, "bytes": file.bytes, "sha256": file.sha256, "installed": _there(folder / file.path, file)}
        for file in card.files
    ]
    # billions of parameters, two bytes each: what the files have in 16 bits, where their sizes are not known
    parts = card.parameters * card.experts + card.text_encoder + card.image_encoder + card.vae
    sizes = [file.bytes for file in card.files]
    known = all(size is not None for size in sizes)
    own = folder / "card.toml"
    found, problem = _found(card, weights)
    kind = (quantised(found) or "") if found else ""
    return {
        "name": card.name,
        "title": card.title,
        "engine": card.engine,
        "licence": card.licence,
        "repository": card.repository,
        "revision": card.revision,
        "card": str(own) if own.is_file() else "",
        "bytes": sum(size or 0 for size in sizes) if known and sizes else round(parts * 2e9),
        "bytes_estimated": not (known and sizes) and bool(parts),
        "vram_minimum_gb": card.vram_minimum_gb,
        "vram_recommended_gb": card.vram_recommended_gb,
        "installed": "built in" if not card.pipeline else "yes" if found else "partly" if folder.is_dir() else "no",
        "problem": problem if folder.is_dir() else "",
        "form": found.form if found else "",
        "quantised": kind,
        "here": _fit(card, device, kind).document() if card.pipeline else None,
        "files": files,
    }


def _found(card: Card, weights: Path) -> tuple[Weights | None, str]:
    """The installed files; else what is missing or wrong. Their headers are read: a rubbish file is none."""
    if not card.pipeline:
        return None, ""
    try:
        found = installed(card, weights)
        for path in found.files():
            read_header(path)
        return found, ""
    except EngineError as error:
        return None, str(error)


def _fit(card: Card, device: DeviceFacts, kind: str) -> Fit:
    width, height = card.sizes[0]
    return fit(card, device, width=width, height=height, frames=card.longest_window, quantised=kind)


def _there(path: Path, file: Any) -> bool:
    """Whether a file lies there in its size, an index with all its shards; `verify` looks inside."""
    if not path.is_file() or (file.bytes is not None and path.stat().st_size != file.bytes):
        return False
    if not path.name.endswith(".safetensors.index.json"):
        return True
    try:
        return all((path.parent / shard).is_file() for shard in index_shards(path))
    except WeightsError:
        return False


def _lora(card: LoraCard) -> dict[str, Any]:
    """A LoRA for people and scripts."""
    return {
        "name": card.name,
        "path": str(card.file),
        "title": card.title,
        "licence": card.licence,
        "models": list(card.models),
        "trigger": card.trigger,
        "scale": card.scale,
        "low_noise": str(card.low_noise) if card.low_noise else None,
    }


def _interpolators(weights: Path) -> list[dict[str, Any]]:
    """RIFE's versions for people and scripts: those with a card, then ncnn folders of other versions."""
    cards, lock = interpolator_cards(weights), read_lock(weights)
    folders: dict[str, Path] = {}
    for folder in sorted((*weights.glob("rife-v4*"), *weights.glob("*/rife-v4*"))):
        if all((folder / name).is_file() for name in FILES):
            folders.setdefault(card_of_ncnn(folder.name), folder)
    found = []
    for name in (*cards, *(name for name in folders if name not in cards)):
        card = cards.get(name)
        file = next(iter(find_torch(weights, name)), None) if card else None
        paths = {"safetensors": file, "ncnn": folders.get(name)}
        wrong = {
            form: "; ".join(problems([path if form == "safetensors" else path / _WEIGHTS], weights))
            for form, path in paths.items()
            if path
        }
        entry = lock.get(f"{name}/{FILE}") if file else None
        made_of = origin(entry.source) if entry else ""
        from_card = card is not None and made_of in [published.sha256 for published in card.files]
        found.append(
            {
                "name": name,
                "title": card.title if card else "",
                "licence": card.licence if card else "",
                "architecture": card.architecture if card else "",
                "installed": [form for form, why in wrong.items() if not why],
                "problem": "; ".join(filter(None, wrong.values())),
                "paths": {form: str(path) for form, path in paths.items() if path},
                "sha256": entry.sha256 if entry else "",
                "known": "card" if from_card else "lock" if entry else "",
                "files": [{"url": file.url, "sha256": file.sha256} for file in card.files] if card else [],
            }
        )
    return found
