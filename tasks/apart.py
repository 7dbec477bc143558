"""An interpolator in a process of its own, for engines whose driver may bring their program down.

Knows: how to open the engine there, and that a process which dies took its device with it. Does not know: which
engines are like that (tasks.retimers), clips. Memory: two source frames and the frames of one pair, shared, besides the
engine's own.

A Vulkan driver that runs out of memory ends the program that called it; so may one whose device goes away. Here that is
a DeviceLost, which a shot can answer to, and not the end of a night's process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction

from models.interface import DeviceLost, EngineError, Frame, FrameInterpolator, InterpolatorSpec
from tasks.sharing import ProcessDied, Sharing
from tasks.sharing_worker import Slots


class Apart:
    """FrameInterpolator whose engine runs elsewhere. Used by one thread at a time, as a lock ensures."""

    def __init__(self, opener: Callable[[], FrameInterpolator], spec: InterpolatorSpec, *, device: str) -> None:
        """`opener` is pickled and called in the process; what it opens must have this spec."""
        self._opener, self._spec, self._device = opener, spec, device
        self._lock = threading.Lock()
        self._process = ExitStack()
        self._sharing: Sharing | None = None
        self._room: Slots | None = None
        self._lost = ""

    @property
    def spec(self) -> InterpolatorSpec:
        """The engine's."""
        return self._spec

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """As the engine does. Raises DeviceLost where its process died, then and ever after."""
        if first.shape != second.shape:
            raise EngineError(f"cannot interpolate between frames of {first.shape} and {second.shape}")
        if not phases:
            return
        with self._lock:
            if self._lost:
                raise DeviceLost(self._lost)
            try:
                # all of them before the first is given: whoever stops listening leaves nothing behind
                made = list(self._running(first, len(phases)).ask(first, second, phases))
            except ProcessDied as error:
                self._end()
                self._lost = f"{self._device} was lost: {error}; check its driver, or retime on another device"
                raise DeviceLost(self._lost) from error
            except BaseException:
                self._end()
                raise
        yield from made

    def _running(self, like: Frame, count: int) -> Sharing:
        """The process, with room for frames of this shape and so many at a time."""
        height, width = like.shape[:2]
        room = self._room
        if self._sharing is None or room is None or (room.width, room.height) != (width, height) or room.made < count:
            self._end()
            # of a pair, and of the pair before, whose second frame is the first of this one
            self._room = Slots(width, height, given=4, made=count)
            sharing = Sharing(self._opener, self._spec, workers=1, slots=self._room, run=1)
            self._sharing = self._process.enter_context(sharing)
        return self._sharing

    def _end(self) -> None:
        self._sharing = None
        self._process.close()
