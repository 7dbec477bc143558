"""Claims about plates on disk: gone or painted over is said, what is as submitted is not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from catalogs.shot import Plate, Shot
from tasks.errors import MediaError
from tasks.stills import check_plates, plates_amiss


def plate(folder: Path, name: str) -> Plate:
    """A file, and how it was submitted."""
    path = folder / name
    path.write_bytes(name.encode())
    return Plate(str(path), hashlib.sha256(name.encode()).hexdigest(), 64, 64)


def test_a_plate_that_is_gone_or_changed_is_named(tmp_path: Path) -> None:
    """Of four shots, one is as submitted, one lacks its plate, one its end plate is another, one has no plate at all:
    the two are named with path and remedy, and refused one by one with the same words."""
    first, gone, other = (plate(tmp_path, name) for name in ("first.png", "gone.png", "other.png"))
    shots = [
        Shot("AGM", "SH0010", 24, plate=first),
        Shot("AGM", "SH0020", 24, plate=gone),
        Shot("AGM", "SH0030", 24, plate=first, end_plate=other),
        Shot("AGM", "SH0040", 24),
    ]
    assert plates_amiss(shots) == {}
    Path(gone.path).unlink()
    Path(other.path).write_bytes(b"painted over")
    found = plates_amiss(shots)
    assert found == {
        "AGM/SH0020": f"AGM/SH0020: the plate {gone.path} cannot be read (No such file or directory); "
        "put it back or submit the list again",
        "AGM/SH0030": f"AGM/SH0030: the plate {other.path} has changed since it was submitted; submit the list again",
    }
    for shot in shots:
        if shot.name in found:
            with pytest.raises(MediaError) as refused:
                check_plates(shot)
            assert str(refused.value) == found[shot.name]
        else:
            check_plates(shot)


def test_the_same_file_submitted_twice_is_two_plates(tmp_path: Path) -> None:
    """A file that changed between two submissions is amiss for the older shot alone."""
    now = plate(tmp_path, "still.png")
    before = replace(now, sha256="0" * 64)
    found = plates_amiss([Shot("AGM", "SH0010", 24, plate=before), Shot("AGM", "SH0020", 24, plate=now)])
    assert list(found) == ["AGM/SH0010"]
