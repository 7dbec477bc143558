"""A process that is killed at any moment loses nothing that was finished, and publishes nothing by halves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rendering import ROOT, House, clean_environment, pictures

SHOT = {"shot": "SH0010", "frames": "130", "fps": "24", "deliveries": "h265 prores webm"}
"""Two windows, so that there is something to join."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, plate_path: Path, prefect_url: str) -> dict[str, str]:
    """Frames of the same shot, rendered in peace."""
    folder = tmp_path_factory.mktemp("peace")
    environment = clean_environment(
        DAILIES_HOME=str(folder / "home"), PREFECT_HOME=str(folder / "prefect"), PREFECT_API_URL=prefect_url
    )
    house = House(folder, plate_path, environment)
    house.submit(SHOT)
    [report] = house.json("render")["shots"]
    return pictures(Path(report["manifest"]).parent)


def _files(work: Path) -> dict[str, tuple[int, int]]:
    """Name -> (inode, mtime) of every finished file in the work folder."""
    return {
        str(path.relative_to(work)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in work.rglob("*.mkv")
        if path.with_name(path.name + ".json").exists() and "attempts" not in path.parts
    }


@pytest.mark.parametrize(
    ("step", "nth", "finished"),
    [
        ("generate", 5, 0),
        ("generate", 60, 1),
        ("join", 40, 2),
        ("retime", 50, 3),
        ("encode", 1, 4),
        ("inspect", 1, 4),
        ("publish", 1, 4),
        ("published", 1, 4),
    ],
)
def test_sigkill_in_every_step(step: str, nth: int, finished: int, house: House, undisturbed: dict[str, str]) -> None:
    """After SIGKILL the next render finishes what is left, keeps what was done, and gives identical frames."""
    house.submit(SHOT)
    killed = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_render.py")), step, str(nth)],
        cwd=ROOT,
        env={**house.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-800:]
    [work] = [path for path in (house.home / "work/AGM/SH0010").iterdir() if path.is_dir()]
    before = _files(work)
    assert len(before) == finished
    version = house.home / "deliveries/AGM/SQ010/SH0010/v001"
    assert version.exists() is (step == "published")
    status: dict[str, Any] = house.json("status")
    assert status["rendering"] == [{"shot": "AGM/SH0010", "running": False, "state": "interrupted"}]

    [report] = house.json("render")["shots"]

    assert (report["status"], report["version"]) == ("review", 1)
    after = _files(work)
    assert {name: after[name] for name in before} == before
    assert pictures(version) == undisturbed
    assert not list(version.parent.glob(".v*"))
    assert not list(work.glob("attempts/*"))
