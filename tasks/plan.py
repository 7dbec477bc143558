"""Decide everything about a take before anything is made. Pure: values in, one value out.

Knows: shots, the rules of a model, windows, content keys, file names.
Does not know: files, engines, the catalogue, the clock. Memory: proportional to the number of windows.

A content key is the sha256 of what determines a result, down to the keys of what it is made from. Two takes that would
show the same pixels share keys, and therefore work; nothing that pixels do not depend on (priority, version) is in a
key, except that a deliverable's file name and title carry the version. A slate's notes are in the key of its file only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from typing import Any, Final

from catalogs.formats import delivery_complaints
from catalogs.shot import Plate, Shot, slate
from catalogs.timebase import rate_label, rate_text
from models.interface import GeneratorSpec, InterpolatorSpec, Lora
from models.retimers import FLOW
from tasks.chain import Chain, chained
from tasks.errors import PlanError
from tasks.naming import file_name, special_facts
from tasks.sizes import delivery_size, generated_size
from tasks.windows import Span
from tasks.words import told_prompt, window_prompts

VERSIONS: Final[Mapping[str, str]] = {"rolls": "1", "join": "3", "retime": "2", "encode": "2"}
"""Raise one when its step would make other pixels from the same input: old results are then not recalled."""


@dataclass(frozen=True, slots=True)
class Window:
    """One model call."""

    index: int
    """0 for the first."""
    span: Span
    """Its native frames and the segment it owns."""
    context: int
    """Frames of the previous window that it is conditioned on."""
    seed: int
    """Seed of its noise."""
    key: str
    """Content key of its clip."""
    prompt: str
    """What the model is told for it: what holds throughout, and the beats of the part of the shot that it owns."""
    carries: int = 0
    """Latents of the previous window that it is pinned to."""
    arrives: Plate | None = None
    """The still that its last frame must be: an anchor, or the end plate on the last window."""


@dataclass(frozen=True, slots=True)
class PlannedLora:
    """A LoRA that acts on every window of the take."""

    name: str
    """Name or path as the shot list wrote it, or as the model's card names it."""
    file: Lora
    """Where it lies and how strongly it acts."""
    sha256: tuple[str, ...]
    """Digest of each of its files: part of the content key."""
    trigger: str = ""
    """Words that its card wants in the prompt."""


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """One file that will be delivered."""

    kind: str
    option: str
    file: str
    """Final name: a file, or for png and exr a folder."""
    key: str
    """Content key."""
    quality: str = ""
    """`review` or `master`; empty for `client` and where there is but one."""
    extras: tuple[str, ...] = ()
    """Of catalogs.shot.EXTRAS."""
    encoder: str = ""
    """Who encodes it, where it is not the kind's own."""


@dataclass(frozen=True, slots=True)
class TakePlan:
    """All that rendering a take will do. Later steps decide nothing."""

    shot: Shot
    version: int
    """1 for v001."""
    spec: GeneratorSpec
    interpolator: InterpolatorSpec
    windows: tuple[Window, ...]
    overlap: int
    """Native frames that neighbouring windows share."""
    context: str
    """Kind of context by which a window is continued, as models.context writes it; for one window too."""
    experimental: bool
    """Whether windows are continued in a way that the model was not trained for."""
    max_rerolls: int
    """How often a window that is faulty or shows a seam may be made again with another seed."""
    seed: int
    """Seed of the shot."""
    width: int
    """Width generated and retimed, pixels."""
    height: int
    delivery_width: int
    """Width delivered, pixels."""
    delivery_height: int
    native_frames: int
    """Native frames of the joined clip."""
    frames: int
    """Delivery frames, handles included."""
    join_key: str
    """Content key of the native frames; its first 16 digits name the work folder."""
    master_key: str
    """Content key of the master."""
    deliveries: tuple[PlannedDelivery, ...]
    key: str
    """Content key of everything but names and versions."""
    prompt: str
    """What the model is told of the whole shot: its prompt, its camera move, its LoRAs' trigger words."""
    negative_prompt: str
    """What it is told to avoid: the shot's, else the card's."""
    loras: tuple[PlannedLora, ...]
    """What changes the model, in order; the profile's own first."""
    notice: str
    """What was made smaller on request, and what was tried, for everyone who looks at the take; empty for nothing."""
    may_fall: bool = False
    """Whether another engine may retime it if the device of this one is lost."""
    encoder: str = ""
    """Who encodes H.265; empty for x265."""

    @property
    def slate(self) -> str:
        """`AGM_SQ010_SH0010_v003`."""
        return slate(self.shot.show, self.shot.sequence, self.shot.code, self.version)

    @property
    def seams(self) -> tuple[int, ...]:
        """Native frame at which each window after the first takes over."""
        return tuple(window.span.segment.start for window in self.windows[1:])

    @property
    def blended(self) -> bool:
        """Whether neighbouring windows share frames that were not handed on: the interpolator blends those."""
        return any(window.context < self.overlap for window in self.windows[1:])

    @property
    def step(self) -> Fraction:
        """Native frames per delivery frame; interpolation happens where it is not a whole number."""
        return self.spec.native_rate * self.shot.speed / self.shot.rate

    def delivery_frame(self, native: int) -> int:
        """First delivery frame that shows native frame `native` or a later time."""
        return min(self.frames - 1, -(-native // self.step))


def content_key(**facts: Any) -> str:
    """sha256 over the canonical JSON of `facts`: sorted names, no spaces, rates as `N/D`."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, Fraction):
        return rate_text(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def derived_seed(show: str, code: str) -> int:
    """The seed of a shot that names none: from its name alone, so that it never moves. 0 to 2**31-1."""
    digest = hashlib.sha256(f"{show}/{code}".casefold().encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def plan_take(
    shot: Shot,
    spec: GeneratorSpec,
    *,
    interpolator: InterpolatorSpec,
    version: int = 1,
    loras: Sequence[PlannedLora] = (),
    notice: str = "",
    may_fall: bool = False,
    encoder: str = "",
) -> TakePlan:
    """The plan of a take. The same arguments always give the same plan.

    `loras` are the shot's, found and hashed. `notice` is kept. `may_fall` lets another engine retime it if the device
    of `interpolator` is lost. `encoder` makes H.265, empty for x265.
    Raises PlanError, naming the shot, the value, the limit and the remedy, if the model cannot make the shot, or a
    delivery cannot be made at its size and rate.
    """
    try:
        return _plan(shot, spec, interpolator, version, tuple(loras), notice=notice, may_fall=may_fall, encoder=encoder)
    except PlanError as error:
        raise PlanError(f"{shot.name}: {error}") from None


def _plan(
    shot: Shot,
    spec: GeneratorSpec,
    interpolator: InterpolatorSpec,
    version: int,
    loras: tuple[PlannedLora, ...],
    *,
    notice: str,
    may_fall: bool,
    encoder: str,
) -> TakePlan:
    if spec.needs_plate and shot.plate is None:
        raise PlanError(f"{spec.name} animates a still; give the shot a plate")
    if spec.needs_prompt and not shot.prompt.strip():
        raise PlanError(f"{spec.name} needs a prompt; write one, or preview with DAILIES_ENGINE=animatic")
    chain = chained(shot, spec)
    spec, overlap = chain.spec, chain.overlap
    delivered = delivery_size(shot, spec)
    for complaint in delivery_complaints(shot.deliveries, size=delivered, rate=shot.rate):
        raise PlanError(str(complaint))
    width, height = generated_size(delivered, spec)
    seed = derived_seed(shot.show, shot.code) if shot.seed is None else shot.seed
    avoided = shot.negative_prompt or spec.negative_prompt
    size = (width, height)
    windows = _windows(shot, chain, interpolator, seed=seed, size=size, avoided=avoided, loras=loras)
    join_key = content_key(
        step="join",
        version=VERSIONS["join"],
        windows=[window.key for window in windows],
        overlap=overlap if len(windows) > 1 else 0,
        frames=chain.frames,
        # frames that were handed on are the same in both windows, and no interpolator changes them
        interpolator=astuple(interpolator) if any(window.context < overlap for window in windows[1:]) else None,
    )
    master_key = _master_key(shot, spec.native_rate, join_key, interpolator)
    falls = may_fall and interpolator.engine != FLOW and _interpolates(shot, spec.native_rate)
    base = slate(shot.show, shot.sequence, shot.code, version)
    return TakePlan(
        shot=shot,
        version=version,
        spec=spec,
        interpolator=interpolator,
        windows=windows,
        overlap=overlap,
        context=spec.kind,
        experimental=chain.experimental,
        max_rerolls=chain.max_rerolls,
        seed=seed,
        width=width,
        height=height,
        delivery_width=delivered[0],
        delivery_height=delivered[1],
        native_frames=chain.frames,
        frames=shot.total_frames,
        join_key=join_key,
        master_key=master_key,
        deliveries=_planned(shot, base=base, master_key=master_key, size=delivered, encoder=encoder),
        key=content_key(
            step="take",
            master=master_key,
            size=delivered,
            deliveries=[delivery.whole for delivery in shot.deliveries],
            encode=VERSIONS["encode"],
            **({"source_type": shot.source_type} if shot.source_type else {}),
            # the same pixels, and another cut of them in manifest, timelines and edit lists
            **({"handles": shot.handles} if shot.handles else {}),
            # a take that another engine may have retimed is not what one is that must be by this
            **({"may_fall": True} if falls else {}),
            **({"encoder": encoder} if encoder and any(one.kind == "h265" for one in shot.deliveries) else {}),
        ),
        prompt=told_prompt(shot, spec, triggers=_triggers(loras)),
        negative_prompt=avoided,
        loras=loras,
        notice="; ".join(filter(None, [notice, _experiment(chain)])),
        may_fall=falls,
        encoder=encoder,
    )


def with_retimer(plan: TakePlan, interpolator: InterpolatorSpec) -> TakePlan:
    """The plan of what follows the join if `interpolator` retimes it in the place of the planned one.

    Master and deliverables get the keys that they would have had; the take's own key says what was asked for: it stays.
    """
    master_key = _master_key(plan.shot, plan.spec.native_rate, plan.join_key, interpolator)
    size = (plan.delivery_width, plan.delivery_height)
    deliveries = _planned(plan.shot, base=plan.slate, master_key=master_key, size=size, encoder=plan.encoder)
    return replace(plan, interpolator=interpolator, master_key=master_key, deliveries=deliveries)


def _interpolates(shot: Shot, native: Fraction) -> bool:
    """Whether a delivery frame can lie between two native ones."""
    return (native * shot.speed / shot.rate).denominator > 1


def _master_key(shot: Shot, native: Fraction, join_key: str, interpolator: InterpolatorSpec) -> str:
    return content_key(
        step="retime",
        version=VERSIONS["retime"],
        clip=join_key,
        native=native,
        delivery=shot.rate,
        speed=shot.speed,
        frames=shot.total_frames,
        # where every phase is 0 no frame is interpolated, and the interpolator changes nothing
        interpolator=astuple(interpolator) if _interpolates(shot, native) else None,
    )


def _triggers(loras: Sequence[PlannedLora]) -> list[str]:
    return [lora.trigger for lora in loras]


def _experiment(chain: Chain) -> str:
    """What viewers must know of windows that are continued as the model was not trained to."""
    if not chain.experimental:
        return ""
    return f"its windows are continued by the context {chain.spec.kind}, for which {chain.spec.name} was not trained"


def _windows(
    shot: Shot,
    chain: Chain,
    interpolator: InterpolatorSpec,
    *,
    seed: int,
    size: tuple[int, int],
    avoided: str,
    loras: tuple[PlannedLora, ...],
) -> tuple[Window, ...]:
    """Windows with the key of each resting on the key of the one before it: context changes pixels."""
    spec = chain.spec
    prompts = window_prompts(shot, spec, chain.spans, triggers=_triggers(loras))
    windows: list[Window] = []
    # facts that a window does not have are left out, so that keys without them stay what they were
    profile = {"profile": spec.profile} if spec.profile else {}
    changed = {"loras": [[lora.sha256, lora.file.scale] for lora in loras]} if loras else {}
    stills = {stop: anchor.plate for stop, anchor in zip(chain.stops, shot.anchors, strict=True)}
    for index, (span, prompt) in enumerate(zip(chain.spans, prompts, strict=True)):
        arrives = shot.end_plate if index == len(chain.spans) - 1 else stills.get(span.range.end - 1)
        context = chain.context if index else 0
        carries = spec.carries if index else 0
        # a window that broke down is made again, the first one like any; how a later one meets the one before it is
        # judged by what the interpolator makes of frames that both made
        judges = astuple(interpolator) if index and context < chain.overlap else None
        again = {"rerolls": [chain.max_rerolls, VERSIONS["rolls"], judges]} if chain.max_rerolls else {}
        key = content_key(
            step="generate",
            engine=[spec.engine, spec.version],
            plate=shot.plate.sha256 if shot.plate else None,
            end_plate=arrives.sha256 if arrives else None,
            prompt=prompt if spec.needs_prompt else None,
            negative_prompt=avoided if spec.needs_prompt else None,
            camera=shot.camera,
            steps=shot.steps if shot.steps is not None else spec.steps,
            guidance=shot.guidance if shot.guidance is not None else spec.guidance,
            size=size,
            native=spec.native_rate,
            frames=[span.range.start, span.range.end, chain.frames],
            seeds=[seed, seed + index],
            context=context,
            before=windows[-1].key if windows and context else None,
            **({"carries": carries} if carries else {}),
            **again,
            **profile,
            **changed,
        )
        windows.append(Window(index, span, context, seed + index, key, prompt, carries, arrives))
    return tuple(windows)


def _planned(
    shot: Shot, *, base: str, master_key: str, size: tuple[int, int], encoder: str
) -> tuple[PlannedDelivery, ...]:
    """The files that will be made of a master; `base` begins their names."""
    begin = f"{base}_{rate_label(shot.rate)}"
    planned = []
    for delivery in shot.deliveries:
        file = file_name(delivery, begin=begin)
        own = encoder if delivery.kind == "h265" else ""
        key = content_key(
            step="encode",
            version=VERSIONS["encode"],
            master=master_key,
            kind=delivery.kind,
            option=delivery.option,
            size=size,
            file=file,
            **special_facts(delivery, shot, encoder=own),
        )
        planned.append(
            PlannedDelivery(delivery.kind, delivery.option, file, key, delivery.quality, delivery.extras, own)
        )
    return tuple(planned)
