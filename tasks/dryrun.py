"""A plan as people and scripts read it: what it will cost, and its public JSON. Pure.

Knows: plans, cards and the constants that estimates rest on. Does not know: files, the machine it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalogs.timebase import rate_text, seconds_display
from models.cards import Card
from models.memory import GB, tokens
from tasks.plan import PlannedDelivery, TakePlan, Window
from tasks.words import cut_seconds

_RETIME_SECONDS: Final = 0.20  # per megapixel of delivery frame, flow on one core (benchmarks/retiming.py)
_ENCODE_SECONDS: Final = 0.10  # per megapixel and deliverable
_CLIP_BYTES: Final = 6.2  # per pixel: 12 bits in 16 for three planes, and slack for incompressible noise
_LATENT_BYTES: Final = 1.0  # per pixel: 16 channels in 32 bits for 8x8 pixels (Wan2.1); 48 for 16x16 (TI2V) are less
_TAIL: Final = 38  # latents that a window leaves at most: what a decoded frame depends on (models/stream.py)
_DELIVERY_BYTES: Final[Mapping[str, float]] = {
    "h265": 0.5,
    "prores": 1.6,
    "webm": 0.5,
    "h264": 1.0,
    "png": 6.2,
    "exr": 6.2,
}
_MORE_BYTES: Final[Mapping[str, float]] = {"4444": 1.5, "master": 3.0}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will cost, roughly."""

    seconds: float
    """Wall seconds on the machine that the card's prior was measured on, if no window is rolled again."""
    bytes: int
    """Most disk that work and deliveries take while the shot is rendered, all rolls of a window included, bytes."""


def estimate(plan: TakePlan, card: Card | None = None) -> Estimate:
    """Cost of a plan. Bytes are an upper bound: nothing compresses, and one window needs all its rolls.

    Seconds come from the prior of `card`, the plan's model, or without it from the prior per megapixel in the plan.
    They are those of one roll a window: what `plan.max_rerolls` allows is not foreseen, and can take that many times
    the seconds of every window more.
    """
    pixels = plan.width * plan.height
    delivered = plan.delivery_width * plan.delivery_height
    lengths = [len(window.span.range) for window in plan.windows]
    generated = sum(lengths) + plan.max_rerolls * max(lengths)  # rolls lie aside until one of them is chosen
    left = len(plan.windows) - 1 + plan.max_rerolls if plan.spec.carries and len(plan.windows) > 1 else 0
    joined = plan.native_frames if len(plan.windows) > 1 else 0
    outputs = sum(map(delivery_bytes, plan.deliveries))
    work = pixels * (_CLIP_BYTES * (generated + joined + plan.frames) + _LATENT_BYTES * _TAIL * left)
    finishing = plan.frames * (pixels * _RETIME_SECONDS + delivered * _ENCODE_SECONDS * len(plan.deliveries))
    seconds = generation_seconds(plan, card) + finishing / 1e6
    return Estimate(seconds, int(work + delivered * plan.frames * outputs))


def delivery_bytes(planned: PlannedDelivery) -> float:
    """Most bytes that a deliverable takes for a pixel of a frame, of pictures that do not compress."""
    more = _MORE_BYTES.get(planned.option, 1.0) * _MORE_BYTES.get(planned.quality, 1.0)
    return _DELIVERY_BYTES[planned.kind] * more


def generation_seconds(plan: TakePlan, card: Card | None = None) -> float:
    """Seconds of the windows of a plan on the machine of the prior: steps times seconds a step, window by window.

    At a guidance of 1 or less the model runs once a step instead of twice. The animatic, and a plan without a card,
    have a prior per megapixel.
    """
    steps, guidance = asked_steps(plan), asked_guidance(plan)
    if card is None or card.engine != plan.spec.engine or not card.seconds_per_step:
        share = steps / plan.spec.steps if plan.spec.steps else 1.0
        frames = sum(len(window.span.range) for window in plan.windows)
        return plan.width * plan.height * frames * plan.spec.seconds_per_megapixel * share / 1e6
    size = {"width": plan.width, "height": plan.height}
    each = sum(step_seconds(card, **size, frames=len(window.span.range)) for window in plan.windows)
    return each * steps * passes(guidance) / passes(card.guidance)


def step_seconds(card: Card, *, width: int, height: int, frames: int) -> float:
    """Seconds of one denoising step: the card's prior, scaled by the arithmetic of the transformer.

    Operations for n tokens: 2 P n + 4 L d n^2, with P parameters, L layers of width d: two for every weight and token,
    and two each for every pair of tokens and channel in query times key and in attention times value (counted so by
    Hoffmann et al. 2022, arXiv 2203.15556, appendix F). From the prior of Wan2.1 I2V 14B at 720p it gives 10.2 s at
    480p; 9.77 s are published.
    """
    (across, down), most = card.sizes[0], card.longest_window
    asked = _operations(card, tokens(card, width=width, height=height, frames=frames))
    return card.seconds_per_step * asked / _operations(card, tokens(card, width=across, height=down, frames=most))


def _operations(card: Card, count: int) -> float:
    """Arithmetic operations of one pass over `count` tokens; layers of VACE's own count like any."""
    layers, own = card.transformer.get("num_layers", 0), card.transformer.get("vace_layers", ())
    total = (layers if isinstance(layers, int) else 0) + (len(own) if isinstance(own, tuple) else 0)
    return 2.0 * card.parameters * GB * count + 4.0 * total * card.width * count * count


def passes(guidance: float) -> int:
    """How often the model runs a step: with and without the prompt, but once at a guidance of 1 or less."""
    return 2 if guidance > 1 else 1


def asked_steps(plan: TakePlan) -> int:
    """Denoising steps of the take: the shot's, else the model's; 0 where the word means nothing."""
    return plan.spec.steps if plan.shot.steps is None or not plan.spec.steps else plan.shot.steps


def asked_guidance(plan: TakePlan) -> float:
    """Guidance scale of the take: the shot's, else the model's; 0 where the word means nothing."""
    # 0 in a request means the model's own
    return plan.spec.guidance if not plan.shot.guidance or not plan.spec.guidance else plan.shot.guidance


def timed_on(card: Card | None, device: str) -> bool:
    """Whether a card's prior holds on a device, such as `NVIDIA H100 80GB HBM3`; None stands for the animatic, whose
    prior is any processor's."""
    if card is None:
        return True
    machine = card.measured_on.partition(",")[0].casefold().split()
    return bool(machine) and set(machine) <= set(device.casefold().split())


def arrivals(plan: TakePlan) -> list[str]:
    """Where the stills of the shot's anchors are shown, a sentence for each, for windows end only every few frames; and
    an end plate that the model arrives at after the shot's last frame."""
    windows = [window for window in plan.windows[:-1] if window.arrives]
    said = []
    for window, anchor in zip(windows, plan.shot.anchors, strict=True):
        native = window.span.range.end - 1
        at = seconds_display(cut_seconds(plan.shot, plan.spec, native))
        said.append(
            f"{Path(anchor.plate.path).name} at {seconds_display(anchor.at)} s is shown at {at} s: native frame "
            f"{native}, the last of window {window.index + 1}"
        )
    over = plan.windows[-1].span.range.end - plan.native_frames
    if plan.shot.end_plate and over:
        name = Path(plan.shot.end_plate.path).name
        said.append(f"{name} is arrived at {over} native frames after the last one shown: no window ends between")
    return said


def _arrival_json(plan: TakePlan, window: Window) -> dict[str, Any] | None:
    """The still that a window arrives at: which, at which native frame, and at which delivery frame (handles
    counted), from 0."""
    if window.arrives is None:
        return None
    native = window.span.range.end - 1
    return {
        "plate": window.arrives.path,
        "sha256": window.arrives.sha256,
        "native_frame": native,
        "frame": plan.delivery_frame(native),
    }


def plan_json(plan: TakePlan, *, card: Card | None = None) -> dict[str, Any]:
    """The plan as `dailies plan --json` and the manifest write it. `card` is the card of its model, for the time."""
    cost = estimate(plan, card)
    return {
        "slate": plan.slate,
        "show": plan.shot.show,
        "shot": plan.shot.code,
        "version": plan.version,
        "key": plan.key,
        "engine": plan.spec.engine,
        "model": plan.spec.name,
        "profile": plan.spec.profile,
        "steps": asked_steps(plan),
        "guidance": asked_guidance(plan),
        "loras": [
            {"name": lora.name, "scale": lora.file.scale, "sha256": list(lora.sha256), "trigger": lora.trigger}
            for lora in plan.loras
        ],
        "notice": plan.notice,
        "prompt": plan.prompt,
        "negative_prompt": plan.negative_prompt,
        "context": plan.context,
        "experimental": plan.experimental,
        "max_rerolls": plan.max_rerolls,
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
                "kind": plan.context if window.context else "none",
                "carries": window.carries,
                "prompt": window.prompt,
                "arrives": _arrival_json(plan, window),
                "seed": window.seed,
                "key": window.key,
            }
            for window in plan.windows
        ],
        "retiming": {
            "speed": rate_text(plan.shot.speed),
            "native_frames_per_frame": rate_text(plan.step),
            "asked": plan.shot.retimer,
            "may_fall": plan.may_fall,
            "engine": plan.interpolator.engine,
            "model": plan.interpolator.model,
            "sha256": plan.interpolator.sha256,
        },
        "deliverables": [
            {
                "kind": delivery.kind,
                "option": delivery.option,
                "quality": delivery.quality,
                "extras": list(delivery.extras),
                "file": delivery.file,
            }
            for delivery in plan.deliveries
        ],
        "seconds": round(cost.seconds, 1),
        "measured_on": card.measured_on if card and card.engine == plan.spec.engine else "",
        "bytes": cost.bytes,
    }
