"""Lanes: every frame, in order, by another thread, within bounds; errors come back."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from models.interface import Frame
from tasks.lanes import lane


def numbered(value: int) -> Frame:
    """A frame that shows its number."""
    return np.full((1, 1, 3), value, np.uint16)


def test_every_frame_is_consumed_in_order_by_another_thread() -> None:
    """Leaving the block waits for the last one."""
    seen: list[int] = []
    threads: set[int] = set()

    def consume(frame: Frame) -> None:
        time.sleep(0.001)
        threads.add(threading.get_ident())
        seen.append(int(frame[0, 0, 0]))

    with lane(consume) as put:
        for value in range(50):
            put(numbered(value))
    assert seen == list(range(50))
    assert threads.isdisjoint({threading.get_ident()})


def test_no_more_than_the_depth_waits() -> None:
    """Whoever hands frames over waits for a lane that is behind."""
    behind, consumed = threading.Event(), []

    def consume(frame: Frame) -> None:
        behind.wait(5)
        consumed.append(frame)

    handed = 0
    with lane(consume, depth=2) as put:

        def hand_over() -> None:
            nonlocal handed
            for value in range(10):
                put(numbered(value))
                handed += 1

        other = threading.Thread(target=hand_over)
        other.start()
        other.join(0.3)
        assert handed == 3  # one at work, two waiting
        behind.set()
        other.join(5)
    assert len(consumed) == 10


@pytest.mark.parametrize("frames", [1, 20], ids=["at the end", "at the next frame"])
def test_what_a_lane_raises_is_raised(frames: int) -> None:
    """An error in the lane ends the block that feeds it, and hangs nobody."""

    def consume(frame: Frame) -> None:
        raise OSError(f"disk full at {frame[0, 0, 0]}")

    with pytest.raises(OSError, match="disk full at 0"), lane(consume, depth=1) as put:
        for value in range(frames):
            put(numbered(value))
            time.sleep(0.01)


def test_a_block_that_fails_drops_what_waits() -> None:
    """Nothing more is consumed once the block has failed, and its own error is the one that is seen."""
    seen: list[int] = []

    def consume(frame: Frame) -> None:
        time.sleep(0.05)
        seen.append(int(frame[0, 0, 0]))

    with pytest.raises(KeyError), lane(consume, depth=8) as put:
        for value in range(8):
            put(numbered(value))
        raise KeyError
    assert len(seen) <= 2


def test_a_lane_that_would_wait_for_ever_is_ended() -> None:
    """Ctrl-C while what a lane feeds has stalled: `abort` ends it, and the block is left at once."""
    gone = threading.Event()

    def stalled(frame: Frame) -> None:
        gone.wait(60)
        raise BrokenPipeError

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), lane(stalled, depth=1, abort=gone.set) as put:
        put(numbered(0))
        put(numbered(1))
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10
