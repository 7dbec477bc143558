"""The step cache: denoising steps that change little repeat what the blocks added the step before (MagCache).

Knows: the published rule, the stack of blocks of Wan's transformer. Does not know: cards, schedulers, checkpoints.
Memory: per branch (words, no words) one residual of tokens x width in the model's precision, of one model at a time.

MagCache (Ma et al. 2025, arXiv:2506.09045): what a transformer's blocks add to the hidden states changes from step to
step mostly in size, by ratios that depend on the model and hardly on the prompt. So the error of repeating a residual
is known from ratios that were measured once. Which steps compute follows from these ratios alone, never from the
pixels: it is planned before the window starts, nothing waits for the device, and a window goes on after a crash, bit
for bit, at every step that computes.

diffusers' own MagCache is not used: its hooks run the blocks' forward outside of the compiler
(`torch.compiler.disable`), and what they count and keep cannot be saved with a window. Here `model.blocks` is replaced
for the length of one call by a single module that runs, or stands for, the whole stack: the blocks, their hooks (LoRA,
offload, casting) and their compiled code are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

from models.interface import EngineError

T = TypeVar("T")

THRESHOLD: Final = 0.12
"""Most error that skipped steps in a row may add up to."""
MOST: Final = 2
"""Most steps in a row that are skipped. With THRESHOLD and KEEP the most careful setting that MagCache's authors
publish for Wan2.1 (E012K2R02: 87 s instead of 189 s for T2V 1.3B on an A800)."""
KEEP: Final = 0.2
"""Share of the steps, from the first, that is always computed: they lay out the picture."""


def computed_steps(
    ratios: Sequence[float], steps: int, *, threshold: float = THRESHOLD, most: int = MOST, keep: float = KEEP
) -> tuple[bool, ...]:
    """For each of `steps` steps, whether it is computed; the others repeat the residual before them.

    `ratios`: per step of the calibration, the size of what the blocks added over that of the step before, 1.0 first;
    for another number of steps the nearest one counts. From the last computed step on, the product of the ratios is
    what became of the residual's size, and |1 - product|, summed over the steps skipped since, the error: a step is
    computed when it exceeds `threshold`, or after `most` skipped ones. Beyond the published rule, the last step is
    computed, because no later one mends it, and so are all of fewer than half the calibrated steps: a ratio of
    neighbours says nothing of steps so far apart, and distilled models are not to be cached (LightX2V's rule too). No
    ratios: all.
    Raises EngineError for bounds that mean nothing.
    """
    if steps < 1 or threshold < 0 or most < 0 or not 0 <= keep <= 1:
        raise EngineError(
            f"no step cache for {steps} steps, threshold {threshold}, {most} in a row, {keep} kept; "
            "use 1 step or more, bounds of 0 or more, and a share from 0 to 1"
        )
    if not ratios or 2 * steps < len(ratios):
        return (True,) * steps
    kept = max(1, int(keep * steps + 0.5))
    planned = []
    product, error, skipped = 1.0, 0.0, 0
    for step in range(steps):
        if step >= kept:
            product *= ratios[round(step * (len(ratios) - 1) / (steps - 1))]
            error += abs(1.0 - product)
        skips = kept <= step < steps - 1 and error <= threshold and skipped < most
        if skips:
            skipped += 1
        else:
            product, error, skipped = 1.0, 0.0, 0
        planned.append(not skips)
    return tuple(planned)


def cacheable(model: Any) -> bool:
    """Whether the model's blocks are one stack on one stream of hidden states: WanTransformer3DModel alone.

    VACE adds its hints between the blocks, and CogVideoX carries words and pictures on two streams.
    """
    from diffusers import WanTransformer3DModel

    return isinstance(model, WanTransformer3DModel)


class StepCache:
    """What the blocks added last, for one window."""

    def __init__(self, computes: Sequence[bool]) -> None:
        """`computes`: per step of the window, whether it is computed; from `computed_steps`."""
        self._computes = tuple(computes)
        self._model: Any = None
        self._residuals: dict[str, Any] = {}

    @property
    def skipped(self) -> int:
        """Steps of the window that are planned to be skipped."""
        return self._computes.count(False)

    def resumable(self, done: int) -> bool:
        """Whether a window that lost its residuals after `done` steps goes on as if it had kept them."""
        return done >= len(self._computes) or self._computes[done]

    def forget(self) -> None:
        """Let the residuals go: before another window, or when memory is needed."""
        self._model = None
        self._residuals.clear()

    def run(self, model: Any, branch: str, at: int, call: Callable[[], T]) -> T:
        """What `call`, which runs the model once, returns at step `at` of one branch (`cond`, `uncond`).

        At a step that is skipped, the blocks' last residual of this model and branch takes their place; where there is
        none (the first step of the second expert, a window resumed too late), the blocks run. They are recorded only
        if the next step will ask for it. Without gradients. `model.blocks` is what it was afterwards, whatever happens.
        """
        if model is not self._model:
            self.forget()  # the other expert's residuals are of no use to this one
            self._model = model
        computes = at >= len(self._computes) or self._computes[at]
        if not computes and branch in self._residuals:
            return self._with(model, _stacks()[0](self._residuals[branch]), call)
        self._residuals.pop(branch, None)  # before the blocks run: they need the memory
        if at + 1 >= len(self._computes) or self._computes[at + 1]:
            return call()
        return self._with(model, _stacks()[1](model.blocks, self._residuals, branch), call)

    @staticmethod
    def _with(model: Any, stack: Any, call: Callable[[], T]) -> T:
        import torch

        blocks = model.blocks
        model.blocks = torch.nn.ModuleList([stack])
        try:
            return call()
        finally:
            model.blocks = blocks


@cache
def _stacks() -> tuple[Any, Any]:
    """The two modules that take the place of a stack of blocks: one repeats, one records."""
    import torch

    class Repeated(torch.nn.Module):
        """Adds a residual of (1, tokens, width)."""

        def __init__(self, residual: Any) -> None:
            super().__init__()
            self._kept = (residual,)  # no parameter and no buffer: nothing may move or cast it

        def forward(self, hidden: Any, *others: Any) -> Any:
            del others
            return hidden + self._kept[0]

    class Recorded(torch.nn.Module):
        """Runs the blocks and notes what they added together."""

        def __init__(self, blocks: Any, residuals: dict[str, Any], branch: str) -> None:
            super().__init__()
            self._blocks = (blocks,)  # in a tuple: they stay the model's, whoever walks this module does not see them
            self._residuals, self._branch = residuals, branch

        def forward(self, hidden: Any, *others: Any) -> Any:
            output = hidden
            for block in self._blocks[0]:
                output = block(output, *others)
            # In place: nobody reads the stack's input any more, and it is as large as what it becomes.
            self._residuals[self._branch] = torch.sub(output, hidden, out=hidden)
            return output

    return Repeated, Recorded
