"""Claims about what the doctor says of GPU and torch, on machines that a small program stands in for."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from catalogs.database import DatabaseFacts, examine
from catalogs.errors import CatalogueUnavailableError
from catalogs.store import open_catalogue
from tasks import doctor, nvenc
from tasks.doctor import Check

Machine = Callable[..., dict[str, Check]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The checks by name, on a machine whose nvidia-smi runs these lines of shell, with that torch."""

    def call(*lines: str, torch: str = "2.13.0+cpu") -> dict[str, Check]:
        if lines:
            path = tmp_path / "nvidia-smi"
            path.write_text("\n".join(["#!/bin/sh", *lines]))
            path.chmod(path.stat().st_mode | stat.S_IEXEC)
        for name in [path.name for path in tmp_path.glob("*.dist-info")]:
            (tmp_path / name / "METADATA").unlink()
            (tmp_path / name).rmdir()
        if torch:
            folder = tmp_path / f"torch-{torch}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch}\n")
        monkeypatch.setenv("PATH", str(tmp_path) if lines else str(tmp_path / "nowhere"))
        monkeypatch.setattr("sys.path", [str(tmp_path)])
        return {check.name: check for check in (doctor._gpu(), doctor._torch())}

    return call


LINE = "echo 'NVIDIA H100 80GB HBM3, 80000, 81559, 9.0, 570.86.10'"


def test_a_gpu_is_described(machine: Machine) -> None:
    """Name, free and total memory, compute capability and driver; every GPU of the machine."""
    found = machine(LINE, LINE.replace("H100 80GB HBM3", "RTX 4090"), torch="2.13.0")
    assert {check.status for check in found.values()} == {"ok"}
    first, second = found["gpu"].detail.split("; ")
    assert first == ("NVIDIA H100 80GB HBM3, 83.9 of 85.5 GB free, compute capability 9.0, driver 570.86.10")
    assert second.startswith("NVIDIA RTX 4090")


def test_a_machine_without_a_gpu_is_told_so(machine: Machine) -> None:
    """A sentence and what it means; a torch for the processor is right there."""
    found = machine()
    assert found["gpu"].status == "warning"
    assert "no NVIDIA GPU" in found["gpu"].detail
    assert "animatic" in found["gpu"].remedy
    assert (found["torch"].status, found["torch"].detail) == ("ok", "2.13.0+cpu, for the processor")


def test_a_torch_that_does_not_see_the_gpu_is_the_reason_for_slowness(machine: Machine) -> None:
    """torch for the processor on a machine with a GPU: slow because not on the GPU, and what to install."""
    found = machine(LINE)["torch"]
    assert found.status == "warning"
    assert "slow because not on the GPU" in found.remedy
    assert "torch 2.13.0 with CUDA" in found.remedy


def test_no_torch_is_no_trouble_for_the_animatic(machine: Machine) -> None:
    """What it is needed for, and how to get it."""
    found = machine(torch="")["torch"]
    assert (found.status, found.detail) == ("warning", "not installed")
    assert "requirements/all.lock" in found.remedy


@pytest.mark.parametrize("lines", [("exit 9",), ("echo what",), ("echo 'NVIDIA, [N/A], [N/A], 9.0, 1'",)])
def test_a_driver_that_does_not_answer_is_a_sentence(machine: Machine, lines: tuple[str, ...]) -> None:
    """A driver that fails or speaks of no GPU is a warning with a remedy, not a traceback."""
    found = machine(*lines)["gpu"]
    assert found.status == "warning"
    assert "nvidia-smi" in found.detail
    assert found.remedy


def test_the_line_of_the_driver_is_read_from_behind(machine: Machine) -> None:
    """A name with a comma in it does not move the figures."""
    assert "Quadro, big, 1.0 of" in machine("echo 'Quadro, big, 1000, 2000, 7.5, 1'")["gpu"].detail


POSTGRES = DatabaseFacts("postgresql", "15.18", schema="0003", wanted="0003", shots=7, trigram="created")


def looked_at(found: DatabaseFacts) -> dict[str, Check]:
    """What the doctor says of a database, by the checks' names."""
    return {check.name: check for check in doctor._database(lambda: found)}


def test_a_database_is_described(tmp_path: Path) -> None:
    """Kind, version, schema and shots; one that is empty or older is well too, and what happens next is said."""
    url = f"sqlite:///{tmp_path}/catalogue.sqlite"
    [empty] = doctor._database(lambda: examine(url))
    assert (empty.status, "empty: the first shot list makes" in empty.detail) == ("ok", True)
    open_catalogue(url).close()
    [there] = doctor._database(lambda: examine(url))
    assert there.status == "ok"
    assert there.detail.startswith("sqlite 3.")
    assert there.detail.endswith("0 shots")
    assert looked_at(POSTGRES)["database"].detail == "postgresql 15.18, schema 0003, 7 shots"
    older = looked_at(replace(POSTGRES, schema="0002"))["database"]
    assert (older.status, older.detail) == (
        "ok",
        "postgresql 15.18, schema 0002: the next command brings it to 0003, 7 shots",
    )


def test_a_database_that_cannot_be_used_stops_rendering() -> None:
    """No connection is a sentence and what to do; the checks go on."""

    def away() -> DatabaseFacts:
        raise CatalogueUnavailableError("the catalogue x cannot be used: connection refused; check it")

    [check] = doctor._database(away)
    assert (check.status, check.vital) == ("missing", True)
    assert "connection refused" in check.detail
    assert "DAILIES_DATABASE_URL" in check.remedy
    assert not doctor.ready([check])


def test_an_old_postgresql_is_a_warning() -> None:
    """Before 14 it is said, from 14 on it is not; neither stops rendering."""
    for server, status in (("13.22", "warning"), ("14.0", "ok"), ("18beta1", "ok")):
        check = looked_at(replace(POSTGRES, server=server))["database"]
        assert check.status == status
        assert bool(check.remedy) is (status == "warning")
        assert doctor.ready([check])


def test_pg_trgm_comes_with_its_remedy() -> None:
    """Asked for on PostgreSQL alone; missing or not created is a warning that says how to get it."""
    assert looked_at(POSTGRES)["pg_trgm"].status == "ok"
    for trigram in ("missing", "available"):
        check = looked_at(replace(POSTGRES, trigram=trigram))["pg_trgm"]  # type: ignore[arg-type]
        assert check.status == "warning"
        assert "CREATE EXTENSION pg_trgm" in check.remedy
    assert "pg_trgm" not in looked_at(DatabaseFacts("sqlite", "3.45.1", schema=None, shots=0))


def test_encoders_on_request_are_a_warning(tmp_path: Path, ffmpeg: str) -> None:
    """An ffmpeg without AV1 renders, and says what it lacks; without x265 it does not."""
    for lacking, status in (("libsvtav1", "warning"), ("libx265", "missing")):
        program = tmp_path / lacking
        program.write_text(f'#!/bin/sh\n"{ffmpeg}" "$@" | sed s/{lacking}/nothing/g\n')
        program.chmod(0o755)
        found = doctor._ffmpeg(str(program))
        assert (found.status, lacking in found.detail) == (status, True)
    assert doctor._ffmpeg(ffmpeg).status == "ok"


def test_nvenc_is_probed(ffmpeg: str) -> None:
    """The check says what the probe says: it works, or why not."""
    found, why = doctor._nvenc(ffmpeg), nvenc.problem(ffmpeg)
    assert found.status == ("missing" if why else "ok")
    assert why in found.detail


def test_a_file_in_the_place_of_a_folder_is_found_by_the_doctor(tmp_path: Path) -> None:
    """Before a night has made everything and cannot put it anywhere; a folder that is yet to be made is no trouble."""
    deliveries = tmp_path / "deliveries"
    assert doctor._home(tmp_path, (deliveries,)) == Check("home", "ok", str(tmp_path), vital=True)
    deliveries.touch()
    found = doctor._home(tmp_path, (deliveries,))
    assert (found.status, found.vital) == ("missing", True)
    assert found.detail == f"{deliveries} is no folder, and one is needed there"
    assert found.remedy == "move it away"
