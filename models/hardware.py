"""The page on hardware, written from the cards: what each model does, takes, and how it would run on which card.

Knows: cards, `memory` and `ladder`. Does not know: this machine. Memory: the page. Pure but for `main`, which prints:

    python -m models.hardware > docs/hardware.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Final

from models.cards import Card, cards, generator_spec
from models.context import most_frames
from models.ladder import choose, rungs
from models.memory import GB, DeviceFacts, Rung, gb, needs

CARDS_GIB: Final = (8, 12, 16, 24, 48, 80)
"""Graphics memory of the cards on the page, in 2^30 bytes as their makers count."""
FREE: Final = 0.97
"""Share of it that is free on a machine that does nothing else; estimated."""
HOST: Final = 128 * GB
"""System memory that the page assumes: the upper end of what the studio plans with."""

_INTRO: Final = """# Hardware

Written from the model cards by `python -m models.hardware`; a test holds this page against them. Each card in
`models/cards/` names the source of its figures. GB are 10^9 bytes.

## What each model does

Weights are given in 16 bits with all parts (transformers, text encoder, image encoder, VAE); publishers' folders in 32
bits take up to twice that on disk. Minimum and recommended graphics memory are what the sources in the card say.
"""
_LADDER: Final = f"""
## How it would run

**Predicted** by `models/memory.py` for the first preset size and the longest window, bfloat16 and 8-bit floats
available, {HOST // GB} GB of system memory, {FREE:.0%} of the graphics memory free. A dash: it is
refused before it starts, with what would fit; nothing is ever made smaller unasked. After running out of memory the
next way is tried, at most three times. A GGUF file of the transformer takes the place of the 8-bit ways.

| way | what it does |
|---|---|
| `resident` | everything stays on the card |
| `text-dropped` | the text encoder leaves once the prompts are encoded |
| `text-on-cpu` | prompts are encoded without the card |
| `tiled` | also: the VAE works in tiles |
| `model-offload` | also: one part on the card at a time, the others wait in system memory |
| `fp8` | `tiled`, the transformer stored as 8-bit floats and widened layer by layer |
| `fp8-model-offload` | both |
| `group-offload` | `tiled`, the transformer's layers stay in system memory and come one after another |

"""
_TIME: Final = """
## How long a window takes

Priors for `dailies plan`, from the machine named; nothing was measured here. "Estimated" ones are derived from another
model's, as the card says. Retiming and encoding come on top. For other steps, guidance, sizes and lengths the plan
scales them by the arithmetic of the transformer: 2 P n + 4 L d n² operations for n tokens, P parameters, L layers of
width d, twice a step where guidance is above 1.

"""
_CHAIN: Final = """
## How windows are chained

A shot that is longer than one window is made of several, and each but the first is given the end of the one before: its
context. A shot's `context` says which kind; without one the model's default is used. Kinds that a model was **trained
for** do what its authors show. **Experimental** ones go through inputs that it has, without having been trained for
them: the mechanism is tested, how they look only the real weights can tell. Plan and manifest say which was used.

| context | what the next window is given |
|---|---|
| `none` | nothing: windows would not belong together, so a shot is one window |
| `frame` | the last frame, in the place of the still |
| `frames-k` | the last k frames: mask and condition latents, VACE's `video` and `mask`, TI2V's clean first latents |
| `latents-m` | the last m latents as they were made, and the frame before them |

Frames are read from the window's own clip. The decoder's floats are rounded to 16 bits a channel in memory and to 12 on
disk (`gbrp12le`), which the clip keeps without loss; no frame passes through 8 bits. Besides those handed on, both
windows make `free` more, which are compared in colour and morphed into each other.

**Latents** make no such way round through pixels, which is what lets colours drift from window to window. Where the
model has channels for a condition they are put there as they are; and while denoising they are pinned: before every
step written over with themselves, as noisy as the step expects them. That takes a scheduler of flow matching (UniPC
with flow sigmas, FlowMatchEuler). All latents of a shot are then decoded as one stream. A frame depends on 38 latents
before its own (Wan's decoders; counted from their structure), so each window but the first decodes up to 38 latents
once more and drops them: 2.7 times the decoding of a window of 81 frames, and no more memory, for the frames that
decoding the whole shot at once would give. Such windows share 4m+1 frames, and none is free: there is no seam to morph.

"""


def hardware_page(known: Mapping[str, Card]) -> str:
    """The page in Markdown, one row a model of a diffusers pipeline, in order of name."""
    models = [card for card in known.values() if card.pipeline]
    what = _table(
        ("model", "does", "fps", "window", "sizes", "parameters", "weights", "VRAM least / recommended", "licence"),
        (_what(card) for card in models),
    )
    chains = _table(
        ("model", "trained for (default first)", "experimental", "frames shared by default"), map(_chains, models)
    )
    runs = _table(("model", "size, frames", *(f"{size} GB" for size in CARDS_GIB), "least"), map(_runs, models))
    time = _table(("model", "size, frames", "steps", "s per step", "window", "machine"), map(_time, models))
    return _INTRO + "\n" + what + _CHAIN + chains + _LADDER + runs + _TIME + time


def does(card: Card) -> str:
    """What goes in and what comes out, in a few words."""
    given = "still" if card.needs_plate else "still or text" if most_frames(card.contexts) else "text"
    if card.takes_end_plate:
        given += ", last still"
    if (most := most_frames(card.contexts)) > 1:
        given += f", up to {most} frames of the clip before"
    return f"{given} to video" + (", two experts" if card.experts > 1 else "")


def weight_on_disk(card: Card) -> int:
    """All parts in 16 bits, bytes."""
    return int(2 * GB * (card.parameters * card.experts + card.text_encoder + card.image_encoder + card.vae))


def _what(card: Card) -> tuple[str, ...]:
    sizes = "{}x{}".format(*card.sizes[0]) if card.presets_only else ", ".join(f"{w}x{h}" for w, h in card.sizes)
    rule = "only" if card.presets_only else f"or {card.smallest} to {card.largest} in steps of {card.size_multiple}"
    parameters = f"{card.parameters:.1f}·10⁹" if card.experts == 1 else f"{card.experts} x {card.parameters:.1f}·10⁹"
    frames = f"{card.frame_step}n+{card.frame_offset}, at most {card.longest_window}"
    memory = f"{card.vram_minimum_gb:g} / {card.vram_recommended_gb:g} GB"
    rate = str(card.rate)
    return (
        f"`{card.name}`",
        does(card),
        rate,
        frames,
        f"{sizes} {rule}",
        parameters,
        gb(weight_on_disk(card)),
        memory,
        card.licence,
    )


def _chains(card: Card) -> tuple[str, ...]:
    kinds = [", ".join(f"`{kind}`" for kind in kinds) or "-" for kinds in (card.contexts, card.experimental)]
    spec = generator_spec(card)
    shared = f"{spec.context} handed on, {spec.overlap - spec.context} free" if spec.context else "-"
    return (f"`{card.name}`", *kinds, shared)


def _runs(card: Card) -> tuple[str, ...]:
    (width, height), frames = card.sizes[0], card.longest_window
    cells = []
    for gib in CARDS_GIB:
        device = _device(gib)
        found = choose(card, device, width=width, height=height, frames=frames)
        cells.append(f"`{found.name}`" if isinstance(found, Rung) else "-")
    device = _device(CARDS_GIB[-1])
    last = rungs(card, device, width=width, height=height, frames=frames)[-1]
    least = needs(card, device, width=width, height=height, frames=frames, rung=last).vram
    return (f"`{card.name}`", f"{width}x{height}, {frames}", *cells, gb(least))


def _time(card: Card) -> tuple[str, ...]:
    (width, height), frames = card.sizes[0], card.longest_window
    return (
        f"`{card.name}`",
        f"{width}x{height}, {frames}",
        str(card.steps),
        f"{card.seconds_per_step:g}",
        f"{card.seconds_per_step * card.steps / 60:.0f} min",
        card.measured_on,
    )


def _device(gib: int) -> DeviceFacts:
    return DeviceFacts("cuda", int(gib * 2**30 * FREE), gib * 2**30, HOST, bf16=True, fp8=True)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def main() -> None:
    """Print the page."""
    sys.stdout.write(hardware_page(cards()))


if __name__ == "__main__":
    main()
