"""Claims about LoRAs' cards: what may stand in one, and that a wrong one says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cards import CardError
from models.lora_cards import LARGEST, LoraCard, lora_card, lora_cards, lora_file

FULL = """
title = "Mist over water"
licence = "Apache-2.0"
models = ["wan2.1-i2v-14b-720p", "wan2.1-i2v-14b-480p"]
trigger = " soft mist, volumetric light "
scale = -0.75
low_noise = "mist-low.safetensors"
source = "https://example.com/mist"
"""


def put(weights: Path, name: str, card: str | bytes | None = None) -> Path:
    """A LoRA in the weights folder, with a card or without."""
    file = lora_file(weights, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"pairs")
    if card is not None:
        file.with_suffix(".toml").write_bytes(card if isinstance(card, bytes) else card.encode())
    return file


def test_a_card_says_what_its_lora_is(tmp_path: Path) -> None:
    """Every field reaches its value; the low-noise file is the one beside the card."""
    file = put(tmp_path, "mist", FULL)
    assert lora_card(file) == LoraCard(
        name="mist",
        file=file,
        title="Mist over water",
        licence="Apache-2.0",
        models=("wan2.1-i2v-14b-720p", "wan2.1-i2v-14b-480p"),
        trigger="soft mist, volumetric light",
        scale=-0.75,
        low_noise=file.with_name("mist-low.safetensors"),
        source="https://example.com/mist",
    )


def test_a_lora_needs_no_card(tmp_path: Path) -> None:
    """Without a card, and with an empty one, it is for any model, at full strength, without words."""
    bare, empty = put(tmp_path, "bare"), put(tmp_path, "empty", "")
    assert lora_card(bare) == LoraCard("bare", bare)
    assert lora_card(empty) == LoraCard("empty", empty)


def test_nothing_is_guessed_from_names(tmp_path: Path) -> None:
    """Two files that look like a pair are two LoRAs, unless a card says otherwise."""
    for name in ("mist_high_noise", "mist_low_noise"):
        put(tmp_path, name)
    assert [card.low_noise for card in lora_cards(tmp_path).values()] == [None, None]


def test_the_folder_lists_its_loras(tmp_path: Path) -> None:
    """Names are the stems of files, in order; stray cards, hidden and other files, and odd names are none."""
    for name in ("rain", "film look", "v2.1"):
        put(tmp_path, name)
    (tmp_path / "loras" / "orphan.toml").write_text("this is = not read")
    (tmp_path / "loras" / ".draft.safetensors").write_bytes(b"")
    (tmp_path / "loras" / "old.pt").write_bytes(b"")
    for odd in ('a"b', "a\nb", " a"):
        put(tmp_path, odd)
    assert list(lora_cards(tmp_path)) == ["film look", "rain", "v2.1"]
    assert lora_cards(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("card", "field"),
    [
        ("title = 1", "title"),
        ('title = "a\\u0007"', "title"),
        (f'trigger = "{"w" * 1001}"', "trigger"),
        ('models = "wan"', "models"),
        ("models = [1]", "models"),
        ('models = [""]', "models"),
        ("scale = 10.5", "scale"),
        ("scale = nan", "scale"),
        ("scale = true", "scale"),
        ('scale = "1"', "scale"),
        ('low_noise = "../low.safetensors"', "low_noise"),
        ('low_noise = "/etc/low.safetensors"', "low_noise"),
        ('low_noise = "..\\\\low.safetensors"', "low_noise"),
        ('low_noise = "low.pt"', "low_noise"),
        ('low_noise = "mist.safetensors"', "low_noise"),
        ('triggers = "fog"', "triggers"),
        ("scale", "not TOML"),
        (b"title = '\xff'", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("#" * (LARGEST + 1), "more than"),
    ],
)
def test_a_wrong_card_names_its_fault(tmp_path: Path, card: str | bytes, field: str) -> None:
    """The error names the file, the field and what is allowed, in one line."""
    put(tmp_path, "mist", card)
    with pytest.raises(CardError) as caught:
        lora_cards(tmp_path)
    said = str(caught.value)
    assert "mist.toml" in said
    assert field in said
    assert ";" in said
    assert len(said) < 400


@given(st.binary(max_size=200))
def test_no_card_makes_the_reader_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Any bytes at all are a card or a CardError."""
    file = put(tmp_path_factory.getbasetemp() / "fuzz", "mist", content)
    try:
        card = lora_card(file)
    except CardError:
        return
    assert card.file == file
