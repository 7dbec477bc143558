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


class PlanError(StepError):
    """The shot cannot be rendered as asked."""


class MediaError(StepError):
    """A file is missing, broken, or not what its record says."""


class FfmpegError(StepError):
    """ffmpeg ended with an error or was killed; the message holds its last words."""


class BusyError(StepError):
    """Another process is rendering this shot."""


class MachineNotReadyError(Exception):
    """This machine lacks something that every shot needs; the message names it and the remedy."""
