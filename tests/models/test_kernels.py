"""Claims about what makes a model fast: kernels are exact, compiled blocks agree, 8-bit errors are bounded."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_engines import tiny_engine, tiny_folder

from models.cards import card
from models.fp8 import fp8_linear, use_fp8
from models.interface import ClipRequest
from models.kernels import CUDA_ATTENTION, Tuned, _works, tune
from models.lora import LoraSwitch
from models.profiles import PROFILES

WAN = card("wan2.1-t2v-1.3b")
UNCACHED = card("wan2.2-i2v-a14b")
CLASSES = {"wan2.1-vace": "WanVACETransformer3DModel", "cogvideox-i2v": "CogVideoXTransformer3DModel"}
LAYERS = 20
"""Linear layers of attention and feed-forward in the two blocks of the tiny text-to-video transformer."""


def transformer(name: str = "wan2.1-t2v", part: str = "transformer", dtype: str = "float32") -> Any:
    """The tiny transformer of that model."""
    import diffusers
    import torch

    cls = getattr(diffusers, CLASSES.get(name, "WanTransformer3DModel"))
    return cls.from_pretrained(
        tiny_folder(name) / part, local_files_only=True, torch_dtype=getattr(torch, dtype)
    ).eval()


def pipeline(*experts: Any) -> Any:
    """As much of a pipeline as tuning looks at."""
    from diffusers import WanPipeline

    first, second = (*experts, None)[:2]
    return SimpleNamespace(transformer=first, transformer_2=second, lora_state_dict=WanPipeline.lora_state_dict)


def tuned(pipe: Any, profile: str, **facts: Any) -> Tuned:
    """Tuned for the CPU with what the test says of it."""
    given: dict[str, Any] = {"card": WAN, "device": "cpu", "fp8": True, "quantised": False, "offloaded": False}
    return tune(pipe, PROFILES[profile], **(given | facts))


def run(model: Any, dtype: str = "float32") -> Any:
    """One step of the tiny text-to-video transformer."""
    import torch

    random = torch.Generator().manual_seed(3)
    kind = getattr(torch, dtype)
    with torch.no_grad():
        return model(
            hidden_states=torch.randn(1, 16, 3, 4, 8, generator=random).to(kind),
            timestep=torch.tensor([500]),
            encoder_hidden_states=torch.randn(1, 16, tiny_models.TEXT, generator=random).to(kind),
            return_dict=False,
        )[0]


def active_kernel() -> str:
    """The kernel that diffusers gives every model that has none of its own."""
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    return str(_AttentionBackendRegistry.get_active_backend()[0].value)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_cpu_computes_natively_and_compiles_nothing_unasked(profile: str) -> None:
    """There the profiles differ in the step cache and in 8-bit layers, where these are wanted and there."""
    fast = profile in ("fast", "draft")
    assert tuned(pipeline(transformer()), profile) == Tuned("native", False, LAYERS if fast else 0, fast)
    assert tuned(pipeline(transformer()), profile, fp8=False) == Tuned("native", False, 0, fast)
    assert tuned(pipeline(transformer()), profile, card=UNCACHED).step_cache is False


def test_exact_is_bit_for_bit_what_diffusers_does_on_a_cpu() -> None:
    """Without a compiler, `exact` and `plain` change no bit."""
    import torch

    for profile in ("exact", "plain"):
        model = transformer()
        tuned(pipeline(model), profile)
        assert torch.equal(run(model), run(transformer()))


@pytest.mark.parametrize(
    ("name", "parts", "layers"),
    [
        ("wan2.2-i2v-a14b", ("transformer", "transformer_2"), 2 * LAYERS),
        ("wan2.1-i2v", ("transformer",), LAYERS + 4),  # each block also projects the still's views
        ("wan2.1-vace", ("transformer",), 2 * LAYERS),  # as many hint blocks as blocks
        ("cogvideox-i2v", ("transformer",), 12),
    ],
)
def test_every_architecture_and_both_experts_are_tuned(name: str, parts: tuple[str, ...], layers: int) -> None:
    """Blocks of all kinds take 8-bit layers and the compiler; the step cache is for Wan's own transformer alone."""
    from models.fp8 import repeated_blocks

    experts = [transformer(name, part) for part in parts]
    wan = name.startswith("wan") and "vace" not in name
    assert tuned(pipeline(*experts), "fast", compiler="eager") == Tuned("native", True, layers, wan)
    assert all(block._compiled_call_impl for expert in experts for block in repeated_blocks(expert))
    assert all(len(repeated_blocks(expert)) == (4 if "vace" in name else 2) for expert in experts)


@pytest.mark.parametrize("name", ["quantised", "offloaded", "group", "cast"])
def test_weights_in_a_form_of_their_own_are_left_alone(name: str) -> None:
    """GGUF, group offload and 8-bit storage: nothing is compiled or multiplied in 8 bits, and the model still runs."""
    import torch

    model = transformer(dtype="bfloat16" if name == "cast" else "float32")
    if name == "group":
        cpu = torch.device("cpu")
        model.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="leaf_level")
    if name == "cast":
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    facts = {name: True} if name in ("quantised", "offloaded") else {}
    assert tuned(pipeline(model), "fast", compiler="eager", **facts) == Tuned("native", False, 0, True)
    assert torch.isfinite(run(model, "bfloat16" if name == "cast" else "float32")).all()


def test_a_compiler_that_is_not_there_is_not_used() -> None:
    """The blocks run as they are, and the result says so."""
    import torch

    model = transformer()
    assert tuned(pipeline(model), "exact", compiler="no-such-compiler") == Tuned("native", False, 0, False)
    assert torch.equal(run(model), run(transformer()))


def test_kernels_are_tried_before_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, what cannot run here, and what runs but rounds to 8 bits is refused; native is exact."""
    import torch
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

    model = transformer(dtype="bfloat16")
    assert _works("native", model, "cpu")
    assert not any(_works(name, model, "cpu") for name in CUDA_ATTENTION)
    exact = _AttentionBackendRegistry._backends[AttentionBackendName.NATIVE]

    def coarse(query: Any, key: Any, value: Any, **named: Any) -> Any:
        narrow = (part.to(torch.float8_e4m3fn).to(part.dtype) for part in (query, key, value))
        return exact(*narrow, **named)

    def broken(query: Any, key: Any, value: Any, **named: Any) -> Any:
        return exact(query, key, value, **named) * math.nan

    for kernel, right in ((coarse, False), (broken, False), (exact, True)):
        monkeypatch.setitem(_AttentionBackendRegistry._backends, AttentionBackendName.FLASH, kernel)
        names = set(_AttentionBackendRegistry._supported_arg_names[AttentionBackendName.NATIVE])
        monkeypatch.setitem(_AttentionBackendRegistry._supported_arg_names, AttentionBackendName.FLASH, names)
        assert _works("flash", model, "cpu") == right


def test_no_kernel_is_quantised_or_downloaded() -> None:
    """None of the names that are tried is one of diffusers' quantised or hub kernels, and diffusers knows them all."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    assert set(CUDA_ATTENTION) < {kernel.value for kernel in AttentionBackendName}
    assert not any("hub" in name or "sage" in name for name in CUDA_ATTENTION)


def test_an_earlier_pipelines_kernel_does_not_act_on_this_one() -> None:
    """diffusers keeps the last choice for the process; even `plain` goes back to the native one."""
    transformer().set_attention_backend("_native_math")
    assert active_kernel() == "_native_math"
    tuned(pipeline(transformer()), "plain")
    assert active_kernel() == "native"


def psnr(made: Any, wanted: Any) -> float:
    """Of two clips of 16 bits, in dB."""
    error = float(np.square(np.asarray(made, float) - np.asarray(wanted, float)).mean())
    return math.inf if error == 0 else 20 * math.log10(65535) - 10 * math.log10(error)


@pytest.mark.timeout(180)  # about 25 s of a core with an empty cache; neighbours can make it wait
def test_a_compiled_window_equals_the_eager_one(window: ClipRequest) -> None:
    """Really compiled, by the compiler's own backend for this CPU: at least 40 dB."""
    said: list[Tuned] = []

    def compiles(pipe: Any) -> Tuned:
        said.append(tuned(pipe, "exact", compiler="inductor"))
        return said[0]

    made = list(tiny_engine("wan2.1-t2v", tune=compiles).generate(replace(window, plate=None), []))
    assert said == [Tuned("native", True, 0, False)]
    assert psnr(made, list(tiny_engine("wan2.1-t2v").generate(replace(window, plate=None), []))) >= 40


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 9),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    scale=st.floats(-12, 12),
    dtype=st.sampled_from(["bfloat16", "float32"]),
    bias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_error_of_8_bits_is_that_of_three_bits_of_mantissa(
    seed: int, rows: int, sides: tuple[int, int], scale: float, dtype: str, bias: bool
) -> None:
    """Rounding to e4m3 moves a number by 1 part in 16 at most, so a product of two by 33 in 256; whatever its size.

    Numbers below a 30,000th of their row's largest fall under e4m3's normal range: at most 2^-10 of 448 is lost there.
    The sum is rounded to bfloat16, 1 part in 256.
    """
    import torch

    random, kind = torch.Generator().manual_seed(seed), getattr(torch, dtype)
    layer = torch.nn.Linear(16 * sides[0], 16 * sides[1], bias=bias).to(kind)
    sizes = 10 ** (scale * torch.rand(rows, 1, generator=random))  # every row has a size of its own
    given = (torch.randn(2, rows, 16 * sides[0], generator=random) * sizes).to(kind)
    with torch.no_grad():
        channels = 10 ** (scale * torch.rand(layer.out_features, 1, generator=random))  # and every channel
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) * channels)
        made, exact = fp8_linear()(layer)(given), layer.double()(given.double())
        inputs, weights = given.double().abs(), layer.weight.double().abs()
        lost = 2.0**-10 / 448
        inputs_off = inputs / 16 + lost * inputs.amax(-1, keepdim=True) + inputs / 256  # the last: a bfloat16 product
        weights_off = weights / 16 + lost * weights.amax(-1, keepdim=True)
        bound = inputs_off @ weights.T + inputs @ weights_off.T + inputs_off @ weights_off.T
        sums = (inputs @ weights.T).abs() + bound + (0 if layer.bias is None else layer.bias.double().abs())
    assert made.dtype == kind
    assert made.shape == exact.shape
    assert ((made.double() - exact).abs() <= bound + sums / 128).all()
    product = exact if layer.bias is None else exact - layer.bias.double()
    error = made.double() - exact
    if rows * sides[0] * sides[1] > 8 and scale < 3:  # rounding errors average out: far below the bound
        assert error.norm() <= product.norm() / 16 + sums.norm() / 128


def test_zeros_and_sizes_beyond_the_range() -> None:
    """A row or channel of zeros stays zero plus bias; numbers far above 448 neither clip nor become NaN."""
    import torch

    torch.manual_seed(5)
    layer = torch.nn.Linear(32, 16)
    with torch.no_grad():
        layer.weight[3] = 0
        each = 2**-4 * layer.weight.abs().sum(dim=1) * 1e6  # what 3 bits of mantissa may cost every product
        made = fp8_linear()(layer)
        rows = torch.stack([torch.zeros(32), torch.full((32,), 1e6), torch.full((32,), 1e-6)])
        found, exact = made(rows), layer(rows)
        half = made(rows.to(torch.float16)[[0, 2]])
    assert torch.equal(found[0], layer.bias.to(torch.bfloat16).float())
    assert torch.equal(found[:, 3], layer.bias[3].to(torch.bfloat16).float().expand(3))
    assert bool(((found[1] - exact[1]).abs() <= each + 0.01 * exact[1].abs()).all())
    assert half.dtype == torch.float16
    assert torch.isfinite(half).all()


def test_layers_that_do_not_fit_stay_as_they_are() -> None:
    """Sides that are no multiples of 16, embeddings, norms and head are left; the model's own type is unchanged."""
    import torch

    odd = transformer()
    odd.blocks[0].ffn.net[2] = torch.nn.Linear(64, 24)
    assert use_fp8(odd) == LAYERS - 1
    assert type(odd.blocks[0].ffn.net[2]) is torch.nn.Linear
    assert type(odd.proj_out) is torch.nn.Linear
    assert use_fp8(odd) == 0, "once is enough"
    half = transformer(dtype="bfloat16")
    before = half.dtype
    stored = sum(value.numel() * value.element_size() for value in half.blocks.state_dict().values())
    assert use_fp8(half) == LAYERS
    assert half.dtype == before == torch.bfloat16
    assert sum(value.numel() * value.element_size() for value in half.blocks.state_dict().values()) < 0.7 * stored


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_lora_acts_beside_8_bit_layers(compiled: bool, tmp_path: Path) -> None:
    """It is found by its layer's name, changes the output about as it does the plain model's, and comes off again."""
    import torch

    folder = tiny_folder("wan2.1-t2v")
    file = tiny_models.lora_file(folder, tmp_path / "lora.safetensors", strength=0.2)
    outputs = []
    for profile in ("plain", "fast"):
        pipe = pipeline(transformer())
        tuned(pipe, profile, compiler="eager" if compiled else None)
        switch = LoraSwitch(pipe, lambda _: None)
        before = run(pipe.transformer)
        switch.apply([(file, 1.0)])  # type: ignore[list-item]
        outputs.append(run(pipe.transformer) - before)
        switch.apply([])
        assert torch.equal(run(pipe.transformer), before)
    plain, narrow = outputs
    assert plain.norm() > 0
    assert (narrow - plain).norm() <= 0.3 * plain.norm()


def test_a_whole_window_in_8_bits_is_a_picture(window: ClipRequest) -> None:
    """It passes the engine's own judgement and stays near the plain one: closer than another seed's by far."""
    said: list[Tuned] = []
    plain = list(tiny_engine("wan2.1-i2v").generate(window, []))

    def narrow(pipe: Any) -> Tuned:
        said.append(tuned(pipe, "fast"))
        return said[0]

    engine = tiny_engine("wan2.1-i2v", tune=narrow)
    made = list(engine.generate(window, []))
    assert said[0].fp8_layers == LAYERS + 4
    assert all(frame.std() > 1000 for frame in made)
    assert psnr(made, plain) >= 30
