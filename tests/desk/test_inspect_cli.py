"""`dailies inspect` on files that anybody may have: what it prints, what it returns, what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import FFMPEG, FRAMES, encoded, mastered, pan
from typer.testing import CliRunner, Result

from desk.cli import app, main
from tasks import inspect as tasks_inspect
from tasks import inspect_file, measure
from tasks.ffmpeg import deliverables_argv, master_argv

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


def numbered(files: Path, folder: Path, count: int = 4) -> Path:
    """A folder of pictures as Dailies delivers them."""
    folder.mkdir()
    for at, frame in enumerate(pan(count), start=1001):
        Image.fromarray((frame >> 8).astype(np.uint8)).save(folder / f"shot.{at}.png")
    return folder


def test_what_else_lies_in_a_folder_is_said(files: Path, tmp_path: Path) -> None:
    """On stderr and in the document; where a sequence was ordered it is a blocker."""
    folder = numbered(files, tmp_path / "pictures")
    (folder / "notes.txt").write_text("do not deliver this")
    done = run(folder)
    assert "notes.txt beside its pictures: not looked at" in done.stderr
    assert json.loads(run(folder, "--json").stdout)["notices"] == ["notes.txt beside its pictures: not looked at"]
    found = json.loads(run(folder, "--as", "png", "--frames", 4, "--json").stdout)["findings"]
    assert ("count", "also notes.txt") in {(one["code"], one["value"]) for one in found}


def test_a_sequence_is_decoded_once(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though both its names and its pictures are judged; frame 1003 is missing, and said so."""
    folder = numbered(files, tmp_path / "pictures")
    (folder / "shot.1003.png").unlink()
    opened: list[str] = []
    real = measure.see_picture
    monkeypatch.setattr(inspect_file, "see_picture", lambda file, *rest: (opened.append(file.name), real(file, *rest)))
    monkeypatch.setattr(tasks_inspect, "see_picture", inspect_file.see_picture)
    found = json.loads(run(folder, "--as", "png", "--frames", 4, "--json").stdout)["findings"]
    assert "frame 1003 is missing" in {one["value"] for one in found if one["code"] == "count"}
    assert opened == ["shot.1001.png", "shot.1002.png", "shot.1004.png"]


def test_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """`10.png` behind `2.png`, and frame 10000 behind 9999."""
    for name in ("a.10000.png", "a.9999.png", "a.998.png"):
        (tmp_path / name).touch()
    assert [one.name for one in inspect_file.pictures_in(tmp_path, "png")] == ["a.998.png", "a.9999.png", "a.10000.png"]


def test_a_folder_of_exrs(tmp_path: Path) -> None:
    """What such files must be is judged, what they show is not; without the word there is nothing to look at."""
    master = mastered(pan(4), tmp_path)
    (tmp_path / "exr").mkdir()
    size = {"width": master.width, "height": master.height}
    sizes = size | {f"master_{side}": length for side, length in size.items()}
    argv = deliverables_argv(
        FFMPEG, master.path, [("exr", "half", tmp_path / "exr")], rate=master.rate, title="s", **sizes
    )
    subprocess.run(argv, check=True, capture_output=True)
    document = json.loads(run(tmp_path / "exr", "--as", "exr", "--frames", 4, "--json").stdout)
    assert (document["findings"], document["file"]["frames"]) == ([], 4)
    assert "not judged, because their values are light" in document["notices"][0]
    assert run(tmp_path / "exr", "--as", "exr", "--frames", 5).exit_code == 1
    assert run(tmp_path / "exr", "--as", "exr", "--sheet", tmp_path / "sheet.jpg").exit_code == 0


def test_a_slate_is_no_frame_of_the_shot(files: Path, tmp_path: Path) -> None:
    """With `slate` among the words the first frame is left out; without, it is a cut and a frame too many."""
    frames = pan()
    card = np.full_like(frames[0], 9000)
    card[60:120, 40:280] = 60000
    slated = encoded(mastered([card, *frames], tmp_path), tmp_path, "h264")
    words = (slated, "--frames", FRAMES, "--json")
    assert json.loads(run(*words, "--as", "h264:slate").stdout)["findings"] == []
    assert "count" in {one["code"] for one in json.loads(run(*words, "--as", "h264").stdout)["findings"]}
    assert "24 frames, a slate before them" in run(slated, "--as", "h264:slate").output


def test_words_of_a_delivery_are_heard(files: Path, tmp_path: Path) -> None:
    """`silent` wants a track, `burnin` judges no pictures, `review` may be a worse copy of its master."""
    found = json.loads(run(files / "clean.mp4", "--as", "h265:silent", "--json").stdout)["findings"]
    assert [(one["code"], one["value"]) for one in found] == [("audio", "no sound")]
    document = json.loads(run(files / "black.mp4", "--as", "h265:review:burnin", "--json").stdout)
    assert document["findings"] == []
    assert "words move on its pictures" in document["notices"][0]
    master = mastered(pan(), tmp_path, master_argv)
    poor = encoded(master, tmp_path, "h265", {"crf\x0015": "crf\x0038"})
    for words, codes in (("h265", ["fidelity"]), ("h265:review", [])):
        found = json.loads(run(poor, "--as", words, "--master", master.path, "--json").stdout)["findings"]
        assert [one["code"] for one in found if one["code"] == "fidelity"] == codes


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
        (["clean.mp4", "--as", "prores:slate"], "--as: "),
        (["clean.mp4", "--as", "png"], "clean.mp4 is a file, and png is a folder of pictures"),
        (["pngs", "--as", "h265"], "is a folder, and h265 is one file; name the file, or say --as png"),
        (["pngs", "--as", "exr"], "holds no EXR"),
        (["clean.mp4", "--as", "h265:review:burnin", "--master", "m.mkv"], "leave --master out"),
        (["clean.mp4", "--sheet", "a.png"], "--sheet a.png is no JPEG"),
        (["clean.mp4", "--master", "clean.mp4"], "no master; give the shot's master.mkv"),
    ],
)
def test_bad_input_is_a_sentence(
    files: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the remedy."""
    words = [str(files / word) if word.startswith(("clean", "pngs")) else word for word in words]
    monkeypatch.setattr("sys.argv", ["dailies", "inspect", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
