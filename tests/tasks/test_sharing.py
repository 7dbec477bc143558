"""Processes that share a clip: the same bits, and nothing of them is left, however it ends."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_engines import MARK, Alone, Shared

from models.flow import FlowInterpolator
from models.interface import DeviceLost, EngineError, Frame, FrameInterpolator
from models.rife import RifeNcnn
from tasks.errors import StepError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter
from tasks.retime import Origin, RetimeReport, Sample, retime_clip, retime_with_origin, retiming_table
from tasks.sharing import MOST_WORKERS, WORTH, ProcessDied, Sharing, cores, shared, suitable_workers, workers_for
from tasks.sharing_worker import Slots

WIDTH, HEIGHT = 96, 64
ROOT = Path(__file__).resolve().parents[2]


def pictures(count: int, *, mark: int | None = None) -> list[Frame]:
    """A pan over noise, in values that 12 bits hold; frame `mark` is marked."""
    wide = np.random.default_rng(3).integers(0, 4096, (HEIGHT, WIDTH + 2 * count, 3)).astype(np.uint32)
    wide = (wide.repeat(8, axis=0).repeat(8, axis=1)[:HEIGHT, : wide.shape[1]] * 65535 + 2047) // 4095
    frames = [np.ascontiguousarray(wide[:, 2 * k : 2 * k + WIDTH].astype(np.uint16)) for k in range(count)]
    for index, frame in enumerate(frames):
        frame[0, 0, 0] = 16 * (index + 100)
        if index == mark:
            frame[0, 0, 0] = MARK
    return frames


def clip(path: Path, frames: list[Frame], ffmpeg: str) -> Path:
    """Written as the pipeline's clips are."""
    argv = clip_argv(ffmpeg, path, width=WIDTH, height=HEIGHT, rate=Fraction(16))
    with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="test clip") as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.fixture(scope="session")
def pan(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Path:
    """Seventeen frames of a pan, with two equal neighbours."""
    frames = pictures(17)
    frames[6] = frames[5]
    return clip(tmp_path_factory.mktemp("pan") / "clip.mkv", frames, ffmpeg)


def master(source: Path, target: Path, interpolator: FrameInterpolator, ffmpeg: str, **changes: Any) -> RetimeReport:
    """Retimed from 16 to 60 frames a second."""
    size = {"width": WIDTH, "height": HEIGHT, "source_frames": 17, "frames": 61}
    rates = {"native": Fraction(16), "delivery": Fraction(60), "speed": Fraction(1)}
    words = {"ffmpeg": ffmpeg, "slate": "AGM_SH0010_v001", "interpolator": interpolator}
    return retime_clip(source, target, **{**size, **rates, **words, **changes})


def children() -> list[str]:
    """Command lines of our processes."""
    mine = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    found = [child for file in mine for child in file.read_text().split()]
    return [Path(f"/proc/{child}/cmdline").read_text() for child in found]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(true: Callable[[], bool], *, seconds: float = 20) -> bool:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize("name", ["flow", "blend", pytest.param("rife", marks=pytest.mark.rife)])
def test_the_number_of_processes_changes_no_bit(
    name: str, pan: Path, tmp_path: Path, ffmpeg: str, request: pytest.FixtureRequest
) -> None:
    """One, two or three: the same master, byte for byte, and the same report; afterwards no process is left."""
    if name == "rife":
        request.getfixturevalue("rife_runs")
        engine: FrameInterpolator = RifeNcnn(request.getfixturevalue("linear_model"), threads=1)
    else:
        engine = FlowInterpolator() if name == "flow" else Shared(folder=tmp_path)
    made = set()
    for workers in (1, 2, 3):
        target = tmp_path / f"{workers}.mkv"
        report = master(pan, target, engine, ffmpeg, workers=workers)
        assert report == RetimeReport(frames=61, interpolated=52, copied=4, cuts=())
        made.add(hashlib.sha256(target.read_bytes()).hexdigest())
        assert not [words for words in children() if "sharing" in words]
    assert len(made) == 1
    if name == "blend":  # processes did it: each left its number
        assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) == 2 + 3


def test_stills_and_cuts_among_shared_pairs() -> None:
    """Whatever is held, copied or made: the same frames from the same origins, in the same order, as alone."""
    three = shared(Shared(), workers=3, width=4, height=2, most_phases=3)
    assert three is not None

    @settings(max_examples=60)
    @given(
        values=st.lists(st.sampled_from([0, 500, 9000, 40000]), min_size=2, max_size=30),
        cuts=st.sets(st.integers(0, 29), max_size=4),
        step=st.sampled_from([Fraction(2, 15), Fraction(4, 15), Fraction(4, 5), Fraction(1, 2), Fraction(3, 2)]),
    )
    def agree(values: list[int], cuts: set[int], step: Fraction) -> None:
        count = int((len(values) - 1) / step) + 1
        table = list(retiming_table(count, native=step, delivery=Fraction(1), speed=Fraction(1)))

        def run(sharing: Sharing | None) -> list[tuple[int, Origin]]:
            source = (np.full((2, 4, 3), value + 1, np.uint16) for value in values)
            made = retime_with_origin(source, table, Shared(), is_cut=cuts.__contains__, sharing=sharing)
            return [(int(frame[1, 3, 2]), origin) for frame, origin in made]

        assert run(three) == run(None)

    with three:
        agree()


def test_slow_motion_with_more_frames_per_pair_than_room() -> None:
    """The ring is smaller than what lies between two frames: processes wait, and nothing is lost or stuck."""
    table = [Sample(source, Fraction(k, 40)) for source in range(9) for k in range(40)]
    source = [np.full((2, 4, 3), 1000 * k + 100, np.uint16) for k in range(10)]
    sharing = shared(Shared(), workers=2, width=4, height=2, most_phases=1)
    assert sharing is not None
    with sharing:
        values = [
            int(frame[0, 0, 0]) for frame, _ in retime_with_origin(iter(source), table, Shared(), sharing=sharing)
        ]
    assert values == [100 + 25 * k for k in range(360)]


def test_a_source_frame_is_the_same_array_within_a_run() -> None:
    """An engine that keeps what it found in a frame finds it once per run of four pairs, and never by mistake."""
    table = [Sample(source, Fraction(1, 2)) for source in range(16)]
    source = [np.full((2, 4, 3), 1000 * k + 100, np.uint16) for k in range(17)]
    sharing = shared(Shared("keeps"), workers=2, width=4, height=2, most_phases=1)
    assert sharing is not None
    with sharing:
        made = retime_with_origin(iter(source), table, Shared("keeps"), sharing=sharing)
        assert [int(frame[0, 0, 0]) for frame, _ in made] == [0, 1, 1, 1] * 4


def test_what_a_library_prints_is_no_reply(tmp_path: Path, ffmpeg: str, pan: Path) -> None:
    """Words on standard output, natively or by Python, do not mix with frames."""
    assert master(pan, tmp_path / "m.mkv", Shared("chatty"), ffmpeg, workers=2).interpolated == 52


FAILURES = [
    ("dies", ProcessDied, r"process \d of 2 for shared \(pid \d+\) was killed by signal 9.*fewer workers"),
    ("other", EngineError, "version='2'.* instead of .*version='1'"),
    ("loses", DeviceLost, "vulkan:0 has gone"),
    ("fails", EngineError, "RuntimeError: no such tensor"),
    ("short", EngineError, "made 1 of 3 frames"),
    ("shape", EngineError, r"made a frame of \(63, 96, 3\)"),
]
"""Habits, and what they lead to; the first two only in another process."""


@pytest.mark.parametrize(
    ("workers", "habit", "kind", "words"),
    [*((2, *failure) for failure in FAILURES), *((1, *failure) for failure in FAILURES[2:])],
)
def test_an_engine_that_fails_leaves_nothing(
    workers: int, habit: str, kind: type[EngineError], words: str, tmp_path: Path, ffmpeg: str
) -> None:
    """Wherever it runs: a StepError with the slate, its cause of the engine's own kind, no master, no process."""
    source = clip(tmp_path / "clip.mkv", pictures(17, mark=11), ffmpeg)
    with pytest.raises(StepError, match=f"AGM_SH0010_v001: .*{words}") as caught:
        master(source, tmp_path / "m.mkv", Shared(habit), ffmpeg, workers=workers)
    assert type(caught.value.__cause__) is kind
    assert not (tmp_path / "m.mkv").exists()
    assert not [line for line in children() if "sharing" in line or str(tmp_path) in line]


def test_a_process_that_does_not_start_says_why(tmp_path: Path, ffmpeg: str, pan: Path) -> None:
    """An opener that fails in the other process is named."""

    class Lost(Shared):
        def opener(self, threads: int) -> Any:
            return tuple  # opens something that is no interpolator

    with pytest.raises(StepError, match=r"process 1 of 2 .*AttributeError.*spec"):
        master(pan, tmp_path / "m.mkv", Lost(), ffmpeg, workers=2)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_an_interrupt_while_a_process_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the start of a process and its first order: it is ended, and waited for."""
    before = children()

    def interrupted(*_: object) -> None:
        assert len(children()) == len(before) + 1
        raise KeyboardInterrupt

    for name in ("LastWords", "_Worker._tell"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tasks.sharing.{name}", interrupted)
            sharing = Sharing(Shared, Shared().spec, workers=2, slots=Slots(8, 8, given=4, made=4), run=1)
            with pytest.raises(KeyboardInterrupt), sharing:
                pass
        assert children() == before


SCRIPT = """
import sys, threading
from fractions import Fraction
from pathlib import Path
from shared_engines import Shared
from tasks.retime import retime_clip
from tasks.stopping import STOPPING
clip, target, folder, ffmpeg = sys.argv[1:]
size = dict(width=96, height=64, source_frames=17, frames=61)
rates = dict(native=Fraction(16), delivery=Fraction(60), speed=Fraction(1))
with STOPPING.on_sigterm():
    retime_clip(Path(clip), Path(target), ffmpeg=ffmpeg, slate="X", interpolator=Shared("slow", Path(folder)),
                workers=2, **size, **rates)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_signal_leaves_anything(number: signal.Signals, pan: Path, tmp_path: Path, ffmpeg: str) -> None:
    """Ctrl-C, SIGTERM, and SIGKILL, after which nobody can tidy up: no process and no named memory outlives us."""
    before = set(os.listdir("/dev/shm")) if Path("/dev/shm").exists() else set()
    folder, target = tmp_path / "pids", tmp_path / "m.mkv"
    folder.mkdir()
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    argv = [sys.executable, "-c", SCRIPT, str(pan), str(target), str(folder), ffmpeg]
    with subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE) as child:
        assert until(lambda: len(list(folder.iterdir())) == 2 and target.exists())
        pids = [int(file.name) for file in folder.iterdir()]
        task = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        others = [int(pid) for pid in task.read_text().split()]
        assert {*pids} < {*others}  # ffmpeg too
        child.send_signal(number)
        assert child.wait(20) != 0
    assert until(lambda: not any(map(alive, others)))
    assert number == signal.SIGKILL or not target.exists()
    left = set(os.listdir("/dev/shm")) - before if before else set()
    assert not [name for name in left if "frames" in name or name.startswith("psm_")]


@given(
    made=st.integers(0, 100_000),
    width=st.integers(16, 4096),
    height=st.integers(16, 2304),
    cores=st.integers(1, 128),
    memory=st.integers(1 << 28, 1 << 40),
)
def test_processes_are_started_where_they_pay(made: int, width: int, height: int, cores: int, memory: int) -> None:
    """Never more than cores, than the work is worth, or than half of the memory holds; at least this one."""
    count = workers_for(made, width=width, height=height, cores=cores, memory=memory)
    assert 1 <= count <= min(cores, MOST_WORKERS)
    if count > 1:
        assert made * width * height >= count * WORTH
        assert count * 3000 * width * height <= memory / 2


def test_a_short_clip_stays_here() -> None:
    """Ten frames of 720p are made by the engine that is there; a thousand are shared; a device's are not."""
    memory = 64 << 30
    assert workers_for(10, width=1280, height=720, cores=16, memory=memory) == 1
    assert workers_for(1000, width=1280, height=720, cores=4, memory=memory) == 4
    for engine in (Shared("device"), Alone()):
        assert suitable_workers(engine, 10_000, width=1280, height=720) == 1
        assert shared(engine, workers=4, width=8, height=8, most_phases=4) is None
    assert suitable_workers(Shared(), 10_000, width=640, height=360) == min(cores(), MOST_WORKERS)
