"""Nights that are called for from outside, and whose windows take as long as a test says. Helpers, no tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from rendering import ROOT, House

PACE = '''
"""Lets every window take as long as the file `pace` in the home says, in slices in which it can be stopped."""
import os, sys, time
from importlib.machinery import PathFinder

class Slow(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target) if name == "tasks.generate" else None
        if found is not None:
            run = found.loader.exec_module
            def loaded(module):
                run(module)
                write = module.write_window
                def slowly(plan, window, *words, **named):
                    try:
                        pace = float(open(os.path.join(os.environ["DAILIES_HOME"], "pace")).read())
                    except OSError:
                        pace = 0.0
                    until = time.monotonic() + pace
                    while time.monotonic() < until:
                        if module.STOPPING.event.is_set():
                            raise module.WindowStopped("stopped on request; render again to go on")
                        time.sleep(0.02)
                    return write(plan, window, *words, **named)
                module.write_window = slowly
            found.loader.exec_module = loaded
        return found

sys.meta_path.insert(0, Slow)
'''


def until(done: Callable[[], Any], seconds: float = 180, alive: subprocess.Popen[Any] | None = None) -> Any:
    """What `done` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        assert alive is None or alive.poll() is None, "it ended"
        time.sleep(0.1)
    return found


def begun(house: House, *words: str) -> subprocess.Popen[str]:
    """`dailies night` on its way."""
    return subprocess.Popen(
        [sys.executable, "-m", "desk.cli", "night", "--json", *words],
        cwd=ROOT,
        env=dict(house.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # whoever runs the tests in the background ignores Ctrl-C, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(run: subprocess.Popen[str], code: int = 0, seconds: float = 300) -> dict[str, Any]:
    """The report of a night."""
    said, errors = run.communicate(timeout=seconds)
    assert run.returncode == code, errors + said
    report: dict[str, Any] = json.loads(said)
    return report


def pace(house: House, seconds: float) -> None:
    """How long every window takes from now on."""
    (house.home / "pace").write_text(str(seconds))
