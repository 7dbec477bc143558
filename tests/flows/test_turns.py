"""Turns: the batch's order is kept on every stage."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from flows.turns import Line, Turns, lines


def test_numbers_pass_in_order_whoever_comes_first() -> None:
    """Threads that arrive backwards pass forwards, one at a time."""
    line, passed, inside = Line(), [], 0

    def go(number: int) -> None:
        nonlocal inside
        time.sleep(0.01 * (5 - number))
        with line.turn(number):
            inside += 1
            assert inside == 1
            passed.append(number)
            inside -= 1

    threads = [threading.Thread(target=go, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert passed == [0, 1, 2, 3, 4]


def test_one_that_gives_up_holds_nobody_up() -> None:
    """A shot that fails before its turn, or never takes it, lets the next one through."""
    stages = lines(("generate", "finish"))
    Turns(stages, 0).give_up()
    second = Turns(stages, 1)
    for stage in stages:
        with second(stage):
            pass
    second.give_up()
    with Turns(stages, 2)("finish"):
        pass


@given(order=st.permutations(range(6)))
def test_leaving_in_any_order_frees_everybody(order: list[int]) -> None:
    """However the turns end, the line ends behind the last."""
    line = Line()
    for number in order:
        line.leave(number)
    with line.turn(6):
        pass
