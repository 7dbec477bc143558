"""Colour through the whole encode: 24 patches and a ramp, from float values to decoded files and back.

    python benchmarks/colour.py

The chart is written as a master (FFV1, 12-bit RGB), encoded to every kind of deliverable, decoded with PyAV to the
codec's own samples, and turned into R'G'B' here, in float64, with BT.709's matrix and limited range, as the files say:
no library converts colour on the way back. Chroma is taken from the nearest sample; the measured areas are flat, so
siting plays no part.

A patch's error is that of its mean, as a colorimeter sees it; `worst pixel` is the largest error of any pixel in it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from catalogs.footage import Master
from catalogs.shot import DELIVERY_OPTIONS, Delivery
from tasks.encode import encode_master
from tasks.ffmpeg import master_argv
from tasks.frames import FrameWriter
from tasks.naming import file_name
from tasks.plan import PlannedDelivery

# the classic chart of 24 (sRGB, 8 bits)
PATCHES = (
    (115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170),
    (214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46),
    (56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161),
    (243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52),
)  # fmt: skip
SIDE = 48  # pixels of a patch
INSET = 8  # pixels at its edges that are not measured: neighbours share chroma samples there
RAMP = 1024  # columns, one 10-bit step each
FRAMES = 6
KINDS = (*DELIVERY_OPTIONS, "h265:master", "prores:proxy", "prores:4444", "webm:av1")

Picture = NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """What one kind of deliverable did to the chart. Errors are in 1/255."""

    patch_error: float
    worst_pixel: float
    ramp_error: float
    ramp_levels: int
    """Distinct luma codes along the ramp, each the median of a column."""


def chart() -> Picture:
    """(192, 288, 3) values 0 to 1."""
    rows = [np.concatenate([np.full((SIDE, SIDE, 3), p) for p in PATCHES[i : i + 6]], axis=1) for i in range(0, 24, 6)]
    return np.concatenate(rows, axis=0) / 255


def ramp() -> Picture:
    """(64, 1024, 3) grey, 0 to 1 from left to right."""
    return np.broadcast_to(np.linspace(0, 1, RAMP)[None, :, None], (64, RAMP, 3))


def encode(picture: Picture, folder: Path, *, ffmpeg: str, kinds: tuple[str, ...] = KINDS) -> dict[str, Path]:
    """A master of FRAMES equal frames and its deliverables, delivery -> path."""
    folder.mkdir()
    height, width, _ = picture.shape
    path = folder / "master.mkv"
    rate = Fraction(24)
    with FrameWriter(
        master_argv(ffmpeg, path, width=width, height=height, rate=rate), width=width, height=height, what="chart"
    ) as writer:
        for _ in range(FRAMES):
            writer.write(np.round(picture * 65535).astype(np.uint16))
    wanted = [Delivery.parse(kind) for kind in kinds]
    planned = [
        PlannedDelivery(one.kind, one.option, file_name(one, begin="c"), "", one.quality, one.extras) for one in wanted
    ]
    encode_master(
        Master(path, "", 0, FRAMES, rate, width, height),
        planned,
        folder,
        ffmpeg=ffmpeg,
        width=width,
        height=height,
        slate="chart",
    )
    return {kind: folder / one.file for kind, one in zip(kinds, planned, strict=True)}


def samples(frame: av.VideoFrame) -> list[Picture]:
    """The coded planes as they are, in units of one 8-bit step."""
    depth = frame.format.components[0].bits
    planes = []
    for plane in frame.planes:
        kind = np.dtype("u1") if depth == 8 else np.dtype("<u2")
        rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
        planes.append(rows[:, : plane.width] / 2.0 ** (depth - 8))
    return planes


def to_rgb(frame: av.VideoFrame) -> Picture:
    """R'G'B', 0 to 1, not clipped: from BT.709 limited range (ITU-R BT.709-6, items 3.3 to 3.5), from 16-bit RGB, or by
    sRGB's curve (IEC 61966-2-1) from linear half floats."""
    if frame.format.name == "gbrpf16le":
        rows = [np.frombuffer(plane, "<f2").reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]
        light = np.stack([rows[2], rows[0], rows[1]], axis=-1).astype(np.float64)
        return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)
    if frame.format.name == "rgb48be":
        plane = frame.planes[0]
        rows = np.frombuffer(plane, ">u2").reshape(plane.height, plane.line_size // 2)[:, : plane.width * 3]
        return rows.reshape(plane.height, plane.width, 3) / 65535
    luma, blue, red = samples(frame)
    down, across = luma.shape[0] // blue.shape[0], luma.shape[1] // blue.shape[1]
    y = (luma - 16) / 219
    cb, cr = (np.kron((plane - 128) / 224, np.ones((down, across))) for plane in (blue, red))
    r, b = y + 1.5748 * cr, y + 1.8556 * cb
    return np.stack([r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b], axis=-1)


def decode(path: Path) -> list[av.VideoFrame]:
    """Every frame of a file, or of a folder of pictures."""
    if path.is_dir():
        return [frame for file in sorted(path.iterdir()) for frame in decode(file)]
    with av.open(str(path), format="exr_pipe" if path.suffix == ".exr" else None) as container:
        return list(container.decode(video=0))


def measure(charts: Path, ramps: Path) -> Figures:
    """Compare one kind's two deliverables with what went in; the worst of all frames."""
    patch, pixel, slope, levels = 0.0, 0.0, 0.0, 0
    truth = chart()
    for frame in decode(charts):
        error = np.clip(to_rgb(frame), 0, 1) - truth
        for y in range(0, truth.shape[0], SIDE):
            for x in range(0, truth.shape[1], SIDE):
                area = error[y + INSET : y + SIDE - INSET, x + INSET : x + SIDE - INSET]
                patch = max(patch, float(np.abs(area.mean(axis=(0, 1))).max()))
                pixel = max(pixel, float(np.abs(area).max()))
    for frame in decode(ramps):
        rgb = to_rgb(frame)
        slope = max(slope, float(np.abs(rgb.mean(axis=0) - ramp()[0]).max()))
        luma = rgb[..., 1] if frame.format.name in ("rgb48be", "gbrpf16le") else samples(frame)[0]
        levels = max(levels, len(np.unique(np.median(luma, axis=0).round(6))))
    return Figures(round(patch * 255, 3), round(pixel * 255, 3), round(slope * 255, 3), levels)


def main() -> None:
    import imageio_ffmpeg

    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    with tempfile.TemporaryDirectory() as place:
        charts = encode(chart(), Path(place) / "chart", ffmpeg=ffmpeg)
        ramps = encode(ramp(), Path(place) / "ramp", ffmpeg=ffmpeg)
        figures = {kind: measure(charts[kind], ramps[kind]) for kind in KINDS}
    print(f"{'':12} {'patch':>7} {'pixel':>7} {'ramp':>7}  levels   (errors in 1/255)")
    for kind, found in figures.items():
        errors = (found.patch_error, found.worst_pixel, found.ramp_error)
        print(f"{kind:12} {' '.join(f'{error:7.2f}' for error in errors)}  {found.ramp_levels:6}")
    import report

    report.write("colour", {"unit": "1/255", "kinds": {kind: asdict(f) for kind, f in figures.items()}})


if __name__ == "__main__":
    main()
