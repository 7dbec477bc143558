"""Windows of one shot that carry latents, of the tiny models, and what can be seen of them. Helpers, no tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from models.interface import ClipRequest

FRAMES: Final = 13
"""Of a window: four latents."""


def first_of(name: str, request: ClipRequest, folder: Path) -> ClipRequest:
    """The window as that model can make it, leaving its tail."""
    plate = None if "t2v" in name else request.plate
    return replace(request, plate=plate, leaves=folder / "tail-0")


def after(request: ClipRequest, folder: Path, *, carries: int, index: int = 1) -> ClipRequest:
    """The next window of the same shot."""
    return replace(
        request,
        seed=request.seed + index,
        carries=carries,
        carried=folder / f"tail-{index - 1}",
        leaves=folder / f"tail-{index}",
    )


def tail(path: Path | None) -> Any:
    """All latents that a file holds."""
    from safetensors.torch import load_file

    assert path is not None
    return load_file(path)["latents"]


def listened(engine: Any, make: Callable[[], Any]) -> list[dict[str, Any]]:
    """What enters the engine's transformers while `make` runs, call by call."""
    engine.load()
    seen: list[dict[str, Any]] = []

    def note(module: Any, given: Any, named: dict[str, Any]) -> None:
        del module, given
        seen.append({key: value.clone() for key, value in named.items() if hasattr(value, "clone")})

    parts = [engine._pipe.transformer, getattr(engine._pipe, "transformer_2", None)]
    hooks = [part.register_forward_pre_hook(note, with_kwargs=True) for part in parts if part is not None]
    try:
        make()
    finally:
        for hook in hooks:
            hook.remove()
    return seen
