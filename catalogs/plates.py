"""Stills that shots start from: found, kept inside their root, opened once, measured and hashed.

Knows: paths, links, Pillow, bounds on an image. Does not know: shots, models, what a plate is for; what else an image
file may be (pictures.py). Memory: one decoded plate at a time, at most MOST_PIXELS (about 1 GB for 16 bits in four
channels).
"""

from __future__ import annotations

import hashlib
import stat
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from catalogs.pictures import MOST_SCANS, ORIENTATION, TURNED, Note, has_too_many_scans, notes_on, other_format
from catalogs.shot import Plate

MOST_PIXELS: Final = 120_000_000
"""Larger images are refused by their header, before a byte of them is unpacked."""

SMALLEST: Final = 16
"""Pixels that either side must have at least."""

LONGEST_ASPECT: Final = 4
"""How often the short side may fit into the long one."""

FORMATS: Final = ("PNG", "TIFF", "JPEG", "MPO", "WEBP", "BMP", "PPM")
"""What Pillow may try. A list, because some of its other readers start programs (EPS) or fetch parts."""

LARGEST: Final = 1024**3
"""Bytes of the file: 120 megapixels of 16 bits in four channels, not packed."""

LONGEST_PATH: Final = 4096
"""Characters of a path; a system resolves a longer one folder by folder all the same, and takes minutes."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file that a cell names cannot be used."""

    code: str
    """A code of problems.py: E402 to E411 for a plate, E601 to E609 for a LoRA."""
    words: Mapping[str, object]
    """What fills that code's sentence."""


@dataclass(frozen=True, slots=True)
class Plates:
    """The stills of one submission. A file is opened once, however many rows name it."""

    root: Path
    """Folder where relative paths start and which no plate may lie outside of; links resolved."""
    _named: dict[str, Plate | Refused] = field(default_factory=dict, init=False, repr=False, compare=False)
    _seen: dict[Path, Plate | Refused] = field(default_factory=dict, init=False, repr=False, compare=False)
    _notes: dict[str, list[Note]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _folded: dict[str, Plate] = field(default_factory=dict, init=False, repr=False, compare=False)

    def get(self, text: str) -> Plate | Refused:
        """The plate that a cell names, or why it cannot be used. Never raises for what the cell says."""
        found = self._named.get(text)
        if found is None:
            found = self._find(text)
            if len(text) <= LONGEST_PATH:
                self._named[text] = found
        return found

    def notes(self, plate: Plate) -> list[Note]:
        """What whoever named it should know of a plate: once, whoever asks first."""
        return self._notes.pop(plate.path, []) if self._notes else []

    def _find(self, text: str) -> Plate | Refused:
        if len(text) > LONGEST_PATH:
            return Refused("E402", {"root": self.root})
        try:
            path = (self.root / text).resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle, names too long
            return Refused("E402", {"root": self.root})
        if not path.is_relative_to(self.root):
            return Refused("E403", {"root": self.root})
        if path not in self._seen:
            self._seen[path] = self._opened(path)
        return self._seen[path]

    def _opened(self, path: Path) -> Plate | Refused:
        found, notes = _open(path, self.root)
        if isinstance(found, Plate):
            # two files that one of the systems on the way may take for one
            twin = self._folded.setdefault(unicodedata.normalize("NFC", found.path).casefold(), found)
            if twin.sha256 != found.sha256:
                notes = (*notes, ("W406", {"other": Path(twin.path).name}))
            if notes:
                self._notes[found.path] = list(notes)
        return found


def _open(path: Path, root: Path) -> tuple[Plate | Refused, tuple[Note, ...]]:
    """The plate, or why it cannot be used; and what its sender should know."""
    from PIL import Image

    try:
        status = path.stat()
    except (OSError, ValueError):
        return Refused("E402", {"root": root}), ()
    # Before opening: a pipe would block for ever, a device never end.
    if not stat.S_ISREG(status.st_mode):
        return Refused("E404", {}), ()
    if status.st_size > LARGEST:
        return Refused("E410", {"size": f"{status.st_size / 1024**3:.1f}", "limit": LARGEST // 1024**3}), ()
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            # Pillow's own, lower, limit warns where ours is still to decide; other oddities do not matter here.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=FORMATS) as image:
                refusal = _check_size(*image.size)
                if refusal:
                    return refusal, ()
                if image.format in ("JPEG", "MPO") and has_too_many_scans(stream):
                    return Refused("E405", {"detail": f"it has more than {MOST_SCANS} scans"}), ()
                image.load()
                if image.mode == "F":
                    return Refused("E405", {"detail": "floating-point pixels have no stated white"}), ()
                width, height = image.size
                if image.getexif().get(ORIENTATION) in TURNED:
                    width, height = height, width
                notes = notes_on(image)
                if other := other_format(stream):
                    return Refused("E411", {"detail": other}), ()
                stream.seek(0)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except Image.DecompressionBombError:
        return Refused("E406", _too_many("far too many pixels")), ()
    except Exception as error:  # decoders raise whatever a broken file leads them to
        return Refused("E405", {"detail": _reason(error)}), ()
    return Plate(path=str(path), sha256=digest, width=width, height=height), notes


def _check_size(width: int, height: int) -> Refused | None:
    size = f"{width}x{height}"
    if width * height > MOST_PIXELS:
        return Refused("E406", _too_many(size))
    if min(width, height) < SMALLEST:
        return Refused("E407", {"detail": size, "limit": SMALLEST})
    if max(width, height) > LONGEST_ASPECT * min(width, height):
        return Refused("E408", {"detail": size, "limit": LONGEST_ASPECT})
    return None


def _too_many(detail: str) -> dict[str, Any]:
    return {"detail": detail, "limit": MOST_PIXELS // 1_000_000}


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known format"
    if isinstance(error, PermissionError):
        return "permission denied"
    return " ".join(str(error).split())[:100] or type(error).__name__
