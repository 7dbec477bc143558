"""Claims about the model cards: complete, exact, and clear about what is wrong with a file."""

from __future__ import annotations

from fractions import Fraction
from importlib.resources import files

import pytest

from models.camera import VERSION
from models.cards import CardError, animatic_spec, card, cards, generator_spec, parse_cards
from models.interface import EngineError

WAN = "wan2.1-i2v-14b-720p"


def texts() -> dict[str, str]:
    folder = files("models").joinpath("cards")
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in folder.iterdir()}


def test_the_cards_that_the_house_ships() -> None:
    """The built-in engine and both sets of Wan2.1 image-to-video weights are known by name."""
    assert {"animatic", WAN, "wan2.1-i2v-14b-480p"} <= set(cards())
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
    assert (spec.engine, spec.context, spec.overlap, card(WAN).licence) == ("wan", 1, 1, "Apache-2.0")
    for flaw in ("blurry", "low quality", "deformed anatomy", "stuttering", "flickering", "sudden cuts"):
        assert flaw in spec.negative_prompt


def test_the_animatic_takes_the_window_rule_of_the_model_it_stands_in_for() -> None:
    """A preview has the plan of the real thing, with the animatic's own freedom of size."""
    real, preview = generator_spec(card(WAN)), animatic_spec(card(WAN))
    for field in ("name", "native_rate", "frame_step", "frame_offset", "longest_window", "sizes"):
        assert getattr(preview, field) == getattr(real, field)
    assert (preview.engine, preview.version, preview.needs_prompt) == ("animatic", VERSION, False)
    assert (preview.size_multiple, preview.smallest, preview.largest) == (2, 64, 8192)
    assert (preview.overlap, preview.context) == (8, 8)
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
        ("context = 1", "context = 81", r"overlap and context must be shorter than 81"),
    ],
)
def test_a_wrong_card_is_refused_with_file_and_field(before: str, after: str, message: str) -> None:
    """Every fault names the file, the field, the value and what is allowed."""
    text = texts()[WAN]
    assert before in text
    with pytest.raises(CardError, match=rf"^{WAN}\.toml.*{message}"):
        parse_cards({WAN: text.replace(before, after, 1)})


def test_a_stand_in_must_name_a_card_with_rules_of_its_own() -> None:
    """A card cannot stand in for an unknown card, nor repeat the rules it takes over."""
    known = texts()
    with pytest.raises(CardError, match=r"animatic.toml: stands_in_for: 'wan2.1-i2v-14b-720p' has no window rule"):
        parse_cards({"animatic": known["animatic"]})
    with pytest.raises(CardError, match=rf"animatic.toml: rate: comes from {WAN}"):
        parse_cards(known | {"animatic": known["animatic"] + '\nrate = "24"\n'})
