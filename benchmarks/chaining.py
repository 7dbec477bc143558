"""What a seam costs: windows of the animatic against one window, and joins of windows that disagree against the truth.

The second part has a ground truth: a pan over a textured still, in windows that are displaced by up to three pixels
against each other and two per cent lighter or darker each. The true shot moves smoothly from one window's place to the
next one's across the overlap, and keeps the first one's light. The error is the mean difference from it over the
overlaps and one frame on either side, in 1/255. The baselines join the same files: by a hard cut in the middle of the
overlap, by a linear cross-fade, and by that after matching each window's mean and deviation in CIE Lab to the window
before it (Reinhard et al. 2001).

What joining itself costs, in memory and time, is measured by benchmarks/joining.py, which runs as the third part.

    python benchmarks/chaining.py [--seconds 60] [--lengths 10 300]
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from joining import MOST_GROWTH
from joining import measure as joining_cost
from report import table, write

from catalogs.footage import Clip
from catalogs.shot import Plate, Shot
from flows.settings import bundled_ffmpeg
from models.animatic import Animatic
from models.flow import FlowInterpolator
from models.interface import Frame
from tasks.dissolve import Pair, fade
from tasks.engines import spec_for
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames
from tasks.generate import request_for
from tasks.join import join_clips, joined
from tasks.plan import TakePlan, plan_take
from tasks.windows import dissolve_weights

RATE = Fraction(16)
WIDTH, HEIGHT = 640, 360
LEAST_PSNR, MOST_JUMP = 48.0, 1.2
OF_CUT, OF_FADE = 0.5, 0.7


def textured(folder: Path) -> Path:
    """A still with detail at every size, 1400x800."""
    random_numbers = np.random.default_rng(3)
    picture = np.zeros((800, 1400, 3))
    for size in (2, 6, 18, 60, 200):
        noise = random_numbers.normal(0, 1, (800 // size + 2, 1400 // size + 2, 3))
        picture += cv2.resize(noise, (1400, 800), interpolation=cv2.INTER_CUBIC) * math.sqrt(size)
    picture = 128 + picture * (42 / picture.std())
    path = folder / "still.png"
    cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return path


def plan_of(plate: Path, frames: int, **rules: Any) -> TakePlan:
    """A push in over the still, at its native rate."""
    shot = Shot(
        "AGM",
        "SH0010",
        frames,
        rate=RATE,
        plate=Plate(str(plate), "0" * 64, 1400, 800),
        width=WIDTH,
        height=HEIGHT,
        camera="push in",
    )
    return plan_take(shot, replace(spec_for("animatic"), **rules), interpolator=FlowInterpolator().spec)


def written(path: Path, frames: Sequence[Frame] | Iterator[Frame], ffmpeg: str) -> None:
    """As a window is kept."""
    argv = clip_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=RATE)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="benchmark") as writer:
        for frame in frames:
            writer.write(frame)


def read(path: Path, ffmpeg: str) -> Iterator[Frame]:
    """All of a clip."""
    return read_frames(path, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT)


def one_or_many(folder: Path, seconds: int, ffmpeg: str) -> dict[str, Any]:
    """The animatic's shot joined from its windows, against the same frames made at once."""
    plan = plan_of(textured(folder), seconds * int(RATE))
    clips, engine = [], Animatic()
    tail: list[Frame] = []
    for window in plan.windows:
        frames = list(engine.generate(request_for(plan, window), tail[: window.context]))
        tail = frames[-plan.overlap :]
        path = folder / f"{window.index}.mkv"
        written(path, frames, ffmpeg)
        clips.append(Clip(path, "", 0, window.span.range, RATE, WIDTH, HEIGHT))
    met = join_clips(plan, clips, folder / "joined.mkv", interpolator=FlowInterpolator(), ffmpeg=ffmpeg)
    whole = replace(request_for(plan, plan.windows[0]), frames=plan.native_frames)
    squares = [
        float(np.square(made.astype(np.float64) - true).mean())
        for made, true in zip(read(folder / "joined.mkv", ffmpeg), engine.generate(whole, []), strict=True)
    ]
    psnr = [min(120.0, 10 * math.log10(65535**2 / max(square, 1e-9))) for square in squares]
    return {
        "windows": len(plan.windows),
        "frames": len(squares),
        "mean_psnr_db": round(sum(psnr) / len(psnr), 1),
        "worst_jump": max(seam["jump"] for seam in met["seams"]),
        "ways": sorted({seam["way"] for seam in met["seams"]}),
    }


def at(still: Frame, x: float, y: float) -> Frame:
    """The view whose corner lies there."""
    by = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    view = cv2.warpAffine(still.astype(np.float32), by, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    return np.clip(np.rint(view), 0, 65535).astype(np.uint16)


def lit(frame: Frame, gain: float) -> Frame:
    """A frame with so much more light."""
    light = np.power(frame / 65535, 2.2) * gain
    return np.rint(np.power(np.clip(light, 0, 1), 1 / 2.2) * 65535).astype(np.uint16)


def matched(frame: Frame, now: Sequence[float], wanted: Sequence[float]) -> Frame:
    """Lab's means and deviations from `now` to `wanted`: six numbers each, means first."""
    lab = cv2.cvtColor((frame / 65535).astype(np.float32), cv2.COLOR_RGB2LAB)
    lab = (lab - now[:3]) * (np.array(wanted[3:]) / np.array(now[3:])) + wanted[:3]
    shown = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.rint(np.clip(shown, 0, 1) * 65535).astype(np.uint16)


def numbers(frames: Sequence[Frame]) -> list[float]:
    """Lab's means and deviations."""
    lab = np.stack([cv2.cvtColor((frame / 65535).astype(np.float32), cv2.COLOR_RGB2LAB) for frame in frames])
    return [*lab.mean(axis=(0, 1, 2)), *lab.std(axis=(0, 1, 2))]


def against_truth(folder: Path, ffmpeg: str, *, windows: int = 8, seed: int = 1) -> list[dict[str, Any]]:
    """Mean error at the seams of windows that disagree, by each way of joining them."""
    still = cv2.cvtColor(cv2.imread(str(textured(folder))), cv2.COLOR_BGR2RGB).astype(np.uint16) * 257
    chance = random.Random(seed)
    length, overlap = 21, 5
    frames = windows * (length - overlap) + overlap
    plan = plan_of(folder / "still.png", frames, longest_window=length, overlap=overlap, context=1)
    offs, gains = [(0.0, 0.0)], [1.0]
    for _ in plan.windows[1:]:
        offs.append((offs[-1][0] + chance.uniform(-3, 3), offs[-1][1] + chance.uniform(-3, 3)))
        gains.append(gains[-1] * (1 + chance.choice((-0.02, 0.02))))

    def place(native: float) -> tuple[float, float]:
        return 60 + 1.7 * native, 80 + 0.6 * native

    clips, made = [], []
    for window, off, gain in zip(plan.windows, offs, gains, strict=True):
        span = window.span.range
        views = [at(still, place(n)[0] + off[0], place(n)[1] + off[1]) for n in range(span.start, span.end)]
        made.append([lit(view, gain) for view in views])
        path = folder / f"off{window.index}.mkv"
        written(path, made[-1], ffmpeg)
        clips.append(Clip(path, "", 0, span, RATE, WIDTH, HEIGHT))

    truth: dict[int, Frame] = {}
    for number, window in enumerate(plan.windows[1:]):
        start = window.span.range.start
        for n in range(start - 1, start + overlap + 1):
            share = min(1.0, max(0.0, (n - start + 1) / (overlap + 1)))
            x, y = (a + (b - a) * share for a, b in zip(offs[number], offs[number + 1], strict=True))
            truth[n] = at(still, place(n)[0] + x, place(n)[1] + y)

    def error(shown: Iterator[Frame]) -> float:
        off = [np.abs(frame.astype(float) - truth[n]).mean() for n, frame in enumerate(shown) if n in truth]
        return float(np.mean(off)) / 257

    def plainly(each: Sequence[Sequence[Frame]], blend: Callable[[Pair], Frame]) -> float:
        def meet(_: int, tail: Sequence[Frame], head: Sequence[Frame]) -> Iterator[Frame]:
            return map(blend, zip(tail, head, dissolve_weights(overlap), strict=True))

        windows = [(frame for frame in one) for one in each]
        return error(joined(windows, [len(one) for one in each], overlap=overlap, meet=meet))

    like_before = [made[0]]
    for one in made[1:]:
        now, wanted = numbers(one[:overlap]), numbers(like_before[-1][-overlap:])
        like_before.append([matched(frame, now, wanted) for frame in one])
    met = join_clips(plan, clips, folder / "ours.mkv", interpolator=FlowInterpolator(), ffmpeg=ffmpeg)
    errors = {
        "hard cut": plainly(made, lambda pair: pair[0] if pair[2] < Fraction(1, 2) else pair[1]),
        "linear cross-fade": plainly(made, lambda pair: fade(*pair)),
        "Reinhard, cross-fade": plainly(like_before, lambda pair: fade(*pair)),
        "Dailies": error(read(folder / "ours.mkv", ffmpeg)),
    }
    ways = sorted({seam["way"] for seam in met["seams"]})
    return [
        {
            "join": name,
            "error": round(value, 3),
            "of_hard_cut": round(value / errors["hard cut"], 3),
            "of_cross_fade": round(value / errors["linear cross-fade"], 3),
            "ways": " ".join(ways) if name == "Dailies" else "",
        }
        for name, value in errors.items()
    ]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 300], help="seconds of the shots joined at 720p")
    asked, ffmpeg = parser.parse_args(), bundled_ffmpeg()
    with tempfile.TemporaryDirectory() as folder:
        whole = one_or_many(Path(folder), asked.seconds, ffmpeg)
        print(table([whole]))
        rows = against_truth(Path(folder), ffmpeg)
        print(table(rows))
    joining = joining_cost(asked.lengths)
    write("chaining", {"animatic": {"seconds": asked.seconds, **whole}, "truth": rows, "joining": joining})
    assert whole["mean_psnr_db"] >= LEAST_PSNR
    assert whole["worst_jump"] <= MOST_JUMP
    assert rows[-1]["of_hard_cut"] <= OF_CUT
    assert rows[-1]["of_cross_fade"] <= OF_FADE
    assert joining["memory_growth"] <= MOST_GROWTH


if __name__ == "__main__":
    main()
