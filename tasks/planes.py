"""A decoded frame as arrays: its luma as coded, and a small picture of it. Nothing is copied that is only looked at.

Knows: pixel formats, ranges, matrices. Does not know: what is measured. Memory: one frame's luma where it has to be
made (RGB), and two small pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

SIDE: Final = 320
"""Longest side of the small picture, in pixels."""

Floats = NDArray[np.float32]

_FULL: Final = 2
_GREY: Final = {"gray", "gray10le", "gray12le", "gray16le"}
_PLANAR: Final = "yuv"
_SEMI: Final = {"nv12": "yuv420p", "nv21": "yuv420p", "p010le": "yuv420p10le", "p016le": "yuv420p16le"}
_BT2020: Final = {9, 10}
_BT601: Final = {5, 6}
_HD: Final = 576  # rows up to which an untagged file is taken for BT.601, as every player does


@dataclass(frozen=True, slots=True)
class Scale:
    """What a coded luma value means."""

    black: float
    """Code of black: 16 or 64 in limited range, 0 in full."""
    white: float
    """Code of white: 235 or 940 in limited range, the largest code in full."""
    top: int
    """The largest code there is."""

    @property
    def level(self) -> float:
        """Codes in 1/255 of the way from black to white."""
        return (self.white - self.black) / 255


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame, to be measured at once: `luma` may be the decoder's own memory."""

    luma: NDArray[Any]
    """(height, width) uint8 or uint16, as coded."""
    scale: Scale
    small: Floats
    """(rows, columns) luma in 1/255, about 320 wide; below 0 and above 255 where the file goes beyond its range."""
    colour: Floats
    """(rows, columns, 2) Cb and Cr in 1/255, 0 for grey; as large as `small`."""
    limited: bool
    """Whether the file is coded in limited range."""
    matrix: tuple[float, float]
    """Share of red and of blue in luma."""

    def rgb(self) -> Floats:
        """(rows, columns, 3) R'G'B' in 1/255 of the small picture, not clipped."""
        red_share, blue_share = self.matrix
        red = self.small + self.colour[..., 1] * np.float32(2 * (1 - red_share))
        blue = self.small + self.colour[..., 0] * np.float32(2 * (1 - blue_share))
        green = (self.small - red * np.float32(red_share) - blue * np.float32(blue_share)) / np.float32(
            1 - red_share - blue_share
        )
        return np.asarray(cv2.merge((red, green, blue)))


def luma_of(frame: VideoFrame) -> tuple[NDArray[Any], Scale, bool]:
    """(height, width) luma as coded, what its codes mean, whether that is limited range. Alpha is left out."""
    frame = _plain(frame)
    bits = frame.format.components[0].bits
    top = (1 << bits) - 1
    if frame.format.is_rgb:
        grey = np.asarray(cv2.cvtColor(_rgb(frame), cv2.COLOR_RGB2GRAY))
        most = _most(grey)
        return grey, Scale(0.0, float(most), most), False
    full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    shift = 1 << (bits - 8)
    return _plane(frame, 0, bits), Scale(0.0, top, top) if full else Scale(16 * shift, 235 * shift, top), not full


def picture_of(frame: VideoFrame) -> Picture:
    """Everything of a decoded frame that is measured. Formats without planes of their own are converted once."""
    frame = _plain(frame)
    luma, scale, limited = luma_of(frame)
    size = small_size(frame.width, frame.height)
    red, blue = _matrix(frame)
    if frame.format.is_rgb:
        rgb = _rgb(frame)
        little = _reduced(rgb, size) * np.float32(255 / _most(rgb))
        red, blue = 0.2126, 0.0722
        grey = little @ np.array([red, 1 - red - blue, blue], np.float32)
        chroma = [(little[..., 2] - grey) / (2 * (1 - blue)), (little[..., 0] - grey) / (2 * (1 - red))]
        return Picture(luma, scale, grey, np.asarray(cv2.merge(chroma), np.float32), limited, (red, blue))
    small = (_reduced(luma, size) - np.float32(scale.black)) / np.float32(scale.level)
    if frame.format.name in _GREY:
        return Picture(luma, scale, small, np.zeros((*small.shape, 2), np.float32), limited, (red, blue))
    bits = frame.format.components[0].bits
    middle, reach = 1 << (bits - 1), (224 << (bits - 8)) if limited else (1 << bits) - 1
    planes = [_reduced(_plane(frame, number, bits), size) for number in (1, 2)]
    colour = (np.stack(planes, axis=-1) - np.float32(middle)) * np.float32(255 / reach)
    return Picture(luma, scale, small, colour, limited, (red, blue))


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the small picture of a frame."""
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _plain(frame: VideoFrame) -> VideoFrame:
    """The frame in a format whose planes can be read as they lie."""
    name = frame.format.name
    if name in _SEMI:
        return frame.reformat(format=_SEMI[name])
    readable = name in _GREY or (name.startswith(_PLANAR) and not name.endswith("be")) or frame.format.is_rgb
    return frame if readable else frame.reformat(format="yuv444p16le")


def _matrix(frame: VideoFrame) -> tuple[float, float]:
    """Shares of red and blue in luma (ITU-R BT.601, BT.709, BT.2020)."""
    stated = int(frame.colorspace)
    if stated in _BT2020:
        return 0.2627, 0.0593
    if stated in _BT601 or (stated != 1 and frame.height <= _HD):
        return 0.299, 0.114
    return 0.2126, 0.0722


def _plane(frame: VideoFrame, number: int, bits: int) -> NDArray[Any]:
    """(height, width) of one plane, the decoder's own memory."""
    plane = frame.planes[number]
    kind: Any = np.uint8 if bits <= 8 else np.dtype("<u2")
    stride = plane.line_size // np.dtype(kind).itemsize
    # a plane is a buffer, although its stubs do not say so
    rows: NDArray[Any] = np.frombuffer(plane, kind, plane.height * stride)  # type: ignore[call-overload]
    return rows.reshape(plane.height, stride)[:, : plane.width]


def _most(values: NDArray[Any]) -> int:
    """The largest code of 8 or 16 bits."""
    return 255 if values.dtype == np.uint8 else 65535


def _rgb(frame: VideoFrame) -> NDArray[Any]:
    """(height, width, 3) uint8, or uint16 of full range."""
    deep = frame.format.components[0].bits > 8
    return np.asarray(frame.to_ndarray(format="rgb48le" if deep else "rgb24"))


def _reduced(plane: NDArray[Any], size: tuple[int, int]) -> Floats:
    """Area averages in floats; a plane that is smaller (chroma) grows."""
    # in floats before they are averaged: rounded to codes, a slow move would look like none
    whole = plane.astype(np.float32)
    if (plane.shape[1], plane.shape[0]) == size:
        return whole
    kernel = cv2.INTER_AREA if plane.shape[1] >= size[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(whole, size, interpolation=kernel))
