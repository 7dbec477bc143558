"""The built-in engine: moves a camera over the plate. An honest previsualisation, on any CPU.

Knows: the plate, the camera path (models.camera) and how to resample without shimmer or stair-steps.
Does not know: shots, files other than the plates, Prefect. Memory: a working still of at most (2.5 * zoom)^2 frames in
32-bit floats (about 12 bytes a pixel), two where the window arrives at another, and one frame, whatever the plate's
size and the shot's length.

The plate is centre-cropped to the frame's shape, and every move leaves enough overscan to stay inside that crop. Moves
that keep the camera level are resampled along rows and columns with Lanczos weights computed at the exact position;
OpenCV's own warps are not used for them because versions before 5 round positions to 1/32 pixel. Rolling moves read a
still resampled once to twice the frame's density, where a linear read is accurate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.camera import VERSION, CameraPose, camera_pose, known_move, rotates
from models.interface import ClipRequest, EngineError, Frame, Watch
from models.plate import read_plate

LOBES: Final = 3
"""Half-width of the Lanczos kernel in units of its scale."""
SOFTEST: Final = 1.25
"""Least kernel scale of a moving camera, in plate pixels. Unwidened, Lanczos-3 loses 11 % of the contrast of fine
noise halfway between two pixels and a slow pan shimmers; at 1.25 contrast varies by 0.3 %, position by 0.003 pixel."""
DENSITY: Final = 2.5
"""Working pixels per frame pixel above which a level move's plate is reduced first, once."""
ROLL_DENSITY: Final = 2.0
"""Working pixels per frame pixel that a rolling move reads from, once made."""
BLOCK: Final = 32
"""Output pixels per block of weights: narrow enough that a block of the banded matrix is mostly not zero."""
SMALL_PRODUCT: Final = 2**18
"""Most multiplications of one matrix product. OpenBLAS runs products up to this size on the calling thread; for larger
ones it wakes its pool, and where the cores are busy a frame then took a second instead of ten milliseconds."""

Planes = NDArray[Any]
"""(3, height, width) uint16 or float32 in 0..65535."""


@dataclass(frozen=True, slots=True)
class Span:
    """What one axis of a picture shows of another: sample j covers first + j * step onwards."""

    first: float
    """Source position of the left or top edge of the first sample; source pixel i covers i to i + 1."""
    step: float
    """Source pixels per sample."""
    count: int
    """Samples."""


class Animatic:
    """ImageToVideo by camera moves. Holds nothing between calls."""

    @property
    def name(self) -> str:
        """`animatic`."""
        return "animatic"

    @property
    def version(self) -> str:
        """Of path and resampling together."""
        return VERSION

    def generate(self, request: ClipRequest, context: Sequence[Frame], watch: Watch | None = None) -> Iterator[Frame]:
        """Yield the window's frames; those of `context` first, bit for bit.

        Reads the plate and raises EngineError before it returns, so no frame precedes an error. A window takes seconds:
        nobody is told of steps, and it is not stopped.
        """
        del watch
        _check(request, context)
        if request.plate is None:
            raise EngineError("the animatic engine moves a camera over a still: give the shot a plate")
        seen = _seen(request, _Crop.of(read_plate(request.plate), request.width, request.height))
        frames = _frames(request, tuple(context), seen)
        if request.end_plate is None:
            return frames
        end = _Crop.of(read_plate(request.end_plate), request.width, request.height)
        if _last(request) < request.shot_frames - 1:  # a still on the way: the camera moves on over it
            return _arriving(frames, request, pinned=len(context), end=_seen(request, end))
        whole = _whole(end)
        return _arriving(frames, request, pinned=len(context), end=lambda _: whole)


def _frames(request: ClipRequest, context: tuple[Frame, ...], seen: Callable[[int], Frame]) -> Iterator[Frame]:
    for frame in context:
        yield frame.copy()
    for at in range(request.first_frame + len(context), request.first_frame + request.frames):
        yield seen(at)


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """A still and the part of it that has the frame's shape."""

    planes: Planes
    """(3, height, width); may reach beyond the crop, which helps the kernel at its edges."""
    left: float
    """The crop's edges and size in pixels of the still."""
    top: float
    across: float
    down: float
    width: int
    """Size of the frames to make, in pixels."""
    height: int

    @classmethod
    def of(cls, still: Frame, width: int, height: int) -> _Crop:
        """The largest centred rectangle of the still with the shape of width x height."""
        tall, wide = still.shape[:2]
        scale = min(wide / width, tall / height)
        across, down = scale * width, scale * height
        planes = np.ascontiguousarray(still.transpose(2, 0, 1))
        return cls(planes, (wide - across) / 2, (tall - down) / 2, across, down, width, height)

    def level(self, pose: CameraPose, *, least_scale: float) -> Planes:
        """The view of a level camera, (3, height, width) float32."""
        x, y = _view(self.left, self.across, pose.x, pose.zoom), _view(self.top, self.down, pose.y, pose.zoom)
        return resample(
            self.planes,
            Span(x[0], x[1] / self.width, self.width),
            Span(y[0], y[1] / self.height, self.height),
            least_scale=least_scale,
        )

    def reduced(self, nearest: float) -> _Crop:
        """The same picture with no more than DENSITY pixels per frame pixel at the nearest zoom."""
        density = self.across / (nearest * self.width)
        return self if density <= DENSITY else self._resized(DENSITY * nearest, least_scale=1.0)

    def dense(self, nearest: float) -> _Crop:
        """The same picture with ROLL_DENSITY pixels per frame pixel, holding no detail finer than a frame's."""
        finest = max(self.across / (nearest * self.width), SOFTEST)
        return self._resized(ROLL_DENSITY * nearest, least_scale=finest)

    def _resized(self, factor: float, *, least_scale: float) -> _Crop:
        """The crop alone, resampled to about `factor` pixels per frame pixel."""
        wide, tall = math.ceil(self.width * factor), math.ceil(self.height * factor)
        planes = resample(
            self.planes,
            Span(self.left, self.across / wide, wide),
            Span(self.top, self.down / tall, tall),
            least_scale=least_scale,
        )
        return _Crop(planes, 0.0, 0.0, float(wide), float(tall), self.width, self.height)

    def turned(self, pose: CameraPose) -> Planes:
        """The view of a rolled camera, (3, height, width) float32, by a linear read."""
        kx = self.across / (pose.zoom * self.width)
        ky = self.down / (pose.zoom * self.height)
        cos, sin = math.cos(pose.roll), math.sin(pose.roll)
        # Frame pixel centres -> still pixel centres: [kx cos, -kx sin; ky sin, ky cos] about the view's centre.
        matrix = np.array([[kx * cos, -kx * sin, 0.0], [ky * sin, ky * cos, 0.0]])
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        centre = np.array(
            [
                self.left + self.across * (0.5 + pose.x) - 0.5,
                self.top + self.down * (0.5 + pose.y) - 0.5,
            ]
        )
        matrix[:, 2] = centre - matrix[:, :2] @ middle
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (self.width, self.height)
        planes = [
            cv2.warpAffine(plane, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for plane in self.planes
        ]
        return np.stack(planes)


def resample(planes: Planes, across: Span, down: Span, *, least_scale: float) -> NDArray[np.float32]:
    """The spans of (3, h, w) planes as (3, down.count, across.count) float32, unrounded.

    Lanczos kernel of LOBES lobes, as wide as the coarser of source pixel (times least_scale) and sample (Turkowski,
    "Filters for common resampling tasks", 1990); edge pixels repeat. Weights come in blocks, each a matrix product.
    """
    columns = _blocks(across, planes.shape[2], least_scale)
    left, right = min(block[1] for block in columns), max(block[2] for block in columns)
    rows = np.empty((3, down.count, right - left), np.float32)
    for at, low, high, weights in _blocks(down, planes.shape[1], least_scale):
        band = planes[:, low:high, left:right].astype(np.float32, copy=False)
        made = rows[:, at : at + len(weights)]
        for part in _parts(band.shape[2], weights.size):
            np.matmul(weights, band[:, :, part], out=made[:, :, part])
    picture = np.empty((3, down.count, across.count), np.float32)
    for at, low, high, weights in columns:
        band = rows[:, :, low - left : high - left]
        made = picture[:, :, at : at + len(weights)]
        for part in _parts(band.shape[1], weights.size):
            np.matmul(band[:, part], weights.T, out=made[:, part])
    return picture


def _parts(length: int, weights: int) -> list[slice]:
    """Slices of `length` rows or columns whose product with that many weights is a small one for BLAS."""
    most = max(1, SMALL_PRODUCT // weights)
    return [slice(at, at + most) for at in range(0, length, most)]


def _blocks(span: Span, size: int, least_scale: float) -> list[tuple[int, int, int, NDArray[np.float32]]]:
    """(first sample, first source pixel, end source pixel, weights (samples, source pixels)), each row summing to 1."""
    scale = max(span.step, least_scale)
    reach = LOBES * scale
    made = []
    for at in range(0, span.count, BLOCK):
        centres = span.first + (np.arange(at, min(at + BLOCK, span.count)) + 0.5) * span.step - 0.5
        start, stop = math.floor(centres[0] - reach), math.ceil(centres[-1] + reach) + 1
        away = (np.arange(start, stop)[None, :] - centres[:, None]) / scale
        weights = np.sinc(away) * np.sinc(away / LOBES) * (np.abs(away) < LOBES)
        weights /= weights.sum(axis=1, keepdims=True)
        low, high = min(max(start, 0), size - 1), max(min(stop, size), 1)
        inside = weights[:, low - start : high - start].copy()
        inside[:, 0] += weights[:, : low - start].sum(axis=1)
        inside[:, -1] += weights[:, high - start :].sum(axis=1)
        made.append((at, low, high, inside.astype(np.float32)))
    return made


def _view(edge: float, length: float, offset: float, zoom: float) -> tuple[float, float]:
    """First position and length that a camera shows of a crop's side."""
    return edge + length * (0.5 + offset - 0.5 / zoom), length / zoom


def _pose(request: ClipRequest, frame: int) -> CameraPose:
    return camera_pose(
        request.camera,
        frame,
        shot_frames=request.shot_frames,
        seed=request.shot_seed,
        rate=request.native_rate,
        aspect=request.width / request.height,
    )


def _whole(crop: _Crop) -> Frame:
    """The crop as it is, without a move."""
    return _rounded(crop.level(CameraPose(0.0, 0.0, 1.0, 0.0), least_scale=1.0))


def _seen(request: ClipRequest, crop: _Crop) -> Callable[[int], Frame]:
    """What the camera sees of a still at each native frame of the shot."""
    if known_move(request.camera) == "still":
        whole = _whole(crop)
        return lambda _: whole.copy()
    turning = rotates(request.camera)
    # The zoom of the whole move bounds the working density; it never depends on the window.
    nearest = max(_pose(request, at).zoom for at in (0, request.shot_frames - 1))
    working = crop.dense(nearest) if turning else crop.reduced(nearest)

    def view(at: int) -> Frame:
        pose = _pose(request, at)
        return _rounded(working.turned(pose) if turning else working.level(pose, least_scale=SOFTEST))

    return view


def _last(request: ClipRequest) -> int:
    """Native frame of the shot at which an end plate is there: the window's last that is delivered."""
    return min(request.shot_frames, request.first_frame + request.frames) - 1


def _arriving(
    frames: Iterator[Frame], request: ClipRequest, *, pinned: int, end: Callable[[int], Frame]
) -> Iterator[Frame]:
    """Dissolve the window's last second into `end`, smoothstep in time; its very last frame is `end` bit for bit.

    Pinned context frames are left alone, so the dissolve is shorter where fewer frames of the window are free.
    """
    last = _last(request)
    length = max(1, min(math.ceil(request.native_rate), last - request.first_frame - pinned + 1))
    for at, frame in enumerate(frames, start=request.first_frame):
        way = min(1.0, max(0.0, 1.0 - (last - at) / length))
        weight = way * way * (3 - 2 * way)
        if at < request.first_frame + pinned or weight == 0.0:
            yield frame
        else:
            mixed = frame * (1.0 - weight) + end(at) * weight
            yield np.rint(mixed).astype(np.uint16)


def _rounded(planes: Planes) -> Frame:
    """(height, width, 3) uint16 from planes; the only rounding between plate and frame."""
    np.clip(planes, 0, 65535, out=planes)
    np.rint(planes, out=planes)
    whole = planes.astype(np.uint16)
    return np.ascontiguousarray(cv2.merge([whole[0], whole[1], whole[2]]))


def _check(request: ClipRequest, context: Sequence[Frame]) -> None:
    """Raise EngineError for a request that cannot be met."""
    known_move(request.camera)
    if request.frames < 1 or request.shot_frames < 1 or request.first_frame < 0:
        raise EngineError(
            f"a window of {request.frames} frames from {request.first_frame} in a shot of {request.shot_frames} "
            "cannot be made; all counts start at 1 and positions at 0"
        )
    if request.width < 1 or request.height < 1 or request.native_rate <= 0:
        raise EngineError(
            f"{request.width}x{request.height} at {request.native_rate} frames per second is no picture; "
            "width, height and rate must be positive"
        )
    if len(context) > request.frames:
        raise EngineError(
            f"{len(context)} frames of context do not fit a window of {request.frames}; use a shorter overlap"
        )
    for index, frame in enumerate(context):
        if frame.shape != (request.height, request.width, 3) or frame.dtype != np.uint16:
            raise EngineError(
                f"context frame {index} is {frame.shape} {frame.dtype}; "
                f"expected {(request.height, request.width, 3)} uint16, as the previous window made it"
            )
