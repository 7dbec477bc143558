"""What an engine is: two protocols and the values that cross them.

Knows: arrays, plain numbers and prompts. Does not know: shots, catalogues, files of a take, Prefect.

Every frame here is a numpy array of shape (height, width, 3), dtype uint16, full range 0..65535,
RGB in display-referred BT.709/sRGB primaries, C-contiguous. Frames stream: an engine yields them one by one and
holds no more than it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint16]
"""(height, width, 3) uint16, full range, RGB."""


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """What the planner must know of an image-to-video model: its rules, in its own units."""

    name: str
    """Name of the card that the rules come from, such as `wan2.1-i2v-14b-720p`."""
    engine: str
    """Which engine renders it: `animatic`, `wan` ..."""
    version: str
    """Engine version and weights hash: part of every content key."""
    native_rate: Fraction
    """Frames per second that the model makes."""
    frame_step: int
    """Windows have frame_step * n + frame_offset frames, n >= 0 (Wan: 4n+1)."""
    frame_offset: int
    longest_window: int
    """Most frames of one window; itself a legal length (Wan2.1: 81)."""
    overlap: int
    """Frames that neighbouring windows share unless the caller says otherwise: context, and what both make besides."""
    context: int
    """Frames of the previous window that the next one is conditioned on; 0 if none."""
    sizes: tuple[tuple[int, int], ...]
    """Preset sizes (width, height), landscape or portrait, best first."""
    size_multiple: int
    """Width and height must be multiples of this."""
    smallest: int
    """Least width or height in pixels."""
    largest: int
    """Greatest width or height in pixels."""
    needs_plate: bool = True
    """False for a text-to-video model."""
    needs_prompt: bool = True
    """False where words change nothing."""
    takes_end_plate: bool = True
    """Whether the model can arrive at a given last frame."""
    presets_only: bool = False
    """Whether it makes its preset sizes and no other."""
    steps: int = 0
    """Default denoising steps; 0 where the word means nothing."""
    guidance: float = 0.0
    """Default guidance scale; 0 where the word means nothing."""
    negative_prompt: str = ""
    """Default negative prompt."""
    profile: str = ""
    """How fast at what price: `exact`, `fast` or `draft`; empty where there is no choice. Part of the content key."""
    distilled: str = ""
    """Name of the LoRA that this profile puts on: it stands for steps left out. Empty for none."""
    seconds_per_megapixel: float = 0.5
    """Prior for estimates: seconds per megapixel of generated frame on a reference machine."""
    kind: str = ""
    """Kind of context that `context` and `carries` stand for, as `models.context` writes it; empty: unnamed."""
    carries: int = 0
    """Latents of the previous window that the next one is pinned to; 0 for every other kind of context."""
    contexts: tuple[str, ...] = ()
    """Kinds of context that the model was trained for, its default first."""
    experimental: tuple[str, ...] = ()
    """Kinds that it can be given besides, without having been trained for them."""
    free: int = 0
    """Frames that both windows make besides those handed on, to be morphed and compared in colour."""

    def legal(self, frames: int) -> bool:
        """Whether one window may have this many frames."""
        return (
            self.frame_offset <= frames <= self.longest_window and (frames - self.frame_offset) % self.frame_step == 0
        )


@dataclass(frozen=True, slots=True)
class InterpolatorSpec:
    """Which interpolator retimes a shot, as recorded in plan, content key and manifest."""

    engine: str
    """`rife-ncnn`, `flow` ..."""
    model: str
    """Name of its weights (`rife-v4.6`), empty if it has none."""
    sha256: str
    """Digest of its weights, empty if it has none."""
    version: str
    """Version of the code: part of the content key."""


class Lora(NamedTuple):
    """One LoRA file and how strongly it acts; a plain (path, scale) pair is accepted in its place."""

    path: Path
    """.safetensors."""
    scale: float = 1.0
    low_noise: Path | None = None
    """File for the low-noise expert of a two-expert model; None: `path` acts on both."""
    sha256: tuple[str, ...] = ()
    """What `path` and `low_noise` must be when they are read; empty: whatever they are."""


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """One window, in an engine's words."""

    plate: Path | None
    """The still that the window goes on from: the shot's, or the last that was arrived at; None for text-to-video."""
    width: int
    """Pixels of every frame made."""
    height: int
    first_frame: int
    """Index of the window's first frame in the shot, in native frames from 0."""
    frames: int
    """Frames to make, context included."""
    shot_frames: int
    """Native frames of the whole shot: eases a camera move over the shot, not over the window."""
    native_rate: Fraction
    seed: int
    """Seed of this window's noise."""
    shot_seed: int
    """Seed of what must not change from window to window (a camera path)."""
    prompt: str = ""
    negative_prompt: str = ""
    camera: str = ""
    steps: int = 0
    guidance: float = 0.0
    end_plate: Path | None = None
    """The still that the window must arrive at: one on the way, or on the last window the shot's end."""
    state: Path | None = None
    """Folder in which the engine may keep what it needs to go on with this window after a crash; None for nowhere."""
    loras: tuple[Lora, ...] = ()
    """What changes the model for this window alone."""
    carries: int = 0
    """Latents of `carried`, the last ones, that this window is pinned to; more than 0 only after the first window."""
    carried: Path | None = None
    """File that the previous window left: the tail of the shot's latents. Needed where `carries` is more than 0."""
    leaves: Path | None = None
    """Where this window leaves the tail of the shot's latents for the next one; None for nowhere."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size and length of the longest window of a take: what memory depends on."""

    width: int
    """Pixels."""
    height: int
    frames: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Whoever waits for a window: is told how far it is, and may ask it to stop."""

    stop: Event = field(default_factory=Event)
    """When set, the engine saves what it has and raises WindowStopped."""
    on_step: Callable[[int, int], None] = lambda done, steps: None
    """Called with the steps done and the steps in all, where a window is made in steps."""


class ImageToVideo(Protocol):
    """Makes the frames of one window."""

    @property
    def name(self) -> str:
        """Name of the engine, as in GeneratorSpec.engine."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same request would give other pixels."""
        ...

    def generate(self, request: ClipRequest, context: Sequence[Frame], watch: Watch | None = None) -> Iterator[Frame]:
        """Yield exactly `request.frames` frames in order.

        `context` holds the tail of the previous window, oldest first: frames `first_frame` to
        `first_frame + len(context)` of the shot. The first `len(context)` frames yielded continue it
        and equal it bit for bit where the engine can pin them. An engine that has latents continues those of
        `request.carried`, if `request.carries` says so, and has written `request.leaves` before the first frame is
        yielded. Raises EngineError for a request it cannot fulfil, before the first frame is yielded; WindowStopped
        when `watch` asks for it, then too.
        """
        ...


class FrameInterpolator(Protocol):
    """Makes the frames between two frames."""

    @property
    def spec(self) -> InterpolatorSpec:
        """What it is, for plan and manifest."""
        ...

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Yield one frame per phase; phases lie strictly between 0 and 1, ascending.

        Work that depends on the pair alone is done once per call. Raises EngineError if the engine died.
        """
        ...


@runtime_checkable
class Shareable(Protocol):
    """An interpolator whose work several processes can share."""

    def opener(self, threads: int) -> Callable[[], FrameInterpolator] | None:
        """What opens the same interpolator in another process, with that many processor threads; can be pickled.

        The spec and every bit of every frame are the same there. None where a device does the work: processes would
        only queue for it.
        """
        ...


class EngineError(Exception):
    """An engine cannot do what it was asked; the message says what, why and the remedy.

    EngineError
    |-- EngineUnavailable   this machine lacks something (library, weights, device)
    |-- OutOfMemory         the device's memory did not suffice; a thriftier way may do
    |-- BadPicture          what came out is no picture; a more precise way may do
    |-- KernelFailed        the compiler or a tuned kernel gave up; the plain way may do
    |-- DeviceLost          the device went away in the middle of work; another engine may do
    `-- WindowStopped       it was asked to stop; what it has is saved
    """


class EngineUnavailable(EngineError):  # noqa: N818 - reads as the state it names
    """This machine cannot run the engine; the message says what is missing and where to get it."""


class OutOfMemory(EngineError):  # noqa: N818 - reads as the state it names
    """The device's memory did not suffice; another placement may."""


class BadPicture(EngineError):  # noqa: N818 - reads as the state it names
    """The model made no picture: values that are not finite, one colour, or the same frame throughout."""


class KernelFailed(EngineError):  # noqa: N818 - reads as the state it names
    """The compiler, or a kernel that was chosen for speed, gave up; the plain way may do."""


class DeviceLost(EngineError):  # noqa: N818 - reads as the state it names
    """The device went away, or its driver gave up, in the middle of work; another engine may do."""


class WindowStopped(EngineError):  # noqa: N818 - reads as the state it names
    """The window was stopped on request; its checkpoint is saved, and the same request goes on from there."""
