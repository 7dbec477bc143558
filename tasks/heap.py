"""Memory that was freed goes back to the system. Knows: the C library's heap. Does not know: who freed it.

glibc keeps what threads free for their next wishes, each thread in an arena of its own. Where frames are made in one
thread and let go in another, the arenas together hold more than was ever in use at once, and what a long clip holds
depends on how its threads happened to meet (benchmarks/retiming_memory.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")

EVERY: Final = 32
"""Elements between two times: each costs a millisecond or so, and what was given back is cleared by the system when it
is taken again."""


def giving_back(elements: Iterable[T], *, every: int = EVERY) -> Iterator[T]:
    """The same elements; after each `every`-th the heap gives back what it does not use."""
    for index, element in enumerate(elements, start=1):
        yield element
        if index % every == 0:
            give_back()


def give_back() -> bool:
    """Once, now, in all arenas. True if there was something; False also where the C library has no such call."""
    return bool(_trim()(0))


@cache
def _trim() -> Callable[[int], int]:
    """glibc's malloc_trim (see its manual page), or what does nothing where there is none (musl, macOS, Windows)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # TypeError: on Windows None names no library
        return lambda pad: 0
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    found: Callable[[int], int] = trim
    return found
