"""Claims about the step cache: which steps it skips, that a skip repeats the last residual, that a window can go on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st
from tiny_engines import tiny_folder

from models.cards import cards
from models.interface import EngineError
from models.lora import LoraSwitch
from models.step_cache import KEEP, MOST, THRESHOLD, StepCache, cacheable, computed_steps

CALIBRATED = [found for found in cards().values() if found.mag_ratios]
PLAN = (True, True, False, False, True, False, True)

measured = st.lists(st.floats(0.8, 1.05), min_size=1, max_size=60).map(lambda rest: (1.0, *rest))


@given(
    ratios=measured,
    steps=st.integers(2, 120),
    threshold=st.floats(0, 0.5),
    most=st.integers(0, 8),
    keep=st.floats(0, 1),
)
def test_no_run_of_skipped_steps_breaks_a_bound(
    ratios: tuple[float, ...], steps: int, threshold: float, most: int, keep: float
) -> None:
    """First and last step and the kept share compute; a run is at most `most` long, its summed error within bounds."""
    plan = computed_steps(ratios, steps, threshold=threshold, most=most, keep=keep)
    assert len(plan) == steps
    assert plan[0]
    assert plan[-1]
    assert all(plan[: int(keep * steps + 0.5)])
    if 2 * steps < len(ratios):
        assert all(plan)
    at = 0
    while at < steps:
        run = []
        while not plan[at + len(run)]:
            run.append(ratios[round((at + len(run)) * (len(ratios) - 1) / (steps - 1))])
        assert len(run) <= most
        left = 1.0
        error = 0.0
        for ratio in run:
            left *= ratio
            error += abs(1 - left)
        assert error <= threshold
        at += len(run) + 1


def test_ratios_of_one_skip_as_often_as_is_allowed() -> None:
    """A model whose residual never changes computes one step in `most` + 1 after the kept share."""
    plan = computed_steps((1.0,) * 20, 20, most=3, keep=0.2)
    assert [at for at, computes in enumerate(plan) if computes] == [0, 1, 2, 3, 7, 11, 15, 19]
    assert all(computed_steps((), 20))
    assert all(computed_steps((1.0,) * 20, 20, most=0))
    assert all(computed_steps((1.0, *[0.5] * 19), 20, threshold=0.4))
    assert computed_steps((1.0,) * 20, 1) == (True,)


@pytest.mark.parametrize("found", CALIBRATED, ids=lambda found: found.name)
def test_the_calibrated_cards_skip_about_half(found: Any) -> None:
    """With the defaults a window of the card's own steps computes half of them, and a distilled one all."""
    plan = computed_steps(found.mag_ratios, found.steps)
    assert 0.48 <= plan.count(True) / found.steps <= 0.52
    assert all(computed_steps(found.mag_ratios, 4))
    assert (THRESHOLD, MOST, KEEP) == (0.12, 2, 0.2)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"threshold": -1.0}, {"most": -1}, {"keep": 1.5}])
def test_bounds_without_meaning_are_refused(wrong: dict[str, Any]) -> None:
    """No steps, negative bounds and shares beyond the whole are named."""
    with pytest.raises(EngineError, match="no step cache for"):
        computed_steps((1.0, 0.9), **({"steps": 10} | wrong))


def transformer(name: str = "wan2.1-t2v", **kind: Any) -> Any:
    """The tiny transformer of that model."""
    import diffusers

    cls = {"wan2.1-vace": "WanVACETransformer3DModel", "cogvideox-i2v": "CogVideoXTransformer3DModel"}
    made = getattr(diffusers, cls.get(name, "WanTransformer3DModel"))
    return made.from_pretrained(tiny_folder(name) / "transformer", local_files_only=True, **kind).eval()


def inputs(seed: int, dtype: str = "float32") -> dict[str, Any]:
    """A step's input of 3 latent frames of 4x8."""
    import torch

    random = torch.Generator().manual_seed(seed)
    kind = getattr(torch, dtype)
    return {
        "hidden_states": torch.randn(1, 16, 3, 4, 8, generator=random).to(kind),
        "timestep": torch.tensor([900 - seed]),
        "encoder_hidden_states": torch.randn(1, 16, tiny_models.TEXT, generator=random).to(kind),
        "return_dict": False,
    }


def once(model: Any, given: dict[str, Any]) -> Callable[[], Any]:
    """A call that runs the model."""
    import torch

    def call() -> Any:
        with torch.no_grad():
            return model(**given)[0]

    return call


def hooked_plainly(model: Any) -> Any:
    return model


def hooked_by_lora(model: Any) -> Any:
    from diffusers import WanPipeline

    folder = tiny_folder("wan2.1-t2v")
    pipe = SimpleNamespace(transformer=model, lora_state_dict=WanPipeline.lora_state_dict)
    with tempfile.TemporaryDirectory() as own:
        file = tiny_models.lora_file(folder, Path(own) / "lora.safetensors", strength=0.2)
        LoraSwitch(pipe, lambda _: None).apply([(file, 1.0)])  # type: ignore[list-item]
    return model


def compiled(model: Any) -> Any:
    for block in hooked_by_lora(model).blocks:
        block.compile(backend="eager", fullgraph=True)  # what is traced matters here, not what code it becomes
    return model


def offloaded(model: Any) -> Any:
    import torch

    model.enable_group_offload(
        onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
    )
    return model


def cast(model: Any) -> Any:
    import torch

    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    return model


WAYS = (hooked_plainly, hooked_by_lora, compiled, offloaded, cast)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_skipped_step_repeats_what_the_blocks_added(way: Callable[[Any], Any]) -> None:
    """Given the same input, a skipped step gives what the computed one gave, running no block; computing is exact."""
    import torch

    kind = "bfloat16" if way is cast else "float32"
    model = way(transformer(torch_dtype=getattr(torch, kind)))
    call = once(model, inputs(1, kind))
    plain = call()
    ran: list[int] = []
    model.blocks[1].attn1.to_q.register_forward_pre_hook(lambda *_: ran.append(1))
    cache = StepCache((True, False, True))
    first = cache.run(model, "cond", 0, call)
    blocks, count = model.blocks, len(ran)
    again = cache.run(model, "cond", 1, call)
    assert torch.equal(first, plain)
    assert len(ran) == count
    assert ran or way is compiled  # compiled blocks do not look for hooks that come later
    assert (again - plain).abs().max() <= (0.05 if kind == "bfloat16" else 1e-5)
    assert torch.equal(cache.run(model, "cond", 2, call), plain)
    assert model.blocks is blocks
    assert len(blocks) == 2


def test_a_skipped_step_sees_its_own_input() -> None:
    """Only the blocks are skipped: another input and another time give another output, unlike the computed one."""
    import torch

    model, cache = transformer(), StepCache((True, False, False))
    cache.run(model, "cond", 0, once(model, inputs(1)))
    second, third = (cache.run(model, "cond", seed - 1, once(model, inputs(seed))) for seed in (2, 3))
    assert not torch.allclose(second, third, atol=1e-3)
    assert not torch.allclose(second, once(model, inputs(2))(), atol=1e-3)


def test_branches_and_experts_keep_to_themselves() -> None:
    """A branch repeats its own residual; another model's first skipped step is computed, and then has its own."""
    import torch

    first, second = transformer(), transformer("wan2.2-t2v-a14b")
    cache = StepCache((True, False, False, False))
    words, none = once(first, inputs(1)), once(first, inputs(2))
    outputs = [cache.run(first, "cond", 0, words), cache.run(first, "uncond", 0, none)]
    repeated = [cache.run(first, "cond", 1, words), cache.run(first, "uncond", 1, none)]
    for one, other in zip(outputs, repeated, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    taken = once(second, inputs(3))
    assert torch.equal(cache.run(second, "cond", 2, taken), taken())
    assert not torch.equal(repeat := cache.run(second, "cond", 3, once(second, inputs(4))), once(second, inputs(4))())
    assert torch.isfinite(repeat).all()
    cache.forget()
    assert torch.equal(cache.run(second, "cond", 3, taken), taken())


def window(cache: StepCache, model: Any, latents: Any, start: int, stop: int) -> Any:
    """Steps `start` to `stop` of a toy window with guidance."""
    for at in range(start, stop):
        given = inputs(at) | {"hidden_states": latents}
        with_words = cache.run(model, "cond", at, once(model, given))
        without = cache.run(model, "uncond", at, once(model, given | inputs(90) | {"hidden_states": latents}))
        latents = latents - 0.1 * (without + 3 * (with_words - without))
    return latents


def test_a_window_goes_on_bit_for_bit_at_every_step_that_computes() -> None:
    """Without its residuals it gives the same latents from there on; from a step that skips it would not."""
    import torch

    model, cache = transformer(), StepCache(PLAN)
    whole = window(cache, model, inputs(0)["hidden_states"], 0, len(PLAN))
    assert cache.skipped == 3
    for done in range(len(PLAN) + 1):
        before = window(StepCache(PLAN), model, inputs(0)["hidden_states"], 0, done)
        after = window(StepCache(PLAN), model, before, done, len(PLAN))
        assert torch.equal(after, whole) == cache.resumable(done)
        assert cache.resumable(done) == (done == len(PLAN) or PLAN[done])


def test_the_blocks_are_back_after_an_error() -> None:
    """Whatever stops a call, the model is whole; a step that failed to compute left no residual behind."""
    import torch

    model, cache = transformer(), StepCache((True, False, True))
    blocks, call = model.blocks, once(model, inputs(1))

    def fails() -> Any:
        assert model.blocks is not blocks
        raise RuntimeError("out of memory")

    cache.run(model, "cond", 0, call)
    for at in (1, 0):
        with pytest.raises(RuntimeError, match="out of memory"):
            cache.run(model, "cond", at, fails)
        assert model.blocks is blocks
    assert torch.equal(cache.run(model, "cond", 1, call), call())


def test_only_wans_own_transformer_is_cacheable() -> None:
    """VACE and CogVideoX mix more into their blocks than one residual holds, and no card of theirs states ratios."""
    assert [cacheable(transformer(name)) for name in ("wan2.1-i2v", "wan2.1-vace", "cogvideox-i2v")] == [1, 0, 0]
    assert {found.name for found in CALIBRATED} == {
        *("wan2.1-t2v-14b", "wan2.1-t2v-1.3b"),
        *("wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p"),
    }
