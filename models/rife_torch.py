"""RIFE through torch: on a CUDA device or on the processor, without an 8-bit step.

Knows: weights as safetensors, frames of 16 bits, which device computes how. Does not know: clips, rates, cuts, the
network's insides (`models.ifnet`). Imports without torch.

A frame is uploaded and encoded once, whatever it is paired with: the last two seen stay, so that in a clip the second
frame of a pair is at hand when it becomes the first. Frames are extended by their edge to the network's multiple.

On a device the timesteps of a pair run as batches, and a batch is queued before the last one's frames are handed out.
On the processor every timestep runs by itself on one thread, several at once: convolutions that share threads, or a
batch, give other last bits, and on two busy cores took four times as long. So frames do not depend on how many threads
or programs share a clip.

Memory, 4.25: 28 bytes per pixel of the two frames (eight times that with spatial augmentation), and 500 per pixel that
is computed at once: of BATCH pixels, on the processor of a frame per thread at most.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from models.headers import WeightsError
from models.ifnet import ARCHITECTURES, Network
from models.interface import (
    BadPicture,
    DeviceLost,
    EngineError,
    EngineUnavailable,
    Frame,
    InterpolatorSpec,
    OutOfMemory,
)
from models.retimers import RIFE_TORCH, Tta, Uhd
from models.rife_convert import architecture_of, published
from models.rife_pixels import WAYS, as_frame, equal, levels, turned, turned_back, uploaded
from models.tensor_files import pieces, read_tensors
from models.weights_lock import file_sha256

VERSION: Final = "1"
"""Changes whenever the same two frames would give other pixels."""
BATCH: Final = 4 << 20
"""Most pixels that are computed at once: four frames of 720p, two of 1080p; always one frame."""
PRECISIONS: Final = ("float32", "float16", "bfloat16")
"""In what convolutions may be computed."""

_RAN_OUT: Final = ("out of memory", "allocate memory", "ALLOC_FAILED")
_LOST: Final = ("CUDA", "cuDNN", "CUDNN", "CUBLAS")
_KEPT: Final = 2  # frames whose encoding stays
_SAMPLED: Final = 31  # every so many rows and columns a frame is looked at to see that nobody has written over it


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame, as the network knows it."""

    frame: Frame
    """The very array: while it is held, nothing else can lie at its address."""
    sample: bytes
    """Some of its pixels: an array that was written over is another frame."""
    halved: bool
    """Whether it was extended for motion that is sought at half size."""
    ways: tuple[Any, ...]
    """What the network made of it: as it is, then mirrored and turned, if that is asked for."""


def spec_of(
    file: Path, *, device: str, precision: str = "", tta: Tta = Tta.NONE, uhd: Uhd = Uhd.AUTO
) -> InterpolatorSpec:
    """What a RifeTorch of these arguments calls itself; nothing is loaded, and torch is not imported."""
    kind = device.partition(":")[0]
    library = metadata.version("torch").partition("+")[0]
    options = ("" if tta is Tta.NONE else f"-tta-{tta}") + ("" if uhd is Uhd.OFF else f"-uhd-{uhd}")
    version = f"{VERSION}-torch-{library}-{kind}-{precision or _precision(device)}{options}"
    return InterpolatorSpec(RIFE_TORCH, _name(file), file_sha256(file), version)


def _precision(device: str) -> str:
    """What is computed in unless something else is said."""
    return "float32" if device == "cpu" else "float16"


class RifeTorch:
    """FrameInterpolator and Shareable by RIFE 4.6, 4.25 or 4.26. Used by one thread at a time, as a lock ensures."""

    def __init__(
        self,
        file: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "",
        tta: Tta = Tta.NONE,
        uhd: Uhd = Uhd.AUTO,
    ) -> None:
        """Load `file`, a .safetensors, onto `device`: `cpu`, `cuda:0` ...

        `threads` are the processor's, by default one for each core; `precision` one of PRECISIONS, by default float16
        on a device and float32 on the processor. Raises EngineUnavailable if torch, the device or the file is missing,
        or if the weights are not those of a network known here or of the one that their folder is named for.
        """
        if precision not in ("", *PRECISIONS):
            raise EngineUnavailable(f"precision {precision!r} is not known; use {', '.join(PRECISIONS)}")
        self._file, self._tta, self._uhd = file, tta, uhd
        self._on_device = device != "cpu"
        self._precision = precision or _precision(device)
        self._torch = _torch(device)
        self._device = device
        architecture, weights = _weights(file)
        self._architecture = ARCHITECTURES[architecture]
        with self._judged("loading"):
            dtype = getattr(self._torch, self._precision)
            self._network = Network(self._architecture, weights, device=device, dtype=dtype)
        self._seen: deque[_Seen] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._most = BATCH
        self._threads = 1 if self._on_device else threads or os.cpu_count() or 1
        self._pool = None if self._on_device else self._workers()
        self._spec = spec_of(file, device=device, precision=precision, tta=tta, uhd=uhd)

    @property
    def spec(self) -> InterpolatorSpec:
        """`rife-torch`; the version names torch's, the kind of device, precision, augmentation and a fixed UHD."""
        return self._spec

    def opener(self, threads: int) -> Callable[[], RifeTorch] | None:
        """What opens the same on the processor in another process; None on a device."""
        if self._on_device:
            return None
        return partial(RifeTorch, self._file, threads=threads, precision=self._precision, tta=self._tta, uhd=self._uhd)

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Yield one (height, width, 3) uint16 frame per phase; equal frames are copied, not computed.

        Raises EngineError if the frames differ in size, OutOfMemory if not even one fits the memory, BadPicture for
        values that are not finite, DeviceLost if the device went away.
        """
        if first.shape != second.shape:
            raise EngineError(f"cannot interpolate between frames of {first.shape} and {second.shape}")
        if not phases:
            return
        if equal(first, second):
            for _ in phases:
                yield first.copy()
            return
        height, width = first.shape[:2]
        with self._lock, self._judged(f"encoding {width}x{height}"):
            one, other = self._encoded(first), self._encoded(second)
        times = [float(phase) for phase in phases]
        yield from self._queued(one, other, times) if self._on_device else self._threaded(one, other, times)

    # ----------------------------------------------------------------------------------------------------------------
    # what the network sees

    def _encoded(self, frame: Frame) -> _Seen:
        """The frame as the network knows it, at hand or made now."""
        sample = frame[::_SAMPLED, ::_SAMPLED].tobytes()
        for seen in self._seen:
            if seen.frame is frame and seen.sample == sample:
                return seen
        halved = self._uhd.halves(frame.shape[1], frame.shape[0])
        multiple = self._architecture.multiple * (2 if halved else 1)
        ways = self._pool.submit(self._ways, frame, multiple).result() if self._pool else self._ways(frame, multiple)
        self._seen.append(_Seen(frame, sample, halved, ways))
        return self._seen[-1]

    def _ways(self, frame: Frame, multiple: int) -> tuple[Any, ...]:
        """Upload, extend and encode a frame: as it is, and with spatial augmentation in seven more ways."""
        with self._torch.inference_mode(), self._exactly():
            image = uploaded(frame, self._device, multiple)
            return tuple(self._network.encode(turned(image, way)) for way in range(WAYS if self._tta.spatial else 1))

    def _computed(self, one: _Seen, other: _Seen, times: Sequence[float]) -> tuple[Any, Any]:
        """The frames at `times` where they were computed: (n, height, width, 3) int16, and whether all is finite."""
        with self._torch.inference_mode(), self._exactly():
            forth = self._torch.tensor(times, dtype=self._torch.float32, device=self._device)
            total: Any = None
            for way, (a, b) in enumerate(zip(one.ways, other.ways, strict=True)):
                made = self._network.between(a, b, forth, halved=one.halved)
                if self._tta.temporal:
                    made = made.add_(self._network.between(b, a, 1 - forth, halved=one.halved)).div_(2)
                made = turned_back(made, way)
                total = made if total is None else total.add_(made)
            return levels(total.div_(len(one.ways)), *one.frame.shape[:2])

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        """On a device: convolutions that give the same bits every time, and 32 bits where 32 are asked for."""
        if not self._on_device:
            yield
            return
        with self._torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield

    def _judge(self, sound: bool) -> None:
        if not sound:
            wider = "; use precision bfloat16 or float32" if self._precision == "float16" else ""
            raise BadPicture(f"RIFE {self._spec.model} made values that are no colours in {self._precision}{wider}")

    # ----------------------------------------------------------------------------------------------------------------
    # the processor

    def _workers(self) -> ThreadPoolExecutor:
        """Threads that compute by themselves. How many torch uses elsewhere is left as it was."""
        torch, threads = self._torch, self._torch.get_num_threads()
        pool = ThreadPoolExecutor(self._threads, "rife", initializer=_alone)
        gate = threading.Barrier(self._threads)
        for started in [pool.submit(gate.wait) for _ in range(self._threads)]:
            started.result()
        torch.set_num_threads(threads)  # what threads that start later take over, too
        return pool

    def _threaded(self, one: _Seen, other: _Seen, times: Sequence[float]) -> Iterator[Frame]:
        """A frame per thread at once, handed out in order."""
        assert self._pool is not None
        waiting: deque[Future[tuple[Any, Any]]] = deque()
        rest = iter(times)
        height, width = one.ways[0].shape[2:]
        at_once = max(1, min(self._threads, BATCH // (height * width)))
        try:
            for _ in times:
                while len(waiting) < at_once and (time := next(rest, None)) is not None:
                    waiting.append(self._pool.submit(self._computed, one, other, [time]))
                with self._judged(_what(one)):
                    made, sound = waiting.popleft().result()
                self._judge(bool(sound))
                yield as_frame(made[0])
        finally:
            for future in waiting:
                future.cancel()

    # ----------------------------------------------------------------------------------------------------------------
    # a device

    def _queued(self, one: _Seen, other: _Seen, times: Sequence[float]) -> Iterator[Frame]:
        """Batches of timesteps; one computes while the frames of the one before are handed out."""
        rest, ahead = list(times), None
        while rest or ahead is not None:
            queued = None
            if rest:
                with self._lock, self._judged(_what(one)):
                    count, queued = self._launched(one, other, rest)
                    del rest[:count]
            if ahead is not None:
                yield from self._arriving(one, *ahead)
            ahead = queued

    def _launched(self, one: _Seen, other: _Seen, times: Sequence[float]) -> tuple[int, tuple[Any, Any, Any]]:
        """Queue as many of `times` as memory allows: how many, and where their frames will lie, pinned.

        A pinned buffer is the frame that is handed out: torch takes it back when the last reader lets go.
        """
        torch = self._torch
        height, width = one.ways[0].shape[2:]
        while True:
            count = max(1, min(len(times), self._most // (height * width)))
            try:
                made, sound = self._computed(one, other, times[:count])
                frames = [torch.empty(made.shape[1:], dtype=made.dtype, pin_memory=True) for _ in range(count)]
                verdict = torch.empty((), dtype=torch.bool, pin_memory=True)
                with torch.cuda.device(self._device):
                    for frame, found in zip(frames, made, strict=True):
                        frame.copy_(found, non_blocking=True)
                    verdict.copy_(sound, non_blocking=True)
                    done = torch.cuda.Event()
                    done.record()
                return count, (frames, verdict, done)
            except torch.cuda.OutOfMemoryError:
                if count == 1:
                    raise
                self._most = count // 2 * height * width
            torch.cuda.empty_cache()

    def _arriving(self, one: _Seen, frames: Sequence[Any], verdict: Any, done: Any) -> Iterator[Frame]:
        with self._judged(_what(one)):
            done.synchronize()
        self._judge(bool(verdict))
        for frame in frames:
            yield as_frame(frame)

    @contextmanager
    def _judged(self, what: str) -> Iterator[None]:
        """What torch raises, as the EngineError that it means."""
        try:
            yield
        except EngineError:
            raise
        except (RuntimeError, MemoryError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            named = f"RIFE {_name(self._file)} on {self._device}, {what}"
            if isinstance(error, MemoryError) or any(sign in str(error) for sign in _RAN_OUT):
                raise OutOfMemory(f"{named}: out of memory ({first}); free some, or retime smaller frames") from error
            # not every error of a driver has a type of its own
            if self._on_device and any(sign in str(error) for sign in _LOST):
                raise DeviceLost(f"{named}: the device or its driver gave up ({first}); check nvidia-smi") from error
            raise EngineError(f"{named}: {first}") from error


def _torch(device: str) -> Any:
    """torch, if it is there and has the device."""
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable(f"RIFE through torch needs torch ({error}); pip install 'dailies[gpu]'") from error
    if device == "cpu":
        return torch
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise EngineUnavailable(f"{device} is no device of torch's known here; use cpu or cuda:0")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= there:
        raise EngineUnavailable(f"torch sees {there} CUDA devices here and no {device}; check nvidia-smi, or use cpu")
    return torch


def _alone() -> None:
    """Have this thread of ours compute without others."""
    import torch

    torch.get_num_threads()  # the first call takes over what is set for all threads: after it, nothing does
    torch.set_num_threads(1)


def _name(file: Path) -> str:
    """What weights are called: by their folder, as cards name it."""
    return file.parent.name if file.stem == "flownet" else file.stem


def _weights(file: Path) -> tuple[str, Mapping[str, Any]]:
    """The architecture of a file and its tensors by published name, float32. Raises EngineUnavailable."""
    import torch

    if not file.is_file():
        raise EngineUnavailable(f"{file} is not there; dailies weights pull rife-4.25 brings RIFE's weights")
    try:
        there = published(pieces(file))
        try:
            found = architecture_of({name: piece.shape for name, piece in there.items()})
        except EngineUnavailable as error:
            raise EngineUnavailable(f"{file}: {error}") from None
        wanted = _wanted(file)
        if wanted and found != wanted:
            raise EngineUnavailable(
                f"{file} holds the network of RIFE {found}, and {_name(file)} has that of {wanted}; "
                "put the weights into the folder of their own version"
            )
        names = {piece: name for name, piece in there.items()}
        read = read_tensors(dict.fromkeys(there.values(), torch.float32), "cpu")
        return found, {names[piece]: tensor for piece, tensor in read}
    except WeightsError as error:
        raise EngineUnavailable(str(error)) from error


def _wanted(file: Path) -> str:
    """The architecture that the card of a file's folder says; empty if there is no such card."""
    from models.interpolator_cards import OWN, interpolator_cards

    own = file.with_name(OWN).is_file()
    card = interpolator_cards(file.parent.parent if own else None).get(_name(file))
    return card.architecture if card else ""


def _what(seen: _Seen) -> str:
    """What is being worked on, in words."""
    height, width = seen.frame.shape[:2]
    return f"{width}x{height}"
