"""Claims about the model cards: complete, exact, and clear about what is wrong with a file."""

from __future__ import annotations

from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import pytest

from models.camera import VERSION
from models.card_reader import parse_cards
from models.cards import (
    Card,
    CardError,
    CardFile,
    animatic_spec,
    broken_cards,
    card,
    cards,
    cards_with,
    generator_spec,
)
from models.interface import EngineError
from tasks import engines

WAN = "wan2.1-i2v-14b-720p"
A14B = "wan2.2-i2v-a14b"
DISTILLED = "wan2.1-i2v-14b-480p"
MODELS = (
    *("wan2.1-i2v-14b-720p", "wan2.1-i2v-14b-480p", "wan2.1-flf2v-14b-720p", "wan2.1-fun-inp-1.3b", "wan2.1-vace-1.3b"),
    *("wan2.1-vace-14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b", "wan2.1-t2v-14b", "wan2.1-t2v-1.3b", "wan2.2-t2v-a14b"),
    "cogvideox-5b-i2v",
)
"""Every model that the house promises to load."""


def texts() -> dict[str, str]:
    folder = files("models").joinpath("cards")
    found = (entry for entry in folder.iterdir() if entry.is_file())  # interpolators have cards of their own kind
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in found}


def test_the_cards_that_the_house_ships() -> None:
    """The built-in engine and every promised model are known by name."""
    assert {"animatic", *MODELS} <= set(cards())
    assert all(found.name == name for name, found in cards().items())


def test_an_unknown_card_is_refused_with_the_known_ones() -> None:
    """The error names what was asked and every card there is; it is an EngineError."""
    with pytest.raises(EngineError, match=rf"'wan3'.*animatic.*{WAN}"):
        card("wan3")


@pytest.mark.parametrize("name", list(cards()))
def test_every_card_makes_a_spec_that_keeps_its_own_rules(name: str) -> None:
    """The longest window is legal, and every preset size fits the size rule."""
    spec = generator_spec(card(name))
    assert spec.legal(spec.longest_window)
    assert not spec.legal(spec.longest_window + 1)
    assert 0 <= spec.overlap < spec.longest_window
    for size in spec.sizes:
        assert all(side % spec.size_multiple == 0 and spec.smallest <= side <= spec.largest for side in size)


def test_wan_states_the_published_values() -> None:
    """16 frames per second, 4n+1 up to 81, sizes from 480 to 1920 in steps of 16, 40 steps at guidance 5."""
    spec = generator_spec(card(WAN))
    assert (spec.native_rate, spec.frame_step, spec.frame_offset, spec.longest_window) == (Fraction(16), 4, 1, 81)
    assert spec.sizes == ((1280, 720), (720, 1280))
    assert generator_spec(card("wan2.1-i2v-14b-480p")).sizes == ((832, 480), (480, 832))
    assert (spec.size_multiple, spec.smallest, spec.largest, spec.steps, spec.guidance) == (16, 480, 1920, 40, 5.0)
    assert (spec.engine, spec.context, spec.overlap, card(WAN).licence) == ("wan", 1, 5, "Apache-2.0")
    for flaw in ("blurry", "low quality", "deformed anatomy", "stuttering", "flickering", "sudden cuts"):
        assert flaw in spec.negative_prompt


def test_the_animatic_takes_the_window_rule_of_the_model_it_stands_in_for() -> None:
    """A preview has the plan of the real thing, with the animatic's own freedom of size."""
    real, preview = generator_spec(card(WAN)), animatic_spec(card(WAN))
    for field in ("name", "native_rate", "frame_step", "frame_offset", "longest_window", "sizes"):
        assert getattr(preview, field) == getattr(real, field)
    assert (preview.engine, preview.version, preview.needs_prompt) == ("animatic", VERSION, False)
    assert (preview.size_multiple, preview.smallest, preview.largest) == (2, 64, 8192)
    for field in ("kind", "contexts", "experimental", "free", "overlap", "context"):
        assert getattr(preview, field) == getattr(real, field)
    assert generator_spec(card(WAN), engine="animatic") == preview == generator_spec(card("animatic"))


def test_the_window_rule_stands_in_one_card_only() -> None:
    """The animatic's card repeats none of Wan's numbers."""
    assert "longest_window" not in texts()["animatic"]
    assert "rate =" not in texts()["animatic"]


def test_another_engine_than_the_cards_own_is_refused() -> None:
    """Only the animatic can take a model's place."""
    with pytest.raises(CardError, match=r"'wan', not by 'rife'.*'animatic'"):
        generator_spec(card(WAN), engine="rife")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("frame_step = 4", "frame_step = ", r"is not TOML"),
        ("frame_step = 4", "frame_stepp = 4", r"frame_stepp: no such field; use one of: .*frame_step"),
        ("frame_step = 4", "", r"frame_step is missing; add a whole number, 1 or more"),
        ("frame_step = 4", "frame_step = 0", r"frame_step: 0 is not a whole number, 1 or more"),
        ("longest_window = 81", "longest_window = 80", r"longest_window: 80 is not 4n\+1"),
        ('rate = "16"', 'rate = "16/0"', r"rate: '16/0' is not a positive rate"),
        ('rate = "16"', "rate = 15.98", r"rate: 15.98 is not a positive rate in quotes"),
        ("[[1280, 720]", "[[1281, 720]", r"1281x720 breaks the card's own rule; use multiples of 16"),
        ("[[1280, 720]", "[[1280]", r"sizes: .* is not a list of \[width, height\]"),
        ("guidance = 5.0", "guidance = true", r"guidance: True is not a number"),
        ("needs_plate = true", 'needs_plate = "yes"', r"needs_plate: 'yes' is not true or false"),
        ('contexts = ["frame"]', "contexts = []", r"contexts: \[\] is not a list of kinds of context"),
        ('contexts = ["frame"]', "contexts = ['frames-6']", r"contexts: .*frames-6.* is not a list of kinds"),
        ('contexts = ["frame"]', "contexts = ['frames-77']", r"contexts: frames-77 and what is free take 81 frames"),
        ('contexts = ["frame"]', "contexts = ['none']", r"contexts: WanImageToVideoPipeline takes frame, frames, lat"),
        ('contexts = ["frame"]', "contexts = ['latents-4']", r"experimental: latents-4 stands in contexts already"),
        ('"latents-4"]', '"latents-20"]', r"experimental: latents-20 and what is free take 81 frames"),
        ('"latents-4"]', '"latents-1"]', r"experimental: .* is not a list of kinds of context"),
        ("free = 4", "overlap = 5", r"overlap: is no longer stated; state contexts .*, experimental and free instead"),
        ("free = 4", "free = -1", r"free: -1 is not a whole number, 0 or more"),
        ("WanImageToVideoPipeline", "WanMagicPipeline", r"pipeline: 'WanMagicPipeline' is not one of: WanImageToVideo"),
        ("parameters = 16.395", "", r"parameters is missing; add a number"),
        ("shift = 5.0", 'shift = "5"', r"shift: '5' is not a number, 0 or more"),
        ("shift = 5.0", "shift = 5.0\nboundary = 0.9", r"boundary: stands with two experts"),
        ("shift = 5.0", "shift = 5.0\nboundary = 9", r"boundary: 9 is not a number above 0 and below 1"),
        ("guidance = 5.0", "guidance = 5.0\nguidance_2 = 4.0", r"guidance_2: is the second expert's"),
        ("num_layers = 40", "num_layers = 4.5", r"transformer: .* is not a table of whole numbers"),
        ("num_attention_heads = 40", "", r"transformer: needs num_attention_heads"),
        ('"model_index.json",', '{path = "a", sha256 = "12"},', r"files: .* is not a list of paths"),
        ('"model_index.json",', '{path = "a", size = 1},', r"files: .* is not a list of paths"),
        ("draft_steps = 4", "", r"draft_lora, draft_steps and draft_guidance stand together"),
        ("draft_steps = 4", "draft_steps = 0", r"draft_steps: 0 is not a whole number, 1 or more"),
        ("draft_steps = 4", "draft_steps = 41", r"draft_steps: 41 are more than steps, 40"),
        ("draft_guidance = 1.0", "draft_guidance = -1", r"draft_guidance: -1 is not a number"),
        ('draft_lora = "wan', 'draft_lora = "../wan', r"draft_lora: '../wan.* is not a plain name"),
        ("  1.0, 0.98888,", "  0.98888,", r"mag_ratios: .* is not a list of numbers above 0 and up to 2, 1.0 first"),
        ("  1.0, 0.98888,", "  1.0, 0.0,", r"mag_ratios: .* is not a list of numbers above 0"),
        ("  1.0, 0.98888,", '  1.0, "0.9",', r"mag_ratios: .* is not a list of numbers above 0"),
        ('"WanImageToVideoPipeline"', '"WanVACEPipeline"', r"mag_ratios: WanVACEPipeline has no step cache"),
        ('"text_encoder/model" = 5', '"text_encoder/model" = 1', r"shards: .* is not a table of stems and counts"),
    ],
)
def test_a_wrong_card_is_refused_with_file_and_field(before: str, after: str, message: str) -> None:
    """Every fault names the file, the field, the value and what is allowed."""
    name = WAN if before in texts()[WAN] else DISTILLED
    text = texts()[name]
    assert before in text
    with pytest.raises(CardError, match=rf"(?s)^{name}\.toml.*{message}"):
        parse_cards({name: text.replace(before, after, 1)})


def test_a_stand_in_must_name_a_card_with_rules_of_its_own() -> None:
    """A card cannot stand in for an unknown card, nor repeat the rules it takes over."""
    known = texts()
    with pytest.raises(CardError, match=r"animatic.toml: stands_in_for: 'wan2.1-i2v-14b-720p' has no window rule"):
        parse_cards({"animatic": known["animatic"]})
    with pytest.raises(CardError, match=rf"animatic.toml: rate: comes from {WAN}"):
        parse_cards(known | {"animatic": known["animatic"] + '\nrate = "24"\n'})


def diffusers_cards() -> list[Card]:
    return [found for found in cards().values() if found.pipeline]


def test_two_experts_state_where_one_hands_over() -> None:
    """A14B: 0.9 of the schedule for image-to-video, 0.875 for text-to-video, each expert with its own guidance."""
    i2v, t2v = card(A14B), card("wan2.2-t2v-a14b")
    assert (i2v.experts, i2v.boundary, i2v.guidance, i2v.guidance_2, i2v.shift) == (2, 0.9, 3.5, 3.5, 5.0)
    assert (t2v.experts, t2v.boundary, t2v.guidance, t2v.guidance_2, t2v.shift) == (2, 0.875, 4.0, 3.0, 12.0)
    assert all(found.experts == 1 and found.boundary is None for found in cards().values() if "a14b" not in found.name)


def test_models_differ_in_rate_length_and_size() -> None:
    """TI2V makes 121 frames at 24 per second in steps of 32 pixels; CogVideoX 49 at 8, in one size and 8n+1."""
    ti2v, cog = card("wan2.2-ti2v-5b"), card("cogvideox-5b-i2v")
    assert (ti2v.rate, ti2v.longest_window, ti2v.size_multiple, ti2v.sizes[0]) == (24, 121, 32, (1280, 704))
    assert (cog.rate, cog.longest_window, cog.frame_step, cog.sizes, cog.presets_only) == (
        8,
        49,
        8,
        ((720, 480),),
        True,
    )
    assert (cog.text_tokens, card(WAN).text_tokens, card("wan2.1-i2v-14b-480p").shift) == (226, 512, 3.0)


def test_the_step_caches_ratios_are_the_published_ones() -> None:
    """A ratio per step of the calibration, which took the card's own number of steps; the mean of both branches."""
    ratios = {found.name: found.mag_ratios for found in cards().values() if found.mag_ratios}
    assert set(ratios) == {"wan2.1-t2v-14b", "wan2.1-t2v-1.3b", "wan2.1-i2v-14b-480p", WAN}
    assert all(len(found) == card(name).steps and found[0] == 1.0 for name, found in ratios.items())
    assert all(0.8 < ratio < 1.05 for found in ratios.values() for ratio in found)
    assert ratios["wan2.1-t2v-14b"][1] == pytest.approx((1.02504 + 1.03017) / 2, abs=1e-5)
    assert ratios["wan2.1-t2v-1.3b"][-1] == pytest.approx((0.81838 + 0.81939) / 2, abs=1e-5)
    assert ratios[DISTILLED][2] == pytest.approx((0.97559 + 0.97593) / 2, abs=1e-5)
    assert ratios[WAN][-1] == pytest.approx((0.8679 + 0.86768) / 2, abs=1e-5)


def test_distilled_loras_are_named_where_they_are_published() -> None:
    """Four steps without guidance for 480p image-to-video and text-to-video of 14B; no other card names one."""
    drafts = {
        found.name: (found.draft_lora, found.draft_steps, found.draft_guidance)
        for found in cards().values()
        if found.draft_lora
    }
    assert drafts == {name: (f"{name}-stepdistill", 4, 1.0) for name in (DISTILLED, "wan2.1-t2v-14b")}


def test_a_broken_card_stops_its_own_model_alone(tmp_path: Path) -> None:
    """It is left out of the known ones and kept with its fault, which names the file; ours stay."""
    for name, content in (("torn", b'steps = "x"'), ("latin", b"title = '\xe9'")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.toml").write_bytes(content)
    assert cards_with(tmp_path) == cards()
    broken = broken_cards(tmp_path)
    assert set(broken) == {"torn", "latin"}
    assert all(str(tmp_path / name / "card.toml") in str(error) for name, error in broken.items())
    with pytest.raises(CardError, match=r"torn/card\.toml"):
        engines.rules_for("torn", weights=tmp_path)
    assert engines.rules_for("animatic", weights=tmp_path).engine == "animatic"


def test_an_image_stream_needs_its_words_counted() -> None:
    """A card that looks at a still and states another number of words is refused: its image stream would be empty."""
    with pytest.raises(CardError, match=r"text_tokens: is 226.*must be 512"):
        parse_cards({WAN: texts()[WAN].replace("text_tokens = 512", "text_tokens = 226")})


def test_what_each_model_can_be_given() -> None:
    """End plates and context only where a model was trained for them; text-to-video and VACE do without a still."""
    ends = {found.name for found in diffusers_cards() if found.takes_end_plate}
    assert ends == {"wan2.1-flf2v-14b-720p", "wan2.1-fun-inp-1.3b", "wan2.1-vace-1.3b", "wan2.1-vace-14b"}
    blind = {found.name for found in diffusers_cards() if not found.needs_plate}
    assert blind == {name for name in MODELS if "t2v" in name or "vace" in name or "ti2v" in name}
    for found in diffusers_cards():
        trained, more = found.contexts, found.experimental
        if found.name.startswith("cogvideox"):
            assert (trained, more, found.free) == (("frame",), (), 4)
        elif "t2v" in found.name:
            assert (trained, more, found.free) == (("none",), ("latents-1", "latents-4"), 0)
        elif "vace" in found.name:
            assert (trained[0], set(trained)) == ("frames-9", {"frames-5", "frames-9", "frames-17", "frames-33"})
        else:
            assert trained == (("frames-5",) if "fun-inp" in found.name else ("frame",))
            everything = {"frame", "frames-5", "frames-9", "frames-17", "latents-1", "latents-4"}
            assert (set(trained) | set(more), found.free) == (everything, 4)


def test_a_pipeline_is_given_what_it_has_an_input_for() -> None:
    """Words alone take no frames, and CogVideoX neither several frames nor latents: such a card is refused."""
    for name, before, after in (
        ("wan2.1-t2v-1.3b", '"latents-1"', '"frames-5"'),
        ("cogvideox-5b-i2v", 'contexts = ["frame"]', 'contexts = ["frame", "latents-1"]'),
        ("cogvideox-5b-i2v", 'contexts = ["frame"]', 'contexts = ["frame", "frames-5"]'),
    ):
        assert before in texts()[name]
        with pytest.raises(CardError, match=rf"{name}.toml: (contexts|experimental): \w+ takes .*, not "):
            parse_cards({name: texts()[name].replace(before, after)})


@pytest.mark.parametrize("found", diffusers_cards(), ids=lambda found: found.name)
def test_a_cards_numbers_agree_with_each_other(found: Card) -> None:
    """Size rule, channels and both time priors follow from each other; nothing is stated twice and differently."""
    patch = found.transformer["patch_size"]
    assert found.size_multiple == found.spatial_stride * (patch[-1] if isinstance(patch, tuple) else patch)
    assert found.transformer["out_channels"] == found.latent_channels
    (width, height), frames = found.sizes[0], found.longest_window
    seconds = found.seconds_per_step * found.steps
    assert found.seconds_per_megapixel == pytest.approx(seconds * 1e6 / (width * height * frames), rel=0.01)
    assert found.vram_minimum_gb <= found.vram_recommended_gb
    assert found.measured_on


@pytest.mark.parametrize("found", diffusers_cards(), ids=lambda found: found.name)
def test_a_cards_architecture_has_the_parameters_that_it_states(found: Card) -> None:
    """diffusers builds the class from the card's numbers alone, with the stated count of parameters."""
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    names = {
        "WanVACEPipeline": "WanVACETransformer3DModel",
        "CogVideoXImageToVideoPipeline": "CogVideoXTransformer3DModel",
    }
    assert hasattr(diffusers, found.pipeline)
    with torch.device("meta"):
        made = getattr(diffusers, names.get(found.pipeline, "WanTransformer3DModel"))(**found.transformer)
    count = sum(parameter.numel() for parameter in made.parameters())
    assert found.parameters == pytest.approx(count / 1e9, abs=0.001)


@pytest.mark.parametrize("found", diffusers_cards(), ids=lambda found: found.name)
def test_files_are_plain_safetensors_and_configs(found: Card) -> None:
    """No pickle, no path that leaves the folder, no file twice; what is not known of a file is None, never a guess."""
    paths = [file.path for file in found.files]
    assert len(paths) == len(set(paths))
    assert all(path.endswith((".json", ".model", ".safetensors")) and ".." not in path for path in paths)
    assert {"model_index.json", "transformer/config.json", "vae/diffusion_pytorch_model.safetensors"} <= set(paths)
    assert all((file.bytes, file.sha256) == (None, None) for file in found.files)


def test_shards_and_digests_are_read() -> None:
    """`[shards]` names every shard and the index; a file's size and digest stand in the card that knows them."""
    digest = "ab" * 32
    text = texts()[WAN].replace(
        '"model_index.json",', f'{{path = "model_index.json", bytes = 7, sha256 = "{digest}"}},'
    )
    found = parse_cards({WAN: text})[WAN].files
    assert found[0] == CardFile("model_index.json", 7, digest)
    assert CardFile("text_encoder/model.safetensors.index.json") in found
    assert CardFile("text_encoder/model-00005-of-00005.safetensors") in found
    assert CardFile("transformer/diffusion_pytorch_model-00014-of-00014.safetensors") in found


def test_a_new_model_is_a_new_card() -> None:
    """A text like another card's, with other numbers, is a card: no code knows the models' names."""
    text = (
        texts()[WAN]
        .replace("longest_window = 81", "longest_window = 161")
        .replace("num_layers = 40", "num_layers = 48")
    )
    found = parse_cards({"wan9": text})["wan9"]
    assert (found.name, found.longest_window, found.transformer["num_layers"]) == ("wan9", 161, 48)
    assert hash(found) == hash(parse_cards({"wan9": text})["wan9"])
