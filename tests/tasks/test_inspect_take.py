"""A take's files against its plan, its plate and its master: what the pictures show is said once, of the best file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted import FFMPEG, FRAMES, HEIGHT, RATE, WIDTH, codes, lit, mastered, pan

from catalogs.footage import Finding, Master, Severity
from catalogs.shot import Delivery, Plate, Shot
from flows.take import _stop_at_blockers
from models.interface import Frame
from models.retimers import FLOW
from tasks import engines, retimers
from tasks.delivered import caption
from tasks.encode import encode_master
from tasks.errors import MediaError, StepError
from tasks.inspect_take import inspect_take, known_of
from tasks.limits import Limits, read_limits, shipped
from tasks.plan import TakePlan, plan_take


def planned(folder: Path, **changes: Any) -> TakePlan:
    """The pan as a shot of the animatic, over its first frame."""
    path = folder / "plate.png"
    Image.fromarray((pan(1)[0] >> 8).astype(np.uint8)).save(path)
    plate = Plate(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), WIDTH, HEIGHT)
    shot = Shot(
        "AGM", "SH0010", FRAMES, rate=RATE, width=WIDTH, height=HEIGHT, plate=plate, camera="pan right",
        deliveries=(Delivery("h264", "high"), Delivery("prores", "hq")),
    )  # fmt: skip
    animatic = replace(engines.spec_for("animatic"), size_multiple=2, smallest=16)
    flow = retimers.interpolator(folder, wish=retimers.RetimerWish(engine=FLOW)).spec
    return plan_take(replace(shot, **changes), animatic, interpolator=flow)


def inspected(
    frames: list[Frame], folder: Path, *, limits: Limits | None = None, plan: TakePlan | None = None, damage: str = ""
) -> tuple[Finding, ...]:
    plan = plan or planned(folder)
    master: Master = mastered(frames, folder)
    size = {"width": WIDTH, "height": HEIGHT}
    words = caption(plan, date(2026, 11, 22))
    made = encode_master(master, plan.deliveries, folder, ffmpeg=FFMPEG, **size, slate=plan.slate, caption=words)
    files = [made.files[one.file] for one in plan.deliveries]
    for path in files:
        if damage and path.name.endswith(damage):
            path.write_bytes(path.read_bytes()[:-2000])
    heard: list[int] = []
    deliverables, found = inspect_take(
        plan, files, master, ffmpeg=FFMPEG, limits=limits or shipped(), on_file=lambda number, _: heard.append(number)
    )
    assert [one.path for one in deliverables] == files
    assert heard == [*range(len(files))]
    return found


def test_a_clean_take_has_no_findings(tmp_path: Path) -> None:
    """Against plan, plate and master."""
    assert inspected(pan(), tmp_path) == ()


def test_a_fault_of_the_shot_is_said_once(tmp_path: Path) -> None:
    """Though two files show it; it belongs to neither."""
    frames = pan()
    frames[12] = lit(frames[12], 1.3)
    (found,) = inspected(frames, tmp_path)
    assert (found.code, found.frame_in, found.frame_out, found.subject) == ("flash", 12, 13, "")


def test_a_fault_of_a_file_names_it(tmp_path: Path) -> None:
    """The other one is looked at as before."""
    found = inspected(pan(), tmp_path, damage=".mp4")
    assert codes(found) <= {"truncated", "count"}
    assert {one.subject for one in found} == {"AGM_SH0010_v001_24p_h264.mp4"}


def test_a_blocker_stops_the_take_with_a_remedy(tmp_path: Path) -> None:
    """Another encode would not mend a black shot; another would mend a file that is cut."""
    plan = planned(tmp_path)
    black = inspected([np.zeros_like(frame) for frame in pan()], tmp_path, plan=plan)
    assert any((one.code, one.severity) == ("black", Severity.BLOCKER) for one in black)
    with pytest.raises(StepError, match=r"black is the whole shot .* then give the shot another seed, prompt or plate"):
        _stop_at_blockers(plan, tuple(one for one in black if one.code == "black"))
    with pytest.raises(StepError, match="render it again, and report it if it stays"):
        _stop_at_blockers(plan, inspected(pan(), tmp_path, plan=plan, damage=".mov"))


def test_the_shows_own_limits_hold(tmp_path: Path) -> None:
    """A check may be turned off for a show, fidelity with its master included."""
    (tmp_path / "limits.toml").write_text('[show.AGM.flash]\nseverity = "off"\n[fidelity]\nseverity = "off"\n')
    frames = pan()
    frames[12] = lit(frames[12], 1.3)
    assert inspected(frames, tmp_path, limits=read_limits(tmp_path, show="AGM")) == ()
    assert codes(inspected(frames, tmp_path, limits=read_limits(tmp_path, show="ELSE"))) == {"flash"}


def test_what_was_asked_for_is_known(tmp_path: Path) -> None:
    """A still camera of the animatic, another still to arrive at, no plate, a plate that has gone."""
    plan = planned(tmp_path)
    known = known_of(plan)
    assert (known.still, known.arrives, known.rate, known.frames) == (False, False, RATE, FRAMES)
    assert known.plate is not None
    assert known_of(planned(tmp_path, camera="still")).still
    assert plan.shot.plate is not None
    assert known_of(replace(plan, shot=replace(plan.shot, end_plate=plan.shot.plate))).arrives
    gone = replace(plan, shot=replace(plan.shot, plate=replace(plan.shot.plate, path=str(tmp_path / "gone.png"))))
    assert known_of(gone).plate is None


def test_a_master_that_does_not_decode_is_an_error(tmp_path: Path) -> None:
    """Nothing can be held against it."""
    plan = planned(tmp_path)
    master = mastered(pan(), tmp_path)
    made = encode_master(master, plan.deliveries, tmp_path, ffmpeg=FFMPEG, width=WIDTH, height=HEIGHT, slate="S")
    master.path.write_bytes(b"no master")
    with pytest.raises(MediaError, match="does not decode"):
        inspect_take(plan, list(made.files.values()), master, ffmpeg=FFMPEG, limits=shipped())


@pytest.mark.parametrize("deliveries", ["exr", "h264:burnin"])
def test_what_no_file_can_show_is_seen_on_the_master(deliveries: str, tmp_path: Path) -> None:
    """Half floats are not looked at, and a burnt-in counter moves on a frozen shot."""
    kinds = tuple(map(Delivery.parse, deliveries.split()))
    plan = planned(tmp_path, deliveries=kinds)
    assert "black" in codes(inspected([np.zeros_like(frame) for frame in pan()], tmp_path, plan=plan))
    assert "frozen" in codes(inspected([pan()[0]] * FRAMES, tmp_path, plan=plan))


def test_handles_are_part_of_what_a_take_is(tmp_path: Path) -> None:
    """The same frames, another cut of them: a manifest with other handles is another take's; without any it is as it
    was."""
    plain, with_handles = planned(tmp_path, frames=FRAMES), planned(tmp_path, frames=FRAMES - 4, handles=2)
    assert plain.frames == with_handles.frames
    assert plain.master_key == with_handles.master_key
    assert plain.key != with_handles.key
