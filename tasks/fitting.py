"""Does a window fit this machine, why not, and what smaller one would, on request. Pure.

Knows: cards, what a device has free, the ladder of ways to run a model, plans. Does not know: how the device was asked,
files, engines, the catalogue. Memory: none worth naming.

Nothing is made smaller unasked: `smaller_spec` is for --allow-smaller, and its sentence goes wherever the take goes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypedDict

from catalogs.shot import Shot
from models.cards import Card
from models.interface import GeneratorSpec, InterpolatorSpec
from models.ladder import DoesNotFit, choose, notice, rungs, smaller
from models.memory import GB, DeviceFacts, Need, gb, needs
from models.profiles import PROFILES, Profile
from tasks.errors import PlanError
from tasks.plan import TakePlan, plan_take

_NOBODY: Final = InterpolatorSpec("none", "", "", "")
"""Windows and sizes do not depend on who retimes."""


class _Asked(TypedDict):
    """What a window asks of the memory's predictions."""

    width: int
    height: int
    frames: int
    profile: Profile | None


@dataclass(frozen=True, slots=True)
class Fit:
    """How a window would run on a device, or why it would not."""

    device: str
    """`cuda`, `mps` or `cpu`."""
    rung: str
    """The way that would be taken; empty where none fits."""
    vram: int
    """Predicted peak on the device, bytes: of that way, or of the thriftiest where none fits."""
    ram: int
    """The same of system memory, bytes."""
    free_vram: int
    """Graphics memory that is free, bytes; 0 on a CPU."""
    free_ram: int
    """System memory that is free, bytes."""
    fits: bool
    reason: str = ""
    """Why it does not fit, a sentence; empty where it does."""
    remedy: str = ""
    """What would, a sentence."""
    notice: str = ""
    """What a person should know of this way before it starts; empty where the model runs as it was published."""

    def document(self) -> dict[str, Any]:
        """As plans and lists write it."""
        return asdict(self)

    @property
    def short(self) -> str:
        """What is missing, in a few words; empty where nothing is."""
        if self.fits:
            return ""
        lacks_vram = self.vram > self.free_vram and self.device != "cpu"
        needed, free = (self.vram, self.free_vram) if lacks_vram else (self.ram, self.free_ram)
        digits = 2 if gb(needed) == gb(free) else 1
        kind = "graphics" if lacks_vram else "system"
        return f"{needed / GB:.{digits}f} GB of {kind} memory and {free / GB:.{digits}f} GB are free"


def fit(
    card: Card,
    device: DeviceFacts,
    *,
    width: int,
    height: int,
    frames: int,
    quantised: str | None = None,
    worked: str = "",
    profile: Profile | None = None,
) -> Fit:
    """The way that a window of that size (pixels) and length (frames) takes on the device, with what it needs.

    `quantised` is the GGUF type of the transformer's file, if that is what is installed; `worked` the rung that a
    window of this model ended on before.
    """
    asked: _Asked = {"width": width, "height": height, "frames": frames, "profile": profile}
    found = choose(card, device, **asked, quantised=quantised, worked=worked)
    if isinstance(found, DoesNotFit):
        need = _least(card, device, asked, quantised=quantised)
        rung, reason, remedy, said = "", found.reason, found.remedy, ""
    else:
        need = needs(card, device, **asked, rung=found)
        rung, reason, remedy, said = found.name, "", "", notice(card, found, need)
    free = (device.free_vram, device.free_ram)
    return Fit(device.kind, rung, need.vram, need.ram, *free, bool(rung), reason, remedy, said)


def _least(card: Card, device: DeviceFacts, asked: _Asked, *, quantised: str | None) -> Need:
    """What the thriftiest way takes: of those that the device itself could hold, the one with least system memory."""
    wanted = [needs(card, device, **asked, rung=rung) for rung in rungs(card, device, **asked, quantised=quantised)]
    roomy = [need for need in wanted if need.vram <= device.free_vram]
    return min(roomy, key=lambda need: need.ram) if roomy else wanted[-1]


def longest(plan: TakePlan) -> int:
    """Frames of the longest window of a plan."""
    return max(len(window.span.range) for window in plan.windows)


def fit_plan(plan: TakePlan, card: Card, device: DeviceFacts, *, quantised: str | None = None, worked: str = "") -> Fit:
    """`fit` of a plan's longest window in its profile."""
    return fit(
        card,
        device,
        width=plan.width,
        height=plan.height,
        frames=longest(plan),
        quantised=quantised,
        worked=worked,
        profile=PROFILES.get(plan.spec.profile),
    )


def sized(shot: Shot, spec: GeneratorSpec) -> Shot:
    """The shot with the size it is delivered in written out: that must not follow a model made to work smaller.

    Raises PlanError if the model cannot make the shot.
    """
    plan = plan_take(shot, spec, interpolator=_NOBODY)
    return replace(shot, width=plan.delivery_width, height=plan.delivery_height)


def smaller_spec(
    shot: Shot,
    spec: GeneratorSpec,
    card: Card,
    device: DeviceFacts,
    *,
    quantised: str | None = None,
) -> tuple[GeneratorSpec, str]:
    """Rules under which `plan_take(sized(shot, spec), rules)` fits the device, and the sentence that says what was
    lowered. The given rules and no sentence where the shot fits as it is.

    Fewer pixels of the same shape come first and are scaled up to the delivery; shorter windows, chained, come last,
    and only where the model continues a window. Size and length of what is delivered stay. Raises PlanError if nothing
    smaller fits, or if what fits cannot be planned.
    """
    plan = plan_take(shot, spec, interpolator=_NOBODY)
    found = fit_plan(plan, card, device, quantised=quantised)
    if found.fits:
        return spec, ""
    spec = plan.spec  # with the context that the shot asks for, by which shorter windows are chained too
    full = longest(plan)
    profile, size = PROFILES.get(spec.profile), (plan.width, plan.height)
    less = smaller(card, device, width=size[0], height=size[1], frames=full, quantised=quantised, profile=profile)
    if less is None:
        raise PlanError(f"{shot.name}: {found.reason} {found.remedy}")
    if less.frames < full and not spec.context:
        raise PlanError(
            f"{shot.name}: at {plan.width}x{plan.height} it needs {found.short}; no size of {spec.name} fits with "
            f"{full} frames, and it cannot continue a shorter window; shorten the shot, or choose another model"
        )
    rules = replace(
        spec,
        sizes=((less.width, less.height),),
        smallest=min(less.width, less.height),
        largest=max(less.width, less.height),
        presets_only=True,
    )
    # from the longest that should fit: two ways that differ by a hair may change places between two lengths
    for frames in range(less.frames, spec.frame_offset - 1, -spec.frame_step):
        # a window holds its overlap at both ends; what is handed on cannot be cut, what is free besides can
        overlap = max(rules.context, min(rules.overlap, frames // 2))
        shorter = replace(rules, longest_window=frames, overlap=overlap) if frames < full else rules
        try:
            made = plan_take(sized(shot, spec), shorter, interpolator=_NOBODY)
        except PlanError as error:
            raise PlanError(
                f"{shot.name}: it needs {found.short}; {less.width}x{less.height} with windows of {frames} frames "
                f"would fit and cannot be planned: {str(error).removeprefix(f'{shot.name}: ')}; choose a model that "
                "needs less memory, or a larger device"
            ) from None
        if fit_plan(made, card, device, quantised=quantised).fits:
            return shorter, _lowered(plan, made, found)
        if not spec.context:
            break
    raise PlanError(f"{shot.name}: {found.reason} No smaller window that can be planned fits; use a smaller model.")


def _lowered(plan: TakePlan, made: TakePlan, found: Fit) -> str:
    """What was asked for, what is made instead, and why."""
    size, windows = f"{made.width}x{made.height}", f"windows of at most {longest(made)} frames"
    changed = []
    if (made.width, made.height) != (plan.width, plan.height):
        changed.append(f"at {size} instead of {plan.width}x{plan.height}")
    if longest(made) < longest(plan):
        changed.append(f"in {windows} instead of {longest(plan)}")
    return f"made {' and '.join(changed)} because that needs {found.short}, on request (--allow-smaller)"
