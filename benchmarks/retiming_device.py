"""How many frames a second the torch engine makes on a device, without a disk. `retiming.py --device cuda` runs it.

Needs torch, numpy and OpenCV, and nothing else that Dailies depends on. The frames are noise that drifts, in memory;
each pair is asked for the phases that 16 -> 60 frames a second has there, as retiming does, so encodings are reused and
phases of a pair form a batch. Time ends when the last frame has arrived in the processor's memory. What is counted are
made frames: originals, which pass, would only raise the figure. Without weights the networks have random ones: the work
is the same.
"""

from __future__ import annotations

import json
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from report import table, write  # noqa: E402

from models.ifnet import ARCHITECTURES  # noqa: E402
from models.interface import Frame  # noqa: E402

WANTED = 400
"""Made frames a second at 1280x720 on an H100-class device."""
PRECISIONS = ("float16", "bfloat16")
PAIRS = 60
"""Pairs of neighbours in a run: 210 frames are made."""
RUNS = 5
STEP = Fraction(16, 60)


def write_random(file: Path, architecture: str, *, seed: int = 1) -> Path:
    """A .safetensors of random weights that keep values in bounds: flow of a few pixels, a mask that varies."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in ARCHITECTURES[architecture].shapes().items():
        taps = shape[0] if "lastconv" in name or name.startswith("encode.cnn3") else int(np.prod(shape[1:]))
        spread = np.sqrt(2 / max(1, taps))
        if name.endswith(".beta"):
            values = random.uniform(0.2, 0.4, shape)
        elif name.endswith(".bias"):
            values = random.normal(0, 0.05, shape)
        else:
            values = random.normal(0, spread * (0.05 if "lastconv" in name else 1.0), shape)
        tensors[name] = values.astype("<f4")
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in tensors.items():
        offsets = [at, at + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        at += tensor.nbytes
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join(tensor.tobytes() for tensor in tensors.values())
    file.write_bytes(struct.pack("<Q", len(words)) + words + content)
    return file


def drifting(width: int, height: int, count: int) -> list[Frame]:
    """Smooth noise that moves by three pixels a frame."""
    random = np.random.default_rng(3)
    coarse = random.random((height // 16, (width + 3 * count) // 16 + 1, 3), dtype=np.float32)
    wide = np.asarray(cv2.resize(coarse, (width + 3 * count, height), interpolation=cv2.INTER_CUBIC))
    levels = (np.clip(wide, 0, 1) * 65535).astype(np.uint16)
    return [np.ascontiguousarray(levels[:, 3 * at : 3 * at + width]) for at in range(count)]


def phases(pairs: int) -> Iterator[list[Fraction]]:
    """Those of each pair at 16 -> 60."""
    for pair in range(pairs):
        first = -(-pair // STEP)
        positions = (k * STEP - pair for k in range(int(first), int(first) + 5))
        yield [position for position in positions if 0 < position < 1]


def measure_device(device: str, width: int, height: int, *, weights: Path | None = None) -> None:
    """Measure, print, keep. `weights` as for retiming.py: files rife-4*/flownet.safetensors in it are used."""
    import torch

    from models.rife_torch import RifeTorch

    named = torch.cuda.get_device_name(device)
    frames = drifting(width, height, PAIRS + 1)
    asked = list(phases(PAIRS))
    made = sum(map(len, asked))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(weights.glob("rife-4*/flownet.safetensors")) if weights else []
        files = files or [
            write_random(Path(folder) / f"rife-{version}" / "flownet.safetensors", version) for version in ARCHITECTURES
        ]
        for file in files:
            for precision in PRECISIONS:
                rife = RifeTorch(file, device=_numbered(device), precision=precision)

                def once(rife: RifeTorch = rife) -> float:
                    started = time.perf_counter()
                    count = 0
                    for at, wanted in enumerate(asked):
                        for _ in rife.between(frames[at], frames[at + 1], wanted):
                            count += 1
                    assert count == made
                    return made / (time.perf_counter() - started)

                once()  # kernels are chosen and compiled, buffers pinned
                torch.cuda.reset_peak_memory_stats()
                speeds = sorted(once() for _ in range(RUNS))
                rows.append(
                    {
                        "network": file.parent.name,
                        "weights": "random" if not weights else "given",
                        "precision": precision,
                        "frames/s": round(statistics.median(speeds)),
                        "least": round(speeds[0]),
                        "most": round(speeds[-1]),
                        "wanted": WANTED if (width, height) == (1280, 720) else "",
                        "device MB": round(torch.cuda.max_memory_allocated() / 2**20),
                    }
                )
                print(rows[-1], flush=True)
                del rife, once
                torch.cuda.empty_cache()
    print(f"\n{named}, torch {torch.__version__}, {width}x{height}, {made} frames of {PAIRS} pairs, {RUNS} runs")
    print(table(rows))
    described = {"device": named, "torch": torch.__version__, "width": width, "height": height, "made": made}
    write("retiming_device", {**described, "runs": RUNS, "networks": rows})


def _numbered(device: str) -> str:
    return device if ":" in device else f"{device}:0"
