"""Claims about memory: what a window takes, which way of running it is chosen, what comes after running out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cards import Card, card, cards
from models.ladder import DoesNotFit, choose, next_rung, notice, rungs, safer, smaller
from models.memory import GB, DeviceFacts, Rung, gguf_bits, multiplied, needs, predict, tokens, weight_bytes
from models.profiles import PROFILES, Profile

WAN = card("wan2.1-i2v-14b-720p")
SMALL = card("wan2.1-t2v-1.3b")
A14B = "wan2.2-i2v-a14b"
TILED = Rung("tiled", "bfloat16", tiling=True)
SIZES = {"width": 1280, "height": 720, "frames": 81}
MODELS = [found for found in cards().values() if found.pipeline]

models = st.sampled_from(MODELS)
ways = st.builds(
    Rung,
    name=st.just("any"),
    dtype=st.sampled_from(["bfloat16", "float16", "float32"]),
    offload=st.sampled_from(["none", "model", "group"]),
    text=st.sampled_from(["resident", "dropped", "cpu"]),
    tiling=st.booleans(),
    fp8=st.booleans(),
)
devices = st.builds(
    DeviceFacts,
    kind=st.sampled_from(["cuda", "cuda", "mps", "cpu"]),
    free_vram=st.integers(0, 150 * GB),
    total_vram=st.just(150 * GB),
    free_ram=st.integers(0, 300 * GB),
    bf16=st.booleans(),
    fp8=st.booleans(),
)
files = st.sampled_from([None, "Q4_K_M", "Q8_0"])
profiles = st.sampled_from([None, *PROFILES.values()])


def legal(found: Card, data: st.DataObject) -> dict[str, int]:
    """A window that the model may be asked for."""
    width, height = data.draw(st.sampled_from(found.sizes))
    steps = (found.longest_window - found.frame_offset) // found.frame_step
    frames = found.frame_offset + found.frame_step * data.draw(st.integers(1, steps))
    return {"width": width, "height": height, "frames": frames}


def h100(free: float = 84.0, ram: float = 200.0, **facts: Any) -> DeviceFacts:
    return DeviceFacts("cuda", int(free * GB), 85 * GB, int(ram * GB), **({"fp8": True} | facts))


@given(found=models, rung=ways, profile=profiles, data=st.data())
def test_more_frames_and_more_pixels_never_need_less(
    found: Card, rung: Rung, profile: Profile | None, data: st.DataObject
) -> None:
    """Device and host need grow, or stay, with every frame and every pixel."""
    size = legal(found, data)
    more = size | {"frames": size["frames"] + found.frame_step}
    broad = size | {"width": size["width"] + found.size_multiple}
    need, longer, wider = (predict(found, **each, rung=rung, profile=profile) for each in (size, more, broad))
    assert need.vram <= min(longer.vram, wider.vram)
    assert need.ram <= min(longer.ram, wider.ram)
    assert sum(need.parts.values()) == need.vram


@given(found=models, device=devices, quantised=files, profile=profiles, data=st.data())
def test_every_rung_takes_less_than_the_one_before(
    found: Card, device: DeviceFacts, quantised: str | None, profile: Profile | None, data: st.DataObject
) -> None:
    """Down the ladder memory only shrinks, names are unique, and size and length are nobody's to change."""
    size = legal(found, data)
    ladder = rungs(found, device, **size, quantised=quantised, profile=profile)
    wants = [needs(found, device, **size, rung=rung, profile=profile) for rung in ladder]
    peaks = [need.ram if device.kind == "cpu" else need.vram for need in wants]
    assert peaks == sorted(peaks, reverse=True)
    assert len({rung.name for rung in ladder}) == len(ladder) == len(set(peaks))
    assert [rung.lower for rung in ladder] == [*ladder[1:], None]


@given(found=models, device=devices, quantised=files, profile=profiles, data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_chosen_fits(
    found: Card, device: DeviceFacts, quantised: str | None, profile: Profile | None, data: st.DataObject
) -> None:
    """A rung that is returned, and every one below it, fits into what is free; a refusal means that none does."""
    size = legal(found, data)
    chosen = choose(found, device, **size, quantised=quantised, profile=profile)
    if isinstance(chosen, DoesNotFit):
        for rung in rungs(found, device, **size, quantised=quantised, profile=profile):
            need = needs(found, device, **size, rung=rung, profile=profile)
            assert need.vram > device.free_vram or need.ram > device.free_ram
        assert "GB" in chosen.reason
        assert chosen.remedy.endswith(".")
        return
    tries = 0
    while chosen is not None:
        need = needs(found, device, **size, rung=chosen, profile=profile)
        assert need.vram <= device.free_vram
        assert need.ram <= device.free_ram
        chosen, tries = next_rung(chosen), tries + 1
    assert tries <= 4, "the first, and at most three more"


@given(found=models, device=devices, data=st.data())
@settings(max_examples=30, deadline=None)
def test_what_is_proposed_as_smaller_is_legal_smaller_and_fits(
    found: Card, device: DeviceFacts, data: st.DataObject
) -> None:
    """The proposal keeps the card's rules, asks for no more of anything, and would be accepted."""
    size = legal(found, data)
    if less := smaller(found, device, **size):
        asked = {"width": less.width, "height": less.height, "frames": less.frames}
        assert asked != size
        assert all(asked[key] <= size[key] for key in size)
        assert less.width % found.size_multiple == less.height % found.size_multiple == 0
        assert (less.frames - found.frame_offset) % found.frame_step == 0
        assert isinstance(choose(found, device, **asked), Rung)


def test_tokens_are_counted_as_the_model_does() -> None:
    """81 frames of 720p are 21 x 45 x 80 tokens for Wan2.1; TI2V's larger stride makes 31 x 22 x 40 of 121."""
    assert tokens(WAN, **SIZES) == 21 * 45 * 80
    assert tokens(card("wan2.2-ti2v-5b"), width=1280, height=704, frames=121) == 31 * 22 * 40
    assert tokens(card("cogvideox-5b-i2v"), width=720, height=480, frames=49) == 13 * 30 * 45


def test_weights_are_what_the_files_weigh() -> None:
    """14B text-to-video 28.6 GB in 16 bits, its image-to-video kin 32.8, UMT5 11.4; Q4_K_M of it 11.3 GB."""
    assert weight_bytes(card("wan2.1-t2v-14b"), TILED) / GB == pytest.approx(28.6, abs=0.1)
    assert weight_bytes(WAN, TILED) / GB == pytest.approx(32.8, abs=0.1)
    assert WAN.text_encoder * 2 == pytest.approx(11.4, abs=0.1)
    assert weight_bytes(WAN, replace(TILED, quantised="Q4_K_M")) / GB == pytest.approx(11.34, rel=0.03)
    assert gguf_bits("Q6_K") == pytest.approx(7.6)
    with pytest.raises(ValueError, match="no GGUF type"):
        gguf_bits("safetensors")


@pytest.mark.parametrize(("found", "size", "published"), [(WAN, (1280, 720), 76.7), (SMALL, (832, 480), 8.19)])
def test_predictions_meet_the_published_peaks(found: Card, size: tuple[int, int], published: float) -> None:
    """Within a tenth: Wan's own code keeps the transformer in 32 bits and sends the text encoder away."""
    need = predict(found, width=size[0], height=size[1], frames=81, rung=replace(TILED, offload="model", text="cpu"))
    peak = need.vram + 2 * found.parameters * GB
    assert need.phase == "denoising"
    assert peak / GB == pytest.approx(published, rel=0.10)


def test_big_cards_run_as_published_and_small_ones_say_how() -> None:
    """80 GB: all resident, nothing to say. 24 GB: something is given up, and said before it starts."""
    assert (big := choose(WAN, h100(), **SIZES)) == Rung("resident", "bfloat16", text="resident")
    assert isinstance(big, Rung)
    assert notice(WAN, big, predict(WAN, **SIZES, rung=big)) == ""
    low = choose(WAN, h100(23.5), **SIZES)
    assert isinstance(low, Rung)
    assert "stay in system memory" in notice(WAN, low, predict(WAN, **SIZES, rung=low))
    half = choose(WAN, h100(31), **SIZES)
    assert isinstance(half, Rung)
    assert half.fp8
    assert "8-bit floats" in notice(WAN, half, predict(WAN, **SIZES, rung=half))


def test_without_8_bit_floats_or_bfloat16_there_are_other_ways() -> None:
    """A device without fp8 has no such rung, one without bfloat16 computes in float16, a GGUF file replaces fp8."""
    assert not any(rung.fp8 for rung in rungs(WAN, h100(fp8=False), **SIZES))
    assert {rung.dtype for rung in rungs(WAN, h100(bf16=False), **SIZES)} == {"float16"}
    ladder = rungs(WAN, h100(), **SIZES, quantised="Q4_K_M")
    assert {(rung.quantised, rung.fp8) for rung in ladder} == {("Q4_K_M", False)}
    assert isinstance(choose(WAN, h100(25.0), **SIZES, quantised="Q4_K_M"), Rung)


def test_a_refusal_says_what_is_missing_and_what_would_fit() -> None:
    """Both numbers, that it was not started, and the largest smaller window; system memory is told apart."""
    refused = choose(WAN, h100(10.0), **SIZES)
    assert isinstance(refused, DoesNotFit)
    assert "1280x720, 81 frames needs 13.2 GB of graphics memory" in refused.reason
    assert "10.0 GB are free" in refused.reason
    assert "not started" in refused.reason
    assert "--allow-smaller" in refused.remedy
    starved = choose(WAN, h100(84, ram=20), **SIZES)
    assert isinstance(starved, DoesNotFit)
    assert "of system memory" in starved.reason
    fixed = choose(card("cogvideox-5b-i2v"), h100(6.0), width=720, height=480, frames=49)
    assert isinstance(fixed, DoesNotFit)


def test_three_rungs_at_most_and_the_next_shot_starts_where_this_one_worked() -> None:
    """A fall takes the next thriftier way, a fourth is not taken, and choosing begins at a way that worked."""
    start = choose(WAN, h100(), **SIZES)
    assert isinstance(start, Rung)
    path = [start]
    while (below := next_rung(path[-1])) is not None:
        path.append(below)
    assert [rung.name for rung in path] == ["resident", "text-dropped", "tiled", "model-offload"]
    assert [rung.fallen for rung in path] == [0, 1, 2, 3]
    again = choose(WAN, h100(), **SIZES, worked="tiled")
    assert isinstance(again, Rung)
    assert (again.name, again.fallen) == ("tiled", 0)


def test_a_step_cache_keeps_two_residuals() -> None:
    """Two times tokens x width in 16 bits while denoising, 1.5 GB at 720p, where a card states ratios; else nothing."""
    for found, kept in ((WAN, 2 * 75600 * 5120 * 2), (card("wan2.1-vace-14b"), 0)):
        rung = replace(TILED, offload="group")  # its weights are not multiplied in 8 bits
        stock, fast = (predict(found, **SIZES, rung=rung, profile=profile) for profile in (None, PROFILES["fast"]))
        assert fast.vram - stock.vram == kept
        assert fast.parts.get("step cache", 0) == kept
        assert predict(found, **SIZES, rung=rung, profile=PROFILES["exact"]) == stock


@pytest.mark.parametrize("found", MODELS, ids=lambda found: found.name)
def test_what_is_multiplied_in_8_bits_is_what_gets_8_bit_layers(found: Card) -> None:
    """The stored size is that of the same layers, narrowed, of the architecture that diffusers builds."""
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    from models.fp8 import LARGE, repeated_blocks

    kind = {"WanVACEPipeline": "WanVACE", "CogVideoXImageToVideoPipeline": "CogVideoX"}.get(found.pipeline, "Wan")
    with torch.device("meta"):
        model = getattr(diffusers, f"{kind}Transformer3DModel")(**found.transformer)
    layers = [pair for block in repeated_blocks(model) for pair in block.named_modules()]
    large = [layer for name, layer in layers if type(layer) is torch.nn.Linear and name.startswith(LARGE)]
    assert multiplied(found) == sum(layer.weight.numel() for layer in large)
    whole = sum(value.numel() for value in model.parameters())
    stored = weight_bytes(found, TILED, PROFILES["fast"])
    assert stored == pytest.approx(2 * whole - multiplied(found), rel=0.001)


def test_8_bit_multiplication_is_counted_where_it_happens() -> None:
    """On a device that does it, and not for GGUF, 8-bit storage or group offload; loading still takes the 16 bits."""
    fast = PROFILES["fast"]
    wide, narrow = weight_bytes(WAN, TILED), weight_bytes(WAN, TILED, fast)
    assert narrow < 0.52 * wide
    for other in ({"quantised": "Q8_0"}, {"fp8": True}, {"offload": "group"}):
        assert weight_bytes(WAN, replace(TILED, **other), fast) == weight_bytes(WAN, replace(TILED, **other))
    small = SIZES | {"width": 832, "height": 480}
    loaded = needs(WAN, h100(), **small, rung=TILED, profile=fast)
    assert (loaded.phase, loaded.parts["transformer"]) == ("loading", wide)
    moved = replace(TILED, offload="model")  # narrowed in system memory before it comes to the device
    assert needs(WAN, h100(), **small, rung=moved, profile=fast).parts["transformer"] == narrow
    old = needs(WAN, h100(fp8=False), **small, rung=moved, profile=fast)
    assert old.parts["transformer"] == wide


@given(found=models, device=devices, rung=ways, quantised=files, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_safer_way_is_more_precise_and_fits(
    found: Card, device: DeviceFacts, rung: Rung, quantised: str | None, data: st.DataObject
) -> None:
    """Never 8-bit storage, never float16, never below the precision that failed; the same rung if it is precise."""
    size = legal(found, data)
    fallen = data.draw(st.integers(0, 3))
    failed = replace(rung, fallen=fallen, quantised=quantised or "", fp8=rung.fp8 and not quantised)
    safe = safer(found, device, failed, **size, quantised=quantised)
    precise = not failed.fp8 and failed.dtype != "float16"
    own = needs(found, device, **size, rung=failed)
    if precise and own.vram <= device.free_vram and own.ram <= device.free_ram:
        assert safe == failed
    assert not (precise and safe is None)
    if safe is None or safe == failed:
        assert precise or safe is None
        return
    assert not safe.fp8
    assert safe.dtype == (failed.dtype if failed.dtype != "float16" else "bfloat16" if device.bf16 else "float32")
    assert (safe.quantised, safe.fallen) == (failed.quantised, failed.fallen)
    need = needs(found, device, **size, rung=safe)
    assert need.vram <= device.free_vram
    assert need.ram <= device.free_ram
    if fallen:
        assert need.vram <= own.vram


def test_how_a_window_is_run_again_after_a_bad_picture() -> None:
    """8-bit storage gives way to an offload that fits, float16 to bfloat16 or float32, and nothing to nothing."""
    fp8 = Rung("fp8", "bfloat16", text="cpu", tiling=True, fp8=True)
    assert safer(WAN, h100(30), fp8, **SIZES) == Rung("group-offload", "bfloat16", "group", "cpu", tiling=True)
    assert safer(WAN, h100(10), fp8, **SIZES) is None
    roomy, after = (safer(WAN, h100(), replace(fp8, fallen=falls), **SIZES) for falls in (0, 2))
    assert (roomy and roomy.name, after and after.name) == ("resident", "group-offload"), "what ran out is not tried"
    half = Rung("resident", "float16", text="resident")
    assert safer(WAN, h100(), half, **SIZES) == replace(half, dtype="bfloat16")
    wider = safer(SMALL, h100(bf16=False), half, width=832, height=480, frames=81)
    assert wider == replace(half, dtype="float32")
    assert safer(WAN, h100(1), TILED, **SIZES) == safer(WAN, h100(), TILED, **SIZES) == TILED
    moved = replace(TILED, name="model-offload", offload="model", text="cpu")  # fitted with weights of 8 bits alone
    again = safer(card(A14B), h100(25), moved, **SIZES)
    assert again
    assert again.name == "group-offload"


def test_a_cpu_needs_no_graphics_memory() -> None:
    """There everything is system memory, in 32 bits; a tiny instance of an architecture runs on any machine."""
    cpu = DeviceFacts("cpu", 0, 0, 8 * GB, bf16=False)
    none = {"parameters": 0.001, "text_encoder": 0.001, "image_encoder": 0.0, "vae": 0.001, "vae_bytes": 1000.0}
    tiny = replace(
        WAN, **none, transformer={"num_attention_heads": 2, "attention_head_dim": 16, "patch_size": (1, 2, 2)}
    )
    chosen = choose(tiny, cpu, width=160, height=96, frames=17)
    assert isinstance(chosen, Rung)
    assert (chosen.dtype, chosen.offload, chosen.fp8) == ("float32", "none", False)
    assert isinstance(choose(WAN, cpu, **SIZES), DoesNotFit)


@pytest.mark.parametrize("name", ["wan2.1-i2v-14b-480p", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b", "cogvideox-5b-i2v"])
def test_the_cards_activations_are_what_diffusers_keeps_alive(name: str) -> None:
    """Live tensors of one forward pass at full width, counted without running it, are the card's figure within 3 %."""
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    found, half = card(name), torch.bfloat16
    numbers = dict(found.transformer)
    if "vace_layers" not in numbers:
        numbers["num_layers"] = 3  # the peak does not depend on depth, but for VACE, which keeps a hint per layer
    kind = {"WanVACEPipeline": "WanVACE", "CogVideoXImageToVideoPipeline": "CogVideoX"}.get(found.pipeline, "Wan")
    (width, height), frames = found.sizes[0], (found.longest_window - 1) // 4 + 1
    across, down = width // found.spatial_stride, height // found.spatial_stride
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        torch.set_default_dtype(half)
        try:
            model = getattr(diffusers, f"{kind}Transformer3DModel")(**numbers)
        finally:
            torch.set_default_dtype(torch.float32)
        batch, axes = (
            (2, (frames, numbers["in_channels"])) if kind == "CogVideoX" else (1, (numbers["in_channels"], frames))
        )
        given: dict[str, Any] = {
            "hidden_states": torch.empty(batch, *axes, down, across, dtype=half),
            "timestep": torch.ones(batch, dtype=torch.long),
            "encoder_hidden_states": torch.empty(batch, found.text_tokens, 4096, dtype=half),
        }
        if found.image_encoder:
            given["encoder_hidden_states_image"] = torch.empty(1, 257, 1280, dtype=half)
        if kind == "WanVACE":
            given["control_hidden_states"] = torch.empty(1, 96, frames, down, across, dtype=half)
            given["control_hidden_states_scale"] = torch.ones(len(numbers["vace_layers"]), dtype=half)
        if kind == "CogVideoX":
            turns = (torch.empty(frames * down * across // 4, 64),) * 2
            given["image_rotary_emb"] = turns
        tracker = MemTracker()
        tracker.track_external(model)
        with tracker:
            model(**given, return_dict=False)
        (peak,) = tracker.get_tracker_snapshot("peak").values()
        held = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    alive = sum(size for key, size in peak.items() if str(key).endswith("Total")) - held
    count = tokens(found, width=width, height=height, frames=found.longest_window)
    assert alive / (count * found.width) == pytest.approx(found.activation_bytes, rel=0.03)
