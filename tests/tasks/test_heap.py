"""Memory that goes back to the system, on the C library that keeps it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.heap import giving_back

HELD = """
import sys
from tasks.heap import giving_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

def blocks():
    held = [b"x" * 100_000 for _ in range(2000)]  # below the size from which on the C library maps each alone
    last = b"x" * 100_000  # keeps the heap's end, so that it cannot shrink by itself
    for index in range(4):
        yield last
        held.clear()

taken = giving_back(blocks(), every=int(sys.argv[1]))
full = [next(taken), resident()][1]
for _ in taken:
    pass
print(full - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc: nothing is kept")
def test_what_was_freed_is_given_back() -> None:
    """200 MB of small blocks: gone with it; without, most of them stay."""
    root = Path(__file__).resolve().parents[2]
    gone = [
        float(subprocess.run([sys.executable, "-c", HELD, every], cwd=root, capture_output=True, check=True).stdout)
        for every in ("2", "9")
    ]
    assert gone[0] > 150
    assert gone[1] < gone[0] / 2


def test_elements_pass_as_they_are() -> None:
    """In order, none lost, whatever the rhythm."""
    assert list(giving_back(range(7), every=3)) == list(range(7))
