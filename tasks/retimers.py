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
from functools import lru_cache
from pathlib import Path
from typing import Final

from models.interface import EngineUnavailable, FrameInterpolator, InterpolatorSpec
from models.retimers import ANY, FLOW, RIFE_NCNN, RetimerWish, Tta, Uhd
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
    from models.rife import find_model

    folder = find_model(weights)
    if folder and wish.engine in ("", RIFE_NCNN) and wish.device in ("", CPU) and wish.model in ("", folder.name):
        yield Candidate(RIFE_NCNN, CPU, folder, wish.tta, wish.uhd)
    if wish.engine in ("", FLOW) and wish.device in ("", CPU) and not wish.model:
        yield Candidate(FLOW)


@lru_cache(maxsize=32)
def problem(candidate: Candidate) -> str | None:
    """Why it cannot run here, with the remedy, tried in a child process; None if it can."""
    if candidate.engine == FLOW:
        return None
    from models.rife import probe

    return probe(model=candidate.weights)


@lru_cache(maxsize=1)
def opened(candidate: Candidate) -> FrameInterpolator:
    """The interpolator, loaded once per process. Raises EngineUnavailable."""
    found = _open(candidate)
    _OPENED[found.spec] = candidate
    return found


def _open(candidate: Candidate) -> FrameInterpolator:
    if candidate.engine == FLOW:
        from models.flow import FlowInterpolator

        return FlowInterpolator()
    from models.rife import RifeNcnn

    assert candidate.weights is not None
    return RifeNcnn(candidate.weights)


_OPENED: Final[dict[InterpolatorSpec, Candidate]] = {}
"""Which candidate was opened as what: a device that is lost must not be touched again."""


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
        found = problem(candidate)
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
        if problem(candidate) is None:
            try:
                found = opened(candidate)
            except EngineUnavailable:
                continue
            if found.spec == planned:
                return found
    return None


def next_best(lost: InterpolatorSpec, weights: Path) -> FrameInterpolator | None:
    """What retimes in the place of an engine whose device was lost; None if nothing else runs here."""
    gone = _OPENED.get(lost)
    for candidate in candidates(weights):
        same = gone is not None and (candidate.engine, candidate.device) == (gone.engine, gone.device)
        if same or problem(candidate) is not None:
            continue
        try:
            found = opened(candidate)
        except EngineUnavailable:
            continue
        if found.spec != lost:
            return found
    return None


def states(weights: Path) -> Sequence[RetimerState]:
    """Every way of retiming with what it lacks here."""
    found = []
    for candidate in candidates(weights):
        wrong = problem(candidate)
        named = f"weights {candidate.weights.name}" if candidate.weights else "built in, needs no weights"
        found.append(RetimerState(candidate.name, wrong is None, "cannot run" if wrong else named, wrong or ""))
    return found
