"""What the Pythons of a house under test load before anything else: as `sitecustomize`, by PYTHONPATH. No benchmark.

Writes a line for every window that is begun, thrown away, kept, and for every version that is published; makes windows
last long enough to be hit; kills its own process at the poison plate. The product has no hook for any of it: what is
wrapped is wrapped when it is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

LOG, PAUSE = "CHAOS_LOG", "CHAOS_PAUSE"
POISON = "poison.png"


def note(word: str, shot: str, key: str) -> None:
    """One line, in one write: lines of several processes do not mix."""
    handle = os.open(os.environ[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, f"{word} {shot} {key} {os.getpid()} {time.monotonic():.3f}\n".encode())
    finally:
        os.close(handle)


def _slowly(write_window: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(plan: Any, window: Any, *rest: Any, **named: Any) -> Any:
        shot = plan.shot.code
        note("start", shot, window.key)
        if plan.shot.plate is not None and Path(plan.shot.plate.path).name == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ[PAUSE]))
        try:
            return write_window(plan, window, *rest, **named)
        except BaseException as error:
            note(f"fail:{type(error).__name__}", shot, window.key)
            raise

    return wrapped


def _noted_keep(keep: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(made: Path, path: Path, *, key: str, **named: Any) -> Any:
        kept = keep(made, path, key=key, **named)
        if path.parent.name == "windows":
            note("kept", path.parents[2].name, key)
        return kept

    return wrapped


def _noted_publish(publish: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(plan: Any, *rest: Any, **named: Any) -> Any:
        done = publish(plan, *rest, **named)
        note("published", plan.shot.code, plan.key)
        return done

    return wrapped


WRAPPED: dict[str, dict[str, Callable[[Any], Any]]] = {
    "tasks.generate": {"write_window": _slowly},
    "tasks.rolls": {"keep": _noted_keep},
    "tasks.steps": {"publish": _noted_publish},
}


class Finder:
    """Finds the modules above where they are, and wraps what stands there once they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As importlib asks."""
        spec = PathFinder.find_spec(name, path, target) if name in WRAPPED else None
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            for attribute, wrap in WRAPPED[name].items():
                setattr(module, attribute, wrap(getattr(module, attribute)))

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if LOG in os.environ:
    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
