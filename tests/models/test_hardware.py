"""Claims about the page on hardware: it is the cards' own, and it can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.cards import card, cards
from models.hardware import CARDS_GIB, does, hardware_page, main, weight_on_disk
from tasks.frames import WORKING_PIX_FMT

PAGE = Path(__file__).resolve().parents[2] / "docs/hardware.md"


def test_the_page_is_what_the_cards_say() -> None:
    """docs/hardware.md is generated: `python -m models.hardware > docs/hardware.md` after changing a card."""
    assert PAGE.read_text(encoding="utf-8") == hardware_page(cards())


def test_the_module_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """What the command writes is the page, and nothing else."""
    main()
    assert capsys.readouterr().out == hardware_page(cards())


def test_every_model_has_its_rows() -> None:
    """Each diffusers model stands in all four tables, with a column a graphics card; the animatic needs none."""
    page = hardware_page(cards())
    for found in cards().values():
        assert page.count(f"| `{found.name}` |") == (4 if found.pipeline else 0)
    assert all(f" {size} GB |" in page for size in CARDS_GIB)
    assert "**Predicted**" in page
    for table in page.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_a_model_does_is_said_in_words() -> None:
    """From the card's switches: stills, text, last still, context, experts."""
    assert does(card("wan2.1-i2v-14b-720p")) == "still to video"
    assert does(card("wan2.1-t2v-14b")) == "text to video"
    assert does(card("wan2.1-flf2v-14b-720p")) == "still, last still to video"
    assert does(card("wan2.2-i2v-a14b")) == "still to video, two experts"
    assert "up to 33 frames" in does(card("wan2.1-vace-14b"))


def test_the_page_says_how_windows_are_chained() -> None:
    """Every kind that a card takes stands in its row, what it was trained for before what is experimental."""
    rows = hardware_page(cards()).partition("## How windows are chained")[2].partition("## How it would run")[0]
    for found in cards().values():
        if found.pipeline:
            (row,) = (line for line in rows.splitlines() if line.startswith(f"| `{found.name}` |"))
            trained, more = row.split(" | ")[1:3]
            assert trained == ", ".join(f"`{kind}`" for kind in found.contexts)
            assert more == (", ".join(f"`{kind}`" for kind in found.experimental) or "-")


def test_the_page_says_how_deep_a_clip_is() -> None:
    """Frames that are handed on were on disk in the working format: the page names it and its bits a channel."""
    chained = hardware_page(cards()).partition("## How windows are chained")[2].partition("**Latents**")[0]
    assert f"16 bits a channel in memory and to {re.sub('[^0-9]', '', WORKING_PIX_FMT)} on\ndisk" in chained
    assert f"`{WORKING_PIX_FMT}`" in chained


def test_both_experts_lie_on_disk() -> None:
    """A14B: two transformers, text encoder and VAE, 68.8 GB in 16 bits."""
    assert weight_on_disk(card("wan2.2-i2v-a14b")) / 1e9 == pytest.approx(57.15 + 11.36 + 0.25, abs=0.1)
