"""The request: what editorial asked for. Rendering never changes a value of this module.

Knows: the vocabulary of a shot list (shot, plate, camera, delivery) and its bounds.
Does not know: files on disk, databases, models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Final

from catalogs.source_types import source_type_in
from catalogs.timebase import seconds_display

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
"""What a show, sequence or shot code may look like: safe as a file name on every system."""

CAMERAS: Final = (
    "still",
    "push in",
    "pull out",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "roll",
    "handheld",
)
"""Camera moves that the animatic engine performs; other engines read them as part of the prompt."""

DELIVERY_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "h265": ("main10",),
    "prores": ("hq", "proxy", "lt", "422", "4444"),
    "webm": ("vp9", "av1"),
    "h264": ("high",),
    "png": ("16",),
    "exr": ("half",),
}
"""Kinds of deliverable and the options each takes; the first option is the default."""

QUALITIES: Final = ("client", "review", "master")
"""How much a delivery of variable rate may lose; the first is the default. Which kinds have them: catalogs.formats."""

EXTRAS: Final = ("silent", "slate", "burnin")
"""What a delivery may have besides the picture: a silent sound track, a slate in front, words burnt in."""

RETIMERS: Final = ("rife", "flow", "any")
"""What a shot may ask of whoever makes its delivery rate."""

SHORTEST, LONGEST = 1, 100_000
"""Bounds on a shot's length, in delivery frames without handles."""


MOST_REROLLS: Final = 8
"""How often a window may be made again: each costs what the window costs."""

DEFAULT_REROLLS: Final = 2


@dataclass(frozen=True, slots=True)
class Plate:
    """The still that a shot starts from."""

    path: str
    """Absolute path, links resolved."""
    sha256: str
    """Hex digest of the file's bytes when it was submitted."""
    width: int
    """Width in pixels, upright (EXIF rotation applied)."""
    height: int
    """Height in pixels, upright."""


@dataclass(frozen=True, slots=True, order=True)
class Delivery:
    """One kind of file that the client is to receive."""

    kind: str
    """A key of DELIVERY_OPTIONS: h265, prores, webm, h264, png or exr."""
    option: str
    """A variant of that kind, such as the ProRes profile."""

    quality: str = ""
    """`review` or `master`; empty for `client`, and for kinds that have one quality only."""
    extras: tuple[str, ...] = ()
    """Words of EXTRAS, in their order there, without repeats."""

    @classmethod
    def parse(cls, text: str) -> Delivery:
        """`prores`, `prores:hq`, `h264:review:burnin`: the kind, then words in any order.

        Raises ValueError naming what is allowed. Whether a kind can have what is asked, catalogs.formats says.
        """
        kind, *words = (word.strip() for word in text.strip().lower().split(":"))
        if kind not in DELIVERY_OPTIONS:
            raise ValueError(f"unknown delivery {text.strip()!r}; use {', '.join(DELIVERY_OPTIONS)}")
        options, qualities, extras = [], [], []
        for word in filter(None, words):
            if word in DELIVERY_OPTIONS[kind]:
                options.append(word)
            elif word in QUALITIES:
                qualities.append(word)
            elif word in EXTRAS:
                extras.append(word)
            else:
                allowed = (*DELIVERY_OPTIONS[kind], *QUALITIES, *EXTRAS)
                raise ValueError(f"{kind} has no option {word!r}; use {', '.join(allowed)}")
        for what, said in (("options", options), ("qualities", qualities)):
            if len(set(said)) > 1:
                raise ValueError(f"{text.strip()!r} has several {what}, {' and '.join(said)}; choose one")
        quality = qualities[0] if qualities and qualities[0] != QUALITIES[0] else ""
        return cls(
            kind,
            options[0] if options else DELIVERY_OPTIONS[kind][0],
            quality,
            tuple(word for word in EXTRAS if word in extras),
        )

    @property
    def whole(self) -> str:
        """All words, the option always: `prores:hq`, `h264:high:review:slate`. What catalogues hold."""
        return ":".join(filter(None, (self.kind, self.option, self.quality, *self.extras)))

    @property
    def special(self) -> tuple[str, ...]:
        """The words that are no defaults, in order: what tells two deliveries of one kind apart."""
        option = () if self.option == DELIVERY_OPTIONS[self.kind][0] else (self.option,)
        return (*option, *filter(None, (self.quality,)), *self.extras)

    def __str__(self) -> str:
        return ":".join((self.kind, *self.special))


DEFAULT_DELIVERIES: Final = (Delivery("h265", "main10"), Delivery("prores", "hq"), Delivery("webm", "vp9"))


@dataclass(frozen=True, slots=True)
class Anchor:
    """A still that the shot must show on its way."""

    at: Fraction
    """When, in seconds from the first frame of the cut; handles do not count."""
    plate: Plate
    """The still."""

    def __str__(self) -> str:
        return f"{seconds_display(self.at)}s={self.plate.path}"


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA that the shot wants on its model."""

    name: str
    """Name of an installed LoRA, or the absolute path of a .safetensors file."""
    scale: float | None = None
    """How strongly it acts, -10 to 10, 0 for not at all; None means its card's own, else 1."""

    def __str__(self) -> str:
        return self.name if self.scale is None else f"{self.name}:{self.scale:g}"


@dataclass(frozen=True, slots=True)
class Shot:
    """One row of a shot list, checked. Equality is equality of the request."""

    show: str
    """Code of the show."""
    code: str
    """Code of the shot, unique in its show whatever its case."""
    frames: int
    """Length in delivery frames, without handles."""
    sequence: str = ""
    """Code of the sequence; empty if the show has none."""
    plate: Plate | None = None
    """The still to animate; None only for a text-to-video model."""
    end_plate: Plate | None = None
    """The still to arrive at."""
    prompt: str = ""
    """What should happen, in words; may hold beats (catalogs.beats)."""
    negative_prompt: str = ""
    """What should not; empty means the model card's own."""
    rate: Fraction = Fraction(30)
    """Delivery rate in frames per second, exact."""
    handles: int = 0
    """Extra frames at each end, in delivery frames."""
    width: int | None = None
    """Delivery width in pixels; None means the model's own size for the plate's shape."""
    height: int | None = None
    """Delivery height in pixels; None exactly when width is."""
    model: str = "animatic"
    """Name of a model card."""
    seed: int | None = None
    """Seed of the noise, 0 to 2**63-1; None lets the planner derive one from the shot's name."""
    steps: int | None = None
    """Denoising steps; None means the card's."""
    guidance: float | None = None
    """Guidance scale; None means the card's."""
    loras: tuple[LoraUse, ...] = ()
    """What changes the model for this shot, in the order asked for, without repeats."""
    context: str = ""
    """What of each window the next one is given, as models.context writes it; empty means the model card's own."""
    overlap: int | None = None
    """Native frames that neighbouring windows share; None lets the planner choose."""
    anchors: tuple[Anchor, ...] = ()
    """Stills to arrive at on the way, in order of time."""
    max_rerolls: int | None = None
    """How often a window that is faulty or shows a seam may be made again, 0 to 8; None means DEFAULT_REROLLS."""
    camera: str = ""
    """One of CAMERAS; empty means the engine's own choice."""
    deliveries: tuple[Delivery, ...] = DEFAULT_DELIVERIES
    """What to deliver, in the order asked for, without repeats."""
    speed: Fraction = Fraction(1)
    """Playing speed: 1/2 shows half as much native time per delivery second."""
    retimer: str = ""
    """One of RETIMERS: RIFE and nothing else, optical flow, or the best there is and, should its device be lost in the
    middle, the next best. Empty for the best that runs when the shot is planned, and no other."""
    priority: int = 50
    """1 (first) to 99."""
    due: date | None = None
    """When the shot is needed."""
    notes: str = ""
    """Free text, kept."""
    submitted_by: str = ""
    """Who asked, kept."""
    metadata: tuple[tuple[str, str], ...] = field(default=())
    """Columns of the list that Dailies does not know, as (header, value), kept in file order."""

    @property
    def name(self) -> str:
        """`SHOW/CODE`, as people type it."""
        return f"{self.show}/{self.code}"

    @property
    def source_type(self) -> str:
        """The digital source type that its column names, a term of IPTC's; empty for what is true of its engine."""
        return source_type_in(self.metadata)

    @property
    def stills(self) -> tuple[Plate, ...]:
        """Every still that rendering needs: plate, end plate, anchors."""
        ends = (plate for plate in (self.plate, self.end_plate) if plate is not None)
        return (*ends, *(anchor.plate for anchor in self.anchors))

    @property
    def total_frames(self) -> int:
        """Delivery frames with both handles."""
        return self.frames + 2 * self.handles


def slate(show: str, sequence: str, code: str, version: int) -> str:
    """The string that names a shot and a take: `AGM_SQ010_SH0010_v003`."""
    return "_".join(part for part in (show, sequence, code, f"v{version:03d}") if part)
