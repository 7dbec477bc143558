"""Whether what failed may work at another time: what decides between another attempt and a failed shot.

Knows: which errors pass by themselves (a full disk, a lost server, a program that somebody killed). Does not know: how
often anything is tried. Memory: none.

Marks are believed first (`StepError.transient`), then the kind of the error, then what caused it. Sentences are never
read: they are for people.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from typing import Final

import av

from catalogs.errors import CatalogueUnavailableError
from models.interface import DeviceLost
from tasks.errors import FfmpegError, MachineNotReadyError, StepError
from tasks.sharing import ProcessDied

PASSING: Final = frozenset(
    {
        # disks that fill up and are emptied, storage that comes and goes
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.ESTALE,
        errno.ETXTBSY,
        errno.EBUSY,
        # networks
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.EPIPE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        # a machine with too much to do
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EINTR,
    }
)
"""System errors that say nothing against the shot."""

_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETIMEDOUT})
"""Those of PASSING that ffmpeg reports of storage alone; it says EIO and ENOMEM of damaged files too."""

_ASKED_TO_LEAVE: Final = 255  # what ffmpeg exits with after a signal that it caught

_OWN_CRASH: Final = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})
"""Signals that a program brings on itself: the same input will do it again."""


def is_transient(error: BaseException) -> bool:
    """Whether the same may work at another time. What is not known to pass by itself is taken to stay."""
    for found in _chain(error):
        if isinstance(found, StepError) and found.transient is not None:
            return found.transient
        if isinstance(found, MachineNotReadyError):
            return found.transient
        if isinstance(found, FfmpegError) and found.code is not None:
            return _passing_exit(found.code)
        if isinstance(found, CatalogueUnavailableError | ConnectionError | TimeoutError | DeviceLost | ProcessDied):
            return True
        if isinstance(found, av.FFmpegError):
            return False  # some of them are OSErrors, but they speak of what a file holds
        if isinstance(found, OSError):
            return found.errno in PASSING
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, what caused that."""
    met: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in met:
        met.add(id(found))
        yield found
        found = found.__cause__


def _passing_exit(code: int) -> bool:
    """Of a program's end: its exit code, or minus the signal that killed it."""
    if code < 0:
        return -code not in _OWN_CRASH
    if code == _ASKED_TO_LEAVE:
        return True
    return 256 - code in _WRITING  # ffmpeg exits with minus the system's error, of which one byte remains
