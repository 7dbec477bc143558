"""Which detector tells cuts from what looks like one? Ours, PySceneDetect's, ffmpeg's, on clips whose cuts are known.

    python benchmarks/cuts.py [--rates 16 24] [--heights 360 720]

The clips are those of cut_clips.py. Each detector runs with its library's defaults and with the settings that did best
on this very corpus, both alone and with our rule against flashes on top of it (no cut where a picture from before is
back within three frames). Frames come one by one, as 16-bit pictures; what a detector does to make them its own counts
as its time: processor time on one thread; for ffmpeg that of its process, which reads raw 8-bit pictures.

PySceneDetect is no dependency of Dailies: `pip install scenedetect-headless` adds its rows.
Prints precision, recall and their harmonic mean, what each kind of clip gave, and writes results/cuts.json.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from typing import Any

import cut_clips
import cv2
import imageio_ffmpeg
import numpy as np
from moving_pictures import resized
from report import table, write

from models.interface import Frame
from tasks.cuts import FLASH, detect_cuts, thumbnail

PYSCENEDETECT = "PySceneDetect"
CONTENT = [(level,) for level in (8.0, 12.0, 16.0, 20.0, 27.0, 35.0)]
ADAPTIVE = [(ratio, least) for ratio in (1.5, 2.0, 2.5, 3.0, 3.5) for least in (6.0, 10.0, 15.0, 20.0)]
SCDET = [(level,) for level in (3.0, 4.0, 6.0, 8.0, 10.0, 14.0, 18.0)]
WORKING_WIDTH = 256
"""Pixels to which PySceneDetect itself reduces pictures before it looks at them."""

Cuts = tuple[int, ...]
Found = dict[str, Cuts]
"""Cuts by name of detector and setting."""


@dataclass
class Tally:
    """How often a detector was right."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def add(self, found: Cuts, truth: Cuts) -> None:
        """Count one clip."""
        self.right += len(set(found) & set(truth))
        self.wrong += len(set(found) - set(truth))
        self.missed += len(set(truth) - set(found))

    @property
    def both(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / max(1, 2 * self.right + self.wrong + self.missed)

    def row(self) -> dict[str, Any]:
        """Its figures."""
        return {
            "precision": round(self.right / max(1, self.right + self.wrong), 3),
            "recall": round(self.right / max(1, self.right + self.missed), 3),
            "f": round(self.both, 3),
            "false": self.wrong,
            "missed": self.missed,
        }


def ours(frames: Sequence[Frame]) -> Cuts:
    """Dailies."""
    return detect_cuts(iter(frames))


def reduced(frame: Frame) -> Any:
    """As PySceneDetect's SceneManager does: 256 wide by a linear read, 8-bit BGR."""
    height = round(frame.shape[0] * WORKING_WIDTH / frame.shape[1])
    small = cv2.resize(frame, (WORKING_WIDTH, height), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor((small >> 8).astype(np.uint8), cv2.COLOR_RGB2BGR)


def pyscenedetect(make: Callable[[], Any], pictures: Sequence[Any], rate: Fraction, *, around: int = 0) -> Cuts:
    """A detector of the library over reduced pictures; `around`: the ends repeated, or it is blind there."""
    from scenedetect.common import FrameTimecode

    detector = make()
    padded = [pictures[0]] * around + list(pictures) + [pictures[-1]] * around
    found = [
        cut.frame_num - 1 - around
        for at, picture in enumerate(padded)
        for cut in detector.process_frame(FrameTimecode(at, fps=float(rate)), picture)
    ]
    return tuple(sorted(found))


def scdet(frames: Sequence[Frame], rate: Fraction) -> list[float]:
    """ffmpeg's score of each frame against the one before it."""
    height, width = frames[0].shape[:2]
    argv = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-filter_threads", "1",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}", "-framerate", str(rate), "-i", "-",
        "-vf", "format=yuv444p,scdet=threshold=0,metadata=print:file=-", "-f", "null", "-",
    ]  # fmt: skip
    pictures = b"".join((frame >> 8).astype(np.uint8).tobytes() for frame in frames)
    words = subprocess.run(argv, input=pictures, capture_output=True, check=True).stdout.decode()
    scores = [0.0] * len(frames)
    at = 0
    for line in words.splitlines():
        if named := re.match(r"frame:(\d+)", line):
            at = int(named[1])
        elif named := re.match(r"lavfi\.scd\.score=([\d.]+)", line):
            scores[at] = float(named[1])
    return scores


def returns(frames: Sequence[Frame]) -> Callable[[int], bool]:
    """Whether something flashed at a cut, by the mean difference of thumbnails: our rule, without our measure."""
    pictures = [thumbnail(frame) for frame in frames]

    def flashed(index: int) -> bool:
        step = float(np.abs(pictures[index + 1] - pictures[index]).mean())
        return any(
            float(np.abs(pictures[after] - pictures[before]).mean()) < step / 2
            for before in range(max(0, index - FLASH), index + 1)
            for after in range(max(index + 1, before + 2), min(len(pictures), before + FLASH + 2))
        )

    return flashed


class Rivals:
    """All candidates on one clip after the other, and the time that each takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        try:
            self.library = metadata.version("scenedetect-headless")
        except metadata.PackageNotFoundError:
            self.library = ""

    def look(self, frames: Sequence[Frame], rate: Fraction) -> Found:
        """What each of them finds in a clip."""
        found = {"ours": self._timed("ours", lambda: ours(frames))}
        if self.library:
            found |= self._library(frames, rate)
        scores = self._timed("ffmpeg scdet", lambda: scdet(frames, rate), children=True)
        for (level,) in SCDET:
            found[f"ffmpeg scdet {level:g}"] = tuple(at - 1 for at, score in enumerate(scores) if score >= level)
        flashed = returns(frames)
        alone = [name for name in found if name != "ours"]
        return found | {f"{name} + flash rule": tuple(i for i in found[name] if not flashed(i)) for name in alone}

    def _library(self, frames: Sequence[Frame], rate: Fraction) -> Found:
        from scenedetect.detectors import AdaptiveDetector, ContentDetector

        pictures = self._timed("reduce", lambda: [reduced(frame) for frame in frames])
        content, adaptive = f"{PYSCENEDETECT} Content", f"{PYSCENEDETECT} Adaptive"
        found = {
            f"{content} default": self._timed(
                content, lambda: pyscenedetect(lambda: ContentDetector(), pictures, rate)
            ),
            f"{adaptive} default": self._timed(
                adaptive, lambda: pyscenedetect(lambda: AdaptiveDetector(), pictures, rate)
            ),
        }
        for (level,) in CONTENT:
            found[f"{content} {level:g}"] = pyscenedetect(
                lambda level=level: ContentDetector(threshold=level, min_scene_len=0), pictures, rate
            )
        for ratio, least in ADAPTIVE:
            found[f"{adaptive} {ratio:g}, {least:g}"] = pyscenedetect(
                lambda ratio=ratio, least=least: AdaptiveDetector(
                    adaptive_threshold=ratio, min_content_val=least, min_scene_len=0
                ),
                pictures,
                rate,
                around=2,
            )
        return found

    def _timed(self, name: str, act: Callable[[], Any], *, children: bool = False) -> Any:
        who = resource.RUSAGE_CHILDREN if children else None
        started = _used(who)
        made = act()
        self.seconds[name] += _used(who) - started
        return made

    def per_second(self, name: str, frames: int) -> int:
        """Frames per second of processor time, of the detector that a row is about."""
        family = next(known for known in self.seconds if name.startswith(known))
        spent = self.seconds[family] + (self.seconds["reduce"] if family.startswith(PYSCENEDETECT) else 0)
        return round(frames / spent)


def _used(who: int | None) -> float:
    if who is None:
        return time.process_time()
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def best(tallies: dict[str, Tally], family: str, *, rule: bool) -> str:
    """The setting of a family that did best."""
    settings = [name for name in tallies if name.startswith(family) and name.endswith("flash rule") == rule]
    return max(settings, key=lambda name: tallies[name].both)


def chosen(tallies: dict[str, Tally]) -> list[str]:
    """The rows of a table: defaults, the best settings, and these with the rule on top."""
    names = ["ours"]
    for family, default in (
        (f"{PYSCENEDETECT} Content", f"{PYSCENEDETECT} Content default"),
        (f"{PYSCENEDETECT} Adaptive", f"{PYSCENEDETECT} Adaptive default"),
        ("ffmpeg scdet", "ffmpeg scdet 10"),
    ):
        if default in tallies:
            names += [default, best(tallies, family, rule=False), best(tallies, family, rule=True)]
    return names


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Detectors of cuts, side by side.")
    parser.add_argument("--rates", type=int, nargs="+", default=[16, 24])
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 720])
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    rivals = {height: Rivals() for height in asked.heights}
    tallies: dict[str, Tally] = defaultdict(Tally)
    sizes: dict[str, Tally] = defaultdict(Tally)  # ours, by size and rate
    kinds: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    clips = frames_seen = 0
    for rate in map(Fraction, asked.rates):
        for clip in cut_clips.corpus():
            whole = clip.frames(rate)
            clips, frames_seen = clips + 1, frames_seen + len(whole)
            for height, candidates in rivals.items():
                frames = [resized(frame, (height * 16 // 9, height)) for frame in whole]
                for name, found in candidates.look(frames, rate).items():
                    kinds[clip.kind][name].add(found, clip.cuts(len(frames)))
                    tallies[name].add(found, clip.cuts(len(frames)))
                    if name == "ours":
                        sizes[f"{height}p, {rate} fps"].add(found, clip.cuts(len(frames)))
        print(f"{rate} fps: {clips} clips so far", flush=True)
    rows = [
        {
            "detector": name,
            **tallies[name].row(),
            **{f"frames/s at {height}p": one.per_second(name, frames_seen) for height, one in rivals.items()},
        }
        for name in chosen(tallies)
    ]
    print(f"\n{clips} clips, {frames_seen} frames\n{table(rows)}")
    print("\n" + table([{"ours at": size, **tally.row()} for size, tally in sizes.items()]))
    shown = [name for name in chosen(tallies) if name == "ours" or name.endswith("rule")]
    cases = [{"right/false/missed": kind, **{name: _short(by[name]) for name in shown}} for kind, by in kinds.items()]
    print("\n" + table(cases))
    library = next(iter(rivals.values())).library or "not installed: pip install scenedetect-headless"
    print(f"\n{PYSCENEDETECT}: {library}")
    write(
        "cuts",
        {"clips": clips, "frames": frames_seen, "pyscenedetect": library, "detectors": rows, "kinds": cases},
    )


def _short(tally: Tally) -> str:
    return f"{tally.right}/{tally.wrong}/{tally.missed}"


if __name__ == "__main__":
    main()
