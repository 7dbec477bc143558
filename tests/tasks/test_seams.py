"""Seams: one that shows is seen, one that does not is not, whatever moves in the clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalogs.footage import Severity
from catalogs.shot import Plate, Shot
from catalogs.timebase import FrameRange
from models.interface import Frame, InterpolatorSpec
from tasks.engines import spec_for
from tasks.limits import Limits, read_limits, shipped
from tasks.plan import TakePlan, plan_take
from tasks.rolls import judged
from tasks.seams import Seam, SeamMeter, likeness, seam_findings, worst


@pytest.fixture(scope="module")
def still(plate_path: Path) -> Frame:
    """The textured plate as a frame, wide enough to pan over."""
    picture = np.asarray(Image.open(plate_path).resize((640, 180), Image.Resampling.BICUBIC))
    return picture.astype(np.uint16) * 257


def panned(still: Frame, steps: list[float]) -> Iterator[Frame]:
    """320 pixels of it, at positions that grow by these steps, sub-pixel by mixing neighbours."""
    at = 0.0
    for step in steps:
        at += step
        whole, part = int(at), at - int(at)
        one, other = still[:, whole : whole + 320], still[:, whole + 1 : whole + 321]
        yield np.rint(one * (1 - part) + other * part).astype(np.uint16)


def measured(frames: Iterator[Frame], seam: int, *, overlap: int = 0) -> Seam:
    """The one seam of a clip."""
    meter = SeamMeter([seam], [FrameRange(seam, seam + overlap)])
    for frame in frames:
        meter.see(frame)
    return meter.seams()[0]


def test_a_steady_pan_has_no_seam(still: Frame) -> None:
    """Where the next window goes on as the last one moved, nothing stands out of the clip."""
    seam = measured(panned(still, [2.0] * 24), 12)
    assert seam.jump == pytest.approx(1, abs=0.1)
    assert seam.turn < 2
    assert seam.colour < 0.5


@pytest.mark.parametrize("windows", [2, 13], ids=["as a roll is judged", "as a long shot is joined"])
def test_a_lurch_over_the_whole_overlap_is_no_excuse_for_itself(still: Frame, windows: int) -> None:
    """What happens at the seams is not what is usual in the clip, however many of its frames lie there."""
    length, overlap = 21, 5
    steps: list[float] = []
    for _ in range(windows):
        steps += [0.5] * (length - overlap) + [8.0] * overlap
    steps = [0.5] * length + steps[:-overlap] if windows == 2 else steps
    starts = [at for at, step in enumerate(steps) if step > 1 and steps[at - 1] < 1]
    meter = SeamMeter([at + 2 for at in starts], [FrameRange(at, at + overlap) for at in starts])
    place = 0.0
    for step in steps:
        place = (place + step) % 300
        meter.see(np.ascontiguousarray(np.roll(still, -round(place * 2), axis=1)[:, :320]))
    for seam in meter.seams():
        assert seam.jump > 2
        assert seam.restless[0] < 1.5
        assert worst(asdict(seam), shipped())[0] > 1


def test_a_motion_that_starts_anew_turns(still: Frame) -> None:
    """A window that begins at rest though the one before it moved has no jump, but its motion breaks."""
    seam = measured(panned(still, [2.0] * 12 + [0.0] + [2.0] * 11), 12)
    assert seam.turn > 4
    assert seam.jump <= 1.1


def test_a_displaced_window_jumps(still: Frame) -> None:
    """Three times the clip's own step at the seam is a jump of three times its difference or nearly so."""
    seam = measured(panned(still, [2.0] * 12 + [8.0] + [2.0] * 11), 12)
    assert seam.jump > shipped()["seam"]["jump"]


def test_another_colour_is_a_step(still: Frame) -> None:
    """Five levels more of red from the seam on, in a still clip and in a moving one."""
    for step in (0.0, 2.0):
        frames = list(panned(still, [step] * 24))
        for frame in frames[12:]:
            frame[..., 0] = np.minimum(frame[..., 0], 60000) + 5 * 257
        seam = measured(iter(frames), 12)
        assert seam.colour == pytest.approx(5, abs=0.7)


def test_only_what_is_at_the_seam_counts(still: Frame) -> None:
    """A hard cut elsewhere in the clip is not this seam's."""
    seam = measured(panned(still, [2.0] * 18 + [90.0] + [2.0] * 5), 12, overlap=3)
    assert seam.jump < 1.2


def test_windows_that_show_other_things_are_not_alike(still: Frame) -> None:
    """The same frame is 1; grain is a little less; another part of the picture is far from it."""
    meter = SeamMeter([4], [FrameRange(3, 6)])
    frames = list(panned(still, [2.0] * 12))
    for frame in frames:
        meter.see(frame)
    for pair in pairwise(frames[3:6]):
        meter.compare(0, *pair)
    assert 0.2 < meter.seams()[0].likeness < 0.99
    luma = frames[0][..., 1].astype(np.float32) / 257
    assert likeness(luma, luma) == pytest.approx(1)
    assert likeness(luma, luma[:, ::-1].copy()) < 0.5


def test_a_still_clip_divides_by_noise_not_by_nothing(still: Frame) -> None:
    """Where nothing moves the measures stay finite, and a seam in it is seen."""
    seam = measured(panned(still, [0.0] * 24), 12)
    assert (seam.jump, seam.turn) == (0, 0)
    assert measured(panned(still, [0.0] * 12 + [3.0] + [0.0] * 11), 12).jump > shipped()["seam"]["jump"]


def planned() -> TakePlan:
    """A shot of several windows."""
    shot = Shot("AGM", "A", 400, rate=Fraction(24), plate=Plate("/p.png", "0" * 64, 1280, 720), width=640, height=352)
    return plan_take(shot, spec_for("animatic"), interpolator=InterpolatorSpec("flow", "", "", "1"))


def test_seams_are_graded_by_the_limits_of_the_show(tmp_path: Path) -> None:
    """Severity and numbers are the show's, off says nothing; which roll is kept they do not change."""
    plan = planned()
    seam = asdict(Seam(plan.seams[0], 3.0, 0.1, 1.0, (1.2, 2.0, 0.2), 1.0))
    good = asdict(Seam(plan.seams[0], 1.0, 0.1, 1.0, (1.2, 2.0, 0.2), 1.0))
    seams = [seam, *[good] * (len(plan.seams) - 1)]

    def found(text: str) -> list[tuple[str, str]]:
        (tmp_path / "limits.toml").write_text(f"[show.AGM.seam]\n{text}\n")
        limits: Limits = read_limits(tmp_path, show="agm")
        assert judged(1, None, seam).over == 1.5
        return [(one.severity.value, one.limit) for one in seam_findings(plan, seams, limits)]

    assert found("") == [("issue", "2")]
    assert found('severity = "blocker"') == [("blocker", "2")]
    assert found("jump = 2.5") == [("issue", "2.5")]
    assert found("jump = 3.5") == found('severity = "off"') == found("outstanding = 3") == []
    assert found("jump = 3.5\nturn = 0\noutstanding = 0.4")[0] == ("issue", "0.8")


def test_what_shows_is_a_finding_where_it_lies() -> None:
    """The worst measure of a seam over its limit, at the delivery frames of the overlap; a good seam is none."""
    plan = planned()
    good = Seam(plan.seams[0], 1.0, 0.1, 1.0, (1.2, 3.0, 0.2), 1.0)
    seams = [good, *(replace(good, native_frame=frame) for frame in plan.seams[1:])]
    assert len(seams) == len(plan.windows) - 1 > 1
    assert seam_findings(plan, [asdict(seam) for seam in seams], shipped()) == ()
    seams[1] = replace(seams[1], jump=5.0, colour=2.5)
    [found] = seam_findings(plan, [asdict(seam) for seam in seams], shipped())
    assert (found.code, found.severity, found.value, found.limit) == ("seam", Severity.ISSUE, "jump 5.0", "2")
    shaken = replace(seams[1], jump=2.4, turn=5.0, colour=0.1, restless=(1.8, 4.0, 0.2))
    assert seam_findings(plan, [asdict(seam) for seam in (seams[0], shaken, *seams[2:])], shipped()) == ()
    assert found.frame_in <= plan.delivery_frame(plan.seams[1]) < found.frame_out
