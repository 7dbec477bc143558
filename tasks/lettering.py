"""Letters on pictures of ours: one font, the same on every machine, and lines that fit. Pure.

Knows: Roboto, which comes with the installation. Does not know: sheets, slates, what is said. It draws Latin with all
its accents, Greek, Cyrillic and Vietnamese as they are written. Other alphabets are transliterated. Chinese characters
are boxes: how they are read depends on the language, and a name in a wrong reading is another name.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import as_file, files

from PIL import ImageFont
from text_unidecode import unidecode

Font = ImageFont.FreeTypeFont


@cache
def lettering(size: int) -> Font:
    """The font, so many pixels high."""
    with as_file(files("font_roboto") / "files" / "Roboto-Regular.ttf") as path:
        # the plain way of setting, which does not depend on a library of the machine's
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _has(letter: str) -> bool:
    """Whether the font has a letter: what it has not it draws like a code that is nobody's."""
    font = lettering(40)
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


def legible(text: str) -> str:
    """`text` in letters that the font has, as it is written where it can be (Käthe, Łukasz); other alphabets are
    transliterated, and what has no one reading stays, to be drawn as a box."""
    shown = []
    for letter in unicodedata.normalize("NFC", text):
        if _has(letter):
            shown.append(letter)
        elif unicodedata.category(letter) not in ("Mn", "Me", "Cf"):  # marks and joiners mean nothing alone
            ideograph = "IDEOGRAPH" in unicodedata.name(letter, "")
            shown.append(letter if ideograph else unidecode(letter).strip() or letter)
    return "".join(shown)


def wrapped(text: str, font: Font, *, width: float, most: int) -> list[str]:
    """`text` in lines of at most `width` pixels, at most `most` of them, the last one cut with an ellipsis."""
    lines: list[str] = []
    words = legible(text).split()
    while words and len(lines) < most:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        lines.append(" ".join(words[:taken]))
        words = words[taken:]
    if words:
        lines[-1] += " …"
    return [cut(line, font, width=width) for line in lines]


def cut(text: str, font: Font, *, width: float) -> str:
    """`text`, shortened with an ellipsis until it fits `width` pixels."""
    text = legible(text)
    if font.getlength(text) <= width:
        return text
    # the length rises with every letter: halve the doubt
    fits, fails = 0, len(text)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if font.getlength(f"{text[:middle].rstrip()}…") <= width:
            fits = middle
        else:
            fails = middle
    return f"{text[:fits].rstrip()}…"


def squeezed(text: str, font: Font, *, width: float) -> str:
    """`text`, with an ellipsis for its middle until it fits `width` pixels: a slate's end is its version."""
    whole = shown = legible(text)
    kept = len(whole)
    while kept > 1 and font.getlength(shown) > width:
        kept -= 1
        tail = kept - kept // 2
        shown = f"{whole[: kept - tail]}…{whole[-tail:]}"
    return shown
