"""Frames into a model's tensors and back, without an 8-bit step.

Knows: the interface's 16-bit frames, plates, what CLIP sees of one, what a decoded window must look like to be one.
Does not know: models. Memory: one decoded window in 32-bit floats (81 frames of 1280x720: 0.9 GB), because it is judged
whole before its first frame is let out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.animatic import Span, resample
from models.interface import BadPicture, Frame
from models.plate import read_plate

WHITE: Final = 65535
FLAT: Final = 1 / 255
"""Greatest range of values (full scale 1) of a picture that is one colour: below it an 8-bit screen shows nothing."""
CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)
"""Of OpenAI's CLIP, with which Wan's image encoder was trained; its preprocessor_config.json states them."""


def fitted(path: Path, width: int, height: int) -> Frame:
    """The plate, centre-cropped to the shape of width x height and resampled to it: (height, width, 3) uint16.

    Raises EngineError if it cannot be read.
    """
    still = read_plate(path)
    tall, wide = still.shape[:2]
    if (wide, tall) == (width, height):
        return still
    scale = min(wide / width, tall / height)
    across, down = scale * width, scale * height
    planes = resample(
        np.ascontiguousarray(still.transpose(2, 0, 1)),
        Span((wide - across) / 2, across / width, width),
        Span((tall - down) / 2, down / height, height),
        least_scale=1.0,
    )
    return np.ascontiguousarray(np.rint(np.clip(planes, 0, WHITE)).astype(np.uint16).transpose(1, 2, 0))


def video_tensor(frames: Sequence[Frame]) -> Any:
    """(1, 3, frames, height, width) float32 tensor in -1..1, all 65536 levels apart."""
    import torch

    stacked = np.stack(frames).astype(np.float32)
    return torch.from_numpy(stacked).permute(3, 0, 1, 2)[None].div_(WHITE / 2).sub_(1.0)


def judged(video: Any) -> Any:
    """The decoded window, (1, 3, frames, height, width) in -1..1, if it is one. Raises BadPicture naming the fault."""
    import torch

    video = video.detach().float().cpu()[0]
    count = video.shape[1]
    if bad := [at for at in range(count) if not bool(torch.isfinite(video[:, at]).all())]:
        raise BadPicture(
            f"the model made values that are not finite in {len(bad)} of {count} frames, first in frame {bad[0]}; "
            "render it in bfloat16 or float32, or with more memory kept free"
        )
    video = video.clamp_(-1.0, 1.0)
    ranges = [float(video[:, at].amax((1, 2)).sub(video[:, at].amin((1, 2))).max()) / 2 for at in range(count)]
    if max(ranges) < FLAT:
        raise BadPicture(
            f"the model made a constant picture: no frame of {count} varies by 1/255; "
            "check the weights, the precision and the VAE"
        )
    if count > 1 and all(torch.equal(video[:, 0], video[:, at]) for at in range(1, count)):
        raise BadPicture(f"the model made {count} times the same frame; check the weights and the frame count")
    return video


def frames_of(video: Any, first: int) -> Iterator[Frame]:
    """Frames from number `first` on of a judged (3, frames, height, width) tensor, rounded once, to 16 bits."""
    for at in range(first, video.shape[1]):
        plane = video[:, at].double().add(1.0).mul(WHITE / 2).round()
        yield np.ascontiguousarray(plane.permute(1, 2, 0).numpy().astype(np.uint16))


def clip_view(picture: Any, side: int) -> Any:
    """(1, 3, side, side) as CLIPImageProcessor makes it, but from floats: shorter side to `side`, centre, normalised.

    `picture` is (1, 3, height, width) in -1..1.
    """
    import torch
    from torch.nn.functional import interpolate

    height, width = picture.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, int(height * scale)), max(side, int(width * scale)))
    view = interpolate(picture.float().cpu() / 2 + 0.5, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    view = view[..., top : top + side, left : left + side]
    return (view - torch.tensor(CLIP_MEAN).view(1, 3, 1, 1)) / torch.tensor(CLIP_DEVIATION).view(1, 3, 1, 1)
