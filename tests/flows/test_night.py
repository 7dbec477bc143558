"""A night on a real house: Prefect's server, two workers that render, one that finishes, one for the night itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pacing import PACE, begun, ended, pace, until
from rendering import ROOT, House, clean_environment, pictures

from catalogs.footage import Status
from catalogs.night import AttemptStatus
from catalogs.store import Catalogue, open_catalogue
from flows.prefect_server import free_port

pytestmark = [pytest.mark.timeout(900), pytest.mark.night]

SHOT = {"frames": "24", "fps": "24", "deliveries": "h264"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, plate_path: Path) -> Iterator[House]:
    """A house that is up, with two workers that believe to have a GPU each."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "pace").mkdir()
    (folder / "pace" / "sitecustomize.py").write_text(PACE)
    house = House(
        folder,
        plate_path,
        clean_environment(
            DAILIES_HOME=str(folder / "home"),
            HOME=str(folder),
            CUDA_VISIBLE_DEVICES="0,1",
            PYTHONPATH=os.pathsep.join([str(folder / "pace"), str(ROOT)]),
        ),
    )
    up = subprocess.Popen(
        [sys.executable, "-m", "desk.cli", "up", "--no-desk", "--port", str(free_port())],
        cwd=ROOT,
        env=dict(house.environment),
        stderr=(folder / "up.log").open("wb"),
        start_new_session=True,
    )
    until(lambda: "is up" in (folder / "up.log").read_text(), 120, up)
    yield house
    up.send_signal(signal.SIGTERM)
    assert up.wait(240) == 0, (folder / "up.log").read_text()


@pytest.fixture
def catalogue(night: House) -> Iterator[Catalogue]:
    """The night's catalogue."""
    with open_catalogue(f"sqlite:///{night.home}/catalogue.sqlite") as opened:
        yield opened


def api(house: House, path: str, **asked: Any) -> Any:
    """An answer of the house's Prefect server to a POST, or to a GET where nothing is asked for."""
    url = json.loads((house.home / "prefect" / "house.json").read_text())["url"]
    body = json.dumps(asked).encode() if asked else None
    request = urllib.request.Request(f"{url}/{path}", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def process_of(catalogue: Catalogue, shot: str) -> int:
    """Process id of the run that is at a shot."""
    [attempt] = [one for one in catalogue.nights.attempts(shot=shot) if one.status is AttemptStatus.RUNNING]
    [run] = [run for run in catalogue.nights.runs(attempt.batch) if run.flow_run == attempt.flow_run]
    return int(run.worker.rpartition(" ")[2])


def at_work(catalogue: Catalogue, shot: str) -> bool:
    """Whether a run is at a shot."""
    return any(one.status is AttemptStatus.RUNNING for one in catalogue.nights.attempts(shot=shot))


def test_a_night_from_list_to_report(night: House, catalogue: Catalogue) -> None:
    """Every shot that can be rendered is, the other one is named with its reason, and Prefect shows all of it."""
    gone = night.plate.parent / "gone.png"
    gone.write_bytes(night.plate.read_bytes())
    good = [f"A{number:02d}" for number in range(5)]
    night.submit(*({"shot": code, **SHOT} for code in good), {"shot": "A99", **SHOT, "plate": str(gone)})
    gone.unlink()
    planned = night.json("plan", "--night", "--workers", "2")
    assert sorted(shot for reel in planned["reels"] for shot in reel["shots"]) == [f"AGM/{c}" for c in [*good, "A99"]]

    report = ended(begun(night), code=1)

    outcomes = {entry["shot"]: entry["outcome"] for entry in report["shots"]}
    assert outcomes == {**dict.fromkeys(good, "done"), "A99": "failed"}
    [failed] = report["failed"]
    assert "gone.png cannot be read" in failed["error"]
    assert failed["tries"] == 1  # the same plate would be missing again
    for entry in report["shots"]:
        assert entry["outcome"] == "failed" or Path(entry["manifest"]).is_file()
    text = (night.home / "batches" / f"{report['batch']}.md").read_text()
    assert "5 of 6 shots done, 1 failed" in text
    assert not catalogue.nights.attempts(report["batch"], open_only=True)
    assert {run.worker.partition(" ")[0] for run in catalogue.nights.runs(report["batch"])} >= {"gpu-0", "finish"}

    runs = api(night, "flow_runs/filter", flow_runs={"tags": {"all_": [report["batch"]]}})
    names = {run["name"]: set(run["tags"]) for run in runs}
    assert {"AGM", "SQ010", report["batch"]} <= names["AGM_SQ010_A00_v001"]
    gone.write_bytes(night.plate.read_bytes())
    assert [entry["outcome"] for entry in ended(begun(night))["shots"]] == ["done"]  # a failure that was mended
    artifacts = {one["key"]: one for one in api(night, "artifacts/latest/filter", limit=200)}
    assert f"# Night of {report['batch']}" in artifacts[f"report-{report['batch']}"]["data"]
    assert artifacts[f"progress-{report['batch']}"]["data"] == 100.0
    assert artifacts["thumbnail-agm-sq010-a00-v001"]["data"].startswith("data:image/jpeg;base64,")


def test_a_reel_that_is_killed_is_taken_up_again(night: House, catalogue: Catalogue) -> None:
    """SIGKILL in the second window: the first is not made again, the shot is published once, its frames as ever."""
    long = {"frames": "140", "fps": "24", "deliveries": "h264"}
    night.submit({"shot": "B01", **long}, name="b.csv")
    pace(night, 4.0)
    run = begun(night)
    windows = night.home / "work" / "AGM" / "B01"
    until(lambda: list(windows.glob("*/windows/000.mkv.json")))
    os.kill(process_of(catalogue, "AGM/B01"), signal.SIGKILL)
    pace(night, 0.0)
    report = ended(run)
    assert [entry["outcome"] for entry in report["shots"]] == ["done"]
    tries = catalogue.nights.attempts(shot="AGM/B01")
    assert [one.status for one in tries] == [AttemptStatus.DIED, AttemptStatus.DONE]
    assert "SIGKILL" in tries[0].evidence["message"]
    keys = [one.key for one in catalogue.nights.timings(batch=report["batch"]) if one.kind == "window"]
    assert len(keys) == len(set(keys)) == 2
    [died] = report["deaths"]
    assert died["shot"] == "AGM/B01"
    version = Path(report["shots"][0]["manifest"]).parent
    night.submit({"shot": "B02", **long}, name="b2.csv")
    peaceful = ended(begun(night))
    assert list(pictures(version).values()) == list(pictures(Path(peaceful["shots"][0]["manifest"]).parent).values())


def test_a_worker_that_wakes_up_too_late_keeps_nothing(night: House, catalogue: Catalogue) -> None:
    """A process that stands still is given up after two beats; when it goes on, its window gets no name."""
    night.submit({"shot": "C01", **SHOT}, name="c.csv")
    pace(night, 6.0)
    run = begun(night)
    until(lambda: list(night.home.glob("work/AGM/C01/*/plan.json")))
    time.sleep(1.0)  # it is in its window now, and holds no lock on an SQLite that everybody needs
    sleeper = process_of(catalogue, "AGM/C01")
    os.kill(sleeper, signal.SIGSTOP)
    until(lambda: len(catalogue.nights.attempts(shot="AGM/C01")) > 1)
    pace(night, 0.0)
    report = ended(run)
    [version] = (night.home / "deliveries/AGM/SQ010/C01").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in version.iterdir()}
    os.kill(sleeper, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{sleeper}").exists(), 150)  # its connections died while it stood still
    assert {path.name: path.stat().st_mtime_ns for path in version.iterdir()} == before
    assert [entry["outcome"] for entry in report["shots"]] == ["done"]
    assert [one.status for one in catalogue.nights.attempts(shot="AGM/C01")] == [
        AttemptStatus.DIED,
        AttemptStatus.DONE,
    ]
    keys = [one.key for one in catalogue.nights.timings(batch=report["batch"]) if one.kind == "window"]
    assert len(keys) == 1


def test_two_deaths_are_enough(night: House, catalogue: Catalogue) -> None:
    """A shot at which two processes died is quarantined with what they left, others go on; `release` undoes it."""
    night.submit({"shot": "D01", **SHOT}, {"shot": "D02", **SHOT}, name="d.csv")
    pace(night, 3.0)
    run = begun(night)
    for deaths in (0, 1):
        # another reel may have taken it over before its own one was up: the number of attempts tells nothing
        until(lambda deaths=deaths: at_work(catalogue, "AGM/D01") and len(_dead(catalogue, "AGM/D01")) == deaths)
        os.kill(process_of(catalogue, "AGM/D01"), signal.SIGKILL)
    report = ended(run, code=1)
    assert {entry["shot"]: entry["outcome"] for entry in report["shots"]} == {"D01": "quarantined", "D02": "done"}
    [quarantined] = report["quarantined"]
    assert "its process died 2 times" in quarantined["error"]
    assert len(quarantined["evidence"]) == 2
    second = _dead(catalogue, "AGM/D01")[1]
    assert [one.shot for one in catalogue.nights.attempts(report["batch"], reel=second.reel)] == ["AGM/D01"]  # alone
    assert night.json("status")["shots"]["quarantined"] == 1
    assert night.run("release", "AGM/D02").returncode == 2
    assert night.run("release", "D01").returncode == 0
    assert catalogue.find("AGM/D01").status is Status.READY
    pace(night, 0.0)
    assert [entry["outcome"] for entry in ended(begun(night))["shots"]] == ["done"]


def _dead(catalogue: Catalogue, shot: str) -> list[Any]:
    return [one for one in catalogue.nights.attempts(shot=shot) if one.status is AttemptStatus.DIED]


def test_stop_and_cancel(night: House, catalogue: Catalogue) -> None:
    """A cancelled shot stops while the night goes on; `--stop` ends the night, and the next one finishes the rest."""
    night.submit(*({"shot": f"E{number:02d}", **SHOT} for number in range(4)), name="e.csv")
    pace(night, 60.0)
    run = begun(night)
    working = until(lambda: [one for one in catalogue.nights.attempts(open_only=True) if one.started])
    assert night.run("cancel", working[0].shot).returncode == 0
    other = [one.shot for one in catalogue.nights.attempts(working[0].batch) if one.shot != working[0].shot]
    until(lambda: any(at_work(catalogue, shot) for shot in other))
    stopped = night.json("night", "--stop")
    report = ended(run)
    assert stopped["batch"] == report["batch"]
    outcomes = {entry["shot"]: entry["outcome"] for entry in report["shots"]}
    assert outcomes.pop(working[0].shot.rpartition("/")[2]) == "cancelled"
    assert set(outcomes.values()) == {"carried_over"}
    assert catalogue.counts()[Status.READY] == 4
    pace(night, 0.0)
    assert {entry["outcome"] for entry in ended(begun(night))["shots"]} == {"done"}
    assert night.run("night", "--stop").returncode == 2  # no batch is open


def test_cancelling_a_reel_in_prefect_cancels_its_shots(night: House, catalogue: Catalogue) -> None:
    """What somebody cancels in the UI is not taken up again that night."""
    night.submit({"shot": "F01", **SHOT}, name="f.csv")
    pace(night, 60.0)
    run = begun(night)
    until(lambda: at_work(catalogue, "AGM/F01"))
    [attempt] = [one for one in catalogue.nights.attempts(shot="AGM/F01") if one.open]
    cancelling = {"type": "CANCELLING", "name": "Cancelling"}
    api(night, f"flow_runs/{attempt.flow_run}/set_state", state=cancelling)
    report = ended(run)
    assert [entry["outcome"] for entry in report["shots"]] == ["cancelled"]
    assert "cancelled in Prefect" in report["cancelled"][0]["reason"]
    assert catalogue.find("AGM/F01").status is Status.READY
    pace(night, 0.0)


def test_a_list_in_the_inbox_is_taken_in(night: House, catalogue: Catalogue) -> None:
    """The intake deployment takes a list from the inbox into the catalogue."""
    inbox = night.home / "inbox"
    inbox.mkdir(exist_ok=True)
    plate = inbox / "g.png"
    plate.write_bytes(night.plate.read_bytes())
    path = inbox / "g.csv"
    path.write_text("show,shot,plate,prompt,frames,fps,resolution\nAGM,G01,g.png,noise,24,24,160x96\n")
    for file in (plate, path):
        os.utime(file, (time.time() - 60, time.time() - 60))
    deployment = api(night, "deployments/name/intake/intake")["id"]
    api(night, f"deployments/{deployment}/create_flow_run", state={"type": "SCHEDULED"})
    until(lambda: any(record.shot.code == "G01" for record in catalogue.shots()))
