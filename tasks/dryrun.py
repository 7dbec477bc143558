"""A plan as people and scripts read it: what it will cost, and its public JSON. Pure.

Knows: plans and the constants that estimates rest on. Does not know: files, the machine it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from catalogs.timebase import rate_text
from tasks.plan import TakePlan

_RETIME_SECONDS: Final = 0.20  # per megapixel of delivery frame, flow on one core (benchmarks/interpolation.py)
_ENCODE_SECONDS: Final = 0.10  # per megapixel and deliverable
_CLIP_BYTES: Final = 6.2  # per pixel: 12 bits in 16 for three planes, and slack for incompressible noise
_DELIVERY_BYTES: Final[Mapping[str, float]] = {
    "h265": 0.5,
    "prores": 1.6,
    "webm": 0.5,
    "h264": 1.0,
    "png": 6.2,
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will cost, roughly."""

    seconds: float
    """Wall seconds on the machine that the card's prior was measured on."""
    bytes: int
    """Most disk that work and deliveries take while the shot is rendered, bytes."""


def estimate(plan: TakePlan) -> Estimate:
    """Cost of a plan. Bytes are an upper bound (nothing compresses); seconds come from the card's prior."""
    pixels = plan.width * plan.height
    delivered = plan.delivery_width * plan.delivery_height
    generated = sum(len(window.span.range) for window in plan.windows)
    joined = plan.native_frames if len(plan.windows) > 1 else 0
    outputs = sum(_DELIVERY_BYTES[delivery.kind] for delivery in plan.deliveries)
    work = pixels * _CLIP_BYTES * (generated + joined + plan.frames)
    seconds = (
        pixels * generated * plan.spec.seconds_per_megapixel
        + pixels * plan.frames * _RETIME_SECONDS
        + delivered * plan.frames * _ENCODE_SECONDS * len(plan.deliveries)
    ) / 1e6
    return Estimate(seconds, int(work + delivered * plan.frames * outputs))


def plan_json(plan: TakePlan) -> dict[str, Any]:
    """The plan as `dailies plan --json` and the manifest write it."""
    cost = estimate(plan)
    return {
        "slate": plan.slate,
        "show": plan.shot.show,
        "shot": plan.shot.code,
        "version": plan.version,
        "key": plan.key,
        "engine": plan.spec.engine,
        "model": plan.spec.name,
        "seed": plan.seed,
        "width": plan.width,
        "height": plan.height,
        "delivery_width": plan.delivery_width,
        "delivery_height": plan.delivery_height,
        "native_rate": rate_text(plan.spec.native_rate),
        "native_frames": plan.native_frames,
        "rate": rate_text(plan.shot.rate),
        "frames": plan.frames,
        "handles": plan.shot.handles,
        "overlap": plan.overlap if len(plan.windows) > 1 else 0,
        "windows": [
            {
                "first_frame": window.span.range.start,
                "frames": len(window.span.range),
                "segment": [window.span.segment.start, window.span.segment.end],
                "context": window.context,
                "seed": window.seed,
                "key": window.key,
            }
            for window in plan.windows
        ],
        "retiming": {
            "speed": rate_text(plan.shot.speed),
            "native_frames_per_frame": rate_text(plan.step),
            "engine": plan.interpolator.engine,
            "model": plan.interpolator.model,
            "sha256": plan.interpolator.sha256,
        },
        "deliverables": [
            {"kind": delivery.kind, "option": delivery.option, "file": delivery.file} for delivery in plan.deliveries
        ],
        "seconds": round(cost.seconds, 1),
        "bytes": cost.bytes,
    }
