"""Motion between two frames: OpenCV's DIS optical flow on 8-bit luma (Kroeger et al. 2016), preset medium.

Knows: two frames. Does not know: phases, clips, engines. Memory: about ten floats a pixel, nothing between calls, so
threads may share it. DIS gives the same bits whatever the number of threads.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import Frame

LEAST: Final = 64
"""DIS needs some pyramid: luma is extended to at least this width and height (it fails at 17x640, crashes at 8x100)."""

MEDIUM: Final = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
"""What frames are moved by."""

FAST: Final = cv2.DISOPTICAL_FLOW_PRESET_FAST
"""What motion is measured by: a third of the time."""

Floats = NDArray[np.float32]
Luma = NDArray[np.uint8]


def luma8(frame: Frame) -> Luma:
    """(height, width) 8-bit luma of a 16-bit frame."""
    return np.asarray(cv2.convertScaleAbs(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), alpha=1 / 257), dtype=np.uint8)


def optical_flow(one: Luma, other: Luma, *, preset: int = MEDIUM) -> Floats:
    """(height, width, 2) flow from `one` to `other` in pixels, x before y. Raises cv2.error where OpenCV fails."""
    height, width = one.shape
    if height < LEAST or width < LEAST:
        below, right = max(0, LEAST - height), max(0, LEAST - width)
        one = np.pad(one, ((0, below), (0, right)), mode="edge")
        other = np.pad(other, ((0, below), (0, right)), mode="edge")
    # a new object each time: it keeps scratch images that threads must not share
    dis: Any = cv2.DISOpticalFlow.create(preset)
    flow = dis.calc(np.ascontiguousarray(one), np.ascontiguousarray(other), None)
    return np.ascontiguousarray(flow[:height, :width], dtype=np.float32)
