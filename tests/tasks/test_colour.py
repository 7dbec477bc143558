"""Colour arrives as it was sent: the measurement of benchmarks/colour.py, held to its limits."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "colour.py"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_colour", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def colour() -> ModuleType:
    return load()


@pytest.fixture(scope="module")
def figures(colour: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("colour")
    charts = colour.encode(colour.chart(), place / "chart", ffmpeg=FFMPEG)
    ramps = colour.encode(colour.ramp(), place / "ramp", ffmpeg=FFMPEG)
    return {kind: colour.measure(charts[kind], ramps[kind]) for kind in colour.KINDS}


KINDS = ["h265", "prores", "webm", "h264", "png", "exr", "h265:master", "prores:proxy", "prores:4444", "webm:av1"]


@pytest.mark.parametrize("kind", KINDS)
def test_patches_and_ramp_arrive_within_two_codes(kind: str, figures: dict[str, Any]) -> None:
    """24 patches and a grey ramp differ by at most 2/255 in every deliverable, by 1/255 in the 10-bit ones."""
    found = figures[kind]
    print(kind, found)
    limit = 2.0 if kind in ("webm", "h264") else 1.0
    assert found.patch_error <= limit
    assert found.ramp_error <= limit


@pytest.mark.parametrize(
    ("kind", "levels"),
    [
        ("h265", 800),
        ("h265:master", 800),
        ("webm:av1", 800),
        ("prores", 850),
        ("prores:4444", 900),
        ("png", 1024),
        ("exr", 1024),
    ],
)
def test_ten_bits_arrive(kind: str, levels: int, figures: dict[str, Any]) -> None:
    """A ramp of 1024 steps keeps far more than the 256 levels that 8 bits could hold. 10-bit luma has 877 codes; ProRes
    4444 is decoded to 12 bits, among which the transform leaves more."""
    assert figures[kind].ramp_levels >= levels


@pytest.mark.parametrize("kind", ["h265", "prores", "webm", "h264"])
def test_the_measurement_sees_a_wrong_matrix(
    kind: str, colour: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same chart through BT.601's matrix is found to be wrong: the limit above means something."""
    from tasks import ffmpeg as builders

    honest = builders.deliverables_argv

    def wrong(*given: Any, **named: Any) -> list[str]:
        return [word.replace("matrix=709", "matrix=170m") for word in honest(*given, **named)]

    monkeypatch.setattr(builders, "deliverables_argv", wrong)
    charts = colour.encode(colour.chart(), tmp_path / "chart", ffmpeg=FFMPEG, kinds=(kind,))
    error = np.abs(colour.to_rgb(colour.decode(charts[kind])[0]) - colour.chart())
    assert np.median(error.max(axis=-1)) * 255 > 3
