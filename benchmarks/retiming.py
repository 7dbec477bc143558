"""How good is what lies between? Every way to retime, on clips whose every instant is known.

    python benchmarks/retiming.py [VIDEO ...] [--weights FOLDER] [--pictures FOLDER]
    python benchmarks/retiming.py --device cuda [--size 1280x720]

The clips of moving_pictures.py are known at 240 frames a second. Each way is given every 15th of those, which is 16
frames a second, and makes every 4th, which is 60; what it makes is compared with the truth (frames that are originals
are left out). Of a video file the first frames are taken, and the odd ones held out. Every way runs in a process of its
own, on all cores: frames per second are delivery frames by wall time, beside them processor seconds a frame, all cores
together; memory is the process's peak (ffmpeg's, for its filter). minterpolate loses frames at the end: they are
counted, and left out of its score. Its own search for cuts is on, or it would blend across one; it takes the first pair
of some clips for a cut, which are its worst frames.

RIFE needs weights: `--weights` names a folder with rife-v4*/flownet.param and .bin, or rife-4*/flownet.safetensors
(docs/retiming.md says how to get them). Without them the networks run with a test's random weights, on a
quarter of one clip: these rows say what RIFE costs, and nothing about its pictures.

`--pictures` writes a strip of the worst frame of each clip: the truth and each way's frame, below them the error times
four. `--device cuda` measures the torch engine alone, without a disk: see retiming_device.py.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moving_pictures import Moving, moving
from report import table, write

if TYPE_CHECKING:
    from retiming_ways import Made, Task, Way

    from models.interface import Frame

SECONDS = 1
"""Length of a clip of known truth; the first and the last instant are source frames."""
HELD_OUT = 41
"""Frames of a video file that are read; 20 of them are held out."""
COST_ONLY = "rotation, 3 degrees a frame"
"""The clip on whose first quarter of a second networks without weights of their own run."""


@dataclass(frozen=True)
class Trial:
    """A clip, and what must come of it."""

    name: str
    """What it shows."""
    task: Task
    """What a way is given; the target differs by way."""
    truth: Path
    """Raw delivery frames, rgb48le."""

    def shortened(self, parts: int) -> Trial:
        """One of so many equal parts, the first."""
        count, frames = (self.task.count - 1) // parts + 1, (self.task.frames - 1) // parts + 1
        return replace(self, task=replace(self.task, count=count, frames=frames))

    def judged(self) -> list[int]:
        """Delivery frames that are made, not passed."""
        return [index for index, sample in enumerate(self.task.table()) if sample.phase > 0]

    def frame(self, file: Path, index: int) -> Frame:
        """A delivery frame of a raw file."""
        import numpy as np

        with file.open("rb") as opened:
            opened.seek(index * self.task.size)
            content = opened.read(self.task.size)
        return np.frombuffer(content, np.uint16).reshape(self.task.height, self.task.width, 3)

    def target(self, way: Way) -> Path:
        """Where a way puts its frames."""
        return self.truth.with_name(f"{self.truth.stem} by {plain(way.name)}.raw")


def plain(name: str) -> str:
    """A name fit for a file."""
    return re.sub(r"[^0-9A-Za-z.]+", "-", name).strip("-.")


def trial(clip: Moving, folder: Path) -> Trial:
    """Render what is needed of a clip of known truth."""
    from retiming_ways import Task

    native, delivery = Fraction(16), Fraction(60)
    given = [clip.at(at / native) for at in range(SECONDS * 16 + 1)]
    truth = (clip.at(at / delivery) for at in range(SECONDS * 60 + 1))
    height, width = given[0].shape[:2]
    name = plain(clip.name)
    paths = folder / f"{name}-given.raw", folder / f"{name}.raw"
    for path, frames in zip(paths, (given, truth), strict=True):
        with path.open("wb") as file:
            for frame in frames:
                file.write(frame.data)
    task = Task(paths[0], paths[1], width, height, len(given), SECONDS * 60 + 1, native, delivery)
    return Trial(clip.name, task, paths[1])


def held_out(video: Path, folder: Path) -> Trial:
    """A video file, every other frame of it."""
    import av
    import numpy as np
    from retiming_ways import Task

    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), HELD_OUT)]
    pictures = pictures[: (len(pictures) - 1) // 2 * 2 + 1]
    height, width = pictures[0].shape[:2]
    given, truth = folder / f"{video.stem}-given.raw", folder / f"{video.stem}.raw"
    for path, step in ((given, 2), (truth, 1)):
        with path.open("wb") as file:
            for picture in pictures[::step]:
                file.write((picture.astype(np.uint16) * np.uint16(257)).data)
    task = Task(given, truth, width, height, len(pictures[::2]), len(pictures), Fraction(1), Fraction(2))
    return Trial(f"video {video.stem}", task, truth)


def ways(weights: Path | None, folder: Path) -> list[Way]:
    """All rows: those of RIFE with the weights that are there, else with a test's."""
    from retiming_ways import Way

    rows = [
        Way("nearest frame", "nearest"),
        Way("frame blend", "blend"),
        Way("ffmpeg minterpolate", "minterpolate"),
        Way("optical flow (ours)", "flow"),
    ]
    ncnn = sorted(weights.glob("rife-v4*/flownet.param")) if weights else []
    rows += [Way(f"RIFE ncnn {file.parent.name[6:]}", "rife-ncnn", str(file.parent)) for file in ncnn]
    torch = sorted(weights.glob("rife-4*/flownet.safetensors")) if weights else []
    rows += [Way(f"RIFE torch {file.parent.name[5:]}", "rife-torch", str(file)) for file in torch]
    if not ncnn:
        rows += _test_networks(folder, "rife-ncnn")
    if not torch:
        rows += _test_networks(folder, "rife-torch")
    return rows


def _test_networks(folder: Path, kind: str) -> list[Way]:
    """Networks of both generations with random weights, as far as what runs them is here."""
    from ncnn_models import write_network
    from retiming_device import write_random
    from retiming_ways import Way

    rows = []
    for version in ("4.6", "4.25"):
        if kind == "rife-ncnn":
            from models.rife_trial import problem as tried

            if (problem := tried(None)) is not None:
                print(f"without RIFE ncnn: {problem}")
                return []
            files = str(write_network(folder / f"rife-v{version}", version))
        else:
            files = str(write_random(folder / f"rife-{version}" / "flownet.safetensors", version))
        rows.append(Way(f"RIFE {kind[5:]} {version}, test weights", kind, files, real=False))
    return rows


def measure(way: Way, trials: list[Trial]) -> list[dict[str, Any]]:
    """Run a way over the clips and score what it made, one row a clip."""
    from picture_scores import psnr, ssim
    from retiming_ways import run

    context = multiprocessing.get_context("spawn")
    tasks = [replace(one.task, target=one.target(way)) for one in trials]
    with ProcessPoolExecutor(1, mp_context=context) as child:
        made: list[Made] = child.submit(run, way, tasks).result()
    rows = []
    for one, result in zip(trials, made, strict=True):
        there = [index for index in one.judged() if index in result.there]
        pairs = [(one.frame(one.target(way), index), one.frame(one.truth, index)) for index in there]
        decibels = [psnr(*pair) for pair in pairs]
        alike = [ssim(*pair) for pair in pairs]
        rows.append(
            {
                "way": way.name,
                "psnr": round(statistics.mean(decibels), 2) if way.real else "",
                "worst": round(min(decibels), 2) if way.real else "",
                "ssim": round(statistics.mean(alike), 4) if way.real else "",
                "worst ssim": round(min(alike), 4) if way.real else "",
                "lost": one.task.frames - len(result.there),
                "frames/s": round(len(result.there) / result.seconds, 1),
                "cpu s/frame": round(result.processor / len(result.there), 3),
                "peak MB": round(result.peak_mb),
                "_worst": there[decibels.index(min(decibels))],
            }
        )
    return rows


def pictures(one: Trial, index: int, by: list[Way], target: Path) -> None:
    """The truth and each way's frame, named; below, each one's error times four."""
    import cv2
    import numpy as np

    truth = one.frame(one.truth, index)
    columns = [("truth", truth)]
    for way in by:
        file = one.target(way)
        if file.exists() and file.stat().st_size >= (index + 1) * one.task.size:
            columns.append((way.name, one.frame(file, index)))
    strip = []
    for name, frame in columns:
        error = np.minimum(np.abs(frame.astype(np.int32) - truth) * 4, 65535).astype(np.uint16)
        shown = np.ascontiguousarray((np.vstack([frame, error]) // 257).astype(np.uint8)[:, :, ::-1])
        cv2.putText(shown, name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 255, 255), 1, cv2.LINE_AA)
        strip.append(shown)
    cv2.imwrite(str(target), np.hstack(strip))


def summary(rows: dict[str, list[dict[str, Any]]], by: list[Way], clips: list[str]) -> list[dict[str, Any]]:
    """One row a way, over the clips of known truth."""
    total = []
    for way in by:
        own = [row for name in clips for row in rows[name] if row["way"] == way.name]
        scores = {
            "psnr": lambda values: round(statistics.mean(values), 2),
            "worst": min,
            "ssim": lambda values: round(statistics.mean(values), 4),
            "worst ssim": min,
        }
        total.append(
            {
                "way": way.name,
                **{name: merge([row[name] for row in own]) if way.real else "" for name, merge in scores.items()},
                "lost": sum(row["lost"] for row in own),
                "frames/s": round(statistics.median(row["frames/s"] for row in own), 1),
                "cpu s/frame": round(statistics.median(row["cpu s/frame"] for row in own), 3),
                "peak MB": max(row["peak MB"] for row in own),
            }
        )
    return total


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Ways to retime, side by side.")
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: the torch engine's speed alone")
    parser.add_argument("--size", default="1280x720", help="of the frames on cuda")
    asked = parser.parse_args()
    if asked.device != "cpu":
        from retiming_device import measure_device

        width, height = map(int, asked.size.split("x"))
        measure_device(asked.device, width, height, weights=asked.weights)
        return
    with tempfile.TemporaryDirectory() as name:
        _compare(asked, Path(name))


def _compare(asked: argparse.Namespace, folder: Path) -> None:
    known = [trial(clip, folder) for clip in moving()]
    trials = [*known, *(held_out(video, folder) for video in asked.videos)]
    by = ways(asked.weights, folder)
    rows: dict[str, list[dict[str, Any]]] = {one.name: [] for one in trials}
    for way in by:
        run_on = trials if way.real else [one.shortened(4) for one in trials if one.name == COST_ONLY]
        for one, row in zip(run_on, measure(way, run_on), strict=True):
            rows[one.name].append(row)
        print(f"{way.name}: done", flush=True)
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
        real = [way for way in by if way.real]
        for one in trials:
            worst = next(row["_worst"] for row in rows[one.name] if row["way"] == real[-1].name)
            pictures(one, worst, real, asked.pictures / f"{one.truth.stem}.png")
    shown = {name: [{k: v for k, v in row.items() if k != "_worst"} for row in found] for name, found in rows.items()}
    for one in trials:
        print(f"\n{one.name}, {one.task.width}x{one.task.height}, {len(one.judged())} frames judged")
        print(table(shown[one.name]))
    total = summary(rows, by, [one.name for one in known])
    print(f"\nall {len(known)} clips of known truth\n{table(total)}")
    if not all(way.real for way in by):
        print("\nRIFE's rows with test weights say what it costs; their pictures mean nothing. --weights FOLDER")
    write("retiming", {"ways": total, "clips": [{"clip": name, "ways": found} for name, found in shown.items()]})


if __name__ == "__main__":
    main()
