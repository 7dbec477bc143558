"""Stages of one step that run at the same time: threads with bounded queues between them.

Knows: threads, queues counted in elements, which end gives up first. Does not know: frames, ffmpeg, engines.
Memory: `room` elements per queue and one in the hands of each stage, however many pass.

    with Ahead(reader, room=2, cancel=reader.kill) as frames, Behind(writer.write, room=2, cancel=writer.kill) as out:
        for frame in frames:
            out.put(work(frame))

The first error ends everything: one of the reader's is raised where its elements are taken, one of the writer's where
elements are put, or when the block ends. When a block is left by an exception, of whatever kind, what waits is thrown
away, `cancel` ends what a stage may be waiting for, and the thread is gone before the exception goes on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")


class _Left(Exception):  # noqa: N818 - no error: it is how a stage hears that nobody waits for it any more
    """The other end has gone."""


class _Queue(Generic[T]):
    """A bounded queue with one thread at each end, either of which may leave."""

    def __init__(self, room: int) -> None:
        self._room: Final = room
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._left = False
        self._error: BaseException | None = None

    def put(self, element: T) -> None:
        """Append, once there is room. Raises _Left, or the error that the receiver left with."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or len(self._waiting) < self._room)
            if self._left:
                raise self._error or _Left
            self._waiting.append(element)
            self._changed.notify_all()

    def get(self) -> T:
        """Take the oldest, once there is one. Raises StopIteration at the end, or the error that the sender left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._left)
            if self._left:
                raise _Left
            if self._waiting:
                element = self._waiting.popleft()
                self._changed.notify_all()
                return element
            if self._error is not None:
                raise self._error
            raise StopIteration

    def end(self, error: BaseException | None = None) -> None:
        """The sender puts no more."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def leave(self, error: BaseException | None = None) -> None:
        """Either end leaves, and everything that waits goes with it."""
        with self._changed:
            self._left, self._error = True, error
            self._waiting.clear()
            self._changed.notify_all()


class _Stage(threading.Thread):
    """A thread that can be waited for again after a Ctrl-C: Python 3.11 takes one whose `join` was torn for ended."""

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._over = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        finally:
            self._over.set()

    def wait(self) -> None:
        """Until it has ended."""
        self._over.wait()
        self.join()


class Ahead(Iterator[T]):
    """Runs an iterator in a thread, at most `room` elements ahead of whoever takes them. A context manager.

    `cancel` may be called from another thread than the iterator's, and makes it end if it waits for something.
    """

    def __init__(self, source: Iterator[T], *, room: int, cancel: Callable[[], None] = lambda: None) -> None:
        self._source, self._cancel = source, cancel
        self._queue: _Queue[T] = _Queue(room)
        self._thread = _Stage(self._run, name="ahead")

    def _run(self) -> None:
        try:
            for element in self._source:
                self._queue.put(element)
                del element  # one that was taken is not ours to keep
            self._queue.end()
        except _Left:
            pass
        except BaseException as error:
            self._queue.end(error)

    def __next__(self) -> T:
        return self._queue.get()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.leave()
        self._cancel()
        self._thread.wait()


class Behind(Generic[T]):
    """Calls `sink` for every element put, in order, in a thread that is at most `room` behind. A context manager.

    Leaving the block normally waits for the last element. `cancel` makes a `sink` end that waits for something.
    """

    def __init__(self, sink: Callable[[T], None], *, room: int, cancel: Callable[[], None] = lambda: None) -> None:
        self._sink, self._cancel = sink, cancel
        self._queue: _Queue[T] = _Queue(room)
        self._thread = _Stage(self._run, name="behind")
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            while True:
                try:
                    element = self._queue.get()
                except (StopIteration, _Left):
                    return
                self._sink(element)
                del element
        except BaseException as error:
            self._error = error
            self._queue.leave(error)

    def put(self, element: T) -> None:
        """Hand one over, once there is room. Raises what `sink` raised."""
        self._queue.put(element)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._queue.end()
            try:
                self._thread.wait()
            except BaseException:  # a Ctrl-C while the last frames are written
                self._give_up()
                raise
            if self._error is not None:
                raise self._error
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._queue.leave()
        self._cancel()
        self._thread.wait()
