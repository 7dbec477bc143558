"""When two shot codes are so alike that one is probably the other, mistyped or mangled by a spreadsheet.

Knows: how a code is written. Does not know: which codes there are. Memory: one code.
"""

from __future__ import annotations

import re
from typing import Final

_MARKS: Final = re.compile(r"[._-]+")
_ZEROS: Final = re.compile(r"(?<![0-9])0+(?=[0-9])")
_BESIDE_LETTERS: Final = re.compile(r"(?<=[^0-9])-|-(?=[^0-9])")


def likeness(code: str) -> str:
    """What is left of a code without its case, its numbers' leading zeros and its dots, dashes and underscores.

    Two codes are near-duplicates if and only if their likeness is equal and they differ: `SH10` and `SH010`, `001` and
    `1`, `SH_010` and `sh-10`. Between two digits a mark stays, as a dash: `1_10` is not `110`.
    """
    folded = _ZEROS.sub("", _MARKS.sub("-", code.casefold()).strip("-"))
    return _BESIDE_LETTERS.sub("", folded)
