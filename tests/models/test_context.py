"""Claims about the kinds of context: how they are written, what they hand on, and which a model takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cards import ANIMATIC, card, cards, generator_spec
from models.context import ContextKind, Kind, most_frames, with_context
from models.interface import EngineError

WAN = "wan2.1-i2v-14b-720p"


@given(
    st.sampled_from([("none", 0), ("frame", 1)]) | st.integers(1, 99).map(lambda n: (f"frames-{4 * n + 1}", 4 * n + 1))
)
def test_a_kind_is_written_as_it_is_read(known: tuple[str, int]) -> None:
    """Text to value and back, and as many frames as the name says."""
    text, frames = known
    kind = ContextKind.parse(text)
    assert str(kind) == text
    assert kind.frames(4) == frames


@given(st.integers(1, 999))
def test_latents_hand_on_the_frame_before_them_too(count: int) -> None:
    """m latents are 4m+1 frames: windows stay 4n+1."""
    kind = ContextKind.parse(f"latents-{count}")
    assert (kind.kind, kind.count, kind.frames(4), str(kind)) == (
        Kind.LATENTS,
        count,
        4 * count + 1,
        f"latents-{count}",
    )


@pytest.mark.parametrize(
    "text",
    ["", "frames", "frames-1", "frames-6", "frames-05", "latents-0", "latents-", "latents-4 ", "Frame", "frame-1"],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    """Also k frames that are no whole latents after the first."""
    with pytest.raises(ValueError, match=r"is no kind of context; use one of: none, frame, frames-5.*latents-1"):
        ContextKind.parse(text)


@pytest.mark.parametrize("name", list(cards()))
def test_every_kind_of_every_card_makes_rules(name: str) -> None:
    """Its frames, its latents where it has any, and an overlap of what is handed on and what is free."""
    spec = generator_spec(card(name))
    assert with_context(spec, "") == with_context(spec, spec.contexts[0]) == spec
    for text in (*spec.contexts, *spec.experimental):
        kind, rules = ContextKind.parse(text), with_context(spec, text)
        assert (rules.kind, rules.context) == (text, kind.frames(spec.frame_step))
        assert rules.carries == (kind.count if kind.kind is Kind.LATENTS and spec.engine != ANIMATIC else 0)
        shares = kind.kind in (Kind.FRAME, Kind.FRAMES)
        assert rules.overlap == rules.context + (4 if shares else 0)
        assert replace(rules, kind=spec.kind, context=spec.context, carries=0, overlap=spec.overlap) == spec


def test_what_a_model_does_not_take_is_refused_with_what_it_takes() -> None:
    """Another kind, and what is no kind at all."""
    spec = generator_spec(card("cogvideox-5b-i2v"))
    for text in ("latents-1", "frames-5", "none", "two frames"):
        with pytest.raises(EngineError, match=rf"{text}.*cogvideox-5b-i2v.*frame|cogvideox-5b-i2v.*{text}.*: frame"):
            with_context(spec, text)
    assert with_context(replace(spec, contexts=()), "") == replace(spec, contexts=())


def test_the_animatic_is_handed_frames_where_its_model_has_latents() -> None:
    """The preview shares the frames of the real thing, and has no latents to carry."""
    real, preview = (generator_spec(card(WAN), engine=engine) for engine in (None, ANIMATIC))
    real, preview = with_context(real, "latents-4"), with_context(preview, "latents-4")
    assert (real.carries, preview.carries) == (4, 0)
    assert (real.kind, real.context, real.overlap) == (preview.kind, preview.context, preview.overlap)
    assert (real.context, real.overlap) == (17, 17)


def test_the_most_frames_that_need_no_latents() -> None:
    """The bound of what an engine can be handed as pictures."""
    assert most_frames(("frame", "frames-17", "latents-8")) == 17
    assert most_frames(("none", "latents-1")) == most_frames(()) == 0
