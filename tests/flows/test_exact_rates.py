"""Claims about exactness: rates from plan to container, counts, slow motion in one pass, the shortest shots.

MP4 and MOV hold every rate, every frame's time and the whole duration exactly. Matroska, so WebM and the master too,
keeps the duration of a frame in whole nanoseconds and its time in milliseconds: there the claim is those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import House

from catalogs.shot import Plate, Shot
from catalogs.timebase import DELIVERY_RATES, native_frames_needed, parse_rate, rate_text
from models.flow import FlowInterpolator
from models.interface import Frame, InterpolatorSpec
from tasks.engines import spec_for
from tasks.errors import PlanError
from tasks.ffmpeg import clip_argv, deliverables_argv, master_argv
from tasks.frames import FrameWriter, read_frames, run
from tasks.plan import TakePlan, plan_take
from tasks.retime import retime, retime_clip, retiming_table

FLOW = FlowInterpolator().spec
SPEEDS = (Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 8))
RATES = (*DELIVERY_RATES, Fraction(13, 7), Fraction(1001, 31), Fraction(240))
KINDS = {"h265": "main10", "prores": "hq", "h264": "high", "webm": "vp9"}
SUFFIX = {"h265": ".mp4", "prores": ".mov", "h264": ".mp4", "webm": ".webm"}
WIDTH, HEIGHT = 64, 48
MILLI = Fraction(1, 1000)


def default_duration(path: Path) -> int:
    """Nanoseconds per frame, as the track of a Matroska file declares them (element 23 E3 83)."""
    head = path.read_bytes()[:8192]
    at = head.index(b"\x23\xe3\x83") + 3
    return int.from_bytes(head[at + 1 : at + 1 + (head[at] & 0x7F)], "big")


def movie_duration(path: Path) -> Fraction:
    """Seconds that the header of an MP4 or MOV declares for the whole: edit lists count in its ticks (box mvhd)."""
    data = path.read_bytes()
    at = data.index(b"mvhd") + 16  # past version, flags and two dates
    return Fraction(int.from_bytes(data[at + 4 : at + 8], "big"), int.from_bytes(data[at : at + 4], "big"))


def assert_exact(path: Path, *, rate: Fraction, frames: int) -> None:
    """The file has so many frames at that rate, as exactly as its container can say."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        times = sorted(packet.pts * stream.time_base for packet in container.demux(stream) if packet.pts is not None)
        average, base, length = stream.average_rate, stream.base_rate, container.duration
        lasts = None if stream.duration is None else stream.duration * stream.time_base
    assert len(times) == frames
    assert average is not None
    assert length is not None
    if path.suffix in (".mp4", ".mov"):
        assert (average, base) == (rate, rate)
        assert times == [k / rate for k in range(frames)]
        assert lasts == movie_duration(path) == frames / rate
        assert abs(Fraction(length, 1_000_000) - frames / rate) <= Fraction(1, 2_000_000)
    else:
        assert default_duration(path) == 1_000_000_000 // rate
        assert abs(average - rate) * 100_000 < rate
        assert all(abs(time - k / rate) <= MILLI / 2 for k, time in enumerate(times))
        assert abs(Fraction(length, 1_000_000) - frames / rate) <= MILLI


@pytest.mark.parametrize("rate", RATES, ids=rate_text)
@pytest.mark.parametrize("frames", [1, 11])
def test_every_container_says_the_rate(rate: Fraction, frames: int, tmp_path: Path, ffmpeg: str) -> None:
    """Average and base rate, every frame's time and the duration of all, in the master and in each deliverable."""
    master = tmp_path / "master.mkv"
    random = np.random.default_rng(5)
    wide = random.integers(0, 65536, (HEIGHT // 8, 16, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint16)
    argv = master_argv(ffmpeg, master, width=WIDTH, height=HEIGHT, rate=rate)
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="t") as writer:
        for k in range(frames):  # a move: H.265 codes frames out of order, and the file has an edit list
            writer.write(np.ascontiguousarray(wide[:, k : k + WIDTH]))
    assert_exact(master, rate=rate, frames=frames)
    outputs = [(kind, option, tmp_path / f"{kind}{SUFFIX[kind]}") for kind, option in KINDS.items()]
    size = {"width": WIDTH, "height": HEIGHT, "master_width": WIDTH, "master_height": HEIGHT}
    run(deliverables_argv(ffmpeg, master, outputs, rate=rate, **size, title="t"), what="t")
    for *_, path in outputs:
        assert_exact(path, rate=rate, frames=frames)


def test_a_rate_is_the_same_from_plan_to_container(house: House) -> None:
    """One fraction in plan, catalogue, work folder, manifest, master and deliverables; N asked are N delivered, with
    handles, in slow motion, of one frame and of two between which lie a sixteenth of the time."""
    asked = {
        "SH0010": ("23.976", 11, {"deliveries": "h265 prores webm h264"}),
        "SH0020": ("29.97", 9, {"deliveries": "h265 webm", "handles": "2", "speed": "1/4"}),
        "SH0030": ("59.94", 1, {"deliveries": "h265 webm"}),
        "SH0040": ("1001/31", 2, {"deliveries": "prores h264", "speed": "1/16"}),
    }
    size = "160x96"  # which the engine makes itself: nothing larger is made and scaled down
    house.submit(
        *(
            {"shot": shot, "fps": fps, "frames": str(frames), "resolution": size, **more}
            for shot, (fps, frames, more) in asked.items()
        )
    )
    planned = {entry["shot"]: entry for entry in house.json("plan")["shots"]}
    listed = {entry["shot"]: entry for entry in house.json("shots")["shots"]}
    for report in house.json("render")["shots"]:
        fps, frames, more = asked[report["shot"]]
        rate, total = parse_rate(fps), frames + 2 * int(more.get("handles", 0))
        written = rate_text(rate)
        assert (report["status"], report["findings"]) == ("review", [])
        assert (planned[report["shot"]]["rate"], listed[report["shot"]]["rate"]) == (written, written)
        document = json.loads(Path(report["manifest"]).read_text())
        [work] = (house.home / "work/AGM" / report["shot"]).glob("*/plan.json")
        assert json.loads(work.read_text())["rate"] == document["shot"]["rate"] == document["plan"]["rate"] == written
        step = Fraction(document["retime"]["native_frames_per_frame"])
        assert step == Fraction(document["plan"]["native_rate"]) * Fraction(more.get("speed", "1")) / rate
        assert document["retime"]["interpolated"] == sum((k * step).denominator > 1 for k in range(total))
        assert (document["master"]["rate"], document["master"]["frames"]) == (written, total)
        assert_exact(work.with_name("master.mkv"), rate=rate, frames=total)
        for item in report["deliverables"]:
            assert (item["rate"], item["frames"]) == (written, total)
            assert_exact(Path(item["path"]), rate=rate, frames=total)


def planned(native: int, **changes: Any) -> TakePlan:
    """The plan of an animatic that makes so many frames a second."""
    shot = Shot("AGM", "SH0010", 48, plate=Plate("/p/a.png", "0" * 64, 64, 48), width=WIDTH, height=HEIGHT)
    spec = replace(spec_for("animatic"), native_rate=Fraction(native))
    return plan_take(replace(shot, **changes), spec, interpolator=FLOW)


@given(
    frames=st.integers(1, 400),
    handles=st.integers(0, 12),
    native=st.sampled_from((16, 24)),
    rate=st.sampled_from((*DELIVERY_RATES, Fraction(1001, 31))),
    speed=st.sampled_from(SPEEDS),
)
def test_n_asked_are_n_planned(frames: int, handles: int, native: int, rate: Fraction, speed: Fraction) -> None:
    """For every native rate, delivery rate and speed, handles included: the windows cover what the last frame needs,
    every position is k times the step, and the last one is no repetition of the one before."""
    plan = planned(native, frames=frames, handles=handles, rate=rate, speed=speed)
    total = frames + 2 * handles
    assert plan.frames == total
    assert plan.step == native * speed / rate
    needed = native_frames_needed(total, native=Fraction(native), delivery=rate, speed=speed)
    assert needed <= plan.native_frames == sum(len(window.span.segment) for window in plan.windows)
    table = list(retiming_table(total, native=Fraction(native), delivery=rate, speed=speed))
    positions = [sample.source + sample.phase for sample in table]
    assert positions == [k * plan.step for k in range(total)]
    assert len(set(positions)) == total
    assert positions[-1] <= plan.native_frames - 1


class Counting:
    """Counts what it is asked, and makes grey of the right moment."""

    spec = InterpolatorSpec("counting", "", "", "1")

    def __init__(self) -> None:
        self.pairs = self.frames = 0

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        self.pairs += 1
        for phase in phases:
            self.frames += 1
            yield np.asarray(np.rint(first * float(1 - phase) + second * float(phase)), np.uint16)


def test_half_speed_to_sixty_is_one_pass() -> None:
    """16 to 60 at half speed is a step of 2/15 native frames: seven or eight frames of each pair, in one go, at these
    phases and no others."""
    step = Fraction(16) * Fraction(1, 2) / 60
    assert step == Fraction(2, 15)
    table = list(retiming_table(31, native=Fraction(16), delivery=Fraction(60), speed=Fraction(1, 2)))
    assert [(sample.source, sample.phase) for sample in table[:9]] == [
        *((0, Fraction(2 * k, 15)) for k in range(8)),
        (1, Fraction(1, 15)),
    ]
    assert [k for k, sample in enumerate(table) if sample.phase == 0] == [0, 15, 30]
    assert (table[15].source, table[30].source) == (2, 4)


@pytest.mark.parametrize("native", [16, 24])
@pytest.mark.parametrize("speed", SPEEDS, ids=rate_text)
@pytest.mark.parametrize("rate", RATES, ids=rate_text)
def test_the_network_is_asked_once_for_what_is_no_original(native: int, rate: Fraction, speed: Fraction) -> None:
    """Of N delivery frames those that lie on a native frame cost nothing; each other one costs the network once, and
    each pair is given to it once."""
    total, step = 70, native * speed / rate
    needed = native_frames_needed(total, native=Fraction(native), delivery=rate, speed=speed)
    source = (np.full((1, 1, 3), 50 * i, np.uint16) for i in range(needed))
    counting = Counting()
    table = retiming_table(total, native=Fraction(native), delivery=rate, speed=speed)
    shown = [int(frame[0, 0, 0]) for frame in retime(source, table, counting)]
    between = [k * step for k in range(total) if (k * step).denominator > 1]
    assert counting.frames == len(between)
    assert counting.pairs == len({position.__floor__() for position in between})
    assert all(abs(value - 50 * k * step) <= 1 for k, value in enumerate(shown))


@pytest.mark.parametrize(
    ("native", "rate", "speed", "frames"),
    [(16, "60", "1/4", 31), (16, "30", "1", 30), (24, "23.976", "1", 9), (24, "60", "1/8", 26), (16, "25", "1/2", 12)],
)
def test_no_frame_of_a_moving_clip_is_repeated(
    native: int, rate: str, speed: str, frames: int, tmp_path: Path, ffmpeg: str
) -> None:
    """Through files: N frames, each differs from the one before, the last too; what lies on a native frame is it to the
    bit."""
    delivery, slow = parse_rate(rate), Fraction(speed)
    needed = native_frames_needed(frames, native=Fraction(native), delivery=delivery, speed=slow)
    random = np.random.default_rng(5)
    coarse = random.integers(0, 65536, (HEIGHT // 4, 60, 3)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint16)
    source, target = tmp_path / "clip.mkv", tmp_path / "master.mkv"
    size = {"width": WIDTH, "height": HEIGHT}
    with FrameWriter(clip_argv(ffmpeg, source, **size, rate=Fraction(native)), **size, what="t") as writer:
        for at in range(needed):
            writer.write(np.ascontiguousarray(coarse[:, 2 * at : 2 * at + WIDTH]))
    originals = list(read_frames(source, ffmpeg=ffmpeg, **size, count=needed))
    rates = {"native": Fraction(native), "delivery": delivery, "speed": slow}
    report = retime_clip(
        source,
        target,
        ffmpeg=ffmpeg,
        **size,
        source_frames=needed,
        frames=frames,
        **rates,
        interpolator=FlowInterpolator(),
        slate="t",
    )
    made = list(read_frames(target, ffmpeg=ffmpeg, **size))
    assert len(made) == report.frames == frames
    assert report.copied == 0
    assert not any(np.array_equal(one, other) for one, other in pairwise(made))
    for frame, sample in zip(made, retiming_table(frames, **rates), strict=True):
        if sample.phase == 0:
            assert np.array_equal(frame, originals[sample.source])


def test_a_plan_says_what_slow_motion_takes(house: House) -> None:
    """Ten seconds at 60 fps are 161 native frames in two windows or more, at quarter speed 41 in one: nothing is made
    twice as long and then doubled. People read the same numbers."""
    long = {"frames": "600", "fps": "60", "resolution": f"{WIDTH}x{HEIGHT}", "model": "wan2.1-i2v-14b-480p"}
    names = {"SH0010": "1", "SH0020": "1/2", "SH0030": "1/4", "SH0040": "1/8"}
    environment = {"DAILIES_ENGINE": "animatic"}
    house.submit(*({"shot": shot, "speed": speed, **long} for shot, speed in names.items()))
    entries = {entry["shot"]: entry for entry in house.json("plan", **environment)["shots"]}
    for shot, speed in names.items():
        entry = entries[shot]
        needed = native_frames_needed(600, native=Fraction(16), delivery=Fraction(60), speed=Fraction(speed))
        assert (entry["frames"], entry["native_rate"]) == (600, "16/1")
        assert entry["retiming"]["native_frames_per_frame"] == rate_text(Fraction(16, 60) * Fraction(speed))
        assert needed <= entry["native_frames"] < needed + 4
    counts = [len(entries[shot]["windows"]) for shot in names]
    assert counts[0] > counts[1] >= counts[2] == counts[3] == 1
    said = house.run("plan", **environment).stdout
    [line] = [line for line in said.splitlines() if "SH0030" in line and "600" in line]
    assert str(entries["SH0030"]["native_frames"]) in line.split()


def test_faster_than_life_is_refused(house: House) -> None:
    """A speed above 1, or none, refuses the list with its code and what there is instead."""
    speeds = ("2", "1.5", "17/16", "0", "-1/2")
    path = house.plate.parent / f"{house.folder.name}-fast.csv"
    rows = [f"AGM,SH{number:04d},{house.plate},12,{speed}" for number, speed in enumerate(speeds)]
    path.write_text("\n".join(["show,shot,plate,frames,speed", *rows]) + "\n")
    errors = house.json("submit", str(path), code=2)["errors"]
    assert [(one["code"], one["value"]) for one in errors] == [("E320", speed) for speed in speeds]
    assert "1/2" in errors[0]["remedy"]
    assert house.json("shots")["shots"] == []


@pytest.mark.parametrize("speed", [Fraction(1), Fraction(1, 16)])
@pytest.mark.parametrize("native", [16, 24])
def test_the_shortest_shots(native: int, speed: Fraction) -> None:
    """One frame is the first native one; two frames need two native ones, whatever little lies between: there is
    always one to interpolate towards."""
    for rate in (*RATES, Fraction(1)):
        one, two = (planned(native, frames=frames, rate=rate, speed=speed) for frames in (1, 2))
        [first] = retiming_table(1, native=Fraction(native), delivery=rate, speed=speed)
        assert (first.source, first.phase, one.frames) == (0, 0, 1)
        needed = native_frames_needed(2, native=Fraction(native), delivery=rate, speed=speed)
        assert 2 <= needed <= two.native_frames
        assert one.native_frames >= 1


def test_a_clip_too_short_for_its_delivery_is_refused_first(tmp_path: Path, ffmpeg: str) -> None:
    """A delivery that lies between two native frames of which one is there: the sentence has both numbers, and no file
    is begun."""
    target = tmp_path / "master.mkv"
    with pytest.raises(PlanError, match=r"2 frames at 60 fps and speed 1/16 need 2 source frames at 16 fps, .* has 1"):
        retime_clip(
            tmp_path / "none.mkv",
            target,
            ffmpeg=ffmpeg,
            width=WIDTH,
            height=HEIGHT,
            source_frames=1,
            frames=2,
            native=Fraction(16),
            delivery=Fraction(60),
            speed=Fraction(1, 16),
            interpolator=FlowInterpolator(),
            slate="t",
        )
    assert not target.exists()
