"""Retiming: exact positions, real frames kept, nothing blended across a cut, nothing piled up in memory."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.timebase import DELIVERY_RATES, native_frames_needed
from models.flow import FlowInterpolator
from models.interface import EngineError, Frame, InterpolatorSpec
from tasks.cuts import CutWatch, detect_cuts
from tasks.errors import FfmpegError, MediaError, PlanError, StepError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, read_frames, to_working
from tasks.progress import Progress, listening
from tasks.retime import (
    Origin,
    RetimeReport,
    Sample,
    hold_cuts,
    retime,
    retime_clip,
    retime_with_origin,
    retiming_table,
)

NATIVE = (Fraction(16), Fraction(24), Fraction(24000, 1001))
SPEEDS = (Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 8))
WIDTH, HEIGHT = 96, 64


class Blend:
    """A FrameInterpolator that mixes, and remembers what it was asked."""

    def __init__(self, *, short_by: int = 0, fails: bool = False) -> None:
        self.asked: list[tuple[Fraction, ...]] = []
        self._short_by, self._fails = short_by, fails

    @property
    def spec(self) -> InterpolatorSpec:
        return InterpolatorSpec("blend", "", "", "1")

    def between(self, first: Frame, second: Frame, phases: Sequence[Fraction]) -> Iterator[Frame]:
        self.asked.append(tuple(phases))
        if self._fails:
            raise EngineError("the device is gone; use another")
        for phase in phases[: len(phases) - self._short_by]:
            yield np.rint(first * (1 - float(phase)) + second * float(phase)).astype(np.uint16)


def texture(seed: int) -> Frame:
    """A smooth picture three frames wide, in values that 12 bits hold exactly."""
    random = np.random.default_rng(seed)
    coarse = random.random((HEIGHT // 8 + 1, WIDTH * 3 // 8 + 1, 3))
    fine = coarse.repeat(8, axis=0).repeat(8, axis=1)[:HEIGHT, : WIDTH * 3]
    for axis in (0, 1):
        fine = sum(np.roll(fine, shift, axis) for shift in range(-3, 4)) / 7
    planes = (fine * 4095).astype(np.uint32)
    return ((planes * 65535 + 2047) // 4095).astype(np.uint16)


def panned(seed: int, count: int, *, step: int = 2) -> list[Frame]:
    """`count` frames of a camera that moves by `step` pixels a frame."""
    wide = texture(seed)
    return [np.ascontiguousarray(wide[:, k * step : k * step + WIDTH]) for k in range(count)]


@given(
    frames=st.integers(1, 2000),
    native=st.sampled_from(NATIVE),
    delivery=st.sampled_from(DELIVERY_RATES),
    speed=st.sampled_from(SPEEDS),
)
def test_the_table_is_exact(frames: int, native: Fraction, delivery: Fraction, speed: Fraction) -> None:
    """N samples, each at k * native * speed / delivery, ascending, none past the last source frame and none spared."""
    table = list(retiming_table(frames, native=native, delivery=delivery, speed=speed))
    last = native_frames_needed(frames, native=native, delivery=delivery, speed=speed) - 1
    assert len(table) == frames
    before = Fraction(-1)
    for k, sample in enumerate(table):
        assert 0 <= sample.phase < 1
        position = sample.source + sample.phase
        assert position == k * native * speed / delivery
        assert position > before
        before = position
    assert table[-1].source + (table[-1].phase > 0) == last


@given(
    frames=st.integers(1, 400),
    native=st.fractions(Fraction(1, 2), 240, max_denominator=1001),
    delivery=st.fractions(Fraction(1, 2), 240, max_denominator=1001),
    speed=st.fractions(Fraction(1, 16), 4, max_denominator=16),
)
def test_no_two_frames_show_the_same_moment(frames: int, native: Fraction, delivery: Fraction, speed: Fraction) -> None:
    """Whatever exact rates and speed are combined: N asked, N samples, no moment twice, not even the last."""
    table = list(retiming_table(frames, native=native, delivery=delivery, speed=speed))
    moments = [sample.source + sample.phase for sample in table]
    assert len(set(moments)) == len(moments) == frames
    assert sum(sample.phase > 0 for sample in table) == frames - -(-frames // (native * speed / delivery).denominator)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"native": Fraction(0)}, {"speed": Fraction(-1)}, {"speed": 0.5}])
def test_a_table_of_nothing_is_refused_at_once(wrong: dict[str, Any]) -> None:
    """Before the first sample is taken."""
    good = {"frames": 5, "native": Fraction(16), "delivery": Fraction(30), "speed": Fraction(1)}
    frames, *_ = (arguments := {**good, **wrong}).values()
    with pytest.raises(ValueError, match=r"cannot retime|must be exact"):
        retiming_table(frames, **{name: arguments[name] for name in ("native", "delivery", "speed")})  # type: ignore[arg-type]


def test_the_nearer_frame_is_held_at_a_cut() -> None:
    """Halfway holds the earlier one; elsewhere, and at phase 0, nothing changes."""
    held = [hold_cuts(Sample(3, Fraction(n, 4)), {3}) for n in range(4)]
    assert [sample.source for sample in held] == [3, 3, 3, 4]
    assert all(sample.phase == 0 for sample in held)
    assert hold_cuts(Sample(2, Fraction(1, 4)), {3}) == Sample(2, Fraction(1, 4))


@given(
    frames=st.integers(1, 60),
    native=st.sampled_from(NATIVE),
    delivery=st.sampled_from((*DELIVERY_RATES, Fraction(6))),
    speed=st.sampled_from(SPEEDS),
)
def test_every_frame_shows_its_moment(frames: int, native: Fraction, delivery: Fraction, speed: Fraction) -> None:
    """Frame k of a clip whose frame i is grey i shows grey k * step; each pair is asked for once, phases ascend."""
    needed = native_frames_needed(frames, native=native, delivery=delivery, speed=speed)
    source = (np.full((1, 1, 3), i * 100, np.uint16) for i in range(needed))
    blend = Blend()
    table = retiming_table(frames, native=native, delivery=delivery, speed=speed)
    shown = [int(frame[0, 0, 0]) for frame in retime(source, table, blend)]
    step = native * speed / delivery
    assert len(shown) == frames
    assert all(abs(value - 100 * k * step) <= Fraction(1, 2) for k, value in enumerate(shown))
    assert all(list(phases) == sorted(phases) and 0 not in phases for phases in blend.asked)
    assert len(blend.asked) <= needed


@given(frames=st.integers(1, 60), delivery=st.sampled_from(DELIVERY_RATES), speed=st.sampled_from(SPEEDS))
def test_no_frame_is_repeated(frames: int, delivery: Fraction, speed: Fraction) -> None:
    """Each is real or made, the last one too, where neighbours differ and nothing is cut."""
    needed = native_frames_needed(frames, native=Fraction(16), delivery=delivery, speed=speed)
    source = (np.full((1, 1, 3), i * 100, np.uint16) for i in range(needed))
    table = list(retiming_table(frames, native=Fraction(16), delivery=delivery, speed=speed))
    made = list(retime_with_origin(source, table, Blend()))
    assert [origin for _, origin in made] == [
        Origin.INTERPOLATED if sample.phase else Origin.ORIGINAL for sample in table
    ]


def test_equal_neighbours_are_not_computed() -> None:
    """A still is copied, frame for frame."""
    still = [texture(1)[:, :WIDTH]] * 4
    blend = Blend()
    table = retiming_table(7, native=Fraction(1), delivery=Fraction(2), speed=Fraction(1))
    assert all(np.array_equal(frame, still[0]) for frame in retime(iter(still), table, blend))
    assert blend.asked == []


@pytest.mark.parametrize("missing", [1, 3])
def test_a_source_that_ends_early_is_an_error(missing: int) -> None:
    """Never a repeated frame: the message names the frame that is needed."""
    source = panned(1, 5 - missing)
    table = retiming_table(9, native=Fraction(1), delivery=Fraction(2), speed=Fraction(1))
    with pytest.raises(MediaError, match=f"ends after {5 - missing} frames"):
        list(retime(iter(source), table, Blend()))


def test_an_interpolator_that_gives_too_few_is_an_error() -> None:
    """The count is kept by refusing, not by repeating."""
    table = retiming_table(9, native=Fraction(1), delivery=Fraction(4), speed=Fraction(1))
    with pytest.raises(EngineError, match="2 of 3"):
        list(retime(iter(panned(1, 3)), table, Blend(short_by=1)))


@pytest.mark.parametrize("length", [50, 400])
def test_frames_stream(length: int) -> None:
    """However long the clip, at most five source frames are alive: two retimed, one ahead, one on its way each side."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Tracked(np.ndarray):
        """An array that can be counted."""

        __hash__ = object.__hash__  # type: ignore[assignment]

    def source() -> Iterator[Frame]:
        for index in range(length):
            frame = np.full((16, 16, 3), index, np.uint16).view(Tracked)
            alive.add(frame)
            yield frame
            del frame

    watch = CutWatch(source())
    table = retiming_table(length * 2 - 1, native=Fraction(1), delivery=Fraction(2), speed=Fraction(1))
    for _ in retime(watch, table, Blend(), is_cut=watch.is_cut):
        most = max(most, len(alive))
    assert most <= 5


def test_cuts_are_found_where_they_were_planted() -> None:
    """Between pans over different pictures, wherever the cut lies, also next to the clip's ends."""
    for at in (1, 2, 7, 18, 19):
        assert detect_cuts(iter(panned(1, at) + panned(2, 20 - at))) == (at - 1,)
    assert detect_cuts(iter(panned(1, 8) + panned(2, 8) + panned(3, 8))) == (7, 15)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(lambda: panned(1, 20), id="slow pan"),
        pytest.param(lambda: panned(1, 15, step=9), id="fast pan"),
        pytest.param(lambda: panned(1, 6, step=0) + panned(1, 9, step=9), id="start of a fast pan"),
        pytest.param(lambda: panned(1, 5, step=35), id="whip pan"),
        pytest.param(lambda: flashed(panned(1, 20), 9), id="flash of one frame"),
        pytest.param(
            lambda: [(frame * (k / 20)).astype(np.uint16) for k, frame in enumerate(panned(1, 20))], id="fade"
        ),
        pytest.param(lambda: shaken(20), id="handheld"),
        pytest.param(lambda: panned(1, 1), id="one frame"),
        pytest.param(list, id="none"),
    ],
)
def test_what_is_no_cut(frames: Callable[[], list[Frame]]) -> None:
    """Motion, flashes and fades stay one shot."""
    assert detect_cuts(iter(frames())) == ()


def flashed(frames: list[Frame], at: int) -> list[Frame]:
    """One frame nearly white."""
    frames[at] = np.maximum(frames[at], 60000)
    return frames


def shaken(count: int) -> list[Frame]:
    """A camera that jumps by up to 5 pixels a frame, both ways."""
    random, wide = np.random.default_rng(5), texture(4)
    offsets = random.integers(-5, 6, count).cumsum() + 90
    return [np.ascontiguousarray(wide[:, offset : offset + WIDTH]) for offset in offsets]


def test_the_watch_passes_frames_through() -> None:
    """Every frame, once, in order, the same array."""
    frames = panned(1, 6)
    assert [id(frame) for frame in CutWatch(iter(frames))] == [id(frame) for frame in frames]


@pytest.fixture
def clip(tmp_path: Path, ffmpeg: str) -> Callable[[list[Frame]], Path]:
    """Writes frames as the pipeline's clips are written."""

    def write(frames: list[Frame]) -> Path:
        path = tmp_path / "clip.mkv"
        argv = clip_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=Fraction(16))
        with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="test clip") as writer:
            for frame in frames:
                writer.write(frame)
        return path

    return write


def master(source: Path, ffmpeg: str, **changes: Any) -> tuple[RetimeReport, list[Frame]]:
    """The clip retimed from 16 to 30 frames a second, and the frames of the result."""
    target = source.with_name("master.mkv")
    arguments = {
        "width": WIDTH,
        "height": HEIGHT,
        "source_frames": 17,
        "frames": 31,
        "native": Fraction(16),
        "delivery": Fraction(30),
        "speed": Fraction(1),
        "interpolator": FlowInterpolator(),
        "slate": "AGM_SH0010_v001",
        **changes,
    }
    report = retime_clip(source, target, ffmpeg=ffmpeg, **arguments)
    return report, list(read_frames(target, ffmpeg=ffmpeg, width=WIDTH, height=HEIGHT))


def test_originals_pass_bit_for_bit_through_files(clip: Callable[[list[Frame]], Path], ffmpeg: str) -> None:
    """16 to 30: frames 0, 15 and 30 are source frames 0, 8 and 16; all others are made, and all are announced."""
    frames = panned(1, 17)
    heard: list[Progress] = []
    with listening(heard.append):
        report, made = master(clip(frames), ffmpeg)
    assert report == RetimeReport(frames=31, interpolated=28, copied=0, cuts=())
    assert len(made) == 31
    for delivered, source in ((0, 0), (15, 8), (30, 16)):
        assert np.array_equal(made[delivered], frames[source])
    assert [step.done for step in heard] == list(range(1, 32))
    assert {step.total for step in heard} == {31}


@pytest.mark.parametrize(
    ("delivery", "speed"),
    [(Fraction(30000, 1001), Fraction(1)), (Fraction(60), Fraction(1, 2)), (Fraction(16), Fraction(1))],
)
def test_the_count_is_what_was_asked_for(
    clip: Callable[[list[Frame]], Path], ffmpeg: str, delivery: Fraction, speed: Fraction
) -> None:
    """At an NTSC rate, in slow motion in one pass, and at the native rate, where nothing is made."""
    report, made = master(clip(panned(1, 17)), ffmpeg, frames=17, delivery=delivery, speed=speed)
    assert len(made) == report.frames == 17
    assert (report.interpolated == 0) == (delivery == 16)


def test_cuts_are_held_not_blended(clip: Callable[[list[Frame]], Path], ffmpeg: str) -> None:
    """On both sides of the cut every delivered frame is one of the two source frames."""
    frames = panned(1, 9) + panned(2, 8)
    report, made = master(clip(frames), ffmpeg, frames=61, delivery=Fraction(60))
    assert report.cuts == (8,)
    assert report.copied == 3
    # 60 / 16 = 15/4: between source frames 8 and 9 lie delivery frames 31 to 33 (and 30 is frame 8 itself)
    for delivered, source in ((30, 8), (31, 8), (32, 9), (33, 9)):
        assert np.array_equal(to_working(made[delivered]), to_working(frames[source]))


def test_a_clip_one_frame_short_is_an_error(clip: Callable[[list[Frame]], Path], ffmpeg: str) -> None:
    """Named with both counts, and no master is left behind."""
    source = clip(panned(1, 16))
    with pytest.raises(MediaError, match=r"ends after 16 frames.*17"):
        master(source, ffmpeg)
    assert not source.with_name("master.mkv").exists()


def test_too_short_a_plan_is_refused_first(tmp_path: Path, ffmpeg: str) -> None:
    """Before any file is opened."""
    with pytest.raises(PlanError, match="need 17 source frames"):
        master(tmp_path / "nothing.mkv", ffmpeg, source_frames=16)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"source_frames": 1}, "the clip has 1; between less than two frames lies nothing"),
        ({"source_frames": 0, "frames": 1}, "need 1 source frames"),
        ({"frames": 0}, "AGM_SH0010_v001: cannot retime 0 frames"),
        ({"native": Fraction(0)}, "cannot retime 31 frames from 0"),
        ({"delivery": 29.97}, "must be exact"),
        ({"workers": -1}, "-1 processes cannot share"),
    ],
)
def test_what_cannot_be_planned_is_refused_first(
    wrong: dict[str, Any], words: str, tmp_path: Path, ffmpeg: str
) -> None:
    """With the shot and the remedy, before any file is opened or made."""
    with pytest.raises(PlanError, match=words):
        master(tmp_path / "nothing.mkv", ffmpeg, **wrong)
    assert not list(tmp_path.iterdir())


def test_one_frame_is_delivered_from_one_frame(clip: Callable[[list[Frame]], Path], ffmpeg: str) -> None:
    """Nothing has to be made for it."""
    frames = panned(1, 1)
    report, made = master(clip(frames), ffmpeg, source_frames=1, frames=1)
    assert report == RetimeReport(frames=1, interpolated=0, copied=0, cuts=())
    assert np.array_equal(made[0], frames[0])


def test_a_full_disk_is_an_error_of_the_encoder(clip: Callable[[list[Frame]], Path], ffmpeg: str) -> None:
    """The writer's error is raised once, with the shot's name, however far the other stages are."""
    source = clip(panned(1, 17))
    target = source.with_name("no such folder") / "master.mkv"
    with pytest.raises(FfmpegError, match="AGM_SH0010_v001, retime: ffmpeg ended with exit code"):
        retime_clip(
            source,
            target,
            ffmpeg=ffmpeg,
            width=WIDTH,
            height=HEIGHT,
            source_frames=17,
            frames=31,
            native=Fraction(16),
            delivery=Fraction(30),
            speed=Fraction(1),
            interpolator=FlowInterpolator(),
            slate="AGM_SH0010_v001",
        )


@pytest.mark.usefixtures("hears_ctrl_c")
def test_a_ctrl_c_frees_a_reader_that_hangs(tmp_path: Path, ffmpeg: str) -> None:
    """A source that never gives a frame does not keep anybody: no thread, no program, no master is left."""
    source = tmp_path / "clip.mkv"
    os.mkfifo(source)
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        master(source, ffmpeg)
    assert not [thread for thread in threading.enumerate() if thread.name in ("ahead", "behind")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv"]
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if mine.exists():
        commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in mine.read_text().split()]
        assert not [command for command in commands if str(tmp_path).encode() in command]


def test_a_failing_interpolator_leaves_no_master(clip: Callable[[list[Frame]], Path], ffmpeg: str) -> None:
    """The shot is named, the engine's words are kept."""
    source = clip(panned(1, 17))
    with pytest.raises(StepError, match="AGM_SH0010_v001: the device is gone"):
        master(source, ffmpeg, interpolator=Blend(fails=True))
    assert not source.with_name("master.mkv").exists()
