"""What runs in a process of its own for `tasks.sharing`: one interpolator, asked over a pipe.

Knows: pairs of frames in shared memory, phases. Does not know: clips, rates, which shot. Starts in the time that
numpy and the engine take: it imports nothing else. Memory: the engine's, two source frames, and its slots.

What it hears, a line each: an order (JSON), or `+`: the oldest frame that it made was taken and its slot is free.
What it says: `ready SPEC` once, `made` per frame, `done` per order, `failed {"kind", "text"}` as its last words.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import sys
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from models.interface import EngineError, Frame, FrameInterpolator

FREE: Final = b"+\n"
"""A slot is free again."""


@dataclass(frozen=True, slots=True)
class Slots:
    """How shared memory is laid out: frames to work from, then a ring of frames made."""

    width: int
    """Pixels."""
    height: int
    given: int
    """Frames to work from."""
    made: int
    """Frames of the ring."""

    @property
    def bytes(self) -> int:
        """Of all slots."""
        return (self.given + self.made) * self.height * self.width * 6

    def frames(self, memory: mmap.mmap) -> NDArray[np.uint16]:
        """All slots as (given + made, height, width, 3)."""
        shape = (self.given + self.made, self.height, self.width, 3)
        return np.frombuffer(memory, np.uint16, count=self.bytes // 2).reshape(shape)


class _Served:
    """One process at work."""

    def __init__(self, orders: IO[bytes], replies: IO[bytes], *, slots: Slots, memory: int) -> None:
        self._heard, self._replies = orders, replies
        self._slots = slots
        self._frames = slots.frames(mmap.mmap(memory, slots.bytes))
        self._orders: deque[dict[str, Any]] = deque()
        self._free = slots.made
        self._turn = 0
        self._second: Frame | None = None

    def say(self, words: str) -> None:
        self._replies.write(words.encode() + b"\n")
        self._replies.flush()

    def work(self, interpolator: FrameInterpolator) -> None:
        """Fulfil orders until nobody gives any more."""
        while order := self._order():
            first, second = self._pair(order)
            phases = [Fraction(phase) for phase in order["phases"]]
            for frame in islice(interpolator.between(first, second, phases), len(phases)):
                if frame.shape != first.shape or frame.dtype != np.uint16:
                    raise EngineError(f"it made a frame of {frame.shape} {frame.dtype} between frames of {first.shape}")
                self._give(frame)
            self.say("done")

    def _pair(self, order: dict[str, Any]) -> tuple[Frame, Frame]:
        """Copies: an engine may keep a source frame and what it found in it, and slots are written again.

        The second frame of the last pair is the same array when it is the first of this one.
        """
        first = self._second if order["first"] is None else self._frames[order["first"]].copy()
        assert first is not None
        self._second = self._frames[order["second"]].copy()
        return first, self._second

    def _give(self, frame: Frame) -> None:
        while self._free == 0:
            if not self._hear():
                raise SystemExit  # nobody is there to take it
        self._frames[self._slots.given + self._turn] = frame
        self._turn = (self._turn + 1) % self._slots.made
        self._free -= 1
        self.say("made")

    def _order(self) -> dict[str, Any] | None:
        """The next order; None if there will be none."""
        while not self._orders:
            if not self._hear():
                return None
        return self._orders.popleft()

    def _hear(self) -> bool:
        line = self._heard.readline()
        if line == FREE:
            self._free += 1
        elif line:
            self._orders.append(json.loads(line))
        return bool(line)


def serve() -> None:
    """Read how to open the interpolator from standard input, and work for whoever is at its other end."""
    # a library that prints must not end up among the replies
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders = sys.stdin.buffer
    memory, slots, path = pickle.load(orders)
    sys.path[:] = path
    served = _Served(orders, replies, slots=slots, memory=memory)
    try:
        interpolator = pickle.load(orders)()
        served.say(f"ready {interpolator.spec!r}")
        served.work(interpolator)
    except BrokenPipeError:
        pass  # whoever asked has gone
    except Exception as error:
        served.say("failed " + json.dumps({"kind": type(error).__name__, "text": str(error)}))
