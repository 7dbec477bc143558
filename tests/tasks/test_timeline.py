"""Cuts as OpenTimelineIO timelines and EDLs: everything that is written is opened again by opentimelineio."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from versions import shot, version, with_versions

from catalogs.footage import Status
from catalogs.shot import Shot
from catalogs.timebase import DELIVERY_RATES, TIMECODE_RATES, frames_at_hour, has_timecode, rate_text, timecode
from catalogs.versions import ShotVersions
from tasks.cut import Cut, cuts, natural
from tasks.edl import REEL, edl, reels
from tasks.errors import PlanError
from tasks.naming import start_timecode
from tasks.timeline import timeline
from tasks.version_list import COLUMNS, version_list

NTSC = Fraction(30000, 1001)


def read(cut: Cut, provenance: dict[str, Any] | None = None) -> Any:
    """The timeline's one track after a journey through its own file format."""
    written = otio.adapters.write_to_string(timeline(cut, provenance=provenance or {}), adapter_name="otio_json")
    back = otio.adapters.read_from_string(written, adapter_name="otio_json")
    [track] = back.tracks
    return track.deepcopy()  # the timeline's own goes with it


def one_cut(*shots: ShotVersions, **wish: Any) -> Cut:
    [cut] = cuts(shots, **wish)
    return cut


def approved(asked: Shot, **how: Any) -> ShotVersions:
    return with_versions(asked, version(asked, 1, **how))


def test_a_clip_is_the_version_with_its_handles_around_it() -> None:
    """48 frames with handles of 8 are a file from frame 1001 to 1064, of which the cut shows 1009 to 1056."""
    track = read(one_cut(approved(shot("SH0010", handles=8))))
    [clip] = track
    assert clip.name == "AGM_SQ010_SH0010_v001"
    whole = clip.media_reference.available_range
    assert (whole.start_time.value, whole.duration.value, whole.start_time.rate) == (1001, 64, 24)
    assert (clip.source_range.start_time.value, clip.source_range.duration.value) == (1009, 48)
    assert otio.opentime.to_timecode(whole.start_time) == "00:00:41:17"
    assert set(clip.media_references()) == {otio.schema.Clip.DEFAULT_MEDIA_KEY, "h265"}
    assert clip.media_reference.metadata["dailies"]["kind"] == "prores"


@pytest.mark.parametrize("rate", DELIVERY_RATES, ids=rate_text)
def test_rates_are_as_exact_as_floating_point(rate: Fraction) -> None:
    """The rate read back is the nearest floating point number, and the metadata has it exactly."""
    [clip] = read(one_cut(approved(shot("SH0010", rate=rate))))
    assert clip.source_range.duration.rate == rate.numerator / rate.denominator
    assert Fraction(clip.metadata["dailies"]["rate"]) == rate
    assert clip.source_range.duration.value == 48


@given(name=st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_file_urls_read_back_to_the_same_path(name: str) -> None:
    """Spaces, percent signs, umlauts, hashes and question marks in a folder's name survive the URL."""
    folder = Path("/deliveries") / name / "v001"
    asked = shot("SH0010")
    [clip] = read(one_cut(with_versions(asked, version(asked, 1, folder=folder))))
    url = clip.media_reference.target_url
    assert url.startswith("file:///")
    assert url.isascii()
    assert " " not in url
    assert otio.url_utils.filepath_from_url(url) == str(folder / "AGM_SQ010_SH0010_v001_24p_prores.mov")


def test_pictures_are_a_numbered_sequence() -> None:
    """PNGs are an image sequence whose first picture is number 1001 and whose names are those on disk."""
    asked = shot("SH0010", handles=2)
    cut = one_cut(with_versions(asked, version(asked, 1, kinds=("png",), folder=Path("/d e"))))
    [clip] = read(cut)
    pictures = clip.media_reference
    assert pictures.number_of_images_in_sequence() == 52
    assert (pictures.start_frame, pictures.end_frame()) == (1001, 1052)
    first = pictures.target_url_for_image_number(0)
    assert (
        otio.url_utils.filepath_from_url(first) == "/d e/AGM_SQ010_SH0010_v001_24p_png/AGM_SQ010_SH0010_v001.1001.png"
    )


def test_a_slate_stands_before_frame_1001() -> None:
    """A copy with one frame more than planned begins at frame 1000; what the cut shows stays."""
    asked = shot("SH0010")
    [clip] = read(one_cut(with_versions(asked, version(asked, 1, slated=True))))
    assert clip.media_reference.available_range.start_time.value == 1000
    assert clip.media_reference.available_range.end_time_inclusive().value == 1048
    assert clip.source_range.start_time.value == 1001


def test_the_newest_approved_version_stands_in_the_cut() -> None:
    """v002 approved, v003 in review, v004 failed: v002, or with `latest` v003."""
    asked = shot("SH0010")
    kinds = (Status.APPROVED, Status.APPROVED, Status.REVIEW, Status.FAILED)
    found = with_versions(asked, *(version(asked, number, kind) for number, kind in enumerate(kinds, start=1)))
    assert one_cut(found).entries[0].slate.endswith("_v002")
    assert one_cut(found, latest=True).entries[0].slate.endswith("_v003")


def test_a_shot_without_a_version_is_a_gap_that_says_why() -> None:
    """Its length in the cut stays, and a red marker names shot and reason; an omitted shot is not there at all."""
    waiting, gone = shot("SH0020", frames=30), shot("SH0030")
    track = read(
        one_cut(
            approved(shot("SH0010")),
            with_versions(waiting, version(waiting, 1, Status.REVIEW), status=Status.REVIEW),
            with_versions(gone, version(gone, 1), status=Status.OMITTED),
        )
    )
    assert [child.schema_name() for child in track] == ["Clip", "Gap"]
    assert track[1].duration().value == 30
    [marker] = track[1].markers
    assert marker.name == "AGM_SQ010_SH0020: no approved version, it is review"
    assert marker.color == otio.schema.MarkerColor.RED


def test_a_kind_that_a_version_lacks_is_a_gap() -> None:
    """Asked for WebM, a version without one is not replaced by something else."""
    cut = one_cut(approved(shot("SH0010"), kinds=("h265", "webm")), approved(shot("SH0020")), kind="webm")
    assert [entry.deliverable and entry.deliverable.kind for entry in cut.entries] == ["webm", None]
    assert cut.entries[1].why == "v001 has no webm, but h265, prores"


def test_metadata_tells_version_findings_and_provenance() -> None:
    """What a manifest says of the version, and its findings, stand under `dailies`."""
    told = {"AGM_SQ010_SH0010_v001": {"card": "wan2.1-i2v-14b-480p", "licence": "Apache-2.0"}}
    [clip] = read(one_cut(approved(shot("SH0010"))), told)
    about = clip.metadata["dailies"]
    assert about["version"] == 1
    assert [dict(finding) for finding in about["findings"]] == [
        {
            "code": "seam",
            "severity": "issue",
            "frame_in": 3,
            "frame_out": 5,
            "value": "jump 4.1",
            "limit": "3.0",
            "subject": "",
        }
    ]
    assert dict(about["provenance"]) == told["AGM_SQ010_SH0010_v001"]


def test_of_several_files_of_a_kind_the_first_stands_in_the_cut() -> None:
    """All of them stay in the clip, under names of their own."""
    asked = shot("SH0010")
    found = with_versions(asked, version(asked, 1, kinds=("h264", "h264_review", "h264_review_burnin", "webm")))
    track = read(one_cut(found))
    [clip] = track
    references = clip.media_references()
    assert set(references) == {otio.schema.Clip.DEFAULT_MEDIA_KEY, "h264", "h264_review_burnin", "webm"}
    assert clip.media_reference.target_url.endswith("_h264.mp4")
    assert references["h264"].target_url.endswith("_h264_review.mp4")


def test_review_copies_stand_in_a_cut_only_where_there_is_nothing_else() -> None:
    """Nobody shall cut from words that are burnt in, however good the codec."""
    for kinds, taken in (
        (("h265_review_burnin", "webm"), "webm.webm"),
        (("prores_slate", "h264"), "h264.mp4"),
        (("h264_slate_burnin",), "burnin.mp4"),
    ):
        asked = shot("SH0010")
        [clip] = read(one_cut(with_versions(asked, version(asked, 1, kinds=kinds))))
        assert clip.media_reference.target_url.endswith(taken)


def test_order_is_the_lists_or_the_codes() -> None:
    """SH0030, SH2, SH10 as listed; by code SH2 comes before SH10."""
    shots = [approved(shot(code)) for code in ("SH0030", "SH10", "SH2")]
    assert [entry.shot.code for entry in one_cut(*shots).entries] == ["SH0030", "SH10", "SH2"]
    assert [entry.shot.code for entry in one_cut(*shots, order="code").entries] == ["SH2", "SH10", "SH0030"]
    assert natural("sh10b") > natural("SH10a") > natural("SH2") > natural("A")


@pytest.mark.parametrize("rate", TIMECODE_RATES, ids=rate_text)
def test_an_edl_reads_back_as_the_cut(rate: Fraction) -> None:
    """Three shots and a hole at each rate: events, source and record timecode, names and reels are those of the cut."""
    waiting = shot("SH0020", frames=30, rate=rate)
    cut = one_cut(
        approved(shot("SH0010", rate=rate, handles=8)),
        with_versions(waiting, status=Status.READY),
        # long enough to cross minutes, where drop-frame timecode leaves out numbers
        approved(shot("SH0030", rate=rate, frames=4000)),
        approved(shot("SH0040", rate=rate)),
    )
    text = edl(cut, provenance={})
    drop = rate.denominator == 1001 and round(rate) in (30, 60)
    assert text.splitlines()[1] == ("FCM: DROP FRAME" if drop else "FCM: NON-DROP FRAME")
    events = [line for line in text.splitlines() if line[:3].isdigit()]
    assert [line[:3] for line in events] == ["001", "002", "003"]
    assert all(line.split()[-2].startswith("01:0") and (";" in line) == drop for line in events)
    assert events[0].split()[-2] == ("01:00:00;00" if drop else "01:00:00:00")
    back = otio.adapters.read_from_string(text, adapter_name="cmx_3600", rate=float(rate))
    clips = list(back.find_clips())
    assert [clip.name for clip in clips] == [f"AGM_SQ010_SH00{number}_v001" for number in (10, 30, 40)]
    assert [clip.source_range.duration.value for clip in clips] == [48, 4000, 48]
    assert [clip.source_range.start_time.value for clip in clips] == [1009, 1001, 1001]
    starts = [clip.transformed_time_range(clip.trimmed_range(), back.tracks).start_time.value for clip in clips]
    assert [start - starts[0] for start in starts] == [0, 78, 4078]
    assert [clip.metadata["cmx_3600"]["reel"] for clip in clips] == ["SH0010V1", "SH0030V1", "SH0040V1"]
    sources = [line.removeprefix("* SOURCE FILE: ") for line in text.splitlines() if line.startswith("* SOURCE FILE")]
    shown = [entry.deliverable.path.name for entry in cut.entries if entry.deliverable]
    assert sources == shown


@pytest.mark.parametrize("rate", TIMECODE_RATES, ids=rate_text)
def test_our_timecode_is_that_of_the_timeline_s_library(rate: Fraction) -> None:
    """At every rate with timecode, up to the hour and past it: label for label, and the frame of the full hour."""
    assert otio.opentime.RationalTime.is_smpte_timecode_rate(float(rate))
    full = frames_at_hour(rate)
    for frame in (0, 1001, 1800, 17982, 100_000, full - 1, full, 3 * full + 54321):
        assert otio.opentime.to_timecode(otio.opentime.RationalTime(frame, float(rate)), float(rate)) == timecode(
            frame, rate
        )
    assert timecode(full, rate).replace(";", ":") == "01:00:00:00"


@given(st.fractions(1, 240, max_denominator=1001))
def test_one_rule_says_which_rates_have_timecode(rate: Fraction) -> None:
    """Track, edit list and list of versions have it together or not at all."""
    asked = shot("SH0010", rate=rate)
    found = with_versions(asked, version(asked, 1))
    try:
        listed = edl(one_cut(found), provenance={}) != ""
    except PlanError:
        listed = False
    [row] = csv.DictReader(io.StringIO(version_list([found])))
    assert {listed, bool(row["timecode_in"]), bool(start_timecode("prores", (), rate))} == {has_timecode(rate)}


@pytest.mark.parametrize("rate", [Fraction(12), Fraction(15), Fraction(25, 2), Fraction(48000, 1001)], ids=rate_text)
def test_one_rule_holds_at_the_rates_that_differed(rate: Fraction) -> None:
    """12 and 15 have no timecode anywhere, 47.952 has it everywhere."""
    test_one_rule_says_which_rates_have_timecode.hypothesis.inner_test(rate)
    assert has_timecode(rate) == (rate == Fraction(48000, 1001))


@pytest.mark.parametrize(
    ("kind", "rate", "first"),
    [
        ("prores", Fraction(24), 1001),
        ("h265", NTSC, 1001),
        ("webm", Fraction(24), 0),
        ("prores", Fraction(25, 2), 0),
        ("h265", Fraction(15), 0),
        ("png", Fraction(25, 2), 1001),
    ],
)
@pytest.mark.parametrize("slated", [False, True])
def test_a_file_begins_where_a_program_that_opens_it_says(
    kind: str, rate: Fraction, first: int, *, slated: bool
) -> None:
    """At frame 1001 by timecode track or numbers, else at 0; the cut shows the frame after handles and slate, and the
    reference names the number that the file's first frame has for people."""
    asked = shot("SH0010", rate=rate, handles=8)
    [clip] = read(one_cut(with_versions(asked, version(asked, 1, kinds=(kind,), slated=slated))))
    whole = clip.media_reference.available_range
    assert whole.start_time.value == (first - slated if first else 0)
    assert whole.duration.value == 64 + slated
    assert clip.source_range.start_time.value - whole.start_time.value == 8 + slated
    assert clip.media_reference.metadata["dailies"]["first_frame"] == 1001 - slated


def test_an_edl_of_several_rates_is_refused_with_its_shots() -> None:
    """An EDL has one rate; OTIO takes the same cut, each clip at its own."""
    cut = one_cut(approved(shot("SH0010")), approved(shot("SH0020", rate=Fraction(25))))
    with pytest.raises(PlanError, match=r"24 fps: SH0010; 25 fps: SH0020.*export otio"):
        edl(cut, provenance={})
    track = read(cut)
    assert [clip.source_range.duration.rate for clip in track] == [24, 25]


def test_an_edl_at_a_rate_without_timecode_is_refused() -> None:
    """12.5 fps has no timecode."""
    with pytest.raises(PlanError, match=r"12\.5 fps, which has no timecode"):
        edl(one_cut(approved(shot("SH0010", rate=Fraction(25, 2)))), provenance={})


@given(
    st.lists(
        st.tuples(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), st.integers(1, 1200)), max_size=40
    )
)
def test_reels_are_legal_and_each_its_own(named: list[tuple[str, int]]) -> None:
    """At most eight letters and digits, no two alike, never AX or BL, whatever the codes."""
    made = reels([{"shot": code, "version": number} for code, number in named])
    assert len(set(made)) == len(named)
    assert all(reel.isalnum() and reel.isascii() and reel.isupper() | reel.isdigit() for reel in made)
    assert all(len(reel) <= REEL and reel not in ("AX", "BL") for reel in made)


def test_the_list_of_versions_has_a_row_for_each_and_no_formulas() -> None:
    """Failed versions are rows too; a sender who begins with = does not become a formula."""
    asked = Shot("AGM", "SH0010", 4000, rate=NTSC, submitted_by="=HYPERLINK(1)")
    found = with_versions(asked, version(asked, 1, Status.FAILED), version(asked, 2), status=Status.APPROVED)
    rows = list(csv.DictReader(io.StringIO(version_list([found]))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["version"], row["status"], row["kind"]) for row in rows] == [
        ("v001", "failed", ""),
        ("v002", "approved", "prores"),
    ]
    assert rows[1]["submitted_by"] == "'=HYPERLINK(1)"
    assert (rows[1]["timecode_in"], rows[1]["timecode_out"]) == ("00:00:33;11", "00:02:46;25")
    assert (rows[1]["rate"], rows[1]["issues"]) == ("30000/1001", "1")
    assert rows[1]["findings"] == "seam issue 1004-1005: jump 4.1"
    assert (rows[1]["frames"], rows[1]["file_frames"]) == ("4000", "4000")
    assert rows[1]["file_timecode_in"] == rows[1]["timecode_in"]


def test_a_slated_file_is_told_beside_its_picture() -> None:
    """The picture has 48 frames from 1001, the file 49 from the slate's 1000: both stand in the list."""
    asked = shot("SH0010")
    made = version(asked, 1)
    files = tuple(replace(file, frames=file.frames + 1) for file in made.take.deliverables)
    slated = replace(made, take=replace(made.take, deliverables=files))
    [row] = csv.DictReader(io.StringIO(version_list([with_versions(asked, slated)])))
    assert (row["frames"], row["timecode_in"], row["timecode_out"]) == ("48", "00:00:41:17", "00:00:43:17")
    assert (row["file_frames"], row["file_timecode_in"]) == ("49", "00:00:41:16")
