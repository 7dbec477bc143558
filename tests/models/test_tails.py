"""Claims about what is refused where windows carry latents: models, schedulers, and files that cannot be trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_chains import FRAMES, after, first_of, tail
from tiny_engines import tiny_engine

from models.interface import ClipRequest, EngineError, Frame
from models.tails import leave_tail, read_tail


def test_another_scheduler_is_refused(request_: ClipRequest, tmp_path: Path) -> None:
    """Where noise is not mixed in linearly, nothing is pinned by a formula that is not its own."""
    import diffusers

    engine = tiny_engine("wan2.1-i2v")
    request = first_of("wan2.1-i2v", request_, tmp_path)
    context = list(engine.generate(request, []))[-5:]
    engine._pipe.scheduler = diffusers.UniPCMultistepScheduler()
    with pytest.raises(EngineError, match=r"flow matching.*UniPCMultistepScheduler.*use UniPC with flow sigmas"):
        list(engine.generate(after(request, tmp_path, carries=1), context))
    assert len(list(engine.generate(replace(request, seed=3), context))) == FRAMES


@pytest.mark.parametrize(
    ("name", "change", "count", "message"),
    [
        ("cogvideox-i2v", {"carries": 1}, 5, r"cannot be given the context 'latents-1'; use one of: frame$"),
        ("cogvideox-i2v", {"frames": 9, "leaves": Path("x")}, 0, r"no latents that a window could leave"),
        ("wan2.1-i2v", {"carries": 3}, 13, r"'latents-3'; use one of: frame, .*latents-1, latents-2, latents-4"),
        ("wan2.1-i2v", {"carries": 1}, 4, r"latents-1 continues 5 frames .* 4 frames came with them"),
        ("wan2.1-i2v", {"carries": 1, "carried": None}, 5, r"latents-1 continues 5 frames .* no file of latents"),
        ("wan2.1-i2v", {"carries": 2, "frames": 9}, 9, r"leaves nothing of a window of 9"),
        ("wan2.1-t2v", {}, 1, r"continues at most 0 frames.*1 were given"),
    ],
)
def test_what_a_model_cannot_take_is_refused_at_once(
    name: str, change: dict[str, Any], count: int, message: str, request_: ClipRequest, tmp_path: Path
) -> None:
    """Before anything is loaded, with what it does take."""
    engine = tiny_engine(name, check=lambda _: pytest.fail("a file was opened"))
    context: list[Frame] = [np.zeros((32, 64, 3), np.uint16)] * count
    asked = replace(first_of(name, request_, tmp_path), leaves=None, carried=tmp_path / "tail-0")
    with pytest.raises(EngineError, match=message):
        engine.generate(replace(asked, **change), context)


def broken(path: Path, how: str) -> None:
    """Spoil a tail in one way."""
    import torch
    from safetensors.torch import save_file

    whole, latents = path.read_bytes(), tail(path)
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(whole[:-100])
    elif how == "flipped":
        path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
    elif how == "foreign":
        save_file({"latents": latents}, path)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        made = {
            "wide": lambda: torch.cat([latents, latents], dim=4),
            "other model": lambda: torch.cat([latents] * 3, dim=1),
            "short": lambda: latents[:, :, :1],
            "not finite": lambda: latents / 0,
        }[how]()
        leave_tail(path, made)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "is missing"),
        ("cut", "cannot be read"),
        ("flipped", "is damaged"),
        ("foreign", "is no tail of latents"),
        ("folder", "cannot be read"),
        ("wide", r"shape \(1, 16, 4, 4, 16\), not of 1x16x...x4x8"),
        ("other model", r"shape \(1, 48, 4, 4, 8\), not of 1x16x...x4x8"),
        ("short", r"holds 1 latents; 2 are to be carried"),
        ("not finite", "not finite"),
    ],
)
def test_a_broken_tail_is_refused(how: str, message: str, request_: ClipRequest, tmp_path: Path) -> None:
    """With the file, what is wrong with it and the remedy, before anything is loaded."""
    request = first_of("wan2.1-i2v", request_, tmp_path)
    assert request.leaves is not None
    import torch

    leave_tail(request.leaves, torch.ones(1, 16, 4, 4, 8))
    assert read_tail(request.leaves, (16, 4, 8), least=2).shape == (1, 16, 4, 4, 8)
    broken(request.leaves, how)
    engine = tiny_engine("wan2.1-i2v", check=lambda _: pytest.fail("a file was opened"))
    context: list[Frame] = [np.zeros((32, 64, 3), np.uint16)] * 9
    with pytest.raises(EngineError, match=rf"tail-0, which the window before left, .*{message}.*; remove it and that"):
        engine.generate(after(request, tmp_path, carries=2), context)


def test_a_tail_is_whole_or_not_there(request_: ClipRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills while it is written leaves the one before as it was, and no half of another beside it."""
    engine = tiny_engine("wan2.1-i2v")
    request = first_of("wan2.1-i2v", request_, tmp_path)
    list(engine.generate(request, []))
    assert request.leaves is not None
    before = request.leaves.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.windows_state.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        list(engine.generate(replace(request, seed=5), []))
    assert request.leaves.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["tail-0"]
