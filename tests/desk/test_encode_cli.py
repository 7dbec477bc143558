"""`dailies encode`: one step alone, on any video file, through the command line."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import unicodedata
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filelock import FileLock
from rendering import step

from catalogs.shot import Delivery
from catalogs.timebase import read_start
from tasks import encode_file
from tasks.errors import MachineNotReadyError, PlanError
from tasks.source import look_at
from tasks.tracks import read_tracks


@pytest.fixture
def clip(tmp_path: Path, ffmpeg: str) -> Path:
    """13 frames of H.264 at 29.97 with sound, chapters and a title of its own, as somebody's editor wrote them."""
    chapters = tmp_path / "chapters"
    chapters.write_text(";FFMETADATA1\ntitle=mine\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=one\n")
    path = tmp_path / "my clip.mp4"
    source = "testsrc2=size=192x108:rate=30000/1001"
    argv = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine", "-i", str(chapters)]
    argv += ["-map_metadata", "2", "-frames:v", "13", "-shortest", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    chapters.unlink()
    return path


run = partial(step, "encode")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_becomes_deliverables(clip: Path, tmp_path: Path) -> None:
    """All asked for, named by the slate, described in the document; nothing of the file's own sound and chapters."""
    out = tmp_path / "out"
    words = "h265:silent prores:4444 webm:av1 h264:slate:burnin exr"
    done = run(tmp_path, str(clip), "-o", str(out), "--deliveries", words, "--slate", "AGM_SH0010_v002", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    begin = "AGM_SH0010_v002_2997p_"
    assert names(out) == sorted(
        begin + name for name in ("h265_silent.mp4", "prores_4444.mov", "webm_av1.webm", "h264_slate_burnin.mp4", "exr")
    )
    assert document["source"]["frames"] == 13
    assert [one["frames"] for one in document["deliverables"]] == [13, 13, 13, 14, 13]
    assert document["deliverables"][0]["path"] == str(out / f"{begin}h265_silent.mp4")
    assert document["notices"] == ["its sound is left out"]
    assert document["findings"] == []
    tracks = read_tracks(out / f"{begin}prores_4444.mov")
    assert (tracks.timecode, tracks.reel, tracks.sounds) == ("00:00:33;11", "AGM_SH0010_v002", ())
    with av.open(str(out / f"{begin}h264_slate_burnin.mp4")) as container:
        assert container.metadata["title"] == "AGM_SH0010_v002"
        assert not container.chapters()


def test_the_pictures_are_the_files_own(clip: Path, tmp_path: Path) -> None:
    """What is decoded from a ProRes HQ of a BT.601 file is what a player shows of the file, within two codes."""
    run(tmp_path, str(clip), "-o", str(tmp_path / "out"), "--deliveries", "prores")
    [path] = (tmp_path / "out").iterdir()
    assert path.name == "my_clip_2997p_prores.mov"

    def shown(file: Path, matrix: str) -> np.ndarray:
        with av.open(str(file)) as container:
            frame = next(container.decode(video=0))
            return frame.to_ndarray(format="rgb24", src_colorspace=matrix).astype(float)

    made = shown(path, "ITU709")
    # the edges of a 4:2:0 picture depend on who doubles its chroma, its flat parts do not
    assert np.median(np.abs(made - shown(clip, "ITU601"))) <= 2 < np.median(np.abs(made - shown(clip, "ITU709")))


def test_a_dry_run_makes_nothing(clip: Path, tmp_path: Path) -> None:
    """It names the files, in words and in the document, and leaves the folder as it was."""
    out = tmp_path / "out"
    done = run(tmp_path, str(clip), "-o", str(out), "--deliveries", "webm:av1 png", "--dry-run")
    assert "my_clip_2997p_webm_av1.webm" in done.stdout.replace("\n", "")
    document = json.loads(run(tmp_path, str(clip), "-o", str(out), "--dry-run", "--json").stdout)
    assert [one["kind"] for one in document["deliverables"]] == ["h265", "prores", "webm"]
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--deliveries", "avi"], 2, "h265, prores"),
        (["--deliveries", "prores:9"], 2, "proxy or lt or 422 or 4444"),
        (["--deliveries", "prores:master"], 2, "one quality only"),
        (["--deliveries", "h265:burnin"], 2, "h264:burnin or h265:review:burnin"),
        (["--deliveries", "png:silent"], 2, "no sound"),
        (["--slate", "a/b"], 2, "is no file name"),
        (["--from-fps", "0"], 2, "--from-fps"),
        (["-o", "README.md"], 2, "is a file"),
        (["-o", "/proc/nothing"], 2, "cannot write to"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], code: int, said: str, clip: Path, tmp_path: Path) -> None:
    """In a sentence with what can, and nothing is written."""
    out = [] if "-o" in words else ["-o", str(tmp_path / "out")]
    done = run(tmp_path, str(clip), *out, *words, code=code)
    assert said in " ".join(done.stderr.split())
    assert [name for name in names(tmp_path) if name != "home"] == ["my clip.mp4"]


def test_nvenc_without_a_card_is_not_ready(clip: Path, tmp_path: Path, ffmpeg: str) -> None:
    """Exit code 3 with the probe's reason; other kinds do not need it; another word is refused."""
    from tasks.nvenc import problem

    if not problem(ffmpeg):
        pytest.skip("this machine has NVENC")
    out = str(tmp_path / "out")
    done = run(tmp_path, str(clip), "-o", out, code=3, DAILIES_ENCODER="nvenc")
    assert problem(ffmpeg) in " ".join(done.stderr.split())
    assert not Path(out).exists()
    run(tmp_path, str(clip), "-o", out, "--deliveries", "webm", DAILIES_ENCODER="nvenc")
    assert "use nvenc" in run(tmp_path, str(clip), "-o", out, code=3, DAILIES_ENCODER="gpu").stderr


def test_files_that_are_there_are_kept(clip: Path, tmp_path: Path) -> None:
    """Unless they may be replaced, folders of pictures too; the source itself never is."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "my_clip_2997p_h264.mp4").write_text("mine")
    (out / "my_clip_2997p_png").mkdir()
    (out / "my_clip_2997p_png" / "old.png").write_text("old")
    words = [str(clip), "-o", str(out), "--deliveries", "h264 png"]
    assert "--overwrite" in run(tmp_path, *words, code=2).stderr
    assert (out / "my_clip_2997p_h264.mp4").read_text() == "mine"
    run(tmp_path, *words, "--overwrite")
    assert names(out) == ["my_clip_2997p_h264.mp4", "my_clip_2997p_png"]
    assert len(names(out / "my_clip_2997p_png")) == 13
    again = [str(out / "my_clip_2997p_h264.mp4"), "-o", str(out), "--deliveries", "h264", "--slate", "my_clip"]
    assert "over itself" in run(tmp_path, *again, "--overwrite", code=2).stderr


def test_an_encoder_that_dies_leaves_nothing(clip: Path, tmp_path: Path, ffmpeg: str) -> None:
    """ffmpeg killed in the middle: its end is named, there is neither a file nor a hidden folder; then it works."""
    dying = tmp_path / "dying"
    dying.write_text(
        f'#!/bin/sh\ncase "$*" in *filter_complex*) "{ffmpeg}" "$@" & kill -9 $$;; *) exec "{ffmpeg}" "$@";; esac\n'
    )
    dying.chmod(0o755)
    out = tmp_path / "out"
    done = run(tmp_path, str(clip), "-o", str(out), code=2, DAILIES_FFMPEG=str(dying))
    assert "was killed by signal 9" in done.stderr
    assert not out.exists()
    run(tmp_path, str(clip), "-o", str(out), "--deliveries", "webm")
    assert len(names(out)) == 1


@pytest.mark.parametrize(
    ("own", "words", "begins"),
    [
        ("10:00:00:00", [], "10:00:00:00"),
        ("10:00:00;02", [], "10:00:00;02"),
        ("10:00:00;02", ["--timecode", "1001"], "00:00:33;11"),
        ("10:00:00;02", ["--timecode", "01:00:00:00"], "01:00:00:00"),
        ("", ["--timecode", "0"], "00:00:00;00"),
        ("", [], "00:00:33;11"),
    ],
)
def test_a_file_keeps_its_timecode(
    own: str, words: list[str], begins: str, clip: Path, tmp_path: Path, ffmpeg: str
) -> None:
    """As it counts, unless another is asked for; a slate stands one frame before it; what is left out is said."""
    source = tmp_path / "own.mov"
    argv = [ffmpeg, "-v", "error", "-i", str(clip), "-an", "-c", "copy", *(["-timecode", own] if own else [])]
    subprocess.run([*argv, str(source)], check=True, timeout=60)
    kinds = ["--deliveries", "prores:proxy h264:slate webm"]
    done = run(tmp_path, str(source), "-o", str(tmp_path / "out"), *kinds, *words, "--json")
    assert read_tracks(tmp_path / "out" / "own_2997p_prores_proxy.mov").timecode == begins
    rate = Fraction(30000, 1001)
    slated = read_tracks(tmp_path / "out" / "own_2997p_h264_slate.mp4").timecode
    assert slated == read_start(begins, rate).label(-1)
    told = [one for one in json.loads(done.stdout)["notices"] if "timecode" in one]
    assert told == ([] if own in ("", begins) else [f"its timecode, from {own}, is left out"])


@pytest.mark.parametrize(
    ("name", "slate"),
    [("ünï.mov", "uni"), ("Łódź – 2.mov", "Lodz_-_2"), ("take 3 %.mov", "take_3"), ("…_.mov", "clip")],
)
def test_a_name_keeps_its_letters(name: str, slate: str) -> None:
    """Without accents, which not every system takes; composed or not."""
    assert encode_file.slate_of(Path(name)) == slate
    assert encode_file.slate_of(Path(unicodedata.normalize("NFD", name))) == slate


def test_one_frame_is_one_frame(tmp_path: Path, ffmpeg: str) -> None:
    """In what is said of it; at 120 frames a second, which has no timecode, a file's own is told in its own digits."""
    source = tmp_path / "one.mov"
    argv = [
        ffmpeg,
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=64x48:rate=120",
        "-frames:v",
        "1",
        "-c:v",
        "libx264",
    ]
    subprocess.run([*argv, "-timecode", "01:00:00:00", str(source)], check=True, timeout=60)
    done = run(tmp_path, str(source), "-o", str(tmp_path / "out"), "--deliveries", "h264:master")
    assert "1 frame, h264" in done.stdout.replace("\n", " ")
    assert "1 frame at 120" in done.stdout.replace("\n", " ")
    assert "its timecode, from 01:00:00:00, is left out" in " ".join(done.stderr.split())


def test_a_timecode_that_is_none_is_refused(clip: Path, tmp_path: Path) -> None:
    """With what would be one."""
    words = [str(clip), "-o", str(tmp_path / "out"), "--timecode", "00:01:00;00"]
    assert "HH:MM:SS;FF for drop-frame" in " ".join(run(tmp_path, *words, code=2).stderr.split())


def test_what_a_killed_one_left_goes(clip: Path, tmp_path: Path) -> None:
    """A hidden folder that nobody holds goes with the next run of that slate; that of one at work stays."""
    out = tmp_path / "out"
    left, held = out / ".my_clip.a.part", out / ".my_clip.b.part"
    for folder in (left, held):
        folder.mkdir(parents=True)
        (folder / "half.mp4").write_text("half")
    with FileLock(held / ".lock"):
        for folder in (left, held):
            os.utime(folder, (0, 0))
        run(tmp_path, str(clip), "-o", str(out), "--deliveries", "h264")
        assert names(out) == [held.name, "my_clip_2997p_h264.mp4"]


def test_a_full_disk_is_said_before_anything_is_made(clip: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """As something that this machine lacks, with what the operator of this command can do: another -o."""
    plan = encode_file.plan_files(look_at(clip), [Delivery.parse("exr")], tmp_path / "out")
    monkeypatch.setattr("tasks.keep.free_bytes", lambda folder: 1000)
    with pytest.raises(MachineNotReadyError, match=r"may need .* GB .*; free some, or write to another disk with -o"):
        encode_file.check_target(plan, overwrite=False)
    with pytest.raises(MachineNotReadyError, match="write to another disk with -o"):
        encode_file.encode_file(plan, ffmpeg="ffmpeg")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("links", [True, False])
def test_the_second_of_two_replaces_nothing(
    links: bool, clip: Path, tmp_path: Path, ffmpeg: str, monkeypatch: Any
) -> None:
    """Who comes later finds the name taken, also where it was free when it began; all its files go again."""
    out = tmp_path / "out"
    plan = encode_file.plan_files(look_at(clip), [Delivery.parse(one) for one in ("h264", "png", "webm")], out)

    def meanwhile(plan: Any, own: Path) -> Any:
        (out / "my_clip_2997p_webm.webm").write_text("the first one's")
        return (), ()

    def no_links(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(encode_file, "_inspected", meanwhile)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(PlanError, match=r"webm was written by another meanwhile; .*--overwrite"):
        encode_file.encode_file(plan, ffmpeg=ffmpeg)
    assert names(out) == ["my_clip_2997p_webm.webm"]
    assert (out / "my_clip_2997p_webm.webm").read_text() == "the first one's"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_said(clip: Path, tmp_path: Path) -> None:
    """With its name and what to look at."""
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    assert "cannot write to" in run(tmp_path, str(clip), "-o", str(out), code=2).stderr


def test_a_sequence_that_was_being_replaced_comes_back(clip: Path, tmp_path: Path) -> None:
    """A run that was killed between taking the old folder away and putting the new one there lost nothing: the next one
    finds the old pictures under their name, and replaces them only when it is asked to. What it replaces goes."""
    out = tmp_path / "out"
    words = (str(clip), "-o", str(out), "--deliveries", "png")
    run(tmp_path, *words)
    [folder] = out.iterdir()
    (folder / "mine").write_text("old")
    killed = folder.rename(out / f".{folder.name}.replaced")
    refused = run(tmp_path, *words, code=2)
    assert "exists already" in refused.stderr
    assert (folder / "mine").read_text() == "old"
    assert not killed.exists()
    run(tmp_path, *words, "--overwrite")
    assert names(out) == [folder.name]
    assert not (folder / "mine").exists()


def test_a_folder_is_not_lost_if_its_successor_does_not_come(tmp_path: Path) -> None:
    """The new one is gone at the last moment: the old one is back under its name."""
    target = tmp_path / "S_24p_png"
    target.mkdir()
    (target / "1.png").write_text("old")
    with pytest.raises(FileNotFoundError):
        encode_file._exchange(tmp_path / "made", target)
    assert names(tmp_path) == [target.name]
    assert (target / "1.png").read_text() == "old"
