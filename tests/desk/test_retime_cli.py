"""`dailies retime`: one step alone, on any video file, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filelock import FileLock
from rendering import ROOT, clean_environment, step

from tasks.frames import read_frames


@pytest.fixture
def clip(tmp_path: Path, ffmpeg: str) -> Path:
    """17 lossless frames at 16 fps: a picture that pans."""
    path = tmp_path / "clip.mkv"
    source = "testsrc2=size=96x64:rate=16:duration=1.0625,format=gbrp12le"
    argv = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "17", "-c:v", "ffv1", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    return path


run = partial(step, "retime")


def probed(path: Path) -> tuple[Fraction, list[Fraction], tuple[int, int]]:
    """Rate, time of every frame in seconds, and size."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in container.decode(stream)]
        return Fraction(stream.average_rate or 0), times, (stream.width, stream.height)


def test_16_to_60_keeps_every_real_frame(clip: Path, ffmpeg: str) -> None:
    """61 frames: each fifteenth is a source frame bit for bit, the rest lie between, and the document counts them."""
    out = clip.with_name("out.mkv")
    document: dict[str, Any] = json.loads(run(clip.parent, str(clip), "-o", str(out), "--fps", "60", "--json").stdout)
    assert (document["frames"], document["between"], document["rate"]) == (61, 56, "60/1")
    assert document["interpolated"] + document["copied"] == 56
    assert document["engine"]["engine"] == "flow"
    source = list(read_frames(clip, ffmpeg=ffmpeg, width=96, height=64))
    made = list(read_frames(out, ffmpeg=ffmpeg, width=96, height=64))
    assert len(made) == 61
    for index in range(0, 61, 15):
        assert np.array_equal(made[index], source[index * 4 // 15])


@pytest.mark.parametrize("ending", [".mov", ".mp4", ".webm"])
def test_ntsc_rates_are_exact_in_the_container(ending: str, clip: Path) -> None:
    """29.97 is 30000/1001: as the stream's rate, and in the time of every frame to a thousandth of a second."""
    out = clip.with_name(f"out{ending}")
    run(clip.parent, str(clip), "-o", str(out), "--fps", "29.97")
    rate, times, size = probed(out)
    assert size == (96, 64)
    assert len(times) == 30
    assert rate == Fraction(30000, 1001) or (
        ending == ".webm" and abs(rate - Fraction(30000, 1001)) < Fraction(1, 1000)
    )
    clock = Fraction(1, 1000) if ending == ".webm" else Fraction(0)
    assert all(abs(time - index * Fraction(1001, 30000)) <= clock for index, time in enumerate(times))


def test_slow_motion_is_one_pass(clip: Path) -> None:
    """At half speed to 60 there are twice as many frames, 2/15 of a source frame apart."""
    done = run(clip.parent, str(clip), "-o", str(clip.with_name("slow.mkv")), "--fps", "60", "--speed", "1/2", "--json")
    document = json.loads(done.stdout)
    assert (document["frames"], document["speed"], document["between"]) == (121, "1/2", 112)


def test_what_a_killed_one_left_goes(clip: Path) -> None:
    """A hidden folder that nobody holds goes with the next run of that name; that of one at work stays, and others'."""
    left, held, other = (clip.with_name(name) for name in (".out.a.part", ".out.b.part", ".out2.a.part"))
    for folder in (left, held, other):
        folder.mkdir()
        (folder / "master.mkv").write_text("half")
    with FileLock(held / ".lock"):
        for folder in (left, held, other):
            os.utime(folder, (0, 0))
        run(clip.parent, str(clip), "-o", str(clip.with_name("out.mkv")), "--fps", "23,976")
        assert [folder.exists() for folder in (left, held, other)] == [False, True, True]


def test_a_dry_run_meets_what_the_run_would(clip: Path) -> None:
    """A file that is there, in the way of either."""
    out = clip.with_name("out.mkv")
    out.write_text("mine")
    assert "--overwrite" in run(clip.parent, str(clip), "-o", str(out), "--fps", "24", "--dry-run", code=2).stderr


def test_a_dry_run_makes_nothing(clip: Path) -> None:
    """It says what would be made, and leaves the folder as it was."""
    before = sorted(clip.parent.rglob("*"))
    done = run(clip.parent, str(clip), "-o", str(clip.with_name("out.mp4")), "--fps", "24", "--dry-run")
    assert "17 frames at 16 would become 25 frames at 24" in done.stdout
    assert [path for path in clip.parent.rglob("*") if path not in before and "home" not in path.parts] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--fps", "0"], 2, "from 1 to 240"),
        (["--fps", "fast"], 2, "24, 23.976 or N/D"),
        (["--fps", "24", "--speed", "2"], 2, "down to 1/16"),
        (["--fps", "24", "--engine", "dain"], 2, "rife, rife-torch, rife-ncnn, flow"),
        (["--fps", "24", "--engine", "rife"], 3, "weights pull rife-4.25"),
        (["--fps", "24", "--device", "gpu0"], 2, "cpu, cuda:0 or vulkan:0"),
        (["--fps", "24", "--engine", "rife-ncnn"], 3, "put an ncnn folder there"),
        (["--fps", "24", "--engine", "flow", "--tta", "both"], 2, "flow has no weights, no tta and no uhd"),
        (["--fps", "24", "--tta", "both"], 3, "no weights of RIFE"),
        (["--fps", "24", "--workers", "9999"], 2, "0 for what suits"),
        (["--fps", "24", "--tta", "8x"], 2, "none, spatial, temporal, both"),
        (["--fps", "24", "--out", "out.avi"], 2, ".mkv (lossless), .mov"),
        (["--fps", "24", "--out", "/nonexistent/out.mkv"], 2, "is not a folder"),
        (["--fps", "240", "--from-fps", "0"], 2, "--from-fps"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], code: int, said: str, clip: Path) -> None:
    """In a sentence with what can, and nothing is written."""
    out = ["-o", str(clip.with_name("out.mkv"))] if "--out" not in words else []
    done = run(clip.parent, str(clip), *out, *words, code=code)
    assert said in done.stderr.replace("\n", " ")
    assert [path.name for path in clip.parent.iterdir() if path.name not in ("home", "clip.mkv")] == []


def test_a_file_that_is_there_is_kept(clip: Path) -> None:
    """Unless it may be replaced; the source itself never is."""
    out = clip.with_name("out.mkv")
    out.write_text("mine")
    assert "--overwrite" in run(clip.parent, str(clip), "-o", str(out), "--fps", "24", code=2).stderr
    assert out.read_text() == "mine"
    run(clip.parent, str(clip), "-o", str(out), "--fps", "24", "--overwrite")
    assert len(probed(out)[1]) == 25
    done = run(clip.parent, str(clip), "-o", str(clip), "--fps", "24", "--overwrite", code=2)
    assert "the source itself" in done.stderr
    done = run(clip.parent, str(clip), "-o", str(clip.parent), "--fps", "24", "--overwrite", code=2)
    assert "is a folder" in done.stderr


def test_the_environments_retimer_holds_unless_another_is_named(clip: Path) -> None:
    """What cannot run is refused, not replaced; --engine goes before it."""
    words = [str(clip), "-o", str(clip.with_name("out.mkv")), "--fps", "24"]
    done = run(clip.parent, *words, code=3, DAILIES_RETIMER="rife-ncnn device=cpu")
    assert "rife-ncnn device=cpu" in done.stderr
    run(clip.parent, *words, "--engine", "flow", DAILIES_RETIMER="rife-ncnn device=cpu")
    done = run(clip.parent, *words, "--overwrite", code=3, DAILIES_RETIMER="dain")
    assert "DAILIES_RETIMER" in done.stderr


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, tmp_path: Path, ffmpeg: str) -> None:
    """Neither a file nor a hidden folder."""
    clip = tmp_path / "long.mkv"
    source = "testsrc2=size=640x360:rate=16:duration=10"
    argv = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "ffvhuff", str(clip)]
    subprocess.run(argv, check=True, timeout=60)
    running = subprocess.Popen(
        [sys.executable, "-m", "desk.cli", "retime", str(clip), "-o", str(tmp_path / "out.mkv"), "--fps", "60"],
        cwd=ROOT,
        env=clean_environment(DAILIES_HOME=str(tmp_path / "home")),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*/master.mkv")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.1)
    os.kill(running.pid, number)
    _, words = running.communicate(timeout=60)
    assert running.returncode in (128 + number, -number)
    assert "Traceback" not in words
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("home", "long.mkv")] == []
