"""Rolls: a window that breaks down or does not meet the one before it is made again, within bounds, and never twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalogs.footage import Clip, Severity
from catalogs.shot import Plate, Shot
from models.flow import FlowInterpolator
from models.interface import Frame
from tasks.engines import spec_for
from tasks.errors import StepError
from tasks.ffmpeg import clip_argv
from tasks.frames import FrameWriter
from tasks.join import join_clips
from tasks.keep import keep
from tasks.plan import TakePlan, plan_take
from tasks.rolls import (
    Roll,
    chosen,
    fault_findings,
    judged,
    keep_best,
    leaves_of,
    recall_window,
    seam_between,
    seed_of,
    stop_if_broken,
)

WIDTH, HEIGHT = 160, 90
NONE: dict[str, Any] = {"fault": None}
DARK = {"fault": {"code": "black", "said": "went black (told so by a test)"}}


class Table:
    """Two windows of a pan, a folder, and windows that are dealt as a test wants them."""

    def __init__(self, folder: Path, plate: Path, ffmpeg: str, *, rerolls: int = 2) -> None:
        shot = Shot("AGM", "SH0010", 44, rate=Fraction(16), plate=Plate(str(plate), "0" * 64, 320, 180))
        spec = replace(spec_for("animatic"), longest_window=25, overlap=5, context=1, sizes=((WIDTH, HEIGHT),))
        self.plan: TakePlan = replace(plan_take(shot, spec, interpolator=FlowInterpolator().spec), max_rerolls=rerolls)
        picture = Image.open(plate).convert("RGB").resize((640, HEIGHT), Image.Resampling.BICUBIC)
        self._still = np.asarray(picture).astype(np.uint16) * 257
        self.ffmpeg, self.work = ffmpeg, folder
        self.path = folder / "windows" / "001.mkv"
        first = self.plan.windows[0].span.range
        self.before = Clip(folder / "before.mkv", "", 0, first, Fraction(16), WIDTH, HEIGHT)
        self._write(self.before.path, [self._view(2 * at) for at in range(len(first))])
        self.dealt: list[int] = []
        self.offs: dict[int, int] = {}
        """By how many pixels each roll is displaced; none where it is not named."""
        self.notes: dict[int, Mapping[str, Any]] = {}
        self.die_in: int | None = None

    def _view(self, x: int) -> Frame:
        return np.ascontiguousarray(self._still[:, x : x + WIDTH])

    def _write(self, path: Path, frames: Sequence[Frame]) -> None:
        argv = clip_argv(self.ffmpeg, path, width=WIDTH, height=HEIGHT, rate=Fraction(16))
        with FrameWriter(argv, width=WIDTH, height=HEIGHT, what="t") as writer:
            for frame in frames:
                writer.write(frame)

    def make(self, roll: int, target: Path) -> Mapping[str, Any]:
        """A roll: handed on is the first frame, the rest is displaced."""
        if roll == self.die_in:
            raise KeyboardInterrupt
        self.dealt.append(roll)
        span, off = self.plan.windows[1].span.range, self.offs.get(roll, 0)
        views = [self._view(2 * at + (off if at > span.start else 0)) for at in range(span.start, span.end)]
        self._write(target, views)
        leaves_of(target).write_bytes(f"left by roll {roll}".encode())
        return {"seed": seed_of(self.plan, self.plan.windows[1], roll), **NONE, **self.notes.get(roll, {})}

    def see(self, made: Path) -> Mapping[str, Any]:
        """The seam with the first window."""
        window = self.plan.windows[1]
        return seam_between(self.plan, window, self.before, made, interpolator=FlowInterpolator(), ffmpeg=self.ffmpeg)

    def play(self) -> tuple[Any, bool]:
        """The window that is kept."""
        from contextlib import nullcontext

        return keep_best(
            self.plan,
            self.plan.windows[1],
            self.path,
            work=self.work,
            guard=nullcontext,
            make=self.make,
            see=self.see,
        )


@pytest.fixture
def cards(tmp_path: Path, plate_path: Path, ffmpeg: str) -> Table:
    """A table of its own for each test."""
    return Table(tmp_path, plate_path, ffmpeg)


def test_a_window_that_meets_the_one_before_is_kept_at_once(cards: Table) -> None:
    """A seam within its limit costs no second roll; what the window left lies beside it; nothing is made twice."""
    kept, made = cards.play()
    assert made
    assert cards.dealt == [0]
    [roll] = kept.notes["rolls"]
    assert roll["seed"] == cards.plan.windows[1].seed
    assert roll["over"] <= 1
    assert leaves_of(cards.path).read_bytes() == b"left by roll 0"
    assert cards.play()[1] is False
    assert cards.dealt == [0]


def test_a_seam_that_shows_is_rolled_again(cards: Table) -> None:
    """A jump of forty pixels costs one more roll, with the next seed; the better one is kept, the other is gone."""
    cards.offs = {0: 40}
    kept, _ = cards.play()
    assert cards.dealt == [0, 1]
    first, second = kept.notes["rolls"]
    assert first["over"] > 1 >= second["over"]
    assert kept.notes["seed"] == second["seed"] == first["seed"] + len(cards.plan.windows)
    assert leaves_of(cards.path).read_bytes() == b"left by roll 1"
    assert not list(cards.path.parent.glob("*roll*"))


def test_the_best_of_bad_rolls_is_kept(cards: Table) -> None:
    """After the bound no seed is tried any more, and the least bad roll is the window, whichever it was."""
    cards.offs = {0: 60, 1: 30, 2: 50}
    kept, _ = cards.play()
    assert cards.dealt == [0, 1, 2]
    overs = [roll["over"] for roll in kept.notes["rolls"]]
    assert min(overs) > 1
    assert kept.notes["seed"] == kept.notes["rolls"][overs.index(min(overs))]["seed"]
    assert kept.notes["seed"] == seed_of(cards.plan, cards.plan.windows[1], 1)
    assert recall_window(cards.path, key=cards.plan.windows[1].key) is not None
    assert not list(cards.path.parent.glob("*roll*"))


def test_no_roll_is_made_twice_when_somebody_dies(cards: Table) -> None:
    """A process that dies in the third roll leaves two, and the next one makes the third alone."""
    cards.offs, cards.die_in = {0: 60, 1: 30, 2: 50}, 2
    with pytest.raises(KeyboardInterrupt):
        cards.play()
    cards.die_in = None
    kept, _ = cards.play()
    assert cards.dealt == [0, 1, 2]
    assert kept.notes["seed"] == seed_of(cards.plan, cards.plan.windows[1], 1)


@pytest.mark.parametrize("at", range(8))
def test_a_death_between_any_two_files_costs_no_roll(cards: Table, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file is the first that a process does not keep any more, the next process ends with the same window,
    and makes again at most the roll that was at work."""
    cards.offs = {0: 60, 1: 30, 2: 50}
    kept = 0

    def dying(*words: Any, **named: Any) -> Any:
        nonlocal kept
        if kept == at:
            raise KeyboardInterrupt
        kept += 1
        return keep(*words, **named)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tasks.rolls.keep", dying)
        cards.play()
    found, _ = cards.play()
    assert len(cards.dealt) <= 4
    assert found.notes["seed"] == seed_of(cards.plan, cards.plan.windows[1], 1)
    assert leaves_of(cards.path).read_bytes() == b"left by roll 1"
    assert recall_window(cards.path, key=cards.plan.windows[1].key) is not None
    assert not list(cards.path.parent.glob("*roll*"))


def test_a_disk_without_links_is_no_hindrance(cards: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be linked it is copied."""

    def refused(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    cards.offs = {0: 60, 1: 30, 2: 50}
    cards.play()
    assert recall_window(cards.path, key=cards.plan.windows[1].key) is not None


def test_what_a_window_left_belongs_to_it(cards: Table) -> None:
    """A window whose leavings are gone, changed or another attempt's is not finished: the next one could not go on."""
    key = cards.plan.windows[1].key
    cards.play()
    other = cards.work / "other"
    other.write_bytes(b"left by somebody else, and kept")
    keep(other, leaves_of(cards.path), key=key)
    assert recall_window(cards.path, key=key) is None
    cards.play()
    assert recall_window(cards.path, key=key) is not None
    leaves_of(cards.path).write_bytes(b"something else")
    assert recall_window(cards.path, key=key) is None


def test_a_seam_is_judged_nearly_as_it_will_be_joined(cards: Table) -> None:
    """What a roll is judged by is what the manifest will say of its seam, to a tenth: the clip is a steady pan."""
    for off in (0, 12):
        cards.offs = {0: off, 1: off, 2: off}
        kept, _ = cards.play()
        judged_by = cards.see(kept.path)
        window = cards.plan.windows[1]
        clips = [cards.before, replace(cards.before, path=kept.path, range=window.span.range)]
        flow = FlowInterpolator()
        [seam] = join_clips(cards.plan, clips, cards.work / "j.mkv", interpolator=flow, ffmpeg=cards.ffmpeg)["seams"]
        for name in ("jump", "turn", "likeness"):
            assert judged_by[name] == pytest.approx(seam[name], rel=0.1)
        cards.path.unlink()


def test_without_rerolls_nothing_is_measured(tmp_path: Path, plate_path: Path, ffmpeg: str) -> None:
    """A window that may not be rolled again is kept as it comes."""
    cards = Table(tmp_path, plate_path, ffmpeg, rerolls=0)
    cards.offs = {0: 60}
    kept, _ = cards.play()
    assert cards.dealt == [0]
    assert kept.notes["rolls"][0]["over"] == 0


def test_a_chain_that_broke_down_stops(cards: Table) -> None:
    """With windows to come a fault ends the take, with what it was, how often it was tried, and what to do."""
    first = cards.plan.windows[0]
    notes = {**DARK, "rolls": [{}, {}, {}]}
    with pytest.raises(StepError, match=r"window 1 of 2 went black .* each of 3 seeds; the 1 after it was not begun"):
        stop_if_broken(cards.plan, first, notes)
    stop_if_broken(cards.plan, first, {**NONE, "rolls": [{}]})
    stop_if_broken(cards.plan, cards.plan.windows[1], notes)


def test_a_fault_at_the_end_is_a_finding(cards: Table) -> None:
    """The last window is delivered with its fault named; a shot may end in black without another roll."""
    cards.notes = dict.fromkeys(range(3), DARK)
    kept, _ = cards.play()
    assert cards.dealt == [0]
    [finding] = fault_findings(cards.plan, [NONE, kept.notes])
    assert (finding.code, finding.severity) == ("black", Severity.ISSUE)
    assert finding.frame_out == cards.plan.frames
    assert finding.frame_in == cards.plan.delivery_frame(cards.plan.windows[1].span.segment.start)
    frozen = {"fault": {"code": "frozen", "said": "does not move"}}
    cards.path.unlink()
    cards.notes = {0: frozen}
    assert cards.play()[0].notes["fault"] is None
    assert cards.dealt == [0, 0, 1]


def test_the_least_over_its_limit_is_chosen() -> None:
    """A seam that shows is better than a fault, a better seam better than a worse one, the first of equals."""
    dark = judged(1, DARK["fault"], None)
    rolls = [dark, Roll(2, 1.5, ""), Roll(3, 1.2, ""), Roll(4, 1.2, "")]
    assert chosen(rolls) == 2
    assert chosen([dark, dark]) == 0
    assert Roll.found(dark.document()) == replace(dark, made=False)
