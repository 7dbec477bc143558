"""`dailies export` on a real catalogue: what is written, what is refused, and that nothing is written halfway."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from rendering import House, clean_environment
from versions import deliverable, shot

from catalogs.errors import CatalogueError
from catalogs.shot import Shot
from catalogs.store import Catalogue, open_catalogue
from flows.exporting import Wish, export
from flows.settings import Settings
from tasks.disclosure import Licences, Told, disclosure, disclosure_page
from tasks.errors import PlanError, StepError
from tasks.manifests import Manifest


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with an umlaut, a space and a percent sign in its path."""
    return Settings.read({"DAILIES_HOME": str(tmp_path / "Häuser 100%")})


@pytest.fixture
def catalogue(settings: Settings) -> Iterator[Catalogue]:
    """Its catalogue."""
    with open_catalogue(settings.database_url) as opened:
        yield opened


def publish(catalogue: Catalogue, settings: Settings, asked: Shot, *, approve: bool = True) -> Path:
    """A version of the shot with one ProRes file, and what stands in a manifest about it. Returns the manifest."""
    plan = {"rate": f"{asked.rate}", "frames": asked.total_frames, "handles": asked.handles}
    take = catalogue.begin_take(asked.name, key="k", plan=lambda version: plan)
    folder = settings.deliveries / asked.show / asked.sequence / asked.code / f"v{take.version:03d}"
    folder.mkdir(parents=True)
    # as earlier releases wrote it down: the file in the work folder, which is gone by now
    file = deliverable(settings.work, f"AGM_SQ_{asked.code}", "prores", frames=asked.total_frames, rate=asked.rate)
    (folder / file.path.name).write_bytes(b"film")
    manifest = folder / "manifest.json"
    document = {
        "slate": f"{asked.show}_{asked.sequence}_{asked.code}_v{take.version:03d}",
        "shot": {
            "show": "AGM",
            "plate": {"path": "/plates/a|b.png", "sha256": "cd" * 32, "width": 8, "height": 8},
            "end_plate": None,
        },
        "take": {"key": "k"},
        "engine": {
            "engine": "wan",
            "card": "wan2.1-i2v-14b-480p",
            "licence": "Apache-2.0",
            "weights": [{"path": "wan/model.safetensors", "sha256": "ef" * 32}],
            "loras": [{"name": "mist", "sha256": ["12" * 32]}],
        },
        "retime": {"engine": "rife-torch", "model": "rife-4.25", "sha256": "34" * 32, "interpolated": 20},
        "deliverables": [{"path": file.path.name, "kind": "prores", "sha256": file.sha256, "bytes": 4}],
        "digital_source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "finished": "2026-11-22T01:02:03+00:00",
    }
    manifest.write_text(json.dumps(document))
    catalogue.finish_take(take, manifest=manifest, clips=[], deliverables=[file], findings=[], seconds={})
    if approve:
        catalogue.verdicts.approve([asked.name], by="t")
    return manifest


def submit(catalogue: Catalogue, *shots: Shot) -> None:
    catalogue.submit(shots, source="list.csv", mode="upsert")


def opened(path: str | Path) -> Any:
    return otio.adapters.read_from_file(str(path))


def test_each_sequence_is_a_timeline_in_the_order_of_the_list(
    catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    """Two sequences are two files; shots stand as the list had them, and what was added later comes last."""
    first, second, other = shot("SH0020"), shot("SH0010"), shot("SH0030", sequence="SQ020")
    submit(catalogue, first, second, other)
    added = shot("SH0005")
    submit(catalogue, added, first)
    for one in (first, second, other, added):
        publish(catalogue, settings, one)
    document = export("otio", Wish(out=tmp_path / "cut"), settings)
    assert [Path(file["path"]).name for file in document["files"]] == ["AGM_SQ010.otio", "AGM_SQ020.otio"]
    timeline = opened(document["files"][0]["path"])
    assert [clip.metadata["dailies"]["shot"] for clip in timeline.find_clips()] == ["SH0020", "SH0010", "SH0005"]
    clip = next(iter(timeline.find_clips()))
    assert Path(otio.url_utils.filepath_from_url(clip.media_reference.target_url)).read_bytes() == b"film"
    assert clip.metadata["dailies"]["provenance"]["licence"] == "Apache-2.0"
    assert document["gaps"] == document["notices"] == []
    by_code = export("otio", Wish(out=tmp_path / "by code", order="code", sequence="SQ010"), settings)
    codes = [clip.metadata["dailies"]["shot"] for clip in opened(by_code["files"][0]["path"]).find_clips()]
    assert codes == ["SH0005", "SH0010", "SH0020"]


def test_what_an_editor_must_know_is_said(catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
    """A file that is gone, a manifest that is gone, a shot asked for anew at another length, a shot in review."""
    gone, longer, waiting = shot("SH0010"), shot("SH0020"), shot("SH0030")
    submit(catalogue, gone, longer, waiting)
    manifest = publish(catalogue, settings, gone)
    publish(catalogue, settings, longer)
    for file in manifest.parent.iterdir():
        file.unlink()
    submit(catalogue, replace(longer, frames=96))
    document = export("otio", Wish(out=tmp_path / "cut.otio"), settings)
    assert document["gaps"] == [{"shot": "AGM/SH0030", "why": "no approved version, it is ready"}]
    offline, length, unread = document["notices"]
    assert "is not there; the clip will be offline" in offline
    assert "has 48 at 24/1, and 96 frames at 24/1 are asked for since" in length
    assert "its provenance is left out" in unread
    assert document["files"][0]["clips"] == 2


def test_without_an_approved_version_nothing_is_written(
    catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    """The sentence names --latest, and with it the version in review is taken."""
    asked = shot("SH0010")
    submit(catalogue, asked)
    publish(catalogue, settings, asked, approve=False)
    with pytest.raises(PlanError, match=r"none of 1 shots has a version.*--latest"):
        export("otio", Wish(out=tmp_path / "a.otio"), settings)
    assert not (tmp_path / "a.otio").exists()
    assert export("otio", Wish(out=tmp_path / "a.otio", latest=True), settings)["files"][0]["clips"] == 1


def test_files_come_all_or_not_at_all(catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
    """One sequence of mixed rates and no EDL is written; one file in the way and neither is; nothing is left aside."""
    shots = [shot("SH0010"), shot("SH0020", sequence="SQ020"), shot("SH0030", sequence="SQ020", rate=Fraction(25))]
    submit(catalogue, *shots)
    for one in shots:
        publish(catalogue, settings, one)
    out = tmp_path / "lists"
    with pytest.raises(PlanError, match="AGM_SQ020 mixes rates"):
        export("edl", Wish(out=out), settings)
    assert not out.exists()
    out.mkdir()
    (out / "AGM_SQ020.otio").write_text("mine")
    with pytest.raises(PlanError, match=r"AGM_SQ020\.otio exists already.*--overwrite"):
        export("otio", Wish(out=out), settings)
    assert [path.name for path in out.iterdir()] == ["AGM_SQ020.otio"]
    export("otio", Wish(out=out, overwrite=True), settings)
    assert sorted(path.name for path in out.iterdir()) == ["AGM_SQ010.otio", "AGM_SQ020.otio"]
    (out / "AGM_SQ010.otio").unlink()
    out.chmod(0o500)
    try:
        if not _may_write(out):  # root may write anywhere
            with pytest.raises(StepError, match="mend the folder"):
                export("otio", Wish(out=out, overwrite=True), settings)
    finally:
        out.chmod(0o700)


def _may_write(folder: Path) -> bool:
    try:
        (folder / "probe").touch()
        (folder / "probe").unlink()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("what", "wish", "said"),
    [
        ("fcpxml", Wish(), "no export 'fcpxml'"),
        ("otio", Wish(order="name"), "no order 'name'; use list, code"),
        ("otio", Wish(kind="avi"), "no kind 'avi'"),
        ("versions", Wish(latest=True), "--latest is for otio and edl"),
        ("csv", Wish(latest=True), "--latest and --kind are for versions"),
        ("csv", Wish(kind="h265"), "--latest and --kind are for versions"),
        ("disclosure", Wish(kind="prores"), "--kind is for otio, edl and versions"),
        ("otio", Wish(out=Path("cut.edl")), r"cut\.edl would be an otio file"),
        ("edl", Wish(out=Path("cut.edl")), r"cut\.edl is one file and there are 2 \(AGM_SQ010\.edl, AGM_SQ020\.edl\)"),
    ],
)
def test_wishes_that_cannot_be_are_refused(
    catalogue: Catalogue, settings: Settings, what: str, wish: Wish, said: str
) -> None:
    """Each with the value and what would do."""
    for one in (shot("SH0010"), shot("SH0020", sequence="SQ020")):
        submit(catalogue, one)
        publish(catalogue, settings, one)
    with pytest.raises(PlanError, match=said):
        export(what, wish, settings)


def test_unknown_shows_and_sequences_are_named(catalogue: Catalogue, settings: Settings) -> None:
    """With those that there are; `_` are the shots without a sequence."""
    with pytest.raises(PlanError, match="the catalogue has no shots"):
        export("csv", Wish(), settings)
    submit(catalogue, shot("SH0010"), shot("SH0020", sequence=""))
    with pytest.raises(CatalogueError, match="there is no show 'XX'; the catalogue has AGM"):
        export("csv", Wish(show="XX"), settings)
    with pytest.raises(CatalogueError, match="there is no sequence 'SQ9'; the catalogue has SQ010, _"):
        export("csv", Wish(show="agm", sequence="SQ9"), settings)
    assert [one.shot.code for one in catalogue.versions(show="agm", sequence="_")] == ["SH0020"]


def test_a_disclosure_tells_what_manifests_say(catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
    """Model, LoRA, interpolator and plate once for both versions that have them; a manifest that is gone is said."""
    shots = [shot("SH0010"), shot("SH0020"), shot("SH0030"), shot("SH0040")]
    submit(catalogue, *shots)
    publish(catalogue, settings, shots[0])
    publish(catalogue, settings, shots[1], approve=False)
    publish(catalogue, settings, shots[2]).unlink()
    publish(catalogue, settings, shots[3]).write_text('{"slate": "AGM_SQ010_SH0040_v001"}')
    told = export("disclosure", Wish(out=tmp_path / "out"), settings)
    assert [Path(file["path"]).name for file in told["files"]] == ["AGM_disclosure.json", "AGM_disclosure.md"]
    document = json.loads((tmp_path / "out" / "AGM_disclosure.json").read_text(encoding="utf-8"))
    both = ["AGM_SQ010_SH0010_v001", "AGM_SQ010_SH0020_v001"]
    [model], [lora] = document["models"], document["loras"]
    assert (model["name"], model["licence"], model["licence_from"]) == ("wan2.1-i2v-14b-480p", "Apache-2.0", "manifest")
    assert model["versions"] == lora["versions"] == both
    assert (lora["licence"], lora["licence_from"]) == ("not recorded", "")
    [between] = document["interpolators"]
    assert (between["name"], between["licence"], between["licence_from"]) == ("rife-4.25", "MIT", "card")
    assert [(one["role"], one["sha256"]) for one in document["inputs"]] == [("plate", "cd" * 32)]
    assert [one["slate"] for one in document["versions"]] == both
    assert [one["slate"] for one in document["without_manifest"]] == ["AGM_SQ010_SH0030_v001", "AGM_SQ010_SH0040_v001"]
    assert "cannot be read" in told["notices"][0]
    assert "is not a manifest of Dailies" in told["notices"][1]
    page = (tmp_path / "out" / "AGM_disclosure.md").read_text(encoding="utf-8")
    assert "| plate | a\\|b.png |" in page
    assert str(tmp_path) not in page + json.dumps(document)
    assert document["versions"][0]["manifest"].startswith("AGM/SQ010/SH0010/v001/")
    rooted = replace(settings, plates=Path("/plates").parent)
    export("disclosure", Wish(out=tmp_path / "rooted.md"), rooted)
    assert "| plate | plates/a\\|b.png |" in (tmp_path / "rooted.md").read_text(encoding="utf-8")
    assert "| rife-4.25 | MIT (by today's card) |" in page
    export("disclosure", Wish(out=tmp_path / "only.md"), settings)
    assert not (tmp_path / "only.json").exists()


def test_an_animatic_is_no_model() -> None:
    """Its card is that of the model whose windows it borrows; flow between frames is no trained model."""
    document = {
        "slate": "AGM_SH0010_v001",
        "shot": {"show": "AGM", "plate": None, "end_plate": None},
        "engine": {"engine": "animatic", "card": "wan2.1-i2v-14b-720p", "licence": "", "weights": []},
        "retime": {"engine": "flow", "model": "", "sha256": "", "interpolated": 3},
        "deliverables": [],
        "finished": "2026-11-22T01:02:03+00:00",
    }
    told = [Told("AGM_SH0010_v001", "review", Manifest(Path("/m.json"), "00", document))]
    made = disclosure(told, licences=Licences({}, {}, {}), made_by="Dailies", written="now")
    assert made["models"] == []
    assert [(one["name"], one["trained"]) for one in made["interpolators"]] == [("flow", False)]
    assert made["versions"][0]["digital_source_type"] == "not recorded"
    assert "no trained model" in disclosure_page(made)


def test_the_command_line_writes_and_tells(tmp_path: Path, plate_path: Path) -> None:
    """A CSV of versions with --json, and a sentence with exit code 2 where there is nothing to cut with."""
    house = House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(tmp_path / "home")))
    house.submit({"shot": "SH0010"})
    out = tmp_path / "versions.csv"
    document = house.json("export", "versions", "-o", str(out))
    assert document["files"] == [{"path": str(out), "shots": 1, "versions": 0}]
    with out.open(newline="", encoding="utf-8-sig") as stream:
        assert next(csv.reader(stream))[:3] == ["show", "sequence", "shot"]
    refused = house.run("export", "otio", "-o", str(tmp_path / "a.otio"))
    assert refused.returncode == 2
    assert "no approved version, it is ready" in refused.stderr


def test_cuts_of_one_name_are_refused(catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
    """Show `A`, sequence `B_C` and show `A_B`, sequence `C` are both `A_B_C`: neither is written over the other."""
    for show, sequence in (("A", "B_C"), ("A_B", "C")):
        asked = replace(shot("SH0010"), show=show, sequence=sequence)
        catalogue.submit([asked], source="t")
        publish(catalogue, settings, asked)
    out = tmp_path / "cuts"
    out.mkdir()
    with pytest.raises(PlanError, match="read alike"):
        export("otio", Wish(out=out, latest=True), settings)
    assert list(out.iterdir()) == []
