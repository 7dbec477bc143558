"""Letters on pictures of ours: one font, the same on every machine, and lines that fit. Pure.

Knows: the font in Pillow. Does not know: sheets, slates, what is said. It holds Latin letters only: text in other
scripts is transliterated, not drawn as boxes.
"""

from __future__ import annotations

from PIL import ImageFont
from text_unidecode import unidecode

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def lettering(size: int) -> Font:
    """The font, so many pixels high."""
    return ImageFont.load_default(size)


def legible(text: str) -> str:
    """`text` in letters that the font has: others are transliterated, not drawn as boxes (Straße: Strasse)."""
    return "".join(letter if letter.isascii() or letter == "…" else unidecode(letter) for letter in text)


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
