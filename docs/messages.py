"""Writes the table of messages in shot-lists.md from catalogs/problems.py: `python docs/messages.py`."""

from __future__ import annotations

import re
from pathlib import Path

from catalogs.problems import KINDS

PAGE = Path(__file__).with_name("shot-lists.md")
BEGIN, END = "<!-- messages: python docs/messages.py writes them -->\n", "<!-- end of messages -->\n"


def table() -> str:
    """One row for each code. What differs from list to list is in italics."""
    rows = ["| code | meaning | remedy |", "|---|---|---|"]
    for code, kind in KINDS.items():
        remedy = "what the message says" if kind.remedy == "{remedy}" else _prose(kind.remedy)
        note = f". {kind.note}" if kind.note else ""
        rows.append(f"| `{code}` | {_prose(kind.message)}{note} | {remedy} |")
    return "\n".join(rows) + "\n"


def _prose(template: str) -> str:
    return re.sub(r"\{(\w+)\}", r"*\1*", template).replace("|", "\\|")


def page(text: str) -> str:
    """The page with a new table."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
