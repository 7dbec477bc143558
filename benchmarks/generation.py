"""Seconds per step of Wan's true architectures: stock diffusers, each profile, and every ingredient by itself.

Builds the transformer with random weights on the device (nothing is downloaded) and denoises one window of 81 frames in
each way from the same noise, embeddings and condition. `stock` is diffusers' own pipeline call in bfloat16 as it comes;
the others run through models.denoise. Steps after the warm-up count; warm-up and compilation are told apart. PSNR is
against stock after the same steps of the same schedule: of latents (peak: their range) and, at the schedule's end, of
the pixels that one VAE makes of them (first 17 frames, peak 1.0, no 8-bit step). With a step cache a short window tells
what a computed and a skipped step take; `derived` figures are these times the card's plan of its whole schedule. Rows
ending in `-whole` run that schedule. `vae` and `parts` (attention kernels, matrices) are measured by themselves.

Random weights: seconds, memory and the plan of our step cache, MagCache, TaylorSeer and FasterCache are those of the
real model. What First-Block and SeaCache skip depends on pixels, and no cache's PSNR here tells its quality on footage.

Where GPU time comes in tens of minutes, two calls measure what matters (`--only` the rest; what was measured on another
machine is brought in with `--merge FILE`):

    python benchmarks/generation.py --model 14b --size 720p --budget 540
    cd benchmarks; for m in 14b:380 1.3b:170; do python generation.py --model ${m%:*} --size 480p --budget ${m#*:}; done

Without CUDA the same runs on a tiny model (`--compile` adds compilation). Prints tables; results/generation.json keeps
each run's rows, the machine described, and is written after every row: runs merge by model, size and device.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402
from generation_model import SIZES, Stage, build_transformer, build_vae  # noqa: E402
from generation_parts import described, free, measured_parts, measured_vae  # noqa: E402
from generation_results import ROWS, merged, read, show  # noqa: E402
from generation_ways import WAYS, Bench, Way, schedule_of  # noqa: E402
from machine import describe  # noqa: E402
from report import RESULTS, table  # noqa: E402

STOCK_SECONDS = {
    ("14b", "480p"): 9.8,
    ("14b", "720p"): 37.3,
    ("1.3b", "480p"): 1.8,
    ("1.3b", "720p"): 6.5,
    ("tiny", "480p"): 0.04,
    ("tiny", "720p"): 0.1,
}
"""A step of stock diffusers on an H100 (CPU for tiny): the cards' published figures, 1.3b estimated by arithmetic."""
COSTLY = 15.0
"""Seconds of a stock step above which a window is 1 warm-up and 2 measured steps instead of 2 and 3."""
THRIFTY = 5.0
"""Above this, ingredients are left after one measured step."""
COMPILING = (45.0, 20.0)
"""Guess of the seconds that compilation takes for the first time, and when the compiler's cache is warm."""


class Session:
    """The stages of one call, what it may still spend, and where results go."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = given.model or ("14b" if self.device == "cuda" else "tiny")
        stages = [Stage.of(self.model, size, self.device) for size in given.size]
        self.deadline = STARTED + given.budget if given.budget else float("inf")
        vae = build_vae(stages[0])
        self.benches = {stage.size: Bench(stage, vae) for stage in stages}
        self.step = {stage.size: STOCK_SECONDS[self.model, stage.size] for stage in stages}
        self.costly = {size for size, seconds in self.step.items() if seconds > COSTLY}
        self.thrifty = {size for size, seconds in self.step.items() if seconds > THRIFTY}
        self.compiled = 0
        facts = described(stages[0])
        self.runs = {
            stage.size: {
                "model": self.model,
                "size": stage.size,
                **facts,
                "width": stage.width,
                "height": stage.height,
                "frames": stage.frames,
                "tokens": stage.tokens,
                "card": stage.card.name,
                "machine": describe(),
                "rows": [],
            }
            for stage in stages
        }

    def compiles(self, way: Way) -> bool:
        """Whether the way compiles here."""
        return way.profile is not None and way.profile.compiled and (self.device == "cuda" or self.given.compile)

    def counts(self, size: str) -> tuple[int, int]:
        """Steps of a short schedule, and how many of them warm up."""
        steps, warm = (3, 1) if size in self.costly else (5, 2)
        return self.given.steps or steps, warm if self.given.warm is None else self.given.warm

    def guess(self, name: str, size: str) -> float:
        """Seconds that a row may take."""
        pixels = 1.0 if size == "720p" else 0.45
        small = 0.1 if self.model == "tiny" else 1.0
        if name in ("parts", "vae"):
            return small * pixels * (15 if name == "parts" else 50)
        way = next(way for way in WAYS if way.name == name)
        steps, warm = self.counts(size)
        length, plan = schedule_of(way, self.benches[size].stage, steps=steps, warm=warm)
        share = plan.count(True) / length if plan else way.computes
        if not (way.ends or way.whole) and size in self.thrifty:
            length = warm + 1
        compiling = COMPILING[min(1, self.compiled)] if self.compiles(way) else 0.0
        return length * share * way.costs * self.step[size] + compiling + small * (4 + 4 * pixels)

    def wanted(self, name: str) -> bool:
        """Whether a row makes sense here and was asked for."""
        if self.given.only:
            return name in self.given.only
        if name == "vae":
            return self.model != "1.3b"  # it is 14b's
        return name != "compile" or self.device == "cuda" or self.given.compile

    def planned(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Rows and sizes that fit the budget and those that do not, most important first; prints what each may take."""
        left = self.deadline - time.monotonic()
        kept, dropped, shown = [], [], []
        for name in filter(self.wanted, ROWS):
            for size in self.benches:
                cost = self.guess(name, size)
                fits = cost <= left
                left -= cost if fits else 0
                self.compiled += fits and name not in ("parts", "vae") and self.compiles(_way(name))
                (kept if fits else dropped).append((name, size))
                shown.append({"row": name, "size": size, "guess_s": round(cost, 1), "plan": "run" if fits else "drop"})
        self.compiled = 0
        budget = f"{self.given.budget:g} s" if self.given.budget else "none"
        device = self.runs[next(iter(self.runs))]["device"]
        print(f"{self.model} on {device}, budget {budget}\n{table(shown)}\n", flush=True)
        return kept, dropped

    def run(self, name: str, size: str) -> None:
        """One row, printed and written. A row that fails says so and costs no other."""
        left, cost = self.deadline - time.monotonic(), self.guess(name, size)
        if cost > left:
            print(f"{name} {size}: dropped, it may take {cost:.0f} s and {left:.0f} s are left", flush=True)
            return
        began = time.monotonic()
        try:
            rows = self.measured(name, size)
        except Exception as error:  # whatever a library raises: the other rows are worth having
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            rows = [{"row": name, "failed": f"{type(error).__name__}: {first}"[:300]}]
        if "failed" in rows[0]:
            free()  # only now: until here the error held the model
        for row in rows:
            row["took_s"] = round(time.monotonic() - began, 1)
            self.runs[size] = merged(Path(self.given.out), self.runs[size], [row])
            print(f"{size} {json.dumps(row)}", flush=True)

    def measured(self, name: str, size: str) -> list[dict[str, Any]]:
        """The rows of that name: two for the VAE."""
        bench = self.benches[size]
        if name == "parts":
            return [{"row": name, **measured_parts(bench.stage)}]
        if name == "vae":
            return measured_vae(bench.stage, bench.vae)
        way, (steps, warm) = _way(name), self.counts(size)
        compiler = "inductor" if self.device == "cpu" and self.compiles(way) else None
        row = bench.measure(
            way, steps=steps, warm=warm, thrifty=size in self.thrifty, deadline=self.deadline, compiler=compiler
        )
        self.compiled += self.compiles(way)
        if name == "stock":
            self.step[size] = row["seconds_per_step"]
        return [row]


def _way(name: str) -> Way:
    return next(way for way in WAYS if way.name == name)


def _turn(name: str) -> float:
    """When a row is run: as important as it is; but what whole schedules are compared with goes before them."""
    return ROWS.index("fast-whole") - 0.5 if name == "stock-whole" else ROWS.index(name)


def sound(bench: Bench) -> None:
    """Leave unless one forward of the made-up model is finite and varies."""
    stage = bench.stage
    model = build_transformer(stage)
    numbers = model.config
    channels = int(numbers["in_channels"])
    random = torch.Generator("cpu").manual_seed(1)
    given: dict[str, Any] = {
        "hidden_states": torch.randn(1, channels, 3, 8, 8, generator=random),
        "encoder_hidden_states": 0.3 * torch.randn(1, 512, numbers["text_dim"], generator=random),
    }
    if stage.sees:
        given["encoder_hidden_states_image"] = torch.randn(1, 257, numbers["image_dim"], generator=random)
    given = {name: value.to(stage.device, stage.dtype) for name, value in given.items()}
    with torch.no_grad():
        made = model(timestep=torch.tensor([500], device=stage.device), return_dict=False, **given)[0].float()
    deviation = float(made.std())
    print(f"the made-up model predicts noise with a deviation of {deviation:.3f}", flush=True)
    if not bool(torch.isfinite(made).all()) or not 0.05 < deviation < 50:
        sys.exit("the made-up weights give no sensible prediction; nothing was measured")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["14b", "1.3b", "tiny"], help="default: 14b on CUDA, else tiny")
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"rows to run: {', '.join(ROWS)}")
    parser.add_argument("--budget", type=float, help="seconds; the least important rows are dropped")
    parser.add_argument("--steps", type=int, help="of a short schedule; default 5, or 3 where a step is long")
    parser.add_argument("--warm", type=int, help="of these, steps that warm up; default 2, or 1")
    parser.add_argument("--compile", action="store_true", help="compile on a CPU too")
    parser.add_argument("--out", default=str(RESULTS / "generation.json"), help="JSON file to merge into")
    parser.add_argument("--merge", nargs="+", metavar="FILE", help="measure nothing: add these results, from elsewhere")
    given = parser.parse_args(argv)
    if given.steps is not None and given.steps <= (given.warm or 0):
        parser.error(f"{given.steps} steps leave none to measure after {given.warm or 0} of warm-up; use more")
    return given


def main() -> None:
    """Plan, run row by row, show."""
    given = arguments()
    if given.merge:
        found = [run for name in given.merge for run in read(Path(name))]
        show([merged(Path(given.out), run, run["rows"]) for run in found])
        return
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    session = Session(given)
    if session.device == "cpu":
        torch.set_num_threads(1)
    sound(next(iter(session.benches.values())))
    free()
    kept, dropped = session.planned()
    for name, size in sorted(kept, key=lambda planned: _turn(planned[0])):
        session.run(name, size)
    for name, size in dropped:  # guesses err, and the others may have taken less
        session.run(name, size)
    show(session.runs.values())


if __name__ == "__main__":
    main()
