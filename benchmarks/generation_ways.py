"""The ways to denoise a window that benchmarks/generation.py compares, and how one of them is measured.

Knows: diffusers' stock pipelines and step caches, our denoising loop, profiles and single ingredients of them. Does not
know: budgets, results, tables. Memory: one model at a time, and the stock latents of every schedule on the CPU.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import torch
from generation_model import Stage, build_pipeline, condition, head_pixels, noise, psnr, window_random, words
from generation_parts import Clock, Enough, free, peak_gb, reset_peak

from models.condition_kinds import conditioner
from models.conditions import Carry, Tensors, Words
from models.denoise import Checkpoints, denoised
from models.interface import Watch
from models.kernels import tune
from models.profiles import PROFILES, Profile
from models.step_cache import MOST, THRESHOLD, StepCache, computed_steps

KEEP: Final = 0.2
"""Share of the steps, from the first, that diffusers' caches always compute, where they can be told."""


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the table."""

    name: str
    profile: Profile | None = None
    """How our own loop runs the model; None: the stock pipeline runs it."""
    whole: bool = False
    """Whether the card's whole schedule is run, instead of a short one."""
    ends: bool = True
    """Whether the short schedule is run to its end, or left once a step is measured."""
    batched: bool = False
    """Whether both branches of the guidance go through the model at once."""
    cache: str = ""
    """One of diffusers' own step caches."""
    costs: float = 1.0
    """Guess of a computed step against one of stock, for the budget."""
    computes: float = 1.0
    """Guess of the share of steps that are computed, for the budget."""


def _profile(name: str, **on: bool) -> Profile:
    return Profile(name, **({"kernels": False, "compiled": False, "step_cache": False, "fp8_matmul": False} | on))


PLAIN, EXACT, FAST = (PROFILES[name] for name in ("plain", "exact", "fast"))
CACHED: Final = _profile("step-cache", step_cache=True)
WAYS: Final = (
    Way("stock"),
    Way("exact", EXACT, costs=0.62),
    Way("fast", FAST, costs=0.58),
    Way("fast-whole", FAST, whole=True, costs=0.58, computes=0.5),
    Way("attention", _profile("attention", kernels=True), ends=False, costs=0.8),
    Way("compile", _profile("compile", compiled=True), ends=False, costs=0.87),
    Way("fp8", _profile("fp8", fp8_matmul=True), ends=False, costs=0.95),
    Way("step-cache", CACHED),
    Way("plain", PLAIN, ends=False),
    Way("batched", PLAIN, batched=True, ends=False),
    Way("stock-whole", whole=True),
    Way("exact-whole", EXACT, whole=True, costs=0.62),
    Way("step-cache-whole", CACHED, whole=True, computes=0.5),
    Way("mag-whole", PLAIN, whole=True, cache="mag", computes=0.5),
    Way("first-block-whole", PLAIN, whole=True, cache="first-block", computes=0.6),
    Way("taylor-whole", PLAIN, whole=True, cache="taylor", computes=0.5),
    Way("sea-whole", PLAIN, whole=True, cache="sea", computes=0.5),
    Way("faster-whole", PLAIN, whole=True, cache="faster", batched=True, computes=0.65),
)
"""Most important first: a budget drops them from the end, and they run in this order."""


def schedule_of(way: Way, stage: Stage, *, steps: int, warm: int) -> tuple[int, tuple[bool, ...] | None]:
    """Steps of the way's schedule, and which of them our step cache computes; None without it.

    A short window with a step cache shows what a computed and what a skipped step take: one is skipped by decree.
    """
    if way.whole:
        steps = stage.card.steps
    if way.profile is None or not way.profile.step_cache:
        return steps, None
    if way.whole:
        return steps, computed_steps(stage.card.mag_ratios, steps)
    return warm + 3, (True,) * (warm + 1) + (False, True)


class Bench:
    """One stage's VAE, inputs and stock latents; measures ways on it, one model at a time."""

    def __init__(self, stage: Stage, vae: Any) -> None:
        self.stage, self.vae = stage, vae
        self.stock: dict[int, list[Any]] = {}
        """Latents after each step of the stock pipeline, by length of the schedule; of a whole one the last alone."""
        self._pixels: dict[int, Any] = {}

    def measure(
        self,
        way: Way,
        *,
        steps: int,
        warm: int,
        thrifty: bool,
        deadline: float,
        compiler: str | None = None,
    ) -> dict[str, Any]:
        """The row of a way: seconds, memory, difference from stock.

        `thrifty`: leave ways that are no profile after one measured step. `compiler`: the backend of torch.compile
        where it is not CUDA's own choice.
        """
        length, plan = schedule_of(way, self.stage, steps=steps, warm=warm)
        until = warm + 1 if thrifty and not (way.ends or way.whole) else length
        clock = Clock(self.stage.device, until, deadline, only_last=way.profile is not None or way.whole)
        reset_peak(self.stage.device)
        pipe = build_pipeline(self.stage, self.vae)
        row: dict[str, Any] = {"row": way.name}
        if way.profile is not None:
            tuned = tune(
                pipe,
                way.profile,
                card=self.stage.card,
                device=self.stage.device,
                fp8=self.stage.fp8,
                quantised=False,
                offloaded=False,
                compiler=compiler if way.profile.compiled else None,
            )
            row["tuned"] = asdict(tuned)
        loading = peak_gb(self.stage.device)[0]
        reset_peak(self.stage.device)
        try:
            with torch.no_grad():
                run_stock(pipe, self.stage, length, clock) if way.profile is None else run_ours(
                    pipe, self.stage, way, length, plan, clock
                )
        except Enough:
            pass
        if len(clock.seconds) <= warm or (len(clock.seconds) < length and (way.whole or plan)):
            raise TimeoutError(f"the budget ended after {len(clock.seconds)} of {length} steps")
        memory = peak_gb(self.stage.device)
        row |= {"steps": length, "measured_steps": len(clock.seconds)}
        row |= timing(clock.seconds, warm=warm, plan=plan, planned=self._planned(way, plan), whole=way.whole)
        row |= {"peak_gb": memory[0], "reserved_gb": memory[1], "loading_peak_gb": loading}
        if way.profile is None:
            self.stock[length] = list(clock.latents)
        del pipe
        free()
        return row | self._difference(way, clock, length, cut=plan is not None and not way.whole)

    def _planned(self, way: Way, plan: Sequence[bool] | None) -> tuple[bool, ...] | None:
        """The card's own plan for a short window with a step cache, whose figure is derived."""
        if plan is None or way.whole:
            return None
        return computed_steps(self.stage.card.mag_ratios, self.stage.card.steps)

    def _difference(self, way: Way, clock: Clock, length: int, *, cut: bool) -> dict[str, Any]:
        """PSNR against stock after the same number of steps of the same schedule; of pixels at its end alone."""
        made, done = clock.latents[-1], len(clock.seconds)
        if not bool(torch.isfinite(made).all()):
            return {"finite": False}
        found: dict[str, Any] = {"finite": True, "deviation": round(float(made.std()), 3)}
        reference = self.stock.get(length, [])
        at = -1 if way.whole else done - 1
        if way.profile is None or cut or not reference or at >= len(reference):
            return found
        wanted = reference[at]
        peak = float(wanted.max() - wanted.min())
        found |= {"latents_db": round(psnr(made, wanted, peak=peak), 2), "same_bits": torch.equal(made, wanted)}
        if done == length:
            if length not in self._pixels:
                self._pixels = {length: head_pixels(self.vae, wanted)}
            found["pixels_db"] = round(psnr(head_pixels(self.vae, made), self._pixels[length], peak=1.0), 2)
        return found


def timing(
    seconds: Sequence[float],
    *,
    warm: int,
    plan: Sequence[bool] | None,
    planned: Sequence[bool] | None,
    whole: bool,
) -> dict[str, Any]:
    """Seconds per step without what the first steps took longer; both are told.

    With `planned`, the figure is derived: a computed and a skipped step, each as often as that plan has them.
    """
    rest = seconds[warm:] or seconds
    flags = (plan or (True,) * len(seconds))[len(seconds) - len(rest) : len(seconds)]
    computed = statistics.median([took for took, does in zip(rest, flags, strict=True) if does] or rest)
    skipped = [took for took, does in zip(rest, flags, strict=True) if not does]
    found: dict[str, Any] = {
        "derived": planned is not None,
        "warm_up_s": round(sum(seconds[:warm]) - warm * computed, 2),
    }
    if plan is not None:
        found |= {"computed_step_s": round(computed, 4)}
        found |= {"skipped_step_s": round(statistics.median(skipped), 4)} if skipped else {}
    counted = planned or plan
    if counted is not None:
        found["computed"] = f"{sum(counted)} of {len(counted)}"
    if planned is not None:
        total = sum(computed if does else found["skipped_step_s"] for does in planned)
        found["seconds_per_step"] = round(total / len(planned), 4)
    elif whole:  # its steps may differ; the first fifth is computed whatever skips
        first = statistics.median(seconds[warm : max(warm + 1, len(seconds) // 5)])
        found["seconds_per_step"] = round((warm * first + sum(rest)) / (warm + len(rest)), 4)
    else:
        found["seconds_per_step"] = round(computed, 4)
    found["spread_s"] = round(max(rest) - min(rest), 4)
    return found


def run_stock(pipe: Any, stage: Stage, steps: int, clock: Clock) -> None:
    """The stock pipeline's own call. Only what stands before its loop is made up: embeddings, condition, noise."""
    said = words(stage)
    given: dict[str, Any] = {"prompt_embeds": said.positive, "negative_prompt_embeds": said.negative}
    latents = noise(stage)
    if stage.sees:
        beside = condition(stage)
        pipe.encode_image = lambda *_: beside["image"]
        pipe.prepare_latents = lambda *_, **__: (latents, beside["condition"])
        given["image"] = torch.zeros(1, 3, stage.height, stage.width)
    else:
        given["latents"] = latents

    def after(_: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        del step, time
        clock.step(tensors["latents"])
        return {}

    clock.start()
    pipe(
        **given,
        height=stage.height,
        width=stage.width,
        num_frames=stage.frames,
        num_inference_steps=steps,
        guidance_scale=stage.card.guidance,
        output_type="latent",
        callback_on_step_end=after,
    )


def run_ours(pipe: Any, stage: Stage, way: Way, steps: int, plan: Sequence[bool] | None, clock: Clock) -> None:
    """The same through models.denoise, with the conditioner that the engine uses."""
    kind = conditioner(pipe, partial(getattr, pipe), stage.device, cache=None if plan is None else StepCache(plan))
    if way.batched:
        kind.advance = partial(both_branches, kind)
    if way.cache:
        step: list[int] = [0]
        pipe.transformer.enable_cache(cache_settings(way.cache, stage, kind, steps, step))
        told_where(kind, steps, step)
    advance = kind.advance
    reached: list[Any] = []

    def kept(latents: Any, at: int, *others: Any) -> Any:
        reached[:] = [advance(latents, at, *others)]
        return reached[0]

    kind.advance = kept
    denoised(
        kind,
        stage.given,
        condition(stage),
        words(stage),
        steps=steps,
        random=window_random(),
        saved=Checkpoints(None, "", 0.0),
        watch=Watch(on_step=lambda done, _: clock.step(reached[0]) if done else clock.start()),
    )


def both_branches(kind: Any, latents: Any, at: int, condition: Tensors, words: Words, carry: Carry, random: Any) -> Any:
    """`Wan.advance` with one forward of batch 2, words left out first."""
    del carry, random
    t = kind.pipe.scheduler.timesteps[at]
    inputs = kind.inputs(latents, t, condition)
    twice = {name: torch.cat([value, value]) for name, value in inputs.items() if value is not None}
    text = torch.cat([words.negative, words.positive])
    plain, told = kind._predicted(kind.model, "both", at, text, twice).chunk(2)
    return kind.pipe.scheduler.step(plain + words.guidance * (told - plain), t, latents, return_dict=False)[0]


def told_where(kind: Any, steps: int, step: list[int]) -> None:
    """Have diffusers' caches be told the branch, step and noise of every forward, as its pipelines tell them."""
    predicted = kind._predicted
    names = {"positive": "cond", "negative": "uncond", "both": "both"}

    def told(model: Any, branch: str, at: int, text: Any, inputs: dict[str, Any]) -> Any:
        step[0] = at
        where = {"step_index": at, "sigma": float(kind.pipe.scheduler.sigmas[at]), "num_inference_steps": steps}
        with model.cache_context(names[branch], **where):
            return predicted(model, branch, at, text, inputs)

    kind._predicted = told


def cache_settings(name: str, stage: Stage, kind: Any, steps: int, step: list[int]) -> Any:
    """diffusers' own step cache: Mag as ours is set, Taylor skipping as many steps in a row, others as they come."""
    import diffusers
    from diffusers.hooks import SeaCacheConfig

    kept, channels = round(KEEP * steps), stage.card.latent_channels
    if name == "mag":
        ratios = list(stage.card.mag_ratios)
        return diffusers.MagCacheConfig(
            threshold=THRESHOLD, max_skip_steps=MOST, retention_ratio=KEEP, num_inference_steps=steps, mag_ratios=ratios
        )
    if name == "first-block":
        return diffusers.FirstBlockCacheConfig(threshold=0.05)
    if name == "taylor":
        return diffusers.TaylorSeerCacheConfig(
            cache_interval=MOST + 1,
            disable_cache_before_step=kept,
            disable_cache_after_step=steps - 1,
            max_order=1,
            taylor_factors_dtype=stage.dtype,
            use_lite_mode=True,  # its other patterns match nothing in Wan, and would keep two tensors a layer
        )
    if name == "sea":
        return SeaCacheConfig(
            retention_steps=kept, raw_vision_callback=lambda _, __, named: list(named["hidden_states"][:, :channels])
        )
    assert name == "faster", name
    batched = ["hidden_states", "encoder_hidden_states", "timestep", "encoder_hidden_states_image"]
    return diffusers.FasterCacheConfig(
        attention_weight_callback=lambda _: 0.3,
        tensor_format="BCFHW",
        current_timestep_callback=lambda: kind.times[step[0]],
        _unconditional_conditional_input_kwargs_identifiers=batched,
    )
