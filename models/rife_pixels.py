"""Frames of 16 bits and the tensors that RIFE's network sees, there and back, at once or mirrored and turned.

Knows: layout, range and rounding. Does not know: networks, phases, engines. Imports without torch.
Memory: a frame as 16-bit, 32-bit and floating numbers, 42 bytes a pixel for a moment.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from models.interface import Frame

WHITE: Final = 65535.0
"""The highest level."""
WAYS: Final = 8
"""Ways of laying an image on itself: mirrored or not, turned by no, one, two or three quarters."""

_ROWS: Final = 64  # compared at once: frames that differ do so early


def equal(one: Frame, other: Frame) -> bool:
    """Whether two frames of a size are the same; of frames that differ only the first rows are looked at."""
    return all(np.array_equal(one[y : y + _ROWS], other[y : y + _ROWS]) for y in range(0, len(one), _ROWS))


def uploaded(frame: Frame, device: str, multiple: int) -> Any:
    """(1, 3, height, width) float32 from 0 to 1 on `device`, extended by its edge to the right and below.

    Both sides are multiples of `multiple` then. The frame may be written over when this returns.
    """
    import torch
    from torch.nn.functional import pad

    given = torch.empty(frame.shape, dtype=torch.int16, pin_memory=device != "cpu")
    np.copyto(given.numpy(), frame.view(np.int16))
    pixels = given.to(device, non_blocking=True).permute(2, 0, 1)[None]
    # torch computes in signed integers
    wide = pixels.to(torch.int32, memory_format=torch.contiguous_format).bitwise_and_(0xFFFF)
    image = wide.to(torch.float32).div_(WHITE)
    margin = (0, -frame.shape[1] % multiple, 0, -frame.shape[0] % multiple)
    return pad(image, margin, mode="replicate") if any(margin) else image


def levels(image: Any, height: int, width: int) -> tuple[Any, Any]:
    """(n, height, width, 3) int16, the bits of uint16, of the upper left of (n, 3, ...) floats; and if all is finite.

    Both stay where the image is, the second as a tensor of one.
    """
    import torch

    picture = image[:, :, :height, :width].permute(0, 2, 3, 1)
    rounded = picture.clamp(0, 1).mul_(WHITE).add_(0.5).to(torch.int32)
    return rounded.to(torch.int16, memory_format=torch.contiguous_format), torch.isfinite(picture).all()


def as_frame(found: Any) -> Frame:
    """(height, width, 3) int16 in the processor's memory as a frame, without a copy."""
    frame: Frame = found.numpy().view(np.uint16)
    return frame


def turned(image: Any, way: int) -> Any:
    """An image in one of WAYS: mirrored for odd ones, then turned by way // 2 quarters. The way 0 is itself."""
    if way == 0:
        return image
    return (image.flip(3) if way % 2 else image).rot90(way // 2, (2, 3)).contiguous()


def turned_back(image: Any, way: int) -> Any:
    """What `turned` undone gives."""
    image = image.rot90(-(way // 2), (2, 3)) if way > 1 else image
    return image.flip(3) if way % 2 else image
