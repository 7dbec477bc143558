"""The ways to run a model on a machine, fastest first; which of them fits, and which is next when memory runs out.

Knows: the order of the ways, what is free (`DeviceFacts`). Does not know: torch, files, engines; how much a way takes
is `memory`'s. Memory: none worth naming. Pure.

Lowering resolution, frames or steps is never a rung: `smaller` proposes it, to a person who asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from models.cards import Card
from models.memory import DeviceFacts, Need, Rung, gb, needs
from models.profiles import Profile

LEAST_GAIN: Final = 0.98
"""A rung that takes more than this share of the one before is left out: trying it would waste an attempt."""
MOST_RUNGS: Final = 3
"""Most rungs taken after running out of memory."""


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """No way to run the window here."""

    reason: str
    """What it needs and what there is, a sentence."""
    remedy: str
    """What would fit, a sentence."""


@dataclass(frozen=True, slots=True)
class Smaller:
    """A smaller window that fits, proposed to a person."""

    width: int
    height: int
    frames: int
    rung: Rung
    """How it would run."""


def rungs(
    card: Card,
    device: DeviceFacts,
    *,
    width: int,
    height: int,
    frames: int,
    quantised: str | None = None,
    profile: Profile | None = None,
) -> tuple[Rung, ...]:
    """The ways to run the window on this kind of device, fastest first; each takes less memory than the one before.

    `quantised` is the GGUF type of the transformer's file, if that is what is installed. What is free does not matter
    here: `choose` asks for it.
    """
    wanted = [
        (rung, needs(card, device, width=width, height=height, frames=frames, rung=rung, profile=profile))
        for rung in _ladder(card, device, quantised or "")
    ]
    return _thinned(wanted, device)


def _thinned(wanted: Iterable[tuple[Rung, Need]], device: DeviceFacts) -> tuple[Rung, ...]:
    """The rungs that are worth a try after the one before, linked."""
    kept: list[Rung] = []
    peak = 0.0
    for rung, need in wanted:
        size = need.ram if device.kind == "cpu" else need.vram
        if not kept or size < LEAST_GAIN * peak:
            kept.append(rung)
            peak = size
    return _linked(kept)


def _ladder(card: Card, device: DeviceFacts, quantised: str) -> Iterator[Rung]:
    """Every way, fastest first, whether it helps here or not."""
    dtype = "float32" if device.kind == "cpu" else "bfloat16" if device.bf16 else "float16"
    first = Rung("resident", dtype, text="resident", quantised=quantised)
    yield first
    yield replace(first, name="text-dropped", text="dropped")
    yield replace(first, name="text-on-cpu", text="cpu")
    thrifty = replace(first, text="cpu", tiling=True)
    yield replace(thrifty, name="tiled")
    if device.kind == "cpu":
        return
    yield replace(thrifty, name="model-offload", offload="model")
    if device.fp8 and not quantised:
        yield replace(thrifty, name="fp8", fp8=True)
        yield replace(thrifty, name="fp8-model-offload", fp8=True, offload="model")
    yield replace(thrifty, name="group-offload", offload="group")


def _linked(found: list[Rung]) -> tuple[Rung, ...]:
    """The same rungs, each knowing the next."""
    below: Rung | None = None
    linked: list[Rung] = []
    for rung in reversed(found):
        below = replace(rung, lower=below)
        linked.append(below)
    return tuple(reversed(linked))


def choose(
    card: Card,
    device: DeviceFacts,
    *,
    width: int,
    height: int,
    frames: int,
    quantised: str | None = None,
    worked: str = "",
    profile: Profile | None = None,
) -> Rung | DoesNotFit:
    """The fastest way that fits into what is free, or why none does.

    `worked` names the rung that a window of this model ended on after others had failed on this device: faster ones
    are not tried again.
    """
    found = rungs(card, device, width=width, height=height, frames=frames, quantised=quantised, profile=profile)
    start = next((index for index, rung in enumerate(found) if rung.name == worked), 0)
    wanted = {
        rung.name: needs(card, device, width=width, height=height, frames=frames, rung=rung, profile=profile)
        for rung in found[start:]
    }
    fitting = [
        rung
        for rung in found[start:]
        if wanted[rung.name].vram <= device.free_vram and wanted[rung.name].ram <= device.free_ram
    ]
    if fitting:
        return _linked(fitting)[0]
    what = f"{card.name} at {width}x{height}, {frames} frames"
    roomy = [name for name, need in wanted.items() if need.vram <= device.free_vram]
    name = min(roomy, key=lambda name: wanted[name].ram) if roomy else found[-1].name
    need = wanted[name]
    if roomy:
        short = f"{gb(need.ram)} of system memory ({name}) and {gb(device.free_ram)} are free"
    else:
        short = f"{gb(need.vram)} of graphics memory ({name}, the thriftiest way) and {gb(device.free_vram)} are free"
    reason = f"{what} needs {short}. It was not started: overflowing into slower memory turns minutes into a day."
    fits = smaller(card, device, width=width, height=height, frames=frames, quantised=quantised, profile=profile)
    return DoesNotFit(reason, _remedy(device, fits, quantised))


def _remedy(device: DeviceFacts, fits: Smaller | None, quantised: str | None) -> str:
    if fits:
        asked = f"{fits.width}x{fits.height} with {fits.frames} frames would fit ({fits.rung.name})"
        return f"{asked}: ask for it with --allow-smaller, free some memory, or use a smaller model."
    if device.kind != "cpu" and not quantised:
        return "No size of this model fits: free some memory, install a GGUF file of it, or use a smaller model."
    return "No size of this model fits: free some memory, use a smaller model, or another machine."


def next_rung(current: Rung) -> Rung | None:
    """What to try after `current` ran out of memory; None at the end of the ladder, and after three."""
    if current.lower is None or current.fallen >= MOST_RUNGS:
        return None
    return replace(current.lower, fallen=current.fallen + 1)


def safer(
    card: Card,
    device: DeviceFacts,
    rung: Rung,
    *,
    width: int,
    height: int,
    frames: int,
    quantised: str | None = None,
) -> Rung | None:
    """How to run a window once more after a bad picture: weights not stored in 8 bits, no float16, nothing tuned.

    The same rung if it is that precise and fits without a profile's savings; else the fastest way in bfloat16, or in
    float32 where the device has none, that fits what is free, linked to the thriftier ones. After falls it also takes
    no more than the rung that worked, because the faster ones ran out of memory. A GGUF file stays what it is. Where
    nothing fits: the same rung if it is precise, because predictions err, else None.
    """
    dtype = rung.dtype if rung.dtype != "float16" else "bfloat16" if device.bf16 else "float32"
    same = dtype == rung.dtype and not rung.fp8
    own = needs(card, device, width=width, height=height, frames=frames, rung=rung, profile=None)
    if same and own.vram <= device.free_vram and own.ram <= device.free_ram:
        return rung
    most = min(own.vram, device.free_vram) if rung.fallen else device.free_vram
    precise = [replace(way, dtype=dtype) for way in _ladder(card, device, quantised or rung.quantised) if not way.fp8]
    wanted = [(way, needs(card, device, width=width, height=height, frames=frames, rung=way)) for way in precise]
    fitting = _thinned(
        [(way, need) for way, need in wanted if need.vram <= most and need.ram <= device.free_ram], device
    )
    if fitting:
        return replace(fitting[0], fallen=rung.fallen)
    return rung if same else None


def smaller(
    card: Card,
    device: DeviceFacts,
    *,
    width: int,
    height: int,
    frames: int,
    quantised: str | None = None,
    profile: Profile | None = None,
) -> Smaller | None:
    """The largest smaller window that fits: fewer pixels of the same shape first, then fewer frames too.

    For --allow-smaller alone: nothing here is ever done unasked.
    """
    lengths = [frames, *range(frames - card.frame_step, card.frame_offset + card.frame_step - 1, -card.frame_step)]
    for length in lengths:
        for across, down in _sizes(card, width, height):
            if (across, down, length) == (width, height, frames):
                continue
            size = {"width": across, "height": down, "frames": length}
            for rung in rungs(card, device, **size, quantised=quantised, profile=profile):
                need = needs(card, device, **size, rung=rung, profile=profile)
                if need.vram <= device.free_vram and need.ram <= device.free_ram:
                    return Smaller(across, down, length, rung)
    return None


def _sizes(card: Card, width: int, height: int) -> Iterator[tuple[int, int]]:
    """Legal sizes of about the same shape, from the one asked for downwards."""
    yield width, height
    if card.presets_only:
        return
    step = card.size_multiple
    short = min(width, height)
    for side in range(short - step, card.smallest - 1, -step):
        across, down = (round(length * side / short / step) * step for length in (width, height))
        if max(across, down) <= card.largest and min(across, down) >= card.smallest:
            yield across, down


def notice(card: Card, rung: Rung, need: Need) -> str:
    """What a person should know of this way before it starts; empty where the model runs as it was published."""
    said = []
    if rung.offload == "model":
        said.append("weights wait in system memory and are moved once a window")
    if rung.offload == "group":
        said.append("weights stay in system memory and cross to the device at every step")
    if rung.fp8 or rung.quantised:
        said.append(f"the transformer is stored as {rung.quantised or '8-bit floats'}: detail may suffer")
    if not said:
        return ""
    return f"{card.name} runs as {rung.name}: {'; '.join(said)} ({gb(need.vram)} VRAM, {gb(need.ram)} RAM)."
