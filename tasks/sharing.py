"""Several processes share the pairs of one clip: the same frames, bit for bit, from more cores.

Knows: Shareable interpolators, shared memory, which process works on which pairs. Does not know: clips, rates, cuts.
Memory: what each process's engine needs, and per process 2 * BUDGET bytes of frames at most (at least 8 frames).

Neighbouring pairs go to one process in short runs, so that an engine which keeps what it found in a source frame finds
it once per run; runs go round. Frames come back in the order in which they were asked for. Each process is a new
interpreter, never a fork: forked threads of torch and ncnn hang. Frames lie in memory that has no name, so nothing is
left of it when the last process that has it open is gone, however that went; and the kernel ends the processes with us.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import models.interface as interface
from models.interface import EngineError, Frame, FrameInterpolator, InterpolatorSpec, Shareable
from tasks.frames import PIPE, LastWords, start, why
from tasks.sharing_worker import FREE, Slots

BUDGET: Final = 128 << 20
"""Bytes of made frames that one process may be ahead."""

LONGEST_RUN: Final = 4
"""Most neighbouring pairs that go to one process at a time."""

WORTH: Final = 10_000_000
"""Pixels to make per process, below which starting it (half a second) costs more than it brings."""

MOST_WORKERS: Final = 8
"""Most processes that are started unasked: beyond that, writing the master is what takes time."""

_BYTES_PER_PIXEL: Final = 3000  # of a process that works on a pair: RIFE 4.6 by ncnn needs half of it, by torch more
_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[1]); from tasks.sharing_worker import serve; serve()"


class ProcessDied(EngineError):  # noqa: N818 - reads as what happened
    """A process that shares the work has ended, and not because it was told to."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(made: int, *, width: int, height: int, cores: int, memory: int) -> int:
    """How many processes suit `made` frames of this size in pixels, on so many cores and bytes of memory.

    As many as there are cores, unless the work is too little, the memory too small, or MOST_WORKERS are reached.
    """
    pixels = width * height
    return max(1, min(cores, MOST_WORKERS, made * pixels // WORTH, memory // 2 // (_BYTES_PER_PIXEL * pixels)))


def suitable_workers(interpolator: FrameInterpolator, made: int, *, width: int, height: int) -> int:
    """`workers_for` this machine; 1 for an interpolator that processes cannot share."""
    if not isinstance(interpolator, Shareable) or interpolator.opener(1) is None:
        return 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return workers_for(made, width=width, height=height, cores=cores(), memory=memory)


class Sharing:
    """Processes that share an interpolator's work. A context manager: they run inside the block.

    Raises EngineError, which names the process, when one cannot start, fails or dies.
    """

    def __init__(
        self, opener: Callable[[], FrameInterpolator], spec: InterpolatorSpec, *, workers: int, slots: Slots, run: int
    ) -> None:
        """`run` is how many neighbouring pairs go to one process at a time."""
        self._opener, self._spec, self._count, self._slots, self._run = opener, spec, workers, slots, run
        self._workers: list[_Worker] = []
        self._asked = 0

    @property
    def ahead(self) -> int:
        """How many pairs may be asked for before the frames of the first are taken."""
        return (self._count + 1) * self._run - 1

    def ask(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """Have the frames between two made; iterating, in the order of asking, waits for them.

        Frames are passed by identity: where `first` is the `second` of the pair before, it is not copied again.
        """
        worker = self._workers[self._asked // self._run % self._count]
        self._asked += 1
        return worker.ask(first, second, phases)

    def __enter__(self) -> Self:
        try:
            for number in range(self._count):
                who = f"process {number + 1} of {self._count} for {self._spec.engine}"
                self._workers.append(_Worker(self._opener, self._spec, slots=self._slots, who=who))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.bury()


def shared(
    interpolator: FrameInterpolator, *, workers: int, width: int, height: int, most_phases: int
) -> Sharing | None:
    """Processes for frames of this size, at most `most_phases` between two of them; None if it cannot be shared.

    Each has its share of the cores.
    """
    if workers < 2 or not isinstance(interpolator, Shareable):
        return None
    opener = interpolator.opener(max(1, cores() // workers))
    if opener is None:
        return None
    room = BUDGET // (width * height * 6)
    made = max(4, min(LONGEST_RUN * most_phases, room))
    run = max(1, min(LONGEST_RUN, made // most_phases, room // 4))
    slots = Slots(width, height, given=4 * run, made=made)
    return Sharing(opener, interpolator.spec, workers=workers, slots=slots, run=run)


class _Worker:
    """One process, from here."""

    def __init__(
        self, opener: Callable[[], FrameInterpolator], spec: InterpolatorSpec, *, slots: Slots, who: str
    ) -> None:
        self._spec, self._slots, self._who = spec, slots, who
        memory = _memory(slots.bytes)
        try:
            self._frames = slots.frames(mmap.mmap(memory, slots.bytes))
            argv = [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).resolve().parent.parent)]
            self._child = start(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, pass_fds=[memory])
        finally:
            os.close(memory)
        try:
            pipes = _pipes(self._child.stdin, self._child.stdout, self._child.stderr)
            self._orders, self._replies, self._errors = pipes
            self._words = LastWords(self._errors)
            self._free = list(range(slots.given))
            self._last: tuple[Frame, int] | None = None
            self._turn = 0
            self._ready = False
            self._tell(pickle.dumps((memory, slots, sys.path)) + pickle.dumps(opener))
        except BaseException:  # an interrupt, too: nobody else knows of the process yet
            with suppress(OSError), self._child:  # an order that it never read
                self.kill()
            raise

    def ask(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        """As Sharing.ask, from this process."""
        given = []
        if self._last is None or self._last[0] is not first:
            given.append(self._lay(first))
        given.append(self._lay(second))
        order = {"first": given[0] if len(given) > 1 else None, "second": given[-1], "phases": list(map(str, phases))}
        self._last = second, given[-1]
        self._tell(json.dumps(order).encode() + b"\n")
        return self._take(len(phases), given)

    def _lay(self, frame: Frame) -> int:
        slot = self._free.pop()
        self._frames[slot] = frame
        return slot

    def _take(self, count: int, given: list[int]) -> Iterator[Frame]:
        for left in reversed(range(count)):
            if self._hear() != b"made":
                self._free += given
                return  # fewer than were asked for: whoever iterates counts, and gives up
            frame = self._frames[self._slots.given + self._turn].copy()
            self._turn = (self._turn + 1) % self._slots.made
            self._tell(FREE)
            if left == 0:  # before the last frame is given: nobody asks for one more
                self._hear()  # "done"
                self._free += given
            yield frame

    def _tell(self, words: bytes) -> None:
        try:
            self._orders.write(words)
            self._orders.flush()
        except OSError:
            while True:
                self._hear()  # raises, at the latest when it has no more to say

    def _hear(self) -> bytes:
        """What it says next. Raises EngineError if that is why it failed, or nothing any more."""
        line = self._replies.readline()
        word, _, rest = line.rstrip(b"\n").partition(b" ")
        if not line:
            code = self._child.wait()
            raise ProcessDied(
                f"{self._who} (pid {self._child.pid}) {why(code, self._words.text())}; if memory ran out, retime with "
                "fewer workers, else again"
            )
        if word == b"failed":
            failed = json.loads(rest)
            known = getattr(interface, failed["kind"], None)
            if isinstance(known, type) and issubclass(known, EngineError):
                raise known(failed["text"])
            raise EngineError(f"{self._who} failed: {failed['kind']}: {failed['text']}")
        if word == b"ready":
            if rest.decode() != repr(self._spec):
                raise EngineError(f"{self._who} opened {rest.decode()} instead of {self._spec!r}; install it again")
            return self._hear()
        return word

    def kill(self) -> None:
        """End it, whatever it does."""
        self._child.kill()

    def bury(self) -> None:
        """Wait until it has ended, and close what led to it."""
        self._child.wait()
        self._words.join(timeout=5)
        for pipe in (self._orders, self._replies, self._errors):
            try:
                pipe.close()
            except OSError:  # an order that it never read
                continue


def _pipes(*pipes: IO[bytes] | None) -> tuple[IO[bytes], ...]:
    assert all(pipes)
    return tuple(pipe for pipe in pipes if pipe is not None)


def _memory(size: int) -> int:
    """A file without a name, in memory where the system has such: a descriptor."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
