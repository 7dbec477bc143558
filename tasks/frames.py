"""Read and write frames, and run ffmpeg: the only module that starts a subprocess.

Knows: the working format (12-bit planar RGB, lossless) and pipes. Does not know: plans, shots, what a frame shows.
Memory: one frame and its planes in flight each way, whatever the length of the clip.

The working format is gbrp12le. Twelve bits carry two more than any 10-bit deliverable needs, and cost FFV1 a third
less time than sixteen. Frames in memory are uint16 of full range; `to_working` and `from_working` are exact
inverses on 12-bit values, so a frame that is read and written again is the same bit for bit. They compute within 16
bits and a few rows at a time, which stay in the processor's cache: four times as fast as a table of all values.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

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

_BAND: Final = 1 << 16  # pixels converted at a time: what is in the making stays in the cache
_PIPE: Final = 1 << 20  # bytes a pipe holds: most that Linux grants everyone, instead of 64 KiB
_F_SETPIPE_SZ: Final = getattr(fcntl, "F_SETPIPE_SZ", None)

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


def to_working(frame: Frame, out: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """(height, width, 3) uint16 full range -> (3, height, width) 12-bit planes in G, B, R order, into `out` if given.

    Rounds to the nearest, v * 4095 / 65535; half way down. In 16 bits: (v + 7 - c) >> 4, where c = ((v >> 4) * 15 + 7)
    >> 12 makes up for 65535 / 4095 being 16 and 15/4095.
    """
    height, width = frame.shape[:2]
    planes = np.empty((3, height, width), np.uint16) if out is None else out
    rows = max(1, _BAND // max(1, width))
    for top in range(0, height, rows):
        band = frame[top : top + rows]
        excess = band >> 4
        excess *= 15
        excess += 7
        excess >>= 12
        np.subtract(band, excess, out=excess)
        excess += 7
        excess >>= 4
        green, blue, red = planes[:, top : top + rows]
        cv2.split(excess, (red, green, blue))
    return planes


def from_working(planes: NDArray[np.uint16]) -> Frame:
    """(3, height, width) 12-bit G, B, R planes -> (height, width, 3) uint16 full range.

    Rounds to the nearest, v * 65535 / 4095. In 16 bits: 16 v + ((15 v + 2055) >> 12).
    """
    height, width = planes.shape[1:]
    frame = np.empty((height, width, 3), np.uint16)
    rows = max(1, _BAND // max(1, width))
    for top in range(0, height, rows):
        band = planes[:, top : top + rows]
        rest = band * np.uint16(15)
        rest += 2055
        rest >>= 12
        rest += band << 4
        green, blue, red = rest
        cv2.merge((red, green, blue), frame[top : top + rows])
    return frame


Program = subprocess.Popen[bytes]
"""A program that `start` has started."""

PIPE: Final = subprocess.PIPE
"""Where `start` shall put a pipe."""


def start(
    argv: Sequence[str],
    *,
    stdout: int,
    stderr: int,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    nice: int = 0,
) -> Program:
    """Start a program that dies with us. `argv` is a list, never a shell line. Raises FfmpegError if it cannot.

    `nice` is by how much it stands back behind others when processors are short.

    It dies with the thread that starts it, to be exact: start it from one that lives as long as it is needed.
    """
    try:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            # Ctrl-C is for us to answer: in a session of its own the program does not get it too
            start_new_session=True,
            preexec_fn=partial(_begin, nice) if nice or _LIBC is not None else None,
            # AV1's encoder writes a page of settings to stderr, where ffmpeg's last words are looked for
            env={"SVT_LOG": "1", **os.environ},
        )
    except OSError as error:
        raise FfmpegError(f"{argv[0]} does not start: {error.strerror or error}") from error


def _begin(nice: int) -> None:
    """What a child does between fork and exec."""
    follow_parent()
    os.nice(nice)
    if nice:
        # nice counts within a session only where Linux groups by them: two busy programs at 0 and 5, each in its own,
        # share a core evenly, and 3 to 1 with this
        with suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as group:
            group.write(str(nice))


def stop(program: Program, *, patience: float = 10.0) -> None:
    """End a program: SIGTERM, and SIGKILL if it is still there after `patience` seconds."""
    program.terminate()
    try:
        program.wait(patience)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


class LastWords(threading.Thread):
    """Keeps the tail of a pipe, so that a chatty child never blocks on it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.tail = b""
        self.start()

    def run(self) -> None:
        with suppress(OSError, ValueError):  # closed by whoever has heard enough
            for line in self._stream:
                self.tail = (self.tail + line)[-_LAST_WORDS:]

    def text(self) -> str:
        self.join(timeout=5)
        return self.tail.decode("utf-8", "replace").strip()


def why(code: int, words: str) -> str:
    """How a program ended, with its last words; a full disk in words of ours, of which ffmpeg makes a dozen lines."""
    if 256 - code in (errno.ENOSPC, errno.EDQUOT):  # it exits with minus the system's error, of which one byte remains
        return f"stopped because the disk is full (exit code {code}); free some space and start again"
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"{ended}: {words}" if words else ended


def run(argv: Sequence[str], *, what: str, on_frame: Callable[[int], None] | None = None, nice: int = 0) -> None:
    """Run ffmpeg to its end; `on_frame` hears the count of frames written, about twice a second.

    `what` names the work in the error (`encode of AGM_SH0010_v001`). Raises FfmpegError with ffmpeg's last words if
    it ends with an error or is killed.
    """
    with start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, nice=nice) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        words = LastWords(child.stderr)
        try:
            for line in child.stdout:
                if on_frame is not None and line.startswith(b"frame="):
                    on_frame(int(line[6:].strip() or b"0"))
        except BaseException:
            child.kill()
            raise
        code, said = child.wait(), words.text()
    if code != 0:
        raise FfmpegError(f"{what}: ffmpeg {why(code, said)}", code=code)


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
        raise FfmpegError(f"{argv[0]} {why(done.returncode, words)}", code=done.returncode)
    return done.stdout.decode("utf-8", "replace")


@cache
def ffmpeg_version(ffmpeg: str) -> str:
    """What an ffmpeg calls its version, asked once per process. Raises FfmpegError if it does not run."""
    words = output_of([ffmpeg, "-version"]).split()
    return words[2] if len(words) > 2 else "unknown"


class FrameReader(Iterator[Frame]):
    """Frames `first` to `first + count` of a lossless clip, as (height, width, 3) uint16. A context manager.

    Frames are counted, not timed: `first` frames are decoded and dropped, which is exact on every file. Iterating
    raises MediaError if the file ends before `count` frames, FfmpegError if it does not decode. Any thread may iterate,
    one at a time.
    """

    def __init__(
        self,
        path: Path,
        *,
        ffmpeg: str,
        width: int,
        height: int,
        first: int = 0,
        count: int | None = None,
        conform: str = "",
    ) -> None:
        """`conform` is a chain of ffmpeg filters that makes full-range RGB of that size; empty for clips."""
        argv = [
            ffmpeg,
            "-nostdin", "-v", "error",
            "-xerror",  # a damaged file is an error, not a shorter clip
            # a playlist under a clip's name leads nowhere else
            "-protocol_whitelist", "file,pipe",
            "-i", str(path),
            "-map", "0:v:0",
            *(["-vf", conform] if conform else []),
            # every coded frame once, whatever the timestamps say: frames are counted here
            "-fps_mode", "passthrough",
            "-f", "rawvideo", "-pix_fmt", WORKING_PIX_FMT,
            "-",
        ]  # fmt: skip
        self._name, self._first, self._count = path.name, first, count
        # nobody can render again what is no clip of ours
        self._remedy = "repair it first" if conform else "render the shot again"
        self._planes = np.empty((3, height, width), "<u2")
        self._child = start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        _widen(self._child.stdout)
        self._words = LastWords(self._child.stderr)
        self._frames = self._read(self._child.stdout)

    def __next__(self) -> Frame:
        return next(self._frames)

    def _read(self, pipe: IO[bytes]) -> Iterator[Frame]:
        index = given = 0
        into = self._planes.data.cast("B")
        while self._count is None or given < self._count:
            read: int = pipe.readinto(into)  # type: ignore[attr-defined]  # a BufferedReader, which fills it or ends
            if read < len(into):
                break
            if index >= self._first:
                yield from_working(self._planes)
                given += 1
            index += 1
        else:
            return  # all that was asked for: ffmpeg is stopped when the block is left, its exit code says nothing
        code = self._child.wait()
        if code != 0 or read:
            words = why(code, self._words.text())
            raise FfmpegError(f"reading {self._name}: ffmpeg {words}; {self._remedy}", code=code)
        if self._count is not None:
            raise MediaError(
                f"{self._name} ends after {index} frames, {self._first + self._count} were expected; {self._remedy}"
            )

    def kill(self) -> None:
        """End ffmpeg at once: a read that waits for it ends. Any thread may."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._child.kill()
        self._child.stdout.close()
        self._child.wait()
        self._words.join(timeout=5)
        self._child.stderr.close()


def read_frames(
    path: Path, *, ffmpeg: str, width: int, height: int, first: int = 0, count: int | None = None
) -> Generator[Frame, None, None]:
    """The frames of a FrameReader; ffmpeg starts with the first that is asked for, and ends with the generator."""
    with FrameReader(path, ffmpeg=ffmpeg, width=width, height=height, first=first, count=count) as reader:
        yield from reader


def _widen(pipe: IO[bytes]) -> None:
    """Fewer turns between the two ends of a pipe, where the system allows it."""
    if _F_SETPIPE_SZ is not None:
        with suppress(OSError):
            fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE)


class FrameWriter:
    """Writes a lossless clip frame by frame through an ffmpeg pipe. A context manager.

    Leaving the block normally closes the file and raises FfmpegError if it is not whole; leaving it by an exception
    kills ffmpeg. The file is complete only after a normal exit.
    """

    def __init__(self, argv: Sequence[str], *, width: int, height: int, what: str) -> None:
        self._shape = (height, width, 3)
        self._planes = np.empty((3, height, width), "<u2")
        self._what = what
        self._child = start(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self._child.stdin is not None
        assert self._child.stderr is not None
        _widen(self._child.stdin)
        self._words = LastWords(self._child.stderr)
        self.written = 0

    def write(self, frame: Frame) -> None:
        """Append one (height, width, 3) uint16 frame. Raises FfmpegError if ffmpeg is gone."""
        if frame.shape != self._shape or frame.dtype != np.uint16:
            raise ValueError(f"frame is {frame.shape} {frame.dtype}, the clip wants {self._shape} uint16")
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(to_working(frame, self._planes).data)
        except OSError:
            code = self._child.wait()
            raise FfmpegError(f"{self._what}: ffmpeg {why(code, self._words.text())}", code=code) from None
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
        words = self._words.text()
        self._child.stderr.close()
        if kind is None and code != 0:
            raise FfmpegError(f"{self._what}: ffmpeg {why(code, words)}", code=code)
