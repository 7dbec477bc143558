"""How two windows meet: what brings the later one's colours to the earlier one's, and how one becomes the other.

Knows: the frames that both windows show. Does not know: clips, files, the rest of the shot.
Memory: the shared frames of both windows, which the caller holds, and what dissolving one pair needs.

What was handed on to the later window is the same in both, bit for bit, at the head of what they share. It is shown as
it is; the windows are brought together over the frames after it, which each of them made by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.interface import Frame, FrameInterpolator
from tasks.dissolve import Choice, Pair, Way, blended, choose, middle
from tasks.tone import AS_IT_IS, Tone, ToneFit, Toner
from tasks.windows import dissolve_weights


@dataclass(frozen=True, slots=True)
class Meeting:
    """What was found out about two windows over the frames that both show."""

    before: Tone
    """What the earlier window is given."""
    tone: Tone
    """What the later window is given: brought to the earlier one as that is shown."""
    choice: Choice
    """How they are brought together."""
    given: int
    """Shared frames, from the first, that are the same in both: they were handed on."""

    def document(self) -> dict[str, Any]:
        """As the manifest writes it."""
        why = {"failed": self.choice.failed} if self.choice.failed else {}
        return {"way": self.choice.way.value, "blurred": dict(self.choice.blurred), "given": self.given, **why}


def meeting(
    tail: Sequence[Frame], head: Sequence[Frame], *, interpolator: FrameInterpolator, before: Tone = AS_IT_IS
) -> Meeting:
    """How the windows meet whose frames of the same time are `tail` and `head`, as their clips hold them.

    Both have the same number of frames, (height, width, 3) uint16; `before` is what the earlier window is given.
    """
    given = handed_on(tail, head)
    fit = ToneFit()
    for one, other in zip(tail[given:], head[given:], strict=True):
        fit.see(one, other)
    tone = before.after(fit.tone())
    judged = middle(len(tail) - given)
    few = slice(given + judged.start, given + judged.stop)
    weights = dissolve_weights(len(tail) - given)[judged.start : judged.stop]
    earlier, later = Toner(before), Toner(tone)
    pairs = {
        number: (earlier.frame(one), later.frame(other), weight)
        for number, one, other, weight in zip(judged, tail[few], head[few], weights, strict=True)
    }
    return Meeting(before, tone, choose(pairs, interpolator=interpolator), given)


def met(
    tail: Sequence[Frame], head: Sequence[Frame], found: Meeting, *, interpolator: FrameInterpolator
) -> Iterator[tuple[Frame, Pair | None]]:
    """The shared frames as they are shown, each with the pair that it was made of; None for one that was handed on."""
    before, after = Toner(found.before), Toner(found.tone)
    for frame in tail[: found.given]:
        yield before.frame(frame), None
    way, morphs = found.choice.way, found.choice.morphs
    weights = dissolve_weights(len(tail) - found.given)
    for number, (one, other, weight) in enumerate(zip(tail[found.given :], head[found.given :], weights, strict=True)):
        pair = (before.frame(one), after.frame(other), weight)
        known = morphs.get(number) if way is Way.MORPH else None
        yield blended(pair, way=way, interpolator=interpolator) if known is None else known, pair


def handed_on(tail: Sequence[Frame], head: Sequence[Frame]) -> int:
    """How many frames from the first on are the same in both, bit for bit."""
    same = 0
    for earlier, later in zip(tail, head, strict=True):
        if not np.array_equal(earlier, later):
            break
        same += 1
    return same
