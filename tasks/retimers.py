"""Which interpolator retimes here. With tasks.engines one of the few that import engines, and only inside functions.

Knows: which retimers there are, in which order they are preferred, how to find out whether one runs. Does not know:
shots, clips, files of a take. Memory: one open interpolator per process.

The order, the best first: RIFE by torch on a GPU, RIFE by ncnn on a Vulkan device, RIFE by torch and by ncnn on the
processor, optical flow. The choice is made before planning and stands in plan and manifest; whether an engine runs is
found out by trying it in a child process, and remembered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from models.headers import WeightsError
from models.interface import EngineUnavailable, FrameInterpolator, InterpolatorSpec
from models.retimers import ANY, FLOW, RIFE_NCNN, RIFE_TORCH, RetimerWish, Tta, Uhd
from models.weights import judge
from tasks.apart import Apart
from tasks.errors import MachineNotReadyError

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
    """What answers to `wish` and has the weights it needs here, the best first; none of it tried yet."""
    for engine, device in _ways(weights, wish):
        if (wish.engine or engine) != engine or (wish.device or device) != device:
            continue
        if engine == FLOW:
            if not wish.model:
                yield Candidate(FLOW)
        elif found := _installed(engine, weights, wish.model):
            yield Candidate(engine, device, found, wish.tta, wish.uhd)


def _ways(weights: Path, wish: RetimerWish) -> Iterator[tuple[str, str]]:
    """Engines and devices in order. A device that is named is offered whether it is there or not: the trial says."""
    kind = wish.device.partition(":")[0]
    if kind == "cuda" or (wish.engine in ("", RIFE_TORCH) and _installed(RIFE_TORCH, weights, wish.model) and _cuda()):
        yield RIFE_TORCH, wish.device if kind == "cuda" else "cuda:0"
    if kind == "vulkan":
        yield RIFE_NCNN, wish.device
    elif not kind and wish.engine in ("", RIFE_NCNN) and _installed(RIFE_NCNN, weights, wish.model):
        yield from ((RIFE_NCNN, f"vulkan:{index}") for index in _vulkan(weights))
    yield RIFE_TORCH, CPU
    yield RIFE_NCNN, CPU
    yield FLOW, CPU


def _installed(engine: str, weights: Path, model: str) -> Path | None:
    """An engine's newest weights, or those of that name; None if they are not there."""
    if engine == RIFE_TORCH:
        from models.interpolator_cards import find_torch

        return find_torch(weights, model)
    from models.rife import find_model

    return find_model(weights, model)


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


def opened(candidate: Candidate) -> FrameInterpolator:
    """The interpolator; a network is loaded once per process. Raises EngineUnavailable."""
    if candidate.engine == FLOW:  # it holds nothing, and must not drive a network out
        from models.flow import FlowInterpolator

        return FlowInterpolator()
    return _loaded(candidate)


@lru_cache(maxsize=1)
def _loaded(candidate: Candidate) -> FrameInterpolator:
    found = _open(candidate)
    _OPENED[found.spec] = candidate
    return found


def _open(candidate: Candidate) -> FrameInterpolator:
    assert candidate.weights is not None
    if candidate.engine == RIFE_TORCH:
        from models.rife_torch import RifeTorch

        return RifeTorch(candidate.weights, device=candidate.device, tta=candidate.tta, uhd=candidate.uhd)
    from models.rife import RifeNcnn, spec_of

    options: Any = {"gpu": _number(candidate.device), "tta": candidate.tta, "uhd": candidate.uhd}
    if candidate.device == CPU:
        return RifeNcnn(candidate.weights, **options)
    # a driver that gives up ends the program that called it
    opener = partial(RifeNcnn, candidate.weights, **options)
    return Apart(opener, spec_of(candidate.weights, **options), device=f"Vulkan device {_number(candidate.device)}")


_OPENED: Final[dict[InterpolatorSpec, Candidate]] = {}
"""Which candidate was opened as what."""

_LOST: Final[set[tuple[str, str]]] = set()
"""Engines and devices that were lost in this process: they are not touched again."""


def interpolator(weights: Path, *, wish: RetimerWish = ANY, require_rife: bool = False) -> FrameInterpolator:
    """The best retimer that runs here and is what was wished for.

    Without a wish that is RIFE where its library and weights are installed, else optical flow. Raises
    MachineNotReadyError if what was wished for, or RIFE where it is required, cannot run.
    """
    return opened(chosen(weights, wish=wish, require_rife=require_rife))


def chosen(weights: Path, *, wish: RetimerWish = ANY, require_rife: bool = False) -> Candidate:
    """What `interpolator` opens."""
    said = []
    for candidate in candidates(weights, wish):
        if require_rife and candidate.engine == FLOW:
            continue
        found = problem(candidate, weights)
        if found is None:
            return candidate
        said.append(f"{candidate.name}: {found}")
    asked = f"the retimer {wish}" if wish != ANY else "RIFE"
    why = "; ".join(said) or _absent(weights, wish)
    if require_rife:
        raise MachineNotReadyError(f"{asked} was required and cannot run: {why}")
    raise MachineNotReadyError(f"{asked} was asked for and cannot run: {why}")


def _absent(weights: Path, wish: RetimerWish) -> str:
    """Why nothing answers to a wish."""
    if wish.engine == FLOW:
        return "optical flow runs on the processor and has no weights; leave device and model out"
    model = wish.model or "rife-4.25"
    return f"no such weights lie in {weights}; dailies weights pull {model} brings them where torch is to run them"


def spec(weights: Path, *, wish: RetimerWish = ANY, require_rife: bool = False) -> InterpolatorSpec:
    """What `interpolator` would be."""
    return interpolator(weights, wish=wish, require_rife=require_rife).spec


def as_planned(planned: InterpolatorSpec, weights: Path, *, wish: RetimerWish = ANY) -> FrameInterpolator | None:
    """The retimer that a plan was made with, if it runs here; None if this machine has others only."""
    for candidate in candidates(weights, RetimerWish(engine=planned.engine, tta=wish.tta, uhd=wish.uhd)):
        if problem(candidate, weights) is None:
            try:
                found = opened(candidate)
            except EngineUnavailable:
                continue
            if found.spec == planned:
                return found
    return None


def next_best(lost: InterpolatorSpec, weights: Path) -> FrameInterpolator | None:
    """What retimes in the place of an engine whose device was lost; None if nothing else runs here."""
    if gone := _OPENED.get(lost):
        _LOST.add((gone.engine, gone.device))
    for candidate in candidates(weights):
        if (candidate.engine, candidate.device) in _LOST or problem(candidate, weights) is not None:
            continue
        try:
            found = opened(candidate)
        except EngineUnavailable:
            continue
        if found.spec != lost:
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
        remedy = f"dailies weights pull rife-4.25 (torch), or put an ncnn folder rife-v4* into {weights}"
        found.insert(0, RetimerState("rife", False, "no weights", f"{remedy}; until then optical flow retimes"))
    elif not found:
        found.append(RetimerState(str(wish), False, "cannot run", _absent(weights, wish)))
    return sorted(found, key=lambda state: not state.ready)


def _weights_name(candidate: Candidate) -> str:
    assert candidate.weights is not None
    return candidate.weights.parent.name if candidate.engine == RIFE_TORCH else candidate.weights.name
