"""`dailies inspect` on files that anybody may have: what it prints, what it returns, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import FRAMES, encoded, mastered, pan
from typer.testing import CliRunner, Result

from desk.cli import app, main

RUN = CliRunner()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean H.265, one with a black frame, one that breaks off, a folder of PNGs, and their master."""
    folder = tmp_path_factory.mktemp("files")
    frames = pan()
    clean = encoded(mastered(frames, folder), folder, "h265").rename(folder / "clean.mp4")
    (folder / "cut.mp4").write_bytes(clean.read_bytes()[:-4000])
    (folder / "black").mkdir()
    frames[10] = np.zeros_like(frames[10])
    encoded(mastered(frames, folder / "black"), folder / "black", "h265").rename(folder / "black.mp4")
    (folder / "pngs").mkdir()
    for number, frame in enumerate(pan(4), start=1):
        Image.fromarray((frame >> 8).astype(np.uint8)).save(folder / "pngs" / f"{number:04}.png")
    return folder


def run(*words: object) -> Result:
    return RUN.invoke(app, ["inspect", *map(str, words)])


def test_a_clean_file(files: Path) -> None:
    """One line on what it is, and that nothing was found."""
    done = run(files / "clean.mp4", "--frames", FRAMES, "--fps", 24, "--size", "320x180", "--as", "h265")
    assert done.exit_code == 0
    assert "clean.mp4: 24 frames, 24 fps, 320x180, hevc yuv420p10le" in done.output
    assert "Nothing was found." in done.output


def test_findings_are_a_table_with_frames_as_editors_count_them(files: Path) -> None:
    """An issue is no failure."""
    done = run(files / "black.mp4")
    assert done.exit_code == 0
    (line,) = [line for line in done.output.splitlines() if " black " in line]
    assert line.split()[:4] == ["issue", "black", "1011", "00:00:42:03"]


def test_a_blocker_is_exit_code_1(files: Path) -> None:
    """What breaks off, and what is not what it was said to be."""
    assert run(files / "cut.mp4").exit_code == 1
    for words in (("--frames", 25), ("--fps", 25), ("--size", "720p"), ("--as", "prores")):
        assert run(files / "clean.mp4", *words).exit_code == 1


def test_json_is_one_document(files: Path) -> None:
    """With the findings of the contract and what the file is."""
    done = run(files / "black.mp4", "--json")
    document = json.loads(done.stdout)
    (finding,) = [one for one in document["findings"] if one["code"] == "black"]
    assert set(finding) >= {"code", "severity", "frame_in", "frame_out", "value", "limit"}
    assert (finding["frame_in"], finding["frame_out"], finding["severity"]) == (10, 11, "issue")
    assert document["file"]["rate"] == "24/1"
    assert document["file"]["path"] == str(files / "black.mp4")


def test_a_folder_of_pngs(files: Path) -> None:
    """Whatever they are called, in order of their names."""
    done = run(files / "pngs", "--frames", 4, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["file"]["frames"] == 4


def test_a_plate_and_a_master_are_held_against_it(files: Path, tmp_path: Path) -> None:
    """Those it was made from are as they should be, others are not."""
    Image.fromarray((pan()[0] >> 8).astype(np.uint8)).save(tmp_path / "own.png")
    Image.fromarray((pan()[0][::-1, ::-1] >> 8).astype(np.uint8)).save(tmp_path / "other.png")
    assert json.loads(run(files / "clean.mp4", "--plate", tmp_path / "own.png", "--json").stdout)["findings"] == []
    found = json.loads(run(files / "clean.mp4", "--plate", tmp_path / "other.png", "--json").stdout)["findings"]
    assert "first_frame" in {one["code"] for one in found}


def test_a_sheet_shows_the_frames(files: Path, tmp_path: Path) -> None:
    """Of each finding, or three of a clean file."""
    for name in ("black.mp4", "clean.mp4"):
        assert run(files / name, "--sheet", tmp_path / "sheet.jpg").exit_code == 0
        with Image.open(tmp_path / "sheet.jpg") as sheet:
            assert sheet.width > 900


def test_limits_of_the_home_hold(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every show, or for the one that is named."""
    monkeypatch.setenv("DAILIES_HOME", str(tmp_path))
    (tmp_path / "limits.toml").write_text('[show.AGM.black]\nseverity = "blocker"\n')
    assert run(files / "black.mp4").exit_code == 0
    assert run(files / "black.mp4", "--show", "agm").exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.mp4"], "cannot be read; check the path"),
        (["README.md"], "is no video"),
        (["tests/desk"], "holds no PNG"),
        (["clean.mp4", "--plate", "no.png"], "no.png does not exist"),
        (["clean.mp4", "--fps", "fast"], "--fps: not a frame rate"),
        (["clean.mp4", "--size", "big"], "--size 'big' is no size"),
        (["clean.mp4", "--as", "divx"], "--as: unknown delivery 'divx'"),
        (["clean.mp4", "--sheet", "a.png"], "--sheet a.png is no JPEG"),
        (["clean.mp4", "--master", "clean.mp4"], "no master; give the shot's master.mkv"),
    ],
)
def test_bad_input_is_a_sentence(
    files: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the remedy."""
    words = [str(files / word) if word.startswith("clean") else word for word in words]
    monkeypatch.setattr("sys.argv", ["dailies", "inspect", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
