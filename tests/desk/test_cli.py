"""The command line as scripts and people use it: documents, sentences, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import time
from pathlib import Path

import pytest
from PIL import Image
from rendering import House, clean_environment
from rich.cells import cell_len
from rich.console import Console

from desk import show
from tasks.admission import duration


@pytest.fixture
def quiet(tmp_path: Path, plate_path: Path) -> House:
    """A house without a Prefect server: what is tested here never needs one."""
    return House(tmp_path, plate_path, clean_environment(DAILIES_HOME=str(tmp_path / "home")))


def test_a_list_goes_in_and_comes_back(quiet: House) -> None:
    """submit counts what it took, shots lists it, and sending it again changes nothing and says so."""
    first = quiet.submit({"shot": "SH0010"}, {"shot": "SH0020"})
    assert (first["accepted"], first["changed"], first["unchanged"]) == (2, 0, 0)
    assert first["errors"] == []
    assert [shot["shot"] for shot in quiet.json("shots")["shots"]] == ["SH0010", "SH0020"]
    again = quiet.submit({"shot": "SH0010"}, {"shot": "SH0020"})
    assert (again["accepted"], again["unchanged"]) == (2, 2)


def test_a_bad_list_changes_nothing_and_names_every_problem(quiet: House, tmp_path: Path) -> None:
    """Three rows, three errors, exit code 2, and the rejected rows in a file that can be corrected."""
    path = tmp_path / "bad.csv"
    path.write_text(
        "show,shot,plate,frames,fps\n"
        f"AGM,SH0010,{quiet.plate},0,24\nAGM,SH0020,missing.png,24,24\nAGM,SH0030,{quiet.plate},24,fast\n"
        f"AGM,SH0040,{quiet.plate},24,24\n"
    )
    out = tmp_path / "rejected.csv"
    document = quiet.json("submit", str(path), "--errors", str(out), code=2, DAILIES_PLATES=str(quiet.plate.parent))
    assert [(error["line"], error["column"]) for error in document["errors"]] == [
        (2, "frames"),
        (3, "plate"),
        (4, "fps"),
    ]
    assert all(error["code"].startswith("E") and error["remedy"] for error in document["errors"])
    assert quiet.json("shots")["shots"] == []
    with out.open(newline="", encoding="utf-8-sig") as stream:
        rejected = list(csv.DictReader(stream))
    assert [row["shot"] for row in rejected] == ["SH0010", "SH0020", "SH0030"]
    assert all(row["error"] for row in rejected)
    done = quiet.run("submit", str(path), DAILIES_PLATES=str(quiet.plate.parent))
    assert done.returncode == 2
    assert f"{path}:2: frames:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_changes_nothing(quiet: House, tmp_path: Path) -> None:
    """--dry-run says what would be new and leaves the catalogue as it was."""
    quiet.submit({"shot": "SH0010"})
    [path] = quiet.plate.parent.glob(f"{tmp_path.name}-list.csv")
    path.write_text(path.read_text().replace("SH0010", "SH0099"))
    assert quiet.json("submit", str(path), "--dry-run")["accepted"] == 1
    assert [shot["shot"] for shot in quiet.json("shots")["shots"]] == ["SH0010"]


def test_a_plan_starts_no_engine_and_has_the_public_names(quiet: House) -> None:
    """plan answers for one shot by its code alone, and writes nothing into the home."""
    quiet.submit({"shot": "SH0010", "frames": "200", "fps": "24"})
    before = sorted(path.name for path in quiet.home.iterdir())
    [plan] = quiet.json("plan", "sh0010")["shots"]
    assert plan["slate"] == "AGM_SQ010_SH0010_v001"
    assert plan["native_frames"] == 134
    assert [window["first_frame"] for window in plan["windows"]] == [0, 68]
    assert sorted(path.name for path in quiet.home.iterdir()) == before
    table = quiet.run("plan")
    assert "AGM_SQ010_SH0010_v001" in table.stdout
    assert "1 shot, about" in table.stdout


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-0.0, "0 s"),
        (-1e-9, "0 s"),
        (0.4, "1 s"),
        (9.0, "9 s"),
        (119.4, "119 s"),
        (1492.0, "25 min"),
        (7560.0, "2.1 h"),
    ],
)
def test_a_duration_is_as_exact_as_an_estimate(seconds: float, said: str) -> None:
    """Seconds, then minutes, then hours; what rounding left below nothing is nothing, not `-0 s`."""
    assert duration(seconds) == said


def test_a_model_that_cannot_run_here_can_be_previewed(quiet: House) -> None:
    """A list for Wan plans as animatic under DAILIES_ENGINE, with as many native frames as Wan would make."""
    quiet.submit({"shot": "SH0010", "frames": "200", "fps": "24", "model": "wan2.1-i2v-14b-720p", "resolution": "720p"})
    [real] = quiet.json("plan")["shots"]
    [preview] = quiet.json("plan", DAILIES_ENGINE="animatic")["shots"]
    assert (real["engine"], preview["engine"]) == ("wan", "animatic")
    assert real["native_frames"] == preview["native_frames"]


def _graphics_card(folder: Path, mebibytes: int) -> str:
    """A PATH with an nvidia-smi that knows one card with that much free memory."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, {mebibytes}, 81559, 9.0'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_plan_says_what_a_model_would_take_and_what_it_lacks(quiet: House, tmp_path: Path) -> None:
    """Memory, way, time and what render would say, as a table and as JSON; the sums are those of the rows."""
    for code, model in (("SH0010", "wan2.1-i2v-14b-720p"), ("SH0020", "wan2.1-i2v-14b-720p"), ("SH0030", "animatic")):
        quiet.submit({"shot": code, "model": model, "resolution": "720p"}, name=f"{code}.csv")
    machine = {"PATH": _graphics_card(tmp_path, 2_000)}
    document = quiet.json("plan", **machine)
    big, _, drawn = document["shots"]
    assert drawn["memory"] is None
    assert not big["memory"]["fits"]
    assert set(big["memory"]) == {
        *("device", "rung", "vram", "ram", "free_vram", "free_ram", "fits", "reason", "remedy", "notice")
    }
    assert big["memory"]["free_vram"] == 2_000 << 20
    done = quiet.run("plan", **machine)
    assert done.returncode == 0, "what does not fit is planned, not refused"
    assert "does not fit" in done.stdout
    assert f"{big['memory']['vram'] / 1e9:.1f}" in done.stdout
    assert f"{sum(entry['bytes'] for entry in document['shots']) / 1e9:.2f} GB of disk" in done.stdout
    assert "SH0010, SH0020: weights not installed; `dailies weights pull wan2.1-i2v-14b-720p`" in done.stderr
    assert f"SH0010, SH0020: {big['memory']['reason']} {big['memory']['remedy']}" in done.stderr
    assert "SH0030" not in done.stderr


def test_smaller_only_on_request(quiet: House, tmp_path: Path) -> None:
    """--allow-smaller plans fewer pixels where the shot does not fit, shows both sizes and says why."""
    quiet.submit({"shot": "SH0010", "model": "wan2.1-i2v-14b-720p", "resolution": "720p"})
    machine = {"PATH": _graphics_card(tmp_path, 11_000)}
    [plan] = quiet.json("plan", "--allow-smaller", "--profile", "draft", **machine)["shots"]
    assert plan["profile"] == "draft"
    if plan["memory"]["fits"]:  # where this machine's own memory suffices
        made = f"{plan['width']}x{plan['height']}"
        done = quiet.run("plan", "--allow-smaller", **machine)
        assert f"{made} > 1280x720" in done.stdout
        assert f"made at {made} instead of 1280x720" in done.stderr
    else:
        assert "system memory" in plan["memory"]["reason"]


def test_a_narrow_terminal_goes_without_what_can_be_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns leave in the order named until the rest fits, one that still has room comes back, and it is said."""
    headers, rows = ("name", "wide", "b>", "c"), [("a" * 10, "w" * 30, "1", "x" * 8)]
    shown = {}
    for width in (80, 30, 10):
        stream = io.StringIO()
        monkeypatch.setattr(show, "OUT", Console(file=stream, force_terminal=True, no_color=True, width=width))
        show.print_rows(headers, rows, spare=("b", "wide", "c"))
        shown[width] = stream.getvalue()
    assert "Left out" not in shown[80]
    assert "w" * 30 in shown[80]
    assert "Left out at this width: wide." in shown[30]
    assert all(max(map(cell_len, re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())) <= at for at, text in shown.items())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("plan", "SH9999"), 2, "SH9999"),
        (("render", "AGM/SH9999"), 2, "SH9999"),
        (("shots", "--status", "done"), 2, "use ready"),
        (("submit", "nothing.csv"), 2, "nothing.csv"),
        (("plan", "--profile", "quick"), 2, "use exact, fast, draft"),
        (("render", "--profile", "quick"), 2, "use exact, fast, draft"),
        (("submit", "nothing.csv", "--mode", "replace"), 2, "use create, update, upsert"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(quiet: House, words: tuple[str, ...], code: int, said: str) -> None:
    """The sentence is on stderr, names what was wrong, and is no traceback."""
    done = quiet.run(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_home_that_cannot_be_is_exit_code_3(quiet: House, tmp_path: Path) -> None:
    """A file where the home should be: the machine is not ready, and the sentence names the path."""
    (tmp_path / "file").write_text("in the way")
    done = quiet.run("shots", DAILIES_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 3
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_exit_code_3(quiet: House) -> None:
    """An unusable database URL is said in a sentence that does not repeat its password."""
    done = quiet.run("shots", DAILIES_DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/none")
    assert done.returncode == 3
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_finds_this_machine_ready(quiet: House) -> None:
    """Every check has the public names, and the built-in engine could render here."""
    checks = quiet.json("doctor")["checks"]
    assert all(set(check) == {"name", "status", "detail", "remedy"} for check in checks)
    found = {check["name"]: check["status"] for check in checks}
    assert found["ffmpeg"] == found["home"] == found["database"] == found["prefect"] == found["animatic"] == "ok"
    assert all(check["remedy"] for check in checks if check["status"] != "ok")


def test_the_doctor_names_an_ffmpeg_that_will_not_do(quiet: House, tmp_path: Path) -> None:
    """An ffmpeg without the encoders is exit code 3, with what it lacks and the remedy."""
    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ffmpeg version 0\n")
    poor.chmod(poor.stat().st_mode | stat.S_IEXEC)
    checks = {check["name"]: check for check in quiet.json("doctor", code=3, DAILIES_FFMPEG=str(poor))["checks"]}
    assert checks["ffmpeg"]["status"] == "missing"
    assert "libx265" in checks["ffmpeg"]["detail"]
    assert "DAILIES_FFMPEG" in checks["ffmpeg"]["remedy"]
    lost = {check["name"]: check for check in quiet.json("doctor", code=3, DAILIES_FFMPEG="/no/ffmpeg")["checks"]}
    assert "does not run" in lost["ffmpeg"]["detail"]


def test_status_of_an_empty_house(quiet: House) -> None:
    """Before anything was submitted every count is zero and there is no last batch."""
    document = quiet.json("status")
    assert set(document["shots"].values()) == {0}
    assert document["last_batch"] is None
    assert quiet.json("render") == {"shots": [], "seconds": 0.0}


def test_help_comes_at_once(quiet: House) -> None:
    """`dailies --help` names the commands. How long it took is printed, not judged."""
    started = time.perf_counter()
    done = quiet.run("--help")
    print(f"dailies --help: {time.perf_counter() - started:.2f} s")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("submit", "shots", "plan", "render", "status", "doctor"))


def test_a_plate_outside_the_root_is_refused(quiet: House, tmp_path: Path) -> None:
    """Plates must lie in DAILIES_PLATES, whatever the path says."""
    outside = tmp_path / "outside.png"
    Image.new("RGB", (64, 64), "red").save(outside)
    root = tmp_path / "plates"
    root.mkdir()
    path = tmp_path / "list.csv"
    path.write_text(f"shot,plate,frames\nSH0010,{outside},24\nSH0020,../outside.png,24\n")
    document = quiet.json("submit", str(path), "--show", "AGM", code=2, DAILIES_PLATES=str(root))
    assert [error["line"] for error in document["errors"]] == [2, 3]
    assert json.dumps(document).count("plate") >= 2


@pytest.mark.parametrize(
    ("variable", "value", "name", "said"),
    [
        ("DAILIES_RETIMER", "banana", "retimer", "no retimer is called 'banana'"),
        ("DAILIES_ENCODER", "mine", "encoder", "'mine'"),
        ("DAILIES_TIMEZONE", "Mars/Base", "timezone", "which names no time zone"),
        ("DAILIES_C2PA_KEY", "/k.pem", "c2pa_key", "DAILIES_C2PA_CERT is not"),
    ],
)
def test_the_doctor_looks_at_everything_whatever_is_set_wrong(
    quiet: House, variable: str, value: str, name: str, said: str
) -> None:
    """A variable that cannot be used is one check that is missing, with its remedy; all others are made. Other commands
    refuse it as before."""
    checks = quiet.json("doctor", code=3, **{variable: value})["checks"]
    first, *others = checks
    assert (first["name"], first["status"]) == (name, "missing")
    assert said in first["detail"]
    assert first["remedy"]
    assert {"python", "ffmpeg", "home", "database", "animatic"} <= {check["name"] for check in others}
    assert quiet.run("shots", **{variable: value}).returncode == 3
