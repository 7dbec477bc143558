"""How much of its master a deliverable has kept: XPSNR of a few frames, taken while it is decoded anyway.

Knows: masters, the conversion that encodes begin with. Does not know: shots, limits, findings. Memory: the sampled
frames of the master, at most MEMORY bytes or three frames, and about half as much for each pixel format delivered.

XPSNR (Helmrich et al. 2020, ffmpeg's filter) weighs errors by how well they are hidden: in noise and leaves an eye
finds less than in a sky. Each frame is measured by itself; where there is no filter for a format, it is plain PSNR.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import av.filter
import ffmpeg as graph
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from catalogs.footage import Finding, Master
from tasks import frames as pipes
from tasks.content import SAMPLES, sampled
from tasks.errors import FfmpegError, MediaError
from tasks.ffmpeg import _sized  # the very route of the encodes, or the measure would be of another one
from tasks.filters import converted
from tasks.frames import WORKING_PIX_FMT
from tasks.hollow import LowBits, judge_hollow
from tasks.known import finding
from tasks.limits import Limits
from tasks.planes import luma_of

MEMORY: Final = 160 << 20
"""Bytes that sampled frames of a master may take; of large ones there are fewer."""

MEASURED: Final = ("yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv444p12le", "rgb48be")
"""Pixel formats of deliverables that can be held against their master."""

_BEST: Final = 100.0  # decibels said of frames without any difference


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of one frame is left."""

    index: int
    """Which frame, from 0."""
    decibels: float
    """XPSNR of luma, or what `measure` names; 100 for no difference."""
    measure: str
    """`XPSNR` or `PSNR`."""


class MasterFrames:
    """A few frames of a master, decoded once for all deliverables of a shot."""

    def __init__(self, master: Master, *, ffmpeg: str, width: int, height: int) -> None:
        """`width` and `height` are the deliverables'. Raises MediaError if the master does not decode."""
        self._master, self._ffmpeg, self._size = master, ffmpeg, (width, height)
        fit = max(3, min(SAMPLES, MEMORY // max(1, master.width * master.height * 6)))
        self.indices: Final = sampled(master.frames, fit)
        """Which frames, from 0, rising."""
        self._raw = _seek(master, self.indices)
        self._made: dict[str, Mapping[int, bytes]] = {}
        self._lock = threading.Lock()

    def converted(self, pix_fmt: str) -> Mapping[int, bytes]:
        """The frames as an encoder of that format gets them, packed planes, by index. Any thread may ask.

        Raises FfmpegError.
        """
        with self._lock:
            if pix_fmt not in self._made:
                self._made[pix_fmt] = self._convert(pix_fmt)
            return self._made[pix_fmt]

    def _convert(self, pix_fmt: str) -> Mapping[int, bytes]:
        master, (width, height) = self._master, self._size
        source = graph.input("pipe:0", format="rawvideo", pix_fmt=WORKING_PIX_FMT, s=f"{master.width}x{master.height}")
        fitted = _sized(source, width=width, height=height, master_width=master.width, master_height=master.height)
        stream = graph.output(
            converted(fitted.filter("setsar", "1"), pix_fmt), "pipe:1", format="rawvideo", pix_fmt=pix_fmt
        )
        argv: list[str] = graph.compile(stream, cmd=self._ffmpeg)
        made = _through([argv[0], "-v", "error", *argv[1:]], self._raw, what=master.path.name)
        size, rest = divmod(len(made), len(self.indices))
        if rest:
            raise FfmpegError(f"converting {master.path.name}: frames of unequal size came back; report it")
        return {index: made[number * size : (number + 1) * size] for number, index in enumerate(self.indices)}


class FidelityWatch:
    """Sees every frame of one deliverable, in order, and measures those that the master was sampled at."""

    def __init__(self, master: MasterFrames, pix_fmt: str) -> None:
        self._due = master.converted(pix_fmt)
        self._pix_fmt = pix_fmt
        self._seen = 0
        self.kept: list[Kept] = []
        """One for each sampled frame that was there."""
        self._low = LowBits()

    def see(self, frame: VideoFrame) -> None:
        """The next frame as it was decoded; one of another format is passed over, for that is another finding."""
        index, self._seen = self._seen, self._seen + 1
        packed = self._due.get(index)
        if packed is None or frame.format.name != self._pix_fmt:
            return
        if len(packed) != _packed_size(frame):
            return
        if frame.format.is_rgb:
            decibels, measure = _psnr(packed, frame), "PSNR"
        else:
            reference = _unpacked(packed, frame)
            decibels, measure = _xpsnr(reference, frame)
            if (bits := frame.format.components[0].bits) > 8:
                self._low.see(luma_of(reference)[0], luma_of(frame)[0], bits=bits)
        self.kept.append(Kept(index, decibels, measure))

    def findings(self, limits: Limits, *, small: bool = False) -> tuple[Finding, ...]:
        """After the last frame: what was lost; a file that is meant to be small may lose more."""
        hollow = judge_hollow(self._low.found(), (0, self._seen), limits)
        return (*judge_fidelity(self.kept, limits, small=small), *hollow)


def judge_fidelity(kept: Sequence[Kept], limits: Limits, *, small: bool = False) -> tuple[Finding, ...]:
    """The worst frame, if it lost too much; a file that is meant to be small may lose more. Pure."""
    severity, lost = limits.severity("fidelity"), limits.severity("fidelity", "lost")
    if severity is None or not kept:
        return ()
    worst = min(kept, key=lambda one: one.decibels)
    least = float(limits["fidelity"]["small" if small else "xpsnr"])
    broken = float(limits["fidelity"]["broken"])
    if worst.decibels >= least:
        return ()
    grade = lost if lost is not None and worst.decibels < broken else severity
    value = f"{worst.measure} {worst.decibels:.1f} dB"
    return (finding("fidelity", grade, (worst.index, worst.index + 1), value, f"{least:g} dB"),)


def _seek(master: Master, indices: Sequence[int]) -> list[bytes]:
    """Packed planes of some frames. Every frame of a master stands alone, so each is sought and decoded by itself."""
    found: list[bytes] = []
    try:
        with av.open(str(master.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # frame threads would decode those behind it as well
            for index in indices:
                found.append(_frame_at(container, stream, index, master.rate))
    except (av.FFmpegError, OSError, IndexError) as error:
        raise MediaError(f"the master {master.path.name} does not decode: {error}; render the shot again") from error
    return found


def _frame_at(container: Any, stream: VideoStream, index: int, rate: Fraction) -> bytes:
    assert stream.time_base is not None
    # Matroska rounds times to milliseconds, so one is sought a little before it
    target = int((Fraction(index) - Fraction(1, 4)) / rate / stream.time_base) if index else 0
    container.seek(max(0, target), stream=stream, backward=True)
    for frame in container.decode(stream):
        if frame.pts is not None and round(frame.pts * stream.time_base * rate) >= index:
            return _packed(frame)
    raise MediaError(f"the master ends before frame {index}; render the shot again")


def _planes(frame: VideoFrame) -> list[tuple[int, int, int]]:
    """(rows, bytes in a row, bytes from row to row) of each plane."""
    wide = (frame.format.components[0].bits + 7) // 8
    samples = len(frame.format.components) if frame.format.is_rgb and len(frame.planes) == 1 else 1
    return [(plane.height, plane.width * wide * samples, plane.line_size) for plane in frame.planes]


def _packed_size(frame: VideoFrame) -> int:
    return sum(rows * row for rows, row, _ in _planes(frame))


def _packed(frame: VideoFrame) -> bytes:
    """Planes without padding, one after the other."""
    parts = []
    for plane, (rows, row, stride) in zip(frame.planes, _planes(frame), strict=True):
        # a plane is a buffer, although its stubs do not say so
        whole: NDArray[np.uint8] = np.frombuffer(plane, np.uint8, rows * stride)  # type: ignore[call-overload]
        parts.append(whole.reshape(rows, stride)[:, :row].tobytes())
    return b"".join(parts)


def _unpacked(packed: bytes, like: VideoFrame) -> VideoFrame:
    """The reverse of `_packed`, a frame as large as `like`."""
    frame = VideoFrame(like.width, like.height, like.format.name)
    start = 0
    for plane, (rows, row, stride) in zip(frame.planes, _planes(frame), strict=True):
        padded = np.zeros((rows, stride), np.uint8)
        padded[:, :row] = np.frombuffer(packed, np.uint8, rows * row, start).reshape(rows, row)
        plane.update(padded.tobytes())
        start += rows * row
    return frame


def _psnr(packed: bytes, frame: VideoFrame) -> float:
    kind = ">u2" if frame.format.name.endswith("be") else "<u2"
    one = np.frombuffer(packed, kind).astype(np.float32)
    other = np.frombuffer(_packed(frame), kind).astype(np.float32)
    return _decibels(float(np.square(one - other).mean()) / 65535**2)


def _decibels(error: float) -> float:
    return min(_BEST, -10 * math.log10(error)) if error > 0 else _BEST


@cache
def has_xpsnr() -> bool:
    """Whether the ffmpeg within PyAV has the filter."""
    return "xpsnr" in av.filter.filters_available


def _xpsnr(reference: VideoFrame, frame: VideoFrame) -> tuple[float, str]:
    """Decibels of luma and the name of the measure. A graph for each: with frames far apart in one, the filter would
    take the time between them for motion that hides errors."""
    name = "xpsnr" if has_xpsnr() else "psnr"
    with_time = Fraction(1, 24)
    measured = av.filter.Graph()
    kind = {"width": frame.width, "height": frame.height, "format": frame.format.name, "time_base": with_time}
    one, other = measured.add_buffer(**kind), measured.add_buffer(**kind)  # type: ignore[arg-type]
    compare, sink = measured.add(name), measured.add("buffersink")
    one.link_to(compare, 0, 0)
    other.link_to(compare, 0, 1)
    compare.link_to(sink)
    measured.configure()
    twin = _unpacked(_packed(frame), frame)  # the decoder's own frame keeps its time
    for picture, source in ((reference, one), (twin, other)):
        picture.pts, picture.time_base = 0, with_time
        source.push(picture)
        source.push(None)
    told = dict(sink.pull().metadata)
    return min(_BEST, float(told[f"lavfi.{name}.{name}.y"])), name.upper()


def _through(argv: Sequence[str], raw: Sequence[bytes], *, what: str) -> bytes:
    """What ffmpeg makes of frames on its stdin, all of it. Raises FfmpegError."""
    with pipes.start(argv, stdin=pipes.PIPE, stdout=pipes.PIPE, stderr=pipes.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        words, sink = pipes.LastWords(child.stderr), child.stdin

        def feed() -> None:
            try:
                for one in raw:
                    sink.write(one)
                sink.close()
            except OSError:  # it has ended; its exit code says why
                pass

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        made = child.stdout.read()
        code = child.wait()
        feeder.join()
    if code != 0:
        raise FfmpegError(f"converting {what}: ffmpeg {pipes.why(code, words.text())}", code=code)
    return made


def master_at(path: Path) -> Master:
    """A lossless file that somebody names as the master of another. Raises MediaError if it is none."""
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.video[0]
            found = (stream.codec_context.name, stream.format.name)
            if found != ("ffv1", WORKING_PIX_FMT):
                raise MediaError(
                    f"{path.name} is {' '.join(found)}, no master; give the shot's master.mkv, in its work folder"
                )
            count = sum(1 for packet in container.demux(stream) if packet.size)
            rate = Fraction(stream.average_rate or 24)
            return Master(path, "", path.stat().st_size, count, rate, stream.width, stream.height)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise MediaError(f"{path} cannot be read as a master: {error}; check the path") from error
