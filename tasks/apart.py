"""An interpolator in a process of its own, for engines whose driver may bring their program down.

Knows: how to open the engine there, and that a process which dies took its device with it. Does not know: which
engines are like that (tasks.retimers), clips. Memory: besides the engine's own, four source
frames and a ring of 4 to MOST frames (BUDGET bytes, where that is between them), shared; and once more the ring, as
frames on their way to whoever asked.

A Vulkan driver that runs out of memory ends the program that called it; so may one whose device goes away. Here that is
a DeviceLost, which a shot can answer to, and not the end of a night's process. So is a device that is missing when the
engine is opened, which happens with the first pair: it was there when the engine was chosen.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from fractions import Fraction
from queue import SimpleQueue
from typing import Final

from models.interface import DeviceLost, EngineError, EngineUnavailable, Frame, FrameInterpolator, InterpolatorSpec
from tasks.sharing import BUDGET, ProcessDied, Sharing
from tasks.sharing_worker import Slots

MOST: Final = 16
"""Most frames that are made before the first of them is given."""


def room_for(width: int, height: int) -> Slots:
    """Shared memory for frames of this size, whatever the number of phases."""
    # of a pair, and of the pair before, whose second frame is the first of this one
    return Slots(width, height, given=4, made=max(4, min(MOST, BUDGET // (width * height * 6))))


class Apart:
    """FrameInterpolator whose engine runs elsewhere. Used by one thread at a time, as a lock ensures."""

    def __init__(self, opener: Callable[[], FrameInterpolator], spec: InterpolatorSpec, *, device: str) -> None:
        """`opener` is pickled and called in the process; what it opens must have this spec."""
        self._opener, self._spec, self._device = opener, spec, device
        self._lock = threading.Lock()
        self._sharing: Sharing | None = None
        self._room: Slots | None = None
        self._keeper: threading.Thread | None = None
        self._let_go: Callable[[], object] = bool
        self._lost = ""

    @property
    def spec(self) -> InterpolatorSpec:
        """The engine's."""
        return self._spec

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """As the engine does. Raises DeviceLost where its process died or found no device, then and ever after.

        Of many phases the engine is asked for some at a time, as for pairs of their own.
        """
        if first.shape != second.shape:
            raise EngineError(f"cannot interpolate between frames of {first.shape} and {second.shape}")
        height, width = first.shape[:2]
        room = room_for(width, height)
        for start in range(0, len(phases), room.made):
            some = phases[start : start + room.made]
            made = self._made(room, first, second, some)
            short = len(made) < len(some)
            while made:
                yield made.pop(0)
            if short:
                return  # whoever iterates counts, and must not take the frames of later phases for those that lack

    def _made(self, room: Slots, first: Frame, second: Frame, phases: Sequence[Fraction]) -> list[Frame]:
        """All of them before the first is given: whoever stops listening leaves nothing behind."""
        with self._lock:
            if self._lost:
                raise DeviceLost(self._lost)
            try:
                return list(self._running(room).ask(first, second, phases))
            except (ProcessDied, EngineUnavailable) as error:
                self._lost = f"{self._device} was lost: {error}"
                if isinstance(error, ProcessDied):  # the other says itself what to do
                    self._lost += "; check its driver, or retime on another device"
                self._end()
                raise DeviceLost(self._lost) from error
            except BaseException:
                self._end()
                raise

    def _running(self, room: Slots) -> Sharing:
        """The process, with that room."""
        if self._sharing is None or self._room != room:
            self._end()
            sharing = Sharing(self._opener, self._spec, workers=1, slots=room, run=1)
            opened: Future[None] = Future()
            ended: SimpleQueue[None] = SimpleQueue()
            keeper = threading.Thread(target=_keep, args=(sharing, opened, ended), name="apart", daemon=True)
            # also when nobody has us any more: the thread, which does not know us, would wait for ever
            self._let_go = weakref.finalize(self, ended.put, None)
            keeper.start()
            self._keeper = keeper
            opened.result()
            self._sharing, self._room = sharing, room
        return self._sharing

    def _end(self) -> None:
        self._sharing = None
        self._let_go()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None


def _keep(sharing: Sharing, opened: Future[None], ended: SimpleQueue[None]) -> None:
    """Start the process, and stay until it may end: the kernel ends it with the thread that started it.

    The thread that asks first may be one of a pool, and end long before those that ask later.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(sharing)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        ended.get()
