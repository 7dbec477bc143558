"""Keeping and recalling: what survives a crash, and what is never believed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tasks.errors import BusyError, StepError
from tasks.keep import (
    attempt,
    check_disk,
    folder_problem,
    is_owned,
    keep,
    recall,
    sha256_of,
    sole_owner,
    sweep_superseded,
    write_json,
)


def _made(folder: Path, text: str = "pixels") -> Path:
    made = folder / "made.bin"
    made.write_text(text)
    return made


def test_a_kept_file_is_recalled_under_its_key_with_its_notes(tmp_path: Path) -> None:
    """Same key, verified file present: the step is done."""
    kept = keep(_made(tmp_path), tmp_path / "out" / "clip.mkv", key="k", notes={"cuts": [3]})
    assert recall(tmp_path / "out" / "clip.mkv", key="k") == kept
    assert kept.notes == {"cuts": [3]}


def test_another_key_is_not_recalled(tmp_path: Path) -> None:
    """A file made for another plan is not taken for this one's."""
    keep(_made(tmp_path), tmp_path / "clip.mkv", key="k")
    assert recall(tmp_path / "clip.mkv", key="other") is None


@pytest.mark.parametrize("damage", ["shorter", "flipped", "gone", "no receipt", "half a receipt", "not a receipt"])
def test_damage_of_any_kind_is_noticed(tmp_path: Path, damage: str) -> None:
    """A file that is not byte for byte what was kept is made again."""
    path, receipt = tmp_path / "clip.mkv", tmp_path / "clip.mkv.json"
    keep(_made(tmp_path), path, key="k")
    match damage:
        case "shorter":
            path.write_text("pixel")
        case "flipped":
            path.write_text("pixelz")
        case "gone":
            path.unlink()
        case "no receipt":
            receipt.unlink()
        case "half a receipt":
            receipt.write_text(receipt.read_text()[:20])
        case "not a receipt":
            receipt.write_text("[]")
    assert recall(path, key="k") is None


def test_folders_are_kept_like_files(tmp_path: Path) -> None:
    """A PNG sequence is one artefact: a missing or changed frame is noticed, an older one is replaced whole."""
    for text in ("a", "b"):
        made = tmp_path / "made"
        made.mkdir()
        (made / "f.1001.png").write_text(text)
        keep(made, tmp_path / "seq", key=text)
    assert recall(tmp_path / "seq", key="a") is None
    assert recall(tmp_path / "seq", key="b") is not None
    (tmp_path / "seq" / "f.1001.png").write_text("c")
    assert recall(tmp_path / "seq", key="b") is None


def test_a_folders_digest_depends_on_names(tmp_path: Path) -> None:
    """Two frames that changed places are another sequence."""
    for name, pair in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir()
        for index, text in enumerate(pair):
            (tmp_path / name / str(index)).write_text(text)
    assert sha256_of(tmp_path / "one") != sha256_of(tmp_path / "two")


def test_an_attempt_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whether it ends well or badly, an attempt's folder is gone afterwards."""
    with attempt(tmp_path) as own:
        (own / "x").write_text("half")
    with pytest.raises(RuntimeError), attempt(tmp_path) as own:
        raise RuntimeError
    assert list((tmp_path / "attempts").iterdir()) == []


def test_only_one_owner_at_a_time(tmp_path: Path) -> None:
    """A second render of the same shot is refused while the first one runs, and allowed after it."""
    shot = tmp_path / "shot"
    assert not is_owned(shot)
    with sole_owner(shot, what="AGM/SH0010"):
        assert is_owned(shot)
        with pytest.raises(BusyError, match="AGM/SH0010"), sole_owner(shot, what="AGM/SH0010"):
            pass
    assert not is_owned(shot)


def test_an_owner_sweeps_dead_attempts(tmp_path: Path) -> None:
    """What a killed process left is removed before the next one starts, finished work is not."""
    stale = tmp_path / "key" / "attempts" / "dead"
    stale.mkdir(parents=True)
    (tmp_path / "key" / "master.mkv").write_text("whole")
    with sole_owner(tmp_path, what="x"):
        assert not stale.exists()
        assert (tmp_path / "key" / "master.mkv").exists()


def test_superseded_work_is_swept(tmp_path: Path) -> None:
    """After a new take is out, the work of the old ones goes."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    sweep_superseded(tmp_path, tmp_path / "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]


def test_a_disk_that_is_too_small_is_refused_with_both_figures(tmp_path: Path) -> None:
    """Before anything starts, and naming what is needed and what is free."""
    check_disk(0, tmp_path, what="AGM_SH0010_v001")
    with pytest.raises(StepError, match=r"AGM_SH0010_v001 may need 1000000000\.00 GB"):
        check_disk(10**18, tmp_path, what="AGM_SH0010_v001")


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    """Readers see the old document or the new one; nothing else lies in the folder afterwards."""
    path = tmp_path / "plan.json"
    for value in ({"a": 1}, {"a": 2}):
        write_json(path, value)
    assert json.loads(path.read_text()) == {"a": 2}
    assert os.listdir(tmp_path) == ["plan.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder should be is an error with the path in it, not a traceback."""
    (tmp_path / "work").write_text("in the way")
    with pytest.raises(StepError, match="work"), attempt(tmp_path / "work"):
        pass


def test_what_is_in_a_folders_way_is_named(tmp_path: Path) -> None:
    """A file, or a link that leads nowhere, at whatever depth; what is not there yet can be made."""
    wanted = tmp_path / "deliveries" / "AGM" / "SH0010"
    assert folder_problem(wanted) == ""
    way = tmp_path / "deliveries"
    way.touch()
    assert folder_problem(wanted) == f"{way} is no folder, and one is needed there; move it away"
    way.unlink()
    way.symlink_to(tmp_path / "gone")
    assert folder_problem(wanted).startswith(f"{way} is no folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    """Its permissions are asked, not found out by a night's work."""
    tmp_path.chmod(0o555)
    try:
        assert "cannot be written to; make it writable" in folder_problem(tmp_path / "AGM")
    finally:
        tmp_path.chmod(0o755)
