"""How much of its master an encode has kept: nothing is said of good ones, and what was lost is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest
from planted import ENDINGS, FFMPEG, FRAMES, HEIGHT, WIDTH, encoded, mastered, pan

from catalogs.footage import Master, Severity
from catalogs.shot import DELIVERY_OPTIONS
from tasks.errors import MediaError
from tasks.fidelity import FidelityWatch, Kept, MasterFrames, judge_fidelity, master_at
from tasks.hollow import Hollow, judge_hollow
from tasks.limits import read_limits, shipped
from tasks.presets import CRF


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Master:
    return mastered(pan(), tmp_path_factory.mktemp("master"))


def kept(master: Master, path: Path) -> list[Kept]:
    return watched(master, path).kept


def watched(master: Master, path: Path) -> FidelityWatch:
    samples = MasterFrames(master, ffmpeg=FFMPEG, width=master.width, height=master.height)
    with av.open(str(path)) as container:
        watch = FidelityWatch(samples, container.streams.video[0].format.name)
        for frame in container.decode(video=0):
            watch.see(frame)
    return watch


@pytest.mark.parametrize("kind", ENDINGS)
def test_our_encodes_keep_enough(kind: str, master: Master, tmp_path: Path) -> None:
    """Twelve frames of each format, the first and the last among them, all well above the limit."""
    found = kept(master, encoded(master, tmp_path, kind))
    assert [one.index for one in found][:: len(found) - 1] == [0, FRAMES - 1]
    assert len(found) == 12
    assert min(one.decibels for one in found) > shipped()["fidelity"]["xpsnr"] + 4
    assert judge_fidelity(found, shipped()) == ()


@pytest.mark.parametrize(
    ("kind", "pix_fmt", "words"),
    [
        ("h265", "yuv420p10le", {}),
        ("h265", "yuv420p10le", {"crf\x0015": "crf\x0024"}),
        ("prores", "yuv422p10le", {}),
    ],
    ids=["h265", "h265 as small as a review copy", "prores"],
)
def test_eight_bits_on_the_way_show_in_the_error(
    kind: str, pix_fmt: str, words: dict[str, str], master: Master, tmp_path: Path
) -> None:
    """Whether they were rounded or cut off; what was encoded from ten has no such error."""
    eight = pix_fmt.replace("10le", "")
    cut = f"lutyuv=y=bitand(val\\,1020),format={pix_fmt}"
    for change, said in ((pix_fmt, False), (f"{eight},format={pix_fmt}", True), (f"{pix_fmt},{cut}", True)):
        path = encoded(master, tmp_path, kind, {**words, f"format={pix_fmt}": f"format={change}"})
        found = [one for one in watched(master, path).findings(shipped(), small=True) if one.code == "depth"]
        assert [one.severity for one in found] == [Severity.ISSUE] * said, (change, found)


def test_hollow_files_may_be_let_pass(tmp_path: Path) -> None:
    """By the show's limits, and where the measurement is not sure of it."""
    whole = (0, 24)
    (found,) = judge_hollow(Hollow(0.3, 0.01), whole, shipped())
    assert (found.code, found.frame_in, found.frame_out) == ("depth", *whole)
    assert judge_hollow(Hollow(0.3, 0.1), whole, shipped()) == judge_hollow(Hollow(0.04, 0.001), whole, shipped()) == ()
    (tmp_path / "limits.toml").write_text('[depth]\nhollow = "off"\n')
    assert judge_hollow(Hollow(0.3, 0.01), whole, read_limits(tmp_path)) == ()


@pytest.mark.parametrize("change", ["hflip", "negate", "vflip"])
def test_other_pictures_are_a_blocker(change: str, master: Master, tmp_path: Path) -> None:
    """What shows something else is not the shot, however well it is encoded."""
    changed = {"setpts=N": f"{change},setpts=N"}
    (found,) = judge_fidelity(kept(master, encoded(master, tmp_path, "h264", changed)), shipped())
    assert (found.code, found.severity) == ("fidelity", Severity.BLOCKER)
    assert found.value.startswith("XPSNR ")


@pytest.mark.parametrize("crf", [38, 51])
def test_a_poor_encode_is_an_issue(crf: int, master: Master, tmp_path: Path) -> None:
    """The worst of the sampled frames is named."""
    found = kept(master, encoded(master, tmp_path, "h265", {"crf\00015": f"crf\000{crf}"}))
    (one,) = judge_fidelity(found, shipped())
    assert one.severity is Severity.ISSUE
    assert one.frame_in == min(found, key=lambda kept: kept.decibels).index


@pytest.mark.parametrize(("kind", "words"), [("h265", "15 24"), ("h264", "14 22"), ("webm", "18 34")])
def test_a_review_copy_may_be_small(kind: str, words: str, master: Master, tmp_path: Path) -> None:
    """Its own quality is no finding; far below it is one."""
    client, review = words.split()
    assert review == str(CRF[kind, DELIVERY_OPTIONS[kind][0]]["review"])
    found = kept(master, encoded(master, tmp_path, kind, {f"crf\000{client}": f"crf\000{review}"}))
    assert judge_fidelity(found, shipped(), small=True) == ()
    assert judge_fidelity([replace(found[0], decibels=29.0)], shipped(), small=True) != ()


def test_the_master_is_converted_as_for_the_encode(master: Master) -> None:
    """Frame for frame what the encoder is fed: a lossless file of that format differs in nothing."""
    import subprocess

    from tasks.ffmpeg import deliverables_argv

    target = master.path.with_name("lossless.mp4")
    size = {"width": WIDTH, "height": HEIGHT, "master_width": WIDTH, "master_height": HEIGHT}
    argv = deliverables_argv(FFMPEG, master.path, [("h264", "high", target)], rate=master.rate, title="t", **size)
    line = "\0".join(argv).replace("crf\00014", "qp\0000").replace("profile:v\0high", "profile:v\0high444")
    subprocess.run(line.split("\0"), check=True, capture_output=True)
    assert {one.decibels for one in kept(master, target)} == {100.0}


def test_only_a_master_is_taken_for_one(master: Master, tmp_path: Path) -> None:
    """The file that somebody names must be the lossless one."""
    with pytest.raises(MediaError, match=r"is ffvhuff gbrp12le, no master; give the shot's master\.mkv"):
        master_at(master.path)
    with pytest.raises(MediaError, match="cannot be read as a master"):
        master_at(tmp_path / "nothing.mkv")
