"""What a shot list asks of its deliveries, through the command line, in a home of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rendering import House

from catalogs.shot import Delivery, Plate, Shot
from catalogs.store import Catalogue, open_catalogue
from flows.begin import Wishes, make_ready
from flows.settings import Settings, house_environment, worker_variables
from tasks.errors import MachineNotReadyError
from tasks.tracks import read_tracks
from tasks.transient import is_transient


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """An empty catalogue."""
    with open_catalogue(f"sqlite:///{tmp_path}/catalogue.sqlite") as opened:
        yield opened


def test_words_of_a_list_become_files(house: House) -> None:
    """Two ProRes beside each other, half floats, a silent H.265, a review copy with slate and words; the manifest says
    which frames are handles, who encoded, and what to look at first."""
    wanted = "h265:silent prores prores:4444 h264:slate:burnin exr"
    house.submit({"shot": "SH0010", "deliveries": wanted, "frames": "12", "fps": "29.97", "handles": "4"})
    assert house.json("shots")["shots"][0]["deliveries"] == wanted.split()
    [report] = house.json("render")["shots"]
    assert (report["status"], report["error"]) == ("review", "")
    manifest = json.loads(Path(report["manifest"]).read_text())
    folder = Path(report["manifest"]).parent
    begin = "AGM_SQ010_SH0010_v001_2997p_"
    files = {one["path"].removeprefix(begin): one for one in manifest["deliverables"]}
    assert list(files) == ["h265_silent.mp4", "prores.mov", "prores_4444.mov", "h264_slate_burnin.mp4", "exr"]
    assert [one["frames"] for one in files.values()] == [20, 20, 20, 21, 20]
    assert {(one["handles"], one["cut_in"], one["cut_out"], one["frame_out"]) for one in files.values()} == {
        (4, 1005, 1017, 1021)
    }
    slated = files["h264_slate_burnin.mp4"]
    assert (slated["frame_in"], slated["slate_frames"], slated["review_only"]) == (1000, 1, True)
    assert [one["encoder"] for one in files.values()] == ["libx265", "prores_ks", "prores_ks", "libx264", "exr"]
    assert (files["prores.mov"]["timecode"], slated["timecode"]) == ("00:00:33;11", "00:00:33;10")
    tracks = read_tracks(folder / f"{begin}prores_4444.mov")
    assert (tracks.timecode, tracks.reel) == ("00:00:33;11", "AGM_SQ010_SH0010_v001")
    for name, kind in (("thumbnail", "JPEG"), ("preview", "WEBP"), ("contact_sheet", "JPEG")):
        with Image.open(folder / manifest[name]) as image:
            assert image.format == kind
    assert {one["path"] for one in report["deliverables"]} == {str(folder / one["path"]) for one in files.values()}
    [again] = house.json("render", "SH0010")["shots"]
    assert (again["seconds"], again["deliverables"]) == ({}, report["deliverables"])


def test_a_folder_that_cannot_be_written_to_fails_the_shot_with_its_name(house: House) -> None:
    """A file where the show's deliveries should lie: nothing has a final name, and the next render goes on."""
    house.submit({"shot": "SH0010"})
    place = house.home / "deliveries"
    place.mkdir(parents=True)
    (place / "AGM").write_text("in the way")
    [report] = house.json("render", code=1)["shots"]
    assert report["status"] == "failed"
    assert str(place / "AGM") in report["error"]
    assert (place / "AGM").read_text() == "in the way"
    (place / "AGM").unlink()
    [report] = house.json("render")["shots"]
    assert report["status"] == "review"
    assert report["seconds"]["encode"] < 5


def test_a_card_that_is_not_there_is_said_before_anything_has_a_name(house: House, ffmpeg: str) -> None:
    """With DAILIES_ENCODER=nvenc and no card the shot fails with the probe's reason; without it, it is made."""
    from tasks.nvenc import problem

    if not (why := problem(ffmpeg)):
        return
    house.submit({"shot": "SH0010", "deliveries": "h265"})
    done = house.run("render", DAILIES_ENCODER="nvenc")
    assert why in " ".join((done.stdout + done.stderr).split())
    assert not list(house.home.glob("deliveries/**/*.mp4"))
    [report] = house.json("render")["shots"]
    assert report["status"] == "review"


def test_a_night_tries_the_encoder_before_it_generates(catalogue: Catalogue, ffmpeg: str, tmp_path: Path) -> None:
    """Whoever finishes what he generates, by hand or in a house, is told when the shot is made ready, and that it may
    pass; a worker of a cluster generates for others to encode, and a shot without H.265 needs no card."""
    from tasks.nvenc import problem

    if not problem(ffmpeg):
        pytest.skip("this machine has NVENC")
    plate = Plate(str(tmp_path / "a.png"), "0" * 64, 320, 180)
    asked = Shot("AGM", "SH0010", 12, plate=plate, deliveries=(Delivery("h265", "main10"),))
    catalogue.submit([asked, replace(asked, code="SH0020", deliveries=(Delivery("png", "16"),))], source="t")
    wanted, other = catalogue.find("SH0010"), catalogue.find("SH0020")
    home = {"DAILIES_HOME": str(tmp_path), "DAILIES_ENCODER": "nvenc"}
    in_a_house = house_environment(Settings.read(home), {}) | worker_variables("gpu-0")
    for environment in (home, in_a_house):
        settings = Settings.read(environment)
        with pytest.raises(MachineNotReadyError, match="does not encode one frame here") as refused:
            make_ready(wanted, settings, Wishes())
        assert is_transient(refused.value)
        make_ready(other, settings, Wishes())
    make_ready(wanted, Settings.read(home | worker_variables("gpu-0")), Wishes())
