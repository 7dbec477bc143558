"""What can go wrong in a step, as one small tree.

    StepError                 a step of one shot failed; the others go on
    |-- PlanError             the shot cannot be rendered as asked
    |-- MediaError            a file is missing, broken or not what its record says
    |-- FfmpegError           ffmpeg ended with an error or was killed
    `-- BusyError             another process is rendering this shot
    MachineNotReadyError      this machine lacks something that every shot needs

Every message is a sentence for an operator: what, which value, the limit, the remedy.
"""

from __future__ import annotations


class StepError(Exception):
    """A step of one shot failed; the message names the value, the limit and the remedy."""

    transient: bool | None = None
    """Whether the same may work at another time; None: whatever caused it says (tasks.transient)."""

    def __init__(self, message: str = "", *, transient: bool | None = None) -> None:
        super().__init__(message)
        if transient is not None:
            self.transient = transient


class PlanError(StepError):
    """The shot cannot be rendered as asked."""


class MediaError(StepError):
    """A file is missing, broken, or not what its record says."""


class FfmpegError(StepError):
    """ffmpeg ended with an error or was killed; the message holds its last words."""

    def __init__(self, message: str = "", *, code: int | None = None, transient: bool | None = None) -> None:
        super().__init__(message, transient=transient)
        self.code = code
        """How it ended: its exit code, minus the signal's number if it was killed, None if it never ran to an end."""


class BusyError(StepError):
    """Another process is rendering this shot."""

    transient = True


class MachineNotReadyError(Exception):
    """This machine lacks something that every shot needs; the message names it and the remedy."""

    def __init__(self, message: str = "", *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        """Whether the same machine may have it at another time: a driver that comes back, a session that ends."""
