"""Reads a still at its full depth.

Knows: image files (Pillow for 8 bits and colour modes, OpenCV for 16-bit colour), EXIF rotation, alpha.
Does not know: frames, cameras, engines. Memory: the decoded file and its 16-bit RGB copy, 6 bytes a pixel.

Rules: upright by EXIF; alpha composited over black; grey and CMYK become RGB; an 8-bit value v becomes v * 257, so that
0 and 255 are 0 and 65535; 16-bit values stay as they are. Embedded colour profiles are not applied.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.interface import EngineError, Frame

DEEP_FORMATS: Final = (b"\x89PNG", b"II*\x00", b"MM\x00*", b"P6")
"""First bytes of files that may hold 16-bit colour, which Pillow would silently cut to 8 bits or refuse."""
UPRIGHT: Final = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}
"""EXIF orientation -> what turns the stored pixels upright (Exif 2.3, tag 0x0112)."""
ORIENTATION: Final = 0x0112


def read_plate(path: Path) -> Frame:
    """The still as (height, width, 3) uint16 RGB, upright. Raises EngineError if it is missing or unreadable."""
    if not path.is_file():
        raise EngineError(f"the plate {path} does not exist; put it there, or correct the shot list")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the shot list bounds plates already
            with path.open("rb") as stream:
                deep = _may_be_deep(stream.read(25))
            pixels, orientation = _deep(path) if deep else (None, 1)
            if pixels is not None:
                return np.ascontiguousarray(UPRIGHT.get(orientation, lambda same: same)(pixels))
            with Image.open(path) as image:
                return _shallow(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, cv2.error, Image.DecompressionBombError) as error:
        raise EngineError(f"the plate {path} cannot be read: {error}; export it again as PNG, TIFF or JPEG") from error


def _may_be_deep(start: bytes) -> bool:
    """Whether a file that starts so can hold 16 bits a channel. A PNG states its depth in byte 24 (IHDR)."""
    if start.startswith(b"\x89PNG") and len(start) == 25:
        return start[24] == 16
    return start.startswith(DEEP_FORMATS)


def _shallow(image: Image.Image) -> Frame:
    """An image that Pillow holds whole: at most 8 bits a channel, or 16-bit grey."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image, dtype=np.int64), 0, 65535).astype(np.uint16)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point images have no stated white")
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        rgba = np.asarray(image.convert("RGBA"), dtype=np.uint32)
        return ((rgba[:, :, :3] * rgba[:, :, 3:] * 257 + 127) // 255).astype(np.uint16)
    return np.asarray(image.convert("RGB"), dtype=np.uint16) * np.uint16(257)


def _deep(path: Path) -> tuple[Frame | None, int]:
    """16-bit pixels as stored and the EXIF orientation; None if the file is not 16 bits deep or not readable."""
    stored = np.fromfile(path, dtype=np.uint8)
    raw: NDArray[Any] | None = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if stored.size else None
    if raw is None or raw.dtype != np.uint16:
        return None, 1
    orientation = 1
    with Image.open(path) as image:
        image.load()  # refuses a file cut short, which OpenCV may fill with black
        orientation = int(image.getexif().get(ORIENTATION, 1))
    if raw.ndim == 2:
        pixels = np.repeat(raw[:, :, None], 3, axis=2)
    elif raw.shape[2] == 3:
        pixels = raw[:, :, ::-1]
    else:
        bgra = raw.astype(np.uint64)
        pixels = ((bgra[:, :, 2::-1] * bgra[:, :, 3:] + 32767) // 65535).astype(np.uint16)
    return pixels, orientation
