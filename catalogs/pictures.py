"""What an image file is besides its pixels: another file at once, transparent, turned, in another colour space.

Knows: Pillow's images, archives, ICC profiles. Does not know: paths, shots. Memory: the decoded image that it is given,
and its alpha channel.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import IO, Any, Final

ORIENTATION: Final = 0x0112
"""The EXIF tag of how the camera was held."""

TURNED: Final = (5, 6, 7, 8)
"""EXIF orientations in which width and height change places."""

STANDARD: Final = ("srgb", "bt.709", "bt709", "rec.709", "rec709", "rec. 709", "bt 709")
"""What the description of a profile holds if pixels are what the pipeline takes them for."""

LARGEST_PROFILE: Final = 4 * 1024 * 1024
"""Bytes of a profile that is opened."""

Note = tuple[str, Mapping[str, object]]
"""A code of problems.py and what fills its sentence."""

MOST_SCANS: Final = 100
"""Passes over a JPEG's picture, each of which may cost as much as a whole one; encoders make about ten."""

_READ: Final = 1 << 20
_SCAN: Final = b"\xff\xda"  # in the picture's own bytes an FF is never followed by a DA
_PDF_HEAD: Final = 1024  # readers of PDF look for their mark in so many bytes


def other_format(stream: IO[bytes]) -> str:
    """What else a file that opened as an image is: an archive at its end, a PDF at its beginning; empty for nothing."""
    stream.seek(0)
    if b"%PDF-" in stream.read(_PDF_HEAD):
        return "a PDF"
    try:
        # the mark of an archive's end alone may stand in any picture; an index in front of it does not
        if zipfile.is_zipfile(stream) and zipfile.ZipFile(stream).namelist():
            return "a ZIP archive"
    except Exception:  # whatever zipfile makes of an image: it is no archive
        return ""
    return ""


def has_too_many_scans(stream: IO[bytes]) -> bool:
    """Whether a JPEG would be decoded again and again for as long as its sender liked."""
    stream.seek(0)
    scans, last = 0, b""
    while block := stream.read(_READ):
        scans += (last + block).count(_SCAN)
        if scans > MOST_SCANS:
            return True
        last = block[-1:]
    return False


def notes_on(image: Any) -> tuple[Note, ...]:
    """What whoever sends an image should know of how it is read. `image` is decoded."""
    found: list[Note] = []
    if orientation := _turn(image):
        found.append(("W402", {"orientation": orientation}))
    if profile := _profile(image):
        found.append(("W403", {"profile": profile}))
    if _is_transparent(image):
        found.append(("W404", {}))
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format != "MPO":  # a camera's second picture is its thumbnail
        found.append(("W405", {"count": pictures}))
    return tuple(found)


def _turn(image: Any) -> int:
    """The EXIF orientation if it turns or mirrors; else 0."""
    orientation = image.getexif().get(ORIENTATION)
    return orientation if isinstance(orientation, int) and 2 <= orientation <= 8 else 0


def _profile(image: Any) -> str:
    """The name of an embedded colour space that is not what pixels are taken for; empty if there is none."""
    if image.mode == "CMYK":
        return "CMYK"
    embedded = image.info.get("icc_profile")
    if not isinstance(embedded, bytes) or not embedded:
        return ""
    name = _description(embedded)
    return "" if any(word in name.lower() for word in STANDARD) else name


def _description(embedded: bytes) -> str:
    from PIL import ImageCms

    if len(embedded) > LARGEST_PROFILE:
        return "an unreadable profile"
    try:
        told = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(embedded)))
    except Exception:  # whatever a broken profile leads the library to
        return "an unreadable profile"
    name = "".join(sign if sign.isprintable() else " " for sign in told[:80])
    return " ".join(name.split()) or "a profile without a name"


def _is_transparent(image: Any) -> bool:
    """Whether any pixel lets something through; an alpha channel that is full everywhere does not."""
    if image.mode in ("RGBA", "LA", "PA"):
        alpha = image.getchannel("A")
    elif "transparency" in image.info and image.mode in ("P", "RGB", "L", "1"):
        alpha = image.convert("RGBA").getchannel("A")
    else:
        return False
    return bool(alpha.getextrema()[0] < 255)
