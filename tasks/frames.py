"""Read and write frames, and run ffmpeg: the only module that starts a subprocess.

Knows: the working format (12-bit planar RGB, lossless) and pipes. Does not know: plans, shots, what a frame shows.
Memory: one frame in flight each way, whatever the length of the clip.

The working format is gbrp12le. Twelve bits carry two more than any 10-bit deliverable needs, and cost FFV1 a third
less time than sixteen. Frames in memory are uint16 of full range; `to_working` and `from_working` are exact
inverses on 12-bit values, so a frame that is read and written again is the same bit for bit.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import Frame
from tasks.errors import FfmpegError, MediaError

WORKING_PIX_FMT: Final = "gbrp12le"
"""Pixel format of clips and masters on disk."""

WORKING_MAX: Final = 4095
"""Largest 12-bit value."""

_LAST_WORDS: Final = 2000  # characters of ffmpeg's stderr that an error message keeps

_TO_WORKING: Final = ((np.arange(65536, dtype=np.uint32) * WORKING_MAX + 32767) // 65535).astype(np.uint16)
_FROM_WORKING: Final = ((np.arange(4096, dtype=np.uint32) * 65535 + 2047) // WORKING_MAX).astype(np.uint16)

try:
    _LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None
except OSError:
    _LIBC = None
_PR_SET_PDEATHSIG: Final = 1


def follow_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies: a SIGKILL leaves nobody else to do it.

    For a child it runs between fork and exec, so it calls one C function that is already loaded and nothing else. Does
    nothing where there is no prctl.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))


def to_working(frame: Frame) -> NDArray[np.uint16]:
    """(height, width, 3) uint16 full range -> (3, height, width) 12-bit planes in G, B, R order."""
    red, green, blue = cv2.split(np.take(_TO_WORKING, frame))
    return np.stack((green, blue, red))


def from_working(planes: NDArray[np.uint16]) -> Frame:
    """(3, height, width) 12-bit G, B, R planes -> (height, width, 3) uint16 full range."""
    green, blue, red = np.take(_FROM_WORKING, planes)
    return np.asarray(cv2.merge((red, green, blue)), dtype=np.uint16)


Program = subprocess.Popen[bytes]
"""A program that `start` has started."""


def start(argv: Sequence[str], *, stdout: int, stderr: int, stdin: int = subprocess.DEVNULL) -> Program:
    """Start a program that dies with us. `argv` is a list, never a shell line. Raises FfmpegError if it cannot."""
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            # Ctrl-C is for us to answer: in a session of its own the program does not get it too
            start_new_session=True,
            preexec_fn=follow_parent if _LIBC is not None else None,
        )
    except OSError as error:
        raise FfmpegError(f"{argv[0]} does not start: {error.strerror or error}") from error


def stop(program: Program, *, patience: float = 10.0) -> None:
    """End a program: SIGTERM, and SIGKILL if it is still there after `patience` seconds."""
    program.terminate()
    try:
        program.wait(patience)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


class _Drain(threading.Thread):
    """Keeps the tail of a pipe, so that a chatty child never blocks on it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.tail = b""
        self.start()

    def run(self) -> None:
        for line in self._stream:
            self.tail = (self.tail + line)[-_LAST_WORDS:]

    def text(self) -> str:
        self.join(timeout=5)
        return self.tail.decode("utf-8", "replace").strip()


def _why(code: int, words: str) -> str:
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"{ended}: {words}" if words else ended


def run(argv: Sequence[str], *, what: str, on_frame: Callable[[int], None] | None = None) -> None:
    """Run ffmpeg to its end; `on_frame` hears the count of frames written, about twice a second.

    `what` names the work in the error (`encode of AGM_SH0010_v001`). Raises FfmpegError with ffmpeg's last words if
    it ends with an error or is killed.
    """
    with start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        drain = _Drain(child.stderr)
        try:
            for line in child.stdout:
                if on_frame is not None and line.startswith(b"frame="):
                    on_frame(int(line[6:].strip() or b"0"))
        except BaseException:
            child.kill()
            raise
        code = child.wait()
    if code != 0:
        raise FfmpegError(f"{what}: ffmpeg {_why(code, drain.text())}", code=code)


def output_of(argv: Sequence[str], *, timeout: float = 30.0) -> str:
    """Standard output of a short command. Raises FfmpegError if it cannot be started, fails or takes longer."""
    try:
        done = subprocess.run(list(argv), capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as error:
        raise FfmpegError(f"{argv[0]} does not run: {error}", transient=True) from error
    except OSError as error:
        raise FfmpegError(f"{argv[0]} does not run: {error}") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace")[-_LAST_WORDS:]
        raise FfmpegError(f"{argv[0]} {_why(done.returncode, words)}", code=done.returncode)
    return done.stdout.decode("utf-8", "replace")


@cache
def ffmpeg_version(ffmpeg: str) -> str:
    """What an ffmpeg calls its version, asked once per process. Raises FfmpegError if it does not run."""
    words = output_of([ffmpeg, "-version"]).split()
    return words[2] if len(words) > 2 else "unknown"


def read_frames(
    path: Path, *, ffmpeg: str, width: int, height: int, first: int = 0, count: int | None = None
) -> Generator[Frame, None, None]:
    """Stream frames `first` to `first + count` of a lossless clip, as (height, width, 3) uint16.

    Frames are counted, not timed: `first` frames are decoded and dropped, which is exact on every file. Raises
    MediaError if the file ends before `count` frames, FfmpegError if it does not decode.
    """
    argv = [
        ffmpeg,
        "-nostdin", "-v", "error",
        "-xerror",  # a damaged file is an error, not a shorter clip
        "-i", str(path),
        "-map", "0:v:0",
        # every coded frame once, whatever the timestamps say: frames are counted here
        "-fps_mode", "passthrough",
        "-f", "rawvideo", "-pix_fmt", WORKING_PIX_FMT,
        "-",
    ]  # fmt: skip
    size = width * height * 6
    child = start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    drain = _Drain(child.stderr)
    given = 0
    try:
        index = 0
        while count is None or given < count:
            raw = child.stdout.read(size)
            if len(raw) < size:
                break
            if index >= first:
                planes = np.frombuffer(raw, dtype="<u2").reshape(3, height, width)
                yield from_working(planes)
                given += 1
            index += 1
        else:
            return  # all that was asked for: ffmpeg is stopped below, its exit code says nothing
        code = child.wait()
        if code != 0 or raw:
            raise FfmpegError(
                f"reading {path.name}: ffmpeg {_why(code, drain.text())}; render the shot again", code=code
            )
        if count is not None:
            raise MediaError(
                f"{path.name} ends after {index} frames, {first + count} were expected; render the shot again"
            )
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
        drain.join(timeout=5)
        child.stderr.close()


class FrameWriter:
    """Writes a lossless clip frame by frame through an ffmpeg pipe. A context manager.

    Leaving the block normally closes the file and raises FfmpegError if it is not whole; leaving it by an exception
    kills ffmpeg. The file is complete only after a normal exit.
    """

    def __init__(self, argv: Sequence[str], *, width: int, height: int, what: str) -> None:
        self._shape = (height, width, 3)
        self._what = what
        self._child = start(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self._child.stderr is not None
        self._drain = _Drain(self._child.stderr)
        self.written = 0

    def write(self, frame: Frame) -> None:
        """Append one (height, width, 3) uint16 frame. Raises FfmpegError if ffmpeg is gone."""
        if frame.shape != self._shape or frame.dtype != np.uint16:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, the clip wants {self._shape} uint16")
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(to_working(frame).astype("<u2", copy=False).tobytes())
        except OSError:
            code = self._child.wait()
            raise FfmpegError(f"{self._what}: ffmpeg {_why(code, self._drain.text())}", code=code) from None
        self.written += 1

    def kill(self) -> None:
        """End ffmpeg at once: a write that waits for it fails."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        assert self._child.stderr is not None
        if kind is not None:
            self._child.kill()
        with suppress(OSError):  # ffmpeg is gone; its exit code below says why
            self._child.stdin.close()
        code = self._child.wait()
        words = self._drain.text()
        self._child.stderr.close()
        if kind is None and code != 0:
            raise FfmpegError(f"{self._what}: ffmpeg {_why(code, words)}", code=code)


def count_frames(path: Path) -> int:
    """Decode a video file to its end and count its frames (PyAV). Raises MediaError if it does not decode."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            return sum(1 for _ in container.decode(stream))
    except (av.FFmpegError, OSError, IndexError) as error:
        raise MediaError(f"{path.name} does not decode: {error}") from error
