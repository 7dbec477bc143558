"""Does inspection find what is planted, and leave alone what is clean? And what does it cost beside an encode?

    python benchmarks/inspection.py [--workers N] [--speed-only] [--resume FILE]
    python benchmarks/inspection.py --no-speed                                      # keeps the speed of the last run
    python benchmarks/inspection.py [--only CODE ...] [--clean-only] [--no-clean]   # writes nothing

Every clip of inspection_clips.py and inspection_wider.py, every fault of inspection_faults.py and
inspection_wider_faults.py is rendered (480x270 at 24 frames a second, the wider ones up to 1280x720 and at 12 to 60),
encoded as Dailies delivers, and inspected as a take's deliverable is, its master at hand. A fault counts as found if
there is a finding of its code in its frames (two frames' grace), and as severe as it must be. A clean clip counts as a
false alarm if it has any issue. Seams, which no file shows, are planted between frames (inspection_seams.py).
Then a shot of five seconds at 720p is encoded in three formats and all three inspected, in CPU and wall seconds.
Prints rates by code and overall, and writes results/inspection.json. Needs no network and no GPU.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TextIO

import imageio_ffmpeg
import inspection_clips as clips
import inspection_faults as planted
import inspection_seams
import inspection_ways as ways
import inspection_wider as wide
import inspection_wider_faults as more_faults
import numpy as np
from PIL import Image
from report import RESULTS, table, write

from catalogs.footage import Finding, Master, Severity
from catalogs.shot import DELIVERY_OPTIONS
from models.interface import Frame
from tasks.encode import encode_master
from tasks.ffmpeg import Output, clip_argv, deliverables_argv, master_argv
from tasks.fidelity import MasterFrames
from tasks.frames import FrameWriter
from tasks.inspect import Expectation, inspect_deliverable
from tasks.inspect_take import inspect_all, inspect_one
from tasks.known import Known
from tasks.limits import shipped
from tasks.plan import PlannedDelivery
from tasks.plates import PlateSeen, see_plate

FFMPEG: Final = imageio_ffmpeg.get_ffmpeg_exe()
SUFFIX: Final = {"h265": ".mp4", "prores": ".mov", "webm": ".webm", "h264": ".mp4"}
GRACE: Final = 2
"""Frames by which a finding may miss its fault."""


def mastered(
    frames: Sequence[Frame],
    folder: Path,
    *,
    rate: Fraction = clips.RATE,
    argv: Callable[..., list[str]] = clip_argv,
) -> Master:
    """The frames as a lossless clip: a master in all but its codec, which takes five times as long."""
    path = folder / "master.mkv"
    height, width = frames[0].shape[:2]
    with FrameWriter(
        argv(FFMPEG, path, width=width, height=height, rate=rate),
        width=width,
        height=height,
        what="master",
    ) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return Master(path, "", path.stat().st_size, len(frames), rate, width, height)


def encoded(
    master: Master,
    folder: Path,
    kind: str,
    words: dict[str, str],
    *,
    option: str = "",
    extras: tuple[str, ...] = (),
) -> Path:
    """One deliverable, with some words of its command line replaced."""
    target = folder / f"shot{SUFFIX.get(kind, '')}"
    if kind not in SUFFIX:
        target.mkdir()
    argv = deliverables_argv(
        FFMPEG,
        master.path,
        [Output(kind, option or DELIVERY_OPTIONS[kind][0], target, extras=extras)],
        frames=master.frames,
        rate=master.rate,
        width=master.width,
        height=master.height,
        master_width=master.width,
        master_height=master.height,
        title="shot",
    )
    line = "\0".join(argv)
    for old, new in words.items():
        before, after = old.replace(" ", "\0"), new.replace(" ", "\0")
        if before not in line:
            raise ValueError(f"{old!r} is no longer in the encoder's command line; mend the fault")
        line = line.replace(before, after)
    subprocess.run(line.split("\0"), check=True, capture_output=True)
    return target


def plate_of(name: str) -> PlateSeen | None:
    """A plate of the examples."""
    if not name:
        return None
    return see_plate(clips.ROOT / "examples" / "plates" / name, width=clips.SIZE[0], height=clips.SIZE[1])


def found_in(
    path: Path,
    master: Master,
    kind: str,
    known: dict[str, Any],
    plate: PlateSeen | None,
    *,
    expected: dict[str, Any],
    samples: MasterFrames | None,
) -> tuple[Finding, ...]:
    """What inspection says of a file."""
    fields = {
        "kind": kind,
        "option": DELIVERY_OPTIONS[kind][0],
        "frames": master.frames,
        "rate": master.rate,
        "width": master.width,
        "height": master.height,
    }
    wanted = Expectation(**{**fields, **expected})
    seen = Known(rate=wanted.rate, frames=master.frames, plate=plate, **known)
    return inspect_one(path, wanted, known=seen, limits=shipped(), content=True, samples=samples)[1]


def cleans() -> list[tuple[clips.Clean, str]]:
    """Every clean clip, with each kind that it is tried in."""
    # as they come, the formats in turn
    usual = [(clip, ways.ALL[number % len(ways.ALL)]) for number, clip in enumerate(clips.clean())]
    return [*usual, *((clip, kind) for clip in wide.wider() for kind in clip.kinds)]


def try_clean(clip: clips.Clean, kind: str) -> dict[str, Any]:
    """Findings of one clean clip."""
    with tempfile.TemporaryDirectory() as place:
        folder, frames = Path(place), clip.frames()
        master = mastered(frames, folder, rate=clip.rate)
        known = dict(clip.known)
        plate = plate_of(clip.plate)
        if known.pop("bars", False):
            Image.fromarray((frames[0] >> 8).astype(np.uint8)).save(folder / "plate.png")
            plate = see_plate(folder / "plate.png", width=clips.SIZE[0], height=clips.SIZE[1])
        samples = MasterFrames(master, ffmpeg=FFMPEG, width=master.width, height=master.height)
        path = encoded(master, folder, kind, {})
        found = found_in(path, master, kind, known, plate, expected={}, samples=samples)
    what = f"{master.width}x{master.height}, {master.frames} frames at {float(clip.rate):g}"
    return {
        "clip": clip.name,
        "what": what,
        "kind": kind,
        "plate": clip.plate,
        "findings": [told(one) for one in found],
    }


def try_fault(fault: planted.Fault) -> dict[str, Any]:
    """What became of one fault."""
    with tempfile.TemporaryDirectory() as place:
        folder, frames = Path(place), fault.frames()
        master = mastered(frames, folder)
        path = encoded(master, folder, fault.kind, fault.words, option=fault.option, extras=fault.extras)
        if fault.spoil:
            path.write_bytes(fault.spoil(path.read_bytes()))
        if fault.spoil_folder:
            fault.spoil_folder(path)
        samples = (
            MasterFrames(master, ffmpeg=FFMPEG, width=master.width, height=master.height) if fault.mastered else None
        )
        found = found_in(
            path, master, fault.expected.get("kind", fault.kind), fault.known, plate_of(fault.plate),
            expected=fault.expected, samples=samples,
        )  # fmt: skip
    first, end = fault.span
    hits = [
        one for one in found
        if one.code == fault.code and one.frame_in < end + GRACE and one.frame_out > first - GRACE
        and (not fault.blocker or one.severity is Severity.BLOCKER)
    ]  # fmt: skip
    return {
        "code": fault.code,
        "size": fault.size,
        "blocker": fault.blocker,
        "found": bool(hits),
        "said": hits[0].value if hits else "",
        "others": sorted({one.code for one in found} - {fault.code}),
    }


def told(one: Finding) -> str:
    """A finding in a line."""
    return f"{one.severity} {one.code} [{one.frame_in}, {one.frame_out}): {one.value}; {one.limit}"


def by_code(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Planted and found, by code."""
    rows = defaultdict(list)
    for one in results:
        rows[one["code"]].append(one)
    return [
        {"code": code, "planted": len(ones), "found": sum(one["found"] for one in ones),
         "rate": f"{sum(one['found'] for one in ones) / len(ones):.0%}"}
        for code, ones in rows.items()
    ]  # fmt: skip


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Wall and CPU seconds of a block, children included."""

    def spent() -> float:
        return sum(
            usage.ru_utime + usage.ru_stime
            for usage in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    wall, processor = time.perf_counter(), spent()
    yield
    into[f"{name}_wall"] = round(time.perf_counter() - wall, 2)
    into[f"{name}_cpu"] = round(spent() - processor, 2)


def speed() -> dict[str, float]:
    """Encoding and inspecting three formats of a five-second shot at 720p."""
    size, count = (1280, 720), 120
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        still = clips.plate("lake.jpg")
        frames = [clips.look(still, clips.View(0.46 + 0.08 * at / count, 0.5, 1.3), size) for at in range(count)]
        master = mastered(frames, folder, argv=master_argv)
        del frames
        kinds = ("h265", "prores", "webm")
        todo = [PlannedDelivery(kind, DELIVERY_OPTIONS[kind][0], f"a{SUFFIX[kind]}", "") for kind in kinds]
        with timed(figures, "encode"):
            made = encode_master(master, todo, folder, ffmpeg=FFMPEG, width=size[0], height=size[1], slate="S")
        wanted = [(made.files[one.file], Expectation(one.kind, one.option, count, clips.RATE, *size)) for one in todo]
        known = Known(rate=clips.RATE, frames=count)
        with timed(figures, "inspect"):
            samples = MasterFrames(master, ffmpeg=FFMPEG, width=size[0], height=size[1])
            found = [*inspect_all(wanted, known=known, limits=shipped(), samples=samples)]
        with timed(figures, "decode_only"):
            for path, expected in wanted:
                inspect_deliverable(path, expected)
        assert not any(findings for _, findings in found)
    figures["wall_ratio"] = round(figures["inspect_wall"] / figures["encode_wall"], 3)
    figures["cpu_ratio"] = round(figures["inspect_cpu"] / figures["encode_cpu"], 3)
    return figures


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="only faults of these codes")
    parser.add_argument("--clean-only", action="store_true")
    parser.add_argument("--no-clean", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--speed-only", action="store_true", help="measure that again, keep the other results")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--resume", type=Path, help="file that results are kept in, and taken from if they are there")
    chosen = parser.parse_args()
    kept = chosen.resume.open("a+", encoding="utf-8") if chosen.resume else None
    faults = [] if chosen.clean_only else [one for one in _FAULTS if not chosen.only or one.code in chosen.only]
    if chosen.speed_only:
        before = json.loads((RESULTS / "inspection.json").read_text(encoding="utf-8"))
        before.pop("machine")
        write("inspection", {**before, "speed": (figures := speed())})
        print("five seconds at 720p:", figures)
        return
    result: dict[str, Any] = {}
    seams, good_seams = inspection_seams.tried() if not (chosen.only or chosen.clean_only) else ([], [])
    if not (chosen.no_speed or chosen.only or chosen.clean_only or chosen.no_clean):
        result["speed"] = speed()
        print("five seconds at 720p:", result["speed"])
    if faults:
        todo = [(f"{one.code}: {one.size}", _FAULTS.index(one)) for one in faults]
        done = _tried(try_fault_numbered, todo, workers=chosen.workers, kept=kept)
        done += seams
        print(table(by_code(done)))
        for name, blocker in (("blockers", True), ("issues", False)):
            ones = [one for one in done if one["blocker"] is blocker]
            result[name] = {"planted": len(ones), "found": sum(one["found"] for one in ones)}
            print(f"{name}: {result[name]['found']} of {result[name]['planted']} found")
        result |= {"by_code": by_code(done), "faults": done}
    if not chosen.no_clean:
        names = [(f"{clip.name}, {clip.plate or clip.rate}: {kind}", at) for at, (clip, kind) in enumerate(cleans())]
        tried = _tried(try_clean_numbered, names, workers=chosen.workers, kept=kept)
        tried += good_seams
        alarms = {
            level: [one for one in tried if any(f.startswith(level) for f in one["findings"])]
            for level in ("blocker", "issue")
        }
        result["clean"] = {
            "trials": len(tried),
            "clips": len({one["clip"] for one in tried}),
            "by_kind": dict(Counter(one["kind"] for one in tried)),
            "what": sorted({one["what"] for one in tried if "what" in one}),
            **{f"with_{level}": len(ones) for level, ones in alarms.items()},
            "issue_rate": round(len(alarms["issue"]) / len(tried), 4),
            "false": [one for one in tried if one["findings"]],
        }
        print(
            f"clean: {len(tried)} trials, {len(alarms['blocker'])} with a blocker, {len(alarms['issue'])} with an issue"
        )
    if not (chosen.only or chosen.clean_only or chosen.no_clean):
        if chosen.no_speed:  # measured before, on an idle machine
            result["speed"] = json.loads((RESULTS / "inspection.json").read_text(encoding="utf-8"))["speed"]
        write("inspection", result)


def try_fault_numbered(number: int) -> dict[str, Any]:
    """The fault of a number: they hold functions, which do not travel between processes."""
    return try_fault(_FAULTS[number])


def try_clean_numbered(number: int) -> dict[str, Any]:
    """The clip of a number."""
    return try_clean(*cleans()[number])


_FAULTS = [*planted.faults(), *more_faults.more()]


def _tried(
    work: Callable[[int], dict[str, Any]], todo: Sequence[tuple[str, int]], *, workers: int, kept: TextIO | None
) -> list[dict[str, Any]]:
    """What became of each, in order; those that a run before has kept are not tried again."""
    known: dict[str, dict[str, Any]] = {}
    if kept is not None:
        kept.seek(0)
        known = dict(map(json.loads, kept))
    with ProcessPoolExecutor(workers) as pool:
        begun = [(name, pool.submit(work, number)) for name, number in todo if name not in known]
        for name, future in begun:
            known[name] = one = future.result()
            _say(name, one)
            if kept is not None:
                kept.write(json.dumps([name, one]) + "\n")
                kept.flush()
    return [known[name] for name, _ in todo]


def _say(name: str, one: dict[str, Any]) -> None:
    if "code" in one:
        mark, others = "   " if one["found"] else "NOT", ", ".join(one["others"]) or "nothing"
        print(f"{mark} {name:50} {one['said']}; also {others}", flush=True)
        return
    print(f"    clean {name}", flush=True)
    for line in one["findings"]:
        print(f"FALSE {name}: {line}", flush=True)


if __name__ == "__main__":
    main()
