"""Which interpolator retimes here. With tasks.engines one of the few that import engines, and only inside functions.

Knows: which retimers there are, in which order they are preferred, how to find out whether one runs. Does not know:
shots, clips, files of a take. Memory: one open interpolator per process.

The order, the best first: RIFE by torch on a GPU, RIFE by ncnn on a Vulkan device, RIFE by torch and by ncnn on the
processor, optical flow. The choice is made before planning and stands in plan and manifest; whether an engine runs is
found out by trying it in a child process, and remembered.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from models.headers import WeightsError
from models.interface import (
    DeviceLost,
    EngineUnavailable,
    Frame,
    FrameInterpolator,
    InterpolatorSpec,
    Shareable,
)
from models.retimers import ANY, FLOW, RIFE, RIFE_NCNN, RIFE_TORCH, RetimerWish, Tta, Uhd
from models.weights import judge
from tasks.apart import Apart
from tasks.errors import MachineNotReadyError

LOG: Final = logging.getLogger("dailies")

T = TypeVar("T")

CPU: Final = "cpu"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of retiming on this machine, tried or not."""

    engine: str
    """`rife-torch`, `rife-ncnn` or `flow`."""
    device: str = CPU
    """`cpu`, `cuda:0`, `vulkan:1` ..."""
    weights: Path | None = None
    """RIFE's: a folder (ncnn) or a file (torch)."""
    tta: Tta = Tta.NONE
    uhd: Uhd = Uhd.AUTO

    @property
    def name(self) -> str:
        """`rife-torch on cuda:0`."""
        return self.engine if self.engine == FLOW else f"{self.engine} on {self.device}"


@dataclass(frozen=True, slots=True)
class RetimerState:
    """Whether one way of retiming runs here, for `dailies doctor`."""

    name: str
    ready: bool
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do if it is not ready."""


def candidates(weights: Path, wish: RetimerWish = ANY) -> Iterator[Candidate]:
    """What answers to `wish` and has the weights it needs here, the best first; none of it tried yet.

    What was lost in this process is left out.
    """
    for engine, device in _ways(weights, wish):
        if not wish.allows(engine) or (wish.device or device) != device or (engine, device) in _LOST:
            continue
        if engine == FLOW:
            yield Candidate(FLOW)
        for found in _installed(engine, weights, wish.model):
            yield Candidate(engine, device, found, wish.tta, wish.uhd)


def _ways(weights: Path, wish: RetimerWish) -> Iterator[tuple[str, str]]:
    """Engines and devices in order. A device that is named is offered whether it is there or not: the trial says."""
    kind = wish.device.partition(":")[0]
    if kind == "cuda" or (wish.allows(RIFE_TORCH) and _installed(RIFE_TORCH, weights, wish.model) and _cuda()):
        yield RIFE_TORCH, wish.device if kind == "cuda" else "cuda:0"
    if kind == "vulkan":
        yield RIFE_NCNN, wish.device
    elif not kind and wish.allows(RIFE_NCNN) and _installed(RIFE_NCNN, weights, wish.model):
        yield from ((RIFE_NCNN, f"vulkan:{index}") for index in _vulkan(weights))
    yield RIFE_TORCH, CPU
    yield RIFE_NCNN, CPU
    yield FLOW, CPU


def _installed(engine: str, weights: Path, model: str) -> Sequence[Path]:
    """An engine's weights, or those of that name, the newest first."""
    if engine == FLOW:
        return ()
    if engine == RIFE_TORCH:
        from models.interpolator_cards import find_torch

        return find_torch(weights, model)
    from models.rife import find_models

    return find_models(weights, model)


def _cuda() -> bool:
    """Whether there is an NVIDIA GPU; whether torch gets along with it, the trial says."""
    from tasks.diffusion import device_facts

    try:
        return device_facts().kind == "cuda"
    except EngineUnavailable:  # it does not answer: whatever else retimes here will do
        return False


def _vulkan(weights: Path) -> Iterator[int]:
    """Vulkan devices that are more than the processor under another name."""
    from models.rife_trial import vulkan_devices

    return (device.index for device in vulkan_devices(weights) if not device.software)


def problem(candidate: Candidate, weights: Path) -> str | None:
    """Why it cannot run here, with the remedy, tried in a child process and remembered; None if it can."""
    if candidate.engine == FLOW:
        return None
    from models import rife_trial, rife_verify

    assert candidate.weights is not None
    file, tta, uhd = candidate.weights, candidate.tta, candidate.uhd
    try:
        judge(file, weights=weights).require()  # nothing is opened that is not what card and lock say
    except WeightsError as error:
        return str(error)
    if candidate.engine == RIFE_TORCH:
        if other := next(iter(rife_verify.problems([file], weights)), None):
            return other
        return rife_trial.torch_problem(file, device=candidate.device, cache=weights, tta=tta, uhd=uhd)
    return rife_trial.problem(file, gpu=_number(candidate.device), cache=weights, tta=tta, uhd=uhd)


def _number(device: str) -> int:
    """The wheel's number of a device: -1 for the processor."""
    return int(device.partition(":")[2] or -1)


def spec_of(candidate: Candidate) -> InterpolatorSpec:
    """What it calls itself. Nothing is loaded: a plan must not hold a device."""
    if candidate.engine == FLOW:
        from models.flow import FlowInterpolator

        return FlowInterpolator().spec
    assert candidate.weights is not None
    options: Any = {"tta": candidate.tta, "uhd": candidate.uhd}
    if candidate.engine == RIFE_TORCH:
        from models import rife_torch

        return rife_torch.spec_of(candidate.weights, device=candidate.device, **options)
    from models import rife

    return rife.spec_of(candidate.weights, gpu=_number(candidate.device), **options)


def opened(candidate: Candidate) -> FrameInterpolator:
    """The interpolator; a network is loaded once per process. Raises EngineUnavailable."""
    with _lock:
        if candidate not in _opened:
            _opened[candidate] = Watched(_open(candidate), candidate)
        return _opened[candidate]


def _open(candidate: Candidate) -> FrameInterpolator:
    if candidate.engine == FLOW:
        from models.flow import FlowInterpolator

        return FlowInterpolator()
    assert candidate.weights is not None
    options: Any = {"tta": candidate.tta, "uhd": candidate.uhd}
    if candidate.engine == RIFE_TORCH:
        from models.rife_torch import RifeTorch

        return RifeTorch(candidate.weights, device=candidate.device, **options)
    from models.rife import RifeNcnn

    number = _number(candidate.device)
    if candidate.device == CPU:
        return RifeNcnn(candidate.weights, gpu=number, **options)
    # a driver that gives up ends the program that called it
    opener = partial(RifeNcnn, candidate.weights, gpu=number, **options)
    return Apart(opener, spec_of(candidate), device=f"Vulkan device {number}")


class Watched:
    """An interpolator of this machine; if its device is lost, it is not chosen again in this process."""

    def __init__(self, inner: FrameInterpolator, candidate: Candidate) -> None:
        self.inner: Final = inner
        self._candidate = candidate

    @property
    def spec(self) -> InterpolatorSpec:
        """The engine's."""
        return self.inner.spec

    def opener(self, threads: int) -> Callable[[], FrameInterpolator] | None:
        """The engine's, if it has one."""
        return self.inner.opener(threads) if isinstance(self.inner, Shareable) else None

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """As the engine does."""
        try:
            yield from self.inner.between(first, second, phases)
        except DeviceLost:
            _LOST.add((self._candidate.engine, self._candidate.device))
            raise


_lock: Final = threading.Lock()
_opened: Final[dict[Candidate, Watched]] = {}
"""What this process has loaded: two or three networks of 10 to 40 MB at the most."""

_LOST: Final[set[tuple[str, str]]] = set()
"""Engines and devices that were lost in this process: they are not touched again."""


def interpolator(weights: Path, *, wish: RetimerWish = ANY, require_rife: bool = False) -> FrameInterpolator:
    """The best retimer that runs here and is what was wished for.

    Without a wish that is RIFE where its library and weights are installed, else optical flow. Raises
    MachineNotReadyError if what was wished for, or RIFE where it is required, cannot run.
    """
    return _first(weights, wish, opened, require_rife=require_rife)


def _first(weights: Path, wish: RetimerWish, look: Callable[[Candidate], T], *, require_rife: bool) -> T:
    """What `look` finds in the first candidate that runs. Raises MachineNotReadyError if none does."""
    said: list[str] = []
    for candidate in candidates(weights, wish):
        if require_rife and candidate.engine == FLOW:
            continue
        wrong = problem(candidate, weights)
        if wrong is None:
            try:
                found = look(candidate)
            except EngineUnavailable as error:  # it was there when it was tried
                wrong = str(error)
            else:
                _tell(said, candidate)
                return found
        said.append(f"{candidate.name}: {wrong}")
    asked = f"the retimer {wish}" if wish != ANY else "RIFE"
    why = "; ".join(said) or _absent(weights, wish)
    if require_rife:
        raise MachineNotReadyError(f"{asked} was required and cannot run: {why}")
    raise MachineNotReadyError(f"{asked} was asked for and cannot run: {why}")


def _tell(said: Sequence[str], candidate: Candidate) -> None:
    """Once per process: weights that are installed and were passed over."""
    for words in said:
        if words not in _told:
            _told.add(words)
            LOG.warning("%s; %s retimes instead", words, candidate.name)


_told: Final[set[str]] = set()


def _absent(weights: Path, wish: RetimerWish) -> str:
    """Why nothing answers to a wish."""
    if wish.engine == FLOW:
        return "optical flow runs on the processor and has no weights; leave device and model out"
    model = wish.model or "rife-4.25"
    lies = f"no weights {wish.model} lie in {weights}" if wish.model else f"no weights of RIFE lie in {weights}"
    if wish.engine == RIFE_NCNN or wish.device.startswith("vulkan"):
        return f"{lies}; put an ncnn folder there, such as rife-v4.6 with flownet.param and flownet.bin"
    return f"{lies}; dailies weights pull {model} brings them, and torch runs them"


def spec(weights: Path, *, wish: RetimerWish = ANY, require_rife: bool = False) -> InterpolatorSpec:
    """What `interpolator` would be. No engine is started and no device held. Raises like it."""
    return _first(weights, wish, spec_of, require_rife=require_rife)


def as_planned(planned: InterpolatorSpec, weights: Path, *, wish: RetimerWish = ANY) -> FrameInterpolator | None:
    """The retimer that a plan was made with, if it runs here; None if this machine has others only.

    Its weights and settings are the plan's, whatever is newest or wished for here; `wish` may name the device.
    """
    tta, uhd = _options(planned)
    named = wish.device if wish.allows(planned.engine) else ""
    for device in dict.fromkeys((named, "")):
        asked = RetimerWish(planned.engine, device, planned.model, tta, uhd)
        for candidate in candidates(weights, asked):
            if spec_of(candidate) == planned and problem(candidate, weights) is None:
                with suppress(EngineUnavailable):
                    return opened(candidate)
    return None


def _options(planned: InterpolatorSpec) -> tuple[Tta, Uhd]:
    """The settings that a spec's version names."""
    tta = re.search(r"-tta-(\w+)", planned.version)
    uhd = re.search(r"-uhd-(\w+)", planned.version)
    named = planned.engine != FLOW
    return Tta(tta[1]) if tta else Tta.NONE, Uhd(uhd[1]) if uhd else Uhd.OFF if named else Uhd.AUTO


def next_best(lost: InterpolatorSpec, weights: Path) -> FrameInterpolator | None:
    """What retimes in the place of an engine whose device was lost, with its settings; None if nothing else runs here.

    The same engine on another device is one of the choices.
    """
    tta, uhd = _options(lost)
    _LOST.update((one.engine, one.device) for one in list(_opened) if one.engine != FLOW and spec_of(one) == lost)
    for candidate in (*candidates(weights, RetimerWish(RIFE, tta=tta, uhd=uhd)), Candidate(FLOW)):
        if problem(candidate, weights) is None:
            with suppress(EngineUnavailable):
                found = opened(candidate)
                if candidate.engine != FLOW or found.spec != lost:
                    return found
    return None


def states(weights: Path, wish: RetimerWish = ANY) -> Sequence[RetimerState]:
    """Every way of retiming that is there or wished for, and what it lacks; what would be chosen comes first."""
    found = []
    for candidate in candidates(weights, wish):
        wrong = problem(candidate, weights)
        named = f"weights {_weights_name(candidate)}" if candidate.weights else "built in, needs no weights"
        found.append(RetimerState(candidate.name, wrong is None, "cannot run" if wrong else named, wrong or ""))
    if wish == ANY and not any(state.name.startswith("rife") for state in found):
        remedy = f"dailies weights pull rife-4.25 (torch runs it), or put an ncnn folder rife-v4* into {weights}"
        found.insert(0, RetimerState("rife", False, "no weights", f"{remedy}; until then optical flow retimes"))
    elif not found:
        found.append(RetimerState(str(wish), False, "cannot run", _absent(weights, wish)))
    return sorted(found, key=lambda state: not state.ready)


def _weights_name(candidate: Candidate) -> str:
    assert candidate.weights is not None
    return candidate.weights.parent.name if candidate.engine == RIFE_TORCH else candidate.weights.name
