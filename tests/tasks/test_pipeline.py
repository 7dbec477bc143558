"""Stages that run at the same time: bounded, in order, and gone together at the first error."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tasks.pipeline import Ahead, Behind


def stages() -> list[str]:
    """Threads of stages that are still there."""
    return [thread.name for thread in threading.enumerate() if thread.name in ("ahead", "behind")]


def until(true: Callable[[], bool]) -> None:
    """Wait for it, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_everything_passes_once_and_in_order() -> None:
    """Through both stages, and the threads are gone afterwards."""
    written: list[int] = []
    with Ahead(iter(range(500)), room=2) as source, Behind(written.append, room=3) as sink:
        for number in source:
            sink.put(number)
    assert written == list(range(500))
    assert stages() == []


def test_the_reader_stops_where_nobody_takes() -> None:
    """It has `room` elements waiting and one in its hand, however long the source is."""
    read: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            read.append(len(read))
            yield len(read)

    with Ahead(endless(), room=3):
        until(lambda: len(read) == 4)
        time.sleep(0.05)
        assert len(read) == 4
    assert stages() == []


def test_whoever_puts_waits_for_the_writer() -> None:
    """At most `room` elements wait, one is in the writer's hand."""
    gate = threading.Semaphore(0)
    taken: list[int] = []

    def slow(number: int) -> None:
        taken.append(number)
        assert gate.acquire(timeout=10)

    given = 0
    with Behind(slow, room=2) as sink:

        def feed() -> None:
            nonlocal given
            for number in range(6):
                sink.put(number)
                given += 1

        feeder = threading.Thread(target=feed)
        feeder.start()
        until(lambda: given == 3)
        time.sleep(0.05)
        assert (given, taken) == (3, [0])
        gate.release(6)
        feeder.join()
    assert taken == list(range(6))


def test_the_readers_error_comes_after_what_it_read() -> None:
    """Elements before it are delivered, then it is raised, and the writer is not waited for."""

    def source() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("the disk is gone")

    written: list[int] = []
    ended = threading.Event()
    with (
        pytest.raises(OSError, match="disk"),
        Behind(written.append, room=9, cancel=ended.set) as sink,
        Ahead(source(), room=1) as elements,
    ):
        for element in elements:
            sink.put(element)
    assert ended.is_set()
    assert stages() == []


@pytest.mark.parametrize("after", [0, 3, 10])
def test_the_writers_error_is_raised_where_elements_are_put(after: int) -> None:
    """Or, for the last element, when the block ends; the reader is stopped in either case."""

    def sink(number: int) -> None:
        if number == after:
            raise OSError("the disk is full")

    with (
        pytest.raises(OSError, match="full"),
        Ahead(iter(range(11)), room=2) as source,
        Behind(sink, room=2) as out,
    ):
        for number in source:
            out.put(number)
    assert stages() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_stages_that_wait_for_something_are_cancelled(error: type[BaseException]) -> None:
    """A reader and a writer that hang in a pipe are freed by their `cancel`, before the error goes on."""
    reading, writing = threading.Event(), threading.Event()

    def hanging() -> Iterator[int]:
        yield 1
        assert reading.wait(10)

    def sink(number: int) -> None:
        assert writing.wait(10)

    with (
        pytest.raises(error),
        Ahead(hanging(), room=1, cancel=reading.set) as source,
        Behind(sink, room=1, cancel=writing.set) as out,
    ):
        out.put(next(source))
        raise error
    assert stages() == []


@pytest.mark.usefixtures("hears_ctrl_c")
def test_a_ctrl_c_is_heard_while_the_last_elements_are_written() -> None:
    """The block does not wait for a writer that hangs."""
    writing = threading.Event()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), Behind(lambda number: writing.wait(), room=1, cancel=writing.set) as out:
        out.put(1)
        timer.start()
    assert stages() == []
