"""How near one picture is to another: PSNR and SSIM of 16-bit frames."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.interface import Frame

WHITE: Final = 65535.0
MOST_DB: Final = 99.0
"""What equal pictures are given."""

_WINDOW, _SIGMA = (11, 11), 1.5
_STABLE: Final = ((0.01 * WHITE) ** 2, (0.03 * WHITE) ** 2)


def psnr(one: Frame, other: Frame) -> float:
    """In dB against full white, over all channels."""
    error = float(np.mean((one.astype(np.float32) - other) ** 2, dtype=np.float64))
    return MOST_DB if error == 0 else min(MOST_DB, float(10 * np.log10(WHITE**2 / error)))


def ssim(one: Frame, other: Frame) -> float:
    """Mean structural similarity of the luma: Wang et al. 2004, eq. 13, Gaussian window of 11, K of 0.01 and 0.03."""
    a, b = _luma(one), _luma(other)
    mean_a, mean_b = _local(a), _local(b)
    spread_a, spread_b = _local(a * a) - mean_a**2, _local(b * b) - mean_b**2
    common = _local(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _STABLE[0]) * (2 * common + _STABLE[1])
    likeness /= (mean_a**2 + mean_b**2 + _STABLE[0]) * (spread_a + spread_b + _STABLE[1])
    return float(likeness.mean())


def _local(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(cv2.GaussianBlur(values, _WINDOW, _SIGMA))


def _luma(frame: Frame) -> NDArray[Any]:
    """BT.709, in doubles: differences of large squares."""
    return np.asarray(frame @ np.array([0.2126, 0.7152, 0.0722]))
