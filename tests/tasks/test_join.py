"""Joining: the right frames, the right weights, in constant memory."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs.footage import Clip
from catalogs.shot import Plate, Shot
from catalogs.timebase import FrameRange
from models.animatic import Animatic
from models.flow import FlowInterpolator
from models.interface import Frame, InterpolatorSpec
from tasks.dissolve import fade
from tasks.engines import spec_for
from tasks.errors import MediaError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter, from_working, read_frames, to_working
from tasks.generate import request_for
from tasks.join import join_clips, joined
from tasks.plan import TakePlan, plan_take
from tasks.tone import Tone, Toner
from tasks.windows import dissolve_weights, span_windows

FLOW = InterpolatorSpec("flow", "", "", "1")


def _frame(value: int) -> Frame:
    return np.full((1, 1, 3), value, np.uint16)


def _stream(start: int, count: int) -> Generator[Frame]:
    """Frames that show their own index in the shot."""
    return (_frame(start + index) for index in range(count))


def _faded(seam: int, tail: Sequence[Frame], head: Sequence[Frame]) -> list[Frame]:
    weights = dissolve_weights(len(tail))
    return [fade(earlier, later, weight) for earlier, later, weight in zip(tail, head, weights, strict=True)]


@given(frames=st.integers(82, 2000), overlap=st.integers(0, 16))
def test_windows_that_agree_join_to_the_shot(frames: int, overlap: int) -> None:
    """Where windows show the same frames, the join is those frames, each once and in order."""
    spans = span_windows(frames, spec=spec_for("wan2.1-i2v-14b-720p"), overlap=overlap)
    lengths = [len(span.range) for span in spans]
    whole = joined(
        [_stream(span.range.start, len(span.range)) for span in spans], lengths, overlap=overlap, meet=_faded
    )
    assert [int(frame[0, 0, 0]) for frame in whole] == list(range(spans[-1].range.end))


@given(earlier=st.integers(0, 65535), later=st.integers(0, 65535), step=st.integers(0, 17), of=st.integers(17, 17))
def test_a_dissolve_is_exact(earlier: int, later: int, step: int, of: int) -> None:
    """The blend is the weighted mean rounded half up, and equal frames stay as they are."""
    weight = Fraction(step, of)
    mixed = int(fade(_frame(earlier), _frame(later), weight)[0, 0, 0])
    exact = earlier * (1 - weight) + later * weight
    assert abs(mixed - exact) <= Fraction(1, 2)
    assert int(fade(_frame(earlier), _frame(earlier), weight)[0, 0, 0]) == earlier


def test_a_dissolve_rises_from_one_window_to_the_other() -> None:
    """Between a black window and a white one the overlap rises by equal steps."""
    black, white = (_frame(0) for _ in range(6)), (_frame(65535) for _ in range(6))
    values = [int(frame[0, 0, 0]) for frame in joined([black, white], [6, 6], overlap=4, meet=_faded)]
    assert values == [0, 0, 13107, 26214, 39321, 52428, 65535, 65535]


def test_a_window_that_ends_early_is_named() -> None:
    """A short window is an error with its number, not a short shot."""
    with pytest.raises(MediaError, match="window 2 ended 1 frame early"):
        list(joined([_stream(0, 5), _stream(3, 4)], [5, 5], overlap=2, meet=_faded))


def test_joining_streams() -> None:
    """At no time is more taken ahead of the frame that is handed out than what two windows share."""
    taken = 0

    def counted(start: int, count: int) -> Generator[Frame]:
        nonlocal taken
        for frame in _stream(start, count):
            taken += 1
            yield frame

    shown = joined([counted(0, 50), counted(44, 50)], [50, 50], overlap=6, meet=_faded)
    for given_out, _ in enumerate(shown, start=1):
        assert taken <= given_out + 2 * 6


def _plan(plate: Path) -> TakePlan:
    shot = Shot(
        show="AGM",
        code="SH0010",
        frames=100,
        rate=Fraction(16),
        plate=Plate(str(plate), "0" * 64, 320, 180),
        width=128,
        height=72,
    )
    return plan_take(shot, spec_for("animatic"), interpolator=FLOW)


def test_clips_on_disk_join_to_the_planned_frames(plate_path: Path, ffmpeg: str, tmp_path: Path) -> None:
    """Two overlapping files become one of exactly the planned length; what overhangs is cut off."""
    plan = _plan(plate_path)
    assert len(plan.windows) == 2
    clips = []
    for window in plan.windows:
        path = tmp_path / f"{window.index}.mkv"
        span = window.span.range
        with FrameWriter(
            clip_argv(ffmpeg, path, width=128, height=72, rate=Fraction(16)), width=128, height=72, what="t"
        ) as writer:
            for index in range(span.start, span.end):
                writer.write(np.full((72, 128, 3), index * 500, np.uint16))
        clips.append(Clip(path, "", 0, span, Fraction(16), 128, 72))
    join_clips(plan, clips, tmp_path / "joined.mkv", interpolator=FlowInterpolator(), ffmpeg=ffmpeg)
    back = list(read_frames(tmp_path / "joined.mkv", ffmpeg=ffmpeg, width=128, height=72))
    assert len(back) == 100
    for index, frame in enumerate(back):
        assert np.array_equal(frame, from_working(to_working(np.full((72, 128, 3), index * 500, np.uint16))))
    with pytest.raises(MediaError, match=r"early|ends after"):
        join_clips(
            plan,
            [replace(clips[0], range=FrameRange(0, 81)), clips[1]],
            tmp_path / "x.mkv",
            interpolator=FlowInterpolator(),
            ffmpeg=ffmpeg,
        )


def _ten_windows(plate: Path, folder: Path, ffmpeg: str, *, drift: float) -> tuple[TakePlan, list[Clip]]:
    """A slow push in by a model that makes seventeen frames at a time and is handed two, the rest of the overlap being
    its own; each window is `drift` redder and less blue than the one before it."""
    shot = Shot("AGM", "SH0010", 122, rate=Fraction(16), plate=Plate(str(plate), "0" * 64, 320, 180), camera="push in")
    spec = replace(spec_for("animatic"), longest_window=17, overlap=5, context=2, sizes=((128, 72),))
    plan = plan_take(shot, spec, interpolator=FLOW)
    clips: list[Clip] = []
    tail: list[Frame] = []
    for window in plan.windows:
        path, span = folder / f"{drift}-{window.index}.mkv", window.span.range
        argv = clip_argv(ffmpeg, path, width=128, height=72, rate=Fraction(16))
        tone = Toner(Tone(((1 + drift) ** window.index, 1.0, (1 - drift) ** window.index)))
        frames = [tone.frame(frame) for frame in Animatic().generate(request_for(plan, window), [])]
        frames[: window.context] = tail[: window.context]
        tail = frames[-plan.overlap :]
        with FrameWriter(argv, width=128, height=72, what="t") as writer:
            for frame in frames:
                writer.write(frame)
        clips.append(Clip(path, "", 0, span, Fraction(16), 128, 72))
    return plan, clips


def test_ten_windows_that_drift_keep_the_colours_of_the_first(plate_path: Path, ffmpeg: str, tmp_path: Path) -> None:
    """A drift of 1.5 % a window is taken out to nine tenths and more, its seams do not show, and without any drift no
    frame is moved by 0.2/255."""
    shown: dict[float, list[Frame]] = {}
    told: dict[float, dict[str, Any]] = {}
    for drift in (0.0, 0.015):
        plan, clips = _ten_windows(plate_path, tmp_path, ffmpeg, drift=drift)
        assert len(clips) == 10
        told[drift] = join_clips(plan, clips, tmp_path / "joined.mkv", interpolator=FlowInterpolator(), ffmpeg=ffmpeg)
        shown[drift] = list(read_frames(tmp_path / "joined.mkv", ffmpeg=ffmpeg, width=128, height=72))
    one = request_for(plan, plan.windows[0])
    whole = list(Animatic().generate(replace(one, frames=plan.native_frames), []))
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(shown[0.0], whole, strict=True)) / 257 < 0.2
    assert {tuple(window["gain"]) for window in told[0.0]["windows"]} == {(1.0, 1.0, 1.0)}
    last = [window["drift"] for window in (told[0.0]["windows"][-1], told[0.015]["windows"][-1])]
    put_in = (1.015**9 - 1, 0.0, 0.985**9 - 1)
    for channel in (0, 2):
        assert abs(last[1][channel] - last[0][channel]) < 0.1 * abs(put_in[channel])
    assert max(seam["colour"] for seam in told[0.015]["seams"]) < 0.7
