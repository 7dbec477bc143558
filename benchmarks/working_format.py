"""Which lossless format for scratch clips and masters: frames/s to write and read, bytes, for a textured 640x360 clip.

Run it with `python benchmarks/working_format.py`; it prints a table and writes results/working_format.json.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
from report import table, write

WIDTH, HEIGHT, FRAMES = 640, 360, 60
FORMATS = {
    "ffv1 16 bit": ("gbrp16le", 16, ["-c:v", "ffv1", "-level", "3", "-coder", "1", "-g", "1", "-slices", "4"]),
    "ffv1 12 bit": ("gbrp12le", 12, ["-c:v", "ffv1", "-level", "3", "-coder", "1", "-g", "1", "-slices", "4"]),
    "ffv1 10 bit": ("gbrp10le", 10, ["-c:v", "ffv1", "-level", "3", "-coder", "1", "-g", "1", "-slices", "4"]),
    "ffvhuff 12 bit": ("gbrp12le", 12, ["-c:v", "ffvhuff"]),
    "raw 12 bit": ("gbrp12le", 12, ["-c:v", "rawvideo"]),
}


def _planes() -> list[np.ndarray[Any, np.dtype[np.uint16]]]:
    """A texture that moves by (2, 1) pixels a frame, with the grain of a photograph; 16 bits, G B R planes."""
    random = np.random.default_rng(0)
    base = cv2.GaussianBlur(random.random((720, 1280, 3), dtype=np.float32), (0, 0), 1.2)
    base = (base - base.min()) / (base.max() - base.min()) * 65535
    spans = (base[100 + i : 100 + i + HEIGHT, 100 + 2 * i : 100 + 2 * i + WIDTH] for i in range(FRAMES))
    return [np.ascontiguousarray(span.transpose(2, 0, 1)).astype(np.uint16) for span in spans]


def _measure(pix_fmt: str, bits: int, codec: list[str]) -> dict[str, Any]:
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    raw = b"".join((frame >> (16 - bits)).tobytes() for frame in _planes())
    size = ["-f", "rawvideo", "-pix_fmt", pix_fmt]
    started = time.perf_counter()
    made = subprocess.run(
        [
            ffmpeg,
            "-v",
            "error",
            *size,
            "-s",
            f"{WIDTH}x{HEIGHT}",
            "-i",
            "-",
            *codec,
            "-pix_fmt",
            pix_fmt,
            "-f",
            "nut",
            "-",
        ],
        input=raw,
        capture_output=True,
        check=True,
    ).stdout
    written = time.perf_counter() - started
    started = time.perf_counter()
    back = subprocess.run(
        [ffmpeg, "-v", "error", "-f", "nut", "-i", "-", *size, "-"], input=made, capture_output=True, check=True
    ).stdout
    read = time.perf_counter() - started
    return {
        "write_fps": round(FRAMES / written, 1),
        "read_fps": round(FRAMES / read, 1),
        "kB_per_frame": round(len(made) / FRAMES / 1e3),
        "lossless": back == raw,
    }


def main() -> None:
    """Measure every format in one run."""
    rows = [{"format": name, **_measure(*parts)} for name, parts in FORMATS.items()]
    print(table(rows))
    write("working_format", {"size": [WIDTH, HEIGHT], "frames": FRAMES, "rows": rows})


if __name__ == "__main__":
    main()
