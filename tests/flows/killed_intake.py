"""Take in what lies in the inbox, and die by SIGKILL at every moment in turn. A program for test_intake.py.

`killed_intake.py HOME PLATES` copies the home for each moment: in the first copy a process dies at the first of the
moments below, in the second at the second, until one comes to its end. In each copy another process then looks at
what the first one left. Prints how many died; the copies are called HOME-0, HOME-1 ...
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from catalogs import store
from flows import inbox, intake
from flows.settings import Settings


def main() -> None:
    """Kill one process after the other."""
    home, plates = sys.argv[1:]
    number = 0
    while True:
        copy = shutil.copytree(home, f"{home}-{number}")
        settings = Settings.read({"DAILIES_HOME": copy, "DAILIES_PLATES": plates})
        died = _ran(settings, number)
        _ran(settings, -1)
        if not died:
            print(number)
            return
        number += 1


def _ran(settings: Settings, last: int) -> bool:
    """Whether a process of its own died at that moment; it must have come to its end otherwise."""
    child = os.fork()
    if not child:
        try:
            _one(settings, last)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"failed at moment {last}")
    return os.WIFSIGNALED(status)


def _one(settings: Settings, last: int) -> None:
    """A look that dies just before step number `last`, counted from 0."""
    passed = 0

    def moment(made: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            nonlocal passed
            if passed == last:
                os.kill(os.getpid(), signal.SIGKILL)
            passed += 1
            return made(*given, **named)

        return counted

    os.rename, os.replace, shutil.rmtree = moment(os.rename), moment(os.replace), moment(shutil.rmtree)
    inbox._write = moment(inbox._write)
    opened = store.connect

    def connect(url: str) -> Any:
        engine = opened(url)
        event.listen(engine, "commit", moment(_nothing))
        return engine

    store.connect = connect
    folder = settings.home / "inbox"
    with inbox.sole_look(folder) as alone:
        assert alone
        for one in inbox.held(folder):
            inbox.settle(one, settings)
        intake.look(folder, settings, quiet=0)
    os._exit(0)


def _nothing(connection: Connection) -> None:
    del connection


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
