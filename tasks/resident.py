"""The one diffusion model that is loaded in this process: which, how it runs, and what is tried when that fails.

Knows: the memory ladder, profiles, the device. Does not know: shots. Memory: one loaded model; another one, and another
way of running the same, takes its place.

Out of memory: the next rung of the ladder, at most three in a row; the rung that worked is remembered for later shots.
A bad picture: once more in a more precise way, without tuned kernels and caches. Resolution, frames and steps are never
lowered here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.cards import Card
from models.installed import Weights, installed
from models.interface import EngineError, EngineUnavailable, ImageToVideo, Shape
from models.ladder import DoesNotFit, choose, next_rung, safer
from models.memory import Rung, needs
from models.profiles import PROFILES
from models.weights import judge
from models.weights_lock import Digests
from tasks.diffusion import device_facts, device_name, quantised
from tasks.ways import ran_as, remember, worked

if TYPE_CHECKING:
    from models.wan import DiffusionEngine


PLAIN: Final = "plain"
"""The profile that changes nothing: what a bad picture is made again in."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a window asks of the machine, whatever its size."""

    card: Card
    weights: Path
    """Folder of all models."""
    version: str
    """Of code, libraries and weights, as the plan has it."""
    profile: str


@dataclass(frozen=True, slots=True)
class Way:
    """How a model runs here."""

    rung: Rung
    """Precision, offload, tiling."""
    profile: str
    """Name of the profile in force: the one asked for, or `plain` for one window after a bad picture."""
    fell: bool = False
    """Whether a faster way ran out of memory before."""

    def __str__(self) -> str:
        return f"{self.rung.name} ({self.profile})"

    @property
    def speed(self) -> tuple[str, bool, str]:
        """What decides how long a step takes; tiles, and where prompts are encoded, do not."""
        return self.rung.offload, self.rung.fp8, self.profile


class Resident:
    """Holds the engine. Not for several threads: windows pass it one at a time (flows.turns)."""

    def __init__(self) -> None:
        self._asked: Asked | None = None
        self._files: Weights | None = None
        self._form: str | None = None
        self._shape = Shape(0, 0, 0)
        self._way: Way | None = None
        self._next: Way | None = None
        self._engine: DiffusionEngine | None = None
        self._expected: dict[tuple[str, Path], tuple[str, ...]] = {}

    def engine(self, asked: Asked, shape: Shape) -> ImageToVideo:
        """The model's engine, the same one as long as the way it runs suits the window.

        Every file is judged before it is opened. Raises EngineUnavailable if torch is missing or nothing fits,
        EngineError for weights that are no longer those of the plan.
        """
        if asked != self._asked or self._files is None:
            self._files, self._way, self._next = installed(asked.card, asked.weights), None, None
            self._form = quantised(self._files)
        way = self._next or self._suitable(asked, shape)
        if self._engine is None or self._way is None or (way.rung, way.profile) != (self._way.rung, self._way.profile):
            self.close()
            self._engine = self._made(asked, way)
        self._asked, self._shape, self._way, self._next = asked, shape, way, None
        if texts := self._expected.pop((asked.card.name, asked.weights), ()):
            self._engine.expect(texts)
        return self._engine

    def expect(self, card: Card, weights: Path, texts: Sequence[str]) -> None:
        """Prompts that this model's windows will bring, to be encoded at once before it is loaded."""
        self._expected[card.name, weights] = tuple(texts)

    def fall_back(self, *, precise: bool) -> Way | None:
        """Let the model go and take another way for the same window; None if there is none.

        `precise`: after a bad picture; else a thriftier one, after running out of memory.
        """
        asked, before = self._asked, self._way
        if asked is None or before is None:
            return None
        self.close()
        rung = self._safer(asked, before.rung) if precise else next_rung(before.rung)
        if rung is None:
            self._way = None  # the next shot begins anew, with all its rungs
            return None
        self._next = Way(rung, PLAIN if precise else before.profile, fell=before.fell or not precise)
        return self._next

    def worked(self) -> Mapping[str, Any]:
        """How the last window was made, for the manifest. A rung that others failed before is remembered."""
        asked, way = self._asked, self._way
        assert asked is not None
        assert way is not None
        if way.fell and way.profile == asked.profile:
            remember(asked.weights, device_name(), self._name(asked), self._shape, way.rung.name)
        self._way = replace(way, rung=replace(way.rung, fallen=0))  # the next failure is the first in a row again
        return self.now()

    def now(self) -> Mapping[str, Any]:
        """The way in force."""
        assert self._way is not None
        way, tuned, load_seconds = self._way, None, 0.0
        if self._engine is not None:
            tuned, load_seconds = self._engine.tuned, self._engine.load_seconds
            self._engine.load_seconds = 0.0  # told once, with the window that waited for it
        return {
            "rung": way.rung.name,
            "precision": way.rung.quantised or way.rung.dtype,
            "offload": way.rung.offload,
            "tiling": way.rung.tiling,
            "fp8_storage": way.rung.fp8,
            "profile": way.profile,
            "attention": tuned.attention if tuned else "native",
            "compiled": tuned.compiled if tuned else False,
            "fp8_layers": tuned.fp8_layers if tuned else 0,
            "step_cache": tuned.step_cache if tuned else False,
            "device": device_facts().kind,
            "load_seconds": round(load_seconds, 3),
        }

    def close(self) -> None:
        """Let the model go."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def _suitable(self, asked: Asked, shape: Shape) -> Way:
        """The fastest way that fits. The one in force stays if it fits too and a step takes as long: loading costs
        more than tiles do."""
        now, device = self._way, device_facts()
        size = {"width": shape.width, "height": shape.height, "frames": shape.frames}
        profile = PROFILES[asked.profile]
        start = worked(asked.weights, device_name(), self._name(asked), shape)
        if now is not None and now.fell and now.profile == asked.profile and shape == self._shape:
            start = now.rung.name
        found = choose(asked.card, device, **size, quantised=self._form, worked=start, profile=profile)
        if isinstance(found, DoesNotFit):
            raise EngineUnavailable(f"{found.reason} {found.remedy}")
        way = Way(found, asked.profile)
        if now is None or now.speed != way.speed:
            return way
        need = needs(asked.card, device, **size, rung=now.rung, profile=profile)
        return now if need.vram <= device.free_vram and need.ram <= device.free_ram else way

    def _name(self, asked: Asked) -> str:
        return ran_as(asked.card.name, self._form, asked.profile)

    def _safer(self, asked: Asked, rung: Rung) -> Rung | None:
        shape = self._shape
        size = {"width": shape.width, "height": shape.height, "frames": shape.frames}
        return safer(asked.card, device_facts(), rung, **size, quantised=self._form)

    def _made(self, asked: Asked, way: Way) -> DiffusionEngine:
        """A new engine. Nothing is loaded before its first window."""
        card, weights, files = asked.card, asked.weights, self._files
        assert files is not None
        if find_spec("torch") is None or find_spec("diffusers") is None:
            raise EngineUnavailable(
                f"{card.name} needs torch and diffusers; install them (pip install --no-deps -r requirements/all.lock)"
            )
        if device_facts().kind == "cuda" and version("torch").endswith("+cpu"):
            raise EngineUnavailable(
                f"{card.name}: this machine has a GPU ({device_name()}) and a torch without CUDA; "
                f"install the CUDA build of torch {version('torch').partition('+')[0]}"
            )
        # the driver's tool and CUDA count cards in different orders unless told; CUDA reads this when it first starts
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        from models.diffusion import Placement
        from models.kernels import tune
        from models.wan import DiffusionEngine

        def check(path: Path) -> None:
            judge(path, weights=weights, record=path.is_relative_to(weights)).require()

        device = device_facts()
        engine = DiffusionEngine(
            card,
            files,
            placement=Placement.of(way.rung, device.kind),
            check=check,
            digest=Digests(weights).of,
            prompts=weights / ".prompts",
            tune=partial(
                tune,
                profile=PROFILES[way.profile],
                card=card,
                device=device.kind,
                fp8=device.fp8 and not way.rung.fp8,
                quantised=bool(way.rung.quantised),
                offloaded=way.rung.offload == "group",
            ),
        )
        if engine.version != asked.version:
            raise EngineError(
                f"the weights or the card of {card.name} changed after the shot was planned; render the shot again"
            )
        return engine
