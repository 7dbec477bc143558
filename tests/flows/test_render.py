"""Rendering for real, through the command line, in a home of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.request
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from rendering import House, decoded, pictures


def test_a_list_becomes_verified_deliverables(house: House) -> None:
    """Formats, rates, slow motion and handles: every file has the frames, rate, size and name asked for."""
    house.submit(
        {"shot": "SH0010", "deliveries": "h265 prores webm", "frames": "20", "fps": "23.976"},
        {"shot": "SH0020", "deliveries": "h264 png", "frames": "9", "fps": "60", "camera": "roll"},
        {
            "shot": "SH0030",
            "deliveries": "h265",
            "frames": "10",
            "speed": "1/2",
            "handles": "3",
            "resolution": "96x160",
        },
    )
    batch = house.json("render")
    assert [report["status"] for report in batch["shots"]] == ["review"] * 3
    for report in batch["shots"]:
        manifest = json.loads(Path(report["manifest"]).read_text())
        assert manifest["findings"] == []
        assert manifest["notices"][0].startswith("Animatic")
        for item in report["deliverables"]:
            path = Path(item["path"])
            assert path.is_absolute()
            assert path.name.startswith(f"{report['slate']}_")
            if path.is_dir():
                assert sorted(file.name for file in path.iterdir())[0].endswith("1001.png")
                assert len(list(path.iterdir())) == item["frames"]
                continue
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                assert sum(1 for _ in container.decode(stream)) == item["frames"]
                assert (stream.width, stream.height) == (item["width"], item["height"])
                if path.suffix != ".webm":  # its clock has milliseconds
                    assert stream.average_rate == Fraction(item["rate"])
    first, second, third = batch["shots"]
    assert [item["rate"] for item in first["deliverables"]] == ["24000/1001"] * 3
    assert Path(first["deliverables"][0]["path"]).name == "AGM_SQ010_SH0010_v001_2397p_h265.mp4"
    assert {item["frames"] for item in second["deliverables"]} == {9}
    assert {item["frames"] for item in third["deliverables"]} == {16}
    assert (third["deliverables"][0]["width"], third["deliverables"][0]["height"]) == (96, 160)
    with Image.open(Path(first["manifest"]).parent / "AGM_SQ010_SH0010_v001_contact.jpg") as sheet:
        assert sheet.width > 600


def test_a_finished_shot_is_not_rendered_again(house: House) -> None:
    """A second render of a finished shot touches no file and runs no step; without a name there is nothing to do."""
    house.submit({"shot": "SH0010"})
    [report] = house.json("render")["shots"]
    folder = Path(report["manifest"]).parent
    before = {path: path.stat().st_mtime_ns for path in house.home.rglob("*.m*") if "prefect" not in path.parts}
    [again] = house.json("render", "SH0010")["shots"]
    assert again["seconds"] == {}
    assert again["manifest"] == report["manifest"]
    assert again["deliverables"] == report["deliverables"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["v001"]
    assert house.json("render") == {"shots": [], "seconds": 0.0}


def test_a_change_that_moves_no_pixel_ends_in_review(house: House) -> None:
    """A new prompt is no new take for the animatic: the shot is found finished and stands in review again."""
    house.submit({"shot": "SH0010"})
    house.json("render")
    house.submit({"shot": "SH0010", "prompt": "other words"}, mode="upsert")
    assert house.json("shots")["shots"][0]["status"] == "ready"
    [report] = house.json("render")["shots"]
    assert (report["version"], report["status"], report["seconds"]) == (1, "review", {})
    assert house.json("shots")["shots"][0]["status"] == "review"


def test_a_delivered_shot_stays_delivered_without_its_plate(house: House, plate_path: Path, tmp_path: Path) -> None:
    """Naming a finished shot whose plate is gone finds it finished; it does not become a failure."""
    lost = plate_path.with_name(f"{tmp_path.name}-gone.png")
    shutil.copy(plate_path, lost)
    house.submit({"shot": "SH0010", "plate": str(lost)})
    house.json("render")
    lost.unlink()
    assert [report["status"] for report in house.json("render", "SH0010")["shots"]] == ["review"]
    assert house.json("shots")["shots"][0]["status"] == "review"


def test_a_changed_shot_becomes_a_new_version(house: House) -> None:
    """A shot resubmitted with another move is rendered as v002; v001 stays as it was."""
    house.submit({"shot": "SH0010"})
    house.json("render")
    version = house.home / "deliveries/AGM/SQ010/SH0010"
    before = pictures(version / "v001")
    house.submit({"shot": "SH0010", "camera": "pan left"}, mode="upsert")
    [report] = house.json("render")["shots"]
    assert report["version"] == 2
    assert pictures(version / "v001") == before
    assert set(pictures(version / "v002").values()) != set(before.values())


def test_another_format_costs_no_second_generation(house: House) -> None:
    """Asking for one more format reuses the windows and the master that are there."""
    house.submit({"shot": "SH0010"})
    house.json("render")
    [master] = house.home.glob("work/*/*/*/master.mkv")
    before = master.stat().st_mtime_ns
    house.submit({"shot": "SH0010", "deliveries": "h264 webm"}, mode="upsert")
    [report] = house.json("render")["shots"]
    assert [item["kind"] for item in report["deliverables"]] == ["h264", "webm"]
    assert master.stat().st_mtime_ns == before


def test_one_failing_shot_does_not_stop_the_others(house: House, plate_path: Path, tmp_path: Path) -> None:
    """A plate that vanished fails its shot with the remedy; the rest is delivered; exit code 1."""
    lost = plate_path.with_name(f"{tmp_path.name}-[red]lost.png")
    shutil.copy(plate_path, lost)
    house.submit({"shot": "SH0010"}, {"shot": "SH0020", "plate": str(lost)}, {"shot": "SH0030"})
    lost.unlink()
    batch = house.json("render", code=1)
    assert [report["status"] for report in batch["shots"]] == ["review", "failed", "review"]
    assert "AGM/SH0020" in batch["shots"][1]["error"]
    assert "put it back" in batch["shots"][1]["error"]
    assert house.json("status")["failed"][0]["shot"] == "AGM/SH0020"
    assert "-[red]lost.png" in house.run("shots").stdout  # names are text, not markup
    shutil.copy(plate_path, lost)
    assert [report["status"] for report in house.json("render")["shots"]] == ["review"]


def test_a_plate_painted_over_is_refused(house: House, plate_path: Path, tmp_path: Path) -> None:
    """A plate whose bytes changed after submission is not silently used."""
    changed = plate_path.with_name(f"{tmp_path.name}-changed.png")
    shutil.copy(plate_path, changed)
    house.submit({"shot": "SH0010", "plate": str(changed)})
    with Image.open(changed) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(changed)
    [report] = house.json("render", code=1)["shots"]
    assert "has changed since it was submitted" in report["error"]


@pytest.mark.parametrize("name", ["deliveries", "work"])
def test_a_file_in_a_folders_place_is_told_before_anything_is_made(name: str, house: House) -> None:
    """The night would have been for nothing."""
    house.submit({"shot": "SH0010"})
    shutil.rmtree(house.home / name, ignore_errors=True)
    (house.home / name).touch()
    [report] = house.json("render", code=1)["shots"]
    assert report["error"].endswith(f"{house.home / name} is no folder, and one is needed there; move it away")
    assert not list(house.home.glob("work/*/*/*/*.mkv"))


def test_ffmpeg_that_dies_fails_the_shot_and_the_next_render_goes_on(house: House, tmp_path: Path, ffmpeg: str) -> None:
    """An ffmpeg killed in the encode is a named error, publishes nothing, and costs no finished step."""
    broken = tmp_path / "ffmpeg"
    broken.write_text(f'#!/bin/sh\ncase "$*" in *libx264*) kill -9 $$;; esac\nexec {ffmpeg} "$@"\n')
    broken.chmod(0o755)
    house.submit({"shot": "SH0010"})
    [report] = house.json("render", code=1, DAILIES_FFMPEG=str(broken))["shots"]
    assert "AGM_SQ010_SH0010_v001" in report["error"]
    assert "killed by signal 9" in report["error"]
    assert not list(house.home.glob("deliveries/**/*.mp4"))
    [master] = house.home.glob("work/*/*/*/master.mkv")
    before = master.stat().st_mtime_ns
    [report] = house.json("render")["shots"]
    assert (report["status"], report["version"]) == ("review", 1)
    assert master.stat().st_mtime_ns == before


def test_a_bad_encode_is_not_recalled(house: House, tmp_path: Path, ffmpeg: str) -> None:
    """A deliverable that inspection refuses is encoded again by the next render, which then publishes it."""
    cheat = tmp_path / "ffmpeg"
    cheat.write_text(
        "#!/bin/sh\n"
        f'{ffmpeg} "$@" || exit 1\n'
        'for word in "$@"; do case "$word" in *_h264.mp4)\n'
        'head -c 1500 "$word" > "$word.x"; mv "$word.x" "$word";; esac; done\n'
    )
    cheat.chmod(0o755)
    house.submit({"shot": "SH0010"})
    [report] = house.json("render", code=1, DAILIES_FFMPEG=str(cheat))["shots"]
    assert "was not published" in report["error"]
    assert not list(house.home.glob("deliveries/**/*.mp4"))
    [report] = house.json("render")["shots"]
    assert (report["status"], report["version"]) == ("review", 1)


def test_a_published_file_that_was_touched_is_reported(house: House) -> None:
    """A published version never changes: one that did is an error with the way out, not a silent repair."""
    house.submit({"shot": "SH0010"})
    [report] = house.json("render")["shots"]
    path = Path(report["deliverables"][0]["path"])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    [again] = house.json("render", "AGM/SH0010", code=1)["shots"]
    assert "is not what was published" in again["error"]


def test_a_lost_catalogue_does_not_overwrite_what_was_delivered(house: House) -> None:
    """With the catalogue gone and the deliveries there, the next take gets the next free version."""
    house.submit({"shot": "SH0010"})
    house.json("render")
    for path in house.home.glob("catalogue.sqlite*"):
        path.unlink()
    house.submit({"shot": "SH0010"})
    assert [report["version"] for report in house.json("render")["shots"]] == [2]


def test_a_shot_that_another_process_renders_is_left_alone(house: House) -> None:
    """The second process says who is busy, and marks nothing."""
    from tasks.keep import sole_owner

    house.submit({"shot": "SH0010"})
    with sole_owner(house.home / "work/AGM/SH0010", what="test"):
        [report] = house.json("render", code=1)["shots"]
    assert "another process" in report["error"]
    assert report["status"] == "rendering"
    assert house.json("shots")["shots"][0]["status"] == "ready"


def test_the_first_of_the_list_is_the_first_on_the_engine(house: House) -> None:
    """Shots are generated and finished in order of priority, whichever thread wakes first."""
    house.submit(*({"shot": f"SH00{9 - number}0", "priority": str(number)} for number in range(1, 6)))
    said = house.run("render").stderr
    for step in ("generate", "publish"):
        order = re.findall(rf"AGM_SQ010_(SH\d+)_v001 {step}", said)
        assert order == [f"SH00{9 - number}0" for number in range(1, 6)]


def test_require_rife_refuses_the_fallback(house: House) -> None:
    """Without RIFE's weights, --require-rife is exit code 3 before anything starts."""
    house.submit({"shot": "SH0010"})
    done = house.run("render", "--require-rife")
    assert done.returncode == 3
    assert "RIFE was required" in done.stderr
    assert house.json("shots")["shots"][0]["status"] == "ready"


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_rife_retimes_when_its_weights_are_there(house: House, linear_model: Path) -> None:
    """With weights installed RIFE is used, named in the manifest with its hash, and --require-rife is content."""
    house.submit({"shot": "SH0010"})
    [report] = house.json("render", "--require-rife", DAILIES_WEIGHTS=str(linear_model.parent))["shots"]
    retime = json.loads(Path(report["manifest"]).read_text())["retime"]
    assert retime["engine"] == "rife-ncnn"
    assert len(retime["sha256"]) == 64
    assert retime["interpolated"] > 0


def test_the_same_list_gives_the_same_frames(house: House, tmp_path: Path) -> None:
    """Two homes, one list: every decoded frame is identical."""
    house.submit({"shot": "SH0010", "camera": "handheld"})
    [one] = house.json("render")["shots"]
    first = decoded(Path(one["deliverables"][0]["path"]))
    os.rename(house.home, tmp_path / "elsewhere")
    house.submit({"shot": "SH0010", "camera": "handheld"})
    [two] = house.json("render")["shots"]
    assert decoded(Path(two["deliverables"][0]["path"])) == first


def test_a_shot_that_does_not_fit_the_disk_is_not_started(house: House) -> None:
    """Terabytes of work are refused with what is needed and what is free, before an engine starts; others go on."""
    house.submit({"shot": "SH0010", "frames": "100000", "resolution": "1920x1080"}, {"shot": "SH0020"})
    long, short = house.json("render", code=1)["shots"]
    assert "GB are free on the disk" in long["error"]
    assert long["seconds"] == {}
    assert short["status"] == "review"
    assert not list(house.home.glob("work/AGM/SH0010/*/windows"))


def test_prefect_shows_the_run_by_its_slate(house: House) -> None:
    """Every step is a task run named by the slate; progress, thumbnail and result stand there as artifacts."""
    house.submit({"shot": "SH0777"})
    house.json("render")
    url = house.environment["PREFECT_API_URL"]

    def ask(kind: str, query: dict[str, object]) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"{url}/{kind}/filter", json.dumps(query).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    slate = "AGM_SQ010_SH0777_v001"
    runs = ask("task_runs", {"task_runs": {"name": {"like_": slate}}})
    steps = ("window 0", "join", "retime", "encode", "inspect", "publish")
    assert {run["name"] for run in runs} == {f"{slate} {step}" for step in steps}
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    artifacts = ask("artifacts", {"artifacts": {"key": {"like_": "agm-sq010-sh0777-v001"}}})
    found = {artifact["key"].split("-")[0]: artifact for artifact in artifacts}
    assert set(found) == {"progress", "thumbnail", "result"}
    assert found["progress"]["data"] == 100.0
    assert found["thumbnail"]["data"].startswith("data:image/jpeg;base64,")
    assert "h264" in found["result"]["data"]


@pytest.mark.rife
@pytest.mark.usefixtures("rife_runs")
def test_weights_that_crash_rife_are_found_out_beforehand(house: House, tmp_path: Path) -> None:
    """Weights that bring the library down are tried in a child process: the fallback retimes, and doctor says why."""
    folder = tmp_path / "weights" / "rife-v4.6"
    folder.mkdir(parents=True)
    (folder / "flownet.param").write_text("7767517\nnonsense\n")
    (folder / "flownet.bin").write_bytes(b"")
    house.submit({"shot": "SH0010"})
    weights = str(tmp_path / "weights")
    assert house.run("render", "--require-rife", DAILIES_WEIGHTS=weights).returncode == 3
    [report] = house.json("render", DAILIES_WEIGHTS=weights)["shots"]
    assert json.loads(Path(report["manifest"]).read_text())["retime"]["engine"] == "flow"
    checks = {check["name"]: check for check in house.json("doctor", DAILIES_WEIGHTS=weights)["checks"]}
    assert checks["rife-ncnn on cpu"]["status"] == "warning"


def test_colours_survive_the_whole_pipeline(house: House, tmp_path: Path, plate_path: Path) -> None:
    """24 patches of a still plate, from list to file: every patch is within 2/255 in every deliverable."""
    random = np.random.default_rng(3)
    patches = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    picture = patches.repeat(48, axis=0).repeat(48, axis=1)
    plate = plate_path.with_name(f"{tmp_path.name}-patches.png")
    Image.fromarray(picture).save(plate)
    house.submit(
        {"shot": "SH0010", "plate": str(plate), "camera": "still", "resolution": "288x192", "frames": "5"}
        | {"deliveries": "h265 prores webm h264 png"}
    )
    [report] = house.json("render")["shots"]
    for item in report["deliverables"]:
        shown = _rgb(Path(item["path"]))
        means = shown.reshape(4, 48, 6, 48, 3)[:, 8:40, :, 8:40].mean(axis=(1, 3))
        error = np.abs(means - patches).max()
        print(f"{item['kind']}: {error:.2f}/255")
        assert error <= 2.0, item["kind"]


def _rgb(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The middle frame in 8-bit units, BT.709 limited range undone by the textbook; (height, width, 3)."""
    if path.is_dir():
        deep = cv2.imread(str(sorted(path.iterdir())[2]), cv2.IMREAD_UNCHANGED)
        assert deep is not None
        return np.asarray(deep[..., ::-1] / 257.0)
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[2]
    depth = 10 if "10" in frame.format.name else 8
    planes = []
    for plane in frame.planes:
        raw = np.frombuffer(plane, np.uint16 if depth == 10 else np.uint8)
        rows = raw.reshape(plane.height, -1)[:, : plane.width].astype(float) / 2 ** (depth - 8)
        planes.append(cv2.resize(rows, (frame.width, frame.height), interpolation=cv2.INTER_NEAREST))
    y, cb, cr = (planes[0] - 16) / 219, (planes[1] - 128) / 224, (planes[2] - 128) / 224
    red, blue = y + 1.5748 * cr, y + 1.8556 * cb
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    return np.stack([red, green, blue], axis=-1) * 255
