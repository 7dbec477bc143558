"""Claims about errors that pass by themselves: they are told from those that stay, wherever they come from."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from catalogs.errors import CatalogueUnavailableError, UnknownShotError
from catalogs.store import open_catalogue
from models.interface import BadPicture, EngineError, EngineUnavailable, KernelFailed, OutOfMemory, WindowStopped
from tasks import frames, keep
from tasks.errors import BusyError, FfmpegError, MachineNotReadyError, MediaError, PlanError, StepError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter
from tasks.source import look_at
from tasks.transient import PASSING, is_transient

ROOT = Path(__file__).resolve().parents[2]


def caused(error: Exception, cause: BaseException) -> Exception:
    """`raise error from cause`, as it arrives."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        CatalogueUnavailableError("the server is gone"),
        BusyError("another one renders it"),
        StepError("no room", transient=True),
        MachineNotReadyError("no session left on the card", transient=True),
        caused(StepError("cannot write"), OSError(errno.ENOSPC, "No space left on device")),
        caused(StepError("x"), caused(EngineError("weights"), OSError(errno.ESTALE, "Stale file handle"))),
        caused(MediaError("the plate cannot be read"), TimeoutError("read timed out")),
        ConnectionResetError("peer"),
        FfmpegError("killed", code=-signal.SIGKILL),
        FfmpegError("asked to leave", code=255),
        FfmpegError("disk full", code=256 - errno.ENOSPC),
        *(OSError(number, os.strerror(number)) for number in sorted(PASSING)),
    ],
    ids=repr,
)
def test_what_passes_by_itself(error: Exception) -> None:
    """Another attempt may do better."""
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        PlanError("no prompt"),
        MediaError("the plate has changed"),
        StepError("a window with the wrong number of frames"),
        UnknownShotError("AGM/SH0010"),
        MachineNotReadyError("no RIFE"),
        EngineError("no"),
        EngineUnavailable("no torch"),
        OutOfMemory("20 GiB"),
        BadPicture("black"),
        KernelFailed("no"),
        WindowStopped("asked to"),
        ValueError("a defect of ours"),
        KeyError("a defect of ours"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        caused(StepError("cannot write"), PermissionError(errno.EACCES, "Permission denied")),
        caused(StepError("marked", transient=False), OSError(errno.ENOSPC, "full")),
        FfmpegError("exit 1", code=1),
        FfmpegError("invalid data", code=183),
        FfmpegError("no such file", code=256 - errno.ENOENT),
        FfmpegError("an input that cannot be read", code=256 - errno.EIO),
        FfmpegError("crashed on what it read", code=-signal.SIGSEGV),
        FfmpegError("ended well without writing"),
    ],
    ids=repr,
)
def test_what_stays(error: Exception) -> None:
    """Trying again would fail again: the shot fails at once, with its reason."""
    assert not is_transient(error)


def test_a_kind_of_error_may_be_marked_as_a_whole() -> None:
    """A class says so once; a single error of it may say otherwise."""

    class AwayError(StepError):
        transient = True

    assert is_transient(AwayError("gone"))
    assert not is_transient(AwayError("gone for good", transient=False))


def test_errors_that_cause_each_other_end() -> None:
    """A circle of causes is walked once."""
    first, second = StepError("a"), StepError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_transient(first)


def test_marks_survive_the_way_between_processes() -> None:
    """Prefect pickles what a flow raises."""
    error = pickle.loads(pickle.dumps(FfmpegError("killed", code=-9)))
    assert (str(error), error.code, is_transient(error)) == ("killed", -9, True)
    assert pickle.loads(pickle.dumps(StepError("full", transient=True))).transient is True


def failure(provoke: Callable[[], object]) -> Exception:
    """What it raises."""
    with pytest.raises(StepError) as caught:
        provoke()
    return caught.value


def endless(ffmpeg: str, target: str) -> list[str]:
    """An ffmpeg that writes and writes."""
    return [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=s=640x360", "-c:v", "ffvhuff", "-f", "matroska", "-y",
            "-progress", "pipe:1", target]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_ffmpeg_that_was_killed_may_live_next_time(ffmpeg: str, tmp_path: Path, number: signal.Signals) -> None:
    """Really killed, while at work, by what operators and the kernel send."""
    sent = threading.Event()

    def kill(done: int) -> None:
        if not sent.is_set():
            sent.set()
            children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True)
            for line in children.stdout.decode().splitlines():
                pid, name = line.split(maxsplit=1)
                if name.startswith("ffmpeg"):
                    os.kill(int(pid), number)

    error = failure(lambda: frames.run(endless(ffmpeg, str(tmp_path / "x.mkv")), what="encode", on_frame=kill))
    assert sent.is_set()
    assert is_transient(error), repr(error)


def test_a_killed_writer_may_live_next_time(ffmpeg: str, tmp_path: Path) -> None:
    """The pipe breaks under us; the error still knows that a signal did it."""

    def write() -> None:
        argv = clip_argv(ffmpeg, tmp_path / "x.mkv", width=64, height=32, rate=Fraction(16))
        with FrameWriter(argv, width=64, height=32, what="window") as writer:
            writer._child.kill()
            writer._child.wait()
            for _ in range(100):
                writer.write(np.zeros((32, 64, 3), np.uint16))

    assert is_transient(failure(write))


def test_a_full_disk_under_ffmpeg_passes(ffmpeg: str) -> None:
    """ffmpeg meets ENOSPC itself, and its exit code says so."""
    error = failure(lambda: frames.run(endless(ffmpeg, "/dev/full"), what="encode"))
    assert "the disk is full" in str(error)
    assert is_transient(error)


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(5000)], ids=["empty", "text", "zeros"])
def test_a_broken_input_stays_broken(ffmpeg: str, tmp_path: Path, content: bytes) -> None:
    """ffmpeg's complaint about what it reads is no reason to try again, and neither is PyAV's."""
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(content)
    assert not is_transient(failure(lambda: list(frames.read_frames(broken, ffmpeg=ffmpeg, width=64, height=32))))
    assert not is_transient(failure(lambda: look_at(broken)))


def test_a_program_that_is_not_there_stays_away(tmp_path: Path) -> None:
    """A wrong DAILIES_FFMPEG is wrong the next time too."""
    assert not is_transient(failure(lambda: frames.run([str(tmp_path / "ffmpeg")], what="encode")))


def test_a_program_that_takes_too_long_may_be_quicker(tmp_path: Path) -> None:
    """A machine that swaps answers later."""
    assert is_transient(
        failure(lambda: frames.output_of([sys.executable, "-c", "import time; time.sleep(9)"], timeout=0.2))
    )


def test_too_little_disk_passes(tmp_path: Path) -> None:
    """Asked before anything starts."""
    assert is_transient(failure(lambda: keep.check_disk(1 << 60, tmp_path, what="AGM_SH0010_v001")))


def test_a_shot_that_another_one_renders_passes(tmp_path: Path) -> None:
    """The kernel's lock, held by another process."""
    holder = "import sys, time\nfrom pathlib import Path\nfrom tasks.keep import sole_owner\n"
    holder += "with sole_owner(Path(sys.argv[1]), what='x'):\n    print('held', flush=True)\n    time.sleep(60)"
    argv = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            assert is_transient(failure(lambda: keep.sole_owner(tmp_path, what="AGM/SH0010").__enter__()))
        finally:
            other.kill()


def test_a_full_disk_under_a_receipt_passes(tmp_path: Path) -> None:
    """A disk of 64 KiB that is really full: the sentence is for people, the cause is kept for us."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount")
    try:
        (small / "ballast").write_bytes(bytes(60 << 10))
        error = failure(lambda: keep.write_json(small / "plan.json", {"x": "y" * (32 << 10)}))
        assert is_transient(error)
        assert error.__cause__ is not None
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_limit_of_the_account_stays(tmp_path: Path) -> None:
    """RLIMIT_FSIZE (EFBIG) does not go away by waiting."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        error = failure(lambda: keep.write_json(tmp_path / "plan.json", {"x": "y" * (32 << 10)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == errno.EFBIG
    assert not is_transient(error)


def test_a_catalogue_that_cannot_be_reached_passes(tmp_path: Path) -> None:
    """The error that a broken file really gives is of the passing kind: somebody puts the database back."""
    (tmp_path / "catalogue.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(CatalogueUnavailableError) as caught:
        open_catalogue(f"sqlite:///{tmp_path}/catalogue.sqlite")
    assert is_transient(caught.value)
