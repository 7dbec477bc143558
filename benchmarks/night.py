"""A night's own cost: the engine's idle time between two shots of a reel, a shot's dispatch, the server's memory.

Idle: `dailies up` with one worker, and an engine that sleeps instead of computing; the gap is measured from the moment
the engine gave the last frame of a shot to the moment it is asked for the next one. Everything else is real: the
catalogue, handing over, the flow run that finishes the shot, which takes the other core meanwhile.

Dispatch: a thousand ready shots are planned, granted, called for and, as if all were rendered, called for finishing, on
a server whose workers are not started. The server's memory is its resident set afterwards.

    python benchmarks/night.py [--shots 12] [--window 5] [--ready 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from houses import ROOT, house
from report import table, write

SLEEPER: Final = '''
"""The built-in engine sleeps before its first frame, and writes down when it is asked and when it is done."""
import os, sys, time
from importlib.machinery import PathFinder

class Sleepy(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target) if name == "models.animatic" else None
        if found is not None:
            run = found.loader.exec_module
            def loaded(module):
                run(module)
                make = module.Animatic.generate
                def sleepily(self, request, context, watch=None):
                    log = os.open(os.environ["SLEEPER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                    os.write(log, f"asked {time.time()}\\n".encode())
                    time.sleep(float(os.environ["SLEEPER_SECONDS"]))
                    yield from make(self, request, context, watch)
                    os.write(log, f"given {time.time()}\\n".encode())
                    os.close(log)
                module.Animatic.generate = sleepily
            found.loader.exec_module = loaded
        return found

sys.meta_path.insert(0, Sleepy)
'''

LIMIT_IDLE: Final = 0.5
"""Seconds between two shots of a reel."""
LIMIT_SHARE: Final = 0.01
"""Of the render time of a shot of five minutes."""
FIVE_MINUTES: Final = 300.0
LIMIT_DISPATCH: Final = 50.0
"""Milliseconds a shot."""
LIMIT_SERVER: Final = 600
"""MB."""

LIST: Final = "show,sequence,shot,plate,prompt,frames,fps,resolution,camera,deliveries\n"


def _list(folder: Path, shots: int) -> Path:
    from PIL import Image

    Image.effect_noise((320, 192), 60).convert("RGB").save(folder / "plate.png")
    rows = [f"AGM,SQ010,SH{n:04d},plate.png,noise,48,24,320x192,push in,h264\n" for n in range(shots)]
    path = folder / "list.csv"
    path.write_text(LIST + "".join(rows))
    return path


def _dailies(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "desk.cli", *words]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def idle(shots: int, window: float) -> dict[str, Any]:
    """Gaps of the engine between the shots of one reel, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sleeper").mkdir()
        (folder / "sleeper" / "sitecustomize.py").write_text(SLEEPER)
        log = folder / "log"
        variables = {
            "SLEEPER_LOG": str(log),
            "SLEEPER_SECONDS": str(window),
            "CUDA_VISIBLE_DEVICES": "0",
            "PYTHONPATH": os.pathsep.join([str(folder / "sleeper"), os.environ.get("PYTHONPATH", "")]),
        }
        environment = {**os.environ, **variables, "DAILIES_HOME": str(folder / "home"), "HOME": name}
        _dailies(environment, "submit", str(_list(folder, shots)))
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = variables.pop("PYTHONPATH")
        try:
            with house(folder / "home", **variables) as up:
                up.until_ready()
                done = _dailies(environment, "night", "--json")
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before
        report = json.loads(done.stdout)
        assert report["counts"]["done"] == shots, report["summary"]
        lines = [line.split() for line in log.read_text().splitlines()]
    asked = [float(at) for word, at in lines if word == "asked"]
    given = [float(at) for word, at in lines if word == "given"]
    assert len(asked) == len(given) == shots
    gaps = [after - before for before, after in zip(given[:-1], asked[1:], strict=True)]
    return {
        "shots": shots,
        "window_seconds": window,
        "median": round(statistics.median(gaps), 3),
        "worst": round(max(gaps), 3),
        "gaps": [round(gap, 3) for gap in gaps],
        "clip": "320x192, 33 native frames",
    }


def dispatch(ready: int) -> dict[str, Any]:
    """Milliseconds a shot of everything that hands a night out, and the server's memory afterwards."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        with house(home, CUDA_VISIBLE_DEVICES="0") as up:
            up.until_ready()
            programs = up.programs()
            for worker in [one for one in programs if one not in ("up", "server")]:
                os.kill(programs[worker], signal.SIGSTOP)  # nothing is taken up, and `up` does not start it again
            server = programs["server"]
            before = _resident(server)
            os.environ.update(DAILIES_HOME=str(home), HOME=name, PREFECT_HOME=str(home / "prefect"))
            os.environ.update(PREFECT_API_URL=f"http://127.0.0.1:{up.port}/api", PREFECT_LOGGING_LEVEL="CRITICAL")
            parts = _hand_out(home, ready)
            after = _resident(server)
            for worker in [one for one in programs if one not in ("up", "server")]:
                os.kill(programs[worker], signal.SIGCONT)
    return {"ready": ready, **parts, "server_mb_before": before, "server_mb": after}


def _hand_out(home: Path, ready: int) -> dict[str, Any]:
    sys.path[:0] = [str(ROOT)]
    from catalogs.shot import Plate, Shot
    from catalogs.store import open_catalogue
    from flows.dispatch import FINISH_SHOT, dispatching
    from flows.follow import Follower
    from flows.settings import Settings
    from flows.tonight import night_plan_json, tonight

    settings = Settings.read()
    plate = Plate("/plates/still.png", "0" * 64, 1280, 720)
    shots = [Shot("AGM", f"SH{n:05d}", 100, plate=plate, prompt="x", width=640, height=360) for n in range(ready)]
    now = datetime.now(UTC)
    seconds: dict[str, float] = {}
    with open_catalogue(settings.database_url) as catalogue, dispatching() as client:
        catalogue.submit(shots, source="benchmark")
        nights = catalogue.nights

        def timed(what: str, since: float) -> float:
            seconds[what] = time.perf_counter() - since
            return time.perf_counter()

        at = time.perf_counter()
        found = tonight(catalogue, settings, workers=8, until=now + timedelta(hours=12), now=now, wishes={})
        at = timed("plan", at)
        plan = night_plan_json(found)
        batch = nights.open_batch(until=None, wishes={}, plan=plan, flow_run="benchmark")
        for reel in plan["reels"]:
            models = dict.fromkeys(reel["shots"], reel["model"])
            nights.grant(batch.name, reel["name"], reel["shots"], models=models, expected=plan["expected"])
        at = timed("grant", at)
        follower = Follower(catalogue, home, batch.name, client)
        follower.turn()
        at = timed("reels called for", at)
        looks = 5
        for _ in range(looks):
            follower.turn()
        seconds["one look of the follower"] = (time.perf_counter() - at) / looks
        begun = called = 0.0
        for number, attempt in enumerate(nights.attempts(batch.name)):
            at = time.perf_counter()
            nights.begin(attempt.shot, attempt.fence, flow_run=attempt.flow_run)
            nights.hand_over(attempt.shot, attempt.fence)
            begun += time.perf_counter() - at
            at = time.perf_counter()
            made = client.run(
                FINISH_SHOT,
                key=f"finish {number}",
                name=attempt.shot,
                parameters={"shot": attempt.shot, "fence": attempt.fence},
                tags=["AGM", batch.name],
            )
            called += time.perf_counter() - at
            at = time.perf_counter()
            nights.assign_finish(attempt.shot, attempt.fence, flow_run=made)
            begun += time.perf_counter() - at
        seconds |= {"begun, handed over, assigned": begun, "called for finishing": called}
    handed = seconds["grant"] + seconds["reels called for"] + begun + called
    return {
        "plan_seconds": round(seconds["plan"], 3),
        "dispatch_ms_per_shot": round(1000 * handed / ready, 2),
        "parts_seconds": {what: round(spent, 3) for what, spent in seconds.items()},
        "reels": len(plan["reels"]),
    }


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1000) for line in lines if line.startswith("VmRSS:"))


def main() -> None:
    """Both, one table, one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shots", type=int, default=12)
    parser.add_argument("--window", type=float, default=5.0, help="seconds that the engine sleeps for each window")
    parser.add_argument("--ready", type=int, default=1000)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    gaps = idle(asked.shots, asked.window)
    handed = dispatch(asked.ready)
    rows = [
        {"figure": "idle between shots, median", "measured": f"{gaps['median']:.3f} s", "limit": f"{LIMIT_IDLE} s"},
        {"figure": "idle between shots, worst", "measured": f"{gaps['worst']:.3f} s", "limit": f"{LIMIT_IDLE} s"},
        {
            "figure": "the worst, of a 5-minute shot",
            "measured": f"{100 * gaps['worst'] / FIVE_MINUTES:.2f} %",
            "limit": f"{100 * LIMIT_SHARE:.0f} %",
        },
        {"figure": f"planning {asked.ready} shots", "measured": f"{handed['plan_seconds']:.2f} s", "limit": "2 s"},
        {
            "figure": "dispatch of a shot",
            "measured": f"{handed['dispatch_ms_per_shot']:.1f} ms",
            "limit": f"{LIMIT_DISPATCH:.0f} ms",
        },
        {"figure": "server afterwards", "measured": f"{handed['server_mb']} MB", "limit": f"{LIMIT_SERVER} MB"},
    ]
    print(table(rows))
    print(f"dispatch: {handed['parts_seconds']}; load before: {load:.1f}")
    write("night", {"load_before": round(load, 1), "idle": gaps, "dispatch": handed})


if __name__ == "__main__":
    main()
