"""A reel of five shots on one model: what each costs before its first step, and how often anything is loaded.

A tiny Wan2.1 image-to-video model on the CPU, through the same preparation, planning and engine as `dailies render`.
The overhead of a shot is the time from its preparation to its first denoising step: weights found and their hashes
recalled, the plan, plate and prompts, the plate's latents. Prints a table and writes results/reel.json.
"""

from __future__ import annotations

import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from report import table, write  # noqa: E402
from tiny_house import install  # noqa: E402

SHOTS: Final = 5
LIMIT: Final = 0.050
"""Seconds that a shot after the first may take before its first step."""


class Counted:
    """A function of models.wan, and how often it was called."""

    def __init__(self, name: str) -> None:
        import models.wan

        self.calls = 0
        self._made = getattr(models.wan, name)
        setattr(models.wan, name, self)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        return self._made(*given, **named)


def shots(folder: Path) -> list[Any]:
    """Five shots with plates and prompts of their own."""
    from catalogs.shot import Plate, Shot
    from tasks.keep import sha256_of

    made = []
    for number in range(SHOTS):
        path = folder / f"{number}.png"
        picture = np.random.default_rng(number).integers(0, 256, (90, 160, 3), dtype=np.uint8)
        Image.fromarray(picture).resize((640, 360)).save(path)
        plate = Plate(str(path), sha256_of(path), 640, 360)
        words = ["the sea", "dawn", "a slow move", "grey noise", "red"][number]
        size = {"width": 64, "height": 32}
        made.append(
            Shot("AGM", f"SH00{number}0", 9, plate=plate, prompt=words, rate=Fraction(16), model="tiny", **size)
        )
    return made


def main() -> None:
    """Render the reel and report."""
    import torch

    from flows.reel import expect_prompts
    from flows.settings import Settings, bundled_ffmpeg
    from models.interface import InterpolatorSpec
    from tasks.generate import generate_window
    from tasks.prepare import prepare
    from tasks.progress import Progress, listening

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder / "weights", "wan2.1-i2v", "wan2.1-i2v-14b-720p", steps="4")
        settings = Settings.read({"DAILIES_HOME": str(folder)})
        loads, encoders = Counted("load_pipeline"), Counted("load_text_encoder")
        reel = shots(folder)
        texts = expect_prompts(reel, settings, profile="exact")
        rows = []
        for shot in reel:
            began: dict[str, float] = {}

            def heard(update: Progress, began: dict[str, float] = began) -> None:
                began.setdefault("step" if ", step 0 of" in update.detail else "later", time.perf_counter())

            started = time.perf_counter()
            with listening(heard):
                ready = prepare(shot, engine="", weights=settings.weights)
                plan = ready.plan(InterpolatorSpec("none", "", "", ""), version=1)
                target = folder / f"{shot.code}.mkv"
                generate_window(
                    plan, plan.windows[0], target, before=None, weights=settings.weights, ffmpeg=bundled_ffmpeg()
                )
            rows.append(
                {
                    "shot": shot.code,
                    "before its first step, ms": round((began["step"] - started) * 1000, 1),
                    "window, ms": round((time.perf_counter() - started) * 1000, 1),
                }
            )
    overhead = max(row["before its first step, ms"] for row in rows[1:])
    print(table(rows))
    print(f"model loaded {loads.calls} x, text encoder {encoders.calls} x for {texts} texts")
    print(f"worst overhead after the first shot: {overhead:.1f} ms (limit {LIMIT * 1000:.0f} ms)")
    write(
        "reel",
        {
            "shots": rows,
            "model_loads": loads.calls,
            "text_encoder_loads": encoders.calls,
            "texts": texts,
            "worst_overhead_ms": overhead,
            "limit_ms": LIMIT * 1000,
        },
    )


if __name__ == "__main__":
    main()
