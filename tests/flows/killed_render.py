"""Render, and die by SIGKILL at a named moment: `killed_render.py STEP NTH`. A program for test_kills.py.

The moment is the NTH announcement of a step's progress, or for `publish` and `published` the instant before and after
the rename that publishes.
"""

from __future__ import annotations

import os
import signal
import sys


def die(*_: object) -> None:
    """As the kernel's out-of-memory killer would do it."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the batch until the moment comes."""
    step, nth = sys.argv[1], int(sys.argv[2])
    from flows.render import run_batch
    from tasks import publish
    from tasks.progress import Progress, listening

    heard = 0

    def listen(progress: Progress) -> None:
        nonlocal heard
        heard += progress.step == step
        if heard == nth:
            die()

    rename = os.rename

    def renamed(source: object, target: object) -> None:
        if step == "publish":
            die()
        rename(source, target)  # type: ignore[arg-type]
        if step == "published":
            die()

    publish.os.rename = renamed  # type: ignore[assignment]
    with listening(listen):
        run_batch()
    sys.exit("the moment never came")


if __name__ == "__main__":
    main()
