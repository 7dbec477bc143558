"""Ends a process that makes no progress any more, from outside the interpreter.

Knows: what was announced last, how long such things take, Python's fault handler. Does not know: engines, flows, why
something hangs. Memory: 50 numbers per kind of announcement.

A thread of Python's cannot do this: a driver call that never returns may hold the interpreter's lock. The fault
handler's timer is a thread of the system's; it writes every stack to a file and leaves with exit code 1. The kernel
then ends the programs that we started (tasks.frames.follow_parent).

How long is too long is learned from what was seen here: per kind of announcement, from the time until the next one. A
kind is a step (`generate`), whether it counts denoising steps or frames, and whether that was its last: what follows a
window's last step is decoding, what follows a last frame is another step or another shot. What was never seen to be
followed by anything has `first` seconds. A model that runs out of memory is loaded again in a thriftier way at any
moment of `generate`, so no bound there is shorter than three times what passed before the first announcement.
"""

from __future__ import annotations

import faulthandler
import os
import re
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from tasks.progress import Progress, listening

FIRST: Final = 1800.0
"""Seconds for what has no history: a large model loads in them, from a slow disk."""

FLOOR: Final = 240.0
"""Least seconds: encoders flush, disks flush, neighbours compute, and a run waits three minutes for its catalogue."""

FACTOR: Final = 20.0
"""How many times the median of its kind an announcement may take."""

LONGEST: Final = 3.0
"""How many times the longest of its kind, where that is more: a rare step among many quick ones."""

_KEPT: Final = 50  # intervals of each kind
_HEADER: Final = 240  # bytes of the file's first line
_STEPS: Final = re.compile(r"step (\d+) of (\d+)$")


class Kind(NamedTuple):
    """What announcements are compared with each other."""

    step: str
    """As Progress.step."""
    unit: str
    """`steps` or `frames`."""
    last: bool
    """Whether all of them were done."""


def kind_of(progress: Progress) -> Kind:
    """The kind of an announcement."""
    if found := _STEPS.search(progress.detail):
        return Kind(progress.step, "steps", found[1] == found[2])
    return Kind(progress.step, "frames", progress.done >= progress.total)


class Bounds:
    """How long it may take from one announcement to the next. Plain numbers, no clock."""

    def __init__(self, *, first: float = FIRST, floor: float = FLOOR) -> None:
        self._first = first
        self._floor = floor
        self._seen: dict[Kind, deque[float]] = {}
        self._longest: dict[Kind, float] = {}
        self._left: set[Kind] = set()
        self._loading = 0.0

    def learn(self, kind: Kind | None, seconds: float, *, then: Kind) -> None:
        """`seconds` after an announcement of one kind came one of another, or the same. None: after the beginning."""
        if kind is None:
            self._loading = max(self._loading, seconds)
            return
        self._seen.setdefault(kind, deque(maxlen=_KEPT)).append(seconds)
        self._longest[kind] = max(self._longest.get(kind, 0.0), seconds)
        if then != kind:
            self._left.add(kind)

    def bound(self, kind: Kind | None) -> float:
        """Seconds within which something must follow; None: before anything was announced."""
        seen = self._seen.get(kind) if kind is not None else None
        # a window's frames end unannounced: until that was seen once, what follows may be anything
        if kind is None or not seen or (kind.step == "generate" and kind.unit == "frames" and kind not in self._left):
            return max(self._first, self._floor)
        longest = max(self._longest[kind], self._loading if kind.step == "generate" else 0.0)
        usual, rare = FACTOR * statistics.median(seen), LONGEST * longest
        return max(self._floor, usual, min(rare, self._first))


class Watchdog:
    """Inside the block, this process ends with exit code 1 when nothing is announced for too long. One per process.

    `file` then holds a line that says where it was, and the stack of every thread. It is removed when the block is left
    in any other way than by dying: one that is there tells where a process was that is not (`left_behind`).
    """

    def __init__(self, file: Path, *, first: float = FIRST, floor: float = FLOOR) -> None:
        self._file = file
        self._bounds = Bounds(first=first, floor=floor)
        self._every = min(1.0, floor / 10)  # seconds between two times that the timer is set: it costs a thread each
        self._lock = threading.Lock()
        self._inside = ExitStack()
        self._handle = -1
        self._resting = 0
        self._last: tuple[Progress, float] | None = None
        self._armed_at = 0.0

    def __enter__(self) -> Self:
        """Arm. Raises OSError if the file cannot be written."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with self._lock:
            self._arm(self._bounds.bound(None), time.monotonic())
        self._inside.enter_context(listening(self._hear))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.close()
        with self._lock:
            faulthandler.cancel_dump_traceback_later()
            os.close(self._handle)
            self._handle = -1  # threads that were started inside may still announce
        self._file.unlink(missing_ok=True)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside the block time does not count: for waits that are nobody's fault, such as for the catalogue."""
        with self._lock:
            self._resting += 1
            faulthandler.cancel_dump_traceback_later()
        try:
            yield
        finally:
            with self._lock:
                self._resting -= 1
                self._last = None  # what was announced before says nothing about what comes now
                if self._handle >= 0:
                    self._arm(self._bounds.bound(None), time.monotonic())

    def _hear(self, progress: Progress) -> None:
        with self._lock:
            before, now = self._last, time.monotonic()
            if self._handle < 0 or self._resting or (before is not None and before[0] == progress):
                return  # the same words again are no progress
            kind = kind_of(progress)
            if before is not None:
                self._bounds.learn(kind_of(before[0]), now - before[1], then=kind)
            else:
                self._bounds.learn(None, now - self._armed_at, then=kind)
            changed = before is None or kind_of(before[0]) != kind
            self._last = (progress, now)
            if changed or now - self._armed_at >= self._every:
                self._arm(self._bounds.bound(kind) + self._every, now)

    def _arm(self, seconds: float, now: float) -> None:
        if self._resting:
            return
        self._armed_at = now
        where = "before its first step"
        if self._last is not None:
            told = self._last[0]
            where = f"{told.slate} {told.step}: {told.detail or f'{told.done} of {told.total} frames'}"
        line = f"{where}; the limit after that is {seconds:.0f} s".encode()[: _HEADER - 1]
        os.pwrite(self._handle, line.ljust(_HEADER - 1) + b"\n", 0)
        os.lseek(self._handle, _HEADER, os.SEEK_SET)  # the stacks go below
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._handle)


def left_behind(file: Path) -> Mapping[str, str]:
    """What a process left that did not leave its watchdog's block: `at`, where it was, and `stack` if it hung.

    Empty if there is no such file.
    """
    try:
        raw = file.read_bytes()
    except OSError:
        return {}
    at, stack = raw[:_HEADER].decode("utf-8", "replace").strip(), raw[_HEADER:].decode("utf-8", "replace").strip()
    return {"at": at, **({"stack": stack} if stack else {})}
