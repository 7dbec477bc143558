"""Interpolators that several processes can open, each with a habit of its own. Importable by name, as pickles need."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from models.interface import DeviceLost, Frame, InterpolatorSpec

MARK = 16
"""First sample of the frame after which a habit shows: one of those that 12 bits hold."""


class Shared:
    """Blends. `habit` says what else; `folder` is where each process that opens it leaves its id."""

    def __init__(self, habit: str = "", folder: Path | None = None, *, opened: bool = False) -> None:
        self._habit, self._folder = habit, folder
        self._version = "2" if opened and habit == "other" else "1"
        self._last: Frame | None = None
        if folder is not None and opened:
            (folder / f"{os.getpid()}").touch()

    @property
    def spec(self) -> InterpolatorSpec:
        return InterpolatorSpec("shared", "", "", self._version)

    def opener(self, threads: int) -> Callable[[], Shared] | None:
        return None if self._habit == "device" else partial(Shared, self._habit, self._folder, opened=True)

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        if self._habit == "slow":
            time.sleep(0.1)
        if self._habit == "chatty":
            os.write(1, b"made\n")
            sys.stdout.write("done\n")
        if first[0, 0, 0] == MARK:
            self._show()
        known, self._last = first is self._last, second
        for index, phase in enumerate(phases):
            if self._habit == "short" and index:
                return
            if self._habit == "keeps":
                yield np.full_like(first, known)
            elif self._habit == "shape":
                yield first[1:]
            else:
                yield np.rint(first * (1 - float(phase)) + second * float(phase)).astype(np.uint16)

    def _show(self) -> None:
        if self._habit == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._habit == "loses":
            raise DeviceLost("vulkan:0 has gone; look at the driver")
        if self._habit == "fails":
            raise RuntimeError("no such tensor")


class Alone(Shared):
    """The same, for one process only."""

    opener = None  # type: ignore[assignment]
