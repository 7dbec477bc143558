"""Claims about windows that carry the latents of the one before: what enters the model and what leaves.

All of it on tiny models of every architecture, where the tail of a window can be followed bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final

import numpy as np
import pytest
from tiny_chains import FRAMES, after, first_of, listened, tail
from tiny_engines import same, tiny_engine

from models.interface import ClipRequest, Frame, Watch, WindowStopped
from models.kernels import Tuned
from models.step_cache import computed_steps
from models.stream import reach
from models.tails import leave_tail

STEPS: Final = 4
CARRYING: Final = (
    *("wan2.1-i2v", "wan2.1-flf2v", "wan2.1-fun-inp", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b"),
    *("wan2.1-vace", "wan2.1-t2v", "wan2.2-t2v-a14b"),
)
"""Every architecture that latents can be carried by."""


@pytest.mark.parametrize("name", CARRYING)
@pytest.mark.parametrize("carries", [1, 2])
def test_the_tail_enters_the_model_bit_for_bit(name: str, carries: int, request_: ClipRequest, tmp_path: Path) -> None:
    """At every step the pinned latents are the tail, as noisy as that step; condition and mask say that it is known."""
    import torch

    engine = tiny_engine(name)
    request = first_of(name, request_, tmp_path)
    before = list(engine.generate(request, []))
    context = before[-4 * carries - 1 :]
    following = after(request, tmp_path, carries=carries)
    frames: list[Frame] = []
    seen = listened(engine, lambda: frames.extend(engine.generate(following, context)))
    assert len(seen) == 2 * request.steps  # both branches of the guidance
    assert same(frames[: len(context)], context)
    assert len(frames) == FRAMES

    last = tail(request.leaves)[:, :, -carries:]
    channels, count = last.shape[1], FRAMES // 4 + 1
    noise = torch.randn(
        (1, channels, count, *last.shape[3:]), generator=torch.Generator("cpu").manual_seed(following.seed)
    )
    pinned = slice(1, 1 + carries)
    sigmas = engine._pipe.scheduler.sigmas.tolist()
    for call, given in enumerate(seen):
        step = call // 2
        hidden, sigma = given["hidden_states"], sigmas[step]
        assert sigma > 0
        known = (1.0 - sigma) * last + sigma * noise[:, :, pinned]
        if name == "wan2.2-ti2v-5b":
            known = last  # given as they are, at time 0
            assert given["timestep"].view(count, -1)[: 1 + carries].max() == 0
            assert given["timestep"].view(count, -1)[1 + carries :].min() > 0
        assert torch.equal(hidden[:, :channels, pinned], known)
        assert not torch.equal(hidden[:, :channels, 1 + carries :], noise[:, :, 1 + carries :]) or step == 0
        if hidden.shape[1] == 36:
            assert torch.equal(hidden[:, 20:, pinned], last)
            assert bool((hidden[:, 16:20, : 1 + carries] == 1).all())
            assert bool((hidden[:, 16:20, 1 + carries :] == 0).all())
        if "control_hidden_states" in given:
            control = given["control_hidden_states"]
            assert torch.equal(control[:, :channels, pinned], last)
            assert bool((control[:, 2 * channels :, : 1 + carries] == 0).all())
            assert bool((control[:, 2 * channels :, 1 + carries :] == 1).all())
    left = tail(following.leaves)
    assert torch.equal(left[:, :, :count], tail(request.leaves))
    assert left.shape[2] == count + count - 1 - carries


@pytest.mark.parametrize("name", ["wan2.1-i2v", "wan2.2-ti2v-5b", "wan2.1-vace", "wan2.1-t2v"])
def test_the_first_slot_is_the_frame_before_the_tail(name: str, request_: ClipRequest, tmp_path: Path) -> None:
    """Encoded by itself, as a first frame is: the one before it stood for four frames, this one stands for one."""
    import torch

    from models.condition_kinds import conditioner
    from models.conditions import Given
    from models.pixels import video_tensor

    engine = tiny_engine(name)
    request = first_of(name, request_, tmp_path)
    context = list(engine.generate(request, []))[-5:]
    kind = conditioner(engine._pipe, engine._on_device, "cpu")
    carried = tail(request.leaves)[:, :, -1:]
    with torch.no_grad():
        made = kind.conditioned(Given(video_tensor(context), None, FRAMES, 32, 64, carried), None)
        alone = kind._latents(video_tensor(context[:1]))
    assert torch.equal(made["pinned"], torch.cat([alone, carried], dim=2))
    if "condition" in made:
        assert torch.equal(made["condition"][:, -alone.shape[1] :, :1], alone)


@pytest.mark.parametrize(("name", "tiles"), [("wan2.1-i2v", False), ("wan2.1-t2v", True), ("wan2.2-ti2v-5b", False)])
def test_a_shot_is_one_stream(
    name: str, tiles: bool, request_: ClipRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four windows are the frames of all their latents decoded at once, bit for bit; shared ones are in both the same.

    The shared frames of a later window are decoded from its own latents, those that it was pinned to.
    """
    import torch

    from models.condition_kinds import conditioner
    from models.denoise import denoised
    from models.pixels import frames_of, judged

    ended: list[Any] = []
    monkeypatch.setattr(
        "models.wan.denoised", lambda *args, **named: ended.append(denoised(*args, **named)) or ended[-1]
    )
    engine = tiny_engine(name)
    engine.load()
    if tiles:
        engine._pipe.vae.enable_tiling(32, 32, 32, 16)
    back = reach(engine._pipe.vae)
    kind = conditioner(engine._pipe, engine._on_device, "cpu")
    carries, count = 2, 14
    new = count - 1 - carries
    request = replace(first_of(name, request_, tmp_path), frames=4 * count - 3, steps=1)
    shot = list(engine.generate(request, []))
    stream = tail(request.leaves)
    for index in range(1, 4):
        shared = shot[-4 * carries - 1 :]
        request = after(request, tmp_path, carries=carries, index=index)
        made = list(engine.generate(request, shared))
        assert same(made[: len(shared)], shared)
        shot += made[len(shared) :]
        left = tail(request.leaves)
        assert left.shape[2] == min(back, stream.shape[2] + new)
        own = torch.cat([stream[:, :, :-carries], ended[-1][:, :, 1:]], dim=2)
        stream = torch.cat([stream, left[:, :, -new:]], dim=2)
        with torch.no_grad():
            whole = list(frames_of(judged(kind.pipe.vae.decode(kind._scaled(own, kind.pipe.vae)).sample), 0))
        at = len(shot) - 4 * new
        there, here = (np.stack(frames[at - 4 * carries : at]).astype(int) for frames in (shot, whole))
        assert np.abs(there - here).max() <= 0.5 / 255 * 65535
        assert same(shot, whole)
    assert stream.shape[2] - new > back, "the last window does not decode all of the shot again"
    assert torch.equal(stream, own)


@pytest.mark.parametrize("name", ["wan2.1-i2v", "wan2.1-vace"])
def test_what_is_carried_matters(name: str, request_: ClipRequest, tmp_path: Path) -> None:
    """Another tail gives other frames behind the same context."""
    engine = tiny_engine(name)
    request = first_of(name, request_, tmp_path)
    context = list(engine.generate(request, []))[-5:]
    following = after(request, tmp_path, carries=1)
    made = list(engine.generate(following, context))
    assert request.leaves is not None
    leave_tail(request.leaves, -tail(request.leaves))
    other = list(engine.generate(following, context))
    assert same(made[:5], other[:5])
    assert not any(np.array_equal(one, two) for one, two in zip(made[5:], other[5:], strict=True))


def test_windows_without_latents_are_what_they_were(request_: ClipRequest, tmp_path: Path) -> None:
    """Leaving a tail changes no pixel, and what is carried is left alone where nothing is to be pinned."""
    engine = tiny_engine("wan2.1-i2v")
    plain = list(engine.generate(request_, []))
    assert same(list(engine.generate(replace(request_, leaves=tmp_path / "tail"), [])), plain)
    following = replace(request_, seed=2)
    alone = list(engine.generate(following, plain[-5:]))
    assert same(list(engine.generate(replace(following, carried=tmp_path / "tail"), plain[-5:])), alone)


@pytest.mark.parametrize(("name", "at"), [("wan2.1-i2v", (1, 3, 4)), ("wan2.2-i2v-a14b", (2,)), ("wan2.1-vace", (2,))])
def test_a_pinned_window_goes_on_after_any_step(
    name: str, at: tuple[int, ...], request_: ClipRequest, tmp_path: Path
) -> None:
    """Stopped in a new process's engine after each step, it ends in the same frames and leaves the same tail."""
    import torch

    request = replace(first_of(name, request_, tmp_path), steps=STEPS)
    context = list(tiny_engine(name).generate(request, []))[-9:]
    following = after(request, tmp_path, carries=2)
    whole = list(tiny_engine(name).generate(following, context))
    left = tail(following.leaves)
    for step in at:
        stop, state = Event(), tmp_path / f"state-{step}"
        tell = lambda done, _, at=step, stop=stop: stop.set() if done == at else None  # noqa: E731
        resuming = replace(following, state=state, leaves=tmp_path / f"left-{step}")
        with pytest.raises(WindowStopped, match=f"after step {step} of {STEPS}"):
            list(tiny_engine(name).generate(resuming, context, Watch(stop, tell)))
        assert not (tmp_path / f"left-{step}").exists()
        steps: list[int] = []
        made = list(tiny_engine(name).generate(resuming, context, Watch(on_step=lambda done, _: steps.append(done))))  # noqa: B023
        assert steps[0] == step
        assert same(made, whole)
        assert torch.equal(tail(resuming.leaves), left)


def test_a_checkpoint_belongs_to_what_is_carried(request_: ClipRequest, tmp_path: Path) -> None:
    """Another tail, and the same frames without latents, never use it."""
    engine = tiny_engine("wan2.1-i2v", every=0)
    request = first_of("wan2.1-i2v", request_, tmp_path)
    context = list(engine.generate(request, []))[-5:]
    following = replace(after(request, tmp_path, carries=1), state=tmp_path / "state")

    def begins(asked: ClipRequest) -> int:
        steps: list[int] = []
        list(engine.generate(asked, context, Watch(on_step=lambda done, _: steps.append(done))))
        return steps[0]

    assert [begins(following), begins(following)] == [0, 2]
    assert begins(replace(following, carries=0)) == 0
    assert request.leaves is not None
    leave_tail(request.leaves, tail(request.leaves) * 1.5)
    assert begins(following) == 0
    assert len(list((tmp_path / "state").iterdir())) == 3


def test_a_step_cache_stays_right(request_: ClipRequest, tmp_path: Path) -> None:
    """Skipped steps are skipped, what is pinned is pinned at each, and a stopped window goes on to the same frames."""
    import torch

    count = 6
    cached = partial(
        tiny_engine,
        "wan2.1-i2v",
        changes={"mag_ratios": (1.0,) * count},
        tune=lambda _: Tuned(attention="native", compiled=False, fp8_layers=0, step_cache=True),
    )
    request = replace(first_of("wan2.1-i2v", request_, tmp_path), steps=count)
    context = list(cached().generate(request, []))[-5:]
    following = after(request, tmp_path, carries=1)
    engine, whole = cached(), list[Frame]()
    seen = listened(engine, lambda: whole.extend(engine.generate(following, context)))
    assert not same(whole, list(tiny_engine("wan2.1-i2v").generate(following, context)))
    last, sigmas = tail(request.leaves)[:, :, -1:], engine._pipe.scheduler.sigmas.tolist()
    random = torch.Generator("cpu").manual_seed(following.seed)
    noise = torch.randn((1, 16, 4, *last.shape[3:]), generator=random)[:, :, 1:2]
    for call, given in enumerate(seen):
        sigma = sigmas[call // 2]
        assert torch.equal(given["hidden_states"][:, :16, 1:2], (1.0 - sigma) * last + sigma * noise)
    assert len(seen) == 2 * count  # at a skipped step it is called too, with the blocks' residual in their place
    computed = computed_steps((1.0,) * count, count)
    assert not all(computed)
    for step in (2, 4):  # behind a skipped step, and before a skipped one
        stop, state = Event(), tmp_path / f"state-{step}"
        tell = lambda done, _, at=step, stop=stop: stop.set() if done == at else None  # noqa: E731
        with pytest.raises(WindowStopped):
            list(cached().generate(replace(following, state=state), context, Watch(stop, tell)))
        assert same(list(cached().generate(replace(following, state=state), context)), whole)


def test_flow_matching_by_euler_is_pinned_too(request_: ClipRequest, tmp_path: Path) -> None:
    """The other scheduler that Wan is run with: its share of noise is read the same way."""
    import diffusers
    import torch

    engine = tiny_engine("wan2.1-i2v")
    engine.load()
    engine._pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    request = first_of("wan2.1-i2v", request_, tmp_path)
    context = list(engine.generate(request, []))[-5:]
    following = after(request, tmp_path, carries=1)
    seen = listened(engine, lambda: list(engine.generate(following, context)))
    last, sigmas = tail(request.leaves)[:, :, -1:], engine._pipe.scheduler.sigmas.tolist()
    random = torch.Generator("cpu").manual_seed(following.seed)
    noise = torch.randn((1, 16, 4, *last.shape[3:]), generator=random)[:, :, 1:2]
    assert [sigmas[0], sigmas[-1]] == [1.0, 0.0]
    for call, given in enumerate(seen):
        sigma = sigmas[call // 2]
        assert torch.equal(given["hidden_states"][:, :16, 1:2], (1.0 - sigma) * last + sigma * noise)


@pytest.mark.parametrize(
    ("name", "count"), [("wan2.1-i2v", 5), ("wan2.2-i2v-a14b", 9), ("wan2.1-vace", 9), ("wan2.2-ti2v-5b", 5)]
)
def test_k_frames_enter_by_the_models_own_input(name: str, count: int, request_: ClipRequest) -> None:
    """What the VAE makes of the k frames is the condition's beginning, and the mask says that they are given.

    I2V: condition and mask channels. VACE: the control's inactive part and its mask. TI2V: clean first latents, time 0.
    """
    import torch

    from models.pixels import video_tensor

    engine = tiny_engine(name)
    context = list(engine.generate(request_, []))[-count:]
    following = replace(request_, seed=2)
    seen = listened(engine, lambda: list(engine.generate(following, context)))
    free = 0 if "ti2v" in name else FRAMES - count
    whole = torch.cat([video_tensor(context), torch.zeros(1, 3, free, 32, 64)], dim=2)
    config, view = engine._pipe.vae.config, (1, -1, 1, 1, 1)
    with torch.no_grad():
        mode = engine._pipe.vae.encode(whole).latent_dist.mode()
    known = (mode - torch.tensor(config.latents_mean).view(view)) * (1.0 / torch.tensor(config.latents_std).view(view))
    latents, channels = 1 + (count - 1) // 4, known.shape[1]
    for given in seen:
        hidden = given["hidden_states"]
        if "ti2v" in name:
            assert torch.equal(hidden[:, :, :latents], known)
            assert [float(time.max()) > 0 for time in given["timestep"].view(4, -1)] == [False] * latents + [True] * (
                4 - latents
            )
            continue
        control = given.get("control_hidden_states")
        if control is None:
            mask, condition = hidden[:, 16:20], hidden[:, 20:]
        else:
            mask, condition = 1 - control[:, 2 * channels :], control[:, :channels]
        assert torch.equal(condition, known)
        assert bool((mask[:, :, :latents] == 1).all())
        assert bool((mask[:, :, latents:] == 0).all())


@pytest.mark.parametrize("euler", [False, True], ids=["unipc", "euler"])
def test_a_16_bit_model_leaves_its_latents_as_they_are(euler: bool, request_: ClipRequest, tmp_path: Path) -> None:
    """In bfloat16, with parts that take turns on the device: what is carried enters rounded to 16 bits, once.

    Euler's latents are themselves 16 bits wide after a step; the tail holds them in 32 without a change.
    """
    import diffusers
    import torch

    from models.diffusion import Placement

    engine = tiny_engine("wan2.1-i2v", placement=Placement(dtype="bfloat16", offload="model"))
    engine.load()
    if euler:
        engine._pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    request = first_of("wan2.1-i2v", request_, tmp_path)
    context = list(engine.generate(request, []))[-5:]
    last = tail(request.leaves)
    assert last.dtype == torch.float32
    assert torch.equal(last.bfloat16().float(), last) == euler
    following = after(request, tmp_path, carries=1)
    frames: list[Frame] = []
    seen = listened(engine, lambda: frames.extend(engine.generate(following, context)))
    assert same(frames[:5], context)
    assert all(torch.equal(given["hidden_states"][:, 20:, 1:2], last[:, :, -1:].bfloat16()) for given in seen)
    assert torch.equal(tail(following.leaves)[:, :, :4], last)
