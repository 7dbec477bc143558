"""Where benchmarks/generation.py keeps its rows, and how it prints them: one file for all models, sizes and devices.

Knows: the rows' names and order, ratios. Does not know: torch, how a row is measured. A run is a model at a size on a
device; its rows are replaced by name, so that calls add up. Memory: the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from generation_ways import WAYS
from report import table

GOALS: Final = {"exact": {"ratio": 1.8, "latents_db": 40, "pixels_db": 40}, "fast": {"ratio": 3.5}}
"""For 14b at 720p on one H100 or H200."""
NOTE: Final = (
    "Random weights: seconds, memory and planned skips are the real model's; the PSNR of step caches and of 8-bit "
    "multiplication, and what first-block and sea skip, are not. On a CPU seconds are processor seconds on one thread."
)
_NAMES: Final = [way.name for way in WAYS]
ROWS: Final = (*_NAMES[:2], "parts", "vae", *_NAMES[2:])
"""Every row that can be asked for, most important first."""


def read(path: Path) -> list[dict[str, Any]]:
    """The runs of a file; none of one that does not exist."""
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return found


def merged(path: Path, run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run with what the file had of it and these rows, their ratios found anew; the file holds it afterwards."""
    runs = read(path)
    before = next((old["rows"] for old in runs if _key(old) == _key(run)), [])
    named = {row["row"]: dict(row) for row in (*before, *rows)}
    if "vae-tiled" in named:
        named.pop("vae", None)  # an earlier failure
    for name, row in named.items():
        row.pop("ratio", None)
        own, stock = row.get("seconds_per_step"), _stock(named, name)
        if own and stock:
            row["ratio"] = round(stock / own, 3)
    whole = {**run, "rows": sorted(named.values(), key=lambda row: _place(row["row"]))}
    others = [old for old in runs if _key(old) != _key(run)]
    document = {"goals_14b_720p": GOALS, "note": NOTE, "runs": sorted([*others, whole], key=_key)}
    path.parent.mkdir(parents=True, exist_ok=True)
    attempt = path.with_suffix(f".{os.getpid()}.tmp")
    attempt.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    os.replace(attempt, path)
    return whole


def show(runs: Iterable[Mapping[str, Any]]) -> None:
    """A table per run."""
    for run in runs:
        print(
            f"\n{run['model']} {run['size']}: {run['width']}x{run['height']}, {run['frames']} frames, {run['device']}"
        )
        if rows := [_shown(row) for row in run["rows"] if row["row"] != "parts" or "failed" in row]:
            print(table(rows))
        for row in run["rows"]:
            if row["row"] == "parts" and "failed" not in row:
                print(f"parts at {row['tokens']} tokens, ms: {row['attention_ms']}, {row['linear_ms']}")
    print(f"\n{NOTE}", flush=True)


def _key(run: Mapping[str, Any]) -> tuple[str, str, str]:
    return run["model"], run["size"], run["device"]


def _place(name: str) -> int:
    """Of a row in the table."""
    return ROWS.index("vae" if name.startswith("vae-") else name)


def _stock(rows: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """Seconds of a stock step that a row is compared with: of the whole schedule where both have it."""
    wanted = ["stock-whole", "stock"] if name.endswith("-whole") else ["stock", "stock-whole"]
    return next((rows[each]["seconds_per_step"] for each in wanted if "seconds_per_step" in rows.get(each, {})), None)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the printed table."""
    notes = [row.get("failed", ""), "derived" if row.get("derived") else ""]
    if row["row"].startswith("vae-"):
        memory = max((row.get(f"{part}_peak_gb") or 0 for part in ("encode", "decode")), default=0)
        notes.append(f"encode {row['encode_s']} s, decode {row['decode_s']} s")
        row = {**row, "peak_gb": memory or None}
    notes.append(f"computes {row['computed']}" if "computed" in row else "")
    notes.append("NOT FINITE" if row.get("finite") is False else "")
    tuned = row.get("tuned") or {}
    notes += [tuned.get("attention", ""), "compiled" if tuned.get("compiled") else ""]
    notes.append(f"{tuned['fp8_layers']} layers in 8 bits" if tuned.get("fp8_layers") else "")
    columns = ("seconds_per_step", "ratio", "latents_db", "pixels_db", "peak_gb", "warm_up_s", "steps")
    cells = {name: "" if row.get(name) is None else row[name] for name in columns}
    return {"row": row["row"], **cells, "note": ", ".join(filter(None, notes))}
