"""The contract of the catalogue: every kind of database passes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest

from catalogs.errors import AmbiguousShotError, CatalogueError, FencedError, ShotListError, UnknownShotError
from catalogs.footage import Clip, Deliverable, Finding, Severity, Status, Take
from catalogs.shot import Anchor, Delivery, LoraUse, Plate, Shot
from catalogs.store import Catalogue, open_catalogue
from catalogs.timebase import FrameRange

Make = Callable[..., Shot]

CLIP = Clip(Path("/w/c.mkv"), "a" * 64, 2**40, FrameRange(0, 81), Fraction(16), 832, 480)
DELIVERABLE = Deliverable(
    kind="h265",
    path=Path("/d/x.mp4"),
    sha256="b" * 64,
    bytes=123,
    frames=48,
    rate=Fraction(24000, 1001),
    width=1280,
    height=720,
    codec="hevc",
    pix_fmt="yuv420p10le",
    color_range="tv",
    color_primaries="bt709",
    color_trc="bt709",
    colorspace="bt709",
)
FINDING = Finding("flash", Severity.ISSUE, 3, 5, "0.3", "0.1", "x.mp4")


def finish(catalogue: Catalogue, take: Take) -> None:
    """Finishes a take with one part of each kind."""
    catalogue.finish_take(
        take,
        manifest=Path("/d/manifest.json"),
        clips=[("generate", CLIP)],
        deliverables=[DELIVERABLE],
        findings=[FINDING],
        seconds={"generate": 1.5, "encode": 0.5},
    )


def rendered(catalogue: Catalogue, shot: Shot) -> Take:
    """A shot with one finished take."""
    catalogue.submit([shot], source="t")
    take = catalogue.begin_take(shot.name, key="k1", plan=lambda version: {"windows": []})
    finish(catalogue, take)
    return take


def test_a_shot_comes_back_as_it_was_submitted(catalogue: Catalogue, shot: Make) -> None:
    """Every field of a shot survives the database exactly."""
    plate = Plate("/p/a.png", "c" * 64, 1920, 1080)
    full = shot(
        sequence="SQ010",
        plate=plate,
        end_plate=plate,
        prompt="räin on a window\nat night",
        rate=Fraction(24000, 1001),
        handles=8,
        width=1280,
        height=720,
        seed=2**63 - 1,
        steps=40,
        guidance=5.1,
        loras=(LoraUse("mist", 0.8), LoraUse("/w/rain.safetensors"), LoraUse("fog", 0.0)),
        context="frames-9",
        overlap=13,
        anchors=(Anchor(Fraction(1, 3), plate), Anchor(Fraction(3, 2), plate)),
        max_rerolls=0,
        camera="push in",
        deliveries=(
            Delivery("webm", "vp9"),
            Delivery("png", "16"),
            Delivery("webm", "av1", "review", ("silent", "burnin")),
        ),
        speed=Fraction(1, 3),
        retimer="any",
        priority=1,
        due=date(2026, 12, 24),
        notes="n",
        submitted_by="Zoë",
        metadata=(("Vendor", "x"), ("Vendor", "y")),
    )
    catalogue.submit([full, shot("SH0020")], source="t")
    assert catalogue.find("AGM/SH0010").shot == full
    assert catalogue.find("AGM/SH0020").shot == shot("SH0020")


def test_submitting_the_same_list_again_changes_nothing(catalogue: Catalogue, shot: Make) -> None:
    """Resubmission is safe: identical shots are unchanged in every mode."""
    still = Plate("/p/a.png", "c" * 64, 1920, 1080)
    shots = [shot("A"), shot("B", context="latents-4", overlap=17, anchors=(Anchor(Fraction(3, 2), still),))]
    assert catalogue.submit(shots, source="t").new == ("AGM/A", "AGM/B")
    for mode in ("create", "update", "upsert"):
        again = catalogue.submit(shots, source="t", mode=mode)  # type: ignore[arg-type]
        assert (again.accepted, again.unchanged) == (("AGM/A", "AGM/B"), ("AGM/A", "AGM/B"))
        assert again.new == again.changed == ()


def test_create_refuses_every_differing_shot_at_once(catalogue: Catalogue, shot: Make) -> None:
    """One error lists all shots that stand there otherwise, and nothing of the list is kept."""
    catalogue.submit([shot("A"), shot("B")], source="t")
    changed = [shot("A", frames=50), shot("C"), shot("B", prompt="x")]
    with pytest.raises(ShotListError) as caught:
        catalogue.submit(changed, source="l.csv", lines={"AGM/A": 2, "AGM/B": 4})
    assert [(one.code, one.line, one.value) for one in caught.value.problems] == [
        ("E501", 2, "AGM/A"),
        ("E501", 4, "AGM/B"),
    ]
    assert "--mode upsert" in str(caught.value)
    assert len(catalogue.shots()) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("context", "frames-9"),
        ("overlap", 9),
        ("anchors", (Anchor(Fraction(1), Plate("/p/a.png", "c" * 64, 64, 36)),)),
        ("max_rerolls", 0),
        ("retimer", "flow"),
    ],
)
def test_how_windows_meet_is_part_of_the_request(catalogue: Catalogue, shot: Make, field: str, value: object) -> None:
    """A change of context, overlap, anchors, rerolls or retimer is named, changes the shot, makes it ready again."""
    take = rendered(catalogue, shot("A"))
    changed = shot("A", **{field: value})
    with pytest.raises(ShotListError, match=f"differs in {field}"):
        catalogue.submit([changed], source="t")
    assert catalogue.submit([changed], source="t", mode="update").changed == ("AGM/A",)
    record = catalogue.find("A")
    assert (record.shot, record.status, record.version) == (changed, Status.READY, take.version)


def test_update_refuses_new_shots(catalogue: Catalogue, shot: Make) -> None:
    """A list of changes does not create shots by a typing error."""
    with pytest.raises(ShotListError, match="E502"):
        catalogue.submit([shot("A")], source="t", mode="update")


def test_a_submission_names_a_shot_once(catalogue: Catalogue, shot: Make) -> None:
    """Two requests for one shot in a submission are refused, whatever their case."""
    with pytest.raises(ShotListError, match="E305"):
        catalogue.submit([shot("sh1"), shot("SH1")], source="t", mode="upsert")


def test_a_dry_run_writes_nothing(catalogue: Catalogue, shot: Make) -> None:
    """A dry run answers as the submission would, and leaves the catalogue as it was."""
    assert catalogue.submit([shot("A")], source="t", dry_run=True).new == ("AGM/A",)
    assert catalogue.shots() == []


def test_case_does_not_make_another_shot(catalogue: Catalogue, shot: Make) -> None:
    """A shot is met by its code in any case, and keeps its first spelling."""
    catalogue.submit([shot("SH0010a")], source="t")
    again = catalogue.submit([replace(shot("sh0010A", frames=9), show="agm")], source="t", mode="upsert")
    assert again.changed == ("AGM/SH0010a",)
    assert [record.shot.name for record in catalogue.shots()] == ["AGM/SH0010a"]


def test_a_changed_shot_is_ready_again(catalogue: Catalogue, shot: Make) -> None:
    """A new request asks for a new take; a new due date alone does not."""
    rendered(catalogue, shot())
    catalogue.submit([shot(due=date(2027, 1, 1), notes="hurry", priority=2)], source="t", mode="upsert")
    assert catalogue.find("SH0010").status is Status.REVIEW
    catalogue.submit([shot(prompt="slower")], source="t", mode="update")
    assert catalogue.find("SH0010").status is Status.READY


def test_another_lora_asks_for_another_take(catalogue: Catalogue, shot: Make) -> None:
    """A LoRA that comes, goes or acts otherwise is a changed request; the same ones again are none."""
    for loras in ((LoraUse("mist"),), (LoraUse("mist", 0.5),), (LoraUse("rain", 0.5),), ()):
        rendered(catalogue, shot()) if not catalogue.shots() else None
        asked = shot(loras=loras)
        assert catalogue.submit([asked], source="t", mode="update").changed == ("AGM/SH0010",)
        assert catalogue.find("SH0010").status is Status.READY
        assert catalogue.submit([asked], source="t", mode="update").unchanged == ("AGM/SH0010",)
    with pytest.raises(ShotListError, match="differs in loras"):
        catalogue.submit([shot(loras=(LoraUse("mist"),))], source="t")


def test_a_take_of_an_old_request_does_not_settle_the_new_one(catalogue: Catalogue, shot: Make) -> None:
    """If a shot changes while it renders, the finished take goes to review and the shot stays ready."""
    catalogue.submit([shot()], source="t")
    take = catalogue.begin_take("SH0010", key="k", plan=lambda version: {})
    catalogue.submit([shot(prompt="other")], source="t", mode="upsert")
    finish(catalogue, take)
    assert [one.status for one in catalogue.takes("SH0010")] == [Status.REVIEW]
    assert catalogue.find("SH0010").status is Status.READY


def test_shots_come_in_the_order_of_work(catalogue: Catalogue, shot: Make) -> None:
    """Priority first, then due date with none last, then show, sequence, code."""
    given = [
        shot("E"),
        shot("D", sequence="SQ2"),
        shot("C", sequence="SQ1"),
        shot("B", due=date(2027, 1, 2)),
        shot("A", priority=60),
        shot("F", priority=1),
        replace(shot("G"), show="AAA"),
        shot("H", due=date(2027, 1, 1)),
    ]
    catalogue.submit(given, source="t")
    assert [record.shot.code for record in catalogue.shots()] == ["F", "H", "B", "G", "E", "C", "D", "A"]
    assert [record.shot.code for record in catalogue.shots(show="aaa")] == ["G"]
    assert catalogue.shots(status=Status.REVIEW) == []


def test_find_says_what_it_did_not_find(catalogue: Catalogue, shot: Make) -> None:
    """A name finds its shot in any case; a wrong one gets suggestions, an ambiguous one the candidates."""
    catalogue.submit([shot("SH0010"), shot("SH0020"), replace(shot("SH0020"), show="BEE")], source="t")
    assert catalogue.find("sh0010").shot.code == "SH0010"
    assert catalogue.find("bee/sh0020").shot.show == "BEE"
    with pytest.raises(AmbiguousShotError, match="AGM/SH0020, BEE/SH0020"):
        catalogue.find("SH0020")
    with pytest.raises(UnknownShotError, match="did you mean AGM/SH0010"):
        catalogue.find("SH010")
    with pytest.raises(UnknownShotError, match="dailies shots"):
        catalogue.find("")


def test_a_take_goes_through_its_life(catalogue: Catalogue, shot: Make) -> None:
    """A begun take renders; a finished one is in review and comes back with all its parts."""
    catalogue.submit([shot(sequence="SQ1")], source="t")
    take = catalogue.begin_take("SH0010", key="k1", plan=lambda version: {"a": [1, "2/3"]})
    assert (take.version, take.status, take.sequence) == (1, Status.RENDERING, "SQ1")
    assert catalogue.find("SH0010").status is Status.RENDERING
    finish(catalogue, take)
    record = catalogue.find("SH0010")
    assert (record.status, record.version, record.seconds) == (Status.REVIEW, 1, 2.0)
    assert record.take is not None
    assert record.take.deliverables == (DELIVERABLE,)
    assert record.take.findings == (FINDING,)
    assert record.take.seconds == (("generate", 1.5), ("encode", 0.5))
    assert catalogue.shots() == [record]
    assert catalogue.newest_take("SH0010") == record.take
    assert catalogue.renderable() == []


def test_finishing_twice_is_finishing_once(catalogue: Catalogue, shot: Make) -> None:
    """finish_take is idempotent, and a failure reported afterwards does not undo it."""
    take = rendered(catalogue, shot())
    before = catalogue.find("SH0010")
    finish(catalogue, take)
    catalogue.fail_take(take, error="late", seconds={})
    assert catalogue.find("SH0010") == before


@pytest.mark.parametrize("failed", [False, True])
def test_an_unfinished_take_of_the_same_plan_is_continued(catalogue: Catalogue, shot: Make, failed: bool) -> None:
    """After a crash or a failure the same plan goes on in the same version, its error forgotten."""
    catalogue.submit([shot()], source="t")
    take = catalogue.begin_take("SH0010", key="k", plan=lambda version: {})
    if failed:
        catalogue.fail_take(take, error="disk full; free some", seconds={"generate": 2.0})
        record = catalogue.find("SH0010")
        assert (record.status, record.error, record.seconds) == (Status.FAILED, "disk full; free some", 2.0)
    again = catalogue.begin_take("SH0010", key="k", plan=lambda version: {})
    assert (again.version, again.status, again.error) == (1, Status.RENDERING, "")
    assert catalogue.find("SH0010").error == ""


def test_another_plan_is_another_take(catalogue: Catalogue, shot: Make) -> None:
    """A new key makes a new version; the interrupted one before it is marked so and cannot settle the shot."""
    catalogue.submit([shot()], source="t")
    old = catalogue.begin_take("SH0010", key="k1", plan=lambda version: {})
    new = catalogue.begin_take("SH0010", key="k2", plan=lambda version: {})
    assert [(take.version, take.status) for take in catalogue.takes("SH0010")] == [
        (1, Status.FAILED),
        (2, Status.RENDERING),
    ]
    with pytest.raises(FencedError):
        finish(catalogue, old)
    assert catalogue.find("SH0010").status is Status.RENDERING
    finish(catalogue, new)
    assert catalogue.find("SH0010").status is Status.REVIEW


def test_a_finished_take_is_never_continued(catalogue: Catalogue, shot: Make) -> None:
    """Rendering a reviewed shot again, even with the same plan, is a new version; at_least may raise it."""
    rendered(catalogue, shot())
    assert catalogue.begin_take("SH0010", key="k1", plan=lambda version: {}, at_least=7).version == 7
    assert catalogue.newest_take("SH0010") is not None
    assert [take.version for take in catalogue.takes("SH0010")] == [1, 7]


def test_a_take_of_no_record_is_refused(catalogue: Catalogue, shot: Make) -> None:
    """A take that the catalogue does not know, or of another plan, cannot be finished."""
    take = rendered(catalogue, shot())
    with pytest.raises(CatalogueError, match="no take AGM_SH0010_v009"):
        finish(catalogue, replace(take, version=9))
    with pytest.raises(CatalogueError, match="another plan"):
        finish(catalogue, replace(take, key="other"))


def test_a_shot_can_fail_before_its_first_take(catalogue: Catalogue, shot: Make) -> None:
    """An error while planning stays on the shot until a take begins."""
    catalogue.submit([shot(), shot("B")], source="t")
    catalogue.fail_shot("SH0010", "no such weights; pull them")
    record = catalogue.find("SH0010")
    assert (record.status, record.error, record.take) == (Status.FAILED, "no such weights; pull them", None)
    assert [one.shot.code for one in catalogue.renderable()] == ["B", "SH0010"]
    assert catalogue.counts() == dict.fromkeys(Status, 0) | {Status.READY: 1, Status.FAILED: 1}


def test_two_threads_write_at_once(url: str, shot: Make) -> None:
    """Every take that two threads begin on two connections is numbered once."""
    with open_catalogue(url) as one, open_catalogue(url) as other:
        one.submit([shot()], source="t")
        failures: list[BaseException] = []

        def work(catalogue: Catalogue, tag: str) -> None:
            try:
                for number in range(10):
                    catalogue.begin_take("SH0010", key=f"{tag}{number}", plan=lambda version: {})
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=pair) for pair in ((one, "a"), (other, "b"), (one, "c"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [take.version for take in one.takes("SH0010")] == list(range(1, 31))


def test_two_threads_submit_the_same_list(url: str, shot: Make) -> None:
    """Of two simultaneous first submissions one is new and the other finds everything unchanged."""
    shots = [shot(f"S{number}") for number in range(20)]
    with open_catalogue(url) as one, open_catalogue(url) as other:
        results = []
        threads = [
            threading.Thread(target=lambda catalogue=catalogue: results.append(catalogue.submit(shots, source="t")))
            for catalogue in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(len(result.new) for result in results) == [0, 20]


def test_a_late_complaint_does_not_undo_a_delivery(catalogue: Catalogue, shot: Make) -> None:
    """fail_shot leaves a shot in review as it is, and settle_shot puts one back where its finished take stands."""
    asked = shot()
    catalogue.submit([asked], source="a.csv")
    take = catalogue.begin_take(asked.name, key="k", plan=lambda version: {"version": version})
    catalogue.finish_take(take, manifest=Path("/m.json"), clips=(), deliverables=(), findings=(), seconds={})
    catalogue.fail_shot(asked.name, "the plate is gone")
    assert catalogue.find(asked.name).status is Status.REVIEW
    catalogue.submit([replace(asked, prompt="other words")], source="b.csv", mode="upsert")
    assert catalogue.find(asked.name).status is Status.READY
    catalogue.settle_shot(take)
    assert catalogue.find(asked.name).status is Status.REVIEW
