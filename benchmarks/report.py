"""What every benchmark ends with: a table for people, and JSON with the machine described."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import describe

RESULTS = Path(__file__).resolve().parent / "results"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same names as text in columns."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def write(name: str, result: Mapping[str, Any]) -> None:
    """Keep a result as `results/NAME.json`, with the machine it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": describe(), **result}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
